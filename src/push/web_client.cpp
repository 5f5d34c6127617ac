// One thread drives libcurl's multi interface; a mutex guards what goes in, and the loop's queue takes what comes out.
#include "postern/push/web_client.hpp"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <curl/curl.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <unordered_map>

namespace postern::push {
namespace {

namespace ip = boost::asio::ip;

constexpr int poll_ms = 1'000;
constexpr long idle_connections_max = 32;

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::optional<ip::address> address_in(const sockaddr* address) {
  if (address == nullptr) return std::nullopt;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    return ip::address_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  sockaddr_in6 v6;
  std::memcpy(&v6, address, sizeof v6);
  ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), v6.sin6_addr.s6_addr, bytes.size());
  ip::address_v6 found(bytes);
  if (found.is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, found);
  return found;
}

// Firewalls seldom stand between a machine and its own public addresses.
bool is_own_address(const ip::address& address) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return false;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  for (const auto* at = list; at != nullptr; at = at->ifa_next)
    if (const auto own = address_in(at->ifa_addr); own && *own == address) return true;
  return false;
}

// One request. Lives on the thread from start to end.
struct Exchange {
  std::string host;
  WebRequest request;
  WebClient::OnAnswer on_answer;
  const TargetPolicy* policy = nullptr;
  std::size_t received = 0;
  bool refused = false, connected = false;  // an address by the policy; any address
  std::unique_ptr<curl_slist, FreeList> fields;
  std::unique_ptr<CURL, FreeEasy> easy;
};

// libcurl asks for a socket to this very address.
curl_socket_t open_socket(void* exchange, curlsocktype, curl_sockaddr* to) {
  auto& self = *static_cast<Exchange*>(exchange);
  const auto address = address_in(&to->addr);
  const bool allowed = address && (self.policy->allows_inside(self.host, *address) ||
                                   (is_public_address(*address) && !is_own_address(*address)));
  if (!allowed) {
    self.refused = true;
    return CURL_SOCKET_BAD;
  }
  const int fd = ::socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
  self.connected = self.connected || fd >= 0;
  return fd;
}

std::size_t take_octets(char*, std::size_t size, std::size_t count, void* exchange) {
  auto& self = *static_cast<Exchange*>(exchange);
  self.received += size * count;
  return self.received > web_answer_bytes_max ? 0 : size * count;
}

template <typename T>
void set(CURL* easy, CURLoption option, T value) {
  if (curl_easy_setopt(easy, option, value) != CURLE_OK)
    throw std::runtime_error("libcurl refuses option " + std::to_string(static_cast<int>(option)));
}

long milliseconds(Duration duration) {
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

struct WebClient::State {
  State(io::Loop& l, WebClientOptions o) : loop(l), options(std::move(o)), multi(curl_multi_init()) {
    if (!multi) throw std::runtime_error("libcurl can't be set up");
  }
  io::Loop& loop;
  const WebClientOptions options;
  const std::unique_ptr<CURLM, FreeMulti> multi;
  std::thread thread;
  std::mutex mutex;  // guards what follows
  std::deque<std::unique_ptr<Exchange>> waiting;
  std::size_t requests = 0;
  bool stopping = false;
  // The thread's own.
  std::unordered_map<CURL*, std::unique_ptr<Exchange>> under_way;
  std::map<std::string, std::size_t> of_host;
  std::weak_ptr<State> self;

  void run();
  bool start_some();
  void start(std::unique_ptr<Exchange> exchange);
  void set_options(Exchange& exchange) const;
  void end(CURL* easy, CURLcode result);
  void answer(Exchange& exchange, WebAnswer answer);
};

void WebClient::State::run() {
  // Signals are others' business; with CURLOPT_NOSIGNAL libcurl leaves SIGPIPE as it is.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (start_some()) {
    int running = 0;
    curl_multi_perform(multi.get(), &running);
    const auto before = under_way.size();
    int left = 0;
    while (const auto* message = curl_multi_info_read(multi.get(), &left))
      if (message->msg == CURLMSG_DONE) end(message->easy_handle, message->data.result);
    // Where one has ended, another one may begin.
    if (under_way.size() == before) curl_multi_poll(multi.get(), nullptr, 0, poll_ms, nullptr);
  }
  for (auto& [easy, exchange] : under_way) curl_multi_remove_handle(multi.get(), easy);
  under_way.clear();
}

// False: it is over.
bool WebClient::State::start_some() {
  std::vector<std::unique_ptr<Exchange>> chosen;
  {
    const std::lock_guard lock(mutex);
    if (stopping) return false;
    for (auto at = waiting.begin(); at != waiting.end();) {
      if (under_way.size() + chosen.size() >= options.under_way_max) break;
      auto& count = of_host[(*at)->host];
      if (count >= options.under_way_of_host_max) {
        ++at;
        continue;
      }
      ++count;
      chosen.push_back(std::move(*at));
      at = waiting.erase(at);
    }
  }
  for (auto& exchange : chosen) start(std::move(exchange));
  return true;
}

void WebClient::State::set_options(Exchange& exchange) const {
  auto* easy = exchange.easy.get();
  for (const auto& field : exchange.request.fields) {
    auto* longer = curl_slist_append(exchange.fields.get(), field.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    (void)exchange.fields.release();
    exchange.fields.reset(longer);
  }
  set(easy, CURLOPT_URL, std::string(exchange.request.url->expose()).c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "https");
  set(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_PROXY, "");
  set(easy, CURLOPT_NOPROXY, "*");
  set(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options.ca_file.empty()) set(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_QUICK_EXIT, 1L);  // a resolver that hangs holds up nobody
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options.connect_timeout));
  set(easy, CURLOPT_TIMEOUT_MS, milliseconds(options.timeout));
  set(easy, CURLOPT_HTTPHEADER, exchange.fields.get());
  set(easy, CURLOPT_USERAGENT, "Postern");
  set(easy, CURLOPT_POST, 1L);
  set(easy, CURLOPT_POSTFIELDS, exchange.request.body.data());
  set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(exchange.request.body.size()));
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(&exchange));
  set(easy, CURLOPT_WRITEFUNCTION, &take_octets);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&exchange));
  set(easy, CURLOPT_HEADERFUNCTION, &take_octets);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&exchange));
}

void WebClient::State::start(std::unique_ptr<Exchange> exchange) {
  exchange->policy = &options.policy;
  exchange->easy.reset(curl_easy_init());
  auto* easy = exchange->easy.get();
  try {
    if (easy == nullptr) throw std::runtime_error("no memory");
    set_options(*exchange);
    if (curl_multi_add_handle(multi.get(), easy) != CURLM_OK)
      throw std::runtime_error("libcurl refuses a handle");
  } catch (const std::exception& error) {
    answer(*exchange, {WebAnswer::Kind::unreachable, 0, std::nullopt, error.what()});
    return;
  }
  under_way.emplace(easy, std::move(exchange));
}

void WebClient::State::end(CURL* easy, CURLcode result) {
  curl_multi_remove_handle(multi.get(), easy);
  const auto node = under_way.extract(easy);
  auto& exchange = *node.mapped();
  WebAnswer told;
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (result == CURLE_OK || (status > 0 && exchange.received > web_answer_bytes_max)) {
    told.kind = WebAnswer::Kind::answered;
    told.status = static_cast<unsigned>(status);
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
      told.retry_after = std::chrono::seconds(std::min<curl_off_t>(seconds, 7 * 86'400));
  } else {
    curl_off_t sent = 0;
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    long request_bytes = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    told.kind = exchange.refused && !exchange.connected ? WebAnswer::Kind::forbidden
                : sent > 0 || request_bytes > 0         ? WebAnswer::Kind::lost
                                                        : WebAnswer::Kind::unreachable;
    told.error = exchange.host + ": " + curl_easy_strerror(result);
  }
  answer(exchange, std::move(told));
}

void WebClient::State::answer(Exchange& exchange, WebAnswer told) {
  if (const auto count = of_host.find(exchange.host); count != of_host.end() && --count->second == 0)
    of_host.erase(count);
  {
    const std::lock_guard lock(mutex);
    --requests;
  }
  loop.post([weak = self, on_answer = std::move(exchange.on_answer), told = std::move(told)] {
    if (!weak.expired()) on_answer(told);
  });
}

WebClient::WebClient(io::Loop& loop, WebClientOptions options) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw std::runtime_error("libcurl can't be set up");
  state_ = std::make_shared<State>(loop, std::move(options));
  state_->self = state_;
  curl_multi_setopt(state_->multi.get(), CURLMOPT_MAXCONNECTS, idle_connections_max);
  state_->thread = std::thread([raw = state_.get()] { raw->run(); });
}

WebClient::~WebClient() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  curl_multi_wakeup(state_->multi.get());
  state_->thread.join();
  state_.reset();
  curl_global_cleanup();
}

bool WebClient::send(WebRequest request, OnAnswer on_answer) {
  const auto url = parse_push_url(request.url->expose());
  if (!url) return false;
  auto exchange = std::make_unique<Exchange>();
  exchange->host = url->host;
  exchange->request = std::move(request);
  exchange->on_answer = std::move(on_answer);
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->requests >= state_->options.requests_max) return false;
    ++state_->requests;
    state_->waiting.push_back(std::move(exchange));
  }
  curl_multi_wakeup(state_->multi.get());
  return true;
}

}  // namespace postern::push
