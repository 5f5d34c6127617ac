// What is left when the broker ends at any moment, when the disk is full, and when the file is broken.
#include <fstream>

#include "unit/records/fixture.hpp"

namespace postern::records {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(RecordsTest, BeforeItIsWrittenDownThereIsNothing) {
  content("half of a message");
  open(copy_of_now("crash"));
  EXPECT_THAT(*await(records->waiting(0, 1)), IsEmpty());
  EXPECT_EQ(await(records->content_piece(1, 0)).value(), "");  // nobody wants it any more
}

TEST_F(RecordsTest, WrittenDownIsSentLaterAndTold) {
  const auto id = add(false);
  open(copy_of_now("crash"));
  EXPECT_EQ(store->recovery().waiting, 1u);
  ASSERT_EQ(await(records->waiting(0, 1))->size(), 1u);
  EXPECT_EQ(await(records->waiting(0, 1))->at(0).owner, anna);
  const auto one = await(records->submission(id)).value();
  EXPECT_EQ(await(records->content_piece(one.content, 0)).value(), "A: b\r\n\r\nt\r\n");
  EXPECT_EQ(await(records->submissions(anna, everything))->list.size(), 1u);
}

TEST_F(RecordsTest, InTheDoubtfulMomentItIsUnknownAndNotSentAgain) {
  const auto id = add(false);
  ASSERT_TRUE(await(records->begin_sending(id)).value());
  open(copy_of_now("crash"));
  EXPECT_EQ(store->recovery().sending, 1u);
  EXPECT_THAT(*await(records->waiting(0, 1)), IsEmpty());
  EXPECT_FALSE(await(records->begin_sending(id)).value());
  const auto all = await(records->submissions(anna, everything));
  ASSERT_EQ(all->list.size(), 1u);
  EXPECT_EQ(all->list[0].undo_status, UndoStatus::final);
  for (const auto& recipient : all->list[0].recipients) {
    EXPECT_EQ(recipient.delivered, Delivered::unknown);
    EXPECT_THAT(recipient.reply, HasSubstr("may have been delivered"));
  }
}

TEST_F(RecordsTest, DoneIsDone) {
  const auto id = add();
  ASSERT_TRUE(await(records->begin_sending(id)).value());
  auto one = await(records->submission(id)).value();
  one.phase = Phase::done;
  one.recipients[0].delivered = one.recipients[1].delivered = Delivered::unknown;
  one.recipients[0].reply = "250 ok";
  ASSERT_TRUE(await(records->end_attempt(one)));
  const auto state = await(records->submissions(anna, everything))->state;
  open(copy_of_now("crash"));
  const auto all = await(records->submissions(anna, everything));
  EXPECT_EQ(all->state, state);
  EXPECT_EQ(all->list.at(0).recipients.at(0).reply, "250 ok");
  EXPECT_EQ(store->recovery().sending + store->recovery().waiting, 0u);
}

TEST_F(RecordsTest, WhateverIsInItItIsOpenedAgain) {
  Identity one;
  one.email = "a@b";
  await(records->create_identity(anna, one)).value();
  EXPECT_TRUE(await(records->destroy_identity(anna, await(records->create_identity(anna, one)).value())));
  const auto canceled = add();
  EXPECT_TRUE(await(records->cancel(anna, canceled)).value());
  EXPECT_TRUE(await(records->destroy_submission(anna, canceled)));
  EXPECT_TRUE(await(records->destroy_submission(anna, add())));
  add();
  const auto state = await(records->submissions(anna, everything))->state;
  open();
  EXPECT_EQ(await(records->submissions(anna, everything))->state, state);
  EXPECT_EQ(await(records->submissions(anna, everything))->list.size(), 1u);
  EXPECT_EQ(store->recovery().waiting, 2u);
}

TEST_F(RecordsTest, AFullDiskIsToldAndLosesNothing) {
  auto small = options();
  small.path = folder.path() + "/small.sqlite";
  small.pages_max = 100;
  open(small);
  const auto kept = add();
  const auto id = await(records->begin_content(anna, true)).value();
  Result<> written;
  for (std::uint32_t piece = 0; written && piece < 100; ++piece)
    written = await(records->append_content(id, piece, std::string(100'000, 'x')));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::full);
  EXPECT_EQ(await(records->submissions(anna, everything))->list.size(), 1u);
  EXPECT_TRUE(await(records->drop_content(id)));
  EXPECT_TRUE(await(records->begin_sending(kept)).value());
  EXPECT_TRUE(await(records->add_submission(anna, submission())));
}

TEST_F(RecordsTest, ABrokenFileIsRefused) {
  add();
  close();
  const auto path = options().path;
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file << "this is no database at all";
  }
  EXPECT_EQ(Store::open(options(), clock, random).error().code, Errc::damaged);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(Store::open(options(), clock, random).error().code, Errc::unavailable);
}

TEST_F(RecordsTest, TwoBrokersCantHaveIt) {
  EXPECT_EQ(Store::open(options(), clock, random).error().code, Errc::unavailable);
}

TEST_F(RecordsTest, AClosedStoreSaysWhy) {
  close();
  store = Store::closed(Error(make_error_code(Errc::damaged), "broken"));
  records = store->on(loop);
  EXPECT_EQ(await(records->identities(anna, anna.login, everything)).error().context, "broken");
}

}  // namespace
}  // namespace postern::records
