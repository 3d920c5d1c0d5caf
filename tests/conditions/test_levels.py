import numpy as np
import pandas as pd

from sklperturb.conditions._levels import (
    LevelEncoder,
    level_means,
    number_levels,
    take_levels,
)


def test_levels_are_numbered_by_their_text():
    codes, levels = number_levels(["b", 10, None, 9, "b", np.nan])
    assert levels.tolist() == [10, 9, "b"]
    assert codes.tolist() == [2, 0, -1, 1, 2, -1]


def test_encoder_knows_unseen_levels():
    table = np.array([["B", 2], ["A", 1], ["B", ("x", 1)]], dtype=object)
    encoder = LevelEncoder().fit(table)
    assert encoder.categories_[0].tolist() == ["A", "B"]
    new = np.array([["B", 1], ["C", ("x", 1)]], dtype=object)
    assert encoder.transform(new).tolist() == [[1, 1], [-1, 0]]


def test_means_of_levels():
    rng = np.random.default_rng(0)
    codes, y = rng.integers(-1, 4, 50), rng.normal(size=(50, 3))
    means, counts = level_means(codes, 6, y)
    expected = pd.DataFrame(y).groupby(codes).mean().loc[0:3]
    np.testing.assert_allclose(means[:4], expected)
    assert not means[4:].any()
    assert counts.sum() == (codes >= 0).sum()
    assert take_levels(means, np.array([-1]), 7.0).tolist() == [[7.0] * 3]
