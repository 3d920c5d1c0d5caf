"""One-hot columns and target statistics, side by side."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import sklperturb
from sklperturb.datasets import PerturbationSchema
from sklperturb.preprocessing import (
    SchemaColumns,
    TargetStatisticsEncoder,
    make_condition_encoder,
)


def test_columns_by_role(screen):
    assert SchemaColumns("context", "perturbation")(screen.X) == [
        "cell_type",
        "sm_name",
    ]
    assert SchemaColumns("perturbation", "dose")(screen.X) == ["sm_name"]
    schema = PerturbationSchema(perturbation="drug", dose="um")
    columns = SchemaColumns("perturbation", "dose", schema=schema)
    assert columns(pd.DataFrame(columns=["drug", "um"])) == ["drug", "um"]
    assert repr(SchemaColumns("context")) == "SchemaColumns('context', schema=None)"
    with pytest.raises(ValueError, match="known as a perturbation"):
        SchemaColumns("context")(pd.DataFrame({"x": [1]}))


def test_blocks_of_the_encoder(screen):
    encoder = make_condition_encoder(statistics=["mean"], n_components=3)
    encoded = encoder.fit_transform(screen.X, screen.y)
    assert encoded.shape == (47, 4 + 20 + 2 * 3)
    onehot, statistics = encoded[:, :24], encoded[:, 24:]
    np.testing.assert_array_equal(onehot.sum(axis=1), 2)
    names = ["cell_type", "sm_name"]
    expected = TargetStatisticsEncoder(["mean"], 3).fit_transform(
        screen.X[names], screen.y
    )
    np.testing.assert_array_equal(statistics, expected)


def test_unseen_levels_have_no_one_hot_column(screen):
    encoder = make_condition_encoder(n_components=3).fit(screen.X, screen.y)
    X_new = screen.X[:2].assign(sm_name="new", cell_type="new")
    encoded = encoder.transform(X_new)
    assert (encoded[:, :24] == 0).all()
    np.testing.assert_array_equal(encoded[0], encoded[1])


def test_parameters_reach_the_statistics(screen):
    encoder = make_condition_encoder(
        statistics=["std"], n_components=None, smooth=1.0, cv=3
    )
    inner = {name: step for name, step, _ in encoder.transformers}["statistics"]
    params = inner.get_params()
    assert params["statistics"] == ["std"]
    assert params["n_components"] is None
    assert (params["smooth"], params["cv"]) == (1.0, 3)
    tuned = clone(encoder).set_params(statistics__n_components=2)
    assert tuned.fit(screen.X, screen.y).transform(screen.X).shape[1] == 24 + 2 * 2


def test_schema_names_other_columns(screen):
    X = screen.X.rename(columns={"sm_name": "treatment", "cell_type": "line"})
    schema = PerturbationSchema(perturbation="treatment", context="line")
    expected = make_condition_encoder().fit_transform(screen.X, screen.y)
    found = make_condition_encoder(schema=schema).fit_transform(X, screen.y)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("type_", [int, float, str, object])
def test_labels_are_compared_as_text(screen, type_, tmp_path):
    """Files give codes of wells and compounds as numbers or as text."""
    X = screen.X.assign(**{n: pd.factorize(screen.X[n])[0] for n in screen.X[:0]})
    encoder = make_condition_encoder(n_components=3).fit(X, screen.y)
    expected = encoder.transform(X)
    assert (expected[:, :24].sum(axis=1) == 2).all()
    np.testing.assert_array_equal(encoder.transform(X.astype(type_)), expected)
    refitted = clone(encoder).fit(X.astype(type_), screen.y)
    np.testing.assert_array_equal(refitted.transform(X), expected)
    names = encoder.get_feature_names_out()
    assert refitted.get_feature_names_out().tolist() == names.tolist()
    assert "onehot__cell_type_0" in names
    sklperturb.save(refitted, tmp_path / "m.skpt")
    for again in (
        sklperturb.load(tmp_path / "m.skpt"),
        pickle.loads(pickle.dumps(refitted)),
    ):
        np.testing.assert_array_equal(again.transform(X), expected)
