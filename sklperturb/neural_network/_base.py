"""The one place that knows skorch: plain estimators that build a net in ``fit``."""

from copy import deepcopy
from inspect import signature
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from skorch.utils import noop

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import as_block
from sklperturb.conditions._named_predictions import NamedPredictionsMixin, as_genes_of
from sklperturb.conditions._validation import validate_target
from sklperturb.modules import RowwiseRMSELoss, WeightedMSELoss
from sklperturb.modules._weights import check_device
from sklperturb.neural_network._batches import (
    TensorBatches,
    TensorDataset,
    forward_rows,
)
from sklperturb.neural_network._epoch_tasks import EpochTasks, SkorchTasks, net_so_far
from sklperturb.neural_network._kept import KeptNetMixin
from sklperturb.neural_network._numbers import read_numbers
from sklperturb.preprocessing import TargetReducer
from sklperturb.utils._callbacks import (
    CallbackSupportMixin,
    begin_fit,
    has_callbacks,
    shows_progress,
)
from sklperturb.utils._epochs import is_watched, tell_epoch
from sklperturb.utils._progress import ProgressBar

LOSSES = {
    "huber": torch.nn.HuberLoss,
    "mae": torch.nn.L1Loss,
    "mse": torch.nn.MSELoss,
    "mrrmse": RowwiseRMSELoss,
    "wmse": WeightedMSELoss,
}


class _EpochProgress(Callback):
    """Show a bar over epochs with the latest losses, on a terminal only."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = ProgressBar(net.max_epochs, "Training")

    def on_epoch_end(self, net, **kwargs):
        last = net.history[-1]
        names = [name for name in ("train_loss", "valid_loss") if name in last]
        self.bar_.advance(", ".join(f"{name} {last[name]:.4f}" for name in names))

    def on_train_end(self, net, **kwargs):
        self.bar_.close()
        del self.bar_  # an open stream cannot be pickled with the net


class _EpochReport(Callback):
    """Report the end of an epoch to whoever watches."""

    def on_epoch_end(self, net, **kwargs):
        report_epoch(net, len(net.history))


def report_epoch(net, epoch):
    """Report to the watcher, who may predict, without a trace in the training.

    Parameters
    ----------
    net : object
        What a regressor keeps as ``net_``.
    epoch : int
        Epochs that are over.
    """
    if is_watched():
        with torch.random.fork_rng([]):
            tell_epoch(net, epoch)


class OneCycle(Callback):
    """Step torch's OneCycleLR once a batch.

    skorch's LRScheduler wants the number of steps beforehand. Here it is counted from
    the data set and the net themselves, so that it is right whatever `net_params` say.
    """

    def on_train_begin(self, net, **kwargs):
        self.schedule_ = None

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        if self.schedule_ is None:
            n_batches = len(net.get_iterator(dataset_train, training=True))
            self.schedule_ = torch.optim.lr_scheduler.OneCycleLR(
                net.optimizer_, net.lr, total_steps=n_batches * net.max_epochs
            )

    def on_batch_end(self, net, training=False, **kwargs):
        # After the last batch there is nothing to schedule, and the rate would rise.
        if training and self.schedule_.last_epoch + 1 < self.schedule_.total_steps:
            self.schedule_.step()


def start_from(module, previous):
    """Give a new module the weights of one that was trained.

    Raises
    ------
    ValueError
        If they are not of one shape.
    """
    state, known = previous.state_dict(), module.state_dict()
    shapes = [{k: v.shape for k, v in each.items()} for each in (state, known)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "warm_start=True goes on with the network of the last fit, which has other "
            "layers than the parameters now ask for. Set the parameters back, or "
            "warm_start=False."
        )
    module.load_state_dict(state)


def _stopped_early(net):
    """Whether the interrupt was a callback's, which is skorch's own way to end."""
    return any(
        (isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience)
        or (isinstance(callback, SkorchTasks) and callback.stopped)
        for _, callback in net.callbacks_
    )


class BaseNetRegressor(
    DocumentedMixin,
    NamedPredictionsMixin,
    CallbackSupportMixin,
    KeptNetMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Base of the neural estimators: a subclass names its module and its parameters."""

    # The torch module that is trained.
    _module = None
    # A subclass that knows more losses says so here and in its constraints.
    _criteria = LOSSES
    # A search asks before it counts on epochs that `watching_epochs` will show.
    reports_epochs = True
    # Largest norm of the gradient; a parameter of the subclasses that need it.
    gradient_clip = None
    # Whether `fit` goes on with the network that is there; a parameter of subclasses.
    warm_start = False

    # Of all the room's networks; each has some of these parameters.
    _parameter_constraints = {
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_tokens": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "loss": [StrOptions(set(LOSSES))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "lr_patience": [Interval(Integral, 1, None, closed="left"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "target_components": [
            *TargetReducer._parameter_constraints["n_components"],
            None,
        ],
        "warm_start": ["boolean"],
        "net_params": [dict, None],
        "device": [str],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, target_weight=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Encoded conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.
        target_weight : array-like of shape (n_samples, n_genes), default=None
            What the errors count with ``loss="wmse"``, which is the only one that
            takes it; only their proportions in a row matter. None is all alike.

        Returns
        -------
        self : object
        """
        n_epochs = (getattr(self, "net_params", None) or {}).get("max_epochs")
        task = begin_fit(self, X, y, n_parts=n_epochs or self.max_epochs)
        # It fits the attributes that are about to change.
        previous = vars(self).pop("net_", None)
        if not self.warm_start:
            previous = None
        try:
            self._fit(X, y, as_genes_of(y, target_weight), previous, task)
        except BaseException:
            vars(self).pop("net_", None)
            if previous is not None:
                self.net_ = previous
            raise
        task.end(X, y, fitted=dict)
        return self

    def _fit(self, X, y, target_weight, previous, task):
        """Train a new network, or one that starts at the weights of the previous."""
        tasks = EpochTasks(task, self, X, y)
        if previous is None:
            X, y = self._read_training(X, y)
            self._y_ndim = y.ndim
            self._prepare(X, y)
            genes = y.astype(np.float64).reshape(len(y), -1)
            targets = self._encode_targets(genes)
        else:
            X, y = self._read(X), validate_target(self, X, y)
            genes = y.reshape(len(y), -1)
            targets = self._encode_more(genes)
        weights = self._check_target_weight(target_weight, genes.shape)
        X = self._arrange(X)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        check_device(self.device)
        cuda = [self.device] if str(self.device).startswith("cuda") else []
        with torch.random.fork_rng(cuda):  # leaves the caller's generator alone
            torch.manual_seed(seed)
            self.net_ = self._make_net(targets, seed)  # watchers predict on the way
            self._train(X, np.hstack([targets, weights]), previous, tasks)
            self._check_weights()

    def predict(self, X):
        """Return the expected response of each row, independent of the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Encoded conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        X = self._read(X)
        y_pred = self._decode_targets(self._outputs(self._arrange(X)))
        return y_pred.ravel() if self._y_ndim == 1 else y_pred

    def _sizes(self):
        """Return the arguments of the module that are no parameters here."""
        return {}

    def _arguments(self, of, n_outputs):
        """Return the arguments of a class: sizes, and parameters of the same names."""
        known = vars(self) | {"n_features": self.n_features_in_, "n_outputs": n_outputs}
        known |= self._sizes()
        return {name: known[name] for name in signature(of).parameters if name in known}

    def _read_training(self, X, y):
        """Validate what `fit` was given; return a float32 table and a numeric `y`."""
        y = as_block(y)
        return read_numbers(self, X, y, multi_output=True, y_numeric=True)

    def _check_target_weight(self, weights, shape):
        """Return weights of mean 1 in a row, without columns where there are none."""
        if weights is None:
            return np.empty((shape[0], 0), dtype=np.float32)
        if getattr(self, "loss", None) != "wmse":
            raise ValueError(
                "target_weight weighs the errors of the loss 'wmse'; pass loss='wmse', "
                "or no target_weight."
            )
        weights = check_array(weights, dtype=np.float32, input_name="target_weight")
        total = weights.sum(axis=1, keepdims=True)
        if weights.shape != shape or weights.min() < 0 or not total.all():
            raise ValueError(
                f"target_weight has shape {weights.shape}; it needs {shape}, as y, and "
                "values of 0 or more, not all of them 0 in a row."
            )
        return weights * (shape[1] / total)

    def _read(self, X):
        """Validate what `predict` was given; return a float32 table."""
        return read_numbers(self, X, reset=False)

    def _prepare(self, X, y):
        """Check parameters against the data and learn what `_arrange` needs."""

    def _arrange(self, X):
        """Return the columns of `X` in the order that the module expects."""
        return X

    def _outputs(self, X):
        """Return the outputs of the trained network for arranged rows."""
        return forward_rows(self._trained_module(), X)

    def _trained_module(self):
        return self.net_.module_

    def _net_so_far(self):
        """Return what `net_` would be if the training ended now."""
        return net_so_far(self.net_)

    def _train(self, X, targets, previous, tasks):
        """Train as skorch's `fit` does, which takes an interrupt for the end of it."""
        net = self.net_.initialize()
        if previous is not None:
            start_from(net.module_, previous.module_)
            net.history = deepcopy(previous.history)
        told = [("tasks", SkorchTasks(tasks))] if has_callbacks(self) else []
        net.callbacks_ += told
        net.notify("on_train_begin", X=X, y=targets)
        try:
            net.fit_loop(X, targets)
        except KeyboardInterrupt:
            if not _stopped_early(net):
                raise
        tasks.end()  # what ends the training may leave others in the dark
        del net.callbacks_[len(net.callbacks_) - len(told) :]
        net.notify("on_train_end", X=X, y=targets)

    def _check_weights(self):
        """Refuse a network that would predict no numbers."""
        state = self._trained_module().state_dict().values()
        if not all(torch.isfinite(values).all() for values in state):
            raise ValueError(
                "The training diverged: the network's weights are not finite. Lower "
                f"learning_rate={self.learning_rate}, or scale the features."
            )

    def _encode_targets(self, y):
        """Return what the network learns: centred, in a basis, at unit scale."""
        n_components = self.target_components
        self.reducer_ = None
        if n_components is not None:
            self.reducer_ = TargetReducer(n_components)
            targets = self.reducer_.fit_transform(y)
        else:
            self._target_mean = y.mean(axis=0)
            targets = y - self._target_mean
        # One scale for all targets, so that distances keep their proportions.
        self._target_scale = float(np.sqrt(np.mean(targets**2))) or 1.0
        return (targets / self._target_scale).astype(np.float32)

    def _encode_more(self, y):
        """Return what a network goes on to learn, in the space that it knows."""
        reduced = self.reducer_ is not None
        n_genes = self.reducer_.n_features_in_ if reduced else len(self._target_mean)
        if y.shape[1] != n_genes:
            raise ValueError(
                f"y has {y.shape[1]} columns, and the network to go on with, as "
                f"warm_start=True asks, was trained on {n_genes}. Pass the same genes, "
                "or set warm_start=False."
            )
        targets = self.reducer_.transform(y) if reduced else y - self._target_mean
        return (targets / self._target_scale).astype(np.float32)

    def _decode_targets(self, targets):
        targets = targets * self._target_scale
        if self.reducer_ is not None:
            return self.reducer_.inverse_transform(targets)
        return targets + self._target_mean

    def _make_net(self, targets, seed):
        sizes = self._arguments(self._module, targets.shape[1])
        n_held_out = int(self.validation_fraction * len(targets))
        validated = n_held_out > 0
        monitor = "valid_loss" if validated else "train_loss"
        params = dict(
            criterion=self._criteria[self.loss],
            optimizer=torch.optim.Adam,
            optimizer__weight_decay=self.weight_decay,
            lr=self.learning_rate,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            dataset=TensorDataset,
            dataset__device=self.device,
            iterator_train=TensorBatches,
            iterator_train__shuffle=True,
            iterator_valid=TensorBatches,
            iterator_valid__batch_size=-1,
            train_split=ValidSplit(n_held_out / len(targets), random_state=seed)
            if validated
            else None,
            callbacks=self._callbacks(monitor, validated),
            device=self.device,
            verbose=0,
            **{f"module__{name}": value for name, value in sizes.items()},
        )
        if self.loss == "wmse" and self.reducer_ is not None:
            basis = np.ascontiguousarray(self.reducer_.components_, dtype=np.float32)
            params["criterion__basis"] = torch.as_tensor(basis)
        changed = self.net_params or {}
        if "optimizer" not in changed and self.device.split(":")[0] in ("cpu", "cuda"):
            # One kernel for all weights: several times faster on networks this small.
            params["optimizer__fused"] = True
        return NeuralNetRegressor(self._module, **(params | changed))

    def _check_batch_norm(self, n_samples):
        """Refuse what batch normalisation cannot be trained on: a single row."""
        n_training = n_samples - int(self.validation_fraction * n_samples)
        if n_training < 2:
            raise ValueError(
                f"{type(self).__name__} normalises over the rows of a batch and needs "
                f"at least 2 training rows, got n_samples={n_samples}."
            )

    def _callbacks(self, monitor, validated):
        callbacks = [("report", _EpochReport())] if is_watched() else []
        if self.lr_patience is not None:
            plateau = LRScheduler(
                torch.optim.lr_scheduler.ReduceLROnPlateau,
                monitor=monitor,
                patience=self.lr_patience,
                factor=0.5,
            )
            callbacks.append(("plateau", plateau))
        if self.patience is not None:
            # load_best keeps a deep copy: a bare state_dict would go on training.
            stopping = EarlyStopping(
                monitor, patience=self.patience, load_best=validated, sink=noop
            )
            callbacks.append(("early_stopping", stopping))
        if self.gradient_clip is not None:
            clipping = GradientNormClipping(self.gradient_clip)
            callbacks.append(("gradient_clip", clipping))
        if self.verbose and not shows_progress(self):
            callbacks.append(("progress", _EpochProgress()))
        return callbacks

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
