// Blobs for methods. A piece at a time is in memory; what is put aside is bounded by the account's room for uploads.
#include "jmap/blob_support.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace postern::jmap {

std::optional<mail::BlobKey> find_blob(const CallContext& context, std::string_view id) {
  return mail::parse_blob_id(context.created_ids.resolve(id));
}

io::Task<Result<std::unique_ptr<mail::BlobReader>>> ReadyBlob::open(mail::Mailstore& store) const {
  if (aside_) co_return aside_->read();
  co_return co_await store.open_blob(key_, nullptr);
}

io::Task<Result<ReadyBlob>> make_ready(const CallContext& context, mail::BlobKey key,
                                       std::uint64_t octets_max, bool scan,
                                       std::function<void(std::string_view)> listen) {
  ReadyBlob blob;
  blob.key_ = key;
  auto reader = co_await context.store.open_blob(std::move(key), context.tab);
  if (!reader) co_return fail(reader.error());
  const auto size = (*reader)->size();
  if (size && *size > octets_max) co_return fail(mail::Errc::too_large);
  if ((*reader)->is_local() && size && !scan && !listen) {
    blob.octets = *size;
    co_return blob;
  }
  if (!(*reader)->is_local()) {
    auto aside = context.store.new_blob(mail::BlobUse::scratch);
    if (!aside) co_return fail(aside.error());
    blob.aside_ = std::move(*aside);
  }
  mail::ContentScan traits;
  while (true) {
    auto piece = co_await (*reader)->next();
    if (!piece) co_return fail(piece.error());
    if (piece->empty()) break;
    blob.octets += piece->size();
    if (blob.octets > octets_max) co_return fail(mail::Errc::too_large);
    if (scan) traits.feed(*piece);
    if (listen) listen(*piece);
    if (blob.aside_)
      if (auto written = blob.aside_->write(*piece); !written) co_return fail(written.error());
  }
  if (scan) blob.traits = traits.finish();
  co_return blob;
}

std::expected<std::vector<std::string_view>, MethodError> get_blob_ids(const CallContext&,
                                                                       const rapidjson::Value& arguments,
                                                                       std::string_view name,
                                                                       std::size_t count_max) {
  const auto* given = find_member(arguments, name);
  if (given != nullptr && given->IsArray() && given->Size() > count_max)
    return method_error("requestTooLarge", "more ids than one call may name");
  auto ids = get_strings(arguments, name, count_max);
  if (!ids) return invalid_arguments(ids.error());
  if (!*ids) return invalid_arguments({json_pointer({}, name), "must be an array of Ids"});
  std::vector<std::string_view> each_once;
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < (*ids)->size(); ++i) {
    const auto id = (**ids)[i];
    if (!is_valid_id(id.substr(id.starts_with('#') ? 1 : 0)))
      return invalid_arguments({json_pointer(json_pointer({}, name), i), "must be an Id"});
    if (seen.insert(id).second) each_once.push_back(id);
  }
  return each_once;
}

io::Task<Result<std::string>> read_octets(mail::BlobReader& reader, std::uint64_t offset,
                                          std::uint64_t octets) {
  if (offset > 0) reader.skip(offset);
  std::string out;
  while (out.size() < octets) {
    auto piece = co_await reader.next();
    if (!piece) co_return fail(piece.error());
    if (piece->empty()) break;
    out += piece->substr(
        0, static_cast<std::size_t>(std::min<std::uint64_t>(piece->size(), octets - out.size())));
  }
  co_return out;
}

}  // namespace postern::jmap
