// Whatever strings a command is built from, a server reads back those very strings, and no CR, LF or NUL stands
// outside a literal. The first octet of the input chooses what the server can do, NULs part the strings.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postern/imap/command.hpp"
#include "require.hpp"

namespace postern::imap {

namespace {

// Reads `text` by the grammar of RFC 3501, as a server does: astrings, each behind one SP.
std::vector<std::string> read_back(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    require(text.starts_with(' '));
    text.remove_prefix(1);
    std::string& value = out.emplace_back();
    if (text.starts_with('"')) {
      for (text.remove_prefix(1); require(!text.empty()), text.front() != '"'; text.remove_prefix(1)) {
        if (text.front() == '\\') text.remove_prefix(1);
        require(!text.empty() && text.front() != '\r' && text.front() != '\n' && text.front() > 0);
        value += text.front();
      }
      text.remove_prefix(1);
    } else if (text.starts_with('{')) {
      const std::size_t size = std::stoul(std::string(text.substr(1)));
      const std::size_t head = text.find("\r\n") + 2;
      require(head + size <= text.size());
      value = text.substr(head, size);
      text.remove_prefix(head + size);
    } else {
      const std::size_t size = text.find(' ');
      value = text.substr(0, size);
      require(!value.empty() && value.find_first_of("\r\n(){%*\"\\") == std::string::npos);
      text.remove_prefix(value.size());
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::string> strings(1);
  for (const char c : std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1)) {
    c == '\0' ? void(strings.emplace_back()) : void(strings.back() += c);
  }
  CapabilitySet capabilities;
  if (data[0] & 1) capabilities.set(Capability::literal_plus);
  if (data[0] & 2) capabilities.set(Capability::literal_minus);
  CommandBuilder builder("X", capabilities), flags("Y", capabilities), raw("Z", capabilities);
  if (data[0] & 4) builder.secret();
  for (std::size_t i = 0; i < strings.size(); ++i) {
    builder.sp();
    (i + data[0]) % 3 == 0 ? builder.string(strings[i]) : builder.astring(strings[i]);
    flags.sp().flag(strings[i]);
    raw.raw(strings[i]);
  }
  if (const auto command = builder.finish()) {
    std::string whole;
    for (const std::string& chunk : command->chunks) whole += chunk;
    require(read_back(std::string_view(whole).substr(1)) == strings);
  }
  for (CommandBuilder* strict : {&flags, &raw}) {
    const auto command = strict->finish();
    require(!command ||
            (command->chunks.size() == 1 && command->chunks[0].find_first_of("\r\n") == std::string::npos));
  }
  return 0;
}

}  // namespace postern::imap
