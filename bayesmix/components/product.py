"""Rows of mixed type: columns that are independent given the component, each with a family of its own."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..arrays import Data
from ..expressions import column, make, where
from ..likelihood.generate import Formula
from ..likelihood.joined import Joined, Segment
from ..priors import Priors, prefix
from .base import Component, Guard, Rows, Statistics
from .dirichlet import as_family


@dataclass(frozen=True)
class Part:
    """A family and the columns that it describes; none are named where the part's name is that of its one column."""

    name: str
    component: Any  # a Component
    columns: tuple | None = None


@dataclass(frozen=True, init=False)
class Product(Component):
    r"""Components whose columns, or groups of columns, are independent given the component.

    .. math:: p(x) = \prod_j p_j(x_j \mid \theta_j)

    Every part has a family of its own: heights are normal, a yes or no is Bernoulli, visits are Poisson. A product of
    categorical parts is latent class analysis (Lazarsfeld & Henry 1968). The parameters of part ``visits`` are called
    ``visits_mu`` and so on.

    Parameters
    ----------
    parts : mapping, optional
        Families by name, where a name cannot be written as a keyword.
    **named : Component or (Component, list)
        ``height=bm.Normal()`` describes the column of that name; of data without names the parts take the columns in turn.
        A family of several columns comes with their names (or numbers): ``size=(bm.MvNormal(), ["length", "width"])``.
        Columns that no part names are an error, not left out.

    Raises
    ------
    TypeError, ValueError
        If there are no parts, a part is not a family, or a family of several columns comes without them.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.Product(height=bm.Normal(), visits=bm.Poisson()), n_components=2))
    Mixture of 2 Product(height=Normal(), visits=Poisson()) components, weights ~ Dirichlet(1)
    """

    parts: tuple[Part, ...]
    multivariate = True
    numeric = True

    def __init__(self, parts=None, /, **named):
        given = dict(parts or {}) | named
        if not given:
            raise TypeError("a product needs parts, for example bm.Product(height=bm.Normal(), visits=bm.Poisson()).")
        object.__setattr__(self, "parts", tuple(_part(str(name), value) for name, value in given.items()))

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> "Product":
        """A product of parts that have been checked."""
        made = cls.__new__(cls)
        object.__setattr__(made, "parts", parts)
        return made

    # -- its parts -------------------------------------------------------------------------------------------------------
    @cached_property
    def given(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the parts condition on, which other parts may describe."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.component.given))

    def modelled_places(self, labels, named):
        """Places of the columns in the order of the parts, or `ValueError` if the two do not go together."""
        names: list = list(dict.fromkeys(labels))
        wanted: list = [c for part in self.parts for c in (part.columns if part.columns is not None else (part.name,))]
        if not named and all(part.columns is None for part in self.parts):
            wanted = [name for name in names if name not in self.given][: len(self.parts)]
            wanted += range(len(names), len(names) + len(self.parts) - len(wanted))  # which are not there
        missing = [c for c in wanted if c not in names]
        if missing:
            raise ValueError(
                f"the data have no column {', '.join(map(repr, missing[:12]))}; they have "
                f"{', '.join(map(repr, names[:12]))}. A part describes the column of its own name, or those given with it: "
                'bm.Product(size=(bm.MvNormal(), ["length", "width"])).'
            )
        twice = [c for c in dict.fromkeys(wanted) if wanted.count(c) > 1]
        if twice:
            raise ValueError(f"columns {', '.join(map(repr, twice))} are described by more than one part.")
        left = [name for name in names if name not in wanted and name not in self.given]
        if left:
            raise ValueError(
                f"no part describes the columns {', '.join(map(repr, left[:12]))}; add parts for them, or leave them out of "
                "the data."
            )
        return [labels.index(c) for c in wanted]

    @cached_property
    def slices(self) -> list[slice]:
        """The columns of each part."""
        stops = np.cumsum([0, *(1 if part.columns is None else len(part.columns) for part in self.parts)]).tolist()
        return [slice(i, j) for i, j in zip(stops, stops[1:], strict=False)]

    @cached_property
    def _reads(self) -> list:
        """The columns that each part is given: its own, and those that it conditions on."""
        n = self.slices[-1].stop
        behind = [[n + self.given.index(name) for name in part.component.given] for part in self.parts]
        pairs = zip(self.slices, behind, strict=True)
        return [[*range(own.start, own.stop), *places] if places else own for own, places in pairs]

    def with_data(self, data: Data):
        """Every part with its data."""
        found = []
        for part, own, reads in zip(self.parts, self.slices, self._reads, strict=True):
            values = np.ascontiguousarray(data.values[:, reads])
            found.append((part, replace(data, values=values, feature=data.feature[own], given=part.component.given)))
        return found

    def _with_columns(self, x, params: dict):
        """Every part with its columns (..., obs, own) of x (..., obs, feature), and its parameters."""
        return [
            (part, x[..., reads], self.own(part, params)) for part, reads in zip(self.parts, self._reads, strict=True)
        ]

    @cached_property
    def _names(self) -> dict:
        """Names of each part's parameters, its own and in full."""
        return {
            part.name: [(p.name, f"{part.name}_{p.name}") for p in part.component.parameters] for part in self.parts
        }

    def own(self, part: Part, params: dict) -> dict:
        """A part's parameters by its own names."""
        return {own: params[full] for own, full in self._names[part.name]}

    def _named(self, part: Part, own: dict) -> dict:
        return {f"{part.name}_{name}": value for name, value in own.items()}

    def each(self, params: dict):
        """Every part with its parameters."""
        return [(part, self.own(part, params)) for part in self.parts]

    @cached_property
    def joined(self) -> Joined:
        """The pass of the parts side by side."""
        return self._joined(False)

    @cached_property
    def joined_missing(self) -> Joined:
        """The same for rows with missing cells."""
        return self._joined(True)

    def _joined(self, missing):
        pairs = zip(self.parts, self.slices, strict=True)
        return Joined(tuple(segment_of(part.component, own.stop - own.start, missing) for part, own in pairs))

    @cached_property
    def _guard_shapes(self) -> list[tuple]:
        """Shape of the second statistics of each part's guard; () for those that cannot collapse."""
        shapes = []
        for part, own in zip(self.parts, self.slices, strict=True):
            component, d = part.component, own.stop - own.start
            if component.numeric:
                shapes.append((1,) if component.formula.spreads[0] is not None else ())
            else:
                shapes.append(guard_shape(component, d))
        return shapes

    # -- what it is ----------------------------------------------------------------------------------------------------
    @property
    def takes_missing(self):
        """If each part does."""
        return all(part.component.takes_missing for part in self.parts)

    @cached_property
    def parameters(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The parameters of all parts, each with the part's name in front."""
        return tuple(
            replace(p, name=f"{part.name}_{p.name}", event_dims=tuple(f"{part.name}_{dim}" for dim in p.event_dims))
            for part in self.parts
            for p in part.component.parameters
        )

    @property
    def shared(self):
        """Those of the parts."""
        return tuple(f"{part.name}_{name}" for part in self.parts for name in part.component.shared)

    def for_components(self, n_components):
        """A product of such parts."""
        made = tuple(replace(part, component=part.component.for_components(n_components)) for part in self.parts)
        return self if made == self.parts else Product.of(made)

    def exchangeable(self, n_components):
        """Those that are in every part."""
        own = np.stack([part.component.exchangeable(n_components) for part in self.parts], axis=1)
        return np.unique(own, axis=0, return_inverse=True)[1].ravel()

    @property
    def discrete(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Are all columns discrete?"""
        return all(part.component.discrete for part in self.parts)

    def is_discrete(self, feature):
        """Is this column discrete?"""
        part, _ = self.of_feature(feature)
        return part.component.discrete

    def of_feature(self, feature):
        """The part of a column, and which of the part's columns it is."""
        for part, own in zip(self.parts, self.slices, strict=True):
            if own.start <= feature < own.stop:
                return part, feature - own.start
        raise IndexError(f"there is no column {feature}.")

    @property
    def kernel(self):
        """The pass written for these parts."""
        return self.joined.name

    def resolved(self, data: Any):
        """What each part leaves to its columns, stated."""
        if not hasattr(data, "values"):  # not in memory
            data = Data(np.stack([data.low, data.high]), data.feature, data.named, np.arange(2))
        made = [replace(part, component=part.component.resolved(own.observed())) for part, own in self.with_data(data)]
        return self if tuple(made) == self.parts else Product.of(tuple(made))

    def check_data(self, data, n_components):
        """What each part asks of its columns."""
        for part, own in self.with_data(data):
            try:
                part.component.check_data(own.observed(), n_components)
            except ValueError as error:
                raise ValueError(f"part {part.name}: {error}") from None

    def check_priors(self, data):
        """What the priors of each part ask of its columns."""
        for part, own in self.with_data(data):
            part.component.check_priors(own)

    def check_parameters(self, params, n_components):
        """What each part asks of its parameters."""
        checked = {}
        for part, own in self.each(params):
            checked |= self._named(part, part.component.check_parameters(own, n_components))
        return checked

    def n_features_of(self, params):
        """Number of columns."""
        return self.slices[-1].stop

    def coords(self, data):
        """Coordinates of the parts' own dims: ``size_feature`` holds the columns of part ``size``."""
        found = {"feature": np.array(data.feature)}
        for part, own in self.with_data(data):
            found |= {f"{part.name}_{dim}": value for dim, value in part.component.coords(own).items()}
        return found

    # -- the formula and prediction ------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Sum of the parts' log densities: x (..., obs, feature) -> (..., obs, cluster)."""
        own = {name: value for name, value in params.items() if not name.endswith("precision_factor")}
        total = 0.0
        for part, columns, theirs in self._with_columns(x, own):
            factor = params.get(f"{part.name}_precision_factor")
            total = total + part.component.log_density(
                columns, theirs if factor is None else theirs | {"precision_factor": factor}
            )
        return total

    def observed_log_density(self, x, missing, params):
        """Sum over the parts of the log densities of what is there."""
        total = 0.0
        for part, own, reads in zip(self.parts, self.slices, self._reads, strict=True):
            theirs = {p.name: params[f"{part.name}_{p.name}"] for p in part.component.parameters}
            total = total + part.component.observed_log_density(x[:, reads], missing[:, own], theirs)
        return total

    def missing_moments(self, x, gone, params):
        """Those of the parts with missing cells, side by side."""
        found = [
            part.component.missing_moments(x[:, reads], gone[own], self.own(part, params))
            for part, own, reads in zip(self.parts, self.slices, self._reads, strict=True)
            if gone[own].any()
        ]
        return tuple(np.concatenate(pieces, axis=-1) for pieces in zip(*found, strict=True))

    def sample_missing(self, x, gone, params, labels, rng):
        """Draws of the parts with missing cells, side by side."""
        found = [
            part.component.sample_missing(x[:, reads], gone[own], self.own(part, params), labels, rng)
            for part, own, reads in zip(self.parts, self.slices, self._reads, strict=True)
            if gone[own].any()
        ]
        return np.concatenate(found, axis=-1)

    def marginal(self, kept, params):
        """Those of the parts that have a column left."""
        return self._of_parts(params, {j: None for j in range(self.slices[-1].stop) if j not in kept})

    def conditional(self, given, params):
        """Those of the parts that have a column left: values given in other parts say nothing about them."""
        return self._of_parts(params, given)

    def _of_parts(self, params, dropped):
        """Parts without the columns at these places, given their values where they have one; a part by itself if it is one."""
        found = []
        for (part, theirs), own in zip(self.each(params), self.slices, strict=True):
            gone = {j - own.start: value for j, value in dropped.items() if own.start <= j < own.stop}
            kept = tuple(j for j in range(own.stop - own.start) if j not in gone)
            if not kept:
                continue
            component = part.component
            if gone and None in gone.values():
                component, theirs = component.marginal(kept, theirs)
            elif gone:
                component, theirs = component.conditional(gone, theirs)
            columns = None if part.columns is None else tuple(part.columns[j] for j in kept)
            found.append((Part(part.name, component, columns), theirs))
        if len(found) == 1:
            return found[0][0].component, found[0][1]
        made = Product.of(tuple(part for part, _ in found))
        return made, {name: value for part, own in found for name, value in made._named(part, own).items()}

    def cdf(self, x, params):
        """Product of the parts' distribution functions."""
        return np.prod([part.component.cdf(own, theirs) for part, own, theirs in self._with_columns(x, params)], axis=0)

    def sample(self, params, rng, given=None):
        """Each part's columns, one row per row of the parameters."""
        columns = [part.component.sample_rows(own, rng, self._given_of(part, given)) for part, own in self.each(params)]
        return np.concatenate(columns, axis=1)

    def _given_of(self, part, given):
        """The columns that a part conditions on, of those of all parts (rows, given)."""
        names = part.component.given
        return given[:, [self.given.index(name) for name in names]] if names else None

    def marginal_quantile(self, q, params):
        """Quantiles of the parts, column by column."""
        return np.concatenate([part.component.marginal_quantile(q, own) for part, own in self.each(params)], axis=-1)

    def marginal_cdf(self, x, params, feature):
        """That of the part that the column belongs to."""
        part, at = self.of_feature(feature)
        return part.component.marginal_cdf(x, self.own(part, params), at)

    # -- the pass ------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """The columns that each part's pass reads, and the sum of their base measures.

        Rows in which the same cells of correlated columns are missing stand together.
        """
        columns, base = [], 0.0
        correlated = [
            own for part, own in zip(self.parts, self.slices, strict=True) if part.component.kernel.endswith("full")
        ]
        if data.missing and correlated:
            gone = np.concatenate([np.isnan(data.values[:, own]) for own in correlated], axis=1)
            data = data.take(np.lexsort(gone.T))
        for part, own in self.with_data(data):
            if part.component.kernel == "linear":
                columns.append(_statistics_of_seen(part.component, own))
                base += part.component.rows(own.observed()).log_base_measure
            elif part.component.numeric:
                formula = _with_missing(part.component.formula) if data.missing else part.component.formula
                columns.append(formula.prepare(own.values))
            else:
                columns.append(own.values)
        weights = np.empty(0) if data.weights is None else data.weights
        return Rows(np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=float), weights, base)

    @property
    def compiled_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the kernel ``linear``, if all parts have it: with the statistics side by side they are one family."""
        return "linear" if all(part.component.compiled_step == "linear" for part in self.parts) else None

    def linear_parts(self, n_features):
        """Those of the parts."""
        pairs = zip(self.parts, self.slices, strict=True)
        return np.concatenate([part.component.linear_parts(own.stop - own.start) for part, own in pairs])

    def kernel_for(self, missing):
        """The pass written for these parts, with or without missing cells."""
        joined = self.joined_missing if missing else self.joined
        return joined.functions.__name__  # which writes it: the name alone finds it from now on

    def expected_statistics(self, missing=False):
        """The pass of second order."""
        return (self.joined_missing if missing else self.joined).functions.second

    def kernel_arguments(self, params):
        """The parts' a and b, flat behind one another."""
        pairs = [part.component.kernel_arguments(own) for part, own in self.each(params)]
        return tuple(self.joined.flat(name, [pair[i] for pair in pairs]) for i, name in enumerate("ab"))

    def _statistics(self, statistics):
        """Statistics of each part; where a `linear` part counted the rows that are there, with their number."""
        joined = self.joined if statistics.second.shape[1] == self.joined.sizes("second") else self.joined_missing
        first, second = (joined.split(name, getattr(statistics, name)) for name in ("first", "second"))
        n = [
            s[:, 0] if g.kernel == "linear" and s.size else statistics.n
            for g, s in zip(joined.segments, second, strict=True)
        ]
        return [Statistics(statistics.log_likelihood, *own) for own in zip(n, first, second, strict=True)]

    def initial_params(self, data, n_components):
        """Those of each part."""
        params = {}
        for part, own in self.with_data(data):
            params |= self._named(part, part.component.initial_params(own.observed(), n_components))
        return params

    def m_step(self, params, statistics, guard=None):
        """The M-step of each part; one Newton step for those whose M-step is numeric."""
        new = {}
        guards, parts = self._guards(guard), self._statistics(statistics)
        for (part, own), g, s in zip(self.each(params), guards, parts, strict=True):
            new |= self._named(part, part.component.m_step(own, s, g))
        return new

    def maximise_given(self, data, responsibilities, guard=None):
        """That of each part."""
        params = {}
        for (part, own), g in zip(self.with_data(data), self._guards(guard), strict=True):
            seen = responsibilities[own.informative] if own.missing else responsibilities
            params |= self._named(part, part.component.maximise_given(own.observed(), seen, g))
        return params

    def beside_saddle(self, params):
        """Those of each part, all else as it is."""
        weights = {"weights": params["weights"]}
        return [
            params | self._named(part, {name: there[name] for name in own})
            for part, own in self.each(params)
            for there in part.component.beside_saddle(own | weights)
        ]

    # -- the guard -----------------------------------------------------------------------------------------------------
    def _guards(self, guard):
        """The guard of each part; None for those that cannot collapse."""
        return split_guard(guard, self._guard_shapes)

    def guard(self, data, strength):
        """Those of the parts that can collapse."""
        guards = [part.component.guard(own.observed(), strength) for part, own in self.with_data(data)]
        return join_guards(guards, self._guard_shapes)

    def guard_around(self, params, strength):
        """Those of the parts that can collapse."""
        guards = []
        for (part, own), shape in zip(self.each(params), self._guard_shapes, strict=True):
            own = own | {"weights": params["weights"]}
            guards.append(part.component.guard_around(own, strength) if shape else None)
        found = join_guards(guards, self._guard_shapes)
        assert found is not None
        return found

    def guard_settling(self, params, strength, first):
        """None for parts that cannot collapse on these rows."""
        around = self.guard_around(params, strength)
        return around._replace(second=np.where(first.second < 0, first.second, around.second))

    def guard_value(self, params, guard):
        """Sum of the parts' guards."""
        pairs = zip(self.each(params), self._guards(guard), strict=True)
        return sum(part.component.guard_value(own, g) for (part, own), g in pairs if g is not None)

    def guard_score(self, params, guard):
        """The parts' gradients; none for those that have no guard."""
        found = []
        for (part, own), g in zip(self.each(params), self._guards(guard), strict=True):
            a, b = part.component.kernel_arguments(own)
            found.append((np.zeros_like(a), np.zeros_like(b)) if g is None else part.component.guard_score(own, g))
        return tuple(self.joined.flat(name, [pair[i] for pair in found]) for i, name in enumerate("ab"))

    def collapsed(self, params, data):
        """The thinnest part of each component."""
        return np.min(self._thinness(params, data), axis=0)

    def _thinness(self, params, data):
        own_data: list = [None] * len(self.parts) if data is None else [own for _, own in self.with_data(data)]
        return [
            part.component.collapsed(own | {"weights": params["weights"]}, d)
            for (part, own), d in zip(self.each(params), own_data, strict=True)
        ]

    def thin_direction(self, params, k):
        """That of the part which is thinnest, zero in the other columns."""
        thinness = self._thinness(params, None)
        which = int(np.argmin([one[k] for one in thinness]))
        part, own = self.each(params)[which]
        inside = part.component.thin_direction(own | {"weights": params["weights"]}, k)
        if inside is None:
            return None
        direction = np.zeros(self.slices[-1].stop)
        direction[self.slices[which]] = inside
        return direction

    # -- free coordinates: those of the parts, behind one another --------------------------------------------------------
    def _sizes(self, n_components):
        return [
            part.component.n_free(n_components, own.stop - own.start)
            for part, own in zip(self.parts, self.slices, strict=True)
        ]

    def n_free(self, n_components, n_features):
        """Sum over the parts."""
        return sum(self._sizes(n_components))

    def to_vector(self, params):
        """Coordinates of each part."""
        return np.concatenate([part.component.to_vector(own) for part, own in self.each(params)])

    def from_vector(self, vector, n_components, n_features):
        """Parameters of each part."""
        params, stops = {}, np.cumsum(self._sizes(n_components))[:-1]
        pieces = np.split(np.asarray(vector), stops, axis=-1)
        for part, own, piece in zip(self.parts, self.slices, pieces, strict=True):
            found = part.component.from_vector(piece, n_components, own.stop - own.start)
            params |= self._named(part, found)
        return params

    def _of_arguments(self, params, d_a, d_b):
        """Each part with its parameters and its gradients in a and b."""
        pieces = zip(self.joined.split("a", d_a), self.joined.split("b", d_b), strict=True)
        return [(part, own, *pair) for (part, own), pair in zip(self.each(params), pieces, strict=True)]

    def vector_gradient(self, params, d_a, d_b):
        """Gradient of each part."""
        return np.concatenate(
            [part.component.vector_gradient(own, a, b) for part, own, a, b in self._of_arguments(params, d_a, d_b)]
        )

    def _at(self, vector, params):
        """Coordinates of each part, of those of all."""
        sizes = self._sizes(len(next(iter(params.values()))))
        return np.split(np.asarray(vector), np.cumsum(sizes)[:-1])

    def gradient_at(self, vector, params, d_a, d_b):
        """The same, at these coordinates of each part."""
        each = zip(self._at(vector, params), self._of_arguments(params, d_a, d_b), strict=True)
        return np.concatenate([part.component.gradient_at(v, own, a, b) for v, (part, own, a, b) in each])

    def curvature_at(self, vector, params, d_a, d_b):
        """Curvature of each part at these coordinates, in blocks."""
        from scipy.linalg import block_diag

        each = zip(self._at(vector, params), self._of_arguments(params, d_a, d_b), strict=True)
        return block_diag(*(part.component.curvature_at(v, own, a, b) for v, (part, own, a, b) in each))

    def vector_curvature(self, params, d_a, d_b):
        """Curvature of each part, in blocks."""
        from scipy.linalg import block_diag

        parts = self._of_arguments(params, d_a, d_b)
        return block_diag(*(part.component.vector_curvature(own, a, b) for part, own, a, b in parts))

    def vector_jacobian(self, params):
        """Derivatives of each part's parameters, none in the coordinates of others."""
        k = len(next(iter(params.values())))
        sizes = self._sizes(k)
        before, jacobian = 0, {}
        for (part, own), size in zip(self.each(params), sizes, strict=True):
            for name, value in part.component.vector_jacobian(own).items():
                around = [(0, 0)] * (value.ndim - 1) + [(before, sum(sizes) - before - size)]
                jacobian[f"{part.name}_{name}"] = np.pad(value, around)
            before += size
        return jacobian

    def coordinate_scale(self, params):
        """Scales of each part."""
        return np.concatenate([part.component.coordinate_scale(own) for part, own in self.each(params)])

    # -- priors and PyMC -------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """Those in force for each part: its defaults, or what was given with it."""
        chosen, notes = {}, {}
        for part, own in self.with_data(data):
            priors = part.component.priors(own, n_components)
            chosen |= {f"{part.name}_{name}": prior for name, prior in priors.items()}
            notes |= {f"{part.name}_{name}": note for name, note in priors.notes.items()}
        return Priors(chosen, notes)

    def with_priors(self, priors):
        """Every part with its own."""
        made = []
        for part in self.parts:
            begin = f"{part.name}_"
            own = {name.removeprefix(begin): prior for name, prior in priors.items() if name.startswith(begin)}
            made.append(replace(part, component=part.component.with_priors(Priors(own, {}))))
        return Product.of(tuple(made))

    def pymc_variables(self, priors, n_components, n_features):
        """The variables of each part, its name in front; a and b of the parts behind one another."""
        import pytensor.tensor

        pt: Any = pytensor.tensor
        params, pieces = {}, []
        for part, own in zip(self.parts, self.slices, strict=True):
            begin = f"{part.name}_"
            theirs = {name.removeprefix(begin): p for name, p in priors.items() if name.startswith(begin)}
            with prefix(begin):
                found, arguments = part.component.pymc_variables(Priors(theirs, {}), n_components, own.stop - own.start)
            params |= self._named(part, found)
            pieces.append([pt.reshape(argument, (n_components, -1)) for argument in arguments])
        joined: Any = [pt.concatenate([piece[i] for piece in pieces], axis=1) for i in range(2)]
        return params, tuple(joined)

    def pymc_dist(self, params, given=None):
        """The parts' distributions side by side."""
        import pytensor.tensor as pt

        columns = []
        for part, own in self.each(params):
            on = {"given": self._given_of(part, given)} if part.component.given else {}
            value: Any = part.component.pymc_dist(own, **on)
            columns.append(value if part.component.multivariate else value[..., None])
        return pt.concatenate([column.astype("float64") for column in columns], axis=-1)

    # -- words ---------------------------------------------------------------------------------------------------------
    def _settings(self):
        """Families by name, as they were given."""
        return {
            part.name: part.component if part.columns is None else (part.component, list(part.columns))
            for part in self.parts
        }

    def __str__(self):
        words = (
            f"{name}={value}" if isinstance(value, Component) else f"{name}=({value[0]}, {value[1]})"
            for name, value in self._settings().items()
        )
        return f"Product({', '.join(words)})"


def join_guards(guards: list, shapes: list[tuple]) -> Guard | None:
    """Guards as one; -1 stands where a family has one of this shape, but needs none on the rows that there are."""
    if all(guard is None for guard in guards):
        return None
    flat = [
        np.full(int(np.prod(shape, dtype=int)) if shape else 0, -1.0) if guard is None else np.ravel(guard.second)
        for guard, shape in zip(guards, shapes, strict=True)
    ]
    return Guard(next(guard.n for guard in guards if guard is not None), np.concatenate(flat))


def split_guard(guard: Guard | None, shapes: list[tuple]) -> list[Guard | None]:
    """Inverse of `join_guards`."""
    found, begin = [], 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=int)) if shape and guard is not None else 0
        second = guard.second[begin : begin + size] if guard is not None else np.empty(0)
        found.append(Guard(guard.n, second.reshape(shape)) if guard is not None and size and second[0] >= 0 else None)
        begin += size
    return found


def segment_of(component, n_features: int, missing: bool = False) -> Segment:
    """The pass of a family of so many columns, as a part of a larger one."""
    if component.numeric:
        formula = _with_missing(component.formula) if missing else component.formula
        return Segment("formula", n_features, formula, missing)
    if component.kernel == "linear":
        return Segment("linear", component.statistics(np.zeros((1, n_features))).shape[1], missing=missing)
    return Segment(component.kernel, n_features, missing=missing)


def can_be_joined(component) -> bool:
    """Can the pass of a family be a part of a larger one, and its M-step follow from what that sums?"""
    return component.numeric or component.sufficient or component.kernel.startswith("student")


def guard_shape(component, n_features: int) -> tuple:
    """Shape of the second statistics of the guard of a family that is not numeric; () for those without one."""
    shapes = {"diagonal": (n_features,), "full": (n_features,) * 2, "linear": (1,) * component.guarded}
    return shapes[component.kernel.removeprefix("student_")]


def _statistics_of_seen(component, data):
    """Sufficient statistics of rows, NaN where the cell is missing."""
    if not data.missing:
        return component.statistics(data.values)
    seen = data.observed().values
    statistics = component.statistics(seen)
    found = np.full((data.n_obs, statistics.shape[1]), np.nan)
    found[data.informative] = statistics
    return found


@lru_cache(maxsize=512)
def _with_missing(formula: Formula) -> Formula:
    """The formula with log density 0 where the cell is missing."""
    gone = make("isnan", column(0))
    return replace(formula, densities=tuple(where(gone, 0.0, density) for density in formula.densities))


def _part(name: str, value) -> Part:
    """A part as it was given, checked."""
    columns = None
    if isinstance(value, tuple) and len(value) == 2:
        value, columns = value
        columns = (columns,) if isinstance(columns, str | int) else tuple(columns)
    value = as_family(value)
    if isinstance(value, type) and issubclass(value, Component):
        raise TypeError(f"part {name} is the class {value.__name__}; call it: {name}=bm.{value.__name__}().")
    if not isinstance(value, Component):
        raise TypeError(
            f"part {name} must be a family such as bm.Normal(), or a family and its columns, (bm.MvNormal(), ['a', 'b']), "
            f"but it is {value!r}."
        )
    if isinstance(value, Product):
        raise TypeError(f"part {name} is a product itself; name its parts here.")
    if value.reads_frames:
        raise TypeError(f"part {name}, {value}, reads columns by a formula, which products do not take.")
    if value.alternatives() != (value,):
        raise ValueError(f"part {name}, {value}, stands for several families; a part is one.")
    if not value.smooth:
        raise TypeError(
            f"part {name}, {value}, has a kink, which products do not take; use bm.StudentT() in its place."
        )
    if not can_be_joined(value):
        raise TypeError(
            f"part {name}, {value}, makes a pass of its own, which products do not take; use bm.MvNormal() in its place, or "
            "bm.StudentT() for each column."
        )
    if columns is None and value.multivariate:
        raise TypeError(
            f"part {name}, {value}, describes several columns; name them: {name}=({value}, ['first', 'second'])."
        )
    if columns is not None and not value.multivariate and len(columns) != 1:
        raise ValueError(f"part {name}, {value}, describes one column, but {len(columns)} are given: {list(columns)}.")
    return Part(name, value, columns)
