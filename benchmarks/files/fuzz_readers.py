"""Damage inputs at random for a given time, and look at what every reader does.

    pip install hypothesis
    python -m benchmarks.files.fuzz_readers --minutes 30 > table.md

Good inputs of every kind are changed in ways that fit the kind: bytes are flipped, cut
off, moved and repeated; fields of tables, values of documents, and data sets,
attributes, types and shapes inside archives are replaced by what programs stumble over.
Each goes through a reader in a child process with a limit of memory and of time, as in
``tests/robustness``. A finding is a traceback, a signal, a run that does not end, an
error that is no single line or does not say where, a file outside, and a result
that is not finite or, where the file has checksums, another one. Findings are told
apart by reader and message, and the inputs of each first one are kept in a folder.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.files.fuzzing import EDITS
from tests.robustness import inputs
from tests.robustness.cases import Bench, result_of
from tests.robustness.entries import ENTRIES
from tests.robustness.runner import Runner

# Inputs of one reader before the next one's turn.
ROUND = 12
# File, the ways in, the kinds of changes.
TARGETS = [
    ("op2/id_map.csv", ["load_op2"], ["bytes", "text"]),
    ("op2/sample_submission.csv", ["load_op2"], ["text"]),
    ("op2/de_train.parquet", ["load_op2"], ["bytes"]),
    ("h5/de_train.h5ad", ["load_op2 h5ad"], ["bytes", "store"]),
    ("wanted.csv", ["predict-cells csv"], ["text"]),
    ("wanted.txt", ["predict-cells txt"], ["bytes", "text"]),
    ("map.tsv", ["embed --gene-map"], ["text"]),
    ("sets.gmt", ["GeneSetEncoder"], ["bytes", "text"]),
    ("split.json", ["load_split json"], ["text", "document"]),
    ("split.toml", ["load_split toml"], ["bytes", "text"]),
    ("split.csv", ["load_split csv"], ["text"]),
    ("best.json", ["submit --params"], ["text", "document"]),
    ("checkpoint/config.yaml", ["SECheckpoint folder"], ["text", "document"]),
    ("table.npz", ["LookupEmbedding npz"], ["bytes", "members", "arrays"]),
    ("table.parquet", ["LookupEmbedding parquet"], ["bytes"]),
    ("table.safetensors", ["LookupEmbedding safetensors"], ["bytes", "tensors"]),
    ("kept.skpt", ["load kept"], ["bytes", "members", "model", "model"]),
    ("trees.skpt", ["load trees"], ["bytes", "members", "model", "model"]),
    ("boosted.skpt", ["load boosted"], ["bytes", "members", "model", "boosters"]),
    ("small.ckpt", ["SECheckpoint"], ["bytes", "members"]),
    ("checkpoint/model.safetensors", ["SECheckpoint folder"], ["bytes", "tensors"]),
    ("model.skpt", ["predict-cells csv"], ["bytes", "members", "model", "model"]),
    (
        "cells.h5ad",
        [f"{name} h5ad" for name in ("describe", "load_perturbseq", "signatures")]
        + ["load_perturbseq backed h5ad", "embed h5ad", "fit-cells h5ad"],
        ["bytes", "store", "store"],
    ),
    ("cells.zarr", ["load_perturbseq zarr", "signatures zarr"], ["store", "folder"]),
    ("pred.h5ad", ["evaluate pred"], ["bytes", "store"]),
    ("embedded.h5ad", ["fit-cells obsm"], ["store"]),
]  # fmt: skip
# Of the tables in the files, and what asks for more of them than they have: a message
# that names one says where to look.
COLUMNS = ("'target_gene'", "'cell_type'", "'donor'", "'sm_name'", "'control'")
COLUMNS += ("min_replicates", "min_cells", "min_count", "min_size", "learning_rate")
# To read all of an HDF5 file with its own library and nothing else.
READ_ALL = """
import contextlib, sys, h5py
def read(name, element):
    with contextlib.suppress(Exception):
        dict(element.attrs)
        element[()]
with contextlib.suppress(Exception), h5py.File(sys.argv[1]) as file:
    read("/", file)
    file.visititems(read)
"""
# Kinds of files with checksums: what was only flipped is found.
CHECKED = (".npz", ".ckpt", ".skpt")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="Part of the name of a reader.")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    with tempfile.TemporaryDirectory() as folder:
        good, cases = Path(folder, "good"), Path(folder, "cases")
        good.mkdir()
        cases.mkdir()
        inputs.write_all(good)
        with Runner(cases) as runner:
            fuzzer = Fuzzer(Bench(good, runner), args.findings)
            fuzzer.run(args.minutes, args.seed, args.only)
    fuzzer.report()
    return 1 if fuzzer.findings else 0


class Fuzzer:
    """Counts what came out, and keeps what should not.

    Parameters
    ----------
    bench : Bench
    folder : Path
        For the inputs of findings.
    """

    def __init__(self, bench, folder):
        self.bench, self.folder = bench, folder
        self.outcomes, self.findings, self.seconds = {}, Counter(), Counter()

    def run(self, minutes, seed, only):
        """Try inputs, some of each reader in turn, until the time is over."""
        end, number = time.monotonic() + 60 * minutes, seed * 10**6
        turns = [
            (file, entry, kind)
            for file, entries, kinds in TARGETS
            for entry in entries
            for kind in kinds
            if only in f"{entry} {file}"
        ]
        while time.monotonic() < end:
            for file, entry, kind in turns:
                number += 1
                self._turn(file, ENTRIES[entry], kind, number, end)

    def _turn(self, file, entry, kind, number, end):
        """Let hypothesis draw changes of one kind, and try each."""
        import hypothesis
        from hypothesis import HealthCheck, Phase

        @hypothesis.seed(number)
        @hypothesis.settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(EDITS[kind])
        def attempt(edit):
            if time.monotonic() < end:
                self._try(file, entry, kind, edit)

        attempt()

    def _try(self, file, entry, kind, edit):
        start = time.perf_counter()
        try:
            outcome, folder = self.bench.run(entry, file, edit)
        except (ArithmeticError, AttributeError, KeyError, OSError, RuntimeError,
                TypeError, ValueError) as error:  # fmt: skip
            # The change itself is impossible, for a library that writes such files.
            if "process that forks" in str(error):
                raise
            return
        name = f"{entry.name}: {Path(file).name}"
        wrong = outcome.faults()
        if not wrong:
            wrong = list(self._misses(file, entry, kind, edit, outcome, folder))
        code = {0: "accepted", 2: "refused"}.get(outcome.code, "ended otherwise")
        if wrong and outcome.code not in (0, 1, 2) and _ends_hdf5(folder / "in" / file):
            wrong, code = [], "HDF5 itself"
        self.outcomes.setdefault(name, Counter())["finding" if wrong else code] += 1
        self.seconds[name] += time.perf_counter() - start
        for what in wrong[:1]:
            self._keep(name, what, file, edit, outcome, folder)
        shutil.rmtree(folder, ignore_errors=True)

    def _misses(self, file, entry, kind, edit, outcome, folder):
        """Yield in what an outcome without faults is not what is right."""
        if outcome.code == 2:
            said = outcome.errors[0]
            names = Path(file).parts[0], Path(file).name, *COLUMNS
            if not any(name in said for name in names):
                yield f"names neither the file nor a column of it: {said}"
            return
        result = result_of(outcome, folder)
        if "NaN" in str(result[0]).split() or not _is_finite(outcome, folder):
            yield "a result that is not finite"
        flipped = kind == "bytes" and getattr(edit, "only_flips", False)
        if flipped and file.endswith(CHECKED):
            if result != self.bench.undamaged(entry)[1]:
                yield "a silent change"

    def _keep(self, name, what, file, edit, outcome, folder):
        """Count a finding; keep the inputs of the first of its like."""
        plain = re.sub(r"""(['"]).*?\1""", "'...'", what)
        key = (name, re.sub(r"0x\w+|\d+", "0", plain)[:100])
        self.findings[key] += 1
        if self.findings[key] > 1:
            return
        kept = self.folder / f"{len(self.findings)}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder / "in", kept, symlinks=True)
        text = f"{name}: {file}\n{edit}\n{what}\n\n{outcome.stdout}\n{outcome.stderr}"
        (kept / "what.txt").write_text(text)
        print(f"{kept}: {name}: {what[:300]}", file=sys.stderr, flush=True)

    def report(self):
        """Print the inputs and outcomes of each reader, and the findings."""
        columns = ("refused", "accepted", "HDF5 itself", "finding")
        print(f"| reader: file | inputs | {' | '.join(columns)} | seconds |")
        print(f"|---|{'---:|' * (len(columns) + 2)}")
        total = sum(self.outcomes.values(), Counter())
        for name, counts in [*self.outcomes.items(), ("all", total)]:
            seconds = self.seconds[name] or sum(self.seconds.values())
            cells = [counts.total(), *(counts[c] for c in columns), f"{seconds:.0f}"]
            print(f"| {name} | {' | '.join(map(str, cells))} |")
        for (name, what), times in self.findings.most_common():
            print(f"- {times} times, {name}: {what}")


def _ends_hdf5(path):
    """Whether the HDF5 library, on its own, does not come to the end of a file."""
    if path.suffix != ".h5ad":
        return False
    try:
        done = subprocess.run([sys.executable, "-c", READ_ALL, path], timeout=20)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode < 0


def _is_finite(outcome, folder):
    """Return whether the cells and signatures that a run wrote are all finite."""
    import anndata

    for name in outcome.outputs:
        path = folder / name
        if path.suffix == ".h5ad":
            cells = anndata.read_h5ad(path)
            parts = [cells.X, *cells.layers.values(), *cells.obsm.values()]
            for part in parts:
                part = part.data if hasattr(part, "indptr") else part
                if part is not None and not np.isfinite(part).all():
                    return False
    return True


if __name__ == "__main__":
    sys.exit(main())
