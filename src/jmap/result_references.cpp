// JSON pointers with "*", evaluated on earlier responses, each of which is parsed at most once.
#include "jmap/result_references.hpp"

#include <algorithm>

namespace postern::jmap {
namespace {

using Allocator = rapidjson::Document::AllocatorType;

// An array index of RFC 6901: digits without a leading zero.
std::optional<rapidjson::SizeType> array_index(std::string_view token, rapidjson::SizeType size) {
  if (token.empty() || token.size() > 9 || (token.size() > 1 && token[0] == '0')) return std::nullopt;
  rapidjson::SizeType n = 0;
  for (char c : token) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + static_cast<rapidjson::SizeType>(c - '0');
  }
  return n < size ? std::optional(n) : std::nullopt;
}

}  // namespace

std::optional<rapidjson::Value> evaluate_pointer(const rapidjson::Value& root, std::string_view path,
                                                 Allocator& allocator) {
  const rapidjson::Value* at = &root;
  while (!path.empty()) {
    if (path[0] != '/') return std::nullopt;
    const auto end = path.find('/', 1);
    const auto token = path.substr(1, end == std::string_view::npos ? end : end - 1);
    const auto rest = end == std::string_view::npos ? std::string_view{} : path.substr(end);
    if (at->IsArray() && token == "*") {
      // Applied to each item; arrays that come out are joined.
      rapidjson::Value joined(rapidjson::kArrayType);
      for (const auto& item : at->GetArray()) {
        auto value = evaluate_pointer(item, rest, allocator);
        if (!value) return std::nullopt;
        if (value->IsArray()) {
          for (auto& inner : value->GetArray()) joined.PushBack(inner, allocator);
        } else {
          joined.PushBack(*value, allocator);
        }
        if (joined.Size() > reference_values_max) return std::nullopt;
      }
      return joined;
    }
    if (at->IsArray()) {
      auto index = array_index(token, at->Size());
      if (!index) return std::nullopt;
      at = &(*at)[*index];
    } else if (at->IsObject()) {
      const auto name = unescape_pointer(token);
      const auto member = at->FindMember(
          rapidjson::Value(rapidjson::StringRef(name.data(), static_cast<rapidjson::SizeType>(name.size()))));
      if (member == at->MemberEnd()) return std::nullopt;
      at = &member->value;
    } else {
      return std::nullopt;
    }
    path = rest;
  }
  return rapidjson::Value(*at, allocator);
}

void Responses::add(std::string name, std::string arguments, std::string call_id) {
  octets_ += arguments.size();
  all_.push_back(Response{std::move(name), std::move(arguments), std::move(call_id)});
}

std::expected<rapidjson::Value, std::string> Responses::resolve(std::string_view call_id,
                                                                std::string_view name, std::string_view path,
                                                                Allocator& allocator) {
  auto it = std::find_if(all_.begin(), all_.end(), [&](const Response& r) { return r.call_id == call_id; });
  if (it == all_.end()) return std::unexpected("resultOf names no earlier call");
  if (it->name != name) return std::unexpected("the call's response has another name: " + it->name);
  // What is copied into arguments is charged by the size of where it comes from.
  octets_referred_ += it->arguments.size();
  if (octets_referred_ > response_octets_max) return std::unexpected("too much is referred to");
  if (!it->parsed) it->values = json_shape(it->arguments).values;
  values_referred_ += it->values;
  if (values_referred_ > json_values_max) return std::unexpected("too many values are referred to");
  if (!it->parsed) it->parsed = std::make_unique<JsonText>(it->arguments, JsonText::Source::json_writer);
  auto value = evaluate_pointer(it->parsed->document(), path, allocator);
  if (!value) return std::unexpected("path points to nothing");
  return std::move(*value);
}

std::expected<void, MethodError> resolve_references(rapidjson::Value& arguments, Responses& responses,
                                                    Allocator& allocator) {
  std::size_t references = 0;
  // Names are compared by their whole length: an escaped NUL in one is part of it.
  for (auto member = arguments.MemberBegin(); member != arguments.MemberEnd(); ++member) {
    const std::string reference(text_of(member->name));
    if (!reference.starts_with('#')) continue;
    if (++references > result_references_max)
      return method_error("invalidResultReference", "too many references in one call");
    const auto name = reference.substr(1);
    if (find_member(arguments, name) != nullptr)
      return method_error("invalidArguments", name + " is given both as a value and as a reference");
    const auto& value = member->value;
    if (!value.IsObject())
      return method_error("invalidResultReference", reference + " must be a ResultReference");
    auto result_of = require_string(value, "resultOf", json_pointer({}, reference));
    auto method = require_string(value, "name", json_pointer({}, reference));
    auto path = require_string(value, "path", json_pointer({}, reference));
    for (const auto* part : {&result_of, &method, &path})
      if (!*part) return method_error("invalidResultReference", part->error().description());
    auto resolved = responses.resolve(*result_of, *method, *path, allocator);
    if (!resolved) return method_error("invalidResultReference", reference + ": " + resolved.error());
    member->name = rapidjson::Value(name.data(), static_cast<rapidjson::SizeType>(name.size()), allocator);
    member->value = std::move(*resolved);
  }
  return {};
}

}  // namespace postern::jmap
