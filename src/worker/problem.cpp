// The documents as text, and the status and fields that go with each reason.
#include "worker/problem.hpp"

#include <fmt/format.h>

namespace postern::worker {
namespace {

// Seconds after which a client should come again: a broker's restart takes less.
constexpr unsigned retry_after_s = 5;

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

Answer make(unsigned status, std::string_view type, std::string_view detail, std::string_view more) {
  Answer answer;
  answer.head.status = static_cast<std::uint16_t>(status);
  answer.body = fmt::format(R"({{"type":{},"title":{},"status":{},"detail":{}{}}})", json_text(type),
                            json_text(reason_phrase(status)), status, json_text(detail), more);
  answer.head.fields = {{"content-type", "application/problem+json"},
                        {"content-length", std::to_string(answer.body.size())},
                        {"cache-control", "no-store"}};
  return answer;
}

}  // namespace

std::string_view reason_phrase(unsigned status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 416: return "Range Not Satisfiable";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 507: return "Insufficient Storage";
    default: return "Status";
  }
}

Answer problem(unsigned status, std::string_view detail) { return make(status, "about:blank", detail, ""); }

Answer unauthorized(bool bearer) {
  auto answer = make(401, "about:blank", "The session has ended. Sign in again.", "");
  // RFC 6750, section 3.1. Never "Basic" here: a browser would ask for a password in a window of its own.
  answer.head.fields.emplace_back("www-authenticate", bearer
                                                          ? R"(Bearer realm="Postern", error="invalid_token")"
                                                          : R"(Bearer realm="Postern")");
  return answer;
}

Answer body_too_large(std::string_view limit) {
  return make(413, "urn:ietf:params:jmap:error:limit", "The request's body is too large.",
              fmt::format(R"(,"limit":{})", json_text(limit)));
}

Answer over_limit(const limits::Refusal& refusal, std::int64_t now) {
  const auto available = refusal.free_at ? json_text(limits::utc_date(*refusal.free_at)) : "null";
  auto answer = make(429, "urn:ietf:params:jmap:error:limit", refusal.description(),
                     fmt::format(R"(,"limit":{},"plan":{},"amount":{},"used":{},"asked":{},"availableAt":{})",
                                 json_text(to_string(refusal.limit)), json_text(refusal.plan), refusal.most,
                                 refusal.used, refusal.asked, available));
  answer.head.fields.emplace_back("retry-after", std::to_string(refusal.retry_after(now)));
  return answer;
}

Answer unavailable(Unavailable why) {
  std::string_view detail;
  unsigned status = 503;
  bool retry = true;
  switch (why) {
    case Unavailable::broker_away:
    case Unavailable::too_many_waiting:
      detail = "The mail gateway is not running or is being restarted. Nothing was done. Try again shortly.";
      break;
    case Unavailable::outcome_unknown:
      detail =
          "The connection was lost while the request was being carried out. "
          "It may have been done, in part or in whole: look before you send it again.";
      retry = false;
      break;
    case Unavailable::stopping: detail = "The server is being restarted. Try again shortly."; break;
    case Unavailable::broker_failed:
      status = 502;
      detail = "The mail gateway gave the request up.";
      retry = false;
      break;
  }
  auto answer =
      make(status, why == Unavailable::outcome_unknown ? "urn:postern:error:outcomeUnknown" : "about:blank",
           detail, "");
  if (retry) answer.head.fields.emplace_back("retry-after", std::to_string(retry_after_s));
  return answer;
}

}  // namespace postern::worker
