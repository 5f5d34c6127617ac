// A JMAP request over a Mailstore that answers at once: envelope, result references, filter and sort trees, patches.
// Whatever comes in, one JSON document goes out, with a response for each call; bounds hold where they are promised.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "jmap/result_references.hpp"
#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/log.hpp"
#include "postern/io/loop.hpp"
#include "postern/jmap/api.hpp"
#include "require.hpp"

using namespace postern;

namespace {

std::size_t conditions_of(const mail::Filter& filter, std::size_t depth) {
  // What isn't an operator is a condition in an implied AND.
  require(depth <= mail::filter_depth_max + 1);
  std::size_t all = filter.children.size();
  for (const auto& child : filter.children) all += conditions_of(child, depth + 1);
  return all;
}

template <typename Key>
Result<mail::Changes<Key>> changes_since(std::string_view since, Key updated) {
  if (since == "0") return fail(mail::Errc::cannot_calculate_changes);
  mail::Changes<Key> changes;
  changes.data.updated = {updated};
  changes.state = "1";
  return changes;
}

struct InstantMailstore final : mail::Mailstore {
  static constexpr mail::EmailKey first{1, 1, 1}, second{1, 1, 2};

  mail::KeptLists kept;
  mail::KeptLists* kept_lists() override { return &kept; }
  std::string state(mail::StateType) override { return "s"; }
  io::Task<Result<mail::Snapshot<std::vector<mail::MailboxData>>>> mailboxes() override {
    mail::MailboxData data;
    data.mailbox.key = 1;
    data.mailbox.name = "INBOX";
    co_return mail::Snapshot<std::vector<mail::MailboxData>>{{data}, "s"};
  }
  io::Task<Result<mail::EmailQueryResult>> query(mail::EmailQuery query) override {
    require(conditions_of(query.filter, 1) <= mail::filter_conditions_max);
    require(query.sort.keys.size() <= mail::sort_keys_max);
    const auto decided = query.filter.in(1);
    require(decided.signature() == query.filter.in(1).signature());
    require(query.sort.signature() == mail::Sort{query.sort.keys}.signature());
    mail::EmailQueryResult result;
    result.ids = {first, second};
    result.ids.resize(std::min<std::size_t>(2, query.limit));
    result.total = 2;
    result.query_state = "q";
    co_return result;
  }
  io::Task<Result<mail::Snapshot<std::vector<mail::EmailItem>>>> fetch(std::vector<mail::EmailKey> ids,
                                                                       mail::FetchPlan plan) override {
    mail::Snapshot<std::vector<mail::EmailItem>> found;
    for (const auto& id : ids) {
      mail::EmailItem item;
      item.id = id;
      item.found = id == first || id == second;
      if (item.found) {
        mail::MessageSource source;
        source.id = id;
        source.header = "Subject: =?utf-8?q?a=20b?=\r\nFrom: A <a@example.org>\r\n\r\n";
        item.fragment = std::make_shared<mail::Fragment>(plan.render(source));
        item.keywords = std::make_shared<const std::vector<std::string>>(1, "$seen");
        item.mailboxes = std::make_shared<const std::vector<mail::MailboxKey>>(1, 1);
      }
      found.data.push_back(std::move(item));
    }
    co_return found;
  }
  io::Task<Result<mail::Snapshot<std::vector<mail::ThreadData>>>> threads(
      std::vector<mail::ThreadKey> keys) override {
    mail::Snapshot<std::vector<mail::ThreadData>> found;
    for (auto key : keys) found.data.push_back({key, {first}});
    co_return found;
  }
  io::Task<Result<std::string>> email_state_of(std::vector<mail::EmailKey>) override {
    co_return state(mail::StateType::email);
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> update(std::vector<mail::EmailUpdate> updates,
                                                         mail::EffectsHook) override {
    for (const auto& update : updates) {
      require(update.keyword_changes.size() <= mail::update_keywords_max);
      require(!update.keywords || update.keywords->size() <= mail::update_keywords_max);
      require(!update.mailboxes || update.mailboxes->size() <= mail::update_mailboxes_max);
    }
    co_return std::vector<mail::SetOutcome>(updates.size(), mail::SetOutcome{true, {}, {}, {}});
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> destroy(std::vector<mail::EmailKey> ids,
                                                          mail::EffectsHook) override {
    co_return std::vector<mail::SetOutcome>(ids.size(), mail::SetOutcome{true, {}, {}, {}});
  }
  io::Task<Result<mail::Changes<mail::MailboxKey>>> mailbox_changes(std::string since, std::size_t) override {
    co_return changes_since<mail::MailboxKey>(since, 1);
  }
  io::Task<Result<mail::Changes<mail::EmailKey>>> email_changes(std::string since, std::size_t) override {
    co_return changes_since<mail::EmailKey>(since, first);
  }
  io::Task<Result<mail::Changes<mail::ThreadKey>>> thread_changes(std::string since, std::size_t) override {
    co_return changes_since<mail::ThreadKey>(since, 5);
  }
  io::Task<Result<mail::EmailQueryChanges>> query_changes(mail::EmailQueryChangesRequest) override {
    co_return fail(mail::Errc::too_many_changes);
  }
  io::Task<mail::MailboxOutcome> create_mailbox(mail::MailboxCreate create, mail::EffectsHook) override {
    require(!create.sort_order || *create.sort_order <= mail::sort_order_max);
    co_return mail::MailboxOutcome{{true, {}, {}, {}}, 2, false};
  }
  io::Task<mail::MailboxOutcome> update_mailbox(mail::MailboxUpdate update, mail::EffectsHook) override {
    require(update.key == 1);
    co_return mail::MailboxOutcome{{false, "alreadyExists", {}, {"name"}}, 0, true};
  }
  io::Task<mail::MailboxOutcome> destroy_mailbox(mail::MailboxKey key, bool, mail::EffectsHook) override {
    co_return mail::MailboxOutcome{{key == 1, "notFound", {}, {}}, 0, false};
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
    mail::QuotaChanges changes;
    changes.updated = {"q1"};
    changes.state = 3;
    co_return changes;
  }
  io::Task<Result<std::unique_ptr<mail::BlobReader>>> open_blob(mail::BlobKey,
                                                                std::shared_ptr<limits::Tab>) override {
    co_return fail(mail::Errc::not_found);
  }
  Result<std::unique_ptr<mail::BlobWriter>> new_blob(mail::BlobUse) override {
    return fail(mail::Errc::no_room);
  }
  io::Task<Result<mail::AppendedEmail>> append(mail::EmailAppend, mail::EffectsHook) override {
    co_return fail(mail::Errc::server_unavailable);
  }
};

// One subscription, that anything may be done to.
struct InstantSubscriptions final : jmap::PushSubscriptions {
  jmap::PushSubscriptionInfo one{"p1", "device", std::nullopt, std::nullopt, std::nullopt};

  io::Task<std::vector<jmap::PushSubscriptionInfo>> all() override {
    co_return std::vector<jmap::PushSubscriptionInfo>{one};
  }
  io::Task<Outcome> create(jmap::NewPushSubscription subscription) override {
    one.types = std::move(subscription.types);
    one.expires = subscription.expires;
    co_return one;
  }
  io::Task<Outcome> update(std::string, jmap::PushSubscriptionPatch patch) override {
    if (patch.types) one.types = std::move(*patch.types);
    one.expires = 1;
    co_return one;
  }
  io::Task<mail::SetOutcome> destroy(std::string) override { co_return mail::SetOutcome{true, {}, {}, {}}; }
};

struct Harness {
  ManualClock clock;
  SystemRandom random;
  NullLogger logger;
  io::Loop loop{clock, random, logger};
  InstantMailstore store;
  jmap::Limits limits;
  std::optional<jmap::ApiResponse> response;

  io::Task<> ask(std::string body) {
    jmap::CallContext context{store, "A1", limits, {}, "s"};
    context.features.quota = true;
    InstantSubscriptions subscriptions;
    context.push_subscriptions = &subscriptions;
    response = co_await jmap::handle_api_request(std::move(body), std::move(context));
  }
};

// A method's arguments by themselves: most mutations break the envelope before they reach them.
std::string envelope(std::string_view method, std::string_view arguments) {
  return R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Core/echo",{"a":[{"b":["x","y"]}]},"0"],[")" +
         std::string(method) + "\"," + std::string(arguments) + R"(,"1"]]})";
}

void check_answer(const jmap::ApiResponse& response) {
  rapidjson::Document answer;
  answer.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(response.body.data(),
                                                                                       response.body.size());
  require(!answer.HasParseError() && answer.IsObject());
  require(response.status == 200 || response.status == 400);
  if (response.status != 200) return;
  const auto* responses = jmap::find_member(answer, "methodResponses");
  require(responses != nullptr && responses->IsArray());
  for (const auto& call : responses->GetArray()) {
    require(call.IsArray() && call.Size() == 3 && call[0].IsString() && call[1].IsObject() &&
            call[2].IsString());
    // No assertion may fail on the way to an answer.
    const auto* description = jmap::find_member(call[1], "description");
    const auto* type = jmap::find_member(call[1], "type");
    if (jmap::text_of(call[0]) == "error")
      require(type != nullptr && type->IsString() &&
              (jmap::text_of(*type) != "serverFail" || description == nullptr));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static constexpr std::string_view methods[] = {
      "",          "Core/echo",     "Mailbox/get",       "Email/get",     "Email/query",
      "Email/set", "Thread/get",    "SearchSnippet/get", "Mailbox/query", "Mailbox/set",
      "Quota/get", "Quota/changes", "Quota/query"};
  if (size == 0) return 0;
  // The first octet says what the rest is: a whole request, or the arguments of one method. '0' to '<'.
  const auto method = methods[(bytes[0] - '0') % std::size(methods)];
  const std::string_view input(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  static Harness harness;
  harness.response.reset();
  harness.loop.spawn(harness.ask(method.empty() ? std::string(input) : envelope(method, input)));
  harness.loop.poll();
  require(harness.response.has_value());
  check_answer(*harness.response);
  // The input as a pointer into itself, if it is JSON.
  if (input.find('\0') == std::string_view::npos && size < 4'096) {
    rapidjson::Document document;
    document.Parse<rapidjson::kParseIterativeFlag>(input.data(), input.size());
    if (!document.HasParseError() && document.IsObject())
      for (const auto& member : document.GetObject())
        (void)jmap::evaluate_pointer(document, jmap::text_of(member.name), document.GetAllocator());
  }
  return 0;
}
