// Header fields in each form that they are given in (RFC 8621, 4.1.2), checked and written. Nothing of a field is
// written unless all of it can be.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "mail/mime/characters.hpp"
#include "mail/mime/field_writer.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

// What of an address that is none yet ("Jane Do", still being typed) is kept, in a quoted-string.
constexpr std::size_t unfinished_address_bytes_max = 200;

// Defined by RFC 5322, 2369 and 2045 as structured: an encoded word would not be read where it stands.
bool is_structured_field(std::string_view name) {
  const std::string lower = ascii_lower(name);
  if (lower.starts_with("content-")) return lower != "content-description";
  constexpr std::string_view fields[] = {
      "from",         "sender",         "reply-to",          "to",          "cc",        "bcc",
      "resent-from",  "resent-sender",  "resent-reply-to",   "resent-to",   "resent-cc", "resent-bcc",
      "message-id",   "in-reply-to",    "references",        "date",        "list-help", "list-unsubscribe",
      "list-post",    "list-owner",     "resent-message-id", "resent-date", "received",  "return-path",
      "list-archive", "list-subscribe", "mime-version"};
  return std::find(std::begin(fields), std::end(fields), lower) != std::end(fields);
}

// --- Addresses ---

// RFC 5322, 3.4.1:  addr-spec = local-part "@" domain, as far as it can't be mistaken for anything else between angle
// brackets. A draft may have less: no "@", or a domain that is none. Octets that aren't ASCII are RFC 6532's.
bool is_address_text(std::string_view email) {
  std::size_t pos = 0;
  if (email.starts_with('"')) {  // a quoted local-part
    for (pos = 1; pos < email.size() && email[pos] != '"'; ++pos)
      if (email[pos] == '\\') ++pos;
    if (pos >= email.size() || !email.substr(pos + 1).starts_with('@')) return false;
    ++pos;
  }
  std::string_view rest = email.substr(pos);
  const std::size_t literal = rest.rfind("@[");
  if (literal != std::string_view::npos && rest.ends_with(']')) {
    const std::string_view domain = rest.substr(literal + 2, rest.size() - literal - 3);
    if (domain.find_first_of("[]\\<>()\",; \t") != std::string_view::npos) return false;
    rest = rest.substr(0, literal);
  }
  return rest.find_first_of("<>()[],;:\\\" \t") == std::string_view::npos;
}

class AddressListWriter {
 public:
  AddressListWriter(const WrittenField& field, std::vector<ComposeFault>& faults)
      : property_(field.property), faults_(faults) {}

  bool check(const std::vector<EmailAddress>& addresses, const std::string& pointer) {
    bool good = true;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      const EmailAddress& address = addresses[i];
      const std::string item = pointer + '/' + std::to_string(i);
      if (address.name)
        if (auto wrong = check_text(*address.name)) good = fault(item + "/name", *wrong);
      if (auto wrong = check_email(address)) good = fault(item + "/email", *wrong);
      if (faults_.size() >= compose_faults_max) return false;
    }
    count_ += addresses.size();
    if (count_ <= header_addresses_max) return good;
    return fault(property_, "has too many addresses", true);
  }

  bool check(const std::vector<EmailAddressGroup>& groups) {
    bool good = true;
    if (groups.size() > header_groups_max) return fault(property_, "has too many groups", true);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const std::string item = property_ + '/' + std::to_string(i);
      if (groups[i].name)
        if (auto wrong = check_text(*groups[i].name)) good = fault(item + "/name", *wrong);
      if (!check(groups[i].addresses, item + "/addresses")) good = false;
      if (faults_.size() >= compose_faults_max) return false;
    }
    return good;
  }

  static void write(FieldWriter& writer, const std::vector<EmailAddress>& addresses, std::string_view end) {
    for (std::size_t i = 0; i < addresses.size(); ++i)
      write_one(writer, addresses[i], i + 1 < addresses.size() ? "," : end);
  }

  // Nothing between the brackets, nothing before them: no reader finds anything there.
  static std::vector<EmailAddress> without_empty(const std::vector<EmailAddress>& addresses) {
    std::vector<EmailAddress> out;
    std::copy_if(
        addresses.begin(), addresses.end(), std::back_inserter(out),
        [](const EmailAddress& address) { return !address.email.empty() || !name_of(address.name).empty(); });
    return out;
  }

  static std::string_view name_of(const std::optional<std::string>& name) {
    return name ? trim_ascii(*name) : std::string_view();
  }

 private:
  bool fault(std::string property, std::string reason, bool too_large = false) {
    faults_.push_back({std::move(property), std::move(reason), too_large});
    return false;
  }

  static std::optional<std::string> check_email(const EmailAddress& address) {
    const std::string& email = address.email;
    if (auto wrong = check_text(email)) return wrong;
    if (email.size() > written_token_bytes_max) return "is too long";
    if (is_address_text(email)) return std::nullopt;
    if (!name_of(address.name).empty() || email.size() > unfinished_address_bytes_max ||
        email.find("=?") != std::string::npos)
      return "is no address";
    return std::nullopt;
  }

  static void write_one(FieldWriter& writer, const EmailAddress& address, std::string_view end) {
    const std::string_view name = name_of(address.name);
    std::string email;
    if (!is_address_text(address.email)) {
      // Quoted, it is read as it was given, and can't become more than one address.
      email = "\"";
      for (const char c : address.email) {
        if (c == '"' || c == '\\') email += '\\';
        email += c;
      }
      email += '"';
    } else if (name.empty() && address.email.find('@') != std::string::npos) {
      email = address.email;
    } else {
      email = '<' + address.email + '>';
    }
    email += end;
    if (!name.empty()) writer.phrase(name);
    writer.piece(" ", email);
  }

  const std::string& property_;
  std::vector<ComposeFault>& faults_;
  std::size_t count_ = 0;
};

// --- Dates ---

// RFC 5322, 3.3:  date-time = [ day-of-week "," ] day month year hour ":" minute ":" second zone
std::string date_time(const DateForm& date) {
  using namespace std::chrono;  // NOLINT(google-build-using-namespace)
  constexpr std::string_view weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::string_view months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const sys_seconds local{seconds{date.seconds + std::int64_t{date.offset_minutes} * 60}};
  const sys_days day = floor<days>(local);
  const year_month_day ymd{day};
  const hh_mm_ss clock{local - day};
  const int zone = std::abs(date.offset_minutes);
  return fmt::format("{}, {} {} {:04} {:02}:{:02}:{:02} {}{:02}{:02}", weekdays[weekday{day}.c_encoding()],
                     static_cast<unsigned>(ymd.day()), months[static_cast<unsigned>(ymd.month()) - 1],
                     static_cast<int>(ymd.year()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count(), date.offset_minutes < 0 ? '-' : '+', zone / 60, zone % 60);
}

bool is_writable(const DateForm& date) {
  constexpr std::int64_t year_1900 = -2'208'988'800, year_10000 = 253'402'300'800;
  if (std::abs(date.offset_minutes) >= 24 * 60) return false;
  return date.seconds > year_1900 + 86'400 && date.seconds < year_10000 - 86'400;
}

// --- The forms ---

class FormWriter {
 public:
  FormWriter(const WrittenField& field, std::string& out, std::vector<ComposeFault>& faults)
      : field_(field), out_(out), faults_(faults) {}

  bool operator()(const RawForm& form) { return raw(form.raw); }

  bool operator()(const TextForm& form) {
    if (auto wrong = check_text(form.text)) return fault(*wrong);
    FieldWriter writer(out_, field_.name);
    writer.unstructured(form.text);
    writer.end();
    return true;
  }

  bool operator()(const std::vector<EmailAddress>& addresses) {
    if (!AddressListWriter(field_, faults_).check(addresses, field_.property)) return false;
    const auto given = AddressListWriter::without_empty(addresses);
    if (given.empty()) return true;
    FieldWriter writer(out_, field_.name);
    AddressListWriter::write(writer, given, "");
    writer.end();
    return true;
  }

  bool operator()(const std::vector<EmailAddressGroup>& groups) {
    if (!AddressListWriter(field_, faults_).check(groups)) return false;
    std::vector<EmailAddressGroup> given;
    for (const auto& group : groups) {
      const std::string_view name = AddressListWriter::name_of(group.name);
      auto addresses = AddressListWriter::without_empty(group.addresses);
      if (!name.empty() || !addresses.empty()) given.push_back({std::string(name), std::move(addresses)});
    }
    if (given.empty()) return true;
    FieldWriter writer(out_, field_.name);
    for (std::size_t i = 0; i < given.size(); ++i) {
      const bool last = i + 1 == given.size();
      const bool named = !given[i].name->empty();
      const std::string end = std::string(named ? ";" : "") + (last ? "" : ",");
      if (named) writer.phrase(*given[i].name, given[i].addresses.empty() ? ":" + end : ":");
      AddressListWriter::write(writer, given[i].addresses, end);
    }
    writer.end();
    return true;
  }

  bool operator()(const MessageIdsForm& form) {
    if (form.ids.size() > header_message_ids_max) return fault("has too many message ids", true);
    return bracketed(form.ids, "");
  }

  bool operator()(const UrlsForm& form) {
    if (form.urls.size() > header_urls_max) return fault("has too many URLs", true);
    return bracketed(form.urls, ",");
  }

  bool operator()(const DateForm& date) {
    if (!is_writable(date)) return fault("is no date that a message can have");
    FieldWriter writer(out_, field_.name);
    writer.piece(" ", date_time(date));
    writer.end();
    return true;
  }

 private:
  bool fault(std::string reason, bool too_large = false) {
    faults_.push_back({field_.property, std::move(reason), too_large});
    return false;
  }

  bool bracketed(const std::vector<std::string>& items, std::string_view separator) {
    bool good = true;
    for (std::size_t i = 0; i < items.size(); ++i) {
      auto wrong = check_bracketed(items[i]);
      if (!wrong) continue;
      faults_.push_back({field_.property + '/' + std::to_string(i), std::move(*wrong)});
      good = false;
      if (faults_.size() >= compose_faults_max) return false;
    }
    if (!good || items.empty()) return good;
    FieldWriter writer(out_, field_.name);
    for (std::size_t i = 0; i < items.size(); ++i)
      writer.piece(" ", '<' + items[i] + '>' + std::string(i + 1 < items.size() ? separator : ""));
    writer.end();
    return true;
  }

  // The octets behind the colon. Folding is the client's, as it stands, unless a line is too long.
  bool raw(std::string_view raw) {
    std::string text;  // without folding
    bool whole_lines = true, blank = true, first = true;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      const char c = raw[i];
      if (c != '\r' && c != '\n') {
        blank = blank && is_wsp(c);
        text += c;
        continue;
      }
      if (c == '\r') {
        ++i;
        if (i == raw.size() || raw[i] != '\n') return fault("has a CR that is no folding");
      }
      if (i + 1 == raw.size() || !is_wsp(raw[i + 1])) return fault("has a line end that is no folding");
      if (blank && !first) whole_lines = false;
      blank = true;
      first = false;
    }
    if (blank && !first) whole_lines = false;  // RFC 5322, 3.2.2: no line of white space alone
    if (auto wrong = check_text(text)) return fault(*wrong);
    if (!is_ascii(text)) {
      if (is_structured_field(field_.name)) return fault("must be ASCII");
      FieldWriter writer(out_, field_.name);
      writer.unstructured(trim_ascii(text));
      writer.end();
      return true;
    }
    if (whole_lines && lines_fit(raw)) {
      out_ += field_.name;
      out_ += ':';
      append_lines(raw);
      out_ += "\r\n";
      return true;
    }
    return refold(text);
  }

  bool lines_fit(std::string_view raw) const {
    std::size_t line = field_.name.size() + 1;
    for (const char c : raw) {
      line = c == '\n' ? 0 : line + 1;
      if (line > message_line_bytes_max) return false;
    }
    return true;
  }

  void append_lines(std::string_view raw) {
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '\n' && (i == 0 || raw[i - 1] != '\r')) out_ += '\r';
      out_ += raw[i];
    }
  }

  bool refold(std::string_view text) {
    std::vector<std::string_view> words;
    for (std::size_t i = 0; i < text.size();) {
      while (i < text.size() && is_wsp(text[i])) ++i;
      const std::size_t begin = i;
      while (i < text.size() && !is_wsp(text[i])) ++i;
      if (i > begin) words.push_back(text.substr(begin, i - begin));
      if (i - begin > written_token_bytes_max)
        return fault("has a line that is too long and can't be folded");
    }
    FieldWriter writer(out_, field_.name);
    for (const auto word : words) writer.piece(" ", word);
    writer.end();
    return true;
  }

  const WrittenField& field_;
  std::string& out_;
  std::vector<ComposeFault>& faults_;
};

}  // namespace

bool write_field(const WrittenField& field, std::string& out, std::vector<ComposeFault>& faults) {
  if (auto wrong = check_field_name(field.name)) {
    faults.push_back({field.property, std::move(*wrong)});
    return false;
  }
  return std::visit(FormWriter(field, out, faults), field.form);
}

}  // namespace postern::mail
