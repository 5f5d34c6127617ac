"""deploy/init.d/postern, run with settings that move everything into the run's directory."""

import json
import os
import pwd
import re
import signal
import subprocess

import pytest

from support.fastcgi import request
from support.postern import Postern
from support.processes import Process, accepts, wait_for
from support.templates import DEPLOY

SCRIPT = os.path.join(DEPLOY, "init.d", "postern")


class Service:
    """The init script with its settings; two users where the tests may choose."""

    def __init__(self, run, imap_port):
        self.run = run
        self.dir = run.make_dir("init", owned=False)
        self.run_dir, self.log_dir, self.pid_dir = f"{self.dir}/run", f"{self.dir}/log", self.dir
        self.broker_user, self.worker_user = (run.user, "www-data") if os.getuid() == 0 else ("", "")
        worker = self.worker_user or run.user
        self.postern = Postern(run, {
            "server": {"runtime_dir": self.run_dir},
            "imap": {"host": "127.0.0.1", "port": imap_port, "tls": "none"},
            "ipc": {"allowed_users": [worker]}}, name="init")
        self.worker_socket = f"{self.run_dir}/web/fcgi.sock"
        self.defaults = f"{self.dir}/defaults"
        with open(self.defaults, "w", encoding="ascii") as out:
            out.write(f"BROKER={self.postern.programs['posternd']}\nWORKER={self.postern.programs['postern-fcgi']}\n"
                      f"CONFIG={self.postern.config}\nRUN_DIR={self.run_dir}\nSTATE_DIR={self.dir}/state\n"
                      f"LOG_DIR={self.log_dir}\nPID_DIR={self.pid_dir}\n"
                      f"BROKER_USER={self.broker_user}\nWORKER_USER={self.worker_user}\n"
                      f"FILES_MAX=4096\nSTOP_SCHEDULE=TERM/20/KILL/5\n")
        # What the script starts has no parent here: this process ends it when the run is over, however it ends.
        self.sweeper = Process(run, "init-sweeper", [
            "/bin/sh", "-c", f"trap 'kill -9 $(cat {self.pid_dir}/*.pid) 2>/dev/null; exit 0' TERM; "
            "while :; do sleep 600 & wait $!; done"], lambda: True, privileged=True)
        self.sweeper.start()

    def __call__(self, action, *, defaults=None):
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "POSTERN_DEFAULTS": defaults or self.defaults}
        return subprocess.run(["/bin/dash", SCRIPT, action], capture_output=True, text=True, env=environment, cwd="/",
                              timeout=90, check=False, stdin=subprocess.DEVNULL)

    def ok(self, action):
        done = self(action)
        assert done.returncode == 0, f"{action}: {done.returncode}\n{done.stdout}{done.stderr}{self.logs()}"
        return done.stdout

    def logs(self):
        text = ""
        for name in ("posternd", "postern-fcgi"):
            path = f"{self.log_dir}/{name}.log"
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as log:
                    text += f"--- {name}\n" + "".join(log.readlines()[-30:])
        return text

    def pid(self, name):
        with open(f"{self.pid_dir}/{name}.pid", encoding="ascii") as file:
            return int(file.read())

    def pids(self):
        return self.pid("posternd"), self.pid("postern-fcgi")

    def status(self, token=None):
        """The status of a request for the session resource, asked of the workers directly."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return request(self.worker_socket, "GET", "/jmap/session", headers)[0]

    def sign_in(self, person):
        body = json.dumps({"username": person.user, "password": person.password, "token": True}).encode()
        status, _, answer = request(self.worker_socket, "POST", "/auth/login", {
            "Content-Type": "application/json", "Origin": "https://localhost"}, body)
        assert status == 200, answer
        return self.run.register_secret(json.loads(answer)["token"])


@pytest.fixture(scope="module")
def whole_service(run, stack):
    service = Service(run.part("service"), stack.imap.port)
    yield service
    stopped = service("stop")
    service.sweeper.stop()
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


@pytest.fixture
def service(whole_service):
    """The service, started."""
    whole_service.postern.configure({"log": {"level": "trace"}})
    whole_service.ok("start")
    return whole_service


@pytest.fixture
def broken(service):
    """The service, started, whose configuration has been broken since."""
    with open(service.postern.config, "a", encoding="utf-8") as out:
        out.write("\n[nonsense]\nkey = 1\n")
    yield service
    service.postern.configure({})


def test_start_and_status(service):
    assert "posternd is running" in service.ok("status")
    assert "postern-fcgi is running" in service.ok("status")
    assert accepts(service.worker_socket)
    assert service.status() == 401


def test_start_again_changes_nothing(service):
    before = service.pids()
    service.ok("start")
    assert service.pids() == before


def user_of(pid):
    """Whom a process runs as; the owner of its folder in /proc is root's, as the broker's can't be dumped."""
    with open(f"/proc/{pid}/status", encoding="latin-1") as status:
        return pwd.getpwuid(int(re.search(r"^Uid:\t(\d+)", status.read(), re.M).group(1))).pw_name


def test_users_and_modes(service):
    if os.getuid() != 0:
        return
    assert [user_of(pid) for pid in service.pids()] == [service.broker_user, service.worker_user]
    # The worker reads the segment and connects to the socket by its group; it may write neither the segment nor the
    # folder it is in.
    segment, folder = os.stat(f"{service.run_dir}/segment"), os.stat(service.run_dir)
    worker = pwd.getpwnam(service.worker_user)
    assert segment.st_gid == worker.pw_gid and segment.st_mode & 0o777 == 0o640
    assert folder.st_uid != worker.pw_uid and folder.st_mode & 0o022 == 0
    assert os.stat(f"{service.dir}/state").st_mode & 0o077 == 0
    assert os.stat(service.worker_socket).st_mode & 0o777 == 0o660
    # Where nginx, as root, makes the socket that only the broker may publish at.
    channels, broker = os.stat(f"{service.run_dir}/nchan"), pwd.getpwnam(service.broker_user)
    assert (channels.st_uid, channels.st_gid, channels.st_mode & 0o777) == (0, broker.pw_gid, 0o750)


def test_restart_keeps_sessions(service, reader):
    token = service.sign_in(reader)
    assert service.status(token) == 200
    before = service.pids()
    service.ok("restart")
    assert set(service.pids()).isdisjoint(before)
    assert service.status(token) == 200


def test_reload(service, reader):
    token = service.sign_in(reader)
    before = service.pids()
    service.ok("reload")
    service.ok("force-reload")
    assert service.pids() == before
    assert service.status(token) == 200


@pytest.mark.parametrize("action", ("restart", "reload", "force-reload", "try-restart"))
def test_broken_configuration_changes_nothing(broken, action):
    before = broken.pids()
    done = broken(action)
    assert done.returncode != 0
    assert "nonsense" in done.stdout + done.stderr
    assert broken.pids() == before
    assert broken.status() == 401


def test_broken_configuration_does_not_start(broken):
    broken.ok("stop")
    done = broken("start")
    assert done.returncode == 6
    assert broken("status").returncode == 3


def test_stop(service):
    pids = service.pids()
    service.ok("stop")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert not accepts(service.worker_socket)
    done = service("status")
    assert done.returncode == 3 and "not running" in done.stdout + done.stderr
    service.ok("stop")
    assert service("reload").returncode == 7
    service.ok("try-restart")
    assert service("status").returncode == 3


def test_start_after_a_crash(service, reader):
    token = service.sign_in(reader)
    for pid in service.pids():
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), "end of a killed process")
    assert service("status").returncode == 1
    service.ok("start")
    assert service.status(token) == 200


def test_wrong_action(service):
    done = service("dance")
    assert done.returncode == 2 and "Usage" in done.stderr


def test_package_removed(service):
    defaults = f"{service.dir}/removed"
    with open(defaults, "w", encoding="ascii") as out:
        out.write("BROKER=/nonexistent/posternd\n")
    assert service("start", defaults=defaults).returncode == 0
