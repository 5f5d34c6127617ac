"""Dovecot for a test run: unprivileged, on free loopback ports, any user name with one password.

Listeners: plain IMAP (with STARTTLS) and IMAPS. Also OAUTHBEARER and XOAUTH2 with locally validated HS256 tokens
(token()), and a master user (user*master). A user's mailbox is made from a template by make_mailbox.py.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import time

from .imap_server import ImapServer
from .processes import Process, accepts, free_port
from .sample import sample
from .templates import render

DOVECOT = "/usr/sbin/dovecot"

# What the tests have beyond the demo's template: more ways to sign in, METADATA.
MORE = """
auth_mechanisms = plain login oauthbearer xoauth2
# Where the system has no inotify instances left for the servers' user, mailboxes are looked at this often.
mailbox_idle_check_interval = 1 secs
auth_master_user_separator = *
passdb {{
  driver = passwd-file
  args = {base}/masters
  master = yes
}}
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {base}/oauth2.conf
}}
protocol imap {{
  imap_metadata = yes
}}
mail_attribute_dict = file:%h/dovecot-attributes
"""

# The template keeps login processes, which makes a sign-in quicker; by default each serves one connection.
PACKAGED = """
service imap-login {
  service_count = 1
  process_min_avail = 0
  # Not as packaged: a process stays with each TLS connection, and the benchmarks keep more than 100.
  process_limit = 400
}
"""


class Dovecot(ImapServer):
    quotas = False  # takes a plugin

    def __init__(self, run, pki, name="dovecot", packaged=False):
        """packaged: signing in costs what it costs with the settings and the kind of key of Debian's package."""
        self.run = run
        self.base = run.make_dir(name)
        for folder in ("run", "state", "mail", "oauth2-keys"):
            run.make_dir(f"{name}/{folder}")
        self.port, self.tls_port = free_port(), free_port()
        self.password = run.secret()
        self.master_user, self.master_password = "master", run.secret("master")
        self._signing_key = os.urandom(32)
        self._packaged = packaged
        self._write(pki)
        self.process = Process(run, name, [DOVECOT, "-F", "-c", f"{self.base}/dovecot.conf"],
                               lambda: accepts(("127.0.0.1", self.port)) and accepts(("127.0.0.1", self.tls_port)))

    def _write(self, pki):
        pair = pki.packaged if self._packaged else pki.localhost
        certificate, key = (shutil.copy(path, self.base) for path in pair)
        with open(f"{self.base}/dovecot.conf", "w", encoding="utf-8") as out:
            out.write(render("dovecot.conf", {
                "BASE": self.base, "LOG": self.run.log_file("dovecot-mail.log"), "CERTIFICATE": certificate, "KEY": key,
                "USER": self.run.user, "GROUP": self.run.group, "UID": self.run.uid, "GID": self.run.gid,
                "PASSWORD": self.password, "PORT": self.port, "TLS_PORT": self.tls_port}))
            out.write(MORE.format(base=self.base) + (PACKAGED if self._packaged else ""))
        with open(f"{self.base}/masters", "w", encoding="ascii") as out:
            out.write(f"{self.master_user}:{{PLAIN}}{self.master_password}\n")
        keys = f"{self.base}/oauth2-keys"
        with open(f"{self.base}/oauth2.conf", "w", encoding="ascii") as out:
            out.write(f"introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={keys}/\n"
                      "username_attribute = sub\n")
        os.makedirs(f"{keys}/default/HS256", exist_ok=True)
        with open(f"{keys}/default/HS256/default", "wb") as out:
            out.write(base64.b64encode(self._signing_key))
        self.run.own(self.base)

    def start(self):
        self.process.start()
        return self

    def stop(self):
        self.process.stop()

    def token(self, user, lifetime_s=3600):
        """An OAuth 2 access token (a JSON Web Token) that this server takes for user."""
        def part(value):
            return base64.urlsafe_b64encode(value).rstrip(b"=")

        now = int(time.time())
        signed = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + part(json.dumps(
            {"sub": user, "iat": now - 10, "nbf": now - 10, "exp": now + lifetime_s,
             "jti": os.urandom(8).hex()}).encode())
        mac = hmac.new(self._signing_key, signed, hashlib.sha256).digest()
        return self.run.register_secret((signed + b"." + part(mac)).decode())

    def make_user(self, user, messages=300):
        """Gives user a fresh sample mailbox and returns its manifest; messages=0 leaves it empty."""
        home = os.path.join(self.base, "mail", user)
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(home, mode=0o700)
        manifest = {"folders": {"INBOX": []}, "total": 0}
        if messages:
            maildir, manifest = sample(self.run, messages)
            shutil.copytree(maildir, os.path.join(home, "Maildir"))
        self.run.own(home)
        return manifest

    def hang(self):
        """Stops every process of the server where it is; the connections stay open. wake() goes on."""
        self._signal_all(signal.SIGSTOP)

    def wake(self):
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        from .guard import descendants
        for pid in [self.process.pid] + descendants(self.process.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
