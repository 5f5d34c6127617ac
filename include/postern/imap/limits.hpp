// Bounds on what an IMAP server may make us hold. Each has a test at the bound and one past it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace postern::imap {

// A response line without its literals. SORT and SEARCH of 1,000,000 messages are lines of 8 MB.
inline constexpr std::size_t line_bytes_max = 16 * 1024 * 1024;
// One literal. Bodies are fetched in pieces (body_piece_bytes), so this bounds headers and odd servers.
inline constexpr std::size_t literal_bytes_max = 32 * 1024 * 1024;
// One whole response, lines and literals.
inline constexpr std::size_t response_bytes_max = 64 * 1024 * 1024;
inline constexpr std::size_t literals_per_response_max = 10'000;
inline constexpr std::size_t nesting_max = 64;  // bodies in bodies, in one BODYSTRUCTURE
// How deep a THREAD tree gets; replies below that hang side by side from the last message that deep.
inline constexpr std::size_t thread_depth_max = 1'000;
inline constexpr std::size_t body_parts_max = 10'000;  // in one BODYSTRUCTURE
inline constexpr std::size_t addresses_max = 20'000;   // in one ENVELOPE
inline constexpr std::size_t flags_max = 1'000;        // in one list; attributes, labels and the like, too
inline constexpr std::size_t capabilities_max = 1'000;
inline constexpr std::size_t numbers_max = 4'000'000;  // SEARCH, SORT, THREAD, COPYUID
inline constexpr std::size_t uid_set_ranges_max = 1'000'000;
inline constexpr std::size_t greeting_bytes_max = 8'192;  // before it is clear that this is IMAP
// What we send (RFC 2683, 3.2.1.5: 8,000 octets; RFC 7162, section 4: 8,192).
inline constexpr std::size_t command_line_bytes_max = 8'000;
// LITERAL- (RFC 7888): the largest non-synchronising literal.
inline constexpr std::size_t literal_minus_bytes_max = 4'096;
inline constexpr std::size_t body_piece_bytes = 512 * 1024;

// A streamed literal of more octets than that waits for leave even where it need not (LITERAL+).
inline constexpr std::uint64_t streamed_at_once_bytes_max = 64 * 1024;

}  // namespace postern::imap
