"""The workers behind nginx, spoken to by FastCGI directly and through slow clients."""

import contextlib
import json
import socket
import time

import pytest

from support import fastcgi, jmap
from support.kindness import settle
from support.postern import WORKER_PROCESSES, WORKER_THREADS
from support.processes import Process, accepts, wait_for

THREADS = WORKER_PROCESSES * WORKER_THREADS
SLOW_CLIENTS = 1000


def test_idle_connections_hold_no_thread(stack):
    """nginx keeps connections open: more of them than threads must not starve anybody."""
    path = stack.postern.worker_socket
    with contextlib.ExitStack() as kept:
        for _ in range(THREADS * 3):
            connection = kept.enter_context(fastcgi.connect(path))
            connection.sendall(fastcgi.encoded_request("GET", "/jmap/session", keep=True))
            assert fastcgi.answer(connection)[0] == 401
        started = time.monotonic()
        assert fastcgi.request(path, "GET", "/jmap/session")[0] == 401
        # The idle ones are as good as new.
        connection.sendall(fastcgi.encoded_request("GET", "/jmap/session", keep=True))
        assert fastcgi.answer(connection)[0] == 401
        assert time.monotonic() - started < 2


# As systemd hands over a socket (sd_listen_fds(3)), and as spawn-fcgi does.
INHERIT = """
import os, socket, sys
descriptor, path, *command = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(64)
os.dup2(listener.fileno(), int(descriptor))
os.set_inheritable(int(descriptor), True)
if int(descriptor) == 3:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(command[0], command)
"""


@pytest.mark.parametrize("descriptor", [3, 0], ids=["systemd", "spawn-fcgi"])
def test_inherited_socket(stack, descriptor):
    postern = stack.postern
    path = f"{stack.run.make_dir('inherited')}/{descriptor}.sock"
    worker = Process(stack.run, f"inheriting-{descriptor}", [
        "/usr/bin/python3", "-c", INHERIT, descriptor, path, postern.programs["postern-fcgi"], "--broker",
        postern.broker_socket, "--segment", postern.segment, "--processes", 2, "--threads", 2], lambda: accepts(path))
    worker.start()
    try:
        for _ in range(8):
            assert fastcgi.request(path, "GET", "/jmap/session")[0] == 401
    finally:
        assert worker.stop() in (0, None)
    assert not accepts(path)


def test_half_a_request_is_no_harm(stack):
    path = stack.postern.worker_socket
    whole = fastcgi.encoded_request("POST", "/jmap/api", {"Content-Type": "application/json"}, b"{}" * 100)
    for size in (1, 7, 8, 20, len(whole) // 2, len(whole) - 1):
        with fastcgi.connect(path) as connection:
            connection.sendall(whole[:size])
    assert fastcgi.request(path, "GET", "/jmap/session")[0] == 401


def test_slow_clients_hold_nobody_up(stack, web, reader):
    """Request bodies that come in drops are the web server's to wait for."""
    head = (b"POST /jmap/api HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{")
    client = reader.client(web)
    assert client.get("/jmap/session").status == 200
    with contextlib.ExitStack() as slow:
        for _ in range(SLOW_CLIENTS):
            connection = slow.enter_context(socket.create_connection(("127.0.0.1", web.port), 30))
            connection.sendall(head)
        started = time.monotonic()
        for _ in range(5):
            assert client.get("/jmap/session").status == 200
        assert time.monotonic() - started < 5


def test_slow_reader_of_a_large_download_holds_nobody_up(stack, web, reader):
    client = reader.client(web)
    inbox = client.mailbox("inbox")["id"]
    ids = client.call("Email/query", filter={"inMailbox": inbox}, limit=1,
                      sort=[{"property": "size", "isAscending": False}])["ids"]
    email, = client.call("Email/get", ids=ids, properties=["blobId", "size"])["list"]
    assert email["size"] > 3_000_000
    path = f"/jmap/download/{client.account_id}/{email['blobId']}/large?accept=message%2Frfc822"
    request = (f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {client.headers['Authorization']}\r\n"
               "Connection: close\r\n\r\n").encode()
    # All that one person may have at once, but for one.
    readers = client.session["capabilities"][jmap.CORE]["maxConcurrentRequests"] - 1
    with contextlib.ExitStack() as slow:
        for _ in range(readers):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            connection.connect(("127.0.0.1", web.port))
            slow.enter_context(connection).sendall(request)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        assert client.call("Email/get", ids=ids, properties=["subject"])["list"]
        assert time.monotonic() - started < 5
        # And it is whole for who reads it to its end.
        received = 0
        while piece := connection.recv(65536):
            received += len(piece)
        assert received > email["size"]


def test_download_that_is_given_up_ends_at_the_imap_server(stack, web, reader):
    """The browser goes away amid an answer: the broker's request ends, and no more is fetched for it."""
    client = reader.client(web)
    inbox = client.mailbox("inbox")["id"]
    ids = client.call("Email/query", filter={"inMailbox": inbox}, limit=1,
                      sort=[{"property": "size", "isAscending": False}])["ids"]
    email, = client.call("Email/get", ids=ids, properties=["blobId", "size"])["list"]
    settle(stack.imap)

    def fetched():
        return sum(connection.bytes_to_client for connection in stack.imap.connections)

    before = fetched()
    path = f"/jmap/download/{client.account_id}/{email['blobId']}/large?accept=message%2Frfc822"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", web.port))
        connection.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
                            f"Authorization: {client.headers['Authorization']}\r\n\r\n").encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        wait_for(lambda: fetched() > before, "octets of the message")
        assert stack.postern.control("status")["requests"]["open"] == 1
    wait_for(lambda: stack.postern.control("status")["requests"]["open"] == 0, "the end of the request")
    account, = stack.postern.control("accounts", reader.user)["accounts"]
    assert account["requestsInFlight"] == 0
    settle(stack.imap)
    assert 0 < fetched() - before < email["size"]
    # The connection is as good as before.
    with stack.imap.counting() as counted:
        assert len(client.download(email["blobId"]).body) == email["size"]
    assert counted["LOGIN"] == 0


def test_urls_below_a_mount_path(stack, reader):
    """As a location with POSTERN_PREFIX gives it, and for /.well-known/jmap, which is at the root all the same."""
    authorization = {"Authorization": jmap.basic(reader.user, reader.password)}
    for prefix in ("/mail", "/jmap"):
        for target in ("/.well-known/jmap", f"{prefix}/jmap/session"):
            status, _, body = fastcgi.request(stack.postern.worker_socket, "GET", target, authorization,
                                              extra={"POSTERN_PREFIX": prefix})
            assert status == 200, (target, body)
            for name in ("apiUrl", "downloadUrl"):
                assert json.loads(body)[name].startswith(f"https://localhost{prefix}/jmap/"), (target, name)


@pytest.mark.parametrize("method", ("OS", "T", "P", "POS", "GET, HEAD", ""))
def test_a_part_of_a_method_is_none(stack, method):
    for target in ("/jmap/api", "/jmap/session"):
        assert fastcgi.request(stack.postern.worker_socket, method, target)[0] in (400, 405)
