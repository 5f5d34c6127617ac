"""The administrator's side: posternctl, the configuration's check, upgrade without losing anybody, metrics."""

import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from support import login
from support.postern import Postern
from support.processes import free_port, wait_for
from support.readers import Readers
from support.stack import Stack
from conftest import running


@pytest.fixture(scope="module")
def metrics_port():
    return free_port()


@pytest.fixture(scope="module")
def stack(run, pki, metrics_port):
    """A stack of its own: these tests drain and replace the broker."""
    yield from running(Stack, run.part("control"), pki, {"metrics": {"listen": f"127.0.0.1:{metrics_port}"}})


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


def test_status(stack, client):
    status = stack.postern.control("status")
    assert str(stack.postern.broker.pid) in json.dumps(status)


def test_sessions_and_accounts_name_the_person_and_no_secret(stack, client, person):
    client.mailboxes()
    for what in ("sessions", "accounts"):
        said = json.dumps(stack.postern.control(what))
        assert person.user in said
        assert client.headers["Authorization"].split()[1] not in said and person.password not in said


def test_plain_text_output(stack, client, person):
    done = subprocess.run([stack.postern.programs["posternctl"], "--control", stack.postern.control_socket, "accounts"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 and person.user in done.stdout


def posternctl(stack, *arguments):
    return subprocess.run([stack.postern.programs["posternctl"], "--control", stack.postern.control_socket, *arguments],
                          capture_output=True, text=True, timeout=30, check=False)


def test_end_session(stack, client, person):
    tag = stack.postern.control("sessions", person.user)["sessions"][0]["tag"]
    assert client.get("/jmap/session").status == 200
    assert [session["tag"] for session in stack.postern.control("end-session", tag)["ended"]] == [tag]
    assert client.get("/jmap/session").status == 401
    assert stack.postern.control("sessions", person.user)["sessions"] == []
    assert stack.postern.control("accounts", person.user)["accounts"] == []
    done = posternctl(stack, "end-session", tag)
    assert done.returncode == 1 and tag in done.stderr


def test_wrong_usage(stack):
    for arguments in ((), ("nonsense",), ("log-level",), ("status", "--nonsense")):
        assert posternctl(stack, *arguments).returncode == 2, arguments
    assert posternctl(stack, "log-level", "loud").returncode == 1


def test_log_level(stack, client):
    stack.postern.control("log-level", "error")
    size = os.path.getsize(stack.postern.broker.log)
    client.get("/jmap/session")
    assert os.path.getsize(stack.postern.broker.log) == size
    stack.postern.control("log-level", "debug")
    client.get("/jmap/session")
    wait_for(lambda: os.path.getsize(stack.postern.broker.log) > size, "a log line")


def logged_of_last_request(stack):
    """The broker's lines with the id of the last request in nginx's log, which is written behind the answer."""
    with open(stack.run.log_file("nginx-access.log"), encoding="utf-8") as log:
        request_id = log.read().split()[-1]
    assert len(request_id) == 32
    return [line for line in stack.postern.broker.log_tail(500).split("\n") if f"request={request_id}" in line]


def test_request_id_from_the_worker_to_the_broker(stack, client):
    stack.postern.control("log-level", "debug")
    client.get("/jmap/session")
    wait_for(lambda: any("method=GET path=/jmap/session" in line for line in logged_of_last_request(stack)),
             "the request's id in the broker's log")


def test_request_id_from_the_worker_to_the_imap_command(stack, client):
    stack.postern.control("log-level", "debug")
    client.newest(client.mailbox("archive")["id"], ("subject",))

    def commands():
        return [line for line in logged_of_last_request(stack) if "imap command request=" in line]
    for command in ("SELECT", '"UID SORT"', '"UID FETCH"'):
        wait_for(lambda: any(" tag=a" in line and f"command={command}" in line for line in commands()), command)
    assert not any("Archive" in line for line in commands())


@pytest.mark.parametrize("how", ("posternctl", "SIGUSR2"))
def test_upgrade_loses_nobody(stack, client, how):
    """The same process executes the program anew while twenty read on, and none of them notices."""
    def status():
        return stack.postern.control("status")

    # Start times are told in seconds.
    wait_for(lambda: status()["uptimeSeconds"] >= 2, "a second start that can be told from the first")
    before = status()
    with Readers(stack, stack.nginx, client, 20).running() as readers:
        wait_for(lambda: readers.all_past([0] * 20), "pages")
        if how == "SIGUSR2":
            stack.postern.broker.signal(signal.SIGUSR2)
        else:
            stack.postern.control("upgrade")
        wait_for(lambda: started_since(stack, before["started"]), "the program executed anew")
        counts = list(readers.counts)
        wait_for(lambda: readers.all_past(counts), "pages of the new program")
    after = status()
    assert stack.postern.broker.alive and after["pid"] == before["pid"] == stack.postern.broker.pid
    assert after["started"] > before["started"] and after["version"] == before["version"]
    assert after["segment"]["sessions"] == before["segment"]["sessions"]


def started_since(stack, moment):
    """Whether the broker answers, and has started after the moment."""
    done = posternctl(stack, "status", "--json")
    return done.returncode == 0 and json.loads(done.stdout)["started"] > moment


def starts(stack):
    with open(stack.postern.broker.log, encoding="utf-8") as log:
        return log.read().count(": started version=")


def test_a_signal_upgrades_to_no_configuration_that_is_wrong(stack):
    before = starts(stack)
    with open(stack.postern.config, "a", encoding="utf-8") as out:
        out.write("\n[nonsense]\nkey = 1\n")
    stack.postern.broker.signal(signal.SIGUSR2)
    wait_for(lambda: "not upgraded: the configuration is not right" in stack.postern.broker.log_tail(), "the refusal")
    stack.postern.configure({})
    assert stack.postern.control("status")["pid"] == stack.postern.broker.pid and starts(stack) == before


def test_a_stop_during_an_upgrade_stops(stack):
    """Whoever stops the service means the next program as well."""
    before = starts(stack)
    person = stack.person("late", messages=0)
    stack.dovecot.hang()
    try:
        # Its sign-in waits for the IMAP server, and the upgrade for it.
        threading.Thread(target=lambda: person.client(stack.nginx).get("/jmap/session"), daemon=True).start()
        wait_for(lambda: stack.postern.control("status")["requests"]["open"] > 0, "a request under way")
        stack.postern.broker.signal(signal.SIGUSR2)
        wait_for(lambda: "upgrading" in stack.postern.broker.log_tail(), "the upgrade's beginning")
        stack.postern.broker.signal(signal.SIGTERM)
        wait_for(lambda: "stopping, not upgrading" in stack.postern.broker.log_tail(), "the stop")
    finally:
        stack.dovecot.wake()
    stack.postern.broker.wait(30)
    assert starts(stack) == before
    stack.postern.broker.start()


def test_upgrade_leaves_the_pid_file_alone(run, stack):
    """It may have been written by root, before the privileges were dropped; the number stays the same."""
    postern = Postern(run.part("pid-file"), {"imap": {"host": "127.0.0.1", "port": stack.imap.port, "tls": "none"}})
    pid_file = f"{postern.runtime_dir}/posternd.pid"
    postern.configure({"server": {"pid_file": pid_file}})
    postern.broker.start()
    with open(pid_file, encoding="ascii") as file:
        assert int(file.read()) == postern.broker.pid
    os.chmod(pid_file, 0o444)
    postern.control("upgrade")
    wait_for(lambda: postern.broker.log_tail(500).count(": started version=") == 2, "the upgrade",
             process=postern.broker)
    assert postern.control("status")["pid"] == postern.broker.pid
    postern.broker.stop()


def test_reload(stack, client):
    assert stack.postern.control("reload")["needRestart"] == []
    assert client.get("/jmap/session").status == 200


def test_reload_tells_what_needs_a_restart(stack, client):
    stack.postern.configure({"imap": {"connections_per_account": 3}, "cache": {"fragments": "9MB"},
                             "http": {"public_url": "https://mail.example.org"}})
    assert stack.postern.control("reload")["needRestart"] == ["imap", "cache.fragments"]
    assert "only a restart takes over name=cache.fragments" in stack.postern.broker.log_tail().replace('"', "")
    assert client.get("/jmap/session").json["apiUrl"].startswith("https://mail.example.org/")
    del stack.postern.tables["imap"]["connections_per_account"], stack.postern.tables["http"]
    del stack.postern.tables["cache"]
    stack.postern.configure({})
    assert stack.postern.control("reload")["needRestart"] == []


def test_broken_configuration_is_not_reloaded(stack, client):
    stack.postern.configure({"imap": {"prot": 143}})
    stack.postern.broker.signal(signal.SIGHUP)
    wait_for(lambda: "prot" in stack.postern.broker.log_tail(), "a log line that names the key")
    assert client.get("/jmap/session").status == 200
    del stack.postern.tables["imap"]["prot"]
    stack.postern.configure({})


def test_control_without_a_broker(stack):
    done = subprocess.run([stack.postern.programs["posternctl"], "--control", "/nonexistent/control.sock", "status"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0 and "/nonexistent/control.sock" in done.stderr


def test_control_socket_is_the_administrators(stack):
    assert os.stat(stack.postern.control_socket).st_mode & 0o077 == 0


def test_metrics_and_health(stack, client, metrics_port):
    client.mailboxes()
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    samples = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert samples and all(line.startswith("postern_") and len(line.rsplit(" ", 1)) == 2 for line in samples)
    assert any("login" in line for line in samples)
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/healthz", timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("tables, named", (
    ({"imap": {"hots": "x"}}, "host"), ({"nonsense": {"x": 1}}, "nonsense"), ({"imap": {"port": 70000}}, "port"),
    ({"imap": {"tls": "maybe"}}, "tls"), ({"log": {"level": "loud"}}, "level"), ({"imap": {"port": "143"}}, "port"),
    ({"ipc": {"allowed_users": ["no-such-user-here"]}}, "no-such-user-here"),
    ({"metrics": {"listen": "foo"}}, "listen"),
    ({"imap": {"tls": "starttls", "ca_file": "/nonexistent/ca.pem"}}, "/nonexistent/ca.pem"),
    ({"imap": {"tls": "starttls", "pins": ["?"]}}, "a pin is"), ({"control": {"socket": "/" + 107 * "s"}}, "107")))
def test_check_config_names_what_is_wrong(run, tables, named):
    postern = Postern(run.part("check"), {"imap": {"host": "127.0.0.1", "port": 143, "tls": "none"}})
    assert postern.check_configuration()[0] == 0
    for table, values in tables.items():
        postern.configure({table: {**postern.tables.get(table, {}), **values}})
    status, said = postern.check_configuration()
    assert status == 2 and named in said and postern.config in said
    # The start refuses the same, in the same words.
    started = subprocess.run(postern.broker.command, capture_output=True, text=True, timeout=30, check=False)
    assert (started.returncode, started.stderr) == (status, said)


def test_drain_and_undrain(stack, client, metrics_port):
    stack.postern.control("drain")
    assert stack.postern.control("status")["draining"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/healthz", timeout=10)
    assert refused.value.code == 503
    # After the worker's wait for a broker that takes requests.
    assert client.get("/jmap/session").status == 503
    stack.postern.control("undrain")
    assert client.get("/jmap/session").status == 200


def test_a_restart_ends_draining(stack, client):
    stack.postern.control("drain")
    stack.postern.broker.restart()
    assert client.get("/jmap/session").status == 200
