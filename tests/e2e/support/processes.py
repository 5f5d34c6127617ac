"""Server processes of a test run: started through guard.py, waited for, signalled, stopped; logs kept.

A Run owns the temporary directory (short, for Unix socket paths have 107 characters at most) and knows the user
that servers run as: an unprivileged one when the tests run as root, otherwise the caller. It registers every
secret that the run uses, for the search of the logs at the end.
"""

import copy
import grp
import os
import pwd
import secrets as random_secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

GUARD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.py")
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
START_TIMEOUT_S = 30.0


# Below what the kernel gives to outgoing connections, each part for one of the processes that run tests beside each
# other (pytest-xdist calls them gw0, gw1 and so on).
PORTS = range(10_000, 32_000)
PORT_PARTS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_ports_given = set()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, and that nobody here was given before."""
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PORT_PARTS
    ports = PORTS[part::PORT_PARTS]
    while len(_ports_given) < len(ports):
        port = ports[random_secrets.randbelow(len(ports))]
        if port in _ports_given:
            continue
        _ports_given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


def wait_for(condition, what, timeout=START_TIMEOUT_S, process=None):
    """Waits until condition() is true; fails when the time is over or the process has ended meanwhile."""
    deadline = time.monotonic() + timeout
    delay = 0.005
    while True:
        value = condition()
        if value:
            return value
        if process is not None and not process.alive:
            raise AssertionError(f"{process.name} ended while waiting for {what}:\n{process.log_tail()}")
        if time.monotonic() > deadline:
            tail = f":\n{process.log_tail()}" if process is not None else ""
            raise AssertionError(f"no {what} within {timeout:.0f} s{tail}")
        time.sleep(delay)
        delay = min(delay * 1.5, 0.1)


def accepts(address):
    """Whether something accepts connections at (host, port) or at the path of a Unix socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
            return True
        except OSError:
            return False


class Run:
    def __init__(self):
        self.dir = self.top = tempfile.mkdtemp(prefix="pst-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.logs = self.make_dir("logs", owned=False)
        name = os.environ.get("POSTERN_E2E_USER", "nobody") if os.getuid() == 0 else None
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
        self.user, self.uid, self.gid = entry.pw_name, entry.pw_uid, entry.pw_gid
        self.group = grp.getgrgid(self.gid).gr_name
        self.secrets = set()
        self.log_files = {}
        self.prefix = ""

    def part(self, name):
        """A Run with a folder of its own in this one's, for a second set of servers; logs and secrets are shared."""
        part = copy.copy(self)
        part.dir = self.make_dir(name, owned=False)
        part.prefix = f"{name}-"
        return part

    def secret(self, label="pw"):
        """A fresh password or token; registered, so that it must not be found in any log."""
        return self.register_secret(f"{label}-{random_secrets.token_hex(12)}")

    def register_secret(self, value):
        self.secrets.add(value)
        return value

    def own(self, path):
        """Gives path, and all below it, to the servers' user."""
        if os.getuid() == 0:
            os.chown(path, self.uid, self.gid)
            for base, folders, files in os.walk(path):
                for name in folders + files:
                    os.chown(os.path.join(base, name), self.uid, self.gid, follow_symlinks=False)
        return path

    def make_dir(self, name, owned=True, mode=0o755):
        path = os.path.join(self.dir, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return self.own(path) if owned else path

    def log_file(self, name):
        """A log file that the servers' user may write; its tail is shown when a test fails."""
        name = self.prefix + name
        path = os.path.join(self.logs, name)
        if name not in self.log_files:
            with open(path, "ab"):
                pass
            os.chmod(path, 0o644)
            self.own(path)
            self.log_files[name] = path
        return path

    def remove(self):
        if os.environ.get("POSTERN_E2E_KEEP"):
            print(f"kept: {self.dir}", file=sys.stderr)
            return
        shutil.rmtree(self.dir, ignore_errors=True)


class NotifySocket:
    """What systemd is to a service: receives READY=1 and the rest of sd_notify."""

    def __init__(self, run, name):
        self.path = os.path.join(run.dir, f"{name}.notify")
        self.lines = []
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        os.chmod(self.path, 0o666)

    def said(self, line):
        try:
            while True:
                self.lines += self.socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            pass
        return line in self.lines

    def close(self):
        self.socket.close()
        os.unlink(self.path)


class Process:
    """One server. start() returns when ready() is true (or when it says READY=1 for ready="notify")."""

    def __init__(self, run, name, command, ready, environment=None, directory=None, privileged=False):
        self.run, self.name, self.command, self.ready = run, name, [str(word) for word in command], ready
        self.environment = environment or {}
        self.directory = directory or run.dir
        self.uid, self.gid = (os.getuid(), os.getgid()) if privileged else (run.uid, run.gid)
        self.pid_file = os.path.join(run.dir, f"{name}.guarded")
        self.log = run.log_file(f"{name}.log")
        self.guard = None
        self.pid = None

    @property
    def alive(self):
        return self.guard is not None and self.guard.poll() is None

    def start(self, wait=True):
        assert not self.alive, f"{self.name} runs already"
        if os.path.exists(self.pid_file):
            os.unlink(self.pid_file)
        notify = NotifySocket(self.run, self.name) if self.ready == "notify" else None
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TMPDIR": self.run.dir,
                       "HOME": self.run.dir, **sanitizer_options(), **self.environment}
        if notify:
            environment["NOTIFY_SOCKET"] = notify.path
        with open(self.log, "ab") as log:
            self.guard = subprocess.Popen(
                ["/usr/bin/python3", "-S", "-E", GUARD, str(os.getpid()), self.pid_file, str(self.uid), str(self.gid)]
                + self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, env=environment)
        try:
            wait_for(lambda: os.path.exists(self.pid_file), f"start of {self.name}", process=self)
            with open(self.pid_file, encoding="ascii") as pid:
                self.pid = int(pid.read())
            if wait:
                condition = (lambda: notify.said("READY=1")) if notify else self.ready
                wait_for(condition, f"readiness of {self.name}", process=self)
        finally:
            if notify:
                notify.close()
        return self

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """SIGKILL to the server itself; what it forked goes with it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout=15.0):
        return self.guard.wait(timeout)

    def stop(self):
        """SIGTERM, then what is left is killed. Returns the exit status, or None when it did not run."""
        if not self.alive:
            return None
        self.guard.send_signal(signal.SIGTERM)
        return self.guard.wait(30)

    def restart(self):
        self.stop()
        return self.start()

    def log_tail(self, lines=60):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])


def sanitizer_options():
    """Sanitizer settings of the caller, or such that a finding ends the server with a report in its log."""
    defaults = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1",
                "TSAN_OPTIONS": "halt_on_error=0:exitcode=66"}
    names = list(defaults) + ["LSAN_OPTIONS"]
    return {name: os.environ.get(name, defaults.get(name, "")) for name in names}
