"""Progress bars: on a terminal only, and always on the error stream."""

import sys


class ProgressBar:
    """A bar of `total` steps with a note at its end.

    Where the error stream is no terminal, or there are no steps, nothing is written. A
    context manager; `start` and `stop` serve callers whose work has no block of its
    own.

    Parameters
    ----------
    total : int
    description : str
    """

    def __init__(self, total, description):
        self._total = total
        self._description = description
        self._progress = None

    def start(self):
        if self._total and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._progress.start()
            self._task = self._progress.add_task(
                self._description, total=self._total, note=""
            )
        return self

    def advance(self, note="", steps=1):
        if self._progress is not None:
            self._progress.update(self._task, advance=steps, note=note)

    def stop(self):
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    __enter__ = start

    def __exit__(self, *error):
        self.stop()
