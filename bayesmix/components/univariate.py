"""What families of one column share: parameters that are single numbers, a density as a formula, and all the rest of it.

A family of this kind states its parameters, its log density with the namespace, where its parameters start from, its
default priors, and SciPy's distribution of the same name. From these follow the compiled pass, free coordinates, the
M-step, prediction and the PyMC model.
"""

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..arrays import check_counts, check_not_constant, check_one_column
from ..expressions import parameter
from ..likelihood.ascent import newton, parameters_at
from ..likelihood.generate import Formula, trace
from ..priors import REAL, Prior, Priors, ScaledInverseChiSquared
from .base import Component, Guard, Rows, Statistics, full_shape
from .normal import _weights, midrange, moments, shared_scale

MOST_STEPS = 60  # of Newton's method, in one M-step on given responsibilities
SNAP = 1e-12  # relative distance from the end of how far EM goes that is rounding
SETTLED = 1e-10  # expected gain of a step, in nats per row, below which it is the last


class Moments(NamedTuple):
    """Weighted moments of the rows of each component, (cluster,) each: what families start from."""

    mean: np.ndarray
    variance: np.ndarray
    smallest: float  # of all rows with weight
    largest: float
    skewness: np.ndarray


@dataclass(frozen=True)
class Univariate(Component):
    """A family of one column whose parameters are single numbers, (cluster,) each.

    Free coordinates are the parameters themselves, their logarithms (positive ones), or the logarithms of the ratio of
    the distances to both ends (those in an interval): all components' first parameter, then their second, and so on.
    """

    numeric = True
    closed: ClassVar[bool] = False  # do the ends of the support belong to it?
    collapses_at_ends: ClassVar[bool] = False  # can a component collapse onto rows at an end of the support alone?

    # -- what a family states ------------------------------------------------------------------------------------------
    @abstractmethod
    def start(self, moments: Moments) -> dict:
        """Rough parameters (cluster,) for components with these moments: Newton's method goes on from there."""

    @abstractmethod
    def scipy(self, params: dict) -> Any:
        """SciPy's frozen distribution at these parameters, which broadcast."""

    def spread(self, params: dict):
        """A width of the component that goes to zero where it collapses, by the namespace; None if it cannot."""
        return None

    def support(self) -> tuple[float, float]:
        """Smallest interval that holds all values of positive density; its ends belong to it if `closed`."""
        return REAL

    # -- checks --------------------------------------------------------------------------------------------------------
    def check_data(self, data, n_components):
        """One column, within the support; not constant, whole numbers where the family is of counts."""
        check_one_column(data, self)
        if self.discrete:
            check_counts(data, self)
        low, high = self.support()
        x = _counted(data)
        inside = (x >= low) & (x <= high) if self.closed or self.discrete else (x > low) & (x < high)
        if not np.all(inside):
            where = int(np.flatnonzero(~inside)[0])
            ends = " (these ends do not belong to it)" if np.any((x == low) | (x == high)) else ""
            raise ValueError(
                f"{type(self).__name__} describes values between {low:g} and {high:g}{ends}, but {int((~inside).sum())} of "
                f"{len(x)} rows are not there; the first is {x[where]:g}."
            )
        if self._can_collapse and (not self.collapses_at_ends or self._at_ends(data).all()):
            check_not_constant(data, self)

    def _at_ends(self, data):
        """Is a row, of positive weight, at an end of the support?"""
        x, (low, high) = _counted(data), self.support()
        return (x == low) | (x == high)

    def check_parameters(self, params, n_components):
        """Each parameter of shape (n_components,), within its interval."""
        checked = {}
        for p in self.parameters:
            value = full_shape(params[p.name], (n_components,), p.name, f"{n_components} components")
            low, high = p.support
            if np.any((value <= low) | (value >= high)):
                bad = value[(value <= low) | (value >= high)][0]
                raise ValueError(f"{p.name} must lie between {low:g} and {high:g}, but it holds {bad:g}.")
            checked[p.name] = value
        return checked

    # -- prediction ----------------------------------------------------------------------------------------------------
    def cdf(self, x, params):
        """Distribution function of each component, by SciPy."""
        return self.scipy(params).cdf(x)

    def marginal_cdf(self, x, params, feature):
        """The cdf itself: there is one feature."""
        return self.cdf(np.asarray(x)[:, None], params)

    def marginal_quantile(self, q, params):
        """Quantile of each component, (..., cluster, 1)."""
        return self.scipy(params).ppf(q)[..., None]

    def sample(self, params, rng):
        """One value per row of the parameters, (rows, 1)."""
        size = next(iter(params.values())).shape
        return np.asarray(self.scipy(params).rvs(size=size, random_state=rng), dtype=float)[:, None]

    # -- the pass ------------------------------------------------------------------------------------------------------
    @property
    def formula(self) -> Formula:
        """The log density, traced."""
        return _formula_of(self)

    @property
    def kernel(self):
        """The pass written from the formula."""
        return self.formula.name

    def rows(self, data):
        """Distinct counts with their weights where the family is of counts; the columns that the pass reads."""
        x, weights = data.values, _weights(data)
        if self.discrete:
            x, where = np.unique(x[:, 0], return_inverse=True)
            weights = np.bincount(where.ravel(), weights=data.weights, minlength=len(x)).astype(float)
            x = x[:, None]
        return Rows(self.formula.prepare(x), weights, 0.0)

    def kernel_arguments(self, params):
        """The parameters side by side, (cluster, parameter), and nothing."""
        stacked = np.stack([np.asarray(params[p.name], dtype=float) for p in self.parameters], axis=-1)
        return stacked, np.zeros((*stacked.shape[:-1], 0))

    def expected_statistics(self, missing=False):
        """The pass of second order, whose second statistics are the expected Hessian in the parameters."""
        return self.formula.functions.second

    # -- the M-step ----------------------------------------------------------------------------------------------------
    def initial_params(self, data, n_components):
        """Parameters for all of the data, the same for every component."""
        ones = np.full((data.n_obs, n_components), 1.0) if data.weights is None else data.weights[:, None]
        return self.start_given(data, np.broadcast_to(ones, (data.n_obs, n_components)))

    def start_given(self, data, responsibilities):
        """Parameters from the moments of the rows weighted by responsibilities (obs, cluster)."""
        x, w = data.values, np.asarray(responsibilities, dtype=float)
        total = w.sum(axis=0)
        every = data.weights if data.weights is not None else np.ones(len(x))
        mean0 = np.average(x[:, 0], weights=every)
        variance0 = np.average((x[:, 0] - mean0) ** 2, weights=every)
        share = np.where(total > 0, total, 1.0)
        mean = np.where(total > 0, (w * (x - mean0)).sum(axis=0) / share, 0.0) + mean0
        variance = np.where(total > 0, (w * (x - mean) ** 2).sum(axis=0) / share, variance0)
        floor = max(1e-6 * variance0, 1e-300)
        seen = x[every > 0, 0]
        cubes = np.where(total > 0, (w * (x - mean) ** 3).sum(axis=0) / share, 0.0)
        variance = np.maximum(variance, floor)
        moments = Moments(mean, variance, float(seen.min()), float(seen.max()), cubes / variance**1.5)
        params = self.start(moments)
        return {p.name: np.asarray(params[p.name], dtype=float) * np.ones(w.shape[1]) for p in self.parameters}

    def m_step(self, params, statistics, guard=None):
        """One Newton step up the expected log-likelihood, from its gradient and Hessian at `params`.

        As generalised EM that is as good as the maximum near the optimum (Lange 1995); farther off the step is bounded,
        and `bayesmix.engines.climb` halves it where the likelihood would fall.
        """
        if guard is not None:
            statistics = self.with_guard(params, statistics, guard)
        a, scale = self.kernel_arguments(params)[0], self.coordinate_scale(params).reshape(len(self.parameters), -1).T
        low, high, least, most = self._bounds
        _, n, first, second = statistics
        moved, _ = newton(a, n, first, second, low, high, least, most, np.ascontiguousarray(scale))
        return self._named(parameters_at(moved, low, high, least, most))

    def maximise_given(self, data, responsibilities, guard=None):
        """Parameters that maximise the expected log-likelihood, for responsibilities (obs, cluster) times row weights."""
        params = self.start_given(data, responsibilities)
        n_guard, square = (0.0, 0.0) if guard is None else (float(guard.n), float(np.ravel(guard.second)[0]))
        a, best = self.formula.functions.maximise(
            self.formula.prepare(data.values),
            np.ascontiguousarray(responsibilities, dtype=float),
            self.kernel_arguments(params)[0],
            n_guard, square, *self._bounds, np.array([p.moves for p in self.parameters]), MOST_STEPS, SETTLED,
        )  # fmt: skip
        if not np.isfinite(best):
            raise ValueError(f"{self} has no finite density at its starting parameters {params}.")
        return self._named(a)

    @property
    def _bounds(self):
        """Lower and upper ends of the parameters, and how far EM goes, (parameter,) each."""
        ends = np.array([(*p.support, *p.reach) for p in self.parameters], dtype=float)
        return tuple(np.ascontiguousarray(column) for column in ends.T)

    def _named(self, a):
        """Parameters by name from (..., cluster, parameter)."""
        return {p.name: np.ascontiguousarray(a[..., i]) for i, p in enumerate(self.parameters)}

    # -- the guard -----------------------------------------------------------------------------------------------------
    def _of_guard(self, params, guard):
        """Value, gradient and Hessian of the guard in the parameters of each component."""
        square = float(np.ravel(guard.second)[0])
        return self.formula.functions.guard(self.kernel_arguments(params)[0], float(guard.n), square)

    def guard_value(self, params, guard):
        """Log density of normal rows about a component's own centre: n (-log s) - second / (2 s^2), s the spread."""
        return float(self._of_guard(params, guard)[0].sum())

    def guard_score(self, params, guard):
        """Gradient of the guard in the parameters."""
        first = self._of_guard(params, guard)[1]
        return first, np.zeros((len(first), 0))

    def with_guard(self, params, statistics, guard):
        """The expected gradient and Hessian with those of the guard."""
        log_likelihood, n, first, second = statistics
        _, of_first, of_second = self._of_guard(params, guard)
        return Statistics(log_likelihood, n, first + of_first, second + of_second)

    def guard(self, data, strength):
        """Rows of the spread that one component for all data has; None where no rows are there to collapse onto."""
        if not self._can_collapse or (self.collapses_at_ends and not self._at_ends(data).any()):
            return None
        whole = self.initial_params(data, 1)
        return Guard(strength, strength * np.atleast_1d(np.asarray(self.spread(whole), dtype=float) ** 2))

    def guard_around(self, params, strength):
        """Rows of the spread pooled within the components."""
        pooled = params["weights"] @ np.asarray(self.spread(params), dtype=float) ** 2
        return Guard(strength, strength * np.atleast_1d(pooled))

    @property
    def _can_collapse(self):
        return self.formula.spreads[0] is not None

    def collapsed(self, params, data):
        """Squared spread of each component over that pooled within components."""
        if not self._can_collapse:
            return np.ones(len(params["weights"]))
        squared = np.asarray(self.spread(params), dtype=float) ** 2
        return squared / (params["weights"] @ squared)

    def thin_direction(self, params, k):
        """There is one column."""
        return np.ones(1) if self._can_collapse else None

    # -- free coordinates ----------------------------------------------------------------------------------------------
    def n_free(self, n_components, n_features):
        """One for each parameter of each component."""
        return len(self.parameters) * n_components

    def to_vector(self, params):
        """Transformed parameters, one after the other."""
        with np.errstate(divide="ignore"):
            return np.concatenate([_to_real(np.asarray(params[p.name]), p.support) for p in self.parameters], axis=-1)

    def from_vector(self, vector, n_components, n_features):
        """The parameters, as far as EM goes."""
        parts = np.split(np.asarray(vector), len(self.parameters), axis=-1)
        values = (_from_real(part, p.support) for part, p in zip(parts, self.parameters, strict=True))
        return {p.name: _within(value, *p.reach) for p, value in zip(self.parameters, values, strict=True)}

    def _slopes(self, params):
        """Derivative of each parameter in its coordinate, (cluster, parameter)."""
        return np.stack([_slope(params[p.name], p.support)[0] for p in self.parameters], axis=-1)

    def _bends(self, params):
        """Second derivative of each parameter in its coordinate."""
        return np.stack([_slope(params[p.name], p.support)[1] for p in self.parameters], axis=-1)

    def vector_gradient(self, params, d_a, d_b):
        """The gradient in the parameters times their slopes; none where EM goes no farther."""
        a, (_, _, least, most) = self.kernel_arguments(params)[0], self._bounds
        held = ((a <= least) & (d_a < 0)) | ((a >= most) & (d_a > 0))
        return np.where(held, 0.0, d_a * self._slopes(params)).T.ravel()

    def vector_curvature(self, params, d_a, d_b):
        """Diagonal: the gradient times second derivatives of the parameters."""
        return np.diag((d_a * self._bends(params)).T.ravel())

    def vector_jacobian(self, params):
        """The slopes, (cluster, coordinate) for each parameter."""
        k, slopes, jacobian = len(next(iter(params.values()))), self._slopes(params), {}
        for i, p in enumerate(self.parameters):
            matrix = np.zeros((k, k * len(self.parameters)))
            matrix[range(k), range(i * k, (i + 1) * k)] = slopes[:, i]
            jacobian[p.name] = matrix
        return jacobian

    def coordinate_scale(self, params):
        """The spread for parameters that can be any number, 1 for logarithms."""
        k = len(next(iter(params.values())))
        own = {p.name: params[p.name] for p in self.parameters}
        width = np.asarray(self.spread(own), dtype=float) if self._can_collapse else np.ones(k)
        return np.concatenate([width if p.support == REAL and p.moves else np.ones(k) for p in self.parameters])

    # -- PyMC ----------------------------------------------------------------------------------------------------------
    def pymc_variables(self, priors, n_components, n_features):
        """The parameters with dims cluster; stacked they are the kernel's a."""
        import pytensor.tensor as pt

        params = {p.name: priors[p.name].variable(p.name, dims="cluster") for p in self.parameters}
        stacked: Any = pt.stack(list(params.values()), axis=1)
        return params, (stacked, pt.zeros((n_components, 0)))

    def pymc_dist(self, params):
        """PyMC's distribution of the same name and parameters."""
        import pymc as pm

        return getattr(pm, type(self).__name__).dist(**params)


@functools.lru_cache(maxsize=512)
def _formula_of(component: Univariate) -> Formula:
    names = [p.name for p in component.parameters]
    spread = component.spread({name: parameter(i) for i, name in enumerate(names)})
    return Formula((trace(component.log_density, names),), len(names), spreads=(spread,))


def _counted(data):
    """The column, over rows of positive weight."""
    return data.values[:, 0] if data.weights is None else data.values[data.weights > 0, 0]


def scale_prior(data, n_components, deviations=1.0):
    """Default prior of a scale like that of `Normal`, and the note on it.

    `deviations` says how many scales a standard deviation is.
    """
    if n_components is None:
        return shared_scale(
            midrange(data)[1][0] / deviations
        ), "one scale for all components, itself random (Richardson & Green 1997)"
    scale = np.sqrt(moments(data)[1][0] / 3.0) / (n_components * deviations)
    return ScaledInverseChiSquared(3.0, scale), "3 rows' worth of the data's variance / K^2 (Fraley & Raftery 2007)"


def location_scale_priors(data, n_components, location, scale, deviations=1.0):
    """Default priors of a location and a scale by these names, like those of `Normal`; see `scale_prior`."""
    middle, width = midrange(data)
    prior, note = scale_prior(data, n_components, deviations)
    return Priors(
        {location: Prior.of("Normal", mu=middle[0], sigma=width[0]), scale: prior},
        {location: "midrange and range of the data (Richardson & Green 1997)", scale: note},
    )


# -- transforms ----------------------------------------------------------------------------------------------------------
def _to_real(value, support):
    low, high = support
    if np.isfinite(low) and np.isfinite(high):
        return np.log(value - low) - np.log(high - value)
    if np.isfinite(low):
        return np.log(value - low)
    return np.asarray(value, dtype=float)


def _from_real(value, support):
    from scipy.special import expit

    low, high = support
    if np.isfinite(low) and np.isfinite(high):
        return low + (high - low) * expit(value)
    if np.isfinite(low):
        return low + np.exp(value)
    return np.asarray(value, dtype=float)


def _within(value, least, most):
    """Values as far as EM goes; what there and back again left beside an end is put on it."""
    value = np.where(value >= most - SNAP * abs(most), most, value) if np.isfinite(most) else value
    return np.where(value <= least + SNAP * abs(least), least, value) if np.isfinite(least) else value


def _slope(value, support):
    """First and second derivative of a parameter in its coordinate."""
    low, high = support
    value = np.asarray(value, dtype=float)
    if np.isfinite(low) and np.isfinite(high):
        slope = (value - low) * (high - value) / (high - low)
        return slope, slope * (low + high - 2.0 * value) / (high - low)
    if np.isfinite(low):
        return value - low, value - low
    return np.ones_like(value), np.zeros_like(value)
