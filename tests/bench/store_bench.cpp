// The shared segment at its default size with 50,000 sessions: what a request costs in it.
//
//   find_session  the broker, for each request: the record with its sealed credential
//   liveness      a worker, before it reads a body (one fstat of the mapped file included)
//   touch         the broker, for each request; written once a minute
#include <unistd.h>
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "postern/store/session_table.hpp"

namespace postern::store {
namespace {

constexpr std::size_t session_count = 50'000;

class Segment {
 public:
  Segment() {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/postern-bench-XXXXXX" : "/tmp/postern-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = name;
    SegmentOptions options;
    options.path = directory_ + "/segment";
    RecoveryReport report;
    auto opened = SegmentWriter::open(options, clock, report);
    if (!opened) throw std::runtime_error(opened.error().to_string());
    writer = std::move(*opened);
    for (std::size_t i = 0; i < session_count; ++i) {
      hashes.push_back(sha256("token " + std::to_string(i)));
      absent.push_back(sha256("absent " + std::to_string(i)));
      if (auto put = writer->put_session(record(i)); !put) throw std::runtime_error(put.error().to_string());
    }
    reader = SegmentReader::open(options.path, clock);
  }
  ~Segment() { std::filesystem::remove_all(directory_); }

  SessionRecord record(std::size_t i) const {
    SessionRecord r;
    r.token_hash = hashes[i];
    r.account = i;
    r.login = "user" + std::to_string(i) + "@example.org";
    r.sealed = std::string(45, 's');
    r.created = r.last_used = unix_seconds(clock.wall());
    r.expires = r.created + 1'000'000'000;
    r.idle_seconds = 0;
    return r;
  }

  ManualClock clock;
  std::vector<TokenHash> hashes, absent;
  std::unique_ptr<SegmentWriter> writer;
  std::unique_ptr<SegmentReader> reader;

 private:
  std::string directory_;
};

// Strides through the sessions so that the processor's caches don't make it look better than it is.
std::size_t next(std::size_t& i) { return i = (i + 7919) % session_count; }

void find_session(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(segment->writer->find_session(segment->hashes[next(i)]));
}
void find_session_absent(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(segment->writer->find_session(segment->absent[next(i)]));
}
void liveness(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(segment->reader->liveness(segment->hashes[next(i)]));
}
void liveness_absent(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(segment->reader->liveness(segment->absent[next(i)]));
}
void touch(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) segment->writer->touch_session(segment->hashes[next(i)]);
}
void touch_written(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) {
    segment->clock.advance(std::chrono::minutes(1));
    segment->writer->touch_session(segment->hashes[next(i)]);
  }
}
void put_replacing(benchmark::State& state, Segment* segment) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(segment->writer->put_session(segment->record(next(i))));
}

}  // namespace
}  // namespace postern::store

int main(int argc, char** argv) {
  using namespace postern::store;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  Segment segment;
  benchmark::RegisterBenchmark("store/find_session", find_session, &segment);
  benchmark::RegisterBenchmark("store/find_session_absent", find_session_absent, &segment);
  benchmark::RegisterBenchmark("store/liveness", liveness, &segment)->ThreadRange(1, 2);
  benchmark::RegisterBenchmark("store/liveness_absent", liveness_absent, &segment);
  benchmark::RegisterBenchmark("store/touch", touch, &segment);
  benchmark::RegisterBenchmark("store/put_replacing", put_replacing, &segment);
  benchmark::RegisterBenchmark("store/touch_written", touch_written, &segment);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
