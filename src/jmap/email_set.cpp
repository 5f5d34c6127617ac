// Email/set: update of keywords and mailboxIds, destroy (RFC 8621, 4.6; RFC 8620, 5.3).
#include <algorithm>

#include "jmap/methods.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

mail::SetOutcome refused(std::string type, std::string description,
                         std::vector<std::string> properties = {}) {
  return mail::SetOutcome{false, std::move(type), std::move(description), std::move(properties)};
}

// What one update may say, so that what it comes to fits into one STORE.
std::optional<mail::SetOutcome> excess_of(const mail::EmailUpdate& update) {
  std::size_t keywords = update.keyword_changes.size(), bytes = 0;
  for (const auto& [keyword, on] : update.keyword_changes) bytes += keyword.size() + 1;
  if (update.keywords) {
    keywords += update.keywords->size();
    for (const auto& keyword : *update.keywords) bytes += keyword.size() + 1;
  }
  if (keywords > mail::update_keywords_max || bytes > mail::update_keywords_bytes_max)
    return refused("tooManyKeywords", "more keywords than one update may name", {"keywords"});
  if (update.mailbox_changes.size() + (update.mailboxes ? update.mailboxes->size() : 0) >
      mail::update_mailboxes_max)
    return refused("tooManyMailboxes", "more Mailboxes than one update may name", {"mailboxIds"});
  return std::nullopt;
}

std::optional<std::string> whole_keywords(const rapidjson::Value& value, mail::EmailUpdate& update) {
  if (!value.IsObject()) return "keywords must be an object";
  update.keywords.emplace();
  for (const auto& member : value.GetObject()) {
    if (!member.value.IsTrue()) return "keywords must have true for each";
    update.keywords->push_back(ascii_lower(text_of(member.name)));
  }
  return std::nullopt;
}

std::optional<std::string> whole_mailboxes(const rapidjson::Value& value, mail::EmailUpdate& update) {
  if (!value.IsObject()) return "mailboxIds must be an object";
  update.mailboxes.emplace();
  for (const auto& member : value.GetObject()) {
    if (!member.value.IsTrue()) return "mailboxIds must have true for each";
    auto key = mail::parse_mailbox_id(text_of(member.name));
    if (!key) return "no such Mailbox: " + std::string(text_of(member.name));
    update.mailboxes->push_back(*key);
  }
  return std::nullopt;
}

// One member of a PatchObject (RFC 8620, 5.3). Returns what is wrong with it.
std::optional<mail::SetOutcome> apply_patch(std::string_view path, const rapidjson::Value& value,
                                            mail::EmailUpdate& update) {
  const auto slash = path.find('/');
  const auto property = std::string(path.substr(0, slash));
  if (property != "keywords" && property != "mailboxIds")
    return refused("invalidProperties", "can't be changed", {std::string(path)});
  if (slash == std::string_view::npos) {
    auto wrong = property == "keywords" ? whole_keywords(value, update) : whole_mailboxes(value, update);
    if (wrong) return refused("invalidProperties", *wrong, {property});
    return std::nullopt;
  }
  const auto token = unescape_pointer(path.substr(slash + 1));
  if (path.find('/', slash + 1) != std::string_view::npos)
    return refused("invalidPatch", "points inside a value that is no object: " + std::string(path));
  if (!value.IsNull() && !value.IsTrue())
    return refused("invalidProperties", "must be true or null", {std::string(path)});
  if (property == "keywords") {
    update.keyword_changes.emplace_back(ascii_lower(token), value.IsTrue());
    return std::nullopt;
  }
  auto key = mail::parse_mailbox_id(token);
  if (!key) return refused("invalidProperties", "no such Mailbox: " + token, {std::string(path)});
  update.mailbox_changes.emplace_back(*key, value.IsTrue());
  return std::nullopt;
}

std::optional<mail::SetOutcome> parse_update(const rapidjson::Value& patch, mail::EmailUpdate& update) {
  if (!patch.IsObject()) return refused("invalidPatch", "must be an object");
  bool keywords = false, keyword_patch = false, mailboxes = false, mailbox_patch = false;
  for (const auto& member : patch.GetObject()) {
    const auto path = text_of(member.name);
    keywords = keywords || path == "keywords";
    mailboxes = mailboxes || path == "mailboxIds";
    keyword_patch = keyword_patch || path.starts_with("keywords/");
    mailbox_patch = mailbox_patch || path.starts_with("mailboxIds/");
    if (auto wrong = apply_patch(path, member.value, update)) return wrong;
  }
  if (auto excess = excess_of(update)) return excess;
  // RFC 8620, 5.3: one path must not be a prefix of another.
  if ((keywords && keyword_patch) || (mailboxes && mailbox_patch))
    return refused("invalidPatch", "a property is replaced and patched at once");
  return std::nullopt;
}

void write_set_error(JsonWriter& writer, const mail::SetOutcome& outcome) {
  writer.start_object();
  writer.member("type", outcome.error_type);
  if (!outcome.description.empty()) writer.member("description", outcome.description);
  if (!outcome.properties.empty()) {
    writer.key("properties");
    writer.start_array();
    for (const auto& property : outcome.properties) writer.string(property);
    writer.end_array();
  }
  writer.end_object();
}

using Outcomes = std::vector<std::pair<std::string, mail::SetOutcome>>;

// "updated": {id: null}, "notUpdated": {id: SetError}; null where there are none.
void write_outcomes(JsonWriter& writer, const Outcomes& outcomes, std::string_view done,
                    std::string_view not_done, bool as_list) {
  const auto is_done = [](const auto& o) { return o.second.done; };
  writer.key(done);
  if (std::none_of(outcomes.begin(), outcomes.end(), is_done)) {
    writer.null();
  } else if (as_list) {
    writer.start_array();
    for (const auto& o : outcomes)
      if (is_done(o)) writer.string(o.first);
    writer.end_array();
  } else {
    writer.start_object();
    for (const auto& o : outcomes)
      if (is_done(o)) writer.member_null(o.first);
    writer.end_object();
  }
  writer.key(not_done);
  if (std::all_of(outcomes.begin(), outcomes.end(), is_done)) {
    writer.null();
    return;
  }
  writer.start_object();
  for (const auto& [id, outcome] : outcomes) {
    if (outcome.done) continue;
    writer.key(id);
    write_set_error(writer, outcome);
  }
  writer.end_object();
}

struct SetRequest {
  Outcomes created, updated, destroyed;
  std::vector<mail::EmailUpdate> updates;
  std::vector<std::size_t> update_at;  // index into updated
  std::vector<mail::EmailKey> destroys;
  std::vector<std::size_t> destroy_at;
};

std::expected<SetRequest, MethodError> parse_set(const CallContext& context,
                                                 const rapidjson::Value& arguments) {
  SetRequest request;
  const auto* create = find_member(arguments, "create");
  const auto* update = find_member(arguments, "update");
  const auto* destroy = find_member(arguments, "destroy");
  if (create != nullptr && !create->IsObject()) return invalid_arguments({"/create", "must be an object"});
  if (update != nullptr && !update->IsObject()) return invalid_arguments({"/update", "must be an object"});
  std::size_t objects = (create ? create->MemberCount() : 0) + (update ? update->MemberCount() : 0) +
                        (destroy && destroy->IsArray() ? destroy->Size() : 0);
  if (objects > context.limits.max_objects_in_set)
    return method_error("requestTooLarge", "more than maxObjectsInSet objects");
  auto destroy_ids = get_strings(arguments, "destroy", context.limits.max_objects_in_set);
  if (!destroy_ids) return invalid_arguments(destroy_ids.error());
  if (create != nullptr)
    for (const auto& member : create->GetObject())
      request.created.emplace_back(
          text_of(member.name), refused("forbidden", "this server doesn't create Emails through Email/set"));
  const auto destroyed = destroy_ids->value_or(std::vector<std::string_view>{});
  if (update != nullptr) {
    for (const auto& member : update->GetObject()) {
      const auto id = text_of(member.name);
      mail::EmailUpdate parsed;
      auto wrong = parse_update(member.value, parsed);
      auto key = mail::parse_email_id(id);
      if (!key) wrong = refused("notFound", "no such Email");
      if (std::find(destroyed.begin(), destroyed.end(), id) != destroyed.end())
        wrong = refused("willDestroy", "is destroyed in the same call");
      request.updated.emplace_back(id, wrong.value_or(mail::SetOutcome{}));
      if (wrong) continue;
      parsed.id = *key;
      request.updates.push_back(std::move(parsed));
      request.update_at.push_back(request.updated.size() - 1);
    }
  }
  for (auto id : destroyed) {
    if (std::any_of(request.destroyed.begin(), request.destroyed.end(),
                    [&](const auto& o) { return o.first == id; }))
      continue;
    auto key = mail::parse_email_id(id);
    request.destroyed.emplace_back(id, key ? mail::SetOutcome{} : refused("notFound", "no such Email"));
    if (!key) continue;
    request.destroys.push_back(*key);
    request.destroy_at.push_back(request.destroyed.size() - 1);
  }
  return request;
}

}  // namespace

io::Task<MethodResult> email_set(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ifInState", "create", "update", "destroy"}); !ok)
    co_return std::unexpected(ok.error());
  auto in_state = get_string(arguments, "ifInState");
  if (!in_state) co_return invalid_arguments(in_state.error());
  auto request = parse_set(context, arguments);
  if (!request) co_return std::unexpected(request.error());
  auto concerned = request->destroys;
  for (const auto& update : request->updates) concerned.push_back(update.id);
  const auto old_state = co_await context.store.email_state_of(std::move(concerned));
  if (!old_state) co_return method_error_of(old_state.error());
  if (*in_state && **in_state != *old_state) co_return method_error("stateMismatch");

  if (!request->updates.empty()) {
    auto outcomes = co_await context.store.update(std::move(request->updates), context.effects);
    if (!outcomes) co_return method_error_of(outcomes.error());
    for (std::size_t i = 0; i < outcomes->size(); ++i)
      request->updated[request->update_at[i]].second = std::move((*outcomes)[i]);
  }
  if (!request->destroys.empty()) {
    auto outcomes = co_await context.store.destroy(std::move(request->destroys), context.effects);
    // What was updated is updated: the failure is told for what was to be destroyed.
    if (!outcomes)
      for (auto at : request->destroy_at)
        request->destroyed[at].second =
            refused("serverUnavailable", method_error_of(outcomes.error()).error().description);
    for (std::size_t i = 0; outcomes && i < outcomes->size(); ++i)
      request->destroyed[request->destroy_at[i]].second = std::move((*outcomes)[i]);
  }

  for (const auto* outcomes : {&request->updated, &request->destroyed})
    for (const auto& [id, outcome] : *outcomes)
      context.unavailable = context.unavailable || outcome.error_type == "serverUnavailable";

  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("oldState", *old_state);
  writer.member("newState", context.store.state(mail::StateType::email));
  write_outcomes(writer, request->created, "created", "notCreated", false);
  write_outcomes(writer, request->updated, "updated", "notUpdated", false);
  write_outcomes(writer, request->destroyed, "destroyed", "notDestroyed", true);
  writer.end_object();
  co_return out;
}

}  // namespace postern::jmap
