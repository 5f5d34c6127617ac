// From a request's octets to its method calls, one after another, and their responses as one document. Depth and number
// of values are checked before anything is parsed; how many calls, Limits says.
#include "postern/jmap/api.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "jmap/capabilities.hpp"
#include "jmap/methods.hpp"
#include "jmap/result_references.hpp"
#include "postern/base/json_misuse.hpp"

namespace postern::jmap {
namespace {

constexpr auto all_methods = std::to_array<Method>({
    {"Core/echo", capability_core, core_echo},
    {"Mailbox/changes", capability_mail, mailbox_changes},
    {"Mailbox/get", capability_mail, mailbox_get},
    {"Email/changes", capability_mail, email_changes},
    {"Mailbox/query", capability_mail, mailbox_query},
    {"Mailbox/queryChanges", capability_mail, mailbox_query_changes},
    {"Mailbox/set", capability_mail, mailbox_set},
    {"Email/get", capability_mail, email_get},
    {"Email/query", capability_mail, email_query},
    {"PushSubscription/get", capability_core, push_subscription_get},
    {"PushSubscription/set", capability_core, push_subscription_set},
    {"Blob/copy", capability_core, blob_copy},
    {"Blob/get", capability_blob, blob_get},
    {"Blob/lookup", capability_blob, blob_lookup},
    {"Blob/upload", capability_blob, blob_upload},
    {"Email/copy", capability_mail, email_copy},
    {"Email/import", capability_mail, email_import},
    {"Email/parse", capability_mail, email_parse},
    {"Email/queryChanges", capability_mail, email_query_changes},
    {"Email/set", capability_mail, email_set},
    {"SearchSnippet/get", capability_mail, search_snippet_get},
    {"Thread/changes", capability_mail, thread_changes},
    {"Quota/get", capability_quota, quota_get},
    {"Quota/changes", capability_quota, quota_changes},
    {"Quota/query", capability_quota, quota_query},
    {"Thread/get", capability_mail, thread_get},
    {"VacationResponse/get", capability_vacation, vacation_response_get},
    {"VacationResponse/set", capability_vacation, vacation_response_set},
    {"Identity/get", capability_submission, identity_get},
    {"Identity/changes", capability_submission, identity_changes},
    {"Identity/set", capability_submission, identity_set},
    {"EmailSubmission/get", capability_submission, submission_get},
    {"EmailSubmission/changes", capability_submission, submission_changes},
    {"EmailSubmission/query", capability_submission, submission_query},
    {"EmailSubmission/queryChanges", capability_submission, submission_query_changes},
    {"EmailSubmission/set", capability_submission, submission_set},
});

std::string error_arguments(const MethodError& error) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("type", error.type);
  if (!error.description.empty()) writer.member("description", error.description);
  if (error.refusal) write_refusal(writer, *error.refusal);
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

// How its calls went, for the answer to the request as a whole.
struct Progress {
  std::size_t unavailable = 0;  // calls that could not be answered, since the IMAP server can't be reached
  bool has_effects = false;     // the worker has been told that it must not repeat the request
  bool is_entailed = false;     // what runs is an implicit call
};

// The effects hook of a request. What a change that has been made entails (a message that was sent is filed) is done
// also when nobody waits for the answer any more: the person would send it again.
io::Task<bool> ask_effects(mail::EffectsHook ask, Progress& progress) {
  if (progress.is_entailed && progress.has_effects) co_return true;
  const bool go_on = co_await ask();
  progress.has_effects = progress.has_effects || go_on;
  co_return go_on;
}

io::Task<MethodResult> call_method(std::string_view name, rapidjson::Value& arguments, bool allowed,
                                   Responses& responses, CallContext& context,
                                   rapidjson::Document::AllocatorType& allocator) {
  const auto* method =
      std::find_if(all_methods.begin(), all_methods.end(), [&](const Method& m) { return m.name == name; });
  if (method == all_methods.end() || !allowed || !has_capability(method->capability, context.features))
    co_return method_error("unknownMethod");
  if (auto resolved = resolve_references(arguments, responses, allocator); !resolved)
    co_return std::unexpected(resolved.error());
  try {
    co_return co_await method->handler(context, arguments);
  } catch (const JsonMisuse& misuse) {  // a bug of ours: it ends this call alone
    co_return method_error("serverFail", misuse.what());
  }
}

void add_response(Responses& responses, std::string_view name, std::string_view call_id, MethodResult result,
                  Progress& progress) {
  if (result) {
    responses.add(std::string(name), std::move(*result), std::string(call_id));
    return;
  }
  // What only failed for want of an earlier result says nothing by itself.
  auto& unavailable = progress.unavailable;
  if (result.error().type == "serverUnavailable") ++unavailable;
  if (result.error().type == "invalidResultReference" && unavailable > 0) ++unavailable;
  responses.add("error", error_arguments(result.error()), std::string(call_id));
}

// One call of the request, and those that it entails.
io::Task<> answer_call(rapidjson::Value& call, bool allowed, Responses& responses, CallContext& context,
                       rapidjson::Document::AllocatorType& allocator, Progress& progress) {
  const auto name = text_of(call[0]), call_id = text_of(call[2]);
  context.implicit_calls.clear();
  MethodResult result =
      method_error("requestTooLarge", "the responses of this request are too large already");
  if (responses.octets() <= response_octets_max)
    result = co_await call_method(name, call[1], allowed, responses, context, allocator);
  add_response(responses, name, call_id, std::move(result), progress);
  progress.is_entailed = true;
  for (auto& implicit : std::exchange(context.implicit_calls, {})) {
    JsonText text(std::move(implicit.arguments), JsonText::Source::json_writer);
    auto& arguments = text.document();
    auto entailed =
        co_await call_method(implicit.name, arguments, true, responses, context, arguments.GetAllocator());
    add_response(responses, implicit.name, call_id, std::move(entailed), progress);
  }
  progress.is_entailed = false;
}

}  // namespace

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

ApiResponse over_limit(const limits::Refusal& refusal, std::int64_t now, std::uint16_t status) {
  ApiResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.retry_after = std::to_string(refusal.retry_after(now));
  JsonWriter writer(response.body);
  writer.start_object();
  writer.member("type", "urn:ietf:params:jmap:error:limit");
  writer.member_uint("status", response.status);
  writer.member("detail", refusal.description());
  write_refusal(writer, refusal);
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

// RFC 8620, 3.6.1: what the account doesn't have is refused.
io::Task<std::optional<ApiResponse>> check_using(const rapidjson::Value& names, CallContext& context) {
  for (const auto& name : names.GetArray()) {
    const auto capability = text_of(name);
    if (has_capability(capability, context.features)) continue;
    if (is_known_capability(capability) && context.look_again)
      context.features = co_await context.look_again();
    if (!has_capability(capability, context.features))
      co_return problem(400, "unknownCapability", "not offered: " + std::string(capability));
  }
  co_return std::nullopt;
}

// When a request of many calls, or of much that is in memory, lets others come between.
class Turns {
 public:
  bool over(std::size_t octets) {
    if (++calls_ <= calls_per_turn && octets - octets_ < octets_per_turn) return false;
    calls_ = 1;
    octets_ = octets;
    return true;
  }

 private:
  static constexpr std::size_t calls_per_turn = 4, octets_per_turn = 256 * 1024;
  std::size_t calls_ = 0, octets_ = 0;
};

io::Task<ApiResponse> answer_request(std::string body, CallContext context) {
  if (body.size() > context.limits.max_size_request)
    co_return problem(400, "limit", "the request is larger than maxSizeRequest", "maxSizeRequest");
  // Before anything is parsed: no recursion of ours or RapidJSON's goes deeper than this.
  const auto shape = json_shape(body);
  if (shape.depth > json_depth_max) co_return problem(400, "notJSON", "the request is nested too deeply");
  if (shape.values > json_values_max)
    co_return problem(400, "limit", "the request holds too many values", "maxSizeRequest");
  if (body.find('\0') != std::string::npos) co_return problem(400, "notJSON", "the request holds a NUL");
  JsonText text(std::move(body), JsonText::Source::client);
  auto& request = text.document();
  if (request.HasParseError())
    co_return problem(400, "notJSON",
                      "the request is no JSON (at octet " + std::to_string(request.GetErrorOffset()) + ")");
  if (has_infinite_number(request)) co_return problem(400, "notJSON", "the request holds a number too large");
  if (auto wrong = wrong_with(request); !wrong.empty()) co_return problem(400, "notRequest", wrong);
  if (auto refused = co_await check_using(request["using"], context)) co_return std::move(*refused);
  auto& calls = request["methodCalls"];
  if (calls.Size() > context.limits.max_calls_in_request)
    co_return problem(400, "limit", "more than maxCallsInRequest calls", "maxCallsInRequest");

  if (const auto* created = find_member(request, "createdIds"); created != nullptr) {
    if (created->MemberCount() > created_ids_max)
      co_return problem(400, "limit", "createdIds has too many members", "createdIds");
    for (const auto& member : created->GetObject())
      context.created_ids.add(text_of(member.name), text_of(member.value));
  }

  Responses responses;
  Progress progress;
  if (context.effects)
    context.effects = [ask = context.effects, &progress] { return ask_effects(ask, progress); };
  // A method of a capability that the server offers is answered even if `using` left it out, unless `using` is empty:
  // widely used clients leave some out.
  const bool allowed = !request["using"].Empty();
  Turns turns;
  for (auto& call : calls.GetArray()) {
    if (context.next_turn && turns.over(responses.octets())) co_await context.next_turn();
    if (context.is_over && context.is_over())
      co_return problem(503, "about:blank", "nobody waits for this request any more");
    co_await answer_call(call, allowed, responses, context, request.GetAllocator(), progress);
  }

  ApiResponse response;
  response.stale = context.freshness == mail::Freshness::stale;
  response.unavailable = progress.unavailable > 0 && progress.unavailable == responses.all().size();
  response.partly_unavailable = progress.unavailable > 0 || context.unavailable;
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
  if (find_member(request, "createdIds") != nullptr) {
    writer.key("createdIds");
    writer.start_object();
    for (const auto& [creation_id, id] : context.created_ids.all()) writer.member(creation_id, id);
    writer.end_object();
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
