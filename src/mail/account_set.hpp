// What Email/set's plans and its commands share. Private. Owned by the coroutine that carries out the call.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mail/account_support.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {

// What is done at one of the places that an Email is at.
struct Account::Part {
  Change* change = nullptr;
  Place place;
  std::vector<std::string> add, remove;  // IMAP flags
  std::vector<MailboxKey> copy_to;
  std::optional<MailboxKey> move_to;
  bool expunge = false;
  bool moved = false;                       // by us
  bool placed = false;                      // elsewhere too, or instead, or marked \Deleted: by us
  std::vector<std::string> added, removed;  // of the flags: what has been done

  bool has_effect() const { return !copy_to.empty() || changes_mailbox(); }
  bool changes_mailbox() const { return !add.empty() || !remove.empty() || move_to || expunge; }
};

struct Account::Change {
  EmailKey id;     // as the client has it
  EmailKey whole;  // and as its places are recorded
  std::vector<Place> places;
  std::vector<Part> parts;              // one for each of them that the message is at
  const EmailUpdate* update = nullptr;  // null: to be destroyed
  SetOutcome outcome;

  bool failed() const { return !outcome.error_type.empty(); }
  void fail_with(std::string type, std::string description, std::vector<std::string> properties = {}) {
    outcome = {false, std::move(type), std::move(description), std::move(properties)};
  }
  bool is_lost() const { return outcome.error_type == not_found; }
  void begin(const EmailKey& email, const std::vector<Place>& at) {
    whole = email;
    places = at;
    parts.clear();
    for (const auto& place : places) parts.emplace_back().change = this, parts.back().place = place;
    outcome = {};
  }
  // Certainly not done: by a refusal, or since nothing could be sent.
  bool is_refused() const { return failed() && !is_lost() && outcome.error_type != "serverFail"; }
  void lost() { fail_with(not_found, "no such Email"); }
  // Its mailbox couldn't be looked into.
  void closed(const Error& why) {
    if (why.code == make_error_code(Errc::not_found)) return lost();
    if (why.code == make_error_code(Errc::forbidden)) return fail_with("forbidden", why.code.message());
    const bool refused = why.code == make_error_code(Errc::server_refused);
    fail_with("serverUnavailable", refused ? "the mail server refused: " + sanitize_utf8(why.context)
                                           : std::string("the mail server can't be reached"));
  }

 private:
  static constexpr const char* not_found = "notFound";
};

}  // namespace postern::mail
