"""Flow matching from control cells to perturbed cells, as a regressor."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.flow._conditions import ConditionReader, ElementScaler, name_of
from sklperturb.flow._controls import ControlPools
from sklperturb.flow._evidence import gather_evidence
from sklperturb.flow._generation import Generator, draw_cells
from sklperturb.flow._grouping import (
    group_cells,
    hold_out,
    measure_effects,
    principal_axes,
)
from sklperturb.flow._guards import (
    check_evidence,
    warn_blow_up,
    warn_collapsed_mean,
    warn_few_cells,
    warn_leakage,
)
from sklperturb.flow._mean import BUILT_IN, MeanEffect, blend_weight
from sklperturb.flow._training import Populations, Recipe, train
from sklperturb.modules import DeepSets, NeighborGraphSets, VelocityNet
from sklperturb.utils._cells import is_annotated, rows_of
from sklperturb.utils._combinations import control_rows
from sklperturb.utils._conditions import (
    resolve_schema,
    validate_conditions,
    validate_target,
)

POPULATION_ENCODERS = {"deep_sets": DeepSets, "knn_graph": NeighborGraphSets}
_SHAPES = (0.0, 0.5, 1.0)  # shares of the flow's change of shape to choose from
_MOST_VALIDATED = 32  # held-out conditions that are looked at


class FlowMatchingRegressor(RegressorMixin, BaseEstimator):
    """Carry control cells to where a perturbation leaves them.

    A network learns the velocity at which cells travel in a straight line from
    controls to perturbed cells, given a vector for the perturbation, so that cells of
    perturbations that were never measured can be generated. The mean of a generated
    population comes from a regression, its shape from the flow: with some hundred
    perturbations to learn from, regression knows better where a population is, and
    only the flow knows what it looks like.

    Parameters
    ----------
    embedding : transformer, default=None
        Gives each perturbation a vector: `GeneSetEncoder`, `LookupEmbedding`,
        `CompoundFingerprint`. It is fitted to `X` and `y`, and is asked for one part
        of a combination at a time. None gives each perturbation its own dimension;
        those that were not seen are then all the same.
    mean_estimator : {"auto", "shift", "ridge", "none"} or regressor, default="auto"
        Predicts the mean effect from the condition. "shift" is the mean effect in the
        context; "ridge" adds ridge regression on the vector of the perturbation; a
        regressor learns from that vector followed by the covariates. "auto" is what
        is best on held-out perturbations: one of the two, or no effect at all. With
        "none", the mean is that of the generated cells.
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
    max_steps : int, default=2000
        Steps of the training.
    conditions_per_batch, cells_per_condition : int, default=8, 32
        Blocks in a step, and cells in a block.
    learning_rate : float, default=1e-3
        It falls to zero along a cosine.
    ema_decay : float, default=0.999
        Of the running mean of the weights, which is what predicts.
    validation_fraction : float, default=0.1
        Share of the perturbations that the network does not see; the weights are
        those that did best on them, and the warnings come from them. Below ten
        perturbations, none is held out. The regression of the mean sees all.
    patience : int or None, default=5
        Looks at the held-out perturbations, one each 100 steps, without progress
        after which the training stops.
    n_solver_steps : int, default=8
        Steps of Heun's method from 0 to 1, of two evaluations each.
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
    mean_choice_ : str
        What `mean_estimator` came to: "controls", "shift", "ridge", "custom" or
        "none".
    mean_cv_errors_ : dict of str to float
        For "auto": squared error on held-out perturbations as a share of that of no
        effect.
    mean_weight_ : float
        Weight of the regression in the mean of what was not measured; the rest is the
        mean of the flow. Below 1 only for "auto", where eight or more perturbations
        were held out and said so.
    shape_weight_ : float
        Share of the flow's change of shape in what is generated: 1, or for "auto"
        0.5 or 0 where held-out perturbations were nearer to it. With 0, cells are
        controls, displaced.
    conditions_ : DataFrame or ndarray of shape (n_conditions, n_columns)
        The perturbed conditions; of each, the first row.
    n_cells_ : ndarray of int of shape (n_conditions,)
    effects_ : ndarray of shape (n_conditions, n_outputs)
        Mean of the cells of each condition, less that of their controls.
    history_ : list of dict
        Losses of the training.
    guards_ : dict of str to float
        What the warnings were decided by; empty where nothing was held out.
    source_ : {"control", "noise"}
    n_controls_ : int
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Warns
    -----
    UserWarning
        From `fit`: the condition is ignored, cells or means collapse, displacements
        blow up, generated cells are worse than controls, contexts or batches lack
        controls, conditions have too few cells.

    See Also
    --------
    sklperturb.compose.LatentTargetRegressor : Learn in a latent space, and decode.
    sklperturb.compose.PerturbationEffectRegressor : Means alone.

    Notes
    -----
    A condition is a perturbation in a context, at a dose if there is one; each counts
    alike, however many cells it has. Combinations ``"A+B"`` are sets of vectors. The
    mean of a combination that was not measured is that of the controls plus the sum
    of the effects of its parts, measured ones where there are any. Cells start at
    controls of their own context and batch; where these lack controls, those of the
    context stand in, and then those of all contexts. Without any control, `y` is
    taken to hold changes from control.

    All cells are held in memory, so that `y` should be a latent space of some dozen
    dimensions; `LatentTargetRegressor` does that with any transformer. The network
    starts at not moving cells at all, and the coordinates are divided by one number,
    so that distances keep their proportions.

    References
    ----------
    .. [1] Lipman et al. "Flow matching for generative modeling". ICLR, 2023.
       https://arxiv.org/abs/2210.02747
    .. [2] Tong et al. "Improving and generalizing flow-based generative models with
       minibatch optimal transport". TMLR, 2024. https://arxiv.org/abs/2302.00482

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
        "embedding": [HasMethods(["fit", "transform"]), None],
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
        max_steps=2000,
        conditions_per_batch=8,
        cells_per_condition=32,
        learning_rate=1e-3,
        ema_decay=0.999,
        validation_fraction=0.1,
        patience=5,
        n_solver_steps=8,
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
            If all rows are controls, values are not finite, or a parameter is out of
            range.
        """
        return self._fit(X, y)

    def _fit(self, X, y, weights=None):
        """Fit; with the weights of an earlier fit to the same cells, without training.

        All but the network follows from the cells in seconds, so that a file of a
        model needs cells and weights only.
        """
        X = validate_conditions(self, X, reset=True)
        cells = self._read(X, y)
        self.schema_ = resolve_schema(self.schema, X)
        self.schema_.require(X, "perturbation")
        is_control = control_rows(X, self.schema_)
        if is_control.all():
            raise ValueError(
                "All rows are controls, and there is no perturbation to learn from. "
                "Check the control column that the schema names."
            )
        self.n_controls_ = int(is_control.sum())
        self.source_ = self.source if self.n_controls_ else "noise"
        random = check_random_state(self.random_state)
        self._seed = int(random.randint(2**31 - 1))
        rng = np.random.default_rng(self._seed)
        cells = self._to_units(cells, is_control)
        self._pools = ControlPools(self.schema_, self.match_batch)
        self._pools.fit(X, cells, is_control)
        self._reader = ConditionReader(self.embedding, self.schema_)
        self._reader.fit(X, y, ~is_control)

        rows = np.flatnonzero(~is_control)
        perturbed = _take(X, rows)
        pools, shared = self._pools.find(perturbed)
        members, codes = group_cells(self._reader.keys(perturbed), rows, pools)
        self.conditions_ = _take(perturbed, np.unique(codes, return_index=True)[1])
        conditions = self._reader.read(self.conditions_)
        effects, noise = measure_effects(cells, members, self._pools.means_)
        self.n_cells_ = np.bincount(codes)
        self.effects_ = effects * self._scale
        if self.n_controls_ and weights is None:
            names = [name_of(key) for key in conditions.keys]
            few = shared < len(self._pools.columns)
            warn_leakage([names[i] for i in np.unique(codes[few])])
            warn_few_cells(names, self.n_cells_, self.cells_per_condition)
        self._fit_mean(conditions, effects, noise)
        if self.mean_cv_errors_ and self.mean_choice_ != "ridge" and weights is None:
            warn_collapsed_mean(self.mean_choice_)
        held_out = hold_out(conditions.keys, self.validation_fraction, rng)
        self._basis = None
        if self.n_components is not None and self.n_components < cells.shape[1]:
            self._basis = principal_axes(cells, self.n_components)
        inner = self._inside(cells)
        self._train(inner, members, conditions, held_out, rng, weights)
        self._blend(members, conditions, effects, held_out)
        self.guards_, self.shape_weight_ = {}, 1.0
        if self.n_controls_ and weights is None:
            self._look(inner, members, conditions, effects, held_out)
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
        y_pred = np.empty((len(X), len(self._centre)))
        for rows, pool, conditions in self._populations_of(X):
            y_pred[rows] = self._pools.means_[pool]
            if conditions is not None:
                y_pred[rows] += self._expected(conditions, pool)
        y_pred = y_pred * self._scale + self._centre
        return y_pred.ravel() if self._y_ndim == 1 else y_pred

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
        given = None
        if source is not None:
            given = self._read_cells(source, "source")
        seed = self._seed
        if random_state is not None:
            seed = int(check_random_state(random_state).randint(2**31 - 1))
        rng = np.random.default_rng(seed)
        cells = np.empty((len(X), n_cells, len(self._centre)))
        longest = 0.0
        for rows, pool, conditions in self._populations_of(X):
            controls = self._pools.cells_[pool] if given is None else given
            start = draw_cells(controls, len(rows) * n_cells, rng)
            moved = start
            if conditions is not None:
                moved, length = self._carry(start, conditions, pool, given, rng)
                longest = max(longest, length)
            cells[rows] = moved.reshape(len(rows), n_cells, -1)
        warn_blow_up(longest)
        return cells * self._scale + self._centre

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
        X = validate_conditions(self, X, reset=False)
        cells = self._read_cells(cells, "cells")
        check_consistent_length(X, cells)
        moved = np.array(cells, dtype=np.float64)
        for rows, pool, conditions in self._populations_of(X):
            if conditions is None:
                continue
            moved[rows], _ = self._carry(cells[rows], conditions, pool, None, None)
        return moved * self._scale + self._centre

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
        X = validate_conditions(self, X, reset=False)
        cells = self._read_cells(cells, "cells")
        check_consistent_length(X, cells)
        result = np.zeros(cells.shape)
        for rows, pool, conditions in self._populations_of(X):
            if conditions is not None:
                field = self._generator.field(conditions, 0, pool)
                with torch.inference_mode():
                    x = torch.from_numpy(self._inside(cells[rows]))[None]
                    found = field(x.to(self.device), float(t))[0].cpu().numpy()
                    result[rows] = self._outside(found)
        return result * self._scale

    def _fit_mean(self, conditions, effects, noise):
        self.mean_, self.mean_choice_, self.mean_cv_errors_ = None, "none", {}
        if isinstance(self.mean_estimator, str) and self.mean_estimator == "none":
            return
        self.mean_ = MeanEffect(self.mean_estimator).fit(conditions, effects, noise)
        self.mean_choice_ = self.mean_.choice_
        self.mean_cv_errors_ = self.mean_.cv_errors_

    def _train(self, cells, members, conditions, held_out, rng, weights):
        elements = ElementScaler().fit(conditions)
        data = Populations(
            cells,
            members,
            [self._inside(pool) for pool in self._pools.cells_],
            *(
                torch.from_numpy(np.asarray(values, np.float32))
                for values in (
                    elements(conditions.elements),
                    conditions.mask,
                    conditions.covariates,
                )
            ),
        )
        encoder = self.population_encoder
        if encoder is None and self.source_ == "noise":
            encoder = "deep_sets"
        cuda = [self.device] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(cuda):  # leaves the caller's generator alone
            torch.manual_seed(self._seed)
            population = None
            if encoder is not None and self.n_controls_:
                kind = POPULATION_ENCODERS[encoder]
                population = kind(cells.shape[1], self.embedding_dim)
            self.net_ = VelocityNet(
                cells.shape[1],
                conditions.elements.shape[2],
                conditions.covariates.shape[1],
                hidden_dim=self.hidden_dim,
                n_layers=self.n_layers,
                embedding_dim=self.embedding_dim,
                population=population,
            )
        recipe = Recipe(
            source=self.source_,
            **{
                name: getattr(self, name)
                for name in Recipe.__annotations__
                if name != "source"
            },
        )
        self.history_ = []
        if weights is None:
            self.history_ = train(
                self.net_,
                data,
                np.flatnonzero(~held_out),
                np.flatnonzero(held_out)[:_MOST_VALIDATED],
                recipe,
                rng,
                self.device,
            )
        else:
            self.net_.load_state_dict(weights)
            self.net_.eval()
        self._generator = Generator(
            self.net_,
            data.pools,
            elements,
            self.source_,
            self.guidance,
            self.n_solver_steps,
            self.device,
            self._seed,
        )
        self._longest = float(np.linalg.norm(self.effects_, axis=1).max() / self._scale)

    def _blend(self, members, conditions, effects, held_out):
        """Weigh the regression of means against the flow, on what neither saw."""
        self.mean_weight_ = float(self.mean_ is not None)
        self._flow_means = {}
        if not self._is_auto() or self.mean_choice_ == "controls" or not held_out.any():
            return
        rows = np.flatnonzero(held_out)[:_MOST_VALIDATED]
        regression = self.mean_.held_out(conditions, effects, held_out)[: len(rows)]
        flow = np.array(
            [self._flow_mean(conditions.take([i]), members[i][0][0]) for i in rows]
        )
        names = {conditions.keys[i][1] for i in rows}
        self.mean_weight_ = blend_weight(effects[rows], regression, flow, len(names))

    def _look(self, inner, members, conditions, effects, held_out):
        """Generate held-out perturbations, choose the shape, and warn."""
        expected, shares = None, (1.0,)
        if self.mean_ is not None and held_out.any():
            expected = np.zeros(effects.shape)
            expected[held_out] = self.mean_.held_out(conditions, effects, held_out)
            expected = self._inside(expected)
            if self._is_auto() and self.source_ == "control":
                shares = _SHAPES
        evidence, self.shape_weight_ = gather_evidence(
            self._generator,
            inner,
            members,
            conditions,
            self._inside(effects),
            held_out,
            expected,
            shares,
        )
        if evidence is not None:
            self.guards_ = check_evidence(evidence)

    def _is_auto(self):
        return isinstance(self.mean_estimator, str) and self.mean_estimator == "auto"

    def _flow_mean(self, conditions, pool):
        """Return by how much the flow moves the controls of a pool's context."""
        pool = self._pools.context_of(pool)
        key = pool, conditions.keys[0]
        if key not in self._flow_means:
            displacement = self._generator.displacement(conditions, 0, pool)
            self._flow_means[key] = self._outside(displacement)
        return self._flow_means[key]

    def _populations_of(self, X):
        """Yield (rows, pool, their one condition or None for controls)."""
        is_control = control_rows(X, self.schema_)
        pools, _ = self._pools.find(X)
        keys = self._reader.keys(X)
        groups = [
            (pool, None if control else key)
            for pool, control, key in zip(pools, is_control, keys, strict=True)
        ]
        codes, levels = pd.factorize(pd.Series(groups, dtype=object))
        first = np.unique(codes, return_index=True)[1]
        perturbed = np.flatnonzero(~is_control[first])
        if len(perturbed):
            read = self._reader.read(_take(X, first[perturbed]))
        place = {code: i for i, code in enumerate(perturbed)}
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(levels) + 1))
        for code, (pool, key) in enumerate(levels):
            rows = order[bounds[code] : bounds[code + 1]]
            yield rows, pool, None if key is None else read.take([place[code]])

    def _expected(self, conditions, pool):
        """Return the mean effect of a condition, in units of the network."""
        if self.mean_ is None:
            return self._outside(self._generator.displacement(conditions, 0, pool))
        expected = self.mean_.predict(conditions)[0]
        if self.mean_weight_ < 1 and not self.mean_.is_measured(conditions.keys[0]):
            flow = self._flow_mean(conditions, pool)
            expected = flow + self.mean_weight_ * (expected - flow)
        return expected

    def _carry(self, controls, conditions, pool, given, rng):
        """Return perturbed cells in place of controls, and how far their mean moves.

        The flow carries them, and all are shifted so that their mean is as expected.
        """
        before = start = self._inside(controls)
        if self.source_ == "noise":
            start = rng.standard_normal(before.shape, dtype=np.float32)
        own = pool if given is None else self._inside(given)
        after = self._generator.move(start, conditions, 0, own)
        moved = after
        if self._basis is not None:
            moved = controls + self._outside(after - before)
        displacement = self._outside(
            self._generator.displacement(conditions, 0, pool, self._inside(given))
        )
        if self.mean_ is not None:
            expected = self._expected(conditions, pool)
            moved = moved + (expected - displacement)
            if self.shape_weight_ < 1:
                shifted = controls + expected
                moved = shifted + self.shape_weight_ * (moved - shifted)
            displacement = expected
        return moved, np.linalg.norm(displacement) / max(self._longest, 1e-12)

    def _inside(self, cells):
        """Return cells in the coordinates along which the flow carries them."""
        if self._basis is None or cells is None:
            return cells
        return cells @ self._basis.T

    def _outside(self, changes):
        """Return changes of these coordinates as changes of all columns."""
        return changes if self._basis is None else changes @ self._basis

    def _read(self, X, y):
        """Return the cells as an array of two dimensions."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None."
            )
        if is_annotated(y):
            y = rows_of(y, slice(None))
            y = y.toarray() if hasattr(y, "toarray") else y
        y = validate_target(self, X, y)
        self._y_ndim = y.ndim
        return y.reshape(len(y), -1)

    def _read_cells(self, cells, name):
        """Return given cells in the units of the network."""
        cells = check_array(cells, dtype=np.float64, input_name=name)
        if cells.shape[1] != len(self._centre):
            raise ValueError(
                f"{name} has {cells.shape[1]} columns, and y had {len(self._centre)}; "
                "pass cells in the space that the model was fitted to."
            )
        return ((cells - self._centre) / self._scale).astype(np.float32)

    def _to_units(self, cells, is_control):
        """Centre at the controls, and divide by one number: distances keep shape."""
        self._centre = np.zeros(cells.shape[1])
        if is_control.any():
            self._centre = cells[is_control].mean(axis=0)
        cells = cells - self._centre
        self._scale = float(np.sqrt(cells.var(axis=0).mean())) or 1.0
        return (cells / self._scale).astype(np.float32)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.regressor_tags.poor_score = True
        return tags


def _take(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]
