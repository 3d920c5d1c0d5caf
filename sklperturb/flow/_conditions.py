"""Turn rows of conditions into sets of vectors and covariates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import linalg
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import (
    as_text,
    control_rows,
    join_combination,
    take_labels,
)
from sklperturb.conditions._levels import indicator
from sklperturb.conditions._quantities import read_doses
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.files._fields import (
    Array,
    Either,
    Flag,
    Listed,
    Maybe,
    Number,
    Row,
    Size,
    Text,
)
from sklperturb.flow._state import COLUMN, Having, Object, attributes, stored
from sklperturb.preprocessing import LookupEmbedding

SMALLEST = 1e-30  # of what is divided by
# Wider sources, or half as wide as perturbations are many, are shown to the network
# along so many principal axes.
_WIDEST, _N_AXES = 64, 32
_ROLES = "context control smiles dose batch replicate mechanism".split()
stored(
    attributes(),
    optional=("combines", "mechanism"),
    perturbation=COLUMN,
    control_labels=Listed(Text()),
    combines=Maybe(Flag()),
    **dict.fromkeys(_ROLES, Maybe(COLUMN)),
)(PerturbationSchema)
stored(
    attributes("table", "_positions"),  # these follow from the others
    optional=("feature_names_in_",),
    n_components=Maybe(Number(1, whole=True)),
    combine=Text(("sum", "mean")),
    add_indicator=Flag(),
    schema=Maybe(Object(PerturbationSchema)),
    schema_=Object(PerturbationSchema),
    n_features_in_=Size("n_columns"),
    feature_names_in_=Array(("n_columns",), "U", unique=True),
    genes_=Array(("n_known",), "U", unique=True),
    embedding_=Array(("n_known", "n_dimensions")),
    n_components_=Size("n_dimensions"),
)(LookupEmbedding)
_SOURCE = Either(
    lambda value: type(value) is LookupEmbedding,
    Object(LookupEmbedding, apart=True),
    Having("transform"),
)


@dataclass
class Conditions:
    """Conditions as numbers.

    Attributes
    ----------
    keys : list of tuple (context, parts, dose)
    elements : ndarray of shape (n, n_parts, n_elements)
        What all sources say of each part, side by side.
    mask : ndarray of shape (n, n_parts)
    covariates : ndarray of shape (n, n_covariates)
    ends : tuple of int
        Where in the elements each source ends; none where parts only have names.
    controls : ndarray of shape (n, n_outputs) or None
        Mean control of each condition's context.
    """

    keys: list
    elements: np.ndarray
    mask: np.ndarray
    covariates: np.ndarray
    ends: tuple = ()
    controls: np.ndarray | None = None

    def __len__(self):
        return len(self.keys)

    def take(self, rows):
        """Return some conditions, no wider than they need: padding costs digits."""
        keys = [self.keys[i] for i in rows]
        width = max((len(parts) for _, parts, _ in keys), default=0)
        return Conditions(
            keys,
            self.elements[rows, :width],
            self.mask[rows, :width],
            self.covariates[rows],
            self.ends,
            None if self.controls is None else self.controls[rows],
        )

    def tensors(self, scaler):
        """Return scaled elements, mask and covariates as the network takes them."""
        values = scaler(self.elements), self.mask, self.covariates
        return [torch.from_numpy(np.asarray(v, np.float32)) for v in values]

    def sources(self):
        """Return the columns of each source, and which parts it knows: not zeros."""
        starts = (0, *self.ends[:-1])
        columns = [slice(*ends) for ends in zip(starts, self.ends, strict=False)]
        return [(c, self.elements[..., c].any(axis=2)) for c in columns]

    def flat(self):
        """Return one vector each: the sum of the elements, then the covariates."""
        summed = (self.elements * self.mask[..., None]).sum(axis=1)
        return np.hstack([summed, self.covariates])


@stored(
    mean=Array(("n_told",)),
    scale=Array(("n_told",), low=SMALLEST),
    axes=Maybe(Array(("n_told", "n_elements"))),
)
@dataclass
class ElementScaler:
    """Centre and scale elements for the network, each perturbation counted once.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_elements,)
    axes : ndarray of shape (n_elements, n_axes) or None
        Principal axes of wide sources, which are scaled by one number each; the columns
        of the others as they are. None without wide ones.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray | None = None

    @classmethod
    def fit(cls, conditions):
        names = [(p, context) for context, parts, _ in conditions.keys for p in parts]
        first = pd.Series(names).drop_duplicates().index
        vectors = conditions.elements[conditions.mask > 0][first]
        spread = vectors.std(axis=0)
        scaler = cls(vectors.mean(axis=0), np.where(spread > 1e-9, spread, 1.0))
        ends = conditions.ends or (vectors.shape[1],)
        widest = min(_WIDEST, len(vectors) // 2)
        if not conditions.ends or np.diff((0, *ends)).max() <= widest:
            return scaler
        blocks = []
        for start, end in zip((0, *ends[:-1]), ends, strict=True):
            if end - start <= widest:
                blocks.append(np.eye(end - start))
                continue
            centred = vectors[:, start:end] - scaler.mean[start:end]
            _, values, axes = linalg.svd(centred, full_matrices=False)
            axes = axes[: min(_N_AXES, max((values > 1e-9).sum(), 1))]
            strengths = np.sqrt(np.square(values[: len(axes)]).mean() / len(vectors))
            scaler.scale[start:end] = max(strengths, 1e-9)
            blocks.append(axes.T)
        scaler.axes = linalg.block_diag(*blocks)
        return scaler

    def __call__(self, elements):
        scaled = (elements - self.mean) / self.scale
        return (scaled if self.axes is None else scaled @ self.axes).astype(np.float32)


@stored(
    schema=Object(PerturbationSchema),
    embedding=Listed(_SOURCE),
    parts=Listed(Text(), unique=True),
    contexts=Listed(Text(), unique=True),
    dose=Row((Number(), Number(SMALLEST))),
)
@dataclass
class ConditionReader:
    """Read rows of conditions as vectors and covariates.

    Attributes
    ----------
    schema : PerturbationSchema
    embedding : list of fitted transformer
        Sources of what is known of perturbations, a vector of each. Without any, each
        perturbation has its own dimension, and one that was not seen none at all.
    parts, contexts : list of str
        Perturbations and contexts of the training data, sorted.
    dose : tuple of float
        Mean and standard deviation of the logarithms of the doses.
    """

    schema: PerturbationSchema
    embedding: Any
    parts: list
    contexts: list
    dose: tuple

    @classmethod
    def fit(cls, embedding, schema, X, y, perturbed):
        """Learn from the rows of cells; `perturbed` marks those that are no control."""
        embedding = [clone(source) for source in _listed(embedding)]
        for source in embedding:
            for name, value in source.get_params().items():
                last = name.rpartition("__")[2]
                if value is None and last == "schema":
                    source.set_params(**{name: schema})
                elif last == "add_indicator":
                    # What no source knows is zeros, and by that told from the others.
                    source.set_params(**{name: False})
            source.fit(X, y)
        reader = cls(schema, embedding, [], [], (0.0, 1.0))
        keys = reader.keys(_safe_indexing(X, np.flatnonzero(perturbed)))
        reader.parts = sorted({part for _, parts, _ in keys for part in parts})
        for source in embedding:
            if isinstance(source, LookupEmbedding):
                _narrow(source, reader.parts)
        reader.contexts = sorted({key[0] for key in keys})
        doses = np.log1p([key[2] for key in keys])
        reader.dose = float(doses.mean()), float(doses.std()) or 1.0
        return reader

    def check_same(self, embedding, schema):
        """Raise unless an embedding and a schema are those that were learnt from."""
        given, kept = map(_told, _listed(embedding)), map(_told, self.embedding)
        changed = ["embedding"] if list(given) != list(kept) else []
        changed += ["schema"] if schema not in (None, self.schema) else []
        if changed:
            raise ValueError(
                "warm_start=True goes on with the network of the last fit, which reads "
                f"conditions by another {' and '.join(changed)} than the parameters "
                "now name. Set the parameters back, or warm_start=False."
            )

    def keys(self, X):
        """Return (context, parts, dose) of each row."""
        names = take_columns(X, [self.schema.perturbation])[:, 0]
        levels = {name: self.schema.split(name) for name in set(names)}
        # A marked control may have any name; a condition has at least one part.
        parts = [levels[name] or (as_text(name),) for name in names]
        contexts = take_labels(X, self.schema.columns("context"))
        contexts = ["".join(row) for row in contexts]  # "" without a column
        return list(zip(contexts, parts, self._doses(X), strict=True))

    def choose_dose(self, dose, measured):
        """Return the dose of perturbations: the one that is given, or the only one.

        Parameters
        ----------
        dose : number, str or None
        measured : DataFrame or ndarray of shape (n_conditions, n_columns)
            The conditions of the training data.

        Raises
        ------
        ValueError
            If there is a choice and `dose` is None, or there are no doses and it is
            not, or it is no dose.
        """
        column = self.schema.dose
        if column is None:
            if dose is not None:
                raise ValueError(
                    f"dose={dose!r} was passed, and the model knows no doses: the "
                    "schema that it was fitted with names no column of them."
                )
            return None
        doses = self._doses(measured)
        if dose is not None:
            # With the measured ones: all have a unit, or none.
            known = take_columns(measured, [column])[:, 0]
            found = self._check_doses(np.append(known, dose), "dose")
            is_text = any(isinstance(value, str) for value in known)
            return dose if is_text else float(found[-1])
        if np.ptp(doses) > 0:
            raise ValueError(
                f"The model was fitted to doses from {doses.min():g} to "
                f"{doses.max():g} (column {column!r}), of which one has to be chosen: "
                f"pass it as dose, such as dose={doses.max():g}."
            )
        return take_columns(measured, [column])[0, 0]

    def read(self, X):
        """Return rows of conditions as `Conditions`."""
        keys = self.keys(X)
        rows = np.repeat(np.arange(len(keys)), [len(parts) for _, parts, _ in keys])
        names = [part for _, parts, _ in keys for part in parts]
        vectors, ends = self._vectors(X, rows, names)
        width = max(len(parts) for _, parts, _ in keys)
        columns = np.concatenate([np.arange(len(parts)) for _, parts, _ in keys])
        elements = np.zeros((len(keys), width, vectors.shape[1]))
        mask = np.zeros((len(keys), width))
        elements[rows, columns] = vectors
        mask[rows, columns] = 1.0
        return Conditions(keys, elements, mask, self._covariates(keys), ends)

    def _vectors(self, X, rows, names):
        """Return what is known of parts, and where each source ends."""
        if not self.embedding:
            return _one_hot(names, self.parts), ()
        table = pd.DataFrame(_safe_indexing(X, rows), copy=True)
        table[self.schema.perturbation] = names
        if not isinstance(X, pd.DataFrame):
            table = table.to_numpy(object)
        found = [np.asarray(s.transform(table), np.float64) for s in self.embedding]
        ends = np.cumsum([vectors.shape[1] for vectors in found])
        return np.hstack(found), tuple(map(int, ends))

    def _covariates(self, keys):
        columns = []
        if self.schema.context is not None:
            columns.append(_one_hot([key[0] for key in keys], self.contexts))
        if self.schema.dose is not None:
            mean, spread = self.dose
            columns.append((np.log1p([[key[2]] for key in keys]) - mean) / spread)
        return np.hstack([np.empty((len(keys), 0)), *columns])

    def _doses(self, X):
        """Return the dose of each row; that of a control may be missing, and is 0."""
        column = self.schema.dose
        if column is None:
            return np.zeros(len(X))
        values = take_columns(X, [column], allow_missing=True)[:, 0]
        values[pd.isna(values) & control_rows(X, self.schema)] = 0.0
        return self._check_doses(values, f"The column {column!r}")

    @staticmethod
    def _check_doses(values, described):
        doses, _ = read_doses(values, described)
        if not (np.isfinite(doses).all() and (doses >= 0).all()):
            raise ValueError(
                f"{described} must hold doses: finite numbers, 0 or more, missing of "
                "controls only. Leave the role 'dose' out of the schema if it does not."
            )
        return doses


def _listed(embedding):
    """Return the sources of an embedding as it was given: one, several or None."""
    if isinstance(embedding, list | tuple):
        return list(embedding)
    return [] if embedding is None else [embedding]


def _told(source):
    """Return what tells a source from others: class, numbers, names, and widths."""
    found = {}
    for name, value in source.get_params().items():
        if name.rpartition("__")[2] in ("schema", "add_indicator"):
            continue  # which `fit` sets
        if isinstance(value, pd.DataFrame | np.ndarray):
            found[name] = value.shape[1:]
        elif value is None or isinstance(value, str | int | float):
            found[name] = value
    return type(source), found


def _narrow(lookup, names):
    """Leave of a wide table what its products with the rows of some names need."""
    rows = lookup.embedding_[np.isin(lookup.genes_.astype(str), names)]
    if 0 < len(rows) < lookup.n_components_:
        axes = linalg.qr(rows.T, mode="economic")[0]
        lookup._finish_fit(lookup.genes_, lookup.embedding_ @ axes)


def _one_hot(names, levels):
    codes = pd.Index(levels, dtype=object).get_indexer(names)
    return indicator(codes, len(levels)).toarray()


def name_of(key):
    """Return how to call a condition in messages."""
    context, parts, _ = key
    return join_combination(parts) + (f" in {context}" if context else "")
