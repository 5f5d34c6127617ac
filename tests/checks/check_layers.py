#!/usr/bin/python3
"""Checks which layer includes which: check_layers.py [ROOT].

The table is docs/architecture.md's: a layer includes public headers (include/postern/LAYER/) of the layers it may
use, and private ones (src/LAYER/) only of its own. Protocol layers include nothing that does I/O.
"""
import pathlib
import re
import sys

import tree

# layer: the layers it may include from, besides itself.
MAY_USE = {
    "base": set(),
    "imap": {"base"},
    "ipc": {"base"},
    "io": {"base"},
    "session": {"base", "imap", "io"},
    "store": {"base"},
    "sieve": {"base", "io", "session", "mail"},
    "limits": {"base", "store"},
    "blobs": {"base"},
    "mail": {"base", "imap", "session", "store", "limits", "blobs"},
    "push": {"base", "io", "store"},
    "records": {"base"},
    "smtp": {"base", "io", "session"},
    "outbox": {"base", "records", "smtp"},
    "jmap": {"base", "mail", "limits", "push", "records", "smtp", "outbox"},
    "broker": {"base", "imap", "ipc", "io", "session", "store", "limits", "blobs", "mail", "sieve", "push", "records",
               "smtp", "outbox", "jmap"},
    "worker": {"base", "ipc", "store", "limits"},
    "ctl": {"base", "ipc"},
}

# The vocabulary of coroutines (what a Task is, an event to wait for, the loop it runs on) is io's, without its
# streams; the layers above may name it.
COROUTINE_HEADERS = {"postern/io/task.hpp", "postern/io/event.hpp", "postern/io/loop.hpp"}
MAY_USE_COROUTINES = {"mail", "jmap", "records", "outbox"}

# Headers that do I/O, start threads or belong to one layer: (pattern, the layers that may include it).
IO_HEADERS = (r"(boost/(asio|beast)|sys/(socket|un|epoll|poll|eventfd|timerfd)|netinet/|arpa/|netdb|poll\.h"
              r"|openssl/ssl\.h)")
RESTRICTED = [
    (re.compile("^" + IO_HEADERS), set(MAY_USE) - {"base", "imap", "ipc"}),
    (re.compile(r"^(thread|mutex|condition_variable|future|unistd\.h|fcntl\.h)$"), set(MAY_USE) - {"imap", "ipc"}),
    (re.compile(r"^openssl/ssl\.h$"), {"io"}),
    (re.compile(r"^boost/interprocess/"), {"store"}),
    (re.compile(r"^fcgi"), {"worker"}),
    (re.compile(r"^gmime/"), {"mail"}),
    (re.compile(r"^sqlite3"), {"records"}),
    (re.compile(r"^curl/"), {"push"}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ASIO_SOURCE = "src/io/asio/asio.cpp"


def layer_of(path):
    parts = pathlib.PurePosixPath(path).parts
    if parts[:2] == ("include", "postern") and len(parts) > 3:
        return parts[2]
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return None


def target_layer(root, path, name):
    """(layer, is private) of an included file of Postern's, or (None, False) for any other."""
    if name.startswith("postern/"):
        return name.split("/")[1], False
    beside = (pathlib.Path(root) / path).parent / name
    if beside.is_file():
        inside = beside.resolve().relative_to(pathlib.Path(root).resolve())
        return layer_of(inside), inside.parts[0] == "src"
    if (pathlib.Path(root) / "src" / name).is_file():
        return layer_of(pathlib.PurePosixPath("src") / name), True
    return None, False


def check_file(root, path, findings):
    own = layer_of(path)
    code = tree.text(pathlib.Path(root) / path) or ""
    for number, line in enumerate(code.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match.group(2)
        where = f"{path}:{number}: "
        if name == "boost/asio.hpp":
            findings.append(where + "includes boost/asio.hpp: include what is used")
        if name == "boost/asio/impl/src.hpp" and str(path) != ASIO_SOURCE:
            findings.append(where + f"includes boost/asio/impl/src.hpp, which only {ASIO_SOURCE} may")
        if own is None:
            continue
        if own not in MAY_USE:
            findings.append(where + f"layer {own} is not in the table of check_layers.py")
            return
        layer, private = target_layer(root, path, name)
        if layer is not None and layer != own:
            if private:
                findings.append(where + f"{own} includes a private header of {layer}: {name}")
            elif layer not in MAY_USE[own] and not (own in MAY_USE_COROUTINES and name in COROUTINE_HEADERS):
                findings.append(where + f"{own} may not include from {layer}: {name}")
        if private and path.parts[0] == "include":
            findings.append(where + f"a public header includes a private one: {name}")
        for pattern, layers in RESTRICTED:
            if pattern.search(name) and own not in layers:
                findings.append(where + f"{own} may not include {name}")


def check(root=tree.ROOT):
    findings = []
    sources = [p for p in tree.files(root, ".cpp", ".hpp", ".h", ".cc") if p.parts[0] in ("include", "src", "tests")]
    for path in sources:
        check_file(root, path, findings)
    if not (pathlib.Path(root) / ASIO_SOURCE).is_file():
        findings.append(f"{ASIO_SOURCE}: missing, nothing compiles Asio")
    return findings


if __name__ == "__main__":
    sys.exit(tree.report(check(*sys.argv[1:2])))
