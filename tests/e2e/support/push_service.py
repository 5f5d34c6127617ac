"""A push service (RFC 8030) for the tests: takes messages over https, answers as it is told to, and opens what is
encrypted (RFC 8291) with the keys of devices that it makes up.
"""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import struct
import threading
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

WAIT_S = 20.0


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hkdf(salt, key, info, size):
    """HKDF (RFC 5869) for up to one block."""
    return hmac.new(hmac.new(salt, key, hashlib.sha256).digest(), info + b"\x01", hashlib.sha256).digest()[:size]


class Device:
    """The keys of one client, and what it reads with them."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.auth = hashlib.sha256(self.public).digest()[:16]

    @property
    def keys(self):
        return {"p256dh": b64(self.public), "auth": b64(self.auth)}

    def open(self, body):
        salt, (size, key_size) = body[:16], struct.unpack("!LB", body[16:21])
        sender, sealed = body[21:21 + key_size], body[21 + key_size:]
        assert size == 4096 and len(body) <= 4096 and len(sealed) <= size
        shared = self.private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = hkdf(self.auth, shared, b"WebPush: info\x00" + self.public + sender, 32)
        key = hkdf(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
        nonce = hkdf(salt, secret, b"Content-Encoding: nonce\x00", 12)
        plain = AESGCM(key).decrypt(nonce, sealed, None)
        assert plain.endswith(b"\x02")
        return plain[:-1]


def check_vapid(field, origin, key, contact=None):
    """RFC 8292: the Authorization field of a message, signed by this public key (base64url) for this origin."""
    scheme, _, rest = field.partition(" ")
    parameters = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert scheme == "vapid" and parameters["k"] == key, field
    signed, _, signature = parameters["t"].rpartition(".")
    raw = unb64(signature)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
    public.verify(utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
                  signed.encode(), ec.ECDSA(SHA256()))
    header, claims = (json.loads(unb64(part)) for part in signed.split("."))
    assert header == {"typ": "JWT", "alg": "ES256"}
    assert claims["aud"] == origin and (contact is None or claims["sub"] == contact)


@dataclass
class Message:
    path: str
    headers: dict
    body: bytes

    def json(self, device=None):
        return json.loads(device.open(self.body) if device else self.body)


class PushService:
    """certificate: (chain, key) files. answers: {path: [(status, headers), ...]}, used up from the front; then 201."""

    def __init__(self, pki, certificate=None):
        self.answers, self.messages = {}, []
        self._changed = threading.Condition()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = service.take(Message(self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(certificate or pki.localhost))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self.origin = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, message):
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
            waiting = self.answers.get(message.path)
            return waiting.pop(0) if waiting else (201, {})

    def url(self, name):
        return f"{self.origin}/send/{name}"

    def of(self, name):
        with self._changed:
            return [message for message in self.messages if message.path == f"/send/{name}"]

    def wait_for(self, name, count, timeout_s=WAIT_S):
        """The messages to this device, once there are so many."""
        with self._changed:
            path = f"/send/{name}"
            assert self._changed.wait_for(
                lambda: sum(message.path == path for message in self.messages) >= count, timeout_s), \
                [message.path for message in self.messages]
        return self.of(name)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
