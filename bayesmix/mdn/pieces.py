"""Covariates beside responses, of which one or both are not in memory, a piece at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Data, as_data
from ..chunks import CELLS, Blocks, MappedFile, source_of
from .problem import check_rows
from .tables import n_rows, take_rows


class Pieces:
    """Rows of covariates beside their responses, in pieces."""

    def __init__(self, covariates: "Table", responses: "Table"):
        check_rows(covariates.n_obs, responses.n_obs)
        self.covariates, self.responses, self.n_obs = covariates, responses, covariates.n_obs
        self.in_any_order = covariates.in_any_order and responses.in_any_order
        bounds = covariates.bounds if len(covariates.bounds) > 2 else responses.bounds
        if len(bounds) <= 2:
            step = max(1, CELLS // max(covariates.n_columns, responses.n_columns))
            bounds = [*range(0, self.n_obs, step), self.n_obs]
        self.bounds = [(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False) if stop > start]

    @classmethod
    def of(cls, X, y=None) -> "Pieces | None":
        """None if all rows are in memory; without responses these are zeros."""
        sources = source_of(X), None if y is None else source_of(y)
        if sources == (None, None):
            return None
        if y is None:
            assert sources[0] is not None
            y = np.broadcast_to(0.0, sources[0].n_obs)
        return cls(*(_table_of(given, source) for given, source in zip((X, y), sources, strict=True)))

    def __iter__(self) -> Iterator[tuple[int, Any, Data]]:
        for i in range(len(self.bounds)):
            yield self.read(i)

    def read(self, i: int) -> tuple[int, Any, Data]:
        """A piece: number of its first row, covariates, and responses."""
        start, stop = self.bounds[i]
        table, given = self.covariates.read(start, stop), self.responses.read(start, stop)
        named = isinstance(given, dict)
        try:
            data = as_data(np.stack(list(given.values()), axis=1) if named else given)
        except ValueError as error:
            raise ValueError(f"the responses in rows {start} to {stop - 1}, counted from {start}: {error}") from None
        return start, table, replace(data, feature=tuple(given), named=True) if named else data


class Table(ABC):
    """One table that is read a range of rows at a time.

    Attributes
    ----------
    n_obs, n_columns : int
    bounds : list of int
        Where chunks begin that are read as one, and the end.
    in_any_order : bool
        May it be read from any place?
    """

    n_obs: int
    n_columns: int
    bounds: list[int]
    in_any_order: bool = True

    @abstractmethod
    def read(self, start: int, stop: int) -> Any:
        """These rows: an array, a frame, or a dict of columns."""


def _table_of(given, source) -> Table:
    if source is None:
        return _Held(given)
    if isinstance(source, MappedFile):
        return _OfFile(source)
    return _OfBlocks(source) if isinstance(source, Blocks) else _OfChunks(source)


class _Held(Table):
    """One that is in memory, beside another that is not."""

    def __init__(self, given):
        self.given, self.n_obs, self.n_columns = given, n_rows(given), 1
        self.bounds = [0, self.n_obs]

    def read(self, start, stop):
        return take_rows(self.given, np.arange(start, stop))


class _OfFile(Table):
    """A memory-mapped file."""

    def __init__(self, source: MappedFile):
        self.source, self.n_obs, self.n_columns = source, source.n_obs, source.n_features
        self.bounds = [0, self.n_obs]

    def read(self, start, stop):
        return _named(self.source.rows(start, stop), self.source.names)


class _OfChunks(Table):
    """Chunks of Dask; the one read last is kept."""

    def __init__(self, source: Any):
        self.source, self.n_obs, self.n_columns = source, source.n_obs, source.n_features
        self.bounds = [0, *np.cumsum(source.sizes).tolist()]
        self._last: tuple[int, Any] = (-1, None)

    def read(self, start, stop):
        first, last = np.searchsorted(self.bounds, [start, stop - 1], side="right") - 1
        parts = []
        for i in range(first, last + 1):
            if self._last[0] != i:
                self._last = -1, None  # one at a time
                self._last = i, self.source.chunk(i)
            begin, end = self.bounds[i], self.bounds[i + 1]
            own = np.arange(max(start, begin), min(stop, end)) - begin
            chunk = self._last[1]
            parts.append(chunk if len(own) == end - begin else take_rows(chunk, own))
        if len(parts) == 1:
            return _named(parts[0], self.source.names)
        if hasattr(parts[0], "columns"):
            import pandas as pd

            return pd.concat(parts)
        return _named(np.concatenate(parts), self.source.names)


class _OfBlocks(Table):
    """An object that yields blocks, from the first on."""

    in_any_order = False

    def __init__(self, source: Blocks):
        self.source, self.n_obs, self.n_columns = source, source.n_obs, source.n_features
        self.bounds = [0, self.n_obs]
        self._at, self._blocks, self._left = 0, iter(()), np.empty((0, self.n_columns))

    def read(self, start, stop):
        if start == 0:
            self._at, self._blocks, self._left = 0, self.source.blocks(), np.empty((0, self.n_columns))
        if start != self._at:
            raise RuntimeError(f"blocks are read in order: row {start} was asked for, but {self._at} comes next.")
        parts, found = [self._left], len(self._left)
        while found < stop - start:
            block = next(self._blocks, None)
            if block is None:
                raise ValueError(f"the blocks held {self._at + found} rows, where shape says {self.n_obs}.")
            parts.append(np.array(block, dtype=float))
            found += len(block)
        rows = np.concatenate(parts)
        self._at, self._left = stop, rows[stop - start :]
        return _named(rows[: stop - start], self.source.names)


def _named(block, names):
    """A block with the names of its columns, if it has some that it does not carry itself."""
    if names is None or hasattr(block, "columns"):
        return block
    block = np.asarray(block)
    block = block[:, None] if block.ndim == 1 else block
    return {name: block[:, j] for j, name in enumerate(names)}


def columns_of(table) -> list[np.ndarray]:
    """Columns of a piece of covariates."""
    if isinstance(table, dict):
        return [np.asarray(column) for column in table.values()]
    if hasattr(table, "columns"):
        return [np.asarray(table[name]) for name in table.columns]
    table = np.asarray(table)
    return [table] if table.ndim == 1 else list(table.T)
