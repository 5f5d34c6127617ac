// The arithmetic of credit. What the peer says is checked and refused, what the caller says is asserted.
#include "postern/ipc/window.hpp"

#include <cassert>

namespace postern::ipc {

void SendCredit::spend(std::size_t bytes) {
  assert(bytes <= left_);
  left_ -= static_cast<std::uint32_t>(bytes);
}

bool SendCredit::grant(std::uint32_t bytes) {
  if (bytes > credit_max - left_) return false;
  left_ += bytes;
  return true;
}

bool ReceiveCredit::receive(std::size_t bytes) {
  if (bytes > open_) return false;
  open_ -= static_cast<std::uint32_t>(bytes);
  return true;
}

std::uint32_t ReceiveCredit::consume(std::size_t bytes) {
  consumed_ += static_cast<std::uint32_t>(bytes);
  if (consumed_ < window_ / 2) return 0;
  const auto credit = consumed_;
  open_ += credit;
  consumed_ = 0;
  return credit;
}

}  // namespace postern::ipc
