"""Embed files of any size: part by part, on one machine or many, stop and resume."""

import contextlib
import hashlib
import json
import os
import warnings
import zlib
from pathlib import Path

import anndata
import numpy as np
import zarr
from joblib import delayed, parallel_config
from sklearn.base import clone

from sklperturb._version import __version__
from sklperturb.cells import open_cells
from sklperturb.embedding._batches import embedded_batches, warn_of_both_scales
from sklperturb.embedding._runner import runner_of
from sklperturb.files._documents import read_json
from sklperturb.files._reading import one_line
from sklperturb.files._unfinished import (
    is_ours,
    lock,
    mark,
    remove,
    room_for,
    unfinished_folder,
)
from sklperturb.files._writing import check_output, move_whole, written_whole
from sklperturb.files._writing_hdf5 import created_hdf5, put_cells
from sklperturb.utils._calls import run_calls
from sklperturb.utils._progress import ProgressBar

_KEY = "X_state"
_ENCODING = {"encoding-type": "array", "encoding-version": "0.2.0"}
_NOTED = ("crc", "n_raw", "n_log")
_SUFFIXES, _KEPT = (".h5ad", ".zarr"), "Finished chunks are kept"
# Parameters that change no embedding.
_ANY_VALUE = {"checkpoint", "batch_size", "device", "on_unmapped", "min_mapped"}
# The estimator that a Dask worker used last: its model stays loaded between tasks.
_last = {}


def embed_file(
    path,
    output,
    embedding,
    *,
    shard=None,
    resume=True,
    overwrite=False,
    chunk_size=1024,
    client=None,
):
    """Embed the cells of a file and write them to another.

    Cells are read, embedded and written in chunks, so that memory does not depend on
    their number. A chunk that was finished is never computed again: a run that was
    stopped goes on where it was, and several can share the work.

    Parameters
    ----------
    path : str or Path
        An .h5ad file or .zarr folder with the cells.
    output : str or Path
        An .h5ad file or .zarr folder to write: the table of the cells, and in
        ``obsm["X_state"]`` their embeddings, in the same order.
    embedding : SEEmbedding
        Is cloned and fitted to the genes of the file.
    shard : tuple of (int, int), default=None
        ``(i, n)`` does the i-th of n parts, from 1. Run all of them with the same
        arguments, at the same time or not; the last one to end makes the output.
    resume : bool, default=True
        Whether to go on with what an earlier run left. If not, that is deleted.
    overwrite : bool, default=False
        Whether to replace the output.
    chunk_size : int, default=1024
        Cells of a chunk.
    client : distributed.Client, default=None
        Spreads the chunks over a Dask cluster, whose workers read and write the same
        files; give each GPU a worker process of one thread. None computes here.

    Returns
    -------
    n_cells : int
        Cells that were embedded now.
    finished : bool
        Whether the output is complete. It is not while other shards are at work.

    Raises
    ------
    FileExistsError
        If the output exists and `overwrite` is false, or a folder that is not of an
        earlier run has the name of the unfinished work.
    BlockingIOError
        If another run is at the same work.
    ValueError
        If the output is the input, an unfinished output is of other cells, parameters
        or weights, or an embedding is not finite.

    See Also
    --------
    SEEmbedding : Embeds cells in memory.

    Notes
    -----
    Unfinished work is in a folder with the name of the output and ``.unfinished`` at
    its end. What of it cannot be read is computed again, with a warning. Before the
    output gets its name, the chunks are read back and compared with what was computed.

    Examples
    --------
    >>> import tempfile
    >>> import anndata
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.embedding import SECheckpoint, SEEmbedding, embed_file
    >>> counts = np.random.default_rng(0).poisson(20.0, size=(8, 50)).astype("float32")
    >>> genes = pd.DataFrame(index=[f"GENE{i + 1}" for i in range(50)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     anndata.AnnData(counts, var=genes).write_h5ad(f"{folder}/cells.h5ad")
    ...     checkpoint = SECheckpoint.create(f"{folder}/small.ckpt", random_state=0)
    ...     done = embed_file(
    ...         f"{folder}/cells.h5ad",
    ...         f"{folder}/embedded.h5ad",
    ...         SEEmbedding(checkpoint, device="cpu"),
    ...     )
    ...     anndata.read_h5ad(f"{folder}/embedded.h5ad").obsm["X_state"].shape
    (8, 34)
    """
    path, output = Path(path), check_output(output, _SUFFIXES, overwrite)
    if output.exists() and path.exists() and output.samefile(path):
        raise ValueError(f"{output} is the file of the cells; name another output.")
    if chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size} must be at least 1.")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard={shard} must be (i, n) with i from 1 to n.")
    with open_cells(path, layer=embedding.layer, needs="counts") as cells:
        embedding = clone(embedding).fit(cells)
        chunk_size = min(chunk_size, cells.shape[0])
        work = _Work(output, path, cells, embedding, chunk_size)
        index, n_parts = shard or (1, 1)
        first, stop = (work.n_chunks * i // n_parts for i in (index - 1, index))
        mine = range(first, stop)
        if client is None:
            runner_of(embedding)  # a damaged model is found before there is a folder
        with work.begun(cells, shard, resume):
            todo = [chunk for chunk in mine if not work.is_done(chunk)]
            if client is not None:
                n_cells = _compute_on_cluster(client, embedding, path, work, todo)
            else:
                n_cells = _compute(embedding, cells, work, todo)
            finished = work.finish(cells, overwrite)
    return n_cells, finished


class _Work:
    """The folder of an unfinished output: a zarr store, and notes of what is done."""

    def __init__(self, output, path, cells, embedding, chunk_size):
        self.output = output.absolute()
        self.folder = self.output.with_name(output.name + ".unfinished")
        self.chunk_size = chunk_size
        self.n_cells = cells.shape[0]
        self.n_chunks = -(-cells.shape[0] // chunk_size)
        self.width = len(embedding.get_feature_names_out())
        self._manifest = {
            "version": __version__,
            "input": [str(path.resolve()), _changed(path)],
            "n_cells": cells.shape[0],
            "chunk_size": chunk_size,
            "checkpoint": list(embedding.checkpoint_.identity),
            "tokens": hashlib.sha256(embedding.tokens_.tobytes()).hexdigest(),
            "seed": embedding.seed_,
            "parameters": {
                name: repr(value)
                for name, value in embedding.get_params().items()
                # What these lead to is in the tokens.
                if name not in _ANY_VALUE | {"gene_map", "gene_names", "random_state"}
            },
        }

    @contextlib.contextmanager
    def begun(self, cells, shard, resume):
        """Make the folder, or go on with the one there, and hold it meanwhile."""
        with room_for(self.output, _KEPT), contextlib.ExitStack() as held:
            while True:
                if not self.folder.exists():
                    self._make(cells)
                elif not is_ours(self.folder):
                    raise FileExistsError(
                        f"{self.folder} is where unfinished work would be, and was not "
                        "made by an earlier run of this version. Remove it, or choose "
                        "another output."
                    )
                useless = self._is_useless(resume or shard is not None)
                with contextlib.suppress(FileNotFoundError):
                    # A run that has just ended may have deleted it.
                    self._hold(held, None if useless else shard)
                    if useless:
                        remove(self.folder)
                        resume = True
                    elif (self.folder / "store").exists():
                        break
                held.close()
            self._check_manifest()
            try:
                yield
            except BaseException:
                done = self.folder / "done"
                if shard is None and done.is_dir() and not any(done.iterdir()):
                    remove(self.folder)  # there is nothing to go on with
                raise

    def _make(self, cells):
        with unfinished_folder(self.folder.parent, self.output) as made:
            work = made / "work"
            (work / "done").mkdir(parents=True)
            self._write_store(work / "store", cells)
            (work / "manifest.json").write_text(self.identity, encoding="utf-8")
            mark(work).close()
            try:
                move_whole(work, self.folder)
            except OSError:
                if not self.folder.exists():  # another shard was quicker
                    raise

    def _is_useless(self, resume):
        """Whether nothing in the folder can or should be gone on with."""
        if not resume or not (self.folder / "store").exists():
            return True  # it is of a run that ended when the output had its name
        try:
            self._read_manifest()
            self.array("r")
        except Exception as error:
            warnings.warn(
                f"What an earlier run left in {self.folder} cannot be read "
                f"({one_line(error)}); all cells are embedded again.",
                stacklevel=5,
            )
            return True
        return False

    def _hold(self, held, shard):
        """Keep other runs from the same chunks until `held` is closed."""
        names = [("lock", shard is not None)]
        if shard is not None:
            names.append(("lock-{}-of-{}".format(*shard), False))
        for name, shared in names:
            file = held.enter_context(open(self.folder / name, "a"))
            if lock(file, shared) is False:
                raise BlockingIOError(
                    f"Another run is writing {self.output}. Wait until it ends, or "
                    "divide the work with shard=."
                )

    def _read_manifest(self):
        return dict(read_json(self.folder / "manifest.json"))

    def _check_manifest(self):
        found, wanted = self._read_manifest(), json.loads(json.dumps(self._manifest))
        differing = sorted(k for k in wanted if wanted[k] != found.get(k))
        if differing:
            raise ValueError(
                f"{self.folder} is the unfinished work of a run with another "
                f"{', '.join(differing)}. Repeat that run, choose another output, or "
                "start anew with resume=False, which deletes it."
            )

    def _write_store(self, folder, cells):
        with warnings.catch_warnings():
            # That another version of the format will be the default one day.
            warnings.filterwarnings("ignore", message="Writing zarr v2")
            self._table_of(cells).write_zarr(folder)
        group = zarr.open_group(str(folder), mode="r+", use_consolidated=False)
        array = group["obsm"].create_array(
            _KEY,
            shape=(self.n_cells, self.width),
            chunks=(self.chunk_size, self.width),
            dtype="float32",
            fill_value=float("nan"),
        )
        array.attrs.update(_ENCODING)

    def _table_of(self, cells):
        described = {"state_embedding": {"description": self.identity}}
        return anndata.AnnData(obs=cells.obs, uns=described)

    def array(self, mode):
        return zarr.open_array(str(self.folder / "store" / "obsm" / _KEY), mode=mode)

    def rows(self, chunk):
        start = chunk * self.chunk_size
        return start, min(start + self.chunk_size, self.n_cells)

    def is_done(self, chunk):
        return self._read_note(chunk) is not None

    def _read_note(self, chunk):
        """Return the note on a chunk, None if there is none or it is damaged."""
        path = self.folder / "done" / f"{chunk}.json"
        try:
            note = read_json(path)
            return {name: int(note[name]) for name in _NOTED}
        except FileNotFoundError:
            return None
        except Exception as error:
            warnings.warn(
                f"{path} cannot be read ({one_line(error)}); its cells are embedded "
                "again.",
                stacklevel=2,
            )
            path.unlink()
            return None

    @property
    def identity(self):
        return json.dumps(self._manifest)

    def write(self, chunk, values, scales):
        """Write a chunk, and then the note that it is there."""
        start, stop = self.rows(chunk)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise ValueError(
                f"The embeddings of {bad.sum()} cells are not finite, the first that "
                f"of cell {start + bad.argmax()}; the weights may be damaged, or the "
                "counts too large."
            )
        self.array("r+")[start:stop] = values
        crc = zlib.crc32(np.ascontiguousarray(values))
        note = dict(zip(_NOTED, (crc, *map(int, scales)), strict=True))
        path = self.folder / "done" / f"{chunk}.json"
        # Beside the notes, it would look through all of them for unfinished ones.
        with written_whole(path, beside=self.folder) as unfinished:
            unfinished.write_text(json.dumps(note), encoding="utf-8")

    def finish(self, cells, overwrite):
        """Check all chunks and give the output its name; False if some are missing."""
        if not all(self.is_done(chunk) for chunk in range(self.n_chunks)):
            return False
        # Of shards that end together, one goes on.
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context(open(self.folder / "finishing", "a"))
            except FileNotFoundError:  # another one has finished
                return False
            if lock(file) is False or not (self.folder / "store").exists():
                return False
            notes = self._check()
            check_output(self.output, _SUFFIXES, overwrite)
            if self.output.suffix == ".h5ad":
                self._write_h5ad(cells)
            else:
                self._publish_zarr()
            remove(self.folder)
        both = [sum(note[name] for note in notes) for name in ("n_raw", "n_log")]
        warn_of_both_scales(*both, stacklevel=4)
        return True

    def _check(self):
        """Compare what is on disk with what was computed; return the notes."""
        array = self.array("r")
        notes, bad = [], []
        for chunk in range(self.n_chunks):
            note = self._read_note(chunk)
            values = np.ascontiguousarray(array[slice(*self.rows(chunk))])
            if note is None or note["crc"] != zlib.crc32(values):
                bad.append(chunk)
                (self.folder / "done" / f"{chunk}.json").unlink(missing_ok=True)
            notes.append(note)
        if bad:
            raise OSError(
                f"{len(bad)} chunks of {self.folder} are not what was computed; is the "
                "disk full? Run the same again to make these anew."
            )
        return notes

    def _publish_zarr(self):
        zarr.consolidate_metadata(str(self.folder / "store"))
        with unfinished_folder(self.output.parent, self.output) as aside:
            if os.path.lexists(self.output):
                self.output.rename(aside / self.output.name)
            move_whole(self.folder / "store", self.output)

    def _write_h5ad(self, cells):
        array = self.array("r")
        with written_whole(self.output) as unfinished:
            with created_hdf5(unfinished) as file:
                put_cells(file, self._table_of(cells))
                dataset = file["obsm"].create_dataset(_KEY, array.shape, "float32")
                dataset.attrs.update(_ENCODING)
                for chunk in range(self.n_chunks):
                    rows = slice(*self.rows(chunk))
                    dataset[rows] = array[rows]


def _changed(path):
    """Return the size and time of a file; of a folder, those of its description."""
    files = (
        [path] if path.is_file() else sorted([*path.glob("*.json"), *path.glob(".z*")])
    )
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]


def _compute(embedding, cells, work, todo):
    """Embed chunks one after the other and return the number of their cells."""
    ranges = [work.rows(chunk) for chunk in todo]
    total = sum(stop - start for start, stop in ranges)
    parts, scales = [], np.zeros(2, int)
    with ProgressBar(total, "Cells") as bar:
        for number, batch, more in embedded_batches(embedding, cells, ranges):
            parts.append(batch)
            scales += more
            bar.advance(steps=len(batch))
            start, stop = ranges[number]
            if sum(map(len, parts)) == stop - start:
                work.write(todo[number], np.concatenate(parts), scales)
                parts, scales = [], np.zeros(2, int)
    return total


def _compute_on_cluster(client, embedding, path, work, todo):
    """Embed chunks on the workers of a Dask cluster."""
    shared = (embedding, path.resolve(), work)
    calls = (delayed(_embed_chunk)(chunk, shared) for chunk in todo)
    total = sum(stop - start for start, stop in map(work.rows, todo))
    with ProgressBar(total, "Cells") as bar, parallel_config("dask", client=client):
        for n_cells in run_calls(calls, shared=[shared]):
            bar.advance(steps=n_cells)
    return total


def _embed_chunk(chunk, shared):
    """Embed one chunk, on a worker."""
    embedding, path, work = shared
    # The first copy that came here has the model.
    embedding = _last.setdefault(work.identity, embedding)
    for other in [key for key in _last if key != work.identity]:
        del _last[other]
    start, stop = work.rows(chunk)
    if not work.is_done(chunk):
        with open_cells(path, layer=embedding.layer, needs="counts") as cells:
            batches = list(embedded_batches(embedding, cells, [(start, stop)]))
        _, parts, scales = zip(*batches, strict=True)
        work.write(chunk, np.concatenate(parts), sum(scales))
    return stop - start
