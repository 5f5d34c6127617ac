// VacationResponse/get and /set (RFC 8621, 8): one object, "singleton", which is only updated.
#include <algorithm>
#include <array>

#include "jmap/set_support.hpp"
#include "postern/jmap/email_create.hpp"
#include "postern/mail/vacation.hpp"

namespace postern::jmap {
namespace {

constexpr std::string_view singleton = "singleton";
constexpr std::array<std::string_view, 7> vacation_properties{"id",      "isEnabled", "fromDate", "toDate",
                                                              "subject", "textBody",  "htmlBody"};

// What a server for scripts says is no word about the person's session.
std::unexpected<MethodError> vacation_error(const Error& error) {
  if (error.code == mail::Errc::authentication)
    return method_error("forbidden", "the server for mail scripts refuses the credentials");
  if (error.code == mail::Errc::server_unavailable)
    return method_error("serverUnavailable", "the server for mail scripts can't be reached");
  return method_error_of(error);
}

void write_date(JsonWriter& writer, std::string_view name, const std::optional<std::int64_t>& seconds) {
  seconds ? writer.member_utc_date(name, *seconds) : writer.member_null(name);
}

void write_vacation(JsonWriter& writer, const mail::VacationResponse& vacation,
                    const std::optional<std::vector<std::string_view>>& properties) {
  const auto wanted = [&](std::string_view name) {
    return !properties || std::find(properties->begin(), properties->end(), name) != properties->end();
  };
  const auto write_text = [&](std::string_view name, const std::optional<std::string>& text) {
    if (!wanted(name)) return;
    writer.key(name);
    writer.string_or_null(text);
  };
  writer.start_object();
  writer.member("id", singleton);
  if (wanted("isEnabled")) writer.member_bool("isEnabled", vacation.is_enabled);
  if (wanted("fromDate")) write_date(writer, "fromDate", vacation.from_date);
  if (wanted("toDate")) write_date(writer, "toDate", vacation.to_date);
  write_text("subject", vacation.subject);
  write_text("textBody", vacation.text_body);
  write_text("htmlBody", vacation.html_body);
  writer.end_object();
}

// What an update changes; the texts are copies, since they outlive the arguments.
struct VacationPatch {
  std::vector<std::function<void(mail::VacationResponse&)>> changes;

  std::optional<mail::SetOutcome> add(std::string_view name, const rapidjson::Value& value);

 private:
  template <typename T>
  std::optional<mail::SetOutcome> set(T mail::VacationResponse::* member, T value) {
    changes.push_back([member, value = std::move(value)](mail::VacationResponse& v) { v.*member = value; });
    return std::nullopt;
  }
};

std::optional<mail::SetOutcome> VacationPatch::add(std::string_view name, const rapidjson::Value& value) {
  using Vacation = mail::VacationResponse;
  const auto wrong = [&](std::string why) {
    return set_error("invalidProperties", std::move(why), {std::string(name)});
  };
  if (name == "isEnabled") {
    if (!value.IsBool()) return wrong("must be true or false");
    return set(&Vacation::is_enabled, value.GetBool());
  }
  if (name == "fromDate" || name == "toDate") {
    const auto member = name == "fromDate" ? &Vacation::from_date : &Vacation::to_date;
    if (value.IsNull()) return set(member, std::optional<std::int64_t>());
    const auto date = value.IsString() ? parse_date(text_of(value), true) : std::nullopt;
    if (!date) return wrong("must be a UTCDate or null");
    if (utc_date(date->seconds) != text_of(value)) return wrong("must be whole seconds, and no leap second");
    return set(member, std::optional(date->seconds));
  }
  if (name == "subject" || name == "textBody" || name == "htmlBody") {
    const auto member = name == "subject"    ? &Vacation::subject
                        : name == "textBody" ? &Vacation::text_body
                                             : &Vacation::html_body;
    if (value.IsNull()) return set(member, std::optional<std::string>());
    if (!value.IsString()) return wrong("must be a string or null");
    return set(member, std::optional<std::string>(text_of(value)));
  }
  if (name == "id" && value.IsString() && text_of(value) == singleton) return std::nullopt;
  const auto property = name.substr(0, name.find('/'));
  if (property != name && std::find(vacation_properties.begin(), vacation_properties.end(), property) !=
                              vacation_properties.end())
    return set_error("invalidPatch", "points inside a value that is no object: " + std::string(name));
  return wrong("can't be changed");
}

std::optional<mail::SetOutcome> parse_patch(const rapidjson::Value& object, VacationPatch& patch) {
  if (!object.IsObject()) return set_error("invalidPatch", "must be an object");
  for (const auto& member : object.GetObject())
    if (auto wrong = patch.add(text_of(member.name), member.value)) return wrong;
  return std::nullopt;
}

// The update of the singleton, if there is one that can be tried; what can't be is told at once.
std::optional<VacationPatch> plan_updates(const SetArguments& set, SetResponse& response) {
  std::optional<VacationPatch> plan;
  for (const auto& [id, object] : set.create)
    response.not_created(id, set_error("singleton", "there is exactly one VacationResponse"));
  for (const auto id : set.destroy)
    response.destroyed(id, id == singleton
                               ? set_error("singleton", "a VacationResponse can't be destroyed, but disabled")
                               : set_error("notFound", "no such VacationResponse"));
  for (const auto& [id, object] : set.update) {
    VacationPatch patch;
    auto wrong = parse_patch(*object, patch);
    if (id != singleton) wrong = set_error("notFound", "no such VacationResponse");
    if (wrong)
      response.updated(id, std::move(*wrong));
    else
      plan = std::move(patch);
  }
  return plan;
}

}  // namespace

io::Task<MethodResult> vacation_response_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  const auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  const auto properties = get_properties(arguments, vacation_properties);
  if (!properties) co_return std::unexpected(properties.error());
  auto* store = context.store.vacation();
  if (store == nullptr) co_return method_error("unknownMethod");
  const auto vacation = co_await store->get();
  if (!vacation) co_return vacation_error(vacation.error());

  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, vacation->state);
  std::vector<std::string_view> missing = *ids ? **ids : std::vector<std::string_view>{};
  const bool asked_for = !*ids || std::find(missing.begin(), missing.end(), singleton) != missing.end();
  if (asked_for) write_vacation(writer, vacation->data, *properties);
  std::erase(missing, singleton);
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  end_get_response(writer, missing);
  co_return out;
}

io::Task<MethodResult> vacation_response_set(CallContext& context, const rapidjson::Value& arguments) {
  const auto set = parse_set_arguments(context, arguments);
  if (!set) co_return std::unexpected(set.error());
  auto* store = context.store.vacation();
  if (store == nullptr) co_return method_error("unknownMethod");
  SetResponse response(context);
  auto patch = plan_updates(*set, response);
  if (!patch) {
    const auto now = co_await store->get();
    if (!now) co_return vacation_error(now.error());
    if (set->if_in_state && *set->if_in_state != now->state) co_return method_error("stateMismatch");
    co_return response.finish(now->state, now->state);
  }
  std::optional<std::string> if_in_state;
  if (set->if_in_state) if_in_state = *set->if_in_state;
  const auto change = [&patch](mail::VacationResponse& vacation) {
    for (const auto& apply : patch->changes) apply(vacation);
  };
  auto done = co_await store->update(change, std::move(if_in_state), context.effects);
  if (!done) co_return vacation_error(done.error());
  if (done->state_mismatch) co_return method_error("stateMismatch");
  response.updated(singleton, std::move(done->outcome));
  if (context.told_state) context.told_state(push::DataType::vacation_response, done->new_state);
  co_return response.finish(done->old_state, done->new_state);
}

}  // namespace postern::jmap
