"""The mixture likelihood of given data, by the fused pass: statistics, gradients, free coordinates."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from ..arrays import Data
from ..components.base import Component, Guard, Rows, Statistics
from ..cores import in_order
from ..units import exchangeable
from .formula import log_likelihood, log_of_weights
from .generate import functions_of, score_of
from .information import observed_information, parameter_jacobian
from .repeated import collapse
from .units import kernel_of_units, parts_of_units, responsibilities, rows_of_units, shared, some_rows

N_PARTS = 8  # of many rows; sums are always added up part by part, whatever the number of threads
MANY_ROWS = 50_000
DIFFERENCE = 1e-5  # step of differences of the gradient, in scales of the coordinates


@lru_cache(maxsize=64)
def _parts(n_rows: int) -> tuple[slice, ...]:
    edges = np.linspace(0, n_rows, N_PARTS + 1 if n_rows >= MANY_ROWS else 2).astype(int)
    return tuple(slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False))


def _writable(rows: Rows) -> Rows:
    """Few rows as arrays that may be written to: for others, as frames may hand out, all would be compiled a second time."""
    if len(rows.x) >= MANY_ROWS or rows.x.flags.writeable and rows.weights.flags.writeable:
        return rows
    return rows._replace(x=rows.x.copy(), weights=rows.weights.copy())


@contextmanager
def interruptible():
    """Let an interrupt (Ctrl-C) inside compiled code be a `KeyboardInterrupt`: Numba reports it as a SystemError."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The log-likelihood L of a mixture of `n_components` components as a function of its parameters.

    Parameters are a dict with ``weights`` (cluster,) beside the family's own. In free coordinates the weights are
    log ratios to the last weight, (cluster - 1,), in front of the family's coordinates. Rows that repeat are collapsed
    into weights where that pays. Rows of which all cells are missing are left out: they say nothing.
    """

    in_memory: ClassVar[bool] = True  # are there all rows, in `data`?

    component: Component
    data: Data
    n_components: int
    rows: Rows = field(init=False)
    look_for_repetitions: bool = True
    cores: int = 1  # threads of a pass over many rows; they change nothing, to the last bit
    known_weights: np.ndarray | None = None  # (cluster,), where they are not estimated

    def __new__(cls, component, *args, **kwargs):
        """The likelihood of components whose weights depend on covariates is another one."""
        if cls is Likelihood and component.gated:
            from .gated import GatedLikelihood

            return object.__new__(GatedLikelihood)
        return object.__new__(cls)

    @classmethod
    def of(cls, mixture, data, **options):
        """The likelihood of a mixture for checked data."""
        return cls(mixture.component, data, mixture.n_components, known_weights=mixture.weights.known, **options)

    def __post_init__(self):
        object.__setattr__(self, "data", self.data.observed())
        if self.data.units is not None:
            object.__setattr__(self, "rows", rows_of_units(self.component, self.data))
            return
        rows = _writable(self.component.rows(self.data))
        look = self.look_for_repetitions and not self.data.missing
        object.__setattr__(self, "rows", collapse(rows) if look else rows)

    @property
    def incomplete(self) -> bool:
        """Are there rows with missing cells?"""
        return self.in_memory and self.data.missing

    @property
    def has_rows(self) -> bool:
        """Can the pass be made on `rows`, without `statistics`?"""
        return True

    @property
    def by_units(self) -> bool:
        """Do rows share components, or come from known ones?"""
        return self.in_memory and self.data.units is not None

    @property
    def kernel(self) -> str:
        """Name of the pass."""
        name = self.component.kernel_for(self.incomplete)
        if not self.by_units:
            return name
        self.component.expected_statistics(self.incomplete)  # is written now, if it was not before
        return kernel_of_units(name, self.data.n_features)

    @cached_property
    def can_collapse(self) -> bool:
        """Is the likelihood unbounded, where a component shrinks onto a row?"""
        return self.component.guard(self.few_rows(), 1.0) is not None

    @cached_property
    def guard_of_starts(self) -> Guard | None:
        """D + 1 rows of the spread of all data; None for families that cannot collapse."""
        return self.component.guard(self.data, self.data.n_features + 1.0)

    @cached_property
    def standardised(self) -> np.ndarray:
        """Columns with mean 0 and standard deviation 1; constant ones stay at 0. Missing cells hold the mean."""
        values = self.data.filled()
        centred = values - np.average(values, axis=0, weights=self.data.weights)
        sd = np.sqrt(np.average(centred**2, axis=0, weights=self.data.weights))
        return centred / np.where(sd > 0, sd, 1.0)

    def few_rows(self) -> Data:
        """A few rows, to ask the family questions with."""
        return self.data if self.data.missing else self.data.take(np.arange(min(self.data.n_obs, 10)))

    def subsample(self, n_rows: int, rng: np.random.Generator) -> "Likelihood":
        """The likelihood of at most `n_rows` random rows."""
        if self.data.n_obs <= n_rows:
            return self
        rows = some_rows(self.data, n_rows, rng)
        part = self.data.take(rows)
        if part.missing and np.isnan(part.modelled).all(axis=0).any():
            return self  # of a column that is hardly ever there, all that there is
        return self.with_rows(part)

    def with_rows(self, data: Data) -> "Likelihood":
        """The same of other rows in memory."""
        return Likelihood(self.component, data, self.n_components, known_weights=self.known_weights)

    def exchangeable(self) -> np.ndarray:
        """Which components may change places, (cluster,) of whole numbers; see `bayesmix.units.exchangeable`."""
        return exchangeable(self.component, self.n_components, self.data, self.known_weights)

    def assigned(self, responsibilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Responsibilities to start from, (obs, cluster), of a partition whose classes have no order.

        Under known weights that differ, half of the time the heaviest class to the component of the greatest weight and so
        on, among those that the family lets change places; in any order otherwise.
        """
        found = self.component.assigned(responsibilities, rng)
        if self.known_weights is None or np.ptp(self.known_weights) == 0:
            return found
        order, groups = np.arange(self.n_components), self.component.exchangeable(self.n_components)
        by_size = rng.random() < 0.5
        for group in np.unique(groups):
            own = np.flatnonzero(groups == group)
            there = own[np.argsort(found[:, own].sum(axis=0))] if by_size else rng.permutation(own)
            order[own[np.argsort(self.known_weights[own], kind="stable")]] = there
        return found[:, order]

    def with_known_weights(self, params: dict) -> dict:
        """Parameters with the weights that are known."""
        return params if self.known_weights is None else params | {"weights": self.known_weights.copy()}

    def _shares(self, members: np.ndarray) -> np.ndarray:
        """Weights (cluster,) that maximise the expected log-likelihood, given how many rows each component has."""
        return members / members.sum() if self.known_weights is None else self.known_weights.copy()

    @property
    def _n_ratios(self) -> int:
        """Coordinates of the weights."""
        return self.n_components - 1 if self.known_weights is None else 0

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, weights included."""
        return self._n_ratios + self.component.n_free(self.n_components, self.data.n_features)

    def statistics(self, params: dict) -> Statistics:
        """One pass at these parameters: the log-likelihood in nats, and the expected statistics."""
        a, b = map(np.ascontiguousarray, self.component.kernel_arguments(params))
        x, row_weights, log_base_measure = self.rows
        log_weights = log_of_weights(params["weights"])
        if self.by_units:
            run, slices = functions_of(self.kernel).second, parts_of_units(row_weights, _parts(len(x)))
        else:
            run, slices = self.component.expected_statistics(self.incomplete), _parts(len(x))

        def on_part(part):
            return run(x[part], row_weights[part] if row_weights.size else row_weights, log_weights, a, b)

        with interruptible():
            parts = list(in_order(on_part, slices, min(self.cores, N_PARTS) if len(x) >= MANY_ROWS else 1))
        log_lik, *sums = (np.sum(found, axis=0) for found in zip(*parts, strict=True))
        return Statistics(float(log_lik) + log_base_measure, *sums)

    def log_likelihood(self, params: dict) -> float:
        """L at these parameters, in nats."""
        return self.statistics(params).log_likelihood

    def responsibilities(self, params: dict) -> np.ndarray:
        """Responsibilities (obs, cluster) of the data's rows at these parameters."""
        own = {name: value for name, value in params.items() if name != "weights"}
        return responsibilities(self.component, self.data, log_of_weights(params["weights"]), own)

    def fingerprint(self, params: dict) -> np.ndarray:
        """Log density at up to 500 rows spread over the data: what tells two optima apart, whatever their labels."""
        n_obs = self.data.n_obs
        rows = np.unique(np.linspace(0, n_obs - 1, min(n_obs, 500)).astype(int))
        own = {name: value for name, value in params.items() if name != "weights"}
        return log_likelihood(self.component, self.data.values[rows], log_of_weights(params["weights"]), own)

    # -- the guard ---------------------------------------------------------------------------------------------------------
    def guard_value(self, params: dict, guard: Guard | None) -> float:
        """Log prior of the guard at these parameters: the log density of its imaginary rows, summed over components."""
        return 0.0 if guard is None else self.component.guard_value(params, guard)

    # -- free coordinates --------------------------------------------------------------------------------------------------
    def to_vector(self, params: dict) -> np.ndarray:
        """Free coordinates (n_parameters,); those of weights are not finite where a weight is zero."""
        log_weights = log_of_weights(params["weights"])
        with np.errstate(invalid="ignore"):
            ratios = (log_weights[:-1] - log_weights[-1])[: self._n_ratios]
        return np.concatenate([ratios, self.component.to_vector(params)])

    def from_vector(self, vector: np.ndarray) -> dict:
        """Parameters at free coordinates (..., n_parameters)."""
        k, of_weights = self.n_components, self._n_ratios
        own = self.component.from_vector(vector[..., of_weights:], k, self.data.n_features)
        if self.known_weights is not None:
            return {"weights": np.tile(self.known_weights, (*vector.shape[:-1], 1))} | own
        ratios = np.concatenate([vector[..., :of_weights], np.zeros((*vector.shape[:-1], 1))], axis=-1)
        weights = np.exp(ratios - ratios.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return {"weights": weights} | own

    def value_and_gradient(self, vector: np.ndarray, guard: Guard | None = None) -> tuple[float, np.ndarray]:
        """L plus the guard, and the gradient in free coordinates, by Fisher's identity from one pass."""
        params = self.from_vector(vector)
        statistics = self.statistics(params)
        a, b = self.component.kernel_arguments(params)
        score = score_of(self.kernel)
        d_a, d_b = score(np.ascontiguousarray(a), np.ascontiguousarray(b), *statistics[1:4])
        if guard is not None:
            of_a, of_b = self.component.guard_score(params, guard)
            d_a, d_b = d_a + of_a, d_b + of_b
        members = statistics.allocated
        d_ratio = members - members.sum() * params["weights"]
        own = self.component.gradient_at(vector[self._n_ratios :], params, d_a, d_b)
        gradient = np.concatenate([d_ratio[: self._n_ratios], own])
        return statistics.log_likelihood + self.guard_value(params, guard), gradient

    def information(self, vector: np.ndarray, guard: Guard | None = None) -> np.ndarray:
        """Observed information, minus the Hessian of L plus the guard in free coordinates, exact (Louis 1982).

        Where cells are missing or rows share components, by central differences of the exact gradient, to about 1e-9 of it.

        Raises
        ------
        ValueError
            If rows share components whose density has a kink: there such differences say nothing.
        """
        if self.by_units and not self.component.smooth:
            raise ValueError(
                f"the density of {self.component} has a kink, where the information of groups of rows and of known labels is not "
                'known; use uncertainty="bootstrap".'
            )
        if self.incomplete or self.by_units or self.component.behind_errors:
            return self._differenced(vector, guard)
        own = vector[self._n_ratios :]
        return self._of_free(observed_information(self.component, self.rows, self.from_vector(vector), guard, own))

    def _of_free(self, information: np.ndarray) -> np.ndarray:
        """The information without the rows and columns of weights, where these are known."""
        first = self.n_components - 1 - self._n_ratios
        return information[first:, first:]

    def _differenced(self, vector, guard):
        """Minus the Hessian, by central differences of the gradient."""
        rows = []
        for i, step in enumerate(DIFFERENCE * self.coordinate_scale(vector)):
            shift = np.zeros_like(vector)
            shift[i] = step
            above, below = (self.value_and_gradient(vector + s, guard)[1] for s in (shift, -shift))
            rows.append((below - above) / (2.0 * step))
        hessian = np.array(rows).reshape(len(vector), len(vector))
        return 0.5 * (hessian + hessian.T)

    def jacobian(self, params: dict) -> dict:
        """Derivatives of weights and parameters by name in all free coordinates, each (cluster, ..., number)."""
        first = self.n_components - 1 - self._n_ratios
        return {name: slopes[..., first:] for name, slopes in parameter_jacobian(self.component, params).items()}

    def coordinate_scale(self, vector: np.ndarray) -> np.ndarray:
        """Rough size of one standard error per row in each coordinate, so that differences suit any unit."""
        params = self.from_vector(vector)
        return np.concatenate([np.ones(self._n_ratios), self.component.coordinate_scale(params)])

    # -- the M-step ----------------------------------------------------------------------------------------------------
    def m_step(self, params: dict, statistics: Statistics, guard: Guard | None = None) -> dict:
        """Parameters and weights of one EM update at `params`, by the statistics taken there.

        Families that are not smooth maximise given the responsibilities of all rows; a component without rows stays.
        """
        n, members = statistics.n, statistics.allocated
        if self.component.smooth:
            return {"weights": self._shares(members)} | self.component.m_step(params, statistics, guard)
        new = self.maximise_given(self.responsibilities(params), guard)
        new = {name: np.where(n > 0, value, params[name]) for name, value in new.items()}
        return new | {"weights": self._shares(members)}

    # -- starting without parameters ---------------------------------------------------------------------------------------
    def maximise_given(self, responsibilities: np.ndarray, guard: Guard | None = None) -> dict:
        """Parameters that maximise the expected log-likelihood for responsibilities (obs, cluster) of the data's rows."""
        responsibilities = shared(responsibilities, self.data.units)
        weighted = responsibilities if self.data.weights is None else responsibilities * self.data.weights[:, None]
        grouped = self.by_units and self.data.units.grouped
        n = weighted[self.data.units.first_rows if grouped else slice(None)].sum(axis=0)
        return {"weights": self._shares(n)} | self.component.maximise_given(self.data, weighted, guard)
