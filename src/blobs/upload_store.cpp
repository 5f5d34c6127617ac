// Files in one directory: "new-TOKEN" while it is being written, "ACCOUNT-TOKEN" once it is kept, and "lock", which
// says whose the directory is. A file's time of writing is when its life began.
#include "postern/blobs/upload_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include "postern/base/encoding.hpp"

namespace postern::blobs {
namespace {

constexpr std::string_view new_prefix = "new-";
constexpr std::size_t account_digits = 16, token_digits = 32;

std::string hex_of(const UploadToken& token) {
  return hex_encode({reinterpret_cast<const char*>(token.data()), token.size()});
}

std::string hex_of(std::uint64_t account) {
  char digits[account_digits];
  const auto end = std::to_chars(digits, digits + account_digits, account, 16).ptr;
  const auto count = static_cast<std::size_t>(end - digits);
  return std::string(account_digits - count, '0') + std::string(digits, count);
}

std::string file_name(const UploadName& name) { return hex_of(name.account) + "-" + hex_of(name.token); }

template <typename T>
bool read_hex(std::string_view digits, T& out) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
  return error == std::errc() && end == digits.data() + digits.size();
}

std::optional<UploadName> parse_file_name(std::string_view text) {
  UploadName name;
  if (text.size() != account_digits + 1 + token_digits || text[account_digits] != '-') return std::nullopt;
  if (!read_hex(text.substr(0, account_digits), name.account)) return std::nullopt;
  for (std::size_t i = 0; i < name.token.size(); ++i)
    if (!read_hex(text.substr(account_digits + 1 + 2 * i, 2), name.token[i])) return std::nullopt;
  return file_name(name) == text ? std::optional(name) : std::nullopt;
}

Error system_error(const std::string& what) {
  const int number = errno;
  const bool no_room = number == ENOSPC || number == EDQUOT || number == EFBIG;
  return Error(make_error_code(no_room ? Errc::disk_full : Errc::io), what + ": " + std::strerror(number));
}

}  // namespace

struct UploadWriter::Inside {
  Inside(const UploadOptions& options, const Clock& c, Random& r)
      : directory(options.directory), clock(c), random(r), index(options.limits) {}
  ~Inside() {
    if (lock_fd >= 0) ::close(lock_fd);
  }

  const std::string directory;
  const Clock& clock;
  Random& random;
  int lock_fd = -1;
  bool usable = false;
  std::mutex mutex;
  UploadIndex index;  // and the counters: under the mutex
  UploadCounters counters;

  std::int64_t now() const { return unix_seconds(clock.wall()); }
  std::string path_of(const UploadName& name) const { return directory + "/" + file_name(name); }
  void unlink_all(const std::vector<UploadName>& names) const {
    for (const auto& name : names) ::unlink(path_of(name).c_str());
  }

  Result<> prepare(bool keep_existing);
  Result<> read_directory(bool keep_existing);
};

Result<> UploadWriter::Inside::prepare(bool keep_existing) {
  if (directory.empty()) return fail(Errc::unavailable, "no directory is configured");
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(Errc::unavailable, directory + ": " + std::strerror(errno));
  struct stat info{};
  if (::lstat(directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return fail(Errc::unavailable, directory + " is no directory");
  if (info.st_uid != ::geteuid() || (info.st_mode & 0022) != 0)
    return fail(Errc::unavailable, directory + " belongs to somebody else, or others may write there");
  lock_fd = ::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_fd < 0) return fail(Errc::unavailable, directory + "/lock: " + std::strerror(errno));
  if (::flock(lock_fd, LOCK_EX | LOCK_NB) != 0)
    return fail(Errc::unavailable, directory + " is used by another broker");
  return read_directory(keep_existing);
}

Result<> UploadWriter::Inside::read_directory(bool keep_existing) {
  auto* listing = ::opendir(directory.c_str());
  if (listing == nullptr) return fail(Errc::unavailable, directory + ": " + std::strerror(errno));
  std::vector<std::string> unwanted;
  while (const auto* entry = ::readdir(listing)) {
    const std::string_view text = entry->d_name;
    const auto name = parse_file_name(text);
    struct stat info{};
    if (name && keep_existing &&
        ::fstatat(::dirfd(listing), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
      index.add(*name, static_cast<std::uint64_t>(info.st_size), info.st_mtime);
    else if (name || text.starts_with(new_prefix))
      unwanted.emplace_back(text);
  }
  ::closedir(listing);
  for (const auto& name : unwanted) ::unlink((directory + "/" + name).c_str());
  unlink_all(index.expire(now()));
  return {};
}

// --- UploadFile ---

UploadFile::~UploadFile() { ::close(fd_); }

Result<std::string> UploadFile::read(std::uint64_t offset, std::size_t octets) const {
  if (offset >= size_) return std::string();
  std::string piece(static_cast<std::size_t>(std::min<std::uint64_t>(octets, size_ - offset)), '\0');
  std::size_t done = 0;
  while (done < piece.size()) {
    const auto got =
        ::pread(fd_, piece.data() + done, piece.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(system_error("an upload's file"));
    if (got == 0) return fail(Errc::io, "an upload's file is shorter than it was");
    done += static_cast<std::size_t>(got);
  }
  return piece;
}

// --- UploadWriter ---

UploadWriter::UploadWriter(std::shared_ptr<Inside> store, std::uint64_t account, UploadIndex::Ticket ticket,
                           int fd, std::string path)
    : store_(std::move(store)), account_(account), ticket_(ticket), fd_(fd), path_(std::move(path)) {}

UploadWriter::~UploadWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!path_.empty()) ::unlink(path_.c_str());
  const std::lock_guard guard(store_->mutex);
  store_->index.drop(ticket_);
}

Result<> UploadWriter::write(std::string_view piece) {
  std::vector<UploadName> gone;
  Result<> room;
  {
    const std::lock_guard guard(store_->mutex);
    room = store_->index.grow(ticket_, piece.size(), gone);
    store_->counters.evicted += gone.size();
    if (!room) ++store_->counters.refused;
  }
  store_->unlink_all(gone);
  if (!room) return room;
  while (!piece.empty()) {
    const auto written = ::write(fd_, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(system_error(store_->directory));
    piece.remove_prefix(static_cast<std::size_t>(written));
    size_ += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<UploadToken> UploadWriter::keep() {
  if (path_.empty()) return fail(Errc::io, "this upload can't be kept");
  UploadName name{account_, {}};
  store_->random.fill(name.token);
  if (::rename(path_.c_str(), store_->path_of(name).c_str()) != 0)
    return fail(system_error(store_->directory));
  path_.clear();
  std::vector<UploadName> gone;
  {
    const std::lock_guard guard(store_->mutex);
    store_->index.keep(ticket_, name.token, store_->now(), gone);
    ++store_->counters.kept;
    store_->counters.evicted += gone.size();
  }
  store_->unlink_all(gone);
  return name.token;
}

Result<UploadFilePtr> UploadWriter::file() const {
  const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail(system_error("an upload's file"));
  return std::make_shared<const UploadFile>(copy, size_);
}

// --- UploadStore ---

UploadStore::UploadStore(std::shared_ptr<UploadWriter::Inside> inside) : inside_(std::move(inside)) {}
UploadStore::~UploadStore() = default;

std::unique_ptr<UploadStore> UploadStore::open(const UploadOptions& options, const Clock& clock,
                                               Random& random, Result<>& problem) {
  auto inside = std::make_shared<UploadWriter::Inside>(options, clock, random);
  problem = inside->prepare(options.keep_existing);
  inside->usable = problem.has_value();
  return std::unique_ptr<UploadStore>(new UploadStore(std::move(inside)));
}

Result<std::unique_ptr<UploadWriter>> UploadStore::begin(std::uint64_t account, std::uint32_t at_once_max,
                                                         std::uint64_t octets_expected,
                                                         std::uint64_t bytes_max) {
  if (!inside_->usable) return fail(Errc::unavailable);
  UploadToken token;
  inside_->random.fill(token);
  Result<UploadIndex::Ticket> ticket;
  {
    const std::lock_guard guard(inside_->mutex);
    if (auto room = inside_->index.check_room(account, octets_expected, bytes_max); !room) {
      ++inside_->counters.refused;
      return fail(room.error());
    }
    ticket = inside_->index.begin(account, at_once_max, bytes_max);
  }
  if (!ticket) return fail(ticket.error());
  auto path = inside_->directory + "/" + std::string(new_prefix) + hex_of(token);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    auto error = system_error(inside_->directory);
    const std::lock_guard guard(inside_->mutex);
    inside_->index.drop(*ticket);
    return fail(std::move(error));
  }
  if (at_once_max == 0) {
    ::unlink(path.c_str());
    path.clear();
  }
  return std::unique_ptr<UploadWriter>(new UploadWriter(inside_, account, *ticket, fd, std::move(path)));
}

Result<UploadFilePtr> UploadStore::find(std::uint64_t account, const UploadToken& token) {
  const UploadName name{account, token};
  std::optional<std::uint64_t> size;
  {
    const std::lock_guard guard(inside_->mutex);
    size = inside_->index.find(name, inside_->now());
  }
  if (!size) return fail(Errc::not_found);
  const int fd = ::open(inside_->path_of(name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0) return std::make_shared<const UploadFile>(fd, *size);
  if (errno != ENOENT) return fail(system_error(inside_->directory));
  // Somebody has tidied up: it is gone.
  const std::lock_guard guard(inside_->mutex);
  inside_->index.remove(name);
  return fail(Errc::not_found);
}

void UploadStore::expire() {
  std::vector<UploadName> over;
  {
    const std::lock_guard guard(inside_->mutex);
    over = inside_->index.expire(inside_->now());
    inside_->counters.expired += over.size();
  }
  inside_->unlink_all(over);
}

void UploadStore::set_limits(UploadLimits limits) {
  const std::lock_guard guard(inside_->mutex);
  inside_->index.set_limits(limits);
}

UploadCounters UploadStore::counters() const {
  const std::lock_guard guard(inside_->mutex);
  auto counters = inside_->counters;
  counters.octets = inside_->index.octets();
  counters.uploads = inside_->index.uploads();
  return counters;
}

}  // namespace postern::blobs
