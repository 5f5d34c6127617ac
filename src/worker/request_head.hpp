// From FastCGI parameters to the RequestHead that goes to the broker. Pure: no I/O, any thread.
//
// What is forwarded is a list, not everything: a header the broker has no use for does not reach it.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "postern/base/crypto.hpp"
#include "postern/ipc/frame.hpp"

namespace postern::worker {

// Why a request was refused before the broker saw it: an HTTP status and a sentence for its problem document.
struct Rejection {
  unsigned status = 400;
  std::string detail;
};

// The HTTP fields that are forwarded, as FastCGI names them and as the broker does.
struct ForwardedField {
  std::string_view parameter;  // "HTTP_IF_MATCH"
  std::string_view name;       // "if-match"
};
std::span<const ForwardedField> request_fields();

struct HeadOptions {
  std::string prefix;  // where Postern is mounted: "/mail"; empty: at the root
  bool prefix_from_script_name = false;
};

// `parameters` is an environment: NAME=value, ended by a null pointer. 400: a parameter that must be there
// is missing, a control character, a Content-Length that is no number.
std::expected<ipc::RequestHead, Rejection> request_head(const char* const* parameters,
                                                        const HeadOptions& options, Random& random);

// The encoded head, 431 if it is over ipc::head_bytes_max, 400 if it holds what no head may hold.
std::expected<std::string, Rejection> encode_head(const ipc::RequestHead& head);

// The target's path behind the prefix: "/jmap/api" of "/mail/jmap/api?x=1".
std::string_view path_of(const ipc::RequestHead& head);

}  // namespace postern::worker
