// The public face of the test server; see test_imapd.hpp.
#include "test_imapd.hpp"

#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

#include "server.hpp"

namespace postern::testimapd {

std::vector<std::string> capabilities_of(std::string_view kind) {
  std::string text;
  if (kind == "full")
    text =
        "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE CONDSTORE "
        "QRESYNC "
        "ESEARCH SEARCHRES WITHIN SORT SORT=DISPLAY ESORT CONTEXT=SEARCH CONTEXT=SORT PARTIAL "
        "THREAD=REFERENCES THREAD=ORDEREDSUBJECT LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE "
        "STATUS=SIZE OBJECTID PREVIEW SAVEDATE BINARY NOTIFY QUOTA ACL LIST-MYRIGHTS UTF8=ACCEPT "
        "AUTH=PLAIN AUTH=LOGIN AUTH=OAUTHBEARER AUTH=XOAUTH2 !X-GUID";
  else if (kind == "dovecot")
    text =
        "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES "
        "THREAD=ORDEREDSUBJECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC ESEARCH ESORT "
        "SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE PREVIEW STATUS=SIZE SAVEDATE LITERAL+ "
        "NOTIFY "
        "SPECIAL-USE UNSELECT QUOTA ACL AUTH=PLAIN AUTH=LOGIN !X-GUID";
  else if (kind == "cyrus")
    text =
        "IMAP4rev1 LITERAL+ ID ENABLE ACL QUOTA NAMESPACE UIDPLUS UNSELECT CHILDREN BINARY CONDSTORE QRESYNC "
        "ESEARCH SEARCHRES SORT SORT=DISPLAY THREAD=ORDEREDSUBJECT THREAD=REFERENCES LIST-EXTENDED "
        "LIST-STATUS "
        "SPECIAL-USE CREATE-SPECIAL-USE LIST-MYRIGHTS MOVE OBJECTID SAVEDATE STATUS=SIZE PREVIEW WITHIN IDLE "
        "SASL-IR "
        "AUTH=PLAIN AUTH=LOGIN";
  else if (kind == "courier")
    text =
        "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE ACL "
        "AUTH=PLAIN";
  else if (kind == "gmail")
    text =
        "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE CONDSTORE "
        "ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE SASL-IR AUTH=PLAIN "
        "AUTH=OAUTHBEARER AUTH=XOAUTH2";
  else if (kind == "minimal")
    text = "IMAP4rev1";
  else
    throw std::invalid_argument(fmt::format("no server of the kind {}", kind));
  std::vector<std::string> out;
  for (auto word : words(text)) out.emplace_back(word);
  return out;
}

std::uint64_t Counts::commands_total() const {
  return std::accumulate(commands.begin(), commands.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& entry) { return sum + entry.second; });
}

std::string Counts::json() const {
  std::string names;
  for (const auto& [name, count] : commands)
    fmt::format_to(std::back_inserter(names), "{}\"{}\":{}", names.empty() ? "" : ",", name, count);
  return fmt::format(
      "{{\"commands\":{{{}}},\"commands_total\":{},\"logins\":{},\"login_failures\":{},"
      "\"connections_open\":{},\"connections_total\":{},\"tls_handshakes\":{},\"tls_resumed\":{},"
      "\"bytes_in\":{},\"bytes_out\":{}}}",
      names, commands_total(), logins, login_failures, connections_open, connections_total, tls_handshakes,
      tls_resumed, bytes_in, bytes_out);
}

TestImapd::TestImapd(Options options) : server_(std::make_unique<Server>(std::move(options))) {}
TestImapd::~TestImapd() = default;

void TestImapd::start() { server_->start(); }
void TestImapd::stop() { server_->stop(); }
std::uint16_t TestImapd::port(std::size_t listener) const { return server_->port(listener); }

Counts TestImapd::counts() {
  return server_->call([&] { return server_->total(); });
}

Counts TestImapd::counts(std::string_view user) {
  return server_->call([&] { return server_->counts_of(user); });
}

void TestImapd::reset_counts() {
  server_->call([&] { server_->reset(); });
}

std::vector<LogEntry> TestImapd::log() {
  return server_->call([&] { return std::vector(server_->log().begin(), server_->log().end()); });
}

std::string TestImapd::control(std::string_view line) {
  return server_->call([&] { return server_->control(line); });
}

std::uint32_t TestImapd::deliver(std::string_view user, std::string_view mailbox, std::string_view raw,
                                 std::string_view flags, std::int64_t internal_date) {
  return server_->call([&] { return server_->deliver(user, mailbox, raw, flags, internal_date); });
}

bool TestImapd::wait_for(std::function<bool(const Counts&)> predicate, std::chrono::milliseconds timeout) {
  return server_->wait_for(predicate, timeout);
}

}  // namespace postern::testimapd
