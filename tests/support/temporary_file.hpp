// A file in the temporary directory with a name of its own, removed at the end.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace postern::test {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    const char* directory = ::getenv("TMPDIR");
    path_ = std::string(directory != nullptr ? directory : "/tmp") + "/postern-test-XXXXXX";
    const int fd = ::mkstemp(path_.data());
    const bool written =
        fd >= 0 && ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
    if (fd >= 0) ::close(fd);
    if (!written) throw std::runtime_error("can't write " + path_);
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace postern::test
