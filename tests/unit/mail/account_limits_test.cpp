// What an account's fetches count as mail received, to the octet, and what a plan doesn't allow.
#include <algorithm>

#include "postern/limits/meter.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using limits::Limit;

struct AccountLimits : AccountFixture {
  std::uint64_t used() {
    for (const auto& standing : account->meter().standings(true))
      if (standing.limit == Limit::received_hour) return standing.used;
    return 0;
  }
  void allow(std::uint64_t octets, std::uint64_t reading_reserve) {
    store::UsageTerms terms;
    terms.plan = "small";
    terms.limits[static_cast<std::size_t>(Limit::received_hour)] = octets;
    account->meter().set_terms(terms, limits::Plan{}, reading_reserve, nullptr);
  }
  // The header field and the whole text of a message.
  static FetchPlan text_plan() {
    auto plan = field_plan("SUBJECT", "text ");
    plan.cacheable = false;
    plan.more = [](const MessageSource&) { return std::vector<WantedSection>{{"1", 0}}; };
    plan.render = [](const MessageSource& source) {
      Fragment fragment{source.header.value_or(""), {}, {}};
      for (const auto& [section, octets] : source.sections) fragment.bytes += octets;
      return fragment;
    };
    return plan;
  }
  EmailKey deliver(std::size_t octets) {
    imapd->deliver("alice", "INBOX", "Subject: large\r\n\r\n" + std::string(octets, 'x'));
    const auto ids = page(mailbox("INBOX"), 0, 100).ids;
    return *std::max_element(ids.begin(), ids.end(),
                             [](const auto& a, const auto& b) { return a.uid < b.uid; });
  }
  Error refused(EmailKey id) {
    auto items = await(account->fetch({id}, text_plan()));
    EXPECT_FALSE(items.has_value());
    return items ? Error() : items.error();
  }
};

TEST_F(AccountLimits, HeaderFieldsAreCountedAsTheyCameAndOnce) {
  start();
  const auto ids = page(mailbox("INBOX")).ids;
  std::uint64_t octets = 0;
  for (const auto& item : fetch(ids)) octets += item.fragment->bytes.size();
  EXPECT_GT(octets, 0U);
  EXPECT_EQ(used(), octets);
  fetch(ids);  // from memory
  EXPECT_EQ(used(), octets);
}

TEST_F(AccountLimits, PartsAreCountedAsTheyCame) {
  start();
  const auto id = deliver(5'000);
  auto items = await(account->fetch({id}, text_plan()));
  ASSERT_TRUE(items.has_value()) << items.error().to_string();
  ASSERT_TRUE(items->data.at(0).found);
  EXPECT_GT(items->data[0].fragment->bytes.size(), 5'000U);
  EXPECT_EQ(used(), items->data[0].fragment->bytes.size());
}

TEST_F(AccountLimits, WhatComesAgainAfterABreakIsCountedOnce) {
  start();
  const auto second = deliver(6'000), first = page(mailbox("INBOX"), 0, 100).ids.back();
  ASSERT_LT(first.uid, second.uid);
  idle();
  // Header fields, the first message, the second.
  imapd->control("on UID FETCH nth=3 do drop_in_literal 100");
  imapd->reset_counts();
  auto items = await(account->fetch({first, second}, text_plan()));
  ASSERT_TRUE(items.has_value()) << items.error().to_string();
  EXPECT_EQ(imapd->counts().logins, 1U);  // a new connection
  std::uint64_t octets = 0;
  for (const auto& item : items->data) {
    ASSERT_TRUE(item.found);
    octets += item.fragment->bytes.size();
  }
  EXPECT_GT(octets, 6'100U);
  EXPECT_EQ(used(), octets);
}

TEST_F(AccountLimits, WhatThePlanDoesntAllowIsNotFetched) {
  start();
  const auto id = deliver(small_read_octets_max + 100);
  allow(small_read_octets_max, 1'000'000);
  imapd->reset_counts();
  const auto error = refused(id);
  EXPECT_EQ(error.code, make_error_code(Errc::over_limit));
  const auto refusal = limits::Refusal::decode(error.context);
  ASSERT_TRUE(refusal.has_value()) << error.context;
  EXPECT_EQ(refusal->limit, Limit::received_hour);
  EXPECT_EQ(refusal->plan, "small");
  EXPECT_LT(used(), 100U);  // its header field
}

TEST_F(AccountLimits, BlobsAreCountedAsTheyCame) {
  start();
  const auto id = deliver(700'000);
  const auto read = [&](bool counted) {
    const BlobKey blob{id, {}, {}};
    auto reader = counted ? await(account->open_blob(blob)) : await(account->open_uncounted_blob(blob));
    EXPECT_TRUE(reader);
    std::uint64_t octets = 0;
    while (true) {
      auto piece = await((*reader)->next());
      if (!piece) return piece.error();
      octets += piece->size();
      if (piece->empty()) break;
    }
    EXPECT_GT(octets, 700'000u);
    return Error(std::error_code{}, std::to_string(octets));
  };
  const auto before = used();
  EXPECT_FALSE(read(false).code);
  EXPECT_EQ(used(), before);
  const auto whole = std::stoull(read(true).context);
  EXPECT_EQ(used(), before + whole);
  // One that ends in the middle counts what came.
  allow(before + whole + 600'000, 0);
  EXPECT_EQ(read(true).code, make_error_code(Errc::over_limit));
  EXPECT_EQ(used(), before + whole + 512 * 1'024);
}

TEST_F(AccountLimits, WhatIsFiledIsCountedAsItWasSent) {
  start();
  const auto sent = [this] {
    for (const auto& standing : account->meter().standings(true))
      if (standing.limit == Limit::sent_hour) return standing.used;
    return std::uint64_t{0};
  };
  struct Text final : BlobReader {
    std::string text;
    explicit Text(std::string t) : text(std::move(t)) {}
    std::optional<std::uint64_t> size() const override { return text.size(); }
    io::Task<Result<std::string>> next() override { co_return std::exchange(text, {}); }
    void skip(std::uint64_t) override {}
  };
  const auto append = [&](std::size_t octets, std::vector<std::string> keywords = {}) {
    EmailAppend email;
    email.mailboxes = {mailbox("INBOX")};
    email.keywords = std::move(keywords);
    email.header = "Subject: x\r\n\r\n";
    const auto text = email.header + std::string(octets - email.header.size(), 'x');
    email.size = text.size();
    email.content = std::make_unique<Text>(text);
    auto appended = await(account->append(std::move(email), {}));
    return appended ? appended->outcome : SetOutcome{};
  };
  EXPECT_TRUE(append(1'000).done);
  EXPECT_EQ(sent(), 1'000u);
  store::UsageTerms terms;
  terms.plan = "small";
  terms.limits[static_cast<std::size_t>(Limit::sent_hour)] = 2'000;
  account->meter().set_terms(terms, limits::Plan{}, 500, nullptr);
  EXPECT_TRUE(append(1'000).done);
  EXPECT_EQ(sent(), 2'000u);
  imapd->reset_counts();
  EXPECT_EQ(append(100).error_type, "rateLimit");
  EXPECT_EQ(imapd->counts().command("APPEND"), 0u);
  EXPECT_EQ(sent(), 2'000u);
  // A draft may be kept nevertheless.
  EXPECT_TRUE(append(500, {"$draft"}).done);
  EXPECT_EQ(append(100, {"$draft"}).error_type, "rateLimit");
  EXPECT_EQ(sent(), 2'500u);
}

struct Heard final : StateObserver {
  std::vector<StateType> types;
  void on_state_changed(Account&, StateType type) override { types.push_back(type); }
  void on_watch_refused(Account&) override {}
};

TEST_F(AccountLimits, ListenersHearWhenALimitComesNear) {
  start();
  Heard heard;
  AccountContext context{loop, *server, *segment, fragments, {}};
  context.states = &heard;
  session::Credentials credentials;
  credentials.login = "alice";
  credentials.secret = Secret("secret");
  account = std::make_shared<Account>(context, 42, std::move(credentials), "");
  allow(1'000, 0);
  const auto spend = [this](std::uint64_t octets) {
    account->meter().reserve({limits::amount_of(limits::Count::received, octets)})->settle_all();
    account->note_use();
  };
  auto quotas = await(account->quotas());
  ASSERT_TRUE(quotas);
  const auto began = quotas->state;
  spend(790);
  EXPECT_TRUE(heard.types.empty());
  spend(10);
  EXPECT_EQ(heard.types, std::vector<StateType>{StateType::quota});
  auto changes = await(account->quota_changes(began));
  ASSERT_TRUE(changes && *changes);
  EXPECT_EQ((*changes)->updated, std::vector<std::string>{"plan-mailReceivedPerHour"});
  EXPECT_TRUE((*changes)->only_used);
  spend(10);
  EXPECT_EQ(heard.types.size(), 1u);
  spend(90);
  spend(100);
  EXPECT_EQ(heard.types.size(), 3u);
  // And when it is free again.
  clock.advance(66min);
  account->note_use();
  EXPECT_EQ(heard.types.size(), 4u);
  EXPECT_NE(account->state(StateType::quota), began);
  EXPECT_EQ(account->state(StateType::quota),
            std::to_string(await(account->quota_changes(began))->value().state));
}

TEST_F(AccountLimits, SmallPagesGoOnByTheReserve) {
  start();
  const auto ids = page(mailbox("INBOX")).ids;
  allow(0, 20'000);
  EXPECT_TRUE(fetch(ids).at(9).found);
  allow(0, 0);
  auto items = await(account->fetch(ids, field_plan("FROM")));
  ASSERT_FALSE(items.has_value());
  EXPECT_EQ(items.error().code, make_error_code(Errc::over_limit));
}

}  // namespace
}  // namespace postern::mail
