// One suspended coroutine: a node in its frame, without heap memory of its own.
//
// A Waiter is a local variable of the coroutine that waits. wake() puts it on the loop's ready list; one
// posted handler resumes all who are ready, so that a burst of wake-ups costs one turn of the io_context.
// The Loop knows every Waiter, and unwinds at its end those whom nobody woke. One thread.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/intrusive/list.hpp>

#include "postern/io/loop.hpp"

namespace postern::io {

// A move-only void() in place: what Asio hands over to resume a coroutine.
class Resumption {
 public:
  Resumption() = default;
  template <typename Handler>
    requires(!std::is_same_v<std::decay_t<Handler>, Resumption>)
  explicit Resumption(Handler&& handler) {
    using H = std::decay_t<Handler>;
    static_assert(sizeof(H) <= sizeof(storage_) && alignof(H) <= alignof(void*));
    ::new (static_cast<void*>(storage_)) H(std::forward<Handler>(handler));
    operate_ = [](Operation what, void* self, void* other) {
      auto* handler_self = static_cast<H*>(self);
      switch (what) {
        case Operation::call: (*handler_self)(); break;
        case Operation::move: ::new (other) H(std::move(*handler_self)); [[fallthrough]];
        case Operation::destroy: handler_self->~H(); break;
      }
    };
  }
  Resumption(Resumption&& other) noexcept : operate_(std::exchange(other.operate_, nullptr)) {
    if (operate_ != nullptr) operate_(Operation::move, other.storage_, storage_);
  }
  Resumption& operator=(Resumption&& other) noexcept {
    if (this != &other) {
      this->~Resumption();
      ::new (this) Resumption(std::move(other));
    }
    return *this;
  }
  ~Resumption() {
    if (operate_ != nullptr) std::exchange(operate_, nullptr)(Operation::destroy, storage_, nullptr);
  }
  void operator()() {
    if (operate_ != nullptr) operate_(Operation::call, storage_, nullptr);
  }
  explicit operator bool() const { return operate_ != nullptr; }

 private:
  enum class Operation { call, move, destroy };
  void (*operate_)(Operation, void*, void*) = nullptr;
  alignas(void*) std::byte storage_[4 * sizeof(void*)];
};

struct EventTag {};
struct LoopTag {};
template <typename Tag>
using WaiterHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<Tag>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

class Waiter : public WaiterHook<EventTag>, public WaiterHook<LoopTag> {
 public:
  explicit Waiter(Loop& loop) : loop_(loop) {}
  ~Waiter() = default;  // the hooks unlink themselves
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // co_await waiter.suspend(); — once.
  auto suspend() {
    return boost::asio::async_initiate<const boost::asio::deferred_t&, void()>(
        [this](auto handler) { arm(Resumption(std::move(handler))); }, boost::asio::deferred);
  }
  // Resumes the coroutine from the loop; later calls do nothing. Where it was woken before it suspended,
  // it is resumed as soon as it has.
  void wake();
  bool woken() const { return woken_; }

 private:
  friend class Loop;
  void arm(Resumption resume);
  void make_ready();
  Loop& loop_;
  Resumption resume_;
  bool woken_ = false;
};

template <typename Tag>
using WaiterList = boost::intrusive::list<Waiter, boost::intrusive::base_hook<WaiterHook<Tag>>,
                                          boost::intrusive::constant_time_size<false>>;

}  // namespace postern::io
