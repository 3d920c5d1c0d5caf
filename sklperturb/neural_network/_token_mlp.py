"""Learnt codes for compounds and cell types: the field's strongest single idea."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._frames import column_names, take_columns
from sklperturb.conditions._levels import LevelEncoder
from sklperturb.conditions._regressor import NamedConditionsMixin
from sklperturb.conditions._validation import resolve_schema, validate_conditions
from sklperturb.modules import TokenMLP
from sklperturb.neural_network._base import BaseNetRegressor, OneCycle


class TokenEmbeddingMLPRegressor(NamedConditionsMixin, BaseNetRegressor):
    """Predict responses from learnt codes of the compound and the cell type.

    Each level of a categorical column gets a short vector, learnt with the rest of
    the network; the vectors of a row go through dense blocks (linear layer, batch
    normalisation, ReLU, dropout) to the response in a basis of its training rows.
    This is the core of the model that led the OP2 benchmark [1]_.

    A level that was not seen in `fit` has a code of its own, "unknown". It is trained:
    in every batch a share `category_dropout` of the codes is replaced by it, so that
    it stands for a typical level of the column.

    Parameters
    ----------
    columns : "auto" or list of str or int, default="auto"
        Categorical columns. "auto" takes the context and the perturbation of `schema`.
    numeric_columns : None, "rest" or list of str or int, default=None
        Columns of numbers to append to the codes, such as the fingerprints of an
        earlier step; they are standardised. "rest" takes all that are not categorical.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    embedding_dim : "auto" or int, default="auto"
        Length of a level's code. "auto" gives a column with n levels 1.6 n^0.56, at
        most 64: about 5 for nine contexts and 26 for 146 compounds.
    hidden_dim, n_layers : int, default=256, 2
        Width and number of the dense blocks.
    dropout : float, default=0.3
        Share of activations dropped in training.
    category_dropout : float, default=0.05
        Share of codes replaced by "unknown" in training, for each column on its own.
        With 0 the code of an unseen level is random.
    loss : {"mrrmse", "mae", "mse", "huber", "wmse"}, default="mrrmse"
        "mrrmse" is the competition's metric itself. Losses act on the targets'
        coordinates (see Notes), but "wmse" on genes, weighed by the `target_weight` of
        `fit`.
    learning_rate : float, default=0.03
        Peak step of Adam. The rate rises to it and falls to nothing over the training
        batches (one-cycle schedule [2]_).
    weight_decay : float, default=3e-5
        L2 penalty in Adam.
    batch_size : int, default=64
        Rows in a training batch, at least 2.
    max_epochs : int, default=40
        Passes over the training rows.
    target_components : "full", "gavish-donoho", int, float or None, default=100
        Train in this basis of the targets (see `TargetReducer`); None trains on genes.
        On noisy screens, such as OP2's, a network that is to fit the weak directions
        too learns little of the strong ones.
    clip : bool, default=True
        Whether to keep predictions of a gene within the range of its training values.
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
        Seeds weights, dropout and shuffling. An int gives the same predictions every
        time.

    Attributes
    ----------
    net_ : skorch.NeuralNetRegressor
        The trained net; ``net_.history`` has the losses of each epoch.
    columns_, numeric_columns_ : list
        The columns in use.
    categories_ : list of ndarray
        Levels of each categorical column. Code 0 of the module is "unknown", code
        i + 1 the i-th level.
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    DualBranchRegressor : Describes compound and cell type by responses instead.
    sklperturb.linear_model.ProductKernelRidge : The same inputs, in closed form.

    Notes
    -----
    Single networks differ by their random start; the median of the predictions of
    several seeds is better than they are on average.

    In the orthonormal basis of the targets "mse" and "mrrmse" equal the loss over
    genes, up to what the basis leaves out. "mae" and "huber" do not: they are then
    robust against rows with large coordinates instead of against single genes, and
    weigh the weak directions of the targets more.

    `y` has shape (n_samples, n_genes), in any unit.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; its method "NN retraining with pseudolabels".
    .. [2] Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks
       Using Large Learning Rates", 2017. :doi:`10.48550/arXiv.1708.07120`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import TokenEmbeddingMLPRegressor
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = TokenEmbeddingMLPRegressor(max_epochs=5, random_state=0)
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape == (
    ...     screen.y_test.shape
    ... )
    True
    """

    _module = TokenMLP
    # The one-cycle schedule ends where it ends: nothing to hold out rows for.
    validation_fraction = 0.0
    lr_patience = None
    patience = None

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "columns": [StrOptions({"auto"}), list],
        "numeric_columns": [StrOptions({"rest"}), list, None],
        "schema": [PerturbationSchema, None],
        "embedding_dim": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "category_dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "clip": ["boolean"],
    }

    def __init__(
        self,
        columns="auto",
        *,
        numeric_columns=None,
        schema=None,
        embedding_dim="auto",
        hidden_dim=256,
        n_layers=2,
        dropout=0.3,
        category_dropout=0.05,
        loss="mrrmse",
        learning_rate=0.03,
        weight_decay=3e-5,
        batch_size=64,
        max_epochs=40,
        target_components=100,
        clip=True,
        warm_start=False,
        net_params=None,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.columns = columns
        self.numeric_columns = numeric_columns
        self.schema = schema
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.dropout = dropout
        self.category_dropout = category_dropout
        self.loss = loss
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.target_components = target_components
        self.clip = clip
        self.warm_start = warm_start
        self.net_params = net_params
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _read_training(self, X, y):
        X, y = validate_conditions(self, X, y, reset=True)
        self._check_batch_norm(len(y))
        self._resolve_columns(X)
        self._level_encoder = LevelEncoder().fit(take_columns(X, self.columns_))
        self.categories_ = self._level_encoder.categories_
        numeric = self._numbers(X)
        self._numeric_mean = numeric.mean(axis=0)
        spread = numeric.std(axis=0)
        self._numeric_scale = np.where(spread > 0, spread, 1.0)
        return self._table(X), y

    def _read(self, X):
        return self._table(validate_conditions(self, X, reset=False))

    def _used_columns(self):
        return [*self.columns_, *self.numeric_columns_]

    def _table(self, X):
        """Return the codes, 0 for an unseen level, and the standardised numbers."""
        codes = self._level_encoder.transform(take_columns(X, self.columns_)) + 1
        numeric = (self._numbers(X) - self._numeric_mean) / self._numeric_scale
        return np.hstack([codes, numeric]).astype(np.float32)

    def _numbers(self, X):
        table = take_columns(X, self.numeric_columns_, allow_missing=True)
        try:
            numeric = table.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"numeric_columns {self.numeric_columns_} must hold numbers only: "
                f"{error}. Encode columns of text first."
            ) from error
        if not np.isfinite(numeric).all():
            raise ValueError(
                f"numeric_columns {self.numeric_columns_} hold NaN or infinity; "
                "impute them in an earlier step."
            )
        return numeric

    def _resolve_columns(self, X):
        known = column_names(X)
        if isinstance(self.columns, str):
            schema = resolve_schema(self.schema, X)
            schema.require(X, "perturbation")
            self.columns_ = schema.columns("context", "perturbation")
        else:
            self.columns_ = list(self.columns)
        if isinstance(self.numeric_columns, str):
            self.numeric_columns_ = [c for c in known if c not in self.columns_]
        else:
            self.numeric_columns_ = list(self.numeric_columns or [])
        absent = [c for c in self.columns_ + self.numeric_columns_ if c not in known]
        if absent or not self.columns_:
            raise ValueError(
                f"columns {self.columns_} and numeric_columns {self.numeric_columns_} "
                f"must be columns of X, at least one of them categorical; X has "
                f"{known}."
            )

    def _encode_targets(self, y):
        self._y_range = y.min(axis=0), y.max(axis=0)
        return super()._encode_targets(y)

    def _encode_more(self, y):
        self._check_batch_norm(len(y))
        targets = super()._encode_more(y)
        low, high = self._y_range
        self._y_range = np.minimum(low, y.min(axis=0)), np.maximum(high, y.max(axis=0))
        return targets

    def _decode_targets(self, targets):
        y_pred = super()._decode_targets(targets)
        return np.clip(y_pred, *self._y_range) if self.clip else y_pred

    def _callbacks(self, monitor, validated):
        return [("one_cycle", OneCycle()), *super()._callbacks(monitor, validated)]

    def _sizes(self):
        n_levels = [len(levels) for levels in self.categories_]
        if self.embedding_dim == "auto":
            dims = [min(64, round(1.6 * n**0.56)) for n in n_levels]
        else:
            dims = [self.embedding_dim] * len(n_levels)
        return {
            "n_levels": n_levels,
            "embedding_dims": dims,
            "n_numeric": len(self.numeric_columns_),
        }
