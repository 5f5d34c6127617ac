// A JMAP API over a Mailstore of the test's own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "jmap/result_references.hpp"
#include "postern/jmap/api.hpp"
#include "support/counting_random.hpp"
#include "support/loop_fixture.hpp"

namespace postern::jmap {

struct FakeMailstore : mail::Mailstore {
  std::vector<mail::EmailKey> ids{{1, 1, 1}, {1, 1, 2}, {1, 1, 3}};
  std::vector<mail::EmailUpdate> updates;
  mail::EmailQuery query_seen;
  mail::FetchPlan plan_seen;
  std::optional<Error> failure;
  std::string update_error;  // the SetError type of all updates
  mail::Freshness freshness = mail::Freshness::current;
  const rapidjson::Value* misuse = nullptr;                  // what a buggy method uses as an object
  std::function<void(mail::MessageSource&)> prepare_source;  // before it is rendered
  std::size_t most_fetched = 0;                              // Emails of one fetch()
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
    most_fetched = std::max(most_fetched, keys.size());
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
        if (prepare_source) prepare_source(source);
        item.fragment = std::make_shared<mail::Fragment>(plan.render(source));
        item.keywords =
            std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"$seen", "a\"b"});
        item.mailboxes = std::make_shared<const std::vector<mail::MailboxKey>>(1, 1);
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
                                                         mail::EffectsHook effects) override {
    if (effects && !co_await effects())
      co_return std::vector<mail::SetOutcome>(all.size(), mail::SetOutcome{false, "serverFail", {}, {}});
    updates = std::move(all);
    ++email_state;
    co_return std::vector<mail::SetOutcome>(updates.size(),
                                            mail::SetOutcome{update_error.empty(), update_error, {}, {}});
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> destroy(std::vector<mail::EmailKey> all,
                                                          mail::EffectsHook) override {
    co_return std::vector<mail::SetOutcome>(all.size(), mail::SetOutcome{true, {}, {}, {}});
  }
  std::optional<mail::ChangeSet<std::uint64_t>> changes;  // of Mailboxes and Threads; nullopt: can't be told
  std::string since_seen;
  std::size_t max_seen = 0;
  template <typename Id>
  Result<mail::Changes<Id>> changes_since(const std::string& since, std::size_t max,
                                          std::vector<Id> updated) {
    since_seen = since;
    max_seen = max;
    if (failure) return fail(*failure);
    if (!changes) return fail(mail::Errc::cannot_calculate_changes);
    mail::ChangeSet<Id> told;
    told.updated = std::move(updated);
    told.counts_only = changes->counts_only;
    told.has_more = changes->has_more;
    return mail::Changes<Id>{std::move(told), "n9", freshness};
  }
  io::Task<Result<mail::Changes<mail::MailboxKey>>> mailbox_changes(std::string since,
                                                                    std::size_t max) override {
    co_return changes_since<mail::MailboxKey>(since, max, {1});
  }
  io::Task<Result<mail::Changes<mail::EmailKey>>> email_changes(std::string since, std::size_t max) override {
    co_return changes_since<mail::EmailKey>(since, max, {{1, 1, 3}});
  }
  io::Task<Result<mail::Changes<mail::ThreadKey>>> thread_changes(std::string since,
                                                                  std::size_t max) override {
    co_return changes_since<mail::ThreadKey>(since, max, {5});
  }
  mail::EmailQueryChangesRequest query_changes_seen;
  io::Task<Result<mail::EmailQueryChanges>> query_changes(mail::EmailQueryChangesRequest request) override {
    query_changes_seen = std::move(request);
    if (failure) co_return fail(*failure);
    if (query_changes_seen.max == 1) co_return fail(mail::Errc::too_many_changes);
    co_return mail::EmailQueryChanges{{{{1, 1, 2}}, {{{1, 1, 3}, 0}}}, 7, "q2", freshness};
  }
  io::Task<mail::MailboxOutcome> create_mailbox(mail::MailboxCreate, mail::EffectsHook) override {
    co_return mail::MailboxOutcome{{false, "forbidden", {}, {}}, 0, false};
  }
  io::Task<mail::MailboxOutcome> update_mailbox(mail::MailboxUpdate, mail::EffectsHook) override {
    co_return mail::MailboxOutcome{{false, "forbidden", {}, {}}, 0, false};
  }
  io::Task<mail::MailboxOutcome> destroy_mailbox(mail::MailboxKey, bool, mail::EffectsHook) override {
    co_return mail::MailboxOutcome{{false, "forbidden", {}, {}}, 0, false};
  }
  io::Task<Result<mail::Snapshot<std::vector<mail::Quota>>>> quotas() override {
    mail::Quota quota;
    quota.id = "q1";
    quota.name = "Storage";
    quota.used = 5;
    quota.hard_limit = 10;
    quota.types = {"Email"};
    co_return mail::Snapshot<std::vector<mail::Quota>>{{quota}, "3"};
  }
  io::Task<Result<std::optional<mail::QuotaChanges>>> quota_changes(std::string since) override {
    if (since != "2") co_return std::optional<mail::QuotaChanges>();
    mail::QuotaChanges told;
    told.updated = {"q1"};
    told.state = 3;
    co_return told;
  }
  io::Task<Result<std::unique_ptr<mail::BlobReader>>> open_blob(mail::BlobKey key,
                                                                std::shared_ptr<limits::Tab>) override {
    const auto found = blobs.find(mail::blob_id(key));
    if (found == blobs.end()) co_return fail(mail::Errc::not_found);
    co_return std::make_unique<MemoryReader>(found->second, local_blobs);
  }
  Result<std::unique_ptr<mail::BlobWriter>> new_blob(mail::BlobUse) override {
    if (no_room) return fail(mail::Errc::no_room);
    ++put_aside;
    return std::make_unique<MemoryWriter>(*this);
  }
  io::Task<Result<mail::AppendedEmail>> append(mail::EmailAppend email, mail::EffectsHook) override {
    std::string content;
    while (true) {
      auto piece = co_await email.content->next();
      if (!piece) co_return fail(piece.error());
      if (piece->empty()) break;
      content += *piece;
    }
    EXPECT_EQ(content.size(), email.size);
    // The header is told as it was read; what is filed has CRLF line ends.
    const auto without_cr = [](std::string text) {
      std::erase(text, '\r');
      return text;
    };
    EXPECT_TRUE(without_cr(content).starts_with(without_cr(email.header)));
    appended.push_back(std::move(content));
    appends.push_back(std::move(email));
    ++email_state;
    mail::AppendedEmail done;
    done.outcome = {append_error.empty(), append_error, {}, {}};
    done.outcome.refusal = append_refusal;
    done.id = {1, 1, static_cast<std::uint32_t>(100 + appended.size())};
    done.thread = 7;
    co_return done;
  }
  mail::VacationStore* vacation() override { return vacation_store; }
  mail::VacationStore* vacation_store = nullptr;

  // --- Blobs in memory ---
  std::map<std::string, std::string> blobs;  // by id
  std::vector<std::string> appended;
  std::vector<mail::EmailAppend> appends;
  std::string append_error, append_refusal;
  bool local_blobs = true, no_room = false;
  int put_aside = 0;

  class MemoryReader final : public mail::BlobReader {
   public:
    MemoryReader(std::string octets, bool local) : octets_(std::move(octets)), local_(local) {}
    std::optional<std::uint64_t> size() const override {
      return local_ ? std::optional<std::uint64_t>(octets_.size() - at_) : std::nullopt;
    }
    void skip(std::uint64_t octets) override { at_ = std::min<std::size_t>(octets, octets_.size()); }
    bool is_local() const override { return local_; }
    io::Task<Result<std::string>> next() override {
      auto piece = octets_.substr(at_, 7);
      at_ += piece.size();
      co_return piece;
    }

   private:
    std::string octets_;
    std::size_t at_ = 0;
    bool local_;
  };
  class MemoryWriter final : public mail::BlobWriter {
   public:
    explicit MemoryWriter(FakeMailstore& store) : store_(store) {}
    Result<> write(std::string_view piece) override {
      octets_ += piece;
      return {};
    }
    Result<mail::BlobKey> keep() override {
      mail::BlobKey key;
      key.upload = postern::blobs::UploadToken{static_cast<std::uint8_t>(store_.put_aside)};
      store_.blobs[mail::blob_id(key)] = octets_;
      return key;
    }
    Result<std::unique_ptr<mail::BlobReader>> read() const override {
      return std::make_unique<MemoryReader>(octets_, true);
    }

   private:
    FakeMailstore& store_;
    std::string octets_;
  };
};

struct ApiTest : test::LoopFixture {
  FakeMailstore store;
  Limits limits;
  test::CountingRandom counting;
  unsigned turns = 0;  // that others have had in between

  ApiResponse ask(std::string body) {
    CallContext context{store, "A1", limits, {}, "s1"};
    context.next_turn = [this] {
      ++turns;
      return loop.sleep(Duration::zero());
    };
    context.clock = &clock;
    context.random = &counting;
    return await(handle_api_request(std::move(body), std::move(context)));
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
