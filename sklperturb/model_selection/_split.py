"""Splitters that hold out perturbations, contexts, or pairs of the two."""

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from sklperturb.conditions._labels import control_rows
from sklperturb.conditions._validation import check_list
from sklperturb.model_selection._folds import (
    BaseConditionKFold,
    check_by_structure,
    check_keep_controls,
    check_n_splits,
    deal_controls,
    find_names,
    has_structures,
    join_structures,
    read_roles,
    read_table,
    turns,
)


class UnseenPerturbationKFold(BaseConditionKFold):
    """Hold out whole perturbations, in all contexts.

    The question is what a model says of a compound or gene that it has never
    seen in any context. Perturbations are always shuffled and then dealt, each
    to the fold with the fewest rows so far.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of perturbations.
    keep_controls : bool or "both", default=False
        True leaves controls in every training set and out of every test set, as cells
        need it: what is predicted is measured from them. "both" deals the rows of
        controls over the folds one by one, within each context, so that each has some
        to train on and others to test on, as scores of cells need it, such as
        :class:`~sklperturb.evaluation.CellScorer`.
    schema : PerturbationSchema, default=None
        Names the columns of X. None infers them from their spelling.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling. With None every call of `split` deals anew.
    by_structure : {"auto", "parent"} or False, default="auto"
        Which perturbations are held out together although their names differ:

        - "auto": those of the same structure, where X has a SMILES column. Structures
          are compared by rdkit's canonical SMILES, or as they are spelled where rdkit
          is not installed;
        - "parent": also salts and stereoisomers of one compound. Needs rdkit and a
          SMILES column;
        - False: none.

    Raises
    ------
    ValueError
        From `split`, if there are fewer perturbations than folds, or with "both" fewer
        controls, or if the perturbation of a row is missing, or with "parent" if X
        has no SMILES column.
    ImportError
        From `split`, with "parent" if rdkit is not installed.

    Warns
    -----
    UserWarning
        If rdkit cannot read a SMILES.

    See Also
    --------
    UnseenPairKFold : The perturbation is known from other contexts.
    UnseenScaffoldKFold : Similar compounds are held out together.

    Notes
    -----
    Folds differ by at most the rows of the largest perturbation. Which
    perturbations share a fold depends on their names, their numbers of
    rows and the seed, not on the order of the rows. A missing SMILES, or one that
    rdkit cannot read, joins nothing. By default, control rows
    are held out as any other perturbation, since the controls of a compound
    screen are compounds too. Controls are the rows that the control column
    marks, or, without one, those whose perturbation is spelled as a control.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import UnseenPerturbationKFold
    >>> X = pd.DataFrame({"cell_type": ["B", "NK", "B", "NK", "NK"],
    ...                   "sm_name": ["x", "x", "y", "y", "z"]})
    >>> cv = UnseenPerturbationKFold(n_splits=3, random_state=0)
    >>> for train, test in cv.split(X):
    ...     print(X.loc[test, "sm_name"].unique())
    ['z']
    ['y']
    ['x']
    """

    def __init__(
        self,
        n_splits=5,
        *,
        keep_controls=False,
        schema=None,
        random_state=None,
        by_structure="auto",
    ):
        super().__init__(n_splits, schema=schema, random_state=random_state)
        self.keep_controls = keep_controls
        self.by_structure = by_structure

    def _iter_test_masks(self, X, y=None, groups=None):
        check_keep_controls(self.keep_controls)
        X, schema = read_table(X, self.schema)
        codes, described, dealt = self._read(X, schema)
        folds = self._deal(np.bincount(codes[dealt]), described)
        fold_of_row = np.full(len(codes), -1)
        fold_of_row[dealt] = folds[codes[dealt]]
        if self.keep_controls == "both":
            fold_of_row[~dealt] = deal_controls(self, X, schema, ~dealt)
        yield from self._masks(fold_of_row)

    def _dealt_as_one(self, X):
        return "perturbation", self._read(*read_table(X, self.schema))[0]

    def _read(self, X, schema):
        """Return what is held out together, by number, its name, and the rows dealt."""
        [(codes, _)] = read_roles(X, schema, "perturbation")
        dealt = ~control_rows(X, schema) if self.keep_controls else codes >= 0
        return *self._join(codes, X, schema, dealt), dealt

    def _join(self, codes, X, schema, dealt):
        """Return what is held out together, by number, and what to call it."""
        check_by_structure(self.by_structure)
        parent = self.by_structure == "parent"
        if parent:
            schema.require(X, "smiles")
        elif not (self.by_structure and has_structures(X, schema)):
            return codes, "perturbations in X"
        joined = join_structures(
            codes, X, schema, parent=parent, rows=dealt, owner=type(self).__name__
        )
        fewer = joined.max(initial=-1) < codes.max(initial=-1)
        return joined, "structures in X" if fewer else "perturbations in X"


class UnseenContextKFold(BaseConditionKFold):
    """Hold out whole contexts, such as cell types.

    The question is what a model says of a cell type that it has never seen.
    Contexts are always shuffled and then dealt, each to the fold with the
    fewest rows to test so far.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the contexts with rows to test.
    keep_controls : bool or "both", default=False
        True leaves the controls of a held-out context in training, since cells that
        are perturbed there are predicted from them. "both" leaves every second one
        there, and tests the others, as scores of cells need it.
    schema : PerturbationSchema, default=None
        Names the columns of X. None infers them from their spelling.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling. With None every call of `split` deals anew.

    Raises
    ------
    ValueError
        From `split`, if there are fewer contexts than folds, or if the context
        of a row is missing.

    See Also
    --------
    LeaveOneContextOut : One context at a time, with shared perturbations.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import UnseenContextKFold
    >>> X = pd.DataFrame({"cell_type": ["B", "B", "B", "NK", "T"],
    ...                   "sm_name": ["x", "y", "z", "x", "x"]})
    >>> cv = UnseenContextKFold(n_splits=2, random_state=0)
    >>> for train, test in cv.split(X):
    ...     print(X.loc[test, "cell_type"].unique())
    ['B' 'T']
    ['NK']
    """

    def __init__(
        self, n_splits=5, *, keep_controls=False, schema=None, random_state=None
    ):
        super().__init__(n_splits, schema=schema, random_state=random_state)
        self.keep_controls = keep_controls

    def _iter_test_masks(self, X, y=None, groups=None):
        check_keep_controls(self.keep_controls)
        [(codes, _)] = read_roles(X, self.schema, "context")
        kept = np.zeros(len(codes), dtype=bool)
        if self.keep_controls:
            X, schema = read_table(X, self.schema)
            kept = control_rows(X, schema)
        if self.keep_controls == "both":
            kept[kept] = turns(codes[kept], 2, self.random_state) == 0
        described = "contexts in X with rows to test" if kept.any() else "contexts in X"
        yield from self._deal_rows(np.where(kept, -1, codes), described)


class LeaveOneContextOut(BaseCrossValidator):
    """Hold out one context at a time, except for its shared perturbations.

    With `shared_perturbations` the model is told how the held-out context
    answers to a few perturbations, and has to predict the others. The OP2
    competition has this shape: in B and myeloid cells 17 compounds are given,
    and several of its best entries were tuned on these folds. Nothing is
    random here.

    Parameters
    ----------
    shared_perturbations : list, default=None
        Perturbations whose rows stay in training in the held-out context too.
        None holds out all rows of the context.
    schema : PerturbationSchema, default=None
        Names the columns of X. None infers them from their spelling.
    contexts : list, default=None
        The contexts to hold out, in this order. None takes all, sorted by
        name.

    Raises
    ------
    ValueError
        From `split`, if X has a single context, if a name is not in X, or if
        a context to be held out has none but shared perturbations.
    TypeError
        From `split`, if a string is given in place of a list.

    See Also
    --------
    UnseenContextKFold : Several contexts at a time.
    UnseenPairKFold : Some perturbations of a context at a time.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import LeaveOneContextOut
    >>> X = pd.DataFrame({"cell_type": ["B", "B", "NK", "NK"],
    ...                   "sm_name": ["x", "y", "x", "z"]})
    >>> cv = LeaveOneContextOut(shared_perturbations=["x"])
    >>> cv.get_n_splits(X)
    2
    >>> for train, test in cv.split(X):
    ...     print(X.loc[test].to_numpy().tolist())
    [['B', 'y']]
    [['NK', 'z']]
    """

    def __init__(self, *, shared_perturbations=None, schema=None, contexts=None):
        self.shared_perturbations = shared_perturbations
        self.schema = schema
        self.contexts = contexts

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits, one per context.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns), default=None
            Needed where the contexts are not given.
        y, groups : object
            Ignored, present for scikit-learn's interface.

        Returns
        -------
        n_splits : int
        """
        if self.contexts is not None:
            check_list(self.contexts, "contexts")
            return len(self.contexts)
        if X is None:
            raise ValueError(
                "The number of splits is the number of contexts in X: pass X, or "
                "give contexts=[...] to the splitter."
            )
        [(_, names)] = read_roles(X, self.schema, "context")
        return len(names)

    def _iter_test_masks(self, X, y=None, groups=None):
        [(context, names)] = read_roles(X, self.schema, "context")
        if len(names) < 2:
            raise ValueError(
                f"X has the single context {list(names)}: holding it out leaves "
                "nothing to train on. Use UnseenPerturbationKFold."
            )
        held_out = np.arange(len(names))
        if self.contexts is not None:
            held_out = find_names(self.contexts, names, "contexts", "contexts")
        if not len(held_out):
            raise ValueError(
                f"contexts=[] holds out nothing. X has {list(names)}; name some of "
                "them, or None for all."
            )
        shared = self._shared_rows(X)
        masks = [(context == code) & ~shared for code in held_out]
        empty = [names[c] for c, m in zip(held_out, masks, strict=True) if not m.any()]
        if empty:
            rest = [names[code] for code in held_out if names[code] not in empty]
            raise ValueError(
                f"Contexts {empty} have none but shared perturbations, so nothing "
                "would be held out of them. Leave them out, as in "
                f"contexts={rest}, or share fewer perturbations."
            )
        yield from masks

    def _shared_rows(self, X):
        if self.shared_perturbations is None:
            return np.zeros(len(X), dtype=bool)
        [(perturbation, names)] = read_roles(X, self.schema, "perturbation")
        shared = find_names(
            self.shared_perturbations, names, "shared_perturbations", "perturbations"
        )
        return np.isin(perturbation, shared)


class UnseenPairKFold(BaseConditionKFold):
    """Hold out pairs of context and perturbation; each is known from elsewhere.

    The question of OP2 [1]_: how does a cell type answer to a compound that
    has been measured in other cell types? A pair is held out only if its
    perturbation stays in training in another context. Pairs are always
    shuffled.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    contexts : list, default=None
        The target contexts. Perturbations that occur in a target context and
        outside the target contexts are dealt into folds, and a fold tests all
        target-context rows of its perturbations, so that a compound is unseen
        in every target context at once, as in OP2. All else is training. None
        makes every context a target: each pair of a perturbation that occurs
        in two contexts or more is held out once, and never all pairs of a
        perturbation at a time.
    schema : PerturbationSchema, default=None
        Names the columns of X. None infers them from their spelling.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling. With None every call of `split` deals anew.

    Raises
    ------
    ValueError
        From `split`, if there are fewer perturbations (with `contexts`) or
        pairs (without) than folds, if a context is not in X, or if a value is
        missing.
    TypeError
        From `split`, if a string is given in place of a list.

    See Also
    --------
    UnseenPerturbationKFold : The perturbation is unknown everywhere.
    LeaveOneContextOut : All but a few perturbations of a context at a time.

    Notes
    -----
    Perturbations that occur in target contexts only, or in a single context,
    are never held out; they stay in training. The perturbation of a held-out
    row is always in training, but its context need not be: where a context has
    few perturbations, all of them can be in one fold. Folds are balanced by
    rows, and what is held out does not depend on the order of the rows.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> X = pd.DataFrame({"cell_type": ["B", "B", "B", "NK", "NK"],
    ...                   "sm_name": ["x", "y", "z", "x", "y"]})
    >>> cv = UnseenPairKFold(n_splits=2, contexts=["B"], random_state=0)
    >>> for train, test in cv.split(X):  # z is not known outside of B
    ...     print(X.loc[test].to_numpy().tolist())
    [['B', 'y']]
    [['B', 'x']]
    """

    def __init__(self, n_splits=5, *, contexts=None, schema=None, random_state=None):
        super().__init__(n_splits, schema=schema, random_state=random_state)
        self.contexts = contexts

    def _iter_test_masks(self, X, y=None, groups=None):
        (context, names), (perturbation, _) = read_roles(
            X, self.schema, "context", "perturbation"
        )
        if self.contexts is None:
            fold_of_row = self._deal_pairs(context, perturbation)
        else:
            targets = find_names(self.contexts, names, "contexts", "contexts")
            fold_of_row = self._deal_in_targets(np.isin(context, targets), perturbation)
        yield from self._masks(fold_of_row)

    def _deal_in_targets(self, in_target, perturbation):
        """Deal the perturbations of the target contexts that others have too."""
        n_perturbations = perturbation.max() + 1
        inside = np.bincount(perturbation[in_target], minlength=n_perturbations)
        outside = np.bincount(perturbation[~in_target], minlength=n_perturbations)
        folds = self._deal(
            np.where(outside > 0, inside, 0),
            f"perturbations in {list(self.contexts)} that are measured in other "
            "contexts too",
        )
        return np.where(in_target, folds[perturbation], -1)

    def _deal_pairs(self, context, perturbation):
        """Deal the pairs of each perturbation evenly over the folds."""
        pairs, pair_of_row, n_rows = np.unique(
            np.column_stack([perturbation, context]),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        n_contexts = np.bincount(pairs[:, 0])
        available = np.flatnonzero(n_contexts[pairs[:, 0]] > 1)
        check_n_splits(
            self.n_splits,
            len(available),
            "(context, perturbation) pairs whose perturbation is measured in two "
            "contexts or more",
        )
        load = np.zeros(self.n_splits, dtype=int)
        # How many of a perturbation's pairs each fold holds. Filling the emptiest
        # fold first puts at most half of two or more pairs, rounded up, in one
        # fold, so that at least one pair is left to train on.
        held = np.zeros((len(n_contexts), self.n_splits), dtype=int)
        folds = np.full(len(pairs), -1)
        for pair in check_random_state(self.random_state).permutation(available):
            own = held[pairs[pair, 0]]
            fold = np.lexsort((load, own))[0]
            folds[pair] = fold
            own[fold] += 1
            load[fold] += n_rows[pair]
        return folds[pair_of_row.ravel()]
