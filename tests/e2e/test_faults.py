"""What the person sees when a part fails: the IMAP server, the broker, a worker."""

import concurrent.futures
import os
import signal
import threading
import time

import pytest

from support import jmap, login
from support.guard import descendants
from support.processes import wait_for
from support.stack import Stack
from support.web import Apache
from conftest import running

LIST_PROPERTIES = ("id", "subject", "receivedAt", "keywords")
# What a worker waits for a broker that is away (postern-fcgi --broker-wait).
BROKER_WAIT_S = 5.0


@pytest.fixture(scope="module")
def stack(run, pki):
    """A stack of its own: these tests break it."""
    yield from running(Stack, run.part("faults"), pki,
                       {"imap": {"command_timeout": "5s", "login_timeout": "5s", "backoff_max": "1s"}})


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


def test_imap_down_later(stack, client):
    inbox, archive = client.mailbox("inbox")["id"], client.mailbox("archive")["id"]
    before = client.newest(inbox, LIST_PROPERTIES)
    stack.imap.go_down()
    # A page that was seen is still answered.
    assert client.newest(inbox, LIST_PROPERTIES)[1]["list"] == before[1]["list"]
    # What only the server knows is not.
    query = [["Email/query", {"accountId": client.account_id, "filter": {"inMailbox": archive}}, "q"]]
    assert_problem(client.api(query))
    stack.imap.come_up()
    wait_for(lambda: client.api(query).status == 200, "answers after the server came back")
    assert client.newest(inbox, LIST_PROPERTIES)[1]["list"] == before[1]["list"]


def test_connection_cut_amid_a_read_is_retried_once(stack, client):
    archive = client.mailbox("archive")["id"]
    stack.imap.drop()
    assert client.call("Email/query", filter={"inMailbox": archive})["ids"]


def test_imap_hangs_in_a_literal(stack, client):
    inbox = client.mailbox("inbox")["id"]
    email_id = client.newest(inbox, ("id",), limit=1)[0]["ids"][0]
    stack.imap.cut_in_next_literal()
    done = []

    def read():
        done.append(client.api([["Email/get", {"accountId": client.account_id, "ids": [email_id],
                                               "fetchAllBodyValues": True, "properties": ["bodyValues"]}, "g"]]))

    reading = threading.Thread(target=read)
    reading.start()
    # The broker gives up on the connection by itself; others are served meanwhile.
    other = stack.person("bystander", messages=0)
    reading.join(120)
    assert not reading.is_alive(), "the request never ended"
    assert done[0].status in (200, 503)
    stack.imap.release()
    assert other.client(stack.nginx).get("/jmap/session").status == 200


def test_what_is_in_memory_is_answered_while_imap_hangs(stack, client):
    inbox = client.mailbox("inbox")["id"]
    before = client.newest(inbox, LIST_PROPERTIES)
    stack.imap.hold()
    started = time.monotonic()
    assert client.get("/jmap/session").status == 200
    assert client.newest(inbox, LIST_PROPERTIES)[1]["list"] == before[1]["list"]
    assert time.monotonic() - started < 5
    stack.imap.release()


# --- the broker

def read_until(client, stop, wrong, expected):
    """Reads pages until told to stop; anything but the right page with 200 goes to wrong."""
    account = client.account_id
    calls = [["Email/query", {"accountId": account, "filter": {"inMailbox": expected["mailbox"]},
                              "sort": [{"property": "receivedAt", "isAscending": False}], "limit": 20}, "q"],
             ["Email/get", {"accountId": account, "properties": ["subject"],
                            "#ids": {"resultOf": "q", "name": "Email/query", "path": "/ids"}}, "g"]]
    count = 0
    while not stop.is_set():
        response = client.api(calls)
        if response.status != 200:
            wrong.append((response.status, response.body[:200]))
        elif response.json["methodResponses"][1][1]["list"] != expected["list"]:
            wrong.append(("list", response.body[:200]))
        count += 1
    return count


@pytest.mark.parametrize("readers", (20,))
def test_broker_killed_amid_concurrent_reads(stack, web, client, readers):
    inbox = client.mailbox("inbox")["id"]
    expected = {"mailbox": inbox, "list": client.newest(inbox, ("subject",))[1]["list"]}
    session = client.session
    stop, wrong = threading.Event(), []
    clients = [stack.client(web, client.headers) for _ in range(readers)]
    for other in clients:
        other._session = session
    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        reading = [pool.submit(read_until, other, stop, wrong, expected) for other in clients]
        time.sleep(0.3)
        stack.postern.broker.kill()
        stack.postern.broker.start()
        time.sleep(0.7)
        stop.set()
        counts = [job.result(60) for job in reading]
    assert not wrong, wrong[:5]
    assert all(count > 0 for count in counts)
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


def test_graceful_stop_finishes_what_runs(stack, client):
    inbox = client.mailbox("inbox")["id"]
    message = client.newest(inbox, ("id", "size"), limit=50)[1]["list"]
    assert message
    status = stack.postern.broker.stop()
    assert status == 0, stack.postern.broker.log_tail()


def test_reload_keeps_everybody_signed_in(stack, client):
    pid = stack.postern.broker.pid
    stack.postern.configure({"log": {"level": "info"}})
    stack.postern.broker.signal(signal.SIGHUP)
    assert client.get("/jmap/session").status == 200
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
