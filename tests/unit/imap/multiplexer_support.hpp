// A sink and an observer that write down what they are told.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "postern/imap/multiplexer.hpp"

namespace postern::imap {

struct RecordingSink : CommandSink {
  std::vector<std::size_t> data;  // Response::index() of each
  std::vector<std::uint32_t> numbers;
  std::vector<std::string> continuations;
  std::deque<std::optional<std::string>> answers;
  int done = 0;
  bool ok = false;
  Error error;
  std::string text;  // of the tagged response, OK or not
  std::function<void()> when_data, when_done;

  void on_data(Response& response) override {
    EXPECT_EQ(done, 0) << "data behind the end";
    data.push_back(response.index());
    if (const auto* r = std::get_if<SearchResponse>(&response)) numbers = r->numbers;
    if (const auto* r = std::get_if<SortResponse>(&response)) numbers = r->numbers;
    if (when_data) when_data();
  }
  std::optional<std::string> on_continuation(const Continuation& continuation) override {
    EXPECT_EQ(done, 0);
    continuations.push_back(continuation.text);
    if (answers.empty()) return std::nullopt;
    auto answer = answers.front();
    answers.pop_front();
    return answer;
  }
  void on_done(Result<StatusResponse> result, const StatusResponse* refusal) override {
    ++done;
    ok = result.has_value();
    if (ok) {
      text = result->text;
      EXPECT_EQ(refusal, nullptr);
    } else {
      error = result.error();
      if (refusal) text = refusal->text;
    }
    if (when_done) when_done();
  }
};

struct RecordingObserver : UntaggedObserver {
  std::vector<std::size_t> seen;
  void on_untagged(Response& response) override { seen.push_back(response.index()); }
};

template <typename T>
constexpr std::size_t index_of = [] {
  return []<typename... Ts>(std::variant<Ts...>*) {
    std::size_t i = 0, found = 0;
    ((std::is_same_v<T, Ts> ? found = i++ : i++), ...);
    return found;
  }(static_cast<Response*>(nullptr));
}();

inline Command command(std::string text, Expect expect = Expect::none, bool exclusive = false) {
  Command c;
  c.name = text.substr(0, text.find(' '));
  c.chunks = {std::move(text)};
  c.expect = expect;
  c.exclusive = exclusive;
  return c;
}

// A multiplexer that has had its greeting.
struct Connection {
  RecordingObserver observer;
  Multiplexer mux;
  explicit Connection(MultiplexerLimits limits = {}) : mux(&observer, limits) {
    EXPECT_TRUE(mux.feed("* OK ready\r\n"));
    observer.seen.clear();
  }
  CommandId submit(Command c, CommandSink& sink) {
    auto id = mux.submit(std::move(c), sink);
    EXPECT_TRUE(id);
    return id.value_or(0);
  }
  void feed(std::string_view octets) {
    const auto ok = mux.feed(octets);
    EXPECT_TRUE(ok) << (ok ? "" : ok.error().to_string());
  }
  std::error_code refused(std::string_view octets) {
    const auto ok = mux.feed(octets);
    return ok ? std::error_code() : ok.error().code;
  }
};

}  // namespace postern::imap
