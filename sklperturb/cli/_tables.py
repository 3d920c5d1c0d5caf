"""A leaderboard on the screen and on disk."""

import contextlib

from rich.table import Table

from sklperturb.cli._app import log, out


def render(table):
    rendered = Table(box=None, pad_edge=False)
    for column in ("rank", "model", "kind"):
        rendered.add_column(column, no_wrap=True)
    for column in (
        f"{table['metric'].iloc[0]} (95 % interval)",
        "std",
        "from best baseline (95 %)",
        "rel. zeros",
        "fit s",
        "peak MB",
    ):
        rendered.add_column(column, justify="right", no_wrap=True)
    for row in table.itertuples():
        rendered.add_row(
            str(row.rank),
            row.model,
            row.kind,
            f"{row.mean:.4f} ({row.ci_low:.3f}, {row.ci_high:.3f})",
            f"{row.std:.3f}",
            _difference(row),
            f"{row.relative_to_zeros:.3f}",
            f"{row.fit_seconds:.1f}",
            f"{row.peak_memory_mb:.0f}",
        )
    return rendered


def _difference(row):
    if row.difference != row.difference:  # no baseline, or a failed model
        return "-"
    if row.difference_low != row.difference_low:
        return f"{row.difference:+.4f}"
    return (
        f"{row.difference:+.4f} ({row.difference_low:+.3f}, {row.difference_high:+.3f})"
    )


def write_tables(folder, table, comparison):
    from sklperturb.utils._atomic import written_whole

    with written_whole(folder / "leaderboard.csv") as path:
        table.to_csv(path, index=False)
    with written_whole(folder / "leaderboard.parquet") as path:
        table.to_parquet(path, index=False)
    with written_whole(folder / "folds.parquet") as path:
        comparison.folds.to_parquet(path, index=False)
    names = ["leaderboard.csv", "leaderboard.parquet", "folds.parquet"]
    try:
        names.append(_write_plot(folder / "leaderboard.png", table))
    except ImportError as error:
        log.info(f"No plot: {error}")
    for name in names:
        out.print(f"{folder / name}")


def _write_plot(path, table):
    from sklperturb.inspection import LeaderboardDisplay
    from sklperturb.utils._atomic import written_whole

    with contextlib.suppress(ImportError):
        import matplotlib

        matplotlib.use("Agg")
    figure = LeaderboardDisplay(table).plot().figure_
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
    return path.name
