// A message of a WebSocket: whatever comes is read or refused, the text is as it was, and the answer is a JSON object.
#include <rapidjson/document.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "postern/jmap/socket_message.hpp"

using namespace postern::jmap;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string given(reinterpret_cast<const char*>(data), size);
  auto text = given;
  auto message = parse_socket_message(text);
  if (text != given) std::abort();
  if (message && message->id && message->id->size() > socket_id_bytes_max) std::abort();
  ApiResponse good;
  good.body = "{\"a\":1}";
  const auto answer = message ? socket_answer(std::move(good), message->id)
                              : socket_answer(std::move(message.error().problem), message.error().id);
  rapidjson::Document document;
  document.Parse(answer.data(), answer.size());
  if (document.HasParseError() || !document.IsObject() || !document.HasMember("@type")) std::abort();
  return 0;
}
