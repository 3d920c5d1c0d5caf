"""What a user may name on the command line: models, data, folds and a cluster."""

import contextlib
import warnings
from dataclasses import replace
from pathlib import Path

from sklperturb.cli._app import log, warn
from sklperturb.files._documents import read_json
from sklperturb.files._reading import reading
from sklperturb.utils._choices import Names

MOST_CELLS, _MAX_NAME = 10**6, 1000  # of what predict-cells is asked for
_CONNECT = "30s"  # to wait for a cluster
_SPLITTERS = {
    "unseen-pair": "UnseenPairKFold",
    "unseen-perturbation": "UnseenPerturbationKFold",
    "unseen-context": "UnseenContextKFold",
    "unseen-scaffold": "UnseenScaffoldKFold",
}
Cv = Names("Cv", ["auto", *_SPLITTERS, "leave-one-context-out"], module=__name__)


def names(text):
    """Return the names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def named(models):
    """Return the models asked for: a list of names, "default" or "all"."""
    from sklperturb.models import select_models

    if models in ("default", "all"):
        return models
    found = names(models)
    if not found:
        raise ValueError(
            f"--models {models!r} names no model; pass names that `sklperturb models` "
            "lists, 'default' or 'all'."
        )
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise ValueError(f"--models repeats {repeated}; name each model once.")
    select_models(found)
    return found


def fitting(models, schema):
    """Return the names of the models that can learn from a screen of signatures.

    A set, "default" or "all", goes without those that cannot.

    Raises
    ------
    ValueError
        If one that was named lacks a column, or learns from cells.
    """
    from sklperturb.models import select_models

    # Signatures are differences from controls already: a control column marks compounds
    # that are used as references, and not what these models would measure from.
    schema = replace(schema, control=None)
    entries, left_out = select_models(models, schema)
    baselines = select_models("default", schema, kind="baseline")[1]
    for name, reason in left_out.items():
        if name not in baselines:  # the comparison tells of these
            log.info(f"Left out {name}: {reason}.")
    for entry in entries:
        if entry.fits(schema):
            continue
        if entry.role == "control":
            raise ValueError(
                f"The model {entry.name!r} learns from cells beside their controls, "
                "and --data holds signatures; leave it out. For cells there is "
                "`sklperturb fit-cells`."
            )
        raise ValueError(
            f"The model {entry.name!r} needs a {entry.role} column, which --data does "
            "not have; leave it out, or add the column."
        )
    return [entry.name for entry in entries]


def refuse_inputs(inputs, outputs):
    """Refuse to write where the command reads from."""
    for output in filter(Path.exists, outputs):
        if any(path.exists() and path.samefile(output) for path in inputs):
            raise ValueError(
                f"{output} is read by this command and would be replaced by what it "
                "writes; choose another --output."
            )


def load_screen(data, layer, clip, on_nonfinite, perturbation=None, context=None):
    """Return the screen of a folder in one of the layouts."""
    from sklperturb.datasets import load_op2, load_vcpi
    from sklperturb.datasets._vcpi import is_vcpi

    roles = {"perturbation": perturbation, "context": context}
    roles = {role: column for role, column in roles.items() if column is not None}
    if is_vcpi(data):
        if layer is not None or clip is not None or roles:
            raise ValueError(
                f"{data} holds counts in the layout of VCPI 2026, and --layer, --clip, "
                "--perturbation and --context are for signatures. Leave them out."
            )
        screen = load_vcpi(data)
    else:
        screen = load_op2(
            data,
            layer=layer,
            schema=roles or None,
            clip=clip,
            on_nonfinite=on_nonfinite,
        )
    log.info(screen.DESCR)
    return screen


def load_sources(embedding, source):
    """Return what is known of genes, None where nothing is given.

    Read once, so that a file that cannot be read is told before the work.
    """
    from sklperturb.preprocessing import read_gene_source

    sources = [read_gene_source(path) for path in (*(embedding or ()), *(source or ()))]
    for known in sources:
        log.info(f"{known.name}: {known.vectors.shape[0]} genes.")
    return sources or None


def check_taken(sources, models):
    """Refuse what is known of genes where no model is told of it, and warn of none."""
    from sklperturb.models import get_entry

    if not sources and "gene_kernel" in models:
        # What each fit would say is said once, in the words of the command line.
        warnings.filterwarnings("ignore", "There are no sources")
        warn(
            "gene_kernel is told nothing of genes, and predicts all that were never "
            "perturbed as the mean of their context. Pass --embedding, such as gene "
            "sets (.gmt), or --source, another screen."
        )

    if sources and not any(get_entry(name).takes_sources for name in models):
        raise ValueError(
            "--embedding and --source are for the models 'gene_kernel', "
            f"'tanimoto_kernel' and 'best'; {list(models)} are told nothing. Add one, "
            "or leave them out."
        )


def make_scoring(name, screen):
    """Return the metric of a name, with the weights of the screen where it has any."""
    from sklperturb.metrics import WeightedMSEScorer, get_metric

    if name != WeightedMSEScorer.name:
        return get_metric(name)
    if screen.get("weights") is None:
        raise ValueError(
            "--scoring wmse needs weights of compounds and genes: a weights.parquet in "
            "a folder in the layout of VCPI 2026."
        )
    return WeightedMSEScorer(screen.weights, by=screen.schema.perturbation)


def read_schema(path, **roles):
    """Return the schema of a file of cells, None if the user names no role."""
    from sklperturb.cells._files import read_obs
    from sklperturb.datasets._layouts import find_layout, settle_schema

    if not any(roles.values()):
        return None
    obs = read_obs(path)
    return settle_schema(obs, find_layout(obs), **roles)


def make_splitter(name, screen, n_splits, seed):
    from sklperturb import model_selection

    common = {"schema": screen.schema, "random_state": seed}
    if name == "auto":
        splitter = model_selection.suggest_cv(
            screen.X, screen.X_test, n_splits=n_splits, **common
        )
    elif name == "leave-one-context-out":
        splitter = model_selection.LeaveOneContextOut(schema=screen.schema)
    else:
        splitter = getattr(model_selection, _SPLITTERS[name])(n_splits, **common)
    made = getattr(splitter, "n_splits", None)
    if made is not None and made < n_splits:
        warn(
            f"--n-splits {n_splits} becomes {made}, all that can be held out apart; "
            "--cv chooses other folds."
        )
    if name == "auto":
        _tell_of_mixed(screen, splitter)
    shown = [f"{k}={v!r}" for k, v in vars(splitter).items() if k != "schema"]
    log.info(f"Folds: {type(splitter).__name__}({', '.join(shown)})")
    return splitter


def _tell_of_mixed(screen, splitter):
    """Warn where the id map asks for seen and unseen perturbations at once."""
    column = screen.schema.perturbation
    new = ~screen.X_test[column].isin(screen.X[column])
    if len(new) == 0:
        return
    if not 0.1 <= new.mean() <= 0.9:
        return
    asks_new = type(splitter).__name__ == "UnseenPerturbationKFold"
    others, cv = (~new, "unseen-pair") if asks_new else (new, "unseen-perturbation")
    kind = "was measured elsewhere" if asks_new else "was never measured"
    warn(
        f"{others.sum()} of the {len(others)} rows to predict have a perturbation that "
        f"{kind}, which these folds do not ask for; for them, run again with --cv {cv}."
    )


def tell_of_asked(screen, splitter=None):
    """Say how the perturbations to predict differ from those that folds hold out.

    Parameters
    ----------
    screen : Bunch
        As `load_op2` returns it.
    splitter : splitter, default=None
        None takes the one that asks what the id map asks.
    """
    from sklperturb.comparison import asked_difference
    from sklperturb.model_selection import suggest_cv

    if len(screen.X_test) == 0:
        return
    if splitter is None:
        splitter = suggest_cv(screen.X, screen.X_test, schema=screen.schema)
    try:
        folds = list(splitter.split(screen.X))
    except ValueError:  # too small to cut; where folds are needed, that is an error
        return
    found = asked_difference(
        screen.X, screen.y, screen.X_test, folds, schema=screen.schema
    )
    if found is not None:
        log.info(str(found))


@contextlib.contextmanager
def connected(address):
    """Yield a client of a Dask cluster, None without an address.

    It is connected before any work: a cluster that cannot be reached is told at once.
    Pass it to `on_cluster`, where the work is joblib's.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            '--dask needs distributed; run: pip install "sklperturb[scale]"'
        ) from error
    try:
        client = Client(address, timeout=_CONNECT)
    except (TypeError, ValueError) as error:  # no certificates, or no address
        raise ValueError(
            f"--dask {address}: {error}. Pass tcp://host:port, or tls://host:port with "
            "the certificates in distributed.comm.tls of Dask's configuration."
        ) from error
    with client:
        yield client


def on_cluster(client):
    """Return a context in which joblib computes on a cluster, if there is a client."""
    from joblib import parallel_config

    if client is None:
        return contextlib.nullcontext()
    return parallel_config("dask", client=client)


def set_tuned(estimator, model, path):
    """Set an estimator's parameters to those of a file that `tune` has written.

    Parameters
    ----------
    estimator : estimator
    model : str
        Its registered name.
    path : Path

    Returns
    -------
    params : dict

    Raises
    ------
    ValueError
        If the file is none of `tune`, or about another model.
    """
    tuned = read_json(path)
    params = tuned.get("params") if isinstance(tuned, dict) else None
    if not isinstance(params, dict):
        raise ValueError(
            f'{path} has no "params"; pass the best.json that `sklperturb tune` wrote.'
        )
    of_model = tuned.get("model", model)
    if of_model != model:
        raise ValueError(
            f"{path} has the parameters of {of_model!r}, not of {model!r}; pass "
            f"--model {of_model}, or tune {model!r}."
        )
    unknown = sorted(set(params) - set(estimator.get_params()))
    if unknown:
        raise ValueError(f"{path} names {unknown}, which {model!r} does not have.")
    estimator.set_params(**params)
    with reading(path, "parameters"):
        for part in (estimator, *estimator.get_params().values()):
            if hasattr(part, "_validate_params") and not isinstance(part, type):
                part._validate_params()
    return params


def read_perturbations(path, column, n_cells):
    """Return what is asked for, and the number of cells of each."""
    import pandas as pd

    from sklperturb.conditions._near import near_misses, spelling_hint
    from sklperturb.files._reading import short
    from sklperturb.files._tables import read_table
    from sklperturb.files._text import read_lines, text_suffix

    if text_suffix(path) in (".csv", ".tsv"):
        table = read_table(path, text=True).fillna("")
    else:
        table = _as_table(read_lines(path), column, path)
    found = [name for name in (column, "target_gene") if name in table]
    if not found:
        raise ValueError(
            f"{path} has the columns {list(table)}, and needs {column!r} or "
            f"'target_gene'.{spelling_hint(table, (column, 'target_gene'))}"
        )
    if near := near_misses(table, ("n_cells",)):
        raise ValueError(
            f"{path} has a column {next(iter(near))!r}; the numbers of cells are read "
            "from 'n_cells'. Rename it, or remove it."
        )
    if table.empty:
        raise ValueError(f"{path} names no perturbation.")
    names = table[found[0]].str.strip()
    numbers = pd.Series(n_cells, names.index)
    if "n_cells" in table:
        numbers = pd.to_numeric(table["n_cells"], errors="coerce")
    wrong = names.map(lambda n: not (n.isprintable() and 0 < len(n) <= _MAX_NAME))
    wrong |= ~numbers.between(1, MOST_CELLS) | (numbers % 1 != 0)
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"{path}: row {row + 1}, with {short(table.iloc[row].tolist())}, names no "
            "perturbation, or its number of cells is not a whole number from 1 to "
            f"{MOST_CELLS}."
        )
    return names.tolist(), numbers.astype(int).tolist()


def _as_table(lines, column, path):
    """Return a list of perturbations, one a line, as a table of one column."""
    import pandas as pd

    lines = [line.strip() for line in lines if line.strip()]
    for separator, suffix in ((",", ".csv"), ("\t", ".tsv")):
        header = {name.strip() for name in lines[0].split(separator)} if lines else {}
        if len(header) > 1 and not header.isdisjoint((column, "target_gene")):
            raise ValueError(
                f"{path} is a table, and a list with one perturbation a line is "
                f"expected; give it a name that ends in {suffix}."
            )
    if lines and lines[0] in (column, "target_gene"):
        lines = lines[1:]  # a header
    return pd.DataFrame({column: lines}, dtype=object)


def read_conditions(path, known, model):
    """Return the table of conditions to predict, with the labels as text."""
    from sklperturb.conditions import PerturbationSchema
    from sklperturb.conditions._near import spelling_hint
    from sklperturb.conditions._validation import resolve_schema
    from sklperturb.datasets._clean import check_fitted_units, clean_conditions
    from sklperturb.files._reading import FileError, one_line
    from sklperturb.files._tables import read_parquet, read_table

    def read(labels):
        if path.suffix == ".parquet":
            return read_parquet(path)
        return read_table(path, labels)

    if known.schema is None:
        schema = resolve_schema(None, read(()))
    else:
        try:
            schema = PerturbationSchema(**known.schema)
        except (TypeError, ValueError) as error:
            raise FileError(
                f"{model} is damaged, or of a later version: its roles of columns "
                f"cannot be read: {one_line(error)}"
            ) from error
    X = read(schema.columns("context", "perturbation", "smiles", "mechanism"))
    needed = known.columns_read or schema.columns("context", "perturbation")
    if absent := [name for name in needed if name not in X]:
        raise ValueError(
            f"{path} lacks the columns {absent}; it has {list(X.columns)}. The model "
            f"reads {needed}.{spelling_hint(absent, X.columns)}"
        )
    given = list(X.columns)
    X = clean_conditions(X, schema, path.name)
    if known.columns_read is None or schema.dose in known.columns_read:
        check_fitted_units(X, schema.dose, known.columns or (), path.name)
    return X[given]


def with_intervals(estimator, screen, seed, jobs):
    """Return an estimator with intervals, from folds that ask what the screen asks."""
    from sklperturb.inspection import ConformalRegressor
    from sklperturb.model_selection import suggest_cv

    about = {"schema": screen.schema, "random_state": seed}
    cv = suggest_cv(screen.X, screen.X_test, **about)
    log.info(f"Intervals are learnt from {type(cv).__name__}({cv.n_splits}).")
    return ConformalRegressor(estimator, cv=cv, n_jobs=jobs, schema=screen.schema)


def check_budget(budget, model):
    """Return the budget, before anything is read, so that a wrong one costs nothing."""
    from sklperturb.models._parts import check_budget as check

    if budget is None:
        return None
    if model != "best":
        raise ValueError(f"--budget is for the model 'best'; {model!r} has none.")
    try:
        budget = float(budget)
    except ValueError:  # a name
        pass
    check(budget)
    return budget
