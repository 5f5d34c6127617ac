// A front end's publisher over a real socket: who waits for one that hangs, and what it has no room for.
#include "postern/push/publisher.hpp"

#include <unistd.h>

#include "postern/io/event.hpp"
#include "postern/io/stream.hpp"
#include "support/loop_fixture.hpp"

namespace postern::push {
namespace {

using namespace std::chrono_literals;

// Answers each request with one subscriber, once it may.
struct FrontEnd {
  explicit FrontEnd(io::Loop& loop) : answers(loop) {}
  io::Event answers;
  std::size_t requests = 0;
};

struct PublisherTest : test::LoopFixture {
  std::string path = "/tmp/postern-publisher-" + std::to_string(::getpid()) + ".sock";
  std::shared_ptr<FrontEnd> front = std::make_shared<FrontEnd>(loop);
  std::unique_ptr<io::UnixListener> listener;
  std::unique_ptr<Publisher> publisher;
  struct Asked {
    std::size_t answered = 0, failed = 0;
    std::size_t ended() const { return answered + failed; }
  } asked;

  static io::Task<> serve(std::shared_ptr<FrontEnd> front, std::unique_ptr<io::ByteStream> stream,
                          io::Loop& loop) {
    std::string text;
    while (true) {
      while (text.find("\r\n\r\n") == std::string::npos) {
        const auto got = co_await stream->read_some(loop.scratch());
        if (!got) co_return;
        text.append(loop.scratch().data(), *got);
      }
      text.clear();
      ++front->requests;
      co_await front->answers.wait();
      constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"subscribers\": 1}";
      if (!co_await stream->write_all(answer)) co_return;
    }
  }
  static io::Task<> accept_all(std::shared_ptr<FrontEnd> front, io::UnixListener& listener, io::Loop& loop) {
    while (true) {
      auto accepted = co_await listener.accept();
      if (!accepted) co_return;
      loop.spawn(serve(front, std::move(accepted->stream), loop));
    }
  }
  void SetUp() override {
    ::unlink(path.c_str());
    auto opened = io::UnixListener::open(loop, path, 0600);
    ASSERT_TRUE(opened) << opened.error().to_string();
    listener = std::move(*opened);
    loop.spawn(accept_all(front, *listener, loop));
    start({});
  }
  void start(PublishOptions options) {
    publisher =
        std::make_unique<Publisher>(loop, "nginx", *io::parse_local_http("http://unix:" + path + ":/p/"),
                                    options, [](const ChannelReport&) {});
  }
  ~PublisherTest() override {
    publisher.reset();
    listener->close();
    front->answers.set();
    loop.poll();
  }
  static io::Task<> ask_one(Publisher& publisher, Asked& asked) {
    const auto report = co_await publisher.ask_now({PublishJob::Kind::ask, "x", {}, {}, {}});
    ++(report ? asked.answered : asked.failed);
  }
  void ask(std::size_t times = 1) {
    for (std::size_t i = 0; i < times; ++i) loop.spawn(ask_one(*publisher, asked));
  }
  bool ended(std::size_t number) {
    return pump_until([&] { return asked.ended() == number; });
  }
  bool reached(std::size_t requests) {
    return pump_until([&] { return front->requests == requests; });
  }
};

TEST_F(PublisherTest, ThoseBehindAsksMaxWaitForTheirTurn) {
  ask(asks_max + 1);
  ASSERT_TRUE(reached(asks_max));
  loop.poll();
  EXPECT_EQ(front->requests, asks_max);
  EXPECT_EQ(asked.ended(), 0u);
  front->answers.set();
  EXPECT_TRUE(ended(asks_max + 1));
  EXPECT_EQ(asked.answered, asks_max + 1);
}

TEST_F(PublisherTest, NobodyWaitsBehindOneThatHangs) {
  ask(asks_max + 3);
  ASSERT_TRUE(reached(asks_max));
  clock.advance(publisher_slow_after);
  EXPECT_TRUE(ended(3));
  EXPECT_EQ(asked.failed, 3u);
  EXPECT_FALSE(publisher->takes_asks());
  ask(100);
  EXPECT_TRUE(ended(103));
  EXPECT_EQ(front->requests, asks_max);
  clock.advance(5s);  // those under way are given up
  EXPECT_TRUE(ended(asks_max + 103));
  EXPECT_EQ(asked.answered, 0u);
}

TEST_F(PublisherTest, OneAtATimeTriesWhetherItAnswersAgain) {
  ask();
  ASSERT_TRUE(reached(1));
  clock.advance(5s);
  ASSERT_TRUE(ended(1));
  EXPECT_TRUE(publisher->takes_asks());
  ask(10);
  ASSERT_TRUE(reached(2));
  EXPECT_TRUE(publisher->takes_asks());
  clock.advance(publisher_slow_after);
  EXPECT_TRUE(ended(10));
  EXPECT_EQ(front->requests, 2u);
  EXPECT_FALSE(publisher->takes_asks());
  front->answers.set();
  EXPECT_TRUE(ended(11));
  EXPECT_EQ(asked.answered, 1u);
  ask(asks_max);
  EXPECT_TRUE(ended(11 + asks_max));
  EXPECT_EQ(asked.answered, 1u + asks_max);
  EXPECT_EQ(logger.count("front end can't be told"), 1u);
  EXPECT_EQ(logger.count("front end is there again"), 1u);
}

TEST_F(PublisherTest, WhatThereIsNoRoomForIsCountedAndSaidOnce) {
  PublishOptions options;
  options.channels_max = 1;
  start(options);
  const auto put = [&](const char* channel) {
    return publisher->put({PublishJob::Kind::ask, channel, {}, {}, {}});
  };
  EXPECT_TRUE(put("x"));
  ASSERT_TRUE(reached(1));  // it is under way
  EXPECT_TRUE(put("y"));
  EXPECT_FALSE(put("z"));
  EXPECT_FALSE(put("w"));
  EXPECT_TRUE(put("y"));
  EXPECT_EQ(publisher->counters().refused, 2u);
  EXPECT_EQ(logger.count("too much waits for a front end"), 1u);
  front->answers.set();
  EXPECT_TRUE(pump_until([&] { return publisher->queued() == 0 && front->requests == 2; }));
  EXPECT_TRUE(put("z"));
}

}  // namespace
}  // namespace postern::push
