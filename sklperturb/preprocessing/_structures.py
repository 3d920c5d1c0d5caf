"""The chemical structure of each row of a table of conditions."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import as_table, read_column
from sklperturb.preprocessing._fingerprint import warn_invalid
from sklperturb.preprocessing._molecules import canonical_smiles, smiles_or_none


def spell_structures(smiles, spell=canonical_smiles):
    """Give each structure one spelling, each distinct SMILES once.

    Parameters
    ----------
    smiles : ndarray of shape (n_samples,)
        May hold missing values and empty texts.
    spell : callable, default=canonical_smiles
        Returns the spelling of a SMILES, None if it cannot be read.

    Returns
    -------
    structures : ndarray of object of shape (n_samples,)
        None where there is no structure.
    invalid : ndarray of bool of shape (n_samples,)
        Where a SMILES is there but cannot be read.
    """
    codes, unique = pd.factorize(np.asarray(smiles, dtype=object))
    # The extra last entry is for missing SMILES, whose code is -1.
    given = smiles_or_none([*unique, None])
    structures = np.array([text and spell(text) for text in given], dtype=object)
    invalid = (given != None) & (structures == None)  # noqa: E711  elementwise
    return structures[codes], invalid[codes]


def read_structures(estimator, X, perturbation, *, reset):
    """Return the canonical SMILES of each row, None where there is no structure.

    Parameters
    ----------
    estimator : ConditionRegressor
        Keeps the first structure of each perturbation, which rows without one take:
        submission files often repeat the names of compounds only. If its schema has
        no SMILES column, no row has a structure.
    X : DataFrame or array-like of shape (n_samples, n_columns)
    perturbation : ndarray of int of shape (n_samples,)
        Codes, -1 for a perturbation not seen in `fit`.
    reset : bool
        Whether the structures are to be remembered, as in `fit`.

    Returns
    -------
    smiles : ndarray of object of shape (n_samples,)
    """
    schema = estimator.schema_
    smiles = np.full(len(as_table(X)), None, dtype=object)
    if schema.smiles is not None:
        schema.require(X, "smiles")
        given = read_column(X, schema.smiles, allow_missing=True)
        smiles, invalid = spell_structures(given)
        owner = type(estimator).__name__
        warn_invalid(given, invalid, owner, "treats them as missing")
    if reset:
        estimator._known = np.full(len(estimator.perturbations_), None, dtype=object)
        for code, text in zip(perturbation, smiles, strict=True):
            estimator._known[code] = estimator._known[code] or text
    for row in np.flatnonzero((smiles == None) & (perturbation >= 0)):  # noqa: E711
        smiles[row] = estimator._known[perturbation[row]]
    return smiles
