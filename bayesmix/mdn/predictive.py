"""Mixtures whose weights and parameters differ from row to row, and from draw to draw: what a network predicts."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import namespace
from ..components import Component, MvNormal, Normal, Product
from ..prediction import choose, log_mean_exp

BISECTIONS = 60
FAR_KNOTS = np.array([1e-9, 1e-6, 1e-4, 1e-3, 0.01])
KNOTS = np.concatenate([FAR_KNOTS, np.linspace(0.03, 0.97, 21), 1.0 - FAR_KNOTS[::-1]])
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
GRID = 400  # points on which modes are looked for
PAIRS = 250_000  # pairs of components of a row up to which the CRPS of normal components is taken in closed form
FAR = 1.0 - 1e-10  # of a law of counts, what is beyond is left out of sums


@dataclass(frozen=True, eq=False)
class Predictive:
    """A mixture for each row and each draw.

    Attributes
    ----------
    families : tuple of Component
    kinds : ndarray (cluster,)
        Which family each component is of.
    log_weights : ndarray (draw, obs, cluster)
    params : tuple of dict
        For each family the parameters of its components, (draw, obs, own cluster, ...).
    """

    families: tuple[Component, ...]
    kinds: np.ndarray
    log_weights: np.ndarray
    params: tuple[dict, ...]

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return self.log_weights.shape[1]

    @property
    def weights(self) -> np.ndarray:
        """Weights (draw, obs, cluster)."""
        return np.exp(self.log_weights)

    def each(self, function: Callable) -> np.ndarray:
        """function(family, params) -> (draw, obs, own cluster, ...) of every family, in the order of the components."""
        found: Any = None
        for which, (family, params) in enumerate(zip(self.families, self.params, strict=True)):
            value = np.asarray(function(family, params))
            if found is None:
                found = np.empty((*value.shape[:2], len(self.kinds), *value.shape[3:]))
            found[:, :, self.kinds == which] = value
        return found

    def take(self, rows) -> "Predictive":
        """The mixtures of some rows."""
        params = tuple({name: value[:, rows] for name, value in one.items()} for one in self.params)
        return replace(self, log_weights=self.log_weights[:, rows], params=params)

    # -- density and distribution ----------------------------------------------------------------------------------------
    def log_densities(self, y: np.ndarray) -> np.ndarray:
        """Log density of responses y (obs, column) at each draw, in nats: (draw, obs)."""
        joint = self.log_weights + self.each(lambda family, params: family.log_density(y, params))
        return namespace(joint).logsumexp(joint, axis=-1)

    def log_density(self, y) -> np.ndarray:
        """Logarithm of the density averaged over draws, (obs,)."""
        return log_mean_exp(self.log_densities(y), axis=0)

    def cdfs(self, y: np.ndarray) -> np.ndarray:
        """Probability of a response <= y (obs,) at each draw, (draw, obs), of one response."""
        return (self.weights * self.each(lambda family, params: family.cdf(y[:, None], params))).sum(axis=-1)

    def cdf(self, y) -> np.ndarray:
        """Probability of a response <= y, averaged over draws, (obs,)."""
        return self.cdfs(y).mean(axis=0)

    @property
    def discrete(self) -> bool:
        """Is the response a count or a category?"""
        return self.families[0].discrete

    @functools.cached_property
    def _ends(self):
        """Rows' smallest and largest quantiles of components, as functions of the probability."""

        @functools.lru_cache(maxsize=32)
        def ends(p):
            q = self.each(lambda family, params: family.marginal_quantile(p, params)[..., 0])
            q = np.where(self.log_weights > -np.inf, q, np.nan)
            return np.nanmin(q, axis=(0, 2)), np.nanmax(q, axis=(0, 2))

        return ends

    def quantile(self, p: float) -> np.ndarray:
        """Quantile of the averaged distribution, (obs,): the smallest response whose cdf reaches p."""
        low, high = (np.array(end) for end in self._ends(p))
        if self.discrete:
            low = low - 1.0
        for _ in range(BISECTIONS):
            middle = low + 0.5 * (high - low)
            middle = np.floor(middle) if self.discrete else middle
            inside = (middle > low) & (middle < high)
            if not inside.any():
                break
            reached = self.cdf(middle) >= p
            high, low = np.where(inside & reached, middle, high), np.where(inside & ~reached, middle, low)
        return high

    # -- moments ---------------------------------------------------------------------------------------------------------
    def means_and_variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the response at each draw, (draw, obs, column) each."""
        mean = self.each(lambda family, params: _moments(family, params)[0])
        variance = self.each(lambda family, params: _moments(family, params)[1])
        weights = self.weights[..., None]
        center = (weights * mean).sum(axis=2)
        return center, (weights * (variance + (mean - center[:, :, None]) ** 2)).sum(axis=2)

    # -- other ways to see it --------------------------------------------------------------------------------------------
    def marginal(self, j: int) -> "Predictive":
        """The mixture of one column of the response."""
        made = [_marginal(family, params, j) for family, params in zip(self.families, self.params, strict=True)]
        return replace(self, families=tuple(one[0] for one in made), params=tuple(one[1] for one in made))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n responses for each row, each from a draw of the parameters picked at random: (n, obs, column)."""
        rows = np.tile(np.arange(self.n_obs), n)
        draw = rng.integers(len(self.log_weights), size=len(rows))
        labels = choose(self.weights[draw, rows], rng)
        found: Any = None
        for which, (family, params) in enumerate(zip(self.families, self.params, strict=True)):
            own = np.flatnonzero(self.kinds[labels] == which)
            at = np.searchsorted(np.flatnonzero(self.kinds == which), labels[own])
            values = family.sample({name: value[draw[own], rows[own], at] for name, value in params.items()}, rng)
            if found is None:
                found = np.empty((len(rows), values.shape[1]))
            found[own] = values
        return found.reshape(n, self.n_obs, -1)

    def pit(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Probability integral transform of one response, (obs,): uniform if the predictions are right.

        Of counts and categories a uniform point between the cdf below and at the response (Czado, Gneiting & Held 2009).
        """
        if not self.discrete:
            return self.cdf(y)
        below, at = self.cdf(y - 1.0), self.cdf(y)
        return below + rng.random(len(y)) * (at - below)

    def crps(self, y: np.ndarray) -> np.ndarray:
        r"""Continuous ranked probability score, (obs,), in units of the response; smaller is better.

        .. math:: \int (F(t) - 1[t \ge y])^2 dt = E|Y - y| - \tfrac12 E|Y - Y'|

        (Gneiting & Raftery 2007, eqs. 20 and 21). In closed form for normal components (Grimit et al. 2006), if a row has
        few; a sum for counts; otherwise by Gauss's rule between quantiles, to about 1e-5 of it.
        """
        if all(isinstance(family, Normal) for family in self.families):
            if (len(self.log_weights) * len(self.kinds)) ** 2 <= PAIRS:
                return self._crps_of_normals(y)
        if self.discrete:
            return self._crps_of_counts(y)
        knots = np.array([self.quantile(p) for p in KNOTS])
        knots = np.sort(np.concatenate([knots, np.clip(y, knots[0], knots[-1])[None]]), axis=0)
        total = np.maximum(knots[0] - y, 0.0) + np.maximum(y - knots[-1], 0.0)
        for low, high in zip(knots, knots[1:], strict=False):
            half, middle = 0.5 * (high - low), 0.5 * (high + low)
            for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
                at = middle + half * node
                total = total + weight * half * (self.cdf(at) - (at >= y)) ** 2
        return total

    def _crps_of_normals(self, y):
        from scipy.special import ndtr

        def distance(d, variance):
            """E|Z| of Z ~ Normal(d, variance)."""
            sd = np.sqrt(variance)
            z = d / sd
            return sd * (2.0 * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)) + d * (2.0 * ndtr(z) - 1.0)

        w = np.moveaxis(self.weights, 1, 0).reshape(self.n_obs, -1) / len(self.log_weights)
        mu, sigma = (
            np.moveaxis(self.each(lambda family, params, n=name: params[n]), 1, 0).reshape(self.n_obs, -1)
            for name in ("mu", "sigma")
        )
        first = (w * distance(y[:, None] - mu, sigma**2)).sum(axis=1)
        second = np.empty(self.n_obs)
        for i in range(self.n_obs):
            pairs = distance(mu[i][:, None] - mu[i], sigma[i][:, None] ** 2 + sigma[i] ** 2)
            second[i] = w[i] @ pairs @ w[i]
        return first - 0.5 * second

    def _crps_of_counts(self, y):
        low = np.minimum(self.quantile(1.0 - FAR), y)
        high = np.maximum(self.quantile(FAR), y)
        total = np.zeros(len(y))
        for step in range(int((high - low).max()) + 1):
            at = low + step
            total += np.where(at < high, (self.cdf(at) - (at >= y)) ** 2, 0.0)
        return total

    def modes(self) -> list[np.ndarray]:
        """Places of the local maxima of each row's averaged density, the highest first."""
        low, high = self.quantile(1e-3), self.quantile(1.0 - 1e-3)
        if self.discrete:
            return self._modes_of_counts(low, high)
        share = np.linspace(0.0, 1.0, GRID)[:, None]
        points = (low - 0.1 * (high - low)) + share * 1.2 * (high - low)
        density = np.array([self.log_density(x[:, None]) for x in points])
        found = []
        for i in range(self.n_obs):
            d, x = density[:, i], points[:, i]
            at = np.flatnonzero((d[1:-1] > d[:-2]) & (d[1:-1] >= d[2:])) + 1
            if not at.size:
                at = np.array([int(np.argmax(d))])
                found.append(x[at])
                continue
            bend = d[at - 1] - 2.0 * d[at] + d[at + 1]  # the top of the parabola through three points
            top = x[at] + np.where(bend < 0, 0.5 * (d[at - 1] - d[at + 1]) / bend, 0.0) * (x[1] - x[0])
            found.append(top[np.argsort(-d[at])])
        return found

    def _modes_of_counts(self, low, high):
        steps = int((high - low).max()) + 3
        points = (low - 1.0) + np.arange(steps)[:, None]
        density = np.array([self.log_density(x[:, None]) for x in points])
        found = []
        for i in range(self.n_obs):
            d = np.concatenate([[-np.inf], density[:, i], [-np.inf]])
            at = np.flatnonzero((d[1:-1] > d[:-2]) & (d[1:-1] >= d[2:]))
            found.append(points[at[np.argsort(-density[at, i])], i])
        return found


def _moments(family, params):
    """Mean and variance of components, (..., cluster, column) each."""
    if isinstance(family, MvNormal):
        return params["mu"], np.diagonal(params["cov"], axis1=-2, axis2=-1)
    if isinstance(family, Product):
        each = [_moments(part.component, own) for part, own in family.each(params)]
        return tuple(np.concatenate(one, axis=-1) for one in zip(*each, strict=True))
    mean, variance = family.mean_and_variance(params)
    return np.asarray(mean)[..., None], np.asarray(variance)[..., None]


def _marginal(family, params, j):
    """The family of one column, and its parameters."""
    if isinstance(family, MvNormal):
        return Normal(), {"mu": params["mu"][..., j], "sigma": np.sqrt(params["cov"][..., j, j])}
    if isinstance(family, Product):
        part, at = family.of_feature(j)
        return _marginal(part.component, family.own(part, params), at)
    return family, params
