"""The servers that the figures are taken from: Dovecot over IMAPS, Postern, nginx and Apache, and beside them the
same web servers before an echo broker and an echo worker. All from tests/e2e/support; started when first used.
"""

import json
import os
import time

from support import jmap
from support.dovecot import Dovecot
from support.pki import Pki
from support.postern import WORKER_PROCESSES, Postern, reachable
from support.processes import Process, accepts, wait_for
from support.web import Apache, Nginx

from . import sample
from .load import Load

PAGE_MESSAGES = 50
LIST_PROPERTIES = ("id", "threadId", "mailboxIds", "keywords", "size", "receivedAt", "messageId", "subject", "from",
                   "to", "preview", "hasAttachment")
# nginx keeps up to 32 connections in each of its two processes, and each holds a thread of a plain libfcgi program.
ECHO_WORKER_THREADS = 80
WORKER_THREADS = 32


class Account:
    """Somebody who is signed in, with what the page request takes."""

    def __init__(self, site, user):
        self.site, self.user = site, user
        self.client = jmap.Client(site.nginx.url)
        answer = self.client.post("/auth/login", {"username": user, "password": site.dovecot.password, "token": True})
        assert answer.status == 200, f"login: {answer.status} {answer.body!r}"
        self.headers = {"Authorization": "Bearer " + answer.json["token"]}
        self.client.headers.update(self.headers)
        self.inbox = self.client.mailbox("inbox")["id"]
        self.page_request = json.dumps(self._page()).encode()

    def _page(self):
        account = self.client.account_id
        return {"using": [jmap.CORE, jmap.MAIL], "methodCalls": [
            ["Email/query", {"accountId": account, "filter": {"inMailbox": self.inbox}, "limit": PAGE_MESSAGES,
                             "sort": [{"property": "receivedAt", "isAscending": False}], "calculateTotal": True}, "0"],
            ["Email/get", {"accountId": account, "properties": LIST_PROPERTIES,
                           "#ids": {"resultOf": "0", "name": "Email/query", "path": "/ids"}}, "1"]]}

    def page(self):
        """(seconds, body) of one page request, which must be answered with a whole page."""
        begin = time.perf_counter()
        answer = self.client.request("POST", "/jmap/api", self.page_request, {"Content-Type": "application/json"})
        seconds = time.perf_counter() - begin
        assert answer.status == 200, f"page: {answer.status} {answer.body[:500]!r}"
        names = [name for name, _, _ in answer.json["methodResponses"]]
        assert names == ["Email/query", "Email/get"], answer.body[:500]
        assert len(answer.json["methodResponses"][1][1]["list"]) == PAGE_MESSAGES, answer.body[:500]
        return seconds, answer.body

    def state(self):
        (account,) = self.site.postern.control("accounts", self.user)["accounts"]
        return account

    def settle(self):
        """Waits until the mailbox's index has filled, which goes on behind the first page."""
        last, since = None, time.monotonic()
        while last is None or time.monotonic() - since < 1.0:
            account = self.state()
            commands = sum(connection["commands"] for connection in account["connections"])
            now = (account["viewBytes"], account["requestsInFlight"], commands)
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.05)

    def warm(self):
        self.page()
        self.settle()
        return self.page()[1]

    def load(self, name, url):
        return Load(name, self.site.run.dir, url + "/jmap/api", self.site.servers[url], self.page_request, self.headers)

    def sign_out(self):
        """Ends the session and waits until the account is closed."""
        answer = self.client.post("/auth/logout", {})
        assert answer.status in (200, 204), f"logout: {answer.status} {answer.body!r}"
        wait_for(lambda: not self.site.postern.control("accounts", self.user)["accounts"], "the account's end")
        self.client.close()


class Site:
    def __init__(self, run):
        self.run = run
        self.pki = Pki(run.make_dir("pki", owned=False))
        self._running = []
        self._mailboxes = {}
        self._accounts = {}
        self._echo = None
        self.servers = {}  # by URL: the Processes that answer there
        self.dovecot = Dovecot(run, self.pki, packaged=True)
        self._keep(self.dovecot).start()
        self.imap_address = ("127.0.0.1", self.dovecot.tls_port)
        self.postern = Postern(run, {
            "imap": {"host": "127.0.0.1", "port": self.dovecot.tls_port, "tls": "implicit", "ca_file": self.pki.ca}},
            worker_threads=WORKER_THREADS, log_level="info")
        self._keep(self.postern).start()
        self.nginx = self._keep(Nginx(run, self.pki, self.postern.runtime_dir))
        self.nginx.start()
        self.servers[self.nginx.url] = [self.nginx.process, self.postern.worker, self.postern.broker]

    def _keep(self, server):
        self._running.append(server)
        return server

    def stop(self):
        while self._running:
            self._running.pop().stop()

    # --- mailboxes

    def mailbox(self, messages):
        """The user whose INBOX holds so many messages; made, and read once, when first asked for."""
        if messages not in self._mailboxes:
            user = f"with{messages}"
            home = os.path.join(self.dovecot.base, "mail", user)
            os.makedirs(home, mode=0o700)
            sample.make_maildir(os.path.join(home, "Maildir"), messages)
            self.run.own(home)
            self._mailboxes[messages] = user
        return self._mailboxes[messages]

    def second_user(self, messages, number):
        """Another user, with the very same mailbox."""
        user = f"{self.mailbox(messages)}and{number}"
        path = os.path.join(self.dovecot.base, "mail", user)
        if not os.path.islink(path):
            os.symlink(self.mailbox(messages), path)
        return user

    def account(self, messages):
        """The signed-in account with so many messages, its view warm."""
        if messages not in self._accounts:
            account = self._accounts[messages] = Account(self, self.mailbox(messages))
            account.body = account.warm()
        return self._accounts[messages]

    # --- the floors: the same servers and settings before programs that only echo

    def _echo_broker(self, octets):
        """A folder with an echo broker's socket in it, as if it were posternd's runtime directory."""
        folder = self.run.make_dir("echo-broker-run")
        path = f"{folder}/broker.sock"
        if self._echo is None:
            self._echo = self._keep(Process(self.run, "echo-broker", [
                reachable(self.run, "echo-broker"), "--listen", path, "--bytes", octets], lambda: accepts(path)))
            self._echo.start()
        return folder

    def _listening(self, name, folder, command):
        """A FastCGI program that listens where nginx's snippet expects it in this folder."""
        path = self.run.make_dir(os.path.relpath(f"{folder}/web", self.run.dir)) + "/fcgi.sock"
        return self._keep(Process(self.run, name, [*command, "--listen", path], lambda: accepts(path))).start()

    def nginx_floors(self, octets):
        """{name: URL} of nginx before an echo broker, and before an echo worker."""
        folder = self._echo_broker(octets)
        worker = self._listening("echo-broker-fcgi", folder, [
            self.postern.programs["postern-fcgi"], "--broker", f"{folder}/broker.sock", "--segment",
            f"{folder}/segment", "--processes", WORKER_PROCESSES, "--threads", WORKER_THREADS])
        plain = self.run.make_dir("echo-worker-run")
        echo = self._listening("echo-worker", plain, [reachable(self.run, "echo-worker"), "--bytes", octets,
                                                      "--threads", ECHO_WORKER_THREADS])
        return {"echo broker": self._nginx("echo-broker", folder, [worker, self._echo]),
                "echo worker": self._nginx("echo-worker", plain, [echo])}

    def _nginx(self, name, runtime_dir, behind):
        server = self._keep(Nginx(self.run.part(name), self.pki, runtime_dir)).start()
        self.servers[server.url] = [server.process, *behind]
        return server.url

    def apache(self):
        """URL of an Apache before Postern."""
        return self._apache("apache", self.postern.runtime_dir, self.postern.programs["postern-fcgi"],
                            [self.postern.broker])

    def apache_floors(self, octets):
        folder = self._echo_broker(octets)
        return {"echo broker": self._apache("apache-echo-broker", folder, self.postern.programs["postern-fcgi"],
                                            [self._echo]),
                "echo worker": self._apache("apache-echo-worker", folder, reachable(self.run, "echo-worker"), [],
                                            {"ECHO_BYTES": str(octets)})}

    def _apache(self, name, runtime_dir, worker, behind, environment=None):
        server = self._keep(Apache(self.run.part(name), self.pki, runtime_dir, worker, environment)).start()
        self.servers[server.url] = [server.process, *behind]
        return server.url
