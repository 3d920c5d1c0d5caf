"""Which conditions are learnt from, and which are to be predicted."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import load_op2, write_signatures
from sklperturb.signatures import (
    DifferentialSignatures,
    Pseudobulk,
    make_signature_screen,
)

GROUPBY = ["line", "drug", "donor"]
SCHEMA = PerturbationSchema("drug", context="line")


@pytest.fixture(scope="module")
def cells():
    grid = pd.MultiIndex.from_product(
        [["A", "B", "C"], ["DMSO", "d1", "d2", "d3"], ["1", "2"], range(12)],
        names=[*GROUPBY, "cell"],
    )
    obs = grid.to_frame(index=False).astype(str)
    obs.index = obs.index.astype(str)
    counts = np.random.default_rng(0).poisson(5.0, (len(obs), 20))
    return ad.AnnData(counts.astype(float), obs=obs)


def make(cells, **options):
    options = {"schema": SCHEMA, "control": "DMSO"} | options
    return make_signature_screen(cells, GROUPBY, **options)


def test_missing_pairs_are_to_be_predicted(cells, caplog):
    measured = cells[~((cells.obs["line"] == "C") & (cells.obs["drug"] == "d2"))]
    with caplog.at_level(logging.INFO, logger="sklperturb"):
        screen = make(measured, covariates=["donor"])
    assert screen.to_predict.to_dict("list") == {"line": ["C"], "drug": ["d2"]}
    assert screen.test is None
    assert screen.DESCR == "8 signatures to learn from and 1 to predict, 20 genes"
    assert caplog.messages == [
        "22 samples of 264 cells; log counts ~ condition + donor"
    ]
    samples = Pseudobulk(GROUPBY, min_cells=10).fit_transform(measured)
    model = DifferentialSignatures(SCHEMA, control="DMSO", covariates=["donor"])
    expected = model.fit_transform(samples).X
    np.testing.assert_array_equal(screen.signatures.X, expected)


def test_samples_are_made_by_the_roles_of_the_schema(cells):
    schema = PerturbationSchema("drug", context="line", replicate="donor")
    options = {"control": "DMSO", "hold_out_contexts": ["B"], "schema": schema}
    found = make_signature_screen(cells, **options)
    expected = make_signature_screen(cells, GROUPBY, **options)
    np.testing.assert_array_equal(found.signatures.X, expected.signatures.X)


def test_held_out_samples_do_not_enter_the_training_fit(cells):
    screen = make(cells, hold_out_contexts=["B"])
    alone = make(cells[cells.obs["line"] != "B"], hold_out_contexts=["C"])
    assert set(screen.signatures.obs["line"]) == {"A", "C"}
    assert set(screen.test.obs["line"]) == {"B"}
    pd.testing.assert_frame_equal(screen.to_predict, screen.test.obs[["line", "drug"]])
    assert set(alone.signatures.obs["line"]) == {"A"}
    changed = cells.copy()
    changed.X[(changed.obs["line"] == "B").to_numpy(), :5] *= 3
    again = make(changed, hold_out_contexts=["B"])
    np.testing.assert_array_equal(again.signatures.X, screen.signatures.X)
    assert not np.allclose(again.test.X, screen.test.X)


@pytest.mark.parametrize("kind", [int, float, str])
def test_contexts_are_named_as_text(cells, kind):
    coded = cells.copy()
    coded.obs["line"] = cells.obs["line"].map({"A": 1, "B": 2, "C": 3}).astype(kind)
    expected = make(cells, hold_out_contexts=["B"])
    for name in (2, 2.0, "2", np.int64(2)):
        screen = make(coded, hold_out_contexts=[name])
        np.testing.assert_array_equal(screen.signatures.X, expected.signatures.X)
        np.testing.assert_array_equal(screen.test.X, expected.test.X)
    with pytest.raises(ValueError, match=r"hold_out_contexts=\[1, 2, '3'\] are all"):
        make(coded, hold_out_contexts=[1, 2, "3"])
    with pytest.raises(TypeError, match=r"is a string; .* hold_out_contexts=\['2'\]"):
        make(coded, hold_out_contexts="2")


def test_share_is_drawn_by_the_seed(cells):
    first, same, other = (
        make(cells, hold_out_share=0.3, random_state=seed) for seed in (0, 0, 1)
    )
    pairs = [set(s.to_predict.agg(tuple, axis=1)) for s in (first, same, other)]
    assert len(pairs[0]) == 3
    assert pairs[0] == pairs[1] != pairs[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Pass hold_out_contexts or hold_out_share"),
        ({"hold_out_contexts": ["A", "B", "C"]}, "are all contexts"),
        ({"hold_out_contexts": ["D"]}, r"\['D'\] are not in 'line'"),
        ({"hold_out_share": 0.95}, "hold_out_share=0.95 must be from 0 to 0.9"),
        ({"hold_out_share": 0.9}, "can be held out with every perturbation"),
        ({"method": "edgeR"}, "The 'method' parameter of Diff"),
        ({"min_cells": 100}, "100"),
        (
            {"schema": PerturbationSchema("drug"), "hold_out_contexts": ["A"]},
            "names no context column",
        ),
    ],
)
def test_bad_requests(cells, options, message):
    with pytest.raises(ValueError, match=message):
        make(cells, **options)


def test_cells_without_a_label_are_refused(cells):
    unlabelled = cells.copy()
    unlabelled.obs["drug"] = cells.obs["drug"].replace("d2", "")
    for held in ([], ["B"]):
        with pytest.raises(ValueError, match=r"samples, .* an empty label in 'drug'"):
            make(unlabelled, hold_out_contexts=held)


@pytest.mark.parametrize("context", [None, "line"])
def test_one_context_leaves_nothing_to_predict(cells, context, tmp_path):
    line = cells[cells.obs["line"] == "A"].copy()
    schema = PerturbationSchema("drug", context=context)
    screen = make(line, schema=schema)
    assert screen.to_predict.shape == (0, 1 + bool(context)) and screen.test is None
    write_signatures(tmp_path, screen)
    assert [path.name for path in tmp_path.iterdir()] == ["de_train.h5ad"]
    found = load_op2(tmp_path)
    assert len(found.X) == screen.signatures.n_obs and len(found.X_test) == 0


def test_share_is_not_advised_where_it_cannot_be_had(cells):
    single = cells[cells.obs["drug"].isin(["DMSO", "d1"])]
    with pytest.raises(ValueError, match=r"Pass hold_out_contexts\.$"):
        make(single)
