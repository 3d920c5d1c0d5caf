"""The numbers of Arc's package, for the same checkpoints and cells."""

import warnings

import anndata
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklperturb.embedding import SECheckpoint, SEEmbedding

CASES = ["csc", "dense64", "full", "int64", "log", "low", "neg", "sparse", "zero"]
LAYOUTS = [
    "tiny.ckpt",
    "tiny_old",
    "tiny_old/tiny_old.ckpt",
    "tiny_old/model.safetensors",
]
ATOL = 2e-5


@pytest.fixture(params=LAYOUTS)
def opened(request, reference):
    if "ckpt" not in request.param:
        pytest.importorskip("safetensors")
    return SECheckpoint(reference / request.param)


def load(reference, case):
    return dict(np.load(reference / f"ref_{case}.npz"))


@pytest.mark.filterwarnings("ignore:.*are in the vocabulary", "ignore:.*by columns")
@pytest.mark.filterwarnings("ignore:.*negative values")
@pytest.mark.parametrize("case", CASES)
def test_cells(reference, opened, case):
    known = load(reference, f"in_{case}")
    path = reference / f"in_{case}.h5ad"
    fixed = np.ptp(known["emb"] - known["emb_otherseed"], axis=1) == 0
    assert fixed.any() or case in ("low", "sparse")
    embedding = SEEmbedding(opened, device="cpu").fit(path)
    for X in (path, anndata.read_h5ad(path), anndata.read_h5ad(path, backed="r")):
        embedded = embedding.transform(X)
        assert_allclose(embedded[fixed], known["emb"][fixed], atol=ATOL)
        tokens, counts = embedding.tokenize(X)
        assert_array_equal(tokens[fixed], known["tokens"][fixed])
        assert_allclose(counts[:, 0], known["counts"][:, 0], atol=1e-5)
        # Which genes fill a sentence is random; what they weigh is not.
        assert_allclose(np.sort(counts), np.sort(known["counts"]), atol=1e-5)
    given = embedding.embed_tokens(known["tokens"], known["counts"])
    assert_allclose(given, known["emb"], atol=ATOL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = embedding.inverse_transform(known["emb"], known["decode_genes"])
    assert_allclose(decoded, known["decode"], atol=ATOL)


@pytest.mark.filterwarnings("ignore:.*are in the vocabulary")
def test_unknown_genes_are_decoded_alike(reference):
    known = load(reference, "td5120_in_full")
    path = reference / "in_full.h5ad"
    embedding = SEEmbedding(reference / "tiny5120.ckpt", device="cpu").fit(path)
    assert_allclose(embedding.transform(path), known["emb"], atol=ATOL)
    decoded = embedding.inverse_transform(known["emb"])
    assert_allclose(decoded, known["decode"], atol=ATOL)
    unknown = embedding.tokens_ < 0
    assert np.ptp(decoded[:, unknown], axis=1).max() == 0
    assert np.ptp(decoded[:, ~unknown], axis=1).min() > 0


@pytest.mark.filterwarnings("ignore:.*are in the vocabulary")
def test_filler_is_as_random_as_the_reference(reference):
    known = load(reference, "in_sparse")
    path = reference / "in_sparse.h5ad"
    embedded = SEEmbedding(reference / "tiny.ckpt", device="cpu").fit_transform(path)
    ours = np.linalg.norm(embedded[:, :24] - known["emb"][:, :24], axis=1)
    theirs = np.linalg.norm(known["emb_otherseed"] - known["emb"], axis=1)
    assert 0.2 < ours.mean() / theirs.mean() < 2
