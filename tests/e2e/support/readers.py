"""Readers that go on while a test does something to the servers, and must notice nothing of it."""

import concurrent.futures
import contextlib
import threading

PAGE_SIZE = 20


class Readers:
    """count pages read by as many clients as there are, until the context ends; then none of them may have seen
    anything but the right page with 200."""

    def __init__(self, stack, web, client, count):
        self.inbox = client.mailbox("inbox")["id"]
        self.expected = client.newest(self.inbox, ("subject",), PAGE_SIZE)[1]["list"]
        self.account, self.session = client.account_id, client.session
        self.clients = [stack.client(web, client.headers) for _ in range(count)]
        self.counts = [0] * count
        self.wrong = []
        self._stop = threading.Event()

    def _read(self, number):
        client = self.clients[number]
        client._session = self.session
        calls = [["Email/query", {"accountId": self.account, "filter": {"inMailbox": self.inbox}, "limit": PAGE_SIZE,
                                  "sort": [{"property": "receivedAt", "isAscending": False}]}, "q"],
                 ["Email/get", {"accountId": self.account, "properties": ["subject"],
                                "#ids": {"resultOf": "q", "name": "Email/query", "path": "/ids"}}, "g"]]
        while not self._stop.is_set():
            response = client.api(calls)
            if response.status != 200:
                self.wrong.append((response.status, response.body[:200]))
            elif response.json["methodResponses"][1][1].get("list") != self.expected:
                self.wrong.append(("list", response.body[:200]))
            self.counts[number] += 1
        client.close()

    def all_past(self, counts):
        """Whether each has read more pages than so many."""
        return all(new > before for new, before in zip(self.counts, counts))

    @contextlib.contextmanager
    def running(self):
        with concurrent.futures.ThreadPoolExecutor(len(self.clients)) as pool:
            jobs = [pool.submit(self._read, number) for number in range(len(self.clients))]
            try:
                yield self
            finally:
                self._stop.set()
            for job in jobs:
                job.result(60)
        assert not self.wrong, self.wrong[:5]
        assert all(self.counts)
