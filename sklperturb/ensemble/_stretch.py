"""Make predictions the stronger, the stronger they are."""

from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from sklperturb.linear_model._calibration import Stretch
from sklperturb.model_selection._meta import MetaRegressor


class StretchedRegressor(MetaRegressor):
    r"""Multiply each predicted row by a power of its own strength.

    Estimators pull all responses towards what is common, so that those of strong
    perturbations come out too weak and those of weak ones too strong; and a signed
    -log10 p grows faster than the effect behind it. Here a row :math:`\hat y` is
    multiplied by :math:`c\,(\lVert\hat y\rVert / s)^e`, with a scale :math:`c` and an
    exponent :math:`e` that are learnt from out-of-fold predictions, and :math:`s` the
    median strength of these. With an exponent of 0 this is one factor for all.

    Parameters
    ----------
    estimator : regressor, default=None
        None is ``Ridge()``.
    stretch : Stretch, default=None
        What was learnt elsewhere; nothing is then fitted out of fold. None learns it.
    cv : int, splitter or iterable, default=None
        Folds of the out-of-fold predictions; they should hold out what will be asked,
        such as `UnseenPairKFold`. None and integers shuffle rows, 5 folds.
    n_jobs : int, default=None
        Number of fits at a time; None is 1 unless in a `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows where `cv` is None or an integer.

    Attributes
    ----------
    estimator_ : regressor
        Fitted on all rows.
    stretch_ : Stretch
        With ``scale``, ``exponent``, and the least, median and largest strength that
        was seen; beyond these the factor stays as it is there.
    n_features_in_ : int
        Only if the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimator has it.

    See Also
    --------
    RescaledRegressor : One factor for all rows, and limits gene by gene.
    BlendRegressor : Its weights need not add up to one.

    Notes
    -----
    The two numbers minimise MRRMSE, in which every row counts by its norm. They are
    learnt from as many strengths as there are held-out rows: with less than about
    fifteen of them they are noise.

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import StretchedRegressor
    >>> screen = make_chemical_screen(6, 60, 100, random_state=0)
    >>> model = StretchedRegressor(AdditiveRegressor("joint"), random_state=0)
    >>> stretch = model.fit(screen.X, screen.y).stretch_
    >>> round(stretch.scale, 1), round(stretch.exponent, 1)
    (0.6, 0.1)
    """

    _parameter_constraints = {
        **MetaRegressor._parameter_constraints,
        "stretch": [Stretch, None],
    }

    def __init__(
        self, estimator=None, *, stretch=None, cv=None, n_jobs=None, random_state=None
    ):
        self.estimator = estimator
        self.stretch = stretch
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn the stretch out of fold, then fit on all rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the estimator reads.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : StretchedRegressor
        """
        X, targets = self._check_rows(X, y)
        self.stretch_ = self.stretch
        if self.stretch is None:
            _, predictions, truth = self._out_of_fold(X, targets, y)
            self.stretch_ = Stretch.learn(truth, predictions)
        self._fit_estimator(X, y)
        return self

    def predict(self, X):
        """Return the predictions, each row multiplied by its factor.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        return self.stretch_(self._shaped(self.estimator_.predict(X)))
