// The parsers behind parse_response, one file a group. Each takes the cursor behind the response's name and
// returns false, with the cursor's error set, where it can't go on.
#pragma once

#include <string_view>

#include "imap/cursor.hpp"
#include "postern/imap/types.hpp"

namespace postern::imap {

// parse_status.cpp
bool is_status_word(std::string_view word, Status& out);
bool parse_status_text(Cursor& in, ResponseCode& code, std::string& text);  // resp-text

// parse_fetch.cpp, parse_envelope.cpp, parse_body_structure.cpp
bool parse_fetch(Cursor& in, FetchData& out);
bool parse_envelope(Cursor& in, std::unique_ptr<Envelope>& out);
bool parse_body_structure(Cursor& in, std::unique_ptr<BodyStructure>& out);

// parse_list.cpp
bool parse_list(Cursor& in, ListResponse& out);
bool parse_status_data(Cursor& in, StatusDataResponse& out);
bool parse_namespace(Cursor& in, NamespaceResponse& out);

// parse_search.cpp, parse_thread.cpp
bool parse_numbers(Cursor& in, std::vector<std::uint32_t>& numbers, std::optional<std::uint64_t>& modseq);
bool parse_esearch(Cursor& in, EsearchResponse& out);
bool parse_vanished(Cursor& in, VanishedResponse& out);
bool parse_thread(Cursor& in, ThreadResponse& out);
// Appends the numbers of a sequence-set in the order sent; a range runs upwards. False if the text is none,
// or names more than numbers_max (then too_large).
bool expand_set(std::string_view text, std::vector<std::uint32_t>& out, bool& too_large);

// parse_misc.cpp
bool parse_names(Cursor& in, std::vector<std::string>& out);  // CAPABILITY, ENABLED
bool parse_id(Cursor& in, IdResponse& out);
bool parse_quota(Cursor& in, QuotaResponse& out);
bool parse_quota_root(Cursor& in, QuotaRootResponse& out);
bool parse_my_rights(Cursor& in, MyRightsResponse& out);
bool parse_metadata(Cursor& in, MetadataResponse& out);

}  // namespace postern::imap
