"""Folds and models for a comparison on cells."""

import pandas as pd

from sklperturb.conditions._doubts import warn
from sklperturb.model_selection import UnseenContextKFold, UnseenPerturbationKFold
from sklperturb.models import make_cell_models
from sklperturb.utils._choices import one_of

_FEWEST_PERTURBATIONS = 5  # below which contexts are held out, where there are several


def suggest_cell_cv(screen, cv="auto", n_splits=5, random_state=0):
    """Return folds of cells that test controls, too.

    Parameters
    ----------
    screen : Bunch
        As `load_perturbseq` returns it.
    cv : {"auto", "unseen-perturbation", "unseen-context", \
            "leave-one-context-out"}, default="auto"
        What is held out. "auto" holds out perturbations; contexts where there are few
        perturbations and several contexts.
    n_splits : int, default=5
        Fewer, with a warning, where there is less to hold out.
    random_state : int, RandomState instance or None, default=0

    Returns
    -------
    splitter : UnseenPerturbationKFold or UnseenContextKFold

    Raises
    ------
    ValueError
        If there is nothing to hold out, or `cv` is for signatures.
    """
    X, schema = screen.X[~screen.is_control], screen.schema
    n_perturbations = X[schema.perturbation].nunique()
    n_contexts = 1 if schema.context is None else X[schema.context].nunique()
    if cv == "auto":
        few = n_perturbations < _FEWEST_PERTURBATIONS and n_contexts > 1
        cv = "unseen-context" if few else "unseen-perturbation"
    if cv in ("unseen-context", "leave-one-context-out"):
        if schema.context is None:
            raise ValueError(
                f"cv={str(cv)!r} holds out contexts, and there is no column of them; "
                "pass context= to name it."
            )
        kind, n_units = UnseenContextKFold, n_contexts
        n_splits = n_units if cv == "leave-one-context-out" else n_splits
    elif cv == "unseen-perturbation":
        kind, n_units = UnseenPerturbationKFold, n_perturbations
    else:
        raise ValueError(
            f"cv={str(cv)!r} is for signatures; of cells, 'unseen-perturbation' and "
            "'unseen-context' can be held out."
        )
    if n_units < 2:
        raise ValueError(
            f"The file has {n_perturbations} perturbations in {n_contexts} contexts; "
            f"cv={str(cv)!r} needs two to hold out one."
        )
    if kind is UnseenPerturbationKFold:
        _tell_of_parts(X[schema.perturbation].unique(), schema)
    if n_units < n_splits:
        warn(f"n_splits={n_splits} becomes {n_units}, all that can be held out apart.")
    return kind(
        min(n_splits, n_units),
        keep_controls="both",
        schema=schema,
        random_state=random_state,
    )


def _tell_of_parts(labels, schema):
    """Warn of genes that are perturbed alone and in combinations."""
    parts = [schema.split(label) for label in labels]
    alone = {own[0] for own in parts if len(own) == 1}
    joined = {part for own in parts if len(own) > 1 for part in own}
    if both := sorted(alone & joined):
        warn(
            f"{len(both)} genes are perturbed alone and in combinations, such as "
            f"{both[:3]}. Folds hold out one and may train on the other, so scores are "
            "those of new conditions, and not of genes that were never perturbed."
        )


def select_cell_models(
    screen, y, models=None, *, embedding=None, max_steps=2000, random_state=0
):
    """Return the models of cells that fit the data, and their baselines.

    Parameters
    ----------
    screen : Bunch
        As `load_perturbseq` returns it.
    y : DataFrame or ndarray of shape (n_cells, n_outputs)
        What they will learn; of a DataFrame the columns are genes.
    models : list of str, default=None
        Some of them; None takes all that fit.
    embedding : transformer, default=None
        What is known of genes.
    max_steps : int, default=2000
        Of the flow.
    random_state : int, RandomState instance or None, default=0

    Returns
    -------
    models, baselines : dict of str to estimator
    left_out : dict of str to str
        Why, by the name of each that cannot run.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    schema = screen.schema
    baselines, found = make_cell_models(
        embedding,
        best=True,
        schema=schema,
        max_steps=max_steps,
        random_state=random_state,
    )
    for name in models or ():
        one_of(name, [*baselines, *found], "model of cells")
    perturbed = screen.X[~screen.is_control]
    if schema.context is None or perturbed[schema.context].nunique() < 2:
        # The same as the mean shift.
        del baselines["context_shift"], baselines["perturbation_mean"]
    labels = perturbed[schema.perturbation].unique()
    parts = {part for label in labels for part in schema.split(label)}
    genes = y.columns if isinstance(y, pd.DataFrame) else []
    reasons = {"best": "it fits the others many times; name it to run it"}
    if len(parts.intersection(genes)) < 2:
        reasons["bilinear"] = "the perturbed genes are not among the measured ones"
    if all(len(schema.split(label)) == 1 for label in labels):
        reasons["additive"] = "there are no combinations"
    # A model that was named is tried.
    left_out = reasons if models is None else {}
    chosen = [name for name in found if models is None or name in models]
    return (
        {name: found[name] for name in chosen if name not in left_out},
        baselines,
        left_out,
    )
