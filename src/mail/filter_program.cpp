// Filters flattened: a node, then those of its subtree, so that a tree of any shape is walked without looking anything
// up. Depth and size are those of the filter (filter_depth_max, filter_conditions_max).
#include "mail/filter_program.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::mail {

// --- Threads ---

bool ThreadKeywords::add(const std::string& keyword) {
  auto name = ascii_lower(keyword);
  if (std::find(keywords_.begin(), keywords_.end(), name) != keywords_.end()) return true;
  if (keywords_.size() >= thread_keywords_max) return false;
  keywords_.push_back(std::move(name));
  return true;
}

bool ThreadKeywords::add(const Filter& filter) {
  if (is_thread_condition(filter.kind)) return add(filter.text);
  return std::all_of(filter.children.begin(), filter.children.end(),
                     [this](const Filter& child) { return add(child); });
}

bool ThreadKeywords::add(const Sort& sort) {
  return std::all_of(sort.keys.begin(), sort.keys.end(), [this](const SortKey& key) {
    return !is_thread_property(key.property) || add(key.keyword);
  });
}

std::vector<KeywordTest> ThreadKeywords::tests_for(const MailboxIndex& index) const {
  std::vector<KeywordTest> tests;
  tests.reserve(keywords_.size());
  for (const auto& keyword : keywords_) tests.emplace_back(index, keyword);
  return tests;
}

void ThreadKeywords::take(const MessageEntry& entry, const std::vector<KeywordTest>& tests) {
  if (entry.thread == 0) return;
  auto& have = threads_[entry.thread];
  for (std::size_t i = 0; i < tests.size(); ++i) (tests[i](entry) ? have.some : have.lacking) |= 1U << i;
}

std::optional<std::size_t> ThreadKeywords::number_of(std::string_view keyword) const {
  const auto at = std::find(keywords_.begin(), keywords_.end(), ascii_lower(keyword));
  if (at == keywords_.end()) return std::nullopt;
  return static_cast<std::size_t>(at - keywords_.begin());
}

bool ThreadKeywords::some(const MessageEntry& entry, std::size_t number, const KeywordTest& own) const {
  const auto thread = threads_.find(entry.thread);
  return thread == threads_.end() ? own(entry) : (thread->second.some >> number & 1U) != 0;
}

bool ThreadKeywords::all(const MessageEntry& entry, std::size_t number, const KeywordTest& own) const {
  const auto thread = threads_.find(entry.thread);
  return thread == threads_.end() ? own(entry) : (thread->second.lacking >> number & 1U) == 0;
}

// --- Filters ---

FilterProgram::FilterProgram(const Filter& filter, const MailboxIndex& index, const SearchResults& found,
                             const ThreadKeywords& threads)
    : index_(&index), threads_(&threads) {
  add(filter, found);
}

void FilterProgram::add(const Filter& filter, const SearchResults& found) {
  const auto at = nodes_.size();
  nodes_.push_back(
      Node{.kind = filter.kind, .end = 0, .number = filter.number, .found = nullptr, .test = {}});
  if (const auto searched = found.find(&filter); searched != found.end()) {
    nodes_[at].found = &searched->second;
  } else {
    for (const auto& child : filter.children) add(child, found);
    if (filter.kind == Filter::Kind::has_keyword || filter.kind == Filter::Kind::not_keyword ||
        is_thread_condition(filter.kind))
      nodes_[at].test.emplace(*index_, filter.text);
    if (is_thread_condition(filter.kind)) nodes_[at].keyword = threads_->number_of(filter.text).value_or(0);
  }
  nodes_[at].end = nodes_.size();
}

bool FilterProgram::any_child(std::size_t at, bool wanted, const MessageEntry& entry, bool attachment) const {
  for (auto child = at + 1; child < nodes_[at].end; child = nodes_[child].end)
    if (evaluate(child, entry, attachment) == wanted) return true;
  return false;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the filter, which is bounded
bool FilterProgram::evaluate(std::size_t at, const MessageEntry& entry, bool attachment) const {
  using Kind = Filter::Kind;
  const auto& node = nodes_[at];
  if (node.found != nullptr) return std::binary_search(node.found->begin(), node.found->end(), entry.uid);
  switch (node.kind) {
    case Kind::all_of: return !any_child(at, false, entry, attachment);
    case Kind::any_of: return any_child(at, true, entry, attachment);
    case Kind::none_of: return !any_child(at, true, entry, attachment);
    case Kind::always: return true;
    case Kind::before: return entry.received < node.number;
    case Kind::after: return entry.received >= node.number;
    case Kind::min_size: return entry.size >= node.number;
    case Kind::max_size: return entry.size < node.number;
    case Kind::has_keyword: return (*node.test)(entry);
    case Kind::not_keyword: return !(*node.test)(entry);
    case Kind::all_in_thread_have_keyword: return threads_->all(entry, node.keyword, *node.test);
    case Kind::some_in_thread_have_keyword: return threads_->some(entry, node.keyword, *node.test);
    case Kind::none_in_thread_have_keyword: return !threads_->some(entry, node.keyword, *node.test);
    case Kind::has_attachment: return attachment == (node.number != 0);
    default: return false;  // never; and what the server is asked, or is decided for each mailbox
  }
}

}  // namespace postern::mail
