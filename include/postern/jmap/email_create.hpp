// Emails that a client wants made (RFC 8621, 4.6: create, and 4.8: EmailImport): from the JSON object to what is to be
// written, or to the SetError that says what is wrong.
//
// Plain values and functions without state: any thread. Nothing is looked up: mailboxes, and blobs with their sizes,
// are the caller's business. Bounded by EmailCreateLimits and mail/mime/limits.hpp.
#pragma once

#include <rapidjson/document.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "postern/jmap/json.hpp"
#include "postern/mail/mime/compose.hpp"

namespace postern::jmap {

// RFC 8620, 5.3, and RFC 8621, 4.6.
struct SetError {
  std::string type;  // "invalidProperties", "blobNotFound", "tooLarge", ...
  std::string description = {};
  std::vector<std::string> properties =
      {};  // of invalidProperties: "subject", "bodyStructure/subParts/0/partId"
  std::vector<std::string> not_found = {};  // of blobNotFound: blob ids
};

struct EmailCreateLimits {
  std::size_t keywords_max = 100;     // tooManyKeywords
  std::size_t mailboxes_max = 1'000;  // tooManyMailboxes
  std::uint64_t octets_max = 0;       // of the message, and of all its texts: tooLarge
};
inline constexpr std::size_t set_error_properties_max = 100;

// What an Email is filed with.
struct EmailFiling {
  std::vector<std::string> mailbox_ids;     // as given: ids, or "#" and a creation id; at least one
  std::vector<std::string> keywords;        // lower case
  std::optional<std::int64_t> received_at;  // seconds since 1970
};

struct EmailCreate {
  EmailFiling filing;
  mail::WrittenMessage message;  // whose blobs' sizes aren't known yet
};

// An Email object of Email/set create.
std::expected<EmailCreate, SetError> parse_email_create(const rapidjson::Value& object,
                                                        const EmailCreateLimits& limits);

// The blobs of the message, to be given their `octets` (and, for those of type message/*, `traits`). They stay where
// they are as long as the message does.
struct WantedBlob {
  mail::BlobContent* blob = nullptr;
  bool traits = false;  // a ContentScan of it is worth while
};
std::vector<WantedBlob> wanted_blobs(mail::WrittenMessage& message);
// With every blob that could not be found, each once.
SetError blob_not_found(std::span<const std::string> blob_ids);
// Of compose_message().
SetError set_error_of(std::span<const mail::ComposeFault> faults);

// An EmailImport object of Email/import.
struct EmailImport {
  EmailFiling filing;
  std::string blob_id;
};
std::expected<EmailImport, SetError> parse_email_import(const rapidjson::Value& object,
                                                        const EmailCreateLimits& limits);

// RFC 8620, 1.4: Date ("2014-10-30T14:12:00+08:00"), and with `utc` UTCDate, whose offset is "Z".
std::optional<mail::DateForm> parse_date(std::string_view text, bool utc);

}  // namespace postern::jmap
