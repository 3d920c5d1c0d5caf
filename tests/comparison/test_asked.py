"""How the perturbations to predict differ from those that folds hold out."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.comparison import asked_difference
from sklperturb.comparison._asked import AskedDifference
from sklperturb.datasets import PerturbationSchema
from sklperturb.model_selection import suggest_cv

ASKED, MEASURED = [f"a{i}" for i in range(6)], [f"m{i}" for i in range(6)]


def screen(strength, noise):
    """Contexts A, B and C; in T, half of the perturbations are to be predicted."""
    rng = np.random.default_rng(0)
    effects = {name: rng.normal(size=200) for name in ASKED + MEASURED}
    rows, y = [], []
    for context in "ABCT":
        for name in ASKED + MEASURED:
            if context == "T" and name in ASKED:
                continue
            asked = name in ASKED
            own = rng.normal(size=200) * (noise if asked else 0.1)
            rows.append((context, name))
            y.append((effects[name] + own) * (strength if asked else 1.0))
    X = pd.DataFrame(rows, columns=["cell_type", "sm_name"])
    X_test = pd.DataFrame({"cell_type": "T", "sm_name": ASKED})
    return X, np.array(y), X_test


def compared(X, y, X_test, **options):
    cv = suggest_cv(X, X_test, n_splits=3, **options)
    return asked_difference(X, y, X_test, list(cv.split(X)), **options)


def test_equals_a_plain_loop():
    X, y, X_test = screen(2.0, 0.1)
    found = compared(X, y, X_test)
    assert found.contexts == ["A", "B", "C"]
    size, cosines = {}, {}
    means = {c: y[X["cell_type"] == c].mean(axis=0) for c in "ABC"}
    for names in (ASKED, MEASURED):
        rows = X[X["sm_name"].isin(names) & (X["cell_type"] != "T")]
        size[names[0]] = np.mean([np.sqrt(np.mean(y[i] ** 2)) for i in rows.index])
        one = []
        for i, row in rows.iterrows():
            rest = rows[(rows["sm_name"] == row["sm_name"]) & (rows.index != i)]
            other = sum(y[j] - means[X["cell_type"][j]] for j in rest.index)
            own = y[i] - means[row["cell_type"]]
            one.append(own @ other / np.linalg.norm(own) / np.linalg.norm(other))
        cosines[names[0]] = np.mean(one)
    assert found.strength == pytest.approx(size["a0"] / size["m0"])
    assert found.agreement == pytest.approx(cosines["a0"])
    assert found.agreement_held_out == pytest.approx(cosines["m0"])


def test_replicates_in_a_context_are_one_response():
    X, y, X_test = screen(1.0, 0.5)
    single = compared(X, y, X_test)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(3, *y.shape))
    noise -= noise.mean(axis=0)
    thrice = pd.concat([X] * 3, ignore_index=True)
    found = compared(thrice, np.concatenate(y + noise), X_test)
    assert found.agreement == pytest.approx(single.agreement)
    assert found.agreement_held_out == pytest.approx(single.agreement_held_out)
    # Some measured more often than others, and nothing in common between contexts.
    more = np.repeat(np.arange(len(X)), np.where(X["cell_type"] == "A", 5, 2))
    own = rng.normal(size=y.shape)[more] + 0.1 * rng.normal(size=(len(more), 200))
    found = compared(X.iloc[more].reset_index(drop=True), own, X_test)
    assert abs(found.agreement) < 0.1 and abs(found.agreement_held_out) < 0.1
    # A context alone says nothing of others, however often it is measured.
    lone = (X["cell_type"] == "A") | (X["cell_type"] == "T")
    rows = np.repeat(np.flatnonzero(lone), 2)
    found = compared(X.iloc[rows].reset_index(drop=True), y[rows], X_test)
    assert np.isnan(found.agreement) and np.isnan(found.agreement_held_out)


@pytest.mark.parametrize(
    ("strength", "noise", "told"),
    [
        (2.0, 0.1, "may be higher"),
        (0.5, 0.1, "may be lower"),
        (1.0, 1.0, "may be higher"),
        (0.2, 1.0, "may differ"),
        (1.0, 0.1, "should be near"),
    ],
)
def test_what_is_said_of_errors(strength, noise, told):
    assert told in str(compared(*screen(strength, noise)))


def test_without_agreement_the_strength_is_told():
    text = str(AskedDifference(2.0, np.nan, np.nan, ["A"]))
    assert "respond 2.00 times as strongly" in text
    assert "cosine" not in text and "may be higher" in text


def test_nothing_to_compare():
    X, y, X_test = screen(1.0, 0.1)
    assert compared(X, y, X_test.assign(sm_name="new")) is None
    assert compared(X, y, X[["cell_type", "sm_name"]]) is None
    alone = PerturbationSchema(perturbation="sm_name")
    assert compared(X, y, X_test, schema=alone) is None
