// Finds the end of each response (RFC 3501, 2.2 and 4.3) without looking into it.
//
// A response that lies whole in the octets given is returned in place; only one that comes in pieces is
// copied, into a buffer that goes away when the next response begins.
#include <algorithm>
#include <cstring>
#include <limits>

#include "imap/ascii.hpp"
#include "postern/imap/parser.hpp"

namespace postern::imap {
namespace {

// How much of a line that is being skipped must be kept to see a literal's head at its end:
// "~{" 20 digits "+}" CR
constexpr std::size_t literal_head_bytes = 25;

std::string_view without_line_end(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The octets a line announces: "{" number ["+"] "}" at its end. A number too large to hold is the largest
// that can be held: over every limit.
std::optional<std::uint64_t> announced_literal(std::string_view line) {
  line = without_line_end(line);
  if (!line.ends_with('}')) return std::nullopt;
  line.remove_suffix(1);
  if (line.ends_with('+')) line.remove_suffix(1);
  std::size_t digits = 0;
  while (digits < line.size() && is_digit(line[line.size() - 1 - digits])) ++digits;
  if (digits == 0 || digits == line.size() || line[line.size() - 1 - digits] != '{') return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : line.substr(line.size() - digits)) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) {
      return std::numeric_limits<std::uint64_t>::max();
    }
    value = value * 10 + digit;
  }
  return value;
}

// Status responses and continuations end in free text (RFC 3501, 7.1), which may look like a literal's head.
bool is_free_text(std::string_view response) {
  if (response.starts_with('+')) return true;
  std::size_t word = response.starts_with('*') ? 1 : response.find(' ');
  if (word == std::string_view::npos) return false;
  while (word < response.size() && response[word] == ' ') ++word;
  const std::string_view rest = response.substr(word);
  const std::string_view status = rest.substr(0, rest.find_first_of(" [\r\n"));
  return is_word(status, "OK") || is_word(status, "NO") || is_word(status, "BAD") || is_word(status, "BYE") ||
         is_word(status, "PREAUTH");
}

}  // namespace

Fragmenter::Fragmenter(FragmenterLimits limits) : limits_(limits) {}

bool Fragmenter::idle() const { return state_ == State::line && (buffer_.empty() || delivered_); }

void Fragmenter::restart() {
  state_ = State::line;
  line_bytes_ = 0;
  last_line_ = 0;
  literals_ = 0;
  literal_left_ = 0;
}

Result<std::optional<std::string_view>> Fragmenter::too_large(std::string_view what, std::string_view held,
                                                              std::string_view fresh) {
  skipped_head_bytes_ = held.copy(skipped_head_.data(), skipped_head_.size());
  skipped_head_bytes_ +=
      fresh.copy(skipped_head_.data() + skipped_head_bytes_, skipped_head_.size() - skipped_head_bytes_);
  return fail(Errc::too_large, std::string(what));
}

Result<std::optional<std::string_view>> Fragmenter::next(std::string_view& data) {
  if (delivered_) {
    delivered_ = false;
    std::string().swap(buffer_);
  }
  if (state_ == State::skip_line || state_ == State::skip_literal) {
    if (!skip(data)) return std::nullopt;
  }

  // The response so far is buffer_ or, while that is empty, the first `taken` octets of `data`.
  std::size_t taken = 0;
  const auto response = [&] { return buffer_.empty() ? data.substr(0, taken) : std::string_view(buffer_); };
  const auto take = [&](std::size_t octets) {
    if (buffer_.empty()) {
      taken += octets;
    } else {
      buffer_.append(data.substr(0, octets));
      data.remove_prefix(octets);
    }
  };
  const auto skip_from = [&](State state, std::string_view tail) {
    std::string kept(tail.substr(tail.size() - std::min(tail.size(), literal_head_bytes)));
    data.remove_prefix(taken);
    buffer_.swap(kept);
    state_ = state;
  };

  for (;;) {
    const std::string_view fresh = data.substr(taken);
    const std::size_t held = response().size();
    if (state_ == State::literal) {
      const std::size_t piece =
          static_cast<std::size_t>(std::min<std::uint64_t>(literal_left_, fresh.size()));
      literal_left_ -= piece;
      take(piece);
      if (literal_left_ > 0) break;
      state_ = State::line;
      continue;
    }

    const auto* newline =
        static_cast<const char*>(fresh.empty() ? nullptr : std::memchr(fresh.data(), '\n', fresh.size()));
    const std::size_t piece = newline ? static_cast<std::size_t>(newline - fresh.data()) + 1 : fresh.size();
    line_bytes_ += piece;
    const bool line_too_long = line_bytes_ > limits_.line_bytes;
    if (line_too_long || piece > limits_.response_bytes - held) {
      auto error = too_large(line_too_long ? "line" : "response", response(), fresh);
      skip_from(State::skip_line, response().substr(last_line_));
      return error;
    }
    take(piece);
    if (!newline) break;

    const std::string_view whole = response();
    const auto literal = announced_literal(whole.substr(last_line_, whole.size() - last_line_));
    if (!literal || is_free_text(whole)) {
      restart();
      delivered_ = !buffer_.empty();
      if (!delivered_) data.remove_prefix(taken);
      return without_line_end(whole);
    }
    ++literals_;
    if (*literal > limits_.literal_bytes || *literal > limits_.response_bytes - whole.size() ||
        literals_ > literals_per_response_max) {
      auto error = too_large("literal", whole, {});
      skip_from(State::skip_literal, {});
      literal_left_ = *literal;
      return error;
    }
    literal_left_ = *literal;
    last_line_ = whole.size() + static_cast<std::size_t>(*literal);
    state_ = State::literal;
  }

  if (buffer_.empty()) {
    buffer_.assign(data);
    data = {};
  }
  return std::nullopt;
}

// Drops the rest of a response that was too large. True when it has ended.
bool Fragmenter::skip(std::string_view& data) {
  for (;;) {
    if (state_ == State::skip_literal) {
      const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(literal_left_, data.size()));
      literal_left_ -= piece;
      data.remove_prefix(piece);
      if (literal_left_ > 0) return false;
      state_ = State::skip_line;
      continue;
    }
    const std::size_t newline = data.find('\n');
    const std::size_t piece = newline == std::string_view::npos ? data.size() : newline + 1;
    buffer_.append(
        data.substr(piece - std::min(piece, literal_head_bytes), std::min(piece, literal_head_bytes)));
    if (buffer_.size() > literal_head_bytes) buffer_.erase(0, buffer_.size() - literal_head_bytes);
    data.remove_prefix(piece);
    if (newline == std::string_view::npos) return false;
    const auto literal = announced_literal(buffer_);
    std::string().swap(buffer_);
    if (!literal || is_free_text(skipped_head())) {
      restart();
      return true;
    }
    literal_left_ = *literal;
    state_ = State::skip_literal;
  }
}

}  // namespace postern::imap
