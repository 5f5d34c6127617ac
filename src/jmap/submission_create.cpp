// From the client's object to a message that has been handed over. One piece of the message is in memory at a time, and
// its header; sizes are bounded by outbox::Options and mail::header_bytes_max.
#include "jmap/submission_create.hpp"

#include <algorithm>

#include "jmap/set_support.hpp"
#include "jmap/submission_support.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/smtp/content.hpp"

namespace postern::jmap {
namespace {

constexpr std::size_t piece_bytes = 512 * 1024;  // as they are written down

std::unexpected<Refusal> refused(std::string type, std::string description,
                                 std::vector<std::string> properties = {}) {
  return std::unexpected(Refusal{set_error(std::move(type), std::move(description), std::move(properties))});
}

std::unexpected<Refusal> refused(const Error& error) {
  if (error.code == mail::Errc::not_found) return refused("invalidProperties", "no such Email", {"emailId"});
  if (error.code.category() == records::records_category())
    return std::unexpected(Refusal{set_error_of_records(error)});
  return std::unexpected(Refusal{set_error(method_error_of(error).error())});
}

// What the client says.
struct WantedSubmission {
  std::string_view identity_id, email_id;
  const rapidjson::Value* envelope = nullptr;
};

std::expected<WantedSubmission, Refusal> parse_wanted_submission(const CallContext& context,
                                                                 const rapidjson::Value& object) {
  if (!object.IsObject()) return refused("invalidProperties", "must be an object");
  WantedSubmission wanted;
  std::vector<std::string> wrong;
  for (const auto& member : object.GetObject()) {
    const auto property = text_of(member.name);
    if (property == "envelope")
      wanted.envelope = member.value.IsNull() ? nullptr : &member.value;
    else if ((property == "identityId" || property == "emailId") && member.value.IsString())
      (property == "emailId" ? wanted.email_id : wanted.identity_id) =
          context.created_ids.resolve(text_of(member.value));
    else
      wrong.emplace_back(property);
  }
  if (!wrong.empty()) return refused("invalidProperties", "can't be set", std::move(wrong));
  if (wanted.email_id.empty()) wrong.emplace_back("emailId");
  if (wanted.identity_id.empty()) wrong.emplace_back("identityId");
  if (!wrong.empty()) return refused("invalidProperties", "must be given", std::move(wrong));
  return wanted;
}

// Where the empty line is, or the line end before it; npos where it hasn't come yet.
std::size_t end_of_header(std::string_view head) {
  if (head.starts_with("\r\n") || head.starts_with('\n')) return 0;
  return std::min(head.find("\n\r\n"), head.find("\n\n"));
}

// Has it all, or as much as there may be of it?
bool has_header(std::string_view head) {
  return head.size() > mail::header_bytes_max || end_of_header(head) != std::string_view::npos;
}

// A CR with no LF behind it ends a line of what goes out (smtp::OutgoingMessage), and doesn't for whoever reads the
// header here: what is Bcc for the one would be text for the other.
bool has_lone_cr(std::string_view head) {
  head = head.substr(0, end_of_header(head));
  for (auto at = head.find('\r'); at != std::string_view::npos; at = head.find('\r', at + 1))
    if (at + 1 < head.size() && head[at + 1] != '\n') return true;
  return false;
}

// What a message counts as when it is sent, and how that is refused.
limits::Charge charge_of(const CallContext& context, std::uint64_t octets,
                         const records::Submission& submission) {
  return {context.meter->plan().submission(octets, submission.recipients.size())};
}

std::unexpected<Refusal> over_plan(const limits::Refusal& refusal) {
  return std::unexpected(Refusal{set_error(refusal)});
}

// A message as it is read from the mailbox.
struct Reading {
  std::unique_ptr<mail::BlobReader> reader;
  std::string head;  // from the first octet to the end of the header, and what came with it
  mail::HeaderBlock header;
};

std::unexpected<Refusal> too_large(const outbox::Options& options) {
  return std::unexpected(Refusal{set_error("tooLarge", "the message is larger than can be sent"),
                                 {{"maxSize", std::to_string(options.message_bytes_max)}}});
}

io::Task<std::expected<Reading, Refusal>> open_message(CallContext& context, const mail::EmailKey& key) {
  auto reader =
      co_await context.store.open_uncounted_blob(mail::BlobKey{key, mail::TransferEncoding::identity, {}});
  if (!reader) co_return refused(reader.error());
  const auto& options = context.submission->outbox.options();
  if ((*reader)->size().value_or(0) > options.message_bytes_max) co_return too_large(options);
  Reading reading{std::move(*reader), {}, {}};
  while (!has_header(reading.head)) {
    auto piece = co_await reading.reader->next();
    if (!piece) co_return refused(piece.error());
    if (piece->empty()) break;
    reading.head += *piece;
  }
  if (has_lone_cr(reading.head)) co_return refused("invalidEmail", "there is a CR alone in the header");
  reading.header = mail::parse_header_block(reading.head);
  if (reading.header.truncated) co_return refused("invalidEmail", "the header is too large");
  co_return reading;
}

// Writes the message down as it is to go out.
io::Task<std::expected<void, Refusal>> write_content(CallContext& context, Reading reading,
                                                     records::Submission& submission) {
  const auto& options = context.submission->outbox.options();
  auto& records = context.submission->outbox.records();
  const bool delayed = submission.send_at > submission.created_at;
  const auto content = co_await records.begin_content(context.submission->owner, delayed);
  if (!content) co_return refused(content.error());
  submission.content = *content;
  smtp::OutgoingMessage message;
  std::uint32_t number = 0;
  auto piece = std::move(reading.head);
  for (bool ended = false; !ended;) {
    std::string out;
    message.feed(piece, out);
    if (message.size() > options.message_bytes_max) co_return too_large(options);
    auto next = co_await reading.reader->next();
    if (!next) co_return refused(next.error());
    piece = std::move(*next);
    ended = piece.empty();
    if (ended) message.finish(out);
    for (std::size_t at = 0; at < out.size(); at += piece_bytes)
      if (auto written = co_await records.append_content(*content, number++, out.substr(at, piece_bytes));
          !written)
        co_return refused(written.error());
  }
  if (message.has_nul()) co_return refused("invalidEmail", "there is a NUL in it");
  submission.size = message.size();
  submission.eight_bit = message.has_eight_bit();
  co_return std::expected<void, Refusal>{};
}

io::Task<std::expected<std::string, Refusal>> thread_of(CallContext& context, mail::EmailKey key) {
  mail::FetchPlan plan;
  plan.signature = "submission thread";
  plan.thread = true;
  plan.tab = context.tab;
  plan.cacheable = false;
  plan.render = [](const mail::MessageSource& source) {
    return mail::Fragment{mail::thread_id(source.thread), mail::Fragment::nowhere, mail::Fragment::nowhere};
  };
  auto found = co_await context.store.fetch({key}, std::move(plan));
  if (!found) co_return refused(found.error());
  if (found->data.empty() || !found->data.front().found)
    co_return refused(Error(mail::make_error_code(mail::Errc::not_found)));
  co_return found->data.front().fragment->bytes;
}

std::string created_json(const records::Submission& submission, bool with_envelope) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  for (const auto property : submission_properties)
    if (property != "identityId" && property != "emailId" && (property != "envelope" || with_envelope))
      write_submission_property(writer, property, submission);
  writer.end_object();
  return out;
}

io::Task<std::expected<records::Identity, Refusal>> identity_of(const SubmissionAccess& access,
                                                                std::string_view id) {
  auto found = co_await access.outbox.records().identities(
      access.owner, own_address(access.outbox.options(), access.owner.login),
      selection_of(std::vector<std::string_view>{id}, parse_identity_id));
  if (!found) co_return refused(found.error());
  if (found->list.empty()) co_return refused("invalidProperties", "no such Identity", {"identityId"});
  co_return std::move(found->list.front());
}

// Everything but the content: what it is, for whom, and when it goes out.
std::expected<records::Submission, Refusal> describe(const CallContext& context,
                                                     const WantedSubmission& wanted,
                                                     const records::Identity& identity,
                                                     const Reading& reading, std::int64_t now) {
  const auto& access = *context.submission;
  const auto& options = access.outbox.options();
  if (auto wrong = check_header(reading.header, options, access.owner.login)) return std::unexpected(*wrong);
  auto envelope = wanted.envelope != nullptr ? parse_envelope(*wanted.envelope, options, now)
                                             : derive_envelope(reading.header, identity.email);
  if (!envelope) return std::unexpected(std::move(envelope.error()));
  if (auto wrong = check_envelope(*envelope, options, access.owner.login)) return std::unexpected(*wrong);
  records::Submission submission;
  submission.identity_id = identity.id;
  submission.email_id = wanted.email_id;
  submission.envelope = std::move(envelope->json);
  submission.mail_from = std::move(envelope->mail_from);
  submission.mail_parameters = std::move(envelope->mail_parameters);
  for (const auto& extension : envelope->extensions) submission.extensions += extension + " ";
  submission.created_at = now;
  submission.send_at = submission.next_attempt = std::max(envelope->send_at.value_or(now), now);
  submission.recipients = std::move(envelope->recipients);
  return submission;
}

// From here on the message may go out.
io::Task<std::expected<CreatedSubmission, Refusal>> hand_over(CallContext& context,
                                                              records::Submission submission,
                                                              bool with_envelope) {
  const auto& access = *context.submission;
  auto& outbox = access.outbox;
  if (context.effects && !co_await context.effects()) {
    (void)co_await outbox.records().drop_content(submission.content);
    co_return refused("serverFail", "nobody waits for this request any more");
  }
  // From here on the request isn't repeated, so nothing is counted twice; what the outbox tries again isn't either.
  std::optional<limits::Reservation> counted;
  if (context.meter != nullptr) {
    auto granted = context.meter->reserve(charge_of(context, submission.size, submission));
    if (!granted) {
      (void)co_await outbox.records().drop_content(submission.content);
      co_return over_plan(granted.error());
    }
    counted.emplace(std::move(*granted));
  }
  const auto done = co_await outbox.submit(access.owner, submission, access.credentials());
  const bool may_be_sent = done ? done->id != 0 : done.error().code == outbox::Errc::outcome_unknown;
  if (counted && may_be_sent) counted->settle_all();
  if (!done && done.error().code == outbox::Errc::outcome_unknown)
    co_return refused("serverFail", "its outcome is unknown");
  if (!done && done.error().code == outbox::Errc::stopping)
    co_return refused("serverUnavailable", done.error().code.message());
  if (!done) co_return refused(done.error());
  if (done->id == 0) co_return std::unexpected(refusal_of(done->outcome, submission, outbox.options()));
  submission.id = done->id;
  if (auto now_is = co_await outbox.records().submission(done->id)) submission = std::move(*now_is);
  co_return CreatedSubmission{submission_id(submission.id), submission.email_id,
                              created_json(submission, with_envelope)};
}

}  // namespace

std::string_view undo_status_name(records::UndoStatus status) {
  return status == records::UndoStatus::pending ? "pending"
         : status == records::UndoStatus::final ? "final"
                                                : "canceled";
}

namespace {

void write_delivery_status(JsonWriter& writer, const records::Submission& submission) {
  const bool known =
      std::any_of(submission.recipients.begin(), submission.recipients.end(),
                  [](const records::Recipient& recipient) { return !recipient.reply.empty(); });
  if (!known) return writer.null();
  writer.start_object();
  for (const auto& recipient : submission.recipients) {
    writer.key(recipient.address);
    writer.start_object();
    writer.member("smtpReply", recipient.reply);
    writer.member("delivered", recipient.delivered == records::Delivered::queued ? "queued"
                               : recipient.delivered == records::Delivered::no   ? "no"
                                                                                 : "unknown");
    writer.member("displayed", "unknown");
    writer.end_object();
  }
  writer.end_object();
}

}  // namespace

void write_submission_property(JsonWriter& writer, std::string_view property,
                               const records::Submission& submission) {
  writer.key(property);
  if (property == "id") {
    writer.string(submission_id(submission.id));
  } else if (property == "identityId") {
    writer.string(identity_id(submission.identity_id));
  } else if (property == "emailId") {
    writer.string(submission.email_id);
  } else if (property == "threadId") {
    writer.string(submission.thread_id);
  } else if (property == "envelope") {
    writer.raw(submission.envelope);
  } else if (property == "sendAt") {
    writer.string(utc_date(submission.send_at));
  } else if (property == "undoStatus") {
    writer.string(undo_status_name(submission.undo_status));
  } else if (property == "deliveryStatus") {
    write_delivery_status(writer, submission);
  } else {
    // Notifications stay Emails.
    writer.start_array();
    writer.end_array();
  }
}

io::Task<std::expected<CreatedSubmission, Refusal>> create_submission(CallContext& context,
                                                                      const rapidjson::Value& object) {
  const auto wanted = parse_wanted_submission(context, object);
  if (!wanted) co_return std::unexpected(wanted.error());
  const auto identity = co_await identity_of(*context.submission, wanted->identity_id);
  if (!identity) co_return std::unexpected(identity.error());
  const auto key = mail::parse_email_id(wanted->email_id);
  if (!key) co_return refused("invalidProperties", "no such Email", {"emailId"});
  auto reading = co_await open_message(context, *key);
  if (!reading) co_return std::unexpected(std::move(reading.error()));
  auto submission = describe(context, *wanted, *identity, *reading, context.submission->outbox.now());
  if (!submission) co_return std::unexpected(std::move(submission.error()));
  // What surely can't be sent isn't read to its end. How large it is to the octet is known only then.
  const auto unread = reading->reader->size().value_or(0);
  if (context.meter != nullptr)
    if (const auto refusal = context.meter->check(charge_of(context, unread, *submission)))
      co_return over_plan(*refusal);
  auto thread = co_await thread_of(context, *key);
  if (!thread) co_return std::unexpected(std::move(thread.error()));
  submission->thread_id = std::move(*thread);
  if (auto written = co_await write_content(context, std::move(*reading), *submission); !written) {
    if (submission->content != 0)
      (void)co_await context.submission->outbox.records().drop_content(submission->content);
    co_return std::unexpected(std::move(written.error()));
  }
  co_return co_await hand_over(context, std::move(*submission), wanted->envelope == nullptr);
}

}  // namespace postern::jmap
