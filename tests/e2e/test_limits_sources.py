"""What plans limit beyond reading: sending, filing, blobs, uploads and sessions; where a plan comes from besides a map;
and what clients see coming. Through nginx and Apache, with Dovecot and an outgoing mail server."""

import os
import re
import stat

import pytest

from conftest import running
from support import login
from support.events import EventStream
from support.jmap import CORE, MAIL
from support.processes import wait_for
from support.stack import Stack
from test_limits import SECTION, add, broker_log, newest, used
from test_submission import Sender, outgoing

UTC_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
BLOB = "urn:ietf:params:jmap:blob"
QUOTA = "urn:ietf:params:jmap:quota"
SMALL = {"mail_received_hour": "1MB", "mail_sent_hour": "100kB", "mail_day": "4MB", "files_hour": "500kB",
         "files_day": "900kB", "messages_day": 3, "recipients_hour": 8, "sessions": 2, "uploads": "150kB"}


@pytest.fixture(scope="module")
def stack(run, pki, smtp):
    tables = outgoing(run, smtp, "limits-sources")
    tables.update({"limits": {"default_plan": "small", "reading_reserve": "20kB", "plan_cache": "1s"},
                   "plans": {"times": {**SMALL, "sent_times_recipients": True}, "gold": {"sessions": 5}}})
    tables["plans"]["small"] = SMALL
    yield from running(Stack, run.part("limits-sources"), pki, tables)


@pytest.fixture
def sender(stack, smtp):
    smtp.reset()
    return Sender(stack, smtp)


def client_of(stack, person):
    return login.with_token(stack, stack.nginx, person)


def person_of(stack, label):
    person = stack.person(label, messages=0)
    return person, client_of(stack, person)


# --- Sending and filing

def test_a_submission_is_what_goes_to_the_server(stack, sender):
    draft = sender.draft()
    filed = used(stack, sender.person, "mailSentPerHour")
    received = used(stack, sender.person, "mailReceivedPerHour")
    assert filed == 0  # filed beside Postern
    sender.submitted(draft)
    message, = sender.smtp.messages
    assert used(stack, sender.person, "mailSentPerHour") == len(message.content)
    assert used(stack, sender.person, "mailPerDay") >= len(message.content)
    assert used(stack, sender.person, "messagesPerDay") == 1
    assert used(stack, sender.person, "recipientsPerHour") == len(message.recipients) >= 4
    assert used(stack, sender.person, "mailReceivedPerHour") - received < 2_000  # header fields alone


def test_a_compose_over_the_limit_stays_a_draft(stack, sender):
    draft = sender.draft()
    envelope = {"mailFrom": {"email": sender.address}, "rcptTo": [{"email": f"r{i}@example.net"} for i in range(4)]}
    for _ in range(2):
        sender.submitted(draft, envelope)
    answer, = sender.submit(draft, envelope, onSuccessUpdateEmail={"#one": {"keywords/$draft": None}})
    error = answer["notCreated"]["one"]
    assert error["type"] == "rateLimit"
    assert (error["limit"], error["plan"], error["amount"], error["used"], error["asked"]) == \
        ("recipientsPerHour", "small", 8, 8, 4)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", error["availableAt"])
    assert len(sender.smtp.messages) == 2
    kept, = sender.client.call("Email/get", ids=[draft], properties=["keywords"])["list"]
    assert "$draft" in kept["keywords"]
    # One recipient more an hour is granted, and it goes out.
    stack.postern.control("limits", "grant", sender.person.user, "--limit", "recipients_hour", "--amount", "4",
                          "--until", "1h")
    sender.submitted(draft, envelope)
    assert used(stack, sender.person, "messagesPerDay") == 3


def test_what_is_filed_counts_and_small_drafts_are_kept(stack):
    person, client = person_of(stack, "filer")
    drafts = client.mailbox("drafts")["id"]

    def create(octets, keywords, **more):
        email = {"mailboxIds": {drafts: True}, "keywords": keywords, "subject": "x", "from": [{"email": "a@b.example"}],
                 "textBody": [{"partId": "t", "type": "text/plain"}], "bodyValues": {"t": {"value": "y" * 60 + "\n"}}}
        email["bodyValues"]["t"]["value"] = ("y" * 60 + "\n") * (octets // 61)
        return client.call("Email/set", create={"one": email}, **more)

    made = create(60_000, {"$seen": True})["created"]["one"]
    assert used(stack, person, "mailSentPerHour") == made["size"]
    refused = create(60_000, {"$seen": True})["notCreated"]["one"]
    assert refused["type"] == "rateLimit" and "the plan small" in refused["description"]
    assert (refused["limit"], refused["plan"], refused["amount"]) == ("mailSentPerHour", "small", 100_000)
    assert refused["used"] == made["size"] and refused["asked"] == made["size"]
    assert UTC_DATE.fullmatch(refused["availableAt"])
    assert used(stack, person, "mailSentPerHour") == made["size"]
    # The budget is nearly gone, and what is being written is kept nevertheless.
    more = create(39_000, {"$draft": True})["created"]["one"]
    last = create(15_000, {"$draft": True})["created"]["one"]
    assert used(stack, person, "mailSentPerHour") == made["size"] + more["size"] + last["size"] > 100_000
    # Saved anew by creating it and destroying the one before: where there is no room, that one stays.
    done = create(15_000, {"$draft": True}, destroy=[last["id"]])
    assert done["notCreated"]["one"]["type"] == "rateLimit"
    assert done["notDestroyed"][last["id"]]["type"] == "forbidden" and not done["destroyed"]
    assert client.call("Email/get", ids=[last["id"]], properties=["id"])["notFound"] == []


# --- Blobs and uploads

def test_blobs_that_methods_read_are_mail_received(stack):
    person, client = person_of(stack, "blobs")
    raw = add(stack, person, 200_000)
    blob = newest(client, ("blobId",))["blobId"]
    before = used(stack, person, "mailReceivedPerHour")
    stack.imap.tap = bytearray()
    answer = client.calls([["Blob/get", {"accountId": client.account_id, "ids": [blob],
                                         "properties": ["data:asBase64", "size"]}, "b"]], (CORE, MAIL, BLOB))[0][1]
    crossed = sum(int(octets) for octets in SECTION.findall(stack.imap.tap))
    stack.imap.tap = None
    assert answer["list"][0]["size"] == len(raw) == crossed
    assert used(stack, person, "mailReceivedPerHour") == before + crossed
    for _ in range(10):
        name, error, _ = client.calls([["Blob/get", {"accountId": client.account_id, "ids": [blob],
                                                     "properties": ["digest:sha"]}, "b"]], (CORE, MAIL, BLOB))[0]
        if name == "error":
            break
    assert error["type"] == "rateLimit" and error["limit"] == "mailReceivedPerHour"
    assert used(stack, person, "mailReceivedPerHour") <= 1_000_000


def test_uploads_are_files(stack):
    person, client = person_of(stack, "uploader")
    assert client.upload(b"x" * 70_000).status == 201
    assert used(stack, person, "filesPerHour") == 70_000
    made = client.calls([["Blob/upload", {"accountId": client.account_id, "create": {
        "a": {"data": [{"data:asText": "y" * 1_000}]}, "b": {"data": [{"blobId": "nothing"}]}}}, "u"]],
        (CORE, MAIL, BLOB))[0][1]
    assert made["created"]["a"]["size"] == 1_000 and made["notCreated"]["b"]
    assert used(stack, person, "filesPerHour") == 71_000


def test_the_plan_says_how_much_is_kept(stack):
    person, client = person_of(stack, "keeper")
    first = client.upload(b"a" * 100_000).json["blobId"]
    refused = client.upload(b"b" * 150_001)
    assert refused.status == 507 and refused.header("Content-Type") == "application/problem+json"
    assert {name: refused.json[name] for name in ("limit", "plan", "amount", "used", "asked", "availableAt")} == {
        "limit": "uploads", "plan": "small", "amount": 150_000, "used": 0, "asked": 150_001, "availableAt": None}
    made = client.calls([["Blob/upload", {"accountId": client.account_id, "create": {
        "a": {"data": [{"data:asText": "y" * 150_001}]}}}, "u"]], (CORE, MAIL, BLOB))[0][1]
    error = made["notCreated"]["a"]
    assert (error["type"], error["limit"], error["plan"], error["amount"], error["asked"], error["availableAt"]) == \
        ("overQuota", "uploads", "small", 150_000, 150_001, None)
    assert client.download(first).status == 200
    second = client.upload(b"c" * 60_000)  # the oldest gives way
    assert second.status == 201
    assert client.download(first).status == 404
    assert client.download(second.json["blobId"]).status == 200
    assert person.user


@pytest.mark.parametrize("web", ["nginx", "apache"])
def test_a_worker_refuses_before_the_broker_hears(stack, web):
    person = stack.person("gate", messages=0)
    client = login.with_token(stack, stack.web(web), person)
    path = f"/jmap/upload/{client.account_id}/"
    requests = stack.postern.control("status")["requests"]["total"]
    refused = client.post(path, b"x" * 500_001, {"Content-Type": "application/octet-stream"})
    assert refused.status == 429 and refused.json["limit"] == "filesPerHour"
    assert refused.header("Content-Type") == "application/problem+json" and refused.header("Retry-After") == "86400"
    assert stack.postern.control("status")["requests"]["total"] == requests
    assert used(stack, person, "filesPerHour") == 0


def test_downloads_of_ranges_count_what_goes_out(stack):
    person, client = person_of(stack, "ranges")
    blob = client.upload(b"r" * 100_000).json["blobId"]
    before = used(stack, person, "filesPerHour")
    part = client.download(blob, Range="bytes=10-1009")
    assert part.status == 206 and len(part.body) == 1_000
    assert used(stack, person, "filesPerHour") == before + 1_000


# --- Sessions

def test_sessions_by_plan(stack):
    person = stack.person("sessions", messages=0)
    first, second = client_of(stack, person), client_of(stack, person)
    refused = stack.client(stack.nginx).post("/auth/login", login.body(person, token=True))
    assert refused.status == 429 and refused.header("Retry-After") == "60"
    problem = refused.json
    assert (problem["limit"], problem["plan"], problem["amount"], problem["used"], problem["asked"]) == \
        ("sessions", "small", 2, 2, 1)
    assert UTC_DATE.fullmatch(problem["availableAt"]) and "the plan small allows 2 sessions" in problem["detail"]
    assert first.post("/auth/logout", {}).status == 200
    third = client_of(stack, person)
    assert second.get("/jmap/session").status == third.get("/jmap/session").status == 200


# --- Seeing it coming

def test_quotas_of_the_plan_are_told_and_pushed(stack):
    person, client = person_of(stack, "quota")
    add(stack, person, 200_000)
    blob = newest(client, ("attachments",))["attachments"][0]["blobId"]
    assert QUOTA in client.get("/jmap/session").json["capabilities"]
    using = (CORE, MAIL, QUOTA)

    def quotas(name, **arguments):
        return client.calls([[name, {"accountId": client.account_id, **arguments}, "q"]], using)[0][1]

    told = quotas("Quota/get", ids=None)
    files = next(quota for quota in told["list"] if quota["id"] == "plan-filesPerHour")
    assert files == {"id": "plan-filesPerHour", "resourceType": "octets", "used": 0, "hardLimit": 500_000,
                     "scope": "account", "name": "Files in an hour", "types": ["Blob"], "warnLimit": 400_000,
                     "softLimit": 450_000, "description": "the plan small"}
    assert {quota["resourceType"] for quota in told["list"]} == {"octets", "count"}
    by_name = quotas("Quota/query", filter={"resourceType": "octets"}, sort=[{"property": "used"}])["ids"]
    assert "plan-filesPerHour" in by_name and "plan-messagesPerDay" not in by_name
    with EventStream(client, "types=Quota&closeafter=no&ping=0") as events:
        began = events.next().changed["Quota"]
        assert client.download(blob).status == 200
        assert client.download(blob).status == 200  # 400,000 of 500,000
        state = events.until(lambda event: event.changed.get("Quota", began) != began).changed["Quota"]
    changes = quotas("Quota/changes", sinceState=told["state"])
    assert "plan-filesPerHour" in changes["updated"] and changes["updatedProperties"] == ["used"]
    now = quotas("Quota/get", ids=["plan-filesPerHour"])
    assert now["list"][0]["used"] == 400_000 and int(now["state"]) >= int(state)


# --- Where plans come from

def plan_of(stack, person):
    return stack.postern.control("limits", "show", person.user)["plan"]


def test_a_command_tells_plans(stack, run):
    folder = run.make_dir("plan-command", mode=0o755)
    asked, command = os.path.join(folder, "asked"), os.path.join(folder, "plan-of")
    with open(asked, "w", encoding="utf-8"):
        os.chmod(asked, 0o666)

    def say(script):
        with open(command + ".new", "w", encoding="utf-8") as out:
            out.write(f'#!/bin/sh\necho "$#:$2" >> {asked}\n{script}\n')
        os.chmod(command + ".new", stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        os.rename(command + ".new", command)

    say("echo gold")
    person = stack.person("command", messages=0)
    try:
        stack.postern.configure({"limits": {"plan_command": [command, "--of"]}})
        stack.postern.control("reload")
        client = client_of(stack, person)
        wait_for(lambda: plan_of(stack, person) == "gold", "the plan")
        with open(asked, encoding="utf-8") as lines:
            assert f"2:{person.user}\n" in set(lines)
        # A restart knows it without asking; a failure changes nothing; another answer counts.
        say("exit 1")
        stack.postern.broker.kill()
        stack.postern.broker.start()
        assert plan_of(stack, person) == "gold"
        client.get("/jmap/session")
        wait_for(lambda: "plan not looked up" in broker_log(stack), "the failure")
        assert plan_of(stack, person) == "gold"
    finally:
        stack.postern.configure({"limits": {"plan_command": []}})
        stack.postern.control("reload")
    assert plan_of(stack, person) == "small"


def test_an_entry_of_the_server_tells_plans(stack):
    person = stack.person("metadata", messages=0)
    with stack.server.signed_in(person.user) as imap:
        status, said = imap.xatom("SETMETADATA", '""', '(/shared/vendor/vendor.dovecot/plan "gold")')
        assert status == "OK", said
    try:
        stack.postern.configure({"limits": {"plan_metadata": "/shared/vendor/vendor.dovecot/plan"}})
        stack.postern.control("reload")
        client_of(stack, person).mailboxes()
        wait_for(lambda: plan_of(stack, person) == "gold", "the plan")
        other = stack.person("plain", messages=0)
        client_of(stack, other).mailboxes()
        assert plan_of(stack, other) == "small"
    finally:
        stack.postern.configure({"limits": {"plan_metadata": ""}})
        stack.postern.control("reload")
