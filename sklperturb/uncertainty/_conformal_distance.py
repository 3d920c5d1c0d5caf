"""How far a condition is from all that a model was trained on."""

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from sklperturb.conditions._frames import read_column
from sklperturb.model_selection._folds import has_structures
from sklperturb.preprocessing import tanimoto_similarity
from sklperturb.preprocessing._fingerprint import warn_invalid
from sklperturb.preprocessing._molecules import fingerprints, import_rdkit
from sklperturb.preprocessing._structures import spell_structures

# What any two contexts, and any two perturbations, have in common, next to what the
# same ones have; and the variance of noise, next to that of what is common to both.
_CONTEXTS, _PERTURBATIONS, _NOISE = 0.3, 0.1, 0.1


class KernelDistance:
    r"""Distance of conditions from training, in the feature space of a kernel.

    The kernel is that of two contexts times that of two perturbations,
    :math:`k = (a + [c = c'])(b + S_{pp'})`, scaled to 1 for a condition with itself.
    The similarity :math:`S` is the Tanimoto similarity of two structures; where one is
    not known, the share of the parts of two combinations that are the same, which is
    whether they are the same for what is no combination. The distance of a condition
    is that of its features from those that training spans, with some noise,

    .. math:: d^2 = k(x, x) - k_T(x)^\top (K_{TT} + \lambda I)^{-1} k_T(x)

    from almost 0, for what was measured, to 1, for what is like nothing.

    Parameters
    ----------
    schema : PerturbationSchema or None
        None takes all conditions for different.
    """

    def __init__(self, schema):
        self.schema = schema

    def fit(self, X, context, names):
        """Compare the training conditions.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_columns)
        context : ndarray of int of shape (n_samples,)
        names : ndarray of str of shape (n_samples,)
            Of the perturbations.
        """
        self.structures = {}
        smiles = self._structures(X, names, warned=True)
        for name, text in zip(names, smiles, strict=True):
            if text is not None:
                self.structures.setdefault(name, text)
        keys = pd.Series(list(zip(context, names, smiles, strict=True)))
        self.place, _ = pd.factorize(keys)
        first = np.unique(self.place, return_index=True)[1]
        self.context, self.names = context[first], names[first]
        self.smiles = smiles[first]
        parts = {part for name in np.unique(self.names) for part in self._split(name)}
        self.parts = sorted(parts)
        self.kernel = self._kernel(self.context, self.names, self.smiles)
        return self

    def __call__(self, X, context, names):
        """Return the distance of each condition from all of training.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_columns)
        context : ndarray of int of shape (n_samples,)
            -1 for one that training does not have.
        names : ndarray of str of shape (n_samples,)

        Returns
        -------
        distance : ndarray of shape (n_samples,)
        """
        smiles = self._structures(X, names)
        return _distance(self.kernel, self._kernel(context, names, smiles))

    def left_out(self, train, test):
        """Return the distance of some rows of training from some others."""
        known = np.unique(self.place[train])
        asked, back = np.unique(self.place[test], return_inverse=True)
        between = self.kernel[np.ix_(asked, known)]
        return _distance(self.kernel[np.ix_(known, known)], between)[back]

    def _structures(self, X, names, *, warned=False):
        """Return the SMILES of each row, its name's or None where it has none."""
        smiles = np.full(len(names), None, dtype=object)
        if self.schema is None or self.schema.smiles is None:
            return smiles
        if has_structures(X, self.schema) and _rdkit_is_there():
            given = read_column(X, self.schema.smiles, allow_missing=True)
            smiles, invalid = spell_structures(given)
            if warned:
                what = "takes their compounds for unlike all others"
                warn_invalid(given, invalid, "ConformalRegressor", what)
        for row in np.flatnonzero(smiles == None):  # noqa: E711  elementwise
            smiles[row] = self.structures.get(names[row])
        return smiles

    def _split(self, name):
        """Return the parts of a combination; a control is one of its own."""
        parts = () if self.schema is None else self.schema.split(name)
        return parts or (name,)

    def _kernel(self, context, names, smiles):
        """Return the kernel between the given conditions and those of training."""
        alike = self._alike(names, smiles)
        same = context[:, None] == self.context
        scale = (1 + _CONTEXTS) * (1 + _PERTURBATIONS)
        return (_CONTEXTS + same) * (_PERTURBATIONS + alike) / scale

    def _alike(self, names, smiles):
        """Return the similarity of perturbations with those of training."""
        unique, codes = np.unique(names.astype(str), return_inverse=True)
        known, known_codes = np.unique(self.names.astype(str), return_inverse=True)
        (members, sizes), (of_known, known_sizes) = map(self._members, (unique, known))
        overlap = (members @ of_known.T).toarray()
        union = sizes[:, None] + known_sizes - overlap
        alike = (overlap / union)[np.ix_(codes, known_codes)]
        rows, columns = (np.flatnonzero(s != None) for s in (smiles, self.smiles))  # noqa: E711
        if len(rows) and len(columns):
            codes, texts = pd.factorize(smiles[rows])
            known_codes, known_texts = pd.factorize(self.smiles[columns])
            counts = (fingerprints(t, "morgan_counts")[0] for t in (texts, known_texts))
            similarity = tanimoto_similarity(*counts)
            alike[np.ix_(rows, columns)] = similarity[np.ix_(codes, known_codes)]
        return alike

    def _members(self, names):
        """Return which parts of training each name has, and how many it has in all."""
        place = {part: number for number, part in enumerate(self.parts)}
        split = [self._split(name) for name in names]
        found = [
            (row, place[part])
            for row, parts in enumerate(split)
            for part in parts
            if part in place
        ]
        rows, columns = np.array(found, dtype=int).reshape(-1, 2).T
        shape = len(names), len(self.parts)
        members = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
        return members, np.array([len(parts) for parts in split], dtype=float)


def _distance(kernel, between):
    """Return the distances, from the kernel of training and that between both."""
    factor = cho_factor(kernel + _NOISE * np.eye(len(kernel)), lower=True)
    explained = np.einsum("ij,ji->i", between, cho_solve(factor, between.T))
    return np.sqrt(np.clip(1 - explained, 0, 1))


def _rdkit_is_there():
    try:
        import_rdkit("Distances of structures")
    except ImportError:
        return False
    return True
