// Problem documents (RFC 7807; their types for JMAP: RFC 8620, section 3.6.1) for what a worker answers itself.
#pragma once

#include <string>
#include <string_view>

#include "postern/ipc/frame.hpp"
#include "postern/limits/meter.hpp"

namespace postern::worker {

struct Answer {
  ipc::ResponseHead head;
  std::string body;
};

enum class Unavailable {
  broker_away,       // no broker within the wait: come back, nothing has happened
  too_many_waiting,  // others wait for the broker already: the same, at once
  outcome_unknown,   // the broker was lost after the request may have changed something
  stopping,          // this worker stops
  broker_failed,     // the broker gave the request up
};

Answer problem(unsigned status, std::string_view detail);
// 401. `bearer`: the client showed the token in an Authorization field.
Answer unauthorized(bool bearer);
// 413. `limit`: "maxSizeRequest" or "maxSizeUpload" (RFC 8620, section 2).
Answer body_too_large(std::string_view limit);
// 429: the person's plan doesn't allow so much now. `now`: Unix seconds.
Answer over_limit(const limits::Refusal& refusal, std::int64_t now);
Answer unavailable(Unavailable why);

std::string_view reason_phrase(unsigned status);

}  // namespace postern::worker
