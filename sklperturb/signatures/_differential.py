"""From pseudobulk counts with replicates to signatures of differential expression."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import pandas as pd
from joblib import delayed
from scipy import stats
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.signatures._group_model import (
    covariate_matrix,
    fit_groups,
    independent_covariates,
)
from sklperturb.signatures._lowess import lowess
from sklperturb.signatures._moderation import moderate
from sklperturb.signatures._normalisation import (
    expressed,
    median_ratio_factors,
    tmm_factors,
)
from sklperturb.signatures._samples import (
    dense_counts,
    describe_conditions,
    take_samples,
)
from sklperturb.signatures._signed_log_p import signed_log_p, signed_log_p_from_t
from sklperturb.utils._calls import run_calls
from sklperturb.utils._choices import Contexts, ExpressedIn, Method, Normalization
from sklperturb.utils._progress import ProgressBar

# Values of one array of a block of genes, unless its size is given: 32 MiB.
_BLOCK_VALUES = 2**22
# Counts added to each sample before the logarithm; for "trend" in proportion to its
# depth.
_VOOM_PRIOR_COUNT, _TREND_PRIOR_COUNT = 0.5, 2.0
_FACTORS = {
    "tmm": tmm_factors,
    "size_factors": median_ratio_factors,
    "none": lambda counts: np.ones(len(counts)),
}


class DifferentialSignatures(DocumentedMixin, BaseEstimator):
    r"""Compare each perturbation with the controls of its context, gene by gene.

    The samples are pseudobulks: sums of raw counts, a few replicates per condition. For
    every gene, a linear model with one mean per condition and shared effects of the
    covariates is fitted to log counts per million; the difference between a
    perturbation and the control of the same context is divided by its standard error,
    whose variance was moderated over genes. The result is the response that OP2 [1]_
    scores, and the numbers behind it.

    Parameters
    ----------
    schema : PerturbationSchema, default=None
        Roles of the columns of `obs`; by default inferred from the spellings in public
        use. Needed are the perturbation and, if there is more than one, the context.
    control : str, default=None
        Label of the control in the perturbation column. By default controls are found
        as everywhere (see :func:`~sklperturb.conditions.control_rows`).
    covariates : list of str, default=()
        Columns of `obs` with effects to be removed, such as donor and plate. Columns of
        floats enter as numbers, all others as levels.
    normalization : {"tmm", "size_factors", "none"}, default="tmm"
        How library sizes are corrected for composition: trimmed means of M-values,
        medians of ratios, or not at all.
    method : {"voom", "trend"}, default="voom"
        ``"voom"`` [2]_ weights every observation by the variance that its fitted count
        suggests; ``"trend"`` gives all the same weight and shrinks the variance of a
        gene towards a trend in its mean expression. The latter is less apt where depths
        differ much.
    contexts : {"together", "apart"}, default="together"
        One fit that shares variances and covariate effects between contexts, as in
        the OP2 benchmark, or one fit for each, as in the Kaggle version.
    min_count : float, default=10
        Keep a gene that has this many counts, at median depth, in as many samples as
        the smallest condition has, and 15 in all. 0 keeps all genes.
    expressed_in : {"every", "any"}, default="every"
        Keep genes that pass in every context or in at least one. What is not expressed
        in a context differs there by depth alone, which looks like a response.
    min_replicates : int, default=2
        Conditions with fewer samples are left out, with a warning.
    clip : float, default=4.0
        Limit of the clipped response.
    chunk_size : int, default=None
        Genes to fit at once. By default as many as need some 30 MB an array.
    n_jobs : int, default=None
        Processes that fit blocks of genes, or within
        ``joblib.parallel_config("dask")`` the workers of a cluster.

    Attributes
    ----------
    signatures_ : AnnData of shape (n_conditions, n_genes)
        In the layout of the OP2 benchmark. Layers: ``"logFC"`` (log2), ``"t"``,
        ``"P.Value"``, ``"adj.P.Value"`` (Benjamini-Hochberg within a condition),
        ``"sign_log10_pval"``, ``"sign_log10_adj_pval"`` and
        ``"clipped_sign_log10_pval"``, the last of which is also `X`. `obs` has the
        context, the perturbation, the columns constant within conditions,
        ``"n_cells"`` where the samples have it, ``"n_replicates"`` and ``"df_total"``,
        the degrees of freedom of t; `var` has the columns of the samples and
        ``"AveExpr"``, the mean log2 counts per million.
    normalization_factors_ : Series of shape (n_samples,)
        By which library sizes were multiplied; of samples that entered the fit.
    df_prior_ : dict of {context: float}
        Degrees of freedom that moderation added.

    See Also
    --------
    pseudobulk : Make the samples from cells.
    t_from_signed_log_p : From the response back to t.
    sklperturb.datasets.load_op2 : Read signatures that were written to a folder.

    Notes
    -----
    Normalisation, weights, variances and moderation follow the definitions of edgeR and
    limma [3]_; with equal designs t agrees to rounding. One difference is deliberate:
    with weights and covariates, limma's ``contrasts.fit`` approximates the standard
    error of a contrast, and here it is exact.

    The means of conditions are swept out before the covariates are fitted. The time
    grows with the samples and the square of the covariates, and not with the square
    of the conditions: a model of OP2's size takes seconds.

    References
    ----------
    .. [1] Szalata A. et al., "A benchmark for prediction of transcriptomic
       responses to chemical perturbations across cell types", NeurIPS 2024
       Datasets and Benchmarks.
    .. [2] Law et al., "voom: precision weights unlock linear model analysis tools for
       RNA-seq read counts", Genome Biology 15, R29, 2014.
       :doi:`10.1186/gb-2014-15-2-r29`
    .. [3] Ritchie et al., "limma powers differential expression analyses for
       RNA-sequencing and microarray studies", Nucleic Acids Research 43, e47, 2015.
       :doi:`10.1093/nar/gkv007`

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.signatures import DifferentialSignatures
    >>> rng = np.random.default_rng(0)
    >>> obs = pd.DataFrame(
    ...     {"drug": ["DMSO", "A", "B"] * 3, "donor": np.repeat(["1", "2", "3"], 3)},
    ...     index=[f"s{i}" for i in range(9)],
    ... )
    >>> rate = rng.uniform(50, 500, 100) * np.ones((9, 1))
    >>> rate[obs["drug"] == "A", 0] *= 8
    >>> samples = ad.AnnData(rng.poisson(rate).astype(float), obs=obs)
    >>> model = DifferentialSignatures(control="DMSO", covariates=["donor"])
    >>> signatures = model.fit_transform(samples)
    >>> signatures.obs[["drug", "n_replicates"]].to_numpy().tolist()
    [['A', 3], ['B', 3]]
    >>> signatures.layers["clipped_sign_log10_pval"][:, 0].round(1).tolist()[0]
    4.0
    """

    _parameter_constraints = {
        "schema": [PerturbationSchema, None],
        "control": [str, None],
        "covariates": ["array-like"],
        "normalization": [StrOptions(set(Normalization))],
        "method": [StrOptions(set(Method))],
        "contexts": [StrOptions(set(Contexts))],
        "min_count": [Interval(Real, 0, None, closed="left")],
        "expressed_in": [StrOptions(set(ExpressedIn))],
        "min_replicates": [Interval(Integral, 1, None, closed="left")],
        "clip": [Interval(Real, 0, None, closed="neither")],
        "chunk_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        schema=None,
        *,
        control=None,
        covariates=(),
        normalization="tmm",
        method="voom",
        contexts="together",
        min_count=10,
        expressed_in="every",
        min_replicates=2,
        clip=4.0,
        chunk_size=None,
        n_jobs=None,
    ):
        self.schema = schema
        self.control = control
        self.covariates = covariates
        self.normalization = normalization
        self.method = method
        self.contexts = contexts
        self.min_count = min_count
        self.expressed_in = expressed_in
        self.min_replicates = min_replicates
        self.clip = clip
        self.chunk_size = chunk_size
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Compare each perturbation with the controls of its context.

        Parameters
        ----------
        X : AnnData of shape (n_samples, n_genes)
            Pseudobulk samples; `X` holds sums of raw counts.
        y : None

        Returns
        -------
        self : DifferentialSignatures

        Raises
        ------
        ValueError
            If counts are negative or not finite, the roles cannot be resolved, no
            context has both controls and a perturbation, covariates cannot be told
            apart from the perturbations, or too few samples are left.
        """
        schema, samples, table = take_samples(
            X, self.schema, self.control, self.covariates, self.min_replicates
        )
        counts = dense_counts(samples)
        genes = self._expressed(counts, table)
        counts = counts[:, genes]
        whole = self.contexts == "together"
        parts = [table] if whole else [t for _, t in table.groupby("context")]
        results, factors, self.df_prior_ = [], [], {}
        for part in parts:
            result = self._fit_part(counts[part["row"]], part, samples.obs)
            results.append(result)
            factors.append(result["factors"])
            self.df_prior_ |= dict.fromkeys(part["context"].unique(), result["df0"])
        self.normalization_factors_ = pd.concat(factors).reindex(samples.obs_names)
        self.signatures_ = self._collect(results, samples, genes, schema)
        return self

    def fit_transform(self, X, y=None):
        """Compare each perturbation with the controls, and return the signatures.

        Parameters
        ----------
        X : AnnData of shape (n_samples, n_genes)
        y : None

        Returns
        -------
        signatures : AnnData of shape (n_conditions, n_genes)
            Also kept as `signatures_`.
        """
        return self.fit(X).signatures_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def _expressed(self, counts, table):
        if self.min_count == 0:
            return counts.any(axis=0)
        passes = []
        for _, part in table.groupby("context"):
            codes, _ = pd.factorize(part["perturbation"])
            passes.append(expressed(counts[part["row"]], codes, self.min_count))
        within = np.all if self.expressed_in == "every" else np.any
        genes = within(passes, axis=0)
        if genes.sum() < 2:
            raise ValueError(
                f"{int(genes.sum())} genes have min_count={self.min_count} counts in "
                f"enough samples of {self.expressed_in} context; lower min_count or "
                "pass expressed_in='any'."
            )
        return genes

    def _fit_part(self, counts, table, obs):
        """Fit one model; see the returned keys in `_collect`."""
        codes, conditions = pd.factorize(
            pd.MultiIndex.from_frame(table[["context", "perturbation"]]), sort=True
        )
        groups = np.flatnonzero(conditions.get_level_values(1) != "")
        contexts = conditions.get_level_values(0)[groups]
        controls = conditions.get_indexer([(context, "") for context in contexts])
        matrix, confounded = independent_covariates(
            covariate_matrix(obs.loc[table.index], self.covariates),
            codes,
            groups,
            controls,
        )
        if confounded.any():
            worst = conditions[groups[confounded][0]]
            raise ValueError(
                f"{int(confounded.sum())} conditions, such as {worst}, cannot be told "
                f"apart from effects of the covariates {list(self.covariates)}: they "
                "share no level with the control. Leave out the covariate or these "
                "conditions."
            )
        df = len(counts) - len(conditions) - matrix.shape[1]
        if df < 1:
            raise ValueError(
                f"{len(counts)} samples do not suffice for {len(conditions)} "
                f"conditions and {matrix.shape[1]} covariate columns. Replicates are "
                "needed: group by donor, well or batch as well, or name fewer "
                "covariates."
            )
        factors = _FACTORS[self.normalization](counts)
        depth = counts.sum(axis=1) * factors
        result = self._test(counts, depth, codes, matrix, groups, controls, df)
        result["factors"] = pd.Series(factors, index=table.index)
        result["members"] = [table.index[codes == group] for group in groups]
        result["n_samples"] = len(counts)
        return result

    def _test(self, counts, depth, codes, covariates, groups, controls, df):
        n_samples, n_genes = counts.shape
        step = self.chunk_size
        if step is None:
            step = max(1, _BLOCK_VALUES // (n_samples * (covariates.shape[1] + 1)))
        blocks = [slice(i, i + step) for i in range(0, n_genes, step)]
        average, variance = np.empty(n_genes), np.empty(n_genes)
        estimate = np.empty((len(groups), n_genes))
        unscaled = np.empty_like(estimate)
        voom = self.method == "voom"
        prior = _TREND_PRIOR_COUNT * depth / depth.mean()
        prior = np.full(n_samples, _VOOM_PRIOR_COUNT) if voom else prior
        # A short fit needs no bar.
        n_steps = len(blocks) * (1 + voom)
        with ProgressBar(n_steps if n_steps > 4 else 0, "Linear models") as progress:

            def fit_genes(trend=None):
                design = (depth, prior, codes, covariates, groups, controls, trend)
                calls = (delayed(_fit_block)(counts[:, b], design) for b in blocks)
                fits = run_calls(calls, self.n_jobs, shared=[design], ordered=True)
                for block, fit in zip(blocks, fits, strict=True):
                    average[block], variance[block] = fit[:2]
                    estimate[:, block], unscaled[:, block] = fit[2:]
                    progress.advance()

            fit_genes()
            if voom:
                counted = counts.any(axis=0)
                fit_genes(_voom_trend(average[counted], variance[counted], depth))
        moderated, df0, _ = moderate(variance, df, None if voom else average)
        return {
            "logFC": estimate,
            "t": estimate / np.sqrt(unscaled * moderated),
            "average": average,
            "df0": df0,
            "df_total": min(df + df0, df * n_genes),
        }

    def _collect(self, results, samples, genes, schema):
        """Put the results of all fits into one AnnData."""
        from anndata import AnnData

        log_fold = np.vstack([r["logFC"] for r in results])
        t = np.vstack([r["t"] for r in results])
        n_conditions = [len(r["members"]) for r in results]
        df = np.repeat([r["df_total"] for r in results], n_conditions)
        p = 2 * stats.t.sf(np.abs(t), df[:, None])
        adjusted = stats.false_discovery_control(p, axis=1)
        response = signed_log_p_from_t(t, df[:, None])
        clipped = np.clip(response, -self.clip, self.clip)
        layers = {
            "logFC": log_fold,
            "t": t,
            "P.Value": p,
            "adj.P.Value": adjusted,
            "sign_log10_pval": response,
            "sign_log10_adj_pval": signed_log_p(adjusted, log_fold),
            "clipped_sign_log10_pval": clipped,
        }
        members = [m for r in results for m in r["members"]]
        obs = describe_conditions(samples.obs, members, schema, self.covariates)
        obs["df_total"] = df
        var = samples.var[genes].copy()
        sizes = [r["n_samples"] for r in results]
        averages = [r["average"] for r in results]
        var["AveExpr"] = np.average(averages, axis=0, weights=sizes)
        return AnnData(clipped.copy(), obs=obs, var=var, layers=layers)


def _fit_block(counts, design):
    """Return the mean and variance of genes, and their contrasts with variances."""
    depth, prior, codes, covariates, groups, controls, trend = design
    y = _log_cpm(counts, depth, prior)
    fit = fit_groups(y, codes, covariates)
    if trend is not None:
        fit = fit_groups(y, codes, covariates, trend(fit.fitted))
    return y.mean(axis=0), fit.variance, *fit.contrasts(groups, controls)


def _log_cpm(counts, depth, prior):
    return np.log2((counts + prior[:, None]) / (depth + 2 * prior)[:, None] * 1e6)


def _voom_trend(average, variance, depth):
    """Return the function from fitted log2 counts per million to weights."""
    size = average + np.mean(np.log2(depth + 1)) - np.log2(1e6)
    x, root = lowess(size, variance**0.25)
    x, first = np.unique(x, return_index=True)
    root = root[first]
    to_size = np.log2(depth + 1) - np.log2(1e6)
    return partial(_weights, x, root, to_size)


def _weights(x, root, to_size, fitted):
    return np.interp(fitted + to_size[:, None], x, root) ** -4.0
