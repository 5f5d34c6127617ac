"""The whole of it for one run or one module: an IMAP server, a counting proxy, Postern, nginx and Apache."""

import itertools
import re

from . import jmap
from .dovecot import Dovecot
from .postern import Postern
from .proxy import CountingProxy
from .web import Apache, Nginx

_numbers = itertools.count(1)


class Person:
    """Somebody with a mailbox of their own. manifest tells what is in it (see make_mailbox.py)."""

    def __init__(self, stack, user, manifest):
        self.stack, self.user, self.manifest = stack, user, manifest
        self.password = stack.server.password
        stack.run.register_secret(jmap.basic(user, self.password).split()[1])

    def inbox(self):
        """The INBOX's messages of the manifest, newest first as Email/query by receivedAt has them."""
        return sorted(self.manifest["folders"]["INBOX"], key=lambda m: (m["receivedAt"], m["uid"]), reverse=True)

    def client(self, web, tls=False):
        """A JMAP client that signs in with HTTP Basic at each request."""
        return self.stack.client(web, {"Authorization": jmap.basic(self.user, self.password)}, tls)


class Stack:
    """configuration: tables for postern.toml on top of what the stack needs itself. server is the class of the IMAP
    server."""

    def __init__(self, run, pki, configuration=None, imap_tls=False, server=Dovecot, apache=True):
        self.run, self.pki = run, pki
        self.server = server(run, pki)
        self.server.start()
        self.imap = CountingProxy(("127.0.0.1", self.server.port), pki.localhost if imap_tls else None)
        tables = {"imap": {"host": "127.0.0.1", "port": self.imap.port, "tls": "implicit" if imap_tls else "none"}}
        if imap_tls:
            tables["imap"]["ca_file"] = pki.ca
        for more in (self.server.postern_tables(), configuration or {}):
            for table, values in more.items():
                tables.setdefault(table, {}).update(values)
        self.postern = Postern(run, tables)
        self.postern.start()
        self.nginx = Nginx(run, pki, self.postern.runtime_dir).start()
        if not apache:  # for tests that use nginx alone
            return
        self.apache = Apache(run, pki, self.postern.runtime_dir, self.postern.programs["postern-fcgi"],
                             environment=self.postern.worker_environment()).start()

    def stop(self):
        for part in ("apache", "nginx", "postern"):
            if hasattr(self, part):
                getattr(self, part).stop()
        self.imap.close()
        self.server.stop()

    @property
    def dovecot(self):
        """The server, for tests of what only Dovecot has."""
        assert isinstance(self.server, Dovecot)
        return self.server

    def web(self, name):
        return {"nginx": self.nginx, "apache": self.apache}[name]

    def person(self, label="person", messages=300):
        user = f"{re.sub(r'[^a-z0-9]+', '', label.lower())[:20]}{next(_numbers)}"
        return Person(self, user, self.server.make_user(user, messages))

    def client(self, web, headers=None, tls=False):
        return jmap.Client(web.tls_url if tls else web.url, headers, self.pki.ca)
