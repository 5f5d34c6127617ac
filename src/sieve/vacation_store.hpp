// An account's vacation response on a ManageSieve server. Private to the sieve layer.
#pragma once

#include <functional>
#include <memory>

#include "postern/mail/vacation.hpp"
#include "sieve/server.hpp"

namespace postern::sieve {

std::unique_ptr<mail::VacationStore> make_vacation_store(std::shared_ptr<SharedServer> server,
                                                         std::function<session::Credentials()> credentials);

}  // namespace postern::sieve
