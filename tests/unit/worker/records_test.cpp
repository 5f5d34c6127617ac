// FastCGI records of an answer, and the pause before a dead process is started again.
#include <gtest/gtest.h>

#include "worker/fcgi_request.hpp"
#include "worker/supervisor.hpp"

namespace postern::worker {
namespace {

using namespace std::chrono_literals;

struct Record {
  int type;
  std::size_t content;
};

// Lays out, joins, and reads the records back.
std::vector<Record> records_of(const std::vector<std::string_view>& pieces, bool end, std::string& content) {
  std::string headers;
  std::vector<iovec> parts;
  lay_out_records(pieces, 0x0102, end, headers, parts);
  std::string bytes;
  for (const auto& part : parts) bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
  std::vector<Record> records;
  content.clear();
  for (std::size_t at = 0; at < bytes.size();) {
    const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(bytes.at(at + i)); };
    EXPECT_EQ(octet(0), 1);
    EXPECT_EQ(octet(2), 1);
    EXPECT_EQ(octet(3), 2);
    EXPECT_EQ(octet(6), 0);
    const std::size_t length = octet(4) * 256u + octet(5);
    records.push_back({octet(1), length});
    if (octet(1) == 6) content += bytes.substr(at + 8, length);
    at += 8 + length;
  }
  return records;
}

TEST(Records, HeadAndBodyAreOneRecord) {
  std::string content;
  const auto records = records_of({"head", "body"}, true, content);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].content, 8u);
  EXPECT_EQ(records[1].type, 6);
  EXPECT_EQ(records[1].content, 0u);
  EXPECT_EQ(records[2].type, 3);
  EXPECT_EQ(records[2].content, 8u);
  EXPECT_EQ(content, "headbody");
}

TEST(Records, WithoutAnythingAndWithoutEnd) {
  std::string content;
  EXPECT_TRUE(records_of({}, false, content).empty());
  EXPECT_EQ(records_of({}, true, content).size(), 2u);
}

TEST(Records, ContentAtTheLimitAndOnePast) {
  std::string content;
  const std::string body(65'528 + 1, 'b');
  EXPECT_EQ(records_of({std::string_view(body).substr(1)}, false, content).size(), 1u);
  const auto records = records_of({body}, false, content);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].content, 1u);
  EXPECT_EQ(content, body);
}

TEST(Records, AsManyPiecesAsAreAllowed) {
  std::string content, expected;
  std::vector<std::string> bodies;
  for (std::size_t i = 0; i < FcgiRequest::pieces_max; ++i)
    bodies.emplace_back(5'000, static_cast<char>('0' + i));
  std::vector<std::string_view> pieces;
  for (const auto& body : bodies) {
    pieces.emplace_back(body);
    expected += body;
  }
  EXPECT_EQ(records_of(pieces, true, content).size(), 5u + 2u);
  EXPECT_EQ(content, expected);
}

TEST(Backoff, GrowsForTheYoungOnly) {
  Backoff backoff;
  EXPECT_EQ(backoff.after_death(0s), 100ms);
  EXPECT_EQ(backoff.after_death(1s), 200ms);
  for (int i = 0; i < 20; ++i) backoff.after_death(0s);
  EXPECT_EQ(backoff.after_death(Backoff::young - 1ns), Backoff::last);
  EXPECT_EQ(backoff.after_death(Backoff::young), 0ms);
  EXPECT_EQ(backoff.after_death(0s), Backoff::first);
}

}  // namespace
}  // namespace postern::worker
