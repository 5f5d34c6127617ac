// Prometheus' text from a snapshot; a bounded reader of HTTP/1.1 requests, and the sockets it reads from.
#include "broker/metrics.hpp"

#include <fcntl.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <boost/asio/ip/tcp.hpp>

#include "postern/base/encoding.hpp"
#include "postern/io/scoped_timer.hpp"
#include "postern/io/stream.hpp"
#include "postern/io/unix_path.hpp"

namespace postern::broker {
namespace {

using boost::asio::ip::tcp;

constexpr std::uint32_t unix_socket_mode = 0660;
constexpr Duration accept_pause = std::chrono::milliseconds(100);  // while descriptors are short

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out += c;
  }
}

// A family that has one sample without labels.
struct Plain {
  std::string_view name;
  MetricsWriter::Type type;
  std::string_view help;
  std::uint64_t value;
};

void write_requests(MetricsWriter& writer, const Snapshot& s) {
  using enum MetricsWriter::Type;
  for (const auto& [name, type, help, value] : {
           Plain{"postern_uptime_seconds", gauge, "Time since the broker was started",
                 static_cast<std::uint64_t>(s.uptime_seconds)},
           Plain{"postern_draining", gauge, "1 while the broker takes no new requests", s.draining ? 1u : 0u},
           Plain{"postern_requests_total", counter, "Requests from workers", s.ipc.requests},
           Plain{"postern_requests_open", gauge, "Requests being answered", s.ipc.streams_open},
           Plain{"postern_api_requests_total", counter, "JMAP API requests", s.requests.api_requests},
           Plain{"postern_downloads_total", counter, "Downloads", s.requests.downloads},
           Plain{"postern_answers_stale_total", counter,
                 "Answers from the cache while the IMAP server was away", s.requests.stale_answers},
           Plain{"postern_logins_total", counter, "Sessions opened by /auth/login", s.requests.sign_ins},
           Plain{"postern_login_failures_total", counter, "Sign-ins refused for wrong credentials",
                 s.requests.sign_in_failures},
           Plain{"postern_logins_throttled_total", counter,
                 "Sign-ins refused for earlier failures, without asking the IMAP server",
                 s.requests.sign_ins_throttled},
           Plain{"postern_logouts_total", counter, "Sessions ended by /auth/logout", s.requests.sign_outs},
           Plain{"postern_worker_connections", gauge, "Open connections of workers", s.ipc.connections_open},
           Plain{"postern_worker_connections_total", counter, "Connections of workers", s.ipc.connections},
           Plain{"postern_worker_connections_refused_total", counter, "Connections of workers refused",
                 s.ipc.connections_refused},
           Plain{"postern_worker_protocol_errors_total", counter,
                 "Connections of workers that broke the protocol", s.ipc.protocol_errors},
       }) {
    writer.family(name, type, help);
    writer.sample(value);
  }
  writer.family("postern_answers_total", counter, "Answers by class of their status");
  writer.sample(s.requests.answers_2xx, {{"class", "2xx"}});
  writer.sample(s.requests.answers_4xx, {{"class", "4xx"}});
  writer.sample(s.requests.answers_5xx, {{"class", "5xx"}});
}

void write_imap(MetricsWriter& writer, const Snapshot& s) {
  using enum MetricsWriter::Type;
  const auto& imap = s.imap;
  for (const auto& [name, type, help, value] : {
           Plain{"postern_imap_up", gauge, "0 while the IMAP server can't be reached",
                 s.imap_backing_off ? 0u : 1u},
           Plain{"postern_imap_connections", gauge, "IMAP connections that are signed in",
                 imap.connections_open},
           Plain{"postern_imap_connects_total", counter, "IMAP connections opened", imap.connects},
           Plain{"postern_imap_connect_failures_total", counter,
                 "Failures to connect to the IMAP server (TCP, TLS, greeting)", imap.connect_failures},
           Plain{"postern_imap_connections_lost_total", counter, "IMAP connections not closed by the broker",
                 imap.connections_lost},
           Plain{"postern_imap_reconnects_total", counter,
                 "Logins of accounts that had been connected before", imap.reconnects},
           Plain{"postern_imap_tls_resumptions_total", counter, "TLS sessions resumed", imap.tls_resumptions},
           Plain{"postern_imap_logins_in_flight", gauge, "IMAP logins under way", imap.logins_in_flight},
           Plain{"postern_imap_logins_waiting", gauge, "IMAP logins that wait for their turn",
                 imap.logins_waiting},
           Plain{"postern_imap_selects_total", counter, "Mailboxes selected", imap.selects},
       }) {
    writer.family(name, type, help);
    writer.sample(value);
  }
  writer.family("postern_imap_logins_total", counter, "IMAP logins by outcome");
  writer.sample(imap.logins, {{"outcome", "ok"}});
  writer.sample(imap.login_refusals, {{"outcome", "refused"}});
  writer.sample(imap.login_failures, {{"outcome", "failed"}});
  writer.family("postern_imap_bytes_total", counter, "IMAP octets, inside TLS");
  writer.sample(imap.bytes_in, {{"direction", "in"}});
  writer.sample(imap.bytes_out, {{"direction", "out"}});
  writer.family("postern_imap_commands_total", counter, "IMAP commands sent, by name");
  for (const auto& [name, count] : imap.commands) writer.sample(count, {{"command", name}});
}

void write_caches(MetricsWriter& writer, const Snapshot& s) {
  using enum MetricsWriter::Type;
  for (const auto& [name, type, help, value] : {
           Plain{"postern_accounts_open", gauge, "Accounts in memory", s.cache.accounts},
           Plain{"postern_account_requests_in_flight", gauge, "Requests at work on accounts",
                 s.cache.requests_in_flight},
           Plain{"postern_views", gauge, "Mailbox views in memory", s.cache.views},
           Plain{"postern_view_bytes", gauge, "Memory of mailbox views", s.cache.view_bytes},
           Plain{"postern_fragments", gauge, "Serialised messages in the cache", s.cache.fragments},
           Plain{"postern_fragment_bytes", gauge, "Memory of serialised messages", s.cache.fragment_bytes},
           Plain{"postern_segment_bytes", gauge, "Size of the segment", s.segment.bytes},
       }) {
    writer.family(name, type, help);
    writer.sample(value);
  }
  writer.family("postern_fragment_lookups_total", counter, "Looks into the cache of serialised messages");
  writer.sample(s.cache.fragment_hits, {{"outcome", "hit"}});
  writer.sample(s.cache.fragment_misses, {{"outcome", "miss"}});
  writer.family("postern_segment_records", gauge, "Records in the segment's tables");
  writer.sample(s.segment.sessions, {{"table", "sessions"}});
  writer.sample(s.segment.accounts, {{"table", "accounts"}});
  writer.sample(s.segment.redirects, {{"table", "redirects"}});
  writer.family("postern_segment_records_max", gauge, "Room in the segment's tables");
  writer.sample(s.segment.sessions_max, {{"table", "sessions"}});
  writer.sample(s.segment.accounts_max, {{"table", "accounts"}});
  writer.sample(s.segment.redirects_max, {{"table", "redirects"}});
}

void write_subscriptions(MetricsWriter& writer, const Snapshot& s) {
  using enum MetricsWriter::Type;
  const auto& subscriptions = s.subscriptions;
  for (const auto& [name, type, help, value] : {
           Plain{"postern_push_subscriptions", gauge, "Push subscriptions", subscriptions.subscriptions},
           Plain{"postern_push_subscriptions_active", gauge, "Push subscriptions that are told of changes",
                 subscriptions.active},
           Plain{"postern_push_messages_total", counter, "Messages that push services have taken",
                 subscriptions.sent},
           Plain{"postern_push_message_failures_total", counter, "Messages that push services haven't taken",
                 subscriptions.failures},
           Plain{"postern_push_targets_forbidden_total", counter,
                 "Push subscriptions removed since they point inside", subscriptions.forbidden_targets},
       }) {
    writer.family(name, type, help);
    writer.sample(value);
  }
}

void write_plans(MetricsWriter& writer, const Snapshot& s) {
  using enum MetricsWriter::Type;
  writer.family("postern_plan_octets_total", counter, "Mail and files moved, by plan and kind");
  for (const auto& use : s.plans)
    for (const auto count : {limits::Count::received, limits::Count::sent, limits::Count::files})
      writer.sample(use.moved[static_cast<std::size_t>(count)],
                    {{"plan", use.plan}, {"kind", to_string(count)}});
  writer.family("postern_plan_messages_total", counter, "Messages sent, by plan");
  for (const auto& use : s.plans)
    writer.sample(use.moved[static_cast<std::size_t>(limits::Count::messages)], {{"plan", use.plan}});
  writer.family("postern_plan_recipients_total", counter, "Recipients of messages sent, by plan");
  for (const auto& use : s.plans)
    writer.sample(use.moved[static_cast<std::size_t>(limits::Count::recipients)], {{"plan", use.plan}});
  writer.family("postern_plan_refusals_total", counter, "What a plan didn't allow, by plan and limit");
  for (const auto& use : s.plans)
    for (std::size_t i = 0; i < limits::refusal_kinds; ++i)
      writer.sample(use.refused[i], {{"plan", use.plan}, {"limit", to_string(limits::limit_at(i))}});
}

void write_push(MetricsWriter& writer, const Snapshot& s) {
  using enum MetricsWriter::Type;
  const auto& events = s.events;
  for (const auto& [name, type, help, value] : {
           Plain{"postern_push_listeners", gauge,
                 "Streams, WebSockets that want changes, and sessions' channels at front ends",
                 events.listeners},
           Plain{"postern_push_accounts", gauge, "Accounts with listeners, or that had some a moment ago",
                 events.accounts},
           Plain{"postern_push_streams", gauge, "Event streams that the broker holds", events.streams.open},
           Plain{"postern_push_streams_total", counter, "Event streams that the broker has opened",
                 events.streams.opened},
           Plain{"postern_push_streams_refused_total", counter,
                 "Requests for event streams and WebSockets that the broker has refused",
                 events.streams.refused},
           Plain{"postern_push_streams_given_up_total", counter,
                 "Event streams ended as their client didn't read", events.streams.given_up},
           Plain{"postern_push_events_total", counter, "Changes told on event streams that the broker holds",
                 events.streams.events},
           Plain{"postern_push_tickets", gauge, "Event streams that are about to come from a front end",
                 events.tickets},
           Plain{"postern_push_nudges_total", counter, "Channels of an earlier broker that were nudged",
                 events.nudges},
           Plain{"postern_web_sockets", gauge, "Open WebSockets", events.streams.sockets_open},
           Plain{"postern_web_sockets_total", counter, "WebSockets opened", events.streams.sockets_opened},
           Plain{"postern_web_socket_requests_total", counter, "JMAP API requests over WebSockets",
                 s.requests.socket_requests},
       }) {
    writer.family(name, type, help);
    writer.sample(value);
  }
  if (events.frontends.empty()) return;
  using Frontend = EventCounters::OfFrontend;
  const auto family = [&](std::string_view name, MetricsWriter::Type type, std::string_view help,
                          auto value) {
    writer.family(name, type, help);
    for (const Frontend& frontend : events.frontends)
      writer.sample(value(frontend), {{"frontend", frontend.name}});
  };
  family("postern_push_channels", gauge, "Channels at a front end",
         [](const Frontend& f) { return f.channels; });
  family("postern_push_publisher_waiting", gauge,
         "Channels for which something waits to be sent to a front end",
         [](const Frontend& f) { return f.waiting; });
  family("postern_push_publisher_requests_total", counter, "Requests to a front end's publisher",
         [](const Frontend& f) { return f.requests; });
  family("postern_push_publisher_failures_total", counter, "Requests to a front end's publisher that failed",
         [](const Frontend& f) { return f.failures; });
  family("postern_push_publisher_refused_total", counter,
         "What there was no room for as too much waited for a front end",
         [](const Frontend& f) { return f.refused; });
}

std::string http_answer(std::string_view status, std::string_view type, std::string_view body,
                        bool head_only) {
  std::string answer = "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: " + std::string(type) +
                       "\r\nContent-Length: " + std::to_string(body.size()) +
                       "\r\nCache-Control: no-store\r\nConnection: close\r\n";
  if (status.starts_with("405")) answer += "Allow: GET, HEAD\r\n";
  answer += "\r\n";
  if (!head_only) answer += body;
  return answer;
}

}  // namespace

void MetricsWriter::family(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  text_ += "# HELP " + name_ + ' ';
  append_escaped(text_, sanitize_utf8(help), false);
  text_ += "\n# TYPE " + name_ + (type == Type::counter ? " counter\n" : " gauge\n");
}

void MetricsWriter::sample(std::uint64_t value, const Labels& labels) {
  text_ += name_;
  char before = '{';
  for (const auto& [label, text] : labels) {
    text_ += before;
    text_ += label;
    text_ += "=\"";
    append_escaped(text_, sanitize_utf8(text), true);
    text_ += '"';
    before = ',';
  }
  if (!labels.empty()) text_ += '}';
  text_ += ' ' + std::to_string(value) + '\n';
}

std::string metrics_text(const Snapshot& snapshot) {
  MetricsWriter writer;
  writer.family("postern_build_info", MetricsWriter::Type::gauge,
                "Always 1; the label is the broker's version");
  writer.sample(1, {{"version", POSTERN_VERSION}});
  write_requests(writer, snapshot);
  write_imap(writer, snapshot);
  write_caches(writer, snapshot);
  write_subscriptions(writer, snapshot);
  write_plans(writer, snapshot);
  write_push(writer, snapshot);
  return writer.text();
}

// RFC 9112, 3: request-line = method SP request-target SP HTTP-version
std::string answer_metrics(std::string_view head, const Snapshot& snapshot) {
  constexpr std::string_view plain = "text/plain; charset=utf-8";
  const auto line = head.substr(0, head.find("\r\n"));
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1."))
    return http_answer("400 Bad Request", plain, "this is no HTTP/1.1 request\n", false);
  const auto method = line.substr(0, first);
  auto target = line.substr(first + 1, second - first - 1);
  target = target.substr(0, target.find('?'));
  const bool head_only = method == "HEAD";
  if (target != "/metrics" && target != "/healthz")
    return http_answer("404 Not Found", plain, "there are /metrics and /healthz\n", head_only);
  if (method != "GET" && !head_only)
    return http_answer("405 Method Not Allowed", plain, "GET or HEAD\n", false);
  if (target == "/metrics")
    return http_answer("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics_text(snapshot),
                       head_only);
  if (snapshot.draining) return http_answer("503 Service Unavailable", plain, "draining\n", head_only);
  return http_answer("200 OK", plain, "ok\n", head_only);
}

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  ListenAddress address;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc{} || end != port.data() + port.size()) return std::nullopt;
  boost::system::error_code wrong;
  const auto parsed = boost::asio::ip::make_address(std::string(host), wrong);
  if (wrong || parsed.is_v6() != bracketed) return std::nullopt;
  address.host = host;
  return address;
}

Result<> check_listen(const std::string& listen) {
  if (listen.starts_with('/')) return io::check_unix_path(listen);
  if (parse_listen_address(listen)) return {};
  return fail(io::Errc::io, "\"" + listen + "\" is no address with a port, and no path");
}

// Shared with what waits for connections and serves them, which may be on its way when the server goes.
struct MetricsServer::State : std::enable_shared_from_this<State> {
  State(io::Loop& l, Take t) : loop(l), take(std::move(t)), acceptor(l.context()) {}

  io::Loop& loop;
  Take take;
  tcp::acceptor acceptor;
  std::unique_ptr<io::UnixListener> unix_listener;
  unsigned open = 0;
  bool closed = false;

  Result<> listen_tcp(const ListenAddress& address);
  void accept_tcp();
  void admit(std::unique_ptr<io::ByteStream> stream);
  static io::Task<> accept_unix(std::shared_ptr<State> self);
  static io::Task<> serve(std::shared_ptr<State> self, std::unique_ptr<io::ByteStream> stream);
};

Result<> MetricsServer::State::listen_tcp(const ListenAddress& address) {
  const tcp::endpoint endpoint(boost::asio::ip::make_address(address.host), address.port);
  boost::system::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return fail(io::Errc::io, error.message());
  // Asio's sockets would go on to the program of an upgrade, which then couldn't listen here itself.
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!endpoint.address().is_loopback())
    loop.logger().warning("metrics are given to whoever can reach the address", {{"address", address.host}});
  accept_tcp();
  return {};
}

void MetricsServer::State::accept_tcp() {
  acceptor.async_accept(
      [self = shared_from_this()](const boost::system::error_code& error, tcp::socket socket) {
        if (self->closed || error == boost::asio::error::operation_aborted) return;
        if (error) {
          self->loop.timers().add_after(accept_pause, [weak = std::weak_ptr(self)] {
            if (auto state = weak.lock(); state && !state->closed) state->accept_tcp();
          });
          return;
        }
        boost::system::error_code ignored;
        socket.non_blocking(true, ignored);
        if (const int fd = socket.release(ignored); !ignored) {
          ::fcntl(fd, F_SETFD, FD_CLOEXEC);
          self->admit(io::adopt_socket(self->loop, fd));
        }
        self->accept_tcp();
      });
}

io::Task<> MetricsServer::State::accept_unix(std::shared_ptr<State> self) {
  while (true) {
    auto accepted = co_await self->unix_listener->accept();
    if (!accepted) co_return;
    self->admit(std::move(accepted->stream));
  }
}

void MetricsServer::State::admit(std::unique_ptr<io::ByteStream> stream) {
  if (open >= metrics_connections_max) return;
  ++open;
  loop.spawn(serve(shared_from_this(), std::move(stream)));
}

io::Task<> MetricsServer::State::serve(std::shared_ptr<State> self, std::unique_ptr<io::ByteStream> stream) {
  auto* target = stream.get();
  const auto give_up = [target] { target->close(); };
  std::string head;
  {
    io::ScopedTimer deadline(self->loop.timers(), metrics_wait_max, give_up);
    while (head.find("\r\n\r\n") == std::string::npos && head.size() <= metrics_request_bytes_max) {
      auto got = co_await stream->read_some(self->loop.scratch());
      if (!got) {
        --self->open;
        co_return;
      }
      head.append(self->loop.scratch().data(), *got);
    }
  }
  if (!self->closed) {
    // What is too long is no request of a scraper's.
    if (head.find("\r\n\r\n") > metrics_request_bytes_max) head.clear();
    const auto answer = answer_metrics(head, co_await self->take());
    io::ScopedTimer deadline(self->loop.timers(), metrics_wait_max, give_up);
    (void)co_await stream->write_all(answer);
  }
  stream->close();
  --self->open;
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::open(io::Loop& loop, const std::string& listen,
                                                           Take take) {
  if (auto usable = check_listen(listen); !usable) return fail(std::move(usable.error()));
  auto state = std::make_shared<State>(loop, std::move(take));
  if (listen.starts_with('/')) {
    auto listener = io::UnixListener::open(loop, listen, unix_socket_mode);
    if (!listener) return fail(listener.error());
    state->unix_listener = std::move(*listener);
    loop.spawn(State::accept_unix(state));
  } else {
    if (auto listening = state->listen_tcp(*parse_listen_address(listen)); !listening)
      return fail(listening.error());
  }
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(state)));
}

MetricsServer::MetricsServer(std::shared_ptr<State> state) : state_(std::move(state)) {}

MetricsServer::~MetricsServer() {
  state_->closed = true;
  boost::system::error_code ignored;
  state_->acceptor.close(ignored);
  if (state_->unix_listener) state_->unix_listener->close();
}

std::uint16_t MetricsServer::port() const {
  boost::system::error_code ignored;
  return state_->unix_listener ? std::uint16_t{0} : state_->acceptor.local_endpoint(ignored).port();
}

}  // namespace postern::broker
