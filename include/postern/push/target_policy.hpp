// Where a push subscription may point: https, and nothing inside (RFC 8620, 8.6). No I/O; what a name resolves to is
// judged by the address that is connected to (web_client.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include <boost/asio/ip/address.hpp>

namespace postern::push {

inline constexpr std::size_t push_url_bytes_max = 2'048;

struct PushUrl {
  std::string host;    // lower case; an IPv6 address without brackets
  std::string origin;  // "https://push.example.com:8443"
};
// An absolute https URL without user, password and fragment, of visible ASCII. Parsed by the library that connects, so
// that both see the same host, and refused where its host is not written as that library uses it. nullopt: it is none.
std::optional<PushUrl> parse_push_url(std::string_view url);

// Is it an address of the Internet at large? Not those of this machine, of private, shared and link-local networks,
// multicast, documentation and reserved ones (IANA's special-purpose registries), nor what carries one of these in
// itself (IPv4-mapped, NAT64, 6to4, Teredo).
bool is_public_address(const boost::asio::ip::address& address);

// Exceptions, for intranets and tests.
class TargetPolicy {
 public:
  // "push.example.com", "10.1.2.3", "10.0.0.0/8", "fd00::/8". False: it is none of these.
  bool allow(std::string_view text);
  bool allows(std::string_view host, const boost::asio::ip::address& address) const {
    return is_public_address(address) || allows_inside(host, address);
  }
  bool allows_inside(std::string_view host, const boost::asio::ip::address& address) const;
  // Is this host known to be inside without resolving it: an address, or a name that means this machine?
  bool forbids(std::string_view host) const;

 private:
  bool is_listed(const boost::asio::ip::address& address) const;
  std::set<std::string, std::less<>> hosts_;
  std::vector<std::pair<boost::asio::ip::address, unsigned>> networks_;  // with the length of the prefix
};

}  // namespace postern::push
