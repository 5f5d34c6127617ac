// Email/import (RFC 8621, 4.8): messages that are in blobs, filed as they are. They are looked at as they are read, and
// sent in a second reading.
#include <utility>

#include "jmap/email_write.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/message_parser.hpp"

namespace postern::jmap {
namespace {

// RFC 8621, 4.8: a blobId that isn't found is an invalid property.
mail::SetOutcome import_error(const Error& error, std::string_view blob_id) {
  if (error.code == make_error_code(mail::Errc::not_found))
    return set_error("invalidProperties", "there is no such blob", {"blobId"});
  return blob_error(error, blob_id);
}

io::Task<> import_email(CallContext& context, std::string_view creation_id, const rapidjson::Value& object,
                        SetResponse& response) {
  const auto limits = create_limits(context);
  auto import = parse_email_import(object, limits);
  if (!import) co_return response.not_created(creation_id, outcome_of(std::move(import.error())));
  const auto key = find_blob(context, import->blob_id);
  if (!key) {
    const auto missing = Error(make_error_code(mail::Errc::not_found));
    co_return response.not_created(creation_id, import_error(missing, import->blob_id));
  }
  mail::MessageParser parser;
  std::string beginning;  // the header is in it
  auto ready = co_await make_ready(context, *key, limits.octets_max, true, [&](std::string_view piece) {
    parser.feed(piece);
    if (beginning.size() < mail::header_bytes_max) beginning += piece;
  });
  if (!ready) co_return response.not_created(creation_id, import_error(ready.error(), import->blob_id));
  const auto message = parser.finish();
  if (!message.is_message() || message.nul)
    co_return response.not_created(
        creation_id,
        set_error("invalidEmail", message.nul ? "the message has NULs in it" : "this is no message"));
  EmailToFile file;
  file.filing = std::move(import->filing);
  if (!file.filing.received_at) file.filing.received_at = mail::received_date_seconds(message.header);
  const auto header_size = message.octets.contains("HEADER") ? message.octets.at("HEADER").header_size : 0;
  file.header = beginning.substr(0, static_cast<std::size_t>(header_size));
  // IMAP has CRLF line ends only (RFC 3501, 2.2 and RFC 5322, 2.3).
  file.size = ready->traits.crlf_octets();
  mail::MessageSegment segment;
  segment.blob = mail::BlobContent{import->blob_id, ready->octets, ready->traits};
  segment.encoding = mail::WrittenEncoding::crlf;
  segment.size = file.size;
  file.source.segments.push_back(std::move(segment));
  file.source.blobs.emplace_back(import->blob_id, std::move(*ready));
  co_await file_email(context, creation_id, std::move(file), response);
}

}  // namespace

io::Task<MethodResult> email_import(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ifInState", "emails"}); !ok)
    co_return std::unexpected(ok.error());
  const auto in_state = get_string(arguments, "ifInState");
  if (!in_state) co_return invalid_arguments(in_state.error());
  const auto* emails = find_member(arguments, "emails");
  if (emails == nullptr || !emails->IsObject()) co_return invalid_arguments({"/emails", "must be an object"});
  if (emails->MemberCount() > context.limits.max_objects_in_set)
    co_return method_error("requestTooLarge", "more than maxObjectsInSet objects");
  const auto state = co_await context.store.email_state_of({});
  if (!state) co_return method_error_of(state.error());
  if (*in_state && **in_state != *state) co_return method_error("stateMismatch");
  const StateBeforeWrites before(context, mail::StateType::email, *state);
  SetResponse response(context);
  for (const auto& member : emails->GetObject())
    co_await import_email(context, text_of(member.name), member.value, response);
  co_return response.finish_created(email_old_state(context, before, {}, response),
                                    context.store.state(mail::StateType::email));
}

}  // namespace postern::jmap
