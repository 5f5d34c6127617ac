// The real postern-fcgi between a scripted broker and a scripted web server.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "harness.hpp"
#include "postern/ipc/window.hpp"
#include "postern/store/session_table.hpp"
#include "worker/limits.hpp"

namespace postern::worker::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

class WorkerTest : public ::testing::Test {
 protected:
  std::string broker_path() const { return folder_ / "broker.sock"; }
  std::string listen_path() const { return folder_ / "fcgi.sock"; }

  void start_broker() { broker_.emplace(broker_path()); }
  void start_worker(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"--broker",    broker_path(), "--listen",
                                       listen_path(), "--segment",   folder_ / "segment"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    worker_.emplace(arguments);
    worker_->wait_log("started");
  }
  WebServer web() const { return WebServer(listen_path()); }

  TemporaryFolder folder_;
  std::optional<ScriptedBroker> broker_;
  std::optional<WorkerProcess> worker_;
};

std::string pattern(std::size_t bytes) {
  std::string out(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>((i * 2654435761u) >> 13);
  return out;
}

TEST_F(WorkerTest, ARequestAndItsAnswer) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("POST", "/jmap/api?x=1", "{}",
                 {{"HTTP_COOKIE", "a=b"},
                  {"HTTP_X_REQUEST_ID", "request-0001"},
                  {"HTTP_X_SECRET", "no"},
                  {"REMOTE_USER", "anna"}});
  auto peer = broker_->accept();
  const auto [stream, head] = peer.request();
  EXPECT_EQ(stream, 1u);
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/jmap/api?x=1");
  EXPECT_EQ(head.id, "request-0001");
  EXPECT_EQ(head.remote_user, "anna");
  EXPECT_EQ(head.content_length, 2u);
  EXPECT_EQ(ipc::field(head.fields, "cookie"), "a=b");
  EXPECT_EQ(ipc::field(head.fields, "x-secret"), "");
  const auto body = peer.expect(ipc::FrameType::data);
  EXPECT_EQ(body.payload, "{}");
  EXPECT_EQ(body.flags, ipc::end_stream);
  peer.respond(stream, "hello", 201);
  const auto response = client.read();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.status(), "201");
  EXPECT_THAT(response.head, HasSubstr("content-type: text/plain"));
  EXPECT_EQ(response.body, "hello");
  EXPECT_TRUE(client.closed_by_worker()) << "not to be kept";
}

TEST_F(WorkerTest, ARequestWithoutABodyEndsWithItsHead) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  EXPECT_EQ(peer.expect(ipc::FrameType::request).flags, ipc::end_stream);
  peer.respond(1, "");
  EXPECT_EQ(client.read().status(), "200");
}

TEST_F(WorkerTest, OneThreadServesManyKeptConnections) {
  start_broker();
  start_worker({"--threads", "1"});
  std::vector<WebServer> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(web());
  std::optional<BrokerPeer> peer;
  for (int round = 0; round < 3; ++round) {
    for (auto& client : clients) {
      client.request("POST", "/", "body", {}, true);
      if (!peer) peer.emplace(broker_->accept());
      const auto [stream, head] = peer->request();
      peer->expect(ipc::FrameType::data);
      peer->respond(stream, "answer " + std::to_string(stream));
      EXPECT_EQ(client.read().body, "answer " + std::to_string(stream));
    }
  }
}

TEST_F(WorkerTest, AHundredAtATimeOverOneConnection) {
  start_broker();
  start_worker({"--threads", "100"});
  std::vector<WebServer> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(web());
    clients.back().request("GET", "/" + std::to_string(i));
  }
  auto peer = broker_->accept();
  std::vector<std::pair<std::uint32_t, std::string>> streams;
  for (int i = 0; i < 100; ++i) {
    const auto [stream, head] = peer.request();
    streams.emplace_back(stream, head.target);
  }
  for (auto at = streams.rbegin(); at != streams.rend(); ++at) peer.respond(at->first, at->second);
  for (int i = 0; i < 100; ++i) {
    const auto response = clients[static_cast<std::size_t>(i)].read();
    EXPECT_TRUE(response.complete);
    EXPECT_EQ(response.body, "/" + std::to_string(i));
  }
  EXPECT_TRUE(broker_->nobody_connects(0ms));
}

TEST_F(WorkerTest, ALargeDownloadWaitsForASlowReaderAndIsNotHeld) {
  constexpr std::size_t size = 32 * 1024 * 1024;
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/blob");
  auto peer = broker_->accept();
  const auto [stream, head] = peer.request();
  const auto peak_before = worker_->peak_kb();
  const auto body = pattern(size);

  std::size_t sent = 0;
  ipc::SendCredit credit;
  std::string frames;
  ipc::append_frame(frames, ipc::FrameType::response, 0, stream,
                    ipc::encode_response_head({200, {}}).value());
  peer.send(frames);
  // Sends until no more credit comes for a while, or everything is sent.
  const auto send_on = [&](std::chrono::milliseconds patience_ms) {
    while (sent < size) {
      const auto amount = std::min<std::size_t>({credit.left(), size - sent, ipc::frame_payload_bytes_max});
      if (amount > 0) {
        frames.clear();
        ipc::append_body(frames, stream, std::string_view(body).substr(sent, amount), sent + amount == size);
        peer.send(frames);
        credit.spend(amount);
        sent += amount;
        continue;
      }
      const auto frame = peer.next_within(patience_ms);
      if (!frame) return;
      ASSERT_EQ(frame->type, ipc::FrameType::window);
      ASSERT_TRUE(credit.grant(ipc::parse_window(frame->payload).value()));
    }
  };
  send_on(500ms);
  EXPECT_LT(sent, 2u * 1024 * 1024) << "the reader has read nothing yet";
  auto rest = std::async(std::launch::async, [&] { send_on(patience); });
  const auto response = client.read();
  rest.get();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.body.size(), size);
  EXPECT_TRUE(response.body == body);
  EXPECT_LT(worker_->peak_kb() - peak_before, 8u * 1024);
}

TEST_F(WorkerTest, AnUploadStreamsWithinItsCredit) {
  constexpr std::size_t size = 8 * 1024 * 1024;
  start_broker();
  start_worker();
  auto client = web();
  const auto body = pattern(size);
  auto upload = std::async(std::launch::async, [&] { client.request("POST", "/jmap/upload/a/", body); });
  auto peer = broker_->accept();
  const auto [stream, head] = peer.request();
  EXPECT_EQ(head.content_length, size);
  std::string seen;
  std::size_t credit = ipc::window_bytes;
  bool ended = false;
  while (!ended) {
    const auto frame = peer.expect(ipc::FrameType::data);
    ASSERT_LE(frame.payload.size(), credit);
    credit -= frame.payload.size();
    seen += frame.payload;
    ended = (frame.flags & ipc::end_stream) != 0;
    if (credit == 0 && !ended) {
      if (const auto more = peer.next_within(50ms)) {
        EXPECT_EQ(more->payload.size(), 0u) << "data without credit";
        ended = (more->flags & ipc::end_stream) != 0;
        continue;
      }
      std::string grant;
      ipc::append_window(grant, stream, ipc::window_bytes);
      credit = ipc::window_bytes;
      peer.send(grant);
    }
  }
  upload.get();
  EXPECT_TRUE(seen == body);
  peer.respond(stream, "stored");
  EXPECT_EQ(client.read().body, "stored");
}

TEST_F(WorkerTest, AnAnswerMayComeBeforeTheUploadIsOver) {
  start_broker();
  start_worker();
  auto client = web();
  const auto body = pattern(4 * 1024 * 1024);
  auto upload = std::async(std::launch::async, [&] {
    try {
      client.request("POST", "/jmap/upload/a/", body);
    } catch (const std::exception&) {  // the worker may close before it has read everything
    }
  });
  auto peer = broker_->accept();
  const auto [stream, head] = peer.request();
  for (std::size_t got = 0; got < ipc::window_bytes;) got += peer.expect(ipc::FrameType::data).payload.size();
  peer.respond(stream, "no", 403);
  const auto response = client.read();
  EXPECT_EQ(response.status(), "403");
  EXPECT_TRUE(response.complete);
  upload.get();
}

TEST_F(WorkerTest, BrokerLostBeforeEffectsTheRequestIsSentAgain) {
  start_broker();
  start_worker();
  auto client = web();
  const auto body = pattern(body_kept_bytes_max);  // the longest that is kept
  auto upload = std::async(std::launch::async, [&] { client.request("POST", "/jmap/api", body); });
  {
    auto first = broker_->accept();
    first.request();
    broker_.reset();
  }
  start_broker();
  auto second = broker_->accept();
  const auto [stream, head] = second.request();
  std::string seen;
  while (seen.size() < body.size()) {
    const auto frame = second.expect(ipc::FrameType::data);
    seen += frame.payload;
    std::string grant;
    ipc::append_window(grant, stream, static_cast<std::uint32_t>(frame.payload.size()));
    second.send(grant);
  }
  upload.get();
  EXPECT_TRUE(seen == body);
  second.respond(stream, "done");
  EXPECT_EQ(client.read().body, "done");
}

TEST_F(WorkerTest, BrokerLostAfterEffectsTheOutcomeIsUnknown) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("POST", "/jmap/api", "{}");
  {
    auto first = broker_->accept();
    const auto [stream, head] = first.request();
    std::string effects;
    ipc::append_frame(effects, ipc::FrameType::effects, 0, stream, {});
    first.send(effects);
  }  // closed
  const auto response = client.read();
  EXPECT_EQ(response.status(), "503");
  EXPECT_THAT(response.head, Not(HasSubstr("retry-after")));
  EXPECT_THAT(response.head, HasSubstr("application/problem+json"));
  EXPECT_THAT(response.body, HasSubstr("outcomeUnknown"));
  EXPECT_TRUE(broker_->nobody_connects(100ms)) << "it must not be sent again";
}

TEST_F(WorkerTest, BrokerLostInTheMiddleOfAnAnswerItIsCutOff) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/", {}, {}, true);
  {
    auto peer = broker_->accept();
    const auto [stream, head] = peer.request();
    std::string frames;
    ipc::append_frame(frames, ipc::FrameType::response, 0, stream,
                      ipc::encode_response_head({200, {}}).value());
    ipc::append_body(frames, stream, "half of", false);
    peer.send(frames);
    client.read_until(20);
  }
  const auto response = client.read();
  EXPECT_FALSE(response.complete) << "a web server must see that it is not whole";
  EXPECT_TRUE(response.closed);
  worker_->wait_log("answer cut off");
}

TEST_F(WorkerTest, BrokerLostWithABodyTooLongToKeep) {
  start_broker();
  start_worker();
  auto client = web();
  const auto body = pattern(body_kept_bytes_max + 1);
  auto upload = std::async(std::launch::async, [&] { client.request("POST", "/jmap/upload/a/", body); });
  {
    auto peer = broker_->accept();
    const auto [stream, head] = peer.request();
    std::string grant;
    ipc::append_window(grant, stream, 4 * 1024 * 1024);
    peer.send(grant);
    for (std::size_t got = 0; got < body.size();) got += peer.expect(ipc::FrameType::data).payload.size();
  }
  upload.get();
  const auto response = client.read();
  EXPECT_EQ(response.status(), "503");
  EXPECT_THAT(response.head, HasSubstr("retry-after"));
  EXPECT_TRUE(broker_->nobody_connects(0ms));
}

TEST_F(WorkerTest, ARequestThatKillsTheBrokerIsNotSentForEver) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/poison");
  for (int i = 0; i < 3; ++i) broker_->accept().request();
  EXPECT_EQ(client.read().status(), "503");
  EXPECT_TRUE(broker_->nobody_connects(100ms));
}

TEST_F(WorkerTest, BrokerAwayIs503AfterTheWait) {
  start_worker({"--broker-wait", "0.3"});
  auto client = web();
  const auto begin = std::chrono::steady_clock::now();
  client.request("GET", "/jmap/session");
  const auto response = client.read();
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(response.status(), "503");
  EXPECT_THAT(response.head, HasSubstr("retry-after: "));
  EXPECT_THAT(response.head, HasSubstr("application/problem+json"));
  EXPECT_GE(took, 300ms);
  EXPECT_LT(took, 10s);
  worker_->wait_log("broker is away");
  start_broker();
  auto again = web();
  again.request("GET", "/");
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "back");
  EXPECT_EQ(again.read().body, "back");
  worker_->wait_log("broker is back");
}

TEST_F(WorkerTest, ABrokerThatComesBackWithinTheWaitIsNoError) {
  start_worker({"--broker-wait", "60"});
  auto client = web();
  client.request("GET", "/");
  worker_->wait_log("broker is away");
  start_broker();
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "back");
  EXPECT_EQ(client.read().body, "back");
}

TEST_F(WorkerTest, MoreRequestsThanThreadsWaitForABroker) {
  start_worker({"--broker-wait", "60", "--threads", "4"});
  std::vector<WebServer> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(web());
    clients.back().request("GET", "/waits");
  }
  worker_->wait_log("broker is away");
  start_broker();
  auto peer = broker_->accept();
  for (std::size_t i = 0; i < clients.size(); ++i) peer.respond(peer.request().first, "waited");
  for (auto& client : clients) EXPECT_EQ(client.read().body, "waited");
}

TEST_F(WorkerTest, AfterGoodbyeNewRequestsGoToANewConnection) {
  start_broker();
  start_worker();
  auto running = web();
  running.request("GET", "/running");
  auto old_peer = broker_->accept();
  const auto old_stream = old_peer.request().first;
  std::string goodbye;
  ipc::append_frame(goodbye, ipc::FrameType::goodbye, 0, 0, {});
  ipc::append_frame(goodbye, ipc::FrameType::ping, 0, 0, "octets08");
  old_peer.send(goodbye);
  EXPECT_EQ(old_peer.expect(ipc::FrameType::pong).payload, "octets08");  // so the goodbye was read, too
  auto next = web();
  next.request("GET", "/next");
  auto new_peer = broker_->accept();
  const auto [stream, head] = new_peer.request();
  EXPECT_EQ(head.target, "/next");
  new_peer.respond(stream, "new");
  EXPECT_EQ(next.read().body, "new");
  old_peer.respond(old_stream, "old");
  EXPECT_EQ(running.read().body, "old");
  EXPECT_TRUE(old_peer.ended());
}

TEST_F(WorkerTest, AnIdleConnectionThatEndedIsNoticedBeforeItIsUsed) {
  start_broker();
  start_worker();
  {
    auto client = web();
    client.request("GET", "/first");
    auto peer = broker_->accept();
    peer.respond(peer.request().first, "1");
    client.read();
  }
  auto client = web();
  client.begin(basic_parameters("POST", "/second"), false);
  const auto body = pattern(body_kept_bytes_max * 2);  // could not be sent a second time
  auto upload = std::async(std::launch::async, [&] {
    client.send_body(body);
    client.end_body();
  });
  auto peer = broker_->accept();
  const auto stream = peer.request().first;
  std::string grant;
  ipc::append_window(grant, stream, 4 * 1024 * 1024);
  peer.send(grant);
  for (std::size_t got = 0; got < body.size();) got += peer.expect(ipc::FrameType::data).payload.size();
  upload.get();
  peer.respond(stream, "2");
  EXPECT_EQ(client.read().body, "2");
}

TEST_F(WorkerTest, ARefusedRequestIsSentElsewhere) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/");
  auto first = broker_->accept();
  std::string refusal;
  ipc::append_cancel(refusal, first.request().first, ipc::CancelReason::refused);
  first.send(refusal);
  auto second = broker_->accept();
  second.respond(second.request().first, "here");
  EXPECT_EQ(client.read().body, "here");
}

TEST_F(WorkerTest, ACancelledRequestIsA502) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  const auto stream = peer.request().first;
  // With the beginning of an answer in the same piece, of which nothing may be left in the 502.
  std::string frames;
  ipc::append_frame(frames, ipc::FrameType::response, 0, stream,
                    ipc::encode_response_head({200, {}}).value());
  ipc::append_cancel(frames, stream, ipc::CancelReason::broker_error);
  peer.send(frames);
  const auto response = client.read();
  EXPECT_EQ(response.status(), "502");
  EXPECT_THAT(response.head, Not(HasSubstr("200")));
}

TEST_F(WorkerTest, ABrowserThatGoesAwayWhileWaitingIsACancel) {
  start_broker();
  start_worker();
  auto peer = [&] {
    auto client = web();
    client.request("GET", "/slow");
    auto accepted = broker_->accept();
    accepted.request();
    return accepted;
  }();  // the web server has closed
  const auto frame = peer.expect(ipc::FrameType::cancel);
  EXPECT_EQ(frame.stream, 1u);
  EXPECT_EQ(ipc::parse_cancel(frame.payload).value(), ipc::CancelReason::browser_gone);
}

TEST_F(WorkerTest, ABrowserThatGoesAwayInTheMiddleOfAnAnswerIsACancel) {
  start_broker();
  start_worker();
  std::optional<BrokerPeer> peer;
  std::uint32_t stream = 0;
  {
    auto client = web();
    client.request("GET", "/blob");
    peer.emplace(broker_->accept());
    stream = peer->request().first;
    std::string frames;
    ipc::append_frame(frames, ipc::FrameType::response, 0, stream,
                      ipc::encode_response_head({200, {}}).value());
    ipc::append_body(frames, stream, "beginning", false);
    peer->send(frames);
    client.read_until(20);
  }
  std::string more;
  ipc::append_body(more, stream, std::string(1000, 'x'), false);
  peer->send(more);
  EXPECT_EQ(peer->expect(ipc::FrameType::cancel).stream, stream);
  // The connection goes on.
  auto client = web();
  client.request("GET", "/next");
  peer->respond(peer->request().first, "fine");
  EXPECT_EQ(client.read().body, "fine");
}

TEST_F(WorkerTest, DataBeyondItsCreditEndsTheConnection) {
  start_broker();
  start_worker({"--broker-wait", "0"});
  auto slow = web();
  slow.request("GET", "/slow");
  auto peer = broker_->accept();
  const auto stream = peer.request().first;
  auto other = web();
  other.request("GET", "/other");
  peer.request();  // its thread reads for both
  std::string frames;
  ipc::append_frame(frames, ipc::FrameType::response, 0, stream,
                    ipc::encode_response_head({200, {}}).value());
  ipc::append_body(frames, stream, std::string(8 * 1024 * 1024, 'x'), false);
  try {
    peer.send(frames);               // nobody reads the answer: no credit comes back
  } catch (const std::exception&) {  // closed in the middle
  }
  EXPECT_EQ(other.read().status(), "503");
  EXPECT_THAT(worker_->wait_log("broker connection lost"), HasSubstr("data"));
  EXPECT_FALSE(slow.read().complete);
}

TEST_F(WorkerTest, ABrokerOfAnotherUserIsNotUsed) {
  start_broker();
  start_worker({"--broker-wait", "0", "--broker-user", "54321"});
  auto client = web();
  client.request("GET", "/");
  EXPECT_EQ(client.read().status(), "503");
  EXPECT_THAT(worker_->wait_log("broker is away"), HasSubstr("not 54321"));
}

TEST_F(WorkerTest, ABrokerOfAnotherVersionIsNotUsed) {
  start_broker();
  start_worker({"--broker-wait", "0"});
  auto client = web();
  client.request("GET", "/");
  BrokerPeer peer(broker_->accept_raw());
  std::string hello;
  ipc::append_hello(hello, "newer");
  hello[ipc::frame_header_bytes] = 2;      // version
  hello[ipc::frame_header_bytes + 2] = 2;  // oldest
  peer.send(hello);
  EXPECT_EQ(client.read().status(), "503");
  EXPECT_THAT(worker_->wait_log("broker is away"), HasSubstr("version"));
}

TEST_F(WorkerTest, SigtermWhileIdleExitsAtOnce) {
  start_broker();
  start_worker({"--threads", "8", "--stop-wait", "300"});
  auto kept = web();
  kept.request("GET", "/", {}, {}, true);
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "1");
  kept.read();  // an idle connection, as nginx keeps them
  worker_->signal(SIGTERM);
  EXPECT_EQ(worker_->wait_exit(10s), 0);
  EXPECT_NE(::access(listen_path().c_str(), F_OK), 0) << "the socket file is left";
}

TEST_F(WorkerTest, SigtermLetsARequestEnd) {
  start_broker();
  start_worker({"--stop-wait", "300"});
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  const auto stream = peer.request().first;
  worker_->signal(SIGTERM);
  worker_->wait_log("stopping");
  peer.respond(stream, "the last");
  EXPECT_EQ(client.read().body, "the last");
  EXPECT_EQ(worker_->wait_exit(10s), 0);
}

TEST_F(WorkerTest, SigtermCutsOffWhatTakesTooLong) {
  start_broker();
  start_worker({"--stop-wait", "0"});
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  peer.request();
  worker_->signal(SIGTERM);
  EXPECT_EQ(worker_->wait_exit(10s), 0);
  worker_->wait_log("requests were cut off");
  EXPECT_NE(::access(listen_path().c_str(), F_OK), 0) << "the socket file is left";
}

TEST_F(WorkerTest, ASocketOnDescriptor0) {
  start_broker();
  const auto listener = listen_unix(listen_path());
  worker_.emplace(std::vector<std::string>{"--broker", broker_path(), "--segment", folder_ / "segment"},
                  listener.get());
  worker_->wait_log("started");
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "inherited");
  EXPECT_EQ(client.read().body, "inherited");
  worker_->signal(SIGUSR1);
  EXPECT_EQ(worker_->wait_exit(10s), 0);
  EXPECT_EQ(::access(listen_path().c_str(), F_OK), 0) << "somebody else's socket file";
}

TEST_F(WorkerTest, ASocketInUseIsNotTaken) {
  start_worker();
  WorkerProcess second({"--broker", broker_path(), "--listen", listen_path()});
  second.wait_log("cannot start");
  EXPECT_EQ(WEXITSTATUS(second.wait_exit()), 1);
}

TEST_F(WorkerTest, AStaleSocketIsReplacedAndItsModeIsRight) {
  {
    const auto dead = listen_unix(listen_path());
  }
  start_worker({"--listen-mode", "0620"});
  struct stat info{};
  ASSERT_EQ(::stat(listen_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0620u);
  web();
}

TEST_F(WorkerTest, ADeadProcessIsStartedAgain) {
  start_broker();
  start_worker({"--processes", "2"});
  const auto line = worker_->wait_log("worker started", 2);
  const auto child = static_cast<pid_t>(std::stol(line.substr(line.find("pid=") + 4)));
  ::kill(child, SIGKILL);
  EXPECT_THAT(worker_->wait_log("worker died"), HasSubstr("signal=9"));
  worker_->wait_log("worker started", 3);
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "alive");
  EXPECT_EQ(client.read().body, "alive");
  worker_->signal(SIGTERM);
  EXPECT_EQ(worker_->wait_exit(10s), 0);
}

TEST_F(WorkerTest, SighupRenewsTheConnection) {
  start_broker();
  start_worker();
  auto client = web();
  client.request("GET", "/");
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "1");
  client.read();
  worker_->signal(SIGHUP);
  EXPECT_TRUE(peer.ended());
  auto next = web();
  next.request("GET", "/");
  auto second = broker_->accept();
  second.respond(second.request().first, "2");
  EXPECT_EQ(next.read().body, "2");
}

TEST_F(WorkerTest, TooLargeBodiesAndHeadsAreRefusedWithoutABroker) {
  start_worker({"--request-bytes-max", "1000"});
  {
    auto client = web();
    auto parameters = basic_parameters("POST", "/jmap/api");
    parameters.emplace_back("CONTENT_LENGTH", "1001");
    client.begin(parameters, false);  // the body never comes
    const auto response = client.read();
    EXPECT_EQ(response.status(), "413");
    EXPECT_THAT(response.body, HasSubstr("urn:ietf:params:jmap:error:limit"));
    EXPECT_THAT(response.body, HasSubstr("maxSizeRequest"));
  }
  {
    auto client = web();
    auto parameters = basic_parameters("POST", "/jmap/upload/a/");
    client.begin(parameters, false);
    client.send_body(std::string(1001, 'x'));  // without a length: counted
    client.end_body();
    const auto response = client.read();
    EXPECT_EQ(response.status(), "413");
    EXPECT_THAT(response.body, HasSubstr("maxSizeUpload"));
  }
  {
    auto client = web();
    client.request("GET", "/", {}, {{"HTTP_COOKIE", std::string(ipc::head_bytes_max, 'c')}});
    EXPECT_EQ(client.read().status(), "431");
  }
  {
    auto client = web();
    client.request("GET", "/", {}, {{"HTTP_COOKIE", "a\nb"}});
    EXPECT_EQ(client.read().status(), "400");
  }
}

TEST_F(WorkerTest, ABodyAtTheLimitPasses) {
  start_broker();
  start_worker({"--request-bytes-max", "1000"});
  auto client = web();
  client.request("POST", "/", std::string(1000, 'x'));
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "ok");
  EXPECT_EQ(client.read().status(), "200");
}

TEST_F(WorkerTest, WhileTheBrokerDrainsRequestsWaitForTheNextOne) {
  start_broker();
  const SystemClock clock;
  store::RecoveryReport report;
  store::SegmentOptions options;
  options.path = folder_ / "segment";
  options.sessions_max = options.accounts_max = options.redirects_max = 64;
  auto segment = store::SegmentWriter::open(options, clock, report);
  ASSERT_TRUE(segment) << segment.error().to_string();
  (*segment)->set_draining(true);
  start_worker({"--broker-wait", "1"});
  // Nothing is sent, and after the wait it's as if there were no broker.
  auto client = web();
  client.request("GET", "/jmap/session");
  const auto refused = client.read();
  EXPECT_EQ(refused.status(), "503");
  EXPECT_THAT(refused.head, HasSubstr("retry-after: "));
  EXPECT_TRUE(broker_->nobody_connects(0ms));
  // It goes on when that is over.
  auto patient = web();
  patient.request("GET", "/jmap/session");
  EXPECT_TRUE(broker_->nobody_connects(100ms));
  (*segment)->set_draining(false);
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "here");
  EXPECT_EQ(patient.read().body, "here");
}

TEST_F(WorkerTest, DeadSessionsAreRefusedBeforeTheirBodyIsRead) {
  start_broker();
  const SystemClock clock;
  SystemRandom random;
  store::RecoveryReport report;
  store::SegmentOptions options;
  options.path = folder_ / "segment";
  options.sessions_max = 64;
  options.accounts_max = 64;
  options.redirects_max = 64;
  auto segment = store::SegmentWriter::open(options, clock, report);
  ASSERT_TRUE(segment) << segment.error().to_string();
  const auto live = store::make_token(random), unknown = store::make_token(random);
  store::SessionRecord record;
  record.token_hash = store::hash_token(live.expose()).value();
  record.login = "anna";
  record.created = record.last_used = unix_seconds(clock.wall());
  record.expires = record.created + 3600;
  record.idle_seconds = 3600;
  ASSERT_TRUE((*segment)->put_session(record));
  start_worker({"--log-level", "trace"});

  auto with_body = basic_parameters("POST", "/jmap/api");
  with_body.emplace_back("CONTENT_LENGTH", "100000");
  with_body.emplace_back("HTTP_AUTHORIZATION", "Bearer " + std::string(unknown.expose()));
  auto dead = web();
  dead.begin(with_body, false);  // the body never comes
  const auto refused = dead.read();
  EXPECT_EQ(refused.status(), "401");
  EXPECT_THAT(refused.head, HasSubstr("www-authenticate: Bearer"));
  EXPECT_THAT(refused.head, HasSubstr("application/problem+json"));

  auto dead_cookie = web();
  dead_cookie.request("GET", "/jmap/session", {},
                      {{"HTTP_COOKIE", "postern=" + std::string(unknown.expose())}});
  EXPECT_EQ(dead_cookie.read().status(), "401");

  auto alive = web();
  alive.request("GET", "/jmap/session", {},
                {{"HTTP_COOKIE", "__Host-postern=" + std::string(live.expose())}});
  auto peer = broker_->accept();
  peer.respond(peer.request().first, "in");
  EXPECT_EQ(alive.read().body, "in");

  (*segment)->end_session(record.token_hash);
  auto ended = web();
  ended.request("GET", "/jmap/session", {},
                {{"HTTP_COOKIE", "__Host-postern=" + std::string(live.expose())}});
  EXPECT_EQ(ended.read().status(), "401");
  EXPECT_THAT(worker_->log(), Not(HasSubstr(std::string(live.expose()))));
  EXPECT_THAT(worker_->log(), Not(HasSubstr(std::string(unknown.expose()))));
}

TEST_F(WorkerTest, WrongOptionsAreExitStatus2) {
  for (const char* wrong :
       {"--threads=0", "--listen-mode=9", "--prefix=mail", "--no-such", "--log-level=loud", "--threads=513",
        "--processes=257", "--cookie-name=a b", "--broker-user=no such user"}) {
    WorkerProcess process({wrong});
    EXPECT_EQ(WEXITSTATUS(process.wait_exit()), 2) << wrong;
  }
  WorkerProcess nowhere({});
  EXPECT_EQ(WEXITSTATUS(nowhere.wait_exit()), 1) << "without a socket";
}

}  // namespace
}  // namespace postern::worker::test
