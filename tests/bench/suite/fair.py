"""Fair shares: what a hundred people wait for a warm page while one person on the same shard searches and sorts
everything, again and again, in more requests at a time than an account may have."""

import concurrent.futures
import itertools
import json
import multiprocessing
import signal
import threading
import time

from support import jmap
from support.processes import wait_for

from .load import in_turns, median, median_ratio
from .site import Account
from .table import AT_MOST, Aim, Row, duration

PEOPLE = 100
PEOPLE_MESSAGES = 1_000
ABUSER_MESSAGES = 10_000
REQUESTS = 64  # twice requests_in_flight: eight are at work, the others wait or are refused and come again
RETRY_S = 0.2
PAGES_EACH = 5
WARMED_AT_ONCE = 8  # the control socket bears no more at a time


def _searches(account_id, inbox):
    """Requests of many calls, none of which has been answered before."""
    for number in itertools.count():
        calls = []
        for call in range(32):
            size = 1_000 + number * 32 + call
            calls.append(["Email/query", {
                "accountId": account_id, "limit": 50, "sort": [{"property": "size"}, {"property": "sentAt"}],
                "filter": {"operator": "AND", "conditions": [
                    {"inMailbox": inbox}, {"operator": "OR", "conditions": [
                        {"minSize": size}, {"notKeyword": f"k{number}"}, {"hasKeyword": f"l{call}"}]}]}}, str(call)])
        yield json.dumps({"using": [jmap.CORE, jmap.MAIL], "methodCalls": calls}).encode()


def _abuse(url, headers, account_id, inbox, answered):
    """answered: a shared counter of what has been answered."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the benchmark's own would wait for the threads
    requests, lock = _searches(account_id, inbox), threading.Lock()

    def ask():
        client = jmap.Client(url, dict(headers))
        while True:
            with lock:
                body = next(requests)
            answer = client.request("POST", "/jmap/api", body, {"Content-Type": "application/json"})
            while answer.status == 429:
                time.sleep(RETRY_S)
                answer = client.request("POST", "/jmap/api", body, {"Content-Type": "application/json"})
            assert answer.status == 200, f"search: {answer.status} {answer.body[:500]!r}"
            with answered.get_lock():
                answered.value += 1

    threads = [threading.Thread(target=ask) for _ in range(REQUESTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def fair(site, options):
    people = [Account(site, site.second_user(PEOPLE_MESSAGES, f"f{i}")) for i in range(PEOPLE)]
    # An index has filled when nothing has happened for a second, which is waited for together.
    with concurrent.futures.ThreadPoolExecutor(WARMED_AT_ONCE) as pool:
        list(pool.map(Account.warm, people))
    abuser = site.account(ABUSER_MESSAGES)

    def alone():
        return median([person.page()[0] for _ in range(PAGES_EACH) for person in people])

    def beside():
        answered = multiprocessing.Value("L")
        process = multiprocessing.Process(target=_abuse, daemon=True, args=(
            site.nginx.url, abuser.headers, abuser.client.account_id, abuser.inbox, answered))
        process.start()
        try:
            wait_for(lambda: answered.value >= REQUESTS, "the searches' first answers")
            begun = answered.value
            measured = alone()
            assert answered.value > begun and process.is_alive(), "nobody was searching"
            return measured
        finally:
            process.terminate()
            process.join()

    figures = in_turns({"alone": alone, "beside": beside}, options.rounds)
    yield Row("fair", f"warm page of {PEOPLE} people beside one who searches everything",
              duration(median(figures["beside"])), f"{duration(median(figures['alone']))} without them",
              median_ratio(figures["beside"], figures["alone"]), "x", Aim(AT_MOST, 2, "x"))
