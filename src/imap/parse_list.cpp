// LIST, LSUB, XLIST, STATUS and NAMESPACE.
#include <algorithm>

#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

// mbx-list-oflag: lower case. A bare "\" is none.
bool parse_attributes(Cursor& in, std::vector<std::string>& out) {
  in.spaces();
  if (in.accept_nil()) return true;
  if (!in.accept('(')) return in.fail("attributes expected");
  for (;;) {
    in.spaces();
    if (in.accept(')')) return true;
    if (in.at_end()) return in.fail("attributes without an end");
    if (out.size() >= flags_max) return in.too_large("attributes");
    std::string attribute;
    if (!in.astring(attribute)) return false;
    if (attribute != "\\") out.push_back(to_lower(attribute));
  }
}

// DQUOTE QUOTED-CHAR DQUOTE / nil ; seen without quotes, empty, and as "\" with nothing escaped
bool parse_separator(Cursor& in, std::optional<char>& out) {
  in.spaces();
  if (in.accept_nil()) return true;
  const std::string_view rest = in.rest();
  if (rest.starts_with("\"\\\"") && (rest.size() == 3 || rest[3] == ' ' || rest[3] == ')')) {
    in.seek(in.offset() + 3);
    out = '\\';
    return true;
  }
  std::string text;
  if (!in.astring(text)) return false;
  if (!text.empty()) out = text.front();
  return true;
}

void capitalise_inbox(std::string& mailbox) {
  if (is_word(mailbox, "INBOX")) mailbox = "INBOX";
}

// Where the list at the end of a line begins, with the SP before it: back from its last ")".
std::size_t last_list(std::string_view text) {
  std::size_t depth = 0;
  for (std::size_t i = text.find_last_not_of(' '); i != std::string_view::npos && i > 0; --i) {
    if (text[i] == ')') ++depth;
    if (depth == 0) break;  // no list at the end
    if (text[i] == '(' && --depth == 0 && text[i - 1] == ' ') return i - 1;
  }
  return text.find(" (");
}

// A mailbox that isn't in quotes may have been sent with spaces and whatever else; it goes up to what
// follows, the first (or, for STATUS, the last) " (" or else the end.
bool parse_bare_mailbox(Cursor& in, std::string& out, bool last) {
  const std::string_view rest = in.rest();
  const std::size_t end = last ? last_list(rest) : rest.find(" (");
  std::string_view name = rest.substr(0, end);
  in.seek(in.offset() + name.size());
  while (name.ends_with(' ')) name.remove_suffix(1);
  if (name.empty()) return in.fail("mailbox expected");
  out = name;
  return true;
}

bool only_a_list_follows(Cursor in) {
  in.spaces();
  return in.at_end() || in.peek() == '(';
}

// mailbox = "INBOX" / astring, and behind it nothing or a list
bool parse_mailbox(Cursor& in, std::string& out, bool last) {
  in.spaces();
  const std::size_t start = in.offset();
  const bool bare = in.peek() != '"' && !in.at_literal();
  bool ok = bare ? parse_bare_mailbox(in, out, last) : in.astring(out);
  if (ok && !bare && !only_a_list_follows(in)) ok = false;
  if (!ok && !bare) {
    // Quotes inside the name that weren't escaped: up to a quote that a list follows, or the last one.
    in.clear_error();
    in.seek(start);
    const std::string_view rest = in.rest();
    const std::size_t list = rest.find("\" (", 1);
    const std::size_t end = list != std::string_view::npos ? list : rest.rfind('"');
    if (rest.front() != '"' || end == std::string_view::npos || end == 0) return in.fail("mailbox expected");
    out = rest.substr(1, end - 1);
    in.seek(start + end + 1);
    ok = true;
  }
  if (!ok) return false;
  capitalise_inbox(out);
  return true;
}

// RFC 5258, mbox-list-extended = "(" [mbox-list-extended-item *(SP mbox-list-extended-item)] ")"
// What can't be read of it is no reason to lose the mailbox.
void parse_list_extended(Cursor& in, ListResponse& out) {
  in.spaces();
  if (!in.accept('(')) return;
  std::string name;
  for (;;) {
    in.spaces();
    if (in.at_end() || in.peek() == ')' || !in.astring(name)) return;
    std::vector<std::string> values;
    in.spaces();
    const bool known = is_word(name, "CHILDINFO") || is_word(name, "OLDNAME");
    if (!(known ? in.string_list(values, flags_max) : in.skip_value())) return;
    if (is_word(name, "CHILDINFO")) {
      out.child_info = std::move(values);
    } else if (known && !values.empty()) {
      out.old_name = std::move(values.front());
    }
  }
}

}  // namespace

// mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP mbox-list-extended]
bool parse_list(Cursor& in, ListResponse& out) {
  if (!parse_attributes(in, out.attributes) || !parse_separator(in, out.separator)) return false;
  if (!parse_mailbox(in, out.mailbox, false)) return false;
  parse_list_extended(in, out);
  return true;
}

namespace {

// objectid = 1*255(ALPHA / DIGIT / "_" / "-")                                  (RFC 8474, 7)
// What is none would be another one next time.
bool is_object_id(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

}  // namespace

// "STATUS" SP mailbox SP "(" [status-att-list] ")"
// A value that is negative or too large is as if the server hadn't said it.
bool parse_status_data(Cursor& in, StatusDataResponse& out) {
  if (!parse_mailbox(in, out.mailbox, true)) return false;
  in.spaces();
  if (!in.accept('(')) return in.fail("items expected");
  for (;;) {
    in.spaces();
    if (in.at_end() || in.accept(')')) return true;
    const std::string_view name = in.word();
    in.spaces();
    bool ok = true;
    if (is_word(name, "MESSAGES")) {
      ok = in.lenient_number(out.messages);
    } else if (is_word(name, "RECENT")) {
      ok = in.lenient_number(out.recent);
    } else if (is_word(name, "UIDNEXT")) {
      ok = in.lenient_number(out.uid_next);
    } else if (is_word(name, "UIDVALIDITY")) {
      ok = in.lenient_number(out.uid_validity);
    } else if (is_word(name, "UNSEEN")) {
      ok = in.lenient_number(out.unseen);
    } else if (is_word(name, "DELETED")) {
      ok = in.lenient_number(out.deleted);
    } else if (is_word(name, "HIGHESTMODSEQ")) {
      ok = in.lenient_number(out.highest_modseq);
    } else if (is_word(name, "SIZE")) {
      ok = in.lenient_number(out.size);
    } else if (is_word(name, "APPENDLIMIT")) {
      ok = in.lenient_number(out.append_limit);
    } else if (is_word(name, "MAILBOXID")) {  // "(" objectid ")"
      std::vector<std::string> id;
      ok = in.string_list(id, 1);
      if (ok && !id.empty() && is_object_id(id.front())) out.mailbox_id = std::move(id.front());
    } else {
      ok = !name.empty() && in.skip_value();
    }
    if (!ok) return false;
  }
}

namespace {

// namespace = nil / "(" 1*namespace-descr ")"
// namespace-descr = "(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) [namespace-response-extensions] ")"
bool parse_namespaces(Cursor& in, std::vector<NamespaceResponse::Entry>& out) {
  in.spaces();
  if (in.at_end() || in.accept_nil()) return true;
  if (!in.accept('(')) return in.fail("namespace expected");
  for (;;) {
    in.spaces();
    if (in.accept(')')) return true;
    if (!in.accept('(')) return in.fail("namespace expected");
    if (out.size() >= flags_max) return in.too_large("namespaces");
    NamespaceResponse::Entry& entry = out.emplace_back();
    NString prefix;
    if (!in.field(prefix)) return false;
    entry.prefix = std::move(prefix).value_or(std::string());
    in.spaces();
    if (in.peek() != ')' && !parse_separator(in, entry.separator)) return false;
    while (in.spaces(), !in.accept(')')) {
      if (!in.skip_value()) return false;
    }
  }
}

}  // namespace

// namespace-response = "NAMESPACE" SP namespace SP namespace SP namespace
bool parse_namespace(Cursor& in, NamespaceResponse& out) {
  return parse_namespaces(in, out.personal) && parse_namespaces(in, out.other_users) &&
         parse_namespaces(in, out.shared);
}

}  // namespace postern::imap
