// A set of UIDs or sequence numbers (RFC 3501, sequence-set), kept as sorted, disjoint ranges.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"

namespace postern::imap {

class UidSet {
 public:
  struct Range {
    std::uint32_t first = 0, last = 0;  // both inclusive, 1..2^32-1
    friend bool operator==(const Range&, const Range&) = default;
  };

  UidSet() = default;
  explicit UidSet(std::uint32_t uid) { add(uid); }
  static UidSet of(const std::vector<std::uint32_t>& uids);  // any order, duplicates allowed
  static UidSet range(std::uint32_t first, std::uint32_t last);
  // "1:4,7,9:*" with `*` as `largest`. Bounded by uid_set_ranges_max; expands nothing.
  static Result<UidSet> parse(std::string_view text, std::uint32_t largest = 0xFFFFFFFFu);

  void add(std::uint32_t uid) { add(uid, uid); }
  void add(std::uint32_t first, std::uint32_t last);
  bool contains(std::uint32_t uid) const;
  bool empty() const { return ranges_.empty(); }
  std::uint64_t count() const;
  const std::vector<Range>& ranges() const { return ranges_; }
  std::vector<std::uint32_t> to_vector() const;  // the caller knows that count() is reasonable
  std::string to_string() const;
  // Pieces whose to_string() is at most `octets` long, so that no command line is too long.
  std::vector<UidSet> split(std::size_t octets) const;
  friend bool operator==(const UidSet&, const UidSet&) = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace postern::imap
