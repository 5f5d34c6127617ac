// What of an Email a client asked for (RFC 8621, 4.2: Email/get), and what must be fetched for it.
//
// Plain values made once a method call. Bounded by email_properties_max and header_property_name_bytes_max.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postern/jmap/header_property.hpp"
#include "postern/jmap/json.hpp"

namespace postern::jmap {

inline constexpr std::size_t email_properties_max = 500;  // in each of properties and bodyProperties
// Names of header fields that are fetched one by one; with more, and with names that are no IMAP atoms, the whole
// header is.
inline constexpr std::size_t fetched_field_names_bytes_max = 2'000;

struct EmailProperty {
  enum class Kind : std::uint8_t {
    id,
    blob_id,
    thread_id,
    mailbox_ids,
    keywords,
    size,
    received_at,
    header,  // header:... and the convenience properties (messageId, from, subject, ...)
    headers,
    body_structure,
    body_values,
    text_body,
    html_body,
    attachments,
    has_attachment,
    preview,
  };
  Kind kind = Kind::id;
  std::string key;  // as asked for
  HeaderProperty header;
};

struct EmailBodyProperty {
  enum class Kind : std::uint8_t {
    part_id,
    blob_id,
    size,
    headers,
    name,
    type,
    charset,
    disposition,
    cid,
    language,
    location,
    sub_parts,
    header,
  };
  Kind kind = Kind::part_id;
  std::string key;
  HeaderProperty header;
};

// What one message must be fetched for. The thread id and the mailbox ids are the view's business.
struct FetchNeeds {
  std::vector<std::string> header_fields;  // upper case, sorted, unique; empty if full_header
  bool full_header = false;                // BODY[HEADER]
  bool body_structure = false;
  bool preview = false;       // preview_fetch_bytes of one part
  bool body_values = false;   // content of the parts that wanted_body_values() names
  bool part_headers = false;  // BODY[n.MIME] of each part that is listed
  bool flags = false, internal_date = false, size = false;
  bool thread_id = false, mailbox_ids = false;

  // Only what a list of messages needs, and what a cache of list data holds: metadata, single header fields,
  // body structure, preview.
  bool is_list_data() const { return !full_header && !body_values && !part_headers; }
};

// Where the Email is: in a mailbox, or only in a blob (RFC 8621, 4.9: Email/parse). That has no metadata: id,
// threadId, mailboxIds, keywords and receivedAt are null, none of them is a default, and the id comes only if asked
// for.
enum class EmailSource : std::uint8_t { mailbox, blob };

struct EmailProperties {
  EmailSource source = EmailSource::mailbox;
  std::vector<EmailProperty> properties;  // in the order asked for, without duplicates
  std::vector<EmailBodyProperty> body_properties;
  bool fetch_text_body_values = false, fetch_html_body_values = false, fetch_all_body_values = false;
  std::uint64_t max_body_value_bytes = 0;  // 0: no limit of the client's
  // Equal for two requests if and only if the same Email gives the same JSON: the key of cached fragments.
  std::string signature;
  FetchNeeds needs;
};

// From the arguments of Email/get, or of Email/parse. Errors are invalidArguments.
Argument<EmailProperties> parse_email_properties(const rapidjson::Value& arguments,
                                                 EmailSource source = EmailSource::mailbox);

}  // namespace postern::jmap
