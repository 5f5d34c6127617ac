// The format's building blocks: checksums, headers, layouts, the index entry, the rule for a session's life.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "store/crc32c.hpp"
#include "store/segment_format.hpp"
#include "store/seqlock.hpp"

namespace postern::store {
namespace {

TEST(Crc32c, Rfc3720Vectors) {
  EXPECT_EQ(crc32c("", 0), 0U);
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283U);
  const std::string zeros(32, '\0'), ones(32, '\xff');
  EXPECT_EQ(crc32c(zeros.data(), 32), 0x8a9136aaU);
  EXPECT_EQ(crc32c(ones.data(), 32), 0x62a8ab43U);
  const std::string text = "a text that is longer than eight octets, and then some";
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(crc32c(text.data() + cut, text.size() - cut, crc32c(text.data(), cut)),
              crc32c(text.data(), text.size()));
}

SegmentOptions small() {
  SegmentOptions options;
  options.sessions_max = 10;
  options.accounts_max = 3;
  options.redirects_max = 5;
  return options;
}

TEST(Layout, TablesFollowEachOtherOnPages) {
  const auto layout = layout_for(small());
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->session_index.offset, tables_offset);
  EXPECT_EQ(layout->session_index.entries, 32U);  // the least power of two that is twice the slots
  EXPECT_EQ(layout->sessions.offset, tables_offset + 4096);
  EXPECT_EQ(layout->sessions.entries, 11U);
  EXPECT_EQ(layout->counters.entries, 4U);
  EXPECT_EQ(layout->redirects.entries, 6U);
  EXPECT_EQ(layout->file_bytes % 4096, 0U);
}

TEST(Layout, OptionsAreBounded) {
  const std::pair<std::uint32_t SegmentOptions::*, std::uint64_t> bounds[] = {
      {&SegmentOptions::sessions_max, segment_limits::sessions_max},
      {&SegmentOptions::accounts_max, segment_limits::accounts_max},
      {&SegmentOptions::redirects_max, segment_limits::redirects_max},
      {&SegmentOptions::credential_bytes_mean, segment_limits::credential_bytes_mean_max},
  };
  for (const auto& [field, max] : bounds) {
    SegmentOptions options = small();
    options.*field = 0;
    EXPECT_EQ(layout_for(options).error().code, Errc::too_large);
    options.*field = static_cast<std::uint32_t>(max + 1);
    EXPECT_EQ(layout_for(options).error().code, Errc::too_large);
    options.*field = static_cast<std::uint32_t>(max);
    const auto layout = layout_for(options);
    ASSERT_TRUE(layout.has_value());
    EXPECT_TRUE(check_header(make_header(*layout, 1, 2)).has_value()) << "a layout that is made can be read";
  }
}

TEST(Header, RoundTrip) {
  const auto layout = layout_for(small());
  const HeaderFixed header = make_header(*layout, 42, 1'700'000'000);
  const auto read = check_header(header);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(std::memcmp(&*read, &*layout, sizeof(Layout)), 0);
}

TEST(Header, EveryFlippedBitIsNoticed) {
  const HeaderFixed header = make_header(*layout_for(small()), 42, 1'700'000'000);
  for (std::size_t bit = 0; bit < sizeof header * 8; ++bit) {
    HeaderFixed flipped = header;
    reinterpret_cast<unsigned char*>(&flipped)[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    EXPECT_FALSE(check_header(flipped).has_value()) << bit;
  }
}

// What a header with a right checksum can still claim.
TEST(Header, ImplausibleTablesAreRefused) {
  const auto layout = layout_for(small());
  const auto refused = [&](auto change) {
    HeaderFixed header = make_header(*layout, 42, 1'700'000'000);
    change(header);
    header.checksum = crc32c(&header, offsetof(HeaderFixed, checksum));
    return !check_header(header).has_value();
  };
  EXPECT_FALSE(refused([](HeaderFixed&) {}));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].offset += 1; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].offset = 0; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].offset = ~0ULL << 12; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].entries = 0; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].entries = ~0ULL / 128 + 2; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].entries = h.file_bytes / 128; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].entry_bytes = 64; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[0].entries = 31; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.tables[1].kind = 3; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.table_count = 4; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.table_count = 17; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.header_size = 8192; }));
  EXPECT_TRUE(refused([](HeaderFixed& h) { h.file_bytes = segment_limits::file_bytes_max + 1; }));
  EXPECT_FALSE(refused([](HeaderFixed& h) {  // a table of a later version is none of our business
    h.tables[6] = {99, 7, 1, 3, 0};
    h.table_count = 7;
  }));
}

TEST(Header, OnlyTheFirstVersionGoesWithoutUse) {
  HeaderFixed header = make_header(*layout_for(small()), 42, 0);
  header.table_count = 5;
  const auto checked = [&header](std::uint32_t version) {
    header.version = version;
    header.checksum = crc32c(&header, offsetof(HeaderFixed, checksum));
    return check_header(header);
  };
  EXPECT_FALSE(checked(2).has_value());
  const auto first = checked(1);
  ASSERT_TRUE(first.has_value()) << first.error().to_string();
  EXPECT_EQ(first->usage.entries, 0U);
}

TEST(Header, OtherVersionAndByteOrderAreNamed) {
  HeaderFixed header = make_header(*layout_for(small()), 42, 0);
  header.version = segment_format_version + 1;
  EXPECT_EQ(check_header(header).error().code, Errc::version);
  header.version = 0;
  EXPECT_EQ(check_header(header).error().code, Errc::version);
  header.version = 1;
  header.byte_order = 0x04030201;
  EXPECT_EQ(check_header(header).error().code, Errc::version);
}

TEST(IndexEntry, HoldsTagAndSlot) {
  TokenHash hash{};
  hash[0] = 1;
  hash[3] = 0xff;
  EXPECT_EQ(index_tag(hash), 0xff000001U);
  EXPECT_EQ(index_entry(hash, 0), 0xff00000100000001ULL);
  EXPECT_EQ(index_slot(index_entry(hash, 77)), 77U);
  EXPECT_EQ(index_tag_of(index_entry(hash, 77)), 0xff000001U);
}

TEST(SessionLife, Borders) {
  SessionSlot slot;
  slot.expires = 1000;
  slot.idle_seconds = 0;
  slot.last_used = pack_last_used(0, 0);
  EXPECT_TRUE(session_is_live(slot, 999));
  EXPECT_FALSE(session_is_live(slot, 1000));
  slot.expires = 1'000'000;
  slot.idle_seconds = 300;
  slot.last_used = pack_last_used(1000, 0);
  EXPECT_TRUE(session_is_live(slot, 1000 + 300 + touch_interval_seconds - 1));
  EXPECT_FALSE(session_is_live(slot, 1000 + 300 + touch_interval_seconds));
  EXPECT_TRUE(session_is_live(slot, 500)) << "a clock that was set back ends no session";
}

TEST(LastUsed, ClampsAndIsTiedToItsSlot) {
  SessionSlot slot;
  slot.checksum = 0x1234;
  for (const auto& [given, kept] : {std::pair<std::int64_t, std::int64_t>{-1, 0},
                                    {0, 0},
                                    {1'700'000'000, 1'700'000'000},
                                    {0xffffffffLL, 0xffffffffLL},
                                    {0x100000000LL, 0xffffffffLL}}) {
    slot.last_used = pack_last_used(given, slot.checksum);
    EXPECT_TRUE(last_used_valid(slot));
    EXPECT_EQ(last_used_seconds(slot), kept);
  }
  slot.checksum = 0x1235;
  EXPECT_FALSE(last_used_valid(slot));
}

TEST(Slot, ConditionSeesEveryFlippedBit) {
  alignas(8) CounterSlot slot;
  EXPECT_EQ(condition_of(slot, 3), SlotCondition::unused);
  slot.sequence = 2;
  EXPECT_EQ(condition_of(slot, 3), SlotCondition::unused);
  slot.serial = 5;
  slot.account = 6;
  slot.state = 1;
  slot.checksum = checksum_of(slot, 3);
  EXPECT_EQ(condition_of(slot, 3), SlotCondition::intact);
  EXPECT_EQ(condition_of(slot, 4), SlotCondition::damaged) << "out of its place";
  for (std::size_t bit = 32; bit < sizeof slot * 8; ++bit) {
    CounterSlot flipped = slot;
    reinterpret_cast<unsigned char*>(&flipped)[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    EXPECT_EQ(condition_of(flipped, 3), SlotCondition::damaged) << bit;
  }
  slot.sequence = 3;
  EXPECT_EQ(condition_of(slot, 3), SlotCondition::damaged) << "was being written";
}

TEST(Seqlock, ReaderRefusesASlotBeingWritten) {
  CounterSlot slot, value, copy;
  value.account = 7;
  write_slot(slot, value);
  EXPECT_EQ(slot.sequence, 2U);
  EXPECT_TRUE(read_slot(slot, copy));
  EXPECT_EQ(copy.account, 7U);
  EXPECT_TRUE(still_current(slot, copy));
  write_slot(slot, value);
  EXPECT_FALSE(still_current(slot, copy));
  slot.sequence = 5;
  EXPECT_FALSE(read_slot(slot, copy));
  write_slot(slot, value);
  EXPECT_EQ(slot.sequence % 2, 0U);
}

}  // namespace
}  // namespace postern::store
