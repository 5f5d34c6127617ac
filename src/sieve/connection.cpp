// The dialogue step by step. What a server says while somebody signs in is never passed on: it might quote the
// credentials. Time is limited by whoever owns the connection.
#include "sieve/connection.hpp"

#include "postern/base/encoding.hpp"
#include "postern/session/sasl.hpp"

namespace postern::sieve {
namespace {

Error in_our_terms(const Error& error) {
  const auto& code = error.code;
  if (code.category() == sieve_category()) return error;
  const bool insecure = code == io::Errc::tls || code == io::Errc::certificate_invalid ||
                        code == io::Errc::certificate_name || code == io::Errc::pin_mismatch ||
                        code == io::Errc::plaintext_refused;
  return {insecure ? Errc::not_secure : Errc::unavailable, error.to_string()};
}

// Of a NO to AUTHENTICATE (RFC 5804, 1.3).
Errc refusal_code(const Completion& completion) {
  if (completion.status == Status::bye || completion.code == "TRYLATER") return Errc::unavailable;
  return completion.code == "ENCRYPT-NEEDED" ? Errc::not_secure : Errc::authentication;
}

}  // namespace

void Connection::close() {
  closed_ = true;
  if (stream_) stream_->close();
}

io::Task<Result<>> Connection::open() {
  auto done = co_await connect();
  if (done) done = co_await hear_capabilities();
  if (done && options_.tls == session::TlsMode::starttls) done = co_await secure();
  co_return done;
}

io::Task<Result<>> Connection::connect() {
  auto opened = co_await io::connect_tcp(loop_, options_.endpoint, options_.connect_timeout);
  if (!opened) co_return fail(in_our_terms(opened.error()));
  if (options_.tls == session::TlsMode::none && !options_.allow_plaintext && !io::is_loopback(**opened))
    co_return fail(Errc::not_secure, "plaintext to " + (*opened)->peer());
  if (options_.tls == session::TlsMode::implicit) {
    opened = co_await io::start_tls(loop_, std::move(*opened), tls_, options_.endpoint.host,
                                    options_.connect_timeout);
    if (!opened) co_return fail(in_our_terms(opened.error()));
  }
  stream_ = std::move(*opened);
  if (closed_) co_return fail(Errc::unavailable, "time-out");
  co_return Result<>();
}

// RFC 5804, 2.2. The server tells its capabilities anew by itself, under TLS.
io::Task<Result<>> Connection::secure() {
  if (auto written = co_await write("STARTTLS\r\n"); !written) co_return written;
  auto reply = co_await read_reply();
  if (!reply) co_return fail(reply.error());
  if (reply->completion.status != Status::ok) co_return fail(Errc::not_secure, "STARTTLS is refused");
  if (parser_.pending() > 0) co_return fail(Errc::not_secure, "octets behind the answer to STARTTLS");
  auto secured = co_await io::start_tls(loop_, std::move(stream_), tls_, options_.endpoint.host,
                                        options_.connect_timeout);
  if (!secured) co_return fail(in_our_terms(secured.error()));
  stream_ = std::move(*secured);
  if (closed_) co_return fail(Errc::unavailable, "time-out");
  parser_ = ReplyParser();
  co_return co_await hear_capabilities();
}

io::Task<Result<>> Connection::hear_capabilities() {
  auto reply = co_await read_reply();
  if (!reply) co_return fail(reply.error());
  if (reply->completion.status != Status::ok) co_return fail(Errc::unavailable, "the greeting is no OK");
  capabilities_ = {};
  for (const auto& line : reply->data) capabilities_.add(line);
  co_return Result<>();
}

io::Task<Result<Line>> Connection::read_line() {
  for (;;) {
    auto line = parser_.next();
    if (!line) co_return fail(line.error());
    if (*line) co_return std::move(**line);
    if (!stream_ || closed_) co_return fail(Errc::unavailable, "time-out");
    auto size = co_await stream_->read_some(loop_.scratch());
    if (!size) co_return fail(Errc::unavailable, closed_ ? "time-out" : size.error().to_string());
    parser_.feed({loop_.scratch().data(), *size});
  }
}

io::Task<Result<Reply>> Connection::read_reply() {
  Reply reply;
  for (;;) {
    auto line = co_await read_line();
    if (!line) co_return fail(line.error());
    auto completion = parse_completion(*line);
    if (!completion) co_return fail(completion.error());
    if (!*completion) {
      if (reply.data.size() >= reply_lines_max) co_return fail(Errc::too_large, "lines");
      reply.data.push_back(std::move(*line));
      continue;
    }
    reply.completion = std::move(**completion);
    if (reply.completion.status == Status::bye) co_return fail(Errc::unavailable, "BYE");
    co_return reply;
  }
}

io::Task<Result<>> Connection::write(std::string text, bool secret) {
  if (!stream_ || closed_) co_return fail(Errc::unavailable, "time-out");
  auto written = co_await stream_->write_all(text);
  if (secret) wipe(text.data(), text.size());
  if (!written) co_return fail(in_our_terms(written.error()));
  co_return Result<>();
}

// RFC 5804, 2.1: "AUTHENTICATE" SP mechanism [SP initial-response] CRLF; challenges and answers are strings of base64.
io::Task<Result<>> Connection::authenticate(const session::Credentials& credentials) {
  if (auto checked = session::check_credentials(credentials, options_); !checked)
    co_return fail(Errc::authentication, checked.error().context);
  const auto method = session::choose_mechanism(credentials, options_, capabilities_.sasl);
  if (!method) co_return fail(Errc::authentication, "no mechanism in common");
  session::SaslClient client(*method, credentials, options_);
  std::string command = "AUTHENTICATE " + wire_string(client.mechanism());
  if (auto initial = client.initial_response()) {
    auto said = wire_string(*initial);
    command.reserve(command.size() + said.size() + 3);
    command += ' ';
    command += said;
    wipe(said.data(), said.size());
    wipe(initial->data(), initial->size());
    client.said_initially();
  }
  command += "\r\n";
  auto written = co_await write(std::move(command), true);
  while (written) {
    auto line = co_await read_line();
    if (!line) co_return fail(line.error());
    auto completion = parse_completion(*line);
    if (!completion) co_return fail(completion.error());
    if (*completion) {
      if ((*completion)->status == Status::ok) co_return Result<>();
      co_return fail(refusal_code(**completion), std::string(client.mechanism()) + " " + (*completion)->code);
    }
    auto answer = client.answer(line->front().text);
    auto wire = wire_string(answer) + "\r\n";
    wipe(answer.data(), answer.size());
    written = co_await write(std::move(wire), true);
  }
  co_return written;
}

io::Task<Result<Reply>> Connection::execute(Result<std::string> command) {
  if (!command) co_return fail(command.error());
  if (auto written = co_await write(std::move(*command)); !written) co_return fail(written.error());
  auto reply = co_await read_reply();
  // Once it has been written, a server that goes away may have done it all the same.
  if (!reply && reply.error().code == Errc::unavailable)
    co_return fail(Errc::connection_lost, reply.error().context);
  co_return reply;
}

// The answer isn't waited for.
io::Task<> Connection::log_out() {
  if (!stream_ || closed_) co_return;
  (void)co_await write("LOGOUT\r\n");
  close();
}

}  // namespace postern::sieve
