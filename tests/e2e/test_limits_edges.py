"""Where limits end exactly: files whose decoded size is told wrongly or not at all, several at a time, what goes out by
methods and for HEAD; and how many requests of one person may be under way, so that others find a worker."""

import base64
import concurrent.futures
import socket

import pytest

from conftest import running
from support import login
from support.jmap import CORE, MAIL
from support.postern import WORKER_THREADS
from support.processes import wait_for
from support.stack import Stack
from test_limits import add, newest, used

BLOB = "urn:ietf:params:jmap:blob"
FILES = 200_000
# Of one person, and connections that are more than the workers have threads.
IN_FLIGHT, CONNECTIONS = 6, 2 * 2 * WORKER_THREADS


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("limits-edges"), pki, {
        "limits": {"default_plan": "small", "requests_in_flight": IN_FLIGHT},
        "jmap": {"max_concurrent_requests": 4, "max_concurrent_upload": 2},
        "plans": {"small": {"files_hour": FILES}}}, apache=False)


@pytest.fixture
def person(stack, request):
    return stack.person(request.node.name, messages=0)


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


def attachment(client):
    wait_for(lambda: client.newest(client.mailbox("inbox")["id"], ("size",))[0]["total"] > 0, "the message")
    return newest(client, ("attachments",))["attachments"][0]["blobId"]


@pytest.mark.parametrize("octets", range(FILES - 2, FILES + 1))
def test_a_file_of_the_limit_itself_is_had(stack, person, client, octets):
    add(stack, person, octets)
    assert len(client.download(attachment(client)).body) == octets
    assert used(stack, person, "filesPerHour") == octets


def test_a_file_of_one_octet_more_is_not(stack, person, client):
    add(stack, person, FILES + 1)
    refused = client.download(attachment(client))
    assert refused.status == 429 and refused.json["limit"] == "filesPerHour" and refused.json["availableAt"] is None
    assert used(stack, person, "filesPerHour") == 0


@pytest.mark.parametrize("size,status", [(FILES - 8, 200), (FILES + 16, 429)])
def test_quoted_printable_counts_as_it_is_decoded(stack, person, client, size, status):
    """Encoded it is three times as long, which is far more than the plan allows."""
    body = (b"=C3=A4" * 12 + b"=\r\n") * (size // 24)
    with stack.server.signed_in(person.user) as imap:
        assert imap.append("INBOX", None, None, b"Subject: file\r\nMIME-Version: 1.0\r\nContent-Type: application/x; "
                           b"name=f\r\nContent-Disposition: attachment\r\n"
                           b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + body)[0] == "OK"
    answer = client.download(attachment(client))
    assert answer.status == status
    if status == 200:
        assert answer.body == "ä".encode() * (size // 2)
        assert used(stack, person, "filesPerHour") == size
    else:
        assert answer.json["limit"] == "filesPerHour" and used(stack, person, "filesPerHour") == 0


def test_attachments_of_one_message_at_once(stack, person, client):
    """Together they are the limit; the message they are in is larger."""
    part = FILES // 5
    parts = b"".join(b"--x\r\nContent-Type: application/x\r\nContent-Disposition: attachment; filename=f\r\n\r\n" +
                     (b"%d" % number * 78 + b"\r\n") * (part // 80) + b"\r\n" for number in range(5))
    with stack.server.signed_in(person.user) as imap:
        assert imap.append("INBOX", None, None, b"Subject: file\r\nMIME-Version: 1.0\r\n"
                           b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + parts + b"--x--\r\n")[0] == "OK"
    attachment(client)
    blobs = [each["blobId"] for each in newest(client, ("attachments",))["attachments"]]
    session = client.session

    def fetch(blob):
        one = stack.client(stack.nginx, client.headers)
        one._session = session
        return one.download(blob).status

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        assert list(pool.map(fetch, blobs)) == [200] * 5
    assert used(stack, person, "filesPerHour") == FILES


def test_what_blob_get_gives_of_uploads_counts(stack, person, client):
    blob = client.upload(b"u" * 60_000).json["blobId"]
    before = used(stack, person, "filesPerHour")

    def get(**arguments):
        return client.calls([["Blob/get", {"accountId": client.account_id, "ids": [blob], **arguments}, "b"]],
                            (CORE, MAIL, BLOB))[0]

    assert get(properties=["size", "digest:sha"])[0] == "Blob/get"
    assert used(stack, person, "filesPerHour") == before
    assert get(properties=["data:asBase64"])[1]["list"][0]["data:asBase64"] == base64.b64encode(b"u" * 60_000).decode()
    assert get(properties=["data:asText"], offset=10, length=20_000)[0] == "Blob/get"
    assert used(stack, person, "filesPerHour") == before + 80_000
    assert get(properties=["data:asText"], length=60_000)[0] == "Blob/get"
    name, refused, _ = get(properties=["data:asText"], length=1)
    assert (name, refused["type"], refused["limit"]) == ("error", "rateLimit", "filesPerHour")
    assert used(stack, person, "filesPerHour") == FILES


def test_head_counts_nothing(stack, person, client):
    add(stack, person, 150_000)
    blob = attachment(client)
    path = f"/jmap/download/{client.account_id}/{blob}/f"
    for fields in ({}, {"Range": "bytes=0-99"}):
        assert client.request("HEAD", path, headers=fields).status == 200
    assert used(stack, person, "filesPerHour") == 0


def test_one_persons_downloads_leave_workers_to_others(stack, person, client):
    """Nobody reads them, so each keeps a worker's thread for as long as it likes."""
    blob = client.upload(b"d" * 30_000).json["blobId"]
    other = login.with_token(stack, stack.nginx, stack.person("other", messages=0))
    assert other.get("/jmap/session").status == 200
    add(stack, person, 12_000_000)
    attachment(client)
    whole = newest(client, ("blobId",))["blobId"]
    path = f"/jmap/download/{client.account_id}/{whole}/large"
    unread = []
    try:
        for _ in range(CONNECTIONS):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.connect(("127.0.0.1", stack.nginx.port))
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                        f"Authorization: {client.headers['Authorization']}\r\n\r\n".encode())
            unread.append(one)

        def first_line(one):
            one.settimeout(60)
            return one.recv(12, socket.MSG_PEEK)

        refused = [one for one in unread if first_line(one) == b"HTTP/1.1 429"]
        assert len(refused) >= len(unread) - IN_FLIGHT
        answer = client.download(blob)
        assert answer.status == 429 and answer.json["limit"] == "maxConcurrentRequests"
        assert f"may have {IN_FLIGHT}" in answer.json["detail"] and answer.headers["Retry-After"] == "1"
        echo = [["Core/echo", {}, "e"]]
        assert client.api(echo).status == client.get("/jmap/session").status == 429
        assert client.upload(b"u").status == 429
        assert other.get("/jmap/session").status == 200
        assert other.mailbox("inbox")["role"] == "inbox"
    finally:
        for one in unread:
            one.close()
    wait_for(lambda: client.download(blob).status == 200, "their end")
