"""The predicted signature of one condition against the measured one."""

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing

from sklperturb.cells._files import gene_names
from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._validation import find_condition, name_conditions
from sklperturb.inspection._figure import (
    BLUE,
    VERMILLION,
    PredictionDisplay,
    draw_points,
    make_axes,
    name_points,
    predicted_label,
    shown,
    text_colour,
)
from sklperturb.metrics import rowwise_pearson, rowwise_root_mean_squared_error
from sklperturb.metrics._checks import check_pair, finite_pair, without_annotation
from sklperturb.utils._choices import one_of

RANKINGS = ("measured", "predicted", "error")


class SignatureDisplay(PredictionDisplay):
    """Plot the measured signature of one condition against the predicted one.

    Each gene is a point, or of many genes a hexagon holds several; on the dashed line
    prediction and measurement are equal. The genes with the strongest response are
    named, those that go up in another colour and with another marker than those that
    go down.

    Draw one with `from_estimator`, `from_predictions` or `from_comparison`.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_genes,)
        Measured and predicted response.
    genes : sequence of str of shape (n_genes,), default=None
        Names; positions by default.
    condition : str, default=None
        What the title says of the condition.
    unit : str, default="response"
        What `y` holds, such as "signed -log10 p".
    name : str, default=None
        Name of the model.
    held_out : bool, default=False
        Whether the model was fitted without this condition; the axis says so.

    Attributes
    ----------
    correlation, error : float
        Pearson correlation over genes, and root mean squared error in the unit of `y`.
        They are of one condition, and say nothing about how others fare.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    genes_ : matplotlib artist
        Points or hexagons of all genes.
    line_ : matplotlib artist
        Where both are equal.
    top_ : list of two matplotlib artists
        Points of the named genes that go up, and of those that go down.
    labels_ : dict of int to matplotlib Annotation
        Names that found room, by the gene's position.

    See Also
    --------
    RowErrorDisplay : The errors of all conditions.
    EffectSizeDisplay : Whether predictions are as strong as measurements.

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import SignatureDisplay
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = AdditiveRegressor().fit(screen.X, screen.y)
    >>> condition = screen.X_test.iloc[0][["sm_name", "cell_type"]].to_dict()
    >>> display = SignatureDisplay.from_estimator(
    ...     model, screen.X_test, screen.y_test, condition=condition
    ... )
    >>> round(display.correlation, 2)
    0.45
    """

    def __init__(
        self,
        *,
        y_true,
        y_pred,
        genes=None,
        condition=None,
        unit="response",
        name=None,
        held_out=False,
    ):
        self.y_true = y_true
        self.y_pred = y_pred
        self.genes = genes
        self.condition = condition
        self.unit = unit
        self.name = name
        self.held_out = held_out

    @property
    def correlation(self):
        return float(rowwise_pearson([self.y_true], [self.y_pred])[0])

    @property
    def error(self):
        return float(rowwise_root_mean_squared_error([self.y_true], [self.y_pred])[0])

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, condition=None, cv=None, schema=None, **options
    ):
        """Predict one condition with an estimator, and draw.

        Parameters
        ----------
        estimator : estimator or str
            Fitted, or with `cv` not yet; a string is the name of a registered model,
            which needs `cv`.
        X : DataFrame of shape (n_samples, n_columns)
            Conditions.
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Measured responses.
        condition : int, str or dict, default=None
            Which condition to draw; see `from_predictions`.
        cv : int, splitter or iterable, default=None
            Folds. The condition is then predicted by a clone that was fitted without
            it; only folds that hold it out are fitted. None predicts with the
            estimator as it is fitted.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        **options
            Further parameters of `from_predictions`.

        Returns
        -------
        display : SignatureDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed; before anything is fitted.
        ValueError
            If there is no such condition, or no fold holds it out.
        """
        X, y = as_pandas(X), without_annotation(y)
        rows = _find_rows(X, schema, condition, len(X))
        options |= {"condition": condition, "schema": schema}
        if cv is None:
            X, y = (_safe_indexing(table, rows) for table in (X, y))
            # A position counts from the first row, and this is all that is left.
            if isinstance(condition, Integral):
                options["condition"] = None
            return super().from_estimator(estimator, X, y, **options)
        folds = [(tr, np.intersect1d(te, rows)) for tr, te in check_cv(cv).split(X, y)]
        folds = [(train, test) for train, test in folds if len(test)]
        if not folds:
            raise ValueError(
                f"No fold of cv holds out condition={condition!r}. Choose one "
                "that is held out, or predict with a fitted estimator and cv=None."
            )
        return super().from_estimator(estimator, X, y, cv=folds, **options)

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        *,
        X=None,
        condition=None,
        schema=None,
        genes=None,
        unit="response",
        name=None,
        held_out=False,
        n_top=10,
        rank_by="measured",
        ax=None,
    ):
        """Draw the signature of one condition.

        Parameters
        ----------
        y_true : array-like, DataFrame or AnnData of shape (n_samples, n_genes) or \
                (n_genes,)
            Measured responses.
        y_pred : array-like or DataFrame of the same shape
            Predictions.
        X : DataFrame of shape (n_samples, n_columns), default=None
            Conditions of the rows, to find one by its names and for the title.
        condition : int, str or dict, default=None
            Which condition to draw: the position of a row, the name of a perturbation,
            or values of roles or columns of `X`, such as
            ``{"perturbation": "Idelalisib", "context": "B"}`` or
            ``{"sm_name": "Idelalisib", "cell_type": "B"}``. Rows that share them are
            averaged, and the title says so. None takes all rows, of which there
            should be but one or replicates.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        genes : sequence of str of shape (n_genes,), default=None
            Names of genes. None takes them from the columns of `y_true` or `y_pred`.
        unit : str, default="response"
            What `y` holds, such as "signed -log10 p".
        name : str, default=None
            Name of the model.
        held_out : bool, default=False
            Whether the model was fitted without this condition.
        n_top, rank_by, ax : optional
            See `plot`.

        Returns
        -------
        display : SignatureDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there is no such condition, several differ, or it is not predicted.

        Warns
        -----
        UserWarning
            If some genes are predicted as NaN, which count as 0.
        """
        y_true, y_pred = (_as_rows(y) for y in (y_true, y_pred))
        truth, prediction, order = check_pair(y_true, y_pred)
        prediction = prediction[:, order]
        X = as_pandas(X)
        rows = _find_rows(X, schema, condition, len(truth))
        names = [] if X is None else name_conditions(_safe_indexing(X, rows), schema)
        title = ", ".join(shown(name, 60) for name in dict.fromkeys(names)) or None
        predicted = ~np.isnan(prediction[rows]).all(axis=1)
        if not predicted.any():
            raise ValueError(
                f"The prediction of condition={condition!r} is NaN: nothing was "
                "predicted. With folds, check that one holds it out."
            )
        rows = rows[predicted]
        if len(rows) > 1 and title is not None:
            title += f" (mean of {len(rows)} rows)"
        truth, prediction = finite_pair(truth[rows], prediction[rows])
        display = cls(
            y_true=truth.mean(axis=0),
            y_pred=prediction.mean(axis=0),
            genes=_names_of(genes, y_true, y_pred),
            condition=title,
            unit=unit,
            name=name,
            held_out=held_out,
        )
        return display.plot(ax, n_top=n_top, rank_by=rank_by)

    def plot(self, ax=None, *, n_top=10, rank_by="measured"):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure. Names are placed for the present layout of the
            figure, so draw its other axes first.
        n_top : int, default=10
            Genes to name. A name that finds no room is left out.
        rank_by : {"measured", "predicted", "error"}, default="measured"
            Name the genes with the strongest measured or predicted response, or with
            the largest error.

        Returns
        -------
        self : SignatureDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        one_of(rank_by, RANKINGS, "ranking of genes")
        truth = np.asarray(self.y_true, dtype=float)
        prediction = np.asarray(self.y_pred, dtype=float)
        correlation, error = self.correlation, self.error
        (ax,) = make_axes(ax, 1, 1, figsize=(6.4, 5.4))
        self.genes_ = draw_points(ax, prediction, truth, "gene")
        ends = [min(prediction.min(), truth.min()), max(prediction.max(), truth.max())]
        style = {"color": text_colour(), "alpha": 0.6, "linestyle": "--", "zorder": 1}
        (self.line_,) = ax.plot(ends, ends, linewidth=1, label="equal", **style)
        ranks = {
            "measured": truth,
            "predicted": prediction,
            "error": truth - prediction,
        }
        top = np.argsort(-np.abs(ranks[rank_by]), kind="stable")[:n_top]
        self.top_ = []
        for goes_up, colour, marker, label in (
            (True, VERMILLION, "^", "up"),
            (False, BLUE, "v", "down"),
        ):
            chosen = top[(truth[top] > 0) == goes_up]
            self.top_ += ax.plot(
                *(prediction[chosen], truth[chosen]),
                *(marker,),
                color=colour,
                markersize=6,
                label=f"top {n_top} by {rank_by}, {label}",
            )
        ax.margins(0.08)
        ax.set_xlabel(predicted_label(self.unit, self.held_out), parse_math=False)
        ax.set_ylabel(f"measured {self.unit}", parse_math=False)
        zeros = np.sqrt(np.mean(truth**2))
        said = [
            f"Pearson r = {correlation:.2f}, RMSE = {error:#.3g} (no change: "
            f"{zeros:#.3g}), n = {len(truth):,} genes"
        ]
        said += [] if self.condition is None else [str(self.condition)]
        said += [] if self.name is None else [shown(self.name, 50)]
        ax.set_title(
            "\n".join(reversed(said)), loc="left", fontsize="medium", parse_math=False
        )
        # Where points are few.
        corner = "upper left" if correlation >= 0 else "upper right"
        drawn = [points for points in self.top_ if len(points.get_xdata())]
        ax.legend(frameon=False, fontsize="small", loc=corner, handles=drawn)
        genes = np.arange(len(truth)) if self.genes is None else self.genes
        self.ax_, self.figure_ = ax, ax.figure
        self.labels_ = name_points(
            ax, prediction, truth, {i: shown(genes[i], 20) for i in top}
        )
        return self


def _find_rows(X, schema, condition, n_rows):
    """Return the positions of the rows of one condition.

    Raises
    ------
    ValueError
        If there are none, or several that differ and none was asked for.
    TypeError
        If `condition` is neither a position nor names.
    """
    if condition is None:
        if n_rows > 1 and (X is None or len(set(name_conditions(X, schema))) > 1):
            raise ValueError(
                f"There are {n_rows} rows, and a signature is of one condition. Pass "
                'condition=, such as a position or {"perturbation": ..., "context": '
                "...} with X=."
            )
        return np.arange(n_rows)
    if isinstance(condition, Integral):
        if not 0 <= condition < n_rows:
            raise ValueError(
                f"condition={condition} is no position of a row; there are {n_rows}, "
                "counted from 0."
            )
        return np.array([condition])
    if not isinstance(condition, str | Mapping):
        raise TypeError(
            f"condition={condition!r} is a {type(condition).__name__}; pass the "
            "position of a row, the name of a perturbation, or a dict of names."
        )
    if X is None:
        raise ValueError("To find a condition by its names, pass X, the conditions.")
    return find_condition(X, schema, condition)


def _as_rows(y):
    """Return a single signature as a table of one row, and a table as it is."""
    y = without_annotation(y)
    if isinstance(y, pd.Series):
        return y.to_frame().T
    y = y if hasattr(y, "ndim") else np.asarray(y)
    return y[None] if y.ndim == 1 else y


def _names_of(genes, y_true, y_pred):
    """Return names of genes, as given or of the columns of what has some; or None."""
    if genes is None:
        genes = gene_names(y_true)
        return gene_names(y_pred) if genes is None else genes
    genes = np.asarray(genes)
    if genes.shape != (y_true.shape[1],):
        raise ValueError(
            f"genes has shape {genes.shape}; it needs one name for each of the "
            f"{y_true.shape[1]} columns of y_true."
        )
    return genes
