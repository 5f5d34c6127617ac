// Blobs: a message or a part of one, fetched piece by piece for as long as somebody reads; uploads and what is put
// aside, in files.
#include "mail/account_support.hpp"
#include "mail/blob_readers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {

class AccountBlobReader final : public BlobReader {
 public:
  AccountBlobReader(std::shared_ptr<Account> account, ViewPtr view, Place place, BlobKey blob,
                    std::uint64_t size, Account::Counted counted)
      : account_(std::move(account)),
        view_(std::move(view)),
        place_(place),
        blob_(std::move(blob)),
        size_(size),
        counted_(std::move(counted)),
        decoder_(blob_.encoding) {}

  std::optional<std::uint64_t> size() const override {
    return blob_.section.empty() ? std::optional(size_ - std::min(size_, offset_)) : std::nullopt;
  }

  void skip(std::uint64_t octets) override {
    if (blob_.section.empty() || blob_.encoding == TransferEncoding::identity)
      offset_ += octets;
    else
      to_drop_ = octets;
  }

  io::Task<Result<std::string>> next() override {
    // A piece can decode to nothing (white space only): go on until there is something to say.
    while (!ended_) {
      auto granted = grant_piece();
      if (!granted) co_return fail(granted.error());
      std::string piece;
      bool answered = false, is_nil = false;
      auto fetched = co_await account_->on_mailbox(
          view_, [this, &piece, &answered, &is_nil](session::Lease& lease) -> io::Task<Result<>> {
            if (view_->uid_validity() != place_.uid_validity) co_return fail(Errc::not_found);
            imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
            fetch.sp()
                .number(place_.uid)
                .raw(" (UID BODY.PEEK[" + blob_.section + "]<" + std::to_string(offset_) + "." +
                     std::to_string(imap::body_piece_bytes) + ">)");
            fetch.expect(content_fetch);
            auto done =
                co_await run(lease, fetch, [this, &piece, &answered, &is_nil](imap::Response& response) {
                  auto* answer = std::get_if<imap::FetchResponse>(&response);
                  if (answer == nullptr || answer->data.uid != place_.uid) return;
                  for (auto& section : answer->data.sections) {
                    if (section.section != blob_.section || section.origin.value_or(0) != offset_) continue;
                    is_nil = !section.data;
                    piece = std::move(section.data).value_or("");
                    answered = true;
                  }
                });
            // An empty part, or a message that is no longer there (RFC 2180, 4.1.2)? The latter is heard of now.
            imap::CommandBuilder noop("NOOP", lease.capabilities());
            if (done && is_nil) done = co_await run(lease, noop);
            co_return done;
          });
      if (!fetched) co_return fail(fetched.error());
      if (!answered) co_return fail(Errc::not_found);
      if (*granted) (*granted)->settle(piece.size());
      const bool is_short = blob_.section.empty() && offset_ < size_;
      if (piece.empty() && (is_short || visible_entry(*view_, place_) == nullptr))
        co_return fail(Errc::not_found);
      offset_ += piece.size();
      ended_ = piece.size() < imap::body_piece_bytes;
      std::string decoded;
      if (blob_.section.empty()) {
        decoded = std::move(piece);
      } else {
        decoder_.feed(piece, decoded);
        if (ended_) decoder_.finish(decoded);
        drop_front(decoded, to_drop_);
      }
      if (!decoded.empty()) co_return decoded;
    }
    co_return std::string{};
  }

 private:
  // Of the octets that the server is about to send; none where somebody else counts.
  Result<std::optional<limits::Reservation>> grant_piece() {
    if (!counted_.here) return std::optional<limits::Reservation>();
    auto granted = account_->grant_read(
        std::min<std::uint64_t>(imap::body_piece_bytes, size_ - std::min(size_, offset_)),
        counted_.tab.get());
    if (!granted) return fail(granted.error());
    return std::optional(std::move(*granted));
  }

  std::shared_ptr<Account> account_;
  ViewPtr view_;
  const Place place_;
  const BlobKey blob_;
  const std::uint64_t size_;  // of the message
  const Account::Counted counted_;
  TransferDecoder decoder_;
  std::uint64_t offset_ = 0, to_drop_ = 0;
  bool ended_ = false;
};

io::Task<Result<std::pair<ViewPtr, Place>>> Account::locate(EmailKey id) {
  Error why(make_error_code(Errc::not_found));
  std::vector<Place> tried;
  for (std::size_t i = 0; i < place_tries_max + update_mailboxes_max; ++i) {
    const auto next = next_place(id, tried);
    if (!next) break;
    const auto place = *next;
    tried.push_back(place);
    auto view = co_await view_of(place.mailbox);
    Result<> attached = view ? co_await attach_current(*view) : fail(view.error());
    if (!attached) {
      if (attached.error().code != make_error_code(Errc::not_found)) why = attached.error();
      continue;
    }
    if (visible_entry(**view, place) != nullptr) co_return std::pair(std::move(*view), place);
    if (!moving_.contains(place)) continue;
    co_await wait_for_move(place);
    std::erase(tried, place);
  }
  co_return fail(why);
}

io::Task<Result<std::unique_ptr<BlobReader>>> Account::open_message(BlobKey blob, Counted counted) {
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
  co_return std::make_unique<AccountBlobReader>(shared_from_this(), view, place, std::move(blob), entry->size,
                                                std::move(counted));
}

io::Task<Result<std::unique_ptr<BlobReader>>> Account::open_blob(BlobKey blob,
                                                                 std::shared_ptr<limits::Tab> tab) {
  return open_any_blob(std::move(blob), {true, std::move(tab)});
}
io::Task<Result<std::unique_ptr<BlobReader>>> Account::open_uncounted_blob(BlobKey blob) {
  return open_any_blob(std::move(blob), {});
}

io::Task<Result<std::unique_ptr<BlobReader>>> Account::open_any_blob(BlobKey blob, Counted counted) {
  const auto slices = std::exchange(blob.slices, {});
  std::unique_ptr<BlobReader> reader;
  if (blob.is_upload()) {
    if (context_.uploads == nullptr) co_return fail(Errc::not_found);
    auto file = context_.uploads->find(key_, *blob.upload);
    if (!file) co_return fail(Errc::not_found, file.error().to_string());
    reader = make_file_reader(context_.loop, std::move(*file));
  } else {
    auto opened = co_await open_message(std::move(blob), std::move(counted));
    if (!opened) co_return fail(opened.error());
    reader = std::move(*opened);
  }
  for (const auto& slice : slices) {
    const auto size = reader->size();
    if (size && (slice.begin > *size || slice.size > *size - slice.begin)) co_return fail(Errc::not_found);
    reader = make_slice_reader(std::move(reader), slice);
  }
  co_return reader;
}

namespace {

Error error_of_upload(const Error& error) {
  const auto code = error.code == make_error_code(blobs::Errc::not_found) ? Errc::not_found : Errc::no_room;
  return Error(make_error_code(code), error.to_string());
}

class AccountBlobWriter final : public BlobWriter {
 public:
  AccountBlobWriter(io::Loop& loop, std::shared_ptr<limits::Meter> meter,
                    std::unique_ptr<blobs::UploadWriter> writer)
      : loop_(loop), meter_(std::move(meter)), writer_(std::move(writer)) {}

  Result<> write(std::string_view piece) override {
    auto written = writer_->write(piece);
    if (written) return {};
    if (const auto used = blobs::used_of_own_room(written.error()))
      return fail(Errc::no_room, meter_->refuse_upload(*used, writer_->size(), piece.size()).encode());
    return fail(error_of_upload(written.error()));
  }
  Result<BlobKey> keep() override {
    auto token = writer_->keep();
    if (!token) return fail(error_of_upload(token.error()));
    BlobKey key;
    key.upload = *token;
    return key;
  }
  Result<std::unique_ptr<BlobReader>> read() const override {
    auto file = writer_->file();
    if (!file) return fail(error_of_upload(file.error()));
    return make_file_reader(loop_, std::move(*file));
  }

 private:
  io::Loop& loop_;
  std::shared_ptr<limits::Meter> meter_;
  std::unique_ptr<blobs::UploadWriter> writer_;
};

}  // namespace

Result<std::unique_ptr<BlobWriter>> Account::new_blob(BlobUse use) {
  if (context_.uploads == nullptr) return fail(Errc::no_room, "there are no uploads");
  // Uploads by HTTP are counted where they come in.
  constexpr std::uint32_t any_number = 0xFFFFFFFFu;
  const bool kept = use == BlobUse::upload;
  // What is put aside for a moment is bounded by [uploads] alone: a message may be larger than the plan's uploads.
  auto writer = context_.uploads->begin(key_, kept ? any_number : 0, 0,
                                        kept ? meter_->plan().uploads : blobs::UploadIndex::no_own_room);
  if (!writer) return fail(error_of_upload(writer.error()));
  return std::make_unique<AccountBlobWriter>(context_.loop, meter_, std::move(*writer));
}

}  // namespace postern::mail
