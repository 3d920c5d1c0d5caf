"""Screens with one leak each, and beside each an honest screen that looks like it."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from sklperturb.model_selection import (
    UnseenPairKFold,
    UnseenPerturbationKFold,
)
from sklperturb.models import make_model
from sklperturb.preprocessing import TargetStatisticsEncoder

PAIRS = UnseenPairKFold(3, random_state=0)
NEW = UnseenPerturbationKFold(3, random_state=0)


def make_screen(
    seed=0, n_contexts=4, n_compounds=40, n_genes=30, effect=0.6, own=0.5, noise=1.0
):
    """Return conditions and responses: effects of both, what is special, and noise."""
    rng = np.random.default_rng(seed)
    context, compound = np.divmod(np.arange(n_contexts * n_compounds), n_compounds)
    X = pd.DataFrame(
        {
            "cell_type": [f"cell type {c}" for c in context],
            "sm_name": [f"compound {p:02d}" for p in compound],
        }
    )
    y = effect * rng.normal(size=(n_contexts, n_genes))[context]
    y += effect * rng.normal(size=(n_compounds, n_genes))[compound]
    y += own * rng.normal(size=y.shape) + noise * rng.normal(size=y.shape)
    return X, y, rng


def onehot_ridge(*, alpha=1.0, columns=("cell_type", "sm_name")):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encode = make_column_transformer((encoder, list(columns)), remainder="passthrough")
    numbers = FunctionTransformer(lambda X: X.select_dtypes("number"))
    if not columns:
        return make_pipeline(numbers, Ridge(alpha))
    return make_pipeline(encode, Ridge(alpha))


def case(estimator, X, y, cv, **options):
    return SimpleNamespace(
        estimator=estimator, X=X, y=y, cv=cv, options=options, kind=None
    )


# 1. Encodings of targets.


def target_encoding(leaky):
    X, y, _ = make_screen()
    encoder = TargetStatisticsEncoder(["mean"], n_components=None, smooth=0.0)
    if leaky:
        encoded = encoder.fit(X, y).transform(X)
        return case(Ridge(30.0), encoded, y, PAIRS, conditions=X)
    return case(make_pipeline(encoder, Ridge(30.0)), X, y, PAIRS)


def encoding_in_a_column(leaky):
    X, y, rng = make_screen()
    strength = pd.Series(y[:, 0]).groupby(X["sm_name"]).transform("mean")
    if not leaky:  # a descriptor that is correlated with it, and was known before
        noise = pd.Series(rng.normal(size=40), sorted(set(X["sm_name"])))
        strength = strength + 0.5 * strength.std() * X["sm_name"].map(noise)
    X = X.assign(strength=strength)
    return case(onehot_ridge(), X, y, NEW)


# 2. Components of all responses.


def response_components(leaky):
    X, y, rng = make_screen()
    components = PCA(8, random_state=0).fit_transform(y)
    if not leaky:  # of another assay of the same rows, with as much noise as signal
        components = components + components.std(axis=0) * rng.normal(size=(len(y), 8))
    components = pd.DataFrame(components, X.index).add_prefix("pc")
    return case(onehot_ridge(), pd.concat([X, components], axis=1), y, PAIRS)


# 3. One compound under several names.

_RINGS = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccsc1", "C1CCNCC1", "c1ccoc1"]
_ENDS = ["CC(=O)O", "CCN", "CC(C)N", "CCO", "CCCS", "CCNC", "CCOC"]


def compounds_with_structures(seed=0):
    """Return X, y of 42 compounds whose responses are those of their structures."""
    X, y, rng = make_screen(seed, n_contexts=2, n_compounds=42, effect=1.2, own=0.3)
    smiles = [end + ring for ring in _RINGS for end in _ENDS]
    return X, y, rng, smiles


def salts(leaky):
    X, y, rng, smiles = compounds_with_structures()
    number = X["sm_name"].str[-2:].astype(int).to_numpy()
    X["SMILES"] = np.array(smiles)[number]
    # The last 21 compounds are salts of the first ones, or compounds of their own.
    if leaky:
        first = number % 21
        X["SMILES"] = [
            smiles[f] + (".Cl" if n >= 21 else "")
            for f, n in zip(first, number, strict=True)
        ]
        effect = 1.2 * rng.normal(size=(21, y.shape[1]))
        y = y + 2 * effect[first]
    return case(make_model("nearest_compound"), X, y, NEW)


def salt_names(leaky):
    X, y, _ = make_screen(effect=1.0)
    names = X["sm_name"].str.replace("compound ", "drug")
    last = {f"drug{p:02d}": f"drug{p - 20:02d}" for p in range(20, 40)}
    end = " hydrochloride" if leaky else "-ol"
    X["sm_name"] = [last[n] + end if n in last else n for n in names]
    return case("additive", X, y, NEW)


def spelling(leaky):
    X, y, _ = make_screen(effect=1.0)
    first = {f"compound {p:02d}": f"COMPOUND-{p - 20:02d}" for p in range(20, 40)}
    if not leaky:
        first = {k: v + "1" for k, v in first.items()}
    X["sm_name"] = X["sm_name"].replace(first)
    return case("additive", X, y, NEW)  # a fit warns of the spellings


def inchikeys(leaky):
    X, y, _ = make_screen(effect=1.0)
    number = X["sm_name"].str[-2:].astype(int).to_numpy()
    letters = [chr(65 + n % 20) + ("X" if leaky else chr(65 + n // 20)) for n in number]
    X["InChIKey"] = [f"ABCDEFGHIJKL{pair}-UHFFFAOYSA-N" for pair in letters]
    return case("additive", X, y, NEW)


# 4. Replicates.


def replicates(leaky):
    X, y, rng = make_screen(n_contexts=2, own=1.0, noise=0.5)
    X = pd.concat([X, X], ignore_index=True)
    y = np.vstack([y, y]) + 0.7 * rng.normal(size=(2 * len(y), y.shape[1]))
    if leaky:
        return case(onehot_pairs(), X, y, KFold(4, shuffle=True, random_state=0))
    return case(onehot_pairs(), X, y, PAIRS)


def onehot_pairs():
    """Return a ridge that learns contexts, compounds and pairs."""
    pair = FunctionTransformer(
        lambda X: X.assign(pair=X["cell_type"] + X["sm_name"])[["sm_name", "pair"]]
    )
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(pair, encoder, Ridge(1.0))


# 5. Copies.


def copies(leaky):
    X, y, rng = make_screen(effect=1.0)
    kept = rng.choice(len(X), 40, replace=False)
    size = 0.01 if leaky else 0.7
    again = y[kept] + size * rng.normal(size=(40, y.shape[1]))
    twins = X.iloc[kept].assign(sm_name=lambda t: "lot 2 of " + t["sm_name"])
    X = pd.concat([X, twins], ignore_index=True)
    return case("additive", X, np.vstack([y, again]), NEW)


# 6. Scaffolds.


def scaffold_twins(leaky):
    X, y, _, smiles = compounds_with_structures()
    number = X["sm_name"].str[-2:].astype(int).to_numpy()
    X["SMILES"] = np.array(smiles)[number]
    scaffold = number // len(_ENDS)
    if leaky:  # three compounds are dealt with another scaffold
        scaffold = np.where(np.isin(number, [0, 15, 30]), (scaffold + 1) % 6, scaffold)
    y = y + 2 * np.random.default_rng(1).normal(size=(6, y.shape[1]))[number // 7]
    folds = list(GroupKFold(6).split(X, groups=scaffold))
    return case(make_model("nearest_compound"), X, y, folds)


# 7. Fitted before.


def frozen_model(leaky):
    X, y, _ = make_screen()
    model = make_model("additive", random_state=0)
    if leaky:
        model = FrozenEstimator(model.fit(X, y))
    return case(model, X, y, PAIRS)


def frozen_encoder(leaky):
    X, y, _ = make_screen()
    encoder = TargetStatisticsEncoder(["mean"], n_components=None, smooth=0.0)
    if leaky:
        encoder = FrozenEstimator(encoder.fit(X, y))
        return case(make_pipeline(encoder, Ridge(30.0)), X, y, PAIRS)
    onehot = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(X)
    return case(make_pipeline(FrozenEstimator(onehot), Ridge(1.0)), X, y, PAIRS)


def bound_method(leaky):
    X, y, _ = make_screen()
    encoder = TargetStatisticsEncoder(["mean"], n_components=None, smooth=0.0)
    other = make_screen(seed=1)
    encoder = encoder.fit(X, y) if leaky else encoder.fit(other[0], other[1])
    return case(
        make_pipeline(FunctionTransformer(encoder.transform), Ridge(30.0)), X, y, PAIRS
    )


# 8. Panels.


class PanelRidge(RegressorMixin, BaseEstimator):
    """Predicts a panel of genes, and zeros for others; None chooses it in fit."""

    def __init__(self, panel=None, size=8):
        self.panel = panel
        self.size = size

    def fit(self, X, y):
        panel = self.panel
        if panel is None:
            panel = np.argsort(-np.var(y, axis=0))[: self.size]
        self.panel_, self.n_ = np.asarray(panel), y.shape[1]
        self.model_ = onehot_ridge().fit(X, y[:, self.panel_])
        return self

    def predict(self, X):
        y_pred = np.zeros((len(X), self.n_))
        y_pred[:, self.panel_] = self.model_.predict(X)
        return y_pred


def panel(leaky):
    X, y, _ = make_screen(n_contexts=2, n_compounds=30, n_genes=60, effect=0.3)
    chosen = np.argsort(-y.var(axis=0))[:8].tolist() if leaky else None
    return case(PanelRidge(chosen), X, y, PAIRS)


# 9. Plates.


def plates(leaky):
    X, y, rng = make_screen(own=0.2, noise=0.5, effect=0.3)
    plate = rng.permutation(np.arange(len(X)) % 8)
    shift = 1.5 if leaky else 0.0
    y = y + shift * rng.normal(size=(8, y.shape[1]))[plate]
    X = X.assign(plate=[f"P{p}" for p in plate])
    return case(onehot_ridge(columns=("cell_type", "sm_name", "plate")), X, y, PAIRS)


# 10. Controls.


def controls(leaky):
    X, y, rng = make_screen(
        n_contexts=3, n_compounds=30, noise=1.0, effect=0.2, own=0.2
    )
    n = 5
    extra = pd.DataFrame(
        {
            "cell_type": np.repeat(sorted(set(X["cell_type"])), n),
            "sm_name": "DMSO",
        }
    )
    X = pd.concat([X, extra], ignore_index=True)
    y = np.vstack([y, 3 * rng.normal(size=(len(extra), y.shape[1]))])
    is_control = (X["sm_name"] == "DMSO").to_numpy()
    if leaky:
        for name in set(X["cell_type"]):
            rows = (X["cell_type"] == name).to_numpy()
            y[rows] -= y[rows & is_control].mean(axis=0)
    else:
        y -= 0.3
    cv = UnseenPerturbationKFold(3, keep_controls="both", random_state=0)
    return case("context_mean", X, y, cv)


# 11. Lookups.


class Lookup(RegressorMixin, BaseEstimator):
    """Predicts what a table says, and means where it says nothing."""

    def __init__(self, table=None, names=None):
        self.table = table
        self.names = names

    def fit(self, X, y):
        self.mean_ = np.mean(y, axis=0)
        own = dict(zip(_keys(X), y, strict=True))
        self.known_ = own
        if self.table is not None:
            self.known_ = dict(zip(self.names, self.table, strict=True))
        return self

    def predict(self, X):
        return np.stack([self.known_.get(key, self.mean_) for key in _keys(X)])


def _keys(X):
    return list(zip(X["cell_type"], X["sm_name"], strict=True))


def lookup(leaky):
    X, y, _ = make_screen()
    return case(Lookup(y, _keys(X)) if leaky else Lookup(), X, y, PAIRS)


def closure(leaky):
    X, y, _ = make_screen()
    table = y if leaky else make_screen(seed=1)[1]
    known = dict(zip(_keys(X), table, strict=True))

    class Closed(Lookup):
        def predict(self, X):
            return np.stack([known[key] for key in _keys(X)])

    return case(Closed(), X, y, PAIRS)


# 12. Target genes.


def combinations(leaky):
    rng = np.random.default_rng(0)
    genes = [f"GENE{chr(65 + i)}" for i in range(16)]
    effects = dict(zip(genes, rng.normal(size=(16, 30)), strict=True))
    if leaky:
        labels = genes + [f"{a}+{b}" for a, b in pairwise(genes)]
    else:
        labels = genes
    X = pd.DataFrame({"target_gene": np.repeat(labels, 3), "cell_type": "K562"})
    y = np.stack([sum(effects[g] for g in t.split("+")) for t in X["target_gene"]])
    return case("additive", X, y + 0.5 * rng.normal(size=y.shape), NEW)


def guides(leaky):
    rng = np.random.default_rng(0)
    genes = [f"GENE{chr(65 + i)}" for i in range(16)]
    effects = rng.normal(size=(16, 30))
    names = [f"{g}_sg{i}" if leaky else f"{g}x{i}" for g in genes for i in (1, 2)]
    X = pd.DataFrame({"perturbation": np.repeat(names, 3), "cell_type": "K562"})
    y = np.repeat(effects, 6, axis=0)
    return case("additive", X, y + 0.5 * rng.normal(size=y.shape), NEW)


# 13. Rows on both sides.


def shared_rows(leaky):
    X, y, _ = make_screen()
    folds = list(PAIRS.split(X))
    if leaky:
        folds = [(np.union1d(train, test[:10]), test) for train, test in folds]
    return case("additive", X, y, folds)


# 14. Slips.


def slips(leaky):
    X, y, _ = make_screen(effect=1.0)
    group = X["sm_name"].to_numpy(dtype=object).copy()
    if leaky:
        group[[3, 47, 91]] = "compound 00"
    return case("additive", X, y, list(GroupKFold(4).split(X, groups=group)))


LEAKS = {
    # what is planted: (the case, the kind that is to be found)
    "target encoding": (target_encoding, "columns"),
    "encoding in a column": (encoding_in_a_column, "columns"),
    "components of the responses": (response_components, "columns"),
    "salts": (salts, "compounds"),
    "names of salts": (salt_names, "compounds"),
    "InChIKeys": (inchikeys, "compounds"),
    "spelling": (spelling, "names"),
    "replicates": (replicates, "replicates"),
    "copies": (copies, "copies"),
    "scaffold twins": (scaffold_twins, "scaffolds"),
    "frozen model": (frozen_model, "fitted before"),
    "frozen encoder": (frozen_encoder, "fitted before"),
    "bound method": (bound_method, "fitted before"),
    "panel": (panel, "panels"),
    "plates": (plates, "metadata"),
    "controls": (controls, "controls"),
    "lookup": (lookup, "lookup"),
    "lookup in an array": (lookup, "held responses"),
    "closure": (closure, "held responses"),
    "combinations": (combinations, "target genes"),
    "guides": (guides, "target genes"),
    "shared rows": (shared_rows, "rows"),
    "slips": (slips, "levels"),
}
