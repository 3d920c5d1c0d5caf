import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sklperturb.embedding._tokens import Tokenizer

DEFAULTS = {
    "count_scale": "auto",
    "target_sum": None,
    "cls_count": "reference",
    "seed": 0,
}


def tokenizer(token_of, length=20, cls_gene=3, **changed):
    return Tokenizer(np.asarray(token_of), length, cls_gene, **DEFAULTS | changed)


def by_the_rule(row, token_of, cls_gene, raw=None):
    """Return weights by token, and that of CLS, the slow way."""
    x = np.maximum(np.asarray(row, dtype=np.float64), 0)
    if raw is None:
        raw = x.max() > 35 or np.expm1(np.minimum(x, 50)).sum() > 5e6
    L = np.log1p(x) if raw else x
    L = L[token_of >= 0]
    share = 100 * L / L.sum() if L.sum() > 0 else np.full(len(L), 100 / len(L))
    return share, share[cls_gene]


def make(n_cells=80, n_genes=300, density=0.5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.gamma(0.5, 8, n_genes), (n_cells, n_genes)).astype(np.float32)
    X[rng.random(X.shape) > density] = 0
    token_of = np.where(rng.random(n_genes) < 0.9, rng.permutation(n_genes), -1)
    return X, token_of


@pytest.mark.parametrize("kind", ["counts", "log", "normalised", "negative", "tiny"])
def test_the_highest_genes_enter(kind):
    X, token_of = make()
    X = {
        "counts": lambda: X,
        "log": lambda: np.log1p(X),
        "normalised": lambda: np.log1p(1e4 * X / X.sum(axis=1, keepdims=True)),
        "negative": lambda: np.where(X > 9, X, -X),
        # Values of so many magnitudes that not all have a bin of their own.
        "tiny": lambda: np.where(X > 0, 10.0 ** (-X.clip(0, 30)), 0),
    }[kind]().astype(np.float32)
    tokens, counts = tokenizer(token_of, 40)(sparse.csr_matrix(X))
    for row, t, c in zip(X, tokens, counts, strict=True):
        share, first = by_the_rule(row, token_of, 3)
        of_token = dict(zip(token_of[token_of >= 0], share, strict=True))
        assert_allclose(c[0], first, rtol=1e-5)
        assert t[0] == token_of[token_of >= 0][3]
        assert len(set(t[1:])) == 39
        assert_allclose(c[1:], [of_token[i] for i in t[1:]], rtol=1e-5)
        assert_allclose(np.sort(c[1:]), np.sort(share)[-39:], rtol=1e-5)


@pytest.mark.parametrize("length", [16, 100, 290])
def test_a_cell_depends_on_itself_alone(length):
    X, token_of = make(150, density=0.2)
    X[7] = 0
    X[50:60] = np.log1p(X[50:60])
    X[70] *= np.float32(1e-20)
    make_sentences = tokenizer(token_of, length)
    whole = make_sentences(sparse.csr_matrix(X))
    order = np.random.default_rng(1).permutation(len(X))
    again = tokenizer(token_of, length)(sparse.csr_matrix(X[order]))
    parts = [make_sentences(sparse.csr_matrix(X[i : i + 1])) for i in range(len(X))]
    for k in range(2):
        assert_array_equal(again[k], whole[k][order])
        assert_array_equal(np.concatenate([part[k] for part in parts]), whole[k])
    other = tokenizer(token_of, length, seed=1)(sparse.csr_matrix(X))
    assert (other[0] != whole[0]).any()


def test_ties_are_settled_fairly():
    """Of equal genes, each enters as often as the next."""
    rng = np.random.default_rng(0)
    X = np.zeros((4000, 60), np.float32)
    X[:, :30] = 5  # 19 of these enter
    X[:, 40] = rng.permutation(4000) + 100  # makes the cells different
    tokens, _ = tokenizer(np.arange(60))(sparse.csr_matrix(X))
    entered = np.bincount(tokens[:, 1:].ravel(), minlength=60)
    assert entered[40] == 4000
    assert entered[30:].sum() == 4000
    # 4000 draws with probability 18 / 30: four standard deviations.
    assert_allclose(entered[:30], 4000 * 18 / 30, atol=4 * 31)


def test_filler_is_drawn_fairly_and_without_repeats():
    rng = np.random.default_rng(0)
    X = np.zeros((4000, 60), np.float32)
    X[:, 0] = rng.permutation(4000) + 100
    tokens, counts = tokenizer(np.arange(60))(sparse.csr_matrix(X))
    assert all(len(set(row)) == 19 for row in tokens[:, 1:])
    entered = np.bincount(tokens[:, 1:].ravel(), minlength=60)
    assert entered[0] == 4000
    assert_allclose(entered[1:], 4000 * 18 / 59, atol=5 * 30)
    assert_allclose(np.sort(counts[:, 1:])[:, -2:], [[0, 100]] * 4000)


def test_fewer_genes_than_places():
    X = np.array([[40, 3, 0, 0, 1], [50, 1, 2, 3, 4], [0, 0, 0, 0, 0]], np.float32)
    tokens, counts = tokenizer(np.arange(5), 12)(sparse.csr_matrix(X))
    share, _ = by_the_rule(X[0], np.arange(5), 3)
    assert_allclose(counts[0, 1:4], share[[0, 1, 4]], rtol=1e-5)
    assert set(tokens[0, 4:]) <= {2, 3} and not counts[0, 4:].any()
    # All genes expressed: genes come again, with their counts.
    share, _ = by_the_rule(X[1], np.arange(5), 3)
    assert_allclose(counts[1, 1:], share[tokens[1, 1:]], rtol=1e-5)
    assert_allclose(counts[2], 20)


@pytest.mark.parametrize(
    ("row", "raw"),
    [
        ([36, 1, 1, 1], True),
        ([35, 0, 0, 0], True),  # expm1(35) is more than five million
        ([16, 1, 1, 1], True),
        ([15, 15, 1, 1], True),
        ([15, 14, 1, 1], False),
        ([15.5, 0, 0, 0], True),
        ([14, 14, 14, 1], False),
    ],
)
def test_counts_or_logarithms(row, raw):
    # The fifth gene is unmapped, and counts in the decision.
    token_of = np.array([0, 1, 2, 3, -1])
    for x in ([*row, 0], [*row[1:], 0, row[0]]):
        make_sentences = tokenizer(token_of, 5)
        _, counts = make_sentences(sparse.csr_matrix(np.array([x], np.float32)))
        share, _ = by_the_rule(x, token_of, 3, raw=raw)
        assert_allclose(np.sort(counts[0, 1:]), np.sort(share), rtol=1e-5)
        assert (make_sentences.n_raw, make_sentences.n_log) == (raw, not raw)


def test_four_hundred_counts_of_ten_are_raw():
    for n, raw in ((200, False), (400, True)):
        make_sentences = tokenizer(np.arange(500))
        make_sentences(sparse.csr_matrix(np.r_[[10.0] * n, [0.0] * (500 - n)][None]))
        assert make_sentences.n_raw == raw


def test_sane_alternatives():
    X, token_of = make()
    X = sparse.csr_matrix(np.minimum(X, 9))
    forced, counts = tokenizer(token_of, count_scale="raw")(X)
    share, _ = by_the_rule(X[0].toarray()[0], token_of, 3, raw=True)
    assert_allclose(np.sort(counts[0, 1:]), np.sort(share)[-19:], rtol=1e-5)
    logs = X.copy()  # to the last bit as in the model's own program
    logs.data = torch.log1p(torch.from_numpy(X.data)).numpy()
    as_log = tokenizer(token_of, count_scale="log1p")(logs)
    assert_array_equal(as_log[0], forced)
    assert_allclose(as_log[1], counts, rtol=1e-5)
    _, counts = tokenizer(token_of, cls_count=0.0)(X)
    assert not counts[:, 0].any()
    # Scaled to one depth, a cell of twice the counts is the same cell.
    scaled = [
        tokenizer(token_of, count_scale=scale, target_sum=1e4)(x)[1]
        for scale, x in (("raw", X), ("raw", 2 * X), ("log1p", (3 * X).log1p()))
    ]
    assert_allclose(np.sort(scaled[0]), np.sort(scaled[1]), rtol=1e-5)
    assert_allclose(np.sort(scaled[0]), np.sort(scaled[2]), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -np.nan])
def test_values_that_are_not_finite(bad):
    X = np.full((3, 30), 2, np.float32)
    X[1, 5] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        tokenizer(np.arange(30))(sparse.csr_matrix(X))


def test_symbol_that_comes_twice_gives_two_tokens():
    X = sparse.csr_matrix(np.arange(40, 70, dtype=np.float32)[None])
    tokens, _ = tokenizer(np.r_[np.arange(28), 27, 27])(X)
    assert (tokens == 27).sum() == 3


def test_negative_values_are_no_counts():
    """They are zeros before anyone asks whether a cell holds counts."""
    X = np.array([[-500, 3, 2, 1, 1]], np.float32)
    make_sentences = tokenizer(np.arange(5), 5)
    with pytest.warns(UserWarning, match="negative values, which are taken for zeros"):
        _, counts = make_sentences(sparse.csr_matrix(X))
    assert (make_sentences.n_raw, make_sentences.n_log) == (0, 1)
    share, _ = by_the_rule(X[0], np.arange(5), 3, raw=False)
    assert_allclose(np.sort(counts[0, 1:]), np.sort(share)[1:], rtol=1e-5)


@pytest.mark.parametrize("cls_gene", [0, 3, 11])
def test_first_position_has_the_count_of_a_mapped_gene(cls_gene):
    """Not of a column, and whether or not that gene is expressed."""
    X, token_of = make(density=0.5)
    tokens, counts = tokenizer(token_of, 40, cls_gene)(sparse.csr_matrix(X))
    column = np.flatnonzero(token_of >= 0)[cls_gene]
    assert (X[:, column] == 0).any() and (X[:, column] > 0).any()
    first = [by_the_rule(row, token_of, cls_gene)[1] for row in X]
    assert_allclose(counts[:, 0], first, rtol=1e-5)
    assert (tokens[:, 0] == token_of[column]).all()


def test_zero_cell_shares_alike():
    X = sparse.csr_matrix((2, 50), dtype=np.float32)
    tokens, counts = tokenizer(np.r_[np.arange(40), [-1] * 10])(X)
    assert_allclose(counts, 100 / 40)
    assert all(len(set(row)) == 19 for row in tokens[:, 1:])


@pytest.mark.parametrize("n_mapped", [18, 19, 20])
def test_as_many_genes_as_places(n_mapped):
    """From 19 on no gene comes twice."""
    X = np.r_[np.full(5, 40.0), np.zeros(n_mapped - 5)].astype(np.float32)[None]
    tokens, counts = tokenizer(np.arange(n_mapped))(sparse.csr_matrix(X))
    assert set(range(5)) <= set(tokens[0, 1:])
    assert (counts[0, 1:] > 0).sum() == 5
    assert len(set(tokens[0, 1:])) == min(n_mapped, 19) or n_mapped == 18


@pytest.mark.parametrize("odd", ["ties", "large", "empty", "steep", "few mapped"])
def test_long_rows(odd):
    """Rows of which only a part is looked at, and those for which that fails."""
    rng = np.random.default_rng(0)
    n_genes, length = 3000, 200
    X = rng.poisson(rng.gamma(0.8, 9, n_genes), (200, n_genes)).astype(np.float32)
    token_of = np.where(rng.random(n_genes) < 0.9, np.arange(n_genes), -1)
    if odd == "ties":
        X[::2] = np.where(X[::2] > 0, 40, 0)
    elif odd == "large":
        # Each sixteenth entry misleads: the largest values are all between them.
        X = np.tile(np.r_[1.0, np.full(15, 90.0)], (200, 188))[:, :n_genes]
        X[::3] = np.tile(np.r_[90.0, np.full(15, 1.0)], 188)[:n_genes]
        X = (X + rng.random(X.shape)).astype(np.float32)
    elif odd == "empty":
        X[::2] = 0
        X[1::4, 150:] = 0
    elif odd == "steep":
        X = (36 * 10.0 ** -(X.clip(0, 30))).astype(np.float32)
    else:
        token_of[rng.random(n_genes) < 0.9] = -1
    tokens, counts = tokenizer(token_of, length)(sparse.csr_matrix(X))
    for row, t, c in zip(X, tokens, counts, strict=True):
        share, first = by_the_rule(row, token_of, 3)
        of_token = dict(zip(token_of[token_of >= 0], share, strict=True))
        assert len(set(t[1:])) == length - 1
        assert_allclose(c[1:], [of_token[i] for i in t[1:]], rtol=2e-5)
        highest = np.sort(share)[-length + 1 :]
        assert_allclose(np.sort(c[1:]), highest, rtol=2e-5)
        assert_allclose(c[0], first, rtol=2e-5)
