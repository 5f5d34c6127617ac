// An account whose /changes are asked for, and the tiers of servers on which they are.
#pragma once

#include "unit/mail/account_fixture.hpp"

namespace postern::mail {

struct AccountChangesTest : AccountFixture {
  MailboxKey inbox = 0, archive = 0;
  std::vector<EmailKey> ids;  // INBOX's, newest first

  void open() {
    start();
    inbox = mailbox("INBOX");
    archive = mailbox("Archive");
    ids = page(inbox, 0, 20).ids;
    idle();
    imapd->reset_counts();
  }
  void offer(std::vector<std::string> without) {
    options.capabilities = testimapd::capabilities_of("full");
    std::erase_if(options.capabilities, [&](const std::string& capability) {
      return std::find(without.begin(), without.end(), capability) != without.end();
    });
  }
  Result<Changes<EmailKey>> since(const std::string& state, std::size_t max = changes_unlimited) {
    return await(account->email_changes(state, max));
  }
  Changes<EmailKey> told(const std::string& state, std::size_t max = changes_unlimited) {
    auto changes = since(state, max);
    EXPECT_TRUE(changes) << (changes ? "" : changes.error().to_string());
    return changes ? *changes : Changes<EmailKey>{};
  }
  Changes<MailboxKey> mailboxes_since(const std::string& state) {
    auto changes = await(account->mailbox_changes(state, changes_unlimited));
    EXPECT_TRUE(changes) << (changes ? "" : changes.error().to_string());
    return changes ? *changes : Changes<MailboxKey>{};
  }
  Changes<ThreadKey> threads_since(const std::string& state) {
    auto changes = await(account->thread_changes(state, changes_unlimited));
    EXPECT_TRUE(changes) << (changes ? "" : changes.error().to_string());
    return changes ? *changes : Changes<ThreadKey>{};
  }
  // A state that is given to a client now.
  std::string email_state() { return account->state(StateType::email); }
  std::string mailbox_state() {
    auto all = await(account->mailboxes());
    EXPECT_TRUE(all);
    return all ? all->state : "";
  }
  bool move(const EmailKey& id, MailboxKey target) {
    return update(EmailUpdate{id, {}, {}, std::vector{target}, {}}).done;
  }
  // Takes both connections to other mailboxes.
  void leave_inbox() {
    page(archive);
    page(mailbox("Sent"));
    page(mailbox("Junk"));
    idle();
    imapd->reset_counts();
  }
  std::string uid(const EmailKey& id) { return std::to_string(id.uid); }
};

struct Tier {
  std::string name;
  std::vector<std::string> without;
  bool exact;  // what happens in a mailbox that was heard once
};
inline void PrintTo(const Tier& tier, std::ostream* out) { *out << tier.name; }
inline const Tier qresync{"QRESYNC", {}, true}, condstore{"CONDSTORE", {"QRESYNC"}, true},
    neither{"neither", {"QRESYNC", "CONDSTORE"}, false}, copy{"COPY", {"MOVE"}, true},
    bare{"bare", {"QRESYNC", "CONDSTORE", "MOVE", "LIST-STATUS", "SORT"}, false};

struct AccountTierTest : AccountChangesTest, ::testing::WithParamInterface<Tier> {
  AccountTierTest() { offer(GetParam().without); }
};

}  // namespace postern::mail
