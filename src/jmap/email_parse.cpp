// Email/parse (RFC 8621, 4.9): messages that are in blobs, shown as Emails. A message is read once for its structure,
// piece by piece, and its texts are read from where they lie.
#include <algorithm>
#include <utility>

#include "jmap/blob_support.hpp"
#include "postern/jmap/email_json.hpp"
#include "postern/jmap/email_properties.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/message_parser.hpp"
#include "postern/mail/mime/preview.hpp"

namespace postern::jmap {
namespace {

// What is read of one message for its body values.
constexpr std::uint64_t parsed_texts_octets_max = 32 * 1024 * 1024;

struct ParsedBlob {
  mail::BlobKey key;
  std::string id;
  ReadyBlob blob;
  mail::ParsedMessage message;
};

io::Task<Result<std::string>> content_of(mail::Mailstore& store, const ParsedBlob& parsed,
                                         const mail::EmailBodyPart& part, std::uint64_t octets_max) {
  const auto place = parsed.message.octets_of(part);
  auto reader = co_await parsed.blob.open(store);
  if (!reader) co_return fail(reader.error());
  co_return co_await read_octets(**reader, place.content_begin, std::min(place.content_size, octets_max));
}

std::uint64_t value_octets_max(const EmailProperties& properties) {
  const std::uint64_t asked = properties.max_body_value_bytes;
  const auto value =
      asked == 0 ? mail::body_value_bytes_max : std::min<std::uint64_t>(asked, mail::body_value_bytes_max);
  return value * 3 + 4'096;  // as for Email/get: what encodings and charsets take at worst
}

using BodyValues = std::vector<std::pair<std::string, mail::EmailBodyValue>>;

io::Task<Result<BodyValues>> body_values_of(mail::Mailstore& store, const EmailProperties& properties,
                                            ParsedBlob& parsed, const mail::BodyLists& lists) {
  BodyValues values;
  std::uint64_t octets = 0;
  for (const auto* part : wanted_body_values(properties, parsed.message.root, lists)) {
    const auto most = std::min(value_octets_max(properties), parsed_texts_octets_max - octets);
    auto content = co_await content_of(store, parsed, *part, most);
    if (!content) co_return fail(content.error());
    octets += content->size();
    mail::TextDecodeOptions options{part->encoding, part->charset.value_or(""), part->is_html(),
                                    properties.max_body_value_bytes};
    const bool cut = content->size() < parsed.message.octets_of(*part).content_size;
    values.emplace_back(part->section, mail::decode_text(*content, std::move(options), cut));
  }
  co_return values;
}

io::Task<Result<std::string>> email_json_of(mail::Mailstore& store, const EmailProperties& properties,
                                            ParsedBlob& parsed) {
  const auto& root = parsed.message.root;
  const auto lists = mail::make_body_lists(root);
  auto values = co_await body_values_of(store, properties, parsed, lists);
  if (!values) co_return fail(values.error());
  std::string preview;
  if (const auto* part = mail::preview_part(lists); properties.needs.preview && part != nullptr) {
    auto content = co_await content_of(store, parsed, *part, mail::preview_fetch_bytes);
    if (!content) co_return fail(content.error());
    preview = mail::make_preview(*part, *content);
  }
  EmailData data;
  data.blob_id = parsed.id;
  data.size = parsed.message.size;
  data.header = &parsed.message.header;
  data.body_structure = &root;
  data.body_lists = &lists;
  data.body_values = *values;
  data.preview = preview;
  data.part_blob_id = [&parsed](const mail::EmailBodyPart& part, std::string& out) {
    const auto place = parsed.message.octets_of(part);
    const auto encoding = mail::transfer_encoding(part.encoding).encoding;
    if (const auto key = mail::slice_of(parsed.key, {encoding, place.content_begin, place.content_size}))
      out += mail::blob_id(*key);
  };
  std::string json;
  JsonWriter writer(json);
  write_email(writer, properties, data);
  co_return json;
}

struct ParseResults {
  std::vector<std::pair<std::string, std::string>> parsed;  // blob id, Email
  std::vector<std::string_view> not_parsable, not_found;
  std::size_t octets = 0;
};

io::Task<Result<>> parse_blob(CallContext& context, const EmailProperties& properties, std::string_view id,
                              ParseResults& results) {
  const auto key = find_blob(context, id);
  if (!key) {
    results.not_found.push_back(id);
    co_return Result<>{};
  }
  ParsedBlob parsed;
  parsed.key = *key;
  parsed.id = mail::blob_id(*key);
  mail::MessageParser parser({.part_headers = properties.needs.part_headers});
  const auto octets_max =
      std::max(context.limits.max_size_upload, context.limits.max_size_attachments_per_email * 2);
  auto ready = co_await make_ready(context, *key, octets_max, false,
                                   [&parser](std::string_view piece) { parser.feed(piece); });
  if (!ready) {
    const auto code = ready.error().code;
    if (code == make_error_code(mail::Errc::not_found))
      results.not_found.push_back(id);
    else if (code == make_error_code(mail::Errc::too_large))
      results.not_parsable.push_back(id);
    else
      co_return fail(ready.error());
    co_return Result<>{};
  }
  parsed.blob = std::move(*ready);
  parsed.message = parser.finish();
  if (!parsed.message.is_message()) {
    results.not_parsable.push_back(id);
    co_return Result<>{};
  }
  auto json = co_await email_json_of(context.store, properties, parsed);
  if (!json) co_return fail(json.error());
  results.octets += json->size();
  results.parsed.emplace_back(id, std::move(*json));
  co_return Result<>{};
}

void write_ids_or_null(JsonWriter& writer, std::string_view key, const std::vector<std::string_view>& ids) {
  writer.key(key);
  if (ids.empty()) return writer.null();
  writer.start_array();
  for (const auto id : ids) writer.string(id);
  writer.end_array();
}

}  // namespace

io::Task<MethodResult> email_parse(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments,
                            {"accountId", "blobIds", "properties", "bodyProperties", "fetchTextBodyValues",
                             "fetchHTMLBodyValues", "fetchAllBodyValues", "maxBodyValueBytes"});
      !ok)
    co_return std::unexpected(ok.error());
  const auto ids = get_blob_ids(context, arguments, "blobIds", context.limits.max_objects_in_get);
  if (!ids) co_return std::unexpected(ids.error());
  const auto properties = parse_email_properties(arguments, EmailSource::blob);
  if (!properties) co_return invalid_arguments(properties.error());
  ParseResults results;
  for (const auto id : *ids) {
    if (auto parsed = co_await parse_blob(context, *properties, id, results); !parsed)
      co_return method_error_of(parsed.error());
    if (results.octets > response_octets_max)
      co_return method_error("requestTooLarge", "the Emails are too large for one response");
  }
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.key("parsed");
  if (results.parsed.empty()) writer.null();
  if (!results.parsed.empty()) writer.start_object();
  for (const auto& [id, json] : results.parsed) {
    writer.key(id);
    writer.raw(json);
  }
  if (!results.parsed.empty()) writer.end_object();
  write_ids_or_null(writer, "notParsable", results.not_parsable);
  write_ids_or_null(writer, "notFound", results.not_found);
  writer.end_object();
  co_return out;
}

}  // namespace postern::jmap
