"""Arrays in, from any library; checks of data; and the array functions that NumPy and PyTensor share.

`as_data` turns whatever holds the observations into one record, `Data`. The ``check_...`` functions are what a family
asks of its data before it is fitted. `namespace` gives the functions with which a density is written once and
evaluated by NumPy or compiled by PyTensor.
"""

import copy
import datetime
import difflib
import functools
import numbers
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from . import expressions

__all__ = [
    "NUMPY",
    "Data",
    "NumpyNamespace",
    "as_data",
    "check_counts",
    "check_distinct_rows",
    "check_enough_rows",
    "check_full_rank",
    "check_missing",
    "check_not_constant",
    "check_one_column",
    "namespace",
    "refuse_missing",
]

_BLOCK = 65536  # rows looked at together, so that checks of a memory-mapped array stay small


# ---------------------------------------------------------------------------------------------------------------------
# Data in


@dataclass(frozen=True, eq=False)
class Data:
    """Observations, checked, with the labels they came with.

    Attributes
    ----------
    values : ndarray (obs, feature + given)
        The observations: float64, C-contiguous, finite or, where a cell is missing, NaN. Not a copy when the input was
        all that already. Behind the columns that are modelled stand those that components condition on.
    feature : tuple
        Names of the columns that are modelled as str, or 0, 1, ... when the input had none.
    named : bool
        Whether the input carried names of columns.
    obs : ndarray (obs,)
        Labels of the rows: the index of a frame, the coordinate of an xarray object, otherwise 0, 1, ...
    weights : ndarray (obs,) or None
        How often each row counts; None when every row counts once.
    given : tuple
        Names of the columns that components condition on (`bayesmix.components.base`), which are no features.
    units : Units or None
        Which rows share a component, and which come from a known one (`bayesmix.units`).
    """

    values: np.ndarray
    feature: tuple
    named: bool
    obs: np.ndarray
    weights: np.ndarray | None = None
    given: tuple = ()
    units: Any = None

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return self.values.shape[0]

    @property
    def n_features(self) -> int:
        """Number of columns that are modelled."""
        return self.values.shape[1] - len(self.given)

    @property
    def modelled(self) -> np.ndarray:
        """The columns that are modelled, (obs, feature)."""
        return self.values[:, : self.n_features] if self.given else self.values

    @property
    def total_weight(self) -> float:
        """Sum of the weights; the number of rows when there are none."""
        return float(self.n_obs) if self.weights is None else float(self.weights.sum())

    @functools.cached_property
    def missing(self) -> bool:
        """Are there missing cells?"""
        return any(np.isnan(self.modelled[i : i + _BLOCK]).any() for i in range(0, self.n_obs, _BLOCK))

    @functools.cached_property
    def informative(self) -> np.ndarray:
        """Which rows (obs,) have a cell that is not missing."""
        return ~np.isnan(self.modelled).all(axis=1)

    def observed(self) -> "Data":
        """Make the data of the rows that have a cell which is not missing: the others say nothing."""
        return self.take(np.flatnonzero(self.informative)) if self.missing and not self.informative.all() else self

    def filled(self) -> np.ndarray:
        """What is modelled, with the mean of their column in place of missing cells."""
        values = self.modelled
        if not self.missing:
            return values
        known, weights = ~np.isnan(values), np.ones(self.n_obs) if self.weights is None else self.weights
        unit = np.where(known, np.abs(values), 0.0).max(axis=0)
        unit[unit == 0] = 1.0  # so that no sum overflows
        total = weights @ known
        mean = weights @ np.where(known, values / unit, 0.0) / np.where(total > 0, total, 1.0) * unit
        return np.where(known, values, mean)

    def take(self, rows: np.ndarray) -> "Data":
        """Make the data of some rows only, given by their positions."""
        weights = None if self.weights is None else self.weights[rows]
        units = None if self.units is None else self.units.take(rows)
        values = np.ascontiguousarray(self.values[rows])
        return replace(self, values=values, obs=self.obs[rows], weights=weights, units=units)

    def copied(self) -> "Data":
        """Make a copy that no later change of the input reaches."""
        return replace(self, values=self.values.copy(), obs=self.obs.copy(), weights=copy.copy(self.weights))

    def reweighted(self, weights: np.ndarray) -> "Data":
        """Make the same rows with other weights."""
        return replace(self, weights=weights)

    def arranged(self, modelled: Sequence[int], given: Sequence[int] = ()) -> "Data":
        """Make the data with the columns at these places modelled, and behind them those that are given.

        Raises
        ------
        ValueError
            If a given column has missing cells.
        """
        order, labels = [*modelled, *given], self.feature + self.given
        same = order == list(range(self.values.shape[1]))
        values = self.values if same else np.ascontiguousarray(self.values[:, order])
        feature, names = tuple(labels[j] for j in modelled), tuple(labels[j] for j in given)
        for j, name in enumerate(names, len(feature)):
            rows = np.flatnonzero(np.isnan(values[:, j]))
            if rows.size:
                first = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
                raise ValueError(
                    f"{_label(name)} is given, not modelled, so that it must be known in every row, but it is missing in "
                    f"{_count(len(rows), 'row')}, counted from 0: {first}. Fill these cells in, or drop the rows."
                )
        return replace(self, values=values, feature=feature, given=names)


def as_data(
    data: Any,
    *,
    weights: Any = None,
    feature: Iterable[str] | Iterable[int] | None = None,
    missing: bool = False,
    given: tuple = (),
) -> Data:
    """Read observations from any array, frame or list, and check them.

    Parameters
    ----------
    data : array-like (obs,) or (obs, feature)
        NumPy array (masked, memory-mapped and structured too), nested list, pandas or polars Series or DataFrame,
        xarray DataArray or Dataset, Dask array, or anything else with ``__array__``. In a 2-D DataArray the columns
        lie along the dimension called "feature", or else along the last. In a Dataset the variables are the columns.
        `Data` is taken as it is.
    weights : array-like (obs,), optional
        How often each row counts; matched to the rows by position, not by index.
    feature : sequence of str or int, optional
        The columns that are expected, as in ``Data.feature`` of an earlier call. Named columns are matched by name,
        in any order, and further columns are ignored; columns without names are matched by position. With a single
        expected column a number is one observation.
    missing : bool
        Read NaN, None, NA and masked cells as missing; otherwise they are an error.
    given : tuple
        Labels of columns that are not modelled, if they are there: these may hold any number.

    Returns
    -------
    Data

    Raises
    ------
    TypeError
        If `data` is not something that holds observations: text, a path, a dict, None, a generator, a lazy frame.
    ValueError
        If it does but cannot be used: no rows or columns, more than two dimensions, columns that are not real numbers,
        duplicate names, missing or infinite values, columns other than those expected, or unusable weights.
    """
    wanted = None if feature is None else (feature,) if isinstance(feature, str | int) else tuple(feature)
    if wanted == ():
        raise ValueError("feature names no columns; give those that are expected, or None to take all.")
    if isinstance(data, Data) and weights is None:
        weights = data.weights
    table = _read(data, wanted=wanted)
    if wanted is None and table.ndim == 0:
        raise ValueError("the data are a single number; pass one observation per row, e.g. a list or an array.")
    n_obs, n_features = table.shape
    if n_obs == 0 or n_features == 0:
        raise ValueError(
            f"the data are empty: {_count(n_obs, 'row')} and {_count(n_features, 'column')}. "
            "Pass at least one row and one column; a filter may have removed them all."
        )
    table, labels = _select(table, wanted)
    values = _numbers(table, labels)
    modelled = [j for j, label in enumerate(labels) if label not in given]
    some = len(modelled) < len(labels)
    _check_finite(
        values[:, modelled] if some else values,
        tuple(labels[j] for j in modelled) if some else labels,
        table.drop_hint,
        missing,
    )
    return Data(
        values=values,
        feature=labels,
        named=isinstance(labels[0], str),
        obs=np.arange(n_obs) if table.obs is None else table.obs,
        weights=None if weights is None else _row_weights(weights, n_obs),
    )


@dataclass(frozen=True)
class _Table:
    """Columns as they were given, before they are numbers: one array (obs, feature), or a list of arrays (obs,)."""

    columns: np.ndarray | list[np.ndarray]
    names: tuple[str, ...] | None = None
    obs: np.ndarray | None = None
    ndim: int = 2
    drop_hint: str = "data[np.isfinite(data).all(axis=1)]"

    @property
    def shape(self) -> tuple[int, int]:
        if isinstance(self.columns, np.ndarray):
            return self.columns.shape
        return (len(self.columns[0]) if self.columns else 0), len(self.columns)

    def column(self, j: int) -> np.ndarray:
        return self.columns[:, j] if isinstance(self.columns, np.ndarray) else self.columns[j]

    def take(self, order: Sequence[int]) -> "_Table":
        if list(order) == list(range(self.shape[1])):
            return self
        columns = self.columns
        chosen = columns[:, list(order)] if isinstance(columns, np.ndarray) else [columns[j] for j in order]
        return _Table(chosen, None, self.obs, self.ndim, self.drop_hint)


def _read(data: Any, *, wanted: tuple | None = None, what: str = "data") -> _Table:
    """Find the columns, their names and the labels of the rows, whichever library the data come from."""
    if isinstance(data, Data):
        return _Table(data.values, data.feature + data.given if data.named else None, data.obs)
    if _is_a(data, "pandas", "DataFrame", "Series"):
        return _read_pandas(data)
    if _is_a(data, "polars", "DataFrame", "Series"):
        return _read_polars(data)
    if _is_a(data, "polars", "LazyFrame"):
        raise TypeError(f"{what} is a polars LazyFrame, which holds no values yet; pass {what}.collect().")
    if _is_a(data, "xarray", "Dataset"):
        return _read_dataset(data, wanted)
    if _is_a(data, "xarray", "DataArray"):
        return _read_dataarray(data, what)
    if _is_a(data, "pyarrow", "Table"):
        return _read_pandas(data.to_pandas())
    _check_kind(data, what)
    return _read_array(data, what)


def _is_a(data: Any, module: str, *classes: str) -> bool:
    """Whether data belong to a class of a module, without importing it: if nobody has, they do not."""
    found = (getattr(sys.modules.get(module), name, None) for name in classes)
    return any(isinstance(cls, type) and isinstance(data, cls) for cls in found)


def _check_kind(data: Any, what: str) -> None:
    """Refuse what is no array, with what to pass instead."""
    if isinstance(data, Mapping):
        advice = "pass a pandas DataFrame or an xarray Dataset, e.g. pandas.DataFrame(...) of the dict"
    elif isinstance(data, str | bytes | os.PathLike):
        advice = "read a file first, e.g. with pandas.read_csv, and pass its numbers"
    elif data is None:
        advice = "pass an array, a frame or a list of numbers"
    elif hasattr(data, "toarray"):
        advice = "it looks sparse; pass its dense form, .toarray()"
    elif isinstance(data, list | tuple | range | numbers.Number | np.generic) or any(
        hasattr(data, name) for name in ("__array__", "__array_interface__", "__buffer__")
    ):
        return
    elif isinstance(data, Iterable):
        advice = "pass list(...) of it, or an array"
    else:
        advice = "pass an array, a frame or a list of numbers"
    raise TypeError(f"{what} is of type {type(data).__name__}, which is not an array of observations; {advice}.")


def _read_array(data: Any, what: str) -> _Table:
    if isinstance(data, np.ma.MaskedArray):
        array = _unmasked(data)
    elif isinstance(data, list | tuple):
        array = _from_list(data, what)
    else:
        array = np.asarray(data)
    if array.dtype.names is not None and array.ndim == 1:
        return _Table([array[name] for name in array.dtype.names], array.dtype.names)
    return _from_block(array, what)


def _from_block(array: np.ndarray, what: str, **labels: Any) -> _Table:
    """One array of 0, 1 or 2 dimensions as a table; a 1-D array is a column."""
    if array.ndim > 2:
        raise ValueError(
            f"{what} is a {array.ndim}-D array of shape {array.shape}; pass at most 2 dimensions, (obs, feature), "
            f"e.g. {what}.reshape({array.shape[0]}, -1)."
        )
    columns = array if array.ndim == 2 else array.reshape(-1, 1)
    hint = {"drop_hint": "data[np.isfinite(data)]"} if array.ndim < 2 else {}
    return _Table(columns, ndim=array.ndim, **{**hint, **labels})


def _from_list(data: list | tuple, what: str) -> np.ndarray:
    try:
        array = np.asarray(data)
    except ValueError:
        array = None
    if array is None or array.dtype == object and any(isinstance(row, list | tuple) for row in array.flat):
        lengths = sorted({len(row) if hasattr(row, "__len__") else 1 for row in data})
        raise ValueError(
            f"{what} is a ragged list: its rows have different lengths or depths (lengths from {lengths[0]} to "
            f"{lengths[-1]}). Give every row the same number of values."
        )
    return array if array.dtype.kind in "biufc" else np.array(data, dtype=object)


def _unmasked(data: Any) -> np.ndarray:
    """Masked cells as NaN, so that they are reported with the other missing values."""
    if not np.ma.is_masked(data):
        return data.data
    return data.astype(np.float64).filled(np.nan) if data.dtype.kind in "biuf" else data.astype(object).filled(None)


def _read_pandas(data: Any) -> _Table:
    frame = data.to_frame() if data.ndim == 1 else data
    columns = [_pandas_column(frame.iloc[:, j]) for j in range(frame.shape[1])]
    obs = None if getattr(frame.index, "nlevels", 1) > 1 else _row_labels(frame.index.to_numpy())
    if not columns:
        columns = np.empty((len(frame), 0))
    return _Table(columns, _column_names(frame.columns), obs, data.ndim, "data.dropna()")


def _pandas_column(series: Any) -> np.ndarray:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return series.to_numpy()
    if dtype.kind in "biuf":  # nullable, Arrow or sparse numbers
        if dtype.kind == "f" or series.isna().any():
            return series.to_numpy(dtype=np.float64, na_value=np.nan)
        return series.to_numpy(dtype={"b": np.bool_, "i": np.int64, "u": np.uint64}[dtype.kind])
    if dtype.name == "category":
        return series.astype(str).to_numpy(dtype=object)
    return series.to_numpy(dtype=object)


def _read_polars(data: Any) -> _Table:
    one = not hasattr(data, "columns")
    frame = data.to_frame() if one else data
    names = None if one and data.name == "" else tuple(frame.columns)
    hint = "data.drop_nulls().drop_nans()"
    return _Table([_polars_column(s) for s in frame.get_columns()], names, None, 1 if one else 2, hint)


def _polars_column(series: Any) -> np.ndarray:
    import polars as pl

    if series.dtype.is_decimal() or series.null_count() and (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return series.cast(pl.Float64).to_numpy()
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.to_numpy()
    values = np.empty(len(series), dtype=object)
    values[:] = series.to_list()
    return values


def _read_dataarray(array: Any, what: str) -> _Table:
    if array.dims == ("feature",):
        array = array.expand_dims("obs")
    array, names = dataarray_columns(array)
    labels: dict[str, Any] = {}
    if array.ndim in (1, 2):
        labels["names"] = names
    if array.ndim:
        labels |= {"obs": _coordinate(array), "drop_hint": f"data.dropna({array.dims[0]!r})"}
    return _from_block(np.asarray(array.values), what, **labels)


def dataarray_columns(array: Any) -> tuple[Any, tuple[str, ...] | None]:
    """DataArray with the columns along its last dimension, and their names, if it has some."""
    if array.ndim == 1:
        return array, None if array.name is None else (str(array.name),)
    if array.ndim != 2:
        return array, None
    dim = "feature" if "feature" in array.dims else array.dims[-1]
    array = array.transpose(..., dim)
    return array, _column_names(array[dim].values) if dim in array.coords else None


def _read_dataset(dataset: Any, wanted: tuple | None) -> _Table:
    if wanted and all(name in dataset.data_vars for name in wanted):
        dataset = dataset[list(wanted)]
    variables = dataset_columns(dataset)
    first = next(iter(variables.values()), None)
    return _Table(
        [np.asarray(variable.values) for variable in variables.values()],
        tuple(str(name) for name in variables),
        None if first is None else _coordinate(first),
        drop_hint="data.dropna()" if first is None else f"data.dropna({first.dims[0]!r})",
    )


def dataset_columns(dataset: Any) -> dict:
    """Variables of a Dataset, which are its columns; `ValueError` unless all lie along one dimension."""
    variables = dict(dataset.data_vars)
    dims = {variable.dims for variable in variables.values()}
    if len(dims) > 1 or any(len(d) != 1 for d in dims):
        given = _listing([f"{name!r} has {variable.dims}" for name, variable in variables.items()])
        raise ValueError(
            "the variables of the Dataset are the columns, so all must be 1-D along one dimension: "
            f"{given}. Select those that belong together, e.g. data[[{next(iter(variables))!r}]]."
        )
    return variables


def _coordinate(array: Any) -> np.ndarray | None:
    """Labels of the rows of an xarray object, where it has plain ones."""
    dim = array.dims[0]
    if dim not in array.coords or getattr(array.indexes.get(dim), "nlevels", 1) > 1:
        return None
    return _row_labels(array[dim].values)


def _row_labels(values: np.ndarray) -> np.ndarray:
    """Labels that every file format can hold: numbers and dates as they are, anything else as text."""
    return values if values.dtype.kind in "biufmMU" else np.array([str(value) for value in values], dtype=np.str_)


def _column_names(labels: Iterable[Any]) -> tuple[str, ...] | None:
    """Names as text; none where they only count the columns from 0, as pandas does when it is given no names."""
    labels = list(labels)
    if all(isinstance(label, numbers.Integral) and label == j for j, label in enumerate(labels)):
        return None
    return tuple("_".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels)


def _select(table: _Table, wanted: tuple | None) -> tuple[_Table, tuple]:
    """Columns in the order that is expected, and their labels."""
    names = table.names
    if wanted is None:
        labels = tuple(range(table.shape[1])) if names is None else names
        order = range(table.shape[1])
    else:
        labels, order = wanted, _positions(table, wanted)
    if names is not None:
        chosen = [names[j] for j in order] if wanted is None else [n for n in names if n in set(map(str, wanted))]
        _check_distinct(chosen)
    return table.take(order), labels


def _positions(table: _Table, wanted: tuple) -> Sequence[int]:
    """Where the expected columns are: by name where both sides have names, otherwise by position."""
    names, (n_obs, n_features) = table.names, table.shape
    keys = [str(name) for name in wanted]
    if names is not None and all(key in names for key in keys):
        return [names.index(key) for key in keys]
    expected = f"{_count(len(wanted), 'column')}, {_listing(map(_label, wanted))}"
    if table.ndim == 1 and n_obs == len(wanted) > 1:
        raise ValueError(
            f"a 1-D array of {n_obs} values is ambiguous where these are expected: {expected}. "
            "For one row pass x[None, :]; for more pass an array of shape (obs, feature)."
        )
    if names is not None and isinstance(wanted[0], str):
        raise ValueError(_missing_names(keys, names))
    if n_features == len(wanted):
        return range(n_features)
    given = f"{table.ndim}-D data with {_count(n_features, 'column')} and {_count(n_obs, 'row')}"
    raise ValueError(
        f"expected {expected}; got {given}. Pass an array of shape (obs, {len(wanted)}) in that order"
        f"{', or a frame with those names' if isinstance(wanted[0], str) else ''}."
    )


def _missing_names(keys: list[str], names: tuple[str, ...]) -> str:
    missing = [key for key in keys if key not in names]
    close = {key: difflib.get_close_matches(key, names, n=1) for key in missing}
    hints = [f"{key!r} may be {match[0]!r}" for key, match in close.items() if match]
    return (
        f"the data lack {_count(len(missing), 'column')} of the {len(keys)} expected: "
        f"{_listing(map(repr, missing))}; they have {_listing(map(repr, names))}. "
        + (f"Rename the columns ({_listing(hints)}), " if hints else "Rename the columns, ")
        + f"or pass an array without names, with {_count(len(keys), 'column')} in the order expected."
    )


def _check_distinct(names: Sequence[str]) -> None:
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        counts = _listing(f"{name!r} ({names.count(name)} times)" for name in repeated)
        raise ValueError(f"column names must be distinct; repeated: {counts}. Rename or drop the repeated columns.")


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


class _UnfitError(Exception):
    """Why a column cannot become float64, and what to do about it."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


def _numbers(table: _Table, labels: tuple) -> np.ndarray:
    """All columns as one float64 array, or an error that names every column that cannot be."""
    if isinstance(table.columns, np.ndarray) and table.columns.dtype.kind in "bf":
        with np.errstate(over="ignore"):  # too large for float64: infinite, and reported as such
            return np.ascontiguousarray(table.columns, dtype=np.float64)
    columns, unfit = [], {}
    for j, label in enumerate(labels):
        try:
            columns.append(_floats(table.column(j)))
        except _UnfitError as error:
            unfit[label] = error
    if unfit:
        reasons = _listing(f"{_label(label)} holds {error.reason}" for label, error in unfit.items())
        advice = " ".join(dict.fromkeys(error.advice for error in unfit.values() if error.advice))
        good = [label for label in labels if label not in unfit]
        chosen = repr(good) if isinstance(labels[0], str) else f":, {good}"
        select = f" To leave {'it' if len(unfit) == 1 else 'them'} out, pass data[{chosen}]." if good else ""
        raise ValueError(f"the data must be real numbers: {reasons}. {advice}{select}".rstrip())
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _floats(values: np.ndarray) -> np.ndarray:
    """One column as float64; `_UnfitError` when it is not real numbers that float64 can hold."""
    kind = values.dtype.kind
    if kind in "iu":
        _check_integers(values[(values > 2**53) | (values < -(2**53))].tolist())
    if kind in "biuf":
        return values.astype(np.float64, copy=False)
    if kind == "O":
        return np.array([_float(value) for value in values], dtype=np.float64)
    raise _not_a_number(values[0])


def _float(value: Any) -> float:
    """Python object as a float, NaN when it stands for a missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return np.nan
    if isinstance(value, np.timedelta64):  # which NumPy counts among the integers
        raise _not_a_number(value)
    if isinstance(value, numbers.Integral):
        _check_integers([int(value)])
    if isinstance(value, numbers.Real | Decimal | np.bool_):
        return float(value)
    raise _not_a_number(value)


def _check_integers(values: Iterable[int]) -> None:
    for value in values:
        try:
            kept = int(float(value)) == value
        except OverflowError:
            kept = False
        if not kept:
            raise _UnfitError(
                f"the integer {value}, which float64 cannot hold exactly (beyond 2**53)",
                "Subtract an offset first, or leave the column out if it is an identifier.",
            )


def _not_a_number(value: Any) -> _UnfitError:
    text = value.item() if isinstance(value, np.str_ | np.bytes_ | np.complexfloating) else value
    times = isinstance(value, datetime.date | datetime.time | datetime.timedelta | np.datetime64 | np.timedelta64)
    shown = str(text) if times else repr(text)
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    if isinstance(value, numbers.Complex) and not times:
        return _UnfitError(f"complex numbers, e.g. {shown}", "Pass real and imaginary parts as two columns.")
    if isinstance(value, str | bytes):
        return _UnfitError(f"text, e.g. {shown}", "Convert text to numbers first, or leave it out.")
    what = "dates or times" if times else "objects"
    return _UnfitError(f"{what} ({type(value).__name__}), e.g. {shown}", "Convert the column to numbers first.")


def _check_finite(values: np.ndarray, labels: tuple, drop_hint: str, allowed: bool = False) -> None:
    """Refuse infinite values, and missing ones unless they are allowed, with where they are."""
    if all(np.isfinite(values[i : i + _BLOCK]).all() for i in range(0, len(values), _BLOCK)):
        return
    missing = np.isnan(values) & (not allowed)
    mask = missing if missing.any() else np.isinf(values)
    if not mask.any():
        return
    rows = np.flatnonzero(mask.any(axis=1))
    raise not_finite(bool(missing.any()), mask.sum(axis=0), len(rows), rows, labels, drop_hint)


def not_finite(
    missing: bool, per_column: np.ndarray, n_rows: int, rows: np.ndarray, labels: tuple, drop_hint: str
) -> ValueError:
    """Make the error for missing or infinite values: how many per column, in how many rows, the first of these."""
    n = int(per_column.sum())
    first = ", ".join(map(str, rows[:5])) + (", ..." if n_rows > 5 else "")
    columns = _listing(f"{_label(label)} ({k})" for label, k in zip(labels, per_column, strict=True) if k)
    where = f"in {columns}; {_count(n_rows, 'row')}, counted from 0: {first}"
    if missing:
        return ValueError(
            f"{_count(n, 'value is', 'values are')} missing (NaN, None, NA or masked): {where}. Missing cells are not taken "
            f"here; drop those rows (e.g. {drop_hint}) or impute them, with Fit.impute of a fit by bm.em or bm.nuts."
        )
    return ValueError(
        f"{_count(n, 'value is', 'values are')} infinite: {where}. Drop those rows, or find where they come from "
        "(a logarithm of zero, a division by zero, a number too large)."
    )


def _row_weights(weights: Any, n_obs: int) -> np.ndarray:
    """Weights of rows as float64 (obs,), finite, nonnegative and not all zero."""
    if isinstance(weights, str):
        raise TypeError(
            f"weights is the text {weights!r}; pass the numbers, one per row, e.g. weights=data[{weights!r}]."
        )
    table = _read(weights, what="weights")
    if table.ndim != 1:
        shape = table.shape if table.ndim else ()
        raise ValueError(f"weights must be 1-D, one number per row ({n_obs}); got {table.ndim}-D of shape {shape}.")
    if table.shape[0] != n_obs:
        raise ValueError(
            f"weights has {_count(table.shape[0], 'entry', 'entries')} but the data have {_count(n_obs, 'row')}; "
            "pass one weight per row."
        )
    try:
        values = np.ascontiguousarray(_floats(table.column(0)))
    except _UnfitError as error:
        raise ValueError(f"weights must be real numbers, but holds {error.reason}. {error.advice}".rstrip()) from None
    for bad, what, advice in (
        (~np.isfinite(values), "missing or infinite", "Use 0 for a row that is not to count."),
        (values < 0, "negative", "A weight says how often a row counts: 0 or more."),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(f"{bad.sum()} of {n_obs} weights are {what}, first {values[row]:g} in row {row}. {advice}")
    if not values.any():
        raise ValueError(f"all {n_obs} weights are zero, so no row counts; give at least one row a positive weight.")
    return values


def _label(feature: str | int) -> str:
    """Name of a column in a message: 'waiting', or column 0."""
    return repr(feature) if isinstance(feature, str) else f"column {feature}"


def _listing(items: Iterable[str], limit: int = 8) -> str:
    items = list(items)
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


# ---------------------------------------------------------------------------------------------------------------------
# What families ask of their data


def check_one_column(data: Data, family: Any) -> None:
    """Raise ValueError unless the data have one column, as a univariate family needs."""
    if data.n_features > 1:
        pick = f"data[{data.feature[0]!r}]" if data.named else "data[:, 0]"
        raise ValueError(
            f"{_family_name(family)} describes one column, but the data have {data.n_features}: "
            f"{_listing(map(_label, data.feature))}. Pick one, e.g. {pick}, "
            "or use a multivariate family such as bm.MvNormal."
        )


def check_missing(data: Data, family: Any) -> None:
    """Raise ValueError if a column has no value at all in the rows of positive weight, or the family takes no missing cells."""
    if not data.missing:
        return
    if not family.takes_missing:
        cells = np.isnan(data.modelled)
        rows = np.flatnonzero(cells.any(axis=1))
        raise ValueError(
            f"{_family_name(family)} takes no missing cells: "
            f"{not_finite(True, cells.sum(axis=0), len(rows), rows, data.feature, 'data.dropna()')}"
        )
    empty = np.flatnonzero(np.isnan(_counted_rows(data)).all(axis=0))
    if empty.size:
        raise ValueError(
            f"{_listing(_label(data.feature[j]) for j in empty)} {'has' if empty.size == 1 else 'have'} no value in any of "
            f"{_count(data.n_obs, 'row')}: all cells are missing. Drop {'that column' if empty.size == 1 else 'those columns'}."
        )


def refuse_missing(data: Data, engine: str) -> None:
    """Raise ValueError if there are missing cells, for an engine that has no likelihood for them."""
    if data.missing:
        cells = int(np.isnan(data.modelled).sum())
        rows = int(np.isnan(data.modelled).any(axis=1).sum())
        raise ValueError(
            f"{engine} needs complete rows, but {_count(cells, 'cell is', 'cells are')} missing, in {_count(rows, 'row')}; "
            "bm.em, bm.nuts, bm.laplace and bm.advi take them as they are."
        )


def check_counts(data: Data, family: Any) -> None:
    """Raise ValueError unless every value is a whole number, 0 or more."""
    values = data.modelled
    negative = values < 0
    fractional = values != np.floor(values)
    bad = negative | fractional
    if not bad.any():
        return
    row, j = (int(i) for i in np.argwhere(bad)[0])
    raise ValueError(
        f"{_family_name(family)} is for counts, 0, 1, 2, ...; of {values.size} values {negative.sum()} are "
        f"negative and {fractional.sum()} are fractional, first {values[row, j]:g} "
        f"in row {row} of {_label(data.feature[j])}. Use a continuous family, such as bm.Normal, or pass the counts."
    )


def check_enough_rows(data: Data, n_components: int) -> None:
    """Raise ValueError unless there are at least as many rows (of positive weight) as components."""
    n = len(_counted_rows(data))
    if n < n_components:
        raise ValueError(f"n_components={n_components} but the data have {_count(n, 'row')}; use at most {n}.")


def check_distinct_rows(data: Data, n_components: int) -> None:
    """Raise ValueError unless there are at least as many distinct rows (of positive weight) as components."""
    values = _counted_rows(data)
    if data.missing:  # no value of its own
        values = np.where(np.isnan(values), np.inf, values)
    distinct = values[:0]
    for start in range(0, len(values), _BLOCK):
        distinct = np.unique(np.concatenate([distinct, values[start : start + _BLOCK]]), axis=0)
        if len(distinct) >= n_components:
            return
    what = "value" if data.n_features == 1 else "row"
    raise ValueError(
        f"n_components={n_components} but the data have {_count(len(distinct), f'distinct {what}')} "
        f"among {len(values)} rows; use at most {len(distinct)}."
    )


def check_not_constant(data: Data, family: Any) -> None:
    """Raise ValueError if a column does not vary, beyond rounding, over the rows of positive weight."""
    values = _counted_rows(data)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    rounding = 4 * np.spacing(np.maximum(np.abs(low), np.abs(high)))
    constant = np.flatnonzero(high - low <= rounding)
    if constant.size:
        found = _listing(f"{_label(data.feature[j])} (always {low[j]:g})" for j in constant)
        raise ValueError(
            f"{_family_name(family)} needs columns that vary, but over {_count(len(values), 'row')} "
            f"{_count(constant.size, 'column does', 'columns do')} not: {found}. Its variance would be zero and the "
            f"density infinite; drop {'that column' if constant.size == 1 else 'those columns'}."
        )


def check_full_rank(data: Data, family: Any) -> None:
    """Raise ValueError if the columns cannot have a covariance of full rank.

    That is so when there are no more rows (of positive weight) than columns, when a column is constant, when two
    columns are the same up to an offset and a scale (``1 - |correlation| <= 1e-12``), or when a column is a linear
    combination of others, up to 1e-10 of its standard deviation or to the rounding of the numbers. Where cells are
    missing the last two are asked of the complete rows, if there are enough of them; columns that are never seen together
    raise a UserWarning.
    """
    values, names = _counted_rows(data), [_label(name) for name in data.feature]
    n_obs, n_features = values.shape
    remedy = 'or use covariance="diag", which needs no covariances'
    if n_features == 1:
        return check_not_constant(data, family)
    if n_obs <= n_features:
        raise ValueError(
            f"{_family_name(family)} with a full covariance needs more rows than columns; the data have "
            f"{_count(n_obs, 'row')} and {_count(n_features, 'column')}. Use fewer columns, more rows, {remedy}."
        )
    check_not_constant(data, family)
    if data.missing:
        _warn_of_separate_columns(values, names, family)
        values = values[~np.isnan(values).any(axis=1)]
        if len(values) <= n_features or not np.all(np.ptp(values, axis=0) > 0):
            return None
    mean, scale, correlation = _moments(values)
    same = np.argwhere(np.triu(1 - np.abs(correlation) <= 1e-12, k=1))
    if same.size:
        pairs = _listing(f"{names[i]} and {names[j]}" for i, j in same)
        dropped = _listing(names[j] for j in sorted(set(same[:, 1].tolist())))
        raise ValueError(
            f"{_family_name(family)} with a full covariance needs columns that say different things, but these are "
            f"the same up to an offset and a scale: {pairs}. Drop {dropped}, {remedy}."
        )
    if np.linalg.eigvalsh(correlation)[0] > 1e-8:  # squares of singular values: exact enough to be sure, and cheap
        return None
    dependent = _dependent_columns((values - mean) / scale, np.abs(values).max(axis=0) / scale)
    if dependent:
        found = _listing(
            f"{names[j]} follows from {_listing([names[i] for i in others])}" for j, others in dependent.items()
        )
        raise ValueError(
            f"{_family_name(family)} with a full covariance needs linearly independent columns; the {n_features} "
            f"columns have rank {n_features - len(dependent)}: {found}. "
            f"Drop {_listing(names[j] for j in dependent)}, {remedy}."
        )
    return None


def _warn_of_separate_columns(values: np.ndarray, names: list[str], family: Any) -> None:
    """Warn of pairs of columns that no row has both values of."""
    known = (~np.isnan(values)).astype(float)
    apart = np.argwhere(np.triu(known.T @ known == 0, k=1))
    if apart.size:
        warnings.warn(
            f"no row has values of both columns: {_listing(f'{names[i]} and {names[j]}' for i, j in apart)}. Nothing in the "
            f"data says how they are correlated within a component of {_family_name(family)}: an estimate depends on where "
            'it starts, a posterior on its prior. Use covariance="diag", or rows that have both.',
            UserWarning,
            stacklevel=5,
        )


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and correlation of columns, in blocks of rows; the mean first, then about it."""
    unit = np.abs(values).max(axis=0)
    unit[unit == 0] = 1.0
    blocks = [slice(i, i + _BLOCK) for i in range(0, len(values), _BLOCK)]
    mean = sum((values[b] / unit).sum(axis=0) for b in blocks) / len(values)
    mean = mean + sum((values[b] / unit - mean).sum(axis=0) for b in blocks) / len(values)
    centred = (values[b] / unit - mean for b in blocks)
    covariance = sum(z.T @ z for z in centred) / len(values)
    scale = np.sqrt(np.diagonal(covariance))
    return mean * unit, scale * unit, covariance / np.outer(scale, scale)


def _dependent_columns(standardised: np.ndarray, magnitude: np.ndarray) -> dict[int, list[int]]:
    """Columns that are linear combinations of columns before them, with those.

    Columns have mean 0 and standard deviation 1. Where the original numbers are large against their standard
    deviation (`magnitude`), their rounding is what a combination can be told by, so the tolerance allows for it.
    """
    n_obs, n_features = standardised.shape
    triangle = np.linalg.qr(standardised, mode="r") / np.sqrt(n_obs)
    tolerance = max(1e-10, 4 * np.finfo(float).eps * float(magnitude.max())) * np.sqrt(n_features)
    independent: list[int] = []
    dependent: dict[int, list[int]] = {}
    for j in range(n_features):
        basis, column = triangle[:, independent], triangle[:, j]
        coefficients = np.linalg.lstsq(basis, column)[0] if independent else np.zeros(0)
        if np.linalg.norm(column - basis @ coefficients) > tolerance:
            independent.append(j)
        else:
            used = np.abs(coefficients) > 1e-6
            dependent[j] = [i for i, take in zip(independent, used, strict=True) if take]
    return dependent


def _counted_rows(data: Data) -> np.ndarray:
    """Rows of positive weight."""
    if data.weights is None or data.weights.all():
        return data.modelled
    return data.modelled[data.weights > 0]


def _family_name(family: Any) -> str:
    if isinstance(family, str):
        return family
    return family.__name__ if isinstance(family, type) else type(family).__name__


# ---------------------------------------------------------------------------------------------------------------------
# The functions that NumPy and PyTensor share


def namespace(*arrays: Any) -> Any:
    """Functions that suit the arrays: PyTensor's if any of them is a PyTensor variable, otherwise NumPy's.

    All have ``exp, expm1, log, log1p, sqrt, sin, cos, abs, floor, where, equal, isnan, gammaln, digamma, log_ndtr,
    log_betainc, log_gammainc, log_gammaincc, log_i0e, log1mexpexp, logaddexp, xlogy, xlog1py, asarray``, with NumPy's and
    SciPy's meaning and broadcasting, so that a formula is written once; arrays have ``sum, max, logsumexp, softmax, cholesky,
    inverse_lower, diagonal, matvec`` besides.
    ``log_i0e(x)`` is the logarithm of ``scipy.special.i0e``, ``log1mexpexp(x)`` is log(1 - exp(-exp(x))), and
    ``log_betainc(a, b, u)`` takes the logit u of x. Symbols, `bayesmix.expressions`, are told from arrays too.
    PyTensor is imported only if somebody already has.

    Examples
    --------
    >>> xp = namespace(np.ones(3))
    >>> float(xp.logsumexp(np.zeros(4), axis=-1))
    1.3862943611198906
    """
    if "pytensor" in sys.modules:
        from pytensor.graph.basic import Variable

        if any(isinstance(array, Variable) for array in arrays):
            return _pytensor_namespace()
    if any(isinstance(array, expressions.Expression | expressions.Row) for array in arrays):
        return _TRACED
    return NUMPY


class _SharedFormulas:
    """Functions written once, in terms of those that a namespace supplies."""

    exp: Any
    expm1: Any
    log: Any
    log1p: Any
    where: Any
    abs: Any
    sum: Any
    max: Any
    squeeze: Any
    equal: Any
    constant: Any

    def logsumexp(self, x: Any, axis: int = -1, keepdims: bool = False) -> Any:
        """``log(sum(exp(x)))`` along one axis; -inf, with gradient 0, where all of x is -inf."""
        top = self._finite_top(x, axis)
        total = self.sum(self.exp(x - top), axis, keepdims=True)
        empty = total <= 0
        value = self.where(empty, -np.inf, self.log(self.where(empty, 1.0, total)) + top)
        return value if keepdims else self.squeeze(value, axis)

    def softmax(self, x: Any, axis: int = -1) -> Any:
        """``exp(x) / sum(exp(x))`` along one axis; zeros where all of x is -inf."""
        shifted = self.exp(x - self._finite_top(x, axis))
        total = self.sum(shifted, axis, keepdims=True)
        return shifted / self.where(total <= 0, 1.0, total)

    def xlogy(self, x: Any, y: Any) -> Any:
        """``x log(y)``, and 0 where x is 0, also if y is 0 or infinite; gradients are finite there."""
        skip = self.equal(x, 0) & ((y <= 0) | (y >= np.inf))
        return x * self.log(self.where(skip, 1.0, y))

    def xlog1py(self, x: Any, y: Any) -> Any:
        """``x log(1 + y)``, and 0 where x is 0, also if y is -1 or infinite; gradients are finite there."""
        skip = self.equal(x, 0) & ((y <= -1) | (y >= np.inf))
        return x * self.log1p(self.where(skip, 0.0, y))

    def log1mexpexp(self, x: Any) -> Any:
        """``log(1 - exp(-exp(x)))``: about x where that is small, and about 0 where it is large."""
        small = x < -35.0
        return self.where(small, x, self.log(-self.expm1(-self.exp(self.where(small, 0.0, x)))))

    def logaddexp(self, x: Any, y: Any) -> Any:
        """``log(exp(x) + exp(y))``; -inf where both are."""
        larger = self.where(x < y, y, x)
        apart = self.where(larger > -np.inf, -self.abs(x - y), 0.0)
        return self.where(larger > -np.inf, larger + self.log1p(self.exp(apart)), -np.inf)

    def matvec(self, matrix: Any, x: Any) -> Any:
        """Matrices (..., i, j) times vectors (..., j), broadcast over the leading axes."""
        return self.sum(matrix * x[..., None, :], -1)

    def _finite_top(self, x: Any, axis: int) -> Any:
        """Largest entry, as a constant: it cancels in values and gradients. 0 where it is infinite."""
        top = self.constant(self.max(x, axis, keepdims=True))
        return self.where(self.abs(top) < np.inf, top, 0.0)


def _quiet(function: Any) -> Any:
    """Without NumPy's warnings: outside a support, log(0) is -inf and log(-1) is NaN, as in PyTensor."""
    return staticmethod(np.errstate(all="ignore")(function))


class NumpyNamespace(_SharedFormulas):
    """The shared functions, computed by NumPy at once."""

    exp = _quiet(np.exp)
    log = _quiet(np.log)
    log1p = _quiet(np.log1p)
    sqrt = _quiet(np.sqrt)
    expm1 = _quiet(np.expm1)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    isnan = staticmethod(np.isnan)
    abs = staticmethod(np.abs)
    floor = staticmethod(np.floor)
    where = staticmethod(np.where)
    equal = staticmethod(np.equal)
    sum = staticmethod(np.sum)
    max = staticmethod(np.max)
    squeeze = staticmethod(np.squeeze)
    cholesky = staticmethod(np.linalg.cholesky)

    @staticmethod
    def asarray(x: Any) -> np.ndarray:
        """Any array-like as a float64 array."""
        return np.asarray(x, dtype=np.float64)

    @staticmethod
    def constant(x: Any) -> Any:
        """Return the value itself; in PyTensor, no gradient flows through it."""
        return x

    @staticmethod
    def gammaln(x: Any) -> Any:
        """Logarithm of the absolute value of the gamma function."""
        from scipy.special import gammaln

        return gammaln(x)

    @staticmethod
    def digamma(x: Any) -> Any:
        """Logarithmic derivative of the gamma function."""
        from scipy.special import psi

        return psi(x)

    @staticmethod
    def log_ndtr(x: Any) -> Any:
        """Logarithm of the standard normal distribution function."""
        from scipy.special import log_ndtr

        return log_ndtr(x)

    @staticmethod
    def log_gammainc(a: Any, x: Any) -> Any:
        """Logarithm of the lower regularised incomplete gamma function, a and x > 0."""
        return expressions.NUMPY_OF["log_gammainc"](a, x)

    @staticmethod
    def log_gammaincc(a: Any, x: Any) -> Any:
        """Logarithm of the upper regularised incomplete gamma function, a and x > 0."""
        return expressions.NUMPY_OF["log_gammaincc"](a, x)

    @staticmethod
    def log_betainc(a: Any, b: Any, u: Any) -> Any:
        """Logarithm of the regularised incomplete beta function at 1 / (1 + exp(-u)), a and b > 0."""
        return expressions.NUMPY_OF["log_betainc"](a, b, u)

    @staticmethod
    @np.errstate(all="ignore")
    def log_i0e(x: Any) -> Any:
        """Logarithm of exp(-|x|) I_0(x), I_0 the modified Bessel function of order 0."""
        from scipy.special import i0e

        return np.log(i0e(x))

    @staticmethod
    def matvec(matrix: Any, x: Any) -> np.ndarray:
        """Matrices (..., i, j) times vectors (..., j), broadcast over the leading axes."""
        return np.einsum("...ij,...j->...i", matrix, x)

    @staticmethod
    def diagonal(a: Any) -> np.ndarray:
        """Diagonals of the last two axes, (..., i, i) -> (..., i)."""
        return np.diagonal(a, axis1=-2, axis2=-1)

    @staticmethod
    def inverse_lower(lower: Any) -> np.ndarray:
        """Inverses of lower triangular matrices (..., i, i), by forward substitution; the upper part is not read."""
        lower = np.asarray(lower, dtype=np.float64)
        inverse = np.zeros_like(lower)
        for i in range(lower.shape[-1]):
            inverse[..., i, :] = -(lower[..., i : i + 1, :i] @ inverse[..., :i, :])[..., 0, :]
            inverse[..., i, i] += 1.0
            inverse[..., i, :] /= lower[..., i, i, None]
        return inverse


NUMPY = NumpyNamespace()


class _PytensorNamespace(_SharedFormulas):
    """The shared functions, as PyTensor graphs; in double precision, like the NumPy ones."""

    def __init__(self) -> None:
        import pytensor.tensor as pt
        import pytensor.tensor.linalg as linalg
        from pytensor.gradient import disconnected_grad

        self.exp, self.log, self.log1p, self.sqrt = pt.exp, pt.log, pt.log1p, pt.sqrt
        self.abs, self.floor, self.gammaln, self.digamma = pt.abs, pt.floor, pt.gammaln, pt.psi
        self.expm1, self.sin, self.cos, self.isnan = pt.expm1, pt.sin, pt.cos, pt.isnan
        self.where, self.equal = pt.where, pt.eq
        self.sum, self.max, self.squeeze = pt.sum, pt.max, pt.squeeze
        self.constant = disconnected_grad
        self._pt, self._linalg = pt, linalg

    def asarray(self, x: Any) -> Any:
        """Any array-like or variable as a float64 variable."""
        return self._pt.as_tensor_variable(x).astype("float64")

    def log_ndtr(self, x: Any) -> Any:
        """Logarithm of the standard normal distribution function, by the scaled complement where x is small."""
        pt, root = self._pt, np.sqrt(0.5)
        low, high = pt.minimum(x, -1.0), pt.maximum(x, -1.0)
        below = pt.log(0.5 * pt.erfcx(-low * root)) - 0.5 * low**2
        return pt.where(x < -1.0, below, pt.log1p(-0.5 * pt.erfc(high * root)))

    def log_gammainc(self, a: Any, x: Any) -> Any:
        """Logarithm of the lower regularised incomplete gamma function, as far as it does not underflow."""
        return self._pt.log(self._pt.gammainc(a, x))

    def log_gammaincc(self, a: Any, x: Any) -> Any:
        """Logarithm of the upper regularised incomplete gamma function, as far as it does not underflow."""
        return self._pt.log(self._pt.gammaincc(a, x))

    def log_betainc(self, a: Any, b: Any, u: Any) -> Any:
        """Logarithm of the regularised incomplete beta function, as far as it does not underflow."""
        a, b, u = (self.asarray(value) for value in (a, b, u))
        return self._pt.log(self._pt.betainc(a, b, self._pt.sigmoid(u)))

    def log_i0e(self, x: Any) -> Any:
        """Logarithm of exp(-|x|) I_0(x), I_0 the modified Bessel function of order 0."""
        return self._pt.log(self._pt.ive(0, x))

    def cholesky(self, a: Any) -> Any:
        """Lower Cholesky factors of matrices (..., i, i); NaN where a matrix is not positive definite."""
        return self._linalg.cholesky(self._pt.as_tensor_variable(a), lower=True)

    def diagonal(self, a: Any) -> Any:
        """Diagonals of the last two axes, (..., i, i) -> (..., i)."""
        return self._pt.diagonal(a, axis1=-2, axis2=-1)

    def inverse_lower(self, lower: Any) -> Any:
        """Inverses of lower triangular matrices (..., i, i); the upper part is not read."""
        lower = self._pt.as_tensor_variable(lower)
        size = lower.type.shape[-1] or lower.shape[-1]
        identity: Any = self._pt.eye(size)
        return self._linalg.solve_triangular(lower, identity, lower=True, b_ndim=2)


class _TracedNamespace(expressions.Namespace, _SharedFormulas):
    """The shared functions, as expressions."""


_TRACED = _TracedNamespace()


@functools.cache
def _pytensor_namespace() -> _PytensorNamespace:
    return _PytensorNamespace()
