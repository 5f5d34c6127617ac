"""An event stream (RFC 8620, 7.3) as a test reads it: in a thread, event by event."""

import http.client
import json
import queue
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

WAIT_S = 20.0
QUIET_S = 1.5  # how long nothing has to come before a test believes that nothing does


@dataclass
class Event:
    name: str
    id: str
    data: str

    @property
    def changed(self):
        """{type: state} of the one account; empty for one that tells of none."""
        changed = json.loads(self.data)["changed"]
        assert len(changed) <= 1, changed
        return next(iter(changed.values()), {})


class EventStream:
    """GET of an event stream; headers are a jmap.Client's."""

    def __init__(self, client, parameters="types=*&closeafter=no&ping=0", headers=None, path="/jmap/events/"):
        split = urlsplit(client.url)
        self._connection = http.client.HTTPConnection(split.hostname, split.port, timeout=WAIT_S)
        self._connection.request("GET", f"{path}?{parameters}",
                                 headers={"Accept": "text/event-stream", **client.headers, **(headers or {})})
        self._socket = self._connection.sock  # the connection lets go of it where it is not kept alive
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers
        self._events = queue.Queue()
        self.ended = threading.Event()
        self.body = b""
        if self.status == 200:
            self._socket.settimeout(None)  # the next event may be a long time in coming
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        else:
            self.body = self._response.read()

    def _read(self):
        fields = {}
        try:
            while line := self._response.readline():
                text = line.decode().rstrip("\r\n")
                if text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    self._events.put(Event(fields.get("event", "message"), fields.get("id", ""), fields["data"]))
                    fields = {}
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.ended.set()

    def next(self, timeout_s=WAIT_S):
        """The next event; pings are passed over, and what tells of nothing."""
        while True:
            event = self._events.get(timeout=timeout_s)
            if event.name != "ping" and (event.name != "state" or event.changed):
                return event

    def ping(self, timeout_s=WAIT_S):
        """The next ping's data; other events are passed over."""
        while (event := self._events.get(timeout=timeout_s)).name != "ping":
            pass
        return json.loads(event.data)

    def until(self, wanted, timeout_s=WAIT_S):
        """The first event for which wanted(event) is true."""
        end = time.monotonic() + timeout_s
        while True:
            event = self.next(max(0.0, end - time.monotonic()))
            if wanted(event):
                return event

    def settled(self):
        """All events until nothing comes for a while."""
        events = []
        while True:
            try:
                events.append(self.next(QUIET_S))
            except queue.Empty:
                return events

    def close(self):
        # Closing waits for the thread that reads, so that is woken first.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
