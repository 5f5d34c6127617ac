"""JMAP over WebSockets (RFC 8887) through nginx and Apache: requests, changes, and what is refused."""

import json
import struct
import threading
import urllib.parse

import pytest

from support import jmap, login
from support.imap_server import ok
from support.web_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WAIT_S, Closed, WebSocket
from test_push import MESSAGE, push_stack

WEBSOCKET = "urn:ietf:params:jmap:websocket"
MAX_SIZE_REQUEST = 10_000_000


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from push_stack(run, pki, "stream", "web-socket")


@pytest.fixture(params=("nginx", "apache"))
def web(stack, request):
    return stack.web(request.param)


@pytest.fixture
def client(stack, web, person):
    return login.with_token(stack, web, person)


def append(stack, person, mailbox="INBOX"):
    with stack.server.signed_in(person.user) as imap:
        ok(imap.append(mailbox, None, None, MESSAGE))


def opened(client, **named):
    socket = WebSocket(client, **named)
    assert socket.status == 101, (socket.status, socket.body)
    return socket


def request(client, calls, **more):
    return {"@type": "Request", "using": [jmap.CORE, jmap.MAIL], "methodCalls": calls, **more}


def echo(client, number="1"):
    return request(client, [["Core/echo", {"n": number}, "0"]], id=number)


def mailboxes(client, **more):
    return request(client, [["Mailbox/get", {"accountId": client.account_id, "ids": None}, "0"]], **more)


def test_the_session_says_where(client):
    told = client.session["capabilities"][WEBSOCKET]
    split = urllib.parse.urlsplit(told["url"])
    assert split.scheme == "ws" and split.netloc == urllib.parse.urlsplit(client.url).netloc
    assert split.path == "/jmap/ws" and told["supportsPush"] is True
    assert WEBSOCKET not in client.session["primaryAccounts"]


def test_requests_and_responses(client):
    with opened(client) as socket:
        socket.say(mailboxes(client, id="first"))
        answer = socket.next()
        assert answer["@type"] == "Response" and answer["requestId"] == "first"
        (name, result, _), = answer["methodResponses"]
        assert name == "Mailbox/get" and any(box["role"] == "inbox" for box in result["list"])
        assert answer["sessionState"] == client.session["state"]
        socket.say(request(client, [["Core/echo", {}, "0"]]))
        assert "requestId" not in socket.next()


def test_requests_run_side_by_side(client):
    with opened(client) as socket:
        for number in range(5):
            socket.say(echo(client, str(number)))
        assert {socket.next()["requestId"] for _ in range(5)} == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize("message, error", (
    (b"{", "notJSON"),
    (b"[]", "notRequest"),
    (b'{"@type":"Hello","id":"x"}', "notRequest"),
    (b'{"@type":"Request","id":"x"}', "notRequest"),
    (b'{"@type":"Request","id":"x","using":["urn:example:none"],"methodCalls":[]}', "unknownCapability"),
    (b'{"@type":"Request","id":"x","using":[],"methodCalls":' + b"[" * 100, "notRequest")))
def test_what_is_no_request(client, message, error):
    with opened(client) as socket:
        socket.say(message)
        answer = socket.next()
        assert answer["@type"] == "RequestError" and answer["type"] == f"urn:ietf:params:jmap:error:{error}"
        assert answer["requestId"] in (None, "x")
        socket.say(echo(client))
        assert socket.next()["@type"] == "Response"


def test_changes_are_pushed(stack, person, client):
    client.mailbox("inbox")
    with opened(client) as socket:
        socket.say({"@type": "WebSocketPushEnable", "dataTypes": ["Email", "EmailDelivery", "Unheard"]})
        socket.say(echo(client))  # and that is read behind it
        socket.until(lambda message: message["@type"] == "Response")
        append(stack, person)
        change = socket.until(lambda message: "EmailDelivery" in next(iter(message["changed"].values())))
        assert change["@type"] == "StateChange" and change["pushState"].startswith("1.")
        assert set(change["changed"][client.account_id]) == {"Email", "EmailDelivery"}
        socket.say({"@type": "WebSocketPushDisable"})
        socket.say(mailboxes(client))
        socket.until(lambda message: message["@type"] == "Response")
        append(stack, person)
        with pytest.raises(TimeoutError):
            socket.next(1.5)


def test_what_was_missed_is_told_by_push_state(stack, person, client):
    client.mailbox("inbox")
    with opened(client) as socket:
        socket.say({"@type": "WebSocketPushEnable", "dataTypes": None, "pushState": "unknown"})
        states = socket.next()  # of now, as that is none of ours
        append(stack, person)
        states = socket.until(lambda message: "EmailDelivery" in message["changed"][client.account_id])
    append(stack, person)
    with opened(client) as socket:
        socket.say({"@type": "WebSocketPushEnable", "pushState": states["pushState"]})
        change = socket.next()["changed"][client.account_id]
        assert change["Email"] != states["changed"][client.account_id]["Email"]


def test_own_changes_are_not_told(stack, web, person, client):
    other = login.with_token(stack, web, person)
    page = client.newest(client.mailbox("inbox")["id"], ("id",), limit=10)[0]
    with opened(client) as mine, opened(other) as theirs:
        for socket, owner in ((mine, client), (theirs, other)):
            socket.say({"@type": "WebSocketPushEnable", "dataTypes": ["Email"], "pushState": "unknown"})
            socket.next()
        mine.say(request(client, [["Email/set", {"accountId": client.account_id, "update": {
            page["ids"][0]: {"keywords/$flagged": True}}}, "0"]]))
        answer = mine.until(lambda message: message["@type"] == "Response")
        state = answer["methodResponses"][0][1]["newState"]
        theirs.until(lambda message: message.get("changed", {}).get(client.account_id, {}).get("Email") == state)
        with pytest.raises(TimeoutError):
            mine.until(lambda message: message["changed"][client.account_id]["Email"] == state, 1.5)


def test_logout_closes_it(client):
    with opened(client) as socket:
        socket.say(echo(client))
        socket.next()
        assert client.post("/auth/logout", {}).status == 200
        assert socket.closed().code == 1008
    assert WebSocket(client).status == 401


# --- What is refused before it begins

def test_without_credentials(stack, web):
    socket = WebSocket(stack.client(web))
    assert socket.status == 401 and json.loads(socket.body)["status"] == 401


def test_basic(stack, web, person):
    with opened(person.client(web)) as socket:
        socket.say(echo(None))
        assert socket.next()["@type"] == "Response"


@pytest.mark.parametrize("origin", (None, "https://evil.example", "null"))
def test_a_cookie_from_another_page(stack, web, person, origin):
    client = login.with_cookie(stack, web, person)
    del client.headers["Origin"]
    assert WebSocket(client, {"Origin": origin} if origin else {}).status == 403


def test_a_cookie_from_a_page_of_ours(stack, web, person):
    client = login.with_cookie(stack, web, person)
    with opened(client) as socket:
        socket.say(echo(client))
        assert socket.next()["@type"] == "Response"


def test_the_origin_of_another_host_does_not_count(stack, web, person):
    """What a page can't choose, but a client may send: it names the page's own host as this one's."""
    client = login.with_cookie(stack, web, person)
    client.headers["Origin"] = "https://evil.example"
    assert WebSocket(client, {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}).status == 403


def test_basic_from_another_page(stack, web, person):
    assert WebSocket(person.client(web), {"Origin": "https://evil.example"}).status == 403


def test_another_subprotocol(client):
    assert WebSocket(client, protocol="mqtt").status == 400
    assert WebSocket(client, protocol=None).status == 400


def test_no_web_socket(client):
    assert client.request("GET", "/jmap/ws").status == 426


# --- Frames

def test_a_message_in_pieces(client):
    whole = json.dumps(echo(client)).encode()
    with opened(client) as socket:
        socket.send(TEXT, whole[:10], final=False)
        socket.send(PING, b"between")
        socket.send(CONTINUATION, whole[10:])
        frame = socket.next_frame()
        assert (frame.opcode, frame.payload) == (PONG, b"between")
        assert socket.next()["@type"] == "Response"


@pytest.mark.parametrize("frames, code", (
    (WebSocket.frame(BINARY, b"{}"), 1003),
    (WebSocket.frame(TEXT, b"\xff\xfe"), 1007),
    (WebSocket.frame(TEXT, b"{}", masked=False), 1002),
    (WebSocket.frame(TEXT, b"{}", reserved=4), 1002),
    (WebSocket.frame(3, b"{}"), 1002),
    (WebSocket.frame(CONTINUATION, b"{}"), 1002),
    (WebSocket.frame(TEXT, b"{", final=False) + WebSocket.frame(TEXT, b"}"), 1002),
    (WebSocket.frame(PING, b"x" * 126), 1002),
    (WebSocket.frame(CLOSE, struct.pack("!H", 999)), 1002),
    (struct.pack("!BBQ4x", 0x81, 0xFF, 1 << 62), 1009),
    (struct.pack("!BBQ4x", 0x81, 0xFF, MAX_SIZE_REQUEST + 1), 1009)),
    ids=("binary", "no UTF-8", "not masked", "reserved bit", "unknown opcode", "continues nothing", "begins anew",
         "long ping", "code below 1000", "huge", "over the limit"))
def test_wrong_frames_close_it(client, frames, code):
    with opened(client) as socket:
        socket.send_bytes(frames)
        assert socket.closed().code == code
    with opened(client) as socket:  # and nobody else is concerned
        socket.say(echo(client))
        assert socket.next()["@type"] == "Response"


def test_the_largest_request(client):
    message = echo(client)
    message["more"] = "x" * (MAX_SIZE_REQUEST - len(json.dumps({**message, "more": ""})))
    with opened(client) as socket:
        socket.say(message)
        assert socket.next()["@type"] == "Response"
        message["more"] += "x"
        threading.Thread(target=lambda: _quietly(socket.say, message), daemon=True).start()
        assert socket.closed().code in (1009, None)


def _quietly(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass


def test_garbage(stack, client):
    import random
    chance = random.Random(4)
    for _ in range(30):
        with opened(client) as socket:
            _quietly(socket.send_bytes, chance.randbytes(chance.randrange(1, 200)))
    with opened(client) as socket:
        socket.say(echo(client))
        assert socket.next()["@type"] == "Response"


def test_too_many_at_once(stack, person, client):
    """As many as maxConcurrentRequests run, more are refused one by one, and the connection stays."""
    client.mailbox("inbox")
    with opened(client) as socket:
        data = b"".join(WebSocket.frame(TEXT, json.dumps(
            request(client, [["Mailbox/get", {"accountId": client.account_id, "ids": None}, "0"]] * 8,
                    id=str(n))).encode()) for n in range(40))
        socket.send_bytes(data)
        answers = [socket.next() for _ in range(40)]
        assert {answer["requestId"] for answer in answers} == {str(n) for n in range(40)}
        refused = [answer for answer in answers if answer["@type"] == "RequestError"]
        assert all(answer["limit"] == "maxConcurrentRequests" for answer in refused)
        assert len(refused) < 40


def test_too_many_connections_of_one_session(client):
    """The oldest goes."""
    sockets = [opened(client) for _ in range(17)]
    assert sockets[0].closed().code == 1008
    for socket in sockets[1:]:
        socket.say(echo(client))
        assert socket.next()["@type"] == "Response"
        socket.close()


def test_who_does_not_read_holds_up_nobody(stack, web, person, client):
    """Responses of megabytes that aren't read: no further request is, and others are served."""
    with opened(client, receive_buffer=4096) as deaf:
        big = request(client, [["Core/echo", {"x": "y" * 1_000_000}, "0"]])
        writer = threading.Thread(target=lambda: [_quietly(deaf.say, big) for _ in range(60)], daemon=True)
        writer.start()
        other = login.with_token(stack, web, person)
        with opened(other) as socket:
            for _ in range(20):
                socket.say(echo(other))
                assert socket.next()["@type"] == "Response"
        assert writer.is_alive()  # it isn't read any more
