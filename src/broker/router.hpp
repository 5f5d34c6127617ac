// From a web request to an answer: routes, authentication, sessions (docs/architecture.md, "Life of a request").
//
// Runs on the loop of the worker connection; what concerns an account runs on its shard.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "broker/http.hpp"
#include "broker/ipc_server.hpp"
#include "broker/shard.hpp"

namespace postern::broker {

struct RequestCounters {
  std::uint64_t sign_ins = 0, sign_in_failures = 0, sign_outs = 0, api_requests = 0, downloads = 0;
  std::uint64_t answers_2xx = 0, answers_4xx = 0, answers_5xx = 0, stale_answers = 0;
};

class Router {
 public:
  Router(io::Loop& loop, std::shared_ptr<const Config> config, std::vector<Shard*> shards,
         store::SegmentWriter& segment);

  // Answers one request, whatever comes.
  io::Task<> handle(std::shared_ptr<RequestStream> stream);
  void set_config(std::shared_ptr<const Config> config) { config_ = std::move(config); }
  const RequestCounters& counters() const { return counters_; }
  Shard& shard_of(store::AccountKey key) { return *shards_[key % shards_.size()]; }

 private:
  // Whom a request speaks for.
  struct Identity {
    AccountPtr account;
    store::AccountKey key = 0;
    std::string login;
    std::optional<store::TokenHash> session;
    bool by_cookie = false, by_web_server = false;
    session::Credentials own;  // of the session, where there is one
  };
  // What a request is about, and what was found out about it.
  struct Exchange {
    std::shared_ptr<RequestStream> stream;
    Target target;
    std::string base_url, client_address;
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
  };
  io::Task<Result<Outcome>> run_api(Exchange& exchange, const Identity& identity, std::string body);
  struct Download;
  static io::Task<> begin_download(mail::Account& account, const mail::BlobKey& blob, Download& download,
                                   Result<>& done);
  io::Task<Result<>> open_download(Exchange& exchange, const Identity& identity, const mail::BlobKey& blob,
                                   std::shared_ptr<Download> download);
  static io::Task<> labelled(io::Loop& loop, const Exchange& exchange, io::Task<> task);
  void release(const Identity& identity, std::shared_ptr<Download> download);
  Answer download_error(const Error& error) const;

  // --- router_auth.cpp ---
  io::Task<Authenticated> authenticate(Exchange& exchange);
  io::Task<Authenticated> by_session(Exchange& exchange, Secret token, bool by_cookie);
  io::Task<Authenticated> by_credentials(Exchange& exchange, session::Credentials credentials);
  io::Task<> login(Exchange& exchange);
  io::Task<> logout(Exchange& exchange);
  Answer sign_in_error(const Error& error);
  std::string canonical_login(std::string_view login) const;
  std::optional<Answer> forged(const Exchange& exchange) const;
  std::optional<Answer> forged_beside_web_server(const Exchange& exchange) const;
  std::optional<Secret> shown_token(const Exchange& exchange) const;
  void reseal_shown_session(const Exchange& exchange, store::AccountKey key,
                            const session::Credentials& fresh);
  std::string cookie(std::string_view value, std::int64_t max_age) const;

  // --- router.cpp ---
  io::Task<> session_resource(Exchange& exchange);
  io::Task<> api(Exchange& exchange);
  io::Task<> download(Exchange& exchange);
  io::Task<> stream_blob(Exchange& exchange, Identity identity, mail::BlobKey blob, std::string name,
                         std::string type);
  io::Task<bool> try_own_credentials(Exchange& exchange, Identity& identity);
  io::Task<> refused_by_server(Identity& identity);

  io::Loop& loop_;
  std::shared_ptr<const Config> config_;
  std::vector<Shard*> shards_;
  store::SegmentWriter& segment_;
  RequestCounters counters_;
};

}  // namespace postern::broker
