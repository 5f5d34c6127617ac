// Which script is included, activated and written when (docs/jmap.md, "Vacation response"). Bounds: the limits of a
// VacationResponse.
#include "sieve/vacation_plan.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::sieve {
namespace {

mail::SetOutcome refusal(std::string type, std::string description,
                         std::vector<std::string> properties = {}) {
  return {false, std::move(type), std::move(description), std::move(properties)};
}

void add_field(std::string& out, const std::optional<std::string>& value) {
  out += value ? std::to_string(value->size()) + ":" + *value : "-";
  out += '\n';
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

// Nothing that a script can't say, or that is too long for one.
std::optional<mail::SetOutcome> fault_of(const mail::VacationResponse& wanted,
                                         const Capabilities& capabilities) {
  if (wanted.subject && has_control(*wanted.subject))
    return refusal("invalidProperties", "a subject is one line", {"subject"});
  for (const auto& [name, value] :
       {std::pair{"textBody", &wanted.text_body}, std::pair{"htmlBody", &wanted.html_body}})
    if (*value && (*value)->find('\0') != std::string::npos)
      return refusal("invalidProperties", "a body can't hold U+0000", {name});
  const auto size = [](const auto& value) { return value ? value->size() : 0; };
  if (size(wanted.subject) > mail::vacation_subject_octets_max ||
      size(wanted.text_body) > mail::vacation_body_octets_max ||
      size(wanted.html_body) > mail::vacation_body_octets_max)
    return refusal("tooLarge", "the subject or a body is too long");
  std::vector<std::string> dates;
  if (wanted.from_date) dates.emplace_back("fromDate");
  if (wanted.to_date) dates.emplace_back("toDate");
  if (wanted.is_enabled && !dates.empty() && !(capabilities.has("date") && capabilities.has("relational")))
    return refusal("invalidProperties", "the mail server's scripts know no dates", dates);
  return std::nullopt;
}

}  // namespace

bool ScriptList::has(std::string_view name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// sieve-name [SP "ACTIVE"] CRLF
Result<ScriptList> parse_script_list(const std::vector<Line>& lines) {
  ScriptList list;
  for (const auto& line : lines) {
    const bool active = line.size() == 2 && !line[1].is_string && iequals_ascii(line[1].text, "ACTIVE");
    if (line.empty() || !line[0].is_string || (line.size() > 1 && !active))
      return fail(Errc::syntax, "LISTSCRIPTS");
    list.names.push_back(line[0].text);
    if (active) list.active = line[0].text;
  }
  return list;
}

InForce in_force(const Scripts& scripts) {
  InForce now;
  now.active = scripts.list.active == vacation_script_name;
  if (!scripts.ours) return now;
  auto script = read_vacation_script(*scripts.ours);
  now.foreign = !script;
  if (!script) return now;
  now.response = std::move(script->response);
  now.response.is_enabled = now.response.is_enabled && now.active;
  now.include = std::move(script->include);
  return now;
}

std::string state_of(const mail::VacationResponse& response) {
  std::string all = response.is_enabled ? "1\n" : "0\n";
  for (const auto& date : {response.from_date, response.to_date})
    all += (date ? std::to_string(*date) : "-") + "\n";
  for (const auto* text : {&response.subject, &response.text_body, &response.html_body})
    add_field(all, *text);
  return std::to_string(stable_hash64(all));
}

std::expected<Plan, mail::SetOutcome> plan_change(const Scripts& scripts,
                                                  const mail::VacationResponse& wanted,
                                                  const Capabilities& capabilities,
                                                  const std::vector<std::string>& addresses) {
  const auto now = in_force(scripts);
  if (now.foreign)
    return std::unexpected(refusal("forbidden", "the mail server has a script \"" +
                                                    std::string(vacation_script_name) +
                                                    "\" that isn't Postern's, or was edited"));
  if (auto fault = fault_of(wanted, capabilities)) return std::unexpected(std::move(*fault));
  Plan plan;
  if (wanted == now.response) return plan;

  // The script that runs besides: what our active one includes, or what is active instead of it.
  const auto theirs = now.active ? now.include : scripts.list.active;
  if (wanted.is_enabled && !theirs.empty()) {
    if (!capabilities.has("include"))
      return std::unexpected(
          refusal("forbidden", "the script \"" + theirs +
                                   "\" is active, and the mail server can't run it together with a "
                                   "vacation response (it lacks \"include\")"));
    if (!is_script_name(theirs))
      return std::unexpected(refusal("forbidden", "the active script can't be included"));
    plan.include = theirs;
    plan.include_listed = scripts.list.has(theirs);
  }
  // Switched off, it goes on naming the script that was active, for whoever makes it active by hand. Where that can't
  // be included, none is named.
  const bool includes = !theirs.empty() && capabilities.has("include") && is_script_name(theirs);
  plan.put = write_vacation_script({wanted, includes ? theirs : std::string()}, addresses);
  plan.activate = wanted.is_enabled && !now.active;
  if (!wanted.is_enabled && now.active)
    plan.activate_before = scripts.list.has(now.include) ? now.include : "";
  return plan;
}

// RFC 5804, 1.3
mail::SetOutcome outcome_of(const Completion& refused) {
  auto text = sanitize_utf8(std::string_view(refused.text).substr(0, 500));
  if (refused.code == "QUOTA/MAXSIZE") return refusal("tooLarge", std::move(text));
  if (refused.code.starts_with("QUOTA")) return refusal("overQuota", std::move(text));
  if (refused.code == "TRYLATER") return refusal("serverUnavailable", std::move(text));
  return refusal("serverFail", "the mail server refuses the script: " + text);
}

}  // namespace postern::sieve
