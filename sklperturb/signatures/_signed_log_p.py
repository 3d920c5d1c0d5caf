"""Signed -log10 p-values, the response of OP2, and t statistics behind them."""

from numbers import Real

import numpy as np
from scipy import special

# Below exp(-600) a p-value nears the smallest float, and its logarithm comes from a
# continued fraction; above, scipy's incomplete beta function is exact and faster.
_FAR = -600.0
_LN10 = np.log(10.0)


def signed_log_p(p_value, direction, *, clip=None):
    r"""Turn two-sided p-values into signed :math:`-\log_{10} p`.

    Parameters
    ----------
    p_value : array-like of float
        Two-sided p-values, in [0, 1]. NaN stays NaN.
    direction : array-like of float
        Of the same shape, or of one that broadcasts to it. Only its sign is used: a
        log fold change or a t statistic. Where it is 0, so is the result.
    clip : float, default=None
        Limit the result to plus and minus this value. OP2's benchmark takes 4.

    Returns
    -------
    response : ndarray of float64

    Raises
    ------
    ValueError
        If a p-value is outside [0, 1] or `clip` is not positive.

    See Also
    --------
    signed_log_p_from_t : The same from t statistics, where p is too small to store.

    Notes
    -----
    A p-value of exactly 0 has underflowed, and gives an infinite response. Use
    :func:`signed_log_p_from_t` or `clip`.

    Examples
    --------
    >>> from sklperturb.signatures import signed_log_p
    >>> signed_log_p([0.01, 1e-7, 1.0], [-0.3, 2.0, 0.1], clip=4).tolist()
    [-2.0, 4.0, 0.0]
    """
    p_value = np.asarray(p_value, dtype=np.float64)
    outside = (p_value < 0) | (p_value > 1)
    if outside.any():
        raise ValueError(
            f"p_value has {int(outside.sum())} values outside [0, 1], such as "
            f"{p_value[outside].flat[0]!r}. Pass p-values that are not yet logarithms."
        )
    with np.errstate(divide="ignore"):
        magnitude = -np.log10(p_value)
    return _with_sign(magnitude, np.asarray(direction, dtype=np.float64), clip)


def signed_log_p_from_t(t, df, *, clip=None):
    r"""Turn t statistics into signed :math:`-\log_{10} p` of the two-sided test.

    Parameters
    ----------
    t : array-like of float
        NaN stays NaN.
    df : array-like of float
        Degrees of freedom, positive; ``inf`` is the normal distribution. Of the shape
        of `t`, or of one that broadcasts to it.
    clip : float, default=None
        Limit the result to plus and minus this value. OP2's benchmark takes 4.

    Returns
    -------
    response : ndarray of float64

    Raises
    ------
    ValueError
        If `df` or `clip` is not positive.

    See Also
    --------
    t_from_signed_log_p : The inverse.

    Notes
    -----
    The p-value is never formed, so nothing underflows or loses digits: the logarithm of
    the regularised incomplete beta function is taken from its complement near p = 1,
    and from its continued fraction [1]_ where p is smaller than about 1e-260.

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 8.17(v).
       https://dlmf.nist.gov/8.17.v

    Examples
    --------
    >>> from sklperturb.signatures import signed_log_p_from_t
    >>> signed_log_p_from_t([0.0, -2.0, 1000.0], df=420).round(3).tolist()
    [0.0, -1.336, 710.566]
    """
    t, df = _with_df(t, df)
    magnitude = -_log_p(np.abs(t), df) / _LN10
    return _with_sign(magnitude, t, clip)


def t_from_signed_log_p(response, df):
    r"""Turn signed :math:`-\log_{10} p` back into t statistics.

    Parameters
    ----------
    response : array-like of float
        Signed :math:`-\log_{10} p` of two-sided tests. NaN stays NaN, and an infinite
        value infinite. A clipped value gives the t statistic of the clip.
    df : array-like of float
        Degrees of freedom, positive; ``inf`` is the normal distribution. Of the shape
        of `response`, or of one that broadcasts to it.

    Returns
    -------
    t : ndarray of float64

    Raises
    ------
    ValueError
        If `df` is not positive.

    See Also
    --------
    signed_log_p_from_t : The inverse.

    Notes
    -----
    The round trip from t is exact to 1e-9 of t for t up to 1000 and 2 to 10,000 degrees
    of freedom; mostly to 1e-13.

    Examples
    --------
    >>> from sklperturb.signatures import signed_log_p_from_t, t_from_signed_log_p
    >>> response = signed_log_p_from_t([-3.5, 0.0, 800.0], df=12)
    >>> t_from_signed_log_p(response, df=12).round(6).tolist()
    [-3.5, 0.0, 800.0]
    """
    response, df = _with_df(response, df)
    return _with_sign(_t_from_log_p(-_LN10 * np.abs(response), df), response, None)


def _with_df(values, df):
    """Return both as arrays of one shape; refuse `df` that are not positive."""
    values, df = (np.asarray(a, dtype=np.float64) for a in (values, df))
    if not (df > 0).all():
        raise ValueError(
            f"df must be positive everywhere, got {df[~(df > 0)].flat[0]!r}. Pass the "
            "degrees of freedom of the test, or inf for a normal statistic."
        )
    return np.broadcast_arrays(values, df)


def _with_sign(magnitude, direction, clip):
    if clip is not None:
        if not isinstance(clip, Real) or not clip > 0:
            raise ValueError(f"clip={clip!r} must be a positive number or None.")
        magnitude = np.minimum(magnitude, clip)
    # A product would turn the infinite magnitude of a zero direction into NaN.
    signed = np.copysign(magnitude, direction)
    signed = np.where(direction == 0, 0.0, signed)
    return np.where(np.isnan(direction), np.nan, signed)


def _log_p(t, df):
    """Return log P(|T| > t), elementwise, for t >= 0."""
    log_p = np.empty(t.shape)
    normal = np.isinf(df)
    log_p[normal] = np.log(2.0) + special.log_ndtr(-t[normal])
    near_one = normal & (t < 0.1)
    log_p[near_one] = np.log1p(-special.erf(t[near_one] / np.sqrt(2.0)))

    rest = np.flatnonzero(~normal)
    t, df = t.ravel()[rest], df.ravel()[rest]
    a = df / 2
    log_x, x, z = _beta_arguments(t, df)
    with np.errstate(divide="ignore"):
        value = np.where(
            t < 0.7,
            np.log1p(-special.betainc(0.5, a, z)),
            np.log(special.betainc(a, 0.5, x)),
        )
    far = value < _FAR
    value[far] = _log_p_far(log_x[far], x[far], z[far], a[far])
    log_p.ravel()[rest] = np.minimum(value, 0.0)
    return log_p


def _beta_arguments(t, df):
    """Return log x, x and 1 - x for x = df / (df + t^2), each to full precision."""
    ratio = t / np.sqrt(df)
    with np.errstate(over="ignore", invalid="ignore"):
        log_x = np.where(
            ratio < 1e8, -np.log1p(ratio * ratio), -2.0 * np.log(np.maximum(ratio, 1.0))
        )
    return log_x, np.exp(log_x), -np.expm1(log_x)


def _log_p_far(log_x, x, z, a):
    """Return the logarithm of the incomplete beta function far in its tail."""
    log_p = a * log_x + 0.5 * np.log(z) - np.log(a) - special.betaln(a, 0.5)
    return log_p - np.log(_continued_fraction(x, a))


def _continued_fraction(x, a, b=0.5):
    """Evaluate the continued fraction of the incomplete beta function.

    Lentz's method; the fraction is ``1 + d_1 / (1 + d_2 / (1 + ...))`` and the function
    x^a (1 - x)^b / (a B(a, b)) divided by it. In the far tail some ten terms do.
    """
    value = np.ones_like(x)
    numerator, denominator = np.ones_like(x), np.zeros_like(x)
    for i in range(1, 1000):
        m = i // 2
        if i % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1.0 / (1.0 + d * denominator)
        numerator = 1.0 + d / numerator
        factor = numerator * denominator
        value *= factor
        if np.all(np.abs(factor - 1.0) < 1e-15):
            break
    return value


def _t_from_log_p(log_p, df):
    """Return t >= 0 with log P(|T| > t) = log_p, elementwise."""
    t = np.empty(log_p.shape)
    normal = np.isinf(df)
    t[normal] = -special.ndtri_exp(log_p[normal] - np.log(2.0))
    near_one = normal & (log_p > -0.1)
    t[near_one] = np.sqrt(2.0) * special.erfinv(-np.expm1(log_p[near_one]))

    rest = np.flatnonzero(~normal)
    log_p, df = log_p.ravel()[rest], df.ravel()[rest]
    a = df / 2
    # p < 0.5: through x = df / (df + t^2); else through 1 - x, small where t is.
    small = log_p < -np.log(2.0)
    x = special.betaincinv(a, 0.5, np.where(small, np.exp(log_p), 0.5))
    z = special.betaincinv(0.5, a, np.where(small, 0.5, -np.expm1(log_p)))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.sqrt(df * np.where(small, (1.0 - x) / x, z / (1.0 - z)))
    # Where x is near 1, as with many degrees of freedom, 1 - x has lost digits.
    polish = small & np.isfinite(log_p)
    far = log_p < _FAR
    value[far] = _leading_term(log_p[far], a[far], df[far])
    value[polish] = _newton(value[polish], log_p[polish], df[polish])
    value[np.isneginf(log_p)] = np.inf
    t.ravel()[rest] = value
    return t


def _leading_term(log_p, a, df):
    """Return a t that is too large, from the leading term of the far tail."""
    log_x = np.minimum((log_p + special.betaln(a, 0.5) + np.log(a)) / a, -1e-300)
    with np.errstate(over="ignore"):
        return np.sqrt(df * np.expm1(-log_x))


def _newton(t, log_p, df):
    """Solve log P(|T| > t) = log_p in log t.

    The function falls and is concave there, so that the steps approach the root from
    the right, and one step to the left of it leads to its right.
    """
    a = df / 2
    log_constant = -special.betaln(a, 0.5) - 0.5 * np.log(df) + np.log(2.0)
    active = np.flatnonzero(np.isfinite(t) & (t > 0))
    for _ in range(50):
        now = t[active]
        given = _log_p(now, df[active])
        log_x, _, _ = _beta_arguments(now, df[active])
        log_density = log_constant[active] + (a[active] + 0.5) * log_x
        slope = -np.exp(log_density - given + np.log(now))
        step = (given - log_p[active]) / slope
        t[active] = now * np.exp(-np.clip(step, -1.0, 1.0))
        active = active[np.abs(step) > 1e-13]
        if not len(active):
            break
    return t
