// THREAD (RFC 5256, section 5):
// thread-data    = "THREAD" [SP 1*thread-list]
// thread-list    = "(" (thread-members / thread-nested) ")"
// thread-members = nz-number *(SP nz-number) [SP thread-nested]
// thread-nested  = 2*thread-list
// Without recursion: each number is the child of the one before it, so that a long thread is as deep as it is
// long. Below thread_depth_max everything is a child of the last message that deep, so that whoever walks
// or frees the tree needs a bounded stack.
#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

class Builder {
 public:
  explicit Builder(std::vector<ThreadNode>& roots) { path_.push_back(&roots); }

  // A list opens: what it holds hangs where we are now. One that begins with a list has a parent that
  // isn't there (number 0).
  void open() {
    if (!open_.empty() && at_list_start_) add(0);
    if (open_.size() < thread_depth_max) {
      open_.push_back(path_.size());
    } else {
      ++deeper_;
    }
    at_list_start_ = true;
  }

  bool close() {
    if (open_.empty()) return false;
    at_list_start_ = false;
    if (deeper_ > 0) {
      --deeper_;
      return true;
    }
    path_.resize(open_.back());
    open_.pop_back();
    return true;
  }

  void add(std::uint32_t number) {
    at_list_start_ = false;
    ThreadNode& node = path_.back()->emplace_back();
    node.number = number;
    if (path_.size() < thread_depth_max) path_.push_back(&node.children);
  }

  bool in_list() const { return !open_.empty(); }

 private:
  // Where children go: the roots, then those of each message on the way down. Adding to one of these moves
  // only the nodes of branches that are closed.
  std::vector<std::vector<ThreadNode>*> path_;
  std::vector<std::size_t> open_;  // path_.size() at each open "("
  std::size_t deeper_ = 0;         // open "(" beyond that
  bool at_list_start_ = false;
};

}  // namespace

bool parse_thread(Cursor& in, ThreadResponse& out) {
  Builder builder(out.threads);
  std::size_t count = 0;
  for (;;) {
    in.spaces();
    std::uint32_t number = 0;
    if (in.at_end()) return !builder.in_list() || in.fail("thread without an end");
    if (in.accept('(')) {
      if (++count > numbers_max) return in.too_large("lists");
      builder.open();
    } else if (in.accept(')')) {
      if (!builder.close()) return in.fail("unexpected )");
    } else if (in.number(number)) {
      if (++count > numbers_max) return in.too_large("numbers");
      if (builder.in_list()) {
        builder.add(number);
      } else {
        out.threads.push_back({number, {}});  // seen: a thread of one without parentheses
      }
    } else {
      return in.fail("number expected");
    }
  }
}

}  // namespace postern::imap
