"""A fitted flow: all that is needed to predict conditions, and nothing to fit."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.utils import _safe_indexing, check_array

from sklperturb.conditions._labels import control_rows
from sklperturb.conditions._named_predictions import (
    OUTPUT_CONFIG,
    TARGET_NAMES,
    NamedPredictionsMixin,
)
from sklperturb.conditions._validation import validate_conditions
from sklperturb.files._fields import (
    Array,
    Either,
    Listed,
    Mapping,
    Maybe,
    Number,
    Source,
)
from sklperturb.files._reading import short
from sklperturb.flow._conditions import SMALLEST, ConditionReader
from sklperturb.flow._generation import Generator, draw_cells
from sklperturb.flow._mean import MeanEffect
from sklperturb.flow._populations import ControlPools
from sklperturb.flow._state import Labels, Object, stored
from sklperturb.neural_network._kept import usable_device
from sklperturb.preprocessing import LookupEmbedding

# How far the norm of a cell may be from one, for cells that lie on a sphere.
_ON_SPHERE = 1e-3


@stored(
    optional=("sphere",),
    centre=Array(("n_outputs",)),
    scale=Number(SMALLEST),
    basis=Maybe(Array(("n_axes", "n_outputs"))),
    sphere=Number(0, whole=True),
)
@dataclass
class Coordinates:
    """Units of the network, and the principal components that a flow moves along.

    Attributes
    ----------
    centre : ndarray of shape (n_outputs,)
        Mean of the controls.
    scale : float
        One number for all columns, so that distances keep their proportions.
    basis : ndarray of shape (n_components, n_outputs) or None
        Orthonormal axes of the largest spread; None where cells are moved along all
        columns.
    sphere : int
        So many of the first columns are points of the unit sphere, as State Embedding
        gives them; generated cells are put back there. 0 where they are not.
    """

    centre: np.ndarray
    scale: float
    basis: np.ndarray | None = None
    sphere: int = 0

    @classmethod
    def fit(cls, cells, is_control, n_components):
        """Learn from cells (n_cells, n_outputs), of which some are controls."""
        centre = np.zeros(cells.shape[1])
        if is_control.any():
            centre = cells[is_control].mean(axis=0)
        scale = float(np.sqrt((cells - centre).var(axis=0).mean())) or 1.0
        found = cls(centre, scale, sphere=_width_of_sphere(cells))
        if n_components is not None and n_components < cells.shape[1]:
            # Of fewer cells than that, as many axes as cells.
            pca = PCA(min(n_components, len(cells)), svd_solver="covariance_eigh")
            axes = pca.fit(found.to_units(cells)).components_
            found.basis = axes.astype(np.float32)
        return found

    def check(self, cells, name):
        """Return given cells as an array; raise unless they are as wide as `y`."""
        cells = check_array(cells, dtype=np.float64, input_name=name)
        if cells.shape[1] != len(self.centre):
            raise ValueError(
                f"{name} has {cells.shape[1]} columns, and y had {len(self.centre)}; "
                "pass cells in the space that the model was fitted to."
            )
        return cells

    def to_units(self, cells):
        """Return cells in the units of the network."""
        return ((cells - self.centre) / self.scale).astype(np.float32)

    def from_units(self, cells):
        """Return cells in the units of `y`."""
        return cells * self.scale + self.centre

    def finished(self, cells):
        """Return generated cells in the units of `y`, on its sphere if it has one."""
        cells = self.from_units(cells)
        if self.sphere:
            points = cells[..., : self.sphere]
            norms = np.linalg.norm(points, axis=-1, keepdims=True)
            cells[..., : self.sphere] = points / np.maximum(norms, 1e-12)
        return cells

    def inside(self, cells):
        """Return cells in units along the components that the flow moves them."""
        if self.basis is None or cells is None:
            return cells
        return cells @ self.basis.T

    def outside(self, changes):
        """Return changes along the components as changes of all columns."""
        return changes if self.basis is None else changes @ self.basis


def _width_of_sphere(cells):
    """Return how many of the first columns have norm one in every cell; 0 if none."""
    if cells.shape[1] < 2 or len(cells) < 2:
        return 0
    norms = np.square(cells[0], dtype=np.float64).cumsum()
    # The first column at which the norm is reached: what follows it adds to it.
    width = int(np.argmin(np.abs(norms - 1))) + 1
    found = np.linalg.norm(cells[:, :width], axis=1)
    on_sphere = width > 1 and np.abs(found - 1).max() < _ON_SPHERE
    return width if on_sphere else 0


@stored(
    optional=("y_ndim", "mean_weight", "shape_weight", "diagnostics"),
    reader=Object(ConditionReader),
    pools=Object(ControlPools),
    coordinates=Object(Coordinates),
    generator=Object(Generator),
    mean=Maybe(Object(MeanEffect)),
    conditions=Either(
        lambda value: isinstance(value, pd.DataFrame),
        Object(pd.DataFrame),
        Labels("n_rows", "n_columns"),
    ),
    n_cells=Array(("n_rows",), "i", low=1),
    effects=Array(("n_rows", "n_outputs")),
    history=Listed(Mapping(Number(finite=False))),
    y_ndim=Number(1, 2, whole=True),
    mean_weight=Number(0, 1),
    shape_weight=Number(0, 1),
    diagnostics=Mapping(Number(finite=False)),
)
@dataclass
class FittedFlow:
    """The parts of a fitted flow, from training (`fit_flow`) or from a file.

    Cells are given and returned in the units of `y`.

    Attributes
    ----------
    reader : ConditionReader
        Reads rows of conditions.
    pools : ControlPools
        The controls that cells start from.
    coordinates : Coordinates
        The units of the network.
    generator : Generator
        The velocity field.
    mean : MeanEffect or None
        The regression of mean effects; None leaves the mean to the flow.
    conditions : DataFrame or ndarray of shape (n_conditions, n_columns)
        The measured conditions.
    n_cells : ndarray of int of shape (n_conditions,)
    effects : ndarray of shape (n_conditions, n_outputs)
    history : list of dict
        Losses of the training.
    y_ndim : int
        Dimensions of `y`.
    mean_weight, shape_weight : float
        Share of the regression in the mean of what was not measured, and of the
        flow's change of shape in what is generated.
    diagnostics : dict of str to float
        What the warnings were decided by.
    """

    reader: ConditionReader
    pools: ControlPools
    coordinates: Coordinates
    generator: Generator
    mean: MeanEffect | None
    conditions: pd.DataFrame | np.ndarray
    n_cells: np.ndarray
    effects: np.ndarray
    history: list
    y_ndim: int = 2
    mean_weight: float = 1.0
    shape_weight: float = 1.0
    diagnostics: dict = field(default_factory=dict)

    def __post_init__(self):
        longest = np.linalg.norm(self.effects, axis=1).max()
        self._longest = float(longest / self.coordinates.scale)
        self._flow_means = {}
        self.generator.pools = [self.coordinates.inside(p) for p in self.pools.cells]

    def check(self):
        """Raise an error unless the parts fit each other, and the conditions."""
        torch.device(self.generator.device)
        schema = self.reader.schema
        schema.require(self.conditions, "perturbation")
        contexts, both = schema.columns("context"), schema.columns("context", "batch")
        pools = self.pools
        if pools.columns not in (contexts, both) or pools.n_context != len(contexts):
            raise ValueError(f"controls are pooled by {short(pools.columns)}")
        condition = self.reader.read(self.conditions[:1])
        net, basis = self.generator.net, self.coordinates.basis
        takes = net.architecture
        has = {
            "n_features": len(self.coordinates.centre if basis is None else basis),
            "n_elements": self.generator.scaler(condition.elements).shape[2],
            "n_covariates": condition.covariates.shape[1],
        }
        if wrong := {name: n for name, n in has.items() if takes[name] != n}:
            raise ValueError(f"the network takes {takes}, and the data have {wrong}")
        if takes["population"] is not None and not len(pools.controls):
            raise ValueError("the network reads controls, and there are none")
        if self.mean is not None:
            condition.controls = pools.means[:1]
            self.mean.predict(condition)

    def predict(self, X):
        """Return the expected cell of each row's condition, in the shape of `y`."""
        predicted = np.empty((len(X), len(self.coordinates.centre)))
        for rows, pool, condition in self._populations_of(X):
            predicted[rows] = self.pools.means[pool]
            if condition is not None:
                predicted[rows] += self._expected(condition, pool)
        predicted = self.coordinates.from_units(predicted)
        return predicted.ravel() if self.y_ndim == 1 else predicted

    def sample(self, X, n_cells, source=None, seed=None):
        """Return cells (n_samples, n_cells, n_outputs), and how far they moved.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_samples, n_columns)
        n_cells : int
        source : ndarray of shape (n_controls, n_outputs), default=None
            Controls in place of those of the training data.
        seed : int, default=None
            None takes that of the training.

        Returns
        -------
        cells : ndarray of shape (n_samples, n_cells, n_outputs)
        length : float
            Of the longest mean displacement, in lengths of the longest measured one.
        """
        rng = np.random.default_rng(self.generator.seed if seed is None else seed)
        given = None if source is None else self.coordinates.to_units(source)
        cells = np.empty((len(X), n_cells, len(self.coordinates.centre)))
        longest = 0.0
        for rows, pool, condition in self._populations_of(X):
            controls = self.pools.cells[pool] if given is None else given
            start = draw_cells(controls, len(rows) * n_cells, rng)
            moved = start
            if condition is not None:
                moved, length = self._carry(start, condition, pool, given, rng)
                longest = max(longest, length)
            cells[rows] = moved.reshape(len(rows), n_cells, -1)
        return self.coordinates.finished(cells), longest

    def transport(self, X, cells):
        """Return the given controls (n_samples, n_outputs) under each row's condition.

        Only with the source "control".
        """
        cells = self.coordinates.to_units(cells)
        moved = np.array(cells, dtype=np.float64)
        for rows, pool, condition in self._populations_of(X):
            if condition is not None:
                moved[rows], _ = self._carry(cells[rows], condition, pool, None, None)
        return self.coordinates.finished(moved)

    def velocity(self, X, cells, t):
        """Return the velocity (n_samples, n_outputs) of cells at the time `t`."""
        cells = self.coordinates.to_units(cells)
        result = np.zeros(cells.shape)
        device = self.generator.device
        for rows, pool, condition in self._populations_of(X):
            if condition is not None:
                velocity = self.generator.field(condition, pool)
                with torch.inference_mode():
                    x = torch.from_numpy(self.coordinates.inside(cells[rows]))[None]
                    found = velocity(x.to(device), float(t))[0].cpu().numpy()
                    result[rows] = self.coordinates.outside(found)
        return result * self.coordinates.scale

    @property
    def control_cells(self):
        """The controls of the training data, in its order and in the units of `y`."""
        return self.coordinates.from_units(self.pools.controls)

    def displacement(self, condition, pool):
        """Return by how much the flow moves the mean of a pool, in all columns."""
        return self.coordinates.outside(self.generator.displacement(condition, pool))

    def context_displacement(self, condition, pool):
        """Return the displacement of the controls of the pool's whole context."""
        pool = self.pools.context_of(pool)
        key = pool, condition.keys[0]
        if key not in self._flow_means:
            self._flow_means[key] = self.displacement(condition, pool)
        return self._flow_means[key]

    def _populations_of(self, X):
        """Yield (rows, pool, their one condition or None for controls)."""
        is_control = control_rows(X, self.reader.schema)
        pools, _ = self.pools.find(X)
        keys = self.reader.keys(X)
        groups = [
            (pool, None if control else key)
            for pool, control, key in zip(pools, is_control, keys, strict=True)
        ]
        codes, levels = pd.factorize(pd.Series(groups, dtype=object))
        members = pd.Series(codes).groupby(codes).indices
        first = [members[c][0] for c, (_, key) in enumerate(levels) if key is not None]
        if first:
            read = self.reader.read(_safe_indexing(X, first))
        place = {row: i for i, row in enumerate(first)}
        for code, (pool, key) in enumerate(levels):
            rows = members[code]
            yield rows, pool, None if key is None else read.take([place[rows[0]]])

    def _expected(self, condition, pool, given=None):
        """Return the mean effect of a condition, in units of the network.

        Where contexts differ in it, by the mean of the context's or the given controls.
        """
        if self.mean is None:
            return self.displacement(condition, pool)
        controls = self.pools.means[self.pools.context_of(pool)]
        if given is not None:
            controls = given.mean(axis=0, dtype=np.float64)
        condition.controls = controls[None]
        expected = self.mean.predict(condition)[0]
        if self.mean_weight < 1 and not self.mean.is_measured(condition.keys[0]):
            flow = self.context_displacement(condition, pool)
            expected = flow + self.mean_weight * (expected - flow)
        return expected

    def _carry(self, controls, condition, pool, given, rng):
        """Return perturbed cells in place of controls, and how far their mean moves.

        The flow carries them, and all are shifted so that their mean is as expected.
        """
        before = start = self.coordinates.inside(controls)
        if self.generator.source == "noise":
            start = rng.standard_normal(before.shape, dtype=np.float32)
        own = pool if given is None else self.coordinates.inside(given)
        moved = self.generator.move(start, condition, own)
        if self.coordinates.basis is not None:
            moved = controls + self.coordinates.outside(moved - before)
        displacement = self.displacement(condition, own)
        if self.mean is not None:
            expected = self._expected(condition, pool, given)
            moved = moved + (expected - displacement)
            if self.shape_weight < 1:
                shifted = controls + expected
                moved = shifted + self.shape_weight * (moved - shifted)
            displacement = expected
        return moved, np.linalg.norm(displacement) / max(self._longest, 1e-12)


class KeptFlowMixin(NamedPredictionsMixin):
    """Let model files hold an estimator whose fitted state is a `FittedFlow`."""

    @classmethod
    def _from_fitted(cls, flow, **parameters):
        """Return a fitted regressor of a `FittedFlow` that comes from elsewhere."""
        parts = {"embedding": flow.reader.embedding, "schema": flow.reader.schema}
        model = cls(**parameters | parts)
        validate_conditions(model, flow.conditions, reset=True)
        return model._set_fitted(flow)

    def _set_fitted(self, flow):
        """Take over a `FittedFlow`, and show its parts under their public names."""
        self._flow = flow
        self.net_, self.source_ = flow.generator.net, flow.generator.source
        self.mean_ = flow.mean
        self.mean_choice_ = "none" if flow.mean is None else flow.mean.choice
        self.mean_cv_errors_ = {} if flow.mean is None else flow.mean.cv_errors
        self.mean_cv_intervals_ = {} if flow.mean is None else flow.mean.cv_intervals
        self.mean_weight_, self.shape_weight_ = flow.mean_weight, flow.shape_weight
        self.conditions_, self.n_cells_ = flow.conditions, flow.n_cells
        self.effects_, self.history_ = flow.effects, flow.history
        self.guards_ = flow.diagnostics
        self.n_controls_ = len(flow.pools.cells[0])
        self.schema_ = flow.reader.schema
        return self

    def _to_file(self):
        kept = ("_flow", TARGET_NAMES, OUTPUT_CONFIG)
        state = {name: vars(self)[name] for name in kept if name in vars(self)}
        return self.get_params(deep=False) | state

    @classmethod
    def _from_file(cls, state):
        """Return the regressor of what `_to_file` gave an untrusted file."""
        names = cls._get_param_names()  # of which files of earlier versions lack some
        model = cls(**{name: state[name] for name in names if name in state})
        model._validate_params()
        if "_flow" in state:
            flow = check_flow(state["_flow"])
            validate_conditions(model, flow.conditions, reset=True)
            model._set_fitted(flow)
        kept = {k: v for k, v in state.items() if k in (TARGET_NAMES, OUTPUT_CONFIG)}
        vars(model).update(kept)
        return model


def check_flow(flow):
    """Return a flow from an untrusted file; raise unless it is one that can be fitted.

    Parameters
    ----------
    flow : object

    Returns
    -------
    flow : FittedFlow
    """
    Object(FittedFlow).read(flow, "the flow", Source())
    for source in flow.reader.embedding:
        if isinstance(source, LookupEmbedding):
            source._finish_fit(source.genes_, source.embedding_)
    flow.generator.device = usable_device(flow.generator.device)
    flow.check()
    return flow
