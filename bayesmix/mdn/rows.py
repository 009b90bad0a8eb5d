"""What networks are learnt from: rows in memory, or rows that are read in pieces and never held all at once.

Of rows in pieces one pass finds moments, categories, gaps and a sample. Training then reads pools: as many pieces,
in random order where they can be read in any, as make a million numbers, whose rows are shuffled. At least one piece, and
the chunk of Dask that it is in, is in memory at a time.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Data
from .covariates import Learner
from .feed import Feed, InMemory, of_rows
from .pieces import Pieces, columns_of
from .problem import Model
from .specification import MDN
from .tables import take_rows
from .training import Problem

POOL_CELLS = 2**20  # numbers of a pool (8 MB), and of the sample
SAMPLE = 100_000  # rows at most from which starts, and what is not a mean or a standard deviation, are read off
MOST_HELD_OUT = 50_000  # rows at most of those that are not in memory
GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


def rows_of(mdn: MDN, X, y) -> "RowsInMemory | RowsInPieces":
    """The rows, looked at and checked."""
    pieces = Pieces.of(X, y)
    return RowsInMemory.look(mdn, X, y) if pieces is None else RowsInPieces.look(mdn, pieces)


@dataclass(frozen=True, eq=False)
class RowsInMemory:
    """Inputs and responses in memory."""

    model: Model
    problem: Problem
    inputs: np.ndarray
    data: Data
    X: Any

    @classmethod
    def look(cls, mdn, X, y) -> "RowsInMemory":
        """Learn what there is to learn of them."""
        model, inputs, data = Model.learn(mdn, X, y)
        return cls(model, model.problem(inputs, data.values, training=True), inputs, data, X)

    @property
    def digest(self) -> str:
        """The same only for the same rows."""
        digest = hashlib.sha256(json.dumps(self.model.covariates.to_dict()).encode())
        for array in (self.inputs, self.data.values):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return self.data.n_obs

    @property
    def kept(self) -> tuple:
        """Inputs, covariates and responses that a fit keeps."""
        return self.inputs, self.X, self.data

    def feed(self, n_members: int) -> Feed:
        """Every row for every member."""
        return InMemory.all_rows(self.problem, n_members)

    def split(self, n_members: int, share: float, rng, times: int = 1) -> Feed:
        """A share of the rows held out, others for each member; the same splits that many times."""
        return InMemory.split(self.problem, n_members, share, rng, times)


@dataclass(frozen=True, eq=False)
class RowsInPieces:
    """Rows that are not in memory."""

    model: Model
    problem: Problem  # of one row
    pieces: Pieces
    digest: str

    kept = None, None, None  # of the rows in the fit

    @classmethod
    def look(cls, mdn: MDN, pieces: Pieces) -> "RowsInPieces":
        """Learn what there is to learn of them in one pass."""
        most = min(SAMPLE, POOL_CELLS // (pieces.covariates.n_columns + pieces.responses.n_columns))
        seen = _Seen(pieces.n_obs, most, any(family.discrete for family in mdn.families))
        for start, table, data in pieces:
            seen.add(start, table, data)
        covariates = seen.covariates.learnt()
        model = Model.of(mdn, covariates, seen.sample(), (seen.mean, seen.sd))
        inputs = np.concatenate([covariates.encode(table) for table in seen.tables])
        problem = model.problem(inputs, seen.values, training=True)
        return cls(model, of_rows(problem, problem.x[:1].copy(), problem.y[:, :1].copy()), pieces, seen.digest)

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return self.pieces.n_obs

    def feed(self, n_members: int) -> Feed:
        """Every row for every member."""
        return InPools(self.model, self.problem, self.pieces, n_members, np.empty(0, dtype=int))

    def split(self, n_members: int, share: float, rng, times: int = 1) -> Feed:
        """A share of the rows held out, 50 000 or a pool at most, the same for all members."""
        cells = self.problem.x.shape[1] + len(self.problem.y) + n_members * times
        n = int(np.clip(round(share * self.n_obs), 1, min(MOST_HELD_OUT, POOL_CELLS // cells, self.n_obs - 1)))
        places = np.sort(rng.choice(self.n_obs, n, replace=False, shuffle=False))
        feed = InPools(self.model, self.problem, self.pieces, n_members * times, places)
        parts = [feed.prepared(start, table, data, held_out=True) for start, table, data in self.pieces]
        x, y = np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts], axis=1)
        return replace(feed, held_out=(of_rows(self.problem, x, y), np.tile(np.arange(n), (feed.n_members, 1))))


class _Seen:
    """What a pass over the rows finds."""

    def __init__(self, n_obs: int, most: int, discrete: bool):
        self.covariates, self.discrete = Learner(), discrete
        self.wanted = np.arange(n_obs)
        if n_obs > most:  # spread evenly, but in step with nothing that returns in the data
            self.wanted = np.unique((np.arange(most) * GOLDEN % 1.0 * n_obs).astype(int))
        self.tables: list = []
        self._picked: list = []
        self._odd: dict = {}  # rows with the smallest and largest values, and one that is no count
        self._n, self._mean, self._square, self._data = 0, 0.0, 0.0, None
        self._digests: list = []

    def add(self, start: int, table, data: Data):
        """Take note of a piece."""
        self.covariates.see(table)
        self._digest([*columns_of(table), *data.values.T])
        own = self.wanted[slice(*np.searchsorted(self.wanted, (start, start + data.n_obs)))] - start
        self.tables.append(take_rows(table, own))
        self._picked.append(data.values[own])
        self._data = data
        for j, column in enumerate(data.values.T):
            for name, at, sign in ((f"low {j}", column.argmin(), 1.0), (f"high {j}", column.argmax(), -1.0)):
                if name not in self._odd or sign * column[at] < sign * self._odd[name][j]:
                    self._odd[name] = data.values[at].copy()
            if self.discrete and np.any(column != np.floor(column)):
                self._odd[f"fraction {j}"] = data.values[np.argmax(column != np.floor(column))].copy()
        n, mean = data.n_obs, data.values.mean(axis=0)
        share, gap = n / (self._n + n), mean - self._mean
        self._square = self._square + n * data.values.var(axis=0) + self._n * share * gap * gap  # Chan et al. 1983
        self._mean, self._n = self._mean + share * gap, self._n + n

    def _digest(self, columns):
        self._digests = self._digests or [hashlib.sha256() for _ in columns]
        for digest, column in zip(self._digests, columns, strict=True):
            if column.dtype.kind in "biuf":
                digest.update(np.ascontiguousarray(column, dtype=float))
            else:
                digest.update("\0".join(map(str, [*column, ""])).encode())

    @property
    def digest(self) -> str:
        """The same only for the same rows, in whatever pieces."""
        return hashlib.sha256("".join(one.hexdigest() for one in self._digests).encode()).hexdigest()

    @property
    def mean(self):
        """Of each response."""
        return np.asarray(self._mean)

    @property
    def sd(self):
        """Standard deviation of each response, 1 if it is constant."""
        sd = np.sqrt(np.asarray(self._square) / self._n)
        return np.where(sd > 0.0, sd, 1.0)

    @property
    def values(self) -> np.ndarray:
        """Responses of the sample."""
        return np.concatenate(self._picked)

    def sample(self) -> Data:
        """The sample, and, unless it is all there is, the rows that families must have seen."""
        assert self._data is not None
        every = self.values if len(self.wanted) == self._n else np.concatenate([self.values, [*self._odd.values()]])
        return replace(self._data, values=np.ascontiguousarray(every), obs=np.arange(len(every)))


# -- training ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class InPools(Feed):
    """Pools of rows of several pieces, the same for all members, whose orders differ."""

    model: Model
    problem: Problem
    pieces: Pieces
    n_members: int
    places: np.ndarray  # of rows that are held out
    held_out: tuple[Problem, np.ndarray] | None = None

    @property
    def n_rows(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of each member."""
        return self.pieces.n_obs - len(self.places)

    def parts(self, batch, rng=None):
        """Pools of about a million numbers."""
        cells = self.problem.x.shape[1] + len(self.problem.y) + self.n_members
        pool = max(batch, POOL_CELLS // cells)
        order = np.arange(len(self.pieces.bounds))
        if rng is not None and self.n_rows > pool and self.pieces.in_any_order:
            order = rng.permutation(order)
        parts, found = [], 0
        for i, piece in enumerate(order.tolist()):
            parts.append(self.prepared(*self.pieces.read(piece)))
            found += len(parts[-1][0])
            last = i == len(order) - 1
            if found < pool and not last:
                continue
            x, y = np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts], axis=1)
            n = found if last else found - found % batch
            parts, found = [(x[n:].copy(), y[:, n:].copy())], found - n
            rows = np.tile(np.arange(n), (self.n_members, 1))
            if n:
                yield of_rows(self.problem, x, y), rows if rng is None else rng.permuted(rows, axis=1, out=rows)

    def prepared(self, start: int, table, data: Data, held_out: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and columns of the rows of a piece that are trained on, or held out."""
        own = self.places[slice(*np.searchsorted(self.places, (start, start + data.n_obs)))] - start
        chosen = np.full(data.n_obs, not held_out)
        chosen[own] = held_out
        if not chosen.any():
            return np.empty((0, self.problem.x.shape[1])), np.empty((len(self.problem.y), 0))
        inputs = self.model.covariates.encode(table)
        return self.model.prepared(self.problem.rowwise, inputs[chosen], data.values[chosen], True)
