#!/usr/bin/python3
"""Checks what 'meson install' puts where: check_installed.py BUILD_FOLDER [--update].

The list is tests/checks/installed-files.txt: one file a line, its mode first. --update writes it anew.
"""
import pathlib
import subprocess
import sys
import tempfile

import tree

LIST = tree.ROOT / "tests" / "checks" / "installed-files.txt"
HEADER = "# What 'meson install' installs: mode and path. Written by check_installed.py BUILD_FOLDER --update.\n"


def installed(build):
    with tempfile.TemporaryDirectory(prefix="postern-installed-") as destination:
        done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", destination],
                              capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"meson install failed:\n{done.stdout}{done.stderr}")
        root = pathlib.Path(destination)
        return [f"{path.stat().st_mode & 0o7777:04o} /{path.relative_to(root)}"
                for path in sorted(root.rglob("*")) if not path.is_dir()]


def compare(expected, found):
    return ([f"not installed: {line}" for line in expected if line not in found]
            + [f"installed, but not in {LIST.name}: {line}" for line in found if line not in expected])


def main():
    found = installed(sys.argv[1])
    if "--update" in sys.argv[2:]:
        LIST.write_text(HEADER + "".join(line + "\n" for line in found))
        return 0
    expected = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    return tree.report(compare(expected, found))


if __name__ == "__main__":
    sys.exit(main())
