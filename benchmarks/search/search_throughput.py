"""Trials a second of a search, beside OptunaSearchCV of optuna-integration.

The same model, space, folds, scorer, number of trials and seed; studies are in memory,
without a refit and without pruning, on one thread. Both are run in turn.

    python -m benchmarks.search.search_throughput [--trials 6] [--runs 3]
"""

import argparse

from benchmarks._output import show
from benchmarks._pairs import ratio_rows, take_turns

MODELS = {
    "ridge": {"n_statistics": ("int", 16, 64)},
    "token_mlp": {"regressor__learning_rate": ("float", 0.01, 0.05)},
}


def _task(name, genes):
    import torch
    from optuna.distributions import FloatDistribution, IntDistribution

    from sklperturb.datasets import make_chemical_screen
    from sklperturb.metrics import neg_mrrmse_scorer
    from sklperturb.model_selection import UnseenPairKFold
    from sklperturb.models import make_model

    torch.set_num_threads(1)
    screen = make_chemical_screen(6, 100, genes, random_state=0)
    kinds = {"int": IntDistribution, "float": FloatDistribution}
    space = {
        key: kinds[kind](low, high) for key, (kind, low, high) in MODELS[name].items()
    }
    model = make_model(name, schema=screen.schema, random_state=0)
    cv = UnseenPairKFold(3, random_state=0, schema=screen.schema)
    return screen, space, model, cv, neg_mrrmse_scorer


def sklperturb(name, genes, trials):
    """Search with `PerturbationSearchCV`."""
    from sklperturb.tuning import PerturbationSearchCV

    screen, space, model, cv, scorer = _task(name, genes)
    options = {"cv": cv, "scoring": scorer, "n_trials": trials, "pruner": None}

    def run():
        search = PerturbationSearchCV(
            model, space, refit=False, verbose=0, random_state=0, **options
        )
        return float(search.fit(screen.X, screen.y).best_score_)

    return run


def optuna_integration(name, genes, trials):
    """Search with `OptunaSearchCV`."""
    import warnings

    import optuna
    from optuna_integration import OptunaSearchCV

    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    screen, space, model, cv, scorer = _task(name, genes)
    options = {"cv": cv, "scoring": scorer, "n_trials": trials}

    def run():
        search = OptunaSearchCV(
            model, space, refit=False, verbose=0, random_state=0, **options
        )
        return float(search.fit(screen.X, screen.y).best_score_)

    return run


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--genes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name in MODELS:
        found = take_turns(
            __file__,
            {"sklperturb": None, "optuna_integration": "search"},
            [name, options.genes, options.trials],
            rounds=options.runs,
        )
        part = ratio_rows(found, name, model=name)
        for row, runs in zip(part, found.values(), strict=True):
            row["best score"] = runs[0]["answer"] if runs else ""
        rows += part
    show(rows)


if __name__ == "__main__":
    main()
