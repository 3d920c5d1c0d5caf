"""Whether the perturbations to predict are like those that folds hold out."""

from dataclasses import dataclass

import numpy as np

from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._levels import level_means, number_levels, take_levels
from sklperturb.conditions._validation import resolve_schema
from sklperturb.metrics._checks import without_annotation

# Ratios nearer to one are taken for no difference.
_NOTABLE = 1.05


@dataclass(frozen=True)
class AskedDifference:
    """How the perturbations to predict differ from those that folds hold out.

    Attributes
    ----------
    strength : float
        How many times as strongly they respond, by the root mean square over genes.
    agreement, agreement_held_out : float
        Mean cosine of a perturbation's response with its mean response in the other
        contexts, as deviations from the contexts' means; of either. Replicates in one
        context are one response, their mean. NaN where nothing is measured in two
        contexts.
    contexts : list of str
        Where both are measured, and compared.

    Examples
    --------
    >>> from sklperturb.comparison import AskedDifference
    >>> print(AskedDifference(1.5, 0.3, 0.3, ["T cells"]))
    The perturbations to predict respond 1.50 times as strongly in the shared contexts
    as those that the folds hold out, and agree between contexts by a cosine of 0.30
    against 0.30: their errors may be higher than the cross-validated ones.
    """

    strength: float
    agreement: float
    agreement_held_out: float
    contexts: list

    def __str__(self):
        harder = [np.log(self.strength)]
        agree = ""
        if min(self.agreement, self.agreement_held_out) > 0:
            harder.append(np.log(self.agreement_held_out / self.agreement))
        if not np.isnan(self.agreement + self.agreement_held_out):
            agree = (
                f", and agree between contexts by a cosine of {self.agreement:.2f} "
                f"against {self.agreement_held_out:.2f}"
            )
        higher, lower = max(harder), min(harder)
        limit = np.log(_NOTABLE)
        if higher > limit and lower >= -limit:
            errors = "may be higher than the cross-validated ones"
        elif lower < -limit and higher <= limit:
            errors = "may be lower than the cross-validated ones"
        elif higher > limit:
            errors = "may differ from the cross-validated ones"
        else:
            errors = "should be near the cross-validated ones"
        return (
            f"The perturbations to predict respond {self.strength:.2f} times as "
            "strongly in the shared contexts as those that the folds hold out"
            f"{agree}: their errors {errors}."
        )


def asked_difference(X, y, X_test, folds, *, schema=None):
    """Compare the perturbations to predict with those that folds hold out.

    Cross-validation tells what a model errs on the perturbations that were measured in
    the contexts to predict. Those to predict were not; but both were measured in other
    contexts, where they can be compared: stronger responses have larger errors, and
    responses that differ between contexts are harder to predict.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_columns)
        Conditions.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        Responses.
    X_test : DataFrame of shape (n_test, n_columns)
        Conditions to predict.
    folds : list of tuple (train, test) of ndarray of int
        Such as those of `suggest_cv`.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Returns
    -------
    difference : AskedDifference or None
        Printed, it is one sentence. None where there is nothing to compare: no context
        to learn from has both, or they are the same perturbations.

    See Also
    --------
    sklperturb.model_selection.suggest_cv : Folds that ask what is to be predicted.

    Notes
    -----
    Responses that are normal scores of ranks are all of the same strength; only the
    agreement tells them apart.

    Examples
    --------
    >>> from sklperturb.comparison import asked_difference
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.model_selection import suggest_cv
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> folds = list(suggest_cv(screen.X, screen.X_test).split(screen.X))
    >>> found = asked_difference(screen.X, screen.y, screen.X_test, folds)
    >>> len(found.contexts)
    2
    """
    X, X_test, y = as_pandas(X), as_pandas(X_test), as_pandas(y)
    schema = resolve_schema(schema, X)
    if schema.context is None:
        return None
    y = np.asarray(without_annotation(y), dtype=np.float64)
    perturbation = read_column(X, schema.perturbation).astype(str)
    context = read_column(X, schema.context).astype(str)
    asked = np.unique(read_column(X_test, schema.perturbation).astype(str))
    held_out = np.unique(perturbation[np.concatenate([test for _, test in folds])])
    if np.array_equal(asked, held_out):
        return None
    groups = np.isin(perturbation, asked), np.isin(perturbation, held_out)
    # A context to predict has few of the perturbations, and none that are asked of it.
    targets = np.unique(read_column(X_test, schema.context).astype(str))
    others = np.setdiff1d(np.unique(context), targets)
    both = [c for c in others if all((g & (context == c)).any() for g in groups)]
    if not both:
        return None
    rows = np.flatnonzero(np.isin(context, both))
    context, perturbation, y = context[rows], perturbation[rows], y[rows]
    of_pairs, agreement = _agreement(context, perturbation, y)
    strength = np.sqrt(np.mean(y**2, axis=1))
    strengths, agreements = [], []
    for names, group in zip((asked, held_out), groups, strict=True):
        inside = [group[rows] & (context == c) for c in both]
        strengths.append(np.mean([strength[rows].mean() for rows in inside]))
        known = agreement[np.isin(of_pairs, names)]
        known = known[~np.isnan(known)]
        agreements.append(float(known.mean()) if len(known) else np.nan)
    ratio = float(strengths[0] / strengths[1]) if strengths[1] > 0 else np.nan
    return AskedDifference(ratio, *agreements, both)


def _agreement(context, perturbation, y):
    """Return each pair's perturbation, and the cosine of its mean with those elsewhere.

    Replicates are averaged first: what they share within a context says nothing of
    other contexts.
    """
    (contexts, levels), (codes, names) = map(number_levels, (context, perturbation))
    pairs, rows = np.unique(contexts * len(names) + codes, return_inverse=True)
    y, _ = level_means(rows, len(pairs), y)
    contexts, codes = np.divmod(pairs, len(names))
    y = y - take_levels(level_means(contexts, len(levels), y)[0], contexts, 0.0)
    means, counts = level_means(codes, len(names), y)
    elsewhere = (means * counts[:, None])[codes] - y
    norms = np.linalg.norm(elsewhere, axis=1) * np.linalg.norm(y, axis=1)
    cosines = np.full(len(y), np.nan)
    known = (counts[codes] > 1) & (norms > 0)
    np.divide(np.einsum("ij,ij->i", elsewhere, y), norms, out=cosines, where=known)
    return names[codes], cosines
