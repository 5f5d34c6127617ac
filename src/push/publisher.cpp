// The coroutine that empties the queue, and nchan's requests and answers.
#include "postern/push/publisher.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "postern/io/event.hpp"

namespace postern::push {
namespace {

constexpr Duration request_timeout = std::chrono::seconds(5);
constexpr unsigned no_such_channel = 404;
// A poll that ends with it is asked anew, whatever client that is.
constexpr const char* nudge_json = R"({"@type":"StateChange","changed":{}})";

}  // namespace

struct Publisher::State {
  State(io::Loop& l, std::string n, io::HttpAddress a, PublishOptions options, OnReport report)
      : loop(l),
        name(std::move(n)),
        path(a.path),
        queue(options),
        client(l, a),
        address(std::move(a)),
        on_report(std::move(report)),
        changed(l),
        ask_ended(l) {}
  io::Loop& loop;
  const std::string name, path;
  PublishQueue queue;
  io::HttpClient client;
  const io::HttpAddress address;
  OnReport on_report;
  io::Event changed, ask_ended;
  PublisherCounters counters;
  std::size_t asks = 0;                   // under way
  std::multiset<MonotonicTime> begun_at;  // requests that haven't been answered yet, asks or not
  bool closed = false, failing = false, full = false;
  bool silent = false;  // the last request to end had no answer at all

  // One that is slow may answer yet, but nobody should wait behind others to see.
  bool in_trouble() const {
    return !begun_at.empty() && loop.clock().now() - *begun_at.begin() >= publisher_slow_after;
  }
  // Where the last one had no answer, one alone tries.
  std::size_t asks_at_once() const { return silent ? 1 : asks_max; }
  bool takes_asks() const { return asks == 0 || !in_trouble(); }
  // Whoever finds it out.
  void note(const Result<ChannelReport>& report);

  io::HttpRequest request_of(const PublishJob& job) const;
  static io::Task<Result<ChannelReport>> exchange(std::shared_ptr<State> self, io::HttpClient& by,
                                                  const PublishJob& job);
  static io::Task<Result<ChannelReport>> send(std::shared_ptr<State> self, io::HttpClient& by,
                                              const PublishJob& job);
  static io::Task<> run(std::shared_ptr<State> self);
};

std::uint64_t subscribers_of(std::string_view json) {
  constexpr std::string_view key = "\"subscribers\":";
  const auto at = json.find(key);
  if (at == std::string_view::npos) return 0;
  json.remove_prefix(at + key.size());
  json.remove_prefix(std::min(json.find_first_not_of(' '), json.size()));
  std::uint64_t number = 0;
  std::from_chars(json.data(), json.data() + json.size(), number);
  return number;
}

io::HttpRequest Publisher::State::request_of(const PublishJob& job) const {
  io::HttpRequest request;
  request.target = path + job.channel;
  request.fields.emplace_back("Accept", "text/json");
  switch (job.kind) {
    case PublishJob::Kind::ask: request.method = "GET"; break;
    case PublishJob::Kind::remove: request.method = "DELETE"; break;
    case PublishJob::Kind::nudge:
    case PublishJob::Kind::publish:
      request.method = "POST";
      request.fields.emplace_back("Content-Type", "application/json");
      const bool nudge = job.kind == PublishJob::Kind::nudge;
      request.fields.emplace_back("X-EventSource-Event", nudge ? "resume" : "state");
      request.body = nudge ? nudge_json : state_change_json(job.account_id, job.states, job.types);
      break;
  }
  return request;
}

void Publisher::State::note(const Result<ChannelReport>& report) {
  if (!report) ++counters.failures;
  if (closed || report.has_value() != failing) return;
  failing = !failing;
  if (failing)
    loop.logger().warning("front end can't be told",
                          {{"frontend", name}, {"error", report.error().to_string()}});
  else
    loop.logger().info("front end is there again", {{"frontend", name}});
}

io::Task<Result<ChannelReport>> Publisher::State::send(std::shared_ptr<State> self, io::HttpClient& by,
                                                       const PublishJob& job) {
  auto report = co_await exchange(self, by, job);
  self->note(report);
  co_return report;
}

io::Task<Result<ChannelReport>> Publisher::State::exchange(std::shared_ptr<State> self, io::HttpClient& by,
                                                           const PublishJob& job) {
  ++self->counters.requests;
  struct UnderWay {
    explicit UnderWay(State& s) : state(s), begun(s.begun_at.insert(s.loop.clock().now())) {}
    UnderWay(const UnderWay&) = delete;
    UnderWay& operator=(const UnderWay&) = delete;
    ~UnderWay() { state.begun_at.erase(begun); }
    State& state;
    const std::multiset<MonotonicTime>::iterator begun;
  };
  std::optional<UnderWay> under_way(std::in_place, *self);
  auto answer = co_await by.exchange(self->request_of(job), request_timeout);
  under_way.reset();
  self->silent = !answer;
  if (!answer) co_return fail(answer.error());
  const bool missing = answer->status == no_such_channel && job.kind != PublishJob::Kind::publish;
  if (!missing && (answer->status < 200 || answer->status > 299))
    co_return fail(io::Errc::io, "the publisher answered " + std::to_string(answer->status));
  ChannelReport report{job.kind, job.channel, !missing, 0};
  if (!missing && job.kind != PublishJob::Kind::remove) report.subscribers = subscribers_of(answer->body);
  co_return report;
}

io::Task<> Publisher::State::run(std::shared_ptr<State> self) {
  auto& clock = self->loop.clock();
  while (!self->closed) {
    self->changed.reset();
    const auto job = self->queue.next(clock.now());
    if (!job) {
      if (const auto due = self->queue.due())
        co_await self->changed.wait_until(*due);
      else
        co_await self->changed.wait();
      continue;
    }
    auto report = co_await send(self, self->client, *job);
    if (self->closed) co_return;
    if (!report) {
      self->queue.failed(clock.now(), self->loop.random());
      continue;
    }
    self->queue.done();
    if (self->queue.size() == 0) self->full = false;
    self->on_report(*report);
  }
}

Publisher::Publisher(io::Loop& loop, std::string name, io::HttpAddress address, PublishOptions options,
                     OnReport on_report)
    : state_(
          std::make_shared<State>(loop, std::move(name), std::move(address), options, std::move(on_report))) {
  loop.spawn(State::run(state_));
}

Publisher::~Publisher() {
  state_->closed = true;
  state_->on_report = [](const ChannelReport&) {};
  state_->client.close();
  state_->changed.set();
  state_->ask_ended.set();
}

bool Publisher::put(PublishJob job) {
  if (!state_->queue.put(std::move(job))) {
    ++state_->counters.refused;
    if (!std::exchange(state_->full, true))
      state_->loop.logger().error("too much waits for a front end: changes are lost to its streams",
                                  {{"frontend", state_->name}, {"channels", state_->queue.size()}});
    return false;
  }
  state_->changed.set();
  return true;
}

void Publisher::retry_now() {
  state_->queue.retry_now();
  state_->changed.set();
}

io::Task<Result<ChannelReport>> Publisher::ask_now(PublishJob job) {
  // Not through the queue, and not behind it: its connection is one of its own.
  const auto self = state_;
  const auto patience = self->loop.clock().now() + publisher_slow_after;
  const auto must_wait = [&self] { return self->asks >= self->asks_at_once(); };
  while (must_wait() && !self->closed && !self->in_trouble() && self->loop.clock().now() < patience) {
    self->ask_ended.reset();
    co_await self->ask_ended.wait_until(std::min(*self->begun_at.begin() + publisher_slow_after, patience));
  }
  if (self->closed) co_return fail(io::Errc::closed);
  if (must_wait() || !self->takes_asks())
    co_return fail(io::Errc::timeout, "others wait for its answer already");
  io::HttpClient client(self->loop, self->address);
  struct Asking {
    explicit Asking(State& s) : state(s) { ++state.asks; }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    ~Asking() {
      --state.asks;
      state.ask_ended.set();
    }
    State& state;
  };
  const Asking asking(*self);
  co_return co_await State::send(self, client, job);
}

bool Publisher::takes_asks() const { return state_->takes_asks(); }

std::unique_ptr<io::HttpClient> Publisher::connection() const {
  return std::make_unique<io::HttpClient>(state_->loop, state_->address);
}

io::Task<Result<ChannelReport>> Publisher::ask_by(io::HttpClient& client, PublishJob job) {
  const auto self = state_;
  co_return co_await State::send(self, client, job);
}

const PublisherCounters& Publisher::counters() const { return state_->counters; }
std::size_t Publisher::queued() const { return state_->queue.size(); }
bool Publisher::changes(const std::string& channel) const { return state_->queue.changes(channel); }

}  // namespace postern::push
