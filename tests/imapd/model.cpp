// The stored state of the test server; see model.hpp.
#include "model.hpp"

#include <algorithm>
#include <array>

#include "session.hpp"

namespace postern::testimapd {

namespace {

constexpr std::array<std::string_view, system_flags> system_flag_names{"\\Answered", "\\Flagged", "\\Deleted",
                                                                       "\\Seen", "\\Draft"};

bool uid_less(const Message& message, std::uint32_t uid) { return message.uid < uid; }

}  // namespace

std::vector<Message>& Mailbox::writable() {
  if (messages_.use_count() > 1) messages_ = std::make_shared<std::vector<Message>>(*messages_);
  return *messages_;
}

void Mailbox::share(std::shared_ptr<std::vector<Message>> messages) { messages_ = std::move(messages); }

const Message* Mailbox::find(std::uint32_t uid) const {
  auto found = std::lower_bound(messages_->begin(), messages_->end(), uid, uid_less);
  return found == messages_->end() || found->uid != uid ? nullptr : &*found;
}

Message* Mailbox::find_writable(std::uint32_t uid) {
  auto& own = writable();
  auto found = std::lower_bound(own.begin(), own.end(), uid, uid_less);
  return found == own.end() || found->uid != uid ? nullptr : &*found;
}

std::size_t Mailbox::count_up_to(std::uint32_t uid) const {
  auto found = std::upper_bound(messages_->begin(), messages_->end(), uid,
                                [](std::uint32_t value, const Message& entry) { return value < entry.uid; });
  return static_cast<std::size_t>(found - messages_->begin());
}

std::uint64_t Mailbox::flag_bit(std::string_view flag) const {
  for (std::size_t i = 0; i < system_flag_names.size(); ++i)
    if (iequals(system_flag_names[i], flag)) return 1ULL << i;
  for (std::size_t i = 0; i < keywords.size(); ++i)
    if (iequals(keywords[i], flag)) return 1ULL << (i + system_flags);
  return 0;
}

std::uint64_t Mailbox::flag_bit(std::string_view flag, bool create) {
  auto known = flag_bit(flag);
  if (known != 0 || !create || flag.starts_with('\\') || keywords.size() >= keywords_max) return known;
  keywords.emplace_back(flag);
  return 1ULL << (keywords.size() - 1 + system_flags);
}

std::string Mailbox::flag_names(std::uint64_t flags) const {
  std::string out;
  auto add = [&](std::string_view name) {
    if (!out.empty()) out += ' ';
    out += name;
  };
  for (std::size_t i = 0; i < system_flag_names.size(); ++i)
    if ((flags >> i & 1U) != 0) add(system_flag_names[i]);
  for (std::size_t i = 0; i < keywords.size(); ++i)
    if ((flags >> (i + system_flags) & 1U) != 0) add(keywords[i]);
  return out;
}

Store::Store(const Options& options)
    : options_(options),
      render_{options.quirks.eight_bit_quoted, options.quirks.nil_strings},
      corpus_(render_),
      next_uidvalidity_(options.uidvalidity) {}

std::string Store::canonical(std::string_view name) {
  if (iequals(name, "INBOX")) return "INBOX";
  if (name.size() > 6 && iequals(name.substr(0, 5), "INBOX") && (name[5] == '.' || name[5] == '/'))
    return "INBOX" + std::string(name.substr(5));
  return std::string(name);
}

std::string Store::wire_name(const SampleMailbox& sample) const {
  std::string name = sample.name;
  if (options_.separator != '\0') std::replace(name.begin(), name.end(), '/', options_.separator);
  return iequals(name, "INBOX") ? "INBOX" : options_.prefix + mutf7_encode(name);
}

User* Store::find_user(std::string_view name) {
  auto found = users_.find(name);
  if (found != users_.end()) return found->second.get();
  std::optional<std::string> password;
  if (auto fixed = options_.users.find(std::string(name)); fixed != options_.users.end())
    password = fixed->second;
  else if (name.starts_with("user"))
    if (auto number = to_number(name.substr(4));
        number && *number < options_.generated_users && name == "user" + std::to_string(*number))
      password = options_.generated_password;
  if (!password) return nullptr;
  auto user = std::make_unique<User>();
  user->name = name;
  user->password = *password;
  return users_.emplace(std::string(name), std::move(user)).first->second.get();
}

User* Store::open_user(std::string_view name) {
  User* user = find_user(name);
  if (user != nullptr && !user->populated) populate(*user);
  return user;
}

void Store::populate(User& user) {
  user.populated = true;
  for (std::size_t i = 0; i < options_.mailboxes.size(); ++i) {
    const SampleMailbox& sample = options_.mailboxes[i];
    auto mailbox = create(user, wire_name(sample));
    if (!mailbox) continue;
    mailbox->special_use = sample.special_use;
    mailbox->subscribed = sample.subscribed;
    mailbox->uidvalidity = options_.uidvalidity + static_cast<std::uint32_t>(i);
    if (sample.messages > 0) {
      mailbox->share(generated(i, sample.messages));
      mailbox->uidnext = sample.messages + 1;
      mailbox->first_recent_uid = mailbox->uidnext;
      mailbox->highestmodseq = sample.messages;
      mailbox->keywords = {"$Forwarded", "$Junk", "NonJunk"};
    }
  }
  next_uidvalidity_ = std::max(next_uidvalidity_,
                               options_.uidvalidity + static_cast<std::uint32_t>(options_.mailboxes.size()));
}

std::shared_ptr<std::vector<Message>> Store::generated(std::size_t index, std::uint32_t count) {
  auto& shared = generated_[{index, count}];
  if (shared) return shared;
  shared = std::make_shared<std::vector<Message>>(count);
  auto base = static_cast<std::uint32_t>(index % 10) * numbers_per_mailbox;
  for (std::uint32_t i = 0; i < count; ++i) {
    Message& message = (*shared)[i];
    message.uid = i + 1;
    message.number = base + i + 1;
    message.modseq = i + 1;
    message.email_id = message.number;
    message.internal_date = message.save_date = Corpus::internal_date_of(message.number);
    message.body = corpus_.body_of(message.number);
    if (i % 4 != 3) message.flags |= flag_seen;
    if (i % 7 == 5) message.flags |= flag_answered | flag_seen;
    if (i % 31 == 11) message.flags |= flag_flagged;
    if (i % 53 == 17) message.flags |= 1ULL << system_flags;  // $Forwarded
  }
  return shared;
}

Mailbox* Store::find(User& user, std::string_view name) {
  auto found = user.mailboxes.find(canonical(name));
  return found == user.mailboxes.end() ? nullptr : found->second.get();
}

std::shared_ptr<Mailbox> Store::create(User& user, std::string_view wire_name) {
  std::string name = canonical(wire_name);
  auto& slot = user.mailboxes[name];
  if (slot && !slot->no_select) return nullptr;
  if (!slot) {
    slot = std::make_shared<Mailbox>();
    slot->name = name;
    slot->user = &user;
    slot->id = next_mailbox_id_++;
    slot->uidvalidity = next_uidvalidity_++;
    slot->subscribed = user.subscriptions_only.erase(name) > 0;
  }
  slot->no_select = false;
  auto made = slot;
  create_superior(user, name);
  Session::name_changed(user, *made, {});
  return made;
}

// Superior names come to be as needed, RFC 3501 sections 6.3.3 and 6.3.5.
void Store::create_superior(User& user, const std::string& name) {
  if (options_.separator == '\0') return;
  auto cut = name.rfind(options_.separator);
  if (cut != std::string::npos && cut > 0 && find(user, name.substr(0, cut)) == nullptr)
    create(user, name.substr(0, cut));
}

void Store::remove(User& user, std::string_view name) {
  auto found = user.mailboxes.find(canonical(name));
  if (found == user.mailboxes.end()) return;
  auto mailbox = found->second;
  if (mailbox->subscribed) user.subscriptions_only[mailbox->name] = true;
  user.mailboxes.erase(found);
  mailbox->deleted = true;
  Session::name_changed(user, *mailbox, {});
}

bool Store::rename(User& user, std::string_view from_name, std::string_view to_name) {
  auto from = canonical(from_name);
  auto to = canonical(to_name);
  if (find(user, from) == nullptr || find(user, to) != nullptr || from == to) return false;
  if (from == "INBOX") {
    auto made = create(user, to);
    Mailbox* inbox = find(user, from);
    std::vector<std::uint32_t> uids;
    for (const Message& message : inbox->messages()) {
      add(*made, message, nullptr);
      uids.push_back(message.uid);
    }
    made->keywords = inbox->keywords;
    expunge(*inbox, uids, nullptr);
    return true;
  }
  std::vector<std::shared_ptr<Mailbox>> moved;
  for (auto& [name, mailbox] : user.mailboxes)
    if (name == from || (options_.separator != '\0' && name.starts_with(from + options_.separator)))
      moved.push_back(mailbox);
  create_superior(user, to);
  for (auto& mailbox : moved) {
    auto old_name = mailbox->name;
    user.mailboxes.erase(old_name);
    mailbox->name = to + old_name.substr(from.size());
    user.mailboxes[mailbox->name] = mailbox;
    Session::name_changed(user, *mailbox, old_name);
  }
  return true;
}

void Store::roll_uidvalidity(Mailbox& mailbox) {
  mailbox.uidvalidity = ++next_uidvalidity_;
  auto& own = mailbox.writable();
  // Rotated, so that an old UID now names another message.
  if (own.size() > 1) std::rotate(own.begin(), own.begin() + 1, own.end());
  std::uint32_t uid = 1;
  for (Message& message : own) {
    message.uid = uid++;
    message.modseq = mailbox.next_modseq();
  }
  mailbox.uidnext = uid;
  mailbox.first_recent_uid = uid;
  mailbox.expunged.clear();
  for (Session* session : mailbox.selected_by) session->forget_view();
}

std::shared_ptr<const Body> Store::body_of(std::string raw) const {
  return make_body(std::move(raw), false, render_);
}

Message& Store::add(Mailbox& mailbox, Message message, Session* by) {
  message.uid = mailbox.uidnext++;
  message.modseq = mailbox.next_modseq();
  if (message.email_id == 0) message.email_id = next_email_id_++;
  auto& own = mailbox.writable();
  own.push_back(std::move(message));
  Session::message_added(mailbox, own.back(), by);
  return own.back();
}

void Store::set_flags(Mailbox& mailbox, Message& message, std::uint64_t flags, Session* by) {
  message.flags = flags;
  message.modseq = mailbox.next_modseq();
  Session::flags_changed(mailbox, message, by);
}

void Store::expunge(Mailbox& mailbox, const std::vector<std::uint32_t>& uids, Session* by) {
  std::vector<std::uint32_t> gone;
  auto modseq = uids.empty() ? 0 : mailbox.next_modseq();
  auto& own = mailbox.writable();
  std::erase_if(own, [&](const Message& message) {
    if (!std::binary_search(uids.begin(), uids.end(), message.uid)) return false;
    gone.push_back(message.uid);
    return true;
  });
  for (std::uint32_t uid : gone) mailbox.expunged.push_back({uid, modseq});
  if (!gone.empty()) Session::messages_expunged(mailbox, gone, modseq, by);
}

}  // namespace postern::testimapd
