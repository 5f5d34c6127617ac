// Messages of a WebSocket: what is read out of them, what is refused, and the answers' form.
#include "postern/jmap/socket_message.hpp"

#include <gtest/gtest.h>

namespace postern::jmap {
namespace {

using Kind = SocketMessage::Kind;

std::string refused(std::string text) {
  const auto message = parse_socket_message(text);
  EXPECT_FALSE(message) << text;
  return message ? std::string() : message.error().problem.body;
}

TEST(SocketMessage, ARequestIsLeftAsItIs) {
  const std::string request =
      R"({"id":"r1","using":["a"],"methodCalls":[["x",{"@type":"y","id":3,"pushState":{}},"0"]],"@type":"Request"})";
  auto text = request;
  const auto message = parse_socket_message(text);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, Kind::request);
  EXPECT_EQ(message->id, "r1");
  EXPECT_EQ(text, request);
}

TEST(SocketMessage, WishesToBeTold) {
  std::string text = R"({"@type":"WebSocketPushEnable","dataTypes":["Email","Mailbox"],"pushState":"1.2"})";
  auto message = parse_socket_message(text);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, Kind::push_enable);
  EXPECT_EQ(*message->data_types, (std::vector<std::string>{"Email", "Mailbox"}));
  EXPECT_EQ(message->push_state, "1.2");
  text = R"({"@type":"WebSocketPushEnable","dataTypes":null,"pushState":null})";
  message = parse_socket_message(text);
  ASSERT_TRUE(message);
  EXPECT_FALSE(message->data_types || message->push_state);
  text = R"({"@type":"WebSocketPushDisable"})";
  EXPECT_EQ(parse_socket_message(text)->kind, Kind::push_disable);
}

TEST(SocketMessage, WhatIsNoJson) {
  for (const auto* text : {"", "{", "{}x", "{\"@type\":\"\xff\"}", "{'a':1}"})
    EXPECT_NE(refused(text).find("notJSON"), std::string::npos) << text;
  EXPECT_NE(refused(std::string("{}\0", 3)).find("notJSON"), std::string::npos);
}

TEST(SocketMessage, WhatIsNoMessage) {
  for (const auto* text :
       {"3", "null", "[]", "\"x\"", "{}", R"({"@type":"Response"})", R"({"@type":3})", R"({"@type":{}})",
        R"({"@type":"Request","id":["x"]})", R"({"@type":"WebSocketPushEnable","dataTypes":"Email"})",
        R"({"@type":"WebSocketPushEnable","dataTypes":[3]})",
        R"({"@type":"WebSocketPushEnable","dataTypes":[["x"]]})",
        R"({"@type":"WebSocketPushEnable","pushState":3})"})
    EXPECT_NE(refused(text).find("notRequest"), std::string::npos) << text;
}

TEST(SocketMessage, Bounds) {
  const auto with_id = [](std::size_t size) {
    return R"({"@type":"Request","id":")" + std::string(size, 'x') + "\"}";
  };
  auto text = with_id(socket_id_bytes_max);
  EXPECT_TRUE(parse_socket_message(text));
  refused(with_id(socket_id_bytes_max + 1));
  const auto with_types = [](std::size_t count, std::size_t size) {
    std::string types;
    for (std::size_t i = 0; i < count; ++i) types += (i == 0 ? "\"" : ",\"") + std::string(size, 'x') + "\"";
    return R"({"@type":"WebSocketPushEnable","dataTypes":[)" + types + "]}";
  };
  text = with_types(socket_types_max, socket_type_bytes_max);
  EXPECT_TRUE(parse_socket_message(text));
  refused(with_types(socket_types_max + 1, 1));
  refused(with_types(1, socket_type_bytes_max + 1));
  const auto with_state = [](std::size_t size) {
    return R"({"@type":"WebSocketPushEnable","pushState":")" + std::string(size, 'x') + "\"}";
  };
  text = with_state(socket_push_state_bytes_max);
  EXPECT_TRUE(parse_socket_message(text));
  refused(with_state(socket_push_state_bytes_max + 1));
  const auto nested = [](std::size_t depth) {
    return R"({"@type":"Request","x":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  text = nested(json_depth_max);
  EXPECT_TRUE(parse_socket_message(text));
  refused(nested(json_depth_max + 1));
}

TEST(SocketMessage, Answers) {
  ApiResponse response;
  response.body = R"({"methodResponses":[]})";
  EXPECT_EQ(socket_answer(response, "a\"b"),
            R"({"@type":"Response","requestId":"a\"b","methodResponses":[]})");
  EXPECT_EQ(socket_answer(response, std::nullopt), R"({"@type":"Response","methodResponses":[]})");
  EXPECT_EQ(
      socket_answer(problem(400, "notJSON", "why"), std::nullopt),
      R"({"@type":"RequestError","requestId":null,"type":"urn:ietf:params:jmap:error:notJSON","status":400,)"
      R"("detail":"why"})");
}

}  // namespace
}  // namespace postern::jmap
