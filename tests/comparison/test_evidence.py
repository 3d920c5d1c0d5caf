"""What the folds of a comparison hold out, and what is said of few."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.comparison import compare
from sklperturb.comparison._evidence import dealt_units, held_out_units
from sklperturb.datasets import PerturbationSchema
from sklperturb.model_selection import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenGroupKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
)

PAIRS = [(f"c{c}", f"p{p:02}") for c in range(6) for p in range(12)]
X = pd.DataFrame(PAIRS, columns=["cell_type", "sm_name"])
Y = np.random.default_rng(0).standard_normal((len(X), 3))
BOTH = "perturbation and context"


def folds_new_in_both():
    """Return folds that train on neither the contexts nor the perturbations tested."""
    tested = [
        [test for _, test in kind(3, random_state=0).split(X)]
        for kind in (UnseenPerturbationKFold, UnseenContextKFold)
    ]
    rows = np.arange(len(X))
    return [
        (np.setdiff1d(rows, np.union1d(a, b)), np.intersect1d(a, b))
        for a in tested[0]
        for b in tested[1]
    ]


def mean_of(X, y, cv, **options):
    return compare(["gene_mean"], X, y, cv=cv, baselines=None, **options)


@pytest.mark.parametrize(
    ("cv", "unit", "n_units"),
    [
        (UnseenPerturbationKFold(4), "perturbation", 12),
        (UnseenContextKFold(3), "context", 6),
        (UnseenPairKFold(4), "perturbation", 12),
        (UnseenPairKFold(4, contexts=["c0", "c1"]), "perturbation", 12),
        (LeaveOneContextOut(), "context", 6),
        (LeaveOneContextOut(shared_perturbations=["p00", "p01"]), "context", 6),
        (LeaveOneContextOut(contexts=["c0", "c1", "c2"]), "context", 3),
        (folds_new_in_both(), BOTH, "12 and 6"),
        ([(np.arange(12, 72), np.arange(12))], "context", 1),
    ],
)
@pytest.mark.filterwarnings("ignore:.*held out:UserWarning")
def test_what_the_folds_hold_out_is_resampled(cv, unit, n_units):
    summary = mean_of(X, Y, cv).summary
    assert summary["unit"].tolist() == [unit]
    assert summary["n_units"].tolist() == [n_units]
    assert summary["ci_low"].notna().all() == (n_units != 1)


def test_units_are_those_of_the_held_out_rows():
    folds, schema = folds_new_in_both(), PerturbationSchema.infer(X)
    rows = np.concatenate([test for _, test in folds])
    _, units = held_out_units(X, folds, schema)
    np.testing.assert_array_equal(units, X.iloc[rows][["sm_name", "cell_type"]])
    folds = list(UnseenContextKFold(3, random_state=0).split(X))
    rows = np.concatenate([test for _, test in folds])
    _, units = held_out_units(X, folds, schema)
    assert units.tolist() == X.iloc[rows]["cell_type"].tolist()


def test_without_contexts_perturbations_are_resampled():
    schema = PerturbationSchema(perturbation="sm_name")
    folds = [(np.arange(12, 72), np.arange(12))]
    assert held_out_units(X, folds, schema)[0] == "perturbation"


def test_groups_are_resampled_where_they_are_dealt():
    grouped = X.assign(moa=X["sm_name"].map(lambda name: f"m{int(name[1:]) // 3}"))
    cv = UnseenGroupKFold(2, by="moa", random_state=0)
    with pytest.warns(UserWarning, match=r"4 groups are held out\. Intervals resample"):
        found = mean_of(grouped, Y, cv)
    assert found.summary["unit"].tolist() == ["group"]
    assert found.summary["n_units"].tolist() == [4]


@pytest.mark.filterwarnings("ignore:.*held out:UserWarning")
def test_names_of_one_structure_are_one_unit():
    pytest.importorskip("rdkit")
    names = {f"p{i:02}": "C" * (i + 1) + "O" for i in range(12)}
    # A dose in the name, and the same alcohol in another spelling.
    names |= {"p01": "CO", "p03": "C(C)O", "p02": "CCO"}
    smiles = X.assign(SMILES=X["sm_name"].map(names))
    cv = UnseenPerturbationKFold(3, random_state=0)
    unit, codes = dealt_units(cv, smiles)
    assert unit == "perturbation"
    assert codes[X["sm_name"] == "p00"][0] == codes[X["sm_name"] == "p01"][0]
    summary = mean_of(smiles, Y, cv).summary
    assert summary["unit"].tolist() == ["perturbation"]
    assert summary["n_units"].tolist() == [len(set(names.values())) - 1] == [10]
    cv = UnseenPerturbationKFold(3, by_structure=False, random_state=0)
    assert mean_of(smiles, Y, cv).summary["n_units"].tolist() == [12]


@pytest.mark.filterwarnings("ignore:.*held out:UserWarning")
def test_scaffolds_are_resampled():
    pytest.importorskip("rdkit")
    rings = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "C1CCNCC1"]
    smiles = {f"p{i:02}": "C" * (i // 4 + 1) + rings[i % 4] for i in range(12)}
    named = X.assign(SMILES=X["sm_name"].map(smiles))
    summary = mean_of(named, Y, UnseenScaffoldKFold(2, random_state=0)).summary
    assert summary["unit"].tolist() == ["scaffold"]
    assert summary["n_units"].tolist() == [4]


def test_an_interval_of_both_is_wider_than_of_either():
    rng = np.random.default_rng(0)
    pairs = np.array(np.meshgrid(range(15), range(15))).reshape(2, -1)
    named = pd.DataFrame({"sm_name": pairs[0], "cell_type": pairs[1]}).astype(str)
    size = np.exp(rng.standard_normal(15)[pairs[0]] + rng.standard_normal(15)[pairs[1]])
    y = size[:, None] * rng.standard_normal((225, 20))
    rows = np.arange(225)
    p, c = pairs // 5
    folds = [
        (rows[(p != i) & (c != j)], rows[(p == i) & (c == j)])
        for i in range(3)
        for j in range(3)
    ]
    both = mean_of(named, y, folds).summary.iloc[0]
    assert both["unit"] == BOTH
    for splitter in (UnseenPerturbationKFold(3), UnseenContextKFold(3)):
        one = mean_of(named, y, splitter).summary.iloc[0]
        assert one["ci_high"] - one["ci_low"] < 0.9 * (both["ci_high"] - both["ci_low"])


@pytest.mark.parametrize(
    ("n_contexts", "told"),
    [(2, "from fewer than 3 they cannot be told"), (3, "fewer than 10 they are too")],
)
def test_few_units_are_told(n_contexts, told):
    few = X[X["cell_type"].isin([f"c{i}" for i in range(n_contexts)])]
    found_note = rf"{n_contexts} contexts are held out\. Intervals resample contexts"
    with pytest.warns(UserWarning, match=found_note):
        found = mean_of(few, Y[: len(few)], UnseenContextKFold(2, random_state=0))
    assert told in found.notes[0]
    ends = found.summary[["ci_low", "ci_high"]].notna().all(axis=None)
    assert ends == (n_contexts == 3)


def test_few_of_either_are_told():
    told = (
        "12 perturbations and 6 contexts are held out. Intervals resample "
        "perturbations and contexts, and with fewer than 10"
    )
    with pytest.warns(UserWarning, match=told):
        mean_of(X, Y, folds_new_in_both())


def test_an_error_is_not_below_zero():
    few = X[X["cell_type"].isin(["c0", "c1", "c2"])]
    size = few["cell_type"].map({"c0": 0.1, "c1": 0.1, "c2": 5.0}).to_numpy()
    y = size[:, None] * Y[: len(few)]
    cv = UnseenContextKFold(3, random_state=0)
    with pytest.warns(UserWarning, match="3 contexts are held out"):
        found = compare({}, few, y, cv=cv, baselines=["no_change", "context_mean"])
    assert found.summary["ci_low"].tolist() == [0.0, 0.0]
    assert (found.summary["ci_high"] > 5).all()
    with pytest.warns(UserWarning, match="3 contexts are held out"):
        found = mean_of(few, y, cv, scoring="pearson")
    assert found.summary["ci_low"].item() < 0
