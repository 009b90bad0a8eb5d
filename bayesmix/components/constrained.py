r"""Families with parameters that are known, or one for all components.

The free coordinates z of a family, of all components, are an affine function of fewer: :math:`z = c + S y`, where S picks
for each coordinate the one that it is, or none where it is known. Gradients are then :math:`S' g`, second derivatives
:math:`S' H S`, and everything else is the family's own.
"""

from abc import update_abstractmethods
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..constraints import Fixed, Shared
from ..likelihood.ascent import LONGEST
from ..priors import Priors, ProportionalLogNormal, dim
from ..weight_priors import Dirichlet
from .base import Component, Statistics
from .normal import recentre
from .univariate import Univariate

MOST_STEPS = 60  # of Newton's method, in one M-step on given responsibilities
MOST_ROUNDS = 100  # of a location and a spread in turn
SETTLED = 1e-10  # gain of a step, in nats per row, or change relative to the spread, below which it is the last


class _Layout(NamedTuple):
    """Where the coordinates of a family are found in those that are left."""

    source: np.ndarray  # (full,) places; -1: known
    first: np.ndarray  # (left,) for each coordinate that is left, the first that it is
    known: np.ndarray  # (full,) values; 0 where they are not known


@dataclass(frozen=True)
class Constrained(Component):
    """A family some of whose settings are `Fixed` or `Shared`, for so many components."""

    family: Any  # a Component, as it was given
    n_components: int

    def __post_init__(self):
        if not (isinstance(self.free, Univariate) or self.free.kernel in ("linear", "diagonal", "full")):
            raise ValueError(
                f"{self.family} cannot hold parameters fixed or share them: families of one column, bm.MvNormal, "
                "bm.Multinomial and parts of a bm.Product can."
            )
        for name, constraint in self.constraints.items():
            if isinstance(constraint, Fixed):
                self._check_count(name, constraint)
            elif not self.free.smooth and self._parameter(name).moves:
                raise ValueError(
                    f"{self.family} has a kink at {name}, where EM looks for each component by itself; {name} cannot be "
                    "shared. Use bm.StudentT, or a known value, bm.Fixed(...)."
                )

    def _check_count(self, name, fixed):
        """Raise `ValueError` if the number of values is not that of components; of vectors the rest comes with data."""
        own = len(self._parameter(name).event_dims)
        shape = np.shape(fixed.value)
        fixed.full(self.n_components, shape[len(shape) - own :] if len(shape) >= own else (), name)

    def _parameter(self, name):
        return next(p for p in self.free.parameters if p.name == name)

    def __getattr__(self, name):
        """What only some families have."""
        if name.startswith("__") or name in ("family", "free"):
            raise AttributeError(name)
        return getattr(self.free, name)

    # -- the two families ------------------------------------------------------------------------------------------------
    @property
    def constraints(self) -> dict:
        """What is known or shared, by parameter."""
        return self.family.constraints

    @cached_property
    def free(self) -> Any:
        """The family without constraints; the priors of what is shared are its own."""
        return self.family.with_priors({n: getattr(c, "prior", None) for n, c in self.constraints.items()})

    @property
    def shared(self):
        """Names of the parameters that are one for all components."""
        return tuple(name for name, c in self.constraints.items() if isinstance(c, Shared))

    @property
    def _fixed(self) -> dict:
        return {name: c for name, c in self.constraints.items() if isinstance(c, Fixed)}

    def for_components(self, n_components):
        """The same for another number of components."""
        return self if n_components == self.n_components else self.family.for_components(n_components)

    def resolved(self, data):
        """With what the family leaves to the data, stated."""
        return replace(self, family=self.family.resolved(data))

    def alternatives(self):
        """As many as the family's."""
        return tuple(replace(self, family=one) for one in self.family.alternatives())

    def exchangeable(self, n_components):
        """Those with the same known values."""
        own = [self.free.exchangeable(n_components)[:, None]]
        for name, fixed in self._fixed.items():
            own.append(fixed.by_component(n_components, len(self._parameter(name).event_dims)))
        return np.unique(np.concatenate(own, axis=1), axis=0, return_inverse=True)[1].ravel()

    def assigned(self, responsibilities, rng):
        """In any order where known values tell the components apart."""
        order = rng.permutation(self.n_components) if np.any(self.exchangeable(self.n_components)) else slice(None)
        return self.free.assigned(responsibilities, rng)[:, order]

    @property
    def smooth(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Also where the family has a kink, at a place that is known."""
        return self.free.smooth or all(p.name in self._fixed for p in self.free.parameters if p.moves)

    @property
    def posterior_layout(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """None: compiled posteriors know of no constraints."""
        return None

    @property
    def newton_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """None: compiled M-steps know of no constraints."""
        return None

    @property
    def compiled_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """None: compiled M-steps know of no constraints."""
        return None

    # -- parameters ------------------------------------------------------------------------------------------------------
    def imposed(self, params: dict, n=None) -> dict:
        """Parameters (..., cluster, ...) with known values put in; what is shared is the mean, weighted by rows n (cluster,)."""
        found = dict(params)
        for name in self.shared:
            value = np.asarray(params[name])
            axis = value.ndim - 1 - len(self._parameter(name).event_dims)
            n = None if n is None or not np.sum(n) > 0 else n
            mean = np.expand_dims(np.average(value, axis=axis, weights=n), axis)
            found[name] = np.broadcast_to(mean, value.shape).copy()
        return self._with_known(found)

    def _with_known(self, params):
        found = dict(params)
        for name, fixed in self._fixed.items():
            shape, own = np.shape(params[name]), len(self._parameter(name).event_dims)
            value = fixed.full(self.n_components, shape[len(shape) - own :], name)
            found[name] = np.broadcast_to(value, shape).copy()
        return found

    def check_parameters(self, params, n_components):
        """What the family asks, and the constraints; what is shared may be given once."""
        params, k = dict(params), n_components
        for name in self.shared:
            value = np.asarray(params[name], dtype=float)
            if value.ndim == len(self._parameter(name).event_dims):
                params[name] = np.repeat(value[None], k, axis=0)
        checked = self.free.check_parameters(params, k)
        for name, value in self._with_known(checked).items():
            if name in self._fixed and not np.allclose(checked[name], value, rtol=1e-12, atol=0):
                raise ValueError(f"{name} is fixed at {self.constraints[name]}, but it holds {checked[name]}.")
            if name in self.shared and np.any(checked[name] != checked[name][:1]):
                raise ValueError(f"{name} is one for all components, but it holds {checked[name]}.")
        return self._with_known(checked)

    def check_data(self, data, n_components):
        """What the family asks; known values must be for as many columns."""
        self.free.check_data(data, n_components)
        resolved = self.resolved(data)
        resolved.initial_params(data, n_components)  # raises for shapes that are wrong

    def initial_params(self, data, n_components):
        """The family's, with the known values."""
        return self.imposed(self.free.initial_params(data, n_components))

    def canonical(self, params):
        """The family's; known values stay."""
        return self._with_known(self.free.canonical(params))

    def beside_saddle(self, params):
        """The family's, as far as the constraints let them be."""
        return [self.imposed(near, near["weights"]) for near in self.free.beside_saddle(params)]

    # -- free coordinates: those of the family that are left ---------------------------------------------------------------
    def _layout(self, n_features) -> _Layout:
        return _layout_of(self, n_features)

    def _of(self, params) -> _Layout:
        return self._layout(self.free.n_features_of(params))

    def n_free(self, n_components, n_features):
        """Those of the family that are neither known nor repeated."""
        return len(self._layout(n_features).first)

    def to_vector(self, params):
        """Of what is shared, those of the first component."""
        return self.free.to_vector(params)[..., self._of(params).first]

    def _full(self, vector, layout):
        vector = np.asarray(vector, dtype=float)
        padded = np.concatenate([vector, np.zeros((*vector.shape[:-1], 1))], axis=-1)
        return np.where(layout.source < 0, layout.known, padded[..., layout.source])

    def from_vector(self, vector, n_components, n_features):
        """Known values as they are, and what is shared in all components alike, to the last bit."""
        found = self.free.from_vector(self._full(vector, self._layout(n_features)), n_components, n_features)
        for name in self.shared:
            axis = found[name].ndim - 1 - len(self._parameter(name).event_dims)
            found[name] = np.broadcast_to(np.take(found[name], [0], axis=axis), found[name].shape).copy()
        return self._with_known(found)

    def _summed(self, values, layout, axis=-1):
        """S' along an axis."""
        values = np.moveaxis(np.asarray(values, dtype=float), axis, 0)
        out = np.zeros((len(layout.first), *values.shape[1:]))
        np.add.at(out, layout.source[layout.source >= 0], values[layout.source >= 0])
        return np.moveaxis(out, 0, axis)

    def _pooled(self, d_a):
        """The gradient in a, its columns that are shared as the mean of all components.

        Their sum is the same, but whether it leads beyond the end of what EM goes to is told by all of them together.
        """
        if not self.free.numeric:
            return d_a
        columns = [i for i, p in enumerate(self.free.parameters) if p.name in self.shared]
        pooled = np.array(d_a, dtype=float)
        pooled[:, columns] = pooled[:, columns].mean(axis=0)
        return pooled

    def vector_gradient(self, params, d_a, d_b):
        """S' g."""
        return self._summed(self.free.vector_gradient(params, self._pooled(d_a), d_b), self._of(params))

    def gradient_at(self, vector, params, d_a, d_b):
        """S' g, at these coordinates."""
        layout = self._of(params)
        full = self._full(vector, layout)
        return self._summed(self.free.gradient_at(full, params, self._pooled(d_a), d_b), layout)

    def vector_curvature(self, params, d_a, d_b):
        """S' H S."""
        layout = self._of(params)
        return self._summed(self._summed(self.free.vector_curvature(params, d_a, d_b), layout), layout, 0)

    def curvature_at(self, vector, params, d_a, d_b):
        """S' H S, at these coordinates."""
        layout = self._of(params)
        found = self.free.curvature_at(self._full(vector, layout), params, d_a, d_b)
        return self._summed(self._summed(found, layout), layout, 0)

    def vector_jacobian(self, params):
        """J S."""
        layout = self._of(params)
        return {name: self._summed(value, layout) for name, value in self.free.vector_jacobian(params).items()}

    def coordinate_scale(self, params):
        """The smallest of the components'."""
        layout = self._of(params)
        out, own = np.full(len(layout.first), np.inf), layout.source >= 0
        np.minimum.at(out, layout.source[own], self.free.coordinate_scale(params)[own])
        return out

    # -- the M-step --------------------------------------------------------------------------------------------------------
    def m_step(self, params, statistics, guard=None):
        """Newton's step in the coordinates that are left, pooled shares, or location and spread in turn."""
        params = {p.name: params[p.name] for p in self.free.parameters}
        if self.free.numeric:
            if guard is not None:
                statistics = self.free.with_guard(params, statistics, guard)
            return self._stepped(params, statistics, 1.0)
        if self.free.kernel == "linear":  # families of one parameter
            return self._shares(params, statistics)
        return self._location_and_spread(params, statistics, guard)

    def maximise_given(self, data, responsibilities, guard=None):
        """M-steps on given responsibilities, until they settle."""
        n = np.asarray(responsibilities).sum(axis=0)
        if self.free.numeric:
            return self._climbed(
                self.imposed(self.free.maximise_given(data, responsibilities, guard), n), data, responsibilities, guard
            )
        params = self.initial_params(data, len(n))
        for _ in range(MOST_ROUNDS if "mu" in self.shared and self.free.kernel != "linear" else 2):
            before, params = (
                params,
                self.m_step(params, self.statistics_given(data.values, responsibilities, params), guard),
            )
            old, new = self.to_vector(before), self.to_vector(params)
            if np.all(np.abs(new - old) <= 1e-10 * self.coordinate_scale(params)):
                break
        return params

    def _shares(self, params, statistics):
        """The family's own M-step, on the statistics of all components together where the parameter is shared."""
        if self._fixed:
            return self._with_known(params)
        n = np.atleast_1d(statistics.n.sum())
        pooled = Statistics(statistics.log_likelihood, n, statistics.first.sum(axis=0)[None], statistics.second[:1])
        found = self.free.m_step({name: value[:1] for name, value in params.items()}, pooled)
        return {name: np.repeat(value, len(statistics.n), axis=0) for name, value in found.items()}

    def _location_and_spread(self, params, statistics, guard):
        """The location given the spreads, then the spreads about it (ECM, Meng & Rubin 1993): normal families.

        One location for all is the mean of the components' means, weighted by their precision matrices times rows.
        """
        n, mu = statistics.n, np.reshape(params["mu"], statistics.first.shape)
        mean, scatter = recentre(mu, statistics)
        place = mean
        if "mu" in self._fixed:
            place = np.reshape(self._with_known(params)["mu"], mu.shape)
        elif "mu" in self.shared:
            place = np.broadcast_to(self._mean_of_all(params, n, mean), mu.shape)
        off = mean - place
        scatter = scatter + (
            n[:, None] * off**2 if scatter.ndim == 2 else n[:, None, None] * off[:, :, None] * off[:, None, :]
        )
        if "sigma" in self.shared:
            n, scatter = np.full_like(n, n.sum()), np.broadcast_to(scatter.sum(axis=0), scatter.shape)
            guard = None if guard is None else type(guard)(guard.n * len(n), guard.second * len(n))
        about = Statistics(np.nan, n, np.zeros_like(mean), scatter)
        new = self.free.m_step(params | {"mu": place.reshape(params["mu"].shape).copy()}, about, guard)
        return self._with_known(new)

    def _mean_of_all(self, params, n, mean):
        b = self.free.kernel_arguments(params)[1]
        if not n.sum() > 0:
            return mean[0]
        if b.ndim == 2:
            share = n[:, None] * b**2
            return (share * mean).sum(axis=0) / share.sum(axis=0)
        precision = n[:, None, None] * np.swapaxes(b, 1, 2) @ b
        return np.linalg.solve(precision.sum(axis=0), np.einsum("kij,kj->i", precision, mean))

    def _stepped(self, params, statistics, share) -> dict:
        """A share of Newton's step; where the Hessian is not negative its sign is turned, so that the step leads up."""
        k, d_b = len(statistics.n), np.zeros((len(statistics.n), 0))
        vector, scale = self.to_vector(params), self.coordinate_scale(params)
        gradient = self.vector_gradient(params, statistics.first, d_b) * scale
        slopes = np.stack([self.vector_jacobian(params)[p.name] for p in self.free.parameters], axis=1)
        hessian = np.einsum("kpi,kpq,kqj->ij", slopes, statistics.second, slopes)
        hessian = (hessian + self.vector_curvature(params, statistics.first, d_b)) * np.outer(scale, scale)
        moving = (gradient != 0.0) & np.isfinite(vector) & np.isfinite(gradient)
        inside = hessian[np.ix_(moving, moving)]
        if not (moving.any() and np.all(np.isfinite(inside))):
            return params
        curvature, axes = np.linalg.eigh(-inside)
        flattest = 1e-8 * max(np.abs(curvature).max(), 1e-12 * statistics.n.sum())
        step = np.zeros_like(vector)
        step[moving] = axes @ ((axes.T @ gradient[moving]) / np.maximum(np.abs(curvature), flattest))
        longest = np.abs(step).max()
        step *= share * min(1.0, LONGEST / longest) if longest > 0 else share
        return self.from_vector(vector + step * scale, k, self.free.n_features_of(params))

    def _climbed(self, params, data, responsibilities, guard):
        """Newton's method on given responsibilities, by a formula; the location of a kink stays where it is."""
        x, r = self.free.formula.prepare(data.values), np.ascontiguousarray(responsibilities, dtype=float)
        n, complete = r.sum(axis=0), self.free.formula.functions.complete
        kinks = [] if self.free.smooth else [p.name for p in self.free.parameters if p.moves]

        def at(place):
            value, first, second = complete(x, r, self.free.kernel_arguments(place)[0])
            found = Statistics(value.sum(), n, first, second)
            if guard is not None:
                total = found.log_likelihood + self.free.guard_value(place, guard)
                found = self.free.with_guard(place, found, guard)._replace(log_likelihood=total)
            for i, p in enumerate(self.free.parameters):
                if p.name in kinks:
                    found.first[:, i] = 0.0
            return found

        here = at(params)
        for _ in range(MOST_STEPS):
            for share in 0.25 ** np.arange(20):
                moved = self._stepped(params, here, share)
                there = at(moved)
                if there.log_likelihood >= here.log_likelihood:
                    break
            else:
                return params
            gain = there.log_likelihood - here.log_likelihood
            params, here = moved, there
            if gain < SETTLED * max(n.sum(), 1.0):
                break
        return params

    # -- priors and PyMC ---------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """The family's."""
        return self.family.default_priors(data, n_components)

    def priors(self, data, n_components):
        """The priors in force; what is known or shared says so."""
        found = self.default_priors(data.observed(), n_components)
        chosen = {n: getattr(self.free, n, None) or prior for n, prior in found.items()}
        chosen |= {n: Shared(chosen[n]) for n in self.shared} | self._fixed
        notes = {
            n: note for n, note in found.notes.items() if getattr(self.free, n, None) is None and n not in self._fixed
        }
        return Priors(chosen, notes)

    def check_priors(self, data):
        """What the family asks of those that are left."""
        self.free.check_priors(data)

    def pymc_variables(self, priors, n_components, n_features):
        """Variables with one value for all components have no dim cluster; what is known is no variable."""
        made = {name: self._variable(name, prior, n_components, n_features) for name, prior in priors.items()}
        if "cov" in self._fixed:
            return self._known_covariances(made, n_components, n_features)
        return self.free.pymc_variables(Priors(made, {}), n_components, n_features)

    def _variable(self, name, prior, n_components, n_features):
        if isinstance(prior, Fixed):
            own = len(self._parameter(name).event_dims)
            shape = (self._outcomes(n_features) if name == "p" else n_features,) * own
            return _Known(prior.full(n_components, shape, name))
        return _One(prior.prior, self, n_components, n_features) if isinstance(prior, Shared) else prior

    def _outcomes(self, n_features):
        return self.free.n_outcomes(n_features) if hasattr(self.free, "n_outcomes") else n_features

    def _known_covariances(self, priors, n_components, n_features):
        import pytensor.tensor as pt

        value = priors["cov"].value
        factor: Any = self.free.kernel_arguments({"mu": np.zeros((n_components, n_features)), "cov": value})[1]
        mu = priors["mu"].variable("mu", dims=("cluster", dim("feature")))
        cov = priors["cov"].variable("cov", dims=("cluster", dim("feature"), dim("feature_2")))
        matrix = factor if factor.ndim == 3 else factor[:, :, None] * np.eye(n_features)
        return {"mu": mu, "cov": cov, "precision_factor": pt.as_tensor(matrix)}, (mu, pt.as_tensor(factor))

    # -- words -------------------------------------------------------------------------------------------------------------
    def _settings(self):
        return self.family._settings()

    def __str__(self):
        return str(self.family)


class _Known(NamedTuple):
    """Stands for a prior where a family makes its variables."""

    value: np.ndarray

    def variable(self, name, dims):
        """Make no variable, but keep the values beside them."""
        import pymc as pm
        import pytensor.tensor as pt

        return pm.Deterministic(name, pt.as_tensor(self.value), dims=dims)


class _One(NamedTuple):
    """The prior of what is shared, where a family makes its variables."""

    prior: Any
    component: Constrained
    n_components: int
    n_features: int

    def variable(self, name, dims):
        """Make one variable, without the dim cluster; return it for all components."""
        import pymc as pm
        import pytensor.tensor as pt

        dims = () if isinstance(dims, str) else tuple(dims[1:])
        named = {"dims": dims} if dims else {}
        if isinstance(self.prior, Dirichlet):
            value: Any = pm.Dirichlet(name, self.component.free.concentration(self.prior, self.n_features), **named)
        elif isinstance(self.prior, ProportionalLogNormal) and self.prior.of not in self.component.shared:
            raise ValueError(
                f"the default prior of {name} is in proportion to {self.prior.of}, which differs among components; give a "
                f"prior, {name}=bm.Shared(pz.LogNormal(0, 1)) for example."
            )
        else:
            value = self.prior.variable(name, **named)
        return pt.ones((self.n_components, *(1,) * value.ndim)) * value


def _delegate(name):
    return property(lambda self: getattr(self.free, name), doc="The family's own.")


OF_ITSELF = ("defined", "_abc_impl", "once", "for_each")  # what asks for the constraints
for _name in vars(Component):
    if not _name.startswith("__") and _name not in OF_ITSELF and _name not in vars(Constrained):
        setattr(Constrained, _name, _delegate(_name))
update_abstractmethods(Constrained)


@lru_cache(maxsize=512)
def _layout_of(component: Constrained, n_features: int) -> _Layout:
    """Find out by the derivatives of the parameters which coordinate belongs to which parameter and component."""
    family, k = component.free, component.n_components
    size = family.n_free(k, n_features)
    params = family.from_vector(0.1 * np.cos(np.arange(size)), k, n_features)
    moved = {
        name: np.any(value.reshape(k, -1, size) != 0.0, axis=1)
        for name, value in family.vector_jacobian(params).items()
    }
    known = family.to_vector(component._with_known(params))
    source = np.arange(size)
    for name, constraint in component.constraints.items():
        own = np.flatnonzero(moved[name].any(axis=0))
        if any(other[:, own].any() for n, other in moved.items() if n != name and n not in component._fixed):
            raise ValueError(f"{name} of {family} has no coordinates of its own, so that it cannot be {constraint}.")
        if isinstance(constraint, Fixed):
            source[own] = -1
        else:
            each = [np.flatnonzero(moved[name][i]) for i in range(k)]
            for places in each[1:]:
                source[places] = each[0]
    first = np.flatnonzero(source == np.arange(size))
    place = np.full(size + 1, -1)
    place[first] = np.arange(len(first))
    return _Layout(place[source], first, np.where(source < 0, known, 0.0))
