// The section [smtp] of the configuration.
#pragma once

#include "broker/config.hpp"
#include "broker/config_binders.hpp"

namespace postern::broker {

using Sections = std::map<std::string, Section, std::less<>>;

void add_smtp_section(Sections& all, SmtpConfig& config);
// What follows from other values: the port.
void finish_smtp(SmtpConfig& config);
// What no single value can be blamed for. Reads the relay's password.
Wrong conflict_in(SmtpConfig& config, bool on_loopback);
// One line of a file that nobody else may read.
Wrong read_secret(const std::string& path, Secret& secret);

}  // namespace postern::broker
