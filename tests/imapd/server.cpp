// Listeners, counts, rules; see server.hpp and test_imapd.hpp.
#include "server.hpp"

#include <algorithm>
#include <stdexcept>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "connection.hpp"

namespace postern::testimapd {

using boost::asio::ip::tcp;

namespace {

constexpr std::chrono::milliseconds accept_retry(50);  // out of file descriptors, mostly

template <class Type, void (*release)(Type*)>
struct Free {
  void operator()(Type* object) const { release(object); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, FreeBio>;

Bio bio_of(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

}  // namespace

struct Server::Listener {
  tcp::acceptor acceptor;
  boost::asio::steady_timer retry;
  bool implicit_tls;
  std::size_t index;
};

Server::Server(Options options)
    : options_(std::move(options)), store_(options_), latency_ms_(options_.latency_ms) {
  if (options_.capabilities.empty()) options_.capabilities = capabilities_of("full");
  for (std::string& capability : options_.capabilities) {
    bool hidden = capability.starts_with('!');  // accepted, not advertised
    capabilities_.insert(upper(std::string_view(capability).substr(hidden ? 1 : 0)));
  }
  if (!options_.tls_certificate_pem.empty()) make_tls();
  bool starttls = tls_ != nullptr;
  if (!options_.capabilities_before_login.empty())
    starttls = starttls && std::any_of(options_.capabilities_before_login.begin(),
                                       options_.capabilities_before_login.end(),
                                       [](const std::string& name) { return iequals(name, "STARTTLS"); });
  if (starttls) capabilities_.insert("STARTTLS");
}

Server::~Server() { stop(); }

void Server::make_tls() {
  tls_.reset(SSL_CTX_new(TLS_server_method()));
  auto fail = [](const char* what) { throw std::runtime_error(fmt::format("testimapd: {}", what)); };
  if (!tls_) fail("SSL_CTX_new");
  auto certificates = bio_of(options_.tls_certificate_pem);
  Certificate leaf(PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(tls_.get(), leaf.get()) != 1) fail("no usable certificate");
  while (X509* next = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr))
    SSL_CTX_add_extra_chain_cert(tls_.get(), next);  // takes it over
  ERR_clear_error();
  auto key_bio = bio_of(options_.tls_key_pem);
  Key key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(tls_.get(), key.get()) != 1) fail("no usable key");
  SSL_CTX_set_mode(tls_.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(tls_.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(tls_.get(), SSL_SESS_CACHE_OFF);  // tickets carry resumption
  static constexpr unsigned char context_id[] = "testimapd";
  SSL_CTX_set_session_id_context(tls_.get(), context_id, sizeof context_id - 1);
}

void Server::start() {
  if (thread_.joinable()) return;
  context_.restart();
  listeners_.clear();
  auto ports = std::exchange(ports_, {});
  for (std::size_t i = 0; i < options_.listen.size(); ++i) {
    const Listen& listen = options_.listen[i];
    auto listener = std::make_unique<Listener>(
        Listener{tcp::acceptor(context_), boost::asio::steady_timer(context_), listen.implicit_tls, i});
    // A server that is started again comes back where it was.
    auto port = listen.port == 0 && i < ports.size() ? ports[i] : listen.port;
    tcp::endpoint endpoint(boost::asio::ip::make_address(listen.address), port);
    listener->acceptor.open(endpoint.protocol());
    listener->acceptor.set_option(tcp::acceptor::reuse_address(true));
    listener->acceptor.bind(endpoint);
    listener->acceptor.listen(4096);
    ports_.push_back(listener->acceptor.local_endpoint().port());
    listeners_.push_back(std::move(listener));
  }
  work_.emplace(context_.get_executor());
  for (auto& listener : listeners_) accept(*listener);
  thread_ = std::thread([this] { context_.run(); });
}

void Server::stop() {
  if (!thread_.joinable()) return;
  boost::asio::post(context_, [this] {
    for (auto& listener : listeners_) {
      boost::system::error_code ignored;
      listener->acceptor.close(ignored);
      listener->retry.cancel();
    }
    for (const auto& connection : std::set(connections_)) connection->close();
    work_.reset();  // run() ends with the last handler
  });
  thread_.join();
  connections_.clear();
}

void Server::accept(Listener& listener) {
  listener.acceptor.async_accept([this, &listener](boost::system::error_code error, tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted || !listener.acceptor.is_open()) return;
    if (error) {
      listener.retry.expires_after(accept_retry);
      listener.retry.async_wait([this, &listener](boost::system::error_code stopped) {
        if (!stopped && listener.acceptor.is_open()) accept(listener);
      });
      return;
    }
    if (refusing_ || connections_.size() >= options_.connections_max) {
      boost::system::error_code ignored;
      socket.set_option(tcp::socket::linger(true, 0), ignored);
      socket.close(ignored);
    } else {
      auto connection = std::make_shared<Connection>(*this, std::move(socket), next_connection_++,
                                                     listener.implicit_tls && tls_ != nullptr);
      connections_.insert(connection);
      connection->start();
    }
    accept(listener);
  });
}

bool Server::drops_literal(std::uint64_t octets) {
  if (!drop_literal_ || octets < *drop_literal_) return false;
  drop_literal_.reset();
  return true;
}

void Server::closed(Connection& connection) {
  boost::asio::post(context_, [this, gone = connection.shared_from_this()] { connections_.erase(gone); });
  changed();
}

std::string Server::capability_text(bool logged_in, bool tls_up) const {
  std::string out;
  auto add = [&](std::string_view name) {
    if (name.starts_with('!')) return;
    if (!out.empty()) out += ' ';
    out += name;
  };
  bool plain = options_.plain_text_login || tls_up;
  if (!logged_in && !options_.capabilities_before_login.empty()) {
    for (const std::string& name : options_.capabilities_before_login)
      if (!iequals(name, "STARTTLS") || !tls_up) add(name);
    return out;
  }
  static const std::set<std::string> early{"IMAP4REV1", "IMAP4REV2", "SASL-IR", "LITERAL+",       "LITERAL-",
                                           "ID",        "ENABLE",    "IDLE",    "LOGIN-REFERRALS"};
  for (const std::string& name : options_.capabilities) {
    bool mechanism = name.starts_with("AUTH=");
    if (logged_in ? !mechanism : mechanism ? plain : early.contains(upper(name))) add(name);
  }
  if (!logged_in && offers("STARTTLS") && !tls_up) add("STARTTLS");
  if (!logged_in && !plain) add("LOGINDISABLED");
  return out;
}

const std::string* Server::password_override(const std::string& user) const {
  auto found = passwords_.find(user);
  return found == passwords_.end() ? nullptr : &found->second;
}

const std::string* Server::token_of(const std::string& user) const {
  auto changed = tokens_.find(user);
  if (changed != tokens_.end()) return &changed->second;
  auto found = options_.oauth_tokens.find(user);
  return found == options_.oauth_tokens.end() ? nullptr : &found->second;
}

void Server::count_command(Counts* user_counts, const std::string& name) {
  ++total_.commands[name];
  if (user_counts != nullptr) ++user_counts->commands[name];
}

void Server::log_command(LogEntry entry) {
  log_.push_back(std::move(entry));
  while (log_.size() > options_.log_entries_max) log_.pop_front();
}

Counts Server::counts_of(std::string_view user) {
  auto found = by_user_.find(std::string(user));
  if (found == by_user_.end()) return {};
  Counts counts = found->second;
  counts.connections_open = store_.find_user(user)->sessions.size();
  return counts;
}

void Server::reset() {
  auto clear = [](Counts& counts) {
    auto open = counts.connections_open;
    counts = {};
    counts.connections_open = open;
  };
  clear(total_);
  for (auto& [name, counts] : by_user_)  // sessions point to them
    clear(counts);
  log_.clear();
}

void Server::changed() {
  for (Waiter* waiter : waiters_)
    if (!waiter->told && (*waiter->predicate)(total_)) {
      waiter->told = true;
      waiter->done->set_value();
    }
}

bool Server::wait_for(const std::function<bool(const Counts&)>& predicate,
                      std::chrono::milliseconds timeout) {
  std::promise<void> done;
  auto future = done.get_future();
  Waiter waiter{&predicate, &done, false};
  call([&] {
    waiters_.push_back(&waiter);
    changed();
  });
  bool reached = future.wait_for(timeout) == std::future_status::ready;
  call([&] { std::erase(waiters_, &waiter); });
  return reached || waiter.told;
}

std::vector<Rule> Server::take_rules(std::string_view event, std::string_view user) {
  std::vector<Rule> fired;
  for (Rule& rule : rules_) {
    bool concerned = rule.event == event || (rule.event == "*" && event != "connect");
    if (!concerned || (!rule.user.empty() && rule.user != user)) continue;
    ++rule.seen;
    if (rule.seen >= rule.nth && (rule.times == 0 || rule.seen < rule.nth + rule.times))
      fired.push_back(rule);
  }
  std::erase_if(rules_,
                [](const Rule& rule) { return rule.times != 0 && rule.seen >= rule.nth + rule.times - 1; });
  return fired;
}

}  // namespace postern::testimapd
