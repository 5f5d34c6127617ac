// Bounds on what a message may make us hold or do. Each has a test at the bound and one past it.
#pragma once

#include <cstddef>

namespace postern::mail {

// One header block; what lies behind is ignored (HeaderBlock::truncated). Long To lists are some 100 KB.
inline constexpr std::size_t header_bytes_max = 1024 * 1024;
inline constexpr std::size_t header_fields_max = 2'000;
// Items of one header field in a parsed form; those behind are left out.
inline constexpr std::size_t header_addresses_max = 20'000;
inline constexpr std::size_t header_groups_max = 1'000;
inline constexpr std::size_t header_message_ids_max = 1'000;
inline constexpr std::size_t header_urls_max = 100;

// Parts of one message, and how deep they nest; further ones are left out of the tree.
inline constexpr std::size_t mime_parts_max = 10'000;
inline constexpr std::size_t mime_nesting_max = 64;
// A decoded file name, in octets of UTF-8.
inline constexpr std::size_t part_name_bytes_max = 1'024;
// Segments of one parameter that is split by RFC 2231 (name*0, name*1, ...).
inline constexpr std::size_t parameter_segments_max = 100;

// One decoded body value, in octets of UTF-8, whatever maxBodyValueBytes asks for.
inline constexpr std::size_t body_value_bytes_max = 8 * 1024 * 1024;

// Parameters of one Content-Type or Content-Disposition.
inline constexpr std::size_t header_parameters_max = 200;

// RFC 5322, 2.1.1: octets of a line without its CRLF, which no message that we write exceeds.
inline constexpr std::size_t message_line_bytes_max = 998;
// What can't be folded in a header field that we write: an addr-spec, a message id, a URL.
inline constexpr std::size_t written_token_bytes_max = 900;
// A header field's name that we write.
inline constexpr std::size_t written_field_name_bytes_max = 256;
// Faults that are told of one message that can't be written; it may have more.
inline constexpr std::size_t compose_faults_max = 100;

// Header octets of all parts of a message that are kept (MessageParser); those behind are left out.
inline constexpr std::size_t part_headers_bytes_max = 4 * 1024 * 1024;
// RFC 2046, 5.1.1: a boundary has 70 characters at most. Longer ones are seen.
inline constexpr std::size_t boundary_bytes_max = 200;

// RFC 8621, 4.1.4: preview "MUST NOT be more than 256 characters in length". Counted in UTF-16 code units,
// so that it holds for whoever counts code points too.
inline constexpr std::size_t preview_characters_max = 256;
// How much decoded text the preview looks at.
inline constexpr std::size_t preview_input_bytes_max = 128 * 1024;
// How many octets of a part, as transferred, are worth fetching for a preview.
inline constexpr std::size_t preview_fetch_bytes = 16 * 1024;

}  // namespace postern::mail
