// Blob/upload (RFC 9404, 4.1): uploads made of texts, base64 and pieces of other blobs, one after the other in a file.
#include <algorithm>
#include <utility>

#include "jmap/blob_support.hpp"
#include "jmap/email_write.hpp"
#include "jmap/set_support.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

struct Target {
  std::unique_ptr<mail::BlobWriter> writer;
  limits::Tab* tab = nullptr;
  std::uint64_t size = 0, size_max = 0;
  std::vector<limits::Reservation> granted = {};  // files; of what isn't kept nothing is counted
};

mail::SetOutcome invalid_data(std::size_t number, std::string description) {
  return set_error("invalidProperties", std::move(description), {"data/" + std::to_string(number)});
}

std::optional<mail::SetOutcome> write_octets(Target& target, std::string_view octets) {
  target.size += octets.size();
  if (target.size > target.size_max) return set_error("tooLarge", "the blob is larger than maxSizeBlobSet");
  if (target.tab != nullptr) {
    auto granted = target.tab->reserve(limits::Count::files, octets.size());
    if (!granted) return set_error(granted.error());
    target.granted.push_back(std::move(*granted));
  }
  if (auto written = target.writer->write(octets); !written) return blob_error(written.error(), {});
  return std::nullopt;
}

// {"blobId": id, "offset": 0, "length": null}
io::Task<std::optional<mail::SetOutcome>> write_piece(CallContext& context, Target& target,
                                                      const rapidjson::Value& source, std::string_view id,
                                                      std::size_t number) {
  const auto offset = get_uint(source, "offset"), length = get_uint(source, "length");
  if (!offset || !length) co_return invalid_data(number, "offset and length must be an UnsignedInt");
  const auto key = find_blob(context, id);
  Result<std::unique_ptr<mail::BlobReader>> reader = fail(mail::Errc::not_found);
  if (key) reader = co_await context.store.open_blob(*key, context.tab);
  if (!reader) co_return blob_error(reader.error(), id);
  // One octet before, so that an offset at the end is told from one beyond it.
  const auto from = offset->value_or(0);
  if (from > 0) (*reader)->skip(from - 1);
  bool lead = from > 0;
  auto left = length->value_or(~std::uint64_t{0});
  while (left > 0 || lead) {
    auto piece = co_await (*reader)->next();
    if (!piece) co_return blob_error(piece.error(), id);
    if (piece->empty()) break;
    auto octets = std::string_view(*piece);
    if (std::exchange(lead, false)) octets.remove_prefix(1);
    octets = octets.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(octets.size(), left)));
    left -= octets.size();
    if (auto wrong = write_octets(target, octets)) co_return wrong;
  }
  if (lead || (*length && left > 0)) co_return invalid_data(number, "the range is not within the blob");
  co_return std::nullopt;
}

io::Task<std::optional<mail::SetOutcome>> write_source(CallContext& context, Target& target,
                                                       const rapidjson::Value& source, std::size_t number) {
  if (!source.IsObject()) co_return invalid_data(number, "must be an object");
  const auto text = get_string(source, "data:asText"), base64 = get_string(source, "data:asBase64"),
             id = get_string(source, "blobId");
  if (!text || !base64 || !id) co_return invalid_data(number, "must have strings");
  if ((text->has_value() ? 1 : 0) + (base64->has_value() ? 1 : 0) + (id->has_value() ? 1 : 0) != 1)
    co_return invalid_data(number, "must have one of data:asText, data:asBase64 and blobId");
  if (*text) co_return write_octets(target, **text);
  if (*id) co_return co_await write_piece(context, target, source, **id, number);
  const auto decoded = base64_decode(**base64);
  if (!decoded) co_return invalid_data(number, "is no base64");
  co_return write_octets(target, *decoded);
}

struct Made {
  std::string id, json;
};

io::Task<std::expected<Made, mail::SetOutcome>> make_blob(CallContext& context,
                                                          const rapidjson::Value& object) {
  const auto type = get_string(object, "type");
  const auto* data = find_member(object, "data");
  if (!object.IsObject() || data == nullptr || !data->IsArray())
    co_return std::unexpected(set_error("invalidProperties", "data must be an array", {"data"}));
  if (!type) co_return std::unexpected(set_error("invalidProperties", "must be a string", {"type"}));
  for (const auto& member : object.GetObject())
    if (const auto name = text_of(member.name); name != "type" && name != "data")
      co_return std::unexpected(set_error("invalidProperties", "unknown property", {std::string(name)}));
  if (data->Size() > blob_data_sources_max)
    co_return std::unexpected(set_error("invalidProperties", "more than maxDataSources", {"data"}));
  auto writer = context.store.new_blob(mail::BlobUse::upload);
  if (!writer) co_return std::unexpected(blob_error(writer.error(), {}));
  Target target{std::move(*writer), context.tab.get(), 0, context.limits.max_size_upload};
  std::size_t number = 0;
  for (const auto& source : data->GetArray())
    if (auto wrong = co_await write_source(context, target, source, number++))
      co_return std::unexpected(*wrong);
  const auto key = target.writer->keep();
  if (!key) co_return std::unexpected(blob_error(key.error(), {}));
  for (auto& granted : target.granted) granted.settle_all();
  Made made{mail::blob_id(*key), {}};
  JsonWriter json(made.json);
  json.start_object();
  json.member("id", made.id);
  json.member("type", type->value_or("application/octet-stream"));
  json.member_uint("size", target.size);
  json.end_object();
  co_return made;
}

}  // namespace

io::Task<MethodResult> blob_upload(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "create"}); !ok) co_return std::unexpected(ok.error());
  const auto* create = find_member(arguments, "create");
  if (create == nullptr || !create->IsObject()) co_return invalid_arguments({"/create", "must be an object"});
  if (create->MemberCount() > context.limits.max_objects_in_set)
    co_return method_error("requestTooLarge", "more than maxObjectsInSet objects");
  SetResponse response(context);
  for (const auto& member : create->GetObject()) {
    auto made = co_await make_blob(context, member.value);
    if (made)
      response.created(text_of(member.name), made->id, std::move(made->json));
    else
      response.not_created(text_of(member.name), std::move(made.error()));
  }
  co_return response.finish_created({}, {});
}

}  // namespace postern::jmap
