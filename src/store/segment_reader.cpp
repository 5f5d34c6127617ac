// A worker's side of the segment: a read-only mapping that follows the broker's replacements.
//
// Any thread. Nobody waits: threads share the mapping under a lock that they only try, and whoever finds it
// taken says no_segment, which makes the worker ask the broker.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mutex>
#include <shared_mutex>

#include "segment_file.hpp"
#include "segment_format.hpp"
#include "seqlock.hpp"
#include "session_area.hpp"
#include "usage_table.hpp"

namespace postern::store {
namespace {

// Without a usable segment, the file is looked for at most this often.
constexpr Duration reopen_interval = std::chrono::milliseconds(100);
constexpr int reopen_attempts_max = 4;
// How often a finished mapping is tried to be put in place against threads that are using the old one.
constexpr int swap_attempts_max = 64;

class Mapping {
 public:
  static std::unique_ptr<Mapping> open(const std::string& path) {
    FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    struct stat info{};
    if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
    for (const off_t offset : {off_t{0}, static_cast<off_t>(header_bytes)}) {
      HeaderFixed header;
      if (::pread(file.get(), &header, sizeof header, offset) != ssize_t{sizeof header}) return nullptr;
      const auto layout = check_header(header);
      if (!layout) continue;
      if (static_cast<std::uint64_t>(info.st_size) < layout->file_bytes) return nullptr;
      auto region = map_file(file, false, layout->file_bytes);
      if (!region) return nullptr;
      return std::unique_ptr<Mapping>(new Mapping(std::move(file), std::move(*region), *layout));
    }
    return nullptr;
  }

  // Whether it is still the segment, and has all its pages: to touch one beyond a file's end is a SIGBUS, and
  // asking costs little beside the smallest request.
  bool usable() const {
    struct stat info{};
    return ::fstat(file_.get(), &info) == 0 && info.st_nlink > 0 &&
           static_cast<std::uint64_t>(info.st_size) >= file_bytes_ &&
           atomic_load(live_.retired, std::memory_order_acquire) != flag_retired;
  }
  const SessionArea& sessions() const { return sessions_; }
  const UsageSlot* usage_at(std::uint32_t number) const {
    return number < usage_.entries ? reinterpret_cast<const UsageSlot*>(
                                         static_cast<const char*>(region_.get_address()) + usage_.offset) +
                                         number
                                   : nullptr;
  }
  std::optional<BodyLimits> body_limits() const {
    const auto told = [](const std::uint64_t& value, const std::uint64_t& check) {
      const auto got = atomic_load(value, std::memory_order_acquire);
      return atomic_load(check, std::memory_order_acquire) == ~got ? got : 0;
    };
    const BodyLimits limits{told(live_.request_bytes_max, live_.request_bytes_check),
                            told(live_.upload_bytes_max, live_.upload_bytes_check)};
    if (limits.request_bytes_max == 0 || limits.upload_bytes_max == 0) return std::nullopt;
    return limits;
  }
  bool draining() const { return atomic_load(live_.draining, std::memory_order_acquire) == flag_draining; }

 private:
  Mapping(FileDescriptor file, boost::interprocess::mapped_region region, const Layout& layout)
      : file_(std::move(file)),
        region_(std::move(region)),
        file_bytes_(layout.file_bytes),
        live_(static_cast<const Header*>(region_.get_address())->live),
        sessions_(static_cast<const char*>(region_.get_address()), layout),
        usage_(layout.usage) {}

  FileDescriptor file_;
  boost::interprocess::mapped_region region_;
  std::uint64_t file_bytes_;
  const HeaderLive& live_;
  SessionArea sessions_;
  TableEntry usage_;
};

class Reader final : public SegmentReader {
 public:
  Reader(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock) { reopen(); }

  Liveness liveness(const TokenHash& hash) override {
    Liveness result = Liveness::no_segment;
    with_mapping([&](const Mapping& mapping) { result = look_up(mapping, hash); });
    return result;
  }
  bool draining() override {
    bool draining = false;
    with_mapping([&](const Mapping& mapping) { draining = mapping.draining(); });
    return draining;
  }

  std::optional<UsageRecord> usage(const TokenHash& hash) override {
    std::optional<UsageRecord> record;
    with_mapping([&](const Mapping& mapping) { record = look_up_usage(mapping, hash); });
    return record;
  }
  std::optional<BodyLimits> body_limits() override {
    std::optional<BodyLimits> limits;
    with_mapping([&](const Mapping& mapping) { limits = mapping.body_limits(); });
    return limits;
  }

 private:
  // The session says where its account's use was counted when it was written; it may have gone elsewhere since.
  static std::optional<UsageRecord> look_up_usage(const Mapping& mapping, const TokenHash& hash) {
    SessionSlot session;
    std::uint32_t number = 0;
    if (mapping.sessions().find(hash, session, number) != Lookup::found || session.usage_slot == 0)
      return std::nullopt;
    const auto* slot = mapping.usage_at(session.usage_slot - 1);
    UsageSlot copy;
    for (int attempt = 0; slot != nullptr && attempt < read_attempts_max; ++attempt) {
      if (!read_slot(*slot, copy)) continue;
      if (copy.account != session.account ||
          condition_of(copy, session.usage_slot - 1) != SlotCondition::intact)
        return std::nullopt;
      return usage_of(copy);
    }
    return std::nullopt;
  }

  template <typename Use>
  void with_mapping(Use use) {
    for (int attempt = 0; attempt < 2; ++attempt) {
      {
        const std::shared_lock lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock()) return;
        if (mapping_ && mapping_->usable()) return use(*mapping_);
      }
      if (attempt == 0 && !reopen()) return;
    }
  }

  Liveness look_up(const Mapping& mapping, const TokenHash& hash) const {
    SessionSlot slot;
    std::uint32_t number = 0;
    switch (mapping.sessions().find(hash, slot, number)) {
      case Lookup::found:
        return session_is_live(slot, unix_seconds(clock_.wall())) ? Liveness::live : Liveness::expired;
      // A broker that published a new segment during the search has created sessions only there.
      case Lookup::absent: return mapping.usable() ? Liveness::unknown_token : Liveness::no_segment;
      case Lookup::busy: return Liveness::no_segment;
    }
    return Liveness::no_segment;
  }

  bool reopen() {
    const std::unique_lock opening(opening_, std::try_to_lock);
    if (!opening.owns_lock()) return false;
    const MonotonicTime now = clock_.now();
    if (last_failure_ && now - *last_failure_ < reopen_interval) return false;
    auto mapping = Mapping::open(path_);
    // Replaced once more while it was being opened: there is a newer one already.
    for (int again = 0; again < reopen_attempts_max && mapping && !mapping->usable(); ++again)
      mapping = Mapping::open(path_);
    if (!mapping || !mapping->usable()) {
      last_failure_ = now;
      return false;
    }
    for (int attempt = 0; attempt < swap_attempts_max; ++attempt) {
      std::unique_lock lock(mutex_, std::try_to_lock);
      if (!lock.owns_lock()) continue;
      mapping_.swap(mapping);
      last_failure_.reset();
      return true;
    }
    return false;  // others read all the time; the next request tries again
  }

  const std::string path_;
  const Clock& clock_;
  std::shared_mutex mutex_;
  std::unique_ptr<Mapping> mapping_;  // under mutex_
  std::mutex opening_;
  std::optional<MonotonicTime> last_failure_;  // under opening_
};

}  // namespace

std::unique_ptr<SegmentReader> SegmentReader::open(std::string path, const Clock& clock) {
  return std::make_unique<Reader>(std::move(path), clock);
}

}  // namespace postern::store
