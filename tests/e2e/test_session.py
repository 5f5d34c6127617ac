"""The way in: /.well-known/jmap, the session resource, and requests that are refused as a whole (RFC 8620, 2 and 3)."""

import pytest

from support import jmap

CORE_LIMITS = ("maxSizeUpload", "maxConcurrentUpload", "maxSizeRequest", "maxConcurrentRequests", "maxCallsInRequest",
               "maxObjectsInGet", "maxObjectsInSet")
PROBLEM = "urn:ietf:params:jmap:error:"


def follow(client, path):
    """GET, following at most a few redirects, as a client does with /.well-known/jmap."""
    for _ in range(4):
        response = client.get(path)
        if response.status not in (301, 302, 303, 307, 308):
            return response
        path = response.header("Location")
    raise AssertionError(f"too many redirects, last to {path}")


def test_well_known_leads_to_the_session(web, reader):
    response = follow(reader.client(web), "/.well-known/jmap")
    assert response.status == 200
    assert response.json["username"] == reader.user


@pytest.mark.parametrize("tls", (False, True))
def test_session_resource(web, reader, tls):
    client = reader.client(web, tls)
    response = client.get("/jmap/session")
    assert response.status == 200
    assert response.header("Content-Type").split(";")[0] == "application/json"
    assert "no-store" in response.header("Cache-Control")
    session = response.json
    for limit in CORE_LIMITS:
        assert session["capabilities"][jmap.CORE][limit] > 0, limit
    assert isinstance(session["capabilities"][jmap.CORE]["collationAlgorithms"], list)
    assert session["capabilities"][jmap.MAIL] == {}
    account_id = session["primaryAccounts"][jmap.MAIL]
    account = session["accounts"][account_id]
    assert account["isPersonal"] is True and account["name"]
    mail = account["accountCapabilities"][jmap.MAIL]
    assert "receivedAt" in mail["emailQuerySortOptions"]
    assert mail["maxMailboxesPerEmail"] is None or mail["maxMailboxesPerEmail"] >= 1
    assert session["state"]
    for name, variables in (("apiUrl", ()), ("downloadUrl", ("accountId", "blobId", "type", "name")),
                            ("uploadUrl", ("accountId",)), ("eventSourceUrl", ("types", "closeafter", "ping"))):
        assert session[name].startswith(client.url + "/"), f"{name}: {session[name]}"
        for variable in variables:
            assert "{" + variable + "}" in session[name]


def test_session_state_comes_with_each_answer(web, reader):
    client = reader.client(web)
    response = client.api([["Core/echo", {"hello": True}, "c1"]])
    assert response.json["sessionState"] == client.session["state"]


def test_no_credentials(stack, web):
    for path in ("/jmap/session", "/jmap/api"):
        client = stack.client(web)
        response = client.get(path) if path.endswith("session") else client.post(path, {})
        assert response.status == 401
        assert "basic" in response.header("WWW-Authenticate").lower()


def test_wrong_password(stack, web):
    stranger = stack.person("stranger", messages=0)
    wrong = stack.run.secret("wrong")
    response = stack.client(web, {"Authorization": jmap.basic(stranger.user, wrong)}).get("/jmap/session")
    assert response.status == 401
    assert stranger.user.encode() not in response.body and b"AUTHENTICATIONFAILED" not in response.body
    listed = str(stack.postern.control("accounts")) + str(stack.postern.control("sessions"))
    assert stranger.user not in listed


@pytest.mark.parametrize("authorization", ("Basic", "Basic !!!", "Basic " + "QUFB" * 20000, "Bearer", "Bearer nonsense",
                                           "Digest x", "Basic OnB3", "Basic dXNlcg=="))
def test_malformed_authorization(stack, web, authorization):
    response = stack.client(web, {"Authorization": authorization}).get("/jmap/session")
    # A header beyond the web server's own limit is refused there.
    assert response.status in ((400, 413, 414, 431, 494) if len(authorization) > 8000 else (400, 401))


@pytest.mark.parametrize("path", ("/jmap/nothing", "/jmap/", "/jmap/download/x", "/jmap/api/more"))
def test_unknown_paths(web, reader, path):
    assert reader.client(web).get(path).status == 404


@pytest.mark.parametrize("method, path", (("POST", "/jmap/session"), ("GET", "/jmap/api"), ("DELETE", "/jmap/api"),
                                          ("GET", "/auth/login")))
def test_wrong_method(web, reader, method, path):
    response = reader.client(web).request(method, path)
    assert response.status == 405
    assert response.header("Allow")


def test_core_echo(web, reader):
    arguments = {"hello": True, "text": "naïve \U0001F600 \u0001", "nested": [1, {"a": None}], "number": 1.5}
    (name, echoed, call_id), = reader.client(web).calls([["Core/echo", arguments, "b3ff"]])
    assert (name, echoed, call_id) == ("Core/echo", arguments, "b3ff")


@pytest.mark.parametrize("body, error", (
    (b"{", "notJSON"),
    (b"\xff\xfe", "notJSON"),
    (b"[]", "notRequest"),
    (b'{"using": []}', "notRequest"),
    (b'{"using": "urn:ietf:params:jmap:core", "methodCalls": []}', "notRequest"),
    (b'{"using": ["urn:ietf:params:jmap:core"], "methodCalls": [["Core/echo", {}]]}', "notRequest"),
    (b'{"using": ["urn:ietf:params:jmap:core", "https://example.com/apis/foobar"], "methodCalls": []}',
     "unknownCapability")))
def test_request_level_errors(web, reader, body, error):
    client = reader.client(web)
    response = client.request("POST", "/jmap/api", body=body, headers={"Content-Type": "application/json"})
    assert response.status == 400
    assert response.header("Content-Type").split(";")[0] == "application/problem+json"
    problem = response.json
    assert problem["type"] == PROBLEM + error
    assert problem["status"] == 400


def test_not_json_by_content_type(web, reader):
    response = reader.client(web).request("POST", "/jmap/api", body=b'{"using": [], "methodCalls": []}',
                                          headers={"Content-Type": "text/plain"})
    assert response.status == 400
    assert response.json["type"] == PROBLEM + "notJSON"


def test_too_many_calls(web, reader):
    client = reader.client(web)
    limit = client.session["capabilities"][jmap.CORE]["maxCallsInRequest"]
    assert len(client.calls([["Core/echo", {}, str(n)] for n in range(limit)])) == limit
    response = client.api([["Core/echo", {}, str(n)] for n in range(limit + 1)])
    assert response.status == 400
    assert response.json["type"] == PROBLEM + "limit"
    assert response.json["limit"] == "maxCallsInRequest"


def test_too_large_request(web, reader):
    client = reader.client(web)
    limit = client.session["capabilities"][jmap.CORE]["maxSizeRequest"]
    response = client.api([["Core/echo", {"pad": "x" * limit}, "c"]])
    assert response.status == 413  # the worker's, before it reads the body
    assert response.json["type"] == PROBLEM + "limit"
    assert response.json["limit"] == "maxSizeRequest"


def test_method_level_errors(web, reader):
    client = reader.client(web)
    account = client.account_id
    answers = client.calls([
        ["Mail/nothing", {}, "a"],
        ["Mailbox/get", {"accountId": "nobody"}, "b"],
        ["Mailbox/get", {"accountId": account, "ids": "all"}, "c"],
        ["Mailbox/get", {"accountId": account, "properties": ["id", "colour"]}, "d"],
        ["Email/get", {"accountId": account, "#ids": {"resultOf": "a", "name": "Email/query", "path": "/ids"}}, "e"],
        ["Core/echo", {"still": "here"}, "f"]])
    assert [(name, result.get("type"), call) for name, result, call in answers] == [
        ("error", "unknownMethod", "a"), ("error", "accountNotFound", "b"), ("error", "invalidArguments", "c"),
        ("error", "invalidArguments", "d"), ("error", "invalidResultReference", "e"), ("Core/echo", None, "f")]


def test_method_of_a_capability_not_named_is_unknown_when_using_is_empty(web, reader):
    client = reader.client(web)
    (name, result, _), = client.calls([["Mailbox/get", {"accountId": client.account_id}, "a"]], using=())
    assert (name, result["type"]) == ("error", "unknownMethod")
