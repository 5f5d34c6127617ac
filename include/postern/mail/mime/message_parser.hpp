// A whole message, octet by octet, to what an IMAP server says of it: header, body parts, and where their content lies.
//
// For messages that no mailbox has: blobs (RFC 8621, 4.8 and 4.9) and attached messages. A MessageParser belongs to
// one message and one thread at a time. It is fed pieces cut anywhere, and holds the header it is in, one line's
// begin, and the tree; content isn't kept: its place is told, so that a message of any size is read in a buffer.
// Nothing fails. Bounded by mime_parts_max, mime_nesting_max, header_bytes_max and part_headers_bytes_max: parts
// beyond are left out of the tree, a multipart too deep is a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "postern/mail/mime/body_parts.hpp"
#include "postern/mail/mime/headers.hpp"

namespace postern::mail {

// Octets of the message, from its first.
struct PartOctets {
  std::uint64_t header_begin = 0, header_size = 0;  // with the empty line behind it
  std::uint64_t content_begin = 0,
                content_size = 0;  // as transferred; without the line end before the boundary
};

struct ParsedMessage {
  HeaderBlock header;
  // As from make_body_parts(), with exact sizes.
  EmailBodyPart root;
  std::map<std::string, PartOctets, std::less<>> octets;  // by EmailBodyPart::header_section
  std::uint64_t size = 0;
  bool nul = false;  // there are NULs in it, which no IMAP server takes

  // RFC 8621, 4.9: notParsable otherwise. What has a header field is a message.
  bool is_message() const { return !header.fields.empty(); }
  PartOctets octets_of(const EmailBodyPart& part) const;
};

struct MessageParserOptions {
  bool part_headers = false;  // fills EmailBodyPart::headers, up to part_headers_bytes_max in all
};

class MessageParser {
 public:
  explicit MessageParser(MessageParserOptions options = {});
  ~MessageParser();
  MessageParser(const MessageParser&) = delete;
  MessageParser& operator=(const MessageParser&) = delete;

  void feed(std::string_view piece);
  // Nothing may be fed after it.
  ParsedMessage finish();

 private:
  class State;
  std::unique_ptr<State> state_;
};

ParsedMessage parse_message(std::string_view octets, MessageParserOptions options = {});

// The value of a text part of a message that is in memory (RFC 8621, 4.1.4: bodyValues).
struct EmailBodyValue;
EmailBodyValue body_value(const ParsedMessage& message, const EmailBodyPart& part, std::string_view octets,
                          std::uint64_t value_bytes_max);

// RFC 8621, 4.8: "time of most recent Received header", in seconds since 1970. nullopt: there is none.
std::optional<std::int64_t> received_date_seconds(const HeaderBlock& header);

}  // namespace postern::mail
