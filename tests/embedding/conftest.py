import os
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding


@pytest.fixture(scope="session")
def reference():
    """The folder of reference checkpoints and outputs, or a skip."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("SKLPERTURB_SHARED_DATA", beside))
    folder = root.parent / "state_reference"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set SKLPERTURB_SHARED_DATA to the data beside it")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small checkpoint of 120 genes and sentences of 40."""
    path = tmp_path_factory.mktemp("checkpoint") / "small.ckpt"
    config = SEConfig(length=40)
    return SECheckpoint.create(path, config=config, genes=120, random_state=0)


@pytest.fixture(scope="session")
def cells():
    """30 cells of 100 genes, 90 of them in the vocabulary; do not change them."""
    rng = np.random.default_rng(0)
    depth = rng.lognormal(1, 1, (30, 1))
    counts = rng.poisson(depth * rng.gamma(0.5, 4, size=100)).astype(np.float32)
    names = [f"GENE{i + 1}" for i in rng.permutation(120)[:90]]
    names += [f"OTHER{i}" for i in range(10)]
    order = rng.permutation(100)
    return anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(
            {"batch": list("abc") * 10}, index=[f"cell{i}" for i in range(30)]
        ),
        var=pd.DataFrame(index=np.array(names)[order]),
    )


@pytest.fixture(scope="session")
def model(checkpoint):
    return SEEmbedding(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def path(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    cells.write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def embedded(model, cells):
    """What the model makes of the cells in memory."""
    return clone(model).fit_transform(cells)
