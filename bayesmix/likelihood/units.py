r"""The likelihood where rows share components, or come from known ones: every pass, with units in place of rows.

A unit g, a row or a group of rows, comes from one component,

.. math:: L = \sum_g w_g \log \sum_{k \in C_g} \pi_k \prod_{n \in g} p(x_n \mid \theta_k),

where C_g holds all components, or the one that is known. Given that, its rows are like any others: their responsibilities
are the unit's, and the statistics sums over rows. So a pass over units is the pass of the family, whatever it is, with its
rows read unit by unit and another way from log densities to responsibilities. It is written from the source of that pass,
and takes an array (obs, 3) in place of row weights: weight, unit and known component of each row, units in order.

Blocks hold whole units. A unit that is longer than a block is read twice: first its densities are summed, then its
statistics, with responsibilities that are known by then.
"""

import functools
import hashlib
import inspect
import re
from pathlib import Path

import numba
import numpy as np

from ..arrays import Data
from ..components.base import Rows
from . import formula, kernel
from .generate import PREFIX, _load, functions_of, kernel_of, score_of
from .kernel import _FAST, BLOCK, _softmax_block

VERSION = 2  # raise with every change of the compiled functions here
WHOLE, SUMMED, KNOWN = range(3)  # what a block holds: units, or rows of a long one whose densities are summed, or were

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)


# -- in the pass -------------------------------------------------------------------------------------------------------
@_compiled
def next_block(units, state):
    """Go on to the next block: state holds its first row, number of rows and kind, and the ends of a long unit."""
    at, n_obs = state[0] + state[1], units.shape[0]
    if state[2] == SUMMED and at == state[4]:
        at, state[2] = state[3], KNOWN
    elif state[2] == KNOWN and at == state[4]:
        state[2] = WHOLE
    if state[2] == WHOLE:
        if at >= n_obs:
            return False
        end = min(at + BLOCK, n_obs)
        if end < n_obs:
            cut = units[end, 1]
            while end > at and units[end - 1, 1] == cut:
                end -= 1
        if end == at:  # longer than a block
            stop = at + BLOCK
            while stop < n_obs and units[stop, 1] == units[at, 1]:
                stop += 1
            state[2], state[3], state[4] = SUMMED, at, stop
    if state[2] != WHOLE:
        end = min(at + BLOCK, state[4])
    state[0], state[1] = at, end - at
    return True


@_compiled
def _shares(own):
    """Turn log joint densities (K,) into shares that sum to one, in place; return the logarithm of their sum."""
    largest = own[0]
    for k in range(1, own.shape[0]):
        largest = max(largest, own[k])
    if largest == -np.inf:
        for k in range(own.shape[0]):
            own[k] = 0.0
        return -np.inf
    total = 0.0
    for k in range(own.shape[0]):
        own[k] = np.exp(own[k] - largest)
        total += own[k]
    for k in range(own.shape[0]):
        own[k] /= total
    return largest + np.log(total)


@_compiled
def _single(units, start, rows):
    """Is every row of a block a unit by itself?"""
    same = 0
    for i in range(1, rows):
        same += units[start + i, 1] == units[start + i - 1, 1]
    return same == 0


@_compiled
def _allocate_rows(joint, units, log_weights, start, rows, members):
    """The same for units of one row each, as in passes over rows."""
    largest, total, weights = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for i in range(rows):
        weights[i] = units[start + i, 0]
    for k in range(joint.shape[0]):
        for i in range(rows):
            joint[k, i] += log_weights[k]
    log_likelihood = _softmax_block(joint, largest, total, weights, 0, rows)
    for k in range(joint.shape[0]):
        s = 0.0
        for i in range(rows):
            s += joint[k, i]
        members[k] += s
    return log_likelihood


@_compiled
def allocate_units(joint, units, log_weights, state, own, members):
    """Turn log densities (K, BLOCK) of a block into weighted responsibilities, in place; return its log-likelihood.

    Rows of a long unit get none until its last one has been read. members (K,) gains the units of each component.
    """
    n_components, start, rows = joint.shape[0], state[0], state[1]
    if state[2] == KNOWN:
        for k in range(n_components):
            for i in range(rows):
                joint[k, i] = own[k]
        return 0.0
    for i in range(rows):
        known = units[start + i, 2]
        if known >= 0.0:
            for k in range(n_components):
                if k != known:
                    joint[k, i] = -np.inf
    if state[2] == WHOLE and _single(units, start, rows):
        return _allocate_rows(joint, units, log_weights, start, rows, members)
    log_likelihood, begin = 0.0, 0
    while begin < rows:
        stop, w = begin + 1, units[start + begin, 0]
        while stop < rows and units[start + stop, 1] == units[start + begin, 1]:
            stop += 1
        goes_on = state[2] == SUMMED and start > state[3]
        for k in range(n_components):
            s = own[k] if goes_on else log_weights[k]
            for i in range(begin, stop):
                s += joint[k, i]
            own[k] = s
        ended = state[2] == WHOLE or start + rows == state[4]
        if ended:
            value = _shares(own)
            if w > 0.0:
                if value == -np.inf:
                    return value
                log_likelihood += w * value
            for k in range(n_components):
                own[k] *= w
                members[k] += own[k]
        for k in range(n_components):
            share = own[k] if state[2] == WHOLE else 0.0
            for i in range(begin, stop):
                joint[k, i] = share
        begin = stop
    return log_likelihood


# -- writing -----------------------------------------------------------------------------------------------------------
_IMPORTS = "from bayesmix.likelihood.units import allocate_units, next_block  # version {version}\n"
_LOOP = re.compile(r"^( +)for start in range\(0, (?:n_obs|x\.shape\[0\]), BLOCK\):\n +rows = min\(BLOCK, .*\)\n", re.M)
_SOFTMAX = re.compile(r"_?softmax_block\(joint, largest, total, row_weights, start, rows\)")
_RETURN = re.compile(r"^( +return log_likelihood, n, first, second)$", re.M)
_FIRST_LINE = "    n_obs, n_components = x.shape[0], log_weights.shape[0]\n"


def _by_units(source: str) -> str | None:
    """The source of passes, made to read units; None if it is not built in the way that is known here."""
    passes = len(_SOFTMAX.findall(source))
    if not passes or len(_LOOP.findall(source)) != passes:
        return None
    source = _SOFTMAX.sub("allocate_units(joint, row_weights, of_units, state, own, members)", source)
    source = _LOOP.sub(r"\1while next_block(row_weights, state):\n\1    start, rows = state[0], state[1]\n", source)
    source = _RETURN.sub(r"\1, members", source)
    begin = re.compile(r"^(def \w+\(x, row_weights, log_weights, .*\):\n(?:    \"\"\"(?:.|\n)*?\"\"\"\n)?)", re.M)
    further = (
        "    of_units, log_weights = log_weights, np.zeros_like(log_weights)\n"
        "    own, members = np.zeros_like(of_units), np.zeros_like(of_units)\n"
        "    state = np.zeros(5, dtype=np.int64)\n"
    )
    return begin.sub(lambda match: match.group(1) + further, source)


@functools.cache
def kernel_of_units(name: str, n_features: int) -> str:
    """Name of the pass over units that does what the pass of this name does over rows.

    Raises
    ------
    ValueError
        If that pass cannot be made to read units.
    """
    if name.startswith(PREFIX):
        text = _by_units(Path(str(functions_of(name).__file__)).read_text())
        source = (
            None if text is None else text.replace("import numpy as np\n", f"import numpy as np\n\n{_imports()}", 1)
        )
    elif name == "full_missing":
        source = _full_missing(n_features)
    else:
        source = _from_function(name)
    if source is None:
        raise ValueError(
            f"the pass {name} takes neither groups nor known labels where cells are missing; leave out the rows that miss cells, "
            "or groups and labels."
        )
    made = PREFIX + hashlib.sha256(source.encode()).hexdigest()[:24]
    _load(made, source)
    return made


def is_of_units(name: str) -> bool:
    """Does the pass of this name read units?"""
    return name.startswith(PREFIX) and hasattr(functions_of(name), "allocate_units")


def _imports():
    return _IMPORTS.format(version=f"{VERSION}.{kernel.VERSION}")


def _from_function(name: str) -> str | None:
    """A module with the pass of a function that is written out elsewhere in the package."""
    function, score = (getattr(found, "py_func", found) for found in (kernel_of(name), score_of(name)))
    source = inspect.getsource(function)
    body = _by_units(re.sub(r"^@.*\n", "", source, flags=re.M))
    if body is None:
        return None
    used = [word for word in function.__globals__ if re.search(rf"\b{word}\b", body) and not word.startswith("__")]
    used = sorted(set(used) - {"np", "numba", name})
    return (
        f'"""Written by bayesmix.likelihood.units."""\n\nimport numpy as np\n\n{_imports()}'
        f"from {function.__module__} import _compiled, {', '.join(used)}\n"
        f"from {score.__module__} import {score.__name__} as score\n\n\n@_compiled\n{body}\n\nfirst = second = {name}\n"
    )


def _full_missing(n_features: int) -> str:
    """Normal columns with missing cells: as the one part of a product, in the shapes of the family itself."""
    from .joined import Joined, Segment

    d = n_features
    source = _by_units(Joined((Segment("full", d, missing=True),)).source)
    assert source is not None
    source = re.sub(r"(def (?:first|second)\(.*\):\n)", rf"\1    b = b.reshape((b.shape[0], {d * d}))\n", source)
    source = _RETURN_OF_UNITS.sub(
        rf"\1log_likelihood, n, first, second.reshape((second.shape[0], {d}, {d})), members", source
    )
    source = source[: source.index("@_compiled\ndef score")]
    source = source.replace("import numpy as np\n", f"import numpy as np\n\n{_imports()}", 1)
    return f"{source}from bayesmix.likelihood.kernel import full_score as score\n"


_RETURN_OF_UNITS = re.compile(r"^( +return )log_likelihood, n, first, second, members$", re.M)


# -- rows --------------------------------------------------------------------------------------------------------------
def rows_of_units(component, data: Data) -> Rows:
    """The data as the pass over units reads them: every row by itself, units in order."""
    units = data.units
    order = np.argsort(units.group, kind="stable")
    if data.missing:  # within a unit, rows in which the same cells are missing stand together
        order = np.lexsort([*np.isnan(data.values).T, units.group])
    data = data.take(order)
    weights = np.ones(data.n_obs) if data.weights is None else data.weights
    columns = np.stack([weights, data.units.group, data.units.known], axis=1).astype(float)
    return Rows(_columns(component, data), columns, component.rows(data).log_base_measure)


def parts_of_units(columns: np.ndarray, parts: tuple[slice, ...]) -> list[slice]:
    """Parts of the rows, moved so that each begins with a unit; columns (obs, 3) as the pass reads them."""
    group = columns[:, 1]
    edges = [0, *(int(np.searchsorted(group, group[part.start])) for part in parts[1:]), len(group)]
    return [slice(i, j) for i, j in zip(edges, edges[1:], strict=False)]


def some_rows(data: Data, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of at most `n_rows` random rows, in whole units; at least one. Those of known component, if few, are all there."""
    units = data.units
    if units is None:
        return np.sort(rng.choice(data.n_obs, n_rows, replace=False))
    first = units.first_rows
    place = np.unique(units.group, return_inverse=True)[1].ravel()
    sizes, order = np.bincount(place), rng.permutation(len(first))
    labelled = units.known[first] >= 0
    if sizes[labelled].sum() <= n_rows // 2:
        order = np.concatenate([order[labelled[order]], order[~labelled[order]]])
    kept = order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), n_rows, side="right")))]
    return np.flatnonzero(np.isin(place, kept))


def shared(responsibilities: np.ndarray, units) -> np.ndarray:
    """Responsibilities (obs, cluster) as units have them: the mean over their rows, or 1 for a component that is known."""
    if units is None:
        return responsibilities
    found = np.array(responsibilities, dtype=float)
    if units.grouped:
        place, counts = np.unique(units.group, return_inverse=True, return_counts=True)[1:]
        sums = np.zeros((len(counts), found.shape[1]))
        np.add.at(sums, place.ravel(), found)
        found = (sums / counts[:, None])[place.ravel()]
    labelled = units.known >= 0
    if labelled.any():
        found[labelled] = units.known[labelled, None] == np.arange(found.shape[1])
    return found


def named(responsibilities: np.ndarray, units) -> np.ndarray:
    """Responsibilities (obs, cluster) whose columns are put in the order that agrees best with the components that are known."""
    if units is None or not len(units.labelled):
        return responsibilities
    from scipy.optimize import linear_sum_assignment

    labelled = units.known >= 0
    wanted = (units.known[labelled, None] == np.arange(responsibilities.shape[1])).astype(float)
    return responsibilities[:, linear_sum_assignment(-wanted.T @ responsibilities[labelled])[1]]


def _columns(component, data: Data) -> np.ndarray:
    """What the pass reads of each row, in their order: families sort rows, or put those together that are the same.

    Weights that tell the rows apart show where each went.
    """
    marks = np.arange(1.0, data.n_obs + 1.0)
    found = component.rows(data.reweighted(marks))
    if len(found.x) == data.n_obs and np.array_equal(np.sort(found.weights), marks):
        return np.ascontiguousarray(found.x[np.argsort(found.weights, kind="stable")])
    family = getattr(component, "free", component)  # of one with parameters that are known or shared
    if family.numeric:
        return family.formula.prepare(data.values)
    return np.ascontiguousarray(family.statistics(data.values), dtype=float)


# -- the formula -------------------------------------------------------------------------------------------------------
def by_unit(log_density: np.ndarray, log_weights, units) -> tuple[np.ndarray, np.ndarray]:
    """Log joint density of units (..., unit, cluster) from that of rows (..., obs, cluster), and each row's unit (obs,)."""
    _, place = np.unique(units.group, return_inverse=True)
    place = place.ravel()
    masked = np.where(units.excluded(log_density.shape[-1]), -np.inf, log_density)
    order = np.argsort(place, kind="stable")
    first = np.flatnonzero(np.diff(place[order], prepend=-1))
    return np.add.reduceat(masked[..., order, :], first, axis=-2) + log_weights, place


def responsibilities(component, data: Data, log_weights, params: dict, rows=None) -> np.ndarray:
    """Responsibilities (..., obs, cluster) of all rows, or of those at some positions, each from all of its unit."""
    rows = np.arange(data.n_obs) if rows is None else np.arange(data.n_obs)[rows]
    units = data.units
    if units is None:
        return formula.responsibilities(component, data.values[rows], log_weights, params)
    needed = rows
    if units.grouped and len(rows) < data.n_obs:
        needed = np.flatnonzero(np.isin(units.group, units.group[rows]))
    part = units.take(needed)
    joint, place = by_unit(formula.log_density(component, data.values[needed], params), log_weights, part)
    shares = formula.namespace(joint).softmax(joint, axis=-1)
    where = np.searchsorted(np.unique(part.group), units.group[rows]) if units.grouped else place
    return shares[..., where, :]


def n_needed(data: Data, rows) -> int:
    """How many rows it takes to know the responsibilities of those at some positions."""
    rows = np.arange(data.n_obs)[rows]
    if data.units is None or not data.units.grouped:
        return len(rows)
    return int(np.isin(data.units.group, data.units.group[rows]).sum())


def log_likelihood(component, data: Data, log_weights, params: dict) -> np.ndarray:
    """Log-likelihood of each unit, without weights: (..., unit)."""
    joint, _ = by_unit(formula.log_density(component, data.values, params), log_weights, data.units)
    return formula.namespace(joint).logsumexp(joint, axis=-1)
