// TLS against a server of the test's own with its own CA: verification, names, pins, versions, resumption, silence.
#include <signal.h>
#include <gmock/gmock.h>

#include "postern/io/stream.hpp"
#include "support/loop_fixture.hpp"
#include "support/temporary_file.hpp"
#include "support/test_ca.hpp"
#include "tls_server.hpp"

namespace postern::io {
namespace {

using namespace std::chrono_literals;
using Opened = Result<std::unique_ptr<ByteStream>>;

TlsOptions pinned(std::vector<std::string> pins, bool verify = true) {
  TlsOptions options;
  options.pins_sha256 = std::move(pins);
  options.verify = verify;
  return options;
}
TlsOptions at_least(std::string version) {
  TlsOptions options;
  options.min_version = std::move(version);
  return options;
}

struct TlsTest : test::LoopFixture {
  test::TestCa authority;
  test::TemporaryFile ca{authority.certificate_pem()};

  std::shared_ptr<TlsContext> context(TlsOptions options = {}) {
    if (options.ca_file.empty()) options.ca_file = ca.path();
    auto made = TlsContext::make(options);
    EXPECT_TRUE(made) << made.error().to_string();
    return *made;
  }
  Opened open(std::uint16_t port, std::shared_ptr<TlsContext> tls, std::string host = "localhost") {
    return await(open_tls(loop, port, std::move(tls), std::move(host)));
  }
  static Task<Opened> open_tls(Loop& loop, std::uint16_t port, std::shared_ptr<TlsContext> tls,
                               std::string host) {
    auto plain = co_await connect_tcp(loop, Endpoint{"127.0.0.1", port}, 5s);
    if (!plain) co_return fail(plain.error());
    co_return co_await start_tls(loop, std::move(*plain), tls, host, 5s);
  }
  static Task<Result<std::string>> exchange(Loop& loop, ByteStream& stream, std::string text) {
    auto written = co_await stream.write_all(text);
    if (!written) co_return fail(written.error());
    std::string back;
    while (back.size() < text.size()) {
      auto size = co_await stream.read_some(loop.scratch());
      if (!size) co_return fail(size.error());
      back.append(loop.scratch().data(), *size);
    }
    co_return back;
  }
};

TEST_F(TlsTest, TalksWithACustomCa) {
  test::TlsEchoServer server(authority.issue({"localhost"}));
  auto stream = open(server.port, context());
  ASSERT_TRUE(stream) << stream.error().to_string();
  EXPECT_TRUE((*stream)->is_tls());
  EXPECT_TRUE(is_loopback(**stream));
  auto back = await(exchange(loop, **stream, "hello"));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(*back, "hello");
  const std::string big(300'000, 'y');  // many records, and more than the socket takes at once
  back = await(exchange(loop, **stream, big));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(*back, big);
}

TEST_F(TlsTest, AnUnknownCaIsInvalid) {
  test::TestCa other;
  test::TlsEchoServer server(other.issue({"localhost"}));
  auto stream = open(server.port, context());
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, make_error_code(Errc::certificate_invalid));
  EXPECT_THAT(stream.error().context, ::testing::HasSubstr("unable to get local issuer"));
}

TEST_F(TlsTest, AnExpiredCertificateIsInvalid) {
  test::TlsEchoServer server(authority.issue({"localhost"}, test::TestCa::Validity::expired));
  auto stream = open(server.port, context());
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, make_error_code(Errc::certificate_invalid));
  EXPECT_THAT(stream.error().context, ::testing::HasSubstr("expired"));
}

TEST_F(TlsTest, AnotherNameIsRefused) {
  test::TlsEchoServer server(authority.issue({"mail.example.com"}));
  EXPECT_EQ(open(server.port, context()).error().code, make_error_code(Errc::certificate_name));
  EXPECT_EQ(open(server.port, context(), "127.0.0.1").error().code, make_error_code(Errc::certificate_name));
  EXPECT_TRUE(open(server.port, context(), "Mail.Example.com"));
  EXPECT_EQ(open(server.port, context(), "").error().code, make_error_code(Errc::tls));
}

TEST_F(TlsTest, AnIpAddressIsAName) {
  test::TlsEchoServer server(authority.issue({"127.0.0.1"}));
  auto stream = open(server.port, context(), "127.0.0.1");
  EXPECT_TRUE(stream) << stream.error().to_string();
}

TEST_F(TlsTest, WithoutVerificationAnythingGoes) {
  test::TestCa other;
  test::TlsEchoServer server(other.issue({"mail.example.com"}));
  EXPECT_TRUE(open(server.port, context(pinned({}, false))));
}

TEST_F(TlsTest, Pins) {
  auto certificate = authority.issue({"localhost"});
  const auto pin = test::public_key_pin(certificate.certificate_pem);
  const auto other = test::public_key_pin(authority.issue({"localhost"}).certificate_pem);
  test::TlsEchoServer server(certificate);
  EXPECT_TRUE(open(server.port, context(pinned({other, pin}))));
  EXPECT_TRUE(open(server.port, context(pinned({test::public_key_pin(authority.certificate_pem())}))));
  EXPECT_EQ(open(server.port, context(pinned({other}))).error().code, make_error_code(Errc::pin_mismatch));
  // Without verification the pin alone decides.
  EXPECT_TRUE(open(server.port, context(pinned({pin}, false)), "other.name"));
  EXPECT_EQ(open(server.port, context(pinned({other}, false))).error().code,
            make_error_code(Errc::pin_mismatch));
}

TEST_F(TlsTest, TheMinimumVersion) {
  test::TlsEchoServer server(authority.issue({"localhost"}), TLS1_2_VERSION);
  EXPECT_TRUE(open(server.port, context()));
  EXPECT_EQ(open(server.port, context(at_least("1.3"))).error().code, make_error_code(Errc::tls));
}

TEST_F(TlsTest, BadOptionsAreRefused) {
  EXPECT_FALSE(TlsContext::make(at_least("1.4")));
  TlsOptions no_such_file;
  no_such_file.ca_file = "/nonexistent/ca.pem";
  EXPECT_FALSE(TlsContext::make(no_such_file));
  EXPECT_FALSE(TlsContext::make(pinned({"abc"})));
}

// Both kinds: tickets of TLS 1.3 come after the handshake, sessions of TLS 1.2 with it.
struct TlsResumptionTest : TlsTest, ::testing::WithParamInterface<int> {};

TEST_P(TlsResumptionTest, TheSecondConnectionResumes) {
  test::TlsEchoServer server(authority.issue({"localhost", "other.name"}), GetParam());
  auto tls = context();
  for (int i = 0; i < 12; ++i) {  // past tls_sessions_max
    auto stream = open(server.port, tls);
    ASSERT_TRUE(stream) << stream.error().to_string();
    EXPECT_EQ((*stream)->tls_resumed(), i > 0) << i;
    EXPECT_EQ(await(exchange(loop, **stream, "x")).value(), "x");
  }
  EXPECT_EQ(server.resumed, 11);
  // A session says nothing about another name.
  auto other = open(server.port, tls, "other.name");
  ASSERT_TRUE(other);
  EXPECT_FALSE((*other)->tls_resumed());
  other->reset();
  EXPECT_EQ(open(server.port, tls, "third.name").error().code, make_error_code(Errc::certificate_name));
}
INSTANTIATE_TEST_SUITE_P(Versions, TlsResumptionTest, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_F(TlsTest, AServerThatStaysSilentTimesOut) {
  test::TlsEchoServer server(authority.issue({"localhost"}));
  server.silent = true;
  std::optional<Opened> opened;
  loop.spawn([](Loop& l, std::uint16_t p, std::shared_ptr<TlsContext> t, std::optional<Opened>& o) -> Task<> {
    o = co_await open_tls(l, p, t, "localhost");
  }(loop, server.port, context(), opened));
  for (int i = 0; i < 3; ++i) {
    loop.poll();
    loop.context().run_one_for(20ms);
  }
  EXPECT_FALSE(opened);
  clock.advance(5s);
  ASSERT_TRUE(pump_until([&] { return opened.has_value(); }));
  EXPECT_EQ(opened->error().code, make_error_code(Errc::timeout));
}

TEST_F(TlsTest, AServerThatSpeaksNoTls) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  ::listen(listener, 1);
  std::thread server([&] {
    const int fd = ::accept(listener, nullptr, nullptr);
    ::send(fd, "* OK ready\r\n", 12, MSG_NOSIGNAL);
    char c;
    while (::recv(fd, &c, 1, 0) > 0) {
    }
    ::close(fd);
  });
  auto stream = open(ntohs(address.sin_port), context());
  server.join();
  ::close(listener);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, make_error_code(Errc::tls));
}

TEST_F(TlsTest, AWriteAfterThePeerWentAwayRaisesNoSignal) {
  Opened stream = fail(Errc::io);
  {
    test::TlsEchoServer server(authority.issue({"localhost"}));
    stream = open(server.port, context());
    ASSERT_TRUE(stream);
    ASSERT_TRUE(await(exchange(loop, **stream, "x")));
  }
  std::optional<Errc> ended;
  for (int i = 0; i < 100 && !ended; ++i) {
    auto written = (*stream)->write_now("into the void");
    if (!written) ended = static_cast<Errc>(written.error().code.value());
  }
  EXPECT_EQ(ended, Errc::closed);
  auto read = await((*stream)->read_some(loop.scratch()));
  EXPECT_FALSE(read);
}

TEST_F(TlsTest, DestructionEndsAPendingRead) {
  test::TlsEchoServer server(authority.issue({"localhost"}));
  auto stream = open(server.port, context());
  ASSERT_TRUE(stream);
  std::optional<Errc> ended;
  loop.spawn([](Loop& l, ByteStream& s, std::optional<Errc>& e) -> Task<> {
    auto size = co_await s.read_some(l.scratch());
    e = size ? Errc::io : static_cast<Errc>(size.error().code.value());
  }(loop, **stream, ended));
  loop.poll();
  stream->reset();
  ASSERT_TRUE(pump_until([&] { return ended.has_value(); }));
  EXPECT_EQ(*ended, Errc::closed);
}

}  // namespace
}  // namespace postern::io
