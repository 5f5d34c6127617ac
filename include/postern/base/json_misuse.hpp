// What RapidJSON's assertions do in all of Postern: they throw. Given to the compiler in front of each source that uses
// RapidJSON (src/rapidjson/meson.build), so that no two sources disagree.
#pragma once

#include <stdexcept>

namespace postern {

// A JSON value was used as what it isn't, brought about by something that was sent. It's a bug, and costs the one
// request that met it; each layer catches it where a request comes in.
class JsonMisuse : public std::logic_error {
 public:
  explicit JsonMisuse(const char* broken) : std::logic_error(broken) {}  // the assertion that doesn't hold
};

}  // namespace postern

// NOLINTBEGIN(cppcoreguidelines-macro-usage): RapidJSON's way to be told
#define RAPIDJSON_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : throw ::postern::JsonMisuse(#condition))
// Assertions stand in functions that RapidJSON would declare noexcept: an exception from there would end the process.
#define RAPIDJSON_HAS_CXX11_NOEXCEPT 0
// NOLINTEND(cppcoreguidelines-macro-usage)
