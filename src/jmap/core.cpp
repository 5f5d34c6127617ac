// Core/echo (RFC 8620, 4) and the session resource (RFC 8620, 2).
#include "jmap/capabilities.hpp"
#include "jmap/methods.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {

io::Task<MethodResult> core_echo(CallContext&, const rapidjson::Value& arguments) {
  std::string out;
  JsonWriter(out).value(arguments);
  co_return out;
}

namespace {

// Of no account's capabilities, so that accounts with the same ones share it.
std::uint64_t hash_of_capabilities(const AccountFeatures& features, const Limits& limits) {
  std::string document;
  JsonWriter writer(document);
  writer.start_object();
  write_capabilities(writer, {{}, {}, {}, features}, limits);
  return stable_hash64(document);
}

std::string state_of(const SessionInfo& info, std::uint64_t capabilities) {
  std::string parts(POSTERN_VERSION);
  for (const auto* part : {&info.username, &info.account_id, &info.base_url})
    parts.append(*part).push_back('\0');
  parts.append(std::to_string(capabilities));
  return std::to_string(stable_hash64(parts));
}

}  // namespace

std::string SessionStates::of(const SessionInfo& info, const Limits& limits) {
  for (const auto& known : known_)
    if (known.features == info.features && known.limits == limits) return state_of(info, known.hash);
  if (known_.size() == known_max) known_.erase(known_.begin());
  known_.push_back({info.features, limits, hash_of_capabilities(info.features, limits)});
  return state_of(info, known_.back().hash);
}

std::string session_resource(const SessionInfo& info, const Limits& limits, std::string& state) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  write_capabilities(writer, info, limits);
  writer.member("username", info.username);
  writer.member("apiUrl", info.base_url + "/jmap/api");
  writer.member("downloadUrl", info.base_url + "/jmap/download/{accountId}/{blobId}/{name}?accept={type}");
  writer.member("uploadUrl", info.base_url + "/jmap/upload/{accountId}/");
  writer.member("eventSourceUrl",
                info.base_url + "/jmap/events/?types={types}&closeafter={closeafter}&ping={ping}");
  state = state_of(info, hash_of_capabilities(info.features, limits));
  writer.member("state", state);
  writer.end_object();
  return out;
}

}  // namespace postern::jmap
