#!/usr/bin/python3
"""Runs shellcheck over every shell script of the tree, and dash -n over those for /bin/sh: check_shell.py."""
import re
import subprocess
import sys

import tree

SHEBANG = re.compile(r"^#! ?(/usr/bin/env )?(/bin/|/usr/bin/)?(sh|bash|dash|openrc-run)\b|^#!/sbin/openrc-run")


def scripts(root=tree.ROOT):
    for path in tree.files(root):
        code = tree.text(root / path)
        if code is not None and SHEBANG.match(code.split("\n", 1)[0]):
            yield path, code


def main():
    findings = []
    for path, code in scripts():
        first = code.split("\n", 1)[0]
        # OpenRC's functions and variables come from its runner: its shell is sh, its names are not known here.
        openrc = ["--shell=sh", "--exclude=SC2034,SC2154"] if "openrc-run" in first else []
        for command in (["shellcheck", *openrc, "--severity=style", str(path)],
                        [] if "bash" in first else ["dash", "-n", str(path)]):
            if command:
                done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True)
                if done.returncode:
                    findings.append(f"{path}:\n{done.stdout}{done.stderr}")
    return tree.report(findings)


if __name__ == "__main__":
    sys.exit(main())
