"""Check where output goes before the work is done, and write it whole or not at all."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path


def check_output(path, suffixes, overwrite=False):
    """Return `path` as a Path if a file can be written there.

    Parameters
    ----------
    path : str or path-like
        File to write; a ``.zarr`` is a folder.
    suffixes : tuple of str
        Allowed ends of its name.
    overwrite : bool, default=False
        Whether a file that is already there may be replaced.

    Raises
    ------
    ValueError
        If the name ends otherwise.
    OSError
        If the file exists and `overwrite` is false, a folder is in its place, or the
        folder that it belongs into does not exist or cannot be written to.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"The output {path} must end in {' or '.join(suffixes)}.")
    if path.is_dir() and path.suffix != ".zarr":
        raise IsADirectoryError(f"{path} is a folder; choose the name of a file.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Pass overwrite=True to replace it, or choose another path."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent} does not exist; make it first."
        )
    _check_writable(path.parent)
    return path


def check_output_folder(folder, names=(), overwrite=False):
    """Return `folder` as a Path if files called `names` can be written into it.

    The folder need not exist, nor those that it is in.

    Parameters
    ----------
    folder : str or path-like
    names : sequence of str, default=()
        Files that may not be there unless `overwrite` is true.
    overwrite : bool, default=False

    Raises
    ------
    OSError
        If one of the files exists and `overwrite` is false, a file is where a folder
        is needed, or the folder cannot be written to.
    """
    folder = Path(folder)
    present = [name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"{folder} already holds {present}. Pass overwrite=True to replace them, "
            "or choose another folder."
        )
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{existing} is a file; choose the name of a folder.")
    _check_writable(existing)
    return folder


def _check_writable(folder):
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"You may not write to the folder {folder}.")


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
    """Yield a path to write to, which becomes `path` when the block ends well."""
    with unfinished_folder(path.parent) as folder:
        yield folder / path.name
        os.replace(folder / path.name, path)
