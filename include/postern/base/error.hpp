// Errors as values, for every layer.
//
// An Error is a std::error_code in the category of the layer that found it, and a context: a short text
// for the log, written for the administrator. The context never holds a credential, and it never
// reaches a client unless the layer that answers the client says so.
#pragma once

#include <expected>
#include <string>
#include <system_error>
#include <utility>

namespace postern {

struct Error {
  std::error_code code;
  std::string context;

  Error() = default;
  Error(std::error_code c, std::string ctx = {}) : code(c), context(std::move(ctx)) {}

  // "context: message of the code", for logs.
  std::string to_string() const { return context.empty() ? code.message() : context + ": " + code.message(); }
};

template <typename T = void>
using Result = std::expected<T, Error>;

// Makes the unexpected half of a Result: `return fail(imap::Errc::bad_response, "FETCH without UID");`
template <typename Code>
std::unexpected<Error> fail(Code code, std::string context = {}) {
  return std::unexpected<Error>(Error(make_error_code(code), std::move(context)));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

}  // namespace postern
