"""Files that were downloaded: where they are kept, and whether they are still the same.

Beside a file whose hash no public source says stands what it was at the first download,
as ``sha256sum --check`` reads it.
"""

import hashlib
import logging
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from sklperturb.downloads._screens import SCREENS
from sklperturb.downloads._transfer import DownloadError, Transfer
from sklperturb.files._reading import FileError, check_file, one_line
from sklperturb.files._text import read_text
from sklperturb.files._unfinished import NoRoomError
from sklperturb.files._writing import check_output_folder, written_whole
from sklperturb.utils._optional import import_extra
from sklperturb.utils._progress import ProgressBar

log = logging.getLogger(__name__)

VARIABLE = "SKLPERTURB_DATA"
_TIMEOUT = 30
_MAX_RECORD = 2**12
_BLOCK = 2**22
_LONG = 2**30  # bytes whose hash takes more than a second or two


def get_data_home(data_home=None):
    """Return the folder that fetched screens are kept in.

    Parameters
    ----------
    data_home : str or path-like, default=None
        None stands for the environment variable ``SKLPERTURB_DATA``, and without it
        for ``~/sklperturb_data``.

    Returns
    -------
    data_home : Path
        It is made by the first download.

    Examples
    --------
    >>> from sklperturb.datasets import get_data_home
    >>> get_data_home("screens").name
    'screens'
    """
    if data_home is None:
        data_home = os.environ.get(VARIABLE) or Path("~", "sklperturb_data")
    return Path(data_home).expanduser()


def fetch_screen(name, data_home=None, **options):
    """Return the paths of a screen's files, after a download where they are not here.

    Parameters
    ----------
    name : str
        One of `SCREENS`.
    data_home : str or path-like, default=None
        See `get_data_home`.
    **options
        See `fetch_file`.

    Returns
    -------
    paths : list of Path
        All in one folder.
    """
    screen = SCREENS[name]
    folder = get_data_home(data_home) / name
    if not all((folder / remote.name).exists() for remote in screen.files):
        log.info(
            f"{screen.title}: {screen.size / 1e6:,.0f} MB. Licence: {screen.license}. "
            f"Please cite {screen.citation}."
        )
    return [fetch_file(remote, folder, **options) for remote in screen.files]


def fetch_file(
    remote,
    folder,
    *,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
    timeout=_TIMEOUT,
):
    """Return the path of a file, after a download where it is not here.

    Parameters
    ----------
    remote : RemoteFile
    folder : Path
    download_if_missing : bool, default=True
    n_retries : int, default=3
        How often a connection that fails or breaks off is tried again.
    delay : float, default=1.0
        Seconds before the first of these tries; each one waits twice as long.
    timeout : float, default=30
        Seconds to wait for the next bytes.

    Raises
    ------
    FileNotFoundError
        If it is not here and may not be downloaded.
    FileError
        If it is here, and not as it was.
    DownloadError
        If it does not arrive, or not as what it should be.
    NoRoomError, PermissionError
        If it cannot be kept.
    ImportError
        If the packages for downloads are absent.
    """
    path = folder / remote.name
    recorded = _read_record(path)
    known = remote.sha256 or recorded
    if path.exists():
        _check_kept(path, remote, known)
        return path
    if not download_if_missing:
        raise FileNotFoundError(
            f"{remote.name} is not in {folder}, and download_if_missing=False. Allow "
            f"the download, or get {remote.url} by other means and save it there."
        )
    pooch = import_extra("A download", "fetch", "pooch")
    _make_room(folder, remote)
    receive = Transfer(remote, path, timeout, n_retries, delay)
    with written_whole(path) as unfinished:
        with _quiet(pooch.get_logger()), _told(remote, known, path):
            pooch.retrieve(
                remote.url,
                known_hash=known,
                fname=unfinished.name,
                path=unfinished.parent,
                downloader=receive,
            )
        if known is None:
            _record(path, _hash(unfinished), "downloaded for the first time")
    return path


def _check_kept(path, remote, known):
    """Raise if a file is not what it was; remember it where nothing is known of it."""
    check_file(path)
    found = _hash(path)
    if known is None:
        try:
            _record(path, found, "found, and not downloaded by this program")
        except OSError as error:  # others may keep it, where we can only read
            log.warning(f"No hash can be kept beside {path}: {one_line(error)}")
    elif found != known:
        raise FileError(
            f"{path} has the SHA-256 {found}, and {known} is "
            f"{'that of the published file' if remote.sha256 else 'what it had first'}"
            ". It is damaged or another file. Remove it, and it is downloaded anew"
            f"{'.' if remote.sha256 else f'; to accept it, remove {_place(path)}.'}"
        )


def _make_room(folder, remote):
    """Make the folder, or raise if the file cannot be kept there."""
    check_output_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < remote.size:
        raise NoRoomError(
            f"{remote.name} has {remote.size / 1e9:.2f} GB, and {folder} has room for "
            f"{free / 1e9:.2f}. Make room, or name another folder by data_home= or the "
            f"environment variable {VARIABLE}."
        )


@contextmanager
def _quiet(logger):
    """Let pooch leave the reports to us."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _told(remote, known, path):
    """Say in our words that what arrived has another hash."""
    try:
        yield
    except ValueError as error:
        source = "published" if remote.sha256 else f"that of {_place(path)}"
        raise DownloadError(
            f"What arrived from {remote.url} is not the file: its SHA-256 is not "
            f"{known}, which is {source}. Nothing was kept; try again, and if that "
            "gives the same, the file at its source has changed."
        ) from error


def _hash(path):
    found, size = hashlib.sha256(), path.stat().st_size
    told = f"Checking {path.name}"
    with open(path, "rb") as file, ProgressBar(size * (size > _LONG), told, "B") as bar:
        while block := file.read(_BLOCK):
            found.update(block)
            bar.advance(steps=len(block))
    return found.hexdigest()


def _place(path):
    return path.with_name(f"{path.name}.sha256")


def _record(path, found, what):
    with written_whole(_place(path)) as unfinished:
        unfinished.write_text(f"{found}  {path.name}\n", encoding="utf-8")
    log.info(
        f"{path.name} was {what}, and no public source says its SHA-256. It is "
        f"{found}, and kept in {_place(path)}; a file that differs will be refused."
    )


def _read_record(path):
    """Return the hash that a file had first, or None where nothing is written."""
    place = _place(path)
    if not place.exists():
        return None
    text = read_text(place, "text", max_bytes=_MAX_RECORD)
    found = re.fullmatch(r"([0-9a-f]{64}) [ *]\S.*", text.strip())
    if found is None:
        raise FileError(f"{place} holds no SHA-256; remove it, to have it made anew.")
    return found[1]
