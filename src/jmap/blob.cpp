// Blob/get and Blob/lookup (RFC 9404, 4.2 and 4.3).
#include <algorithm>
#include <utility>

#include "jmap/blob_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/base/hasher.hpp"

namespace postern::jmap {
namespace {

// Octets of blobs that one Blob/get gives out, or reads for their digests.
constexpr std::uint64_t blob_get_octets_max = 16 * 1024 * 1024;
constexpr std::uint64_t blob_digest_octets_max = 256 * 1024 * 1024;

struct BlobProperties {
  bool data = false, as_text = false, as_base64 = false, sha = false, sha256 = false, size = false;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
  bool wants_data() const { return data || as_text || as_base64; }
  bool wants_digest() const { return sha || sha256; }
};

std::expected<BlobProperties, MethodError> blob_properties(const rapidjson::Value& arguments) {
  BlobProperties wanted;
  const auto names = get_strings(arguments, "properties", 100);
  if (!names) return invalid_arguments(names.error());
  if (!*names) wanted.data = wanted.size = true;
  for (const auto name : names->value_or(std::vector<std::string_view>{})) {
    if (name == "data")
      wanted.data = true;
    else if (name == "data:asText")
      wanted.as_text = true;
    else if (name == "data:asBase64")
      wanted.as_base64 = true;
    else if (name == "digest:sha")
      wanted.sha = true;
    else if (name == "digest:sha-256")
      wanted.sha256 = true;
    else if (name == "size")
      wanted.size = true;
    else if (name != "id")
      return invalid_arguments({"/properties", "unknown property " + std::string(name)});
  }
  const auto offset = get_uint(arguments, "offset"), length = get_uint(arguments, "length");
  if (!offset) return invalid_arguments(offset.error());
  if (!length) return invalid_arguments(length.error());
  wanted.offset = offset->value_or(0);
  wanted.length = *length;
  return wanted;
}

struct ReadRange {
  std::string data;
  std::uint64_t octets = 0, size = 0;  // of the range, of the blob
  std::string sha, sha256;
};

// All of the blob, since only its end tells how large it is and whether the range ends before it.
io::Task<Result<ReadRange>> read_range(const CallContext& context, const mail::BlobKey& key,
                                       const BlobProperties& wanted, std::uint64_t data_max,
                                       std::uint64_t digest_max) {
  auto reader = co_await context.store.open_blob(key, context.tab);
  if (!reader) co_return fail(reader.error());
  const auto known_size = (*reader)->size();
  std::optional<limits::Reservation> granted;
  if (key.is_upload() && known_size && wanted.wants_data() && context.tab) {
    const auto begin = std::min(wanted.offset, *known_size);
    const auto octets = std::min(wanted.length.value_or(*known_size), *known_size - begin);
    if (octets > data_max) co_return fail(mail::Errc::too_large);
    auto reserved = context.tab->reserve(limits::Count::files, octets);
    if (!reserved) co_return fail(mail::Errc::over_limit, reserved.error().encode());
    granted.emplace(std::move(*reserved));
  }
  ReadRange range;
  Hasher sha(Hasher::Algorithm::sha1), sha256(Hasher::Algorithm::sha256);
  const auto end = wanted.length ? wanted.offset + *wanted.length : ~std::uint64_t{0};
  while (range.size < end || !known_size) {
    if (known_size && !wanted.wants_data() && !wanted.wants_digest()) break;
    auto piece = co_await (*reader)->next();
    if (!piece) co_return fail(piece.error());
    if (piece->empty()) break;
    const auto begin =
        std::min<std::uint64_t>(piece->size(), wanted.offset - std::min(wanted.offset, range.size));
    const auto stop = std::min<std::uint64_t>(piece->size(), end - std::min(end, range.size));
    range.size += piece->size();
    if (begin >= stop) continue;
    const auto part = std::string_view(*piece).substr(static_cast<std::size_t>(begin),
                                                      static_cast<std::size_t>(stop - begin));
    range.octets += part.size();
    if ((wanted.wants_data() && range.octets > data_max) ||
        (wanted.wants_digest() && range.octets > digest_max))
      co_return fail(mail::Errc::too_large);
    if (wanted.wants_data()) range.data += part;
    if (wanted.sha) sha.update(part);
    if (wanted.sha256) sha256.update(part);
  }
  if (known_size) range.size = *known_size;
  if (granted) granted->moved(range.data.size());
  if (wanted.sha) range.sha = base64_encode(sha.finish());
  if (wanted.sha256) range.sha256 = base64_encode(sha256.finish());
  co_return range;
}

void write_blob(JsonWriter& writer, std::string_view id, const BlobProperties& wanted,
                const ReadRange& range) {
  writer.start_object();
  writer.member("id", id);
  const bool is_text = !wanted.wants_data() || is_valid_utf8(range.data);
  if (wanted.as_text || (wanted.data && is_text)) {
    writer.key("data:asText");
    is_text ? writer.string(range.data) : writer.null();
  }
  if (wanted.as_base64 || (wanted.data && !is_text))
    writer.member("data:asBase64", base64_encode(range.data));
  if ((wanted.data || wanted.as_text) && !is_text) writer.member_bool("isEncodingProblem", true);
  const bool beyond = wanted.offset > range.size ||
                      (wanted.length && *wanted.length > range.size - std::min(wanted.offset, range.size));
  if (beyond) writer.member_bool("isTruncated", true);
  if (wanted.sha) writer.member("digest:sha", range.sha);
  if (wanted.sha256) writer.member("digest:sha-256", range.sha256);
  if (wanted.size) writer.member_uint("size", range.size);
  writer.end_object();
}

void begin_list(JsonWriter& writer, const CallContext& context) {
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.key("list");
  writer.start_array();
}

}  // namespace

io::Task<MethodResult> blob_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties", "offset", "length"}); !ok)
    co_return std::unexpected(ok.error());
  const auto ids = get_blob_ids(context, arguments, "ids", context.limits.max_objects_in_get);
  if (!ids) co_return std::unexpected(ids.error());
  const auto wanted = blob_properties(arguments);
  if (!wanted) co_return std::unexpected(wanted.error());
  std::string out;
  JsonWriter writer(out);
  begin_list(writer, context);
  std::vector<std::string_view> missing;
  std::uint64_t data_left = blob_get_octets_max, digest_left = blob_digest_octets_max;
  for (const auto id : *ids) {
    const auto key = find_blob(context, id);
    Result<ReadRange> range = fail(mail::Errc::not_found);
    if (key) range = co_await read_range(context, *key, *wanted, data_left, digest_left);
    if (!range && range.error().code == make_error_code(mail::Errc::not_found)) {
      missing.push_back(id);
      continue;
    }
    if (!range) co_return method_error_of(range.error());
    data_left -= std::min<std::uint64_t>(data_left, range->data.size());
    digest_left -= std::min(digest_left, wanted->wants_digest() ? range->octets : 0);
    write_blob(writer, id, *wanted, *range);
  }
  end_get_response(writer, missing);
  co_return out;
}

io::Task<MethodResult> blob_lookup(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "typeNames", "ids"}); !ok)
    co_return std::unexpected(ok.error());
  const auto types = get_strings(arguments, "typeNames", 100);
  if (!types) co_return invalid_arguments(types.error());
  if (!*types) co_return invalid_arguments({"/typeNames", "must be an array of strings"});
  for (const auto type : **types)
    if (std::find(std::begin(blob_type_names), std::end(blob_type_names), type) == std::end(blob_type_names))
      co_return method_error("unknownDataType", std::string(type));
  const auto ids = get_blob_ids(context, arguments, "ids", context.limits.max_objects_in_get);
  if (!ids) co_return std::unexpected(ids.error());
  std::string out;
  JsonWriter writer(out);
  begin_list(writer, context);
  std::vector<std::string_view> missing;
  for (const auto id : *ids) {
    const auto key = find_blob(context, id);
    std::vector<std::string> emails, threads, mailboxes;
    bool found = false;
    if (key && key->is_upload()) {
      found = (co_await context.store.open_blob(*key, context.tab)).has_value();
    } else if (key) {
      mail::FetchPlan plan;
      plan.signature = "blob lookup";
      plan.thread = true;
      plan.tab = context.tab;
      plan.cacheable = false;
      plan.render = [&threads](const mail::MessageSource& source) {
        threads.push_back(mail::thread_id(source.thread));
        return mail::Fragment{};
      };
      const auto items = co_await context.store.fetch({key->email}, std::move(plan));
      if (!items) co_return method_error_of(items.error());
      found = !items->data.empty() && items->data.front().found;
      if (found) emails.push_back(mail::email_id(key->email));
      if (found)
        for (const auto mailbox : *items->data.front().mailboxes)
          mailboxes.push_back(mail::mailbox_id(mailbox));
    }
    if (!found) {
      missing.push_back(id);
      continue;
    }
    writer.start_object();
    writer.member("id", id);
    writer.key("matchedIds");
    writer.start_object();
    for (const auto type : **types) {
      const auto& matched = type == "Email" ? emails : type == "Thread" ? threads : mailboxes;
      writer.key(type);
      writer.start_array();
      for (const auto& match : matched) writer.string(match);
      writer.end_array();
    }
    writer.end_object();
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

}  // namespace postern::jmap
