"""Flow matching from control cells to perturbed cells, as a regressor."""

from numbers import Integral, Real

from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import Bunch, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import is_annotated
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._validation import validate_conditions, validate_target
from sklperturb.flow._diagnostics import warn_blow_up
from sklperturb.flow._fitted import KeptFlowMixin
from sklperturb.flow._fitting import fit_flow
from sklperturb.flow._generation import POPULATION_ENCODERS
from sklperturb.flow._mean import BUILT_IN
from sklperturb.modules._weights import check_device
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit, shows_progress


class FlowMatchingRegressor(
    DocumentedMixin, CallbackSupportMixin, KeptFlowMixin, RegressorMixin, BaseEstimator
):
    """Carry control cells to where a perturbation leaves them.

    A network learns the velocity at which cells travel in a straight line from
    controls to perturbed cells, given a vector for the perturbation, so that cells of
    perturbations that were never measured can be generated. The mean of a generated
    population comes from a regression, its shape from the flow: with some hundred
    perturbations to learn from, regression knows better where a population is, and
    only the flow knows what it looks like.

    Parameters
    ----------
    embedding : transformer or list of transformer, default=None
        Sources of what is known of a perturbation, a vector each: `GeneSetEncoder`,
        `LookupEmbedding`, `CompoundFingerprint`. They are fitted to `X` and `y`, and
        are asked for one part of a combination at a time; zeros mean that a source
        does not know it. None gives each perturbation its own dimension; those that
        were not seen are then all the same.
    mean_estimator : {"auto", "shift", "kernel", "none"} or regressor, default="auto"
        Predicts the mean effect from the condition. "shift" is the mean effect in the
        context; "kernel" adds kernel ridge on all sources and on the contexts, each
        with a weight that is learnt; a regressor learns from the vectors of all
        sources, then the covariates. "auto" is "kernel", both parts as strong as
        held-out perturbations ask for. "none" is the mean of the generated cells.
    source : {"control", "noise"}, default="control"
        Where cells start: at controls of the same context and batch, or at Gaussian
        noise. Without controls in the data it is always noise.
    coupling : {"ot", "independent"}, default="ot"
        Which control goes with which perturbed cell: by optimal transport, within
        blocks of cells of one condition, or by chance. Paths of the former are
        straight.
    population_encoder : {"deep_sets", "knn_graph"} or None, default=None
        Shows the network the controls of the context and batch as a whole, so that a
        new donor or cell line is handled by its own controls: the mean of a network
        over cells, or one over the graph of nearest neighbours. From noise, None is
        "deep_sets", since the network sees no control otherwise.
    n_components : int or None, default=50
        Where `y` is wider, cells are carried along so many of its principal
        components. Across them a cell keeps what it was as a control, and only its
        mean is moved, so that no gene is lost to the compression. None carries cells
        along all columns.
    match_batch : bool, default=True
        Compare a cell with the controls of its own batch, where there are any.
    guidance : float, default=1.0
        Above 1, the generated cells exaggerate what sets the perturbation apart. That
        makes perturbations easier to tell from each other, and the cells less real.
    condition_noise : float, default=0.5
        Standard deviation of noise on the standardised vectors in training. Without
        it the network learns the training perturbations by heart.
    condition_dropout : float, default=0.1
        Share of blocks that are trained without their perturbation, for `guidance`.
    sigma : float, default=0.0
        Standard deviation of noise around the straight lines.
    hidden_dim, n_layers : int, default=256, 3
        Width and number of the hidden layers.
    embedding_dim : int, default=64
        Width of an encoded condition.
    max_steps : int, default=300
        Steps of the training.
    conditions_per_batch, cells_per_condition : int, default=8, 32
        Blocks in a step, and cells in a block.
    learning_rate : float, default=1e-3
        It falls to zero along a cosine.
    ema_decay : float, default=0.999
        Of the running mean of the weights, which is what predicts.
    validation_fraction : float, default=0.1
        Unless `mean_estimator` is "auto", which holds out each perturbation in turn:
        share of the perturbations that the network does not see; the weights are
        those that did best on them. Below ten perturbations, none is held out.
    patience : int or None, default=5
        Looks at the held-out perturbations, one each 100 steps, without progress
        after which the training stops.
    n_solver_steps : int, default=12
        Steps of Heun's method from 0 to 1, of two evaluations each.
    warm_start : bool, default=False
        Whether `fit` goes on with the network of the last `fit`, also where it comes
        from a file: its weights, its history, the units and components of its cells
        and the conditions that it can read stay, and up to `max_steps` more are
        trained. The state of the optimizer does not, and schedules begin anew.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    device : str, default="cpu"
        Where the network is trained and used, such as "cuda".
    verbose : bool, default=False
        Show a progress bar, on a terminal.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, of all draws in training, and of what `sample` draws.

    Attributes
    ----------
    net_ : VelocityNet
        The trained network, on the CPU.
    mean_ : object or None
        The regression of mean effects.
    mean_choice_ : {"controls", "shift", "kernel", "custom", "none"}
        What `mean_estimator` came to.
    mean_cv_errors_ : dict of str to float
        For "auto": squared error on held-out perturbations (on contexts, where the
        former are fewer than five) as a share of that of no effect.
    mean_cv_intervals_ : dict of str to tuple of float
        95 % intervals of differences of these, by Student's t over perturbations: of
        "shift less controls", "kernel less controls" and "kernel less shift".
    mean_weight_ : float
        Weight of the regression in means that were not measured, the rest being the
        flow's. Below 1 only for "auto", where that is better beyond chance.
    shape_weight_ : float
        Share of the flow's change of shape in what is generated: 1. For "auto" 0, so
        that controls are displaced, unless more is better beyond chance.
    conditions_ : DataFrame or ndarray of shape (n_conditions, n_columns)
        The perturbed conditions; of each, the first row.
    n_cells_ : ndarray of int of shape (n_conditions,)
    effects_ : ndarray of shape (n_conditions, n_outputs)
        Mean change of the cells of each condition from their controls.
    history_ : list of dict
        Losses of the training.
    guards_ : dict of str to float
        Diagnostics that the warnings were decided by, and what the change of shape adds
        to the energy distance, with its interval; empty where nothing was held out.
    source_ : {"control", "noise"}
    n_controls_ : int
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Warns
    -----
    UserWarning
        From `fit`, where a silent failure shows, or nothing could be held out.

    See Also
    --------
    sklperturb.compose.LatentTargetRegressor : Learn in a latent space, and decode.
    sklperturb.compose.PerturbationEffectRegressor : Means alone.

    Notes
    -----
    A condition is a perturbation in a context, at a dose if there is one; each counts
    alike, however many cells it has. The effect of a combination ``"A+B"`` is the sum
    of those of its parts, measured ones where there are any. Where five or more
    perturbations were measured alone, the mean is learnt from these only. Cells start
    at controls of their own context and batch; where these lack controls, at those of
    the context, and then at all. Without any control, `y` is taken to hold changes.

    "auto" trains a network without each third of the perturbations (of the contexts,
    where perturbations are fewer than five), and so chooses the number of steps and the
    change of shape; the network that is kept sees all. The mean in a new context is as
    strong as held-out contexts ask for, and may depend on the mean of its controls.

    With `warm_start`, controls and means are those of the given cells, and networks
    that decide on held-out cells start anew: the kept one may have seen these.

    All cells are held in memory, so that `y` should be a latent space of some dozen
    dimensions; see `LatentTargetRegressor`. Coordinates are divided by one number, so
    that distances keep their proportions.

    References
    ----------
    .. [1] Lipman et al. "Flow matching for generative modeling". ICLR, 2023.
       :doi:`10.48550/arXiv.2210.02747`
    .. [2] Tong et al. "Improving and generalizing flow-based generative models with
       minibatch optimal transport". TMLR, 2024. :doi:`10.48550/arXiv.2302.00482`

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklperturb.flow import FlowMatchingRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"target_gene": np.repeat(["control", "KLF1", "MYC"], 40)})
    >>> y = rng.normal(size=(120, 2))
    >>> y[X["target_gene"] == "KLF1", 0] += 5
    >>> model = FlowMatchingRegressor(max_steps=20, random_state=0).fit(X, y)
    >>> new = pd.DataFrame({"target_gene": ["KLF1", "control"]})
    >>> model.predict(new).round()
    array([[5., 0.],
           [0., 0.]])
    >>> model.sample(new, n_cells=30).shape
    (2, 30, 2)
    """

    _parameter_constraints = {
        "embedding": [HasMethods(["fit", "transform"]), list, tuple, None],
        "mean_estimator": [StrOptions(set(BUILT_IN)), HasMethods(["fit", "predict"])],
        "source": [StrOptions({"control", "noise"})],
        "coupling": [StrOptions({"ot", "independent"})],
        "population_encoder": [StrOptions(set(POPULATION_ENCODERS)), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "match_batch": ["boolean"],
        "guidance": [Interval(Real, 0, None, closed="left")],
        "condition_noise": [Interval(Real, 0, None, closed="left")],
        "condition_dropout": [Interval(Real, 0, 1, closed="left")],
        "sigma": [Interval(Real, 0, None, closed="left")],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left")],
        "conditions_per_batch": [Interval(Integral, 1, None, closed="left")],
        "cells_per_condition": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "n_solver_steps": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        embedding=None,
        *,
        mean_estimator="auto",
        source="control",
        coupling="ot",
        population_encoder=None,
        n_components=50,
        match_batch=True,
        guidance=1.0,
        condition_noise=0.5,
        condition_dropout=0.1,
        sigma=0.0,
        hidden_dim=256,
        n_layers=3,
        embedding_dim=64,
        max_steps=300,
        conditions_per_batch=8,
        cells_per_condition=32,
        learning_rate=1e-3,
        ema_decay=0.999,
        validation_fraction=0.1,
        patience=5,
        n_solver_steps=12,
        warm_start=False,
        schema=None,
        device="cpu",
        verbose=False,
        random_state=None,
    ):
        self.embedding = embedding
        self.mean_estimator = mean_estimator
        self.source = source
        self.coupling = coupling
        self.population_encoder = population_encoder
        self.n_components = n_components
        self.match_batch = match_batch
        self.guidance = guidance
        self.condition_noise = condition_noise
        self.condition_dropout = condition_dropout
        self.sigma = sigma
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.embedding_dim = embedding_dim
        self.max_steps = max_steps
        self.conditions_per_batch = conditions_per_batch
        self.cells_per_condition = cells_per_condition
        self.learning_rate = learning_rate
        self.ema_decay = ema_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.n_solver_steps = n_solver_steps
        self.warm_start = warm_start
        self.schema = schema
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn from perturbed cells and their controls.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_cells, n_columns)
            Condition of each cell.
        y : AnnData, DataFrame or array-like of shape (n_cells, n_outputs)
            Cells: a latent space, or genes if they are few.

        Returns
        -------
        self : FlowMatchingRegressor

        Raises
        ------
        ValueError
            If all rows are controls, values are not finite, a parameter is out of
            range, or the network of the last fit is not one for these data.
        """
        check_device(self.device)
        task = begin_fit(self, X, y, n_parts=None)
        previous = getattr(self, "_flow", None) if self.warm_start else None
        target = None if y is None else "no_validation"
        X = validate_conditions(self, X, target, reset=previous is None)
        cells = y
        if is_annotated(y):
            cells = to_dense(open_cells(y, needs="finite").rows(slice(None)))
        cells = validate_target(self, X, cells)
        parameters = Bunch(**self.get_params(deep=False))
        if shows_progress(self):
            parameters["verbose"] = 0
        self._set_fitted(fit_flow(X, y, cells, parameters, task, previous))
        task.end(X, y, fitted=dict)
        return self

    def predict(self, X):
        """Return the expected response of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        return self._flow.predict(X)

    def sample(self, X, n_cells=100, *, source=None, random_state=None):
        """Generate cells of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions. For a row that is a control, controls are drawn.
        n_cells : int, default=100
            Cells of each row. Rows that share a condition start at different controls
            as long as there are enough.
        source : array-like of shape (n_controls, n_outputs), default=None
            Control cells to start from in place of those of the training data, for
            all rows: those of a new donor, batch or cell line.
        random_state : int, RandomState instance or None, default=None
            Seed of what is drawn. None takes that of `fit`.

        Returns
        -------
        cells : ndarray of shape (n_samples, n_cells, n_outputs)

        Raises
        ------
        ValueError
            If `n_cells` is not positive, or `source` has another width than `y`.

        Warns
        -----
        UserWarning
            If cells move much farther than in the training data.
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        if n_cells < 1:
            raise ValueError(f"n_cells={n_cells} must be at least 1.")
        if source is not None:
            source = self._flow.coordinates.check(source, "source")
        seed = None
        if random_state is not None:
            seed = int(check_random_state(random_state).randint(2**31 - 1))
        cells, longest = self._flow.sample(X, n_cells, source, seed)
        warn_blow_up(longest)
        return cells

    def transport(self, X, cells):
        """Return what given control cells would be under the row's perturbation.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Condition of each cell.
        cells : array-like of shape (n_samples, n_outputs)
            Control cells; those of another batch or donor may be new.

        Returns
        -------
        cells : ndarray of shape (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If cells start at noise, so that none has a counterfactual, or `cells`
            does not fit `X`.
        """
        check_is_fitted(self)
        if self.source_ == "noise":
            raise ValueError(
                "With source='noise' no cell has a counterfactual. Fit with "
                "source='control' and with controls, or use sample."
            )
        return self._flow.transport(*self._validate(X, cells))

    def velocity(self, X, cells, t):
        """Return the velocity field: where cells are heading, and how fast.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Condition of each cell.
        cells : array-like of shape (n_samples, n_outputs)
            Cells on their way, in the units of `y`.
        t : float
            Time, 0 at the controls and 1 at the perturbed cells.

        Returns
        -------
        velocity : ndarray of shape (n_samples, n_outputs)
            In units of `y` for the whole way; zero for controls. The mean of
            `mean_estimator` plays no part in it.
        """
        check_is_fitted(self)
        return self._flow.velocity(*self._validate(X, cells), t)

    def _validate(self, X, cells):
        X = validate_conditions(self, X, reset=False)
        cells = self._flow.coordinates.check(cells, "cells")
        check_consistent_length(X, cells)
        return X, cells

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.regressor_tags.poor_score = True
        return tags
