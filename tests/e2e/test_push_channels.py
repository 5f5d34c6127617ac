"""Channels at a front end: those that aren't made, those that have ended, and who comes back to them; and message ids
that nchan must not see."""

import concurrent.futures
import contextlib
import http.client
import time

import pytest

from support import login
from support.events import QUIET_S, WAIT_S, EventStream
from support.processes import wait_for
from support.publisher_proxy import between_publisher
from test_push import POLL, append, opened, push_stack
from test_push_faults import answer_to_ticket, newer, redirected

PROBE = b'":{}}}'  # the end of a StateChange that tells nothing: is somebody there?
DATE = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from push_stack(run, pki, "nchan", "push-channels")


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


@pytest.fixture
def publisher(stack):
    with between_publisher(stack) as proxy:
        yield proxy


def channel_of(stack, client):
    """This session's channel, which is made."""
    return redirected(stack, client, "types=*&closeafter=no&ping=0").rsplit("/", 1)[1]


def removed(publisher, channel):
    wait_for(lambda: ("DELETE", channel) in publisher.said, "the channel's removal")


def sign_out(stack, client):
    other = stack.client(stack.nginx, dict(client.headers))
    assert other.post("/auth/logout", {}).status == 200


# --- Those that aren't made

def test_where_too_many_listen_no_channel_is_made(stack, person, publisher):
    stack.postern.configure({"push": {"listeners_max": 10}})
    stack.postern.broker.restart()
    try:
        with contextlib.ExitStack() as closing:
            for _ in range(10):
                last = login.with_token(stack, stack.nginx, person)
                closing.enter_context(opened(last)[0])
            before = len(publisher.said)
            client = login.with_token(stack, stack.nginx, person)
            refused = EventStream(client)
            assert refused.status == 503 and refused.headers["Retry-After"]
            assert EventStream(client, "types=Email").status == 503
            # What it is asked meanwhile are the channels that there are.
            asked_anew = {channel for _, channel in publisher.said[before:]}
            assert asked_anew <= {channel for _, channel in publisher.said[:before]}
            # Who has a channel comes back to it.
            assert closing.enter_context(EventStream(last)).status == 200
    finally:
        stack.postern.configure({"push": {"listeners_max": 50000}})
        stack.postern.broker.restart()


def test_a_session_that_ends_while_its_channel_is_made(stack, client, publisher):
    channel = channel_of(stack, client)
    publisher.mode = "hang"
    told = len(publisher.said)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(EventStream, client)
        wait_for(lambda: ("POST", channel) in publisher.said[told:], "the request to the publisher")
        sign_out(stack, client)
        publisher.mode = "pass"
        assert asked.result().status == 503
    removed(publisher, channel)
    assert EventStream(client).status == 401


def test_a_ticket_of_a_session_that_has_ended(stack, client):
    ticket = redirected(stack, client, "types=Email").rsplit("/", 1)[1]
    sign_out(stack, client)
    assert answer_to_ticket(stack, ticket) == 503


# --- Those that have ended

def test_who_comes_back_to_a_channel_that_has_ended(stack, person, client, publisher):
    """By the id of nchan's last event, and it is the same channel; what came meanwhile is told."""
    channel = channel_of(stack, client)
    stream, first = opened(client)
    last = (stream.settled() or [first])[-1]
    assert ":" in last.id
    stream.close()
    removed(publisher, channel)
    told = len(publisher.said)
    append(stack, person)
    with EventStream(client, headers={"Last-Event-ID": last.id}) as again:
        assert again.status == 200
        seen = again.until(newer(last))
        again.settled()
        append(stack, person)
        again.until(newer(seen))
    assert ("POST", channel) in publisher.said[told:]


def test_a_poll_that_comes_back_to_a_channel_that_has_ended(stack, person, client, publisher):
    channel = channel_of(stack, client)
    answer = client.request("GET", "/jmap/events/", headers={"Last-Event-ID": "1.", **POLL})
    known = next(iter(answer.json["changed"].values()))["Email"]
    removed(publisher, channel)
    append(stack, person)
    for _ in range(5):  # the first may tell the states of before, as the account is watched anew
        position = {"If-None-Match": answer.header("Etag"), "If-Modified-Since": answer.header("Last-Modified")}
        answer = client.request("GET", "/jmap/events/", headers={**position, **POLL})
        assert answer.status == 200
        if next(iter(answer.json["changed"].values()), {}).get("Email", known) != known:
            return
    raise AssertionError("it is never told")


def test_who_comes_back_while_the_channel_is_being_removed(stack, person, client, publisher):
    """What it was told goes with the channel, and is told anew behind that."""
    channel = channel_of(stack, client)
    stream, first = opened(client)
    last = (stream.settled() or [first])[-1]
    publisher.held.add("DELETE")
    with contextlib.ExitStack() as closing:
        closing.enter_context(stream)
        for _ in range(16):  # so many streams has a session: the oldest one ends
            closing.enter_context(EventStream(client, "types=Email&closeafter=no&ping=0"))
        removed(publisher, channel)
        told = len(publisher.said)
        again = closing.enter_context(EventStream(client))
        assert again.status == 200
        publisher.held.clear()
        # When it is opened, and behind the removal.
        wait_for(lambda: publisher.said[told:].count(("POST", channel)) >= 2, "what is told behind the removal")
        # It broke with the channel; whoever comes back, behind a pause as a browser's, hears what happens.
        assert again.ended.wait(WAIT_S)
        time.sleep(1)
        third = closing.enter_context(EventStream(client, headers={"Last-Event-ID": last.id}))
        append(stack, person)
        third.until(newer(last))


def test_who_comes_back_beside_a_message_that_tells_less(stack, client, publisher):
    """nginx gives who is new the channel's last message alone: it tells all, whatever else was on its way."""
    channel = channel_of(stack, client)
    publisher.held_text = PROBE
    wait_for(lambda: any(one == channel and PROBE in data for one, data in publisher.told), "a probe")
    before = len(publisher.told)
    stream, first = opened(client)
    with stream:
        assert "Mailbox" in first.changed
        publisher.held_text = None
        wait_for(lambda: sum(one == channel and b'"Mailbox"' in data for one, data in publisher.told[before:]) >= 2,
                 "what is told behind the probe")


# --- What nchan must not see

MALFORMED = ("", ":", "x", "1:", ":1", "1700000000", "1:2:3", "-1:0", "1:-1", "-2:0", "1:[0]", "1:0,[1]", "1:0,1,2",
             "1:" + "9" * 12, "9" * 12 + ":0", "0:0", "1:65535", "1:32768", "9" * 40 + ":1", "1:" + ",".join("1" * 300),
             "1%3A0%2C1", "1:0?x=y", "1:0 x", "1.", "1.2.3", "1.a.b.c.d.e.f.g.h.i.j", "%", "%00")
POSITIONS = ({"If-None-Match": "0"}, {"If-None-Match": "1:0,1"}, {"If-None-Match": "\"x\""},
             {"If-Modified-Since": DATE}, {"If-Modified-Since": DATE, "If-None-Match": "0,[1]"},
             {"If-Modified-Since": DATE, "If-None-Match": "-1"}, {"If-Modified-Since": DATE, "If-None-Match": "[0]"},
             {"If-Modified-Since": DATE, "If-None-Match": "9" * 12}, {"If-Modified-Since": DATE, "If-None-Match": ""},
             {"If-Modified-Since": "never", "If-None-Match": "0"}, {"If-Modified-Since": "0", "If-None-Match": "0"},
             {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": "0"})


def processes(stack):
    """nginx's workers."""
    pid = stack.nginx.process.pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(file.read().split())


def faults(stack):
    with open(stack.run.log_file("nginx-error.log"), encoding="utf-8", errors="replace") as file:
        return [line for line in file if "exited on signal" in line or "[alert]" in line]


@pytest.fixture
def unharmed(stack):
    """nginx's processes outlive it."""
    before, said = processes(stack), faults(stack)
    assert before
    yield
    assert processes(stack) == before and faults(stack) == said


def asked(client, query, headers):
    """Streams and polls, each with what it is first told, if there is anything."""
    for kind in ({"Accept": "text/event-stream"}, POLL):
        connection = http.client.HTTPConnection(*client.url.split("/")[2].split(":"), timeout=QUIET_S)
        try:
            connection.request("GET", f"/jmap/events/?types=*&closeafter=no&ping=0{query}",
                               headers={**client.headers, **kind, **headers})
            response = connection.getresponse()
            assert response.status == 200, (query, headers)
            response.read1(4096)
        except TimeoutError:
            pass  # it waits
        finally:
            connection.close()


def test_malformed_message_ids(client, unharmed):
    stream, _ = opened(client)
    with stream:
        for one in MALFORMED:
            if "%" not in one:
                asked(client, "", {"Last-Event-ID": one})
            asked(client, "&last_event_id=" + one.replace(" ", "%20").replace("?", "%3F"), {})
        for fields in POSITIONS:
            asked(client, "", fields)
            asked(client, "", {"Last-Event-ID": "1.", **fields})


@pytest.mark.parametrize("channel", ("A" * 31, "A" * 33, "A" * 31 + "%2e", "../stream/" + "A" * 32, "A" * 4000, "%00"))
def test_malformed_channels(stack, client, unharmed, channel):
    """From outside no location of nchan's takes any."""
    for kind in ("stream", "silent", "poll"):
        connection = http.client.HTTPConnection("127.0.0.1", stack.nginx.port, timeout=WAIT_S)
        connection.request("GET", f"/postern-nchan/{kind}/{channel}", headers={**client.headers, **POLL})
        assert connection.getresponse().status in (400, 404)
        connection.close()
