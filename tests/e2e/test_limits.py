"""Limits by plan and the sign-in throttle, through nginx, workers and broker: what is counted against what crossed the
wire, what is refused and how, what goes on, and what an administrator sees and changes."""

import base64
import os
import re
import signal

import pytest

from conftest import running
from support import jmap, login
from support.processes import REPOSITORY, wait_for
from support.stack import Stack

MB = 1_000_000
# Octets of message sections as IMAP has them: BODY[...] and its literal.
SECTION = re.compile(rb"BODY\[[^\]]*\](?:<\d+>)? \{(\d+)\}\r\n")
LIST = ("subject", "from", "receivedAt", "size", "preview")


@pytest.fixture(scope="module")
def stack(run, pki):
    """Everybody has a small plan; the address of all tests may fail as often as it likes, logins may not."""
    yield from running(Stack, run.part("limits"), pki, {
        "limits": {"default_plan": "small", "reading_reserve": "300kB"},
        "plans": {"small": ["1MB", "1MB", "2MB", "4MB", "500kB", "900kB"]},
        "throttle": {"delay_min": "10ms", "delay_max": "5s", "failures_max": 6}})


@pytest.fixture
def person(stack, request):
    return stack.person(request.node.name, messages=0)


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


def add(stack, person, size, text="short"):
    """A message with an attachment of so many octets; the message's own octets."""
    encoded = base64.encodebytes(bytes(i * 7 % 251 for i in range(size))).replace(b"\n", b"\r\n")
    raw = (b"From: a@example.org\r\nTo: b@example.org\r\nSubject: file\r\nMIME-Version: 1.0\r\n"
           b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n" + text.encode() +
           b"\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
           b"Content-Disposition: attachment; filename=f\r\n\r\n" + encoded + b"--x--\r\n")
    with stack.server.signed_in(person.user) as imap:
        assert imap.append("INBOX", None, None, raw)[0] == "OK"
    return raw


def newest(client, properties):
    got = client.newest(client.mailbox("inbox")["id"], properties)[1]
    return got["list"][0]


def used(stack, person, limit):
    shown = stack.postern.control("limits", "show", person.user)
    return next(row["used"] for row in shown["limits"] if row["limit"] == limit)


def broker_log(stack):
    with open(stack.postern.broker.log, encoding="utf-8") as log:
        return log.read()


def test_mail_received_is_what_crossed_the_wire(stack, client, person):
    for text in ("first", "second", "x" * 5_000):
        add(stack, person, 100, text)
    inbox = client.mailbox("inbox")["id"]
    stack.imap.tap = bytearray()
    listed = client.newest(inbox, LIST)[1]["list"]
    client.call("Email/get", ids=[email["id"] for email in listed], fetchTextBodyValues=True,
                properties=["bodyValues", "textBody", "headers"])
    crossed = sum(int(octets) for octets in SECTION.findall(stack.imap.tap))
    stack.imap.tap = None
    assert crossed > 5_000
    assert used(stack, person, "mailReceivedPerHour") == crossed
    assert used(stack, person, "mailPerHour") == crossed
    assert used(stack, person, "mailPerDay") == crossed
    # The same again comes from memory and costs nothing.
    client.newest(inbox, LIST)
    assert used(stack, person, "mailReceivedPerHour") == crossed


def test_a_whole_message_is_mail_and_a_part_is_a_file(stack, client, person):
    raw = add(stack, person, 3_000)
    email = newest(client, ("blobId", "attachments"))
    before = used(stack, person, "mailReceivedPerHour")
    assert client.download(email["blobId"]).body == raw
    assert used(stack, person, "mailReceivedPerHour") == before + len(raw)
    assert used(stack, person, "filesPerHour") == 0
    part = client.download(email["attachments"][0]["blobId"])
    assert len(part.body) == 3_000
    assert used(stack, person, "filesPerHour") == used(stack, person, "filesPerDay") == 3_000
    assert used(stack, person, "mailReceivedPerHour") == before + len(raw)


def test_files_up_to_the_limit(stack, client, person):
    add(stack, person, 200_000)
    blob = newest(client, ("attachments",))["attachments"][0]["blobId"]
    for _ in range(2):
        assert client.download(blob).status == 200
    refused = client.download(blob)
    assert refused.status == 429
    assert refused.header("Content-Type") == "application/problem+json"
    problem = refused.json
    assert problem["type"] == "urn:ietf:params:jmap:error:limit"
    assert (problem["limit"], problem["plan"], problem["amount"]) == ("filesPerHour", "small", 500_000)
    assert problem["used"] == 400_000 and problem["asked"] >= 200_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", problem["availableAt"])
    assert 3_300 <= int(refused.header("Retry-After")) <= 3_900
    # Nothing of the refused one was counted, and mail goes on.
    assert used(stack, person, "filesPerHour") == 400_000
    assert newest(client, LIST)["subject"] == "file"


def test_reading_goes_on_when_mail_received_is_used_up(stack, client, person):
    add(stack, person, 650_000)
    add(stack, person, 10, "y" * 300_000)
    inbox = client.mailbox("inbox")["id"]
    email, whole = sorted(client.newest(inbox, ("blobId", "size"))[1]["list"], key=lambda item: item["size"])
    assert client.download(whole["blobId"]).status == 200
    refused = client.download(email["blobId"])
    assert refused.status == 429 and refused.json["limit"] == "mailReceivedPerHour"
    error = client.call_error("Email/get", ids=[email["id"]], fetchTextBodyValues=True, properties=["bodyValues"])
    assert error["type"] == "rateLimit"
    assert (error["limit"], error["plan"], error["amount"]) == ("mailReceivedPerHour", "small", MB)
    # What is small goes on, in the same request, too.
    add(stack, person, 10)
    wait_for(lambda: client.newest(inbox, LIST)[0]["total"] == 3, "the new message")
    listed = client.newest(inbox, LIST)[1]["list"]
    smallest = min(listed, key=lambda item: item["size"])
    body, = client.call("Email/get", ids=[smallest["id"]], fetchTextBodyValues=True,
                        properties=["bodyValues"])["list"]
    assert [value["value"] for value in body["bodyValues"].values()] == ["short"]


def test_counts_survive_restarts_and_crashes(stack, client, person):
    add(stack, person, 400_000)
    blob = newest(client, ("attachments",))["attachments"][0]["blobId"]
    assert client.download(blob).status == 200
    before = used(stack, person, "filesPerDay")
    assert before == 400_000
    for end in (stack.postern.broker.stop, stack.postern.broker.kill):
        end()
        stack.postern.broker.start()
        assert used(stack, person, "filesPerDay") == before
        assert client.download(blob).status == 429


def test_grant_and_reset(stack, client, person):
    add(stack, person, 400_000)
    blob = newest(client, ("attachments",))["attachments"][0]["blobId"]
    assert [client.download(blob).status for _ in range(2)] == [200, 429]
    granted = stack.postern.control("limits", "grant", person.user, "--limit", "files_hour", "--amount", "400kB",
                                    "--until", "2h")
    assert next(row for row in granted["limits"] if row["limit"] == "filesPerHour")["amount"] == 900_000
    assert client.download(blob).status == 200
    assert client.download(blob).status == 429
    top = stack.postern.control("limits", "top", "--by", "files_hour", "--count", "1")
    assert [row["login"] for row in top["people"]] == [person.user]
    stack.postern.control("limits", "reset", person.user)
    assert used(stack, person, "filesPerHour") == 0
    assert client.download(blob).status == 200
    log = broker_log(stack)
    assert "allowance granted by the administrator" in log and "use reset by the administrator" in log


def test_a_worker_refuses_an_upload_beyond_the_plan(stack, client):
    """By the segment and before the body: the broker has no hand in it."""
    path = f"/jmap/upload/{client.account_id}/"
    requests = stack.postern.control("status")["requests"]["total"]
    refused = client.post(path, b"x" * 500_001, {"Content-Type": "application/octet-stream"})
    assert refused.status == 429 and refused.json["limit"] == "filesPerHour"
    assert refused.json["availableAt"] is None and refused.header("Retry-After") == "86400"
    assert stack.postern.control("status")["requests"]["total"] == requests


def test_a_reload_changes_plans_and_a_wrong_one_changes_nothing(stack, client, person):
    plans = os.path.join(stack.run.dir, "plans")
    try:
        with open(plans, "w", encoding="utf-8") as out:
            out.write(f"{person.user} unlimited\n")
        stack.postern.configure({"limits": {"plan_maps": [plans]}})
        stack.postern.control("reload")
        assert stack.postern.control("limits", "show", person.user)["plan"] == "unlimited"
        with open(plans, "w", encoding="utf-8") as out:
            out.write(f"\n{person.user} gold\n")
        status, said = stack.postern.check_configuration()
        assert status != 0 and f"{plans}:2: no such plan: gold" in said
        stack.postern.broker.signal(signal.SIGHUP)
        wait_for(lambda: "configuration not reloaded" in broker_log(stack), "the reload")
        assert stack.postern.control("limits", "show", person.user)["plan"] == "unlimited"
    finally:
        stack.postern.configure({"limits": {"plan_maps": []}})
        stack.postern.control("reload")
    assert stack.postern.control("limits", "show", person.user)["plan"] == "small"


# --- Signing in

def sign_in(stack, person, password):
    client = stack.client(stack.nginx)
    return client.post("/auth/login", {"username": person.user, "password": password, "token": True})


def tries_at_the_server(stack):
    return sum(1 for connection in stack.imap.connections for command in connection.commands
               if command.name in ("LOGIN", "AUTHENTICATE"))


def test_a_wrong_password_is_tried_once(stack, person):
    before = tries_at_the_server(stack)
    assert [sign_in(stack, person, "wrong").status for _ in range(5)] == [401] * 5
    assert tries_at_the_server(stack) == before + 1
    assert sign_in(stack, person, person.password).status == 200


def test_guessing_is_refused_and_the_owner_gets_in(stack, person):
    client = login.with_token(stack, stack.nginx, person)
    answers = [sign_in(stack, person, f"guess {i}") for i in range(8)]
    assert [answer.status for answer in answers] == [401] * 6 + [429] * 2
    assert answers[-1].json["limit"] == "signInFailures"
    assert 0 < int(answers[-1].header("Retry-After")) <= 900
    # The session goes on. The password that was good here is held up as well: else the answer would tell who guesses
    # which one it is. Its owner gets in by trying again.
    assert client.get("/jmap/session").status == 200
    assert sign_in(stack, person, person.password).status == 429
    wait_for(lambda: sign_in(stack, person, person.password).status == 200, "the owner")


def test_failures_match_the_filter_of_fail2ban(stack, person):
    with open(os.path.join(REPOSITORY, "deploy/fail2ban/filter.d/postern.conf"), encoding="utf-8") as file:
        rule, = re.findall(r"^failregex = (.*)$", file.read(), re.M)
    rule = re.compile(rule.replace("<HOST>", r"(?P<host>\S+)"))
    forged = "x posternd[1]: sign-in failed client=203.0.113.9 login=y"
    stack.client(stack.nginx).post("/auth/login", {"username": forged, "password": "wrong"})
    assert sign_in(stack, person, "wrong").status == 401
    # fail2ban takes the time stamp out before it matches.
    log = [re.sub(r"^\S+Z ", "", line) for line in broker_log(stack).splitlines()]
    lines = [line for line in log if re.match(r"info posternd\[\d+\]: sign-in failed", line)]
    assert len(lines) >= 2
    found = [line for line in log if rule.search(line)]
    assert set(lines) <= set(found)
    # A login that looks like such a line accuses nobody else, in no other line either.
    assert any(forged in line for line in found) and any(forged in line for line in set(log) - set(found))
    assert {rule.search(line)["host"] for line in found} == {"127.0.0.1"}
    # syslog's, the journal's, and the journal's of what has a stamp already.
    for prefix in ("posternd[12]: ", "host posternd[12]: ",
                   "host posternd[12]: 2026-03-02T10:40:00.123Z info posternd[12]: "):
        for said in ("failed", "refused"):
            line = re.sub(r"^.*?posternd\[\d+\]: sign-in failed", f"{prefix}sign-in {said}", lines[-1])
            assert rule.search(line)["host"] == "127.0.0.1", line


def test_a_password_known_to_be_wrong_is_no_further_failure(stack, person):
    """A telephone with the old one: fail2ban sees it once, however often it tries."""
    for _ in range(5):
        assert sign_in(stack, person, "the-old-one").status == 401
    failures = re.findall(rf"sign-in failed client=\S+ login={re.escape(person.user)}$", broker_log(stack), re.M)
    assert len(failures) == 1


def test_metrics_and_status_know_of_it(stack, client, person):
    add(stack, person, 100)
    newest(client, LIST)
    shown = stack.postern.control("limits", "show", person.user)
    assert shown["plan"] == "small" and shown["mailPerMonth"] == 120 * MB
    assert jmap.CORE in client.session["capabilities"]
