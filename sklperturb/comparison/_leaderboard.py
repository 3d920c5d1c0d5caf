"""One ranked row for each model of a comparison."""

import pandas as pd
from sklearn.utils._param_validation import validate_params

from sklperturb.comparison._comparison import Comparison

_COLUMNS = [
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


@validate_params({"comparison": [Comparison]}, prefer_skip_nested_validation=True)
def leaderboard(comparison):
    """Rank the models of a comparison, best first.

    Parameters
    ----------
    comparison : Comparison
        As returned by `compare`.

    Returns
    -------
    table : DataFrame
        One row for each metric and model, with its ``rank`` in front of the columns
        of the summary (see `Comparison`). Models that failed come last.

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
    parts = []
    for _, part in comparison.summary.groupby("metric", sort=False):
        rank = part["mean"].rank(
            method="first",
            na_option="bottom",
            ascending=not part["greater_is_better"].iloc[0],
        )
        parts.append(part.assign(rank=rank.astype(int)).sort_values("rank"))
    return pd.concat(parts, ignore_index=True)[_COLUMNS]
