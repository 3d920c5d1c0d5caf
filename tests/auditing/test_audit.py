"""The result, what folds claim, and what the audit is given."""

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    StandardScaler,
)

from sklperturb.auditing import _columns
from sklperturb.inspection import audit
from sklperturb.model_selection import (
    UnseenContextKFold,
    UnseenGroupKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
)
from sklperturb.preprocessing import TargetStatisticsEncoder
from tests.auditing.planted import (
    LEAKS,
    NEW,
    PAIRS,
    Lookup,
    make_screen,
    onehot_pairs,
    replicates,
    slips,
)

DATA_ONLY = ["rows", "levels", "names", "replicates", "copies", "columns"]


class Finite(BaseEstimator):
    """Takes infinite numbers for missing ones."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.where(np.isfinite(X))


@pytest.fixture(scope="module")
def found():
    case = LEAKS["lookup"][0](True)
    return audit(case.estimator, case.X, case.y, case.cv)


def test_the_report_tells_what_how_bad_and_what_to_do(found):
    text = repr(found)
    assert text.splitlines()[0].startswith("2 leaks found: 3 folds, 160 held-out rows")
    finding = found.findings[0]
    assert f"inflation {finding.inflation.inflation:+.4f}" in text
    assert "Look for what the estimator brings" in text
    assert max(map(len, text.splitlines())) <= 88
    page = found._repr_html_()
    assert "<table>" in page
    assert page.count("<tr>") == 1 + len(found.findings)


def test_names_of_the_user_are_no_html():
    X, y, _ = make_screen(n_compounds=20)
    number = X["sm_name"].str[-2:]
    X["sm_name"] = np.where(number < "10", "<b>x" + number, "<b>X" + number)
    X["sm_name"] = X["sm_name"].str.replace("X1", "X0")
    with pytest.warns(UserWarning, match="spelling"):
        page = audit("additive", X, y, NEW, checks=["names"])._repr_html_()
    assert "&lt;b&gt;X0" in page
    assert "<b>" not in page


def test_the_table_and_json_hold_the_same(found):
    table = found.table()
    assert table["kind"].tolist() == [f.kind for f in (*found.findings, *found.notes)]
    content = json.loads(json.dumps(found.to_dict()))
    assert content["ok"] is False
    assert [row["kind"] for row in content["findings"]] == table["kind"].tolist()
    assert content["checks"]["canary"] == "found"
    inflations = [row["inflation"] for row in content["findings"]]
    assert inflations == table["inflation"].tolist()


def test_what_was_not_measured_is_none_in_json():
    case = LEAKS["closure"][0](True)
    found = audit(case.estimator, case.X, case.y, case.cv, checks=["held responses"])
    [row] = found.to_dict()["findings"]
    assert row["inflation"] is None
    assert "through a function" in repr(found)


def test_an_empty_audit_is_clean_and_has_a_table():
    X, y, _ = make_screen(n_compounds=20)
    found = audit("gene_mean", X, y, PAIRS, checks=["rows"])
    assert found.ok
    assert len(found.table()) == 0
    assert list(found.table())[:3] == ["kind", "severity", "found"]
    assert repr(found).startswith("No leak was found")


def test_nothing_of_the_user_is_changed():
    case = LEAKS["components of the responses"][0](True)
    X, y = case.X.copy(), case.y.copy()
    before = repr(case.estimator)
    state = np.random.get_state()[1].copy()
    audit(case.estimator, case.X, case.y, case.cv)
    pd.testing.assert_frame_equal(case.X, X)
    assert np.array_equal(case.y, y)
    assert repr(case.estimator) == before
    assert np.array_equal(np.random.get_state()[1], state)
    assert not hasattr(case.estimator[-1], "coef_")


def test_the_same_seed_gives_the_same_audit():
    case = LEAKS["plates"][0](True)
    tables = [
        audit(case.estimator, case.X, case.y, case.cv, random_state=5).table()
        for _ in range(2)
    ]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("form", ["frame", "anndata", "list"])
def test_responses_come_in_any_form(form):
    case = slips(True)
    y = {
        "frame": pd.DataFrame(case.y).add_prefix("g"),
        "anndata": AnnData(case.y),
        "list": case.y.tolist(),
    }[form]
    found = audit(case.estimator, case.X, y, case.cv, checks=DATA_ONLY)
    expected = audit(case.estimator, case.X, case.y, case.cv, checks=DATA_ONLY)
    assert found.findings[0].found == expected.findings[0].found
    assert found.score == pytest.approx(expected.score)


def test_one_gene_is_enough():
    X, y, _ = make_screen()
    found = audit("additive", X, y[:, 0], PAIRS)
    assert found.ok
    assert found.checks["copies"] == "there are fewer than 5 genes"


def test_arrays_of_conditions():
    X, y, _ = make_screen()
    codes = X.apply(lambda column: pd.factorize(column)[0]).to_numpy()
    found = audit("additive", codes, y, PAIRS, checks=DATA_ONLY)
    assert found.claims == {"perturbation": "known", "context": "known"}


def test_what_folds_claim_is_read_from_them():
    X, y, _ = make_screen()
    contexts = UnseenContextKFold(2, random_state=0)
    asked = {"pairs": PAIRS, "perturbations": NEW, "contexts": contexts}
    claims = {
        name: audit("gene_mean", X, y, cv, checks=["rows"]).claims
        for name, cv in asked.items()
    }
    assert claims == {
        "pairs": {"perturbation": "known", "context": "known"},
        "perturbations": {"perturbation": "new", "context": "known"},
        "contexts": {"perturbation": "known", "context": "new"},
    }


def test_what_the_user_claims_counts():
    X, y, _ = make_screen()
    found = audit("additive", X, y, PAIRS, claims=["perturbation"], checks=["levels"])
    assert [f.kind for f in found.findings] == ["levels"]
    assert audit("additive", X, y, PAIRS, claims=[], checks=["levels"]).ok


def test_new_donors_are_asked_for_with_known_conditions():
    case = replicates(True)
    donor = np.repeat(["a", "b"], len(case.X) // 2)
    X = case.X.assign(donor=donor)
    folds = list(GroupKFold(2).split(X, groups=donor))
    model = onehot_pairs()
    assert audit(model, X, case.y, folds, checks=["replicates"]).ok
    random = KFold(2, shuffle=True, random_state=0)
    assert not audit(model, X, case.y, random, checks=["replicates"]).ok


def test_other_doses_of_a_pair_are_a_note():
    X, y, rng = make_screen(n_contexts=2, n_compounds=20)
    X = pd.concat([X.assign(dose=d) for d in (0.1, 1.0, 10.0)], ignore_index=True)
    y = np.vstack([y, y, y]) + rng.normal(size=(len(X), y.shape[1]))
    found = audit("additive", X, y, KFold(3, shuffle=True), checks=["replicates"])
    assert found.ok
    assert "at another dose" in found.notes[0].found


def test_unused_leaks_are_notes():
    case = LEAKS["components of the responses"][0](True)
    found = audit("additive", case.X, case.y, case.cv, checks=["columns"])
    assert found.ok
    assert "does not use them" in found.notes[0].advice
    X, y, _ = make_screen()
    keeps = Lookup().set_params(names=y)
    assert audit(keeps, X, y, PAIRS, checks=["held responses"]).ok


def test_fitted_to_other_data_is_a_note():
    case = LEAKS["bound method"][0](False)
    found = audit(case.estimator, case.X, case.y, case.cv, checks=["fitted before"])
    assert found.ok
    assert "as far as can be told" in found.notes[0].found


def test_fitted_without_responses_is_a_note():
    X, y, rng = make_screen()
    X = X.assign(mass=rng.normal(size=40)[X["sm_name"].str[-2:].astype(int)])
    numbers = X[["mass"]].assign(square=X["mass"] ** 2)
    scaler = FrozenEstimator(StandardScaler().fit(numbers))
    model = make_pipeline(scaler, Ridge())
    found = audit(model, numbers, y, PAIRS, conditions=X, checks=["fitted before"])
    assert found.ok
    assert "but not to their responses" in found.notes[0].found


def test_a_single_gene_may_have_chosen_features():
    X, y, _ = make_screen()
    onehot = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    chosen = SelectKBest(f_regression, k=20).fit(onehot.fit_transform(X), y[:, 0])
    model = make_pipeline(onehot, FrozenEstimator(chosen), Ridge())
    found = audit(model, X, y, PAIRS, checks=["fitted before"])
    assert [f.kind for f in found.findings] == ["fitted before"]


def test_encodings_that_leave_one_out_are_found():
    X, y, _ = make_screen()
    sums = pd.DataFrame(y).groupby(X["sm_name"]).transform("sum").to_numpy()
    others = pd.DataFrame((sums - y) / 3, X.index).add_prefix("mean of gene ")
    found = audit("gene_mean", X.join(others), y, PAIRS, checks=["columns"])
    assert "over the other rows of its perturbation" in found.notes[0].found


def test_weak_leaks_are_low():
    case = LEAKS["names of salts"][0](True)
    found = audit(case.estimator, case.X, case.y, case.cv)
    assert found.findings[0].severity == "low"
    assert not found.ok


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"checks": ["canarry"]}, ValueError, "Did you mean 'canary'"),
        ({"claims": ["compound"]}, ValueError, "is no role that folds hold out"),
        ({"scoring": "mse"}, ValueError, "is no rowwise metric"),
        ({"cv": []}, ValueError, "nothing to audit"),
        ({"cv": [([], [0, 1])]}, ValueError, "no rows to train on"),
        ({"cv": [([0, 1], [])]}, ValueError, "no rows to test"),
        ({"estimator": "rigde"}, ValueError, "Did you mean 'ridge'"),
        ({"y": np.full((40, 5), np.nan)}, ValueError, "NaN"),
        ({"y": np.zeros((3, 5))}, ValueError, "inconsistent"),
    ],
)
def test_what_cannot_be_audited_is_told(options, error, told):
    X, y, _ = make_screen(n_contexts=2, n_compounds=20, n_genes=5)
    given = {"estimator": "gene_mean", "X": X, "y": y, "cv": PAIRS} | options
    with pytest.raises(error, match=told):
        audit(**given)


@pytest.mark.parametrize("n_genes", [30, 400])
def test_components_are_found_of_few_and_of_many_genes(n_genes):
    X, y, _ = make_screen(n_genes=n_genes)
    y = y + 3.0  # most of what is not centred is the mean
    pcs = PCA(6, svd_solver="full").fit_transform(y)[:, 3:]
    with_components = pd.concat([X, pd.DataFrame(pcs).add_prefix("pc")], axis=1)
    found = audit("additive", with_components, y, PAIRS, checks=["columns"])
    assert [note.examples for note in found.notes] == [["pc0", "pc1", "pc2"]]


@pytest.mark.parametrize("statistic", ["mean", "component", "own mean"])
def test_columns_that_are_missing_in_some_rows_are_compared_in_the_others(statistic):
    X, y, rng = make_screen()
    if statistic == "mean":
        encoder = TargetStatisticsEncoder(["mean"])
        columns = np.asarray(encoder.fit(X, y).transform(X), dtype=float)
        columns = columns[:, y.shape[1] :]  # those of the perturbations
    elif statistic == "component":
        columns = PCA(2).fit_transform(y)
    else:
        columns = y.mean(axis=1)[:, None]
    columns[rng.random(len(X)) < 0.2, 0] = np.nan
    columns[:1] = np.nan
    columns[1, 0] = np.inf
    features = pd.DataFrame(columns).add_prefix("f")
    pipeline = make_pipeline(Finite(), SimpleImputer(), StandardScaler(), Ridge())
    found = audit(pipeline, features, y, PAIRS, conditions=X, checks=["columns"])
    assert found.checks["columns"] == "found"
    assert "f0" in found.findings[0].examples
    assert "where it has numbers" in found.findings[0].found
    assert np.isfinite(found.findings[0].inflation.inflation)


def test_columns_with_too_few_numbers_are_not_called_clean():
    X, y, rng = make_screen()
    sparse = np.full((len(X), 2), np.nan)
    sparse[:6, 0] = y[:6].mean(axis=1)
    features = pd.DataFrame(sparse, columns=["few", "none"])
    features["noise"] = rng.normal(size=len(X))
    with_columns = pd.concat([X, features], axis=1)
    found = audit("additive", with_columns, y, PAIRS, checks=["columns"])
    assert found.ok
    assert "in the columns 'few'; no other was found" in found.checks["columns"]
    assert "Not checked: columns, too few numbers" in " ".join(repr(found).split())


def test_counts_that_are_missing_in_some_rows_are_technical():
    X, y, rng = make_screen()
    size = rng.normal(size=len(X))
    y = y + 5 * size[:, None]
    X["n_cells"] = np.exp(5 + size)
    X.loc[3, "n_cells"] = np.nan
    found = audit("additive", X, y, PAIRS, checks=["metadata"])
    (told,) = (*found.findings, *found.notes)
    assert told.found.startswith("A model of 'n_cells' alone predicts")


def test_columns_that_group_rows_alike_share_the_means(monkeypatch):
    X, y, rng = make_screen()
    descriptors = rng.normal(size=(40, 25))[pd.factorize(X["sm_name"])[0]]
    with_descriptors = pd.concat([X, pd.DataFrame(descriptors).add_prefix("d")], axis=1)
    calls = []
    means = _columns._standardised
    monkeypatch.setattr(
        _columns, "_standardised", lambda table: calls.append(1) or means(table)
    )
    found = audit("additive", with_descriptors, y, PAIRS, checks=["columns"])
    assert found.checks["columns"] == "clean"
    assert len(calls) <= 4  # means of functions and genes, medians, and other rows


@pytest.mark.parametrize(
    "make",
    [
        lambda: UnseenGroupKFold(2, by="moa", random_state=0),
        lambda: UnseenScaffoldKFold(2, random_state=0),
        lambda: UnseenPerturbationKFold(2, random_state=0),
    ],
    ids=["groups", "scaffolds", "structures"],
)
@pytest.mark.parametrize("named", [True, False])
def test_an_inflation_is_about_what_the_folds_hold_out(make, named):
    """Of two groups nothing is known about others, however many names they have."""
    pytest.importorskip("rdkit")
    X, y, _ = make_screen(n_contexts=2, n_compounds=20)
    number = X["sm_name"].str[-2:].astype(int) % 2
    X["moa"] = number.map({0: "a", 1: "b"})
    X["SMILES"] = number.map({0: "Cc1ccccc1", 1: "CC1CCCCC1"})
    leak = pd.DataFrame(y, X.index).add_prefix("g")
    cv = make()
    if named:
        given = {"X": pd.concat([X, leak], axis=1)}
    else:
        given = {"X": leak, "conditions": X}
    model = make_pipeline(FunctionTransformer(numbers_of), Ridge())
    [found, *_] = audit(model, y=y, cv=cv, checks=["columns"], **given).findings
    assert np.isnan(found.inflation.low)
    folds = list(cv.split(X))
    [found, *_] = audit(model, y=y, cv=folds, checks=["columns"], **given).findings
    assert found.inflation.low < found.inflation.inflation


def numbers_of(X):
    return X.select_dtypes("number")


def test_arrays_with_missing_numbers_are_no_responses():
    X, y, rng = make_screen()
    noted = rng.normal(size=len(X))
    noted[3] = np.nan
    found = audit(Lookup(names=noted), X, y, PAIRS, checks=["held responses"])
    assert found.ok and found.checks["held responses"] == "clean"
