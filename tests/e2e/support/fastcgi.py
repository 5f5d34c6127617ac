"""One FastCGI request over a Unix socket, as a web server sends it; for tests that have no web server."""

import socket
import struct

BEGIN, PARAMS, STDIN, STDOUT, STDERR, END = 1, 4, 5, 6, 7, 3
RESPONDER = 1


def record(kind, content=b""):
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content


def length(number):
    return struct.pack("!B", number) if number < 128 else struct.pack("!I", number | 0x80000000)


def encoded_request(method, target, headers=None, body=b"", keep=False, extra=None):
    """The records of one request; keep asks the worker to leave the connection open (FCGI_KEEP_CONN), extra are
    parameters beside the header fields, as REMOTE_USER is."""
    parameters = {"REQUEST_METHOD": method, "REQUEST_URI": target, "SERVER_PROTOCOL": "HTTP/1.1", "QUERY_STRING": "",
                  "HTTP_HOST": "localhost", "SERVER_NAME": "localhost", "SERVER_PORT": "443", "REQUEST_SCHEME": "https",
                  "REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": str(len(body)), **(extra or {})}
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        parameters[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value
    encoded = b"".join(length(len(name)) + length(len(value.encode())) + name.encode() + value.encode()
                       for name, value in parameters.items())
    pieces = [record(STDIN, body[start:start + 60000]) for start in range(0, len(body), 60000)]
    return (record(BEGIN, struct.pack("!HB5x", RESPONDER, int(keep))) + record(PARAMS, encoded) + record(PARAMS)
            + b"".join(pieces) + record(STDIN))


def connect(path, timeout=30):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    connection.connect(path)
    return connection


def answer(connection):
    """(status, {header in lower case: value}, body) of what the worker answers."""
    output = read_answer(connection)
    head, _, content = output.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    fields = {name.lower(): value for name, value in fields.items()}
    return int(fields.get("status", "200").split()[0]), fields, content


def request(path, method, target, headers=None, body=b"", timeout=30, extra=None):
    """One request on a connection of its own to the worker at the socket path; see answer()."""
    with connect(path, timeout) as connection:
        connection.sendall(encoded_request(method, target, headers, body, extra=extra))
        return answer(connection)


def read_answer(connection):
    output = b""
    while header := read_exactly(connection, 8):
        _, kind, _, size, padding, _ = struct.unpack("!BBHHBB", header)
        content = read_exactly(connection, size + padding)[:size]
        if kind == STDOUT:
            output += content
        elif kind == END:
            return output
    raise AssertionError(f"the worker closed the connection after {output[:200]!r}")


def read_exactly(connection, size):
    """So many octets, or fewer where the connection ends."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data
