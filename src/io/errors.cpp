// The io layer's error category: what each Errc means, in words for logs.
#include "postern/io/stream.hpp"

namespace postern::io {

namespace {
class IoCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "io"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::resolve: return "the name can't be resolved";
      case Errc::connect: return "can't connect";
      case Errc::timeout: return "timed out";
      case Errc::closed: return "connection closed";
      case Errc::tls: return "TLS failed";
      case Errc::certificate_invalid: return "the server's certificate is not valid";
      case Errc::certificate_name: return "the server's certificate is for another name";
      case Errc::pin_mismatch: return "the server's key is none of the pinned ones";
      case Errc::plaintext_refused: return "refused without TLS";
      case Errc::io: return "input/output error";
    }
    return "unknown";
  }
};
}  // namespace

const std::error_category& io_category() {
  static const IoCategory category;
  return category;
}

}  // namespace postern::io
