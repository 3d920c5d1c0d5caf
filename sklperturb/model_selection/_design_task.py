"""What is measured, what can be, what is asked for, and what limits the choice."""

from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._labels import each_label, take_labels
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._validation import resolve_schema


class Task:
    """Tables that were checked: what is measured, can be measured and is asked for."""

    def __init__(self, X, y, candidates, targets, schema, skip_measured):
        candidates, X = _frame(candidates, "candidates"), as_pandas(X)
        if X is None or not len(X):
            X, y = candidates.iloc[:0], np.zeros((0, 1))
        X = _frame(X, "X")
        self.schema = schema = resolve_schema(schema, X)
        self._combines = schema.labels_combine
        if not hasattr(y, "shape"):
            y = np.asarray(y, dtype=np.float64)
        if y.shape[0] != len(X):
            raise ValueError(f"X has {len(X)} rows and y {y.shape[0]}.")
        self.X, self.y = X, y
        targets = candidates if targets is None else _frame(targets, "targets")
        for table, name in ((candidates, "candidates"), (targets, "targets")):
            _require(table, name, schema)
            if not len(table):
                raise ValueError(
                    f"{name} has no rows; give the conditions that "
                    + ("can be measured." if name == "candidates" else "are asked for.")
                )
        self._check_distinct(candidates)
        measured = self._keys(X, candidates)[1].isin(self._keys(X, candidates)[0])
        if measured.any() and not skip_measured:
            raise ValueError(
                f"{int(measured.sum())} of {len(candidates)} candidates are measured "
                f"already, such as {_some(candidates[measured.to_numpy()], schema)}. "
                "Leave them out, or pass skip_measured=True."
            )
        self.given, self.kept = candidates, ~measured.to_numpy()
        self.candidates = candidates[self.kept]
        if not len(self.candidates):
            raise ValueError(
                f"All {len(candidates)} candidates are measured already; there is "
                "nothing left to choose."
            )
        self._make_pool(targets)
        self._warn_of_contexts(targets)

    def units(self, unit):
        """Return the candidates that are chosen together, and what they are called."""
        if unit == "pair":
            return list(np.arange(len(self.candidates))[:, None]), "candidates"
        codes = pd.factorize(self._perturbations(self.candidates))[0]
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes))[:-1]
        return np.split(order, ends), "perturbations"

    def _keys(self, *tables):
        """Return what makes a condition, as text, for each row of tables.

        Doses count where all tables have any: an id map mostly has none.
        """
        columns = self.schema.columns("context")
        columns += [c for c in self.schema.columns("dose") if _all_give(tables, c)]
        columns = [c for c in columns if all(c in t for t in tables)]
        keys = []
        for table in tables:
            parts = take_labels(table, columns), self._perturbations(table)
            rows = map("\x1f".join, np.column_stack(parts))
            keys.append(pd.Series(list(rows), dtype=str))
        return keys

    def _perturbations(self, table):
        """Return perturbations in one spelling: B+A is A+B, where these combine."""
        labels = take_labels(table, [self.schema.perturbation])[:, 0]
        return each_label(labels, self.schema.spell) if self._combines else labels

    def _check_distinct(self, candidates):
        [keys] = self._keys(candidates)
        repeated = keys.duplicated().to_numpy()
        if repeated.any():
            raise ValueError(
                f"{int(repeated.sum())} of {len(candidates)} candidates are there "
                f"twice, such as {_some(candidates[repeated], self.schema)}. Give each "
                "condition once."
            )

    def _make_pool(self, targets):
        """Number targets, and candidates that are none."""
        keys = pd.concat(self._keys(targets, self.candidates), ignore_index=True)
        codes = pd.factorize(keys)[0]
        self.n_targets = codes[: len(targets)].max() + 1
        counts = np.bincount(codes[: len(targets)])
        self.weights = counts / counts.sum()
        self.place = codes[len(targets) :]
        first = np.unique(codes, return_index=True)[1]
        columns = [
            c for c in self.X.columns if c in targets or c in self.candidates.columns
        ]
        tables = [t.reindex(columns=columns) for t in (targets, self.candidates)]
        self.pool = pd.concat(tables, ignore_index=True).iloc[first]
        self.pool = self.pool.reset_index(drop=True)
        for dose in self.schema.columns("dose"):
            if dose in columns and not _all_give(tables, dose):
                self.pool[dose] = np.nan  # a part of them says nothing
        self._fill_in(targets)
        measured, pool = self._keys(self.X, self.pool)
        self.known = pool.isin(measured).to_numpy()

    def _fill_in(self, targets):
        """Take the structure or mechanism of a perturbation from where it is given.

        Tables of targets often repeat names only. A column that all of them lack is
        added if that leaves no perturbation without.
        """
        tables = [self.pool, targets, self.candidates, self.X]
        names = [self._perturbations(table) for table in tables]
        for column in self.schema.columns("smiles", "mechanism"):
            given = [
                pd.Series(table[column].to_numpy(dtype=object), index=name)
                for table, name in zip(tables, names, strict=True)
                if column in table
            ]
            known = pd.concat([values.dropna() for values in given])
            known = known[~known.index.duplicated()]
            found = pd.Series(names[0]).map(known)
            if column in self.pool:
                own = self.pool[column].astype(object)
                self.pool[column] = own.where(own.notna(), found)
            elif column in self.X and found.notna().all():
                self.pool[column] = found

    def _warn_of_contexts(self, targets):
        column = self.schema.context
        if column is None or not len(self.X):
            return
        seen = set(take_labels(self.X, [column])[:, 0])
        for table, name in ((self.candidates, "candidates"), (targets, "targets")):
            new = sorted(set(take_labels(table, [column])[:, 0]) - seen)
            if new:
                warn(
                    f"{len(new)} contexts of {name} were never measured, such as "
                    f"{new[:3]}; measured are {sorted(seen)[:5]}. They are taken as "
                    "like these as these are like each other. Correct the names if "
                    f"they are misspelled.{spelling_hint(new, sorted(seen))}"
                )
                break


class Limits:
    """How many rows of each level of columns may be chosen."""

    def __init__(self, max_per, candidates, units):
        self._units, self._columns = units, []
        self._free = np.ones(len(units), dtype=bool)
        self._left, sizes = [], list(map(len, units))
        for column, most in (max_per or {}).items():
            if column not in candidates:
                raise ValueError(
                    f"max_per names {column!r}, which the candidates do not have; they "
                    f"have {list(candidates.columns)}."
                    f"{spelling_hint([column], candidates.columns)}"
                )
            if not isinstance(most, Integral) or isinstance(most, bool) or most < 1:
                raise ValueError(
                    f"max_per={{{column!r}: {most!r}}} must be an integer of 1 or more."
                )
            codes, levels = pd.factorize(candidates[column], use_na_sentinel=False)
            # Of each unit, how many rows of each level: most pairs have none.
            rows, owner = np.concatenate(units), np.repeat(np.arange(len(units)), sizes)
            ones = np.ones(len(rows), dtype=int)
            shape = len(units), len(levels)
            wanted = sparse.coo_array((ones, (owner, codes[rows])), shape)
            self._columns.append(wanted.tocsr())
            self._left.append(np.full(len(levels), int(most)))
        self._max_per = max_per

    def check(self, n, names):
        """Refuse more than can be chosen."""
        if n > len(self._units):
            raise ValueError(
                f"n={n} is more than the {len(self._units)} {names} there are to "
                "choose from. Lower n, or add candidates."
            )
        for wanted, left in zip(self._columns, self._left, strict=True):
            if all(len(rows) == 1 for rows in self._units):
                most = int(np.minimum(wanted.sum(axis=0), left).sum())
                if n > most:
                    raise ValueError(
                        f"n={n} is more than the {most} {names} that max_per="
                        f"{self._max_per} allows. Lower n, or allow more."
                    )

    def allowed(self):
        """Return which units may be next."""
        allowed = self._free.copy()
        for wanted, left in zip(self._columns, self._left, strict=True):
            entries = wanted.tocoo()
            allowed[entries.row[entries.data > left[entries.col]]] = False
        return allowed

    def take(self, unit):
        self._free[unit] = False
        for wanted, left in zip(self._columns, self._left, strict=True):
            left -= wanted[[unit]].toarray()[0]


def costs_of(costs, task, units):
    """Return the cost of each unit."""
    candidates = task.given
    if costs is None:
        return np.array([float(len(rows)) for rows in units])
    if isinstance(costs, str):
        if costs not in candidates:
            raise ValueError(
                f"costs={costs!r} is no column of the candidates; they have "
                f"{list(candidates.columns)}.{spelling_hint([costs], candidates)}"
            )
        costs = candidates[costs]
    costs = pd.to_numeric(pd.Series(np.asarray(costs)), errors="coerce").to_numpy(float)
    if len(costs) != len(candidates):
        raise ValueError(
            f"costs has {len(costs)} values for {len(candidates)} candidates."
        )
    if not (np.isfinite(costs) & (costs > 0)).all():
        bad = int((~(np.isfinite(costs) & (costs > 0))).sum())
        raise ValueError(
            f"{bad} of {len(costs)} costs are missing or not above 0; give each "
            "candidate a number above 0."
        )
    costs = costs[task.kept]
    return np.array([costs[rows].sum() for rows in units])


def _frame(table, name):
    table = as_pandas(table)
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"{name} must be a data frame with a row per condition, got "
            f"{type(table).__name__}."
        )
    return table


def _all_give(tables, column):
    """Return whether no table lacks all values of a column."""
    return all(column in t and (t.empty or t[column].notna().any()) for t in tables)


def _require(table, name, schema):
    """Refuse a table that lacks a column which says what a condition is."""
    columns = schema.columns("context", "perturbation")
    if absent := [column for column in columns if column not in table]:
        raise ValueError(
            f"{name} lacks the columns {absent}, which X has; it has "
            f"{list(table.columns)}.{spelling_hint(absent, table.columns)}"
        )


def _some(table, schema):
    columns = schema.columns("perturbation", "context")
    return [" in ".join(row) for row in take_labels(table.iloc[:3], columns)]
