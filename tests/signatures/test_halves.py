"""Halves of the cells of each sample, and how noisy signatures are by them."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sklperturb.inspection import noise_ceiling
from sklperturb.metrics import get_metric
from sklperturb.signatures import DifferentialSignatures, signature_halves

N_DRUGS, N_GENES, N_CELLS = 16, 150, 60


def make_cells(change, rng):
    """Return Poisson counts of cells from two donors, and a control."""
    obs = pd.MultiIndex.from_product(
        [["DMSO", *(f"d{i}" for i in range(N_DRUGS))], ["1", "2"], range(N_CELLS)],
        names=["drug", "donor", "cell"],
    ).to_frame(index=False)
    rate = 4 * np.exp(np.vstack([np.zeros(N_GENES), change]))
    of = np.repeat(np.arange(N_DRUGS + 1), 2 * N_CELLS)
    obs.index = obs.index.astype(str)
    return ad.AnnData(rng.poisson(rate[of]).astype(np.float32), obs=obs)


@pytest.fixture(scope="module")
def change():
    rng = np.random.RandomState(0)
    size = rng.lognormal(-3.2, 0.4, (N_DRUGS, 1))
    return rng.normal(size=(N_DRUGS, N_GENES)) * size


@pytest.fixture(scope="module")
def model():
    return DifferentialSignatures(control="DMSO")


@pytest.fixture(scope="module")
def found(change, model):
    cells = make_cells(change, np.random.RandomState(1))
    return signature_halves(cells, ["drug", "donor"], model=model)


def test_the_whole_is_that_of_all_cells(change, model, found):
    cells = make_cells(change, np.random.RandomState(1))
    for response in ("logFC", "t"):
        again = signature_halves(
            cells, ["drug", "donor"], model=model, response=response
        )
        mean = (again.halves[0] + again.halves[1]) / 2
        assert np.corrcoef(mean.to_numpy().ravel(), again.y.to_numpy().ravel())[0, 1]
        slope = np.vdot(mean, again.y) / np.vdot(mean, mean)
        assert slope == pytest.approx(1, abs=0.03)
        assert again.y.shape == again.halves[0].shape == again.halves[1].shape
    assert found.X["drug"].tolist() == sorted(f"d{i}" for i in range(N_DRUGS))


def test_halves_hold_different_cells_of_one_number(change, model):
    cells = make_cells(change, np.random.RandomState(1))
    cells = cells[np.r_[0 : cells.n_obs - 1]].copy()  # an odd one out
    first = signature_halves(cells, ["drug", "donor"], model=model)
    again = signature_halves(cells, ["drug", "donor"], model=model)
    other = signature_halves(cells, ["drug", "donor"], model=model, random_state=1)
    assert first.halves[0].equals(again.halves[0])
    assert not first.halves[0].equals(other.halves[0])
    assert first.y.equals(other.y)
    assert not first.halves[0].equals(first.halves[1])


@pytest.mark.parametrize("name", ["mrrmse", "pearson", "spearman"])
@pytest.mark.parametrize("response", ["logFC", "clipped_sign_log10_pval"])
def test_the_ceiling_is_what_the_mean_of_many_screens_scores(
    change, model, name, response
):
    metric = get_metric(name)
    screens = [
        signature_halves(
            make_cells(change, np.random.RandomState(seed)),
            ["drug", "donor"],
            model=model,
            response=response,
        )
        for seed in range(8)
    ]
    all_y = np.stack([screen.y.to_numpy() for screen in screens])
    scores, values = [], []
    for i, screen in enumerate(screens):
        others = np.delete(all_y, i, axis=0).mean(axis=0)
        scores.append(metric.row_function(all_y[i], others).mean())
        values.append(
            noise_ceiling(
                screen.X, screen.y, scoring=name, halves=screen.halves, n_resamples=10
            ).value
        )
    score, value = np.mean(scores), np.mean(values)
    # The mean of seven others has noise of its own, a seventh.
    if metric.greater_is_better:
        squared = score**2
        score = np.sqrt((6 * squared + np.sqrt(36 * squared**2 + 28 * squared)) / 14)
    else:
        score *= np.sqrt(7 / 8)
    print(name, response, value / score - 1)
    limits = (-0.06, 0.1) if response == "logFC" else (-0.12, 0.12)
    assert limits[0] < value / score - 1 < limits[1]


def test_a_file_and_a_sample_of_one_cell(change, model, tmp_path):
    cells = make_cells(change, np.random.RandomState(1))
    cells.write_h5ad(tmp_path / "cells.h5ad")
    kept = signature_halves(tmp_path / "cells.h5ad", ["drug", "donor"], model=model)
    direct = signature_halves(cells, ["drug", "donor"], model=model)
    pd.testing.assert_frame_equal(kept.halves[1], direct.halves[1])
    with pytest.raises(ValueError, match="min_cells=500"):
        signature_halves(cells, ["drug", "donor"], model=model, min_cells=500)
