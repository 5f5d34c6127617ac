// EmailSubmission/get, changes and set (RFC 8621, 7).
#include <algorithm>
#include <map>
#include <set>

#include "jmap/set_support.hpp"
#include "jmap/submission_create.hpp"
#include "jmap/submission_support.hpp"

namespace postern::jmap {
namespace {

using mail::SetOutcome;

// What the onSuccess arguments ask for, by the ids that they name.
struct OnSuccess {
  std::vector<std::pair<std::string_view, const rapidjson::Value*>> update;
  std::vector<std::string_view> destroy;
};

std::expected<OnSuccess, MethodError> parse_on_success(const CallContext& context,
                                                       const rapidjson::Value& arguments) {
  OnSuccess all;
  const auto* update = find_member(arguments, "onSuccessUpdateEmail");
  if (update != nullptr && !update->IsObject())
    return invalid_arguments({"/onSuccessUpdateEmail", "must be an object"});
  if (update != nullptr)
    for (const auto& member : update->GetObject()) {
      if (!member.value.IsObject())
        return invalid_arguments(
            {json_pointer("/onSuccessUpdateEmail", text_of(member.name)), "must be an object"});
      all.update.emplace_back(text_of(member.name), &member.value);
    }
  auto destroy = get_strings(arguments, "onSuccessDestroyEmail", context.limits.max_objects_in_set);
  if (!destroy) return invalid_arguments(destroy.error());
  all.destroy = destroy->value_or(std::vector<std::string_view>{});
  if (all.update.size() + all.destroy.size() > context.limits.max_objects_in_set)
    return method_error("requestTooLarge", "more than maxObjectsInSet Emails");
  return all;
}

// Email ids of the submissions that this call has created, updated or destroyed.
using Succeeded = std::map<std::string, std::string, std::less<>>;

// The single implicit Email/set of RFC 8621, 7.5.
void entail_email_set(CallContext& context, const OnSuccess& wanted, const Succeeded& succeeded) {
  const auto email_of = [&](std::string_view id) -> std::string {
    const auto found = succeeded.find(context.created_ids.resolve(id));
    return found == succeeded.end() ? std::string{} : found->second;
  };
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  bool any = false;
  writer.key("update");
  writer.start_object();
  std::set<std::string> named;
  for (const auto& [id, patch] : wanted.update) {
    const auto email = email_of(id);
    if (email.empty() || !named.insert(email).second) continue;
    writer.key(email);
    writer.value(*patch);
    any = true;
  }
  writer.end_object();
  writer.key("destroy");
  writer.start_array();
  for (const auto id : wanted.destroy) {
    const auto email = email_of(id);
    if (email.empty()) continue;
    writer.string(email);
    any = true;
  }
  writer.end_array();
  writer.end_object();
  if (any) context.implicit_calls.push_back({"Email/set", std::move(out)});
}

io::Task<> create_all(CallContext& context, const SetArguments& set, SetResponse& response,
                      Succeeded& succeeded) {
  for (const auto& [creation_id, object] : set.create) {
    auto created = co_await create_submission(context, *object);
    if (!created) {
      response.not_created(creation_id, std::move(created.error().error), std::move(created.error().more));
      continue;
    }
    succeeded[created->id] = created->email_id;
    response.created(creation_id, created->id, std::move(created->json));
  }
}

// Only undoStatus may change, and only to "canceled".
io::Task<SetOutcome> update_one(CallContext& context, const records::SubmissionSummary& submission,
                                const rapidjson::Value& patch) {
  if (!patch.IsObject()) co_return set_error("invalidPatch", "must be an object");
  bool cancel = false;
  const auto status = undo_status_name(submission.undo_status);
  for (const auto& member : patch.GetObject()) {
    const auto property = text_of(member.name);
    const auto value = member.value.IsString() ? text_of(member.value) : std::string_view{};
    if (property.find('/') != std::string_view::npos)
      co_return set_error("invalidPatch", "points inside a value that can't be changed");
    if (property != "undoStatus" || (value != "canceled" && value != status))
      co_return set_error("invalidProperties", "can't be changed", {std::string(property)});
    cancel = cancel || value != status;
  }
  if (!cancel) co_return SetOutcome{true, {}, {}, {}};
  if (context.effects && !co_await context.effects())
    co_return set_error("serverFail", "nobody waits for this request any more");
  const auto& access = *context.submission;
  const auto canceled = co_await access.outbox.cancel(access.owner, submission.id);
  if (!canceled) co_return set_error_of_records(canceled.error());
  if (!*canceled) co_return set_error("cannotUnsend", "it has been sent, or is being sent");
  co_return SetOutcome{true, {}, {}, {}};
}

io::Task<> change_all(CallContext& context, const SetArguments& set,
                      const std::vector<records::SubmissionSummary>& all, SetResponse& response,
                      Succeeded& succeeded) {
  const auto& access = *context.submission;
  const auto find = [&](std::string_view id) {
    return std::find_if(all.begin(), all.end(),
                        [&](const records::SubmissionSummary& one) { return submission_id(one.id) == id; });
  };
  for (const auto& [id, patch] : set.update) {
    const auto found = find(id);
    SetOutcome outcome = set_error("notFound", "no such EmailSubmission");
    if (found != all.end()) {
      if (set.destroys(id))
        outcome = set_error("willDestroy", "is destroyed in the same call");
      else
        outcome = co_await update_one(context, *found, *patch);
    }
    if (outcome.done) succeeded[std::string(id)] = found->email_id;
    response.updated(id, std::move(outcome));
  }
  for (const auto id : set.destroy) {
    const auto found = find(id);
    SetOutcome outcome = set_error("notFound", "no such EmailSubmission");
    if (found != all.end()) {
      if (context.effects && !co_await context.effects()) {
        response.destroyed(id, set_error("serverFail", "nobody waits for this request any more"));
        continue;
      }
      auto done = co_await access.outbox.records().destroy_submission(access.owner, found->id);
      outcome = done ? SetOutcome{true, {}, {}, {}} : set_error_of_records(done.error());
    }
    if (outcome.done) succeeded[std::string(id)] = found->email_id;
    response.destroyed(id, std::move(outcome));
  }
}

}  // namespace

io::Task<MethodResult> submission_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  const auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  const auto asked = get_properties(arguments, submission_properties);
  if (!asked) co_return std::unexpected(asked.error());
  const auto& access = *context.submission;
  const auto all =
      co_await access.outbox.records().submissions(access.owner, selection_of(*ids, parse_submission_id));
  if (!all) co_return method_error_of_records(all.error());
  if (!*ids && all->list.size() > context.limits.max_objects_in_get)
    co_return method_error("requestTooLarge", "there are more than maxObjectsInGet EmailSubmissions");
  std::set<std::string_view> missing;
  if (*ids) missing.insert((*ids)->begin(), (*ids)->end());
  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, all->state);
  for (const auto& submission : all->list) {
    if (*ids) missing.erase(submission_id(submission.id));
    if (out.size() > response_octets_max)
      co_return method_error("requestTooLarge", "ask for fewer of them at a time");
    writer.start_object();
    for (const auto property : submission_properties)
      if (!*asked || property == "id" ||
          std::find((*asked)->begin(), (*asked)->end(), property) != (*asked)->end())
        write_submission_property(writer, property, submission);
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

io::Task<MethodResult> submission_changes(CallContext& context, const rapidjson::Value& arguments) {
  return record_changes(context, arguments, records::Type::submission, submission_id);
}

io::Task<MethodResult> submission_set(CallContext& context, const rapidjson::Value& arguments) {
  const auto set = parse_set_arguments(context, arguments, {"onSuccessUpdateEmail", "onSuccessDestroyEmail"});
  if (!set) co_return std::unexpected(set.error());
  const auto on_success = parse_on_success(context, arguments);
  if (!on_success) co_return std::unexpected(on_success.error());
  const auto& access = *context.submission;
  const auto before = co_await access.outbox.records().summaries(access.owner);
  if (!before) co_return method_error_of_records(before.error());
  if (set->if_in_state && *set->if_in_state != before->state) co_return method_error("stateMismatch");
  SetResponse response(context);
  Succeeded succeeded;
  co_await create_all(context, *set, response, succeeded);
  co_await change_all(context, *set, before->list, response, succeeded);
  entail_email_set(context, *on_success, succeeded);
  const auto after = co_await access.outbox.records().summaries(access.owner);
  if (after && context.told_state) context.told_state(push::DataType::email_submission, after->state);
  co_return response.finish(before->state, after ? after->state : before->state);
}

}  // namespace postern::jmap
