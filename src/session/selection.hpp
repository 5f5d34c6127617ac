// What is selected on one connection, and who hears about it: sorts untagged responses. No I/O.
//
// Owned by its Connection. Between the command and its OK ("selecting") events may still be those of the
// mailbox before: with QRESYNC and IMAP4rev2 the server marks the border by [CLOSED] (RFC 7162, 3.2.11);
// elsewhere nothing but FLAGS, EXISTS and the untagged OKs is believed until then.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "postern/imap/types.hpp"
#include "postern/session/pool.hpp"

namespace postern::session {

class Selection {
 public:
  enum class State : std::uint8_t { none, selecting, selected };

  State state() const { return state_; }
  const std::string& mailbox() const { return mailbox_; }
  MailboxObserver* observer() const { return observer_; }
  bool is_unheard() const { return state_ == State::selected && observer_ == nullptr; }

  // A SELECT for `observer` is about to be sent; whoever listened before is told that it's over.
  // `parameters`: what was given to QRESYNC.
  void begin(std::string mailbox, MailboxObserver& observer, std::optional<SelectParameters> parameters);
  // Its tagged OK, or anything else: then nothing is selected.
  void succeeded(const imap::StatusResponse& ok);
  void failed();
  void forget(const MailboxObserver& observer);
  void forget_all() { observer_ = nullptr; }
  // True if the response was about the mailbox.
  bool on_untagged(imap::Response& response);

 private:
  struct Pending {
    SelectInfo info;
    std::optional<SelectParameters> parameters;
    bool behind_border = false;  // [CLOSED] has come, or nothing was selected before
  };
  bool while_selecting(imap::Response& response);
  void note_code(const imap::ResponseCode& code);
  void tell_deselected();

  State state_ = State::none;
  std::string mailbox_;
  MailboxObserver* observer_ = nullptr;
  std::unique_ptr<Pending> pending_;  // while selecting
};

}  // namespace postern::session
