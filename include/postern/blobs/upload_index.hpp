// Which uploads there are, how large they are, when they end, and how much room is left. No I/O and no clock.
//
// A plain object of one owner (UploadStore, which locks). An upload is somebody's: it is looked up by account and
// token, 16 random octets, so that nobody finds another one's. Bounds: UploadLimits, for each account and for all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "postern/base/error.hpp"

namespace postern::blobs {

enum class Errc {
  not_found = 1,
  too_many,      // uploads of one account at a time
  account_full,  // what is being written for the account takes all of its room
  own_room,      // the same of the room that it has for itself (bytes_max); see used_of_own_room()
  full,          // the room for all accounts
  disk_full,     // the file system's
  unavailable,   // the directory can't be used
  io,
};
const std::error_category& blobs_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), blobs_category()}; }

// Of own_room: the octets that were being written then.
std::optional<std::uint64_t> used_of_own_room(const Error& error);

using UploadToken = std::array<std::uint8_t, 16>;

struct UploadName {
  std::uint64_t account = 0;
  UploadToken token{};
  friend auto operator<=>(const UploadName&, const UploadName&) = default;
};

struct UploadLimits {
  std::uint64_t account_bytes = 500'000'000;  // of one account, what is being written among it
  std::uint64_t total_bytes = 5'000'000'000;  // of all
  std::int64_t lifetime_seconds = 12 * 3'600;
};
// However small they are; the oldest go, as where the room for octets ends.
inline constexpr std::size_t uploads_per_account_max = 1'000;

class UploadIndex {
 public:
  explicit UploadIndex(UploadLimits limits) : limits_(limits) {}
  void set_limits(UploadLimits limits) { limits_ = limits; }
  const UploadLimits& limits() const { return limits_; }

  // --- What is being written: it has room, and nobody finds it yet ---
  using Ticket = std::uint64_t;
  // `at_once_max`: of those that are counted; 0: this one isn't. `bytes_max`: of the account, where it has less room
  // than the limits say.
  Result<Ticket> begin(std::uint64_t account, std::uint32_t at_once_max,
                       std::uint64_t bytes_max = no_own_room);
  static constexpr std::uint64_t no_own_room = ~std::uint64_t{0};
  // Room for more octets. Where the account has none left, its oldest uploads go (RFC 8620, 6): they are in `gone`. Not
  // for what isn't counted, since it may be there for the sake of just those.
  Result<> grow(Ticket ticket, std::uint64_t octets, std::vector<UploadName>& gone);
  // Would `octets` more ever fit? So that nobody sends in vain what can't be kept.
  Result<> check_room(std::uint64_t account, std::uint64_t octets,
                      std::uint64_t bytes_max = no_own_room) const;
  // From now on it can be found. Where there are too many, the oldest go.
  void keep(Ticket ticket, const UploadToken& token, std::int64_t now, std::vector<UploadName>& gone);
  void drop(Ticket ticket);

  // --- What is there ---
  // As found on the disk.
  void add(const UploadName& name, std::uint64_t octets, std::int64_t written);
  std::optional<std::uint64_t> find(const UploadName& name, std::int64_t now) const;
  void remove(const UploadName& name);
  // Those whose time is over, which are there no longer.
  std::vector<UploadName> expire(std::int64_t now);

  std::size_t uploads() const { return uploads_.size(); }
  std::uint64_t octets() const { return octets_; }  // what is being written among it
  std::uint64_t octets_of(std::uint64_t account) const;

 private:
  struct Upload {
    std::uint64_t octets = 0;
    std::int64_t written = 0;  // Unix seconds
    std::uint64_t number = 0;  // in the order of coming
  };
  struct Account {
    std::uint64_t octets = 0, being_written = 0;
    std::uint64_t aside = 0;  // of what is being written, what isn't counted
    std::uint32_t at_once = 0;
    std::set<std::tuple<std::int64_t, std::uint64_t, UploadToken>> by_age;
  };
  struct Writing {
    std::uint64_t account = 0, octets = 0, bytes_max = no_own_room;
    bool counted = false;
  };
  void remove_oldest(std::uint64_t account, std::vector<UploadName>& gone);
  void forget_if_empty(std::uint64_t account);

  UploadLimits limits_;
  std::map<UploadName, Upload> uploads_;
  std::map<std::uint64_t, Account> accounts_;
  std::map<Ticket, Writing> writing_;
  std::uint64_t octets_ = 0, last_ = 0;
};

}  // namespace postern::blobs
template <>
struct std::is_error_code_enum<postern::blobs::Errc> : std::true_type {};
