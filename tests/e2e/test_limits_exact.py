"""What the limits count, held exactly against what crossed the wire: in both directions, in the metrics, and where the
broker is killed in the middle. And the sign-in throttle for those who show their password with each request. Through
nginx, with Dovecot and an outgoing mail server."""

import concurrent.futures
import contextlib
import itertools
import os
import socket
import urllib.request

import pytest

from conftest import running
from support import fastcgi, jmap, login
from support.jmap import CORE, MAIL
from support.processes import free_port, wait_for
from support.sending import Sender, outgoing
from support.stack import Stack
from test_limits import SECTION, add, newest, used

BLOB = "urn:ietf:params:jmap:blob"
LARGE = {"mail_received_hour": "50MB", "mail_sent_hour": "50MB", "mail_day": "90MB", "files_hour": "50MB"}
SMALL = {"mail_received_hour": "600kB", "mail_sent_hour": "10kB", "files_hour": "100kB", "messages_hour": 1,
         "sessions": 2, "uploads": "50kB"}
PLANS = {"large": LARGE, "small": SMALL, "times": {**LARGE, "sent_times_recipients": True},
         "single": {**LARGE, "requests": 1}, "double": {**LARGE, "requests": 2}}


@pytest.fixture(scope="module")
def metrics_port():
    return free_port()


@pytest.fixture(scope="module")
def plans(run):
    """The map file: gives a person a plan."""
    return os.path.join(run.dir, "limits-exact-plans")


@pytest.fixture(scope="module")
def stack(run, pki, smtp, plans, metrics_port):
    with open(plans, "w", encoding="utf-8"):
        pass
    tables = outgoing(run, smtp, "limits-exact")
    tables.update({"limits": {"default_plan": "large", "plan_maps": [plans], "reading_reserve": 0}, "plans": PLANS,
                   "metrics": {"listen": f"127.0.0.1:{metrics_port}"},
                   "imap": {"command_timeout": "60s"},
                   "throttle": {"delay_min": "10ms", "delay_max": "5s", "failures_max": 6}})
    yield from running(Stack, run.part("limits-exact"), pki, tables)


@pytest.fixture(autouse=True)
def whole_again(stack):
    yield
    stack.imap.tap = None
    stack.imap.release()
    for process in (stack.postern.broker, stack.postern.worker):
        if not process.alive:
            process.start()


@pytest.fixture
def sender(stack, smtp):
    smtp.reset()
    return Sender(stack, smtp, client=lambda person: login.with_token(stack, stack.nginx, person))


@pytest.fixture
def reader(stack, request):
    """Somebody, and their client."""
    person = stack.person(request.node.name, messages=0)
    return person, login.with_token(stack, stack.nginx, person)


def give(stack, plans, person, plan):
    with open(plans, "a", encoding="utf-8") as out:
        out.write(f"{person.user} {plan}\n")
    stack.postern.control("reload")
    assert stack.postern.control("limits", "show", person.user)["plan"] == plan


def received(stack):
    """Octets of message sections that the server has sent since the tap was opened."""
    return sum(int(octets) for octets in SECTION.findall(stack.imap.tap))


def appended(stack):
    return sum(octets for command in stack.imap.commands() if command.name == "APPEND" for octets in command.literals)


def limits_of(stack, person):
    return {row["limit"]: row["used"] for row in stack.postern.control("limits", "show", person.user)["limits"]}


# --- Each definition against the wire

def test_all_that_is_counted_is_what_crossed_the_wire(stack, smtp, sender):
    """One day of somebody's: read, search, filed, sent, uploaded, downloaded; each count beside the octets that a proxy
    has seen, the outgoing server has got, and HTTP has carried."""
    person, client = sender.person, sender.client
    draft = sender.draft()
    raw = add(stack, person, 30_000, "words to be found " + "x" * 3_000)
    before, filed_before = limits_of(stack, person), appended(stack)
    assert before["mailSentPerHour"] == 0 and before["filesPerHour"] == 0
    stack.imap.tap = bytearray()
    inbox = client.mailbox("inbox")["id"]
    # Read: a list, a message opened, one as a whole by HTTP, one by a method, what was searched for.
    wait_for(lambda: newest(client, ("subject",))["subject"] == "file", "the message")
    email = newest(client, ("id", "blobId", "attachments", "subject", "preview"))
    client.call("Email/get", ids=[email["id"]], fetchTextBodyValues=True, properties=["bodyValues", "headers"])
    client.call("SearchSnippet/get", emailIds=[email["id"]], filter={"text": "words"})
    assert client.download(email["blobId"]).body == raw
    client.calls([["Blob/get", {"accountId": client.account_id, "ids": [email["blobId"]],
                                "properties": ["digest:sha"]}, "b"]], (CORE, MAIL, BLOB))
    parsed = client.call("Email/parse", blobIds=[email["blobId"]], properties=["subject"])
    assert parsed["parsed"][email["blobId"]]["subject"] == "file"
    # A part by HTTP is a file, and is read of the server outside of what mail received counts.
    mail_received = received(stack)
    stack.imap.tap = bytearray()
    part = client.download(email["attachments"][0]["blobId"])
    assert len(part.body) == 30_000 and received(stack) > 30_000
    stack.imap.tap = bytearray()
    assert mail_received > 3 * len(raw)
    assert limits_of(stack, person)["mailReceivedPerHour"] - before["mailReceivedPerHour"] == mail_received
    # Files: uploads by HTTP and by a method; a download of a part, of an upload, and of a range of it.
    upload = client.upload(b"u" * 12_345)
    blob = upload.json["blobId"]
    client.calls([["Blob/upload", {"accountId": client.account_id,
                                   "create": {"a": {"data": [{"data:asText": "t" * 1_111}]}}}, "b"]],
                 (CORE, MAIL, BLOB))
    whole, piece = client.download(blob), client.download(blob, Range="bytes=0-99")
    files = 12_345 + 1_111 + len(part.body) + len(whole.body) + len(piece.body)
    assert limits_of(stack, person)["filesPerHour"] == limits_of(stack, person)["filesPerDay"] == files
    # Sent: what is filed, by APPEND, and what goes out, by SMTP.
    drafts = client.mailbox("drafts")["id"]
    made = client.call("Email/set", create={"one": {
        "mailboxIds": {drafts: True}, "subject": "x", "from": [{"email": sender.address}],
        "textBody": [{"partId": "t"}], "bodyValues": {"t": {"value": "line\n" * 500}}}})["created"]["one"]
    imported = client.call("Email/import", emails={"two": {"blobId": client.blob(b"Subject: y\n\nbody\n"),
                                                           "mailboxIds": {inbox: True}}})["created"]["two"]
    files += len(b"Subject: y\n\nbody\n")
    filed = appended(stack) - filed_before
    assert filed == made["size"] + imported["size"]
    assert limits_of(stack, person)["mailSentPerHour"] == filed
    sender.submitted(draft)
    message, = smtp.messages
    now = limits_of(stack, person)
    assert now["mailSentPerHour"] == filed + len(message.content)
    assert now["messagesPerHour"] == now["messagesPerDay"] == 1
    assert now["recipientsPerHour"] == now["recipientsPerDay"] == len(message.recipients) == 4
    assert now["filesPerHour"] == files
    assert now["mailPerHour"] == now["mailPerDay"] == now["mailReceivedPerHour"] + now["mailSentPerHour"]


def test_mail_sent_counts_for_each_recipient_where_the_plan_says_so(stack, smtp, sender, plans):
    give(stack, plans, sender.person, "times")
    sender.submitted(sender.draft())
    message, = smtp.messages
    assert len(message.recipients) == 4
    assert used(stack, sender.person, "mailSentPerHour") == 4 * len(message.content)
    assert used(stack, sender.person, "messagesPerHour") == 1
    assert used(stack, sender.person, "recipientsPerHour") == 4


# --- Metrics

def metrics_of(port, plan):
    """{(name, kind or limit): value} of a plan."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = {}
    for line in lines:
        name, _, rest = line.partition("{")
        labels, _, value = rest.partition("} ")
        known = dict(pair.split("=", 1) for pair in labels.replace('"', "").split(",") if "=" in pair)
        if name.startswith("postern_plan_") and known.pop("plan", None) == plan:
            values[name[len("postern_plan_"):-len("_total")], next(iter(known.values()), "")] = int(value)
    return values


def test_metrics_by_plan_and_limit(stack, smtp, sender, plans, metrics_port):
    """Nobody else has this plan: each value is exactly this person's."""
    person, client = sender.person, sender.client
    first, second = sender.draft(), sender.draft()
    raw = add(stack, person, 300_000)
    wait_for(lambda: newest(client, ("subject",))["subject"] == "file", "the message")
    give(stack, plans, person, "small")
    before = limits_of(stack, person)
    email = newest(client, ("id", "blobId", "attachments"))
    blob = email["attachments"][0]["blobId"]
    assert client.upload(b"u" * 40_000).status == 201
    assert client.upload(b"u" * 50_001).status == 507  # uploads
    assert client.upload(b"u" * 49_000).status == 201
    assert client.download(blob).status == 429  # files within an hour
    assert client.download(email["blobId"]).status == 200
    assert client.download(email["blobId"]).status == 429  # mail received
    sender.submitted(first)
    refused, = sender.submit(second)
    assert refused["notCreated"]["one"]["limit"] == "messagesPerHour"
    drafts = client.mailbox("drafts")["id"]
    filed = client.call("Email/set", create={"one": {
        "mailboxIds": {drafts: True}, "subject": "x", "textBody": [{"partId": "t"}],
        "bodyValues": {"t": {"value": "line\n" * 3_000}}}})
    assert filed["notCreated"]["one"]["limit"] == "mailSentPerHour"
    login.with_token(stack, stack.nginx, person)
    third = stack.client(stack.nginx).post("/auth/login", login.body(person, token=True))
    assert third.status == 429 and third.json["limit"] == "sessions"
    message, = smtp.messages
    now, seen = limits_of(stack, person), metrics_of(metrics_port, "small")
    assert seen["octets", "received"] == now["mailReceivedPerHour"] - before["mailReceivedPerHour"] >= len(raw)
    assert seen["octets", "sent"] == now["mailSentPerHour"] == len(message.content)
    assert seen["octets", "files"] == now["filesPerHour"] == 89_000
    assert (seen["messages", ""], seen["recipients", ""]) == (1, len(message.recipients))
    refusals = {limit: value for (name, limit), value in seen.items() if name == "refusals" and value}
    assert refusals == {"uploads": 1, "filesPerHour": 1, "mailReceivedPerHour": 1, "messagesPerHour": 1,
                        "mailSentPerHour": 1, "sessions": 1}


# --- Requests at a time

def in_flight(stack, person):
    account, = stack.postern.control("accounts", person.user)["accounts"]
    return account["requestsInFlight"]


@pytest.mark.parametrize("plan, at_once", [("single", 1), ("double", 2)])
def test_requests_at_a_time_by_plan(stack, reader, plans, plan, at_once):
    """While one request waits for the mail server, another one that needs nothing of it waits behind it, or doesn't."""
    person, client = reader
    add(stack, person, 10)
    give(stack, plans, person, plan)
    other = stack.client(stack.nginx, client.headers)
    other._session = client.session
    echo = [["Core/echo", {"x": 1}, "e"]]
    assert other.api(echo).status == 200
    email = newest(client, ("id",))["id"]
    read = [["Email/get", {"accountId": client.account_id, "ids": [email], "fetchAllBodyValues": True,
                           "properties": ["bodyValues"]}, "g"]]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stack.imap.hold()
        first = pool.submit(client.api, read)
        wait_for(lambda: in_flight(stack, person) == 1, "the first request")
        arrived = stack.postern.control("status")["requests"]["total"]
        second = pool.submit(other.api, echo)
        wait_for(lambda: stack.postern.control("status")["requests"]["total"] > arrived, "the second one")
        if at_once == 1:
            assert in_flight(stack, person) == 1 and not second.done()
        else:
            assert second.result(60).status == 200 and not first.done()
        stack.imap.release()
        assert first.result(60).status == second.result(60).status == 200


# --- Killed in the middle

def killed(stack):
    """The broker is killed and the next one is there; what it asks of the mail server is tapped, and nothing else."""
    stack.postern.broker.kill()
    stack.imap.drop()
    wait_for(lambda: stack.imap.open_connections() == 0, "the end of the old connections")
    stack.imap.tap = bytearray()
    stack.postern.broker.start()


def test_a_read_of_several_messages_killed_and_repeated_counts_once(stack, reader):
    """Two have come and the third is cut off: what had moved for the request counts as little twice as what hadn't."""
    person, client = reader
    for octets in (50_000, 51_000, 90_000):
        add(stack, person, 100, "z" * octets)
    inbox = client.mailbox("inbox")["id"]
    wait_for(lambda: client.newest(inbox, ("size",))[0]["total"] == 3, "the messages")
    emails = sorted(client.newest(inbox, ("size",))[1]["list"], key=lambda email: email["size"])
    before = used(stack, person, "mailReceivedPerHour")
    calls = [["Email/get", {"accountId": client.account_id, "ids": [email["id"]], "fetchTextBodyValues": True,
                            "properties": ["bodyValues", "headers"]}, "g"] for email in emails]
    stack.imap.cut_in_next_literal(least_bytes=80_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.api, calls)
        wait_for(stack.imap.is_held, "the third one's literal")
        assert used(stack, person, "mailReceivedPerHour") - before > 190_000  # the third one's are reserved
        killed(stack)
        answer = reading.result(60)
    assert answer.status == 200, answer.body
    assert [name for name, _, _ in answer.json["methodResponses"]] == ["Email/get"] * 3
    assert used(stack, person, "mailReceivedPerHour") - before == received(stack) > 190_000


def test_a_read_cut_in_a_literal_and_repeated_counts_once(stack, reader):
    person, client = reader
    add(stack, person, 100, "z" * 50_000)
    email = newest(client, ("id",))["id"]
    before = used(stack, person, "mailReceivedPerHour")
    read = [["Email/get", {"accountId": client.account_id, "ids": [email], "fetchTextBodyValues": True,
                           "properties": ["bodyValues"]}, "g"]]
    stack.imap.cut_in_next_literal(least_bytes=10_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.api, read)
        wait_for(stack.imap.is_held, "the literal")
        assert used(stack, person, "mailReceivedPerHour") - before >= 50_000  # reserved
        killed(stack)
        assert reading.result(60).status == 200
    assert used(stack, person, "mailReceivedPerHour") - before == received(stack) >= 50_000


def test_a_download_killed_before_its_first_octet_counts_once(stack, reader):
    person, client = reader
    raw = add(stack, person, 200_000)
    email = newest(client, ("blobId",))
    before = used(stack, person, "mailReceivedPerHour")
    stack.imap.cut_in_next_literal(least_bytes=10_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.download, email["blobId"])
        wait_for(stack.imap.is_held, "the literal")
        killed(stack)
        assert reading.result(60).body == raw
    assert used(stack, person, "mailReceivedPerHour") - before == len(raw) == received(stack)


def test_a_download_killed_in_the_middle_counts_what_has_gone_out(stack, reader):
    """What the browser has some of isn't repeated: what was reserved stays counted, and is once."""
    person, client = reader
    raw = add(stack, person, 4_000_000)
    wait_for(lambda: newest(client, ("size",))["size"] > 4_000_000, "the message")
    email = newest(client, ("blobId",))
    before = used(stack, person, "mailReceivedPerHour")
    path = f"/jmap/download/{client.account_id}/{email['blobId']}/large?accept=message%2Frfc822"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", stack.nginx.port))
        connection.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                            f"Authorization: {client.headers['Authorization']}\r\n\r\n").encode())
        got = len(connection.recv(4096))
        killed(stack)
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                got += len(piece)
    assert 0 < got
    counted = used(stack, person, "mailReceivedPerHour") - before
    assert min(got, len(raw)) <= counted + 1_000 and counted <= len(raw)
    assert client.download(email["blobId"]).body == raw
    assert used(stack, person, "mailReceivedPerHour") - before == counted + len(raw)


@pytest.mark.parametrize("announced", (True, False), ids=("announced", "chunked"))
def test_an_upload_killed_in_the_middle_counts_once(stack, reader, announced):
    """Half of the body is with the broker when it is killed; the worker has all of that, and sends it again."""
    person, client = reader
    path, body = f"/jmap/upload/{client.account_id}/", bytes(i % 251 for i in range(400_000))
    extra = {"CONTENT_TYPE": "application/octet-stream"}
    if not announced:
        extra["CONTENT_LENGTH"] = ""
    request = fastcgi.encoded_request("POST", path, client.headers, body, extra=extra)
    half = len(request) // 2
    with fastcgi.connect(stack.postern.worker_socket, timeout=60) as connection:
        connection.sendall(request[:half])
        directory = os.path.join(stack.postern.runtime_dir, "uploads")

        def written():
            return sum(entry.stat().st_size for entry in os.scandir(directory) if entry.name.startswith("new-"))

        wait_for(lambda: written() > 100_000, "half of the body")
        reserved = used(stack, person, "filesPerHour")
        assert reserved == len(body) if announced else 100_000 < reserved < len(body)
        killed(stack)
        again = used(stack, person, "filesPerHour")
        assert again == reserved if announced else reserved <= again < len(body)
        connection.sendall(request[half:])
        status, _, answer = fastcgi.answer(connection)
    assert status == 201, answer
    assert used(stack, person, "filesPerHour") == len(body)


# --- Signing in by Basic

def basic(stack, person, password, **headers):
    client = stack.client(stack.nginx, {"Authorization": jmap.basic(person.user, password), **headers})
    return client.get("/jmap/session")


def test_basic_is_throttled_wherever_it_is_shown(stack, reader):
    """Guesses that come with requests of all kinds are one person's failures; sessions go on."""
    person, client = reader
    account = client.account_id
    numbers = itertools.count()

    def guess():
        other = stack.client(stack.nginx, {"Authorization": jmap.basic(person.user, f"guess {next(numbers)}")})
        kind = next(kinds)
        if kind == "api":
            return other.post("/jmap/api", {"using": [CORE], "methodCalls": [["Core/echo", {}, "e"]]})
        if kind == "upload":
            return other.post(f"/jmap/upload/{account}/", b"x", {"Content-Type": "text/plain"})
        if kind == "download":
            return other.get(f"/jmap/download/{account}/nothing/name")
        return other.get("/jmap/session")

    kinds = itertools.cycle(("api", "upload", "download", "session"))
    before = stack.imap.counts()["LOGIN"]
    answers = [guess() for _ in range(12)]
    refused = [answer for answer in answers if answer.status == 429]
    assert [answer.status for answer in answers[:6]] == [401] * 6 and refused
    # What is refused doesn't get to the mail server.
    assert stack.imap.counts()["LOGIN"] - before == sum(answer.status == 401 for answer in answers)
    for answer in refused:
        assert answer.json["limit"] == "signInFailures" and int(answer.header("Retry-After")) > 0
    assert client.get("/jmap/session").status == 200
    # The owner, who has signed in from here before, gets in by trying again.
    wait_for(lambda: basic(stack, person, person.password).status == 200, "the owner")


def test_what_a_client_says_of_its_address_counts_only_from_a_trusted_proxy(stack, reader):
    person, _ = reader
    guesses = itertools.count()

    def guess(address):
        return basic(stack, person, f"guess {next(guesses)}", **{"X-Forwarded-For": address}).status

    answers = [guess(f"203.0.113.{i}") for i in range(8)]
    assert answers[:6] == [401] * 6 and 429 in answers[6:]
    other = stack.person("forwarded", messages=0)
    stack.postern.configure({"http": {"trusted_proxies": ["127.0.0.1"]}})
    stack.postern.control("reload")
    try:
        person = other
        assert [guess(f"203.0.113.{i}") for i in range(8)] == [401] * 8
        assert [guess("203.0.113.99") for _ in range(8)] == [401] * 6 + [429] * 2
        # Somebody else at another address isn't concerned, nor is the same person.
        forwarded = {"X-Forwarded-For": "203.0.113.200"}
        assert basic(stack, person, person.password, **forwarded).status == 200
    finally:
        stack.postern.configure({"http": {"trusted_proxies": []}})
        stack.postern.control("reload")


def test_good_credentials_are_no_failures_and_many_at_once_are_one_try(stack, reader):
    person, _ = reader
    before = stack.imap.counts()["LOGIN"]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        good = list(pool.map(lambda _: basic(stack, person, person.password), range(40)))
        wrong = list(pool.map(lambda _: basic(stack, person, "wrong"), range(40)))
    assert {answer.status for answer in good} == {200} and {answer.status for answer in wrong} == {401}
    # The good ones were tried beside the session's account once, the wrong ones once.
    assert stack.imap.counts()["LOGIN"] - before <= 2
    assert basic(stack, person, person.password).status == 200


def test_invented_logins_take_no_place(stack):
    """The segment has room for those who have signed in; who guesses gets none of it."""
    def in_segment(login_name):
        with open(stack.postern.segment, "rb") as segment:
            return login_name.encode() in segment.read()

    for number in range(5):
        client = stack.client(stack.nginx, {"Authorization": jmap.basic(f"invented{number}", "x")})
        assert client.get("/jmap/session").status == 401
        assert not in_segment(f"invented{number}")
    person = stack.person("placed", messages=0)
    assert basic(stack, person, person.password).status == 200
    assert in_segment(person.user)
