"""Courier IMAP for a test run: Debian's packages, unpacked and not installed, unprivileged, on a free loopback port.

Courier's programs have the paths of their configuration and sockets built in, so that they run in a root directory of
their own, made of what was unpacked and the system's libraries. Users are in its userdb, all with one password.
"""

import os
import re
import shutil
import subprocess

from .imap_server import NO_FSYNC, ImapServer, unpacked
from .processes import Process, accepts, free_port

PROGRAMS = ("usr/bin/imapd", "usr/sbin/couriertcpd", "usr/lib/courier/courier-authlib/authdaemond",
            "usr/lib/courier/courier-authlib/makedatprog", "usr/lib/courier/courier/imaplogin",
            "usr/bin/maildirmake.courier")
PLUGIN = "usr/lib/courier-authlib/libauthuserdb.so.0"
# glibc's converters between charsets, which searches need.
CONVERTERS = "usr/lib/x86_64-linux-gnu/gconv"

AUTHDAEMON = """authmodulelist="authuserdb"
authmodulelistorig="authuserdb"
daemons=2
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
"""
# What differs from Debian's etc/courier/imapd. Nothing is thrown away behind a test's back. Locks, and so the File
# Access Monitor's daemon, are for clusters. A mailbox in IDLE is looked at every second.
SETTINGS = {"IMAP_EMPTYTRASH": "", "IMAP_USELOCKS": "0", "IMAP_IDLE_TIMEOUT": "1", "MAXPERIP": "1000",
            "MAXDAEMONS": "1000", "IMAPDSTART": "YES", "MAILDIRPATH": "Maildir", "AUTHMODULES": "authdaemon"}


class Courier(ImapServer):
    separator, prefix = ".", "INBOX."
    odd_name = 'a "quoted" \\name (100%)'
    moves, previews, renames_keep_uids = False, False, False

    def __init__(self, run, pki, name="courier"):
        self.run, self.unpacked = run, unpacked("courier")
        self.base, self.root = run.make_dir(name), run.make_dir(f"{name}/root")
        self.port = free_port()
        self.password = run.secret()
        self._hash = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=self.password, check=True,
                                    capture_output=True, text=True).stdout.strip()
        self._users, self._samples = {}, {}
        self._fill_root()
        self._write_users()
        run.own(self.base)
        self.authdaemon = Process(
            run, f"{name}-auth", self._inside("/usr/lib/courier/courier-authlib/authdaemond"),
            lambda: accepts(f"{self.root}/run/courier/authdaemon/socket"), privileged=True)
        self.process = Process(
            run, name, self._inside("/usr/sbin/couriertcpd", "-address=127.0.0.1", "-maxprocs=1000", "-maxperip=1000",
                                    "-nodnslookup", "-noidentlookup", str(self.port),
                                    "/usr/lib/courier/courier/imaplogin", "/usr/bin/imapd", "Maildir"),
            lambda: accepts(("127.0.0.1", self.port)), environment=self._environment(), privileged=True)

    def _inside(self, *command):
        """The command, run in the server's root directory as the servers' user."""
        if os.getuid() == 0:
            return ["/usr/sbin/chroot", f"--userspec={self.run.uid}:{self.run.gid}", "--groups=", self.root, *command]
        return ["/usr/bin/unshare", f"--map-user={self.run.uid}", f"--map-group={self.run.gid}",
                f"--root={self.root}", *command]

    def _fill_root(self):
        for folder in ("run/courier/authdaemon", "etc/courier", "tmp", "mail", "dev", "usr/lib/x86_64-linux-gnu",
                       "lib64"):
            os.makedirs(f"{self.root}/{folder}")
        os.symlink("usr/lib", f"{self.root}/lib")
        # A device can't be made without privileges; nobody reads what is written there.
        with open(f"{self.root}/dev/null", "wb"):
            pass
        for path in PROGRAMS + (PLUGIN,):
            self._copy(f"{self.unpacked}/{path}", path)
        for library in [NO_FSYNC] + self._libraries([f"{self.unpacked}/{path}" for path in PROGRAMS + (PLUGIN,)]):
            place = library.removeprefix(self.unpacked).lstrip("/")
            self._copy(library, place if place.startswith("lib64/") else
                       f"usr/lib/x86_64-linux-gnu/{os.path.basename(place)}")
        shutil.copytree(f"/{CONVERTERS}", f"{self.root}/{CONVERTERS}")
        with open(f"{self.root}/etc/courier/authdaemonrc", "w", encoding="ascii") as out:
            out.write(AUTHDAEMON)

    def _copy(self, source, place):
        target = os.path.join(self.root, place)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)

    def _libraries(self, files):
        folders = f"{self.unpacked}/usr/lib:{self.unpacked}/usr/lib/x86_64-linux-gnu"
        said = subprocess.run(["ldd", *files], check=True, capture_output=True, text=True,
                              env={**os.environ, "LD_LIBRARY_PATH": folders}).stdout
        assert "not found" not in said, said
        return sorted(set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", said, re.MULTILINE)))

    def _environment(self):
        """Debian's settings of imapd, as its init script hands them on, with those of the tests."""
        said = subprocess.run(["/bin/sh", "-c", 'set -a; . "$1"; env -0', "sh", f"{self.unpacked}/etc/courier/imapd"],
                              check=True, capture_output=True, text=True, env={}).stdout
        settings = dict(pair.split("=", 1) for pair in said.split("\0") if pair)
        return {**settings, **SETTINGS, "LD_PRELOAD": NO_FSYNC}

    def _write_users(self):
        """The two databases that makeuserdb would make, without Perl: who is who, and the hashes."""
        plain = {user: f"home=/mail/{user}|uid={self.run.uid}|gid={self.run.gid}|_=" for user in self._users}
        shadow = {user: f"systempw={self._hash}" for user in self._users}
        for name, records in (("userdb", plain), ("userdbshadow", shadow)):
            path = f"{self.root}/etc/courier/{name}"
            text = "".join(f"{user}\t{record}\n" for user, record in records.items()) + ".\n"
            subprocess.run([f"{self.unpacked}/usr/lib/courier/courier-authlib/makedatprog", "-", f"{path}.tmp",
                            f"{path}.dat"], input=text, check=True, text=True, capture_output=True)
            self.run.own(f"{path}.dat")

    def start(self):
        self.authdaemon.start()
        self.process.start()
        return self

    def stop(self):
        self.process.stop()
        self.authdaemon.stop()

    def make_user(self, user, messages=300):
        """Makes the user, with the sample mailbox, and returns its manifest; messages=0 leaves it empty."""
        if messages not in self._samples:
            origin = f"sample{messages}"
            self._add_user(origin)
            os.makedirs(f"{self.root}/mail/{origin}", mode=0o700)
            subprocess.run([f"{self.unpacked}/usr/bin/maildirmake.courier", f"{self.root}/mail/{origin}/Maildir"],
                           check=True)
            self.run.own(f"{self.root}/mail/{origin}")
            self._samples[messages] = self.load(origin, messages), f"{self.root}/mail/{origin}"
        manifest, home = self._samples[messages]
        shutil.copytree(home, f"{self.root}/mail/{user}", symlinks=True)
        self.run.own(f"{self.root}/mail/{user}")
        self._add_user(user)
        return manifest

    def _add_user(self, user):
        self._users[user] = True
        self._write_users()
