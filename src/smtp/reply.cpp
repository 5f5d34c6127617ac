// RFC 5321, 4.2: Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
#include "postern/smtp/reply.hpp"

#include <algorithm>
#include <charconv>

#include "postern/base/encoding.hpp"

namespace postern::smtp {
namespace {

bool is_reply_digit(char c) { return c >= '0' && c <= '9'; }

// "x.y.z" with at most three digits behind each dot (RFC 3463, 2), followed by a space or nothing.
std::string_view enhanced_code(std::string_view text) {
  const auto code = text.substr(0, std::min(text.find(' '), text.size()));
  if (code.size() < 5 || (code[0] != '2' && code[0] != '4' && code[0] != '5') || code[1] != '.') return {};
  int dots = 0, digits = 0;
  for (const char c : code) {
    if (c == '.') {
      if (digits == 0) return {};
      ++dots;
      digits = 0;
    } else if (!is_reply_digit(c) || ++digits > 3) {
      return {};
    }
  }
  return dots == 2 && digits > 0 ? code : std::string_view{};
}

std::string without_controls(std::string_view text) {
  auto clean = sanitize_utf8(text);
  std::replace_if(
      clean.begin(), clean.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; },
      ' ');
  return clean;
}

}  // namespace

std::string_view Reply::enhanced() const {
  return lines.empty() ? std::string_view{} : enhanced_code(lines.front());
}

// "550-5.7.1 Our ...\r\n550 5.7.1 likely spam." is "550 5.7.1 Our ... likely spam."
std::string Reply::to_string() const {
  std::string out = std::to_string(code);
  const auto common = enhanced();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string_view line = lines[i];
    if (i > 0 && !common.empty() && enhanced_code(line) == common)
      line = trim_ascii(line.substr(common.size()));
    if (line.empty()) continue;
    out += ' ';
    out += line;
    if (out.size() > reply_text_bytes_max) return sanitize_utf8(out.substr(0, reply_text_bytes_max)) + "...";
  }
  return out;
}

Result<> ReplyParser::line(std::string_view text) {
  const bool coded = text.size() >= 3 && std::all_of(text.begin(), text.begin() + 3, is_reply_digit) &&
                     text[0] >= '2' && text[0] <= '5' &&
                     (text.size() == 3 || text[3] == ' ' || text[3] == '-');
  if (!coded) return fail(Errc::protocol, "no SMTP reply: " + without_controls(text.substr(0, 80)));
  int code = 0;
  std::from_chars(text.data(), text.data() + 3, code);
  if (reply_.code != 0 && reply_.code != code)
    return fail(Errc::protocol, "the lines of a reply differ in code");
  if (reply_.lines.size() >= reply_lines_max) return fail(Errc::protocol, "a reply of too many lines");
  reply_.code = code;
  reply_.lines.push_back(text.size() > 4 ? without_controls(text.substr(4)) : std::string{});
  complete_ = text.size() == 3 || text[3] == ' ';
  return {};
}

Result<std::size_t> ReplyParser::feed(std::string_view octets) {
  std::size_t taken = 0;
  while (!complete_ && taken < octets.size()) {
    const auto rest = octets.substr(taken);
    const auto end = rest.find('\n');
    const auto part = rest.substr(0, end == std::string_view::npos ? rest.size() : end + 1);
    if (line_.size() + part.size() > reply_line_bytes_max)
      return fail(Errc::protocol, "a reply line too long");
    line_ += part;
    taken += part.size();
    if (end == std::string_view::npos) break;
    line_.pop_back();
    if (line_.ends_with('\r')) line_.pop_back();
    auto done = line(line_);
    line_.clear();
    if (!done) return fail(done.error());
  }
  return taken;
}

std::optional<Reply> ReplyParser::take() {
  if (!complete_) return std::nullopt;
  complete_ = false;
  return std::exchange(reply_, Reply{});
}

Extensions::Extensions(const Reply& ehlo) {
  // The first line is the server's name.
  for (std::size_t i = 1; i < ehlo.lines.size(); ++i) {
    const std::string_view line = ehlo.lines[i];
    const auto space = std::min(line.find_first_of(" ="), line.size());
    auto& arguments = all_[ascii_upper(line.substr(0, space))];
    if (space < line.size()) arguments += " " + ascii_upper(line.substr(space + 1));
  }
}

std::optional<std::uint64_t> Extensions::size_max() const {
  const auto found = all_.find("SIZE");
  if (found == all_.end()) return std::nullopt;
  const auto text = trim_ascii(found->second);
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (error != std::errc{} || size == 0) return std::nullopt;
  return size;
}

std::vector<std::string> Extensions::mechanisms() const {
  std::vector<std::string> all;
  const auto found = all_.find("AUTH");
  if (found == all_.end()) return all;
  std::string_view list = found->second;
  while (!list.empty()) {
    const auto end = std::min(list.find(' '), list.size());
    if (end > 0) all.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return all;
}

const std::error_category& smtp_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "smtp"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::unavailable: return "the outgoing mail server can't be reached";
        case Errc::not_secure: return "the outgoing mail server can't be reached securely";
        case Errc::no_mechanism: return "the outgoing mail server offers no way to sign in";
        case Errc::protocol: return "the outgoing mail server doesn't speak SMTP";
      }
      return "unknown SMTP error";
    }
  } category;
  return category;
}

}  // namespace postern::smtp
