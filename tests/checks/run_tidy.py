#!/usr/bin/python3
"""Runs clang-tidy-19 over the sources: run_tidy.py BUILD_FOLDER [--since REVISION] [--jobs N] [FILE...].

Without --since every source file under src/, tests/imapd/ and tests/fuzz/, with it those that differ from REVISION or
include a header that does. Most of the time goes into the headers of others, so the files of a folder are looked at
together, as one file that includes them. The slowest ones are named at the end, so that the time stays in sight.
"""
import argparse
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import time

import tree

CLANG_TIDY = "clang-tidy-19"
FOLDERS = ("src/", "tests/imapd/", "tests/fuzz/")
SECONDS_PER_GROUP_MAX = 900
FILES_PER_GROUP_MAX = 14
FUZZER = "LLVMFuzzerTestOneInput"
NOISE = re.compile(r"^(\d+ warnings? generated|Suppressed \d+|Use -header-filter|\d+ warnings? treated as errors)")


def changed_since(revision):
    """Names of the files that differ from the revision, new ones included."""
    git = ["git", "-c", f"safe.directory={tree.ROOT}", "-C", str(tree.ROOT)]
    lines = subprocess.run([*git, "diff", "--name-only", revision], check=True, capture_output=True, text=True).stdout
    lines += subprocess.run([*git, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True,
                            text=True).stdout
    return set(lines.split("\n")) - {""}


def touched(path, changed):
    if path in changed or ".clang-tidy" in changed:
        return True
    code = (tree.ROOT / path).read_text(errors="replace")
    names = re.findall(r'#include "([^"]+)"', code)
    return any(f"include/{n}" in changed or f"src/{n}" in changed
               or str(pathlib.PurePosixPath(path).parent / n) in changed for n in names)


def run(build, path):
    start = time.monotonic()
    try:
        done = subprocess.run([CLANG_TIDY, "--quiet", "-p", build, path], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=SECONDS_PER_GROUP_MAX)
        status, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, output = 1, f"{path}: clang-tidy took more than {SECONDS_PER_GROUP_MAX} seconds\n"
    lines = [line for line in output.splitlines() if not NOISE.match(line)]
    return path, status, findings_of(lines), time.monotonic() - start


def findings_of(lines):
    """The output, one text for each finding with the notes below it."""
    findings = []
    for line in lines:
        if not findings or re.search(r": (error|warning): ", line):
            findings.append(line)
        else:
            findings[-1] += "\n" + line
    return findings


def groups_of(sources):
    """Lists of sources of one folder, neighbours together: they include the same headers."""
    groups = []
    for folder in sorted({str(pathlib.PurePosixPath(p).parent) for p in sources}):
        files = sorted(p for p in sources if str(pathlib.PurePosixPath(p).parent) == folder)
        count = -(-len(files) // FILES_PER_GROUP_MAX)
        groups += [files[len(files) * i // count:len(files) * (i + 1) // count] for i in range(count)]
    return groups


def group_text(files):
    """One source that includes the files. Fuzz targets all define the same function: each gets a name of its own."""
    lines = []
    for number, file in enumerate(files):
        include = f'#include "{tree.ROOT / file}"  // NOLINT(bugprone-suspicious-include)'
        fuzzer = file.startswith("tests/fuzz/")
        lines += [f"#define {FUZZER} {FUZZER}{number}", include, f"#undef {FUZZER}"] if fuzzer else [include]
    return "\n".join(lines) + "\n"


def write_groups(build, commands, groups):
    """Writes a source file for each group, and the compilation database for them; returns (folder, files)."""
    folder = build / "tidy"
    folder.mkdir(exist_ok=True)
    entries, names = [], []
    for number, files in enumerate(groups):
        # The fuzz targets of broker have the flags of all layers.
        fuzzer = files[0].startswith("tests/fuzz/")
        command = commands["tests/fuzz/broker_http.cpp" if fuzzer else files[0]]
        name = folder / f"group{number}.cpp"
        name.write_text(group_text(files))
        entries.append({"directory": command["directory"], "file": str(name),
                        "command": command["command"].replace(command["file"], str(name))})
        names.append(str(name))
    (folder / "compile_commands.json").write_text(json.dumps(entries))
    return str(folder), names


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--since", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    build = pathlib.Path(options.build).resolve()
    commands = json.loads((build / "compile_commands.json").read_text())
    by_source = {}
    for entry in commands:
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if path.is_relative_to(tree.ROOT):
            by_source[str(path.relative_to(tree.ROOT))] = entry
    sources = {p for p in by_source if p.startswith(FOLDERS) and not p.startswith("src/io/asio/")}
    if options.files:
        sources &= set(options.files)
    elif options.since:
        changed = changed_since(options.since)
        sources = {p for p in sources if touched(p, changed)}
    # Large groups first: the last one then doesn't run alone.
    groups = sorted(groups_of(sources), key=lambda g: -sum((tree.ROOT / p).stat().st_size for p in g))
    folder, ordered = write_groups(build, by_source, groups)
    names = dict(zip(ordered, groups))
    seen, bad, times = set(), 0, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for path, status, findings, seconds in pool.map(lambda p: run(folder, p), ordered):
            times.append((seconds, path))
            bad += status != 0
            for finding in findings if status else []:
                if finding not in seen:  # a header's finding comes once
                    seen.add(finding)
                    print(finding, flush=True)
    slowest = ", ".join(f"{names[path][0]} and {len(names[path]) - 1} more {seconds:.0f} s"
                        for seconds, path in sorted(times, reverse=True)[:3])
    print(f"clang-tidy: {len(sources)} files in {len(groups)} groups, {bad} with findings; "
          f"slowest: {slowest or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
