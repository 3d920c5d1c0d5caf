"""What is known of conditions, and what one measurement more would tell of others."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import linalg

from sklperturb.utils._threads import one_thread

# Rows of the covariance at a time: they stay in the cache.
_BLOCK = 128
# Candidates whose gain is worked out in full at a time.
_AT_ONCE = 64
# Gains that differ by less, relatively, are equal.
_EQUAL = 1e-5
# Blocks that are worked on at a time. More do not help: memory is the limit.
_N_THREADS = 2


class Posterior:
    r"""What is known of the responses to conditions, and what candidates would add.

    Responses are a Gaussian process. With a measurement of :math:`j`, whose noise is
    :math:`s_j`, covariances fall by

    .. math:: C_{tu} \leftarrow C_{tu} - \frac{C_{tj} C_{ju}}{C_{jj} + s_j}

    whatever is measured there: so a batch can be planned one after the other.

    Parameters
    ----------
    covariance : ndarray of shape (n_candidates, n_pool), float32
        Between candidates and the pool, of which the targets are the first columns.
        It is changed in place.
    variance, noise : ndarray of shape (n_pool,)
    place : ndarray of int of shape (n_candidates,)
        Columns of the candidates.
    weights : ndarray of shape (n_targets,)
        How much each target counts; of sum one.
    known : ndarray of bool of shape (n_pool,)
        What is measured.
    criterion : {"error", "remaining", "variance"}
    """

    def __init__(
        self, covariance, variance, noise, place, weights, known, criterion="error"
    ):
        self.covariance, self.place = covariance, place
        self.variance = np.array(variance, dtype=np.float64)
        self.noise = np.asarray(noise, dtype=np.float64)
        self.weights, self.known, self.criterion = weights, known.copy(), criterion
        self._pending = []

    def errors(self):
        """Return the expected error of each target, measured against a measurement."""
        n_targets = len(self.weights)
        return np.sqrt(self.variance[:n_targets] + self.noise[:n_targets])

    def mean_errors(self):
        """Return the mean error of all targets, and of those that are not measured."""
        errors, open_ = self.errors(), ~self.known[: len(self.weights)]
        rest = self.weights[open_]
        unmeasured = rest @ errors[open_] / rest.sum() if rest.sum() > 0 else np.nan
        return float(self.weights @ errors), float(unmeasured)

    def measure(self, rows):
        """Count candidates as measured, and return by how much errors of targets fall.

        Parameters
        ----------
        rows : sequence of int

        Returns
        -------
        drop : ndarray of shape (n_targets,)
        """
        before = self.errors()
        for row in rows:
            column = self._row(row)
            place = self.place[row]
            column /= np.sqrt(max(column[place], 0) + self.noise[place]) or 1.0
            self._pending.append(column.astype(np.float32))
            self.variance = np.maximum(self.variance - column**2, 0)
            self.known[place] = True
        return before - self.errors()

    def best(self, units, allowed, costs, rank):
        """Return the unit with the largest gain per cost, and that gain.

        Parameters
        ----------
        units : list of ndarray of int
            Candidates that are measured together.
        allowed : ndarray of bool of shape (n_units,)
        costs : ndarray of shape (n_units,)
        rank : ndarray of int of shape (n_units,)
            Of equal ones, the lowest is taken.

        Returns
        -------
        unit : int
        gain : float
        """
        numbers = np.flatnonzero(allowed)
        if any(len(unit) > 1 for unit in units):
            self._settle()
            gains = self._gains_of_groups([units[u] for u in numbers])
            return self._first(numbers, gains, costs, rank)
        rows = np.array([units[u][0] for u in numbers])
        most = self._limits()[rows]
        order = np.argsort(-most / costs[numbers], kind="stable")
        gains = np.full(len(numbers), -np.inf)
        best = -np.inf
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            if most[some[0]] / costs[numbers[some[0]]] < best * (1 - _EQUAL):
                break
            gains[some] = self._gains(rows[some])
            best = max(best, (gains[some] / costs[numbers[some]]).max())
        return self._first(numbers, gains, costs, rank)

    def gains(self, units):
        """Return the gain of each unit, were it the next."""
        self._settle()
        if any(len(unit) > 1 for unit in units):
            return self._gains_of_groups(units)
        rows = np.array([unit[0] for unit in units])
        parts = np.array_split(rows, len(rows) // _AT_ONCE + 1)
        return np.concatenate([self._gains(part) for part in parts if len(part)])

    def _first(self, numbers, gains, costs, rank):
        values = gains / costs[numbers]
        equal = np.flatnonzero(values >= values.max() - _EQUAL * abs(values.max()))
        chosen = equal[np.argmin(rank[numbers[equal]])]
        return int(numbers[chosen]), float(gains[chosen])

    def _row(self, row):
        """Return a row of the covariance as it is now."""
        column = self.covariance[row].astype(np.float64)
        for update in self._pending:
            column -= np.float64(update[self.place[row]]) * update
        return column

    def _settle(self):
        self._walk(lambda block, values: None)

    def _walk(self, see):
        """Bring blocks of rows up to date, and call ``see(rows, block)`` with each."""
        updates = np.array(self._pending) if self._pending else None

        def work(start):
            rows = slice(start, start + _BLOCK)
            block = self.covariance[rows]
            if updates is not None:
                block -= updates[:, self.place[rows]].T @ updates
            see(rows, block)

        starts = range(0, len(self.covariance), _BLOCK)
        if len(starts) > 8:
            # Threads of the products within these would wait for each other.
            with one_thread(), ThreadPoolExecutor(_N_THREADS) as threads:
                list(threads.map(work, starts))
        else:
            list(map(work, starts))
        self._pending = []

    def _counted(self):
        """Return the weights of targets, zero for those that count no more."""
        if self.criterion == "remaining":
            return np.where(self.known[: len(self.weights)], 0.0, self.weights)
        return self.weights

    def _limits(self):
        """Return what the gain of each candidate is at most.

        A measurement takes 1 - sqrt(1 - r) off an error, where r is the squared
        correlation with what would be measured of the target. That is at most
        r / (1 + sqrt(1 - m)) for all r up to m. The candidate itself, which may be a
        target, has another r than all others, and is put apart.
        """
        counted, errors = self._counted(), self.errors()
        n_targets, root = len(counted), self.criterion != "variance"
        over = _over(1.0, errors).astype(np.float32) if root else np.float32(1)
        slopes = (counted * errors if root else counted).astype(np.float32)
        total = self.variance[self.place] + self.noise[self.place]
        inside = self.place < n_targets
        sums, most = np.empty(len(total)), np.empty(len(total))

        def see(rows, block):
            squares = block[:, :n_targets] * over
            np.square(squares, out=squares)
            numbers = np.flatnonzero(inside[rows])
            squares[numbers, self.place[rows][numbers]] = 0
            sums[rows] = squares @ slopes
            most[rows] = squares.max(axis=1)

        self._walk(see)
        gains = _over(sums, total)
        if root:
            gains /= 1 + np.sqrt(1 - np.minimum(_over(most, total), 1))
        places = self.place[inside]
        own = _over(self.variance[places] ** 2, total[inside])
        if root:
            left = np.sqrt(np.maximum(errors[places] ** 2 - own, 0))
            own = errors[places] - (0 if self.criterion == "remaining" else left)
        gains[inside] += counted[places] * own
        return gains * (1 + _EQUAL)

    def _gains(self, rows):
        """Return the gains of candidates, exactly."""
        places = self.place[rows]
        total = self.variance[places] + self.noise[places]
        squares = np.square(self.covariance[rows, : len(self.weights)])
        squares *= _over(1.0, total)[:, None].astype(np.float32)
        return self._drops(squares, (np.arange(len(rows)), places))

    def _gains_of_groups(self, units):
        """Return the gains of candidates that are measured together, exactly."""
        n_targets, gains = len(self.weights), np.empty(len(units))
        for number, rows in enumerate(units):
            places = self.place[rows]
            block = self.covariance[rows].astype(np.float64)
            factor = _factor(block[:, places] + np.diag(self.noise[places]))
            told = linalg.solve_triangular(factor, block[:, :n_targets], lower=True)
            squares = np.einsum("ij,ij->j", told, told)[None]
            measured = np.zeros(len(rows), dtype=int), places
            gains[number] = self._drops(squares, measured)[0]
        return gains

    def _drops(self, squares, measured):
        """Return what falls, from what is explained of each target's variance.

        Parameters
        ----------
        squares : ndarray of shape (n_units, n_targets)
        measured : tuple of ndarray of int
            Units, and columns of the pool that are measured with them.
        """
        counted = self._counted()
        if self.criterion == "variance":
            return squares @ counted
        errors = self.errors().astype(squares.dtype)
        left = errors**2 - squares
        np.sqrt(np.maximum(left, 0, out=left), out=left)
        if self.criterion == "remaining":
            inside = measured[1] < len(counted)
            units, places = measured[0][inside], measured[1][inside]
            left[units, places] = 0
            squares[units, places] = errors[places] ** 2
        left += errors  # the drop is squares / (errors + left): nothing cancels out
        np.divide(squares, left, out=squares, where=left > 0)
        return squares @ counted.astype(squares.dtype)


def posterior_given(prior, between, noise):
    """Return the factor of what is measured, solved for others.

    Parameters
    ----------
    prior : ndarray of shape (n_measured, n_measured)
    between : ndarray of shape (n_measured, n_pool)
    noise : ndarray of shape (n_measured,)

    Returns
    -------
    told : ndarray of shape (n_measured, n_pool)
        Of which the products are what covariances fall by.
    """
    factor = _factor(np.asarray(prior, dtype=np.float64) + np.diag(noise))
    return linalg.solve_triangular(
        factor, np.asarray(between, dtype=np.float64), lower=True
    )


def condition(covariance, told, place):
    """Take off, in place, what is known from what is measured.

    Parameters
    ----------
    covariance : ndarray of shape (n_candidates, n_pool)
    told : ndarray of shape (n_measured, n_pool)
        As of `posterior_given`.
    place : ndarray of int of shape (n_candidates,)
    """
    told = told.astype(covariance.dtype)
    for start in range(0, len(covariance), 4 * _BLOCK):
        rows = slice(start, start + 4 * _BLOCK)
        covariance[rows] -= told[:, place[rows]].T @ told


def _factor(joint):
    """Return the Cholesky factor; without noise, of nearly the same matrix."""
    size = np.diag(joint).mean() or 1.0
    for jitter in (0.0, 1e-10, 1e-8, 1e-6, 1e-4):
        try:
            return linalg.cholesky(
                joint + jitter * size * np.eye(len(joint)), lower=True
            )
        except linalg.LinAlgError:
            continue
    raise ValueError(
        "The covariance of the conditions has negative eigenvalues: prior_covariance "
        "must be that of a kernel."
    )


def _over(numerator, denominator):
    """Return the quotient, zero where the denominator is none."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(
        numerator, denominator, out=np.zeros(shape), where=np.asarray(denominator) > 0
    )
