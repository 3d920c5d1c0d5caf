"""Run readers on inputs in child processes, and look at all that they leave."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How one run ended.

    Attributes
    ----------
    code : int or None
        Exit code; negative for a signal, None if it had to be stopped.
    stdout, stderr : str
    changes : list of str
        Files that were made, changed or removed outside the output folder.
    outputs : list of str
        Files in the output folder.
    seconds : float
    peak : int
        Most memory that it held, in bytes.
    """

    code: int | None
    stdout: str
    stderr: str
    changes: list
    outputs: list
    seconds: float
    peak: int

    @property
    def errors(self):
        """Lines that tell an error; "Error:" is that of a word on the command line."""
        return [x for x in self.stderr.splitlines() if x.lower().startswith("error:")]

    @property
    def warnings(self):
        """Lines that warn."""
        return [x for x in self.stderr.splitlines() if x.startswith("warning:")]

    def faults(self):
        """Return what must not happen, whatever the input."""
        found = []
        if self.code is None:
            found.append("it did not end")
        elif self.code < 0:
            found.append(f"signal {-self.code}")
        if "Traceback (most recent call last)" in self.stderr:
            found.append(f"traceback: {self.stderr.strip().splitlines()[-1]}")
        elif self.code not in (0, 2, None) and self.code > 0:
            found.append(f"exit code {self.code}: {self.stderr.strip()[-300:]}")
        if self.changes:
            found.append(f"changed {self.changes}")
        if any("unfinished" in name for name in self.outputs):
            found.append(f"left {self.outputs}")
        if self.code == 2 and self.outputs:
            found.append(f"refused, and left {self.outputs}")
        if self.code == 2 and len(self.errors) != 1:
            found.append(f"{len(self.errors)} lines of error: {self.stderr[-300:]!r}")
        if self.code == 2 and self.stderr.splitlines()[-1:] != self.errors:
            found.append(f"the error is no single line: {self.stderr[-300:]!r}")
        shown = self.stdout + self.stderr
        if any(ord(c) < 32 and c not in "\n\t\r" for c in shown) or "\x7f" in shown:
            found.append("control characters reach the terminal")
        longest = max(map(len, self.errors + self.warnings), default=0)
        if longest > 2000:
            found.append(f"a message of {longest} characters")
        return found


class Runner:
    """The process that forks, and where its children work.

    Parameters
    ----------
    folder : Path
        Empty; the inputs of a run are in a folder inside it.
    """

    def __init__(self, folder):
        self.folder = folder
        self._number = 0
        self._process = None

    def start(self):
        """Start the process that forks; it is ready some seconds later."""
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        path = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
        environment = {
            **os.environ,
            **dict.fromkeys(threads, "1"),
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "COLUMNS": "200",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        return self

    def stop(self):
        """End the process that forks."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    def _ask(self, job):
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the process that forks has died")
            answer = json.loads(line)
            if "ready" not in answer:
                return answer

    def new_folder(self):
        """Return a folder for the inputs of a run, with one for its outputs."""
        self._number += 1
        folder = self.folder / str(self._number)
        for name in ("in", "out", "home", "tmp"):
            (folder / name).mkdir(parents=True)
        return folder

    def run(self, folder, entry):
        """Run an entry point on the inputs in a folder.

        Parameters
        ----------
        folder : Path
            From `new_folder`, with the inputs in ``in``.
        entry : Entry

        Returns
        -------
        outcome : Outcome
        """
        logs = self.folder / f"{folder.name}.logs"
        logs.mkdir()
        job = {
            "folder": str(folder / "in"),
            "environment": {
                "HOME": str(folder / "home"),
                "TMPDIR": str(folder / "tmp"),
            },
            "stdout": str(logs / "stdout"),
            "stderr": str(logs / "stderr"),
            **entry.job(),
        }
        before = _state_of(folder)
        answer = self._ask(job)
        after = _state_of(folder)
        changed = {n for n in before | after if before.get(n) != after.get(n)}
        outside = set(os.listdir(self.folder)) - {logs.name, folder.name}
        strange = {n for n in outside if not n.partition(".")[0].isdigit()}
        said = [
            (logs / n).read_text(errors="replace") if (logs / n).exists() else ""
            for n in ("stdout", "stderr")
        ]
        shutil.rmtree(logs)
        return Outcome(
            answer["code"],
            *said,
            sorted(n for n in changed if not n.startswith("out/")) + sorted(strange),
            sorted(
                n
                for n in changed
                if n.startswith("out/")
                and (not n.startswith(entry.keeps) or ".unfinished-" in n)
            ),
            answer["seconds"],
            answer["peak"],
        )


def _state_of(folder):
    """Return what tells a change of each file below a folder."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(place, name)
            about = path.lstat()
            size = about.st_size if name in files else 0
            state = (about.st_mode, size, about.st_mtime_ns if size else 0)
            found[str(path.relative_to(folder))] = state
    return found
