"""Time and memory of the whole leaderboard at the true size of OP2.

Generates a screen with OP2's design (614 rows to learn from, 255 to predict, 18,211
genes), then runs the same commands as a user and reports the wall time and the peak
memory of each process.

    python benchmarks/leaderboard_op2_size.py [--models a,b] [--jobs 1]
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil


def run(*arguments):
    """Run a command of sklperturb; return its seconds and peak memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "sklperturb", *arguments])
    peak = 0

    def watch():
        nonlocal peak
        root = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [root, *root.children(recursive=True)]
                peak = max(peak, sum(p.memory_info().rss for p in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait():
        sys.exit(process.returncode)
    watcher.join()
    return time.perf_counter() - start, peak / 2**30


def main():
    """Print the leaderboard and what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models")
    parser.add_argument("--jobs", default="1")
    options = parser.parse_args()
    chosen = ["--models", options.models] if options.models else []
    with tempfile.TemporaryDirectory() as folder:
        data, results = Path(folder, "screen"), Path(folder, "results")
        costs = {"simulate": run("simulate", "--output", str(data))}
        costs["leaderboard"] = run(
            *("leaderboard", "--data", str(data), "--output", str(results)),
            *("--jobs", options.jobs, *chosen),
        )
        costs["submit product_kernel"] = run(
            *("submit", "--data", str(data), "--model", "product_kernel"),
            *("--output", str(Path(folder, "submission.csv"))),
        )
    print("| command | seconds | peak memory, GB |\n|---|---|---|")
    for name, (seconds, peak) in costs.items():
        print(f"| {name} | {seconds:.0f} | {peak:.1f} |")


if __name__ == "__main__":
    main()
