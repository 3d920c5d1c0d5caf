"""Labels of conditions as a file writes them, and as the toolkit reads them."""

from collections import Counter
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd

from sklperturb.cells._files import is_annotated
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import (
    CONTROL,
    SEPARATOR,
    as_text,
    each_label,
    join_combination,
    name_asked_for,
    parts_of,
    split_combination,
)
from sklperturb.conditions._near import joined_otherwise, near_misses, pairs, quoted
from sklperturb.files._fields import Listed, Mapping, Text
from sklperturb.flow._state import stored


@stored(
    controls=Listed(Text(), unique=True),
    written=Mapping(Text()),
    patterns=Mapping(Listed(Text())),
)
@dataclass
class Spelling:
    """How the training data write controls, perturbations and combinations.

    Attributes
    ----------
    controls : list of str
        Labels of the controls, the most frequent first.
    written : dict of str to str
        What the data write for each perturbation, by its name here (``A+B`` in
        alphabetical order).
    patterns : dict of str to list of str
        By the number of perturbations that a label combines, what stands before,
        between and after their names, such as ``["", "+ctrl"]``.
    """

    controls: list
    written: dict
    patterns: dict

    @classmethod
    def learn(cls, labels, names, is_control, schema):
        """Learn from the cells of the training data.

        Parameters
        ----------
        labels : ndarray of str of shape (n_cells,)
            As they are written.
        names : ndarray of str of shape (n_cells,)
            As they are read.
        is_control : ndarray of bool of shape (n_cells,)
        schema : PerturbationSchema
            Says whether labels can be combinations.
        """
        controls = pd.Series(labels[is_control]).value_counts().index.tolist()
        pairs = pd.DataFrame({"label": labels, "name": names})[~is_control]
        pairs = pairs.value_counts().index.to_frame().drop_duplicates("name")
        written, votes, combines = {}, {}, schema.labels_combine
        for label, name in zip(pairs["label"], pairs["name"], strict=True):
            parts = split_combination(name, controls) if combines else (name,)
            written[join_combination(parts or (name,))] = label
            pieces = _pieces(label, parts)
            if pieces is not None:
                votes.setdefault(str(len(parts)), Counter())[tuple(pieces)] += 1
        patterns = {n: list(found.most_common(1)[0][0]) for n, found in votes.items()}
        return cls(controls, written, patterns)

    def read(self, label, schema):
        """Return the name of what a label asks for; ``control`` for controls."""
        label = as_text(label).strip()
        if label in self.controls:
            return CONTROL
        if label in self.written:
            return label
        for name, written in self.written.items():
            if label == written:
                return name
        known = {part for name in self.written for part in parts_of(name)}
        return name_asked_for(label, known, schema, self.controls)

    def doubts(self, names, genes=()):
        """Return a message if names read like combinations of known ones or genes."""
        known = {part for name in self.written for part in parts_of(name)}
        known.update(self.controls, genes)
        found = [name for name in names if name not in self.written]
        found = joined_otherwise(sorted(found), known)
        if not found:
            return []
        return [
            f"{len(found)} perturbations read like combinations of known ones, and are "
            f"taken as one new perturbation each, such as {quoted(found[0])}. Write a "
            "plus sign between the parts, as in 'A+B', if they are combinations."
        ]

    def write(self, name, asked=None):
        """Return what the training data write, or would, for a name.

        Parameters
        ----------
        name : str
        asked : str, default=None
            The label that asked for it: the parts of a combination that the training
            data lack stay in its order.
        """
        if name == CONTROL:
            return self.controls[0] if self.controls else CONTROL
        if name in self.written:
            return self.written[name]
        parts = parts_of(name)
        in_order = dict.fromkeys(p for p in parts_of(asked or name) if p in parts)
        # Names that do not combine may hold a plus sign, and are no sum of their parts.
        if join_combination(in_order) == name:
            parts, name = tuple(in_order), SEPARATOR.join(in_order)
        pieces = self.patterns.get(str(len(parts)))
        if pieces is None:
            return name
        return pieces[0] + "".join(map("".join, zip(parts, pieces[1:], strict=True)))


def _pieces(label, parts):
    """Return what stands around the parts in a label, or None if they overlap."""
    places = sorted((label.find(part), len(part)) for part in parts)
    pieces, stop = [], 0
    for start, length in places:
        if start < stop:
            return None
        pieces.append(label[stop:start])
        stop = start + length
    return [*pieces, label[stop:]] if parts else None


def as_written(y, column, names):
    """Return the labels of cells as the file has them; `names` where it has none."""
    if not is_annotated(y) or column not in y.obs:
        return names
    labels = y.obs[column].astype(object)
    labels = labels.where(labels.notna(), names)
    return each_label(labels, as_text).astype(str)


def count_cells(perturbations, n_cells, n_controls, spelling, flow):
    """Return the number of cells of each perturbation, each named once.

    Parameters
    ----------
    perturbations : list of str
    n_cells : int or array-like of int
    n_controls : int
    spelling : Spelling
    flow : FittedFlow

    Returns
    -------
    numbers : dict of str to int
        By name.
    asked : dict of str to str
        By name, the first label that asks for it.

    Raises
    ------
    ValueError
        If a number is not positive, or controls are asked for and there are none.
    """
    if isinstance(perturbations, str):
        perturbations = [perturbations]
    sizes = np.asarray(n_cells)
    shape = (len(perturbations),)
    sizes = np.full(shape, sizes) if sizes.ndim == 0 else sizes
    if sizes.shape != shape or sizes.dtype.kind not in "iu" or (sizes < 1).any():
        raise ValueError(
            "n_cells must be a whole number of 1 or more, or one for each of the "
            f"{len(perturbations)} perturbations; got {n_cells!r}."
        )
    schema, numbers, asked = flow.reader.schema, {}, {}
    for label, size in zip(perturbations, sizes, strict=True):
        if not str(label).strip():
            raise ValueError("perturbations holds an empty name; leave it out.")
        name = spelling.read(label, schema)
        numbers[name] = numbers.get(name, 0) + int(size)
        asked.setdefault(name, as_text(label))
    near = near_misses(numbers, [CONTROL, *spelling.written])
    if near:
        warn(
            f"{len(near)} perturbations are in the training data but for their "
            f"spelling, and are taken as new. Did you mean {pairs(near)}?"
        )
    if schema.labels_combine:
        genes = {gene for source in flow.reader.embedding for gene in source.genes_}
        for message in spelling.doubts(numbers, genes):
            warn(message)
    if not isinstance(n_controls, Integral) or n_controls < 0:
        raise ValueError(
            f"n_controls must be a whole number of 0 or more; got {n_controls!r}."
        )
    if n_controls:
        numbers[CONTROL] = numbers.get(CONTROL, 0) + n_controls
    if not numbers or min(numbers.values()) < 1:
        raise ValueError(
            f"perturbations={perturbations!r} with n_controls={n_controls!r} asks "
            "for no cells; name perturbations, or 1 or more controls."
        )
    if CONTROL in numbers and not len(flow.pools.controls):
        raise ValueError(
            "Controls cannot be generated, since there were none in the training "
            "data; leave control labels and n_controls out."
        )
    return numbers, asked
