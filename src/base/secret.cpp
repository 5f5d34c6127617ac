// Secret strings: allocation, wiping, comparison. Any thread; an object belongs to one at a time.
#include "postern/base/secret.hpp"

#include <openssl/crypto.h>

#include <utility>

namespace postern {

void wipe(void* data, std::size_t size) noexcept {
  if (data != nullptr && size != 0) OPENSSL_cleanse(data, size);
}

Secret::Secret(std::string_view value) : size_(value.size()) {
  if (value.empty()) return;
  data_ = std::make_unique_for_overwrite<char[]>(value.size());
  std::memcpy(data_.get(), value.data(), value.size());
}

Secret::Secret(Secret&& other) noexcept
    : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  wipe(data_.get(), size_);
  data_ = std::move(other.data_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Secret::~Secret() { wipe(data_.get(), size_); }

bool equal_constant_time(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  return a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace postern
