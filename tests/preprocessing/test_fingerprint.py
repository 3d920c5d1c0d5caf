"""Fingerprints, similarities and scaffolds, against rdkit itself."""

import sys
import warnings
from collections import OrderedDict
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from sklperturb.datasets import PerturbationSchema
from sklperturb.preprocessing import (
    CompoundFingerprint,
    SchemaColumns,
    _molecules,
    murcko_scaffolds,
    tanimoto_similarity,
)
from sklperturb.testing import check_perturbation_estimator

rdkit = pytest.importorskip("rdkit", reason="fingerprints need rdkit")
from rdkit import Chem, DataStructs  # noqa: E402
from rdkit.Chem import (  # noqa: E402
    Descriptors,
    MACCSkeys,
    rdFingerprintGenerator,
    rdReducedGraphs,
)

SMILES = ["CCO", "c1ccccc1C(=O)O", "CC(=O)Nc1ccc(O)cc1", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C"]
MOLECULES = [Chem.MolFromSmiles(text) for text in SMILES]
ALL_KINDS = list(_molecules.KINDS)


@pytest.fixture(autouse=True)
def empty_cache():
    _molecules._cache.clear()


def column(*smiles):
    return pd.DataFrame({"SMILES": np.array(smiles, dtype=object)})


def rdkit_fingerprints(kind, radius=2, n_bits=2048):
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)
    pairs = rdFingerprintGenerator.GetAtomPairGenerator(fpSize=n_bits)
    torsions = rdFingerprintGenerator.GetTopologicalTorsionGenerator(fpSize=n_bits)
    roles = rdFingerprintGenerator.GetMorganGenerator(
        radius=radius,
        fpSize=n_bits,
        atomInvariantsGenerator=rdFingerprintGenerator.GetMorganFeatureAtomInvGen(),
    )
    compute = {
        "morgan_counts": morgan.GetCountFingerprint,
        "morgan_bits": morgan.GetFingerprint,
        "morgan_features": roles.GetCountFingerprint,
        "atom_pairs": pairs.GetCountFingerprint,
        "torsions": torsions.GetCountFingerprint,
        "maccs": MACCSkeys.GenMACCSKeys,
    }[kind]
    return [compute(molecule) for molecule in MOLECULES]


@pytest.mark.parametrize(
    ("kind", "radius", "n_bits"),
    [
        ("morgan_counts", 2, 2048),
        ("morgan_counts", 3, 64),
        ("morgan_bits", 1, 512),
        ("morgan_features", 1, 512),
        ("atom_pairs", 2, 1024),
        ("torsions", 2, 256),
        ("maccs", 2, 2048),
    ],
)
def test_fingerprints_and_similarity_are_those_of_rdkit(kind, radius, n_bits):
    fingerprint = CompoundFingerprint(kind, radius=radius, n_bits=n_bits)
    features = fingerprint.fit_transform(column(*SMILES))
    expected = rdkit_fingerprints(kind, radius, n_bits)
    np.testing.assert_array_equal(features[:, :-1], [list(e) for e in expected])
    assert features.dtype == np.float32
    assert (features[:, -1] == 1).all()
    similarity = [
        [DataStructs.TanimotoSimilarity(a, b) for b in expected] for a in expected
    ]
    np.testing.assert_allclose(tanimoto_similarity(features[:, :-1]), similarity)


def test_pharmacophores_are_those_of_rdkit_in_tenths():
    features = CompoundFingerprint("pharmacophores").fit_transform(column(*SMILES))
    expected = [rdReducedGraphs.GetErGFingerprint(m) for m in MOLECULES]
    np.testing.assert_allclose(features[:, :-1], expected, atol=0.05)
    np.testing.assert_allclose(10 * features, np.round(10 * features), atol=1e-5)
    assert features[:, :-1].any(axis=1).sum() >= 3


def test_descriptors_and_physchem():
    fingerprint = CompoundFingerprint(["descriptors", "physchem"])
    features = fingerprint.set_output(transform="pandas").fit_transform(column(*SMILES))
    for name in ("MolWt", "TPSA", "MolLogP", "qed"):
        expected = [dict(Descriptors.descList)[name](m) for m in MOLECULES]
        for kind in ("descriptors", "physchem"):
            np.testing.assert_allclose(features[f"{kind}_{name}"], expected, rtol=1e-6)
    charged = fingerprint.fit_transform(column("C[N+](C)(C)C"))
    assert charged["physchem_FormalCharge"].item() == 1
    assert features.filter(like="physchem_").shape[1] == 12


def test_descriptors_are_finite_and_bounded(monkeypatch):
    # Ipc of a long chain is far above the bound.
    features = CompoundFingerprint("descriptors").set_output(transform="pandas")
    long = features.fit_transform(column("C" * 120))
    assert np.isfinite(long.to_numpy()).all()
    assert long["descriptors_Ipc"].item() == 1e6
    odd = [("A", lambda m: np.nan), ("B", lambda m: np.inf), ("C", lambda m: -1e300)]
    monkeypatch.setattr(Descriptors, "descList", odd)
    frame = clone(features).fit_transform(column("CCN"))
    assert frame.to_numpy().tolist() == [[0, 0, -1e6, 1]]


def test_kinds_side_by_side():
    both = CompoundFingerprint(["maccs", "morgan_bits"], n_bits=32)
    features = both.fit_transform(column(*SMILES))
    parts = [
        CompoundFingerprint(kind, n_bits=32).fit_transform(column(*SMILES))
        for kind in ("maccs", "morgan_bits")
    ]
    expected = np.hstack([parts[0][:, :-1], parts[1]])
    np.testing.assert_array_equal(features, expected)
    names = both.get_feature_names_out()
    assert names[[0, 167, -1]].tolist() == ["maccs_0", "morgan_bits_0", "has_structure"]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_missing_structures_are_zeros_and_silent(kind):
    X = column("CCO", None, np.nan, "", "  ", 7, pd.NA)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = CompoundFingerprint(kind).fit_transform(X)
    assert features[:, -1].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert not features[1:].any()
    assert features[0].any()


def test_invalid_structures_give_one_warning(capfd):
    X = column("CCO", "not one", "c1cc", "not one", "C(C", "N(=O", None)
    fingerprint = CompoundFingerprint(["morgan_bits", "maccs"]).fit(X)
    with pytest.warns(UserWarning) as caught:
        features = fingerprint.transform(X)
    assert len(caught) == 1
    assert "cannot read 4 SMILES ('not one', 'c1cc', 'C(C', ...), in 5 rows" in str(
        caught[0].message
    )
    assert features[:, -1].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert not features[1:].any()
    assert capfd.readouterr() == ("", "")


def test_each_structure_is_computed_once(monkeypatch):
    computed = []
    original = _molecules._compute_some

    def counting(smiles, key):
        computed.extend(smiles)
        return original(smiles, key)

    monkeypatch.setattr(_molecules, "_compute_some", counting)
    X = column(*SMILES, *SMILES, "bad(", None)
    fingerprint = CompoundFingerprint().fit(X)
    with pytest.warns(UserWarning, match="bad"):
        first = fingerprint.transform(X)
    assert sorted(computed) == sorted([*SMILES, "bad("])
    with pytest.warns(UserWarning, match="bad"):
        again = clone(fingerprint).fit_transform(X)
    assert len(computed) == 5
    np.testing.assert_array_equal(first, again)
    # Another kind or size is another fingerprint, a radius of MACCS keys is not.
    for kind, params, n_new in (
        ("morgan_counts", {"radius": 1}, 4),
        ("morgan_counts", {"n_bits": 16}, 4),
        ("maccs", {}, 4),
        ("maccs", {"radius": 1, "n_bits": 16}, 0),
    ):
        before = len(computed)
        CompoundFingerprint(kind, **params).fit_transform(column(*SMILES))
        assert len(computed) - before == n_new


def test_cache_is_bounded():
    cache = OrderedDict()
    get = partial(_molecules.fingerprints, kind="atom_pairs", cache=cache, cache_size=3)
    whole, _ = get(np.array(SMILES, dtype=object))
    assert len(cache) == 3
    again, _ = get(np.array(SMILES, dtype=object))
    np.testing.assert_array_equal(whole.toarray(), again.toarray())
    # The first was dropped; what was used last stays.
    get(np.array([SMILES[1]], dtype=object))
    get(np.array(["CCCC"], dtype=object))
    assert [key[-1] for key in cache][-2:] == [SMILES[1], "CCCC"]


def test_processes_give_the_same():
    chains = np.array(["C" * n + "O" for n in range(1, 40)], dtype=object)
    alone, _ = _molecules.fingerprints(chains, "morgan_counts", cache=OrderedDict())
    shared, _ = _molecules.fingerprints(
        chains, "morgan_counts", n_jobs=2, min_parallel=10, cache=OrderedDict()
    )
    np.testing.assert_array_equal(alone.toarray(), shared.toarray())


def test_where_the_smiles_are():
    X = pd.DataFrame({"drug": ["a", "b"], "note": ["CCC", "C"], "smi": ["CCO", None]})
    expected = CompoundFingerprint().fit_transform(X[["smi"]])
    assert expected[:, -1].tolist() == [1, 0]
    schema = PerturbationSchema("drug", smiles="smi")
    for fingerprint, table in (
        (CompoundFingerprint(schema=schema), X),
        (CompoundFingerprint(schema=schema), X[["smi"]]),
        (CompoundFingerprint(column="smi"), X),
        (CompoundFingerprint(column=2), X.to_numpy()),
        (CompoundFingerprint(), X[["smi"]].to_numpy()),
        (CompoundFingerprint(), X.rename(columns={"smi": "SMILES"})),
    ):
        np.testing.assert_array_equal(fingerprint.fit_transform(table), expected)


def test_two_columns_of_a_combination():
    X = pd.DataFrame({"one": ["CCO", "C"], "two": [None, "CCO"]})
    fingerprint = CompoundFingerprint(column=["one", "two"], n_bits=16).fit(X)
    parts = [CompoundFingerprint(column=c, n_bits=16).fit_transform(X) for c in X]
    np.testing.assert_array_equal(fingerprint.transform(X), np.hstack(parts))
    names = fingerprint.get_feature_names_out()
    assert names[[0, 16, -1]].tolist() == [
        "one_morgan_counts_0",
        "one_has_structure",
        "two_has_structure",
    ]
    of_array = CompoundFingerprint(n_bits=16).fit_transform(X.to_numpy())
    np.testing.assert_array_equal(of_array, np.hstack(parts))


def test_in_a_pipeline_and_a_column_transformer(screen):
    pipeline = make_pipeline(CompoundFingerprint(n_bits=64), Ridge())
    assert pipeline.fit(screen.X, screen.y).predict(screen.X_test).shape == (
        screen.y_test.shape
    )
    columns = make_column_transformer(
        (CompoundFingerprint(n_bits=64), SchemaColumns("smiles"))
    )
    np.testing.assert_array_equal(
        columns.fit_transform(screen.X), pipeline[0].transform(screen.X)
    )


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (
            {"kind": "ecfp"},
            r"'kind' .* Got 'ecfp' instead",
        ),
        ({"kind": []}, r"kind=\[\] must be one of"),
        ({"kind": ["maccs", "maccs"]}, "or a list of different ones"),
        ({"radius": -1}, r"'radius' .* Got -1 instead"),
        ({"n_bits": 0}, r"'n_bits' .* Got 0 instead"),
        ({"n_bits": 10.5}, r"'n_bits' .* Got 10.5 instead"),
        ({"column": "structure"}, r"column='structure' is not in X, which has \["),
        (
            {"schema": PerturbationSchema("sm_name")},
            "the schema names no smiles column",
        ),
    ],
)
def test_errors(params, match, screen):
    with pytest.raises(ValueError, match="(?i)" + match):
        CompoundFingerprint(**params).fit(screen.X)


def test_nameless_perturbations_are_refused(screen):
    X = screen.X.copy()
    X.loc[2, "sm_name"] = None
    with pytest.raises(ValueError, match="'sm_name': 1"):
        CompoundFingerprint().fit(X)
    with pytest.raises(ValueError, match="0 sample"):
        CompoundFingerprint().fit(X[:0])


def test_the_extra_is_named_when_rdkit_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    for call in (
        lambda: CompoundFingerprint().fit(column("CCO")),
        lambda: murcko_scaffolds(["CCO"]),
    ):
        with pytest.raises(ImportError, match=r'pip install "sklperturb\[chem\]"'):
            call()


def test_estimator_checks():
    for estimator in (
        CompoundFingerprint(n_bits=64),
        CompoundFingerprint(["maccs", "physchem"]),
    ):
        check_estimator(estimator, on_skip=None)
        check_perturbation_estimator(estimator)


def naive_tanimoto(A, B):
    return np.array(
        [
            [
                np.minimum(a, b).sum() / max(np.maximum(a, b).sum(), 1e-300)
                for b in np.asarray(B)
            ]
            for a in np.asarray(A)
        ]
    )


@pytest.mark.parametrize("fractions", [False, True])
def test_tanimoto_similarity(fractions):
    rng = np.random.default_rng(0)
    A = rng.poisson(0.5, (30, 40)) * (0.5 if fractions else 1)
    B = rng.poisson(1.0, (20, 40)) * (0.75 if fractions else 1)
    A[3] = 0  # a compound without features
    expected = naive_tanimoto(A, B)
    for convert in (np.asarray, sparse.csr_array, sparse.csc_matrix):
        np.testing.assert_allclose(
            tanimoto_similarity(convert(A), convert(B)), expected
        )
    with_itself = tanimoto_similarity(A)
    np.testing.assert_allclose(with_itself, naive_tanimoto(A, A))
    assert with_itself[3, 3] == 0
    assert np.linalg.eigvalsh(with_itself).min() > -1e-10
    in_blocks = tanimoto_similarity(A, block_size=50)
    np.testing.assert_array_equal(in_blocks, with_itself)


def test_tanimoto_similarity_refuses():
    with pytest.raises(ValueError, match="A holds negative values"):
        tanimoto_similarity([[1.0, -1.0]])
    with pytest.raises(ValueError, match="A has 2 features and B 3"):
        tanimoto_similarity([[1, 0]], [[1, 0, 1]])


def test_murcko_scaffolds(capfd):
    smiles = ["Cc1ccccc1", "CCO", None, "C[C@H](N)C1CC1", "x(", "Cl.Cc1ccncc1"]
    scaffolds, invalid = murcko_scaffolds(smiles)
    assert scaffolds.tolist() == ["c1ccccc1", None, None, "C1CC1", None, "c1ccncc1"]
    assert invalid.tolist() == [False, False, False, False, True, False]
    assert capfd.readouterr() == ("", "")
