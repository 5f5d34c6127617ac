// The parts of a message as JMAP shows them (RFC 8621, 4.1.4): EmailBodyPart, textBody, htmlBody, attachments.
//
// Plain values, made from an IMAP BODYSTRUCTURE without fetching anything else. The lists point into the tree
// they were made from: it must stay where it is while they are used. Bounded by mime_parts_max and
// mime_nesting_max.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "postern/imap/types.hpp"
#include "postern/mail/mime/headers.hpp"

namespace postern::mail {

struct EmailBodyPart {
  // The IMAP section (RFC 3501, 6.4.5): what BODY[...] fetches the content by. Empty for a message's own
  // multipart, "1" for the only part of a message that is none, "2.1" and so on. It is the partId of all parts
  // but multiparts, whose partId is null.
  std::string section;
  // The section of the part's header fields: "HEADER" for the outermost part, whose fields are the message's;
  // "2.1.MIME" for others.
  std::string header_section;

  // Octets after transfer decoding. Exact for 7bit, 8bit and binary, and where set_size() or
  // apply_binary_sizes() told it. Otherwise the best estimate from the encoded size: base64 is taken to have
  // 76-character lines (at most 2 octets too large where that is so), quoted-printable not to shrink, and a
  // multipart is the sum of its parts' encoded sizes.
  std::uint64_t size = 0;
  bool size_exact = false;
  std::uint64_t encoded_size = 0;  // octets that BODY[section] holds; 0 for a multipart

  std::string type;      // "text/plain", lower case, without parameters
  std::string encoding;  // Content-Transfer-Encoding, lower case
  std::optional<std::string> name, charset, disposition, cid, location;
  std::optional<std::vector<std::string>> language;
  std::optional<HeaderBlock> headers;    // once fetched
  std::vector<EmailBodyPart> sub_parts;  // of a multipart
  bool embedded =
      false;  // an image of a multipart/related with a cid, or the signature of a multipart/signed

  bool is_multipart() const { return type.starts_with("multipart/"); }
  bool is_text() const { return type.starts_with("text/"); }
  bool is_html() const { return type == "text/html"; }
};

// The tree of a message. `message_section` is the section of a message/rfc822 part when its body, rather than
// the fetched message's, is meant: "2" gives parts "2.1", "2.2".
EmailBodyPart make_body_parts(const imap::BodyStructure& structure, std::string_view message_section = {});

// RFC 8621, 4.1.4: the flat lists, by the algorithm suggested there.
struct BodyLists {
  std::vector<const EmailBodyPart*> text_body, html_body, attachments;
  // True if an attachment is there that is neither inline nor embedded.
  bool has_attachment = false;
};
BodyLists make_body_lists(const EmailBodyPart& root);

// The part (multiparts excluded) with that partId; null if none.
const EmailBodyPart* find_part(const EmailBodyPart& root, std::string_view part_id);
EmailBodyPart* find_part(EmailBodyPart& root, std::string_view part_id);

// The exact size, once the content has been decoded.
void set_size(EmailBodyPart& part, std::uint64_t size);

// The parts of a tree, which must stay where it is: finding all of them one by one takes a time that grows as their
// number does.
class PartIndex {
 public:
  explicit PartIndex(EmailBodyPart& root) { add(root); }
  // As find_part().
  EmailBodyPart* find(std::string_view part_id) const;
  // The part, multipart or not, whose header fields BODY[header_section] holds; null if none.
  EmailBodyPart* find_by_header_section(std::string_view header_section) const;

 private:
  using Parts = std::unordered_map<std::string_view, EmailBodyPart*>;
  void add(EmailBodyPart& part);
  Parts by_section_, by_header_section_;
};

// Exact sizes from BINARY.SIZE (RFC 3516); unknown sections are ignored.
void apply_binary_sizes(EmailBodyPart& root, std::span<const std::pair<std::string, std::uint64_t>> sizes);

// Upper estimate of the decoded size of `size` octets in that transfer encoding. `exact` tells if it is more.
struct DecodedSize {
  std::uint64_t octets = 0;
  bool exact = false;
};
DecodedSize decoded_size(std::string_view encoding, std::uint64_t size);

// The value of a parameter of Content-Type or Content-Disposition by RFC 2231 (continuations, charset) and, as
// mailers do, RFC 2047; nullopt if there is none. Names in `parameters` are in lower case.
std::optional<std::string> decoded_parameter(const imap::Parameters& parameters, std::string_view name);

}  // namespace postern::mail
