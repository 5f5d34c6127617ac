// The loop over Boost.Asio: one steady_timer for the whole timer queue, one posted handler for all coroutines that
// were woken, and the unwinding of those that still wait at the end.
#include "postern/io/loop.hpp"

#include <exception>
#include <optional>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "io/waiter.hpp"

namespace postern::io {

namespace asio = boost::asio;

// What needs Asio's own types: the one timer that wakes the loop, and the suspended coroutines.
struct Loop::Driver {
  explicit Driver(Loop& l) : loop(l), timer(l.context_), work(l.context_.get_executor()) {
    loop.timers_.on_earlier([this] { arm(); });
  }
  ~Driver() { loop.timers_.on_earlier({}); }

  void arm() {
    auto next = loop.timers_.next();
    if (!next) return;  // a timer that fires for nothing does no harm
    if (armed_for && *armed_for == *next) return;
    armed_for = next;
    auto delay = std::max(Duration::zero(), *next - loop.clock_.now());
    timer.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(delay));
    timer.async_wait([this](boost::system::error_code error) {
      if (error) return;  // armed anew, or the loop ends
      armed_for.reset();
      loop.timers_.run_due();
      arm();
    });
  }

  void post_drain() {
    if (drain_posted) return;
    drain_posted = true;
    asio::post(loop.context_, [this] { drain(); });
  }

  // Resumes those who were ready when it began; whoever becomes ready meanwhile has the next turn, so that
  // sockets are looked at in between.
  void drain() {
    drain_posted = false;
    struct Rest {
      Driver& driver;
      ~Rest() {
        if (!driver.ready.empty()) driver.post_drain();
      }
    } rest{*this};
    for (auto count = ready.size(); count > 0 && !ready.empty(); --count) {
      Waiter& waiter = ready.front();
      ready.pop_front();
      auto resume = std::move(waiter.resume_);
      resume();  // `waiter` is gone
    }
  }

  Loop& loop;
  asio::steady_timer timer;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::optional<MonotonicTime> armed_for;
  WaiterList<LoopTag> waiting, ready;  // a Waiter is on one of them while it is suspended
  bool drain_posted = false;
};

void Waiter::arm(Resumption resume) {
  resume_ = std::move(resume);
  if (woken_) {
    make_ready();
  } else {
    loop_.driver_->waiting.push_back(*this);
  }
}

void Waiter::wake() {
  if (woken_) return;
  woken_ = true;
  WaiterHook<EventTag>::unlink();
  if (resume_) make_ready();
}

void Waiter::make_ready() {
  if (!loop_.driver_) return;  // the loop is ending: it unwinds whoever is left
  WaiterHook<LoopTag>::unlink();
  loop_.driver_->ready.push_back(*this);
  loop_.driver_->post_drain();
}

Loop::Loop(const Clock& clock, Random& random, Logger& logger)
    : clock_(clock),
      random_(random),
      logger_(logger),
      timers_(clock),
      scratch_(scratch_bytes),
      context_(1),  // one thread: no need for wake-ups between threads
      driver_(std::make_unique<Driver>(*this)) {}

Loop::~Loop() {
  timers_.clear();  // callbacks may own streams, which need the io_context
  for (auto* list : {&driver_->waiting, &driver_->ready}) {
    while (!list->empty()) {
      Waiter& waiter = list->front();
      list->pop_front();
      // Destroying the handler hands the frames to the io_context, whose destructor unwinds them.
      auto resume = std::move(waiter.resume_);
    }
  }
}

void Loop::run() {
  if (context_.stopped()) context_.restart();
  driver_->arm();
  context_.run();
}

void Loop::stop() { context_.stop(); }

void Loop::post(std::function<void()> work) { asio::post(context_, std::move(work)); }

// co_spawn() would begin at once when it is called on the loop; here nobody is called back from within.
void Loop::spawn(Task<> task) {
  asio::post(context_, [this, task = std::move(task)]() mutable {
    asio::co_spawn(context_, std::move(task), [this](std::exception_ptr error) {
      if (!error) return;
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        logger_.error("exception left a coroutine", {{"what", e.what()}});
        throw;
      }
    });
  });
}

Task<> Loop::sleep(Duration delay) {
  Waiter waiter(*this);
  auto timer = timers_.add_after(delay, [&waiter] { waiter.wake(); });
  struct Cancel {
    TimerQueue& timers;
    TimerId id;
    ~Cancel() { timers.cancel(id); }
  } cancel{timers_, timer};
  co_await waiter.suspend();
}

void Loop::poll() {
  for (;;) {
    if (context_.stopped()) context_.restart();
    auto ran = timers_.run_due();
    ran += context_.poll();
    if (ran == 0) return;
  }
}

}  // namespace postern::io
