// Sends push messages to services on the Internet: POST over https, by libcurl, on a thread of its own.
//
// send() never waits, resolving included; answers come back to the loop that the client belongs to. The thread owns
// libcurl's handles. Certificates are verified, redirects are not followed, no proxy is used, and whatever address a
// name resolves to, the policy is asked about it just before it is connected to. Bounds: WebClientOptions,
// web_answer_bytes_max.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postern/base/secret.hpp"
#include "postern/io/loop.hpp"
#include "postern/push/target_policy.hpp"

namespace postern::push {

inline constexpr std::size_t web_answer_bytes_max =
    64 * 1024;  // of an answer's head and body, which nobody reads

struct WebClientOptions {
  TargetPolicy policy;
  std::string ca_file;  // empty: the system's
  Duration connect_timeout = std::chrono::seconds(10), timeout = std::chrono::seconds(30);
  std::size_t requests_max = 10'000;  // that wait or are under way
  std::size_t under_way_max = 64;     // at a time
  std::size_t under_way_of_host_max = 8;
};

struct WebRequest {
  std::shared_ptr<const Secret> url;  // which parse_push_url() takes; it is as good as a credential
  std::vector<std::string> fields;    // "TTL: 60"
  std::string body;
};

struct WebAnswer {
  enum class Kind : std::uint8_t {
    answered,     // `status`
    forbidden,    // every address of the host is inside
    unreachable,  // nothing was sent
    lost,         // it may have been received, and no answer came
  };
  Kind kind = Kind::unreachable;
  unsigned status = 0;
  std::optional<Duration> retry_after;
  std::string error;  // for the log; holds no part of the URL but the host
};

class WebClient {
 public:
  using OnAnswer = std::function<void(WebAnswer)>;
  // `loop` outlives it.
  WebClient(io::Loop& loop, WebClientOptions options);
  ~WebClient();  // what is under way is given up, and not answered
  WebClient(const WebClient&) = delete;
  WebClient& operator=(const WebClient&) = delete;

  // `on_answer` is called on the loop. False: too many wait, and nothing is sent.
  bool send(WebRequest request, OnAnswer on_answer);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace postern::push
