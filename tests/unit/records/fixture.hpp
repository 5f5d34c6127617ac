// A database in a folder of its own, and a loop to ask it from.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "postern/records/records.hpp"
#include "support/loop_fixture.hpp"
#include "support/temporary_folder.hpp"

namespace postern::records {

struct RecordsTest : test::LoopFixture {
  test::TemporaryFolder folder{test::TemporaryFolder::in_memory()};
  std::unique_ptr<Store> store;
  std::unique_ptr<Records> records;
  Owner anna{1, "anna@example.org"}, bert{2, "bert@example.org"};
  const Selection everything{std::nullopt, 1u << 20};

  RecordsTest() { open(); }
  ~RecordsTest() override { close(); }

  StoreOptions options() const { return {folder.path() + "/records.sqlite", std::chrono::hours(24 * 30), 0}; }
  void close() {
    if (store) store->stop();
    records.reset();
    store.reset();
  }
  void open() { open(options()); }
  void open(const StoreOptions& with) {
    close();
    auto opened = Store::open(with, clock, random);
    if (!opened) throw std::runtime_error(opened.error().to_string());
    store = std::move(*opened);
    records = store->on(loop);
  }
  // What the disk holds now, in a folder of its own: as after a crash.
  StoreOptions copy_of_now(const std::string& name) const {
    const auto to = folder.path() + "/" + name;
    std::filesystem::create_directory(to);
    for (const auto* file : {"/records.sqlite", "/records.sqlite-wal"})
      if (std::filesystem::exists(folder.path() + file))
        std::filesystem::copy_file(folder.path() + file, to + file);
    return {to + "/records.sqlite", std::chrono::hours(24 * 30), 0};
  }
  std::int64_t now() const { return unix_seconds(clock.wall()); }

  std::uint64_t content(const std::string& text) {
    const auto id = await(records->begin_content(anna, true)).value();
    EXPECT_TRUE(await(records->append_content(id, 0, text)));
    return id;
  }
  Submission submission(std::int64_t send_at = 0) {
    Submission made;
    made.identity_id = 1;
    made.email_id = "e1";
    made.thread_id = "t1";
    made.envelope = "{}";
    made.mail_from = anna.login;
    made.created_at = now();
    made.send_at = made.next_attempt = send_at > 0 ? send_at : now();
    made.recipients = {{"x@y", "", Delivered::queued, ""}, {"z@y", " NOTIFY=NEVER", Delivered::queued, ""}};
    made.content = content("A: b\r\n\r\nt\r\n");
    made.size = 11;
    return made;
  }
  std::uint64_t add(bool told = true) {
    const auto id = await(records->add_submission(anna, submission())).value();
    if (told) {
      EXPECT_TRUE(await(records->tell(id)));
    }
    return id;
  }
  static IdentityChange change_to(const Identity& one) {
    return {one.id, one.name, one.reply_to, one.bcc, one.text_signature, one.html_signature};
  }
  // Takes the submission as sent.
  void finish(std::uint64_t id) {
    auto one = await(records->submission(id)).value();
    one.phase = Phase::done;
    one.undo_status = UndoStatus::final;
    ASSERT_TRUE(await(records->end_attempt(one)));
  }
  Changes changes(Type type, const std::string& since, std::size_t most = 0) {
    return await(records->changes(anna, type, since, most)).value();
  }
};

}  // namespace postern::records
