// What an SMTP server says: the same replies however it is cut, one line of text of each, nothing beyond the bounds.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/encoding.hpp"
#include "postern/smtp/reply.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::smtp;

namespace {

std::vector<std::string> replies(std::string_view octets, std::size_t cut) {
  ReplyParser parser;
  std::vector<std::string> all;
  for (std::size_t at = 0; at < octets.size();) {
    const auto taken = parser.feed(octets.substr(at, cut));
    if (!taken) return all;
    require(*taken > 0);
    at += *taken;
    while (const auto reply = parser.take()) {
      require(reply->code >= 200 && reply->code <= 599 && reply->lines.size() <= reply_lines_max);
      const auto text = reply->to_string();
      require(is_valid_utf8(text) && text.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      const Extensions extensions(*reply);
      (void)extensions.size_max();
      for (const auto& mechanism : extensions.mechanisms()) require(!mechanism.empty());
      all.push_back(text);
    }
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(bytes), size);
  require(replies(octets, 1) == replies(octets, size + 1));
  return 0;
}
