"""Tables on the screen, and files in a folder."""

import json
import shlex
import time
from importlib.util import find_spec

from rich.table import Table

from sklperturb.cli._app import log, out
from sklperturb.utils._choices import PlotFormat

REPORT = "report.html"
_ENDS = (".parquet", ".csv", ".h5ad")
_LEADERBOARD = ("leaderboard.csv", "leaderboard.parquet", "folds.parquet", "run.json")
_PLOTS = ("leaderboard",)
_SCREEN = [f"de_{part}{end}" for part in ("train", "test") for end in _ENDS]
_SCREEN += ["id_map.csv", "sample_submission.csv"]


def read_files(data, *others):
    """Return the files that a command may read, so that it does not write to them.

    Parameters
    ----------
    data : Path
        Folder of a screen.
    *others : Path, list of Path or None
        Files, and folders of other screens.

    Returns
    -------
    paths : list of Path
        Some of which need not exist.
    """
    from sklperturb.datasets._vcpi import VCPI_FILES

    paths = [data]
    for other in others:
        paths += other if isinstance(other, list | tuple) else [other]
    paths = [path for path in paths if path is not None]
    return paths + [path / name for path in paths for name in (*_SCREEN, *VCPI_FILES)]


def make_table(left, right):
    """Return an empty table with columns of text and columns of numbers."""
    table = Table(box=None, pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_whole(table):
    """Print a table as wide as it is: columns that are cut off say nothing."""
    room, width = out.options.update(width=1000), out.width
    out.width = max(width, out.measure(table, options=room).maximum)
    out.print(table)
    out.width = width


def check_tables(folder, names, *, plots=(), suffix=None):
    """Refuse a folder that files called `names` cannot be written to.

    Say what will be replaced, and that no plot will be drawn where matplotlib is not
    installed.

    Parameters
    ----------
    folder : Path or None
        None writes nothing.
    names : sequence of str
    plots : sequence of str, default=()
        Names of plots, without their format.
    suffix : PlotFormat, default=None
        Format of the plots.
    """
    from sklperturb.files._writing import check_output_folder

    if folder is None:
        return
    check_output_folder(folder)
    written = [*names, *(f"{plot}.{suffix}" for plot in plots)]
    blocked = [name for name in written if (folder / name).is_dir()]
    if blocked:
        raise IsADirectoryError(
            f"{folder / blocked[0]} is a folder, and a file of this name is to be "
            "written; move it away, or choose another --output."
        )
    present = [name for name in names if (folder / name).exists()]
    present += [path.name for path in _plots_in(folder, plots)]
    if present:
        log.info(f"{', '.join(present)} in {folder} will be replaced.")
    if plots and find_spec("matplotlib") is None:
        log.info('No plots will be drawn; run: pip install "sklperturb[plot]"')


def _plots_in(folder, names):
    """Return the plots of these names that are in a folder, in whatever format."""
    paths = [folder / f"{name}.{form}" for name in names for form in PlotFormat]
    return [path for path in paths if path.is_file()]


def remove_plots(folder, names):
    """Remove plots of an earlier run: beside new tables they would show old ones."""
    for path in _plots_in(folder, names):
        path.unlink()


def write(path, writer, **options):
    """Write a file whole, by ``writer(path, **options)``, and print its name."""
    from sklperturb.files._writing import written_whole

    with written_whole(path) as unfinished:
        writer(unfinished, **options)
    out.print(str(path))


def write_json(path, content):
    text = json.dumps(content, indent=2) + "\n"
    write(path, lambda file: file.write_text(text, encoding="utf-8"))


def render_leaderboard(table):
    ceiling = table[table["ceiling"].notna()]
    unchanged = "controls" if "controls" in set(table["model"]) else "zeros"
    rendered = make_table(
        ["rank", "model", "kind"],
        [
            f"{table['metric'].iloc[0]} (95 % interval)",
            "std",
            "from best baseline (95 %)",
            f"rel. {unchanged}",
            *(["of ceiling (95 %)"] if len(ceiling) else []),
            "fit s",
            "peak MB",
        ],
    )
    for row in table.itertuples():
        rendered.add_row(
            str(row.rank),
            row.model,
            row.kind,
            _with_interval(row.mean, row.ci_low, row.ci_high),
            _number(row.std, ".3f"),
            _with_interval(
                row.difference, row.difference_low, row.difference_high, "+"
            ),
            _number(row.relative_to_zeros, ".3f"),
            *([_share(row)] if len(ceiling) else []),
            f"{row.fit_seconds:.1f}",
            f"{row.peak_memory_mb:.0f}",
        )
    return rendered


def _share(row):
    """Return a model's share of the way from the best baseline to the ceiling."""
    shown = _number(row.share_of_ceiling, "z.2f")
    if row.share_low == row.share_low:
        shown += f" ({row.share_low:z.2f}, {row.share_high:z.2f})"
    return shown


def _number(value, form):
    """Return a number as text, a dash where there is none."""
    return "-" if value != value else format(value, form)


def _with_interval(value, low, high, sign=""):
    shown = _number(value, f"{sign}.4f")
    if low == low and value == value:
        shown += f" ({low:{sign}.3f}, {high:{sign}.3f})"
    return shown


def explain_gaps(table):
    """Say what intervals are about, and why scores or intervals are missing."""
    from sklperturb.comparison._evidence import describe_units
    from sklperturb.utils._bootstrap import FEWEST_UNITS

    scored = table["mean"].notna()
    units = describe_units(*table[["unit", "n_units"]].iloc[0])
    if table.loc[scored, "ci_low"].isna().any():
        log.info(
            f"No intervals: the folds hold out {units}, and they are told from "
            f"{FEWEST_UNITS} or more."
        )
    elif scored.any():
        log.info(f"Intervals resample what the folds hold out: {units}.")
    known = table["ceiling"].notna()
    if known.any():
        row = table[known].iloc[0]
        what = "what a perfect model would have on measurements with this noise"
        if "controls" in set(table["model"]):
            what = "what half of the measured cells have, scored on the other half"
        log.info(
            f"Ceiling: {_with_interval(row.ceiling, row.ceiling_low, row.ceiling_high)}"
            f", {what}; the best baseline is at 0 of the way to it, the ceiling at 1."
        )
    if not scored.all():
        names = ", ".join(table.loc[~scored, "model"])
        log.info(f"No score: {names} failed in a fold; see the warnings above.")


def tell_of_next(table, data, **options):
    """Say by which command the winner of a leaderboard can be kept."""
    from sklperturb.models import get_entry

    scored = table[table["mean"].notna()]
    if scored.empty:
        return
    name = scored["model"].iloc[0]
    if not get_entry(name).takes_sources:
        options |= {"embedding": None, "source": None}
    options = {"data": data, **options, "model": name, "output": f"{name}.skpt"}
    log.info(f"Next: {command_of('fit', **options)}")


def command_of(name, *arguments, **options):
    """Return a command as it is typed; options that are None are left out.

    Parameters
    ----------
    name : str
    *arguments : str or path-like
    **options : object
        Those of the command, a list for what is given several times.
    """
    words = ["sklperturb", name, *map(str, arguments)]
    for option, given in options.items():
        for value in given if isinstance(given, list) else [given]:
            if value is not None:
                words += [f"--{option.replace('_', '-')}", str(value)]
    return shlex.join(words)


def write_plot(path, figure):
    """Write a figure whole, in the format that its name ends in, and close it."""
    from matplotlib import pyplot, rc_context

    # Text that stays text, so that a vector format can be edited.
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        write(path, figure.savefig, dpi=150, format=path.suffix[1:])
    pyplot.close(figure)


def check_leaderboard(folder, plots, report=False):
    """Refuse what cannot be written, before the work."""
    names = _LEADERBOARD
    if report:
        from sklperturb.report._page import templates

        if folder is None:
            raise ValueError(
                "report=True writes a page to a folder; pass output= to name one."
            )
        templates()
        names = *names, REPORT
    check_tables(folder, names, plots=_PLOTS, suffix=plots)
    if folder is not None:
        check_tables(folder / "folds", ())


def write_leaderboard(folder, table, comparison, plots):
    from sklperturb.inspection import LeaderboardDisplay

    remove_plots(folder, _PLOTS)
    contents = table, table, comparison.folds
    for name, content in zip(_LEADERBOARD[:3], contents, strict=True):
        as_text = name.endswith(".csv")
        write(
            folder / name,
            content.to_csv if as_text else content.to_parquet,
            index=False,
        )
    if find_spec("matplotlib") is not None:
        display = LeaderboardDisplay.from_comparison(comparison)
        write_plot(folder / f"{_PLOTS[0]}.{plots}", display.figure_)


def write_report(folder, comparison, task, about, report, audit=None):
    """Write what a report is made of, and the page itself if asked."""
    from sklperturb.report._content import describe
    from sklperturb.report._run import write_run
    from sklperturb.report._write import write_page

    run = describe(
        comparison,
        task["X"],
        task["y"],
        schema=task["schema"],
        scoring=task["scoring"] if report and comparison.predictions else None,
        audit=audit,
        about=about,
    )
    write(folder / "run.json", write_run, run=run)
    if report:
        write_page(folder / REPORT, run)
        out.print(str(folder / REPORT))
    elif (folder / REPORT).exists():
        log.info(
            f"{folder / REPORT} is of an earlier run; "
            f"{command_of('report', folder)} makes it anew."
        )


def print_leaks(found):
    """Print what an audit has found, line by line."""
    for line in repr(found).splitlines():
        out.print(line)


def audit_first(table, task, seed):
    """Return what an audit of the first model of a leaderboard finds, and print it."""
    from sklperturb.inspection import audit as find_leaks
    from sklperturb.models import make_model

    names = table.loc[table["mean"].notna(), "model"]
    if names.empty:
        return None
    start, name, schema = time.perf_counter(), names.iloc[0], task["schema"]
    model = make_model(name, schema=schema, random_state=seed, sources=task["sources"])
    found = find_leaks(
        *(model, task["X"], task["y"], task["cv"]),
        scoring=task["scoring"][0],
        schema=schema,
        random_state=seed,
    )
    log.info(f"Audit of {name}: {time.perf_counter() - start:.1f} s.")
    print_leaks(found)
    return found


def check_names(conditions, X, output):
    """Refuse names of columns that the file to write cannot hold."""
    if output.suffix != ".h5ad":
        return
    if refused := [name for name in X if name in ("", "_index") or "\0" in name]:
        raise ValueError(
            f"{conditions} has a column {refused[0]!r}, and an .h5ad file can have "
            "none of this name. Rename or remove it, or write .csv or .parquet."
        )


def write_predictions(path, X, y_pred):
    """Write conditions and responses side by side, in the layout of de_train."""
    import pandas as pd
    from anndata import AnnData

    from sklperturb.files._writing import written_whole
    from sklperturb.files._writing_hdf5 import write_h5ad

    with written_whole(path) as unfinished:
        if path.suffix == ".h5ad":
            obs = pd.DataFrame({name: _storable(X[name]) for name in X}, X.index)
            obs.index = obs.index.astype(str)
            var = pd.DataFrame(index=y_pred.columns)
            write_h5ad(unfinished, AnnData(y_pred.to_numpy(), obs, var), "gzip")
            return
        table = pd.concat([X, y_pred], axis=1)
        if path.suffix == ".csv":
            table.to_csv(unfinished, index=False)
        else:
            table.to_parquet(unfinished, index=False)


def _storable(column):
    """Return a column of conditions as an .h5ad file can hold it: if need be, as text.

    Such files hold numbers, true and false, and text; a column of objects is taken for
    text, whatever the objects are.
    """
    from pandas.api.types import infer_dtype, is_object_dtype

    from sklperturb.conditions._labels import as_text

    kind = infer_dtype(getattr(column.dtype, "categories", column), skipna=True)
    if kind in ("floating", "mixed-integer-float", "empty"):
        return column.astype("float64")  # a nullable one cannot be written
    if kind in ("boolean", "integer") and is_object_dtype(column):
        return column.astype({"boolean": "boolean", "integer": "Int64"}[kind])
    if kind in ("boolean", "integer", "string"):
        return column
    text = column.astype(object).map(as_text, na_action="ignore")
    return text.where(column.notna(), None)
