"""Kernel ridge on the structural similarity of compounds."""

import numpy as np
import pandas as pd
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions

from sklperturb.conditions._annotations import read_mechanisms
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._statistics import share_of_centre, share_of_mean
from sklperturb.linear_model._compound_kernel import (
    CompoundPriorMixin,
    MechanismSimilarity,
    choose_kernel,
    same_compound,
    spatial_median,
)
from sklperturb.linear_model._kernel import check_pairs, mean_norm, rows_of_groups
from sklperturb.linear_model._variances import NOT_LEARNT, prior_variances
from sklperturb.preprocessing import TargetReducer, tanimoto_similarity
from sklperturb.preprocessing._fingerprint import FINGERPRINT_SIZES, check_kinds
from sklperturb.preprocessing._molecules import COUNT_KINDS, fingerprints
from sklperturb.preprocessing._structures import read_structures
from sklperturb.utils._grid import Grid

# Rows that a prediction counts for, next to measurements of the same compound.
_REPEAT_PRIORS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class TanimotoKernelRidge(CompoundPriorMixin, ConditionRegressor):
    r"""Predict unseen compounds from the structure of those that were seen.

    The response of (context :math:`c`, compound :math:`p`) is a typical response plus
    a Gaussian process with covariance

    .. math:: k = (a + [c = c'])\,(b + T_{pp'}^q)

    where :math:`T` is the Tanimoto similarity of two compounds [1]_, averaged over
    kinds of fingerprint. Where the schema names a column of mechanisms of action or of
    target genes, :math:`T_{pp'}^q` becomes :math:`(1 - m) T_{pp'}^q + m M_{pp'}`, with
    the cosine :math:`M` of what is known of both compounds, rare terms counting for
    more. The power :math:`q` says how alike compounds must be to respond alike,
    :math:`a` how much of a compound's effect is the same in every context, and
    :math:`b` how much of a context's effect is the same for every compound. All three
    and the penalty are chosen by closed-form
    leave-one-compound-out, and once more for compounds that were measured in another
    context, by leaving out one pair of both. The share :math:`m` of mechanisms is
    chosen last, and is 0 unless they help left-out compounds by more than the standard
    error of the gain. Needs rdkit.

    Parameters
    ----------
    alphas : array-like of float, default=(0.03, 0.1, 0.3, 1, 3, 10)
        Ridge penalties to choose from.
    powers : array-like of float, default=(1, 2, 4)
        Values of :math:`q`. That the kernel is one is sure for integers only.
    context_shares : array-like of float, default=(0.1, 0.3, 1)
        Values of :math:`a`. With one context it is a scale, and the first is taken.
    perturbation_shares : array-like of float, default=(0, 0.1)
        Values of :math:`b`. With one context it adds to the typical response, and the
        first is taken.
    kind : str or list of str, default=all but "morgan_bits"
        Fingerprints to compare: "morgan_counts", "morgan_bits", "morgan_features",
        "atom_pairs", "torsions", "pharmacophores" and "maccs" (see
        `CompoundFingerprint`).
    radius, n_bits : int, default=2 and 2048
        Radius and length of the fingerprints.
    leave_out : {"auto", "perturbation", "row"}, default="auto"
        What is left out together to score a choice. "perturbation" takes all rows of
        a compound, and of others with the same structure, as asked of an unseen
        compound; with "row" a compound that was measured in two contexts, or under
        two names, would vouch for itself. With "auto" compounds are left out for rows
        whose compound was not measured in another context, and the rows of a compound
        in one context for those where it was: what is the right strength of the one
        is far too strong for the other.
    centre : {"median", "mean"}, default="median"
        The typical response: the point of the least mean distance to the training
        responses, which suits row-wise scores of data with a few very strong
        compounds, or their mean.
    calibrate : bool, default=True
        Whether to multiply each component of the targets by how well it is predicted
        when compounds (or rows) are left out, then each row by a power of its
        predicted strength (see `sklperturb.ensemble.Stretch`). The choices above are
        then made by the error that remains.
    n_components : "full", int, float or "gavish-donoho", default="full"
        Basis of the targets (see `TargetReducer`); "full" loses nothing.
    mechanism_shares : array-like of float, default=(0, 0.1, 0.25, 0.5, 0.75)
        Values of :math:`m` to choose from, 0 to 1. If 0 is among them, another has to
        gain more than a standard error; with 0 alone, mechanisms are not read.
    sources : list, default=None
        What is known of target genes, as of `GeneKnowledgeRidge`: :math:`M` is then
        the mean of its own cosine and that of the vectors of the target genes.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    alpha_, power_, context_share_, perturbation_share_, mechanism_share_ : float
        The chosen values, with "auto" those for compounds that were not measured.
    left_out_error_ : float
        Their mean row-wise root mean squared error when compounds (or rows) are left
        out, in the unit of `y`, within the basis. Optimistic by what the choice gains.
    seen_choice_ : dict of {str: float} or None
        With "auto", the values for compounds that were measured in another context;
        None without such compounds in training.
    grand_mean_share_, centre_share_ : float
        Shares, 0 to 1, of the typical response that are predicted in contexts that
        were seen, and in others: what is more than noise, and what contexts have in
        common.
    dual_coef_ : ndarray of shape (n_samples, n_components)
    centre_ : ndarray of shape (n_genes,)
    reducer_ : TargetReducer
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    ProductKernelRidge : For compounds that were seen, in other contexts.
    sklperturb.baseline.NearestCompoundRegressor : The mean of similar compounds.

    Notes
    -----
    A row without a SMILES takes the structure that training has for the compound's
    name. Compounds without any structure are like themselves, by name, and like no
    other: an unseen one gets the typical response and its context's effect. The same
    holds for mechanisms; those that are "unknown" are missing. Their column is needed
    in `predict` only if their share is not 0.

    What is predicted of a row is changed by nothing that is asked at the same time.
    A row of a compound that was measured in its context, under whatever name, gets
    the mean of these measurements, shrunken towards what the other compounds say as
    far as repeats in training disagree.

    Time is cubic in the rows, for each :math:`(a, b, q)` once, with "auto" twice.

    References
    ----------
    .. [1] Ralaivola, Swamidass, Saigo and Baldi, "Graph kernels for chemical
       informatics", Neural Networks, 2005. :doi:`10.1016/j.neunet.2005.07.009`
    .. [2] Rogers and Hahn, "Extended-connectivity fingerprints", Journal of Chemical
       Information and Modeling, 2010. :doi:`10.1021/ci100050t`

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.linear_model import TanimotoKernelRidge
    >>> smiles = ["Oc1ccccc1", "Nc1ccccc1", "CCO", "CCCO"]
    >>> X = pd.DataFrame({"sm_name": list("uvwx"), "SMILES": smiles})
    >>> model = TanimotoKernelRidge().fit(X, [4.0, 4.0, 1.0, 1.0])
    >>> new = pd.DataFrame({"sm_name": ["y", "z"], "SMILES": ["Cc1ccccc1", "CCCCO"]})
    >>> toluene, butanol = model.predict(new)
    >>> bool(toluene > butanol)
    True
    """

    _parameter_constraints = {
        "alphas": [Grid()],
        "powers": [Grid()],
        "context_shares": [Grid(zero=True)],
        "perturbation_shares": [Grid(zero=True)],
        "kind": [StrOptions(set(COUNT_KINDS)), list, tuple],
        **FINGERPRINT_SIZES,
        "leave_out": [StrOptions({"auto", "perturbation", "row"})],
        "centre": [StrOptions({"median", "mean"})],
        "calibrate": ["boolean"],
        "n_components": TargetReducer._parameter_constraints["n_components"],
        "mechanism_shares": [Grid(largest=1)],
        "sources": [list, tuple, None],
    }

    # What models that earlier versions saved have in the place of it.
    _learnt_since = NOT_LEARNT | {"mechanism_share_": 0.0, "_mechanism": None}

    def __init__(
        self,
        alphas=(0.03, 0.1, 0.3, 1, 3, 10),
        *,
        powers=(1, 2, 4),
        context_shares=(0.1, 0.3, 1),
        perturbation_shares=(0, 0.1),
        kind=(
            "morgan_counts",
            "morgan_features",
            "atom_pairs",
            "torsions",
            "pharmacophores",
            "maccs",
        ),
        radius=2,
        n_bits=2048,
        leave_out="auto",
        centre="median",
        calibrate=True,
        n_components="full",
        mechanism_shares=(0, 0.1, 0.25, 0.5, 0.75),
        sources=None,
        schema=None,
    ):
        self.alphas = alphas
        self.powers = powers
        self.context_shares = context_shares
        self.perturbation_shares = perturbation_shares
        self.kind = kind
        self.radius = radius
        self.n_bits = n_bits
        self.leave_out = leave_out
        self.centre = centre
        self.calibrate = calibrate
        self.n_components = n_components
        self.mechanism_shares = mechanism_shares
        self.sources = sources
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Compare the training compounds and solve for the best choice.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : TanimotoKernelRidge

        Raises
        ------
        ImportError
            If there are SMILES and rdkit is not installed.
        ValueError
            If a parameter is none of the allowed values, a grid is empty or out of
            range, or pairs of rows do not fit into memory.

        Warns
        -----
        UserWarning
            If rdkit cannot read a SMILES, a source knows none of the target genes, no
            row names any, or the fit takes hours.
        """
        check_kinds(self.kind, COUNT_KINDS)
        given = X, y
        context, perturbation, y = self._start_fit(X, y)
        n_kernels = 2 * np.size(self.powers) * np.size(self.context_shares)
        n_kernels *= np.size(self.perturbation_shares)
        check_pairs(self, len(y), n_matrices=16, n_kernels=n_kernels)
        smiles = read_structures(self, X, perturbation, reset=True)
        self._train = (context, perturbation, *self._compounds(smiles))
        self.reducer_ = TargetReducer(self.n_components).fit(y)
        targets = self.reducer_.transform(y)
        centre = spatial_median(targets) if self.centre == "median" else 0 * targets[0]
        self.centre_ = self.reducer_.inverse_transform(centre[None])[0]
        compound = same_compound(perturbation, smiles)
        self._number_compounds(perturbation, smiles, compound)
        alike = self._similarities(*self._train)
        self._mechanism = None
        if max(self.mechanism_shares) > 0:
            self._mechanism = MechanismSimilarity.learn(
                self.schema_, *given, compound, self.sources or ()
            )
        if self._mechanism is not None:
            terms = read_mechanisms(self.schema_, X)
            alike += (self._mechanism(terms, compound),)
        self._choose(alike, targets - centre, compound, np.sqrt(y.shape[1]))
        in_common = share_of_centre(context, len(self.contexts_), y)
        self.centre_share_ = min(in_common, self.grand_mean_share_)
        return self

    def _used_columns(self):
        roles = ["mechanism"] * (self._mechanism is not None)
        return self.schema_.columns("context", "perturbation", "smiles", *roles)

    def predict(self, X):
        """Return the expected response of each row's condition.

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
            If rdkit cannot read a SMILES, or hardly any new compound has a mechanism
            while the model tells new ones by it.
        """
        context, perturbation = self._codes(X)
        smiles = read_structures(self, X, perturbation, reset=False)
        alike = self._similarities(context, perturbation, *self._compounds(smiles))
        compound = self._compound_of(perturbation, smiles)
        if self._mechanism is not None:
            alike += (self._mechanisms_of(X, compound),)
        deviation = self._unseen.predict(alike)
        seen = self._elsewhere(context, compound)
        if self._seen is not None and seen.any():
            deviation[seen] = self._seen.predict([part[seen] for part in alike])
        share = np.where(context < 0, self.centre_share_, self.grand_mean_share_)
        y_pred = np.column_stack([deviation, share])
        repeats = self._repeats(context, compound)
        self._move_to_repeats(y_pred, repeats, self.repeat_prior_)
        basis = np.vstack([self.reducer_.components_, self.centre_])
        return self._shaped(y_pred @ basis)

    def _choose(self, alike, targets, compound, scale):
        """Choose a kernel for unseen compounds, and one for known ones."""
        context = self._train[0]
        n_choices = None if len(self.contexts_) > 1 else 1
        shares = self.context_shares[:n_choices], self.perturbation_shares[:n_choices]
        grids = self.powers, shares, self.alphas

        def choose(groups, scored):
            return choose_kernel(
                alike,
                targets,
                grids,
                compound=compound,
                groups=groups,
                scored=scored,
                calibrate=self.calibrate,
                mechanism_shares=self.mechanism_shares,
            )

        by_row = self.leave_out == "row"
        self._unseen = choose(None if by_row else compound, np.full(len(targets), True))
        self.alpha_, self.power_ = self._unseen.alpha, self._unseen.power
        self.context_share_ = self._unseen.context_share
        self.perturbation_share_ = self._unseen.perturbation_share
        self.mechanism_share_ = self._unseen.mechanism_share
        self.dual_coef_ = self._unseen.dual_coef
        self.left_out_error_ = self._unseen.error / scale
        solved = self._unseen.kernel(*alike), self.alpha_, self.dual_coef_
        self._prior_variances = *prior_variances(*solved, scale**2), 0.0
        self._seen = self.seen_choice_ = None
        cells = np.unique([context, compound], axis=1, return_inverse=True)[1].ravel()
        self._measured = (context, compound, targets, None)
        seen = self._elsewhere(context, compound)
        if self.leave_out == "auto" and seen.any():
            self._seen = choose(cells, seen)
            names = "alpha", "power", "context_share", "perturbation_share"
            names += ("mechanism_share",)
            self.seen_choice_ = {name: getattr(self._seen, name) for name in names}
        if not any(k and k.mechanism_share for k in (self._unseen, self._seen)):
            self._mechanism = None
        # Every row as it would be predicted, had it not been measured.
        together = rows_of_groups(cells)
        without = self._unseen.left_out(alike, targets, together)
        if self._seen is not None:
            without[seen] = self._seen.left_out(alike, targets, together)[seen]
        self.grand_mean_share_ = share_of_mean(self.centre_, targets - without)
        self._learn_repeats(context, compound, targets, without)

    def _learn_repeats(self, context, compound, targets, without):
        """Learn how much to believe the same compound, measured in the same context."""
        self.repeat_prior_ = np.inf
        # What was measured has its typical response in full, the last column.
        share = np.full(len(targets), self.grand_mean_share_)
        measured = np.column_stack([targets, np.ones(len(targets))])
        without = np.column_stack([without, share])
        self._measured = (context, compound, measured, without)
        repeats = self._repeats(context, compound)
        np.fill_diagonal(repeats, 0)
        repeated = repeats.any(axis=1)
        if not repeated.any():
            return

        def error(prior):
            moved = np.empty_like(measured[repeated])
            self._move_to_repeats(moved, repeats[repeated], prior)
            return mean_norm(targets[repeated] - moved[:, :-1])

        self.repeat_prior_ = float(min(_REPEAT_PRIORS, key=error))

    def _elsewhere(self, context, compound):
        """Return whether the compound of each row was measured in another context."""
        other = context[:, None] != self._measured[0]
        return (other & (compound[:, None] == self._measured[1])).any(axis=1)

    def _repeats(self, context, compound):
        """Return which training rows are of the same compound in the same context."""
        same_context = context[:, None] == self._measured[0]
        return (same_context & (compound[:, None] == self._measured[1])).astype(float)

    def _move_to_repeats(self, y_pred, repeats, prior):
        """Average what was measured with what would be predicted without it.

        With an infinite `prior`, where nothing tells how repeats agree, predictions
        stay as they are.
        """
        *_, measured, without = self._measured
        counts = repeats.sum(axis=1)
        rows = np.flatnonzero(counts) if np.isfinite(prior) else []
        if len(rows):
            total, count = repeats[rows] @ measured, counts[rows, None]
            alone = repeats[rows] @ without / count
            y_pred[rows] = (total + prior * alone) / (count + prior)

    def _number_compounds(self, perturbation, smiles, compound):
        """Remember the number of each name's and each structure's compound."""
        self._by_name = np.zeros(len(self.perturbations_), dtype=int)
        self._by_name[perturbation] = compound
        self._by_structure = dict(zip(smiles, compound.tolist(), strict=True))
        self._by_structure.pop(None, None)

    def _compound_of(self, perturbation, smiles):
        """Return the compound of each row, -1 where training does not have it."""
        by_name = np.where(perturbation >= 0, self._by_name[perturbation], -1)
        found = [
            self._by_structure.get(text, -1 if text else number)
            for text, number in zip(smiles, by_name, strict=True)
        ]
        return np.array(found)

    def _compounds(self, smiles):
        """Return what compounds are compared by: (fingerprints, whether they have one).

        Each distinct structure is in the fingerprints once, with the rows' codes.
        """
        codes, unique = pd.factorize(smiles, use_na_sentinel=False)
        counts = [
            fingerprints(unique, kind, radius=self.radius, n_bits=self.n_bits)[0]
            for kind in check_kinds(self.kind, COUNT_KINDS)
        ]
        return counts, codes, smiles != None  # noqa: E711

    def _similarities(
        self, context, perturbation, counts, codes, has_structure, train=None
    ):
        """Return both factors between the given rows and the training rows."""
        train_context, train_perturbation, train_counts, train_codes, train_has = (
            train or self._train
        )
        same_context = context[:, None] == train_context
        similarity = sum(
            tanimoto_similarity(*pair)
            for pair in zip(counts, train_counts, strict=True)
        )
        similarity = similarity[np.ix_(codes, train_codes)] / len(counts)
        by_name = ~(has_structure[:, None] & train_has)
        same_name = perturbation[:, None] == train_perturbation
        similarity[by_name] = same_name[by_name]
        return same_context.astype(float), similarity
