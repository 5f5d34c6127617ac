"""Searches the logs of a run for its passwords and tokens, in the forms in which they travel, and for what a sanitizer
has to report.
"""

import base64
import os
import re
import subprocess
from urllib.parse import quote

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
    ordered = sorted(secrets)
    needles = {form: number for number, secret in enumerate(ordered) for form in forms(secret)}
    paths = [os.path.join(base, name) for base, _, files in os.walk(directory) for name in files]
    # A socket is no log, whatever it is called.
    paths = [path for path in paths if wanted(os.path.relpath(path, directory)) and os.path.isfile(path)]
    if not needles or not paths:
        return []
    # grep looks for all needles at once: there are thousands, and the logs are large.
    command = ["grep", "-aoFHnZ", "-f", "-", "--", *sorted(paths)]
    done = subprocess.run(command, input=b"\n".join(needles) + b"\n", stdout=subprocess.PIPE, check=False,
                          env={**os.environ, "LC_ALL": "C"})
    assert done.returncode in (0, 1), f"grep failed: {done.returncode}"
    found = {}
    for line in done.stdout.splitlines():
        path, _, rest = line.partition(b"\0")
        place, _, form = rest.partition(b":")
        number = needles[form]
        name, label = os.path.basename(path.decode()), ordered[number][:4].split("-")[0]
        found.setdefault((path, number), f"{name}:{int(place)}: secret no. {number} ({label})")
    return list(found.values())


def sanitizer_reports(directory):
    """["file:line: its first line"] of every sanitizer's report in the files below directory."""
    found = []
    for base, _, files in os.walk(directory):
        for name in sorted(files):
            with open(os.path.join(base, name), encoding="utf-8", errors="replace") as file:
                found += [f"{name}:{number}: {line.rstrip()}" for number, line in enumerate(file, 1)
                          if SANITIZER.search(line)]
    return found
