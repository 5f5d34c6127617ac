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
// What a SEARCH's words are written in: UTF-8, or what is left where a server can't read that (BADCHARSET).
enum class SearchCharset : std::uint8_t { utf8, latin1 };
// Whether words of bodies may be looked for in the server's index (FUZZY of RFC 6203). An index that isn't kept finds
// nothing, which must not become a result: so only where what is found is no more than what an index has found.
enum class SearchIndex : std::uint8_t { where_offered, never };
bool may_use_index(const Filter& filter, const imap::CapabilitySet& capabilities);
// A filter whose leaves are all search conditions (is_search_condition). unsupported_filter: more words than a search
// may have, or characters that the charset lacks; imap::Errc::too_large: longer than a line.
Result<imap::Command> search_command(const Filter& filter, const imap::CapabilitySet& capabilities,
                                     SearchCharset charset = SearchCharset::utf8,
                                     SearchIndex index = SearchIndex::where_offered);
// Messages from that UID on (and perhaps the last one before it), with that Message-ID where one is given.
Result<imap::Command> search_message_id_command(std::uint32_t from, std::string_view message_id,
                                                const imap::CapabilitySet& capabilities);
// The UIDs of a SEARCH or ESEARCH response; nullopt for any other.
std::optional<UidList> search_result(const imap::Response& response);

}  // namespace postern::mail
