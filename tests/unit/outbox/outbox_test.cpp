// Attempts, and what is tried again, over a database and an outgoing mail server of the test's own.
#include "postern/outbox/outbox.hpp"

#include <sys/resource.h>

#include <csignal>
#include <deque>

#include "unit/records/fixture.hpp"

namespace postern::outbox {
namespace {

using records::Delivered;
using records::Phase;
using records::UndoStatus;
using smtp::Outcome;
using smtp::Stage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct FakeTransport final : smtp::Transport {
  std::deque<Outcome> outcomes;  // when none is left, everything is accepted
  std::vector<smtp::Envelope> sent;
  std::vector<std::string> logins, contents;
  io::Event* hold = nullptr;  // waited for before commit
  std::function<void()> committed;
  int aborted = 0;

  io::Task<Outcome> send(smtp::Envelope envelope, smtp::Credentials credentials, smtp::ContentReader content,
                         smtp::Commit commit) override {
    sent.push_back(envelope);
    logins.push_back(credentials.login);
    std::string all;
    for (;;) {
      auto piece = co_await content();
      if (!piece || piece->empty()) break;
      all += *piece;
    }
    contents.push_back(all);
    Outcome outcome;
    outcome.kind = Outcome::Kind::accepted;
    outcome.reply = smtp::Reply{250, {"queued"}};
    outcome.recipients.assign(envelope.recipients.size(), smtp::Reply{250, {"ok"}});
    if (!outcomes.empty()) {
      outcome = std::move(outcomes.front());
      outcomes.pop_front();
    }
    if (hold != nullptr) co_await hold->wait();
    const bool reaches_end = outcome.kind == Outcome::Kind::accepted ||
                             outcome.kind == Outcome::Kind::unknown ||
                             (outcome.kind == Outcome::Kind::refused && outcome.stage == Stage::content);
    if (reaches_end && !co_await commit()) {
      outcome.kind = Outcome::Kind::aborted;
      ++aborted;
    }
    if (reaches_end && committed) committed();
    co_return outcome;
  }
};

// While it lives no file of this process grows: a disk that is full.
class FullDisk {
 public:
  FullDisk() {
    signal_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_FSIZE, &none);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_{};
  void (*signal_)(int) = nullptr;
};

Outcome refused(Stage stage, int code) {
  Outcome outcome;
  outcome.kind = Outcome::Kind::refused;
  outcome.stage = stage;
  outcome.reply = smtp::Reply{code, {"no"}};
  return outcome;
}

struct OutboxTest : records::RecordsTest {
  FakeTransport* transport = nullptr;
  std::unique_ptr<Outbox> outbox;
  Options options;

  OutboxTest() { make(); }
  ~OutboxTest() override {
    store->stop();
    outbox.reset();
  }
  void make() {
    outbox.reset();
    auto fake = std::make_unique<FakeTransport>();
    transport = fake.get();
    outbox = std::make_unique<Outbox>(loop, store->on(loop), std::move(fake), options);
  }
  static smtp::Credentials person(const std::string& secret = "secret") {
    return {smtp::Credentials::Kind::password, "anna", "", Secret(secret)};
  }
  Submitted submit(std::int64_t send_at = 0) {
    return await(outbox->submit(anna, submission(send_at), person())).value();
  }
  records::Submission get(std::uint64_t id) { return await(records->submission(id)).value(); }
  bool pump_until_sent(std::size_t count) {
    return pump_until([&] { return transport->sent.size() >= count; });
  }
  bool pump_until_idle() {
    return pump_until([&] { return outbox->waiting() == 0; });
  }
  bool pump_until_attempts(std::uint64_t id, std::uint32_t count) {
    return pump_until([&] { return get(id).attempts == count; });
  }
};

TEST_F(OutboxTest, AtOnce) {
  const auto done = submit();
  ASSERT_NE(done.id, 0u);
  EXPECT_THAT(transport->contents, ElementsAre("A: b\r\n\r\nt\r\n"));
  EXPECT_TRUE(transport->sent.at(0).all_or_none);
  const auto one = get(done.id);
  EXPECT_EQ(one.undo_status, UndoStatus::final);
  EXPECT_EQ(one.recipients.at(0).delivered, Delivered::unknown);
  EXPECT_EQ(one.recipients.at(0).reply, "250 ok");
  EXPECT_EQ(await(records->submissions(anna, everything))->list.size(), 1u);
}

TEST_F(OutboxTest, WhatFailsAtOnceLeavesNothing) {
  for (const auto stage :
       {Stage::connect, Stage::authenticate, Stage::mail_from, Stage::recipients, Stage::content}) {
    transport->outcomes.push_back(refused(stage, 550));
    EXPECT_EQ(submit().id, 0u);
  }
  transport->outcomes.emplace_back();  // unavailable
  EXPECT_EQ(submit().id, 0u);
  EXPECT_THAT(await(records->submissions(anna, everything))->list, IsEmpty());
  EXPECT_THAT(*await(records->waiting(0, 1)), IsEmpty());
}

TEST_F(OutboxTest, UnknownIsNoFailure) {
  Outcome unknown;
  unknown.kind = Outcome::Kind::unknown;
  unknown.recipients.assign(2, smtp::Reply{250, {"ok"}});
  transport->outcomes.push_back(unknown);
  const auto done = submit();
  ASSERT_NE(done.id, 0u);
  EXPECT_EQ(get(done.id).phase, Phase::done);
  EXPECT_EQ(get(done.id).recipients.at(1).delivered, Delivered::unknown);
  EXPECT_EQ(outbox->waiting(), 0u);
}

TEST_F(OutboxTest, LaterAndOnlyWithThePersonsPassword) {
  const auto first = submit(now() + 100);
  EXPECT_EQ(get(first.id).undo_status, UndoStatus::pending);
  EXPECT_THAT(transport->sent, IsEmpty());
  clock.advance(std::chrono::seconds(101));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_THAT(transport->logins, ElementsAre("anna"));
  EXPECT_EQ(get(first.id).undo_status, UndoStatus::final);

  // A new broker hasn't the password.
  submit(now() + 100);
  make();
  outbox->start(1, 2);
  EXPECT_TRUE(pump_until([&] { return outbox->waiting() == 1; }));
  clock.advance(std::chrono::seconds(200));
  loop.poll();
  EXPECT_THAT(transport->sent, IsEmpty());
  EXPECT_TRUE(outbox->has_waiting(anna));
  EXPECT_FALSE(outbox->has_waiting(bert));
  outbox->take_credentials(anna, person());
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(transport->sent.size(), 1u);
  EXPECT_FALSE(outbox->has_waiting(anna));
}

TEST_F(OutboxTest, ARelayNeedsNobody) {
  options.sign_in = SignInAs::relay;
  options.relay = std::make_shared<const smtp::Credentials>(
      smtp::Credentials{smtp::Credentials::Kind::password, "relay", "", Secret("x")});
  make();
  submit(now() + 100);
  make();
  outbox->start(0, 1);
  EXPECT_TRUE(pump_until([&] { return outbox->waiting() == 1; }));
  clock.advance(std::chrono::seconds(200));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_THAT(transport->logins, ElementsAre("relay"));
}

TEST_F(OutboxTest, RefusedForTheMomentIsTriedAgainForThoseAlone) {
  Outcome partly;
  partly.kind = Outcome::Kind::accepted;
  partly.reply = smtp::Reply{250, {"queued"}};
  partly.recipients = {smtp::Reply{250, {"ok"}}, smtp::Reply{450, {"later"}}};
  transport->outcomes.push_back(partly);
  const auto done = submit();
  EXPECT_EQ(get(done.id).phase, Phase::waiting);
  EXPECT_EQ(get(done.id).undo_status, UndoStatus::final);
  EXPECT_FALSE(await(outbox->cancel(anna, done.id)).value());
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(pump_until_idle());
  ASSERT_EQ(transport->sent.at(1).recipients.size(), 1u);
  EXPECT_EQ(transport->sent[1].recipients[0].address, "z@y");
}

TEST_F(OutboxTest, GivenUpInTheEnd) {
  const auto done = submit(now() + 10);
  // Enough for all attempts: one may begin whenever the loop runs.
  for (int i = 0; i < 100; ++i) transport->outcomes.push_back(refused(Stage::connect, 421));
  clock.advance(std::chrono::seconds(11));
  for (std::uint32_t attempt = 1; attempt < 100 && get(done.id).phase != Phase::done; ++attempt) {
    EXPECT_TRUE(pump_until_attempts(done.id, attempt));
    const auto pause = get(done.id).next_attempt - now();
    EXPECT_LE(pause, 30 * 60);
    EXPECT_GE(pause, 60);
    loop.poll();
    clock.advance(std::chrono::seconds(pause + 61));
  }
  const auto one = get(done.id);
  EXPECT_EQ(one.phase, Phase::done);
  EXPECT_EQ(one.undo_status, UndoStatus::canceled);  // nobody got it
  EXPECT_EQ(one.recipients.at(0).delivered, Delivered::no);
  EXPECT_THAT(one.recipients.at(0).reply, HasSubstr("421"));
}

TEST_F(OutboxTest, RefusedForGoodBehindTheScenesIsTold) {
  const auto done = submit(now() + 10);
  transport->outcomes.push_back(refused(Stage::content, 554));
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(done.id).recipients.at(0).reply, "554 no");
  EXPECT_EQ(get(done.id).recipients.at(0).delivered, Delivered::no);
}

TEST_F(OutboxTest, APasswordThatIsRefusedIsNotTriedAgain) {
  const auto done = submit(now() + 10);
  transport->outcomes.push_back(refused(Stage::authenticate, 535));
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(pump_until_attempts(done.id, 1));
  clock.advance(std::chrono::hours(2));
  loop.poll();
  EXPECT_EQ(transport->sent.size(), 1u);
  outbox->take_credentials(anna, person("new"));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(done.id).undo_status, UndoStatus::final);
}

TEST_F(OutboxTest, CanceledInTheLastMomentIsNotSent) {
  io::Event hold(loop);
  const auto done = submit(now() + 10);
  transport->hold = &hold;
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(pump_until_sent(1));
  EXPECT_TRUE(await(outbox->cancel(anna, done.id)).value());
  hold.set();
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(done.id).undo_status, UndoStatus::canceled);
}

TEST_F(OutboxTest, StopWaitsForWhatIsUnderWayAndBeginsNothing) {
  io::Event hold(loop);
  submit(now() + 10);
  transport->hold = &hold;
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(pump_until_sent(1));
  bool stopped = false;
  const auto stop = [](Outbox& all, MonotonicTime deadline, bool& over) -> io::Task<> {
    co_await all.stop(deadline);
    over = true;
  };
  loop.spawn(stop(*outbox, clock.now() + std::chrono::seconds(10), stopped));
  loop.poll();
  EXPECT_FALSE(stopped);
  hold.set();
  EXPECT_TRUE(pump_until([&] { return stopped; }));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(await(outbox->submit(anna, submission(), person())).error().code, Errc::stopping);
}

// Requests under way have their time before that: what they send still goes out.
TEST_F(OutboxTest, NothingOfWhatWaitsIsBegunBeforeAStop) {
  submit(now() + 10);
  outbox->hold();
  clock.advance(std::chrono::seconds(11));
  submit();
  submit();
  EXPECT_EQ(transport->sent.size(), 2u);
}

TEST_F(OutboxTest, AFullDiskDelaysWhatIsDueAndLosesNothing) {
  const auto done = submit(now() + 10);
  io::Event hold(loop);
  transport->hold = &hold;
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(pump_until_sent(1));
  {
    const FullDisk full;
    hold.set();
    EXPECT_TRUE(pump_until([&] { return transport->aborted == 1; }));
    loop.poll();
  }
  EXPECT_EQ(outbox->waiting(), 1u);
  EXPECT_EQ(get(done.id).undo_status, UndoStatus::pending);
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(transport->sent.size(), 2u);
  EXPECT_EQ(get(done.id).undo_status, UndoStatus::final);
}

TEST_F(OutboxTest, WhatWasSentIsWrittenDownAsSoonAsItCanBe) {
  std::optional<FullDisk> full;
  transport->committed = [&] { full.emplace(); };
  const auto at_once = submit();
  full.reset();
  EXPECT_EQ(get(at_once.id).phase, Phase::sending);
  EXPECT_EQ(outbox->waiting(), 1u);
  EXPECT_FALSE(await(outbox->cancel(anna, at_once.id)).value());
  transport->committed = {};
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(at_once.id).phase, Phase::done);
  EXPECT_EQ(get(at_once.id).recipients.at(0).reply, "250 ok");
  EXPECT_TRUE(pump_until([&] { return await(records->submissions(anna, everything))->list.size() == 1; }));
  EXPECT_EQ(transport->sent.size(), 1u);  // once

  // The same behind the scenes, and for what is refused.
  transport->outcomes.push_back(refused(Stage::content, 554));
  transport->committed = [&] { full.emplace(); };
  const auto later = submit(now() + 10);
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(
      pump_until([&] { return logger.count("what became of a message can't be written down") == 2; }));
  full.reset();
  transport->committed = {};
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(later.id).recipients.at(0).reply, "554 no");
  EXPECT_EQ(transport->sent.size(), 2u);
}

TEST_F(OutboxTest, RecordsThatCantBeReadAreAskedAgain) {
  const auto broken = records::Store::closed(Error(records::make_error_code(records::Errc::damaged)));
  Outbox blind(loop, broken->on(loop), std::make_unique<FakeTransport>(), options);
  blind.start(0, 1);
  const auto asked = [&](std::size_t count) {
    return pump_until([&] { return logger.count("messages that wait can't be read") == count; });
  };
  EXPECT_TRUE(asked(1));
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(asked(2));
  clock.advance(std::chrono::seconds(61));  // each time after a longer pause
  loop.poll();
  EXPECT_TRUE(asked(2));
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(asked(3));
  broken->stop();
}

TEST_F(OutboxTest, WhoseSenderDoesntComeIsGivenUp) {
  const auto done = submit(now() + 10);
  make();
  outbox->start(1, 2);
  EXPECT_TRUE(pump_until([&] { return outbox->waiting() == 1; }));
  clock.advance(options.late_max);
  for (int i = 0; i < 3; ++i) loop.poll();
  EXPECT_EQ(outbox->waiting(), 1u);
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(done.id).undo_status, UndoStatus::canceled);
  EXPECT_EQ(get(done.id).recipients.at(0).delivered, Delivered::no);
  EXPECT_THAT(get(done.id).recipients.at(0).reply, HasSubstr("in time"));
  EXPECT_THAT(transport->sent, IsEmpty());
}

TEST_F(OutboxTest, ABrokerThatWasAwayForTooLongSendsNothingOld) {
  options.sign_in = SignInAs::nobody;
  make();
  const auto old = submit(now() + 10), young = submit(now() + 3600);
  make();
  clock.advance(options.late_max + std::chrono::seconds(10));
  outbox->start(1, 2);
  EXPECT_TRUE(pump_until([&] { return get(young.id).phase == Phase::done; }));
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(get(old.id).undo_status, UndoStatus::canceled);
  EXPECT_EQ(get(young.id).undo_status, UndoStatus::final);
  EXPECT_EQ(transport->sent.size(), 1u);
}

TEST_F(OutboxTest, BackgroundBound) {
  io::Event hold(loop);
  for (std::size_t i = 0; i <= background_sends_max; ++i) submit(now() + 10);
  transport->hold = &hold;
  clock.advance(std::chrono::seconds(11));
  EXPECT_TRUE(pump_until_sent(background_sends_max));
  loop.poll();
  EXPECT_EQ(transport->sent.size(), background_sends_max);
  hold.set();
  EXPECT_TRUE(pump_until_idle());
  EXPECT_EQ(transport->sent.size(), background_sends_max + 1);
}

}  // namespace
}  // namespace postern::outbox
