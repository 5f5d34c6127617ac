// Message bytes of the test server: parsed once, rendered once, shared by all copies of a message.
//
// A Body is immutable after make_body() and may be shared by any number of messages. Generated bodies are
// templates: they hold slots of fixed width (the message's number, its thread's root, its parent, its date)
// which are filled in for each message when it is sent. So 100,000 messages need some hundred bodies.
// Bounds: MIME depth and parts as below; deeper parts are opaque leaves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text.hpp"

namespace postern::testimapd {

constexpr unsigned mime_depth_max = 30;
constexpr unsigned mime_parts_max = 20000;

// Sentinels in a template, as wide as what replaces them.
constexpr std::string_view slot_number = "~N~~~~~~";  // eight digits
constexpr std::string_view slot_parent = "~P~~~~~~";
constexpr std::string_view slot_root = "~R~~~~~~";
constexpr std::string_view slot_date = "~D~~~~~~~~~~~~~~~~~~~~~~~~~~~~~";  // an RFC 5322 date

struct SlotValues {
  std::uint32_t number = 0;
  std::uint32_t parent = 0;
  std::uint32_t root = 0;
  std::int64_t date = 0;
};

// A text with slots.
class Slotted {
 public:
  Slotted() = default;
  Slotted(std::string text, bool with_slots);
  void append_to(std::string& out, const SlotValues& values) const;
  std::string fill(const SlotValues& values) const;
  const std::string& text() const { return text_; }  // sentinels still inside
  std::size_t size() const { return text_.size(); }
  bool has_slots() const { return !slots_.empty(); }

 private:
  struct Slot {
    std::uint32_t at;
    char kind;
  };
  std::string text_;
  std::vector<Slot> slots_;
};

using Parameters = std::vector<std::pair<std::string, std::string>>;

struct HeaderField {
  std::string_view name;
  std::string_view line;   // with its continuation lines and CRLF
  std::string_view value;  // what is behind the colon, still folded
};

struct Part {
  std::string type = "TEXT", subtype = "PLAIN";
  Parameters parameters;
  std::string id, description, encoding, md5, disposition, language, location;
  Parameters disposition_parameters;
  std::size_t header_begin = 0, body_begin = 0,
              body_end = 0;  // offsets in the message; the blank line is header
  std::size_t lines = 0;
  std::vector<Part> children;  // of a multipart; or the one message inside message/rfc822

  bool is_multipart() const { return type == "MULTIPART"; }
  bool is_message() const { return type == "MESSAGE" && subtype == "RFC822" && !children.empty(); }
};

struct Address {
  std::string name, route, mailbox, host;
  bool group_start = false, group_end = false;
};

struct Body {
  Slotted raw;
  Part root;
  Slotted envelope, body_structure, body;  // as FETCH sends them, parentheses included
  Slotted base_subject;
  bool reply_or_forward = false;
  std::string from_key, to_key, cc_key;  // RFC 5256: local part of the first address, upper case
  std::string from_display, to_display;  // RFC 5957
  SentDate sent;                         // of a fixed Date header
  bool sent_slot = false;                // the date is SlotValues::date
  bool sent_known = false;
  Slotted message_id;               // without angle brackets
  std::vector<Slotted> references;  // oldest first; falls back to In-Reply-To
  std::string preview;
};

struct RenderOptions {
  bool eight_bit_quoted = false;
  bool nil_strings = false;
};

std::shared_ptr<const Body> make_body(std::string raw, bool with_slots, const RenderOptions& options);

// The fields of the header that starts at `header_begin` of `raw`; views into raw.
std::vector<HeaderField> parse_header(std::string_view header);
std::string unfold(std::string_view value);
std::vector<Address> parse_addresses(std::string_view value);
Part parse_mime(std::string_view raw);
std::vector<std::string> parse_message_ids(std::string_view value);

void render_envelope(std::string& out, std::string_view header, const RenderOptions& options);
void render_structure(std::string& out, std::string_view raw, const Part& part, bool extended,
                      const RenderOptions& options);

// The part that a section path (1, 1.2, ...) names; null when there is none.
const Part* find_part(const Part& root, const std::vector<std::uint32_t>& path);

// The generated messages: `number` decides template, place in its thread and dates. Numbers run from
// mailbox_index * numbers_per_mailbox + 1.
constexpr std::uint32_t numbers_per_mailbox = 10'000'000;
class Corpus {
 public:
  explicit Corpus(const RenderOptions& options);
  const std::shared_ptr<const Body>& body_of(std::uint32_t number) const;
  static SlotValues slots_of(std::uint32_t number);
  static std::int64_t internal_date_of(std::uint32_t number);

 private:
  const std::vector<std::shared_ptr<const Body>>* bodies_;  // all servers of a process share them
};

}  // namespace postern::testimapd
