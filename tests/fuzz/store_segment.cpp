// A segment of arbitrary octets, or a good one with arbitrary changes: a worker maps it, a broker recovers it and
// goes on. Nothing crashes, nothing is read outside, and where checksums weren't made to fit, what comes out is
// exactly what was put.
//
// The first octet says how the rest is read: 0 a whole file; 1 changes to a good one (offset in two octets, length
// in one, octets); 2 the same with the checksums of header and slots made to fit.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "postern/store/session_table.hpp"
#include "require.hpp"
#include "store/crc32c.hpp"
#include "store/session_area.hpp"

using namespace postern;
using namespace postern::store;

namespace {

constexpr std::uint64_t sessions = 6;

TokenHash hash_of(std::uint64_t n) { return sha256("token " + std::to_string(n)); }

SessionRecord record(const Clock& clock, std::uint64_t n) {
  SessionRecord r;
  r.token_hash = hash_of(n);
  r.account = n;
  r.login = "user" + std::to_string(n);
  r.sealed = std::string(n * 60, static_cast<char>('a' + n));
  r.created = r.last_used = unix_seconds(clock.wall());
  r.expires = r.created + 3600;
  r.idle_seconds = 600;
  return r;
}

bool same(const SessionRecord& a, const SessionRecord& b) {
  return a.token_hash == b.token_hash && a.account == b.account && a.login == b.login &&
         a.sealed == b.sealed && a.created == b.created && a.last_used == b.last_used &&
         a.expires == b.expires && a.idle_seconds == b.idle_seconds && a.flags == b.flags;
}

// A directory of this process's own, with a good segment's octets.
class Fixture {
 public:
  Fixture() {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/postern-fuzz-XXXXXX" : "/tmp/postern-fuzz-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr);
    directory_ = name;
    options.path = directory_ + "/segment";
    options.sessions_max = 8;
    options.accounts_max = 4;
    options.redirects_max = 8;
    RecoveryReport report;
    auto writer = SegmentWriter::open(options, clock, report);
    require(writer.has_value());
    for (std::uint64_t i = 0; i < sessions; ++i)
      require((*writer)->put_session(record(clock, i)).has_value());
    for (std::uint64_t i = 0; i < 3; ++i) {
      require((*writer)->put_counters(i, first_counters(clock.wall())).has_value());
      require((*writer)->put_redirect({i, {1, 2, 3}, {4, 5, 6}}).has_value());
      require((*writer)->put_redirect({i, {1, 2, 3}, {4, 5, 7}, true}).has_value());
    }
    std::ifstream in(options.path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(in), {});
  }
  ~Fixture() { std::filesystem::remove_all(directory_); }
  void write(const std::string& bytes) const {
    std::filesystem::remove(options.path);
    std::ofstream(options.path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  ManualClock clock;
  SegmentOptions options;
  std::string good;

 private:
  std::string directory_;
};

template <typename Slot>
void fit_checksums(std::string& file, const TableEntry& table) {
  for (std::uint32_t i = 0; i < table.entries; ++i) {
    Slot slot;
    char* at = file.data() + table.offset + i * sizeof slot;
    if (at + sizeof slot > file.data() + file.size()) return;
    std::memcpy(&slot, at, sizeof slot);
    if (slot.state == 0) continue;
    slot.checksum = checksum_of(slot, i);
    if constexpr (std::is_same_v<Slot, SessionSlot>)
      slot.last_used = pack_last_used(last_used_seconds(slot), slot.checksum);
    std::memcpy(at, &slot, sizeof slot);
  }
}

std::string changed(const Fixture& fixture, std::string_view changes, bool fit) {
  std::string file = fixture.good;
  while (changes.size() > 3) {
    const std::size_t offset = static_cast<unsigned char>(changes[0]) | static_cast<unsigned char>(changes[1])
                                                                            << 8;
    const std::size_t length =
        std::min<std::size_t>(static_cast<unsigned char>(changes[2]), changes.size() - 3);
    const std::size_t at = offset % file.size();
    file.replace(at, std::min(length, file.size() - at),
                 changes.substr(3, std::min(length, file.size() - at)));
    changes.remove_prefix(3 + length);
  }
  if (!fit) return file;
  const Layout layout = *layout_for(fixture.options);
  fit_checksums<SessionSlot>(file, layout.sessions);
  fit_checksums<CounterSlot>(file, layout.counters);
  fit_checksums<RedirectSlot>(file, layout.redirects);
  HeaderFixed header;
  std::memcpy(&header, file.data(), sizeof header);
  header.checksum = crc32c(&header, offsetof(HeaderFixed, checksum));
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

// Sessions with their credentials, straight from the octets, as a broker finds them in its mapping.
void read_in_place(const std::string& file) {
  HeaderFixed header;
  if (file.size() < sizeof(Header)) return;
  std::memcpy(&header, file.data(), sizeof header);
  const auto layout = check_header(header);
  if (!layout || layout->file_bytes > file.size()) return;
  std::vector<std::uint64_t> aligned((file.size() + 7) / 8);
  std::memcpy(aligned.data(), file.data(), file.size());
  const SessionArea area(reinterpret_cast<const char*>(aligned.data()), *layout);
  for (std::uint64_t i = 0; i < sessions + 2; ++i) {
    SessionSlot slot;
    std::uint32_t number = 0;
    SessionRecord found;
    if (area.find(hash_of(i), slot, number) != Lookup::found) continue;
    if (area.read_data(slot, number, found) == Lookup::found)
      require(found.login.size() <= login_bytes_max && found.sealed.size() <= sealed_bytes_max);
  }
}

void go_on(Fixture& fixture, bool exact) {
  RecoveryReport report;
  auto opened = SegmentWriter::open(fixture.options, fixture.clock, report);
  require(opened.has_value());
  SegmentWriter& writer = **opened;
  for (std::uint64_t i = 0; i < sessions; ++i) {
    const auto found = writer.find_session(hash_of(i));
    if (found && exact) require(same(*found, record(fixture.clock, i)));
  }
  writer.for_each_session([](const SessionRecord&) {});
  for (std::uint64_t i = 0; i < 4; ++i) {
    writer.touch_session(hash_of(i));
    const StateCounters counters = writer.counters(i);
    if (exact) require(counters == StateCounters{} || counters == first_counters(fixture.clock.wall()));
    for (const Redirect& r : writer.redirects(i))
      r.copy ? writer.drop_copy(i, r.current) : writer.drop_redirect(i, r.origin);
    require(writer.redirects(i).empty());
  }
  const SegmentUse use = writer.use();
  require(use.sessions <= use.sessions_max && use.accounts <= use.accounts_max &&
          use.redirects <= use.redirects_max);
  writer.end_sessions_of(3);
  require(writer.put_session(record(fixture.clock, 3)).has_value());
  require(same(*writer.find_session(hash_of(3)), record(fixture.clock, 3)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static Fixture fixture;
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const int how = input.empty() ? 0 : input.front() % 3;
  const std::string_view rest = input.substr(std::min<std::size_t>(1, size));
  const std::string file = how == 0 ? std::string(rest) : changed(fixture, rest, how == 2);
  fixture.write(file);
  {
    const auto reader = SegmentReader::open(fixture.options.path, fixture.clock);
    for (std::uint64_t i = 0; i < sessions + 2; ++i) {
      const Liveness liveness = reader->liveness(hash_of(i));
      if (how == 1) require(liveness != Liveness::expired);
    }
    (void)reader->draining();
  }
  read_in_place(file);
  go_on(fixture, how == 1);
  return 0;
}
