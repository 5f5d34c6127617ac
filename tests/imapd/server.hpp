// The inside of TestImapd: listeners, connections, counts, log and rules.
//
// Server owns the io_context, the store and all connections. Everything but call() runs in the one server
// thread (or, while it isn't started, in the caller's). Bounds: Options.
#pragma once

#include <deque>
#include <future>
#include <optional>
#include <set>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <openssl/ssl.h>

#include "model.hpp"
#include "test_imapd.hpp"

namespace postern::testimapd {

class Connection;

enum class Action {
  reply,
  bye,
  drop,
  hang,
  drop_at,
  hang_at,
  drop_in_literal,
  hang_in_literal,
  delay,
  before,
  after,
  expunge_at,
  huge_literal,
  run,
  run_after,
  greeting,
  preauth,
  silence,
  refuse,
};

struct Rule {
  std::string event;  // "connect", "*" or a command name
  std::string user;   // empty: any
  std::uint64_t nth = 1;
  std::uint64_t times = 1;  // 0: for ever
  Action action = Action::reply;
  std::uint64_t value = 0;
  std::string text;
  std::uint64_t seen = 0;
};

class Server {
 public:
  explicit Server(Options options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start();
  void stop();
  std::uint16_t port(std::size_t listener) const { return ports_.at(listener); }

  // Runs `function` in the server's thread and returns what it returns.
  template <class Function>
  auto call(Function function) {
    using Value = decltype(function());
    if (!thread_.joinable() || thread_.get_id() == std::this_thread::get_id()) return function();
    std::packaged_task<Value()> task(std::move(function));
    auto done = task.get_future();
    boost::asio::post(context_, [&task] { task(); });
    return done.get();
  }

  std::string control(std::string_view line);
  std::uint32_t deliver(std::string_view user, std::string_view mailbox, std::string_view raw,
                        std::string_view flags, std::int64_t internal_date);
  bool wait_for(const std::function<bool(const Counts&)>& predicate, std::chrono::milliseconds timeout);

  // For connections and sessions.
  boost::asio::io_context& context() { return context_; }
  const Options& options() const { return options_; }
  Store& store() { return store_; }
  SSL_CTX* tls() const { return tls_.get(); }
  bool offers(std::string_view capability) const { return capabilities_.contains(std::string(capability)); }
  std::string capability_text(bool logged_in, bool tls_up) const;
  const std::string* password_override(const std::string& user) const;
  const std::string* token_of(const std::string& user) const;
  std::uint32_t latency_ms() const { return latency_ms_; }

  Counts& total() { return total_; }
  Counts& of_user(const std::string& user) { return by_user_[user]; }
  Counts counts_of(std::string_view user);
  void reset();
  const std::deque<LogEntry>& log() const { return log_; }
  void count_command(Counts* user_counts, const std::string& name);
  void log_command(LogEntry entry);
  void changed();  // counts are different: wakes those who wait
  std::vector<Rule> take_rules(std::string_view event, std::string_view user);
  void add_rule(Rule rule) { rules_.push_back(std::move(rule)); }
  void clear_rules() { rules_.clear(); }
  bool drops_literal(std::uint64_t octets);  // of a command's literals so many have come
  void closed(Connection& connection);
  const std::set<std::shared_ptr<Connection>>& connections() const { return connections_; }

 private:
  struct Listener;
  struct Waiter {
    const std::function<bool(const Counts&)>* predicate;
    std::promise<void>* done;
    bool told;
  };
  struct FreeTls {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  void accept(Listener& listener);
  void make_tls();
  std::string misc_control(std::string_view verb, std::string_view rest);
  std::string mailbox_control(std::string_view verb, std::string_view rest);
  std::string rule_control(std::string_view rest);
  std::string log_control(std::string_view rest) const;
  std::string messages_control(std::string_view user_name);

  Options options_;
  std::set<std::string> capabilities_;  // upper case
  std::vector<std::string> before_login_;
  boost::asio::io_context context_{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::unique_ptr<SSL_CTX, FreeTls> tls_;
  Store store_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::uint16_t> ports_;
  std::set<std::shared_ptr<Connection>> connections_;
  std::uint64_t next_connection_ = 1;
  Counts total_;
  std::map<std::string, Counts> by_user_;
  std::deque<LogEntry> log_;
  std::vector<Rule> rules_;
  std::vector<Waiter*> waiters_;
  std::map<std::string, std::string> passwords_;
  std::map<std::string, std::string> tokens_;
  std::uint32_t latency_ms_ = 0;
  std::optional<std::uint64_t> drop_literal_;
  bool refusing_ = false;
  std::thread thread_;
};

}  // namespace postern::testimapd
