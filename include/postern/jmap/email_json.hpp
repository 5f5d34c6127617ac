// An Email as JSON (RFC 8621, 4.1).
//
// EmailData is a bundle of views for the time of one call; everything in it belongs to the caller. What a
// property needs and EmailData hasn't got is null, empty or zero: give what FetchNeeds names.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/jmap/email_properties.hpp"
#include "postern/jmap/json.hpp"
#include "postern/mail/mime/body_parts.hpp"
#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/text_decode.hpp"

namespace postern::jmap {

struct EmailData {
  std::string_view id, blob_id, thread_id;
  std::span<const std::string> mailbox_ids;
  std::span<const std::string> keywords;  // JMAP's: "$seen", lower case
  std::uint64_t size = 0;
  std::int64_t received_at = 0;               // seconds since 1970
  const mail::HeaderBlock* header = nullptr;  // the message's: all fields, or those needed
  const mail::EmailBodyPart* body_structure = nullptr;
  const mail::BodyLists* body_lists = nullptr;  // made from body_structure where null
  // Appends the blobId of a part that is no multipart.
  std::function<void(const mail::EmailBodyPart&, std::string& out)> part_blob_id;
  // By partId; those of wanted_body_values() that could be had.
  std::span<const std::pair<std::string, mail::EmailBodyValue>> body_values;
  std::string_view preview;
};

// The text parts whose values the request wants, each once, in the order of the message's lists.
std::vector<const mail::EmailBodyPart*> wanted_body_values(const EmailProperties& properties,
                                                           const mail::EmailBodyPart& root,
                                                           const mail::BodyLists& lists);

// The parts whose header fields must be fetched (BODY[header_section]); the outermost part's are
// EmailData::header unless its own are set.
std::vector<const mail::EmailBodyPart*> wanted_part_headers(const EmailProperties& properties,
                                                            const mail::EmailBodyPart& root,
                                                            const mail::BodyLists& lists);

// Writes the object, with the properties in the order asked for.
void write_email(JsonWriter& writer, const EmailProperties& properties, const EmailData& email);

// A header field in the form that a property asks for (also used for body parts).
void write_header_property(JsonWriter& writer, const HeaderProperty& property,
                           const mail::HeaderBlock& header);

}  // namespace postern::jmap
