"""Figures of accounts that are signed in and idle, over TLS, their views given up: memory and processor time of the
broker. The IMAP server is postern-testimapd, in as many processes as there are brokers.

One process may open only so many files, so the accounts are spread over as many brokers as that takes.
"""

import json
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from support import jmap
from support.postern import Postern, reachable
from support.processes import Process, free_port, wait_for
from support.web import Nginx

from .load import processor_seconds
from .table import AT_MOST, Aim, Row, duration, number

FILES_SPARE = 500  # of a process: everything but accounts' connections
# Signed in before the first measurement, so that what is needed once is there; and at a time afterwards, until their
# views are given up: otherwise the room of all views that ever were there together would count as the accounts'.
FIRST_ACCOUNTS = 200
MAILBOX_MESSAGES = 200
SIGN_IN_THREADS = 8
EVICTION_TIMEOUT_S = 120


def private_bytes(pid):
    """Memory of a process that would be free again without it. Its share of what it shares counts: the segment."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


class Pair:
    """A broker with its web server and workers, and the IMAP server that its accounts are on."""

    def __init__(self, run, pki, number_of_accounts):
        self.run, self.accounts = run, number_of_accounts
        self.password = run.secret()
        port = free_port()
        certificate, key = pki.localhost
        self.imapd = Process(run, "testimapd", [
            reachable(run, "postern-testimapd"), "--port", port, "--tls", "--tls-cert", certificate, "--tls-key", key,
            "--users", number_of_accounts, "--password", self.password, "--messages", MAILBOX_MESSAGES,
            "--log-entries", 0], self._imapd_ready, privileged=True)  # the key may be closed to the servers' user
        self.postern = Postern(run, {
            "imap": {"host": "127.0.0.1", "port": port, "tls": "implicit", "ca_file": pki.ca},
            # Fragments have a budget of their own, which is not to be counted with the accounts.
            "cache": {"view_idle": "1s", "account_idle": "1d", "fragments": "1MB"}}, log_level="warning")
        self.nginx = Nginx(run, pki, self.postern.runtime_dir)

    def _imapd_ready(self):
        with open(self.imapd.log, encoding="utf-8", errors="replace") as log:
            return "ready\n" in log

    def start(self):
        self.imapd.start()
        self.postern.start()
        self.nginx.start()

    def stop(self):
        for server in (self.nginx, self.postern, self.imapd):
            server.stop()

    @property
    def pid(self):
        return self.postern.broker.pid

    def cache(self):
        return self.postern.control("status")["cache"]

    def sign_in(self, first, last):
        """Signs in the accounts, and has each show a page of its INBOX."""
        local = threading.local()
        inbox_request = {"using": [jmap.CORE, jmap.MAIL]}

        def one(index):
            if not hasattr(local, "client"):
                local.client = jmap.Client(self.nginx.url)
            client = local.client
            answer = client.post("/auth/login", {"username": f"user{index}", "password": self.password, "token": True})
            assert answer.status == 200, f"login: {answer.status} {answer.body!r}"
            headers = {"Authorization": "Bearer " + answer.json["token"]}
            account = client.request("GET", "/jmap/session", headers=headers).json["primaryAccounts"][jmap.MAIL]
            calls = [["Mailbox/get", {"accountId": account, "ids": None, "properties": ["role"]}, "0"]]
            answer = client.post("/jmap/api", {**inbox_request, "methodCalls": calls}, headers)
            inbox = next(box["id"] for box in answer.json["methodResponses"][0][1]["list"] if box["role"] == "inbox")
            calls = [["Email/query", {"accountId": account, "filter": {"inMailbox": inbox}, "limit": 20,
                                      "sort": [{"property": "receivedAt", "isAscending": False}]}, "0"],
                     ["Email/get", {"accountId": account, "properties": ["subject", "from", "keywords"],
                                    "#ids": {"resultOf": "0", "name": "Email/query", "path": "/ids"}}, "1"]]
            answer = client.post("/jmap/api", {**inbox_request, "methodCalls": calls}, headers)
            assert len(answer.json["methodResponses"][1][1]["list"]) == 20, json.dumps(answer.json)[:500]

        with ThreadPoolExecutor(SIGN_IN_THREADS) as pool:
            for begin in range(first, last, FIRST_ACCOUNTS):
                for _ in pool.map(one, range(begin, min(begin + FIRST_ACCOUNTS, last))):
                    pass
                wait_for(lambda: self.cache()["views"] == 0, "views to be given up", EVICTION_TIMEOUT_S)
        assert self.cache()["accounts"] == last, self.cache()


def idle(site, options):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - FILES_SPARE
    count = -(-options.accounts // limit)
    each = -(-options.accounts // count)
    pairs = [Pair(site.run.part(f"idle{index}"), site.pki, each) for index in range(count)]
    try:
        for pair in pairs:
            pair.start()
            pair.sign_in(0, FIRST_ACCOUNTS)
        before = sum(private_bytes(pair.pid) for pair in pairs)
        for pair in pairs:
            pair.sign_in(FIRST_ACCOUNTS, each)
        after = sum(private_bytes(pair.pid) for pair in pairs)
        begin, used = time.monotonic(), sum(processor_seconds(pair.pid) for pair in pairs)
        time.sleep(options.quiet_s)
        elapsed, used = time.monotonic() - begin, sum(processor_seconds(pair.pid) for pair in pairs) - used
        assert all(pair.cache()["accounts"] == each for pair in pairs)
    finally:
        for pair in pairs:
            pair.stop()
    total = each * count
    added = total - FIRST_ACCOUNTS * count
    yield Row("idle", f"memory an account, {total:,} idle", f"{number((after - before) / 2**20)} MB more",
              f"{added:,} accounts over TLS, {count} {'broker' if count == 1 else 'brokers'}",
              (after - before) / added / 1024, " KB", Aim(AT_MOST, 24, " KB"))
    yield Row("idle", f"processor, {total:,} idle", duration(used) if used else "0 s", f"{elapsed:.0f} s of one core",
              100 * used / elapsed, " %", Aim(AT_MOST, 1, " %"))
