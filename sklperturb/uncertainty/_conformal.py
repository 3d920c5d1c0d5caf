"""Intervals that cover what they say, with the perturbation as the unit."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.model_selection import KFold
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells._files import gene_names
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.conditions._validation import resolve_schema, validate_conditions
from sklperturb.model_selection import suggest_cv
from sklperturb.model_selection._meta import MetaRegressor, unlabeled_for
from sklperturb.uncertainty._conformal_asked import (
    USUAL,
    kinds_of,
    warn_of_asked,
)
from sklperturb.uncertainty._conformal_conditions import (
    Asked,
    HeldOut,
    TrainingConditions,
    as_rows,
    contexts_to_tell_apart,
)
from sklperturb.uncertainty._conformal_distance import KernelDistance
from sklperturb.uncertainty._conformal_quantiles import calibrated_quantiles
from sklperturb.uncertainty._conformal_scale import ErrorScale, ResponseStrength

# Parts that units are dealt into, so that none is judged by a scale learnt from it.
_N_PARTS = 10
_LEVELS = np.concatenate([np.arange(1, 199) / 200, [0.995, 0.998, 0.999]])


class ConformalRegressor(MetaRegressor):
    r"""Predict as another regressor does, and say how far off that may be.

    The errors of rows that folds hold out are divided by how large they were expected
    to be: a factor for each row times one for each gene, :math:`\sigma_{ig} = \rho_i
    \tau_g`. The factor of a row follows from how strong its predicted response is, how
    strong the context and the perturbation were where they were measured, and how far
    the condition is from training. A quantile :math:`q` of these scores makes the
    interval :math:`\hat y_{ig} \pm q\,\sigma_{ig}`.

    What is promised is the coverage of an entry that is drawn at random: of a new
    perturbation, then of a gene and a row of it. That takes perturbations to be
    exchangeable, not rows or genes, which are alike within one [1]_ [2]_: each
    perturbation counts once, and the quantile is raised until each one is covered as
    often as is said by the quantile of all the others. Nothing is promised of a single
    gene or a single perturbation: a strong one is covered less than a weak one.

    Parameters
    ----------
    estimator : regressor, default=None
        None is ``TargetEncodedRidge()``.
    confidence : float, default=0.9
        Share of the entries that intervals are to cover, above 0 and below 1.
    cv : int, splitter or iterable, default=None
        Folds of the held-out rows. They have to hold out what will be asked:
        `UnseenPairKFold` if it is a known perturbation in another context,
        `UnseenPerturbationKFold` if it is a new one. None and integers take what
        `suggest_cv` takes without rows to predict: pairs where perturbations were
        measured in several contexts, else perturbations; in 5 folds, or as many.
    by_context : bool, default=False
        Whether contexts have quantiles of their own, those with at least 20
        perturbations held out in them; the others have that of all.
    abstain_beyond : float, default=0.99
        Share of the held-out rows that is near enough to training to be answered; see
        `abstain`.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    n_jobs : int, default=None
        Number of fits at a time; None is 1 unless in a `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Deals conditions into folds where `cv` is None or an integer; None is 0.

    Attributes
    ----------
    estimator_ : regressor
        Fitted on all rows.
    error_scale_ : ErrorScale
        With ``genes``, the factor of each gene.
    levels_ : ndarray of shape (n_levels,)
        Shares of entries to cover for which there are quantiles.
    quantiles_ : ndarray of shape (n_groups, n_levels)
        How many times its expected size an error is at most: for all rows first, then
        for each of `grouped_contexts_`. Infinite where there are too few perturbations.
    grouped_contexts_ : list of int
        Codes of the contexts with quantiles of their own.
    n_perturbations_ : int
        Perturbations that were held out. Those that share a structure are one.
    held_out_kinds_ : dict of {str: float}
        What the folds asked, as shares of the rows held out.
    conditions_ : TrainingConditions
    distance_ : KernelDistance
    strength_ : ResponseStrength
        What training rows tell of contexts and perturbations.
    distance_limit_ : float
        Distance from training beyond which `abstain` says so.
    schema_ : PerturbationSchema or None
        None for a sparse `X`, each row of which is a perturbation of its own.
    n_features_in_ : int
        Only if the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimator has it.

    See Also
    --------
    coverage_curve : Whether intervals cover what they say.
    sklperturb.model_selection.suggest_cv : Folds that ask what is to be predicted.

    Notes
    -----
    Errors are those of models that were fitted on some of the folds, as in
    cross-conformal prediction [3]_, and intervals are around the model that is fitted
    on all of them and is a little better: they tend to cover a little more than they
    say. The scale by which a perturbation is judged is learnt from others.

    Expected errors stay within the range of those that were held out. Where rows are
    asked that differ from these, the promise is void: `predict_interval` says so.

    Memory is a few times that of `y`, and square in the number of conditions.

    References
    ----------
    .. [1] Dunn, Wasserman and Ramdas, "Distribution-free prediction sets for two-layer
       hierarchical models", Journal of the American Statistical Association, 2023.
       :doi:`10.1080/01621459.2022.2060112`
    .. [2] Lee, Barber and Willett, "Distribution-free inference with hierarchical
       data", 2023. :doi:`10.48550/arXiv.2306.06342`
    .. [3] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the
       jackknife+", Annals of Statistics, 2021. :doi:`10.1214/20-AOS1965`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import ConformalRegressor
    >>> from sklperturb.model_selection import suggest_cv
    >>> screen = make_chemical_screen(4, 40, 50, n_shared=20, random_state=0)
    >>> cv = suggest_cv(screen.X, screen.X_test)
    >>> model = ConformalRegressor(cv=cv).fit(screen.X, screen.y)
    >>> lower, upper = model.predict_interval(screen.X_test)
    >>> inside = (lower <= screen.y_test) & (screen.y_test <= upper)
    >>> round(float(inside.to_numpy().mean()), 2)
    0.95
    """

    _parameter_constraints = {
        **MetaRegressor._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict"]), None],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "by_context": ["boolean"],
        "abstain_beyond": [Interval(Real, 0, 1, closed="right")],
        "schema": [PerturbationSchema, None],
    }

    def __init__(
        self,
        estimator=None,
        *,
        confidence=0.9,
        cv=None,
        by_context=False,
        abstain_beyond=0.99,
        schema=None,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.confidence = confidence
        self.cv = cv
        self.by_context = by_context
        self.abstain_beyond = abstain_beyond
        self.schema = schema
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, X_unlabeled=None):
        """Learn from held-out rows how large errors are, then fit on all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions, and whatever else the estimator reads.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.
        X_unlabeled : DataFrame or array-like of shape (n_unlabeled, n_columns), \
                default=None
            Conditions to predict, for an estimator whose `fit` takes them; every fit
            gets all of them.

        Returns
        -------
        self : ConformalRegressor

        Raises
        ------
        ValueError
            If there is one perturbation only, or the estimator takes no `X_unlabeled`.

        Warns
        -----
        UserWarning
            If there are too few perturbations for the confidence, or for the quantile
            of a context.
        """
        metadata = unlabeled_for(self._estimator(), X_unlabeled)
        given, (X, targets) = X, self._check_rows(X, y)
        flat = targets.reshape(len(targets), -1)
        self.schema_ = None
        if not issparse(X):
            X = validate_conditions(self, X, reset=True)
            self.schema_ = resolve_schema(self.schema, X)
        X = as_rows(X)
        self.conditions_ = known = TrainingConditions(X, self.schema_)
        context, perturbation, units = known.context, known.perturbation, known.units(X)
        folds = self._folds(X, units)
        held = HeldOut(
            *(self._estimator(), X, targets, gene_names(y), folds),
            *(self.n_jobs, metadata),
        )
        self._fit_estimator(given, y, **metadata)
        names = known.names[perturbation]
        self.distance_ = KernelDistance(self.schema_).fit(X, context, names)
        least = 1e-3 * float(np.sqrt(np.mean(flat**2))) or 1.0

        def strength(rows):
            codes = context[rows], perturbation[rows]
            return ResponseStrength(*codes, known.n_levels, flat[rows], least)

        found = []
        for train, rows, predicted in held:
            distance = self.distance_.left_out(train, rows)
            codes = context[rows], perturbation[rows]
            features = strength(train).features(*codes, predicted, distance)
            kinds = kinds_of(*codes, context[train], perturbation[train])
            found.append((features, distance, kinds))
        features, distance, kinds = map(np.concatenate, zip(*found, strict=True))
        self.strength_ = strength(slice(None))
        of_rows = units[held.rows], context[held.rows]
        self._calibrate(features, held.errors, *of_rows)
        self._remember(features, distance, kinds)
        return self

    def predict(self, X):
        """Return what the estimator predicts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        return self._shaped(self.estimator_.predict(X))

    def predict_interval(self, X, confidence=None):
        """Return the ends of an interval around each prediction.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        confidence : float, default=None
            Share of the entries to cover, above 0 and below 1; None is that of the
            constructor.

        Returns
        -------
        lower, upper : ndarray of shape (n_samples,) or (n_samples, n_genes)
            In the unit of `y`. Infinite where too few perturbations were held out.

        Raises
        ------
        ValueError
            If `confidence` is not between 0 and 1.

        Warns
        -----
        ExchangeabilityWarning
            If the rows differ from those that were held out: in what was measured of
            their perturbation and context, in how far they are from training, or in how
            large an error is expected. Their intervals may cover less than they say.
        UserWarning
            If the intervals are infinite.
        """
        check_is_fitted(self)
        confidence = self.confidence if confidence is None else confidence
        if not (isinstance(confidence, Real) and 0 < confidence < 1):
            raise ValueError(
                f"confidence={confidence!r} is no share of entries to cover; give a "
                "number above 0 and below 1, such as 0.9."
            )
        asked = self._ask(X)
        warn_of_asked(asked, self.held_out_kinds_, self._usual)
        quantiles = self._quantiles_at(confidence)
        if not np.isfinite(quantiles).all():
            self._warn_of_few(confidence)
        half = quantiles[asked.group][:, None] * asked.scale
        half = half.reshape(asked.y_pred.shape)
        return asked.y_pred - half, asked.y_pred + half

    def distance(self, X):
        """Return how far each condition is from those of training.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)

        Returns
        -------
        distance : ndarray of shape (n_samples,)
            From near 0, for a condition that was measured, to 1, for one whose
            perturbation and context are like none in training. It counts in how many
            contexts the perturbation was measured, how much else is known of the
            context, and, where the schema names a column of SMILES and rdkit is
            installed, the Tanimoto similarity with compounds that were measured.
        """
        check_is_fitted(self)
        X = as_rows(X)
        context, _, _, names = self.conditions_.read(X)
        return self.distance_(X, context, names)

    def abstain(self, X):
        """Return which conditions are too far from training to be answered.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)

        Returns
        -------
        too_far : ndarray of bool of shape (n_samples,)
            Whether the distance is beyond that of the share `abstain_beyond` of the
            rows that were held out.
        """
        return self.distance(X) > self.distance_limit_ * (1 + 1e-9)

    @available_if(lambda self: hasattr(self.estimator_, "_used_columns"))
    def _used_columns(self):
        own = self.schema_.columns("context", "perturbation")
        return list(dict.fromkeys([*self.estimator_._used_columns(), *own]))

    def _estimator(self):
        if self.estimator is not None:
            return self.estimator
        from sklperturb.linear_model import TargetEncodedRidge

        return TargetEncodedRidge(schema=self.schema)

    def _folds(self, X, units):
        """Return the splitter, which has to hold out what will be asked."""
        if self.cv is not None and not isinstance(self.cv, Integral):
            return self.cv
        n_splits = min(5 if self.cv is None else self.cv, len(np.unique(units)))
        seed = 0 if self.random_state is None else self.random_state
        if self.schema_ is None:
            return KFold(n_splits, shuffle=True, random_state=seed)
        X = pd.DataFrame(X)
        return suggest_cv(
            X, X[:0], n_splits=n_splits, schema=self.schema_, random_state=seed
        )

    def _calibrate(self, features, errors, units, context):
        """Learn the scale of errors, and quantiles of what exceeds it."""
        scores = np.empty_like(errors)
        codes = np.unique(units, return_inverse=True)[1]
        self.n_perturbations_ = int(codes.max()) + 1
        part = codes % min(_N_PARTS, self.n_perturbations_)
        for number in np.unique(part):
            inside, others = part == number, part != number
            if not others.any():
                others = inside
            scale = ErrorScale().fit(features[others], errors[others], units[others])
            scores[inside] = np.abs(errors[inside]) / scale(features[inside])
        self.error_scale_ = ErrorScale().fit(features, errors, units)
        self.levels_ = np.union1d(_LEVELS, [self.confidence])
        self.grouped_contexts_ = []
        groups = [slice(None)]
        if self.by_context:
            self.grouped_contexts_ = contexts_to_tell_apart(
                context, self.conditions_.contexts, units
            )
        groups += [np.flatnonzero(context == code) for code in self.grouped_contexts_]
        self.quantiles_ = np.stack(
            [calibrated_quantiles(scores[g], units[g], self.levels_) for g in groups]
        )
        if not np.isfinite(self._quantiles_at(self.confidence)).all():
            self._warn_of_few(self.confidence)

    def _remember(self, features, distance, kinds):
        """Keep what was usual among the rows that were held out."""
        self.distance_limit_ = float(np.quantile(distance, self.abstain_beyond))
        names, counts = np.unique(kinds.astype(str), return_counts=True)
        shares = (counts / counts.sum()).tolist()
        self.held_out_kinds_ = dict(zip(names.tolist(), shares, strict=True))
        sizes = self.error_scale_.of_rows(features)
        self._usual = tuple(float(np.quantile(v, USUAL)) for v in (distance, sizes))

    def _quantiles_at(self, confidence):
        """Return the quantile of each group, at the next level that there is."""
        place = np.searchsorted(self.levels_, confidence - 1e-9)
        if place == len(self.levels_):
            return np.full(len(self.quantiles_), np.inf)
        return self.quantiles_[:, place]

    def _warn_of_few(self, confidence):
        warn(
            f"{self.n_perturbations_} perturbations were held out, too few for "
            f"intervals that cover {confidence:g}: they are infinite. Lower the "
            "confidence, or measure more."
        )

    def _ask(self, X):
        """Return what intervals of the rows are made from."""
        y_pred = self._shaped(self.estimator_.predict(X)).astype(np.float64)
        X = as_rows(X)
        context, perturbation, contexts, names = self.conditions_.read(X)
        distance = self.distance_(X, context, names)
        rows = y_pred.reshape(len(y_pred), -1)
        features = self.strength_.features(context, perturbation, rows, distance)
        known = self.conditions_.context, self.conditions_.perturbation
        place = {code: 1 + n for n, code in enumerate(self.grouped_contexts_)}
        return Asked(
            y_pred,
            self.error_scale_(features),
            np.array([place.get(code, 0) for code in context.tolist()]),
            kinds_of(context, perturbation, *known),
            distance,
            self.error_scale_.of_rows(features),
            contexts,
            names,
        )
