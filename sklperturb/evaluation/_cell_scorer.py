"""A scorer for cross-validation on cells."""

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.cells import open_cells
from sklperturb.cells._blocks import by_row, rows_of, to_dense
from sklperturb.cells._files import check_unique_genes
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import CONTROL, as_text, control_rows, each_label
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._validation import resolve_schema
from sklperturb.evaluation._conventions import CONVENTIONS
from sklperturb.evaluation._evaluation import score_sides
from sklperturb.evaluation._sides import Population, on_one_scale


class CellScorer:
    """Score an estimator's cells by a metric of a named convention.

    For ``scoring`` of :func:`~sklearn.model_selection.cross_val_score` and searches,
    on data whose rows are cells. The estimator's ``sample(X, 1)`` is asked for a cell
    of each row where it has one, else its ``predict(X)``.

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

    Notes
    -----
    Errors are negated, so that greater is better. Control cells must be in the part
    that is tested: a splitter that holds out perturbations must leave some there, as
    ``UnseenPerturbationKFold(keep_controls="both")`` does. The
    measured control cells serve the prediction too, whatever the convention, since a
    model is not asked to predict them. Tests of differential expression see nothing in
    cells that are all alike: for an estimator that only predicts a mean, use a metric
    of pseudobulks.

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
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(self, metric, convention="robust", *, schema=None, control=None):
        self.metric = metric
        self.convention = convention
        self.schema = schema
        self.control = control

    def __repr__(self):
        return f"CellScorer({self.metric!r}, convention={self.convention!r})"

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
        """
        schema = resolve_schema(self.schema, X, self.control)
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
        if hasattr(estimator, "sample"):
            predicted = np.asarray(estimator.sample(X, 1))
            predicted = predicted.reshape(len(labels), -1)
        else:
            predicted = estimator.predict(X)
        real, pred = open_cells(y), open_cells(predicted)
        genes = real.genes
        if genes is None:
            genes = [f"g{i}" for i in range(real.shape[1])]
        genes = pd.Index(genes).astype(str)
        check_unique_genes(genes, "y")
        rule = CONVENTIONS[self.convention]
        sides = {
            name: Population(cells.matrix, labels, genes, name, cells.obs_names)
            for name, cells in (("y", real), ("the prediction", pred))
        }
        real, pred = (
            np.array(to_dense(rows_of(by_row(side.matrix), slice(None))))
            for side in on_one_scale(sides, rule.values).values()
        )
        pred[is_control] = real[is_control]
        sides = {"real": real, "pred": pred}
        sides = {name: Population(m, labels, genes) for name, m in sides.items()}
        found = score_sides(sides, CONTROL, rule, anchors=False)
        if self.metric not in found.scores.index:
            raise ValueError(
                f"metric={self.metric!r}; convention {self.convention!r} has "
                f"{list(found.scores.index)}."
            )
        row = found.scores.loc[self.metric]
        return float(row["score"] if row["greater_is_better"] else -row["score"])
