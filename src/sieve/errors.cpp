// The sieve layer's error category.
#include "postern/sieve/errors.hpp"

namespace postern::sieve {

const std::error_category& sieve_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "sieve"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::syntax: return "the answer is no ManageSieve";
        case Errc::too_large: return "the ManageSieve server's answer is too large";
        case Errc::bad_argument: return "a string that no ManageSieve command may carry";
        case Errc::unavailable: return "the ManageSieve server is unavailable";
        case Errc::not_secure: return "no secure connection to the ManageSieve server";
        case Errc::authentication: return "the ManageSieve server refuses the credentials";
        case Errc::refused: return "the ManageSieve server refuses the command";
        case Errc::connection_lost: return "the connection to the ManageSieve server was lost";
      }
      return "unknown";
    }
  } category;
  return category;
}

}  // namespace postern::sieve
