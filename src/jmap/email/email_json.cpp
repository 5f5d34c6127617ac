// Writes an Email, its header forms and its body parts, and says which parts' values and headers must be fetched
// for it. Body values come decoded and cut.
#include "postern/jmap/email_json.hpp"

#include <algorithm>

namespace postern::jmap {
namespace {

using mail::BodyLists;
using mail::EmailBodyPart;
using mail::HeaderBlock;
using mail::HeaderField;

void write_addresses(JsonWriter& writer, const std::vector<mail::EmailAddress>& addresses) {
  writer.start_array();
  for (const auto& address : addresses) {
    writer.start_object();
    writer.key("name");
    writer.string_or_null(address.name);
    writer.member("email", address.email);
    writer.end_object();
  }
  writer.end_array();
}

void write_groups(JsonWriter& writer, const std::vector<mail::EmailAddressGroup>& groups) {
  writer.start_array();
  for (const auto& group : groups) {
    writer.start_object();
    writer.key("name");
    writer.string_or_null(group.name);
    writer.key("addresses");
    write_addresses(writer, group.addresses);
    writer.end_object();
  }
  writer.end_array();
}

void write_strings_or_null(JsonWriter& writer, const std::optional<std::vector<std::string>>& strings) {
  if (!strings) {
    writer.null();
    return;
  }
  writer.start_array();
  for (const auto& string : *strings) writer.string(string);
  writer.end_array();
}

void write_form(JsonWriter& writer, HeaderForm form, std::string_view raw) {
  switch (form) {
    case HeaderForm::raw: writer.string(raw); return;
    case HeaderForm::text: writer.string(mail::as_text(raw)); return;
    case HeaderForm::addresses: write_addresses(writer, mail::as_addresses(raw)); return;
    case HeaderForm::grouped_addresses: write_groups(writer, mail::as_grouped_addresses(raw)); return;
    case HeaderForm::message_ids: write_strings_or_null(writer, mail::as_message_ids(raw)); return;
    case HeaderForm::date: writer.string_or_null(mail::as_date(raw)); return;
    case HeaderForm::urls: write_strings_or_null(writer, mail::as_urls(raw)); return;
  }
}

// RFC 8621, 4.1.3: EmailHeader[].
void write_headers(JsonWriter& writer, const HeaderBlock* header) {
  writer.start_array();
  if (header != nullptr) {
    for (const auto& field : header->fields) {
      writer.start_object();
      writer.member("name", field.name);
      writer.member("value", field.value);
      writer.end_object();
    }
  }
  writer.end_array();
}

bool equals_upper(std::string_view name, std::string_view upper) {
  return std::equal(name.begin(), name.end(), upper.begin(), upper.end(),
                    [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == b; });
}

// RFC 8620, 1.2 and RFC 8621: Id[Boolean] and String[Boolean].
void write_set(JsonWriter& writer, std::span<const std::string> items) {
  writer.start_object();
  for (const auto& item : items) writer.member_bool(item, true);
  writer.end_object();
}

class EmailWriter {
 public:
  EmailWriter(JsonWriter& writer, const EmailProperties& request, const EmailData& email)
      : writer_(writer), request_(request), email_(email) {
    lists_ = email.body_lists;
    if (lists_ == nullptr && email.body_structure != nullptr && request.needs.body_structure) {
      own_lists_ = mail::make_body_lists(*email.body_structure);
      lists_ = &own_lists_;
    }
  }

  void write() {
    writer_.start_object();
    for (const auto& property : request_.properties) {
      writer_.key(property.key);
      if (request_.source == EmailSource::blob && is_metadata(property.kind)) {
        writer_.null();
      } else {
        write_property(property);
      }
    }
    writer_.end_object();
  }

 private:
  // What a message has in a mailbox only.
  static bool is_metadata(EmailProperty::Kind kind) {
    using Kind = EmailProperty::Kind;
    return kind == Kind::id || kind == Kind::thread_id || kind == Kind::mailbox_ids ||
           kind == Kind::keywords || kind == Kind::received_at;
  }

  void write_property(const EmailProperty& property) {
    using Kind = EmailProperty::Kind;
    switch (property.kind) {
      case Kind::id: writer_.string(email_.id); return;
      case Kind::blob_id: writer_.string(email_.blob_id); return;
      case Kind::thread_id: writer_.string(email_.thread_id); return;
      case Kind::mailbox_ids: write_set(writer_, email_.mailbox_ids); return;
      case Kind::keywords: write_set(writer_, email_.keywords); return;
      case Kind::size: writer_.uint(email_.size); return;
      case Kind::received_at: writer_.string(utc_date(email_.received_at)); return;
      case Kind::header: write_header(property.header, email_.header); return;
      case Kind::headers: write_headers(writer_, email_.header); return;
      case Kind::body_structure:
        if (email_.body_structure != nullptr) {
          write_part(*email_.body_structure);
        } else {
          writer_.null();
        }
        return;
      case Kind::body_values: write_body_values(); return;
      case Kind::text_body: write_parts(lists_ != nullptr ? &lists_->text_body : nullptr); return;
      case Kind::html_body: write_parts(lists_ != nullptr ? &lists_->html_body : nullptr); return;
      case Kind::attachments: write_parts(lists_ != nullptr ? &lists_->attachments : nullptr); return;
      case Kind::has_attachment: writer_.boolean(lists_ != nullptr && lists_->has_attachment); return;
      case Kind::preview: writer_.string(email_.preview); return;
    }
  }

  void write_header(const HeaderProperty& property, const HeaderBlock* header) {
    if (header != nullptr) {
      write_header_property(writer_, property, *header);
    } else if (property.all) {
      writer_.start_array();
      writer_.end_array();
    } else {
      writer_.null();
    }
  }

  void write_body_values() {
    writer_.start_object();
    for (const auto& [part_id, value] : email_.body_values) {
      writer_.key(part_id);
      writer_.start_object();
      writer_.member("value", value.value);
      writer_.member_bool("isEncodingProblem", value.is_encoding_problem);
      writer_.member_bool("isTruncated", value.is_truncated);
      writer_.end_object();
    }
    writer_.end_object();
  }

  void write_parts(const std::vector<const EmailBodyPart*>* parts) {
    writer_.start_array();
    if (parts != nullptr)
      for (const auto* part : *parts) write_part(*part);
    writer_.end_array();
  }

  // Recursion is as deep as the tree, which is bounded by mail::mime_nesting_max.
  void write_part(const EmailBodyPart& part) {
    writer_.start_object();
    for (const auto& property : request_.body_properties) {
      writer_.key(property.key);
      write_part_property(property, part);
    }
    writer_.end_object();
  }

  void write_part_property(const EmailBodyProperty& property, const EmailBodyPart& part) {
    using Kind = EmailBodyProperty::Kind;
    switch (property.kind) {
      case Kind::part_id:
        if (part.is_multipart()) {
          writer_.null();
        } else {
          writer_.string(part.section);
        }
        return;
      case Kind::blob_id: write_part_blob_id(part); return;
      case Kind::size: writer_.uint(part.size); return;
      case Kind::headers: write_headers(writer_, header_of(part)); return;
      case Kind::name: writer_.string_or_null(part.name); return;
      case Kind::type: writer_.string(part.type); return;
      case Kind::charset: writer_.string_or_null(part.charset); return;
      case Kind::disposition: writer_.string_or_null(part.disposition); return;
      case Kind::cid: writer_.string_or_null(part.cid); return;
      case Kind::language: write_strings_or_null(writer_, part.language); return;
      case Kind::location: writer_.string_or_null(part.location); return;
      case Kind::sub_parts: write_sub_parts(part); return;
      case Kind::header: write_header(property.header, header_of(part)); return;
    }
  }

  const HeaderBlock* header_of(const EmailBodyPart& part) const {
    if (part.headers) return &*part.headers;
    return &part == email_.body_structure ? email_.header : nullptr;
  }

  void write_part_blob_id(const EmailBodyPart& part) {
    if (part.is_multipart() || !email_.part_blob_id) {
      writer_.null();
      return;
    }
    blob_id_.clear();
    email_.part_blob_id(part, blob_id_);
    blob_id_.empty() ? writer_.null() : writer_.string(blob_id_);
  }

  void write_sub_parts(const EmailBodyPart& part) {
    if (!part.is_multipart()) {
      writer_.null();
      return;
    }
    writer_.start_array();
    for (const auto& sub_part : part.sub_parts) write_part(sub_part);
    writer_.end_array();
  }

  JsonWriter& writer_;
  const EmailProperties& request_;
  const EmailData& email_;
  const BodyLists* lists_ = nullptr;
  BodyLists own_lists_;
  std::string blob_id_;
};

void add_once(std::vector<const EmailBodyPart*>& parts, const EmailBodyPart* part) {
  if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
}

void add_text_parts(const EmailBodyPart& part, std::vector<const EmailBodyPart*>& parts) {
  if (part.is_text()) parts.push_back(&part);
  for (const auto& sub_part : part.sub_parts) add_text_parts(sub_part, parts);
}

void add_all_parts(const EmailBodyPart& part, std::vector<const EmailBodyPart*>& parts) {
  parts.push_back(&part);
  for (const auto& sub_part : part.sub_parts) add_all_parts(sub_part, parts);
}

}  // namespace

void write_header_property(JsonWriter& writer, const HeaderProperty& property, const HeaderBlock& header) {
  if (property.all) {
    writer.start_array();
    for (const auto& field : header.fields)
      if (equals_upper(field.name, property.field)) write_form(writer, property.form, field.value);
    writer.end_array();
    return;
  }
  const HeaderField* field = header.last(property.field);
  if (field == nullptr) {
    writer.null();
  } else {
    write_form(writer, property.form, field->value);
  }
}

std::vector<const EmailBodyPart*> wanted_body_values(const EmailProperties& properties,
                                                     const EmailBodyPart& root, const BodyLists& lists) {
  std::vector<const EmailBodyPart*> parts;
  if (!properties.needs.body_values) return parts;
  if (properties.fetch_all_body_values) {
    add_text_parts(root, parts);
    return parts;
  }
  if (properties.fetch_text_body_values)
    for (const auto* part : lists.text_body)
      if (part->is_text()) parts.push_back(part);
  if (properties.fetch_html_body_values)
    for (const auto* part : lists.html_body)
      if (part->is_text()) add_once(parts, part);
  return parts;
}

std::vector<const EmailBodyPart*> wanted_part_headers(const EmailProperties& properties,
                                                      const EmailBodyPart& root, const BodyLists& lists) {
  std::vector<const EmailBodyPart*> parts;
  if (!properties.needs.part_headers) return parts;
  const bool structure = std::any_of(
      properties.properties.begin(), properties.properties.end(),
      [](const EmailProperty& property) { return property.kind == EmailProperty::Kind::body_structure; });
  const bool sub_parts = std::any_of(
      properties.body_properties.begin(), properties.body_properties.end(),
      [](const EmailBodyProperty& property) { return property.kind == EmailBodyProperty::Kind::sub_parts; });
  if (structure && sub_parts) {
    add_all_parts(root, parts);
  } else {
    for (const auto& property : properties.properties) {
      const auto add_list = [&parts](const std::vector<const EmailBodyPart*>& list) {
        for (const auto* part : list) parts.push_back(part);
      };
      if (property.kind == EmailProperty::Kind::text_body) add_list(lists.text_body);
      if (property.kind == EmailProperty::Kind::html_body) add_list(lists.html_body);
      if (property.kind == EmailProperty::Kind::attachments) add_list(lists.attachments);
    }
    std::sort(parts.begin(), parts.end(), std::less<>());
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  }
  std::erase(parts, &root);
  return parts;
}

void write_email(JsonWriter& writer, const EmailProperties& properties, const EmailData& email) {
  EmailWriter(writer, properties, email).write();
}

}  // namespace postern::jmap
