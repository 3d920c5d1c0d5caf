"""Losses of networks and flows while they were trained."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklperturb.inspection._figure import (
    COLOURS,
    Display,
    make_axes,
    shown,
    title,
)
from sklperturb.utils._optional import import_extra

_LOSSES = {"train_loss": ("-", "training"), "valid_loss": ("--", "held out")}
# Losses that differ by so much are drawn by their logarithm.
_DECADES = 30
# Points below which each is marked.
_FEW = 12


class TrainingCurveDisplay(Display):
    """Plot the training and validation losses of networks and flows.

    Use `from_estimator` to make one.

    Parameters
    ----------
    table : DataFrame
        One row for each network and look at it: ``network``, its name; ``run``, which
        of several alike, such as the seeds of an ensemble; ``step``; ``train_loss``;
        and ``valid_loss``, missing where no rows were held out.
    kept : dict of (str, int) to float, default=None
        The step whose weights were kept, by network and run, where it is not the last.
    step : {"epoch", "step"}, default="epoch"
        What steps count.
    loss : str, default="loss"
        Label of the losses.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    PerturbationLearningCurveDisplay : The error by how much there is to learn from.

    Notes
    -----
    The losses of a network are of responses in its own space, centred and at unit scale
    and often in a basis, so they are no errors of genes. The rows that a network holds
    out are drawn at random from those it is fitted on: their loss tells when to stop,
    and is no score of unseen perturbations.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import TrainingCurveDisplay
    >>> from sklperturb.models import make_model
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = make_model("token_mlp", random_state=0)
    >>> model = model.set_params(regressor__max_epochs=3).fit(screen.X, screen.y)
    >>> display = TrainingCurveDisplay.from_estimator(model)  # doctest: +SKIP
    >>> display.table["step"].tolist()  # doctest: +SKIP
    [1, 2, 3]
    """

    def __init__(self, *, table, kept=None, step="epoch", loss="loss"):
        self.table = table
        self.kept = kept
        self.step = step
        self.loss = loss

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw what a fitted estimator remembers of its training.

        Parameters
        ----------
        estimator : estimator
            Fitted, or read from a file: a network or a flow, or a pipeline, a wrapper,
            an ensemble or a search that holds some.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        ValueError
            If there is no network inside, or networks and flows, whose steps differ.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_extra("TrainingCurveDisplay", "plot", "matplotlib")
        check_is_fitted(estimator)
        found = list(_trained(estimator, set()))
        if not found:
            raise ValueError(
                f"{type(estimator).__name__} holds no network or flow that remembers "
                "its training, and no other model is trained step by step."
            )
        steps = {_step_of(history) for _, history in found}
        if len(steps) > 1:
            raise ValueError(
                f"{type(estimator).__name__} holds networks, trained by the epoch, and "
                "flows, trained by the step; pass the one to draw, such as its "
                "regressor_."
            )
        rows, kept, runs = [], {}, {}
        for part, history in found:
            name = type(part).__name__
            run = runs[name] = runs.get(name, -1) + 1
            own = _read(part, history)
            rows.append(own.assign(network=name, run=run))
            at = _kept_step(part, own)
            if at is not None:
                kept[name, run] = at
        labels = {_loss_label(part, history) for part, history in found}
        return cls(
            table=pd.concat(rows, ignore_index=True),
            kept=kept,
            step=steps.pop(),
            loss=labels.pop() if len(labels) == 1 else "loss",
        ).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : TrainingCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        (ax,) = make_axes(ax, 1, 1, figsize=(6, 4.2))
        kept = self.kept or {}
        names = list(self.table["network"].unique())
        labelled = set()
        for (name, run), rows in self.table.groupby(["network", "run"], sort=False):
            colour = COLOURS[names.index(name) % len(COLOURS)]
            prefix = f"{shown(name)}, " if len(names) > 1 else ""
            for column, (style, what) in _LOSSES.items():
                if rows[column].isna().all():
                    continue
                label = prefix + what
                ax.plot(
                    rows["step"],
                    rows[column],
                    style,
                    marker="." if len(rows) < _FEW else None,
                    color=colour,
                    linewidth=1.5 if column == "train_loss" else 1.2,
                    label=None if label in labelled else label,
                )
                labelled.add(label)
            if (name, run) in kept:
                row = rows[rows["step"] == kept[name, run]].iloc[0]
                watched = row["valid_loss"]
                if np.isnan(watched):
                    watched = row["train_loss"]
                label = "weights kept"
                ax.plot(
                    row["step"],
                    watched,
                    "o",
                    markersize=8,
                    markerfacecolor="none",
                    color=colour,
                    label=None if label in labelled else label,
                )
                labelled.add(label)
        losses = self.table[list(_LOSSES)].to_numpy(dtype=float)
        if np.nanmin(losses) > 0 and np.nanmax(losses) > _DECADES * np.nanmin(losses):
            ax.set_yscale("log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel=self.step, ylabel=f"{self.loss} (lower is better)")
        ax.legend(frameon=False)
        title(ax, self._caption(names))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _caption(self, names):
        runs = self.table.groupby("network", sort=False)["run"].nunique()
        texts = [shown(name) for name in names]
        for at, name in enumerate(names):
            if runs[name] > 1:
                texts[at] += f" ({runs[name]} runs)"
        return "\n".join(texts)


def _trained(estimator, seen):
    """Yield the networks and flows within a fitted estimator, with their histories."""
    if id(estimator) in seen:
        return
    seen.add(id(estimator))
    history = getattr(getattr(estimator, "net_", None), "history", None)
    if history is None:
        history = getattr(estimator, "history_", None)
    if history:
        yield estimator, list(history)
    for name, value in vars(estimator).items():
        # The parameters are not fitted, but for the steps of a pipeline; a net is part
        # of its regressor.
        if (name.endswith("_") and name != "net_") or name == "steps":
            yield from _inside(value, seen)


def _inside(value, seen):
    if isinstance(value, BaseEstimator):
        yield from _trained(value, seen)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _inside(each, seen)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _inside(each, seen)


def _step_of(history):
    return "step" if "step" in history[0] else "epoch"


def _read(part, history):
    """Return the losses of a history: by step, or by epochs from 1."""
    keys = dict(zip(_LOSSES, _LOSSES, strict=True))
    if "train_loss" not in history[0]:
        # Of a GAN, the error of its mean is nearest to a loss, over one kind of rows.
        held_out = getattr(part, "validation_fraction", 0) > 0
        keys = {"valid_loss" if held_out else "train_loss": "rmse"}
    table = {"step": [entry.get("step", at) for at, entry in enumerate(history, 1)]}
    for loss in _LOSSES:
        key = keys.get(loss)
        table[loss] = [float(entry.get(key, np.nan)) for entry in history]
    return pd.DataFrame(table)


def _kept_step(part, table):
    """Return the step whose weights were kept, None if that is the last."""
    is_flow = hasattr(part, "history_")
    if not is_flow and getattr(part, "patience", None) is None:
        return None
    watched = table["valid_loss"]
    if watched.isna().all():
        if is_flow or not hasattr(part.net_, "generator"):
            return None
        watched = table["train_loss"]
    return float(table["step"][watched.idxmin()])


def _loss_label(part, history):
    if hasattr(part, "history_"):
        return "squared error of the velocity"
    if "train_loss" not in history[0]:
        return "RMSE of the mean"
    loss = getattr(part, "loss", None)
    return f"loss, {loss}" if isinstance(loss, str) else "loss"
