// The SMTP dialogue (RFC 5321, 3 and 4): greeting, EHLO, STARTTLS (RFC 3207), AUTH (RFC 4954), the envelope in as few
// writes as PIPELINING (RFC 2920) allows, DATA.
#include "smtp/client.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "postern/base/encoding.hpp"
#include "postern/io/scoped_timer.hpp"
#include "postern/session/sasl.hpp"
#include "postern/smtp/content.hpp"

namespace postern::smtp {
namespace {

bool is_tls_error(const Error& error) {
  return error.code == io::Errc::tls || error.code == io::Errc::certificate_invalid ||
         error.code == io::Errc::certificate_name || error.code == io::Errc::pin_mismatch ||
         error.code == io::Errc::plaintext_refused;
}

std::string this_machine() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  std::string host(name.data());
  const bool plain = !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
  return plain ? host : "localhost";
}

Reply made_up(int code, std::string text) { return Reply{code, {std::move(text)}}; }

constexpr int challenges_max = 4;  // of one AUTH

// A line with a credential in it.
struct WipedLine {
  std::string text;
  ~WipedLine() { wipe(text.data(), text.size()); }
};

session::Credentials as_session(const Credentials& credentials) {
  using Kind = session::Credentials::Kind;
  session::Credentials same;
  same.secret = credentials.secret.clone();
  same.kind = credentials.kind == Credentials::Kind::oauth ? Kind::oauth : Kind::password;
  same.login = credentials.login;
  if (!credentials.authzid.empty()) {
    same.kind = Kind::master;
    same.login = credentials.authzid;
    same.master_login = credentials.login;
  }
  return same;
}

std::string mail_command(const Envelope& envelope, const Extensions& extensions, bool utf8) {
  auto line = "MAIL FROM:<" + envelope.from.address + ">";
  if (extensions.has("SIZE")) line += " SIZE=" + std::to_string(envelope.size);
  if (envelope.eight_bit && extensions.has("8BITMIME")) line += " BODY=8BITMIME";
  if (utf8) line += " SMTPUTF8";
  return line + envelope.from.parameters + "\r\n";
}

}  // namespace

Client::Client(io::Loop& loop, const ServerOptions& options, std::shared_ptr<io::TlsContext> tls)
    : loop_(loop), options_(options), tls_(std::move(tls)) {}

io::Task<Result<>> Client::write(std::string_view octets) {
  io::ScopedTimer timer(loop_.timers(), options_.command_timeout, [this] {
    timed_out_ = true;
    stream_->close();
  });
  co_return co_await stream_->write_all(octets);
}

io::Task<Result<Reply>> Client::read(Duration timeout) {
  io::ScopedTimer timer(loop_.timers(), timeout, [this] {
    timed_out_ = true;
    stream_->close();
  });
  for (;;) {
    if (!ahead_.empty()) {
      auto taken = parser_.feed(ahead_);
      if (!taken) co_return fail(taken.error());
      ahead_.erase(0, *taken);
    }
    if (auto reply = parser_.take()) co_return std::move(*reply);
    const auto buffer = loop_.scratch();
    auto got = co_await stream_->read_some(buffer);
    if (!got) co_return fail(got.error());
    ahead_.append(buffer.data(), *got);
  }
}

io::Task<Result<Reply>> Client::ask(std::string_view line) {
  if (auto written = co_await write(line); !written) co_return fail(written.error());
  co_return co_await read(options_.command_timeout);
}

// In the terms of this layer.
void Client::fail_with(Error error, Outcome& outcome) {
  if (error.code.category() != smtp_category()) {
    std::string what = timed_out_ ? "no answer in time" : error.to_string();
    error = Error(is_tls_error(error) ? Errc::not_secure : Errc::unavailable, std::move(what));
  }
  outcome.kind = Outcome::Kind::unavailable;
  outcome.error = std::move(error);
}

void Client::refuse(Stage stage, Reply reply, Outcome& outcome) {
  outcome.kind = Outcome::Kind::refused;
  outcome.stage = stage;
  outcome.reply = std::move(reply);
}

io::Task<Result<>> Client::open() {
  auto opened = co_await io::connect_tcp(loop_, options_.endpoint, options_.connect_timeout);
  if (!opened) co_return fail(opened.error());
  if (options_.tls == TlsMode::none && !options_.allow_plaintext && !io::is_loopback(**opened))
    co_return fail(io::Errc::plaintext_refused, (*opened)->peer());
  if (options_.tls == TlsMode::implicit) {
    opened = co_await io::start_tls(loop_, std::move(*opened), tls_, options_.endpoint.host,
                                    options_.connect_timeout);
    if (!opened) co_return fail(opened.error());
  }
  stream_ = std::move(*opened);
  co_return Result<>{};
}

io::Task<Result<>> Client::hello() {
  const auto name = options_.helo_name.empty() ? this_machine() : options_.helo_name;
  auto reply = co_await ask("EHLO " + name + "\r\n");
  if (!reply) co_return fail(reply.error());
  if (!reply->positive()) co_return fail(Errc::protocol, "EHLO: " + reply->to_string());
  extensions_ = Extensions(*reply);
  co_return Result<>{};
}

// RFC 3207: what was said before TLS is forgotten, and octets behind the reply were somebody else's.
io::Task<Result<>> Client::start_tls() {
  if (!extensions_.has("STARTTLS")) co_return fail(Errc::not_secure, "STARTTLS is not offered");
  auto reply = co_await ask("STARTTLS\r\n");
  if (!reply) co_return fail(reply.error());
  if (!reply->positive()) co_return fail(Errc::not_secure, "STARTTLS: " + reply->to_string());
  if (!ahead_.empty()) co_return fail(Errc::not_secure, "octets behind the reply to STARTTLS");
  extensions_ = {};
  auto secured = co_await io::start_tls(loop_, std::move(stream_), tls_, options_.endpoint.host,
                                        options_.connect_timeout);
  if (!secured) co_return fail(secured.error());
  stream_ = std::move(*secured);
  co_return co_await hello();
}

io::Task<bool> Client::connect(Outcome& outcome) {
  outcome.stage = Stage::connect;
  auto done = co_await open();
  if (done) {
    auto greeting = co_await read(options_.command_timeout);
    if (greeting && !greeting->positive()) {
      refuse(Stage::connect, std::move(*greeting), outcome);
      co_return false;
    }
    done = greeting ? Result<>{} : Result<>(fail(greeting.error()));
  }
  if (done) done = co_await hello();
  if (done && options_.tls == TlsMode::starttls) done = co_await start_tls();
  if (!done) {
    fail_with(std::move(done.error()), outcome);
    co_return false;
  }
  outcome.size_max = extensions_.size_max();
  co_return true;
}

io::Task<bool> Client::authenticate(const Credentials& credentials, Outcome& outcome) {
  outcome.stage = Stage::authenticate;
  if (credentials.kind == Credentials::Kind::none) co_return true;
  const auto own = as_session(credentials);
  session::ServerOptions server;
  server.endpoint = options_.endpoint;  // OAUTHBEARER names it
  auto usable = session::check_credentials(own, server);
  const auto method = usable ? session::choose_mechanism(own, server, extensions_.mechanisms())
                             : Result<session::AuthMethod>(fail(usable.error()));
  if (!method) {
    fail_with(Error(Errc::no_mechanism, method.error().to_string()), outcome);
    co_return false;
  }
  session::SaslClient sasl(*method, own, server);
  WipedLine line{"AUTH " + std::string(sasl.mechanism())};
  if (auto initial = sasl.initial_response()) {
    const WipedLine response{std::move(*initial)};
    line.text.reserve(line.text.size() + response.text.size() + 3);
    line.text.append(" ").append(response.text);
    sasl.said_initially();
  }
  for (int challenges = 0; challenges <= challenges_max; ++challenges) {
    line.text += "\r\n";
    auto reply = co_await ask(line.text);
    if (!reply) {
      // What is no SMTP may be an echo of the line.
      if (reply.error().code == Errc::protocol) reply.error().context = "in reply to AUTH";
      fail_with(std::move(reply.error()), outcome);
      co_return false;
    }
    if (reply->positive()) co_return true;
    if (!reply->is(3)) {
      // Some servers quote what they refuse: of their words none is passed on.
      const auto enhanced = std::string(reply->enhanced());
      reply->lines = {enhanced + (enhanced.empty() ? "" : " ") + "(the server's text is withheld)"};
      refuse(Stage::authenticate, std::move(*reply), outcome);
      co_return false;
    }
    wipe(line.text.data(), line.text.size());
    const WipedLine answer{sasl.answer(reply->lines.front())};
    line.text.clear();
    line.text.reserve(answer.text.size() + 2);  // nothing is left behind where it grows
    line.text.append(answer.text);
  }
  fail_with(Error(Errc::protocol, "AUTH doesn't come to an end"), outcome);
  co_return false;
}

// What the server doesn't offer is refused here, in the words that it would use.
bool Client::is_offered(const Envelope& envelope, const Extensions& extensions, Outcome& outcome) {
  const auto refuse_here = [&](int code, std::string text) {
    outcome.kind = Outcome::Kind::refused;
    outcome.stage = Stage::mail_from;
    outcome.reply = made_up(code, std::move(text));
    return false;
  };
  if (const auto most = extensions.size_max(); most && envelope.size > *most)
    return refuse_here(552, "5.3.4 The message is larger than the server takes");
  for (const auto& extension : envelope.extensions)
    if (!extensions.has(extension)) return refuse_here(555, "5.5.4 The server doesn't offer " + extension);
  if (extensions.has("SMTPUTF8")) return true;
  if (!is_ascii(envelope.from.address))
    return refuse_here(553, "5.6.7 The server takes no address that isn't ASCII");
  bool all_ascii = true;
  for (std::size_t i = 0; i < envelope.recipients.size(); ++i) {
    if (is_ascii(envelope.recipients[i].address)) continue;
    outcome.recipients[i] = made_up(553, "5.6.7 The server takes no address that isn't ASCII");
    all_ascii = false;
  }
  if (all_ascii || !envelope.all_or_none) return true;
  outcome.kind = Outcome::Kind::refused;
  outcome.stage = Stage::recipients;
  return false;
}

io::Task<bool> Client::send_envelope(const Envelope& envelope, Outcome& outcome) {
  outcome.stage = Stage::mail_from;
  outcome.recipients.assign(envelope.recipients.size(), std::nullopt);
  if (!is_offered(envelope, extensions_, outcome)) co_return false;
  std::vector<std::size_t> asked;  // what is left to ask
  for (std::size_t i = 0; i < envelope.recipients.size(); ++i)
    if (!outcome.recipients[i]) asked.push_back(i);
  const bool utf8 = !is_ascii(envelope.from.address) ||
                    std::any_of(asked.begin(), asked.end(),
                                [&](std::size_t i) { return !is_ascii(envelope.recipients[i].address); });
  const std::size_t batch = extensions_.has("PIPELINING") ? commands_in_flight : 1;
  auto lines = mail_command(envelope, extensions_, utf8);
  std::optional<Reply> mail;
  std::size_t sent = 0, answered = 0;  // of the recipients
  while (!mail || (answered < asked.size() && mail->positive())) {
    const std::size_t commands_before = lines.empty() ? 0 : 1;
    for (std::size_t n = commands_before; n < batch && sent < asked.size(); ++n, ++sent) {
      const auto& recipient = envelope.recipients[asked[sent]];
      lines += "RCPT TO:<" + recipient.address + ">" + recipient.parameters + "\r\n";
    }
    auto written = co_await write(std::exchange(lines, {}));
    while (written && (!mail || answered < sent)) {
      auto reply = co_await read(options_.command_timeout);
      if (!reply)
        written = fail(reply.error());
      else if (!mail)
        mail = std::move(*reply);
      else
        outcome.recipients[asked[answered++]] = std::move(*reply);
    }
    if (!written) {
      fail_with(std::move(written.error()), outcome);
      outcome.recipients.assign(envelope.recipients.size(), std::nullopt);
      co_return false;
    }
  }
  if (!mail->positive()) {
    outcome.recipients.assign(envelope.recipients.size(), std::nullopt);
    refuse(Stage::mail_from, std::move(*mail), outcome);
    co_return false;
  }
  const auto of_kind = [&](auto kind) {
    return std::any_of(outcome.recipients.begin(), outcome.recipients.end(),
                       [&](const std::optional<Reply>& reply) { return reply && kind(*reply); });
  };
  const bool accepted = of_kind([](const Reply& reply) { return reply.positive(); });
  const bool permanent = of_kind([](const Reply& reply) { return reply.permanent(); });
  if (accepted && !(permanent && envelope.all_or_none)) co_return true;
  outcome.kind = Outcome::Kind::refused;
  outcome.stage = Stage::recipients;
  co_return false;
}

io::Task<bool> Client::send_content(const Envelope& envelope, const ContentReader& content,
                                    const Commit& commit, Outcome& outcome) {
  outcome.stage = Stage::content;
  auto go = co_await ask("DATA\r\n");
  if (!go || !go->is(3)) {
    if (!go)
      fail_with(std::move(go.error()), outcome);
    else
      refuse(Stage::content, std::move(*go), outcome);
    co_return false;
  }
  DotStuffing dots;
  std::uint64_t octets = 0;
  Result<> done;
  for (;;) {
    auto piece = co_await content();
    if (!piece) done = fail(piece.error());
    if (!piece || piece->empty()) break;
    octets += piece->size();
    std::string stuffed;
    stuffed.reserve(piece->size() + 64);
    dots.feed(*piece, stuffed);
    done = co_await write(stuffed);
    if (!done) break;
  }
  if (done && octets != envelope.size)
    done = fail(Errc::unavailable, "the message has another size than it had");
  if (!done) {
    fail_with(std::move(done.error()), outcome);
    stream_->close();  // without its end nobody takes it for a message
    co_return false;
  }
  if (!co_await commit()) {
    outcome.kind = Outcome::Kind::aborted;
    stream_->close();
    co_return false;
  }
  co_return true;
}

io::Task<> Client::deliver(const Envelope& envelope, const ContentReader& content, const Commit& commit,
                           Outcome& outcome) {
  if (!co_await send_envelope(envelope, outcome)) co_return;
  if (!co_await send_content(envelope, content, commit, outcome)) co_return;
  auto written = co_await write(end_of_data);
  auto reply = written ? co_await read(options_.data_timeout) : Result<Reply>(fail(written.error()));
  if (!reply) {
    fail_with(std::move(reply.error()), outcome);
    outcome.kind = Outcome::Kind::unknown;
  } else if (reply->positive()) {
    outcome.kind = Outcome::Kind::accepted;
    outcome.reply = std::move(*reply);
  } else {
    refuse(Stage::content, std::move(*reply), outcome);
  }
}

void Client::quit() {
  if (!stream_) return;
  (void)stream_->write_now("QUIT\r\n");
  stream_->close();
}

}  // namespace postern::smtp
