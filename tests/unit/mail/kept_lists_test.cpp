// Kept results of Mailbox/query: found by their states, and bounded.
#include "postern/mail/kept_lists.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "postern/mail/mailbox_list.hpp"

namespace postern::mail {
namespace {

KeptLists::List of(std::size_t size, std::uint64_t properties = 0) {
  return KeptLists::List(size, {1, properties});
}

TEST(KeptLists, AreFoundByTheirStates) {
  KeptLists kept;
  EXPECT_EQ(kept.find("a"), nullptr);
  EXPECT_TRUE(kept.keep("a", of(2)));
  EXPECT_TRUE(kept.keep("b", {}));
  ASSERT_NE(kept.find("a"), nullptr);
  EXPECT_EQ(*kept.find("a"), of(2));
  EXPECT_TRUE(kept.find("b")->empty());
  kept.clear();
  EXPECT_EQ(kept.find("a"), nullptr);
}

TEST(KeptLists, TheOnesToldLongestAgoGo) {
  KeptLists kept;
  for (std::size_t i = 0; i < kept_lists_max; ++i) kept.keep(std::to_string(i), of(1));
  kept.keep("0", of(1));  // told again
  EXPECT_EQ(kept.size(), kept_lists_max);
  kept.keep("one more", of(1));
  EXPECT_EQ(kept.size(), kept_lists_max);
  EXPECT_NE(kept.find("0"), nullptr);
  EXPECT_EQ(kept.find("1"), nullptr);
}

TEST(KeptLists, EntriesAreBoundedInAll) {
  KeptLists kept;
  EXPECT_TRUE(kept.keep("largest", of(mailboxes_max)));
  EXPECT_TRUE(kept.keep("rest", of(kept_list_entries_max - mailboxes_max)));
  EXPECT_NE(kept.find("largest"), nullptr);
  EXPECT_TRUE(kept.keep("one more", of(1)));
  EXPECT_EQ(kept.find("largest"), nullptr);
  EXPECT_TRUE(kept.keep("all", of(kept_list_entries_max)));
  EXPECT_EQ(kept.size(), 1u);
  EXPECT_FALSE(kept.keep("too long", of(kept_list_entries_max + 1)));
  EXPECT_NE(kept.find("all"), nullptr);
  EXPECT_GE(kept.memory_bytes(), kept_list_entries_max * sizeof(KeptLists::Entry));
}

}  // namespace
}  // namespace postern::mail
