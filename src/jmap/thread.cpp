// Thread/get (RFC 8621, 3).
#include <algorithm>

#include "jmap/methods.hpp"

namespace postern::jmap {

io::Task<MethodResult> thread_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  if (!*ids)
    co_return method_error("requestTooLarge", "ids must be given: an account has too many Threads to list");
  auto properties = get_strings(arguments, "properties", 10);
  if (!properties) co_return invalid_arguments(properties.error());
  bool with_emails = !*properties;
  if (*properties) {
    for (std::size_t i = 0; i < (*properties)->size(); ++i) {
      const auto property = (**properties)[i];
      if (property != "id" && property != "emailIds")
        co_return invalid_arguments({json_pointer("/properties", i), "unknown property"});
      with_emails = with_emails || property == "emailIds";
    }
  }
  std::vector<mail::ThreadKey> keys;
  std::vector<std::string> not_found;
  for (auto id : **ids) {
    auto key = mail::parse_thread_id(id);
    if (!key)
      not_found.emplace_back(id);
    else if (std::find(keys.begin(), keys.end(), *key) == keys.end())
      keys.push_back(*key);
  }
  auto threads = co_await context.store.threads(std::move(keys));
  if (!threads) co_return method_error_of(threads.error());
  context.freshness = both(context.freshness, threads->freshness);

  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, threads->state);
  for (const auto& thread : threads->data) {
    if (thread.emails.empty()) {
      not_found.push_back(mail::thread_id(thread.key));
      continue;
    }
    writer.start_object();
    writer.member("id", mail::thread_id(thread.key));
    if (with_emails) {
      writer.key("emailIds");
      writer.start_array();
      for (const auto& email : thread.emails) writer.string(mail::email_id(email));
      writer.end_array();
    }
    writer.end_object();
  }
  end_get_response(writer, not_found);
  co_return out;
}

}  // namespace postern::jmap
