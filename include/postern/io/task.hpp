// A coroutine of a shard. It takes its parameters by value unless its caller awaits it at once.
#pragma once

#include <boost/asio/awaitable.hpp>

namespace postern::io {

template <typename T = void>
using Task = boost::asio::awaitable<T>;

}  // namespace postern::io
