"""Signing in and out: /auth/login and /auth/logout, cookie and token, and what a page of another site can't do."""

import concurrent.futures

import pytest

from support import jmap, login


def api_status(client, **headers):
    body = {"using": [jmap.CORE], "methodCalls": [["Core/echo", {}, "c"]]}
    return client.post("/jmap/api", body, headers).status


def test_cookie(stack, web, reader):
    client = stack.client(web, login.origin(web))
    response = client.post("/auth/login", login.body(reader))
    assert response.status == 200
    assert "no-store" in response.header("Cache-Control")
    assert "token" not in response.json
    (name, (value, attributes)), = response.cookies().items()
    stack.run.register_secret(value)
    assert len(value) >= 32
    assert "httponly" in attributes and "secure" in attributes
    assert attributes["samesite"].lower() == "strict"
    assert attributes["path"] == "/"
    assert "domain" not in attributes
    client.headers["Cookie"] = f"{name}={value}"
    assert client.session["username"] == reader.user
    assert client.mailbox("inbox")["totalEmails"] == len(reader.inbox())


def test_cookie_works_without_origin_for_reading_urls(stack, web, reader):
    client = login.with_cookie(stack, web, reader)
    del client.headers["Origin"]
    assert client.get("/jmap/session").status == 200


@pytest.mark.parametrize("headers", (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": None},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"}))
def test_cross_site_request_is_refused(stack, web, reader, headers):
    client = login.with_cookie(stack, web, reader)
    assert api_status(client) == 200
    assert api_status(client, **headers) in (400, 403, 415)


def test_origin_of_another_port_or_scheme_is_another_site(stack, web, reader):
    client = login.with_cookie(stack, web, reader)
    assert api_status(client, Origin=web.tls_url) == 403
    assert api_status(client, Origin=web.url.replace("http:", "https:")) == 403


def test_token(stack, web, reader):
    client = stack.client(web)
    response = client.post("/auth/login", login.body(reader, token=True))
    assert response.status == 200
    token = stack.run.register_secret(response.json["token"])
    client.headers["Authorization"] = jmap.bearer(token)
    assert client.session["username"] == reader.user
    # A header that no other site's page can set needs no Origin.
    assert api_status(client, Origin="https://evil.example") == 200


def test_token_is_good_at_both_web_servers(stack, reader):
    client = login.with_token(stack, stack.nginx, reader)
    other = stack.client(stack.apache, client.headers)
    assert other.session["username"] == reader.user


@pytest.mark.parametrize("sign_in", (login.with_cookie, login.with_token))
def test_logout(stack, web, reader, sign_in):
    one, other = sign_in(stack, web, reader), sign_in(stack, web, reader)
    assert one.get("/jmap/session").status == 200
    response = one.post("/auth/logout", {})
    assert response.status in (200, 204)
    for _, attributes in response.cookies().values():
        assert attributes.get("max-age") == "0" or "expires" in attributes
    assert one.get("/jmap/session").status == 401
    assert api_status(one) == 401
    assert other.get("/jmap/session").status == 200


def test_logout_leaves_the_others_of_the_account_alone(stack, web, person):
    """Whoever uses the account by Basic goes on with the connection that is there."""
    phones = [person.client(web) for _ in range(4)]
    with stack.imap.counting() as counted:
        browser = login.with_cookie(stack, web, person)
        assert phones[0].mailboxes()
        with concurrent.futures.ThreadPoolExecutor(len(phones)) as pool:
            reading = [pool.submit(phone.mailboxes) for phone in phones]
            assert browser.post("/auth/logout", {}).status == 200
            assert all(job.result(30) for job in reading)
        assert phones[0].mailboxes()
    # The same credentials by login and by Basic: one verifier knows both.
    assert counted["LOGIN"] <= 2


def test_logout_by_another_site_is_refused(stack, web, reader):
    client = login.with_cookie(stack, web, reader)
    assert client.post("/auth/logout", {}, {"Origin": "https://evil.example"}).status == 403
    assert client.get("/jmap/session").status == 200


def test_wrong_password(stack, web, reader):
    wrong = stack.run.secret("wrong")
    response = stack.client(web, login.origin(web)).post("/auth/login", {"username": reader.user, "password": wrong})
    assert response.status == 401
    assert not response.cookies()
    assert reader.user.encode() not in response.body and wrong.encode() not in response.body


@pytest.mark.parametrize("body", (b"{", b"[]", b"{}", b'{"username": "x"}', b'{"username": 1, "password": "x"}',
                                  b'{"username": "", "password": ""}', b'{"username": null, "password": null}'))
def test_malformed_login(stack, web, body):
    response = stack.client(web, login.origin(web)).request(
        "POST", "/auth/login", body=body, headers={"Content-Type": "application/json"})
    assert response.status in (400, 401)
    assert not response.cookies()


def test_login_from_a_form_of_another_site_is_refused(stack, web, reader):
    body = f'{{"username": "{reader.user}", "password": "{reader.password}", "x": "="}}'.encode()
    response = stack.client(web).request("POST", "/auth/login", body=body, headers={
        "Content-Type": "text/plain", "Origin": "https://evil.example"})
    assert response.status in (400, 403, 415)
    assert not response.cookies()


@pytest.mark.parametrize("user, password", (
    ("evil\r\nA1 NOOP\r\n", "x"), ("evil", "x\r\nA1 NOOP\r\n"), ("evil\0", "x"), ("evil", "a\0b"),
    ("evil\" x", "\"\\"), ("{5}\r\nevil", "x"), ("é" * 3000, "x"), ("e" * 100000, "x")))
def test_nothing_in_a_login_reaches_imap_as_a_command(stack, web, user, password):
    with stack.imap.counting() as counted:
        response = stack.client(web, login.origin(web)).post("/auth/login", {"username": user, "password": password})
        assert response.status in (400, 401, 413)
    assert counted["NOOP"] == 0


@pytest.mark.parametrize("credential", ("basic", "cookie", "token"))
def test_one_imap_login_serves_many_requests(stack, web, person, credential):
    with stack.imap.counting() as counted:
        if credential == "basic":
            client = person.client(web)
        else:
            client = {"cookie": login.with_cookie, "token": login.with_token}[credential](stack, web, person)
        for _ in range(10):
            assert client.get("/jmap/session").status == 200
    assert counted["LOGIN"] == 1


def test_forged_and_stale_tokens(stack, web, reader):
    client = login.with_token(stack, web, reader)
    token = client.headers["Authorization"].split()[1]
    for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), token[1:], token + "A", "A" * len(token), ""):
        assert stack.client(web, {"Authorization": jmap.bearer(forged)}).get("/jmap/session").status in (400, 401)
    assert client.get("/jmap/session").status == 200
