// Frames: writing them, cutting octets into them, and the small payloads. See frame.hpp.
#include "postern/ipc/frame.hpp"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>

#include "ipc/wire.hpp"

namespace postern::ipc {
namespace {

class Category final : public std::error_category {
  const char* name() const noexcept override { return "ipc"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::bad_frame: return "malformed frame";
      case Errc::too_large: return "too large";
      case Errc::version: return "no protocol version in common";
      case Errc::closed: return "connection closed";
      case Errc::bad_head: return "malformed head";
    }
    return "unknown error";
  }
};

void put_header(std::string& out, FrameType type, std::uint8_t flags, std::uint32_t stream,
                std::size_t length) {
  wire::put<std::uint32_t>(out, static_cast<std::uint32_t>(length));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  wire::put<std::uint16_t>(out, 0);
  wire::put<std::uint32_t>(out, stream);
}

bool of_connection(FrameType type) {
  switch (type) {
    case FrameType::hello:
    case FrameType::ping:
    case FrameType::pong:
    case FrameType::goodbye: return true;
    case FrameType::request:
    case FrameType::response:
    case FrameType::data:
    case FrameType::window:
    case FrameType::cancel:
    case FrameType::effects: return false;
  }
  return false;
}

struct PayloadBounds {
  std::size_t min, max;
};

PayloadBounds payload_bounds(FrameType type) {
  switch (type) {
    case FrameType::hello: return {4, 4 + hello_program_bytes_max};
    case FrameType::request:
    case FrameType::response: return {1, head_bytes_max};
    case FrameType::data: return {0, frame_payload_bytes_max};
    case FrameType::window: return {4, 4};
    case FrameType::cancel: return {1, 1};
    case FrameType::effects: return {0, 0};
    case FrameType::ping:
    case FrameType::pong: return {8, 8};
    case FrameType::goodbye: return {0, 0};
  }
  return {0, 0};
}

bool may_end_stream(FrameType type) {
  return type == FrameType::request || type == FrameType::response || type == FrameType::data;
}

std::string describe(std::string_view what, std::uint8_t type, std::uint32_t stream, std::uint32_t length) {
  return fmt::format("{} (type {}, stream {}, {} octets)", what, type, stream, length);
}

}  // namespace

const std::error_category& ipc_category() {
  static const Category category;
  return category;
}

std::string_view to_string(FrameType type) {
  switch (type) {
    case FrameType::hello: return "hello";
    case FrameType::request: return "request";
    case FrameType::response: return "response";
    case FrameType::data: return "data";
    case FrameType::window: return "window";
    case FrameType::cancel: return "cancel";
    case FrameType::effects: return "effects";
    case FrameType::ping: return "ping";
    case FrameType::pong: return "pong";
    case FrameType::goodbye: return "goodbye";
  }
  return "unknown";
}

std::string_view to_string(CancelReason reason) {
  switch (reason) {
    case CancelReason::browser_gone: return "browser gone";
    case CancelReason::broker_error: return "broker error";
    case CancelReason::too_slow: return "too slow";
    case CancelReason::protocol: return "protocol";
    case CancelReason::refused: return "refused";
  }
  return "unknown";
}

void append_frame(std::string& out, FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  assert(payload.size() <= frame_payload_bytes_max);
  put_header(out, type, flags, stream, payload.size());
  out.append(payload);
}

void append_window(std::string& out, std::uint32_t stream, std::uint32_t credit) {
  put_header(out, FrameType::window, 0, stream, sizeof credit);
  wire::put<std::uint32_t>(out, credit);
}

void append_cancel(std::string& out, std::uint32_t stream, CancelReason reason) {
  put_header(out, FrameType::cancel, 0, stream, 1);
  out.push_back(static_cast<char>(reason));
}

void append_hello(std::string& out, std::string_view program) {
  program = program.substr(0, hello_program_bytes_max);
  put_header(out, FrameType::hello, 0, 0, 4 + program.size());
  wire::put<std::uint16_t>(out, protocol_version);
  wire::put<std::uint16_t>(out, protocol_version_min);
  out.append(program);
}

void append_body(std::string& out, std::uint32_t stream, std::string_view body, bool last) {
  if (body.empty()) {
    if (last) append_frame(out, FrameType::data, end_stream, stream, {});
    return;
  }
  while (!body.empty()) {
    const auto piece = body.substr(0, frame_payload_bytes_max);
    body.remove_prefix(piece.size());
    append_frame(out, FrameType::data, last && body.empty() ? end_stream : std::uint8_t{0}, stream, piece);
  }
}

Result<std::optional<Frame>> next_frame(std::string_view& data) {
  if (data.size() < frame_header_bytes) return std::nullopt;
  const auto length = wire::get<std::uint32_t>(data.data());
  const auto type = static_cast<std::uint8_t>(data[4]);
  const auto flags = static_cast<std::uint8_t>(data[5]);
  const auto reserved = wire::get<std::uint16_t>(data.data() + 6);
  const auto stream = wire::get<std::uint32_t>(data.data() + 8);

  // All of the header is judged before the payload is waited for: a wrong length must not make the reader
  // hold more and more.
  if (type == 0 || type > frame_type_last)
    return fail(Errc::bad_frame, describe("type", type, stream, length));
  const auto frame_type = static_cast<FrameType>(type);
  if (reserved != 0 || (flags & ~end_stream) != 0 || (flags != 0 && !may_end_stream(frame_type))) {
    return fail(Errc::bad_frame, describe("flags", type, stream, length));
  }
  if (of_connection(frame_type) != (stream == 0) || stream > stream_id_max) {
    return fail(Errc::bad_frame, describe("stream number", type, stream, length));
  }
  const auto [bytes_min, bytes_max] = payload_bounds(frame_type);
  if (length > bytes_max) return fail(Errc::too_large, describe("payload", type, stream, length));
  if (length < bytes_min) return fail(Errc::bad_frame, describe("payload", type, stream, length));
  if (frame_type == FrameType::data && length == 0 && flags == 0) {
    return fail(Errc::bad_frame, describe("data without octets or end", type, stream, length));
  }

  if (data.size() - frame_header_bytes < length) return std::nullopt;
  Frame frame{frame_type, flags, stream, data.substr(frame_header_bytes, length)};
  data.remove_prefix(frame_header_bytes + length);
  return frame;
}

Result<Hello> parse_hello(std::string_view payload) {
  Hello hello;
  if (!wire::take(payload, hello.version) || !wire::take(payload, hello.min_version) ||
      payload.size() > hello_program_bytes_max || hello.min_version == 0 ||
      hello.min_version > hello.version || !is_field_value(payload)) {
    return fail(Errc::bad_frame, "hello");
  }
  hello.program = payload;
  return hello;
}

Result<std::uint16_t> negotiate(const Hello& theirs) {
  const auto version = std::min(protocol_version, theirs.version);
  if (version < protocol_version_min || version < theirs.min_version) {
    return fail(Errc::version,
                fmt::format("{} speaks {} to {}, this program {} to {}", theirs.program, theirs.min_version,
                            theirs.version, protocol_version_min, protocol_version));
  }
  return version;
}

Result<std::uint32_t> parse_window(std::string_view payload) {
  std::uint32_t credit = 0;
  if (!wire::take(payload, credit) || !payload.empty() || credit == 0) return fail(Errc::bad_frame, "window");
  return credit;
}

Result<CancelReason> parse_cancel(std::string_view payload) {
  if (payload.size() != 1) return fail(Errc::bad_frame, "cancel");
  const auto reason = static_cast<std::uint8_t>(payload[0]);
  if (reason == 0 || reason > static_cast<std::uint8_t>(CancelReason::refused)) return CancelReason::protocol;
  return static_cast<CancelReason>(reason);
}

}  // namespace postern::ipc
