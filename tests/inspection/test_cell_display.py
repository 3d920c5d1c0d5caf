"""The first look at a screen of single cells."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from sklperturb.datasets import load_perturbseq, make_genetic_screen
from sklperturb.inspection import CellScreenDisplay


@pytest.fixture(scope="module")
def genetic():
    return make_genetic_screen(
        12,
        80,
        cells_per_perturbation=60,
        n_controls=300,
        embedding_dim=8,
        random_state=0,
    )


def test_numbers_are_those_of_the_cells(genetic):
    display = CellScreenDisplay.from_screen(genetic)
    counts = genetic.y.X.toarray()
    np.testing.assert_allclose(display.counts_per_cell, counts.sum(axis=1))
    np.testing.assert_allclose(display.counts_per_gene, counts.sum(axis=0))
    values = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    control = values[genetic.is_control]
    table = display.perturbations
    assert table["distance"].is_monotonic_decreasing
    for name in table.index[:3]:
        own = values[(genetic.X["target_gene"] == name).to_numpy()]
        distance = np.linalg.norm(own.mean(axis=0) - control.mean(axis=0))
        assert table.loc[name, "distance"] == pytest.approx(distance, rel=1e-4)
        assert table.loc[name, "cells"] == len(own)
        noise = control.var(axis=0, ddof=1).sum() * (1 / len(own) + 1 / len(control))
        assert table.loc[name, "noise"] == pytest.approx(np.sqrt(noise), rel=1e-3)
    strength = genetic.effects.pow(2).mean(axis=1)
    assert table["distance"].corr(strength, method="spearman") > 0.6


def test_noise_is_the_distance_of_perturbations_that_do_nothing():
    null = make_genetic_screen(
        20,
        80,
        cells_per_perturbation=40,
        n_controls=400,
        embedding_dim=8,
        effect_strength=0.0,
        escaper_fraction=1.0,
        random_state=0,
    )
    table = CellScreenDisplay.from_screen(null).perturbations
    assert (table["distance"] / table["noise"]).median() == pytest.approx(1, abs=0.15)


def test_plot(genetic, pyplot):
    display = CellScreenDisplay.from_screen(genetic)
    assert display.plot() is display
    assert len(display.axes_) == 4
    assert display.axes_[0].get_xlabel() == "counts per cell"
    assert display.axes_[3].get_ylabel() == "distance of centroids"
    _, axes = pyplot.subplots(1, 4)
    assert display.plot(axes).figure_ is axes[0].figure


def test_real_cells(shared_data):
    screen = load_perturbseq(shared_data("norman_mcfaline") / "devel.h5ad")
    table = CellScreenDisplay.from_screen(screen).perturbations
    # KLF1 and CEBPE are known as the strongest activations in K562.
    assert table.index[:3].str.contains("KLF1|CEBPE|FOXL2|CBL|CNN1").any()


def test_controls_are_needed(genetic):
    screen = Bunch(**genetic)
    screen.is_control = np.zeros(len(genetic.X), dtype=bool)
    with pytest.raises(ValueError, match="No cell is a control"):
        CellScreenDisplay.from_screen(screen)
