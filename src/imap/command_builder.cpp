// Writes commands: strict, whatever it is given (RFC 3501, section 9; RFC 7888; RFC 6855).
#include <algorithm>
#include <charconv>

#include "imap/ascii.hpp"
#include "imap/wiped_append.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/command.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

bool has_line_break_or_nul(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

// ASTRING-CHAR = ATOM-CHAR / resp-specials
bool is_astring_atom(std::string_view text) {
  return !text.empty() && !is_word(text, "NIL") &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_atom_char(c) || c == ']'; });
}

}  // namespace

void wipe(Command& command) noexcept {
  for (std::string& chunk : command.chunks) wipe_and_free(chunk);
}

CommandBuilder::CommandBuilder(std::string_view name, const CapabilitySet& capabilities)
    : capabilities_(capabilities) {
  command_.name = name;
  command_.chunks.emplace_back();
  raw(name);
}

CommandBuilder::~CommandBuilder() {
  if (command_.secret) wipe(command_);
}

void CommandBuilder::error(Errc code, std::string_view what) {
  if (!error_.code) error_ = Error(make_error_code(code), command_.name + ": " + std::string(what));
}

void CommandBuilder::append(std::string_view octets) {
  if (command_.secret) {
    wiped_append(command_.chunks.back(), octets);
  } else {
    command_.chunks.back() += octets;
  }
}

CommandBuilder& CommandBuilder::sp() { return raw(" "); }

CommandBuilder& CommandBuilder::raw(std::string_view text) {
  if (has_line_break_or_nul(text)) {
    error(Errc::unencodable, "line break or NUL in the command's own words");
    return *this;
  }
  line_bytes_ += text.size();
  append(text);
  return *this;
}

CommandBuilder& CommandBuilder::number(std::uint64_t n) {
  char text[20];
  const auto [end, ec] = std::to_chars(text, text + sizeof text, n);
  return raw(std::string_view(text, static_cast<std::size_t>(end - text)));
}

CommandBuilder& CommandBuilder::set(const UidSet& set) {
  if (set.empty()) error(Errc::unencodable, "empty set");
  return raw(set.to_string());
}

bool CommandBuilder::may_quote(std::string_view text) const {
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c < 0 || (c >= ' ' && c != 0x7f); });
  if (!printable) return false;
  const bool seven_bit = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0; });
  return seven_bit || (capabilities_.utf8_enabled() && is_valid_utf8(text));
}

// quoted = DQUOTE *QUOTED-CHAR DQUOTE ; QUOTED-CHAR = any TEXT-CHAR except quoted-specials / "\" quoted-specials
void CommandBuilder::append_quoted(std::string_view text) {
  std::string out;
  out.reserve(2 * text.size() + 2);
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
  line_bytes_ += out.size();
  append(out);
  if (command_.secret) wipe_and_free(out);
}

// literal = "{" number ["+"] "}" CRLF *CHAR8 ; CHAR8 = any OCTET except NUL
// The next chunk begins with the octets where the server has to agree to them first.
void CommandBuilder::append_literal(std::string_view octets) {
  if (octets.find('\0') != std::string_view::npos) {
    error(Errc::unencodable, "NUL");
    return;
  }
  const bool at_once =
      capabilities_.has(Capability::literal_plus) ||
      (capabilities_.has(Capability::literal_minus) && octets.size() <= literal_minus_bytes_max);
  const std::string head = "{" + std::to_string(octets.size()) + (at_once ? "+}" : "}");
  line_bytes_ += head.size();
  append(head);
  append("\r\n");
  if (!at_once) command_.chunks.emplace_back();
  append(octets);
}

CommandBuilder& CommandBuilder::astring(std::string_view text) {
  if (is_astring_atom(text)) return raw(text);
  return string(text);
}

CommandBuilder& CommandBuilder::string(std::string_view text) {
  if (may_quote(text)) {
    append_quoted(text);
  } else {
    append_literal(text);
  }
  return *this;
}

CommandBuilder& CommandBuilder::literal(std::string_view octets) {
  append_literal(octets);
  return *this;
}

CommandBuilder& CommandBuilder::streamed_literal(std::uint64_t octets) {
  if (octets == 0 || command_.streamed_octets != 0) {
    error(Errc::unencodable, "a streamed literal of nothing, or a second one");
    return *this;
  }
  const std::uint64_t at_once_max = capabilities_.has(Capability::literal_plus) ? streamed_at_once_bytes_max
                                    : capabilities_.has(Capability::literal_minus)
                                        ? std::uint64_t{literal_minus_bytes_max}
                                        : 0;
  command_.streamed_octets = octets;
  command_.streamed_waits = octets > at_once_max;
  const std::string head = "{" + std::to_string(octets) + (command_.streamed_waits ? "}" : "+}");
  line_bytes_ += head.size();
  append(head);
  append("\r\n");
  return *this;
}

CommandBuilder& CommandBuilder::mailbox(std::string_view utf8_name) {
  if (utf8_name.find('\0') != std::string_view::npos) {
    error(Errc::unencodable, "NUL in a mailbox name");
    return *this;
  }
  if (capabilities_.utf8_enabled()) return astring(utf8_name);
  return astring(encode_mailbox_utf7(utf8_name));
}

CommandBuilder& CommandBuilder::encoded_mailbox(std::string_view name) { return astring(name); }

// flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
// flag-extension = "\" atom ; flag-keyword = atom
CommandBuilder& CommandBuilder::flag(std::string_view flag) {
  const std::string_view atom = flag.starts_with('\\') ? flag.substr(1) : flag;
  if (atom.empty() || !std::all_of(atom.begin(), atom.end(), is_atom_char)) {
    error(Errc::unencodable, "flag that is no atom");
    return *this;
  }
  return raw(flag);
}

CommandBuilder& CommandBuilder::expect(Expect e) {
  command_.expect = command_.expect | e;
  return *this;
}

CommandBuilder& CommandBuilder::write() {
  command_.repeatable = false;
  return *this;
}

CommandBuilder& CommandBuilder::exclusive() {
  command_.exclusive = true;
  return *this;
}

CommandBuilder& CommandBuilder::secret() {
  command_.secret = true;
  append({});
  return *this;
}

Result<Command> CommandBuilder::finish() {
  if (line_bytes_ > command_line_bytes_max) error(Errc::too_large, "command line");
  if (error_.code) return fail(error_);
  return std::move(command_);
}

}  // namespace postern::imap
