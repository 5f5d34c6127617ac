"""An outgoing mail server for the tests: it takes messages, refuses what it is told to, and drops the connection where
it is told to. Its event loop runs in a thread of its own.
"""

import asyncio
import base64
import ssl
import threading
from dataclasses import dataclass, field


@dataclass
class Message:
    """One message that has been taken. parameters and those of recipients are what stands behind the address."""
    sender: str
    parameters: str
    recipients: list
    content: bytes
    login: str
    tls: bool

    @property
    def addresses(self):
        return [address for address, _ in self.recipients]


@dataclass
class Script:
    """What is different from a server that takes everything. answers: {begin of a command: reply, or a list of replies
    that are used up}; the end of a message is the command ".". drop: at which command the connection is closed without
    an answer ("." after the message was taken, "content" in the middle of it). keep: whether a message counts as taken
    when the connection is dropped at "."."""
    answers: dict = field(default_factory=dict)
    drop: str = ""
    keep: bool = True
    stall: str = ""  # at which command, or "content", nothing is answered for as long as the connection lasts
    keep_stalled: bool = False  # whether a message counts as taken when stalled at "."
    gate: bool = False  # the answer to a message waits for SmtpServer.open_gate()


class SmtpServer:
    """tls: "none", "starttls" or "implicit". passwords: {login: password}; tokens: {login: OAuth access token}."""

    def __init__(self, pki, tls="none", extensions=("PIPELINING", "8BITMIME", "SIZE 10000000", "DSN", "SMTPUTF8"),
                 mechanisms="PLAIN LOGIN", passwords=None, tokens=None, certificate=None):
        self.tls, self.extensions, self.mechanisms = tls, list(extensions), mechanisms
        self.passwords, self.tokens = dict(passwords or {}), dict(tokens or {})
        self.script = Script()
        self.messages, self.commands, self.connections = [], [], 0
        self._context = None
        self.use_certificate(certificate or pki.localhost)
        self._loop = asyncio.new_event_loop()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = None
        self._gate = asyncio.Event()
        self.port = 0
        self.start()

    def start(self):
        """Listens (again), on the same port."""
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._context if self.tls == "implicit" else None),
            self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    def use_certificate(self, certificate):
        """From the next connection on; no session of an earlier one is resumed."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        if self.tls == "implicit" and getattr(self, "_server", None):
            self.stop_listening()
            self.start()

    def stop_listening(self):
        self._loop.call_soon_threadsafe(self._server.close)
        asyncio.run_coroutine_threadsafe(self._server.wait_closed(), self._loop).result(10)

    def close(self):
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def reset(self):
        """A server that takes everything, and has taken nothing."""
        self.script, self.messages, self.commands, self._gate = Script(), [], [], asyncio.Event()

    def open_gate(self):
        self._loop.call_soon_threadsafe(self._gate.set)

    def wait_for(self, condition, timeout_s=30):
        """Waits until condition() is true; looks again whenever something was said."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), (self.commands[-20:], len(self.messages))

    def _note(self, action):
        with self._changed:
            action()
            self._changed.notify_all()

    async def _serve(self, reader, writer):
        self._note(lambda: setattr(self, "connections", self.connections + 1))
        try:
            await Dialogue(self, reader, writer).run()
        except Stall:
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


class Drop(ConnectionError):
    """Ends a connection as the script wants it."""


class Stall(Exception):
    """Says nothing more on a connection."""


class Dialogue:
    """One connection."""

    def __init__(self, server, reader, writer):
        self.server, self.reader, self.writer = server, reader, writer
        self.secure = server.tls == "implicit"
        self.login, self.sender, self.parameters, self.recipients = "", None, "", []

    def say(self, line):
        self.writer.write(line.encode() + b"\r\n")

    def scripted(self, command):
        """The script's answer to a command; None for the usual one."""
        script = self.server.script
        if script.drop and command.startswith(script.drop):
            raise Drop
        if script.stall and command.startswith(script.stall):
            raise Stall
        for begin, answer in script.answers.items():
            if command.startswith(begin):
                if isinstance(answer, list):
                    return answer.pop(0) if answer else None
                return answer
        return None

    async def run(self):
        if (answer := self.scripted("connect")) is not None:
            self.say(answer)
            return
        self.say("220 test ESMTP")
        while True:
            line = (await self.reader.readuntil(b"\r\n")).decode()[:-2]
            shown = line.split(" ")[0] + " " + line.split(" ")[1] if line.startswith("AUTH ") else line
            self.server._note(lambda shown=shown: self.server.commands.append(shown))
            if not await self.answer(line):
                return
            await self.writer.drain()

    async def answer(self, line):
        verb = line.split(" ")[0].upper()
        if (answer := self.scripted(line)) is not None:
            self.say(answer)
            return True
        if verb == "STARTTLS":
            self.say("220 go ahead")
            await self.writer.drain()
            await self.writer.start_tls(self.server._context)
            self.secure = True
        elif verb == "EHLO":
            offered = list(self.server.extensions)
            if self.server.tls == "starttls" and not self.secure:
                offered.append("STARTTLS")
            elif self.server.passwords or self.server.tokens:
                offered.append("AUTH " + self.server.mechanisms)
            for extension in ["test"] + offered:
                self.say("250-" + extension)
            self.say("250 HELP")
        elif verb == "AUTH":
            await self.authenticate(line)
        elif verb == "MAIL":
            self.sender, self.parameters = self.address(line)
            self.recipients = []
            needs = (self.server.passwords or self.server.tokens) and not self.login
            self.say("530 5.7.0 authenticate first" if needs else "250 2.1.0 ok")
        elif verb == "RCPT":
            self.recipients.append(self.address(line))
            self.say("250 2.1.5 ok")
        elif verb == "DATA":
            return await self.data()
        elif verb == "QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("500 what?")
        return True

    @staticmethod
    def address(line):
        """("a@b", "SIZE=1") of "MAIL FROM:<a@b> SIZE=1"."""
        path, _, parameters = line.partition(":<")[2].partition(">")
        return path, parameters.strip()

    async def authenticate(self, line):
        _, mechanism, *initial = line.split(" ")

        async def ask(prompt=""):
            self.say("334 " + prompt)
            await self.writer.drain()
            return (await self.reader.readuntil(b"\r\n"))[:-2].decode()

        if mechanism == "LOGIN":
            login = base64.b64decode(await ask("VXNlcm5hbWU6")).decode()
            secret = base64.b64decode(await ask("UGFzc3dvcmQ6")).decode()
            known = self.server.passwords.get(login) == secret
        elif mechanism == "PLAIN":
            authzid, login, secret = base64.b64decode(initial[0] if initial else await ask()).decode().split("\0")
            known = self.server.passwords.get(login) == secret
            login = authzid or login
        else:
            fields = base64.b64decode(initial[0]).decode().split("\x01")
            login = fields[0].removeprefix("user=").removeprefix("n,a=").rstrip(",")
            secret = next(part for part in fields if part.startswith("auth=")).removeprefix("auth=Bearer ")
            known = self.server.tokens.get(login) == secret
            if not known:
                await ask(base64.b64encode(b'{"status":"401"}').decode())
        self.login = login if known else ""
        self.say("235 2.7.0 welcome" if known else "535 5.7.8 wrong")

    async def data(self):
        self.say("354 go on")
        await self.writer.drain()
        content = bytearray()
        while True:
            line = await self.reader.readuntil(b"\r\n")
            if line == b".\r\n":
                break
            content += line[1:] if line.startswith(b".") else line
            if self.server.script.drop == "content" and len(content) > 20:
                raise Drop
            if self.server.script.stall == "content" and len(content) > 20:
                self.server._note(lambda: self.server.commands.append("content"))
                raise Stall
        message = Message(self.sender, self.parameters, self.recipients, bytes(content), self.login, self.secure)
        script = self.server.script
        self.server._note(lambda: self.server.commands.append("."))
        if (script.drop == "." and script.keep) or (script.stall == "." and script.keep_stalled):
            self.server._note(lambda: self.server.messages.append(message))
        if script.gate:
            await self.server._gate.wait()
        answer = self.scripted(".")
        if answer is None:
            self.server._note(lambda: self.server.messages.append(message))
        self.say(answer or "250 2.0.0 queued")
        return True
