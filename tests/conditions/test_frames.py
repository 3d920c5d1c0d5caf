"""Data frames of other libraries give what pandas gives, by name."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from sklperturb.baseline import AdditiveCombinationRegressor, AdditiveRegressor
from sklperturb.cells import log_normalise
from sklperturb.comparison import compare
from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.conditions import PerturbationSchema, control_rows, take_columns
from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.datasets import (
    make_chemical_screen,
    make_genetic_screen,
    write_submission,
)
from sklperturb.ensemble import PseudoLabelRegressor
from sklperturb.evaluation import CellScorer
from sklperturb.linear_model import BilinearGeneRegressor, GeneKnowledgeRidge
from sklperturb.metrics import discrimination_score, mrrmse
from sklperturb.model_selection import (
    LeaveOneContextOut,
    NamedSplit,
    UnseenContextKFold,
    UnseenGroupKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
    suggest_cv,
)
from sklperturb.models import list_models, make_model
from sklperturb.preprocessing import (
    CompoundFingerprint,
    ExpressionGeneEmbedding,
    GeneSetEncoder,
    LookupEmbedding,
    SchemaColumns,
    TargetStatisticsEncoder,
    make_condition_encoder,
)

COLUMNS = ["cell_type", "sm_name", "SMILES", "control"]
FOREIGN = {
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
CV = [
    UnseenPerturbationKFold(2, keep_controls=True, random_state=0),
    UnseenContextKFold(2, random_state=0),
    UnseenPairKFold(2, random_state=0),
    UnseenGroupKFold(2, by="sm_lincs_id", random_state=0),
    UnseenScaffoldKFold(2, random_state=0),
    LeaveOneContextOut(),
    NamedSplit([("B cells", None)]),
]
# Those of `best` are among the others, and it takes a minute; a flow needs cells.
MODELS = [
    pytest.param(m.name, marks=[pytest.mark.slow] if m.name == "best" else [])
    for m in list_models()
    if m.available and m.name != "flow"
]


@pytest.fixture(scope="module")
def tiny():
    return make_chemical_screen(4, 12, 8, n_shared=4, random_state=0)


@pytest.fixture(params=FOREIGN)
def foreign(request):
    """Return a function that converts a frame, its columns in another order."""

    def convert(X):
        X = X.reset_index(drop=True)
        if "sm_name" in X:
            X = X[["sm_lincs_id", *reversed(COLUMNS)]]
        return FOREIGN[request.param](X)

    return convert


def quick(name):
    model = make_model(name, random_state=0)
    epochs = [p for p in model.get_params() if p.rpartition("__")[2] == "max_epochs"]
    return model.set_params(**dict.fromkeys(epochs, 1))


@pytest.fixture(scope="module")
def expected(tiny):
    """Return what a model predicts from pandas; each is fitted once."""
    known = {}

    def predict(name):
        if name not in known:
            fitted = quick(name).fit(tiny.X[COLUMNS], tiny.y)
            known[name] = fitted.predict(tiny.X_test[COLUMNS])
        return known[name]

    return predict


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_models_predict_what_they_do_from_pandas(tiny, foreign, expected, name):
    fitted = quick(name).fit(foreign(tiny.X), foreign(tiny.y))
    found = fitted.predict(foreign(tiny.X_test))
    np.testing.assert_allclose(found, expected(name), rtol=1e-8, atol=1e-10)


def test_pandas_fit_and_foreign_predict(tiny, foreign):
    X = tiny.X[["sm_lincs_id", *reversed(COLUMNS)]]
    model = AdditiveRegressor().fit(X, tiny.y)
    assert model.schema_.perturbation == "sm_name"
    X_test = tiny.X_test[X.columns]
    np.testing.assert_array_equal(
        model.predict(foreign(tiny.X_test)), model.predict(X_test)
    )


@pytest.mark.parametrize("cv", CV, ids=lambda cv: type(cv).__name__)
def test_splitters(tiny, foreign, cv):
    pairs = zip(cv.split(tiny.X), cv.split(foreign(tiny.X)), strict=True)
    for (train, test), (train_foreign, test_foreign) in pairs:
        np.testing.assert_array_equal(train, train_foreign)
        np.testing.assert_array_equal(test, test_foreign)


@pytest.mark.parametrize(
    "encoder",
    [
        make_condition_encoder(n_components=3),
        TargetStatisticsEncoder(n_components=None),
        CompoundFingerprint("maccs"),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_encoders(tiny, foreign, encoder):
    expected = encoder.fit_transform(tiny.X, tiny.y)
    names = encoder.get_feature_names_out().tolist()
    found = encoder.fit_transform(foreign(tiny.X), foreign(tiny.y))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert encoder.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(
        encoder.transform(foreign(tiny.X_test)),
        encoder.transform(as_pandas(foreign(tiny.X_test))),
    )


def test_genes_of_a_foreign_target_keep_their_names(tiny, foreign):
    encoder = TargetStatisticsEncoder(["mean"], n_components=None)
    encoder.fit(foreign(tiny.X), foreign(tiny.y))
    assert encoder.get_feature_names_out()[0] == f"cell_type_mean_{tiny.y.columns[0]}"


def test_genes_of_a_foreign_target_are_known_by_their_names():
    rng = np.random.RandomState(0)
    loadings, genes = rng.normal(size=(30, 3)), [f"G{i}" for i in range(30)]
    y = pd.DataFrame(loadings @ loadings.T, columns=genes)
    X = pd.DataFrame({"target_gene": genes})
    bilinear = BilinearGeneRegressor(n_components=3)
    for model in (
        bilinear,
        PerturbationEffectRegressor(bilinear, subtract_control=False),
        GeneKnowledgeRidge([ExpressionGeneEmbedding(3)]),
    ):
        expected = model.fit(X[:20], y[:20]).predict(X[20:])
        assert np.ptp(expected, axis=0).min() > 0
        for convert in FOREIGN.values():
            found = model.fit(X[:20], convert(y[:20])).predict(X[20:])
            np.testing.assert_allclose(found, expected)


def test_pseudo_labels(tiny, foreign):
    model = PseudoLabelRegressor(AdditiveRegressor(), weight=1)
    given = model.fit(tiny.X, tiny.y, X_unlabeled=tiny.X_test).predict(tiny.X_test)
    model.fit(foreign(tiny.X), tiny.y, X_unlabeled=foreign(tiny.X_test))
    np.testing.assert_allclose(model.predict(foreign(tiny.X_test)), given)
    with pytest.raises(ValueError, match=r"lacks the columns .*'SMILES'"):
        model.fit(tiny.X, tiny.y, X_unlabeled=FOREIGN["polars"](tiny.X[["sm_name"]]))


def test_suggest_cv_and_compare(tiny, foreign):
    X = foreign(tiny.X)
    cv = suggest_cv(X, foreign(tiny.X_test), n_splits=2)
    assert repr(cv) == repr(suggest_cv(as_pandas(X), tiny.X_test, n_splits=2))
    options = {"cv": cv, "baselines": ["gene_mean"], "n_resamples": 10}
    found = compare(["additive"], X, foreign(tiny.y), **options)
    expected = compare(["additive"], tiny.X, tiny.y, **options)
    np.testing.assert_allclose(found.folds["value"], expected.folds["value"])


def test_scores_match_genes_by_name(tiny, foreign):
    y = tiny.y
    turned = y[y.columns[::-1]]
    assert mrrmse(foreign(y), foreign(turned)) == 0
    effects, turned = y[:8], turned[:8]
    options = {"targets": y.columns[:8], "exclude": "own"}
    found = discrimination_score(foreign(effects), foreign(turned), **options)
    np.testing.assert_allclose(found, discrimination_score(effects, turned, **options))


def test_controls_and_columns(foreign):
    X = pd.DataFrame({"flag": [True, None], "gene": ["A", "ctrl"]})
    assert control_rows(foreign(X), PerturbationSchema("gene")).tolist() == [0, 1]
    flagged = PerturbationSchema("gene", control="flag")
    assert control_rows(foreign(X), flagged).tolist() == [1, 0]
    assert take_columns(foreign(X), ["gene"]).tolist() == [["A"], ["ctrl"]]
    with pytest.raises(ValueError, match=r"condition columns \('flag': 1\)"):
        take_columns(foreign(X), ["gene", "flag"])
    flags = read_column(foreign(X), "flag", allow_missing=True)
    assert flags[0] is True
    assert pd.isna(flags[1])
    assert SchemaColumns("perturbation")(foreign(X)) == ["gene"]


def test_arrays_are_read_by_position():
    X = np.array([["B", "u"], ["NK", "v"]], dtype=object)
    assert take_columns(X, [1, 0]).tolist() == [["u", "B"], ["v", "NK"]]
    assert read_column([["B", 2], ["NK", 3]], 1).tolist() == [2, 3]
    with pytest.raises(ValueError, match="X has 1 dimensions"):
        take_columns(["u", "v"], [0])


def test_lookup_table_and_submission(foreign, tmp_path):
    table = pd.DataFrame({"a": [1.0, 0.0], "gene": ["KLF1", "MYC"]})
    X = pd.DataFrame({"gene": ["MYC", "KLF1"]})
    embedding = LookupEmbedding(foreign(table), add_indicator=False)
    assert embedding.fit_transform(foreign(X)).tolist() == [[0.0], [1.0]]
    y_pred = pd.DataFrame({"G2": [2.0], "G1": [1.0]})
    id_map = foreign(pd.DataFrame({"id": [7]}))
    path = write_submission(tmp_path / "s.csv", foreign(y_pred), id_map, ["G1", "G2"])
    assert path.read_text().split() == ["id,G1,G2", "7,1,2"]


def test_lazy_frames_are_refused(tiny):
    lazy = pl.from_pandas(tiny.X).lazy()
    with pytest.raises(TypeError, match=r"polars.*LazyFrame is lazy.*collect"):
        AdditiveRegressor().fit(lazy, tiny.y)


def test_what_is_no_frame_is_left_alone():
    for given in (np.eye(2), [[1]], "text", None, Ridge()):
        assert as_pandas(given) is given


def test_models_of_cells_and_their_scores(foreign):
    screen = make_genetic_screen(
        6, 20, cells_per_perturbation=10, n_controls=20, embedding_dim=4, random_state=0
    )
    X, table = screen.X, screen.gene_embedding
    y = log_normalise(screen.y.X).toarray()
    swapped = foreign(X[X.columns[::-1]])
    given = make_pipeline(LookupEmbedding(table), Ridge())
    model = PerturbationEffectRegressor(given, match_batch=True).fit(X, y)
    again = PerturbationEffectRegressor(given, match_batch=True).fit(swapped, y)
    np.testing.assert_allclose(again.predict(swapped), model.predict(X))
    scorer = CellScorer("discrimination")
    assert scorer(again, swapped, y) == scorer(model, X, y)
    combined = AdditiveCombinationRegressor().fit(X, y).predict(X)
    found = AdditiveCombinationRegressor().fit(swapped, y).predict(swapped)
    np.testing.assert_allclose(found, combined)
    for keep in (True, "both"):
        cv = UnseenPerturbationKFold(2, keep_controls=keep, random_state=0)
        for (_, test), (_, other) in zip(cv.split(X), cv.split(swapped), strict=True):
            np.testing.assert_array_equal(test, other)


def test_gene_embeddings(foreign, tmp_path):
    X = pd.DataFrame({"cell_type": list("TTU"), "target_gene": ["A", "B+A", "ctrl"]})
    (tmp_path / "sets.gmt").write_text("s1\td\tA\tB\ns2\td\tB\tC\n")
    encoder = GeneSetEncoder([tmp_path / "sets.gmt"], n_components=2, min_size=1)
    expected = encoder.fit_transform(X)
    swapped = foreign(X[X.columns[::-1]])
    np.testing.assert_allclose(encoder.fit_transform(swapped), expected)
    table = pd.DataFrame(np.eye(2), index=["Tp53", "MYC"])
    lower = pd.DataFrame({"target_gene": ["TP53", "other"]})
    with pytest.warns(UserWarning, match="1 of them differ in .* 'Tp53' for 'TP53'"):
        LookupEmbedding(table).fit_transform(lower)
