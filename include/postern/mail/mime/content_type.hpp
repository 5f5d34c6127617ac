// Content-Type and Content-Disposition, read (RFC 2045, 5.1; RFC 2183).
//
// Free functions: any thread. Nothing fails; bounded by header_parameters_max.
#pragma once

#include <string>
#include <string_view>

#include "postern/imap/types.hpp"

namespace postern::mail {

struct ParameterizedValue {
  std::string value;            // "text/plain", "attachment": lower case, without white space and comments
  imap::Parameters parameters;  // names in lower case; RFC 2231 and 2047 are left to decoded_parameter()
};

// From the Raw form of the field.
ParameterizedValue parse_parameterized(std::string_view raw);

}  // namespace postern::mail
