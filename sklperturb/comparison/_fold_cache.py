"""Results of finished folds on disk, so that a stopped comparison goes on."""

import json

import joblib

from sklperturb._version import __version__
from sklperturb.files._writing import written_whole


class FoldCache:
    """Keep one JSON file for each fitted (model, fold).

    The file's name is a hash of the model's parameters, the data, the rows of the
    fold, the metrics and the toolkit's version: whatever changes, the fold is fitted
    anew. JSON and not pickle, since a results folder may come from somebody else.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    *identity : object
        What all folds depend on: the data and the metrics.
    """

    def __init__(self, folder, *identity):
        self.folder = folder
        self._common = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._common = joblib.hash((__version__, identity))

    def key(self, estimator, train, test):
        """Return the name of a fold's file, None if nothing is kept."""
        if self.folder is None:
            return None
        return joblib.hash((self._common, estimator, train, test))

    def read(self, key):
        """Return the stored result, None where there is none."""
        if key is None or not (self.folder / f"{key}.json").exists():
            return None
        return json.loads((self.folder / f"{key}.json").read_text())

    def write(self, key, result):
        """Store a result, whole or not at all."""
        if key is not None:
            with written_whole(self.folder / f"{key}.json") as path:
                path.write_text(json.dumps(result))
