// Flow control of one stream's body in one direction, without I/O (docs/frame-protocol.md, "Credit").
//
// The sender owns a SendCredit, the receiver a ReceiveCredit. Both begin at window_bytes. Not thread-safe:
// each belongs to the object that owns its stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include "postern/ipc/frame.hpp"

namespace postern::ipc {

// What may still be sent.
class SendCredit {
 public:
  explicit SendCredit(std::uint32_t initial = window_bytes) : left_(initial) {}

  std::uint32_t left() const { return left_; }
  // The caller sends `bytes`, at most left().
  void spend(std::size_t bytes);
  // A window frame has come. False: more than credit_max in all, the peer breaks the protocol.
  [[nodiscard]] bool grant(std::uint32_t bytes);

  static constexpr std::uint32_t credit_max = 16 * 1024 * 1024;

 private:
  std::uint32_t left_;
};

// What the peer may still send, and how much of it was taken since the last grant. Grants come in pieces of
// at least half a window, so that there are few window frames and the sender seldom waits.
class ReceiveCredit {
 public:
  explicit ReceiveCredit(std::uint32_t initial = window_bytes) : open_(initial), window_(initial) {}

  // Data has come. False: more than was granted, the peer breaks the protocol.
  [[nodiscard]] bool receive(std::size_t bytes);
  // `bytes` of it were used and their memory is free again. Returns the credit to grant now, or 0.
  std::uint32_t consume(std::size_t bytes);

 private:
  std::uint32_t open_;
  std::uint32_t window_;
  std::uint32_t consumed_ = 0;
};

}  // namespace postern::ipc
