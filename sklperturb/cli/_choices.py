"""What a user may name on the command line: models and splitters."""

from sklperturb.cli._app import log

CV_NAMES = (
    "auto",
    "unseen-pair",
    "unseen-perturbation",
    "unseen-context",
    "leave-one-context-out",
    "unseen-scaffold",
)


def named(models):
    """Return the models asked for by name, None for 'default' and 'all'."""
    from sklperturb.models import get_entry

    if models in ("default", "all"):
        return None
    names = [name.strip() for name in models.split(",") if name.strip()]
    for name in names:
        get_entry(name)
    return names


def usable(models, schema):
    """Return the registered models that the installation and the data allow."""
    from sklperturb.models import list_models

    names = []
    for entry in list_models():
        if not entry.available:
            log.print(
                f"Left out {entry.name}: it needs {entry.requires} "
                f'(pip install "sklperturb[{entry.extra}]").',
                markup=False,
            )
        elif entry.fits(schema) and (entry.default or models == "all"):
            names.append(entry.name)
    return names


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
