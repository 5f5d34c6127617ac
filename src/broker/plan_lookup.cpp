// The queue of logins to be looked up, and the threads that run the command.
#include "broker/plan_lookup.hpp"

#include <algorithm>

#include "broker/run_command.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {

std::optional<std::string> parse_plan_answer(std::string_view text) {
  if (text.size() > plan_answer_bytes_max) return std::nullopt;
  const auto name = trim_ascii(text.substr(0, text.find('\n')));
  if (!name.empty() && !limits::is_plan_name(name)) return std::nullopt;
  return std::string(name);
}

bool is_plain_argument(std::string_view login) {
  return !login.empty() && login.front() != '-' && login.find('\0') == std::string_view::npos;
}

PlanLookup::PlanLookup(limits::Book& book, const Clock& clock, Logger& logger, PlanLookupOptions options)
    : book_(book), clock_(clock), logger_(logger), options_(std::move(options)) {}

PlanLookup::~PlanLookup() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  asked_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void PlanLookup::set_options(PlanLookupOptions options) {
  const std::lock_guard lock(mutex_);
  if (options.command != options_.command) {
    known_.clear();
    order_.clear();
  }
  options_ = std::move(options);
}

void PlanLookup::ask(store::AccountKey account, const std::string& login) {
  const std::lock_guard lock(mutex_);
  if (options_.command.empty() || waiting_.size() >= waiting_max) return;
  const auto now = clock_.now();
  if (const auto known = known_.find(login); known != known_.end() && now < known->second.until) return;
  know(login, MonotonicTime::max());  // until there is an answer
  waiting_.push_back({account, login, now});
  if (threads_.size() < threads_max) threads_.emplace_back([this] { run(); });
  asked_.notify_one();
}

void PlanLookup::know(const std::string& login, MonotonicTime until) {
  const auto [known, fresh] = known_.try_emplace(login);
  known->second.until = until;
  if (!fresh) {
    order_.splice(order_.end(), order_, known->second.place);
    return;
  }
  order_.push_back(login);
  known->second.place = std::prev(order_.end());
  if (known_.size() <= known_max) return;
  known_.erase(order_.front());
  order_.pop_front();
}

void PlanLookup::run() {
  const bool harmless = give_up_privileges_of_thread();
  if (!harmless) logger_.error("plans are not looked up: the rights to do so can't be given up");
  std::unique_lock lock(mutex_);
  while (true) {
    asked_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const auto question = std::move(waiting_.front());
    waiting_.pop_front();
    const auto options = options_;
    lock.unlock();
    const auto holds = harmless && !options.command.empty() ? look_up(question, options) : plan_lookup_pause;
    lock.lock();
    know(question.login, question.asked + holds);
  }
}

Duration PlanLookup::look_up(const Question& question, const PlanLookupOptions& options) {
  const auto failed = [&](std::string_view why) {
    logger_.warning("plan not looked up", {{"login", question.login}, {"reason", std::string(why)}});
    return std::min<Duration>(plan_lookup_pause, options.cache);
  };
  if (!is_plain_argument(question.login)) return failed("the login is no argument for a command");
  auto arguments = options.command;
  arguments.push_back(question.login);
  const auto said = run_command(arguments, options.timeout, plan_answer_bytes_max);
  if (!said) return failed(said.error().to_string());
  const auto plan = parse_plan_answer(*said);
  if (!plan) return failed("the answer is no name of a plan");
  if (!book_.found_plan(question.account, question.login, *plan)) return failed("no such plan: " + *plan);
  return options.cache;
}

}  // namespace postern::broker
