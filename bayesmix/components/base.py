"""What a family of components promises: its density, the statistics it needs, its weighted M-step, its priors.

A family is a frozen record of settings: parameter values are handed in and handed back as dicts of arrays. In these
the component axis comes first, followed by the parameter's own axes; further axes (observations, draws) stand in
front. A family lives in one file; `tests/contract.py` checks every promise for every family.

A family may condition on columns that it does not model, p(x | given, theta): bounds of each row, the known error of a
measurement, covariates. It names them in `Component.given`. `Component.arrange` then puts them behind the columns that
are modelled, so that every x that a family gets is (..., obs, feature + given), with d = x.shape[-1] - len(self.given)
columns of its own in front: density, cdf, pass, responsibilities of new rows and minibatches need nothing else.
``data.modelled`` holds what is modelled alone, which starts, checks and plots look at; ``data.feature`` and
``n_features`` speak of it too. What has no rows of its own, such as `sample`, gets the given columns (rows, given) as a
further argument, called ``given``, of families that condition on some.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from ..arrays import Data, as_data, namespace
from ..constraints import Fixed, Shared
from ..likelihood.generate import kernel_of, score_of
from ..priors import Priors, as_prior


@dataclass(frozen=True)
class Parameter:
    """A parameter as users see it: PyMC's name, the dims behind `cluster`, the interval that its entries lie in."""

    name: str
    event_dims: tuple = ()
    support: tuple = (-np.inf, np.inf)
    moves: bool = False  # a location: it moves with the data, and is measured in their units
    reach: tuple = (-np.inf, np.inf)  # how far EM goes: beyond, the density hardly changes any more
    cluster_dim: str = "cluster"  # what the dim of the components is called, where not all of them have it

    @property
    def known(self) -> float | None:
        """The value of a parameter that is a setting, where EM has nowhere to go; None if it is estimated."""
        return self.reach[0] if self.reach[0] == self.reach[1] else None


RATE, OUTCOMES = 0, 1  # parts of families of the kernel ``linear``, as `bayesmix.engines.loop` knows them


class NewtonStep(NamedTuple):
    """What `bayesmix.engines.formula_loop` needs of a family whose M-step is one step of Newton's method.

    Its pass takes parameters a (cluster, number) and nothing else, and gives their expected gradient and Hessian.
    """

    functions: Any  # the compiled functions of the formula, see `bayesmix.likelihood.generate`
    bounds: np.ndarray  # (4, number): ends of the intervals of a, and how far EM goes
    moves: np.ndarray  # (number,): is it measured in the spread of its component?
    named: Callable  # from a to parameters by name
    has_spread: bool  # can components collapse?
    least_squares: bool = False  # is the step weighted least squares instead? a: standard deviation, coefficients


class Statistics(NamedTuple):
    """What one pass over the data returns; shapes as in `bayesmix.likelihood.kernel`."""

    log_likelihood: float
    n: np.ndarray  # (cluster,) expected number of rows, sum of weighted responsibilities
    first: np.ndarray  # (cluster, ...) expected first statistics
    second: np.ndarray  # (cluster, ...) expected second statistics
    members: np.ndarray = np.empty(0)  # (cluster,) expected number of groups of rows; size 0: every row is one

    @property
    def allocated(self) -> np.ndarray:
        """What the weights are estimated from, (cluster,): expected groups, or rows."""
        return self.members if self.members.size else self.n


class Rows(NamedTuple):
    """The data as a family's pass reads them."""

    x: np.ndarray  # (row, statistic)
    weights: np.ndarray  # (row,), or size 0: all rows count once
    log_base_measure: float  # what the pass leaves out, summed over all rows


class Guard(NamedTuple):
    """A weak prior against collapse, as statistics of imaginary rows: `n` rows with second statistics `second`.

    The objective gains ``log p`` of those rows about each component's own mean; the weights do not see them.
    """

    n: float
    second: np.ndarray  # one component's worth: (feature,) or (feature, feature)


class Component(ABC):
    """A family of components p_k(x | theta_k).

    Families with sufficient statistics name the kernel that their pass runs on; the methods below translate between
    users' parameters, the kernel's arguments and a vector of free coordinates on the real line, in which derivatives
    are taken and intervals are normal.
    """

    discrete: ClassVar[bool] = False
    multivariate: ClassVar[bool] = False
    numeric: ClassVar[bool] = False  # is the M-step one Newton step, and not the maximum?
    # has the log density two derivatives in the parameters everywhere? If not, the M-step sees all rows
    smooth: ClassVar[bool] = True
    # are the statistics sums over the rows of what does not depend on parameters, but for the place they are taken about?
    # If not, the M-step is one step of many (ECM), unless it is numeric anyway
    sufficient: ClassVar[bool] = True
    n_profiled: ClassVar[int] = 0  # parameters beside the free coordinates, estimated by the most extreme rows
    guarded: ClassVar[bool] = False  # has a family on the pass ``linear`` a guard, of one number?
    reads_frames: ClassVar[bool] = False  # does it make columns of its own, by a formula?
    gated: ClassVar[bool] = False  # do weights depend on covariates? Then `log_rows` has them
    mixes_to_itself: ClassVar[bool] = False  # is a mixture of them one of them, whatever their number?
    # of bayesmix.posterior.kernel; None: the posterior goes through PyTensor
    posterior_layout: ClassVar[str | None] = None
    # of bayesmix.engines.loop; None: EM goes through `m_step`
    compiled_step: ClassVar[str | None] = None
    # None: the M-step is not one step of Newton's method, or something is special about it
    newton_step: ClassVar[NewtonStep | None] = None

    behind_errors: ClassVar[bool] = False  # are the statistics of what is not seen? Then information is by differences
    stands_for: ClassVar[str | None] = None  # name of the public family that makes this one

    defined: ClassVar[dict] = {}  # families by (module, qualified name), in this process

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        Component.defined[cls.__module__, cls.__qualname__] = cls

    # -- what it is ----------------------------------------------------------------------------------------------------
    @property
    def takes_missing(self) -> bool:
        """May cells of the data be missing? Of one column they always may: such rows say nothing.

        Methods that are given data then get those of the rows with at least one cell, which NaN stands for in the others.
        """
        return not self.multivariate

    @property
    def given(self) -> tuple:
        """Columns of the data that this family conditions on: their names, or their numbers where they have none."""
        return ()

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in the order in which tables show them."""

    @property
    @abstractmethod
    def kernel(self) -> str:
        """Name of the pass that this family runs on: in `bayesmix.likelihood.kernel`, or written from a formula."""

    @abstractmethod
    def check_data(self, data: Data, n_components: int) -> None:
        """Raise `ValueError` if this family cannot describe the data."""

    @abstractmethod
    def check_parameters(self, params: dict, n_components: int) -> dict:
        """Return users' parameter values as full float arrays, component axis first, or raise `ValueError`."""

    def resolved(self, data: Data) -> "Component":
        """The family with what it leaves to the data, such as a number of categories, stated."""
        return self

    def alternatives(self) -> tuple["Component", ...]:
        """The families that this one stands for: several if a setting is a list, for `bayesmix.sweep`; else itself."""
        return (self,)

    @property
    def constraints(self) -> dict:
        """Settings that say of a parameter that it is known (`Fixed`), or one for all components (`Shared`)."""
        own = {f.name: getattr(self, f.name) for f in fields(cast(Any, self))}
        return {name: value for name, value in own.items() if isinstance(value, Fixed | Shared)}

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the parameters that are one for all components."""
        return ()

    def reported(self, values: dict, lead: int) -> dict:
        """Values by name, the component axis behind `lead` others, as fits show them: of several that are the same, one."""
        return values

    def once(self, values: dict, lead: int) -> dict:
        """Values by name with the component axis behind `lead` others, without it where one value is for all."""
        return {n: np.take(value, 0, axis=lead) if n in self.shared else value for n, value in values.items()}

    def for_each(self, values: dict, lead: int, n_components: int) -> dict:
        """Inverse of `once`."""
        return {
            n: np.repeat(np.expand_dims(value, lead), n_components, axis=lead) if n in self.shared else value
            for n, value in values.items()
        }

    def for_components(self, n_components: int) -> "Component":
        """The family for so many components: with its constraints, if it has some."""
        from . import constrained

        made: Any = constrained.Constrained  # delegates what is abstract
        return made(self, n_components) if self.constraints else self

    def exchangeable(self, n_components: int) -> np.ndarray:
        """Which components may change places, (cluster,) of whole numbers: those of the same number, all by default."""
        return np.zeros(n_components, dtype=int)

    def family_of(self, k: int) -> tuple["Component", dict]:
        """Family of component k, and what its parameters are called here, by their names there."""
        return self, {p.name: p.name for p in self.parameters}

    def leading(self, params: dict) -> np.ndarray:
        """The number by which components that may change places are put in order: (..., cluster, ...) -> (..., cluster).

        The first entry of the first parameter, mostly a mean.
        """
        first = self.parameters[0]
        return params[first.name][(..., *[0] * len(first.event_dims))]

    # -- data in -------------------------------------------------------------------------------------------------------
    def read(self, data, weights=None) -> Data:
        """Data of any kind as numbers; see `bayesmix.arrays.as_data`."""
        return as_data(data, weights=weights, missing=self.takes_missing, given=self.given)

    def read_rows(self, data, needs_response: bool = True) -> Data | None:
        """New rows for a fit, of a family that makes columns of its own of them; None of others."""
        return None

    def log_rows(self, x, params: dict):
        """Log weights of the components at each row, (..., obs, cluster), where they depend on covariates."""
        raise NotImplementedError(f"the weights of {self} do not depend on covariates.")

    def pymc_weights(self, params: dict, x):
        """Variable ``weights`` of the open model, where weights depend on covariates: averages over rows x."""
        raise NotImplementedError(f"the weights of {self} do not depend on covariates.")

    def partition(self, data: Data, n_components: int, rng: np.random.Generator) -> np.ndarray | None:
        """Responsibilities (obs, cluster) of a random start of this family's own; None if it has none."""
        return None

    # -- the formula ---------------------------------------------------------------------------------------------------
    @abstractmethod
    def log_density(self, x, params: dict):
        """Log density of each component at each row, in nats.

        x (..., obs, feature); params with the component axis last but for their own axes; returns (..., obs, cluster),
        on NumPy arrays and PyTensor variables alike.
        """

    def observed_log_density(self, x, missing: np.ndarray, params: dict):
        """Log density of the cells that are not missing, as `log_density`; 0 where none are.

        missing (obs, feature) is an array of booleans; x holds anything in such cells that the density does not fail for.
        """
        density = self.log_density(x, params)
        return namespace(density).where(missing.all(axis=1)[:, None], 0.0, density)

    @abstractmethod
    def cdf(self, x, params: dict):
        """Probability of a value <= x under each component, shapes as in `log_density`; NumPy only."""

    def log_tails(self, x, params: dict):
        """Logarithms of P(X <= x) and of P(X > x) under each component, of a family of one column, by the namespace.

        Shapes as in `log_density`; finite, with finite slopes, as far as their logarithms are. Families that state them
        can be truncated and censored.
        """
        name = type(self).__name__
        raise NotImplementedError(f"{name} has no formula for the logarithm of its distribution function.")

    @abstractmethod
    def sample(self, params: dict, rng: np.random.Generator) -> np.ndarray:
        """Draw one row for each entry of the parameters' leading axis: (rows, ...) -> (rows, feature)."""

    def sample_rows(self, params: dict, rng: np.random.Generator, given: np.ndarray | None = None) -> np.ndarray:
        """The same, with the columns that the family conditions on, (rows, given), where there are some."""
        if not self.given:
            return self.sample(params, rng)
        draw: Any = self.sample
        return draw(params, rng, given=given)

    # -- missing cells -------------------------------------------------------------------------------------------------
    def missing_moments(self, x, gone: np.ndarray, params: dict) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the missing cells of rows, given the others, under each component; NumPy only.

        x (obs, feature), gone (feature,) says which cells are missing, parameters (draw, 1, cluster, ...);
        returns (draw, obs, cluster, missing) each.
        """
        mean, variance = self.mean_and_variance(params)
        shape = (len(mean), len(x), mean.shape[-1], 1)
        return np.broadcast_to(mean[..., None], shape), np.broadcast_to(variance[..., None], shape)

    def sample_missing(self, x, gone: np.ndarray, params: dict, labels: np.ndarray, rng) -> np.ndarray:
        """Draw the missing cells of rows, given the others: labels (draw, obs) -> (draw, obs, missing)."""
        draw = np.arange(len(labels))[:, None]
        own = {name: value[draw, 0, labels].reshape(labels.size, *value.shape[3:]) for name, value in params.items()}
        given = np.broadcast_to(x[:, len(gone) :], (*labels.shape, len(self.given))).reshape(labels.size, -1)
        return self.sample_rows(own, rng, given)[:, gone].reshape(*labels.shape, -1)

    def mean_and_variance(self, params: dict) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each component of a family of one column, (..., cluster) each.

        SciPy's where it has them, otherwise from 4000 quantiles.
        """
        law: Any = getattr(self, "scipy", lambda _: None)(params)
        if hasattr(law, "stats"):
            mean, variance = law.stats("mv")
            return np.asarray(mean), np.asarray(variance)
        points = (np.arange(4000) + 0.5) / 4000
        values = np.stack([self.marginal_quantile(q, params)[..., 0] for q in points])
        return values.mean(axis=0), values.var(axis=0)

    @abstractmethod
    def marginal_quantile(self, q: float, params: dict) -> np.ndarray:
        """Quantile of each component in each feature: params (..., cluster, ...) -> (..., cluster, feature)."""

    @abstractmethod
    def marginal_cdf(self, x, params: dict, feature: int):
        """Cdf of one feature under each component: x (points,) -> (..., points, cluster); NumPy only."""

    # -- rows of families that condition on columns ---------------------------------------------------------------------
    def mean(self, x, params: dict) -> np.ndarray:
        """Mean of each component at rows x (..., obs, 1 + given), of a family of one column: (..., obs, cluster)."""
        if self.multivariate or self.given:
            raise ValueError(f"{self} has no formula for the mean of a row; use averages of fit.sample(data=rows).")
        mean = self.mean_and_variance(params)[0]
        return np.broadcast_to(mean, (*mean.shape[:-2], x.shape[-2], mean.shape[-1]))

    def quantile(self, q: float, x, params: dict) -> np.ndarray:
        """Quantile of each component at rows x, as `mean`."""
        raise ValueError(
            f"{self} has no formula for quantiles of a row; use fit.cdf(rows), or quantiles of fit.sample(data=rows)."
        )

    # -- some of the columns -------------------------------------------------------------------------------------------
    def marginal(self, kept: tuple[int, ...], params: dict) -> tuple["Component", dict]:
        """Family and parameters of some columns, by their places in order: parameters (..., cluster, ...); NumPy only.

        Raises
        ------
        ValueError
            If the distribution of some of the columns is of no family that is known here.
        """
        raise ValueError(
            f"{self} describes one column, of which there is no part."
            if not self.multivariate
            else f"some columns of {self} are of no family that bayesmix knows; MvNormal and products of families have "
            "marginal and conditional distributions. fit.sample draws whole rows, of which columns can be taken."
        )

    def conditional(self, given: dict[int, float], params: dict) -> tuple["Component", dict]:
        """Family and parameters of the other columns, given values by place; shapes and errors as of `marginal`."""
        return self.marginal((), params)

    # -- the pass ------------------------------------------------------------------------------------------------------
    @abstractmethod
    def rows(self, data: Data) -> Rows:
        """Prepare the data for the pass: repeated counts are collapsed, bases of the measure summed."""

    def statistics(self, x: np.ndarray) -> np.ndarray:
        """Sufficient statistics T of rows, (obs, feature) -> (obs, statistic), for the kernel ``linear``."""
        return x

    @abstractmethod
    def kernel_arguments(self, params: dict) -> tuple[np.ndarray, np.ndarray]:
        """The kernel's a and b at these parameters."""

    def linear_parts(self, n_features: int) -> np.ndarray:
        """Of what parts a family of the kernel ``linear`` is, (part, 2), for `bayesmix.engines.loop`; none of others.

        `RATE` or `OUTCOMES`, and the number of statistics.
        """
        return np.empty((0, 2), dtype=np.int64)

    def kernel_for(self, missing: bool) -> str:
        """Name of the pass over rows with missing cells, or over rows without."""
        return f"{self.kernel}_missing" if missing else self.kernel

    def expected_statistics(self, missing: bool = False) -> Callable:
        """The pass that EM makes: (x, row weights, log weights, a, b) -> `Statistics`."""
        return kernel_of(self.kernel_for(missing))

    @abstractmethod
    def initial_params(self, data: Data, n_components: int) -> dict:
        """Parameters at which every component describes all of the data: a place to take first moments about."""

    @abstractmethod
    def m_step(self, params: dict, statistics: Statistics, guard: Guard | None = None) -> dict:
        """Parameters that maximise the expected log-likelihood, given statistics taken at `params`."""

    def canonical(self, params: dict) -> dict:
        """The same components by the parameters that are usual, directions from -pi to pi say; weights included."""
        return params

    def beside_saddle(self, params: dict) -> list[dict]:
        """Parameters beside a place where the gradient vanishes at no maximum, if these are near one; weights included."""
        return []

    def maximise_given(self, data: Data, responsibilities: np.ndarray, guard: Guard | None = None) -> dict:
        """Parameters that maximise the expected log-likelihood, for responsibilities (obs, cluster) times row weights."""
        params = self.initial_params(data, responsibilities.shape[1])
        for _ in range(2):  # the second time about each component's own mean, so that far clusters keep their spread
            params = self.m_step(params, self.statistics_given(data.values, responsibilities, params), guard)
        return params

    def assigned(self, responsibilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Responsibilities (obs, cluster) to start from, made of a partition of the rows whose classes have no order."""
        return responsibilities

    def statistics_given(self, x: np.ndarray, responsibilities: np.ndarray, params: dict) -> Statistics:
        """Statistics for given responsibilities times row weights, taken about the parameters."""
        n = responsibilities.sum(axis=0)
        if self.kernel == "linear":
            return Statistics(np.nan, n, responsibilities.T @ self.statistics(x), np.empty((len(n), 0)))
        mu = self.kernel_arguments(params)[0]
        if np.isnan(x).any():
            return self._statistics_with_missing(x, responsibilities, params)
        first, second = [], []
        for k in range(len(n)):
            centred = x - mu[k]
            scaled = centred * responsibilities[:, k : k + 1]
            first.append(scaled.sum(axis=0))
            second.append(scaled.T @ centred if self.kernel == "full" else (scaled * centred).sum(axis=0))
        return Statistics(np.nan, n, np.array(first), np.array(second))

    def _statistics_with_missing(self, x, responsibilities, params):
        """The same where cells are missing: what is expected in them, by one pass for each component."""
        a, b = map(np.ascontiguousarray, self.kernel_arguments(params))
        order = np.lexsort(np.isnan(x).T)
        x, run = np.ascontiguousarray(x[order]), self.expected_statistics(missing=True)
        weights = np.ascontiguousarray(responsibilities[order].T, dtype=float)
        passes = [run(x, weights[k], np.zeros(1), a[k : k + 1], b[k : k + 1]) for k in range(len(a))]
        return Statistics(np.nan, *(np.concatenate([one[i] for one in passes]) for i in (1, 2, 3)))

    def arrange(self, data: Data) -> Data:
        """The data with their columns in the order that this family wants, those that are given last.

        Raises
        ------
        ValueError
            If columns are missing, or a given one has missing cells.
        """
        return data.arranged(*self.places(data.feature + data.given, data.named))

    def places(self, labels: tuple, named: bool) -> tuple[list, list]:
        """Places of the columns that are modelled, and of those that are given, among columns of these names."""
        absent = [name for name in self.given if name not in labels]
        if absent:
            listed = ", ".join(map(repr, labels[:12]))
            raise ValueError(
                f"{self} conditions on {', '.join(map(repr, absent))}, but the data have "
                f"{f'the columns {listed}' if named else f'columns without names, which are numbered: {listed}'}."
            )
        given = [labels.index(name) for name in self.given]
        return self.modelled_places(labels, named), given

    def modelled_places(self, labels: tuple, named: bool) -> list:
        """Places of the columns that are modelled: all that are not given."""
        return [j for j, label in enumerate(labels) if label not in self.given]

    def is_discrete(self, feature: int) -> bool:
        """Is this column discrete?"""
        return self.discrete

    def n_features_of(self, params: dict) -> int:
        """Number of columns that parameters are for."""
        return params["mu"].shape[1] if self.multivariate else 1

    def coords(self, data: Data) -> dict:
        """Coordinates of the parameters' own dims."""
        feature = np.array(data.feature)
        return {"feature": feature, "feature_2": feature} if self.multivariate else {}

    def guard(self, data: Data, strength: float) -> Guard | None:
        """The guard against collapse for these data, `strength` rows strong; None where nothing can collapse."""
        return None

    def guard_value(self, params: dict, guard: Guard) -> float:
        """Log density of the guard's rows about each component's own mean, summed over components."""
        b = self.kernel_arguments(params)[1]
        if b.ndim == 2:
            return float(np.sum(guard.n * np.log(b) - 0.5 * b**2 * guard.second))
        log_det = np.log(np.diagonal(b, axis1=1, axis2=2)).sum(axis=1)
        return float(np.sum(guard.n * log_det - 0.5 * np.einsum("kij,jl,kil->k", b, guard.second, b)))

    def guard_score(self, params: dict, guard: Guard) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of `guard_value` in the kernel's a and b; families on the pass ``linear`` state `guard_curvature` too."""
        a, b = map(np.ascontiguousarray, self.kernel_arguments(params))
        second = np.ascontiguousarray(np.broadcast_to(guard.second, b.shape))
        return score_of(self.kernel)(a, b, np.full(len(a), guard.n), np.zeros_like(a), second)

    def guard_around(self, params: dict, strength: float) -> Guard:
        """The guard with the spread pooled within components; only families with a `guard` have one."""
        raise NotImplementedError(f"{type(self).__name__} needs no guard.")

    def guard_settling(self, params: dict, strength: float, first: Guard) -> Guard:
        """`guard_around` the parameters of a fit on the way to a guard that settles; `first` is that of the data."""
        return self.guard_around(params, strength)

    def collapsed(self, params: dict, data: Data) -> np.ndarray:
        """How thin each component is against the spread within components: (cluster,), about 1, and 0 for a spike."""
        return np.ones(len(next(iter(params.values()))))

    def thin_direction(self, params: dict, k: int) -> np.ndarray | None:
        """Unit vector (feature,) along which component k is thinnest, in standard deviations within components."""
        return None

    # -- free coordinates ----------------------------------------------------------------------------------------------
    @abstractmethod
    def n_free(self, n_components: int, n_features: int) -> int:
        """Number of free parameters, without the weights."""

    @abstractmethod
    def to_vector(self, params: dict) -> np.ndarray:
        """Free coordinates (n_free,) of the parameters."""

    @abstractmethod
    def from_vector(self, vector: np.ndarray, n_components: int, n_features: int) -> dict:
        """Parameters at free coordinates (..., n_free), with the leading axes in front."""

    @abstractmethod
    def vector_gradient(self, params: dict, d_a: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """Gradient in free coordinates (n_free,), from the gradient in the kernel's arguments."""

    def gradient_at(self, vector: np.ndarray, params: dict, d_a: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """`vector_gradient` at coordinates that `from_vector` made these parameters of.

        Another place only where several coordinates are the same parameters.
        """
        return self.vector_gradient(params, d_a, d_b)

    @abstractmethod
    def vector_curvature(self, params: dict, d_a: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """Second derivatives of the kernel's arguments in free coordinates, times the gradient in them, summed.

        (n_free, n_free): the derivative of `vector_gradient` with d_a and d_b held fixed.
        """

    def curvature_at(self, vector: np.ndarray, params: dict, d_a: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """`vector_curvature` at coordinates that `from_vector` made these parameters of; see `gradient_at`."""
        return self.vector_curvature(params, d_a, d_b)

    @abstractmethod
    def vector_jacobian(self, params: dict) -> dict:
        """Derivatives of the parameters in free coordinates, (cluster, ..., n_free) each: those of `from_vector`."""

    @abstractmethod
    def coordinate_scale(self, params: dict) -> np.ndarray:
        """Length over which the density changes in each free coordinate (n_free,): a step for finite differences."""

    def inside(self, params: dict) -> dict:
        """Parameters next to these that a sampler can start from: none at the end of its interval."""
        return params

    # -- priors --------------------------------------------------------------------------------------------------------
    @abstractmethod
    def default_priors(self, data: Data, n_components: int | None) -> Priors:
        """Weakly informative priors made from the data, with a note on where each comes from.

        None stands for a number of components that is random: defaults then do not depend on it.
        """

    def priors(self, data: Data, n_components: int | None) -> Priors:
        """The priors in force: those given by the user, the defaults elsewhere."""
        defaults = self.default_priors(data.observed(), n_components)
        chosen = {name: getattr(self, name, None) or default for name, default in defaults.items()}
        notes = {name: note for name, note in defaults.notes.items() if getattr(self, name, None) is None}
        return Priors(chosen, notes)

    def with_priors(self, priors: dict | Priors) -> "Component":
        """Make the same family with these priors, whatever data it meets."""
        return replace(cast(Any, self), **dict(priors))

    def check_priors(self, data: Data) -> None:
        """Raise `ValueError` if a prior given by the user is for another number of features than the data have."""
        for name, prior in self._settings().items():
            n_features = getattr(prior, "n_features", None)
            if n_features not in (None, data.n_features):
                raise ValueError(
                    f"the prior of {name} is for {n_features} feature{'s' * (n_features != 1)}, but the data have "
                    f"{data.n_features}{': ' + ', '.join(map(repr, data.feature[:8])) if data.named else ''}."
                )

    @abstractmethod
    def pymc_variables(self, priors: Priors, n_components: int, n_features: int) -> tuple[dict, tuple]:
        """Make the PyMC variables in the open model: parameters by name, each free, and the kernel's a and b."""

    @abstractmethod
    def pymc_dist(self, params: dict):
        """The unnamed PyMC distribution of rows, given each row's own parameters (obs, ...): for predictive draws."""

    # -- shared ----------------------------------------------------------------------------------------------------------
    def _check_priors(self, **supports):
        """Replace each prior or constraint given by the user by its checked record."""
        for name, support in supports.items():
            value = getattr(self, name)
            if isinstance(value, Fixed | Shared):
                names = [p.name for p in self.parameters]
                if name not in names:
                    raise ValueError(
                        f"{name}={value}, but {name} is no parameter of {type(self).__name__}: these are {', '.join(names)}."
                    )
                checked = value.checked(name, support, ends=not self.numeric and self.kernel == "linear")
            else:
                checked = as_prior(value, name, support)
            object.__setattr__(self, name, checked)

    def _settings(self) -> dict:
        """Fields that differ from their defaults."""
        own = fields(cast(Any, self))
        return {f.name: getattr(self, f.name) for f in own if getattr(self, f.name) != f.default}

    def __str__(self):
        settings = self._settings().items()
        words = (f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}" for name, value in settings)
        return f"{type(self).__name__}({', '.join(words)})"


def full_shape(value, shape: tuple, name: str, meaning: str) -> np.ndarray:
    """Return a parameter as a finite float array of exactly this shape, or raise `ValueError` that says both shapes."""
    array = np.asarray(value, dtype=float)
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but {meaning} needs shape {shape}, the component axis first."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has {int(np.sum(~np.isfinite(array)))} entries that are not finite.")
    return array
