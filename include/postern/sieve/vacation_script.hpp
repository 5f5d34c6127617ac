// The one Sieve script that is Postern's: made from a VacationResponse, and known again.
//
// Its comments hold the response as it was given and the name of the script of the person's own that it includes;
// its first line has a digest of all that follows. What has no such line, or was edited behind it, is not Postern's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/mail/vacation.hpp"

namespace postern::sieve {

inline constexpr std::string_view vacation_script_name = "postern-vacation";
inline constexpr std::string_view default_vacation_text =
    "I am away at the moment and will read your message when I am back.";

struct VacationScript {
  mail::VacationResponse response;
  std::string include;  // the person's own script, which goes on running; empty: none
  friend bool operator==(const VacationScript&, const VacationScript&) = default;
};

// Needs the extensions that extensions_of() names. `addresses` are those that the person may be written to at besides
// what the server knows. A response that is not enabled makes a script that only includes.
std::string write_vacation_script(const VacationScript& script,
                                  const std::vector<std::string>& addresses = {});
std::vector<std::string> extensions_of(const VacationScript& script);
// A script that includes this one and does nothing else, to be checked by the server.
std::string write_include_probe(std::string_view name, bool optional);
// nullopt if it isn't one of ours, or was edited. Line ends may have become others.
std::optional<VacationScript> read_vacation_script(std::string_view text);

// What of a script matters to one that includes it.
struct ScriptUse {
  bool answers = false;               // has vacation, reject or ereject, which exclude another vacation
  std::vector<std::string> includes;  // personal scripts, by name
};
inline constexpr std::size_t script_includes_max = 64;  // of one script that are looked at
// Comments and strings are told from code (RFC 5228, 2). Never fails: what is no Sieve is looked at as far as it goes.
ScriptUse scan_script(std::string_view text);

}  // namespace postern::sieve
