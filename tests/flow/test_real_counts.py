"""Generated counts of a real screen: controls come back, and called genes are kept."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sklperturb.cells import log_normalise, perturb_counts
from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import load_perturbseq
from sklperturb.evaluation import wilcoxon_de
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor

SCHEMA = PerturbationSchema(
    "group_id", context="cluster_id", batch="donor", control_labels=("ctrl",)
)


@pytest.fixture(scope="module")
def kang(shared_data):
    """Return the cells of Kang et al. with raw counts, one row a cell."""
    cells = ad.read_h5ad(shared_data("kang18_ifnb") / "kang18_ifnb.h5ad")
    return cells[np.random.default_rng(0).permutation(cells.n_obs)].copy()


def fit(cells, **parameters):
    screen = load_perturbseq(cells, SCHEMA)
    flow = FlowMatchingRegressor(
        max_steps=5, hidden_dim=16, random_state=0, **parameters
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = CellScreenModel(n_components=15, flow=flow, schema=screen.schema)
        return model.fit(screen.X, screen.y)


@pytest.fixture(scope="module")
def model(kang):
    return fit(kang, mean_estimator="shift")


def of(cells, kind, group=None):
    chosen = (cells.obs["cluster_id"] == kind).to_numpy()
    if group is not None:
        chosen &= (cells.obs["group_id"] == group).to_numpy()
    return cells.X[np.flatnonzero(chosen)].toarray()


def bulk(counts):
    return np.log1p(1e4 * counts.sum(axis=0) / counts.sum())


def called(cells, controls, below=None):
    """Return which genes differ, at 5 % false discoveries or at a p-value."""
    labels = np.repeat(["cells", "ctrl"], [len(cells), len(controls)])
    logs = log_normalise(np.vstack([cells, controls]))
    obs = pd.DataFrame({"g": labels}, index=np.arange(len(labels)).astype(str))
    table = wilcoxon_de(ad.AnnData(logs, obs), "g", control="ctrl")
    return (table["p_adj"] < 0.05 if below is None else table["p_value"] < below).values


def test_controls_come_back(kang, model):
    n_controls = int((kang.obs["group_id"] == "ctrl").sum())
    for number, bound in ((n_controls, 1e-6), (3 * n_controls, 1e-6)):
        made = model.predict(["ctrl"], number)
        for kind in kang.obs["cluster_id"].unique():
            measured, again = of(kang, kind, "ctrl"), of(made, kind)
            logs = [log_normalise(c).mean(axis=0) for c in (measured, again)]
            assert np.abs(bulk(again) - bulk(measured)).max() < max(bound, 0.02)
            assert np.abs(logs[0] - logs[1]).max() < 0.02
            assert abs((again == 0).mean() - (measured == 0).mean()) < 0.01


def test_halves_of_controls_differ_at_the_nominal_rate(kang):
    """One half is generated: as controls, and as a perturbation that does nothing."""
    half = np.arange(kang.n_obs) % 2 == 0
    control = (kang.obs["group_id"] == "ctrl").to_numpy()
    made = fit(kang[half | ~control].copy(), mean_estimator="shift")
    generated = made.predict(["ctrl"], int((half & control).sum()))
    nothing = kang[control].copy()
    # A quarter of the controls under another name is what the flow learns from.
    names = np.where(np.arange(nothing.n_obs) % 4 == 1, "nothing", "ctrl")
    nothing.obs["group_id"] = names
    learnt = fit(
        nothing[np.arange(nothing.n_obs) % 4 < 2].copy(), mean_estimator="auto"
    )
    rest = nothing[np.arange(nothing.n_obs) % 4 > 1]
    as_perturbed = learnt.predict(["never seen"], 200)
    rates = []
    for kind in kang.obs["cluster_id"].unique():
        other = of(kang[~half & control], kind)
        shown = other.mean(axis=0) > 0.05
        rates += [called(of(generated, kind), other, 0.05)[shown].mean()]
        rates += [called(of(as_perturbed, kind), of(rest, kind), 0.05)[shown].mean()]
    assert np.mean(rates) < 0.07 and np.max(rates) < 0.13, rates


def test_called_genes_are_kept_at_the_true_effect(kang):
    for kind in kang.obs["cluster_id"].unique():
        controls, treated = of(kang, kind, "ctrl"), of(kang, kind, "stim")
        shares = [(c.sum(axis=0) + 0.5) / c.sum() for c in (treated, controls)]
        made = perturb_counts(controls, np.log(shares[0] / shares[1]), random_state=0)
        error, of_controls = (
            np.sqrt(np.square(bulk(c) - bulk(treated)).mean()) for c in (made, controls)
        )
        assert error < 0.25 * of_controls  # what is left is the noise of drawing
        found, truth = called(made, controls), called(treated, controls)
        assert (found & truth).sum() > 0.65 * (found | truth).sum()
        # Zeros, where sizes of cells do not differ between the two.
        depth = controls.sum(axis=1).mean() / treated.sum(axis=1).mean()
        if abs(depth - 1) < 0.05:
            assert abs((made == 0).mean() - (treated == 0).mean()) < 0.01


def test_called_genes_are_kept_through_the_model(kang, model):
    """A measured perturbation, through the latent space; better than the controls."""
    made = model.predict(["stim"], 1500)
    for kind in ("CD14+ Monocytes", "CD4 T cells"):
        controls, treated = of(kang, kind, "ctrl"), of(kang, kind, "stim")
        cells = of(made, kind)[: len(treated)]
        found, truth = called(cells, controls), called(treated, controls)
        assert (found & truth).sum() > 0.6 * truth.sum()
        high = controls.mean(axis=0) > 0.05
        error, of_controls = (
            np.sqrt(np.square(bulk(c) - bulk(treated))[high].mean())
            for c in (cells, controls)
        )
        assert error < 0.6 * of_controls
