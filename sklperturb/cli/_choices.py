"""What a user may name on the command line: models and splitters."""

from sklperturb.cli._app import log
from sklperturb.utils._choices import Names

_SPLITTERS = {
    "unseen-pair": "UnseenPairKFold",
    "unseen-perturbation": "UnseenPerturbationKFold",
    "unseen-context": "UnseenContextKFold",
    "unseen-scaffold": "UnseenScaffoldKFold",
}
Cv = Names("Cv", ["auto", *_SPLITTERS, "leave-one-context-out"], module=__name__)


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
            log.info(
                f"Left out {entry.name}: it needs {entry.requires} "
                f'(pip install "sklperturb[{entry.extra}]").'
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
    return getattr(model_selection, _SPLITTERS[name])(n_splits, **common)


def describe(splitter):
    """Return a splitter's name and parameters without the schema."""
    params = vars(splitter).items()
    shown = (f"{name}={value!r}" for name, value in params if name != "schema")
    return f"{type(splitter).__name__}({', '.join(shown)})"
