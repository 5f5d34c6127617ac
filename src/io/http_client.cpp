// Boost.Beast writes the request and parses the response; the octets go through a ByteStream.
#include "postern/io/http_client.hpp"

#include <charconv>
#include <sstream>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "postern/io/scoped_timer.hpp"
#include "postern/io/unix_path.hpp"

namespace postern::io {

namespace http = boost::beast::http;

std::optional<HttpAddress> parse_local_http(std::string_view text) {
  constexpr std::string_view scheme = "http://", unix_mark = "unix:";
  if (!text.starts_with(scheme)) return std::nullopt;
  text.remove_prefix(scheme.size());
  for (char c : text)
    if (c <= ' ' || c > '~') return std::nullopt;
  HttpAddress address;
  if (text.starts_with(unix_mark)) {
    text.remove_prefix(unix_mark.size());
    const auto colon = text.find(":/");
    if (!text.starts_with('/') || colon == std::string_view::npos) return std::nullopt;
    address.unix_path = text.substr(0, colon);
    address.path = text.substr(colon + 1);
    address.host = "localhost";
    if (!check_unix_path(address.unix_path)) return std::nullopt;
    return address;
  }
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  address.host = text.substr(0, slash);
  address.path = text.substr(slash);
  auto host = std::string_view(address.host);
  address.endpoint.port = 80;
  if (const auto colon = host.rfind(':'); colon != std::string_view::npos && !host.ends_with(']')) {
    const auto port = host.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.endpoint.port);
    if (error != std::errc{} || end != port.data() + port.size() || address.endpoint.port == 0)
      return std::nullopt;
    host = host.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code wrong;
  const auto parsed = boost::asio::ip::make_address(std::string(host), wrong);
  if (host != "localhost" && (wrong || !parsed.is_loopback())) return std::nullopt;
  address.endpoint.host = host;
  return address;
}

struct HttpClient::State {
  State(Loop& l, HttpAddress a) : loop(l), address(std::move(a)) {}
  Loop& loop;
  const HttpAddress address;
  std::shared_ptr<ByteStream> stream;  // kept between requests
  bool closed = false;

  static std::string serialized(const HttpAddress& address, HttpRequest request);
  static Task<Result<>> connect(std::shared_ptr<State> self, MonotonicTime deadline);
  // `untouched`: nothing of an answer has come.
  static Task<Result<HttpResponse>> attempt(std::shared_ptr<State> self, const std::string& octets, bool head,
                                            MonotonicTime deadline, bool& untouched);
};

std::string HttpClient::State::serialized(const HttpAddress& address, HttpRequest request) {
  http::request<http::string_body> message;
  message.version(11);
  message.method_string(request.method);
  message.target(request.target);
  message.set(http::field::host, address.host);
  for (const auto& [name, value] : request.fields) message.set(name, value);
  message.body() = std::move(request.body);
  message.prepare_payload();
  std::ostringstream out;
  out << message;
  return out.str();
}

Task<Result<>> HttpClient::State::connect(std::shared_ptr<State> self, MonotonicTime deadline) {
  const auto timeout = deadline - self->loop.clock().now();
  auto connected = self->address.unix_path.empty()
                       ? co_await connect_tcp(self->loop, self->address.endpoint, timeout)
                       : co_await connect_unix(self->loop, self->address.unix_path, timeout);
  if (!connected) co_return fail(connected.error());
  if (self->closed) co_return fail(Errc::closed);
  self->stream = std::move(*connected);
  co_return Result<>{};
}

Task<Result<HttpResponse>> HttpClient::State::attempt(std::shared_ptr<State> self, const std::string& octets,
                                                      bool head, MonotonicTime deadline, bool& untouched) {
  auto stream = self->stream;
  bool late = false;
  ScopedTimer timer(self->loop.timers(), deadline - self->loop.clock().now(), [&late, raw = stream.get()] {
    late = true;
    raw->close();
  });
  const auto ended = [&late](const Error& error) { return fail(late ? Error(Errc::timeout) : error); };
  if (auto written = co_await stream->write_all(octets); !written) co_return ended(written.error());
  http::response_parser<http::string_body> parser;
  parser.header_limit(http_head_bytes_max);
  parser.body_limit(http_body_bytes_max);
  parser.skip(head);
  parser.eager(true);
  std::string unparsed;
  while (!parser.is_done()) {
    auto got = co_await stream->read_some(self->loop.scratch());
    boost::system::error_code wrong;
    if (!got) {
      if (!untouched && got.error().code == make_error_code(Errc::closed) && !late) parser.put_eof(wrong);
      if (untouched || wrong || !parser.is_done()) co_return ended(got.error());
      break;
    }
    untouched = false;
    unparsed.append(self->loop.scratch().data(), *got);
    const auto used = parser.put(boost::asio::buffer(unparsed), wrong);
    unparsed.erase(0, used);
    if (wrong && wrong != http::error::need_more) co_return fail(Errc::io, wrong.message());
    if (unparsed.size() > http_head_bytes_max) co_return fail(Errc::io, "the answer's head is too large");
  }
  auto& message = parser.get();
  if (!message.keep_alive() || !unparsed.empty()) self->stream.reset();
  HttpResponse response;
  response.status = message.result_int();
  response.content_type = std::string(message[http::field::content_type]);
  response.body = std::move(message.body());
  co_return response;
}

HttpClient::HttpClient(Loop& loop, HttpAddress address)
    : state_(std::make_shared<State>(loop, std::move(address))) {}

HttpClient::~HttpClient() { close(); }

void HttpClient::close() {
  state_->closed = true;
  if (const auto stream = std::exchange(state_->stream, nullptr)) stream->close();
}

Task<Result<HttpResponse>> HttpClient::exchange(HttpRequest request, Duration timeout) {
  const auto self = state_;
  const bool head = request.method == "HEAD";
  const auto octets = State::serialized(self->address, std::move(request));
  const auto deadline = self->loop.clock().now() + timeout;
  Result<HttpResponse> response = fail(Errc::closed);
  for (bool kept = self->stream != nullptr; !self->closed; kept = false) {
    if (!self->stream)
      if (auto connected = co_await State::connect(self, deadline); !connected) {
        response = fail(connected.error());
        break;
      }
    bool untouched = true;
    response = co_await State::attempt(self, octets, head, deadline, untouched);
    if (response) break;
    self->stream.reset();
    if (!kept || !untouched || response.error().code == make_error_code(Errc::timeout)) break;
  }
  co_return response;
}

}  // namespace postern::io
