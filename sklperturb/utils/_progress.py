"""Progress bars: on a terminal only, and always on the error stream."""

import sys
from contextlib import contextmanager


@contextmanager
def progress_bar(total, description):
    """Give a function ``advance(note="")`` that moves a bar of `total` steps.

    Where the error stream is no terminal, nothing is written.
    """
    if not sys.stderr.isatty():
        yield lambda note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, note="")
        yield lambda note="": progress.update(task, advance=1, note=note)
