"""Cyrus with timsieved, its ManageSieve server."""

from .cyrus import Cyrus
from .managesieve import ManageSieveServer

SERVICE = """
  sieve cmd="{programs}/timsieved -C {base}/imapd.conf" listen="127.0.0.1:{port}" prefork=0
"""


class SieveCyrus(ManageSieveServer, Cyrus):
    def _write(self, pki):
        super()._write(pki)
        self.run.make_dir(f"{self.base}/sieve")
        with open(f"{self.base}/imapd.conf", "a", encoding="ascii") as out:
            out.write(f"sievedir: {self.base}/sieve\nsieveusehomedir: no\n")
        with open(f"{self.base}/cyrus.conf", encoding="ascii") as file:
            written = file.read()
        service = SERVICE.format(programs=f"{self.root}/usr/lib/cyrus/bin", base=self.base, port=self.sieve_port)
        with open(f"{self.base}/cyrus.conf", "w", encoding="ascii") as out:
            out.write(written.replace("SERVICES {", "SERVICES {" + service))
