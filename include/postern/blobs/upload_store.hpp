// The files of uploads: written piece by piece, found again by account and token, read from any place.
//
// One object for all shards: its index has a mutex, which is never held while a file is read or written. Writers and
// files belong to whoever asked for them, and to one thread at a time; they outlive the store's own entry (a file that
// is removed while it is being read is read to its end) and the store itself. Each call does one read or write of what
// the caller gives, so that a loop stands still for one piece at most. What isn't kept leaves nothing behind.
// Bounds: UploadLimits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/error.hpp"
#include "postern/blobs/upload_index.hpp"

namespace postern::blobs {

struct UploadOptions {
  // Made (0700) where it is missing; nobody else may write there. Empty: there are no uploads.
  std::string directory;
  UploadLimits limits;
  // Takes over what is there. Not after a reboot, when nobody knows what of it has reached the disk.
  bool keep_existing = false;
};

struct UploadCounters {
  std::uint64_t kept = 0, refused = 0, evicted = 0, expired = 0;  // refused: for want of room
  std::uint64_t octets = 0;
  std::size_t uploads = 0;
};

// What has been written whole; read by whoever has it.
class UploadFile {
 public:
  UploadFile(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  ~UploadFile();
  UploadFile(const UploadFile&) = delete;
  UploadFile& operator=(const UploadFile&) = delete;

  std::uint64_t size() const { return size_; }
  // At most `octets` from there; fewer only at the end.
  Result<std::string> read(std::uint64_t offset, std::size_t octets) const;

 private:
  int fd_;
  std::uint64_t size_;
};
using UploadFilePtr = std::shared_ptr<const UploadFile>;

class UploadStore;

// One upload that is being written. It leaves nothing unless it is kept.
class UploadWriter {
 public:
  ~UploadWriter();
  UploadWriter(const UploadWriter&) = delete;
  UploadWriter& operator=(const UploadWriter&) = delete;

  std::uint64_t size() const { return size_; }
  // account_full, own_room, full, disk_full, io.
  Result<> write(std::string_view piece);
  // From now on the account finds it by the token. Nothing can be written any more.
  Result<UploadToken> keep();
  // What has been written so far. It counts as the account's as long as the writer lives.
  Result<UploadFilePtr> file() const;

 private:
  friend class UploadStore;
  struct Inside;
  UploadWriter(std::shared_ptr<Inside> store, std::uint64_t account, UploadIndex::Ticket ticket, int fd,
               std::string path);

  std::shared_ptr<Inside> store_;
  std::uint64_t account_;
  UploadIndex::Ticket ticket_;
  int fd_;
  std::string path_;  // empty: it has no name any more
  std::uint64_t size_ = 0;
};

class UploadStore {
 public:
  // `clock` and `random` outlive the store and its writers; on any thread. unavailable: the directory can't be made or
  // used, belongs to somebody else, or another broker is using it. The store is there nevertheless, and refuses all:
  // `problem` says why.
  static std::unique_ptr<UploadStore> open(const UploadOptions& options, const Clock& clock, Random& random,
                                           Result<>& problem);
  ~UploadStore();

  // `at_once_max` as for UploadIndex; 0 is for what is never to be kept, and has no name from the start.
  // `octets_expected`: how large it will be, as far as that is known. too_many, account_full, own_room, full,
  // unavailable.
  Result<std::unique_ptr<UploadWriter>> begin(std::uint64_t account, std::uint32_t at_once_max,
                                              std::uint64_t octets_expected = 0,
                                              std::uint64_t bytes_max = UploadIndex::no_own_room);
  Result<UploadFilePtr> find(std::uint64_t account, const UploadToken& token);
  // Removes what is over its time. To be called now and then.
  void expire();
  void set_limits(UploadLimits limits);
  UploadCounters counters() const;

 private:
  explicit UploadStore(std::shared_ptr<UploadWriter::Inside> inside);
  std::shared_ptr<UploadWriter::Inside> inside_;
};

}  // namespace postern::blobs
