"""What each kind of web request costs Dovecot, command by command, and a hundred pages over ten worker processes.

The maps name every command that the proxy in front of the IMAP server saw, but for IDLE: when a connection falls idle
is a matter of time. What it costs at other IMAP servers and behind Apache is bounded in test_kindness.py.
"""

import concurrent.futures

import pytest

from support import login
from support.guard import descendants
from support.kindness import LIST_PROPERTIES, OPEN_PROPERTIES, cost, first_page_seen
from support.processes import Process, accepts, wait_for
from support.web import Nginx

PREFORK_PROCESSES = 10
# One connection signed in; all mailboxes with their counts; the INBOX listed by the order of its first page; the page's
# 50 messages, and what the index holds of all the others, behind it.
FIRST_PAGE = {"LOGIN": 1, "ENABLE": 1, "ID": 1, "LIST": 1, "SELECT": 1, "UID SORT": 1, "UID SEARCH": 1, "UID FETCH": 2}


@pytest.fixture
def web(stack):
    return stack.nginx


@pytest.fixture
def signed_in(stack, web, person):
    return first_page_seen(stack, web, person)


def test_sign_in_and_first_page(stack, web, person):
    with cost(stack.imap) as counted:
        client = login.with_token(stack, web, person)
        client.newest(client.mailbox("inbox")["id"], LIST_PROPERTIES, limit=50)
    assert counted == FIRST_PAGE


def test_same_page_again_costs_nothing(stack, signed_in):
    client, inbox = signed_in
    with cost(stack.imap) as counted:
        for _ in range(5):
            client.newest(inbox, LIST_PROPERTIES, limit=50)
    assert counted == {}


def test_second_page_costs_one_fetch(stack, signed_in):
    client, inbox = signed_in
    with cost(stack.imap) as counted:
        client.newest(inbox, LIST_PROPERTIES, limit=50, position=50)
    assert counted == {"UID FETCH": 1}


def test_message_opened_and_again(stack, signed_in):
    """The page has told its structure: its header and its parts come by one command; the second time nothing."""
    client, inbox = signed_in
    email_id = client.newest(inbox, ("id",), limit=1)[0]["ids"][0]
    for commands in ({"UID FETCH": 1}, {}):
        with cost(stack.imap) as counted:
            client.call("Email/get", ids=[email_id], properties=list(OPEN_PROPERTIES), fetchAllBodyValues=True)
        assert counted == commands


def test_page_after_five_new_messages(stack, signed_in, person):
    """Hearing of them costs nothing. The page asks for the five: what puts them into its order, and what it shows."""
    client, inbox = signed_in
    with cost(stack.imap) as counted:
        with stack.server.signed_in(person.user) as other:
            for number in range(5):
                other.append("INBOX", None, None, f"Subject: new {number}\r\n\r\nnew\r\n".encode())
    assert counted == {}
    with cost(stack.imap) as counted:
        _, got = client.newest(inbox, LIST_PROPERTIES, limit=50)
    assert {email["subject"] for email in got["list"][:5]} == {f"new {number}" for number in range(5)}
    assert counted == {"UID FETCH": 1}


def test_flag_and_move(stack, signed_in):
    """One command each. After a flag the page is known; after a move, all of it but the message that has moved up."""
    client, inbox = signed_in
    email_id = client.newest(inbox, ("id",), limit=1)[0]["ids"][0]
    archive = client.mailbox("archive")["id"]
    for patch, command, page in (({"keywords/$flagged": True}, {"UID STORE": 1}, {}),
                                 ({"mailboxIds": {archive: True}}, {"UID MOVE": 1}, {"UID FETCH": 1})):
        with cost(stack.imap) as counted:
            assert client.call("Email/set", update={email_id: patch})["updated"] == {email_id: None}
        assert counted == command
        with cost(stack.imap) as counted:
            client.newest(inbox, LIST_PROPERTIES, limit=50)
        assert counted == page


@pytest.fixture
def prefork(stack, pki):
    """nginx before ten worker processes at the stack's broker."""
    part = stack.run.part("prefork")
    socket = part.make_dir("run/web", mode=0o750) + "/fcgi.sock"
    worker = Process(part, "fcgi", [
        stack.postern.programs["postern-fcgi"], "--broker", stack.postern.broker_socket, "--segment",
        stack.postern.segment, "--listen", socket, "--processes", PREFORK_PROCESSES, "--threads", 1],
        lambda: accepts(socket)).start()
    nginx = Nginx(part, pki, part.dir + "/run")
    try:
        nginx.start()
        wait_for(lambda: len(descendants(worker.pid)) == PREFORK_PROCESSES, "ten worker processes", process=worker)
        yield nginx
    finally:
        nginx.stop()
        worker.stop()


def test_hundred_pages_over_ten_worker_processes(stack, prefork, person):
    """All by HTTP Basic and from before the sign-in: one login, one SELECT, one SORT all the same."""
    def status():
        return stack.postern.control("status")

    served_before = status()["workers"]["connections"]
    clients = [person.client(prefork) for _ in range(PREFORK_PROCESSES)]
    with cost(stack.imap) as counted, concurrent.futures.ThreadPoolExecutor(PREFORK_PROCESSES) as pool:
        # With one thread each, whoever waits takes no other request: ten of them are in ten processes.
        stack.imap.hold()
        signing_in = []
        for client in clients:
            signing_in.append(pool.submit(lambda client: client.session["username"], client))
            wait_for(lambda: status()["requests"]["open"] == len(signing_in), "the request in the broker")
        stack.imap.release()
        assert [job.result(60) for job in signing_in] == [person.user] * PREFORK_PROCESSES
        inbox = clients[0].mailbox("inbox")["id"]

        def ten_pages(client):
            return [client.newest(inbox, LIST_PROPERTIES, limit=50)[1]["list"] for _ in range(10)]

        answers = [page for pages in pool.map(ten_pages, clients) for page in pages]
    assert len(answers) == 100 and all(page == answers[0] for page in answers)
    # A worker process connects to the broker when its first request comes.
    assert status()["workers"]["connections"] - served_before == PREFORK_PROCESSES
    # How many have asked for the same messages before the first had them is a matter of time.
    fetches = counted.pop("UID FETCH")
    assert counted == {name: number for name, number in FIRST_PAGE.items() if name != "UID FETCH"}
    assert FIRST_PAGE["UID FETCH"] <= fetches <= 1 + PREFORK_PROCESSES
