"""Data that are not in memory, piece by piece: memory-mapped files, Dask, xarray on Dask, objects that yield blocks.

A `Source` folds a function over pieces of rows that fit into the cache. `look` is the first pass over a source: it
makes every check that data in memory get, and collects the few rows that starts are tried on.
"""

import copy
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arrays import Data, _is_a, _label, _numbers, _read, _row_weights, _Table, check_distinct_rows, not_finite
from .components.base import Component
from .likelihood.repeated import distinct, promising
from .mixture import Mixture, warn_of_little_weight

CELLS = 2**18  # numbers of a piece: 2 MB, about a second-level cache
TABLE_ROWS = 2**16  # distinct rows kept at most, where rows repeat
NO_WEIGHTS = np.empty(0)


# -- what is known of data that are not in memory ----------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Streamed:
    """What one pass over a source found: enough to check it, to start from, and to name its columns."""

    n_obs: int
    total_weight: float
    feature: tuple
    named: bool
    low: np.ndarray  # (feature,) smallest value of each column, over rows with weight
    high: np.ndarray  # (feature,) largest
    mean: np.ndarray  # (feature,) weighted mean
    covariance: np.ndarray  # (feature, feature), divided by the total weight
    sample: Data  # some rows, drawn at random, with their row numbers as labels
    table: Data | None = None  # all rows, distinct ones weighted, if they repeat so much that these are few
    log_base_measure: float = 0.0  # of all rows; see `bayesmix.components.base.Rows`
    given: tuple = ()  # columns that components condition on
    units: None = None  # rows that share a component are refused

    @property
    def n_features(self) -> int:
        """Number of columns that are modelled."""
        return len(self.feature)

    def observed(self) -> "Streamed":
        """Itself: missing cells were refused."""
        return self

    def without_rows(self) -> Data:
        """Data without rows, with the names of the columns: what a fit keeps."""
        return replace(self.sample.take(np.arange(0)), obs=np.arange(0), weights=None)


# -- sources -----------------------------------------------------------------------------------------------------------------
class Source(ABC):
    """Rows that are read again and again, in order.

    Attributes
    ----------
    n_obs : int
        Number of rows.
    names : tuple of str or None
        Names of the columns.
    n_features : int
        Number of columns.
    weights : ndarray (obs,)
        How often each row counts, or size 0: each row once.
    """

    n_obs: int
    n_features: int
    names: tuple | None = None
    weights: np.ndarray = NO_WEIGHTS
    order: list | None = None  # the order in which a visit gets the columns, where it is another

    @property
    def feature(self) -> tuple:
        """Labels of the columns."""
        return tuple(range(self.n_features)) if self.names is None else self.names

    def arrange(self, component: Component) -> Data:
        """From now on hand out columns in the order of this family; data without rows that say which they are."""
        modelled, given = component.places(self.feature, self.names is not None)
        order = [*modelled, *given]
        self.order = None if order == list(range(self.n_features)) else order
        empty = np.empty((0, self.n_features))
        return Data(empty, self.feature, self.names is not None, np.arange(0)).arranged(modelled, given)

    def weigh(self, weights: np.ndarray) -> None:
        """Give each row a weight."""
        self.weights = weights

    @abstractmethod
    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, as arrays (rows, feature) of any real type, each valid until the next is asked for."""

    def fold(self, visit: Callable[[np.ndarray, int, np.ndarray], Any], add: Callable[[Any, Any], Any]) -> Any:
        """Visit all pieces in order and add up what is found: visit(values, number of the first row, weights)."""
        total, start = None, 0
        buffer = np.empty(_rows_of_piece(self.n_features) * self.n_features)
        for block in self.blocks():
            if block.shape[1:] != (self.n_features,):
                raise ValueError(
                    f"the block that begins at row {start} has shape {block.shape}, but blocks need {self.n_features} columns."
                )
            own = self.weights[start : start + len(block)]
            start += len(block)
            if start > self.n_obs:
                break
            total = fold_block(block, start - len(block), own, visit, add, total, buffer, self.order)
        if start != self.n_obs:
            held = f"{start} rows" if start < self.n_obs else "more rows"
            raise ValueError(
                f"the blocks held {held} in this pass, where shape says {self.n_obs}: blocks() must yield the same rows, "
                "from the first on, each time it is called."
            )
        return total


def fold_block(block, start, weights, visit, add, total, buffer, order=None):
    """Fold over one block, in pieces that are float64: slices of it, or copies in the buffer, or of columns in an order."""
    n_features = block.shape[1]
    step = len(buffer) // n_features
    direct = block.dtype == np.float64 and block.flags.c_contiguous
    for i in range(0, len(block), step):
        part = block[i : i + step]
        if direct:
            piece = part
        else:
            piece = buffer[: part.size].reshape(part.shape)
            np.copyto(piece, part, casting="unsafe")
        piece = piece if order is None else np.ascontiguousarray(piece[:, order])
        found = visit(piece, start + i, weights[i : i + step])
        total = found if total is None else add(total, found)
    return total


def _rows_of_piece(n_features):
    return max(1, CELLS // n_features)


class Blocks(Source):
    """An object with ``shape`` and ``blocks()``, and perhaps ``feature``, the names of the columns."""

    def __init__(self, given: Any):
        self._given = given
        shape = tuple(given.shape)
        if len(shape) not in (1, 2) or not all(isinstance(n, int | np.integer) for n in shape):
            raise ValueError(
                f"shape of data in blocks must be (obs,) or (obs, feature), two numbers, but it is {shape}."
            )
        self.n_obs, self.n_features = int(shape[0]), int(shape[1]) if len(shape) == 2 else 1
        names = getattr(given, "feature", None)
        self.names = None if names is None else tuple(str(name) for name in names)

    def blocks(self):
        """Those of the object."""
        for given in self._given.blocks():
            yield _matrix(given)


def _matrix(block):
    """A block as an array (rows, feature)."""
    if not isinstance(block, np.ndarray):
        block = _numbers_of(_read(block))
    elif block.dtype.names is not None:
        block = np.stack([block[name] for name in block.dtype.names], axis=1)
    return block[:, None] if block.ndim == 1 else block


def _numbers_of(table: _Table) -> np.ndarray:
    labels = tuple(range(table.shape[1])) if table.names is None else table.names
    return _numbers(table, labels)


class MappedFile(Source):
    """A memory-mapped array, read through a buffer that is used again and again, so that few of its pages are resident."""

    def __init__(self, mapped: np.memmap):
        self.names = mapped.dtype.names if mapped.ndim == 1 else None
        if mapped.ndim not in (1, 2):
            raise ValueError(
                f"the data are a {mapped.ndim}-D memory-mapped array; pass 1 or 2 dimensions, (obs, feature)."
            )
        self._rows: Any = mapped if mapped.ndim == 2 else mapped.reshape(-1, 1)
        self.n_obs = len(mapped)
        self.n_features = len(self.names) if self.names else self._rows.shape[1]
        self._step = _rows_of_piece(self.n_features)
        if getattr(mapped, "mode", None) in ("r+", "w+"):
            mapped.flush()
        self._offset = None if self.names else _place_in_file(self._rows)
        if self._offset is not None and not self._reads_the_same():
            self._offset = None

    def blocks(self):
        """Rows that fit into the buffer."""
        if self._offset is None:  # another layout than rows one after another: copied from the map
            for i in range(0, self.n_obs, self._step):
                part = np.array(self._rows[i : i + self._step])
                yield _matrix(part[:, 0]) if self.names else part
            return
        buffer = np.empty(min(self._step, self.n_obs) * self.n_features, dtype=self._rows.dtype)
        with open(os.fspath(self._rows.filename), "rb", buffering=0) as file:
            file.seek(self._offset)
            for i in range(0, self.n_obs, self._step):
                rows = min(self._step, self.n_obs - i)
                part = buffer[: rows * self.n_features]
                _read_into(file, part)
                yield part.reshape(rows, self.n_features)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Some rows, copied from the file."""
        if self._offset is None:
            part = np.array(self._rows[start:stop])
            return _matrix(part[:, 0]) if self.names else part
        part = np.empty((stop - start, self.n_features), dtype=self._rows.dtype)
        with open(os.fspath(self._rows.filename), "rb", buffering=0) as file:
            file.seek(self._offset + start * self._rows.strides[0])
            _read_into(file, part.reshape(-1))
        return part

    def _reads_the_same(self) -> bool:
        """Does the file still hold what is mapped? It may have been replaced by another of the same name."""
        n = min(self.n_obs, 16)
        assert self._offset is not None
        ends = ((0, self._rows[:n]), (self.n_obs - n, self._rows[self.n_obs - n :]))
        try:
            with open(os.fspath(self._rows.filename), "rb", buffering=0) as file:
                for first, mapped in ends:
                    part = np.empty(mapped.shape, dtype=mapped.dtype)
                    file.seek(self._offset + first * self._rows.strides[0])
                    _read_into(file, part.reshape(-1))
                    if part.tobytes() != np.array(mapped).tobytes():
                        return False
        except (OSError, EOFError):
            return False
        return True


def _place_in_file(rows: np.memmap) -> int | None:
    """Byte of the file at which the rows begin, if they lie there one after another and nothing else is in between."""
    name, whole = getattr(rows, "filename", None), rows
    if name is None or not rows.flags.c_contiguous or rows.dtype.hasobject or getattr(rows, "mode", None) == "c":
        return None
    while isinstance(whole.base, np.memmap):  # a slice keeps the offset of the whole
        whole = whole.base
    distance = rows.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return int(whole.offset) + distance


def _read_into(file, part: np.ndarray) -> None:
    """Fill an array from a file; a read may return less than was asked for."""
    view = memoryview(part).cast("B")
    while len(view):
        done = file.readinto(view)
        if not done:
            raise EOFError(f"the file {file.name} ended while its rows were read; was it shortened?")
        view = view[done:]


class InMemory(Source):
    """Data in memory, for what works on pieces."""

    def __init__(self, data: Data):
        self._values = data.values
        self.n_obs, self.n_features = data.values.shape
        self.names = data.feature if data.named else None
        self.weights = NO_WEIGHTS if data.weights is None else data.weights

    def blocks(self):
        """All rows at once."""
        yield self._values


def source_of(data: Any, weights: Any = None, client: Any = None) -> Source | None:
    """Make a source of data that are not in memory; None for all others."""
    if _is_dask(data):
        from .dask_chunks import source_of_dask

        source: Source = source_of_dask(data, client)
    elif client is not None:
        raise TypeError(
            f"client= is for Dask collections, whose chunks stay on their workers, but the data are of type "
            f"{type(data).__name__}; pass for example dask.array.from_array(data, chunks=...)."
        )
    elif isinstance(data, np.memmap) and data._mmap is not None:  # pyright: ignore[reportAttributeAccessIssue]
        source = MappedFile(data)
    elif callable(getattr(data, "blocks", None)) and hasattr(data, "shape"):
        source = Blocks(data)
    else:
        return None
    if source.n_obs == 0 or source.n_features == 0:
        raise ValueError(f"the data are empty: {source.n_obs} rows and {source.n_features} columns.")
    if weights is not None:
        source.weigh(_row_weights(weights, source.n_obs))
    return source


def _is_dask(data: Any) -> bool:
    if _is_a(data, "dask.array", "Array") or _is_a(data, "dask.dataframe", "DataFrame", "Series"):
        return True
    if _is_a(data, "xarray", "DataArray"):
        return data.chunks is not None
    return _is_a(data, "xarray", "Dataset") and bool(data.chunks)


def refuse_streamed(data: Any, engine: str) -> None:
    """Raise `TypeError` if an engine that needs all rows in memory is given data that are not."""
    kind = type(data).__name__
    if _is_a(data, "xarray", "DataArray", "Dataset") and _is_dask(data):
        advice = "pass data.load()"
    elif _is_a(data, "dask.dataframe", "DataFrame", "Series"):
        advice = "pass data.compute()"
    elif _is_dask(data) or isinstance(data, np.memmap) and data._mmap is not None:  # pyright: ignore[reportAttributeAccessIssue]
        advice = "pass np.asarray(data)"
    elif callable(getattr(data, "blocks", None)) and hasattr(data, "shape"):
        advice = "pass np.concatenate(list(data.blocks()))"
    else:
        return
    raise TypeError(
        f"{engine} needs all rows in memory, but the data ({kind}) are not: {advice} if they fit, or a random part of "
        "them; bm.em and bm.advi take them as they are."
    )


# -- the first pass ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Found:
    """What is found in some rows, and added up over all of them."""

    n_rows: int
    n_counted: int  # rows with weight
    total_weight: float
    missing: tuple  # per column, rows, first rows
    infinite: tuple
    not_counts: tuple  # negative values, fractional values, first (row, column, value) of either
    low: np.ndarray
    high: np.ndarray
    extreme: np.ndarray  # (2 features, feature): rows in which the columns have their smallest and largest values
    mean: np.ndarray
    scatter: np.ndarray
    some: np.ndarray  # distinct rows, as many as are asked for
    picked: list  # (row numbers, values, weights) of the rows asked for
    table: tuple | None  # distinct rows and their weights
    log_base_measure: float


@dataclass(frozen=True, eq=False)
class Looking:
    """Visit of a piece in the first pass."""

    component: Component
    n_distinct: int
    wanted: np.ndarray  # sorted row numbers

    def __call__(self, values: np.ndarray, start: int, weights: np.ndarray) -> Found:
        """Find all there is to find in a piece."""
        n, g = len(values), len(self.component.given)
        d = values.shape[1] - g
        first, last = np.searchsorted(self.wanted, (start, start + n))
        rows = self.wanted[first:last]
        picked = [(rows, values[rows - start], weights[rows - start] if weights.size else weights)]
        x, w = (values, weights) if weights.size == 0 else (values[weights > 0], weights[weights > 0])
        if not (np.isfinite(values[:, :d]).all() and not np.isnan(values[:, d:]).any()):
            nothing, missing, infinite = np.full(d, np.nan), np.isnan(values), np.isinf(values)
            infinite[:, d:] = False
            return Found(
                n, len(x), 0.0, _flaws(missing, start), _flaws(infinite, start), (0, 0, None), nothing,
                nothing, np.empty((0, d + g)), nothing, np.zeros((d, d)), np.empty((0, d + g)), [], None, 0.0,
            )  # fmt: skip
        none = ([0] * (d + g), 0, [])
        if len(x) == 0:
            low, high = np.full(d, np.inf), np.full(d, -np.inf)
            empty = np.empty((0, d + g))
            return Found(
                n, 0, 0.0, none, none, (0, 0, None), low, high, empty, np.zeros(d), np.zeros((d, d)), empty, picked,
                (empty, NO_WEIGHTS), 0.0,
            )  # fmt: skip
        total = float(len(x)) if w.size == 0 else float(w.sum())
        own = x[:, :d]
        lowest, highest = own.argmin(axis=0), own.argmax(axis=0)
        pivot = own[0].copy()
        centred = own - pivot
        weighted = centred if w.size == 0 else centred * w[:, None]
        shift = weighted.sum(axis=0) / total
        scatter = weighted.T @ centred - total * np.outer(shift, shift)
        table = None
        if promising(x):
            table = distinct(x, w)
            table = None if table is None or len(table[0]) > TABLE_ROWS else table
        base = 0.0
        if self.component.discrete and not (np.any(own < 0) or np.any(own != np.floor(own))):
            rows = Data(x, tuple(range(d)), False, np.empty(0), w if w.size else None, self.component.given)
            base = self.component.rows(rows)[2]
        return Found(
            n, len(x), total, none, none, self._not_counts(values[:, :d], start), own[lowest, range(d)], own[highest, range(d)],
            x[np.concatenate([lowest, highest])], pivot + shift, scatter, _some_distinct(x, self.n_distinct), picked,
            table, base,
        )  # fmt: skip

    def _not_counts(self, values, start):
        if not self.component.discrete:
            return 0, 0, None
        negative, fractional = values < 0, values != np.floor(values)
        bad = negative | fractional
        if not bad.any():
            return 0, 0, None
        row, column = (int(i) for i in np.argwhere(bad)[0])
        return int(negative.sum()), int(fractional.sum()), (start + row, column, float(values[row, column]))


def add_found(one: Found, other: Found) -> Found:
    """What is found in two sets of rows."""
    n = one.total_weight + other.total_weight
    # Chan, Golub & LeVeque (1983): moments of two sets of rows, each about its own mean
    share = other.total_weight / n if n > 0 else 0.0
    gap = np.where(other.total_weight > 0, other.mean - one.mean, 0.0)
    mean = np.where(one.total_weight > 0, one.mean + share * gap, other.mean)
    between = one.total_weight * share * np.outer(gap, gap) if one.total_weight > 0 else 0.0
    lower, higher = other.low < one.low, other.high > one.high
    extreme = _extremes(one, other, np.concatenate([lower, higher]))
    some = one.some
    if len(other.some):
        some = np.unique(np.concatenate([one.some, other.some]), axis=0)[: max(len(one.some), len(other.some), 64)]
    return Found(
        one.n_rows + other.n_rows,
        one.n_counted + other.n_counted,
        n,
        _add_flaws(one.missing, other.missing),
        _add_flaws(one.infinite, other.infinite),
        (
            one.not_counts[0] + other.not_counts[0],
            one.not_counts[1] + other.not_counts[1],
            min((f for f in (one.not_counts[2], other.not_counts[2]) if f is not None), default=None),
        ),
        np.where(lower, other.low, one.low),
        np.where(higher, other.high, one.high),
        extreme,
        mean,
        one.scatter + other.scatter + between,
        some,
        one.picked + other.picked,
        _add_tables(one.table, other.table),
        one.log_base_measure + other.log_base_measure,
    )


def _extremes(one, other, replaced):
    if len(one.extreme) == 0 or len(other.extreme) == 0:
        return one.extreme if len(one.extreme) else other.extreme
    return np.where(replaced[:, None], other.extreme, one.extreme)


def _add_tables(one, other):
    if one is None or other is None:
        return None
    table = distinct(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    return None if table is None or len(table[0]) > TABLE_ROWS else table


def _flaws(mask, start):
    rows = np.flatnonzero(mask.any(axis=1))
    return mask.sum(axis=0).tolist(), len(rows), (start + rows[:6]).tolist()


def _add_flaws(one, other):
    return [a + b for a, b in zip(one[0], other[0], strict=True)], one[1] + other[1], sorted(one[2] + other[2])[:6]


def _some_distinct(x, n):
    """Up to n distinct rows, found as early as possible."""
    found = x[:0]
    for i in range(0, len(x), 1024):
        found = np.unique(np.concatenate([found, x[i : i + 1024]]), axis=0)
        if len(found) >= n:
            return found[:n]
    return found


def look(mixture: Mixture, source: Source, rng: np.random.Generator, n_sample: int) -> Streamed:
    """Go over a source once: check that the mixture can describe it, and collect a sample of its rows.

    The rows of the sample are those that data in memory would get from the same generator, whose state is left as it
    is: `n_sample` rows for the guard and as many for the starts.

    Raises
    ------
    ValueError
        What `Mixture.check` raises for the same data in memory.
    """
    component, k = mixture.component, mixture.n_components
    if component.reads_frames:
        raise ValueError(
            "formulas need a frame in memory, where these data are read piece by piece; use a random part of the rows, as a "
            "pandas frame."
        )
    ahead = copy.deepcopy(rng)
    if source.n_obs <= n_sample:
        drawn = [np.arange(source.n_obs)]
    else:
        drawn = [np.sort(ahead.choice(source.n_obs, n_sample, replace=False)) for _ in range(2)]
    wanted = functools.reduce(np.union1d, drawn)
    labels = source.arrange(component)
    found: Found = source.fold(Looking(component, max(k, 2), wanted), add_found)
    hint = "data[np.isfinite(data).all(axis=1)]"
    for missing, flaws in ((True, found.missing), (False, found.infinite)):
        if flaws[1]:
            columns = labels.feature + labels.given
            raise not_finite(missing, np.array(flaws[0]), flaws[1], np.array(flaws[2]), columns, hint)
    picked = sorted(found.picked, key=lambda part: part[0][0] if len(part[0]) else -1)  # workers add up in any order
    weights = [part[2] for part in picked]
    sample = replace(
        labels,
        values=np.concatenate([part[1] for part in picked]),
        obs=np.concatenate([part[0] for part in picked]),
        weights=np.concatenate(weights) if source.weights.size else None,
    )
    table = None
    if found.table is not None and 4 * len(found.table[0]) <= found.n_counted:
        table = replace(labels, values=found.table[0], obs=np.arange(len(found.table[0])), weights=found.table[1])
    total = found.total_weight
    streamed = Streamed(
        source.n_obs, total, labels.feature, labels.named, found.low, found.high, found.mean,
        found.scatter / total, sample, table, found.log_base_measure, labels.given,
    )  # fmt: skip
    _check(mixture, streamed, found)
    return streamed


def _check(mixture: Mixture, streamed: Streamed, found: Found) -> None:
    """Raise what `Mixture.check` raises.

    The family looks at the sample together with the rows in which columns have their extremes, so that a column is
    constant there just if it is so everywhere.
    """
    component, k, d = mixture.component, mixture.n_components, streamed.n_features
    if found.n_counted < k:
        raise ValueError(f"n_components={k} but the data have {found.n_counted} rows; use at most {found.n_counted}.")
    negative, fractional, first = found.not_counts
    if first is not None and d == 1:
        raise ValueError(
            f"{type(component).__name__} is for counts, 0, 1, 2, ...; of {streamed.n_obs} values {negative} are negative and "
            f"{fractional} are fractional, first {first[2]:g} in row {first[0]} of {_label(streamed.feature[first[1]])}. "
            "Use a continuous family, such as bm.Normal, or pass the counts."
        )
    sample = (
        streamed.sample.values
        if streamed.sample.weights is None
        else streamed.sample.values[streamed.sample.weights > 0]
    )
    rows = np.concatenate([sample, found.extreme, found.some, *([] if found.table is None else found.table[:1])])
    seen = replace(streamed.sample, values=rows, obs=np.arange(len(rows)), weights=None)
    try:
        component.check_data(seen, k)
    except ValueError:
        if not _matched_rows_pass(component, k, streamed):
            raise
    component.check_priors(seen)
    try:
        check_distinct_rows(seen, 1 if component.mixes_to_itself else k)
    except ValueError as error:
        raise ValueError(str(error).replace(f"among {len(rows)} rows", f"among {found.n_counted} rows")) from None
    if streamed.sample.weights is not None:
        warn_of_little_weight(mixture, streamed, stacklevel=5)


def _matched_rows_pass(component, k, streamed) -> bool:
    """Do rows with the mean and the covariance of all rows pass the family's check, where a sample does not?

    Columns may be linearly dependent in the sample only.
    """
    d = streamed.n_features
    variance = np.diag(streamed.covariance)
    if d == 1 or streamed.given or np.any(variance <= 0):
        return False
    correlation = streamed.covariance / np.sqrt(np.outer(variance, variance))
    value, vector = np.linalg.eigh(correlation)
    if value[0] <= 1e-8:
        return False
    root = np.sqrt(d) * (vector * np.sqrt(value)).T * np.sqrt(variance)
    rows = streamed.mean + np.concatenate([root, -root])
    try:
        component.check_data(Data(rows, streamed.feature, streamed.named, np.arange(2 * d)), k)
    except ValueError:
        return False
    return True
