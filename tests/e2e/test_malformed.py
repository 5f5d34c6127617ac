"""Ten thousand requests that are wrong in all kinds of ways: a defined answer to each, and nothing else harmed."""

import json
import os
import random
import socket

import pytest

from support import jmap

REQUESTS = 5000  # at each web server
RAW_REQUESTS = 300
REPEATS = (b'"', b"[", b"{", b"\\", b"\x00", b"\xff", b"1e999", b"-", b"\\ud800", b"null")


@pytest.fixture
def seed():
    seed = int(os.environ.get("POSTERN_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"POSTERN_SEED={seed}")
    return seed


def good_requests(client):
    """Bodies from which the wrong ones are made."""
    account, inbox = client.account_id, client.mailbox("inbox")["id"]
    calls = (
        ["Core/echo", {"a": [1, 2, {"b": None}]}, "0"],
        ["Mailbox/get", {"accountId": account, "ids": None, "properties": ["id", "name"]}, "1"],
        ["Email/query", {"accountId": account, "filter": {"operator": "AND", "conditions": [
            {"inMailbox": inbox}, {"operator": "NOT", "conditions": [{"hasKeyword": "$seen"}]},
            {"after": "2024-01-01T00:00:00Z"}, {"minSize": 10}, {"header": ["Subject", "x"]}]},
            "sort": [{"property": "receivedAt", "isAscending": False}], "position": 0, "limit": 5}, "2"],
        ["Email/get", {"accountId": account, "#ids": {"resultOf": "2", "name": "Email/query", "path": "/ids"},
                       "properties": ["subject", "header:List-Id:asText", "bodyStructure"],
                       "fetchTextBodyValues": True, "maxBodyValueBytes": 100}, "3"],
        ["Thread/get", {"accountId": account, "ids": ["x"]}, "4"],
        ["Email/set", {"accountId": account, "update": {"x": {"keywords/$seen": True}}, "destroy": ["y"]}, "5"])
    using = [jmap.CORE, jmap.MAIL]
    bodies = [{"using": using, "methodCalls": [call]} for call in calls]
    return [json.dumps(body).encode() for body in bodies + [{"using": using, "methodCalls": list(calls)}]]


def spoil(chance, body):
    """The body with a mistake or a few."""
    data = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(data) + 1)
        draw = chance.randrange(6)
        if draw == 0:
            del data[at:at + chance.randrange(1, 20)]
        elif draw == 1:
            data[at:at] = chance.choice(REPEATS) * chance.choice((1, 1, 3, 2000))
        elif draw == 2 and at < len(data):
            data[at] = chance.randrange(256)
        elif draw == 3:
            data = data[:at]
        elif draw == 4:
            data[at:at] = data[chance.randrange(len(data) + 1):][:50]
        else:
            words = (b'"ids"', b'"accountId"', b"true", b"null", b"5", b'"update"', b"[]", b"{}")
            old, new = chance.choice(words), chance.choice(words)
            data = bytearray(bytes(data).replace(old, new, 1))
        if not data:
            break
    return bytes(data)


def test_wrong_bodies(stack, web, reader, seed):
    chance = random.Random(seed)
    client = reader.client(web)
    bodies = good_requests(client)
    pid = stack.postern.broker.pid
    total = client.mailbox("inbox")["totalEmails"]
    for number in range(REQUESTS):
        body = spoil(chance, chance.choice(bodies))
        response = client.request("POST", "/jmap/api", body=body, headers={"Content-Type": "application/json"})
        assert response.status in (200, 400), (number, response.status, body[:500])
        assert isinstance(response.json, dict), (number, body[:500])
    assert stack.postern.broker.alive and stack.postern.broker.pid == pid
    # No answer was for another request, and nothing was changed.
    assert client.mailbox("inbox")["totalEmails"] == total


def raw_request(chance):
    """Bytes that may or may not be HTTP."""
    method = chance.choice((b"GET", b"POST", b"BREW", b"", b"G\x00T", b"OPTIONS"))
    path = chance.choice((b"/jmap/api", b"/jmap/session", b"/jmap/%00", b"/jmap/../../etc/passwd", b"//jmap//api", b"*",
                          b"/jmap/download/%2e%2e/%2e%2e/x", b"/jmap/" + b"a" * 9000, b"http://evil/jmap/session",
                          b"/auth/login?x=%ff", b"/.well-known/jmap#x"))
    headers = [b"Host: " + chance.choice((b"localhost", b"", b"a b", b"x" * 300, b"[::1]:99999", b"evil\x00.example"))]
    for _ in range(chance.randrange(4)):
        headers.append(chance.choice((
            b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 5",
            b"Transfer-Encoding: chunked", b"Authorization: Basic \x80\x81", b"Cookie: " + b"a=b; " * 500,
            b"Cookie: __Host-postern=\xff", b"X-Request-Id: x\x01y", b"Origin: \x00", b": empty", b"no colon",
            b"Content-Type: application/json; charset=\"", b"X-Forwarded-For: 1.2.3.4, evil\x7f")))
    body = chance.choice((b"", b"{}", b"zzz"))
    return method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body


def test_wrong_http(stack, web, reader, seed):
    chance = random.Random(seed)
    for _ in range(RAW_REQUESTS):
        data = raw_request(chance)
        with socket.create_connection(("127.0.0.1", web.port), 10) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(4096)
            except ConnectionError:
                continue
        # mod_fcgid answers 500 to a body that ends before its end.
        broken_off = web.name == "apache" and (b"Transfer-Encoding" in data or b"Content-Length" in data)
        if answer.startswith(b"HTTP/") and not broken_off:
            assert int(answer.split(b" ")[1]) not in (500, 502, 504), (data, answer)
    assert stack.postern.broker.alive
    assert reader.client(web).get("/jmap/session").status == 200
