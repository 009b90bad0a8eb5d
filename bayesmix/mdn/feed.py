"""Where training takes its rows from: a whole table in memory, or one that is read a part at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..prediction import log_mean_exp
from .training import Problem


class Feed(ABC):
    """Rows that members are trained on, and rows that are held out.

    Attributes
    ----------
    problem : Problem
        What is the same for all rows: the network and the likelihood.
    n_members, n_rows : int
        Members, and rows of each of them.
    held_out : tuple of Problem and ndarray (member, row), or None
        Rows that are not trained on.
    """

    problem: Problem
    n_members: int
    n_rows: int
    held_out: tuple[Problem, np.ndarray] | None = None

    @abstractmethod
    def parts(self, batch: int, rng: np.random.Generator | None = None) -> Iterator[tuple[Problem, np.ndarray]]:
        """All rows once: problems, and rows (member, row) of them, for each member in an order of its own.

        All parts but the last have a whole number of batches. Without a generator the order is that of the data.
        """

    def held_out_density(self, weights: np.ndarray) -> np.ndarray:
        """Mean log density of the held-out rows under weights (member, weight), nats: (member,)."""
        assert self.held_out is not None
        problem, rows = self.held_out
        return problem.log_likelihood(weights, rows).mean(axis=1)

    def averaged_density(self, draws: np.ndarray) -> np.ndarray:
        """Mean over held-out rows of the log of the density averaged over draws (member, draw, weight): (member,)."""
        assert self.held_out is not None
        problem, rows = self.held_out
        each = [problem.log_likelihood(np.ascontiguousarray(draws[:, s]), rows) for s in range(draws.shape[1])]
        return log_mean_exp(np.stack(each), axis=0).mean(axis=1)

    def density(self, weights: np.ndarray) -> np.ndarray:
        """The same of the held-out rows, or, if there are none, of all: (member,)."""
        if self.held_out is not None:
            return self.held_out_density(weights)
        total = np.zeros(self.n_members)
        for problem, rows in self.parts(1):
            total += problem.log_likelihood(weights, rows).sum(axis=1)
        return total / self.n_rows


@dataclass(frozen=True)
class InMemory(Feed):
    """Rows (member, row) of one problem."""

    problem: Problem
    rows: np.ndarray
    held_out: tuple[Problem, np.ndarray] | None = None

    @classmethod
    def all_rows(cls, problem: Problem, n_members: int) -> "InMemory":
        """Every row for every member."""
        return cls(problem, np.tile(np.arange(problem.n_obs), (n_members, 1)))

    @classmethod
    def split(cls, problem: Problem, n_members: int, share: float, rng, times: int = 1) -> "InMemory":
        """A share of the rows held out, others for each member; the same splits that many times."""
        order = rng.permuted(np.tile(np.arange(problem.n_obs), (n_members, 1)), axis=1)
        n = min(max(int(round(share * problem.n_obs)), 1), problem.n_obs - 1)
        own, held_out = (np.ascontiguousarray(np.tile(a, (times, 1))) for a in (order[:, n:], order[:, :n]))
        return cls(problem, own, (problem, held_out))

    @property
    def n_members(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Members."""
        return len(self.rows)

    @property
    def n_rows(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of each."""
        return self.rows.shape[1]

    def parts(self, batch, rng=None):
        """One."""
        yield self.problem, self.rows if rng is None else rng.permuted(self.rows, axis=1)


def of_rows(problem: Problem, x: np.ndarray, y: np.ndarray) -> Problem:
    """The problem with other rows."""
    return replace(problem, x=x, y=y)
