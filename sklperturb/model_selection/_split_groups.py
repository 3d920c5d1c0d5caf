"""Splitters that hold out families of perturbations."""

import warnings

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import column_names, read_column
from sklperturb.conditions._levels import number_levels
from sklperturb.model_selection._folds import (
    BaseConditionKFold,
    join_structures,
    read_table,
)


class UnseenGroupKFold(BaseConditionKFold):
    """Hold out whole groups of perturbations, such as mechanisms of action.

    The question is what a model says of a compound when it has seen none that
    works alike. Groups are always shuffled and then dealt, each to the fold
    with the fewest rows so far.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of groups.
    by : str or int
        Column of X that names the group of each row.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling. With None every call of `split` deals anew.
    schema : PerturbationSchema, default=None
        Names the columns of X. None infers them from their spelling.

    Raises
    ------
    ValueError
        From `split`, if X has no column `by`, if there are fewer groups than
        folds, or if rows of one condition belong to different groups, which
        would put replicates on both sides of a split.

    See Also
    --------
    UnseenScaffoldKFold : Groups of compounds by their structure.

    Notes
    -----
    A row without a group takes the group that its perturbation has in other
    rows. A perturbation that has none in any row is a group of its own, rather
    than one big group of unknowns, which have nothing in common.

    Groups of contexts, such as the tissue of a cell line, are possible too:
    a group must only be the same for all rows of one (context, perturbation).

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import UnseenGroupKFold
    >>> X = pd.DataFrame({"sm_name": ["x", "y", "z", "w"],
    ...                   "moa": ["HDAC", "HDAC", "MEK", None]})
    >>> cv = UnseenGroupKFold(n_splits=3, by="moa", random_state=0)
    >>> for train, test in cv.split(X):
    ...     print(X.loc[test, "sm_name"].tolist())
    ['w']
    ['z']
    ['x', 'y']
    """

    def __init__(self, n_splits=5, *, by, random_state=None, schema=None):
        super().__init__(n_splits, schema=schema, random_state=random_state)
        self.by = by

    def _iter_test_masks(self, X, y=None, groups=None):
        yield from self._deal_rows(self._codes(X), f"groups of {self.by!r} in X")

    def _dealt_as_one(self, X):
        return "group", self._codes(X)

    def _codes(self, X):
        X, schema = read_table(X, self.schema)
        names = column_names(X)
        if self.by not in names:
            raise ValueError(f"by={self.by!r} is no column of X, which has {names}.")
        schema.require(X, "perturbation")
        roles = schema.columns("perturbation", "context")
        condition = [read_column(X, column) for column in roles]
        groups = read_column(X, self.by, allow_missing=True)
        return _complete_groups(groups, condition, repr(self.by))


class UnseenScaffoldKFold(BaseConditionKFold):
    """Hold out whole Bemis-Murcko scaffolds of compounds.

    Compounds with the same ring systems and linkers [1]_ tend to act alike, so
    that a model which has seen one of them does not meet an unseen compound in
    the others. Scaffolds are always shuffled and then dealt, each to the fold
    with the fewest rows so far. Needs rdkit.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of scaffolds.
    schema : PerturbationSchema, default=None
        Names the columns of X, among them the SMILES. None infers them from
        their spelling.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling. With None every call of `split` deals anew.

    Raises
    ------
    ImportError
        From `split`, if rdkit is not installed.
    ValueError
        From `split`, if there are fewer scaffolds than folds, if X has no
        SMILES column, or if one compound has structures of different
        scaffolds.

    Warns
    -----
    UserWarning
        If SMILES are missing, or cannot be read.

    See Also
    --------
    UnseenGroupKFold : Groups named by a column of X.
    UnseenPerturbationKFold : Similar compounds may be on both sides.

    Notes
    -----
    A compound without a scaffold is a group of its own: an acyclic molecule, a
    missing SMILES, or one that rdkit cannot read. Stereochemistry is not part
    of a scaffold. Of a salt all parts that have rings count. Salts and
    stereoisomers of one compound are held out together all the same, whether
    they have a scaffold or not.

    References
    ----------
    .. [1] Bemis and Murcko, "The properties of known drugs. 1. Molecular
       frameworks", Journal of Medicinal Chemistry 39(15), 1996.
       :doi:`10.1021/jm9602928`

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import UnseenScaffoldKFold
    >>> X = pd.DataFrame({"sm_name": ["toluene", "phenol", "pyridine", "ethanol"],
    ...                   "SMILES": ["Cc1ccccc1", "Oc1ccccc1", "c1ccncc1", "CCO"]})
    >>> cv = UnseenScaffoldKFold(n_splits=3, random_state=0)
    >>> for train, test in cv.split(X):
    ...     print(X.loc[test, "sm_name"].tolist())
    ['ethanol']
    ['pyridine']
    ['toluene', 'phenol']
    """

    def _iter_test_masks(self, X, y=None, groups=None):
        yield from self._deal_rows(self._codes(X), "scaffolds in X")

    def _dealt_as_one(self, X):
        return "scaffold", self._codes(X)

    def _codes(self, X):
        # Loaded only here: the other splitters need no features.
        from sklperturb.preprocessing import murcko_scaffolds

        X, schema = read_table(X, self.schema)
        schema.require(X, "perturbation", "smiles")
        compounds = read_column(X, schema.perturbation)
        smiles = read_column(X, schema.smiles, allow_missing=True)
        scaffolds, invalid = murcko_scaffolds(smiles)
        _warn_of_gaps(compounds, pd.isna(smiles))
        if invalid.any():
            names = list(pd.unique(compounds[invalid]))
            shown = ", ".join(map(str, names[:5])) + ", ..." * (len(names) > 5)
            warnings.warn(
                f"rdkit cannot read the SMILES of {len(names)} compounds ({shown}). "
                "UnseenScaffoldKFold makes each of them a group of its own; correct "
                "the SMILES or drop the rows.",
                UserWarning,
                stacklevel=3,
            )
        codes = _complete_groups(scaffolds, [compounds], "the scaffold")
        # Twins without a scaffold, and salts of one compound whose counter-ions differ
        # in their rings, are no farther from each other than twins of one scaffold.
        return join_structures(codes, X, schema, parent=True)


def _warn_of_gaps(compounds, missing):
    """Say how many compounds have a structure in none of their rows."""
    every = pd.unique(compounds)
    lacking = len(every) - len(pd.unique(compounds[~missing]))
    if lacking:
        warnings.warn(
            f"{lacking} of {len(every)} compounds ({lacking / len(every):.0%}) have no "
            "SMILES. UnseenScaffoldKFold makes each of them a group of its own, which "
            "may be held out while others of its scaffold are in training; fill in the "
            "SMILES, or drop the rows.",
            UserWarning,
            stacklevel=4,
        )


def _complete_groups(groups, condition, described):
    """Number the groups of the rows, and give a group to the rows without one.

    Parameters
    ----------
    groups : ndarray of shape (n_samples,)
        May hold missing values.
    condition : list of ndarray of shape (n_samples,)
        The perturbation, then the other columns that make a condition.
    described : str
        What the groups are, for the error messages.
    """
    codes, names = number_levels(groups)
    perturbation, perturbation_names = number_levels(condition[0])
    for unit in np.unique(perturbation[codes < 0]):
        rows = perturbation == unit
        known = np.unique(codes[rows & (codes >= 0)])
        if len(known) > 1:
            raise ValueError(
                f"Rows of {perturbation_names[unit]!r} have no value of {described}, "
                f"and its other rows have several: {list(names[known])}. Fill in "
                "the missing ones."
            )
        own = len(names) + unit
        codes[rows & (codes < 0)] = known[0] if len(known) else own
    # A condition is to lie on one side of every split.
    n_groups = pd.Series(codes).groupby(condition, sort=False).nunique()
    if (n_groups > 1).any():
        raise ValueError(
            f"Rows of the condition {n_groups.idxmax()!r} differ in {described}, so "
            "replicates would lie on both sides of a split. Give all rows of a "
            "condition the same group."
        )
    # Close the gaps between the numbers of the perturbations that got a group.
    return np.unique(codes, return_inverse=True)[1]
