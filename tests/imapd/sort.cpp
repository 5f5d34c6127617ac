// SORT: RFC 5256 section 2.2 and 3, RFC 5957 (DISPLAY). Keys are computed once per message, ties go by
// mailbox order.
#include "search.hpp"

#include <algorithm>
#include <numeric>

namespace postern::testimapd {

namespace {

// One sort key of all messages: numbers or texts.
struct Column {
  bool reverse = false;
  std::vector<std::int64_t> numbers;
  std::vector<std::string> texts;

  int compare(std::size_t left, std::size_t right) const {
    int order = 0;
    if (!numbers.empty())
      order = numbers[left] < numbers[right] ? -1 : numbers[left] > numbers[right] ? 1 : 0;
    else
      order = texts[left].compare(texts[right]);
    return reverse ? -order : order;
  }
};

Column make_column(const std::vector<const Message*>& messages, const SortKey& key) {
  using SortKind = SortKey::Kind;
  Column column;
  column.reverse = key.reverse;
  auto numbers = [&](auto value_of) {
    for (const Message* message : messages) column.numbers.push_back(value_of(*message));
  };
  auto texts = [&](auto value_of) {
    for (const Message* message : messages) column.texts.push_back(value_of(*message));
  };
  switch (key.kind) {
    case SortKind::arrival: numbers([](const Message& m) { return m.internal_date; }); break;
    case SortKind::date: numbers([](const Message& m) { return sent_time(m); }); break;
    case SortKind::size: numbers([](const Message& m) { return static_cast<std::int64_t>(m.size()); }); break;
    case SortKind::subject: texts([](const Message& m) { return base_subject_of(m); }); break;
    case SortKind::from: texts([](const Message& m) { return m.body->from_key; }); break;
    case SortKind::to: texts([](const Message& m) { return m.body->to_key; }); break;
    case SortKind::cc: texts([](const Message& m) { return m.body->cc_key; }); break;
    case SortKind::display_from: texts([](const Message& m) { return m.body->from_display; }); break;
    case SortKind::display_to: texts([](const Message& m) { return m.body->to_display; }); break;
  }
  return column;
}

}  // namespace

std::vector<std::uint32_t> sort_messages(const std::vector<const Message*>& messages,
                                         const std::vector<SortKey>& keys) {
  std::vector<Column> columns;
  columns.reserve(keys.size());
  for (const SortKey& key : keys) columns.push_back(make_column(messages, key));
  std::vector<std::size_t> order(messages.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    for (const Column& column : columns)
      if (int result = column.compare(left, right); result != 0) return result < 0;
    return left < right;
  });
  std::vector<std::uint32_t> uids;
  uids.reserve(order.size());
  for (std::size_t index : order) uids.push_back(messages[index]->uid);
  return uids;
}

}  // namespace postern::testimapd
