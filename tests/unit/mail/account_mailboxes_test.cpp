// Mailboxes made, renamed, moved and destroyed through an account, on servers of several kinds.
#include "account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

struct MailboxesTest : AccountFixture {
  std::vector<MailboxData> list() {
    auto all = await(account->mailboxes());
    EXPECT_TRUE(all) << (all ? "" : all.error().to_string());
    return all ? std::move(all->data) : std::vector<MailboxData>{};
  }
  std::optional<Mailbox> find(const std::string& name) {
    for (const auto& data : list())
      if (data.mailbox.name == name) return data.mailbox;
    return std::nullopt;
  }
  MailboxOutcome create(std::string name, std::optional<MailboxKey> parent = {}, Role role = Role::none) {
    return await(account->create_mailbox({std::move(name), parent, role, true, {}}, {}));
  }
  MailboxKey made(std::string name, std::optional<MailboxKey> parent = {}) {
    auto outcome = create(std::move(name), parent);
    EXPECT_TRUE(outcome.outcome.done) << outcome.outcome.error_type << " " << outcome.outcome.description;
    return outcome.key;
  }
  std::string rename(MailboxKey key, std::string name) {
    MailboxUpdate update;
    update.key = key;
    update.name = std::move(name);
    return error_of(await(account->update_mailbox(std::move(update), {})));
  }
  std::string move(MailboxKey key, std::optional<MailboxKey> parent) {
    MailboxUpdate update;
    update.key = key;
    update.parent = parent;
    return error_of(await(account->update_mailbox(std::move(update), {})));
  }
  std::string destroy(MailboxKey key, bool remove_emails = false) {
    return error_of(await(account->destroy_mailbox(key, remove_emails, {})));
  }
  static std::string error_of(const MailboxOutcome& outcome) {
    return outcome.outcome.done ? "" : outcome.outcome.error_type;
  }
  std::string state() { return account->state(StateType::mailbox); }
  // The list that is asked for next says nothing that isn't known.
  void expect_no_news() {
    list();
    const auto before = state();
    clock.advance(31s);
    list();
    EXPECT_EQ(state(), before);
  }
  void reopen() {
    account->save_state();
    account.reset();
    open_account();
  }
};

// A server of each kind; what holds for all.
struct MailboxesOfAnyServer : MailboxesTest, testing::WithParamInterface<std::string> {
  MailboxesOfAnyServer() {
    const auto kind = GetParam();
    options.capabilities = testimapd::capabilities_of(kind);
    if (kind == "dovecot") options.id = {{"name", "Dovecot"}};
    if (kind == "courier") {
      options.prefix = "INBOX.";
      options.separator = '.';
      options.quirks.no_delete_selected = options.quirks.rename_uidvalidity = true;
    }
  }
  std::string wire(const std::string& path) const {
    auto name = path;
    std::replace(name.begin(), name.end(), '/', options.separator);
    return options.prefix + name;
  }
};
INSTANTIATE_TEST_SUITE_P(, MailboxesOfAnyServer,
                         testing::Values("full", "dovecot", "cyrus", "courier", "minimal"),
                         [](const auto& info) { return info.param; });

TEST_P(MailboxesOfAnyServer, AreMadeAndKnownAtOnce) {
  start();
  list();
  const auto before = state();
  const auto work = made("Work");
  EXPECT_NE(state(), before);
  const auto old = made("Entwürfe & mehr", work);
  auto found = find("Entwürfe & mehr");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, old);
  EXPECT_EQ(found->parent, work);
  EXPECT_TRUE(found->subscribed);
  EXPECT_FALSE(find("Work")->parent);
  expect_no_news();
  EXPECT_EQ(find("Entwürfe & mehr")->key, old);
  EXPECT_EQ(create("Work").outcome.error_type, "alreadyExists");
  EXPECT_EQ(create("sub", MailboxKey{1}).outcome.properties, std::vector<std::string>{"parentId"});
}

TEST_P(MailboxesOfAnyServer, KeepTheirIdsWhenTheyAreRenamed) {
  start();
  const auto work = made("Work"), old = made("Old", work);
  imapd->control("deliver alice " + wire("Work/Old") + " 2");
  ASSERT_EQ(page(old).ids.size(), 2u);  // selected now
  clock.advance(31s);
  list();  // which tells what has been delivered
  EXPECT_EQ(rename(work, "Arbeit"), "");
  EXPECT_FALSE(find("Work"));
  EXPECT_EQ(find("Arbeit")->key, work);
  EXPECT_EQ(find("Old")->key, old);
  EXPECT_EQ(find("Old")->parent, work);
  EXPECT_TRUE(find("Old")->subscribed);
  EXPECT_EQ(page(old).ids.size(), 2u);
  expect_no_news();
  reopen();
  EXPECT_EQ(find("Arbeit")->key, work);
  EXPECT_EQ(find("Old")->key, old);
  EXPECT_EQ(move(old, std::nullopt), "");
  EXPECT_EQ(find("Old")->key, old);
  EXPECT_FALSE(find("Old")->parent);
  // One that is made under the old name is another one.
  const auto another = made("Work");
  EXPECT_NE(another, work);
  reopen();
  EXPECT_EQ(find("Arbeit")->key, work);
  EXPECT_EQ(find("Work")->key, another);
  // And back to where it began.
  EXPECT_EQ(destroy(another), "");
  EXPECT_EQ(rename(work, "Work"), "");
  EXPECT_EQ(find("Work")->key, work);
  expect_no_news();
}

TEST_P(MailboxesOfAnyServer, AreDestroyedWhenNothingIsInThem) {
  start();
  const auto work = made("Work"), old = made("Old", work);
  EXPECT_EQ(destroy(work), "mailboxHasChild");
  imapd->control("deliver alice " + wire("Work/Old"));
  const auto ids = page(old).ids;
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(destroy(old), "mailboxHasEmail");
  EXPECT_NE(subject(ids[0]), "not found");
  EXPECT_EQ(destroy(old, true), "");
  EXPECT_EQ(subject(ids[0]), "not found");
  EXPECT_EQ(destroy(old), "notFound");
  EXPECT_EQ(destroy(work), "");
  EXPECT_FALSE(find("Work"));
  EXPECT_EQ(destroy(mailbox("INBOX"), true), "forbidden");
  expect_no_news();
  imapd->control("create alice " + wire("Work"));
  clock.advance(31s);
  EXPECT_FALSE(find("Work")->subscribed && options.capabilities.size() == 1);
}

TEST_P(MailboxesOfAnyServer, ThatOnlyHoldWhatIsMarkedDeletedAreEmpty) {
  start();
  const auto work = made("Work");
  imapd->control("deliver alice " + wire("Work") + " 2");
  imapd->control("flag alice " + wire("Work") + " 1:2 +\\Deleted");
  EXPECT_EQ(destroy(work), "");
  EXPECT_TRUE(imapd->control("mailbox alice " + wire("Work")).starts_with("ERR"));
}

TEST_P(MailboxesOfAnyServer, AnIdReachesNoOtherMailboxOfThatName) {
  start();
  const auto work = made("Work");
  imapd->control("delete alice " + wire("Work"));
  imapd->control("create alice " + wire("Work"));
  EXPECT_EQ(rename(work, "Mine"), "notFound");
  EXPECT_EQ(destroy(work, true), "notFound");
  EXPECT_FALSE(imapd->control("mailbox alice " + wire("Work")).starts_with("ERR"));
  EXPECT_NE(find("Work")->key, work);
}

TEST_P(MailboxesOfAnyServer, MailThatComesInLastIsNotLost) {
  start();
  const auto work = made("Work");
  imapd->control("on STATUS do run deliver alice " + wire("Work"));
  EXPECT_EQ(destroy(work), "mailboxHasEmail");
  EXPECT_EQ(page(work).ids.size(), 1u);
}

TEST_F(MailboxesTest, CostFewCommands) {
  options.capabilities = testimapd::capabilities_of("dovecot");
  options.id = {{"name", "Dovecot"}};
  start();
  const auto work = made("Work");
  commands();
  const auto play = made("Play", work);
  EXPECT_THAT(commands(),
              ElementsAre(Pair("CREATE", 1), Pair("MYRIGHTS", 1), Pair("STATUS", 1), Pair("SUBSCRIBE", 1)));
  EXPECT_EQ(rename(work, "Arbeit"), "");
  EXPECT_THAT(commands(), ElementsAre(Pair("RENAME", 1), Pair("STATUS", 2), Pair("SUBSCRIBE", 2),
                                      Pair("UNSUBSCRIBE", 2)));
  page(play);
  commands();
  EXPECT_EQ(destroy(play), "");
  EXPECT_THAT(commands(),
              ElementsAre(Pair("DELETE", 1), Pair("STATUS", 1), Pair("UNSELECT", 1), Pair("UNSUBSCRIBE", 1)));
  list();
  EXPECT_THAT(commands(), ElementsAre());
}

TEST_F(MailboxesTest, RefusalsAreToldAsWhatTheyMean) {
  start();
  const auto work = made("Work");
  const auto answer = [&](const std::string& command, const std::string& reply) {
    imapd->control("on " + command + " do reply " + reply);
  };
  const std::vector<std::pair<std::string, std::string>> of_create{{"NO [ALREADYEXISTS] x", "alreadyExists"},
                                                                   {"NO [NOPERM] x", "forbidden"},
                                                                   {"NO [OVERQUOTA] x", "overQuota"},
                                                                   {"NO [LIMIT] x", "overQuota"},
                                                                   {"NO [CANNOT] x", "invalidProperties"},
                                                                   {"NO [SERVERBUG] x", "serverFail"},
                                                                   {"NO x", "invalidProperties"},
                                                                   {"BAD x", "invalidProperties"}};
  for (const auto& [reply, type] : of_create) {
    answer("CREATE", reply);
    EXPECT_EQ(create("New").outcome.error_type, type) << reply;
  }
  answer("RENAME", "NO [NONEXISTENT] x");
  EXPECT_EQ(rename(work, "New"), "notFound");
  answer("RENAME", "NO [INUSE] x");
  EXPECT_EQ(rename(work, "New"), "serverFail");
  answer("DELETE", "NO [HASCHILDREN] x");
  EXPECT_EQ(destroy(work), "mailboxHasChild");
  answer("DELETE", "NO x");
  EXPECT_EQ(destroy(work), "forbidden");
  // Without a reason, the list gives one.
  imapd->control("create alice New");
  answer("CREATE", "NO x");
  EXPECT_EQ(create("New").outcome.error_type, "alreadyExists");
  imapd->control("on DELETE do run delete alice Work");
  EXPECT_EQ(destroy(work), "notFound");
}

// As Cyrus does when one of that name was deleted in the same second.
TEST_F(MailboxesTest, AreDeletedInTheNextSecondWhereThisOneIsTaken) {
  start();
  const auto work = made("Work");
  const auto outcome_of = [&](int refusals, const std::string& reply) {
    imapd->control("on DELETE times=" + std::to_string(refusals) + " do reply " + reply);
    std::optional<MailboxOutcome> outcome;
    loop.spawn([](Account& on, MailboxKey key, std::optional<MailboxOutcome>& out) -> io::Task<> {
      out = co_await on.destroy_mailbox(key, false, {});
    }(*account, work, outcome));
    EXPECT_TRUE(pump_until([&] {
      clock.advance(100ms);
      return outcome.has_value();
    }));
    imapd->control("clear_rules");
    return error_of(outcome.value_or(MailboxOutcome{}));
  };
  EXPECT_EQ(outcome_of(3, "NO Mailbox already exists"), "forbidden");
  commands();
  EXPECT_EQ(outcome_of(1, "NO Permission denied"), "forbidden");
  EXPECT_THAT(commands(), Contains(Pair("DELETE", 1)));
  EXPECT_EQ(outcome_of(2, "NO [ALREADYEXISTS] Mailbox already exists"), "");
  EXPECT_FALSE(find("Work"));
}

TEST_F(MailboxesTest, AreNotChangedTwiceWhenTheConnectionBreaks) {
  start();
  const auto work = made("Work");
  imapd->control("on RENAME do drop");
  commands();
  EXPECT_EQ(rename(work, "New"), "serverFail");
  EXPECT_THAT(commands(), Contains(Pair("RENAME", 1)));
}

TEST_F(MailboxesTest, RolesAreKeptWhereTheServerCan) {
  options.mailboxes = {{"INBOX", "", 2}, {"Sent", "\\Sent", 0}};
  start();
  auto archive = create("Ablage", {}, Role::archive);
  ASSERT_TRUE(archive.outcome.done);
  EXPECT_EQ(find("Ablage")->role, Role::archive);
  expect_no_news();
  EXPECT_EQ(find("Ablage")->role, Role::archive);
  EXPECT_EQ(create("Second", {}, Role::sent).outcome.properties, std::vector<std::string>{"role"});
  EXPECT_EQ(create("In", {}, Role::inbox).outcome.properties, std::vector<std::string>{"role"});
}

TEST_F(MailboxesTest, RolesAreThoseOfNamesWhereItCant) {
  options.capabilities = testimapd::capabilities_of("minimal");
  options.mailboxes = {{"INBOX", "", 2}};
  start();
  EXPECT_EQ(create("Ablage", {}, Role::archive).outcome.error_type, "invalidProperties");
  EXPECT_TRUE(create("Archiv", {}, Role::archive).outcome.done);
  EXPECT_EQ(find("Archiv")->role, Role::archive);
}

TEST_F(MailboxesTest, RightsAreAskedForSeldom) {
  options.capabilities = testimapd::capabilities_of("courier");
  start();
  EXPECT_TRUE(rights_of(*find("Archive")).may_submit);
  EXPECT_THAT(commands(), Contains(Pair("MYRIGHTS", 6)));
  clock.advance(31s);
  list();
  EXPECT_THAT(commands(), Not(Contains(Key("MYRIGHTS"))));
  clock.advance(1h);
  list();
  EXPECT_THAT(commands(), Contains(Pair("MYRIGHTS", 6)));
}

TEST_F(MailboxesTest, RightsComeWithTheListWhereTheyCan) {
  start();
  EXPECT_TRUE(rights_of(*find("Archive")).may_submit);
  EXPECT_THAT(commands(), Not(Contains(Key("MYRIGHTS"))));
  const auto before = state();
  clock.advance(31s);
  EXPECT_TRUE(rights_of(*find("Archive")).may_submit);
  EXPECT_EQ(state(), before);
}

TEST_F(MailboxesTest, ClientsOrderThem) {
  start();
  const auto work = made("Work");
  MailboxUpdate update;
  update.key = work;
  update.sort_order = 99;
  const auto before = state();
  EXPECT_EQ(error_of(await(account->update_mailbox(update, {}))), "");
  EXPECT_NE(state(), before);
  EXPECT_EQ(find("Work")->sort_order, 99u);
  expect_no_news();
  EXPECT_EQ(find("Work")->sort_order, 99u);
}

TEST_F(MailboxesTest, QuotasAreThoseOfTheServer) {
  start();
  auto quotas = await(account->quotas());
  ASSERT_TRUE(quotas);
  ASSERT_EQ(quotas->data.size(), 1u);
  EXPECT_EQ(quotas->data[0].hard_limit, 1'024'000'000u);
  const auto state = quotas->state;
  imapd->control("deliver alice INBOX 100");
  clock.advance(31s);
  auto changes = await(account->quota_changes(state));
  ASSERT_TRUE(changes && *changes);
  EXPECT_EQ((*changes)->updated.size(), 1u);
  EXPECT_TRUE((*changes)->only_used);
  EXPECT_NE(std::to_string((*changes)->state), state);
  auto none = await(account->quota_changes("never"));
  EXPECT_TRUE(none && !*none);
  EXPECT_TRUE(account->known_features().quotas);
}

}  // namespace
}  // namespace postern::mail
