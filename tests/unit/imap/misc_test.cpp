// CAPABILITY, ENABLED, FLAGS, EXISTS and the like, ID, QUOTA, MYRIGHTS, METADATA.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Misc, Names) {
  EXPECT_THAT(parsed<CapabilityResponse>("* CAPABILITY IMAP4rev1 auth=plain").names,
              ElementsAre("IMAP4REV1", "AUTH=PLAIN"));
  EXPECT_THAT(parsed<EnabledResponse>("* ENABLED QRESYNC").names, ElementsAre("QRESYNC"));
  EXPECT_THAT(parsed<EnabledResponse>("* ENABLED").names, IsEmpty());
}

TEST(Misc, Counts) {
  EXPECT_EQ(parsed<ExistsResponse>("* 23 EXISTS").count, 23u);
  EXPECT_EQ(parsed<RecentResponse>("* 0 RECENT").count, 0u);
  EXPECT_EQ(parsed<ExpungeResponse>("* 44 EXPUNGE").seq, 44u);
  EXPECT_EQ(parsed<FlagsResponse>("* FLAGS (\\Seen \\Draft)").flags.system, Flags::seen | Flags::draft);
}

TEST(Misc, Id) {
  const auto r = parsed<IdResponse>("* ID (\"name\" \"Cyrus\" \"version\" NIL)");
  ASSERT_EQ(r.fields.size(), 2u);
  EXPECT_EQ(r.fields[0].second, "Cyrus");
  EXPECT_EQ(r.fields[1].second, std::nullopt);
}

TEST(Misc, Quota) {
  const auto r = parsed<QuotaResponse>("* QUOTA \"!partition/sda4\" (storage 104 10923847 MESSAGE 3 7)");
  EXPECT_EQ(r.root, "!partition/sda4");
  ASSERT_EQ(r.resources.size(), 2u);
  EXPECT_EQ(r.resources[0].name, "STORAGE");
  EXPECT_EQ(r.resources[0].usage, 104u);
  EXPECT_EQ(r.resources[1].limit, 7u);
  EXPECT_THAT(parsed<QuotaResponse>("* QUOTA \"\" ()").resources, IsEmpty());
  EXPECT_THAT(parsed<QuotaRootResponse>("* QUOTAROOT INBOX \"\" b").roots, ElementsAre("", "b"));
  EXPECT_EQ(parsed<QuotaRootResponse>("* QUOTAROOT inbox").mailbox, "INBOX");
}

TEST(Misc, MyRights) {
  const auto r = parsed<MyRightsResponse>("* MYRIGHTS \"a b\" rwiptsldaex");
  EXPECT_EQ(r.mailbox, "a b");
  EXPECT_EQ(r.rights, "rwiptsldaex");
}

TEST(Misc, Metadata) {
  auto r =
      parsed<MetadataResponse>("* METADATA \"INBOX\" (/private/comment \"My \\\"own\\\"\" /shared/x NIL)");
  EXPECT_EQ(r.mailbox, "INBOX");
  ASSERT_EQ(r.entries.size(), 2u);
  EXPECT_EQ(r.entries[0].second, "My \"own\"");
  EXPECT_EQ(r.entries[1].second, std::nullopt);
  r = parsed<MetadataResponse>("* METADATA \"\" /shared/comment /private/x");
  EXPECT_EQ(r.entries.size(), 2u);
  EXPECT_EQ(r.entries[0].first, "/shared/comment");
}

TEST(Misc, Garbage) {
  for (const char* text : {"* ID x",
                           "* QUOTA",
                           "* QUOTA a (b)",
                           "* QUOTA a x",
                           "* QUOTAROOT",
                           "* MYRIGHTS",
                           "* METADATA",
                           "* FLAGS",
                           "* FLAGS x",
                           "* FLAGS (",
                           "* NAMESPACE x",
                           "* NAMESPACE (x)",
                           "* LIST",
                           "* LIST ()",
                           "* LIST x y z",
                           "* LIST () \"/\"",
                           "* LIST () \"/\" \"abc",
                           "* LIST () \"/\" {5}",
                           "* STATUS",
                           "* STATUS x",
                           "* STATUS x (MESSAGES",
                           "* STATUS \"x (MESSAGES 1)",
                           "* STATUS x (MESSAGES x)"}) {
    EXPECT_EQ(refusal(text), Errc::syntax) << text;
  }
}

}  // namespace
}  // namespace postern::imap
