// parse_response on anything: it ends, in memory of its own, and what it gives keeps its promises.
#include <cstdint>
#include <string_view>

#include "postern/imap/parser.hpp"
#include "require.hpp"

namespace postern::imap {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_date_time(text);
  const auto response = parse_response(text);
  if (!response) {
    require(response.error().code == Errc::syntax || response.error().code == Errc::too_large);
    return 0;
  }
  if (const auto* r = std::get_if<StatusResponse>(&*response)) {
    if (const auto* copy = std::get_if<CopyUid>(&r->code.value))
      require(copy->source.size() == copy->destination.size());
  }
  if (const auto* r = std::get_if<FetchResponse>(&*response)) require(r->data.uid != 0u);
  if (const auto* r = std::get_if<EsearchResponse>(&*response))
    require(r->all.has_value() || r->all_ordered.empty());
  return 0;
}

}  // namespace postern::imap
