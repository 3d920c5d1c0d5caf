"""Features of compounds from their structure, and similarities of them."""

import warnings
from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import column_names, take_columns
from sklperturb.conditions._validation import resolve_schema, validate_conditions
from sklperturb.preprocessing._molecules import (
    KINDS,
    feature_names,
    fingerprints,
    import_rdkit,
    smiles_or_none,
)

FINGERPRINT_SIZES = {
    "radius": [Interval(Integral, 0, None, closed="left")],
    "n_bits": [Interval(Integral, 1, None, closed="left")],
}


def tanimoto_similarity(A, B=None, *, block_size=2**22):
    r"""Compute how alike compounds are by the overlap of their fingerprints.

    Between counts :math:`a` and :math:`b` it is the MinMax kernel [1]_

    .. math:: \frac{\sum_i \min(a_i, b_i)}{\sum_i \max(a_i, b_i)}

    which for bits is the Tanimoto, or Jaccard, coefficient. It is positive
    semi-definite, so that it serves as a kernel.

    Parameters
    ----------
    A : array-like or sparse array of shape (n_compounds_A, n_features)
        Counts or bits, 0 or more.
    B : array-like or sparse array of shape (n_compounds_B, n_features), default=None
        None compares `A` with itself.
    block_size : int, default=2**22
        Number of similarities that are computed at a time, which bounds the memory.

    Returns
    -------
    similarity : ndarray of shape (n_compounds_A, n_compounds_B), float64
        From 0 to 1. A compound without any feature is like none, not even itself: 0.

    Raises
    ------
    ValueError
        If a value is negative, or `A` and `B` differ in width.

    See Also
    --------
    CompoundFingerprint : Where the counts come from.

    Notes
    -----
    Works on sparse matrices, in blocks of rows, and once for each distinct value in
    `A` and `B`: fast for counts, slow for continuous features.

    References
    ----------
    .. [1] Ralaivola, Swamidass, Saigo and Baldi, "Graph kernels for chemical
       informatics", Neural Networks, 2005. :doi:`10.1016/j.neunet.2005.07.009`

    Examples
    --------
    >>> from sklperturb.preprocessing import tanimoto_similarity
    >>> tanimoto_similarity([[2, 1, 0], [0, 1, 1]])
    array([[1.  , 0.25],
           [0.25, 1.  ]])
    """
    A = _check_counts(A, "A")
    B = A if B is None else _check_counts(B, "B")
    if A.shape[1] != B.shape[1]:
        raise ValueError(
            f"A has {A.shape[1]} features and B {B.shape[1]}; use the same "
            "fingerprint for both."
        )
    # min(a, b) is the sum, over the levels that both reach, of the step up to each.
    levels = np.unique(np.concatenate([A.data, B.data]))
    steps = np.diff(levels, prepend=0.0)
    sizes_A, sizes_B = np.asarray(A.sum(axis=1)), np.asarray(B.sum(axis=1))
    reached = [_at_least(B, level).T.tocsr() for level in levels]
    similarity = np.zeros((A.shape[0], B.shape[0]))
    n_rows = max(1, block_size // max(1, B.shape[0]))
    for start in range(0, A.shape[0], n_rows):
        rows = slice(start, start + n_rows)
        overlap = similarity[rows]
        for level, step, of_B in zip(levels, steps, reached, strict=True):
            overlap += (step * (_at_least(A[rows], level) @ of_B)).toarray()
        union = sizes_A[rows, None] + sizes_B - overlap
        np.divide(overlap, union, out=overlap, where=union > 0)
    return similarity


def _check_counts(A, name):
    A = check_array(A, accept_sparse="csr", dtype=np.float64, input_name=name)
    A = sparse.csr_array(A, copy=True)
    A.eliminate_zeros()
    if A.nnz and A.data.min() < 0:
        raise ValueError(
            f"{name} holds negative values; the Tanimoto similarity is for counts and "
            "bits. Descriptors need another one, such as an RBF kernel."
        )
    return A


def _at_least(A, level):
    """Return where `A` is at least `level`, as a sparse matrix of ones."""
    mask = A.data >= level
    pointers = np.concatenate([[0], np.cumsum(mask)])[A.indptr]
    return sparse.csr_array((np.ones(mask.sum()), A.indices[mask], pointers), A.shape)


def warn_invalid(smiles, invalid, owner, consequence):
    """Warn once about all SMILES that rdkit cannot read."""
    texts = list(pd.unique(smiles[invalid]))
    if texts:
        shown = ", ".join(map(repr, texts[:3])) + ", ..." * (len(texts) > 3)
        warnings.warn(
            f"rdkit cannot read {len(texts)} SMILES ({shown}), in {invalid.sum()} "
            f"rows. {owner} {consequence}; correct the SMILES, or set them to missing.",
            UserWarning,
            stacklevel=3,
        )


class CompoundFingerprint(DocumentedMixin, TransformerMixin, BaseEstimator):
    """Turn the structures of compounds into features.

    Reads SMILES and computes fingerprints or descriptors with rdkit. Each distinct
    SMILES is computed once and remembered for the life of the process, so that the
    folds of a cross-validation do not repeat it.

    Parameters
    ----------
    kind : str or list of str, default="morgan_counts"
        - "morgan_counts": how often each circular substructure [1]_ occurs;
        - "morgan_bits": whether it occurs (ECFP4 with the default radius);
        - "morgan_features": the same counts, of atoms by their role, such as donor,
          acceptor or aromatic (FCFP);
        - "atom_pairs": counts of pairs of atoms and the distance between them;
        - "torsions": counts of chains of four atoms;
        - "pharmacophores": pairs of roles and the distance between them in the reduced
          graph (ErG), 315 of them, in tenths;
        - "maccs": 166 named substructures, as bits 1 to 166 of 167;
        - "descriptors": all two-dimensional descriptors of rdkit;
        - "physchem": twelve of them that a chemist reads: weight (Da), logP, polar
          surface (square angstrom), hydrogen-bond donors and acceptors, rotatable
          bonds, rings, aromatic rings, fraction of sp3 carbon, molar refractivity,
          formal charge and QED.

        Of a list, the features of all kinds side by side.
    radius : int, default=2
        Radius of the circular substructures, in bonds.
    n_bits : int, default=2048
        Length of Morgan, atom-pair and torsion fingerprints, onto which substructures
        are hashed.
    schema : PerturbationSchema, default=None
        Names the SMILES column. None infers it from the column names.
    column : "auto", str, int or list, default="auto"
        Column or columns of SMILES. "auto" takes that of `schema`, the only column of
        a table that has one, and in an array all of them. Of several columns, such as
        the two compounds of a combination, the features are side by side.
    n_jobs : int, default=None
        Processes that compute new compounds, if there are 200 or more of them. None
        is 1 unless in a `joblib.parallel_config` context.

    Attributes
    ----------
    columns_ : list
        Columns of SMILES.
    kinds_ : list of str
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    tanimoto_similarity : Compare compounds by their counts.
    sklperturb.linear_model.TanimotoKernelRidge : Regression on that similarity.

    Notes
    -----
    The last feature of each column, `has_structure`, is 0 where the SMILES is missing
    or invalid, and all the others are then 0 too. Missing are None, NaN, empty texts
    and whatever is no text, such as a number; biologics have no SMILES, so nothing is
    said about them. Invalid ones are texts that rdkit cannot read: one warning per call
    counts them and shows some.

    Descriptors that are not finite become 0, and magnitudes above a million are cut to
    a million; only descriptors that grow exponentially with the molecule reach that.

    Nothing is learnt in `fit`, and `transform` can be used on any compounds. Features
    are float32. The memory of the process keeps the last 50,000 computed, and nothing
    is written to disk. In a table of conditions every row needs its perturbation's
    name, as everywhere in this package.

    References
    ----------
    .. [1] Rogers and Hahn, "Extended-connectivity fingerprints", Journal of Chemical
       Information and Modeling, 2010. :doi:`10.1021/ci100050t`

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.preprocessing import CompoundFingerprint
    >>> X = pd.DataFrame({"sm_name": ["ethanol", "an antibody"],
    ...                   "SMILES": ["CCO", None]})
    >>> fingerprint = CompoundFingerprint("physchem").set_output(transform="pandas")
    >>> features = fingerprint.fit_transform(X)
    >>> features[["physchem_MolWt", "physchem_NumHDonors", "has_structure"]].round(1)
       physchem_MolWt  physchem_NumHDonors  has_structure
    0       46.099998                  1.0            1.0
    1        0.000000                  0.0            0.0
    """

    _parameter_constraints = {
        "kind": [StrOptions(set(KINDS)), list, tuple],
        **FINGERPRINT_SIZES,
        "column": [str, Integral, list],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        kind="morgan_counts",
        *,
        radius=2,
        n_bits=2048,
        schema=None,
        column="auto",
        n_jobs=None,
    ):
        self.kind = kind
        self.radius = radius
        self.n_bits = n_bits
        self.schema = schema
        self.column = column
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the columns of SMILES.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions, or columns of SMILES.
        y : None
            Ignored.

        Returns
        -------
        self : CompoundFingerprint

        Raises
        ------
        ImportError
            If rdkit is not installed.
        ValueError
            If a parameter is none of the allowed values, no column of SMILES is
            found, or a perturbation has no name.
        """
        self.kinds_ = check_kinds(self.kind, KINDS)
        import_rdkit("Fingerprints")
        X = validate_conditions(self, X, reset=True, ensure_all_finite=False)
        self._perturbation = []
        self.columns_ = self._resolve_columns(X)
        self._check_names(X)
        return self

    def transform(self, X):
        """Compute the features of each row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions, or columns of SMILES.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), float32

        Warns
        -----
        UserWarning
            If rdkit cannot read a SMILES.
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False, ensure_all_finite=False)
        self._check_names(X)
        table = take_columns(X, self.columns_, allow_missing=True)
        smiles = smiles_or_none(table.ravel(order="F"))
        blocks, sizes = [], {"radius": self.radius, "n_bits": self.n_bits}
        for kind in self.kinds_:
            block, invalid = fingerprints(smiles, kind, **sizes, n_jobs=self.n_jobs)
            blocks.append(block.toarray())
        warn_invalid(smiles, invalid, "CompoundFingerprint", "gives them features of 0")
        has_structure = np.array([s is not None for s in smiles]) & ~invalid
        blocks.append(has_structure[:, None].astype(np.float32))
        of_column = np.split(np.hstack(blocks), table.shape[1])
        return np.hstack(of_column)

    def _used_columns(self):
        return [*self._perturbation, *self.columns_]

    def get_feature_names_out(self, input_features=None):
        """Return names such as ``"morgan_counts_17"``, last ``"has_structure"``.

        Of several columns of SMILES, each name starts with that of the column.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
        """
        check_is_fitted(self)
        names = [n for kind in self.kinds_ for n in feature_names(kind, self.n_bits)]
        names.append("has_structure")
        if len(self.columns_) > 1:
            names = [f"{column}_{name}" for column in self.columns_ for name in names]
        return np.array(names, dtype=object)

    def _resolve_columns(self, X):
        known = column_names(X)
        if not (isinstance(self.column, str) and self.column == "auto"):
            columns = self.column if isinstance(self.column, list) else [self.column]
            absent = [c for c in columns if c not in known]
            if absent or not columns:
                raise ValueError(
                    f"column={self.column!r} is not in X, which has {known}."
                )
            return list(columns)
        if self.schema is None and (not isinstance(X, pd.DataFrame) or len(known) == 1):
            return known
        schema = resolve_schema(self.schema, X)
        schema.require(X, "smiles")
        # A table may hold the SMILES alone, such as inside a ColumnTransformer.
        self._perturbation = [c for c in [schema.perturbation] if c in known]
        return [schema.smiles]

    def _check_names(self, X):
        if self._perturbation:
            take_columns(X, self._perturbation)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def check_kinds(kind, allowed):
    """Return `kind` as a list of different kinds of fingerprints, or refuse it."""
    kinds = [kind] if isinstance(kind, str) else list(kind)
    if not kinds or not set(kinds) <= set(allowed) or len(set(kinds)) < len(kinds):
        raise ValueError(
            f"kind={kind!r} must be one of {list(allowed)}, or a list of different "
            "ones."
        )
    return kinds
