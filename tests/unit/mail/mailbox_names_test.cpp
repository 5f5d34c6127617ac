// What Mailboxes may be called, where they may be, and what one may do with them; without a server.
#include "mail/mailbox_names.hpp"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

Mailbox mailbox(std::string name, char separator = '/') {
  Mailbox m;
  m.encoded_name = m.path = name;
  m.separator = separator;
  const auto cut = name.rfind(separator);
  m.name = cut == std::string::npos ? name : name.substr(cut + 1);
  m.flagged = name == "INBOX" ? Role::inbox : Role::none;
  m.key = mailbox_key(m);
  m.may_have_children = separator != 0;
  return m;
}

struct MailboxNames : testing::Test {
  std::vector<Mailbox> all;
  PersonalNamespace personal{"", '/'};

  void have(const std::vector<std::string>& names, char separator = '/') {
    for (const auto& name : names) all.push_back(mailbox(name, separator));
    personal.separator = separator;
    arrange(all, personal.prefix);
  }
  const Mailbox* find(std::string_view name) const {
    for (const auto& m : all)
      if (m.encoded_name == name) return &m;
    return nullptr;
  }
  // The name on the server, or the SetError.
  std::string place(const char* parent, std::string_view name, const char* self = nullptr,
                    bool utf8 = false) {
    auto made = mailbox_place(all, personal, parent != nullptr ? find(parent) : nullptr, name, utf8,
                              self != nullptr ? find(self) : nullptr);
    if (made) return made->encoded_name;
    return made.error().outcome.error_type + (made.error().blocked ? " blocked" : "");
  }
};

TEST_F(MailboxNames, AreEncodedAsTheServerWantsThem) {
  have({"INBOX", "Work"});
  EXPECT_EQ(place(nullptr, "Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
  EXPECT_EQ(place("Work", "Entwürfe", nullptr, true), "Work/Entwürfe");
  EXPECT_EQ(place("Work", "v1.2"), "Work/v1.2");
}

TEST_F(MailboxNames, AreCheckedBeforeTheServerIsAsked) {
  have({"INBOX", "Work"});
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("a\tb"), std::string("a\0b", 3),
        std::string("\xC2\x85"), std::string("\xE2\x80\xA8"), std::string("\xFF")})
    EXPECT_EQ(place(nullptr, name), "invalidProperties") << name;
  EXPECT_EQ(place(nullptr, std::string(mailbox_name_bytes_max, 'x')),
            std::string(mailbox_name_bytes_max, 'x'));
  EXPECT_EQ(place(nullptr, std::string(mailbox_name_bytes_max + 1, 'x')), "invalidProperties");
}

// Whatever a name of that length holds, it fits into a file name.
TEST_F(MailboxNames, ThatAreAllowedFitIntoAFileName) {
  have({"INBOX"});
  std::string worst;
  while (worst.size() + 3 <= mailbox_name_bytes_max) worst += "aé";
  EXPECT_LE(place(nullptr, worst).size(), 254u);
}

TEST_F(MailboxNames, AreUniqueAmongSiblings) {
  have({"INBOX", "Work", "Work/Old"});
  EXPECT_EQ(place(nullptr, "Work"), "alreadyExists blocked");
  EXPECT_EQ(place(nullptr, "inbox"), "alreadyExists blocked");
  EXPECT_EQ(place("Work", "Old"), "alreadyExists blocked");
  EXPECT_EQ(place("Work", "Work"), "Work/Work");
  EXPECT_EQ(place(nullptr, "Work", "Work"), "Work");  // itself
  EXPECT_EQ(place(nullptr, "work"), "work");
}

TEST_F(MailboxNames, CantBeBelowThemselves) {
  have({"INBOX", "Work", "Work/Old", "Workshop"});
  EXPECT_EQ(place("Work/Old", "Work", "Work"), "invalidProperties blocked");
  EXPECT_EQ(place("Work", "Work", "Work"), "invalidProperties blocked");
  EXPECT_EQ(place("Workshop", "Work", "Work"), "Workshop/Work");
  EXPECT_EQ(place(nullptr, "Old", "Work/Old"), "Old");
}

TEST_F(MailboxNames, BelowInboxAreAtTheTopWhereAllIsKeptThere) {
  personal.prefix = "INBOX.";
  have({"INBOX", "INBOX.Work", "INBOX.Work.Old"}, '.');
  EXPECT_FALSE(find("INBOX.Work")->parent);
  EXPECT_EQ(find("INBOX.Work.Old")->parent, find("INBOX.Work")->key);
  EXPECT_EQ(place(nullptr, "New"), "INBOX.New");
  EXPECT_EQ(place(nullptr, "a.b"), "invalidProperties");
  EXPECT_EQ(place("INBOX.Work", "a/b"), "INBOX.Work.a/b");
  EXPECT_EQ(place("INBOX", "New"), "invalidProperties");
  EXPECT_FALSE(rights_of(*find("INBOX")).may_create_child);
  EXPECT_TRUE(rights_of(*find("INBOX.Work")).may_create_child);
}

TEST_F(MailboxNames, HaveNoLevelsWithoutASeparator) {
  have({"INBOX", "Work"}, '\0');
  EXPECT_EQ(place(nullptr, "a/b.c"), "a/b.c");
  EXPECT_EQ(place("Work", "x"), "invalidProperties");
}

// What another program has encoded needlessly is moved as it is.
TEST_F(MailboxNames, ThatStayAreToldAsTheyCame) {
  have({"INBOX", "Work"});
  all.push_back(mailbox("v1&AC8-2"));
  all.back().name = "v1/2";
  arrange(all, personal.prefix);
  EXPECT_EQ(place("Work", "v1/2", "v1&AC8-2"), "Work/v1&AC8-2");
}

TEST(MailboxRights, FollowTheLettersOfBothRfcs) {
  auto m = mailbox("Work");
  MailboxRights all;
  all.may_read_items = all.may_add_items = all.may_remove_items = all.may_set_seen = all.may_set_keywords =
      all.may_create_child = all.may_rename = all.may_delete = true;
  EXPECT_EQ(rights_of(m), all);  // nobody has told any
  m.rights = "lrswipkxtecda";
  all.may_submit = true;
  EXPECT_EQ(rights_of(m), all);
  m.rights = "acdilrsw";  // RFC 2086
  all.may_submit = false;
  EXPECT_EQ(rights_of(m), all);
  m.rights = "lrp";
  MailboxRights some;
  some.may_read_items = some.may_submit = true;
  EXPECT_EQ(rights_of(m), some);
  m.rights = "lrswted";  // RFC 4314: d alone is no right to delete the mailbox
  some = {};
  some.may_read_items = some.may_set_seen = some.may_set_keywords = some.may_remove_items = true;
  EXPECT_EQ(rights_of(m), some);
  m.rights = "lrswt";
  EXPECT_FALSE(rights_of(m).may_remove_items);
}

TEST(MailboxRights, EndWhereTheMailboxDoes) {
  auto inbox = mailbox("INBOX");
  inbox.role = Role::inbox;
  EXPECT_FALSE(rights_of(inbox).may_rename || rights_of(inbox).may_delete);
  auto folder = mailbox("Work");
  folder.selectable = false;
  EXPECT_FALSE(rights_of(folder).may_read_items || rights_of(folder).may_add_items);
  EXPECT_TRUE(rights_of(folder).may_delete && rights_of(folder).may_create_child);
  auto read_only = mailbox("Work");
  read_only.read_only = true;
  EXPECT_TRUE(rights_of(read_only).may_read_items);
  EXPECT_FALSE(rights_of(read_only).may_set_seen || rights_of(read_only).may_remove_items);
}

TEST(MailboxRoles, AreKnownByNameInSeveralLanguages) {
  EXPECT_EQ(role_of_name("SENT"), Role::sent);
  EXPECT_EQ(role_of_name("Éléments envoyés"), Role::sent);
  EXPECT_EQ(role_of_name("ОТПРАВЛЕННЫЕ"), Role::sent);
  EXPECT_EQ(role_of_name("Papierkorb"), Role::trash);
  EXPECT_EQ(role_of_name("迷惑メール"), Role::junk);
  EXPECT_EQ(role_of_name("Kladder"), Role::drafts);
  EXPECT_EQ(role_of_name("Work"), Role::none);
  EXPECT_EQ(role_of_name(std::string(65, 'x')), Role::none);
  EXPECT_EQ(role_of_name("\xFF"), Role::none);
}

TEST(MailboxRoles, OfThePersonsOwnComeFirst) {
  std::vector<Mailbox> all{mailbox("A/Other/Trash"), mailbox("Trash"), mailbox("INBOX")};
  arrange(all);
  for (const auto& m : all) EXPECT_EQ(m.role == Role::trash, m.encoded_name == "Trash");
}

}  // namespace
}  // namespace postern::mail
