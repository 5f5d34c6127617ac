// A server and one client that is signed in, with INBOX selected unless told otherwise. For the server's own tests.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "imapd/test_client.hpp"
#include "imapd/test_imapd.hpp"

namespace postern::testimapd {

struct Fixture {
  explicit Fixture(Options options = {}, bool select = true) : server(std::move(options)) {
    server.start();
    client.emplace(server.port());
    if (client->status("LOGIN alice secret").substr(0, 2) != "OK") ADD_FAILURE() << "no login";
    if (select) client->run("SELECT INBOX");
  }
  std::string all(std::string_view command) { return client->all(command); }
  std::string status(std::string_view command) { return client->status(command); }
  // A rule of the control channel: what the server shall do on cue.
  void rule(std::string_view text) { EXPECT_EQ(server.control("on " + std::string(text)), "OK") << text; }

  TestImapd server;
  std::optional<TestClient> client;
};

}  // namespace postern::testimapd
