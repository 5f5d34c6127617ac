"""The files of deploy/ as their own programs judge them: nginx, Apache, systemd, dash, logrotate; and the mailbox."""

import filecmp
import json
import os
import re
import shutil
import subprocess

import pytest

from support.sample import MAKE_MAILBOX
from support.processes import Process
from support.templates import DEPLOY
from support.web import Apache, Nginx

SCRIPTS = ("demo.sh", "install-packages.sh", "init.d/postern", "default/postern", "openrc/posternd",
           "openrc/postern-fcgi")
UNITS = ("posternd.service", "postern-fcgi.service", "postern-fcgi.socket")


def said(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)
    return done.returncode, done.stdout + done.stderr


def text(name):
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("name", SCRIPTS)
def test_shell_scripts_are_clean(name):
    assert said("dash", "-n", os.path.join(DEPLOY, name)) == (0, "")
    shell = ("-s", "dash") if text(name).startswith(("#!/sbin/openrc-run", "# Settings")) else ()
    # OpenRC's scripts set what openrc-run reads, and are given what it sets; as settings are.
    excluded = ("-e", "SC2034,SC2154,SC2317") if shell else ()
    status, complaints = said("shellcheck", *shell, *excluded, os.path.join(DEPLOY, name))
    assert status == 0, complaints


@pytest.fixture(scope="module")
def webs(run, pki):
    part = run.part("files")
    runtime_dir = part.make_dir("run")
    return {"nginx": Nginx(part, pki, runtime_dir), "apache": Apache(part, pki, runtime_dir, "/bin/true")}


@pytest.mark.parametrize("name", ("nginx", "apache"))
def test_web_server_takes_the_snippets(webs, name):
    complaints = webs[name].check()
    assert "warn" not in complaints.lower(), complaints


def test_only_sockets_differ_from_the_installed_nginx_files(webs):
    """Of what the tests run, nothing but the sockets' paths was changed."""
    web = webs["nginx"]
    for name in ("postern.conf", "postern-fastcgi.conf", "postern-internal.conf", "postern-websocket.conf",
                 "postern-nchan.conf"):
        assert filecmp.cmp(f"{DEPLOY}/nginx/{name}", f"{web.base}/snippets/{name}", shallow=False)
    for name, lines in (("postern-upstream.conf", (r"server unix:\S+/web/fcgi\.sock fail_timeout=0;",
                                                   r"server unix:\S+/events\.sock fail_timeout=0;")),
                        ("postern-nchan-publisher.conf", (r"listen unix:\S+/nchan/publish\.sock;",))):
        with open(f"{web.base}/{name}", encoding="utf-8") as file:
            used = file.read().splitlines()
        installed = text(f"nginx/{name}").splitlines()
        assert len(used) == len(installed)
        changed = [line.strip() for line, before in zip(used, installed) if line != before]
        assert len(changed) == len(lines)
        for line, pattern in zip(changed, lines):
            assert re.fullmatch(pattern, line)


def test_apache_needs_its_modules(run, webs):
    """Without mod_headers a client could name the front end: Apache must not start."""
    base = webs["apache"].base
    with open(f"{base}/apache.conf", encoding="utf-8") as file:
        without = [line for line in file if "mod_headers" not in line]
    with open(f"{base}/without.conf", "w", encoding="utf-8") as out:
        out.writelines(without)
    status, complaint = said("/usr/sbin/apache2", "-f", f"{base}/without.conf", "-t")
    assert status != 0 and "a2enmod headers" in complaint


# What Debian's package enables by itself (apache2.postinst).
DEBIAN_MODULES = ("access_compat", "alias", "auth_basic", "authn_core", "authn_file", "authz_core", "authz_host",
                  "authz_user", "autoindex", "deflate", "dir", "env", "filter", "mime", "mpm_event", "negotiation",
                  "reqtimeout", "setenvif", "status")


def test_apache_starts_with_the_modules_that_the_manual_names(webs):
    named = re.search(r"^ +a2enmod (.+)$", text("../docs/administrator.md"), re.M).group(1).split()
    assert re.search(r"a2enmod (.+?)\. ", text("apache/postern-server.conf")).group(1).split() == named
    base = webs["apache"].base
    with open(f"{base}/apache.conf", encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("LoadModule")]
    # mod_ssl is the site's own affair.
    loads = []
    for module in dict.fromkeys((*DEBIAN_MODULES, "socache_shmcb", "ssl", *named)):
        with open(f"/etc/apache2/mods-available/{module}.load", encoding="utf-8") as file:
            loads += [line for line in file if line.startswith("LoadModule")]
    with open(f"{base}/debian.conf", "w", encoding="utf-8") as out:
        out.writelines(lines[:1] + loads + lines[1:])
    status, complaint = said("/usr/sbin/apache2", "-f", f"{base}/debian.conf", "-t")
    assert status == 0, complaint


@pytest.fixture(scope="module")
def units(run):
    """The units, with programs that are there."""
    folder = run.make_dir("units", owned=False)
    for name in UNITS:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            out.write(re.sub(r"/usr/sbin/postern(d|-fcgi)", "/bin/true", text(f"systemd/{name}")))
    return folder


def test_units_verify(units):
    status, complaints = said("systemd-analyze", "verify", "--man=no", *(os.path.join(units, name) for name in UNITS))
    # Other units of this machine are not ours to judge.
    ours = [line for line in complaints.split("\n") if "postern" in line]
    assert status == 0 and not ours, complaints


@pytest.mark.parametrize("name, most", (("posternd.service", 2.0), ("postern-fcgi.service", 1.5)))
def test_units_are_hardened(units, name, most):
    status, report = said("systemd-analyze", "security", "--offline=true", os.path.join(units, name))
    assert status == 0, report
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", report).group(1))
    assert exposure <= most, report


def system_calls(name):
    """What a set of systemd's holds, and the sets in it; or the one call."""
    if not name.startswith("@"):
        return {name}
    status, listed = said("systemd-analyze", "syscall-filter", name)
    assert status == 0, listed
    members = [line.strip() for line in listed.splitlines()[1:] if not line.strip().startswith("#")]
    return set().union(*(system_calls(member) for member in members if member))


def allowed_calls(unit):
    """What its lines of SystemCallFilter leave: the first one says which are allowed, the others add or take away."""
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", text(f"systemd/{unit}"), re.M):
        calls = set().union(*(system_calls(name) for name in line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def test_the_broker_may_give_its_sockets_away():
    """[ipc] socket_group is a chown() of the broker's own sockets, under the unit's filter as well."""
    allowed = allowed_calls("posternd.service")
    assert {"read", "connect", "chown", "fchownat"} <= allowed
    assert not {"setuid", "mount", "ptrace", "setrlimit"} & allowed


def seconds(pattern, name):
    return int(re.search(pattern, text(name), re.M).group(1))


@pytest.mark.parametrize("name, pattern", (
    ("systemd/postern-fcgi.service", r"^TimeoutStopSec=(\d+)$"), ("openrc/postern-fcgi", r'^retry="TERM/(\d+)/'),
    ("init.d/postern", r"^STOP_SCHEDULE=TERM/(\d+)/")))
def test_workers_have_time_to_end(name, pattern):
    """Requests under way have --stop-wait, and the parent 5 seconds more."""
    wait = seconds(r"stop_wait_s = (\d+)", "../src/worker/options.cpp")
    assert seconds(pattern, name) >= wait + 5


def test_the_unit_has_room_for_all_shards():
    most = seconds(r'"shards", number\(c\.server\.shards, 1, (\d+)\)', "../src/broker/config.cpp")
    # Each may have a thread that looks up names.
    assert seconds(r"^TasksMax=(\d+)$", "systemd/posternd.service") >= 2 * most + 2


def test_systemd_makes_no_second_service_of_the_init_script(run, units):
    """Installed beside each other: 'service postern start' means the unit. (deploy/meson.build makes the alias.)"""
    base = run.make_dir("sysv", owned=False)
    for folder in ("init.d", "normal", "early", "late"):
        os.makedirs(f"{base}/{folder}", exist_ok=True)
    shutil.copy(f"{DEPLOY}/init.d/postern", f"{base}/init.d/postern")
    os.chmod(f"{base}/init.d/postern", 0o755)
    with open(os.path.join(DEPLOY, "meson.build"), encoding="utf-8") as build:
        alias, unit = re.search(r"install_symlink\('(\S+)', pointing_to: '(\S+)'", build.read()).groups()

    def generated():
        environment = {**os.environ, "SYSTEMD_SYSVINIT_PATH": f"{base}/init.d", "SYSTEMD_UNIT_PATH": units}
        folders = [f"{base}/{name}" for name in ("normal", "early", "late")]
        assert said("/usr/lib/systemd/system-generators/systemd-sysv-generator", *folders, env=environment)[0] == 0
        made = os.path.exists(f"{base}/late/postern.service")
        shutil.rmtree(f"{base}/late")
        os.mkdir(f"{base}/late")
        return made

    assert generated(), "the generator does nothing here"
    os.symlink(unit, os.path.join(units, alias))
    assert not generated()
    os.unlink(os.path.join(units, alias))


@pytest.mark.parametrize("kind, option", (("tmpfiles", "--create"), ("sysusers", "--dry-run")))
def test_tmpfiles_and_sysusers(run, kind, option):
    """Read by systemd's own programs, into an empty root."""
    root = run.make_dir(f"root-{kind}", owned=False)
    for folder in ("etc", "run", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d"):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", f"{root}/etc/{name}")
    with open(f"{root}/etc/passwd", "a", encoding="ascii") as passwd:
        passwd.write("" if kind == "sysusers" else "postern:x:990:990::/var/lib/postern:/usr/sbin/nologin\n")
    with open(f"{root}/etc/group", "a", encoding="ascii") as group:
        group.write("" if kind == "sysusers" else "postern:x:990:\n")
    if kind == "tmpfiles" and os.getuid() != 0:
        option = "--clean"
    status, complaints = said(f"systemd-{kind}", option, f"--root={root}", f"{DEPLOY}/systemd/postern.{kind}.conf")
    assert status == 0, complaints
    if option == "--create":
        info = os.stat(f"{root}/run/postern")
        assert (info.st_uid, info.st_mode & 0o7777) == (990, 0o2750)


def test_logrotate_reads_its_file(run):
    status, output = said("logrotate", "--debug", "--state", os.path.join(run.dir, "logrotate.state"),
                          os.path.join(DEPLOY, "logrotate", "postern"))
    assert status == 0 and "error" not in output.lower(), output


def test_packages_file_and_installer(run):
    installer = os.path.join(DEPLOY, "install-packages.sh")
    # Everything is there, or these tests would not run: no network, no privilege, nothing said.
    assert said(installer, "build", "demo", "test") == (0, "")
    status, complaint = said(installer, "nonsense")
    assert status == 1 and "no section" in complaint
    assert said(installer)[0] == 1


def test_unpacked_packages_need_no_network_again(run, tmp_path):
    installer = os.path.join(DEPLOY, "install-packages.sh")
    folder = {}
    for server in ("cyrus", "courier"):
        status, folder[server] = said(installer, "--unpack", server)
        assert status == 0
    assert os.path.exists(folder["cyrus"].strip().split("\n")[-1] + "/usr/lib/cyrus/bin/imapd")
    assert os.path.exists(folder["courier"].strip().split("\n")[-1] + "/usr/bin/imapd")
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\nexit 1\n")
    apt.chmod(0o755)
    offline = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert said(installer, "--unpack", "courier", env=offline)[0] == 0
    # What can't be downloaded leaves nothing behind that looks as if it had been.
    offline["POSTERN_UNPACKED"] = str(tmp_path / "other")
    for _ in range(2):
        status, complaint = said(installer, "--unpack", "courier", env=offline)
        assert status == 1 and "could not be downloaded" in complaint
    status, complaint = said(installer, "--unpack", "nonsense")
    assert status == 1 and "no section" in complaint


def test_sample_mailbox_is_the_same_each_time(run, tmp_path):
    trees = []
    for name in ("one", "two"):
        folder = tmp_path / name
        subprocess.run([MAKE_MAILBOX, str(folder), "--messages", "400", "--manifest", f"{folder}.json"], check=True)
        trees.append({os.path.relpath(os.path.join(base, file), folder): os.path.getsize(os.path.join(base, file))
                      for base, _, files in os.walk(folder) for file in files})
    assert trees[0] == trees[1]
    assert filecmp.cmp(tmp_path / "one.json", tmp_path / "two.json", shallow=False)
    made = json.loads((tmp_path / "one.json").read_text())
    assert made["total"] == 400 == sum(len(messages) for messages in made["folders"].values())
    kinds = {message["kind"] for messages in made["folders"].values() for message in messages}
    assert {"plain", "flowed", "alternative", "related", "attachment", "newsletter", "list", "large"} <= kinds
    for messages in made["folders"].values():
        uids = [message["uid"] for message in messages]
        assert uids == sorted(set(uids))
    dates = [message["receivedAt"] for message in made["folders"]["INBOX"]]
    assert dates != sorted(dates), "arrival dates are in UID order"


def test_guard_ends_a_server_that_ignores_sigterm(run):
    deaf = Process(run, "deaf", ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 876; done"], lambda: True)
    deaf.start()
    assert deaf.stop() != 0
    assert not deaf.alive


def test_guard_leaves_nothing_behind(run):
    """A server that forks, orphans and ignores SIGTERM is gone after stop()."""
    stubborn = Process(run, "stubborn", [
        "/bin/sh", "-c", "trap '' TERM; (setsid sleep 873 &) ; (trap '' TERM; sleep 874 & wait) & exec sleep 875"],
        lambda: True)
    stubborn.start()
    stubborn.kill()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                assert not re.search(rb"sleep\0(873|874|875)\0", file.read())
        except OSError:
            pass
