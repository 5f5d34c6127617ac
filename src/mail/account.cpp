// The account itself: its mailboxes, its views, its ids and its states.
#include "postern/mail/account.hpp"

#include <algorithm>
#include <utility>

#include "mail/account_support.hpp"
#include "mail/slices.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/command.hpp"

namespace postern::mail {

const std::error_category& mail_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "mail"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::not_found: return "not found";
        case Errc::unsupported_sort: return "this sort isn't supported";
        case Errc::unsupported_filter: return "this filter isn't supported";
        case Errc::anchor_not_found: return "the anchor isn't among the results";
        case Errc::server_refused: return "the mail server refused the command";
        case Errc::server_unavailable: return "the mail server can't be reached";
        case Errc::outcome_unknown:
          return "the connection broke after a change was sent: its outcome is unknown";
        case Errc::authentication: return "the mail server refused the credentials";
        case Errc::too_large: return "too large";
        case Errc::forbidden: return "the mailbox may not be read";
        case Errc::messages_expunged: return "some of the messages are gone";
        case Errc::no_room: return "there is no room to put this aside";
        case Errc::cannot_calculate_changes: return "what changed since then can't be told";
        case Errc::too_many_changes: return "more has changed than was asked for";
        case Errc::over_limit: return "more than the plan allows";
      }
      return "unknown mail error";
    }
  } category;
  return category;
}

Error mail_error(const Error& error) {
  const auto& code = error.code;
  if (code.category() == mail_category()) return error;
  if (code == make_error_code(session::Errc::authentication))
    return Error(make_error_code(Errc::authentication), error.context);
  if (code == make_error_code(session::Errc::no_such_mailbox))
    return Error(make_error_code(Errc::not_found), error.context);
  if (code == make_error_code(imap::Errc::no) || code == make_error_code(imap::Errc::bad) ||
      code == make_error_code(session::Errc::mailbox_refused))
    return Error(make_error_code(Errc::server_refused), error.context);
  if (code == make_error_code(imap::Errc::too_large))
    return Error(make_error_code(Errc::too_large), error.context);
  return Error(make_error_code(Errc::server_unavailable), error.to_string());
}

std::vector<std::string> jmap_keywords(const MailboxIndex& index, const MessageEntry& entry) {
  std::vector<std::string> names;
  for (std::uint8_t bit :
       {imap::Flags::seen, imap::Flags::answered, imap::Flags::flagged, imap::Flags::draft})
    if ((entry.flags & bit) != 0) names.emplace_back(keyword_of_system_flag(bit));
  // A keyword that is spelt like a system flag's is none (RFC 8621, 4.1.1): the flag alone says.
  for (const auto& keyword : index.keywords(entry))
    if (system_flag_of_keyword(keyword) == 0) names.push_back(ascii_lower(keyword));
  return names;
}

Account::Account(AccountContext context, store::AccountKey key, session::Credentials credentials,
                 std::string client_address)
    : context_(context),
      meter_(context.meter ? context.meter
                           : std::make_shared<limits::Meter>(nullptr, context.loop.clock(), 0)),
      lane_(std::make_shared<Lane>(context.loop)),
      key_(key),
      login_(credentials.login),
      idle_(context.loop) {
  pool_ = session::Pool::make(context_.loop, context_.server, std::move(credentials), this,
                              std::move(client_address));
  counters_ = context_.segment.counters(key_);
  if (counters_ == store::StateCounters{}) counters_ = store::first_counters(context_.loop.clock().wall());
  // What happened while nobody was connected isn't known: the states of before are not those of now.
  ++counters_.email;
  ++counters_.mailbox;
  ++counters_.thread;
  ++counters_.quota;
  counters_dirty_ = true;
  log_ = {ObjectLog<MailboxKey>(counters_.mailbox), ObjectLog<EmailKey, PlaceHash>(counters_.email),
          ThreadLog(counters_.thread)};
  load_places();
}

Account::~Account() = default;

// --- States ---

void Account::save_state() {
  if (!counters_dirty_) return;
  // A full table is no reason to fail: the states then start anew with the next broker.
  if (auto put = context_.segment.put_counters(key_, counters_); !put)
    context_.loop.logger().warning("state counters not saved", {{"error", put.error().to_string()}});
  counters_dirty_ = false;
}

void Account::set_vacation(std::unique_ptr<VacationStore> vacation) {
  vacation_ = std::move(vacation);
  vacation_->on_new_state([this] {
    if (context_.states != nullptr) context_.states->on_state_changed(*this, StateType::vacation);
  });
}

std::string Account::state(StateType type) {
  if (type == StateType::vacation) return vacation_ ? vacation_->known_state() : std::string{};
  save_state();  // a state a client has seen is never given again for something else
  rumoured(type) = false;
  return std::to_string(counter(type));
}

// --- Mailboxes ---

const Mailbox* Account::find_mailbox(MailboxKey key) const {
  auto it = mailbox_at_.find(key);
  return it == mailbox_at_.end() ? nullptr : &mailboxes_[it->second];
}

io::Task<Result<ViewPtr>> Account::view_of(MailboxKey key) {
  const auto known = views_.find(key);
  if (known != views_.end() && !is_another(*known->second)) co_return known->second;
  if (known != views_.end() || find_mailbox(key) == nullptr) {
    auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
    if (!listed) co_return fail(listed.error());
  }
  const auto* mailbox = find_mailbox(key);
  if (mailbox == nullptr || !mailbox->selectable) co_return fail(Errc::not_found);
  auto& view = views_[key];
  if (!view) {
    // Whoever lets go of it last, the pool hears of it before it ends.
    auto let_go = [pool = std::weak_ptr<session::Pool>(pool_)](MailboxView* gone) {
      if (auto alive = pool.lock()) alive->forget(*gone);
      delete gone;
    };
    view = ViewPtr(new MailboxView(key, mailbox->encoded_name, *this), std::move(let_go));
  }
  co_return view;
}

// Takes the list, and lets views go along: renamed ones keep theirs, those that are gone lose it.
void Account::change_list(std::vector<Mailbox> fresh) {
  take_list(std::move(fresh));
  for (auto it = views_.begin(); it != views_.end();) {
    const auto* mailbox = find_mailbox(it->first);
    const bool stays = mailbox != nullptr && mailbox->selectable;
    if (stays && mailbox->encoded_name == it->second->encoded_name()) {
      ++it;
      continue;
    }
    pool_->forget(*it->second);
    it->second->on_deselected();
    if (stays) {
      it->second->rename(mailbox->encoded_name);
      ++it;
    } else {
      listed_with_.erase(it->first);
      it = views_.erase(it);
    }
  }
}

io::Task<Result<>> Account::list_mailboxes(session::Lease& lease) {
  using imap::Capability;
  const auto capabilities = lease.capabilities();
  left_while_listing_.clear();
  MailboxListBuilder builder;
  auto collect = [&builder](imap::Response& response) {
    if (auto* list = std::get_if<imap::ListResponse>(&response)) builder.add(*list);
    if (auto* status = std::get_if<imap::StatusDataResponse>(&response)) builder.add(*status);
    if (auto* rights = std::get_if<imap::MyRightsResponse>(&response)) builder.add(*rights);
  };
  const auto changes = mailbox_changes_;
  const bool extended = capabilities.has(Capability::list_extended);
  const bool with_status = extended && lease.tiers().list_status;
  const bool with_rights = extended && capabilities.has(Capability::list_myrights) && rights_are_due();
  const bool xlist = !lease.tiers().special_use && capabilities.has(Capability::xlist);
  imap::CommandBuilder list(xlist ? "XLIST" : "LIST", capabilities);
  list.raw(" \"\" \"*\"")
      .expect(imap::Expect::list | (with_status ? imap::Expect::status : imap::Expect::none) |
              (with_rights ? imap::Expect::other : imap::Expect::none));
  if (extended) {
    list.raw(" RETURN (SUBSCRIBED CHILDREN");
    if (lease.tiers().special_use) list.raw(" SPECIAL-USE");
    if (with_rights) list.raw(" MYRIGHTS");
    if (with_status) list.raw(" STATUS (" + status_items(capabilities) + ")");
    list.raw(")");
  }
  auto listed = co_await run(lease, list, collect);
  if (!listed) co_return listed;
  if (!extended) {
    imap::CommandBuilder lsub("LSUB", capabilities);
    lsub.raw(" \"\" \"*\"").expect(imap::Expect::list);
    if (auto subscribed = co_await run(lease, lsub, collect); !subscribed) co_return subscribed;
  }
  const bool utf8_names = capabilities.utf8_enabled();
  auto names = builder.selectable();
  // The server may leave one out of its answer to LIST (RFC 5819, 2).
  if (with_status)
    std::erase_if(names, [&](const std::string& name) {
      const bool is_told = builder.has_status(name);
      if (is_told) refused_since_.erase(name);
      return is_told || known_before(name) != nullptr;
    });
  if (auto asked = co_await ask_status(lease, builder, std::move(names)); !asked) co_return asked;
  if (builder.truncated())
    context_.loop.logger().warning("too many mailboxes, the rest is not shown", {{"limit", mailboxes_max}});
  if (capabilities.has(Capability::objectid))
    if (auto asked = co_await ask_mailbox_ids(lease, builder, utf8_names); !asked) co_return asked;
  auto fresh = builder.finish(utf8_names);
  if (auto asked = co_await ask_namespace(lease, fresh); !asked) co_return asked;
  if (auto asked = co_await ask_rights(lease, fresh, with_rights); !asked) co_return asked;
  co_await load_sort_orders();
  if (changes == mailbox_changes_) {
    complete_list(fresh);
    change_list(std::move(fresh));
  } else {
    counts_moved_ = true;  // the list may be from before what was changed meanwhile, which is known
  }
  co_return Result<>{};
}

io::Task<Result<Snapshot<std::vector<MailboxData>>>> Account::mailboxes() {
  auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  if (!listed) co_return fail(listed.error());
  const auto freshness = both(*listed, co_await catch_up());
  // From here on nothing suspends.
  tell_counts(true);
  std::vector<MailboxData> all;
  all.reserve(mailboxes_.size());
  for (auto& mailbox : mailboxes_) {
    if (const auto view = views_.find(mailbox.key); view != views_.end() && view->second->attached())
      mailbox.read_only = view->second->read_only();
    const auto& now = counts_told_.at(mailbox.key).counts;
    all.push_back({mailbox, now.total_emails, now.unread_emails, now.total_threads, now.unread_threads});
  }
  co_return Snapshot<std::vector<MailboxData>>{std::move(all), state(StateType::mailbox), freshness};
}

// --- Housekeeping ---

std::size_t Account::view_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [key, view] : views_) bytes += view->memory_bytes();
  return bytes + kept_bytes();
}

void Account::evict_views() {
  kept_.clear();
  merged_.clear();
  kept_lists_.clear();
  departures_.clear();
  for (auto it = views_.begin(); it != views_.end();) {
    if (it->second.use_count() > 1 || filling_.contains(it->first) || syncing_.contains(it->first)) {
      ++it;
      continue;
    }
    remember(*it->second);
    listed_with_.erase(it->first);
    it = views_.erase(it);
  }
}

}  // namespace postern::mail
