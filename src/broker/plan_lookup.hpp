// Who has which plan, by a command of the administrator's: asked behind the scenes, remembered for a while.
//
// ask() may be called on any loop and never waits; threads of its own run the command (threads_max, made with the first
// question). What it says goes to the Book. Until then, and where it says nothing usable, people keep the plan that
// they had, or the default one. Bounds: waiting_max, known_max. Outlived by the Book and the logger; ends with its
// threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/log.hpp"
#include "postern/limits/book.hpp"

namespace postern::broker {

struct PlanLookupOptions {
  std::vector<std::string>
      command;  // with its arguments; the login comes behind them. Empty: nobody is asked
  Duration timeout = std::chrono::seconds(5);
  Duration cache = std::chrono::minutes(10);  // for so long an answer holds
};

// After a failure the same login is looked up again so much later, or when an answer would have to be renewed.
inline constexpr Duration plan_lookup_pause = std::chrono::seconds(30);

// What a plan's source has said: a name in the first line. Empty: they have none there, and so the default one.
// nullopt: neither.
std::optional<std::string> parse_plan_answer(std::string_view text);
inline constexpr std::size_t plan_answer_bytes_max = 1'024;

// A login as an argument: none that could be taken for an option of the command, or be cut.
bool is_plain_argument(std::string_view login);

class PlanLookup {
 public:
  static constexpr std::size_t threads_max = 2, waiting_max = 10'000, known_max = 100'000;

  PlanLookup(limits::Book& book, const Clock& clock, Logger& logger, PlanLookupOptions options);
  ~PlanLookup();
  PlanLookup(const PlanLookup&) = delete;
  PlanLookup& operator=(const PlanLookup&) = delete;

  // Asks, unless that login is waiting, or was answered not long ago.
  void ask(store::AccountKey account, const std::string& login);
  // Another command makes all that is known be asked again.
  void set_options(PlanLookupOptions options);

 private:
  struct Question {
    store::AccountKey account = 0;
    std::string login;
    MonotonicTime asked{};
  };
  struct Known {
    MonotonicTime until{};
    std::list<std::string>::iterator place;
  };
  void run();
  // How long what has come of it holds.
  Duration look_up(const Question& question, const PlanLookupOptions& options);
  void know(const std::string& login, MonotonicTime until);

  limits::Book& book_;
  const Clock& clock_;
  Logger& logger_;
  std::mutex mutex_;
  std::condition_variable asked_;
  PlanLookupOptions options_;
  std::deque<Question> waiting_;
  std::unordered_map<std::string, Known> known_;
  std::list<std::string> order_;  // the one that was learnt the longest ago first
  std::vector<std::thread> threads_;
  bool ending_ = false;
};

}  // namespace postern::broker
