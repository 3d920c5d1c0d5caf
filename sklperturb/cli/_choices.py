"""What a user may name on the command line: models and splitters."""

CV_NAMES = (
    "auto",
    "unseen-pair",
    "unseen-perturbation",
    "unseen-context",
    "leave-one-context-out",
    "unseen-scaffold",
)


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
    classes = {
        "unseen-pair": model_selection.UnseenPairKFold,
        "unseen-perturbation": model_selection.UnseenPerturbationKFold,
        "unseen-context": model_selection.UnseenContextKFold,
        "unseen-scaffold": model_selection.UnseenScaffoldKFold,
    }
    if name not in classes:
        raise ValueError(f"--cv {name!r} is not one of {', '.join(CV_NAMES)}.")
    return classes[name](n_splits, **common)


def describe(splitter):
    """Return a splitter's name and parameters without the schema."""
    params = vars(splitter).items()
    shown = (f"{name}={value!r}" for name, value in params if name != "schema")
    return f"{type(splitter).__name__}({', '.join(shown)})"
