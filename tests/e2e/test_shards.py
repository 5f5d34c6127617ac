"""A broker of two shards: several people sign in, read and write at once, and the broker is killed amid their reads."""

import concurrent.futures
import contextlib

import pytest

from support import login
from support.kindness import cost
from support.processes import wait_for
from support.readers import Readers
from support.stack import Stack
from conftest import running

PEOPLE, READERS_EACH = 8, 3
PROPERTIES = ("id", "subject", "receivedAt", "keywords", "preview")


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("shards"), pki, {"server": {"shards": 2}})


@pytest.fixture(scope="module")
def people(stack):
    return [stack.person("shard", messages=100) for _ in range(PEOPLE)]


def first_page(stack, person):
    """(client, subjects of the INBOX's first page)"""
    client = login.with_token(stack, stack.nginx, person)
    got = client.newest(client.mailbox("inbox")["id"], PROPERTIES)[1]["list"]
    return client, [email["subject"] for email in got]


def test_each_person_costs_what_one_does(stack, people):
    assert stack.postern.control("status")["shards"] == 2
    with cost(stack.imap) as counted, concurrent.futures.ThreadPoolExecutor(PEOPLE) as pool:
        opened = list(pool.map(lambda person: first_page(stack, person), people))
    assert {name: counted[name] for name in ("LOGIN", "LIST", "SELECT", "UID SORT")} == {
        "LOGIN": PEOPLE, "LIST": PEOPLE, "SELECT": PEOPLE, "UID SORT": PEOPLE}
    accounts = stack.postern.control("accounts")["accounts"]
    assert {account["login"] for account in accounts} == {person.user for person in people}
    assert all(len(account["connections"]) == 1 for account in accounts)
    # What the one flags, the other doesn't see.
    first, second = opened[0][0], opened[1][0]
    subjects = [email["subject"] for email in people[0].inbox()[:20]]
    assert opened[0][1] == subjects
    email_id = first.newest(first.mailbox("inbox")["id"], ("id",))[0]["ids"][0]
    assert first.call("Email/set", update={email_id: {"keywords/mine": True}})["updated"] == {email_id: None}
    for client, flagged in ((first, True), (second, False)):
        newest = client.newest(client.mailbox("inbox")["id"], ("keywords",))[1]["list"][0]
        assert newest["keywords"].get("mine", False) is flagged
    with cost(stack.imap) as counted, concurrent.futures.ThreadPoolExecutor(PEOPLE) as pool:
        assert [page[1] for page in pool.map(lambda person: first_page(stack, person), people)] == [
            page[1] for page in opened]
    assert counted.get("LOGIN", 0) <= PEOPLE and "UID SORT" not in counted and "SELECT" not in counted


def test_broker_killed_amid_reads_of_all(stack, people):
    clients = [first_page(stack, person)[0] for person in people]
    everybody = [Readers(stack, stack.nginx, client, READERS_EACH) for client in clients]

    def wait_for_pages(counts):
        for readers, before in zip(everybody, counts):
            wait_for(lambda: readers.all_past(before), "pages")

    with contextlib.ExitStack() as reading:
        for readers in everybody:
            reading.enter_context(readers.running())
        wait_for_pages([[0] * READERS_EACH] * PEOPLE)
        stack.postern.broker.kill()
        stack.postern.broker.start()
        wait_for_pages([list(readers.counts) for readers in everybody])
    # Nobody was logged out, and a session ends in the shard where its account is.
    for client in clients:
        assert client.get("/jmap/session").status == 200
        assert client.post("/auth/logout", {}).status in (200, 204)
        assert client.get("/jmap/session").status == 401
