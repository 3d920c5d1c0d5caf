"""Stop every long command at random points, and look at what is left.

A command is killed, interrupted, terminated, runs into a full disk, or runs twice at
once. Then it is run again to its end, and what it wrote is compared, value by value,
with what an undisturbed run wrote. Everything is forked from one process that has
imported the libraries, so that signals hit the work and not the start of Python.

    python -m benchmarks.files.interruptions --kills 20 --interrupts 10

The limit on disk space is that on the size of a file; as root, a small tmpfs too.
"""

import argparse
import atexit
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import zarr

import sklperturb.comparison
import sklperturb.evaluation
import sklperturb.models
import sklperturb.tuning  # noqa: F401
from benchmarks._machine import worked
from benchmarks._output import show
from sklperturb.__main__ import main as program
from sklperturb.datasets import make_genetic_screen
from sklperturb.embedding import SECheckpoint

OUT = "out"
# Columns that differ between any two runs; a trial begun again has another number.
MEASURED = "seconds|memory|_time|_mb|^trial$|^date$|^command$"
LIMIT = 300  # seconds that a command may work, or do nothing


def make_inputs(folder):
    """Write what the commands read."""
    sizes = {"cells_per_perturbation": 40, "n_controls": 120, "n_batches": 3}
    screen = make_genetic_screen(8, 60, **sizes, embedding_dim=8, random_state=0)
    cells = screen.y.copy()
    cells.obs["cell_line"] = np.where(np.arange(cells.n_obs) % 2, "K562", "RPE1")
    cells.write_h5ad(folder / "cells.h5ad")
    screen.gene_embedding.to_parquet(folder / "genes.parquet")
    names = sorted(set(cells.obs["target_gene"]) - {"control"})
    (folder / "wanted.txt").write_text("\n".join(names[:5]))
    counts = np.random.default_rng(0).poisson(20.0, (400, 50)).astype("float32")
    genes = pd.DataFrame(index=[f"GENE{i + 1}" for i in range(50)])
    anndata.AnnData(counts, var=genes).write_h5ad(folder / "embed.h5ad")
    SECheckpoint.create(folder / "small.ckpt", random_state=0)


def commands(at):
    """Return {name: (arguments, name of the output)}."""
    data, cells = ["--data", at / "screen"], at / "cells.h5ad"
    board = ["leaderboard", *data, "--models", "ridge,transformer"]
    search = ["tune", *data, "--model", "ridge", "--n-trials", 6, "--pruner", "none"]
    signature = ["--min-cells", 2, "--min-count", 0, "--hold-out-share", 0.2]
    size = ["--n-contexts", 3, "--n-compounds", 16, "--n-genes", 60]
    embed = ["embed", at / "embed.h5ad", "--checkpoint", at / "small.ckpt"]
    embed += ["--chunk-size", 20, "--device", "cpu"]
    fit = ["fit-cells", cells, "--embedding", at / "genes.parquet"]
    fit += ["--max-steps", 200, "--n-components", 8]
    predict = ["predict-cells", at / "model.skpt", "--perturbations", at / "wanted.txt"]
    evaluate = ["evaluate", "--real", cells, "--pred", cells]
    kept = ["predict", at / "ridge.skpt", "--conditions", at / "screen" / "id_map.csv"]
    return {
        "simulate": (["simulate", *size], OUT),
        "leaderboard": (board, OUT),
        "leaderboard --jobs 2": ([*board, "--jobs", 2], OUT),
        "tune": (search, OUT),
        "tune --jobs 2": ([*search, "--jobs", 2], OUT),
        "report": (["report", at / "board"], "report.html"),
        "fit": (["fit", *data, "--model", "ridge"], "ridge.skpt"),
        "predict": (kept, "out.parquet"),
        "submit": (["submit", *data, "--model", "transformer"], "out.csv"),
        "signatures": (["signatures", cells, *signature], OUT),
        "embed": (embed, "out.h5ad"),
        "fit-cells": (fit, "out.skpt"),
        "predict-cells": (predict, "out.h5ad"),
        "evaluate": (evaluate, OUT),
    }


def start(arguments, log, largest=None):
    """Run the program in a process of its own session; return its number."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    # A signal that comes before the program is there waits for it.
    blocked = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        os.close(file)
        return pid
    os.setsid()
    os.dup2(file, 1)
    os.dup2(file, 2)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.argv = ["sklperturb", *map(str, arguments)]
    code = 1
    # Ignored in what a shell has started in the background, and so in its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    except KeyboardInterrupt:  # it came before the program was there
        os._exit(128 + signal.SIGINT)
    try:
        program()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        threading._shutdown()  # as at the end of Python: workers are told to go
        atexit._run_exitfuncs()
        sys.stdout.flush()
    os._exit(code)


def wait(pid):
    """Return the exit code of a process, negative for a signal.

    What hangs does nothing, or works without end: the clock on the wall cannot tell it
    from what waits for a processor.
    """
    used, until = 0.0, time.monotonic() + LIMIT
    while used < LIMIT and time.monotonic() < until:
        for _ in range(100):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        before, used = used, worked(pid)
        if used > before:
            until = time.monotonic() + LIMIT
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"


def content(path):
    """Return {file: hash of its values}, without what differs between any two runs."""
    found = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file() and "folds" not in file.parts[-2:-1]:
            read = READERS.get(file.suffix)
            if read is not None and ".unfinished" not in str(file.relative_to(path)):
                try:
                    value = read(file)
                except Exception as error:  # half a file is what is looked for
                    value = repr(error).encode()
                found[file.name] = hashlib.sha256(value).hexdigest()[:12]
    return found


def _table(read):
    def values(path):
        table = read(path)
        return table.loc[:, ~table.columns.str.contains(MEASURED)].to_csv().encode()

    return values


def _h5ad(path):
    parts = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: parts.append(
                name.encode() + np.asarray(item[()]).tobytes()
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb"
                else f"{name} {item}".encode()
            )
        )
    return b"".join(parts)


def _npz(path):
    with np.load(path) as file:
        return b"".join(name.encode() + file[name].tobytes() for name in file.files)


def _json(path):
    return json.dumps(_lasting(json.loads(path.read_text()))).encode()


def _lasting(document):
    if isinstance(document, dict):
        lasting = {k: v for k, v in document.items() if not re.search(MEASURED, k)}
        return {key: _lasting(value) for key, value in lasting.items()}
    return [*map(_lasting, document)] if isinstance(document, list) else document


def _html(path):
    """Return sorted lines, without the command and what is measured."""
    text = re.sub(rb"<dt>command</dt><dd>.*?</dd>", b"", path.read_bytes())
    text = re.sub(rb"[-\d.:e]+", b"", text)
    return b"\n".join(sorted(text.split(b"\n")))


def _skpt(path):
    with zipfile.ZipFile(path) as file:  # the manifest says when it was written
        assert file.testzip() is None and "manifest.json" in file.namelist()
        return file.read("arrays.safetensors")


READERS = {
    ".csv": _table(pd.read_csv),
    ".parquet": _table(pd.read_parquet),
    ".h5ad": _h5ad,
    ".npz": _npz,
    ".skpt": _skpt,
    ".json": _json,
    ".html": _html,
}


class Trial:
    """One command in a fresh folder."""

    def __init__(self, name, arguments, output, place):
        self.name, self.place = name, place
        place.mkdir(parents=True, exist_ok=True)
        self.output = place / output
        self.arguments = [*arguments, "--output", self.output]

    def start(self, largest=None, log="log"):
        return start(self.arguments, self.place.parent / log, largest)

    def log(self, log="log"):
        return (self.place.parent / log).read_text(errors="replace")

    def files(self):
        return {
            str(p.relative_to(self.place))
            for p in self.place.rglob("*")
            if p.parent.name != "folds" and not p.name.startswith("study.log")
        }

    def problems(self, code, reference, allowed):
        """Return what is wrong after a disturbed run, and after running it again."""
        return self.looked_at(code, reference, allowed) + self.ended(code, reference)

    def looked_at(self, code, reference, allowed):
        """Return what is wrong with what a disturbed run has left."""
        found = []
        if code not in (0, *allowed):
            found.append(f"code {code}")
        if "Traceback" in self.log() and code != -signal.SIGTERM:
            found.append("traceback")
        for name, value in content(self.output).items() if self.output.exists() else ():
            if reference["content"].get(name) != value:
                found.append(f"half a {name}")
        return found

    def ended(self, code, reference):
        """Run it again, and return what is wrong with what it then has written."""
        found = []
        again = wait(self.start(log="again"))
        refused = again == 2 and re.search("exists|already holds", self.log("again"))
        if refused and content(self.output) != reference["content"]:
            # Stopped between two files of several: whose they are, the user must say.
            again = wait(
                start([*self.arguments, "--overwrite"], self.place.parent / "again")
            )
        if again != 0 and code != 0 and not refused:
            last = self.log("again").strip().splitlines()[-1:]
            found.append(f"again: code {again} {last}")
        if not self.output.exists() or content(self.output) != reference["content"]:
            found.append("differs")
        more = self.files() - reference["files"]
        if refused:  # what is unfinished beside a whole output goes with the next one
            more = {name for name in more if ".unfinished" not in name}
        if more:
            found.append(f"left {sorted(more)[:3]}")
        return found


def undisturbed(name, command, place):
    trial = Trial(name, *command, place / "reference")
    began = time.monotonic()
    code = wait(trial.start())
    assert code == 0, trial.log()
    size = max(p.stat().st_size for p in trial.place.rglob("*") if p.is_file())
    seconds = time.monotonic() - began
    found = {"content": content(trial.output), "files": trial.files()}
    return found | {"seconds": seconds, "largest": size}


@contextlib.contextmanager
def small_disk(place, size):
    place.mkdir()
    options = f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def disturb(name, command, place, counts, rng):
    """Yield (disturbance, problems) of all runs of a command."""
    reference = undisturbed(name, command, place)
    kinds = (("kill -9", signal.SIGKILL, (-9,)), ("Ctrl-C", signal.SIGINT, (130,)))
    kinds += (("SIGTERM", signal.SIGTERM, (143, 130, -15)),)
    for (kind, signum, allowed), count in zip(kinds, counts, strict=True):
        for i in range(count):
            trial = Trial(name, *command, place / f"{signum}-{i}" / "work")
            seconds = rng.uniform(0, 1.05) * reference["seconds"]
            pid = trial.start()
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if kind == "Ctrl-C" else os.kill)(pid, signum)
            yield kind, trial.problems(wait(pid), reference, allowed)
            shutil.rmtree(trial.place.parent)
    trial = Trial(name, *command, place / "limit" / "work")
    code = wait(trial.start(largest=max(4096, reference["largest"] // 2)))
    yield "full disk", trial.problems(code, reference, (2,))
    if os.geteuid() == 0:
        parent = place / "small"
        with small_disk(parent, max(4096, reference["largest"] // 2)):
            full = Trial(name, *command, parent / "work")
            full_code = wait(start(full.arguments, place / "log"))
        yield "full disk", [] if full_code == 2 else [f"code {full_code}"]
    trial = Trial(name, *command, place / "two" / "work")
    pids = [trial.start(log="log"), trial.start(log="second")]
    codes = sorted(map(wait, pids))
    wrong = [] if codes in ([0, 0], [0, 2]) else [f"codes {codes}"]
    yield "two at once", wrong + trial.problems(0, reference, ())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--interrupts", type=int, default=10)
    parser.add_argument("--terminations", type=int, default=5)
    parser.add_argument("--only", default="", help="names, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = (options.kills, options.interrupts, options.terminations)
    zarr.config.set({"threading.max_workers": 1})
    rows = []
    at = Path(tempfile.mkdtemp())  # which no process that is forked deletes at its end
    try:
        prepare(at)
        for name, command in commands(at).items():
            if options.only and name not in options.only.split(","):
                continue
            rng, runs = random.Random(f"{options.seed} {name}"), {}
            place = at / name.replace(" ", "")
            for kind, problems in disturb(name, command, place, counts, rng):
                runs.setdefault(kind, []).append(problems)
                if problems:
                    print(json.dumps([name, kind, problems]), flush=True)
            rows.append({"command": name} | {k: _summary(v) for k, v in runs.items()})
            print(json.dumps(rows[-1]), flush=True)
    finally:
        shutil.rmtree(at)
    show(pd.DataFrame(rows))


def _summary(runs):
    return f"{sum(not problems for problems in runs)} of {len(runs)}"


def prepare(at):
    """Write the inputs, in processes of their own: this one has to stay forkable."""
    pid = os.fork()
    if not pid:
        make_inputs(at)
        os._exit(0)
    assert wait(pid) == 0
    every = commands(at)
    for name, output in (
        ("simulate", "screen"),
        ("fit-cells", "model.skpt"),
        ("leaderboard", "board"),
        ("fit", "ridge.skpt"),
    ):
        arguments = [*every[name][0], "--output", at / output]
        code = wait(start(arguments, at / "log"))
        assert code == 0, (at / "log").read_text()


if __name__ == "__main__":
    main()
