"""Figures of pushing: from a delivery at the IMAP server to the event in the client, beside what nginx's nchan alone
takes from publishing to receiving; memory a listening session, and processor time while nothing happens; and what a
listener costs the IMAP server meanwhile.

The IMAP server is postern-testimapd with NOTIFY. Each session is one of another account and has one stream, held by
nchan. The streams are read by one thread of this process, which disturbs both sides alike. `coalesce` is 0, so that of
changes that follow each other closely none is held back on purpose.
"""

import http.client
import json
import random
import resource
import select
import socket
import statistics
import time

from support.guard import descendants
from support.postern import Postern, reachable
from support.processes import Process, free_port, wait_for
from support.web import Nginx

from .idle import private_bytes
from .load import processor_seconds
from .table import AT_MOST, Aim, Row, duration, number

FILES_SPARE = 500
MAILBOX_MESSAGES = 10
CHANGES_PER_SECOND = 100
OPENING_AT_ONCE = 100
# An hour at rest made short: 10 s stand for the 28 minutes of `idle_renew`, and `poll_max`, an hour, shrinks alike.
REST_LISTENERS = 10
REST_RENEWAL_S, REST_RENEWALS, RENEWAL_MIN = 10, 6, 28
REST = {"imap": {"idle_renew": f"{REST_RENEWAL_S}s"}, "push": {"poll_min": "5s", "poll_max": "21s"}}
# The IMAP server's kind: what that stands for, and renewals until the pauses between two LISTs have grown.
REST_KINDS = {"dovecot": ("NOTIFY", 1), "cyrus": ("IDLE alone", 8)}
SOURCES = 8  # addresses 127.0.0.x that clients come from
STREAM = "/jmap/events/?types=*&closeafter=no&ping=0"
BARE = """
server {{
    listen 127.0.0.1:{port} backlog=4096;
    access_log off;
    location ~ "^/subscribe/([0-9]+)$" {{
        nchan_subscriber eventsource;
        nchan_channel_id $1;
        nchan_channel_group bare;
    }}
}}
server {{
    listen unix:{folder}/bare.sock;
    access_log off;
    keepalive_requests 1000000;
    location ~ "^/publish/([0-9]+)$" {{
        nchan_publisher;
        nchan_channel_id $1;
        nchan_channel_group bare;
    }}
}}
"""


class Streams:
    """Event streams by number, read without threads."""

    def __init__(self, port):
        self.port = port
        self.poll = select.epoll()
        self.sockets, self.numbers = {}, {}

    def open(self, requests):
        """requests: {number: the request's octets}. Waits for each one's head, and its first event if it says so."""
        waiting = {}
        items = iter(requests.items())
        more = True
        while more or waiting:
            while more and len(waiting) < OPENING_AT_ONCE:
                number, request = next(items, (None, None))
                if number is None:
                    more = False
                    break
                client = socket.create_connection(("127.0.0.1", self.port), 30,
                                                  source_address=(f"127.0.0.{2 + number % SOURCES}", 0))
                client.sendall(request)
                client.setblocking(False)
                self.sockets[number], self.numbers[client.fileno()] = client, number
                self.poll.register(client, select.EPOLLIN)
                waiting[number] = b""
            for number, data, _ in self.read(10):
                if number not in waiting:
                    continue
                waiting[number] += data
                assert waiting[number].startswith(b"HTTP/1.1 200"), waiting[number][:300]
                if b"\r\n\r\n" in waiting[number]:
                    del waiting[number]

    def read(self, timeout):
        """[(number, octets, when)] of what is there."""
        events = self.poll.poll(timeout)
        assert events or timeout < 5, "no stream has said anything"
        when = time.perf_counter()
        read = []
        for descriptor, _ in events:
            number = self.numbers[descriptor]
            data = self.sockets[number].recv(65536)
            assert data, f"stream {number} has ended"
            read.append((number, data, when))
        return read

    def drain(self, quiet_s=1.5):
        end = time.monotonic() + quiet_s
        while time.monotonic() < end:
            if self.read(0.2):
                end = time.monotonic() + quiet_s

    def close(self):
        for client in self.sockets.values():
            client.close()
        self.poll.close()


def latencies(streams, numbers, seconds, change):
    """Seconds from change(number), CHANGES_PER_SECOND of them a second, to what the stream of that number says."""
    chance = random.Random(7)
    pending, taken = {}, []
    begin = time.perf_counter()
    total = int(seconds * CHANGES_PER_SECOND)
    made = 0
    while made < total or (pending and time.perf_counter() < begin + seconds + 10):
        now = time.perf_counter()
        due = begin + made / CHANGES_PER_SECOND
        if made < total and now >= due:
            number = chance.choice(numbers)
            pending.setdefault(number, []).append(time.perf_counter())
            change(number)
            made += 1
            continue
        for number, data, when in streams.read(max(0.0, due - now) if made < total else 1):
            if b"data:" in data:
                taken += [when - since for since in pending.pop(number, [])]
    assert not pending, f"{len(pending)} changes were never told"
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


class PushSite:
    def __init__(self, run, pki, accounts, kind="full", tables=None):
        self.accounts, self.password = accounts, run.secret()
        port = free_port()
        self.control_path = f"{run.make_dir('imapd')}/control.sock"  # made by the servers' user
        self.imapd = Process(run, "testimapd", [
            reachable(run, "postern-testimapd"), "--port", port, "--users", accounts, "--password", self.password,
            "--messages", MAILBOX_MESSAGES, "--log-entries", 0, "--control-socket", self.control_path, "--caps", kind],
            self._ready)
        self.postern = Postern(run, {
            "log": {"level": "warning"},
            "imap": {"host": "127.0.0.1", "port": port, "tls": "none"},
            "push": {"coalesce": "0s"}, "cache": {"account_idle": "1d", "fragments": "1MB"}})
        self.postern.configure(tables or {})
        folder = f"{self.postern.runtime_dir}/nchan"
        self.postern.configure({"push.frontends.nginx": {
            "publisher": f"http://unix:{folder}/publish.sock:/publish/", "subscriber": "/postern-nchan/"}})
        self.nginx = Nginx(run, pki, self.postern.runtime_dir)
        self.bare_port, self.bare_path = free_port(), f"{folder}/bare.sock"
        bare = BARE.format(port=self.bare_port, folder=folder)
        self._change("postern-nchan-publisher.conf", lambda text: text + bare)
        self._change("nginx.conf", lambda text: text.replace("worker_connections 2048", "worker_connections 32768"))
        self.control = None

    def _change(self, name, change):
        path = f"{self.nginx.base}/{name}"
        with open(path, encoding="utf-8") as file:
            text = file.read()
        changed = change(text)
        assert changed != text
        self.nginx.write(name, changed)

    def _ready(self):
        with open(self.imapd.log, encoding="utf-8", errors="replace") as log:
            return "ready\n" in log

    def start(self):
        self.imapd.start()
        self.postern.start()
        self.nginx.start()
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(self.control_path)

    def stop(self):
        if self.control:
            self.control.close()
        for server in (self.nginx, self.postern, self.imapd):
            server.stop()

    def sign_in(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=60)
        body = json.dumps({"username": f"user{number}", "password": self.password, "token": True})
        connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        token = json.loads(body)["token"]
        return (f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                f"Authorization: Bearer {token}\r\n\r\n").encode()

    def deliver(self, number):
        self.control.sendall(f"deliver user{number} INBOX\n".encode())
        answer = self.control.recv(4096)
        assert answer.startswith(b"OK"), answer

    def commands(self):
        self.control.sendall(b"counts\n")
        return json.loads(self.control.recv(65536))["commands_total"]

    def memory(self):
        nginx = [pid for pid in descendants(self.nginx.process.guard.pid)]
        return private_bytes(self.postern.broker.pid), sum(private_bytes(pid) for pid in nginx)

    def processor(self):
        return (processor_seconds(self.postern.broker.pid),
                sum(processor_seconds(pid) for pid in descendants(self.nginx.process.guard.pid)))


def bare_publisher(path):
    near = socket.socket(socket.AF_UNIX)
    near.connect(path)

    def publish(number):
        body = b'{"@type":"StateChange","changed":{"a":{"Email":"1"}}}'
        head = f"POST /publish/{number} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        near.sendall(head.encode() + body)
        near.recv(4096)

    return publish


def measure(site, options, listeners):
    numbers = list(range(listeners))
    requests = {number: site.sign_in(number) for number in numbers}
    before = site.memory()
    streams = Streams(site.nginx.port)
    streams.open(requests)
    streams.drain()
    after = site.memory()
    median, late = latencies(streams, numbers, options.push_s, site.deliver)
    streams.drain()
    used, begin = site.processor(), time.monotonic()
    time.sleep(options.quiet_s)
    elapsed = time.monotonic() - begin
    silent = [after - before for after, before in zip(site.processor(), used)]
    streams.close()

    bare = Streams(site.bare_port)
    bare.open({number: f"GET /subscribe/{number} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n".encode()
               for number in numbers})
    bare_median, bare_late = latencies(bare, numbers, options.push_s, bare_publisher(site.bare_path))
    bare.close()

    what = f"{listeners:,} listening"
    yield Row("push", f"mailbox to client, {what}: p99", f"{duration(late)}, median {duration(median)}",
              f"nchan alone: {duration(bare_late)}, median {duration(bare_median)}", late * 1e3, " ms",
              Aim(AT_MOST, 20, " ms"))
    yield Row("push", f"the same beside nchan alone, {what}", duration(late), duration(bare_late), late / bare_late, "",
              Aim(AT_MOST, 3))
    if listeners < 100:
        return
    each = [(more - less) / listeners / 1024 for more, less in zip(after, before)]
    yield Row("push", f"memory of a listening session, {what}", f"broker {number(each[0])} KB",
              f"nginx {number(each[1])} KB", sum(each), " KB")
    yield Row("push", f"processor of the broker, {what} and silent", duration(silent[0]) if silent[0] else "0 s",
              f"{elapsed:.0f} s of one core; nginx {duration(silent[1]) if silent[1] else '0 s'}",
              100 * silent[0] / elapsed, " %", Aim(AT_MOST, 2, " %"))


def resting(site, kind):
    what, settling = REST_KINDS[kind]
    at_rest = PushSite(site.run.part(f"push-rest-{kind}"), site.pki, REST_LISTENERS, kind, REST)
    streams = None
    try:
        at_rest.start()
        wait_for(at_rest.nginx.listens, "nginx")
        streams = Streams(at_rest.nginx.port)
        streams.open({listener: at_rest.sign_in(listener) for listener in range(REST_LISTENERS)})
        streams.drain()
        time.sleep(settling * REST_RENEWAL_S)
        before = at_rest.commands()
        time.sleep(REST_RENEWALS * REST_RENEWAL_S)
        commands = at_rest.commands() - before
    finally:
        if streams:
            streams.close()
        at_rest.stop()
    hourly = commands / REST_LISTENERS / REST_RENEWALS * 60 / RENEWAL_MIN
    return Row("push", f"IMAP commands of a listener in an hour at rest, with {what}",
               f"{commands} of {REST_LISTENERS} listeners in {REST_RENEWALS} renewals of IDLE",
               f"renewed every {REST_RENEWAL_S} s instead of {RENEWAL_MIN} min", hourly, "", Aim(AT_MOST, 3))


def push(site, options):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - FILES_SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + FILES_SPARE, most + FILES_SPARE))
    for listeners in options.listeners:
        if listeners > most:
            continue
        of_size = PushSite(site.run.part(f"push{listeners}"), site.pki, listeners)
        try:
            of_size.start()
            wait_for(of_size.nginx.listens, "nginx")
            yield from measure(of_size, options, listeners)
        finally:
            of_size.stop()
    if options.quiet_s >= REST_RENEWALS * REST_RENEWAL_S:
        for kind in REST_KINDS:
            yield resting(site, kind)
