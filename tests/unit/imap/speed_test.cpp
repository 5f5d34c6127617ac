// Orders of magnitude that the index fill and a sort of a big mailbox depend on. The bounds are some twenty times
// what is measured in an optimised build, so that sanitizers and busy machines pass, and a quadratic parser doesn't.
#include <chrono>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

template <typename Work>
double seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Speed, AnIndexFillOf100000Lines) {
  const std::string data = repeated(
      "* 12 FETCH (UID 34 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 999)\r\n",
      100'000);
  std::size_t messages = 0;
  const double elapsed = seconds([&] {
    Fragmenter fragmenter;
    std::string_view left = data;
    for (auto next = fragmenter.next(left); next && *next; next = fragmenter.next(left)) {
      messages += std::get<FetchResponse>(*parse_response(**next)).data.uid == 34u;
    }
  });
  EXPECT_EQ(messages, 100'000u);
  RecordProperty("microseconds_a_line", std::to_string(elapsed * 10));
  EXPECT_LT(elapsed, 3);
}

TEST(Speed, ASortOf100000Numbers) {
  std::string line = "* SORT";
  for (std::size_t i = 0; i < 100'000; ++i) line += ' ' + std::to_string(1'000'000 + i * 7 % 100'000);
  std::size_t numbers = 0;
  const double elapsed =
      seconds([&] { numbers = std::get<SortResponse>(*parse_response(line)).numbers.size(); });
  EXPECT_EQ(numbers, 100'000u);
  RecordProperty("milliseconds", std::to_string(elapsed * 1000));
  EXPECT_LT(elapsed, 0.2);
}

TEST(Speed, AResponseInOctets) {
  const std::string data = "* 1 FETCH (BODY[] {300000}\r\n" + std::string(300'000, 'x') + ")\r\n";
  std::size_t found = 0;
  const double elapsed = seconds([&] {
    Fragmenter fragmenter;
    for (const char& c : data) {
      std::string_view octet(&c, 1);
      const auto next = fragmenter.next(octet);
      found += next && *next;
    }
  });
  EXPECT_EQ(found, 1u);
  EXPECT_LT(elapsed, 3);
}

}  // namespace
}  // namespace postern::imap
