// Whole messages: any octets give a tree within the bounds, the same however they are cut, whose parts lie in the
// message.
#include <cstdint>
#include <string>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/message_parser.hpp"
#include "postern/mail/mime/text_decode.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

void check_same(const EmailBodyPart& a, const EmailBodyPart& b) {
  require(a.type == b.type && a.size == b.size && a.section == b.section && a.name == b.name);
  require(a.sub_parts.size() == b.sub_parts.size());
  for (std::size_t i = 0; i < a.sub_parts.size(); ++i) check_same(a.sub_parts[i], b.sub_parts[i]);
}

void check_parts(const ParsedMessage& message, const EmailBodyPart& part, std::string_view octets,
                 std::size_t depth, std::size_t& parts) {
  require(++parts <= mime_parts_max && depth < mime_nesting_max);
  const PartOctets place = message.octets_of(part);
  require(place.header_begin + place.header_size == place.content_begin);
  require(place.content_begin <= octets.size() && place.content_size <= octets.size() - place.content_begin);
  if (part.is_multipart()) {
    require(!part.sub_parts.empty());
    for (const auto& sub_part : part.sub_parts) check_parts(message, sub_part, octets, depth + 1, parts);
    return;
  }
  require(part.encoded_size == place.content_size);
  if (!part.is_text()) return;
  const EmailBodyValue value = body_value(message, part, octets, 0);
  require(is_valid_utf8(value.value));
  require(!value.part_size || *value.part_size == part.size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(bytes), size);
  const ParsedMessage message = parse_message(octets, {true});
  MessageParser parser;
  for (std::size_t i = 0; i < octets.size();) {
    const std::size_t piece = 1 + static_cast<std::uint8_t>(octets[i]) % 7;
    parser.feed(octets.substr(i, piece));
    i += piece;
  }
  check_same(message.root, parser.finish().root);
  require(message.size == size);
  std::size_t parts = 0;
  check_parts(message, message.root, octets, 0, parts);
  (void)received_date_seconds(message.header);
  return 0;
}
