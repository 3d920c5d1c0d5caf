"""Open the study that a search fills: in memory, in a file, or in a database."""

import json
import os
import shutil
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from sklperturb.files._reading import check_file, reading

# Seconds after which a lock on a journal that nobody touches is taken for left behind
# by a process that was killed; it is held for milliseconds.
_LOCK_SECONDS = 5
# Times that opening a database is tried.
_OPENINGS = 4


def open_study(study, storage, name):
    """Return an Optuna study in which greater is better.

    Parameters
    ----------
    study : optuna.study.Study or None
        Taken as it is.
    storage : None, str, path-like or optuna.storages.BaseStorage
        A text with "://" is the URL of a database, any other one the path of a
        journal.
    name : str
        The study is made under this name, or found.
    """
    if study is not None:
        if storage is not None:
            raise ValueError("Pass study or storage, not both: a study has a storage.")
        if study.directions != [optuna.study.StudyDirection.MAXIMIZE]:
            raise ValueError(
                "The study must have one value to maximise, since for every scorer "
                "greater is better; make it with "
                "optuna.create_study(direction='maximize')."
            )
        return study
    with quiet():
        return optuna.create_study(
            storage=open_storage(storage),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),  # has nothing to draw
        )


@contextmanager
def quiet():
    """Keep Optuna from announcing studies, and its stable features as experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)


def live_trial(study, frozen):
    """Return a running trial with the methods that write to its study.

    Optuna gives such an object only to the process that asked for the trial. Trials of
    a search are added in one piece and may go on in another process; what leads to
    them is their number in the storage, which has no public name. No other private
    name of Optuna is used in this package.
    """
    return optuna.trial.Trial(study, frozen._trial_id)


def open_storage(storage):
    """Return what Optuna takes as the storage of a study."""
    if storage is None or not isinstance(storage, str | os.PathLike):
        return storage
    if "://" in str(storage):
        return _database(str(storage))
    return _journal(Path(storage))


def _database(url):
    engine = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        # Processes that share the file wait for each other.
        engine["connect_args"] = {"timeout": 60}
    try:
        shown = sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError as error:
        raise ValueError(
            f"storage={url.partition('://')[0]}://... is no URL of a database; pass "
            "one such as sqlite:///study.db or postgresql://user:password@host/name."
        ) from error
    for attempt in range(_OPENINGS):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=engine)
        except (sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
            raise ImportError(
                f"The database {shown} cannot be opened: no driver for "
                f"{url.partition('://')[0]!r} is installed."
            ) from error
        except sqlalchemy.exc.DatabaseError as error:
            # Processes that start together make the tables together, and all but one
            # find them there in the middle of it.
            if attempt < _OPENINGS - 1:
                time.sleep(0.3 * (attempt + 1))
                continue
            reason = error.orig
            raise OSError(f"The database {shown} cannot be opened: {reason}") from error


def _journal(path):
    # The lock is a link, which is read from its own folder.
    path = path.absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent} does not exist; make it first."
        )
    lock = JournalFileSymlinkLock(str(path), grace_period=_LOCK_SECONDS)
    if path.exists():
        if path.stat().st_size or not path.is_file():
            check_file(path, "journal")
        _mend(path, lock)
    with reading(path, "an Optuna journal"):
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _mend(path, lock):
    """Cut a journal where it is damaged; refuse other files.

    A process that was killed may not have finished the last line. In front of a line
    that is damaged otherwise all is good, and behind it trials have numbers that
    depend on it: they are tried again, and a copy of the whole file is kept.
    """
    with path.open("rb") as file:
        first = file.readline()
    if not first:
        return
    if b'"op_code"' not in first:
        raise ValueError(
            f"{path} is no Optuna journal. Pass the path of one, or a new path."
        )
    if _n_good_bytes(path)[0] == path.stat().st_size:
        return
    lock.acquire()  # another process may be in the middle of a line
    try:
        n_bytes, line = _n_good_bytes(path)
        if line is not None:
            copy = path.with_name(path.name + ".damaged")
            shutil.copyfile(path, copy)
            warnings.warn(
                f"Line {line} of {path} is damaged. What it and the lines behind it "
                f"hold is computed again; the file as it was is {copy}.",
                stacklevel=2,
            )
        os.truncate(path, n_bytes)
    finally:
        lock.release()


def _n_good_bytes(path):
    """Return where a journal ceases to be good, and the number of a damaged line."""
    n_bytes = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return n_bytes, None
            if not _is_record(line):
                return n_bytes, number
            n_bytes += len(line)
    return n_bytes, None


def _is_record(line):
    try:
        record = json.loads(line)
        return isinstance(record["op_code"], int) and isinstance(
            record["worker_id"], str
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
