// BODYSTRUCTURE to EmailBodyParts, the flat lists by RFC 8621's algorithm, and parameters that RFC 2231 has split
// or encoded (parameter_segments_max).
#include "postern/mail/mime/body_parts.hpp"

#include <algorithm>
#include <functional>
#include <map>

#include "mail/mime/encoded_words.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/charset.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {
namespace {

// The value of a structured field of one word: unfolded, trimmed; nullopt if nothing is left.
std::optional<std::string> plain_value(const imap::NString& value) {
  if (!value) return std::nullopt;
  std::string text(trim_ascii(unfold(*value)));
  if (text.empty()) return std::nullopt;
  return text;
}

std::optional<std::string> cid_of(const imap::NString& id) {
  std::optional<std::string> text = plain_value(id);
  if (!text) return std::nullopt;
  const std::size_t open = text->find('<');
  if (open != std::string_view::npos) *text = text->substr(open + 1, text->find('>', open) - open - 1);
  *text = std::string(trim_ascii(*text));
  if (text->empty()) return std::nullopt;
  return text;
}

std::string media_type(const imap::BodyStructure& structure) {
  const std::string type = ascii_lower(sanitize_utf8(trim_ascii(structure.type)));
  const std::string subtype = ascii_lower(sanitize_utf8(trim_ascii(structure.subtype)));
  if (type == "multipart") return "multipart/" + (subtype.empty() ? "mixed" : subtype);
  if (type.empty()) return "text/plain";
  if (subtype.empty()) return type == "text" ? "text/plain" : "application/octet-stream";
  return type + "/" + subtype;
}

// RFC 8621, 4.1.4: charset. An IMAP server that found no Content-Type says text/plain (RFC 3501, 7.4.2).
std::optional<std::string> charset_of(const imap::BodyStructure& structure, std::string_view type) {
  std::optional<std::string> charset = decoded_parameter(structure.parameters, "charset");
  if (charset && !charset->empty()) return charset;
  if (type.starts_with("text/")) return "us-ascii";
  return std::nullopt;
}

bool is_embedded(const EmailBodyPart& part, std::string_view parent_type) {
  if (part.disposition == "attachment") return false;
  if (parent_type == "multipart/related") return part.cid && part.type.starts_with("image/");
  return parent_type == "multipart/signed" &&
         (part.type == "application/pgp-signature" || part.type == "application/pkcs7-signature" ||
          part.type == "application/x-pkcs7-signature");
}

class TreeBuilder {
 public:
  EmailBodyPart build(const imap::BodyStructure& structure, std::string section, std::string header_section,
                      std::string_view parent_type, std::size_t depth) {
    ++parts_;
    EmailBodyPart part;
    part.section = std::move(section);
    part.header_section = std::move(header_section);
    part.type = media_type(structure);
    if (auto disposition = plain_value(structure.disposition)) part.disposition = ascii_lower(*disposition);
    part.name = name_of(structure);
    part.charset = charset_of(structure, part.type);
    part.cid = cid_of(structure.id);
    part.location = plain_value(structure.location);
    if (!structure.languages.empty()) {
      part.language.emplace();
      for (const auto& language : structure.languages)
        part.language->emplace_back(trim_ascii(sanitize_utf8(language)));
    }
    if (part.is_multipart()) {
      add_sub_parts(part, structure, depth);
    } else {
      part.encoding = ascii_lower(trim_ascii(structure.encoding));
      part.encoded_size = structure.size;
      const DecodedSize size = decoded_size(part.encoding, structure.size);
      part.size = size.octets;
      part.size_exact = size.exact;
    }
    part.embedded = is_embedded(part, parent_type);
    return part;
  }

 private:
  void add_sub_parts(EmailBodyPart& part, const imap::BodyStructure& structure, std::size_t depth) {
    if (depth + 1 >= mime_nesting_max) return;
    const std::string prefix = part.section.empty() ? "" : part.section + ".";
    for (std::size_t i = 0; i < structure.parts.size() && parts_ < mime_parts_max; ++i) {
      std::string section = prefix + std::to_string(i + 1);
      std::string header_section = section + ".MIME";
      part.sub_parts.push_back(
          build(structure.parts[i], std::move(section), std::move(header_section), part.type, depth + 1));
      const EmailBodyPart& child = part.sub_parts.back();
      part.size += child.is_multipart() ? child.size : child.encoded_size;
    }
  }

  static std::optional<std::string> name_of(const imap::BodyStructure& structure) {
    auto name = decoded_parameter(structure.disposition_parameters, "filename");
    if (!name) name = decoded_parameter(structure.parameters, "name");
    return name;
  }

  std::size_t parts_ = 0;
};

bool is_inline_media_type(std::string_view type) {
  return type.starts_with("image/") || type.starts_with("audio/") || type.starts_with("video/");
}

// parseStructure() of RFC 8621, 4.1.4. The depth is that of the tree, so bounded. Null for a list means what it
// means there: parts of that kind are not wanted any more in this branch.
class Decomposer {
 public:
  explicit Decomposer(BodyLists& lists) : lists_(lists) {}

  void run(const EmailBodyPart& root) {
    const EmailBodyPart* parts[] = {&root};
    decompose(parts, "mixed", false, &lists_.html_body, &lists_.text_body);
    if (shared_media_) drop_attachments_in_both();
  }

 private:
  using List = std::vector<const EmailBodyPart*>;

  void decompose(std::span<const EmailBodyPart* const> parts, std::string_view multipart_type,
                 bool in_alternative, List* html_body, List* text_body) {
    const std::size_t text_length = text_body != nullptr ? text_body->size() : 0;
    const std::size_t html_length = html_body != nullptr ? html_body->size() : 0;
    const bool alternative = multipart_type == "alternative";
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const EmailBodyPart& part = *parts[i];
      if (part.is_multipart()) {
        const std::string_view sub_type =
            std::string_view(part.type).substr(std::string_view("multipart/").size());
        List sub_parts;
        sub_parts.reserve(part.sub_parts.size());
        for (const auto& sub_part : part.sub_parts) sub_parts.push_back(&sub_part);
        decompose(sub_parts, sub_type, in_alternative || sub_type == "alternative", html_body, text_body);
      } else if (!is_inline(part, i, multipart_type)) {
        lists_.attachments.push_back(&part);
      } else if (alternative) {
        // A list that isn't wanted here (null) can't take the part; then it is in none, hence an attachment.
        List* list = part.type == "text/plain" ? text_body : part.type == "text/html" ? html_body : nullptr;
        (list != nullptr ? *list : lists_.attachments).push_back(&part);
      } else {
        if (in_alternative && part.type == "text/plain") html_body = nullptr;
        if (in_alternative && part.type == "text/html") text_body = nullptr;
        if (text_body != nullptr) text_body->push_back(&part);
        if (html_body != nullptr) html_body->push_back(&part);
        const bool in_both = text_body != nullptr && html_body != nullptr;
        const bool in_none = text_body == nullptr && html_body == nullptr;
        if (in_none || (!in_both && is_inline_media_type(part.type))) lists_.attachments.push_back(&part);
      }
    }
    if (alternative && text_body != nullptr && html_body != nullptr)
      share_only_alternative(*html_body, html_length, *text_body, text_length);
  }

  // Only HTML, or only plain text, was found: it is the body in either form.
  void share_only_alternative(List& html_body, std::size_t html_length, List& text_body,
                              std::size_t text_length) {
    const bool no_text = text_body.size() == text_length, no_html = html_body.size() == html_length;
    if (no_text && !no_html) share(html_body, html_length, text_body);
    if (no_html && !no_text) share(text_body, text_length, html_body);
  }

  void share(const List& from, std::size_t begin, List& to) {
    for (std::size_t i = begin; i < from.size(); ++i) {
      shared_media_ = shared_media_ || is_inline_media_type(from[i]->type);
      to.push_back(from[i]);
    }
  }

  // The suggested algorithm leaves media that were shared afterwards in attachments; by the property's definition
  // what is in both lists isn't there.
  void drop_attachments_in_both() {
    List text = lists_.text_body, html = lists_.html_body;
    std::sort(text.begin(), text.end(), std::less<>());
    std::sort(html.begin(), html.end(), std::less<>());
    std::erase_if(lists_.attachments, [&](const EmailBodyPart* part) {
      return std::binary_search(text.begin(), text.end(), part, std::less<>()) &&
             std::binary_search(html.begin(), html.end(), part, std::less<>());
    });
  }

  static bool is_inline(const EmailBodyPart& part, std::size_t index, std::string_view multipart_type) {
    if (part.disposition == "attachment") return false;
    const bool media = is_inline_media_type(part.type);
    if (part.type != "text/plain" && part.type != "text/html" && !media) return false;
    return index == 0 || (multipart_type != "related" && (media || !part.name || part.name->empty()));
  }

  BodyLists& lists_;
  bool shared_media_ = false;
};

template <typename Part>
Part* find_in(Part& part, std::string_view part_id) {
  if (!part.is_multipart()) return part.section == part_id ? &part : nullptr;
  for (auto& sub_part : part.sub_parts) {
    // Sections begin with their parent's.
    const std::string_view section = sub_part.section;
    if (part_id != section &&
        !(part_id.starts_with(section) && part_id.substr(section.size()).starts_with('.')))
      continue;
    if (Part* found = find_in(sub_part, part_id)) return found;
  }
  return nullptr;
}

// --- Parameters (RFC 2231, 3 and 4) ---

std::string percent_decoded(std::string_view s) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    c = static_cast<char>(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '%' && i + 2 < s.size() && digit(s[i + 1]) >= 0 && digit(s[i + 2]) >= 0) {
      out += static_cast<char>(digit(s[i + 1]) << 4 | digit(s[i + 2]));
      i += 2;
    } else {
      out += s[i];
    }
  }
  return out;
}

// extended-value = [charset] "'" [language] "'" text. Gives the text; sets the charset.
std::string_view split_extended(std::string_view value, std::string& charset) {
  const std::size_t first = value.find('\'');
  const std::size_t second = first == std::string_view::npos ? first : value.find('\'', first + 1);
  if (second == std::string_view::npos) return value;
  charset = value.substr(0, first);
  return value.substr(second + 1);
}

struct Segment {
  std::string_view value;
  bool extended = false;
};

// name*0, name*1*, ...: put together in order, up to the first gap.
std::optional<std::string> continued_parameter(const imap::Parameters& parameters, std::string_view name) {
  std::map<std::size_t, Segment> segments;
  for (const auto& [key, value] : parameters) {
    if (!key.starts_with(name) || key.size() < name.size() + 2 || key[name.size()] != '*') continue;
    std::string_view index = std::string_view(key).substr(name.size() + 1);
    const bool extended = index.ends_with('*');
    if (extended) index.remove_suffix(1);
    if (index.empty() || index.size() > 3 ||
        !std::all_of(index.begin(), index.end(), [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    std::size_t number = 0;
    for (const char c : index) number = number * 10 + static_cast<std::size_t>(c - '0');
    if (number < parameter_segments_max) segments.try_emplace(number, Segment{value, extended});
  }
  if (segments.empty() || segments.begin()->first != 0) return std::nullopt;
  std::string octets, charset;
  bool any_extended = false;
  std::size_t expected = 0;
  for (const auto& [number, segment] : segments) {
    if (number != expected++) break;
    any_extended = any_extended || segment.extended;
    if (!segment.extended) {
      octets += segment.value;
    } else {
      octets += percent_decoded(number == 0 ? split_extended(segment.value, charset) : segment.value);
    }
  }
  if (!any_extended) return decode_words(unfold(to_utf8(octets, "").text));  // RFC 2047 in pieces: seen
  return to_utf8(octets, charset).text;
}

std::string clean_name(std::string text) {
  std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
  return std::string(utf8_prefix(to_nfc(std::move(text)), part_name_bytes_max));
}

}  // namespace

DecodedSize decoded_size(std::string_view encoding, std::uint64_t size) {
  const NamedTransferEncoding named = transfer_encoding(encoding);
  switch (named.encoding) {
    case TransferEncoding::identity: return {size, true};
    case TransferEncoding::base64: {
      // Lines of 76 characters and CRLF; the last may lack its CRLF, and characters come in fours.
      const std::uint64_t lines = size / 78, rest = size % 78;
      const std::uint64_t last = rest % 4 == 2 ? rest - 2 : rest;
      return {(lines * 76 + last) / 4 * 3, size == 0};
    }
    case TransferEncoding::quoted_printable: return {size, size == 0};
    case TransferEncoding::uuencode: return {size / 63 * 45 + (size % 63) * 45 / 63, size == 0};
  }
  return {size, false};
}

std::optional<std::string> decoded_parameter(const imap::Parameters& parameters, std::string_view name) {
  const auto find = [&](const std::string& key) {
    return std::find_if(parameters.begin(), parameters.end(),
                        [&](const auto& item) { return item.first == key; });
  };
  if (const auto extended = find(std::string(name) + "*"); extended != parameters.end()) {
    std::string charset;
    const std::string_view text = split_extended(extended->second, charset);
    return clean_name(to_utf8(percent_decoded(text), charset).text);
  }
  if (auto continued = continued_parameter(parameters, name)) return clean_name(std::move(*continued));
  const auto plain = find(std::string(name));
  if (plain == parameters.end()) return std::nullopt;
  return clean_name(decode_words(unfold(to_utf8(plain->second, "").text)));
}

EmailBodyPart make_body_parts(const imap::BodyStructure& structure, std::string_view message_section) {
  const std::string prefix = message_section.empty() ? "" : std::string(message_section) + ".";
  const bool multipart = ascii_lower(trim_ascii(structure.type)) == "multipart";
  std::string section = multipart ? std::string(message_section) : prefix + "1";
  return TreeBuilder().build(structure, std::move(section), prefix + "HEADER", "", 0);
}

BodyLists make_body_lists(const EmailBodyPart& root) {
  BodyLists lists;
  Decomposer(lists).run(root);
  lists.has_attachment =
      std::any_of(lists.attachments.begin(), lists.attachments.end(),
                  [](const EmailBodyPart* part) { return part->disposition != "inline" && !part->embedded; });
  return lists;
}

const EmailBodyPart* find_part(const EmailBodyPart& root, std::string_view part_id) {
  return find_in(root, part_id);
}
EmailBodyPart* find_part(EmailBodyPart& root, std::string_view part_id) { return find_in(root, part_id); }

void set_size(EmailBodyPart& part, std::uint64_t size) {
  part.size = size;
  part.size_exact = true;
}

void PartIndex::add(EmailBodyPart& part) {
  if (!part.is_multipart()) by_section_.emplace(part.section, &part);
  by_header_section_.emplace(part.header_section, &part);
  for (auto& sub_part : part.sub_parts) add(sub_part);
}

EmailBodyPart* PartIndex::find(std::string_view part_id) const {
  const auto found = by_section_.find(part_id);
  return found == by_section_.end() ? nullptr : found->second;
}

EmailBodyPart* PartIndex::find_by_header_section(std::string_view header_section) const {
  const auto found = by_header_section_.find(header_section);
  return found == by_header_section_.end() ? nullptr : found->second;
}

void apply_binary_sizes(EmailBodyPart& root, std::span<const std::pair<std::string, std::uint64_t>> sizes) {
  const PartIndex parts(root);
  for (const auto& [section, size] : sizes)
    if (auto* part = parts.find(section)) set_size(*part, size);
}

}  // namespace postern::mail
