"""Cyrus IMAP for a test run: Debian's packages, unpacked and not installed, unprivileged, on free loopback ports.

Users are in a sasldb of the run's own, all with one password. Listeners: plain IMAP with STARTTLS, and IMAPS.
"""

import os
import shutil
import subprocess

from .imap_server import NO_FSYNC, ImapServer, ok, unpacked
from .processes import Process, accepts, free_port

ADMIN = "admin"
FOLDERS = ("conf", "data", "tmp") + tuple(f"conf/{name}" for name in (
    "proc", "lock", "log", "msg", "socket", "db", "quota", "user"))

IMAPD = """
cyrus_user: {user}
configdirectory: {base}/conf
defaultpartition: default
partition-default: {base}/data
temp_path: {base}/tmp
proc_path: {base}/conf/proc
mboxname_lockpath: {base}/conf/lock
idlesocket: {base}/conf/socket/idle
servername: localhost
defaultdomain: localhost
admins: {admin}
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {base}/sasldb2
sasl_mech_list: PLAIN
allowplaintext: yes
altnamespace: yes
unixhierarchysep: yes
autocreate_quota: -1
conversations: yes
munge8bit: no
search_engine: none
specialusealways: yes
tls_server_cert: {certificate}
tls_server_key: {key}
"""

MASTER = """
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {base}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {base}/imapd.conf" listen="127.0.0.1:{port}" prefork=1
  imaps cmd="{programs}/imapd -s -C {base}/imapd.conf" listen="127.0.0.1:{tls_port}" prefork=0
}}
EVENTS {{
  checkpoint cmd="{programs}/ctl_cyrusdb -C {base}/imapd.conf -c" period=30
}}
DAEMON {{
  idled cmd="{programs}/idled -C {base}/imapd.conf"
}}
"""


class Cyrus(ImapServer):
    odd_name = "v1.2 & later"
    previews = False  # NIL, where nothing has made them beforehand

    def __init__(self, run, pki, name="cyrus"):
        self.run, self.root = run, unpacked("cyrus")
        self.base = run.make_dir(name)
        for folder in FOLDERS:
            run.make_dir(f"{name}/{folder}")
        self.port, self.tls_port = free_port(), free_port()
        self.password = run.secret()
        self._environment = {"LD_LIBRARY_PATH": f"{self.root}/usr/lib/x86_64-linux-gnu", "CYRUS_USER": run.user,
                             "LD_PRELOAD": NO_FSYNC}
        self._write(pki)
        programs = f"{self.root}/usr/lib/cyrus/bin"
        self.process = Process(
            run, name, [f"{programs}/master", "-C", f"{self.base}/imapd.conf", "-M", f"{self.base}/cyrus.conf", "-p",
                        f"{self.base}/master.pid", "-L", run.log_file(f"{name}-master.log"), "-D"],
            lambda: accepts(("127.0.0.1", self.port)) and accepts(("127.0.0.1", self.tls_port)),
            environment=self._environment)

    def _write(self, pki):
        certificate, key = (shutil.copy(path, self.base) for path in pki.localhost)
        values = {"base": self.base, "user": self.run.user, "admin": ADMIN, "certificate": certificate, "key": key,
                  "programs": f"{self.root}/usr/lib/cyrus/bin", "port": self.port, "tls_port": self.tls_port}
        for name, template in (("imapd.conf", IMAPD), ("cyrus.conf", MASTER)):
            with open(f"{self.base}/{name}", "w", encoding="ascii") as out:
                out.write(template.format(**values))
        self._add_user(ADMIN)
        self.run.own(self.base)

    def _add_user(self, user):
        database = f"{self.base}/sasldb2"
        subprocess.run([f"{self.root}/usr/sbin/saslpasswd2", "-p", "-c", "-f", database, "-u", "localhost", user],
                       input=self.password.encode(), check=True, env={**os.environ, **self._environment},
                       capture_output=True)
        self.run.own(database)

    def start(self):
        self.process.start()
        return self

    def stop(self):
        self.process.stop()

    def make_user(self, user, messages=300):
        """Makes the user, with the sample mailbox, and returns its manifest; messages=0 leaves it empty."""
        self._add_user(user)
        with self.signed_in(ADMIN) as imap:
            ok(imap.create(f'"user/{user}"'))
        return self.load(user, messages)
