"""Put a search together from its parts, and run it."""

import time
from contextlib import nullcontext, suppress
from inspect import signature

import joblib
from sklearn import get_config
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import process_routing

from sklperturb.tuning._fold_task import predicting_part
from sklperturb.utils._callbacks import shows_progress, without_callbacks
from sklperturb.utils._own_code import own_code
from sklperturb.utils._progress import ProgressBar


def route(search, metric, params):
    """Return what of the arguments of `fit` goes to "fit", "split" and "score"."""
    if get_config()["enable_metadata_routing"]:
        routed = process_routing(search, "fit", **params)
        return {
            "fit": dict(routed.estimator["fit"]),
            "split": dict(routed.splitter["split"]),
            "score": {metric: dict(routed.scorer["score"])},
        }
    fit = {k: v for k, v in params.items() if k != "groups" and v is not None}
    return {"fit": fit, "split": {"groups": params.get("groups")}, "score": {}}


def run_search(search, estimator, space, folds, scoring, data, task):
    """Run trials until there are enough of them in the store.

    Parameters
    ----------
    search : PerturbationSearchCV
        Its parameters are read; nothing is set.
    estimator : estimator
        What to tune.
    space : SearchSpace
    folds : list of tuple (ndarray, ndarray)
    scoring : tuple (dict of str to scorer, str)
        Scorers by name, and the name of the one that is optimised.
    data : tuple
        X, y, and the metadata for `fit` and for the scorers.
    task : FitTask
        Of the fit of the search.

    Returns
    -------
    store : TrialStore
    first_error : Exception or None
        Of the first fold that failed.
    """
    # Here, since Optuna takes half a second to import.
    from sklperturb.tuning._propose import Proposer
    from sklperturb.tuning._prune import Pruning
    from sklperturb.tuning._search_loop import SearchLoop
    from sklperturb.tuning._study import open_study
    from sklperturb.tuning._trial_store import TrialStore
    from sklperturb.tuning._workers import open_workers

    started = time.monotonic()
    identity = _identity(search, estimator, space, folds, scoring, data)
    seed = int(check_random_state(search.random_state).randint(2**31 - 1))
    name = search.study_name or f"sklperturb-{(identity or 'search')[:16]}"
    store = TrialStore(open_study(search.study, search.storage, name), identity)
    try:
        pruning = Pruning(search.pruner, _n_epochs(estimator, space), len(folds))
        with (
            open_workers(search.n_jobs, data) as workers,
            _progress(search, store) as progress,
        ):
            left = _n_left(search, store)
            task = task.part("search", n_parts=left, ordered=False).begin()
            ahead = max(search.ask_ahead, workers.n_workers)
            first = space.current(estimator)
            loop = SearchLoop(
                store,
                Proposer(space, search.sampler, seed, ahead, store, first),
                pruning,
                workers,
                estimator=estimator,
                folds=folds,
                scoring=scoring,
                n_trials=search.n_trials,
                deadline=search.timeout and started + search.timeout,
                error_score=search.error_score,
                callback=lambda number: _call_back(search, store, number, progress),
                task=task,
            )
            loop.run()
            task.end()
    finally:
        store.close()
    return store, loop.first_error


def _identity(search, estimator, space, folds, scoring, data):
    """Return a hash of all that scores and proposals depend on, None in memory."""
    if search.study is None and search.storage is None:
        return None
    scorers = sorted((name, repr(scorer)) for name, scorer in scoring[0].items())
    estimator = without_callbacks(estimator)
    what = (estimator, space.describe(), folds, scorers, scoring[1], data)
    given = [estimator, *scoring[0].values(), space.function]
    if code := own_code([*given, search.pruner, search.sampler], files=False):
        what = (*what, code)
    how = (_told(search.pruner), _told(search.sampler), repr(search.random_state))
    try:
        if search.study is None and search.study_name is None:
            return joblib.hash((what, how))
        return joblib.hash(what)
    except Exception as error:
        raise ValueError(
            "What is searched cannot be told from other searches, since it cannot "
            f"be pickled: {error}. Define its functions in a module, or pass "
            "storage=None."
        ) from error


def _told(given):
    """Return what tells a pruner or a sampler from others, the same in every process.

    Of an object that is its class and what it was made with, as far as these are plain
    values: the rest may change in use.
    """
    if given is None or isinstance(given, str):
        return given
    if hasattr(given, "__qualname__"):
        return given.__qualname__
    made_with = signature(type(given)).parameters
    state = {name: getattr(given, f"_{name}", None) for name in made_with}
    plain = {k: v for k, v in state.items() if isinstance(v, str | bool | int | float)}
    return type(given).__qualname__, sorted(plain.items())


def _n_epochs(estimator, space):
    """Return the most epochs of the network that predicts, None without one."""
    part = predicting_part(estimator)
    if not getattr(part, "reports_epochs", False):
        return None
    for name, value in {"": estimator, **estimator.get_params()}.items():
        if value is part:
            name = f"{name}__max_epochs".removeprefix("__")
            return space.largest(name) or part.max_epochs
    return part.max_epochs


def _progress(search, store):
    if not search.verbose or search.n_trials is None or shows_progress(search):
        return nullcontext()
    return ProgressBar(_n_left(search, store), "Tuning")


def _n_left(search, store):
    """Return how many trials are left to run, None if that is a question of time."""
    if search.n_trials is None:
        return None
    return max(0, search.n_trials - len(store.finished()))


def _call_back(search, store, number, progress):
    """Advance the bar and call the user's callbacks, after a trial."""
    if progress is not None:
        best = ""
        with suppress(ValueError):  # no trial is complete
            best = f"best {store.study.best_value:.4f}"
        progress.advance(best)
    if search.callbacks:
        trial = store.study.get_trials()[number]
        for callback in search.callbacks:
            callback(store.study, trial)
