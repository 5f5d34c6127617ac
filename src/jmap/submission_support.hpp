// What Identity and EmailSubmission share (RFC 8621, 6 and 7): ids, whose addresses may be used, errors of records, and
// /changes. Private to the jmap layer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jmap/methods.hpp"

namespace postern::jmap {

inline constexpr std::size_t identity_addresses_max = 100;         // of replyTo, and of bcc
inline constexpr std::size_t identity_name_bytes_max = 1'024;      // of one of them
inline constexpr std::size_t identity_text_bytes_max = 64 * 1024;  // of a name or a signature

// "i12", "s34": the letter and the record's number.
std::string identity_id(std::uint64_t id);
std::string submission_id(std::uint64_t id);
std::optional<std::uint64_t> parse_identity_id(std::string_view id);
std::optional<std::uint64_t> parse_submission_id(std::string_view id);

// The address of the person: the login, or what `domain` makes of it; empty if there is none.
std::string own_address(const outbox::Options& options, std::string_view login);
// May the person send from this address, or have the identity "*@domain"? Not whether it is an address.
bool may_send_from(const outbox::Options& options, std::string_view login, std::string_view address);
// Is this address one of an Identity with this email, which may be "*@domain"?
bool is_of_identity(std::string_view identity_email, std::string_view address);

// What a /get asks for: Ids that are none of ours are left out. A response can't be larger than response_octets_max.
records::Selection selection_of(const std::optional<std::vector<std::string_view>>& ids,
                                std::optional<std::uint64_t> (*parse)(std::string_view));

std::unexpected<MethodError> method_error_of_records(const Error& error);
mail::SetOutcome set_error_of_records(const Error& error);

// The standard /changes of a type (RFC 8620, 5.2).
io::Task<MethodResult> record_changes(CallContext& context, const rapidjson::Value& arguments,
                                      records::Type type, std::string (*id_of)(std::uint64_t));

}  // namespace postern::jmap
