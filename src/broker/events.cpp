// Channels at front ends as listeners of the hub, tickets, and who is watched.
#include "broker/events.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr Duration housekeeping_interval_max = std::chrono::seconds(15);
// How often a front end is asked who is still there, where nothing has been told meanwhile.
constexpr Duration ask_interval = std::chrono::minutes(5);
constexpr Duration session_check_interval = std::chrono::minutes(1);
constexpr std::size_t channel_key_bytes = 32;
// How long it may take from the answer that lets somebody in until nginx counts them.
constexpr Duration let_in_max = std::chrono::seconds(1);
constexpr const char* session_over = "the session has ended";
// What may wait for a front end: something for each channel, and the removal of as many that were there before.
constexpr std::size_t jobs_per_listener = 2;

}  // namespace

std::string session_name(const std::optional<store::TokenHash>& session) {
  if (!session) return {};
  return base64url_encode({reinterpret_cast<const char*>(session->data()), session->size()});
}

void OwnWrite::begin() {
  if (events_ == nullptr || !events_->is_running() || session_.empty() || std::exchange(begun_, true)) return;
  events_->hub().write_begins(account_, session_);
}

OwnWrite::~OwnWrite() {
  if (begun_ && events_->is_running()) events_->hub().write_ends(account_, session_, told);
}

Result<std::string> load_channel_key(const std::string& path, Random& random) {
  const auto wrong = [&path](const char* what) {
    return fail(store::Errc::io, path + ": " + what + ": " + std::strerror(errno));
  };
  std::string key(channel_key_bytes, '\0');
  if (const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); fd >= 0) {
    const auto got = ::read(fd, key.data(), key.size());
    ::close(fd);
    if (got == static_cast<ssize_t>(key.size())) return key;
  }
  random.fill({reinterpret_cast<std::uint8_t*>(key.data()), key.size()});
  const auto fresh = path + ".new";
  ::unlink(fresh.c_str());
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return wrong("can't be made");
  const bool written = ::write(fd, key.data(), key.size()) == static_cast<ssize_t>(key.size());
  ::close(fd);
  if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) return wrong("can't be written");
  return key;
}

// One session's channel at one front end: a listener whose streams nginx holds.
class EventService::Channel final : public push::Sink {
 public:
  Channel(EventService& service, Frontend& frontend, std::string id, std::string account_id)
      : service_(service), frontend_(frontend), id_(std::move(id)), account_id_(std::move(account_id)) {
    asked = service_.loop_->clock().now();
  }
  ~Channel() override {
    if (listener != 0) service_.hub_->remove(listener);
  }
  push::ListenerId listener = 0;
  std::optional<MonotonicTime> nobody_since;  // by what the front end has answered to what it was told
  bool seen = false;                          // somebody was there since the channel was opened
  MonotonicTime asked;
  std::uint64_t puts = 0;       // what it was told by the queue, so far
  MonotonicTime whole_until{};  // somebody was let in, and may not be there yet

  void tell(const push::States& states, push::TypeSet types) {
    ++puts;
    frontend_.publisher->put({push::PublishJob::Kind::publish, id_, account_id_, states, types});
    asked = service_.loop_->clock().now();
  }
  // Is somebody there? Of several processes of nginx, the one that keeps a channel answers a GET by what it counted
  // when a message came last (nchan 1.3.6): 0 of streams that others have opened since. The answer to a POST is right.
  // So nobody is taken for gone by a GET alone.
  void ask() {
    if (nobody_since) return probe();
    frontend_.publisher->put({push::PublishJob::Kind::ask, id_, account_id_, {}, {}});
    asked = service_.loop_->clock().now();
  }
  // A StateChange that tells no state: for the sake of its answer.
  void probe() { tell({}, {}); }

 private:
  // nginx gives who is new the last message alone.
  void on_event(const push::StateEvent& event) override {
    const bool whole = service_.loop_->clock().now() < whole_until;
    tell(event.states, whole ? push::TypeSet::all() : event.types);
  }
  void on_end(push::EndReason reason) override {
    listener = 0;
    // nginx closes the streams of a channel that is removed. A broker that stops leaves them to the next one.
    if (reason != push::EndReason::stopping)
      frontend_.publisher->put({push::PublishJob::Kind::remove, id_, account_id_, {}, {}});
    service_.loop_->post([&frontend = frontend_, id = id_, weak = std::weak_ptr(service_.listener_)] {
      if (weak.expired()) return;
      // Its session may have come back meanwhile, and have another one.
      const auto it = frontend.channels.find(id);
      if (it != frontend.channels.end() && it->second->listener == 0) frontend.channels.erase(it);
    });
  }

  EventService& service_;
  Frontend& frontend_;
  const std::string id_, account_id_;
};

EventService::EventService(std::shared_ptr<const Config> config, const store::SegmentWriter& segment)
    : config_(std::move(config)), segment_(segment) {}

EventService::~EventService() { shut_down(); }

void EventService::start(std::vector<Shard*> shards, std::string channel_key) {
  shards_ = std::move(shards);
  loop_ = &shards_.front()->loop();
  channel_key_ = std::move(channel_key);
  const auto& push = config_->push;
  push::HubOptions options;
  options.coalesce = push.coalesce;
  options.grace = push.grace;
  options.listeners_max = push.listeners_max;
  push::WatchPort& watch = *this;  // which only a member may say
  hub_ = std::make_unique<push::Hub>(loop_->timers(), options, watch);
  listener_ = std::make_shared<PushFeed::Listener>();
  listener_->changed = [this](store::AccountKey key, const push::States& states) {
    hub_->on_states(key, states);
  };
  listener_->refused = [this](store::AccountKey key) { hub_->end_account(key); };
  for (auto* shard : shards_) {
    feeds_.push_back(std::make_unique<PushFeed>(shard->loop(), *loop_, listener_));
    shard->set_state_observer(feeds_.back().get());
  }
  push::PublishOptions publishing;
  publishing.channels_max = std::size_t{jobs_per_listener} * push.listeners_max;
  for (const auto& [name, settings] : push.frontends) {
    auto& frontend = frontends_[name];
    frontend.publisher = std::make_unique<push::Publisher>(
        *loop_, name, *io::parse_local_http(settings.publisher), publishing,
        [this, &frontend](const push::ChannelReport& report) { on_report(frontend, report); });
  }
  keep_house_later();
  nudge_earlier_channels();
}

void EventService::observe(records::Store& store) {
  records_ = store.on(*loop_);
  store.observe([weak = std::weak_ptr(listener_), home = loop_](
                    const records::Owner& owner, records::Type type, const std::string& state) {
    push::States states;
    states[type == records::Type::identity ? push::DataType::identity : push::DataType::email_submission] =
        state;
    home->post([weak, key = owner.key, states = std::move(states)] {
      if (const auto there = weak.lock()) there->changed(key, states);
    });
  });
}

void EventService::listen(std::unique_ptr<io::UnixListener> listener, push::StreamHandler handler) {
  push::StreamServerOptions options;
  options.streams_max = config_->push.listeners_max;
  streams_ =
      std::make_unique<push::StreamServer>(*loop_, std::move(listener), *hub_, std::move(handler), options);
}

void EventService::shut_down() {
  if (loop_ == nullptr) return;
  loop_->timers().cancel(std::exchange(housekeeping_, 0));
  listener_.reset();
  hub_->end_all(push::EndReason::stopping);
  streams_.reset();
  frontends_.clear();
  tickets_.clear();
  hub_.reset();
  for (auto& [key, watched] : watched_) {
    auto* shard = shards_[key % shards_.size()];
    shard->loop().post([account = std::move(watched.account)] { account->set_watched(false); });
  }
  watched_.clear();
  loop_ = nullptr;
}

EventCounters EventService::counters() const {
  EventCounters counters;
  if (!hub_) return counters;
  counters.listeners = hub_->listeners();
  counters.accounts = hub_->accounts();
  counters.nudges = nudges_sent_;
  counters.tickets = tickets_.size();
  if (streams_) counters.streams = streams_->counters();
  for (const auto& [name, frontend] : frontends_) {
    const auto& publisher = *frontend.publisher;
    counters.frontends.push_back({name, frontend.channels.size(), publisher.queued(),
                                  publisher.counters().requests, publisher.counters().failures,
                                  publisher.counters().refused});
  }
  return counters;
}

// --- Watching ---

void EventService::on_watch(push::AccountKey key, bool wanted) {
  const auto it = watched_.find(key);
  if (wanted || it == watched_.end()) return;  // watched since its states were asked for
  // Somebody is just coming; the housekeeping looks again.
  if (loop_->clock().now() - it->second.since < ticket_lifetime) return;
  auto* shard = shards_[key % shards_.size()];
  shard->loop().post([account = std::move(it->second.account)] { account->set_watched(false); });
  watched_.erase(it);
}

io::Task<Result<push::States>> EventService::states_of_account(EventOwner owner) {
  if (!hub_) co_return fail(io::Errc::closed);
  hub_->expect(owner.key);
  auto& shard = *shards_[owner.key % shards_.size()];
  auto& watched = watched_[owner.key];
  watched.since = loop_->clock().now();
  // Closed and opened anew since.
  const auto before =
      watched.account == owner.account ? nullptr : std::exchange(watched.account, owner.account);
  auto states = co_await on_loop(shard.loop(), *loop_,
                                 [account = owner.account, before]() -> io::Task<Result<push::States>> {
                                   if (before) before->set_watched(false);
                                   account->set_watched(true);
                                   co_return states_of(*account);
                                 });
  if (states && listener_ && !is_live(owner.session)) co_return fail(io::Errc::closed, session_over);
  if (!states || !listener_ || !records_) co_return states;
  // Without them the rest is still worth telling.
  const auto recorded = co_await records_->states({owner.key, owner.account->login()});
  if (listener_ && !is_live(owner.session)) co_return fail(io::Errc::closed, session_over);
  if (recorded) {
    (*states)[push::DataType::identity] = recorded->identity;
    (*states)[push::DataType::email_submission] = recorded->submission;
  }
  co_return states;
}

// --- Channels ---

EventService::Frontend::Frontend() = default;
EventService::Frontend::~Frontend() = default;

EventService::Channel* EventService::Frontend::channel(const std::string& id) const {
  const auto it = channels.find(id);
  return it == channels.end() || it->second->listener == 0 ? nullptr : it->second.get();
}

io::Task<Result<std::string>> EventService::open_channel(std::string name, EventOwner owner, bool fresh) {
  const auto id = push::channel_id(channel_key_, owner.key, owner.session + " " + name);
  const auto account_id = mail::account_id(owner.key);
  if (!frontends_.at(name).publisher->takes_asks())
    co_return fail(io::Errc::timeout, "others wait for its answer already");
  // A channel that nothing would be told on isn't made.
  if (hub_->is_full() && frontends_.at(name).channel(id) == nullptr)
    co_return fail(mail::Errc::too_large, "too many listen");
  auto states = co_await states_of_account(owner);
  if (!states) co_return fail(states.error());
  if (!listener_) co_return fail(io::Errc::closed);
  auto& frontend = frontends_.at(name);  // there while the listener is
  auto* channel = frontend.channel(id);
  const bool known = channel != nullptr;
  const auto puts = known ? channel->puts : 0;
  // What is told now, the removal of an earlier channel may take away, and what else the queue has for it follow.
  bool overtaken = frontend.publisher->changes(id);
  push::PublishJob job{push::PublishJob::Kind::ask, id, account_id, *states, push::TypeSet::all()};
  if (fresh || !known) job.kind = push::PublishJob::Kind::publish;
  auto report = co_await frontend.publisher->ask_now(job);
  if (!listener_) co_return fail(io::Errc::closed);
  if (report && !report->exists) {
    job.kind = push::PublishJob::Kind::publish;
    report = co_await frontend.publisher->ask_now(job);
    if (!listener_) co_return fail(io::Errc::closed);
  }
  if (!report) co_return fail(report.error());
  frontend.publisher->retry_now();
  channel = frontend.channel(id);
  overtaken = overtaken || frontend.publisher->changes(id) ||
              (known && (channel == nullptr || channel->puts != puts));
  if (channel == nullptr) {
    const auto added = add_channel(frontend, id, owner, *states);
    if (!added) {
      // The front end has it already.
      frontend.publisher->put({push::PublishJob::Kind::remove, id, account_id, {}, {}});
      co_return fail(added.error());
    }
    channel = *added;
  }
  // Whoever is new is given the channel's last message alone, which is to tell all.
  if (job.kind == push::PublishJob::Kind::publish) channel->whole_until = loop_->clock().now() + let_in_max;
  if (overtaken || job.kind == push::PublishJob::Kind::publish) {
    const auto now = hub_->note(owner.key, *states);
    if (overtaken || !push::changed_types(*states, now).empty()) channel->tell(now, push::TypeSet::all());
  }
  channel->nobody_since.reset();
  channel->seen = false;
  channel->asked = loop_->clock().now();
  if (nudges_) nudges_->came(id);
  co_return id;
}

Result<EventService::Channel*> EventService::add_channel(Frontend& frontend, const std::string& id,
                                                         const EventOwner& owner,
                                                         const push::States& states) {
  if (!is_live(owner.session)) return fail(io::Errc::closed, session_over);
  auto channel = std::make_unique<Channel>(*this, frontend, id, mail::account_id(owner.key));
  push::ListenerOptions options;
  options.account = owner.key;
  options.session = owner.session;
  options.known = states;
  const auto listener = hub_->add(std::move(options), states, *channel);
  if (!listener) return fail(mail::Errc::too_large, "too many listen");
  channel->listener = *listener;
  auto& place = frontend.channels[id];  // one that has ended may still be there
  place = std::move(channel);
  return place.get();
}

void EventService::on_report(Frontend& frontend, const push::ChannelReport& report) {
  auto* const found = frontend.channel(report.channel);
  if (found == nullptr || report.kind == push::PublishJob::Kind::remove) return;
  auto& channel = *found;
  const auto now = loop_->clock().now();
  loop_->logger().debug("channel",
                        {{"exists", report.exists ? "yes" : "no"},
                         {"subscribers", report.subscribers},
                         {"request", report.kind == push::PublishJob::Kind::ask ? "ask" : "publish"}});
  if (report.subscribers > 0) {
    channel.nobody_since.reset();
    channel.seen = true;
  } else if (now < channel.whole_until) {
    return;  // on the way
  } else if (report.kind == push::PublishJob::Kind::ask) {
    channel.probe();
  } else if (!channel.nobody_since) {
    channel.nobody_since = now;
  } else if (now - *channel.nobody_since >= config_->push.grace) {
    drop_channel(frontend, report.channel);
  }
}

bool EventService::has_frontend(const std::string& name) const { return frontends_.contains(name); }

void EventService::drop_channel(Frontend& frontend, const std::string& id) {
  frontend.publisher->put({push::PublishJob::Kind::remove, id, {}, {}, {}});
  frontend.channels.erase(id);
}

void EventService::keep_house_later() {
  const auto interval = std::min(housekeeping_interval_max, config_->push.grace);
  housekeeping_ = loop_->timers().add_after(interval, [this] { keep_house(); });
}

void EventService::keep_house() {
  keep_house_later();
  const auto now = loop_->clock().now();
  tickets_.forget_old(now);
  // An account that was asked about for a stream that never came.
  std::vector<store::AccountKey> unheard;
  for (const auto& [key, watched] : watched_)
    if (now - watched.since > 2 * ticket_lifetime && !hub_->is_watched(key)) unheard.push_back(key);
  for (const auto key : unheard) on_watch(key, false);
  if (now - sessions_checked_ >= session_check_interval) {
    sessions_checked_ = now;
    end_dead_sessions();
  }
  for (auto& [name, frontend] : frontends_) {
    for (auto& [id, channel] : frontend.channels) {
      const bool unsure = channel->nobody_since || !channel->seen;
      const auto interval = unsure ? config_->push.grace : ask_interval;
      if (now - channel->asked >= interval) channel->ask();
    }
  }
}

void EventService::end_session(store::AccountKey account, const std::string& session) {
  if (!hub_) return;
  hub_->end_session(account, session);
  const auto it = guests_.find({account, session});
  if (it == guests_.end()) return;
  for (auto* guest : std::vector(it->second)) guest->on_session_end();
}

void EventService::attach(store::AccountKey account, const std::string& session, SessionGuest& guest) {
  auto& guests = guests_[{account, session}];
  guests.push_back(&guest);
  if (guests.size() <= guests_per_session_max) return;
  auto* oldest = guests.front();
  guests.erase(guests.begin());
  oldest->on_crowded_out();
}

void EventService::detach(store::AccountKey account, const std::string& session, SessionGuest& guest) {
  const auto it = guests_.find({account, session});
  if (it == guests_.end()) return;
  std::erase(it->second, &guest);
  if (it->second.empty()) guests_.erase(it);
}

// Those that have run out, or were ended in whatever way: their streams end, and the next one is answered 401.
void EventService::end_dead_sessions() {
  auto all = hub_->sessions();
  for (const auto& [name, guests] : guests_) all.push_back(name);
  for (const auto& [account, session] : all)
    if (!is_live(session)) end_session(account, session);
}

bool EventService::is_live(const std::string& session) const {
  if (session.empty()) return true;
  const auto octets = base64url_decode(session);
  store::TokenHash hash{};
  if (!octets || octets->size() != hash.size()) return false;
  std::memcpy(hash.data(), octets->data(), hash.size());
  return segment_.find_session(hash).has_value();
}

// --- Tickets ---

std::string EventService::make_ticket(Admission admission) {
  return tickets_.make(std::move(admission), loop_->clock().now(), loop_->random());
}

std::optional<EventService::Admission> EventService::redeem(const std::string& ticket) {
  return tickets_.redeem(ticket, loop_->clock().now());
}

}  // namespace postern::broker
