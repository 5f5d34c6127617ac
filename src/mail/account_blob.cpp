// Blobs: a message or a part of one, fetched piece by piece for as long as somebody reads.
#include "mail/account_support.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {

class AccountBlobReader final : public BlobReader {
 public:
  AccountBlobReader(std::shared_ptr<Account> account, ViewPtr view, Place place, BlobKey blob,
                    std::uint64_t size)
      : account_(std::move(account)),
        view_(std::move(view)),
        place_(place),
        blob_(std::move(blob)),
        size_(size),
        decoder_(blob_.encoding) {}

  std::optional<std::uint64_t> size() const override {
    return blob_.section.empty() ? std::optional(size_) : std::nullopt;
  }

  io::Task<Result<std::string>> next() override {
    // A piece can decode to nothing (white space only): go on until there is something to say.
    while (!ended_) {
      std::string piece;
      bool answered = false;
      auto fetched = co_await account_->on_mailbox(
          view_, [this, &piece, &answered](session::Lease& lease) -> io::Task<Result<>> {
            if (view_->uid_validity() != place_.uid_validity) co_return fail(Errc::not_found);
            imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
            fetch.sp()
                .number(place_.uid)
                .raw(" (UID BODY.PEEK[" + blob_.section + "]<" + std::to_string(offset_) + "." +
                     std::to_string(imap::body_piece_bytes) + ">)");
            fetch.expect(content_fetch);
            co_return co_await run(lease, fetch, [this, &piece, &answered](imap::Response& response) {
              auto* answer = std::get_if<imap::FetchResponse>(&response);
              if (answer == nullptr || answer->data.uid != place_.uid) return;
              for (auto& section : answer->data.sections) {
                if (section.section != blob_.section || section.origin.value_or(0) != offset_) continue;
                piece = section.data.value_or("");
                answered = true;
              }
            });
          });
      if (!fetched) co_return fail(fetched.error());
      if (!answered) co_return fail(Errc::not_found);
      offset_ += piece.size();
      ended_ = piece.size() < imap::body_piece_bytes;
      std::string decoded;
      if (blob_.section.empty()) {
        decoded = std::move(piece);
      } else {
        decoder_.feed(piece, decoded);
        if (ended_) decoder_.finish(decoded);
      }
      if (!decoded.empty()) co_return decoded;
    }
    co_return std::string{};
  }

 private:
  std::shared_ptr<Account> account_;
  ViewPtr view_;
  const Place place_;
  const BlobKey blob_;
  const std::uint64_t size_;
  TransferDecoder decoder_;
  std::uint64_t offset_ = 0;
  bool ended_ = false;
};

io::Task<Result<std::pair<ViewPtr, Place>>> Account::locate(EmailKey id) {
  for (int i = 0; i < place_tries_max; ++i) {
    const auto place = place_of(id);
    auto view = co_await view_of(place.mailbox);
    if (!view) co_return fail(view.error());
    if (auto attached = co_await attach_current(*view); !attached) co_return fail(attached.error());
    if (visible_entry(**view, place) != nullptr) co_return std::pair(std::move(*view), place);
    if (place_of(id) == place) break;
  }
  co_return fail(Errc::not_found);
}

io::Task<Result<std::unique_ptr<BlobReader>>> Account::open_blob(BlobKey blob) {
  auto located = co_await locate(blob.email);
  if (!located) co_return fail(located.error());
  auto& [view, place] = *located;
  const auto* entry = visible_entry(*view, place);
  if (entry != nullptr && !entry->is_known()) {
    std::map<std::uint32_t, MessageSource> sources;
    sources[place.uid].id = blob.email;
    std::uint64_t octets = 0;
    if (auto fetched = co_await fetch_sources(view, FetchPlan{}, sources, octets); !fetched)
      co_return fail(fetched.error());
    entry = visible_entry(*view, place);
  }
  if (entry == nullptr) co_return fail(Errc::not_found);
  co_return std::make_unique<AccountBlobReader>(shared_from_this(), view, place, std::move(blob),
                                                entry->size);
}

}  // namespace postern::mail
