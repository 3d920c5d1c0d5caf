"""Embed files of any size: part by part, on one machine or many, stop and resume."""

import contextlib
import hashlib
import json
import shutil
import warnings
import zlib
from pathlib import Path

import anndata
import h5py
import numpy as np
import zarr
from sklearn.base import clone

from sklperturb._version import __version__
from sklperturb.cells import open_cells
from sklperturb.embedding._batches import embedded_batches, warn_of_both_scales
from sklperturb.files._writing import check_output, unfinished_folder, written_whole
from sklperturb.utils._progress import ProgressBar

_KEY = "X_state"
_ENCODING = {"encoding-type": "array", "encoding-version": "0.2.0"}
_SUFFIXES = (".h5ad", ".zarr")
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
        If the output exists and `overwrite` is false.
    ValueError
        If an unfinished output is of other cells, parameters or weights.

    See Also
    --------
    SEEmbedding : Embeds cells in memory.

    Notes
    -----
    Unfinished work is in a folder with the name of the output and ``.unfinished`` at
    its end. Before the output gets its name, the chunks are read back and compared with
    what was computed.

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
    if chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size} must be at least 1.")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard={shard} must be (i, n) with i from 1 to n.")
    with open_cells(path, layer=embedding.layer, needs="counts") as cells:
        embedding = clone(embedding).fit(cells)
        work = _Work(output, path, cells, embedding, chunk_size)
        work.begin(cells, resume=resume or shard is not None)
        mine = range(work.n_chunks)
        if shard is not None:
            bounds = np.linspace(0, work.n_chunks, shard[1] + 1).astype(int)
            mine = range(bounds[shard[0] - 1], bounds[shard[0]])
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

    def begin(self, cells, resume):
        """Make the folder, or check that the one there is of the same work."""
        published = self.folder.exists() and not (self.folder / "store").exists()
        if published or (self.folder.exists() and not resume):
            shutil.rmtree(self.folder)
        if not self.folder.exists():
            with unfinished_folder(self.folder.parent) as made:
                (made / "work" / "done").mkdir(parents=True)
                self._write_store(made / "work" / "store", cells)
                manifest = made / "work" / "manifest.json"
                manifest.write_text(json.dumps(self._manifest, indent=1))
                # Another shard may have been quicker.
                with contextlib.suppress(OSError):
                    (made / "work").rename(self.folder)
        if (self.folder / "checked").exists() and not (self.folder / "done").exists():
            (self.folder / "checked").rename(self.folder / "done")
        found = json.loads((self.folder / "manifest.json").read_text())
        wanted = json.loads(json.dumps(self._manifest))
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
        return self._note(chunk).exists()

    @property
    def identity(self):
        return json.dumps(self._manifest)

    def write(self, chunk, values, scales):
        """Write a chunk, and then the note that it is there."""
        start, stop = self.rows(chunk)
        self.array("r+")[start:stop] = values
        note = {
            "crc": zlib.crc32(np.ascontiguousarray(values)),
            "n_raw": int(scales[0]),
            "n_log": int(scales[1]),
        }
        with written_whole(self._note(chunk)) as unfinished:
            unfinished.write_text(json.dumps(note))

    def finish(self, cells, overwrite):
        """Check all chunks and give the output its name; False if some are missing."""
        if not all(self.is_done(chunk) for chunk in range(self.n_chunks)):
            return False
        # Of shards that end together, the one that can rename the notes goes on.
        mine = self.folder / "checked"
        try:
            (self.folder / "done").rename(mine)
        except FileNotFoundError:
            return False
        try:
            notes = self._check(mine)
            check_output(self.output, _SUFFIXES, overwrite)
            if self.output.suffix == ".h5ad":
                self._write_h5ad(cells)
            else:
                self._publish_zarr()
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                mine.rename(self.folder / "done")
            raise
        shutil.rmtree(self.folder, ignore_errors=True)
        both = [sum(note[name] for note in notes) for name in ("n_raw", "n_log")]
        warn_of_both_scales(*both, stacklevel=4)
        return True

    def _check(self, folder):
        """Compare what is on disk with what was computed."""
        array = self.array("r")
        notes, bad = [], []
        for chunk in range(self.n_chunks):
            file = folder / self._note(chunk).name
            notes.append(json.loads(file.read_text()))
            values = np.ascontiguousarray(array[slice(*self.rows(chunk))])
            if notes[-1]["crc"] != zlib.crc32(values):
                bad.append(chunk)
                file.unlink()
        if bad:
            raise OSError(
                f"{len(bad)} chunks of {self.folder} are not what was computed; is the "
                "disk full? Run the same again to make these anew."
            )
        return notes

    def _publish_zarr(self):
        zarr.consolidate_metadata(str(self.folder / "store"))
        if self.output.exists():
            shutil.rmtree(self.output)
        (self.folder / "store").rename(self.output)

    def _write_h5ad(self, cells):
        array = self.array("r")
        with written_whole(self.output) as unfinished:
            self._table_of(cells).write_h5ad(unfinished)
            with h5py.File(unfinished, "r+") as file:
                dataset = file["obsm"].create_dataset(_KEY, array.shape, "float32")
                dataset.attrs.update(_ENCODING)
                for chunk in range(self.n_chunks):
                    rows = slice(*self.rows(chunk))
                    dataset[rows] = array[rows]

    def _note(self, chunk):
        return self.folder / "done" / f"{chunk}.json"


def _changed(path):
    """Return the size and time of a file; of a folder, those of its description."""
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    files += sorted(path.glob(".z*"))
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
    from distributed import as_completed

    shared = (embedding, path.resolve(), work)
    tasks = client.map(_embed_chunk, todo, shared=shared, pure=False, retries=2)
    total = sum(stop - start for start, stop in map(work.rows, todo))
    with ProgressBar(total, "Cells") as bar:
        for task in as_completed(tasks):
            bar.advance(steps=task.result())
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
