"""Embeddings of perturbed genes: looked up, from gene sets, from expression."""

import gzip
import json

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.datasets import PerturbationSchema
from sklperturb.preprocessing import (
    ExpressionGeneEmbedding,
    GeneSetEncoder,
    LookupEmbedding,
)
from sklperturb.preprocessing._gene_sets import read_gene_sets
from sklperturb.preprocessing._lookup_embedding import read_gene_table

X = pd.DataFrame(
    {"target_gene": ["MYC", "KLF1+MYC", "MYC+KLF1", "non-targeting", "KLF1"]}
)
TABLE = pd.DataFrame([[1.0, 0.0, 3.0], [0.0, 2.0, 1.0]], index=["KLF1", "MYC"])


@pytest.mark.parametrize("combine", ["sum", "mean"])
def test_combinations_do_not_depend_on_order(combine):
    Z = LookupEmbedding(TABLE, combine=combine).fit_transform(X)
    pair = TABLE.sum() if combine == "sum" else TABLE.mean()
    np.testing.assert_array_equal(Z[1], [*pair, 0])
    np.testing.assert_array_equal(Z[1], Z[2])
    np.testing.assert_array_equal(Z[3], 0)
    np.testing.assert_array_equal(Z[0], [*TABLE.loc["MYC"], 0])


def test_missing_genes_are_named_and_flagged():
    rows = pd.DataFrame({"target_gene": ["MYC", "LOST", "MYC+GONE", "control"]})
    encoder = LookupEmbedding(TABLE).fit(rows)
    with pytest.warns(UserWarning, match=r"2 of the 3 genes: \['GONE', 'LOST'\]"):
        Z = encoder.transform(rows)
    np.testing.assert_array_equal(Z[:, -1], [0, 1, 0.5, 0])
    np.testing.assert_array_equal(Z[1, :-1], 0)
    np.testing.assert_array_equal(Z[2, :-1], TABLE.loc["MYC"])
    assert encoder.get_feature_names_out()[-1] == "missing"
    with pytest.warns(UserWarning, match=r"spelled differently.*\['KLF1', 'MYC'\]"):
        encoder.transform(pd.DataFrame({"target_gene": ["ENSG00000136997"]}))


def test_controls_are_spelled_as_the_schema_says():
    rows = pd.DataFrame({"guide": ["g0", "MYC", "MYC+g0"]})
    schema = PerturbationSchema("guide", control_labels="g0")
    Z = LookupEmbedding(TABLE, schema=schema).fit_transform(rows)
    np.testing.assert_array_equal(Z[0], 0)
    np.testing.assert_array_equal(Z[1], Z[2])


def test_table_files_agree(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    values = TABLE.to_numpy()
    genes = TABLE.index.to_numpy().astype("U")
    each = {gene: TABLE.loc[gene].to_numpy().copy() for gene in genes}
    named = TABLE.set_axis(list("uvw"), axis=1)
    named.to_parquet(tmp_path / "index.parquet")
    named.rename_axis("gene").reset_index().to_parquet(tmp_path / "column.parquet")
    np.savez(tmp_path / "matrix.npz", genes=genes, embeddings=values)
    np.savez(tmp_path / "each.npz", **each)
    safetensors.save_file(each, tmp_path / "each.safetensors")
    safetensors.save_file(
        {"embeddings": np.ascontiguousarray(values)},
        tmp_path / "matrix.safetensors",
        metadata={"genes": json.dumps(genes.tolist())},
    )
    expected = LookupEmbedding(TABLE).fit_transform(X)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 6
    for table in [*paths, str(paths[0]), each]:
        found = LookupEmbedding(table).fit_transform(X)
        np.testing.assert_array_equal(found, expected, err_msg=str(table))


def test_tables_that_cannot_be_used(tmp_path):
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, genes=np.array(["A", None], dtype=object))
    for table, message in (
        (None, "table is NoneType; pass a DataFrame"),
        (pickled, "pickled objects, which are never read"),
        ({"A": [1.0], "B": [1.0, 2.0]}, "2 for 'B', and 1 for the first gene"),
        (TABLE * np.nan, "NaN or infinite values for 2 genes"),
        (TABLE.astype(str) + "x", "no numbers"),
        (tmp_path / "table.csv", "does not exist"),
    ):
        error = FileNotFoundError if "exist" in message else ValueError
        with pytest.raises(error, match=message):
            LookupEmbedding(table).fit(X)
    (tmp_path / "table.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ends in '\.pkl'"):
        LookupEmbedding(tmp_path / "table.pkl").fit(X)
    with pytest.raises(ValueError, match="'combine' parameter"):
        LookupEmbedding(TABLE, combine="max").fit(X)


@pytest.mark.parametrize("kind", [object, "category", "string"])
def test_filtered_and_sorted_frames_are_named_by_their_text(kind):
    table = pd.DataFrame({"a": [5.0, 2.0, 1.0], "gene": ["MYC", "KLF1", "TP53"]})
    table["gene"] = table["gene"].astype(kind)
    for part in (table[table["a"] < 4], table.sort_values("a")):
        genes, vectors = read_gene_table(part)
        assert genes.tolist() == part["gene"].tolist()
        np.testing.assert_array_equal(vectors, part[["a"]])
    # Entrez ids name the genes where there is no text, also of numbers as objects.
    for numbers in ([1.0, 2.0], np.array([1.0, 2.0], dtype=object)):
        genes, vectors = read_gene_table(pd.DataFrame({"a": numbers}, index=[4609, 3]))
        assert genes.tolist() == ["4609", "3"]
        np.testing.assert_array_equal(vectors, [[1.0], [2.0]])


def test_lookup_reduces_to_principal_components():
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(60)]
    table = pd.DataFrame(rng.normal(size=(60, 40)), index=genes)
    encoder = LookupEmbedding(table, n_components=5, add_indicator=False)
    Z = encoder.fit_transform(pd.DataFrame({"gene": genes}))
    expected = PCA(5, svd_solver="full").fit_transform(table)
    np.testing.assert_allclose(np.abs(Z), np.abs(expected), atol=1e-8)
    again = encoder.fit_transform(pd.DataFrame({"gene": genes}))
    np.testing.assert_array_equal(Z, again)


def test_gene_sets_put_members_of_a_set_together():
    sets = {f"s{i}": [f"g{j}" for j in range(i * 5, i * 5 + 5)] for i in range(8)}
    sets["everything"] = [f"g{j}" for j in range(40)]
    genes = pd.DataFrame({"gene": [f"g{j}" for j in range(40)]})
    Z = GeneSetEncoder(sets, n_components=9).fit_transform(genes)[:, :-1]
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    similarity = unit @ unit.T
    same = np.arange(40)[:, None] // 5 == np.arange(40) // 5
    assert similarity[same].min() > 0.9 > 0.5 > similarity[~same].max()
    # Rare sets weigh more: without them, all genes are alike.
    only = GeneSetEncoder({"everything": sets["everything"]}, n_components=1)
    assert np.ptp(only.fit_transform(genes)) == pytest.approx(1)


def test_gmt_files(tmp_path, shared_data):
    short = tmp_path / "short.gmt"
    short.write_text("S1\thttp://x\tKLF1,1.0\tMYC,0.5\n\nS2\t\tMYC\tTP53\n")
    encoder = GeneSetEncoder(short, min_size=2, n_components=None).fit(X)
    assert set(encoder.genes_) == {"KLF1", "MYC", "TP53"}
    assert encoder.sets_ == ["S1", "S2"]
    assert encoder.embedding_.shape == (3, 2)
    short.write_text("S1\tonly two\n")
    with pytest.raises(ValueError, match="line 1 has fewer than three fields"):
        GeneSetEncoder(short).fit(X)
    with pytest.raises(
        ValueError, match="No gene set of the mapping has between 90 and 500"
    ):
        GeneSetEncoder({"s": ["A", "B"]}, min_size=90).fit(X)
    folder = shared_data("gene_annotation")
    files = sorted(folder.glob("*.gmt"))
    encoder = GeneSetEncoder(files, n_components=16).fit(X)
    assert len(encoder.genes_) > 10_000
    similarity = np.corrcoef(
        encoder.transform(pd.DataFrame({"target_gene": ["PSMA1", "PSMB2", "KLF1"]}))[
            :, :-1
        ]
    )
    assert similarity[0, 1] > similarity[0, 2] + 0.3


@pytest.mark.parametrize("kind", ["array", "frame", "anndata", "sparse"])
def test_expression_embedding_groups_genes_that_vary_together(kind):
    rng = np.random.default_rng(0)
    programmes = rng.normal(size=(300, 2))
    y = np.repeat(programmes, 4, axis=1) + 0.3 * rng.normal(size=(300, 8))
    genes = [f"g{i}" for i in range(8)]
    if kind == "array":
        genes, given = [str(i) for i in range(8)], y
    elif kind == "frame":
        given = pd.DataFrame(y, columns=genes)
    else:
        values = y if kind == "anndata" else sparse.csr_matrix(y)
        given = anndata.AnnData(values, var=pd.DataFrame(index=genes))
    conditions = pd.DataFrame({"gene": np.resize(genes, 300)})
    encoder = ExpressionGeneEmbedding(2, add_indicator=False, random_state=0)
    Z = encoder.fit_transform(conditions, given)[:8]
    pca = PCA(2).fit(y)
    expected = pca.components_.T * np.sqrt(pca.explained_variance_)
    np.testing.assert_allclose(np.abs(Z), np.abs(expected), atol=1e-6)


def test_expression_embedding_of_counts():
    rng = np.random.default_rng(0)
    cells = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(2.0, (500, 10)).astype("float32"))
    )
    conditions = pd.DataFrame({"gene": ["0"] * 500})
    with pytest.warns(UserWarning, match="raw counts"):
        ExpressionGeneEmbedding(3, max_cells=100).fit(conditions, cells)
    encoder = ExpressionGeneEmbedding(3, target_sum=1e4, random_state=0)
    assert encoder.fit(conditions, cells).embedding_.shape == (10, 3)
    with pytest.raises(ValueError, match="requires y"):
        encoder.fit(conditions, None)
    cells.var_names = ["G", "G", *map(str, range(8))]
    with pytest.raises(ValueError, match=r"more than once, such as \['G'\]"):
        encoder.fit(conditions, cells)


def test_embedding_in_a_pipeline():
    y = np.arange(10.0).reshape(5, 2)
    model = make_pipeline(LookupEmbedding(TABLE), StandardScaler(), Ridge())
    model.set_output(transform="pandas")
    predicted = model.fit(X, y).predict(X)
    assert predicted.shape == (5, 2)
    np.testing.assert_allclose(predicted[1], predicted[2])
    assert model[-1].feature_names_in_.tolist() == [
        "lookupembedding0",
        "lookupembedding1",
        "lookupembedding2",
        "missing",
    ]


def test_gene_sets_as_programs_write_them(tmp_path):
    text = "S1\tTGF-ß\tNA\tnan\tKLF1\r\n\r\nS2\t\t MYC \tTP53\t\r\n"
    content = text.encode("utf-8-sig")
    expected = {"S1": ["KLF1", "NA", "nan"], "S2": ["MYC", "TP53"]}
    for name, packed in (("a.gmt", content), ("b.gmt.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(packed)
        assert read_gene_sets(tmp_path / name) == expected
    assert read_gene_sets([tmp_path / "a.gmt", tmp_path / "b.gmt.gz"]) == expected
    (tmp_path / "c.gmt").write_text("S2\t\tMYC\n")
    found = read_gene_sets([tmp_path / "a.gmt", tmp_path / "c.gmt"])
    assert found == expected | {"S2 (c.gmt)": ["MYC"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"S1\tTGF-\xdf\tA\n", "not in UTF-8: see line 1"),
        (b"S1\t\tA\nS1\t\tB\n", "line 2 names the set 'S1' again"),
        (b"S1,d,A,B\n", "line 1 has fewer than three fields"),
        (b"\td\tA\n", "line 1 has fewer"),
        (b"S1\t\tA\0\n", "is binary"),
        (b"", "is empty"),
    ],
)
def test_files_that_are_no_gene_sets(tmp_path, content, message):
    path = tmp_path / "sets.gmt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        GeneSetEncoder(path).fit(X)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("genes", ["KLF1", ["KLF1", np.nan], [1, 2]])
def test_mappings_that_are_no_gene_sets(genes):
    with pytest.raises(ValueError, match=r"gene set 's' is .*list of names"):
        GeneSetEncoder({"s": genes}, min_size=1).fit(X)


def test_text_tables_of_vectors(tmp_path):
    genes = ["NA", "nan", "007", "1", "KLF1"]
    values = np.arange(10.0).reshape(5, 2)
    table = pd.DataFrame(values, columns=["u", "v"], index=genes)
    table.to_csv(tmp_path / "a.csv")
    table.to_csv(tmp_path / "b.tsv.gz", sep="\t", index_label="gene")
    table.to_parquet(tmp_path / "c.parquet")
    np.savez(tmp_path / "d.npz", genes=np.array(genes, "S"), embeddings=values)
    for path in sorted(tmp_path.iterdir()):
        found, vectors = read_gene_table(path)
        assert found.tolist() == genes
        np.testing.assert_array_equal(vectors, values)


def test_genes_named_again():
    again = pd.DataFrame([[1.0], [1.0], [2.0]], index=["A", "A", "B"])
    assert read_gene_table(again)[0].tolist() == ["A", "B"]
    other = pd.DataFrame([[1.0], [3.0], [2.0]], index=["A", "A", "B"])
    with pytest.warns(UserWarning, match=r"1 genes that it names again, .*\['A'\]"):
        assert read_gene_table(other)[1].ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"A": [1j], "B": [1.0]}, "no numbers: they are complex"),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=["A", None]), "1 rows without a gene"),
        (
            pd.DataFrame({"gene": ["A"], "x": [1.0], "note": ["?"]}),
            r"no numbers, such as \['note'\]",
        ),
        ({}, "holds no vectors"),
    ],
)
def test_tables_that_are_no_vectors(table, message):
    with pytest.raises(ValueError, match=message):
        LookupEmbedding(table).fit(X)


def test_gene_sets_tell_the_genes_of_the_screen_apart():
    """Directions of the whole collection are those of genes that nobody perturbed."""
    rng = np.random.default_rng(0)
    others = [f"other{i}" for i in range(300)]
    sets = {f"o{i}": list(rng.choice(others, 40, replace=False)) for i in range(100)}
    sets |= {f"s{i}": [f"g{j}" for j in range(i * 5, i * 5 + 5)] for i in range(4)}
    genes = pd.DataFrame({"gene": [f"g{j}" for j in range(20)]})
    Z = GeneSetEncoder(sets, n_components=4, add_indicator=False).fit_transform(genes)
    same = np.arange(20)[:, None] // 5 == np.arange(20) // 5
    np.testing.assert_allclose(Z @ Z.T, same, atol=1e-8)
    whole = GeneSetEncoder(sets, n_components=None, add_indicator=False)
    Z = whole.fit_transform(genes)
    np.testing.assert_allclose(Z @ Z.T, same, atol=1e-8)
