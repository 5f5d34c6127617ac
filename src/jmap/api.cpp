// From a request's octets to its method calls, one after another, and their responses as one document. Depth is
// checked before anything is parsed; how many calls, Limits says.
#include "postern/jmap/api.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "jmap/methods.hpp"
#include "jmap/result_references.hpp"
#include "postern/base/json_misuse.hpp"

namespace postern::jmap {
namespace {

constexpr std::array<Method, 6> all_methods{{
    {"Core/echo", capability_core, core_echo},
    {"Mailbox/get", capability_mail, mailbox_get},
    {"Email/get", capability_mail, email_get},
    {"Email/query", capability_mail, email_query},
    {"Email/set", capability_mail, email_set},
    {"Thread/get", capability_mail, thread_get},
}};

// Nesting is found before anything is parsed: no recursion of ours or RapidJSON's goes deeper than this.
bool is_too_deep(std::string_view json) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > json_depth_max) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

std::string error_arguments(const MethodError& error) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("type", error.type);
  if (!error.description.empty()) writer.member("description", error.description);
  writer.end_object();
  return out;
}

// RFC 8620, 3.3. Empty if it is a Request object, else what is wrong.
std::string wrong_with(const rapidjson::Document& request) {
  if (!request.IsObject()) return "the request must be an object";
  const auto* use = find_member(request, "using");
  if (use == nullptr || !use->IsArray()) return "using must be an array of strings";
  for (const auto& name : use->GetArray())
    if (!name.IsString()) return "using must be an array of strings";
  const auto* calls = find_member(request, "methodCalls");
  if (calls == nullptr || !calls->IsArray()) return "methodCalls must be an array of invocations";
  for (const auto& call : calls->GetArray()) {
    if (!call.IsArray() || call.Size() != 3 || !call[0].IsString() || !call[1].IsObject() ||
        !call[2].IsString())
      return "an invocation must be [name, arguments, method call id]";
  }
  if (const auto* created = find_member(request, "createdIds"); created != nullptr) {
    if (!created->IsObject()) return "createdIds must be an object";
    for (const auto& member : created->GetObject())
      if (!member.value.IsString()) return "createdIds must map ids to ids";
  }
  return {};
}

io::Task<MethodResult> call_method(const rapidjson::Document& request, std::string_view name,
                                   rapidjson::Value& arguments, Responses& responses, CallContext& context,
                                   rapidjson::Document::AllocatorType& allocator) {
  if (responses.octets() > response_octets_max)
    co_return method_error("requestTooLarge", "the responses of this request are too large already");
  const auto& table = all_methods;
  auto method = std::find_if(table.begin(), table.end(), [&](const Method& m) { return m.name == name; });
  // A method of a capability that the server offers is answered even if `using` left it out, unless `using`
  // is empty: widely used clients leave some out.
  if (method == table.end() || request["using"].Empty()) co_return method_error("unknownMethod");
  if (auto resolved = resolve_references(arguments, responses, allocator); !resolved)
    co_return std::unexpected(resolved.error());
  co_return co_await method->handler(context, arguments);
}

}  // namespace

std::span<const Method> methods() { return all_methods; }

ApiResponse problem(std::uint16_t status, std::string_view type, std::string_view detail,
                    std::string_view limit) {
  ApiResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  JsonWriter writer(response.body);
  writer.start_object();
  writer.member(
      "type", type == "about:blank" ? std::string(type) : "urn:ietf:params:jmap:error:" + std::string(type));
  writer.member_uint("status", status);
  writer.member("detail", detail);
  if (!limit.empty()) writer.member("limit", limit);
  writer.end_object();
  return response;
}

namespace {

// Numbers beyond a double's range are no I-JSON (RFC 7493, 2.2); RapidJSON lets some of them through as infinite, which
// no response could repeat. The depth is bounded by json_depth_max.
bool has_infinite_number(const rapidjson::Value& value) {
  if (value.IsDouble()) return !std::isfinite(value.GetDouble());
  if (value.IsArray())
    return std::any_of(value.Begin(), value.End(),
                       [](const auto& item) { return has_infinite_number(item); });
  if (value.IsObject())
    return std::any_of(value.MemberBegin(), value.MemberEnd(),
                       [](const auto& member) { return has_infinite_number(member.value); });
  return false;
}

io::Task<ApiResponse> answer_request(std::string body, CallContext context) {
  if (body.size() > context.limits.max_size_request)
    co_return problem(400, "limit", "the request is larger than maxSizeRequest", "maxSizeRequest");
  if (is_too_deep(body)) co_return problem(400, "notJSON", "the request is nested too deeply");
  if (body.find('\0') != std::string::npos) co_return problem(400, "notJSON", "the request holds a NUL");
  rapidjson::Document request;
  parse_in_place(body, request);
  if (request.HasParseError())
    co_return problem(400, "notJSON",
                      "the request is no JSON (at octet " + std::to_string(request.GetErrorOffset()) + ")");
  if (has_infinite_number(request)) co_return problem(400, "notJSON", "the request holds a number too large");
  if (auto wrong = wrong_with(request); !wrong.empty()) co_return problem(400, "notRequest", wrong);
  for (const auto& name : request["using"].GetArray())
    if (text_of(name) != capability_core && text_of(name) != capability_mail)
      co_return problem(400, "unknownCapability", "not offered: " + std::string(text_of(name)));
  auto& calls = request["methodCalls"];
  if (calls.Size() > context.limits.max_calls_in_request)
    co_return problem(400, "limit", "more than maxCallsInRequest calls", "maxCallsInRequest");

  Responses responses;
  std::size_t unavailable = 0;
  for (auto& call : calls.GetArray()) {
    if (context.is_over && context.is_over())
      co_return problem(503, "about:blank", "nobody waits for this request any more");
    const std::string name(text_of(call[0]));
    MethodResult result;
    try {
      result = co_await call_method(request, name, call[1], responses, context, request.GetAllocator());
    } catch (const JsonMisuse& misuse) {  // a bug of ours: it ends this call alone
      result = method_error("serverFail", misuse.what());
    }
    if (result) {
      responses.add(name, std::move(*result), std::string(text_of(call[2])));
      continue;
    }
    // What only failed for want of an earlier result says nothing by itself.
    if (result.error().type == "serverUnavailable") ++unavailable;
    if (result.error().type == "invalidResultReference" && unavailable > 0) ++unavailable;
    responses.add("error", error_arguments(result.error()), std::string(text_of(call[2])));
  }

  ApiResponse response;
  response.stale = context.freshness == mail::Freshness::stale;
  response.unavailable = unavailable > 0 && unavailable == responses.all().size();
  response.partly_unavailable = unavailable > 0 || context.unavailable;
  std::size_t size = 256;
  for (const auto& r : responses.all()) size += r.arguments.size() + r.name.size() + r.call_id.size() + 32;
  response.body.reserve(size);
  JsonWriter writer(response.body);
  writer.start_object();
  writer.key("methodResponses");
  writer.start_array();
  for (const auto& r : responses.all()) {
    writer.start_array();
    writer.string(r.name);
    writer.raw(r.arguments);
    writer.string(r.call_id);
    writer.end_array();
  }
  writer.end_array();
  if (const auto* created = find_member(request, "createdIds"); created != nullptr) {
    writer.key("createdIds");
    writer.value(*created);
  }
  writer.member("sessionState", context.session_state);
  writer.end_object();
  co_return response;
}

}  // namespace

io::Task<ApiResponse> handle_api_request(std::string body, CallContext context) {
  try {
    co_return co_await answer_request(std::move(body), std::move(context));
  } catch (const JsonMisuse& misuse) {
    co_return problem(500, "about:blank", misuse.what());
  }
}

}  // namespace postern::jmap
