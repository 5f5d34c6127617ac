// MIME by lines (RFC 2046, 5.1): a stack of open multiparts, whose boundaries end what is open inside them. Each octet
// is looked at once, and a line that begins with "--" once for each open multipart.
#include "postern/mail/mime/message_parser.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "mail/mime/encoded_words.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/content_type.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/text_decode.hpp"
#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t no_node = static_cast<std::size_t>(-1);
// What of a line must be seen to tell if it is a boundary: "--", the boundary, "--", and padding.
constexpr std::size_t line_begin_max = boundary_bytes_max + 60;
constexpr std::size_t small_header_bytes = 1'000;
constexpr std::size_t content_portion_bytes = 16 * 1024;

struct Node {
  imap::BodyStructure structure;
  std::size_t parent = no_node;
  PartOctets octets;
  std::uint64_t decoded_size = 0;
  std::optional<HeaderBlock> headers;
  bool has_parts = false;
};

struct OpenMultipart {
  std::size_t node = no_node;
  std::string boundary;
};

std::string_view first_value(const HeaderBlock& header, std::string_view name) {
  for (const auto& field : header.fields)
    if (iequals_ascii(field.name, name)) return field.value;
  return {};
}

// What stands in angle brackets, or the value.
imap::NString nstring(std::string_view raw) {
  std::string text(trim_ascii(unfold(raw)));
  if (text.empty()) return std::nullopt;
  return text;
}

void set_type(imap::BodyStructure& structure, std::string_view type) {
  const std::size_t slash = std::min(type.find('/'), type.size());
  structure.type = type.substr(0, slash);
  structure.subtype = type.substr(std::min(slash + 1, type.size()));
}

std::vector<std::string> languages(std::string_view raw) {
  std::vector<std::string> out;
  const std::string unfolded = unfold(raw);
  std::string_view rest = unfolded;
  while (!rest.empty() && out.size() < header_urls_max) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string_view tag = trim_ascii(rest.substr(0, end));
    if (!tag.empty()) out.emplace_back(tag);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

}  // namespace

class MessageParser::State {
 public:
  explicit State(MessageParserOptions options) : options_(options), transfer_(TransferEncoding::identity) {
    begin_part(no_node, 0);
  }

  void feed(std::string_view piece) {
    nul_ = nul_ || piece.find('\0') != std::string_view::npos;
    while (!piece.empty()) {
      const std::size_t newline = piece.find('\n');
      const bool ends = newline != std::string_view::npos;
      const std::string_view part = piece.substr(0, ends ? newline + 1 : piece.size());
      piece.remove_prefix(part.size());
      add_to_line(part, ends);
    }
  }

  ParsedMessage finish() {
    if (!line_.empty()) flush_line(true);
    if (in_header_) end_header(offset_);
    add_content(held_line_end_);
    held_line_end_.clear();
    end_part(offset_);
    return assemble();
  }

 private:
  // --- Lines ---

  // A line's begin is held until it is long enough to tell if it is a boundary.
  void add_to_line(std::string_view part, bool ends) {
    if (line_is_long_) {
      take(part, false, ends);
    } else {
      line_ += part;
      if (ends || line_.size() > line_begin_max) flush_line(ends);
    }
    if (ends) line_is_long_ = false;
  }

  void flush_line(bool ends) {
    line_is_long_ = !ends;
    std::string line;
    line.swap(line_);
    take(line, true, ends);
    line.clear();
    line.swap(line_);  // keeps its memory
  }

  // A line, or a piece of one that is too long for a boundary.
  void take(std::string_view piece, bool begins, bool ends) {
    if (begins && ends && piece.starts_with("--") && take_boundary(piece)) {
      offset_ += piece.size();
      return;
    }
    offset_ += piece.size();
    if (!in_header_) {
      take_content(piece);
      return;
    }
    header_ += piece.substr(0, header_room() - std::min(header_.size(), header_room()));
    if (begins && ends && (piece == "\n" || piece == "\r\n")) end_header(offset_);
  }

  // Of a header, what is looked at: one octet more than is parsed, so that truncation is seen. Where the headers before
  // it were large, just enough for a type.
  std::size_t header_room() const {
    return described_bytes_ <= part_headers_bytes_max ? header_bytes_max + 1 : small_header_bytes;
  }

  // The line end is held back: it may be a boundary's.
  void take_content(std::string_view piece) {
    if (held_line_end_ == "\r" && piece == "\n") {
      held_line_end_ = "\r\n";
      return;
    }
    add_content(held_line_end_);
    std::string_view text = piece;
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    held_line_end_ = piece.substr(text.size());
    add_content(text);
  }

  // RFC 2046, 5.1.1:  delimiter := CRLF "--" boundary;  close-delimiter := delimiter "--";  then padding.
  bool take_boundary(std::string_view line) {
    const std::uint64_t line_end = offset_ + line.size();
    while (!line.empty() && std::string_view(" \t\r\n").find(line.back()) != std::string_view::npos)
      line.remove_suffix(1);
    line.remove_prefix(2);
    for (std::size_t i = open_.size(); i-- > 0;) {
      const std::string_view boundary = open_[i].boundary;
      if (!line.starts_with(boundary)) continue;
      const std::string_view rest = line.substr(boundary.size());
      if (!rest.empty() && rest != "--") continue;
      end_content();
      const std::size_t node = open_[i].node;
      if (rest.empty()) {
        open_.resize(i + 1);
        begin_part(node, line_end);
      } else {
        open_.resize(i);
        current_ = no_node;  // the epilogue
      }
      return true;
    }
    return false;
  }

  // --- Parts ---

  // At a boundary, whose line begins at offset_.
  void end_content() {
    if (in_header_) end_header(offset_);
    // The line end before it belongs to the boundary.
    const std::uint64_t end = offset_ - held_line_end_.size();
    held_line_end_.clear();
    end_part(end);
  }

  void begin_part(std::size_t parent, std::uint64_t begin) {
    if (nodes_.size() >= mime_parts_max) return;
    Node node;
    node.parent = parent;
    node.octets.header_begin = begin;
    current_ = nodes_.size();
    in_header_ = true;
    nodes_.push_back(std::move(node));
    if (parent != no_node) nodes_[parent].has_parts = true;
  }

  void end_part(std::uint64_t end) {
    if (current_ != no_node) {
      Node& node = nodes_[current_];
      decode({}, true);
      node.octets.content_size = end > node.octets.content_begin ? end - node.octets.content_begin : 0;
      node.decoded_size = decoded_size_;
    }
    // Multiparts end with what ends a part in them; the last to say so is right.
    for (const auto& open : open_) {
      PartOctets& octets = nodes_[open.node].octets;
      octets.content_size = end > octets.content_begin ? end - octets.content_begin : 0;
    }
    current_ = no_node;
  }

  void end_header(std::uint64_t end) {
    in_header_ = false;
    Node& node = nodes_[current_];
    HeaderBlock header = parse_header_block(header_);
    node.octets.header_size = end - node.octets.header_begin;
    node.octets.content_begin = end;
    describe(node, header);
    described_bytes_ += header_.size();
    if (current_ == 0) {
      message_header_ = std::move(header);
    } else if (options_.part_headers && described_bytes_ <= part_headers_bytes_max) {
      node.headers = std::move(header);
    }
    std::string().swap(header_);
    decoded_size_ = 0;
    transfer_ = TransferDecoder(transfer_encoding(node.structure.encoding).encoding);
    if (node.structure.is_multipart()) open_multipart(node);
  }

  void open_multipart(Node& node) {
    std::string boundary;
    for (const auto& [name, value] : node.structure.parameters)
      if (name == "boundary") boundary = value;
    if (auto joined = decoded_parameter(node.structure.parameters, "boundary"); boundary.empty() && joined)
      boundary = std::move(*joined);
    while (boundary.ends_with(' ')) boundary.pop_back();
    // Nothing could be found in it: what it holds is shown as it is.
    if (boundary.empty() || boundary.size() > boundary_bytes_max || open_.size() + 1 >= mime_nesting_max)
      return;
    open_.push_back({current_, std::move(boundary)});
  }

  void describe(Node& node, const HeaderBlock& header) {
    imap::BodyStructure& structure = node.structure;
    const bool digest = node.parent != no_node && nodes_[node.parent].structure.subtype == "digest";
    ParameterizedValue type = parse_parameterized(first_value(header, "Content-Type"));
    set_type(structure, type.value.empty() ? (digest ? "message/rfc822" : "text/plain") : type.value);
    structure.parameters = std::move(type.parameters);
    ParameterizedValue disposition = parse_parameterized(first_value(header, "Content-Disposition"));
    if (!disposition.value.empty()) structure.disposition = std::move(disposition.value);
    structure.disposition_parameters = std::move(disposition.parameters);
    structure.encoding =
        ascii_lower(parse_parameterized(first_value(header, "Content-Transfer-Encoding")).value);
    structure.id = nstring(first_value(header, "Content-ID"));
    structure.location = nstring(first_value(header, "Content-Location"));
    structure.languages = languages(first_value(header, "Content-Language"));
  }

  // --- Content ---

  void add_content(std::string_view octets) {
    if (current_ != no_node && !octets.empty()) decode(octets, false);
  }

  // The content isn't kept: its size once decoded is.
  void decode(std::string_view octets, bool last) {
    while (!octets.empty()) {
      const std::string_view portion = octets.substr(0, content_portion_bytes);
      octets.remove_prefix(portion.size());
      decoded_.clear();
      transfer_.feed(portion, decoded_);
      decoded_size_ += decoded_.size();
    }
    if (!last) return;
    decoded_.clear();
    transfer_.finish(decoded_);
    decoded_size_ += decoded_.size();
  }

  // --- The tree ---

  ParsedMessage assemble();

  MessageParserOptions options_;
  std::uint64_t offset_ = 0;  // of the next octet that is taken
  std::string line_;          // its begin, not taken yet
  bool line_is_long_ = false;
  bool nul_ = false;

  std::vector<Node> nodes_;  // in the order of the message: depth first
  std::vector<OpenMultipart> open_;
  std::size_t current_ = no_node;  // no_node: in an epilogue, or beyond mime_parts_max
  bool in_header_ = false;
  std::string header_;
  std::size_t described_bytes_ = 0;  // of the headers so far
  HeaderBlock message_header_;
  std::string held_line_end_;  // perhaps a boundary's
  TransferDecoder transfer_;
  std::string decoded_;
  std::uint64_t decoded_size_ = 0;
};

ParsedMessage MessageParser::State::assemble() {
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    Node& node = nodes_[i];
    imap::BodyStructure& structure = node.structure;
    if (structure.is_multipart() && !node.has_parts) {
      set_type(structure, "text/plain");
      structure.parameters.clear();
    }
    structure.size = node.octets.content_size;
    // The last child was put there first.
    std::reverse(structure.parts.begin(), structure.parts.end());
    if (i > 0) nodes_[node.parent].structure.parts.push_back(std::move(structure));
  }
  ParsedMessage message;
  message.header = std::move(message_header_);
  message.root = make_body_parts(nodes_.front().structure);
  message.size = offset_;
  message.nul = nul_;
  std::size_t index = 0;
  const auto complete = [&](auto& self, EmailBodyPart& part) -> void {
    Node& node = nodes_[index++];
    if (!part.is_multipart()) {
      part.size = node.decoded_size;
      part.size_exact = true;
    }
    part.headers = std::move(node.headers);
    message.octets.emplace(part.header_section, node.octets);
    for (auto& sub_part : part.sub_parts) self(self, sub_part);
  };
  complete(complete, message.root);
  return message;
}

PartOctets ParsedMessage::octets_of(const EmailBodyPart& part) const {
  const auto found = octets.find(part.header_section);
  return found == octets.end() ? PartOctets{} : found->second;
}

MessageParser::MessageParser(MessageParserOptions options) : state_(std::make_unique<State>(options)) {}
MessageParser::~MessageParser() = default;
void MessageParser::feed(std::string_view piece) { state_->feed(piece); }
ParsedMessage MessageParser::finish() { return state_->finish(); }

ParsedMessage parse_message(std::string_view octets, MessageParserOptions options) {
  MessageParser parser(options);
  parser.feed(octets);
  return parser.finish();
}

EmailBodyValue body_value(const ParsedMessage& message, const EmailBodyPart& part, std::string_view octets,
                          std::uint64_t value_bytes_max) {
  const PartOctets place = message.octets_of(part);
  std::string_view content;
  if (place.content_begin <= octets.size())
    content = octets.substr(static_cast<std::size_t>(place.content_begin),
                            static_cast<std::size_t>(place.content_size));
  return decode_text(content, {part.encoding, part.charset.value_or(""), part.is_html(), value_bytes_max});
}

// RFC 5322, 3.6.7:  received = "Received:" *received-token ";" date-time. The most recent one stands first.
std::optional<std::int64_t> received_date_seconds(const HeaderBlock& header) {
  for (const auto& field : header.fields) {
    if (!iequals_ascii(field.name, "Received")) continue;
    const std::size_t semicolon = field.value.rfind(';');
    return semicolon == std::string::npos
               ? std::nullopt
               : as_date_seconds(std::string_view(field.value).substr(semicolon + 1));
  }
  return std::nullopt;
}

}  // namespace postern::mail
