// Ids as base64url of fixed-width numbers, a blob's with its section behind. Decoding accepts only what encoding
// would have made.
#include "postern/mail/ids.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <tuple>
#include <utility>

#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

void put(char* to, std::uint64_t v, int size) {
  for (int i = size - 1; i >= 0; --i, v >>= 8) to[i] = static_cast<char>(v & 0xFF);
}
std::uint64_t get(std::string_view bytes, std::size_t at, int size) {
  std::uint64_t v = 0;
  for (int i = 0; i < size; ++i)
    v = v << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return v;
}

constexpr std::size_t key_characters = base64url_size(8);
constexpr std::size_t place_characters = base64url_size(16);

std::string id_of_key(char kind, std::uint64_t key) {
  char bytes[8];
  put(bytes, key, sizeof bytes);
  std::string id(1 + key_characters, kind);
  base64url_encode_to({bytes, sizeof bytes}, std::span(id).subspan(1));
  return id;
}

// The decoder takes no padding and no bits left over, so that an id has one spelling.
std::optional<std::uint64_t> parse_key(char kind, std::string_view id) {
  char bytes[8];
  if (id.size() != 1 + key_characters || id[0] != kind) return std::nullopt;
  if (!base64url_decode_to(id.substr(1), bytes)) return std::nullopt;
  return get({bytes, sizeof bytes}, 0, 8);
}

void encode_place(const Place& p, std::span<char> to) {
  char bytes[16];
  put(bytes, p.mailbox, 8);
  put(bytes + 8, p.uid_validity, 4);
  put(bytes + 12, p.uid, 4);
  base64url_encode_to({bytes, sizeof bytes}, to);
}

std::optional<Place> parse_place(std::string_view text) {
  char octets[16];
  if (!base64url_decode_to(text, octets)) return std::nullopt;
  const std::string_view bytes(octets, sizeof octets);
  Place p;
  p.mailbox = get(bytes, 0, 8);
  p.uid_validity = static_cast<std::uint32_t>(get(bytes, 8, 4));
  p.uid = static_cast<std::uint32_t>(get(bytes, 12, 4));
  if (p.uid == 0) return std::nullopt;
  return p;
}

constexpr std::array<std::pair<char, TransferEncoding>, 4> encoding_letters{{
    {'n', TransferEncoding::identity},
    {'b', TransferEncoding::base64},
    {'q', TransferEncoding::quoted_printable},
    {'u', TransferEncoding::uuencode},
}};

// Section numbers only ("1", "2.1"): no leading zero, no empty component.
bool is_section(std::string_view s) {
  bool start = true;
  for (char c : s) {
    if (c == '_') {
      if (start) return false;
      start = true;
    } else if (c < '0' || c > '9' || (start && c == '0')) {
      return false;
    } else {
      start = false;
    }
  }
  return !start && s.size() <= blob_section_bytes_max;
}

std::string_view name_of(const blobs::UploadToken& token) {
  return {reinterpret_cast<const char*>(token.data()), token.size()};
}

std::optional<TransferEncoding> encoding_of(char letter) {
  for (const auto& [known, encoding] : encoding_letters)
    if (known == letter) return encoding;
  return std::nullopt;
}

char letter_of(TransferEncoding encoding) {
  for (const auto& [letter, known] : encoding_letters)
    if (known == encoding) return letter;
  return 'n';
}

// A number as it is written: no leading zeros.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number > blob_slice_octets_max || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  return number;
}

// "b1234_567"
std::optional<BlobSlice> parse_slice(std::string_view text) {
  const auto middle = text.find('_');
  if (text.empty() || middle == std::string_view::npos) return std::nullopt;
  const auto encoding = encoding_of(text[0]);
  const auto begin = parse_number(text.substr(1, middle - 1)), size = parse_number(text.substr(middle + 1));
  if (!encoding || !begin || !size) return std::nullopt;
  return BlobSlice{*encoding, *begin, *size};
}

// What stands behind the place or the token: a section, and slices.
bool parse_rest(std::string_view rest, BlobKey& key) {
  if (rest.starts_with('_')) {
    const auto section = rest.substr(0, rest.find('-'));
    if (key.is_upload() || section.size() < 3 || !is_section(section.substr(2))) return false;
    const auto encoding = encoding_of(section[1]);
    if (!encoding) return false;
    key.encoding = *encoding;
    for (char c : section.substr(2)) key.section += c == '_' ? '.' : c;
    rest.remove_prefix(section.size());
  }
  while (!rest.empty()) {
    if (rest[0] != '-' || key.slices.size() >= blob_slices_max) return false;
    rest.remove_prefix(1);
    const auto slice = parse_slice(rest.substr(0, rest.find('-')));
    if (!slice) return false;
    key.slices.push_back(*slice);
    rest.remove_prefix(std::min(rest.find('-'), rest.size()));
  }
  return true;
}

}  // namespace

std::string account_id(store::AccountKey key) { return id_of_key('a', key); }
std::string mailbox_id(MailboxKey key) { return id_of_key('m', key); }
std::string thread_id(ThreadKey key) { return id_of_key('t', key); }
std::string email_id(const EmailKey& key) {
  const auto text = email_id_text(key);
  return {text.data(), text.size()};
}

EmailIdText email_id_text(const EmailKey& key) {
  EmailIdText text;
  text[0] = 'e';
  encode_place(key, std::span(text).subspan(1));
  return text;
}

std::string blob_id(const BlobKey& key) {
  std::string id(1 + place_characters, 'b');
  if (key.is_upload())
    id = 'u' + base64url_encode(name_of(*key.upload));
  else
    encode_place(key.email, std::span(id).subspan(1));
  if (!key.is_upload() && !key.section.empty()) {
    (id += '_') += letter_of(key.encoding);
    for (char c : key.section) id += c == '.' ? '_' : c;
  }
  for (const auto& slice : key.slices) {
    (id += '-') += letter_of(slice.encoding);
    ((id += std::to_string(slice.begin)) += '_') += std::to_string(slice.size);
  }
  return id;
}

std::optional<MailboxKey> parse_mailbox_id(std::string_view id) { return parse_key('m', id); }
std::optional<ThreadKey> parse_thread_id(std::string_view id) { return parse_key('t', id); }

std::optional<EmailKey> parse_email_id(std::string_view id) {
  if (id.size() != 1 + place_characters || id[0] != 'e') return std::nullopt;
  return parse_place(id.substr(1));
}

std::optional<BlobKey> parse_blob_id(std::string_view id) {
  if (id.size() < 1 + place_characters || (id[0] != 'b' && id[0] != 'u')) return std::nullopt;
  const auto name = id.substr(1, place_characters);
  BlobKey key;
  if (id[0] == 'u') {
    auto& token = key.upload.emplace();
    if (!base64url_decode_to(name, std::span(reinterpret_cast<char*>(token.data()), token.size())))
      return std::nullopt;
  } else {
    const auto place = parse_place(name);
    if (!place) return std::nullopt;
    key.email = *place;
  }
  if (!parse_rest(id.substr(1 + place_characters), key)) return std::nullopt;
  return key;
}

std::optional<BlobKey> slice_of(const BlobKey& blob, const BlobSlice& slice) {
  if (slice.begin > blob_slice_octets_max || slice.size > blob_slice_octets_max) return std::nullopt;
  auto inner = blob;
  if (!inner.slices.empty() && inner.slices.back().encoding == TransferEncoding::identity) {
    auto& last = inner.slices.back();
    if (slice.begin > last.size || slice.size > last.size - slice.begin) return std::nullopt;
    last = {slice.encoding, last.begin + slice.begin, slice.size};
    return inner;
  }
  if (inner.slices.size() >= blob_slices_max) return std::nullopt;
  inner.slices.push_back(slice);
  return inner;
}

}  // namespace postern::mail
