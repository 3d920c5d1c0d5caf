"""The plan that was made: a table with what each choice is for."""

import numpy as np

from sklperturb.conditions._labels import take_labels

# Relative drops of an error that count as told.
_LEAST = 0.01
_NEW = ("gain", "expected_error", "expected_error_unmeasured", "cost", "reason")


class Plan:
    """Choices in their order, and what remains after each.

    Parameters
    ----------
    task : Task
    units : list of ndarray of int
    costs : ndarray of shape (n_units,)
    posterior : Posterior or None
        It is brought up to date with each choice.
    calibration : dict
    strategy : str
    """

    def __init__(self, task, units, costs, posterior, calibration, strategy):
        self._task, self._units, self._costs = task, units, costs
        self._posterior, self._ratio = posterior, calibration["ratio"]
        columns = task.schema.columns("perturbation", "context")
        self._labels = take_labels(task.pool[: task.n_targets], columns)
        self._rows, self._steps = [], []
        self._now = self._mean_errors()
        self.about = {
            "strategy": strategy,
            "expected_error": self._now[0],
            "expected_error_unmeasured": self._now[1],
            "calibration": calibration,
        }

    def add(self, unit, reason):
        """Take note of a choice; `reason` is that of a design without a model."""
        rows = self._units[unit]
        why = "" if reason is None else reason(unit)
        before = self._now
        if self._posterior is not None:
            errors = self._posterior.errors()
            drop = self._posterior.measure(rows)
            told = self._told(rows, drop, errors)
            why = f"{why}; {told}" if why else told
            self._now = self._mean_errors()
        cost = self._costs[unit] + (self._steps[-1][3] if self._steps else 0.0)
        step = before[0] - self._now[0], *self._now, cost, why
        self._rows.append(rows)
        self._steps.append(step)

    def first_share(self):
        """Return the share of the error that the first choice takes off."""
        return self._steps[0][0] / (self.about["expected_error"] or 1.0)

    def table(self):
        """Return the plan; of rows that are chosen together, all have the same step."""
        rows = np.concatenate(self._rows)
        step = np.repeat(np.arange(len(self._rows)), list(map(len, self._rows)))
        table = self._task.candidates.iloc[rows].copy()
        taken = [name for name in _NEW if name in table]
        table = table.rename(columns={name: f"{name}_given" for name in taken})
        for name, values in zip(_NEW, zip(*self._steps, strict=True), strict=True):
            kind = object if name == "reason" else float
            table[name] = np.array(values, dtype=kind)[step]
        table.attrs |= self.about
        return table

    def _mean_errors(self):
        if self._posterior is None:
            return np.nan, np.nan
        return tuple(self._ratio * value for value in self._posterior.mean_errors())

    def _told(self, rows, drop, errors):
        """Return in words which targets a choice tells of."""
        share = np.divide(drop, errors, out=np.zeros_like(drop), where=errors > 0)
        own = self._task.place[rows]
        others = np.full(len(share), True)
        others[own[own < len(share)]] = False
        told = np.flatnonzero(others & (share >= _LEAST))
        if not len(told):
            if (~others).any():
                return "tells of itself; no other error falls by 1 %"
            return "no error of a target falls by 1 %"
        most = told[np.argmax(drop[told])]
        kind = "compounds" if self._task.schema.names_compounds else "perturbations"
        where = self._where(told, kind)
        name = " in ".join(self._labels[most])
        return f"tells of {where}, most of {name} (error {-share[most]:+.0%})"

    def _where(self, told, kind):
        """Return how many there are, by context."""
        if self._labels.shape[1] == 1:
            return f"{len(told)} {kind if len(told) > 1 else kind[:-1]}"
        contexts, counts = np.unique(
            self._labels[told, 1].astype(str), return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        parts = []
        for number in order[:3]:
            what = f" {kind if counts[number] > 1 else kind[:-1]}" if not parts else ""
            parts.append(f"{counts[number]}{what} in {contexts[number]}")
        text = " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
        rest = len(order) - 3
        return text + (f", and in {rest} contexts more" if rest > 0 else "")
