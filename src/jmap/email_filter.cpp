// Filters and comparators are bounded while they are read: depth, number of conditions, octets of text, Mailboxes.
#include "jmap/email_filter.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "postern/mail/keywords.hpp"

namespace postern::jmap {
namespace {

using mail::Filter;
using mail::SortKey;
using Parsed = std::expected<Filter, MethodError>;

// RFC 8620, 1.4: UTCDate "2014-10-30T06:12:00Z".
std::optional<std::int64_t> parse_utc_date(std::string_view text) {
  static constexpr std::string_view form = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < form.size() + 1 || text.back() != 'Z') return std::nullopt;
  std::array<int, 6> fields{};
  std::size_t field = 0;
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] == 'd') {
      if (text[i] < '0' || text[i] > '9') return std::nullopt;
      fields[field] = fields[field] * 10 + (text[i] - '0');
    } else {
      if (text[i] != form[i]) return std::nullopt;
      ++field;
    }
  }
  // A fraction of a second: digits behind a dot.
  auto rest = text.substr(form.size(), text.size() - form.size() - 1);
  if (!rest.empty() &&
      (rest[0] != '.' || rest.size() < 2 ||
       !std::all_of(rest.begin() + 1, rest.end(), [](char c) { return c >= '0' && c <= '9'; })))
    return std::nullopt;
  const auto date = std::chrono::year{fields[0]} / std::chrono::month{static_cast<unsigned>(fields[1])} /
                    std::chrono::day{static_cast<unsigned>(fields[2])};
  if (!date.ok() || fields[3] > 23 || fields[4] > 59 || fields[5] > 60) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86'400LL + fields[3] * 3'600 + fields[4] * 60 + fields[5];
}

std::unexpected<MethodError> bad(std::string pointer, std::string reason) {
  return invalid_arguments({std::move(pointer), std::move(reason)});
}

Filter leaf(Filter::Kind kind) {
  Filter f;
  f.kind = kind;
  return f;
}

struct TextCondition {
  std::string_view name;
  Filter::Kind kind;
};
constexpr auto text_conditions = std::to_array<TextCondition>({
    {"text", Filter::Kind::text},
    {"from", Filter::Kind::from},
    {"to", Filter::Kind::to},
    {"cc", Filter::Kind::cc},
    {"bcc", Filter::Kind::bcc},
    {"subject", Filter::Kind::subject},
    {"body", Filter::Kind::body},
    {"hasKeyword", Filter::Kind::has_keyword},
    {"notKeyword", Filter::Kind::not_keyword},
    {"allInThreadHaveKeyword", Filter::Kind::all_in_thread_have_keyword},
    {"someInThreadHaveKeyword", Filter::Kind::some_in_thread_have_keyword},
    {"noneInThreadHaveKeyword", Filter::Kind::none_in_thread_have_keyword},
});

struct SortProperty {
  std::string_view name;
  SortKey::Property property;
};
constexpr auto sort_properties = std::to_array<SortProperty>({
    {"receivedAt", SortKey::Property::received_at},
    {"sentAt", SortKey::Property::sent_at},
    {"size", SortKey::Property::size},
    {"from", SortKey::Property::from},
    {"to", SortKey::Property::to},
    {"subject", SortKey::Property::subject},
    {"hasKeyword", SortKey::Property::has_keyword},
    {"allInThreadHaveKeyword", SortKey::Property::all_in_thread_have_keyword},
    {"someInThreadHaveKeyword", SortKey::Property::some_in_thread_have_keyword},
});

// What a filter holds so far, over all of its tree.
struct FilterSize {
  std::size_t conditions = 0, text_bytes = 0, mailboxes = 0;
  // What is too much; null while all is within its bound.
  const char* excess() const {
    if (conditions > mail::filter_conditions_max) return "too many conditions";
    if (text_bytes > mail::filter_text_bytes_max) return "too much text";
    if (mailboxes > mail::filter_mailboxes_max) return "too many Mailboxes";
    return nullptr;
  }
};

Parsed parse_mailboxes(const rapidjson::Value& value, std::string_view name, const std::string& pointer) {
  auto condition = leaf(name == "inMailbox" ? Filter::Kind::in_mailbox : Filter::Kind::in_mailbox_other_than);
  auto add = [&](const rapidjson::Value& id) {
    if (!id.IsString() || !is_valid_id(text_of(id))) return false;
    // An id that is none of ours is a Mailbox without messages.
    condition.mailboxes.push_back(mail::parse_mailbox_id(text_of(id)).value_or(0));
    return true;
  };
  if (name == "inMailbox") {
    if (!add(value)) return bad(pointer, "must be an Id");
    return condition;
  }
  if (!value.IsArray()) return bad(pointer, "must be an array of Ids");
  if (value.Size() > mail::filter_mailboxes_max)
    return method_error("unsupportedFilter", "too many Mailboxes");
  for (const auto& id : value.GetArray())
    if (!add(id)) return bad(pointer, "must be an array of Ids");
  return condition;
}

Parsed parse_header(const rapidjson::Value& value, const std::string& pointer) {
  if (!value.IsArray() || value.Size() < 1 || value.Size() > 2)
    return bad(pointer, "must be one or two strings");
  for (const auto& item : value.GetArray())
    if (!item.IsString()) return bad(pointer, "must be one or two strings");
  auto condition = leaf(Filter::Kind::header);
  condition.header_name = text_of(value[0]);
  const auto& name = condition.header_name;
  if (name.empty() ||
      !std::all_of(name.begin(), name.end(), [](char c) { return c > 32 && c < 127 && c != ':'; }))
    return bad(pointer, "must begin with a header field's name");
  if (value.Size() == 2) {
    condition.header_value = true;
    condition.text = text_of(value[1]);
    if (condition.text.find('\0') != std::string::npos) return bad(pointer, "must not hold a NUL");
  }
  return condition;
}

Parsed parse_condition(std::string_view name, const rapidjson::Value& value, const std::string& pointer) {
  if (name == "inMailbox" || name == "inMailboxOtherThan") return parse_mailboxes(value, name, pointer);
  if (name == "header") return parse_header(value, pointer);
  if (name == "before" || name == "after") {
    auto condition = leaf(name == "before" ? Filter::Kind::before : Filter::Kind::after);
    auto seconds = value.IsString() ? parse_utc_date(text_of(value)) : std::nullopt;
    if (!seconds) return bad(pointer, "must be a UTCDate");
    condition.number = *seconds;
    return condition;
  }
  if (name == "minSize" || name == "maxSize") {
    auto condition = leaf(name == "minSize" ? Filter::Kind::min_size : Filter::Kind::max_size);
    if (!value.IsUint64() || value.GetUint64() > json_uint_max) return bad(pointer, "must be an UnsignedInt");
    condition.number = static_cast<std::int64_t>(value.GetUint64());
    return condition;
  }
  if (name == "hasAttachment") {
    if (!value.IsBool()) return bad(pointer, "must be a Boolean");
    auto condition = leaf(Filter::Kind::has_attachment);
    condition.number = value.GetBool() ? 1 : 0;
    return condition;
  }
  auto known = std::find_if(text_conditions.begin(), text_conditions.end(),
                            [&](const TextCondition& c) { return c.name == name; });
  if (known == text_conditions.end())
    return method_error("unsupportedFilter", "unknown condition: " + std::string(name));
  if (!value.IsString()) return bad(pointer, "must be a String");
  if (text_of(value).find('\0') != std::string_view::npos) return bad(pointer, "must not hold a NUL");
  auto condition = leaf(known->kind);
  condition.text = text_of(value);
  return condition;
}

// FilterOperator and FilterCondition (RFC 8620, 5.5), bounded in depth and number.
Parsed parse_filter(const rapidjson::Value& value, const std::string& pointer, std::size_t depth,
                    FilterSize& size) {
  if (!value.IsObject()) return bad(pointer, "must be a filter");
  if (depth > mail::filter_depth_max) return method_error("unsupportedFilter", "nested too deeply");
  Filter filter;
  const auto* op = find_member(value, "operator");
  if (op == nullptr) {
    filter.kind = Filter::Kind::all_of;
    for (const auto& member : value.GetObject()) {
      if (member.value.IsNull()) continue;
      ++size.conditions;
      const auto name = text_of(member.name);
      auto condition = parse_condition(name, member.value, json_pointer(pointer, name));
      if (!condition) return condition;
      size.text_bytes += condition->text.size() + condition->header_name.size();
      size.mailboxes += condition->mailboxes.size();
      if (const auto* excess = size.excess()) return method_error("unsupportedFilter", excess);
      filter.children.push_back(std::move(*condition));
    }
    return filter;
  }
  if (!op->IsString()) return bad(pointer + "/operator", "must be AND, OR or NOT");
  const auto name = text_of(*op);
  if (name != "AND" && name != "OR" && name != "NOT")
    return bad(pointer + "/operator", "must be AND, OR or NOT");
  filter.kind = name == "AND"  ? Filter::Kind::all_of
                : name == "OR" ? Filter::Kind::any_of
                               : Filter::Kind::none_of;
  const auto* children = find_member(value, "conditions");
  if (children == nullptr || !children->IsArray())
    return bad(pointer + "/conditions", "must be an array of filters");
  for (rapidjson::SizeType i = 0; i < children->Size(); ++i) {
    ++size.conditions;
    if (const auto* excess = size.excess()) return method_error("unsupportedFilter", excess);
    auto child = parse_filter((*children)[i], json_pointer(pointer + "/conditions", i), depth + 1, size);
    if (!child) return child;
    filter.children.push_back(std::move(*child));
  }
  return filter;
}

// Strings are compared by this collation; for other properties a Comparator's is ignored (RFC 8620, 5.5).
constexpr std::string_view collation = "i;unicode-casemap";
bool is_string(SortKey::Property property) {
  return property == SortKey::Property::from || property == SortKey::Property::to ||
         property == SortKey::Property::subject;
}

std::expected<SortKey, MethodError> parse_comparator(const rapidjson::Value& comparator,
                                                     const std::string& pointer) {
  if (!comparator.IsObject()) return bad(pointer, "must be a Comparator");
  auto property = require_string(comparator, "property", pointer);
  if (!property) return invalid_arguments(property.error());
  const auto known = std::find_if(sort_properties.begin(), sort_properties.end(),
                                  [&](const SortProperty& p) { return p.name == *property; });
  SortKey key;
  auto ascending = get_bool(comparator, "isAscending", true, pointer);
  if (!ascending) return invalid_arguments(ascending.error());
  key.ascending = *ascending;
  auto wanted = get_string(comparator, "collation", pointer);
  if (!wanted) return invalid_arguments(wanted.error());
  if (known == sort_properties.end())
    return method_error("unsupportedSort", "unknown property: " + std::string(*property));
  key.property = known->property;
  if (*wanted && **wanted != collation && is_string(key.property))
    return method_error("unsupportedSort", "unknown collation: " + std::string(**wanted));
  if (!mail::is_keyword_property(key.property)) return key;
  auto keyword = require_string(comparator, "keyword", pointer);
  if (!keyword) return invalid_arguments(keyword.error());
  if (keyword->size() > mail::keyword_bytes_max)
    return method_error("unsupportedSort", "no keyword is that long");
  key.keyword = *keyword;
  return key;
}

}  // namespace

std::expected<Filter, MethodError> parse_email_filter(const rapidjson::Value* value) {
  if (value == nullptr) return Filter{};
  FilterSize size;
  return parse_filter(*value, "/filter", 1, size);
}

std::expected<mail::Sort, MethodError> parse_email_sort(const rapidjson::Value* value) {
  mail::Sort sort;
  if (value == nullptr) return sort;
  if (!value->IsArray()) return bad("/sort", "must be an array of Comparators");
  if (value->Size() > mail::sort_keys_max) return method_error("unsupportedSort", "too many comparators");
  for (rapidjson::SizeType i = 0; i < value->Size(); ++i) {
    auto key = parse_comparator((*value)[i], json_pointer("/sort", i));
    if (!key) return std::unexpected(key.error());
    sort.keys.push_back(std::move(*key));
  }
  return sort;
}

}  // namespace postern::jmap
