"""Signatures that were written are the signatures that are read."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from sklperturb.datasets import (
    PerturbationSchema,
    load_op2,
    make_chemical_screen,
    write_screen,
    write_signatures,
)

SCHEMA = PerturbationSchema("agent", context="line", smiles="smi", dose="uM")


@pytest.fixture
def signatures():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "line": ["K562", "K562", "A549"],
            "agent": pd.Categorical(["a", "b", "a"]),
            "smi": ["CC", None, "CC"],
            "uM": [1.0, 2.0, 1.0],
            "n_cells": [3, 4, 5],
        },
        index=["1", "2", "3"],
    )
    layers = {
        "clipped_sign_log10_pval": rng.normal(size=(3, 6)),
        "logFC": rng.normal(size=(3, 6)),
    }
    var = pd.DataFrame(index=[f"G{i}" for i in range(6)])
    return ad.AnnData(obs=obs, var=var, layers=layers)


def made(signatures, to_predict, test=None):
    return Bunch(signatures=signatures, to_predict=to_predict, test=test, schema=SCHEMA)


def test_round_trip(signatures, tmp_path):
    train, test = signatures[:2].copy(), signatures[2:].copy()
    folder = write_signatures(tmp_path / "new", made(train, test.obs, test))
    screen = load_op2(folder)
    assert screen.schema.context == "cell_type"
    assert screen.schema.perturbation == "sm_name"
    np.testing.assert_array_equal(screen.y, train.layers["clipped_sign_log10_pval"])
    np.testing.assert_array_equal(screen.y_test, test.layers["clipped_sign_log10_pval"])
    assert screen.X_test["SMILES"].tolist() == ["CC"]
    assert screen.X["dose_uM"].tolist() == [1.0, 2.0]
    other = load_op2(folder, layer="logFC")
    np.testing.assert_array_equal(other.y, train.layers["logFC"])
    assert not list(folder.glob(".unfinished*"))


def test_overwriting(signatures, tmp_path):
    test = signatures[2:].copy()
    write_signatures(tmp_path, made(signatures, test.obs, test))
    with pytest.raises(FileExistsError, match="already holds"):
        write_signatures(tmp_path, made(signatures, test.obs))
    write_signatures(tmp_path, made(signatures, test.obs), overwrite=True)
    assert not (tmp_path / "de_test.h5ad").exists()
    write_signatures(tmp_path, made(signatures, test.obs[:0]), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["de_train.h5ad"]


def test_bad_input(signatures, tmp_path):
    with pytest.raises(ValueError, match="'line', which X"):
        write_signatures(tmp_path / "x", made(signatures, signatures.obs[["agent"]]))
    assert not (tmp_path / "x").exists()
    screen = make_chemical_screen(3, 6, 4, random_state=0)
    folder = write_screen(tmp_path / "kaggle", screen)
    with pytest.raises(FileExistsError, match="Kaggle layout"):
        write_signatures(folder, made(signatures, signatures.obs), overwrite=True)


def test_pairs_of_genes_stay_pairs(tmp_path):
    obs = pd.DataFrame(
        {"gene": ["A", "A+B", "B"], "sm_name": "none"}, index=["1", "2", "3"]
    )
    layers = {"clipped_sign_log10_pval": np.eye(3)}
    screen = Bunch(
        signatures=ad.AnnData(obs=obs, layers=layers),
        to_predict=pd.DataFrame({"gene": ["B+C"]}),
        test=None,
        schema=PerturbationSchema("gene"),
    )
    read = load_op2(write_signatures(tmp_path, screen))
    assert read.schema.perturbation == "target_gene"
    assert read.schema.labels_combine
    assert read.X["target_gene"].tolist() == ["A", "A+B", "B"]
    assert read.X_test["target_gene"].tolist() == ["B+C"]


@pytest.mark.parametrize(
    ("doses", "unit", "expected"),
    [
        ([50, 1000, 0], "nM", ["dose_uM", 0.05, 1, 0]),
        (["50 nM", "1 uM", "0"], None, ["dose_uM", 0.05, 1, 0]),
        ([50, 1000, 0], "ug/ml", ["dose", 50, 1000, 0]),
    ],
)
def test_doses_are_written_with_the_unit_they_have(
    signatures, tmp_path, doses, unit, expected
):
    signatures.obs = signatures.obs.drop(columns="uM").assign(dose=doses)
    if unit:
        signatures.obs["dose_unit"] = pd.Categorical([unit] * 3)
    screen = made(signatures, signatures.obs, signatures)
    screen["schema"] = PerturbationSchema("agent", context="line", dose="dose")
    write_signatures(tmp_path, screen)
    for name in ("de_train", "de_test"):
        obs = ad.read_h5ad(tmp_path / f"{name}.h5ad").obs
        assert obs[expected[0]].tolist() == expected[1:]
        assert set(obs.get("dose_unit", ["uM"])) == {unit if unit == "ug/ml" else "uM"}
    read = load_op2(tmp_path)
    assert read.schema.dose == expected[0]
    assert read.X[expected[0]].tolist() == expected[1:]
    assert read.X_test[expected[0]].tolist() == expected[1:]
