// What is fetched for a person is granted before, and counted as it came (docs/limits.md): header fields, parts and
// whole messages. What Postern fetches for its own index is not.
#include "mail/account_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/limits/tab.hpp"
#include "postern/mail/mime/body_parts.hpp"
#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {

Result<limits::Reservation> Account::grant_read(std::uint64_t octets, limits::Tab* tab) {
  const bool small = octets <= small_read_octets_max;
  auto granted = tab != nullptr
                     ? tab->reserve(limits::Count::received, octets, small)
                     : meter_->reserve({limits::amount_of(limits::Count::received, octets), small});
  if (!granted) return fail(Errc::over_limit, granted.error().encode());
  return std::move(*granted);
}

std::uint64_t Account::message_octets(const EmailKey& id) const {
  for (const auto& place : places_of(id)) {
    const auto view = views_.find(place.mailbox);
    if (view == views_.end()) continue;
    const auto* entry = visible_entry(*view->second, place);
    if (entry != nullptr && entry->is_known()) return entry->size;
  }
  return 0;
}

io::Task<Result<std::optional<std::string>>> Account::server_metadata(std::string entry) {
  std::optional<std::string> value;
  Result<> asked;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto lease = co_await pool_->any();
    if (!lease) co_return fail(mail_error(lease.error()));
    const auto& capabilities = lease->capabilities();
    if (!capabilities.has(imap::Capability::metadata) && !capabilities.has(imap::Capability::metadata_server))
      co_return std::optional<std::string>();
    value.reset();
    imap::CommandBuilder command("GETMETADATA", capabilities);
    command.raw(" \"\" ").astring(entry).expect(imap::Expect::other);
    asked = co_await run(*lease, command, [&](imap::Response& response) {
      const auto* metadata = std::get_if<imap::MetadataResponse>(&response);
      if (metadata == nullptr || !metadata->mailbox.empty()) return;
      for (const auto& [name, known] : metadata->entries)
        if (iequals_ascii(name, entry) && known) value = *known;
    });
    if (asked || !is_lost(asked.error())) break;
  }
  if (!asked) co_return fail(mail_error(asked.error()));
  co_return value;
}

namespace {

// Quoted-printable takes up to three octets for one, and a soft line end besides; lines of base64 may be short.
std::uint64_t least_of(const EmailBodyPart& part) {
  if (part.size_exact) return part.size;
  return transfer_encoding(part.encoding).encoding == TransferEncoding::base64 ? part.size / 4 * 3 : 0;
}

}  // namespace

io::Task<Result<Account::BlobOctets>> Account::blob_octets(BlobKey blob) {
  auto located = co_await locate(blob.email);
  if (!located) co_return fail(located.error());
  auto& [view, place] = *located;
  std::map<std::uint32_t, MessageSource> sources;
  sources[place.uid].id = blob.email;
  sources[place.uid].place = place;
  FetchPlan plan;
  plan.body_structure = !blob.section.empty();
  std::uint64_t octets = 0;
  if (auto fetched = co_await fetch_sources(view, plan, sources, octets); !fetched)
    co_return fail(fetched.error());
  const auto* entry = visible_entry(*view, place);
  if (entry == nullptr) co_return fail(Errc::not_found);
  const auto& structure = sources[place.uid].body_structure;
  const BlobOctets whole{entry->size, entry->size, entry->size};
  if (!structure || blob.section.empty()) co_return whole;
  const auto parts = make_body_parts(*structure);
  const auto* part = find_part(parts, blob.section);
  if (part == nullptr) co_return whole;
  const auto expected = std::min<std::uint64_t>(part->size, entry->size);
  co_return BlobOctets{expected, std::min(least_of(*part), expected), part->encoded_size};
}

}  // namespace postern::mail
