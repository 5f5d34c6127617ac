"""The outgoing mail server's certificate, and how people and relays sign in there: over STARTTLS and implicit TLS, with
passwords and OAuth tokens. With Dovecot, whose tokens they are.
"""

import os

import pytest

from conftest import running
from support import jmap
from support.sending import Sender, outgoing
from support.smtp import Script, SmtpServer
from support.stack import Stack

RELAY_PASSWORD = "relay-password-2"


@pytest.fixture(scope="module", params=["starttls", "implicit"])
def smtp(request, pki):
    server = SmtpServer(pki, request.param)
    yield server
    server.close()


@pytest.fixture(scope="module")
def stack(run, pki, smtp):
    yield from running(Stack, run.part(f"smtp-{smtp.tls}"), pki, {
        "auth": {"oauth": True}, **outgoing(run, smtp, f"smtp-{smtp.tls}", host="localhost", tls=smtp.tls,
                                            ca_file=pki.ca)}, apache=False)


@pytest.fixture
def fresh(smtp):
    smtp.reset()
    smtp.mechanisms = "PLAIN LOGIN"
    smtp.passwords, smtp.tokens = {"nobody": "nothing"}, {}
    return smtp


def with_token(stack, smtp, label, lifetime_s=3600):
    """A Sender who signs in to Postern with an OAuth token, which the outgoing mail server takes as well."""
    token = None

    def client(person):
        nonlocal token
        token = stack.dovecot.token(person.user, lifetime_s)
        return stack.client(stack.nginx, {"Authorization": jmap.bearer(token)})

    sender = Sender(stack, smtp, label, client)
    del smtp.passwords[sender.person.user]
    smtp.tokens[sender.person.user] = token
    return sender


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_with_ones_own_password(stack, fresh, mechanism):
    fresh.mechanisms = mechanism
    sender = Sender(stack, fresh, mechanism)
    assert sender.submitted(sender.draft())["undoStatus"] == "final"
    message, = fresh.messages
    assert (message.login, message.tls) == (sender.person.user, True)
    assert [command for command in fresh.commands if command.startswith("AUTH")] == [f"AUTH {mechanism}"]
    assert b"Bcc: secret" not in message.content and b"hidden" not in message.content


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_with_ones_own_token(stack, fresh, mechanism):
    fresh.mechanisms = f"PLAIN LOGIN {mechanism}"
    sender = with_token(stack, fresh, mechanism)
    assert sender.submitted(sender.draft())["undoStatus"] == "final"
    message, = fresh.messages
    assert (message.login, message.tls) == (sender.person.user, True)
    assert f"AUTH {mechanism}" in fresh.commands


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"])
def test_what_is_refused(stack, fresh, mechanism):
    """The server's words stay away: they may quote what was sent. (What logs hold is looked at after the run.)"""
    fresh.mechanisms = mechanism
    oauth = "OAUTH" in mechanism
    sender = with_token(stack, fresh, "refused") if oauth else Sender(stack, fresh, "refused")
    (fresh.tokens if oauth else fresh.passwords)[sender.person.user] = "another one"
    email = sender.draft()
    refused = sender.refused(email)
    assert refused["type"] == "forbiddenToSend" and refused["description"].startswith("535 5.7.8")
    assert "wrong" not in refused["description"] and not fresh.messages


def test_a_token_needs_a_mechanism_for_tokens(stack, fresh):
    sender = with_token(stack, fresh, "none")
    assert sender.refused(sender.draft())["type"] == "forbiddenToSend"
    assert not [command for command in fresh.commands if command.startswith("AUTH")]


@pytest.mark.parametrize("certificate", ["other", "stranger", "expired"])
def test_a_wrong_certificate_gets_nothing(stack, fresh, pki, certificate):
    sender = Sender(stack, fresh, certificate)
    email = sender.draft()
    fresh.use_certificate(getattr(pki, certificate))
    try:
        refused = sender.refused(email)
        assert refused["type"] == "serverUnavailable" and "securely" in refused["description"]
        assert not [command for command in fresh.commands if command.split(" ")[0] not in ("EHLO", "STARTTLS", "QUIT")]
        assert not fresh.messages
    finally:
        fresh.use_certificate(pki.localhost)
    assert sender.submitted(email)["undoStatus"] == "final"


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "220 go ahead\r\n250 said before TLS"])
def test_starttls_that_goes_wrong(stack, fresh, answer):
    if fresh.tls != "starttls":
        pytest.skip("there is no STARTTLS")
    sender = Sender(stack, fresh, "injected")
    fresh.script = Script(answers={"STARTTLS": answer})
    refused = sender.refused(sender.draft())
    assert refused["type"] == "serverUnavailable" and "securely" in refused["description"]
    assert fresh.commands[-1] in ("STARTTLS", "QUIT") and not fresh.messages


@pytest.fixture(scope="module")
def relay_stack(run, pki, smtp):
    secret = run.make_dir(f"relay-{smtp.tls}", mode=0o700) + "/password"
    with open(secret, "w", encoding="ascii") as out:
        out.write(run.register_secret(RELAY_PASSWORD) + "\n")
    os.chmod(secret, 0o600)
    run.own(os.path.dirname(secret))
    yield from running(Stack, run.part(f"relay-{smtp.tls}"), pki, {"auth": {"oauth": True}, **outgoing(
        run, smtp, f"relay-{smtp.tls}", host="localhost", tls=smtp.tls, ca_file=pki.ca, sign_in="relay", user="relay",
        password_file=secret)}, apache=False)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("token", [False, True])
def test_with_a_relays_password(relay_stack, fresh, mechanism, token):
    """Whatever the person signs in to Postern with."""
    fresh.mechanisms = mechanism
    sender = with_token(relay_stack, fresh, "relayed") if token else Sender(relay_stack, fresh, "relayed")
    fresh.passwords, fresh.tokens = {"relay": RELAY_PASSWORD}, {}
    assert sender.submitted(sender.draft())["undoStatus"] == "final"
    message, = fresh.messages
    assert (message.login, message.sender, message.tls) == ("relay", sender.address, True)
