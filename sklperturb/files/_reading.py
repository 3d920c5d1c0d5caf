"""What all readers share: which files are opened, and what is said of broken ones."""

import os
import re
import reprlib
import stat
from contextlib import contextmanager
from pathlib import Path

# Said by the system, and clear as they are.
_CLEAR = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Ends of names of what has to be unpacked before it is read, or packed once written.
PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")


class FileError(ValueError):
    """A file that cannot be read as what it should be; the message names it."""


def check_file(path, what="file", *, folder=False):
    """Return `path` as a Path if it is a file that can be opened.

    Parameters
    ----------
    path : str or path-like
    what : str, default="file"
        What it is, for messages.
    folder : bool, default=False
        Whether it may be a folder, as a ``.zarr`` is.

    Raises
    ------
    OSError
        If it does not exist, may not be read, or is a folder.
    FileError
        If it is a pipe, a socket or a device, which may never end, or is empty.
    """
    path = Path(path)
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"The {what} {path} does not exist.") from error
    except ValueError as error:  # a null character
        raise FileError(f"{str(path)!r} is no name of a file: {error}.") from error
    if stat.S_ISDIR(about.st_mode):
        if not folder:
            raise IsADirectoryError(f"{path} is a folder; pass the name of a file.")
    elif not stat.S_ISREG(about.st_mode):
        raise FileError(
            f"{path} is a pipe, a socket or a device; write what it gives to a file, "
            "and pass the name of that."
        )
    elif about.st_size == 0:
        raise FileError(f"{path} is empty; get the file again.")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"You may not read {path}; change its permissions.")
    return path


@contextmanager
def reading(path, kind):
    """Turn whatever a reader raises into an error that names the file.

    Parameters
    ----------
    path : Path
    kind : str
        What it is read as, such as "parquet".

    Raises
    ------
    FileError
        If the block raises anything but an error that names the file already, lacks
        a package, or is stopped by the user.
    """
    try:
        yield
    except (FileError, ImportError, *_CLEAR):
        raise
    except MemoryError as error:
        raise FileError(
            f"{path} cannot be read as {kind}: it asks for more memory than there is. "
            "It may be damaged, or too large for this machine."
        ) from error
    except Exception as error:
        raise FileError(
            f"{path} cannot be read as {kind}; it may be truncated or of another kind. "
            f"Get the file again. The reader said: {one_line(error)}"
        ) from error


def one_line(error, length=300):
    """Return what an exception says, in one line of bounded length."""
    notes = getattr(error, "__notes__", ())
    text = " ".join(" ".join([f"{error}", *notes]).split()) or type(error).__name__
    # What libraries quote of a damaged file may hold orders for the terminal.
    text = "".join(c if c.isprintable() else "?" for c in text)
    if isinstance(error, KeyError):
        text = f"no {text}"
    return text if len(text) <= length else f"{text[:length]} ..."


class _Short(reprlib.Repr):
    """Code of values, cut; pandas lays out a whole table, so these are counted."""

    def __init__(self):
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr_DataFrame(self, table, level):
        return f"<DataFrame of {len(table)} rows and {table.shape[1]} columns>"

    def repr_Series(self, table, level):
        return f"<Series of {len(table)} rows>"


def short(value):
    """Return `value` as code, cut to a length that a message can hold, on one line."""
    return re.sub(r"\n\s*", " ", _Short().repr(value))
