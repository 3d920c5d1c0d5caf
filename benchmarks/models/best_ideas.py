"""Ideas that could make `best` better, on what its parts predict of held-out rows.

The parts predict the rows that folds like the rows to predict hold out, once; weights
and all else are then learnt on the other folds, so that an idea costs next to nothing.
Differences are from the blend as it is, on the same rows, with intervals of 95 % over
perturbations. Those that know the answer are no models: they say what there is to gain.
The last ideas are of the response kernel: profiles in the other contexts compared by
their products in 50 components, and not by cosines, alone and in the blend.

    python -m benchmarks.models.best_ideas FOLDER [FOLDER ...] [--seed 0] [--keep KEPT]

FOLDER is in the layout of OP2. Predictions of the parts are kept in the folder --keep.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy import linalg, optimize

from sklperturb.conditions._levels import level_means
from sklperturb.datasets import load_op2
from sklperturb.ensemble._weights import RowMoments, Spectrum
from sklperturb.linear_model import ResponseKernelRidge
from sklperturb.linear_model._response_kernel import _products_by_context
from sklperturb.model_selection import suggest_cv
from sklperturb.models import BestRegressor
from sklperturb.models._best import _kinds, _measured
from sklperturb.models._learning import (
    EDGES,
    Clock,
    HeldOut,
    _learn,
    held_out_predictions,
)
from sklperturb.models._parts import check_budget, seen_parts
from sklperturb.utils._bootstrap import ClusterBootstrap
from sklperturb.utils._callbacks import begin_fit

FINER = (5, 10, 15, 25, 35, 50, 75, 100, 150, 200)
N_COMPONENTS = 50
PENALTY = 100.0


@dataclass
class Task:
    """Training rows in coordinates, and the folds that hold some of them out."""

    X: object
    y: np.ndarray
    n_genes: int
    schema: object
    folds: list

    def __post_init__(self):
        columns = self.schema.context, self.schema.perturbation
        (contexts, c), (names, p) = (
            np.unique(self.X[column].astype(str), return_inverse=True)
            for column in columns
        )
        levels = SimpleNamespace(contexts_=contexts, perturbations_=names)
        self.rows = np.concatenate([test for _, test in self.folds])
        sizes = [len(test) for _, test in self.folds]
        self.fold = np.repeat(np.arange(len(sizes)), sizes)
        self.perturbation, self.truth = p[self.rows], self.y[self.rows]
        self.kinds = np.concatenate(
            [
                _kinds(_measured(c[train], p[train], levels), c[test], p[test])
                for train, test in self.folds
            ]
        )

    def errors(self, predicted):
        """Return each held-out row's root mean squared error."""
        return np.sqrt(np.square(self.truth - predicted).sum(axis=1) / self.n_genes)

    def spanned(self, predicted):
        """Return what the training rows of each fold span of predictions."""
        out = np.empty_like(predicted)
        for number, (train, _) in enumerate(self.folds):
            span = Spectrum(self.y[train], [len(train)]).components
            here = self.fold == number
            out[here] = predicted[here] @ span.T @ span
        return out

    def blended(self, predictions, edges=EDGES, *, told=False):
        """Return the blend by weights of the other folds, or of all if `told`."""
        stacked = np.stack(list(predictions.values()))
        spectra = [Spectrum(self.y[train], edges) for train, _ in self.folds]
        moments = RowMoments.stacked(
            [
                spectrum.moments(
                    self.truth[self.fold == number],
                    stacked[:, self.fold == number],
                    n_genes=self.n_genes,
                )
                for number, spectrum in enumerate(spectra)
            ]
        )
        names = list(predictions)
        held_out = HeldOut(names, moments, None, self.kinds, self.fold, self.rows)
        blend = np.empty_like(self.truth)
        for number, spectrum in enumerate(spectra):
            others = (self.fold != number) | told
            learnt = _learn(held_out, "mrrmse", others)
            for kind in np.unique(self.kinds[self.fold == number]):
                here = (self.fold == number) & (self.kinds == kind)
                weights = learnt.weights.get(kind, learnt.weights[None])
                blend[here] = spectrum.weigh(list(stacked[:, here]), weights)
                strength = np.linalg.norm(blend[here], axis=1) / self.n_genes**0.5
                blend[here] *= learnt.stretch.factors(strength)[:, None]
        return blend


class ProductKernel(ResponseKernelRidge):
    """The response kernel by products of leading components, and not by cosines."""

    def _compare_responses(self, X, y):
        targets = super()._compare_responses(X, y)
        context = self._train_codes[0]
        sizes = len(self.contexts_), len(self.perturbations_)
        centred = targets - level_means(context, sizes[0], targets)[0][context]
        vectors, lengths, _ = linalg.svd(centred, full_matrices=False)
        told = (vectors * lengths)[:, :N_COMPONENTS]
        self._products = _products_by_context(*self._train_codes, sizes, told)
        return targets

    def _alike_elsewhere(self, context, perturbation, others=None):
        cosines = super()._alike_elsewhere(context, perturbation, others)
        others = self._train_codes if others is None else others
        left, right = (
            self._energy_elsewhere(*rows) for rows in ((context, perturbation), others)
        )
        typical = self._energy_elsewhere(*self._train_codes).mean() or 1.0
        return cosines * np.sqrt(np.outer(left, right)) / typical


def load(folder, seed, kept):
    """Return a task, and what the parts of `best` predict of its held-out rows."""
    screen = load_op2(folder)
    y, schema = np.asarray(screen.y, dtype=np.float64), screen.schema
    column = schema.perturbation
    asked = screen.X_test[screen.X_test[column].isin(screen.X[column])]
    cv = suggest_cv(screen.X, asked, n_splits=5, schema=schema, random_state=seed)
    rotation = Spectrum(y, [len(y)]).components
    rotated = y @ rotation.T
    task = Task(screen.X, rotated, y.shape[1], schema, list(cv.split(screen.X, y)))
    file = kept / f"{Path(folder).name}_{seed}.npz" if kept else None
    if file is not None and file.exists():
        with np.load(file, allow_pickle=False) as found:
            return task, {name: found[name].astype(np.float64) for name in found}
    plan = check_budget("fast")
    parts = seen_parts(schema, plan, rotation, [3 * seed + n for n in (1, 2, 3)])
    progress = begin_fit(BestRegressor(), screen.X, y, n_parts=1)
    progress = progress.part("parts", n_parts=len(parts)).begin()
    found = held_out_predictions(
        parts, plan, Clock(None), screen.X, rotated, task.folds, None, progress
    )
    predictions = {name: predicted for name, (_, predicted) in found.items()}
    if file is not None:
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{k: p.astype(np.float32) for k, p in predictions.items()})
    return task, predictions


def row_factors(task, blend, predictions):
    """Return factors of rows from their strength and how the parts agree on them."""
    stacked = np.stack(list(predictions.values()), axis=1)
    agreement = [np.corrcoef(parts).mean() for parts in stacked]
    features = np.column_stack([np.log(np.linalg.norm(blend, axis=1)), agreement])
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features = np.column_stack([np.ones(len(features)), features])
    factors = np.empty(len(blend))
    for number in np.unique(task.fold):
        others = task.fold != number

        def error(slopes, others=others):
            scaled = np.exp(features @ slopes)[:, None] * blend
            return task.errors(scaled)[others].mean()

        slopes = optimize.minimize(error, np.zeros(3), method="Nelder-Mead").x
        factors[~others] = np.exp(features[~others] @ slopes)
    return factors[:, None]


def left_by_the_blend(task, blend):
    """Return what kernel ridge on how alike predictions are says of the errors."""
    directions = blend / np.linalg.norm(blend, axis=1, keepdims=True)
    kernel, left = directions @ directions.T, task.truth - blend
    added = np.empty_like(blend)
    for number in np.unique(task.fold):
        here = task.fold == number
        penalised = kernel[np.ix_(~here, ~here)] + PENALTY * np.eye((~here).sum())
        added[here] = kernel[np.ix_(here, ~here)] @ linalg.solve(penalised, left[~here])
    return task.spanned(added)


def report(folder, options):
    """Print the ideas of one screen."""
    task, predictions = load(folder, options.seed, options.keep)
    blend = task.blended(predictions)
    errors = task.errors(blend)
    units = ClusterBootstrap(task.perturbation, 2000, 0.95, np.random.RandomState(0))
    print(f"\n**{Path(folder).name}**: {len(errors)} rows, {errors.mean():.4f}\n")
    print("| idea | MRRMSE | more than without it (95 %) |\n|---|---:|---:|")

    def tell(idea, predicted, before=errors):
        row = task.errors(predicted)
        low, high = units.interval(row - before)
        change = (row - before).mean()
        line = (
            f"| {idea} | {row.mean():.4f} | {change:+.4f} ({low:+.4f} to {high:+.4f})"
        )
        print(line, "|", flush=True)

    finer = task.blended(predictions, FINER)
    tell("eleven bands", finer)
    tell("mean of six and eleven bands", (blend + finer) / 2)
    factors = row_factors(task, blend, predictions)
    tell("rows times a factor of strength and agreement", factors * blend)
    tell("kernel ridge on the errors", blend + left_by_the_blend(task, blend))
    tell("weights that know the answer", task.blended(predictions, told=True))
    along = np.einsum("ij,ij->i", task.truth, blend) / np.square(blend).sum(axis=1)
    tell("factors of rows that know the answer", along[:, None] * blend)
    kernel = np.concatenate(
        [
            ProductKernel(schema=task.schema)
            .fit(task.X.iloc[train], task.y[train])
            .predict(task.X.iloc[test])
            for train, test in task.folds
        ]
    )
    kernel = task.spanned(kernel)
    alone = task.errors(predictions["response"])
    tell("response kernel of products, alone", kernel, alone)
    replaced = predictions | {"response": kernel}
    tell("response kernel of products, in the blend", task.blended(replaced))


def main():
    """Print a table of each screen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="deal of the folds")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    for folder in options.folders:
        report(folder, options)


if __name__ == "__main__":
    main()
