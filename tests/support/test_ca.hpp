// Throw-away certificates for tests: a CA made in memory, and server certificates signed by it.
//
// A TestCa owns its key; what it hands out are PEM texts. Not thread-safe. Throws std::runtime_error when
// OpenSSL fails. Keys are P-256, for speed.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace postern::test {

struct Identity {
  std::string certificate_pem;
  std::string key_pem;
};

class TestCa {
 public:
  enum class Validity { valid, expired, not_yet };

  explicit TestCa(const std::string& common_name = "Postern test CA");
  ~TestCa();
  TestCa(TestCa&&) noexcept;
  TestCa& operator=(TestCa&&) noexcept;

  const std::string& certificate_pem() const { return certificate_pem_; }
  // A server certificate for these host names and IP addresses (subjectAltName).
  Identity issue(const std::vector<std::string>& names = {"localhost", "127.0.0.1"},
                 Validity validity = Validity::valid) const;

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
  std::string certificate_pem_;
};

// A certificate's public key as SHA-256 in base64 (RFC 7469's pin), for tests of pinning.
std::string public_key_pin(const std::string& certificate_pem);

// Writes `text` to a file that only its owner can read. Throws std::runtime_error.
void write_file(const std::string& path, const std::string& text);

}  // namespace postern::test
