"""Families between bounds: rows beyond are not seen at all (truncated), or known only to lie beyond (censored)."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import check_counts, check_one_column, namespace
from ..priors import REAL
from .base import Component, Guard
from .truncated_normal import FARTHEST
from .univariate import Univariate

QUANTILES = 400  # that moments of rows with bounds of their own are taken from
SCALES = {"Normal": "sigma", "Logistic": "s", "Gumbel": "beta", "Laplace": "b"}  # of families that move with the data


@dataclass(frozen=True)
class Bounded(Univariate):
    """What `Truncated` and `Censored` share: a family of one column, and bounds that are numbers or columns."""

    family: Any = None
    lower: Any = None
    upper: Any = None

    def __post_init__(self):
        name, family = type(self).__name__, self.family
        if isinstance(family, type) and issubclass(family, Component):
            raise TypeError(f"the family is the class {family.__name__}; call it: bm.{name}(bm.{family.__name__}()).")
        if not isinstance(family, Component):
            raise TypeError(f"{name} needs a family such as bm.Normal(), but it was given {family!r}.")
        if type(family).log_tails is Component.log_tails or family.given:
            raise TypeError(
                f"{family} cannot be {name.lower()}: there is no formula for the logarithm of its distribution function "
                f"here. The families that have one are {', '.join(with_tails())}; one of your own states log_tails."
            )
        for which in ("lower", "upper"):
            object.__setattr__(self, which, _bound(getattr(self, which), which, name))
        lower, upper = self.lower, self.upper
        if lower is None and upper is None:
            raise ValueError(f"{name} needs a bound: lower=, upper= or both, numbers or names of columns.")
        if isinstance(lower, float) and isinstance(upper, float) and not lower < upper:
            raise ValueError(f"lower={lower:g} must be below upper={upper:g}.")

    # -- the family inside -----------------------------------------------------------------------------------------------
    @property
    def parameters(self):
        """Those of the family; of a location and a scale between two numbers, EM goes up to 5 widths away."""
        own = tuple(
            replace(p, moves=True) if self._is("Normal") and p.name == "mu" else p for p in self.family.parameters
        )
        scale, ends = SCALES.get(type(self.family).__name__), (self.lower, self.upper)
        if scale is None or not all(isinstance(end, float) for end in ends):
            return own
        far = FARTHEST * (self.upper - self.lower)
        reach = {"mu": (self.lower - far, self.upper + far), scale: (0.0, far)}
        return tuple(replace(p, reach=reach[p.name]) if p.known is None else p for p in own)

    def _is(self, name):
        return type(self.family).__name__ == name

    @property
    def discrete(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Is the family one of counts?"""
        return self.family.discrete

    @property
    def smooth(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Is the family's density?"""
        return self.family.smooth

    @property
    def given(self):
        """The bounds that are columns."""
        return tuple(dict.fromkeys(b for b in (self.lower, self.upper) if isinstance(b, str)))

    @property
    def collapses_at_ends(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the family says."""
        return getattr(self.family, "collapses_at_ends", False)

    def start_given(self, data, responsibilities):
        """What the family would start from, without bounds."""
        if isinstance(self.family, Univariate):
            return self.family.start_given(data, responsibilities)
        return super().start_given(data, responsibilities)

    def maximise_given(self, data, responsibilities, guard=None):
        """By Newton's method; where the family has a kink, each component's location and scale by the simplex."""
        if self.smooth:
            return super().maximise_given(data, responsibilities, guard)
        start = self.kernel_arguments(self.family.maximise_given(data, responsibilities, guard))[0]
        rows, values = self.formula.prepare(data.values), np.unique(data.modelled)
        n_guard, square = (0.0, 0.0) if guard is None else (float(guard.n), float(np.ravel(guard.second)[0]))
        functions, (_, _, least, most) = self.formula.functions, self._bounds
        for k in np.flatnonzero(np.asarray(responsibilities).sum(axis=0) > 0):
            own = np.ascontiguousarray(np.asarray(responsibilities, dtype=float)[:, k : k + 1])

            def objective(location, log_scale, own=own):
                a = np.array([[location, np.exp(log_scale)]])
                if np.any(a[0] < least) or np.any(a[0] > most):
                    return -np.inf
                value = functions.complete(rows, own, a)[0][0] + functions.guard(a, n_guard, square)[0][0]
                return value if np.isfinite(value) else -np.inf

            start[k] = _at_kink(objective, start[k], values)
        return self._named(start)

    def start(self, moments):
        """Mean and standard deviation of `Normal`, rate of `Poisson`; many are tried otherwise."""
        found = {"mu": moments.mean, "sigma": np.sqrt(moments.variance)}
        names = [p.name for p in self.parameters]
        return {name: found[name] for name in names} if set(names) <= set(found) else None

    def spread(self, params):
        """That of the family."""
        if isinstance(self.family, Univariate):
            return self.family.spread(params)
        return params.get("sigma")

    def support(self):
        """That of the family, within bounds that are numbers."""
        low, high = self.family.support() if isinstance(self.family, Univariate) else REAL
        lower, upper = (b if isinstance(b, float) else None for b in (self.lower, self.upper))
        return low if lower is None else max(low, lower), high if upper is None else min(high, upper)

    def check_data(self, data, n_components):
        """One column within the bounds; what the family asks of its rows."""
        check_one_column(data, self)
        if self.discrete:
            check_counts(data, self)
        x = data.values[:, 0]
        low, high = (np.broadcast_to(end, (len(x), 1)) for end in self._ends(data.values))
        low, high = low.ravel(), high.ravel()
        self._check_order(low, high)
        for beyond, what in ((x < low, "below the lower"), (x > high, "above the upper")):
            if beyond.any():
                row = int(np.argmax(beyond))
                raise ValueError(
                    f"{self}: {int(beyond.sum())} of {len(x)} rows are {what} bound, the first is row {row}, "
                    f"{x[row]:g} with bounds {low[row]:g} and {high[row]:g}. {self._advice}"
                )
        self.family.check_data(self._for_family(data, low, high), n_components)
        if self._can_collapse and not self.collapses_at_ends and np.ptp(x) == 0:
            raise ValueError(f"{self} needs a column that varies, but all {len(x)} rows are {x[0]:g}.")

    _advice = ""

    def _check_order(self, low, high):
        if np.any(low > high):
            row = int(np.argmax(low > high))
            raise ValueError(
                f"{self}: the lower bound is above the upper one in {int((low > high).sum())} rows; in row {row} they are "
                f"{low[row]:g} and {high[row]:g}."
            )

    def _for_family(self, data, low, high):
        return replace(data, values=np.ascontiguousarray(data.modelled), given=())

    def check_parameters(self, params, n_components):
        """What the family asks of its parameters."""
        return self.family.check_parameters(params, n_components)

    def check_priors(self, data):
        """What the priors of the family ask."""
        self.family.check_priors(data)

    def default_priors(self, data, n_components):
        """Those of the family, for the rows as they are."""
        return self.family.priors(data, n_components)

    def priors(self, data, n_components):
        """Those in force for the family."""
        return self.family.priors(data, n_components)

    def with_priors(self, priors):
        """The same, of the family with these priors."""
        return replace(self, family=self.family.with_priors(priors))

    @property
    def constraints(self):
        """Those of the family."""
        return self.family.constraints

    def resolved(self, data):
        """What the family leaves to the data, stated."""
        family = self.family.resolved(data)
        return self if family is self.family else replace(self, family=family)

    # -- the formula -----------------------------------------------------------------------------------------------------
    def _ends(self, x: Any) -> tuple[Any, Any]:
        """Lower and upper bound, -inf and inf where there is none: numbers, or columns of x."""
        places = {name: 1 + i for i, name in enumerate(self.given)}
        found = []
        for bound, none in ((self.lower, -np.inf), (self.upper, np.inf)):
            at = places.get(bound) if isinstance(bound, str) else None
            found.append((none if bound is None else bound) if at is None else x[..., at : at + 1])
        return found[0], found[1]

    def _tails(self, xp, bound, value, params, lower):
        """Logarithms of the probabilities below and above a bound, which may be infinite in some rows."""
        if not isinstance(bound, float):
            finite = xp.abs(bound) < np.inf
            below, above = self.family.log_tails(xp.where(finite, self._count(xp, bound, lower), value), params)
            none, all_ = (-np.inf, 0.0) if lower else (0.0, -np.inf)
            return xp.where(finite, below, none), xp.where(finite, above, all_)
        return self.family.log_tails(xp.asarray(self._count(np, bound, lower)), params)

    def _count(self, xp, bound, lower):
        """The bound itself; of counts the last one below a lower bound, the last one below or at an upper one."""
        if not self.discrete:
            return bound
        return -xp.floor(-bound) - 1.0 if lower else xp.floor(bound)

    # -- prediction ------------------------------------------------------------------------------------------------------
    def scipy(self, params):
        """There is none with bounds of this kind."""
        raise NotImplementedError(
            f"SciPy has no {type(self).__name__} distribution; use cdf, marginal_quantile and sample."
        )

    def cdf(self, x, params):
        """Distribution function of each component, shapes as in `log_density`."""
        x = np.asarray(x, dtype=float)
        with np.errstate(all="ignore"):
            return self._cdf(x[..., :1], *self._ends(x), params)

    @abstractmethod
    def _cdf(self, value, low, high, params) -> Any:
        """The distribution function at values between bounds that broadcast."""

    @abstractmethod
    def _quantile(self, q, low, high, params) -> Any:
        """Quantiles for bounds that broadcast against the parameters."""

    def marginal_cdf(self, x, params, feature):
        """The cdf itself, where the bounds are numbers."""
        self._need_numbers("the distribution function of a value")
        return self.cdf(np.asarray(x)[:, None], params)

    def marginal_quantile(self, q, params, given=None):
        """Quantile of each component, (..., cluster, 1), between bounds that are numbers or given (..., given)."""
        if given is None:
            self._need_numbers("a quantile")
        low, high = (end if isinstance(end, float) else end[..., 0] for end in self._ends(_beside(given)))
        return self._quantile(q, low, high, params)[..., None]

    def _need_numbers(self, what):
        if self.given:
            raise ValueError(
                f"{self} has no one answer for {what}, as bounds differ from row to row; give rows, as to fit.cdf(rows) or "
                "fit.sample(data=rows)."
            )

    def sample(self, params, rng, given=None):
        """One value per row of the parameters, (rows, 1)."""
        return self.marginal_quantile(rng.uniform(size=next(iter(params.values())).shape), params, given)

    def mean_and_variance(self, params):
        """From quantiles."""
        return _moments(self.marginal_quantile(q, params)[..., 0] for q in _levels())

    def missing_moments(self, x, gone, params):
        """Mean and variance of rows, by their bounds."""
        ends = self._ends(x)
        found = _moments(self._quantile(q, *ends, params) for q in _levels())
        shape = (*np.broadcast_shapes(found[0].shape, (1, len(x), 1)), 1)
        return tuple(np.broadcast_to(value[..., None], shape) for value in found)

    def guard(self, data, strength) -> Guard | None:
        """Rows of the spread that one component for all data has, without bounds where these leave it open."""
        found = super().guard(data, strength)
        return found if found is None or np.all(np.isfinite(found.second)) else None

    def pymc_dist(self, params, given=None):
        """Draws by `sample`."""
        import pymc as pm

        def random(*values, rng, size):
            shape = np.broadcast_shapes(*(np.shape(value) for value in values)) if size is None else tuple(size)
            flat = {n: np.broadcast_to(value, shape).ravel() for n, value in zip(params, values, strict=True)}
            bounds = (
                None if given is None else np.broadcast_to(given, (*shape, given.shape[1])).reshape(-1, given.shape[1])
            )
            return self.sample(flat, rng, bounds)[:, 0].reshape(shape)

        return pm.CustomDist.dist(*params.values(), random=random, class_name=type(self).__name__)

    def __str__(self):
        bounds = ((name, getattr(self, name)) for name in ("lower", "upper"))
        words = [
            f"{name}={value!r}" if isinstance(value, str) else f"{name}={value:g}"
            for name, value in bounds
            if value is not None
        ]
        return f"{type(self).__name__}({', '.join([str(self.family), *words])})"


@dataclass(frozen=True)
class Truncated(Bounded):
    r"""Components of a family cut off at known bounds: rows beyond them are not seen at all.

    :math:`p(x) = f(x) / (F(u) - F(l))` for l <= x <= u, with the density f and the distribution function F of the family,
    whose parameters, of shape (cluster,), are those before the cut; counts between the bounds have
    :math:`f(x) / P(l \le X \le u)`. Logarithms of F and 1 - F are subtracted on the side of the nearer tail, so that a
    bound may lie tens of standard deviations away. Rows may each have bounds of their own.

    Parameters
    ----------
    family : Component
        A family of one column that states `log_tails`; its priors are those of the parameters, by default made from the
        rows as they are.
    lower, upper : float or str, optional
        The bounds: numbers, or names of columns of the data that hold one for each row, -inf and inf where there is none.

    Raises
    ------
    TypeError, ValueError
        If the family has no logarithms of its tails, or bounds are none, or in the wrong order.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.Truncated(bm.Exponential(), lower=2), n_components=2))
    Mixture of 2 Truncated(Exponential(), lower=2) components, weights ~ Dirichlet(1)
    """

    closed = True
    _advice = "Rows beyond a bound cannot be seen; if these were measured, the bound is another."

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1 + given), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        value, (low, high) = x[..., :1] if self.given else x, self._ends(x)
        inside = (value >= low) & (value <= high)
        density = self.family.log_density(value, params) - self._log_share(xp, low, high, value, params)
        return xp.where(inside, density, -np.inf)

    def _log_share(self, xp, low, high, value, params):
        """Log of the probability between the bounds before the cut: from the tail that is nearer."""
        if self.upper is None:
            return self._tails(xp, low, value, params, True)[1]
        of_upper = self._tails(xp, high, value, params, False)
        if self.lower is None:
            return of_upper[0]
        return _log_between(xp, self._tails(xp, low, value, params, True), of_upper)

    def _cdf(self, value, low, high, params):
        tails = [_log_tails(self, end, params, lower) for end, lower in ((low, True), (value, False), (high, False))]
        found = np.exp(_log_between(namespace(), *tails[:2]) - _log_between(namespace(), tails[0], tails[2]))
        return np.where(value >= high, 1.0, np.where(value < low, 0.0, found))

    def _quantile(self, q, low, high, params):
        family = self.family
        with np.errstate(all="ignore"):
            below, above = (np.exp(tail) for tail in _log_tails(self, low, params, True))
            below_high, above_high = (np.exp(tail) for tail in _log_tails(self, high, params, False))
            left, right = below + q * (below_high - below), above - q * (above - above_high)
            law = _law(family, params)
            far = above < below
            if law is None:
                found = _each_quantile(family, np.where(far, 1.0 - right, left), params)
            else:
                found = np.where(far, law.isf(np.where(far, right, 0.5)), law.ppf(np.where(far, 0.5, left)))
        if self.discrete:
            low, high = np.ceil(low), np.floor(high)
        return np.clip(found, low, high)


@dataclass(frozen=True)
class Censored(Bounded):
    r"""Components of a family seen between bounds only: of rows at a bound it is known that they lie there or beyond.

    A row between the bounds has the density f(x), one at the lower bound the probability F(l), one at the upper bound
    1 - F(u) (of counts :math:`P(X \ge u)`), as in PyMC's ``Censored``: survival times at the end of a study, measurements
    below the limit of detection. The parameters, of shape (cluster,), are those of what was not seen whole. Where it is
    not known that rows beyond are there, the family is `Truncated`.

    Parameters
    ----------
    family : Component
        A family of one column that states `log_tails`; its priors are those of the parameters, by default made from the
        rows as they are.
    lower, upper : float or str, optional
        The bounds: numbers, or names of columns of the data that hold one for each row, -inf and inf where there is none.

    Raises
    ------
    TypeError, ValueError
        If the family has no logarithms of its tails, or bounds are none, or in the wrong order.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.Censored(bm.Weibull(), upper="end"), n_components=2))
    Mixture of 2 Censored(Weibull(), upper='end') components, weights ~ Dirichlet(1)
    """

    closed = True
    _advice = "Rows beyond a bound are recorded as the bound itself: clip them to it."

    def log_density(self, x, params):
        """Log density, or log probability at a bound; x (..., obs, 1 + given) -> (..., obs, cluster), in nats."""
        xp = namespace(x, *params.values())
        value, (low, high) = x[..., :1] if self.given else x, self._ends(x)
        density = xp.where((value > low) & (value < high), self.family.log_density(value, params), -np.inf)
        if self.upper is not None:
            above = self._tails(xp, high, value, params, True)[1]
            density = xp.where(xp.equal(value, high), above, density)
        if self.lower is not None:
            below = self._tails(xp, low, value, params, False)[0]
            density = xp.where(xp.equal(value, low), below, density)
        return density

    def _for_family(self, data, low, high):
        """Rows between the bounds: one at a bound may be off the family's support."""
        x = data.values[:, 0]
        seen = np.flatnonzero((x > low) & (x < high))
        data = super()._for_family(data, low, high)
        return data.take(seen) if len(seen) else data

    def _cdf(self, value, low, high, params):
        inside = np.exp(self.family.log_tails(value, params)[0])
        return np.where(value >= high, 1.0, np.where(value < low, 0.0, inside))

    def _quantile(self, q, low, high, params):
        return np.clip(_each_quantile(self.family, q, params), low, high)

    def sample(self, params, rng, given=None):
        """Values of the family, those beyond a bound put on it."""
        return np.clip(self.family.sample(params, rng), *self._ends(_beside(given)))


def _at_kink(objective, start, values):
    """Location and scale (2,) that maximise an objective with kinks at the values of rows (Nelder & Mead 1965)."""
    from scipy.optimize import minimize

    location, scale = start
    begin = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.3]])

    def loss(at):
        return -objective(location + scale * at[0], np.log(scale) + at[1])

    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 400, "initial_simplex": begin}
    with np.errstate(all="ignore"):
        found = minimize(loss, begin[0], method="Nelder-Mead", options=options)
        place, log_scale = location + scale * found.x[0], np.log(scale) + found.x[1]
        middle = np.searchsorted(values, place)
        near = [place, *values[max(0, middle - 1) : middle + 1]]
        best = near[int(np.argmax([objective(one, log_scale) for one in near]))]
    return best, np.exp(log_scale)


def _bound(value, which, name):
    """A bound as None, a float, or the name of a column."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(
            f"{which}={value!r} but {name} needs a known number, or the name of a column that holds one for each row: "
            "bounds are not estimated."
        )
    if np.isnan(value):
        raise ValueError(f"{which} is nan; leave it out if there is no bound.")
    return float(value) if np.isfinite(value) else None


def with_tails() -> list[str]:
    """Names of the families that state `log_tails` themselves."""
    from . import FAMILIES

    stated = {name: getattr(family.log_tails, "__qualname__", "") for name, family in FAMILIES.items()}
    return sorted(name for name, where in stated.items() if where == f"{name}.log_tails")


def _beside(given) -> Any:
    """Given columns where x has them, behind the one that is modelled; None if there are none."""
    if given is None:
        return None
    return np.concatenate([np.full((*given.shape[:-1], 1), np.nan), given], axis=-1)


def _log_between(xp, of_lower, of_upper):
    """Log of the probability between two bounds, from the logarithms of their tails: by the tail that is nearer."""
    (below, above), (below_upper, above_upper) = of_lower, of_upper
    right = above < below
    most, least = xp.where(right, above, below_upper), xp.where(right, above_upper, below)
    return most + xp.log(-xp.expm1(least - most))


def _log_tails(component, bound, params, lower):
    """Logarithms of the tails at a bound, by NumPy, infinite ones included."""
    bound = np.asarray(component._count(np, np.asarray(bound, dtype=float), lower), dtype=float)
    finite = np.isfinite(bound)
    below, above = component.family.log_tails(np.where(finite, bound, 1.0), params)
    return np.where(finite, below, np.where(bound > 0, 0.0, -np.inf)), np.where(
        finite, above, np.where(bound > 0, -np.inf, 0.0)
    )


def _law(family, params):
    """SciPy's distribution of the family, where there is one."""
    from scipy import stats

    made = {"Normal": lambda: stats.norm(params["mu"], params["sigma"]), "Poisson": lambda: stats.poisson(params["mu"])}
    if type(family).__name__ in made:
        return made[type(family).__name__]()
    try:
        law = family.scipy(params)
    except NotImplementedError:
        return None
    return law if hasattr(law, "isf") else None


def _each_quantile(family, q, params):
    """Quantiles of a family at levels of the parameters' shape."""
    return family.marginal_quantile(q, params)[..., 0]


def _levels():
    return (np.arange(QUANTILES) + 0.5) / QUANTILES


def _moments(values):
    """Mean and variance of values at evenly spaced levels."""
    every = np.stack(list(values))
    return every.mean(axis=0), every.var(axis=0)
