// RFC 3501, section 9:
// response        = *(continue-req / response-data) response-done
// continue-req    = "+" SP (resp-text / base64) CRLF
// response-data   = "*" SP (resp-cond-state / resp-cond-bye / mailbox-data / message-data / capability-data) CRLF
// response-tagged = tag SP resp-cond-state CRLF
// mailbox-data    = ... / number SP "EXISTS" / number SP "RECENT"
// message-data    = nz-number SP ("EXPUNGE" / ("FETCH" SP msg-att))
#include "imap/response_parsers.hpp"
#include "postern/imap/parser.hpp"

namespace postern::imap {
namespace {

// Lets `parse` fill a response of type T in its place.
template <typename T, typename Parse>
Result<Response> filled(Cursor& in, std::string_view name, Parse parse) {
  Result<Response> out(std::in_place, std::in_place_type<T>);
  if (!parse(in, std::get<T>(*out))) out = fail(in.error(name));
  return out;
}

Result<Response> parse_numbered(Cursor& in) {
  std::uint32_t number = 0;
  if (!in.number(number)) return fail(Errc::syntax, "number: too large");
  in.spaces();
  const std::string_view word = in.word();
  if (is_word(word, "FETCH")) {
    return filled<FetchResponse>(in, "FETCH", [number](Cursor& c, FetchResponse& r) {
      r.data.seq = number;
      return parse_fetch(c, r.data);
    });
  }
  if (is_word(word, "EXISTS")) return Response(ExistsResponse{number});
  if (is_word(word, "RECENT")) return Response(RecentResponse{number});
  if (is_word(word, "EXPUNGE")) return Response(ExpungeResponse{number});
  if (word.empty()) return fail(Errc::syntax, "number without a name");
  return Response(UnknownResponse{to_upper(word)});
}

Result<Response> parse_status(Cursor& in, std::string_view tag, Status status) {
  Result<Response> out(std::in_place, std::in_place_type<StatusResponse>);
  auto& r = std::get<StatusResponse>(*out);
  r.tag = tag;
  r.status = status;
  if (!parse_status_text(in, r.code, r.text)) return fail(in.error("status response"));
  return out;
}

Result<Response> parse_named(Cursor& in, std::string_view name) {
  if (is_word(name, "LIST") || is_word(name, "LSUB") || is_word(name, "XLIST")) {
    return filled<ListResponse>(in, "LIST", [name](Cursor& c, ListResponse& r) {
      r.command = to_upper(name);
      return parse_list(c, r);
    });
  }
  if (is_word(name, "STATUS")) return filled<StatusDataResponse>(in, "STATUS", parse_status_data);
  if (is_word(name, "SEARCH")) {
    return filled<SearchResponse>(
        in, "SEARCH", [](Cursor& c, SearchResponse& r) { return parse_numbers(c, r.numbers, r.modseq); });
  }
  if (is_word(name, "SORT")) {
    return filled<SortResponse>(
        in, "SORT", [](Cursor& c, SortResponse& r) { return parse_numbers(c, r.numbers, r.modseq); });
  }
  if (is_word(name, "ESEARCH")) return filled<EsearchResponse>(in, "ESEARCH", parse_esearch);
  if (is_word(name, "THREAD")) return filled<ThreadResponse>(in, "THREAD", parse_thread);
  if (is_word(name, "VANISHED")) return filled<VanishedResponse>(in, "VANISHED", parse_vanished);
  if (is_word(name, "FLAGS")) {
    return filled<FlagsResponse>(in, "FLAGS", [](Cursor& c, FlagsResponse& r) { return c.flags(r.flags); });
  }
  if (is_word(name, "CAPABILITY")) {
    return filled<CapabilityResponse>(
        in, "CAPABILITY", [](Cursor& c, CapabilityResponse& r) { return parse_names(c, r.names); });
  }
  if (is_word(name, "ENABLED")) {
    return filled<EnabledResponse>(in, "ENABLED",
                                   [](Cursor& c, EnabledResponse& r) { return parse_names(c, r.names); });
  }
  if (is_word(name, "NAMESPACE")) return filled<NamespaceResponse>(in, "NAMESPACE", parse_namespace);
  if (is_word(name, "ID")) return filled<IdResponse>(in, "ID", parse_id);
  if (is_word(name, "QUOTA")) return filled<QuotaResponse>(in, "QUOTA", parse_quota);
  if (is_word(name, "QUOTAROOT")) return filled<QuotaRootResponse>(in, "QUOTAROOT", parse_quota_root);
  if (is_word(name, "MYRIGHTS")) return filled<MyRightsResponse>(in, "MYRIGHTS", parse_my_rights);
  if (is_word(name, "METADATA")) return filled<MetadataResponse>(in, "METADATA", parse_metadata);
  return Response(UnknownResponse{to_upper(name)});
}

}  // namespace

Result<Response> parse_response(std::string_view response) {
  if (response.ends_with('\n')) response.remove_suffix(1);
  if (response.ends_with('\r')) response.remove_suffix(1);
  Cursor in(response);
  in.spaces();
  if (in.accept('+')) {  // seen without the SP, and without anything behind it
    Result<Response> out(std::in_place, std::in_place_type<Continuation>);
    auto& r = std::get<Continuation>(*out);
    if (!parse_status_text(in, r.code, r.text)) return fail(in.error("continuation"));
    return out;
  }
  if (in.accept('*')) {  // seen without the SP
    in.spaces();
    if (is_digit(in.peek())) return parse_numbered(in);
    const std::string_view name = in.item_name();
    Status status{};
    if (is_status_word(name, status)) return parse_status(in, {}, status);
    if (name.empty()) return fail(Errc::syntax, "untagged response without a name");
    return parse_named(in, name);
  }
  const std::string_view tag = in.word();
  in.spaces();
  Status status{};
  if (tag.empty() || !is_status_word(in.item_name(), status))
    return fail(Errc::syntax, "neither tagged nor untagged");
  return parse_status(in, tag, status);
}

}  // namespace postern::imap
