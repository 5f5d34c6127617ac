// What clients put into a push subscription: its URL and keys; and the configuration's exceptions.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "postern/push/target_policy.hpp"
#include "postern/push/web_push.hpp"

namespace postern::push {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  TargetPolicy policy;
  const TargetPolicy strict;
  static_cast<void>(policy.allow(text));
  if (const auto url = parse_push_url(text)) {
    if (url->host.empty() || !url->origin.starts_with("https://") ||
        url->origin.find('@') != std::string::npos ||
        url->origin.find_first_of(" \r\n\"\\") != std::string::npos)
      std::abort();
    // What is its origin leads to the same host.
    const auto again = parse_push_url(url->origin + "/");
    if (!again || again->host != url->host || again->origin != url->origin) std::abort();
    static_cast<void>(strict.forbids(url->host));
  }
  const auto space = text.find(' ');
  if (space == std::string_view::npos) return 0;
  if (const auto keys = parse_client_keys(text.substr(0, space), text.substr(space + 1))) {
    SystemRandom random;
    if (encrypt_message("{}", *keys, random).size() != 86 + 3 + 16) std::abort();
  }
  return 0;
}

}  // namespace postern::push
