"""A ManageSieve client beside Postern, and what IMAP servers that have ManageSieve as well have in common."""

import base64
import contextlib
import socket
import ssl

from .processes import accepts, free_port


class ManageSieve:
    """Another client of the same scripts, beside Postern."""

    def __init__(self, port, ca, user, password):
        self._file = None
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._open()
        self.command("STARTTLS")
        context = ssl.create_default_context(cafile=ca)
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._open()
        said = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.command(f'AUTHENTICATE "PLAIN" "{said}"')

    def _open(self):
        self._file = self._socket.makefile("rb")
        self.capabilities = self.read()

    def read(self):
        """The data lines of a reply that must be OK; literals stand for themselves."""
        lines = []
        while True:
            line = self._file.readline().decode().rstrip("\r\n")
            if line.startswith("{"):
                lines.append(self._file.read(int(line.strip("{}"))).decode())
                self._file.readline()
                continue
            if line.startswith(("OK", "NO", "BYE")) or not line:
                assert line.startswith("OK"), line
                return lines
            lines.append(line)

    def command(self, line, literal=None):
        data = line.encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal.encode()) + literal.encode()
        self._socket.sendall(data + b"\r\n")
        return self.read()

    def put(self, name, script):
        self.command(f'PUTSCRIPT "{name}"', script)

    def activate(self, name):
        self.command(f'SETACTIVE "{name}"')

    def delete(self, name):
        self.command(f'DELETESCRIPT "{name}"')

    def get(self, name):
        return self.command(f'GETSCRIPT "{name}"')[0]

    def scripts(self):
        """({name, ...}, the active one or None)"""
        listed = self.command("LISTSCRIPTS")
        active = [line for line in listed if line.endswith(" ACTIVE")]
        return {line.split('"')[1] for line in listed}, active[0].split('"')[1] if active else None

    def close(self):
        self._file.close()
        self._socket.close()


class ManageSieveServer:
    """In front of an ImapServer: sieve_port is the one for ManageSieve with STARTTLS."""

    def __init__(self, run, pki, **options):
        self.sieve_port = free_port()
        self.ca = pki.ca
        super().__init__(run, pki, **options)
        ready = self.process.ready
        self.process.ready = lambda: ready() and accepts(("127.0.0.1", self.sieve_port))

    def postern_tables(self):
        return {"sieve": {"host": "localhost", "port": self.sieve_port, "ca_file": self.ca}}

    @contextlib.contextmanager
    def managesieve(self, user):
        client = ManageSieve(self.sieve_port, self.ca, user, self.password)
        try:
            yield client
        finally:
            client.close()
