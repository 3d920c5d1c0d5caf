"""One ranked row for each model of a comparison."""

# Columns of a comparison that repeat one value a model on each of its folds.
_OVER_ALL_FOLDS = [
    "kind",
    "ci_low",
    "ci_high",
    "difference",
    "difference_low",
    "difference_high",
    "relative_to_zeros",
    "greater_is_better",
]
LEADERBOARD_COLUMNS = [
    "rank",
    "model",
    "kind",
    "metric",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "difference",
    "difference_low",
    "difference_high",
    "relative_to_zeros",
    "fit_seconds",
    "peak_memory_mb",
]


def leaderboard(comparison):
    """Rank the models of a comparison, best first.

    Parameters
    ----------
    comparison : DataFrame
        As returned by `compare`.

    Returns
    -------
    table : DataFrame
        One row for each metric and model: ``rank``, ``model``, ``kind``, ``metric``,
        ``mean`` (over all held-out rows), ``std`` (over folds), ``ci_low``,
        ``ci_high``, ``difference``, ``difference_low``, ``difference_high`` (from the
        best baseline), ``relative_to_zeros``, ``fit_seconds`` (mean over folds),
        ``peak_memory_mb`` (largest). Models that failed come last.

    See Also
    --------
    compare : Makes the comparison.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.comparison import compare, leaderboard
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> table = leaderboard(compare(["no_change"], screen.X, screen.y, cv=2))
    >>> table["rank"].tolist()[:3]
    [1, 2, 3]
    """
    weighted = comparison.assign(value=comparison["value"] * comparison["n_rows"])
    keys = ["metric", "model"]
    grouped = weighted.groupby(keys, sort=False)
    table = grouped[_OVER_ALL_FOLDS].first()
    sums = grouped[["value", "n_rows"]].agg(lambda part: part.sum(skipna=False))
    table["mean"] = sums["value"] / sums["n_rows"]
    folds = comparison.groupby(keys, sort=False)
    table["std"] = folds["value"].std()
    table["fit_seconds"] = folds["fit_seconds"].mean()
    table["peak_memory_mb"] = folds["peak_memory_mb"].max()
    table = table.reset_index()
    signed = table["mean"].where(~table["greater_is_better"], -table["mean"])
    table["rank"] = (
        signed.groupby(table["metric"], sort=False)
        .rank(method="first", na_option="bottom")
        .astype(int)
    )
    metric_order = {m: i for i, m in enumerate(table["metric"].unique())}
    table = table.sort_values(
        ["metric", "rank"],
        key=lambda s: s.map(metric_order) if s.name == "metric" else s,
    )
    return table[LEADERBOARD_COLUMNS].reset_index(drop=True)
