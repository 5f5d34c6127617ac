"""What each kind of web request costs the IMAP server, in commands, through the web servers and many workers."""

import concurrent.futures
import time

import pytest

from support import login
from support.kindness import LIST_PROPERTIES, OPEN_PROPERTIES, first_page_seen, settle

OPENING = ("SELECT", "EXAMINE")


@pytest.fixture(scope="module")
def stack(each_stack):
    return each_stack


def opens(counted):
    return sum(counted[name] for name in OPENING)


def sorts(counted):
    return counted["UID SORT"] + counted["SORT"]


@pytest.fixture
def signed_in(stack, web, person):
    return first_page_seen(stack, web, person)


def test_sign_in_and_first_page(stack, web, person):
    with stack.imap.counting() as counted:
        client = login.with_token(stack, web, person)
        client.newest(client.mailbox("inbox")["id"], LIST_PROPERTIES, limit=50)
        settle(stack.imap)
    assert counted["LOGIN"] == 1
    assert opens(counted) == 1
    assert sorts(counted) <= 1


def test_same_page_again_costs_nothing(stack, signed_in):
    client, inbox = signed_in
    with stack.imap.counting() as counted:
        for _ in range(5):
            client.newest(inbox, LIST_PROPERTIES, limit=50)
    assert set(counted) <= {"IDLE"}, counted


def test_second_page_needs_no_sort(stack, signed_in):
    client, inbox = signed_in
    with stack.imap.counting() as counted:
        client.newest(inbox, LIST_PROPERTIES, limit=50, position=50)
    assert counted["LOGIN"] == 0 and opens(counted) == 0 and sorts(counted) == 0, counted
    # Without previews from the server, one more for each place at which messages have their text.
    limit = 2 if stack.server.previews else 5
    assert sum(counted[name] for name in counted if name != "IDLE") <= limit, counted


def test_message_opened_again_costs_nothing(stack, signed_in):
    client, inbox = signed_in
    email_id = client.newest(inbox, ("id",), limit=1)[0]["ids"][0]

    def open_message():
        client.call("Email/get", ids=[email_id], properties=list(OPEN_PROPERTIES), fetchAllBodyValues=True)

    with stack.imap.counting() as first:
        open_message()
    assert first["LOGIN"] == 0 and opens(first) == 0
    with stack.imap.counting() as again:
        open_message()
    assert set(again) <= {"IDLE"}, again


def test_new_messages_cost_no_sort(stack, signed_in, person):
    client, inbox = signed_in
    with stack.server.signed_in(person.user) as other:
        for number in range(5):
            other.append("INBOX", None, None, f"Subject: new {number}\r\n\r\nnew\r\n".encode())
    with stack.imap.counting() as counted:
        deadline = time.monotonic() + 10  # until the server has told of all five
        while True:
            _, got = client.newest(inbox, LIST_PROPERTIES, limit=50)
            if sum((email["subject"] or "").startswith("new ") for email in got["list"]) == 5:
                break
            assert time.monotonic() < deadline
    assert counted["LOGIN"] == 0 and opens(counted) == 0 and sorts(counted) == 0, counted


def test_flag_and_move(stack, signed_in):
    client, inbox = signed_in
    email_id = client.newest(inbox, ("id",), limit=1)[0]["ids"][0]
    archive = client.mailbox("archive")["id"]
    settle(stack.imap)
    with stack.imap.counting() as counted:
        client.call("Email/set", update={email_id: {"keywords/$flagged": True}})
    assert counted["UID STORE"] == 1 and counted["LOGIN"] == 0 and opens(counted) == 0, counted
    with stack.imap.counting() as counted:
        client.call("Email/set", update={email_id: {"mailboxIds": {archive: True}}})
    assert counted["LOGIN"] == 0 and opens(counted) == 0, counted
    if stack.server.moves:
        assert counted["UID MOVE"] == 1, counted
    else:
        assert [counted[name] for name in ("UID COPY", "UID STORE", "UID EXPUNGE")] == [1, 1, 1], counted


def test_hundred_pages_over_many_workers(stack, web, person):
    first = login.with_token(stack, web, person)
    inbox = first.mailbox("inbox")["id"]

    def ten_pages(_):
        client = stack.client(web, first.headers)
        pages = [client.newest(inbox, LIST_PROPERTIES, limit=50) for _ in range(10)]
        return [page[0]["ids"] for page in pages]

    with stack.imap.counting() as counted:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            answers = [ids for pages in pool.map(ten_pages, range(10)) for ids in pages]
    assert len(answers) == 100 and all(ids == answers[0] for ids in answers)
    assert counted["LOGIN"] == 0 and opens(counted) <= 1 and sorts(counted) <= 1, counted
