"""Dovecot with Pigeonhole: ManageSieve with STARTTLS, and delivery that runs people's scripts and keeps what they send.
"""

import glob
import os
import subprocess

from .dovecot import Dovecot
from .managesieve import ManageSieveServer
from .processes import wait_for

LDA = "/usr/lib/dovecot/dovecot-lda"

PIGEONHOLE = """
protocols = imap sieve
service managesieve-login {{
  chroot =
  inet_listener sieve {{
    address = 127.0.0.1
    port = {port}
  }}
}}
protocol lda {{
  mail_plugins = sieve
}}
postmaster_address = postmaster@example.com
hostname = mx.example.com
sendmail_path = {base}/sendmail
plugin {{
  sieve = file:~/sieve;active=~/.dovecot.sieve
  sieve_vacation_min_period = 0
{settings}
}}
"""

# Keeps each message that a script sends, its envelope in the first line.
SENDMAIL = """#!/bin/sh
file=$(mktemp {base}/sent/new.XXXXXX)
echo "$*" >"$file"
cat >>"$file"
mv "$file" "{base}/sent/$(basename "$file" | sed s/new/mail/)"
"""


class SieveDovecot(ManageSieveServer, Dovecot):
    settings = ""  # more of the plugin's

    def _write(self, pki):
        super()._write(pki)
        with open(f"{self.base}/dovecot.conf", encoding="utf-8") as file:
            written = file.read()
        with open(f"{self.base}/dovecot.conf", "w", encoding="utf-8") as out:
            # Delivery knows no password, by which the static databases would find out whether there is such a user.
            out.write(written.replace("args = uid=", "args = allow_all_users=yes uid="))
            out.write(PIGEONHOLE.format(base=self.base, port=self.sieve_port, settings=self.settings))
        self.run.make_dir(os.path.relpath(f"{self.base}/sent", self.run.dir))
        with open(f"{self.base}/sendmail", "w", encoding="ascii") as out:
            out.write(SENDMAIL.format(base=self.base))
        os.chmod(f"{self.base}/sendmail", 0o755)
        self.run.own(self.base)

    def deliver(self, user, sender, subject, to=None):
        """Delivers a message as a mail server would; returns when the person's scripts have run."""
        to = to or f"{user}@example.com"
        message = (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{os.urandom(8).hex()}@x>\r\n"
                   "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\nHello.\r\n")
        command = [LDA, "-c", f"{self.base}/dovecot.conf", "-d", user, "-f", sender, "-a", to]
        options = {"user": self.run.uid, "group": self.run.gid, "extra_groups": []} if os.getuid() == 0 else {}
        done = subprocess.run(command, input=message.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, timeout=60, cwd=self.base, **options)
        assert done.returncode == 0, done.stdout.decode()

    def take_sent(self, count):
        """The messages that scripts have sent since the last time, of which there must be so many."""
        files = wait_for(lambda: (found := glob.glob(f"{self.base}/sent/mail.*")) and len(found) >= count and found,
                         f"{count} messages sent") if count else glob.glob(f"{self.base}/sent/mail.*")
        texts = []
        for path in files:
            with open(path, encoding="utf-8") as file:
                texts.append(file.read())
            os.unlink(path)
        assert len(texts) == count, texts
        return texts
