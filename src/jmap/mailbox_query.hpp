// Filter and sort of Mailbox/query and /queryChanges (RFC 8621, 2.3) over the list. Pure; private to the jmap layer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "jmap/query_support.hpp"

namespace postern::jmap {

struct MailboxCondition {
  enum class Kind : std::uint8_t { parent_id, name, role, has_any_role, is_subscribed };
  Kind kind = Kind::name;
  std::optional<std::string> text;  // parentId and role: nullopt for null
  bool on = false;
};
using MailboxFilter = FilterTree<MailboxCondition>;

struct MailboxQuery {
  MailboxFilter filter;
  std::vector<Comparator> sort;
  bool sort_as_tree = false, filter_as_tree = false;
};
// invalidArguments, unsupportedFilter, unsupportedSort.
std::expected<MailboxQuery, MethodError> parse_mailbox_query(const CallContext& context,
                                                             const rapidjson::Value& arguments);
// Those that match, in order, each with what the query goes by of it.
mail::KeptLists::List run_mailbox_query(const MailboxQuery& query, const std::vector<mail::MailboxData>& all);
// Changes exactly when the Mailboxes, their order or what the query goes by of them do.
std::string mailbox_query_state(const mail::KeptLists::List& list);

}  // namespace postern::jmap
