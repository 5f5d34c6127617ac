// What counting costs (docs/limits.md): in the words of a real segment, with all ten limits set.
//
//   warm_page   what a page from memory has of it: the request's tab, and the look whether a limit has come near
//   reserve     one charge: reserved, held against the limits, settled
//   refuse      one that the plan doesn't allow, with the time at which it will
//   worker      a worker's look at somebody's counts, before it reads an upload
#include <unistd.h>
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "postern/limits/tab.hpp"
#include "postern/store/session_table.hpp"

namespace postern::limits {
namespace {

constexpr store::AccountKey account = 7;

class Counted {
 public:
  explicit Counted(std::uint64_t most) {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/postern-bench-XXXXXX" : "/tmp/postern-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = name;
    store::SegmentOptions options;
    options.path = directory_ + "/segment";
    store::RecoveryReport report;
    auto opened = store::SegmentWriter::open(options, clock, report);
    if (!opened) throw std::runtime_error(opened.error().to_string());
    segment_ = std::move(*opened);
    meter = std::make_shared<Meter>(segment_->open_usage(account).value(), clock, 1);
    store::UsageTerms terms;
    terms.plan = "bench";
    terms.limits.fill(most);
    meter->set_terms(terms, {}, 2'000'000, &totals_);
    if (!segment_->put_usage_terms(account, terms)) throw std::runtime_error("terms");
    // A day of use: every bucket is filled.
    for (int i = 0; i < 25 * 12; ++i) {
      if (auto some = meter->reserve({{10, 10, 10, 1, 1}})) some->settle_all();
      clock.advance(std::chrono::minutes(5));
    }
  }
  ~Counted() {
    meter.reset();
    segment_.reset();
    std::filesystem::remove_all(directory_);
  }
  store::UsageRecord record() const { return segment_->usage(account).value(); }
  std::int64_t now() const { return unix_seconds(clock.wall()); }

  ManualClock clock;
  std::shared_ptr<Meter> meter;

 private:
  std::string directory_;
  std::unique_ptr<store::SegmentWriter> segment_;
  PlanTotals totals_;
};

void warm_page(benchmark::State& state) {
  const Counted counted(limit_max);
  for (auto _ : state) {
    const auto tab = std::make_shared<Tab>(counted.meter, 1);
    benchmark::DoNotOptimize(tab.get());
    benchmark::DoNotOptimize(counted.meter->levels());
  }
}
BENCHMARK(warm_page);

void reserve(benchmark::State& state) {
  static std::unique_ptr<Counted> counted;
  if (state.thread_index() == 0) counted = std::make_unique<Counted>(limit_max);
  for (auto _ : state) {
    auto granted = counted->meter->reserve({amount_of(Count::received, 1'000)});
    if (granted) granted->settle(900);
  }
  if (state.thread_index() == 0) counted.reset();
}
BENCHMARK(reserve)->Threads(1)->Threads(2);

void refuse(benchmark::State& state) {
  const Counted counted(5);
  for (auto _ : state)
    benchmark::DoNotOptimize(counted.meter->reserve({amount_of(Count::received, 6)}).has_value());
}
BENCHMARK(refuse);

void worker(benchmark::State& state) {
  const Counted counted(limit_max);
  const auto record = counted.record();
  for (auto _ : state) benchmark::DoNotOptimize(check(record, amount_of(Count::files, 1'000), counted.now()));
}
BENCHMARK(worker);

}  // namespace
}  // namespace postern::limits

BENCHMARK_MAIN();
