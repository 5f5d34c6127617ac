// SEARCH, SORT, ESEARCH, VANISHED and the sets in response codes.
#include <algorithm>

#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {

bool expand_set(std::string_view text, std::vector<std::uint32_t>& out, bool& too_large) {
  Cursor in(text);
  for (;;) {
    std::uint32_t first = 0, last = 0;
    if (!in.number(first) || first == 0) return false;
    last = first;
    if (in.accept(':')) {
      if (!in.number(last) || last == 0) return false;
      if (last < first) std::swap(first, last);
    }
    if (std::uint64_t{last} - first + 1 > numbers_max - out.size()) {
      too_large = true;
      return false;
    }
    for (std::uint64_t n = first; n <= last; ++n) out.push_back(static_cast<std::uint32_t>(n));
    if (in.at_end()) return true;
    if (!in.accept(',')) return false;
  }
}

// "SEARCH" *(SP nz-number) [SP "(" "MODSEQ" SP mod-sequence-value ")"]; SORT likewise (RFC 5256, RFC 7162)
// Seen with spaces at the end, and with nothing at all.
bool parse_numbers(Cursor& in, std::vector<std::uint32_t>& numbers, std::optional<std::uint64_t>& modseq) {
  numbers.reserve(std::min(in.rest().size() / 8 + 1, numbers_max));
  for (;;) {
    in.spaces();
    std::uint32_t n = 0;
    if (in.number(n)) {
      if (n == 0) continue;
      if (numbers.size() >= numbers_max) return in.too_large("numbers");
      numbers.push_back(n);
    } else if (in.at_end()) {
      return true;
    } else if (in.accept('(')) {
      in.spaces();
      if (is_word(in.word(), "MODSEQ")) {
        in.spaces();
        if (!in.lenient_number(modseq)) return false;
      }
      while (!in.at_end() && !in.accept(')')) in.advance();
    } else {
      return in.fail("number expected");
    }
  }
}

namespace {

bool parse_set(Cursor& in, std::vector<std::uint32_t>& out) {
  const std::string_view text = in.word();
  if (text.empty() || is_word(text, "NIL")) return true;
  bool too_large = false;
  if (expand_set(text, out, too_large)) return true;
  return too_large ? in.too_large("numbers") : in.fail("sequence-set expected");
}

// search-correlator = SP "(" "TAG" SP tag-string ")"
bool parse_correlator(Cursor& in, std::string& tag) {
  in.spaces();
  if (!in.accept('(')) return true;
  in.spaces();
  std::string name;
  while (in.spaces(), !in.accept(')')) {
    if (!in.astring(name)) return false;
    in.spaces();
    if (is_word(name, "TAG")) {
      if (!in.astring(tag)) return false;
    } else if (!in.skip_value()) {
      return false;
    }
  }
  return true;
}

// "PARTIAL" SP "(" partial-range SP (sequence-set / nil) ")" (RFC 9394, RFC 5267)
bool parse_partial(Cursor& in, EsearchResponse& out) {
  if (!in.accept('(')) return in.fail("partial result expected");
  in.spaces();
  in.word();
  in.spaces();
  std::vector<std::uint32_t> numbers;
  if (!parse_set(in, numbers)) return false;
  in.spaces();
  out.partial = std::move(numbers);
  return in.accept(')') || in.fail("partial result without an end");
}

bool parse_all(Cursor& in, EsearchResponse& out) {
  std::vector<std::uint32_t> numbers;
  if (!parse_set(in, numbers)) return false;
  out.all = UidSet::of(numbers);
  out.all_ordered = std::move(numbers);
  return true;
}

}  // namespace

// esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)
// IMAP4rev2 servers have been seen to leave UID out of the answer to a UID SEARCH: trust the command.
bool parse_esearch(Cursor& in, EsearchResponse& out) {
  if (!parse_correlator(in, out.tag)) return false;
  for (;;) {
    in.spaces();
    if (in.at_end()) return true;
    const std::string_view name = in.word();
    in.spaces();
    bool ok = true;
    if (is_word(name, "UID")) {
      out.uid = true;
    } else if (is_word(name, "MIN")) {
      ok = in.lenient_number(out.min);
    } else if (is_word(name, "MAX")) {
      ok = in.lenient_number(out.max);
    } else if (is_word(name, "COUNT")) {
      ok = in.lenient_number(out.count);
    } else if (is_word(name, "MODSEQ")) {
      const bool open = in.accept('(');
      ok = in.lenient_number(out.modseq) && (!open || in.accept(')'));
    } else if (is_word(name, "ALL")) {
      ok = parse_all(in, out);
    } else if (is_word(name, "PARTIAL")) {
      ok = parse_partial(in, out);
    } else {
      ok = !name.empty() && (in.at_end() || in.skip_value());
    }
    if (!ok) return in.fail("search result");
  }
}

// expunged-resp = "VANISHED" [SP "(EARLIER)"] SP known-uids (RFC 7162, section 7)
bool parse_vanished(Cursor& in, VanishedResponse& out) {
  in.spaces();
  if (in.accept('(')) {
    in.spaces();
    out.earlier = is_word(in.word(), "EARLIER");
    while (in.spaces(), !in.accept(')')) {
      if (in.word().empty()) return in.fail("EARLIER expected");
    }
    in.spaces();
  }
  const std::string_view text = in.word();
  if (text.empty()) return true;
  auto set = UidSet::parse(text);
  if (!set) return set.error().code == Errc::too_large ? in.too_large("set") : in.fail("set expected");
  out.uids = std::move(*set);
  return true;
}

}  // namespace postern::imap
