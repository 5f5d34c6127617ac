// Email/get (RFC 8621, 4.2): from the properties asked for to a plan of what to fetch, and from what was
// fetched to serialised fragments.
#include <algorithm>
#include <set>
#include <unordered_map>

#include "jmap/methods.hpp"
#include "postern/jmap/email_json.hpp"
#include "postern/jmap/email_properties.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/preview.hpp"

namespace postern::jmap {
namespace {

// What stands in a fragment where the values that change belong, until it is cut out. No text of a message
// can look like it: inside a JSON string the quotes would be escaped.
constexpr std::string_view keywords_mark = "\"keywords\":{\"\\u0001\":true}";
constexpr std::string_view mailbox_ids_mark = "\"mailboxIds\":{\"\\u0001\":true}";
const std::string mark_key(1, '\x01');

std::uint32_t cut_mark(std::string& json, std::string_view mark) {
  const auto at = json.find(mark);
  if (at == std::string::npos) return mail::Fragment::nowhere;
  const auto value_at = at + mark.find('{');
  json.erase(value_at, mark.size() - mark.find('{'));
  return static_cast<std::uint32_t>(value_at);
}

// What has come of a message, by section.
class Sections {
 public:
  explicit Sections(const mail::MessageSource& source) {
    for (const auto& [name, octets] : source.sections) octets_of_.emplace(name, &octets);
  }
  const std::string* find(std::string_view section) const {
    const auto found = octets_of_.find(section);
    return found == octets_of_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string_view, const std::string*> octets_of_;
};

// Octets of a text part to be fetched for a value of at most `value_bytes_max`.
std::uint64_t value_octets(const EmailProperties& properties) {
  const std::uint64_t limit =
      properties.max_body_value_bytes == 0
          ? mail::body_value_bytes_max
          : std::min<std::uint64_t>(properties.max_body_value_bytes, mail::body_value_bytes_max);
  // Base64 takes 4 octets for 3, quoted-printable at worst 3 for 1; a charset can shrink, too.
  return limit * 3 + 4096;
}

std::vector<mail::WantedSection> wanted_sections(const EmailProperties& properties,
                                                 const mail::MessageSource& source) {
  std::set<mail::WantedSection> wanted;
  if (source.body_structure == nullptr) return {};
  const auto root = mail::make_body_parts(*source.body_structure);
  const auto lists = mail::make_body_lists(root);
  if (properties.needs.body_values)
    for (const auto* part : wanted_body_values(properties, root, lists))
      wanted.insert({part->section, value_octets(properties)});
  if (properties.needs.part_headers)
    for (const auto* part : wanted_part_headers(properties, root, lists))
      if (part->header_section != "HEADER") wanted.insert({part->header_section, mail::header_bytes_max});
  if (properties.needs.preview && !source.preview)
    if (const auto* part = mail::preview_part(lists); part != nullptr)
      if (std::none_of(wanted.begin(), wanted.end(),
                       [&](const auto& w) { return w.section == part->section; }))
        wanted.insert({part->section, mail::preview_fetch_bytes});
  return {wanted.begin(), wanted.end()};
}

mail::Fragment render(const EmailProperties& properties, const mail::MessageSource& source) {
  const auto id = mail::email_id(source.id);
  const auto blob = mail::blob_id({source.id, {}, {}});
  const auto thread = mail::thread_id(source.thread);
  const auto header = mail::parse_header_block(source.header.value_or(""));
  EmailData data;
  data.id = id;
  data.blob_id = blob;
  data.thread_id = thread;
  data.mailbox_ids = {&mark_key, 1};
  data.keywords = {&mark_key, 1};
  data.size = source.size;
  data.received_at = source.received_at;
  data.header = &header;
  mail::EmailBodyPart root;
  mail::BodyLists lists;
  std::vector<std::pair<std::string, mail::EmailBodyValue>> values;
  std::string preview = source.preview.value_or("");
  if (source.body_structure != nullptr) {
    root = mail::make_body_parts(*source.body_structure);
    lists = mail::make_body_lists(root);
    const Sections sections(source);
    const mail::PartIndex parts(root);
    if (properties.needs.part_headers) {
      for (const auto* part : wanted_part_headers(properties, root, lists))
        if (const auto* octets = sections.find(part->header_section))
          if (auto* mutable_part = parts.find_by_header_section(part->header_section))
            mutable_part->headers = mail::parse_header_block(*octets);
    }
    for (const auto* part : wanted_body_values(properties, root, lists)) {
      const auto* octets = sections.find(part->section);
      if (octets == nullptr) continue;
      mail::TextDecodeOptions options{part->encoding, part->charset.value_or(""), part->is_html(),
                                      properties.max_body_value_bytes};
      auto value = mail::decode_text(*octets, std::move(options), octets->size() < part->encoded_size);
      if (auto* mutable_part = parts.find(part->section); mutable_part != nullptr && value.part_size)
        mail::set_size(*mutable_part, *value.part_size);
      values.emplace_back(part->section, std::move(value));
    }
    if (properties.needs.preview && !source.preview)
      if (const auto* part = mail::preview_part(lists); part != nullptr)
        if (const auto* octets = sections.find(part->section)) preview = mail::make_preview(*part, *octets);
    data.body_structure = &root;
    data.body_lists = &lists;
  }
  data.body_values = values;
  data.preview = preview;
  data.part_blob_id = [&source](const mail::EmailBodyPart& part, std::string& out) {
    out += mail::blob_id({source.id, mail::transfer_encoding(part.encoding).encoding, part.section});
  };
  mail::Fragment fragment;
  JsonWriter writer(fragment.bytes);
  write_email(writer, properties, data);
  // The later mark first, so that the earlier one's position holds.
  const bool keywords_first = fragment.bytes.find(keywords_mark) < fragment.bytes.find(mailbox_ids_mark);
  if (keywords_first) {
    fragment.mailbox_ids_at = cut_mark(fragment.bytes, mailbox_ids_mark);
    fragment.keywords_at = cut_mark(fragment.bytes, keywords_mark);
  } else {
    fragment.keywords_at = cut_mark(fragment.bytes, keywords_mark);
    fragment.mailbox_ids_at = cut_mark(fragment.bytes, mailbox_ids_mark);
  }
  if (fragment.mailbox_ids_at != mail::Fragment::nowhere && fragment.keywords_at != mail::Fragment::nowhere) {
    const auto value_size = static_cast<std::uint32_t>(keywords_mark.size() - keywords_mark.find('{'));
    (keywords_first ? fragment.mailbox_ids_at : fragment.keywords_at) -= value_size;
  }
  fragment.bytes.shrink_to_fit();
  return fragment;
}

void write_flags_object(JsonWriter& writer, const auto& names) {
  writer.start_object();
  for (const auto& name : names) writer.member_bool(name, true);
  writer.end_object();
}

// Puts the changing values into fragments. Messages of one list mostly share theirs, so the last text is kept.
class EmailWriter {
 public:
  void append(std::string& out, const mail::EmailItem& item) {
    const auto& fragment = *item.fragment;
    if (fragment.keywords_at != mail::Fragment::nowhere) update_keywords(item.keywords);
    if (fragment.mailbox_ids_at != mail::Fragment::nowhere) update_mailboxes(item.mailboxes);
    struct Insert {
      std::uint32_t at;
      const std::string* text;
    };
    Insert inserts[2] = {{fragment.keywords_at, &keywords_text_},
                         {fragment.mailbox_ids_at, &mailboxes_text_}};
    if (inserts[1].at < inserts[0].at) std::swap(inserts[0], inserts[1]);
    const std::string_view bytes = fragment.bytes;
    std::size_t done = 0;
    for (const auto& insert : inserts) {
      if (insert.at == mail::Fragment::nowhere) continue;
      out += bytes.substr(done, insert.at - done);
      out += *insert.text;
      done = insert.at;
    }
    out += bytes.substr(done);
  }

 private:
  void update_keywords(const std::shared_ptr<const std::vector<std::string>>& keywords) {
    if (keywords == keywords_) return;
    keywords_ = keywords;
    keywords_text_.clear();
    JsonWriter writer(keywords_text_);
    write_flags_object(writer, *keywords);
  }
  void update_mailboxes(const std::shared_ptr<const std::vector<mail::MailboxKey>>& mailboxes) {
    if (mailboxes == mailboxes_) return;
    mailboxes_ = mailboxes;
    mailboxes_text_.clear();
    std::vector<std::string> ids;
    ids.reserve(mailboxes->size());
    for (auto key : *mailboxes) ids.push_back(mail::mailbox_id(key));
    JsonWriter writer(mailboxes_text_);
    write_flags_object(writer, ids);
  }

  std::shared_ptr<const std::vector<std::string>> keywords_;
  std::shared_ptr<const std::vector<mail::MailboxKey>> mailboxes_;
  std::string keywords_text_, mailboxes_text_;
};

// The ids without what was said before.
std::vector<std::string_view> without_repetitions(std::vector<std::string_view> ids) {
  auto sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end()) return ids;
  std::set<std::string_view> seen;
  std::erase_if(ids, [&](std::string_view id) { return !seen.insert(id).second; });
  return ids;
}

mail::FetchPlan make_plan(std::shared_ptr<const EmailProperties> properties) {
  mail::FetchPlan plan;
  const auto& needs = properties->needs;
  plan.signature = properties->signature;
  plan.header_fields = needs.header_fields;
  plan.full_header = needs.full_header;
  plan.body_structure = needs.body_structure || needs.body_values || needs.part_headers || needs.preview;
  plan.preview = needs.preview;
  plan.thread = needs.thread_id;
  if (needs.body_values || needs.part_headers || needs.preview)
    plan.more = [properties](const mail::MessageSource& source) {
      return wanted_sections(*properties, source);
    };
  plan.render = [properties](const mail::MessageSource& source) { return render(*properties, source); };
  return plan;
}

}  // namespace

io::Task<MethodResult> email_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok =
          check_names(arguments, {"accountId", "ids", "properties", "bodyProperties", "fetchTextBodyValues",
                                  "fetchHTMLBodyValues", "fetchAllBodyValues", "maxBodyValueBytes"});
      !ok)
    co_return std::unexpected(ok.error());
  auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  if (!*ids)
    co_return method_error("requestTooLarge", "ids must be given: an account has too many Emails to list");
  auto properties = parse_email_properties(arguments);
  if (!properties) co_return invalid_arguments(properties.error());

  std::vector<mail::EmailKey> keys;
  std::vector<std::string> not_found;
  for (auto id : without_repetitions(std::move(**ids))) {
    if (auto key = mail::parse_email_id(id))
      keys.push_back(*key);
    else
      not_found.emplace_back(id);
  }
  auto plan = make_plan(std::make_shared<const EmailProperties>(std::move(*properties)));
  plan.tab = context.tab;
  auto items = co_await context.store.fetch(std::move(keys), std::move(plan));
  if (!items) co_return method_error_of(items.error());
  context.freshness = both(context.freshness, items->freshness);

  std::size_t size = 256;
  for (const auto& item : items->data)
    if (item.found) size += item.fragment->bytes.size() + 128;
  std::string out;
  out.reserve(size);
  JsonWriter writer(out);
  begin_get_response(writer, context, items->state);
  EmailWriter email_writer;
  for (const auto& item : items->data) {
    if (!item.found) {
      not_found.push_back(mail::email_id(item.id));
      continue;
    }
    email_writer.append(writer.raw_value(), item);
  }
  end_get_response(writer, not_found);
  co_return out;
}

}  // namespace postern::jmap
