// Commands and capabilities of ManageSieve (RFC 5804, 1.6, 1.7 and 4). Nothing reaches a line unescaped.
#include <algorithm>

#include "postern/base/encoding.hpp"
#include "postern/sieve/protocol.hpp"

namespace postern::sieve {
namespace {

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const auto begin = text.find_first_not_of(' ', at);
    if (begin == std::string_view::npos) break;
    const auto end = std::min(text.find(' ', begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    at = end;
  }
  return words;
}

}  // namespace

// quoted = <"> *QUOTED-CHAR <">, of UTF-8 without NUL, CR and LF; everything else is a literal.
std::string wire_string(std::string_view value) {
  const bool plain = value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
  if (plain && value.size() <= quoted_octets_max && is_valid_utf8(value)) {
    std::string out = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    if (out.size() - 1 <= quoted_octets_max) return out += '"';
  }
  std::string out = "{" + std::to_string(value.size()) + "+}\r\n";
  return out.append(value);
}

// RFC 5804, 1.6: Net-Unicode without U+0000-U+001F, U+007F-U+009F, U+2028 and U+2029.
bool is_script_name(std::string_view name) {
  if (name.empty() || !is_valid_utf8(name)) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (c < 0x20 || c == 0x7f) return false;
    if (c == 0xc2 && static_cast<unsigned char>(name[i + 1]) < 0xa0) return false;
    const auto rest = name.substr(i, 3);
    if (rest == "\xe2\x80\xa8" || rest == "\xe2\x80\xa9") return false;
  }
  return true;
}

CommandBuilder& CommandBuilder::string(std::string_view value) {
  if (value.find('\0') != std::string_view::npos) wrong_ = "a NUL";
  text_ += ' ';
  text_ += wire_string(value);
  return *this;
}

CommandBuilder& CommandBuilder::script_name(std::string_view name) {
  if (!name.empty() && !is_script_name(name)) wrong_ = "a script name";
  return string(name);
}

Result<std::string> CommandBuilder::finish() {
  if (!wrong_.empty()) return fail(Errc::bad_argument, wrong_);
  return text_ + "\r\n";
}

bool Capabilities::has(std::string_view extension) const {
  return std::find(sieve.begin(), sieve.end(), extension) != sieve.end();
}

void Capabilities::add(const Line& line) {
  if (line.empty() || !line[0].is_string) return;
  const auto& name = line[0].text;
  const std::string value = line.size() > 1 && line[1].is_string ? line[1].text : std::string();
  if (iequals_ascii(name, "IMPLEMENTATION")) implementation = value;
  if (iequals_ascii(name, "SASL")) sasl = words_of(value);
  if (iequals_ascii(name, "SIEVE")) sieve = words_of(ascii_lower(value));
  if (iequals_ascii(name, "STARTTLS")) starttls = true;
}

}  // namespace postern::sieve
