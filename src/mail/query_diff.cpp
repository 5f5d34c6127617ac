// The longest run of Emails that keep their order stays; all others go and come.
#include "postern/mail/query_diff.hpp"

#include <algorithm>
#include <unordered_map>

namespace postern::mail {
namespace {

constexpr std::size_t no_place = static_cast<std::size_t>(-1);

// Which of these numbers are on a longest ascending run; `no_place` is on no run. Patience sorting, n log n.
std::vector<bool> longest_ascending(const std::vector<std::size_t>& numbers) {
  std::vector<std::size_t> ends;  // of the best run of each length, as places in `numbers`
  std::vector<std::size_t> before(numbers.size(), no_place);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] == no_place) continue;
    const auto at =
        std::lower_bound(ends.begin(), ends.end(), numbers[i],
                         [&](std::size_t end, std::size_t number) { return numbers[end] < number; });
    if (at != ends.begin()) before[i] = *std::prev(at);
    if (at == ends.end())
      ends.push_back(i);
    else
      *at = i;
  }
  std::vector<bool> on_run(numbers.size(), false);
  for (auto i = ends.empty() ? no_place : ends.back(); i != no_place; i = before[i]) on_run[i] = true;
  return on_run;
}

}  // namespace

QueryDiff diff_results(const std::vector<EmailKey>& before, const std::vector<EmailKey>& after,
                       const QueryDiffOptions& options) {
  const auto is_reinserted = [&](const EmailKey& id) { return options.reinserted && options.reinserted(id); };
  // Usually both begin and end alike.
  const auto shorter = std::min(before.size(), after.size());
  std::size_t head = 0, tail = 0;
  while (head < shorter && before[head] == after[head] && !is_reinserted(after[head])) ++head;
  while (tail < shorter - head && before[before.size() - tail - 1] == after[after.size() - tail - 1] &&
         !is_reinserted(after[after.size() - tail - 1]))
    ++tail;
  const auto old_tail = before.size() - tail, new_tail = after.size() - tail;
  std::unordered_map<EmailKey, std::size_t, PlaceHash> old_at;
  for (auto i = head; i < old_tail; ++i) old_at.emplace(before[i], i);
  // Where each was; those that are to be put in again are on no run.
  std::vector<std::size_t> was(new_tail - head, no_place);
  for (auto i = head; i < new_tail; ++i) {
    if (is_reinserted(after[i])) continue;
    if (const auto at = old_at.find(after[i]); at != old_at.end()) was[i - head] = at->second;
  }
  const auto run = longest_ascending(was);
  const auto stays = [&](std::size_t i) { return i < head || i >= new_tail || run[i - head]; };
  std::vector<bool> kept(before.size(), false);
  for (std::size_t i = 0; i < before.size(); ++i) kept[i] = i < head || i >= old_tail;
  for (std::size_t i = 0; i < run.size(); ++i)
    if (run[i]) kept[was[i]] = true;

  std::size_t old_end = before.size(), new_end = after.size();
  if (options.immutable && options.up_to) {
    const auto at = std::find(after.begin(), after.end(), *options.up_to);
    if (at != after.end()) {
      new_end = static_cast<std::size_t>(at - after.begin()) + 1;
      const auto old = std::find(before.begin(), before.end(), *options.up_to);
      if (old != before.end()) old_end = static_cast<std::size_t>(old - before.begin()) + 1;
    }
  }
  QueryDiff diff;
  for (std::size_t i = 0; i < old_end; ++i)
    if (!kept[i]) diff.removed.push_back(before[i]);
  for (std::size_t i = 0; i < new_end; ++i) {
    if (stays(i)) continue;
    diff.added.emplace_back(after[i], i);
    // Never twice in what a client puts together.
    if (const auto old = old_at.find(after[i]); old != old_at.end() && old->second >= old_end)
      diff.removed.push_back(after[i]);
  }
  return diff;
}

}  // namespace postern::mail
