"""What the IMAP servers of these tests have in common: where they listen, how to sign in to them beside Postern, and
how their mailboxes are filled over IMAP with the same sample as everybody else's.
"""

import contextlib
import imaplib
import os
import socket
import subprocess
import time

from .processes import REPOSITORY
from .sample import messages_of, modified_utf7, sample

INSTALLER = os.path.join(REPOSITORY, "deploy", "install-packages.sh")
# Makes fsync() nothing: what a test's server holds need not outlive the machine.
NO_FSYNC = "/usr/lib/x86_64-linux-gnu/libeatmydata.so"
ROLES = {"Archive": "\\Archive", "Drafts": "\\Drafts", "Junk": "\\Junk", "Sent": "\\Sent", "Trash": "\\Trash"}


def unpacked(section):
    """The folder that packages.txt's section is unpacked in; downloads it where that has not been done."""
    return subprocess.run(["/bin/sh", INSTALLER, "--unpack", section], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


class ImapServer:
    """port is the one for plain IMAP; every user has the same password. Subclasses set what is different about them,
    and make users by make_user(user, messages), which returns the manifest of the mailbox."""

    separator, prefix = "/", ""
    odd_name = "100% (left & right)"  # of a mailbox, with what this server allows and others may not
    moves = True  # has MOVE
    renames_keep_uids = True  # RENAME leaves UIDVALIDITY as it is
    quotas = True  # has QUOTA
    previews = True  # has PREVIEW (RFC 8970), and an answer to it

    def postern_tables(self):
        """Tables for postern.toml, of what the server offers beside IMAP."""
        return {}

    def mailbox_name(self, path):
        """What a mailbox with this path (levels joined by '/') is called on this server, quoted."""
        return path if path == "INBOX" else self.name_of_levels(path.split("/"))

    def name_of_levels(self, levels):
        quoted = [modified_utf7(level).replace("\\", "\\\\").replace('"', '\\"') for level in levels]
        return f'"{self.prefix}{self.separator.join(quoted)}"'

    @contextlib.contextmanager
    def signed_in(self, user):
        """An imaplib connection beside Postern, for as long as the context lasts."""
        imap = self.sign_in(user)
        try:
            yield imap
        finally:
            imap.logout()

    def sign_in(self, user):
        imap = imaplib.IMAP4("127.0.0.1", self.port)
        # imaplib writes a literal and its line end one by one, which would wait for each other.
        imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        imap.login(user, self.password)
        return imap

    def load(self, user, messages):
        """Makes the folders that every mailbox has, fills in the sample and returns its manifest."""
        maildir, manifest = sample(self.run, messages) if messages else (None, {"folders": {"INBOX": []}, "total": 0})
        with self.signed_in(user) as imap:
            for folder in sorted(set(ROLES) | set(manifest["folders"]) - {"INBOX"}):
                self.make_folder(imap, folder)
            for folder, listed in manifest["folders"].items():
                if listed:
                    append(imap, self.mailbox_name(folder), messages_of(maildir, folder))
                for place, message in enumerate(listed, 1):
                    message["uid"] = place
        return manifest

    def make_folder(self, imap, folder):
        name = self.mailbox_name(folder)
        if "CREATE-SPECIAL-USE" in imap.capabilities and folder in ROLES:
            ok(imap.xatom("CREATE", name, f"(USE ({ROLES[folder]}))"))
        else:
            ok(imap.create(name))
        ok(imap.subscribe(name))


def append(imap, mailbox, messages):
    """Appends Messages, in one command and one write where the server can take that."""
    described = [(f"({' '.join(message.flags)})", imaplib.Time2Internaldate(time.gmtime(message.received_s)),
                  message.raw) for message in messages]
    if not {"MULTIAPPEND", "LITERAL+"} <= set(imap.capabilities):
        for one in described:
            ok(imap.append(mailbox, *one))
        return
    imap.send(f"load APPEND {mailbox}".encode() + b"".join(
        f" {flags} {date} {{{len(raw)}+}}\r\n".encode() + raw for flags, date, raw in described) + b"\r\n")
    while not (line := imap.readline()).startswith(b"load "):
        assert line, "the server closed the connection"
    assert line.startswith(b"load OK"), line


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
