// RFC 3501, section 9:
// envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP
//            env-bcc SP env-in-reply-to SP env-message-id ")"
// env-from = "(" 1*address ")" / nil                  ; so are the other five
// address  = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
// Seen too: NIL for the whole, missing last fields, "" or () for no addresses, one address without the list
// around it, NIL among addresses, atoms for strings, and quotes inside quoted strings that aren't escaped.
#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

bool close_list(Cursor& in) {
  for (;;) {
    in.spaces();
    if (in.accept(')')) return true;
    if (!in.skip_value()) return false;
  }
}

bool parse_address(Cursor& in, std::vector<Address>& out, std::size_t& count) {
  if (++count > addresses_max) return in.too_large("addresses");
  Address& address = out.emplace_back();
  NString route;
  return in.field(address.name) && in.field(route) && in.field(address.mailbox) && in.field(address.host) &&
         close_list(in);
}

// Behind "(": whether strings come without a "(" of their own, perhaps with NILs before them.
bool at_bare_address(Cursor in) {
  while (in.spaces(), in.accept_nil()) {
  }
  return in.peek() != '(' && in.peek() != ')' && !in.at_end();
}

bool parse_addresses(Cursor& in, std::vector<Address>& out, std::size_t& count) {
  in.spaces();
  if (in.at_end() || in.peek() == ')') return true;
  NString none;
  if (in.peek() != '(') return in.nstring(none);
  in.advance();
  for (;;) {
    in.spaces();
    if (in.accept(')')) return true;
    if (in.accept('(')) {
      if (!parse_address(in, out, count)) return false;
    } else if (at_bare_address(in)) {
      return parse_address(in, out, count);
    } else if (!in.accept_nil()) {
      return in.fail("address expected");
    }
  }
}

bool parse_fields(Cursor& in, Envelope& out) {
  std::size_t addresses = 0;
  if (!in.field(out.date) || !in.field(out.subject)) return false;
  for (auto* list : {&out.from, &out.sender, &out.reply_to, &out.to, &out.cc, &out.bcc}) {
    if (!parse_addresses(in, *list, addresses)) return false;
  }
  return in.field(out.in_reply_to) && in.field(out.message_id) && close_list(in);
}

}  // namespace

bool parse_envelope(Cursor& in, std::unique_ptr<Envelope>& out) {
  in.spaces();
  if (in.accept_nil()) return true;
  const std::size_t start = in.offset();
  // First as if quotes inside strings might not be escaped, then as if atoms might follow strings.
  for (const bool structured : {true, false}) {
    in.seek(start);
    in.clear_error();
    if (!in.accept('(')) return in.fail("envelope expected");
    auto envelope = std::make_unique<Envelope>();
    in.set_structured(structured);
    const bool ok = parse_fields(in, *envelope);
    in.set_structured(false);
    if (ok) {
      out = std::move(envelope);
      return true;
    }
    if (in.is_too_large()) return false;
  }
  return false;
}

}  // namespace postern::imap
