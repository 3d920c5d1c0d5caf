"""Every silent failure of a generative model has a warning."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sklperturb.flow import FlowMatchingRegressor
from sklperturb.flow._diagnostics import (
    Evidence,
    Trial,
    check_evidence,
    choose_share,
    warn_blow_up,
)
from sklperturb.preprocessing import LookupEmbedding


def evidence(**changed):
    rng = np.random.default_rng(0)
    measured = [rng.normal(size=(80, 3)) + 2 for _ in range(4)]
    good = {
        "measured": measured,
        "generated": [rng.normal(size=(80, 3)) + 2 for _ in range(4)],
        "controls": [rng.normal(size=(80, 3)) for _ in range(4)],
        "displacements": rng.normal(size=(4, 3)) + 2,
        "swapped": rng.normal(size=(4, 3)),
        "largest": 5.0,
    }
    return Evidence(**(good | changed))


def test_good_cells_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check_evidence(evidence())
    assert found["energy"] < 0.2 < found["energy_controls"]
    assert 0.8 < found["variance_ratio"] < 1.2


def test_ignored_condition():
    same = np.ones((4, 3))
    with pytest.warns(UserWarning, match="condition ignored"):
        check_evidence(evidence(displacements=same, swapped=same))


def test_collapse():
    points = [np.full((80, 3), 2.0)] * 4
    with pytest.warns(UserWarning, match="collapse to the mean"):
        check_evidence(evidence(generated=points))


def test_blow_up():
    with pytest.warns(UserWarning, match=r"displacement blow-up.* 3\.0 times"):
        warn_blow_up(3.0)
    with pytest.warns(UserWarning, match="displacement blow-up"):
        check_evidence(evidence(largest=1.0))


def test_worse_than_controls():
    good = evidence()
    far = [cells + 9 for cells in good.measured]
    with pytest.warns(UserWarning, match="worse than controls"):
        check_evidence(evidence(generated=far))


def screen(n_genes=14, n_cells=40, effect=2.0, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"g{i:02d}" for i in range(n_genes)]
    labels = np.repeat(["control", *names], [100] + [n_cells] * n_genes)
    y = rng.normal(size=(len(labels), 3))
    for name in names:
        y[labels == name] += effect * rng.normal(size=3)
    table = pd.DataFrame(rng.normal(size=(n_genes, 2)), index=names)
    X = pd.DataFrame({"target_gene": labels, "batch": "b1"})
    return X, y, LookupEmbedding(table, add_indicator=False)


def model(embedding, **parameters):
    return FlowMatchingRegressor(
        embedding, max_steps=20, hidden_dim=32, random_state=0, **parameters
    )


def test_few_cells_and_foreign_controls_at_fit():
    X, y, embedding = screen()
    rows = np.flatnonzero(X["target_gene"] == "g03")[5:]
    few = X.drop(index=rows)
    with pytest.warns(UserWarning, match=r"too few cells: 1 of 14.*'g03'") as caught:
        model(embedding).fit(few, y[few.index])
    assert {warning.filename for warning in caught} == {__file__}
    batch = np.where(X["target_gene"] == "g05", "b2", "b1")
    with pytest.warns(UserWarning, match=r"context leakage: 1 conditions.*'g05'"):
        model(embedding).fit(X.assign(batch=batch), y)


def test_untrained_network_ignores_the_condition():
    X, y, embedding = screen()
    with pytest.warns(UserWarning, match="condition ignored"):
        model(embedding, learning_rate=1e-12).fit(X, y)


def test_useless_embedding_falls_back():
    X, y, embedding = screen()
    with pytest.warns(UserWarning, match="unseen perturbations"):
        fitted = model(embedding).fit(X, y)
    assert fitted.mean_choice_ in ("controls", "shift")


def test_nothing_happens_where_perturbations_do_nothing():
    X, y, embedding = screen(effect=0.0, n_genes=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fitted = model(embedding).fit(X, y)
    new = pd.DataFrame({"target_gene": ["new", "control"], "batch": "b1"})
    with pytest.warns(UserWarning, match="has no embedding"):
        predicted, control = fitted.predict(new)
    assert np.linalg.norm(predicted - control) < 0.15


@pytest.mark.parametrize("lonely", ["controls", "all controls", "perturbed"])
def test_batches_of_a_single_cell(lonely):
    rng = np.random.default_rng(0)
    names = np.repeat(["control", *"ABCDEFGH"], 24)
    batch = np.tile(["b1", "b2"], len(names) // 2)
    kept = np.ones(len(names), dtype=bool)
    if lonely == "perturbed":
        batch = np.tile([f"b{i}" for i in range(24)], 9)
    else:
        first = 1 if lonely == "all controls" else 12
        kept[names == "control"] = np.arange(24) < first
        batch[np.flatnonzero(names == "control")[1:]] = "b2"
    X = pd.DataFrame({"target_gene": names, "batch": batch})[kept]
    y = (rng.normal(size=(len(names), 3)) + (names != "control")[:, None])[kept]
    model = FlowMatchingRegressor(
        max_steps=5, cells_per_condition=4, hidden_dim=8, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert model.mean_choice_ == "shift" or model.mean_cv_errors_
    assert np.isfinite(model.sample(X[:3], 2)).all()
    assert ("energy" in model.guards_) == (lonely == "controls")


@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_no_shape_is_chosen_by_chance(alike):
    """At 2.5 %, however many shares are tried; the best of three has up to 7 %."""
    rng, shares, units = np.random.default_rng(1), (0.0, 0.25, 0.5, 1.0), np.arange(12)
    mixing = np.linalg.cholesky(alike + (1 - alike) * np.eye(3)) * [[0.3], [0.6], [1]]
    chosen = []
    for _ in range(500):
        energies = np.ones((12, 4))
        energies[:, 1:] += rng.standard_normal((12, 3)) @ mixing.T
        chosen.append(choose_share(Trial(units, energies, None), shares, units)[0] > 0)
    assert np.mean(chosen) < 0.035
