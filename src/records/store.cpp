// The thread that owns the database: one job after the other, in the order of coming; each answers on the loop that it
// came from. What is queued when the store ends is still done.
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "postern/io/event.hpp"
#include "records/database.hpp"

namespace postern::records {
namespace {

class Worker {
 public:
  Worker(std::unique_ptr<Database> database, Error closed, const Clock& clock)
      : database_(std::move(database)),
        closed_(std::move(closed)),
        clock_(clock),
        thread_([this] { run(); }) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    come_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  void add(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      jobs_.push_back(std::move(job));
    }
    come_.notify_one();
  }
  void observe(Store::Observer observer) {
    const std::lock_guard lock(mutex_);
    observer_ = std::move(observer);
  }
  // On the thread. Null: closed().
  Database* database() { return database_.get(); }
  const Error& closed() const { return closed_; }
  std::int64_t now() const { return unix_seconds(clock_.wall()); }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      come_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      const auto observer = observer_;
      lock.unlock();
      job();
      tell(observer);
      lock.lock();
    }
  }

  void tell(const Store::Observer& observer) {
    if (database_ == nullptr) return;
    for (const auto& [owner, type, state] : database_->take_new_states())
      if (observer) observer(owner, type, state);
  }

  std::unique_ptr<Database> database_;
  Store::Observer observer_;
  const Error closed_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable come_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

class LoopRecords final : public Records {
 public:
  LoopRecords(io::Loop& loop, Worker& worker) : loop_(loop), worker_(worker) {}

  io::Task<Result<Snapshot<Identity>>> identities(Owner owner, std::string first,
                                                  Selection selection) override {
    return run([owner = std::move(owner), first = std::move(first), selection = std::move(selection)](
                   Database& database) { return database.identities(owner, first, selection); });
  }
  io::Task<Result<std::uint64_t>> create_identity(Owner owner, Identity identity) override {
    return run([owner = std::move(owner), identity = std::move(identity)](Database& database) {
      return database.create_identity(owner, identity);
    });
  }
  io::Task<Result<>> update_identity(Owner owner, IdentityChange change) override {
    return run([owner = std::move(owner), change = std::move(change)](Database& database) {
      return database.update_identity(owner, change);
    });
  }
  io::Task<Result<>> destroy_identity(Owner owner, std::uint64_t id) override {
    return run(
        [owner = std::move(owner), id](Database& database) { return database.destroy_identity(owner, id); });
  }
  io::Task<Result<Changes>> changes(Owner owner, Type type, std::string since,
                                    std::size_t changes_max) override {
    return run([owner = std::move(owner), type, since = std::move(since), changes_max](Database& database) {
      return database.changes(owner, type, since, changes_max);
    });
  }
  io::Task<Result<TypeStates>> states(Owner owner) override {
    return run([owner = std::move(owner)](Database& database) { return database.states(owner); });
  }
  io::Task<Result<std::vector<std::pair<std::uint64_t, std::uint32_t>>>> mailbox_orders(
      Owner owner) override {
    return run([owner = std::move(owner)](Database& database) { return database.mailbox_orders(owner); });
  }
  io::Task<Result<>> put_mailbox_order(Owner owner, std::uint64_t mailbox,
                                       std::optional<std::uint32_t> order) override {
    return run([owner = std::move(owner), mailbox, order](Database& database) {
      return database.put_mailbox_order(owner, mailbox, order);
    });
  }
  io::Task<Result<std::uint64_t>> begin_content(Owner owner, bool delayed) override {
    return run([owner = std::move(owner), delayed](Database& database) {
      return database.begin_content(owner, delayed);
    });
  }
  io::Task<Result<>> append_content(std::uint64_t content, std::uint32_t piece, std::string octets) override {
    return run([content, piece, octets = std::move(octets)](Database& database) {
      return database.append_content(content, piece, octets);
    });
  }
  io::Task<Result<std::string>> content_piece(std::uint64_t content, std::uint32_t piece) override {
    return run([content, piece](Database& database) { return database.content_piece(content, piece); });
  }
  io::Task<Result<>> drop_content(std::uint64_t content) override {
    return run([content](Database& database) { return database.drop_content(content); });
  }
  io::Task<Result<Snapshot<Submission>>> submissions(Owner owner, Selection selection) override {
    return run([owner = std::move(owner), selection = std::move(selection)](Database& database) {
      return database.submissions(owner, selection);
    });
  }
  io::Task<Result<Snapshot<SubmissionSummary>>> summaries(Owner owner) override {
    return run([owner = std::move(owner)](Database& database) { return database.summaries(owner); });
  }
  io::Task<Result<std::uint64_t>> add_submission(Owner owner, Submission submission) override {
    return run([owner = std::move(owner), submission = std::move(submission)](Database& database) {
      return database.add_submission(owner, submission);
    });
  }
  io::Task<Result<Submission>> submission(std::uint64_t id) override {
    return run([id](Database& database) { return database.submission(id); });
  }
  io::Task<Result<bool>> begin_sending(std::uint64_t id) override {
    return run([id](Database& database) { return database.begin_sending(id); });
  }
  io::Task<Result<>> end_attempt(Submission submission) override {
    return run([submission = std::move(submission), &worker = worker_](Database& database) {
      return database.end_attempt(submission, worker.now());
    });
  }
  io::Task<Result<>> tell(std::uint64_t id) override {
    return run([id](Database& database) { return database.tell(id); });
  }
  io::Task<Result<>> forget(std::uint64_t id) override {
    return run([id](Database& database) { return database.forget(id); });
  }
  io::Task<Result<bool>> cancel(Owner owner, std::uint64_t id) override {
    return run([owner = std::move(owner), id, &worker = worker_](Database& database) {
      return database.cancel(owner, id, worker.now());
    });
  }
  io::Task<Result<>> destroy_submission(Owner owner, std::uint64_t id) override {
    return run([owner = std::move(owner), id](Database& database) {
      return database.destroy_submission(owner, id);
    });
  }
  io::Task<Result<std::vector<PushSubscription>>> push_subscriptions() override {
    return run([](Database& database) { return database.push_subscriptions(); });
  }
  io::Task<Result<std::uint64_t>> add_push_subscription(PushSubscription subscription) override {
    return run([subscription = std::move(subscription)](Database& database) {
      return database.add_push_subscription(subscription);
    });
  }
  io::Task<Result<>> update_push_subscription(PushSubscription subscription) override {
    return run([subscription = std::move(subscription)](Database& database) {
      return database.update_push_subscription(subscription);
    });
  }
  io::Task<Result<>> remove_push_subscriptions(std::vector<std::uint64_t> ids) override {
    return run(
        [ids = std::move(ids)](Database& database) { return database.remove_push_subscriptions(ids); });
  }
  io::Task<Result<std::vector<Waiting>>> waiting(unsigned shard, unsigned shards) override {
    return run([shard, shards](Database& database) { return database.waiting(shard, shards); });
  }

 private:
  // The result is written by the thread before the event is posted, and read on the loop behind it.
  template <typename F>
  io::Task<std::invoke_result_t<F, Database&>> run(F work) {
    using Answer = std::invoke_result_t<F, Database&>;
    struct Shared {
      explicit Shared(io::Loop& loop) : done(loop) {}
      std::optional<Answer> answer;
      io::Event done;
    };
    auto shared = std::make_shared<Shared>(loop_);
    worker_.add([shared, work = std::move(work), &worker = worker_, &loop = loop_]() mutable {
      auto* database = worker.database();
      // Where it fails, what is asked for says why.
      if (database != nullptr) (void)database->forget_old(worker.now());
      shared->answer.emplace(database != nullptr ? work(*database) : Answer(fail(worker.closed())));
      // The last one who holds it may be this thread, and an Event belongs to its loop.
      auto* home = &loop;
      home->post([shared = std::move(shared)] { shared->done.set(); });
    });
    co_await shared->done.wait();
    co_return std::move(*shared->answer);
  }

  io::Loop& loop_;
  Worker& worker_;
};

class OpenStore final : public Store {
 public:
  OpenStore(std::unique_ptr<Database> database, Recovery recovery, const Clock& clock)
      : recovery_(recovery), worker_(std::move(database), {}, clock) {}
  explicit OpenStore(Error error) : worker_(nullptr, std::move(error), system_clock_) {}

  std::unique_ptr<Records> on(io::Loop& loop) override {
    return std::make_unique<LoopRecords>(loop, worker_);
  }
  Recovery recovery() const override { return recovery_; }
  void observe(Observer observer) override { worker_.observe(std::move(observer)); }
  void stop() override { worker_.stop(); }

 private:
  SystemClock system_clock_;  // of a closed one, which asks nobody
  Recovery recovery_;
  Worker worker_;
};

}  // namespace

Result<std::unique_ptr<Store>> Store::open(StoreOptions options, const Clock& clock, Random& random) {
  auto database = Database::open(options, unix_seconds(clock.wall()), random);
  if (!database) return fail(database.error());
  const auto recovery = (*database)->recovery();
  return std::make_unique<OpenStore>(std::move(*database), recovery, clock);
}

std::unique_ptr<Store> Store::closed(Error error) { return std::make_unique<OpenStore>(std::move(error)); }

}  // namespace postern::records
