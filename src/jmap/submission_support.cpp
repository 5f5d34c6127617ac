// Ids, addresses and errors; the bounds of lists are records::identities_max and submissions_max.
#include "jmap/submission_support.hpp"

#include <algorithm>
#include <charconv>

#include "postern/smtp/address.hpp"

namespace postern::jmap {
namespace {

std::optional<std::uint64_t> parse_record_id(char letter, std::string_view id) {
  if (id.size() < 2 || id[0] != letter || id[1] == '0') return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(id.data() + 1, id.data() + id.size(), number);
  if (error != std::errc{} || end != id.data() + id.size() || number > json_uint_max) return std::nullopt;
  return number;
}

}  // namespace

std::string identity_id(std::uint64_t id) { return "i" + std::to_string(id); }
std::string submission_id(std::uint64_t id) { return "s" + std::to_string(id); }
std::optional<std::uint64_t> parse_identity_id(std::string_view id) { return parse_record_id('i', id); }
std::optional<std::uint64_t> parse_submission_id(std::string_view id) { return parse_record_id('s', id); }

std::string own_address(const outbox::Options& options, std::string_view login) {
  if (smtp::is_mailbox(login)) return std::string(login);
  auto made = std::string(login) + "@" + options.domain;
  return !options.domain.empty() && login.find('@') == std::string_view::npos && smtp::is_mailbox(made)
             ? made
             : std::string{};
}

bool may_send_from(const outbox::Options& options, std::string_view login, std::string_view address) {
  if (options.from == outbox::FromPolicy::any) return true;
  const auto own = own_address(options, login);
  if (own.empty()) return false;
  if (options.from == outbox::FromPolicy::login) return smtp::is_same_mailbox(own, address);
  return smtp::is_same_mailbox(smtp::domain_of(own), smtp::domain_of(address));
}

bool is_of_identity(std::string_view identity_email, std::string_view address) {
  if (identity_email.starts_with("*@"))
    return smtp::is_same_mailbox(smtp::domain_of(identity_email), smtp::domain_of(address));
  return smtp::is_same_mailbox(identity_email, address);
}

records::Selection selection_of(const std::optional<std::vector<std::string_view>>& ids,
                                std::optional<std::uint64_t> (*parse)(std::string_view)) {
  records::Selection selection{std::nullopt, response_octets_max};
  if (!ids) return selection;
  selection.ids.emplace();
  for (const auto id : *ids)
    if (const auto number = parse(id)) selection.ids->push_back(*number);
  return selection;
}

std::unexpected<MethodError> method_error_of_records(const Error& error) {
  if (error.code == records::Errc::too_large)
    return method_error("requestTooLarge", "ask for fewer of them at a time");
  if (error.code == records::Errc::unknown_state) return method_error("cannotCalculateChanges");
  return method_error("serverFail", error.code.message());
}

mail::SetOutcome set_error_of_records(const Error& error) {
  mail::SetOutcome outcome;
  const bool is_full = error.code == records::Errc::too_many || error.code == records::Errc::no_room;
  outcome.error_type = error.code == records::Errc::not_found   ? "notFound"
                       : error.code == records::Errc::too_large ? "tooLarge"
                       : is_full                                ? "overQuota"
                                                                : "serverFail";
  outcome.description = error.code.message();
  return outcome;
}

io::Task<MethodResult> record_changes(CallContext& context, const rapidjson::Value& arguments,
                                      records::Type type, std::string (*id_of)(std::uint64_t)) {
  const auto asked = parse_changes_arguments(context, arguments);
  if (!asked) co_return std::unexpected(asked.error());
  const auto most = asked->max == mail::changes_unlimited ? 0 : asked->max;
  const auto& access = *context.submission;
  const auto found = co_await access.outbox.records().changes(access.owner, type, asked->since, most);
  if (!found) co_return method_error_of_records(found.error());
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("oldState", asked->since);
  writer.member("newState", found->new_state);
  writer.member_bool("hasMoreChanges", found->has_more);
  write_ids(writer, "created", found->created, id_of);
  write_ids(writer, "updated", found->updated, id_of);
  write_ids(writer, "destroyed", found->destroyed, id_of);
  writer.end_object();
  co_return out;
}

}  // namespace postern::jmap
