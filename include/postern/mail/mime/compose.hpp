// Messages written from their header fields and body parts (RFC 5322, 2045 to 2047, 2231).
//
// Plain values and a function without state: any thread. A message comes out as a plan: octets, and between them the
// places where the content of a blob goes, encoded by the caller as it reads it. So the size is known before the first
// octet is sent (the literal of APPEND needs it), and no attachment is in memory as a whole. Nothing that a client
// gives can end a header field: line ends, NULs and other control characters are refused, with the property's name.
// Bounded by the limits of reading (mail/mime/limits.hpp): what is written can be read again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "postern/base/crypto.hpp"
#include "postern/base/error.hpp"
#include "postern/imap/types.hpp"
#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/transfer_encode.hpp"

namespace postern::mail {

// The forms of RFC 8621, 4.1.2, to be written.
struct RawForm {
  std::string raw;  // behind the colon; may be folded. Octets that aren't ASCII only in unstructured fields.
};
struct TextForm {
  std::string text;
};
struct MessageIdsForm {
  std::vector<std::string> ids;  // without brackets
};
struct DateForm {
  std::int64_t seconds = 0;  // since 1970
  int offset_minutes = 0;
};
struct UrlsForm {
  std::vector<std::string> urls;  // without brackets
};
// A list without any item makes no field.
using FieldForm = std::variant<RawForm, TextForm, std::vector<EmailAddress>, std::vector<EmailAddressGroup>,
                               MessageIdsForm, DateForm, UrlsForm>;

struct WrittenField {
  std::string name;
  FieldForm form;
  std::string property;  // what a fault names: "subject", "header:X-Foo:asText"
};

// Content that the caller inserts.
struct BlobContent {
  std::string blob_id;
  std::uint64_t octets = 0;
  // Of a message/rfc822, which may not be encoded (RFC 2046, 5.2.1): where given, and where its lines allow, it is
  // written as it is, with CRLF line ends. Everything else is base64.
  std::optional<ContentTraits> traits = {};
};

struct WrittenPart {
  std::string type = "text/plain";
  imap::Parameters parameters;  // of Content-Type; charset, name and boundary are not looked at
  std::optional<std::string> charset, disposition, name, cid, location;  // charset: of a blob; text is UTF-8
  imap::Parameters disposition_parameters;                               // filename is not looked at
  std::vector<std::string> language;
  std::vector<WrittenField> fields;  // further ones
  // One of the three: sub_parts for multipart/*, text (UTF-8, any line ends) or blob for others.
  std::vector<WrittenPart> sub_parts;
  std::optional<std::string> text;
  std::optional<BlobContent> blob;
  std::string property;  // what a fault names: "bodyStructure/subParts/0"

  bool is_multipart() const { return type.starts_with("multipart/"); }
};

struct WrittenMessage {
  std::vector<WrittenField> fields;
  WrittenPart body;
};

struct ComposeFault {
  std::string property;    // "to/3/email"; empty: the message as a whole
  std::string reason;      // "must not have control characters"
  bool too_large = false;  // otherwise the property is invalid
};

struct ComposeOptions {
  std::int64_t now = 0;   // seconds since 1970: of Date, where no field says it
  std::string_view host;  // right of the "@" of Message-ID, where no field gives one; a domain
  std::uint64_t octets_max = 0;
};

struct MessageSegment {
  std::string octets;  // to be sent as they are; empty for a blob
  // Otherwise: the content of this blob, through a SegmentWriter.
  std::optional<BlobContent> blob = {};
  WrittenEncoding encoding = WrittenEncoding::base64;
  std::uint64_t size = 0;  // octets of the message
};

struct MessagePlan {
  std::vector<MessageSegment> segments;
  std::uint64_t size = 0;    // the sum
  bool eight_bit = false;    // in a body: SMTP needs 8BITMIME
  bool utf8_header = false;  // an address isn't ASCII (RFC 6532): SMTP needs SMTPUTF8
};

// All faults, up to compose_faults_max. `random` is for boundaries and the Message-ID.
std::expected<MessagePlan, std::vector<ComposeFault>> compose_message(const WrittenMessage& message,
                                                                      const ComposeOptions& options,
                                                                      Random& random);

// Encodes the content of one segment's blob; makes sure that it has the size that the plan says.
class SegmentWriter {
 public:
  explicit SegmentWriter(const MessageSegment& segment)
      : encoder_(segment.encoding), expected_(segment.size) {}

  // Appends; an error, and nothing appended, once the blob is larger than it was said to be.
  Result<> feed(std::string_view piece, std::string& out);
  // Appends what was held back; an error if the blob was smaller.
  Result<> finish(std::string& out);

 private:
  TransferEncoder encoder_;
  std::uint64_t expected_;
  std::uint64_t written_ = 0;
};

enum class ComposeErrc { blob_changed = 1 };
const std::error_category& compose_category();
inline std::error_code make_error_code(ComposeErrc e) { return {static_cast<int>(e), compose_category()}; }

}  // namespace postern::mail
template <>
struct std::is_error_code_enum<postern::mail::ComposeErrc> : std::true_type {};
