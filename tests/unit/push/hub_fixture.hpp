// A hub by a clock that the test moves, and listeners that write down what they are told.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "postern/push/hub.hpp"

namespace postern::push {

using namespace std::chrono_literals;

struct RecordingSink final : Sink {
  std::vector<States> events;
  std::vector<TypeSet> types;
  std::vector<std::uint32_t> pings;
  std::vector<EndReason> ends;
  void on_event(const StateEvent& event) override {
    events.push_back(event.states);
    types.push_back(event.types);
  }
  void on_ping(std::uint32_t seconds) override { pings.push_back(seconds); }
  void on_end(EndReason reason) override { ends.push_back(reason); }
};

struct RecordingWatch final : WatchPort {
  std::vector<std::pair<AccountKey, bool>> calls;
  void on_watch(AccountKey account, bool wanted) override { calls.emplace_back(account, wanted); }
};

struct HubFixture : ::testing::Test {
  ManualClock clock;
  TimerQueue timers{clock};
  RecordingWatch watch;
  HubOptions options;
  std::unique_ptr<Hub> hub;
  std::vector<std::unique_ptr<RecordingSink>> sinks;

  void SetUp() override { hub = std::make_unique<Hub>(timers, options, watch); }
  void pass(Duration time) {
    clock.advance(time);
    timers.run_due();
  }
  static States states(std::string email, std::string mailbox = "1") {
    States made;
    made[DataType::email] = std::move(email);
    made[DataType::mailbox] = std::move(mailbox);
    return made;
  }
  std::pair<ListenerId, RecordingSink*> listen(ListenerOptions wanted, const States& now) {
    sinks.push_back(std::make_unique<RecordingSink>());
    auto* sink = sinks.back().get();
    const auto id = hub->add(std::move(wanted), now, *sink);
    return {id.value_or(0), sink};
  }
};

}  // namespace postern::push
