"""The programs made with Google Benchmark, their figures as they are."""

import json
import subprocess

from support.postern import built

from .table import Row, duration

PROGRAMS = ("store_bench",)
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}


def store(site, options):
    del site
    for program in PROGRAMS:
        done = subprocess.run([built(program), "--benchmark_format=json", f"--benchmark_min_time={options.micro_s}"],
                              capture_output=True, text=True, check=True)
        for figure in json.loads(done.stdout)["benchmarks"]:
            yield Row("store", figure["name"], duration(figure["cpu_time"] * SECONDS[figure["time_unit"]]),
                      "processor time a call")
