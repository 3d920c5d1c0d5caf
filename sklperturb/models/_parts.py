"""The models that `best` is put together from, and what each budget takes of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from numbers import Real

from sklearn.base import BaseEstimator, TransformerMixin

from sklperturb.conditions._doubts import warn
from sklperturb.linear_model._kernel import MOST_ROWS


@dataclass(frozen=True)
class Plan:
    """What a budget allows.

    Attributes
    ----------
    n_splits : int
        Folds on which weights are learnt.
    n_trial, n_final : int
        Seeds of each kind of network while weights are learnt, and at the end.
    wide : bool
        Whether there are networks of other sizes too.
    seconds : float or None
        Time that is not to be exceeded by much.
    """

    n_splits: int
    n_trial: int
    n_final: int
    wide: bool = False
    seconds: float | None = None


PLANS = {
    "fast": Plan(5, 2, 6),
    "thorough": Plan(5, 10, 30, wide=True),
}


def check_budget(budget):
    """Return the plan of a budget, or raise a ValueError."""
    if isinstance(budget, str) and budget in PLANS:
        return PLANS[budget]
    if isinstance(budget, Real) and not isinstance(budget, bool) and budget > 0:
        # As much as there is time for, what costs least first.
        return replace(PLANS["thorough"], seconds=float(budget))
    raise ValueError(
        f"budget={budget!r} is not allowed; pass one of {list(PLANS)}, or a "
        "number of seconds."
    )


@dataclass(frozen=True)
class Part:
    """A model that can be part of the blend.

    Attributes
    ----------
    build : callable
        Takes a number of seeds and returns the unfitted model.
    contains : dict of {str: callable}
        Other parts that come with it: from the fitted model and conditions, what they
        predict.
    cost : float
        About how many times the seconds of "response" a fit takes, with one seed, on
        measured screens of 330 to 614 rows. With a time limit, parts are tried in this
        order, and those for which there is clearly no time are not.
    pairs : bool
        Whether each row is compared with each.
    """

    build: Callable
    contains: dict = field(default_factory=dict)
    cost: float = 1.0
    pairs: bool = False


class Rotation(TransformerMixin, BaseEstimator):
    """Turn coordinates into genes, for the models that look at single genes.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_genes)
        Orthonormal rows.
    """

    def __init__(self, components):
        self.components = components

    def fit(self, X, y=None):
        """Do nothing."""
        return self

    def transform(self, X):
        """Return the genes for coordinates."""
        return X @ self.components

    def inverse_transform(self, X):
        """Return the coordinates of genes."""
        return X @ self.components.T

    def __sklearn_is_fitted__(self):
        return True


def seen_parts(schema, plan, rotation, seeds, n_jobs=None):
    """Return {name: Part} of what was measured elsewhere, in coordinates of the genes.

    The first is what is used where no weights can be learnt.

    Parameters
    ----------
    schema : PerturbationSchema
    plan : Plan
    rotation : ndarray of shape (n_components, n_genes)
        What turns coordinates into genes.
    seeds : list of three int
    n_jobs : int or None
        Threads of those that predict with several.
    """
    from sklperturb.compose import LatentTargetRegressor
    from sklperturb.ensemble import LongFormBoostingRegressor, SeedEnsembleRegressor
    from sklperturb.linear_model import (
        ContextTransferRidge,
        ResponseKernelRidge,
        TargetEncodedRidge,
    )
    from sklperturb.preprocessing import TargetReducer

    def networks(cost, seed, n_components, **parameters):
        def build(n_seeds):
            # To load torch takes seconds, which a time limit may not have.
            from sklperturb.neural_network import TokenEmbeddingMLPRegressor

            network = TokenEmbeddingMLPRegressor(
                schema=schema, target_components=None, clip=False, **parameters
            )
            # Responses are brought into a basis once, outside of the ensemble.
            ensemble = SeedEnsembleRegressor(network, n_seeds, random_state=int(seed))
            return LatentTargetRegressor(
                ensemble, TargetReducer(n_components), check_inverse=False
            )

        return Part(build, cost=cost)

    def boosting(_):
        model = LongFormBoostingRegressor(
            schema=schema, n_jobs=n_jobs, random_state=int(seeds[0])
        )
        return LatentTargetRegressor(model, Rotation(rotation), check_inverse=False)

    def kernel(fitted, X):
        return fitted.transformer_.inverse_transform(
            fitted.regressor_.kernel_.predict(X)
        )

    parts = {"response": _of(ResponseKernelRidge(schema=schema), 1, pairs=True)}
    if find_spec("lightgbm") is not None:
        parts["boosting"] = Part(boosting, {"response": kernel}, cost=4, pairs=True)
    parts["ridge"] = _of(TargetEncodedRidge(schema=schema), 0.25)
    parts["transfer"] = _of(ContextTransferRidge(schema=schema), 0.3)
    parts["network"] = networks(3, seeds[0], 100)
    if plan.wide:
        wide = {"hidden_dim": 512, "max_epochs": 120, "batch_size": 128}
        parts["wide network"] = networks(5, seeds[1], 50, loss="mae", **wide)
        parts["long network"] = networks(6, seeds[2], "full", **wide)
    return parts


def unseen_parts(schema, sources=None):
    """Return {name: Part} of what was never measured.

    `sources` are what is known of genes, as of `GeneKnowledgeRidge`: of perturbed ones,
    and of the targets of compounds.
    """
    from sklperturb.baseline import AdditiveRegressor
    from sklperturb.linear_model import GeneKnowledgeRidge, TanimotoKernelRidge

    parts = {}
    if schema.columns("smiles", "mechanism") and find_spec("rdkit") is not None:
        model = TanimotoKernelRidge(
            leave_out="perturbation", sources=sources, schema=schema
        )
        parts["structure"] = _of(model, 3, pairs=True)
    if sources:
        model = GeneKnowledgeRidge(sources, schema=schema)
        parts["genes"] = _of(model, 2, pairs=True)
    parts["context"] = _of(AdditiveRegressor("joint", schema=schema), 0.05)
    return parts


def _of(model, cost, *, pairs=False):
    """Return the part of a model without seeds."""
    return Part(lambda _: model, cost=cost, pairs=pairs)


def chosen_parts(catalogue, names):
    """Return {kind: parts} of those named."""
    known = [name for parts in catalogue.values() for name in parts]
    if not names or not set(names) <= set(known):
        raise ValueError(
            f"parts={names!r} is not allowed; pass some of {known}, which are those of "
            "this budget and of these data, or None for all."
        )
    chosen = {
        kind: {name: part for name, part in parts.items() if name in names}
        for kind, parts in catalogue.items()
    }
    # Zeros would be a strange answer for a compound that has a context.
    chosen["unseen"] = chosen["unseen"] or {"context": catalogue["unseen"]["context"]}
    return chosen


def in_proportion(catalogue, n_rows):
    """Return {kind: parts} without those that compare each row with each."""
    left_out = [n for parts in catalogue.values() for n, p in parts.items() if p.pairs]
    if left_out:
        warn(
            f"best leaves out the parts {', '.join(left_out)}, which compare each row "
            f"with each: of {n_rows:,} rows this takes days, and the limit is "
            f"{MOST_ROWS:,}. Pass fewer rows, or name the parts in parts=."
        )
    return {
        kind: {name: part for name, part in parts.items() if not part.pairs}
        for kind, parts in catalogue.items()
    }
