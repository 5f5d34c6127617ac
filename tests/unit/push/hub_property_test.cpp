// Whatever happens in whatever order: nobody misses a state for ever, nobody is told a thing twice or too soon.
#include <gtest/gtest.h>

#include <random>

#include "hub_fixture.hpp"

namespace postern::push {
namespace {

struct Person {
  ListenerId id = 0;
  RecordingSink* sink = nullptr;
  std::string session;
  bool writing = false;
};

class HubProperties : public HubFixture, public ::testing::WithParamInterface<unsigned> {};

TEST_P(HubProperties, EverybodyEndsUpWithTheNewestStates) {
  std::mt19937 random(GetParam());
  const auto upto = [&random](unsigned n) {
    return std::uniform_int_distribution<unsigned>(0, n - 1)(random);
  };
  States now = states("1");
  std::vector<Person> people;
  unsigned counter = 1;
  for (int step = 0; step < 400; ++step) {
    const auto what = upto(8);
    if (what == 0 && people.size() < 6) {
      const auto session = "s" + std::to_string(upto(3));
      auto [id, sink] = listen({.account = 1, .session = session}, now);
      people.push_back({id, sink, session});
    } else if (what == 1 && !people.empty()) {
      const auto at = upto(static_cast<unsigned>(people.size()));
      if (people[at].writing) hub->write_ends(1, people[at].session, std::nullopt);
      hub->remove(people[at].id);
      people.erase(people.begin() + at);
    } else if (what <= 4) {
      now[upto(2) == 0 ? DataType::email : DataType::mailbox] = std::to_string(++counter);
      hub->on_states(1, now);
    } else if (what == 5 && !people.empty()) {
      auto& person = people[upto(static_cast<unsigned>(people.size()))];
      if (person.writing)
        hub->write_ends(1, person.session, now);
      else
        hub->write_begins(1, person.session);
      person.writing = !person.writing;
    } else {
      pass(std::chrono::milliseconds(upto(80)));
    }
  }
  for (auto& person : people)
    if (person.writing) hub->write_ends(1, person.session, std::nullopt);
  pass(options.own_write_max);
  now[DataType::email] = now[DataType::mailbox] = "last";
  hub->on_states(1, now);
  pass(options.coalesce);
  for (const auto& person : people) {
    ASSERT_FALSE(person.sink->events.empty());
    EXPECT_EQ(person.sink->events.back(), now);
  }
  // No event repeats the one before it.
  for (const auto& sink : sinks)
    for (std::size_t i = 1; i < sink->events.size(); ++i) EXPECT_NE(sink->events[i], sink->events[i - 1]);
  for (const auto& person : people) hub->remove(person.id);
  pass(options.grace);
  EXPECT_FALSE(hub->is_watched(1));
  EXPECT_EQ(timers.size(), 0u);
}

TEST_P(HubProperties, NeverMoreThanOneEventInTheTimeOfCoalescing) {
  std::mt19937 random(GetParam());
  struct TimedSink final : Sink {
    const Clock* clock = nullptr;
    std::vector<MonotonicTime> at;
    void on_event(const StateEvent&) override { at.push_back(clock->now()); }
    void on_end(EndReason) override {}
  } sink;
  sink.clock = &clock;
  hub->add({.account = 1, .session = "s"}, states("1"), sink);
  for (unsigned i = 2; i < 300; ++i) {
    hub->on_states(1, states(std::to_string(i)));
    pass(std::chrono::microseconds(std::uniform_int_distribution<int>(0, 40'000)(random)));
  }
  for (std::size_t i = 1; i < sink.at.size(); ++i) EXPECT_GE(sink.at[i] - sink.at[i - 1], options.coalesce);
  EXPECT_GT(sink.at.size(), 50u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, HubProperties, ::testing::Range(0u, 40u));

}  // namespace
}  // namespace postern::push
