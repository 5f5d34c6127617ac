// How push subscriptions are told: messages to their services, and what becomes of the answers.
#include <fmt/format.h>

#include "broker/subscription_entry.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr unsigned verification_attempts_max = 3;
constexpr Duration verification_pause = std::chrono::seconds(5);
constexpr std::size_t topic_bytes = 24;
constexpr unsigned http_not_found = 404, http_timeout = 408, http_gone = 410, http_too_many = 429;

bool is_success(const push::WebAnswer& answer) {
  return answer.kind == push::WebAnswer::Kind::answered && answer.status >= 200 && answer.status < 300;
}

}  // namespace

bool Subscriptions::send(Entry& entry, const std::string& json, std::string_view urgency,
                         const std::string& topic, push::WebClient::OnAnswer on_answer) {
  const auto ttl = std::chrono::duration_cast<std::chrono::seconds>(config_->webpush.ttl).count();
  push::WebRequest request;
  request.url = entry.record.url;
  request.fields = {"Content-Type: application/json", "Expect:", fmt::format("TTL: {}", ttl),
                    fmt::format("Urgency: {}", urgency)};
  if (!topic.empty()) request.fields.push_back("Topic: " + topic);
  request.fields.push_back("Authorization: " + vapid_.authorization(entry.target.origin, contact_,
                                                                    unix_seconds(loop_.clock().wall())));
  request.body = json;
  if (entry.keys) {
    request.fields.emplace_back("Content-Encoding: aes128gcm");
    request.body = push::encrypt_message(json, *entry.keys, loop_.random());
  }
  return client_->send(std::move(request), std::move(on_answer));
}

void Subscriptions::pump(Id id) {
  auto* entry = find(id);
  if (entry == nullptr) return;
  auto& timers = loop_.timers();
  timers.cancel(std::exchange(entry->timer, 0));
  if (!is_live(entry->record)) {
    run(remove({id}, "it has run out"));
    return;
  }
  // It may be told of fewer types since something was put there.
  const auto wanted = push::types_of(entry->record.types);
  if (const auto message = entry->queue.next(loop_.clock().now(), wanted)) {
    send_states(*entry, *message);
  } else if (const auto due = entry->queue.due()) {
    entry->timer = timers.add(*due, [this, id] {
      if (auto* there = find(id)) there->timer = 0;
      pump(id);
    });
  }
}

void Subscriptions::send_states(Entry& entry, const push::WebPushQueue::Message& message) {
  const auto id = entry.record.id;
  const auto json =
      push::state_change_json(mail::account_id(entry.record.owner.key), message.states, message.types);
  // New mail is worth waking a device for. What is to replace it must tell of the same types (RFC 8030, 5.4).
  const bool new_mail = message.types.has(push::DataType::email_delivery);
  std::string types = subscription_id(id);
  for (std::size_t i = 0; i < push::data_types; ++i)
    types += message.types.has(static_cast<push::DataType>(i)) ? '1' : '0';
  const auto topic = base64url_encode(octets_in(sha256(types)).substr(0, topic_bytes));
  if (!send(entry, json, new_mail ? "normal" : "low", topic,
            [this, id](const push::WebAnswer& answer) { on_answer(id, answer); }))
    on_answer(id, {push::WebAnswer::Kind::unreachable, 0, std::nullopt, "too many messages wait"});
}

bool Subscriptions::removed_by(Entry& entry, const push::WebAnswer& answer) {
  using Kind = push::WebAnswer::Kind;
  const auto id = entry.record.id;
  if (answer.kind == Kind::forbidden) {
    ++counters_.forbidden_targets;
    loop_.logger().warning("push subscription points inside",
                           {{"id", subscription_id(id)}, {"host", entry.target.host}});
    run(remove({id}, "it points inside"));
    return true;
  }
  // RFC 8030, 7.3
  if (answer.kind != Kind::answered || (answer.status != http_not_found && answer.status != http_gone))
    return false;
  run(remove({id}, "its push service doesn't know it any more"));
  return true;
}

void Subscriptions::on_answer(Id id, const push::WebAnswer& answer) {
  auto* entry = find(id);
  if (entry == nullptr || removed_by(*entry, answer)) return;
  using push::WebPushOutcome;
  auto outcome = WebPushOutcome::again;
  if (answer.kind == push::WebAnswer::Kind::answered) {
    if (answer.status >= 200 && answer.status < 300)
      outcome = WebPushOutcome::sent;
    else if (answer.status < 500 && answer.status != http_timeout && answer.status != http_too_many)
      outcome = WebPushOutcome::refused;
  }
  if (outcome == WebPushOutcome::sent) {
    ++counters_.sent;
  } else {
    ++counters_.failures;
    loop_.logger().info("push message not taken", {{"id", subscription_id(id)},
                                                   {"service", entry->target.origin},
                                                   {"status", answer.status},
                                                   {"error", answer.error}});
  }
  entry->queue.ended(outcome, answer.retry_after, loop_.clock().now(), loop_.random());
  pump(id);
}

// RFC 8620, 7.2.2. Nothing is sent a second time before its client has shown the code: it is tried again only where
// nothing was sent at all.
void Subscriptions::send_verification(Id id) {
  auto* entry = find(id);
  if (entry == nullptr || entry->record.verified) return;
  ++entry->verifications;
  const auto json = push::verification_json(subscription_id(id), entry->record.code);
  if (!send(*entry, json, "high", {},
            [this, id](const push::WebAnswer& answer) { on_verification_answer(id, answer); }))
    on_verification_answer(id,
                           {push::WebAnswer::Kind::unreachable, 0, std::nullopt, "too many messages wait"});
}

void Subscriptions::on_verification_answer(Id id, const push::WebAnswer& answer) {
  auto* entry = find(id);
  if (entry == nullptr || removed_by(*entry, answer)) return;
  const bool taken = is_success(answer);
  ++(taken ? counters_.sent : counters_.failures);
  if (taken) return;
  loop_.logger().info("verification of a push subscription not taken", {{"id", subscription_id(id)},
                                                                        {"service", entry->target.origin},
                                                                        {"status", answer.status},
                                                                        {"error", answer.error}});
  if (answer.kind != push::WebAnswer::Kind::unreachable || entry->verifications >= verification_attempts_max)
    return;
  loop_.timers().cancel(entry->timer);
  entry->timer = loop_.timers().add_after(verification_pause * entry->verifications, [this, id] {
    if (auto* there = find(id)) there->timer = 0;
    send_verification(id);
  });
}

}  // namespace postern::broker
