"""What is scored of a fold: its rows, or the cells of each of its conditions."""

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from sklperturb.comparison._ceilings import ceilings_of_rows, warn_of_failure
from sklperturb.comparison._evidence import held_out_units
from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import as_text, control_rows, each_label
from sklperturb.conditions._validation import resolve_schema
from sklperturb.evaluation import CellScorer
from sklperturb.metrics import WeightedMSEScorer, get_metric
from sklperturb.metrics._checks import without_annotation


def make_judge(scoring, schema, X):
    """Return what scores folds by a list of metrics.

    Parameters
    ----------
    scoring : list of str, scorer of `sklperturb.metrics`, or CellScorer
    schema : PerturbationSchema or None
        None infers it from `X`, as the scorers do.
    X : DataFrame or array-like of shape (n_samples, n_columns)

    Returns
    -------
    judge : RowJudge or CellJudge

    Raises
    ------
    ValueError
        If scores of cells stand beside scores of rows, or are of several conventions.
    """
    of_cells = [isinstance(metric, CellScorer) for metric in scoring]
    if not any(of_cells):
        return RowJudge(list({m.name: m for m in map(get_metric, scoring)}.values()))
    first = scoring[0]
    if not all(of_cells) or any(
        (m.convention, m.n_components, m.control)
        != (first.convention, first.n_components, first.control)
        for m in scoring
    ):
        raise ValueError(
            f"scoring={scoring} mixes scores of rows and of cells, or conventions; "
            "pass CellScorers of one convention, or none, and compare twice."
        )
    return CellJudge(list({m.name: m for m in scoring}.values()), schema, X)


class RowJudge:
    """Score each held-out row.

    Parameters
    ----------
    metrics : list of RowwiseMetric or WeightedMSEScorer
    """

    warns_of_repeats = True  # of one condition on both sides of a fold
    control = None  # rows are scored as they are
    predicts_rows = True  # one response for each row

    def __init__(self, metrics):
        self.metrics = metrics
        # What scores depend on besides: the weights, which a repr tells apart.
        self.identity = [repr(m) for m in metrics if isinstance(m, WeightedMSEScorer)]

    def n_rows(self, X, test):
        """Return the number of scores of a fold."""
        return len(test)

    def predict(self, task):
        """Return what a fitted `FoldFit` predicts."""
        return task.predict()

    def score(self, task, y_pred):
        """Return the scores of a prediction, a list for each metric."""
        y_true = without_annotation(task.y_test)
        return {
            metric.name: metric.of_rows(task.X_test)(y_true, y_pred).tolist()
            for metric in self.metrics
        }

    def units(self, X, folds, schema, dealt):
        """Return what the folds hold out, and that of each score, fold after fold."""
        return held_out_units(X, folds, schema, dealt)

    def held_out(self, X, y, folds):
        """Return the conditions and the responses of all scores."""
        rows = np.concatenate([test for _, test in folds])
        X, y = (_safe_indexing(table, rows) for table in (X, y))
        return X, np.asarray(without_annotation(y), dtype=np.float64)

    def ceilings(self, X, y, folds, schema, given, random_state):
        """Return what each score would be of true means, by metric, and notes.

        Fold after fold. The notes say why there is none where it could not be worked
        out.
        """
        return ceilings_of_rows(self.metrics, X, y, folds, schema, given, random_state)


class CellJudge:
    """Score the cells of each held-out perturbation in each of its contexts.

    Parameters
    ----------
    metrics : list of CellScorer
        Of one convention.
    schema : PerturbationSchema or None
        Of scorers that have none; None infers it from `X`.
    X : DataFrame or array-like of shape (n_samples, n_columns)
    """

    warns_of_repeats = False  # cells of one condition may be many
    predicts_rows = False

    def __init__(self, metrics, schema, X):
        self.metrics = metrics
        scorer = metrics[0]
        self.control = scorer.control
        # With the label of controls in it, so that scores and units know the same ones.
        schema = resolve_schema(scorer.schema or schema, X, scorer.control)
        self._scorer = CellScorer(
            scorer.metric,
            scorer.convention,
            schema=schema,
            n_components=scorer.n_components,
        )
        # Which cells are controls is no part of a scorer's repr.
        self.identity = [repr(metric) for metric in metrics]
        self.identity += [repr(schema), scorer.control]

    def n_rows(self, X, test):
        return len(self._conditions(X, test))

    def predict(self, task):
        # Asked for cells, not for means; scored while at it, since cells are many.
        names = [metric.name for metric in self.metrics]
        return self._scorer.details(task.estimator_, task.X_test, task.y_test, names)

    def score(self, task, y_pred):
        return {name: scores.tolist() for name, scores in y_pred.items()}

    def units(self, X, folds, schema, dealt):
        # Controls of a context that is held out may be trained on.
        schema = self._scorer.schema
        perturbed = ~control_rows(X, schema)
        cut = [tuple(t[perturbed[t]] for t in fold) for fold in folds]
        unit, units = held_out_units(X, cut, schema, dealt)
        # A condition is scored once, and has the unit of its first cell.
        columns = schema.columns("perturbation", "context")
        labels = {c: each_label(read_column(X, c), as_text) for c in columns}
        cells = pd.DataFrame(labels)
        first = [~cells.iloc[test].duplicated().to_numpy() for _, test in cut]
        return unit, units[np.concatenate(first)]

    def held_out(self, X, y, folds):
        return None, None

    def ceilings(self, X, y, folds, schema, given, random_state):
        # A second measurement: half of the cells, scored on the other half.
        names = [metric.name for metric in self.metrics]
        try:
            parts = [
                self._scorer.second_measurement(
                    *(_safe_indexing(table, test) for table in (X, y)),
                    names,
                    random_state=random_state,
                )
                for _, test in folds
            ]
        except Exception as error:
            return {}, warn_of_failure(error, ", ".join(names))
        found = pd.concat(parts)
        return {name: found[name].to_numpy() for name in names}, []

    def _conditions(self, X, test):
        return self._scorer.conditions(_safe_indexing(X, test))
