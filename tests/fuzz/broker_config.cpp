// The configuration: whatever a file holds is a configuration or an error that names the file.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "broker/config.hpp"

using namespace postern::broker;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(bytes), size);
  // A file that the input names is none of the fuzzer's business.
  if (input.find("master_password_file") != std::string::npos) return 0;
  auto config = parse_config(input, "fuzz.toml");
  if (!config) {
    if (!config.error().context.starts_with("fuzz.toml:")) std::abort();
    return 0;
  }
  // It holds together: the bounds that the rest of the broker counts on.
  const bool right = !config->imap.endpoint.host.empty() && config->imap.endpoint.port != 0 &&
                     config->server.shards >= 1 && config->server.shards <= 64 &&
                     !config->ipc.socket.empty() && config->imap.backoff_min <= config->imap.backoff_max;
  if (!right) std::abort();
  auto fresh = *parse_config(input, "fuzz.toml");
  if (!keep_fixed_sections(fresh, *config).empty()) std::abort();
  return 0;
}
