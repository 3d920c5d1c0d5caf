"""The splitters: what they hold out, and what they refuse."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklperturb.datasets import PerturbationSchema
from sklperturb.model_selection import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenGroupKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
)

SMILES = {
    "toluene": "Cc1ccccc1",
    "phenol": "Oc1ccccc1",
    "benzoate": "OC(=O)c1ccccc1",
    "pyridine": "c1ccncc1",
    "picoline": "Cc1ccccn1",
    "naphthol": "Oc1cccc2ccccc12",
    "ethanol": "CCO",
    "glycerol": "OCC(O)CO",
    "cyclohexanol": "OC1CCCCC1",
    "indole": "c1ccc2[nH]ccc2c1",
}
MOA = dict(zip(SMILES, "AAABBCDDEE", strict=True))

KFOLDS = {
    "perturbation": UnseenPerturbationKFold(3, random_state=0),
    "context": UnseenContextKFold(3, random_state=0),
    "pair": UnseenPairKFold(3, random_state=0),
    "pair_in_target": UnseenPairKFold(3, contexts=["B", "T"], random_state=0),
    "group": UnseenGroupKFold(3, by="moa", random_state=0),
    "scaffold": UnseenScaffoldKFold(3, random_state=0),
}
SPLITTERS = KFOLDS | {
    "leave_one": LeaveOneContextOut(),
    "leave_one_shared": LeaveOneContextOut(shared_perturbations=["ethanol", "phenol"]),
}
all_splitters = pytest.mark.parametrize("cv", SPLITTERS.values(), ids=SPLITTERS)
all_kfolds = pytest.mark.parametrize("cv", KFOLDS.values(), ids=KFOLDS)
seeds = pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])


def make_design(seed=0):
    """An unbalanced screen with replicates: context B has few compounds."""
    rng = np.random.default_rng(seed)
    rows = []
    for context, n_compounds in (("B", 5), ("K", 10), ("M", 8), ("T", 6)):
        for name in rng.permutation(list(SMILES))[:n_compounds]:
            row = (context, name, SMILES[name], MOA[name])
            rows += [row] * int(rng.integers(1, 4))
    # One compound is known in a single context, one in the target contexts only.
    rows += [("K", "only_k", "C1CCC1", "F")] * 2
    rows += [("B", "only_target", "C1CC1", "F"), ("T", "only_target", "C1CC1", "F")]
    X = pd.DataFrame(rows, columns=["cell_type", "sm_name", "SMILES", "moa"])
    X.index = rng.permutation(len(X)) + 100
    return X


def pairs(X, rows):
    return set(
        X.iloc[rows][["cell_type", "sm_name"]].itertuples(index=False, name=None)
    )


def held_out(cv, X):
    """The held-out pairs of each fold."""
    return [pairs(X, test) for _, test in cv.split(X)]


def column(X, rows, name):
    return set(X[name].iloc[rows])


@all_splitters
@seeds
def test_splits_partition_rows_and_never_cut_a_condition(cv, seed):
    X = make_design(seed)
    splits = list(cv.split(X))
    assert len(splits) == cv.get_n_splits(X)
    for train, test in splits:
        assert len(train) and len(test)
        assert sorted([*train, *test]) == list(range(len(X)))
        assert not pairs(X, train) & pairs(X, test)
    everything = np.concatenate([test for _, test in splits])
    assert len(everything) == len(set(everything))


@all_splitters
@seeds
def test_order_of_rows_does_not_change_what_is_held_out(cv, seed):
    X = make_design(seed)
    expected = held_out(cv, X)
    assert held_out(cv, X.sample(frac=1, random_state=seed)) == expected


@all_splitters
def test_same_seed_same_split(cv):
    X = make_design()
    assert held_out(cv, X) == held_out(cv, X)
    before = np.random.get_state()[1].copy()
    held_out(cv, X)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@all_kfolds
def test_other_seed_other_split(cv):
    X = make_design()
    splits = []
    for seed in range(8):
        other = clone(cv, safe=False)
        other.random_state = seed
        splits.append(frozenset(map(frozenset, held_out(other, X))))
    assert len(set(splits)) > 1


@all_splitters
def test_parameters_are_attributes_and_shown(cv):
    for name in cv.__init__.__code__.co_varnames[1:]:
        assert f"{name}=" in repr(cv)
        assert hasattr(cv, name)
    assert repr(clone(cv, safe=False)) == repr(cv)


@all_splitters
def test_groups_and_y_are_ignored(cv):
    X = make_design()
    rng = np.random.default_rng(0)
    plain = [test.tolist() for _, test in cv.split(X)]
    given = cv.split(X, rng.normal(size=len(X)), groups=rng.integers(2, size=len(X)))
    assert [test.tolist() for _, test in given] == plain


@all_splitters
def test_arrays_lists_categories_and_other_names(cv):
    X = make_design()
    expected = held_out(cv, X)
    by_position = clone(cv, safe=False)
    by_position.schema = PerturbationSchema(perturbation=1, context=0, smiles=2)
    if hasattr(cv, "by"):
        by_position.by = 3
    for table in (X.to_numpy(), X.to_numpy().tolist()):
        splits = by_position.split(table)
        assert [pairs(X, test) for _, test in splits] == expected
    assert held_out(cv, X.astype("category")) == expected

    renamed = clone(cv, safe=False)
    renamed.schema = PerturbationSchema(perturbation="p", context="c", smiles="s")
    table = X.rename(columns={"sm_name": "p", "cell_type": "c", "SMILES": "s"})
    assert [pairs(X, test) for _, test in renamed.split(table)] == expected


@all_splitters
def test_in_cross_val_score_and_search(cv):
    X = make_design()
    y = np.random.default_rng(0).normal(size=(len(X), 4))
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["cell_type", "sm_name"])
    )
    scores = cross_val_score(make_pipeline(encode, Ridge()), X, y, cv=cv)
    assert len(scores) == cv.get_n_splits(X)
    assert np.isfinite(scores).all()
    search = GridSearchCV(
        make_pipeline(encode, Ridge()), {"ridge__alpha": [0.1, 10]}, cv=cv
    )
    again = clone(search).fit(X, y)
    assert again.n_splits_ == cv.get_n_splits(X)
    assert repr(clone(make_pipeline(encode, RidgeCV(cv=cv)))[-1].cv) == repr(cv)


@seeds
def test_unseen_perturbation(seed):
    X = make_design(seed)
    tested = []
    for train, test in UnseenPerturbationKFold(4, random_state=seed).split(X):
        assert not column(X, train, "sm_name") & column(X, test, "sm_name")
        tested += list(test)
    assert sorted(tested) == list(range(len(X)))


def test_folds_are_balanced_by_rows():
    sizes = {"a": 9, "b": 4, "c": 3, "d": 2, "e": 1, "f": 1}
    X = pd.DataFrame({"sm_name": np.repeat(list(sizes), list(sizes.values()))})
    for seed in range(20):
        cv = UnseenPerturbationKFold(3, random_state=seed)
        n_rows = [len(test) for _, test in cv.split(X)]
        # By the largest perturbation at most.
        assert max(n_rows) - min(n_rows) <= 9
    # Equal sizes: the folds differ by one at most.
    X = pd.DataFrame({"sm_name": [f"p{i}" for i in range(11)]})
    cv = UnseenPerturbationKFold(4, random_state=0)
    assert sorted(len(test) for _, test in cv.split(X)) == [2, 3, 3, 3]


@seeds
def test_unseen_context(seed):
    X = make_design(seed)
    tested = []
    for train, test in UnseenContextKFold(3, random_state=seed).split(X):
        assert not column(X, train, "cell_type") & column(X, test, "cell_type")
        tested += list(test)
    assert sorted(tested) == list(range(len(X)))


def test_leave_one_context_out():
    X = make_design()
    cv = LeaveOneContextOut()
    held = [column(X, test, "cell_type") for _, test in cv.split(X)]
    assert held == [{"B"}, {"K"}, {"M"}, {"T"}]
    assert all(
        not column(X, train, "cell_type") & column(X, test, "cell_type")
        for train, test in cv.split(X)
    )
    cv = LeaveOneContextOut(contexts=["T", "B"])
    assert cv.get_n_splits() == 2
    assert [column(X, t, "cell_type") for _, t in cv.split(X)] == [{"T"}, {"B"}]


@seeds
def test_shared_perturbations_stay_in_training(seed):
    X = make_design(seed)
    shared = {"phenol", "indole", "only_k"}
    cv = LeaveOneContextOut(shared_perturbations=list(shared))
    for context, (train, test) in zip("BKMT", cv.split(X), strict=True):
        in_context = X["cell_type"] == context
        is_shared = X["sm_name"].isin(shared)
        np.testing.assert_array_equal(test, np.flatnonzero(in_context & ~is_shared))
        assert column(X, train, "cell_type") == set("BKMT") or not (
            (in_context & is_shared).any()
        )


@seeds
@pytest.mark.parametrize("n_splits", [2, 3, 5])
def test_unseen_pair_in_target_contexts(seed, n_splits):
    X = make_design(seed)
    targets = ["B", "T"]
    in_target = X["cell_type"].isin(targets).to_numpy()
    eligible = set(X["sm_name"][in_target]) & set(X["sm_name"][~in_target])
    n_splits = min(n_splits, len(eligible))
    cv = UnseenPairKFold(n_splits, contexts=targets, random_state=seed)
    dealt = []
    for train, test in cv.split(X):
        assert in_target[test].all()
        compounds = column(X, test, "sm_name")
        # Known from elsewhere, and unseen in every target context at once.
        outside = train[~in_target[train]]
        assert compounds <= column(X, outside, "sm_name")
        assert not compounds & column(X, train[in_target[train]], "sm_name")
        dealt += sorted(compounds)
    assert sorted(dealt) == sorted(eligible)
    assert "only_target" not in dealt


@seeds
@pytest.mark.parametrize("n_splits", [2, 3, 7])
def test_unseen_pair_in_every_context(seed, n_splits):
    X = make_design(seed)
    dealt = []
    for train, test in UnseenPairKFold(n_splits, random_state=seed).split(X):
        # The perturbation of each held-out pair is in training elsewhere.
        assert column(X, test, "sm_name") <= column(X, train, "sm_name")
        dealt += sorted(pairs(X, test))
    n_contexts = X.groupby("sm_name")["cell_type"].nunique()
    eligible = {(c, p) for c, p in pairs(X, range(len(X))) if n_contexts[p] > 1}
    assert len(dealt) == len(set(dealt))
    assert set(dealt) == eligible
    assert "only_k" not in {name for _, name in dealt}


def test_unseen_pair_folds_are_balanced():
    X = pd.DataFrame(
        [(c, p) for c in "BKMT" for p in range(12)], columns=["cell_type", "sm_name"]
    )
    sizes = [len(t) for _, t in UnseenPairKFold(5, random_state=0).split(X)]
    assert sum(sizes) == 48
    assert max(sizes) - min(sizes) <= 1


@seeds
def test_unseen_group(seed):
    X = make_design(seed)
    tested = []
    for train, test in UnseenGroupKFold(4, by="moa", random_state=seed).split(X):
        assert not column(X, train, "moa") & column(X, test, "moa")
        tested += list(test)
    assert sorted(tested) == list(range(len(X)))


@seeds
def test_perturbations_without_group_are_groups_of_their_own(seed):
    X = make_design(seed)
    # Seven groups: B, C, E, F and each of the three compounds of A; D has none
    # in some rows, but its other rows tell.
    X.loc[X["moa"] == "A", "moa"] = None
    D = X.index[X["moa"] == "D"]
    first = X.loc[D].drop_duplicates("sm_name").index
    X.loc[D.difference(first)[::2], "moa"] = np.nan
    compounds = X.groupby("sm_name")["moa"].first()
    n_groups = compounds.nunique() + compounds.isna().sum()
    cv = UnseenGroupKFold(n_groups, by="moa", random_state=seed)
    folds = held_out(cv, X)
    for train, test in cv.split(X):
        assert not column(X, train, "sm_name") & column(X, test, "sm_name")
        names = column(X, test, "sm_name")
        assert len(names) == 1 or compounds[list(names)].nunique() == 1
    assert len(folds) == n_groups
    with pytest.raises(ValueError, match=f"of groups of 'moa' in X: {n_groups}"):
        next(UnseenGroupKFold(n_groups + 1, by="moa").split(X))


def test_groups_of_contexts():
    X = make_design()
    X["tissue"] = X["cell_type"].map({"B": "b", "K": "k", "M": "m", "T": "b"})
    cv = UnseenGroupKFold(3, by="tissue", random_state=0)
    held = {frozenset(column(X, test, "cell_type")) for _, test in cv.split(X)}
    assert held == {frozenset("BT"), frozenset("K"), frozenset("M")}


def test_unseen_scaffold():
    X = make_design(1)
    # The benzenes, the pyridines, and each other compound for itself.
    names = set(X["sm_name"])
    families = [{"toluene", "phenol", "benzoate"}, {"pyridine", "picoline"}]
    singles = [{name} for name in names - set.union(*families)]
    expected = {frozenset(family & names) for family in families + singles}
    cv = UnseenScaffoldKFold(len(expected), random_state=0)
    held = {frozenset(column(X, test, "sm_name")) for _, test in cv.split(X)}
    assert held == expected


def test_compounds_without_scaffold_are_their_own_group():
    smiles = ["c1ccccc1", None, "CCO", "CCO", "not a molecule", "", np.nan]
    X = pd.DataFrame({"sm_name": list("abcdefg"), "SMILES": smiles})
    cv = UnseenScaffoldKFold(6, random_state=0)
    with (
        pytest.warns(UserWarning, match=r"the SMILES of 2 compounds \(e, f\)"),
        pytest.warns(UserWarning, match=r"2 of 7 compounds \(29%\) have no SMILES"),
    ):
        found = {tuple(test) for _, test in cv.split(X)}
    assert found == {(0,), (1,), (2, 3), (4,), (5,), (6,)}  # twins together


def test_missing_smiles_are_filled_from_replicates():
    X = pd.DataFrame(
        {
            "sm_name": ["a", "a", "b", "c"],
            "SMILES": ["Cc1ccccc1", None, "Oc1ccccc1", "CC"],
        }
    )
    cv = UnseenScaffoldKFold(2, random_state=0)
    assert {tuple(test) for _, test in cv.split(X)} == {(0, 1, 2), (3,)}


def test_scaffolds_name_the_extra_when_rdkit_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[chem\]"'):
        next(UnseenScaffoldKFold(2).split(make_design()))


@pytest.mark.parametrize(
    ("cv", "match"),
    [
        (
            UnseenPerturbationKFold(50),
            r"n_splits=50 exceeds the number of perturbations in X: 12\. "
            "Lower n_splits to at most 12",
        ),
        (UnseenContextKFold(5), "number of contexts in X: 4"),
        (
            UnseenPairKFold(50, contexts=["B"]),
            r"perturbations in \['B'\] that are measured in other contexts too: 6\. ",
        ),
        (UnseenPairKFold(500), r"pairs whose perturbation .* two contexts or more: "),
        (
            UnseenPairKFold(2, contexts=["B", "K", "M", "T"]),
            "contexts too: 0. At least 2 are needed",
        ),
        (UnseenGroupKFold(7, by="moa"), "number of groups of 'moa' in X: 6"),
        (UnseenScaffoldKFold(90), "number of scaffolds in X: "),
        (UnseenPerturbationKFold(1), "n_splits=1 leaves nothing to train on"),
        (
            UnseenPairKFold(2, contexts=["B", "Bcell"]),
            r"contexts names contexts that X does not have: \['Bcell'\]. "
            r"X has \['B', 'K', 'M', 'T'\]",
        ),
        (UnseenPairKFold(2, contexts=["B", "B"]), r"contexts repeats \['B'\]"),
        (UnseenPairKFold(2, contexts=[]), r"perturbations in \[\] .*: 0\."),
        (LeaveOneContextOut(contexts=["Z"]), r"\['Z'\]. X has \['B', 'K'"),
        (LeaveOneContextOut(contexts=[]), "contexts=.. holds out nothing"),
        (
            LeaveOneContextOut(shared_perturbations=["water"]),
            r"shared_perturbations names perturbations .* \['water'\]",
        ),
        (UnseenGroupKFold(2, by="target"), "by='target' is no column of X"),
    ],
)
def test_impossible_requests(cv, match):
    with pytest.raises(ValueError, match=match):
        list(cv.split(make_design()))


@pytest.mark.parametrize(
    ("cv", "match"),
    [
        (UnseenPerturbationKFold(2.5), "n_splits=2.5 is no integer"),
        (UnseenPairKFold(True), "n_splits=True is no integer"),
        (UnseenPairKFold(2, contexts="B"), r"give a list .* contexts=\['B'\]"),
        (LeaveOneContextOut(contexts="B"), r"give a list .* contexts=\['B'\]"),
        (LeaveOneContextOut(shared_perturbations="phenol"), "is a string; give a list"),
    ],
)
def test_wrong_kinds(cv, match):
    with pytest.raises(TypeError, match=match):
        next(cv.split(make_design()))


def test_number_of_splits_of_leave_one_context_out():
    with pytest.raises(ValueError, match="pass X, or give contexts"):
        LeaveOneContextOut().get_n_splits()
    with pytest.raises(TypeError, match="give a list"):
        LeaveOneContextOut(contexts="B").get_n_splits()


def test_long_lists_of_names_are_cut_to_the_near_ones():
    X = pd.DataFrame(
        {"cell_type": ["B"] * 99 + ["K"], "sm_name": [f"drug{i}" for i in range(100)]}
    )
    cv = LeaveOneContextOut(shared_perturbations=["Drug7"])
    with pytest.raises(ValueError, match=r"\['drug7', .*100 in all"):
        next(cv.split(X))


def test_context_with_shared_perturbations_only():
    X = pd.DataFrame({"cell_type": list("KKTZ"), "sm_name": list("xyzx")})
    cv = LeaveOneContextOut(shared_perturbations=["x"])
    with pytest.raises(ValueError, match=r"\['Z'\] have none.*contexts=\['K', 'T'\]"):
        next(cv.split(X))
    cv = LeaveOneContextOut(shared_perturbations=["x"], contexts=["K", "T"])
    assert [test.tolist() for _, test in cv.split(X)] == [[1], [2]]


def test_single_context():
    X = pd.DataFrame({"cell_type": ["B", "B"], "sm_name": ["x", "y"]})
    with pytest.raises(ValueError, match=r"the single context \['B'\]"):
        next(LeaveOneContextOut().split(X))


@pytest.mark.parametrize(
    ("cv", "missing"),
    [
        (UnseenPerturbationKFold(2), "sm_name"),
        (UnseenContextKFold(2), "cell_type"),
        (UnseenPairKFold(2), "cell_type"),
        (UnseenPairKFold(2, contexts=["B"]), "sm_name"),
        (LeaveOneContextOut(), "cell_type"),
        (LeaveOneContextOut(shared_perturbations=["phenol"]), "sm_name"),
        (UnseenGroupKFold(2, by="moa"), "sm_name"),
        (UnseenScaffoldKFold(2), "sm_name"),
    ],
)
def test_missing_values_and_columns(cv, missing):
    X = make_design()
    X.iloc[[1, 3], X.columns.get_loc(missing)] = None
    with pytest.raises(ValueError, match=f"Missing values .*'{missing}': 2"):
        next(cv.split(X))
    with pytest.raises(ValueError, match=r"names no context|known as a perturbation"):
        next(cv.split(X.drop(columns=missing)))


def test_missing_smiles_column_and_flat_table():
    with pytest.raises(ValueError, match="names no smiles column"):
        next(UnseenScaffoldKFold(2).split(make_design().drop(columns="SMILES")))
    with pytest.raises(ValueError, match="X has 1 dimensions"):
        next(UnseenPerturbationKFold(2).split(np.arange(5)))


def test_condition_in_two_groups():
    X = pd.DataFrame({"sm_name": ["x", "x", "y"], "moa": ["A", "B", "A"]})
    with pytest.raises(ValueError, match="condition 'x' differ in 'moa'"):
        next(UnseenGroupKFold(2, by="moa").split(X))
    X = pd.concat([X, pd.DataFrame({"sm_name": ["x"], "moa": [None]})])
    with pytest.raises(ValueError, match=r"'x' have no value of 'moa'.*\['A', 'B'\]"):
        next(UnseenGroupKFold(2, by="moa").split(X))
    X = pd.DataFrame({"sm_name": ["x", "x"], "SMILES": ["c1ccccc1", "c1ccncc1"]})
    with pytest.raises(ValueError, match="condition 'x' differ in the scaffold"):
        next(UnseenScaffoldKFold(2).split(X))


def test_names_of_mixed_types():
    X = pd.DataFrame({"sm_name": [1, "1", 2.5, "b", 1.0]})
    cv = UnseenPerturbationKFold(3, random_state=0)
    assert {tuple(test) for _, test in cv.split(X)} == {(0, 1, 4), (2,), (3,)}


def test_op2_design(shared_data):
    X = pd.read_csv(shared_data("op2_design") / "kaggle_train_obs_614.csv")
    targets = ["B cells", "Myeloid cells"]
    in_target = X["cell_type"].isin(targets)
    assert X["sm_name"][in_target].nunique() == 17
    cv = UnseenPairKFold(4, contexts=targets, random_state=0)
    assert sorted(len(test) for _, test in cv.split(X)) == [8, 8, 8, 10]
    with pytest.raises(ValueError, match=r"'Myeloid cells'\] that .* too: 17\."):
        next(UnseenPairKFold(18, contexts=targets).split(X))

    others = sorted(set(X["cell_type"]) - set(targets))
    shared = sorted(X["sm_name"][in_target].unique())
    cv = LeaveOneContextOut(shared_perturbations=shared, contexts=others)
    sizes = [len(test) for _, test in cv.split(X)]
    assert sizes == [129, 129, 127, 129]
    sizes = [len(test) for _, test in UnseenPerturbationKFold(random_state=0).split(X)]
    assert sum(sizes) == 614
    assert max(sizes) - min(sizes) <= 6
    for train, test in UnseenScaffoldKFold(random_state=0).split(X):
        assert not column(X, train, "sm_name") & column(X, test, "sm_name")


@pytest.mark.parametrize("flagged", [True, False])
def test_controls_stay_in_training(flagged):
    X = pd.DataFrame({"target_gene": list("ABCD") * 3 + ["non-targeting"] * 8})
    if flagged:
        X["control"] = X["target_gene"] == "non-targeting"
        X.loc[12:, "target_gene"] = "g0"
    cv = UnseenPerturbationKFold(4, keep_controls=True, random_state=0)
    for train, test in cv.split(X):
        assert X["target_gene"].iloc[test].nunique() == 1
        assert set(range(12, 20)) <= set(train)
        assert len(train) + len(test) == len(X)
    with pytest.raises(ValueError, match="perturbations in X: 4"):
        next(UnseenPerturbationKFold(5, keep_controls=True).split(X))


def test_controls_on_both_sides():
    genes = ["A", "B", "C", "D"] * 3 + ["non-targeting"] * 14
    lines = ["T"] * 21 + ["U"] * 5
    X = pd.DataFrame({"target_gene": genes, "cell_type": lines})
    cv = UnseenPerturbationKFold(4, keep_controls="both", random_state=0)
    tested = []
    for train, test in cv.split(X):
        held_out = column(X, test[test < 12], "target_gene")
        assert len(held_out) == 1 and not held_out & column(X, train, "target_gene")
        controls = X.iloc[test[test >= 12]]["cell_type"].value_counts()
        assert controls["T"] in (2, 3) and controls["U"] in (1, 2)
        tested += test.tolist()
    assert sorted(tested) == list(range(len(X)))
    with pytest.raises(ValueError, match="controls in X: 3"):
        next(cv.split(X.iloc[:15]))
    with pytest.raises(ValueError, match="keep_controls='all'; allowed are True"):
        next(UnseenPerturbationKFold(keep_controls="all").split(X))


@pytest.mark.parametrize("twin", ["a", "A-", "b+A"])
def test_names_that_differ_in_spelling_only_are_said(twin):
    X = pd.DataFrame({"target_gene": ["A", "B", "C", "A+B", twin]})
    cv = UnseenPerturbationKFold(2, random_state=0)
    with pytest.warns(UserWarning, match="dealt into folds as different") as caught:
        next(cv.split(X))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(cv.split(X[:4]))


def test_labels_of_the_same_perturbations_are_held_out_together():
    names = ["A", "B", "C", "D", "A+ctrl", "ctrl+B", "C ", "D+control", "A+B", "B + A"]
    X = pd.DataFrame({"target_gene": names, "cell_type": list("xyxyyxyxyx")})
    schema = PerturbationSchema.infer(X)
    spelled = np.array([schema.spell(name) for name in names])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = list(UnseenPerturbationKFold(5, random_state=0).split(X))
        # In another context, each is known, however it is written there.
        assert len(list(UnseenPairKFold(2, random_state=0).split(X))) == 2
    for train, test in folds:
        assert not set(spelled[train]) & set(spelled[test])
        assert len(test) == 2
    # Compounds do not combine: a plus may be of a salt.
    X = pd.DataFrame({"sm_name": ["A+B", "B+A", "C", "D"]})
    assert all(len(t) == 1 for _, t in UnseenPerturbationKFold(4).split(X))


@pytest.mark.parametrize("keep", [True, "both"])
def test_controls_of_a_context_that_is_held_out(keep):
    X = pd.DataFrame(
        {
            "cell_type": np.repeat(["B", "NK", "T"], 10),
            "target_gene": ["control"] * 4
            + ["x"] * 6
            + ["control"] * 5
            + ["y"] * 5
            + ["control"] * 2
            + ["x"] * 8,
        }
    )
    control = (X["target_gene"] == "control").to_numpy()
    cv = UnseenContextKFold(3, keep_controls=keep, random_state=0)
    tested = []
    for train, test in cv.split(X):
        [context] = X["cell_type"].iloc[test].unique()
        own = (X["cell_type"] == context).to_numpy()
        assert not (own & ~control)[train].any()
        assert (own & control)[train].any()
        assert (own & control)[test].any() == (keep == "both")
        tested.append(test)
    tested = np.concatenate(tested)
    assert len(set(tested)) == len(tested)
    assert set(np.flatnonzero(~control)) <= set(tested)


def test_contexts_are_dealt_by_the_rows_that_are_tested():
    sizes = {"A": (1, 6), "B": (30, 2), "C": (1, 2), "D": (1, 2), "E": (1, 0)}
    rows = [
        (context, gene)
        for context, (controls, others) in sizes.items()
        for gene in ["control"] * controls + ["x"] * others
    ]
    X = pd.DataFrame(rows, columns=["cell_type", "target_gene"])
    for seed in range(10):
        cv = UnseenContextKFold(4, keep_controls=True, random_state=seed)
        tested = [column(X, test, "cell_type") for _, test in cv.split(X)]
        assert sorted(map(list, tested)) == [["A"], ["B"], ["C"], ["D"]]
        cv = UnseenContextKFold(2, keep_controls=True, random_state=seed)
        assert all(4 <= len(test) <= 8 for _, test in cv.split(X))
    with pytest.raises(ValueError, match=r"contexts in X with rows to test: 4\. Lower"):
        next(UnseenContextKFold(5, keep_controls=True).split(X))


def test_keep_controls_is_checked_for_contexts():
    X = pd.DataFrame({"cell_type": ["B", "NK"], "target_gene": ["x", "control"]})
    with pytest.raises(ValueError, match="keep_controls='some'; allowed are"):
        next(UnseenContextKFold(2, keep_controls="some").split(X))
