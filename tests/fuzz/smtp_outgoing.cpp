// What goes to an SMTP server: a message is the same however it is cut, has no Bcc in its header and no line end but
// CRLF, and can't end before its end; an address or parameter can't leave its place in a command.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/smtp/address.hpp"
#include "postern/smtp/content.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::smtp;

namespace {

std::string outgoing(std::string_view text, std::size_t cut) {
  OutgoingMessage message;
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += cut) message.feed(text.substr(at, cut), out);
  message.finish(out);
  require(message.size() == out.size());
  return out;
}

// A line that is Bcc, whatever white space stands behind the name, or that a colon in the next line would make so.
bool has_blind_field(std::string_view header) {
  while (!header.empty()) {
    const auto line = header.substr(0, std::min(header.find("\r\n"), header.size()));
    const auto name = trim_ascii(line.substr(0, std::min(line.find(':'), line.size())));
    const bool continues = line.starts_with(' ') || line.starts_with('\t');
    if (!continues && (iequals_ascii(name, "bcc") || iequals_ascii(name, "resent-bcc"))) return true;
    header.remove_prefix(std::min(line.size() + 2, header.size()));
  }
  return false;
}

void check_message(std::string_view text) {
  const auto out = outgoing(text, 1);
  require(out == outgoing(text, text.size() + 1));
  require(out == outgoing(out, 3));  // there is nothing left to take out
  require(out.empty() || out.ends_with("\r\n"));
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\r') require(i + 1 < out.size() && out[i + 1] == '\n');
    if (out[i] == '\n') require(i > 0 && out[i - 1] == '\r');
  }
  // A message may begin with the empty line.
  const auto all = "\r\n" + out;
  require(!has_blind_field(std::string_view(all).substr(0, all.find("\r\n\r\n"))));
  std::string stuffed;
  DotStuffing dots;
  dots.feed(out, stuffed);
  require(("\r\n" + stuffed).find("\r\n.\r\n") == std::string::npos);
}

void require_harmless(std::string_view text) {
  for (const char c : text) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
}

void check_envelope(std::string_view text) {
  if (is_mailbox(text)) {
    require_harmless(text);
    require(text.size() <= mailbox_bytes_max && is_valid_utf8(text));
    // Behind a quoted local part, whose quote is the first that isn't escaped, and in all of any other.
    std::size_t plain = 0;
    if (text.starts_with('"'))
      for (plain = 1; text[plain] != '"'; ++plain)
        if (text[plain] == '\\') ++plain;
    require(text.find_first_of(" <>", plain) == std::string_view::npos);
    require(plain == 0 || text.substr(plain + 1).starts_with('@'));
  }
  for (const auto command : {ParameterOf::mail, ParameterOf::rcpt})
    for (const auto* name : {"RET", "ENVID", "NOTIFY", "ORCPT", "MT-PRIORITY", "BY", "REQUIRETLS"})
      if (const auto encoded = encode_parameter(command, name, text)) {
        require_harmless(*encoded);
        require(encoded->starts_with(' ') && encoded->find(' ', 1) == std::string::npos &&
                is_ascii(*encoded));
      }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  check_message(text);
  check_envelope(text);
  return 0;
}
