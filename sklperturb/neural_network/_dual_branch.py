"""A network that knows compounds and cell types by the responses of a few genes."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval

from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._regressor import NamedConditionsMixin
from sklperturb.conditions._validation import resolve_schema, validate_conditions
from sklperturb.modules import DualBranchNet
from sklperturb.neural_network._base import BaseNetRegressor
from sklperturb.preprocessing import TargetStatisticsEncoder


class DualBranchRegressor(NamedConditionsMixin, BaseNetRegressor):
    """Predict responses from what a few genes did for the compound and the cell type.

    The perturbation and the context are each described by a vector: the median, over
    their rows, of the genes that vary most in training. A branch of the network reads
    each vector, an encoder joins the two, and the decoder is told the context a second
    time, as in a conditional autoencoder. This is the design of ScAPE [1]_, which won
    a judges' prize in the OP2 competition.

    The vectors are computed inside `fit` and cross-fitted: a training row is described
    by the responses of rows in other folds, so that the network cannot read a row's
    response out of its own description.

    Parameters
    ----------
    n_top_genes : int, default=64
        Genes in the two vectors: those of largest variance over the training rows.
    statistics : sequence of {"mean", "median", "std"} or float, default=("median",)
        Statistics that make up the vectors; a float in (0, 1) is that quantile.
    smooth : "auto" or float, default="auto"
        Shrinkage of the statistics, in rows (see `TargetStatisticsEncoder`).
    cv : int, splitter or iterable, default=5
        Folds of the cross-fitting.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    hidden_dim : int, default=128
        Width of the layers; the branch of the context has a quarter of it.
    dropout : float, default=0.2
        Share of activations dropped in training.
    input_noise : float, default=0.1
        Standard deviation of the Gaussian noise added to the standardised vectors in
        training.
    loss : {"mrrmse", "mse", "mae", "huber", "wmse"}, default="mrrmse"
        "mrrmse" is the competition's metric itself. Losses act on the targets'
        coordinates (see Notes), but "wmse" on genes, weighed by the `target_weight` of
        `fit`.
    learning_rate : float, default=0.003
        Initial step of Adam.
    weight_decay : float, default=1e-4
        L2 penalty in Adam.
    batch_size : int, default=64
        Rows in a training batch, at least 2.
    max_epochs : int, default=60
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
    net_params : dict, default=None
        Any other argument of ``skorch.NeuralNetRegressor``; overrides the above.
    device : str, default="cpu"
        torch device, such as "cuda".
    verbose : int, default=0
        1 shows a progress bar when the error stream is a terminal.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, noise, dropout, shuffling and the validation split. An int gives
        the same predictions every time.

    Attributes
    ----------
    net_ : skorch.NeuralNetRegressor
        The trained net; ``net_.history`` has the losses of each epoch.
    top_genes_ : ndarray of int
        Positions of the genes in the vectors, in the order of `y`.
    encoder_ : TargetStatisticsEncoder
        Gives the vectors, context first.
    schema_ : PerturbationSchema
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    TokenEmbeddingMLPRegressor : Learns the description of a level instead.
    sklperturb.linear_model.TargetEncodedRidge : A linear model on such statistics.

    Notes
    -----
    A compound or a cell type that was not seen is described by the statistics of all
    rows.

    In the orthonormal basis of the targets "mse" and "mrrmse" equal the loss over
    genes, up to what the basis leaves out. "mae" and "huber" do not: they are then
    robust against rows with large coordinates instead of against single genes, and
    weigh the weak directions of the targets more.

    `y` has shape (n_samples, n_genes), in any unit.

    References
    ----------
    .. [1] ScAPE, an entry of the NeurIPS 2023 competition "Open Problems -
       Single-Cell Perturbations"; one of the methods in Szalata et al., "A benchmark
       for prediction of transcriptomic responses to chemical perturbations across
       cell types", NeurIPS Datasets and Benchmarks Track, 2024.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import DualBranchRegressor
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = DualBranchRegressor(16, max_epochs=5, random_state=0)
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape == (
    ...     screen.y_test.shape
    ... )
    True
    """

    _module = DualBranchNet

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "n_top_genes": [Interval(Integral, 1, None, closed="left")],
        **{
            name: TargetStatisticsEncoder._parameter_constraints[name]
            for name in ("statistics", "smooth", "cv")
        },
        "schema": [PerturbationSchema, None],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        n_top_genes=64,
        *,
        statistics=("median",),
        smooth="auto",
        cv=5,
        schema=None,
        hidden_dim=128,
        dropout=0.2,
        input_noise=0.1,
        loss="mrrmse",
        learning_rate=0.003,
        weight_decay=1e-4,
        batch_size=64,
        max_epochs=60,
        validation_fraction=0.0,
        lr_patience=8,
        patience=None,
        target_components="full",
        net_params=None,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.n_top_genes = n_top_genes
        self.statistics = statistics
        self.smooth = smooth
        self.cv = cv
        self.schema = schema
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.input_noise = input_noise
        self.loss = loss
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.lr_patience = lr_patience
        self.patience = patience
        self.target_components = target_components
        self.net_params = net_params
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _read_training(self, X, y):
        X, y = validate_conditions(self, X, y, reset=True)
        self._check_batch_norm(len(y))
        self.schema_ = resolve_schema(self.schema, X)
        self.schema_.require(X, "perturbation")
        genes = y.reshape(len(y), -1)
        # Stable, so that genes of equal variance come in the order of y.
        by_variance = np.argsort(-genes.var(axis=0), kind="stable")
        self.top_genes_ = np.sort(by_variance[: self.n_top_genes])
        self.encoder_ = TargetStatisticsEncoder(
            self.statistics,
            n_components=None,
            columns=["context", "perturbation"],
            smooth=self.smooth,
            cv=self.cv,
        )
        encoded = self.encoder_.fit_transform(
            self._conditions(X), genes[:, self.top_genes_]
        )
        self._encoded_mean = encoded.mean(axis=0)
        spread = encoded.std(axis=0)
        self._encoded_scale = np.where(spread > 0, spread, 1.0)
        return self._standardised(encoded), y

    def _read(self, X):
        X = validate_conditions(self, X, reset=False)
        return self._standardised(self.encoder_.transform(self._conditions(X)))

    def _used_columns(self):
        return self.schema_.columns("context", "perturbation")

    def _conditions(self, X):
        """Return a table of context and perturbation; without one, a single context."""
        table = take_columns(X, self.schema_.columns("context", "perturbation"))
        if table.shape[1] == 1:
            table = np.insert(table, 0, "", axis=1)
        return pd.DataFrame(table, columns=["context", "perturbation"])

    def _standardised(self, encoded):
        """Return the vectors at unit scale, the perturbation's first."""
        encoded = (encoded - self._encoded_mean) / self._encoded_scale
        context, perturbation = np.hsplit(encoded, 2)
        return np.hstack([perturbation, context]).astype(np.float32)

    def _sizes(self):
        n_each = len(self.statistics) * len(self.top_genes_)
        return {"n_perturbation": n_each, "n_context": n_each}
