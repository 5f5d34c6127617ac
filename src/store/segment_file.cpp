// See segment_file.hpp.
#include "segment_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <boost/interprocess/detail/os_file_functions.hpp>
#include <boost/interprocess/exceptions.hpp>

#include "segment_format.hpp"

namespace postern::store {
namespace {

namespace ipc = boost::interprocess;

// What mapped_region's constructor asks of the thing it maps. Boost's own file_mapping opens by name, without
// O_CLOEXEC and O_NOFOLLOW, and might get another file than the one whose owner and size were checked.
class MappableDescriptor {
 public:
  explicit MappableDescriptor(int fd) : fd_(fd) {}
  ipc::mapping_handle_t get_mapping_handle() const {
    return ipc::ipcdetail::mapping_handle_from_file_handle(fd_);
  }

 private:
  int fd_;
};

// Nobody but us, root and those who may not rename our files may write to the directory.
Result<> check_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  struct stat info{};
  if (::stat(directory.c_str(), &info) != 0) return io_failure(directory, errno);
  if ((info.st_mode & S_IWOTH) != 0 && (info.st_mode & S_ISVTX) == 0)
    return fail(Errc::io, directory + ": everybody may write to this directory");
  return {};
}

bool same_file(int fd, const std::string& path) {
  struct stat ours{}, named{};
  return ::fstat(fd, &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

Result<> take_lock(int fd, const std::string& lock_path) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return fail(Errc::in_use, lock_path);
    return io_failure(lock_path, errno);
  }
  return {};
}

}  // namespace

std::unexpected<Error> io_failure(const std::string& what, int error_number) {
  return fail(Errc::io, what + ": " + std::generic_category().message(error_number));
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<ipc::mapped_region> map_file(const FileDescriptor& file, bool writable, std::uint64_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max()) return fail(Errc::too_large, "segment");
  try {
    return ipc::mapped_region(MappableDescriptor(file.get()), writable ? ipc::read_write : ipc::read_only, 0,
                              static_cast<std::size_t>(bytes));
  } catch (const ipc::interprocess_exception& e) {
    return fail(Errc::io, std::string("the segment can't be mapped: ") + e.what());
  }
}

Result<SegmentFile> SegmentFile::create(const std::string& path, std::uint64_t bytes, std::uint32_t mode) {
  if ((mode & (S_IWGRP | S_IWOTH)) != 0)
    return fail(Errc::io, path + ": the segment must not be writable for others");
  if (auto checked = check_directory(path); !checked) return fail(checked.error());
  SegmentFile made;
  made.path_ = path;
  made.bytes_ = bytes;
  const std::string temporary = path + ".new";
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return io_failure(temporary, errno);
  made.file_ = FileDescriptor(
      ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!made.file_.valid()) return io_failure(temporary, errno);
  made.temporary_path_ = temporary;
  if (::fchmod(made.file_.get(), mode & 0777) != 0) return io_failure(temporary, errno);
  if (::ftruncate(made.file_.get(), static_cast<off_t>(bytes)) != 0)
    return io_failure(temporary + ": " + std::to_string(bytes) + " bytes", errno);
  auto region = map_file(made.file_, true, bytes);
  if (!region) return fail(region.error());
  made.region_ = std::move(*region);
  return made;
}

SegmentFile::~SegmentFile() {
  if (file_.valid() && !temporary_path_.empty()) ::unlink(temporary_path_.c_str());
}

Result<> SegmentFile::reserve(std::uint64_t offset, std::uint64_t bytes) {
  int error = EINTR;
  while (error == EINTR)
    error = ::posix_fallocate(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes));
  if (error == 0) return {};
  return io_failure(path_ + ": no room for " + std::to_string(bytes) + " bytes more of the session segment",
                    error);
}

Result<> SegmentFile::publish() {
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) return io_failure(path_, errno);
  temporary_path_.clear();
  return {};
}

std::uint64_t SegmentFile::bytes_in_use() const {
  struct stat info{};
  if (::fstat(file_.get(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_blocks) * 512;  // POSIX counts st_blocks so on Linux
}

std::uint64_t SegmentFile::bytes_missing() const {
  struct statvfs space{};
  if (::fstatvfs(file_.get(), &space) != 0 || space.f_blocks == 0) return 0;  // no blocks: no limit
  const std::uint64_t available = std::uint64_t{space.f_bavail} * space.f_frsize;
  const std::uint64_t wanted = bytes_ - std::min(bytes_, bytes_in_use());
  return wanted - std::min(wanted, available);
}

Result<FileDescriptor> lock_for_writing(const std::string& path, int inherited_fd) {
  const std::string lock_path = path + ".lock";
  if (inherited_fd >= 0) {
    if (::fcntl(inherited_fd, F_SETFD, FD_CLOEXEC) != 0)
      return io_failure("inherited lock descriptor", errno);
    FileDescriptor inherited(inherited_fd);
    if (!same_file(inherited.get(), lock_path))
      return fail(Errc::io, "the inherited lock descriptor is not " + lock_path);
    if (auto locked = take_lock(inherited.get(), lock_path); !locked) return fail(locked.error());
    return inherited;
  }
  constexpr int attempts_max = 8;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    FileDescriptor file(
        ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, S_IRUSR | S_IWUSR));
    if (!file.valid()) return io_failure(lock_path, errno);
    if (auto locked = take_lock(file.get(), lock_path); !locked) return fail(locked.error());
    if (same_file(file.get(), lock_path)) return file;  // or somebody removed it in between: again
  }
  return fail(Errc::io, lock_path + ": removed again and again");
}

}  // namespace postern::store
