// Filing a message (APPEND), never twice. Its UID comes from APPENDUID; where the server doesn't tell, or the
// connection broke behind the last octet, the mailbox is searched for it above the UIDs there were before.
#include <algorithm>

#include "mail/account_support.hpp"
#include "mail/mailbox_names.hpp"
#include "mail/search_program.hpp"
#include "mail/sort_keys.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/parser.hpp"
#include "postern/mail/mime/headers.hpp"

namespace postern::mail {

struct Account::Appending {
  EmailAppend email;
  EffectsHook effects;
  MailboxKey mailbox = 0;
  std::string encoded_name;
  std::vector<std::string> flags;
  // All messages from before are below; 0: not known.
  std::uint32_t end_before = 0, uid_validity_before = 0;
  std::optional<Place> place;
  bool lost = false;   // the connection broke behind the last octet
  bool begun = false;  // sending it
  std::optional<limits::Reservation> granted;
  AppendedEmail result;

  bool failed() const { return !result.outcome.error_type.empty(); }
  void fail_with(std::string type, std::string description, std::vector<std::string> properties = {}) {
    result.outcome = {false, std::move(type), std::move(description), std::move(properties)};
  }
  void fail_with(const limits::Refusal& refusal) {
    fail_with("rateLimit", refusal.description());
    result.outcome.refusal = refusal.encode();
  }
};

namespace {

// More messages than that among which ours may be are not told apart.
constexpr std::size_t appended_candidates_max = 100;

constexpr const char* unreachable = "the mail server can't be reached";

// The last one, as a search key: what stands behind the colon, where that is plain.
std::string message_id_of(std::string_view header) {
  const auto block = parse_header_block(header);
  std::string id;
  for (const auto& field : block.fields)
    if (iequals_ascii(field.name, "Message-ID")) id = std::string(trim_ascii(field.value));
  const bool plain = std::all_of(id.begin(), id.end(), [](char c) { return c > 32 && c < 127; });
  return plain ? id : std::string();
}

// Words of a NO without a code: Courier and others say it so.
bool speaks_of_quota(std::string_view text) { return ascii_lower(text).find("quota") != std::string::npos; }

std::pair<std::string, std::string> append_error_of(const Error& error, const imap::StatusResponse& refusal) {
  const auto& code = refusal.code.name;
  const bool refused = error.code == make_error_code(imap::Errc::no);
  if (refused && (code == "TOOBIG" || code == "LIMIT"))
    return {"tooLarge", "the mail server takes no message of this size"};
  if (refused && code == "TRYCREATE") return {"invalidProperties", "the Mailbox has gone"};
  if (refused && code.empty() && speaks_of_quota(refusal.text))
    return {"overQuota", "the mailbox is over its quota"};
  return set_error_of(error, refusal);
}

}  // namespace

io::Task<Result<AppendedEmail>> Account::append(EmailAppend email, EffectsHook effects) {
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  Appending appending;
  appending.email = std::move(email);
  appending.effects = std::move(effects);
  co_await check_append(appending);
  if (!appending.failed())
    if (auto refused = meter_->check(charge_of(appending))) appending.fail_with(*refused);
  if (!appending.failed()) co_await send_append(appending);
  appending.granted.reset();  // with what has been sent
  if (!appending.failed()) co_await take_appended(appending);
  if (appending.begun) release_status(appending.mailbox);
  if (!appending.failed() && appending.email.mailboxes.size() > 1) co_await copy_appended(appending);
  co_return std::move(appending.result);
}

// It is in the first of its mailboxes. If it can't be in all of them, it is in none.
io::Task<> Account::copy_appended(Appending& a) {
  const auto id = a.result.id;
  auto copied = co_await update({EmailUpdate{id, {}, {}, a.email.mailboxes, {}}}, a.effects);
  if (copied && copied->front().done) co_return;
  auto taken_back = co_await destroy({id}, a.effects);
  const bool gone = taken_back && taken_back->front().done;
  a.result.outcome = copied ? std::move(copied->front()) : SetOutcome{};
  if (!copied || !gone)
    a.fail_with("serverFail", "the message was filed in one Mailbox, and couldn't be copied to the others");
}

// Mail sent. A draft that isn't large may use what is kept back, so that nobody loses what they are writing.
limits::Charge Account::charge_of(const Appending& a) {
  const auto& keywords = a.email.keywords;
  const bool draft = std::find(keywords.begin(), keywords.end(), "$draft") != keywords.end();
  return {limits::amount_of(limits::Count::sent, a.email.size),
          draft && a.email.size <= small_read_octets_max};
}

// Whether the mailbox takes such a message, as far as that can be told beforehand.
io::Task<> Account::check_append(Appending& a) {
  const auto& mailboxes = a.email.mailboxes;
  if (mailboxes.empty()) co_return a.fail_with("invalidProperties", "no Mailbox is given", {"mailboxIds"});
  if (mailboxes.size() > 1 && !may_copy())
    co_return a.fail_with("tooManyMailboxes", "the mail server doesn't tell where copies are",
                          {"mailboxIds"});
  a.mailbox = mailboxes.front();
  const auto is_unknown = [this](MailboxKey key) {
    const auto* mailbox = find_mailbox(key);
    return mailbox == nullptr || !mailbox->selectable;
  };
  if (std::any_of(mailboxes.begin(), mailboxes.end(), is_unknown))
    (void)co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  co_await confirm_rights({mailboxes.begin(), mailboxes.end()});
  for (auto key : mailboxes) {
    if (is_unknown(key))
      co_return a.fail_with("invalidProperties", "no such Mailbox: " + mailbox_id(key), {"mailboxIds"});
    if (!told_rights(*find_mailbox(key)).may_add_items)
      co_return a.fail_with("forbidden", "you may not add Emails to the Mailbox " + mailbox_id(key),
                            {"mailboxIds"});
  }
  const auto rights = told_rights(*find_mailbox(a.mailbox));
  a.encoded_name = find_mailbox(a.mailbox)->encoded_name;
  const auto& keywords = a.email.keywords;
  const bool own_words = std::any_of(keywords.begin(), keywords.end(),
                                     [](const auto& k) { return system_flag_of_keyword(k) == 0; });
  const auto known = views_.find(a.mailbox);
  ViewPtr view = known == views_.end() ? nullptr : known->second;
  // Which keywords a mailbox keeps, is told when it is selected; the system's flags are kept nearly everywhere.
  if (own_words && (view == nullptr || view->uid_validity() == 0)) {
    auto opened = co_await view_of(a.mailbox);
    if (opened)
      if (auto attached = co_await attach_current(*opened); !attached) opened = fail(attached.error());
    if (!opened) co_return a.fail_with("serverUnavailable", unreachable);
    view = *opened;
  }
  const bool selected_once = view != nullptr && view->uid_validity() != 0;
  if (selected_once && view->read_only())
    co_return a.fail_with("forbidden", "the mailbox is read-only", {"mailboxIds"});
  for (const auto& keyword : keywords) {
    if (selected_once && !may_store(*view, keyword))
      co_return a.fail_with("invalidProperties", "the mail server doesn't keep this keyword here: " + keyword,
                            {"keywords"});
    const auto bit = system_flag_of_keyword(keyword);
    a.flags.push_back(selected_once ? imap_flag(*view, keyword)
                      : bit != 0    ? std::string(imap_name_of_system_flag(bit))
                                    : keyword);
  }
  // The server would leave them out and say nothing (RFC 4314, 4).
  if (const char* why = forbidden_flags(rights, a.flags)) a.fail_with("forbidden", why, {"keywords"});
}

// Where the mailbox ends before the message comes. Only asked for where its UID is found by a search for certain.
io::Task<Result<>> Account::know_end(Appending& a) {
  if (pool_->connected() && !pool_->capabilities().has(imap::Capability::uidplus)) {
    auto view = co_await view_of(a.mailbox);
    if (!view) co_return fail(view.error());
    if (auto attached = co_await attach_current(*view); !attached) co_return attached;
  }
  if (const auto* mailbox = find_mailbox(a.mailbox); mailbox != nullptr && mailbox->status.known) {
    a.end_before = mailbox->status.uid_next;
    a.uid_validity_before = mailbox->status.uid_validity;
  }
  const auto view = views_.find(a.mailbox);
  if (view == views_.end() || view->second->uid_validity() == 0) co_return Result<>{};
  const auto& known = *view->second;
  if (a.uid_validity_before != known.uid_validity()) a.end_before = 0;
  a.uid_validity_before = known.uid_validity();
  const auto behind_last = known.index().listed() ? known.index().largest_uid() + 1 : 0;
  a.end_before = std::max({a.end_before, known.uid_next(), behind_last});
  co_return Result<>{};
}

io::Task<Result<std::string>> Account::next_of_append(Appending& a) {
  auto piece = co_await a.email.content->next();
  if (piece && a.granted) a.granted->moved(piece->size());
  co_return piece;
}

io::Task<> Account::send_append(Appending& a) {
  auto lease = co_await pool_->any();
  if (!lease) co_return a.fail_with("serverUnavailable", unreachable);
  const bool uidplus = lease->capabilities().has(imap::Capability::uidplus);
  std::shared_ptr<io::Event> turn;
  if (!uidplus) {
    *lease = session::Lease();  // nobody waits with a connection in hand
    while (appending_) {
      auto other = appending_;
      co_await other->wait();
    }
    turn = appending_ = std::make_shared<io::Event>(context_.loop);
  }
  struct EndOfTurn {
    Account& account;
    std::shared_ptr<io::Event>& turn;
    ~EndOfTurn() {
      if (!turn) return;
      account.appending_.reset();
      turn->set();
    }
  } const end{*this, turn};
  if (auto known = co_await know_end(a); !known) co_return a.fail_with("serverUnavailable", unreachable);
  if (!uidplus) lease = co_await pool_->any();
  if (!lease) co_return a.fail_with("serverUnavailable", unreachable);
  imap::CommandBuilder append("APPEND", lease->capabilities());
  append.sp().encoded_mailbox(a.encoded_name).sp();
  if (!a.flags.empty()) {
    for (std::size_t i = 0; i < a.flags.size(); ++i) append.raw(i == 0 ? "(" : " ").flag(a.flags[i]);
    append.raw(") ");
  }
  if (a.email.received_at) append.raw("\"" + imap::format_date_time(*a.email.received_at) + "\" ");
  append.streamed_literal(a.email.size).write();
  auto command = append.finish();
  if (!command) co_return a.fail_with("invalidProperties", command.error().to_string());
  if (a.effects && !co_await a.effects())
    co_return a.fail_with("serverFail", "nobody waits for this request any more");
  // From here on the request isn't repeated, so nothing is reserved twice.
  auto granted = meter_->reserve(charge_of(a));
  if (!granted) co_return a.fail_with(granted.error());
  a.granted.emplace(std::move(*granted));
  imap::StatusResponse refusal;
  a.begun = true;
  hold_status(a.mailbox);
  auto done =
      co_await lease->execute_streamed(std::move(*command), [&a] { return next_of_append(a); }, &refusal);
  *lease = session::Lease();
  if (done) {
    const auto* told = std::get_if<imap::AppendUid>(&done->code.value);
    if (told != nullptr && told->uids.size() == 1 && told->uids.front() != 0)
      a.place = Place{a.mailbox, told->uid_validity, told->uids.front()};
    else
      co_await find_appended(a);
    co_return;
  }
  a.lost = done.error().code == make_error_code(session::Errc::connection_lost);
  if (a.lost) co_return co_await find_appended(a);
  auto [type, description] = append_error_of(done.error(), refusal);
  const bool about_mailbox = type == "invalidProperties";
  a.fail_with(std::move(type), std::move(description),
              about_mailbox ? std::vector<std::string>{"mailboxIds"} : std::vector<std::string>{});
}

// One message, no more, that has come since, with the Message-ID that ours has: nothing else is taken for it. Where the
// server hasn't said that it has filed ours, one without a Message-ID could be anybody's.
io::Task<> Account::find_appended(Appending& a) {
  Result<UidList> found = UidList{};
  const bool recognisable = !a.lost || !message_id_of(a.email.header).empty();
  if (a.end_before != 0 && recognisable) found = co_await search_appended(a);
  if (found && found->size() == 1) {
    a.place = Place{a.mailbox, a.uid_validity_before, found->front()};
    co_return;
  }
  bump_all();  // something may be there
  if (a.lost)
    co_return a.fail_with(
        "serverFail", "the connection to the mail server broke behind the message: its outcome is unknown");
  a.fail_with("serverFail", "the message was filed, but the mail server doesn't tell which one it is");
}

io::Task<Result<UidList>> Account::search_appended(const Appending& a) {
  auto view = co_await view_of(a.mailbox);
  if (!view) co_return fail(view.error());
  if (auto attached = co_await attach_current(*view); !attached) co_return fail(attached.error());
  if ((*view)->uid_validity() != a.uid_validity_before) co_return UidList{};
  const auto message_id = message_id_of(a.email.header);
  UidList found;
  auto searched = co_await on_mailbox(*view, [&](session::Lease& lease) -> io::Task<Result<>> {
    found.clear();
    // Servers that know only of what they have told (RFC 3501, 7) hear of the message now.
    imap::CommandBuilder noop("NOOP", lease.capabilities());
    if (auto heard = co_await run(lease, noop); !heard) co_return heard;
    auto search = search_message_id_command(a.end_before, message_id, lease.capabilities());
    co_return co_await run(lease, std::move(search), [&found](imap::Response& response) {
      if (auto uids = search_result(response)) found = std::move(*uids);
    });
  });
  if (!searched) co_return fail(searched.error());
  if ((*view)->uid_validity() != a.uid_validity_before) co_return UidList{};
  std::erase_if(found, [&a](std::uint32_t uid) { return uid < a.end_before; });
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  const bool is_certain = !a.lost && !message_id.empty();
  if (found.empty() || (found.size() == 1 && is_certain)) co_return found;
  // Perhaps somebody else's, or somebody else's copy: of another size.
  if (found.size() > appended_candidates_max) co_return UidList{};
  (void)co_await attach(*view);
  std::map<std::uint32_t, MessageSource> sources;
  for (const auto uid : found)
    if (const auto* entry = (*view)->index().find(uid); entry != nullptr && !entry->is_known())
      sources[uid].id = Place{a.mailbox, a.uid_validity_before, uid};
  std::uint64_t octets = 0;
  if (!sources.empty())
    if (auto fetched = co_await fetch_sources(*view, FetchPlan{}, sources, octets); !fetched)
      co_return fail(fetched.error());
  std::erase_if(found, [&](std::uint32_t uid) {
    const auto* entry = (*view)->index().find(uid);
    return entry == nullptr || !entry->is_known() || entry->size != a.email.size;
  });
  co_return found;
}

// The message is there: its ids, and what is known of its mailbox.
io::Task<> Account::take_appended(Appending& a) {
  a.result.outcome.done = true;
  a.result.id = *a.place;
  const auto view = views_.find(a.mailbox);
  const ViewPtr heard = view != views_.end() && view->second->attached() ? view->second : nullptr;
  // Its arrival is announced: the states that are told now are those with it.
  if (heard) (void)co_await attach(heard);
  if (!heard || visible_entry(*heard, *a.place) == nullptr) {
    // Told now, and not once more when it is heard of.
    const auto& keywords = a.email.keywords;
    expect_at(*a.place, std::find(keywords.begin(), keywords.end(), "$seen") != keywords.end());
    tell_arrived(*a.place, 0);
    tell_mailbox(ChangeKind::counts, a.mailbox);
    if (const auto told = counts_told_.find(a.mailbox); told != counts_told_.end()) told->second.open = true;
  } else if (!tells_its_counts(a.mailbox)) {
    note_uncounted(a.mailbox, unknown_uid_next);
  }
  if (has_mailboxes_made_of_others()) counts_moved_ = true;
  const auto& capabilities = pool_->capabilities();
  a.result.thread = thread_key_of(a.email.header, a.result.id);
  if (!capabilities.has(imap::Capability::objectid) && !capabilities.has(imap::Capability::gmail)) co_return;
  // The server's own threads: only it knows.
  FetchPlan plan;
  plan.signature = "append";
  plan.thread = true;
  plan.cacheable = false;
  plan.render = [&a](const MessageSource& source) {
    a.result.thread = source.thread;
    return Fragment{};
  };
  (void)co_await fetch({a.result.id}, std::move(plan));
}

}  // namespace postern::mail
