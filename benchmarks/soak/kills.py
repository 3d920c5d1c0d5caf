"""Leaderboards that are killed again and again until they are done, for a given time.

    nice -n 15 python -m benchmarks.soak.kills --minutes 30

A command is begun, and killed, terminated or interrupted after a random time; then it
is begun again, and killed again, a random number of times, until it may come to its
end. After each kill what can be read has to be whole, and each fold that was kept
before has to be there still, untouched: it is neither lost nor computed again.
What is there at the end is compared, value by value, with what an undisturbed run
wrote, and no other file may lie beside it. Half of all rounds are leaderboards, the
others go through the other commands of ``benchmarks.files.interruptions``.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import zarr

from benchmarks._output import record, show
from benchmarks.files.interruptions import Trial, commands, prepare, undisturbed, wait

# A signal, whether the whole group gets it, and the exit codes that may follow.
KINDS = (
    (signal.SIGKILL, False, (-9,)),
    (signal.SIGTERM, False, (143, 130, -15)),
    (signal.SIGINT, True, (130,)),
)
BOARDS = ("leaderboard", "leaderboard", "leaderboard --report", "leaderboard --jobs 2")
LINES = 40  # of a log that are shown
LONGEST = 8  # kills of one round
# A trial that dies three times is given up; one that was only stopped is not.
MOST_KILLED = 2


def all_commands(at):
    """Return the commands, and leaderboards that are longer than one of two models."""
    every = commands(at)
    models = "ridge,product_kernel,additive_joint,token_mlp,context_transfer"
    board = ["leaderboard", "--data", at / "screen", "--models", models]
    every["leaderboard"] = (board, "out")
    every["leaderboard --jobs 2"] = ([*board, "--jobs", 2], "out")
    every["leaderboard --report"] = ([*board, "--report"], "out")
    return every


def kept(trial):
    """Return what names and tells apart the folds that are kept: whole and read."""
    found = {}
    for path in sorted(trial.output.glob("folds/*.json")):
        json.loads(path.read_text())  # half a fold is an error of the benchmark
        state = path.stat()
        found[path.name] = (state.st_ino, state.st_mtime_ns)
    return found


def run(name, command, place, reference, rng, kinds):
    """Kill one command until it is done; return what is wrong, and count the kills."""
    trial = Trial(name, *command, place / "round" / "work")
    found, before, code = [], {}, None
    killed = 0
    for _ in range(rng.randint(1, LONGEST)):
        open_ = [k for k in KINDS if k[0] != signal.SIGKILL or killed < MOST_KILLED]
        signum, group, allowed = rng.choice(open_)
        killed += signum == signal.SIGKILL
        pid = trial.start()
        # Sooner rather than later, so that most rounds take several kills.
        time.sleep(1.05 * rng.betavariate(1, 2) * reference["seconds"])
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, signum)
        code = wait(pid)
        refused = code == 2 and name not in BOARDS  # its output was there already
        kinds[signum.name if code not in (0, 2) else "was done before"] += 1
        wrong = trial.looked_at(0 if refused else code, reference, allowed)
        if wrong:  # what it said tells why, and the next one writes over it
            said = trial.log().splitlines()[-LINES:]
            print(f"{name}, {signum.name}:", *said, sep="\n", file=sys.stderr)
        found += wrong
        try:
            after = kept(trial)
        except ValueError as error:
            found.append(f"half a fold: {error}")
            break
        if any(after.get(fold) != state for fold, state in before.items()):
            found.append("a fold was lost, or computed again")
        before = after
        if code == 0 or refused:
            break
    found += trial.ended(code, reference)
    after = kept(trial)
    if any(after.get(fold) != state for fold, state in before.items()):
        found.append("a fold was lost, or computed again")
    if len(after) != reference["folds"]:
        found.append(f"{len(after)} folds in place of {reference['folds']}")
    shutil.rmtree(trial.place.parent)
    return found


def soak(at, minutes, only, rng):
    """Return by command rounds, kills by signal, and problems; and the minutes."""
    every = all_commands(at)
    names = [name for name in only or every if name in every]
    boards = [name for name in BOARDS if name in names]
    references, counts = {}, {}
    began = time.monotonic()
    while time.monotonic() - began < 60 * minutes:
        some = boards if boards and rng.random() < 0.5 else names
        name = rng.choice(some)
        place = at / "places" / name.replace(" ", "")
        if name not in references:
            reference = undisturbed(name, every[name], place)
            folds = list((place / "reference").glob("*/folds/*.json"))
            references[name] = reference | {"folds": len(folds)}
            counts[name] = {"rounds": 0, "kinds": Counter(), "problems": []}
        count = counts[name]
        found = run(name, every[name], place, references[name], rng, count["kinds"])
        count["rounds"] += 1
        count["problems"] += found
        if found:
            print(json.dumps([name, *found]), file=sys.stderr, flush=True)
    return counts, (time.monotonic() - began) / 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", default="", help="names, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    zarr.config.set({"threading.max_workers": 1})
    at = Path(tempfile.mkdtemp())  # which no process that is forked deletes at its end
    try:
        prepare(at)
        only = [name for name in args.only.split(",") if name]
        counts, minutes = soak(at, args.minutes, only, random.Random(args.seed))
    finally:
        shutil.rmtree(at)
    signals = [signum.name for signum, *_ in KINDS]
    rows = [
        {"command": name, "rounds": count["rounds"]}
        | {kind: count["kinds"][kind] for kind in [*signals, "was done before"]}
        | {"problems": len(count["problems"])}
        for name, count in counts.items()
    ]
    total = {key: sum(row[key] for row in rows) for key in list(rows[0])[1:]}
    show([*rows, {"command": "all"} | total])
    print(f"In {minutes:.0f} minutes.")
    record("problems", total["problems"])
    record("kills", sum(total[kind] for kind in signals))
    record("minutes", minutes, "min")
    return 1 if total["problems"] else 0


if __name__ == "__main__":
    main()
