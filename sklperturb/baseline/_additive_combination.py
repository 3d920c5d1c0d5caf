"""Combinations do what their parts do alone, added up."""

import numpy as np

from sklperturb.conditions._regressor import ConditionRegressor


class AdditiveCombinationRegressor(ConditionRegressor):
    """Predict the sum of the effects that the parts of a combination have alone.

    `y` holds changes from control, so this goes into `PerturbationEffectRegressor`
    where there are cells. For pairs of genes of which both were perturbed alone, it is
    the baseline to beat [1]_.

    Parameters
    ----------
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    single_effects_ : dict of str to ndarray of shape (n_genes,)
        Mean effect, over contexts, of each perturbation that was seen alone.
    unseen_effect_ : ndarray of shape (n_genes,)
        Mean of these: what a part that was never seen alone is taken to do.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    AdditiveRegressor : A context effect plus a perturbation effect.

    Notes
    -----
    A part counts with its effect in the row's context; if it was not seen there, with
    the mean over its contexts. If no perturbation was seen alone, the mean of all rows
    stands for the unseen part. Which labels are combinations, the schema says; names of
    compounds are none, unless it has ``combines=True``.

    References
    ----------
    .. [1] Ahlmann-Eltze, Huber and Anders, "Deep-learning-based gene perturbation
       effect prediction does not yet outperform simple linear baselines", Nature
       Methods, 2025. :doi:`10.1038/s41592-025-02772-6`

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.baseline import AdditiveCombinationRegressor
    >>> X = pd.DataFrame({"target_gene": ["KLF1", "MYC"]})
    >>> model = AdditiveCombinationRegressor().fit(X, [[1.0, 0.0], [0.0, 3.0]])
    >>> model.predict(pd.DataFrame({"target_gene": ["KLF1+MYC"]}))
    array([[1., 3.]])
    """

    def __init__(self, *, schema=None):
        self.schema = schema

    def fit(self, X, y):
        """Average the rows of single perturbations.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Changes from control.

        Returns
        -------
        self : AdditiveCombinationRegressor
        """
        context, perturbation, y = self._start_fit(X, y)
        parts = self._parts(self.perturbations_)
        alone = {code: p[0] for code, p in enumerate(parts) if len(p) == 1}
        rows = {}
        for row, code in enumerate(perturbation):
            if code in alone:
                rows.setdefault((context[row], alone[code]), []).append(row)
        self._in_context = {key: y[at].mean(axis=0) for key, at in rows.items()}
        by_gene = {}
        for (_, gene), effect in self._in_context.items():
            by_gene.setdefault(gene, []).append(effect)
        self.single_effects_ = {g: np.mean(e, axis=0) for g, e in by_gene.items()}
        known = list(self.single_effects_.values())
        self.unseen_effect_ = np.mean(known, axis=0) if known else y.mean(axis=0)
        return self

    def predict(self, X):
        """Return the sum over each row's parts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, names = self._names(X)
        levels, codes = np.unique(names, return_inverse=True)
        parts = self._parts(levels)
        y_pred = np.zeros((len(names), len(self.unseen_effect_)))
        for row, (where, code) in enumerate(zip(context, codes, strict=True)):
            for part in parts[code]:
                y_pred[row] += self._effect(where, part)
        return self._shaped(y_pred)

    def _effect(self, context, part):
        found = self._in_context.get((context, part))
        if found is None:
            found = self.single_effects_.get(part, self.unseen_effect_)
        return found

    def _parts(self, names):
        return [self.schema_.split(name) for name in names]
