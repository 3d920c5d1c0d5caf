"""A transformer over feature tokens, each row on its own."""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.modules import ConditionTransformer
from sklperturb.neural_network._base import BaseNetRegressor


class TransformerRegressor(BaseNetRegressor):
    """Predict responses with a transformer over sparse and dense feature tokens.

    Sparse features (one-hot columns, fingerprint bits) and dense ones (target
    statistics) pass through linear embeddings of their own into `n_tokens` tokens
    each. The tokens are layer-normalised, attend to each other in a transformer
    encoder with GELU, and a linear head reads the response.

    Attention runs over the tokens of one row. A published version of this model hands
    the encoder a batch of rows as if it were one sequence, so that a prediction
    depends on which rows happen to be predicted together; here it cannot.

    Parameters
    ----------
    sparse_features : "auto", None or array-like of int, default="auto"
        Positions of the sparse features. "auto" takes the columns with two values in
        the training rows, scaled or not; None takes none.
    embedding_dim : int, default=32
        Width of a token; a multiple of `n_heads`.
    n_tokens : int, default=1
        Tokens for each of the two kinds of features.
    n_layers, n_heads, hidden_dim : int, default=2, 4, 64
        Depth, attention heads and feed-forward width of the encoder.
    dropout : float, default=0.3
        Share of activations dropped in training.
    loss : {"huber", "mse", "mrrmse", "mae", "wmse"}, default="huber"
        "mrrmse" is the competition's metric itself. Losses act on the targets'
        coordinates (see `target_components`): for "mse" and "mrrmse" this equals the
        loss over genes; "huber" and "mae" are then robust against rows with large
        coordinates instead of against single genes. "wmse" acts on genes, weighed by
        the `target_weight` of `fit`.
    learning_rate : float, default=0.002
        Initial step of Adam.
    weight_decay : float, default=1e-4
        L2 penalty in Adam.
    batch_size : int, default=64
        Rows in a training batch.
    max_epochs : int, default=150
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
    target_components : "full", "gavish-donoho", int, float or None, default="full"
        Train in this basis of the targets (see `TargetReducer`); None trains on genes.
    warm_start : bool, default=False
        Whether `fit` goes on with the network of the last `fit`, also where it comes
        from a file: its weights, its history, the scale and basis of its targets and
        the levels that it knows stay, and `max_epochs` more are trained. The state of
        the optimizer does not, and schedules begin anew.
    net_params : dict, default=None
        Any other argument of ``skorch.NeuralNetRegressor``; overrides the above.
    device : str, default="cpu"
        torch device, such as "cuda".
    verbose : int, default=0
        1 shows a progress bar when the error stream is a terminal.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, dropout, shuffling and the validation split. An int gives the
        same predictions every time.

    Attributes
    ----------
    net_ : skorch.NeuralNetRegressor
        The trained net; ``net_.history`` has the losses of each epoch.
    sparse_features_ : ndarray of int
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.preprocessing.make_condition_encoder : Makes its features.

    Notes
    -----
    Standardise dense features first, for instance with StandardScaler. `y` has shape
    (n_samples, n_genes), in any unit.

    References
    ----------
    .. [1] Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
       :doi:`10.48550/arXiv.1706.03762`
    .. [2] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import TransformerRegressor
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = make_pipeline(
    ...     make_condition_encoder(n_components=8),
    ...     StandardScaler(),
    ...     TransformerRegressor(max_epochs=5, random_state=0),
    ... )
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape == (
    ...     screen.y_test.shape
    ... )
    True
    """

    _module = ConditionTransformer

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "sparse_features": [StrOptions({"auto"}), None, "array-like"],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sparse_features="auto",
        *,
        embedding_dim=32,
        n_tokens=1,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        dropout=0.3,
        loss="huber",
        learning_rate=0.002,
        weight_decay=1e-4,
        batch_size=64,
        max_epochs=150,
        validation_fraction=0.1,
        lr_patience=8,
        patience=30,
        target_components="full",
        warm_start=False,
        net_params=None,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.sparse_features = sparse_features
        self.embedding_dim = embedding_dim
        self.n_tokens = n_tokens
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.loss = loss
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.lr_patience = lr_patience
        self.patience = patience
        self.target_components = target_components
        self.warm_start = warm_start
        self.net_params = net_params
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _prepare(self, X, y):
        if self.embedding_dim % self.n_heads:
            raise ValueError(
                f"embedding_dim={self.embedding_dim} is not a multiple of "
                f"n_heads={self.n_heads}; change one of them."
            )
        n_features = X.shape[1]
        if self.sparse_features is None:
            sparse = []
        elif isinstance(self.sparse_features, str):
            sparse = np.flatnonzero(
                ((X == X.min(axis=0)) | (X == X.max(axis=0))).all(0)
            )
        else:
            sparse = self.sparse_features
        self.sparse_features_ = np.unique(np.asarray(sparse, dtype=int))
        outside = self.sparse_features_[
            (self.sparse_features_ < 0) | (self.sparse_features_ >= n_features)
        ]
        if len(outside):
            raise ValueError(
                f"sparse_features has {outside.tolist()}, and X has columns 0 to "
                f"{n_features - 1}."
            )
        dense = np.setdiff1d(np.arange(n_features), self.sparse_features_)
        self._order = np.concatenate([self.sparse_features_, dense])

    def _arrange(self, X):
        return X[:, self._order]

    def _sizes(self):
        n_sparse = len(self.sparse_features_)
        return {"n_sparse": n_sparse, "n_dense": self.n_features_in_ - n_sparse}
