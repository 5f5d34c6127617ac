// PushSubscription/get and /set (RFC 8620, 7.2): no accountId, no states, and nobody is told url and keys again.
#include "postern/jmap/push_subscriptions.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "jmap/set_support.hpp"
#include "postern/jmap/email_create.hpp"
#include "postern/push/target_policy.hpp"

namespace postern::jmap {
namespace {

using mail::SetOutcome;

constexpr auto subscription_properties = std::to_array<std::string_view>(
    {"id", "deviceClientId", "url", "keys", "verificationCode", "expires", "types"});

SetOutcome wrong_of(std::string_view property, std::string description) {
  return set_error("invalidProperties", std::move(description), {std::string(property)});
}

void write_types(JsonWriter& writer, const SubscriptionTypes& types) {
  writer.key("types");
  if (!types) return writer.null();
  writer.start_array();
  for (const auto& name : *types) writer.string(name);
  writer.end_array();
}

void write_expires(JsonWriter& writer, const PushSubscriptionInfo& subscription) {
  subscription.expires ? writer.member_utc_date("expires", *subscription.expires)
                       : writer.member_null("expires");
}

void write_subscription_property(JsonWriter& writer, std::string_view property,
                                 const PushSubscriptionInfo& subscription) {
  if (property == "id") {
    writer.member("id", subscription.id);
  } else if (property == "deviceClientId") {
    writer.member("deviceClientId", subscription.device_client_id);
  } else if (property == "verificationCode") {
    writer.key("verificationCode");
    writer.string_or_null(subscription.verification_code);
  } else if (property == "expires") {
    write_expires(writer, subscription);
  } else {
    write_types(writer, subscription.types);
  }
}

// UTCDate|null, of whole seconds.
std::optional<std::optional<std::int64_t>> parse_expires(const rapidjson::Value& value) {
  if (value.IsNull()) return std::optional<std::int64_t>();
  const auto date = value.IsString() ? parse_date(text_of(value), true) : std::nullopt;
  if (!date) return std::nullopt;
  return std::optional<std::int64_t>(date->seconds);
}

// String[]|null. Types that aren't known here may be another server's, and are kept.
std::optional<SubscriptionTypes> parse_type_names(const rapidjson::Value& value) {
  if (value.IsNull()) return SubscriptionTypes();
  if (!value.IsArray() || value.Size() > subscription_types_max) return std::nullopt;
  std::vector<std::string> types;
  for (const auto& item : value.GetArray()) {
    const auto name = item.IsString() ? text_of(item) : std::string_view{};
    const bool is_name = !name.empty() && name.size() <= subscription_type_name_bytes_max &&
                         std::ranges::all_of(name, [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
                         });
    if (!is_name) return std::nullopt;
    if (std::find(types.begin(), types.end(), name) == types.end()) types.emplace_back(name);
  }
  return SubscriptionTypes(std::move(types));
}

std::optional<SetOutcome> set_new_property(std::string_view name, const rapidjson::Value& value,
                                           NewPushSubscription& made) {
  if (name == "deviceClientId") {
    if (!value.IsString() || text_of(value).empty() || text_of(value).size() > device_client_id_bytes_max)
      return wrong_of(name, "must be a string of 1 to 255 octets");
    made.device_client_id = text_of(value);
  } else if (name == "url") {
    if (!value.IsString() || !push::parse_push_url(text_of(value)))
      return wrong_of(name,
                      "must be an absolute https URL without user and fragment, of 2048 octets at most");
    made.url = std::make_shared<const Secret>(text_of(value));
  } else if (name == "keys") {
    if (value.IsNull()) return std::nullopt;
    if (!value.IsObject()) return wrong_of(name, "must be an object or null");
    const auto point = require_string(value, "p256dh"), auth = require_string(value, "auth");
    if (point && auth) made.keys = push::parse_client_keys(*point, *auth);
    if (!made.keys)
      return wrong_of(name, "p256dh must be a P-256 public key, auth 16 octets, both base64url");
  } else if (name == "verificationCode") {
    if (!value.IsNull()) return wrong_of(name, "must be null at first");
  } else if (name == "expires") {
    const auto expires = parse_expires(value);
    if (!expires) return wrong_of(name, "must be a UTCDate or null");
    made.expires = *expires;
  } else if (name == "types") {
    auto types = parse_type_names(value);
    if (!types) return wrong_of(name, "must be a list of type names, or null");
    made.types = std::move(*types);
  } else {
    return wrong_of(name, "can't be set");
  }
  return std::nullopt;
}

std::expected<NewPushSubscription, SetOutcome> parse_new(const rapidjson::Value& object) {
  if (!object.IsObject()) return std::unexpected(set_error("invalidProperties", "must be an object"));
  NewPushSubscription made;
  for (const auto& member : object.GetObject())
    if (auto wrong = set_new_property(text_of(member.name), member.value, made))
      return std::unexpected(*wrong);
  if (made.device_client_id.empty()) return std::unexpected(wrong_of("deviceClientId", "is missing"));
  if (!made.url) return std::unexpected(wrong_of("url", "is missing"));
  return made;
}

std::optional<SetOutcome> set_patch_property(std::string_view path, const rapidjson::Value& value,
                                             const PushSubscriptionInfo& now, PushSubscriptionPatch& patch) {
  if (path.find('/') != std::string_view::npos)
    return set_error("invalidPatch",
                     "points inside a value that is replaced as a whole: " + std::string(path));
  if (path == "verificationCode") {
    if (value.IsNull() && !now.verification_code) return std::nullopt;
    if (!value.IsString()) return wrong_of(path, "must be the code that was pushed");
    patch.verification_code = text_of(value);
  } else if (path == "expires") {
    patch.expires = parse_expires(value);
    if (!patch.expires) return wrong_of(path, "must be a UTCDate or null");
  } else if (path == "types") {
    patch.types = parse_type_names(value);
    if (!patch.types) return wrong_of(path, "must be a list of type names, or null");
  } else {
    const auto text = value.IsString() ? text_of(value) : std::string_view{};
    const bool same =
        (path == "id" && text == now.id) || (path == "deviceClientId" && text == now.device_client_id);
    if (!same) return wrong_of(path, "can't be changed");
  }
  return std::nullopt;
}

std::string created_subscription(const PushSubscriptionInfo& made, const rapidjson::Value& given) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("id", made.id);
  if (find_member(given, "keys") == nullptr) writer.member_null("keys");
  write_expires(writer, made);
  writer.member_null("verificationCode");
  if (find_member(given, "types") == nullptr) writer.member_null("types");
  writer.end_object();
  return out;
}

io::Task<> create_subscriptions(CallContext& context, const SetArguments& set, SetResponse& response) {
  for (const auto& [creation_id, object] : set.create) {
    auto wanted = parse_new(*object);
    if (!wanted) {
      response.not_created(creation_id, std::move(wanted.error()));
      continue;
    }
    auto made = co_await context.push_subscriptions->create(std::move(*wanted));
    if (made)
      response.created(creation_id, made->id, created_subscription(*made, *object));
    else
      response.not_created(creation_id, std::move(made.error()));
  }
}

io::Task<> update_subscription(CallContext& context, const PushSubscriptionInfo& now,
                               const rapidjson::Value& object, SetResponse& response) {
  PushSubscriptionPatch patch;
  std::optional<SetOutcome> wrong;
  if (!object.IsObject()) wrong = set_error("invalidPatch", "must be an object");
  if (!wrong)
    for (const auto& member : object.GetObject())
      if (!wrong) wrong = set_patch_property(text_of(member.name), member.value, now, patch);
  if (wrong) co_return response.updated(now.id, std::move(*wrong));
  const auto asked = patch.expires;
  auto updated = co_await context.push_subscriptions->update(now.id, std::move(patch));
  if (!updated) co_return response.updated(now.id, std::move(updated.error()));
  std::string json;
  if (asked && *asked != updated->expires) {
    JsonWriter writer(json);
    writer.start_object();
    write_expires(writer, *updated);
    writer.end_object();
  }
  response.updated(now.id, SetOutcome{true, {}, {}, {}}, std::move(json));
}

io::Task<> change_subscriptions(CallContext& context, const SetArguments& set, SetResponse& response) {
  if (set.update.empty() && set.destroy.empty()) co_return;
  const auto all = co_await context.push_subscriptions->all();
  for (const auto& [id, object] : set.update) {
    const auto found =
        std::find_if(all.begin(), all.end(), [wanted = id](const auto& one) { return one.id == wanted; });
    if (found == all.end())
      response.updated(id, set_error("notFound", "no such PushSubscription"));
    else if (set.destroys(id))
      response.updated(id, set_error("willDestroy", "is destroyed in the same call"));
    else
      co_await update_subscription(context, *found, *object, response);
  }
  for (const auto id : set.destroy)
    response.destroyed(id, co_await context.push_subscriptions->destroy(std::string(id)));
}

}  // namespace

io::Task<MethodResult> push_subscription_get(CallContext& context, const rapidjson::Value& arguments) {
  if (context.push_subscriptions == nullptr) co_return method_error("unknownMethod");
  if (auto ok = check_names(arguments, {"ids", "properties"}); !ok) co_return std::unexpected(ok.error());
  const auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  const auto asked = get_properties(arguments, subscription_properties);
  if (!asked) co_return std::unexpected(asked.error());
  const auto is_wanted = [&](std::string_view name) {
    return *asked && std::find((*asked)->begin(), (*asked)->end(), name) != (*asked)->end();
  };
  if (is_wanted("url") || is_wanted("keys")) co_return method_error("forbidden", "url and keys aren't told");
  const auto all = co_await context.push_subscriptions->all();
  std::set<std::string_view> missing;
  if (*ids) missing.insert((*ids)->begin(), (*ids)->end());
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.key("list");
  writer.start_array();
  for (const auto& subscription : all) {
    if (*ids && missing.erase(subscription.id) == 0) continue;
    writer.start_object();
    for (const auto property : subscription_properties)
      if (property != "url" && property != "keys" && (!*asked || property == "id" || is_wanted(property)))
        write_subscription_property(writer, property, subscription);
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

io::Task<MethodResult> push_subscription_set(CallContext& context, const rapidjson::Value& arguments) {
  if (context.push_subscriptions == nullptr) co_return method_error("unknownMethod");
  const auto set = parse_stateless_set_arguments(context, arguments);
  if (!set) co_return std::unexpected(set.error());
  const bool changes = !set->create.empty() || !set->update.empty() || !set->destroy.empty();
  if (changes && context.effects && !co_await context.effects())
    co_return method_error("serverFail", "nobody waits for this request any more");
  SetResponse response(context);
  co_await create_subscriptions(context, *set, response);
  co_await change_subscriptions(context, *set, response);
  co_return response.finish_stateless();
}

}  // namespace postern::jmap
