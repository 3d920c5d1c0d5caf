"""The numbers marked as golden were computed by the public evaluators themselves, on
the same generated cells; benchmarks/evaluator_agreement.py computes them anew."""

import importlib.util
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.evaluation import CONVENTIONS, CellScorer, evaluate_cells
from sklperturb.evaluation._summary import _BULK_TOTAL, jackknife_variance
from sklperturb.metrics import population_scores

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((Path(__file__).parent / "evaluator_scores.json").read_text())


def benchmark(name):
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRICKS = benchmark("metric_tricks")


@pytest.fixture(scope="module")
def cells():
    """Counts and their log-normalised values; shared, so copy before changing."""
    module = benchmark("evaluator_agreement")
    counts = module.generated()
    return {"counts": counts, "log1p": [module.log_normalised(c) for c in counts]}


def evaluate(cells, convention, pred=None, **options):
    real, default = cells[CONVENTIONS[convention].values]
    pred = default if pred is None else pred
    options = {"control": "ctrl", "convention": convention} | options
    return evaluate_cells(real, pred, "target_gene", **options)


@pytest.mark.parametrize("convention", ["vcc2025", "cell_eval", "vcc2026"])
def test_scores_are_those_of_the_public_evaluator(cells, convention):
    found = evaluate(cells, convention, anchors=False).per_perturbation
    golden = pd.DataFrame(GOLDEN[convention]).astype(float)
    assert list(found.index) == list(golden.index)
    assert set(found.columns) == set(golden.columns)
    assert 0 < (found["pds" if "pds" in found else found.columns[0]] < 1).sum()
    np.testing.assert_allclose(found[golden.columns], golden, atol=1e-6)


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_the_truth_is_best_and_the_baseline_knows_nothing(cells, convention):
    real = cells[CONVENTIONS[convention].values][0]
    found = evaluate(cells, convention, pred=real).scores
    best = np.where(found["greater_is_better"], 1.0, 0.0)
    reachable = ~found.index.isin(["expr_mse_norm", "de_direction_match"])
    reachable &= ~found.index.str.contains("overlap|precision")
    # Two perturbations have no called gene, and so no area under a curve.
    reachable &= ~found.index.isin(["des", "pr_auc", "roc_auc"])
    np.testing.assert_allclose(found["score"][reachable], best[reachable], atol=1e-9)
    assert (found["scaled"][reachable].dropna() > 0).all()
    discrimination = [n for n in found.index if n.startswith(("pds", "discrimination"))]
    baseline = found.loc[discrimination, "baseline"]
    assert (baseline - 0.5).abs().max() < 0.25
    assert (found.loc[discrimination, "ceiling"] > baseline).all()


@pytest.mark.parametrize(
    "convention, golden",
    [
        ("vcc2025", 0.5738100801141396),
        ("cell_eval", 0.47090371734701303),
        ("vcc2026", 1.1055267344951254),
    ],
)
def test_overall_score_is_that_of_the_public_evaluator(cells, convention, golden):
    module = benchmark("evaluator_agreement")
    baseline = module.without_effect(cells["counts"][0])
    if convention != "vcc2026":
        baseline = module.log_normalised(baseline)
    found = evaluate(cells, convention, baseline=baseline)
    assert found.overall == pytest.approx(golden, abs=1e-6)


def test_undefined_scores_are_worth_nothing(cells):
    silent = cells["log1p"][0].copy()
    silent = silent[silent.obs["target_gene"].isin(["ctrl", "G01", "G04"])]
    found = evaluate_cells(
        silent, silent, "target_gene", control="ctrl", convention="cell_eval"
    ).scores
    assert found["score"].isna()[["pr_auc", "roc_auc", "de_direction_match"]].all()
    assert (found["scaled"][["pr_auc", "roc_auc"]] == 0).all()
    assert np.isnan(found["scaled"]["de_direction_match"])


def test_files_score_as_memory(cells, tmp_path):
    expected = evaluate(cells, "vcc2026")
    paths = [tmp_path / "real.h5ad", tmp_path / "pred.h5ad"]
    for path, side in zip(paths, cells["counts"], strict=True):
        side.write_h5ad(path)
    found = evaluate_cells(*paths, "target_gene", control="ctrl", convention="vcc2026")
    pd.testing.assert_frame_equal(found.scores, expected.scores)
    pd.testing.assert_frame_equal(found.per_perturbation, expected.per_perturbation)


def test_order_of_cells_and_rows_does_not_matter(cells):
    expected = evaluate(cells, "robust").per_perturbation
    pred = cells["log1p"][1]
    shuffled = pred[np.random.default_rng(0).permutation(pred.n_obs)].copy()
    found = evaluate(cells, "robust", pred=shuffled).per_perturbation
    pd.testing.assert_frame_equal(found, expected)


def test_jackknife_by_leaving_out_every_cell():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (13, 4)).astype(float)
    codes = np.array([0] * 7 + [1] * 4 + [2] + [-1])
    sums = np.vstack([counts[codes == g].sum(axis=0) for g in range(3)])

    def bulk(total):
        return np.log1p(_BULK_TOTAL * total / total.sum())

    expected = []
    for group in range(2):
        own = counts[codes == group]
        left_out = np.array([bulk(own.sum(axis=0) - cell) for cell in own])
        n = len(own)
        expected.append((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum())
    found = jackknife_variance(sparse.csr_array(counts), codes, sums)
    np.testing.assert_allclose(found, [*expected, 0.0])


# The tricks are those of the challenges; benchmarks/metric_tricks.py plays them.


def test_moving_the_own_controls_gains_nothing(cells):
    real, pred = cells["log1p"]
    moved = TRICKS.moved_controls(real, pred)
    honest, tricked = (
        evaluate(cells, "robust", pred=p, anchors=False) for p in (pred, moved)
    )
    pd.testing.assert_frame_equal(honest.per_perturbation, tricked.per_perturbation)
    original = [
        evaluate(cells, "cell_eval", pred=p, anchors=False).per_perturbation
        for p in (pred, moved)
    ]
    assert not np.allclose(original[0]["pearson_delta"], original[1]["pearson_delta"])


def test_scaling_gains_nothing(cells):
    real, pred = cells["log1p"]
    honest, tricked = (
        evaluate(cells, "robust", pred=p, anchors=False).scores["score"]
        for p in (pred, TRICKS.scaled(real, pred))
    )
    assert tricked["discrimination"] <= honest["discrimination"] + 0.05
    assert tricked["weighted_r2"] < honest["weighted_r2"]


def test_spiking_other_targets_gains_nothing(cells):
    real = TRICKS.knocked_down(cells["log1p"][0])
    sides = TRICKS.no_information(real), TRICKS.spiked_targets(real)
    options = {"control": "ctrl", "anchors": False}

    def gain(convention, metric):
        scores = [
            evaluate_cells(real, p, "target_gene", convention=convention, **options)
            for p in sides
        ]
        return scores[1].scores["score"][metric] - scores[0].scores["score"][metric]

    assert abs(gain("robust", "discrimination")) < 0.05
    assert gain("cell_eval", "discrimination_score_cosine") > 0.3


def test_ties_are_not_won_by_the_alphabet(cells):
    real, _ = cells["log1p"]
    same = TRICKS.control_mean(real)
    robust = evaluate(cells, "robust", pred=same, anchors=False).per_perturbation
    np.testing.assert_allclose(robust["discrimination"], 0.5)
    original = evaluate(cells, "vcc2025", pred=same, anchors=False).per_perturbation
    assert np.ptp(original["pds"]) > 0.5


def test_replicating_a_pseudobulk_gains_nothing(cells):
    _, pred = cells["log1p"]
    replicated = TRICKS.replicated(None, pred)
    honest, tricked = (
        evaluate(cells, "robust", pred=p, anchors=False).scores["score"]
        for p in (pred, replicated)
    )
    assert tricked["de_agreement"] < honest["de_agreement"]
    others = ["discrimination", "pearson_delta", "weighted_r2", "de_direction"]
    np.testing.assert_allclose(tricked[others], honest[others], atol=1e-5)


def test_weak_perturbations_cannot_be_withheld(cells):
    _, pred = cells["log1p"]
    missing = pred[pred.obs["target_gene"] != "G01"]
    with pytest.raises(ValueError, match=r"different perturbations: 1 .*'G01'"):
        evaluate(cells, "robust", pred=missing)
    unknown = pred.copy()
    unknown.X.data[-1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        evaluate(cells, "robust", pred=unknown)


def test_bad_input(cells):
    real, pred = cells["log1p"]
    with pytest.raises(ValueError, match="convention='vcc'; allowed are robust"):
        evaluate_cells(real, pred, "target_gene", control="ctrl", convention="vcc")
    with pytest.raises(ValueError, match="whole numbers"):
        evaluate_cells(*cells["counts"], "target_gene", control="ctrl")
    with pytest.raises(ValueError, match="fractional"):
        evaluate_cells(real, pred, "target_gene", control="ctrl", convention="vcc2026")
    with pytest.raises(ValueError, match="no control cells 'dmso'"):
        evaluate_cells(real, pred, "target_gene", control="dmso")
    with pytest.raises(ValueError, match="pred must have the genes of real"):
        evaluate_cells(real, pred[:, ::-1], "target_gene", control="ctrl")
    with pytest.raises(ValueError, match="is no column of obs"):
        evaluate_cells(real, pred, "gene", control="ctrl")


def test_scorer_in_cross_validation(cells):
    from sklearn.dummy import DummyRegressor
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    real = cells["log1p"][0]
    X = pd.DataFrame({"target_gene": real.obs["target_gene"].to_numpy()})
    y = real.X.toarray()
    folds = list(StratifiedKFold(2).split(X, X["target_gene"]))

    def scores(scorer, model=None):
        model = DummyRegressor() if model is None else model
        return cross_val_score(
            model, X, y, cv=folds, scoring=scorer, error_score="raise"
        )

    scorer = CellScorer("discrimination", control="ctrl")
    np.testing.assert_allclose(scores(scorer), 0.5)
    assert (scores(CellScorer("mae", "vcc2025", control="ctrl")) < 0).all()
    with pytest.raises(ValueError, match="metric='pds'; convention 'robust' has"):
        scores(CellScorer("pds", control="ctrl"))
    with pytest.raises(ValueError, match="allowed are"):
        CellScorer("pds", "vcc")

    class Means(DummyRegressor):
        def fit(self, X, y):
            self.means_ = pd.DataFrame(y).groupby(X["target_gene"].to_numpy()).mean()
            return self

        def predict(self, X):
            return self.means_.loc[X["target_gene"]].to_numpy()

    assert (scores(scorer, Means()) > 0.6).all()


def test_population_scores_of_real_cells(shared_data):
    path = shared_data("norman_mcfaline") / "devel.h5ad"
    cells = ad.read_h5ad(path)
    cells = cells[cells.obs["cell_type"].astype(str) == "A172"]
    half = np.arange(cells.n_obs) % 2 == 0
    names = cells.obs["condition"].astype(str).to_numpy()
    table = population_scores(
        cells[half],
        cells[~half],
        conditions=names[half],
        conditions_pred=names[~half],
        metrics=["energy", "variance_ratio"],
    )
    assert (table["energy"] >= 0).all()
    assert table["variance_ratio"].median() == pytest.approx(1, abs=0.1)
