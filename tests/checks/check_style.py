#!/usr/bin/python3
"""Checks what the compiler, clang-format and clang-tidy don't: check_style.py [ROOT].

Lengths of files, a word on top of each, include guards, unfinished work, paths of somebody's machine, white space,
and that every named limit (limits.hpp of a layer, and NAME_max in any public header) is obeyed and tested.
"""
import pathlib
import re
import sys
from collections import Counter

import tree

LINES_MAX = 500
COLUMNS_MAX = 120  # clang-format holds C++ to 110, this is for all the rest

# path: why it may be longer than LINES_MAX.
LONG_FILES = {
    "include/postern/mail/account.hpp": "one object, whose parts are defined in a file each",
    "src/imap/multiplexer.cpp": "one state machine: what is parsed decides what may be sent",
    "src/session/pool_core.cpp": "one state machine: each of its decisions looks at all connections",
    "tests/unit/worker/process_test.cpp": "one scenario after another of one process, on one fixture and harness",
}

# Not in this file, and not where they are data.
UNFINISHED = re.compile(
    r"\b(TODO|FIXME|XXX|HACK|WIP|TBD)\b|\b[Ff]or now\b|\b[Ss]tubs?\b|\b[Pp]laceholder\b|[Nn]ot (yet )?implemented")
MACHINE_PATH = re.compile(r"/(root|work|home/\w+|Users/\w+)/|/tmp/postern/")
# What a mailbox's name or a test's message may contain is data.
DATA = re.compile(r"^(tests/fuzz/corpus/|tests/fuzz/.*\.dict$|deploy/demo/sample_|docs/spec/)|\.eml$|^LICENSE$")
SELF = {"tests/checks/check_style.py", "tests/checks/test_checks.py"}
# The words as such, in a phrase that needs them: (path, phrase).
ALLOWED = [
    ("src/io/unix_listener.cpp", "can't accept for now"),
]

CODE = {".cpp", ".hpp", ".py", ".sh", ".build", ".md", ".toml", ".conf", ".service", ".socket", ".ini"}
CONSTANT = re.compile(r"^inline constexpr (?:std::)?[\w:<>]+ (\w+)\s*[={]", re.M)


def check_text(path, code, findings):
    name = str(path)
    lines = code.splitlines()
    if path.suffix in (".cpp", ".hpp", ".py", ".sh") and len(lines) > LINES_MAX and name not in LONG_FILES:
        findings.append(f"{name}: {len(lines)} lines; split it, or give the reason in LONG_FILES of check_style.py")
    if path.suffix in (".cpp", ".hpp") and not code.startswith("//"):
        findings.append(f"{name}:1: no comment on top that says what the file is for")
    if path.suffix == ".hpp" and "#pragma once" not in code:
        findings.append(f"{name}:1: no #pragma once")
    if code and not code.endswith("\n"):
        findings.append(f"{name}: no newline at the end")
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}: "
        if name not in SELF and not any(a[0] == name and a[1] in line for a in ALLOWED):
            for match in UNFINISHED.finditer(line):
                findings.append(where + f"unfinished: '{match.group(0)}'")
            for match in MACHINE_PATH.finditer(line):
                findings.append(where + f"a path of one machine: '{match.group(0)}'")
        if line != line.rstrip() and path.suffix != ".md":
            findings.append(where + "white space at the end of the line")
        if "\t" in line and path.suffix in (".cpp", ".hpp", ".py", ".build", ".toml"):
            findings.append(where + "a tab")
        if len(line) > COLUMNS_MAX and path.suffix in (".cpp", ".hpp", ".py", ".sh", ".build"):
            findings.append(where + f"{len(line)} columns")


def check_limits(root, sources, findings):
    """Each limit is used by code, and named by a test or reached through the code's own name for it."""
    code = {p: tree.text(root / p) or "" for p in sources}
    words = {p: Counter(re.findall(r"\w+", text)) for p, text in code.items()}
    in_code = set().union(*(words[p] for p in sources if p.parts[0] == "src"))
    in_tests = set().union(*(words[p] for p in sources if p.parts[0] == "tests"))
    headers = [p for p in sources if p.parts[:2] == ("include", "postern")]
    for path in headers:
        for name in CONSTANT.findall(code[path]):
            if path.name != "limits.hpp" and not name.endswith("_max"):
                continue
            # In its own header it is used by another limit or an inline function.
            in_headers = words[path][name] > 1 or any(name in words[p] for p in headers if p != path)
            if name not in in_code and not in_headers:
                findings.append(f"{path}: limit {name} is not used")
            if name not in in_tests:
                findings.append(f"{path}: limit {name} has no test (none names it)")


def check(root=tree.ROOT):
    root = pathlib.Path(root)
    findings = []
    listed = tree.files(root)
    for path in listed:
        if DATA.search(str(path)) or not (path.suffix in CODE or path.suffix == ""):
            continue
        code = tree.text(root / path)
        if code is not None:
            check_text(path, code, findings)
    check_limits(root, [p for p in listed if p.suffix in (".cpp", ".hpp")], findings)
    for name in LONG_FILES:
        if not (root / name).is_file():
            findings.append(f"{name}: in LONG_FILES, but not in the tree")
    return findings


if __name__ == "__main__":
    sys.exit(tree.report(check(*sys.argv[1:2])))
