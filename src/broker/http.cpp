// Parsing of targets, cookies, Authorization fields, addresses and media types: what isn't well-formed is refused,
// and what proxies say counts only where the caller trusts them.
#include "broker/http.hpp"

#include <arpa/inet.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>

#include "postern/base/encoding.hpp"
#include "postern/base/json_misuse.hpp"

namespace postern::broker {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

// The part behind "Basic " or "Bearer ", in any case.
std::optional<std::string_view> scheme_rest(std::string_view authorization, std::string_view scheme) {
  if (authorization.size() <= scheme.size() ||
      !iequals_ascii(authorization.substr(0, scheme.size()), scheme) || authorization[scheme.size()] != ' ')
    return std::nullopt;
  return trim_ascii(authorization.substr(scheme.size()));
}

// Takes the last element off a list; empty if there is none left.
std::string_view take_last(std::string_view& list) {
  const auto comma = list.rfind(',');
  const auto last = trim_ascii(comma == std::string_view::npos ? list : list.substr(comma + 1));
  list = list.substr(0, comma == std::string_view::npos ? 0 : comma);
  return last;
}

// The last element of a list that proxies append to is the one our own proxy has written. Some append a field line of
// their own, behind those that the client has sent (RFC 9110, 5.3: all lines are one list).
std::string_view last_element(const ipc::Fields& fields, std::string_view name) {
  for (const auto& [known, value] : std::views::reverse(fields))
    if (std::string_view list = value; known == name) return take_last(list);
  return {};
}

struct Address {
  int family = 0;
  std::array<unsigned char, 16> bytes{};
  int bits = 0;
};
std::optional<Address> parse_address(std::string_view text) {
  Address address;
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return std::nullopt;
  if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) {
    address.family = AF_INET;
    address.bits = 32;
    return address;
  }
  if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) {
    address.family = AF_INET6;
    address.bits = 128;
    return address;
  }
  return std::nullopt;
}

bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-._:[]").find(c) != std::string_view::npos;
  });
}

}  // namespace

Target split_target(const ipc::RequestHead& head) {
  std::string_view target = head.target;
  Target split;
  const auto question = target.find('?');
  if (question != std::string_view::npos) {
    split.query = target.substr(question + 1);
    target = target.substr(0, question);
  }
  // The mount point, where the web server has told it, is no part of our paths.
  const std::string_view mount = head.script_name;
  if (!mount.empty() && mount != "/" && target.starts_with(mount) &&
      (target.size() == mount.size() || target[mount.size()] == '/'))
    target.remove_prefix(mount.size());
  split.path = target.empty() ? "/" : std::string(target);
  return split;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    const auto equals = pair.find('=');
    if (pair.substr(0, equals) == name)
      return percent_decode(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1));
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return std::nullopt;
}

std::optional<BasicCredentials> parse_basic(std::string_view authorization) {
  auto rest = scheme_rest(authorization, "basic");
  if (!rest) return std::nullopt;
  auto decoded = base64_decode(*rest);
  if (!decoded) return std::nullopt;
  const auto colon = decoded->find(':');
  std::optional<BasicCredentials> credentials;
  if (colon != std::string::npos && colon > 0 && decoded->find('\0') == std::string::npos)
    credentials =
        BasicCredentials{decoded->substr(0, colon), Secret(std::string_view(*decoded).substr(colon + 1))};
  wipe(decoded->data(), decoded->size());
  return credentials;
}

std::optional<Secret> parse_bearer(std::string_view authorization) {
  auto rest = scheme_rest(authorization, "bearer");
  if (!rest || rest->empty()) return std::nullopt;
  return Secret(*rest);
}

std::optional<std::string> cookie_value(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    const auto end = std::min(cookies.find(';'), cookies.size());
    const auto pair = trim_ascii(cookies.substr(0, end));
    const auto equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == name) {
      auto value = pair.substr(equals + 1);
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
        value = value.substr(1, value.size() - 2);
      return std::string(value);
    }
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
  }
  return std::nullopt;
}

std::optional<std::string> jwt_claim(std::string_view token, const std::vector<std::string>& names) try {
  const auto first = token.find('.');
  const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  auto payload = base64url_decode(token.substr(first + 1, second - first - 1));
  if (!payload || payload->find('\0') != std::string::npos) return std::nullopt;
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(payload->data(),
                                                                                         payload->size());
  if (document.HasParseError() || !document.IsObject()) return std::nullopt;
  for (const auto& name : names) {
    auto member = document.FindMember(name.c_str());
    if (member != document.MemberEnd() && member->value.IsString() && member->value.GetStringLength() > 0)
      return std::string(member->value.GetString(), member->value.GetStringLength());
  }
  return std::nullopt;
} catch (const JsonMisuse&) {
  return std::nullopt;
}

std::string base_url(const ipc::RequestHead& head, const std::string& public_url, bool trusted) {
  const std::string mount = head.script_name == "/" ? std::string{} : head.script_name;
  if (!public_url.empty()) return public_url;
  std::string scheme = ascii_lower(head.scheme);
  std::string host = head.host;
  if (trusted) {
    if (auto proto = ascii_lower(last_element(head.fields, "x-forwarded-proto"));
        proto == "http" || proto == "https")
      scheme = proto;
    if (auto forwarded = last_element(head.fields, "x-forwarded-host"); is_host(forwarded)) host = forwarded;
  }
  if (scheme != "http" && scheme != "https") scheme = "https";
  if (!is_host(host)) host = "localhost";
  return scheme + "://" + host + mount;
}

namespace {

// The address of an element of X-Forwarded-For, which some proxies write with brackets and a port.
std::string_view without_port(std::string_view element) {
  if (element.starts_with('[')) return element.substr(1, std::min(element.find(']'), element.size()) - 1);
  const auto colon = element.find(':');
  return colon == element.rfind(':') ? element.substr(0, colon) : element;
}

}  // namespace

// From the nearest hop to the first that isn't ours: each trusted one has written the element before its own address.
std::string client_address(const ipc::RequestHead& head, const std::vector<std::string>& trusted_proxies) {
  std::string address = head.remote_address;
  for (const auto& [name, value] : std::views::reverse(head.fields)) {
    if (name != "x-forwarded-for") continue;
    std::string_view list = value;
    do {
      const auto before = without_port(take_last(list));
      if (!is_trusted(trusted_proxies, address) || !parse_address(before)) return address;
      address = before;
    } while (!list.empty());
  }
  return address;
}

bool is_trusted(const std::vector<std::string>& trusted_proxies, std::string_view address) {
  return std::any_of(trusted_proxies.begin(), trusted_proxies.end(),
                     [&](const std::string& rule) { return address_matches(rule, address); });
}

bool address_matches(std::string_view rule, std::string_view address) {
  if (address.empty()) return rule == "unix";
  const auto slash = rule.find('/');
  auto network = parse_address(rule.substr(0, slash));
  auto candidate = parse_address(address);
  if (!network || !candidate || network->family != candidate->family) return false;
  int bits = network->bits;
  if (slash != std::string_view::npos) {
    const auto text = rule.substr(slash + 1);
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
    if (error != std::errc{} || end != text.data() + text.size() || bits < 0 || bits > network->bits)
      return false;
  }
  for (int i = 0; i < bits; ++i) {
    const auto byte = static_cast<std::size_t>(i / 8);
    if (((network->bytes[byte] ^ candidate->bytes[byte]) >> (7 - i % 8) & 1) != 0) return false;
  }
  return true;
}

std::string origin_of(std::string_view url) {
  const auto authority = url.find("://");
  if (authority == std::string_view::npos) return {};
  return ascii_lower(url.substr(0, std::min(url.find('/', authority + 3), url.size())));
}

std::string media_type(std::string_view content_type) {
  return ascii_lower(trim_ascii(content_type.substr(0, content_type.find(';'))));
}

bool is_media_type(std::string_view text) {
  const auto type = text.substr(0, text.find(';'));
  const auto slash = type.find('/');
  if (slash == std::string_view::npos || !is_token(type.substr(0, slash)) ||
      !is_token(trim_ascii(type.substr(slash + 1))))
    return false;
  return text.size() <= 255 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

std::string content_disposition(std::string_view file_name) {
  const auto utf8 = sanitize_utf8(file_name);
  std::string plain, encoded;
  bool needs_encoding = false;
  for (char c : utf8) {
    const bool simple = c > 0x1F && c < 0x7F && c != '"' && c != '\\' && c != '/' && c != '%';
    plain += simple ? c : '_';
    needs_encoding = needs_encoding || !simple;
    const bool attr_char = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           std::string_view("!#$&+-.^_`|~").find(c) != std::string_view::npos;
    if (attr_char) {
      encoded += c;
    } else {
      static constexpr std::string_view digits = "0123456789ABCDEF";
      encoded += '%';
      encoded += digits[static_cast<unsigned char>(c) >> 4];
      encoded += digits[static_cast<unsigned char>(c) & 15];
    }
  }
  std::string value = "attachment";
  if (plain.empty()) return value;
  value += "; filename=\"" + plain + "\"";
  if (needs_encoding) value += "; filename*=UTF-8''" + encoded;
  return value;
}

std::optional<ByteRange> parse_range(std::string_view field) {
  constexpr std::string_view unit = "bytes=";
  if (field.size() < unit.size() || !iequals_ascii(field.substr(0, unit.size()), unit)) return std::nullopt;
  const auto text = trim_ascii(field.substr(unit.size()));
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view digits, std::optional<std::uint64_t>& out) {
    if (digits.empty()) return true;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    out = value;
    return error == std::errc{} && end == digits.data() + digits.size();
  };
  ByteRange range;
  if (!number(text.substr(0, dash), range.first) || !number(text.substr(dash + 1), range.last))
    return std::nullopt;
  if (!range.first && !range.last) return std::nullopt;
  if (range.first && range.last && *range.last < *range.first) return std::nullopt;
  return range;
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> resolve_range(const ByteRange& range,
                                                                     std::uint64_t size) {
  if (!range.first) {
    const auto octets = std::min(*range.last, size);
    return octets == 0 ? std::nullopt : std::optional(std::pair(size - octets, octets));
  }
  if (*range.first >= size) return std::nullopt;
  const auto last = std::min(range.last.value_or(size - 1), size - 1);
  return std::pair(*range.first, last - *range.first + 1);
}

bool names_etag(std::string_view field, std::string_view etag) {
  while (!field.empty()) {
    const auto end = std::min(field.find(','), field.size());
    auto item = trim_ascii(field.substr(0, end));
    field.remove_prefix(std::min(end + 1, field.size()));
    if (item.starts_with("W/")) item.remove_prefix(2);
    if (item == "*" || item == etag) return true;
  }
  return false;
}

ipc::ResponseHead response_head(const jmap::ApiResponse& response) {
  ipc::ResponseHead head;
  head.status = response.status;
  head.fields = {{"content-type", response.content_type +
                                      (response.content_type == "application/json" ? "; charset=utf-8" : "")},
                 {"content-length", std::to_string(response.body.size())},
                 {"cache-control", "no-cache, no-store, must-revalidate"},
                 {"x-content-type-options", "nosniff"}};
  if (!response.retry_after.empty()) head.fields.emplace_back("retry-after", response.retry_after);
  return head;
}

}  // namespace postern::broker
