// Addresses and parameters of an SMTP envelope: what may stand in MAIL FROM and RCPT TO, and nothing else.
//
// Free functions over octets: any thread. What they accept holds no control character, no space outside of a quoted
// local part, no angle bracket outside of it, and is bounded; so it can be put into a command line as it is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace postern::smtp {

// RFC 5321, 4.5.3.1
inline constexpr std::size_t local_part_bytes_max = 64;
inline constexpr std::size_t domain_bytes_max = 255;
inline constexpr std::size_t mailbox_bytes_max = 254;  // a Path of 256 octets without its brackets
// Of all parameters of one command, encoded; with the path below what every server takes (RFC 5321, 4.5.3.1.4 and
// RFC 3461, 4: 512 octets and 500 more).
inline constexpr std::size_t parameters_bytes_max = 700;

// Mailbox of RFC 5321, 4.1.2, with UTF-8 as RFC 6531, 3.3 has it.
bool is_mailbox(std::string_view address);
// The part behind the last "@"; empty if there is none.
std::string_view domain_of(std::string_view address);
// The same Mailbox, as far as anybody but its own server can tell: domains without regard to case. Local parts are
// compared so as well, as all mail servers do in fact.
bool is_same_mailbox(std::string_view a, std::string_view b);

// One parameter of RFC 8621, 7 ("any xtext or unitext encodings are removed"), as " NAME=value" for the command line.
enum class ParameterOf : unsigned char { mail, rcpt };
// The SMTP extension that a parameter belongs to ("DSN" for NOTIFY); empty for what a client may not give.
std::string_view extension_of(ParameterOf command, std::string_view name);
// nullopt: no value that this parameter can have.
std::optional<std::string> encode_parameter(ParameterOf command, std::string_view name,
                                            const std::optional<std::string_view>& value);

// RFC 3461, 4
std::string xtext(std::string_view text);

}  // namespace postern::smtp
