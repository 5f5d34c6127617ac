// CAPABILITY, ENABLED (RFC 5161), ID (RFC 2971), QUOTA and QUOTAROOT (RFC 9208), MYRIGHTS (RFC 4314),
// METADATA (RFC 5464).
#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

// One astring, or what stands up to the next space.
bool parse_mailbox(Cursor& in, std::string& out) {
  in.spaces();
  if (!in.astring(out)) return false;
  if (is_word(out, "INBOX")) out = "INBOX";
  return true;
}

}  // namespace

// capability-data = "CAPABILITY" *(SP capability) ; in capitals
bool parse_names(Cursor& in, std::vector<std::string>& out) {
  for (;;) {
    in.spaces();
    if (in.at_end()) return true;
    const std::string_view name = in.word();
    if (name.empty()) {  // a stray quote or parenthesis
      in.advance();
      continue;
    }
    if (out.size() >= capabilities_max) return in.too_large("capabilities");
    out.push_back(to_upper(name));
  }
}

// id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil
bool parse_id(Cursor& in, IdResponse& out) {
  in.spaces();
  if (in.at_end() || in.accept_nil()) return true;
  if (!in.accept('(')) return in.fail("fields expected");
  for (;;) {
    in.spaces();
    if (in.at_end() || in.accept(')')) return true;
    if (out.fields.size() >= flags_max) return in.too_large("fields");
    NString name, value;
    if (!in.field(name) || !in.field(value)) return false;
    if (name) out.fields.emplace_back(std::move(*name), std::move(value));
  }
}

// quota-response = "QUOTA" SP quota-root-name SP "(" [quota-resource *(SP quota-resource)] ")"
// quota-resource = resource-name SP resource-usage SP resource-limit
bool parse_quota(Cursor& in, QuotaResponse& out) {
  in.spaces();
  if (!in.astring(out.root)) return false;
  in.spaces();
  if (in.at_end()) return true;
  if (!in.accept('(')) return in.fail("resources expected");
  for (;;) {
    in.spaces();
    if (in.at_end() || in.accept(')')) return true;
    if (out.resources.size() >= flags_max) return in.too_large("resources");
    QuotaResponse::Resource resource;
    std::optional<std::uint64_t> usage, limit;
    if (!in.astring(resource.name)) return false;
    in.spaces();
    if (!in.lenient_number(usage)) return false;
    in.spaces();
    if (!in.lenient_number(limit)) return false;
    resource.name = to_upper(resource.name);
    resource.usage = usage.value_or(0);
    resource.limit = limit.value_or(0);
    if (limit) out.resources.push_back(std::move(resource));  // negative or NIL: no limit to speak of
  }
}

// quotaroot-response = "QUOTAROOT" SP mailbox *(SP quota-root-name)
bool parse_quota_root(Cursor& in, QuotaRootResponse& out) {
  if (!parse_mailbox(in, out.mailbox)) return false;
  for (;;) {
    in.spaces();
    if (in.at_end()) return true;
    if (out.roots.size() >= flags_max) return in.too_large("quota roots");
    if (!in.astring(out.roots.emplace_back())) return false;
  }
}

// myrights-data = "MYRIGHTS" SP mailbox SP rights
bool parse_my_rights(Cursor& in, MyRightsResponse& out) {
  if (!parse_mailbox(in, out.mailbox)) return false;
  in.spaces();
  return in.at_end() || in.astring(out.rights);
}

// metadata-resp = "METADATA" SP mailbox SP (entry-values / entry-list)
// entry-values  = "(" entry SP value *(SP entry SP value) ")" ; entry-list = entry *(SP entry): has changed
bool parse_metadata(Cursor& in, MetadataResponse& out) {
  if (!parse_mailbox(in, out.mailbox)) return false;
  in.spaces();
  const bool values = in.accept('(');
  for (;;) {
    in.spaces();
    if (in.at_end() || in.accept(')')) return true;
    if (out.entries.size() >= flags_max) return in.too_large("entries");
    auto& [entry, value] = out.entries.emplace_back();
    if (!in.astring(entry)) return false;
    if (values && !in.field(value)) return false;
  }
}

}  // namespace postern::imap
