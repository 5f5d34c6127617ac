// SEARCH and SORT commands from filters and sorts (RFC 3501, 6.4.4; RFC 5256; RFC 5957). Private.
#pragma once

#include <optional>
#include <string>

#include "postern/imap/capabilities.hpp"
#include "postern/imap/command.hpp"
#include "postern/imap/types.hpp"
#include "postern/mail/mailbox_view.hpp"
#include "postern/mail/query.hpp"

namespace postern::mail {

bool server_can_sort(const Sort& sort, const imap::CapabilitySet& capabilities);
// UID SORT of all messages; only where server_can_sort().
Result<imap::Command> sort_command(const Sort& sort, const imap::CapabilitySet& capabilities);
Result<imap::Command> search_all_command(const imap::CapabilitySet& capabilities);
Result<imap::Command> search_deleted_command(const imap::CapabilitySet& capabilities);
// A filter whose leaves are all search conditions (is_search_condition).
Result<imap::Command> search_command(const Filter& filter, const imap::CapabilitySet& capabilities);
// The UIDs of a SEARCH or ESEARCH response; nullopt for any other.
std::optional<UidList> search_result(const imap::Response& response);

// Words as people type them: split at white space, a part in double quotes stays together.
std::vector<std::string> search_words(std::string_view text);
inline constexpr std::size_t search_words_max = 30;

}  // namespace postern::mail
