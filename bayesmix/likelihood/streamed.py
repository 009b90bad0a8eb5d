"""The mixture likelihood of data that are not in memory: the same pass, piece by piece."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Data
from ..chunks import Source, Streamed
from ..components.base import Component, Guard, Rows, Statistics
from .information import observed_information
from .likelihood import Likelihood


@dataclass(frozen=True, eq=False)
class PieceStatistics:
    """Visit of a piece: the statistics of its rows at given parameters."""

    component: Component
    params: dict

    def __call__(self, values: np.ndarray, start: int, weights: np.ndarray) -> Statistics:
        """One pass over the piece."""
        return _likelihood(self.component, values, weights, len(self.params["weights"])).statistics(self.params)


@dataclass(frozen=True, eq=False)
class PieceInformation:
    """Visit of a piece: the observed information of its rows at given parameters."""

    component: Component
    params: dict

    def __call__(self, values: np.ndarray, start: int, weights: np.ndarray) -> np.ndarray:
        """The information, which adds up over rows."""
        rows = _likelihood(self.component, values, weights, len(self.params["weights"])).rows
        return observed_information(self.component, rows, self.params, None)


def _likelihood(component, values, weights, n_components):
    own = tuple(range(values.shape[1] - len(component.given)))
    data = Data(values, own, False, np.empty(0), weights if weights.size else None, component.given)
    return Likelihood(component, data, n_components, look_for_repetitions=False)


def add_statistics(one: Statistics, other: Statistics) -> Statistics:
    """Statistics of two sets of rows, taken at the same parameters."""
    return Statistics(
        one.log_likelihood + other.log_likelihood, one.n + other.n, one.first + other.first, one.second + other.second
    )


@dataclass(frozen=True, eq=False)
class StreamedLikelihood(Likelihood):
    """The log-likelihood L of a mixture on the rows of a source.

    Every pass reads the source once; moments are about each component's own mean, so that those of pieces are added
    without loss. Where rows repeat so often that a table of the distinct ones was kept, that is used instead.
    """

    in_memory = False

    data: Any  # Streamed
    source: Source | None = None
    table: Likelihood | None = field(init=False)

    def __post_init__(self):
        if not self.component.smooth:
            raise TypeError(
                f"{self.component} components are fitted from all rows at once, but the data are not in memory; give a part "
                "of the rows as an array, or use a family without a kink, such as bm.StudentT()."
            )
        found: Streamed = self.data
        table = None if found.table is None else self.with_rows(found.table)
        object.__setattr__(self, "table", table)
        nothing = np.broadcast_to(np.nan, (found.n_obs, found.n_features))  # of the shape, but takes no memory
        rows = Rows(nothing, np.empty(0), found.log_base_measure) if table is None else table.rows
        object.__setattr__(self, "rows", rows)

    @property
    def has_rows(self):
        """Only where a table of distinct rows was kept."""
        return self.table is not None

    def statistics(self, params: dict) -> Statistics:
        """One pass at these parameters."""
        if self.table is not None:
            return self.table.statistics(params)
        assert self.source is not None
        return self.source.fold(PieceStatistics(self.component, params), add_statistics)

    def fingerprint(self, params: dict) -> np.ndarray:
        """Log density at up to 500 rows of the sample."""
        return self._of_sample().fingerprint(params)

    def information(self, vector: np.ndarray, guard: Guard | None = None) -> np.ndarray:
        """Observed information in free coordinates, in one pass: rows and guard add up."""
        if self.table is not None:
            return self.table.information(vector, guard)
        assert self.source is not None
        if self.component.behind_errors:
            return self._differenced(vector, guard)
        params = self.from_vector(vector)
        total = self._of_free(self.source.fold(PieceInformation(self.component, params), np.add))
        if guard is None:
            return total
        row = self.component.rows(self.data.sample.take(np.arange(1)))
        with_guard, without = (observed_information(self.component, row, params, g) for g in (guard, None))
        return total + self._of_free(with_guard - without)

    def subsample(self, n_rows: int, rng: np.random.Generator) -> Likelihood:
        """The likelihood of random rows: those that data in memory would draw."""
        sample, n_obs = self.data.sample, self.data.n_obs
        if n_obs <= n_rows:
            return self._of_sample()
        rows = np.sort(rng.choice(n_obs, n_rows, replace=False))
        where = np.searchsorted(sample.obs, rows)
        kept = sample.obs[np.minimum(where, len(sample.obs) - 1)] == rows
        return self.with_rows(sample.take(where[kept]) if kept.all() else sample)

    def few_rows(self) -> Data:
        """A few rows, to ask the family questions with."""
        return self.data.sample

    def maximise_given(self, responsibilities, guard=None):
        """Not without rows: starts are made on a subsample."""
        raise TypeError("data that are not in memory have no responsibilities to start from.")

    def _of_sample(self):
        return self.with_rows(self.data.sample)
