"""A leaderboard on the screen and on disk."""

from sklperturb.cli._app import log
from sklperturb.cli._tables import make_table, write


def render(table):
    rendered = make_table(
        ["rank", "model", "kind"],
        [
            f"{table['metric'].iloc[0]} (95 % interval)",
            "std",
            "from best baseline (95 %)",
            "rel. zeros",
            "fit s",
            "peak MB",
        ],
    )
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


def write_leaderboard(folder, table, folds):
    from sklperturb.inspection import LeaderboardDisplay

    write(folder / "leaderboard.csv", table.to_csv, index=False)
    write(folder / "leaderboard.parquet", table.to_parquet, index=False)
    write(folder / "folds.parquet", folds.to_parquet, index=False)
    try:
        figure = LeaderboardDisplay(table).plot().figure_
        write(folder / "leaderboard.png", figure.savefig, dpi=150)
    except ImportError as error:
        log.info(f"No plot: {error}")
