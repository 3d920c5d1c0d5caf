"""Mechanisms of action and target genes beside structures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sklperturb import load, save
from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.linear_model._compound_kernel import MechanismSimilarity
from sklperturb.metrics import mrrmse
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.models import BestRegressor, select_models
from sklperturb.preprocessing import GeneSource

pytest.importorskip("rdkit", reason="structures need rdkit")

FIXED = {
    "kind": "maccs",
    "calibrate": False,
    "alphas": [0.5],
    "powers": [1],
    "context_shares": [0.3],
    "perturbation_shares": [0.1],
    "centre": "mean",
}


@pytest.fixture(scope="module")
def screen():
    """A screen in which compounds of one mechanism act alike, and training rows."""
    return make_chemical_screen(
        4, 48, 40, strong_fraction=1.0, mechanism_share=0.9, random_state=0
    )


@pytest.fixture(scope="module")
def halves(screen):
    """Training rows of some compounds, and of others."""
    [*_, (train, test)] = UnseenPerturbationKFold(4, random_state=0).split(screen.X)
    return [(screen.X.iloc[rows], screen.y.iloc[rows]) for rows in (train, test)]


def shuffled(X, seed=0):
    """Give each compound the mechanism of another."""
    names = X["sm_name"].unique()
    found = X.groupby("sm_name")["moa"].first()
    dealt = found.reindex(np.random.RandomState(seed).permutation(names)).to_numpy()
    return X.assign(moa=X["sm_name"].map(dict(zip(names, dealt, strict=True))))


def test_generated_mechanisms_are_a_column(screen):
    assert screen.schema.mechanism == "moa"
    assert screen.X.groupby("sm_name")["moa"].nunique().eq(1).all()
    counts = screen.X.drop_duplicates("sm_name")["moa"].value_counts()
    assert counts.min() >= 2
    assert "moa" in screen.X_test
    assert "moa" not in make_chemical_screen(3, 8, 5, random_state=0).X


def test_mechanisms_help_compounds_that_were_not_measured(halves):
    (X, y), (X_new, y_new) = halves
    model = TanimotoKernelRidge().fit(X, y)
    assert model.mechanism_share_ >= 0.25
    assert "moa" in model._used_columns()
    without = TanimotoKernelRidge(mechanism_shares=[0]).fit(X, y)
    assert without.mechanism_share_ == 0
    error, error_without = (mrrmse(y_new, m.predict(X_new)) for m in (model, without))
    assert error < 0.97 * error_without


def test_mechanisms_that_tell_nothing_change_nothing(halves):
    (X, y), (X_new, _) = halves
    model = TanimotoKernelRidge(kind="maccs").fit(shuffled(X), y)
    without = TanimotoKernelRidge(kind="maccs").fit(X.drop(columns="moa"), y)
    assert model.mechanism_share_ == 0
    assert model.seen_choice_ == without.seen_choice_
    # What is not used need not be there.
    found = model.predict(X_new.drop(columns="moa"))
    np.testing.assert_array_equal(found, without.predict(X_new.drop(columns="moa")))
    assert model._used_columns() == without._used_columns()


def test_used_column_is_needed(halves):
    (X, y), (X_new, _) = halves
    model = TanimotoKernelRidge(mechanism_shares=[0.5], kind="maccs").fit(X, y)
    with pytest.raises(ValueError, match="moa"):
        model.predict(X_new.drop(columns="moa"))


def plain(n_compounds=12, n_genes=6):
    """Return one context without structures, of compounds with terms."""
    rng = np.random.RandomState(1)
    moa = ["A", "A|B", "B", None, "C", "unknown", "c;A", "D", "D", "", "B,C", "E"]
    X = pd.DataFrame({"sm_name": [f"u{i}" for i in range(n_compounds)], "moa": moa})
    return X, rng.normal(size=(n_compounds, n_genes))


def naive(X, X_train):
    """Return the cosines of terms with their inverse frequencies, pair by pair."""

    def terms(text):
        parts = (text or "").replace(";", "|").replace(",", "|").casefold().split("|")
        return {part for part in parts if part not in ("", "unknown")}

    every = [terms(text) for text in X_train["moa"]]

    def weight(term):
        return np.log((len(every) + 1) / (sum(term in s for s in every) + 1)) + 1

    def length(one):
        return np.sqrt(sum(weight(term) ** 2 for term in one))

    def alike(row, other):
        one, two = terms(row["moa"]), terms(other["moa"])
        if not one or not two:
            return float(row["sm_name"] == other["sm_name"])
        inner = sum(weight(term) ** 2 for term in one & two)
        return inner / length(one) / length(two)

    return np.array(
        [[alike(r, o) for _, o in X_train.iterrows()] for _, r in X.iterrows()]
    )


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_prediction_is_ridge_on_both_kernels(share):
    X, y = plain()
    new = pd.DataFrame(
        {"sm_name": ["n1", "n2", "n3", "u1"], "moa": ["a|e", "D|new", None, None]}
    )
    model = TanimotoKernelRidge(mechanism_shares=[share], **FIXED).fit(X, y)
    assert model.mechanism_share_ == share
    filled = new.assign(moa=["a|e", "D|new", None, "A|B"])

    def kernel(rows):
        names = rows["sm_name"].to_numpy()[:, None] == X["sm_name"].to_numpy()
        return 1.3 * (0.1 + (1 - share) * names + share * naive(rows, X))

    dual = np.linalg.solve(kernel(X) + 0.5 * np.eye(len(X)), y - y.mean(axis=0))
    expected = kernel(filled) @ dual + model.grand_mean_share_ * y.mean(axis=0)
    np.testing.assert_allclose(model.predict(new), expected, rtol=1e-8)


def test_left_out_error_is_that_of_refits():
    X, y = plain()
    model = TanimotoKernelRidge(mechanism_shares=[0.5], **FIXED).fit(X, y)
    kernel = 1.3 * (0.1 + 0.5 * np.eye(len(X)) + 0.5 * naive(X, X))
    centred, errors = y - y.mean(axis=0), []
    for i in range(len(X)):
        rows = np.arange(len(X)) != i
        inside = kernel[np.ix_(rows, rows)] + 0.5 * np.eye(rows.sum())
        y_pred = kernel[i, rows] @ np.linalg.solve(inside, centred[rows])
        errors.append(np.sqrt(np.mean((centred[i] - y_pred) ** 2)))
    np.testing.assert_allclose(model.left_out_error_, np.mean(errors), rtol=1e-8)


def test_share_needs_a_gain_beyond_chance():
    """With 0 to choose, noise gets no share; without it, it has to take one."""
    X, y = plain()
    assert TanimotoKernelRidge().fit(X, y).mechanism_share_ == 0
    forced = TanimotoKernelRidge(mechanism_shares=[0.3, 0.6]).fit(X, y)
    assert forced.mechanism_share_ in (0.3, 0.6)


def test_names_of_one_structure_share_what_is_known():
    X = pd.DataFrame(
        {
            "sm_name": ["a", "twin of a", "b", "c"],
            "SMILES": ["CCO", "OCC", "CCN", "c1ccccc1"],
            "moa": ["T", None, "T", "S"],
        }
    )
    model = TanimotoKernelRidge(mechanism_shares=[1.0], **FIXED)
    model.fit(X, np.arange(4.0))
    compound = model._compound_of(np.array([0, 3]), np.array(["CCO", "CCO"]))
    found = model._mechanism([(), ()], compound)
    np.testing.assert_allclose(found, [[1, 1, 1, 0]] * 2)


def test_target_genes_are_linked_by_sources():
    genes = np.array(["JAK1", "JAK2", "EGFR"])
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    source = GeneSource("own", genes, vectors, {"as of a screen": None})
    terms, compound = [("JAK1",), ("JAK2",), ("EGFR",), ("X",), ()], np.arange(5)
    alone = MechanismSimilarity(terms, compound)(terms, compound)
    np.testing.assert_allclose(alone, np.eye(5))
    linked = MechanismSimilarity(terms, compound, [source])
    expected = np.eye(5)
    expected[:3, :3] = (np.eye(3) + vectors @ vectors.T) / 2
    np.testing.assert_allclose(linked(terms, compound), expected, atol=1e-12)
    # An unseen compound with two targets has the direction of both.
    asked = linked([("JAK1", "EGFR")], np.array([-1]))[0]
    both = np.array([1.0, 1.0]) / np.sqrt(2)
    weight = 1 / np.sqrt(2)  # of one of two terms as frequent
    own = np.array([weight, 0, weight])
    np.testing.assert_allclose(asked[:3], (own + vectors @ both) / 2)
    assert not asked[3:].any()


def test_sources_with_a_number_for_each_gene_of_a_screen_make_small_files():
    terms, compound = [("A",), ("B",), ("C",), ("A", "C"), ()], np.arange(5)
    vectors = np.random.RandomState(2).normal(size=(4, 500))
    source = GeneSource("own", np.array(list("ABCD")), vectors)
    known = MechanismSimilarity(terms, compound, [source])
    assert known.spaces[1].vectors.shape == (4, 4)
    assert known.vectors[1].shape == (5, 4)
    vectors = vectors - vectors[:3].mean(axis=0)  # of the targets that there are
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = known([("D",)], np.array([-1]))[0]
    np.testing.assert_allclose(2 * asked[:3], vectors[3] @ vectors[:3].T, atol=1e-12)


def test_sources_without_a_known_target_are_told():
    X, y = plain()
    table = pd.DataFrame([[1.0], [2.0]], index=["G1", "G2"])
    with pytest.warns(UserWarning, match="knows none of the 6 mechanisms or targets"):
        TanimotoKernelRidge(sources=[table]).fit(X, y)


def test_sources_without_targets_are_told():
    X, y = plain()
    table = pd.DataFrame([[1.0, 0.0], [2.0, 1.0]], index=["A", "B"])
    model = TanimotoKernelRidge(sources=[table])
    with pytest.warns(UserWarning, match="Sources are not used.* no column names"):
        model.fit(X[["sm_name"]], y)
    with pytest.warns(UserWarning, match="not used.* column 'moa' nowhere names"):
        model.fit(X.assign(moa=None), y)


def test_model_in_a_file_predicts_the_same(halves, tmp_path):
    (X, y), (X_new, _) = halves
    model = TanimotoKernelRidge(kind="maccs", mechanism_shares=[0.5]).fit(X, y)
    save(model, tmp_path / "model.skpt")
    again = load(tmp_path / "model.skpt")
    np.testing.assert_array_equal(again.predict(X_new), model.predict(X_new))
    assert again._used_columns() == model._used_columns()


def test_best_reads_mechanisms_without_structures(halves):
    (X, y), (X_new, y_new) = halves
    X, X_new = (table.drop(columns="SMILES") for table in (X, X_new))
    best = BestRegressor(parts=["structure", "context"], random_state=0).fit(X, y)
    assert best.parts_["unseen"]["structure"].mechanism_share_ > 0
    assert "moa" in best._used_columns()
    with pytest.raises(ValueError, match="moa"):
        best.predict(X_new.drop(columns="moa"))
    plain = BestRegressor(parts=["context"], random_state=0).fit(X, y)
    assert mrrmse(y_new, best.predict(X_new)) < mrrmse(y_new, plain.predict(X_new))


def test_models_that_mechanisms_are_enough_for():
    schema = PerturbationSchema("drug", "line", mechanism="moa")
    entries, left_out = select_models("default", schema)
    assert "tanimoto_kernel" in [entry.name for entry in entries]
    assert left_out["nearest_compound"] == "it needs a smiles column"
    neither = select_models("default", PerturbationSchema("drug", "line"))[1]
    assert neither["tanimoto_kernel"] == "it needs a smiles or mechanism column"


@pytest.mark.parametrize("shares", [[], [1.5], [-0.1], [np.nan]])
def test_shares_are_from_0_to_1(shares):
    X, y = plain()
    with pytest.raises(ValueError, match="mechanism_shares"):
        TanimotoKernelRidge(mechanism_shares=shares).fit(X, y)


def test_what_is_not_measured_covaries_by_mechanism(halves):
    (X, y), (X_new, _) = halves
    without, model = (
        TanimotoKernelRidge(**FIXED, mechanism_shares=[share]).fit(X, y)
        for share in (0, 0.75)
    )
    covariance = model.prior_covariance(X_new, X)
    eigenvalues = np.linalg.eigvalsh(model.prior_covariance(X_new))
    assert eigenvalues[0] > -1e-9 * eigenvalues[-1]
    first = X_new.iloc[0]
    here = (X["cell_type"] == first["cell_type"]).to_numpy()
    same = here & (X["moa"] == first["moa"]).to_numpy()
    other = here & ~same
    assert same.any() and other.any()
    assert covariance[0, same].mean() > 2 * covariance[0, other].mean()
    alone = without.prior_covariance(X_new, X)
    assert alone[0, same].mean() < 1.5 * alone[0, other].mean()
    part = model.prior_covariance(X_new.iloc[3:5], X.iloc[::2])
    np.testing.assert_allclose(part, covariance[3:5, ::2], atol=1e-10)
    # A row without an entry has the one that its compound has in training.
    silent = model.prior_covariance(X.assign(moa=None).head(3), X)
    np.testing.assert_allclose(silent, model.prior_covariance(X.head(3), X), atol=1e-10)


def test_one_value_for_all_tells_nothing(halves):
    (X, y), _ = halves
    for value in ("kinase inhibitor", ["A", "B"]):
        same = X.assign(moa=pd.Series([value] * len(X), index=X.index))
        model = TanimotoKernelRidge(kind="maccs", mechanism_shares=[0.5]).fit(same, y)
        assert model.mechanism_share_ == 0
        assert "moa" not in model._used_columns()


def test_lists_are_as_text_that_lists(halves):
    (X, y), (X_new, _) = halves
    model = TanimotoKernelRidge(kind="maccs", mechanism_shares=[0.5])
    expected = model.fit(X, y).predict(X_new)
    listed = [
        table.assign(moa=[[text] for text in table["moa"]]) for table in (X, X_new)
    ]
    found = model.fit(listed[0], y).predict(listed[1])
    np.testing.assert_array_equal(found, expected)


NOT_TOLD = "new compounds have a mechanism in column 'moa' that compounds had in fit"


def test_new_compounds_without_a_mechanism_are_told(halves, recwarn):
    (X, y), (X_new, _) = halves
    model = TanimotoKernelRidge(kind="maccs", mechanism_shares=[0.5]).fit(X, y)
    names = X_new["sm_name"].unique()
    model.predict(X_new)
    model.predict(X.assign(moa=None))  # those of fit have it from there
    # One in twelve that is missing is no more than chance.
    model.predict(X_new.assign(moa=X_new["moa"].mask(X_new["sm_name"] == names[0])))
    assert not [w for w in recwarn if "mechanism" in str(w.message)]
    first = X_new["moa"].where(X_new["sm_name"] == names[0])
    for moa, n_told in ((None, 0), ("never heard of", 0), (first, 1)):
        with pytest.warns(UserWarning, match=f"^{n_told} of {len(names)} {NOT_TOLD}"):
            model.predict(X_new.assign(moa=moa))


def test_nothing_is_told_where_training_hardly_had_mechanisms(halves, recwarn):
    (X, y), (X_new, _) = halves
    kept = X["sm_name"].isin(X["sm_name"].unique()[:3])
    model = TanimotoKernelRidge(kind="maccs", mechanism_shares=[0.5])
    model.fit(X.assign(moa=X["moa"].where(kept)), y)
    assert model.mechanism_share_ == 0.5
    model.predict(X_new.assign(moa=None))
    # Nor where mechanisms are read for compounds that were measured elsewhere only.
    model.fit(X, y)._unseen = replace(model._unseen, mechanism_share=0.0)
    model.predict(X_new.assign(moa=None))
    assert not [w for w in recwarn if "mechanism" in str(w.message)]


def test_share_of_compounds_that_others_tell_of():
    terms = [("A",), ("a", "B"), ("C",), ()]
    known = MechanismSimilarity(terms, np.arange(4))
    assert known.share_told == 0.5
    found = known.tells([("A", "X"), ("X",), (), ("c",)])
    assert found.tolist() == [True, False, False, True]
    source = GeneSource("own", np.array(["C", "X"]), np.eye(2), {"screen": None})
    linked = MechanismSimilarity(terms, np.arange(4), [source])
    assert linked.share_told == 0.75


def test_names_of_one_structure_covary_as_in_fit():
    X = pd.DataFrame(
        {
            "sm_name": ["a", "twin of a", "b", "c", "d"],
            "SMILES": ["CCO", "OCC", "CCN", "c1ccccc1", "CCCC"],
            "moa": [None, None, "T", "S", "T"],
        }
    )
    model = TanimotoKernelRidge(mechanism_shares=[0.5], **FIXED).fit(X, np.arange(5.0))
    covariance = model.prior_covariance(X)
    np.testing.assert_allclose(covariance[0, 1], covariance[0, 0])
    new = X.assign(sm_name=["v", "w", "x", "y", "z"], SMILES=["CCCO", "OCCC", *"CCC"])
    covariance = model.prior_covariance(new)
    np.testing.assert_allclose(covariance[0, 1], covariance[0, 0])
