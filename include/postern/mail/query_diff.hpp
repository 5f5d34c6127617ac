// What makes one query result of another (RFC 8620, 5.6). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "postern/mail/ids.hpp"

namespace postern::mail {

struct QueryDiff {
  std::vector<EmailKey> removed;
  std::vector<std::pair<EmailKey, std::uint64_t>> added;  // with the index in the new result, lowest first
};

struct QueryDiffOptions {
  // The order of two Emails and whether one matches never change: what lies behind `up_to` may be left out.
  bool immutable = false;
  std::optional<EmailKey> up_to;
  // Removed and added again although they are in both: their properties that count here may have changed.
  std::function<bool(const EmailKey&)> reinserted;
};

// Taking `removed` out of `before` and putting `added` in, one by one at their indices, gives `after`. No id is twice
// in one of them. What has changed its place among the others is in both lists; as few as can be are.
QueryDiff diff_results(const std::vector<EmailKey>& before, const std::vector<EmailKey>& after,
                       const QueryDiffOptions& options = {});

}  // namespace postern::mail
