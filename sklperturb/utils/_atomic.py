"""Write files whole or not at all."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unfinished_folder(parent):
    """Make a folder inside `parent`, from where a file can be moved in one step."""
    if not parent.is_dir():
        raise FileNotFoundError(f"The folder {parent} does not exist; make it first.")
    unfinished = Path(tempfile.mkdtemp(dir=parent, prefix=".unfinished-"))
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished)


@contextmanager
def written_whole(path):
    """Give a path to write to, which becomes `path` when the block ends well."""
    with unfinished_folder(path.parent) as folder:
        yield folder / path.name
        os.replace(folder / path.name, path)
