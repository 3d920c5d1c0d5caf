"""Signatures against plain least squares, inmoose's limma and statsmodels' lowess."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.pipeline import make_pipeline

from sklperturb.datasets import PerturbationSchema
from sklperturb.signatures import DifferentialSignatures, Pseudobulk, pseudobulk
from sklperturb.signatures._group_model import fit_groups, independent_covariates
from sklperturb.signatures._lowess import lowess
from sklperturb.signatures._moderation import moderate, natural_spline
from sklperturb.signatures._normalisation import (
    expressed,
    median_ratio_factors,
    tmm_factors,
)

SCHEMA = PerturbationSchema("group_id", context="cluster_id")


@pytest.fixture(scope="module")
def samples():
    """Two contexts, four donors, control and two drugs; some genes respond."""
    rng = np.random.default_rng(0)
    obs = pd.MultiIndex.from_product(
        [["B", "T"], ["DMSO", "x", "y"], ["1", "2", "3", "4"]],
        names=["cell_type", "drug", "donor"],
    ).to_frame(index=False)
    obs.index = [f"s{i}" for i in range(len(obs))]
    obs["SMILES"] = obs["drug"].map({"x": "CO", "y": "CC", "DMSO": "CS(C)=O"})
    obs["n_cells"] = 50
    level = rng.lognormal(4, 1.2, 400) * rng.lognormal(0, 0.2, (len(obs), 1))
    level[obs["donor"] == "2", :100] *= 2.0
    level[(obs["drug"] == "x"), :40] *= 3.0
    level[(obs["drug"] == "y") & (obs["cell_type"] == "T"), 40:60] *= 0.3
    counts = rng.negative_binomial(10, 10 / (10 + level)).astype(np.float64)
    return ad.AnnData(counts, obs=obs)


@pytest.fixture(scope="module")
def kang(shared_data):
    path = shared_data("kang18_ifnb") / "kang18_ifnb.h5ad"
    return pseudobulk(path, ["cluster_id", "group_id", "donor"])


def model(**params):
    return DifferentialSignatures(control="DMSO", covariates=["donor"], **params)


def design_of(obs, context, perturbation, control):
    """Controls of each context, contrasts to them, donors: all by plain columns."""
    contexts = sorted(obs[context].unique())
    treated = sorted(set(obs[perturbation]) - {control})
    columns = [obs[context] == c for c in contexts]
    pairs = [(c, p) for c in contexts for p in treated]
    columns += [(obs[context] == c) & (obs[perturbation] == p) for c, p in pairs]
    columns += [obs["donor"] == d for d in sorted(obs["donor"].unique())[1:]]
    return np.column_stack(columns).astype(float), len(contexts), len(pairs)


def least_squares(y, design, weights):
    """Estimates, their unscaled variances and residual variances, gene by gene."""
    estimate = np.empty((design.shape[1], y.shape[1]))
    unscaled, variance = np.empty_like(estimate), np.empty(y.shape[1])
    for g in range(y.shape[1]):
        root = np.sqrt(weights[:, g])
        X, target = design * root[:, None], y[:, g] * root
        estimate[:, g] = np.linalg.lstsq(X, target, rcond=None)[0]
        unscaled[:, g] = np.diag(np.linalg.inv(X.T @ X))
        rest = target - X @ estimate[:, g]
        variance[g] = rest @ rest / (len(y) - design.shape[1])
    return estimate, unscaled, variance


def test_group_fit_is_weighted_least_squares(samples):
    rng = np.random.default_rng(1)
    y, weights = rng.normal(size=(24, 5)), rng.uniform(0.2, 3, size=(24, 5))
    obs = samples.obs
    design, n_contexts, n_pairs = design_of(obs, "cell_type", "drug", "DMSO")
    codes = pd.factorize(obs["cell_type"] + obs["drug"], sort=True)[0]
    donors = design[:, n_contexts + n_pairs :]
    groups, controls = np.array([1, 2, 4, 5]), np.array([0, 0, 3, 3])
    wanted = slice(n_contexts, n_contexts + n_pairs)
    for w in (weights, None):
        fit = fit_groups(y, codes, donors, w)
        oracle = least_squares(y, design, np.ones_like(y) if w is None else w)
        estimate, unscaled = fit.contrasts(groups, controls)
        np.testing.assert_allclose(estimate, oracle[0][wanted], atol=1e-12)
        unscaled = np.broadcast_to(unscaled, estimate.shape)
        np.testing.assert_allclose(unscaled, oracle[1][wanted], rtol=1e-10)
        np.testing.assert_allclose(fit.variance, oracle[2], rtol=1e-10)
        np.testing.assert_allclose(fit.fitted, design @ oracle[0], atol=1e-12)


@pytest.mark.parametrize("method", ["voom", "trend"])
@pytest.mark.parametrize("expressed_in", ["every", "any"])
def test_agrees_with_limma_of_inmoose_on_kang(kang, method, expressed_in):
    limma = pytest.importorskip("inmoose.limma", exc_type=ImportError)
    smooth = pytest.importorskip("statsmodels.nonparametric.smoothers_lowess")
    ours = DifferentialSignatures(
        SCHEMA,
        control="ctrl",
        covariates=["donor"],
        method=method,
        expressed_in=expressed_in,
    )
    signatures = ours.fit_transform(kang)
    samples = kang[:, signatures.var_names]
    depth = samples.X.sum(axis=1) * ours.normalization_factors_.to_numpy()
    design, start, n = design_of(samples.obs, "cluster_id", "group_id", "ctrl")
    prior = 2 * depth / depth.mean() if method == "trend" else np.full(len(depth), 0.5)
    total = depth + 2 * prior
    y = np.log2((samples.X + prior[:, None]) / total[:, None] * 1e6)
    estimate, unscaled, variance = least_squares(y, design, np.ones_like(y))
    average = y.mean(axis=0)
    if method == "voom":
        to_size = np.log2(total) - np.log2(1e6)
        size, root = average + to_size.mean(), variance**0.25
        line = smooth.lowess(root, size, frac=0.5, it=3, delta=0.01 * np.ptp(size))
        fitted = design @ estimate + to_size[:, None]
        weights = np.interp(fitted, line[:, 0], line[:, 1]) ** -4.0
        estimate, unscaled, variance = least_squares(y, design, weights)
    squeezed = limma.squeezeVar(
        variance,
        np.full(len(variance), len(y) - design.shape[1]),
        covariate=average if method == "trend" else None,
    )
    kept = slice(start, start + n)
    t = estimate[kept] / np.sqrt(unscaled[kept] * squeezed["var_post"])
    np.testing.assert_allclose(signatures.layers["logFC"], estimate[kept], atol=1e-8)
    np.testing.assert_allclose(signatures.layers["t"], t, atol=1e-7)
    df = len(y) - design.shape[1] + float(np.ravel(squeezed["df_prior"])[0])
    np.testing.assert_allclose(signatures.obs["df_total"], df, rtol=1e-6)
    p = 2 * stats.t.sf(np.abs(t), df)
    np.testing.assert_allclose(signatures.layers["P.Value"], p, rtol=1e-6)


def test_interferon_genes_of_kang(kang):
    signatures = DifferentialSignatures(
        SCHEMA, control="ctrl", covariates=["donor"]
    ).fit_transform(kang)
    assert signatures.n_obs == 5
    known = ["ISG15", "IFI6", "IFIT3", "ISG20", "LY6E"]
    known = [gene for gene in known if gene in signatures.var_names]
    assert len(known) >= 3
    assert (signatures[:, known].layers["logFC"] > 1).all()
    assert (signatures[:, known].layers["adj.P.Value"] < 1e-3).all()


def test_layers_agree_with_each_other(samples):
    signatures = model().fit_transform(samples)
    layers = signatures.layers
    assert list(signatures.obs_names) == ["B_x", "B_y", "T_x", "T_y"]
    assert list(signatures.obs["SMILES"]) == ["CO", "CC", "CO", "CC"]
    assert set(signatures.obs["n_replicates"]) == {4}
    assert set(signatures.obs["n_cells"]) == {200}
    df = signatures.obs["df_total"].to_numpy()[:, None]
    p = 2 * stats.t.sf(np.abs(layers["t"]), df)
    np.testing.assert_allclose(layers["P.Value"], p)
    response = np.sign(layers["logFC"]) * -np.log10(p)
    np.testing.assert_allclose(layers["sign_log10_pval"], response)
    np.testing.assert_array_equal(
        layers["clipped_sign_log10_pval"], np.clip(layers["sign_log10_pval"], -4, 4)
    )
    for row, adjusted in zip(p, layers["adj.P.Value"], strict=True):
        np.testing.assert_allclose(adjusted, stats.false_discovery_control(row))


def test_finds_what_responds_and_little_else(samples):
    signatures = model().fit_transform(samples)
    genes = signatures.var_names.astype(int)
    found = signatures.layers["adj.P.Value"] < 0.05
    effect = np.zeros(found.shape, dtype=bool)
    effect[[0, 2]] = genes < 40
    effect[3] = (genes >= 40) & (genes < 60)
    assert found[effect].mean() > 0.85
    assert found[~effect].mean() < 0.02
    null = signatures.layers["P.Value"][1]
    assert stats.kstest(null, "uniform").pvalue > 1e-3
    up = signatures.layers["logFC"][0][genes < 40]
    assert abs(np.median(up) - np.log2(3)) < 0.25


def test_donor_as_covariate_gives_power(samples):
    without = DifferentialSignatures(control="DMSO").fit_transform(samples)
    donor_genes = without.var_names.astype(int) < 40
    with_donor = model().fit_transform(samples)
    ours = np.abs(with_donor.layers["t"][0, donor_genes])
    assert np.median(ours / np.abs(without.layers["t"][0, donor_genes])) > 1.1


def test_contexts_apart_are_fits_of_each(samples):
    apart = model(contexts="apart", min_count=0).fit_transform(samples)
    for context in ("B", "T"):
        part = samples[samples.obs["cell_type"] == context]
        alone = model(min_count=0).fit_transform(part)
        shared = alone.var_names
        np.testing.assert_allclose(
            apart[apart.obs["cell_type"] == context, shared].layers["t"],
            alone.layers["t"],
            rtol=1e-6,
        )


def test_order_of_samples_does_not_matter(samples):
    shuffled = samples[np.random.default_rng(3).permutation(samples.n_obs)]
    ours, theirs = model().fit_transform(samples), model().fit_transform(shuffled)
    assert list(ours.obs_names) == list(theirs.obs_names)
    np.testing.assert_allclose(ours.layers["t"], theirs.layers["t"], rtol=1e-8)


def test_blocks_of_genes_change_nothing(samples):
    whole = model().fit_transform(samples)
    blocks = model(chunk_size=7).fit_transform(samples)
    np.testing.assert_allclose(blocks.layers["t"], whole.layers["t"], rtol=1e-10)


def test_pipeline_from_cells():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "drug": rng.choice(["DMSO", "x"], 400),
            "donor": rng.choice(["1", "2", "3"], 400),
        },
        index=np.arange(400).astype(str),
    )
    rate = rng.uniform(0.5, 3, 60) * np.ones((400, 1))
    rate[(obs["drug"] == "x").to_numpy(), :3] *= 4
    cells = ad.AnnData(rng.poisson(rate).astype(np.float32), obs=obs)
    steps = make_pipeline(
        Pseudobulk(["drug", "donor"]),
        DifferentialSignatures(control="DMSO", covariates=["donor"]),
    )
    signatures = steps.fit_transform(cells)
    assert signatures.shape == (1, 60)
    assert (signatures.X[0, :3] == 4).all()


def test_tmm_by_its_definition():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.lognormal(3, 1, 300), size=(6, 300)).astype(float)
    counts[0, :30] *= 20
    factors = tmm_factors(counts)
    np.testing.assert_allclose(np.prod(factors), 1)
    # A tenth of the genes took most of the depth of the first sample.
    truth = counts[:, 30:].sum(axis=1) / counts.sum(axis=1)
    truth /= np.exp(np.log(truth).mean())
    np.testing.assert_allclose(factors, truth, rtol=0.05)
    np.testing.assert_allclose(median_ratio_factors(counts), truth, rtol=0.05)
    np.testing.assert_allclose(tmm_factors(np.tile(counts[0], (3, 1))), 1)


def test_lowess_agrees_with_statsmodels():
    smooth = pytest.importorskip("statsmodels.nonparametric.smoothers_lowess")
    rng = np.random.default_rng(0)
    x = rng.gamma(2, 3, 500)
    y = np.sin(x) + rng.standard_t(2, 500)
    for delta in (0.0, 0.01):
        oracle = smooth.lowess(y, x, frac=0.5, it=3, delta=delta * np.ptp(x))
        ours = lowess(x, y, delta=delta)
        np.testing.assert_allclose(np.column_stack(ours), oracle, atol=1e-7)


def test_lowess_follows_a_line_and_ignores_outliers():
    x = np.linspace(0, 1, 101)
    y = 2 * x + 1 + np.random.default_rng(0).normal(scale=0.02, size=101)
    y[50] = 100
    np.testing.assert_allclose(lowess(x, y)[1], 2 * x + 1, atol=0.03)
    assert np.abs(lowess(x, y, n_robust=0)[1] - 2 * x - 1).max() > 1


def test_moderation_recovers_its_prior():
    rng = np.random.default_rng(0)
    d0, df, scale = 8.0, 5, 0.3
    true = scale * d0 / rng.chisquare(d0, 40_000)
    variance = true * rng.chisquare(df, len(true)) / df
    moderated, df_prior, prior = moderate(variance, df)
    assert abs(df_prior / d0 - 1) < 0.1
    assert abs(prior / scale - 1) < 0.05
    assert np.mean((moderated - true) ** 2) < np.mean((variance - true) ** 2)
    level = rng.uniform(size=len(true))
    trend = np.exp(2 * level)
    _, df_prior, prior = moderate(variance * trend, df, level)
    assert abs(df_prior / d0 - 1) < 0.1
    np.testing.assert_allclose(prior, scale * trend, rtol=0.1)
    equal = rng.chisquare(df, 5000) / df * scale
    assert moderate(equal, df)[1] > 50


def test_natural_spline_is_straight_outside_its_inner_knots():
    x = np.linspace(0, 1, 1001)
    basis = natural_spline(x, 4)
    assert np.linalg.matrix_rank(basis) == 4
    curvature = np.diff(basis, 2, axis=0)
    assert np.abs(curvature[[0, -1]]).max() < 1e-6
    assert np.abs(curvature).max() > 1e-6


def test_expressed_needs_the_smallest_group():
    counts = np.full((6, 4), 100.0)
    counts[:, 1] = [50, 50, 0, 0, 0, 0]
    counts[:, 2] = [50, 0, 0, 0, 0, 0]
    counts[:, 3] = 1.0
    mask = expressed(counts, np.array([0, 0, 1, 1, 1, 1]), 10)
    assert mask.tolist() == [True, True, False, False]


def test_confounded_covariates():
    donors = np.array([[0.0], [0], [1], [1], [1], [0]])
    codes = np.array([0, 0, 1, 1, 2, 2])
    matrix, confounded = independent_covariates(
        donors, codes, np.array([1, 2]), np.array([0, 0])
    )
    assert matrix.shape[1] == 1
    assert not confounded.any()
    matrix, confounded = independent_covariates(
        donors[:4], codes[:4], np.array([1]), np.array([0])
    )
    assert matrix.shape[1] == 0
    assert confounded.all()


def test_conditions_without_replicates_are_left_out(samples):
    one = (samples.obs["drug"] == "y") & (samples.obs["cell_type"] == "T")
    few = samples[~one | (samples.obs["donor"] == "1")]
    with pytest.warns(UserWarning, match="Left out 1 conditions with fewer than"):
        signatures = model().fit_transform(few)
    assert list(signatures.obs_names) == ["B_x", "B_y", "T_x"]
    assert model(min_replicates=1).fit_transform(few).n_obs == 4
    no_control = samples[
        ~((samples.obs["drug"] == "DMSO") & (samples.obs["cell_type"] == "T"))
    ]
    with pytest.warns(UserWarning, match="without both controls"):
        assert model().fit_transform(no_control).n_obs == 2


def with_obs(samples, **columns):
    changed = samples.copy()
    for name, values in columns.items():
        changed.obs[name] = values
    return changed


def test_control_flag(samples):
    flagged = with_obs(samples, control=samples.obs["drug"] == "DMSO")
    ours = DifferentialSignatures(covariates=["donor"]).fit_transform(flagged)
    theirs = model().fit_transform(samples)
    np.testing.assert_array_equal(ours.X, theirs.X)
    assert "control" not in ours.obs


def test_controls_are_found_by_their_spelling(samples):
    ours = DifferentialSignatures(covariates=["donor"]).fit_transform(samples)
    np.testing.assert_array_equal(ours.X, model().fit_transform(samples).X)


def test_a_label_outweighs_an_inferred_column_and_agrees_with_a_named_one(samples):
    flagged = with_obs(samples, control=samples.obs["drug"] == "A")
    ours = model().fit_transform(flagged)
    np.testing.assert_array_equal(ours.X, model().fit_transform(samples).X)
    schema = PerturbationSchema("drug", context="cell_type", control="control")
    with pytest.raises(ValueError, match="disagree on which rows are controls"):
        model(schema=schema).fit(flagged)


def test_control_labels_of_the_schema(samples):
    schema = PerturbationSchema("drug", context="cell_type", control_labels="DMSO")
    ours = DifferentialSignatures(schema=schema, covariates=["donor"])
    theirs = model().fit_transform(samples)
    np.testing.assert_array_equal(ours.fit_transform(samples).X, theirs.X)
    none = PerturbationSchema("drug", context="cell_type", control_labels="water")
    with pytest.raises(ValueError, match=r"of 'drug', .* none is one of .*'water'"):
        DifferentialSignatures(schema=none).fit(samples)


@pytest.mark.parametrize(
    "change, params, message",
    [
        ({}, {"method": "edgeR"}, "'method' .*Got 'edgeR'"),
        ({}, {"min_replicates": 0}, "'min_replicates' .*Got 0"),
        ({}, {"clip": -1}, "'clip' .*Got -1"),
        ({}, {"control": "water"}, r"none is one of the labels \['water'\]"),
        ({"drug": "A"}, {"control": None}, "none is spelled as a control"),
        ({"control": 0}, {"control": None}, "column 'control' marks none"),
        ({"control": "a"}, {"control": None}, "'control' of X marks .* holds 'a'"),
        ({}, {"covariates": ["plate"]}, r"obs has no \['plate'\]"),
        ({"well": np.arange(24).astype(str)}, {"covariates": ["well"]}, "told apart"),
        ({"donor": None}, {}, "'donor' is missing in 24"),
        ({"dose": np.arange(24) // 2}, {}, "4 conditions were measured at several"),
        (
            {"dose": np.ones(24), "dose_unit": ["nM", "uM"] * 12},
            {},
            "at several doses, such as .*1.0 nM.*1.0 uM",
        ),
        ({}, {"min_count": 1e9}, "0 genes have min_count"),
        ({}, {"min_replicates": 9}, "No context has controls"),
    ],
)
def test_bad_parameters(samples, change, params, message):
    params = {"control": "DMSO", "covariates": ["donor"]} | params
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        with pytest.raises(ValueError, match=message):
            DifferentialSignatures(**params).fit(with_obs(samples, **change))


@pytest.mark.parametrize("label", ["", " "])
def test_samples_without_a_label_are_no_controls(samples, label):
    drugs = samples.obs["drug"].where(samples.obs["drug"] != "y", label)
    unlabelled = with_obs(samples, drug=drugs)
    with pytest.raises(ValueError, match="8 samples, such as 's8', have an empty"):
        model().fit(unlabelled)
    # Where the empty label is said to be the control, it is.
    controls = samples.obs["drug"].replace("DMSO", label.strip())
    ours = DifferentialSignatures(control="", covariates=["donor"])
    found = ours.fit_transform(with_obs(samples, drug=controls))
    np.testing.assert_array_equal(found.X, model().fit_transform(samples).X)


def test_bad_counts(samples):
    negative, empty, fraction = (samples.copy() for _ in range(3))
    negative.X[0, 0] = -1
    empty.X[3] = 0
    fraction.X += 0.5
    with pytest.raises(ValueError, match=r"negative values.* cell s0, gene 0"):
        model().fit(negative)
    with pytest.raises(ValueError, match="1 samples have no counts, such as 's3'"):
        model().fit(empty)
    with pytest.warns(UserWarning, match="holds fractions"):
        model().fit(fraction)
    with pytest.raises(TypeError, match="AnnData of pseudobulks"):
        model().fit(samples.to_df())
    few = samples[samples.obs["donor"] == "1"]
    with pytest.raises(ValueError, match="do not suffice"):
        DifferentialSignatures(control="DMSO", min_replicates=1).fit(few)
