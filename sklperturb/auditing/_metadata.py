"""Whether plates, donors and the like tell held-out responses without the perturbation.

A model of the technical columns alone is compared with one of the contexts. If it is
better, and as good as the audited estimator, the score may come from these columns; if
the estimator does not read them, from training rows of the same batches.
"""

import re

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklperturb.auditing._result import Inflation, LeakFinding
from sklperturb.auditing._task import severity, some
from sklperturb.conditions._frames import column_names, read_column
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._levels import level_means

# Words of the names of columns that say how a row was measured.
_TECHNICAL = frozenset(
    "batch plate donor well lane library replicate rep run date day operator site "
    "row col column position gem group sequencer flowcell pool chip array".split()
)
_MEASURED = frozenset("cells cell_count n_cells umi umis depth reads counts".split())
_ALPHAS = np.logspace(-1, 4, 11)
_NOTABLE = 0.02  # share of the error
_MOST_LEVELS = 0.5  # of a column, as a share of the rows
_MEASURED_ROWS = 0.5  # share of the rows with a number, of a column of numbers


def check_metadata(task):
    """Yield a finding if technical columns tell what held-out rows respond."""
    columns = technical_columns(task)
    if not columns:
        return
    rows = ~task.is_control[task.held_out]
    values = _without_controls(task)
    scores = {}
    for name, use in (("technical", columns), ("contexts", [])):
        found = []
        for fold in range(len(task.folds)):
            y_pred = _ridge(task, values, use, fold)
            truth = values[task.folds[fold][1]]
            found.append(task.losses(fold, y_pred, truth))
        scores[name] = np.concatenate(found)
    how = "contexts alone predict"
    gain = task.inflation(scores["technical"], scores["contexts"], rows, how)
    notable = gain.inflation > _NOTABLE * abs(gain.score_without)
    if not (gain.shown and notable):
        return
    as_good = True
    if not task.is_control.any():
        better = task.inflation(task.base[1], scores["technical"], rows, "")
        as_good = not better.low > 0
    worth, used = _without_columns(task, columns, rows)
    text = (
        f"A model of {some(columns)} alone predicts held-out rows better than their "
        f"contexts do: {task.metric.name} {gain.score:.4f} against "
        f"{gain.score_without:.4f} ({gain.low:+.4f} to {gain.high:+.4f} better)"
    )
    if as_good:
        text += ", and no worse than the estimator"
    if not used:
        # What is not read can only help through training rows of the same batch.
        worth = _without_mates(task, columns, rows)
    if not (worth.shown or (used and as_good)):
        yield LeakFinding(
            "metadata",
            "note",
            f"{text}. The estimator is not shown to gain by them.",
            "Batches differ; hold out whole ones to see what is left of the score.",
            gain,
        )
        return
    yield LeakFinding(
        "metadata",
        severity(worth),
        f"{text}. What is held out can be told by how it was measured.",
        "Hold out whole batches with the perturbations (GroupKFold), correct for "
        "batches before, or leave these columns out.",
        worth,
        task.held_out[rows],
        list(map(str, columns)),
    )


def technical_columns(task):
    """Return the columns of the conditions that say how a row was measured."""
    if task.schema is None:
        return []
    schema = task.schema
    roles = {schema.perturbation, schema.context, schema.control, schema.smiles}
    roles |= {schema.dose, schema.mechanism}
    found = []
    for name in column_names(task.conditions):
        words = {str(name).casefold(), *re.split(r"[\W_]+", str(name).casefold())}
        role = name in (schema.batch, schema.replicate) and name is not None
        known = role or words & (_TECHNICAL | _MEASURED)
        if name in roles or not known:
            continue
        values = each_label(_values(task, name), as_text)
        n_levels = len(set(values))
        if n_levels > 1 and (_is_measured(task, name) or _repeats(values, n_levels)):
            found.append(name)
    return found


def _repeats(values, n_levels):
    """Whether enough rows share a level for it to tell anything."""
    return n_levels <= _MOST_LEVELS * len(values)


def _is_measured(task, name):
    """Whether a column holds numbers that were measured with the response."""
    words = {str(name).casefold(), *re.split(r"[\W_]+", str(name).casefold())}
    if not words & _MEASURED:
        return False
    given = pd.Series(_values(task, name))
    known = given[given.notna()]
    numbers = pd.to_numeric(known, errors="coerce")
    return bool(len(known) >= _MEASURED_ROWS * len(given) and numbers.notna().all())


def _values(task, name):
    return read_column(task.conditions, name, allow_missing=True)


def _ridge(task, values, columns, fold):
    """Return what a ridge on contexts and some columns predicts for held-out rows."""
    train, test = task.folds[fold]
    train = train[~task.is_control[train]]
    blocks = [_one_hot(task.context.astype(str), train)]
    for name in columns:
        if _is_measured(task, name):
            numbers = pd.to_numeric(pd.Series(_values(task, name))).to_numpy(np.float64)
            numbers = np.log1p(np.abs(numbers))
            scaler = StandardScaler().fit(numbers[train, None])
            # What is missing is taken for the mean of the training rows.
            blocks.append(np.nan_to_num(scaler.transform(numbers[:, None])))
        else:
            blocks.append(_one_hot(each_label(_values(task, name), as_text), train))
    features = np.hstack(blocks)
    model = RidgeCV(_ALPHAS).fit(features[train], values[train])
    return model.predict(features[test]).reshape(len(test), -1)


def _one_hot(labels, train):
    labels = np.asarray(labels, dtype=str)[:, None]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return encoder.fit(labels[train]).transform(labels)


def _without_controls(task):
    """Return responses measured from the controls of their context and batch."""
    values = task.values
    if not task.is_control.any():
        return values
    batch = task.codes("batch")
    key = task.context
    if batch is not None:
        key = key * len(batch[1]) + batch[0]
    _, key = np.unique(key, return_inverse=True)
    of = task.is_control
    means, counts = level_means(key[of], key.max() + 1, values[of])
    means[counts == 0] = values[of].mean(axis=0)
    return values - means[key]


def _without_columns(task, columns, rows):
    """Measure the estimator against one that is given these columns shuffled."""
    there = [c for c in columns if c in column_names(task.X)]
    if not there:
        return task.inflation(task.base[1], task.base[1], rows, ""), False
    order = task.rng.permutation(len(task.values))
    X = task.X
    if isinstance(X, pd.DataFrame):
        X = X.copy()
        for name in there:
            X[name] = X[name].to_numpy()[order]
    else:
        X = np.array(X, copy=True)
        X[:, there] = X[order][:, there]
    how = "these columns shuffled"
    scores, predictions = task.scores_of(lambda _: {"X": X}, "Shuffling columns")
    used = not task.same_predictions(predictions)
    return task.inflation(task.base[1], scores, rows, how), used


def _without_mates(task, columns, rows):
    """Measure what training rows of the held-out batches are worth.

    Where nearly all rows are of these batches, that cannot be told.
    """
    kept = [name for name in columns if not _is_measured(task, name)]
    linked = []
    for train, test in task.folds:
        of_batch = np.zeros(len(task.values), dtype=bool)
        for name in kept:
            labels = each_label(_values(task, name), as_text)
            of_batch |= np.isin(labels.astype(str), labels[test].astype(str))
        if not kept or of_batch[train].mean() > 0.5:
            return Inflation(how="most training rows are of the same batches")
        linked.append(of_batch)
    return task.without_rows(linked, rows, "rows of the same batches left out")
