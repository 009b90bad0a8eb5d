"""Covariates as a network reads them: numbers standardised, categories as columns of 0 and 1, gaps as a column of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Numeric:
    """A column of numbers: (x - mean) / sd; where cells were missing, these are 0 and a second column says which."""

    name: Any
    mean: float
    sd: float
    has_gaps: bool

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Columns (obs, 1 or 2)."""
        x = _numbers(values, self.name)
        missing = np.isnan(x)
        if missing.any() and not self.has_gaps:
            raise ValueError(
                f"covariate {self.name!r} is missing in {int(missing.sum())} rows, the first is row {int(np.argmax(missing))}, "
                "but in no row that the network was fitted to: it has not learnt what that means. Fill these cells."
            )
        z = np.where(missing, 0.0, (x - self.mean) / self.sd)[:, None]
        return np.concatenate([z, missing[:, None]], axis=1) if self.has_gaps else z

    @property
    def n_columns(self) -> int:
        """One, or two with gaps."""
        return 1 + self.has_gaps


@dataclass(frozen=True)
class Categories:
    """A column of categories: for each one a column that is 1 where the row is of it; missing is a category if it occurred."""

    name: Any
    levels: tuple

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Columns (obs, level)."""
        words = _words(values)
        known = np.isin(words, self.levels)
        if not known.all():
            row = int(np.argmin(known))
            raise ValueError(
                f"covariate {self.name!r} is {words[row]!r} in row {row}, but the network was fitted to "
                f"{', '.join(map(repr, self.levels[:12]))}."
            )
        return (words[:, None] == np.array(self.levels, dtype=object)).astype(float)

    @property
    def n_columns(self) -> int:
        """One for each category."""
        return len(self.levels)


MISSING = "(missing)"


@dataclass(frozen=True)
class Covariates:
    """How each covariate is read, in the order of the columns it was learnt from."""

    columns: tuple[Numeric | Categories, ...]
    named: bool

    @classmethod
    def learn(cls, x) -> "Covariates":
        """From the rows that a network is fitted to."""
        learner = Learner()
        learner.see(x)
        return learner.learnt()

    @property
    def n_columns(self) -> int:
        """Inputs of the network."""
        return sum(column.n_columns for column in self.columns)

    @property
    def names(self) -> list:
        """Names of the covariates."""
        return [column.name for column in self.columns]

    def encode(self, x) -> np.ndarray:
        """Inputs of the network (obs, input) for rows of covariates, matched by name where there are names."""
        table, named, _ = _table(x)
        if self.named and named:
            missing = [name for name in self.names if name not in table]
            if missing:
                raise ValueError(
                    f"there is no covariate {', '.join(map(repr, missing[:12]))}; the columns are "
                    f"{', '.join(map(repr, list(table)[:12]))}."
                )
            found = [table[name] for name in self.names]
        else:
            found = list(table.values())
            if len(found) != len(self.columns):
                raise ValueError(
                    f"the network takes {len(self.columns)} covariates, but the rows have {len(found)} columns."
                )
        parts = [column.encode(values) for column, values in zip(self.columns, found, strict=True)]
        return np.ascontiguousarray(np.concatenate(parts, axis=1))

    # -- persistence -----------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict:
        """Write as nested dicts and lists, for JSON."""
        plain = [vars(column) | {"is": type(column).__name__} for column in self.columns]
        return {"columns": plain, "named": self.named}

    @classmethod
    def from_dict(cls, plain: dict) -> "Covariates":
        """Inverse of `to_dict`."""
        columns = []
        for one in plain["columns"]:
            own = {name: value for name, value in one.items() if name != "is"}
            columns.append(Numeric(**own) if one["is"] == "Numeric" else Categories(own["name"], tuple(own["levels"])))
        return cls(tuple(columns), plain["named"])


class Learner:
    """What covariates are, from pieces of their rows."""

    def __init__(self):
        self.named, self.n = False, 0
        self._numbers: dict = {}  # by name: cells seen, their mean and sum of squares about it
        self._levels: dict = {}

    def see(self, x) -> None:
        """Take note of a piece."""
        table, self.named, n = _table(x)
        if self.n and list(table) != self._names:
            raise ValueError(
                f"the columns of covariates are {', '.join(map(repr, list(table)[:12]))} in the rows from {self.n} on, but "
                f"{', '.join(map(repr, self._names[:12]))} before."
            )
        self._names = list(table)
        for name, values in table.items():
            seen, mean, square = self._numbers.get(name, (0, 0.0, 0.0))
            if name not in self._levels and _is_number(values):
                numbers = _numbers(values, name)
                known = numbers[~np.isnan(numbers)]
                if known.size:
                    share, gap = known.size / (seen + known.size), float(known.mean()) - mean
                    square += known.size * float(known.var()) + seen * share * gap * gap  # Chan, Golub & LeVeque 1983
                    mean += share * gap
                self._numbers[name] = seen + known.size, mean, square
                continue
            if seen:
                raise ValueError(f"covariate {name!r} is a column of numbers, but not in the rows from {self.n} on.")
            gaps = {MISSING} if name in self._numbers else set()
            self._levels[name] = self._levels.get(name, gaps) | set(_words(values))
        self.n += n

    def learnt(self) -> Covariates:
        """How all rows are read."""
        columns: list = []
        for name in self._names:
            if name in self._levels:
                columns.append(Categories(name, tuple(sorted(self._levels[name]))))
                continue
            seen, mean, square = self._numbers[name]
            if not seen:
                raise ValueError(f"covariate {name!r} is missing in all {self.n} rows; leave it out.")
            sd = float(np.sqrt(square / seen))
            columns.append(Numeric(name, mean, sd if sd > 0.0 else 1.0, seen < self.n))
        return Covariates(tuple(columns), self.named)


def _table(x) -> tuple[dict, bool, int]:
    """Columns by name, whether they have names, and the number of rows."""
    if hasattr(x, "data_vars"):  # xarray.Dataset
        table: dict = {str(name): np.asarray(x[name].values) for name in x.data_vars}
        named = True
    elif hasattr(x, "columns"):  # pandas, polars
        table = {str(name): np.asarray(x[name]) for name in x.columns}
        named = True
    elif isinstance(x, dict):
        table, named = {str(name): np.asarray(values) for name, values in x.items()}, True
    else:
        values = np.ma.filled(x.astype(float), np.nan) if isinstance(x, np.ma.MaskedArray) else np.asarray(x)
        if values.ndim not in (1, 2):
            raise ValueError(f"covariates have shape {values.shape}, but they must be rows (obs,) or (obs, covariate).")
        values = values[:, None] if values.ndim == 1 else values
        name = getattr(x, "name", None)
        named = name is not None and values.shape[1] == 1
        table = {str(name) if named else j: values[:, j] for j in range(values.shape[1])}
    if not table:
        raise ValueError("there are no covariates; for a mixture without them use bm.Mixture.")
    sizes = {name: np.shape(values) for name, values in table.items()}
    n = next(iter(sizes.values()))[0] if next(iter(sizes.values())) else 0
    for name, shape in sizes.items():
        if shape != (n,):
            raise ValueError(f"covariate {name!r} has shape {shape}, but the first one has {n} rows.")
    if not n:
        raise ValueError("the covariates have no rows.")
    return table, named, n


def _is_number(values: np.ndarray) -> bool:
    if values.dtype.kind in "fiu":
        return True
    if values.dtype.kind != "O":
        return False
    return all(_is_missing(v) or isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values)


def _numbers(values, name) -> np.ndarray:
    try:
        x = np.array(
            [np.nan if _is_missing(v) else v for v in values] if values.dtype.kind == "O" else values, dtype=float
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"covariate {name!r} was a column of numbers when the network was fitted, but is not now."
        ) from None
    if np.isinf(x).any():
        raise ValueError(f"covariate {name!r} is infinite in row {int(np.argmax(np.isinf(x)))}.")
    return x


def _words(values) -> np.ndarray:
    """Categories as text; None and NaN as missing."""
    return np.array([MISSING if _is_missing(v) else str(v) for v in values], dtype=object)


def _is_missing(value) -> bool:
    """None, NaN, and what pandas writes for a missing cell."""
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )
