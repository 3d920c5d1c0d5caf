"""Hundreds of trials from several processes on one journal: is any lost or doubled?

    python -m benchmarks.soak.study --trials 500 --processes 4 --kills 6

`tune` runs in several processes at once on one journal, undisturbed; then again, while
processes are killed at random and started anew. The journal is read line by line,
without Optuna: every position has one finished trial, each of whose folds has one
result; the best one is what every process has written; trials agree with those that one
process alone tries, as far as those are asked for (``--alone``). Processor time has the
start of the command in it; what a search adds to its folds is measured by
``benchmarks.search.tuning_overhead``.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import sklperturb.tuning  # noqa: F401
from benchmarks._output import record, show
from benchmarks.files.interruptions import start, wait

FOLDS = 3
POSITION, DISCARDED = "sklperturb:position", "sklperturb:discarded"
FOLD = "sklperturb:fold:"
# Of Optuna's journal: the codes of its lines, and of a trial's states.
CREATE, STATE, ATTRIBUTE = 4, 6, 8
COMPLETE = 1


def in_a_child(arguments, log):
    """Run a command to its end in a process of its own."""
    code = wait(start(arguments, log))
    assert code == 0, log.read_text()


def tune(at, folder, n_trials, journal):
    """Return the arguments of one process of the search."""
    return [
        *("tune", "--data", at / "screen", "--model", "ridge", "--cv", "unseen-pair"),
        *("--n-splits", FOLDS, "--pruner", "none", "--n-trials", n_trials),
        *("--storage", journal, "--output", folder),
    ]


class Search:
    """One study that several processes fill."""

    def __init__(self, at, name, n_trials, n_processes):
        self.at, self.n_trials = at, n_trials
        self.place = at / name
        self.place.mkdir()
        self.journal = self.place / "study.log"
        self.pids = {}
        self.seconds = self.cpu = 0.0
        self.kills = 0
        for number in range(n_processes):
            self.begin(number)

    def begin(self, number):
        folder = self.place / f"process{number}"
        arguments = tune(self.at, folder, self.n_trials, self.journal)
        self.pids[number] = start(arguments, self.place / f"log{number}")

    def finished(self):
        """Return about how many trials are finished: states that the journal tells."""
        if not self.journal.exists():
            return 0
        return self.journal.read_bytes().count(f'"op_code":{STATE}'.encode())

    def run(self, kills, rng):
        """Wait for all processes; kill some at random shares of the trials."""
        began = time.monotonic()
        shares = sorted(rng.uniform(0.02, 0.95) for _ in range(kills))
        codes = {}
        while len(codes) < len(self.pids):
            time.sleep(0.2)
            for number, pid in self.pids.items():
                if number not in codes:
                    done, status, used = os.wait4(pid, os.WNOHANG)
                    if done:
                        self.cpu += used.ru_utime + used.ru_stime
                        codes[number] = os.waitstatus_to_exitcode(status)
            alive = [n for n in self.pids if n not in codes]
            if shares and alive and self.finished() >= shares[0] * self.n_trials:
                shares.pop(0)
                number = rng.choice(alive)
                os.killpg(self.pids[number], signal.SIGKILL)
                used = os.wait4(self.pids[number], 0)[2]
                self.cpu += used.ru_utime + used.ru_stime
                self.kills += 1
                shutil.rmtree(self.place / f"process{number}", ignore_errors=True)
                self.begin(number)
        self.seconds = time.monotonic() - began
        return codes


class Journal:
    """What the lines of a journal say."""

    def __init__(self, path):
        data = path.read_bytes()
        self.partial = 0 if data.endswith(b"\n") else 1
        self.trials, self.damaged = [], 0
        for line in data.splitlines():
            try:
                self._read(json.loads(line))
            except ValueError:
                self.damaged += 1

    def _read(self, line):
        code = line["op_code"]
        if code == CREATE:
            attrs = dict(line.get("user_attrs") or {})
            self.trials.append(
                {
                    "attrs": attrs,
                    "params": line.get("params") or {},
                    "value": None,
                    "ends": 0,
                    "folds": Counter(k for k in attrs if k.startswith(FOLD)),
                    "began": line.get("datetime_start"),
                }
            )
        elif code == STATE and line["state"] == COMPLETE:
            trial = self.trials[line["trial_id"]]
            trial["value"] = line["values"][0]
            trial["ends"] += 1
        elif code == ATTRIBUTE:
            trial = self.trials[line["trial_id"]]
            trial["attrs"] |= line["user_attr"]
            trial["folds"].update(k for k in line["user_attr"] if k.startswith(FOLD))

    def complete(self):
        """Return the finished trials by position, those that were given up left out."""
        found = defaultdict(list)
        for trial in self.trials:
            if trial["ends"] and DISCARDED not in trial["attrs"]:
                found[trial["attrs"][POSITION]].append(trial)
        return found


def problems(search, codes):
    """Return what is wrong with a study that came to its end."""
    journal = Journal(search.journal)
    found = [f"code {code}" for code in codes.values() if code]
    complete = journal.complete()
    lost = set(range(search.n_trials)) - set(complete)
    more = set(complete) - set(range(search.n_trials))
    doubled = [position for position, trials in complete.items() if len(trials) > 1]
    for what, numbers in (("lost", lost), ("too many", more), ("doubled", doubled)):
        if numbers:
            found.append(f"{what}: {sorted(numbers)[:5]}")
    if journal.partial or journal.damaged:
        found.append(f"{journal.partial + journal.damaged} lines are not whole")
    for position, trials in complete.items():
        counts = trials[0]["folds"]
        whole = {f"{FOLD}{fold}" for fold in range(FOLDS)}
        if trials[0]["ends"] != 1 or set(counts) != whole or max(counts.values()) > 1:
            found.append(f"trial {position} has folds {dict(counts)}")
    best = max(trial["value"] for trials in complete.values() for trial in trials)
    for path in sorted(search.place.glob("process*/best.json")):
        told = json.loads(path.read_text())
        if told["trials"] != search.n_trials or abs(told["score"] + best) > 1e-12:
            found.append(f"{path.parent.name} says {told['score']}, best is {-best}")
    told = len(list(search.place.glob("process*/best.json")))
    if told != len(codes):
        found.append(f"{told} of {len(codes)} processes wrote what is best")
    known = {"study.log", *(f"log{n}" for n in codes), *(f"process{n}" for n in codes)}
    left = {path.name for path in search.place.iterdir()} - known
    if left:
        found.append(f"left {sorted(left)}")
    return found, journal


def tried(journal):
    """Return the parameters and the value of each position."""
    return {
        position: (json.dumps(trials[0]["params"], sort_keys=True), trials[0]["value"])
        for position, trials in journal.complete().items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--alone", type=int, default=60, help="trials of one process")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    rows, every = [], []
    at = Path(tempfile.mkdtemp())  # which no process that is forked deletes at its end
    try:
        size = ["--n-contexts", 3, "--n-compounds", 12, "--n-genes", 24]
        in_a_child(["simulate", *size, "--output", at / "screen"], at / "log")
        runs = [("undisturbed", args.trials, args.processes, 0)]
        runs += [("killed", args.trials, args.processes, args.kills)]
        runs += [("one process", args.alone, 1, 0)] if args.alone else []
        before = {}
        for name, n_trials, n_processes, kills in runs:
            search = Search(at, name.replace(" ", ""), n_trials, n_processes)
            wrong, journal = problems(search, search.run(kills, rng))
            trials = tried(journal)
            same = [trials[p] == before[p] for p in trials if p in before]
            before = before or trials
            rows.append(
                {
                    "run": name,
                    "processes": n_processes,
                    "kills": search.kills,
                    "finished": len(trials),
                    "begun": len(journal.trials),
                    "as undisturbed": f"{sum(same)} of {len(same)}" if same else "",
                    "problems": len(wrong),
                    "seconds": search.seconds,
                    "CPU ms per trial": 1000 * search.cpu / n_trials,
                }
            )
            every += wrong
            print(json.dumps(wrong), flush=True) if wrong else None
    finally:
        shutil.rmtree(at)
    show(rows)
    record("problems", len(every))
    record("trials", rows[0]["finished"])
    record("trial", rows[0]["CPU ms per trial"], "CPU ms")
    return 1 if every else 0


if __name__ == "__main__":
    main()
