"""Write what was compared as one page."""

from os import PathLike
from pathlib import Path

import pandas as pd
from sklearn.utils._param_validation import validate_params

from sklperturb.auditing._result import LeakAudit
from sklperturb.comparison import Comparison
from sklperturb.comparison._comparison import check_compared
from sklperturb.conditions import PerturbationSchema
from sklperturb.files._writing import check_output, written_whole
from sklperturb.report._content import describe
from sklperturb.report._page import render, templates
from sklperturb.report._plan import as_plan, read_plan
from sklperturb.report._run import check_run
from sklperturb.utils._printable import printable

TITLE = "Comparison of models"


@validate_params(
    {
        "comparison": [Comparison],
        "X": "no_validation",
        "y": "no_validation",
        "path": [str, PathLike],
        "schema": [PerturbationSchema, None],
        "scoring": [list, None],
        "audit": [LeakAudit, None],
        "coverage": [dict, None],
        "plan": [pd.DataFrame, str, PathLike, None],
        "title": [str],
        "about": [dict, None],
        "overwrite": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def write_html(
    comparison,
    X,
    y,
    path,
    *,
    schema=None,
    scoring=None,
    audit=None,
    coverage=None,
    plan=None,
    title=TITLE,
    about=None,
    overwrite=False,
):
    """Write a comparison as one HTML file that needs no network.

    The page has the leaderboard with its intervals, the baselines and the ceiling; a
    table of the held-out conditions to sort and search, with the strongest genes of
    each as measured and as predicted; how well effect sizes are calibrated; the audit;
    the next experiments; time and memory; and where the numbers are from. What is not
    known is left out, and the page says so.

    Parameters
    ----------
    comparison : Comparison
        As `compare` returns it; for single conditions and calibration, with
        ``return_predictions=True``.
    X : DataFrame of shape (n_samples, n_columns)
        Conditions that were compared on.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        Their responses.
    path : path-like
        File to write, .html.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    scoring : list, default=None
        The scorers of the comparison, where one of them has weights of its own. None
        takes those with a name.
    audit : LeakAudit, default=None
        As `sklperturb.inspection.audit` returns it.
    coverage : dict of str to DataFrame, default=None
        Coverage of intervals by model, as `sklperturb.inspection.coverage_curve`
        returns it.
    plan : DataFrame or path-like, default=None
        Next experiments, as `suggest_experiments` returns them, or the file that
        ``sklperturb suggest --output`` has written.
    title : str, default="Comparison of models"
    about : dict of str to object, default=None
        What else to tell of where the numbers are from, such as ``{"seed": 0}``.
    overwrite : bool, default=False
        Whether to replace the file.

    Returns
    -------
    path : Path

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    ValueError
        If the name ends otherwise, X and y have not the rows or genes that were
        compared, or not in their order, or `plan` is no plan.
    OSError
        If the file exists and `overwrite` is false, or it cannot be written.

    See Also
    --------
    sklperturb.comparison.compare : Makes the comparison.
    sklperturb.model_selection.suggest_experiments : Makes a plan.

    Notes
    -----
    Of each condition the file holds the genes that responded most by measurement, at
    most 30, and all scores to three digits. Of a screen so large that the file would
    pass some 5 MB, the conditions that responded least are left out of the table.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklperturb.comparison import compare
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.report import write_html
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> comparison = compare(
    ...     ["ridge"], screen.X, screen.y, cv=2, return_predictions=True
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "report.html")
    ...     write_html(comparison, screen.X, screen.y, path).name
    'report.html'
    """
    templates()  # before the work
    path = check_output(path, (".html",), overwrite)
    check_compared(comparison, X, y)
    if isinstance(plan, pd.DataFrame):
        plan = as_plan(plan)
    elif plan is not None:
        plan = read_plan(Path(plan))
    run = describe(
        comparison,
        X,
        y,
        schema=schema,
        scoring=scoring,
        audit=audit,
        coverage=coverage,
        about=about,
    )
    if plan is not None:
        run["plan"] = plan
    write_page(path, run, title)
    return path


def write_page(path, run, title=TITLE):
    """Write a run as a page, whole or not at all."""
    page = render(check_run(run), printable(title))
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
