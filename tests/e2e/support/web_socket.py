"""A WebSocket (RFC 6455) as a test speaks it: frame by frame, so that frames can be wrong as well."""

import base64
import hashlib
import json
import os
import socket
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

WAIT_S = 20.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class Closed(Exception):
    """The server has closed; code is that of its close frame, None if it said nothing."""

    def __init__(self, code=None, reason=""):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


@dataclass
class Frame:
    opcode: int
    payload: bytes
    final: bool = True


class WebSocket:
    """client is a jmap.Client, whose headers the handshake carries. status is that of the answer; 101 if it worked."""

    def __init__(self, client, headers=None, path="/jmap/ws", protocol="jmap", receive_buffer=None):
        split = urlsplit(client.url)
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(WAIT_S)
        self._socket.connect((split.hostname, split.port))
        self._data = b""
        key = base64.b64encode(os.urandom(16))
        fields = {"Host": split.netloc, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": key.decode(), **({"Sec-WebSocket-Protocol": protocol} if protocol else {}),
                  **client.headers, **(headers or {})}
        lines = [f"GET {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in fields.items()]
        self.send_bytes("\r\n".join(lines + ["", ""]).encode())
        head, self.headers = self._read_until(b"\r\n\r\n").decode().split("\r\n"), {}
        self.status = int(head[0].split()[1])
        for line in head[1:]:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        self.body = b""
        if self.status == 101:
            wanted = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
            assert self.headers["sec-websocket-accept"] == wanted
            assert self.headers["sec-websocket-protocol"] == "jmap"
        elif "content-length" in self.headers:
            self.body = self._read(int(self.headers["content-length"]))

    # --- octets

    def send_bytes(self, data):
        self._socket.sendall(data)

    def _more(self):
        data = self._socket.recv(65536)
        if not data:
            raise Closed()
        self._data += data

    def _read_until(self, end):
        while end not in self._data:
            self._more()
        piece, _, self._data = self._data.partition(end)
        return piece

    def _read(self, size):
        while len(self._data) < size:
            self._more()
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    # --- frames

    @staticmethod
    def frame(opcode, payload, final=True, masked=True, reserved=0):
        first = (0x80 if final else 0) | reserved << 4 | opcode
        mask = 0x80 if masked else 0
        if len(payload) < 126:
            head = struct.pack("!BB", first, mask | len(payload))
        elif len(payload) < 65536:
            head = struct.pack("!BBH", first, mask | 126, len(payload))
        else:
            head = struct.pack("!BBQ", first, mask | 127, len(payload))
        if not masked:
            return head + payload
        key = os.urandom(4)
        repeated = (key * (len(payload) // 4 + 1))[:len(payload)]
        hidden = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        return head + key + hidden.to_bytes(len(payload), "big")

    def send(self, opcode, payload=b"", **named):
        self.send_bytes(self.frame(opcode, payload, **named))

    def next_frame(self):
        first, second = self._read(2)
        assert not second & 0x80, "a server's frames are not masked"
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack("!H", self._read(2))
        elif size == 127:
            size, = struct.unpack("!Q", self._read(8))
        return Frame(first & 0x0F, self._read(size), bool(first & 0x80))

    # --- messages

    def next(self, timeout_s=WAIT_S):
        """The next message, parsed. Pings are answered."""
        self._socket.settimeout(timeout_s)
        while True:
            try:
                frame = self.next_frame()
            except ConnectionError as error:
                raise Closed() from error
            if frame.opcode == PING:
                self.send(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                code = struct.unpack("!H", frame.payload[:2])[0] if len(frame.payload) >= 2 else None
                raise Closed(code, frame.payload[2:].decode())
            elif frame.opcode == TEXT:
                assert frame.final
                return json.loads(frame.payload)

    def say(self, message):
        self.send(TEXT, message if isinstance(message, bytes) else json.dumps(message).encode())

    def until(self, wanted, timeout_s=WAIT_S):
        while True:
            message = self.next(timeout_s)
            if wanted(message):
                return message

    def closed(self):
        """The Closed that comes, whatever messages come before."""
        try:
            while True:
                self.next()
        except Closed as end:
            return end

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
