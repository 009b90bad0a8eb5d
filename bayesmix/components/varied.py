"""Components of several families in one mixture: a noise component beside clusters, a slow process beside a fast one."""

import re
import weakref
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Data
from ..likelihood.joined import Joined
from ..likelihood.kinds import Kinds
from ..priors import Priors, clusters_called, prefix
from ..weight_priors import Dirichlet
from .base import Component, Guard, Rows, Statistics
from .dirichlet import as_family
from .mvnormal import MvNormal
from .product import Product, can_be_joined, guard_shape, join_guards, segment_of, split_guard
from .univariate import Univariate

NARROW = 1e-6  # variance of a component that may be a spike, against the data's, where no other of its family is there
SPIKE = 1e-4  # how thin such a component is said to be; see `bayesmix.engines.search.SPURIOUS`


class Group(NamedTuple):
    """Components of one family, equal in their settings: they may change places, and share priors."""

    name: str
    component: Any  # a Component
    clusters: tuple[int, ...]


@dataclass(frozen=True)
class Heterogeneous(Component):
    r"""Components that are each of a family of their own: what ``bm.Mixture([bm.Normal(), bm.Uniform()])`` makes.

    .. math:: p(x) = \sum_k \pi_k\, p_k(x \mid \theta_k)

    Components of equal families, settings and priors included, form a group. Names of components mean nothing within a
    group only: there they may change places, when draws are relabelled or estimates put in order, and never across.

    The parameters of a group have its name in front, that of the family: ``normal_mu``, ``student_t_nu``. If several groups
    are of one family, the number of their first component follows: ``normal_0_mu`` and ``normal_2_mu``. In a fit's tree such
    a variable has one entry for each component of the group, along a dim ``normal_cluster`` whose coordinate holds the
    numbers of these components, so that tables read ``normal_mu[0]``. Elsewhere (``fit.estimates``, ``fit.draws``) arrays have
    one entry for each component of the mixture, NaN where it is of another group, so that all parameters of component k are
    at place k; `Fit.from_parameters` takes either.

    Parameters
    ----------
    members : tuple of Component
        The family of each component. They describe one column, all by densities or all by probabilities, or all of them
        the same columns.
    n_features : int, optional
        Number of columns, where it is known.

    Raises
    ------
    TypeError, ValueError
        If a member is no family, or they do not go together.
    """

    members: tuple
    n_features: int | None = None
    numeric = True

    def __post_init__(self):
        for k, member in enumerate(self.members):
            _check_member(k, member)
        if len({member.multivariate for member in self.members}) > 1:
            several = next(member for member in self.members if member.multivariate)
            one = next(member for member in self.members if not member.multivariate)
            raise ValueError(
                f"{several} describes several columns, {one} one; in one mixture every component describes the same columns. "
                f"Give each column its family: bm.Product(first={one}, second=bm.Normal())."
            )
        if not self.multivariate and len({member.discrete for member in self.members}) > 1:
            counts = next(member for member in self.members if member.discrete)
            other = next(member for member in self.members if not member.discrete)
            raise ValueError(
                f"{counts} has probabilities and {other} a density: in one column they have no common measure, and the "
                "likelihood would depend on the unit of the data. Use families of counts only, or continuous ones only."
            )

    # -- its groups ----------------------------------------------------------------------------------------------------
    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Components of equal families together, in the order of their first ones."""
        distinct = list(dict.fromkeys(self.members))
        words = [_words(type(component).__name__) for component in distinct]
        found = []
        for word, component in zip(words, distinct, strict=True):
            clusters = tuple(k for k, member in enumerate(self.members) if member == component)
            name = word if words.count(word) == 1 else f"{word}_{clusters[0]}"
            found.append(Group(name, component.for_components(len(clusters)), clusters))
        return tuple(found)

    @cached_property
    def _order(self) -> np.ndarray:
        """Where in the groups, one after another, each component is."""
        return np.argsort([k for group in self.groups for k in group.clusters])

    def _own(self, group: Group, params: dict) -> dict:
        """A group's parameters by its own names, of its own components: (..., own cluster, ...)."""
        found = {}
        for p in group.component.parameters:
            if f"{group.name}_{p.name}" in params:
                found[p.name] = _at(group.clusters, params[f"{group.name}_{p.name}"], len(p.event_dims))
        factor = params.get(f"{group.name}_precision_factor")  # beside PyMC's variables
        if factor is not None:
            own = {name: value for name, value in found.items() if name != "cov"}
            return own | {"precision_factor": _at(group.clusters, factor, 2)}
        return found

    def _named(self, group: Group, own: dict) -> dict:
        """Inverse of `_own`, NaN for the components of other groups."""
        found = {}
        for p in group.component.parameters:
            value = np.asarray(own[p.name], dtype=float)
            lead, event = _axes(value, len(p.event_dims))
            full = np.full((*lead, len(self.members), *event), np.nan)
            full[_place(group.clusters, len(p.event_dims))] = value
            found[f"{group.name}_{p.name}"] = full
        return found

    def _each(self, params: dict):
        """Every group with its parameters."""
        return [(group, self._own(group, params)) for group in self.groups]

    def _with_weights(self, group: Group, params: dict) -> dict:
        """A group's parameters, and its weights, summing to one."""
        weights = params["weights"][list(group.clusters)]
        total = weights.sum()
        shared = weights / total if total > 0 else np.full(len(weights), 1.0 / len(weights))
        return self._own(group, params) | {"weights": shared}

    def _together(self, pieces):
        """Arrays (..., own cluster) of all groups as one (..., cluster), by NumPy or PyTensor."""
        if all(isinstance(piece, np.ndarray) for piece in pieces):
            return np.concatenate(pieces, axis=-1)[..., self._order]
        import pytensor.tensor as pt

        joined: Any = pt.concatenate(pieces, axis=-1)
        return joined[..., self._order]

    def _reads(self, x, group: Group):
        """Columns that a group's family reads, of x (..., feature + given): its own, and those that it conditions on."""
        if not self.given:
            return x
        d = x.shape[-1] - len(self.given)
        return x[..., [*range(d), *(d + self.given.index(name) for name in group.component.given)]]

    def _rows_of(self, group: Group, data: Data) -> Data:
        """The data as a group's family reads them."""
        if not self.given:
            return data
        values = np.ascontiguousarray(self._reads(data.values, group))
        return replace(data, values=values, given=group.component.given)

    def _data_of(self, group: Group, data):
        """The rows on which a group's family has a density, and which they are; None for all."""
        if not hasattr(data, "values"):  # not in memory
            return data, None
        own = self._rows_of(group, data)
        inside = _inside(group.component, own)
        return (own, None) if inside.all() else (own.take(np.flatnonzero(inside)), inside)

    # -- what it is ----------------------------------------------------------------------------------------------------
    def check_mixture(self, n_components: int, weights) -> None:
        """Raise `ValueError` unless a mixture can have these components under this prior of the weights."""
        if n_components != len(self.members):
            raise ValueError(f"n_components={n_components}, but there are {len(self.members)} components: {self}.")
        if not isinstance(weights, Dirichlet) and weights.known is None:
            raise ValueError(
                f"weights={weights}, but components of several families take bm.Dirichlet: each of {self} is there by name. "
                "A small alpha lets some be empty."
            )

    @property
    def multivariate(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Do the families describe several columns?"""
        return self.members[0].multivariate

    @property
    def discrete(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Are all columns discrete?"""
        return self.members[0].discrete

    def is_discrete(self, feature):
        """Is this column discrete?"""
        return self.members[0].is_discrete(feature)

    @property
    def smooth(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """If each family is."""
        return all(group.component.smooth for group in self.groups)

    @property
    def takes_missing(self):
        """If each family does."""
        return all(group.component.takes_missing for group in self.groups)

    @cached_property
    def given(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the families condition on."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group.component.given))

    @cached_property
    def parameters(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Those of each group, with its name in front."""
        return tuple(
            replace(
                p,
                name=f"{group.name}_{p.name}",
                event_dims=tuple(f"{group.name}_{dim}" for dim in p.event_dims),
                cluster_dim=f"{group.name}_cluster",
            )
            for group in self.groups
            for p in group.component.parameters
        )

    @property
    def shared(self):
        """Those of the groups."""
        return tuple(f"{group.name}_{name}" for group in self.groups for name in group.component.shared)

    def once(self, values, lead):
        """Of the components of its group alone, and without them where one value is for all of these."""
        found = dict(values)
        for group in self.groups:
            names = [f"{group.name}_{p.name}" for p in group.component.parameters]
            own = {
                n.removeprefix(f"{group.name}_"): np.take(values[n], group.clusters, lead) for n in names if n in values
            }
            found |= {f"{group.name}_{name}": value for name, value in group.component.once(own, lead).items()}
        return found

    def for_each(self, values, lead, n_components):
        """NaN for the components of other groups."""
        found = dict(values)
        for group in self.groups:
            names = [f"{group.name}_{p.name}" for p in group.component.parameters]
            own = {n.removeprefix(f"{group.name}_"): values[n] for n in names if n in values}
            for name, value in group.component.for_each(own, lead, len(group.clusters)).items():
                full = np.full((*value.shape[:lead], n_components, *value.shape[lead + 1 :]), np.nan)
                full[(*[slice(None)] * lead, list(group.clusters))] = value
                found[f"{group.name}_{name}"] = full
        return found

    def for_components(self, n_components):
        """As it is: each group has its constraints already."""
        return self

    def exchangeable(self, n_components):
        """Components of one group, as far as its family lets them."""
        found, next_one = np.empty(len(self.members), dtype=int), 0
        for group in self.groups:
            own = group.component.exchangeable(len(group.clusters))
            found[list(group.clusters)] = next_one + own
            next_one += int(own.max()) + 1
        return found

    def family_of(self, k):
        """That of its group."""
        group = next(group for group in self.groups if k in group.clusters)
        return group.component, {p.name: f"{group.name}_{p.name}" for p in group.component.parameters}

    def leading(self, params):
        """That of each group."""
        return self._together([group.component.leading(own) for group, own in self._each(params)])

    def resolved(self, data: Any):
        """What each family leaves to the data, stated; and how many columns there are."""
        made = tuple(member.resolved(data) for member in self.members)
        n_features = data.n_features if self.multivariate else 1
        return self if (made, n_features) == (self.members, self.n_features) else Heterogeneous(made, n_features)

    def modelled_places(self, labels, named):
        """Those that a product wants, the same for every product, or as they come."""
        wanted: list = []
        for group in self.groups:
            places = group.component.modelled_places(labels, named)
            if isinstance(group.component, Product) or not wanted:
                if wanted and isinstance(wanted[0], Group) and wanted[1] != places:
                    raise ValueError(
                        f"{wanted[0].component} and {group.component} have the columns in another order; name the parts of "
                        "all products in the same order."
                    )
                wanted = [group, places] if isinstance(group.component, Product) else [None, places]
        return wanted[1]

    def check_data(self, data, n_components):
        """What each family asks of the rows on which it has a density; every row must be one of some family."""
        anywhere = np.zeros(data.n_obs, dtype=bool)
        for group in self.resolved(data).groups:
            own, inside = self._data_of(group, data)
            if own.n_obs == 0:
                raise ValueError(
                    f"{_named_in_words(group)}: none of {data.n_obs} rows has a positive density under it."
                )
            try:
                group.component.check_data(own, len(group.clusters))
            except ValueError as error:
                raise ValueError(f"{_named_in_words(group)}: {error}") from None
            anywhere |= True if inside is None else inside
        if not anywhere.all():
            row = int(np.flatnonzero(~anywhere)[0])
            raise ValueError(
                f"{int((~anywhere).sum())} of {data.n_obs} rows have density zero under every component of {self}; the first "
                f"is {', '.join(f'{value:g}' for value in data.values[row])}."
            )

    def check_priors(self, data):
        """What the priors of each family ask of the data."""
        for group in self.groups:
            group.component.check_priors(self._rows_of(group, data))

    def check_parameters(self, params, n_components):
        """What each family asks; arrays hold the components of the group, or all, NaN for those of others."""
        checked = {}
        for group in self.groups:
            own = {}
            for p in group.component.parameters:
                name = f"{group.name}_{p.name}"
                value = np.asarray(params[name], dtype=float)
                if value.ndim and len(value) == n_components:
                    value = self._of_group(group, name, value)
                own[p.name] = value
            try:
                checked |= self._named(group, group.component.check_parameters(own, len(group.clusters)))
            except ValueError as error:
                raise ValueError(f"{_named_in_words(group)}: {error}") from None
        return checked

    def _of_group(self, group, name, value):
        """The group's entries of an array that has one for each component, NaN for those of others."""
        held = np.flatnonzero(~np.isnan(value.reshape(len(value), -1)).all(axis=1))
        if foreign := [k for k in held if k not in group.clusters]:
            raise ValueError(
                f"{name} holds values for components {', '.join(map(str, foreign))}, but those of {group.component} are "
                f"{', '.join(map(str, group.clusters))}; leave the others out, or put NaN."
            )
        return value[list(group.clusters)]

    def n_features_of(self, params):
        """Number of columns."""
        group, own = self._each(params)[0]
        return group.component.n_features_of(own)

    def coords(self, data):
        """The components of each group, and coordinates of its families' own dims."""
        found: dict = {"feature": np.array(data.feature)} if self.multivariate else {}
        for group in self.groups:
            found[f"{group.name}_cluster"] = np.array(group.clusters)
            own = group.component.coords(self._rows_of(group, data) if hasattr(data, "values") else data)
            found |= {f"{group.name}_{dim}": value for dim, value in own.items()}
        return found

    # -- the formula and prediction ------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Log density of each component by its family: x (..., obs, feature) -> (..., obs, cluster)."""
        return self._together(
            [group.component.log_density(self._reads(x, group), own) for group, own in self._each(params)]
        )

    def observed_log_density(self, x, missing, params):
        """Log density of what is there, of each component by its family."""
        return self._together(
            [
                group.component.observed_log_density(self._reads(x, group), missing, own)
                for group, own in self._each(params)
            ]
        )

    def cdf(self, x, params):
        """Distribution function of each component."""
        return self._together([group.component.cdf(self._reads(x, group), own) for group, own in self._each(params)])

    def mean_and_variance(self, params):
        """Of each component of one column."""
        found = [group.component.mean_and_variance(own) for group, own in self._each(params)]
        return tuple(self._together([np.asarray(pair[i]) for pair in found]) for i in range(2))

    def missing_moments(self, x, gone, params):
        """Those of each component."""
        found = [group.component.missing_moments(self._reads(x, group), gone, own) for group, own in self._each(params)]
        return tuple(
            np.moveaxis(self._together([np.moveaxis(pair[i], -2, -1) for pair in found]), -1, -2) for i in range(2)
        )

    def sample_missing(self, x, gone, params, labels, rng):
        """By the family of each row's component."""
        out = np.empty((*labels.shape, int(gone.sum())))
        for group, own in self._each(params):
            place = np.zeros(len(self.members), dtype=int)
            place[list(group.clusters)] = np.arange(len(group.clusters))
            drawn = group.component.sample_missing(self._reads(x, group), gone, own, place[labels], rng)
            mine = np.isin(labels, group.clusters)
            out[mine] = drawn[mine]
        return out

    def marginal_quantile(self, q, params):
        """Quantiles of each component, (..., cluster, feature)."""
        found = [group.component.marginal_quantile(q, own) for group, own in self._each(params)]
        return np.moveaxis(self._together([np.moveaxis(value, -2, -1) for value in found]), -1, -2)

    def marginal_cdf(self, x, params, feature):
        """Cdf of one column under each component."""
        return self._together([group.component.marginal_cdf(x, own, feature) for group, own in self._each(params)])

    def sample(self, params, rng, given=None):
        """One row for each row of the parameters, by the family whose parameters are there."""
        out: Any = None
        for group in self.groups:
            names = [(p.name, f"{group.name}_{p.name}") for p in group.component.parameters]
            first = params[names[0][1]]
            mine = ~np.isnan(np.reshape(first, (len(first), -1))).any(axis=1)
            if not mine.any():
                continue
            on = None
            if group.component.given and given is not None:
                on = given[mine][:, [self.given.index(name) for name in group.component.given]]
            drawn = group.component.sample_rows({own: params[full][mine] for own, full in names}, rng, on)
            out = np.empty((len(first), drawn.shape[1])) if out is None else out
            out[mine] = drawn
        return out

    # -- the pass ------------------------------------------------------------------------------------------------------
    @cached_property
    def kinds(self) -> Kinds:
        """The pass of the families."""
        return self._kinds(False)

    @cached_property
    def kinds_missing(self) -> Kinds:
        """The same for rows with missing cells."""
        return self._kinds(True)

    def _kinds(self, missing):
        d = self._n_features()
        members = tuple(_joined_of(group.component, d, missing) for group in self.groups)
        kind = {k: which for which, group in enumerate(self.groups) for k in group.clusters}
        base = tuple(_needs_base(group.component) for group in self.groups)
        return Kinds(members, tuple(kind[k] for k in range(len(self.members))), base, missing)

    def _n_features(self):
        if not self.multivariate:
            return 1
        products = [group.component for group in self.groups if isinstance(group.component, Product)]
        n_features = products[0].n_features_of({}) if products else self.n_features
        if n_features is None:
            raise ValueError(f"the number of columns of {self} is not known yet; use mixture.resolved(data).")
        return n_features

    @property
    def kernel(self):
        """The pass written for these families."""
        return self.kinds.name

    def kernel_for(self, missing):
        """The pass written for these families, with or without missing cells."""
        return (self.kinds_missing if missing else self.kinds).name

    def expected_statistics(self, missing=False):
        """The pass of second order."""
        return (self.kinds_missing if missing else self.kinds).functions.second

    def rows(self, data):
        """The columns that each family's pass reads, and what its density is besides; rows off its support have -inf."""
        pieces = []
        for group, base in zip(self.groups, self.kinds.with_base, strict=True):
            own, inside = self._data_of(group, data)
            x = _prepared(group.component, own, data.missing)
            column = _base(group.component, own) if base else np.zeros((len(x), 0))
            if inside is not None:  # elsewhere a row that is there stands in, with no density
                x = x[np.maximum(np.cumsum(inside) - 1, 0)]
                column = np.where(inside[:, None], column[np.maximum(np.cumsum(inside) - 1, 0)], -np.inf)
            pieces += [x, column]
        weights = np.empty(0) if data.weights is None else data.weights
        return Rows(np.ascontiguousarray(np.concatenate(pieces, axis=1), dtype=float), weights, 0.0)

    def kernel_arguments(self, params):
        """The groups' a and b, zero where a family has fewer."""
        pairs = [group.component.kernel_arguments(own) for group, own in self._each(params)]
        return tuple(self.kinds.together(name, [pair[i] for pair in pairs]) for i, name in enumerate("ab"))

    def shaped(self, name: str, values: np.ndarray, kinds: Kinds | None = None) -> list[np.ndarray]:
        """What each group has in an array (cluster, number), in the shape that its family knows."""
        kinds = kinds or self.kinds
        split = kinds.split(name, values)
        return [
            piece if isinstance(group.component, Product) else member.split(name, piece)[0]
            for group, member, piece in zip(self.groups, kinds.members, split, strict=True)
        ]

    def _statistics(self, statistics):
        """Statistics of each group."""
        kinds = self.kinds if statistics.second.shape[1] == self.kinds.sizes("second") else self.kinds_missing
        first, second = (self.shaped(name, getattr(statistics, name), kinds) for name in ("first", "second"))
        n = [statistics.n[list(group.clusters)] for group in self.groups]
        return [Statistics(statistics.log_likelihood, *own) for own in zip(n, first, second, strict=True)]

    def initial_params(self, data, n_components):
        """Those of each group."""
        params = {}
        for group in self.groups:
            own, _ = self._data_of(group, data)
            params |= self._named(group, group.component.initial_params(own, len(group.clusters)))
        return params

    def m_step(self, params, statistics, guard=None):
        """The M-step of each family: the maximum where it has a formula, one Newton step where not."""
        new = {}
        each = zip(self._each(params), self._guards(guard), self._statistics(statistics), strict=True)
        for (group, own), g, s in each:
            new |= self._named(group, group.component.m_step(own, s, g))
        return new

    def maximise_given(self, data, responsibilities, guard=None):
        """That of each family, on the rows where it has a density."""
        params = {}
        for group, g in zip(self.groups, self._guards(guard), strict=True):
            own, inside = self._data_of(group, data)
            r = responsibilities if inside is None else responsibilities[inside]
            params |= self._named(group, group.component.maximise_given(own, r[:, list(group.clusters)], g))
        return params

    def assigned(self, responsibilities, rng):
        """Which part of the rows each component begins with: at random, one of them with all rows half of the time.

        Partitions are made without regard to families. A noise component is found best from all of the rows.
        """
        n, k = responsibilities.shape
        mixed = 0.9 * responsibilities[:, rng.permutation(k)] + 0.1 / k
        if rng.random() < 0.5:
            mixed[:, rng.integers(k)] = 1.0 / k
        return mixed / mixed.sum(axis=1, keepdims=True)

    def canonical(self, params):
        """Those of each family."""
        found = dict(params)
        for group in self.groups:
            found |= self._put_back(group, params, group.component.canonical(self._with_weights(group, params)))
        return found

    def beside_saddle(self, params):
        """Those of each family, all else as it is."""
        return [
            params | self._put_back(group, params, there)
            for group in self.groups
            for there in group.component.beside_saddle(self._with_weights(group, params))
        ]

    def _put_back(self, group, params, there):
        """A group's parameters in those of all; its weights share what they had."""
        own = list(group.clusters)
        weights = params["weights"].copy()
        weights[own] = weights[own].sum() * there["weights"]
        return self._named(group, there) | {"weights": weights}

    # -- the guard -----------------------------------------------------------------------------------------------------
    @cached_property
    def _guard_shapes(self) -> list[tuple]:
        """Shape of the second statistics of each group's guard; () for those that cannot collapse."""
        return [_guard_shape(group.component, self._n_features()) for group in self.groups]

    def _guards(self, guard):
        """The guard of each group; None for those that cannot collapse."""
        return split_guard(guard, self._guard_shapes)

    def guard(self, data, strength):
        """Those of the families that can collapse."""
        guards = [group.component.guard(self._data_of(group, data)[0], strength) for group in self.groups]
        return join_guards(guards, self._guard_shapes)

    def guard_around(self, params, strength):
        """Those of the families that can collapse, each with the spread pooled within its own components."""
        guards = [
            group.component.guard_around(self._with_weights(group, params), strength) if shape else None
            for group, shape in zip(self.groups, self._guard_shapes, strict=True)
        ]
        found = join_guards(guards, self._guard_shapes)
        assert found is not None
        return found

    def guard_settling(self, params, strength, first):
        """Never narrower than `NARROW` of the data: a family with one component has no other to take its spread from."""
        around = self.guard_around(params, strength)
        second = np.where(first.second < 0, first.second, around.second + NARROW * first.second)
        return Guard(around.n, second)

    def guard_value(self, params, guard):
        """Sum of the families' guards."""
        pairs = zip(self._each(params), self._guards(guard), strict=True)
        return sum(group.component.guard_value(own, g) for (group, own), g in pairs if g is not None)

    def guard_score(self, params, guard):
        """The families' gradients; none for those that have no guard."""
        found = []
        for (group, own), g in zip(self._each(params), self._guards(guard), strict=True):
            a, b = group.component.kernel_arguments(own)
            found.append((np.zeros_like(a), np.zeros_like(b)) if g is None else group.component.guard_score(own, g))
        return tuple(self.kinds.together(name, [pair[i] for pair in found]) for i, name in enumerate("ab"))

    def collapsed(self, params, data):
        """How thin each component is against those of its group; and against the data, where that says more."""
        thinness = np.ones(len(self.members))
        wholes = self._wholes(data)
        for group, shape, whole in zip(self.groups, self._guard_shapes, wholes, strict=True):
            own = self._with_weights(group, params)
            data_of = None if data is None else self._data_of(group, data)[0]
            found = np.asarray(group.component.collapsed(own, data_of), dtype=float)
            if shape and whole is not None:
                against = [_thinness(group.component, self._one(group, own, i), whole) for i in range(len(found))]
                found = np.minimum(found, np.array(against) * (SPIKE / NARROW))
            thinness[list(group.clusters)] = found
        return thinness

    def _one(self, group, own, i):
        """One component of a group, by itself."""
        return {name: value[i : i + 1] for name, value in own.items()} | {"weights": np.ones(1)}

    def _wholes(self, data):
        """The guard of each group about one component for all of the data, kept as long as the data are."""
        if data is None:
            return [None] * len(self.groups)
        known = _WHOLES.setdefault(data, {})
        if self not in known:
            guards = [group.component.guard(self._data_of(group, data)[0], 1.0) for group in self.groups]
            known[self] = guards
        return known[self]

    def thin_direction(self, params, k):
        """That of the component's family."""
        group = next(group for group in self.groups if k in group.clusters)
        return group.component.thin_direction(self._with_weights(group, params), group.clusters.index(k))

    # -- free coordinates: those of the groups, one after another --------------------------------------------------------
    def _sizes(self, n_features):
        return [group.component.n_free(len(group.clusters), n_features) for group in self.groups]

    def _pieces(self, vector, n_features):
        """Coordinates of each group."""
        return np.split(np.asarray(vector), np.cumsum(self._sizes(n_features))[:-1], axis=-1)

    def n_free(self, n_components, n_features):
        """Sum over the groups."""
        return sum(self._sizes(n_features))

    def to_vector(self, params):
        """Coordinates of each group."""
        return np.concatenate([group.component.to_vector(own) for group, own in self._each(params)])

    def from_vector(self, vector, n_components, n_features):
        """Parameters of each group."""
        params = {}
        for group, piece in zip(self.groups, self._pieces(vector, n_features), strict=True):
            params |= self._named(group, group.component.from_vector(piece, len(group.clusters), n_features))
        return params

    def _of_arguments(self, params, d_a, d_b):
        """Each group with its parameters and its gradients in a and b."""
        pieces = zip(self.shaped("a", d_a), self.shaped("b", d_b), strict=True)
        return [(group, own, *pair) for (group, own), pair in zip(self._each(params), pieces, strict=True)]

    def vector_gradient(self, params, d_a, d_b):
        """Gradient of each group."""
        each = self._of_arguments(params, d_a, d_b)
        return np.concatenate([group.component.vector_gradient(own, a, b) for group, own, a, b in each])

    def gradient_at(self, vector, params, d_a, d_b):
        """The same, at these coordinates of each group."""
        pieces = self._pieces(vector, self.n_features_of(params))
        each = zip(pieces, self._of_arguments(params, d_a, d_b), strict=True)
        return np.concatenate([group.component.gradient_at(v, own, a, b) for v, (group, own, a, b) in each])

    def vector_curvature(self, params, d_a, d_b):
        """Curvature of each group, in blocks."""
        from scipy.linalg import block_diag

        each = self._of_arguments(params, d_a, d_b)
        return block_diag(*_blocks(group.component.vector_curvature(own, a, b) for group, own, a, b in each))

    def curvature_at(self, vector, params, d_a, d_b):
        """The same, at these coordinates of each group."""
        from scipy.linalg import block_diag

        pieces = self._pieces(vector, self.n_features_of(params))
        each = zip(pieces, self._of_arguments(params, d_a, d_b), strict=True)
        return block_diag(*_blocks(group.component.curvature_at(v, own, a, b) for v, (group, own, a, b) in each))

    def vector_jacobian(self, params):
        """Derivatives of each group's parameters, none in the coordinates of others; NaN for components of other groups."""
        sizes = self._sizes(self.n_features_of(params))
        before, jacobian = 0, {}
        for (group, own), size in zip(self._each(params), sizes, strict=True):
            for name, value in group.component.vector_jacobian(own).items():
                around = [(0, 0)] * (value.ndim - 1) + [(before, sum(sizes) - before - size)]
                full = np.full((len(self.members), *value.shape[1:-1], sum(sizes)), np.nan)
                full[list(group.clusters)] = np.pad(value, around)
                jacobian[f"{group.name}_{name}"] = full
            before += size
        return jacobian

    def coordinate_scale(self, params):
        """Scales of each group."""
        return np.concatenate([group.component.coordinate_scale(own) for group, own in self._each(params)])

    def inside(self, params):
        """Those of each group."""
        found = dict(params)
        for group, own in self._each(params):
            found |= self._named(group, own | group.component.inside(own))
        return found

    # -- priors and PyMC -------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """Those in force for each group: the defaults of its family, or what was given with it."""
        chosen, notes = {}, {}
        for group in self.groups:
            priors = group.component.priors(self._data_of(group, data)[0], n_components)
            chosen |= {f"{group.name}_{name}": prior for name, prior in priors.items()}
            notes |= {f"{group.name}_{name}": note for name, note in priors.notes.items()}
        return Priors(chosen, notes)

    def with_priors(self, priors):
        """Every component with those of its group."""
        made = list(self.members)
        for group in self.groups:
            begin = f"{group.name}_"
            own = {name.removeprefix(begin): prior for name, prior in priors.items() if name.startswith(begin)}
            for k in group.clusters:
                made[k] = self.members[k].with_priors(Priors(own, {}))
        return Heterogeneous(tuple(made), self.n_features)

    def pymc_variables(self, priors, n_components, n_features):
        """The variables of each group, its name in front, over its own components; NaN stands for those of others."""
        import pytensor.tensor

        pt: Any = pytensor.tensor
        params, arguments = {}, {"a": [], "b": []}
        for group in self.groups:
            begin, own = f"{group.name}_", list(group.clusters)
            theirs = {name.removeprefix(begin): p for name, p in priors.items() if name.startswith(begin)}
            with prefix(begin), clusters_called(f"{group.name}_cluster"):
                found, pair = group.component.pymc_variables(Priors(theirs, {}), len(own), n_features)
            for name, value in found.items():
                shape = (n_components, *(value.shape[i] for i in range(1, value.ndim)))
                params[f"{begin}{name}"] = pt.set_subtensor(pt.full(shape, np.nan)[own], value)
            for name, argument in zip("ab", pair, strict=True):
                arguments[name].append((own, pt.reshape(argument, (len(own), -1))))
        joined = []
        for name in "ab":
            whole: Any = pt.zeros((n_components, self.kinds.sizes(name)))
            for (own, flat), member in zip(arguments[name], self.kinds.members, strict=True):
                whole = pt.set_subtensor(whole[own, : member.sizes(name)], flat)
            joined.append(whole)
        return params, tuple(joined)

    def pymc_dist(self, params, given=None):
        """For each row PyMC's distribution of the family whose parameters are there."""
        import pytensor.tensor as pt

        rows: Any = None
        for group in self.groups:
            usual, own = _some_parameters(group.component, self._n_features()), {}
            for p in group.component.parameters:
                value: Any = params[f"{group.name}_{p.name}"]
                own[p.name] = pt.where(pt.isnan(value), usual[p.name][0], value)
            on = {}
            if group.component.given and given is not None:
                on["given"] = given[:, [self.given.index(name) for name in group.component.given]]
            drawn: Any = group.component.pymc_dist(own, **on)
            p = group.component.parameters[0]
            theirs: Any = pt.isnan(params[f"{group.name}_{p.name}"][(..., *[0] * len(p.event_dims))])
            theirs = theirs[..., None] if self.multivariate else theirs
            rows = drawn if rows is None else pt.where(theirs, rows, drawn)
        return rows

    # -- words ---------------------------------------------------------------------------------------------------------
    def __str__(self):
        return ", ".join(map(str, self.members))


_WHOLES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


# -- arrays of some components -------------------------------------------------------------------------------------------
def _place(clusters, n_event: int) -> tuple:
    """Index of these components in an array whose own axes stand behind the components'."""
    return (..., list(clusters), *[slice(None)] * n_event)


def _at(clusters, value, n_event: int):
    """The entries of these components, by NumPy or PyTensor."""
    return value[_place(clusters, n_event)]


def _axes(value, n_event: int):
    """Shape in front of the components' axis, and behind it."""
    cut = value.ndim - 1 - n_event
    return value.shape[:cut], value.shape[cut + 1 :]


# -- what is asked of a family -------------------------------------------------------------------------------------------
def _joined_of(component, n_features: int, missing: bool) -> Joined:
    """The pass of a family as parts side by side: one part, but for products."""
    if isinstance(component, Product):
        return component.joined_missing if missing else component.joined
    return Joined((segment_of(component, n_features, missing),))


def _parts(component, data: Data):
    """The parts of a product with their data; another family is its own part."""
    if isinstance(component, Product):
        return [(part.component, own) for part, own in component.with_data(data)]
    return [(component, data)]


def _needs_base(component) -> bool:
    """May the log density be -inf, or have a part that the pass leaves out?"""
    kernel = getattr(component, "kernel", "")
    return not (isinstance(component, MvNormal) or kernel == "diagonal" or kernel.startswith("student_"))


def _has_matrices(component) -> bool:
    """Has the family correlated columns?"""
    every = [part.component for part in component.parts] if isinstance(component, Product) else [component]
    return any(not one.numeric and one.kernel.endswith("full") for one in every)


def _guard_shape(component, n_features: int) -> tuple:
    """Shape of the second statistics of the family's guard; () where it cannot collapse."""
    if isinstance(component, Product):
        size = sum(int(np.prod(shape, dtype=int)) for shape in component._guard_shapes if shape)
        return (size,) if size else ()
    if component.numeric:
        return (1,) if component.formula.spreads[0] is not None else ()
    return guard_shape(component, n_features)


def _thinness(component, params: dict, whole: Guard) -> float:
    """Smallest variance of one component against that of one for all of the data."""
    around = component.guard_around(params, 1.0)
    if isinstance(component, Product):
        pairs = zip(component._guards(around), component._guards(whole), strict=True)
        return min(_smallest_ratio(a.second, b.second) for a, b in pairs if a is not None and b is not None)
    return _smallest_ratio(around.second, whole.second)


def _smallest_ratio(own, whole) -> float:
    if not np.all(np.isfinite(own)):
        return 0.0
    if np.ndim(own) < 2:
        return float(np.min(own / np.where(whole > 0, whole, 1.0)))
    root = np.linalg.inv(np.linalg.cholesky(whole))
    return float(max(np.linalg.eigvalsh(root @ own @ root.T)[0], 0.0))


def _inside(component, data: Data) -> np.ndarray:
    """Rows (obs,) on which the family has a density, at some parameters; missing cells say nothing."""
    found = np.ones(data.n_obs, dtype=bool)
    for one, own in _parts(component, data):
        if one.multivariate or not _needs_base(one):
            continue
        x = own.values[:, 0]
        with np.errstate(all="ignore"):
            if isinstance(getattr(one, "family", one), Univariate):
                low, high = one.support()
                on = (x >= low) & (x <= high) if one.closed or one.discrete else (x > low) & (x < high)
            else:
                one = getattr(one, "free", one)
                density = np.asarray(one.log_density(own.values, _some_parameters(one, 1)))[:, 0]
                on = np.isfinite(density)
        found &= on | np.isnan(x)
    return found


def _some_parameters(component, n_features: int) -> dict:
    """Parameters of one component, at coordinates of zero."""
    return component.from_vector(np.zeros(component.n_free(1, n_features)), 1, n_features)


def _prepared(component, data: Data, missing: bool) -> np.ndarray:
    """The rows as the family's pass reads them, in the order of the data."""
    if isinstance(component, Product):
        return component.rows(data).x
    if component.numeric:
        formula: Any = segment_of(component, data.n_features, missing).formula
        return formula.prepare(data.values)
    if component.kernel == "linear":
        return np.asarray(component.statistics(data.values), dtype=float)
    return data.values


def _base(component, data: Data) -> np.ndarray:
    """What the log density of rows is besides what the pass works out, (obs, 1)."""
    total = np.zeros((data.n_obs, 1))
    for one, own in _parts(component, data):
        if one.numeric or one.kernel != "linear":
            continue
        seen, one = own.observed(), getattr(one, "free", one)
        params = _some_parameters(one, own.n_features)
        eta, log_partition = one.kernel_arguments(params)
        pass_has = one.statistics(seen.values) @ eta[0] - log_partition[0]
        total[own.informative, 0] += one.log_density(seen.values, params)[:, 0] - pass_has
    return total


def _blocks(found):
    """Curvatures as matrices; of a family without free parameters an empty one."""
    return [np.reshape(one, (len(one), len(one))) for one in map(np.asarray, found)]


# -- words ---------------------------------------------------------------------------------------------------------------
def _words(name: str) -> str:
    """The name of a family as part of the names of parameters: StudentT is student_t."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _named_in_words(group: Group) -> str:
    noun = "component" if len(group.clusters) == 1 else "components"
    return f"{noun} {', '.join(map(str, group.clusters))}, {group.component}"


def _check_member(k: int, member) -> None:
    """Raise unless this is a family that a component can be of."""
    if isinstance(member, type) and issubclass(member, Component):
        raise TypeError(f"component {k} is the class {member.__name__}; call it: bm.{member.__name__}().")
    if not isinstance(member, Component):
        raise TypeError(f"component {k} must be a family such as bm.Normal(), but it is {member!r}.")
    if isinstance(member, Heterogeneous):
        raise TypeError(f"component {k} is a list of families itself; name its members here.")
    if member.reads_frames:
        raise TypeError(
            f"component {k}, {member}, reads columns by a formula, which lists of families do not take; all components of a "
            "mixture of regressions are of one family and formula."
        )
    if not can_be_joined(member):
        raise TypeError(
            f"component {k}, {member}, makes a pass of its own, which lists of families do not take; use bm.MvNormal() in "
            "its place."
        )
    if member.alternatives() != (member,):
        raise ValueError(f"component {k}, {member}, stands for several families; a component is of one.")


def from_list(members, n_components) -> tuple[Component, int]:
    """What a list of families stands for, and how many components it has: of equal ones the family itself."""
    members = tuple(as_family(member) for member in members)
    if not members:
        raise TypeError(
            "the list of components is empty; give a family for each, for example [bm.Normal(), bm.Uniform()]."
        )
    for k, member in enumerate(members):
        _check_member(k, member)
    if n_components is not None and n_components != len(members):
        raise ValueError(
            f"n_components={n_components!r}, but the list has {len(members)} components; leave n_components out."
        )
    return members[0] if len(set(members)) == 1 else Heterogeneous(members), len(members)
