#!/usr/bin/python3
"""Checks that clang-format-19 would change nothing: check_format.py [--fix]."""
import concurrent.futures
import os
import subprocess
import sys

import tree

CLANG_FORMAT = "clang-format-19"
FILES_AT_ONCE = 20


def run(arguments):
    done = subprocess.run([CLANG_FORMAT, "--style=file", *arguments], cwd=tree.ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def main():
    mode = ["-i"] if "--fix" in sys.argv[1:] else ["--dry-run", "--Werror", "--ferror-limit=1"]
    sources = [str(p) for p in tree.files(tree.ROOT, ".cpp", ".hpp")]
    groups = [mode + sources[i:i + FILES_AT_ONCE] for i in range(0, len(sources), FILES_AT_ONCE)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, groups))
    for status, output in results:
        for line in output.splitlines():
            if not line.startswith((" ", "\t")) or mode == ["-i"]:
                print(line)
    if any(status for status, _ in results):
        print("tests/checks/check_format.py --fix applies the format", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
