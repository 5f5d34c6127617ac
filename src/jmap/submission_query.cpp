// EmailSubmission/query and queryChanges (RFC 8621, 7.3 and 7.4; RFC 8620, 5.5 and 5.6).
//
// All that a query can look at but undoStatus never changes, and nor does what it can sort by. So what has become of a
// list is told exactly from which submissions have been created, updated and destroyed.
#include <algorithm>
#include <functional>
#include <set>

#include "jmap/query_support.hpp"
#include "jmap/submission_create.hpp"
#include "jmap/submission_support.hpp"
#include "postern/jmap/email_create.hpp"

namespace postern::jmap {
namespace {

using Submission = records::SubmissionSummary;
using Matches = std::function<bool(const Submission&)>;
using ParsedFilter = std::expected<Matches, MethodError>;

constexpr std::size_t conditions_max = 200;

// What a filter holds so far, over all of its tree.
struct FilterState {
  std::size_t conditions = 0;
  bool undo_status = false;
};

ParsedFilter parse_id_list(const rapidjson::Value& value, const std::string& pointer,
                           std::string (*id_of)(const Submission&)) {
  if (!value.IsArray()) return invalid_arguments({pointer, "must be a list of Ids"});
  std::set<std::string, std::less<>> ids;
  for (const auto& id : value.GetArray()) {
    if (!id.IsString()) return invalid_arguments({pointer, "must be a list of Ids"});
    ids.emplace(text_of(id));
  }
  return [ids = std::move(ids), id_of](const Submission& one) { return ids.contains(id_of(one)); };
}

ParsedFilter parse_condition(std::string_view name, const rapidjson::Value& value, const std::string& pointer,
                             FilterState& state) {
  if (name == "identityIds")
    return parse_id_list(value, pointer, [](const Submission& one) { return identity_id(one.identity_id); });
  if (name == "emailIds")
    return parse_id_list(value, pointer, [](const Submission& one) { return one.email_id; });
  if (name == "threadIds")
    return parse_id_list(value, pointer, [](const Submission& one) { return one.thread_id; });
  if (name == "undoStatus") {
    state.undo_status = true;
    if (!value.IsString()) return invalid_arguments({pointer, "must be a string"});
    return [status = std::string(text_of(value))](const Submission& one) {
      return undo_status_name(one.undo_status) == status;
    };
  }
  if (name != "before" && name != "after")
    return method_error("unsupportedFilter", "unknown condition: " + std::string(name));
  const auto date = value.IsString() ? parse_date(text_of(value), true) : std::nullopt;
  if (!date) return invalid_arguments({pointer, "must be a UTCDate"});
  return [before = name == "before", at = date->seconds](const Submission& one) {
    return before ? one.send_at < at : one.send_at >= at;
  };
}

// The tree is no deeper than json_depth_max.
ParsedFilter parse_filter(const rapidjson::Value& value, const std::string& pointer, FilterState& state) {
  if (!value.IsObject()) return invalid_arguments({pointer, "must be an object"});
  if (++state.conditions > conditions_max) return method_error("unsupportedFilter", "too many conditions");
  std::vector<Matches> all;
  const auto* kind = find_member(value, "operator");
  if (kind == nullptr) {
    for (const auto& member : value.GetObject()) {
      const auto name = text_of(member.name);
      auto one = parse_condition(name, member.value, json_pointer(pointer, name), state);
      if (!one) return one;
      all.push_back(std::move(*one));
    }
    return [all = std::move(all)](const Submission& one) {
      return std::all_of(all.begin(), all.end(), [&](const Matches& matches) { return matches(one); });
    };
  }
  const auto name = kind->IsString() ? text_of(*kind) : std::string_view{};
  const auto* conditions = find_member(value, "conditions");
  if ((name != "AND" && name != "OR" && name != "NOT") || conditions == nullptr || !conditions->IsArray() ||
      value.MemberCount() != 2)
    return invalid_arguments({pointer, "must be a FilterOperator or a FilterCondition"});
  for (rapidjson::SizeType i = 0; i < conditions->Size(); ++i) {
    auto one = parse_filter((*conditions)[i], json_pointer(pointer + "/conditions", i), state);
    if (!one) return one;
    all.push_back(std::move(*one));
  }
  if (name == "AND")
    return [all = std::move(all)](const Submission& one) {
      return std::all_of(all.begin(), all.end(), [&](const Matches& matches) { return matches(one); });
    };
  return [all = std::move(all), is_or = name == "OR"](const Submission& one) {
    return is_or == std::any_of(all.begin(), all.end(), [&](const Matches& matches) { return matches(one); });
  };
}

struct SubmissionComparator {
  enum class Property : std::uint8_t { email, thread, sent } property;
  bool ascending = true;
};

std::expected<std::vector<SubmissionComparator>, MethodError> parse_sort(const rapidjson::Value& arguments) {
  std::vector<SubmissionComparator> all;
  const auto* sort = find_member(arguments, "sort");
  if (sort == nullptr) return all;
  if (!sort->IsArray()) return invalid_arguments({"/sort", "must be a list of Comparators"});
  for (rapidjson::SizeType i = 0; i < sort->Size(); ++i) {
    const auto pointer = json_pointer("/sort", i);
    if (i >= 8) return method_error("unsupportedSort", "too many Comparators");
    const auto& item = (*sort)[i];
    if (!item.IsObject()) return invalid_arguments({pointer, "must be an object"});
    const auto property = require_string(item, "property", pointer);
    if (!property) return invalid_arguments(property.error());
    const auto ascending = get_bool(item, "isAscending", true, pointer);
    if (!ascending) return invalid_arguments(ascending.error());
    using enum SubmissionComparator::Property;
    if (*property == "emailId")
      all.push_back({email, *ascending});
    else if (*property == "threadId")
      all.push_back({thread, *ascending});
    else if (*property == "sentAt" || *property == "sendAt")
      all.push_back({sent, *ascending});
    else
      return method_error("unsupportedSort", "can't sort by " + std::string(*property));
  }
  return all;
}

bool comes_before(const Submission& a, const Submission& b, const std::vector<SubmissionComparator>& sort) {
  for (const auto& by : sort) {
    using enum SubmissionComparator::Property;
    const auto order = by.property == email    ? a.email_id <=> b.email_id
                       : by.property == thread ? a.thread_id <=> b.thread_id
                                               : a.send_at <=> b.send_at;
    if (order != 0) return (order < 0) == by.ascending;
  }
  return a.id < b.id;
}

struct Found {
  std::vector<std::uint64_t> ids;
  std::string state;
  bool undo_status = false;  // the filter looks at it
};

io::Task<std::expected<Found, MethodError>> find_all(CallContext& context,
                                                     const rapidjson::Value& arguments) {
  FilterState state;
  ParsedFilter filter = Matches([](const Submission&) { return true; });
  if (const auto* given = find_member(arguments, "filter")) filter = parse_filter(*given, "/filter", state);
  if (!filter) co_return std::unexpected(filter.error());
  const auto sort = parse_sort(arguments);
  if (!sort) co_return std::unexpected(sort.error());
  const auto& access = *context.submission;
  auto all = co_await access.outbox.records().summaries(access.owner);
  if (!all) co_return method_error_of_records(all.error());
  std::erase_if(all->list, [&](const Submission& one) { return !(*filter)(one); });
  std::sort(all->list.begin(), all->list.end(),
            [&](const Submission& a, const Submission& b) { return comes_before(a, b, *sort); });
  Found found;
  for (const auto& one : all->list) found.ids.push_back(one.id);
  found.state = std::move(all->state);
  found.undo_status = state.undo_status;
  co_return found;
}

// Where the answer begins (RFC 8620, 5.5).
std::expected<std::size_t, MethodError> first_of(const rapidjson::Value& arguments,
                                                 const std::vector<std::uint64_t>& ids) {
  const auto position = get_int(arguments, "position"), offset = get_int(arguments, "anchorOffset");
  const auto anchor = get_id(arguments, "anchor");
  if (!position) return invalid_arguments(position.error());
  if (!offset) return invalid_arguments(offset.error());
  if (!anchor) return invalid_arguments(anchor.error());
  const auto size = static_cast<std::int64_t>(ids.size());
  std::int64_t first = position->value_or(0);
  if (*anchor) {
    const auto id = parse_submission_id(**anchor);
    const auto at = id ? std::find(ids.begin(), ids.end(), *id) : ids.end();
    if (at == ids.end()) return method_error("anchorNotFound");
    first = std::max<std::int64_t>(0, at - ids.begin() + offset->value_or(0));
  } else if (first < 0) {
    first = std::max<std::int64_t>(0, size + first);
  }
  return static_cast<std::size_t>(std::min(first, size));
}

}  // namespace

io::Task<MethodResult> submission_query(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "filter", "sort", "position", "anchor", "anchorOffset",
                                        "limit", "calculateTotal"});
      !ok)
    co_return std::unexpected(ok.error());
  const auto limit = get_uint(arguments, "limit");
  if (!limit) co_return invalid_arguments(limit.error());
  const auto total = get_bool(arguments, "calculateTotal", false);
  if (!total) co_return invalid_arguments(total.error());
  const auto found = co_await find_all(context, arguments);
  if (!found) co_return std::unexpected(found.error());
  const auto first = first_of(arguments, found->ids);
  if (!first) co_return std::unexpected(first.error());
  const auto most =
      std::min<std::uint64_t>(limit->value_or(context.limits.query_ids_max), context.limits.query_ids_max);
  const auto last = *first + std::min<std::uint64_t>(most, found->ids.size() - *first);
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("queryState", found->state);
  writer.member_bool("canCalculateChanges", true);
  writer.member_uint("position", *first);
  writer.key("ids");
  writer.start_array();
  for (auto i = *first; i < last; ++i) writer.string(submission_id(found->ids[i]));
  writer.end_array();
  if (*total) writer.member_uint("total", found->ids.size());
  if (!*limit || **limit > most) writer.member_uint("limit", most);
  writer.end_object();
  co_return out;
}

io::Task<MethodResult> submission_query_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_query_changes_arguments(context, arguments);
  if (!asked) co_return std::unexpected(asked.error());
  const auto& access = *context.submission;
  Result<records::Changes> changes;
  std::expected<Found, MethodError> found = Found{};
  changes->new_state = "none yet";
  // Of one moment: something may be sent between the two.
  for (int tries = 0; tries < 5 && (!found || changes->new_state != found->state); ++tries) {
    found = co_await find_all(context, arguments);
    if (!found) co_return std::unexpected(found.error());
    changes =
        co_await access.outbox.records().changes(access.owner, records::Type::submission, asked->since, 0);
    if (!changes) co_return method_error_of_records(changes.error());
  }
  if (changes->new_state != found->state) co_return method_error("cannotCalculateChanges");
  std::set<std::uint64_t> removed(changes->destroyed.begin(), changes->destroyed.end());
  std::set<std::uint64_t> moved(changes->created.begin(), changes->created.end());
  if (found->undo_status)
    for (const auto id : changes->updated) {
      removed.insert(id);
      moved.insert(id);
    }
  std::vector<std::pair<std::uint64_t, std::size_t>> added;
  for (std::size_t i = 0; i < found->ids.size(); ++i)
    if (moved.contains(found->ids[i])) added.emplace_back(found->ids[i], i);
  if (removed.size() + added.size() > asked->max) co_return method_error("tooManyChanges");
  co_return query_changes_response(context, *asked, found->state, found->ids.size(), removed, added,
                                   submission_id);
}

}  // namespace postern::jmap
