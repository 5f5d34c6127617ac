"""One person whose requests are as expensive as they can be, and a hundred others beside them on the same shard: what
the others have to wait for is told by counts of answers, not by the clock."""

import concurrent.futures
import queue
import threading

import pytest

from conftest import running
from support import login
from support.processes import wait_for
from support.stack import Stack

OTHERS = 100
# More requests than may be under way, whose surplus comes again and again.
ABUSERS_THREADS, IN_FLIGHT, OTHERS_THREADS = 24, 12, 2
MESSAGES = 300
# So many of the expensive requests are answered at most while all of the others are. Two of the others ask at a time:
# if each had to wait for the eight that the abuser has at work, it would be some four hundred.
SHARE = OTHERS


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("shares"), pki, {"server": {"shards": 1}, "limits": {
        "requests_in_flight": IN_FLIGHT}}, apache=False)


def expensive(client):
    """Pages of everything, sorted anew and written out whole, as many calls as a request may have."""
    account, calls = client.account_id, []
    for number in range(4):
        sort = [{"property": ("subject", "from", "to", "size")[number % 4], "isAscending": number < 2}]
        calls += [["Email/query", {"accountId": account, "sort": sort, "collapseThreads": number % 2 == 0},
                   f"q{number}"],
                  ["Email/get", {"accountId": account, "properties": [
                      "id", "threadId", "mailboxIds", "keywords", "subject", "from", "to", "cc", "receivedAt", "size",
                      "preview", "hasAttachment"], "#ids": {
                          "resultOf": f"q{number}", "name": "Email/query", "path": "/ids"}}, f"g{number}"]]
    return calls


def test_a_hundred_others_are_answered_before_the_abusers_next(stack):
    web = stack.nginx
    abuser = login.with_token(stack, web, stack.person("abuser", messages=MESSAGES))
    calls = expensive(abuser)
    assert abuser.api(calls).status == 200
    people = [login.with_token(stack, web, stack.person("other", messages=0)) for _ in range(OTHERS)]
    pages = []
    for client in people:
        inbox = client.mailbox("inbox")["id"]
        pages.append([["Email/query", {"accountId": client.account_id, "filter": {"inMailbox": inbox}}, "q"]])
        assert client.api(pages[-1]).status == 200
    order, over, refused = queue.Queue(), threading.Event(), []

    def abuse(number):
        client = stack.client(web, abuser.headers)
        client._session = abuser.session
        while not over.is_set():
            answer = client.api(calls)
            if answer.status == 429:
                assert answer.json["limit"] == "maxConcurrentRequests"
                refused.append(number)
                over.wait(0.2)
                continue
            assert answer.status == 200
            order.put(("abuser", number))

    def ask(number):
        assert people[number].api(pages[number]).status == 200
        order.put(("other", number))

    with concurrent.futures.ThreadPoolExecutor(ABUSERS_THREADS) as abusers, \
            concurrent.futures.ThreadPoolExecutor(OTHERS_THREADS) as others:
        try:
            at_work = [abusers.submit(abuse, number) for number in range(ABUSERS_THREADS)]
            wait_for(lambda: order.qsize() >= 2, "the abuser's answers")
            before = order.qsize()
            for done in [others.submit(ask, number) for number in range(OTHERS)]:
                done.result(120)
        finally:
            over.set()
        for done in at_work:
            done.result(120)
    answers = [order.get() for _ in range(order.qsize())]
    last = max(i for i, (who, _) in enumerate(answers) if who == "other")
    during = [who for who, _ in answers[before:last + 1]].count("abuser")
    assert [who for who, _ in answers].count("other") == OTHERS
    assert refused
    assert during <= SHARE, f"{during} of the abuser's were answered while the others waited"
