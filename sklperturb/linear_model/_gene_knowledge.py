"""Kernel ridge on what is known of perturbed genes, and of responses elsewhere."""

import warnings
from numbers import Integral

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.base import _fit_context, clone
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils._param_validation import Interval

from sklperturb.cells._files import gene_names
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_pandas, take_columns, without_annotation
from sklperturb.conditions._levels import take_levels
from sklperturb.conditions._validation import validate_conditions
from sklperturb.linear_model._kernel import groups_by_part
from sklperturb.linear_model._knowledge import EDGES, SourceKernelsMixin, fit_knowledge
from sklperturb.linear_model._latent import (
    LatentConditionRegressor,
    Within,
    bands_in,
)
from sklperturb.linear_model._response_kernel import ResponseKernelRidge
from sklperturb.preprocessing import read_gene_source
from sklperturb.preprocessing._gene_embedding import GeneEmbedding
from sklperturb.preprocessing._gene_sources import (
    UnitVectors,
    all_responses,
    distinct_names,
    fitted_source,
    holds_responses,
    products_of_bands,
    profile_source,
    sum_of_parts,
    warn_of_unknown,
)

# Rows of a context from which it has a model of its own.
_MIN_ROWS = 30


class GeneKnowledgeRidge(SourceKernelsMixin, ResponseKernelRidge):
    r"""Predict genes that were never perturbed from what is known of them.

    The response of (context :math:`c`, gene :math:`g`) is a Gaussian process whose
    covariance is a sum of products of a kernel of contexts (one, the same one, and how
    alike they are) and one of genes: one for each source, the cosine of the genes'
    vectors. Sources are gene sets, tables of vectors, and other screens, of which the
    vectors are the responses to the same perturbations, centred on their context. What
    each product explains is found by marginal likelihood, the penalty by closed-form
    leave-perturbations-out. Of a gene that is missing in a source the source says
    nothing, and the others are what is left.

    What another screen has measured of a perturbation is also taken over, as far as
    its genes are measured here, each band of its principal components times an
    amplitude that is learnt; so a screen of ten perturbations has something of it.

    Perturbations that were measured in other contexts of the same screen have two
    kernels more, the same perturbation, and how alike perturbations act in the other
    contexts (see `ResponseKernelRidge`); their variances and penalties are learnt for
    them, leaving out pairs. In a context of at least 30 rows the prediction is the mean
    of this one and that of a model of the context alone, for which the other contexts
    are other screens, each with a weight of its own. A combination ``"A+B"`` is the
    sum of its parts. For one of which no part was perturbed, penalties are learnt by
    leaving out all that shares a part; for others by leaving out the combination.

    Parameters
    ----------
    sources : list, default=None
        What is known of genes: files and frames as `read_gene_source` takes them, what
        it returns, or transformers of `sklperturb.preprocessing` from conditions to
        gene vectors, such as ``ExpressionGeneEmbedding()``, which are fitted to the
        training rows. With None there is what contexts tell of each other.
    max_iter : int, default=60
        Steps of the search for the variances.
    scale_contexts : bool, default=True
        Whether to divide responses by how strongly their context responds in general
        before fitting, and to multiply predictions by it.
    n_components : "full", int, float or "gavish-donoho", default="full"
        Basis of the targets (see `TargetReducer`); "full" loses nothing.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    shares_ : dict of {str: dict of {str: float}}
        For "unseen" perturbations and, where there are any, those of which "parts" were
        perturbed and those "seen" in other contexts: the share of each product of
        kernels in what all explain, as ``"any x go.gmt"`` and ``"same x parts"``.
    amplitudes_ : dict of {str: float}
        What responses taken over from other screens are multiplied by, for each screen,
        context and band of components.
    known_ : dict of {str: float}
        Share of the training perturbations of which each source knows a gene.
    models_ : dict of {int: GeneKnowledgeRidge}
        By number of the context, models of single contexts, for predictions only.
    n_iter_ : int
        Steps that the search took.
    context_similarity_ : ndarray of shape (n_contexts, n_contexts)
    grand_mean_share_, centre_share_ : float
        Shares, 0 to 1, of the mean of all rows that are predicted in contexts that were
        seen, and in others: what is more than noise, and what contexts have in common.
    context_scales_ : ndarray of shape (n_contexts,)
    reducer_ : TargetReducer
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    ResponseKernelRidge : For perturbations that were all measured elsewhere.
    TanimotoKernelRidge : For compounds, by their structure.

    Notes
    -----
    Responses are taken over by the names of genes, which `y` has as a DataFrame; of an
    array, nothing is taken over, and the cosines are what is left of other screens.

    Vectors of a table are centred on the mean of the genes that were perturbed in
    training; weights of gene sets are not.

    Time is cubic in the number of rows; variances are learnt from 400 rows at most.

    References
    ----------
    .. [1] Ahlmann-Eltze, Huber and Anders, "Deep-learning-based gene perturbation
       effect prediction does not yet outperform simple linear baselines", Nature
       Methods, 2025: another screen as the source. :doi:`10.1038/s41592-025-02772-6`
    .. [2] Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT
       Press, 2006, section 5.4. :doi:`10.7551/mitpress/3206.001.0001`

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.linear_model import GeneKnowledgeRidge
    >>> rng = np.random.RandomState(0)
    >>> genes = [f"G{i}" for i in range(40)]
    >>> table = pd.DataFrame(rng.normal(size=(40, 2)), index=genes)
    >>> y = table.to_numpy() @ rng.normal(size=(2, 5))
    >>> X = pd.DataFrame({"target_gene": genes})
    >>> model = GeneKnowledgeRidge([table]).fit(X[:30], y[:30])
    >>> bool(np.abs(model.predict(X[30:]) - y[30:]).mean() < 0.5 * np.abs(y).mean())
    True
    """

    _parameter_constraints = {
        **LatentConditionRegressor._parameter_constraints,
        "sources": [list, tuple, None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }
    del _parameter_constraints["alphas"]

    # Seen and unseen perturbations, once for all bands together and once for each.
    _n_kernels = 2 * (len(EDGES) + 2)

    _learnt_since = LatentConditionRegressor._learnt_since | {"_basis_elsewhere": None}

    def __init__(
        self,
        sources=None,
        *,
        max_iter=60,
        scale_contexts=True,
        n_components="full",
        schema=None,
    ):
        self.sources = sources
        self.max_iter = max_iter
        self.scale_contexts = scale_contexts
        self.n_components = n_components
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Read the sources, and find what each of them explains.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : DataFrame or array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : GeneKnowledgeRidge

        Raises
        ------
        ValueError
            If a source cannot be read, or pairs of rows do not fit into memory.

        Warns
        -----
        UserWarning
            If there is no source and nothing else that tells perturbations apart, or a
            source knows none of the perturbed genes, or is the screen itself, with the
            responses that are to be learnt: whatever is held out is known then. If the
            rows are so many that the fit takes hours.
        """
        given = [
            s if isinstance(s, GeneEmbedding) else read_gene_source(s)
            for s in self.sources or ()
        ]
        self._elsewhere = all_responses(given, gene_names(as_pandas(y)), EDGES)
        self._basis_elsewhere = None
        targets = self._compare_responses(X, y)
        context, perturbation = self._train_codes
        self._parts = [self.schema_.split(p) for p in self.perturbations_]
        self._combines = any(len(genes) > 1 for genes in self._parts)
        self._index = {
            gene: i for i, gene in enumerate(sorted(set().union(*self._parts)))
        }
        named = set(self._index)
        sources = [fitted_source(source, X, y) for source in given]
        names = distinct_names([source.name for source in sources])
        self._vectors = {
            name: UnitVectors.of(source, named)
            for name, source in zip(names, sources, strict=True)
        }
        self.known_ = {
            name: float(np.mean([bool(set(p) & set(v.index)) for p in self._parts]))
            for name, v in self._vectors.items()
        }
        for name, vectors in self._vectors.items():
            warn_of_unknown(name, vectors, named, "perturbed genes")
        self._warn_of_same(given, y)
        labels = self.perturbations_[perturbation]
        several = len(self.contexts_) > 1
        in_contexts = len(np.unique(context * len(self._parts) + perturbation))
        # Pairs of a perturbation seen elsewhere are asked for where there are any.
        heads = ["unseen", *["seen"] * (several and in_contexts > len(self._parts))]
        cells = dict.fromkeys(("unseen", "parts"), perturbation)
        cells["seen"] = context * len(self._parts) + perturbation
        # Of two combinations that share a gene, one tells of the other.
        sharing = {"unseen": groups_by_part([self._parts[p] for p in perturbation])}
        if sharing["unseen"]:
            heads.append("parts")
        if not given and heads == ["unseen"]:
            warn(
                "There are no sources, and no perturbation was measured in several "
                "contexts or combinations: perturbations that were not measured are "
                "all predicted as the mean of their context. Pass sources=, what is "
                "known of genes."
            )
        self._rows_of_parts = self._membership(labels)
        self._keep_rows_of_sources(labels)
        self._heads, self.shares_, self.models_ = {}, {}, {}
        for head in heads:
            means, kernels = self._kernels_of(head, context, perturbation, labels)
            fitted = fit_knowledge(
                means,
                kernels,
                targets,
                perturbation,
                groups=cells[head],
                sharing=sharing.get(head),
                max_iter=self.max_iter,
            )
            self._heads[head] = fitted.for_predictions()
            self.shares_[head] = fitted.shares([*means, *kernels])
            if head != "parts":  # "seen", where there is such, is of all conditions
                self._learn_prior(fitted, means, kernels, targets)
        if "seen" in heads:
            self._fit_own(X, y, sources)
        else:
            self._products = None  # which are of those seen elsewhere
        # Products of vectors are all that counts from here.
        self._vectors = {n: v.for_products() for n, v in self._vectors.items()}
        self._keep_rows_of_sources(labels)
        self.n_iter_ = max(f.n_iter for h in self._heads.values() for f in h.fits)
        return self

    def predict(self, X):
        """Return the expected response of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, perturbation = self._codes(X)
        X = validate_conditions(self, X, reset=False)
        labels = take_columns(X, self._roles())[:, -1]
        latent = np.empty((len(labels), self._heads["unseen"].centre.size))
        seen = (perturbation >= 0) & ("seen" in self._heads)
        parts = np.zeros(len(labels), dtype=bool)
        if "parts" in self._heads:
            parts = self._membership(labels).sum(axis=1) > 0
        heads = np.select([seen, parts], ["seen", "parts"], "unseen")
        for head in self._heads:
            rows = np.flatnonzero(heads == head)
            if len(rows):
                given = context[rows], perturbation[rows], labels[rows]
                kernels = self._kernels_of(head, *given)
                latent[rows] = self._heads[head].predict(*kernels)
        scales = take_levels(self.context_scales_, context, 1.0)[:, None]
        y_pred = self._decode(latent, context) + scales * self._taken_over(labels)
        for code, model in self.models_.items():
            rows = np.flatnonzero(seen & (context == code))
            if len(rows):
                own = model.predict(_safe_indexing(X, rows))
                y_pred[rows] = (y_pred[rows] + own.reshape(len(rows), -1)) / 2
        return self._shaped(y_pred)

    def _fit_own(self, X, y, sources):
        """Fit each context for itself, with the other contexts as sources."""
        X, y = indexable(as_pandas(X), without_annotation(y))
        genes = gene_names(y)
        values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if genes is None:
            genes = pd.Index(np.arange(values.shape[1]).astype(str))
        y = pd.DataFrame(values, columns=genes)
        context, perturbation = self._train_codes
        labels = self.perturbations_[perturbation]
        profiles = [
            profile_source(str(name), labels[rows], y[rows], self.schema_)
            for name, rows in zip(
                self.contexts_,
                context == np.arange(len(self.contexts_))[:, None],
                strict=True,
            )
        ]
        for code in range(len(self.contexts_)):
            rows = np.flatnonzero(context == code)
            others = [p for c, p in enumerate(profiles) if c != code and p is not None]
            if len(rows) < _MIN_ROWS or not others:
                continue
            model = clone(self).set_params(
                sources=[*sources, *others], schema=self.schema_
            )
            with warnings.catch_warnings():
                # That of the sources was said; contexts may be alike.
                warnings.filterwarnings("ignore", ".*holds the responses")
                model.fit(_safe_indexing(X, rows), y.iloc[rows])
            model.sources = None  # it has read them; a file would hold them again
            model._share_basis(self.reducer_.components_)
            self.models_[code] = model

    def _keep_rows_of_sources(self, labels):
        genes = self._genes_of(labels)
        self._rows_of_sources = {n: v.rows(genes) for n, v in self._vectors.items()}

    def _warn_of_same(self, sources, y):
        """Warn of screens among the sources that hold the very responses in `y`."""
        y = without_annotation(y)
        if not isinstance(y, pd.DataFrame):
            return
        y = y.set_axis(gene_names(y), axis=1)
        context, perturbation = self._train_codes
        for source in sources:
            profiles, found = getattr(source, "profiles", {}).values(), []
            for code, name in enumerate(self.contexts_):
                rows = np.flatnonzero(context == code)
                parts = [self._parts[p] for p in perturbation[rows]]
                if any(holds_responses(p, parts, y.iloc[rows]) for p in profiles):
                    found.append(str(name))
            if found:
                of = f" of {', '.join(found)}" if len(self.contexts_) > 1 else ""
                warn(
                    f"{source.name} holds the responses{of} that are to be learnt. "
                    "Held-out ones are then read and not predicted, and no score "
                    "counts. Leave it out, or remove these rows from it."
                )

    def _known_beforehand(self, labels, y):
        """Learn how much of the responses elsewhere is there in these, and return it.

        In the space of the genes: within that of the training rows, which holds their
        noise, amplitudes come out far too large.
        """
        bands = self._bands_elsewhere(labels)
        found = np.zeros(0)
        if bands:
            found = nnls(*products_of_bands(bands, y - y.mean(axis=0)))[0]
        self.amplitudes_ = dict(zip(self._elsewhere, found.tolist(), strict=True))
        return self._taken_over(labels)

    def _taken_over(self, labels):
        """Return what is taken over of the responses elsewhere, at one strength."""
        total = 0.0
        bands = self._bands_elsewhere(labels)
        for amplitude, band in zip(self.amplitudes_.values(), bands, strict=True):
            if amplitude:
                scores, components = band
                total = total + (amplitude * scores) @ components
        if self._basis_elsewhere is None or not np.ndim(total):
            return total
        return total @ self._basis_elsewhere

    def _share_basis(self, shared):
        """Keep what is of genes in a basis that others have, if it is in it."""
        self.reducer_ = Within.of(self.reducer_, shared)
        bands = bands_in(shared, self._elsewhere)
        if bands is not None:
            self._elsewhere, self._basis_elsewhere = bands, shared

    def _bands_elsewhere(self, labels):
        """Return scores and components of each row's genes elsewhere, by band."""
        parts = self._genes_of(labels)
        return [
            (sum_of_parts(parts, index, scores), components)
            for index, scores, components in self._elsewhere.values()
        ]
