// Envelopes made and checked. How many recipients there may be, outbox::Options says; how long parameters may be,
// smtp::parameters_bytes_max.
#include "jmap/submission_envelope.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "jmap/set_support.hpp"
#include "jmap/submission_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/jmap/email_create.hpp"
#include "postern/smtp/address.hpp"

namespace postern::jmap {
namespace {

using smtp::ParameterOf;

std::unexpected<Refusal> bad_envelope(std::string description) {
  return std::unexpected(Refusal{set_error("invalidProperties", std::move(description), {"envelope"})});
}

Refusal invalid_email(std::string description, std::string property) {
  return {set_error("invalidEmail", std::move(description), {std::move(property)})};
}

std::string json_list(const std::vector<std::string>& all) {
  std::string out;
  JsonWriter writer(out);
  writer.start_array();
  for (const auto& one : all) writer.string(one);
  writer.end_array();
  return out;
}

Refusal invalid_recipients(const std::vector<std::string>& addresses, std::string description) {
  return {set_error("invalidRecipients", std::move(description)),
          {{"invalidRecipients", json_list(addresses)}}};
}

Refusal too_many_recipients(const outbox::Options& options) {
  return {set_error("tooManyRecipients", "more recipients than a message may have"),
          {{"maxRecipients", std::to_string(options.recipients_max)}}};
}

// Each address once, whatever its case.
void add_recipient(SubmissionEnvelope& envelope, std::set<std::string>& seen, std::string_view address,
                   std::string parameters = {}) {
  if (seen.insert(ascii_lower(address)).second)
    envelope.recipients.push_back(
        {std::string(address), std::move(parameters), records::Delivered::queued, {}});
}

// A date is kept and told as it was given.
constexpr std::size_t date_bytes_max = 64;

// HOLDFOR=seconds or HOLDUNTIL=date-time (RFC 4865, 4).
std::expected<std::int64_t, Refusal> hold_until(std::string_view name, const rapidjson::Value& value,
                                                const outbox::Options& options, std::int64_t now) {
  if (!value.IsString()) return bad_envelope(std::string(name) + " must be a string");
  const auto text = text_of(value);
  const auto most = std::chrono::duration_cast<std::chrono::seconds>(options.delay_max).count();
  std::optional<std::int64_t> at;
  if (iequals_ascii(name, "HOLDFOR")) {
    std::uint64_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error == std::errc{} && end == text.data() + text.size() && text.size() <= 9)
      at = now + static_cast<std::int64_t>(seconds);
  } else if (const auto date = text.size() <= date_bytes_max ? parse_date(text, false) : std::nullopt) {
    at = date->seconds;
  }
  if (!at) return bad_envelope(std::string(name) + " has no value that it may have");
  if (*at > now + most)
    return bad_envelope("a message can be held for " + std::to_string(most) + " seconds at most");
  return *at;
}

struct ParsedAddress {
  std::string email, parameters;
};

// An Address object of an envelope. What its parameters need goes into `envelope`.
std::expected<ParsedAddress, Refusal> parse_address(const rapidjson::Value& value, ParameterOf command,
                                                    const outbox::Options& options, std::int64_t now,
                                                    SubmissionEnvelope& envelope) {
  if (!value.IsObject()) return bad_envelope("an address must be an object");
  for (const auto& member : value.GetObject())
    if (text_of(member.name) != "email" && text_of(member.name) != "parameters")
      return bad_envelope("an address has an email and parameters");
  const auto email = require_string(value, "email");
  if (!email) return bad_envelope("an address has an email");
  ParsedAddress address{std::string(*email), {}};
  const auto* parameters = find_member(value, "parameters");
  if (parameters == nullptr) return address;
  if (!parameters->IsObject()) return bad_envelope("parameters must be an object, or null");
  std::set<std::string> given;
  for (const auto& member : parameters->GetObject()) {
    const auto name = ascii_upper(text_of(member.name));
    if (!given.insert(name).second) return bad_envelope("a parameter is given twice");
    if (command == ParameterOf::mail && (name == "HOLDFOR" || name == "HOLDUNTIL")) {
      if (envelope.send_at) return bad_envelope("HOLDFOR and HOLDUNTIL exclude each other");
      const auto until = hold_until(name, member.value, options, now);
      if (!until) return std::unexpected(until.error());
      envelope.send_at = *until;
      continue;
    }
    const std::string extension(smtp::extension_of(command, name));
    if (std::find(options.extensions.begin(), options.extensions.end(), extension) ==
        options.extensions.end())
      return bad_envelope("a parameter that isn't offered: " + sanitize_utf8(name));
    if (!member.value.IsNull() && !member.value.IsString())
      return bad_envelope("a parameter's value must be a string, or null");
    const auto encoded = smtp::encode_parameter(
        command, name,
        member.value.IsNull() ? std::nullopt : std::optional<std::string_view>(text_of(member.value)));
    if (!encoded) return bad_envelope(name + " has no value that it may have");
    address.parameters += *encoded;
    if (std::find(envelope.extensions.begin(), envelope.extensions.end(), extension) ==
        envelope.extensions.end())
      envelope.extensions.push_back(extension);
  }
  if (address.parameters.size() > smtp::parameters_bytes_max)
    return bad_envelope("the parameters are too long");
  return address;
}

std::string envelope_json(const SubmissionEnvelope& envelope, const rapidjson::Value* given) {
  std::string out;
  JsonWriter writer(out);
  const auto write = [&](std::string_view email, const rapidjson::Value* parameters) {
    writer.start_object();
    writer.member("email", email);
    writer.key("parameters");
    parameters != nullptr ? writer.value(*parameters) : writer.null();
    writer.end_object();
  };
  writer.start_object();
  writer.key("mailFrom");
  write(envelope.mail_from, given ? find_member((*given)["mailFrom"], "parameters") : nullptr);
  writer.key("rcptTo");
  writer.start_array();
  if (given != nullptr)
    for (const auto& item : (*given)["rcptTo"].GetArray())
      write(text_of(item["email"]), find_member(item, "parameters"));
  else
    for (const auto& recipient : envelope.recipients) write(recipient.address, nullptr);
  writer.end_array();
  writer.end_object();
  return out;
}

std::vector<const mail::HeaderField*> fields_of(const mail::HeaderBlock& header, std::string_view name) {
  std::vector<const mail::HeaderField*> all;
  for (const auto& field : header.fields)
    if (iequals_ascii(field.name, name)) all.push_back(&field);
  return all;
}

// "If multiple addresses are present in one of these header fields, or there is more than one Sender/From header
// field, the server SHOULD reject the EmailSubmission as invalid".
std::expected<std::optional<std::string>, Refusal> only_address(const mail::HeaderBlock& header,
                                                                const std::string& name,
                                                                std::string property) {
  const auto fields = fields_of(header, name);
  if (fields.empty()) return std::nullopt;
  const auto addresses = mail::as_addresses(fields.back()->value);
  if (fields.size() > 1 || addresses.size() > 1)
    return std::unexpected(invalid_email("there is more than one " + name, std::move(property)));
  if (addresses.empty()) return std::nullopt;
  return addresses.front().email;
}

}  // namespace

std::expected<SubmissionEnvelope, Refusal> parse_envelope(const rapidjson::Value& value,
                                                          const outbox::Options& options, std::int64_t now) {
  if (!value.IsObject()) return bad_envelope("must be an object, or null");
  for (const auto& member : value.GetObject())
    if (text_of(member.name) != "mailFrom" && text_of(member.name) != "rcptTo")
      return bad_envelope("an envelope has mailFrom and rcptTo");
  const auto *from = find_member(value, "mailFrom"), *to = find_member(value, "rcptTo");
  if (from == nullptr || to == nullptr || !to->IsArray())
    return bad_envelope("an envelope has mailFrom and rcptTo");
  // Also where they name few addresses: what is told to clients again has each of them.
  if (to->Size() > options.recipients_max) return std::unexpected(too_many_recipients(options));
  SubmissionEnvelope envelope;
  auto sender = parse_address(*from, ParameterOf::mail, options, now, envelope);
  if (!sender) return std::unexpected(std::move(sender.error()));
  envelope.mail_from = std::move(sender->email);
  envelope.mail_parameters = std::move(sender->parameters);
  if (!envelope.mail_from.empty() && !smtp::is_mailbox(envelope.mail_from))
    return bad_envelope("mailFrom is no email address");
  std::set<std::string> seen;
  for (const auto& item : to->GetArray()) {
    auto recipient = parse_address(item, ParameterOf::rcpt, options, now, envelope);
    if (!recipient) return std::unexpected(std::move(recipient.error()));
    add_recipient(envelope, seen, recipient->email, std::move(recipient->parameters));
  }
  envelope.json = envelope_json(envelope, &value);
  return envelope;
}

std::expected<SubmissionEnvelope, Refusal> derive_envelope(const mail::HeaderBlock& header,
                                                           std::string_view identity_email) {
  SubmissionEnvelope envelope;
  auto from = only_address(header, "Sender", "sender");
  if (from && !*from) from = only_address(header, "From", "from");
  if (!from) return std::unexpected(std::move(from.error()));
  const bool usable = *from && smtp::is_mailbox(**from) && is_of_identity(identity_email, **from);
  envelope.mail_from = usable ? **from : std::string(identity_email);
  std::set<std::string> seen;
  for (const auto* name : {"To", "Cc", "Bcc"})
    for (const auto* field : fields_of(header, name))
      for (const auto& address : mail::as_addresses(field->value))
        add_recipient(envelope, seen, address.email);
  envelope.json = envelope_json(envelope, nullptr);
  return envelope;
}

std::optional<Refusal> check_envelope(const SubmissionEnvelope& envelope, const outbox::Options& options,
                                      std::string_view login) {
  const auto& from = envelope.mail_from;
  // The null return path is for notifications, of which a person sends none.
  const bool allowed =
      from.empty() ? options.from == outbox::FromPolicy::any : may_send_from(options, login, from);
  if (!allowed || from.starts_with("*@"))
    return Refusal{set_error("forbiddenMailFrom", "this return address isn't yours to send from")};
  if (envelope.recipients.empty()) return Refusal{set_error("noRecipients", "there is nobody to send it to")};
  if (envelope.recipients.size() > options.recipients_max) return too_many_recipients(options);
  std::vector<std::string> invalid;
  for (const auto& recipient : envelope.recipients)
    if (!smtp::is_mailbox(recipient.address)) invalid.push_back(recipient.address);
  if (!invalid.empty()) return invalid_recipients(invalid, "these are no email addresses");
  return std::nullopt;
}

std::optional<Refusal> check_header(const mail::HeaderBlock& header, const outbox::Options& options,
                                    std::string_view login) {
  const auto from = fields_of(header, "From"), resent = fields_of(header, "Resent-From");
  if (from.size() != 1) return invalid_email("a message has one From", "from");
  const auto senders = mail::as_addresses((resent.empty() ? from : resent).front()->value);
  if (senders.empty()) return invalid_email("there is no address in From", "from");
  for (const auto& sender : senders) {
    if (!smtp::is_mailbox(sender.email)) return invalid_email("an address in From is none", "from");
    if (!may_send_from(options, login, sender.email))
      return Refusal{set_error("forbiddenFrom", "the message's From isn't yours to send from")};
  }
  return std::nullopt;
}

namespace {

Refusal too_large(std::uint64_t size_max) {
  return {set_error("tooLarge", "the message is larger than can be sent"),
          {{"maxSize", std::to_string(size_max)}}};
}

Refusal not_now(std::string description) { return {set_error("serverUnavailable", std::move(description))}; }

Refusal refused_recipients(const smtp::Outcome& outcome, const records::Submission& submission) {
  std::vector<std::string> refused;
  std::string first, for_now;
  for (std::size_t i = 0; i < outcome.recipients.size(); ++i) {
    const auto& reply = outcome.recipients[i];
    if (!reply || reply->positive()) continue;
    if (!reply->permanent()) {
      for_now = reply->to_string();
      continue;
    }
    refused.push_back(submission.recipients[i].address);
    if (first.empty()) first = reply->to_string();
  }
  if (refused.empty()) return not_now("no recipient is accepted for the moment: " + for_now);
  return invalid_recipients(refused, first);
}

}  // namespace

Refusal refusal_of(const smtp::Outcome& outcome, const records::Submission& submission,
                   const outbox::Options& options) {
  using smtp::Stage;
  if (outcome.kind == smtp::Outcome::Kind::aborted)
    return {set_error("serverFail", records::make_error_code(records::Errc::unavailable).message())};
  if (outcome.kind != smtp::Outcome::Kind::refused) {
    if (outcome.error.code == smtp::Errc::no_mechanism)
      return {set_error("forbiddenToSend", outcome.error.code.message())};
    return not_now(outcome.error.code.message() + "; nothing has been sent");
  }
  if (outcome.stage == Stage::recipients) return refused_recipients(outcome, submission);
  const auto text = outcome.reply ? outcome.reply->to_string() : std::string{};
  if (!outcome.reply || !outcome.reply->permanent() || outcome.stage == Stage::connect) return not_now(text);
  const int code = outcome.reply->code;
  const auto enhanced = outcome.reply->enhanced();
  if (outcome.stage == Stage::authenticate || code == 530 || code == 535)
    return {set_error("forbiddenToSend", text)};
  if (code == 552 || enhanced == "5.3.4")
    return too_large(
        std::min(outcome.size_max.value_or(options.message_bytes_max), options.message_bytes_max));
  if (outcome.stage == Stage::mail_from)
    return code == 555 ? Refusal{set_error("invalidProperties", text, {"envelope"})}
                       : Refusal{set_error("forbiddenMailFrom", text)};
  // RFC 3463, 3.7: 5.6 is about the message's content.
  if (enhanced.starts_with("5.6.")) return {set_error("invalidEmail", text)};
  return {set_error("forbiddenToSend", text)};
}

}  // namespace postern::jmap
