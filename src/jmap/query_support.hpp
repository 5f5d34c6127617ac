// What the /query and /queryChanges methods share (RFC 8620, 5.5 and 5.6): their arguments and responses; for data
// types with few objects, which part of the ids is wanted. Private to the jmap layer.
#pragma once

#include <expected>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jmap/methods.hpp"

namespace postern::jmap {

struct QueryArguments {
  std::int64_t position = 0, anchor_offset = 0;
  std::optional<std::string_view> anchor;
  std::optional<std::uint64_t> limit;
  bool calculate_total = false;
};
// accountNotFound, invalidArguments. `more` are the names of arguments that only this /query has.
std::expected<QueryArguments, MethodError> parse_query_arguments(
    const CallContext& context, const rapidjson::Value& arguments,
    std::initializer_list<std::string_view> more = {});

// One Comparator of `sort`.
struct Comparator {
  std::string_view property;
  bool ascending = true;
};
// unsupportedSort for another property or collation.
std::expected<std::vector<Comparator>, MethodError> parse_comparators(
    const rapidjson::Value& arguments, std::initializer_list<std::string_view> properties);

// A part of all ids, by position or anchor.
struct QueryWindow {
  std::size_t position = 0, count = 0;
};
// anchorNotFound.
std::expected<QueryWindow, MethodError> query_window(const QueryArguments& query,
                                                     const std::vector<std::string>& ids,
                                                     std::size_t ids_max);
// Changes exactly when the ids or their order do.
std::string query_state_of(const std::vector<std::string>& ids);
MethodResult query_response(const CallContext& context, const QueryArguments& query,
                            const std::vector<std::string>& ids, std::string_view state,
                            bool can_calculate_changes = false);

// The arguments of a /queryChanges but filter and sort (RFC 8620, 5.6).
struct QueryChangesArguments {
  std::string since;
  std::size_t max = mail::changes_unlimited;
  std::optional<std::string_view> up_to;
  bool calculate_total = false;
};
// accountNotFound, invalidArguments. `more` are the names of arguments that only this /queryChanges has.
std::expected<QueryChangesArguments, MethodError> parse_query_changes_arguments(
    const CallContext& context, const rapidjson::Value& arguments,
    std::initializer_list<std::string_view> more = {});
// `removed` are ids, `added` pairs of an id and its index, each told by `id_of`.
template <typename Removed, typename Added, typename IdOf>
std::string query_changes_response(const CallContext& context, const QueryChangesArguments& asked,
                                   std::string_view state, std::uint64_t total, const Removed& removed,
                                   const Added& added, IdOf id_of) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("oldQueryState", asked.since);
  writer.member("newQueryState", state);
  if (asked.calculate_total) writer.member_uint("total", total);
  write_ids(writer, "removed", removed, id_of);
  writer.key("added");
  writer.start_array();
  for (const auto& [id, index] : added) {
    writer.start_object();
    writer.member("id", id_of(id));
    writer.member_uint("index", index);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return out;
}

// FilterOperator and FilterCondition as a tree. `Condition` is what one member of a condition comes to.
template <typename Condition>
struct FilterTree {
  enum class Kind : std::uint8_t { all_of, any_of, none_of, condition };
  Kind kind = Kind::all_of;
  std::vector<FilterTree> children;
  Condition condition = {};
};

template <typename Condition, typename Matches>
bool matches_filter(const FilterTree<Condition>& filter, const Matches& matches) {
  using Kind = typename FilterTree<Condition>::Kind;
  const auto each = [&matches](const auto& child) { return matches_filter(child, matches); };
  switch (filter.kind) {
    case Kind::all_of: return std::all_of(filter.children.begin(), filter.children.end(), each);
    case Kind::any_of: return std::any_of(filter.children.begin(), filter.children.end(), each);
    case Kind::none_of: return std::none_of(filter.children.begin(), filter.children.end(), each);
    case Kind::condition: return matches(filter.condition);
  }
  return false;
}

// AND, OR or NOT; nullopt for a FilterCondition; invalidArguments.
std::expected<std::optional<std::string_view>, MethodError> filter_operator(const rapidjson::Value& filter,
                                                                            const std::string& pointer);

// `parse_condition(name, value, pointer)` gives a Condition or an error; nested filter_depth_max deep at most, with
// filter_conditions_max conditions.
template <typename Condition, typename Parse>
std::expected<FilterTree<Condition>, MethodError> parse_filter_tree(const rapidjson::Value& value,
                                                                    const std::string& pointer,
                                                                    std::size_t depth,
                                                                    std::size_t& conditions,
                                                                    const Parse& parse_condition) {
  using Tree = FilterTree<Condition>;
  if (!value.IsObject()) return invalid_arguments({pointer, "must be a filter"});
  if (depth > mail::filter_depth_max) return method_error("unsupportedFilter", "nested too deeply");
  auto op = filter_operator(value, pointer);
  if (!op) return std::unexpected(op.error());
  Tree tree;
  if (!*op) {
    for (const auto& member : value.GetObject()) {
      if (++conditions > mail::filter_conditions_max)
        return method_error("unsupportedFilter", "too many conditions");
      const auto name = text_of(member.name);
      auto condition = parse_condition(name, member.value, json_pointer(pointer, name));
      if (!condition) return std::unexpected(condition.error());
      Tree leaf;
      leaf.kind = Tree::Kind::condition;
      leaf.condition = std::move(*condition);
      tree.children.push_back(std::move(leaf));
    }
    return tree;
  }
  tree.kind = **op == "AND" ? Tree::Kind::all_of : **op == "OR" ? Tree::Kind::any_of : Tree::Kind::none_of;
  const auto& children = value["conditions"];
  for (rapidjson::SizeType i = 0; i < children.Size(); ++i) {
    if (++conditions > mail::filter_conditions_max)
      return method_error("unsupportedFilter", "too many conditions");
    auto child = parse_filter_tree<Condition>(children[i], json_pointer(pointer + "/conditions", i),
                                              depth + 1, conditions, parse_condition);
    if (!child) return child;
    tree.children.push_back(std::move(*child));
  }
  return tree;
}

}  // namespace postern::jmap
