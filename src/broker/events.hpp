// Pushing as the broker does it: the hub, the front ends whose nchan holds streams, and the streams held here.
//
// Lives on the router's loop (shard 0's). Watches accounts on their own shards for as long as the hub says. Bounds:
// those of the hub, tickets_max.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/config.hpp"
#include "broker/events_nudge.hpp"
#include "broker/push_feed.hpp"
#include "broker/shard.hpp"
#include "broker/tickets.hpp"
#include "postern/push/hub.hpp"
#include "postern/push/publisher.hpp"
#include "postern/push/stream_server.hpp"

namespace postern::broker {

// Whose stream it is: an account, and the session, empty for somebody who comes without one.
struct EventOwner {
  AccountPtr account;
  store::AccountKey key = 0;
  std::string session;
};
std::string session_name(const std::optional<store::TokenHash>& session);

class EventService;

// What one request of a session changes: told to the person's other sessions at once, and not to its own, whose answer
// says it. Made, begun and ended on the router's loop; `told` belongs to the account's in between.
class OwnWrite {
 public:
  OwnWrite(EventService* events, store::AccountKey account, std::string session)
      : events_(events), account_(account), session_(std::move(session)) {}
  ~OwnWrite();
  OwnWrite(const OwnWrite&) = delete;
  OwnWrite& operator=(const OwnWrite&) = delete;
  void begin();
  std::optional<push::States> told;

 private:
  EventService* events_;
  const store::AccountKey account_;
  const std::string session_;
  bool begun_ = false;
};

// Something else than a listener that ends with a session: an open WebSocket.
class SessionGuest {
 public:
  virtual ~SessionGuest() = default;
  virtual void on_session_end() = 0;
  virtual void on_crowded_out() = 0;  // newer ones have come, guests_per_session_max of them
};

struct EventCounters {
  struct OfFrontend {
    std::string name;
    std::size_t channels = 0, waiting = 0;     // requests that wait to be sent
    std::uint64_t requests = 0, failures = 0;  // to its publisher
    std::uint64_t refused = 0;                 // what there was no room for
  };
  std::size_t listeners = 0, accounts = 0, tickets = 0;
  std::uint64_t nudges = 0;
  push::StreamCounters streams;
  std::vector<OfFrontend> frontends;
};

class EventService final : private push::WatchPort {
 public:
  EventService(std::shared_ptr<const Config> config, const store::SegmentWriter& segment);
  ~EventService() override;

  // Whoever makes the shards gives them these observers; then start(), with shards[0]'s loop as home.
  // `channel_key`: what channel ids are made with.
  void start(std::vector<Shard*> shards, std::string channel_key);
  // Ends all streams and watches, before the shards end. Nothing else is called any more.
  void shut_down();
  // The socket of the broker's own streams.
  void listen(std::unique_ptr<io::UnixListener> listener, push::StreamHandler handler);

  // What is changed in identities and submissions is told as well. Behind start(); the store's thread ends before the
  // loops do.
  void observe(records::Store& store);

  push::Hub& hub() { return *hub_; }
  bool is_running() const { return hub_ != nullptr; }
  // What a session's end ends: its listeners, and its guests.
  void end_session(store::AccountKey account, const std::string& session);
  // Of somebody without a session, `session` is empty.
  static constexpr std::size_t guests_per_session_max = 16;
  void attach(store::AccountKey account, const std::string& session, SessionGuest& guest);
  void detach(store::AccountKey account, const std::string& session, SessionGuest& guest);
  EventCounters counters() const;

  // The account's states now; it is the one that is watched from now on, if it is. io errors: the broker stops, or the
  // session has ended meanwhile.
  io::Task<Result<push::States>> states_of_account(EventOwner owner);

  // --- nchan ---
  bool has_frontend(const std::string& name) const;
  // The channel made, or made sure of, at this front end; it is told all states if `fresh` or if it wasn't there.
  // io errors: the front end can't be reached, the session has ended meanwhile, or the broker stops; timeout: it
  // doesn't answer those who ask already. too_large: there are listeners_max.
  io::Task<Result<std::string>> open_channel(std::string frontend, EventOwner owner, bool fresh);

  // --- Streams of our own that a worker has authenticated ---
  struct Admission {
    EventOwner owner;
    push::ListenerOptions options;
  };
  static constexpr std::size_t tickets_max = 20'000;
  static constexpr Duration ticket_lifetime = std::chrono::seconds(15);
  // Empty if there are too many.
  std::string make_ticket(Admission admission);
  std::optional<Admission> redeem(const std::string& ticket);

 private:
  class Channel;
  struct Frontend {
    Frontend();  // where a Channel is known
    ~Frontend();
    Frontend(const Frontend&) = delete;
    Frontend& operator=(const Frontend&) = delete;
    std::unique_ptr<push::Publisher> publisher;
    std::unordered_map<std::string, std::unique_ptr<Channel>> channels;
    Channel* channel(const std::string& id) const;  // null where there is none, or it has ended
  };
  Result<Channel*> add_channel(Frontend& frontend, const std::string& id, const EventOwner& owner,
                               const push::States& states);
  bool is_live(const std::string& session) const;  // empty: nobody's, which doesn't end
  void on_watch(push::AccountKey account, bool wanted) override;
  void on_report(Frontend& frontend, const push::ChannelReport& report);
  void drop_channel(Frontend& frontend, const std::string& id);
  void keep_house_later();
  void keep_house();
  void end_dead_sessions();
  struct Earlier {
    store::AccountKey account = 0;
    std::string session;
  };
  void nudge_earlier_channels();
  io::Task<> nudge_frontend(std::string name, std::shared_ptr<const std::vector<Earlier>> earlier,
                            std::shared_ptr<NudgePace> pace, std::weak_ptr<PushFeed::Listener> alive);
  io::Task<std::optional<bool>> ask_until_told(Frontend& frontend, io::HttpClient& client, std::string id,
                                               std::weak_ptr<PushFeed::Listener> alive);
  io::Task<std::optional<bool>> nudge(Frontend& frontend, io::HttpClient& client, std::string id,
                                      std::weak_ptr<PushFeed::Listener> alive);

  std::shared_ptr<const Config> config_;
  const store::SegmentWriter& segment_;
  std::string channel_key_;
  std::vector<Shard*> shards_;
  io::Loop* loop_ = nullptr;
  std::shared_ptr<PushFeed::Listener> listener_;
  std::vector<std::unique_ptr<PushFeed>> feeds_;
  std::unique_ptr<records::Records> records_;  // null: nothing is sent
  std::unique_ptr<push::Hub> hub_;
  std::map<std::string, Frontend> frontends_;
  std::unique_ptr<push::StreamServer> streams_;
  Tickets<Admission> tickets_{tickets_max, ticket_lifetime};
  std::map<std::pair<store::AccountKey, std::string>, std::vector<SessionGuest*>>
      guests_;  // the oldest first
  struct Watched {
    AccountPtr account;
    MonotonicTime since;
  };
  std::unordered_map<store::AccountKey, Watched> watched_;
  std::shared_ptr<NudgePace> nudges_;
  std::uint64_t nudges_sent_ = 0;
  TimerId housekeeping_ = 0;
  MonotonicTime sessions_checked_{};
};

// What channel ids are made with: 32 random octets in a file beside the segment, made at the first start, so that a
// session's channel is the same after a restart.
Result<std::string> load_channel_key(const std::string& path, Random& random);

}  // namespace postern::broker
