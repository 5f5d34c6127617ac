// Mailbox/get (RFC 8621, 2).
#include <algorithm>

#include "jmap/mailbox_json.hpp"
#include "jmap/methods.hpp"

namespace postern::jmap {
io::Task<MethodResult> mailbox_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  const auto asked = get_properties(arguments, mailbox_properties);
  if (!asked) co_return std::unexpected(asked.error());
  std::vector<std::string_view> properties{mailbox_properties.begin(), mailbox_properties.end()};
  if (*asked) {
    std::erase_if(properties, [&](std::string_view p) {
      return p != "id" && std::find((*asked)->begin(), (*asked)->end(), p) == (*asked)->end();
    });
  }
  auto all = co_await context.store.mailboxes();
  if (!all) co_return method_error_of(all.error());
  context.freshness = both(context.freshness, all->freshness);

  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, all->state);
  std::vector<std::string_view> missing = *ids ? **ids : std::vector<std::string_view>{};
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  for (const auto& data : all->data) {
    const auto id = mail::mailbox_id(data.mailbox.key);
    if (*ids) {
      auto it = std::find(missing.begin(), missing.end(), id);
      if (it == missing.end()) continue;
      missing.erase(it);
    }
    writer.start_object();
    for (auto property : properties) write_mailbox_property(writer, property, data);
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

}  // namespace postern::jmap
