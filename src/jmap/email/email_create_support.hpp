// Faults of an object to create, gathered, and header properties read into the forms that a message is written from.
#pragma once

#include <rapidjson/document.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "postern/jmap/email_create.hpp"
#include "postern/jmap/header_property.hpp"

namespace postern::jmap {

// "to" and "3" give "to/3".
std::string sub_property(std::string_view parent, std::string_view name);

// The first reason, and all properties up to set_error_properties_max.
class FaultList {
 public:
  void add(std::string property, std::string_view reason);
  // An error of another kind; the first one counts, and goes before invalid properties.
  void set(SetError error);
  bool empty() const { return !other_ && invalid_.properties.empty(); }
  bool full() const { return invalid_.properties.size() >= set_error_properties_max; }
  SetError error() const { return other_ ? *other_ : invalid_; }

 private:
  SetError invalid_{"invalidProperties"};
  std::optional<SetError> other_;
};

// A string; null and absent are nullopt, anything else a fault.
std::optional<std::string> read_string(const rapidjson::Value& value, std::string_view property,
                                       FaultList& faults);
std::optional<std::vector<std::string>> read_strings(const rapidjson::Value& value, std::string_view property,
                                                     std::size_t items_max, FaultList& faults);

// The header fields that properties of one object stand for, by name.
class FieldReader {
 public:
  // `parent` is the pointer to the object: "" or "bodyStructure/subParts/0".
  FieldReader(std::string parent, FaultList& faults) : parent_(std::move(parent)), faults_(faults) {}

  // "header:X-Foo:asText": the fields it makes. Reports a field that was there already.
  void read_header_property(std::string_view key, const rapidjson::Value& value,
                            std::vector<mail::WrittenField>& out);
  void read_convenience(const ConvenienceProperty& convenience, const rapidjson::Value& value,
                        std::vector<mail::WrittenField>& out);
  // False, and a fault, if another property stands for it too. Names in upper case.
  bool claim(std::string_view upper_name, std::string_view property);
  bool has(std::string_view upper_name) const { return seen_.contains(upper_name); }

 private:
  void read_form(HeaderForm form, std::string_view name, const rapidjson::Value& value,
                 const std::string& property, std::vector<mail::WrittenField>& out);

  std::string parent_;
  FaultList& faults_;
  std::set<std::string, std::less<>> seen_;
};

// The body of the message from bodyStructure, or from textBody, htmlBody and attachments. The fields of the root part
// that aren't Content-* go to the message's.
void read_body(const rapidjson::Value& email, const EmailCreateLimits& limits, FieldReader& message_fields,
               mail::WrittenMessage& message, FaultList& faults);

}  // namespace postern::jmap
