// ByteStream over socketpairs and loopback TCP: reads, writes, closing, time-outs.
#include "postern/io/stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "postern/io/readable.hpp"
#include "support/loop_fixture.hpp"

namespace postern::io {
namespace {

using namespace std::chrono_literals;

struct Listener {
  explicit Listener(int family = AF_INET) {
    fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (family == AF_INET) {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      socklen_t size = sizeof address;
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
      port = ntohs(address.sin_port);
    }
    EXPECT_EQ(::listen(fd, 8), 0);
  }
  ~Listener() { ::close(fd); }
  int fd = -1;
  std::uint16_t port = 0;
};

struct StreamTest : test::LoopFixture {
  StreamTest() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    stream = adopt_socket(loop, fds[0]);
    other = fds[1];
  }
  ~StreamTest() override {
    if (other >= 0) ::close(other);
  }
  void say(std::string_view text) {
    EXPECT_EQ(::send(other, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Reads once; what came, or the error.
  std::optional<Result<std::string>> got;
  static Task<> read_once(Loop& loop, ByteStream& stream, std::optional<Result<std::string>>& got) {
    auto size = co_await stream.read_some(loop.scratch());
    if (size) {
      got = std::string(loop.scratch().data(), *size);
    } else {
      got = fail(size.error());
    }
  }
  std::unique_ptr<ByteStream> stream;
  int other = -1;
};

TEST_F(StreamTest, ReadsWhatComesWhenItComes) {
  loop.spawn(read_once(loop, *stream, got));
  loop.poll();
  EXPECT_FALSE(got);
  say("hello");
  ASSERT_TRUE(pump_until([&] { return got.has_value(); }));
  EXPECT_EQ(got->value(), "hello");
  EXPECT_EQ(stream->peer(), "unix");
  EXPECT_TRUE(is_loopback(*stream));
  EXPECT_FALSE(stream->is_tls());
}

TEST_F(StreamTest, TheEndIsClosed) {
  ::close(std::exchange(other, -1));
  loop.spawn(read_once(loop, *stream, got));
  ASSERT_TRUE(pump_until([&] { return got.has_value(); }));
  EXPECT_EQ(got->error().code, make_error_code(Errc::closed));
}

TEST_F(StreamTest, CloseEndsAPendingRead) {
  loop.spawn(read_once(loop, *stream, got));
  loop.poll();
  stream->close();
  stream->close();
  ASSERT_TRUE(pump_until([&] { return got.has_value(); }));
  EXPECT_EQ(got->error().code, make_error_code(Errc::closed));
}

TEST_F(StreamTest, DestructionEndsAPendingRead) {
  loop.spawn(read_once(loop, *stream, got));
  loop.poll();
  stream.reset();
  ASSERT_TRUE(pump_until([&] { return got.has_value(); }));
  EXPECT_EQ(got->error().code, make_error_code(Errc::closed));
}

Task<> write_big(ByteStream& stream, std::string data, std::optional<Result<>>& done) {
  done = co_await stream.write_all(data);
}

TEST_F(StreamTest, WritesMoreThanTheSocketTakes) {
  std::string big(4 * 1024 * 1024, 'x');
  std::optional<Result<>> done;
  loop.spawn(write_big(*stream, big, done));
  loop.poll();
  EXPECT_FALSE(done);
  std::size_t read = 0;
  std::array<char, 65536> buffer{};
  ASSERT_TRUE(pump_until([&] {
    const auto got_now = ::recv(other, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got_now > 0) read += static_cast<std::size_t>(got_now);
    return done.has_value() && read == big.size();
  }));
  EXPECT_TRUE(done->has_value());
}

TEST_F(StreamTest, WriteToAClosedPeerIsAnErrorAndNoSignal) {
  ::close(std::exchange(other, -1));
  EXPECT_EQ(stream->write_now("x").error().code, make_error_code(Errc::closed));
}

TEST_F(StreamTest, WriteNowTakesWhatFits) {
  const std::string big(4 * 1024 * 1024, 'x');
  auto first = stream->write_now(big);
  ASSERT_TRUE(first);
  EXPECT_GT(*first, 0u);
  EXPECT_LT(*first, big.size());
  auto second = stream->write_now("y");
  ASSERT_TRUE(second);
  EXPECT_EQ(*second, 0u);
}

TEST_F(StreamTest, CloseDuringAPendingWrite) {
  std::optional<Result<>> done;
  loop.spawn(write_big(*stream, std::string(4 * 1024 * 1024, 'x'), done));
  loop.poll();
  stream.reset();
  ASSERT_TRUE(pump_until([&] { return done.has_value(); }));
  EXPECT_EQ(done->error().code, make_error_code(Errc::closed));
}

TEST_F(StreamTest, ReadableCallsBackForOctetsAndForTheEnd) {
  int calls = 0;
  const auto count = [&calls] { ++calls; };
  when_readable(*stream, count);  // perhaps: nothing has been read yet
  ASSERT_TRUE(pump_until([&] { return calls == 1; }));
  EXPECT_EQ(read_now(*stream, loop.scratch()).value(), 0u);
  when_readable(*stream, count);
  loop.poll();
  EXPECT_EQ(calls, 1);
  say("hello");
  ASSERT_TRUE(pump_until([&] { return calls == 2; }));
  EXPECT_EQ(read_now(*stream, loop.scratch()).value(), 5u);
  when_readable(*stream, count);
  stream->close();
  ASSERT_TRUE(pump_until([&] { return calls == 3; }));
  EXPECT_EQ(read_now(*stream, loop.scratch()).error().code, make_error_code(Errc::closed));
  when_readable(*stream, count);
  stream.reset();
  ASSERT_TRUE(pump_until([&] { return calls == 4; }));
}

TEST(Stream, AReadPendingAtTheEndOfTheLoop) {
  std::optional<Result<std::string>> got;
  std::array<int, 2> fds{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  {
    ManualClock clock;
    SystemRandom random;
    NullLogger logger;
    Loop loop(clock, random, logger);
    auto stream = adopt_socket(loop, fds[0]);
    loop.spawn([](std::unique_ptr<ByteStream> s, Loop& l) -> Task<> {
      (void)co_await s->read_some(l.scratch());
    }(std::move(stream), loop));
    loop.poll();
  }
  char c;
  EXPECT_EQ(::recv(fds[1], &c, 1, 0), 0);  // closed with it
  ::close(fds[1]);
}

struct ConnectTest : test::LoopFixture {};

TEST_F(ConnectTest, Connects) {
  Listener listener;
  auto stream = await(connect_tcp(loop, Endpoint{"127.0.0.1", listener.port}, 5s));
  ASSERT_TRUE(stream) << stream.error().to_string();
  EXPECT_EQ((*stream)->peer(), "127.0.0.1:" + std::to_string(listener.port));
  EXPECT_EQ((*stream)->peer_address(), "127.0.0.1");
  EXPECT_TRUE(is_loopback(**stream));
  const int accepted = ::accept(listener.fd, nullptr, nullptr);
  ASSERT_GE(accepted, 0);
  ::close(accepted);
}

TEST_F(ConnectTest, ResolvesLocalhostAndTriesEachAddress) {
  Listener listener;  // on IPv4 only: where ::1 comes first, it is refused
  auto stream = await(connect_tcp(loop, Endpoint{"localhost", listener.port}, 5s));
  EXPECT_TRUE(stream) << stream.error().to_string();
}

TEST_F(ConnectTest, RefusedSaysSo) {
  std::uint16_t port = 0;
  {
    Listener gone;
    port = gone.port;
  }
  auto stream = await(connect_tcp(loop, Endpoint{"127.0.0.1", port}, 5s));
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, make_error_code(Errc::connect));
  EXPECT_NE(stream.error().context.find("refused"), std::string::npos) << stream.error().context;
}

TEST_F(ConnectTest, ANameThatDoesNotExist) {
  auto stream = await(connect_tcp(loop, Endpoint{"no such name.invalid", 993}, 30s));
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, make_error_code(Errc::resolve));
}

TEST_F(ConnectTest, NobodyAnswers) {
  // A listener whose queue is full leaves connect() hanging.
  Listener listener;
  ::listen(listener.fd, 0);
  std::vector<std::unique_ptr<ByteStream>> queued;
  std::optional<Result<std::unique_ptr<ByteStream>>> result;
  auto connect = [](Loop& l, Endpoint e, std::optional<Result<std::unique_ptr<ByteStream>>>& r) -> Task<> {
    r = co_await connect_tcp(l, e, 5s);
  };
  for (int i = 0; i < 16; ++i) {
    result.reset();
    loop.spawn(connect(loop, Endpoint{"127.0.0.1", listener.port}, result));
    loop.poll();
    loop.context().run_one_for(20ms);
    loop.poll();
    if (!result) break;
    if (*result) queued.push_back(std::move(**result));
  }
  ASSERT_FALSE(result.has_value());
  clock.advance(5s);
  ASSERT_TRUE(pump_until([&] { return result.has_value(); }));
  EXPECT_EQ(result->error().code, make_error_code(Errc::timeout));
}

}  // namespace
}  // namespace postern::io
