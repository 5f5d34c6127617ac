// A JMAP API over a Mailstore of the test's own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jmap/result_references.hpp"
#include "postern/jmap/api.hpp"
#include "support/loop_fixture.hpp"

namespace postern::jmap {

struct FakeMailstore final : mail::Mailstore {
  std::vector<mail::EmailKey> ids{{1, 1, 1}, {1, 1, 2}, {1, 1, 3}};
  std::vector<mail::EmailUpdate> updates;
  mail::EmailQuery query_seen;
  mail::FetchPlan plan_seen;
  std::optional<Error> failure;
  std::string update_error;  // the SetError type of all updates
  mail::Freshness freshness = mail::Freshness::current;
  const rapidjson::Value* misuse = nullptr;  // what a buggy method uses as an object
  int email_state = 1;
  int unheard = 0;  // changes that are heard of only when the mailbox is opened

  std::string state(mail::StateType) override { return std::to_string(email_state); }
  io::Task<Result<mail::Snapshot<std::vector<mail::MailboxData>>>> mailboxes() override {
    if (failure) co_return fail(*failure);
    mail::MailboxData data;
    data.mailbox.key = 1;
    data.mailbox.name = data.mailbox.path = "INBOX";
    data.mailbox.role = mail::Role::inbox;
    data.total_emails = 3;
    co_return mail::Snapshot<std::vector<mail::MailboxData>>{{data}, "m7", freshness};
  }
  io::Task<Result<mail::EmailQueryResult>> query(mail::EmailQuery query) override {
    if (failure) co_return fail(*failure);
    if (misuse) co_return fail(mail::Errc::not_found, (*misuse)["nothing"].GetString());
    query_seen = query;
    mail::EmailQueryResult result;
    result.ids = ids;
    result.ids.resize(std::min<std::size_t>(result.ids.size(), query.limit));
    result.total = ids.size();
    result.query_state = "q";
    result.freshness = freshness;
    co_return result;
  }
  io::Task<Result<mail::Snapshot<std::vector<mail::EmailItem>>>> fetch(std::vector<mail::EmailKey> keys,
                                                                       mail::FetchPlan plan) override {
    if (failure) co_return fail(*failure);
    plan_seen = plan;
    std::vector<mail::EmailItem> items;
    for (const auto& key : keys) {
      mail::EmailItem item;
      item.id = key;
      item.found = std::find(ids.begin(), ids.end(), key) != ids.end();
      if (item.found) {
        mail::MessageSource source;
        source.id = key;
        source.header =
            "Subject: \"keywords\":{\"\\u0001\":true} number " + std::to_string(key.uid) + "\r\n\r\n";
        item.fragment = std::make_shared<mail::Fragment>(plan.render(source));
        item.keywords = {"$seen", "a\"b"};
        item.mailboxes = {1};
      }
      items.push_back(std::move(item));
    }
    co_return mail::Snapshot<std::vector<mail::EmailItem>>{std::move(items), "e7", freshness};
  }
  io::Task<Result<mail::Snapshot<std::vector<mail::ThreadData>>>> threads(
      std::vector<mail::ThreadKey> keys) override {
    std::vector<mail::ThreadData> all;
    for (auto key : keys) all.push_back({key, key == 5 ? ids : std::vector<mail::EmailKey>{}});
    co_return mail::Snapshot<std::vector<mail::ThreadData>>{std::move(all), "t7", freshness};
  }
  io::Task<Result<std::string>> email_state_of(std::vector<mail::EmailKey> all) override {
    if (!all.empty()) email_state += std::exchange(unheard, 0);
    co_return std::to_string(email_state);
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> update(std::vector<mail::EmailUpdate> all,
                                                         mail::EffectsHook) override {
    updates = std::move(all);
    ++email_state;
    co_return std::vector<mail::SetOutcome>(updates.size(),
                                            mail::SetOutcome{update_error.empty(), update_error, {}, {}});
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> destroy(std::vector<mail::EmailKey> all,
                                                          mail::EffectsHook) override {
    co_return std::vector<mail::SetOutcome>(all.size(), mail::SetOutcome{true, {}, {}, {}});
  }
  io::Task<Result<std::unique_ptr<mail::BlobReader>>> open_blob(mail::BlobKey) override {
    co_return fail(mail::Errc::not_found);
  }
};

struct ApiTest : test::LoopFixture {
  FakeMailstore store;
  Limits limits;

  ApiResponse ask(std::string body) {
    return await(handle_api_request(std::move(body), CallContext{store, "A1", limits, {}, "s1"}));
  }
  // The one response of a call, as text.
  std::string call(const std::string& name, const std::string& arguments) {
    return ask("{\"using\":[\"urn:ietf:params:jmap:core\",\"urn:ietf:params:jmap:mail\"],\"methodCalls\":[["
               "\"" +
               name + "\"," + arguments + ",\"c\"]]}")
        .body;
  }
};

}  // namespace postern::jmap
