"""Folders for what is being written: marked as ours, and locked while that goes on.

A process that is killed leaves such a folder behind, and the next one that writes to
the same place deletes it. It is known by its mark, and known to be of a dead process by
its lock, which ends with the process however that ends.
"""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from sklperturb.files._documents import read_json

try:
    import fcntl
except ImportError:  # on Windows, where nobody is then known to be dead
    fcntl = None

_PREFIX = ".unfinished-"
MARK = "made_by_sklperturb.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Seconds after which nobody is about to mark a folder that has no mark yet.
_MARKED = 3600
# Free bytes with which a disk counts as full if a writer does not say why it failed.
_FULL = 2**16


class NoRoomError(OSError):
    """The disk, the quota, or the largest size of a file is reached."""


@contextmanager
def unfinished_folder(parent, path=None):
    """Make a folder inside `parent`, from where a file can be moved in one step.

    It is deleted when the block ends, and before it those of processes that died.

    Parameters
    ----------
    parent : Path
    path : Path, default=None
        What is going to be written, for messages.

    Raises
    ------
    FileNotFoundError
        If `parent` does not exist.
    NoRoomError
        If the block fails since there is no room on the disk.
    """
    if not parent.is_dir():
        raise FileNotFoundError(f"The folder {parent} does not exist; make it first.")
    with room_for(path or parent):
        remove_dead(parent)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX))
        try:
            with mark(folder):
                try:
                    yield folder
                finally:  # while it is locked: others take it for that of a dead one
                    _surely(_empty, folder)
        finally:
            _surely(_delete_empty, folder)


def mark(folder):
    """Mark a folder as made here; it counts as in use until the file is closed."""
    file = open(folder / MARK, "x", encoding="utf-8")
    lock(file)  # before it has content: without, nobody takes the folder for ours
    json.dump({"made_by": "sklperturb", "host": socket.gethostname()}, file)
    file.flush()
    return file


def is_ours(folder):
    """Whether a folder has our mark."""
    return _read_mark(folder) is not None


def remove(folder):
    """Delete a folder that has our mark, and no other."""
    if folder.is_symlink() or not is_ours(folder):
        raise FileExistsError(
            f"{folder} was not made by this program, which does not delete it. Remove "
            "it, or choose another output."
        )
    _empty(folder)
    _delete_empty(folder)


def lock(file, shared=False):
    """Lock an open file until it is closed.

    Returns
    -------
    locked : bool or None
        False if another process holds it, None where files cannot be locked.
    """
    if fcntl is None:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


@contextmanager
def room_for(path, kept="Nothing was written"):
    """Turn what writers raise on a full disk into one error that says so.

    Parameters
    ----------
    path : Path
        What the block writes.
    kept : str
        What remains, for the message.
    """
    try:
        yield
    except NoRoomError:
        raise
    except Exception as error:
        code = _no_room(error, Path(path))
        if code is None:
            raise
        raise NoRoomError(
            f"There is no room for {path}: {os.strerror(code)}. {kept}; make room, or "
            "choose another place, and run the same again."
        ) from error


def _no_room(error, path):
    """Return the number of the system's error if it is about room, None otherwise."""
    chain, last = [], error
    while last is not None and last not in chain:
        chain.append(last)
        last = last.__cause__ or last.__context__
    for link in chain:
        if isinstance(link, OSError) and link.errno in _NO_ROOM:
            return link.errno
        # HDF5 and Arrow say it in words only.
        found = re.search(r"errno (?:= )?(\d+)", f"{link}")
        if found and int(found[1]) in _NO_ROOM:
            return int(found[1])
    vague = isinstance(error, OSError | RuntimeError | subprocess.SubprocessError)
    if vague and getattr(error, "errno", None) is None:
        place = next(p for p in (path, *path.absolute().parents) if p.exists())
        if shutil.disk_usage(place).free < _FULL:
            return errno.ENOSPC
    return None


def remove_dead(parent):
    """Delete the unfinished folders of processes of this machine that died.

    Whoever writes to a place does so before; it is called where nothing may be left to
    be written, since the one that wrote the last of it was killed in tidying up.
    """
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.is_symlink():
            continue
        found = _read_mark(folder)
        if found is None:
            _remove_empty(folder)
        # Locks of other machines do not show on every file system.
        if found is None or found.get("host") != socket.gethostname():
            continue
        try:
            with open(folder / MARK, "r+", encoding="utf-8") as file:
                if lock(file):
                    _empty(folder)
                    _delete_empty(folder)
        except OSError:  # another process was quicker, or it is another user's
            continue


def _remove_empty(folder):
    """Delete an old folder that its process died in before it, or after, it had a mark.

    That has nothing in it, or a mark without content; another folder stays.
    """
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime < _MARKED:
            return
        if [entry.name for entry in folder.iterdir()] == [MARK]:
            if (folder / MARK).stat().st_size:
                return
            (folder / MARK).unlink()
        folder.rmdir()  # which refuses one that is not empty


def _read_mark(folder):
    try:
        found = read_json(folder / MARK)
    except (OSError, ValueError):
        return None
    is_mark = isinstance(found, dict) and found.get("made_by") == "sklperturb"
    return found if is_mark else None


def _empty(folder):
    """Delete what is in a folder but its mark: it is still known as ours."""
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _delete(entry)
        elif entry.name != MARK:
            entry.unlink()


def _delete_empty(folder):
    """Delete a folder with nothing but its mark, unless another process is quicker."""
    with suppress(FileNotFoundError):
        if all(entry.name == MARK for entry in folder.iterdir()):
            (folder / MARK).unlink(missing_ok=True)
            folder.rmdir()


def _surely(delete, folder):
    """Delete a folder, or all in it, and only then end, where that is interrupted."""
    try:
        delete(folder)
    except KeyboardInterrupt:
        with suppress(OSError):  # it may have been all but over
            delete(folder)
        raise


def _delete(folder):
    """Delete a folder that threads of a writer which failed may still write to."""
    for wait in (0.1, 0.3, 1.0):
        try:
            return shutil.rmtree(folder)
        except OSError:
            time.sleep(wait)
    return shutil.rmtree(folder)
