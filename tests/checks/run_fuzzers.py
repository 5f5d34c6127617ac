#!/usr/bin/python3
"""Fuzzes every target: run_fuzzers.py BUILD_FOLDER --seconds N --jobs N --results FOLDER
[--seed N].

Several run at once, each from a copy of its corpus, with its dictionary. What breaks a target is left in
FOLDER/NAME-crash-...: put it into tests/fuzz/corpus/NAME/, where it's replayed from then on. One line a target goes to
FOLDER/checks.tsv.
"""
import argparse
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys

import tree

FUZZ = tree.ROOT / "tests" / "fuzz"
INPUT_BYTES_MAX = 65536
MEMORY_MB_MAX = 2048
SECONDS_PER_INPUT_MAX = 10
TAIL_LINES = 60


def fuzz(program, options):
    """Runs one target; (name, exit status, end of its output)."""
    name = program.name.removeprefix("fuzz_")
    corpus = options.results / f"{name}-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = FUZZ / "corpus" / name
    if seeds.is_dir():
        shutil.copytree(seeds, corpus, dirs_exist_ok=True)
    command = [str(program), str(corpus), f"-max_total_time={options.seconds}", f"-max_len={INPUT_BYTES_MAX}",
               f"-rss_limit_mb={MEMORY_MB_MAX}", f"-timeout={SECONDS_PER_INPUT_MAX}", "-print_final_stats=1",
               f"-artifact_prefix={options.results}/{name}-", f"-seed={options.seed}"]
    dictionary = FUZZ / f"{name}.dict"
    if dictionary.is_file():
        command.append(f"-dict={dictionary}")
    log = options.results / f"{name}.log"
    with open(log, "wb") as out:
        try:
            status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    timeout=options.seconds + 120).returncode
        except subprocess.TimeoutExpired:
            status = 124
    lines = log.read_text(errors="replace").splitlines()
    shutil.rmtree(corpus)
    return name, status, lines[-TAIL_LINES:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    options = parser.parse_args()
    programs = [p for p in sorted((options.build.resolve() / "tests" / "fuzz").glob("fuzz_*")) if p.is_file()]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda program: fuzz(program, options), programs))
    with open(options.results / "checks.tsv", "w") as counted:
        if not programs:
            counted.write("fuzz: no target was built\t1\n")
        for name, status, tail in results:
            counted.write(f"fuzz {name}\t{status}\n")
            runs = [line.split()[-1] for line in tail if line.startswith("stat::number_of_executed_units")]
            print(f"fuzz {name}: {'ok' if status == 0 else 'FAILED'}, {runs[0] if runs else '?'} runs", flush=True)
            if status:
                print("\n".join(tail), flush=True)
    return 0 if programs and all(status == 0 for _, status, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
