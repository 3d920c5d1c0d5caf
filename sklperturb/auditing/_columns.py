"""Columns of X that were computed from the responses, those of held-out rows included.

Encodings of targets, components of all responses, and treated profiles as features are
functions of the responses, and reproduce them nearly without error. What was known
before, such as a structure or a dose, does not: responses are measured with noise.
"""

import copy
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import eigh, svd
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from sklperturb.auditing._result import LeakFinding
from sklperturb.auditing._task import severity, some
from sklperturb.conditions._frames import column_names
from sklperturb.conditions._levels import level_means

# Correlation with a function of the responses: that of many levels, and of few.
_NEARLY, _EXACT, _MANY = 0.99, 1 - 1e-6, 20
_CHANCE = 1e-6  # that any of the columns has it
# Share of a column that responses explain: of means over rows, which have less noise,
# and of single rows, of which nothing is known before that they show so well.
_EXPLAINED, _EXPLAINED_ROWS, _FEWEST = 0.98, 0.9, 30
_N_COMPONENTS = 30
_SMALLEST = 1e-6  # of components, relative to the first
_MOST_KEPT = 4  # ways to group the rows, whose means are kept
_BY_ROW = "_y _context _perturbation _rows _components _within _means_of_others".split()
_FEWEST_ROWS = 20  # with numbers, of a column that has none in others
_ROLES = "perturbation context control smiles dose batch replicate mechanism".split()


def unread_columns(task):
    """Return what `check_columns` cannot look at as text, empty if there is none."""
    columns = _numeric_columns(task).items()
    unread = [name for name, values in columns if not _enough(values)]
    if not unread:
        return ""
    return (
        f"too few numbers to compare, in fewer than {_FEWEST_ROWS} rows, in the "
        f"columns {some(unread)}; no other was found"
    )


def check_columns(task):
    """Yield a finding if columns of X are functions of the responses.

    Of a column that is missing in some rows, the others are compared.
    """
    columns = _numeric_columns(task)
    if not columns:
        return
    functions = ResponseFunctions(task)
    found = {}
    for name, values in columns.items():
        source = functions.source_of(values, len(columns))
        if source is not None:
            found[name] = source
    if not found:
        return
    worth, used = _worth(task, found)
    names = list(found)
    shown = some(names)
    text = (
        f"{len(names)} column{'s' * (len(names) > 1)} of X ({shown}) "
        f"{'are' if len(names) > 1 else 'is'} computed from the responses, those of "
        f"held-out rows included: {found[names[0]].described}."
    )
    advice = (
        "Compute these columns in the pipeline, from the training rows of each fold: "
        "TargetStatisticsEncoder and TargetReducer do; or leave them out."
    )
    level = severity(worth) if used else "note"
    if not used:
        advice = f"The estimator does not use them. {advice}"
    yield LeakFinding(
        "columns", level, text, advice, worth, task.held_out, list(map(str, names))
    )


class ResponseFunctions:
    """Functions of the responses, to compare columns with.

    Parameters
    ----------
    task : AuditTask
    """

    def __init__(self, task):
        self._y, self._genes = task.values, task.genes
        self._context, self._perturbation = task.context, task.perturbation
        self._of_groups, self._parts = {}, {}
        y, context = self._y, self._context
        centred = y - y.mean(axis=0)
        self._components = _scores(centred)
        within = y - level_means(context, context.max() + 1, y)[0][context]
        self._within = _scores(within)
        summaries = {
            "mean": y.mean(axis=1),
            "standard deviation": y.std(axis=1),
            "norm": np.linalg.norm(y, axis=1),
            "largest": y.max(axis=1),
            "smallest": y.min(axis=1),
            "median": np.median(y, axis=1),
            "mean of absolute values": np.abs(y).mean(axis=1),
        }
        self._names = [f"the {name} over genes" for name in summaries]
        uncentred = _scores(y)
        self._names += [
            f"component {i + 1} of all responses"
            for part in (self._components, uncentred, self._within)
            for i in range(part.shape[1])
        ]
        self._rows = np.column_stack(
            [*summaries.values(), self._components, uncentred, self._within]
        )

    def source_of(self, values, n_columns):
        """Return the `_Source` of a column of X, or None.

        Parameters
        ----------
        values : ndarray of shape (n_samples,)
        n_columns : int
            How many columns are tried.
        """
        values = np.asarray(values, dtype=np.float64)
        if not _enough(values):
            return None
        if np.isfinite(values).all():
            return self._compare(values, n_columns)
        values = self._completed(values)
        there = np.isfinite(values)
        part = self if there.all() else self._of_rows(there)
        source = part._compare(values[there], n_columns)
        return None if source is None else _OfSomeRows(source, values)

    def _compare(self, values, n_columns):
        # In the order of rows: columns with the same groups then have the same codes.
        codes, levels = pd.factorize(values)
        if len(levels) < 4:
            return None
        return self._match(levels, codes, n_columns) or self._explain(levels, codes)

    def _completed(self, values):
        """Return a column of perturbations, or of contexts, without what is missing.

        Responses of rows in which an encoding is missing are in it all the same.
        """
        column = pd.Series(np.where(np.isfinite(values), values, np.nan))
        for labels in (self._perturbation, self._context):
            levels = column.groupby(labels)
            if levels.nunique().max() == 1 and levels.count().max() > 1:
                return column.fillna(levels.transform("first")).to_numpy()
        return column.to_numpy()

    def _of_rows(self, there):
        """Return the same functions of some rows only, kept for the last ones asked."""
        key = there.tobytes()
        if key not in self._parts:
            part = copy.copy(self)
            # What is worked out when it is asked for is that of all rows.
            vars(part).pop("_others", None)
            part._of_groups, part._parts = {}, {}
            for name in _BY_ROW:
                setattr(part, name, getattr(self, name)[there])
            self._parts = {key: part}
        return self._parts[key]

    def _match(self, levels, codes, n_columns):
        """Compare with single functions, averaged over the rows of each level."""
        y, of = self._y, self._perturbation
        n, n_rows = len(levels), len(codes)
        n_tried = 2 * (self._rows.shape[1] + y.shape[1]) * n_columns
        rows, genes, medians = self._by_level(codes)
        for found, functions, what_of in (
            (rows, self._rows, self._names.__getitem__),
            (genes, y, self._gene),
        ):
            best, r = _best(levels, found, n_tried)
            if best is not None:
                described = self._described(what_of(best), n, r)
                return _Source(functions[:, best], codes, described)
        if medians is not None:
            best, r = _best(levels, medians, n_tried)
            if best is not None:
                what = f"the median of {self._gene(best)}"
                described = self._described(what, n, r)
                return _Source(y[:, best], codes, described, np.median)
        # Without the row itself, as encoders that leave one out do.
        there, others = self._others
        if others is None:
            return None
        best, r = _best(levels[codes][there], others, n_tried)
        if best is None:
            return None
        what = f"the mean of {self._gene(best)} over the other rows of its perturbation"
        described = self._described(what, n_rows, r)
        return _OfOthers(y[:, [best]], of, described)

    def _by_level(self, codes):
        """Return means of functions and genes over groups, and medians, standardised.

        Columns that group the rows alike, as descriptors of compounds do, share them.
        There are no medians where each row is a group of its own.
        """
        key = codes.tobytes()
        if key not in self._of_groups:
            y, n = self._y, codes.max() + 1
            means = (level_means(codes, n, table)[0] for table in (self._rows, y))
            medians = None
            if n < len(codes):
                order = np.argsort(codes, kind="stable")
                parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
                medians = np.stack([np.median(y[part], axis=0) for part in parts])
                medians = _standardised(medians)
            while len(self._of_groups) >= _MOST_KEPT:
                del self._of_groups[next(iter(self._of_groups))]
            self._of_groups[key] = *map(_standardised, means), medians
        return self._of_groups[key]

    @cached_property
    def _means_of_others(self):
        """Of all rows, those included in which a column has no number."""
        y = self._y
        return _means_of_others(y, self._perturbation, np.arange(len(y)))

    @cached_property
    def _others(self):
        """Return the rows of perturbations with several, and means of their others."""
        others = self._means_of_others
        there = np.isfinite(others).all(axis=1)
        enough = there.sum() >= _MANY
        return there, _standardised(others[there]) if enough else None

    def _explain(self, levels, codes):
        """Predict a column from the responses, levels left out."""
        n = len(levels)
        if n < _FEWEST:
            return None
        of_rows = n == len(codes)
        n_components = min(_N_COMPONENTS, n // 3)
        parts = (self._components[:, :n_components], self._within[:, :n_components])
        functions = np.column_stack(parts)
        features, target = level_means(codes, n, functions)[0], levels
        if of_rows:  # that a context has higher values is no function of responses
            context = self._context[np.argsort(codes, kind="stable")]
            n_contexts = context.max() + 1
            means = level_means(context, n_contexts, levels[:, None])[0]
            target = levels - means[context].ravel()
        varies = features.std(axis=0) > 0
        if not varies.any() or target.std() == 0:
            return None
        spread = features.std(axis=0)[varies]
        features = features[:, varies] / spread
        model, folds = Ridge(1e-6), KFold(5, shuffle=True, random_state=0)
        left_out = cross_val_predict(model, features, target, cv=folds)
        explained = 1 - ((target - left_out) ** 2).mean() / target.var()
        if explained < (_EXPLAINED_ROWS if of_rows else _EXPLAINED):
            return None
        model.fit(features, target)
        described = (
            f"leading components of all responses explain {explained:.1%} of it, in "
            f"{'rows' if of_rows else 'levels'} that were left out"
        )
        return _Source(model.predict(functions[:, varies] / spread), codes, described)

    def _gene(self, number):
        name = number if self._genes is None else self._genes[number]
        return f"gene {name!r}"

    def _described(self, what, n, r):
        of = "of its row" if n == len(self._y) else f"for {n} groups of rows"
        return f"it is {what} {of}, with a correlation of {r:.5f}"


class _Source:
    """What a column was computed from: a function of each row, reduced by level."""

    def __init__(self, rows, codes, described, reduce=np.mean):
        self.rows, self.codes, self.described = rows, codes, described
        self._reduce = reduce

    def from_rows(self, column, rows):
        """Return the column as it is if computed from some rows only.

        Where that says nothing, it is the mean of the column.
        """
        every = self._computed(np.arange(len(column)))
        there = np.isfinite(every)
        # The column is a straight line in the function, but for its noise.
        slope, intercept = np.polyfit(every[there], column[there], 1)
        found = slope * self._computed(rows) + intercept
        return np.where(np.isnan(found), column.mean(), found)

    def _computed(self, rows):
        groups = pd.Series(self.rows[rows]).groupby(self.codes[rows])
        levels = groups.agg(self._reduce).reindex(range(self.codes.max() + 1))
        return levels.to_numpy(dtype=float)[self.codes]


class _OfOthers(_Source):
    """A column that holds, for each row, the mean of the others of its level."""

    def _computed(self, rows):
        return _means_of_others(self.rows, self.codes, rows).ravel()


class _OfSomeRows:
    """What a column was computed from where it has numbers; it stays what it is else.

    Parameters
    ----------
    source : _Source
        Of the rows with numbers, as if there were no others.
    values : ndarray of shape (n_samples,)
        The column, completed as far as it can be.
    """

    def __init__(self, source, values):
        self._source, self._values = source, values
        self.described = f"where it has numbers, {source.described}"

    def from_rows(self, column, rows):
        """Return the column as it is if computed from some rows only."""
        there = np.isfinite(self._values)
        place = np.cumsum(there) - 1
        known = place[rows[there[rows]]]
        found = self._values.copy()
        found[there] = self._source.from_rows(found[there], known)
        return np.where(np.isfinite(column), found, column)


def _means_of_others(values, codes, rows):
    """Return the mean over some rows of each row's level, without the row itself."""
    n = codes.max() + 1
    means, counts = level_means(codes[rows], n, values[rows])
    own = np.zeros(len(values), dtype=bool)
    own[rows] = True
    sums = (means * counts[:, None])[codes] - np.where(own[:, None], values, 0)
    n_others = counts[codes] - own
    found = np.full(values.shape, np.nan)
    np.divide(sums, n_others[:, None], out=found, where=n_others[:, None] > 0)
    return found


def _best(levels, functions, n_tried):
    """Return (number, correlation) of the function that a column is, or (None, 0).

    Of functions, which are standardised.
    """
    n = len(levels)
    limit = _NEARLY if n >= _MANY else _EXACT
    centred = levels - levels.mean()
    r = np.abs(centred @ functions) / max(np.linalg.norm(centred), 1e-300)
    best = int(np.argmax(r))
    if r[best] >= limit and _chance(r[best], n) * n_tried < _CHANCE:
        return best, r[best]
    return None, 0.0


def _worth(task, found):
    """Return what the columns are worth, and whether the estimator uses them."""
    columns = _numeric_columns(task)

    def change(fold):
        train, _ = task.folds[fold]
        honest = {
            name: source.from_rows(columns[name], train)
            for name, source in found.items()
        }
        return {"X": _with_columns(task.X, honest)}

    how = "the columns computed from training rows only"
    scores, predictions = task.scores_of(change, "Computing columns anew")
    every = np.ones(len(task.held_out), dtype=bool)
    worth = task.inflation(task.base[1], scores, every, how)
    return worth, not task.same_predictions(predictions)


def _with_columns(X, columns):
    X = X.copy()
    by_name = X if isinstance(X, pd.DataFrame) else X.T
    for name, values in columns.items():
        by_name[name] = values
    return X


def _numeric_columns(task):
    """Return the columns of X that hold numbers, varying and without a role."""
    roles = set()
    if task.schema is not None and task.X is task.conditions:
        roles = {getattr(task.schema, role) for role in _ROLES}
    found = {}
    for position, name in enumerate(column_names(task.X)):
        if name in roles:
            continue
        if isinstance(task.X, pd.DataFrame):
            values = task.X.iloc[:, position]
            if not pd.api.types.is_numeric_dtype(values.dtype):
                continue
        else:
            values = np.asarray(task.X)[:, position]
        try:
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            continue
        known = values[np.isfinite(values)]
        if len(known) and np.ptp(known) > 0:
            found[name] = values
    return found


def _enough(values):
    """Whether a column has numbers in all rows, or in enough of them."""
    there = np.isfinite(values)
    return there.all() or there.sum() >= _FEWEST_ROWS


def _scores(y):
    """Return the leading principal components of the rows, and no more than matter."""
    if y.shape[1] > len(y):  # with many genes, in a fraction of the time
        squares, u = eigh(y @ y.T)
        u, s = u[:, ::-1], np.sqrt(np.maximum(squares[::-1], 0))
    else:
        u, s, _ = svd(y, full_matrices=False)
    n = min(_N_COMPONENTS, int(np.count_nonzero(s > _SMALLEST * max(s[0], 1e-300))))
    return u[:, :n] * s[:n]


def _standardised(table):
    """Return the columns of a table with mean 0 and length 1; 0 if they do not vary."""
    largest = np.abs(table).max(axis=0)
    table = table - table.mean(axis=0)
    norms = np.linalg.norm(table, axis=0)
    # What varies by rounding alone correlates with nothing.
    norms[norms <= 1e-9 * largest] = np.inf
    table /= norms
    return table


def _chance(r, n):
    """Return the chance that two lists of n unrelated numbers correlate so well."""
    r = min(float(r), 1 - 1e-12)
    t = r * np.sqrt((n - 2) / (1 - r * r))
    return 2 * stats.t.sf(t, n - 2)
