"""Check where output goes before the work is done, and write it whole or not at all."""

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path

from sklperturb.files._reading import PACKED
from sklperturb.files._unfinished import unfinished_folder

# What tells a .zarr folder from any other, in both versions of the format.
_OF_ZARR = ("zarr.json", ".zgroup", ".zarray")
# What some file systems say of folders, whose lists they write by themselves.
_NEEDS_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)


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
        If the file exists and `overwrite` is false, something else is in its place, or
        the folder that it belongs into does not exist or cannot be written to.

    Notes
    -----
    A link is replaced; what it leads to stays as it is.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        advice = " Compress it afterwards." if path.suffix in PACKED else ""
        raise ValueError(
            f"The output {path} must end in {' or '.join(suffixes)}.{advice}"
        )
    _check_replaceable(path)
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
    for name in present:
        _check_replaceable(folder / name)
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


def _check_replaceable(path):
    """Refuse to write over what is no file, and no zarr store."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except NotADirectoryError:
        return  # said of the parent
    except OSError as error:  # the name is too long, or a link leads to itself
        raise OSError(f"Nothing can be written to {path}: {error.strerror}.") from error
    if stat.S_ISDIR(mode):
        if path.suffix != ".zarr":
            raise IsADirectoryError(f"{path} is a folder; choose the name of a file.")
        if any(path.iterdir()) and not any((path / name).exists() for name in _OF_ZARR):
            raise FileExistsError(
                f"{path} is a folder with other things than a zarr store, and is not "
                "replaced. Remove it, or choose another output."
            )
    elif not stat.S_ISREG(mode):
        raise FileExistsError(
            f"{path} is a pipe, a socket or a device; choose the name of a file."
        )
    elif path.suffix == ".zarr":
        raise NotADirectoryError(
            f"{path} is a file, and a .zarr is a folder; choose another output."
        )


def _check_writable(folder):
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"You may not write to the folder {folder}.")


@contextmanager
def written_whole(path, beside=None):
    """Yield a path to write to, which becomes `path` when the block ends well.

    Parameters
    ----------
    path : Path
    beside : Path, default=None
        Folder on the same disk for what is unfinished; None is that of `path`.

    Raises
    ------
    NoRoomError
        If there is no room on the disk.
    """
    with unfinished_folder(beside or path.parent, path) as folder:
        yield folder / path.name
        move_whole(folder / path.name, path)


def move_whole(made, path):
    """Give a file or folder its name, such that a power cut leaves it whole or not."""
    for folder, _, names in os.walk(made):
        for name in names:
            _sync(Path(folder) / name)
        _sync(folder)
    if made.is_file():
        _sync(made)
    os.replace(made, path)
    _sync(path.parent)


def _sync(path):
    """Wait until a file, or the list of a folder's files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NEEDS_NO_SYNC:
            raise
    finally:
        os.close(descriptor)
