"""What the runner knows of a benchmark."""

import re
import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent
PLACE = re.compile(r"\{(\w+)(?:\.(\w+))?([^}]*)\}")


@dataclass(frozen=True)
class Entry:
    """A script of ``benchmarks/AREA/NAME.py``, and how the runner runs it.

    Parameters
    ----------
    name : str
        Name of the script, without its ending.

    area : str
        The folder.

    compares : str
        One line: what is measured, against what.

    runs : tuple of str
        Command lines; each is run, and its output counted, apart. ``{data/X}`` is a
        file or folder X of the measured data (``--data``), and ``{clone.X}`` a clone of
        a repository (``--clone X=PATH``). A run whose places are missing is skipped.

    peers : tuple of str
        Groups of packages (``benchmarks/peers``) that are timed beside ours.

    minutes : float
        What all runs take, on two cores.

    quick : bool
        Whether ``make bench`` runs it.

    needs : tuple of str
        Modules that it cannot do without, beyond those of the package.

    gpu : bool
        Whether it measures a GPU, and is skipped where there is none.

    script : str, default=""
        AREA/NAME of the script, where another entry's script is run otherwise.
    """

    name: str
    area: str
    compares: str
    runs: tuple = ("",)
    peers: tuple = ()
    minutes: float = 1
    quick: bool = False
    needs: tuple = ()
    gpu: bool = False
    script: str = ""

    @property
    def path(self):
        """The script."""
        return ROOT / f"{self.script or f'{self.area}/{self.name}'}.py"

    @property
    def module(self):
        """Name of the script's module, for ``python -m``."""
        return f"benchmarks.{self.path.parent.name}.{self.path.stem}"

    def missing_modules(self):
        """Return those of `needs` that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


class Absent(Exception):
    """Something that a run needs is not there."""


def arguments(run, data, clones):
    """Return the arguments of a run, its places filled in.

    Raises `Absent`, with the reason, if a place is not there.
    """

    def fill(match):
        kind, name, rest = match.groups()
        if kind == "data":
            base, option = data, f"--data {data}"
        elif kind == "clone":
            base, option = clones.get(name), f"--clone {name}=PATH"
        else:
            raise ValueError(f"{match.group()!r} is neither {{data/X}} nor {{clone.X}}")
        path = base and Path(base, rest.lstrip("/"))
        if path is None or not path.exists():
            raise Absent(f"needs {path or f'a clone of {name}'} ({option})")
        return str(path.resolve())

    return [PLACE.sub(fill, word) for word in shlex.split(run)]
