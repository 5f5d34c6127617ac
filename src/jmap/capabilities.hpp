// Which capabilities there are, which of them an account has, and what the session resource says of each (RFC 8620,
// 2). Private to the jmap layer.
#pragma once

#include <string_view>

#include "postern/jmap/api.hpp"
#include "postern/jmap/json.hpp"

namespace postern::jmap {

// Is there such a capability, for some accounts at least?
bool is_known_capability(std::string_view name);
bool has_capability(std::string_view name, const AccountFeatures& features);

// The members "capabilities", "accounts" and "primaryAccounts" of the session resource.
void write_capabilities(JsonWriter& writer, const SessionInfo& info, const Limits& limits);

}  // namespace postern::jmap
