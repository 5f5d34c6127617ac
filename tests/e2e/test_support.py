"""The harness itself, where a mistake in it would make other tests pass: counting commands, searching logs."""

import base64

import pytest

from support.log_search import is_log, sanitizer_reports, secrets_in
from support.proxy import CommandScanner

DIALOGUE = (
    b"a1 LOGIN {4}\r\nuser {8+}\r\np\r\nA NOO\r\n"
    b"a2 UID FETCH 1:* (FLAGS)\r\n"
    b"a3 IDLE\r\nDONE\r\n"
    b"a4 APPEND INBOX (\\Seen) {20+}\r\nx NOOP\r\ny LOGOUT\r\nz\r\n"
    b"a5 SEARCH HEADER Subject {3}\r\nabc FLAGGED\r\n"
    b"a6 AUTHENTICATE PLAIN AGEAYg==\r\n"
    b"\r\n"
    b"a7 noop\r\n"
    b"a8 uid store 5 +FLAGS.SILENT (\\Seen)\r\n")
NAMES = ["LOGIN", "UID FETCH", "IDLE", "APPEND", "SEARCH", "AUTHENTICATE", "NOOP", "UID STORE"]


@pytest.mark.parametrize("size", range(1, 24))
def test_commands_are_told_from_literals_however_they_arrive(size):
    found = []
    scanner = CommandScanner(found.append)
    for start in range(0, len(DIALOGUE), size):
        scanner.feed(DIALOGUE[start:start + size])
    assert [command.name for command in found] == NAMES
    assert found[0].arguments == "" and found[1].arguments == "1:* (FLAGS)"


def test_lines_of_an_authentication_are_no_commands():
    found = []
    scanner = CommandScanner(found.append)
    scanner.feed(b"a1 AUTHENTICATE LOGIN\r\n")
    scanner.answered(b"+ VXNlcm5hbWU6\r\n")
    scanner.feed(b"dXNlcg== x\r\ncGFzcw== y\r\n")
    scanner.answered(b"a1 OK [CAPABILITY IMAP4rev1] in\r\n")
    scanner.feed(b"a2 SELECT INBOX\r\n")
    assert [command.name for command in found] == ["AUTHENTICATE", "SELECT"]


@pytest.mark.parametrize("written", (
    "pw-s3cr/t+x", "user:pw-s3cr/t+x@host", "%70 pw-s3cr%2Ft%2Bx",
    "Basic " + base64.b64encode(b"me:pw-s3cr/t+x").decode(), "Basic " + base64.b64encode(b"you:pw-s3cr/t+x").decode(),
    base64.b64encode(b"\0a\0pw-s3cr/t+x").decode()))
def test_secrets_are_found_in_every_form(tmp_path, written):
    (tmp_path / "some.log").write_text(f"first line\nthen {written} and more\n")
    assert set(secrets_in(tmp_path, {"pw-s3cr/t+x"})) == {"some.log:2: secret no. 0 (pw)"}


def test_logs_are_found_wherever_they_are(tmp_path):
    for path in ("logs/posternd", "service/init/log/postern-fcgi", "demo/openssl.log", "demo/openssl.log.1", "x.toml",
                 "catalogue/letter"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("pw-s3cr/t+x")
    assert sorted(found.split(":")[0] for found in secrets_in(tmp_path, {"pw-s3cr/t+x"}, is_log)) == [
        "openssl.log", "openssl.log.1", "postern-fcgi", "posternd"]


def test_other_text_is_no_secret(tmp_path):
    (tmp_path / "some.log").write_text("user=pw session=s3cr\n")
    assert secrets_in(tmp_path, {"pw-s3cr/t+x"}) == []


@pytest.mark.parametrize("line", (
    "==17==ERROR: AddressSanitizer: heap-use-after-free on address 0x1", "==17==ERROR: LeakSanitizer: detected leaks",
    "WARNING: ThreadSanitizer: data race (pid=17)", "../src/x.cpp:3:5: runtime error: signed integer overflow",
    "==17==ERROR: Can't open file: /nowhere/report.17"))
def test_sanitizers_reports_are_found(tmp_path, line):
    (tmp_path / "posternd.log").write_text(f"started\n{line}\nmore\n", encoding="utf-8")
    assert [report.split(":")[:2] for report in sanitizer_reports(tmp_path)] == [["posternd.log", "2"]]


def test_other_errors_are_no_sanitizers(tmp_path):
    (tmp_path / "posternd.log").write_text("error imap login failed reason=\"can't open\"\n", encoding="utf-8")
    assert sanitizer_reports(tmp_path) == []
