// Header properties of an object to create: types are checked here, what may stand in a message by the composer.
#include <algorithm>
#include <array>
#include <chrono>

#include "jmap/email/email_create_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::jmap {
namespace {

using rapidjson::Value;

// The item's members, checked by name: `allowed` of them, others are faults.
bool is_object_of(const Value& value, std::initializer_list<std::string_view> allowed,
                  const std::string& property, FaultList& faults) {
  if (!value.IsObject()) {
    faults.add(property, "must be an object");
    return false;
  }
  bool good = true;
  for (const auto& member : value.GetObject()) {
    const std::string_view name = text_of(member.name);
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    faults.add(sub_property(property, name), "is unknown");
    good = false;
  }
  return good;
}

const Value& member_of(const Value& object, const char* name) {
  static const Value null;
  const auto found = object.FindMember(name);
  return found == object.MemberEnd() ? null : found->value;
}

std::vector<mail::EmailAddress> read_addresses(const Value& value, const std::string& property,
                                               FaultList& faults) {
  std::vector<mail::EmailAddress> out;
  if (!value.IsArray()) {
    faults.add(property, "must be a list of addresses");
    return out;
  }
  if (value.Size() > mail::header_addresses_max) {
    faults.set({"tooLarge", property + ": has too many addresses"});
    return out;
  }
  for (rapidjson::SizeType i = 0; i < value.Size() && !faults.full(); ++i) {
    const std::string item = sub_property(property, std::to_string(i));
    if (!is_object_of(value[i], {"name", "email"}, item, faults)) continue;
    mail::EmailAddress address;
    address.name = read_string(member_of(value[i], "name"), sub_property(item, "name"), faults);
    auto email = read_string(member_of(value[i], "email"), sub_property(item, "email"), faults);
    if (!email && member_of(value[i], "email").IsNull())
      faults.add(sub_property(item, "email"), "must be given");
    address.email = email.value_or("");
    out.push_back(std::move(address));
  }
  return out;
}

std::vector<mail::EmailAddressGroup> read_groups(const Value& value, const std::string& property,
                                                 FaultList& faults) {
  std::vector<mail::EmailAddressGroup> out;
  if (!value.IsArray() || value.Size() > mail::header_groups_max) {
    faults.add(property, "must be a list of groups of addresses, and not too long a one");
    return out;
  }
  for (rapidjson::SizeType i = 0; i < value.Size() && !faults.full(); ++i) {
    const std::string item = sub_property(property, std::to_string(i));
    if (!is_object_of(value[i], {"name", "addresses"}, item, faults)) continue;
    mail::EmailAddressGroup group;
    group.name = read_string(member_of(value[i], "name"), sub_property(item, "name"), faults);
    group.addresses =
        read_addresses(member_of(value[i], "addresses"), sub_property(item, "addresses"), faults);
    out.push_back(std::move(group));
  }
  return out;
}

std::optional<int> digits(std::string_view s) {
  int value = 0;
  for (const char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

// RFC 3339, 5.6: time-numoffset or "Z". RFC 8620, 1.4: "Z" in upper case.
std::optional<int> offset_minutes(std::string_view s) {
  if (s == "Z") return 0;
  if (s.size() != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':') return std::nullopt;
  const auto hours = digits(s.substr(1, 2)), minutes = digits(s.substr(4, 2));
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return (*hours * 60 + *minutes) * (s[0] == '-' ? -1 : 1);
}

}  // namespace

std::string sub_property(std::string_view parent, std::string_view name) {
  constexpr std::size_t name_bytes_max = 256;  // it may be a client's: cut, for the sake of the error
  std::string out(parent);
  if (!out.empty()) out += '/';
  out += name.substr(0, name_bytes_max);
  return out;
}

void FaultList::add(std::string property, std::string_view reason) {
  if (invalid_.properties.empty()) invalid_.description = property + ": " + std::string(reason);
  if (full() || (!invalid_.properties.empty() && invalid_.properties.back() == property)) return;
  invalid_.properties.push_back(std::move(property));
}

void FaultList::set(SetError error) {
  if (!other_) other_ = std::move(error);
}

std::optional<std::string> read_string(const Value& value, std::string_view property, FaultList& faults) {
  if (value.IsString()) return std::string(text_of(value));
  if (!value.IsNull()) faults.add(std::string(property), "must be a string");
  return std::nullopt;
}

std::optional<std::vector<std::string>> read_strings(const Value& value, std::string_view property,
                                                     std::size_t items_max, FaultList& faults) {
  if (value.IsNull()) return std::nullopt;
  const bool good =
      value.IsArray() && value.Size() <= items_max &&
      std::all_of(value.Begin(), value.End(), [](const Value& item) { return item.IsString(); });
  if (!good) {
    faults.add(std::string(property), "must be a list of strings, and not too long a one");
    return std::nullopt;
  }
  std::vector<std::string> out;
  for (const Value& item : value.GetArray()) out.emplace_back(text_of(item));
  return out;
}

// date-time = full-date "T" full-time, with a fraction of a second or without.
std::optional<mail::DateForm> parse_date(std::string_view text, bool utc) {
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:dd";
  if (text.size() <= form.size()) return std::nullopt;
  for (std::size_t i = 0; i < form.size(); ++i)
    if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) return std::nullopt;
  const auto number = [text](std::size_t begin, std::size_t size) {
    return *digits(text.substr(begin, size));
  };
  std::string_view rest = text.substr(form.size());
  if (rest.front() == '.') {
    const std::size_t end = std::min(rest.find_first_not_of("0123456789", 1), rest.size());
    if (end == 1) return std::nullopt;
    rest.remove_prefix(end);
  }
  const auto offset = offset_minutes(rest);
  using namespace std::chrono;  // NOLINT(google-build-using-namespace)
  const year_month_day ymd{year{number(0, 4)}, month{static_cast<unsigned>(number(5, 2))},
                           day{static_cast<unsigned>(number(8, 2))}};
  if (!offset || (utc && rest != "Z") || !ymd.ok() || number(11, 2) > 23 || number(14, 2) > 59 ||
      number(17, 2) > 60)
    return std::nullopt;
  const std::int64_t local = std::int64_t{sys_days{ymd}.time_since_epoch().count()} * 86'400 +
                             number(11, 2) * 3'600 + number(14, 2) * 60 + std::min(number(17, 2), 59);
  return mail::DateForm{local - std::int64_t{*offset} * 60, *offset};
}

bool FieldReader::claim(std::string_view upper_name, std::string_view property) {
  if (seen_.emplace(upper_name).second) return true;
  faults_.add(std::string(property), "stands for a header field that another property gives too");
  return false;
}

void FieldReader::read_convenience(const ConvenienceProperty& convenience, const Value& value,
                                   std::vector<mail::WrittenField>& out) {
  const std::string property = sub_property(parent_, convenience.key);
  if (value.IsNull() || !claim(ascii_upper(convenience.name), property)) return;
  read_form(convenience.form, convenience.name, value, property, out);
}

void FieldReader::read_header_property(std::string_view key, const Value& value,
                                       std::vector<mail::WrittenField>& out) {
  const std::string property = sub_property(parent_, key);
  const auto header = parse_header_property(key);
  if (!header) {
    faults_.add(property, header.error());
    return;
  }
  if (value.IsNull() || !claim(header->field, property)) return;
  const std::string_view name = key.substr(std::string_view("header:").size(), header->field.size());
  if (!header->all) {
    read_form(header->form, name, value, property, out);
    return;
  }
  if (!value.IsArray() || value.Size() > mail::header_fields_max) {
    faults_.add(property, "must be a list, and not too long a one");
    return;
  }
  for (rapidjson::SizeType i = 0; i < value.Size() && !faults_.full(); ++i)
    read_form(header->form, name, value[i], sub_property(property, std::to_string(i)), out);
}

void FieldReader::read_form(HeaderForm form, std::string_view name, const Value& value,
                            const std::string& property, std::vector<mail::WrittenField>& out) {
  const auto add = [&](mail::FieldForm written) {
    out.push_back({std::string(name), std::move(written), property});
  };
  const auto text = [&]() -> std::optional<std::string> {
    if (value.IsString()) return std::string(text_of(value));
    faults_.add(property, "must be a string");
    return std::nullopt;
  };
  switch (form) {
    case HeaderForm::raw:
      if (auto raw = text()) add(mail::RawForm{std::move(*raw)});
      return;
    case HeaderForm::text:
      if (auto read = text()) add(mail::TextForm{std::move(*read)});
      return;
    case HeaderForm::addresses: add(read_addresses(value, property, faults_)); return;
    case HeaderForm::grouped_addresses: add(read_groups(value, property, faults_)); return;
    case HeaderForm::message_ids:
      if (auto ids = read_strings(value, property, mail::header_message_ids_max, faults_)) {
        // RFC 5322, 3.6.4: message-id = "Message-ID:" msg-id
        if (ids->size() > 1 && ascii_upper(name) == "MESSAGE-ID") faults_.add(property, "must be one");
        add(mail::MessageIdsForm{std::move(*ids)});
      }
      return;
    case HeaderForm::date:
      if (const auto read = text()) {
        const auto date = parse_date(*read, false);
        if (!date) faults_.add(property, "must be a Date");
        add(date.value_or(mail::DateForm{}));
      }
      return;
    case HeaderForm::urls:
      if (auto urls = read_strings(value, property, mail::header_urls_max, faults_))
        add(mail::UrlsForm{std::move(*urls)});
      return;
  }
}

}  // namespace postern::jmap
