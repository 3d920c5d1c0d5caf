"""The same estimator with several seeds, taken together."""

from numbers import Integral

import numpy as np
from joblib import delayed
from sklearn.base import _fit_context, clone
from sklearn.pipeline import Pipeline
from sklearn.tree import ExtraTreeRegressor
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.model_selection._fold import responses_for
from sklperturb.model_selection._meta import MetaRegressor, copy_feature_names
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit, run_parts
from sklperturb.utils._threads import one_thread

AGGREGATES = {"median": np.median, "mean": np.mean}


class SeedEnsembleRegressor(CallbackSupportMixin, MetaRegressor):
    """Fit an estimator with several seeds and take the median of the predictions.

    A network trained twice gives two answers; what they do not share is noise of the
    training, and averaging removes it. On the responses of a screen this is worth more
    than most changes to the network.

    Parameters
    ----------
    estimator : regressor, default=None
        What is fitted; every `random_state` in it is set. It may be a Pipeline. None
        is ``ExtraTreeRegressor()``.
    n_seeds : int, default=5
        Number of fits.
    aggregate : {"median", "mean"}, default="median"
        How predictions of a gene are put together.
    share_encoder : bool, default=True
        Whether all but the last step of a Pipeline are fitted once, with the first
        seed, and not once for each seed.
    n_jobs : int, default=None
        Number of fits at a time, each on one thread; None is 1 unless in a
        `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Draws the seeds.

    Attributes
    ----------
    estimators_ : list of regressor
        Of length `n_seeds`.
    encoder_ : Pipeline or None
        What they share.
    n_features_in_ : int
        Only if the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimator has it.

    See Also
    --------
    BlendRegressor : Different estimators, weighted.
    sklearn.ensemble.BaggingRegressor : The same estimator on resampled rows.

    References
    ----------
    .. [1] Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive
       uncertainty estimation using deep ensembles", NeurIPS 2017.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import SeedEnsembleRegressor
    >>> from sklperturb.neural_network import TokenEmbeddingMLPRegressor
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> network = TokenEmbeddingMLPRegressor(max_epochs=5)
    >>> model = SeedEnsembleRegressor(network, n_seeds=3, random_state=0)
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape
    (32, 50)
    """

    _parameter_constraints = {
        **MetaRegressor._parameter_constraints,
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "aggregate": [StrOptions(set(AGGREGATES))],
        "share_encoder": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        n_seeds=5,
        *,
        aggregate="median",
        share_encoder=True,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_seeds = n_seeds
        self.aggregate = aggregate
        self.share_encoder = share_encoder
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the estimator once for each seed.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the estimator reads.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : SeedEnsembleRegressor
        """
        rng = check_random_state(self.random_state)
        seeds = rng.randint(2**31 - 1, size=self.n_seeds)
        copies = [seeded(self._estimator(), seed) for seed in seeds]
        y = responses_for(copies[0], y)
        encoder, encoded = None, X
        first = copies[0]
        if self.share_encoder and isinstance(first, Pipeline) and len(first) > 1:
            encoder = first[:-1]
            copies = [copy[-1] for copy in copies]
        n_parts = self.n_seeds + (encoder is not None)
        task = begin_fit(self, X, y, n_parts=n_parts, ordered=False)
        if encoder is not None:
            with task.part("fit-encoder", number=self.n_seeds).running(encoder):
                encoded = encoder.fit_transform(X, y)
        parts = [task.part("seed", number=i) for i in range(self.n_seeds)]
        calls = (
            delayed(_fit)(copy, encoded, y, part.shared_with(copy))
            for copy, part in zip(copies, parts, strict=True)
        )
        estimators = list(run_parts(parts, calls, self.n_jobs, [encoded, y]))
        # Together, so that an interrupt leaves no encoder with others' estimators.
        self.encoder_, self.estimators_ = encoder, estimators
        self._y_ndim = len(y.shape if hasattr(y, "shape") else np.asarray(y).shape)
        copy_feature_names(self, self.encoder_ or self.estimators_[0])
        task.end(X, y, fitted=dict)
        return self

    def predict(self, X):
        """Return the median (or mean) of what the fitted estimators predict.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        if self.encoder_ is not None:
            X = self.encoder_.transform(X)
        predictions = np.stack([fitted.predict(X) for fitted in self.estimators_])
        return self._shaped(AGGREGATES[self.aggregate](predictions, axis=0))

    def _estimator(self):
        return ExtraTreeRegressor() if self.estimator is None else self.estimator


def seeded(estimator, seed):
    """Return a clone in which every `random_state` is drawn from `seed`."""
    copy = clone(estimator)
    rng = np.random.RandomState(seed)
    names = sorted(
        name
        for name in copy.get_params()
        if name == "random_state" or name.endswith("__random_state")
    )
    return copy.set_params(**{name: int(rng.randint(2**31 - 1)) for name in names})


def _fit(estimator, X, y, task):
    # Networks of a screen's size train no faster on two threads than on one.
    with one_thread(), task.around(estimator):
        return estimator.fit(X, y)
