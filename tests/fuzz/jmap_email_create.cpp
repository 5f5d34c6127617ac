// Email objects to create: what is accepted makes a message of the size that was said, with lines that may be sent,
// and header fields that are those given.
#include <rapidjson/document.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "../support/counting_random.hpp"
#include "postern/jmap/email_create.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/message_parser.hpp"
#include "require.hpp"

using namespace postern;

namespace {

// No line is too long; CR and LF stand together.
void check_lines(std::string_view message) {
  std::size_t line = 0;
  for (std::size_t i = 0; i < message.size(); ++i) {
    require(message[i] != '\0');
    if (message[i] == '\r') {
      require(i + 1 < message.size() && message[i + 1] == '\n');
      ++i;
      line = 0;
      continue;
    }
    require(message[i] != '\n');
    require(++line <= mail::message_line_bytes_max);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(
      reinterpret_cast<const char*>(bytes), size);
  if (document.HasParseError()) return 0;
  const jmap::EmailCreateLimits limits{100, 100, 1'000'000};
  (void)jmap::parse_email_import(document, limits);
  auto email = jmap::parse_email_create(document, limits);
  if (!email) {
    require(!email.error().type.empty());
    require(email.error().properties.size() <= jmap::set_error_properties_max);
    return 0;
  }
  for (const auto& wanted : jmap::wanted_blobs(email->message)) {
    const std::string content = "Subject: blob\nof any kind";
    mail::ContentScan scan;
    scan.feed(content);
    wanted.blob->octets = content.size();
    if (wanted.traits) wanted.blob->traits = scan.finish();
  }
  test::CountingRandom random;
  const auto plan =
      mail::compose_message(email->message, {1'000'000'000, "host.example", limits.octets_max}, random);
  if (!plan) {
    require(!jmap::set_error_of(plan.error()).type.empty());
    return 0;
  }
  std::string message;
  for (const auto& segment : plan->segments) {
    message += segment.octets;
    if (!segment.blob) continue;
    mail::SegmentWriter writer(segment);
    require(writer.feed("Subject: blob\nof any kind", message).has_value());
    require(writer.finish(message).has_value());
  }
  require(message.size() == plan->size);
  check_lines(message);
  const mail::ParsedMessage parsed = mail::parse_message(message);
  // What was given, and at most Date, Message-ID, MIME-Version and six Content-* fields; nothing is passed over.
  require(parsed.header.fields.size() <=
          email->message.fields.size() + email->message.body.fields.size() + 9);
  require(parsed.octets.size() >= email->message.body.sub_parts.size());
  return 0;
}
