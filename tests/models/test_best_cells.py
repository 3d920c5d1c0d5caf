"""The recommended model of cells: simple, unless held-out conditions say more."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.cells import log_normalise
from sklperturb.datasets import make_genetic_screen
from sklperturb.models import BestCellsRegressor
from sklperturb.preprocessing import LookupEmbedding

NAMES = [f"G{i}" for i in range(10)]


def noise(seed, shift=0.0, contexts=("a",)):
    """Return cells in which no gene does anything of its own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(["control", *NAMES], [40] + [8] * len(NAMES))
    X = pd.concat(
        [pd.DataFrame({"target_gene": labels, "cell_type": c}) for c in contexts],
        ignore_index=True,
    )
    y = rng.normal(size=(len(X), 4))
    y[X["target_gene"] != "control"] += shift
    table = pd.DataFrame(rng.normal(size=(len(NAMES), 3)), NAMES)
    return X, y, LookupEmbedding(table)


def model_of(embedding=None, **given):
    given = {"n_splits": 2, "max_steps": 2, "random_state": 0} | given
    return BestCellsRegressor(embedding, **given)


@pytest.mark.parametrize("seed", range(3))
def test_of_noise_the_simple_is_left(seed):
    X, y, embedding = noise(seed)
    model = model_of(embedding).fit(X, y)
    assert model.choice_ in ("controls", "context_shift")
    assert list(model.cv_errors_) == ["controls", "context_shift", "kernel", "flow"]
    assert len(model.cv_intervals_) == 6


def test_a_shift_that_all_have_in_common_needs_no_more():
    X, y, embedding = noise(0, shift=2.0)
    model = model_of(embedding).fit(X, y)
    assert model.choice_ == "context_shift"
    assert model.cv_intervals_.loc[("context_shift", "controls"), "high"] < 0
    again = model_of(embedding).fit(X, y)
    assert again.cv_errors_ == model.cv_errors_
    np.testing.assert_array_equal(again.sample(X[-2:], 3), model.sample(X[-2:], 3))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_known_of_genes_is_taken_where_it_helps():
    screen = make_genetic_screen(
        60,
        120,
        cells_per_perturbation=8,
        n_controls=80,
        n_batches=1,
        n_programmes=3,
        embedding_dim=16,
        effect_strength=2.0,
        strong_fraction=1.0,
        escaper_fraction=0.0,
        random_state=0,
    )
    y = pd.DataFrame(log_normalise(screen.y.X).toarray(), columns=screen.target_names)
    embedding = LookupEmbedding(screen.gene_embedding)
    model = model_of(embedding, n_splits=3, n_components=10, schema=screen.schema)
    model.fit(screen.X, y)
    assert model.choice_ in ("kernel", "flow")
    kernel = model.cv_intervals_.loc[("kernel", "context_shift")]
    assert kernel["low"] < kernel["difference"] < kernel["high"] < 0
    assert (model.cv_intervals_.loc[model.choice_, "high"] < 0).all()
    new = screen.X[-2:].assign(target_gene=list(screen.gene_embedding.index[-2:]))
    assert model.sample(new, 3).shape == (2, 3, 120)
    np.testing.assert_array_equal(
        model.predict(new), model.best_estimator_.predict(new)
    )


def test_contexts_are_held_out_where_they_are_asked_for():
    X, y, _ = noise(0, shift=2.0, contexts="abcde")
    model = model_of(unseen="context").fit(X, y)
    assert model.choice_ == "context_shift"
    with pytest.warns(UserWarning, match="there are 2 contexts to hold out"):
        model.fit(X[X["cell_type"] < "c"], y[X["cell_type"] < "c"])
    assert model.choice_ == "context_shift" and model.cv_errors_ == {}


def test_of_few_perturbations_nothing_is_compared():
    X, y, embedding = noise(0)
    few = X["target_gene"].isin(["control", *NAMES[:4]])
    with pytest.warns(UserWarning, match="there are 4 perturbations to hold out"):
        model = model_of(embedding).fit(X[few], y[few])
    assert model.choice_ == "context_shift" and model.cv_intervals_.empty


def test_one_output():
    X, y, _ = noise(0, shift=2.0)
    model = model_of().fit(X, y[:, 0])
    assert model.predict(X[-2:]).shape == (2,)
    assert model.sample(X[-2:], 3).shape == (2, 3, 1)
