"""Multinomial components for rows of counts that share out a total."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import check_counts, namespace
from ..priors import Priors
from ..weight_priors import Dirichlet
from ..whole_numbers import is_whole
from .simplex import Simplex

KEPT = 19  # totals that predictions draw from, where rows have different ones


@dataclass(frozen=True)
class Multinomial(Simplex):
    r"""Multinomial components for rows of counts: how often each outcome occurred in the trials of a row.

    :math:`p(x \mid n) = \frac{n!}{\prod_d x_d!} \prod_d p_d^{x_d}` with :math:`n = \sum_d x_d` known for every row, and
    probabilities `p` of shape (cluster, feature) (Johnson, Kotz & Balakrishnan 1997, ch. 35). Where a value is negative
    or no whole number the log probability is -inf.

    Parameters
    ----------
    n : int or sequence of int, optional
        Totals of rows that are predicted: one, or several that are equally likely. The density takes each row's own.
        Left out it is taken from the data: their total if all rows have the same, otherwise 19 of theirs, evenly spread.
    p : Dirichlet, optional
        Prior of each component's probabilities, ``bm.Dirichlet`` or PreliZ's: one concentration, or one for each column.
        By default Dirichlet(1), uniform. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If n is no number of trials, or the prior not a Dirichlet distribution.
    """

    n: int | tuple | None = None
    p: object = None
    discrete = True
    multivariate = True
    dim = "feature"

    def __post_init__(self):
        super().__post_init__()
        if self.n is None or is_whole(self.n):
            return
        if (
            not np.iterable(self.n)
            or isinstance(self.n, str)
            or not len(self.n)
            or not all(is_whole(i, 0) for i in self.n)
        ):
            raise ValueError(f"n={self.n!r} but it must be a number of trials, at least 1, or several, or None.")
        object.__setattr__(self, "n", tuple(int(i) for i in self.n))

    def resolved(self, data):
        """With the totals of the rows of the data."""
        if self.n is not None:
            return self
        rows: Any = data
        if not hasattr(data, "values"):  # not in memory
            rows = rows.sample
        known = rows.values if rows.weights is None else rows.values[rows.weights > 0]
        totals = known.sum(axis=1)
        if totals.min() == totals.max() >= 1:
            return replace(self, n=int(totals[0]))
        kept = np.quantile(totals, (np.arange(KEPT) + 0.5) / KEPT, method="inverted_cdf")
        return replace(self, n=tuple(int(total) for total in kept))

    def n_outcomes(self, n_features):
        """Number of columns."""
        return n_features

    def n_features_of(self, params):
        """Number of columns."""
        return np.shape(params["p"])[-1]

    def check_data(self, data, n_components):
        """At least two columns of nonnegative whole numbers, not all zero; with the total n if there is one."""
        check_counts(data, self)
        if data.n_features < 2:
            raise ValueError(
                "Multinomial shares a total out over columns, but the data have 1; use bm.Binomial(n=...)."
            )
        totals = data.values.sum(axis=1)
        if not totals.any():
            raise ValueError("all counts are zero: there is not one trial to learn probabilities from.")
        wrong = totals != self.n
        if isinstance(self.n, int) and wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"Multinomial(n={self.n}) describes rows that sum to {self.n}, but {int(wrong.sum())} of {len(totals)} do "
                f"not; the first, row {row}, sums to {totals[row]:g}. Leave n out to take every row's own total."
            )

    def statistics(self, x):
        """The counts themselves."""
        return x

    def log_base_measure(self, x):
        """Logarithm of the multinomial coefficient."""
        return _log_coefficient(namespace(x), x)

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, feature), p (..., cluster, feature) -> (..., obs, cluster)."""
        p = params["p"]
        xp = namespace(x, p)
        is_count = (x >= 0) & xp.equal(xp.floor(x), x)
        possible = xp.sum(xp.where(is_count, 0.0, 1.0), -1) <= 0
        count = xp.where(is_count, x, 0.0)
        shares = xp.sum(xp.xlogy(count[..., None, :], p), -1)
        return xp.where(possible[..., None], _log_coefficient(xp, count)[..., None] + shares, -np.inf)

    # -- prediction, given totals --------------------------------------------------------------------------------------
    @property
    def _totals(self):
        if self.n is None:
            raise ValueError("predictions need the number of trials of a row: give it, bm.Multinomial(n=...).")
        return np.atleast_1d(self.n)

    def cdf(self, x, params):
        """P(X <= x in every column), averaged over the totals."""
        p = np.asarray(params["p"], dtype=float)
        one = np.vectorize(_cdf, signature="(d),(d),()->()")
        values = [one(np.asarray(x)[..., None, :], p, n) for n in self._totals]
        return np.mean(values, axis=0)

    def marginal_cdf(self, x, params, feature):
        """Binomial, averaged over the totals."""
        from scipy.special import bdtr

        p = np.asarray(params["p"], dtype=float)[..., feature]
        return _mean_binomial_cdf(bdtr, np.asarray(x)[:, None], self._totals, p)

    def marginal_quantile(self, q, params):
        """Smallest count at which the marginal cdf reaches q, by bisection."""
        from scipy.special import bdtr

        p = np.asarray(params["p"], dtype=float)
        low, high = np.full(p.shape, -1.0), np.full(p.shape, float(self._totals.max()))
        while np.any(high - low > 1):
            middle = np.floor(0.5 * (low + high))
            reached = _mean_binomial_cdf(bdtr, middle, self._totals, p) >= q
            apart = high - low > 1
            low, high = np.where(apart & ~reached, middle, low), np.where(apart & reached, middle, high)
        return high

    def sample(self, params, rng):
        """One row of counts per row of the parameters, (rows, feature)."""
        p = np.asarray(params["p"], dtype=float)
        totals = self._totals[rng.integers(len(self._totals), size=len(p))]
        return rng.multinomial(totals, p / p.sum(axis=-1, keepdims=True)).astype(float)

    def default_priors(self, data, n_components):
        """See the class."""
        return Priors({"p": Dirichlet(1.0)}, {"p": "uniform over the simplex"})

    def pymc_dist(self, params):
        """PyMC's distribution of the same name; each row's total is one of those that predictions draw from."""
        import pymc as pm
        import pytensor.tensor as pt

        p = pt.as_tensor_variable(params["p"])
        if len(self._totals) == 1:
            return pm.Multinomial.dist(n=int(self._totals[0]), p=p)
        which = pm.DiscreteUniform.dist(0, len(self._totals) - 1, size=p.shape[:-1])
        return pm.Multinomial.dist(n=pt.as_tensor_variable(self._totals)[which], p=p)


def _log_coefficient(xp, x):
    """Log n! / prod x!, (..., feature) -> (...)."""
    return xp.gammaln(xp.sum(x, -1) + 1.0) - xp.sum(xp.gammaln(x + 1.0), -1)


def _mean_binomial_cdf(bdtr, x, totals, p):
    """Mean over totals of the binomial distribution function at x, which broadcasts with p."""
    count = np.floor(x)
    parts = [np.where(count >= n, 1.0, np.where(count >= 0, bdtr(np.clip(count, 0, n), n, p), 0.0)) for n in totals]
    return np.mean(parts, axis=0)


def _cdf(x, p, n):
    """P(X <= x) for one row: of independent Poisson counts of rates n p, given that their sum is n (Levin 1981)."""
    from scipy.stats import poisson

    most = np.minimum(np.floor(x), n)
    if np.any(most < 0) or most.sum() < n:
        return 0.0
    total = np.ones(1)
    for top, rate in zip(most.astype(int), n * p, strict=True):
        total = np.convolve(total, poisson.pmf(np.arange(top + 1), rate))[: n + 1]
    return min(1.0, total[n] / poisson.pmf(n, n))
