"""Splits that other toolkits write down, as splitters."""

from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import (
    CONTROL,
    as_text,
    control_rows,
    each_label,
    name_asked_for,
    take_labels,
)
from sklperturb.conditions._near import near_misses, pairs
from sklperturb.conditions._validation import check_list
from sklperturb.files._documents import read_json, read_toml
from sklperturb.files._identifiers import as_identifier, as_identifiers
from sklperturb.files._reading import FileError, short
from sklperturb.files._tables import read_rows
from sklperturb.files._text import text_suffix
from sklperturb.model_selection._folds import read_table


class _SingleSplit(BaseCrossValidator):
    """Base of the splitters that give the one split that `_split` returns."""

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits, which is 1.

        Parameters
        ----------
        X, y, groups : object
            Ignored, present for scikit-learn's interface.

        Returns
        -------
        n_splits : int
        """
        return 1

    def split(self, X, y=None, groups=None):
        """Yield the rows to train on and those to test on.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
        y, groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of int
        """
        yield self._split(X)


class NamedSplit(_SingleSplit):
    """Hold out the rows that a published split names.

    One train-test split, as a cross-validator of a single fold, so that a model is
    compared with published numbers on the rows that these were computed on. Use
    :func:`load_split` to read it from a file.

    Parameters
    ----------
    test : list of str or of (str, str or None)
        Held-out perturbations, or pairs of context and perturbation; a pair with None
        is a whole context.
    exclude : list of str or of (str, str or None), default=()
        What is in neither part, such as what serves for validation.
    schema : PerturbationSchema, default=None
        Names the columns of X. None infers them from their spelling.

    Raises
    ------
    ValueError
        From `split`, if X holds no row that is named, or none to train on.
    TypeError
        From `split`, if a string is given in place of a list.

    Warns
    -----
    UserWarning
        From `split`, if names are in X but for their case, blanks or hyphens.

    Notes
    -----
    A combination is found in any order of its parts and with or without ``+ctrl``, and
    a control under any of its known names, whatever X and the split call them.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import NamedSplit
    >>> X = pd.DataFrame({"cell_type": ["K562", "RPE1", "K562"],
    ...                   "target_gene": ["A", "A", "B"]})
    >>> [(train, test)] = NamedSplit([("RPE1", "A")]).split(X)
    >>> train, test
    (array([0, 2]), array([1]))
    """

    def __init__(self, test, *, exclude=(), schema=None):
        self.test = test
        self.exclude = exclude
        self.schema = schema

    def _split(self, X):
        check_list(self.test, "test")
        check_list(self.exclude, "exclude")
        test = self._named(X, self.test)
        left_out = self._named(X, self.exclude) & ~test
        if not test.any():
            raise ValueError(
                f"No row of X is named in the split, which holds out "
                f"{list(self.test)[:5]}. Check the columns and the spelling."
            )
        if (test | left_out).all():
            raise ValueError("The split leaves no row of X to train on.")
        return np.flatnonzero(~test & ~left_out), np.flatnonzero(test)

    def _named(self, X, names):
        X, schema = read_table(X, self.schema)
        in_pairs = [tuple(name) for name in names if not isinstance(name, str)]
        alone = [name for name in names if isinstance(name, str)]
        schema.require(X, "perturbation", *(["context"] if in_pairs else []))
        perturbations = each_label(read_column(X, schema.perturbation), schema.spell)
        perturbations[control_rows(X, schema)] = CONTROL
        in_use = set(perturbations)
        parts = {part for name in in_use for part in schema.split(name)}

        def read(name):
            text = as_text(name).strip()
            if text in in_use:
                return text
            return name_asked_for(text, parts, schema, schema.control_labels)

        alone = [read(name) for name in alone]
        found = np.isin(perturbations, alone)
        near = near_misses(alone, perturbations)
        if in_pairs:
            contexts = take_labels(X, [schema.context])[:, 0]
            wanted = {(as_text(c), p and read(p)) for c, p in in_pairs}
            both = zip(contexts, perturbations, strict=True)
            named = (p in wanted or (p[0], None) in wanted for p in both)
            found |= np.fromiter(named, bool, len(found))
            near |= near_misses({c for c, _ in wanted}, contexts)
            near |= near_misses({p for _, p in wanted if p}, perturbations)
        if near:
            warn(
                f"{len(near)} names of the split are in X but for their spelling, and "
                f"are not found. Did you mean {pairs(near)}?"
            )
        return found


class RowSplit(_SingleSplit):
    """Hold out the rows that a published split lists one by one.

    Parameters
    ----------
    parts : array-like of shape (n_samples,)
        "train", "val" or "test" for every row of X, in its order.

    Raises
    ------
    ValueError
        From `split`, if X has another number of rows, or nothing is held out.

    Examples
    --------
    >>> from sklperturb.model_selection import RowSplit
    >>> list(RowSplit(["train", "test", "val"]).split([[0], [1], [2]]))
    [(array([0]), array([1]))]
    """

    def __init__(self, parts):
        self.parts = parts

    def _split(self, X):
        parts = np.asarray(self.parts)
        if len(parts) != len(X):
            raise ValueError(
                f"The split lists {len(parts)} rows and X has {len(X)}. Pass the cells "
                "that it was made for, in their order."
            )
        train, test = (np.flatnonzero(parts == part) for part in ("train", "test"))
        if not (len(train) and len(test)):
            raise ValueError(
                f"The split has {len(train)} rows to train on and {len(test)} to test "
                "on; both must be some."
            )
        return train, test


@validate_params(
    {"path": [str, PathLike], "fold": [StrOptions({"test", "val"})]},
    prefer_skip_nested_validation=True,
)
def load_split(path, *, fold="test", cells=None, schema=None):
    """Read a split that another toolkit wrote.

    Parameters
    ----------
    path : str or path-like
        A TOML file of cell-load, with the tables "zeroshot" and "fewshot"; a CSV file
        of PerturBench, with a cell and its part in each row and no header; or a JSON
        file with the split dictionary of GEARS, lists of conditions for "train",
        "val" and "test". Pickled dictionaries are not read, since opening one can run
        any code: write them as JSON.
    fold : {"test", "val"}, default="test"
        Which part to hold out; the other is left out of both sides.
    cells : sequence of str, default=None
        Names of the cells in the order of X, for PerturBench. None takes the order
        of the file.
    schema : PerturbationSchema, default=None
        Names the columns of X.

    Returns
    -------
    splitter : NamedSplit or RowSplit
        A cell-load context that is held out whole is named by its data set and context
        in the file; the splitter looks for the context.

    Raises
    ------
    ValueError
        If the file is of no known kind or holds out nothing, or cells are missing
        from it.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from sklperturb.model_selection import load_split
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "split.json"
    ...     _ = path.write_text(json.dumps({"train": ["A+ctrl"], "test": ["B+ctrl"]}))
    ...     load_split(path)
    NamedSplit(exclude=[], schema=None, test=['B+ctrl'])
    """
    path = Path(path)
    readers = {".toml": _cell_load, ".csv": _perturbench, ".json": _gears}
    suffix = text_suffix(path)
    if suffix not in readers:
        raise ValueError(
            f"{path} is no .toml (cell-load), .csv (PerturBench) or .json (GEARS) "
            "file. Write a pickled dictionary as JSON first."
        )
    return readers[suffix](path, fold, cells, schema)


def _gears(path, fold, cells, schema):
    parts = read_json(path)
    known = isinstance(parts, dict) and parts.keys() >= {"train", fold}
    if not known or not all(map(_is_names, parts.values())):
        raise FileError(
            f"{path} is no split of GEARS: a dictionary with lists of conditions, in "
            f"text, for 'train' and {fold!r} is expected."
        )
    if not parts[fold]:
        raise FileError(f"{path} holds out nothing as {fold!r}.")
    side = {}
    for part in ("train", "val", "test"):
        for name in parts.get(part, ()):
            if side.setdefault(name, part) != part:
                raise FileError(
                    f"{path} names {short(name)} in {side[name]!r} and in {part!r}; a "
                    "condition belongs to one of them."
                )
    others = [n for key in ("val", "test") if key != fold for n in parts.get(key, [])]
    return NamedSplit(list(parts[fold]), exclude=others, schema=schema)


def _is_names(value):
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _perturbench(path, fold, cells, schema):
    rows = read_rows(path)
    allowed = {"train", "val", "test", "nan", ""}
    if rows and len(rows[0]) == 2 and rows[0][1] not in allowed:
        rows = rows[1:]  # a header, which pandas writes by default
    wrong = [row for row in rows if len(row) != 2 or row[1] not in allowed]
    if wrong or not rows:
        raise FileError(
            f"{path} is no split of PerturBench: each row names a cell and one of "
            f"train, val and test. Found {short(wrong[:1]) if wrong else 'nothing'}."
        )
    part_of = {as_identifier(name): part for name, part in rows}
    if len(part_of) != len(rows):
        raise FileError(f"{path} names a cell more than once.")
    names = list(part_of if cells is None else as_identifiers(cells))
    missing = [name for name in names if name not in part_of]
    if missing:
        raise ValueError(
            f"{len(missing)} cells are not in {path.name}, such as {missing[:5]}."
        )
    parts = [part_of[name] for name in names]
    swap = {"val": "test", "test": "val"} if fold == "val" else {}
    return RowSplit([swap.get(part, part) for part in parts])


def _cell_load(path, fold, cells, schema):
    content = read_toml(path)
    sides = {"val": [], "test": []}
    named = [(key, part, [None]) for key, part in _table(content, "zeroshot", path)]
    for key, parts in _table(content, "fewshot", path):
        named += [(key, part, names) for part, names in _table({key: parts}, key, path)]
    for key, part, names in named:
        if part not in ("val", "test"):
            raise FileError(
                f"{path}: {key!r} is put into {short(part)}; allowed are 'val' and "
                "'test'."
            )
        if names != [None] and not _is_names(names):
            raise FileError(
                f"{path}: {key!r} holds out {short(names)} as {part!r}; a list of "
                "perturbations, which are text, is expected."
            )
        sides[part].extend((key.rpartition(".")[2], name) for name in names)
    held_out = sides.pop(fold)
    if not held_out:
        raise FileError(f"{path} holds out nothing as {fold!r}.")
    [others] = sides.values()
    return NamedSplit(held_out, exclude=others, schema=schema)


def _table(content, name, path):
    """Return the items of a table of a TOML file, none if it is not there."""
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise FileError(f"{path}: {name!r} is {short(found)}; it must be a table.")
    return found.items()
