"""A network from encoded conditions to points in a latent space."""

from numbers import Integral

from sklearn.utils._param_validation import Interval

from sklperturb.modules import LatentNet
from sklperturb.neural_network._base import BaseNetRegressor


class LatentNetRegressor(BaseNetRegressor):
    """Predict a latent representation of the response from the encoded condition.

    The second stage of a two-stage model: `LatentTargetRegressor` gives it the latent
    coordinates to learn and decodes what it predicts. Blocks of linear layer, ReLU
    and dropout read the condition; their output is cut into tokens, which attend to
    each other in a transformer encoder layer, and a linear head reads the latent
    coordinates. It needs no latent space: given responses, it predicts responses.

    Attention runs over the tokens of one row, so a prediction never depends on the
    rows that are predicted with it.

    Parameters
    ----------
    hidden_dim : int, default=256
        Width of the blocks; a multiple of `n_tokens` times `n_heads`.
    n_blocks : int, default=2
        Blocks before the encoder layer.
    n_tokens : int, default=4
        Tokens that the output of the blocks is cut into.
    n_heads : int, default=4
        Attention heads.
    dropout : float, default=0.5
        Share of activations dropped in training.
    loss : {"huber", "mse", "mrrmse", "mae", "wmse"}, default="mrrmse"
        Acts on the latent coordinates. Where these are an orthonormal basis of the
        genes, as in PCA and without a latent space, "mrrmse" is the competition's
        metric and "mse" the squared error over genes. "wmse" weighs the squared error
        of each coordinate of `y` by the `target_weight` of `fit`.
    learning_rate : float, default=0.001
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
        Train in this basis of the targets (see `TargetReducer`); None trains on the
        targets as they are.
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
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.compose.LatentTargetRegressor : Joins it with a latent space.
    AutoencoderTransformer : A latent space.
    TransformerRegressor : Attention over embeddings of the features.

    Notes
    -----
    Standardise dense features first, for instance with StandardScaler. The defaults
    suit perturbations known from other contexts. Of a context that is new altogether
    the network knows little: compare it with a linear model, and with no change.

    The published model of this shape hands the encoder layer one token per row, in
    which attention has nothing to weigh; hence the tokens here.

    References
    ----------
    .. [1] Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
       :doi:`10.48550/arXiv.1706.03762`

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklperturb.compose import LatentTargetRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import LatentNetRegressor
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = make_pipeline(
    ...     make_condition_encoder(n_components=8),
    ...     StandardScaler(),
    ...     LatentTargetRegressor(
    ...         LatentNetRegressor(max_epochs=5, random_state=0), PCA(8)
    ...     ),
    ... )
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape == (
    ...     screen.y_test.shape
    ... )
    True
    """

    _module = LatentNet

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "n_blocks": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        hidden_dim=256,
        *,
        n_blocks=2,
        n_tokens=4,
        n_heads=4,
        dropout=0.5,
        loss="mrrmse",
        learning_rate=0.001,
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
        self.hidden_dim = hidden_dim
        self.n_blocks = n_blocks
        self.n_tokens = n_tokens
        self.n_heads = n_heads
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
        if self.hidden_dim % (self.n_tokens * self.n_heads):
            raise ValueError(
                f"hidden_dim={self.hidden_dim} is not a multiple of "
                f"n_tokens={self.n_tokens} times n_heads={self.n_heads}; change one "
                "of them."
            )
