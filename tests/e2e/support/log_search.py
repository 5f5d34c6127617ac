"""Searches the logs of a run for its passwords and tokens, in the forms in which they travel, and for what a sanitizer
has to report.
"""

import base64
import os
import re
from urllib.parse import quote

WINDOW = 1 << 20
# The first line of a report, or that it could not be written to the file it was meant for.
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|: runtime error: "
                       r"|UndefinedBehaviorSanitizer|ERROR: Can't open file: ")


def forms(secret):
    """The secret as it is, URL-encoded, and its base64 forms at each of the three alignments."""
    data = secret.encode()
    found = {data, quote(secret, safe="").encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + data)
        # Characters that depend on the neighbours are left out.
        start = (shift * 8 + 5) // 6
        end = (shift + len(data)) * 8 // 6
        found.add(encoded[start:end])
    return found


def is_log(path):
    """Whether a file is a log: by its name, or by a folder's that it is in (the init script's LOG_DIR is such one)."""
    *folders, name = path.split(os.sep)
    return ".log" in name or "log" in folders or "logs" in folders


def secrets_in(directory, secrets, wanted=lambda path: True):
    """["file: which secret"] for every file below directory that holds one and whose path, from there, is wanted. The
    secrets themselves aren't told."""
    found = []
    needles = {form: number for number, secret in enumerate(sorted(secrets)) for form in forms(secret)}
    for base, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(base, name)
            # A socket is no log, whatever it is called.
            if not wanted(os.path.relpath(path, directory)) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                text = file.read()
            for form, number in needles.items():
                position = text.find(form)
                if position >= 0:
                    label = sorted(secrets)[number][:4].split("-")[0]
                    line = text.count(b"\n", 0, position) + 1
                    found.append(f"{name}:{line}: secret no. {number} ({label})")
    return found


def sanitizer_reports(directory):
    """["file:line: its first line"] of every sanitizer's report in the files below directory."""
    found = []
    for base, _, files in os.walk(directory):
        for name in sorted(files):
            with open(os.path.join(base, name), encoding="utf-8", errors="replace") as file:
                found += [f"{name}:{number}: {line.rstrip()}" for number, line in enumerate(file, 1)
                          if SANITIZER.search(line)]
    return found
