"""Programs of C++ and their figures as they are: those made with Google Benchmark, and the cost of each method."""

import json
import subprocess

from support.postern import built

from .table import AT_MOST, Aim, Row, duration, number

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}


def store(site, options):
    del site
    yield from figures("store", "store_bench", options)


def limits(site, options):
    del site
    yield from figures("limits", "limits_bench", options)


def figures(part, program, options):
    done = subprocess.run([built(program), "--benchmark_format=json", f"--benchmark_min_time={options.micro_s}"],
                          capture_output=True, text=True, check=True)
    for figure in json.loads(done.stdout)["benchmarks"]:
        yield Row(part, figure["name"], duration(figure["cpu_time"] * SECONDS[figure["time_unit"]]),
                  "processor time a call")


def methods(site, options):
    """What each JMAP method costs in processor time, allocations, IMAP commands and octets, by size of the mailbox."""
    del site
    for size in options.sizes:
        done = subprocess.run([built("methods_bench"), str(size)], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            figure = json.loads(line)
            what = f"{figure['what']}, {size:,}"
            if "view_bytes" in figure:
                yield Row("methods", what, f"{number(figure['view_bytes'] / 1024)} KB", "before a text is sorted by",
                          figure["view_bytes"] / size, " B", Aim(AT_MOST, 64, " B") if size >= 10_000 else None)
                continue
            yield Row("methods", what, duration(figure["cpu_s"]),
                      f"{figure['allocations']:,} allocations, {number(figure['commands'])} IMAP commands, "
                      f"{figure['octets']:,} octets")
