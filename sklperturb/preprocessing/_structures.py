"""The chemical structure of each row of a table of conditions."""

import numpy as np

from sklperturb.conditions._frames import as_table, read_column
from sklperturb.preprocessing._fingerprint import warn_invalid
from sklperturb.preprocessing._molecules import canonical_smiles, smiles_or_none


def read_structures(X, schema, owner):
    """Return the canonical SMILES of each row, None where there is no structure.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    schema : PerturbationSchema
        Without a SMILES column, no row has a structure.
    owner : str
        Whose warning it is that a SMILES cannot be read.

    Returns
    -------
    smiles : ndarray of object of shape (n_samples,)
    """
    if schema.smiles is None:
        return np.full(len(as_table(X)), None, dtype=object)
    schema.require(X, "smiles")
    given = smiles_or_none(read_column(X, schema.smiles, allow_missing=True))
    smiles = np.array(
        [None if text is None else canonical_smiles(text) for text in given],
        dtype=object,
    )
    invalid = (given != None) & (smiles == None)  # noqa: E711  elementwise
    warn_invalid(given, invalid, owner, "treats them as missing")
    return smiles


def first_structures(smiles, perturbation, n_perturbations):
    """Return the first structure that each perturbation has, or None."""
    known = np.full(n_perturbations, None, dtype=object)
    for code, text in zip(perturbation, smiles, strict=True):
        if known[code] is None:
            known[code] = text
    return known


def fill_structures(smiles, perturbation, known):
    """Return structures, where missing those of the same perturbation, if any.

    Submission files often repeat the names of compounds only.
    """
    return np.array(
        [
            known[code] if text is None and code >= 0 else text
            for code, text in zip(perturbation, smiles, strict=True)
        ],
        dtype=object,
    )
