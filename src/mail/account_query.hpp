// What the two halves of Account's queries share. Private.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mail/account_support.hpp"
#include "mail/filter_program.hpp"

namespace postern::mail {

struct Account::Found {
  ViewPtr view;
  std::shared_ptr<const UidList> uids;
  // The UIDs' own, and the view's when they were found: while others were waited for, both can have changed.
  std::uint32_t uid_validity = 0;
  std::uint64_t version = 0;
  Freshness freshness = Freshness::current;
  bool restricted = false;  // to some of them, by what other mailboxes have
  bool is_unchanged() const { return version == view->version(); }
};

// What a filter about mailboxes makes of Emails that are in several: each is decided by all that it is in.
struct Account::SharedMatches {
  std::unordered_set<Place, PlaceHash> dropped;  // don't match, or not for what this mailbox alone says
  struct Added {                                 // match, and no mailbox has them among its matches
    MailboxKey mailbox = 0;
    Filter filter;
    imap::UidSet uids;
  };
  std::vector<Added> added;
};

struct Account::QueryThreads {
  ThreadKeywords keywords;
  // The mailboxes that these were taken from, and their versions then.
  std::vector<std::pair<ViewPtr, std::uint64_t>> views;
  std::string signature;  // equal for equal versions
  Freshness freshness = Freshness::current;
  bool is_unchanged() const {
    for (const auto& [view, version] : views)
      if (view->version() != version) return false;
    return true;
  }
};

}  // namespace postern::mail
