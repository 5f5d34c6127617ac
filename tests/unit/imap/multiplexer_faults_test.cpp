// Dialogues replayed with the octets split everywhere and with the connection failing at every step, and random
// interleavings against a server that keeps to the rules. Whatever happens, every sink hears of the end once.
#include <gmock/gmock.h>

#include <list>
#include <map>
#include <random>

#include "multiplexer_support.hpp"

namespace postern::imap {
namespace {

// One step of a dialogue: octets from the server, or (with `expected`) what the client must have written by then.
struct Step {
  bool from_server;
  std::string octets;
};

struct Dialogue {
  std::vector<Command> commands;
  std::vector<std::optional<std::string>> answers;  // to continuations, by every sink
  bool finish_idle = false;                         // at each step, for every command
  std::vector<Step> steps;
};

Command chunked(std::string name, std::vector<std::string> chunks) {
  Command c;
  c.name = std::move(name);
  c.chunks = std::move(chunks);
  return c;
}

Dialogue session() {
  Dialogue d;
  d.commands = {chunked("LOGIN", {"LOGIN {2}\r\n", "ab {2}\r\n", "cd"}),
                command("SELECT INBOX", Expect::other, true),
                command("UID SORT ALL", Expect::sort),
                command("UID FETCH 1:2 BODY[]", Expect::fetch),
                command("UID SORT 1", Expect::sort),
                command("IDLE"),
                command("AUTHENTICATE X"),
                command("LOGOUT", Expect::none, true)};
  d.commands[0].secret = true;
  d.commands[0].exclusive = true;
  d.answers = {std::nullopt, "eA=="};
  d.finish_idle = true;
  d.steps = {{true, "* OK hi\r\n"},
             {false, "a1 LOGIN {2}\r\n"},
             {true, "+ \r\n"},
             {false, "ab {2}\r\n"},
             {true, "+ \r\n"},
             {false, "cd\r\n"},
             {true, "* CAPABILITY X\r\na1 OK in\r\n"},
             {false, "a2 SELECT INBOX\r\n"},
             {true, "* 2 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\na2 OK [READ-WRITE] done\r\n"},
             {false, "a3 UID SORT ALL\r\na4 UID FETCH 1:2 BODY[]\r\n"},
             {true, "* SORT 2 1\r\n* 1 FETCH (UID 1 BODY[] {4}\r\na\r\nb)\r\na3 OK\r\n"},
             {false, "a5 UID SORT 1\r\n"},
             {true, "* 2 FETCH (UID 2 BODY[] \"x\")\r\n* 3 EXISTS\r\na4 OK\r\n* SORT 1\r\na5 NO why\r\n"},
             {false, "a6 IDLE\r\n"},
             {true, "+ idling\r\n* 4 EXISTS\r\n"},
             {false, "DONE\r\n"},  // AUTHENTICATE has to wait
             {true, "a6 OK\r\n"},
             {false, "a7 AUTHENTICATE X\r\n"},
             {true, "+ \r\n"},
             {false, "eA==\r\n"},
             {true, "a7 BAD no\r\n"},
             {false, "a8 LOGOUT\r\n"},
             {true, "* BYE bye\r\na8 OK\r\n"}};
  return d;
}

struct Player {
  explicit Player(const Dialogue& d) : dialogue(d), mux(&observer) {
    for (const Command& c : d.commands) {
      RecordingSink& sink = sinks.emplace_back();
      if (c.name == "AUTHENTICATE") sink.answers = {d.answers.back()};
      ids.push_back(*mux.submit(c, sink));
    }
  }

  // Plays up to `octets` octets from the server, `step` at a time; false if it stopped before the end.
  bool play(std::size_t octets, std::size_t step) {
    for (const Step& s : dialogue.steps) {
      if (!s.from_server) {
        if (dialogue.finish_idle) {
          for (const CommandId id : ids) mux.finish_idle(id);
        }
        std::string written;
        while (mux.wants_output()) written += mux.take_output();
        EXPECT_EQ(pending + written, s.octets);
        pending.clear();
        continue;
      }
      std::string_view left = s.octets;
      while (!left.empty()) {
        const std::size_t size = std::min({step, left.size(), octets});
        if (size == 0) return false;
        const auto ok = mux.feed(left.substr(0, size));
        EXPECT_TRUE(ok) << (ok ? "" : ok.error().to_string());
        left.remove_prefix(size);
        octets -= size;
      }
    }
    return true;
  }

  const Dialogue& dialogue;
  RecordingObserver observer;
  std::list<RecordingSink> sinks;
  Multiplexer mux;
  std::vector<CommandId> ids;
  std::string pending;
};

std::size_t octets_of(const Dialogue& d) {
  std::size_t total = 0;
  for (const Step& s : d.steps) total += s.from_server ? s.octets.size() : 0;
  return total;
}

std::string outcome(const Player& p) {
  std::string out;
  for (const RecordingSink& s : p.sinks) {
    out += s.ok ? "ok " + s.text : s.error.to_string();
    out += " data:" + std::to_string(s.data.size()) + ";";
  }
  return out + std::to_string(p.observer.seen.size());
}

TEST(MultiplexerFaults, TheSameDialogueHoweverItIsSplit) {
  const Dialogue d = session();
  Player whole(d);
  ASSERT_TRUE(whole.play(SIZE_MAX, SIZE_MAX));
  EXPECT_TRUE(whole.mux.idle());
  const std::string expected = outcome(whole);
  for (const RecordingSink& sink : whole.sinks) EXPECT_EQ(sink.done, 1);
  for (std::size_t step = 1; step < 90; ++step) {
    Player split(d);
    ASSERT_TRUE(split.play(SIZE_MAX, step)) << step;
    ASSERT_EQ(outcome(split), expected) << "in steps of " << step;
  }
}

TEST(MultiplexerFaults, TheConnectionFailsAtEveryOctet) {
  const Dialogue d = session();
  const std::size_t total = octets_of(d);
  for (std::size_t octets = 0; octets < total; ++octets) {
    Player player(d);
    ASSERT_FALSE(player.play(octets, SIZE_MAX));
    player.mux.fail_all(Error(make_error_code(Errc::closed), "reset"));
    for (const RecordingSink& sink : player.sinks) ASSERT_EQ(sink.done, 1) << "after " << octets << " octets";
    ASSERT_TRUE(player.mux.idle());
    ASSERT_EQ(player.mux.take_output(), "");
  }
}

TEST(MultiplexerFaults, EverythingIsAbandonedAtEveryOctet) {
  const Dialogue d = session();
  const std::size_t total = octets_of(d);
  for (std::size_t octets = 0; octets < total; ++octets) {
    Player player(d);
    player.play(octets, SIZE_MAX);
    std::vector<int> before;
    for (const RecordingSink& sink : player.sinks) before.push_back(sink.done);
    for (const CommandId id : player.ids) player.mux.abandon(id);
    EXPECT_EQ(player.mux.waiting(), 0u);
    player.mux.fail_all(Error(make_error_code(Errc::closed)));
    std::size_t i = 0;
    for (const RecordingSink& sink : player.sinks)
      ASSERT_EQ(sink.done, before[i++]) << "a sink that is gone was called";
  }
}

TEST(MultiplexerFaults, TheServerSaysByeAtEveryStep) {
  const Dialogue d = session();
  for (std::size_t stop = 1; stop + 1 < d.steps.size(); ++stop) {
    Dialogue cut = d;
    cut.steps.resize(stop);
    Player player(cut);
    ASSERT_TRUE(player.play(SIZE_MAX, SIZE_MAX));
    const auto ok = player.mux.feed("* BYE [UNAVAILABLE] going down\r\n");
    if (stop + 2 < d.steps.size()) {  // LOGOUT is in flight by the end
      ASSERT_FALSE(ok);
      EXPECT_EQ(ok.error().code, Errc::bye);
      EXPECT_FALSE(player.mux.wants_output());
    }
    player.mux.fail_all(ok ? Error(make_error_code(Errc::closed)) : ok.error());
    for (const RecordingSink& sink : player.sinks) ASSERT_EQ(sink.done, 1);
  }
}

// A server that answers whole lines, at once or later and in any order, and checks the rules of pipelining.
struct RandomServer {
  std::mt19937& random;
  std::string input;
  std::vector<std::pair<std::string, std::string>> open;  // tag, command
  bool literal_next = false;                              // the rest of the last command, once "+" was sent

  void take(std::string_view octets) { input += octets; }

  static char kind(const std::string& command) { return command[0]; }

  std::string read() {
    std::string out;
    for (std::size_t end = input.find("\r\n"); end != std::string::npos; end = input.find("\r\n")) {
      const std::string line = input.substr(0, end);
      input.erase(0, end + 2);
      if (literal_next) {
        literal_next = line.ends_with("}");
        if (literal_next) out += "+ more\r\n";
        continue;
      }
      const std::size_t space = line.find(' ');
      const std::string tag = line.substr(0, space), text = line.substr(space + 1);
      for (const auto& [other_tag, other] : open) {
        EXPECT_NE(kind(other), 'X') << "beside an exclusive command";
        EXPECT_NE(kind(text), 'X') << "an exclusive command beside another";
        if (kind(text) == 'S') EXPECT_NE(kind(other), 'S') << "two without a correlator";
      }
      if (text.ends_with("}")) {
        if (random() % 4 == 0) {
          out += tag + " NO too large\r\n";
          continue;
        }
        literal_next = true;
        out += "+ go\r\n";
        EXPECT_TRUE(input.empty()) << "written before the +";
      }
      open.emplace_back(tag, text);
    }
    return out;
  }

  std::string answer() {
    if (literal_next || open.empty()) return {};
    const std::size_t i = random() % open.size();
    const auto [tag, text] = open[i];
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    std::string out;
    const std::string number = text.substr(text.find_first_of("0123456789"), 9);
    if (kind(text) == 'S') out = "* SEARCH " + number.substr(0, number.find(' ')) + "\r\n";
    if (kind(text) == 'E') out = "* ESEARCH (TAG \"" + tag + "\") UID ALL " + number + "\r\n";
    return out + tag + (random() % 8 == 0 ? " NO no\r\n" : " OK done\r\n");
  }
};

void run_random(unsigned seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  RandomServer server{random, {}, {}, false};
  Connection c({.in_flight = 1 + random() % 8, .waiting = 1000});
  std::list<RecordingSink> sinks;
  std::map<CommandId, RecordingSink*> live;
  std::map<RecordingSink*, std::uint32_t> asked;
  std::size_t abandoned = 0;
  std::string to_client;
  for (std::uint32_t n = 1; n < 200 || !c.mux.idle(); ++n) {
    if (n < 200) {
      const std::string number = std::to_string(n);
      Command made = command("F " + number, Expect::fetch);
      switch (random() % 6) {
        case 0: made = command("S " + number, Expect::search); break;
        case 1: made = command("E " + number, Expect::esearch); break;
        case 2: made = command("X " + number, Expect::other, true); break;
        case 3: made = chunked("L", {"L " + number + " {1}\r\n", "a {1}\r\n", "b"}); break;
        default: break;
      }
      RecordingSink& sink = sinks.emplace_back();
      live[c.submit(std::move(made), sink)] = &sink;
      asked[&sink] = n;
    }
    if (random() % 3 == 0 && n < 200) {
      const CommandId id = 1 + random() % n;
      if (live.contains(id) && live[id]->done == 0) {
        c.mux.abandon(id);
        live.erase(id);
        ++abandoned;
      }
    }
    if (random() % 2 == 0 || n >= 200) server.take(c.mux.take_output());
    to_client += server.read();
    if (random() % 2 == 0 || n >= 200) to_client += server.answer();
    const std::size_t size = n >= 200 ? to_client.size() : random() % (to_client.size() + 1);
    c.feed(std::string_view(to_client).substr(0, size));
    to_client.erase(0, size);
    ASSERT_LT(n, 100'000u) << "it hangs";
  }
  std::size_t done = 0;
  for (RecordingSink& sink : sinks) {
    ASSERT_LE(sink.done, 1);
    done += static_cast<std::size_t>(sink.done);
    if (!sink.numbers.empty())
      ASSERT_EQ(sink.numbers, std::vector<std::uint32_t>{asked[&sink]}) << "another's answer";
  }
  ASSERT_EQ(done + abandoned, sinks.size());
  ASSERT_EQ(c.mux.skipped_responses(), 0u);
}

TEST(MultiplexerFaults, RandomInterleavings) {
  const unsigned first = std::random_device{}();
  for (unsigned i = 0; i < 100; ++i) {
    run_random(first + i);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace postern::imap
