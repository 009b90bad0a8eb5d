"""What is known of where rows come from: rows that share a component, and rows whose component is known."""

import numbers
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arrays import Data, _is_a

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Units:
    """Rows by the unit that they belong to, all of whose rows come from one component.

    Attributes
    ----------
    group : ndarray of int (obs,)
        The unit of each row: every row is one by itself where there are no groups.
    known : ndarray of int (obs,)
        The component of each row, -1 where it is not known; the same for all rows of a unit.
    grouped : bool
        Are units named by the user?
    names : ndarray (group,)
        Names of the units, if they are.
    label_names : tuple of str
        Names of the components that labels were given for, if these were no numbers.
    """

    group: np.ndarray
    known: np.ndarray
    grouped: bool = False
    names: np.ndarray | None = None
    label_names: tuple = ()

    def take(self, rows: np.ndarray) -> "Units":
        """Make the units of some rows."""
        return replace(self, group=self.group[rows], known=self.known[rows])

    @property
    def labelled(self) -> np.ndarray:
        """The components that rows are known to come from, sorted."""
        return np.unique(self.known[self.known != UNKNOWN])

    def excluded(self, n_components: int) -> np.ndarray:
        """Which components (obs, cluster) a row is known not to come from."""
        return (self.known[:, None] != UNKNOWN) & (self.known[:, None] != np.arange(n_components))

    @property
    def first_rows(self) -> np.ndarray:
        """The first row of each unit, units in order."""
        return np.unique(self.group, return_index=True)[1]


def n_units(data: Data) -> float:
    """How many units there are, by weight: rows, or groups; what criteria take the logarithm of."""
    if data.units is None or not data.units.grouped:
        return data.total_weight
    first = data.units.first_rows
    return float(len(first)) if data.weights is None else float(data.weights[first].sum())


def same_units(one: Units | None, other: Units | None) -> bool:
    """Are rows grouped in the same way, with the same labels?"""
    if one is None or other is None:
        return one is other
    return np.array_equal(one.group, other.group) and np.array_equal(one.known, other.known)


def exchangeable(component, n_components: int, data: Data | None = None, known_weights=None) -> np.ndarray:
    """Which components may change places: (cluster,) of whole numbers, those of the same number.

    As the family has it, but for those with different known weights, and those that rows of the data are known to come from.
    """
    places = np.asarray(component.exchangeable(n_components)).copy()
    if known_weights is not None:
        places = np.unique(np.column_stack([places, known_weights]), axis=0, return_inverse=True)[1].ravel()
    if data is not None and data.units is not None:
        labelled = data.units.labelled
        places[labelled] = places.max() + 1 + np.arange(len(labelled))
    return places


def refuse_units(labels, group) -> None:
    """Raise `ValueError` if there are labels or groups for data that are not in memory."""
    if labels is not None or group is not None:
        what = "labels" if labels is not None else "group"
        raise ValueError(
            f"{what}= needs all rows in memory, but the data are read piece by piece; load them, or a part of them."
        )


# -- reading -----------------------------------------------------------------------------------------------------------
def without_columns(data: Any, *given) -> tuple[Any, list]:
    """The data without the columns that are named, and what stood in them; what is no name is passed on."""
    names = [value for value in given if isinstance(value, str)]
    if not names:
        return data, list(given)
    if _is_a(data, "pandas", "DataFrame"):
        have, drop, read = list(data.columns), lambda: data.drop(columns=names), lambda name: data[name]
    elif _is_a(data, "polars", "DataFrame"):
        have, drop, read = data.columns, lambda: data.drop(names), lambda name: data[name]
    elif _is_a(data, "xarray", "Dataset"):
        have, drop, read = list(data.data_vars), lambda: data.drop_vars(names), lambda name: data[name].values
    else:
        raise TypeError(
            f"{', '.join(map(repr, names))} names a column, but the data are of type {type(data).__name__}, without names; pass "
            "one value for each row."
        )
    missing = [name for name in names if name not in have]
    if missing:
        raise ValueError(
            f"the data have no column {', '.join(map(repr, missing))}; they have {', '.join(map(repr, have[:12]))}."
        )
    return drop(), [read(value) if isinstance(value, str) else value for value in given]


def with_units(data: Data, labels, group, n_components: int) -> Data:
    """The data with known labels and groups, checked; as they are where neither is given.

    Raises
    ------
    TypeError, ValueError
        If there is not one entry for each row, labels are no components, rows of a group have different weights or
        labels, or a row whose component is known has no cells.
    """
    if labels is None and group is None:
        return data
    known, label_names = _labels(labels, data.n_obs, n_components)
    codes, names = np.arange(data.n_obs), None
    if group is not None:
        names, codes = _groups(group, data.n_obs)
        known = _spread(known, codes, names)
        _check_weights(data, codes, names)
    _check_cells(data, known, codes)
    if group is None and not np.any(known != UNKNOWN):
        return data
    return replace(data, units=Units(codes, known, group is not None, names, label_names))


def _entries(values, n_obs: int, what: str) -> list:
    """One entry for each row, None where there is none."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{what} is {values!r}, but it must hold one entry for each row.")
    as_list = getattr(values, "tolist", None)
    values = list(values) if as_list is None else as_list()
    if len(values) != n_obs:
        raise ValueError(f"{what} has {len(values)} entries, but the data have {n_obs} rows; give one for each.")
    return [None if _is_missing(value) else value for value in values]


def _is_missing(value) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral) and bool(np.isnan(float(value)))


def _labels(labels, n_obs: int, n_components: int) -> tuple[np.ndarray, tuple]:
    """Numbers of components (obs,), -1 where unknown, and the names that they stand for."""
    if labels is None:
        return np.full(n_obs, UNKNOWN), ()
    entries = _entries(labels, n_obs, "labels")
    seen = [value for value in entries if value is not None]
    if any(isinstance(value, str) for value in seen):
        if not all(isinstance(value, str) for value in seen):
            raise TypeError("labels mix text and numbers; give names, or numbers of components, -1 where unknown.")
        names = sorted(set(seen))
        if len(names) > n_components:
            raise ValueError(
                f"labels hold {len(names)} names, {', '.join(map(repr, names[:8]))}, but the mixture has {n_components} "
                f"components; use n_components={len(names)} or more."
            )
        numbers_of = {name: k for k, name in enumerate(names)}
        return np.array([UNKNOWN if value is None else numbers_of[value] for value in entries]), tuple(names)
    found = np.full(n_obs, UNKNOWN)
    for i, value in enumerate(entries):
        if value is None:
            continue
        if not isinstance(value, numbers.Real) or float(value) % 1 != 0 or not UNKNOWN <= float(value) < n_components:
            raise ValueError(
                f"labels must be whole numbers from 0 to {n_components - 1}, or names; -1, NaN or None where unknown: row {i} "
                f"has {value!r}."
            )
        found[i] = int(float(value))
    return found, ()


def _groups(group, n_obs: int) -> tuple[np.ndarray, np.ndarray]:
    """Names of the groups, and the number of each row's."""
    entries = _entries(group, n_obs, "group")
    missing = [i for i, value in enumerate(entries) if value is None]
    if missing:
        raise ValueError(
            f"group is missing in {len(missing)} rows, counted from 0: {', '.join(map(str, missing[:5]))}; give every row a group, "
            "one of its own if need be."
        )
    values = np.array([str(v) if not isinstance(v, numbers.Real) else v for v in entries])
    names, codes = np.unique(values, return_inverse=True)
    return names, codes.ravel()


def _spread(known, codes, names) -> np.ndarray:
    """Labels of groups: a row's component is that of every row of its group."""
    of_group = np.full(len(names), UNKNOWN)
    for i in np.flatnonzero(known != UNKNOWN):
        before = of_group[codes[i]]
        if before not in (UNKNOWN, known[i]):
            raise ValueError(
                f"group {names[codes[i]]} has rows with labels {before} and {known[i]}, but all rows of a group come from one "
                "component."
            )
        of_group[codes[i]] = known[i]
    return of_group[codes]


def _check_weights(data: Data, codes, names) -> None:
    if data.weights is None:
        return
    first = np.unique(codes, return_index=True)[1]
    other = np.flatnonzero(data.weights != data.weights[first][codes])
    if len(other):
        i = int(other[0])
        raise ValueError(
            f"rows of group {names[codes[i]]} have weights {data.weights[first][codes[i]]:g} and {data.weights[i]:g}, but a "
            "weight says how often a whole group counts: it must be the same for all its rows."
        )


def _check_cells(data: Data, known, codes) -> None:
    """Every unit whose component is known has a cell: else its label would be lost with it."""
    if not data.missing:
        return
    seen = np.bincount(codes, weights=data.informative.astype(float)) > 0
    lost = np.flatnonzero((known != UNKNOWN) & ~seen[codes])
    if len(lost):
        raise ValueError(
            f"the component of {len(lost)} rows is known, but all their cells are missing, counted from 0: "
            f"{', '.join(map(str, lost[:5]))}; leave these rows out, or their labels."
        )
