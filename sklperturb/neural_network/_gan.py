"""A conditional Wasserstein GAN: responses drawn for a condition."""

import copy
from dataclasses import dataclass, field, replace
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from sklperturb.modules import ConditionalCritic, ConditionalGenerator, gradient_norms
from sklperturb.modules._weights import check_weights, load_weights, take_weights
from sklperturb.neural_network._base import (
    BaseNetRegressor,
    report_epoch,
    start_from,
)
from sklperturb.neural_network._batches import forward_rows
from sklperturb.neural_network._kept import usable_device
from sklperturb.utils._callbacks import shows_progress
from sklperturb.utils._progress import ProgressBar

# Draws whose mean the reconstruction term holds against the measured response.
_RECONSTRUCTION_DRAWS = 4
_PLAYERS = (ConditionalGenerator, ConditionalCritic)


@dataclass
class _AdversarialNet:
    """A generator and its critic, with what trains them against each other."""

    generator: torch.nn.Module
    critic: torch.nn.Module
    n_noise: int
    n_draws: int
    critic_steps: int
    lambda_gp: float
    reconstruction_weight: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    validation_fraction: float
    patience: int | None
    device: str
    verbose: int
    seed: int
    history: list = field(default_factory=list)

    def fit(self, X, targets, tasks):
        rows = torch.randperm(len(X))
        n_held_out = int(self.validation_fraction * len(X))
        held_out, rows = rows[:n_held_out], rows[n_held_out:]
        watched = held_out if n_held_out else rows
        # numpy takes a tensor of one row for a number.
        watched = X[watched.numpy()], targets[watched.numpy()]
        X, targets = self._tensor(X), self._tensor(targets)
        self._optimizers = [self._adam(self.generator), self._adam(self.critic)]
        # Epochs of this training, after those that the networks had before.
        best, before = None, len(self.history)
        with ProgressBar(self.max_epochs if self.verbose else 0, "Training") as bar:
            for epoch in range(self.max_epochs):
                tasks.begin()
                record = self._train_epoch(X, targets, rows)
                record["rmse"] = self._error(*watched)
                self.history.append(record)
                bar.advance(f"rmse {record['rmse']:.4f}")
                report_epoch(self, len(self.history))
                if best is None or record["rmse"] < self.history[before + best]["rmse"]:
                    best = epoch
                    weights = copy.deepcopy(self.generator.state_dict())
                stop = tasks.end()
                if self.patience is not None and epoch - best >= self.patience:
                    stop = True
                if stop:
                    break
        if self.patience is not None:
            self.generator.load_state_dict(weights)
        del self._optimizers
        return self

    def predict(self, X):
        """Return the mean over draws; all rows share the noise of a draw."""
        noise = np.random.default_rng(self.seed).standard_normal(
            (self.n_draws, self.n_noise)
        )
        return self.generate(X, np.broadcast_to(noise, (len(X), *noise.shape))).mean(1)

    def generate(self, X, noise):
        """Return a response for each row and each of its draws of noise."""
        n_draws = noise.shape[1]
        responses = forward_rows(
            self.generator,
            np.repeat(X, n_draws, axis=0),
            noise.reshape(-1, self.n_noise),
        )
        return responses.reshape(len(X), n_draws, -1)

    def _train_epoch(self, X, targets, rows):
        rows = rows[torch.randperm(len(rows))].to(self.device)
        losses = []
        for batch in rows.split(self.batch_size):
            for _ in range(self.critic_steps):
                critic = self._step_critic(X[batch], targets[batch])
            generator = self._step_generator(X[batch], targets[batch])
            losses.append(torch.stack([*critic, generator]))
        names = ("distance", "gradient_norm", "reconstruction")
        # Read once an epoch: each time, the CPU and a GPU wait for each other.
        losses = torch.stack(losses).double().cpu().numpy()
        return dict(zip(names, losses.mean(axis=0).tolist(), strict=True))

    def _step_critic(self, X, real):
        with torch.no_grad():
            fake = self.generator(X, self._noise(len(X)))
        distance = (self.critic(X, real) - self.critic(X, fake)).mean()
        norms = gradient_norms(self.critic, X, real, fake)
        penalty = (norms - 1).square().mean()
        self._descend(1, self.lambda_gp * penalty - distance)
        return distance.detach(), norms.detach().mean()

    def _step_generator(self, X, real):
        k = _RECONSTRUCTION_DRAWS
        draws = self.generator(X.repeat(k, 1), self._noise(k * len(X)))
        rating = self.critic(X, draws[: len(X)]).mean()
        draws = draws.unflatten(0, (k, -1))
        # Less the variance of a mean of k draws, this estimates the squared error of
        # the expected response without bias: the term does not shrink the spread.
        error = (draws.mean(dim=0) - real).square() - draws.var(dim=0) / k
        # Summed errors grow with the width, the critic's gradient does not.
        reconstruction = error.sum(dim=1).mean() / real.shape[1] ** 0.5
        self._descend(0, self.reconstruction_weight * reconstruction - rating)
        return reconstruction.detach()

    def _descend(self, player, loss):
        optimizer = self._optimizers[player]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _error(self, X, targets):
        error = self.predict(X) - targets
        return float(np.sqrt(np.mean(error**2)))

    def _adam(self, module):
        # Less momentum than usual: the other player moves on.
        return torch.optim.Adam(
            module.parameters(),
            lr=self.learning_rate,
            betas=(0.5, 0.9),
            weight_decay=self.weight_decay,
        )

    def _noise(self, n_rows):
        return torch.randn(n_rows, self.n_noise, device=self.device)

    def _tensor(self, values):
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)


class ConditionalGANRegressor(BaseNetRegressor):
    r"""Draw responses to a condition with a conditional Wasserstein GAN.

    A generator :math:`G(x, z)` turns the encoded condition :math:`x` and Gaussian
    noise :math:`z` into a response; a critic :math:`D(x, y)` rates pairs of condition
    and response, and is trained with a gradient penalty to tell measured from
    generated ones [1]_:

    .. math::
        \min_G \max_D \; \mathbb{E}\, D(x, y) - \mathbb{E}\, D(x, G(x, z))
        - \lambda\, \mathbb{E} (\lVert \nabla_{\tilde y} D(x, \tilde y) \rVert - 1)^2
        + \frac{w}{\sqrt{k}}\, \mathbb{E} \lVert \mathbb{E}_z G(x, z) - y \rVert^2

    with :math:`\tilde y` on the line between a measured and a generated response, and
    :math:`k` target coordinates. The last term, the reconstruction, is about the
    expected response only and leaves the spread around it to the critic.

    Parameters
    ----------
    hidden_dim : int, default=128
        Width of the hidden layers of generator and critic.
    n_layers : int, default=2
        Their number, in each of the two.
    n_noise : int, default=8
        Width of the noise.
    critic_steps : int, default=2
        Steps of the critic for each step of the generator.
    lambda_gp : float, default=0.3
        Weight :math:`\lambda` of the gradient penalty. The 10 of [1]_ is for images;
        on targets at unit scale it keeps the critic from seeing two modes.
    reconstruction_weight : float, default=3.0
        Weight :math:`w` of the reconstruction; 0 leaves a pure WGAN.
    n_draws : int, default=32
        Draws that `predict` averages.
    learning_rate : float, default=0.001
        Step of Adam, for generator and critic.
    weight_decay : float, default=0.01
        L2 penalty in Adam, for both.
    batch_size : int, default=64
        Rows in a training batch.
    max_epochs : int, default=60
        Most passes over the training rows.
    validation_fraction : float, default=0.1
        Share of rows held out to follow the error of the mean of the draws; with 0
        the training rows are followed.
    patience : int or None, default=None
        Epochs without improvement of that error before training stops; the generator
        of the best epoch is restored from a copy. None trains for all epochs: the
        spread is learnt later than the mean.
    target_components : "full", "gavish-donoho", int, float or None, default=16
        Work in this basis of the targets (see `TargetReducer`); None works on genes.
    warm_start : bool, default=False
        Whether `fit` goes on with the network of the last `fit`, also where it comes
        from a file: its weights, its history, the scale and basis of its targets and
        the levels that it knows stay, and `max_epochs` more are trained. The state of
        the optimizer does not, and schedules begin anew.
    device : str, default="cpu"
        torch device, such as "cuda".
    verbose : int, default=0
        1 shows a progress bar when the error stream is a terminal.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, noise, shuffling and the validation split. An int gives the
        same predictions every time.

    Attributes
    ----------
    net_ : object
        Generator and critic; ``net_.history`` has, for each epoch, the distance
        between measured and generated responses as the critic sees it, the norm of
        the critic's gradient, the reconstruction term, and the error ("rmse") of the
        mean of the draws, in the scale of the training targets.
    reducer_ : TargetReducer or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    LatentNetRegressor : Predicts the expected response only.

    Notes
    -----
    Standardise dense features first, for instance with StandardScaler. With one row
    for each condition, as in OP2, the spread of the draws is learnt from conditions
    that are alike, not from replicates. Variation outside the basis of the targets is
    not drawn.

    References
    ----------
    .. [1] Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
       :doi:`10.48550/arXiv.1704.00028`

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.neural_network import ConditionalGANRegressor
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> encoder = make_pipeline(
    ...     make_condition_encoder(n_components=8), StandardScaler()
    ... )
    >>> gan = ConditionalGANRegressor(max_epochs=5, random_state=0)
    >>> gan = gan.fit(encoder.fit_transform(screen.X, screen.y), screen.y)
    >>> X_test = encoder.transform(screen.X_test)
    >>> gan.predict(X_test).shape, gan.sample(X_test, 3, random_state=0).shape
    ((30, 50), (30, 3, 50))
    """

    _parameter_constraints = {
        **BaseNetRegressor._parameter_constraints,
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "n_noise": [Interval(Integral, 1, None, closed="left")],
        "critic_steps": [Interval(Integral, 1, None, closed="left")],
        "lambda_gp": [Interval(Real, 0, None, closed="left")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        hidden_dim=128,
        *,
        n_layers=2,
        n_noise=8,
        critic_steps=2,
        lambda_gp=0.3,
        reconstruction_weight=3.0,
        n_draws=32,
        learning_rate=0.001,
        weight_decay=0.01,
        batch_size=64,
        max_epochs=60,
        validation_fraction=0.1,
        patience=None,
        target_components=16,
        warm_start=False,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.n_noise = n_noise
        self.critic_steps = critic_steps
        self.lambda_gp = lambda_gp
        self.reconstruction_weight = reconstruction_weight
        self.n_draws = n_draws
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.target_components = target_components
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def sample(self, X, n_draws=1, random_state=None):
        """Draw responses, each row with noise of its own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Encoded conditions.
        n_draws : int, default=1
            Draws for each row.
        random_state : int, RandomState instance or None, default=None
            Seeds the noise; None draws anew every time.

        Returns
        -------
        y : ndarray of shape (n_samples, n_draws, n_genes)
            Of shape (n_samples, n_draws) if `y` had one dimension in `fit`.

        Raises
        ------
        ValueError
            If `n_draws` is not an int of at least 1.
        """
        check_is_fitted(self)
        validate_parameter_constraints(
            {"n_draws": self._parameter_constraints["n_draws"]},
            {"n_draws": n_draws},
            f"{type(self).__name__}.sample",
        )
        X = self._read(X)
        noise = check_random_state(random_state).standard_normal(
            (len(X), n_draws, self.net_.n_noise)
        )
        y = self._decode_targets(self.net_.generate(X, noise))
        return y[:, :, 0] if self._y_ndim == 1 else y

    def _outputs(self, X):
        return self.net_.predict(X)

    def _trained_module(self):
        return self.net_.generator

    def _net_so_far(self):
        generator, history = copy.deepcopy(self.net_.generator), [*self.net_.history]
        return replace(self.net_, generator=generator, history=history)

    def _train(self, X, targets, previous, tasks):
        if previous is not None:
            start_from(self.net_.generator, previous.generator)
            start_from(self.net_.critic, previous.critic)
            self.net_.history = list(previous.history)
        self.net_.fit(X, targets, tasks)

    def _take_net(self):
        net = self.net_
        weights = take_weights(net.generator)
        return {
            "n_outputs": len(list(weights.values())[-1]),
            "generator": weights,
            "critic": take_weights(net.critic),
            "seed": net.seed,
            "history": net.history,
        }

    def _restore_net(self, n_outputs, generator, critic, seed, history):
        saved = {"generator": generator, "critic": critic}
        for kind, weights in zip(_PLAYERS, saved.values(), strict=True):
            check_weights(kind, self._arguments(kind, n_outputs), weights)
        net = self._make_net(np.empty((0, n_outputs)), seed)
        for name, weights in saved.items():
            load_weights(getattr(net, name), weights)
        net.history.extend(history)
        return net

    def _make_net(self, targets, seed):
        n_outputs, device = targets.shape[1], usable_device(self.device)
        players = (
            player(**self._arguments(player, n_outputs)).to(device)
            for player in _PLAYERS
        )
        params = self._arguments(_AdversarialNet, n_outputs) | {"device": device}
        params["verbose"] = 0 if shows_progress(self) else self.verbose
        return _AdversarialNet(*players, seed=seed, **params)
