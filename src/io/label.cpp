// An executor that carries a label and leaves all else to the one it wraps.
#include "postern/io/label.hpp"

#include <utility>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace postern::io {

namespace asio = boost::asio;

namespace {

class LabelExecutor {
 public:
  LabelExecutor(asio::any_io_executor inner, Label label) noexcept
      : inner_(std::move(inner)), label_(std::move(label)) {}

  const Label& label() const { return label_; }

  asio::execution_context& query(asio::execution::context_t) const noexcept {
    return asio::query(inner_, asio::execution::context);
  }
  LabelExecutor require(asio::execution::blocking_t::never_t never) const {
    return {asio::require(inner_, never), label_};
  }
  template <typename F>
  void execute(F&& function) const {
    inner_.execute(std::forward<F>(function));
  }
  friend bool operator==(const LabelExecutor& a, const LabelExecutor& b) noexcept {
    return a.inner_ == b.inner_ && a.label_ == b.label_;
  }

 private:
  asio::any_io_executor inner_;
  Label label_;
};

}  // namespace

Task<> labelled(Loop& loop, std::string label, Task<> task) {
  LabelExecutor executor(loop.context().get_executor(),
                         std::make_shared<const std::string>(std::move(label)));
  co_await asio::co_spawn(asio::any_io_executor(std::move(executor)), std::move(task), asio::use_awaitable);
}

Task<Label> current_label() {
  const auto executor = co_await asio::this_coro::executor;
  const auto* labelled = executor.target<LabelExecutor>();
  co_return labelled != nullptr ? labelled->label() : nullptr;
}

}  // namespace postern::io
