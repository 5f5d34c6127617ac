// From a web request to an answer: routes, authentication, sessions (docs/architecture.md, "Life of a request").
//
// Runs on the loop of the worker connection; what concerns an account runs on its shard.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "broker/event_parameters.hpp"
#include "broker/events.hpp"
#include "broker/http.hpp"
#include "broker/ipc_server.hpp"
#include "broker/shard.hpp"
#include "broker/shares.hpp"
#include "broker/subscriptions.hpp"
#include "postern/limits/tab.hpp"

namespace postern::broker {

struct RequestCounters {
  std::uint64_t sign_ins = 0, sign_in_failures = 0, sign_outs = 0, api_requests = 0, downloads = 0,
                uploads = 0;
  std::uint64_t sign_ins_throttled = 0;  // refused without asking the IMAP server
  std::uint64_t socket_requests = 0;     // API requests over WebSockets, which api_requests counts as well
  std::uint64_t answers_2xx = 0, answers_4xx = 0, answers_5xx = 0, stale_answers = 0;
};

class Router {
 public:
  Router(io::Loop& loop, std::shared_ptr<const Config> config, std::vector<Shard*> shards,
         store::SegmentWriter& segment, blobs::UploadStore& uploads);

  // Answers one request, whatever comes.
  io::Task<> handle(std::shared_ptr<RequestStream> stream);
  void set_config(std::shared_ptr<const Config> config);
  const RequestCounters& counters() const { return counters_; }
  // Where event streams are opened, and changes are told; nullptr: nowhere.
  void set_events(EventService* events) { events_ = events; }
  // Push subscriptions; nullptr: there are none.
  void set_subscriptions(Subscriptions* subscriptions) { subscriptions_ = subscriptions; }
  // Before a stop: requests over WebSockets are refused from now on, and how many still run.
  void refuse_sockets() { refuses_sockets_ = true; }
  std::size_t socket_requests() const { return *socket_requests_; }
  // A request to the broker's own event streams: one that a worker has let in, or one that shows its own credentials.
  io::Task<push::StreamAnswer> open_stream(push::StreamRequest request);
  Shard& shard_of(store::AccountKey key) { return *shards_[key % shards_.size()]; }
  // As Postern knows it: in lower case and with a domain, where that is configured.
  std::string canonical_login(std::string_view login) const;

 private:
  // Whom a request speaks for.
  struct Identity {
    AccountPtr account;
    store::AccountKey key = 0;
    std::string login;
    std::optional<store::TokenHash> session;
    bool by_cookie = false, by_web_server = false;
    Secret token;                 // the session's, where there is one
    std::string credential = {};  // what push subscriptions know it by; empty: there are none
  };
  // What a request is about, and what was found out about it.
  struct Exchange {
    std::shared_ptr<RequestStream> stream;
    Target target;
    std::string base_url, client_address;
    bool is_message = false;  // of a WebSocket, whose handshake's head it has
    const ipc::RequestHead& head() const { return stream->head(); }
  };
  using Answer = jmap::ApiResponse;
  using Authenticated = std::expected<Identity, Answer>;

  io::Task<> route(Exchange exchange);
  // `secret`: the answer holds a token, and its copies are wiped.
  io::Task<> answer(Exchange& exchange, Answer answer, ipc::Fields more = {}, bool secret = false);
  struct Outcome {
    Answer answer;
    bool stale = false, refused = false;
    std::shared_ptr<limits::Tab> tab = nullptr;  // until the answer is handed over
  };
  using Bodies = Shares<store::AccountKey>;
  // `octets`: how large it is, where that is known.
  std::expected<Bodies::Share, Answer> room_for_body(const Exchange& exchange, store::AccountKey account,
                                                     std::optional<std::uint64_t> octets);
  io::Task<Outcome> answer_api(Exchange& exchange, Identity& identity, std::string body);
  io::Task<Result<Outcome>> run_api(Exchange& exchange, const Identity& identity, std::string body);
  static io::Task<> labelled(io::Loop& loop, const Exchange& exchange, io::Task<> task);

  // --- router_download.cpp ---
  struct Download;
  static io::Task<> begin_download(mail::Account& account, std::string request, Download& download,
                                   Result<>& done);
  io::Task<Result<>> open_download(Exchange& exchange, const Identity& identity,
                                   std::shared_ptr<Download> download);
  void release(const Identity& identity, std::shared_ptr<Download> download);
  Answer download_error(const Error& error) const;
  io::Task<> download(Exchange& exchange);
  io::Task<> stream_blob(Exchange& exchange, Identity identity, std::shared_ptr<Download> download);
  io::Task<> send_pieces(Exchange& exchange, const Identity& identity, std::shared_ptr<Download> download);

  // --- router_upload.cpp ---
  io::Task<> upload(Exchange& exchange);
  io::Task<> receive(Exchange& exchange, const Identity& identity);
  Answer upload_error(const Error& error, const limits::Meter& meter, std::uint64_t own,
                      std::uint64_t asked) const;

  // --- router_auth.cpp ---
  io::Task<Authenticated> authenticate(Exchange& exchange);
  io::Task<Authenticated> identify(Exchange& exchange);
  io::Task<Authenticated> by_session(Exchange& exchange, Secret token, bool by_cookie);
  io::Task<Authenticated> by_credentials(Exchange& exchange, session::Credentials credentials);
  io::Task<Authenticated> sign_in(Exchange& exchange, session::Credentials credentials);
  io::Task<> login(Exchange& exchange);
  io::Task<> logout(Exchange& exchange);
  // In the segment, and its event streams.
  void end_session(store::AccountKey account, const store::TokenHash& hash);
  Answer sign_in_error(const Error& error);
  std::optional<Answer> forged(const Exchange& exchange) const;
  std::optional<Answer> wrong_origin(const Exchange& exchange) const;
  std::optional<Answer> forged_beside_web_server(const Exchange& exchange) const;
  std::optional<Secret> shown_token(const Exchange& exchange) const;
  // What a session has sealed: nullopt, and the session's end, where it isn't that account's.
  std::optional<session::Credentials> unsealed(const store::SessionRecord& record, const Secret& token);
  void reseal_shown_session(const Exchange& exchange, store::AccountKey key,
                            const session::Credentials& fresh);
  std::string cookie(std::string_view value, std::int64_t max_age) const;

  // --- router_events.cpp ---
  static std::expected<EventParameters, Answer> event_parameters(const Exchange& exchange);
  std::optional<Answer> foreign_stream(const Exchange& exchange) const;
  static push::ListenerOptions listener_options(const EventParameters& parameters, const EventOwner& owner);
  io::Task<> events(Exchange& exchange);
  io::Task<> nchan_stream(Exchange& exchange, EventParameters parameters, EventOwner owner);
  push::StreamRefusal refusal_of(const Exchange& exchange, Answer answer);
  ipc::Fields challenges(const Exchange& exchange, const Answer& answer) const;
  // --- router_socket.cpp ---
  class Socket;
  io::Task<push::StreamAnswer> open_socket(Exchange exchange);
  Exchange exchange_of(std::shared_ptr<RequestStream> stream) const;

  // --- router_limits.cpp ---
  static io::Task<Result<limits::Reservation>> grant_download(mail::Account& account, mail::BlobKey blob,
                                                              std::optional<std::uint64_t> files,
                                                              std::shared_ptr<limits::Tab> tab);
  static io::Task<Result<std::uint64_t>> measure(mail::Account& account, mail::BlobKey blob,
                                                 mail::Account::BlobOctets octets, limits::Tab& tab);
  // Granted as a whole, and counted as it is read. For HEAD nothing of a file goes out.
  static io::Task<Result<std::unique_ptr<mail::BlobReader>>> open_counted(mail::Account& account,
                                                                          mail::BlobKey blob,
                                                                          std::optional<ByteRange> range,
                                                                          std::shared_ptr<limits::Tab> tab,
                                                                          bool head_only);
  Answer over_limit(const Error& error) const;
  Answer over_limit(const limits::Refusal& refusal, std::uint16_t status = 429) const;
  static Answer too_many_requests(const std::string& detail = {});
  // One of those that a person may have under way; else the answer.
  std::expected<Shares<store::AccountKey>::Share, Answer> enter(const Identity& identity);
  class SignInTry;
  // sign_in() behind the throttle.
  io::Task<Authenticated> throttled_sign_in(Exchange& exchange, session::Credentials credentials);
  Answer sign_in_refused(const std::string& login, const Exchange& exchange, Duration wait);
  void log_sign_in_failure(const std::string& login, const Exchange& exchange);
  std::optional<Answer> too_many_sessions(const Identity& identity);

  // --- router.cpp ---
  io::Task<> session_resource(Exchange& exchange);
  std::string application_server_key() const;
  jmap::SessionInfo session_info(const Exchange& exchange, const Identity& identity,
                                 const jmap::AccountFeatures& features) const;
  io::Task<> api(Exchange& exchange);
  io::Task<bool> try_own_credentials(Exchange& exchange, Identity& identity);
  io::Task<> refused_by_server(Identity& identity);

  io::Loop& loop_;
  std::shared_ptr<const Config> config_;
  std::vector<Shard*> shards_;
  store::SegmentWriter& segment_;
  EventService* events_ = nullptr;
  Subscriptions* subscriptions_ = nullptr;
  blobs::UploadStore& uploads_;
  RequestCounters counters_;
  Bodies bodies_;
  Shares<store::AccountKey> in_flight_;  // requests that keep a worker's thread
  bool refuses_sockets_ = false;
  std::shared_ptr<std::size_t> socket_requests_ = std::make_shared<std::size_t>(0);
  // Tries to sign in may be on their way when the router goes.
  std::shared_ptr<limits::SignInThrottle> throttle_;
  Shares<std::string> delayed_sign_ins_;  // by network
  std::string throttle_key_;              // random, of this process
};

}  // namespace postern::broker
