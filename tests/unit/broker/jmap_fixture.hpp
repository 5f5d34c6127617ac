// JMAP requests answered by an account over the test IMAP server, on a loop whose clock the test moves.
#pragma once

#include "postern/jmap/api.hpp"
#include "postern/jmap/json.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::broker {

struct JmapFixture : mail::AccountFixture {
  jmap::Limits limits;

  // The responses of these calls, as octets.
  std::string answer(const std::string& calls) {
    jmap::CallContext context{*account, "A1", limits, {}, "s1"};
    context.clock = &clock;
    context.random = &random;
    return await(jmap::handle_api_request(
                     R"({"using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"],"methodCalls":[)" +
                         calls + "]}",
                     std::move(context)))
        .body;
  }
  // What goes on behind them has ended then, and the connection is idle again. No call may fail.
  rapidjson::Document ask(const std::string& calls) {
    const auto before = imapd->counts().commands_total();
    const auto body = answer(calls);
    rapidjson::Document document;
    document.Parse(body.c_str());
    EXPECT_EQ(body.find("[\"error\""), std::string::npos) << calls << "\n" << body;
    if (imapd->counts().commands_total() != before) idle();
    return document;
  }
  static std::string call(const std::string& name, const std::string& arguments,
                          const std::string& id = "c") {
    return "[\"" + name + R"(",{"accountId":"A1")" + (arguments.empty() ? "" : ",") + arguments + "},\"" +
           id + "\"]";
  }
};

}  // namespace postern::broker
