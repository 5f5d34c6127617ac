// Keys are copied when a row is added and compared without looking anything up.
#include "mail/sort_rows.hpp"

#include <tuple>

namespace postern::mail {

void SortRows::begin(const MailboxView& view) {
  view_ = &view;
  keywords_.clear();
  for (std::size_t i = 0; i < sort_.keys.size(); ++i)
    if (is_keyword_property(sort_.keys[i].property))
      keywords_.push_back({i, threads_.number_of(sort_.keys[i].keyword).value_or(0),
                           KeywordTest(view.index(), sort_.keys[i].keyword)});
}

void SortRows::add(const MessageEntry& entry) {
  SortRow row{.place = {view_->key(), view_->uid_validity(), entry.uid},
              .thread = entry.thread,
              .received = entry.received,
              .size = entry.size,
              .bits = 0,
              .texts = static_cast<std::uint32_t>(texts_.size())};
  for (const auto& keyword : keywords_) {
    bool has = false;
    switch (sort_.keys[keyword.key].property) {
      case SortKey::Property::all_in_thread_have_keyword:
        has = threads_.all(entry, keyword.number, keyword.test);
        break;
      case SortKey::Property::some_in_thread_have_keyword:
        has = threads_.some(entry, keyword.number, keyword.test);
        break;
      default: has = keyword.test(entry); break;
    }
    if (has) row.bits |= 1U << keyword.key;
  }
  const auto sorted = view_->sort_entry(&entry);
  for (const auto& key : sort_.keys) {
    if (!is_text_property(key.property)) continue;
    const auto* text = sorted.texts->find(key.property, entry.uid);
    texts_.push_back(text != nullptr ? *text : std::string());
  }
  rows_.push_back(row);
}

bool SortRows::less(const SortRow& a, const SortRow& b) const {
  std::uint32_t text = 0;
  for (std::size_t i = 0; i < sort_.keys.size(); ++i) {
    int order = 0;
    const auto by = [&order](auto left, auto right) { order = left < right ? -1 : right < left ? 1 : 0; };
    switch (sort_.keys[i].property) {
      case SortKey::Property::received_at: by(a.received, b.received); break;
      case SortKey::Property::size: by(a.size, b.size); break;
      case SortKey::Property::has_keyword:
      case SortKey::Property::all_in_thread_have_keyword:
      case SortKey::Property::some_in_thread_have_keyword:
        by(a.bits >> i & 1U, b.bits >> i & 1U);  // false before true (RFC 8620, 5.5)
        break;
      case SortKey::Property::sent_at:
      case SortKey::Property::from:
      case SortKey::Property::to:
      case SortKey::Property::subject:
        order = texts_[a.texts + text].compare(texts_[b.texts + text]);
        ++text;
        break;
    }
    if (order != 0) return (order < 0) == sort_.keys[i].ascending;
  }
  return std::tie(a.place.mailbox, a.place.uid) < std::tie(b.place.mailbox, b.place.uid);
}

}  // namespace postern::mail
