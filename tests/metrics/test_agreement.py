"""The golden numbers are those of cell-eval 0.8.2, given the same cells."""

import sys

import numpy as np
import pandas as pd
import pytest

from sklperturb.metrics import clustering_agreement, energy_distance_correlation


@pytest.fixture(scope="module")
def sides():
    """Measured and predicted cells of 45 perturbations in five groups."""
    rng = np.random.default_rng(0)
    names = np.array(["ctrl", *(f"P{i:02}" for i in range(45))])
    centres = rng.gamma(2, 1, (5, 12))[np.arange(46) % 5] + rng.random((46, 12))
    cells = []
    for noise in (0.2, 5):
        own = centres + noise * rng.random(centres.shape)
        own = np.repeat(own, 4, axis=0) + 0.2 * rng.random((184, 12))
        cells.append(pd.DataFrame(own.astype(np.float32), index=np.repeat(names, 4)))
    return cells


def bulks(cells):
    return cells.astype(float).groupby(level=0).mean()


def test_energy_distances_correlate_as_in_cell_eval(sides):
    first, second = sides
    found = energy_distance_correlation(
        first, second, first.index, control="ctrl", max_cells=None
    )
    assert found == pytest.approx(0.8298350112459755, abs=1e-6)


def test_clusters_agree_as_in_cell_eval(sides):
    pytest.importorskip("scanpy")
    first, second = (bulks(side) for side in sides)
    found = clustering_agreement(first, second, control="ctrl")
    assert found == pytest.approx(0.685316900839346, abs=1e-9)
    shuffled = first.sample(frac=1, random_state=0)
    assert clustering_agreement(shuffled, second, control="ctrl") == found


def test_large_populations_are_sub_sampled_in_a_repeatable_way(sides):
    first, second = sides

    def correlate(**options):
        return energy_distance_correlation(
            first, second, first.index, control="ctrl", **options
        )

    found = correlate(max_cells=2)
    assert found == correlate(max_cells=2)
    assert len({correlate(max_cells=2, random_state=seed) for seed in range(5)}) > 1
    assert found != correlate(max_cells=None)
    # Four cells a perturbation: nothing to leave out.
    assert correlate(max_cells=4) == pytest.approx(correlate(max_cells=None))


def test_equal_strengths_have_no_correlation():
    cells, labels = [[0.0], [1.0], [1.0]], ["ctrl", "A", "B"]
    assert np.isnan(energy_distance_correlation(cells, cells, labels, control="ctrl"))


def test_bad_input(sides):
    first, second = sides
    with pytest.raises(ValueError, match="control='water' is not among"):
        energy_distance_correlation(first, second, first.index, control="water")
    other = first.index.str.replace("P44", "P99")
    with pytest.raises(ValueError, match=r"same conditions.*\['P44'\].*\['P99'\]"):
        energy_distance_correlation(first, second, first.index, other, control="ctrl")
    with pytest.raises(ValueError, match="a correlation needs two"):
        energy_distance_correlation(
            first[:8], second[:8], first.index[:8], control="ctrl"
        )
    with pytest.raises(ValueError, match=r"same perturbations, .* 45 and 44"):
        clustering_agreement(bulks(first), bulks(second)[1:], control="ctrl")
    with pytest.raises(ValueError, match="clusters need three"):
        clustering_agreement(bulks(first)[:2], bulks(second)[:2], control="ctrl")


def test_says_what_to_install(sides, monkeypatch):
    monkeypatch.setitem(sys.modules, "scanpy", None)
    with pytest.raises(ImportError, match=r"sklperturb\[cluster\]"):
        clustering_agreement(bulks(sides[0]), bulks(sides[1]), control="ctrl")
