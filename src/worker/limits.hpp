// Bounds on what one worker process holds, does and waits for.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace postern::worker {

// Of a request body, kept until the response begins, so that it can be sent again to a new broker.
inline constexpr std::size_t body_kept_bytes_max = 1024 * 1024;
// How much of a body is read from the web server at a time.
inline constexpr std::size_t body_piece_bytes = 64 * 1024;
inline constexpr std::size_t threads_max = 512;  // of one process; each may have one stream open
inline constexpr std::size_t processes_max = 256;
inline constexpr std::size_t web_connections_max = 8'192;  // of one process, besides those being served
inline constexpr std::size_t request_id_bytes_min = 8, request_id_bytes_max = 64;

// How long a read from, or a write to, the web server may stand still. nginx's own timeouts are 60 s.
inline constexpr std::chrono::seconds web_stall_max{120};
// How long a write to the broker may stand still: it always reads, unless it hangs.
inline constexpr std::chrono::seconds broker_stall_max{30};
inline constexpr std::chrono::milliseconds broker_hello_wait_max{2'000};
inline constexpr std::chrono::milliseconds broker_connect_pause{50};
// A waiting thread looks this often whether the web server has closed its end.
inline constexpr std::chrono::milliseconds browser_check_every{1'000};
// Seconds without a frame, while a request waits, after which the broker is asked whether it lives, and
// after which it is taken for dead.
inline constexpr unsigned broker_ping_after_s = 30, broker_dead_after_s = 60;

}  // namespace postern::worker
