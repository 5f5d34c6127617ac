#!/usr/bin/python3
"""Adds up what tests/run.sh ran: count_results.py SUMMARY_FOLDER. The last line is "N passed, N failed".

SUMMARY_FOLDER/checks.tsv has one check a line (name, tab, exit status); SUMMARY_FOLDER/folders names the folders of
results, each with gtest/*.xml and testlog.json (unit tests) or pytest.xml. A GoogleTest case and a pytest case
count as one each; so does a program that is no GoogleTest, and a program that died before it could report.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree


class Count:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add_xml(self, path):
        """Counts the cases of a JUnit-like file; returns how many failed, or None where it can't be read."""
        try:
            tree = ElementTree.parse(path)
        except (OSError, ElementTree.ParseError):
            return None
        failed = 0
        for case in tree.iter("testcase"):
            name = f"{case.get('classname', '')}.{case.get('name', '')}"
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(name)
                failed += 1
            elif (case.find("skipped") is not None or case.get("status") == "notrun"
                  or case.get("result") in ("skipped", "suppressed")):
                self.skipped.append(name)
            else:
                self.passed += 1
        return failed

    def add_unit(self, folder):
        """One folder of 'meson test': what Meson says about programs, and GoogleTest about their cases."""
        where = f"{folder.parent.parent.name}: "
        if not (folder / "testlog.json").is_file():
            self.failed.append(where + "no unit test ran")
            return
        programs = {}
        for line in (folder / "testlog.json").read_text().splitlines():
            entry = json.loads(line)
            programs.setdefault(pathlib.Path(entry["command"][0]).name, []).append(entry)
        if not programs:
            self.failed.append(where + "no unit test ran")
        for program, entries in programs.items():
            xml = [p for p in sorted((folder / "gtest").glob("*.xml"))
                   if re.fullmatch(re.escape(program) + r"(_\d+)?\.xml", p.name)]
            failed = [self.add_xml(p) for p in xml]
            bad = [e for e in entries if e["result"] not in ("OK", "SKIP")]
            if not xml:
                self.passed += sum(1 for e in entries if e["result"] == "OK")
                self.skipped += [where + e["name"] for e in entries if e["result"] == "SKIP"]
                self.failed += [f"{where}{e['name']} ({e['result']})" for e in bad]
            elif None in failed or (bad and sum(failed) == 0) or len(xml) < len(entries):
                self.failed.append(f"{where}{program} died or was stopped")

    def add_pytest(self, path):
        before = self.passed + len(self.failed) + len(self.skipped)
        if self.add_xml(path) is None or self.passed + len(self.failed) + len(self.skipped) == before:
            self.failed.append(f"{path.parent.parent.parent.name}: no end-to-end test ran")

    def add_checks(self, path):
        for line in path.read_text().splitlines():
            name, status = line.split("\t")
            if status == "0":
                self.passed += 1
            else:
                self.failed.append(name)


def count(summary):
    total = Count()
    total.add_checks(summary / "checks.tsv")
    for name in (summary / "folders").read_text().splitlines():
        folder = pathlib.Path(name)
        if folder.name == "unit":
            total.add_unit(folder)
        elif folder.name == "e2e":
            total.add_pytest(folder / "pytest.xml")
        elif (folder / "checks.tsv").is_file():
            total.add_checks(folder / "checks.tsv")
        else:
            total.failed.append(f"{folder}: no results")
    return total


def main():
    total = count(pathlib.Path(sys.argv[1]))
    for name in total.skipped:
        print(f"skipped: {name}")
    for name in total.failed:
        print(f"FAILED:  {name}")
    print(f"{total.passed} passed, {len(total.failed)} failed", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
