// Downloads (RFC 8620, 6.2): a blob is passed on piece by piece, as the worker grants credit. A blob never changes, so
// its id is its entity tag.
#include <algorithm>
#include <utility>

#include "broker/router.hpp"
#include "broker/router_support.hpp"
#include "postern/imap/limits.hpp"

namespace postern::broker {

// The reader lives and ends on the account's shard.
struct Router::Download {
  mail::BlobKey blob;
  std::string name, type, etag;
  std::optional<ByteRange> range;
  bool head_only = false;

  std::optional<Shard::InFlight> in_flight;
  std::shared_ptr<limits::Tab> tab;  // until it is sent, also where the reader is of what was put aside
  std::unique_ptr<mail::BlobReader> reader;
  std::string first, next;
  bool has_next = false;
  // Certain: what servers say beforehand is often an estimate, and a wrong Content-Length breaks a download.
  std::optional<std::uint64_t> size;
  std::pair<std::uint64_t, std::uint64_t> part;  // of that size; with a range that can be satisfied
  bool unsatisfiable = false;
  std::uint64_t left = ~std::uint64_t{0};  // to be sent
  bool is_partial() const { return range && !unsatisfiable; }
};

// GET /jmap/download/{accountId}/{blobId}/{name}?accept={type}
io::Task<> Router::download(Exchange& exchange) {
  ++counters_.downloads;
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  auto parts = path_parts(exchange.target.path, "/jmap/download/");
  if (!parts || parts->size() != 3) co_return co_await answer(exchange, not_found());
  if ((*parts)[0] != mail::account_id(identity->key)) co_return co_await answer(exchange, not_found());
  auto blob = mail::parse_blob_id((*parts)[1]);
  if (!blob) co_return co_await answer(exchange, not_found());
  const auto& fields = exchange.head().fields;
  auto open = std::make_shared<Download>();
  open->type = query_value(exchange.target.query, "accept").value_or("application/octet-stream");
  if (!is_media_type(open->type)) open->type = "application/octet-stream";
  open->name = (*parts)[2];
  open->etag = "\"" + mail::blob_id(*blob) + "\"";
  open->blob = std::move(*blob);
  // Who asks so has seen it before: nothing of the mail server is needed.
  if (names_etag(ipc::field(fields, "if-none-match"), open->etag)) {
    ++counters_.answers_2xx;
    ipc::ResponseHead head;
    head.status = 304;
    head.fields = {{"etag", open->etag}, {"cache-control", "private, immutable, max-age=31536000"}};
    (void)co_await exchange.stream->respond(head, {});
    co_return;
  }
  const auto entered = enter(*identity);
  if (!entered) co_return co_await answer(exchange, entered.error());
  const auto if_range = ipc::field(fields, "if-range");
  open->head_only = exchange.head().method == "HEAD";
  // Only GET has ranges (RFC 9110, 14.2).
  if (!open->head_only && (if_range.empty() || if_range == open->etag))
    open->range = parse_range(ipc::field(fields, "range"));
  co_await stream_blob(exchange, std::move(*identity), std::move(open));
}

namespace {

// All of the blob in a file, whose size is certain.
io::Task<Result<std::unique_ptr<mail::BlobReader>>> put_aside(mail::Account& account,
                                                              mail::BlobReader& reader) {
  auto writer = account.new_blob(mail::BlobUse::scratch);
  if (!writer) co_return fail(writer.error());
  while (true) {
    auto piece = co_await reader.next();
    if (!piece) co_return fail(piece.error());
    if (piece->empty()) break;
    if (auto written = (*writer)->write(*piece); !written) co_return fail(written.error());
  }
  co_return (*writer)->read();
}

}  // namespace

io::Task<> Router::begin_download(mail::Account& account, std::string request, Download& download,
                                  Result<>& done) {
  download.tab.reset();  // of a first try
  download.tab = std::make_shared<limits::Tab>(account.meter().shared_from_this(),
                                               stable_hash64("download\n" + request));
  auto reader =
      co_await open_counted(account, download.blob, download.range, download.tab, download.head_only);
  const bool certain = reader && (*reader)->is_local() && (*reader)->size().has_value();
  if (reader && download.range && !certain) {
    auto aside = co_await put_aside(account, **reader);
    // Without room the range is left aside: the answer is all of it.
    if (!aside && aside.error().code == make_error_code(mail::Errc::no_room)) {
      download.range.reset();
      reader = fail(aside.error());  // what it has reserved is needed for all of it
      reader = co_await open_counted(account, download.blob, std::nullopt, download.tab, false);
    } else {
      reader = std::move(aside);
    }
  }
  if (!reader) {
    done = fail(reader.error());
    co_return;
  }
  download.reader = std::move(*reader);
  if (download.reader->is_local()) download.size = download.reader->size();
  if (download.range) {
    const auto part = resolve_range(*download.range, download.size.value_or(0));
    download.unsatisfiable = !part;
    if (!part) co_return;
    download.part = *part;
    download.left = part->second;
    download.reader->skip(part->first);
  }
  // The first piece tells whether the section exists, before anything is promised.
  auto piece = co_await download.reader->next();
  if (!piece) {
    done = fail(piece.error());
    co_return;
  }
  download.first = std::move(*piece);
  if (download.size || download.range) co_return;
  // How long the whole is, is told where all of it is here.
  const bool short_one = download.first.size() < imap::body_piece_bytes;
  if (!short_one) co_return;
  if (!download.first.empty()) {
    auto next = co_await download.reader->next();
    if (!next) {
      done = fail(next.error());
      co_return;
    }
    download.next = std::move(*next);
  }
  download.has_next = true;
  if (download.next.empty()) download.size = download.first.size();
}

io::Task<Result<>> Router::open_download(Exchange& exchange, const Identity& identity,
                                         std::shared_ptr<Download> download) {
  auto& shard = shard_of(identity.key);
  co_return co_await on_loop(
      shard.loop(), loop_, [&shard, &exchange, &identity, download]() -> io::Task<Result<>> {
        download->in_flight.reset();  // of a first try
        auto entered = co_await shard.enter(identity.key, Shard::RequestKind::download);
        if (!entered) co_return fail(mail::Errc::too_large);
        download->in_flight.emplace(std::move(*entered));
        Result<> done;
        auto begun = begin_download(*identity.account, exchange.head().id, *download, done);
        co_await labelled(shard.loop(), exchange, std::move(begun));
        co_return done;
      });
}

void Router::release(const Identity& identity, std::shared_ptr<Download> download) {
  shard_of(identity.key).loop().post([download = std::move(download), account = identity.account] {
    download->reader.reset();
    download->tab.reset();
    download->in_flight.reset();
    account->note_use();
  });
}

jmap::ApiResponse Router::download_error(const Error& error) const {
  auto failed = not_found();
  if (error.code == make_error_code(mail::Errc::too_large)) {
    failed = too_many_requests();
  } else if (error.code == make_error_code(mail::Errc::over_limit)) {
    failed = over_limit(error);
  } else if (error.code == make_error_code(mail::Errc::server_unavailable)) {
    failed = jmap::problem(503, "about:blank", "the mail server can't be reached");
    failed.retry_after = retry_after_seconds;
  } else if (error.code == make_error_code(mail::Errc::authentication)) {
    failed = jmap::problem(401, "about:blank", "sign in again");
  } else if (error.code != make_error_code(mail::Errc::not_found)) {
    failed = jmap::problem(502, "about:blank", "the mail server refused to give the message");
  }
  return failed;
}

io::Task<> Router::stream_blob(Exchange& exchange, Identity identity, std::shared_ptr<Download> open) {
  const auto is_refused = [](const Result<>& result) {
    return !result && result.error().code == make_error_code(mail::Errc::authentication);
  };
  auto opened = co_await open_download(exchange, identity, open);
  if (is_refused(opened) && co_await try_own_credentials(exchange, identity))
    opened = co_await open_download(exchange, identity, open);
  if (!opened) {
    release(identity, open);
    auto failed = download_error(opened.error());
    if (is_refused(opened)) co_await refused_by_server(identity);
    co_return co_await answer(exchange, std::move(failed));
  }
  if (open->unsatisfiable) {
    release(identity, open);
    auto failed = jmap::problem(416, "about:blank", "there is no such range");
    co_return co_await answer(exchange, std::move(failed),
                              {{"content-range", "bytes */" + std::to_string(open->size.value_or(0))}});
  }
  co_await send_pieces(exchange, identity, std::move(open));
}

io::Task<> Router::send_pieces(Exchange& exchange, const Identity& identity, std::shared_ptr<Download> open) {
  auto& shard = shard_of(identity.key);
  ++counters_.answers_2xx;
  ipc::ResponseHead head;
  head.status = open->is_partial() ? 206 : 200;
  // A blob never changes; it is somebody's own. It must never run as a page of this origin.
  head.fields = {{"content-type", open->type},
                 {"content-disposition", content_disposition(open->name)},
                 {"cache-control", "private, immutable, max-age=31536000"},
                 {"etag", open->etag},
                 {"accept-ranges", "bytes"},
                 {"x-content-type-options", "nosniff"},
                 {"content-security-policy", "sandbox; default-src 'none'"}};
  if (open->is_partial()) {
    const auto [begin, octets] = open->part;
    head.fields.emplace_back("content-range", "bytes " + std::to_string(begin) + "-" +
                                                  std::to_string(begin + octets - 1) + "/" +
                                                  std::to_string(open->size.value_or(0)));
  }
  if (open->size) {
    const auto octets = open->is_partial() ? open->part.second : *open->size;
    head.fields.emplace_back("content-length", std::to_string(octets));
  }
  if (exchange.head().method == "HEAD") {
    (void)co_await exchange.stream->respond(head, {});
    co_return release(identity, open);
  }
  auto sent = co_await exchange.stream->begin(head);
  auto piece = std::move(open->first);
  while (sent && !piece.empty() && open->left > 0) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), open->left)));
    open->left -= piece.size();
    sent = co_await exchange.stream->send(piece, false);
    if (!sent || open->left == 0) break;
    if (std::exchange(open->has_next, false)) {
      piece = std::move(open->next);
      continue;
    }
    auto next =
        co_await on_loop(shard.loop(), loop_, [&shard, &exchange, open]() -> io::Task<Result<std::string>> {
          Result<std::string> read;
          co_await labelled(shard.loop(), exchange, store_in(read, open->reader->next()));
          co_return read;
        });
    if (!next) {
      // Half an answer must not look like a whole one.
      loop_.logger().warning("download broken off",
                             {{"request", exchange.head().id}, {"error", next.error().to_string()}});
      exchange.stream->cancel(ipc::CancelReason::broker_error);
      sent = fail(next.error());
      break;
    }
    piece = std::move(*next);
  }
  if (sent) (void)co_await exchange.stream->send({}, true);
  release(identity, open);
}

}  // namespace postern::broker
