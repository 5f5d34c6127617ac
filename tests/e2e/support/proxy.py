"""A TCP proxy in front of an IMAP server that counts commands by name, and can misbehave on demand.

It follows the client's side closely enough to tell commands from what is not one: literals ({n}, {n+}, ~{n}), the
lines of an AUTHENTICATE exchange, and DONE. Speaks plain text to both sides, or TLS to the client where given a
certificate. Runs in a thread of its own; the public methods may be called from any thread.
"""

import asyncio
import collections
import contextlib
import re
import ssl
import threading
from dataclasses import dataclass, field

LITERAL = re.compile(rb"~?\{(\d+)[+-]?\}\r?\n$")
SERVER_LITERAL = re.compile(rb"\{(\d+)\}\r\n")


@dataclass
class Command:
    tag: str
    name: str
    arguments: str  # without those of LOGIN and AUTHENTICATE
    literals: list = field(default_factory=list)  # octets of each that came with it


@dataclass
class Connection:
    number: int
    commands: list = field(default_factory=list)
    bytes_to_client: int = 0
    open: bool = True


class CommandScanner:
    """Fed what the client sends, in any pieces; calls on_command for each complete command line start."""

    def __init__(self, on_command):
        self.on_command = on_command
        self.buffer = b""
        self.literal_left = 0
        self.fresh = True  # the next line starts a command
        self.exchange = False  # lines belong to AUTHENTICATE or IDLE until the server's tagged answer, or DONE
        self.tag = b""
        self.last = None  # the command whose lines these are
        self.blind = False  # what follows STARTTLS is TLS

    def feed(self, data):
        if self.blind:
            return
        self.buffer += data
        while self.buffer:
            if self.literal_left:
                taken = min(self.literal_left, len(self.buffer))
                self.buffer = self.buffer[taken:]
                self.literal_left -= taken
                continue
            line, newline, rest = self.buffer.partition(b"\n")
            if not newline:
                return
            self.buffer = rest
            self.line(line + newline)

    def line(self, line):
        if self.exchange:
            if line.strip().upper() == b"DONE":
                self.exchange = False
            return
        if self.fresh:
            self.command(line)
        match = LITERAL.search(line)
        self.fresh = match is None
        if match:
            self.literal_left = int(match.group(1))
            if self.last is not None:
                self.last.literals.append(self.literal_left)

    def command(self, line):
        words = line.strip().split(b" ", 3)
        if len(words) < 2:
            return
        self.tag = words[0]
        name, rest = words[1].upper(), b" ".join(words[2:])
        if name == b"UID" and len(words) > 2:
            name, rest = b"UID " + words[2].upper(), words[3] if len(words) > 3 else b""
        # With an initial response (SASL-IR) what follows is at most an empty or one-word line, never a command.
        self.exchange = name == b"IDLE" or name == b"AUTHENTICATE" and len(words) == 3
        self.blind = name == b"STARTTLS"
        if name in (b"LOGIN", b"AUTHENTICATE"):
            rest = b""
        self.last = Command(self.tag.decode("latin-1"), name.decode("latin-1"), rest.decode("latin-1"))
        self.on_command(self.last)

    def answered(self, data):
        """Fed what the server sends: a tagged answer ends an AUTHENTICATE exchange."""
        if self.exchange and re.search(rb"(?:^|\n)" + re.escape(self.tag) + rb" (?:OK|NO|BAD)", data):
            self.exchange = False


class CountingProxy:
    def __init__(self, upstream, certificate=None):
        self.upstream = upstream
        self.connections = []
        self.tap = None  # a bytearray that takes what goes to the client, of all connections
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._writers = set()
        self._held = False
        self._cut_after, self._cut_alone = None, False
        self._lock = threading.Lock()
        self._server = None
        self._loop = asyncio.new_event_loop()
        self._flow = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="imap-proxy", daemon=True)
        self._thread.start()
        self.port = 0
        self._run(self._listen())

    # --- what tests ask

    def commands(self):
        """All commands so far, in order of arrival on each connection."""
        with self._lock:
            return [command for connection in self.connections for command in connection.commands]

    def counts(self):
        """Counter of command names; LOGIN stands for AUTHENTICATE as well."""
        names = ("LOGIN" if command.name == "AUTHENTICATE" else command.name for command in self.commands())
        return collections.Counter(names)

    @contextlib.contextmanager
    def counting(self):
        """with proxy.counting() as counted: ...; afterwards counted holds what was sent inside."""
        before, counted = self.counts(), collections.Counter()
        yield counted
        counted.update(self.counts() - before)

    def is_held(self):
        """Nothing that the server says gets through: by hold(), or since a literal was cut."""
        return self._held

    def open_connections(self):
        with self._lock:
            return sum(connection.open for connection in self.connections)

    # --- faults

    def go_down(self):
        """As if the IMAP server were stopped: connections are cut and new ones refused."""
        self._run(self._close_listener())
        self.drop()

    def come_up(self):
        self._run(self._listen())

    def drop(self):
        """Cuts all connections; new ones are welcome."""
        self._run(self._drop())

    def hold(self):
        """From now on nothing that the server says reaches the client, on old and new connections alike."""
        self._run(self._set_held(True))

    def release(self):
        self._run(self._set_held(False))

    def say_bye(self):
        """Ends all connections as a server does that is being stopped; new ones are welcome."""
        self._run(self._say_bye())

    def cut_in_next_literal(self, least_bytes=16, alone=False):
        """Lets half of the next literal of at least so many bytes through, then holds everything; alone: only this
        connection, and for good."""
        with self._lock:
            self._cut_after, self._cut_alone = least_bytes, alone

    def close(self):
        self.go_down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    # --- inside the loop

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self):
        if self._server is not None:
            return
        if self._flow is None:
            self._flow = asyncio.Event()
            self._flow.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context, backlog=1024,
                                                  reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close_listener(self):
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _drop(self):
        for writer in list(self._writers):
            writer.transport.abort()
        self._flow.set()
        self._held = False

    async def _say_bye(self):
        for writer in list(self._writers):
            writer.write(b"* BYE Server shutting down.\r\n")
            writer.close()

    async def _set_held(self, held):
        self._held = held
        if held:
            self._flow.clear()
        else:
            self._flow.set()

    async def _serve(self, reader, writer):
        with self._lock:
            connection = Connection(len(self.connections))
            self.connections.append(connection)
        self._writers.add(writer)
        upstream_writer = None
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
            scanner = CommandScanner(lambda command: self._note(connection, command))
            tasks = [asyncio.ensure_future(self._to_server(reader, upstream_writer, scanner)),
                     asyncio.ensure_future(self._to_client(upstream_reader, writer, scanner, connection))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass
        finally:
            connection.open = False
            self._writers.discard(writer)
            for end in (writer, upstream_writer):
                if end is not None:
                    end.close()

    def _note(self, connection, command):
        with self._lock:
            connection.commands.append(command)

    async def _to_server(self, reader, writer, scanner):
        while data := await reader.read(65536):
            scanner.feed(data)
            writer.write(data)
            await writer.drain()

    async def _to_client(self, reader, writer, scanner, connection):
        while data := await reader.read(65536):
            await self._flow.wait()
            scanner.answered(data)
            with self._lock:
                least, match = self._cut_after, None
                if least is not None:
                    match = next((m for m in SERVER_LITERAL.finditer(data) if int(m.group(1)) >= least), None)
                if match:
                    self._cut_after = None
            if match:
                cut = min(match.end() + int(match.group(1)) // 2, len(data) - 1)
                writer.write(data[:cut])
                if self._cut_alone:
                    await asyncio.Event().wait()  # until the client gives up
                await self._set_held(True)
                await self._flow.wait()
                data = data[cut:]
            connection.bytes_to_client += len(data)
            if self.tap is not None:
                self.tap += data
            writer.write(data)
            await writer.drain()
