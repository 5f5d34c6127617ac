"""Sign-in without a password of the person's: OAuth tokens, and people whom the web server has authenticated."""

import json
import os

import pytest

from support import fastcgi, jmap
from support.postern import Postern


@pytest.fixture(scope="module")
def postern(run, stack):
    """Broker and workers that take OAuth tokens and REMOTE_USER."""
    part = run.part("sso")
    secret = f"{part.dir}/master-password"
    with open(secret, "w", encoding="ascii") as out:
        out.write(stack.dovecot.master_password + "\n")
    os.chmod(secret, 0o600)
    part.own(secret)
    postern = Postern(part, {
        "imap": {"host": "127.0.0.1", "port": stack.imap.port, "tls": "none", "master_user_format": "{user}*{master}"},
        "auth": {"oauth": True, "trust_remote_user": True, "master_user": stack.dovecot.master_user,
                 "master_password_file": secret}})
    postern.start()
    yield postern
    postern.stop()


@pytest.fixture
def person(stack):
    return stack.person("sso", messages=50)


def session(postern, headers=None, extra=None):
    """(status, user name) of the session resource."""
    status, _, body = fastcgi.request(postern.worker_socket, "GET", "/jmap/session", headers, extra=extra)
    return status, json.loads(body)["username"] if status == 200 else None


def mailboxes(postern, headers=None, extra=None):
    """Mailbox/get by whoever this is."""
    _, _, body = fastcgi.request(postern.worker_socket, "GET", "/jmap/session", headers, extra=extra)
    account = json.loads(body)["primaryAccounts"][jmap.MAIL]
    request = json.dumps({"using": [jmap.CORE, jmap.MAIL],
                          "methodCalls": [["Mailbox/get", {"accountId": account}, "0"]]}).encode()
    status, _, body = fastcgi.request(postern.worker_socket, "POST", "/jmap/api", {
        "Content-Type": "application/json", "Origin": "https://localhost", **(headers or {})}, request, extra=extra)
    assert status == 200, body
    return json.loads(body)["methodResponses"][0][1]["list"]


def bearer(stack, person, lifetime_s=3600):
    return {"Authorization": jmap.bearer(stack.dovecot.token(person.user, lifetime_s))}


def test_oauth_token(stack, postern, person):
    with stack.imap.counting() as counted:
        headers = bearer(stack, person)
        assert session(postern, headers) == (200, person.user)
        assert any(box["role"] == "inbox" for box in mailboxes(postern, headers))
    assert counted["LOGIN"] == 1


def test_fresh_oauth_token_finds_the_same_account(stack, postern, person):
    assert session(postern, bearer(stack, person)) == (200, person.user)
    with stack.imap.counting() as counted:
        assert session(postern, bearer(stack, person)) == (200, person.user)
        assert mailboxes(postern, bearer(stack, person))
    # Each fresh token is tried once, for nobody else can say whether it is good.
    assert counted["LOGIN"] <= 2


@pytest.mark.parametrize("token", ("expired", "of a stranger", "no token at all"))
def test_wrong_oauth_token(stack, postern, person, token):
    value = {"expired": stack.dovecot.token(person.user, -60),
             "of a stranger": stack.dovecot.token(person.user)[:-6] + "AAAAAA",
             "no token at all": "a.b.c"}[token]
    if len(value) > 20:
        stack.run.register_secret(value)
    assert session(postern, {"Authorization": jmap.bearer(value)})[0] == 401


def test_oauth_is_off_unless_configured(stack, person):
    status, _, _ = fastcgi.request(stack.postern.worker_socket, "GET", "/jmap/session", bearer(stack, person))
    assert status == 401


def test_remote_user(stack, postern, person):
    with stack.imap.counting() as counted:
        extra = {"REMOTE_USER": person.user}
        assert session(postern, extra=extra) == (200, person.user)
        assert any(box["role"] == "inbox" for box in mailboxes(postern, extra=extra))
    assert counted["LOGIN"] == 1


def test_remote_user_comes_from_the_web_server_alone(postern, person):
    for name in ("Remote-User", "X-Remote-User", "X-Forwarded-User"):
        assert session(postern, {name: person.user})[0] == 401


@pytest.mark.parametrize("user", ("a*b", "a\r\nb", "*", "x" * 2000))
def test_remote_user_that_is_no_name(stack, postern, user):
    with stack.imap.counting() as counted:
        assert session(postern, extra={"REMOTE_USER": user})[0] in (400, 401, 403)
    assert counted["NOOP"] == 0


def test_remote_user_is_ignored_unless_configured(stack, person):
    status, _, _ = fastcgi.request(stack.postern.worker_socket, "GET", "/jmap/session",
                                   extra={"REMOTE_USER": person.user})
    assert status == 401


def test_basic_header_is_no_remote_user(stack, person):
    """nginx would call anybody's claim $remote_user: the snippet must not pass it."""
    client = stack.client(stack.nginx, {"Authorization": jmap.basic(person.user, "not-the-password")})
    assert client.get("/jmap/session").status == 401
