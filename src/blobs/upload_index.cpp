// The bookkeeping of uploads. Octets are counted as they are written; an account's oldest uploads make room for its
// newest, and never for anybody else's.
#include "postern/blobs/upload_index.hpp"

#include <charconv>

namespace postern::blobs {

const std::error_category& blobs_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "blobs"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::not_found: return "no such upload";
        case Errc::too_many: return "too many uploads at once";
        case Errc::account_full: return "the account has no room for more uploads";
        case Errc::own_room: return "the account's own room takes no more uploads";
        case Errc::full: return "there is no room for more uploads";
        case Errc::disk_full: return "the disk is full";
        case Errc::unavailable: return "uploads can't be kept";
        case Errc::io: return "a file can't be read or written";
      }
      return "unknown blobs error";
    }
  } category;
  return category;
}

std::optional<std::uint64_t> used_of_own_room(const Error& error) {
  std::uint64_t used = 0;
  const auto& text = error.context;
  if (error.code != make_error_code(Errc::own_room)) return std::nullopt;
  std::from_chars(text.data(), text.data() + text.size(), used);
  return used;
}

Result<UploadIndex::Ticket> UploadIndex::begin(std::uint64_t account, std::uint32_t at_once_max,
                                               std::uint64_t bytes_max) {
  const bool counted = at_once_max != 0;
  const auto known = accounts_.find(account);
  if (counted && known != accounts_.end() && known->second.at_once >= at_once_max)
    return fail(Errc::too_many);
  if (counted) ++accounts_[account].at_once;
  const auto ticket = ++last_;
  writing_[ticket] = {account, 0, bytes_max, counted};
  return ticket;
}

Result<> UploadIndex::check_room(std::uint64_t account, std::uint64_t octets, std::uint64_t bytes_max) const {
  const auto known = accounts_.find(account);
  const auto being_written = known == accounts_.end() ? 0 : known->second.being_written;
  if (octets > limits_.account_bytes || being_written > limits_.account_bytes - octets)
    return fail(Errc::account_full);
  const auto uploading = known == accounts_.end() ? 0 : being_written - known->second.aside;
  if (octets > bytes_max || uploading > bytes_max - octets)
    return fail(Errc::own_room, std::to_string(uploading));
  // All that the account itself could give up makes room for it.
  const auto own = known == accounts_.end() ? 0 : known->second.octets - being_written;
  if (octets > limits_.total_bytes || octets_ - own > limits_.total_bytes - octets) return fail(Errc::full);
  return {};
}

Result<> UploadIndex::grow(Ticket ticket, std::uint64_t octets, std::vector<UploadName>& gone) {
  const auto at = writing_.find(ticket);
  if (at == writing_.end()) return fail(Errc::not_found);
  auto& writing = at->second;
  if (auto room = check_room(writing.account, octets, writing.bytes_max); !room) return room;
  auto& account = accounts_[writing.account];
  while (!account.by_age.empty() && (account.octets > limits_.account_bytes - octets ||
                                     account.octets - account.aside > writing.bytes_max - octets ||
                                     octets_ > limits_.total_bytes - octets)) {
    if (!writing.counted) return fail(Errc::account_full);
    remove_oldest(writing.account, gone);
  }
  writing.octets += octets;
  account.octets += octets;
  account.being_written += octets;
  if (!writing.counted) account.aside += octets;
  octets_ += octets;
  return {};
}

void UploadIndex::keep(Ticket ticket, const UploadToken& token, std::int64_t now,
                       std::vector<UploadName>& gone) {
  const auto at = writing_.find(ticket);
  if (at == writing_.end()) return;
  const auto writing = at->second;
  drop(ticket);
  add({writing.account, token}, writing.octets, now);
  while (accounts_[writing.account].by_age.size() > uploads_per_account_max)
    remove_oldest(writing.account, gone);
}

void UploadIndex::drop(Ticket ticket) {
  const auto at = writing_.find(ticket);
  if (at == writing_.end()) return;
  const auto writing = at->second;
  writing_.erase(at);
  auto& account = accounts_[writing.account];
  account.octets -= writing.octets;
  account.being_written -= writing.octets;
  if (!writing.counted) account.aside -= writing.octets;
  if (writing.counted) --account.at_once;
  octets_ -= writing.octets;
  forget_if_empty(writing.account);
}

void UploadIndex::add(const UploadName& name, std::uint64_t octets, std::int64_t written) {
  remove(name);
  const Upload upload{octets, written, ++last_};
  uploads_[name] = upload;
  auto& account = accounts_[name.account];
  account.by_age.emplace(written, upload.number, name.token);
  account.octets += octets;
  octets_ += octets;
}

std::optional<std::uint64_t> UploadIndex::find(const UploadName& name, std::int64_t now) const {
  const auto at = uploads_.find(name);
  if (at == uploads_.end() || now - at->second.written >= limits_.lifetime_seconds) return std::nullopt;
  return at->second.octets;
}

void UploadIndex::remove(const UploadName& name) {
  const auto at = uploads_.find(name);
  if (at == uploads_.end()) return;
  const auto upload = at->second;
  uploads_.erase(at);
  auto& account = accounts_[name.account];
  account.by_age.erase({upload.written, upload.number, name.token});
  account.octets -= upload.octets;
  octets_ -= upload.octets;
  forget_if_empty(name.account);
}

std::vector<UploadName> UploadIndex::expire(std::int64_t now) {
  std::vector<UploadName> over;
  for (const auto& [name, upload] : uploads_)
    if (now - upload.written >= limits_.lifetime_seconds) over.push_back(name);
  for (const auto& name : over) remove(name);
  return over;
}

std::uint64_t UploadIndex::octets_of(std::uint64_t account) const {
  const auto known = accounts_.find(account);
  return known == accounts_.end() ? 0 : known->second.octets;
}

// Not the account's last entry: whoever calls this holds on to the account.
void UploadIndex::remove_oldest(std::uint64_t account, std::vector<UploadName>& gone) {
  auto& known = accounts_[account];
  const UploadName name{account, std::get<UploadToken>(*known.by_age.begin())};
  const auto octets = uploads_[name].octets;
  uploads_.erase(name);
  known.by_age.erase(known.by_age.begin());
  known.octets -= octets;
  octets_ -= octets;
  gone.push_back(name);
}

void UploadIndex::forget_if_empty(std::uint64_t account) {
  const auto known = accounts_.find(account);
  if (known == accounts_.end() || !known->second.by_age.empty() || known->second.at_once > 0) return;
  if (known->second.octets == 0) accounts_.erase(known);
}

}  // namespace postern::blobs
