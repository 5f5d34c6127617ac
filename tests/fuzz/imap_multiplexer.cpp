// A dialogue with a server that sends anything: every sink hears of the end exactly once, and nothing is written
// to a connection that is broken. The first octet of the input chooses the commands, the second the pieces.
#include <cstdint>
#include <cstdlib>
#include <list>
#include <string_view>

#include "postern/imap/multiplexer.hpp"

namespace postern::imap {

namespace {

struct Sink : CommandSink {
  int done = 0;
  void on_data(Response&) override {
    if (done != 0) std::abort();
  }
  std::optional<std::string> on_continuation(const Continuation& continuation) override {
    return continuation.text;
  }
  void on_done(Result<StatusResponse>, const StatusResponse*) override { ++done; }
};

Command command(unsigned which) {
  const CapabilitySet plain;
  switch (which % 8) {
    case 0: return *CommandBuilder("UID FETCH", plain).raw(" 1 FLAGS").expect(Expect::fetch).finish();
    case 1: return *CommandBuilder("UID SEARCH", plain).raw(" ALL").expect(Expect::search).finish();
    case 2:
      return *CommandBuilder("UID SORT", plain).raw(" X").expect(Expect::sort | Expect::esearch).finish();
    case 3:
      return *CommandBuilder("SELECT", plain).sp().mailbox("x").exclusive().expect(Expect::other).finish();
    case 4:
      return *CommandBuilder("LOGIN", plain)
                  .secret()
                  .sp()
                  .literal("a")
                  .sp()
                  .literal("b")
                  .exclusive()
                  .finish();
    case 5: return *CommandBuilder("IDLE", plain).finish();
    case 6: return *CommandBuilder("AUTHENTICATE PLAIN", plain).secret().finish();
    default: return *CommandBuilder("LOGOUT", plain).finish();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  std::list<Sink> sinks;
  Multiplexer mux(nullptr, {.in_flight = 4, .waiting = 8});
  CommandId last = 0;
  for (unsigned i = 0; i < 6; ++i)
    last = *mux.submit(command(data[0] + i * (1 + data[0] / 8)), sinks.emplace_back());
  const std::string_view octets(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t step = 1 + data[1] % 100;
  for (std::size_t at = 0; at < octets.size(); at += step) {
    mux.take_output();
    if (!mux.feed(octets.substr(at, step))) {
      if (mux.wants_output()) std::abort();
      break;
    }
    if (at / step % 4 == 3) mux.finish_idle(1 + at % last);
  }
  mux.fail_all(Error(make_error_code(Errc::closed)));
  for (const Sink& sink : sinks) {
    if (sink.done != 1) std::abort();
  }
  return 0;
}

}  // namespace postern::imap
