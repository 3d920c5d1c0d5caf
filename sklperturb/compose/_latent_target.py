"""Predict in a latent space of the targets, and decode."""

import warnings

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.linear_model import Ridge
from sklearn.utils import _safe_indexing, check_array, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import is_annotated
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._named_predictions import (
    NamedPredictionsMixin,
    as_predicted,
)
from sklperturb.conditions._validation import require_y
from sklperturb.preprocessing import TargetReducer
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit

# Rows on which the latent space is tried out.
_CHECKED_ROWS = 100


class LatentTargetRegressor(
    DocumentedMixin,
    NamedPredictionsMixin,
    CallbackSupportMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Predict responses through a latent space of the responses.

    `fit` fits `transformer` on `y` and `regressor` on `X` and the latent
    coordinates of `y`; `predict` decodes what the regressor predicts. Nothing else of
    `y` is kept, and `X` never holds it: in a cross-validation, the latent space is
    learnt from the training rows alone.

    Parameters
    ----------
    regressor : regressor, default=None
        Predicts latent coordinates from `X`; may be a Pipeline that begins with an
        encoder of conditions. None is ``Ridge()``.
    transformer : transformer, default=None
        Has `transform` and `inverse_transform`, such as PCA, TruncatedSVD or
        `AutoencoderTransformer`. None is ``TargetReducer("full")``, which loses
        nothing.
    target_format : {"matrix", "as_is"}, default="matrix"
        What the transformer is given: "matrix" is the numbers alone, an ndarray, or
        a CSR matrix if `y` is an AnnData that holds a sparse one; "as_is" is `y`
        itself, for a transformer that reads gene names.
    layer : str, default=None
        Layer of an AnnData `y` that holds the responses; None is its `X`.
    check_inverse : bool, default=True
        Whether to warn if, on up to 100 training rows, decoded coordinates are no
        better than the mean of those rows.

    Attributes
    ----------
    regressor_ : regressor
    transformer_ : transformer
    n_features_in_ : int
        Only if the fitted regressor has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted regressor has it.

    See Also
    --------
    sklearn.compose.TransformedTargetRegressor : For transformations of one target.
    sklperturb.neural_network.LatentNetRegressor : A regressor for latent spaces.
    sklperturb.preprocessing.TargetReducer : The latent space that loses nothing.

    Notes
    -----
    `y` is an array, a DataFrame or an AnnData; predictions are dense arrays with the
    columns in the order of `y`. scikit-learn refuses sparse `y`, so sparse responses
    travel as AnnData. An encoder of conditions inside `regressor` sees the latent
    coordinates as its response; before this estimator in a Pipeline, it sees genes.

    With metadata routing on, whatever the regressor asks for (`sample_weight`,
    `groups` of an encoder's splitter) reaches it; without, keyword arguments of `fit`
    and `predict` are handed to it as they are. The transformer gets `y` only.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklperturb.compose import LatentTargetRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = LatentTargetRegressor(
    ...     make_pipeline(make_condition_encoder(n_components=4), Ridge()), PCA(4)
    ... )
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape
    (32, 50)
    >>> model.set_params(transformer__n_components=8).transformer
    PCA(n_components=8)
    """

    _parameter_constraints = {
        "regressor": [HasMethods(["fit", "predict"]), None],
        "transformer": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        "target_format": [StrOptions({"matrix", "as_is"})],
        "layer": [str, None],
        "check_inverse": ["boolean"],
    }

    def __init__(
        self,
        regressor=None,
        transformer=None,
        *,
        target_format="matrix",
        layer=None,
        check_inverse=True,
    ):
        self.regressor = regressor
        self.transformer = transformer
        self.target_format = target_format
        self.layer = layer
        self.check_inverse = check_inverse

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Fit the latent space on `y`, and the regressor on `X` and the latent `y`.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the regressor reads.
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Responses; of shape (n_samples,) for one gene.
        **fit_params : dict
            Metadata for the regressor.

        Returns
        -------
        self : LatentTargetRegressor

        Raises
        ------
        ValueError
            If `layer` is not in `y`, or if the transformer does not decode to as many
            genes as `y` has.
        """
        task = begin_fit(self, X, y, n_parts=2)
        matrix = self._read(y)
        check_consistent_length(X, matrix)
        self._y_ndim, matrix = matrix.ndim, _two_dimensional(matrix)
        self._n_genes = matrix.shape[1]
        given = matrix if self.target_format == "matrix" else y
        transformer = TargetReducer() if self.transformer is None else self.transformer
        self.transformer_ = clone(transformer)
        with task.part("fit-transformer").running(self.transformer_):
            self.transformer_.fit(given)
        latent = to_dense(self.transformer_.transform(given))
        self._try_inverse(matrix, latent)
        if self._y_ndim == 1 and latent.shape[1] == 1:
            latent = latent.ravel()
        routed = self._route("fit", fit_params)
        # Kept before it is trained, so that who watches its epochs can predict.
        self.regressor_ = clone(self._regressor())
        with task.part("fit-regressor").running(self.regressor_):
            self.regressor_.fit(X, latent, **routed)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.regressor_, name):
                setattr(self, name, getattr(self.regressor_, name))
        task.end(X, y, fitted=dict)
        return self

    def predict(self, X, **predict_params):
        """Decode the latent coordinates that the regressor predicts.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        **predict_params : dict
            Metadata for the regressor.

        Returns
        -------
        y_pred : ndarray of shape (n_samples, n_genes) or (n_samples,)
        """
        check_is_fitted(self)
        routed = self._route("predict", predict_params)
        latent = np.asarray(self.regressor_.predict(X, **routed))
        y_pred = self._decode(_two_dimensional(latent))
        return y_pred.ravel() if self._y_ndim == 1 else y_pred

    @available_if(
        lambda self: hasattr(getattr(self, "regressor_", self.regressor), "sample")
    )
    def sample(self, X, n_cells=100, **sample_params):
        """Decode the cells that the regressor generates.

        There only if the regressor has this method, as `FlowMatchingRegressor` does.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        n_cells : int, default=100
            Cells of each row.
        **sample_params : dict
            Handed to the regressor; cells among them are latent.

        Returns
        -------
        cells : ndarray of shape (n_samples, n_cells, n_genes)
        """
        check_is_fitted(self)
        latent = self.regressor_.sample(X, n_cells, **sample_params)
        decoded = self._decode(latent.reshape(-1, latent.shape[-1]))
        return decoded.reshape(len(latent), n_cells, -1)

    def score(self, X, y, sample_weight=None):
        """Return the coefficient of determination, uniformly averaged over genes.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        truth = as_predicted(self, y, to_dense(self._read(y)))
        return super().score(X, truth, sample_weight)

    def get_metadata_routing(self):
        """Return the routing of metadata to the regressor.

        Returns
        -------
        routing : MetadataRouter
        """
        return MetadataRouter(owner=self).add(
            regressor=self._regressor(),
            method_mapping=MethodMapping()
            .add(caller="fit", callee="fit")
            .add(caller="predict", callee="predict"),
        )

    def _regressor(self):
        return Ridge() if self.regressor is None else self.regressor

    def _route(self, method, params):
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, method, **params).regressor[method]
        return params

    def _read(self, y):
        """Return the numbers of `y`: an ndarray, or a CSR matrix from an AnnData."""
        require_y(self, y)
        annotated = is_annotated(y)
        if annotated or self.layer is not None:
            y = open_cells(y, layer=self.layer, needs="finite").rows(slice(None))
        y = check_array(
            y,
            accept_sparse="csr" if annotated else False,
            dtype=[np.float64, np.float32],
            ensure_2d=False,
            input_name="y",
            estimator=self,
        )
        if y.ndim > 2:
            raise ValueError(
                "y must have shape (n_samples,) or (n_samples, n_genes), got "
                f"{y.shape}."
            )
        return y

    def _try_inverse(self, matrix, latent):
        """Raise an error if decoding gives other genes; warn if it is useless."""
        rows = np.arange(0, len(latent), max(1, len(latent) // _CHECKED_ROWS))
        rows = rows[: _CHECKED_ROWS if self.check_inverse else 1]
        decoded = self._decode(latent[rows])
        truth = to_dense(_safe_indexing(matrix, rows))
        error = np.square(decoded - truth).sum()
        spread = np.square(truth - truth.mean(axis=0)).sum()
        if self.check_inverse and error >= spread > 0:
            warnings.warn(
                f"{type(self.transformer_).__name__} decodes training rows no better "
                "than their mean, so no regressor can do well on it. Fit it longer or "
                "with more components, or pass check_inverse=False.",
                UserWarning,
                stacklevel=3,
            )

    def _decode(self, latent):
        decoded = self.transformer_.inverse_transform(latent)
        decoded = _two_dimensional(to_dense(getattr(decoded, "X", decoded)))
        if decoded.shape[1] != self._n_genes:
            raise ValueError(
                f"{type(self.transformer_).__name__}.inverse_transform gives "
                f"{decoded.shape[1]} columns, and y has {self._n_genes} genes; it must "
                "give the genes of y and nothing else, in their order."
            )
        return decoded.astype(np.float64, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        regressor = get_tags(self._regressor())
        tags.input_tags = regressor.input_tags
        tags.regressor_tags.poor_score = regressor.regressor_tags.poor_score
        tags.non_deterministic = regressor.non_deterministic
        tags.target_tags.multi_output = True
        return tags


def _two_dimensional(values):
    return values.reshape(-1, 1) if values.ndim == 1 else values
