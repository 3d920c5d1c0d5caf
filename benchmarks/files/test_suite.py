"""How long the tests take, a folder after another.

Runs what `make test` runs, on as many processes as asked for, and adds up what each
test took. Arguments after ``--`` go to pytest.

    python -m benchmarks.files.test_suite [--workers 2] [-- tests/metrics]
"""

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import Counter
from pathlib import Path

from benchmarks._output import record, show
from benchmarks._pairs import watched

ROOT = Path(__file__).parents[2]


def folder_of(case):
    """Return the folder of tests that a case is from."""
    parts = case.get("classname", "").split(".")
    return "/".join(parts[:2]) if parts[0] == "tests" else "docstrings"


def by_folder(report):
    """Return ({folder: seconds}, {folder: tests}) of a report of pytest."""
    seconds, tests = Counter(), Counter()
    for case in xml.parse(report).getroot().iter("testcase"):
        seconds[folder_of(case)] += float(case.get("time", 0))
        tests[folder_of(case)] += 1
    return seconds, tests


def failed_in(report):
    """Return the names of the tests of a report that failed, or broke off."""
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in xml.parse(report).getroot().iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]


def main():
    """Print a table; tests that failed, which take other times, are named below it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        if options.workers > 1:
            command += ["-n", str(options.workers), "--dist", "worksteal"]
        wall, cpu, peak = watched(
            [*command, *options.paths], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        seconds, tests = by_folder(report)
        failed = failed_in(report)
    record("minutes", wall / 60, "min", cpu=cpu, peak_gb=peak, tests=tests.total())
    show(
        [
            {"tests": tests.total(), "failed": len(failed), "wall s": wall}
            | {"CPU s": cpu, "peak GB": peak, "processes": options.workers}
        ]
    )
    show(
        {"folder": name, "tests": tests[name], "s": seconds[name]}
        for name, _ in seconds.most_common()
    )
    print(*(f"failed: {name}" for name in failed), sep="\n")


if __name__ == "__main__":
    main()
