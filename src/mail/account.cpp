// The account itself: its mailboxes, its views, its ids and its states.
#include "postern/mail/account.hpp"

#include <algorithm>
#include <utility>

#include "mail/account_support.hpp"
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
        case Errc::messages_expunged: return "some of the messages are gone";
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
  if (code == make_error_code(imap::Errc::no) || code == make_error_code(imap::Errc::bad))
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
    : context_(context), key_(key), login_(credentials.login), idle_(context.loop) {
  pool_ = session::Pool::make(context_.loop, context_.server, std::move(credentials), this,
                              std::move(client_address));
  counters_ = context_.segment.counters(key_);
  if (counters_ == store::StateCounters{}) counters_ = store::first_counters(context_.loop.clock().wall());
  // What happened while nobody was connected isn't known: the states of before are not those of now.
  ++counters_.email;
  ++counters_.mailbox;
  ++counters_.thread;
  counters_dirty_ = true;
  for (const auto& redirect : context_.segment.redirects(key_)) {
    current_of_[redirect.origin] = redirect.current;
    origin_of_[redirect.current] = redirect.origin;
  }
}

Account::~Account() = default;

// --- States ---

void Account::bump(StateType type) {
  switch (type) {
    case StateType::mailbox: ++counters_.mailbox; break;
    case StateType::email: ++counters_.email; break;
    case StateType::thread: ++counters_.thread; break;
  }
  counters_dirty_ = true;
}

void Account::bump_all() {
  bump(StateType::email);
  bump(StateType::mailbox);
  bump(StateType::thread);
}

void Account::save_state() {
  if (!counters_dirty_) return;
  // A full table is no reason to fail: the states then start anew with the next broker.
  if (auto put = context_.segment.put_counters(key_, counters_); !put)
    context_.loop.logger().warning("state counters not saved", {{"error", put.error().to_string()}});
  counters_dirty_ = false;
}

std::string Account::state(StateType type) {
  save_state();  // a state a client has seen is never given again for something else
  switch (type) {
    case StateType::mailbox: return std::to_string(counters_.mailbox);
    case StateType::email: return std::to_string(counters_.email);
    case StateType::thread: return std::to_string(counters_.thread);
  }
  return {};
}

void Account::on_message_arrived(MailboxView&, std::uint32_t) { bump_all(); }
void Account::on_message_changed(MailboxView&, std::uint32_t) {
  bump(StateType::email);
  bump(StateType::mailbox);
}
void Account::on_message_hidden(MailboxView&, std::uint32_t) { bump_all(); }
void Account::on_message_gone(MailboxView& view, std::uint32_t uid) {
  drop_redirect_to(Place{view.key(), view.uid_validity(), uid});
  bump_all();
}
void Account::on_behind(MailboxView&) { bump_all(); }
void Account::on_left(MailboxView& view) {
  if (view.sync_need() != SyncNeed::none) return;
  if (view.index().filled()) counts_left_[view.key()] = counts_of(view);
  // What STATUS would say: no news when it does.
  if (const auto at = mailbox_at_.find(view.key()); at != mailbox_at_.end()) {
    auto& status = mailboxes_[at->second].status;
    status.messages = static_cast<std::uint32_t>(view.index().size());
    if (view.uid_next() != 0) status.uid_next = view.uid_next();
  }
}
void Account::on_reset(MailboxView& view) {
  context_.loop.logger().info("UIDVALIDITY changed", {{"mailbox", view.encoded_name()}});
  bump_all();
}

// --- Ids ---

Place Account::place_of(const EmailKey& id) const {
  auto it = current_of_.find(id);
  return it == current_of_.end() ? id : it->second;
}

EmailKey Account::id_of(const Place& place) const {
  auto it = origin_of_.find(place);
  return it == origin_of_.end() ? place : it->second;
}

void Account::add_redirect(const EmailKey& origin, const Place& current) {
  if (auto before = current_of_.find(origin); before != current_of_.end()) origin_of_.erase(before->second);
  if (origin == current) {  // it came back to where it was first seen
    current_of_.erase(origin);
    context_.segment.drop_redirect(key_, origin);
    return;
  }
  current_of_[origin] = current;
  origin_of_[current] = origin;
  if (auto put = context_.segment.put_redirect({key_, origin, current}); !put)
    context_.loop.logger().warning("redirect not saved", {{"error", put.error().to_string()}});
}

void Account::drop_redirect_to(const Place& place) {
  auto it = origin_of_.find(place);
  if (it == origin_of_.end()) return;
  context_.segment.drop_redirect(key_, it->second);
  current_of_.erase(it->second);
  origin_of_.erase(it);
}

// --- Mailboxes ---

const Mailbox* Account::find_mailbox(MailboxKey key) const {
  auto it = mailbox_at_.find(key);
  return it == mailbox_at_.end() ? nullptr : &mailboxes_[it->second];
}

io::Task<Result<ViewPtr>> Account::view_of(MailboxKey key) {
  if (auto it = views_.find(key); it != views_.end()) co_return it->second;
  if (find_mailbox(key) == nullptr) {
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

// The list that is being asked for, and what came of it for those who wait.
struct Account::Listing {
  explicit Listing(io::Loop& loop) : done(loop) {}
  io::Event done;
  Result<Freshness> outcome = fail(Errc::server_unavailable);
};

io::Task<Result<Freshness>> Account::refresh_mailboxes(Duration fresh) {
  if (mailboxes_listed_) {
    if (fresh == any_age) co_return Freshness::current;
    if (!counts_moved_ && context_.loop.clock().now() - *mailboxes_listed_ < fresh)
      co_return Freshness::current;
  }
  if (auto other = listing_) {
    co_await other->done.wait();
    co_return other->outcome;
  }
  auto listing = listing_ = std::make_shared<Listing>(context_.loop);
  listing->outcome = co_await ask_for_mailboxes();
  listing_.reset();
  listing->done.set();
  co_return listing->outcome;
}

io::Task<Result<Freshness>> Account::ask_for_mailboxes() {
  Result<> result;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto lease = co_await pool_->any();
    if (!lease) {
      result = fail(mail_error(lease.error()));
      break;
    }
    const bool moved =
        std::exchange(counts_moved_, false);  // what is moved from now on may not be in the answer
    result = co_await list_mailboxes(*lease);
    if (result) {
      mailboxes_listed_ = context_.loop.clock().now();
      co_return Freshness::current;
    }
    counts_moved_ = counts_moved_ || moved;
    if (!is_lost(result.error())) break;
  }
  result = fail(mail_error(result.error()));
  // What was listed last is still better than nothing.
  if (mailboxes_listed_ && result.error().code == make_error_code(Errc::server_unavailable))
    co_return Freshness::stale;
  co_return fail(result.error());
}

namespace {

std::string status_items(const imap::CapabilitySet& capabilities) {
  std::string items = "MESSAGES UNSEEN UIDNEXT UIDVALIDITY";
  if (capabilities.has(imap::Capability::condstore)) items += " HIGHESTMODSEQ";
  return items;
}

// The first level of the personal namespace is nobody's child: on a server that keeps all under INBOX the
// person has folders, not INBOX's children.
void cut_personal_prefix(std::vector<Mailbox>& mailboxes, std::string_view prefix) {
  for (auto& mailbox : mailboxes)
    if (mailbox.encoded_name.starts_with(prefix) &&
        mailbox.encoded_name.find(mailbox.separator, prefix.size()) == std::string::npos)
      mailbox.parent.reset();
}

}  // namespace

void Account::take_list(std::vector<Mailbox> fresh) {
  const auto differs = [](const Mailbox& a, const Mailbox& b) {
    return a.key != b.key || a.encoded_name != b.encoded_name || a.role != b.role ||
           a.subscribed != b.subscribed || a.selectable != b.selectable ||
           a.status.messages != b.status.messages || a.status.unseen != b.status.unseen;
  };
  if (!std::equal(fresh.begin(), fresh.end(), mailboxes_.begin(), mailboxes_.end(),
                  [&](const Mailbox& a, const Mailbox& b) { return !differs(a, b); }))
    bump(StateType::mailbox);
  const auto has_news = [this](const Mailbox& now) {
    const auto* before = find_mailbox(now.key);
    if (before == nullptr) return true;
    if (const auto view = views_.find(now.key); view != views_.end() && view->second->attached())
      return false;  // it hears for itself
    const auto &a = before->status, &b = now.status;
    return a.known && b.known &&
           (a.messages != b.messages || a.uid_next != b.uid_next || a.uid_validity != b.uid_validity);
  };
  if (mailboxes_listed_ &&
      (fresh.size() != mailboxes_.size() || std::any_of(fresh.begin(), fresh.end(), has_news))) {
    bump(StateType::email);
    bump(StateType::thread);
  }
  mailboxes_ = std::move(fresh);
  mailbox_at_.clear();
  for (std::size_t i = 0; i < mailboxes_.size(); ++i) mailbox_at_[mailboxes_[i].key] = i;
  std::erase_if(counts_told_, [this](const auto& told) { return find_mailbox(told.first) == nullptr; });
}

io::Task<Result<>> Account::list_mailboxes(session::Lease& lease) {
  using imap::Capability;
  const auto capabilities = lease.capabilities();
  counts_left_.clear();  // STATUS is newer than they are, but for views that are left from now on
  MailboxListBuilder builder;
  auto collect = [&builder](imap::Response& response) {
    if (auto* list = std::get_if<imap::ListResponse>(&response)) builder.add(*list);
    if (auto* status = std::get_if<imap::StatusDataResponse>(&response)) builder.add(*status);
  };
  const bool extended = capabilities.has(Capability::list_extended);
  const bool with_status = extended && lease.tiers().list_status;
  const bool xlist = !lease.tiers().special_use && capabilities.has(Capability::xlist);
  imap::CommandBuilder list(xlist ? "XLIST" : "LIST", capabilities);
  list.raw(" \"\" \"*\"")
      .expect(imap::Expect::list | (with_status ? imap::Expect::status : imap::Expect::none));
  if (extended) {
    list.raw(" RETURN (SUBSCRIBED CHILDREN");
    if (lease.tiers().special_use) list.raw(" SPECIAL-USE");
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
  const bool utf8_names = capabilities.has(Capability::imap4rev2);
  if (!with_status) {
    std::vector<std::string> names;
    for (const auto& mailbox : builder.finish(utf8_names))
      if (mailbox.selectable) names.push_back(mailbox.encoded_name);
    if (auto asked = co_await ask_status(lease, builder, std::move(names)); !asked) co_return asked;
  }
  if (builder.truncated())
    context_.loop.logger().warning("too many mailboxes, the rest is not shown", {{"limit", mailboxes_max}});
  if (capabilities.has(Capability::objectid))
    if (auto asked = co_await ask_mailbox_ids(lease, builder, utf8_names); !asked) co_return asked;
  auto fresh = builder.finish(utf8_names);
  if (!personal_prefix_ && capabilities.has(Capability::namespace_))
    if (auto asked = co_await ask_personal_prefix(lease, fresh); !asked) co_return asked;
  if (personal_prefix_ && !personal_prefix_->empty()) cut_personal_prefix(fresh, *personal_prefix_);
  take_list(std::move(fresh));
  // Renamed ones keep their view; those that are gone lose it.
  for (auto it = views_.begin(); it != views_.end();) {
    const auto* mailbox = find_mailbox(it->first);
    if (mailbox != nullptr && mailbox->selectable) {
      if (mailbox->encoded_name != it->second->encoded_name()) {
        pool_->forget(*it->second);
        it->second->on_deselected();
        it->second->rename(mailbox->encoded_name);
      }
      ++it;
    } else {
      pool_->forget(*it->second);
      it->second->on_deselected();
      it = views_.erase(it);
      bump_all();  // as in evict_views()
    }
  }
  co_return Result<>{};
}

// One STATUS a mailbox. NO for one (it has just been deleted, or may not be read) is no error.
io::Task<Result<>> Account::ask_status(session::Lease& lease, MailboxListBuilder& builder,
                                       std::vector<std::string> names) {
  const auto capabilities = lease.capabilities();
  for (const auto& name : names) {
    imap::CommandBuilder status("STATUS", capabilities);
    status.sp()
        .encoded_mailbox(name)
        .raw(" (" + status_items(capabilities) + ")")
        .expect(imap::Expect::status);
    auto asked = co_await run(lease, status, [&builder](imap::Response& response) {
      if (auto* data = std::get_if<imap::StatusDataResponse>(&response)) builder.add(*data);
    });
    if (!asked && asked.error().code != make_error_code(imap::Errc::no)) co_return asked;
  }
  co_return Result<>{};
}

// MAILBOXID (RFC 8474, 4.3) is asked for by itself: together with items for which it opens the mailbox, Cyrus 3.6
// answers with memory that it has freed. A mailbox keeps its id for as long as it has its name and UIDVALIDITY, so
// that a list in which nothing is new costs nothing more.
io::Task<Result<>> Account::ask_mailbox_ids(session::Lease& lease, MailboxListBuilder& builder,
                                            bool utf8_names) {
  const auto capabilities = lease.capabilities();
  std::map<std::string_view, const Mailbox*> known;
  for (const auto& mailbox : mailboxes_)
    if (!mailbox.object_id.empty()) known.emplace(mailbox.encoded_name, &mailbox);
  std::vector<std::string> unknown;
  for (const auto& mailbox : builder.finish(utf8_names)) {
    if (!mailbox.selectable) continue;
    const auto found = known.find(mailbox.encoded_name);
    // A STATUS that is left out once (RFC 5819, 2), or refused, says nothing: the mailbox is still the one it was.
    if (found == known.end() && !mailbox.status.known) continue;
    if (found == known.end() || (mailbox.status.uid_validity != 0 &&
                                 found->second->status.uid_validity != mailbox.status.uid_validity)) {
      unknown.push_back(mailbox.encoded_name);
      continue;
    }
    imap::StatusDataResponse id;
    id.mailbox = mailbox.encoded_name;
    id.mailbox_id = found->second->object_id;
    builder.add(id);
  }
  auto collect = [&builder](imap::Response& response) {
    if (auto* status = std::get_if<imap::StatusDataResponse>(&response)) builder.add(*status);
  };
  if (!unknown.empty() && lease.tiers().list_status && capabilities.has(imap::Capability::list_extended)) {
    imap::CommandBuilder list("LIST", capabilities);
    list.raw(" \"\" \"*\" RETURN (STATUS (MAILBOXID))").expect(imap::Expect::list | imap::Expect::status);
    co_return co_await run(lease, list, collect);
  }
  for (const auto& name : unknown) {
    imap::CommandBuilder status("STATUS", capabilities);
    status.sp().encoded_mailbox(name).raw(" (MAILBOXID)").expect(imap::Expect::status);
    auto asked = co_await run(lease, status, collect);
    if (!asked && asked.error().code != make_error_code(imap::Errc::no)) co_return asked;
  }
  co_return Result<>{};
}

// NAMESPACE (RFC 2342), once, and only where the list has something under INBOX that it may be about.
io::Task<Result<>> Account::ask_personal_prefix(session::Lease& lease, const std::vector<Mailbox>& listed) {
  const bool matters = std::any_of(listed.begin(), listed.end(), [](const Mailbox& mailbox) {
    return mailbox.separator != 0 &&
           mailbox.encoded_name.starts_with(std::string("INBOX") + mailbox.separator);
  });
  if (!matters) co_return Result<>{};
  std::string prefix;
  imap::CommandBuilder names("NAMESPACE", lease.capabilities());
  names.expect(imap::Expect::other);
  auto asked = co_await run(lease, names, [&prefix](imap::Response& response) {
    if (auto* spaces = std::get_if<imap::NamespaceResponse>(&response); spaces && !spaces->personal.empty())
      prefix = spaces->personal.front().prefix;
  });
  if (!asked && asked.error().code != make_error_code(imap::Errc::no)) co_return asked;
  personal_prefix_ = std::move(prefix);
  co_return Result<>{};
}

io::Task<Result<Snapshot<std::vector<MailboxData>>>> Account::mailboxes() {
  auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  if (!listed) co_return fail(listed.error());
  const auto freshness = both(*listed, co_await catch_up());
  // From here on nothing suspends.
  bool news = false;
  std::vector<MailboxData> all;
  all.reserve(mailboxes_.size());
  for (const auto& mailbox : mailboxes_) {
    const auto now = counts_of(mailbox);
    const auto [told, first] = counts_told_.try_emplace(mailbox.key, now);
    if (!first && told->second != now) {
      told->second = now;
      news = true;
    }
    all.push_back({mailbox, now.total_emails, now.unread_emails, now.total_threads, now.unread_threads});
  }
  if (news) bump(StateType::mailbox);  // other numbers are never told under the same state
  co_return Snapshot<std::vector<MailboxData>>{std::move(all), state(StateType::mailbox), freshness};
}

// --- Housekeeping ---

std::size_t Account::view_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [key, view] : views_) bytes += view->memory_bytes();
  return bytes;
}

void Account::evict_views() {
  bool evicted = false;
  for (auto it = views_.begin(); it != views_.end();) {
    if (it->second.use_count() > 1 || filling_.contains(it->first) || syncing_.contains(it->first)) {
      ++it;
      continue;
    }
    it = views_.erase(it);
    evicted = true;
  }
  // What happens in a mailbox that nobody hears any more isn't known: the states of before are not those of later.
  if (evicted) bump_all();
}

}  // namespace postern::mail
