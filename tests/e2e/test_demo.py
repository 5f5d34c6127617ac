"""deploy/demo.sh, as a stranger runs it; with the programs of the build folder, so that it need not build them."""

import os
import re
import signal
import subprocess
import time

import pytest

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
        said = subprocess.run(["sh", "-c", lines[0]], capture_output=True, text=True, timeout=30, check=True).stdout
        assert '"inbox"' in said
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


def test_wrong_option():
    done = demo("--nonsense")
    assert done.returncode == 1 and "--help" in done.stderr


def test_help():
    done = demo("--help")
    assert done.returncode == 0 and "--imap" in done.stdout and "set -eu" not in done.stdout
