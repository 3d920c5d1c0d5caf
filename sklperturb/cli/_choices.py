"""What a user may name on the command line: models and splitters."""

from sklperturb.utils._choices import Names

_SPLITTERS = {
    "unseen-pair": "UnseenPairKFold",
    "unseen-perturbation": "UnseenPerturbationKFold",
    "unseen-context": "UnseenContextKFold",
    "unseen-scaffold": "UnseenScaffoldKFold",
}
Cv = Names("Cv", ["auto", *_SPLITTERS, "leave-one-context-out"], module=__name__)


def named(models):
    """Return the models asked for: a list of names, "default" or "all"."""
    from sklperturb.models import select_models

    if models not in ("default", "all"):
        models = [name.strip() for name in models.split(",") if name.strip()]
        select_models(models)
    return models


def make_splitter(name, screen, n_splits, seed):
    from sklperturb import model_selection

    common = {"schema": screen.schema, "random_state": seed}
    if name == "auto":
        return model_selection.suggest_cv(
            screen.X, screen.X_test, n_splits=n_splits, **common
        )
    if name == "leave-one-context-out":
        return model_selection.LeaveOneContextOut(schema=screen.schema)
    return getattr(model_selection, _SPLITTERS[name])(n_splits, **common)


def describe(splitter):
    """Return a splitter's name and parameters without the schema."""
    params = vars(splitter).items()
    shown = (f"{name}={value!r}" for name, value in params if name != "schema")
    return f"{type(splitter).__name__}({', '.join(shown)})"
