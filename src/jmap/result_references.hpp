// Result references (RFC 8620, 3.7). Private to the jmap layer.
#pragma once

#include <deque>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "jmap/methods.hpp"

namespace postern::jmap {

// The responses so far. A response is parsed again only if something refers to it.
class Responses {
 public:
  struct Response {
    std::string name, arguments, call_id;
    std::unique_ptr<JsonText> parsed = {};
    std::size_t values = 0;  // of JSON, where it was parsed
  };
  void add(std::string name, std::string arguments, std::string call_id);
  const std::deque<Response>& all() const { return all_; }
  // Octets of all responses so far.
  std::size_t octets() const { return octets_; }
  // The value that `path` points to in the response to `call_id`, valid as long as the responses, in memory of
  // `allocator`; the description of an invalidResultReference otherwise.
  std::expected<rapidjson::Value, std::string> resolve(std::string_view call_id, std::string_view name,
                                                       std::string_view path,
                                                       rapidjson::Document::AllocatorType& allocator);

 private:
  std::deque<Response> all_;
  std::size_t octets_ = 0, octets_referred_ = 0, values_referred_ = 0;
};

inline constexpr std::size_t result_references_max = 32;  // in one method call

// Replaces each "#name" of a method's arguments by what it refers to.
std::expected<void, MethodError> resolve_references(rapidjson::Value& arguments, Responses& responses,
                                                    rapidjson::Document::AllocatorType& allocator);

// The pointer with "*" for arrays (RFC 8620, 3.7), on any value. Nullopt where it points nowhere.
inline constexpr std::size_t reference_values_max = 100'000;
std::optional<rapidjson::Value> evaluate_pointer(const rapidjson::Value& root, std::string_view path,
                                                 rapidjson::Document::AllocatorType& allocator);

}  // namespace postern::jmap
