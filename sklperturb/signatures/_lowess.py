"""Cleveland's robust local regression, as the voom trend defines it."""

import numpy as np


def lowess(x, y, *, fraction=0.5, n_robust=3, delta=0.01):
    """Smooth a scatter plot by robust locally weighted lines.

    Parameters
    ----------
    x, y : ndarray of shape (n_points,)
    fraction : float
        Share of the points that a local line is fitted to.
    n_robust : int
        Times that points far from the curve are weighted down, and the curve refitted.
    delta : float
        Lines are fitted at points at least this share of the range of `x` apart, and
        the curve is linear in between.

    Returns
    -------
    x : ndarray of shape (n_points,)
        Sorted.
    fitted : ndarray of shape (n_points,)

    Notes
    -----
    The cut-offs are those of Cleveland's own program, which R and limma use.

    References
    ----------
    .. [1] Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots",
       Journal of the American Statistical Association, 1979.
       :doi:`10.1080/01621459.1979.10481038`
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order].astype(np.float64), y[order].astype(np.float64)
    n = len(x)
    n_near = max(min(n, int(fraction * n + 1e-7)), min(2, n))
    spread = x[-1] - x[0]
    anchors = _anchors(x, delta * spread)
    windows = [_window(x, anchor, n_near) for anchor in anchors]
    robustness = np.ones(n)
    for repeat in range(n_robust + 1):
        values = [
            _line_at(x, y, anchor, window, robustness, spread)
            for anchor, window in zip(anchors, windows, strict=True)
        ]
        fitted = np.interp(x, x[anchors], values)
        if repeat == n_robust:
            break
        size = np.abs(y - fitted)
        limit = 6.0 * np.median(size)
        if limit < 1e-7 * size.mean():
            break
        robustness = (1.0 - np.minimum(size / limit, 1.0) ** 2) ** 2
        robustness[size <= 0.001 * limit] = 1.0
        robustness[size > 0.999 * limit] = 0.0
    return x, fitted


def _anchors(x, delta):
    """Return the positions at which lines are fitted: the ends, and points between."""
    anchors, n = [0], len(x)
    while anchors[-1] < n - 1:
        # The last point within delta, but at least the next one that differs.
        last = np.searchsorted(x, x[anchors[-1]], side="right") - 1
        if last >= n - 1:
            break
        within = np.searchsorted(x, x[last] + delta, side="right") - 1
        anchors.append(max(last + 1, within))
    return np.array(anchors)


def _window(x, anchor, n_near):
    """Return the `n_near` points nearest to the anchor and those as near."""
    centre, n = x[anchor], len(x)
    starts = np.arange(max(0, anchor - n_near + 1), min(anchor, n - n_near) + 1)
    radius = np.maximum(centre - x[starts], x[starts + n_near - 1] - centre)
    h = radius.min()
    left = np.searchsorted(x, centre - 0.999 * h, side="left")
    right = np.searchsorted(x, centre + 0.999 * h, side="right")
    distance = np.abs(x[left:right] - centre)
    if h > 0:
        weight = (1.0 - (distance / h) ** 3) ** 3
        weight[distance <= 0.001 * h] = 1.0
    else:
        left, right = np.searchsorted(x, centre), np.searchsorted(x, centre, "right")
        weight = np.ones(right - left)
    return slice(left, right), weight


def _line_at(x, y, anchor, window, robustness, spread):
    """Evaluate the local line at the anchor."""
    near, weight = window
    weight = weight * robustness[near]
    total = weight.sum()
    if total <= 0:
        return y[anchor]
    weight /= total
    centre = weight @ x[near]
    offset = x[near] - centre
    variance = weight @ offset**2
    if np.sqrt(variance) > 0.001 * spread:
        weight = weight * (1.0 + (x[anchor] - centre) / variance * offset)
    return weight @ y[near]
