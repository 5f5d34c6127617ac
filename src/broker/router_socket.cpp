// JMAP over a WebSocket (RFC 8887): requests and being told of changes on one connection, which the events' socket
// hands over. Each request goes the way of /jmap/api: who it is is found out anew, by what the handshake has shown, and
// the same limits hold. Bounds: max_concurrent_requests at once, maxSizeRequest a message, one change that waits.
#include <algorithm>
#include <utility>

#include "broker/router.hpp"
#include "postern/base/encoding.hpp"
#include "postern/jmap/socket_message.hpp"

namespace postern::broker {
namespace {

constexpr std::string_view socket_protocol = "jmap";

// RFC 8887, 4.3.5.1
std::string pushed(const std::string& account_id, const push::States& states, push::TypeSet types) {
  auto text = push::state_change_json(account_id, states, types);
  text.insert(text.size() - 1, ",\"pushState\":\"" + push::event_id(states) + "\"");
  return text;
}

}  // namespace

// Held by its connection, and by the coroutines of its requests; all on the router's loop.
class Router::Socket final : public push::WebSocket::User,
                             private push::Sink,
                             private SessionGuest,
                             public std::enable_shared_from_this<Socket> {
 public:
  Socket(Router& router, std::shared_ptr<RequestStream> handshake, store::AccountKey key, std::string session)
      : router_(router),
        handshake_(std::move(handshake)),
        key_(key),
        session_(std::move(session)),
        account_id_(mail::account_id(key)),
        requests_(router.socket_requests_) {}

 private:
  using Message = jmap::SocketMessage;

  void on_begin(push::WebSocket& socket) override {
    socket_ = &socket;
    if (router_.events_ != nullptr) router_.events_->attach(key_, session_, *this);
  }

  void on_text(std::string text) override {
    auto message = jmap::parse_socket_message(text);
    if (!message) return reply(std::move(message.error().problem), message.error().id);
    switch (message->kind) {
      case Message::Kind::request: return take_request(std::move(text), std::move(message->id));
      case Message::Kind::push_disable: return stop_telling();
      case Message::Kind::push_enable:
        stop_telling();
        router_.loop_.spawn(enable(shared_from_this(), std::move(*message), wish_));
        return;
    }
  }

  void on_sent() override {
    if (const auto types = std::exchange(pending_types_, {}); !types.empty())
      socket_->send(pushed(account_id_, std::exchange(pending_, {}), types));
  }

  void on_end() override {
    socket_ = nullptr;
    handshake_->give_up();
    stop_telling();
    if (router_.events_ != nullptr) router_.events_->detach(key_, session_, *this);
  }

  void on_session_end() override { close(push::CloseCode::policy, "the session has ended"); }
  void on_crowded_out() override { close(push::CloseCode::policy, "the session has too many connections"); }

  // --- Requests ---

  void take_request(std::string text, std::optional<std::string> id) {
    if (router_.refuses_sockets_)
      return reply(jmap::problem(503, "about:blank", "the mail service is being restarted"), id);
    if (in_flight_ >= router_.config_->jmap.max_concurrent_requests)
      return reply(jmap::problem(400, "limit", "too many requests at once", "maxConcurrentRequests"), id);
    ++in_flight_;
    ++*requests_;
    ++router_.counters_.socket_requests;
    ++router_.counters_.api_requests;
    router_.loop_.spawn(run(shared_from_this(), std::move(text), std::move(id)));
  }

  static io::Task<> run(std::shared_ptr<Socket> self, std::string text, std::optional<std::string> id) {
    struct Counted {
      ~Counted() { --socket->in_flight_, --*socket->requests_; }
      Socket* socket;
    } counted{self.get()};
    Answer answer;
    try {
      answer = co_await self->answer_to(std::move(text));
    } catch (const std::exception& e) {  // a bug, of which nobody but this request is to know
      self->router_.loop_.logger().error("exception left a request of a WebSocket", {{"what", e.what()}});
      answer = jmap::problem(500, "about:blank", "internal error");
    }
    const bool over = answer.status == 401;
    self->reply(std::move(answer), id);
    if (over) self->close(push::CloseCode::policy, "sign in again");
  }

  io::Task<Answer> answer_to(std::string text) {
    auto exchange = router_.exchange_of(handshake_);
    exchange.is_message = true;
    auto identity = co_await router_.authenticate(exchange);
    if (!identity) co_return std::move(identity.error());
    const auto room = router_.room_for_body(exchange, identity->key, text.size());
    if (!room) co_return room.error();
    auto outcome = co_await router_.answer_api(exchange, *identity, std::move(text));
    co_return std::move(outcome.answer);
  }

  void reply(Answer answer, const std::optional<std::string>& id) {
    if (socket_ == nullptr) return;
    auto& counters = router_.counters_;
    ++(answer.status < 300   ? counters.answers_2xx
       : answer.status < 500 ? counters.answers_4xx
                             : counters.answers_5xx);
    socket_->send(jmap::socket_answer(std::move(answer), id));
  }

  void close(push::CloseCode code, std::string_view reason) {
    if (socket_ != nullptr) socket_->close(code, reason);
  }

  // --- Being told of changes ---

  static io::Task<> enable(std::shared_ptr<Socket> self, Message message, std::uint64_t wish) {
    auto& router = self->router_;
    auto exchange = router.exchange_of(self->handshake_);
    auto identity = co_await router.authenticate(exchange);
    if (self->wish_ != wish) co_return;
    // RFC 8887 has no answer to this, and who hears nothing believes that nothing happens.
    if (!identity) {
      const bool is_unknown = identity.error().status == 401;
      self->close(is_unknown ? push::CloseCode::policy : push::CloseCode::try_again,
                  is_unknown ? "sign in again" : "come again");
      co_return;
    }
    if (router.events_ == nullptr) co_return;
    auto states = co_await router.events_->states_of_account({identity->account, self->key_, self->session_});
    // Something else may be wished meanwhile.
    if (!states || self->socket_ == nullptr || self->wish_ != wish || router.events_ == nullptr) co_return;
    push::ListenerOptions options;
    options.account = self->key_;
    options.session = self->session_;
    options.types = push::types_of(message.data_types);
    // Whoever shows a state that isn't ours is told all; whoever shows none begins now.
    options.known =
        message.push_state ? push::parse_event_id(*message.push_state).value_or(push::States{}) : *states;
    push::Sink& sink = *self;
    const auto id = router.events_->hub().add(std::move(options), *states, sink);
    if (!id) co_return self->close(push::CloseCode::policy, "too many listen");
    self->listener_ = *id;
  }

  void stop_telling() {
    ++wish_;
    pending_types_ = {};
    if (const auto id = std::exchange(listener_, 0); id != 0 && router_.events_ != nullptr)
      router_.events_->hub().remove(id);
  }

  void on_event(const push::StateEvent& event) override {
    if (socket_ == nullptr) return;
    if (!socket_->is_sending()) return socket_->send(pushed(account_id_, event.states, event.types));
    // It reads slowly: the newest states, once it has taken what is under way.
    pending_types_ = pending_types_ | event.types;
    pending_ = event.states;
  }

  void on_end(push::EndReason reason) override {
    listener_ = 0;
    switch (reason) {
      case push::EndReason::event_sent: break;
      case push::EndReason::session_ended: return on_session_end();
      case push::EndReason::replaced: return close(push::CloseCode::policy, "too many listen");
      case push::EndReason::stopping: return close(push::CloseCode::going_away, "restarting");
    }
  }

  Router& router_;
  const std::shared_ptr<RequestStream> handshake_;  // what it shows is wiped with it
  const store::AccountKey key_;
  const std::string session_, account_id_;
  const std::shared_ptr<std::size_t> requests_;  // of all sockets
  push::WebSocket* socket_ = nullptr;
  std::size_t in_flight_ = 0;
  push::ListenerId listener_ = 0;
  std::uint64_t wish_ = 0;  // which wish to be told is the last
  push::TypeSet pending_types_;
  push::States pending_;
};

io::Task<push::StreamAnswer> Router::open_socket(Exchange exchange) {
  const auto& fields = exchange.head().fields;
  if (!config_->push.web_socket)
    co_return refusal_of(exchange, jmap::problem(404, "about:blank", "there is nothing here"));
  if (!push::WebSocket::is_upgrade(fields)) {
    auto refusal = refusal_of(exchange, jmap::problem(426, "about:blank", "this is for WebSockets"));
    refusal.fields.emplace_back("Upgrade", "websocket");
    co_return refusal;
  }
  if (!push::WebSocket::offers(fields, socket_protocol))
    co_return refusal_of(exchange, jmap::problem(400, "about:blank", "the subprotocol must be jmap"));
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return refusal_of(exchange, std::move(identity.error()));
  // A browser lets any page open a WebSocket anywhere, and sends its cookie, or Basic that it remembers, along.
  auto wrong = identity->by_cookie ? wrong_origin(exchange) : forged_beside_web_server(exchange);
  if (wrong) co_return refusal_of(exchange, std::move(*wrong));
  push::SocketOpening opening;
  opening.protocol = socket_protocol;
  opening.options.message_bytes_max = config_->jmap.max_size_request;
  opening.user =
      std::make_shared<Socket>(*this, exchange.stream, identity->key, session_name(identity->session));
  co_return opening;
}

}  // namespace postern::broker
