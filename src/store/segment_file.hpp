// The files of a segment: descriptor, mapping, space, the writer's lock. Linux, by POSIX calls; the mapping is
// Boost.Interprocess's. Objects belong to one SegmentWriter or SegmentReader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <boost/interprocess/mapped_region.hpp>

#include "postern/store/session_table.hpp"

namespace postern::store {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// What errno says, as an Error of io.
std::unexpected<Error> io_failure(const std::string& what, int error_number);

// Maps [0, bytes) of a file. A page that the file hasn't got is a SIGBUS: see SegmentFile::reserve, and the
// size checks of the reader.
Result<boost::interprocess::mapped_region> map_file(const FileDescriptor& file, bool writable,
                                                    std::uint64_t bytes);

// A segment being written: under a temporary name until publish().
//
// The file is sparse, and its space is reserved in steps before it is touched, because to touch a page that a
// full file system can't provide is a SIGBUS.
class SegmentFile {
 public:
  // `path` and ".new". The writer's lock is held.
  static Result<SegmentFile> create(const std::string& path, std::uint64_t bytes, std::uint32_t mode);
  SegmentFile(SegmentFile&&) = default;
  SegmentFile& operator=(SegmentFile&&) = delete;
  ~SegmentFile();  // removes the temporary file if it was not published

  // io: no space left (ENOSPC, EFBIG, EDQUOT), with a text that says so.
  Result<> reserve(std::uint64_t offset, std::uint64_t bytes);
  Result<> publish();
  char* data() { return static_cast<char*>(region_.get_address()); }
  std::uint64_t bytes_in_use() const;   // on the file system
  std::uint64_t bytes_missing() const;  // what the file system couldn't provide if all were needed now

 private:
  SegmentFile() = default;
  FileDescriptor file_;
  boost::interprocess::mapped_region region_;
  std::string path_, temporary_path_;
  std::uint64_t bytes_ = 0;
};

// The file `path`.lock, locked with flock(2) until destruction or, if a program executed by this one inherits
// the descriptor, until that one ends. The lock file is never removed: who removed it could lock another.
// in_use: somebody else has it.
Result<FileDescriptor> lock_for_writing(const std::string& path, int inherited_fd);

}  // namespace postern::store
