// Reading by callback: for connections that wait by the ten-thousand, where the frames of a waiting
// coroutine would cost more than everything else together (2 KB).
//
// Instead of ByteStream::read_some(), not beside it: a stream has one reader.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "postern/io/stream.hpp"

namespace postern::io {

// Reads what is there without waiting; 0: nothing is there now. Fewer octets than the buffer takes mean
// that the socket was empty. Errors as read_some().
Result<std::size_t> read_now(ByteStream& stream, std::span<char> buffer);
// Calls back once from the loop when read_now() is worth a try, also when the stream was closed. Not called
// any more when the loop ends. The callback must not own the stream.
void when_readable(ByteStream& stream, std::function<void()> callback);

// The socket of a plain stream that nothing is pending on, for whoever drives it by other means and owns it then.
Result<int> release_socket(std::unique_ptr<ByteStream> stream);

}  // namespace postern::io
