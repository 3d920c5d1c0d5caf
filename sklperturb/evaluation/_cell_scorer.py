"""A scorer for cross-validation on cells."""

from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.cells import looks_like_counts, open_cells
from sklperturb.cells._blocks import LazyMatrix, by_row, rows_of, to_dense
from sklperturb.cells._files import check_unique_genes, is_annotated
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._labels import CONTROL, as_text, control_rows, each_label
from sklperturb.conditions._named_predictions import (
    arrays_only,
    known_names,
    places_of_genes,
)
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._validation import resolve_schema
from sklperturb.evaluation._conventions import CONVENTIONS
from sklperturb.evaluation._evaluation import score_halves, score_sides
from sklperturb.evaluation._sides import Population, on_one_scale

_PREDICTED = "the prediction"


class CellScorer:
    """Score an estimator's cells by a metric of a named convention.

    For ``scoring`` of :func:`~sklearn.model_selection.cross_val_score` and searches,
    on data whose rows are cells. The estimator's ``sample(X, 1)`` is asked for a cell
    of each row where it has one, else its ``predict(X)``. Where there are contexts, the
    cells of each are scored by themselves, against its own controls; against those of
    all contexts, with a warning, where a context has none among the cells to score.
    Genes are matched by name where `y` and what is predicted have names, or the
    estimator knows those of the `y` that it was fitted to.

    Parameters
    ----------
    metric : str
        A row of the scores of :func:`evaluate_cells`, such as "discrimination".
    convention : {"robust", "vcc2025", "cell_eval", "vcc2026", "populations"}, \
            default="robust"
        Whose definitions to use.
    schema : PerturbationSchema, default=None
        Names the columns of X, and says which rows are controls (see
        :func:`~sklperturb.conditions.control_rows`).
    control : str, default=None
        Label of the control cells, where the schema names no column of controls. None
        takes the schema's `control_labels` or the spellings in public use.
    n_components : int, default=None
        Score in so many principal components of the measured cells, by the convention
        "populations" only. Counts are scaled to 10,000 a cell, and log1p taken, first.

    Attributes
    ----------
    name : str
        The metric.
    greater_is_better : bool
        Of the metric itself, as in `details`.

    See Also
    --------
    sklperturb.comparison.compare : Takes it as `scoring`, beside intervals.

    Notes
    -----
    Errors are negated, so that greater is better. Control cells must be in the part
    that is tested: a splitter that holds out perturbations must leave some there, as
    ``UnseenPerturbationKFold(keep_controls="both")`` does. The
    measured control cells serve the prediction too, whatever the convention, since a
    model is not asked to predict them. Tests of differential expression see nothing in
    cells that are all alike: for an estimator that only predicts a mean, use a metric
    of pseudobulks.

    Where logarithms are scored, or predicted, `y` may hold counts or log1p of cells
    scaled to 10,000 counts: the score is the same. Predicted logarithms are taken to be
    of that scale.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklperturb.evaluation import CellScorer
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"target_gene": np.repeat(["control", "A", "B"], 20)})
    >>> y = rng.exponential(size=(60, 5))
    >>> model = DummyRegressor().fit(X, y)
    >>> CellScorer("discrimination")(model, X, y)
    0.5
    """

    @validate_params(
        {
            "metric": [str],
            "convention": [StrOptions(set(CONVENTIONS))],
            "schema": [PerturbationSchema, None],
            "control": [str, None],
            "n_components": [Interval(Integral, 1, None, closed="left"), None],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(
        self,
        metric,
        convention="robust",
        *,
        schema=None,
        control=None,
        n_components=None,
    ):
        self.metric = metric
        self.convention = convention
        self.schema = schema
        self.control = control
        self.n_components = n_components

    def __repr__(self):
        shown = f"{self.metric!r}, convention={self.convention!r}"
        if self.n_components is not None:
            shown += f", n_components={self.n_components}"
        return f"CellScorer({shown})"

    @property
    def name(self):
        """The metric."""
        return self.metric

    @property
    def greater_is_better(self):
        """Whether greater values of the metric are better."""
        return self.metric not in CONVENTIONS[self.convention].errors

    def __call__(self, estimator, X, y):
        """Return the score of `estimator` on the cells of `X` and `y`.

        Parameters
        ----------
        estimator : object
            Fitted, with `sample` or `predict`.
        X : DataFrame of shape (n_cells, n_columns)
        y : array-like, DataFrame or AnnData of shape (n_cells, n_genes)

        Returns
        -------
        score : float
            Mean over perturbations, each in each of its contexts.

        Raises
        ------
        ValueError
            If the predicted genes or cells are not those of `y`, no cell is a control,
            all are, or the values are not what the convention scores.

        Warns
        -----
        UserWarning
            If a context has no controls; or if `y` holds counts, and what is predicted
            fractions that do not look like logarithms of that scale.
        """
        found = self._evaluate(_cells_of(estimator, X), X, y, [self.metric])
        scores = [each.scores.loc[self.metric, "score"] for _, each in found]
        sizes = [len(each.per_perturbation) for _, each in found]
        score = float(np.average(scores, weights=sizes))
        return score if self.greater_is_better else -score

    def details(self, estimator, X, y, metrics=None):
        """Return the scores of single perturbations.

        Parameters
        ----------
        estimator : object
            Fitted, with `sample` or `predict`.
        X : DataFrame of shape (n_cells, n_columns)
        y : array-like, DataFrame or AnnData of shape (n_cells, n_genes)
        metrics : list of str, default=None
            Others of the convention in place of `metric`, at once.

        Returns
        -------
        scores : DataFrame of shape (n_conditions, n_metrics)
            In the sign of each metric; the rows are those of `conditions`.
        """
        metrics = [self.metric] if metrics is None else list(metrics)
        parts = {
            str(context): each.per_perturbation[metrics]
            for context, each in self._evaluate(_cells_of(estimator, X), X, y, metrics)
        }
        return self._in_order(parts, X)

    def second_measurement(self, X, y, metrics=None, *, random_state=0):
        """Return the scores of half of the measured cells on the other half.

        What can be asked of a model, though from half the cells: a low estimate.

        Parameters
        ----------
        X : DataFrame of shape (n_cells, n_columns)
        y : array-like, DataFrame or AnnData of shape (n_cells, n_genes)
        metrics : list of str, default=None
            Others of the convention in place of `metric`, at once.
        random_state : int, RandomState instance or None, default=0
            Deals the cells.

        Returns
        -------
        scores : DataFrame of shape (n_conditions, n_metrics)
            As those of `details`; NaN where a condition or its controls have one cell.
        """
        metrics = [self.metric] if metrics is None else list(metrics)
        rule, parts = CONVENTIONS[self.convention], {}
        for context, both in self._populations(y, X, y):
            sizes = pd.Series(
                {name: len(own) for name, own in both["real"].rows.items()}
            )
            names = sizes.index[sizes.index != CONTROL]
            found = pd.DataFrame(np.nan, names, metrics)
            if sizes[CONTROL] > 1 and (sizes[names] > 1).any():
                scores = score_halves(both["real"], CONTROL, rule, random_state)
                found.loc[scores.index] = scores.reindex(columns=metrics)
            parts[str(context)] = found
        return self._in_order(parts, X)

    def conditions(self, X):
        """Return what is scored: each perturbation in each of its contexts.

        Parameters
        ----------
        X : DataFrame of shape (n_cells, n_columns)

        Returns
        -------
        conditions : DataFrame of shape (n_conditions, 2)
            "perturbation" and "context", which is None where there are none.
        """
        labels, contexts = self._read(X, resolve_schema(self.schema, X, self.control))
        table = pd.DataFrame(
            {"perturbation": labels, "context": contexts}, dtype=object
        )
        return table[labels != CONTROL].drop_duplicates(ignore_index=True)

    def _in_order(self, parts, X):
        """Return scores by context, the rows as those of `conditions`."""
        conditions = self.conditions(X).astype(str)
        order = pd.MultiIndex.from_frame(conditions[["context", "perturbation"]])
        return pd.concat(parts).loc[order].reset_index(drop=True)

    def _evaluate(self, cells, X, y, metrics):
        """Return the evaluation of each context, by its name."""
        rule, found = CONVENTIONS[self.convention], []
        for context, both in self._populations(cells, X, y):
            evaluation = score_sides(both, CONTROL, rule, anchors=False)
            for metric in metrics:
                if metric not in evaluation.scores.index:
                    raise ValueError(
                        f"metric={metric!r}; convention {self.convention!r} has "
                        f"{list(evaluation.scores.index)}."
                    )
            found.append((context, evaluation))
        return found

    def _populations(self, cells, X, y):
        """Yield measured and predicted cells of each context, by its name."""
        rule = CONVENTIONS[self.convention]
        if self.n_components is not None and rule.de is not None:
            raise ValueError(
                f"convention={self.convention!r} scores genes; n_components= goes with "
                'convention="populations".'
            )
        schema = resolve_schema(self.schema, X, self.control)
        labels, contexts = self._read(X, schema)
        sides = self._sides(y, cells)
        as_logs = self.n_components is not None and _holds_counts(sides)
        # What a model predicts depends on what it was fitted to, and not on this y.
        scale = "log1p" if as_logs else rule.values
        sides = on_one_scale(sides, scale, normalised=[_PREDICTED])
        real, pred = (by_row(side.matrix, side.name) for side in sides.values())
        genes = sides["y"].genes
        is_control = labels == CONTROL
        _warn_of_pooled(contexts, is_control, schema.context)
        for context in pd.unique(contexts[~is_control]):
            own = contexts == context
            # Without controls of its own, those of all contexts stand in.
            controls = is_control & own if (is_control & own).any() else is_control
            rows = [np.flatnonzero(chosen) for chosen in (own & ~is_control, controls)]
            truth = _stacked([rows_of(real, part) for part in rows])
            guess = _stacked([rows_of(pred, rows[0]), rows_of(real, rows[1])])
            names, columns = labels[np.concatenate(rows)], genes
            if self.n_components is not None:
                truth, guess = self._project(truth, guess)
                columns = pd.Index([f"pc{i}" for i in range(truth.shape[1])])
            sides_of = (("real", truth), ("pred", guess))
            yield (
                context,
                {name: Population(side, names, columns) for name, side in sides_of},
            )

    def _read(self, X, schema):
        """Return the label and the context of each cell."""
        is_control = control_rows(X, schema)
        labels = each_label(read_column(X, schema.perturbation), as_text)
        labels[is_control] = CONTROL
        if not is_control.any():
            raise ValueError(
                "There is no control cell among those to score, from which effects are "
                "measured. Where a splitter holds out perturbations, let it deal the "
                'controls too, as UnseenPerturbationKFold(keep_controls="both") does.'
                f"{spelling_hint(schema.control_labels, set(labels))}"
            )
        if is_control.all():
            raise ValueError("All cells to score are controls; there is no effect.")
        contexts = np.full(len(labels), None, dtype=object)
        if schema.context is not None:
            contexts = each_label(read_column(X, schema.context), as_text)
        return labels, contexts

    def _sides(self, y, predicted):
        """Return both as populations of the genes of `y`."""
        real, pred = open_cells(as_pandas(y)), open_cells(predicted)
        genes = real.genes
        if genes is None:
            genes = [f"g{i}" for i in range(real.shape[1])]
        genes = pd.Index(genes).astype(str)
        check_unique_genes(genes, "y")
        if pred.shape != real.shape:
            raise ValueError(
                f"The model gives {pred.shape[0]} cells of {pred.shape[1]} genes, and "
                f"y has {real.shape[0]} of {real.shape[1]}; score it in the space that "
                "it was fitted to."
            )
        matrix = pred.matrix
        if real.genes is not None and pred.genes is not None:
            places = places_of_genes(genes, pd.Index(pred.genes).astype(str))
            if places is not None:
                matrix = LazyMatrix(matrix, columns=places)
        empty = np.full(real.shape[0], None, dtype=object)
        return {
            name: Population(values, empty, genes, name, cells.obs_names)
            for name, cells, values in (
                ("y", real, real.matrix),
                (_PREDICTED, pred, matrix),
            )
        }

    def _project(self, truth, guess):
        """Return both in principal components of the former."""
        truth, guess = (to_dense(side) for side in (truth, guess))
        if self.n_components >= min(truth.shape):
            return truth, guess
        pca = PCA(self.n_components, svd_solver="covariance_eigh").fit(truth)
        return pca.transform(truth), pca.transform(guess)


def _cells_of(estimator, X):
    """Return a predicted cell for each row, as `Cells` with the genes that are known.

    Estimators of the toolkit give arrays, without a frame made of each, and know what
    the columns are.
    """
    if hasattr(estimator, "sample"):
        cells = as_pandas(estimator.sample(X, 1))
        is_table = is_annotated(cells) or isinstance(cells, pd.DataFrame)
        if not (is_table or sparse.issparse(cells)):
            cells = np.asarray(cells).reshape(len(X), -1)
    else:
        with arrays_only():
            cells = as_pandas(estimator.predict(X))
    cells = open_cells(cells)
    names = known_names(estimator)
    if cells.genes is None and names is not None and len(names) == cells.shape[-1]:
        cells.genes = pd.Index(names)
    return cells


def _warn_of_pooled(contexts, is_control, column):
    """Warn of contexts whose cells are compared with the controls of all contexts."""
    scored = pd.unique(contexts[~is_control])
    own = set(contexts[is_control])
    lacking = sorted(map(str, set(scored) - own))
    if lacking:
        shown = ", ".join(map(repr, lacking[:3]))
        warn(
            f"{len(lacking)} of {len(scored)} levels of {column!r} have no controls "
            f"among the cells to score, such as {shown}. Their effects are "
            "measured from the controls of all contexts, pooled, and so hold the "
            "differences between contexts, which are often larger than those that "
            "perturbations make. Let each part that is scored have controls of each "
            "context, or leave these contexts out."
        )


def _holds_counts(sides):
    return any(looks_like_counts(side.matrix) for side in sides.values())


def _stacked(parts):
    if any(sparse.issparse(part) for part in parts):
        return sparse.vstack([sparse.csr_array(p) for p in parts], format="csr")
    return np.vstack(parts)
