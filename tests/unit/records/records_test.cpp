// Identities, submissions and their changes, over a database of the test's own.
#include <sys/stat.h>

#include <fstream>
#include <mutex>

#include "unit/records/fixture.hpp"

namespace postern::records {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST_F(RecordsTest, TheFirstIdentityComesOfItselfOnce) {
  auto none = await(records->identities(anna, "", everything));
  ASSERT_TRUE(none);
  EXPECT_THAT(none->list, IsEmpty());
  auto all = await(records->identities(anna, anna.login, everything));
  ASSERT_TRUE(all);
  ASSERT_EQ(all->list.size(), 1u);
  EXPECT_EQ(all->list[0].email, anna.login);
  EXPECT_FALSE(all->list[0].may_delete);
  EXPECT_NE(all->state, none->state);
  EXPECT_EQ(await(records->identities(anna, anna.login, everything))->state, all->state);
  EXPECT_EQ(await(records->destroy_identity(anna, all->list[0].id)).error().code, Errc::not_found);
  EXPECT_THAT(await(records->identities(bert, "", everything))->list, IsEmpty());
}

TEST_F(RecordsTest, IdentitiesLastAndAreTheirOwners) {
  Identity work;
  work.email = "work@example.org";
  work.name = std::string("with a \0 NUL", 12);
  work.bcc = R"([{"email":"a@b"}])";
  work.html_signature = "<b>\xc3\xa4</b>";
  work.id = await(records->create_identity(anna, work)).value();
  open();
  auto all = await(records->identities(anna, "", everything));
  ASSERT_TRUE(all);
  EXPECT_THAT(all->list, ElementsAre(work));
  const Owner same_key{anna.key, "somebody else"};
  EXPECT_THAT(await(records->identities(same_key, "", everything))->list, IsEmpty());
  for (const auto& other : {bert, same_key}) {
    EXPECT_EQ(await(records->update_identity(other, change_to(work))).error().code, Errc::not_found);
    EXPECT_EQ(await(records->destroy_identity(other, work.id)).error().code, Errc::not_found);
  }
  work.name = "x";
  EXPECT_TRUE(await(records->update_identity(anna, change_to(work))));
  EXPECT_EQ(await(records->identities(anna, "", everything))->list.at(0).name, "x");
  EXPECT_TRUE(await(records->destroy_identity(anna, work.id)));
  EXPECT_THAT(await(records->identities(anna, "", everything))->list, IsEmpty());
}

TEST_F(RecordsTest, IdentityBound) {
  Identity one;
  one.email = "a@b";
  for (std::size_t i = 0; i < identities_max; ++i) ASSERT_TRUE(await(records->create_identity(anna, one)));
  EXPECT_EQ(await(records->create_identity(anna, one)).error().code, Errc::too_many);
  EXPECT_TRUE(await(records->create_identity(bert, one)));
}

TEST_F(RecordsTest, PlacesOfMailboxesLastAndAreTheirOwners) {
  const auto put = [this](const Owner& owner, std::uint64_t mailbox, std::optional<std::uint32_t> order) {
    return await(records->put_mailbox_order(owner, mailbox, order)).has_value();
  };
  EXPECT_THAT(*await(records->mailbox_orders(anna)), IsEmpty());
  EXPECT_TRUE(put(anna, ~0ull, 0x7FFFFFFF));
  EXPECT_TRUE(put(anna, 2, 5));
  EXPECT_TRUE(put(anna, 2, 6));
  EXPECT_TRUE(put(bert, 2, 7));
  open();
  EXPECT_THAT(*await(records->mailbox_orders(anna)),
              UnorderedElementsAre(Pair(~0ull, 0x7FFFFFFF), Pair(2, 6)));
  EXPECT_THAT(*await(records->mailbox_orders(bert)), ElementsAre(Pair(2, 7)));
  EXPECT_THAT(*await(records->mailbox_orders(Owner{anna.key, "somebody else"})), IsEmpty());
  EXPECT_TRUE(put(anna, 2, std::nullopt));
  EXPECT_TRUE(put(anna, 3, std::nullopt));
  EXPECT_THAT(*await(records->mailbox_orders(anna)), ElementsAre(Pair(~0ull, 0x7FFFFFFF)));
}

TEST_F(RecordsTest, PlacesOfMailboxesBound) {
  for (std::uint64_t i = 0; i <= mailbox_orders_max; ++i)
    ASSERT_TRUE(await(records->put_mailbox_order(anna, i, 1)));
  const auto all = await(records->mailbox_orders(anna)).value();
  EXPECT_EQ(all.size(), mailbox_orders_max);
  EXPECT_TRUE(std::none_of(all.begin(), all.end(), [](const auto& one) { return one.first == 0; }));
}

TEST_F(RecordsTest, ChangesAreExact) {
  Identity one;
  one.email = "a@b";
  const auto start = await(records->identities(anna, "", everything))->state;
  const auto a = *await(records->create_identity(anna, one)), b = *await(records->create_identity(anna, one));
  const auto two = await(records->identities(anna, "", everything))->state;
  one.id = a;
  ASSERT_TRUE(await(records->update_identity(anna, change_to(one))));
  const auto c = *await(records->create_identity(anna, one));
  ASSERT_TRUE(await(records->destroy_identity(anna, b)));
  const auto end = await(records->identities(anna, "", everything))->state;

  const auto all = changes(Type::identity, start);
  EXPECT_THAT(all.created, ElementsAre(a, c));
  EXPECT_THAT(all.updated, IsEmpty());
  EXPECT_THAT(all.destroyed, IsEmpty());  // come and gone
  EXPECT_EQ(all.new_state, end);
  const auto late = changes(Type::identity, two);
  EXPECT_THAT(late.created, ElementsAre(c));
  EXPECT_THAT(late.updated, ElementsAre(a));
  EXPECT_THAT(late.destroyed, ElementsAre(b));
  EXPECT_THAT(changes(Type::identity, end).created, IsEmpty());

  // One at a time, nothing is left out and nothing told before it was created.
  std::vector<std::uint64_t> created, updated;
  auto state = start;
  for (int i = 0; i < 10 && state != end; ++i) {
    const auto step = changes(Type::identity, state, 1);
    created.insert(created.end(), step.created.begin(), step.created.end());
    updated.insert(updated.end(), step.updated.begin(), step.updated.end());
    EXPECT_EQ(step.has_more, step.new_state != end);
    state = step.new_state;
  }
  EXPECT_EQ(state, end);
  EXPECT_THAT(created, ElementsAre(a, c));
  EXPECT_THAT(updated, ElementsAre(a));
}

TEST_F(RecordsTest, AStateOfAnotherFileOrOfTheFutureIsUnknown) {
  const auto state = await(records->identities(anna, "", everything))->state;
  for (const std::string& wrong : std::vector<std::string>{std::string(), std::string("x"),
                                                           std::string("0-0"), state + "x", state + "1"})
    EXPECT_EQ(await(records->changes(anna, Type::identity, wrong, 0)).error().code, Errc::unknown_state)
        << wrong;
}

TEST_F(RecordsTest, DestroyedOnesAreForgottenInTheEnd) {
  Identity one;
  one.email = "a@b";
  const auto start = await(records->identities(anna, "", everything))->state;
  for (std::size_t i = 0; i < changes_kept_max; ++i)
    ASSERT_TRUE(await(records->destroy_identity(anna, *await(records->create_identity(anna, one)))));
  EXPECT_TRUE(await(records->changes(anna, Type::identity, start, 0)));
  ASSERT_TRUE(await(records->destroy_identity(anna, *await(records->create_identity(anna, one)))));
  EXPECT_EQ(await(records->changes(anna, Type::identity, start, 0)).error().code, Errc::unknown_state);
}

TEST_F(RecordsTest, ASubmissionIsSeenWhenItWasTold) {
  const auto start = await(records->submissions(anna, everything))->state;
  const auto id = add(false);
  EXPECT_THAT(await(records->submissions(anna, everything))->list, IsEmpty());
  EXPECT_THAT(changes(Type::submission, start).created, IsEmpty());
  EXPECT_TRUE(await(records->tell(id)));
  const auto all = await(records->submissions(anna, everything));
  ASSERT_EQ(all->list.size(), 1u);
  EXPECT_EQ(all->list[0].recipients, submission().recipients);
  EXPECT_EQ(all->list[0].undo_status, UndoStatus::pending);
  EXPECT_THAT(changes(Type::submission, start).created, ElementsAre(id));
  EXPECT_THAT(await(records->submissions(bert, everything))->list, IsEmpty());
}

TEST_F(RecordsTest, FromWaitingToDone) {
  const auto id = add();
  const auto before = await(records->submissions(anna, everything))->state;
  auto one = await(records->submission(id)).value();
  EXPECT_EQ(await(records->content_piece(one.content, 0)).value(), "A: b\r\n\r\nt\r\n");
  EXPECT_EQ(await(records->content_piece(one.content, 1)).value(), "");
  EXPECT_EQ(await(records->waiting(1, 2))->size(), 1u);
  EXPECT_EQ(await(records->waiting(0, 2))->size(), 0u);
  EXPECT_TRUE(await(records->begin_sending(id)).value());
  EXPECT_FALSE(await(records->begin_sending(id)).value());  // never twice
  EXPECT_FALSE(await(records->cancel(anna, id)).value());
  EXPECT_THAT(*await(records->waiting(1, 2)), IsEmpty());
  one.phase = Phase::done;
  one.undo_status = UndoStatus::final;
  one.recipients[0].delivered = Delivered::unknown;
  one.recipients[1].delivered = Delivered::no;
  one.recipients[1].reply = "550 no";
  EXPECT_TRUE(await(records->end_attempt(one)));
  EXPECT_EQ(await(records->content_piece(one.content, 0)).value(), "");
  EXPECT_EQ(await(records->submissions(anna, everything))->list.at(0).recipients, one.recipients);
  EXPECT_THAT(changes(Type::submission, before).updated, ElementsAre(id));
}

TEST_F(RecordsTest, CanceledStaysCanceled) {
  const auto id = add();
  auto one = await(records->submission(id)).value();
  EXPECT_FALSE(await(records->cancel(bert, id)).value());
  EXPECT_TRUE(await(records->cancel(anna, id)).value());
  EXPECT_FALSE(await(records->cancel(anna, id)).value());
  EXPECT_FALSE(await(records->begin_sending(id)).value());
  EXPECT_EQ(await(records->end_attempt(one)).error().code,
            Errc::not_found);  // of an attempt that was under way
  EXPECT_EQ(await(records->submissions(anna, everything))->list.at(0).undo_status, UndoStatus::canceled);
  EXPECT_EQ(await(records->content_piece(one.content, 0)).value(), "");
}

TEST_F(RecordsTest, DestroyingTheRecordDoesntCancel) {
  const auto id = add();
  const auto before = await(records->submissions(anna, everything))->state;
  EXPECT_EQ(await(records->destroy_submission(bert, id)).error().code, Errc::not_found);
  EXPECT_TRUE(await(records->destroy_submission(anna, id)));
  EXPECT_THAT(await(records->submissions(anna, everything))->list, IsEmpty());
  EXPECT_THAT(changes(Type::submission, before).destroyed, ElementsAre(id));
  EXPECT_EQ(await(records->waiting(0, 1))->size(), 1u);
  EXPECT_TRUE(await(records->begin_sending(id)).value());
  auto one = await(records->submission(id)).value();
  one.phase = Phase::done;
  EXPECT_TRUE(await(records->end_attempt(one)));
  EXPECT_EQ(await(records->submission(id)).error().code, Errc::not_found);
}

TEST_F(RecordsTest, SubmissionBoundAndAge) {
  const auto first = add();
  finish(first);
  clock.advance(std::chrono::hours(24 * 29));
  const auto second = add();
  EXPECT_EQ(await(records->submissions(anna, everything))->list.size(), 2u);
  clock.advance(std::chrono::hours(24 * 2));
  const auto third = add();  // the first is too old now
  finish(third);
  EXPECT_EQ(await(records->submissions(anna, everything))->list.at(0).id, second);
  // The oldest that is done gives way; what waits doesn't.
  auto filler = submission();
  for (std::size_t i = 2; i < submissions_max; ++i) ASSERT_TRUE(await(records->add_submission(anna, filler)));
  ASSERT_TRUE(await(records->add_submission(anna, filler)));
  EXPECT_EQ(await(records->submission(third)).error().code, Errc::not_found);
  EXPECT_EQ(await(records->add_submission(anna, filler)).error().code, Errc::too_many);
}

TEST_F(RecordsTest, PieceBound) {
  const auto id = await(records->begin_content(anna, true)).value();
  EXPECT_TRUE(await(records->append_content(id, 0, std::string(content_piece_bytes_max, 'x'))));
  EXPECT_EQ(await(records->append_content(id, 1, std::string(content_piece_bytes_max + 1, 'x'))).error().code,
            Errc::too_large);
}

TEST_F(RecordsTest, WhatWaitsHasItsRoom) {
  auto narrow = options();
  narrow.account_bytes = 1'000;
  narrow.total_bytes = 1'500;
  open(narrow);
  const auto octets = [](std::size_t count) { return std::string(count, 'x'); };
  auto waits = submission(now() + 100);
  EXPECT_TRUE(await(records->drop_content(waits.content)));
  const auto first = await(records->begin_content(anna, true)).value();
  EXPECT_TRUE(await(records->append_content(first, 0, octets(1'000))));
  EXPECT_EQ(await(records->append_content(first, 1, "x")).error().code, Errc::no_room);
  EXPECT_EQ(await(records->begin_content(anna, false)).error().code, Errc::no_room);
  // All together: what goes out at once isn't held up by others.
  const auto second = await(records->begin_content(bert, true)).value();
  EXPECT_TRUE(await(records->append_content(second, 0, octets(500))));
  EXPECT_EQ(await(records->append_content(second, 1, "x")).error().code, Errc::no_room);
  EXPECT_TRUE(await(records->drop_content(second)));
  const auto urgent = await(records->begin_content(bert, false)).value();
  EXPECT_TRUE(await(records->append_content(urgent, 0, octets(1'000))));
  EXPECT_EQ(await(records->append_content(urgent, 1, "x")).error().code, Errc::no_room);
  EXPECT_TRUE(await(records->drop_content(urgent)));

  // It counts until it is gone, also over a restart.
  waits.content = first;
  waits.size = 1'000;
  const auto id = await(records->add_submission(anna, waits)).value();
  open(narrow);
  EXPECT_EQ(await(records->begin_content(anna, true)).error().code, Errc::no_room);
  EXPECT_TRUE(await(records->begin_sending(id)).value());
  EXPECT_EQ(await(records->begin_content(anna, true)).error().code, Errc::no_room);
  finish(id);
  const auto again = await(records->begin_content(anna, true)).value();
  EXPECT_TRUE(await(records->append_content(again, 0, octets(1'000))));
  waits.content = again;
  const auto canceled = await(records->add_submission(anna, waits)).value();
  EXPECT_TRUE(await(records->cancel(anna, canceled)).value());
  const auto last = await(records->begin_content(anna, true)).value();
  EXPECT_TRUE(await(records->append_content(last, 0, octets(1'000))));
  waits.content = last;
  EXPECT_TRUE(await(records->forget(await(records->add_submission(anna, waits)).value())));
  EXPECT_TRUE(await(records->begin_content(anna, true)));
}

TEST_F(RecordsTest, IdentitiesAreBoundedInOctets) {
  Identity one;
  one.email = "a@b";
  one.html_signature = std::string(identity_bytes_max - 4 - 4, 'x');  // and twice "null"
  one.id = await(records->create_identity(anna, one)).value();
  auto larger = one;
  larger.name = "x";
  EXPECT_EQ(await(records->create_identity(anna, larger)).error().code, Errc::too_large);
  EXPECT_EQ(await(records->update_identity(anna, change_to(larger))).error().code, Errc::too_large);
  EXPECT_THAT(await(records->identities(anna, "", everything))->list, ElementsAre(one));
  const auto octets = identity_bytes_max + 3;
  EXPECT_TRUE(await(records->identities(anna, "", {std::nullopt, octets})));
  EXPECT_EQ(await(records->identities(anna, "", {std::nullopt, octets - 1})).error().code, Errc::too_large);
  EXPECT_THAT(await(records->identities(anna, "", {{{one.id + 1}}, octets - 1}))->list, IsEmpty());
}

TEST_F(RecordsTest, TwoChangesOfAnIdentityAtOnceBothStay) {
  Identity one;
  one.email = "a@b";
  one.id = await(records->create_identity(anna, one)).value();
  EXPECT_TRUE(await(records->update_identity(anna, {one.id, "name", {}, {}, {}, {}})));
  EXPECT_TRUE(await(records->update_identity(anna, {one.id, {}, {}, "[]", {}, {}})));
  const auto now_is = await(records->identities(anna, "", everything))->list.at(0);
  EXPECT_EQ(now_is.name, "name");
  EXPECT_EQ(now_is.bcc, "[]");
  EXPECT_EQ(now_is.reply_to, "null");
}

TEST_F(RecordsTest, SubmissionsByTheirIdsAndInFewWords) {
  const auto first = add(), second = add(), third = add();
  EXPECT_TRUE(await(records->destroy_submission(anna, second)));
  const Selection some{{{third, first, second, 99, third}}, 1u << 20};
  const auto found = await(records->submissions(anna, some)).value();
  ASSERT_EQ(found.list.size(), 2u);
  EXPECT_EQ(found.list[0].id, first);
  EXPECT_EQ(found.list[1].recipients.size(), 2u);
  EXPECT_THAT(await(records->submissions(bert, some))->list, IsEmpty());
  EXPECT_EQ(await(records->submissions(anna, {std::nullopt, 1'000})).error().code, Errc::too_large);
  EXPECT_TRUE(await(records->submissions(anna, {{{first}}, 1'000})));
  const auto summaries = await(records->summaries(anna)).value();
  EXPECT_EQ(summaries.state, found.state);
  ASSERT_EQ(summaries.list.size(), 2u);
  EXPECT_EQ(summaries.list[1].id, third);
  EXPECT_EQ(summaries.list[1].email_id, "e1");
  EXPECT_EQ(summaries.list[1].send_at, found.list[1].send_at);
}

TEST_F(RecordsTest, WhatIsDoneIsForgottenAlsoIfNobodySends) {
  const auto sent = add(), held = add();
  finish(sent);
  clock.advance(std::chrono::hours(24 * 40));
  EXPECT_TRUE(await(records->cancel(anna, held)).value());
  EXPECT_THAT(await(records->submission(sent)).error().code, Errc::not_found);
  // Its time begins when it is done, not when it was made.
  clock.advance(std::chrono::hours(24 * 29));
  EXPECT_EQ(await(records->summaries(anna))->list.size(), 1u);
  clock.advance(std::chrono::hours(24 * 2));
  EXPECT_THAT(await(records->summaries(anna))->list, IsEmpty());
}

TEST_F(RecordsTest, NobodyElseMayReadIt) {
  add();
  for (const auto* file : {"/records.sqlite", "/records.sqlite-wal"}) {
    struct stat info{};
    ASSERT_EQ(stat((folder.path() + file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << file;
  }
}

PushSubscription subscription_of(const Owner& owner) {
  PushSubscription made;
  made.owner = owner;
  made.credential = "s1234";
  made.device = "device";
  made.url = std::make_shared<const Secret>("https://push.example.com/a-very-secret-path");
  made.p256dh = std::make_shared<const Secret>(std::string_view("p\0int", 5));
  made.auth = std::make_shared<const Secret>("auth");
  made.server_key = "key";
  made.code = "code";
  made.created_at = 5;
  made.types = {"Email", "Mailbox"};
  return made;
}

TEST_F(RecordsTest, PushSubscriptionsLast) {
  const auto id = await(records->add_push_subscription(subscription_of(anna))).value();
  auto plain = subscription_of(bert);
  plain.p256dh = plain.auth = nullptr;
  plain.types.reset();
  plain.expires = 77;
  const auto other = await(records->add_push_subscription(plain)).value();
  EXPECT_NE(id, other);
  open();
  auto all = await(records->push_subscriptions()).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].owner, anna);
  EXPECT_EQ(all[0].credential, "s1234");
  EXPECT_EQ(all[0].device, "device");
  EXPECT_EQ(all[0].url->expose(), "https://push.example.com/a-very-secret-path");
  EXPECT_EQ(all[0].p256dh->expose(), std::string_view("p\0int", 5));
  EXPECT_EQ(all[0].auth->expose(), "auth");
  EXPECT_EQ(all[0].server_key, "key");
  EXPECT_EQ(all[0].code, "code");
  EXPECT_FALSE(all[0].verified);
  EXPECT_EQ(all[0].created_at, 5);
  EXPECT_EQ(all[0].expires, 0);
  EXPECT_EQ(all[0].types, (std::vector<std::string>{"Email", "Mailbox"}));
  EXPECT_EQ(all[1].owner, bert);
  EXPECT_EQ(all[1].p256dh, nullptr);
  EXPECT_EQ(all[1].types, std::nullopt);
  EXPECT_EQ(all[1].expires, 77);
}

TEST_F(RecordsTest, PushSubscriptionsChange) {
  auto made = subscription_of(anna);
  made.id = await(records->add_push_subscription(made)).value();
  made.verified = true;
  made.expires = 99;
  made.types = std::vector<std::string>{};
  EXPECT_TRUE(await(records->update_push_subscription(made)));
  const auto all = await(records->push_subscriptions()).value();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_TRUE(all[0].verified);
  EXPECT_EQ(all[0].expires, 99);
  EXPECT_EQ(all[0].types, std::vector<std::string>{});
  EXPECT_TRUE(await(records->remove_push_subscriptions({made.id})));
  EXPECT_EQ(await(records->update_push_subscription(made)).error().code, Errc::not_found);
}

// RFC 8620, 7.2: URL and keys are securely erased.
TEST_F(RecordsTest, NothingIsLeftOfAPushSubscriptionThatWasRemoved) {
  const auto is_anywhere = [this] {
    for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
      std::ifstream in(file.path(), std::ios::binary);
      const std::string octets{std::istreambuf_iterator<char>(in), {}};
      if (octets.find("a-very-secret-path") != std::string::npos) return true;
    }
    return false;
  };
  const auto id = await(records->add_push_subscription(subscription_of(anna))).value();
  EXPECT_TRUE(is_anywhere());
  EXPECT_TRUE(await(records->remove_push_subscriptions({id})));
  EXPECT_FALSE(is_anywhere());
  EXPECT_THAT(await(records->push_subscriptions()).value(), IsEmpty());
}

TEST_F(RecordsTest, WhoeverObservesHearsOfNewStates) {
  struct Seen {
    std::mutex mutex;
    std::vector<std::pair<Type, std::string>> all;
  } seen;
  store->observe([&seen, this](const Owner& owner, Type type, const std::string& state) {
    EXPECT_EQ(owner, anna);
    const std::lock_guard lock(seen.mutex);
    seen.all.emplace_back(type, state);
  });
  const auto told = [&] {
    const std::lock_guard lock(seen.mutex);
    return seen.all;
  };
  const auto before = await(records->states(anna)).value();
  EXPECT_EQ(before.identity, before.submission);
  // The first identity comes of itself, and nobody knew of a time without.
  const auto first = await(records->identities(anna, anna.login, everything)).value();
  EXPECT_EQ(await(records->states(anna))->identity, first.state);
  EXPECT_THAT(told(), IsEmpty());
  Identity work;
  work.email = "work@example.org";
  EXPECT_TRUE(await(records->create_identity(anna, work)));
  const auto identity = await(records->states(anna))->identity;
  EXPECT_NE(identity, first.state);
  add();
  const auto submission = await(records->states(anna))->submission;
  EXPECT_EQ(submission, await(records->submissions(anna, everything))->state);
  ASSERT_TRUE(pump_until([&] { return told().size() == 2; }));
  EXPECT_THAT(told(),
              ElementsAre(std::pair(Type::identity, identity), std::pair(Type::submission, submission)));
  EXPECT_EQ(await(records->destroy_identity(anna, 12'345)).error().code, Errc::not_found);
  EXPECT_TRUE(await(records->states(bert)));
  EXPECT_EQ(told().size(), 2u);
  store->stop();
}

}  // namespace
}  // namespace postern::records
