"""What a model file says to people: the card, and where its facts are from."""

import hashlib
from dataclasses import asdict, is_dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklperturb.cells import open_cells
from sklperturb.cells._files import is_annotated, x_of
from sklperturb.conditions._frames import as_pandas

_USE = (
    "To predict the responses of conditions like those it was trained on: the same "
    "kind of measurement, contexts that were measured, perturbations named in the same "
    "way."
)
_FAILURES = (
    "Contexts, perturbations and doses that are far from the training data are "
    "predicted by what is common to all, which may be little better than no change. "
    "The errors on a screen that was measured or processed otherwise are not known. No "
    "prediction is a measurement, and none is for the care of patients."
)
_MOST_CONTEXTS = 200
_NOT_GIVEN = "Not given when the model was saved."


def card_text(estimator, about, sections=None):
    """Return the card of a model as Markdown.

    Parameters
    ----------
    estimator : estimator
    about : dict of str to object
        Entries of the manifest.
    sections : dict of str to str, default=None
        Sections to replace or to add, by title.
    """
    known = {
        "Model": _model(about),
        "Trained on": _training(about),
        "Scores": _scores(about["scores"]),
        "Intended use": _USE,
        "Failure modes": _FAILURES,
    }
    parts = [f"# {type(estimator).__name__}"]
    for title, text in (known | dict(sections or {})).items():
        parts.append(f"## {title}\n\n{str(text).strip()}")
    return "\n\n".join(parts) + "\n"


def _model(about):
    lines = [f"`{about['model_class']}`", ""]
    lines += [f"- {name}: `{value}`" for name, value in about["parameters"].items()]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(about["libraries"].items()))
    return "\n".join([*lines, "", f"Fitted with {versions}."])


def _training(about):
    lines = []
    if about["n_samples"] is not None:
        lines.append(f"- conditions: {about['n_samples']}")
    if about["genes"] is not None:
        lines.append(f"- genes: {len(about['genes'])}")
    if about["columns"] is not None:
        lines.append(f"- columns: {', '.join(map(str, about['columns']))}")
    if about["contexts"]:
        lines.append(f"- contexts: {', '.join(about['contexts'])}")
    if about["schema"] is not None:
        roles = ", ".join(f"{k} is {v}" for k, v in about["schema"].items())
        lines.append(f"- roles: {roles}")
    if about["fingerprint"] is not None:
        lines.append(f"- SHA-256 of the data: `{about['fingerprint']}`")
    return "\n".join(lines) or _NOT_GIVEN


def _scores(scores):
    if not scores:
        return _NOT_GIVEN
    names = list(dict.fromkeys(name for row in scores for name in row))
    rows = [[_shown(row.get(name)) for name in names] for row in scores]
    table = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _shown(value):
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def plain_scores(scores):
    """Return scores as a list of dictionaries of text and finite numbers."""
    if scores is None:
        return []
    rows = scores.to_dict("records") if hasattr(scores, "to_dict") else list(scores)
    return [{str(k): _plain(v) for k, v in row.items()} for row in rows]


def _plain(value):
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return (
        value if value is None or isinstance(value, bool | int | float) else str(value)
    )


def column_names_of(estimator, X):
    """Return the names of the columns of the conditions, or None."""
    names = getattr(as_pandas(X), "columns", None)
    if names is None:
        names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [_plain(name) for name in names]


def columns_read_by(estimator):
    """Return the names of the columns that `predict` needs, or None."""
    try:
        return [_plain(name) for name in estimator._used_columns()]
    except AttributeError:  # it cannot tell, or is not fitted
        return None


def context_names_of(X, roles):
    """Return the names of the contexts among the conditions, or None."""
    X, column = as_pandas(X), (roles or {}).get("context")
    if column is None or not isinstance(X, pd.DataFrame) or column not in X:
        return None
    names = sorted(map(str, X[column].dropna().unique()))
    return names[:_MOST_CONTEXTS]


def gene_names_of(y):
    """Return the names of the genes of the responses, or None."""
    names = getattr(y, "var_names", None)
    if names is None:
        names = getattr(as_pandas(y), "columns", None)
    if names is None and getattr(y, "name", None) is not None:
        names = [y.name]
    return None if names is None else [str(name) for name in names]


def schema_of(estimator, schema):
    """Return the roles of the columns as a dictionary, or None."""
    for found in (schema, getattr(estimator, "schema_", None)):
        if is_dataclass(found):
            return {
                k: _plain(v) for k, v in asdict(found).items() if v not in (None, ())
            }
    return None


def data_fingerprint(X, y):
    """Return the SHA-256 of training data, the same for the same rows and names.

    Parameters
    ----------
    X : DataFrame or array-like
    y : array-like, DataFrame or AnnData

    Returns
    -------
    fingerprint : str or None
        In hexadecimal; None without both of them.

    Examples
    --------
    >>> from sklperturb.persistence import data_fingerprint
    >>> data_fingerprint([["B", "Idelalisib"]], [[0.5, 1.5]])[:8]
    '2392ee51'
    """
    if X is None or y is None:
        return None
    found = hashlib.sha256()
    for part in (X, y):
        part = as_pandas(part)
        for name in getattr(part, "var_names", getattr(part, "columns", ())):
            found.update(f"{name}\0".encode("utf-8", "surrogatepass"))
        if is_annotated(part):
            _add_cells(found, part)
        else:
            _add_values(found, part)
    return found.hexdigest()


def _add_cells(found, cells):
    """Add expression a block at a time, since it may be left in a file."""
    if x_of(cells._adata_ref if cells.is_view else cells) is None:
        for name in sorted(cells.obsm):  # all that there is
            found.update(f"{name}\0".encode("utf-8", "surrogatepass"))
            _add_values(found, cells.obsm[name])
        return
    opened = open_cells(cells)
    parts = [hashlib.sha256() for _ in range(3)]
    for _, block in opened.blocks():
        arrays = [block]
        if sp.issparse(block):
            arrays = [block.data, block.indices, np.diff(block.indptr)]
        for part, array in zip(parts, arrays, strict=False):
            part.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    found.update(f"{opened.shape}".encode())
    for part in parts:
        found.update(part.digest())


def _add_values(found, values):
    dtypes = set(values.dtypes) if isinstance(values, pd.DataFrame) else ()
    if len(dtypes) > 1 or "object" in map(str, dtypes):
        for i in range(values.shape[1]):
            _add_values(found, values.iloc[:, i].to_numpy())
    elif sp.issparse(values):
        values = values.tocsr()
        for part in (values.data, values.indices, values.indptr):
            _add_values(found, part)
    else:
        array = np.asarray(values)
        found.update(f"{array.shape}".encode())
        if array.dtype.kind in "biuf":
            found.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        else:
            texts = "\0".join(map(str, array.ravel()))
            found.update(texts.encode("utf-8", "surrogatepass"))
