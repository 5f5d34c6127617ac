// A string that must not be seen: a password, a token, a key.
//
// It can't be printed or compared by accident, and it wipes its memory when it ends or is overwritten.
// The bytes live on the heap (never in a small-string buffer that a move would leave behind).
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace postern {

// Overwrites memory in a way the compiler doesn't remove (OPENSSL_cleanse).
void wipe(void* data, std::size_t size) noexcept;

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view value);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;  // copies are made on purpose, with clone()
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  Secret clone() const { return Secret(expose()); }
  // The value itself. Whoever calls this answers for where it goes.
  std::string_view expose() const { return {data_.get(), size_}; }
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
};

// Compares in a time that depends on the lengths only.
bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

}  // namespace postern
