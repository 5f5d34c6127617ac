// Frames and what is in them: whatever comes is read or refused, and what was read survives being written.
#include <cstdint>
#include <string>

#include "postern/ipc/frame.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::ipc;

namespace {

void check_request(std::string_view payload) {
  const auto head = parse_request_head(payload);
  if (!head) return;
  const auto again = encode_request_head(*head);
  require(again.has_value() && *again == payload);
}

void check_response(std::string_view payload) {
  const auto head = parse_response_head(payload);
  if (!head) return;
  const auto again = encode_response_head(*head);
  require(again.has_value() && *again == payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  std::string_view data = input;
  std::string written;
  for (;;) {
    const auto before = data.size();
    const auto frame = next_frame(data);
    if (!frame || !*frame) {
      require(data.size() == before);
      break;
    }
    require(before - data.size() == frame_header_bytes + (*frame)->payload.size());
    append_frame(written, (*frame)->type, (*frame)->flags, (*frame)->stream, (*frame)->payload);
    switch ((*frame)->type) {
      case FrameType::hello:
        if (const auto hello = parse_hello((*frame)->payload)) (void)negotiate(*hello);
        break;
      case FrameType::request: check_request((*frame)->payload); break;
      case FrameType::response: check_response((*frame)->payload); break;
      case FrameType::window: (void)parse_window((*frame)->payload); break;
      case FrameType::cancel: (void)parse_cancel((*frame)->payload); break;
      case FrameType::data:
      case FrameType::effects:
      case FrameType::ping:
      case FrameType::pong:
      case FrameType::goodbye: break;
    }
  }
  require(input.starts_with(written));  // what was read is what is written
  check_request(input);
  check_response(input);
  return 0;
}
