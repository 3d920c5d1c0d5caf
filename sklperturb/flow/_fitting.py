"""What a flow does inside `fit`, and with one population at a time after it."""

import numpy as np
import pandas as pd
import torch
from sklearn.utils import _safe_indexing, check_array, check_random_state

from sklperturb.cells._blocks import is_annotated, rows_of
from sklperturb.conditions._labels import control_rows
from sklperturb.conditions._validation import (
    resolve_schema,
    validate_conditions,
    validate_target,
)
from sklperturb.flow._conditions import ConditionReader, ElementScaler, name_of
from sklperturb.flow._controls import ControlPools
from sklperturb.flow._evidence import gather_evidence
from sklperturb.flow._generation import Generator
from sklperturb.flow._grouping import (
    group_cells,
    hold_out,
    measure_effects,
    principal_axes,
)
from sklperturb.flow._guards import (
    check_evidence,
    warn_collapsed_mean,
    warn_few_cells,
    warn_leakage,
)
from sklperturb.flow._mean import MeanEffect, blend_weight
from sklperturb.flow._training import Populations, Recipe, train
from sklperturb.modules import DeepSets, NeighborGraphSets, VelocityNet

POPULATION_ENCODERS = {"deep_sets": DeepSets, "knn_graph": NeighborGraphSets}
_SHAPES = (0.0, 0.5, 1.0)  # shares of the flow's change of shape to choose from
_MOST_VALIDATED = 32  # held-out conditions that are looked at


class FlowFitting:
    """The private half of `FlowMatchingRegressor`, in units of the network."""

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
        perturbed = _safe_indexing(X, rows)
        pools, shared = self._pools.find(perturbed)
        members, codes = group_cells(self._reader.keys(perturbed), rows, pools)
        self.conditions_ = _safe_indexing(
            perturbed, np.unique(codes, return_index=True)[1]
        )
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
            read = self._reader.read(_safe_indexing(X, first[perturbed]))
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
