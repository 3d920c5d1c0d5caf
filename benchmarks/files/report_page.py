"""How large the page of a leaderboard is, and how long it takes to write and to open.

Runs a leaderboard with some models, then `sklperturb report` on what it kept, and opens
the page where there is a Chromium (see `report_opens`).

    python -m benchmarks.files.report_page [--data FOLDER] [--models ridge,gene_mean]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._output import record, show
from benchmarks._pairs import watched
from benchmarks.files.report_opens import installed, opened

MODELS = "no_change,gene_mean,context_mean,additive,additive_joint,ridge,product_kernel"


def main():
    """Print a table."""
    from sklperturb.datasets import make_chemical_screen, write_screen

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a screen in the layout of OP2")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--genes", type=int, default=2000, help="of a generated screen")
    options = parser.parse_args()
    program = [sys.executable, "-m", "sklperturb", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        label, data = "generated", options.data
        if data is None:
            data = Path(folder, "screen")
            screen = make_chemical_screen(n_genes=options.genes, random_state=0)
            write_screen(data, screen)
        else:
            label = data.name
        out = Path(folder, "out")
        leaderboard = ["leaderboard", "--data", data, "--output", out, "--report"]
        leaderboard += ["--models", options.models]
        subprocess.run(
            [*program, *map(str, leaderboard)], check=True, stdout=subprocess.DEVNULL
        )
        page = Path(folder, "report.html")
        command = [*program, "report", str(out), "--output", str(page)]
        seconds, cpu, peak = watched(command, stdout=subprocess.DEVNULL)
        size = page.stat().st_size / 1e6
        looks = [opened(page, 1280, "light") for _ in range(3)] if installed() else []
    record(f"{label}: size", size, "MB")
    record(f"{label}: write", cpu, "CPU s", wall=seconds)
    row = {"screen": label, "models": options.models.count(",") + 1, "MB": size}
    row |= {"s to write": seconds, "CPU s": cpu, "peak GB": peak}
    if looks:
        drawn = statistics.median(look["drawn"] for look in looks)
        record(f"{label}: open", drawn, "s")
        row["s to the first rows"] = drawn
    show([row])


if __name__ == "__main__":
    main()
