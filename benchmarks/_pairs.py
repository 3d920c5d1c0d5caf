"""Time ours and its peers in turn, and watch a command with all of its processes.

The standard library is all that is needed to import this, since a script that uses it
is imported by the interpreters of the peers too.
"""

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks._output import record, shown
from benchmarks._peers import interpreter

SIDE = Path(__file__).with_name("_side.py")
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR", "RAYON", "POLARS_MAX")


class SideError(RuntimeError):
    """A side of a comparison failed."""


class Side:
    """A function of a script, prepared in a process of its own and called at will.

    The function gets the arguments, which JSON can hold, prepares what is not timed,
    and returns a function without arguments, which is timed. Of what that one returns,
    numbers and texts come back.
    """

    def __init__(self, script, name, arguments=(), python=sys.executable, threads=1):
        environment = dict(os.environ)
        environment |= {f"{library}_NUM_THREADS": str(threads) for library in THREADS}
        environment["POLARS_MAX_THREADS"] = str(threads)
        # What a peer says, progress bars and all, is shown if it fails.
        self._said = None
        if python != sys.executable:
            environment.pop("PYTHONPATH", None)
            self._said = tempfile.TemporaryFile("w+")
        self.name = name
        self._process = subprocess.Popen(
            [python, str(SIDE), str(script), name, json.dumps(list(arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said or sys.stderr,
            text=True,
            env=environment,
        )

    def answer(self):
        """Wait for the next answer of the process."""
        line = self._process.stdout.readline()
        if not line:
            self._say()
            raise SideError(f"{self.name} ended with {self._process.wait()}")
        found = json.loads(line)
        if "error" in found:
            self._say()
            raise SideError(f"{self.name}: {found['error']}")
        return found

    def _say(self):
        if self._said:
            self._said.seek(0)
            print(self._said.read()[-3000:], file=sys.stderr)

    def run(self):
        """Run the prepared function once; return seconds, memory and answer."""
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self.answer()

    def close(self):
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        if self._said:
            self._said.close()


def take_turns(script, sides, arguments=(), *, rounds=5, warm=1, threads=1, scale=None):
    """Run the sides in turn, and return what each round found, by side.

    Parameters
    ----------
    script : path
        The file with a function for each side; ``__file__`` as a rule.

    sides : dict of str to str or None
        Names of the functions, ours first, each with the group of peers
        (``benchmarks/peers``) in whose environment it runs. None is this environment.

    arguments : sequence
        Arguments of all sides; JSON can hold them.

    rounds : int
        Rounds that count. In each, every side runs once.

    warm : int
        Rounds before, which do not count: imports, caches and compilation.

    threads : int
        Threads of each process.

    scale : dict of str to float, default=None
        What the seconds of a side that does a part of the work are multiplied by.

    Returns
    -------
    dict of str to list of dict
        ``seconds``, ``cpu``, ``peak_mb``, ``grown_mb`` and ``answer`` of each round. A
        peer whose environment is missing is None, and so is one that fails; why is
        printed to the standard error. If our own side fails, that is an error.
    """
    open_sides, found = {}, {}
    first = next(iter(sides))
    try:
        for name, group in sides.items():
            python = interpreter(group) if group else sys.executable
            found[name] = None
            if python is None:
                print(f"{name}: no environment {group!r} (--peers)", file=sys.stderr)
                continue
            side = Side(script, name, arguments, str(python), threads)
            open_sides[name] = side
            found[name] = []
            _try(side, side.answer, found, open_sides, first)
        for turn in range(warm + rounds):
            for name, side in list(open_sides.items()):
                answer = _try(side, side.run, found, open_sides, first)
                if answer is not None and turn >= warm:
                    for key in ("seconds", "cpu"):
                        answer[key] *= (scale or {}).get(name, 1)
                    found[name].append(answer)
    finally:
        for side in open_sides.values():
            side.close()
    return found


def _try(side, call, found, open_sides, first):
    """Call; a peer that fails is left out, and our side's failure is an error."""
    try:
        return call()
    except SideError as error:
        if side.name == first:
            raise
        print(f"left out: {error}", file=sys.stderr)
        found[side.name] = None
        open_sides.pop(side.name).close()
        return None


def median(runs, field="cpu"):
    """Return the median of a field over rounds."""
    return statistics.median(run[field] for run in runs)


def ratios(ours, theirs, field="cpu"):
    """Return (median, least, most) of theirs over ours, round by round."""
    found = [
        b[field] / a[field] if a[field] > 0 else math.inf
        for a, b in zip(ours, theirs, strict=True)
    ]
    return statistics.median(found), min(found), max(found)


def ratio_rows(found, name=None, **columns):
    """Return a table of sides: medians, memory, and how many times ours they take.

    With `name`, the numbers are recorded under it too: ``name`` for ours, and
    ``name/peer`` for the ratio to each peer. Other arguments are columns.
    """
    first = next(iter(found))
    ours = found[first]
    rows = []
    for side, runs in found.items():
        row = {**columns, "package": side}
        if runs is None:
            row |= {"CPU s": "not run", "wall s": "", "times ours": "", "peak MB": ""}
            rows.append(row)
            continue
        row |= {
            "CPU s": shown(median(runs)),
            "wall s": shown(median(runs, "seconds")),
            "times ours": "1",
            "peak MB": f"{max(run['peak_mb'] for run in runs):.0f}",
        }
        if side != first:
            middle, low, high = ratios(ours, runs)
            row["times ours"] = f"{shown(middle)} ({shown(low)} to {shown(high)})"
            if name:
                record(f"{name}/{side}", middle, "times ours", low=low, high=high)
        elif name:
            record(name, median(runs), "CPU s", peak_mb=median(runs, "peak_mb"))
        rows.append(row)
    return rows


def watched(command, **options):
    """Run a command; return its wall and processor seconds and its peak memory in GB.

    The memory is the resident one of the process and all of its children together, a
    page that several of them share counted once. Raises `SystemExit` if the command
    fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, **options)
    peak = 0.0

    def watch():
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, _family_memory(process.pid))
            # Looking costs time too: less often in a long run.
            time.sleep(min(5, 0.02 + (time.perf_counter() - start) / 100))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - start
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(map(str, command[:4]))} ... ended with {code}.")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used, peak / 2**30


def _family_memory(pid):
    """Return the bytes of a process and its children."""
    import psutil

    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        known = [member.memory_full_info() for member in family]
        return sum(getattr(found, "pss", found.rss) for found in known)
    except psutil.Error:  # one of them has just ended
        return 0.0
