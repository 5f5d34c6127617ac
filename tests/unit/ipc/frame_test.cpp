// The frame codec: every type there and back, split at every octet, bounds at the limit and one past it.
#include "postern/ipc/frame.hpp"

#include <gtest/gtest.h>

namespace postern::ipc {
namespace {

struct Seen {
  FrameType type;
  std::uint8_t flags;
  std::uint32_t stream;
  std::string payload;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// Feeds `bytes` in pieces of `piece` octets, as a reader would.
Result<std::vector<Seen>> read_all(std::string_view bytes, std::size_t piece) {
  std::vector<Seen> seen;
  std::string buffer;
  while (!bytes.empty()) {
    buffer.append(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    std::string_view rest = buffer;
    for (;;) {
      auto frame = next_frame(rest);
      if (!frame) return fail(frame.error());
      if (!*frame) break;
      seen.push_back({(*frame)->type, (*frame)->flags, (*frame)->stream, std::string((*frame)->payload)});
    }
    buffer.erase(0, buffer.size() - rest.size());
  }
  if (!buffer.empty()) return fail(Errc::closed, "left over");
  return seen;
}

std::string header(std::uint32_t length, std::uint8_t type, std::uint8_t flags, std::uint16_t reserved,
                   std::uint32_t stream) {
  std::string out;
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(length >> (8 * i)));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  for (int i = 0; i < 2; ++i) out.push_back(static_cast<char>(reserved >> (8 * i)));
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(stream >> (8 * i)));
  return out;
}

std::error_code error_of(std::string_view bytes) {
  auto frame = next_frame(bytes);
  return frame ? std::error_code() : frame.error().code;
}

TEST(Frame, IsLaidOutAsDocumented) {
  std::string out;
  append_frame(out, FrameType::data, end_stream, 0x01020304, "ab");
  EXPECT_EQ(out, std::string("\x02\0\0\0\x04\x01\0\0\x04\x03\x02\x01"
                             "ab",
                             14));
}

TEST(Frame, SplitAtEveryOctet) {
  std::string bytes;
  append_hello(bytes, "postern-fcgi 1");
  append_frame(bytes, FrameType::request, 0, 1, "head");
  append_frame(bytes, FrameType::response, end_stream, 1, "head");
  append_body(bytes, 1, "some octets", true);
  append_window(bytes, 2, 4096);
  append_cancel(bytes, 3, CancelReason::too_slow);
  append_frame(bytes, FrameType::effects, 0, 4, {});
  append_frame(bytes, FrameType::ping, 0, 0, "12345678");
  append_frame(bytes, FrameType::pong, 0, 0, "12345678");
  append_frame(bytes, FrameType::goodbye, 0, 0, {});
  const auto whole = read_all(bytes, bytes.size());
  ASSERT_TRUE(whole) << whole.error().to_string();
  ASSERT_EQ(whole->size(), 10u);
  EXPECT_EQ((*whole)[1], (Seen{FrameType::request, 0, 1, "head"}));
  EXPECT_EQ((*whole)[3], (Seen{FrameType::data, end_stream, 1, "some octets"}));
  for (std::size_t piece = 1; piece < bytes.size(); ++piece) {
    const auto cut = read_all(bytes, piece);
    ASSERT_TRUE(cut) << piece;
    EXPECT_EQ(*cut, *whole) << piece;
  }
}

TEST(Frame, EveryPrefixIsIncompleteAndTakesNothing) {
  std::string bytes;
  append_frame(bytes, FrameType::data, 0, 7, "0123456789");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::string_view data(bytes.data(), size);
    auto frame = next_frame(data);
    ASSERT_TRUE(frame) << size;
    EXPECT_FALSE(*frame) << size;
    EXPECT_EQ(data.size(), size);
  }
}

TEST(Frame, DataAtTheLimitAndOnePast) {
  std::string bytes;
  append_frame(bytes, FrameType::data, 0, 1, std::string(frame_payload_bytes_max, 'x'));
  EXPECT_EQ(bytes.size(), frame_header_bytes + frame_payload_bytes_max);
  std::string_view data = bytes;
  auto frame = next_frame(data);
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->payload.size(), frame_payload_bytes_max);
  // One past it is refused from the header alone.
  EXPECT_EQ(error_of(header(frame_payload_bytes_max + 1, 4, 0, 0, 1)), make_error_code(Errc::too_large));
  EXPECT_EQ(error_of(header(0xffffffff, 4, 0, 0, 1)), make_error_code(Errc::too_large));
}

TEST(Frame, HeadsAtTheLimitAndOnePast) {
  for (std::uint8_t type : {2, 3}) {
    EXPECT_FALSE(error_of(header(head_bytes_max, type, 0, 0, 1)));
    EXPECT_EQ(error_of(header(head_bytes_max + 1, type, 0, 0, 1)), make_error_code(Errc::too_large));
    EXPECT_EQ(error_of(header(0, type, 0, 0, 1)), make_error_code(Errc::bad_frame));
  }
}

TEST(Frame, RefusesWhatNoTypeAllows) {
  const auto bad = make_error_code(Errc::bad_frame);
  EXPECT_EQ(error_of(header(0, 0, 0, 0, 1)), bad) << "type 0";
  EXPECT_EQ(error_of(header(0, frame_type_last + 1, 0, 0, 1)), bad) << "type past the last";
  EXPECT_EQ(error_of(header(1, 4, 2, 0, 1)), bad) << "unknown flag";
  EXPECT_EQ(error_of(header(1, 4, 0, 1, 1)), bad) << "reserved bits";
  EXPECT_EQ(error_of(header(1, 4, 0, 0, 0)), bad) << "data on stream 0";
  EXPECT_EQ(error_of(header(0, 10, 0, 0, 1)), bad) << "goodbye on a stream";
  EXPECT_EQ(error_of(header(4, 5, 1, 0, 1)), bad) << "a window that ends the stream";
  EXPECT_EQ(error_of(header(0, 4, 0, 0, 1)), bad) << "data that is neither octets nor end";
  EXPECT_FALSE(error_of(header(0, 4, 1, 0, 1) + "")) << "the end alone is fine";
  EXPECT_EQ(error_of(header(1, 4, 0, 0, stream_id_max + 1)), bad) << "stream number past the last";
  EXPECT_FALSE(error_of(header(1, 4, 0, 0, stream_id_max)));
  EXPECT_EQ(error_of(header(3, 5, 0, 0, 1)), bad) << "short window";
  EXPECT_EQ(error_of(header(5, 5, 0, 0, 1)), make_error_code(Errc::too_large)) << "long window";
  EXPECT_EQ(error_of(header(7, 8, 0, 0, 0)), bad) << "short ping";
  EXPECT_EQ(error_of(header(1, 7, 0, 0, 1)), make_error_code(Errc::too_large)) << "effects with a payload";
}

TEST(Frame, BodyIsCutIntoFrames) {
  const std::string body(2 * frame_payload_bytes_max + 5, 'b');
  std::string bytes;
  append_body(bytes, 9, body, true);
  const auto seen = read_all(bytes, 4096);
  ASSERT_TRUE(seen);
  ASSERT_EQ(seen->size(), 3u);
  EXPECT_EQ((*seen)[0].flags, 0);
  EXPECT_EQ((*seen)[1].flags, 0);
  EXPECT_EQ((*seen)[2].flags, end_stream);
  EXPECT_EQ((*seen)[2].payload.size(), 5u);

  std::string none;
  append_body(none, 9, {}, false);
  EXPECT_EQ(none, "");
  append_body(none, 9, {}, true);
  EXPECT_EQ(none, header(0, 4, 1, 0, 9));
  std::string exact;
  append_body(exact, 9, std::string(frame_payload_bytes_max, 'b'), true);
  EXPECT_EQ(exact.size(), frame_header_bytes + frame_payload_bytes_max) << "no empty frame behind a full one";
}

TEST(Hello, ThereAndBack) {
  std::string bytes;
  append_hello(bytes, "posternd 0.1.0");
  std::string_view data = bytes;
  auto frame = next_frame(data);
  ASSERT_TRUE(frame && *frame);
  auto hello = parse_hello((*frame)->payload);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->version, protocol_version);
  EXPECT_EQ(hello->min_version, protocol_version_min);
  EXPECT_EQ(hello->program, "posternd 0.1.0");
  EXPECT_EQ(negotiate(*hello).value(), protocol_version);
}

TEST(Hello, ProgramAtTheLimitAndOnePast) {
  std::string bytes;
  append_hello(bytes, std::string(hello_program_bytes_max + 1, 'p'));  // cut
  std::string_view data = bytes;
  auto frame = next_frame(data);
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ(parse_hello((*frame)->payload)->program.size(), hello_program_bytes_max);
  EXPECT_EQ(error_of(header(4 + hello_program_bytes_max + 1, 1, 0, 0, 0)), make_error_code(Errc::too_large));
}

TEST(Hello, Versions) {
  EXPECT_EQ(negotiate({protocol_version + 1, protocol_version, "newer"}).value(), protocol_version);
  const auto too_new = negotiate({protocol_version + 1, protocol_version + 1, "much newer"});
  ASSERT_FALSE(too_new);
  EXPECT_EQ(too_new.error().code, make_error_code(Errc::version));
  EXPECT_FALSE(negotiate({protocol_version_min - 1, 0, "older"}));
}

TEST(Hello, Malformed) {
  using namespace std::string_literals;
  EXPECT_FALSE(parse_hello(""));
  EXPECT_FALSE(parse_hello("\1\0\1"s));
  EXPECT_TRUE(parse_hello("\1\0\1\0"s));
  EXPECT_FALSE(parse_hello("\1\0\2\0"s)) << "oldest version above the newest";
  EXPECT_FALSE(parse_hello("\1\0\0\0"s)) << "version 0";
  EXPECT_FALSE(parse_hello("\1\0\1\0a\nb"s)) << "a line end, which would reach a log";
}

TEST(Window, Payload) {
  using namespace std::string_literals;
  EXPECT_EQ(parse_window("\0\1\0\0"s).value(), 256u);
  EXPECT_FALSE(parse_window("\0\0\0\0"s));
  EXPECT_FALSE(parse_window("\1\0\0"s));
  EXPECT_FALSE(parse_window("\1\0\0\0\0"s));
}

TEST(Cancel, Payload) {
  using namespace std::string_literals;
  EXPECT_EQ(parse_cancel("\1"s).value(), CancelReason::browser_gone);
  EXPECT_EQ(parse_cancel("\5"s).value(), CancelReason::refused);
  EXPECT_EQ(parse_cancel("\6"s).value(), CancelReason::protocol) << "one past the last";
  EXPECT_EQ(parse_cancel("\x63"s).value(), CancelReason::protocol) << "unknown reason";
  EXPECT_FALSE(parse_cancel(""));
  EXPECT_FALSE(parse_cancel("\1\1"s));
}

}  // namespace
}  // namespace postern::ipc
