// Body structures, as wild as the octets make them, to parts and lists: every part is found by its section, and what
// is in neither body list is an attachment.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/body_parts.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/preview.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

// Octets read one after another; zeros behind their end.
class Octets {
 public:
  explicit Octets(std::string_view s) : s_(s) {}
  bool empty() const { return s_.empty(); }
  std::uint8_t next() {
    if (s_.empty()) return 0;
    const auto octet = static_cast<std::uint8_t>(s_.front());
    s_.remove_prefix(1);
    return octet;
  }
  std::string text() {
    const std::size_t length = std::min<std::size_t>(next() % 32, s_.size());
    std::string out(s_.substr(0, length));
    s_.remove_prefix(length);
    return out;
  }

 private:
  std::string_view s_;
};

constexpr std::string_view types[] = {"text", "image", "application", "message", "audio", ""};
constexpr std::string_view subtypes[] = {"plain", "html", "png", "pdf", "rfc822", "pgp-signature", ""};
constexpr std::string_view multiparts[] = {"mixed", "alternative", "related", "signed", "digest", ""};
constexpr std::string_view names[] = {"name",    "name*",    "name*0",    "name*1",      "name*0*",
                                      "name*1*", "filename", "filename*", "filename*0*", "charset"};

imap::BodyStructure structure_of(Octets& in, std::size_t depth) {
  imap::BodyStructure out;
  const std::uint8_t kind = in.next();
  if (kind % 3 == 0 && depth < 100 && !in.empty()) {
    out.type = "multipart";
    out.subtype = multiparts[in.next() % std::size(multiparts)];
    for (std::size_t i = in.next() % 6; i > 0; --i) out.parts.push_back(structure_of(in, depth + 1));
  } else {
    out.type = types[in.next() % std::size(types)];
    out.subtype = subtypes[in.next() % std::size(subtypes)];
    out.encoding = kind % 2 == 0 ? "base64" : in.text();
    out.size = in.next() * 1'000U;
  }
  const std::uint8_t has = in.next();
  if ((has & 1) != 0) out.disposition = (has & 2) != 0 ? "attachment" : "inline";
  if ((has & 4) != 0) out.id = in.text();
  if ((has & 8) != 0) out.location = in.text();
  if ((has & 16) != 0) out.languages.push_back(in.text());
  for (std::size_t i = has >> 5; i > 0; --i) {
    auto& parameters = i % 2 == 0 ? out.parameters : out.disposition_parameters;
    parameters.emplace_back(names[in.next() % std::size(names)], in.text());
  }
  return out;
}

void check_text(const std::optional<std::string>& text) { require(!text || is_valid_utf8(*text)); }

void check_parts(const EmailBodyPart& root, const EmailBodyPart& part, const BodyLists& lists,
                 std::size_t& parts) {
  ++parts;
  for (const auto& text : {part.name, part.cid, part.location, part.disposition, part.charset})
    check_text(text);
  require(is_valid_utf8(part.type));
  if (part.is_multipart()) {
    for (const auto& sub_part : part.sub_parts) check_parts(root, sub_part, lists, parts);
    return;
  }
  require(find_part(root, part.section) == &part);
  const auto in = [&part](const std::vector<const EmailBodyPart*>& list) {
    return std::find(list.begin(), list.end(), &part) != list.end();
  };
  const int bodies = (in(lists.text_body) ? 1 : 0) + (in(lists.html_body) ? 1 : 0);
  require(bodies > 0 || in(lists.attachments));
  require(bodies < 2 || !in(lists.attachments));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size > 4'096) return 0;
  Octets in(std::string_view(reinterpret_cast<const char*>(bytes), size));
  const imap::BodyStructure structure = structure_of(in, 0);
  const EmailBodyPart root = make_body_parts(structure);
  const BodyLists lists = make_body_lists(root);
  std::size_t parts = 0;
  check_parts(root, root, lists, parts);
  require(parts <= mime_parts_max);
  require(!lists.has_attachment || !lists.attachments.empty());
  (void)preview_part(lists);
  return 0;
}
