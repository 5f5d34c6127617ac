// What the scripts on a server mean for the vacation response, and what has to be done to change it. No I/O. Private to
// the sieve layer.
//
// Nothing but Postern's own script is ever written or deleted; of the person's, one is included while the response is
// on, and made active again when it is switched off.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postern/mail/vacation.hpp"
#include "postern/sieve/protocol.hpp"
#include "postern/sieve/vacation_script.hpp"

namespace postern::sieve {

struct ScriptList {
  std::vector<std::string> names;
  std::string active;  // empty: none
  bool has(std::string_view name) const;
};
// The data lines of LISTSCRIPTS.
Result<ScriptList> parse_script_list(const std::vector<Line>& lines);

struct Scripts {
  ScriptList list;
  std::optional<std::string> ours;  // the text of the script with our name, where there is one
};

// The response as it is in force.
struct InForce {
  mail::VacationResponse response;  // enabled only if the script is ours, says so, and is active
  bool foreign = false;             // the name is taken by a script that isn't ours
  bool active = false;              // the script of that name is the active one
  std::string include;              // of ours
};
InForce in_force(const Scripts& scripts);
// Depends on the response alone.
std::string state_of(const mail::VacationResponse& response);

// What to do, in this order. Without steps there is nothing to do.
struct Plan {
  // To be looked at with scan_script() first, and what it includes as well.
  std::optional<std::string> include;
  bool include_listed = false;                 // there is a script of that name
  std::optional<std::string> activate_before;  // name; empty: none is active
  std::optional<std::string> put;              // the text of our script
  bool activate = false;                       // our script, behind the put
};
// A plan, or why it can't be: the outcome of the update.
std::expected<Plan, mail::SetOutcome> plan_change(const Scripts& scripts,
                                                  const mail::VacationResponse& wanted,
                                                  const Capabilities& capabilities,
                                                  const std::vector<std::string>& addresses);
// NO to the PUTSCRIPT or SETACTIVE.
mail::SetOutcome outcome_of(const Completion& refusal);

}  // namespace postern::sieve
