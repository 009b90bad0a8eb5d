"""The design of a regression: a formula and a data frame become columns of numbers, by the library formulae.

A `Design` is a plain record, stored with the mixture: the formula, and the rows of the data that its transformations have
learnt from (levels of categories, centres, knots). New rows are transformed by what was learnt.
"""

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Data, _is_a, _read
from ..priors import storable

ALIASED = 1e-9  # of a column's length, that is left over beside the columns in front of it
FUNCTIONS = ("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "sin", "cos", "tan", "tanh")
OFFSET = "offset"


@storable
@dataclass(frozen=True)
class Design:
    """What a formula has learnt from data.

    Attributes
    ----------
    formula : str
        The right-hand side.
    rows : str
        JSON of the rows that reproduce what was learnt, by variable.
    terms : tuple of str
        Names of the columns.
    has_offset : bool
        Is there an offset, a last column whose coefficient is one?
    """

    formula: str
    rows: str
    terms: tuple
    has_offset: bool = False

    @property
    def labels(self) -> tuple:
        """Names of all columns, the offset last."""
        return (*self.terms, OFFSET) if self.has_offset else self.terms

    @classmethod
    def learn(cls, formula: str, frame) -> tuple["Design", np.ndarray]:
        """Learn from a pandas frame, and return the columns (obs, label) of its rows too.

        Raises
        ------
        ValueError
            If a variable or a function is not known, cells are missing, or the formula has effects of groups.
        """
        names = variables(formula)
        _check_there(formula, names, frame)
        used = frame[names]
        _check_complete(used)
        learnt = _learn(formula, used)
        columns = [_labels_of(term) for term in learnt.terms.values() if term.kind != OFFSET]
        terms = tuple(label for labels in columns for label in labels)
        has_offset = any(term.kind == OFFSET for term in learnt.terms.values())
        if not terms:
            raise ValueError(f"the formula {formula!r} has no terms; at least an intercept is needed: 1.")
        few = cls(formula, _to_json(_few_rows(used)), terms, has_offset)
        whole = _columns(learnt, learnt.design_matrix)
        try:
            found = few.matrix(frame)
        except ValueError:
            found = whole
        else:
            if np.allclose(found, whole, rtol=1e-12, atol=1e-12):
                return few, found
        _check_finite(whole, few)
        return cls(formula, _to_json(used), terms, has_offset), whole

    def matrix(self, frame) -> np.ndarray:
        """Columns of the rows of a pandas frame, (obs, label).

        Raises
        ------
        ValueError
            If a variable is not there, cells are missing, a category is new, or a value is not finite.
        """
        names = variables(self.formula)
        _check_there(self.formula, names, frame)
        used = frame[names]
        _check_complete(used)
        learnt = _from_rows(self)
        try:
            with np.errstate(all="ignore"):
                found = learnt.evaluate_new_data(used if names else frame[[]])
        except (ValueError, KeyError) as error:
            raise ValueError(f"the formula {self.formula!r} cannot be evaluated on these rows: {error}") from None
        matrix = _columns(learnt, found.design_matrix)
        _check_finite(matrix, self)
        return matrix


def split(formula: str) -> tuple[str, str]:
    """Response and right-hand side of a formula: ``"y ~ x"`` -> ("y", "x"), ``"~ x"`` -> ("", "x")."""
    if not isinstance(formula, str):
        raise TypeError(f'formula must be text such as "y ~ x", but it is of type {type(formula).__name__}.')
    parts = formula.split("~")
    if len(parts) > 2 or not parts[-1].strip():
        raise ValueError(
            f'formula {formula!r} is not understood; it is written "y ~ x + z", or "y ~ 1" without covariates.'
        )
    left, right = ("", parts[0]) if len(parts) == 1 else parts
    _description(right.strip())
    return left.strip(), right.strip()


def variables(formula: str) -> list[str]:
    """Names of the variables in one side of a formula, in alphabetical order."""
    return sorted(name for name in _description(formula).var_names if name)


def frame_of(data: Any) -> tuple[Any, Any]:
    """Data of any kind as a pandas frame with names of columns, and the labels of its rows (or None)."""
    import pandas as pd

    if isinstance(data, Data):
        names = [str(label) for label in (*data.feature, *data.given)]
        return _named(pd.DataFrame(data.values, columns=pd.Index(names)), data.named), data.obs
    if isinstance(data, Mapping) and not _is_a(data, "xarray", "Dataset"):
        lengths = {name: np.shape(value) for name, value in data.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of the dict differ in shape: {lengths}.")
        data = pd.DataFrame(dict(data))
    table = _read(data)
    columns = {name: table.column(j) for j, name in enumerate(table.names or ())}
    if isinstance(data, pd.DataFrame):
        for j, name in enumerate(table.names or ()):
            if data.iloc[:, j].dtype.name == "category":
                columns[name] = data.iloc[:, j].array
    frame = pd.DataFrame(columns) if columns else pd.DataFrame(index=range(table.shape[0]))
    return _named(frame, table.names is not None), table.obs


def response(formula: str, frame) -> np.ndarray:
    """Values (obs,) of the left-hand side of a formula; NaN where a variable is missing."""
    names = variables(formula)
    _check_there(formula, names, frame)
    used = frame[names]
    there = ~used.isna().any(axis=1).to_numpy()
    if not there.any():
        raise ValueError(f"the response {formula} is missing in all of {len(frame)} rows.")
    if names == [formula]:  # as it is
        values = used.iloc[there.nonzero()[0], 0].to_numpy()
        if values.dtype.kind not in "biuf":
            try:
                values = values.astype(float)
            except (TypeError, ValueError):
                raise ValueError(
                    f"the response {formula} holds {values[0]!r}, which is no number; code two categories as 0 and 1."
                ) from None
    else:
        values = np.asarray(_matrices(f"{formula} ~ 1", used[there]).response.design_matrix)
        if values.ndim != 1:
            raise ValueError(f"the response {formula} has {values.shape[1]} columns; one column of numbers is needed.")
    found = np.full(len(frame), np.nan)
    found[there] = values
    return found


def orthogonal(x: np.ndarray, weights: np.ndarray, labels: tuple, order: list[int]) -> np.ndarray:
    r"""Matrix S (P, P) that turns columns x (obs, P), taken in this order, into orthonormal ones, x[:, order] S.

    The mean of their squares is one, and S is upper triangular.

    Raises
    ------
    ValueError
        If columns depend on each other linearly, with their names.
    """
    x, root = x[:, order], np.sqrt(weights / weights.sum())
    unit = np.abs(x).max(axis=0)
    scaled = x / np.where(unit > 0, unit, 1.0) * root[:, None]
    length = np.linalg.norm(scaled, axis=0)
    scaled = scaled / np.where(length > 0, length, 1.0)
    if len(scaled) < scaled.shape[1]:
        scaled = np.vstack([scaled, np.zeros((scaled.shape[1] - len(scaled), scaled.shape[1]))])
    upper = np.linalg.qr(scaled, mode="r")
    aliased = [labels[order[j]] for j in np.flatnonzero(np.abs(np.diag(upper)) < ALIASED)]
    if aliased:
        raise ValueError(
            f"the columns of the design are linearly dependent: {', '.join(aliased)} can be written by the other terms, "
            f"{', '.join(label for label in labels if label not in aliased)}, in {int((weights > 0).sum())} rows. Leave "
            f"{'it' if len(aliased) == 1 else 'them'} out of the formula."
        )
    upper = upper * np.sign(np.diag(upper))[:, None]
    return np.linalg.inv(upper) / (unit * length)[:, None]


# -- formulae ------------------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=256)
def _description(formula: str) -> Any:
    from formulae import model_description
    from formulae.parser import ParseError
    from formulae.scanner import ScanError

    try:
        found = model_description(formula)
    except (ParseError, ScanError, KeyError, ValueError) as error:
        raise ValueError(f"the formula {formula!r} is not understood: {error}") from None
    if found.group_terms:
        raise ValueError(
            f"the formula {formula!r} has effects that vary over groups, (1 | g), which mixtures of regressions do not take; "
            "use the categories as a covariate."
        )
    return found


def _matrices(formula: str, frame) -> Any:
    from formulae import design_matrices

    functions = {name: getattr(np, name) for name in FUNCTIONS} | {"np": np}
    try:
        with np.errstate(all="ignore"):
            return design_matrices(formula, frame, na_action="pass", extra_namespace=functions)
    except KeyError as error:
        raise ValueError(
            f"the formula {formula!r} uses {error}, which is neither a column of the data nor a function known here; make "
            f"it a column, or use np, I, C, center, scale, poly, bs, {', '.join(FUNCTIONS[:5])}, ..."
        ) from None


def _learn(formula: str, frame) -> Any:
    common = _matrices(formula, frame if frame.shape[1] else frame.assign(one=1.0)).common
    if common is None:
        raise ValueError(f"the formula {formula!r} has no terms; at least an intercept is needed: 1.")
    return common


@functools.lru_cache(maxsize=32)
def _from_rows(design: Design) -> Any:
    return _learn(design.formula, _from_json(design.rows))


def _columns(learnt, matrix) -> np.ndarray:
    """Columns of the terms, the sum of the offsets behind them."""
    pieces: dict = {True: [], False: []}
    for name, term in learnt.terms.items():
        piece = np.asarray(matrix[:, learnt.slices[name]], dtype=float).reshape(len(matrix), -1)
        pieces[term.kind == OFFSET].append(piece)
    offsets = [np.sum(pieces[True], axis=0)] if pieces[True] else []
    return np.ascontiguousarray(np.concatenate([*pieces[False], *offsets], axis=1))


def _labels_of(term) -> list[str]:
    return [str(label) for label in np.ravel(term.labels)]


def _few_rows(frame):
    """The first rows of each level of each category, and two more: enough where nothing but categories is learnt."""
    kept = set(range(min(2, len(frame))))
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind not in "iuf":
            kept |= set(np.flatnonzero(~column.duplicated().to_numpy()).tolist())
    return frame.iloc[sorted(kept)]


def _to_json(frame) -> str:
    plain = {}
    for name in frame.columns:
        column = frame[name]
        kind = {"dtype": "category" if column.dtype.name == "category" else column.dtype.kind}
        if kind["dtype"] == "category":
            kind |= {"levels": column.cat.categories.tolist(), "ordered": bool(column.cat.ordered)}
        plain[str(name)] = kind | {"values": column.tolist()}
    return json.dumps({"length": len(frame), "columns": plain}, default=str)


def _from_json(text: str):
    import pandas as pd

    plain, columns = json.loads(text), {}
    for name, column in plain["columns"].items():
        if column["dtype"] == "category":
            columns[name] = pd.Categorical(column["values"], column["levels"], ordered=column["ordered"])
        elif column["dtype"] in "biuf":
            columns[name] = np.array(column["values"], dtype={"b": bool, "f": float}.get(column["dtype"], int))
        else:
            columns[name] = pd.Series(column["values"], dtype=object)
    return pd.DataFrame(columns, index=range(plain["length"]))


# -- checks --------------------------------------------------------------------------------------------------------------
def _named(frame, named: bool):
    if not named:
        raise ValueError(
            "the data have no names of columns, which a formula needs; pass a pandas or polars frame, an xarray Dataset or a "
            "dict of columns."
        )
    return frame


def _check_there(formula: str, names, frame) -> None:
    columns = [str(name) for name in frame.columns]
    absent = [name for name in names if name not in columns]
    if absent:
        lower = {name.lower(): name for name in columns}
        near = difflib.get_close_matches(absent[0].lower(), lower, 1)
        hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
        raise ValueError(
            f"the formula {formula!r} uses {', '.join(map(repr, absent))}, but the data have the columns "
            f"{', '.join(map(repr, columns[:12]))}{', ...' if len(columns) > 12 else ''}.{hint}"
        )


def _check_complete(frame) -> None:
    for name in frame.columns:
        rows = np.flatnonzero(frame[name].isna().to_numpy())
        if rows.size:
            first = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            raise ValueError(
                f"the covariate {name} must be known in every row, but it is missing in {len(rows)} of {len(frame)} rows, "
                f"counted from 0: {first}. Fill these cells in, or drop the rows."
            )


def _check_finite(matrix: np.ndarray, design: Design) -> None:
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        row, j = (int(i) for i in bad[0])
        raise ValueError(
            f"the term {design.labels[j]} of {design.formula!r} is {matrix[row, j]} in row {row}, counted from 0, and not "
            f"finite in {len(np.unique(bad[:, 0]))} of {len(matrix)} rows; look for logarithms of zero or divisions."
        )
