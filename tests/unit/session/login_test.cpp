// Signing in: transports, mechanisms, what is asked and what isn't.
#include <algorithm>

#include "postern/base/encoding.hpp"
#include "script_server.hpp"
#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct LoginTest : SessionFixture {
  test::TestCa authority;
  std::optional<test::TemporaryFile> ca;

  // The test server with a certificate for localhost and 127.0.0.1, trusted.
  void use_tls(TlsMode mode, const std::vector<std::string>& names = {"localhost", "127.0.0.1"}) {
    const auto identity = authority.issue(names);
    options.tls_certificate_pem = identity.certificate_pem;
    options.tls_key_pem = identity.key_pem;
    options.listen = {{"127.0.0.1", 0, mode == TlsMode::implicit}};
    ca.emplace(authority.certificate_pem());
    server_options.tls = mode;
    server_options.tls_options.ca_file = ca->path();
  }
  void without(std::vector<std::string> names) {
    options.capabilities = testimapd::capabilities_of("full");
    std::erase_if(options.capabilities,
                  [&](const auto& c) { return std::ranges::find(names, c) != names.end(); });
  }
  std::vector<std::string> logged_commands() {
    std::vector<std::string> names;
    for (const auto& entry : imapd->log()) names.push_back(entry.name);
    return names;
  }
};

TEST_F(LoginTest, AsksOnlyForWhatItWasNotTold) {
  start();
  EXPECT_TRUE(connect());
  EXPECT_TRUE(pool->connected());
  // One round trip to sign in, one to enable.
  EXPECT_THAT(logged_commands(), ElementsAre("AUTHENTICATE", "ENABLE"));
  EXPECT_EQ(pool->tiers().sync, imap::SyncTier::qresync);
  EXPECT_THAT(account.events, ElementsAre("connected"));
  EXPECT_TRUE(connect());  // nothing more
  EXPECT_EQ(imapd->counts().commands_total(), 2u);
  const auto& counters = server->counters();
  EXPECT_EQ(counters.logins, 1u);
  EXPECT_EQ(counters.connections_open, 1u);
  EXPECT_EQ(counters.logins_in_flight, 0u);
  EXPECT_EQ(counters.commands.at("AUTHENTICATE"), 1u);
  EXPECT_EQ(counters.bytes_in, imapd->counts().bytes_out);
  EXPECT_EQ(counters.bytes_out, imapd->counts().bytes_in);
  const auto info = pool->connections().at(0);
  EXPECT_EQ(info.peer, "127.0.0.1:" + std::to_string(imapd->port()));
  EXPECT_FALSE(info.tls);
  EXPECT_EQ(info.tier, "qresync/notify");
}

TEST_F(LoginTest, AsksForCapabilitiesWhereTheServerIsSilent) {
  options.quirks.capability_code = false;
  start();
  EXPECT_TRUE(connect());
  EXPECT_THAT(logged_commands(), ElementsAre("CAPABILITY", "AUTHENTICATE", "CAPABILITY", "ENABLE"));
}

TEST_F(LoginTest, TakesAnUntaggedCapabilityAfterTheLogin) {
  options.quirks.capability_code = false;
  options.quirks.capability_untagged = true;
  start();
  EXPECT_TRUE(connect());
  EXPECT_THAT(logged_commands(), ElementsAre("CAPABILITY", "AUTHENTICATE", "ENABLE"));
}

TEST_F(LoginTest, IdTellsDovecotWhereThereIsNoOtherIdentity) {
  options.capabilities = testimapd::capabilities_of("dovecot");
  options.id = {{"name", "Dovecot"}};
  start();
  EXPECT_TRUE(connect());
  EXPECT_THAT(logged_commands(), ElementsAre("AUTHENTICATE", "ENABLE", "ID"));
  EXPECT_TRUE(pool->capabilities().has(imap::Capability::x_guid));
  EXPECT_EQ(pool->tiers().identity, imap::IdentityTier::guid);
}

TEST_F(LoginTest, TheClientsAddressWhereConfigured) {
  server_options.send_client_id = true;
  start();
  EXPECT_TRUE(connect());
  EXPECT_THAT(logged_commands(), ElementsAre("ID", "AUTHENTICATE", "ENABLE"));
  EXPECT_THAT(imapd->log().at(0).line, HasSubstr("\"x-originating-ip\" \"192.0.2.7\""));
}

TEST_F(LoginTest, CondstoreOnlyAndNeither) {
  without({"QRESYNC"});
  start();
  EXPECT_TRUE(connect());
  EXPECT_EQ(pool->tiers().sync, imap::SyncTier::condstore);
  EXPECT_THAT(imapd->log().back().line, HasSubstr("ENABLE CONDSTORE"));
}

// --- Mechanisms ---

struct MechanismTest : LoginTest {
  void expect_login() {
    auto connected = connect();
    ASSERT_TRUE(connected) << connected.error().to_string();
    EXPECT_EQ(imapd->counts().logins, 1u);
    EXPECT_EQ(imapd->counts("alice").logins, 1u);
  }
};

TEST_F(MechanismTest, PlainWithoutInitialResponse) {
  without({"SASL-IR"});
  start();
  expect_login();
  EXPECT_THAT(imapd->log().at(0).line, HasSubstr("AUTHENTICATE PLAIN"));
}

TEST_F(MechanismTest, LoginMechanism) {
  server_options.password_mechanism = PasswordMechanism::login_mechanism;
  start();
  expect_login();
  EXPECT_THAT(imapd->log().at(0).line, HasSubstr("AUTHENTICATE LOGIN"));
}

TEST_F(MechanismTest, LoginCommandWithAPasswordThatNeedsALiteral) {
  options.users["alice"] = "p\xc3\xa4ss \"wort\\";
  server_options.password_mechanism = PasswordMechanism::login_command;
  without({"LITERAL+"});
  start(password("alice", "p\xc3\xa4ss \"wort\\"));
  expect_login();
  EXPECT_EQ(commands("LOGIN"), 1u);
}

TEST_F(MechanismTest, LoginDisabledIsRespected) {
  options.capabilities_before_login = {"IMAP4rev1", "LOGINDISABLED"};
  start();
  EXPECT_FAILS(connect(), Errc::no_mechanism);
  EXPECT_EQ(imapd->counts().commands_total(), 0u);
}

TEST_F(MechanismTest, OauthBearerAndXoauth2) {
  options.oauth_tokens["alice"] = "good.token";
  for (const auto mechanism : {OauthMechanism::oauthbearer, OauthMechanism::xoauth2}) {
    for (const bool initial : {true, false}) {
      without(initial ? std::vector<std::string>{} : std::vector<std::string>{"SASL-IR"});
      server_options.oauth_mechanism = mechanism;
      auto credentials = password("alice", "good.token");
      credentials.kind = Credentials::Kind::oauth;
      start(std::move(credentials));
      expect_login();
      pool.reset();
      auto wrong = password("alice", "stale.token");
      wrong.kind = Credentials::Kind::oauth;
      pool = Pool::make(loop, *server, std::move(wrong), nullptr, {});
      EXPECT_FAILS(connect(), Errc::authentication);
      EXPECT_EQ(imapd->counts().login_failures, 1u);
      // A fresh token is used at once.
      auto fresh = password("alice", "good.token");
      fresh.kind = Credentials::Kind::oauth;
      pool->replace_credentials(std::move(fresh));
      EXPECT_TRUE(connect());
      pool.reset();
    }
  }
}

TEST_F(MechanismTest, MasterUsers) {
  options.master_user = "root";
  options.master_password = "master-secret";
  for (const char* format : {"", "{user}*{master}"}) {
    server_options.master_user_format = format;
    // The test server knows the second way in LOGIN only.
    server_options.password_mechanism =
        *format == 0 ? PasswordMechanism::plain : PasswordMechanism::login_command;
    auto credentials = password("alice", "master-secret");
    credentials.kind = Credentials::Kind::master;
    credentials.master_login = "root";
    start(std::move(credentials));
    expect_login();
    pool.reset();
  }
}

// --- TLS ---

TEST_F(LoginTest, ImapsWithACustomCaAndResumption) {
  use_tls(TlsMode::implicit);
  start();
  auto connected = connect();
  ASSERT_TRUE(connected) << connected.error().to_string();
  EXPECT_TRUE(pool->connections().at(0).tls);
  EXPECT_EQ(server->counters().tls_resumptions, 0u);
  auto second = Pool::make(loop, *server, password(), nullptr, {});
  EXPECT_TRUE(await(second->connect()));
  EXPECT_EQ(server->counters().tls_resumptions, 1u);
}

TEST_F(LoginTest, StarttlsDropsWhatWasSaidBefore) {
  use_tls(TlsMode::starttls);
  start();
  auto connected = connect();
  ASSERT_TRUE(connected) << connected.error().to_string();
  // The greeting told capabilities in the clear; they are asked for again.
  EXPECT_THAT(logged_commands(), ElementsAre("STARTTLS", "CAPABILITY", "AUTHENTICATE", "ENABLE"));
  EXPECT_TRUE(pool->connections().at(0).tls);
}

TEST_F(LoginTest, StarttlsRefused) {
  server_options.tls = TlsMode::starttls;
  start();  // the server has no certificate
  EXPECT_FAILS(connect(), Errc::not_secure);
  EXPECT_EQ(commands("AUTHENTICATE") + commands("LOGIN"), 0u);
}

TEST_F(LoginTest, OctetsBehindTheAnswerToStarttlsEndIt) {
  server_options.tls = TlsMode::starttls;
  test::ScriptServer script([](test::ScriptServer::Peer& peer) {
    peer.send("* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hello\r\n");
    const auto tag = peer.tag_of_line();
    peer.send(tag + " OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN X-INJECTED\r\n");
    peer.wait_for_end();
  });
  connect_to(script.port);
  auto connected = connect();
  EXPECT_FAILS(connected, Errc::not_secure);
  EXPECT_THAT(connected.error().context, HasSubstr("STARTTLS"));
  EXPECT_EQ(script.received().find("AUTHENTICATE"), std::string::npos);
}

// In a segment of their own they meet OpenSSL, which takes them for a broken record.
TEST_F(LoginTest, OctetsThatFollowLaterEndItToo) {
  server_options.tls = TlsMode::starttls;
  test::ScriptServer script([](test::ScriptServer::Peer& peer) {
    peer.send("* OK hello\r\n");
    const auto tag = peer.tag_of_line();
    peer.send(tag + " OK begin\r\n");
    peer.send("* CAPABILITY IMAP4rev1 AUTH=PLAIN X-INJECTED\r\n");
    peer.wait_for_end();
  });
  connect_to(script.port);
  EXPECT_FAILS(connect(), Errc::not_secure);
  EXPECT_EQ(script.received().find("AUTHENTICATE"), std::string::npos);
}

TEST_F(LoginTest, CertificatesThatDoNotFit) {
  use_tls(TlsMode::implicit, {"mail.example.com"});
  start();
  auto connected = connect();
  EXPECT_FAILS(connected, Errc::not_secure);
  EXPECT_THAT(connected.error().context, HasSubstr("another name"));
  EXPECT_EQ(imapd->counts().commands_total(), 0u);

  const test::TestCa other;
  ca.emplace(other.certificate_pem());
  server_options.tls_options.ca_file = ca->path();
  connect_to(imapd->port());
  connected = connect();
  EXPECT_FAILS(connected, Errc::not_secure);
  EXPECT_THAT(connected.error().context, HasSubstr("not valid"));

  server_options.tls_options.verify = false;
  server_options.tls_options.pins_sha256 = {test::public_key_pin(other.certificate_pem())};
  connect_to(imapd->port());
  EXPECT_FAILS(connect(), Errc::not_secure);
  server_options.tls_options.pins_sha256 = {test::public_key_pin(options.tls_certificate_pem)};
  connect_to(imapd->port());
  EXPECT_TRUE(connect());
}

TEST_F(LoginTest, TlsOptionsThatCanNotBeUsed) {
  server_options.tls = TlsMode::implicit;
  server_options.tls_options.ca_file = "/nonexistent/ca.pem";
  EXPECT_FALSE(Server::make(loop, server_options));
}

// --- What must not happen ---

TEST_F(LoginTest, ControlCharactersNeverReachTheWire) {
  start();
  for (const auto& bad : {std::string("al\r\nice"), std::string("al\0ice", 6), std::string("alice\n")}) {
    pool = Pool::make(loop, *server, password(bad), nullptr, {});
    EXPECT_FAILS(connect(), Errc::authentication);
    pool = Pool::make(loop, *server, password("alice", bad), nullptr, {});
    EXPECT_FAILS(connect(), Errc::authentication);
  }
  EXPECT_EQ(imapd->counts().connections_total, 0u);
}

TEST_F(LoginTest, AWrongPasswordIsTriedOnce) {
  start(password("alice", "wr0ng-p4ss"));
  EXPECT_FAILS(connect(), Errc::authentication);
  EXPECT_TRUE(pool->refused());
  RecordingObserver observer;
  EXPECT_FAILS(select("INBOX", observer), Errc::authentication);
  clock.advance(1h);
  EXPECT_FAILS(connect(), Errc::authentication);
  EXPECT_EQ(imapd->counts().login_failures, 1u);
  EXPECT_EQ(imapd->counts().connections_total, 1u);
  EXPECT_EQ(server->counters().login_refusals, 1u);
  pool->replace_credentials(password());
  EXPECT_FALSE(pool->refused());
  EXPECT_TRUE(connect());
}

TEST_F(LoginTest, NoSecretInTheLogOrInErrors) {
  std::string errors;
  for (const auto mechanism :
       {PasswordMechanism::plain, PasswordMechanism::login_command, PasswordMechanism::login_mechanism}) {
    server_options.password_mechanism = mechanism;
    start(password("alice", "wr0ng-p4ss"));
    errors += connect().error().to_string();
    imapd->control("on LOGIN times=always do reply BAD what is LOGIN alice wr0ng-p4ss");
    imapd->control("on AUTHENTICATE times=always do reply NO [UNAVAILABLE] wr0ng-p4ss");
    pool = Pool::make(loop, *server, password("alice", "wr0ng-p4ss"), nullptr, {});
    errors += connect().error().to_string();
    imapd->control("clear_rules");
    imapd->control("on LOGIN times=always do bye sorry about wr0ng-p4ss");
    imapd->control("on AUTHENTICATE times=always do bye sorry about wr0ng-p4ss");
    pool = Pool::make(loop, *server, password("alice", "wr0ng-p4ss"), nullptr, {});
    errors += connect().error().to_string();
    pool.reset();
  }
  EXPECT_FALSE(errors.empty());
  EXPECT_THAT(errors, Not(HasSubstr("wr0ng-p4ss")));
  EXPECT_THAT(errors, Not(HasSubstr(base64_encode("wr0ng-p4ss"))));
  EXPECT_GT(logger.lines().size(), 3u);
  EXPECT_EQ(logger.count("wr0ng-p4ss"), 0u);
  EXPECT_EQ(logger.count(base64_encode("wr0ng-p4ss")), 0u);
}

}  // namespace
}  // namespace postern::session
