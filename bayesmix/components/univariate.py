"""What families of one column share: parameters that are single numbers, a density as a formula, and all the rest of it.

A family of this kind states its parameters and its log density with the namespace. From these follow the compiled pass,
free coordinates, the M-step, prediction and the PyMC model. Where its parameters start from, SciPy's distribution of the
same name and default priors it may state; what it does not is found from the density and the data.
"""

import functools
import inspect
import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..arrays import check_counts, check_not_constant, check_one_column
from ..expressions import parameter
from ..likelihood.ascent import maximise, newton, parameters_at
from ..likelihood.generate import Formula, trace
from ..priors import POSITIVE, REAL, UNIT, Prior, Priors, ScaledInverseChiSquared
from .base import Component, Guard, NewtonStep, Parameter, Rows, Statistics, full_shape
from .normal import _weights, midrange, moments, shared_scale

MOST_STEPS = 60  # of Newton's method, in one M-step on given responsibilities
SNAP = 1e-12  # relative distance from the end of how far EM goes that is rounding
MOST_TRIED = 2048  # sets of parameters tried for a start
ROWS_TRIED = 64  # rows of each component that they are tried on
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
    """A family of one column whose parameters are single numbers, (cluster,) each; derive from it to make your own.

    A family states ``parameters``, a tuple of `Parameter`, and ``log_density(x, params)``, in nats, with the functions of
    `bayesmix.namespace`; it may state anything below. Each parameter becomes a field of the class that takes a prior, as
    in ``Rayleigh(sigma=pz.HalfNormal(2))``, unless the class declares its fields itself, as a frozen dataclass.

    Free coordinates are the parameters themselves, their logarithms (positive ones), or the logarithms of the ratio of
    the distances to both ends (those in an interval): all components' first parameter, then their second, and so on.

    Raises
    ------
    TypeError, ValueError
        When the class is defined: if its parameters are not a tuple of `Parameter`, have names that are taken, or an
        upper end without a lower one.

    Examples
    --------
    >>> import numpy as np, bayesmix as bm
    >>> class Rayleigh(bm.Univariate):
    ...     parameters = (bm.Parameter("sigma", support=(0, np.inf)),)
    ...     def log_density(self, x, params):
    ...         xp, sigma = bm.namespace(x, params["sigma"]), params["sigma"]
    ...         inside = x > 0
    ...         x = xp.where(inside, x, 1.0)
    ...         return xp.where(inside, xp.log(x) - 2 * xp.log(sigma) - x**2 / (2 * sigma**2), -np.inf)
    ...     def support(self):
    ...         return 0, np.inf
    >>> print(bm.Mixture(Rayleigh(), n_components=2))
    Mixture of 2 Rayleigh() components, weights ~ Dirichlet(1)
    """

    numeric = True
    closed: ClassVar[bool] = False  # do the ends of the support belong to it?
    collapses_at_ends: ClassVar[bool] = False  # can a component collapse onto rows at an end of the support alone?

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        stated = cls.__dict__.get("parameters")
        if stated is None or isinstance(stated, property | functools.cached_property):
            return
        checked = _checked(cls, stated)
        type.__setattr__(cls, "parameters", checked)
        if not inspect.get_annotations(cls):  # no fields of its own: each parameter is one
            cls.__annotations__ = {p.name: object for p in checked}
            for p in checked:
                setattr(cls, p.name, None)
            dataclass(frozen=True)(cls)

    def __post_init__(self):
        self._check_priors(**{p.name: p.support for p in self.parameters if hasattr(self, p.name)})

    # -- what a family may state ---------------------------------------------------------------------------------------
    def start(self, moments: Moments) -> dict | None:
        """Rough parameters (cluster,) for components with these moments: Newton's method goes on from there.

        None, the default: many are tried.
        """
        return None

    def scipy(self, params: dict) -> Any:
        """SciPy's frozen distribution at these parameters, which broadcast, or what offers cdf, ppf and rvs as it does.

        By default the density is integrated, or probabilities of counts are summed.
        """
        from .numeric import distribution

        return distribution(self, params)

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
            ends = " (these ends do not belong to it)" if not self.closed and np.any((x == low) | (x == high)) else ""
            raise ValueError(
                f"{type(self).__name__} describes values between {low:g} and {high:g}{ends}, but {int((~inside).sum())} of "
                f"{len(x)} rows are not there; the first is {x[where]:g}."
            )
        if self._can_collapse and (not self.collapses_at_ends or self._at_ends(data).all()):
            check_not_constant(data, self)
        if type(self).scipy is Univariate.scipy and type(self).cdf is Univariate.cdf:
            self.scipy(self.initial_params(data, 1))  # raises if the density does not integrate to one

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
            if p.known is not None and np.any(value != p.known):
                raise ValueError(
                    f"{p.name} is {p.known:g}, a setting of {self}, but it holds {value[value != p.known][0]:g}."
                )
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
        if self.discrete and not self.given:
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
        x, w = data.modelled, np.asarray(responsibilities, dtype=float)
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
        params = self._tried(data.values, w, moments) if params is None else params
        return {p.name: np.asarray(params[p.name], dtype=float) * np.ones(w.shape[1]) for p in self.parameters}

    def _tried(self, x, w, moments):
        """For each component the best of many parameters: simple functions of its moments, and round numbers."""
        tried = {p.name: np.empty(w.shape[1]) for p in self.parameters}
        for k in range(w.shape[1]):
            rows = np.flatnonzero(w[:, k] > 0) if np.any(w[:, k] > 0) else np.arange(len(x))
            rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS_TRIED)).astype(int)]
            weights = np.maximum(w[rows, k], 1e-300)
            values = [_values_to_try(p, float(moments.mean[k]), float(moments.variance[k])) for p in self.parameters]
            sets = np.array(list(itertools.product(*values)))
            if len(sets) > MOST_TRIED:
                sets = np.random.default_rng(0).permutation(sets)[:MOST_TRIED]
            with np.errstate(all="ignore"):
                density = self.log_density(x[rows], {p.name: sets[:, i] for i, p in enumerate(self.parameters)})
                total = weights @ np.asarray(density, dtype=float)
            total = np.where(np.isfinite(total), total, -np.inf)
            if not np.any(np.isfinite(total)):
                raise ValueError(
                    f"{type(self).__name__} has no finite density at any of {len(sets)} trial parameters; define "
                    "start(moments), which returns parameters to start from, or support(), if there are rows off it."
                )
            for i, p in enumerate(self.parameters):
                tried[p.name][k] = sets[np.argmax(total), i]
        return tried

    def m_step(self, params, statistics, guard=None):
        """One Newton step up the expected log-likelihood, from its gradient and Hessian at `params`.

        As generalised EM that is as good as the maximum near the optimum (Lange 1995); farther off the step is bounded,
        and `bayesmix.engines.climb` halves it where the likelihood would fall.
        """
        if guard is not None:
            statistics = self.with_guard(params, statistics, guard)
        a, scale = self.kernel_arguments(params)[0], np.stack(self._scales(params), axis=1)
        low, high, least, most = self._bounds
        _, n, first, second = statistics[:4]
        moved, _ = newton(a, n, first, second, low, high, least, most, np.ascontiguousarray(scale))
        return self._named(parameters_at(moved, low, high, least, most))

    @property
    def newton_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The step of `m_step`, for compiled EM."""
        if type(self).m_step is not Univariate.m_step or not self.smooth:
            return None
        moves = np.array([p.support == REAL and p.moves for p in self.parameters])
        return NewtonStep(self.formula.functions, np.stack(self._bounds), moves, self._named, self._can_collapse)

    def maximise_given(self, data, responsibilities, guard=None):
        """Parameters that maximise the expected log-likelihood, for responsibilities (obs, cluster) times row weights."""
        params = self.start_given(data, responsibilities)
        a, best = maximise(
            self.formula.functions,
            self.formula.prepare(data.values),
            np.ascontiguousarray(responsibilities, dtype=float),
            self.kernel_arguments(params)[0],
            (0.0, 0.0) if guard is None else (float(guard.n), float(np.ravel(guard.second)[0])),
            self._bounds,
            np.array([p.moves for p in self.parameters]),
            MOST_STEPS,
            SETTLED,
        )
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
        log_likelihood, n, first, second = statistics[:4]
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
        """One for each parameter of each component, known ones left out."""
        return len(self._free) * n_components

    @property
    def _free(self):
        """Places of the parameters that are estimated."""
        return [i for i, p in enumerate(self.parameters) if p.known is None]

    def to_vector(self, params):
        """Transformed parameters, one after the other."""
        with np.errstate(divide="ignore"):
            every = [_to_real(np.asarray(params[p.name]), p.support) for p in self.parameters]
        return np.concatenate([every[0][..., :0], *(every[i] for i in self._free)], axis=-1)

    def from_vector(self, vector, n_components, n_features):
        """The parameters, as far as EM goes."""
        vector, found = np.asarray(vector), {}
        for p in self.parameters:
            if p.known is not None:
                found[p.name] = np.full((*vector.shape[:-1], n_components), p.known)
                continue
            part, vector = vector[..., :n_components], vector[..., n_components:]
            found[p.name] = _within(_from_real(part, p.support), *p.reach)
        return found

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
        return np.where(held, 0.0, d_a * self._slopes(params))[:, self._free].T.ravel()

    def vector_curvature(self, params, d_a, d_b):
        """Diagonal: the gradient times second derivatives of the parameters."""
        return np.diag((d_a * self._bends(params))[:, self._free].T.ravel())

    def vector_jacobian(self, params):
        """The slopes, (cluster, coordinate) for each parameter."""
        k, slopes, jacobian = len(next(iter(params.values()))), self._slopes(params), {}
        for i, p in enumerate(self.parameters):
            jacobian[p.name] = np.zeros((k, k * len(self._free)))
            if p.known is None:
                at = self._free.index(i) * k
                jacobian[p.name][range(k), range(at, at + k)] = slopes[:, i]
        return jacobian

    def coordinate_scale(self, params):
        """The spread for parameters that can be any number, 1 for logarithms."""
        scales = self._scales(params)
        return np.concatenate([scales[0][:0], *(scales[i] for i in self._free)])

    def _scales(self, params):
        """The same for each parameter, known ones too."""
        k = len(next(iter(params.values())))
        own = {p.name: params[p.name] for p in self.parameters}
        width = np.asarray(self.spread(own), dtype=float) if self._can_collapse else np.ones(k)
        return [width if p.support == REAL and p.moves else np.ones(k) for p in self.parameters]

    # -- PyMC ----------------------------------------------------------------------------------------------------------
    def pymc_variables(self, priors, n_components, n_features):
        """The parameters with dims cluster; stacked they are the kernel's a."""
        import pymc as pm
        import pytensor.tensor as pt

        def variable(p):
            if p.known is None:
                return priors[p.name].variable(p.name, dims="cluster")
            return pm.Deterministic(p.name, pt.as_tensor(np.full(n_components, p.known)), dims="cluster")

        params = {p.name: variable(p) for p in self.parameters}
        stacked: Any = pt.stack(list(params.values()), axis=1)
        return params, (stacked, pt.zeros((n_components, 0)))

    def pymc_dist(self, params):
        """PyMC's distribution of the same name and parameters; of a family of the user's own, its `sample`."""
        import pymc as pm

        from . import FAMILIES

        name = type(self).__name__
        if FAMILIES.get(name) is type(self):
            return getattr(pm, name).dist(**params)

        def random(*values, rng, size):
            shape = np.broadcast_shapes(*(np.shape(value) for value in values)) if size is None else tuple(size)
            flat = {n: np.broadcast_to(value, shape).ravel() for n, value in zip(params, values, strict=True)}
            return self.sample(flat, rng)[:, 0].reshape(shape)

        return pm.CustomDist.dist(*params.values(), random=random, class_name=name)

    # -- priors --------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """Priors for parameters whose place can be told from the data; others must be given.

        A location gets Normal(midrange, range), a positive parameter a log-normal distribution about what one component
        for all of the data has, and a probability the uniform distribution.
        """
        found, notes = {}, {}
        for p in self.parameters:
            if getattr(self, p.name, None) is not None:
                found[p.name] = getattr(self, p.name)
            elif p.support == REAL and p.moves:
                middle, width = midrange(data)
                found[p.name] = Prior.of("Normal", mu=middle[0], sigma=width[0])
                notes[p.name] = "midrange and range of the data (Richardson & Green 1997)"
            elif p.support == POSITIVE:
                whole = float(self._whole(data)[p.name][0])
                width = 1.0 + np.log(n_components or 2)
                found[p.name] = Prior.of("LogNormal", POSITIVE, mu=np.log(whole), sigma=width)
                notes[p.name] = (
                    f"{whole:.4g}, of one component for all of the data, within a factor of {np.exp(width):.2g}"
                )
            elif p.support == UNIT:
                found[p.name] = Prior.of("Beta", UNIT, alpha=1.0, beta=1.0)
                notes[p.name] = "uniform"
            else:
                family = type(self).__name__
                raise ValueError(
                    f"{family} has no default prior for {p.name}, which lies in {p.support} and need not be a location: give "
                    f"one, {family}({p.name}=pz.Normal(0, 1)) for example, define default_priors, or state "
                    f'bm.Parameter("{p.name}", moves=True) if it moves with the data.'
                )
        return Priors(found, notes)

    def _whole(self, data):
        """Parameters of one component for all of the data, or, where these are not in memory, for a sample."""
        rows = data if hasattr(data, "values") else data.sample
        weights = np.ones(rows.n_obs) if rows.weights is None else rows.weights
        return self.maximise_given(rows, weights[:, None])


@functools.lru_cache(maxsize=512)
def _formula_of(component: Univariate) -> Formula:
    names = [p.name for p in component.parameters]
    try:
        spread = component.spread({name: parameter(i) for i, name in enumerate(names)})
        density = trace(component.log_density, names, 1 + len(component.given))
        return Formula((density,), len(names), spreads=(spread,))
    except TypeError as error:
        error.add_note(
            f"log_density of {type(component).__name__} is called with symbols, to write compiled code from it: take all "
            "functions from xp = bm.namespace(x, *params.values()), xp.log for example, none from NumPy."
        )
        raise


def _checked(family: type, stated) -> tuple[Parameter, ...]:
    """The parameters that a class states, or an error when it is defined."""
    name = family.__name__
    if not isinstance(stated, tuple | list) or not stated or not all(isinstance(p, Parameter) for p in stated):
        raise TypeError(
            f'parameters of {name} must be a tuple of bm.Parameter, such as (bm.Parameter("mu", moves=True), '
            f'bm.Parameter("sigma", support=(0, np.inf))), but it is {stated!r}.'
        )
    names = [p.name for p in stated]
    for p in stated:
        low, high = p.support
        if p.name == "weights" or hasattr(Univariate, p.name) or not p.name.isidentifier() or names.count(p.name) > 1:
            raise ValueError(f"{name} cannot have a parameter called {p.name!r}: the name is taken; use another.")
        if not low < high or (low == -np.inf and high < np.inf):
            raise ValueError(
                f"{p.name} of {name} has support ({low:g}, {high:g}), but it must be all real numbers, those above an "
                "end, or those between two; use its negative."
            )
    return tuple(stated)


def _values_to_try(p: Parameter, mean: float, variance: float) -> list[float]:
    """Values of a parameter that a component of this mean and variance might have."""
    (low, high), sd = p.support, np.sqrt(variance)
    if np.isfinite(high):
        return [low + share * (high - low) for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)]
    if low == -np.inf and p.moves:
        return [mean, mean - sd, mean + sd]
    if low == -np.inf:
        return [0.0, 1.0, -1.0, mean, 5.0, -5.0]
    size = max(abs(mean), 1e-3 * sd)
    tried = [sd, size, 1.0, 1.0 / sd, 1.0 / size, (size / sd) ** 2, size / variance, 10.0, 0.1, 100.0, 0.01]
    return [low + value for value in tried]


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
