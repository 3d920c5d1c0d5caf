"""One-hot columns and target statistics, side by side."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

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
