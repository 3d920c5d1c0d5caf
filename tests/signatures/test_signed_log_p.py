"""Signed -log10 p-values against scipy and high-precision arithmetic."""

import numpy as np
import pytest
from scipy import stats

from sklperturb.signatures import signed_log_p, signed_log_p_from_t, t_from_signed_log_p

DEGREES = [2, 2.5, 7, 20, 100, 420, 1e4, np.inf]


def exact(t, df):
    """-log10 of the two-sided p-value with 50 digits."""
    mp = pytest.importorskip("mpmath")
    with mp.workdps(50):
        t = mp.mpf(t)
        if np.isinf(df):
            return float(-mp.log10(mp.erfc(t / mp.sqrt(2))))
        df, half = mp.mpf(df), mp.mpf(1) / 2
        if t < 1:
            inside = mp.betainc(half, df / 2, 0, t**2 / (df + t**2), regularized=True)
            return float(-mp.log1p(-inside) / mp.log(10))
        tail = mp.betainc(df / 2, half, 0, df / (df + t**2), regularized=True)
        return float(-mp.log10(tail))


@pytest.mark.parametrize("df", DEGREES)
def test_every_digit_from_tiny_to_huge_t(df):
    t = np.array([1e-9, 1e-3, 0.1, 0.7, 0.71, 1, 3, 10, 37, 38, 50, 200, 1000])
    truth = np.array([exact(value, df) for value in t])
    np.testing.assert_allclose(signed_log_p_from_t(t, df), truth, rtol=1e-11)
    np.testing.assert_allclose(signed_log_p_from_t(-t, df), -truth, rtol=1e-11)
    np.testing.assert_allclose(t_from_signed_log_p(truth, df), t, rtol=1e-11)


@pytest.mark.parametrize("df", DEGREES)
def test_round_trip(df):
    t = np.concatenate([[0.0], np.geomspace(1e-6, 1e3, 2000)])
    t = np.concatenate([-t[::-1], t])
    back = t_from_signed_log_p(signed_log_p_from_t(t, df), df)
    np.testing.assert_allclose(back, t, rtol=1e-9)


def test_agrees_with_scipy_where_p_can_be_stored():
    rng = np.random.default_rng(0)
    t, df = rng.normal(scale=5, size=(50, 20)), rng.uniform(2, 500, size=20)
    p = 2 * stats.t.sf(np.abs(t), df)
    response = signed_log_p_from_t(t, df)
    assert response.shape == t.shape
    np.testing.assert_allclose(response, signed_log_p(p, t), rtol=1e-10)
    clipped = signed_log_p_from_t(t, df, clip=4)
    np.testing.assert_array_equal(clipped, np.clip(response, -4, 4))


def test_limits():
    values = np.array([np.inf, -np.inf, np.nan, 0.0])
    for df in (5, np.inf):
        np.testing.assert_array_equal(signed_log_p_from_t(values, df), values)
        np.testing.assert_array_equal(t_from_signed_log_p(values, df), values)
    np.testing.assert_array_equal(
        signed_log_p([0.0, 0.0, 1.0, np.nan, 0.1], [-1, 0, 1, 1, np.nan]),
        [-np.inf, 0.0, 0.0, np.nan, np.nan],
    )
    assert signed_log_p(0.0, -2.0, clip=4) == -4


def test_float32_p_values_are_not_rounded_again():
    p = np.float32([1e-30])
    assert signed_log_p(p, [1]).dtype == np.float64
    assert signed_log_p(p, [1]) == -np.log10(np.float64(p))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: signed_log_p([0.5, 1.5], [1, 1]), r"1 values outside \[0, 1\]"),
        (lambda: signed_log_p([-3.0], [1]), "not yet logarithms"),
        (lambda: signed_log_p([0.5], [1], clip=0), "clip=0 must be a positive"),
        (lambda: signed_log_p_from_t([1.0], 0), "df must be positive"),
        (lambda: t_from_signed_log_p([1.0], np.nan), "df must be positive"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
