// Capability names, what implies what, and the tiers.
#include "postern/imap/capabilities.hpp"

#include <gtest/gtest.h>

namespace postern::imap {
namespace {

using Names = std::vector<std::string>;

TEST(Capabilities, NamesAreKnownInAnyCase) {
  const CapabilitySet set(Names{"imap4REV1", "Idle", "literal+", "AUTH=plain", "X-UNKNOWN"});
  EXPECT_TRUE(set.has(Capability::imap4rev1));
  EXPECT_TRUE(set.has(Capability::idle));
  EXPECT_TRUE(set.has(Capability::literal_plus));
  EXPECT_TRUE(set.has(Capability::auth_plain));
  EXPECT_FALSE(set.has(Capability::literal_minus));
  EXPECT_EQ(set.to_string(), "IMAP4REV1 AUTH=PLAIN LITERAL+ IDLE");
}

TEST(Capabilities, EveryOneHasANameThatGivesItBack) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(Capability::count_); ++i) {
    CapabilitySet one;
    one.set(static_cast<Capability>(i));
    const std::string name = one.to_string();
    ASSERT_FALSE(name.empty()) << i;
    EXPECT_TRUE(CapabilitySet(Names{name}).has(static_cast<Capability>(i))) << name;
  }
}

TEST(Capabilities, Imap4rev2ImpliesWhatItFoldedIn) {
  const CapabilitySet set(Names{"IMAP4rev2"});
  for (const Capability c :
       {Capability::literal_minus, Capability::move, Capability::uidplus, Capability::esearch,
        Capability::idle, Capability::enable, Capability::list_status, Capability::sasl_ir}) {
    EXPECT_TRUE(set.has(c));
  }
  EXPECT_FALSE(set.has(Capability::literal_plus));
  EXPECT_FALSE(set.has(Capability::sort));
  EXPECT_FALSE(set.has(Capability::condstore));
}

TEST(Capabilities, QresyncImpliesCondstoreAndEnable) {
  const CapabilitySet set(Names{"QRESYNC"});
  EXPECT_TRUE(set.has(Capability::condstore));
  EXPECT_TRUE(set.has(Capability::enable));
}

TEST(Capabilities, AppendLimit) {
  EXPECT_EQ(CapabilitySet(Names{"APPENDLIMIT=257890"}).append_limit(), 257890u);
  EXPECT_TRUE(CapabilitySet(Names{"appendlimit=1"}).has(Capability::appendlimit));
  EXPECT_EQ(CapabilitySet(Names{"APPENDLIMIT"}).append_limit(), std::nullopt);
  EXPECT_TRUE(CapabilitySet(Names{"APPENDLIMIT"}).has(Capability::appendlimit));
  for (const char* odd :
       {"APPENDLIMIT=", "APPENDLIMIT=x", "APPENDLIMIT=1x", "APPENDLIMIT=99999999999999999999"}) {
    EXPECT_EQ(CapabilitySet(Names{odd}).append_limit(), std::nullopt) << odd;
  }
  EXPECT_EQ(CapabilitySet(Names{"APPENDLIMIT=5"}).to_string(), "APPENDLIMIT=5");
}

TEST(Capabilities, EmptyIsEmpty) {
  EXPECT_TRUE(CapabilitySet().empty());
  EXPECT_TRUE(CapabilitySet(Names{}).empty());
  EXPECT_TRUE(CapabilitySet(Names{"X"}).empty());
  EXPECT_FALSE(CapabilitySet(Names{"IDLE"}).empty());
}

TEST(Tiers, APlainServerGetsThePlainOnes) {
  const Tiers t = tiers_of(CapabilitySet(Names{"IMAP4rev1"}));
  EXPECT_EQ(t.sync, SyncTier::plain);
  EXPECT_EQ(t.watch, WatchTier::poll);
  EXPECT_EQ(t.move, MoveTier::copy_only);
  EXPECT_EQ(t.thread, ThreadTier::own);
  EXPECT_EQ(t.identity, IdentityTier::none);
  EXPECT_FALSE(t.server_sort || t.esort || t.esearch || t.partial || t.list_status || t.special_use ||
               t.idle_ok);
}

TEST(Tiers, TheBestOneWins) {
  Names names = {"CONDSTORE", "IDLE", "UIDPLUS", "THREAD=REFERENCES", "SORT"};
  Tiers t = tiers_of(CapabilitySet(names));
  EXPECT_EQ(t.sync, SyncTier::condstore);
  EXPECT_EQ(t.watch, WatchTier::idle);
  EXPECT_EQ(t.move, MoveTier::copy_uid_expunge);
  EXPECT_EQ(t.thread, ThreadTier::server_thread);
  EXPECT_TRUE(t.server_sort && t.idle_ok && !t.esort);
  names.insert(names.end(), {"QRESYNC", "NOTIFY", "MOVE", "OBJECTID", "ESORT", "PARTIAL"});
  t = tiers_of(CapabilitySet(names));
  EXPECT_EQ(t.sync, SyncTier::qresync);
  EXPECT_EQ(t.watch, WatchTier::notify);
  EXPECT_EQ(t.move, MoveTier::move);
  EXPECT_EQ(t.thread, ThreadTier::object_id);
  EXPECT_EQ(t.identity, IdentityTier::object_id);
  EXPECT_TRUE(t.esort && t.partial);
}

TEST(Tiers, Identities) {
  EXPECT_EQ(tiers_of(CapabilitySet(Names{"X-GM-EXT-1"})).identity, IdentityTier::gmail);
  EXPECT_EQ(tiers_of(CapabilitySet(Names{"X-GM-EXT-1"})).thread, ThreadTier::gmail);
  CapabilitySet dovecot;
  dovecot.set(Capability::x_guid);
  EXPECT_EQ(tiers_of(dovecot).identity, IdentityTier::guid);
}

TEST(Tiers, EsortWithoutSortIsNothing) { EXPECT_FALSE(tiers_of(CapabilitySet(Names{"ESORT"})).esort); }

TEST(Tiers, HaveNames) {
  EXPECT_EQ(to_string(SyncTier::qresync), "qresync");
  EXPECT_EQ(to_string(SyncTier::plain), "plain");
  EXPECT_EQ(to_string(SyncTier::condstore), "condstore");
  EXPECT_EQ(to_string(WatchTier::notify), "notify");
  EXPECT_EQ(to_string(WatchTier::idle), "idle");
  EXPECT_EQ(to_string(WatchTier::poll), "poll");
}

}  // namespace
}  // namespace postern::imap
