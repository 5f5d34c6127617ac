// Mailbox/set (RFC 8621, 2.5; RFC 8620, 5.3). Objects are changed in whatever order makes their changes possible:
// what is blocked by another Mailbox is tried again once something has been done. How many objects, Limits says.
#include <algorithm>
#include <map>

#include "jmap/mailbox_json.hpp"
#include "jmap/set_support.hpp"

namespace postern::jmap {
namespace {

enum class Kind : std::uint8_t { create, update, destroy };

// One object of the call.
struct Operation {
  Kind kind = Kind::create;
  std::string_view id;  // creation id, or id
  const rapidjson::Value* value = nullptr;
  mail::SetOutcome outcome;   // why not, so far
  mail::MailboxKey made = 0;  // what has been created
  bool settled = false;
};

mail::SetOutcome invalid(std::string_view property, std::string description) {
  return set_error("invalidProperties", std::move(description), {std::string(property)});
}

// What a Mailbox/set has found and done so far.
class MailboxSet {
 public:
  MailboxSet(CallContext& context, const SetArguments& set, std::vector<mail::MailboxData> before,
             bool remove_emails)
      : context_(context), set_(set), remove_emails_(remove_emails) {
    for (auto& data : before) before_.emplace(data.mailbox.key, std::move(data));
    for (const auto& [id, value] : set.create) operations_.push_back({Kind::create, id, value, {}, 0, false});
    for (const auto& [id, value] : set.update) operations_.push_back({Kind::update, id, value, {}, 0, false});
    // Children before their parents.
    auto destroy = set.destroy;
    std::sort(destroy.begin(), destroy.end(),
              [this](std::string_view a, std::string_view b) { return depth(a) > depth(b); });
    for (auto id : destroy) operations_.push_back({Kind::destroy, id, nullptr, {}, 0, false});
  }

  io::Task<> run() {
    for (bool progress = true; progress;) {
      progress = false;
      for (auto& operation : operations_) {
        if (operation.settled) continue;
        const bool blocked = co_await attempt(operation);
        operation.settled = !blocked;
        progress = progress || operation.outcome.done;
      }
      progress = progress && std::any_of(operations_.begin(), operations_.end(),
                                         [](const Operation& operation) { return !operation.settled; });
    }
  }

  void tell(SetResponse& response, const std::vector<mail::MailboxData>& after) const;
  std::vector<mail::MailboxKey> changed() const;

 private:
  std::size_t depth(std::string_view id) const {
    std::size_t levels = 0;
    auto key = mail::parse_mailbox_id(id);
    for (auto at = key ? before_.find(*key) : before_.end(); at != before_.end() && levels <= before_.size();
         ++levels) {
      if (!at->second.mailbox.parent) break;
      at = before_.find(*at->second.mailbox.parent);
    }
    return levels;
  }
  // True: it may be done later.
  io::Task<bool> attempt(Operation& operation);
  io::Task<bool> create(Operation& operation);
  io::Task<bool> update(Operation& operation);
  io::Task<bool> destroy(Operation& operation);
  bool take(Operation& operation, mail::MailboxOutcome outcome) {
    operation.outcome = std::move(outcome.outcome);
    operation.made = outcome.key;
    return outcome.blocked;
  }
  std::optional<mail::SetOutcome> read_common(std::string_view property, const rapidjson::Value& value,
                                              bool& subscribed,
                                              std::optional<std::uint32_t>& sort_order) const;
  std::optional<mail::SetOutcome> read_create(const Operation& operation, mail::MailboxCreate& create,
                                              bool& waits) const;
  std::optional<mail::SetOutcome> read_update(const rapidjson::Value& patch, const rapidjson::Value& current,
                                              mail::MailboxUpdate& update, bool& waits) const;
  std::optional<mail::SetOutcome> read_parent(const rapidjson::Value& value,
                                              std::optional<mail::MailboxKey>& parent, bool& waits) const;

  CallContext& context_;
  const SetArguments& set_;
  const bool remove_emails_;
  std::map<mail::MailboxKey, mail::MailboxData> before_;
  std::vector<Operation> operations_;
};

bool is_server_set(std::string_view property) {
  return property == "id" || property == "myRights" || property.starts_with("total") ||
         property.starts_with("unread");
}

std::optional<mail::SetOutcome> MailboxSet::read_parent(const rapidjson::Value& value,
                                                        std::optional<mail::MailboxKey>& parent,
                                                        bool& waits) const {
  parent.reset();
  if (value.IsNull()) return std::nullopt;
  if (!value.IsString()) return invalid("parentId", "must be an Id or null");
  const auto id = context_.created_ids.resolve(text_of(value));
  // Of this call, and not created yet.
  waits = waits ||
          (id.starts_with('#') && std::any_of(set_.create.begin(), set_.create.end(), [&](const auto& other) {
             return other.first == id.substr(1);
           }));
  parent = mail::parse_mailbox_id(id);
  if (!parent) return invalid("parentId", "no such Mailbox");
  return std::nullopt;
}

std::optional<mail::SetOutcome> MailboxSet::read_common(std::string_view property,
                                                        const rapidjson::Value& value, bool& subscribed,
                                                        std::optional<std::uint32_t>& sort_order) const {
  if (property == "isSubscribed") {
    if (!value.IsBool()) return invalid(property, "must be a Boolean");
    subscribed = value.GetBool();
  } else {
    if (!value.IsUint() || value.GetUint() > mail::sort_order_max)
      return invalid(property, "must be an UnsignedInt below 2^31");
    sort_order = value.GetUint();
  }
  return std::nullopt;
}

std::optional<mail::SetOutcome> MailboxSet::read_create(const Operation& operation,
                                                        mail::MailboxCreate& create, bool& waits) const {
  if (!operation.value->IsObject()) return set_error("invalidProperties", "must be an object");
  bool named = false;
  std::vector<std::string> wrong;
  for (const auto& member : operation.value->GetObject()) {
    const auto property = text_of(member.name);
    std::optional<mail::SetOutcome> error;
    if (property == "name" && member.value.IsString()) {
      create.name = text_of(member.value);
      named = true;
    } else if (property == "parentId") {
      error = read_parent(member.value, create.parent, waits);
      if (waits) return error;
    } else if (property == "role" && (member.value.IsNull() || member.value.IsString())) {
      const auto role =
          member.value.IsNull() ? std::optional(mail::Role::none) : mail::role_of_text(text_of(member.value));
      if (!role) return invalid("role", "no such role");
      create.role = *role;
    } else if (property == "isSubscribed" || property == "sortOrder") {
      error = read_common(property, member.value, create.subscribed, create.sort_order);
    } else {
      wrong.emplace_back(property);
    }
    if (error) return error;
  }
  if (!named && std::find(wrong.begin(), wrong.end(), "name") == wrong.end()) wrong.emplace_back("name");
  if (!wrong.empty())
    return set_error("invalidProperties", "unknown, server-set, missing or of a wrong type", wrong);
  return std::nullopt;
}

// A property that keeps its value is no change (RFC 8620, 5.3), whether it could be changed or not.
std::optional<mail::SetOutcome> MailboxSet::read_update(const rapidjson::Value& patch,
                                                        const rapidjson::Value& current,
                                                        mail::MailboxUpdate& update, bool& waits) const {
  if (!patch.IsObject()) return set_error("invalidPatch", "must be an object");
  for (const auto& member : patch.GetObject()) {
    const auto path = text_of(member.name);
    const auto property = path.substr(0, path.find('/'));
    if (property.size() != path.size())
      return property == "myRights" ? invalid(property, "is set by the server")
                                    : set_error("invalidPatch", "points inside a value that is no object");
    const auto now = current.FindMember(member.name);
    if (now == current.MemberEnd()) return invalid(property, "unknown property");
    if (now->value == member.value) continue;
    if (property == "name") {
      if (!member.value.IsString()) return invalid(property, "must be a String");
      update.name = text_of(member.value);
    } else if (property == "parentId") {
      std::optional<mail::MailboxKey> parent;
      if (auto error = read_parent(member.value, parent, waits)) return error;
      update.parent = parent;
    } else if (property == "isSubscribed" || property == "sortOrder") {
      bool subscribed = false;
      if (auto error = read_common(property, member.value, subscribed, update.sort_order)) return error;
      if (property == "isSubscribed") update.subscribed = subscribed;
    } else {
      return invalid(property, is_server_set(property) ? "is set by the server"
                                                       : "the role of a Mailbox can't be changed");
    }
  }
  return std::nullopt;
}

io::Task<bool> MailboxSet::attempt(Operation& operation) {
  switch (operation.kind) {
    case Kind::create: return create(operation);
    case Kind::update: return update(operation);
    case Kind::destroy: break;
  }
  return destroy(operation);
}

io::Task<bool> MailboxSet::create(Operation& operation) {
  mail::MailboxCreate wanted;
  bool waits = false;
  if (auto wrong = read_create(operation, wanted, waits)) {
    operation.outcome = std::move(*wrong);
    co_return waits;
  }
  const bool blocked =
      take(operation, co_await context_.store.create_mailbox(std::move(wanted), context_.effects));
  if (operation.outcome.done) context_.created_ids.add(operation.id, mail::mailbox_id(operation.made));
  co_return blocked;
}

io::Task<bool> MailboxSet::update(Operation& operation) {
  const auto id = context_.created_ids.resolve(operation.id);
  const auto key = mail::parse_mailbox_id(id);
  operation.outcome = set_error("notFound", "no such Mailbox");
  if (!key) co_return id.starts_with('#');
  if (set_.destroys(id)) {
    operation.outcome = set_error("willDestroy", "is destroyed in the same call");
    co_return false;
  }
  auto now = co_await context_.store.mailboxes();
  if (!now) {
    operation.outcome = set_error("serverUnavailable", "the mail server can't be reached");
    co_return false;
  }
  const auto found = std::find_if(now->data.begin(), now->data.end(),
                                  [&](const mail::MailboxData& data) { return data.mailbox.key == *key; });
  if (found == now->data.end()) co_return false;
  auto text = mailbox_json(*found);
  rapidjson::Document current;
  parse_in_place(text, current);
  mail::MailboxUpdate wanted;
  wanted.key = *key;
  bool waits = false;
  if (auto wrong = read_update(*operation.value, current, wanted, waits)) {
    operation.outcome = std::move(*wrong);
    co_return waits;
  }
  co_return take(operation, co_await context_.store.update_mailbox(std::move(wanted), context_.effects));
}

io::Task<bool> MailboxSet::destroy(Operation& operation) {
  const auto id = context_.created_ids.resolve(operation.id);
  const auto key = mail::parse_mailbox_id(id);
  operation.outcome = set_error("notFound", "no such Mailbox");
  if (!key) co_return id.starts_with('#');
  co_return take(operation, co_await context_.store.destroy_mailbox(*key, remove_emails_, context_.effects));
}

// Of what has been created, the properties that are none of the client's.
std::string server_set_json(const CallContext& context, const rapidjson::Value& given,
                            const mail::MailboxData& made) {
  auto text = mailbox_json(made);
  rapidjson::Document all;
  parse_in_place(text, all);
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  for (const auto& member : all.GetObject()) {
    const auto asked = given.FindMember(member.name);
    const bool same = asked != given.MemberEnd() &&
                      (asked->value == member.value ||
                       (asked->value.IsString() && member.value.IsString() &&
                        context.created_ids.resolve(text_of(asked->value)) == text_of(member.value)));
    if (!same) write_mailbox_property(writer, text_of(member.name), made);
  }
  writer.end_object();
  return out;
}

void MailboxSet::tell(SetResponse& response, const std::vector<mail::MailboxData>& after) const {
  for (const auto& operation : operations_) {
    if (operation.kind == Kind::update) {
      response.updated(context_.created_ids.resolve(operation.id), operation.outcome);
    } else if (operation.kind == Kind::destroy) {
      response.destroyed(context_.created_ids.resolve(operation.id), operation.outcome);
    } else if (!operation.outcome.done) {
      response.not_created(operation.id, operation.outcome);
    } else {
      const auto id = mail::mailbox_id(operation.made);
      const auto found = std::find_if(after.begin(), after.end(), [&](const mail::MailboxData& data) {
        return data.mailbox.key == operation.made;
      });
      response.created(operation.id, id,
                       found != after.end() ? server_set_json(context_, *operation.value, *found)
                                            : "{\"id\":\"" + id + "\"}");
    }
  }
}

std::vector<mail::MailboxKey> MailboxSet::changed() const {
  std::vector<mail::MailboxKey> keys;
  for (const auto& operation : operations_) {
    if (operation.made != 0) keys.push_back(operation.made);
    if (operation.kind == Kind::create || !operation.outcome.done) continue;
    if (const auto key = mail::parse_mailbox_id(context_.created_ids.resolve(operation.id)))
      keys.push_back(*key);
  }
  return keys;
}

}  // namespace

io::Task<MethodResult> mailbox_set(CallContext& context, const rapidjson::Value& arguments) {
  const auto set = parse_set_arguments(context, arguments, {"onDestroyRemoveEmails"});
  if (!set) co_return std::unexpected(set.error());
  const auto remove_emails = get_bool(arguments, "onDestroyRemoveEmails", false);
  if (!remove_emails) co_return invalid_arguments(remove_emails.error());
  auto before = co_await context.store.mailboxes();
  if (!before) co_return method_error_of(before.error());
  // Nothing is changed by what is stale.
  if (before->freshness == mail::Freshness::stale)
    co_return method_error("serverUnavailable", "the mail server can't be reached");
  if (set->if_in_state && *set->if_in_state != before->state) co_return method_error("stateMismatch");
  const StateBeforeWrites begun(context, mail::StateType::mailbox, before->state);

  MailboxSet changes(context, *set, std::move(before->data), *remove_emails);
  co_await changes.run();
  auto after = co_await context.store.mailboxes();
  SetResponse response(context);
  changes.tell(response, after ? after->data : std::vector<mail::MailboxData>());
  co_return response.finish(context.store.old_state(begun.state(), changes.changed()),
                            after ? after->state : context.store.state(mail::StateType::mailbox));
}

}  // namespace postern::jmap
