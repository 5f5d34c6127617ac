"""Fixtures of the end-to-end tests: real nginx, Apache, Dovecot and the built programs, on free loopback ports in a
temporary directory. POSTERN_BUILD names the build folder; POSTERN_E2E_KEEP=1 keeps the directory with the logs.
"""

import os
import shutil
import sys

import pytest

from support.courier import Courier
from support.cyrus import Cyrus
from support.log_search import is_log, sanitizer_reports, secrets_in
from support.pki import Pki
from support.processes import Run
from support.smtp import SmtpServer
from support.stack import Stack

WEB_SERVERS = ("nginx", "apache")
IMAP_SERVERS = ("dovecot", "cyrus", "courier")
TAIL_LINES = 40


@pytest.fixture(scope="session")
def run(request):
    """The run's directory. At its end no log of the run may hold a password or token, or a sanitizer's report."""
    run = Run()
    request.config.postern_runs = getattr(request.config, "postern_runs", []) + [run]
    yield run
    # The IMAP servers' own logs aren't ours; everything that Postern and the web servers write is.
    leaks = [leak for leak in secrets_in(run.logs, run.secrets)
             if not any(name in leak.split(":")[0] for name in IMAP_SERVERS)]
    # Where tests/run.sh has sent them to a folder, it counts them itself.
    reports = sanitizer_reports(run.logs)
    run.remove()
    assert not leaks, "secrets in logs:\n" + "\n".join(leaks)
    assert not reports, "sanitizers' reports in logs:\n" + "\n".join(reports)


@pytest.fixture(scope="session")
def pki(run):
    return Pki(run.make_dir("pki", owned=False))


@pytest.fixture(scope="session")
def shared_stack(run, pki):
    """One stack for all tests that leave it as it was."""
    yield from running(Stack, run.part("shared"), pki)


@pytest.fixture(scope="session")
def cyrus_stack(run, pki):
    yield from running(Stack, run.part("second"), pki, server=Cyrus)


@pytest.fixture(scope="session")
def courier_stack(run, pki):
    yield from running(Stack, run.part("third"), pki, server=Courier)


@pytest.fixture(scope="module", params=IMAP_SERVERS)
def each_stack(request):
    """A stack with each IMAP server in turn. A module whose tests hold for all has a fixture 'stack' that returns it;
    pytest_collection_modifyitems() leaves Apache out for all but Dovecot."""
    return request.getfixturevalue("shared_stack" if request.param == "dovecot" else f"{request.param}_stack")


def pytest_collection_modifyitems(config, items):
    """What the web servers do differently doesn't depend on the IMAP server: one of them is enough for the others."""
    def doubled(item):
        chosen = getattr(item, "callspec", None) and item.callspec.params
        return chosen and chosen.get("each_stack", "dovecot") != "dovecot" and chosen.get("web", "nginx") != "nginx"

    left_out = [item for item in items if doubled(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def running(make, *arguments, **options):
    """Builds a stack, yields it, and stops it also when its start failed half way."""
    stack = make.__new__(make)
    try:
        stack.__init__(*arguments, **options)
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def smtp(pki):
    """An outgoing mail server of the module's own."""
    server = SmtpServer(pki)
    yield server
    server.close()


@pytest.fixture(scope="module")
def stack(shared_stack):
    """The stack of a module. A module with a configuration or faults of its own defines a fixture of this name."""
    return shared_stack


@pytest.fixture(params=WEB_SERVERS)
def web(request, stack):
    """Each web server in turn."""
    return stack.web(request.param)


@pytest.fixture(scope="module")
def reader(stack, request):
    """A person whose mailbox the tests of the module only read."""
    return stack.person(request.module.__name__.replace("test_", ""))


@pytest.fixture
def person(stack, request):
    """A person with a fresh mailbox, for one test."""
    return stack.person(request.node.originalname.replace("test_", ""))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Adds the ends of the run's logs to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for run in getattr(item.config, "postern_runs", []):
            for name, path in sorted(run.log_files.items()):
                if os.path.exists(path):
                    with open(path, encoding="utf-8", errors="replace") as log:
                        tail = log.readlines()[-TAIL_LINES:]
                    if tail:
                        report.sections.append((name, "".join(tail)))


def pytest_configure(config):
    for program in ("/usr/sbin/nginx", "/usr/sbin/apache2", "/usr/sbin/dovecot", "openssl"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: deploy/install-packages.sh build demo test")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
