// The preview property of an Email (RFC 8621, 4.1.4): a line or two of plain text.
//
// Free functions: any thread. They look at preview_input_bytes_max of the input and need time linear in it.
// The input may be cut off anywhere.
#pragma once

#include <string>
#include <string_view>

#include "postern/mail/mime/body_parts.hpp"

namespace postern::mail {

// From text or HTML that is UTF-8 already: white space collapsed; quoted lines, attributions and signatures
// left out unless nothing else is there. At most preview_characters_max long.
std::string preview_of_text(std::string_view text);
std::string preview_of_html(std::string_view html);

// All that is to be seen of HTML, quoted lines among it, with single spaces; in UTF-16 code units at most so long.
std::string text_of_html(std::string_view html, std::size_t characters_max);

// The part to make a preview of: the first text/plain of textBody, else the first text/html; null if neither.
const EmailBodyPart* preview_part(const BodyLists& lists);

// The preview from the first octets of that part, as transferred (preview_fetch_bytes of them are enough).
std::string make_preview(const EmailBodyPart& part, std::string_view bytes);

}  // namespace postern::mail
