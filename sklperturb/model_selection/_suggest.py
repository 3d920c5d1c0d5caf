"""Folds that ask what a submission will be asked."""

import pandas as pd

from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._labels import take_labels
from sklperturb.conditions._levels import number_levels
from sklperturb.conditions._validation import resolve_schema
from sklperturb.model_selection._folds import has_structures, join_structures
from sklperturb.model_selection._split import (
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
)


def suggest_cv(X, X_test, *, n_splits=5, schema=None, random_state=0):
    """Choose the splitter whose held-out rows resemble the rows to predict.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_columns)
        Conditions with a known response.
    X_test : DataFrame of shape (n_test, n_columns)
        Conditions to predict. Without rows, the folds ask the hardest question that
        the design allows: pairs where perturbations were measured in several contexts,
        else perturbations.
    n_splits : int, default=5
        Folds; fewer where the design has not as many perturbations, contexts or pairs.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=0
        Seeds the splitter.

    Returns
    -------
    cv : splitter
        `UnseenPerturbationKFold` if most rows to predict have a perturbation that was
        never seen, else `UnseenContextKFold` if most have a new context, else
        `UnseenPairKFold` on the contexts to predict. Where X has one context only, or
        no perturbation in two, contexts or pairs cannot be held out, and perturbations
        are instead.

    Raises
    ------
    ValueError
        If X or X_test lacks the column of the perturbation, or that of the context
        that the schema names.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.model_selection import suggest_cv
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> suggest_cv(screen.X, screen.X_test, n_splits=3).contexts
    ['B cells', 'Myeloid cells']
    """
    X, X_test = as_pandas(X), as_pandas(X_test)
    schema = resolve_schema(schema, X)
    for table in (X, X_test):
        schema.require(table, "perturbation", *["context"] * bool(schema.context))
    common = {"schema": schema, "random_state": random_state}
    perturbations = _labels(X, schema.perturbation)
    new = ~_labels(X_test, schema.perturbation).isin(perturbations)
    contexts = None if schema.context is None else _labels(X, schema.context)
    if contexts is not None:
        n_contexts = contexts.groupby(perturbations).nunique()
    if len(X_test) == 0:
        in_several = contexts is not None and n_contexts.gt(1).sum() > 1
        new = pd.Series([not in_several])
    if contexts is None or contexts.nunique() < 2 or new.mean() > 0.5:
        return _unseen_perturbations(X, perturbations, n_splits, common)
    asked = _labels(X_test, schema.context)
    if (~asked.isin(contexts)).mean() > 0.5:
        return UnseenContextKFold(min(n_splits, contexts.nunique()), **common)
    targets = sorted(set(asked) & set(contexts))
    inside = contexts.isin(targets)
    shared = set(perturbations[inside]) & set(perturbations[~inside])
    if len(shared) < 2:
        # Every context is to be predicted, or the targets share nothing with the rest.
        n_pairs = int(n_contexts[n_contexts > 1].sum())
        if n_pairs < 2:
            return _unseen_perturbations(X, perturbations, n_splits, common)
        return UnseenPairKFold(min(n_splits, n_pairs), **common)
    return UnseenPairKFold(min(n_splits, len(shared)), contexts=targets, **common)


def _unseen_perturbations(X, perturbations, n_splits, common):
    units = number_levels(perturbations)[0]
    if has_structures(X, common["schema"]):  # the same structure is held out once
        units = join_structures(units, X, common["schema"])
    # Of a single one, split says that more are needed.
    n_splits = min(n_splits, max(len(set(units)), 2))
    return UnseenPerturbationKFold(n_splits, **common)


def _labels(X, column):
    """Return a column as text, as splitters read it: 3, 3.0 and "3" are one name."""
    return pd.Series(take_labels(X, [column])[:, 0])
