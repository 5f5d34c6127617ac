#!/usr/bin/python3
"""run.py [--quick] [PART]... - runs the benchmarks and prints one table; docs/benchmarks.md says how to read it.

  nginx    a warm page through nginx, beside an echo broker and an echo worker behind the same nginx
  apache   the same through Apache with mod_fcgid
  cycle    a warm page beside a full IMAPS cycle against Dovecot, at 1,000 to 100,000 messages
  cold     a cold page beside the bare IMAP commands
  view     memory of a warm view
  idle     memory and processor time of idle accounts over TLS
  push     from a delivery to the event in the client, beside nchan alone; memory and processor time of listeners
  store    the segment's table of sessions
  limits   what counting costs
  fair     what others notice of one person's expensive requests
  methods  each JMAP method: processor time, allocations, IMAP commands and octets

Without a part: all. Packages that are missing are installed, and a release build is made in build-release/, which
deploy/demo.sh uses too. Everything runs on loopback in a temporary directory, and is gone afterwards. The exit
status is 1 if a figure misses its aim.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "e2e")]

from support.processes import Run  # noqa: E402
from suite import fair, idle, micro, pages, push, table  # noqa: E402
from suite.site import Site  # noqa: E402

PARTS = {"nginx": pages.nginx, "apache": pages.apache, "cycle": pages.cycle, "cold": pages.cold, "view": pages.view,
         "idle": idle.idle, "push": push.push, "store": micro.store, "limits": micro.limits, "fair": fair.fair,
         "methods": micro.methods}
TARGETS = ("src/broker/posternd", "src/worker/postern-fcgi", "src/ctl/posternctl", "tests/imapd/postern-testimapd",
           "tests/bench/echo/echo-broker", "tests/bench/echo/echo-worker", "tests/bench/store_bench",
           "tests/bench/limits_bench", "tests/bench/methods_bench")

FULL = {"rounds": 7, "turn_s": 2, "repeats": 5, "cold_rounds": 21, "sizes": (1_000, 10_000, 100_000),
        "accounts": 10_000, "quiet_s": 60, "micro_s": 0.5, "listeners": (1, 1_000, 10_000), "push_s": 30}
QUICK = {"rounds": 3, "turn_s": 1, "repeats": 3, "cold_rounds": 9, "sizes": (1_000, 10_000), "accounts": 1_000,
         "quiet_s": 10, "micro_s": 0.1, "listeners": (1, 200), "push_s": 5}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller mailboxes and fewer accounts")
    parser.add_argument("--accounts", type=int, help=f"idle accounts (default: {FULL['accounts']})")
    parser.add_argument("--listeners", type=int, nargs="+", metavar="N",
                        help=f"listening sessions (default: {' '.join(map(str, FULL['listeners']))})")
    parser.add_argument("--rounds", type=int, help=f"turns of each contender (default: {FULL['rounds']})")
    parser.add_argument("--build", help="a build folder to use as it is, instead of build-release/")
    given = parser.parse_args()
    for part in given.parts:
        if part not in PARTS:
            parser.error(f"no part '{part}'; there are: {', '.join(PARTS)}")
    for name, value in (QUICK if given.quick else FULL).items():
        if getattr(given, name, None) is None:
            setattr(given, name, value)
    given.parts = given.parts or list(PARTS)
    return given


def say(text, begin=time.monotonic()):
    print(f"== {time.monotonic() - begin:4.0f}s  {text}", file=sys.stderr, flush=True)


def build():
    """Builds what is measured and returns the folder. It is the demo's, with the benchmarks switched on as well."""
    folder = os.path.join(ROOT, "build-release")
    subprocess.run([os.path.join(ROOT, "deploy", "install-packages.sh"), "build", "demo", "bench"], check=True)
    environment = {"CXX": "ccache clang++-19", "CCACHE_NOHASHDIR": "1", **os.environ}
    wanted = {"buildtype": "release", "benchmarks": True}
    options = [f"-D{name}={str(value).lower()}" for name, value in wanted.items()]
    known = os.path.join(folder, "meson-info", "intro-buildoptions.json")
    command = ["meson", "setup", folder, ROOT, "-Dtests=false", *options]
    if os.path.exists(known):
        with open(known, encoding="utf-8") as file:
            now = {option["name"]: option["value"] for option in json.load(file)}
        command = ["meson", "configure", folder, *options] if any(now[n] != v for n, v in wanted.items()) else None
    if command:
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "--quiet", "-C", folder, *TARGETS], check=True, env=environment, stdout=sys.stderr)
    return folder


def machine():
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    return (f"{len(os.sched_getaffinity(0))} cores ({model}), Linux {platform.release().partition('-')[0]}; "
            f"other load at the start: {load:.1f}")


def measure(options):
    rows, run = [], Run()
    site = None
    try:
        site = Site.__new__(Site)
        site.__init__(run)
        for part in options.parts:
            say(part)
            for row in PARTS[part](site, options):
                rows.append(row)
                print(f"   {row.what}: {row.measured} against {row.against} {row.verdict}", file=sys.stderr, flush=True)
    finally:
        if site is not None:
            site.stop()
        run.remove()
    return rows


def main():
    options = parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    about = machine()
    os.environ["POSTERN_BUILD"] = os.path.abspath(options.build) if options.build else build()
    rows = measure(options)
    say("done")
    print(table.render(rows))
    print(f"\n{about}")
    missed = table.missed(rows)
    print(f"{sum(row.aim is not None for row in rows) - len(missed)} aims reached, {len(missed)} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
