"""The models that `best` is put together from, and what each budget takes of them."""

from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Real


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
    "fast": Plan(5, 3, 6),
    "thorough": Plan(5, 8, 20, wide=True),
}


def check_budget(budget):
    """Return the plan of a budget, or raise a ValueError."""
    if isinstance(budget, str) and budget in PLANS:
        return PLANS[budget]
    if isinstance(budget, Real) and not isinstance(budget, bool) and budget > 0:
        # As much as there is time for, in the order of the parts.
        return Plan(5, 8, 20, wide=True, seconds=float(budget))
    raise ValueError(
        f"budget={budget!r} is not allowed; pass one of {list(PLANS)}, or a "
        "number of seconds."
    )


def seen_parts(schema, plan, seeds, n_jobs):
    """Return {name: number of seeds -> unfitted model} of what was measured elsewhere.

    In the order in which they are tried: what gives most for its time comes first.
    """
    from sklperturb.compose import LatentTargetRegressor
    from sklperturb.ensemble import SeedEnsembleRegressor
    from sklperturb.linear_model import (
        ContextTransferRidge,
        ResponseKernelRidge,
        TargetEncodedRidge,
    )
    from sklperturb.neural_network import TokenEmbeddingMLPRegressor
    from sklperturb.preprocessing import TargetReducer

    def networks(seed, n_components, **parameters):
        network = TokenEmbeddingMLPRegressor(
            schema=schema, target_components=None, clip=False, **parameters
        )

        def build(n_seeds):
            # Responses are brought into a basis once, outside of the ensemble.
            return LatentTargetRegressor(
                SeedEnsembleRegressor(
                    network, n_seeds, n_jobs=n_jobs, random_state=int(seed)
                ),
                TargetReducer(n_components),
                check_inverse=False,
            )

        return build

    parts = {
        "response": lambda _: ResponseKernelRidge(schema=schema),
        "ridge": lambda _: TargetEncodedRidge(schema=schema),
        "transfer": lambda _: ContextTransferRidge(schema=schema),
        "network": networks(seeds[0], 100, hidden_dim=256, batch_size=128),
    }
    if plan.wide:
        parts["wide network"] = networks(seeds[1], 50, hidden_dim=512)
        parts["long network"] = networks(
            seeds[2], "full", hidden_dim=512, max_epochs=120, batch_size=128
        )
    return parts


def unseen_parts(schema):
    """Return {name: number of seeds -> unfitted model} of what was never measured."""
    from sklperturb.baseline import AdditiveRegressor
    from sklperturb.linear_model import TanimotoKernelRidge

    parts = {}
    if schema.smiles is not None and find_spec("rdkit") is not None:
        parts["structure"] = lambda _: TanimotoKernelRidge(schema=schema)
    parts["context"] = lambda _: AdditiveRegressor("joint", schema=schema)
    return parts
