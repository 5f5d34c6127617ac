// VacationResponse/get and /set (RFC 8621, 8) over a VacationStore of the test's own, and its capability.
#include "postern/mail/vacation.hpp"

#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct FakeVacation final : mail::VacationStore {
  mail::VacationResponse response;
  mail::SetOutcome outcome{true, {}, {}, {}};
  std::optional<Error> failure;
  bool offered = true, found_out = true;
  int state = 1;

  bool is_offered() const override { return offered; }
  io::Task<bool> ask_whether_offered() override { co_return offered = found_out; }
  io::Task<Result<mail::Snapshot<mail::VacationResponse>>> get() override {
    if (failure) co_return fail(*failure);
    co_return mail::Snapshot<mail::VacationResponse>{response, "v" + std::to_string(state)};
  }
  io::Task<Result<mail::VacationUpdate>> update(std::function<void(mail::VacationResponse&)> change,
                                                std::optional<std::string> if_in_state,
                                                mail::EffectsHook) override {
    if (failure) co_return fail(*failure);
    mail::VacationUpdate update;
    update.old_state = update.new_state = "v" + std::to_string(state);
    update.state_mismatch = if_in_state && *if_in_state != update.old_state;
    update.outcome = outcome;
    if (update.state_mismatch || !outcome.done) co_return update;
    change(response);
    update.new_state = "v" + std::to_string(++state);
    co_return update;
  }
};

struct VacationTest : ApiTest {
  FakeVacation vacation;
  VacationTest() { store.vacation_store = &vacation; }

  ApiResponse request(const std::string& calls) {
    CallContext context{store, "A1", limits, {}, "s1"};
    context.features = known_features(store);
    context.look_again = [this] { return ask_features(store); };
    return await(
        handle_api_request("{\"using\":[\"urn:ietf:params:jmap:core\",\"urn:ietf:params:jmap:"
                           "vacationresponse\"],\"methodCalls\":[" +
                               calls + "]}",
                           std::move(context)));
  }
  std::string get(const std::string& arguments) {
    return request("[\"VacationResponse/get\"," + arguments + ",\"g\"]").body;
  }
  std::string set(const std::string& arguments) {
    return request("[\"VacationResponse/set\"," + arguments + ",\"s\"]").body;
  }
  std::string update(const std::string& patch) {
    return set(R"({"accountId":"A1","update":{"singleton":)" + patch + "}}");
  }
};

TEST_F(VacationTest, GetHasOneObject) {
  EXPECT_THAT(
      get(R"({"accountId":"A1"})"),
      HasSubstr(
          R"({"accountId":"A1","state":"v1","list":[{"id":"singleton","isEnabled":false,"fromDate":null,)"
          R"("toDate":null,"subject":null,"textBody":null,"htmlBody":null}],"notFound":[]})"));
  vacation.response.is_enabled = true;
  vacation.response.from_date = 1'414'649'520;
  vacation.response.subject = "Away";
  EXPECT_THAT(get(R"({"accountId":"A1","ids":["x","singleton","x"],"properties":["subject","fromDate"]})"),
              HasSubstr(R"("list":[{"id":"singleton","fromDate":"2014-10-30T06:12:00Z","subject":"Away"}],)"
                        R"("notFound":["x"])"));
  EXPECT_THAT(get(R"({"accountId":"A1","ids":[]})"), HasSubstr(R"("list":[],"notFound":[])"));
  EXPECT_THAT(get(R"({"accountId":"A1","properties":["nothing"]})"), HasSubstr("invalidArguments"));
  EXPECT_THAT(get(R"({"accountId":"B"})"), HasSubstr("accountNotFound"));
}

TEST_F(VacationTest, UpdateChangesWhatItNames) {
  EXPECT_THAT(
      update(
          R"({"isEnabled":true,"fromDate":"2014-10-30T06:12:00Z","textBody":"gone\nfishing","id":"singleton"})"),
      HasSubstr(R"("oldState":"v1","newState":"v2","created":null,"notCreated":null,)"
                R"("updated":{"singleton":null},"notUpdated":null)"));
  EXPECT_TRUE(vacation.response.is_enabled);
  EXPECT_EQ(vacation.response.from_date, 1'414'649'520);
  EXPECT_EQ(vacation.response.text_body, "gone\nfishing");
  update(R"({"fromDate":null,"subject":"s","htmlBody":"<p>"})");
  EXPECT_FALSE(vacation.response.from_date);
  EXPECT_EQ(vacation.response.text_body, "gone\nfishing");
  EXPECT_EQ(vacation.response.html_body, "<p>");
}

TEST_F(VacationTest, WhatCannotBeUpdated) {
  for (const char* patch :
       {R"({"isEnabled":null})", R"({"isEnabled":1})", R"({"fromDate":"2014-10-30"})",
        R"({"toDate":"2014-10-30T06:12:00+01:00"})", R"({"toDate":"2014-10-30T06:12:00.5Z"})",
        R"({"toDate":"2014-10-30T06:12:60Z"})", R"({"subject":1})", R"({"id":"x"})", R"({"other":1})"})
    EXPECT_THAT(update(patch), HasSubstr(R"("notUpdated":{"singleton":{"type":"invalidProperties")"))
        << patch;
  EXPECT_THAT(update(R"({"subject/x":1})"), HasSubstr("invalidPatch"));
  EXPECT_THAT(update("1"), HasSubstr("invalidPatch"));
  EXPECT_THAT(set(R"({"accountId":"A1","update":{"other":{}}})"), HasSubstr(R"("other":{"type":"notFound")"));
  EXPECT_EQ(vacation.state, 1);
}

TEST_F(VacationTest, ThereIsExactlyOne) {
  const auto response = set(
      R"({"accountId":"A1","create":{"a":{}},"destroy":["singleton","x"],"update":{"singleton":{"subject":"s"}}})");
  EXPECT_THAT(response, HasSubstr(R"("notCreated":{"a":{"type":"singleton")"));
  EXPECT_THAT(response, HasSubstr(R"("notDestroyed":{"singleton":{"type":"singleton")"));
  EXPECT_THAT(response, HasSubstr(R"("x":{"type":"notFound")"));
  EXPECT_THAT(response, HasSubstr(R"("updated":{"singleton":null})"));
}

TEST_F(VacationTest, IfInState) {
  EXPECT_THAT(set(R"({"accountId":"A1","ifInState":"v0"})"), HasSubstr("stateMismatch"));
  EXPECT_THAT(set(R"({"accountId":"A1","ifInState":"v1"})"), HasSubstr(R"("oldState":"v1","newState":"v1")"));
  EXPECT_THAT(set(R"({"accountId":"A1","ifInState":"v0","update":{"singleton":{}}})"),
              HasSubstr("stateMismatch"));
}

TEST_F(VacationTest, Failures) {
  const std::vector<std::pair<mail::Errc, std::string>> cases{
      {mail::Errc::server_unavailable, "serverUnavailable"},
      {mail::Errc::authentication, "forbidden"},
      {mail::Errc::outcome_unknown, "serverFail"},
      {mail::Errc::server_refused, "serverFail"}};
  for (const auto& [code, type] : cases) {
    vacation.failure = Error(make_error_code(code));
    EXPECT_THAT(get(R"({"accountId":"A1"})"), HasSubstr("\"type\":\"" + type)) << type;
    EXPECT_THAT(update("{}"), HasSubstr("\"type\":\"" + type)) << type;
    EXPECT_THAT(set(R"({"accountId":"A1"})"), HasSubstr("\"type\":\"" + type)) << type;
  }
  vacation.failure.reset();
  vacation.outcome = {false, "overQuota", "full", {}};
  EXPECT_THAT(update("{}"),
              HasSubstr(R"("notUpdated":{"singleton":{"type":"overQuota","description":"full"}})"));
}

TEST_F(VacationTest, IsThereWhereTheServerHasIt) {
  std::string state, without;
  EXPECT_THAT(session_resource({"a", "A1", "https://x", known_features(store)}, limits, state),
              HasSubstr(std::string(capability_vacation)));
  vacation.offered = false;
  EXPECT_THAT(session_resource({"a", "A1", "https://x", known_features(store)}, limits, without),
              Not(HasSubstr(std::string(capability_vacation))));
  EXPECT_NE(state, without);
  // What wasn't known is asked for before anything is refused.
  EXPECT_THAT(get(R"({"accountId":"A1"})"), HasSubstr("singleton"));
  vacation.offered = vacation.found_out = false;
  EXPECT_THAT(get(R"({"accountId":"A1"})"), HasSubstr("unknownCapability"));
  EXPECT_THAT(call("VacationResponse/get", R"({"accountId":"A1"})"), HasSubstr("unknownMethod"));
}

}  // namespace
}  // namespace postern::jmap
