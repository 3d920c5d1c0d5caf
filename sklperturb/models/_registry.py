"""Look up, choose and build the models of the toolkit by name, with good defaults.

The command line, :func:`~sklperturb.comparison.compare` and the tests read the one
table of ``_table.py``.
"""

from sklperturb.models._entry import KINDS
from sklperturb.models._table import ENTRIES
from sklperturb.utils._choices import one_of

_BY_NAME = {entry.name: entry for entry in ENTRIES}


def list_models(kind=None):
    """Return the registered models, in the order of the table.

    Parameters
    ----------
    kind : str, default=None
        Only models of this kind.

    Returns
    -------
    entries : list of ModelEntry

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> from sklperturb.models import list_models
    >>> [entry.name for entry in list_models("kernel")][:1]
    ['product_kernel']
    """
    if kind is not None:
        one_of(kind, KINDS, "kind of model")
    return [entry for entry in ENTRIES if kind in (None, entry.kind)]


def get_entry(name):
    """Look up a model by its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    entry : ModelEntry

    Raises
    ------
    ValueError
        If there is no such model; the message lists the near names.

    Examples
    --------
    >>> from sklperturb.models import get_entry
    >>> get_entry("ridge").kind
    'linear'
    """
    return _BY_NAME[one_of(name, _BY_NAME, "model")]


def select_models(models="default", schema=None, *, kind=None):
    """Return the models to run, and what is left out because something is missing.

    Parameters
    ----------
    models : "default", "all" or list of str, default="default"
        "default" takes the models that a leaderboard runs without being asked, "all"
        every one, of both those whose package is installed and whose column is there.
        Names are taken as they are.
    schema : PerturbationSchema, default=None
        Roles of the columns that are there. None leaves out no model for its column.
    kind : str, default=None
        Of "default" and "all", only models of this kind.

    Returns
    -------
    entries : list of ModelEntry
        In the order of the table, or in that of the names.
    left_out : dict of str to str
        Why, by the name of each model of "default" or "all" that cannot run.

    Raises
    ------
    ValueError
        If there is no such model or kind.
    TypeError
        If `models` is no list of names.
    ImportError
        If a model that was named needs a package that is not installed.

    See Also
    --------
    sklperturb.comparison.compare : Runs them on the same folds.

    Examples
    --------
    >>> from sklperturb.datasets import PerturbationSchema
    >>> from sklperturb.models import select_models
    >>> schema = PerturbationSchema(perturbation="compound", context="cell_type")
    >>> entries, left_out = select_models("default", schema, kind="kernel")
    >>> [entry.name for entry in entries]
    ['product_kernel', 'response_kernel']
    >>> sorted(left_out)
    ['tanimoto_kernel']
    """
    if isinstance(models, str) and models in ("default", "all"):
        entries, left_out = [], {}
        for entry in list_models(kind):
            if models == "default" and not entry.default:
                continue
            if not entry.available:
                left_out[entry.name] = _package_needed(entry)
            elif schema is not None and not entry.fits(schema):
                left_out[entry.name] = f"it needs a {entry.role} column"
            else:
                entries.append(entry)
        return entries, left_out
    if isinstance(models, str) or not all(isinstance(name, str) for name in models):
        raise TypeError(
            f"{models!r} is not allowed; pass 'default', 'all', or a list of names of "
            "registered models."
        )
    entries = [get_entry(name) for name in models]
    for entry in entries:
        _require(entry)
    return entries, {}


def make_model(name, *, schema=None, random_state=None, sources=None):
    """Build a registered model.

    Parameters
    ----------
    name : str
        See `list_models`.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=None
        Given to the parts that draw random numbers.
    sources : list, default=None
        What is known of genes, for the models that take it: files of gene sets, of
        vectors, or of other screens; see `GeneKnowledgeRidge`.

    Returns
    -------
    estimator : estimator
        Unfitted; takes a frame of conditions and the responses.

    Raises
    ------
    ValueError
        If there is no such model; the message lists the near names.
    ImportError
        If it needs a package that is not installed.

    Examples
    --------
    >>> from sklperturb.models import make_model
    >>> make_model("gene_median")
    GroupStatisticRegressor(statistic='median')
    """
    entry = get_entry(name)
    _require(entry)
    return entry.build(schema, random_state, sources)


def _require(entry):
    if not entry.available:
        raise ImportError(
            f"The model {entry.name!r} cannot be built: {_package_needed(entry)}."
        )


def _package_needed(entry):
    return (
        f"it needs {entry.requires}, which is not installed; run: "
        f'pip install "sklperturb[{entry.extra}]"'
    )
