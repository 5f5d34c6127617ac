// Email/set (RFC 8621, 4.6; RFC 8620, 5.3): update of keywords and mailboxIds, destroy; create is in email_write.cpp.
#include <algorithm>
#include <unordered_set>

#include "jmap/email_write.hpp"
#include "jmap/set_support.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

// What one update may say, so that what it comes to fits into one STORE.
std::optional<mail::SetOutcome> excess_of(const mail::EmailUpdate& update) {
  std::size_t keywords = update.keyword_changes.size(), bytes = 0;
  for (const auto& [keyword, on] : update.keyword_changes) bytes += keyword.size() + 1;
  if (update.keywords) {
    keywords += update.keywords->size();
    for (const auto& keyword : *update.keywords) bytes += keyword.size() + 1;
  }
  if (keywords > mail::update_keywords_max || bytes > mail::update_keywords_bytes_max)
    return set_error("tooManyKeywords", "more keywords than one update may name", {"keywords"});
  if (update.mailbox_changes.size() + (update.mailboxes ? update.mailboxes->size() : 0) >
      mail::update_mailboxes_max)
    return set_error("tooManyMailboxes", "more Mailboxes than one update may name", {"mailboxIds"});
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
    return set_error("invalidProperties", "can't be changed", {std::string(path)});
  if (slash == std::string_view::npos) {
    auto wrong = property == "keywords" ? whole_keywords(value, update) : whole_mailboxes(value, update);
    if (wrong) return set_error("invalidProperties", *wrong, {property});
    return std::nullopt;
  }
  const auto token = unescape_pointer(path.substr(slash + 1));
  if (path.find('/', slash + 1) != std::string_view::npos)
    return set_error("invalidPatch", "points inside a value that is no object: " + std::string(path));
  if (!value.IsNull() && !value.IsTrue())
    return set_error("invalidProperties", "must be true or null", {std::string(path)});
  if (property == "keywords") {
    update.keyword_changes.emplace_back(ascii_lower(token), value.IsTrue());
    return std::nullopt;
  }
  auto key = mail::parse_mailbox_id(token);
  if (!key) return set_error("invalidProperties", "no such Mailbox: " + token, {std::string(path)});
  update.mailbox_changes.emplace_back(*key, value.IsTrue());
  return std::nullopt;
}

std::optional<mail::SetOutcome> parse_update(const rapidjson::Value& patch, mail::EmailUpdate& update) {
  if (!patch.IsObject()) return set_error("invalidPatch", "must be an object");
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
    return set_error("invalidPatch", "a property is replaced and patched at once");
  return std::nullopt;
}

// What is to be changed, and for what can't be, why.
struct Changes {
  std::vector<mail::EmailUpdate> updates;
  std::vector<mail::EmailKey> destroys;
  std::vector<std::string_view> update_ids, destroy_ids;  // of these
};

Changes plan_changes(const SetArguments& set, SetResponse& response) {
  Changes changes;
  const std::unordered_set<std::string_view> destroyed(set.destroy.begin(), set.destroy.end());
  for (const auto& [id, patch] : set.update) {
    mail::EmailUpdate parsed;
    auto wrong = parse_update(*patch, parsed);
    const auto key = mail::parse_email_id(id);
    if (!key) wrong = set_error("notFound", "no such Email");
    if (destroyed.contains(id)) wrong = set_error("willDestroy", "is destroyed in the same call");
    if (wrong) {
      response.updated(id, std::move(*wrong));
      continue;
    }
    parsed.id = *key;
    changes.updates.push_back(std::move(parsed));
    changes.update_ids.push_back(id);
  }
  for (auto id : set.destroy) {
    const auto key = mail::parse_email_id(id);
    if (!key) {
      response.destroyed(id, set_error("notFound", "no such Email"));
      continue;
    }
    changes.destroys.push_back(*key);
    changes.destroy_ids.push_back(id);
  }
  return changes;
}

}  // namespace

io::Task<MethodResult> email_set(CallContext& context, const rapidjson::Value& arguments) {
  const auto set = parse_set_arguments(context, arguments);
  if (!set) co_return std::unexpected(set.error());
  SetResponse response(context);
  auto changes = plan_changes(*set, response);
  auto concerned = changes.destroys;
  for (const auto& update : changes.updates) concerned.push_back(update.id);
  const auto state = co_await context.store.email_state_of(std::move(concerned));
  if (!state) co_return method_error_of(state.error());
  if (set->if_in_state && *set->if_in_state != *state) co_return method_error("stateMismatch");
  const StateBeforeWrites before(context, mail::StateType::email, *state);

  for (const auto& [id, email] : set->create) co_await create_email(context, id, *email, response);
  // What has failed may have changed something all the same, of which the client is to hear.
  std::vector<mail::EmailKey> changed;
  if (!changes.updates.empty()) {
    auto outcomes = co_await context.store.update(changes.updates, context.effects);
    if (!outcomes) co_return method_error_of(outcomes.error());
    for (std::size_t i = 0; i < outcomes->size(); ++i) {
      if ((*outcomes)[i].done) changed.push_back(changes.updates[i].id);
      response.updated(changes.update_ids[i], std::move((*outcomes)[i]));
    }
  }
  if (response.lacked_room()) {
    // A client that saves a draft anew destroys the one before in the same call: neither may be lost.
    for (const auto id : changes.destroy_ids)
      response.destroyed(id, set_error("forbidden", "what was to be created in the same call has no room"));
  } else if (!changes.destroys.empty()) {
    auto outcomes = co_await context.store.destroy(changes.destroys, context.effects);
    // What was updated is updated: the failure is told for what was to be destroyed.
    for (std::size_t i = 0; i < changes.destroy_ids.size(); ++i) {
      if (outcomes && (*outcomes)[i].done) changed.push_back(changes.destroys[i]);
      response.destroyed(
          changes.destroy_ids[i],
          outcomes ? std::move((*outcomes)[i])
                   : set_error("serverUnavailable", method_error_of(outcomes.error()).error().description));
    }
  }
  co_return response.finish(email_old_state(context, before, std::move(changed), response),
                            context.store.state(mail::StateType::email));
}

}  // namespace postern::jmap
