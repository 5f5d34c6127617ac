// Email/copy and Blob/copy (RFC 8620, 5.4 and 6.3; RFC 8621, 4.7). They are for what is in two accounts, and whoever
// signs in has one: an Email is copied within it by Email/set.
#include "jmap/blob_support.hpp"
#include "jmap/set_support.hpp"

namespace postern::jmap {

io::Task<MethodResult> email_copy(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"fromAccountId", "ifFromInState", "accountId", "ifInState", "create",
                                        "onSuccessDestroyOriginal", "destroyFromIfInState"});
      !ok)
    co_return std::unexpected(ok.error());
  const auto from = require_id(arguments, "fromAccountId");
  if (!from) co_return invalid_arguments(from.error());
  if (*from != context.account_id) co_return method_error("fromAccountNotFound");
  co_return invalid_arguments({"/fromAccountId", "must be another account than accountId"});
}

io::Task<MethodResult> blob_copy(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"fromAccountId", "accountId", "blobIds"}); !ok)
    co_return std::unexpected(ok.error());
  const auto from = require_id(arguments, "fromAccountId");
  if (!from) co_return invalid_arguments(from.error());
  if (*from != context.account_id) co_return method_error("fromAccountNotFound");
  const auto ids = get_blob_ids(context, arguments, "blobIds", context.limits.max_objects_in_set);
  if (!ids) co_return std::unexpected(ids.error());
  // Within one account the copy is the blob itself.
  std::vector<std::string_view> copied, missing;
  for (const auto id : *ids) {
    const auto key = find_blob(context, id);
    const auto there =
        key ? co_await context.store.open_blob(*key, context.tab) : fail(mail::Errc::not_found);
    (there ? copied : missing).push_back(id);
    if (!there && there.error().code != make_error_code(mail::Errc::not_found))
      co_return method_error_of(there.error());
  }
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("fromAccountId", context.account_id);
  writer.member("accountId", context.account_id);
  writer.key("copied");
  if (copied.empty()) writer.null();
  if (!copied.empty()) writer.start_object();
  for (const auto id : copied) writer.member(id, context.created_ids.resolve(id));
  if (!copied.empty()) writer.end_object();
  writer.key("notCopied");
  if (missing.empty()) writer.null();
  if (!missing.empty()) writer.start_object();
  for (const auto id : missing) {
    writer.key(id);
    writer.start_object();
    writer.member("type", "blobNotFound");
    writer.end_object();
  }
  if (!missing.empty()) writer.end_object();
  writer.end_object();
  co_return out;
}

}  // namespace postern::jmap
