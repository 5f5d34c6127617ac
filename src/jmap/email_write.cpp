// Email/set create (RFC 8621, 4.6): the blobs are made ready, the message is laid out, and then sent to the mail server
// segment by segment. Texts are in memory, as the request that brought them was; blobs never are.
#include "jmap/email_write.hpp"

#include <algorithm>
#include <utility>

namespace postern::jmap {
namespace {

// Beside its attachments, which base64 makes larger: its texts and its header.
constexpr std::uint64_t texts_octets_max = 20'000'000;
constexpr std::size_t piece_octets = 64 * 1024;

class WrittenReader final : public mail::BlobReader {
 public:
  WrittenReader(mail::Mailstore& store, WrittenSource source, std::uint64_t size)
      : store_(store), source_(std::move(source)), size_(size) {}

  std::optional<std::uint64_t> size() const override { return size_; }
  void skip(std::uint64_t octets) override { to_skip_ = octets; }
  bool is_local() const override { return true; }
  io::Task<Result<std::string>> next() override {
    std::string out;
    while (out.size() < piece_octets && at_ < source_.segments.size()) {
      if (auto read = co_await read_on(out); !read) co_return fail(read.error());
      const auto skipped = static_cast<std::size_t>(std::min<std::uint64_t>(to_skip_, out.size()));
      out.erase(0, skipped);
      to_skip_ -= skipped;
    }
    co_return out;
  }

 private:
  // One segment's text, or one piece of its blob.
  io::Task<Result<>> read_on(std::string& out) {
    auto& segment = source_.segments[at_];
    if (!segment.blob) {
      out.empty() ? void(out = std::move(segment.octets)) : void(out += segment.octets);
      std::string().swap(segment.octets);
      ++at_;
      co_return Result<>{};
    }
    if (!reader_) {
      auto opened = co_await open(segment.blob->blob_id);
      if (!opened) co_return fail(opened.error());
      reader_ = std::move(*opened);
      writer_.emplace(segment);
    }
    auto piece = co_await reader_->next();
    if (!piece) co_return fail(piece.error());
    if (!piece->empty()) co_return writer_->feed(*piece, out);
    reader_.reset();
    ++at_;
    co_return writer_->finish(out);
  }
  io::Task<Result<std::unique_ptr<mail::BlobReader>>> open(const std::string& blob_id) {
    for (const auto& [id, blob] : source_.blobs)
      if (id == blob_id) co_return co_await blob.open(store_);
    co_return fail(mail::Errc::not_found);
  }

  mail::Mailstore& store_;
  WrittenSource source_;
  const std::uint64_t size_;
  std::size_t at_ = 0;
  std::uint64_t to_skip_ = 0;
  std::unique_ptr<mail::BlobReader> reader_;
  std::optional<mail::SegmentWriter> writer_;
};

// The writer's own domain, for the Message-ID.
std::string host_of(const mail::WrittenMessage& message) {
  for (const auto& field : message.fields) {
    const auto* addresses = std::get_if<std::vector<mail::EmailAddress>>(&field.form);
    if (addresses == nullptr || addresses->empty() || field.property != "from") continue;
    const auto& email = addresses->front().email;
    const auto host = email.substr(std::min(email.rfind('@'), email.size() - 1) + 1);
    const auto is_host = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
             c == '-';
    };
    if (!host.empty() && host.size() < 255 && std::all_of(host.begin(), host.end(), is_host) &&
        host.front() != '.' && host.back() != '.' && host.find("..") == std::string::npos)
      return host;
  }
  return "localhost";
}

// Sizes and traits of all blobs of the message; those that could not be found are told together.
io::Task<std::expected<WrittenSource, mail::SetOutcome>> make_blobs_ready(CallContext& context,
                                                                          mail::WrittenMessage& message) {
  WrittenSource source;
  std::vector<std::string> missing;
  std::uint64_t octets = 0;
  const auto octets_max = context.limits.max_size_attachments_per_email;
  const auto wanted_of = wanted_blobs(message);
  for (const auto& wanted : wanted_of) {
    const auto& id = wanted.blob->blob_id;
    auto known = std::find_if(source.blobs.begin(), source.blobs.end(),
                              [&](const auto& blob) { return blob.first == id; });
    if (known == source.blobs.end()) {
      const auto key = find_blob(context, id);
      Result<ReadyBlob> ready = fail(mail::Errc::not_found);
      // One blob may be wanted as it is in one place, and encoded in another.
      const bool scan = std::any_of(wanted_of.begin(), wanted_of.end(),
                                    [&](const auto& w) { return w.traits && w.blob->blob_id == id; });
      if (key) ready = co_await make_ready(context, *key, octets_max, scan);
      if (!ready && ready.error().code == make_error_code(mail::Errc::not_found)) {
        missing.push_back(id);
        continue;
      }
      if (!ready) co_return std::unexpected(blob_error(ready.error(), id));
      source.blobs.emplace_back(id, std::move(*ready));
      known = std::prev(source.blobs.end());
    }
    octets += known->second.octets;
    if (octets > octets_max)
      co_return std::unexpected(
          set_error("tooLarge", "the attachments are larger than maxSizeAttachmentsPerEmail"));
    wanted.blob->octets = known->second.octets;
    if (wanted.traits) wanted.blob->traits = known->second.traits;
  }
  if (!missing.empty()) co_return std::unexpected(outcome_of(blob_not_found(missing)));
  co_return source;
}

// Mailboxes by their ids, those of this request among them.
std::optional<mail::SetOutcome> find_mailboxes(const CallContext& context, const EmailFiling& filing,
                                               std::vector<mail::MailboxKey>& mailboxes) {
  for (const auto& id : filing.mailbox_ids) {
    const auto key = mail::parse_mailbox_id(context.created_ids.resolve(id));
    if (!key) return set_error("invalidProperties", "no such Mailbox: " + id, {"mailboxIds"});
    mailboxes.push_back(*key);
  }
  return std::nullopt;
}

}  // namespace

EmailCreateLimits create_limits(const CallContext& context) {
  EmailCreateLimits limits;
  limits.keywords_max = mail::update_keywords_max;
  limits.mailboxes_max = mail::update_mailboxes_max;
  limits.octets_max = context.limits.max_size_attachments_per_email / 3 * 5 + texts_octets_max;
  return limits;
}

std::string email_old_state(CallContext& context, const StateBeforeWrites& before,
                            std::vector<mail::EmailKey> changed, const SetResponse& response) {
  for (const auto& id : response.created_ids())
    if (const auto key = mail::parse_email_id(id)) changed.push_back(*key);
  return context.store.old_state(before.state(), changed);
}

mail::SetOutcome outcome_of(SetError error) {
  auto outcome = set_error(std::move(error.type), std::move(error.description), std::move(error.properties));
  outcome.not_found = std::move(error.not_found);
  return outcome;
}

mail::SetOutcome blob_error(const Error& error, std::string_view blob_id) {
  const std::string id(blob_id);
  if (error.code == make_error_code(mail::Errc::not_found))
    return outcome_of(blob_not_found(std::span(&id, 1)));
  if (error.code == make_error_code(mail::Errc::too_large))
    return set_error("tooLarge", "the blob is too large: " + id);
  if (error.code == make_error_code(mail::Errc::no_room)) {
    if (const auto refusal = limits::Refusal::decode(error.context)) return set_error(*refusal);
    return set_error("overQuota", "there is no room to put blobs aside");
  }
  return set_error(method_error_of(error).error());
}

io::Task<> create_email(CallContext& context, std::string_view creation_id, const rapidjson::Value& email,
                        SetResponse& response) {
  if (context.clock == nullptr || context.random == nullptr)
    co_return response.not_created(creation_id, set_error("forbidden", "no message can be written here"));
  const auto limits = create_limits(context);
  auto parsed = parse_email_create(email, limits);
  if (!parsed) co_return response.not_created(creation_id, outcome_of(std::move(parsed.error())));
  EmailToFile file;
  auto ready = co_await make_blobs_ready(context, parsed->message);
  if (!ready) co_return response.not_created(creation_id, std::move(ready.error()));
  file.source = std::move(*ready);
  const auto host = host_of(parsed->message);
  const mail::ComposeOptions options{unix_seconds(context.clock->wall()), host, limits.octets_max};
  auto plan = mail::compose_message(parsed->message, options, *context.random);
  if (!plan) co_return response.not_created(creation_id, outcome_of(set_error_of(plan.error())));
  file.filing = std::move(parsed->filing);
  file.size = plan->size;
  file.source.segments = std::move(plan->segments);
  const auto& begin = file.source.segments.front().octets;
  file.header = begin.substr(0, begin.find("\r\n\r\n") + 4);
  co_await file_email(context, creation_id, std::move(file), response);
}

io::Task<> file_email(CallContext& context, std::string_view creation_id, EmailToFile email,
                      SetResponse& response) {
  mail::EmailAppend append;
  if (auto wrong = find_mailboxes(context, email.filing, append.mailboxes))
    co_return response.not_created(creation_id, std::move(*wrong));
  append.keywords = std::move(email.filing.keywords);
  append.received_at = email.filing.received_at;
  append.header = std::move(email.header);
  append.size = email.size;
  append.content = std::make_unique<WrittenReader>(context.store, std::move(email.source), email.size);
  auto done = co_await context.store.append(std::move(append), context.effects);
  if (!done) co_return response.not_created(creation_id, set_error(method_error_of(done.error()).error()));
  if (!done->outcome.done) co_return response.not_created(creation_id, std::move(done->outcome));
  const auto id = mail::email_id(done->id);
  std::string json;
  JsonWriter writer(json);
  writer.start_object();
  writer.member("id", id);
  writer.member("blobId", mail::blob_id({done->id, {}, {}}));
  writer.member("threadId", mail::thread_id(done->thread));
  writer.member_uint("size", email.size);
  writer.end_object();
  response.created(creation_id, id, std::move(json));
}

}  // namespace postern::jmap
