"""Sign-in without a password of the person's: OAuth tokens, and people whom the web server has authenticated."""

import base64
import json
import os
import time

import pytest

from support import fastcgi, jmap
from support.postern import Postern
from support.processes import wait_for


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


def mailbox_get(postern, headers=None, extra=None):
    """The body of a Mailbox/get by whoever this is."""
    _, _, body = fastcgi.request(postern.worker_socket, "GET", "/jmap/session", headers, extra=extra)
    account = json.loads(body)["primaryAccounts"][jmap.MAIL]
    return json.dumps({"using": [jmap.CORE, jmap.MAIL],
                       "methodCalls": [["Mailbox/get", {"accountId": account}, "0"]]}).encode()


def mailboxes(postern, headers=None, extra=None):
    """Mailbox/get by whoever this is."""
    request = mailbox_get(postern, headers, extra)
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


def log_in(stack, postern, oauth_token, headers=None, token=True):
    """What /auth/login answers to an access token: the header that goes on with the new session."""
    claims = json.loads(base64.urlsafe_b64decode(oauth_token.split(".")[1] + "==="))
    body = json.dumps({"username": claims["sub"], "accessToken": oauth_token, "token": token}).encode()
    status, fields, content = fastcgi.request(postern.worker_socket, "POST", "/auth/login", {
        "Content-Type": "application/json", **(headers or {})}, body)
    assert status == 200, content
    if token:
        return {"Authorization": jmap.bearer(stack.run.register_secret(json.loads(content)["token"]))}
    cookie = fields["set-cookie"].split(";")[0]
    stack.run.register_secret(cookie.split("=", 1)[1])
    return {"Cookie": cookie}


def restart_when_expired(postern, ends):
    wait_for(lambda: time.time() > ends, "the end of the first token")
    postern.broker.restart()


def test_a_session_is_kept_alive_by_a_fresh_oauth_token(stack, postern, person):
    """Shown beside a session, at a login or in Authorization, it takes the place of the one that is sealed there."""
    first, ends = stack.dovecot.token(person.user, 3), time.time() + 4
    by_login = log_in(stack, postern, first)
    by_cookie = log_in(stack, postern, first, token=False)
    log_in(stack, postern, stack.dovecot.token(person.user), by_login)
    assert session(postern, {**bearer(stack, person), **by_cookie}) == (200, person.user)
    stranger = stack.person("sso", messages=0)
    assert session(postern, {**bearer(stack, stranger), **by_cookie}) == (200, stranger.user)
    restart_when_expired(postern, ends)
    assert mailboxes(postern, by_login)
    postern.broker.restart()
    assert mailboxes(postern, by_cookie)


def test_a_session_with_a_good_token_outlives_one_with_an_expired_one(stack, postern, person):
    first, ends = stack.dovecot.token(person.user, 3), time.time() + 4
    old, new = log_in(stack, postern, first), log_in(stack, postern, stack.dovecot.token(person.user))
    restart_when_expired(postern, ends)
    # The account is opened with the old session's token, which is tried when the new one asks for mail.
    assert session(postern, old) == (200, person.user)
    assert mailboxes(postern, new)
    postern.broker.restart()
    assert session(postern, old) == (200, person.user)
    # Also where something of the request can be answered without the IMAP server.
    request = json.loads(mailbox_get(postern, old))
    request["methodCalls"].insert(0, ["Core/echo", {}, "e"])
    status, _, _ = fastcgi.request(postern.worker_socket, "POST", "/jmap/api",
                                   {"Content-Type": "application/json", **old}, json.dumps(request).encode())
    assert status == 401
    assert session(postern, old)[0] == 401
    assert mailboxes(postern, new)


def test_a_page_of_another_site_cannot_use_remote_user(stack, postern, person):
    extra = {"REMOTE_USER": person.user}
    body = b'{"using": ["urn:ietf:params:jmap:core"], "methodCalls": [["Core/echo", {}, "c"]]}'
    for origin, expected in ((None, 200), ("https://localhost", 200), ("https://evil.example", 403), ("null", 403)):
        headers = {"Content-Type": "application/json", **({"Origin": origin} if origin else {})}
        status, _, _ = fastcgi.request(postern.worker_socket, "POST", "/jmap/api", headers, body, extra=extra)
        assert status == expected, origin


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
