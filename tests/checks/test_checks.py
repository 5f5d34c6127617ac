"""The checks find what they are for: each is given a small tree with a fault, and the same tree without."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check_docs  # noqa: E402
import check_installed  # noqa: E402
import check_layers  # noqa: E402
import check_secrets  # noqa: E402
import check_style  # noqa: E402
import count_results  # noqa: E402
import run_tidy  # noqa: E402


def make(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# check_layers

ASIO = {"src/io/asio/asio.cpp": "#include <boost/asio/impl/src.hpp>\n"}


@pytest.mark.parametrize("path, include, finding", [
    ("src/imap/a.cpp", '"postern/base/error.hpp"', None),
    ("src/imap/a.cpp", '"postern/imap/types.hpp"', None),
    ("src/imap/a.cpp", '"postern/session/pool.hpp"', "imap may not include from session"),
    ("include/postern/base/a.hpp", '"postern/imap/types.hpp"', "base may not include from imap"),
    ("src/worker/a.cpp", '"postern/store/session_table.hpp"', None),
    ("src/worker/a.cpp", '"postern/mail/view.hpp"', "worker may not include from mail"),
    ("src/jmap/a.cpp", '"postern/imap/types.hpp"', "jmap may not include from imap"),
    ("src/mail/a.cpp", '"imap/cursor.hpp"', "private header of imap"),
    ("src/mail/a.cpp", '"../imap/cursor.hpp"', "private header of imap"),
    ("include/postern/imap/a.hpp", '"imap/cursor.hpp"', "public header includes a private one"),
    ("src/imap/a.cpp", '"cursor.hpp"', None),
    ("src/imap/a.cpp", "<sys/socket.h>", "imap may not include sys/socket.h"),
    ("src/ipc/a.cpp", "<boost/asio/buffer.hpp>", "ipc may not include boost/asio"),
    ("src/jmap/a.cpp", '"postern/io/task.hpp"', None),
    ("src/jmap/a.cpp", '"postern/io/stream.hpp"', "jmap may not include from io"),
    ("src/session/a.cpp", "<boost/asio/awaitable.hpp>", None),
    ("src/session/a.cpp", "<openssl/ssl.h>", "session may not include openssl/ssl.h"),
    ("src/io/a.cpp", "<openssl/ssl.h>", None),
    ("src/io/a.cpp", "<boost/asio.hpp>", "include what is used"),
    ("src/io/a.cpp", "<boost/asio/impl/src.hpp>", "which only"),
    ("tests/imapd/a.cpp", "<boost/asio/impl/src.hpp>", "which only"),
    ("tests/unit/imap/a_test.cpp", '"imap/cursor.hpp"', None),
    ("src/strange/a.cpp", "<string>", "not in the table"),
])
def test_layers(tmp_path, path, include, finding):
    root = make(tmp_path, {**ASIO, "src/imap/cursor.hpp": "", path: f"#include {include}\n"})
    findings = check_layers.check(root)
    if finding is None:
        assert findings == []
    else:
        assert any(finding in f for f in findings), findings


def test_layers_need_asio_compiled_once(tmp_path):
    assert check_layers.check(make(tmp_path, {"src/base/a.cpp": ""}))


def test_layers_table_has_no_cycle():
    for layer in check_layers.MAY_USE:
        seen, todo = set(), [layer]
        while todo:
            for used in check_layers.MAY_USE[todo.pop()]:
                assert used != layer, f"{layer} uses itself"
                if used not in seen:
                    seen.add(used)
                    todo.append(used)


# check_style

@pytest.mark.parametrize("name, text, finding", [
    ("src/base/a.cpp", "// What it is for.\n", None),
    ("src/base/a.cpp", "// What it is for.\n" * 500, None),
    ("src/base/a.cpp", "// What it is for.\n" * 501, "501 lines"),
    ("src/base/a.cpp", "int a;\n", "no comment on top"),
    ("src/base/a.hpp", "// What.\n#pragma once\n", None),
    ("src/base/a.hpp", "// What.\n", "no #pragma once"),
    ("src/base/a.cpp", "// What. TO" + "DO: the rest\n", "unfinished"),
    ("docs/a.md", "This works for" + " now.\n", "unfinished"),
    ("docs/a.md", "See /ro" + "ot/notes.\n", "a path of one machine"),
    ("src/base/a.cpp", "// What. \n", "white space"),
    ("src/base/a.cpp", "// What.\n\tint a;\n", "a tab"),
    ("src/base/a.cpp", "// What.", "no newline"),
    ("src/base/a.cpp", "// " + "x" * 117 + "\n", None),
    ("src/base/a.cpp", "// " + "x" * 118 + "\n", "121 columns"),
])
def test_style(tmp_path, monkeypatch, name, text, finding):
    monkeypatch.setattr(check_style, "LONG_FILES", {})
    findings = check_style.check(make(tmp_path, {name: text}))
    if finding is None:
        assert findings == []
    else:
        assert any(finding in f for f in findings), findings


@pytest.mark.parametrize("lines, finding", [(500, None), (501, None), (0, "not in the tree")])
def test_style_long_files(tmp_path, monkeypatch, lines, finding):
    monkeypatch.setattr(check_style, "LONG_FILES", {"src/base/a.cpp": "a reason"})
    findings = check_style.check(make(tmp_path, {"src/base/a.cpp": "// A.\n" * lines} if lines else {}))
    assert findings == [] if finding is None else any(finding in f for f in findings)


LIMITS = "// Bounds.\n#pragma once\ninline constexpr std::size_t line_bytes_max = 16;\n"


@pytest.mark.parametrize("files, finding", [
    ({"src/imap/a.cpp": "// A.\nline_bytes_max;\n", "tests/unit/imap/a_test.cpp": "// A.\nline_bytes_max;\n"}, None),
    ({"tests/unit/imap/a_test.cpp": "// A.\nline_bytes_max;\n"}, "is not used"),
    ({"src/imap/a.cpp": "// A.\nline_bytes_max;\n"}, "has no test"),
])
def test_style_limits(tmp_path, monkeypatch, files, finding):
    monkeypatch.setattr(check_style, "LONG_FILES", {})
    findings = check_style.check(make(tmp_path, {"include/postern/imap/limits.hpp": LIMITS, **files}))
    assert ([] if finding is None else True) == (findings if finding is None else any(finding in f for f in findings))


# check_secrets

@pytest.mark.parametrize("text, found", [
    ("-----BEGIN PRIVATE KEY-----\n" + "M" * 64, True),
    ("-----BEGIN PRIVATE KEY-----\\n...", False),
    ("AKIA" + "ABCDEFGHIJKLMNOP", True),
    ("https://user:pass" + "word@registry.test/", True),
    ("imap://alice:secret@example.org/", False),
    ("http://127.0.0.1:8080/@x", False),
])
def test_secrets(tmp_path, text, found):
    assert bool(check_secrets.check(make(tmp_path, {"a.txt": text}))) is found


def test_secrets_by_name(tmp_path):
    assert check_secrets.check(make(tmp_path, {"tests/server.key": ""}))


# check_installed

def test_installed():
    assert check_installed.compare(["0755 /usr/sbin/posternd"], ["0755 /usr/sbin/posternd"]) == []
    assert check_installed.compare(["0755 /usr/sbin/posternd"], []) == ["not installed: 0755 /usr/sbin/posternd"]
    assert len(check_installed.compare(["0640 /etc/a"], ["0644 /etc/a"])) == 2


# check_docs

SAMPLE = "[imap]\n# The server.\nhost = \"localhost\"\n"
DOCS = {
    "deploy/postern.toml": SAMPLE,
    "docs/man/postern.toml.5": ".TP\n.B host\nThe server.\n",
    "docs/man/posternd.8": ".TP\n.BR \\-\\-config \" FILE\"\nIt.\n",
    "docs/man/postern-fcgi.8": ".TH POSTERN-FCGI 8\n",
    "docs/man/posternctl.8": ".TH POSTERNCTL 8\n",
    "src/broker/config.cpp": 'all["imap"] = {{"host", text(c.host)}};\n',
    "src/broker/main.cpp": 'app.add_option("-c,--config", file);\n',
}


@pytest.mark.parametrize("files, finding", [
    ({}, None),
    ({"deploy/postern.toml": SAMPLE + "\nport = 993\n"}, "port has no comment"),
    ({"deploy/postern.toml": SAMPLE + "# The port.\nport = 993\n"}, "port is not in docs/man"),
    ({"deploy/postern.toml": SAMPLE + "# The port.\n#port = 993\n"}, "port is not read"),
    ({"src/broker/config.cpp": 'all["imap"] = {{"host", text(h)},\n {"tls", choice(t, {{"none", none}})}};\n'},
     "[imap] tls is read by the broker, but not in the sample"),
    ({"docs/man/posternd.8": ".It Fl -config Ar file\n"}, None),
    ({"docs/man/posternd.8": ".It Fl -confog Ar file\n"}, "--confog is no option"),
    ({"src/broker/main.cpp": ""}, "--config is no option"),
    ({"src/worker/main.cpp": 'add_flag("--verbose");\n'}, "--verbose of src/worker is not described"),
    ({"README.md": "[x](docs/none.md)\n"}, "which is not there"),
    ({"README.md": "# A Heading\n[x](#a-heading)\n"}, None),
    ({"README.md": "# A Heading\n[x](#another)\n"}, "no such heading"),
])
def test_docs(tmp_path, files, finding):
    findings = check_docs.check(make(tmp_path, {**DOCS, **files}))
    if finding is None:
        assert findings == []
    else:
        assert any(finding in f for f in findings), findings


# run_tidy

def test_tidy_findings_are_split_with_their_notes():
    assert run_tidy.findings_of(["a:1:2: error: x", "  code", "a:1:2: note: y", "a:3:1: warning: z"]) == [
        "a:1:2: error: x\n  code\na:1:2: note: y", "a:3:1: warning: z"]


# count_results

GTEST = ('<testsuites><testsuite><testcase name="A" status="run" result="completed"/>'
         '<testcase name="B" status="run" result="completed"><failure/></testcase>'
         '<testcase name="C" status="run" result="skipped"><skipped/></testcase></testsuite></testsuites>')
OK = '{"name": "base", "result": "OK", "command": ["/x/base_test"]}\n'
FAIL = '{"name": "base", "result": "FAIL", "command": ["/x/base_test"]}\n'


@pytest.mark.parametrize("files, passed, failed", [
    ({"checks.tsv": "format\t0\nstyle\t1\n"}, 1, 1),
    ({"b/unit/testlog.json": FAIL, "b/unit/gtest/base_test.xml": GTEST}, 1, 1),
    ({"b/unit/testlog.json": FAIL, "b/unit/gtest/base_test.xml": '<testsuites><testcase name="A"/></testsuites>'},
     1, 1),
    ({"b/unit/testlog.json": FAIL}, 0, 1),
    ({"b/unit/testlog.json": OK}, 1, 0),
    ({"b/unit/testlog.json": OK, "b/unit/gtest/base_test.xml": "<cut"}, 0, 1),
    ({"b/unit/testlog.json": ""}, 0, 1),
    ({"b/e2e/pytest.xml": '<testsuite><testcase name="a"/><testcase name="b"><error/></testcase></testsuite>'}, 1, 1),
    ({"b/e2e/output": ""}, 0, 1),
    ({"b/fuzz/checks.tsv": "fuzz imap\t0\nfuzz ipc\t77\n"}, 1, 1),
])
def test_count(tmp_path, files, passed, failed):
    folders = {str((tmp_path / name).parent) for name in files if name.startswith("b/") and "gtest" not in name}
    make(tmp_path, {"checks.tsv": "", "folders": "".join(f + "\n" for f in folders), **files})
    total = count_results.count(tmp_path)
    assert (total.passed, len(total.failed)) == (passed, failed), total.failed
