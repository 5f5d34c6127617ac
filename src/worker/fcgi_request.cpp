// Records of the answer laid out over the caller's pieces, without copying them, and sent with sendmsg().
#include "worker/fcgi_request.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>

#include <algorithm>
#include <cerrno>

namespace postern::worker {
namespace {

// Of a body that nobody wants.
constexpr std::size_t drained_bytes_max = 64 * 1024;

// FastCGI specification, section 3.3 and 8. Contents are multiples of 8 but for the last: no padding needed.
constexpr std::size_t record_header_bytes = 8;
constexpr std::size_t record_content_bytes_max = 65'528;
constexpr std::size_t end_bytes = 2 * record_header_bytes + 8;
constexpr char fcgi_version = 1, fcgi_end_request = 3, fcgi_stdout = 6;

void put_record_header(std::string& out, char type, std::uint16_t request_id, std::size_t content) {
  const char header[record_header_bytes] = {fcgi_version,
                                            type,
                                            static_cast<char>(request_id >> 8),
                                            static_cast<char>(request_id & 0xff),
                                            static_cast<char>(content >> 8),
                                            static_cast<char>(content & 0xff),
                                            0,
                                            0};
  out.append(header, sizeof header);
}

// Writes everything; the socket blocks, SO_SNDTIMEO bounds how long.
bool send_all(int fd, std::vector<iovec>& parts) {
  std::size_t at = 0;
  while (at < parts.size()) {
    msghdr message{};
    message.msg_iov = &parts[at];
    message.msg_iovlen = parts.size() - at;
    const auto sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    auto left = static_cast<std::size_t>(sent);
    while (at < parts.size() && left >= parts[at].iov_len) left -= parts[at++].iov_len;
    if (at < parts.size()) {
      parts[at].iov_base = static_cast<char*>(parts[at].iov_base) + left;
      parts[at].iov_len -= left;
    }
  }
  return true;
}

}  // namespace

void lay_out_records(const std::vector<std::string_view>& pieces, std::uint16_t request_id, bool end,
                     std::string& headers, std::vector<iovec>& out) {
  std::size_t total = 0;
  for (const auto piece : pieces) total += piece.size();
  const auto records = (total + record_content_bytes_max - 1) / record_content_bytes_max;
  headers.clear();
  headers.reserve(records * record_header_bytes + end_bytes);  // never moves: `out` points into it
  out.clear();

  std::size_t record_left = 0;
  for (auto piece : pieces) {
    while (!piece.empty()) {
      if (record_left == 0) {
        record_left = std::min(total, record_content_bytes_max);
        total -= record_left;
        out.push_back({headers.data() + headers.size(), record_header_bytes});
        put_record_header(headers, fcgi_stdout, request_id, record_left);
      }
      const auto part = piece.substr(0, record_left);
      out.push_back({const_cast<char*>(part.data()), part.size()});
      piece.remove_prefix(part.size());
      record_left -= part.size();
    }
  }
  if (!end) return;
  out.push_back({headers.data() + headers.size(), end_bytes});
  put_record_header(headers, fcgi_stdout, request_id, 0);
  put_record_header(headers, fcgi_end_request, request_id, 8);
  headers.append(8, '\0');  // appStatus 0, FCGI_REQUEST_COMPLETE
}

FcgiRequest::~FcgiRequest() {
  if (active_) FCGX_Free(&request_, 1);
}

bool FcgiRequest::begin(int fd) {
  FCGX_InitRequest(&request_, -1, FCGI_FAIL_ACCEPT_ON_INTR);
  request_.ipcFd = fd;
  request_.keepConnection =
      1;  // until the request says otherwise: FCGX_Accept_r finishes the one before first
  body_ended_ = body_failed_ = end_written_ = write_failed_ = false;
  pieces_.clear();
  // With the connection ended, libfcgi closes it and tries to accept another, on -1: that fails.
  active_ = FCGX_Accept_r(&request_) == 0;
  if (active_ && request_.role != 1) {  // FCGI_RESPONDER
    FCGX_Free(&request_, 1);
    active_ = false;
  }
  return active_;
}

std::size_t FcgiRequest::read_body(char* to, std::size_t size) {
  if (body_ended_ || body_failed_ || size == 0) return 0;
  const auto got = FCGX_GetStr(to, static_cast<int>(size), request_.in);
  if (static_cast<std::size_t>(got) < size) {
    (FCGX_GetError(request_.in) != 0 ? body_failed_ : body_ended_) = true;
  }
  return static_cast<std::size_t>(got);
}

void FcgiRequest::add(std::string_view piece) {
  if (!piece.empty()) pieces_.push_back(piece);
}

bool FcgiRequest::write(bool end) {
  if (write_failed_) return false;
  std::string headers;
  std::vector<iovec> parts;
  lay_out_records(pieces_, static_cast<std::uint16_t>(request_.requestId), end, headers, parts);
  pieces_.clear();
  if (!send_all(request_.ipcFd, parts)) write_failed_ = true;
  end_written_ = end && !write_failed_;
  return !write_failed_;
}

bool FcgiRequest::web_server_gone() const {
  // Not POLLRDHUP: a client may end its half after the request and still want the answer.
  pollfd state{.fd = request_.ipcFd, .events = 0, .revents = 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

int FcgiRequest::finish() {
  if (!active_) return -1;
  active_ = false;
  const int fd = request_.ipcFd;
  // An answer that needed no body leaves the end of it unread (of a GET, too). A short rest is read, so that the web
  // server may send its next request here: one that comes while we close is lost, and a POST isn't repeated.
  std::array<char, 4096> rest;
  for (std::size_t drained = 0;
       !body_ended_ && !body_failed_ && !write_failed_ && drained < drained_bytes_max;)
    drained += read_body(rest.data(), rest.size());
  if (!body_ended_) {
    // What is left of the body would be taken for the next request. libfcgi's close reads on for a while, so
    // that a web server that is still sending gets to our answer.
    FCGX_Free(&request_, 1);
    return -1;
  }
  FCGX_Free(&request_, 0);
  if (request_.keepConnection != 0 && end_written_) return fd;
  ::close(fd);
  return -1;
}

}  // namespace postern::worker
