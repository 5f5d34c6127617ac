// Header fields made into byte strings that compare as the values do; text counts up to sort_key_bytes_max.
#include "mail/sort_keys.hpp"

#include <glib.h>

#include <memory>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/headers.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t sort_key_bytes_max = 64;  // what differs later than that counts as equal

std::string fold_case(std::string_view utf8) {
  std::unique_ptr<gchar, decltype(&g_free)> folded(
      g_utf8_casefold(utf8.data(), static_cast<gssize>(utf8.size())), &g_free);
  std::string key(folded.get());
  if (key.size() > sort_key_bytes_max) key.resize(sort_key_bytes_max);
  return key;
}

// Big-endian with the sign bit turned: bytes compare as the numbers do.
std::string number_key(std::int64_t number) {
  auto biased = static_cast<std::uint64_t>(number) ^ (std::uint64_t{1} << 63);
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(biased >> shift & 0xFF);
  return key;
}

bool strip_suffix(std::string_view& s) {
  s = trim_ascii(s);
  if (s.size() >= 5 && iequals_ascii(s.substr(s.size() - 5), "(fwd)")) {
    s.remove_suffix(5);
    return true;
  }
  return false;
}

// subj-blob: "[" not brackets "]" and spaces
bool strip_blob(std::string_view& s) {
  if (s.empty() || s[0] != '[') return false;
  auto end = s.find_first_of("[]", 1);
  if (end == std::string_view::npos || s[end] != ']') return false;
  auto rest = trim_ascii(s.substr(end + 1));
  if (rest.empty()) return false;  // it is all there is
  s = rest;
  return true;
}

// subj-refwd: "re" / "fw" / "fwd", optionally a blob, ":"
bool strip_reply(std::string_view& s) {
  for (std::string_view word : {std::string_view("fwd"), std::string_view("fw"), std::string_view("re")}) {
    if (s.size() < word.size() || !iequals_ascii(s.substr(0, word.size()), word)) continue;
    auto rest = trim_ascii(s.substr(word.size()));
    if (!rest.empty() && rest[0] == '[') {
      auto end = rest.find_first_of("[]", 1);
      if (end == std::string_view::npos || rest[end] != ']') continue;
      rest = trim_ascii(rest.substr(end + 1));
    }
    if (rest.empty() || rest[0] != ':') continue;
    s = trim_ascii(rest.substr(1));
    return true;
  }
  return false;
}

std::string address_key(std::string_view raw) {
  auto addresses = as_addresses(raw);
  if (addresses.empty()) return {};
  const auto& first = addresses.front();
  return fold_case(first.name && !first.name->empty() ? *first.name : first.email);
}

}  // namespace

std::string_view header_field_of(SortKey::Property property) {
  switch (property) {
    case SortKey::Property::sent_at: return "DATE";
    case SortKey::Property::from: return "FROM";
    case SortKey::Property::to: return "TO";
    case SortKey::Property::subject: return "SUBJECT";
    default: return {};
  }
  return {};
}

std::string text_sort_key(SortKey::Property property, std::string_view header) {
  const auto block = parse_header_block(header);
  const auto* field = block.last(header_field_of(property));
  const std::string_view raw = field == nullptr ? std::string_view{} : std::string_view(field->value);
  switch (property) {
    case SortKey::Property::sent_at: return number_key(as_date_seconds(raw).value_or(0));
    case SortKey::Property::from:
    case SortKey::Property::to: return address_key(raw);
    case SortKey::Property::subject: return fold_case(base_subject(as_text(raw)));
    default: return {};
  }
  return {};
}

std::string base_subject(std::string_view subject) {
  auto s = trim_ascii(subject);
  for (bool again = true; again;) {
    again = false;
    while (strip_suffix(s)) {
    }
    while (strip_reply(s) || strip_blob(s)) {
    }
    // "[fwd: ...]"
    if (s.size() > 6 && iequals_ascii(s.substr(0, 5), "[fwd:") && s.back() == ']') {
      s = trim_ascii(s.substr(5, s.size() - 6));
      again = true;
    }
  }
  return std::string(s);
}

ThreadKey thread_key_of(std::string_view header, const EmailKey& id) {
  const auto block = parse_header_block(header);
  for (std::string_view name : {"References", "In-Reply-To", "Message-ID"}) {
    const auto* field = block.last(name);
    if (field == nullptr) continue;
    auto ids = as_message_ids(field->value);
    if (ids && !ids->empty() && !ids->front().empty()) return stable_hash64("thread\n" + ids->front()) | 1;
  }
  return stable_hash64("message\n" + email_id(id)) | 1;  // never 0, which means unknown
}

}  // namespace postern::mail
