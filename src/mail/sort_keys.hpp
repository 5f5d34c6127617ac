// Sort keys and thread keys from header fields (RFC 8621, 4.4.2 and 3; RFC 5256, 2.1). Private.
#pragma once

#include <string>
#include <string_view>

#include "postern/mail/ids.hpp"
#include "postern/mail/query.hpp"

namespace postern::mail {

// The header field a text sort property is made from: "SUBJECT".
std::string_view header_field_of(SortKey::Property property);
// A byte string that compares as the property does. `header` is the fetched header field, with its name.
std::string text_sort_key(SortKey::Property property, std::string_view header);
// RFC 5256, 2.1: without "Re:", "Fwd:", "[list]" and the like. UTF-8 in, case kept.
std::string base_subject(std::string_view subject);

// A thread is known by the root of its References, else In-Reply-To, else its own Message-ID; a message
// without any is its own thread. `header` holds (at least) these fields.
inline constexpr std::string_view thread_header_fields = "IN-REPLY-TO MESSAGE-ID REFERENCES";
ThreadKey thread_key_of(std::string_view header, const EmailKey& id);

}  // namespace postern::mail
