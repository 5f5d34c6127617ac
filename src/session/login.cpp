// The dialogue step by step. What the server says in an error is cut and cleaned (server_text); commands with
// credentials are marked secret.
#include "session/login.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"
#include "postern/io/scoped_timer.hpp"

namespace postern::session {

using imap::Capability;

namespace {

bool is_tls_failure(const Error& error) {
  return error.code == io::Errc::tls || error.code == io::Errc::certificate_invalid ||
         error.code == io::Errc::certificate_name || error.code == io::Errc::pin_mismatch;
}

imap::Command plain_command(std::string name, imap::Expect expect = imap::Expect::none) {
  imap::Command command;
  command.chunks.push_back(name);
  command.name = std::move(name);
  command.expect = expect;
  return command;
}

// Octets of a credential that are told as such; of a shorter one all of it.
constexpr std::size_t quoted_run = 8;

// Does the text hold a run of `what`?
bool has_run_of(std::string_view text, std::string_view what) {
  const auto length = std::min(quoted_run, what.size());
  if (length == 0) return false;
  for (std::size_t i = 0; i + length <= text.size(); ++i)
    if (what.find(text.substr(i, length)) != std::string_view::npos) return true;
  return false;
}

// Does a server quote the secret, or what was sent of it? In SASL it stands behind other octets, so its base64 begins
// in one of three places of a group.
bool quotes_secret(std::string_view text, std::string_view secret) {
  if (has_run_of(text, secret)) return true;
  for (std::size_t before = 0; before < 3; ++before) {
    auto shifted = std::string(before, 'x').append(secret);
    auto encoded = base64_encode(shifted);
    wipe(shifted.data(), shifted.size());
    // Those characters that are made of the secret alone.
    const auto first = (before * 8 + 5) / 6, last = (before + secret.size()) * 8 / 6;
    const bool quoted =
        first < last && has_run_of(text, std::string_view(encoded).substr(first, last - first));
    wipe(encoded.data(), encoded.size());
    if (quoted) return true;
  }
  return false;
}

}  // namespace

std::string server_text(std::string_view text) {
  std::string out = sanitize_utf8(text.substr(0, 200));
  std::replace_if(out.begin(), out.end(), [](char c) { return c >= 0 && c < ' '; }, ' ');
  return out;
}

// Lives in the frame of whoever waits for it: abandons its command if that ends first.
struct Login::Reply final : imap::CommandSink {
  explicit Reply(imap::Multiplexer& m, imap::CommandSink* also = nullptr) : mux(m), inner(also) {}
  ~Reply() override {
    if (!done && id != 0) mux.abandon(id);
  }
  imap::Multiplexer& mux;
  imap::CommandSink* inner;  // hears it, too
  imap::CommandId id = 0;
  bool done = false;
  Result<imap::StatusResponse> result;

  std::optional<std::string> on_continuation(const imap::Continuation& continuation) override {
    return inner != nullptr ? inner->on_continuation(continuation) : std::nullopt;
  }
  void on_done(Result<imap::StatusResponse> r, const imap::StatusResponse* refusal) override {
    done = true;
    if (inner != nullptr) {
      inner->on_done(std::move(r), refusal);
    } else {
      result = std::move(r);
    }
  }
};

void log_command(Logger& logger, const io::Label& label, imap::CommandId id, std::string_view name) {
  if (!label) return;
  logger.debug("imap command",
               {{"request", *label}, {"tag", imap::Multiplexer::tag_of(id)}, {"command", name}});
}

Login::Login(io::Loop& loop, ServerImpl& server, imap::Multiplexer& mux,
             std::unique_ptr<io::ByteStream>& stream, const Credentials& credentials,
             std::string client_address, io::Label label)
    : loop_(loop),
      server_(server),
      mux_(mux),
      stream_(stream),
      credentials_(credentials),
      client_address_(std::move(client_address)),
      label_(std::move(label)) {}

io::Task<Result<>> Login::run() {
  if (auto checked = check_credentials(credentials_, server_.options()); !checked) co_return checked;
  auto done = co_await connect();
  if (done) {
    ++server_.count().connects;
    io::ScopedTimer timer(loop_.timers(), server_.options().greeting_timeout, [this] { expire(); });
    done = co_await greet();
    if (done && server_.options().tls == TlsMode::starttls) done = co_await secure();
  }
  if (!done) co_return fail(failure(std::move(done.error())));
  reached_ = true;
  if (stream_->tls_resumed()) ++server_.count().tls_resumptions;

  io::ScopedTimer timer(loop_.timers(), server_.options().login_timeout, [this] { expire(); });
  done = co_await ask_capabilities();
  if (done && server_.options().send_client_id) done = co_await send_client_id();
  if (done) done = co_await authenticate();
  if (done) done = co_await ask_capabilities();
  if (done) done = co_await enable();
  if (!done) co_return fail(failure(std::move(done.error())));
  co_return Result<>();
}

// Ends the dialogue: what is being waited for fails.
void Login::expire() {
  timed_out_ = true;
  if (stream_) stream_->close();
}

// What went wrong in the terms of this layer; never with the credential, whatever the server quotes.
Error Login::failure(Error error) const {
  if (timed_out_) return Error(Errc::timeout, server_.options().endpoint.host);
  if (error.code.category() != session_category()) {
    const bool insecure = is_tls_failure(error) || error.code == io::Errc::plaintext_refused;
    std::string what = error.code.message();
    if (error.code == imap::Errc::bye) what = "BYE";
    if (!error.context.empty()) what += ": " + error.context;
    error = Error(insecure ? Errc::not_secure : Errc::unavailable, std::move(what));
  }
  error.context = server_text(error.context);
  if (quotes_secret(error.context, credentials_.secret.expose()))
    error.context = "(the server's text is withheld)";
  return error;
}

io::Task<Result<>> Login::connect() {
  const auto& options = server_.options();
  auto opened = co_await io::connect_tcp(loop_, options.endpoint, options.connect_timeout);
  if (!opened) co_return fail(std::move(opened.error()));
  if (options.tls == TlsMode::none && !options.allow_plaintext && !io::is_loopback(**opened)) {
    co_return fail(io::Errc::plaintext_refused, (*opened)->peer());
  }
  if (options.tls == TlsMode::implicit) {
    opened = co_await io::start_tls(loop_, std::move(*opened), server_.tls(), options.endpoint.host,
                                    options.connect_timeout);
    if (!opened) co_return fail(std::move(opened.error()));
  }
  stream_ = std::move(*opened);
  co_return Result<>();
}

io::Task<Result<>> Login::pump(const bool& done) {
  for (;;) {
    auto output = mux_.take_output();
    if (!output.empty()) {
      const bool secret = mux_.output_secret();
      bytes_out += output.size();
      auto written = co_await stream_->write_all(output);
      if (secret) wipe(output.data(), output.size());
      if (!written) co_return written;
    }
    if (done) co_return Result<>();
    auto size = co_await stream_->read_some(loop_.scratch());
    if (!size) co_return fail(std::move(size.error()));
    bytes_in += *size;
    auto fed = mux_.feed({loop_.scratch().data(), *size});
    if (!fed) co_return fed;
    if (done) co_return Result<>();
  }
}

io::Task<Result<>> Login::greet() {
  while (!mux_.greeting()) {
    auto size = co_await stream_->read_some(loop_.scratch());
    if (!size) co_return fail(std::move(size.error()));
    bytes_in += *size;
    auto fed = mux_.feed({loop_.scratch().data(), *size});
    if (!fed) co_return fed;
  }
  const auto& greeting = *mux_.greeting();
  // A connection that is signed in already has checked nobody's password: whoever came would be let in.
  if (greeting.status == imap::Status::preauth) co_return fail(Errc::not_secure, "PREAUTH greeting");
  if (server_.options().tls != TlsMode::starttls) learn(greeting);
  co_return Result<>();
}

// RFC 3501, 6.2.1. The multiplexer refuses octets behind the OK; those that come later meet OpenSSL.
io::Task<Result<>> Login::secure() {
  Reply reply(mux_);
  auto command = plain_command("STARTTLS");
  command.exclusive = true;
  submit(std::move(command), reply);
  auto done = co_await pump(reply.done);
  if (!done) {
    const bool injected = done.error().code == imap::Errc::out_of_step;
    if (injected) co_return fail(Errc::not_secure, "octets behind the answer to STARTTLS");
    co_return done;
  }
  if (!reply.result) co_return fail(Errc::not_secure, "STARTTLS: " + reply.result.error().context);
  const auto& options = server_.options();
  auto secured = co_await io::start_tls(loop_, std::move(stream_), server_.tls(), options.endpoint.host,
                                        options.connect_timeout);
  if (!secured) co_return fail(std::move(secured.error()));
  stream_ = std::move(*secured);
  heard_.reset();
  co_return Result<>();
}

void Login::submit(Result<imap::Command> command, Reply& reply) {
  if (!command) return reply.on_done(fail(std::move(command.error())), nullptr);
  server_.count_command(command->name);
  const auto name = command->name;
  auto submitted = mux_.submit(std::move(*command), reply);
  if (submitted) {
    reply.id = *submitted;
    log_command(loop_.logger(), label_, reply.id, name);
  } else {
    reply.on_done(fail(std::move(submitted.error())), nullptr);
  }
}

void Login::learn(const imap::StatusResponse& response) {
  if (response.code.name != "CAPABILITY") return;
  const auto* names = std::get_if<std::vector<std::string>>(&response.code.value);
  if (names != nullptr) heard_.emplace(*names);
}

void Login::on_untagged(const imap::Response& response) {
  if (const auto* told = std::get_if<imap::CapabilityResponse>(&response)) heard_.emplace(told->names);
  if (const auto* status = std::get_if<imap::StatusResponse>(&response)) learn(*status);
  if (const auto* enabled = std::get_if<imap::EnabledResponse>(&response)) {
    for (const auto& name : enabled->names) {
      if (iequals_ascii(name, "QRESYNC")) enabled_qresync_ = enabled_condstore_ = true;
      if (iequals_ascii(name, "CONDSTORE")) enabled_condstore_ = true;
      if (iequals_ascii(name, "UTF8=ACCEPT") || iequals_ascii(name, "IMAP4REV2")) enabled_utf8_ = true;
    }
  }
  if (const auto* id = std::get_if<imap::IdResponse>(&response)) {
    for (const auto& [key, value] : id->fields) {
      if (iequals_ascii(key, "name") && value && iequals_ascii(*value, "dovecot")) dovecot_ = true;
    }
  }
}

// Asks only where the greeting, or the OK to the login, hasn't told.
io::Task<Result<>> Login::ask_capabilities() {
  if (!heard_) {
    Reply reply(mux_);
    submit(plain_command("CAPABILITY", imap::Expect::other), reply);
    auto done = co_await pump(reply.done);
    if (!done) co_return done;
    if (!reply.result) co_return fail(Errc::unavailable, "CAPABILITY: " + reply.result.error().context);
    if (!heard_) co_return fail(Errc::unavailable, "no capabilities");
  }
  capabilities = *heard_;
  heard_.reset();
  co_return Result<>();
}

// RFC 2971; Dovecot takes the client's address from x-originating-ip where it trusts us. A refusal is no matter.
io::Task<Result<>> Login::send_client_id() {
  if (!capabilities.has(Capability::id)) co_return Result<>();
  asked_id_ = true;
  Reply reply(mux_);
  imap::CommandBuilder builder("ID", capabilities);
  builder.expect(imap::Expect::other).raw(" (\"name\" \"Postern\" \"version\" ").string(POSTERN_VERSION);
  if (!client_address_.empty()) builder.raw(" \"x-originating-ip\" ").string(client_address_);
  builder.raw(")");
  submit(builder.finish(), reply);
  co_return co_await pump(reply.done);
}

io::Task<Result<>> Login::authenticate() {
  auto method = choose_method(credentials_, server_.options(), capabilities);
  if (!method) co_return fail(std::move(method.error()));
  Authentication authentication(*method, credentials_, server_.options());
  auto command = authentication.command(capabilities);
  if (!command) co_return fail(Errc::authentication, command.error().code.message());

  Reply sink(mux_, &authentication);
  heard_.reset();
  submit(std::move(*command), sink);
  auto pumped = co_await pump(sink.done);
  if (!pumped && !sink.done) co_return pumped;
  if (!authentication.result()) co_return fail(authentication.result().error());
  learn(*authentication.result());
  co_return pumped;
}

// In one write: ENABLE for the best synchronisation there is, and ID where only it tells what kind of
// server this is. UTF8=ACCEPT only where the server has nothing else (RFC 6855, section 6): modified UTF-7
// is understood everywhere, and messages stay as they are.
io::Task<Result<>> Login::enable() {
  const bool qresync = capabilities.has(Capability::qresync);
  const bool condstore = capabilities.has(Capability::condstore);
  const bool utf8_only = capabilities.has(Capability::utf8_only);
  const bool rev2_only = capabilities.has(Capability::imap4rev2) && !capabilities.has(Capability::imap4rev1);
  bool ignored = true;
  Reply enabled(mux_), identified(mux_);
  const bool* wait = &ignored;
  std::string words;
  if (qresync) words += " QRESYNC";
  if (condstore && !qresync) words += " CONDSTORE";
  if (utf8_only) words += " UTF8=ACCEPT";
  if (capabilities.has(Capability::enable) && !words.empty()) {
    imap::CommandBuilder builder("ENABLE", capabilities);
    submit(builder.raw(words).expect(imap::Expect::other).finish(), enabled);
    wait = &enabled.done;
  }
  const bool ask_id = !asked_id_ && capabilities.has(Capability::id) &&
                      imap::tiers_of(capabilities).identity == imap::IdentityTier::none;
  if (ask_id) {
    imap::CommandBuilder builder("ID", capabilities);
    builder.raw(" (\"name\" \"Postern\" \"version\" ").string(POSTERN_VERSION).raw(")");
    submit(builder.expect(imap::Expect::none).finish(), identified);
    wait = &identified.done;  // answered behind ENABLE, or at least last
  }
  auto done = co_await pump(*wait);
  if (done && !words.empty() && capabilities.has(Capability::enable)) done = co_await pump(enabled.done);
  if (!done) co_return done;

  // What was advertised and didn't come about is not there. CONDSTORE without ENABLE comes with SELECT.
  if (qresync && !enabled_qresync_) capabilities.set(Capability::qresync, false);
  capabilities.set_utf8_enabled(enabled_utf8_ || rev2_only);
  if (utf8_only && !enabled_utf8_)
    co_return fail(Errc::unavailable, "UTF8=ONLY, but UTF8=ACCEPT can't be enabled");
  if (dovecot_) capabilities.set(Capability::x_guid);
  co_return Result<>();
}

}  // namespace postern::session
