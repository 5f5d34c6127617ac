// IpcServer against a worker that the test plays, over a Unix socket: how many streams it takes.
#include "broker/ipc_server.hpp"

#include <unistd.h>

#include <array>
#include <filesystem>
#include <stdexcept>

#include "support/loop_fixture.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;

struct IpcServerTest : test::LoopFixture {
  IpcServerTest() {
    char name[] = "/tmp/postern-ipc-XXXXXX";
    folder = ::mkdtemp(name);
    auto listener = io::UnixListener::open(loop, folder + "/broker.sock", 0600);
    EXPECT_TRUE(listener);
    server = std::make_unique<IpcServer>(
        loop, std::move(*listener), IpcOptions{{::geteuid()}, connections_max},
        [this](std::shared_ptr<RequestStream> stream) { return hold(*this, std::move(stream)); });
    server->start();
    worker = connect();
    std::string hello;
    ipc::append_hello(hello, "worker of a test");
    send(hello);
  }
  ~IpcServerTest() override {
    server->close();
    std::filesystem::remove_all(folder);
  }

  // A request that isn't answered before `release`, and then with a cancel: its handler has no answer. Or the handler
  // begins one and ends in the middle.
  static io::Task<> hold(IpcServerTest& self, std::shared_ptr<RequestStream> stream) {
    if (self.begin_only) {
      EXPECT_TRUE(co_await stream->begin({}));
      EXPECT_TRUE(co_await stream->send("half of it", false));
      co_return;
    }
    if (stream->head().method == "POST") {
      self.body = co_await stream->read_body(1'000'000);
      co_return;
    }
    if (stream->head().target == "/download") {
      for (std::size_t piece = 0;; ++piece) {
        while (self.pieces <= piece) {
          self.more.reset();
          co_await self.more.wait();
        }
        if (!co_await stream->send(std::string(piece_bytes, 'x'), false)) co_return;
      }
    }
    if (stream->head().target == "/write") {
      self.told = co_await stream->effects();
      co_return;
    }
    co_await self.release.wait();
    if (self.throws) throw std::logic_error("a bug");
  }
  std::unique_ptr<io::ByteStream> connect() {
    return await(io::connect_unix(loop, folder + "/broker.sock", 5s)).value();
  }
  // The broker closes the connection, whatever it has said before.
  bool is_closed(io::ByteStream& stream) {
    while (await(stream.read_some(buffer))) {
    }
    return true;
  }
  void send(const std::string& frames) { EXPECT_TRUE(await(worker->write_all(frames))); }
  static std::string request(std::uint32_t stream, std::string target = "/jmap/session") {
    ipc::RequestHead head;
    head.id = "request-" + std::to_string(stream);
    head.method = "GET";
    head.scheme = "https";
    head.host = "mail.example.com";
    head.target = std::move(target);
    std::string frame;
    ipc::append_frame(frame, ipc::FrameType::request, ipc::end_stream, stream,
                      ipc::encode_request_head(head).value());
    return frame;
  }
  // The next cancel that the broker sends; it sends nothing but that and its hello, and what an answer began with.
  std::pair<std::uint32_t, ipc::CancelReason> next_cancel() {
    for (;;) {
      std::string_view left = received;
      while (true) {
        const auto frame = ipc::next_frame(left);
        if (!frame || !*frame) break;
        if ((*frame)->type == ipc::FrameType::cancel) {
          const std::pair cancel{(*frame)->stream, ipc::parse_cancel((*frame)->payload).value()};
          received = std::string(left);
          return cancel;
        }
        EXPECT_TRUE((*frame)->type == ipc::FrameType::hello || begin_only);
        EXPECT_FALSE((*frame)->ends_stream());
      }
      received = std::string(left);
      const auto got = await(worker->read_some(buffer));
      if (!got) throw std::runtime_error("the broker has closed the connection");
      received.append(buffer.data(), *got);
    }
  }

  static constexpr std::uint32_t connections_max = 4;
  bool begin_only = false, throws = false;
  std::optional<Result<std::string>> body;
  static constexpr std::size_t piece_bytes = 2'000'000;  // of a download, more than a socket holds
  std::size_t pieces = 0;                                // that it may send
  io::Event more{loop};
  std::optional<bool> told;  // what effects() said
  std::uint32_t posted = 0;
  std::string folder, received;
  std::array<char, 4096> buffer{};
  io::Event release{loop};
  std::unique_ptr<IpcServer> server;
  std::unique_ptr<io::ByteStream> worker;
};

TEST_F(IpcServerTest, StreamsOfAConnectionAreBounded) {
  constexpr auto most = ipc::streams_per_connection_max;
  std::string frames;
  for (std::uint32_t stream = 1; stream <= most; ++stream) frames += request(stream);
  send(frames);
  ASSERT_TRUE(pump_until([&] { return server->counters().streams_open == most; }));

  send(request(most + 1));
  EXPECT_EQ(next_cancel(), std::pair(most + 1, ipc::CancelReason::refused));
  EXPECT_EQ(server->counters().streams_open, most);
  EXPECT_EQ(server->counters().requests, most);

  // None of the others was refused, and when they are over there is room again.
  release.set();
  for (std::uint32_t stream = 1; stream <= most; ++stream)
    EXPECT_EQ(next_cancel(), std::pair(stream, ipc::CancelReason::broker_error));
  ASSERT_TRUE(pump_until([&] { return server->counters().streams_open == 0; }));
  send(request(most + 2));
  EXPECT_EQ(next_cancel(), std::pair(most + 2, ipc::CancelReason::broker_error));
}

TEST_F(IpcServerTest, AnExceptionCostsOneRequest) {
  throws = true;
  release.set();
  for (std::uint32_t stream = 1; stream <= 2; ++stream) {
    send(request(stream));
    EXPECT_EQ(next_cancel(), std::pair(stream, ipc::CancelReason::broker_error));
  }
  EXPECT_EQ(logger.count("exception left a request request=request-1 what=\"a bug\""), 1u);
}

TEST_F(IpcServerTest, EffectsWaitForWhatIsBeforeThemAlone) {
  std::string frames = request(1, "/download");
  ipc::append_window(frames, 1, 4 * piece_bytes);
  send(frames);
  const auto next_piece = [this] {
    ++pieces;
    more.set();
    loop.poll();
  };
  std::string data(100'000, '\0');
  std::size_t read = 0;
  const auto read_to = [&](std::size_t mark) {
    while (read < mark) read += await(worker->read_some(data)).value();
  };
  next_piece();
  read_to(100'000);
  send(request(2, "/write"));
  ASSERT_TRUE(pump_until([&] { return server->counters().streams_open == 2; }));
  loop.poll();
  next_piece();
  read_to(piece_bytes - 1'000'000);
  EXPECT_FALSE(told) << "the first piece is still being written";
  // The worker reads on, and there is always more to be written: what stands behind is not waited for.
  read_to(piece_bytes + 500'000);
  next_piece();
  read_to(2 * piece_bytes + 100'000);
  next_piece();
  ASSERT_TRUE(pump_until([&] { return told.has_value(); }));
  EXPECT_TRUE(*told);
  EXPECT_LT(read, 3 * piece_bytes);
}

// A password must not be left behind where the body was before it grew.
TEST_F(IpcServerTest, ABodyStaysWhereItIsWhenALittleIsAppended) {
  for (const std::size_t size : {100uz, 64uz * 1024}) {
    ipc::RequestHead head;
    head.method = "POST";
    head.content_length = size;
    std::string frames;
    const auto stream = ++posted;
    ipc::append_frame(frames, ipc::FrameType::request, 0, stream, ipc::encode_request_head(head).value());
    ipc::append_body(frames, stream, std::string(size, 'x'), true);
    body.reset();
    send(frames);
    ASSERT_TRUE(pump_until([&] { return body.has_value(); }));
    ASSERT_TRUE(*body);
    const auto* before = (*body)->data();
    EXPECT_EQ((*body)->size(), size);
    (*body)->append(RequestStream::body_spare_bytes, '\0');
    EXPECT_EQ((*body)->data(), before) << size;
  }
}

TEST_F(IpcServerTest, ConnectionsAreBounded) {
  std::vector<std::unique_ptr<io::ByteStream>> others;
  for (std::uint32_t i = 1; i < connections_max; ++i) others.push_back(connect());
  ASSERT_TRUE(pump_until([&] { return server->counters().connections_open == connections_max; }));
  EXPECT_TRUE(is_closed(*connect()));
  EXPECT_EQ(server->counters().connections_refused, 1u);
  EXPECT_EQ(server->counters().connections_open, connections_max);
  others.pop_back();
  ASSERT_TRUE(pump_until([&] { return server->counters().connections_open == connections_max - 1; }));
  others.push_back(connect());
  EXPECT_TRUE(pump_until([&] { return server->counters().connections_open == connections_max; }));
  EXPECT_EQ(server->counters().connections_refused, 1u);
}

TEST_F(IpcServerTest, WhoeverIsNotAllowedIsRefused) {
  const auto path = folder + "/other.sock";
  IpcServer other(loop, io::UnixListener::open(loop, path, 0600).value(), IpcOptions{{::geteuid() + 1}, 4},
                  [](std::shared_ptr<RequestStream>) -> io::Task<> { co_return; });
  other.start();
  auto stranger = await(io::connect_unix(loop, path, 5s)).value();
  EXPECT_TRUE(is_closed(*stranger));
  EXPECT_EQ(other.counters().connections_refused, 1u);
  EXPECT_EQ(other.counters().connections, 0u);
  EXPECT_EQ(logger.count("connection to the broker refused"), 1u);
  other.close();
  loop.poll();
}

TEST_F(IpcServerTest, WhoeverBreaksTheProtocolIsCutOff) {
  using ipc::FrameType;
  const auto frame = [](FrameType type, std::uint32_t stream, std::string_view payload = {}) {
    std::string out;
    ipc::append_frame(out, type, 0, stream, payload);
    return out;
  };
  std::string hello, too_much, window = request(1);
  ipc::append_hello(hello, "worker of a test");
  ipc::append_window(window, 1, ipc::SendCredit::credit_max);
  ipc::RequestHead head;
  head.method = "GET";
  ipc::append_frame(too_much, FrameType::request, 0, 1, ipc::encode_request_head(head).value());
  ipc::append_body(too_much, 1, std::string(ipc::window_bytes + 1, 'x'), false);
  const std::pair<const char*, std::string> breaches[] = {
      {"a request before hello", request(1)},
      {"a version of another time", frame(FrameType::hello, 0, std::string(4, '\x63') + "worker")},
      {"hello twice", hello + hello},
      {"an answer", hello + frame(FrameType::response, 1)},
      {"goodbye", hello + frame(FrameType::goodbye, 0)},
      {"a stream number used again", hello + request(2) + request(2)},
      {"a lower one", hello + request(2) + request(1)},
      {"data for no stream", hello + frame(FrameType::data, 1, "x")},
      {"data behind the end", hello + request(1) + frame(FrameType::data, 1, "x")},
      {"data without credit", hello + too_much},
      {"too much credit", hello + window},
      {"a head that is none", hello + frame(FrameType::request, 1, "x")}};
  std::uint64_t errors = 0;
  for (const auto& [what, octets] : breaches) {
    auto other = connect();
    EXPECT_TRUE(await(other->write_all(octets))) << what;
    EXPECT_TRUE(is_closed(*other)) << what;
    EXPECT_EQ(server->counters().protocol_errors, ++errors) << what;
  }
  EXPECT_TRUE(pump_until([&] { return server->counters().connections_open == 1; })) << "the others'";
}

TEST_F(IpcServerTest, AnAnswerThatEndsInTheMiddleIsCancelled) {
  begin_only = true;
  send(request(1));
  EXPECT_EQ(next_cancel(), std::pair(1u, ipc::CancelReason::broker_error));
}

}  // namespace
}  // namespace postern::broker
