// Parsing in one expression, for tests: a response of type T, or a test failure and an empty one.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>

#include "postern/imap/parser.hpp"

namespace postern::imap {

template <typename T>
T parsed(std::string_view text) {
  auto response = parse_response(text);
  if (!response) {
    ADD_FAILURE() << text.substr(0, 200) << ": " << response.error().to_string();
    return {};
  }
  if (!std::holds_alternative<T>(*response)) {
    ADD_FAILURE() << text.substr(0, 200) << ": another kind of response (" << response->index() << ")";
    return {};
  }
  return std::get<T>(std::move(*response));
}

inline FetchData fetched(std::string_view items) {
  return parsed<FetchResponse>("* 7 FETCH " + std::string(items)).data;
}

// The error's code, or none.
inline std::error_code refusal(std::string_view text) {
  auto response = parse_response(text);
  return response ? std::error_code() : response.error().code;
}

inline std::string repeated(std::string_view piece, std::size_t times) {
  std::string out;
  out.reserve(piece.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += piece;
  return out;
}

}  // namespace postern::imap
