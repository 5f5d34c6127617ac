// The port through which JMAP sees a person's vacation response (RFC 8621, 8): no ManageSieve in it, no HTTP.
//
// One object an account, on the account's shard.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "postern/io/task.hpp"
#include "postern/mail/mailstore.hpp"

namespace postern::mail {

// What one may hold, in octets. More is a SetError tooLarge.
inline constexpr std::size_t vacation_subject_octets_max = 900;
inline constexpr std::size_t vacation_body_octets_max = 256 * 1024;

struct VacationResponse {
  bool is_enabled = false;
  std::optional<std::int64_t> from_date, to_date;  // seconds since 1970
  std::optional<std::string> subject, text_body, html_body;
  friend bool operator==(const VacationResponse&, const VacationResponse&) = default;
};

struct VacationUpdate {
  std::string old_state, new_state;
  bool state_mismatch = false;  // of `if_in_state`: nothing was done
  SetOutcome outcome;
};

class VacationStore {
 public:
  virtual ~VacationStore() = default;

  // Does the server have it for this account, as far as is known without asking?
  virtual bool is_offered() const = 0;
  // Asks where that isn't known, or was found out long ago; for a few seconds at most.
  virtual io::Task<bool> ask_whether_offered() = 0;

  // The state that was seen last; empty: none was. Whoever sets the hook hears when it is another one.
  virtual std::string known_state() const { return {}; }
  virtual void on_new_state(std::function<void()> hook) { (void)hook; }

  // The response as it is in force, whoever has changed it. Its state is another one exactly if it differs.
  // server_unavailable, authentication (the server for scripts refuses what the IMAP server takes), server_refused.
  virtual io::Task<Result<Snapshot<VacationResponse>>> get() = 0;
  // `change` gets the response as it is and makes it what it shall be. The errors of get(), and outcome_unknown.
  virtual io::Task<Result<VacationUpdate>> update(std::function<void(VacationResponse&)> change,
                                                  std::optional<std::string> if_in_state,
                                                  EffectsHook effects) = 0;
};

}  // namespace postern::mail
