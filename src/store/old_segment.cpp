// See old_segment.hpp.
#include "old_segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "session_area.hpp"

namespace postern::store {
namespace {

// Why a file under our name is not to be believed, or "".
std::string distrust(const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return "not a regular file";
  if (info.st_uid != ::geteuid())
    return "owned by user " + std::to_string(info.st_uid) + ", not " + std::to_string(::geteuid());
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "writable for others";
  return "";
}

}  // namespace

std::optional<OldSegment> OldSegment::open(const std::string& path, RecoveryReport& report) {
  // O_NONBLOCK: a FIFO under this name must not hold us up.
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) {
    if (errno == ELOOP)
      report.discarded_reason = "a symbolic link";
    else if (errno != ENOENT)
      report.discarded_reason = "can't be opened: " + std::generic_category().message(errno);
    return std::nullopt;
  }
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) {
    report.discarded_reason = "can't be examined: " + std::generic_category().message(errno);
    return std::nullopt;
  }
  report.discarded_reason = distrust(info);
  if (!report.discarded_reason.empty()) return std::nullopt;

  OldSegment old(std::move(file), Layout{});
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{header_bytes}}) {
    HeaderFixed header;
    if (old.read_at(offset, &header, sizeof header) != sizeof header) {
      if (report.discarded_reason.empty()) report.discarded_reason = "too short for a header";
      break;
    }
    const auto layout = check_header(header);
    if (!layout) {
      if (offset == 0) report.discarded_reason = layout.error().context;
      continue;
    }
    report.discarded_reason = offset == 0 ? "" : report.discarded_reason + "; its copy was used";
    old.layout_ = *layout;
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (size < layout->file_bytes)
      report.discarded_reason += (report.discarded_reason.empty() ? "" : "; ") +
                                 std::string("truncated to ") + std::to_string(size) + " of " +
                                 std::to_string(layout->file_bytes) + " bytes";
    return old;
  }
  return std::nullopt;
}

std::size_t OldSegment::read_at(std::uint64_t offset, void* to, std::size_t bytes) const {
  std::size_t got = 0;
  while (got < bytes) {
    const ssize_t n =
        ::pread(file_.get(), static_cast<char*>(to) + got, bytes - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  return got;
}

// Where the next octet that is no hole lies; `offset` itself on file systems that don't know.
std::uint64_t OldSegment::next_data(std::uint64_t offset) const {
  const off_t data = ::lseek(file_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data >= 0) return static_cast<std::uint64_t>(data);
  return errno == ENXIO ? std::numeric_limits<std::uint64_t>::max() : offset;
}

std::optional<SessionRecord> OldSegment::session(std::uint32_t number) const {
  const auto slot = read<SessionSlot>(layout_.sessions, number);
  if (!slot || condition_of(*slot, number) != SlotCondition::intact) return std::nullopt;
  SessionRecord record;
  fill_record(*slot, record);
  const auto load = [this](std::uint32_t block, Block& copy) {
    return read_at(layout_.blocks.offset + std::uint64_t{block} * sizeof copy, &copy, sizeof copy) ==
           sizeof copy;
  };
  if (!collect_chain(*slot, layout_.blocks.entries, load, record)) return std::nullopt;
  return record;
}

void OldSegment::retire() const {
  const std::uint32_t flag = flag_retired;
  const auto written =
      ::pwrite(file_.get(), &flag, sizeof flag, offsetof(Header, live) + offsetof(HeaderLive, retired));
  // Readers also see that the file has no name any more; nothing is lost where this fails.
  static_cast<void>(written);
}

}  // namespace postern::store
