"""The numbers marked as golden were computed by the public evaluators themselves, on
the same generated cells; benchmarks/metrics/evaluator_agreement.py computes them."""

import json
import logging
import re
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.model_selection import StratifiedKFold, cross_val_score

from benchmarks.metrics import evaluator_agreement, metric_tricks
from sklperturb.cells import log_normalise
from sklperturb.compose import (
    DisplacedControlsRegressor,
    PerturbationEffectRegressor,
)
from sklperturb.datasets import make_genetic_screen
from sklperturb.evaluation import CONVENTIONS, CellScorer, evaluate_cells, wilcoxon_de
from sklperturb.evaluation._summary import _BULK_TOTAL, jackknife_variance
from sklperturb.metrics import population_scores
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.signatures import pseudobulk

GOLDEN = json.loads((Path(__file__).parent / "evaluator_scores.json").read_text())


@pytest.fixture(scope="module")
def cells():
    """Counts and their log-normalised values; shared, so copy before changing."""
    counts = evaluator_agreement.generated()
    logs = [evaluator_agreement.log_normalised(c) for c in counts]
    return {"counts": counts, "log1p": logs, "any": logs}


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
    np.testing.assert_allclose(found["score"][reachable], best[reachable], atol=1e-8)
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
    baseline = evaluator_agreement.without_effect(cells["counts"][0])
    if convention != "vcc2026":
        baseline = evaluator_agreement.log_normalised(baseline)
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


# The tricks of the challenges; benchmarks/metrics/metric_tricks.py plays them.


def test_moving_the_own_controls_gains_nothing(cells):
    real, pred = cells["log1p"]
    moved = metric_tricks.moved_controls(real, pred)
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
        for p in (pred, metric_tricks.scaled(real, pred))
    )
    assert tricked["discrimination"] <= honest["discrimination"] + 0.05
    assert tricked["weighted_r2"] < honest["weighted_r2"]


def test_spiking_other_targets_gains_nothing(cells):
    real = metric_tricks.knocked_down(cells["log1p"][0])
    sides = metric_tricks.no_information(real), metric_tricks.spiked_targets(real)
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
    same = metric_tricks.control_mean(real)
    robust = evaluate(cells, "robust", pred=same, anchors=False).per_perturbation
    np.testing.assert_allclose(robust["discrimination"], 0.5)
    original = evaluate(cells, "vcc2025", pred=same, anchors=False).per_perturbation
    assert np.ptp(original["pds"]) > 0.5


def test_replicating_a_pseudobulk_gains_nothing(cells):
    _, pred = cells["log1p"]
    replicated = metric_tricks.replicated(None, pred)
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
    with pytest.raises(ValueError, match=r"'convention' .* Got 'vcc' instead"):
        evaluate_cells(real, pred, "target_gene", control="ctrl", convention="vcc")
    shifted = pred.copy()
    shifted.X.data += np.linspace(0, 1, len(shifted.X.data), dtype="float32")
    with pytest.raises(ValueError, match="pred holds logarithms that no whole counts"):
        evaluate_cells(
            real, shifted, "target_gene", control="ctrl", convention="vcc2026"
        )
    shifted.X.data *= 100
    with pytest.raises(ValueError, match="pred holds fractions too large"):
        evaluate_cells(real, shifted, "target_gene", control="ctrl")
    with pytest.raises(ValueError, match="no control cells 'dmso'"):
        evaluate_cells(real, pred, "target_gene", control="dmso")
    with pytest.raises(ValueError, match="pred must have the genes of real"):
        evaluate_cells(real, pred[:, ::-1], "target_gene", control="ctrl")
    with pytest.raises(ValueError, match="is no column of obs"):
        evaluate_cells(real, pred, "gene", control="ctrl")


def test_scorer_in_cross_validation(cells):
    from sklearn.dummy import DummyRegressor

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
    with pytest.raises(ValueError, match=r"'convention' parameter .*Got 'vcc'"):
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


@pytest.mark.parametrize("which", [(0, 0), (0, 1), (1, 0)])
def test_counts_are_normalised_on_both_sides(cells, which, caplog, tmp_path):
    """A side of counts scores as the same cells that were normalised before."""
    logs = [side.copy() for side in cells["counts"]]
    for side in logs:
        side.X = sparse.csr_matrix(log_normalise(side.X).astype(np.float32))
    expected = evaluate_cells(*logs, "target_gene", control="ctrl")
    sides = []
    for side, is_log in enumerate(which):
        path = tmp_path / f"{side}.h5ad"
        cells["log1p" if is_log else "counts"][side].write_h5ad(path)
        sides.append(path)
    with caplog.at_level(logging.INFO, "sklperturb"):
        found = evaluate_cells(*sides, "target_gene", control="ctrl")
    assert "took log1p" in caplog.text
    holds = re.search(r"pred( \(.*\))? holds logarithms", caplog.text)
    assert bool(holds) == bool(which[1])
    pd.testing.assert_frame_equal(found.scores, expected.scores)
    pd.testing.assert_frame_equal(found.per_perturbation, expected.per_perturbation)


def test_logarithms_of_another_depth_are_scaled_too(cells):
    counts, other = (side.copy() for side in cells["counts"])
    expected = evaluate_cells(counts, other, "target_gene", control="ctrl").scores
    other.X = sparse.csr_matrix(log_normalise(other.X, 1e6).astype(np.float32))
    found = evaluate_cells(counts, other, "target_gene", control="ctrl").scores
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-6)


@pytest.mark.parametrize("which", [(0, 1), (1, 0), (1, 1)])
def test_counts_are_worked_out_of_logarithms(cells, which, caplog):
    expected = evaluate(cells, "vcc2026")
    sides = [cells["log1p" if log else "counts"][i] for i, log in enumerate(which)]
    with caplog.at_level(logging.INFO, "sklperturb"):
        found = evaluate_cells(
            *sides, "target_gene", control="ctrl", convention="vcc2026"
        )
    assert caplog.text.count("the counts were worked out") == sum(which)
    pd.testing.assert_frame_equal(found.scores, expected.scores)


def test_precision_breaks_no_ties():
    n = 300
    values = np.log1p(np.random.default_rng(0).poisson(1, (3 * n, 50)) / 3)
    obs = pd.DataFrame(
        {"g": np.repeat(["c", "A", "B"], n)}, np.arange(3 * n).astype(str)
    )
    real = ad.AnnData(values, obs=obs)
    single = ad.AnnData(values.astype("f4"), obs=obs)
    for sides in ((real, single), (single, real)):
        scores = evaluate_cells(*sides, "g", control="c", anchors=False).scores
        assert scores.loc["de_agreement", "score"] == 1
        table = wilcoxon_de(sides[1], "g", control="c", control_cells=sides[0])
        assert (table["p_adj"] > 0.05).all()


def embedded(shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(["ctrl", "A", "B", "C"], 60)
    centres = {"ctrl": [0, 0, 0], "A": [3, 0, 0], "B": [0, 3, 0], "C": [-3, -3, 1]}
    points = rng.normal(size=(240, 3)) + np.array([centres[name] for name in labels])
    cells = ad.AnnData(obs=pd.DataFrame({"gene": labels}, np.arange(240).astype(str)))
    cells.obsm["X_state"] = (points + shift).astype(np.float32)
    return cells


def test_an_embedding_is_scored_by_populations(tmp_path, caplog):
    real, pred = embedded(), embedded(seed=1)
    for name, side in (("real", real), ("pred", pred)):
        side.write_h5ad(tmp_path / f"{name}.h5ad")
    named = evaluate_cells(real, pred, "gene", control="ctrl", obsm="X_state")
    with caplog.at_level(logging.INFO, "sklperturb"):
        found = evaluate_cells(
            tmp_path / "real.h5ad", tmp_path / "pred.h5ad", "gene", control="ctrl"
        )
    assert "their obsm['X_state'] is scored" in caplog.text
    pd.testing.assert_frame_equal(found.scores, named.scores)
    assert found.convention == "populations"
    rows = [real.obs["gene"] != "ctrl", pred.obs["gene"] != "ctrl"]
    distances = population_scores(
        *(s.obsm["X_state"][r] for s, r in zip((real, pred), rows, strict=True)),
        conditions=real.obs["gene"][rows[0]],
        metrics=["energy", "sliced_wasserstein", "variance_ratio"],
    )
    np.testing.assert_allclose(found.per_perturbation[distances.columns], distances)
    scores = found.scores
    assert scores.loc["discrimination", "score"] == 1
    assert scores.loc["energy", "score"] < 0.2 < scores.loc["energy", "baseline"]
    assert scores.loc["discrimination", "baseline"] == pytest.approx(0.5, abs=0.3)
    assert scores.loc["energy", "scaled"] == pytest.approx(1, abs=0.1)
    far = evaluate_cells(real, embedded(9.0), "gene", control="ctrl").scores
    assert far.loc["energy", "scaled"] < 0
    with pytest.raises(ValueError, match="scores genes, and obsm"):
        evaluate_cells(real, pred, "gene", control="ctrl", convention="robust")
    pred.obsm["X_other"] = pred.obsm.pop("X_state")
    with pytest.raises(ValueError, match="no X"):
        evaluate_cells(real, pred, "gene", control="ctrl")


def test_one_perturbation_has_no_delta():
    real, pred = (embedded(seed=i)[:120] for i in range(2))
    scores = evaluate_cells(real, pred, "gene", control="ctrl").scores
    assert np.isnan(scores.loc["pearson_delta", "score"])
    assert scores["scaled"].abs().max() < 100


def test_no_scale_where_the_ceiling_is_at_the_baseline():
    """Without any effect, nothing is above the baseline, and nothing is divided by."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["c", "A", "B"], 20)
    obs = pd.DataFrame({"g": labels}, index=np.arange(60).astype(str))
    same = np.tile(np.log1p(rng.poisson(2, (20, 8)) / 2), (3, 1))
    real, pred = (
        ad.AnnData(same, obs=obs),
        ad.AnnData(same + rng.random(8) / 9, obs=obs),
    )
    scores = evaluate_cells(real, pred, "g", control="c").scores
    below = scores["ceiling"] <= scores["baseline"] + 1e-9
    assert below.any()
    assert scores["scaled"][below].isna().all()
    assert scores["scaled"].abs().max() < 1e4 or scores["scaled"].isna().all()


def test_messages_name_the_cause(cells):
    real = cells["log1p"][0]
    single = real[
        ~real.obs["target_gene"].duplicated() | (real.obs["target_gene"] == "ctrl")
    ]
    with pytest.raises(ValueError, match="no perturbation has two cells"):
        evaluate_cells(single, single, "target_gene", control="ctrl")
    repeated = real.copy()
    repeated.var_names = ["G", "G", *repeated.var_names[2:]]
    with pytest.raises(ValueError, match=r"1 genes that occur more than once.*\['G'\]"):
        evaluate_cells(repeated, repeated, "target_gene", control="ctrl")
    named = real.copy()
    named.obs.index.name = "target_gene"
    bulks = pseudobulk(named, "target_gene")
    assert bulks.obs_names.tolist() == sorted(set(real.obs["target_gene"]))


def test_scorer_of_cells_that_are_sampled_and_of_counts(cells):
    real = cells["counts"][0]
    X = pd.DataFrame({"target_gene": real.obs["target_gene"].to_numpy()})
    logs = log_normalise(real.X).toarray()

    class Knows:
        def sample(self, X, n_cells):
            return logs[:, None]

    scorer = CellScorer("discrimination", control="ctrl")
    assert scorer(Knows(), X, real) == 1


def test_scorer_of_displaced_logarithms_beside_counts():
    """Logarithms below zero are logarithms, and no counts."""
    screen = make_genetic_screen(
        6,
        80,
        cells_per_perturbation=20,
        n_controls=60,
        random_state=0,
    )
    model = DisplacedControlsRegressor(target_sum=1e4).fit(screen.X, screen.y)
    assert model.sample(screen.X[~screen.is_control], 1).min() < 0
    scorer = CellScorer("energy", "populations")
    logs = ad.AnnData(log_normalise(screen.y.X), var=screen.y.var)
    expected = scorer(model, screen.X, logs)
    assert scorer(model, screen.X, screen.y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("convention", ["robust", "populations"])
def test_noise_has_no_scale(convention):
    rng = np.random.default_rng(0)
    labels = np.repeat(["control", *(f"G{i}" for i in range(12))], 40)
    obs = pd.DataFrame({"gene": labels}, index=np.arange(len(labels)).astype(str))
    cells = ad.AnnData(np.log1p(rng.poisson(1.0, (len(labels), 30)) / 30.0), obs=obs)
    found = evaluate_cells(
        cells, cells, "gene", control="control", convention=convention
    )
    assert found.scores["scaled"].isna().any()
    assert not (found.scores["scaled"].abs() > 5).any()


@pytest.mark.parametrize("kind", ["array", "AnnData", "sampled"])
def test_scorer_on_held_out_perturbations(kind):
    screen = make_genetic_screen(
        8,
        40,
        cells_per_perturbation=20,
        n_controls=60,
        embedding_dim=8,
        random_state=0,
    )
    y, model = screen.y, PerturbationEffectRegressor(target_sum=1e4)
    if kind != "AnnData":
        y, model = log_normalise(y.X).toarray(), PerturbationEffectRegressor()
    if kind == "sampled":

        class Sampler(PerturbationEffectRegressor):
            def sample(self, X, n_cells):
                return self.predict(X)[:, None, :]

        model = Sampler()
    for keep in (True, False, "both"):
        cv = UnseenPerturbationKFold(
            2, keep_controls=keep, schema=screen.schema, random_state=0
        )
        options = {"cv": cv, "scoring": CellScorer("discrimination")}
        if keep == "both":
            found = cross_val_score(model, screen.X, y, error_score="raise", **options)
            # One answer for all that is new tells none from another.
            np.testing.assert_allclose(found, 0.5)
        else:
            with pytest.raises(ValueError, match='keep_controls="both"'):
                cross_val_score(model, screen.X, y, error_score="raise", **options)


def test_combinations_are_one_in_any_order(cells):
    real, pred = (side.copy() for side in cells["log1p"])
    for side, pair in ((real, "G02+G01"), (pred, "G01+G02")):
        labels = side.obs["target_gene"].astype(str)
        side.obs["target_gene"] = labels.replace({"G01": pair})
    options = {"control": "ctrl", "anchors": False}
    found = evaluate_cells(real, pred, "target_gene", **options).per_perturbation
    assert "G02+G01" in found.index
    pred.obs["target_gene"] = pred.obs["target_gene"].replace("G01+G02", "G02+G01")
    expected = evaluate_cells(real, pred, "target_gene", **options).per_perturbation
    pd.testing.assert_frame_equal(found, expected)
    for side in (real, pred):  # names of compounds are taken as they are
        side.obs["drug"] = side.obs["target_gene"]
    pred.obs["drug"] = pred.obs["drug"].replace("G02+G01", "G01+G02")
    with pytest.raises(ValueError, match="different perturbations: 2"):
        evaluate_cells(real, pred, "drug", **options)


def test_names_that_nearly_agree_are_named(cells):
    real = cells["log1p"][0]
    pred = real.copy()
    labels = pred.obs["target_gene"].astype(str)
    names = sorted(set(labels) - {"ctrl"})
    pred.obs["target_gene"] = labels.replace(names[0], names[0].lower() + " ")
    with pytest.raises(ValueError, match=f"Did you mean {names[0]!r} for"):
        evaluate_cells(real, pred, "target_gene", control="ctrl")
    with pytest.raises(ValueError, match="Did you mean 'ctrl' for 'CTRL'"):
        evaluate_cells(real, real, "target_gene", control="CTRL")
    pred = real.copy()
    pred.var_names = pred.var_names.str.lower()
    with pytest.raises(ValueError, match=r"genes of real .* Did you mean"):
        evaluate_cells(real, pred, "target_gene", control="ctrl")
    with pytest.raises(ValueError, match="Did you mean 'target_gene' for 'Target gene"):
        evaluate_cells(real, real, "Target gene", control="ctrl")


@pytest.mark.parametrize("convention", list(CONVENTIONS))
def test_only_what_leaves_targets_out_depends_on_them(convention):
    """What `without_targets` names changes with the name of a target, and no other."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["c", "g1", "g2", "g3"], 60)
    obs = pd.DataFrame({"g": labels}, index=np.arange(240).astype(str))
    rule = CONVENTIONS[convention]
    sides = []
    for moved in (0, 1):  # the prediction is right of targets, and of nothing else
        rate = np.full((240, 60), 4.0)
        for i in (1, 2, 3):
            rate[labels == f"g{i}", i] = 40
            at = 20 + 6 * ((i + moved) % 3)
            rate[labels == f"g{i}", at : at + 6] *= 1.5
        values = rng.poisson(rate).astype(np.float32)
        values = values if rule.values != "log1p" else np.log1p(values / 4)
        sides.append(values)
    found = {}
    for prefix in ("g", "ENSG"):
        var = pd.DataFrame(index=[f"{prefix}{i}" for i in range(60)])
        pair = [ad.AnnData(side, obs, var) for side in sides]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found[prefix] = evaluate_cells(
                *pair, "g", control="c", convention=convention, anchors=False
            ).scores
        said = [str(w.message) for w in caught if "No target gene" in str(w.message)]
        assert len(said) == (prefix == "ENSG")
        assert all(name in " ".join(said) for name in rule.without_targets * len(said))
    with_targets, without = found["g"], found["ENSG"]
    assert set(rule.without_targets) == set(
        with_targets.index[with_targets["without_targets"]]
    )
    assert not without["without_targets"].any()
    same = np.isclose(with_targets["score"], without["score"], equal_nan=True)
    assert not set(with_targets.index[~same]) - set(rule.without_targets)
    assert not same.all()
