"""A latent space of the responses, learnt by an autoencoder."""

from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.modules import Autoencoder
from sklperturb.neural_network._base import BaseNetRegressor
from sklperturb.neural_network._batches import forward_rows
from sklperturb.preprocessing import TargetReducer
from sklperturb.preprocessing._latent_decoder import LatentDecoder
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit, shows_progress


class _Reconstruction(BaseNetRegressor):
    """Learn rows from themselves; has the parameters of the transformer it serves."""

    _module = Autoencoder
    loss = "mse"
    target_components = None

    def __init__(self, **params):
        vars(self).update(params)

    def _sizes(self):
        return {"n_latent": self.n_components}


class AutoencoderTransformer(
    DocumentedMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Compress responses into a latent space and decode them from it.

    An encoder and a decoder, each of linear layers with ReLU and dropout, are trained
    together to rebuild their input, with the mean squared error over genes.
    `transform` encodes and `inverse_transform` decodes, so that `LatentTargetRegressor`
    can predict in the latent space.

    Parameters
    ----------
    n_components : int, default=32
        Width of the latent space.
    hidden_dim : int, default=256
        Width of the layers between.
    n_layers : int, default=1
        Layers between, on each side; with 0 the autoencoder is linear.
    dropout : float, default=0.1
        Share of activations dropped in training.
    learning_rate : float, default=0.001
        Initial step of Adam.
    weight_decay : float, default=1e-5
        L2 penalty in Adam.
    batch_size : int, default=64
        Rows in a training batch.
    max_epochs : int, default=200
        Most passes over the training rows.
    validation_fraction : float, default=0.1
        Share of rows held out to schedule the learning rate and to stop early; 0
        trains on all rows and follows the training loss.
    lr_patience : int or None, default=8
        Epochs without improvement before the learning rate is halved
        (ReduceLROnPlateau).
    patience : int or None, default=30
        Epochs without improvement before training stops; the weights of the best
        epoch are restored from a copy. None trains for all epochs.
    reduction : "full", "gavish-donoho", int, float or None, default="full"
        Train in this basis of the rows (see `TargetReducer`). "full" loses nothing:
        the error in it is the error over genes, at the width of the number of rows.
        None trains on genes.
    net_params : dict, default=None
        Any other argument of ``skorch.NeuralNetRegressor``; overrides the above.
    device : str, default="cpu"
        torch device, such as "cuda".
    verbose : int, default=0
        1 shows a progress bar when the error stream is a terminal.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, dropout, shuffling and the validation split. An int gives the
        same results every time.

    Attributes
    ----------
    net_ : skorch.NeuralNetRegressor
        The trained net; ``net_.history`` has the losses of each epoch.
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.compose.LatentTargetRegressor : Predicts in the latent space.
    sklearn.decomposition.PCA : The best linear latent space.

    Notes
    -----
    All rows are shifted by the mean of the training rows and divided by one number,
    their root mean square, before they are encoded. With fewer rows than genes an
    autoencoder has little to gain on a PCA of the same width: compare the two.

    References
    ----------
    .. [1] Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural
       Networks", Science, 2006. :doi:`10.1126/science.1127647`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import AutoencoderTransformer
    >>> y = make_chemical_screen(4, 20, 50, random_state=0).y
    >>> autoencoder = AutoencoderTransformer(4, max_epochs=5, random_state=0)
    >>> latent = autoencoder.fit_transform(y)
    >>> latent.shape, autoencoder.inverse_transform(latent).shape
    ((47, 4), (47, 50))
    """

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "reduction": BaseNetRegressor._parameter_constraints["target_components"],
    }

    def __init__(
        self,
        n_components=32,
        *,
        hidden_dim=256,
        n_layers=1,
        dropout=0.1,
        learning_rate=0.001,
        weight_decay=1e-5,
        batch_size=64,
        max_epochs=200,
        validation_fraction=0.1,
        lr_patience=8,
        patience=30,
        reduction="full",
        net_params=None,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.lr_patience = lr_patience
        self.patience = patience
        self.reduction = reduction
        self.net_params = net_params
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train encoder and decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)
            The responses; named `X` since they are what this object transforms.
        y : None
            Ignored.

        Returns
        -------
        self : AutoencoderTransformer
        """
        task = begin_fit(self, X, n_parts=1)
        vars(self).pop("net_", None)  # fits the reduction that is about to change
        X = validate_data(self, X, dtype=np.float64)
        if self.reduction is None:
            self.reducer_ = None
            self._mean = X.mean(axis=0)
        else:
            self.reducer_ = TargetReducer(self.reduction).fit(X)
        rows = self._reduce(X)
        self._scale = float(np.sqrt(np.mean(rows**2))) or 1.0
        rows /= self._scale
        learner = _Reconstruction(**self.get_params(deep=False))
        if shows_progress(self):
            learner.verbose = 0
        with task.part("fit-network").running(learner):
            self.net_ = learner.fit(rows, rows).net_
        self._n_features_out = self.n_components
        task.end(X, fitted=dict)
        return self

    def transform(self, X):
        """Encode each row, independent of the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)

        Returns
        -------
        latent : ndarray of shape (n_samples, n_components)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return forward_rows(self.net_.module_.encoder, self._reduce(X) / self._scale)

    def inverse_transform(self, X):
        """Decode each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Points in the latent space.

        Returns
        -------
        y : ndarray of shape (n_samples, n_genes)
        """
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)
        if X.shape[1] != self.n_components:
            raise ValueError(
                f"X has {X.shape[1]} columns, and the latent space has "
                f"{self.n_components}."
            )
        rows = forward_rows(self.net_.module_.decoder, X) * self._scale
        if self.reducer_ is None:
            return rows + self._mean
        return self.reducer_.inverse_transform(rows)

    def as_decoder(self):
        """Return `inverse_transform` as numbers that a file can hold.

        Returns
        -------
        decoder : LatentDecoder
            To the basis of the rows, where there is a reduction.
        """
        check_is_fitted(self)
        layers = [m for m in self.net_.module_.decoder if hasattr(m, "weight")]
        weights, biases = (
            [getattr(layer, name).detach().cpu().numpy() for layer in layers]
            for name in ("weight", "bias")
        )
        mean = 0.0 if self.reducer_ is not None else self._mean
        weights[-1] = weights[-1] * self._scale
        biases[-1] = biases[-1] * self._scale + mean
        return LatentDecoder(weights, biases)

    def _reduce(self, X):
        if self.reducer_ is None:
            return X - self._mean
        return self.reducer_.transform(X)

    def _to_file(self):
        state = dict(vars(self))
        if "net_" in state:
            learner = _Reconstruction(**self.get_params(deep=False))
            learner.net_ = self.net_
            state["net_"] = learner._take_net()
        return state

    @classmethod
    def _from_file(cls, state):
        """Return the transformer of what `_to_file` gave an untrusted file."""
        transformer = cls.__new__(cls)
        vars(transformer).update({k: v for k, v in state.items() if k != "net_"})
        transformer._validate_params()
        if "net_" in state:
            params = transformer.get_params(deep=False)
            learner = {"net_": state["net_"], "n_features_in_": 1, **params}
            transformer.net_ = _Reconstruction._from_file(learner).net_
        return transformer

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")
