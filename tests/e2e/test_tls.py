"""The connection to the IMAP server: verified TLS or none at all, and servers that are not what they should be."""

import base64
import hashlib
import itertools
import random
import socket
import ssl
import subprocess
import threading

import pytest

from support import fastcgi, jmap
from support.postern import Postern
from support.proxy import CountingProxy

numbers = itertools.count(1)


class Gateway:
    """Broker and workers alone, in front of one IMAP server."""

    def __init__(self, run, imap):
        self.postern = Postern(run, {"imap": imap})

    def __enter__(self):
        self.postern.start()
        return self

    def __exit__(self, *failure):
        self.postern.stop()

    def sign_in(self, person):
        """(status, body) of the session resource."""
        status, _, body = fastcgi.request(self.postern.worker_socket, "GET", "/jmap/session", {
            "Authorization": jmap.basic(person.user, person.password)}, timeout=90)
        return status, body


@pytest.fixture
def gateway(run):
    """Makes a Gateway for this test."""
    with_part = []

    def make(**imap):
        part = run.part(f"tls{next(numbers)}")
        gateway = Gateway(part, {"host": "127.0.0.1", "greeting_timeout": "3s", "login_timeout": "5s", **imap})
        with_part.append(gateway)
        return gateway

    yield make
    for gateway in with_part:
        gateway.postern.stop()


@pytest.fixture(scope="module")
def person(stack):
    return stack.person("tls", messages=0)


def test_implicit_tls(gateway, pki, stack, person):
    with gateway(port=stack.dovecot.tls_port, tls="implicit", ca_file=pki.ca) as one:
        assert one.sign_in(person)[0] == 200


def test_starttls(gateway, pki, stack, person):
    with stack.imap.counting() as counted:
        with gateway(port=stack.imap.port, tls="starttls", ca_file=pki.ca) as one:
            assert one.sign_in(person)[0] == 200
    # Nothing but the way into TLS was said in the clear.
    assert set(counted) <= {"CAPABILITY", "STARTTLS"}, counted


@pytest.mark.parametrize("tls", ("implicit", "starttls"))
def test_tls_of_cyrus(gateway, pki, cyrus_stack, tls):
    server = cyrus_stack.server
    with gateway(port=server.tls_port if tls == "implicit" else server.port, tls=tls, ca_file=pki.ca) as one:
        assert one.sign_in(cyrus_stack.person("tls", messages=0))[0] == 200


@pytest.mark.parametrize("kind", ("unknown authority", "system's authorities", "other name", "expired"))
def test_certificate_that_is_not_right(gateway, pki, stack, person, kind):
    certificate = {"unknown authority": pki.stranger, "system's authorities": pki.localhost, "other name": pki.other,
                   "expired": pki.expired}[kind]
    proxy = CountingProxy(("127.0.0.1", stack.dovecot.port), certificate)
    try:
        ca_file = None if kind == "system's authorities" else pki.ca
        with gateway(port=proxy.port, tls="implicit", ca_file=ca_file) as one:
            status, body = one.sign_in(person)
        assert status == 503
        assert b"securely" in body
        assert proxy.commands() == []
    finally:
        proxy.close()


def pin_of(certificate):
    """SHA-256 of the public key (SubjectPublicKeyInfo), in base64 (RFC 7469, 2.4)."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True, capture_output=True)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], check=True, capture_output=True,
                         input=key.stdout)
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()


@pytest.mark.parametrize("right", (True, False))
def test_pin(gateway, pki, stack, person, right):
    pinned = pki.localhost if right else pki.other
    with gateway(port=stack.dovecot.tls_port, tls="implicit", ca_file=pki.ca, pins=[pin_of(pinned[0])]) as one:
        assert one.sign_in(person)[0] == (200 if right else 503)


def test_plain_text_to_another_machine_is_refused_by_the_configuration(run):
    imap = {"host": "mail.example.net", "port": 143, "tls": "none"}
    postern = Postern(run.part(f"tls{next(numbers)}"), {"imap": imap})
    status, said = postern.check_configuration()
    assert status != 0 and "allow_plaintext" in said


class FakeServer:
    """Says one thing to everybody and remembers what it is told."""

    def __init__(self, greeting, certificate=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.greeting, self.heard = greeting, b""
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                connection.sendall(self.greeting)
                connection.settimeout(2)
                while piece := connection.recv(4096):
                    self.heard += piece
            except OSError:
                pass
            finally:
                connection.close()


@pytest.mark.parametrize("greeting", (
    b"220 mail.example ESMTP\r\n", b"+OK POP3 ready\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
    b"* BYE too busy\r\n", b"* PREAUTH welcome, root\r\n", b"* OK " + b"x" * 100000, b"\r\n\r\n\r\n",
    random.Random(1).randbytes(3000)))
def test_greeting_that_is_not_imap(gateway, pki, person, greeting):
    server = FakeServer(greeting, pki.localhost)
    with gateway(port=server.port, tls="implicit", ca_file=pki.ca) as one:
        assert one.sign_in(person)[0] == 503
    assert person.password.encode() not in server.heard
    server.listener.close()


def test_starttls_that_is_not_offered_is_not_done_without(gateway, pki, person):
    server = FakeServer(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n")
    with gateway(port=server.port, tls="starttls", ca_file=pki.ca) as one:
        assert one.sign_in(person)[0] == 503
    assert b"LOGIN" not in server.heard and b"AUTHENTICATE" not in server.heard
    server.listener.close()


def test_what_is_said_before_tls_is_not_trusted(gateway, pki, person):
    """STARTTLS injection: an answer that comes in one piece with more."""
    server = FakeServer(b"* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n")
    with gateway(port=server.port, tls="starttls", ca_file=pki.ca) as one:
        assert one.sign_in(person)[0] == 503
    assert b"SELECT" not in server.heard and b"LIST" not in server.heard
    server.listener.close()
