// What is said in each SASL mechanism, which one is chosen, and how refusals are understood. No I/O.
#include "session/sasl.hpp"

#include <gmock/gmock.h>

#include "postern/base/encoding.hpp"
#include "session_fixture.hpp"

namespace postern::session {
namespace {

imap::CapabilitySet capabilities(std::vector<std::string> names) { return imap::CapabilitySet(names); }

Credentials oauth(std::string_view token) {
  auto credentials = password("a,b=c@example.com", token);
  credentials.kind = Credentials::Kind::oauth;
  return credentials;
}

// What the command says, and the answers to these challenges.
struct Dialogue {
  std::string line;
  std::vector<std::string> answers;
};
Dialogue talk(Authentication& authentication, const imap::CapabilitySet& set,
              std::vector<std::string> challenges) {
  Dialogue dialogue;
  auto command = authentication.command(set);
  EXPECT_TRUE(command) << command.error().to_string();
  EXPECT_TRUE(command->secret && command->exclusive && !command->repeatable);
  for (const auto& chunk : command->chunks) dialogue.line += chunk;
  imap::CommandSink& sink = authentication;
  for (const auto& challenge : challenges) {
    imap::Continuation continuation;
    continuation.text = challenge;
    dialogue.answers.push_back(sink.on_continuation(continuation).value_or("none"));
  }
  return dialogue;
}

TEST(Sasl, PlainWithAndWithoutInitialResponse) {
  const ServerOptions options;
  const auto credentials = password();
  const auto said = base64_encode(std::string("\0alice\0secret", 13));
  Authentication with(AuthMethod::plain, credentials, options);
  EXPECT_EQ(talk(with, capabilities({"SASL-IR"}), {}).line, "AUTHENTICATE PLAIN " + said);
  Authentication without(AuthMethod::plain, credentials, options);
  const auto dialogue = talk(without, {}, {"", ""});
  EXPECT_EQ(dialogue.line, "AUTHENTICATE PLAIN");
  EXPECT_THAT(dialogue.answers, ::testing::ElementsAre(said, "*"));
}

TEST(Sasl, TheLoginMechanism) {
  const ServerOptions options;
  const auto credentials = password();
  Authentication authentication(AuthMethod::login_mechanism, credentials, options);
  const auto dialogue =
      talk(authentication, capabilities({"SASL-IR"}), {"VXNlcm5hbWU6", "UGFzc3dvcmQ6", "more"});
  EXPECT_EQ(dialogue.line, "AUTHENTICATE LOGIN");
  EXPECT_THAT(dialogue.answers, ::testing::ElementsAre(base64_encode("alice"), base64_encode("secret"), "*"));
}

TEST(Sasl, TheLoginCommandQuotes) {
  const ServerOptions options;
  const auto credentials = password("al ice", "se\"cr\\et");
  Authentication authentication(AuthMethod::login_command, credentials, options);
  EXPECT_EQ(talk(authentication, {}, {}).line, "LOGIN \"al ice\" \"se\\\"cr\\\\et\"");
}

TEST(Sasl, OauthBearerAndItsErrorChallenge) {
  ServerOptions options;
  options.endpoint = {"imap.example.com", 993};
  const auto credentials = oauth("tok.en");
  Authentication authentication(AuthMethod::oauthbearer, credentials, options);
  const auto dialogue = talk(authentication, {}, {"", base64_encode(R"({"status":"invalid_token"})"), ""});
  EXPECT_EQ(base64_decode(dialogue.answers[0]),
            "n,a=a=2Cb=3Dc@example.com,\x01host=imap.example.com\x01port=993\x01"
            "auth=Bearer tok.en\x01\x01");
  EXPECT_EQ(dialogue.answers[1], "AQ==");
  EXPECT_EQ(dialogue.answers[2], "*");
  imap::StatusResponse no;
  no.status = imap::Status::no;
  static_cast<imap::CommandSink&>(authentication).on_done(fail(imap::Errc::no, "failed"), &no);
  EXPECT_FAILS(authentication.result(), Errc::authentication);
  EXPECT_THAT(authentication.result().error().context, ::testing::HasSubstr("invalid_token"));
}

TEST(Sasl, Xoauth2AndItsErrorChallenge) {
  const ServerOptions options;
  const auto credentials = oauth("tok.en");
  Authentication authentication(AuthMethod::xoauth2, credentials, options);
  const auto dialogue = talk(authentication, {}, {"", base64_encode(R"({"status":"400"})")});
  EXPECT_EQ(base64_decode(dialogue.answers[0]),
            "user=a,b=c@example.com\x01"
            "auth=Bearer tok.en\x01\x01");
  EXPECT_EQ(dialogue.answers[1], "");
}

TEST(Sasl, ATokenTooLongForALineWaitsForTheContinuation) {
  const ServerOptions options;
  const auto set = capabilities({"SASL-IR"});
  const auto credentials = oauth(std::string(9000, 't'));
  Authentication authentication(AuthMethod::xoauth2, credentials, options);
  const auto dialogue = talk(authentication, set, {""});
  EXPECT_EQ(dialogue.line, "AUTHENTICATE XOAUTH2");
  EXPECT_GT(dialogue.answers[0].size(), 9000u);
}

TEST(Sasl, MasterUsersByAuthzidOrByName) {
  ServerOptions options;
  auto credentials = password();
  credentials.kind = Credentials::Kind::master;
  credentials.master_login = "root";
  Authentication authzid(AuthMethod::plain, credentials, options);
  EXPECT_EQ(base64_decode(talk(authzid, {}, {""}).answers[0]), std::string("alice\0root\0secret", 17));
  options.master_user_format = "{user}*{master}";
  Authentication by_name(AuthMethod::login_command, credentials, options);
  EXPECT_EQ(talk(by_name, {}, {}).line, "LOGIN \"alice*root\" secret");
  // Who brings the separator along could choose the master.
  credentials.login = "alice*admin";
  EXPECT_FAILS(check_credentials(credentials, options), Errc::authentication);
}

TEST(Sasl, NothingWithControlCharactersIsTried) {
  const ServerOptions options;
  for (const auto& bad :
       {std::string("a\rb"), std::string("a\nb"), std::string("a\0b", 3), std::string("a\x01z")}) {
    EXPECT_FAILS(check_credentials(password(bad), options), Errc::authentication);
  }
  for (const auto& bad : {std::string("a\rb"), std::string("a\nb"), std::string("a\0b", 3), std::string()}) {
    EXPECT_FAILS(check_credentials(password("alice", bad), options), Errc::authentication);
  }
  EXPECT_FAILS(check_credentials(oauth("a\x01z"), options), Errc::authentication);
  EXPECT_FAILS(check_credentials(password(""), options), Errc::authentication);
  EXPECT_TRUE(check_credentials(password("alice", "tab\tand \xc3\xa4"), options));
}

TEST(Sasl, ChoosesTheMechanism) {
  ServerOptions options;
  const auto user = password();
  const auto choose = [&](std::vector<std::string> names) {
    return choose_method(user, options, capabilities(names));
  };
  EXPECT_EQ(choose({"AUTH=PLAIN", "AUTH=LOGIN"}), AuthMethod::plain);
  EXPECT_EQ(choose({"AUTH=LOGIN"}), AuthMethod::login_command);
  EXPECT_EQ(choose({"AUTH=LOGIN", "LOGINDISABLED"}), AuthMethod::login_mechanism);
  EXPECT_FAILS(choose({"LOGINDISABLED"}), Errc::no_mechanism);
  options.password_mechanism = PasswordMechanism::login_command;
  EXPECT_EQ(choose({"AUTH=PLAIN"}), AuthMethod::login_command);
  EXPECT_FAILS(choose({"AUTH=PLAIN", "LOGINDISABLED"}), Errc::no_mechanism);
  options.password_mechanism = PasswordMechanism::login_mechanism;
  EXPECT_EQ(choose({"AUTH=PLAIN", "AUTH=LOGIN"}), AuthMethod::login_mechanism);
  EXPECT_FAILS(choose({"AUTH=PLAIN"}), Errc::no_mechanism);
  options.password_mechanism = PasswordMechanism::plain;
  EXPECT_FAILS(choose({"AUTH=LOGIN"}), Errc::no_mechanism);

  const auto token = oauth("t");
  const auto choose_oauth = [&](std::vector<std::string> n) {
    return choose_method(token, options, capabilities(n));
  };
  EXPECT_EQ(choose_oauth({"AUTH=XOAUTH2", "AUTH=OAUTHBEARER"}), AuthMethod::oauthbearer);
  EXPECT_EQ(choose_oauth({"AUTH=XOAUTH2"}), AuthMethod::xoauth2);
  EXPECT_FAILS(choose_oauth({"AUTH=PLAIN"}), Errc::no_mechanism);
  options.oauth_mechanism = OauthMechanism::xoauth2;
  EXPECT_EQ(choose_oauth({"AUTH=XOAUTH2", "AUTH=OAUTHBEARER"}), AuthMethod::xoauth2);
  EXPECT_FAILS(choose_oauth({"AUTH=OAUTHBEARER"}), Errc::no_mechanism);

  auto master = password();
  master.kind = Credentials::Kind::master;
  options.password_mechanism = PasswordMechanism::automatic;
  EXPECT_FAILS(choose_method(master, options, capabilities({"AUTH=LOGIN"})), Errc::no_mechanism);
  EXPECT_EQ(choose_method(master, options, capabilities({"AUTH=PLAIN"})), AuthMethod::plain);
}

TEST(Sasl, ChoosesAmongTheMechanismsOfOtherServers) {
  ServerOptions options;
  const auto user = password();
  EXPECT_EQ(choose_mechanism(user, options, {"login", "plain"}), AuthMethod::plain);
  EXPECT_EQ(choose_mechanism(user, options, {"LOGIN"}), AuthMethod::login_mechanism);
  EXPECT_FAILS(choose_mechanism(user, options, {"CRAM-MD5"}), Errc::no_mechanism);
  EXPECT_EQ(choose_mechanism(oauth("t"), options, {"PLAIN", "XOAUTH2"}), AuthMethod::xoauth2);
  // IMAP's LOGIN command is nobody else's.
  options.password_mechanism = PasswordMechanism::login_command;
  EXPECT_FAILS(choose_mechanism(user, options, {"PLAIN", "LOGIN"}), Errc::no_mechanism);
}

TEST(Sasl, WhatARefusalMeans) {
  const ServerOptions options;
  const auto credentials = password();
  const auto meaning = [&](std::string code, imap::Status status = imap::Status::no) {
    Authentication authentication(AuthMethod::login_command, credentials, options);
    imap::StatusResponse refusal;
    refusal.status = status;
    refusal.code.name = std::move(code);
    const auto errc = status == imap::Status::no ? imap::Errc::no : imap::Errc::bad;
    static_cast<imap::CommandSink&>(authentication).on_done(fail(errc, "LOGIN alice secret"), &refusal);
    if (status == imap::Status::bad) {
      EXPECT_EQ(authentication.result().error().context.find("secret"), std::string::npos);
    }
    return authentication.result().error().code;
  };
  for (const char* code :
       {"", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "ALERT", "REFERRAL"}) {
    EXPECT_EQ(meaning(code), make_error_code(Errc::authentication)) << code;
  }
  for (const char* code : {"UNAVAILABLE", "INUSE", "CONTACTADMIN", "LIMIT", "SERVERBUG"}) {
    EXPECT_EQ(meaning(code), make_error_code(Errc::unavailable)) << code;
  }
  EXPECT_EQ(meaning("PRIVACYREQUIRED"), make_error_code(Errc::not_secure));
  EXPECT_EQ(meaning("", imap::Status::bad), make_error_code(Errc::unavailable));
}

}  // namespace
}  // namespace postern::session
