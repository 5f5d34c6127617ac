// Ids as base64url of fixed-width numbers, a blob's with its section behind. Decoding accepts only what encoding
// would have made.
#include "postern/mail/ids.hpp"

#include <algorithm>
#include <array>
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

constexpr std::size_t key_characters = 11;
constexpr std::size_t place_characters = 22;

std::string id_of_key(char kind, std::uint64_t key) {
  char bytes[8];
  put(bytes, key, 8);
  return kind + base64url_encode({bytes, sizeof bytes});
}

// The decoded bytes if there are so many. The decoder takes no padding and no bits left over, so that an id has one
// spelling.
std::optional<std::string> decode_exact(std::string_view text, std::size_t bytes) {
  auto decoded = base64url_decode(text);
  if (!decoded || decoded->size() != bytes) return std::nullopt;
  return decoded;
}

std::optional<std::uint64_t> parse_key(char kind, std::string_view id) {
  if (id.size() != 1 + key_characters || id[0] != kind) return std::nullopt;
  auto bytes = decode_exact(id.substr(1), 8);
  if (!bytes) return std::nullopt;
  return get(*bytes, 0, 8);
}

std::string encode_place(const Place& p) {
  char bytes[16];
  put(bytes, p.mailbox, 8);
  put(bytes + 8, p.uid_validity, 4);
  put(bytes + 12, p.uid, 4);
  return base64url_encode({bytes, sizeof bytes});
}

std::optional<Place> parse_place(std::string_view text) {
  if (text.size() != place_characters) return std::nullopt;
  auto bytes = decode_exact(text, 16);
  if (!bytes) return std::nullopt;
  Place p;
  p.mailbox = get(*bytes, 0, 8);
  p.uid_validity = static_cast<std::uint32_t>(get(*bytes, 8, 4));
  p.uid = static_cast<std::uint32_t>(get(*bytes, 12, 4));
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

}  // namespace

std::string account_id(store::AccountKey key) { return id_of_key('a', key); }
std::string mailbox_id(MailboxKey key) { return id_of_key('m', key); }
std::string thread_id(ThreadKey key) { return id_of_key('t', key); }
std::string email_id(const EmailKey& key) { return 'e' + encode_place(key); }

std::string blob_id(const BlobKey& key) {
  std::string id = 'b' + encode_place(key.email);
  if (key.section.empty()) return id;
  id += '_';
  for (const auto& [letter, encoding] : encoding_letters)
    if (encoding == key.encoding) id += letter;
  for (char c : key.section) id += c == '.' ? '_' : c;
  return id;
}

std::optional<MailboxKey> parse_mailbox_id(std::string_view id) { return parse_key('m', id); }
std::optional<ThreadKey> parse_thread_id(std::string_view id) { return parse_key('t', id); }

std::optional<EmailKey> parse_email_id(std::string_view id) {
  if (id.size() != 1 + place_characters || id[0] != 'e') return std::nullopt;
  return parse_place(id.substr(1));
}

std::optional<BlobKey> parse_blob_id(std::string_view id) {
  if (id.size() < 1 + place_characters || id[0] != 'b') return std::nullopt;
  auto place = parse_place(id.substr(1, place_characters));
  if (!place) return std::nullopt;
  BlobKey key{*place, TransferEncoding::identity, {}};
  auto rest = id.substr(1 + place_characters);
  if (rest.empty()) return key;
  if (rest.size() < 3 || rest[0] != '_' || !is_section(rest.substr(2))) return std::nullopt;
  auto letter = std::find_if(encoding_letters.begin(), encoding_letters.end(),
                             [&](const auto& known) { return known.first == rest[1]; });
  if (letter == encoding_letters.end()) return std::nullopt;
  key.encoding = letter->second;
  for (char c : rest.substr(2)) key.section += c == '_' ? '.' : c;
  return key;
}

}  // namespace postern::mail
