// Leases that keep mailboxes from being selected, for what deletes and renames them.
#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::ElementsAre;

struct WithoutTest : SessionFixture {
  RecordingObserver inbox, archive;
  static MailboxMatch named(std::string name) {
    return [name](const std::string& other) { return other == name; };
  }
};

TEST_F(WithoutTest, NothingIsDoneForWhatIsNotSelected) {
  start();
  ASSERT_TRUE(select("INBOX", inbox));
  ASSERT_TRUE(await(pool->without(named("Archive"))));
  EXPECT_EQ(commands("UNSELECT"), 0u);
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20"));
}

TEST_F(WithoutTest, WhatIsSelectedIsLetGoOf) {
  start();
  ASSERT_TRUE(select("INBOX", inbox));
  auto lease = await(pool->without(named("INBOX")));
  ASSERT_TRUE(lease);
  EXPECT_EQ(commands("UNSELECT"), 1u);
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20", "deselected"));
  // Whoever wants it waits for the lease's end.
  auto again = start_task(pool->select("INBOX", inbox));
  ASSERT_TRUE(execute(*lease, simple("NOOP")));
  EXPECT_FALSE(again->has_value());
  lease = Lease();
  ASSERT_TRUE(pump_until([&] { return again->has_value(); }));
  EXPECT_TRUE(again->value());
}

TEST_F(WithoutTest, WhoeverNeedsItIsWaitedFor) {
  start();
  auto held = select("INBOX", inbox);
  ASSERT_TRUE(held);
  auto without = start_task(pool->without(named("INBOX")));
  ASSERT_TRUE(execute(*held, simple("NOOP")));
  EXPECT_FALSE(without->has_value());
  held = Lease();
  ASSERT_TRUE(pump_until([&] { return without->has_value(); }));
  EXPECT_TRUE(without->value());
}

TEST_F(WithoutTest, AllConnectionsLetGo) {
  start();
  {
    auto first = select("INBOX", inbox);
    auto second = select("Archive", archive);
    ASSERT_TRUE(first && second);
  }
  ASSERT_TRUE(await(pool->without([](const std::string&) { return true; })));
  EXPECT_EQ(commands("UNSELECT"), 2u);
  EXPECT_EQ(archive.events.back(), "deselected");
  EXPECT_EQ(inbox.events.back(), "deselected");
}

// CLOSE would expunge what is marked.
TEST_F(WithoutTest, AnotherMailboxIsLookedAtWhereThereIsNoUnselect) {
  options.capabilities = testimapd::capabilities_of("courier");
  start();
  ASSERT_TRUE(select("Archive", archive));
  ASSERT_TRUE(await(pool->without(named("Archive"))));
  EXPECT_EQ(commands("EXAMINE"), 1u);
  EXPECT_EQ(commands("CLOSE"), 0u);
  EXPECT_EQ(archive.events.back(), "deselected");
  // It is nobody's, and selected in earnest when somebody wants it.
  ASSERT_TRUE(select("INBOX", inbox));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20"));
}

TEST_F(WithoutTest, ALostConnectionIsNoHindrance) {
  start();
  ASSERT_TRUE(select("INBOX", inbox));
  imapd->control("on UNSELECT do drop");
  EXPECT_TRUE(await(pool->without(named("INBOX"))));
  EXPECT_EQ(imapd->counts().logins, 2u);
}

}  // namespace
}  // namespace postern::session
