"""What a case of the corpus is, and whether it went as it should."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.robustness import inputs
from tests.robustness.entries import ENTRIES, digest

_TIMES = re.compile(r"\d+(\.\d+)? s\b")
_MEMORY = 1.2e9


@dataclass(frozen=True)
class Expect:
    """What is right: "refused", "accepted", "warned", "reported" or "survived".

    Attributes
    ----------
    kind : str
        Refused: exit code 2 and one line that begins with "error:" and names the file.
        Accepted: as if the input were not damaged. Warned: accepted, with a warning
        of its own. Reported: named by `describe` as a problem. Survived: either way,
        where both make sense.
    words : tuple of str
        What must be in the message, in any case.
    same : bool
        Whether the result is that of the good input.
    """

    kind: str
    words: tuple = ()
    same: bool = True


def refused(*words):
    return Expect("refused", words)


def accepted(same=True):
    return Expect("accepted", same=same)


def warned(*words, same=True):
    return Expect("warned", words, same)


def reported(*words):
    return Expect("reported", words)


def survived():
    return Expect("survived")


@dataclass(frozen=True)
class Case:
    """One damaged or hostile input on one way in.

    Attributes
    ----------
    kind : str
        Kind of file, for the table.
    name : str
    file : str
        The input that is damaged.
    damage : callable
        ``damage(path)`` does it.
    entry : str
        A name of `ENTRIES`.
    expect : Expect
    named : str or None
        What the message must name; None is the file.
    """

    kind: str
    name: str
    file: str
    damage: Callable = field(repr=False)
    entry: str
    expect: Expect
    named: str | None = None

    @property
    def id(self):
        return f"{self.entry}: {Path(self.file).name}: {self.name}".replace(" ", "_")


def cases(kind, file, entries, table, named=None):
    """Return a case for each entry point and each row of a table.

    Parameters
    ----------
    kind, file : str
    entries : str or tuple of str
    table : list of (str, callable, Expect)
        Name, damage and what is right.
    named : str, default=None
    """
    entries = (entries,) if isinstance(entries, str) else entries
    return [
        Case(kind, name, file, damage, entry, expect, named)
        for name, damage, expect in table
        for entry in entries
    ]


class Bench:
    """Good inputs, what they give, and a process to try damaged ones.

    Parameters
    ----------
    good : Path
        Folder of the good inputs.
    runner : Runner
    """

    def __init__(self, good, runner):
        self.good, self.runner = good, runner
        self._undamaged = {}

    def try_case(self, case):
        """Return the outcome of a case, and a list of what is wrong with it."""
        outcome, folder = self.run(ENTRIES[case.entry], case.file, case.damage)
        return outcome, outcome.faults() + list(self._misses(case, outcome, folder))

    def run(self, entry, file=None, damage=None):
        """Return the outcome of an entry point, and the folder that it ran in."""
        folder = self.runner.new_folder()
        inputs.copy(self.good, entry.needs, folder / "in")
        inputs.copy(self.good, entry.resumes, folder / "out")
        if damage is not None:
            damage(folder / "in" / file)
        return self.runner.run(folder, entry), folder

    def undamaged(self, entry):
        """Return the outcome of good inputs, and their result."""
        if entry.name not in self._undamaged:
            outcome, folder = self.run(entry)
            assert outcome.code == 0 and not outcome.faults(), outcome
            self._undamaged[entry.name] = outcome, result_of(outcome, folder)
        return self._undamaged[entry.name]

    def _misses(self, case, outcome, folder):
        """Yield in what the outcome is not what is right."""
        expect, entry = case.expect, ENTRIES[case.entry]
        code = 2 if expect.kind == "refused" else 0
        if expect.kind != "survived" and outcome.code != code:
            yield f"exit code {outcome.code}, not {code}: {outcome.stderr[-400:]}"
            return
        if outcome.peak > _MEMORY:
            yield f"it took {outcome.peak / 1e9:.1f} GB"
        if expect.kind == "refused":
            said = " ".join(outcome.errors)
            name = Path(case.file).name if case.named is None else case.named
            if name not in said:
                yield f"the message does not name {name}: {said}"
        elif expect.kind == "survived":
            said = ""
        elif expect.kind == "reported":
            lines = outcome.stdout.splitlines()
            said = " ".join(line for line in lines if line.startswith("problem:"))
        else:
            before, expected = self.undamaged(entry)
            new = [w for w in outcome.warnings if w not in before.warnings]
            said = " ".join(new)
            if expect.kind == "accepted" and new and expect.same:
                yield f"an unexpected warning: {said}"
            elif expect.kind == "warned" and not new:
                yield f"no warning: {outcome.stderr[-300:]}"
            if expect.same and result_of(outcome, folder) != expected:
                yield "another result than without the damage"
        for word in expect.words:
            if word.lower() not in said.lower():
                yield f"{word!r} is not in the message: {said[:400]}"


def result_of(outcome, folder):
    """Return what a run printed and wrote, without times."""
    found = [_TIMES.sub("", outcome.stdout)]
    for name in outcome.outputs:
        path = folder / name
        if path.suffix == ".h5ad":
            found.append(_digest_h5ad(path))
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found.append(digest([arrays[n] for n in arrays.files]))
        elif path.suffix == ".json":
            found.append(json.loads(path.read_text()))
        elif path.is_file():
            found.append(path.read_bytes())
    return found


def _digest_h5ad(path):
    import anndata

    cells = anndata.read_h5ad(path)
    values = [] if cells.X is None else [cells.X]
    values += [*cells.layers.values(), *cells.obsm.values()]
    return digest([cells.obs, list(cells.var_names), *values])
