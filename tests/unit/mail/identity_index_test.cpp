// What a server says identifies a message, whatever mailbox it is in.
#include <gtest/gtest.h>

#include <string>

#include "postern/mail/mailbox_index.hpp"

namespace postern::mail {
namespace {

TEST(IdentityIndexTest, FindsMessagesByWhatTheServerTells) {
  MailboxIndex index;
  index.set_uids({1, 2, 3, 4});
  const auto say = [&index](std::uint32_t uid, const char* email_id) {
    imap::FetchData data;
    data.uid = uid;
    data.email_id = email_id;
    index.apply(uid, data);
    return identity_of(data);
  };
  const auto a = say(1, "Ma"), b = say(2, "Mb");
  EXPECT_NE(a, b);
  EXPECT_EQ(index.identified(a).entry->uid, 1u);
  EXPECT_FALSE(index.identified(a).several);
  say(3, "Ma");
  EXPECT_TRUE(index.identified(a).several);
  index.remove(1);
  EXPECT_EQ(index.identified(a).entry->uid, 3u);
  EXPECT_FALSE(index.identified(a).several);
  // Told otherwise, it is none.
  say(3, "Mc");
  EXPECT_EQ(index.identified(a).entry, nullptr);
  for (std::uint32_t uid = 5; uid < 1'000; ++uid) {
    index.append_uid(uid);
    say(uid, ("M" + std::to_string(uid)).c_str());
  }
  EXPECT_EQ(index.identified(say(700, "M700")).entry->uid, 700u);
  EXPECT_EQ(index.identified(b).entry->uid, 2u);
}

TEST(IdentityIndexTest, OnlyWhatIsToldOfAUidIsTrusted) {
  imap::FetchData data;
  data.email_id = "M1";
  EXPECT_FALSE(identity_of(data).is_known());
  data.uid = 1;
  const auto email = identity_of(data);
  EXPECT_TRUE(email.is_known());
  data.email_id.reset();
  data.guid = "M1";
  EXPECT_NE(identity_of(data), email);
  data.guid = "";
  EXPECT_FALSE(identity_of(data).is_known());
  data.guid = "00000000000000000000000000000000";
  EXPECT_FALSE(identity_of(data).is_known());
  data.gm_msgid = 5;
  EXPECT_TRUE(identity_of(data).is_known());
}

}  // namespace
}  // namespace postern::mail
