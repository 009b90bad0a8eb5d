"""The posterior of a mixture for data that are not in memory: rows are read in passes, or a random part of them is kept."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arrays import Data
from ..chunks import Source, Streamed
from ..components.base import Component
from ..likelihood.streamed import StreamedLikelihood, _likelihood
from ..mixture import Mixture
from ..posterior import posterior_of
from ..posterior.direct import DirectPosterior

POOL_CELLS = 2**21  # numbers of the random rows kept at a time (16 MB), unless a batch is more


@dataclass(frozen=True, eq=False)
class StreamedPosterior:
    """Log posterior in free coordinates, of which every value costs a pass over the source.

    ``rows`` is the same posterior with the rows of the sample instead, priors those of all rows; its ``on_rows`` makes
    those of batches.
    """

    mixture: Mixture
    likelihood: StreamedLikelihood
    rows: Any = field(init=False)

    def __post_init__(self):
        found = self.likelihood.data
        object.__setattr__(self, "mixture", with_fixed_priors(self.mixture, found))
        object.__setattr__(self, "rows", posterior_of(self.mixture, found.sample))

    @property
    def source(self) -> Source:
        """Where the rows are read from."""
        assert self.likelihood.source is not None
        return self.likelihood.source

    @property
    def data(self) -> Data:
        """The rows of the sample."""
        return self.likelihood.data.sample

    @property
    def n_obs(self) -> int:
        """Number of all rows."""
        return self.likelihood.data.n_obs

    @property
    def n_dim(self) -> int:
        """Number of free coordinates."""
        return self.rows.n_dim

    def to_vector(self, params: dict) -> np.ndarray:
        """Free coordinates of parameters."""
        return self.rows.to_vector(params)

    def from_vector(self, vector: np.ndarray) -> dict:
        """Parameters at free coordinates (..., n_dim)."""
        return self.rows.from_vector(vector)

    def step_lengths(self, vector: np.ndarray) -> np.ndarray:
        """Lengths over which the density changes, for finite differences."""
        return self.rows.step_lengths(vector)

    def log_prior(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density of the prior in free coordinates, in nats, and its gradient."""
        return prior_of(self.rows).value_and_gradient(vector)

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior up to the evidence, in nats, and its gradient: one pass."""
        value, gradient = self.log_prior(vector)
        if isinstance(self.rows, DirectPosterior):
            of_rows, slope = self.likelihood.value_and_gradient(vector)
            return value + of_rows, gradient + slope

        def visit(values, start, weights):
            part = on_these(self.rows, self._as_data(values, weights))
            at, slope = part.on_rows(np.arange(len(values)), 1.0).value_and_gradient(vector)
            return np.concatenate([[at - value], slope - gradient])

        total = Source.fold(self.source, visit, np.add)  # here: compiled functions do not travel
        return value + float(total[0]), gradient + total[1:]

    def log_densities(self, vectors: np.ndarray) -> np.ndarray:
        """Log posterior at free coordinates (draws, n): (draws,), in nats; one pass for all of them."""
        params = self.from_vector(vectors)
        visit = PieceLogLikelihoods(self.mixture.component, params)
        prior = np.array([self.log_prior(vector)[0] for vector in vectors])
        return prior + self.source.fold(visit, np.add)

    def random_rows(self, size: int, rng: np.random.Generator) -> Any:
        """Make the posterior of about `size` rows, drawn with equal probability, in random order: one pass.

        All of them, once each, if there are no more; otherwise drawn with replacement, which needs no list of all rows.
        """
        n = self.n_obs
        wanted = np.arange(n) if n <= size else np.sort(rng.integers(n, size=size))
        parts = sorted(self.source.fold(PickedRows(wanted), list.__add__), key=lambda part: part[0])
        values, weights = (np.concatenate(column) for column in list(zip(*parts, strict=True))[1:])
        order = rng.permutation(len(values))
        return on_these(self.rows, self._as_data(values[order], weights[order] if weights.size else weights))

    def _as_data(self, values, weights) -> Data:
        found = self.likelihood.data
        weighed = weights if weights.size else None
        return Data(values, found.feature, found.named, np.arange(len(values)), weighed, found.given)


def with_fixed_priors(mixture: Mixture, found: Streamed) -> Mixture:
    """The same mixture with the priors that it has for these data, so that fewer rows do not change them."""
    priors = mixture.component.priors(found, mixture.n_components)  # pyright: ignore[reportArgumentType]
    return replace(mixture, component=mixture.component.with_priors(priors))


def prior_of(posterior) -> Any:
    """The same posterior with a row that does not count: the prior in free coordinates."""
    return posterior.on_rows(np.zeros(1, dtype=int), 0.0)


def on_these(posterior, data: Data) -> Any:
    """Make the same posterior with other rows, of which `on_rows` takes some."""
    other = copy.copy(posterior)
    object.__setattr__(other, "data", data)
    return other


@dataclass(frozen=True, eq=False)
class PieceLogLikelihoods:
    """Visit of a piece: the log-likelihood of its rows at each of many draws of the parameters."""

    component: Component
    draws: dict  # (draw, cluster, ...)

    def __call__(self, values: np.ndarray, start: int, weights: np.ndarray) -> np.ndarray:
        """As many passes over the piece as there are draws: (draw,)."""
        n_draws, k = self.draws["weights"].shape
        piece = _likelihood(self.component, values, weights, k)
        return np.array([piece.log_likelihood({n: v[i] for n, v in self.draws.items()}) for i in range(n_draws)])


@dataclass(frozen=True, eq=False)
class PickedRows:
    """Visit of a piece: copies of the wanted rows among its own."""

    wanted: np.ndarray  # sorted numbers of rows, perhaps several times the same

    def __call__(self, values: np.ndarray, start: int, weights: np.ndarray) -> list:
        """A list of one (number of the first row of the piece, values, weights), or of none."""
        first, last = np.searchsorted(self.wanted, (start, start + len(values)))
        rows = self.wanted[first:last] - start
        return [(start, values[rows], weights[rows] if weights.size else weights)] if len(rows) else []
