"""Try the corpus, and print a table of what came out: python -m tests.robustness."""

import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path

from tests.robustness import inputs
from tests.robustness.cases import Bench
from tests.robustness.corpus import CASES
from tests.robustness.runner import Runner

COLUMNS = ("refused", "accepted", "warned", "reported", "wrong")


def main():
    """Try all cases; the exit code is 1 if one of them is wrong."""
    warnings.simplefilter("ignore")
    found, seconds, wrong_ones = defaultdict(Counter), Counter(), []
    with tempfile.TemporaryDirectory() as folder, Runner(_new(folder, "a")) as runner:
        good = _new(folder, "good")
        inputs.write_all(good)
        bench = Bench(good, runner)
        for case in CASES:
            start = time.perf_counter()
            outcome, wrong = bench.try_case(case)
            seconds[case.kind] += time.perf_counter() - start
            found[case.kind][_column(case, outcome, wrong)] += 1
            if wrong:
                wrong_ones.append(f"{case.id}: {'; '.join(wrong)}")
    _print(found, seconds)
    print(*wrong_ones, sep="\n", file=sys.stderr)
    return 1 if wrong_ones else 0


def _new(folder, name):
    made = Path(folder, name)
    made.mkdir()
    return made


def _column(case, outcome, wrong):
    if wrong:
        return "wrong"
    if case.expect.kind == "survived":
        return "accepted" if outcome.code == 0 else "refused"
    return case.expect.kind


def _print(found, seconds):
    print(f"| kind of file | cases | {' | '.join(COLUMNS)} | seconds |")
    print(f"|---|{'---:|' * (len(COLUMNS) + 2)}")
    total = Counter()
    for kind, counts in found.items():
        _print_row(kind, counts, seconds[kind])
        total.update(counts)
    _print_row("all", total, sum(seconds.values()))


def _print_row(name, counts, seconds):
    cells = [name, counts.total(), *(counts[c] for c in COLUMNS), f"{seconds:.1f}"]
    print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    sys.exit(main())
