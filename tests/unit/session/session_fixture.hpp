// A pool of one account against the test IMAP server, on a loop whose clock the test moves.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "imapd/test_imapd.hpp"
#include "postern/imap/errors.hpp"
#include "postern/session/pool.hpp"
#include "postern/session/server.hpp"
#include "support/loop_fixture.hpp"
#include "support/temporary_file.hpp"
#include "support/test_ca.hpp"

namespace postern::session {

using namespace std::chrono_literals;

// What one mailbox's observer heard, in order.
struct RecordingObserver final : MailboxObserver {
  std::optional<SelectParameters> parameters;
  std::vector<std::string> events;
  SelectInfo info;

  std::optional<SelectParameters> select_parameters() const override { return parameters; }
  void begin_select() override { events.emplace_back("begin"); }
  void on_selected(const SelectInfo& i) override {
    info = i;
    events.push_back("selected " + std::to_string(i.exists));
  }
  void on_exists(std::uint32_t count) override { events.push_back("exists " + std::to_string(count)); }
  void on_expunge(std::uint32_t seq) override { events.push_back("expunge " + std::to_string(seq)); }
  void on_vanished(const imap::VanishedResponse& v) override {
    events.push_back((v.earlier ? "vanished earlier " : "vanished ") + v.uids.to_string());
  }
  void on_fetch(const imap::FetchData& data) override {
    events.push_back("fetch " + (data.uid ? std::to_string(*data.uid) : std::string("?")));
  }
  void on_deselected() override { events.emplace_back("deselected"); }
};

struct RecordingAccount final : AccountObserver {
  std::vector<std::string> events;
  void on_status(const imap::StatusDataResponse& s) override { events.push_back("status " + s.mailbox); }
  void on_connected(const imap::CapabilitySet&) override { events.emplace_back("connected"); }
  void on_disconnected(const Error&) override { events.emplace_back("disconnected"); }
};

inline Credentials password(std::string login = "alice", std::string_view secret = "secret") {
  Credentials credentials;
  credentials.login = std::move(login);
  credentials.secret = Secret(secret);
  return credentials;
}

inline imap::Command simple(std::string name, imap::Expect expect = imap::Expect::none) {
  imap::Command command;
  command.chunks.push_back(name);
  command.name = std::move(name);
  command.expect = expect;
  return command;
}

struct SessionFixture : test::LoopFixture {
  testimapd::Options options;
  ServerOptions server_options;
  std::unique_ptr<testimapd::TestImapd> imapd;
  std::unique_ptr<Server> server;
  RecordingAccount account;
  std::unique_ptr<Pool> pool;

  SessionFixture() {
    server_options.tls = TlsMode::none;
    server_options.idle_after = 2s;
  }

  // Starts the IMAP server with `options`, a Server with `server_options`, and a pool.
  void start(Credentials credentials = password()) {
    pool.reset();
    imapd = std::make_unique<testimapd::TestImapd>(options);
    imapd->start();
    connect_to(imapd->port(), std::move(credentials));
  }
  void connect_to(std::uint16_t port, Credentials credentials = password()) {
    pool.reset();
    server_options.endpoint = {"127.0.0.1", port};
    auto made = Server::make(loop, server_options);
    ASSERT_TRUE(made) << made.error().to_string();
    server = std::move(*made);
    pool = Pool::make(loop, *server, std::move(credentials), &account, "192.0.2.7");
  }
  Result<> connect() { return await(pool->connect()); }
  Result<Lease> select(std::string mailbox, MailboxObserver& observer) {
    return await(pool->select(std::move(mailbox), observer));
  }
  Result<imap::StatusResponse> execute(Lease& lease, imap::Command command, Lease::OnData on_data = {}) {
    return await(lease.execute(std::move(command), std::move(on_data)));
  }
  std::uint64_t commands(const std::string& name) { return imapd->counts().command(name); }
  // Waits until the server has counted so many, letting our side run.
  bool reach(const std::string& name, std::uint64_t count) {
    return pump_until([&] { return commands(name) >= count; }) && commands(name) == count;
  }
  bool state_is(const std::string& state) {
    return pump_until([&] {
      const auto all = pool->connections();
      return !all.empty() && all.front().state == state;
    });
  }
  void advance(Duration by) {
    clock.advance(by);
    loop.poll();
  }
  // connect() at the time when a reconnect is due.
  Result<> connect_when_due() {
    clock.advance(std::max(Duration::zero(), pool->retry_at() - clock.now()));
    return connect();
  }
  // Runs a coroutine in the background; the result appears in the returned cell.
  template <typename T>
  std::shared_ptr<std::optional<T>> start_task(io::Task<T> task) {
    auto cell = std::make_shared<std::optional<T>>();
    loop.spawn([](io::Task<T> t, std::shared_ptr<std::optional<T>> c) -> io::Task<> {
      c->emplace(co_await std::move(t));
    }(std::move(task), cell));
    loop.poll();
    return cell;
  }
};

template <typename T>
std::error_code code_of(const Result<T>& result) {
  return result ? std::error_code() : result.error().code;
}

#define EXPECT_FAILS(result, expected)                                                                   \
  do {                                                                                                   \
    const auto& r_ = (result);                                                                           \
    EXPECT_EQ(code_of(r_), make_error_code(expected)) << (r_ ? "it succeeded" : r_.error().to_string()); \
  } while (false)

}  // namespace postern::session
