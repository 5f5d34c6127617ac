// Identity/get, changes and set (RFC 8621, 6): durable, with one for the login's own address from the beginning.
#include <algorithm>
#include <array>
#include <set>

#include "jmap/set_support.hpp"
#include "jmap/submission_support.hpp"
#include "postern/smtp/address.hpp"

namespace postern::jmap {
namespace {

using mail::SetOutcome;
using records::Identity;

constexpr auto identity_properties = std::to_array<std::string_view>(
    {"id", "name", "email", "replyTo", "bcc", "textSignature", "htmlSignature", "mayDelete"});

void write_identity_property(JsonWriter& writer, std::string_view property, const Identity& identity) {
  writer.key(property);
  if (property == "id")
    writer.string(identity_id(identity.id));
  else if (property == "name")
    writer.string(identity.name);
  else if (property == "email")
    writer.string(identity.email);
  else if (property == "replyTo")
    writer.raw(identity.reply_to);
  else if (property == "bcc")
    writer.raw(identity.bcc);
  else if (property == "textSignature")
    writer.string(identity.text_signature);
  else if (property == "htmlSignature")
    writer.string(identity.html_signature);
  else
    writer.boolean(identity.may_delete);
}

// EmailAddress[]|null of RFC 8621, 4.1.2.3, as it is told again; nullopt: it isn't that.
std::optional<std::string> address_list(const rapidjson::Value& value) {
  if (value.IsNull()) return "null";
  if (!value.IsArray() || value.Size() > identity_addresses_max) return std::nullopt;
  std::string out;
  JsonWriter writer(out);
  writer.start_array();
  for (const auto& item : value.GetArray()) {
    if (!item.IsObject()) return std::nullopt;
    for (const auto& member : item.GetObject())
      if (text_of(member.name) != "name" && text_of(member.name) != "email") return std::nullopt;
    const auto name = get_string(item, "name");
    const auto email = require_string(item, "email");
    if (!name || !email || name->value_or("").size() > identity_name_bytes_max ||
        email->size() > smtp::mailbox_bytes_max)
      return std::nullopt;
    writer.start_object();
    writer.key("name");
    *name ? writer.string(**name) : writer.null();
    writer.member("email", *email);
    writer.end_object();
  }
  writer.end_array();
  return out;
}

SetOutcome wrong_property(std::string_view property, std::string description) {
  return set_error("invalidProperties", std::move(description), {std::string(property)});
}

// Sets a property that may be changed. Null means its default.
std::optional<SetOutcome> set_property(std::string_view property, const rapidjson::Value& value,
                                       records::IdentityChange& change) {
  if (property == "replyTo" || property == "bcc") {
    auto list = address_list(value);
    if (!list) return wrong_property(property, "must be a list of EmailAddresses, or null");
    (property == "bcc" ? change.bcc : change.reply_to) = std::move(*list);
    return std::nullopt;
  }
  auto* text = property == "name"            ? &change.name
               : property == "textSignature" ? &change.text_signature
               : property == "htmlSignature" ? &change.html_signature
                                             : nullptr;
  if (text == nullptr) return wrong_property(property, "can't be set");
  if (!value.IsNull() && !value.IsString()) return wrong_property(property, "must be a string");
  const auto given = value.IsNull() ? std::string_view{} : text_of(value);
  if (given.size() > identity_text_bytes_max)
    return set_error("tooLarge", "a name or signature is too long", {std::string(property)});
  *text = given;
  return std::nullopt;
}

std::expected<Identity, SetOutcome> parse_new_identity(const SubmissionAccess& access,
                                                       const rapidjson::Value& object) {
  if (!object.IsObject()) return std::unexpected(set_error("invalidProperties", "must be an object"));
  Identity identity;
  records::IdentityChange given;
  for (const auto& member : object.GetObject()) {
    const auto property = text_of(member.name);
    if (property != "email") {
      if (auto wrong = set_property(property, member.value, given)) return std::unexpected(*wrong);
    } else if (member.value.IsString()) {
      identity.email = text_of(member.value);
    }
  }
  const auto& email = identity.email;
  // RFC 8621, 6: "*@example.com" stands for all addresses of that domain.
  if (!smtp::is_mailbox(email) || (email.starts_with('*') && !email.starts_with("*@")))
    return std::unexpected(wrong_property("email", "must be an email address"));
  if (!may_send_from(access.outbox.options(), access.owner.login, email))
    return std::unexpected(set_error("forbiddenFrom", "this address isn't yours to send from"));
  identity.name = given.name.value_or("");
  identity.reply_to = given.reply_to.value_or("null");
  identity.bcc = given.bcc.value_or("null");
  identity.text_signature = given.text_signature.value_or("");
  identity.html_signature = given.html_signature.value_or("");
  return identity;
}

std::string created_json(const Identity& identity) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  for (const auto property : identity_properties)
    if (property != "email") write_identity_property(writer, property, identity);
  writer.end_object();
  return out;
}

io::Task<> create_identities(CallContext& context, const SetArguments& set, SetResponse& response) {
  const auto& access = *context.submission;
  for (const auto& [creation_id, object] : set.create) {
    auto identity = parse_new_identity(access, *object);
    if (!identity) {
      response.not_created(creation_id, std::move(identity.error()));
      continue;
    }
    const auto id = co_await access.outbox.records().create_identity(access.owner, *identity);
    if (!id) {
      response.not_created(creation_id, set_error_of_records(id.error()));
      continue;
    }
    identity->id = *id;
    response.created(creation_id, identity_id(*id), created_json(*identity));
  }
}

// A PatchObject (RFC 8620, 5.3). Nothing in an Identity can be pointed into: its lists are replaced as a whole.
std::optional<SetOutcome> patch_identity(const rapidjson::Value& patch, const Identity& identity,
                                         records::IdentityChange& change) {
  if (!patch.IsObject()) return set_error("invalidPatch", "must be an object");
  for (const auto& member : patch.GetObject()) {
    const auto path = text_of(member.name);
    if (path.find('/') != std::string_view::npos)
      return set_error("invalidPatch", "points inside a value that is no object: " + std::string(path));
    const auto& value = member.value;
    // What can't be changed may be repeated.
    if (path == "email" && value.IsString() && text_of(value) == identity.email) continue;
    if (path == "id" && value.IsString() && text_of(value) == identity_id(identity.id)) continue;
    if (path == "mayDelete" && value.IsBool() && value.GetBool() == identity.may_delete) continue;
    if (auto wrong = set_property(path, value, change)) return wrong;
  }
  return std::nullopt;
}

bool is_change(const Identity& from, const records::IdentityChange& to) {
  return to.name.value_or(from.name) != from.name || to.reply_to.value_or(from.reply_to) != from.reply_to ||
         to.bcc.value_or(from.bcc) != from.bcc ||
         to.text_signature.value_or(from.text_signature) != from.text_signature ||
         to.html_signature.value_or(from.html_signature) != from.html_signature;
}

// The Ids that updates and destroys name.
records::Selection named_identities(const SetArguments& set) {
  std::vector<std::string_view> ids(set.destroy.begin(), set.destroy.end());
  for (const auto& [id, patch] : set.update) ids.push_back(id);
  return selection_of(ids, parse_identity_id);
}

io::Task<> change_identities(CallContext& context, const SetArguments& set, std::vector<Identity> all,
                             SetResponse& response) {
  const auto& access = *context.submission;
  const auto find = [&](std::string_view id) {
    return std::find_if(all.begin(), all.end(),
                        [&](const Identity& identity) { return identity_id(identity.id) == id; });
  };
  for (const auto& [id, patch] : set.update) {
    const auto found = find(id);
    std::optional<SetOutcome> wrong;
    if (found == all.end()) wrong = set_error("notFound", "no such Identity");
    if (!wrong && set.destroys(id)) wrong = set_error("willDestroy", "is destroyed in the same call");
    records::IdentityChange change;
    if (!wrong) wrong = patch_identity(*patch, *found, change);
    if (!wrong && is_change(*found, change)) {
      change.id = found->id;
      const auto done = co_await access.outbox.records().update_identity(access.owner, change);
      if (!done) wrong = set_error_of_records(done.error());
    }
    response.updated(id, wrong ? std::move(*wrong) : SetOutcome{true, {}, {}, {}});
  }
  for (const auto id : set.destroy) {
    const auto found = find(id);
    SetOutcome outcome{true, {}, {}, {}};
    if (found == all.end()) {
      outcome = set_error("notFound", "no such Identity");
    } else if (!found->may_delete) {
      outcome = set_error("forbidden", "this Identity can't be deleted");
    } else if (auto done = co_await access.outbox.records().destroy_identity(access.owner, found->id);
               !done) {
      outcome = set_error_of_records(done.error());
    }
    response.destroyed(id, std::move(outcome));
  }
}

}  // namespace

io::Task<MethodResult> identity_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  const auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  const auto asked = get_properties(arguments, identity_properties);
  if (!asked) co_return std::unexpected(asked.error());
  const auto& access = *context.submission;
  const auto all = co_await access.outbox.records().identities(
      access.owner, own_address(access.outbox.options(), access.owner.login),
      selection_of(*ids, parse_identity_id));
  if (!all) co_return method_error_of_records(all.error());

  std::set<std::string_view> missing;
  if (*ids) missing.insert((*ids)->begin(), (*ids)->end());
  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, all->state);
  for (const auto& identity : all->list) {
    if (*ids) missing.erase(identity_id(identity.id));
    if (out.size() > response_octets_max)
      co_return method_error("requestTooLarge", "ask for fewer of them at a time");
    writer.start_object();
    for (const auto property : identity_properties)
      if (!*asked || property == "id" ||
          std::find((*asked)->begin(), (*asked)->end(), property) != (*asked)->end())
        write_identity_property(writer, property, identity);
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

io::Task<MethodResult> identity_changes(CallContext& context, const rapidjson::Value& arguments) {
  return record_changes(context, arguments, records::Type::identity, identity_id);
}

io::Task<MethodResult> identity_set(CallContext& context, const rapidjson::Value& arguments) {
  const auto set = parse_set_arguments(context, arguments);
  if (!set) co_return std::unexpected(set.error());
  const auto& access = *context.submission;
  const auto first = own_address(access.outbox.options(), access.owner.login);
  auto before = co_await access.outbox.records().identities(access.owner, first, named_identities(*set));
  if (!before) co_return method_error_of_records(before.error());
  if (set->if_in_state && *set->if_in_state != before->state) co_return method_error("stateMismatch");
  const bool changes = !set->create.empty() || !set->update.empty() || !set->destroy.empty();
  if (changes && context.effects && !co_await context.effects())
    co_return method_error("serverFail", "nobody waits for this request any more");
  SetResponse response(context);
  co_await create_identities(context, *set, response);
  co_await change_identities(context, *set, std::move(before->list), response);
  const auto after = co_await access.outbox.records().identities(
      access.owner, first, records::Selection{std::vector<std::uint64_t>{}, response_octets_max});
  if (after && context.told_state) context.told_state(push::DataType::identity, after->state);
  co_return response.finish(before->state, after ? after->state : before->state);
}

}  // namespace postern::jmap
