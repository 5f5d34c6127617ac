"""deploy/demo.sh, as a stranger runs it; with the programs of the build folder, so that it need not build them."""

import os
import re
import signal
import subprocess
import time

import pytest

from support import jmap
from support.log_search import secrets_in
from support.postern import build_directory, built
from support.processes import REPOSITORY, wait_for

DEMO = os.path.join(REPOSITORY, "deploy", "demo.sh")


@pytest.fixture(autouse=True)
def programs():
    built("posternd")


def demo(*arguments, environment=None):
    return subprocess.run([DEMO, "--build", build_directory(), *arguments], capture_output=True, text=True, timeout=120,
                          check=False, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})


def left_over():
    """Folders and processes of a demo."""
    folders = {name for name in os.listdir("/tmp") if name.startswith("demo-postern.")}
    processes = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"/demo-postern." in file.read():
                    processes.add(int(pid))
        except OSError:
            pass
    return folders, processes


def test_check():
    before = left_over()
    done = demo("--check", "--messages", "200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nginx: the three lines worked" in done.stdout
    assert "Apache: the three lines worked" in done.stdout
    assert "nginx: an upload worked" in done.stdout and "Apache: an upload worked" in done.stdout
    assert left_over() == before


def test_own_imap_server(stack, pki, person):
    done = demo("--check", "--imap", f"127.0.0.1:{stack.dovecot.tls_port}", "--ca", pki.ca,
                environment={"IMAP_LOGIN": person.user, "IMAP_PASSWORD": person.password})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Apache: the three requests worked" in done.stdout
    assert person.password not in done.stdout + done.stderr


def test_own_imap_server_with_an_unknown_certificate_is_refused(stack, person):
    done = demo("--check", "--imap", f"127.0.0.1:{stack.dovecot.tls_port}",
                environment={"IMAP_LOGIN": person.user, "IMAP_PASSWORD": person.password})
    assert done.returncode != 0
    assert "503" in done.stderr


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_stays_until_it_is_stopped(number, tmp_path):
    before = left_over()
    output = tmp_path / "output"
    with open(output, "w", encoding="utf-8") as out:
        # Tests that run in a shell's background are started with SIGINT ignored, and a shell can't trap it then.
        running = subprocess.Popen(["env", "--default-signal=INT", DEMO, "--build", build_directory(), "--messages",
                                    "100"], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
    try:
        wait_for(lambda: "Ctrl-C" in output.read_text() or running.poll() is not None, "the demo's last line", 60)
        text = output.read_text()
        assert running.poll() is None, text
        assert re.search(r"nginx: +http://127\.0\.0\.1:\d+", text) and re.search(r"Apache: +http://", text)
        assert re.search(r"login: +demo, password [0-9a-f]{12}", text)
        lines = [line for line in text.split("\n") if line.startswith("curl ")]
        assert len(lines) == 3
        # The password is printed, and in no log.
        password = re.search(r"password ([0-9a-f]{12})", text).group(1)
        log = re.search(r"logs: (\S+)", text).group(1)
        assert {"posternd.log", "nginx-access.log", "apache-access.log"} <= set(os.listdir(log))
        said = subprocess.run(["sh", "-c", lines[0]], capture_output=True, text=True, timeout=30, check=True).stdout
        assert '"inbox"' in said
        assert secrets_in(log, {password, jmap.basic("demo", password).split()[1]}) == []
        # As the terminal does it: to the whole group.
        started = time.monotonic()
        os.killpg(running.pid, number)
        running.wait(30)
        assert time.monotonic() - started < 20
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
            running.wait(30)
    assert left_over() == before


def split_server(server):
    """(exit status, what it says) of the script's own function for --imap."""
    with open(DEMO, encoding="utf-8") as file:
        text = file.read()
    functions = "".join(re.search(rf"^{name}\(\) {{\n.*?^}}\n", text, re.M | re.S).group(0)
                        for name in ("die", "split_server"))
    done = subprocess.run(["sh", "-eu", "-c", functions + 'split_server "$1"; echo "$host $port"', "sh", server],
                          capture_output=True, text=True, timeout=10, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("server, parts", (
    ("imap.example.org", "imap.example.org 993"), ("imap.example.org:143", "imap.example.org 143"),
    ("192.0.2.1:1993", "192.0.2.1 1993"), ("[::1]:143", "::1 143"), ("[2001:db8::7]", "2001:db8::7 993"),
    ("2001:db8::7", "2001:db8::7 993")))
def test_imap_server_is_split(server, parts):
    assert split_server(server) == (0, parts)


@pytest.mark.parametrize("server", (":993", "host:", "host:imap", "[::1", "[::1]993", "[]:993", "::1]:993"))
def test_imap_server_that_is_none_is_refused(server):
    status, said = split_server(server)
    assert status == 1 and said == f"demo.sh: --imap: not HOST or HOST:PORT: {server}"


def test_wrong_option():
    done = demo("--nonsense")
    assert done.returncode == 1 and "--help" in done.stderr


def test_help():
    done = demo("--help")
    assert done.returncode == 0 and "--imap" in done.stdout and "set -eu" not in done.stdout
