// How often a process asks for a broker that is away.
#include <poll.h>
#include <sys/socket.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "harness.hpp"
#include "postern/base/clock.hpp"
#include "postern/base/log.hpp"
#include "worker/broker_link.hpp"
#include "worker/limits.hpp"

namespace postern::worker::test {
namespace {

using namespace std::chrono_literals;

// Takes connections and closes them: a broker that is there and serves nobody.
class ClosingBroker {
 public:
  explicit ClosingBroker(const std::string& path)
      : listener_(listen_unix(path)), thread_([this] { run(); }) {}
  ~ClosingBroker() {
    stop_ = true;
    thread_.join();
  }
  ClosingBroker(const ClosingBroker&) = delete;
  ClosingBroker& operator=(const ClosingBroker&) = delete;
  int connections() const { return connections_; }

 private:
  void run() {
    while (!stop_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 10) <= 0) continue;
      const Fd taken(::accept(listener_.get(), nullptr, nullptr));
      ++connections_;
    }
  }
  Fd listener_;
  std::atomic<int> connections_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST(BrokerLinkTest, ManyWhoWaitAskNoMoreOftenThanOne) {
  TemporaryFolder folder;
  ClosingBroker broker(folder / "broker.sock");
  SystemClock clock;
  const auto logger = make_logger(LogTarget::stderr_text, "test");
  logger->set_level(LogLevel::error);
  BrokerLink link({folder / "broker.sock", {}, 8, "test"}, clock, *logger);
  const auto wait = 8 * broker_connect_pause;
  std::vector<std::thread> threads;
  std::atomic<int> away = 0;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      if (const auto got = link.get(clock.now() + wait); !got && got.error() == Unavailable::broker_away)
        ++away;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(away, 8);
  EXPECT_GE(broker.connections(), 2) << "it is tried again";
  EXPECT_LE(broker.connections(), 8 + 8 + 2) << "once in a pause, and each at the end of its own wait";
}

// Who doesn't wait at all is told by a try of their own.
TEST(BrokerLinkTest, WithoutAWaitEachAsksOnce) {
  TemporaryFolder folder;
  SystemClock clock;
  const auto logger = make_logger(LogTarget::stderr_text, "test");
  logger->set_level(LogLevel::error);
  BrokerLink link({folder / "broker.sock", {}, 8, "test"}, clock, *logger);
  EXPECT_FALSE(link.get(clock.now()));
  ClosingBroker broker(folder / "broker.sock");
  EXPECT_FALSE(link.get(clock.now()));
  EXPECT_FALSE(link.get(clock.now()));
  EXPECT_EQ(broker.connections(), 2);
}

}  // namespace
}  // namespace postern::worker::test
