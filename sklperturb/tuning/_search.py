"""Search for good parameters with Optuna, as a scikit-learn estimator."""

import time
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike

import numpy as np
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.linear_model import Ridge
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._named_predictions import NamedPredictionsMixin, gives_frames
from sklperturb.conditions._validation import require_y
from sklperturb.tuning._run import route, run_search
from sklperturb.tuning._scores import best_row, is_several, resolve_scorers, tabulate
from sklperturb.tuning._space import SearchSpace
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit
from sklperturb.utils._choices import Pruner

_SAMPLERS = StrOptions({"random"})


def _has(method):
    def check(self):
        getattr(getattr(self, "best_estimator_", self._estimator()), method)
        return True

    return check


class PerturbationSearchCV(
    DocumentedMixin,
    NamedPredictionsMixin,
    CallbackSupportMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Search for good parameters with Optuna, on folds that cut by condition.

    It is used as `GridSearchCV` is: `fit` tries parameters on the folds of `cv`, keeps
    a table of them, and fits the best ones on all rows. Parameters are drawn by a
    sampler that learns from the trials before; trials that do badly are ended early;
    and with a storage, a search that was stopped or killed goes on where it was, in
    the middle of a trial too.

    Parameters
    ----------
    estimator : estimator, default=None
        What to tune. None tunes `sklearn.linear_model.Ridge`.
    param_distributions : "auto", dict or callable, default="auto"
        "auto" takes `search_space` of the estimator. A dict has an Optuna distribution
        or a list of choices for each parameter, by its nested name. A function is
        given an Optuna trial, asks it for values, and returns the parameters as a
        dict, or None if the names that it asked for are those of the parameters.
    cv : int, splitter or iterable, default=None
        Folds, such as `UnseenPairKFold`. Beware of an int, and of None, which is 5:
        rows of one compound then fall on both sides.
    scoring : str, callable, list, dict or None, default=None
        A name that `sklperturb.metrics.get_scorer` knows, such as "neg_mrrmse" or
        "r2", a scorer, several of these, or None for the estimator's own score, which
        for regressors is R2. With several, `refit` names the one to optimise.
    n_trials : int or None, default=50
        Trials in all, those that a storage already has included. None stops at
        `timeout`.
    timeout : float or None, default=None
        Seconds after which no trial is begun.
    study : optuna.study.Study, default=None
        Study to fill; its direction must be to maximise. Trials that were enqueued in
        it come first, finished ones are known to the sampler. A clone of the search
        has a copy of it: for nested cross-validation, pass `storage`.
    storage : str, path-like or optuna.storages.BaseStorage, default=None
        Where trials are kept: the path of a journal, or the URL of a database. None
        keeps them in memory. Processes and machines that share it share the trials.
        Classes and functions of your own count as they are: once one is edited, its
        search is another one.
    study_name : str, default=None
        Name in the storage. None makes one of the data, the folds, the estimator, the
        scoring, the space, the pruner, the sampler and the seed, so that the same
        search goes on, and another one, such as that of another outer fold, has a
        study of its own.
    pruner : "auto", "hyperband", "wilcoxon", optuna.pruners.BasePruner or None, \
            default="auto"
        What ends trials early. "hyperband", or any pruner other than Wilcoxon's, looks
        at networks after epochs, at the step fold x max_epochs + epoch, and at other
        estimators after folds. "wilcoxon" compares the scores of folds with those of
        the best trial. "auto" is the former for networks, the latter for others.
    sampler : None, "random", optuna.samplers.BaseSampler or callable, default=None
        None is a multivariate TPE. A function is given a seed and returns a sampler.
        A sampler object keeps its own random state, so that a search which goes on
        may repeat itself.
    ask_ahead : int, default=4
        How many trials may be under way when another is proposed. Parameters are the
        same for every `n_jobs` up to this number, since a proposal never waits for
        more, nor knows of more; above, the number of workers takes its place.
    refit : bool or str, default=True
        Whether to fit the best parameters on all rows, and by which score if there
        are several.
    n_jobs : int, default=None
        Trials at a time. Within `joblib.parallel_config`, its backend is used: with
        "dask", folds run on the cluster. Each is given one thread.
    error_score : "raise" or float, default=nan
        Score of a fold that failed. With NaN its trial fails with a FitFailedWarning,
        and the search goes on.
    callbacks : list of callable, default=None
        Each is called as ``callback(study, trial)`` after a trial.
    verbose : int, default=1
        1 shows a progress bar when the error stream is a terminal.
    random_state : int, RandomState instance or None, default=None
        Seeds the sampler. An int gives the same trials every time.

    Attributes
    ----------
    best_estimator_ : estimator
        Fitted on all rows; only with `refit`.
    best_params_ : dict
    best_score_ : float
        Mean score over folds. It won on these folds, which makes it optimistic.
    best_index_ : int
        Row of the best trial in ``cv_results_``.
    cv_results_ : dict of str to ndarray
        As of `GridSearchCV`, one row for each trial in the order of proposal, with
        its "state" (COMPLETE, PRUNED or FAIL) and its number in the study. Folds that
        were not run are NaN.
    study_ : optuna.study.Study
        For Optuna's plots and importances.
    scorer_ : scorer or dict of str to scorer
    n_splits_ : int
    multimetric_ : bool
    refit_time_ : float
        Seconds; only with `refit`.
    n_features_in_ : int
        Only if `best_estimator_` has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if `best_estimator_` has it.

    See Also
    --------
    search_space : The default parameters to draw.
    sklearn.model_selection.GridSearchCV : Tries all combinations of few values.

    Notes
    -----
    The first trial has the estimator's own parameters, as far as the space allows
    them, so that the search does not end below where it began.

    Trials run on one thread each, also if there is only one at a time: sums over
    several threads differ in their last bits, and a network may make much of that.

    `groups` goes to the splitter, everything else that `fit` is given to the
    estimator. With metadata routing on, each goes where it was asked for.

    References
    ----------
    .. [1] Akiba et al., "Optuna: A next-generation hyperparameter optimization
       framework", KDD 2019. :doi:`10.1145/3292500.3330701`
    .. [2] Li et al., "Hyperband: A novel bandit-based approach to hyperparameter
       optimization", Journal of Machine Learning Research, 2018.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import TargetEncodedRidge
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> from sklperturb.tuning import PerturbationSearchCV
    >>> screen = make_chemical_screen(4, 20, 30, random_state=0)
    >>> search = PerturbationSearchCV(
    ...     TargetEncodedRidge(),
    ...     cv=UnseenPairKFold(2, random_state=0),
    ...     scoring="mrrmse",
    ...     n_trials=3,
    ...     random_state=0,
    ... )
    >>> search.fit(screen.X, screen.y).predict(screen.X_test).shape
    (32, 30)
    >>> sorted(search.best_params_)
    ['interactions', 'n_statistics', 'scale_contexts']
    """

    _parameter_constraints = {
        "estimator": [HasMethods("fit"), None],
        "param_distributions": [StrOptions({"auto"}), Mapping, callable],
        "cv": ["cv_object"],
        "scoring": [str, callable, list, tuple, set, dict, None],
        "n_trials": [Interval(Integral, 1, None, closed="left"), None],
        "timeout": [Interval(Real, 0, None, closed="left"), None],
        "study": [HasMethods(["ask", "tell"]), None],
        "storage": [str, PathLike, HasMethods("get_all_studies"), None],
        "study_name": [str, None],
        "pruner": [StrOptions(set(Pruner)), HasMethods("prune"), None],
        "sampler": [_SAMPLERS, HasMethods("sample_independent"), callable, None],
        "ask_ahead": [Interval(Integral, 1, None, closed="left")],
        "refit": ["boolean", str],
        "n_jobs": [Integral, None],
        "error_score": [StrOptions({"raise"}), Real],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        param_distributions="auto",
        *,
        cv=None,
        scoring=None,
        n_trials=50,
        timeout=None,
        study=None,
        storage=None,
        study_name=None,
        pruner="auto",
        sampler=None,
        ask_ahead=4,
        refit=True,
        n_jobs=None,
        error_score=np.nan,
        callbacks=None,
        verbose=1,
        random_state=None,
    ):
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.cv = cv
        self.scoring = scoring
        self.n_trials = n_trials
        self.timeout = timeout
        self.study = study
        self.storage = storage
        self.study_name = study_name
        self.pruner = pruner
        self.sampler = sampler
        self.ask_ahead = ask_ahead
        self.refit = refit
        self.n_jobs = n_jobs
        self.error_score = error_score
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    _predicts_with = "best_estimator_"

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params):
        """Try parameters on the folds, and fit the best ones on all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Whatever the estimator reads.
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes), default=None
            Responses.
        **params : dict
            `groups` for the splitter, and what else `fit` of the estimator takes.

        Returns
        -------
        self : PerturbationSearchCV

        Raises
        ------
        ValueError
            If a parameter is not allowed, if no trial came to its end, or if the
            storage holds trials of another search under this name.
        """
        task = begin_fit(self, X, y, n_parts=1 + bool(self.refit))
        estimator = self._estimator()
        if self.n_trials is None and self.timeout is None:
            raise ValueError("Neither n_trials nor timeout is given; pass one of them.")
        if get_tags(estimator).target_tags.required:
            require_y(self, y)
        scorers, metric = self._scorers()
        routed = route(self, metric, params)
        X, y = indexable(X, y)
        cv = check_cv(self.cv, y, classifier=is_classifier(estimator))
        folds = list(cv.split(X, y, **routed["split"]))
        if not folds:
            raise ValueError(f"cv={self.cv!r} gives no folds; nothing can be scored.")
        space = SearchSpace(self.param_distributions, estimator)
        data = (X, y, routed["fit"], routed["score"])
        store, cause = run_search(
            self, estimator, space, folds, (scorers, metric), data, task
        )
        self.study_ = store.study
        self.n_splits_ = len(folds)
        self.multimetric_ = is_several(self.scoring)
        self.scorer_ = scorers if self.multimetric_ else scorers[metric]
        results = tabulate(store.finished(), space.decode, list(scorers), len(folds))
        self.cv_results_ = results
        self.best_index_ = best_row(results, metric, cause)
        self.best_score_ = float(results[f"mean_test_{metric}"][self.best_index_])
        self.best_params_ = results["params"][self.best_index_]
        if self.refit:
            part = task.part("refit-with-best-params")
            self._refit(estimator, X, y, routed["fit"], part)
        task.end(X, y, fitted=dict if self.refit else None)
        return self

    def score(self, X, y=None, **params):
        """Return the score of the best estimator, by the score it was chosen by.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes), default=None
        **params : dict
            For the scorer; needs metadata routing.

        Returns
        -------
        score : float
            Greater is better.
        """
        best = self._best("score")
        if get_config()["enable_metadata_routing"]:
            params = process_routing(self, "score", **params).scorer["score"]
        scorers, metric = self._scorers()
        arguments = (X,) if y is None else (X, y)
        return scorers[metric](best, *arguments, **params)

    @available_if(_has("predict"))
    @gives_frames
    def predict(self, X):
        """Call `predict` of the best estimator.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples, n_genes)
        """
        return self._best("predict").predict(X)

    @available_if(_has("sample"))
    def sample(self, X, **params):
        """Call `sample` of the best estimator, if it is generative.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        **params : dict
            What `sample` of the estimator takes.

        Returns
        -------
        y : ndarray of shape (n_samples, n_draws, n_genes)
        """
        return self._best("sample").sample(X, **params)

    @available_if(_has("transform"))
    def transform(self, X):
        """Call `transform` of the best estimator.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        X_transformed : ndarray of shape (n_samples, n_components)
        """
        return self._best("transform").transform(X)

    @property
    def n_features_in_(self):
        """Number of columns seen in `fit`."""
        return self._best("n_features_in_").n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the columns seen in `fit`."""
        return self._best("feature_names_in_").feature_names_in_

    def get_metadata_routing(self):
        """Return the routing of metadata to the estimator, the splitter and the scorer.

        Returns
        -------
        routing : MetadataRouter
        """
        scorers, metric = self._scorers()
        router = MetadataRouter(owner=self).add(
            estimator=self._estimator(),
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )
        router.add(
            splitter=check_cv(self.cv),
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        return router.add(
            scorer=scorers[metric],
            method_mapping=MethodMapping()
            .add(caller="fit", callee="score")
            .add(caller="score", callee="score"),
        )

    def __sklearn_tags__(self):
        tags = get_tags(self._estimator())
        return replace(tags, array_api_support=False, requires_fit=True)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "cv_results_")

    def _estimator(self):
        return Ridge() if self.estimator is None else self.estimator

    def _refit(self, estimator, X, y, fit_params, task):
        start = time.perf_counter()
        own = {k: clone(v, safe=False) for k, v in self.best_params_.items()}
        self.best_estimator_ = clone(estimator).set_params(**own)
        arguments = (X,) if y is None else (X, y)
        with task.running(self.best_estimator_, *arguments):
            self.best_estimator_.fit(*arguments, **fit_params)
        self.refit_time_ = time.perf_counter() - start

    def _scorers(self):
        return resolve_scorers(self._estimator(), self.scoring, self.refit)

    def _best(self, name):
        """Return the best estimator, which attribute `name` needs."""
        check_is_fitted(self)
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(
                f"{name} needs the best estimator; fit with refit=True, or fit an "
                "estimator with best_params_."
            )
        return self.best_estimator_
