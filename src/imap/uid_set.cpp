// UidSet: ranges that are sorted, disjoint and never touch. Bounded by uid_set_ranges_max where read.
#include "postern/imap/uid_set.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>

#include "postern/imap/errors.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

// Sorts, and joins what overlaps or touches.
void normalise(std::vector<UidSet::Range>& ranges) {
  const auto before = [](const UidSet::Range& a, const UidSet::Range& b) { return a.first < b.first; };
  if (!std::is_sorted(ranges.begin(), ranges.end(), before)) std::sort(ranges.begin(), ranges.end(), before);
  std::size_t kept = 0;
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (std::uint64_t{ranges[kept].last} + 1 >= ranges[i].first) {
      ranges[kept].last = std::max(ranges[kept].last, ranges[i].last);
    } else {
      ranges[++kept] = ranges[i];
    }
  }
  if (!ranges.empty()) ranges.resize(kept + 1);
}

std::size_t print(char* out, const UidSet::Range& range) {
  char* end = std::to_chars(out, out + 10, range.first).ptr;
  if (range.last != range.first) {
    *end++ = ':';
    end = std::to_chars(end, end + 10, range.last).ptr;
  }
  return static_cast<std::size_t>(end - out);
}

}  // namespace

UidSet UidSet::of(const std::vector<std::uint32_t>& uids) {
  UidSet out;
  const bool sorted = std::is_sorted(uids.begin(), uids.end());
  std::vector<std::uint32_t> copy;
  if (!sorted) {
    copy = uids;
    std::sort(copy.begin(), copy.end());
  }
  for (const std::uint32_t uid : sorted ? uids : copy) out.add(uid);
  return out;
}

UidSet UidSet::range(std::uint32_t first, std::uint32_t last) {
  UidSet out;
  out.add(first, last);
  return out;
}

// sequence-set = (seq-number / seq-range) *("," sequence-set)
// seq-range    = seq-number ":" seq-number     ; in either order
// seq-number   = nz-number / "*"
Result<UidSet> UidSet::parse(std::string_view text, std::uint32_t largest) {
  UidSet out;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](std::uint32_t& value) {
    if (at != end && *at == '*') {
      ++at;
      value = largest;
      return largest != 0;
    }
    const auto result = std::from_chars(at, end, value);
    at = result.ptr;
    return result.ec == std::errc() && value != 0;
  };
  for (;;) {
    Range range;
    if (!number(range.first)) return fail(Errc::syntax, "sequence-set");
    range.last = range.first;
    if (at != end && *at == ':') {
      ++at;
      if (!number(range.last)) return fail(Errc::syntax, "sequence-set");
      if (range.last < range.first) std::swap(range.first, range.last);
    }
    if (out.ranges_.size() >= uid_set_ranges_max) return fail(Errc::too_large, "sequence-set");
    out.ranges_.push_back(range);
    if (at == end) break;
    if (*at != ',') return fail(Errc::syntax, "sequence-set");
    ++at;
  }
  normalise(out.ranges_);
  return out;
}

void UidSet::add(std::uint32_t first, std::uint32_t last) {
  if (last < first) std::swap(first, last);
  first = std::max(first, 1u);
  if (last == 0) return;
  if (ranges_.empty() || first > ranges_.back().last) {  // as it comes when sorted
    if (!ranges_.empty() && first == ranges_.back().last + 1) {
      ranges_.back().last = last;
    } else {
      ranges_.push_back({first, last});
    }
    return;
  }
  // Everything from `from` up to `to` overlaps or touches the new range.
  const auto from =
      std::lower_bound(ranges_.begin(), ranges_.end(), first,
                       [](const Range& r, std::uint32_t value) { return std::uint64_t{r.last} + 1 < value; });
  auto to = from;
  Range joined{first, last};
  while (to != ranges_.end() && to->first <= std::uint64_t{last} + 1) {
    joined.first = std::min(joined.first, to->first);
    joined.last = std::max(joined.last, to->last);
    ++to;
  }
  if (from == to) {
    ranges_.insert(from, joined);
  } else {
    *from = joined;
    ranges_.erase(std::next(from), to);
  }
}

bool UidSet::contains(std::uint32_t uid) const {
  const auto it = std::lower_bound(ranges_.begin(), ranges_.end(), uid,
                                   [](const Range& r, std::uint32_t value) { return r.last < value; });
  return it != ranges_.end() && it->first <= uid;
}

std::uint64_t UidSet::count() const {
  std::uint64_t total = 0;
  for (const Range& r : ranges_) total += std::uint64_t{r.last} - r.first + 1;
  return total;
}

std::vector<std::uint32_t> UidSet::to_vector() const {
  std::vector<std::uint32_t> out;
  out.reserve(count());
  for (const Range& r : ranges_) {
    for (std::uint64_t uid = r.first; uid <= r.last; ++uid) out.push_back(static_cast<std::uint32_t>(uid));
  }
  return out;
}

std::string UidSet::to_string() const {
  std::string out;
  char text[24];
  for (const Range& r : ranges_) {
    if (!out.empty()) out += ',';
    out.append(text, print(text, r));
  }
  return out;
}

std::vector<UidSet> UidSet::split(std::size_t octets) const {
  std::vector<UidSet> out;
  std::size_t used = 0;
  char text[24];
  for (const Range& r : ranges_) {
    const std::size_t size = print(text, r);
    if (out.empty() || used + 1 + size > octets) {
      out.emplace_back();
      used = size;
    } else {
      used += 1 + size;
    }
    out.back().ranges_.push_back(r);
  }
  return out;
}

}  // namespace postern::imap
