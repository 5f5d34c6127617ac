// Email/query's `filter` and `sort` (RFC 8621, 4.4.1 and 4.4.2) from JSON: for the methods that take them. Private.
#pragma once

#include <expected>

#include "jmap/methods.hpp"
#include "postern/mail/query.hpp"

namespace postern::jmap {

// Null: everything. invalidArguments for what is no filter, unsupportedFilter for what is too much of one (the limits
// of postern/mail/query.hpp) or has a condition that RFC 8621 doesn't know.
std::expected<mail::Filter, MethodError> parse_email_filter(const rapidjson::Value* value);
// The same for comparators; unsupportedSort. Null or empty: no keys.
std::expected<mail::Sort, MethodError> parse_email_sort(const rapidjson::Value* value);

}  // namespace postern::jmap
