"""Changes in the mailbox reach event streams: held by nginx's nchan, by the broker behind nginx, and behind Apache."""

import json
import queue
import time

import pytest

from conftest import running
from support import login
from support.events import QUIET_S, WAIT_S, EventStream
from support.imap_server import ok
from support.stack import Stack

WAYS = ("nchan", "stream", "apache")
MESSAGE = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: pushed\r\n\r\nHello\r\n"
PUSH = {"grace": "2s"}
POLL = {"X-Long-Poll": "Yes", "Accept": "application/json"}


def push_stack(run, pki, way, name=None):
    """A stack whose nginx holds streams by nchan, or gets them from the broker."""
    part = run.part(name or f"push-{way}")
    configuration = {"push": dict(PUSH)}
    if way == "nchan":
        runtime_dir = f"{part.dir}/postern-run"
        configuration["push.frontends.nginx"] = {
            "publisher": f"http://unix:{runtime_dir}/nchan/publish.sock:/publish/", "subscriber": "/postern-nchan/"}
    for stack in running(Stack, part, pki, configuration):
        yield stack
        # Streams end with it: Apache doesn't notice by itself that a client has gone that is told nothing.
        stack.postern.stop()


@pytest.fixture(scope="module")
def nchan_stack(run, pki):
    yield from push_stack(run, pki, "nchan")


@pytest.fixture(scope="module")
def stream_stack(run, pki):
    yield from push_stack(run, pki, "stream")


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def stack(request, way):
    return request.getfixturevalue("nchan_stack" if way == "nchan" else "stream_stack")


@pytest.fixture
def web(stack, way):
    return stack.apache if way == "apache" else stack.nginx


@pytest.fixture
def client(stack, web, person):
    return login.with_token(stack, web, person)


def append(stack, person, mailbox="INBOX"):
    with stack.server.signed_in(person.user) as imap:
        ok(imap.append(mailbox, None, None, MESSAGE))


def opened(client, *arguments, **named):
    """A stream whose first event, the states of now, has come; and that event."""
    stream = EventStream(client, *arguments, **named)
    assert stream.status == 200, stream.body
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    return stream, stream.next()


def test_first_event_tells_the_states_of_now(client):
    stream, first = opened(client)
    with stream:
        assert first.name == "state"
        data = json.loads(first.data)
        assert data["@type"] == "StateChange"
        assert {"Mailbox", "Email", "Thread"} <= set(first.changed)


def test_new_mail_is_pushed(stack, person, client):
    stream, first = opened(client)
    with stream:
        stream.settled()
        append(stack, person)
        event = stream.next()
        assert {"Mailbox", "Email", "Thread", "EmailDelivery"} <= set(event.changed)
        assert event.changed["Email"] != first.changed["Email"]


def test_new_mail_in_another_mailbox(stack, person, client):
    stream, _ = opened(client)
    with stream:
        stream.settled()
        append(stack, person, "Archive")
        event = stream.next()
        assert {"Mailbox", "Email", "EmailDelivery"} <= set(event.changed)


def test_flag_by_another_program(stack, person, client):
    client.newest(client.mailbox("inbox")["id"], ("id",), limit=10)
    stream, _ = opened(client)
    with stream:
        stream.settled()
        with stack.server.signed_in(person.user) as imap:
            ok(imap.select("INBOX"))
            ok(imap.store("1", "+FLAGS", "\\Flagged"))
        event = stream.next()
        assert "Email" in event.changed and "EmailDelivery" not in event.changed


def test_own_changes_are_told_to_others_only(stack, web, person, client):
    other = login.with_token(stack, web, person)
    page = client.newest(client.mailbox("inbox")["id"], ("id", "keywords"), limit=10)[0]
    mine, _ = opened(client)
    with mine:
        theirs, _ = opened(other)
        with theirs:
            mine.settled(), theirs.settled()
            email = page["ids"][0]
            answer = client.call("Email/set", update={email: {"keywords/$flagged": True}})
            assert email in answer["updated"]
            assert theirs.next().changed["Email"] == answer["newState"]
            assert mine.settled() == []


def test_logout_ends_the_stream(client):
    stream, _ = opened(client)
    with stream:
        assert client.post("/auth/logout", {}).status == 200
        assert stream.ended.wait(WAIT_S)
    assert EventStream(client).status == 401


@pytest.mark.parametrize("kind", ("basic", "cookie"))
def test_pages_of_other_sites_get_no_stream(stack, web, person, kind):
    """A browser sends these along for any page, and nchan would let that read the answer."""
    client = person.client(web) if kind == "basic" else login.with_cookie(stack, web, person)
    for parameters in ("types=*&ping=0", "types=Email"):
        for foreign in ({"Origin": "https://other.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site"}):
            assert EventStream(client, parameters, foreign).status == 403
        with EventStream(client, parameters, {"Origin": client.url}) as stream:
            assert stream.status == 200


def test_no_answer_may_be_read_by_other_sites_with_a_browsers_own_credentials(client):
    """A token is none of these: a page that knows it may use it."""
    stream, _ = opened(client, headers={"Origin": "https://other.example"})
    with stream:
        assert "Access-Control-Allow-Credentials" not in stream.headers


def test_without_credentials(stack, web):
    assert EventStream(stack.client(web)).status == 401


def test_pings_come_in_the_interval_asked_for(client):
    with EventStream(client, "types=*&closeafter=no&ping=10") as stream:
        assert stream.ping() == {"interval": 10}


@pytest.mark.parametrize("parameters", ("types=Email,,Thread", "types=*&closeafter=perhaps", "types=*&ping=x"))
def test_parameters_that_are_wrong(client, parameters):
    assert EventStream(client, parameters).status == 400


def test_events_path(client):
    stream, _ = opened(client, "", path="/events/")
    stream.close()


def test_who_accepts_anything_gets_a_stream(stack, person, client):
    stream, first = opened(client, "types=*&closeafter=no&ping=0", {"Accept": "*/*"})
    with stream:
        last = (stream.settled() or [first])[-1]
        for _ in range(2):
            append(stack, person)
            seen = stream.next()
            assert seen.changed["Email"] != last.changed.get("Email")
            last = (stream.settled() or [seen])[-1]


def test_only_the_types_asked_for(stack, person, client):
    stream, first = opened(client, "types=Email,EmailDelivery&closeafter=no&ping=0")
    with stream:
        assert set(first.changed) <= {"Email", "EmailDelivery"}
        stream.settled()
        append(stack, person)
        assert set(stream.next().changed) == {"Email", "EmailDelivery"}


def test_close_after_state(stack, person, client):
    client.mailbox("inbox")
    stream, first = opened(client, "types=*&closeafter=no&ping=0")
    with stream:
        last = (stream.settled() or [first])[-1]
    if not last.id.startswith("1."):  # nchan's
        with EventStream(client, "types=Email&closeafter=no&ping=0") as own:
            last = own.next()
    # Only what changed since then is told, and then it is over.
    with EventStream(client, "types=Email&closeafter=state&ping=0", {"Last-Event-ID": last.id}) as poll:
        time.sleep(0.2)
        append(stack, person)
        event = poll.next()
        assert set(event.changed) == {"Email"}
        assert poll.ended.wait(WAIT_S)
    # What came between two polls comes at once.
    append(stack, person)
    with EventStream(client, "types=Email&closeafter=state&ping=0", {"Last-Event-ID": event.id}) as poll:
        assert poll.next().changed["Email"] != event.changed["Email"]


def until_it_waits(client, headers):
    """Polls one after the other, each as the last is answered: the first that isn't, and the answers. Where they show
    an id, each shows that of the last answer."""
    answers = []
    for _ in range(6):
        if answers and "Last-Event-ID" in headers:
            headers = {"Last-Event-ID": answers[-1].id}
        poll = EventStream(client, headers={**headers, **POLL})
        assert poll.status == 200
        try:
            answers.append(poll.next(QUIET_S))
        except queue.Empty:
            return poll, answers
        assert poll.ended.wait(WAIT_S)
    raise AssertionError(f"every poll is answered at once: {answers}")


def test_a_poll_that_shows_no_position(stack, person, client):
    """It is told what the session wasn't told before, and waits where that is nothing."""
    poll, answers = until_it_waits(client, {})
    with poll:
        assert {"Mailbox", "Email", "Thread"} <= set(answers[0].changed)
        append(stack, person)
        event = poll.next()
        assert event.changed["Email"] != answers[-1].changed.get("Email")
        assert poll.ended.wait(WAIT_S)
    # What came between two polls comes at once.
    poll, _ = until_it_waits(client, {})
    with poll:
        append(stack, person)
        assert "Email" in poll.next().changed
        assert poll.ended.wait(WAIT_S)
    append(stack, person)
    with EventStream(client, headers=POLL) as poll:
        assert "Email" in poll.next().changed


def test_a_poll_that_shows_an_event_of_posterns(stack, person, client):
    poll, answers = until_it_waits(client, {})
    poll.close()
    poll, again = until_it_waits(client, {"Last-Event-ID": answers[-1].id})
    with poll:
        append(stack, person)
        event = poll.next()
        assert event.changed["Email"] != (again or answers)[-1].changed.get("Email")
        assert event.id.startswith("1.")


def test_a_poll_that_wants_to_be_told_all(client, way):
    for _ in range(2):
        response = client.request("GET", "/jmap/events/", headers={"Last-Event-ID": "1.", **POLL})
        assert response.status == 200
        if way == "nchan":
            assert {"Mailbox", "Email", "Thread"} <= set(*response.json["changed"].values())
            assert response.header("Etag") and response.header("Last-Modified")
        else:
            assert b"\nid: 1." in response.body


def test_mail_while_the_stream_was_away(stack, person, client):
    stream, first = opened(client)
    last = (stream.settled() or [first])[-1]
    stream.close()
    append(stack, person)
    with EventStream(client, headers={"Last-Event-ID": last.id}) as again:
        assert again.status == 200
        again.until(lambda event: event.changed.get("Email", first.changed["Email"]) != last.changed.get("Email"))


def test_imap_server_restarted(stack, person, client):
    stream, _ = opened(client)
    with stream:
        stream.settled()
        stack.server.stop()
        stack.server.start()
        with stack.server.signed_in(person.user) as imap:
            ok(imap.append("INBOX", None, None, MESSAGE))
        assert "Email" in stream.next(60).changed
