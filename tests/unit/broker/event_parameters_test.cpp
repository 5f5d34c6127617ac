// What an event stream's request asks for, and which of them nchan is given: what it can't do, and what might harm it,
// stays with the broker.
#include "broker/event_parameters.hpp"

#include <gtest/gtest.h>

#include "postern/push/state_change.hpp"

namespace postern::broker {
namespace {

using Position = EventParameters::Position;

constexpr const char* modified = "Sun, 06 Nov 1994 08:49:37 GMT";

EventParameters stream_of(std::string_view query, ipc::Fields fields = {}) {
  fields.emplace_back("accept", "text/event-stream");
  return parse_event_parameters(query, fields).value();
}
EventParameters poll_of(ipc::Fields fields) {
  fields.emplace_back("x-long-poll", "Yes");
  return parse_event_parameters({}, fields).value();
}

TEST(EventParameters, NchanHasPlainStreams) {
  for (const auto* query : {"", "types=*", "types=*&closeafter=no&ping=0", "ping=30", "ping=030"})
    EXPECT_TRUE(nchan_has(stream_of(query))) << query;
  for (const auto* query : {"types=Email", "types=Nothing", "closeafter=state"})
    EXPECT_FALSE(nchan_has(stream_of(query))) << query;
  EXPECT_FALSE(nchan_has(parse_event_parameters({}, {{"accept", "*/*"}}).value()));
  EXPECT_FALSE(nchan_has(stream_of({}, {{"x-long-poll", "yes"}})));
}

// RFC 8620, 7.3: the server may bound what is asked for, and not change it otherwise.
TEST(EventParameters, OtherIntervalsOfPingsAreTheBrokers) {
  for (const auto* query : {"ping=1", "ping=10", "ping=29", "ping=31", "ping=300", "ping=99999"})
    EXPECT_FALSE(nchan_has(stream_of(query))) << query;
  EXPECT_EQ(stream_of("ping=1").ping, push::ping_seconds_min);
  EXPECT_EQ(stream_of("ping=300").ping, 300u);
  EXPECT_EQ(stream_of("ping=99999").ping, push::ping_seconds_max);
}

TEST(EventParameters, WhatIsWrong) {
  for (const auto* query : {"types=Email,,Thread", "types=", "closeafter=perhaps", "ping=x", "ping=-1"})
    EXPECT_FALSE(parse_event_parameters(query, {})) << query;
}

TEST(EventParameters, Polls) {
  EXPECT_TRUE(nchan_has(poll_of({{"last-event-id", "1."}})));
  EXPECT_TRUE(nchan_has(poll_of({{"last-event-id", "1700000000:3"}})));
  EXPECT_TRUE(nchan_has(poll_of({{"if-modified-since", modified}, {"if-none-match", "0"}})));
  EXPECT_FALSE(nchan_has(poll_of({})));
  EXPECT_FALSE(nchan_has(poll_of({{"last-event-id", "1.12.3"}})));
  EXPECT_FALSE(nchan_has(
      poll_of({{"last-event-id", "1.12"}, {"if-modified-since", modified}, {"if-none-match", "0"}})));
}

TEST(EventParameters, MessageIds) {
  for (const auto* id : {"1700000000:3", "0:0", "999999999999:999999999999"})
    EXPECT_TRUE(is_message_id(id)) << id;
  for (const auto* id :
       {"", ":", "1:", ":1", "1700000000", "1:2:3", "-1:0", "1:-1", "1:[0]", "1:0,[1]", "1:0,1", "1: 0",
        "1:0x1", "1234567890123:1", "1:1234567890123", "1:0\n", "1:0?a=b", "1:0&last_event_id=1", "1%3A0"})
    EXPECT_FALSE(is_message_id(id)) << id;
}

// The header, or what a script has kept; percent-encoding is read once.
TEST(EventParameters, LastEventId) {
  EXPECT_EQ(stream_of("last_event_id=1%3A2").last_event_id, "1:2");
  EXPECT_EQ(stream_of("last_event_id=1%253A2").last_event_id, "1%3A2");
  EXPECT_EQ(stream_of("last_event_id=5:6", {{"last-event-id", "1:2"}}).last_event_id, "1:2");
}

TEST(EventParameters, PositionsThatNchanMustNotSee) {
  EXPECT_EQ(stream_of({}).position, Position::none);
  EXPECT_EQ(stream_of({}, {{"if-modified-since", modified}, {"if-none-match", "12"}}).position,
            Position::shown);
  const std::vector<ipc::Fields> malformed = {
      {{"if-none-match", "0"}},
      {{"if-modified-since", modified}},
      {{"if-modified-since", modified}, {"if-none-match", "\"0\""}},
      {{"if-modified-since", modified}, {"if-none-match", "0,[1]"}},
      {{"if-modified-since", modified}, {"if-none-match", "-1"}},
      {{"if-modified-since", modified}, {"if-none-match", "1234567890123"}},
      {{"if-modified-since", "yesterday"}, {"if-none-match", "0"}},
      {{"if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT+1"}, {"if-none-match", "0"}},
      {{"if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT"}, {"if-none-match", "0"}},
  };
  for (const auto& fields : malformed) {
    const auto stream = stream_of({}, fields);
    EXPECT_EQ(stream.position, Position::malformed) << fields.back().second;
    EXPECT_FALSE(nchan_has(stream));
    auto told = fields;
    told.emplace_back("last-event-id", "1.");
    EXPECT_FALSE(nchan_has(poll_of(told)));
  }
}

}  // namespace
}  // namespace postern::broker
