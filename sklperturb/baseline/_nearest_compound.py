"""The responses of the compounds that look most alike."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.conditions._levels import level_means, pair_means, take_levels
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.preprocessing import tanimoto_similarity
from sklperturb.preprocessing._fingerprint import FINGERPRINT_SIZES
from sklperturb.preprocessing._molecules import COUNT_KINDS, fingerprints
from sklperturb.preprocessing._structures import read_structures


class NearestCompoundRegressor(ConditionRegressor):
    r"""Predict the mean response of the most similar compounds, weighted by similarity.

    The neighbours of a compound are the training compounds of the largest Tanimoto
    similarity :math:`s`, and their weights are :math:`s^{power}`. Each neighbour
    speaks with its mean response in the row's context, or, if it was not measured
    there, with that in all of its contexts. The mean of the context joins in with a
    weight of its own, so that remote neighbours hardly move the prediction. Needs
    rdkit.

    Parameters
    ----------
    n_neighbors : int, default=5
        Compounds to average. With fewer in training, all of them.
    power : float, default=3
        How fast the weight falls with the similarity; 0 weighs neighbours alike.
    shrinkage : float, default=1
        Weight of the context's mean; that of an identical compound is 1. With 0 the
        neighbours alone decide, however far they are.
    kind : {"morgan_counts", "morgan_bits", "morgan_features", "atom_pairs", \
            "torsions", "pharmacophores", "maccs"}, default="morgan_counts"
        Fingerprint to compare (see `CompoundFingerprint`).
    radius, n_bits : int, default=2 and 2048
        Radius and length of the fingerprint.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    compound_means_ : ndarray of shape (n_compounds, n_genes)
        Mean response over contexts of each training compound with a structure.
    compounds_ : ndarray of shape (n_compounds,)
        Their names.
    context_means_ : ndarray of shape (n_contexts, n_genes)
    overall_ : ndarray of shape (n_genes,)
        Mean of all rows.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.linear_model.TanimotoKernelRidge : Learns how much to trust similarity.

    Notes
    -----
    A compound that training has in other contexts is its own neighbour, with
    similarity 1. A row without a SMILES takes the structure that training has for the
    compound's name. If there is none either, or no training compound has anything in
    common, the prediction is the mean of the row's context, and of all rows in a
    context that was not seen. Of equally similar compounds, those first in the order
    of names are taken.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.baseline import NearestCompoundRegressor
    >>> X = pd.DataFrame({"sm_name": ["phenol", "ethanol"],
    ...                   "SMILES": ["Oc1ccccc1", "CCO"]})
    >>> new = pd.DataFrame({"sm_name": ["cresol"], "SMILES": ["Cc1ccccc1O"]})
    >>> model = NearestCompoundRegressor(n_neighbors=1, shrinkage=0)
    >>> model.fit(X, [2.0, 5.0]).predict(new)
    array([2.])
    """

    _parameter_constraints = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "power": [Interval(Real, 0, None, closed="left")],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "kind": [StrOptions(set(COUNT_KINDS))],
        **FINGERPRINT_SIZES,
    }

    def __init__(
        self,
        n_neighbors=5,
        *,
        power=3,
        shrinkage=1,
        kind="morgan_counts",
        radius=2,
        n_bits=2048,
        schema=None,
    ):
        self.n_neighbors = n_neighbors
        self.power = power
        self.shrinkage = shrinkage
        self.kind = kind
        self.radius = radius
        self.n_bits = n_bits
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Compute the mean responses of compounds.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : NearestCompoundRegressor

        Raises
        ------
        ImportError
            If there are SMILES and rdkit is not installed.
        ValueError
            If a parameter is out of range.

        Warns
        -----
        UserWarning
            If rdkit cannot read a SMILES.
        """
        context, perturbation, y = self._start_fit(X, y)
        read_structures(self, X, perturbation, reset=True)
        n_levels = len(self.contexts_), len(self.perturbations_)
        self.overall_ = y.mean(axis=0)
        self.context_means_ = level_means(context, n_levels[0], y)[0]
        structured = np.flatnonzero([text is not None for text in self._known])
        self.compounds_ = self.perturbations_[structured]
        means, _ = level_means(perturbation, n_levels[1], y)
        self.compound_means_ = means[structured]
        self._fingerprints = self._count(self._known[structured])
        self._cell_means, place = pair_means(context, perturbation, n_levels, y)
        self._cell_of = place[:, structured]
        return self

    def _used_columns(self):
        return self.schema_.columns("context", "perturbation", "smiles")

    def predict(self, X):
        """Return the weighted mean of each row's neighbours.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)

        Warns
        -----
        UserWarning
            If rdkit cannot read a SMILES.
        """
        context, perturbation = self._codes(X)
        smiles = read_structures(self, X, perturbation, reset=False)
        y_pred = take_levels(self.context_means_, context, self.overall_)
        if len(self.compounds_) == 0:
            return self._shaped(y_pred)
        similarity = tanimoto_similarity(self._count(smiles), self._fingerprints)
        # A stable sort keeps the order of names among equals.
        order = np.argsort(-similarity, axis=1, kind="stable")
        nearest = order[:, : self.n_neighbors]
        near = np.take_along_axis(similarity, nearest, axis=1)
        weights = np.where(near > 0, near**self.power, 0.0)
        for row in np.flatnonzero(weights.any(axis=1)):
            total = weights[row] @ self._responses(context[row], nearest[row])
            total += self.shrinkage * y_pred[row]
            y_pred[row] = total / (weights[row].sum() + self.shrinkage)
        return self._shaped(y_pred)

    def _responses(self, context, compounds):
        """Return how compounds respond in a context, or else on the whole."""
        responses = self.compound_means_[compounds]
        if context >= 0:
            cells = self._cell_of[context, compounds]
            responses[cells >= 0] = self._cell_means[cells[cells >= 0]]
        return responses

    def _count(self, smiles):
        sizes = {"radius": self.radius, "n_bits": self.n_bits}
        return fingerprints(smiles, self.kind, **sizes)[0]
