// Blobs as methods use them: found by their ids, measured, and put aside where reading them needs the mail server.
// Private to the jmap layer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jmap/methods.hpp"
#include "postern/mail/mime/transfer_encode.hpp"

namespace postern::jmap {

// What a blob id stands for; "#" and a creation id are what was created in this request.
std::optional<mail::BlobKey> find_blob(const CallContext& context, std::string_view id);

// A blob whose size is known and that is read without the mail server, as often as need be: while a message is being
// sent over a connection, nothing may wait for that.
class ReadyBlob {
 public:
  std::uint64_t octets = 0;
  mail::ContentTraits traits;  // with `scan`

  io::Task<Result<std::unique_ptr<mail::BlobReader>>> open(mail::Mailstore& store) const;

 private:
  friend io::Task<Result<ReadyBlob>> make_ready(const CallContext& context, mail::BlobKey key,
                                                std::uint64_t octets_max, bool scan,
                                                std::function<void(std::string_view)> listen);
  mail::BlobKey key_;
  std::unique_ptr<mail::BlobWriter> aside_;  // holds a copy of what isn't local
};
// `listen` hears all octets, `scan` looks at them; without either, a local blob isn't read. mail::Errc: not_found,
// too_large (over octets_max), no_room, server_unavailable, ...
io::Task<Result<ReadyBlob>> make_ready(const CallContext& context, mail::BlobKey key,
                                       std::uint64_t octets_max, bool scan,
                                       std::function<void(std::string_view)> listen = {});

// The `ids` of a call: Ids, or "#" and creation ids, which must be given; requestTooLarge over `count_max`.
std::expected<std::vector<std::string_view>, MethodError> get_blob_ids(const CallContext& context,
                                                                       const rapidjson::Value& arguments,
                                                                       std::string_view name,
                                                                       std::size_t count_max);

// The octets from there on, `octets` of them or as many as there are.
io::Task<Result<std::string>> read_octets(mail::BlobReader& reader, std::uint64_t offset,
                                          std::uint64_t octets);

}  // namespace postern::jmap
