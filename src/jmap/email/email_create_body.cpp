// EmailBodyParts to create, and the tree that textBody, htmlBody and attachments make (RFC 8621, 4.6). Recursion is as
// deep as the tree, up to mime_nesting_max.
#include <algorithm>
#include <unordered_map>

#include "jmap/email/email_create_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/body_parts.hpp"
#include "postern/mail/mime/content_type.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::jmap {
namespace {

using mail::WrittenPart;
using rapidjson::Value;

// The text of one of the bodyValues; null: there is none.
class BodyValues {
 public:
  BodyValues(const Value& email, FaultList& faults) {
    const Value* values = find_member(email, "bodyValues");
    if (values == nullptr) return;
    if (!values->IsObject()) {
      faults.add("bodyValues", "must be an object");
      return;
    }
    for (const auto& member : values->GetObject()) {
      if (faults.full()) return;
      values_.try_emplace(text_of(member.name), &member.value);
      check(member.value, sub_property("bodyValues", text_of(member.name)), faults);
    }
  }

  const Value* text(std::string_view part_id) const {
    const auto found = values_.find(part_id);
    const Value* text = found != values_.end() ? find_member(*found->second, "value") : nullptr;
    return text != nullptr && text->IsString() ? text : nullptr;
  }

 private:
  static void check(const Value& value, const std::string& property, FaultList& faults) {
    if (!value.IsObject()) {
      faults.add(property, "must be an object");
      return;
    }
    bool has_value = false;
    for (const auto& member : value.GetObject()) {
      const std::string_view name = text_of(member.name);
      if (name == "value") {
        has_value = member.value.IsString();
      } else if (name == "isEncodingProblem" || name == "isTruncated") {
        if (!member.value.IsFalse()) faults.add(sub_property(property, name), "must be false");
      } else {
        faults.add(sub_property(property, name), "is unknown");
      }
    }
    if (!has_value) faults.add(sub_property(property, "value"), "must be a string");
  }

  std::unordered_map<std::string_view, const Value*> values_;
};

class BodyReader {
 public:
  BodyReader(const Value& email, const EmailCreateLimits& limits, FaultList& faults)
      : values_(email, faults), limits_(limits), faults_(faults) {}

  // `implied_type` where none is given; empty: by what the part has.
  WrittenPart read(const Value& value, const std::string& property, std::string_view implied_type,
                   std::size_t depth) {
    WrittenPart part;
    part.property = property;
    if (++parts_ > mail::mime_parts_max || depth >= mail::mime_nesting_max) {
      faults_.set({"tooLarge", property + ": has too many parts, or too deeply nested ones"});
      return part;
    }
    if (!value.IsObject()) {
      faults_.add(property, "must be an object");
      return part;
    }
    PartMembers members;
    FieldReader fields(property, faults_);
    for (const auto& member : value.GetObject()) {
      if (faults_.full()) return part;
      read_member(text_of(member.name), member.value, part, members, fields);
    }
    settle_content_fields(part, members, fields);
    settle_type(part, members, implied_type);
    settle_content(part, members, depth);
    return part;
  }

 private:
  struct PartMembers {
    std::optional<std::string> part_id, blob_id, type;
    const Value* sub_parts = nullptr;
    bool has_size = false;
    std::vector<std::string_view> of_type,
        of_disposition;  // properties that Content-Type and -Disposition are made of
  };

  void read_member(std::string_view name, const Value& value, WrittenPart& part, PartMembers& members,
                   FieldReader& fields) {
    const std::string property = sub_property(part.property, name);
    const auto string = [&] { return read_string(value, property, faults_); };
    if (name == "headers") {
      faults_.add(property, "must not be given");
    } else if (name.starts_with("header:")) {
      fields.read_header_property(name, value, part.fields);
    } else if (name == "partId") {
      members.part_id = string();
    } else if (name == "blobId") {
      members.blob_id = string();
      // "#" and a creation id: what Blob/upload has made (RFC 9404, 4.1).
      if (members.blob_id && !is_valid_id(members.blob_id->substr(members.blob_id->starts_with('#') ? 1 : 0)))
        faults_.add(property, "must be an Id");
    } else if (name == "size") {
      members.has_size = !value.IsNull();
      if (members.has_size && !value.IsUint64()) faults_.add(property, "must be an UnsignedInt");
    } else if (name == "subParts") {
      if (!value.IsNull()) members.sub_parts = &value;
    } else if (name == "type") {
      members.type = string();
      if (members.type) members.of_type.push_back(name);
    } else if (name == "charset") {
      part.charset = string();
      if (part.charset) members.of_type.push_back(name);
    } else if (name == "name") {
      part.name = string();
      if (part.name) {
        members.of_type.push_back(name);
        members.of_disposition.push_back(name);
      }
    } else if (name == "disposition") {
      part.disposition = string();
      if (part.disposition) members.of_disposition.push_back(name);
    } else if (name == "cid") {
      part.cid = string();
    } else if (name == "location") {
      part.location = string();
    } else if (name == "language") {
      part.language =
          read_strings(value, property, mail::header_urls_max, faults_).value_or(std::vector<std::string>());
    } else {
      faults_.add(property, "is unknown");
    }
  }

  // header:Content-* properties against those that stand for the same field; and what the composer writes itself.
  void settle_content_fields(WrittenPart& part, PartMembers& members, FieldReader& fields) {
    const auto conflict = [&](std::string_view field, std::string_view name) {
      if (fields.has(field))
        faults_.add(sub_property(part.property, name),
                    "stands for a header field that another property gives too");
    };
    for (const auto name : members.of_type) conflict("CONTENT-TYPE", name);
    for (const auto name : members.of_disposition) conflict("CONTENT-DISPOSITION", name);
    if (part.cid) conflict("CONTENT-ID", "cid");
    if (part.location) conflict("CONTENT-LOCATION", "location");
    if (!part.language.empty()) conflict("CONTENT-LANGUAGE", "language");
    std::erase_if(part.fields, [&](const mail::WrittenField& field) {
      const bool type = iequals_ascii(field.name, "Content-Type");
      if (iequals_ascii(field.name, "Content-Transfer-Encoding")) {
        faults_.add(field.property, "must not be given");
        return true;
      }
      if (!type && !iequals_ascii(field.name, "Content-Disposition")) return false;
      const auto* raw = std::get_if<mail::RawForm>(&field.form);
      const auto* text = std::get_if<mail::TextForm>(&field.form);
      if (raw == nullptr && text == nullptr) {
        faults_.add(field.property, "can't be given in this form");
        return true;
      }
      take_parameterized(raw != nullptr ? raw->raw : text->text, type, part, members, field.property);
      return true;
    });
  }

  // A Content-Type or Content-Disposition that the client wrote by itself, taken apart.
  void take_parameterized(std::string_view raw, bool type, WrittenPart& part, PartMembers& members,
                          const std::string& property) {
    mail::ParameterizedValue value = mail::parse_parameterized(raw);
    const std::string_view name_parameter = type ? "name" : "filename";
    if (auto name = mail::decoded_parameter(value.parameters, name_parameter); name && (!type || !part.name))
      part.name = std::move(*name);
    if (value.value.empty()) faults_.add(property, "has no value");
    if (type) {
      members.type = value.value;
      for (const auto& [name, text] : value.parameters)
        if (name == "charset") part.charset = text;
      // What text in bodyValues is sent in is the server's choice; UTF-8 is what it chooses.
      if (members.part_id && part.charset) {
        if (!iequals_ascii(*part.charset, "utf-8") && !iequals_ascii(*part.charset, "us-ascii"))
          faults_.add(property, "must not have a charset where a partId is given");
        part.charset.reset();
      }
    } else {
      part.disposition = value.value;
    }
    std::erase_if(value.parameters, [&](const auto& parameter) {
      const std::string_view base = std::string_view(parameter.first).substr(0, parameter.first.find('*'));
      return base == name_parameter || (type && (base == "charset" || base == "boundary"));
    });
    (type ? part.parameters : part.disposition_parameters) = std::move(value.parameters);
  }

  static void settle_type(WrittenPart& part, const PartMembers& members, std::string_view implied_type) {
    if (members.type) {
      part.type = ascii_lower(*members.type);
    } else if (!implied_type.empty()) {
      part.type = implied_type;
    } else {
      part.type = members.sub_parts != nullptr ? "multipart/mixed"
                  : members.blob_id            ? "application/octet-stream"
                                               : "text/plain";
    }
  }

  void settle_content(WrittenPart& part, const PartMembers& members, std::size_t depth) {
    const auto fault = [&](std::string_view name, std::string_view reason) {
      faults_.add(sub_property(part.property, name), reason);
    };
    if (part.is_multipart()) {
      if (members.part_id) fault("partId", "must be null for a multipart");
      if (members.blob_id) fault("blobId", "must be null for a multipart");
      read_sub_parts(part, members, depth);
      return;
    }
    if (members.sub_parts != nullptr && !(members.sub_parts->IsArray() && members.sub_parts->Empty()))
      fault("subParts", "is for multiparts");
    if (members.part_id && members.blob_id) {
      fault("blobId", "must not be given with a partId");
    } else if (members.part_id) {
      if (part.charset) fault("charset", "must not be given with a partId");
      if (members.has_size) fault("size", "must not be given with a partId");
      take_text(part, *members.part_id);
    } else if (members.blob_id) {
      part.blob = mail::BlobContent{*members.blob_id};
    } else {
      fault("partId", "must be given, or a blobId");
    }
  }

  void read_sub_parts(WrittenPart& part, const PartMembers& members, std::size_t depth) {
    const std::string property = sub_property(part.property, "subParts");
    if (members.sub_parts == nullptr || !members.sub_parts->IsArray() || members.sub_parts->Empty()) {
      faults_.add(property, "must be a list of parts, and not an empty one");
      return;
    }
    rapidjson::SizeType index = 0;
    for (const Value& value : members.sub_parts->GetArray()) {
      if (faults_.full() || parts_ > mail::mime_parts_max) return;
      part.sub_parts.push_back(read(value, sub_property(property, std::to_string(index++)), "", depth + 1));
    }
  }

  // One partId may stand in many parts: their texts are bounded together.
  void take_text(WrittenPart& part, std::string_view part_id) {
    const Value* text = values_.text(part_id);
    if (text == nullptr) {
      faults_.add(sub_property(part.property, "partId"), "isn't in bodyValues");
      return;
    }
    text_octets_ += text->GetStringLength();
    if (text_octets_ > limits_.octets_max) {
      faults_.set({"tooLarge", part.property + ": is larger than a message may be"});
      return;
    }
    part.text = text_of(*text);
  }

  BodyValues values_;
  const EmailCreateLimits& limits_;
  FaultList& faults_;
  std::size_t parts_ = 0;
  std::uint64_t text_octets_ = 0;
};

WrittenPart multipart(std::string type, std::string property) {
  WrittenPart part;
  part.type = std::move(type);
  part.property = std::move(property);
  return part;
}

WrittenPart empty_text() {
  WrittenPart part;
  part.text = "";
  part.property = "textBody";
  return part;
}

// The one part of textBody or htmlBody; nullopt: not given, or at fault.
std::optional<WrittenPart> read_one(BodyReader& reader, const Value& email, const char* property,
                                    std::string_view type, FaultList& faults) {
  const Value* list = find_member(email, property);
  if (list == nullptr) return std::nullopt;
  if (!list->IsArray() || list->Size() != 1) {
    faults.add(property, "must have exactly one part");
    return std::nullopt;
  }
  WrittenPart part = reader.read((*list)[0], sub_property(property, "0"), type, 0);
  if (part.type != type) faults.add(part.property + "/type", "must be " + std::string(type));
  return part;
}

// Shown within the HTML that refers to it, rather than beside it.
bool is_embedded(const WrittenPart& part) {
  return part.cid && (!part.disposition || iequals_ascii(*part.disposition, "inline"));
}

std::vector<WrittenPart> read_attachments(BodyReader& reader, const Value& email, FaultList& faults) {
  std::vector<WrittenPart> out;
  const Value* list = find_member(email, "attachments");
  if (list == nullptr) return out;
  if (!list->IsArray()) {
    faults.add("attachments", "must be a list of parts");
    return out;
  }
  rapidjson::SizeType index = 0;
  for (const Value& value : list->GetArray()) {
    if (faults.full() || out.size() > mail::mime_parts_max) break;
    WrittenPart part = reader.read(value, sub_property("attachments", std::to_string(index++)),
                                   "application/octet-stream", 0);
    if (part.is_multipart()) faults.add(part.property + "/type", "must not be a multipart");
    out.push_back(std::move(part));
  }
  return out;
}

// multipart/mixed { multipart/alternative { text, multipart/related { HTML, what it embeds } }, other attachments },
// without the multiparts that would have one part.
WrittenPart assemble(std::optional<WrittenPart> text, std::optional<WrittenPart> html,
                     std::vector<WrittenPart> attachments) {
  std::vector<WrittenPart> others;
  if (html) {
    WrittenPart related = multipart("multipart/related", "htmlBody");
    for (auto& part : attachments) {
      if (!is_embedded(part)) {
        others.push_back(std::move(part));
        continue;
      }
      if (!part.disposition) part.disposition = "inline";
      related.sub_parts.push_back(std::move(part));
    }
    if (!related.sub_parts.empty()) {
      // RFC 2387, 3.1: the type of the root, which is the first part.
      related.parameters.emplace_back("type", "text/html");
      related.sub_parts.insert(related.sub_parts.begin(), std::move(*html));
      html = std::move(related);
    }
  } else {
    others = std::move(attachments);
  }
  for (auto& part : others)
    if (!part.disposition) part.disposition = "attachment";
  WrittenPart body;
  if (text && html) {
    body = multipart("multipart/alternative", "textBody");
    body.sub_parts.push_back(std::move(*text));
    body.sub_parts.push_back(std::move(*html));
  } else {
    body = text ? std::move(*text) : html ? std::move(*html) : empty_text();
  }
  if (others.empty()) return body;
  WrittenPart mixed = multipart("multipart/mixed", "attachments");
  mixed.sub_parts.push_back(std::move(body));
  std::move(others.begin(), others.end(), std::back_inserter(mixed.sub_parts));
  return mixed;
}

}  // namespace

void read_body(const Value& email, const EmailCreateLimits& limits, FieldReader& message_fields,
               mail::WrittenMessage& message, FaultList& faults) {
  BodyReader reader(email, limits, faults);
  const Value* structure = find_member(email, "bodyStructure");
  if (structure == nullptr) {
    auto text = read_one(reader, email, "textBody", "text/plain", faults);
    auto html = read_one(reader, email, "htmlBody", "text/html", faults);
    message.body = assemble(std::move(text), std::move(html), read_attachments(reader, email, faults));
  } else {
    for (const char* property : {"textBody", "htmlBody", "attachments"})
      if (find_member(email, property) != nullptr)
        faults.add(property, "must not be given with bodyStructure");
    message.body = reader.read(*structure, "bodyStructure", "", 0);
  }
  // The outermost part's header is the message's.
  std::erase_if(message.body.fields, [&](mail::WrittenField& field) {
    if (ascii_lower(field.name).starts_with("content-")) return false;
    if (message_fields.has(ascii_upper(field.name)))
      faults.add(field.property, "stands for a header field that the Email gives too");
    message.fields.push_back(std::move(field));
    return true;
  });
}

}  // namespace postern::jmap
