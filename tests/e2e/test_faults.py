"""What the person sees when a part fails: the IMAP server, the broker, a worker."""

import concurrent.futures
import os
import signal
import subprocess
import threading
import time

import pytest

from support import jmap, login
from support.guard import descendants
from support.processes import wait_for
from support.readers import Readers
from support.stack import Stack
from support.web import Apache
from conftest import running

LIST_PROPERTIES = ("id", "subject", "receivedAt", "keywords")
# What a worker waits for a broker that is away (postern-fcgi --broker-wait).
BROKER_WAIT_S = 5.0
COMMAND_TIMEOUT_S = 5


@pytest.fixture(scope="module")
def stack(run, pki):
    """A stack of its own: these tests break it."""
    yield from running(Stack, run.part("faults"), pki,
                       {"imap": {"command_timeout": f"{COMMAND_TIMEOUT_S}s", "login_timeout": "5s",
                                 "backoff_max": "1s"},
                        "server": {"stop_grace": "2s"}})


@pytest.fixture(autouse=True)
def whole_again(stack):
    """After each test everything is up, whatever the test left behind."""
    yield
    stack.imap.release()
    stack.imap.come_up()
    for process in (stack.postern.broker, stack.postern.worker):
        if not process.alive:
            process.start()


@pytest.fixture
def client(stack, web, person):
    return login.with_token(stack, web, person)


def assert_problem(response, status=503):
    assert response.status == status, (response.status, response.body[:300])
    assert response.header("Content-Type").split(";")[0] == "application/problem+json"
    assert response.json["status"] == status
    if status == 503:
        assert int(response.header("Retry-After")) > 0


# --- the IMAP server

def test_imap_down_at_sign_in(stack, web, person):
    stack.imap.go_down()
    assert_problem(person.client(web).get("/jmap/session"))
    response = stack.client(web, login.origin(web)).post("/auth/login", login.body(person))
    assert_problem(response)
    assert not response.cookies()
    stack.imap.come_up()
    wait_for(lambda: person.client(web).get("/jmap/session").status == 200, "sign-in after the server came back")


def page_calls(client, inbox):
    account = client.account_id
    return [["Email/query", {"accountId": account, "filter": {"inMailbox": inbox}, "limit": 20,
                             "sort": [{"property": "receivedAt", "isAscending": False}]}, "q"],
            ["Email/get", {"accountId": account, "properties": list(LIST_PROPERTIES),
                           "#ids": {"resultOf": "q", "name": "Email/query", "path": "/ids"}}, "g"]]


def test_imap_down_later(stack, client):
    inbox, archive = client.mailbox("inbox")["id"], client.mailbox("archive")["id"]
    page = page_calls(client, inbox)
    query = ["Email/query", {"accountId": client.account_id, "filter": {"inMailbox": archive}}, "other"]

    def lists(response):
        return [result["list"] for name, result, _ in response.json["methodResponses"] if name == "Email/get"]

    before = client.api(page)
    assert before.status == 200 and before.header("Postern-Stale", None) is None
    stack.imap.go_down()
    # A page that was seen is still answered, and marked as soon as the broker has heard of it.
    wait_for(lambda: client.api(page).header("Postern-Stale", None), "the end of the connection")
    cached = client.api(page)
    assert (cached.status, cached.header("Postern-Stale")) == (200, "imap-unavailable")
    assert lists(cached) == lists(before) and len(lists(cached)[0]) == 20
    # What only the server knows is not; in one request with what is known, it alone fails.
    alone = client.api([query])
    assert_problem(alone)
    assert alone.json["detail"] == "the mail server can't be reached"
    both = client.api(page + [query])
    assert (both.status, both.header("Postern-Stale")) == (200, "imap-unavailable")
    assert lists(both) == lists(before)
    name, error, call_id = both.json["methodResponses"][2]
    assert (name, error["type"], call_id) == ("error", "serverUnavailable", "other")
    stack.imap.come_up()
    wait_for(lambda: client.api([query]).status == 200, "answers after the server came back")
    after = client.api(page)
    assert after.status == 200 and after.header("Postern-Stale", None) is None
    assert lists(after) == lists(before)


def test_connection_cut_amid_a_read_is_retried_once(stack, client):
    archive = client.mailbox("archive")["id"]
    stack.imap.drop()
    assert client.call("Email/query", filter={"inMailbox": archive})["ids"]


@pytest.mark.parametrize("alone", (True, False), ids=("connection", "server"))
def test_imap_hangs_in_a_literal(stack, person, alone):
    """Where only the connection hangs, the read is done again on a new one; where the server does, it ends in time."""
    client = login.with_token(stack, stack.nginx, person)
    inbox = client.mailbox("inbox")["id"]
    emails = client.newest(inbox, ("id",), limit=1)[0]["ids"]
    read = [["Email/get", {"accountId": client.account_id, "ids": emails, "fetchAllBodyValues": True,
                           "properties": ["bodyValues"]}, "g"]]
    stack.imap.cut_in_next_literal(alone=alone)
    started = time.monotonic()
    response = client.api(read)
    # A hanging server costs the command's time and that of the sign-ins which are tried instead.
    assert COMMAND_TIMEOUT_S * 0.9 < time.monotonic() - started < (1 if alone else 4) * COMMAND_TIMEOUT_S + 4
    if not alone:
        assert_problem(response)
        assert response.json["detail"] == "the mail server can't be reached"
        stack.imap.release()
        wait_for(lambda: client.api(read).status == 200, "answers after the server goes on")
        return
    assert response.status == 200
    (name, result, _), = response.json["methodResponses"]
    assert name == "Email/get" and [email["id"] for email in result["list"]] == emails
    # Whole, as a second read of it by a person who knows nothing of this finds it.
    assert response.json["methodResponses"][0][1]["list"] == client.calls(read)[0][1]["list"]
    assert all(value["value"] for value in result["list"][0]["bodyValues"].values())


def test_what_is_in_memory_is_answered_while_imap_hangs(stack, client):
    inbox = client.mailbox("inbox")["id"]
    before = client.newest(inbox, LIST_PROPERTIES)
    stack.imap.hold()
    started = time.monotonic()
    assert client.get("/jmap/session").status == 200
    assert client.newest(inbox, LIST_PROPERTIES)[1]["list"] == before[1]["list"]
    assert time.monotonic() - started < 5
    stack.imap.release()


# --- the disk

def limit_files(pid, octets):
    """The largest file that a process may write from now on: "unlimited", or so many octets."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        ids = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in status)
               if name in ("Uid", "Gid")}
    # As the user that it runs as: root may lack the capability for others' processes.
    subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={octets}:"], check=True, user=ids["Uid"], group=ids["Gid"])


def test_full_disk_at_an_upload(stack, client):
    """507 and nothing left of it, whoever the web server is; what has room is kept, and mail goes on. The largest file
    that there may be stands in for the disk: both are no room for what is written."""
    folder = f"{stack.postern.runtime_dir}/uploads"
    files = set(os.listdir(folder))
    broker = stack.postern.broker
    room = os.path.getsize(broker.log) + 4_000_000  # the log is a file, too
    limit_files(broker.pid, room)
    try:
        for _ in range(2):
            assert_problem(client.upload(bytes(room + 2_000_000)), 507)
            # The file goes right behind the answer.
            wait_for(lambda: set(os.listdir(folder)) == files, "nothing left of it")
        blob = client.blob(b"From: anna@example.org\r\nSubject: small\r\n\r\nhello\r\n", "message/rfc822")
        filed = client.call("Email/import", emails={
            "a": {"blobId": blob, "mailboxIds": {client.mailbox("drafts")["id"]: True}}})
        assert filed["notCreated"] is None and filed["created"]["a"]["id"]
        assert client.newest(client.mailbox("inbox")["id"], LIST_PROPERTIES)[1]["list"]
    finally:
        limit_files(broker.pid, "unlimited")
    assert client.upload(bytes(room + 2_000_000)).status == 201


# --- the broker

def test_broker_killed_amid_concurrent_reads(stack, web, client):
    with Readers(stack, web, client, 20).running() as readers:
        wait_for(lambda: readers.all_past([0] * 20), "pages")
        stack.postern.broker.kill()
        stack.postern.broker.start()
        counts = list(readers.counts)
        wait_for(lambda: readers.all_past(counts), "pages of the next broker")
    # Nobody was logged out.
    assert client.get("/jmap/session").status == 200


def test_hundred_reads_at_once_while_the_broker_is_killed(stack, client):
    web = stack.nginx
    inbox = client.mailbox("inbox")["id"]
    expected = client.newest(inbox, ("subject",))[1]["list"]
    session = client.session
    ready = threading.Barrier(101)

    def read(_):
        other = stack.client(web, client.headers)
        other._session = session
        ready.wait(30)
        return other.newest(inbox, ("subject",))[1]["list"]

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        reading = [pool.submit(read, number) for number in range(100)]
        ready.wait(30)
        stack.postern.broker.kill()
        stack.postern.broker.start()
        answers = [job.result(60) for job in reading]
    for answer in answers:
        assert answer == expected


def test_broker_away(stack, client):
    assert client.get("/jmap/session").status == 200
    stack.postern.broker.stop()
    started = time.monotonic()
    response = client.get("/jmap/session")
    assert_problem(response)
    assert BROKER_WAIT_S * 0.8 < time.monotonic() - started < BROKER_WAIT_S + 5
    stack.postern.broker.start()
    assert client.get("/jmap/session").status == 200


def test_broker_restart_within_the_wait_is_not_seen(stack, client):
    assert client.get("/jmap/session").status == 200
    stack.postern.broker.stop()
    answers = []
    reading = threading.Thread(target=lambda: answers.append(client.get("/jmap/session")))
    reading.start()
    stack.postern.broker.start()
    reading.join(30)
    assert answers and answers[0].status == 200


def test_dead_token_is_refused_without_the_broker(stack, web, client):
    """The worker reads the session's liveness from the segment itself."""
    client.post("/auth/logout", {})
    stack.postern.broker.stop()
    started = time.monotonic()
    assert client.get("/jmap/session").status == 401
    assert time.monotonic() - started < BROKER_WAIT_S / 2


@pytest.mark.parametrize("answered", (True, False), ids=("in-time", "never"))
def test_graceful_stop_amid_a_request(stack, person, answered):
    """What the IMAP server still answers within stop_grace is finished; the worker answers the rest."""
    client = login.with_token(stack, stack.nginx, person)
    inbox, archive = client.mailbox("inbox")["id"], client.mailbox("archive")["id"]
    client.newest(inbox, ("id",))
    broker, size = stack.postern.broker, os.path.getsize(stack.postern.broker.log)
    stack.imap.hold()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.api, [["Email/query", {
            "accountId": client.account_id, "filter": {"inMailbox": archive}}, "q"]])
        wait_for(lambda: stack.postern.control("status")["requests"]["open"] == 1, "the request in the broker")
        broker.signal(signal.SIGTERM)
        wait_for(lambda: stopping(broker, size), "a log line of the stop")
        assert not reading.done()
        if answered:
            stack.imap.release()
        response = reading.result(60)
    assert broker.wait() == 0, broker.log_tail()
    if answered:
        assert response.status == 200
        assert len(response.json["methodResponses"][0][1]["ids"]) > 5
    else:
        assert_problem(response)
        assert response.json["detail"] == "the mail server can't be reached"


def stopping(broker, size):
    with open(broker.log, encoding="utf-8") as log:
        log.seek(size)
        return any(line.rstrip().endswith(": stopping") for line in log)


def test_reload_keeps_everybody_signed_in(stack, client):
    pid = stack.postern.broker.pid
    stack.postern.configure({"http": {"public_url": "https://reloaded.example.org"}})
    stack.postern.broker.signal(signal.SIGHUP)
    wait_for(lambda: client.get("/jmap/session").json["apiUrl"].startswith("https://reloaded.example.org/"),
             "the changed key in an answer")
    del stack.postern.tables["http"]
    stack.postern.configure({})
    stack.postern.broker.signal(signal.SIGHUP)
    wait_for(lambda: client.get("/jmap/session").json["apiUrl"].startswith(client.url), "the key as it was")
    assert stack.postern.broker.alive and stack.postern.broker.pid == pid


# --- workers

def test_worker_process_killed(stack, client):
    """Those that are left serve on, and the killed one is replaced."""
    if client.url == stack.nginx.url:
        workers = descendants(stack.postern.worker.pid)
    else:
        client.get("/jmap/session")
        workers = [pid for pid in descendants(stack.apache.process.pid) if is_worker(pid)]
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    statuses = [client.get("/jmap/session").status for _ in range(20)]
    # A request inside the killed process may be lost, none after it.
    assert statuses.count(200) >= 19 and statuses[-1] == 200


def is_worker(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return b"postern-fcgi" in command.read()
    except OSError:
        return False


def test_no_worker_at_all_behind_nginx(stack, person):
    client = person.client(stack.nginx)
    assert client.get("/jmap/session").status == 200
    stack.postern.worker.stop()
    assert_problem(client.get("/jmap/session"))
    stack.postern.worker.start()
    assert client.get("/jmap/session").status == 200


@pytest.mark.parametrize("status, detail, setting", (
    # mod_fcgid says 503 when it has found no free process for a minute; mod_alias stands in for it. A process that ends
    # at once makes it say 500.
    (503, "The mail service is being restarted.", "RedirectMatch 503 ^/jmap/session$"),
    (500, "The mail gateway did not answer. The error log says why.", "")))
def test_no_worker_at_all_behind_apache(run, stack, pki, person, status, detail, setting):
    """What Apache says itself has the form of nginx's and the workers' answers."""
    apache = Apache(run.part(f"no-worker-{status}"), pki, stack.postern.runtime_dir, "/bin/true")
    apache.write("environment-more.conf", setting + "\n")
    apache.start()
    answer = person.client(apache).get("/jmap/session")
    apache.stop()
    assert_problem(answer, status)
    assert answer.json["detail"] == detail and answer.header("Cache-Control") == "no-store"
    assert answer.header("Retry-After") == ("5" if status == 503 else "")


@pytest.mark.skipif(os.getuid() != 0, reason="giving a file to another user takes root")
def test_socket_with_a_wrong_owner(stack, person):
    """nginx may not open the workers' socket; the workers may not open the broker's."""
    client = person.client(stack.nginx)
    for socket, server in ((stack.postern.worker_socket, None), (stack.postern.broker_socket, stack.postern.worker)):
        assert client.get("/jmap/session").status == 200
        before = os.stat(socket)
        os.chown(socket, 0, 0)
        os.chmod(socket, 0o600)
        try:
            # Connections that are open already stay so.
            stack.nginx.process.restart()
            if server:
                server.restart()
            assert_problem(client.get("/jmap/session"))
        finally:
            os.chown(socket, before.st_uid, before.st_gid)
            os.chmod(socket, before.st_mode & 0o777)
    assert client.get("/jmap/session").status == 200


def test_workers_stop_when_told_although_idle(stack):
    """libfcgi catches SIGTERM and would sit in accept."""
    started = time.monotonic()
    stack.postern.worker.stop()
    assert time.monotonic() - started < 5


def test_expired_waiting_does_not_hold_a_thread(stack, person):
    """Requests that wait for an absent broker end, and the threads are free again afterwards."""
    stack.postern.broker.stop()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(
            lambda _: stack.client(stack.nginx, {"Authorization": jmap.bearer("x" * 43)}).get("/jmap/session").status,
            range(40)))
    assert set(statuses) <= {401, 503}
    stack.postern.broker.start()
    assert person.client(stack.nginx).get("/jmap/session").status == 200
