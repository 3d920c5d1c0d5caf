"""What importing the package takes, and what it brings along.

Each import is a new interpreter; seconds are of the processor, above what Python alone
takes, and medians of rounds in turn. What is heavy and not there yet is imported by the
function that needs it.

    python -m benchmarks.files.import_time [--runs 5]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

from benchmarks._output import record, show

HEAVY = ("torch", "matplotlib", "anndata", "optuna", "sklearn", "pandas", "scipy")
IMPORTS = (
    "sklperturb",
    "sklperturb.datasets",
    "sklperturb.models",
    "sklperturb.comparison",
    "sklperturb.neural_network",
    "sklperturb.cli",
    "sklearn.ensemble",
    "pandas",
    "torch",
    "anndata",
)
LOOK = """
import json, sys
import {name}
print(json.dumps([m for m in {heavy} if m in sys.modules]))
"""


def once(code):
    """Run code in a new interpreter; return (wall seconds, CPU seconds, output)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, run.stdout


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    codes = {"": "pass"}
    codes |= {name: LOOK.format(name=name, heavy=HEAVY) for name in IMPORTS}
    found = {name: [] for name in codes}
    for turn in range(options.runs + 1):
        for name, code in codes.items():
            result = once(code)
            if turn:  # the first one finds files that are not cached
                found[name].append(result)
    rows = []
    bare = [statistics.median(run[i] for run in found[""]) for i in range(2)]
    for name in IMPORTS:
        wall, cpu = (
            max(0.0, statistics.median(run[i] for run in found[name]) - bare[i])
            for i in range(2)
        )
        loaded = json.loads(found[name][0][2])
        record(f"import {name}", cpu, "CPU s", wall=wall)
        if name == "sklperturb":
            heavy = {"torch", "matplotlib", "anndata"} & set(loaded)
            record("heavy modules of sklperturb", len(heavy))
        rows.append(
            {"import": f"`{name}`", "CPU s": cpu, "s": wall, "loads": ", ".join(loaded)}
        )
    show(rows)


if __name__ == "__main__":
    main()
