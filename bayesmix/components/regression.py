"""Regressions as components: a parameter of the family depends on covariates, with coefficients for each component."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from ..arrays import Data, as_data, namespace
from ..constraints import Fixed, Shared
from ..expressions import parameter
from ..likelihood.ascent import LONGEST, maximise, newton, parameters_at
from ..likelihood.predictor import Predicted, trace
from ..priors import REAL, Prior, Priors
from . import design as designs
from .base import Component, Guard, NewtonStep, Parameter, Rows, Statistics, full_shape
from .design import Design
from .links import LINKS, Link
from .normal import _weights
from .univariate import MOST_STEPS, SETTLED, Moments, _from_real, _slope, _to_real, _within

RIDGE = 1e-3  # rows' worth of the overall fit that a component's start is drawn to, for each of its own
PRIOR_NOTE = "2.5 standard deviations of the response for one of the covariate (Gelman et al. 2008; rstanarm)"


@dataclass(frozen=True, eq=False)
class DesignedData(Data):
    """Response and columns of a design, with what the formula has learnt from these rows."""

    design: Any = None
    basis: tuple = ()


@dataclass(frozen=True)
class Regression(Component):
    r"""Components whose mean, or another parameter, depends on covariates: mixtures of regressions.

    .. math:: p(y_n \mid x_n) = \sum_k \pi_k\, p(y_n \mid \eta_{nk}, \phi_k), \qquad \eta_{nk} = x_n' \beta_k

    The predictor eta gives ``mu`` of Normal, StudentT, Logistic, Gumbel, SkewNormal and LogNormal (identity); the mean of
    Poisson, NegativeBinomial, Gamma, Exponential and Wald, the scale of Weibull and HalfNormal, and the mean number of
    failures of Geometric (logarithm); the probability of Bernoulli and Binomial (logit). So mixtures of regressions are
    those of Quandt (1972) and DeSarbo & Cron (1988), of generalised linear models those of Wedel & DeSarbo (1995) and
    flexmix (Grün & Leisch 2008).

    Parameters
    ----------
    family : Component
        A family of one column: ``bm.Normal()``, ``bm.Poisson()``, ``bm.Binomial(n=10)``, ... Its arguments are priors of the
        parameters that do not depend on covariates, such as ``sigma``.
    formula : str
        Response and covariates in the language of R and formulae: ``"y ~ x + z"``, ``"log(y) ~ poly(x, 2) + group"``,
        ``"y ~ 0 + x"`` without an intercept, ``"y ~ x + offset(log(time))"``.
    common : sequence of str, optional
        Terms whose coefficient all components share, by the names that the fit gives them, for example ``["x"]``; a
        transformation or category by the name of the whole term. Fixed effects, in flexmix.
    coef, coef_common : PreliZ distribution, optional
        Priors of each coefficient. By default Normal(0, 2.5 s / sd(x)), with s the standard deviation of the response where
        eta is in its units and 1 elsewhere, and the intercept Normal about the response's centre, as wide as that
        implies at x = 0 (Gelman, Jakulin, Pittau & Su 2008; Gabry & Goodrich's rstanarm). EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If the family takes no covariates, the formula cannot be read, or a prior is not a distribution.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), n_components=2))
    Mixture of 2 Regression(Normal(), 'y ~ x') components, weights ~ Dirichlet(1)
    """

    family: Component
    formula: str
    common: tuple = ()
    coef: object = None
    coef_common: object = None
    design: Design | None = None
    basis: tuple = ()  # (term, term): what makes the columns orthonormal, own terms first
    numeric: ClassVar[bool] = True
    reads_frames: ClassVar[bool] = True

    def __post_init__(self):
        name = type(self.family).__name__
        if not isinstance(self.family, Component):
            raise TypeError(f"family must be a family such as bm.Normal(), but it is {self.family!r}.")
        if name not in LINKS or self.family.multivariate:
            raise TypeError(f"{name} takes no covariates here; families that do: {', '.join(LINKS)}.")
        if getattr(self.family, self.link.parameter, None) is not None:
            raise ValueError(
                f"{name} has a prior of {self.link.parameter}, which the covariates determine; give coef= to Regression, the "
                "prior of the coefficients."
            )
        if not designs.split(self.formula)[0]:
            raise ValueError(f'formula {self.formula!r} names no response; write "y ~ {self.formula.strip("~ ")}".')
        if isinstance(self.common, str):
            raise TypeError(f'common={self.common!r} but it is a list of terms: common=["{self.common}"].')
        if (
            self.family.constraints
            or isinstance(self.coef, Fixed | Shared)
            or isinstance(self.coef_common, Fixed | Shared)
        ):
            raise TypeError(
                "regressions take no bm.Fixed or bm.Shared parameters; common= names terms whose coefficient all components "
                "share, offset() in the formula has the coefficient one."
            )
        object.__setattr__(self, "common", tuple(self.common))
        self._check_priors(coef=REAL, coef_common=REAL)

    # -- what it is ----------------------------------------------------------------------------------------------------
    @property
    def link(self) -> Link:
        """How the family depends on the linear predictor."""
        return LINKS[type(self.family).__name__]

    @property
    def discrete(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Is the response?"""
        return self.family.discrete

    @property
    def takes_missing(self):
        """Rows without a response say nothing."""
        return True

    @property
    def given(self):
        """The columns of the design, once it is known."""
        return () if self.design is None else self.design.labels

    @cached_property
    def _further(self) -> tuple[Parameter, ...]:
        """Parameters that do not depend on covariates."""
        own = (p for p in self.family.parameters if p.name != self.link.parameter)
        return tuple(replace(p, reach=(p.reach[0], p.reach[1])) for p in own)

    @cached_property
    def parameters(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Coefficients, shared ones, and what else the family has."""
        shared = (Parameter("coef_common", ("common_term",)),) if self.common else ()
        return Parameter("coef", ("term",)), *shared, *self._further

    @cached_property
    def _own(self) -> list[int]:
        """Places of the terms whose coefficients differ between components."""
        return [j for j in range(len(self._terms)) if j not in self._shared]

    @cached_property
    def _shared(self) -> list[int]:
        terms = self._terms
        return [j for j, term in enumerate(terms) if any(_belongs(term, name) for name in self.common)]

    @property
    def _terms(self) -> tuple:
        if self.design is None:
            raise ValueError(
                f"the columns of {self} are not known before it has seen data; use mixture.resolved or a fit."
            )
        return self.design.terms

    def resolved(self, data: Any):
        """The same with what the formula has learnt from the data."""
        design = getattr(data, "design", None)
        return self if design is None else replace(self, design=design, basis=data.basis)

    def coords(self, data):
        """Names of terms."""
        names = np.array(self._terms)
        found = {"term": names[self._own]}
        return found | {"common_term": names[self._shared]} if self.common else found

    def n_features_of(self, params):
        """One."""
        return 1

    # -- data in -------------------------------------------------------------------------------------------------------
    @property
    def shared(self):
        """The coefficients that components have in common."""
        return ("coef_common",) if self.common else ()

    def read_rows(self, data, needs_response=True):
        """New rows, their columns made by what the formula has learnt."""
        if self.design is None:
            raise ValueError(
                f"{self} has seen no data; pass data= to Fit.from_parameters, so that the columns are known."
            )
        if isinstance(data, Data) and data.given == self.given:
            return data
        return self.read(data, needs_response=needs_response)

    def read(self, data, weights=None, needs_response=True):
        """The response, with the columns of the design behind it; what the formula learns from the rows if it is new."""
        left, right = designs.split(self.formula)
        frame, obs = designs.frame_of(data)
        learnt = self.design
        if learnt is None:
            learnt, matrix = Design.learn(right, frame)
        else:
            matrix = learnt.matrix(frame)
        if needs_response or all(name in frame.columns for name in designs.variables(left)):
            y = designs.response(left, frame)
        else:
            y = np.full(len(frame), np.nan)
        checked = as_data(y, weights=weights, missing=True)
        made = DesignedData(
            values=np.concatenate([checked.values, matrix], axis=1),
            feature=(left,),
            named=True,
            obs=checked.obs if obs is None else obs,
            weights=checked.weights,
            given=learnt.labels,
            design=learnt,
            basis=self.basis,
        )
        return made if self.design is not None else self._with_basis(made)

    def _with_basis(self, data):
        """The data with the matrix that makes their columns orthonormal; checks of the design."""
        known = replace(self, design=data.design)
        unknown = [name for name in self.common if not any(_belongs(term, name) for term in known._terms)]
        if unknown:
            raise ValueError(
                f"common names {', '.join(map(repr, unknown))}, but the terms of {self.formula!r} are "
                f"{', '.join(map(repr, known._terms))}."
            )
        if not known._own:
            raise ValueError(
                f"all terms of {self.formula!r} are common; leave at least one coefficient, such as Intercept, to components."
            )
        seen = data.informative if data.weights is None else data.informative & (data.weights > 0)
        weights = np.ones(data.n_obs) if data.weights is None else data.weights
        p = len(known._terms)
        order = known._own + known._shared
        basis = designs.orthogonal(data.values[seen, 1 : 1 + p], weights[seen], known._terms, order)
        return replace(data, basis=tuple(map(tuple, basis.tolist())))

    def arrange(self, data):
        """The data as `read` makes them."""
        labels = (*data.feature, *data.given)
        if self.design is None and isinstance(data, DesignedData):
            return data
        if self.design is not None and labels[1:] == self.design.labels:
            return data if data.given else data.arranged([0], range(1, len(labels)))
        return self.read(data, data.weights)

    def _response(self, data) -> Data:
        """The response alone."""
        return Data(np.ascontiguousarray(data.values[:, :1]), data.feature, data.named, data.obs, weights=data.weights)

    def check_data(self, data, n_components):
        """What the family asks of the response."""
        try:
            self.family.check_data(self._response(data), n_components)
        except ValueError as error:
            raise ValueError(f"the response {data.feature[0]}: {error}") from None

    def check_priors(self, data):
        """Priors of coefficients are for one, or for as many as there are."""
        known = self.resolved(data)
        for name, places in (("coef", known._own), ("coef_common", known._shared)):
            n = getattr(getattr(self, name), "n_features", None)
            if n not in (None, len(places)):
                terms = [known._terms[j] for j in places]
                raise ValueError(
                    f"the prior of {name} is for {n} terms, but there are {len(terms)}: {', '.join(terms)}."
                )
        self.family.check_priors(self._response(data))

    def check_parameters(self, params, n_components):
        """Coefficients finite, the others within their intervals."""
        k, found = n_components, {}
        for name, places in (("coef", self._own), ("coef_common", self._shared)):
            if name == "coef" or self.common:
                value = np.asarray(params[name], dtype=float)
                if name == "coef_common" and value.shape == (len(places),):
                    value = np.repeat(value[None], k, axis=0)
                found[name] = full_shape(value, (k, len(places)), name, f"{k} components and {len(places)} terms")
        for p in self._further:
            value = full_shape(params[p.name], (k,), p.name, f"{k} components")
            if np.any((value <= p.support[0]) | (value >= p.support[1])):
                raise ValueError(
                    f"{p.name} must lie between {p.support[0]:g} and {p.support[1]:g}, but it holds {value}."
                )
            found[p.name] = value
        return found

    # -- the formula ---------------------------------------------------------------------------------------------------
    def predictor(self, columns, params: dict):
        """Eta: columns (..., term [and offset]), coefficients (..., term) that broadcast against columns (..., 1)."""
        total = columns[..., len(self._terms)] if self.design is not None and self.design.has_offset else 0.0
        for name, places in (("coef", self._own), ("coef_common", self._shared)):
            for i, j in enumerate(places):
                total = total + columns[..., j] * params[name][..., i]
        return total

    def natural(self, eta, params: dict) -> dict:
        """Parameters of the family at a predictor."""
        other = {p.name: params[p.name] for p in self._further}
        xp = namespace(eta, *other.values())
        return other | {self.link.parameter: self.link.natural(xp, eta, other)}

    def _each_component(self, x, params):
        """Response (..., obs, 1) and predictor (..., obs, cluster)."""
        return x[..., :1], self.predictor(x[..., None, 1:], params)

    def log_density(self, x, params):
        """Log density of the response, in nats; x (..., obs, 1 + given) -> (..., obs, cluster)."""
        y, eta = self._each_component(x, params)
        if self.link.density is None:
            return self.family.log_density(y, self.natural(eta, params))
        other = {p.name: params[p.name] for p in self._further}
        xp = namespace(y, eta, *other.values())
        low, high = self._support
        inside = (y >= low) & (y <= high)
        inside = inside & xp.equal(xp.floor(y), y) if self.discrete else inside & (y > low)
        safe = xp.where(inside, y, max(low, 1.0) if np.isfinite(low) else 1.0)
        return xp.where(inside, self.link.density(xp, self.family, safe, eta, other), -np.inf)

    @property
    def _support(self):
        name, n = type(self.family).__name__, getattr(self.family, "n", 1)
        return {"Bernoulli": (0.0, 1.0), "Binomial": (0.0, float(n)), "Geometric": (1.0, np.inf)}.get(
            name, (0.0, np.inf)
        )

    def cdf(self, x, params):
        """Distribution function of the response, given the covariates."""
        y, eta = self._each_component(x, params)
        return self.family.cdf(y, self.natural(eta, params))

    def sample(self, params, rng, given=None):
        """One response per row of the parameters, given its covariates."""
        return self.family.sample(self._at(params, given), rng)

    def _at(self, params, given):
        """Parameters of the family, one for each row of parameters and covariates."""
        eta = np.asarray(self.predictor(np.asarray(given), params), dtype=float)
        return {n: np.broadcast_to(v, eta.shape) for n, v in self.natural(eta, params).items()}

    def mean(self, x, params):
        """Mean of the response at rows x (..., obs, 1 + given), (..., obs, cluster); NumPy only."""
        _, eta = self._each_component(x, params)
        mean = self.family.mean_and_variance(self.natural(eta, params))[0]
        return np.broadcast_to(mean, np.shape(eta))

    def quantile(self, q, x, params):
        """Quantile of the response at rows x (..., obs, 1 + given), (..., obs, cluster); NumPy only."""
        _, eta = self._each_component(x, params)
        return self.family.marginal_quantile(q, self.natural(eta, params))[..., 0]

    def marginal_quantile(self, q, params):
        """Not known without covariates."""
        raise ValueError(_NO_MARGINAL)

    def marginal_cdf(self, x, params, feature):
        """Not known without covariates."""
        raise ValueError(_NO_MARGINAL)

    def missing_moments(self, x, gone, params):
        """Mean and variance of the response, given the covariates of the row."""
        eta = np.asarray(self._each_component(x, params)[1])
        mean, variance = self.family.mean_and_variance(self.natural(eta, params))
        return np.broadcast_to(mean, eta.shape)[..., None], np.broadcast_to(variance, eta.shape)[..., None]

    # -- the pass ------------------------------------------------------------------------------------------------------
    @property
    def formula_pass(self) -> Predicted:
        """The log density given the predictor, traced."""
        return _predicted(self.family)

    @property
    def kernel(self):
        """The pass written from it."""
        return self.formula_pass.name

    @cached_property
    def _basis(self) -> np.ndarray:
        return np.array(self.basis)

    @cached_property
    def _inverse_basis(self) -> np.ndarray:
        return np.linalg.inv(self._basis)

    def rows(self, data):
        """What the density reads of the response, the offset, and the orthonormal columns; kept with the data."""
        kept = data.__dict__.get("_rows_of")
        if kept is None or kept[0] is not self:
            kept = self, self._rows(data)
            object.__setattr__(data, "_rows_of", kept)
        return kept[1]

    def _rows(self, data):
        p = len(self._terms)
        columns = data.values[:, 1 : 1 + p][:, self._own + self._shared] @ self._basis
        offset = data.values[:, 1 + p] if data.values.shape[1] > 1 + p else np.zeros(data.n_obs)
        return Rows(self.formula_pass.prepare(data.values[:, 0], offset, columns), _weights(data), 0.0)

    def kernel_arguments(self, params):
        """Further parameters and the coefficients of the orthonormal columns, (cluster, number), and nothing."""
        coef = np.concatenate([params[name] for name in self._coefficients], axis=1) @ self._inverse_basis.T
        further = [np.asarray(params[p.name], dtype=float)[:, None] for p in self._further]
        a = np.concatenate([*further, coef], axis=1)
        return np.ascontiguousarray(a), np.zeros((len(a), 0))

    @property
    def _coefficients(self):
        return ("coef", "coef_common") if self.common else ("coef",)

    def _named(self, a):
        """Parameters by name from (..., cluster, number)."""
        m = len(self._further)
        coef = a[..., m:] @ self._basis.T
        n = len(self._own)
        found = {"coef": np.ascontiguousarray(coef[..., :n])}
        if self.common:
            shared = coef[..., n:].mean(axis=-2, keepdims=True)
            found["coef_common"] = np.ascontiguousarray(np.broadcast_to(shared, coef[..., n:].shape))
        return found | {p.name: np.ascontiguousarray(a[..., i]) for i, p in enumerate(self._further)}

    def expected_statistics(self, missing=False):
        """The pass of second order, whose second statistics are the expected Hessian."""
        return self.formula_pass.functions.second

    def kernel_for(self, missing):
        """Rows without a response are left out before."""
        return self.kernel

    # -- the M-step ----------------------------------------------------------------------------------------------------
    @cached_property
    def _bounds(self):
        """Ends of the intervals and how far EM goes, (number,) each."""
        free = [(-np.inf, np.inf, -np.inf, np.inf)] * len(self._terms)
        ends = np.array([*((*p.support, *p.reach) for p in self._further), *free], dtype=float)
        return tuple(np.ascontiguousarray(column) for column in ends.T)

    def initial_params(self, data, n_components):
        """The regression of all rows, for every component."""
        ones = np.ones(data.n_obs) if data.weights is None else data.weights
        whole = self.maximise_given(data, ones[:, None])
        return {name: np.repeat(value, n_components, axis=0) for name, value in whole.items()}

    def partition(self, data, n_components, rng):
        """Rows by the nearest of random regressions, each through as many random rows as it has coefficients.

        A quarter of the time None: a partition by the response, as of other families.
        """
        if rng.random() < 0.25:
            return None
        x = self.rows(data).x[:, -len(self._terms) :]
        z = self.link.scale(self.family, data.values[:, 0])
        possible = np.arange(len(z)) if data.weights is None else np.flatnonzero(data.weights > 0)
        size = min(x.shape[1], len(possible))
        squared = np.empty((len(z), n_components))
        for k in range(n_components):
            rows = rng.choice(possible, size, replace=False)
            line = np.linalg.lstsq(x[rows], z[rows], rcond=1e-8)[0]
            squared[:, k] = (z - x @ line) ** 2
        nearest = squared.min(axis=1, keepdims=True)
        exponent = -0.5 * (squared - nearest) / max(float(np.mean(nearest)), 1e-300)
        kernel = np.exp(np.maximum(exponent, -700.0))
        return kernel / kernel.sum(axis=1, keepdims=True)

    def start_given(self, data, responsibilities):
        """Rough parameters: least squares on the scale of the predictor, then the family's own by moments."""
        y, rows, w = data.values[:, 0], self.rows(data), np.asarray(responsibilities, dtype=float)
        x = rows.x[:, -len(self._terms) :]
        offset = rows.x[:, -len(self._terms) - 1]
        z = self.link.scale(self.family, y) - offset
        every = np.ones(len(y)) if data.weights is None else data.weights
        overall = x.T @ (every * z) / every.sum()
        theta = _lines(x, z, w, np.broadcast_to(overall, (w.shape[1], x.shape[1])), RIDGE)
        if self.common:
            n_own = len(self._own)
            theta[:, n_own:] = np.average(theta[:, n_own:], axis=0, weights=np.maximum(w.sum(axis=0), 1e-300))
        eta = offset[:, None] + x @ theta.T
        return self._named(np.concatenate([self._start_further(y, z, eta, x @ theta.T, w), theta], axis=1))

    def _start_further(self, y, z, eta, fitted, w):
        """Further parameters (cluster, M) from the moments of what is left."""
        total = np.maximum(w.sum(axis=0), 1e-300)
        if self.link.normal:
            left = (w * (z[:, None] - fitted) ** 2).sum(axis=0) / total
            return np.sqrt(np.maximum(left, 1e-8 * np.var(z) + 1e-300))[:, None]
        if not self._further:
            return np.empty((w.shape[1], 0))
        mean = eta if self.link.in_units else np.exp(np.clip(eta, -300, 300))
        centre = (w * mean).sum(axis=0) / total
        spread = (w * (y[:, None] - mean) ** 2 / (1.0 if self.link.in_units else mean**2)).sum(axis=0) / total
        spread = spread if self.link.in_units else spread * centre**2
        variance = np.maximum(spread, 1e-6 * np.var(y) + 1e-300)
        moments = Moments(centre, variance, float(y.min()), float(y.max()), np.full(len(centre), 0.5))
        start = getattr(self.family, "start", lambda _: {})(moments) or {}
        return np.stack(
            [np.asarray(start.get(p.name, 1.0), dtype=float) * np.ones(len(centre)) for p in self._further], 1
        )

    def maximise_given(self, data, responsibilities, guard=None):
        """Parameters that maximise the expected log-likelihood, for responsibilities (obs, cluster) times row weights."""
        params, rows = self.start_given(data, responsibilities), self.rows(data).x
        w = np.ascontiguousarray(responsibilities, dtype=float)
        functions = self.formula_pass.functions
        if not (self.link.normal or self.common):
            of_guard = (0.0, 0.0) if guard is None else (float(guard.n), float(np.ravel(guard.second)[0]))
            moves = np.array([self.link.in_units] * len(self._bounds[0]))
            moves[: len(self._further)] = [p.moves for p in self._further]
            start = self.kernel_arguments(params)[0]
            a, _ = maximise(functions, rows, w, start, of_guard, self._bounds, moves, MOST_STEPS, SETTLED)
            return self._named(a)
        if not self.common:
            return self._exact(params, data, w, guard)
        best, n = -np.inf, w.sum(axis=0)
        for _ in range(MOST_STEPS):
            value, first, second = functions.complete(rows, w, self.kernel_arguments(params)[0])
            total = value.sum() + (0.0 if guard is None else self.guard_value(params, guard))
            if not total > best + SETTLED * n.sum():
                break
            best, before = total, params
            params = self.m_step(before, Statistics(np.nan, n, first, second), guard)
        return params

    def _exact(self, params, data, w, guard):
        """Weighted least squares of a normal response, from the coefficients of these parameters where rows are too few."""
        rows, a = self.rows(data).x, self.kernel_arguments(params)[0]
        x = rows[:, -len(self._terms) :]
        z = self.link.scale(self.family, data.values[:, 0]) - rows[:, -len(self._terms) - 1]
        theta, n = _lines(x, z, w, a[:, 1:], 1e-12), w.sum(axis=0)
        extra, more = (0.0, 0.0) if guard is None else (float(np.ravel(guard.second)[0]), float(guard.n))
        left = (w * (z[:, None] - x @ theta.T) ** 2).sum(axis=0) + extra
        sigma = np.where(n + more > 0, np.sqrt(left / np.where(n + more > 0, n + more, 1.0)), a[:, 0])
        return self._named(np.concatenate([sigma[:, None], np.where(n[:, None] > 0, theta, a[:, 1:])], axis=1))

    @property
    def newton_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The step of `m_step`, for compiled EM; with common coefficients there is none."""
        if self.common:
            return None
        moves = np.array([False] * len(self._further) + [self.link.in_units] * len(self._terms))
        functions, bounds = self.formula_pass.functions, np.stack(self._bounds)
        return NewtonStep(functions, bounds, moves, self._named, self.link.width is not None, self.link.normal)

    def m_step(self, params, statistics, guard=None):
        """Weighted least squares for normal responses; otherwise one Newton step up the expected log-likelihood.

        Least squares are exact with coefficients of each component's own; with common ones they are given the scales of
        before (Meng & Rubin 1993).
        """
        if self.link.normal:
            return self._least_squares(params, statistics, guard)
        if guard is not None:
            statistics = self.with_guard(params, statistics, guard)
        a, scale = self.kernel_arguments(params)[0], self._scales(params)
        low, high, least, most = self._bounds
        n, first, second = statistics.n, statistics.first, statistics.second
        if self.common:
            moved = self._joint_step(params, n, first, second, scale)
        else:
            moved, _ = newton(a, n, first, second, low, high, least, most, scale)
        return self._named(parameters_at(moved, low, high, least, most))

    def _least_squares(self, params, statistics, guard):
        """Exact from gradient and Hessian in the coefficients: the residuals are linear in them."""
        n, first, second = statistics.n, statistics.first, statistics.second
        sigma, (a, _) = params["sigma"], self.kernel_arguments(params)
        variance = sigma**2
        gram = -second[:, 1:, 1:] * variance[:, None, None]
        right = first[:, 1:] * variance[:, None]
        squares = (first[:, 0] + n / sigma) * sigma**3
        tiny = 1e-12 * np.maximum(n, 1e-300)[:, None, None] * np.eye(gram.shape[1])
        if not self.common:
            step = np.linalg.solve(gram + tiny, right[..., None])[..., 0]
        else:
            step = self._shared_solution((gram + tiny) / variance[:, None, None], right / variance[:, None])
        left = squares + np.einsum("kij,ki,kj->k", gram, step, step) - 2.0 * (step * right).sum(axis=1)
        extra, rows = (0.0, 0.0) if guard is None else (float(np.ravel(guard.second)[0]), float(guard.n))
        some = n + rows > 0
        new = np.sqrt(np.maximum(left + extra, 0.0) / np.where(some, n + rows, 1.0))
        moved = np.concatenate(
            [np.where(some, new, sigma)[:, None], a[:, 1:] + np.where(n > 0, 1.0, 0.0)[:, None] * step], 1
        )
        return self._named(moved)

    def _spread_out(self):
        """Place of each (cluster, coefficient) in a vector that holds shared ones once: (number,), own ones first."""

        def places(k):
            n_own, n_shared = len(self._own), len(self._shared)
            own = np.arange(k * n_own).reshape(k, n_own)
            return np.concatenate([own, np.broadcast_to(k * n_own + np.arange(n_shared), (k, n_shared))], axis=1)

        return places

    def _shared_solution(self, gram, right):
        """Least squares with shared coefficients: gram (K, P, P), right (K, P) -> (K, P)."""
        at = self._spread_out()(len(gram))
        size = int(at.max()) + 1
        matrix, vector = np.zeros((size, size)), np.zeros(size)
        for k in range(len(gram)):
            matrix[np.ix_(at[k], at[k])] += gram[k]
            np.add.at(vector, at[k], right[k])
        return np.linalg.solve(matrix, vector)[at]

    def _joint_step(self, params, n, first, second, scale):
        """A Newton step in all free coordinates at once, for shared coefficients; bounded as that of each component is."""
        k, m = len(n), len(self._further)
        low, high, *_ = self._bounds
        at = np.concatenate([np.arange(k * m).reshape(k, m), k * m + self._spread_out()(k)], axis=1)
        size, slopes = int(at.max()) + 1, np.stack([s[:, :] for s in self._slopes_and_bends(params)])
        matrix, vector = np.zeros((size, size)), np.zeros(size)
        for c in range(k):
            slope = slopes[0, c] * scale[c]
            hessian = second[c] * np.outer(slope, slope) + np.diag(first[c] * slopes[1, c] * scale[c] ** 2)
            matrix[np.ix_(at[c], at[c])] += hessian
            np.add.at(vector, at[c], first[c] * slope)
        curvature, axes = np.linalg.eigh(-matrix)
        flattest = 1e-8 * max(np.abs(curvature).max(), 1e-12 * n.sum())
        step = axes @ (axes.T @ vector / np.maximum(np.abs(curvature), flattest))
        step *= min(1.0, LONGEST / max(np.abs(step).max(), 1e-300))
        a = self.kernel_arguments(params)[0]
        coordinates = np.stack([_to_real(a[:, i], (low[i], high[i])) for i in range(a.shape[1])], axis=1)
        return coordinates + step[at] * scale

    # -- the guard -----------------------------------------------------------------------------------------------------
    def _width(self, params):
        """Spread of each component; of one width where none can collapse."""
        if self.link.width is None:
            return np.ones(len(params["coef"]))
        return np.asarray(self.link.width(namespace(), {p.name: params[p.name] for p in self._further}), dtype=float)

    def _of_guard(self, params, guard):
        square = float(np.ravel(guard.second)[0])
        return self.formula_pass.functions.guard(self.kernel_arguments(params)[0], float(guard.n), square)

    def guard_value(self, params, guard):
        """Log density of normal rows about a component's own fit: n (-log s) - second / (2 s^2), s the spread."""
        return float(self._of_guard(params, guard)[0].sum())

    def guard_score(self, params, guard):
        """Gradient of the guard in the kernel's arguments."""
        first = self._of_guard(params, guard)[1]
        return first, np.zeros((len(first), 0))

    def with_guard(self, params, statistics, guard):
        """The expected gradient and Hessian with those of the guard."""
        _, of_first, of_second = self._of_guard(params, guard)
        return statistics._replace(first=statistics.first + of_first, second=statistics.second + of_second)

    def guard(self, data, strength):
        """Rows of the spread about one regression of all rows; None where nothing can collapse."""
        if self.link.width is None:
            return None
        square = self._width(self.initial_params(data, 1)) ** 2
        return Guard(strength, strength * np.atleast_1d(square))

    def guard_around(self, params, strength):
        """Rows of the spread pooled within the components."""
        return Guard(strength, strength * np.atleast_1d(params["weights"] @ self._width(params) ** 2))

    def collapsed(self, params, data):
        """Squared spread of each component over that pooled within components."""
        width = self._width(params)
        return width**2 / (params["weights"] @ width**2)

    def thin_direction(self, params, k):
        """There is one column that is modelled."""
        return None if self.link.width is None else np.ones(1)

    # -- free coordinates: coefficients of the orthonormal columns, those of components first; then the others ----------
    @property
    def _free(self):
        return [i for i, p in enumerate(self._further) if p.known is None]

    def n_free(self, n_components, n_features):
        """Coefficients, shared ones once, and the others of each component."""
        return n_components * (len(self._own) + len(self._free)) + len(self._shared)

    def to_vector(self, params):
        """Coefficients of components, shared ones, transformed others."""
        a, m, n_own = self.kernel_arguments(params)[0], len(self._further), len(self._own)
        with np.errstate(divide="ignore"):
            others = [_to_real(a[:, i], self._further[i].support) for i in self._free]
        return np.concatenate([a[:, m : m + n_own].ravel(), a[0, m + n_own :], *others])

    def from_vector(self, vector, n_components, n_features):
        """The parameters, as far as EM goes."""
        vector, k = np.asarray(vector, dtype=float), n_components
        n_own, n_shared, lead = len(self._own), len(self._shared), vector.shape[:-1]
        own = vector[..., : k * n_own].reshape(*lead, k, n_own)
        shared = vector[..., None, k * n_own : k * n_own + n_shared]
        rest, further = vector[..., k * n_own + n_shared :], []
        for p in self._further:
            if p.known is not None:
                further.append(np.full((*lead, k, 1), p.known))
                continue
            further.append(_within(_from_real(rest[..., :k], p.support), *p.reach)[..., None])
            rest = rest[..., k:]
        return self._named(np.concatenate([*further, own, np.broadcast_to(shared, (*lead, k, n_shared))], axis=-1))

    def _slopes_and_bends(self, params):
        """Derivatives of the kernel's arguments in their own coordinates, (cluster, number), first and second."""
        k, p = len(params["coef"]), len(self._terms)
        pairs = [_slope(params[one.name], one.support) for one in self._further]
        one, none = np.ones((k, p)), np.zeros((k, p))
        return tuple(
            np.concatenate([*(pair[i][:, None] for pair in pairs), rest], axis=1) for i, rest in enumerate((one, none))
        )

    def _gathered(self, values):
        """Of numbers for each kernel argument (cluster, number): in free coordinates, shared ones summed."""
        m, n_own = len(self._further), len(self._own)
        parts = [values[:, m : m + n_own].ravel(), values[:, m + n_own :].sum(axis=0)]
        return np.concatenate([*parts, *(values[:, i] for i in self._free)])

    def vector_gradient(self, params, d_a, d_b):
        """The gradient times the slopes; none where EM goes no farther."""
        a, (_, _, least, most) = self.kernel_arguments(params)[0], self._bounds
        held = ((a <= least) & (d_a < 0)) | ((a >= most) & (d_a > 0))
        return self._gathered(np.where(held, 0.0, d_a * self._slopes_and_bends(params)[0]))

    def vector_curvature(self, params, d_a, d_b):
        """Diagonal: the gradient times second derivatives."""
        return np.diag(self._gathered(d_a * self._slopes_and_bends(params)[1]))

    def vector_jacobian(self, params):
        """Derivatives of coefficients by the basis, of the others by their slopes."""
        k, n_own, n_shared = len(params["coef"]), len(self._own), len(self._shared)
        size, basis = self.n_free(k, 1), self._basis
        jacobian: dict = {"coef": np.zeros((k, n_own, size))}
        for c in range(k):
            jacobian["coef"][c, :, c * n_own : (c + 1) * n_own] = basis[:n_own, :n_own]
            jacobian["coef"][c, :, k * n_own : k * n_own + n_shared] = basis[:n_own, n_own:]
        if self.common:
            jacobian["coef_common"] = np.zeros((k, n_shared, size))
            jacobian["coef_common"][:, :, k * n_own : k * n_own + n_shared] = basis[n_own:, n_own:]
        slopes = self._slopes_and_bends(params)[0]
        for i, p in enumerate(self._further):
            jacobian[p.name] = np.zeros((k, size))
            if p.known is None:
                at = k * n_own + n_shared + self._free.index(i) * k
                jacobian[p.name][range(k), range(at, at + k)] = slopes[:, i]
        return jacobian

    def _scales(self, params):
        """Length over which the density changes in the coordinate of each kernel argument, (cluster, number)."""
        k, width = len(params["coef"]), self._width(params)
        unit = width[:, None] if self.link.in_units else np.ones((k, 1))
        return np.ascontiguousarray(
            np.concatenate([np.ones((k, len(self._further))), unit * np.ones((k, len(self._terms)))], 1)
        )

    def coordinate_scale(self, params):
        """The spread for coefficients in the units of the response, otherwise 1."""
        gathered = self._gathered(self._scales(params))
        n_own, n_shared, k = len(self._own), len(self._shared), len(params["coef"])
        gathered[k * n_own : k * n_own + n_shared] /= k
        return gathered

    # -- priors and PyMC -----------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        weights = np.ones(data.n_obs) if data.weights is None else data.weights
        p, y = len(self._terms), data.values[:, 0]
        x = data.values[:, 1 : 1 + p]
        z = self.link.scale(self.family, y)
        centre = float(np.average(z, weights=weights))
        unit = float(np.sqrt(np.average((z - centre) ** 2, weights=weights))) if self.link.in_units else 1.0
        mean = np.average(x, axis=0, weights=weights)
        sd = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
        constant = sd <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
        slopes = 2.5 * unit / np.where(constant, 1.0, sd)
        at_zero = np.sqrt((2.5 * unit) ** 2 + np.sum(np.where(constant, 0.0, mean * slopes) ** 2))
        location = np.where(constant, centre / np.where(constant, mean, 1.0), 0.0)
        width = np.where(constant, at_zero / np.abs(np.where(constant, mean, 1.0)), slopes)
        found, notes = {}, {}
        for name, places in (("coef", self._own), ("coef_common", self._shared)):
            if places:
                found[name] = Prior.of("Normal", mu=location[places], sigma=width[places])
                notes[name] = PRIOR_NOTE
        rest = self.family.priors(self._response(data), n_components)
        for p_ in self._further:
            found[p_.name] = rest[p_.name]
            if p_.name in rest.notes:
                notes[p_.name] = rest.notes[p_.name]
        return Priors(found, notes)

    def pymc_variables(self, priors, n_components, n_features):
        """Coefficients with dims cluster and term, shared ones with their own; a is made of them by the basis."""
        import pymc as pm
        import pytensor.tensor

        pt: Any = pytensor.tensor
        n = len(self._own)
        own, both = self._basis[:n, :n], self._basis[n:, n:]
        params = {"coef": coefficients(priors["coef"], "coef", ("cluster", "term"), own)}
        if self.common:
            shared = coefficients(priors["coef_common"], "coef_common", ("common_term",), both)
            params["coef_common"] = pt.broadcast_to(shared[None, :], (n_components, len(self._shared)))
        for p in self._further:
            if p.known is None:
                params[p.name] = priors[p.name].variable(p.name, dims="cluster")
            else:
                params[p.name] = pm.Deterministic(p.name, pt.as_tensor(np.full(n_components, p.known)), dims="cluster")
        coef = pt.concatenate([params[name] for name in self._coefficients], axis=1)
        theta = pt.dot(coef, pt.as_tensor(np.ascontiguousarray(self._inverse_basis.T)))
        a = pt.concatenate([*(params[p.name][:, None] for p in self._further), theta], axis=1)
        return params, (a, pt.zeros((n_components, 0)))

    def pymc_dist(self, params, given=None):
        """PyMC's distribution of the response at each row's own coefficients and covariates."""
        import pytensor.tensor as pt

        return self.family.pymc_dist(self.natural(self.predictor(pt.as_tensor(np.asarray(given)), params), params))

    # -- words ---------------------------------------------------------------------------------------------------------
    def __str__(self):
        extra = f", common={list(self.common)}" if self.common else ""
        priors = "".join(f", {n}={getattr(self, n)}" for n in ("coef", "coef_common") if getattr(self, n) is not None)
        return f"Regression({self.family}, {self.formula!r}{extra}{priors})"


_NO_MARGINAL = "the response depends on covariates; pass rows for it: fit.quantile(q, data=rows), fit.predict(rows), fit.cdf(rows)."


def _lines(x, z, w, about, ridge):
    """Coefficients (cluster, term) of least squares of z (obs,) on x (obs, term), weights w (obs, cluster).

    They are drawn to those of `about` by so many rows for each row of a component.
    """
    weighted = np.ascontiguousarray(w.T)
    gram = (weighted[:, None, :] * x.T) @ x
    right = (weighted * (z - about @ x.T)) @ x
    pull = ridge * np.maximum(weighted.sum(axis=1), 1e-290)
    return about + np.linalg.solve(gram + pull[:, None, None] * np.eye(x.shape[1]), right[..., None])[..., 0]


def _belongs(term: str, name: str) -> bool:
    """Is a column one of the term of this name?"""
    return term == name or term.startswith(f"{name}[")


def coefficients(prior, name, dims, basis):
    """Make the variable of coefficients, which samplers see in the coordinates of orthonormal columns."""
    import pymc as pm
    import pytensor.tensor as pt

    class Orthonormal(pm.distributions.transforms.Transform):
        """Coefficients of orthonormal columns: those of the columns times the inverse of their basis."""

        name = "orthonormal"

        def forward(self, value, *inputs):
            return pt.dot(value, pt.as_tensor(np.ascontiguousarray(np.linalg.inv(basis).T)))

        def backward(self, value, *inputs):
            return pt.dot(value, pt.as_tensor(np.ascontiguousarray(basis.T)))

        def log_jac_det(self, value, *inputs):
            return pt.zeros(value.shape[:-1]) + np.linalg.slogdet(basis)[1]

    bounded = getattr(prior, "support", REAL) != REAL
    return prior.variable(name, dims=dims, **({} if bounded else {"transform": Orthonormal()}))


@lru_cache(maxsize=128)
def _predicted(family: Component) -> Predicted:
    """The pass of a family; priors change nothing, but families with them are others."""
    link = LINKS[type(family).__name__]
    names = [p.name for p in family.parameters if p.name != link.parameter]

    def density(y, eta, other):
        xp = namespace(y, eta)
        if link.density is not None:
            return link.density(xp, family, y, eta, other)
        return family.log_density(y, other | {link.parameter: link.natural(xp, eta, other)})

    spread = None
    if link.width is not None:
        symbols = {name: parameter(i) for i, name in enumerate(names)}
        spread = link.width(namespace(*symbols.values()), symbols)
    return Predicted(trace(density, names), len(names), spread)
