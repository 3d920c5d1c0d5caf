"""Screens of a large generated population, for `interval_coverage.py`."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenGroupKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
)
from sklperturb.preprocessing import murcko_scaffolds

N_COMPOUNDS, N_CONTEXTS, N_GENES = 1000, 240, 30
SHARED = 5  # compounds that are known in a held-out context of leave-one-out
COMPOUND, CONTEXT, FAMILY, GROUP = "compound", "context", "family", "group"
TOTAL = {COMPOUND: N_COMPOUNDS, CONTEXT: N_CONTEXTS}


class Population:
    """All compounds in all contexts: ``y`` of shape (compounds, contexts, genes)."""

    def __init__(self, seed=0):
        sizes = N_CONTEXTS + 1, N_COMPOUNDS, N_GENES
        everywhere = {"n_shared": N_COMPOUNDS - 1, "n_test_compounds": 1}
        everywhere |= {"n_target_contexts": 1, "n_lost": (0, 0)}
        screen = make_chemical_screen(*sizes, **everywhere, random_state=seed)
        X = screen.X
        rows = X["cell_type"] != "B cells"  # the target context
        X, y = X[rows], screen.y.to_numpy()[rows]
        compound, names = pd.factorize(X["sm_name"])
        context, _ = pd.factorize(X["cell_type"])
        self.y = np.empty((N_COMPOUNDS, N_CONTEXTS, N_GENES))
        self.y[compound, context] = y
        self.size = np.sqrt(np.mean(self.y**2, axis=2))
        self.structure = X.groupby("sm_name")["SMILES"].first()[names].to_numpy()
        scaffold = murcko_scaffolds(self.structure)[0]
        self.family = pd.factorize(scaffold, use_na_sentinel=False)[0]
        # Compounds of a group are alike in strength, and so in error.
        rng = np.random.default_rng(seed)
        strength = np.log(np.linalg.norm(self.y, axis=(1, 2)))
        order = np.argsort(strength + rng.standard_normal(N_COMPOUNDS))
        sizes = rng.integers(1, 4, size=N_COMPOUNDS)
        self.group = np.empty(N_COMPOUNDS, dtype=int)
        self.group[order] = np.repeat(np.arange(N_COMPOUNDS), sizes)[:N_COMPOUNDS]
        self.n_groups = self.group.max() + 1
        member = pd.Series(self.group).groupby(self.group).cumcount()
        pairs = zip(self.group, member, strict=True)
        self.smiles = np.array([_structure(*pair) for pair in pairs])

    def codes(self, compound, context):
        """Return what the models read of pairs, by column."""
        family = self.family[compound]
        return {COMPOUND: compound, CONTEXT: context, FAMILY: family}

    def rows(self, compound, context, own_structures=False):
        """Return conditions and responses of pairs, as `compare` takes them.

        Structures tell the group, or, if `own_structures`, what responses have in
        common.
        """
        X = pd.DataFrame(self.codes(compound, context))
        structures = self.structure if own_structures else self.smiles
        X[GROUP], X["SMILES"] = self.group[compound], structures[compound]
        X["sm_name"] = [f"c{code}" for code in compound]
        X["cell_type"] = [f"x{code}" for code in context]
        return X, self.y[compound, context]


def _structure(group, member):
    """Return a SMILES whose scaffold is that of the group: linkers of its own."""
    first, second = divmod(group, 30)
    side, left, right = ("C" * (n + 1) for n in (member, first, second))
    return f"{side}c1ccc({left}c2ccc({right}c3ccncc3)cc2)cc1"


@dataclass
class Case:
    """A splitter, the size of its screens, and what is drawn anew.

    Attributes
    ----------
    splitter : callable
        Of the conditions, returns what `compare` takes.
    n_compounds, n_contexts : int
    fresh : tuple of str
        Columns whose levels are exchanged.
    learnt : bool
        Whether a fold trains on other rows of the units that it tests.
    n_groups : int
        Whole groups are drawn, so many; 0 draws compounds.
    pairs : tuple of (str, str)
        Models of the registry, each with what it is compared with; models in closed
        form where there are none.
    share : float
        Of the screens, of a case that is slow.
    """

    splitter: callable
    n_compounds: int
    n_contexts: int
    fresh: tuple
    learnt: bool = False
    n_groups: int = 0
    pairs: tuple = ()
    share: float = 1.0

    def names(self):
        """Return the models of the registry; first what the first is compared with."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in pair[::-1]))


def both_new(X, seed):
    """Return folds that train on neither the compounds nor the contexts they test."""
    parts = [
        [test for _, test in kind(3, random_state=seed).split(X)]
        for kind in (UnseenPerturbationKFold, UnseenContextKFold)
    ]
    rows = np.arange(len(X))
    return [
        (np.setdiff1d(rows, np.union1d(p, c)), np.intersect1d(p, c))
        for p in parts[0]
        for c in parts[1]
    ]


def pairs_in_targets(X, seed):
    targets = sorted(X["cell_type"].unique())[:2]
    return UnseenPairKFold(5, contexts=targets, random_state=seed)


def leave_one_out(X, seed):
    shared = sorted(X["sm_name"].unique())[:SHARED]
    return LeaveOneContextOut(shared_perturbations=shared)


def by(kind, n_splits, **options):
    return lambda X, seed: kind(n_splits, random_state=seed, **options)


CASES = {
    "UnseenPerturbationKFold": Case(
        by(UnseenPerturbationKFold, 5), 100, 3, (COMPOUND,)
    ),
    "UnseenPerturbationKFold, few": Case(
        by(UnseenPerturbationKFold, 5), 40, 4, (COMPOUND,)
    ),
    "UnseenGroupKFold": Case(
        by(UnseenGroupKFold, 5, by=GROUP), 0, 2, (COMPOUND,), n_groups=80
    ),
    "UnseenScaffoldKFold": Case(
        by(UnseenScaffoldKFold, 5), 0, 2, (COMPOUND,), n_groups=80, share=0.5
    ),
    "UnseenPairKFold": Case(
        by(UnseenPairKFold, 5), 80, 3, (COMPOUND,), True, share=0.5
    ),
    "UnseenPairKFold, two targets": Case(
        pairs_in_targets, 80, 4, (COMPOUND,), True, share=0.5
    ),
    "UnseenContextKFold": Case(by(UnseenContextKFold, 5), 20, 15, (CONTEXT,)),
    "UnseenContextKFold, few": Case(by(UnseenContextKFold, 3), 40, 6, (CONTEXT,)),
    "LeaveOneContextOut": Case(leave_one_out, 20, 15, (CONTEXT,), True, share=0.5),
    "both new": Case(both_new, 60, 12, (COMPOUND, CONTEXT), share=0.5),
    "both new, few": Case(both_new, 60, 6, (COMPOUND, CONTEXT), share=0.5),
    "UnseenPairKFold, registered": Case(
        by(UnseenPairKFold, 5),
        40,
        3,
        (COMPOUND,),
        True,
        pairs=(
            ("ridge", "additive_joint"),
            ("product_kernel", "additive_joint"),
            ("response_kernel", "additive_joint"),
            ("response_kernel", "ridge"),
        ),
        share=0.1,
    ),
    "UnseenPerturbationKFold, registered": Case(
        by(UnseenPerturbationKFold, 5),
        40,
        2,
        (COMPOUND,),
        pairs=(("tanimoto_kernel", "gene_mean"), ("nearest_compound", "gene_mean")),
        share=0.15,
    ),
}


def draw(population, case, rng):
    """Return the compounds and the contexts of a screen."""
    contexts = rng.choice(N_CONTEXTS, case.n_contexts, replace=False)
    if not case.n_groups:
        return rng.choice(N_COMPOUNDS, case.n_compounds, replace=False), contexts
    drawn = rng.choice(population.n_groups, case.n_groups, replace=False)
    return np.flatnonzero(np.isin(population.group, drawn)), contexts
