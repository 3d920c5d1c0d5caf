"""Recurrent and convolutional networks over encoded features."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.modules import MixedLoss, SequenceNet
from sklperturb.neural_network._base import LOSSES, BaseNetRegressor


class SequenceNetRegressor(BaseNetRegressor):
    """Predict responses with an LSTM, a GRU or convolutions over the features.

    These are the three networks of the winning entry of the OP2 competition [1]_, as
    one estimator. A recurrent network reads the features, folded into a near-square
    matrix, one line a step; what it says at every step and its final states go into a
    head of two dense layers. The convolutional one runs along the features.

    Parameters
    ----------
    architecture : {"gru", "lstm", "conv"}, default="gru"
        Kind of network.
    hidden_dim, n_layers : int, default=128, 2
        Width and number of the recurrent layers; no effect on "conv".
    head_dim : int, default=256
        Width of the first dense layer of the head; the second has half. The winning
        entry has 1024, for 18,211 outputs instead of the coordinates of a basis.
    dropout : float, default=0.3
        Share of activations dropped in training.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient of all weights; longer ones are scaled down.
    loss : {"mrrmse", "mixed", "mse", "mae", "huber", "wmse"}, default="mrrmse"
        "mrrmse" is the competition's metric itself. "mixed" is that of the winning
        entry: 0.32 squared error, 0.24 absolute error, 0.24 log-cosh and 0.20
        cross-entropy of sigmoids. Losses act on the targets' coordinates (see Notes),
        but "wmse" on genes, weighed by the `target_weight` of `fit`.
    learning_rate : float, default=0.003
        Initial step of Adam.
    weight_decay : float, default=1e-4
        L2 penalty in Adam.
    batch_size : int, default=64
        Rows in a training batch.
    max_epochs : int, default=40
        Most passes over the training rows.
    validation_fraction : float, default=0.0
        Share of rows held out to schedule the learning rate and to stop early; 0
        trains on all rows and follows the training loss.
    lr_patience : int or None, default=8
        Epochs without improvement before the learning rate is halved
        (ReduceLROnPlateau).
    patience : int or None, default=None
        Epochs without improvement before training stops; with rows held out, the
        weights of the best epoch are restored from a copy. None trains for all epochs.
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
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    TokenEmbeddingMLPRegressor : Smaller, faster, and takes conditions as they are.
    sklperturb.preprocessing.make_condition_encoder : Makes its features.

    Notes
    -----
    The order of features carries no meaning, so what a sequence model gains over dense
    layers is weight sharing. Standardise dense features first.

    In the orthonormal basis of the targets "mse" and "mrrmse" equal the loss over
    genes, up to what the basis leaves out. "mae", "huber" and "mixed" do not: there
    they treat a row's coordinates, at unit scale on average, and not its genes. Set
    ``target_components=None`` to have them act on genes.

    `y` has shape (n_samples, n_genes), in any unit.

    References
    ----------
    .. [1] The method "LGC ensemble" in Szalata et al., "A benchmark for prediction of
       transcriptomic responses to chemical perturbations across cell types", NeurIPS
       Datasets and Benchmarks Track, 2024.
    .. [2] Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation,
       1997. :doi:`10.1162/neco.1997.9.8.1735`
    .. [3] Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for
       Statistical Machine Translation", EMNLP 2014. :doi:`10.3115/v1/D14-1179`

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import SequenceNetRegressor
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = make_pipeline(
    ...     make_condition_encoder(n_components=8),
    ...     StandardScaler(),
    ...     SequenceNetRegressor("conv", max_epochs=3, random_state=0),
    ... )
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape == (
    ...     screen.y_test.shape
    ... )
    True
    """

    _module = SequenceNet
    _criteria = LOSSES | {"mixed": MixedLoss}

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "architecture": [StrOptions({"gru", "lstm", "conv"})],
        "head_dim": [Interval(Integral, 1, None, closed="left")],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "loss": [StrOptions(set(_criteria))],
    }

    def __init__(
        self,
        architecture="gru",
        *,
        hidden_dim=128,
        n_layers=2,
        head_dim=256,
        dropout=0.3,
        gradient_clip=1.0,
        loss="mrrmse",
        learning_rate=0.003,
        weight_decay=1e-4,
        batch_size=64,
        max_epochs=40,
        validation_fraction=0.0,
        lr_patience=8,
        patience=None,
        target_components="full",
        warm_start=False,
        net_params=None,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.architecture = architecture
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.head_dim = head_dim
        self.dropout = dropout
        self.gradient_clip = gradient_clip
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
