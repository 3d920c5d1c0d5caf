"""Results of finished folds on disk, so that a stopped comparison goes on."""

import json
import warnings

import joblib
import numpy as np

from sklperturb._version import __version__
from sklperturb.files._arrays import read_npz
from sklperturb.files._documents import read_json
from sklperturb.files._reading import FileError, reading
from sklperturb.files._unfinished import remove_dead
from sklperturb.files._writing import written_whole
from sklperturb.utils._callbacks import without_callbacks
from sklperturb.utils._own_code import own_code

# What is kept under another number is not read. The first could hold folds of networks
# whose training was interrupted.
_FORMAT = 2


class FoldCache:
    """Keep one JSON file for each fitted (model, fold), and one of its predictions.

    The file's name is a hash of the model's parameters, the user's own code in it, the
    data, the rows of the fold, the metrics and the toolkit's version: whatever of these
    changes, the fold is fitted anew. JSON and not pickle, since a results folder may
    come from somebody else.

    Own code are the modules of classes and functions that the model is made of, and in
    a notebook these alone; see `own_code`. It is not noticed if other modules change
    that these call, or an installed package.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    metrics : list of str
        Names of the metrics, each of which has a score for every held-out row.
    *identity : object
        What else all folds depend on: the data.
    n_genes : int, default=None
        Columns of the predictions, which are kept beside the scores and read with them.
        None does neither.
    """

    def __init__(self, folder, metrics, *identity, n_genes=None):
        self.folder = folder
        self.metrics = metrics
        self.n_genes = n_genes
        self._common = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            remove_dead(folder)
            self._common = joblib.hash((_FORMAT, __version__, metrics, identity))

    def key(self, estimator, train, test):
        """Return the name of a fold's file, None if nothing is kept."""
        if self.folder is None:
            return None
        what = (self._common, without_callbacks(estimator), train, test)
        # Added to nothing else, so that what was kept of models of libraries is found.
        if code := own_code(estimator):
            what += (code,)
        return joblib.hash(what)

    def read(self, key, n_rows):
        """Return the stored result of `n_rows` held-out rows, None where there is none.

        A file that cannot be read is named in a warning, and its fold fitted anew. So
        is a fold that was kept without the predictions that are asked for.
        """
        if key is None:
            return None
        path = self._path(key)
        try:
            with reading(path, "the scores of a fold"):
                result = read_json(path)
                self._check(result, n_rows)
            if self.n_genes is not None:
                path = self._path(key, "npz")
                with reading(path, "the predictions of a fold"):
                    result["y_pred"] = self._read_predictions(path, n_rows)
        except FileNotFoundError:
            return None
        except (FileError, OSError) as error:
            warnings.warn(f"{error} The fold is fitted again.", stacklevel=4)
            return None
        return result

    def write(self, key, result):
        """Store a result, whole or not at all."""
        if key is None:
            return
        scores = {name: value for name, value in result.items() if name != "y_pred"}
        if self.n_genes is not None:
            # First, so that whoever sees the scores finds the predictions.
            with written_whole(self._path(key, "npz")) as path:
                np.savez(path, y_pred=result["y_pred"])
        with written_whole(self._path(key)) as path:
            path.write_text(json.dumps(scores), encoding="utf-8")

    def _path(self, key, kind="json"):
        return self.folder / f"{key}.{kind}"

    def _read_predictions(self, path, n_rows):
        y_pred = read_npz(path, ["y_pred"])["y_pred"]
        shape = (n_rows, self.n_genes)
        if y_pred.shape != shape or y_pred.dtype != np.float32:
            raise ValueError(
                f"predictions of shape {y_pred.shape} and type {y_pred.dtype}, in "
                f"place of {shape} and float32"
            )
        if not np.isfinite(y_pred).all():
            raise ValueError("predictions that are no finite numbers")
        return y_pred

    def _check(self, result, n_rows):
        """Raise if a result is not what `write` was given."""
        numbers = [result["seconds"], result["memory"]]
        for metric in self.metrics:
            scores = result["rows"][metric]
            if len(scores) != n_rows:
                raise ValueError(f"{len(scores)} scores of {n_rows} held-out rows")
            numbers += scores
        numbers = np.asarray(numbers)
        if numbers.dtype.kind not in "if" or not np.isfinite(numbers).all():
            raise ValueError("scores that are no finite numbers")
