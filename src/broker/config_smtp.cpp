// Outgoing mail: the server, who signs in there, and what people may send.
#include "broker/config_smtp.hpp"

#include <sys/stat.h>

#include <cstring>
#include <fstream>

#include "postern/smtp/address.hpp"

namespace postern::broker {

using namespace std::chrono_literals;

namespace {

// Those whose parameters Postern knows how to write.
Binder extension_names(std::vector<std::string>& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (auto wrong = texts(out)(node)) return wrong;
    for (const auto& name : out)
      if (name != "DSN" && name != "MT-PRIORITY" && name != "REQUIRETLS" && name != "DELIVERBY")
        return "may name \"DSN\", \"MT-PRIORITY\", \"REQUIRETLS\" and \"DELIVERBY\"";
    return {};
  };
}

}  // namespace

void add_smtp_section(Sections& all, SmtpConfig& config) {
  using outbox::FromPolicy;
  using outbox::SignInAs;
  using smtp::TlsMode;
  auto& server = config.server;
  auto& sending = config.outbox;
  constexpr std::uint64_t gib = 1ull << 30;
  all["smtp"] = {
      {"host", text(server.endpoint.host)},
      {"port", number(server.endpoint.port, 1, 65'535)},
      {"tls",
       choice(server.tls,
              {{"starttls", TlsMode::starttls}, {"implicit", TlsMode::implicit}, {"none", TlsMode::none}})},
      {"ca_file", text(server.tls_options.ca_file)},
      {"pins", texts(server.tls_options.pins_sha256)},
      {"verify", boolean(server.tls_options.verify)},
      {"tls_min_version",
       choice(server.tls_options.min_version, {{"1.2", std::string("1.2")}, {"1.3", std::string("1.3")}})},
      {"allow_plaintext", boolean(server.allow_plaintext)},
      {"helo_name", text(server.helo_name)},
      {"sign_in",
       choice(sending.sign_in,
              {{"person", SignInAs::person}, {"relay", SignInAs::relay}, {"none", SignInAs::nobody}})},
      {"user", text(config.user)},
      {"password_file", text(config.password_file)},
      {"from",
       choice(sending.from,
              {{"login", FromPolicy::login}, {"domain", FromPolicy::domain}, {"any", FromPolicy::any}})},
      {"domain", text(sending.domain)},
      {"message_size_max", size(sending.message_bytes_max, 1'000, gib)},
      {"recipients_max", number(sending.recipients_max, 1, 10'000)},
      {"delay_max", duration(sending.delay_max, 0s, 24h * 365)},
      {"extensions", extension_names(sending.extensions)},
      {"retry_min", duration(sending.retry_min, 1s, 24h)},
      {"retry_max", duration(sending.retry_max, 1s, 24h)},
      {"retry_for", duration(sending.retry_for, 0s, 24h * 30)},
      {"late_max", duration(sending.late_max, 1h, 24h * 365)},
      {"held_account_bytes", size(config.held_account_bytes, 1'000, 1024 * gib)},
      {"held_total_bytes", size(config.held_total_bytes, 1'000, 1024 * gib)},
      {"keep", duration(config.keep, 1h, 24h * 365)},
      {"connections_max", number(server.connections_max, 1, 1'000)},
      {"connect_timeout", duration(server.connect_timeout, 100ms, 5min)},
      {"command_timeout", duration(server.command_timeout, 1s, 1h)},
      {"data_timeout", duration(server.data_timeout, 1s, 1h)}};
}

void finish_smtp(SmtpConfig& config) {
  if (config.server.endpoint.port == 0)
    config.server.endpoint.port = config.server.tls == smtp::TlsMode::implicit ? 465 : 587;
}

Wrong conflict_in(SmtpConfig& config, bool on_loopback) {
  if (!config.is_on()) return {};
  const auto& server = config.server;
  const bool open = !server.allow_plaintext && !on_loopback;
  if (server.tls == smtp::TlsMode::none && open)
    return "[smtp] tls = \"none\" would send mail and passwords in the clear to " + server.endpoint.host +
           ": it is for loopback only, unless allow_plaintext = true";
  if (!server.tls_options.verify && server.tls_options.pins_sha256.empty() &&
      server.tls != smtp::TlsMode::none && open)
    return "[smtp] verify = false needs pins, or allow_plaintext = true: anybody could be the server";
  if (config.outbox.retry_min > config.outbox.retry_max) return "[smtp] retry_min is larger than retry_max";
  if (!config.outbox.domain.empty() && !smtp::is_mailbox("a@" + config.outbox.domain))
    return "[smtp] domain is no domain: " + config.outbox.domain;
  if (!server.helo_name.empty() && !smtp::is_mailbox("a@" + server.helo_name))
    return "[smtp] helo_name is neither a domain nor an address literal";
  const bool relay = config.outbox.sign_in == outbox::SignInAs::relay;
  if (relay && (config.user.empty() || config.password_file.empty()))
    return "[smtp] sign_in = \"relay\" needs user and password_file";
  if (!relay) return {};
  Secret password;
  if (auto wrong = read_secret(config.password_file, password)) return "[smtp] password_file " + *wrong;
  using Credentials = smtp::Credentials;
  config.outbox.relay = std::make_shared<const Credentials>(
      Credentials{Credentials::Kind::password, config.user, {}, std::move(password)});
  return {};
}

Wrong read_secret(const std::string& path, Secret& secret) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return "can't be read: " + std::string(std::strerror(errno));
  if ((info.st_mode & 0077) != 0) return "must not be readable by group or others (chmod 0600)";
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || line.empty()) return "is empty";
  secret = Secret(line);
  wipe(line.data(), line.size());
  return {};
}

}  // namespace postern::broker
