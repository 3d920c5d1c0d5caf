"""Folds that are like the task ahead, for weights to be learnt on."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import as_text, each_label, take_labels
from sklperturb.conditions._levels import number_levels
from sklperturb.model_selection import UnseenPairKFold

# Held-out pairs below which weights are noise.
MIN_PAIRS = 15
# Perturbations whose mean response is larger or smaller than that of the others by more
# than this factor stand for themselves only.
_ALIKE = 1.5


def trial_folds(X, y, schema, targets, n_splits, seed):
    """Return a splitter or folds, or None if there are too few pairs.

    Pairs of the target contexts are held out: the weights are to suit these. Where the
    few perturbations measured there are unlike the others, as they are if a screen's
    strongest were chosen, the pairs to predict are unlike those measured. Then other
    contexts are held out in turn, as if only these perturbations had been measured in
    them too. Where the target contexts have too few pairs to learn from, those of all
    have a say.
    """
    if schema.context is None:
        return None
    columns = schema.columns("context", "perturbation")
    context, perturbation = take_labels(X, columns).T
    names = number_levels(take_columns(X, columns)[:, 0])[1]
    # As they are spelt in `X`, which splitters go by.
    asked = each_label(targets, as_text)
    targets = list(names[np.isin(each_label(names, as_text), asked)])
    inside = np.isin(context, asked)
    pairs = pd.DataFrame({"context": context, "perturbation": perturbation})
    pairs = pairs.assign(inside=inside).drop_duplicates()
    common = {"schema": schema, "random_state": seed}
    of_targets = pairs.loc[pairs["inside"], "perturbation"]
    shared = of_targets[of_targets.isin(pairs.loc[~pairs["inside"], "perturbation"])]
    if len(shared) >= MIN_PAIRS and shared.nunique() >= n_splits:
        chosen = np.isin(perturbation, of_targets.unique())
        if not _alike(y, chosen, ~inside):
            folds = _contexts_in_turn(context, perturbation, ~inside, chosen, n_splits)
            if folds:
                return folds
        return UnseenPairKFold(n_splits, contexts=targets, **common)
    n_contexts = pairs["perturbation"].value_counts()
    if n_contexts[n_contexts > 1].sum() >= MIN_PAIRS:
        return UnseenPairKFold(n_splits, **common)
    return None


def _alike(y, chosen, rows):
    """Return whether the responses of the chosen are of a size with the others'."""
    sizes = np.sqrt(np.square(np.asarray(y).reshape(len(y), -1)).mean(axis=1))
    if not (rows & chosen).any() or not (rows & ~chosen).any():
        return True
    ratio = sizes[rows & chosen].mean() / max(sizes[rows & ~chosen].mean(), 1e-300)
    return 1 / _ALIKE <= ratio <= _ALIKE


def _contexts_in_turn(context, perturbation, rows, chosen, n_splits):
    """Hold out the largest contexts, but for the chosen perturbations."""
    folds = []
    for name in pd.Series(context[rows]).value_counts().index:
        here = context == name
        # What was measured nowhere else is not what the parts are for.
        known = np.isin(perturbation, perturbation[~here])
        test = here & known & ~chosen
        if (here & chosen).any() and test.sum() >= MIN_PAIRS:
            folds.append((np.flatnonzero(~test), np.flatnonzero(test)))
    return folds[:n_splits]
