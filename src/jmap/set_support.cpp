// Arguments and response of a /set. How many objects one may name, Limits says.
#include "jmap/set_support.hpp"

#include <algorithm>
#include <unordered_set>

namespace postern::jmap {
namespace {

void write_set_error(JsonWriter& writer, const mail::SetOutcome& outcome,
                     const std::vector<std::pair<std::string, std::string>>& more) {
  writer.start_object();
  writer.member("type", outcome.error_type);
  if (!outcome.description.empty()) writer.member("description", outcome.description);
  if (!outcome.properties.empty()) {
    writer.key("properties");
    writer.start_array();
    for (const auto& property : outcome.properties) writer.string(property);
    writer.end_array();
  }
  if (!outcome.not_found.empty()) {
    writer.key("notFound");
    writer.start_array();
    for (const auto& id : outcome.not_found) writer.string(id);
    writer.end_array();
  }
  if (const auto refusal = limits::Refusal::decode(outcome.refusal)) write_refusal(writer, *refusal);
  for (const auto& [name, json] : more) {
    writer.key(name);
    writer.raw(json);
  }
  writer.end_object();
}

// What is to be created, updated and destroyed.
std::expected<SetArguments, MethodError> parse_objects(const CallContext& context,
                                                       const rapidjson::Value& arguments) {
  SetArguments set;
  const auto* create = find_member(arguments, "create");
  const auto* update = find_member(arguments, "update");
  const auto* destroy = find_member(arguments, "destroy");
  if (create != nullptr && !create->IsObject()) return invalid_arguments({"/create", "must be an object"});
  if (update != nullptr && !update->IsObject()) return invalid_arguments({"/update", "must be an object"});
  const std::size_t objects = (create ? create->MemberCount() : 0) + (update ? update->MemberCount() : 0) +
                              (destroy && destroy->IsArray() ? destroy->Size() : 0);
  if (objects > context.limits.max_objects_in_set)
    return method_error("requestTooLarge", "more than maxObjectsInSet objects");
  auto ids = get_strings(arguments, "destroy", context.limits.max_objects_in_set);
  if (!ids) return invalid_arguments(ids.error());
  if (create != nullptr)
    for (const auto& member : create->GetObject())
      set.create.emplace_back(text_of(member.name), &member.value);
  if (update != nullptr)
    for (const auto& member : update->GetObject())
      set.update.emplace_back(context.created_ids.resolve(text_of(member.name)), &member.value);
  std::unordered_set<std::string_view> seen;
  for (auto id : ids->value_or(std::vector<std::string_view>{}))
    if (const auto resolved = context.created_ids.resolve(id); seen.insert(resolved).second)
      set.destroy.push_back(resolved);
  return set;
}

}  // namespace

mail::SetOutcome set_error(std::string type, std::string description, std::vector<std::string> properties) {
  return mail::SetOutcome{false, std::move(type), std::move(description), std::move(properties)};
}

mail::SetOutcome set_error(const limits::Refusal& refusal) {
  auto outcome =
      set_error(refusal.limit == limits::Limit::uploads ? "overQuota" : "rateLimit", refusal.description());
  outcome.refusal = refusal.encode();
  return outcome;
}

mail::SetOutcome set_error(MethodError error) {
  if (error.refusal) return set_error(*error.refusal);
  return set_error(std::move(error.type), std::move(error.description));
}

bool SetArguments::destroys(std::string_view id) const {
  return std::find(destroy.begin(), destroy.end(), id) != destroy.end();
}

std::expected<SetArguments, MethodError> parse_set_arguments(const CallContext& context,
                                                             const rapidjson::Value& arguments,
                                                             std::initializer_list<std::string_view> more) {
  if (auto ok = check_account(context, arguments); !ok) return std::unexpected(ok.error());
  std::vector<std::string_view> known{"accountId", "ifInState", "create", "update", "destroy"};
  known.insert(known.end(), more.begin(), more.end());
  if (auto ok = check_names(arguments, known); !ok) return std::unexpected(ok.error());
  auto in_state = get_string(arguments, "ifInState");
  if (!in_state) return invalid_arguments(in_state.error());
  auto set = parse_objects(context, arguments);
  if (set) set->if_in_state = *in_state;
  return set;
}

std::expected<SetArguments, MethodError> parse_stateless_set_arguments(const CallContext& context,
                                                                       const rapidjson::Value& arguments) {
  if (auto ok = check_names(arguments, {"create", "update", "destroy"}); !ok)
    return std::unexpected(ok.error());
  return parse_objects(context, arguments);
}

void SetResponse::created(std::string_view creation_id, std::string_view id, std::string json) {
  context_.created_ids.add(creation_id, id);
  created_ids_.emplace_back(id);
  created_.push_back({std::string(creation_id), mail::SetOutcome{true, {}, {}, {}}, std::move(json)});
}

void SetResponse::not_created(std::string_view creation_id, mail::SetOutcome error,
                              std::vector<std::pair<std::string, std::string>> more) {
  created_.push_back({std::string(creation_id), std::move(error), {}, std::move(more)});
}

void SetResponse::updated(std::string_view id, mail::SetOutcome outcome, std::string json) {
  updated_.push_back({std::string(id), std::move(outcome), std::move(json)});
}

void SetResponse::destroyed(std::string_view id, mail::SetOutcome outcome) {
  destroyed_.push_back({std::string(id), std::move(outcome), {}});
}

// "updated": {id: null}, "notUpdated": {id: SetError}; null where there are none.
void SetResponse::write(JsonWriter& writer, const std::vector<Entry>& entries, std::string_view done,
                        std::string_view not_done, Form form) {
  const auto is_done = [](const Entry& entry) { return entry.outcome.done; };
  writer.key(done);
  if (std::none_of(entries.begin(), entries.end(), is_done)) {
    writer.null();
  } else if (form == Form::list) {
    writer.start_array();
    for (const auto& entry : entries)
      if (is_done(entry)) writer.string(entry.id);
    writer.end_array();
  } else {
    writer.start_object();
    for (const auto& entry : entries) {
      if (!is_done(entry)) continue;
      writer.key(entry.id);
      entry.json.empty() ? writer.null() : writer.raw(entry.json);
    }
    writer.end_object();
  }
  writer.key(not_done);
  if (std::all_of(entries.begin(), entries.end(), is_done)) {
    writer.null();
    return;
  }
  writer.start_object();
  for (const auto& entry : entries) {
    if (is_done(entry)) continue;
    context_.unavailable = context_.unavailable || entry.outcome.error_type == "serverUnavailable";
    writer.key(entry.id);
    write_set_error(writer, entry.outcome, entry.more);
  }
  writer.end_object();
}

io::Task<bool> StateBeforeWrites::ask() {
  if (!std::exchange(writes_, true)) state_ = context_.store.state(type_);
  co_return !ask_ || co_await ask_();
}

bool SetResponse::lacked_room() const {
  return std::ranges::any_of(created_, [](const Entry& entry) {
    return !entry.outcome.done &&
           (entry.outcome.error_type == "rateLimit" || entry.outcome.error_type == "overQuota");
  });
}

std::string SetResponse::finish(std::string_view old_state, std::string_view new_state) {
  if (context_.told_new_state) context_.told_new_state();
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context_.account_id);
  writer.member("oldState", old_state);
  writer.member("newState", new_state);
  write(writer, created_, "created", "notCreated", Form::object);
  write(writer, updated_, "updated", "notUpdated", Form::object);
  write(writer, destroyed_, "destroyed", "notDestroyed", Form::list);
  writer.end_object();
  return out;
}

std::string SetResponse::finish_stateless() {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  write(writer, created_, "created", "notCreated", Form::object);
  write(writer, updated_, "updated", "notUpdated", Form::object);
  write(writer, destroyed_, "destroyed", "notDestroyed", Form::list);
  writer.end_object();
  return out;
}

std::string SetResponse::finish_created(std::string_view old_state, std::string_view new_state) {
  if (!new_state.empty() && context_.told_new_state) context_.told_new_state();
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context_.account_id);
  if (!new_state.empty()) {
    writer.member("oldState", old_state);
    writer.member("newState", new_state);
  }
  write(writer, created_, "created", "notCreated", Form::object);
  writer.end_object();
  return out;
}

}  // namespace postern::jmap
