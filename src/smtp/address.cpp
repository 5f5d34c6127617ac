// The grammar of RFC 5321, 4.1.2, and the parameters of the extensions that a client may use: RFC 3461 (DSN), RFC 6710
// (MT-PRIORITY), RFC 8689 (REQUIRETLS), RFC 2852 (DELIVERBY).
#include "postern/smtp/address.hpp"

#include <algorithm>
#include <array>

#include "postern/base/encoding.hpp"

namespace postern::smtp {
namespace {

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_eight_bit(char c) { return static_cast<unsigned char>(c) >= 0x80; }

// RFC 5322, 3.2.3; UTF8-non-ascii by RFC 6531, 3.3
bool is_atext(char c) {
  return is_alnum(c) || is_eight_bit(c) ||
         std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// Dot-string = Atom *("." Atom)
bool is_dot_string(std::string_view text) {
  bool atom = false;
  for (const char c : text) {
    if (c == '.') {
      if (!atom) return false;
      atom = false;
    } else if (is_atext(c)) {
      atom = true;
    } else {
      return false;
    }
  }
  return atom;
}

// Quoted-string = DQUOTE *QcontentSMTP DQUOTE
// qtextSMTP = %d32-33 / %d35-91 / %d93-126, quoted-pairSMTP = %d92 %d32-126
bool is_quoted_string(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return false;
  text = text.substr(1, text.size() - 2);
  bool escaped = false;  // what comes now is the second octet of a quoted-pairSMTP
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
    if (c == '"' && !escaped) return false;
    escaped = c == '\\' && !escaped;
  }
  return !escaped;
}

// sub-domain = Let-dig [Ldh-str], underscores as they are met
bool is_domain_name(std::string_view text) {
  std::size_t label = 0;
  char before = '.';
  for (const char c : text) {
    if (c == '.') {
      if (label == 0 || before == '-') return false;
      label = 0;
    } else if (is_alnum(c) || is_eight_bit(c) || c == '_' || (c == '-' && label > 0)) {
      if (++label > 63 * 4) return false;  // a label of 63 characters
    } else {
      return false;
    }
    before = c;
  }
  return label > 0 && before != '-';
}

// address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
bool is_address_literal(std::string_view text) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
  text = text.substr(1, text.size() - 2);
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alnum(c) || c == '.' || c == ':' || c == '-'; });
}

// Where the "@" before the domain is: the last one, since a domain has none.
std::size_t at_of(std::string_view address) { return address.rfind('@'); }

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> all) {
  return std::any_of(all.begin(), all.end(), [&](std::string_view one) { return iequals_ascii(one, text); });
}

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

// notify-esmtp-value = "NEVER" / 1#notify-list-element; RFC 3461, 4.1
bool is_notify(std::string_view text) {
  if (iequals_ascii(text, "NEVER")) return true;
  for (std::size_t begin = 0;;) {
    const auto end = std::min(text.find(',', begin), text.size());
    if (!is_one_of(text.substr(begin, end - begin), {"SUCCESS", "FAILURE", "DELAY"})) return false;
    if (end == text.size()) return true;
    begin = end + 1;
  }
}

// ["-"] 1*9DIGIT and what may follow it
bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.size() <= 9 && std::all_of(text.begin(), text.end(), is_digit);
}

// by-value = by-time ";" by-mode [by-trace]; RFC 2852, 4
bool is_by(std::string_view text) {
  const auto semicolon = text.find(';');
  return semicolon != std::string_view::npos && is_number(text.substr(0, semicolon)) &&
         is_one_of(text.substr(semicolon + 1), {"N", "R", "NT", "RT"});
}

// original-recipient-address = addr-type ";" xtext; RFC 3461, 4.2
std::optional<std::string> original_recipient(std::string_view text) {
  const auto semicolon = text.find(';');
  const auto type = text.substr(0, semicolon);
  if (semicolon == std::string_view::npos || type.empty() || semicolon + 1 == text.size() ||
      !std::all_of(type.begin(), type.end(), [](char c) { return is_alnum(c) || c == '-'; }))
    return std::nullopt;
  return std::string(type) + ";" + xtext(text.substr(semicolon + 1));
}

enum class ValueForm : unsigned char { none, ret, envid, notify, orcpt, priority, by };

struct Known {
  ParameterOf command;
  std::string_view name, extension;
  ValueForm form;
};
constexpr auto known_parameters = std::to_array<Known>({
    {ParameterOf::mail, "RET", "DSN", ValueForm::ret},
    {ParameterOf::mail, "ENVID", "DSN", ValueForm::envid},
    {ParameterOf::mail, "MT-PRIORITY", "MT-PRIORITY", ValueForm::priority},
    {ParameterOf::mail, "REQUIRETLS", "REQUIRETLS", ValueForm::none},
    {ParameterOf::mail, "BY", "DELIVERBY", ValueForm::by},
    {ParameterOf::rcpt, "NOTIFY", "DSN", ValueForm::notify},
    {ParameterOf::rcpt, "ORCPT", "DSN", ValueForm::orcpt},
});

const Known* find_known(ParameterOf command, std::string_view name) {
  const auto* found = std::find_if(known_parameters.begin(), known_parameters.end(), [&](const Known& known) {
    return known.command == command && iequals_ascii(known.name, name);
  });
  return found == known_parameters.end() ? nullptr : found;
}

std::optional<std::string> encode_value(ValueForm form, std::string_view text) {
  switch (form) {
    case ValueForm::none: return std::nullopt;
    case ValueForm::ret:
      if (!is_one_of(text, {"FULL", "HDRS"})) return std::nullopt;
      break;
    case ValueForm::envid:
      // RFC 3461, 4.4: 100 characters at most, printable.
      if (text.empty() || text.size() > 100 || !is_printable_ascii(text)) return std::nullopt;
      return xtext(text);
    case ValueForm::notify:
      if (!is_notify(text)) return std::nullopt;
      break;
    case ValueForm::orcpt: return is_printable_ascii(text) ? original_recipient(text) : std::nullopt;
    case ValueForm::priority:
      if (!is_number(text) || text.size() > 2) return std::nullopt;
      break;
    case ValueForm::by:
      if (!is_by(text)) return std::nullopt;
      break;
  }
  return ascii_upper(text);
}

}  // namespace

bool is_mailbox(std::string_view address) {
  const auto at = at_of(address);
  if (at == std::string_view::npos || address.size() > mailbox_bytes_max || !is_valid_utf8(address))
    return false;
  const auto local = address.substr(0, at), domain = address.substr(at + 1);
  if (local.size() > local_part_bytes_max || domain.size() > domain_bytes_max) return false;
  return (is_dot_string(local) || is_quoted_string(local)) &&
         (is_domain_name(domain) || is_address_literal(domain));
}

std::string_view domain_of(std::string_view address) {
  const auto at = at_of(address);
  return at == std::string_view::npos ? std::string_view{} : address.substr(at + 1);
}

bool is_same_mailbox(std::string_view a, std::string_view b) { return iequals_ascii(a, b); }

std::string_view extension_of(ParameterOf command, std::string_view name) {
  const auto* known = find_known(command, name);
  return known == nullptr ? std::string_view{} : known->extension;
}

std::optional<std::string> encode_parameter(ParameterOf command, std::string_view name,
                                            const std::optional<std::string_view>& value) {
  const auto* known = find_known(command, name);
  if (known == nullptr || value.has_value() == (known->form == ValueForm::none)) return std::nullopt;
  auto out = " " + std::string(known->name);
  if (!value) return out;
  auto encoded = encode_value(known->form, *value);
  if (!encoded) return std::nullopt;
  return out + "=" + *encoded;
}

// xtext = *( xchar / hexchar ); xchar = %d33-42 / %d44-60 / %d62-126; hexchar = "+" two upper case hex digits
std::string xtext(std::string_view text) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u > 0x20 && u < 0x7F && c != '+' && c != '=') {
      out += c;
    } else {
      out += '+';
      out += digits[u >> 4];
      out += digits[u & 15];
    }
  }
  return out;
}

}  // namespace postern::smtp
