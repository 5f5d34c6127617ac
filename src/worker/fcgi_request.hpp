// One FastCGI request on a connection of the web server: libfcgi reads it, this file writes the answer.
//
// libfcgi's own writer cuts an answer into records of 8 KB, each with a write() of its own, and ends it with
// another. Here head, body and end of an answer go out as records of up to 64 KB in one sendmsg().
// What that relies on of FCGX_Request: ipcFd, requestId and keepConnection (unchanged since libfcgi 2.4.0);
// setting the first and last before FCGX_Accept_r makes it read from a connection that we accepted.
//
// One a thread, used for one request after another. Bounds: libfcgi holds the parameters, which the web
// server bounds, and 8 KB of the body.
#pragma once

#include <fcgiapp.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::worker {

class FcgiRequest {
 public:
  FcgiRequest() = default;
  ~FcgiRequest();
  FcgiRequest(const FcgiRequest&) = delete;
  FcgiRequest& operator=(const FcgiRequest&) = delete;

  // Reads a request's parameters from `fd`, which this object owns from now on. False: the connection has
  // ended and is closed.
  bool begin(int fd);
  // NAME=value, ended by a null pointer; valid until finish().
  const char* const* parameters() const { return request_.envp; }

  // Reads up to `size` octets of the body, blocking until it has them all or the body has ended.
  std::size_t read_body(char* to, std::size_t size);
  bool body_ended() const { return body_ended_; }    // all of it was read
  bool body_failed() const { return body_failed_; }  // the web server went away in the middle

  // Puts a piece of the answer (head or body) into the next write; the octets must live until then.
  void add(std::string_view piece);
  void discard() { pieces_.clear(); }
  bool full() const { return pieces_.size() >= pieces_max; }
  // Writes what was added, and with `end` the end of the answer. False: the web server has gone.
  bool write(bool end);
  // Has the web server closed its end? Tells at once under nginx, which closes when its browser has gone.
  bool web_server_gone() const;

  // Ends the request. Returns the connection if it stays open for another, else -1 (closed).
  int finish();

  static constexpr std::size_t pieces_max = 64;

 private:
  FCGX_Request request_{};
  bool active_ = false;
  bool body_ended_ = false;
  bool body_failed_ = false;
  bool end_written_ = false;
  bool write_failed_ = false;
  std::vector<std::string_view> pieces_;
};

// Lays out pieces as FCGI_STDOUT records, for sendmsg(). `headers` holds the record headers that `out` points
// into. With `end` the records that end the answer follow. Pure.
void lay_out_records(const std::vector<std::string_view>& pieces, std::uint16_t request_id, bool end,
                     std::string& headers, std::vector<iovec>& out);

}  // namespace postern::worker
