// The frames between worker and broker (docs/frame-protocol.md): their codec, without I/O.
//
// A connection carries many streams, one a web request, numbered by the worker from 1 upwards. Bodies
// travel both ways in data frames under a credit that the receiver grants, so that neither side holds
// more of a body than its window (window.hpp). All integers are little-endian: both ends are on one machine.
//
//   frame  = length:u32 type:u8 flags:u8 reserved:u16 stream:u32 payload[length]
//
// Plain functions without state; any thread. Bounded by frame_payload_bytes_max, head_bytes_max and
// head_fields_max: whatever exceeds them is an error of the peer, after which the connection is closed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "postern/base/error.hpp"

namespace postern::ipc {

inline constexpr std::uint16_t protocol_version = 1;
inline constexpr std::uint16_t protocol_version_min = 1;  // the oldest that is still spoken
inline constexpr std::size_t frame_header_bytes = 12;
inline constexpr std::size_t frame_payload_bytes_max = 128 * 1024;
inline constexpr std::size_t head_bytes_max = 64 * 1024;  // request or response head, encoded
inline constexpr std::size_t head_fields_max = 200;
inline constexpr std::size_t hello_program_bytes_max = 255;
inline constexpr std::uint32_t window_bytes = 256 * 1024;           // credit of a new stream, each way
inline constexpr std::uint32_t streams_per_connection_max = 1'024;  // open at once
inline constexpr std::uint32_t stream_id_max = 0x7fff'ffff;         // after it the worker connects anew

enum class FrameType : std::uint8_t {
  hello = 1,  // both, stream 0, first: version:u16 min_version:u16 then text (program and version)
  request,    // worker: RequestHead. end_stream: no body follows
  response,   // broker: ResponseHead. end_stream: no body follows
  data,       // both: body octets. end_stream: the last
  window,     // both: credit:u32 more octets of data may be sent on this stream
  cancel,     // both: reason:u8 (CancelReason): the stream is over. Worker: the browser has gone
  effects,    // broker: from now on the request may have changed something: the worker must not repeat it
  ping,
  pong,     // both, stream 0: 8 octets, sent back
  goodbye,  // broker, stream 0: no new streams, the worker connects anew; running ones are finished
};
inline constexpr std::uint8_t frame_type_last = static_cast<std::uint8_t>(FrameType::goodbye);
std::string_view to_string(FrameType type);

enum FrameFlags : std::uint8_t { end_stream = 1 };
// refused: the broker has not begun the request and never will; the worker may send it again elsewhere.
enum class CancelReason : std::uint8_t { browser_gone = 1, broker_error, too_slow, protocol, refused };
std::string_view to_string(CancelReason reason);

struct Frame {
  FrameType type = FrameType::hello;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string_view payload;

  bool ends_stream() const { return (flags & end_stream) != 0; }
};

enum class Errc { bad_frame = 1, too_large, version, closed, bad_head };
const std::error_category& ipc_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), ipc_category()}; }

// Appends one frame to `out`. The payload must be within frame_payload_bytes_max (asserted: the caller's
// own data); append_body cuts longer ones.
void append_frame(std::string& out, FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload);
void append_window(std::string& out, std::uint32_t stream, std::uint32_t credit);
void append_cancel(std::string& out, std::uint32_t stream, CancelReason reason);
void append_hello(std::string& out, std::string_view program);
// Appends `body` as as many data frames as it takes; the last has end_stream if `last`. An empty body that
// is not the last appends nothing. The caller answers for the credit.
void append_body(std::string& out, std::uint32_t stream, std::string_view body, bool last);

// Cuts octets into frames. `data` must be what was read and not yet taken; the frame's payload is a view
// into it. Drops what it took from `data`. nullopt: incomplete. A frame is checked as far as that needs no
// knowledge of the connection's state: known type and flags, reserved bits zero, the stream number that
// its type asks for, the payload's size for its type. bad_frame or too_large: close the connection.
Result<std::optional<Frame>> next_frame(std::string_view& data);

struct Hello {
  std::uint16_t version = 0, min_version = 0;
  std::string program;
};
Result<Hello> parse_hello(std::string_view payload);
// The version both sides speak: the smaller of the two, if neither finds it too old; else Errc::version.
Result<std::uint16_t> negotiate(const Hello& theirs);
Result<std::uint32_t> parse_window(std::string_view payload);
// An unknown reason (of a newer peer) is read as CancelReason::protocol.
Result<CancelReason> parse_cancel(std::string_view payload);

// What a web request is to the broker. Names of fields are in lower case ("content-type"); values are as
// the web server sent them. Only the fields the broker uses are forwarded (request_fields in worker).
using Fields = std::vector<std::pair<std::string, std::string>>;
std::string_view field(const Fields& fields, std::string_view name);  // the first; empty if absent

struct RequestHead {
  std::string id;           // request id, for the logs of all parts
  std::string method;       // "GET"
  std::string scheme;       // "https"
  std::string host;         // Host header
  std::string target;       // path and query as sent: "/jmap/api?x=1"
  std::string script_name;  // mount point prefix, if any
  std::string remote_address;
  std::string remote_user;  // authenticated by the web server; used only where configured
  std::optional<std::uint64_t> content_length;
  Fields fields;
};
struct ResponseHead {
  std::uint16_t status = 200;  // 200..599
  Fields fields;
};

// Encoding: see head.cpp and docs/frame-protocol.md. too_large: over head_bytes_max or head_fields_max.
// bad_head: not to be parsed (a name that is no token in lower case, a control character in a value).
// What one side encodes, the other parses; both refuse the same.
Result<std::string> encode_request_head(const RequestHead& head);
Result<RequestHead> parse_request_head(std::string_view payload);
Result<std::string> encode_response_head(const ResponseHead& head);
Result<ResponseHead> parse_response_head(std::string_view payload);

// RFC 9110, section 5.6.2 (token), without upper-case letters.
bool is_field_name(std::string_view s);
// No control characters but HTAB (RFC 9110, section 5.5; also what keeps one field from becoming two).
bool is_field_value(std::string_view s);

}  // namespace postern::ipc
template <>
struct std::is_error_code_enum<postern::ipc::Errc> : std::true_type {};
