"""Load by wrk: one request again and again over kept connections, and contenders that take turns.

The machine may be busy with other things. So what is compared runs in turns of a second or two, forwards and
backwards, and a ratio is the median of the rounds' own ratios.
"""

import json
import os
import statistics
import subprocess
from dataclasses import dataclass

from support.guard import descendants

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load.lua")


@dataclass
class Sample:
    per_second: float
    median_s: float
    processor_s: float  # of all servers, a request


def processor_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """One request to one URL. directory is where its files may lie; servers are the Processes at work for it."""

    def __init__(self, name, directory, url, servers, body, headers):
        self.name, self.url, self.servers = name, url, servers
        self.body_file = os.path.join(directory, f"{name}.request")
        self.header_file = os.path.join(directory, f"{name}.headers")
        with open(self.body_file, "wb") as out:
            out.write(body)
        with open(self.header_file, "w", encoding="utf-8") as out:
            out.write("".join(f"{key}: {value}\n" for key, value in
                              {"Content-Type": "application/json", **headers}.items()))

    def _processor_s(self):
        return sum(processor_seconds(pid) for server in self.servers for pid in descendants(server.guard.pid))

    def run(self, connections, seconds):
        environment = {**os.environ, "BENCH_REQUEST": self.body_file, "BENCH_HEADERS": self.header_file}
        before = self._processor_s()
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", SCRIPT, self.url],
            env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"wrk {self.name}: {done.stdout}{done.stderr}"
        said = json.loads(done.stderr.strip().splitlines()[-1])
        # Apache closes a connection after its hundredth request, which wrk bears without counting it.
        assert said["refused"] == 0 and said["broken"] == 0 and said["requests"] > 0, f"wrk {self.name}: {said}"
        return Sample(said["requests"] / (said["duration_us"] / 1e6), said["median_us"] / 1e6,
                      (self._processor_s() - before) / said["requests"])


def in_turns(contenders, rounds):
    """{name: [value of each round]} of contenders {name: callable}, which take turns."""
    results = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            results[name].append(contenders[name]())
    return results


def median_ratio(above, below):
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below))


def median(values):
    return statistics.median(values)
