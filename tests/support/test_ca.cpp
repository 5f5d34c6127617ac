// Throw-away certificates; see test_ca.hpp.
#include "test_ca.hpp"

#include <array>
#include <cstdio>
#include <stdexcept>

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

namespace postern::test {

namespace {

template <auto release>
struct Free {
  template <class Type>
  void operator()(Type* object) const {
    release(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

constexpr long day_s = 86400;

void check(bool right, const char* what) {
  if (!right) throw std::runtime_error(std::string("test CA: ") + what);
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"));
  check(key != nullptr, "key generation");
  return key;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  check(PEM_write_bio_X509(bio.get(), certificate) == 1, "writing a certificate");
  return text_of(bio.get());
}

std::string pem_of(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_mem()));
  check(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "writing a key");
  return text_of(bio.get());
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "adding an extension");
}

Certificate make_certificate(const std::string& common_name, EVP_PKEY* key, long from_s, long until_s) {
  Certificate certificate(X509_new());
  check(certificate != nullptr, "X509_new");
  X509_set_version(certificate.get(), 2);
  std::array<unsigned char, 8> serial{};
  check(RAND_bytes(serial.data(), serial.size()) == 1, "random bytes");
  serial[0] = (serial[0] & 0x7FU) | 1U;
  BIGNUM* number = BN_bin2bn(serial.data(), serial.size(), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until_s);
  check(X509_set_pubkey(certificate.get(), key) == 1, "setting the key");
  X509_NAME* name = X509_get_subject_name(certificate.get());
  check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(common_name.data()),
                                   static_cast<int>(common_name.size()), -1, 0) == 1,
        "setting the name");
  return certificate;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, 16> address{};
  return inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

}  // namespace

struct TestCa::Keys {
  Key key;
  Certificate certificate;
};

TestCa::TestCa(const std::string& common_name) : keys_(std::make_unique<Keys>()) {
  keys_->key = make_key();
  keys_->certificate = make_certificate(common_name, keys_->key.get(), -day_s, 365 * day_s);
  X509* certificate = keys_->certificate.get();
  check(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1, "setting the issuer");
  add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
  check(X509_sign(certificate, keys_->key.get(), EVP_sha256()) > 0, "signing");
  certificate_pem_ = pem_of(certificate);
}

TestCa::~TestCa() = default;
TestCa::TestCa(TestCa&&) noexcept = default;
TestCa& TestCa::operator=(TestCa&&) noexcept = default;

Identity TestCa::issue(const std::vector<std::string>& names, Validity validity) const {
  auto key = make_key();
  long from_s = validity == Validity::expired ? -30 * day_s : validity == Validity::not_yet ? day_s : -day_s;
  long until_s = validity == Validity::expired ? -day_s : 90 * day_s;
  auto certificate = make_certificate(names.empty() ? "unnamed" : names.front(), key.get(), from_s, until_s);
  X509* issuer = keys_->certificate.get();
  check(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1, "setting the issuer");
  add_extension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth");
  add_extension(certificate.get(), issuer, NID_subject_key_identifier, "hash");
  add_extension(certificate.get(), issuer, NID_authority_key_identifier, "keyid");
  std::string alternatives;
  for (const std::string& name : names)
    alternatives += (alternatives.empty() ? "" : ",") + std::string(is_address(name) ? "IP:" : "DNS:") + name;
  if (!alternatives.empty()) add_extension(certificate.get(), issuer, NID_subject_alt_name, alternatives);
  check(X509_sign(certificate.get(), keys_->key.get(), EVP_sha256()) > 0, "signing");
  return {pem_of(certificate.get()), pem_of(key.get())};
}

std::string public_key_pin(const std::string& certificate_pem) {
  Bio bio(BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  check(certificate != nullptr, "reading a certificate");
  unsigned char* bytes = nullptr;
  int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &bytes);
  check(size > 0, "reading the public key");
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(bytes, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(bytes);
  std::array<unsigned char, 64> base64{};
  int length = EVP_EncodeBlock(base64.data(), digest.data(), digest.size());
  return {reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(length)};
}

void write_file(const std::string& path, const std::string& text) {
  int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  check(file >= 0, "opening a file");
  auto written = ::write(file, text.data(), text.size());
  ::close(file);
  check(written == static_cast<ssize_t>(text.size()), "writing a file");
}

}  // namespace postern::test
