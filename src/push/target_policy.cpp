// The tables of what is inside, and libcurl's URL parser.
#include "postern/push/target_policy.hpp"

#include <curl/urlapi.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "postern/base/encoding.hpp"

namespace postern::push {
namespace {

namespace ip = boost::asio::ip;

struct Prefix4 {
  std::array<std::uint8_t, 4> bytes;
  unsigned length;
};
// IANA, "IPv4 Special-Purpose Address Registry", and multicast.
constexpr auto special_v4 = std::to_array<Prefix4>({
    {{0, 0, 0, 0}, 8},        // this network
    {{10, 0, 0, 0}, 8},       // private
    {{100, 64, 0, 0}, 10},    // shared: carrier-grade NAT
    {{127, 0, 0, 0}, 8},      // loopback
    {{169, 254, 0, 0}, 16},   // link-local
    {{172, 16, 0, 0}, 12},    // private
    {{192, 0, 0, 0}, 24},     // protocol assignments
    {{192, 0, 2, 0}, 24},     // documentation
    {{192, 88, 99, 0}, 24},   // 6to4 relays
    {{192, 168, 0, 0}, 16},   // private
    {{198, 18, 0, 0}, 15},    // benchmarks
    {{198, 51, 100, 0}, 24},  // documentation
    {{203, 0, 113, 0}, 24},   // documentation
    {{224, 0, 0, 0}, 4},      // multicast
    {{240, 0, 0, 0}, 4},      // reserved, broadcast
});
struct Prefix6 {
  std::array<std::uint8_t, 16> bytes;
  unsigned length;
};
// Of 2000::/3, outside of which nothing is global unicast: what isn't for everybody.
constexpr auto special_v6 = std::to_array<Prefix6>({
    {{0x20, 0x01, 0x00}, 23},        // protocol assignments, Teredo, benchmarks, ORCHID
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x3f, 0xff, 0x00}, 20},        // documentation
    {{0x20, 0x02, 0x00}, 16},        // 6to4: whatever it carries, nobody offers a push service there
});
constexpr std::array<std::uint8_t, 12> nat64 = {0x00, 0x64, 0xff, 0x9b};  // 64:ff9b::/96

template <typename Bytes>
bool begins_with(const Bytes& address, const Bytes& prefix, unsigned length) {
  for (std::size_t i = 0; i < address.size() && length > 0; ++i) {
    const unsigned bits = std::min(length, 8u);
    const auto mask = static_cast<std::uint8_t>(0xff00u >> bits);
    if ((address[i] & mask) != (prefix[i] & mask)) return false;
    length -= bits;
  }
  return true;
}

bool is_public_v4(const ip::address_v4& address) {
  const auto bytes = address.to_bytes();
  return std::ranges::none_of(special_v4, [&](const Prefix4& special) {
    return begins_with(bytes, ip::address_v4::bytes_type(special.bytes), special.length);
  });
}

bool is_public_v6(const ip::address_v6& address) {
  const auto bytes = address.to_bytes();
  // What a translator makes of it is an IPv4 address. All other mappings lie outside of 2000::/3.
  if (std::equal(nat64.begin(), nat64.end(), bytes.begin()))
    return is_public_v4(ip::address_v4({bytes[12], bytes[13], bytes[14], bytes[15]}));
  if ((bytes[0] & 0xe0) != 0x20) return false;
  return std::ranges::none_of(special_v6, [&](const Prefix6& special) {
    return begins_with(bytes, ip::address_v6::bytes_type(special.bytes), special.length);
  });
}

std::optional<ip::address> parse_address(std::string_view text) {
  boost::system::error_code wrong;
  auto address = ip::make_address(std::string(text), wrong);
  if (wrong) return std::nullopt;
  return address;
}

// An IPv4 address in IPv6's clothes is what it is on the wire.
ip::address plain(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return ip::make_address_v4(ip::v4_mapped, address.to_v6());
  return address;
}

// Of a name, or of an IPv6 address in brackets.
bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == ':' || c == '[' || c == ']';
}

struct FreeText {
  void operator()(char* text) const { curl_free(text); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

}  // namespace

std::optional<PushUrl> parse_push_url(std::string_view text) {
  if (text.size() > push_url_bytes_max ||
      !std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; }))
    return std::nullopt;
  // libcurl takes scheme and slashes for granted where they are missing.
  constexpr std::string_view scheme = "https://";
  if (!iequals_ascii(text.substr(0, scheme.size()), scheme) || text.find('#') != std::string_view::npos)
    return std::nullopt;
  const std::unique_ptr<CURLU, FreeUrl> url(curl_url());
  if (!url ||
      curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_DISALLOW_USER) != CURLUE_OK)
    return std::nullopt;
  const auto part = [&](CURLUPart which) -> std::optional<std::string> {
    char* found = nullptr;
    if (curl_url_get(url.get(), which, &found, 0) != CURLUE_OK) return std::nullopt;
    const std::unique_ptr<char, FreeText> owner(found);
    return std::string(found);
  };
  auto host = part(CURLUPART_HOST);
  const bool is_host = host && !host->empty() && std::ranges::all_of(*host, is_host_char);
  // libcurl decodes, reads numbers as addresses and forgives a third slash: "%37" is "7", and "7" is 0.0.0.7. A host
  // that isn't written as it is used is nobody's push service.
  if (!is_host || !iequals_ascii(text.substr(scheme.size(), host->size()), *host) || part(CURLUPART_ZONEID))
    return std::nullopt;
  PushUrl parsed;
  parsed.host = ascii_lower(*host);
  parsed.origin = "https://" + parsed.host;
  if (const auto port = part(CURLUPART_PORT); port && *port != "443") parsed.origin += ":" + *port;
  if (parsed.host.starts_with('[') && parsed.host.ends_with(']'))
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  return parsed;
}

bool is_public_address(const ip::address& address) {
  const auto judged = plain(address);
  return judged.is_v4() ? is_public_v4(judged.to_v4()) : is_public_v6(judged.to_v6());
}

bool TargetPolicy::allow(std::string_view text) {
  const auto slash = text.find('/');
  if (const auto address = parse_address(text.substr(0, slash))) {
    unsigned length = address->is_v4() ? 32 : 128;
    if (slash != std::string_view::npos) {
      unsigned given = 0;
      const auto digits = text.substr(slash + 1);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), given);
      if (error != std::errc{} || end != digits.data() + digits.size() || given > length) return false;
      length = given;
    }
    networks_.emplace_back(*address, length);
    return true;
  }
  const bool is_name = !text.empty() && text.size() <= 253 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
  if (is_name) hosts_.insert(ascii_lower(text));
  return is_name;
}

bool TargetPolicy::is_listed(const ip::address& address) const {
  return std::ranges::any_of(networks_, [&](const auto& network) {
    const auto& [prefix, length] = network;
    if (prefix.is_v4() != address.is_v4()) return false;
    return prefix.is_v4() ? begins_with(address.to_v4().to_bytes(), prefix.to_v4().to_bytes(), length)
                          : begins_with(address.to_v6().to_bytes(), prefix.to_v6().to_bytes(), length);
  });
}

bool TargetPolicy::allows_inside(std::string_view host, const ip::address& address) const {
  return hosts_.contains(host) || is_listed(plain(address));
}

bool TargetPolicy::forbids(std::string_view host) const {
  if (const auto address = parse_address(host)) return !allows(host, *address);
  while (host.ends_with('.')) host.remove_suffix(1);
  // RFC 6761, 6.3
  const bool local = host == "localhost" || host.ends_with(".localhost");
  return local && !hosts_.contains(host);
}

}  // namespace postern::push
