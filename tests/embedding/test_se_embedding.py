import gzip
import pickle
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline

from sklperturb.compose import LatentTargetRegressor
from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding
from sklperturb.embedding._genes import Vocabulary
from sklperturb.preprocessing import make_condition_encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*were taken to hold counts")


@pytest.fixture(scope="module")
def fitted(checkpoint, cells):
    return SEEmbedding(checkpoint, device="cpu").fit(cells)


@pytest.fixture(scope="module")
def embedded(fitted, cells):
    return fitted.transform(cells)


def test_outputs(fitted, embedded, cells):
    assert embedded.shape == (30, 34)
    assert embedded.dtype == np.float32
    assert_allclose(np.linalg.norm(embedded[:, :24], axis=1), 1, rtol=1e-5)
    assert np.ptp(embedded, axis=0).min() > 1e-3
    names = fitted.get_feature_names_out()
    assert (names[0], names[23], names[24], names[33]) == (
        "se0",
        "se23",
        "se_dataset0",
        "se_dataset9",
    )
    short = clone(fitted).set_params(include_dataset_token=False).fit(cells)
    assert_array_equal(short.transform(cells), embedded[:, :24])
    assert len(short.get_feature_names_out()) == 24
    assert fitted.n_mapped_ == 90
    assert 0 < fitted.mapped_share_ < 1
    assert fitted.gene_origin_ == "names"


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_a_cell_depends_on_itself_alone(fitted, embedded, cells, batch_size):
    order = np.random.default_rng(0).permutation(30)
    model = clone(fitted).set_params(batch_size=batch_size).fit(cells)
    assert_allclose(model.transform(cells[order]), embedded[order], atol=1e-5)
    alone = np.concatenate([model.transform(cells[i]) for i in range(5)])
    assert_allclose(alone, embedded[:5], atol=1e-5)


def test_random_state(fitted, embedded, cells):
    state = np.random.get_state()[1].copy()
    assert_array_equal(clone(fitted).fit(cells).transform(cells), embedded)
    assert_array_equal(np.random.get_state()[1], state)
    other = clone(fitted).set_params(random_state=1).fit_transform(cells)
    assert np.abs(other - embedded).max() > 1e-3


def test_inputs(fitted, embedded, cells, tmp_path):
    X = cells.X.toarray()
    names = list(cells.var_names)
    frame = pd.DataFrame(X, index=cells.obs_names, columns=names)
    assert_array_equal(clone(fitted).fit_transform(frame), embedded)
    named = clone(fitted).set_params(gene_names=names)
    formats = [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, np.array]
    for make in formats:
        assert_array_equal(named.fit(make(X)).transform(make(X)), embedded)
    for dtype in (np.int64, np.int16, np.float64):
        assert_array_equal(named.fit_transform(X.astype(dtype)), embedded)
    unsorted = sparse.csr_matrix(X)
    for row in range(30):
        part = slice(*unsorted.indptr[row : row + 2])
        unsorted.indices[part] = unsorted.indices[part][::-1].copy()
        unsorted.data[part] = unsorted.data[part][::-1].copy()
    unsorted.has_sorted_indices = False
    given = unsorted.indices.copy()
    assert_array_equal(named.fit_transform(unsorted), embedded)
    assert_array_equal(unsorted.indices, given)
    layered = anndata.AnnData(np.zeros_like(X), var=cells.var, layers={"counts": X})
    in_layer = clone(fitted).set_params(layer="counts").fit(layered)
    assert_array_equal(in_layer.transform(layered), embedded)
    cells.write_h5ad(tmp_path / "a.h5ad")
    layered.write_h5ad(tmp_path / "b.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.write_zarr(tmp_path / "a.zarr")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for given in (tmp_path / "a.h5ad", str(tmp_path / "a.zarr"), backed):
        assert_array_equal(clone(fitted).fit(given).transform(given), embedded)
    rows = [3, 8, 20]
    assert_allclose(fitted.transform(backed[rows]), embedded[rows], atol=1e-5)
    assert_array_equal(in_layer.transform(tmp_path / "b.h5ad"), embedded)


def test_entries_in_parts_and_stored_zeros(fitted, embedded, cells):
    X = cells.X.tocoo()
    rows, columns = np.r_[X.row, X.row, [0, 3]], np.r_[X.col, X.col, [1, 2]]
    parts = np.r_[X.data - 1, np.ones_like(X.data), [0.0, 0.0]]
    order = np.lexsort((columns, rows))
    pointers = np.searchsorted(rows[order], np.arange(31))
    repeated = sparse.csr_matrix(
        (parts[order].astype(np.float32), columns[order], pointers), cells.shape
    )
    assert repeated.nnz > cells.X.nnz
    same = anndata.AnnData(repeated, cells.obs, cells.var)
    # Stored zeros change in which order the values are summed.
    assert_allclose(fitted.transform(same), embedded, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        SEConfig(length=64),
        SEConfig(length=200),
        SEConfig(cls_gene=0),
        SEConfig(n_layers=3, n_heads=8),
        SEConfig(token_dim=100, width=48, n_heads=3, output_dim=16, dataset_dim=7),
    ],
    ids=repr,
)
def test_other_sizes(tmp_path, cells, config):
    path = tmp_path / "other.ckpt"
    opened = SECheckpoint.create(path, config=config, genes=120, random_state=0)
    assert opened.config == config
    model = SEEmbedding(opened, device="cpu").fit(cells)
    tokens, counts = model.tokenize(cells)
    assert tokens.shape == (30, config.length)
    mapped = cells.X.toarray()[:, model.tokens_ >= 0]
    share = np.where(mapped.max(axis=1, keepdims=True) > 15, np.log1p(mapped), mapped)
    share = 100 * share / share.sum(axis=1, keepdims=True)
    assert_allclose(counts[:, 0], share[:, config.cls_gene], atol=1e-4)
    embedded = model.transform(cells)
    assert embedded.shape == (30, config.output_dim + config.dataset_dim)
    assert np.ptp(embedded, axis=0).max() > 1e-3
    assert_allclose(model.embed_tokens(tokens, counts), embedded, atol=2e-5)
    # One cell, and one gene, keep their axes.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = model.inverse_transform(embedded[:1], ["GENE1"])
    assert alone.shape == (1, 1)
    decoded = model.inverse_transform(embedded, ["GENE1", "GENE2"])
    assert_allclose(alone[0, 0], decoded[0, 0], atol=1e-5)


def test_set_output(checkpoint, cells):
    model = SEEmbedding(checkpoint, device="cpu").set_output(transform="pandas")
    frame = model.fit_transform(cells)
    assert list(frame.index) == list(cells.obs_names)
    assert list(frame.columns) == list(model.get_feature_names_out())


def test_pickle_holds_no_weights(fitted, embedded, cells):
    data = pickle.dumps(fitted)
    assert len(data) < 20_000
    assert_array_equal(pickle.loads(data).transform(cells), embedded)


def test_names_of_genes(checkpoint, cells, fitted, embedded, tmp_path):
    symbols = list(cells.var_names)
    ids = [f"ENSG{i:011d}" for i in range(100)]
    renamed = cells.copy()
    renamed.var = pd.DataFrame(
        {"strand": ["+"] * 100, "symbol": symbols, "few": ["GENE1"] + ["x"] * 99},
        index=[f"{name}.{i}" for i, name in enumerate(ids)],
    )
    model = SEEmbedding(checkpoint, device="cpu").fit(renamed)
    assert model.gene_origin_ == "column 'symbol'"
    assert_array_equal(model.transform(renamed), embedded)
    # One name in the vocabulary, and the reference looks no further.
    mixed = renamed.copy()
    mixed.var_names = ["GENE1", "GENE2", "GENE3", "GENE4", *renamed.var_names[4:]]
    model = SEEmbedding(checkpoint, device="cpu", min_mapped=0, on_unmapped="ignore")
    model.fit(mixed)
    assert (model.gene_origin_, model.n_mapped_) == ("names", 4)
    model.set_params(gene_names="symbol").fit(mixed)
    assert_array_equal(model.transform(mixed), embedded)
    plain = renamed[:, :].copy()
    plain.var = plain.var[[]]
    table = pd.DataFrame({"id": ids, "name": symbols})
    table.to_csv(tmp_path / "map.csv", index=False)
    table.to_csv(tmp_path / "map.tsv", index=False, sep="\t")
    mapping = dict(zip(ids, symbols, strict=True))
    for gene_map in (
        mapping,
        pd.Series(mapping),
        table,
        tmp_path / "map.csv",
        str(tmp_path / "map.tsv"),
        {f"{name}.7": symbol for name, symbol in mapping.items()},
    ):
        model = SEEmbedding(checkpoint, gene_map=gene_map, device="cpu").fit(plain)
        assert_array_equal(model.tokens_, fitted.tokens_)
    lower = cells.copy()
    lower.var_names = cells.var_names.str.lower()
    with pytest.raises(ValueError, match=r"None of the 100 genes.*ignore_case"):
        SEEmbedding(checkpoint).fit(lower)
    model = SEEmbedding(checkpoint, ignore_case=True).fit(lower)
    assert_array_equal(model.tokens_, fitted.tokens_)


def test_columns_that_are_one_gene_are_told(checkpoint, cells):
    ids = [f"ENSG{i:011}" for i in range(cells.n_vars)]
    twice = dict(zip(ids, np.repeat(cells.var_names[::2], 2), strict=True))
    renamed = cells.copy()
    renamed.var_names = ids
    told = r"columns of X are \d+ genes of the vocabulary, such as ENSG.*Add them up"
    with pytest.warns(UserWarning, match=told):
        SEEmbedding(checkpoint, gene_map=twice).fit(renamed)


def test_share_of_counts(checkpoint):
    names = [f"GENE{i + 1}" for i in range(10)] + ["A", "B"]
    X = pd.DataFrame(np.full((5, 12), 40.0), columns=names)
    X["A"] = 200.0
    share = 400 / 640
    with pytest.warns(UserWarning, match=r"10 of 12 genes, with 62.5 % of the counts"):
        model = SEEmbedding(checkpoint).fit(X)
    assert model.mapped_share_ == pytest.approx(share)
    logs = np.log1p(X / 10)
    model = SEEmbedding(checkpoint, on_unmapped="ignore").fit(logs)
    assert model.mapped_share_ == pytest.approx(share)
    with pytest.raises(ValueError, match=r"min_mapped=0.7 asks for more.*A, B"):
        SEEmbedding(checkpoint, min_mapped=0.7).fit(X)
    with pytest.raises(ValueError, match="on_unmapped='error'"):
        SEEmbedding(checkpoint, on_unmapped="error").fit(X)


def test_both_scales_are_warned_of(checkpoint, cells):
    X = cells.to_df()
    X.iloc[:5] = np.log1p(X.iloc[:5])
    model = SEEmbedding(checkpoint, device="cpu").fit(X)
    with pytest.warns(UserWarning, match=r"cells were taken to hold counts, and \d+"):
        model.transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(count_scale="raw").fit(X).transform(X)


def test_decoding(fitted, embedded, cells):
    decoded = fitted.inverse_transform(embedded)
    assert decoded.shape == cells.shape
    assert np.isfinite(decoded).all()
    some = [cells.var_names[7], "GENE120", cells.var_names[7]]
    of_some = fitted.inverse_transform(embedded, some)
    assert_allclose(of_some[:, 0], of_some[:, 2], atol=1e-5)
    if fitted.tokens_[7] >= 0:
        assert_allclose(of_some[:, 0], decoded[:, 7], atol=1e-5)
    deeper = fitted.inverse_transform(embedded, read_depth=1.0)
    assert np.abs(deeper - decoded).max() > 1e-3
    each = fitted.inverse_transform(embedded, read_depth=np.r_[1.0, [4.0] * 29])
    assert_allclose(each[0], deeper[0], atol=1e-5)
    assert_allclose(each[1:], decoded[1:], atol=1e-5)
    with pytest.warns(UserWarning, match="1 of 2 genes are not in the vocabulary"):
        fitted.inverse_transform(embedded, ["GENE1", "nonsense"])
    with pytest.raises(ValueError, match="include_dataset_token=True"):
        fitted.inverse_transform(embedded[:, :24])
    with pytest.raises(ValueError, match="read_depth must be"):
        fitted.inverse_transform(embedded, read_depth=[1.0, 2.0])


def test_in_a_pipeline_and_a_search(checkpoint, cells):
    X = cells[:, :].copy()
    y = np.arange(30) % 2
    pipeline = make_pipeline(
        SEEmbedding(checkpoint, device="cpu"), LogisticRegression()
    )
    search = GridSearchCV(
        pipeline,
        {"seembedding__cls_count": ["reference", 0.0]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.predict(X).shape == y.shape
    assert search.best_estimator_[0].get_params()["checkpoint"] is checkpoint


def test_as_latent_space_of_responses(checkpoint, screen):
    """Conditions in, genes out, the response an AnnData."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(20, size=screen.y.shape).astype(np.float32)
    names = [f"GENE{i + 1}" for i in range(counts.shape[1] - 2)] + ["A", "B"]
    y = anndata.AnnData(sparse.csr_matrix(counts), var=pd.DataFrame(index=names))
    model = LatentTargetRegressor(
        make_pipeline(make_condition_encoder(n_components=2), Ridge()),
        SEEmbedding(checkpoint, device="cpu"),
        target_format="as_is",
        check_inverse=False,
    )
    predicted = model.fit(screen.X, y).predict(screen.X_test)
    assert predicted.shape == screen.y_test.shape
    assert np.isfinite(predicted).all()
    folds = cross_val_predict(model, screen.X, y, cv=2)
    assert folds.shape == counts.shape
    searched = GridSearchCV(
        model, {"transformer__read_depth": [1.0, 4.0]}, cv=2, error_score="raise"
    ).fit(screen.X, y)
    assert searched.best_params_["transformer__read_depth"] in (1.0, 4.0)
    with pytest.raises(ValueError, match="has no gene names"):
        LatentTargetRegressor(Ridge(), model.transformer).fit(counts, y)


def test_errors(checkpoint, cells, fitted, tmp_path):
    with pytest.raises(ValueError, match="checkpoint is None"):
        SEEmbedding().fit(cells)
    with pytest.raises(ValueError, match="has no gene names"):
        SEEmbedding(checkpoint).fit(cells.X)
    with pytest.raises(ValueError, match="gene_names has 2 names, and X has 100"):
        SEEmbedding(checkpoint, gene_names=["a", "b"]).fit(cells)
    with pytest.raises(ValueError, match="no column of the genes' table"):
        SEEmbedding(checkpoint, gene_names="symbol").fit(cells)
    with pytest.raises(ValueError, match="no layer 'x'"):
        SEEmbedding(checkpoint, layer="x").fit(cells)
    with pytest.raises(ValueError, match="needs an AnnData or a file, got DataFrame"):
        SEEmbedding(checkpoint, layer="x").fit(cells.to_df())
    with pytest.raises(ValueError, match="0 sample"):
        SEEmbedding(checkpoint).fit(cells[:0])
    with pytest.raises(ValueError, match="real numbers"):
        SEEmbedding(checkpoint).fit(cells.to_df().astype(str))
    with pytest.raises(ValueError, match="another order: column 0"):
        fitted.transform(cells[:, ::-1])
    with pytest.raises(ValueError, match="expecting 100 features"):
        fitted.transform(cells[:, :50])
    with pytest.raises(ValueError, match="leads to none"):
        SEEmbedding(checkpoint, gene_map={"a": "b"}).fit(cells)
    with pytest.raises(ValueError, match="device='nonsense'"):
        SEEmbedding(checkpoint, device="nonsense").fit(cells).transform(cells)
    with pytest.raises(ValueError, match="'precision' parameter"):
        SEEmbedding(checkpoint, precision="float16").fit(cells)
    with pytest.raises(FileNotFoundError):
        fitted.transform(tmp_path / "absent.h5ad")
    (tmp_path / "a.h5ad").write_text("text")
    with pytest.raises(ValueError, match="cannot be read as AnnData"):
        fitted.transform(tmp_path / "a.h5ad")
    (tmp_path / "a.csv").write_text("text")
    with pytest.raises(ValueError, match=r"pass an .h5ad file or a .zarr folder"):
        fitted.transform(tmp_path / "a.csv")
    bad = cells.copy()
    bad.X[3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted.transform(bad)
    with pytest.raises(ValueError, match="tokens must be from 0 to 119"):
        fitted.embed_tokens([[1, 500]], [[1.0, 2.0]])


def test_bfloat16(fitted, embedded, cells):
    rounded = clone(fitted).set_params(precision="bfloat16").fit_transform(cells)
    assert rounded.dtype == np.float32
    assert (rounded[:, :24] * embedded[:, :24]).sum(axis=1).min() > 0.98


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.csv", "alias,gene\nNA,G1\nnan,G2\n", ["NA", "nan"]),
        ("a.csv", "x1,G1\nx2,G2\n", ["x1", "x2"]),  # without a header
        ("a.tsv", "# note\r\nalias\tgene\r\n x1 \tG1\r\nx2\tG2\r\n", ["x1", "x2"]),
    ],
)
def test_gene_maps_in_files(tmp_path, name, text, names):
    for path, content in (
        (tmp_path / name, text.encode()),
        (tmp_path / f"{name}.gz", gzip.compress(text.encode("utf-8-sig"))),
    ):
        path.write_bytes(content)
        assert Vocabulary(["G1", "G2"], path).tokens(names).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alias,gene\nx,G1,?\n", "line 2 has 3 fields"),
        ("alias;gene\nx;G1\n", "separated by semicolons"),
        ("alias,gene,note\nx,G1,?\n", "map.csv must have two columns"),
        ("alias,gene\nx,G9\n", "map.csv leads to none of the genes"),
    ],
)
def test_files_that_are_no_gene_maps(tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        Vocabulary(["G1", "G2"], tmp_path / "map.csv")


def test_an_alias_of_several_genes():
    table = pd.DataFrame({"alias": ["x", "x"], "gene": ["G1", "G2"]})
    with pytest.warns(UserWarning, match=r"1 names to more than one gene .*\['x'\]"):
        assert Vocabulary(["G1", "G2"], table).tokens(["x"]).tolist() == [0]


def test_a_device_that_is_not_there_is_told(checkpoint, cells):
    model = SEEmbedding(checkpoint, device="gpu").fit(cells)
    with pytest.raises(ValueError, match="Pass device='auto'"):
        model.transform(cells)
