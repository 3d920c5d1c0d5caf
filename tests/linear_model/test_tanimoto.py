"""Kernel ridge on structures, against refits without the rows left out."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from sklperturb.baseline import AdditiveRegressor, GroupStatisticRegressor
from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.linear_model._compound_kernel import same_compound, spatial_median
from sklperturb.linear_model._kernel import loo_kernel_ridge
from sklperturb.metrics import mrrmse
from sklperturb.model_selection import (
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
)

pytest.importorskip("rdkit", reason="structures need rdkit")
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

# One choice of everything, so that a fit is one kernel ridge.
FIXED = {
    "kind": ["morgan_counts", "atom_pairs"],
    "calibrate": False,
    "alphas": [0.5],
    "powers": [2],
    "context_shares": [0.3],
    "perturbation_shares": [0.1],
}


def table(*rows):
    return pd.DataFrame(rows, columns=["cell_type", "sm_name", "SMILES"])


def naive_kernel(left, right, a=0.3, b=0.1, power=2):
    generators = (
        rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048),
        rdFingerprintGenerator.GetAtomPairGenerator(fpSize=2048),
    )

    def similarity(one, other):
        if one["SMILES"] is None or other["SMILES"] is None:
            return float(one["sm_name"] == other["sm_name"])
        molecules = [Chem.MolFromSmiles(row["SMILES"]) for row in (one, other)]
        return np.mean(
            [
                DataStructs.TanimotoSimilarity(*map(g.GetCountFingerprint, molecules))
                for g in generators
            ]
        )

    return np.array(
        [
            [
                (a + (one["cell_type"] == other["cell_type"]))
                * (b + similarity(one, other) ** power)
                for _, other in right.iterrows()
            ]
            for _, one in left.iterrows()
        ]
    )


@pytest.fixture(scope="module")
def small():
    """A screen of which one compound has no structure."""
    screen = make_chemical_screen(3, 8, 12, random_state=1)
    for frame in (screen.X, screen.X_test):
        frame.loc[frame["sm_name"] == screen.X["sm_name"].iloc[0], "SMILES"] = None
    return screen


def test_prediction_is_kernel_ridge(small):
    model = TanimotoKernelRidge(centre="mean", **FIXED).fit(small.X, small.y)
    y = small.y.to_numpy()
    kernel = naive_kernel(small.X, small.X) + 0.5 * np.eye(len(y))
    dual = np.linalg.solve(kernel, y - y.mean(axis=0))
    expected = naive_kernel(small.X_test, small.X) @ dual
    assert 0 < model.grand_mean_share_ < 1
    expected += model.grand_mean_share_ * y.mean(axis=0)
    np.testing.assert_allclose(model.predict(small.X_test), expected, rtol=1e-8)


@pytest.mark.parametrize("leave_out", ["row", "perturbation"])
def test_left_out_error_is_that_of_refits(small, leave_out):
    params = FIXED | {"leave_out": leave_out, "centre": "mean"}
    model = TanimotoKernelRidge(**params).fit(small.X, small.y)
    y = small.y.to_numpy() - small.y.to_numpy().mean(axis=0)
    kernel = naive_kernel(small.X, small.X)
    errors = np.empty(len(y))
    for i, name in enumerate(small.X["sm_name"]):
        out = np.arange(len(y)) == i
        if leave_out == "perturbation":
            out = (small.X["sm_name"] == name).to_numpy()
        inside = kernel[np.ix_(~out, ~out)] + 0.5 * np.eye((~out).sum())
        y_pred = kernel[i, ~out] @ np.linalg.solve(inside, y[~out])
        errors[i] = np.sqrt(np.mean((y[i] - y_pred) ** 2))
    np.testing.assert_allclose(model.left_out_error_, errors.mean(), rtol=1e-8)


def test_measured_compounds_get_what_is_chosen_for_them():
    """Each row as of the model that was chosen by leaving out what it is asked for."""
    X, y = few_compounds(8, 3.0)
    fits = {
        leave_out: TanimotoKernelRidge(kind="maccs", leave_out=leave_out).fit(
            X[X["cell_type"] != "D"], y[X["cell_type"] != "D"]
        )
        for leave_out in ("auto", "row", "perturbation")
    }
    auto = fits["auto"]
    assert auto.seen_choice_["alpha"] == fits["row"].alpha_
    assert auto.left_out_error_ == fits["perturbation"].left_out_error_
    assert fits["row"].seen_choice_ is None

    def deviations(model, X):
        return model.predict(X) - model.centre_share_ * model.centre_

    known = X[X["cell_type"] == "D"]
    unseen = known.assign(sm_name="new", SMILES="CCCCCO")
    for X, name, other in [
        (known, "row", "perturbation"),
        (unseen, "perturbation", "row"),
    ]:
        found = deviations(auto, X)
        np.testing.assert_allclose(found, deviations(fits[name], X), atol=1e-10)
        assert np.abs(found - deviations(fits[other], X)).max() > 1e-3


def few_compounds(n_compounds, effect):
    """Return compounds in four contexts, of noise and an effect of each compound."""
    rng = np.random.default_rng(0)
    smiles = ["CCO", "c1ccccc1", "CC(=O)N", "CCCCN", "C1CCCCC1", "OCCO", "CCS", "CCCl"]
    X = table(
        *[
            (context, f"u{i}", smiles[i])
            for context in "ABCD"
            for i in range(n_compounds)
        ]
    )
    y = effect * np.tile(rng.normal(size=(n_compounds, 60)), (4, 1))
    return X, y + rng.normal(size=(len(X), 60))


@pytest.mark.parametrize(
    "cv", [UnseenPairKFold, UnseenContextKFold, UnseenPerturbationKFold]
)
def test_noise_of_three_compounds_is_hardly_believed(cv):
    X, y = few_compounds(3, 0.0)
    errors = [
        (mrrmse(y[test], y_pred), mrrmse(y[test], 0 * y[test]))
        for train, test in cv(3, random_state=0).split(X)
        for y_pred in [
            TanimotoKernelRidge(kind="maccs")
            .fit(X.iloc[train], y[train])
            .predict(X.iloc[test])
        ]
    ]
    error, zeros = np.mean(errors, axis=0)
    assert error < 1.03 * zeros


def test_compounds_that_are_known_are_not_exaggerated():
    """In a context that is held out; each compound is nothing like the others."""
    X, y = few_compounds(8, 3.0)
    errors = {"auto": [], "perturbation": [], "additive": []}
    for train, test in UnseenContextKFold(4, random_state=0).split(X):
        for name, found in errors.items():
            model = (
                AdditiveRegressor("joint")
                if name == "additive"
                else TanimotoKernelRidge(kind="maccs", leave_out=name)
            )
            y_pred = model.fit(X.iloc[train], y[train]).predict(X.iloc[test])
            found.append(mrrmse(y[test], y_pred))
    auto, by_compound, additive = map(np.mean, errors.values())
    assert auto < 1.1 * additive
    assert auto < 0.7 * by_compound


def test_groups_of_one_row_are_leave_one_out():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 20))
    kernel, targets, alphas = root @ root.T, rng.normal(size=(12, 3)), [0.1, 1, 10]
    expected = loo_kernel_ridge(kernel, targets, alphas)
    single = loo_kernel_ridge(kernel, targets, alphas, np.arange(12))
    for found, value in zip(single, expected, strict=True):
        np.testing.assert_array_equal(found, value)
    everything = loo_kernel_ridge(kernel, targets, alphas, np.zeros(12, int))
    np.testing.assert_allclose(
        everything[0], np.linalg.norm(targets, axis=1).mean(), rtol=1e-8
    )


def test_the_best_of_the_grids_is_kept(small):
    grids = {
        "alphas": [0.1, 1, 10],
        "powers": [1, 3],
        "context_shares": [0.1, 1],
        "perturbation_shares": [0, 0.3],
    }
    plain = {"kind": "maccs", "calibrate": False, "leave_out": "perturbation"}
    best = TanimotoKernelRidge(**grids, **plain).fit(small.X, small.y)
    scores = [
        TanimotoKernelRidge(
            [alpha], powers=[p], context_shares=[a], perturbation_shares=[b], **plain
        )
        .fit(small.X, small.y)
        .left_out_error_
        for alpha in grids["alphas"]
        for p in grids["powers"]
        for a in grids["context_shares"]
        for b in grids["perturbation_shares"]
    ]
    np.testing.assert_allclose(best.left_out_error_, min(scores))
    alone = TanimotoKernelRidge(
        [best.alpha_],
        powers=[best.power_],
        context_shares=[best.context_share_],
        perturbation_shares=[best.perturbation_share_],
        **plain,
    ).fit(small.X, small.y)
    np.testing.assert_allclose(alone.predict(small.X_test), best.predict(small.X_test))


def test_rows_that_are_left_out_together():
    names = np.array([0, 0, 1, 2, 3, 4, 4])
    smiles = np.array(["C", None, "CC", "C", None, "CC", "CCC"], dtype=object)
    # Compounds 0 and 2 share a structure; 1 and 4 do, and 4 has a second one.
    codes = same_compound(names, smiles)
    together = codes[:, None] == codes
    expected = [{0, 1, 3}, {2, 5, 6}, {4}]
    assert {frozenset(np.flatnonzero(row)) for row in together} == set(
        map(frozenset, expected)
    )


def test_twins_do_not_vouch_for_each_other():
    """Two names of one measurement make the penalty tiny, unless left out together."""
    screen = make_chemical_screen(2, 30, 40, n_target_contexts=1, random_state=0)
    X = screen.X[screen.X["cell_type"] == screen.X["cell_type"].iloc[0]]
    twice = pd.concat([X, X.assign(sm_name=X["sm_name"] + " again")])
    rng = np.random.default_rng(0)
    noise = np.tile(rng.normal(size=(len(X), 40)), (2, 1))
    params = {"alphas": [0.01, 1, 100], "calibrate": False}
    model = TanimotoKernelRidge(**params).fit(twice, noise)
    assert model.alpha_ >= 1
    by_row = TanimotoKernelRidge(**params, leave_out="row").fit(twice, noise)
    assert by_row.alpha_ == 0.01


def repeated(noise):
    """Return compounds that are all listed twice, and new names for the first ten."""
    screen = make_chemical_screen(2, 30, 40, n_target_contexts=1, random_state=0)
    X = screen.X[screen.X["cell_type"] == screen.X["cell_type"].iloc[0]]
    rng = np.random.default_rng(0)
    y = rng.normal(size=(len(X), 40))
    twice = pd.concat([X, X.assign(sm_name=X["sm_name"] + " again")])
    measured = np.vstack([y, y]) + noise * rng.normal(size=(2 * len(X), 40))
    return twice, measured, X[:10].assign(sm_name=X["sm_name"][:10] + " new"), y[:10]


def test_a_measured_structure_gets_its_response_as_far_as_repeats_agree():
    X, y, new, truth = repeated(noise=0.0)
    model = TanimotoKernelRidge().fit(X, y)
    assert model.repeat_prior_ == 0
    np.testing.assert_allclose(model.predict(new), truth, atol=1e-10)
    # In another context nothing was measured.
    elsewhere = model.predict(new.assign(cell_type="other"))
    assert np.abs(elsewhere - truth).mean() > 0.1
    X, y, new, truth = repeated(noise=3.0)
    model = TanimotoKernelRidge().fit(X, y)
    assert model.repeat_prior_ >= 3
    copied = np.abs((y[:10] + y[30:40]) / 2 - truth).mean()
    assert np.abs(model.predict(new) - truth).mean() < copied


def test_without_repeats_nothing_is_copied(small):
    assert TanimotoKernelRidge(**FIXED).fit(small.X, small.y).repeat_prior_ == np.inf


def test_compounds_without_structure_are_known_by_name():
    X = table(*[("A", f"u{i}", None) for i in range(4)] * 2)
    y = np.tile([0.0, 0.0, 8.0, -8.0], 2)
    model = TanimotoKernelRidge(
        [0.01], powers=[1], perturbation_shares=[0], leave_out="row"
    ).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=0.1)
    new = table(("A", "v", None), ("A", "w", "CCO"))
    np.testing.assert_allclose(model.predict(new), [model.centre_[0]] * 2)


def test_a_known_name_brings_its_structure(small):
    model = TanimotoKernelRidge(**FIXED).fit(small.X, small.y)
    nameless = small.X_test.assign(SMILES=None)
    np.testing.assert_allclose(model.predict(nameless), model.predict(small.X_test))


def test_spellings_of_a_structure_are_the_same(small):
    model = TanimotoKernelRidge(**FIXED).fit(small.X, small.y)
    rows = small.X_test.dropna(subset="SMILES").assign(sm_name="x")
    other = rows.assign(
        SMILES=[
            Chem.MolToSmiles(Chem.MolFromSmiles(s), canonical=False, rootedAtAtom=1)
            for s in rows["SMILES"]
        ]
    )
    assert (other["SMILES"] != rows["SMILES"]).any()
    np.testing.assert_allclose(model.predict(other), model.predict(rows))


def test_spatial_median():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(51, 4))
    points[:5] *= 100

    def distance(centre):
        return np.linalg.norm(points - centre, axis=1).mean()

    found = spatial_median(points)
    best = minimize(distance, points.mean(axis=0), tol=1e-10)
    assert distance(found) <= best.fun + 1e-6
    np.testing.assert_allclose(found, best.x, atol=1e-3)
    # Through a point of the data, on constant data, and on one row.
    for some in ([[0.0], [1.0], [50.0]], [[2.0, 3.0]] * 4, [[1.0, 2.0]]):
        some = np.array(some)
        np.testing.assert_allclose(
            spatial_median(some), np.median(some, axis=0), atol=1e-2
        )


def test_invalid_structures_give_one_warning():
    X = table(("A", "u", "bad("), ("A", "v", "bad("), ("A", "w", "CCO"))
    with pytest.warns(UserWarning, match="TanimotoKernelRidge treats them") as caught:
        model = TanimotoKernelRidge().fit(X, [1.0, 2.0, 3.0])
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"1 SMILES \('x\('\)"):
        model.predict(table(("A", "z", "x(")))


def test_structure_helps_on_a_generated_screen():
    screen = make_chemical_screen(3, 60, 60, scaffold_share=0.9, random_state=0)
    cv = UnseenPerturbationKFold(4, random_state=0)
    X, y = screen.X, screen.y
    scores = {TanimotoKernelRidge: [], GroupStatisticRegressor: []}
    for train, test in cv.split(X):
        for kind, found in scores.items():
            model = kind().fit(X.iloc[train], y.iloc[train])
            found.append(mrrmse(y.iloc[test], model.predict(X.iloc[test])))
    of_structure, of_mean = (np.mean(found) for found in scores.values())
    assert of_structure < 0.97 * of_mean


def test_structure_helps_on_measurements(shared_data):
    screen = load_op2(shared_data("l1000_consensus_op2_layout"), clip=10)
    X, y = screen.X.drop_duplicates("SMILES"), screen.y
    y = y.loc[X.index]
    train, test = next(UnseenPerturbationKFold(3, random_state=0).split(X))
    errors = [
        mrrmse(y.iloc[test], m.fit(X.iloc[train], y.iloc[train]).predict(X.iloc[test]))
        for m in (GroupStatisticRegressor(), TanimotoKernelRidge(powers=[2]))
    ]
    assert errors[0] - errors[1] > 0.03


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (
            {"leave_out": "compound"},
            r"'leave_out' .* Got 'compound'",
        ),
        ({"centre": 0}, r"'centre' .* Got 0"),
        ({"alphas": []}, "alphas.*must be a non-empty list"),
        ({"powers": [0]}, r"powers.*non-empty list.*Got \[0\]"),
        ({"context_shares": [-1]}, r"context_shares.*non-empty list.*Got \[-1\]"),
        ({"perturbation_shares": []}, r"perturbation_shares.*non-empty list.*Got \[\]"),
        ({"kind": "descriptors"}, r"'kind' .* Got 'descriptors'"),
        ({"n_bits": -5}, r"'n_bits' .* Got -5"),
    ],
)
def test_errors(params, match, small):
    with pytest.raises(ValueError, match=match):
        TanimotoKernelRidge(**params).fit(small.X, small.y)
