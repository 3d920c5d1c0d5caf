"""Deal cells into two halves, as if they had been measured twice."""


def two_halves(rows, random_state):
    """Return two random halves of some rows, of one size; an odd one is in neither.

    Parameters
    ----------
    rows : ndarray of int of shape (n,)
    random_state : RandomState

    Returns
    -------
    first, second : ndarray of int of shape (n // 2,)
    """
    rows = random_state.permutation(rows)
    half = len(rows) // 2
    return rows[:half], rows[half : 2 * half]
