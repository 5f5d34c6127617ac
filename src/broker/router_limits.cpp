// Where requests meet a person's plan and the sign-in throttle: downloads granted and counted, tries to sign in held up
// or refused (docs/limits.md).
#include <algorithm>

#include "broker/router.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {

using limits::Count;

// Tries that wait for their turn. Each holds a thread of a worker (behind Apache, a process), of which there are 64 by
// default: the others must stay free for everybody else. Further ones are told at once when to come again.
constexpr ShareLimits delayed_sign_ins{.of_one = 2, .of_all = 8};

namespace {

constexpr std::uint64_t head_octets_expected = 64 * 1024;

bool is_part(const mail::BlobKey& blob) { return !blob.section.empty() || !blob.slices.empty(); }

}  // namespace

// What a download moves: a whole message is mail received; a part of one, and what was uploaded, is a file.
io::Task<Result<limits::Reservation>> Router::grant_download(mail::Account& account, mail::BlobKey blob,
                                                             std::optional<std::uint64_t> files,
                                                             std::shared_ptr<limits::Tab> tab) {
  const auto reserve = [&tab](Count count, std::uint64_t octets,
                              bool is_estimate = false) -> Result<limits::Reservation> {
    auto granted = tab->reserve(count, octets, false, is_estimate);
    if (!granted) return fail(mail::Errc::over_limit, granted.error().encode());
    return std::move(*granted);
  };
  if (files) co_return reserve(Count::files, *files);
  const bool part = is_part(blob);
  const auto count = part ? Count::files : Count::received;
  // The message's size is known, and hardly ever less than a part's. Only where that doesn't fit the server is asked.
  const auto whole = account.message_octets(blob.email);
  if (whole > 0 && !(part && account.knows_structure(blob.email)))
    if (auto granted = reserve(count, whole, part); granted || !part) co_return granted;
  const auto octets = co_await account.blob_octets(blob);
  if (!octets) co_return fail(octets.error());
  if (auto granted = reserve(count, octets->expected, !octets->exact()); granted || octets->exact())
    co_return granted;
  auto measured = co_await measure(account, std::move(blob), *octets, *tab);
  if (!measured) co_return fail(measured.error());
  co_return reserve(count, *measured);
}

// What a part has when it is decoded, where more than that was expected, and doesn't fit: read for nothing else, as far
// as it may still fit. The server is asked for it, so it counts as mail received.
io::Task<Result<std::uint64_t>> Router::measure(mail::Account& account, mail::BlobKey blob,
                                                mail::Account::BlobOctets octets, limits::Tab& tab) {
  const auto fits = [&tab](std::uint64_t amount) {
    return tab.reserve(Count::files, amount, false, true).has_value();
  };
  if (!fits(octets.least)) co_return octets.expected;
  auto read = tab.reserve(Count::received, octets.encoded, false, true);
  if (!read) co_return octets.expected;
  read->moved(octets.encoded);
  auto reader = co_await account.open_uncounted_blob(std::move(blob));
  if (!reader) co_return fail(reader.error());
  std::uint64_t measured = 0;
  while (true) {
    const auto piece = co_await (*reader)->next();
    if (!piece) co_return fail(piece.error());
    if (piece->empty()) break;
    measured += piece->size();
    if (!fits(measured)) co_return std::max(measured, octets.expected);
  }
  co_return measured;
}

namespace {

// What goes out of a blob that is here already: of its size, or where only its end tells that, at most what it is
// decoded from.
std::uint64_t octets_of_local(const mail::BlobReader& reader, const mail::BlobKey& blob,
                              const std::optional<ByteRange>& range) {
  if (const auto size = reader.size()) {
    if (!range) return *size;
    const auto part = resolve_range(*range, *size);
    return part ? part->second : 0;
  }
  std::uint64_t most = limits::limit_max;
  for (const auto& slice : blob.slices) most = std::min(most, slice.size);
  return most;
}

// What is read of a blob has moved, but for what lies behind a range.
class CountedReader final : public mail::BlobReader {
 public:
  CountedReader(std::unique_ptr<mail::BlobReader> reader, limits::Reservation granted,
                std::uint64_t counted_max)
      : reader_(std::move(reader)), granted_(std::move(granted)), left_(counted_max) {}
  std::optional<std::uint64_t> size() const override { return reader_->size(); }
  io::Task<Result<std::string>> next() override {
    auto piece = co_await reader_->next();
    if (piece) {
      const auto counted = std::min<std::uint64_t>(piece->size(), left_);
      left_ -= counted;
      granted_.moved(counted);
    }
    co_return piece;
  }
  void skip(std::uint64_t octets) override { reader_->skip(octets); }
  bool is_local() const override { return reader_->is_local(); }

 private:
  std::unique_ptr<mail::BlobReader> reader_;
  limits::Reservation granted_;
  std::uint64_t left_;  // to be counted
};

}  // namespace

io::Task<Result<std::unique_ptr<mail::BlobReader>>> Router::open_counted(mail::Account& account,
                                                                         mail::BlobKey blob,
                                                                         std::optional<ByteRange> range,
                                                                         std::shared_ptr<limits::Tab> tab,
                                                                         bool head_only) {
  auto reader = co_await account.open_uncounted_blob(blob);
  if (!reader) co_return fail(reader.error());
  if (head_only && !(*reader)->is_local() && is_part(blob)) {
    // Read by a few pieces at most, to see whether it is there, which counts as what else is read of messages.
    auto read = tab->reserve(Count::received, head_octets_expected);
    if (!read) co_return fail(mail::Errc::over_limit, read.error().encode());
    co_return std::make_unique<CountedReader>(std::move(*reader), std::move(*read), limits::limit_max);
  }
  std::optional<std::uint64_t> files;  // where it is known
  if ((*reader)->is_local()) files = head_only ? 0 : octets_of_local(**reader, blob, range);
  auto granted = co_await grant_download(account, std::move(blob), files, std::move(tab));
  if (!granted) co_return fail(granted.error());
  co_return std::make_unique<CountedReader>(std::move(*reader), std::move(*granted),
                                            files.value_or(limits::limit_max));
}

jmap::ApiResponse Router::over_limit(const Error& error) const {
  const auto refusal = limits::Refusal::decode(error.context);
  if (!refusal) return jmap::problem(429, "limit", "more than the plan allows");
  return over_limit(*refusal);
}

jmap::ApiResponse Router::over_limit(const limits::Refusal& refusal, std::uint16_t status) const {
  return jmap::over_limit(refusal, unix_seconds(loop_.clock().wall()), status);
}

jmap::ApiResponse Router::too_many_requests(const std::string& detail) {
  auto refused = jmap::problem(429, "limit", "too many requests at once" + detail, "maxConcurrentRequests");
  refused.retry_after = "1";
  return refused;
}

std::expected<Shares<store::AccountKey>::Share, Router::Answer> Router::enter(const Identity& identity) {
  const std::uint64_t most = config_->limits.requests_in_flight;
  auto share = in_flight_.take(identity.key, 1, {.of_one = most, .of_all = ~std::uint64_t{0}});
  if (share) return std::move(*share);
  return std::unexpected(
      too_many_requests(": one person may have " + std::to_string(most) + " of them under way"));
}

// --- Signing in ---

// A try under way. It tells the throttle how it ended, also where its request is given up.
class Router::SignInTry {
 public:
  SignInTry(std::shared_ptr<limits::SignInThrottle> throttle, const Clock& clock, std::string login,
            std::string network, const Digest& digest)
      : throttle_(std::move(throttle)),
        clock_(clock),
        login_(std::move(login)),
        network_(std::move(network)),
        digest_(digest) {}
  SignInTry(const SignInTry&) = delete;
  SignInTry& operator=(const SignInTry&) = delete;
  ~SignInTry() {
    if (open_) throttle_->given_up(login_, network_, digest_);
  }
  limits::SignInThrottle::Verdict ask() {
    const auto verdict = throttle_->ask(login_, network_, digest_, clock_.now());
    open_ = verdict.action == limits::SignInThrottle::Action::go;
    return verdict;
  }
  // Whether that counts.
  bool failed() {
    return std::exchange(open_, false) && throttle_->failed(login_, network_, digest_, clock_.now());
  }
  void succeeded() {
    if (std::exchange(open_, false)) throttle_->succeeded(login_, network_, digest_, clock_.now());
  }

 private:
  const std::shared_ptr<limits::SignInThrottle> throttle_;
  const Clock& clock_;
  const std::string login_, network_;
  const Digest digest_;
  bool open_ = false;
};

jmap::ApiResponse Router::sign_in_refused(const std::string& login, const Exchange& exchange, Duration wait) {
  ++counters_.sign_ins_throttled;
  loop_.logger().info("sign-in refused", {{"client", exchange.client_address}, {"login", login}});
  auto refused =
      jmap::problem(429, "limit", "too many sign-ins have failed: try again later", "signInFailures");
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
  refused.retry_after = std::to_string(std::max<std::int64_t>(seconds, 1));
  return refused;
}

// The line that fail2ban looks for (deploy/fail2ban): the address first, so that no login can pretend to be one.
void Router::log_sign_in_failure(const std::string& login, const Exchange& exchange) {
  loop_.logger().info("sign-in failed", {{"client", exchange.client_address}, {"login", login}});
}

io::Task<Router::Authenticated> Router::throttled_sign_in(Exchange& exchange,
                                                          session::Credentials credentials) {
  using Action = limits::SignInThrottle::Action;
  // Whom the web server vouches for can't be guessing.
  const auto login = credentials.login;
  if (credentials.kind == session::Credentials::Kind::master) {
    auto identity = co_await sign_in(exchange, std::move(credentials));
    if (!identity && identity.error().status == 401) log_sign_in_failure(login, exchange);
    co_return identity;
  }
  const auto packed = pack_credentials(credentials);
  SignInTry attempt(throttle_, loop_.clock(), login, limits::network_of(exchange.client_address),
                    hmac_sha256(throttle_key_, packed.expose()));
  const auto verdict = attempt.ask();
  if (verdict.action == Action::refuse)
    co_return std::unexpected(sign_in_refused(login, exchange, verdict.delay));
  if (verdict.action == Action::known_wrong) {
    ++counters_.sign_in_failures;
    // No line for fail2ban: a telephone that still knows the old password would shut out all who share its address.
    loop_.logger().debug("sign-in with credentials known to be wrong",
                         {{"client", exchange.client_address}, {"login", login}});
    co_return std::unexpected(jmap::problem(401, "about:blank", "wrong user name or password"));
  }
  if (verdict.delay > Duration::zero()) {
    const auto delayed =
        delayed_sign_ins_.take(limits::network_of(exchange.client_address), 1, delayed_sign_ins);
    if (!delayed) co_return std::unexpected(sign_in_refused(login, exchange, verdict.delay));
    co_await loop_.sleep(verdict.delay);
    if (exchange.stream->is_over())
      co_return std::unexpected(jmap::problem(503, "about:blank", "nobody waits for this request any more"));
  }
  auto identity = co_await sign_in(exchange, std::move(credentials));
  if (identity)
    attempt.succeeded();
  else if (identity.error().status == 401 && attempt.failed())
    log_sign_in_failure(login, exchange);
  co_return identity;
}

// How many sessions a person's plan allows at a time.
std::optional<jmap::ApiResponse> Router::too_many_sessions(const Identity& identity) {
  const auto& meter = identity.account->meter();
  const auto most = meter.plan().sessions;
  if (most == limits::unlimited) return std::nullopt;
  const auto open = segment_.sessions_of(identity.key);
  if (open < most) return std::nullopt;
  return over_limit(meter.refuse_session(open, segment_.first_session_end(identity.key)));
}

}  // namespace postern::broker
