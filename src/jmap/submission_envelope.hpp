// Envelopes of submissions (RFC 8621, 7): as clients give them, or made from the message's header. Private to the jmap
// layer.
//
// Free functions over values. What comes out holds addresses and parameters that may stand in SMTP commands, and
// nothing else.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jmap/methods.hpp"
#include "postern/mail/mime/headers.hpp"

namespace postern::jmap {

// A SetError with what only some types have: members in JSON.
struct Refusal {
  mail::SetOutcome error;
  std::vector<std::pair<std::string, std::string>> more = {};
};

struct SubmissionEnvelope {
  std::string mail_from, mail_parameters;
  std::vector<records::Recipient> recipients;  // each address once
  std::vector<std::string> extensions;         // that parameters belong to
  std::optional<std::int64_t> send_at;         // FUTURERELEASE (RFC 4865), seconds since 1970
  std::string json;                            // as it is told to clients
};

// An Envelope object. Its parameters are those of the extensions that the options allow, and HOLDFOR or HOLDUNTIL.
std::expected<SubmissionEnvelope, Refusal> parse_envelope(const rapidjson::Value& value,
                                                          const outbox::Options& options, std::int64_t now);
// Where the client gave none: the return path is Sender or From if it is one of the Identity's, else the Identity's own
// address; recipients are all of To, Cc and Bcc.
std::expected<SubmissionEnvelope, Refusal> derive_envelope(const mail::HeaderBlock& header,
                                                           std::string_view identity_email);
// noRecipients, tooManyRecipients, invalidRecipients, forbiddenMailFrom.
std::optional<Refusal> check_envelope(const SubmissionEnvelope& envelope, const outbox::Options& options,
                                      std::string_view login);
// invalidEmail, forbiddenFrom: the message must come from addresses that the person may use; what is sent on
// (Resent-From, RFC 5322, 3.6.6), from whom it is sent on.
std::optional<Refusal> check_header(const mail::HeaderBlock& header, const outbox::Options& options,
                                    std::string_view login);
// The SetError of a message that the outgoing mail server didn't take.
Refusal refusal_of(const smtp::Outcome& outcome, const records::Submission& submission,
                   const outbox::Options& options);

}  // namespace postern::jmap
