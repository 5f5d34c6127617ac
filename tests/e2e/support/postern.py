"""posternd, postern-fcgi and posternctl of the build folder (POSTERN_BUILD), as a test run starts them."""

import json
import os
import shutil
import subprocess

from .processes import REPOSITORY, Process, accepts, sanitizer_options

WORKER_PROCESSES = 2
WORKER_THREADS = 16


def build_directory():
    return os.environ.get("POSTERN_BUILD", os.path.join(REPOSITORY, "build"))


def built(name):
    """The path of a program in the build folder."""
    for base, folders, files in os.walk(build_directory()):
        folders[:] = [folder for folder in folders if not folder.endswith(".p")]
        if name in files and os.access(os.path.join(base, name), os.X_OK):
            return os.path.join(base, name)
    raise AssertionError(f"{name} is not built in {build_directory()} (set POSTERN_BUILD)")


def reachable(run, program):
    """The program itself, or a copy in the run's directory where the servers' user could not reach it."""
    path = os.path.realpath(built(program))
    folder = path
    while os.getuid() == 0 and folder != "/":
        folder = os.path.dirname(folder)
        if not os.stat(folder).st_mode & 0o001:
            return shutil.copy(path, os.path.join(run.make_dir("bin", owned=False), program))
    return path


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    return str(value) if isinstance(value, (int, float)) else json.dumps(value)


def to_toml(tables):
    """A TOML document of tables of plain values."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {toml(value)}" for key, value in values.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


class Postern:
    """One broker with its workers. configuration overrides or adds keys: {"imap": {"port": 1143}}."""

    def __init__(self, run, configuration, name="postern", worker_threads=WORKER_THREADS, log_level="trace"):
        self.run, self.name, self.log_level = run, name, log_level
        self.runtime_dir = run.make_dir(f"{name}-run", mode=0o750)
        self.programs = {program: reachable(run, program) for program in ("posternd", "postern-fcgi", "posternctl")}
        self.broker_socket = f"{self.runtime_dir}/broker.sock"
        self.segment = f"{self.runtime_dir}/segment"
        self.control_socket = f"{self.runtime_dir}/control.sock"
        self.worker_socket = run.make_dir(f"{name}-run/web", mode=0o750) + "/fcgi.sock"
        self.config = os.path.join(run.dir, f"{name}.toml")
        self.tables = {
            "server": {"runtime_dir": self.runtime_dir, "state_dir": f"{self.runtime_dir}/state"},
            "uploads": {"directory": f"{self.runtime_dir}/uploads"},
            "log": {"level": log_level},  # by default all, which is searched for passwords and tokens at the end
            "ipc": {"allowed_users": [run.user]},
        }
        self.configure(configuration)
        self.broker = Process(run, f"{name}d", [self.programs["posternd"], "--config", self.config], "notify")
        self.worker = Process(
            run, f"{name}-fcgi",
            [self.programs["postern-fcgi"], "--broker", self.broker_socket, "--segment", self.segment,
             "--listen", self.worker_socket, "--processes", WORKER_PROCESSES, "--threads", worker_threads,
             "--log-level", log_level],
            lambda: accepts(self.worker_socket))

    def configure(self, changes):
        """Merges changes into the configuration and writes the file; the broker reads it at start or SIGHUP."""
        for table, values in changes.items():
            self.tables.setdefault(table, {}).update(values)
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(to_toml(self.tables))

    def worker_environment(self):
        """What Apache has to hand to its workers besides the snippet's own."""
        return {**sanitizer_options(), "POSTERN_LOG_LEVEL": self.log_level}

    def start(self):
        self.broker.start()
        self.worker.start()
        return self

    def stop(self):
        self.worker.stop()
        self.broker.stop()

    def control(self, *arguments):
        """posternctl's answer to a command, parsed from --json."""
        done = subprocess.run([self.programs["posternctl"], "--control", self.control_socket, *arguments, "--json"],
                              capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"posternctl {arguments}: {done.returncode}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def check_configuration(self):
        """(exit status, what it says) of posternd --check-config."""
        done = subprocess.run([self.programs["posternd"], "--config", self.config, "--check-config"],
                              capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stdout + done.stderr
