// Filters simplified for one mailbox, their signatures, and the comparison of sorts.
#include "postern/mail/query.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

void append_text(std::string& out, std::string_view text) {
  out += std::to_string(text.size());
  out += ':';
  out += text;
}

Filter constant(bool value) {
  Filter f;
  f.kind = value ? Filter::Kind::always : Filter::Kind::never;
  return f;
}

Filter simplified(Filter::Kind kind, std::vector<Filter> children) {
  using Kind = Filter::Kind;
  // NOT is true if none of the conditions match: NOT(a, b) = not (a or b).
  const bool is_and = kind == Kind::all_of;
  std::vector<Filter> rest;
  for (auto& child : children) {
    if (child.kind == (is_and ? Kind::never : Kind::always)) return constant(kind == Kind::any_of);
    if (child.kind != (is_and ? Kind::always : Kind::never)) rest.push_back(std::move(child));
  }
  if (rest.empty()) return constant(kind != Kind::any_of);
  if (rest.size() == 1 && kind != Kind::none_of) return std::move(rest.front());
  Filter f;
  f.kind = kind;
  f.children = std::move(rest);
  return f;
}

int three_way(auto a, auto b) { return a < b ? -1 : a > b ? 1 : 0; }

}  // namespace

bool is_thread_condition(Filter::Kind kind) {
  return kind == Filter::Kind::all_in_thread_have_keyword ||
         kind == Filter::Kind::some_in_thread_have_keyword ||
         kind == Filter::Kind::none_in_thread_have_keyword;
}

bool is_search_condition(Filter::Kind kind) {
  switch (kind) {
    case Filter::Kind::text:
    case Filter::Kind::from:
    case Filter::Kind::to:
    case Filter::Kind::cc:
    case Filter::Kind::bcc:
    case Filter::Kind::subject:
    case Filter::Kind::body:
    case Filter::Kind::header: return true;
    default: return false;
  }
}

std::string Filter::signature() const {
  std::string out(1, static_cast<char>('A' + static_cast<int>(kind)));
  out += std::to_string(number);
  if (header_value) out += '=';
  append_text(out, text);
  append_text(out, header_name);
  for (auto m : mailboxes) out += std::to_string(m) + ',';
  out += '(';
  for (const auto& child : children) out += child.signature();
  out += ')';
  return out;
}

Filter Filter::in(std::span<const MailboxKey> in_mailboxes) const {
  const auto is_named = [this](MailboxKey mailbox) {
    return std::find(mailboxes.begin(), mailboxes.end(), mailbox) != mailboxes.end();
  };
  switch (kind) {
    case Kind::in_mailbox: return constant(std::any_of(in_mailboxes.begin(), in_mailboxes.end(), is_named));
    case Kind::in_mailbox_other_than:
      return constant(!std::all_of(in_mailboxes.begin(), in_mailboxes.end(), is_named));
    case Kind::all_of:
    case Kind::any_of:
    case Kind::none_of: {
      std::vector<Filter> decided;
      decided.reserve(children.size());
      for (const auto& child : children) decided.push_back(child.in(in_mailboxes));
      return simplified(kind, std::move(decided));
    }
    default: return *this;
  }
}

bool Filter::is_local() const {
  if (is_search_condition(kind) || is_thread_condition(kind) || kind == Kind::has_attachment) return false;
  return std::all_of(children.begin(), children.end(), [](const Filter& c) { return c.is_local(); });
}

bool Filter::needs_index() const {
  switch (kind) {
    case Kind::before:
    case Kind::after:
    case Kind::min_size:
    case Kind::max_size:
    case Kind::has_keyword:
    case Kind::not_keyword:
    case Kind::all_in_thread_have_keyword:
    case Kind::some_in_thread_have_keyword:
    case Kind::none_in_thread_have_keyword: return true;
    default:
      return std::any_of(children.begin(), children.end(), [](const Filter& c) { return c.needs_index(); });
  }
}

bool Filter::has(Kind wanted) const {
  return kind == wanted || std::any_of(children.begin(), children.end(),
                                       [wanted](const Filter& child) { return child.has(wanted); });
}

bool Filter::is_about_threads() const {
  return is_thread_condition(kind) || std::any_of(children.begin(), children.end(), [](const Filter& child) {
           return child.is_about_threads();
         });
}

std::string Sort::signature() const {
  std::string out;
  for (const auto& key : keys) {
    out += static_cast<char>('a' + static_cast<int>(key.property));
    out += key.ascending ? '+' : '-';
    append_text(out, ascii_lower(key.keyword));
  }
  return out;
}

bool Sort::is_local() const {
  return std::none_of(keys.begin(), keys.end(),
                      [](const SortKey& key) { return is_text_property(key.property); });
}

bool Sort::is_about_threads() const {
  return std::any_of(keys.begin(), keys.end(),
                     [](const SortKey& key) { return is_thread_property(key.property); });
}

bool is_text_property(SortKey::Property property) {
  switch (property) {
    case SortKey::Property::sent_at:
    case SortKey::Property::from:
    case SortKey::Property::to:
    case SortKey::Property::subject: return true;
    default: return false;
  }
}

bool is_thread_property(SortKey::Property property) {
  return property == SortKey::Property::all_in_thread_have_keyword ||
         property == SortKey::Property::some_in_thread_have_keyword;
}

bool is_keyword_property(SortKey::Property property) {
  return property == SortKey::Property::has_keyword || is_thread_property(property);
}

void TextKeys::put(SortKey::Property property, std::uint32_t uid, std::string key) {
  auto [it, added] = keys_[static_cast<std::size_t>(property)].try_emplace(uid);
  bytes_ += added ? key_overhead_bytes : 0;
  bytes_ -= it->second.size();
  bytes_ += key.size();
  it->second = std::move(key);
}

const std::string* TextKeys::find(SortKey::Property property, std::uint32_t uid) const {
  const auto& column = keys_[static_cast<std::size_t>(property)];
  auto it = column.find(uid);
  return it == column.end() ? nullptr : &it->second;
}

void TextKeys::erase(std::uint32_t uid) {
  for (auto& column : keys_) {
    auto it = column.find(uid);
    if (it == column.end()) continue;
    bytes_ -= it->second.size() + key_overhead_bytes;
    column.erase(it);
  }
}

void TextKeys::clear() {
  keys_ = {};
  bytes_ = 0;
}

int compare(const Sort& sort, const SortEntry& a, const SortEntry& b) {
  static const std::string empty;
  for (const auto& key : sort.keys) {
    int order = 0;
    switch (key.property) {
      case SortKey::Property::received_at: order = three_way(a.entry->received, b.entry->received); break;
      case SortKey::Property::size: order = three_way(a.entry->size, b.entry->size); break;
      case SortKey::Property::has_keyword:
        // false before true (RFC 8621, 4.4.2)
        order = three_way(a.index->has_keyword(*a.entry, key.keyword),
                          b.index->has_keyword(*b.entry, key.keyword));
        break;
      case SortKey::Property::sent_at:
      case SortKey::Property::from:
      case SortKey::Property::to:
      case SortKey::Property::subject: {
        const auto* text_a = a.texts->find(key.property, a.entry->uid);
        const auto* text_b = b.texts->find(key.property, b.entry->uid);
        order = (text_a ? *text_a : empty).compare(text_b ? *text_b : empty);
        break;
      }
      case SortKey::Property::all_in_thread_have_keyword:
      case SortKey::Property::some_in_thread_have_keyword: break;
    }
    if (order != 0) return key.ascending ? order : -order;
  }
  return 0;
}

}  // namespace postern::mail
