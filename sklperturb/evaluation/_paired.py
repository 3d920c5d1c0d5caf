"""Two sides of an evaluation, brought to the same perturbations and genes."""

import numpy as np
import pandas as pd

from sklperturb.evaluation._de_arrays import paired_arrays


def aligned_bulks(pseudobulk_true, pseudobulk_pred, control):
    """Return both with the same rows, sorted, and the same genes."""
    sides = {"pseudobulk_true": pseudobulk_true, "pseudobulk_pred": pseudobulk_pred}
    for name, side in sides.items():
        if control not in side.index:
            raise ValueError(
                f"{name} has no row for the control {control!r}; it has "
                f"{list(side.index[:5])}."
            )
        if not (side.index.is_unique and side.columns.is_unique):
            raise ValueError(f"{name} repeats a perturbation or a gene.")
    for axis, kind in (("index", "perturbations"), ("columns", "genes")):
        differing = getattr(pseudobulk_true, axis).symmetric_difference(
            getattr(pseudobulk_pred, axis)
        )
        if len(differing):
            raise ValueError(
                f"The pseudobulks hold different {kind}; {len(differing)} are in one "
                f"only, such as {list(differing[:5])}."
            )
    truth = pseudobulk_true.sort_index()
    return truth, pseudobulk_pred.loc[truth.index, truth.columns]


def aligned_tables(de_true, de_pred, truth, control):
    true, pred = paired_arrays(de_true, de_pred)
    expected = [str(name) for name in truth.index if name != control]
    if true.perturbations != expected:
        differing = sorted(set(true.perturbations) ^ set(expected))
        raise ValueError(
            "The tables of differential expression and the pseudobulks hold different "
            f"perturbations: {len(differing)} are in one only, such as {differing[:5]}."
        )
    return true, pred


def without(bulks, control):
    return bulks.drop(index=control)


def effects_of(bulks, control):
    return without(bulks, control) - bulks.loc[control]


def as_targets(effects):
    """Return the names as targets: "A+B" is no gene, as in the evaluators."""
    return [[name] for name in effects.index]


def score_frame(perturbations, **scores):
    return pd.DataFrame(scores, index=pd.Index(perturbations, name="perturbation"))


def share(part, whole):
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def undefined_as_nan(function, y_true, y_pred):
    values = function(y_true, y_pred)
    constant = (np.ptp(y_true.to_numpy(), axis=1) == 0) | (
        np.ptp(y_pred.to_numpy(), axis=1) == 0
    )
    return np.where(constant, np.nan, values)


def with_control(pseudobulk_true, pseudobulk_pred, control):
    """Give the prediction the measured control in place of its own."""
    others = pseudobulk_pred.drop(index=control, errors="ignore")
    own = pseudobulk_true.loc[[control]].reindex(columns=others.columns)
    return pd.concat([others, own])
