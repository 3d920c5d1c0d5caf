"""The first look at a screen of single cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
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


def one_batch(screen):
    """Return a screen without its column of batches."""
    return Bunch(**{**screen, "schema": replace(screen.schema, batch=None)})


def logarithms(screen):
    counts = screen.y.X.toarray()
    return np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))


def test_numbers_are_those_of_the_cells(genetic, pyplot):
    display = CellScreenDisplay.from_screen(one_batch(genetic))
    counts = genetic.y.X.toarray()
    np.testing.assert_allclose(display.per_cell, counts.sum(axis=1))
    np.testing.assert_allclose(display.per_gene, counts.sum(axis=0))
    values = logarithms(genetic)
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
    assert display.reference == "all controls"


def test_controls_are_those_of_the_batch(genetic, pyplot):
    display = CellScreenDisplay.from_screen(genetic)
    values, batch = logarithms(genetic), genetic.X["batch"].to_numpy()
    name = display.perturbations.index[0]
    own = (genetic.X["target_gene"] == name).to_numpy()
    reference, from_cells, from_controls = 0, 0, 0
    for level in np.unique(batch[own]):
        control = values[genetic.is_control & (batch == level)]
        variance = control.var(axis=0, ddof=1).sum()
        share = (batch[own] == level).mean()
        reference = reference + share * control.mean(axis=0)
        from_cells += share * variance / own.sum()
        from_controls += share**2 * variance / len(control)
    row = display.perturbations.loc[name]
    distance = np.linalg.norm(values[own].mean(axis=0) - reference)
    assert row["distance"] == pytest.approx(distance, rel=1e-4)
    assert row["noise"] == pytest.approx(np.sqrt(from_cells + from_controls), rel=1e-3)
    assert display.axes_[3].get_title(loc="left") == "From controls of the same batch"


def in_two_lines(genetic, shift=3.0, controls_in_b=True):
    """Return the screen in two cell lines, the second of which expresses more."""
    X = genetic.X.assign(cell_line=np.where(np.arange(len(genetic.X)) % 2, "A", "B"))
    in_b = (X["cell_line"] == "B").to_numpy()
    is_control = genetic.is_control & (controls_in_b | ~in_b)
    keep = is_control | ~genetic.is_control
    values = logarithms(genetic) + shift * in_b[:, None]
    schema = replace(genetic.schema, context="cell_line", batch=None)
    return Bunch(
        X=X[keep].reset_index(drop=True),
        y=pd.DataFrame(values[keep], columns=genetic.y.var_names),
        is_control=is_control[keep],
        schema=schema,
    )


def test_cell_lines_are_no_effects(genetic, pyplot):
    flat = CellScreenDisplay.from_screen(in_two_lines(genetic, shift=0.0))
    apart = CellScreenDisplay.from_screen(in_two_lines(genetic, shift=3.0))
    key = ["context", "target_gene"]
    expected, found = (
        d.perturbations.reset_index().sort_values(key) for d in (flat, apart)
    )
    np.testing.assert_allclose(found["distance"], expected["distance"], rtol=1e-6)
    np.testing.assert_allclose(found["noise"], expected["noise"], rtol=1e-4)
    assert set(found["context"]) == {"A", "B"} and not found["pooled"].any()
    labels = [t.get_text() for t in apart.axes_[3].get_legend().get_texts()]
    assert sorted(labels) == ["A", "B", "if it did nothing"]


def test_pooled_controls_are_warned_of(genetic, pyplot):
    screen = in_two_lines(genetic, controls_in_b=False)
    with pytest.warns(
        UserWarning, match=r"1 of 2 levels of 'cell_line' .* 'B'.*pooled"
    ):
        display = CellScreenDisplay.from_screen(screen)
    table = display.perturbations
    pooled = table["context"] == "B"
    assert (table["pooled"] == pooled).all()
    assert table.loc[pooled, "distance"].min() > table.loc[~pooled, "distance"].max()
    assert "not 50% of cells" in display.axes_[3].get_title(loc="left")


def test_batches_without_controls_take_those_of_their_context(genetic, pyplot):
    screen = in_two_lines(genetic)
    batch = np.where(screen.is_control, "plate 1", "plate 2")
    screen.X = screen.X.assign(batch=batch)
    expected = CellScreenDisplay.from_screen(screen).perturbations
    screen.schema = replace(screen.schema, batch="batch")
    with pytest.warns(UserWarning, match=r"'plate 2'.*all batches of their context"):
        found = CellScreenDisplay.from_screen(screen).perturbations
    np.testing.assert_allclose(found["distance"], expected["distance"])
    assert (found["pooled"] == 1).all()


@pytest.mark.parametrize(
    "change, label",
    [
        (lambda v: v, "sum of logarithms per cell"),
        (lambda v: v - 1, "sum of values per cell"),
        (lambda v: 100 * v, "sum of normalised values per cell"),
    ],
)
def test_axes_say_what_was_added_up(genetic, pyplot, change, label):
    screen = Bunch(**{**genetic, "y": pd.DataFrame(change(logarithms(genetic)))})
    display = CellScreenDisplay.from_screen(screen)
    assert display.axes_[0].get_xlabel() == label


def test_noise_is_the_distance_of_perturbations_that_do_nothing(pyplot):
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
    assert len(display.axes_) == 4
    assert display.axes_[0].get_xlabel() == "counts per cell"
    assert display.axes_[3].get_ylabel() == "distance of centroids"
    points = display.axes_[3].lines[1].get_ydata()
    np.testing.assert_allclose(points, display.perturbations["distance"])
    _, axes = pyplot.subplots(1, 4)
    assert display.plot(axes) is display
    assert display.figure_ is axes[0].figure


def test_real_cells(shared_data, pyplot):
    screen = load_perturbseq(shared_data("norman_mcfaline") / "devel.h5ad")
    table = CellScreenDisplay.from_screen(screen).perturbations
    # Pooled, the controls of four lines are 7 to 9 away from each glioma line.
    assert table["distance"].max() < 4
    assert table["distance"].iloc[0] > 8 * table["noise"].iloc[0]
    assert set(table["context"].iloc[:4]) == {"k562"}


def test_controls_are_needed(genetic):
    screen = Bunch(**genetic)
    screen.is_control = np.zeros(len(genetic.X), dtype=bool)
    with pytest.raises(ValueError, match="No cell is a control"):
        CellScreenDisplay.from_screen(screen)
