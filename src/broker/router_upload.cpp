// Uploads (RFC 8620, 6.1): a request's body, piece by piece into a file. No more of it is in memory than the stream's
// credit, and nothing is left of what is broken off.
#include <utility>

#include "broker/router.hpp"
#include "broker/router_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/jmap/json.hpp"

namespace postern::broker {
namespace {

jmap::ApiResponse too_large() {
  return jmap::problem(413, "limit", "the upload is larger than maxSizeUpload", "maxSizeUpload");
}

}  // namespace

// POST /jmap/upload/{accountId}/
io::Task<> Router::upload(Exchange& exchange) {
  ++counters_.uploads;
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  if (auto wrong = wrong_origin(exchange); identity->by_cookie && wrong)
    co_return co_await answer(exchange, std::move(*wrong));
  if (auto wrong = forged_beside_web_server(exchange); identity->by_web_server && wrong)
    co_return co_await answer(exchange, std::move(*wrong));
  const auto parts = path_parts(exchange.target.path, "/jmap/upload/");
  const bool well_formed = parts && (parts->size() == 1 || (parts->size() == 2 && (*parts)[1].empty()));
  if (!well_formed || (*parts)[0] != mail::account_id(identity->key))
    co_return co_await answer(exchange, not_found());
  const auto entered = enter(*identity);
  if (!entered) co_return co_await answer(exchange, entered.error());
  co_await receive(exchange, *identity);
  shard_of(identity->key).loop().post([account = std::move(identity->account)] { account->note_use(); });
}

io::Task<> Router::receive(Exchange& exchange, const Identity& identity) {
  const auto config = config_;  // a reload must not change the limits under the upload
  const auto size_max = config->jmap.max_size_upload;
  const auto announced = exchange.head().content_length.value_or(0);
  if (announced > size_max) co_return co_await answer(exchange, too_large());
  auto& meter = identity.account->meter();
  const auto tab =
      std::make_shared<limits::Tab>(meter.shared_from_this(), stable_hash64("upload\n" + exchange.head().id));
  // Of a body whose size isn't told, piece by piece.
  auto granted = tab->reserve(limits::Count::files, announced);
  if (!granted) co_return co_await answer(exchange, over_limit(granted.error()));
  // Before the answer: whoever has it may ask for more at once, and what didn't come is free then.
  const auto settle = [&granted] { const auto ended = std::move(*granted); };
  const auto room = meter.plan().uploads;
  auto writer = uploads_.begin(identity.key, config->jmap.max_concurrent_upload, announced, room);
  if (!writer) {
    settle();
    co_return co_await answer(exchange, upload_error(writer.error(), meter, 0, announced));
  }
  while (true) {
    auto piece = co_await exchange.stream->read_piece();
    if (!piece) co_return;
    if (piece->empty()) break;
    if ((*writer)->size() + piece->size() > size_max) {
      settle();
      co_return co_await answer(exchange, too_large());
    }
    if (announced > 0) {
      granted->moved(piece->size());
    } else if (auto more = tab->reserve(limits::Count::files, piece->size()); more) {
      more->settle_all();
    } else {
      co_return co_await answer(exchange, over_limit(more.error()));
    }
    if (auto written = (*writer)->write(*piece); !written) {
      settle();
      co_return co_await answer(exchange,
                                upload_error(written.error(), meter, (*writer)->size(), piece->size()));
    }
  }
  settle();
  const auto size = (*writer)->size();
  auto token = (*writer)->keep();
  writer->reset();
  if (!token) co_return co_await answer(exchange, upload_error(token.error(), meter, size, 0));
  mail::BlobKey blob;
  blob.upload = *token;
  std::string type(ipc::field(exchange.head().fields, "content-type"));
  if (!is_media_type(type)) type = "application/octet-stream";
  Answer created;
  created.status = 201;
  jmap::JsonWriter writer_of_body(created.body);
  writer_of_body.start_object();
  writer_of_body.member("accountId", mail::account_id(identity.key));
  writer_of_body.member("blobId", mail::blob_id(blob));
  writer_of_body.member("type", type);
  writer_of_body.member_uint("size", size);
  writer_of_body.end_object();
  co_await answer(exchange, std::move(created));
}

// `own`: what has come of it; `asked`: what was to come more.
jmap::ApiResponse Router::upload_error(const Error& error, const limits::Meter& meter, std::uint64_t own,
                                       std::uint64_t asked) const {
  using blobs::Errc;
  Answer failed;
  if (const auto used = blobs::used_of_own_room(error)) {
    failed = over_limit(meter.refuse_upload(*used, own, asked), 507);
  } else if (error.code == make_error_code(Errc::too_many)) {
    failed = jmap::problem(429, "limit", "too many uploads at once", "maxConcurrentUpload");
    failed.retry_after = "1";
  } else if (error.code == make_error_code(Errc::unavailable) || error.code == make_error_code(Errc::io)) {
    failed = jmap::problem(503, "about:blank", "uploads can't be kept at the moment");
    failed.retry_after = retry_after_seconds;
  } else {
    failed = jmap::problem(507, "about:blank", "there is no room for this upload: " + error.code.message());
  }
  return failed;
}

}  // namespace postern::broker
