// Email and EmailImport objects to create, property by property, with every fault up to set_error_properties_max.
#include "postern/jmap/email_create.hpp"

#include <algorithm>

#include "jmap/email/email_create_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/keywords.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::jmap {
namespace {

using rapidjson::Value;

// The keys of a set: {"key": true}.
std::vector<std::string_view> read_set(const Value& value, std::string_view property, FaultList& faults) {
  std::vector<std::string_view> keys;
  if (value.IsNull()) return keys;
  if (!value.IsObject()) {
    faults.add(std::string(property), "must be an object");
    return keys;
  }
  for (const auto& member : value.GetObject()) {
    if (faults.full()) break;
    keys.push_back(text_of(member.name));
    if (!member.value.IsTrue()) faults.add(sub_property(property, keys.back()), "must be true");
  }
  return keys;
}

// True if the property is one of an Email's filing.
bool read_filing(std::string_view name, const Value& value, const EmailCreateLimits& limits,
                 EmailFiling& filing, FaultList& faults) {
  if (name == "mailboxIds") {
    const auto keys = read_set(value, name, faults);
    if (keys.size() > limits.mailboxes_max) faults.set({"tooManyMailboxes"});
    for (const auto key : keys) {
      if (!is_valid_id(key.substr(key.starts_with('#') ? 1 : 0)))
        faults.add(sub_property(name, key), "must be an Id");
      filing.mailbox_ids.emplace_back(key);
    }
    return true;
  }
  if (name == "keywords") {
    for (const auto key : read_set(value, name, faults)) {
      if (!mail::is_keyword(key)) faults.add(sub_property(name, key), "is no keyword");
      filing.keywords.push_back(ascii_lower(key));
    }
    std::sort(filing.keywords.begin(), filing.keywords.end());
    filing.keywords.erase(std::unique(filing.keywords.begin(), filing.keywords.end()), filing.keywords.end());
    if (filing.keywords.size() > limits.keywords_max) faults.set({"tooManyKeywords"});
    return true;
  }
  if (name == "receivedAt") {
    if (const auto text = read_string(value, name, faults)) {
      const auto date = parse_date(*text, true);
      if (!date) faults.add("receivedAt", "must be a UTCDate");
      if (date) filing.received_at = date->seconds;
    }
    return true;
  }
  return false;
}

void require_mailbox(const EmailFiling& filing, FaultList& faults) {
  if (filing.mailbox_ids.empty()) faults.add("mailboxIds", "must have a Mailbox");
}

bool is_body_property(std::string_view name) {
  constexpr std::string_view names[] = {"bodyStructure", "bodyValues", "textBody", "htmlBody", "attachments"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_server_set(std::string_view name) {
  constexpr std::string_view names[] = {"id", "blobId", "threadId", "size", "hasAttachment", "preview"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

void read_email_member(std::string_view name, const Value& value, const EmailCreateLimits& limits,
                       FieldReader& fields, EmailCreate& email, FaultList& faults) {
  if (read_filing(name, value, limits, email.filing, faults) || is_body_property(name)) return;
  if (const auto* convenience = find_convenience_property(name)) {
    fields.read_convenience(*convenience, value, email.message.fields);
  } else if (name.starts_with("header:")) {
    if (ascii_lower(name).starts_with("header:content-")) {
      faults.add(sub_property("", name), "is for body parts");
    } else {
      fields.read_header_property(name, value, email.message.fields);
    }
  } else if (name == "headers") {
    faults.add("headers", "must not be given: header fields are properties of their own");
  } else {
    faults.add(sub_property("", name), is_server_set(name) ? "is set by the server" : "is unknown");
  }
}

void add_wanted(mail::WrittenPart& part, std::vector<WantedBlob>& out) {
  if (part.blob) out.push_back({&*part.blob, part.type.starts_with("message/")});
  for (auto& sub_part : part.sub_parts) add_wanted(sub_part, out);
}

}  // namespace

std::expected<EmailCreate, SetError> parse_email_create(const Value& object,
                                                        const EmailCreateLimits& limits) {
  if (!object.IsObject()) return std::unexpected(SetError{"invalidProperties", "must be an object"});
  EmailCreate email;
  FaultList faults;
  FieldReader fields("", faults);
  for (const auto& member : object.GetObject()) {
    if (faults.full()) break;
    read_email_member(text_of(member.name), member.value, limits, fields, email, faults);
  }
  require_mailbox(email.filing, faults);
  if (!faults.full()) read_body(object, limits, fields, email.message, faults);
  if (!faults.empty()) return std::unexpected(faults.error());
  return email;
}

std::vector<WantedBlob> wanted_blobs(mail::WrittenMessage& message) {
  std::vector<WantedBlob> out;
  add_wanted(message.body, out);
  return out;
}

SetError blob_not_found(std::span<const std::string> blob_ids) {
  SetError error{"blobNotFound", "there is no such blob"};
  for (const auto& id : blob_ids)
    if (std::find(error.not_found.begin(), error.not_found.end(), id) == error.not_found.end())
      error.not_found.push_back(id);
  return error;
}

SetError set_error_of(std::span<const mail::ComposeFault> compose_faults) {
  FaultList faults;
  for (const auto& fault : compose_faults) {
    if (fault.too_large) {
      faults.set({"tooLarge", fault.property.empty() ? fault.reason : fault.property + ": " + fault.reason});
    } else {
      faults.add(fault.property, fault.reason);
    }
  }
  return faults.error();
}

std::expected<EmailImport, SetError> parse_email_import(const Value& object,
                                                        const EmailCreateLimits& limits) {
  if (!object.IsObject()) return std::unexpected(SetError{"invalidProperties", "must be an object"});
  EmailImport import;
  FaultList faults;
  for (const auto& member : object.GetObject()) {
    const std::string_view name = text_of(member.name);
    if (read_filing(name, member.value, limits, import.filing, faults)) continue;
    if (name != "blobId") {
      faults.add(sub_property("", name), "is unknown");
    } else if (auto id = read_string(member.value, name, faults)) {
      import.blob_id = std::move(*id);
    }
    if (faults.full()) break;
  }
  if (!is_valid_id(import.blob_id.substr(import.blob_id.starts_with('#') ? 1 : 0)))
    faults.add("blobId", "must be an Id");
  require_mailbox(import.filing, faults);
  if (!faults.empty()) return std::unexpected(faults.error());
  return import;
}

}  // namespace postern::jmap
