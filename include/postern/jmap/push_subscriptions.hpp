// The port through which PushSubscription/get and /set (RFC 8620, 7.2) reach what is kept and sent elsewhere.
//
// One object a request: it sees those subscriptions alone that were made with the same credentials. Used on the
// account's loop.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/io/task.hpp"
#include "postern/mail/mailstore.hpp"
#include "postern/push/web_push.hpp"

namespace postern::jmap {

inline constexpr std::size_t device_client_id_bytes_max = 255;
inline constexpr std::size_t subscription_types_max = 64;            // names in `types`
inline constexpr std::size_t subscription_type_name_bytes_max = 64;  // of each

using SubscriptionTypes = std::optional<std::vector<std::string>>;  // nullopt: all

struct PushSubscriptionInfo {
  std::string id, device_client_id;
  std::optional<std::string> verification_code;  // once its client has shown it
  std::optional<std::int64_t> expires;           // seconds since 1970
  SubscriptionTypes types;
};

struct NewPushSubscription {
  std::string device_client_id;
  std::shared_ptr<const Secret> url;  // which parse_push_url() takes
  std::optional<push::ClientKeys> keys;
  std::optional<std::int64_t> expires;
  SubscriptionTypes types;
};

struct PushSubscriptionPatch {
  std::optional<std::string> verification_code;
  std::optional<std::optional<std::int64_t>> expires;
  std::optional<SubscriptionTypes> types;
};

class PushSubscriptions {
 public:
  virtual ~PushSubscriptions() = default;
  // What became of it, or a SetError (set_error()'s kind of outcome).
  using Outcome = std::expected<PushSubscriptionInfo, mail::SetOutcome>;

  virtual io::Task<std::vector<PushSubscriptionInfo>> all() = 0;
  // Durable; its verification is on its way.
  virtual io::Task<Outcome> create(NewPushSubscription subscription) = 0;
  virtual io::Task<Outcome> update(std::string id, PushSubscriptionPatch patch) = 0;
  virtual io::Task<mail::SetOutcome> destroy(std::string id) = 0;
};

}  // namespace postern::jmap
