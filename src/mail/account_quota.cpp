// The account's quotas: GETQUOTAROOT of INBOX (RFC 9208, 4.1.2), asked again after quota_fresh, and the limits of the
// person's plan (docs/limits.md). Everybody who listens is told when one of these comes near its end, or is free again.
#include <charconv>

#include "mail/account_support.hpp"

namespace postern::mail {

io::Task<Result<Freshness>> Account::refresh_quotas() {
  const auto now = context_.loop.clock().now();
  if (quotas_asked_ && now - *quotas_asked_ < context_.options.quota_fresh) co_return Freshness::current;
  Result<> asked;
  std::vector<Quota> fresh;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto lease = co_await pool_->any();
    asked = lease ? Result<>{} : fail(lease.error());
    if (!lease || !lease->capabilities().has(imap::Capability::quota)) break;
    fresh.clear();
    const auto command = [&lease] {
      imap::CommandBuilder ask("GETQUOTAROOT", lease->capabilities());
      ask.raw(" INBOX").expect(imap::Expect::other);
      return ask.finish();
    };
    imap::StatusResponse refusal;
    asked = co_await run_or_again(
        *lease, command,
        [&fresh](imap::Response& response) {
          const auto* quota = std::get_if<imap::QuotaResponse>(&response);
          if (quota == nullptr) return;
          for (auto& one : quotas_of(*quota))
            if (fresh.size() < quotas_max) fresh.push_back(std::move(one));
        },
        refusal);
    // NO: the server has the extension and knows of no quotas here, but where it has told some before.
    if (is_no(asked) && !is_for_good(refusal)) fresh = server_quotas_;
    if (is_no(asked)) asked = Result<>{};
    if (asked || !is_lost(asked.error())) break;
  }
  if (!asked) {
    const auto error = mail_error(asked.error());
    // What the plan says is known without the server.
    const bool some = quotas_asked_ || meter_->has_limits();
    if (some && error.code == make_error_code(Errc::server_unavailable)) co_return Freshness::stale;
    co_return fail(error);
  }
  quotas_asked_ = now;
  const bool changed = server_quotas_ != fresh;
  server_quotas_ = std::move(fresh);
  take_quotas(changed);
  co_return Freshness::current;
}

void Account::take_quotas(bool tell) {
  auto all = quotas_of(*meter_);
  all.insert(all.end(), server_quotas_.begin(), server_quotas_.end());
  const auto levels = meter_->levels();
  const bool crossed = levels != plan_levels_;
  plan_levels_ = levels;
  const bool first = quota_log_.empty();
  // The first list belongs to the state that the account began with, unless there is news already.
  if (first && crossed) next_state(StateType::quota);
  if (!quota_log_.take(std::move(all), counters_.quota + (first ? 0 : 1)) || first) return;
  // That a little more has been used, nobody is told who doesn't ask.
  if (tell || crossed)
    next_state(StateType::quota);
  else
    count_up(StateType::quota);
}

void Account::note_use() {
  if (meter_->levels() != plan_levels_) take_quotas(true);
}

io::Task<Result<Snapshot<std::vector<Quota>>>> Account::quotas() {
  auto freshness = co_await refresh_quotas();
  if (!freshness) co_return fail(freshness.error());
  take_quotas(false);
  co_return Snapshot<std::vector<Quota>>{quota_log_.all(), state(StateType::quota), *freshness};
}

io::Task<Result<std::optional<QuotaChanges>>> Account::quota_changes(std::string since) {
  if (auto asked = co_await refresh_quotas(); !asked) co_return fail(asked.error());
  take_quotas(false);
  std::uint64_t state = 0;
  const auto [end, ec] = std::from_chars(since.data(), since.data() + since.size(), state);
  if (ec != std::errc() || end != since.data() + since.size()) co_return std::optional<QuotaChanges>();
  save_state();  // as in state()
  co_return quota_log_.since(state, counters_.quota);
}

}  // namespace postern::mail
