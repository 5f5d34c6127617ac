// SearchSnippet/get (RFC 8621, 5): the terms of a filter marked in subjects and in the text of bodies.
//
// The text of a message is fetched once, and kept in the cache of fragments whatever was searched for in it; a bounded
// number of messages is at work at a time.
#include <algorithm>
#include <set>

#include "jmap/email_filter.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/body_parts.hpp"
#include "postern/mail/mime/preview.hpp"
#include "postern/mail/mime/snippet.hpp"
#include "postern/mail/mime/text_decode.hpp"

namespace postern::jmap {
namespace {

using mail::Filter;

constexpr std::size_t snippet_emails_at_once = 50;
constexpr std::size_t snippet_parts_max = 4;              // text parts of a message that are looked through
constexpr std::uint64_t snippet_fetch_bytes = 64 * 1024;  // of each, as transferred
constexpr std::uint64_t snippet_text_bytes_max = 64'000;  // of each, decoded

struct Wanted {
  std::vector<mail::SearchTerm> subject, body;
};

// What a message was found for. That something must not be in it marks nothing. False: too many words.
// NOLINTNEXTLINE(misc-no-recursion): as deep as the filter, which is bounded
bool collect(const Filter& filter, Wanted& wanted) {
  const bool everywhere = filter.kind == Filter::Kind::text;
  const bool subject = everywhere || filter.kind == Filter::Kind::subject ||
                       (filter.kind == Filter::Kind::header && iequals_ascii(filter.header_name, "Subject"));
  const bool body = everywhere || filter.kind == Filter::Kind::body;
  if (subject || body) {
    const auto terms = mail::parse_search_text(filter.text);
    if (!terms) return false;
    if (subject) wanted.subject.insert(wanted.subject.end(), terms->begin(), terms->end());
    if (body) wanted.body.insert(wanted.body.end(), terms->begin(), terms->end());
    return wanted.subject.size() + wanted.body.size() <= 2 * mail::search_terms_max;
  }
  if (filter.kind == Filter::Kind::none_of) return true;
  return std::all_of(filter.children.begin(), filter.children.end(),
                     [&wanted](const Filter& child) { return collect(child, wanted); });
}

std::vector<const mail::EmailBodyPart*> text_parts(const mail::BodyLists& lists) {
  std::vector<const mail::EmailBodyPart*> parts;
  for (const auto* part : lists.text_body)
    if (part->is_text() && parts.size() < snippet_parts_max) parts.push_back(part);
  return parts;
}

std::vector<mail::WantedSection> wanted_text(const mail::MessageSource& source) {
  std::vector<mail::WantedSection> wanted;
  if (source.body_structure == nullptr) return wanted;
  const auto root = mail::make_body_parts(*source.body_structure);
  for (const auto* part : text_parts(mail::make_body_lists(root)))
    wanted.push_back({part->section, snippet_fetch_bytes});
  return wanted;
}

// The octets of the subject, a line break, the subject, and the text of the body behind it.
mail::Fragment render_text(const mail::MessageSource& source) {
  const auto header = mail::parse_header_block(source.header.value_or(""));
  const auto* subject = header.last("Subject");
  const auto text = subject == nullptr ? std::string() : mail::as_text(subject->value);
  mail::Fragment fragment;
  fragment.bytes = std::to_string(text.size()) + '\n' + text;
  if (source.body_structure == nullptr) return fragment;
  const auto root = mail::make_body_parts(*source.body_structure);
  for (const auto* part : text_parts(mail::make_body_lists(root))) {
    const auto fetched = std::find_if(source.sections.begin(), source.sections.end(),
                                      [&](const auto& section) { return section.first == part->section; });
    if (fetched == source.sections.end()) continue;
    mail::TextDecodeOptions options{part->encoding, part->charset.value_or(""), part->is_html(),
                                    snippet_text_bytes_max};
    const auto value =
        mail::decode_text(fetched->second, std::move(options), fetched->second.size() < part->encoded_size);
    fragment.bytes += part->is_html() ? mail::text_of_html(value.value, snippet_text_bytes_max) : value.value;
    fragment.bytes += '\n';
  }
  fragment.bytes.shrink_to_fit();
  return fragment;
}

mail::FetchPlan make_plan(bool with_body) {
  mail::FetchPlan plan;
  plan.signature = with_body ? "text for snippets" : "subject for snippets";
  plan.header_fields = {"SUBJECT"};
  plan.body_structure = with_body;
  if (with_body) plan.more = wanted_text;
  plan.render = render_text;
  return plan;
}

void write_snippet(JsonWriter& writer, const mail::EmailItem& item, const mail::SnippetTerms& in_subject,
                   const mail::SnippetTerms& in_body) {
  std::string_view bytes = item.fragment->bytes;
  const auto line = bytes.find('\n');
  std::size_t size = 0;
  for (const char digit : bytes.substr(0, line)) size = size * 10 + static_cast<std::size_t>(digit - '0');
  bytes.remove_prefix(line + 1);
  writer.start_object();
  writer.member("emailId", mail::email_id(item.id));
  writer.key("subject");
  writer.string_or_null(mail::mark_text(bytes.substr(0, size), in_subject));
  writer.key("preview");
  writer.string_or_null(mail::mark_excerpt(bytes.substr(std::min(size, bytes.size())), in_body));
  writer.end_object();
}

}  // namespace

io::Task<MethodResult> search_snippet_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "filter", "emailIds"}); !ok)
    co_return std::unexpected(ok.error());
  auto ids = get_ids(context, arguments, "emailIds");
  if (!ids) co_return std::unexpected(ids.error());
  if (!*ids) co_return invalid_arguments({"/emailIds", "must be an array of Ids"});
  auto filter = parse_email_filter(find_member(arguments, "filter"));
  if (!filter) co_return std::unexpected(filter.error());
  Wanted wanted;
  if (!collect(*filter, wanted)) co_return method_error("unsupportedFilter", "too many words");
  const mail::SnippetTerms in_subject(wanted.subject), in_body(wanted.body);

  std::vector<mail::EmailKey> keys;
  std::vector<std::string> not_found;
  std::set<std::string_view> seen;
  for (auto id : **ids) {
    if (!seen.insert(id).second) continue;
    if (auto key = mail::parse_email_id(id))
      keys.push_back(*key);
    else
      not_found.emplace_back(id);
  }
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.key("list");
  writer.start_array();
  for (std::size_t i = 0; i < keys.size(); i += snippet_emails_at_once) {
    const auto from = keys.begin() + static_cast<std::ptrdiff_t>(i);
    const auto count = std::min(snippet_emails_at_once, keys.size() - i);
    auto plan = make_plan(!in_body.empty());
    plan.tab = context.tab;
    auto items =
        co_await context.store.fetch({from, from + static_cast<std::ptrdiff_t>(count)}, std::move(plan));
    if (!items) co_return method_error_of(items.error());
    context.freshness = both(context.freshness, items->freshness);
    for (const auto& item : items->data) {
      if (item.found)
        write_snippet(writer, item, in_subject, in_body);
      else
        not_found.push_back(mail::email_id(item.id));
    }
  }
  writer.end_array();
  writer.key("notFound");
  if (not_found.empty()) {
    writer.null();
  } else {
    writer.start_array();
    for (const auto& id : not_found) writer.string(id);
    writer.end_array();
  }
  writer.end_object();
  co_return out;
}

}  // namespace postern::jmap
