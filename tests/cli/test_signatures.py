"""From counts to ranked models, as a user types it."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.datasets import load_op2


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Three cell types, six drugs, two donors; ("T", "d5") was not measured."""
    rng = np.random.default_rng(0)
    n = 3000
    obs = pd.DataFrame(
        {
            "cell_type": rng.choice(["B", "NK", "T"], n),
            "drug": rng.choice(["DMSO", *(f"d{i}" for i in range(6))], n),
            "donor": rng.choice(["1", "2"], n),
        },
        index=[f"c{i}" for i in range(n)],
    )
    obs = obs[~((obs["cell_type"] == "T") & (obs["drug"] == "d5"))]
    rate = rng.uniform(0.5, 3, 40) * np.ones((len(obs), 1))
    for i in range(6):
        rate[(obs["drug"] == f"d{i}").to_numpy(), 3 * i : 3 * i + 3] *= 3
    data = ad.AnnData(sparse.csr_matrix(np.log1p(rate)), obs=obs)
    data.layers["counts"] = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    data.write_h5ad(path)
    return path


OPTIONS = ["--control", "DMSO", "--covariates", "donor", "--layer", "counts"]


def test_what_was_not_measured_is_to_be_predicted(cli, cells, tmp_path):
    done = cli("signatures", cells, "--output", tmp_path / "de", *OPTIONS)
    assert done.stdout.startswith("17 signatures to learn from and 1 to predict, 40")
    assert "40 samples" in done.stderr and "condition + donor" in done.stderr
    screen = load_op2(tmp_path / "de")
    assert screen.X_test[["cell_type", "sm_name"]].to_numpy().tolist() == [["T", "d5"]]
    assert screen.y_test is None
    response = screen.y[(screen.X["sm_name"] == "d1").to_numpy()]
    assert response.iloc[:, 3:6].to_numpy().mean() > 2
    done = cli("signatures", cells, "--output", tmp_path / "de", *OPTIONS, code=2)
    assert "already holds" in done.stderr and "Pass --overwrite" in done.stderr


def test_held_out_conditions_are_answers_only(cli, cells, tmp_path):
    def signatures(name, *options):
        cli("signatures", cells, "--output", tmp_path / name, *OPTIONS, *options)
        return load_op2(tmp_path / name)

    share = signatures("share", "--hold-out-share", 0.25)
    assert len(share.X_test) == 4
    assert share.y_test.notna().all(axis=None)
    assert set(share.X_test["sm_name"]) <= set(share.X["sm_name"])
    pairs = share.X[["cell_type", "sm_name"]].agg(tuple, axis=1)
    held = share.X_test[["cell_type", "sm_name"]].agg(tuple, axis=1)
    assert not set(pairs) & set(held)

    whole = signatures("whole")
    unseen = signatures("unseen", "--hold-out-contexts", "B")
    assert set(unseen.X["cell_type"]) == {"NK", "T"}
    # The answers come from a fit on all samples, with the genes of the training fit.
    answer = whole.y[(whole.X["cell_type"] == "B").to_numpy()][unseen.target_names]
    assert np.corrcoef(answer.to_numpy().ravel(), unseen.y_test.to_numpy().ravel())[
        0, 1
    ] == pytest.approx(1)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--control", "water"], "none is one of the labels ['water']"),
        (["--hold-out-contexts", "liver"], "['liver'] are not in 'cell_type'"),
        (["--hold-out-share", "0.9"], "can be held out with every perturbation"),
        (["--covariates", "plate"], "--covariates ['plate']: obs has no ['plate']"),
        (["--perturbation", "guide"], "--perturbation 'guide' is no column"),
        (["--groupby", "guide"], "must name columns of obs"),
        (["--method", "edgeR"], "'edgeR' is not one of 'voom', 'trend'"),
    ],
)
def test_bad_options(cli, cells, tmp_path, options, message):
    output = ["--output", tmp_path / "de"]
    done = cli("signatures", cells, *output, *OPTIONS, *options, code=2)
    assert message in done.stderr
    assert not (tmp_path / "de").exists()


def test_counts_to_ranked_models_on_kang(cli, shared_data, tmp_path):
    path = shared_data("kang18_ifnb") / "kang18_ifnb.h5ad"
    folder, results = tmp_path / "kang", tmp_path / "results"
    cli(
        *["signatures", path, "--groupby", "cluster_id,group_id,donor"],
        *["--context", "cluster_id", "--perturbation", "group_id", "--control", "ctrl"],
        *["--covariates", "donor", "--hold-out-contexts", "B cells"],
        *["--output", folder],
    )
    models = "no_change,perturbation_mean,product_kernel"
    cli("leaderboard", "--data", folder, "--models", models, "--output", results)
    table = pd.read_csv(results / "leaderboard.csv").set_index("model")["mean"]
    assert table["perturbation_mean"] < 0.7 * table["no_change"]
