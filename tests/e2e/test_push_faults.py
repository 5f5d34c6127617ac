"""Event streams when something fails: the web server, its publisher, the broker, clients that don't read, sessions that
end, and channels and front ends that aren't what they say. tests/e2e/test_push.py has the IMAP server's restart."""

import concurrent.futures
import contextlib
import http.client
import queue
import re
import signal
import socket
import time
import urllib.parse
import urllib.request

import pytest

from support import fastcgi, login
from support.events import WAIT_S, EventStream
from support.processes import free_port, wait_for
from support.publisher_proxy import between_publisher
from test_push import append, opened, push_stack

EVENTS = "/jmap/events/"


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from push_stack(run, pki, "nchan", "push-faults")


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


@pytest.fixture
def publisher(stack):
    with between_publisher(stack) as proxy:
        yield proxy


def mailbox_calls(client, seconds=1.0):
    """Seconds that each of some requests to the API took."""
    taken = []
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        before = time.monotonic()
        client.call("Mailbox/get", ids=None)
        taken.append(time.monotonic() - before)
    return taken


def newer(event):
    return lambda other: "Email" in other.changed and other.changed["Email"] != event.changed["Email"]


def come_back(client, last):
    """As a browser does, again and again until the stream is there: it, and what it has told that is newer."""
    end = time.monotonic() + 3 * WAIT_S
    while True:
        again = EventStream(client, headers={"Last-Event-ID": last.id})
        try:
            if again.status == 200:
                return again, again.until(newer(last), 5)
        except queue.Empty:
            assert again.ended.is_set()  # by a process that was about to end
        again.close()
        assert time.monotonic() < end
        time.sleep(0.1)


# --- The web server

def test_nginx_reloaded(stack, person, client):
    """Streams of the processes that end break; whoever comes back misses nothing, and the channel works on."""
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        stack.nginx.process.signal(signal.SIGHUP)
        append(stack, person)
        assert stream.ended.wait(WAIT_S)
    again, seen = come_back(client, last)
    with again:
        again.settled()
        append(stack, person)
        again.until(newer(seen))


def test_nginx_restarted(stack, person, client):
    stream, first = opened(client)
    last = (stream.settled() or [first])[-1]
    stack.nginx.stop()
    assert stream.ended.wait(WAIT_S)
    append(stack, person)
    stack.nginx.start()
    with EventStream(client, headers={"Last-Event-ID": last.id}) as again:
        assert again.status == 200
        seen = again.until(newer(last))
        again.settled()
        append(stack, person)
        again.until(newer(seen))


# --- Its publisher

def test_publisher_away(stack, person, client, publisher):
    """What couldn't be told is told once that is possible, the newest states alone; and new streams are refused."""
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        publisher.mode = "away"
        for _ in range(3):
            append(stack, person)
        assert max(mailbox_calls(client)) < 5
        requests = publisher.requests
        assert stream.settled() == []
        assert EventStream(client).status == 503
        publisher.mode = "pass"
        seen = stream.until(newer(last))
        assert seen.changed["Email"] == client.call("Email/get", ids=[])["state"]
        assert publisher.requests - requests < 60  # with pauses between
        append(stack, person)
        stream.until(newer(seen))


def test_publisher_slow(stack, person, client, publisher):
    """A publisher that doesn't answer costs nobody else anything."""
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        publisher.mode = "hang"
        append(stack, person)
        assert max(mailbox_calls(client)) < 5
        append(stack, person)
        publisher.mode = "pass"
        seen = stream.until(newer(last), 60)
        state = client.call("Email/get", ids=[])["state"]
        if seen.changed["Email"] != state:
            stream.until(lambda event: event.changed.get("Email") == state, 60)


def test_publisher_hangs_while_streams_are_opened(client, publisher):
    """A few requests wait for it, then one at a time: all others are refused at once, and hold no worker's thread."""
    opened(client)[0].close()
    before = publisher.requests
    publisher.mode = "hang"
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        streams = list(pool.map(lambda _: EventStream(client), range(60)))
    assert {stream.status for stream in streams} == {503}
    assert all(stream.headers["Retry-After"] for stream in streams)
    # push::asks_max, some trials where this takes its time, and what the queue sends.
    assert publisher.requests - before <= 16 + 8
    publisher.mode = "pass"
    opened(client)[0].close()


@contextlib.contextmanager
def all_opened(stack, people):
    """A stream of a session of its own for each, with its first event."""
    with contextlib.ExitStack() as closing:
        streams = []
        for person in people:
            stream, first = opened(login.with_token(stack, stack.nginx, person))
            streams.append((closing.enter_context(stream), first))
        yield streams


def test_quiet_streams_stay(stack, person):
    """nchan's processes don't tell each other rightly how many listen: nobody is taken for gone who isn't."""
    with all_opened(stack, [person] * 16) as streams:
        last = [(stream.settled() or [first])[-1] for stream, first in streams]
        time.sleep(8)  # four times the grace of those who have gone
        assert not any(stream.ended.is_set() for stream, _ in streams)
        append(stack, person)
        for (stream, _), seen in zip(streams, last):
            stream.until(newer(seen))


def test_a_channel_that_nobody_listens_to_ends(stack, person):
    port = free_port()
    stack.postern.configure({"metrics": {"listen": f"127.0.0.1:{port}"}})
    stack.postern.broker.restart()

    def listeners():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return re.search(r"^postern_push_listeners (\d+)$", answer.read().decode(), re.MULTILINE).group(1)

    for _ in range(4):
        opened(login.with_token(stack, stack.nginx, person))[0].close()
    assert listeners() != "0"
    append(stack, person)
    wait_for(lambda: listeners() == "0", "the end of the watches", timeout=30)


# --- The broker

def nudged(stream, timeout_s=WAIT_S):
    """The nudge of a broker that has been started anew."""
    return stream.until(lambda event: event.name == "resume", timeout_s)


def told_again(stack, person, client, stream, last):
    """Who comes again is told what has changed since `last`. It is the same channel: who stayed hears what comes."""
    with EventStream(client) as again:
        assert again.status == 200
        seen = again.until(newer(last))
        again.settled()
        append(stack, person)
        again.until(newer(seen))
        stream.until(newer(seen))


def test_broker_killed(stack, person, client):
    """nginx holds the stream meanwhile; the nudge has its client ask, which unseals the credentials."""
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        stack.postern.broker.kill()
        append(stack, person)
        assert not stream.ended.is_set()
        stack.postern.broker.start()
        nudged(stream)
        assert not stream.ended.is_set()
        told_again(stack, person, client, stream, last)


def test_broker_killed_and_a_client_that_knows_no_nudge(stack, person, client):
    """Its stream is ended some time later, so that it comes back as it does after any break."""
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        stack.postern.broker.kill()
        append(stack, person)
        stack.postern.broker.start()
        nudged(stream)
        assert stream.ended.wait(60)
    with EventStream(client, headers={"Last-Event-ID": last.id}) as again:
        again.until(newer(last))


def test_nudges_are_paced(stack, run):
    """Clients that don't come hold the others up: never more than logins_in_flight are nudged and not back."""
    stack.postern.configure({"imap": {"logins_in_flight": 2}})
    stack.postern.broker.restart()
    people = [stack.person("nudge", 20) for _ in range(6)]
    streams = []
    try:
        for person in people:
            stream, _ = opened(login.with_token(stack, stack.nginx, person))
            streams.append(stream)
        for stream in streams:
            stream.settled()
        stack.postern.broker.kill()
        stack.postern.broker.start()
        with concurrent.futures.ThreadPoolExecutor(len(streams)) as pool:
            times = sorted(pool.map(lambda stream: nudged(stream, 60) and time.monotonic(), streams))
        # Two at a time, and nobody comes: three turns.
        assert times[-1] - times[0] > 5
        assert times[1] - times[0] < 2.5 and times[2] - times[1] > 1.5
    finally:
        for stream in streams:
            stream.close()
        stack.postern.configure({"imap": {"logins_in_flight": 20}})
        stack.postern.broker.restart()


def test_all_are_nudged_whichever_process_of_nginx_holds_them(stack, person):
    with all_opened(stack, [person] * 12) as streams:
        for stream, _ in streams:
            stream.settled()
        stack.postern.broker.kill()
        stack.postern.broker.start()
        for stream, _ in streams:
            nudged(stream, 60)


def test_a_session_that_ended_meanwhile_is_401(stack, person, client):
    stream, _ = opened(client)
    with stream:
        stream.settled()
        stack.postern.broker.kill()
        stack.postern.broker.start()
        nudged(stream)
        for session in stack.postern.control("sessions", person.user)["sessions"]:
            stack.postern.control("end-session", session["tag"])
        assert EventStream(client).status == 401


def test_broker_killed_with_its_own_streams(stack, person, client):
    parameters = "types=Email&closeafter=no&ping=0"
    stream, first = opened(client, parameters)
    with stream:
        last = (stream.settled() or [first])[-1]
        stack.postern.broker.kill()
        assert stream.ended.wait(WAIT_S)
        append(stack, person)
        stack.postern.broker.start()
    with EventStream(client, parameters, {"Last-Event-ID": last.id}) as again:
        assert again.status == 200
        again.until(newer(last))


# --- Clients

def slow_stream(client, path):
    """A socket on which a stream has been asked for, that takes nearly nothing."""
    split = urllib.parse.urlsplit(client.url)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.connect((split.hostname, split.port))
    fields = {"Host": split.netloc, "Accept": "text/event-stream", **client.headers}
    lines = [f"GET {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in fields.items()]
    deaf.sendall("\r\n".join(lines + ["", ""]).encode())
    return deaf


@pytest.mark.parametrize("types", ("*", "Email"))  # of nchan's, of the broker's own
def test_who_never_reads_holds_up_nobody(stack, person, client, types):
    other = login.with_token(stack, stack.nginx, person)
    deaf = slow_stream(client, f"{EVENTS}?types={types}&closeafter=no&ping=0")
    try:
        stream, first = opened(other)
        with stream:
            last = (stream.settled() or [first])[-1]
            for _ in range(20):
                append(stack, person)
                last = stream.until(newer(last))
    finally:
        deaf.close()


def test_logged_out_elsewhere(stack, person, client):
    stream, _ = opened(client)
    other = login.with_token(stack, stack.nginx, person)
    theirs, _ = opened(other)
    with stream, theirs:
        stream.settled()
        for session in stack.postern.control("sessions", person.user)["sessions"]:
            stack.postern.control("end-session", session["tag"])
        assert stream.ended.wait(WAIT_S) and theirs.ended.wait(WAIT_S)
    assert EventStream(client).status == 401 and EventStream(other).status == 401


# --- What isn't what it says

def answer_to(stack, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", stack.nginx.port, timeout=WAIT_S)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


@pytest.mark.parametrize("path", ("/postern-nchan/stream/" + "A" * 32, "/postern-nchan/silent/" + "A" * 32,
                                  "/postern-nchan/poll/" + "A" * 32, "/postern-stream/ticket/" + "A" * 32,
                                  "/publish/" + "A" * 32))
def test_inner_locations_are_closed(stack, path):
    assert answer_to(stack, path) == 404


def redirected(stack, client, parameters):
    """Where a worker sends nginx for this stream."""
    status, fields, _ = fastcgi.request(stack.postern.worker_socket, "GET", f"{EVENTS}?{parameters}",
                                        {"Accept": "text/event-stream", "X-Frontend": "nginx", **client.headers})
    assert status == 200
    return fields["x-accel-redirect"]


def answer_to_ticket(stack, ticket):
    with fastcgi.connect(f"{stack.postern.runtime_dir}/events.sock") as near:
        near.sendall(f"GET /ticket/{ticket} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        return int(near.recv(4096).split(b"\r\n")[0].split()[1])


@pytest.mark.parametrize("ticket", ("A" * 32, "", "../../x"))
def test_a_forged_ticket(stack, ticket):
    """Whoever gets as far as the broker's own listener needs a ticket that it has made."""
    assert answer_to_ticket(stack, ticket) == 403


def test_a_ticket_is_good_once(stack, client):
    """tests/unit/broker/tickets_test.cpp has those that have run out."""
    location = redirected(stack, client, "types=Email")
    folder, ticket = location.rsplit("/", 1)
    assert folder == "/postern-stream/ticket"
    assert answer_to_ticket(stack, ticket) == 200
    assert answer_to_ticket(stack, ticket) == 403


@pytest.mark.parametrize("parameters, folder", (("types=*&ping=0", "nchan/silent"), ("types=*", "nchan/silent"),
                                                ("types=*&ping=30", "nchan/stream"),
                                                ("types=*&ping=300", "stream/ticket")))
def test_who_has_a_stream_by_its_pings(stack, client, parameters, folder):
    """nchan knows one interval: others are the broker's."""
    assert redirected(stack, client, parameters).startswith(f"/postern-{folder}/")


@pytest.mark.parametrize("name", ("other", "", "http://127.0.0.1:1/", "nginx2"))
def test_a_front_end_that_is_not_configured(stack, person, name):
    """The worker takes the name from the web server, which sets it over whatever the client says; one that passes
    another on is refused."""
    client = login.with_token(stack, stack.nginx, person)
    conf = f"{stack.nginx.base}/postern-upstream.conf"
    assert EventStream(client, headers={"X-Frontend": name}).status == 200  # not the client's word
    with open(conf, encoding="utf-8") as file:
        before = file.read()
    assert "default nginx;" in before
    stack.nginx.write("postern-upstream.conf", before.replace("default nginx;", f'default "{name}";'))
    try:
        stack.nginx.process.restart()
        assert EventStream(client).status == 403
    finally:
        stack.nginx.write("postern-upstream.conf", before)
        stack.nginx.process.restart()
        wait_for(stack.nginx.listens, "nginx")
