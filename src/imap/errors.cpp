// The words for the codes of imap::Errc.
#include "postern/imap/errors.hpp"

#include <string>

namespace postern::imap {
namespace {

class ImapCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "imap"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::syntax: return "response not understood";
      case Errc::too_large: return "over a limit";
      case Errc::out_of_step: return "answer to nothing that was asked";
      case Errc::not_imap: return "not an IMAP server";
      case Errc::no: return "refused by the server (NO)";
      case Errc::bad: return "not understood by the server (BAD)";
      case Errc::bye: return "closed by the server (BYE)";
      case Errc::closed: return "connection closed";
      case Errc::unencodable: return "value that IMAP can't carry";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& imap_category() {
  static const ImapCategory category;
  return category;
}

}  // namespace postern::imap
