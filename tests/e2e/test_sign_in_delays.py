"""Tries to sign in that are held up must not hold up anybody else: each that waits keeps a thread of a worker."""

import contextlib
import http.client
import queue
import threading
import time

import pytest

from conftest import running
from support import jmap, login
from support.stack import Stack

DELAY_S = 30
FREE_FAILURES = 3
# As many as all workers have threads, and more.
TRIES = 40


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("delays"), pki, {
        "throttle": {"delay_min": f"{DELAY_S}s", "delay_max": f"{DELAY_S}s", "failures_max": 1_000,
                     "login_failures_max": 1_000}})


def test_delayed_tries_leave_the_threads_to_others(stack):
    person = stack.person("somebody", messages=3)
    other = login.with_token(stack, stack.nginx, person)
    attacked = stack.person("attacked", messages=0)

    def attempt(number):
        client = jmap.Client(stack.nginx.url, {"Authorization": jmap.basic(attacked.user, f"wrong {number}")})
        return client.get("/jmap/session")

    for number in range(FREE_FAILURES):
        assert attempt(number).status == 401
    answers = queue.Queue()
    # Those that are still held up end with the servers.
    def answered(number):
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.put(attempt(number))

    for number in range(TRIES):
        threading.Thread(target=answered, args=(100 + number,), daemon=True).start()
    refused = [answers.get(timeout=DELAY_S / 2) for _ in range(TRIES - 2)]
    assert {answer.status for answer in refused} == {429}
    for answer in refused:
        assert 1 <= int(answer.header("Retry-After")) <= DELAY_S
        assert answer.json["limit"] == "signInFailures"
    started = time.monotonic()
    assert other.get("/jmap/session").status == 200
    assert len(other.mailboxes()) > 0
    assert time.monotonic() - started < DELAY_S / 2
