"""One ranked row for each model of a comparison."""

import pandas as pd
from sklearn.utils._param_validation import validate_params

from sklperturb.comparison._comparison import Comparison


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
        One row for each metric and model: its ``rank``, and the columns of the
        summary (see `Comparison`) but for ``greater_is_better`` and ``best_baseline``.
        Models that failed come last.

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
        part = part.drop(columns=["greater_is_better", "best_baseline"])
        part.insert(0, "rank", rank.astype(int))
        parts.append(part.sort_values("rank"))
    return pd.concat(parts, ignore_index=True)
