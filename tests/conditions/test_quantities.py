"""Doses and times with their units."""

import numpy as np
import pytest

from sklperturb.conditions._quantities import read_doses, read_quantity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 uM", (10, "uM")),
        ("0.05uM", (0.05, "uM")),
        ("50 nM", (0.05, "uM")),
        ("1e-2 mM", (10, "uM")),
        ("3 \u00b5M", (3, "uM")),
        ("3 \u03bcM", (3, "uM")),
        ("2 umol/L", (2, "uM")),
        ("5 micromolar", (5, "uM")),
        (".5M", (5e5, "uM")),
        (" 100 pM ", (1e-4, "uM")),
        ("24h", (24, "h")),
        ("24 hours", (24, "h")),
        ("90 min", (1.5, "h")),
        ("2 days", (48, "h")),
        (b"1 nM", (1e-3, "uM")),
        ("100 ng/ml", None),
        ("1+1", None),
        ("10", None),
        ("0,05 uM", None),
        ("10 um", None),
        ("uM", None),
        ("1-2 uM", None),
    ],
)
def test_quantities(text, expected):
    assert read_quantity(text) == expected


def test_doses():
    doses, converted = read_doses(["10 uM", "50 nM", 0, None, "none", "1 mM"], "x")
    np.testing.assert_array_equal(doses, [10, 0.05, 0, np.nan, np.nan, 1000])
    assert converted
    doses, converted = read_doses([1, "2.5", np.float32(0.5), b"3", np.nan], "x")
    np.testing.assert_array_equal(doses, [1, 2.5, 0.5, 3, np.nan])
    assert not converted


@pytest.mark.parametrize(
    "value", ["100 ng/ml", "1+1", "high", "24h", "-1 uM", "1_000", "0,05", "inf"]
)
def test_what_is_no_dose_is_refused(value):
    with pytest.raises(ValueError, match="x is named as the dose and holds"):
        read_doses([1.0, value], "x")


def test_units_are_given_for_all_or_none():
    with pytest.raises(ValueError, match=r"x holds doses with a unit .* such as '5'"):
        read_doses(["10 uM", "5"], "x")
