r"""Passes of regressions: the log density of a response given a linear predictor of each row and component.

.. math:: \log p(y_n \mid \eta_{nk}, \phi_k), \qquad \eta_{nk} = o_n + \sum_j q_{nj} \theta_{kj}

The density is traced in y, eta and phi alone (`bayesmix.expressions`), so that one pass is compiled for a family and a link,
whatever the covariates; its loops run over the columns q of the design. A prepared row holds what the density reads of y,
the offset o, and q. The gradient in theta is the sum of r d log p / d eta times q, the Hessian that of r d^2 log p / d eta^2
times q q' (McCullagh & Nelder 1989, sec. 2.5, with the observed curvature).

The functions of the module are those of `bayesmix.likelihood.generate`; parameters are (phi, theta), (K, M + P).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..expressions import Expression, _node, column, constant, derivative, evaluate, parameter
from . import kernel, special
from .generate import (
    _CLIMB,
    _HEAD,
    _SYMMETRIC,
    Written,
    _Block,
    _frontier,
    _is_data,
    _is_parameters,
    _Kind,
)

PREDICTOR = _node("predictor", (), True, True)


@dataclass(frozen=True, eq=False)
class Predicted(Written):
    """Log density of a response given its linear predictor, traced, with its derivatives.

    Attributes
    ----------
    density : Expression
        In ``column(0)``, `PREDICTOR` and ``parameter(0)``, ...: the further parameters phi.
    n_further : int
        Their number M.
    spread : Expression or None
        Width of a component, in phi alone; None where it cannot collapse.
    """

    density: Expression
    n_further: int
    spread: Expression | None = None

    @property
    def spreads(self) -> tuple:
        """The one spread, as other formulas have them."""
        return (self.spread,)

    @functools.cached_property
    def kind(self) -> "_Response":
        """What the module is written from."""
        return _Response(self)

    def prepare(self, y: np.ndarray, offset: np.ndarray, design: np.ndarray) -> np.ndarray:
        """Rows as the pass reads them: y (obs,), offset (obs,), design (obs, P)."""
        own = evaluate(list(self.kind.of_response), [y], [])
        columns = [np.broadcast_to(value, len(y)) for value in (*own, offset)]
        return np.ascontiguousarray(np.concatenate([np.stack(columns, axis=1), design], axis=1), dtype=float)

    @functools.cached_property
    def source(self) -> str:
        """The module."""
        return _module(self.kind)


def trace(density: Callable, names: list[str]) -> Expression:
    """The log density as an expression: ``density(y, eta, further parameters)`` is called with symbols."""
    return constant(density(column(0), PREDICTOR, {name: parameter(i) for i, name in enumerate(names)}))


# -- writing -----------------------------------------------------------------------------------------------------------
class _Response(_Kind):
    """Source for components with a linear predictor, which stands where a further column of the row would."""

    def __init__(self, formula: Predicted):
        self.density, self.spread, self.m = formula.density, formula.spread, formula.n_further
        wanted = [PREDICTOR, *(parameter(i) for i in range(self.m))]
        self.gradient = tuple(derivative(self.density, one) for one in wanted)
        self.hessian = {}
        for i, slope in enumerate(self.gradient):
            for j in range(i + 1):
                bend = derivative(slope, wanted[j])
                if bend is not constant(0.0):
                    self.hessian[i, j] = bend
        nodes = [self.density, *self.gradient, *self.hessian.values()]
        self.of_response = tuple(_frontier(nodes, _is_data))
        self.columns = (*self.of_response, PREDICTOR)
        self.constants = _frontier(nodes, _is_parameters)

    def _loop(self, nodes, after):
        last = len(self.of_response)
        lines = super()._loop(nodes, after)
        return [line.replace(f"x{last} = x[start + i, {last}]", f"x{last} = eta[k, i]") for line in lines]

    def sums(self, order: int, responsibility: str) -> list[str]:
        """Sums of r times the gradient, and with order 2 times the Hessian, added to `first` and `second`."""
        nodes, words, sums = [self.gradient[0]], ["slope[i] = w * {} if w > 0.0 else 0.0"], {}
        for q in range(self.m):
            sums[f"first[k, {q}]"] = self.gradient[1 + q]
        crossed = []  # further parameters whose derivative changes with the predictor
        if order == 2:
            for (i, j), node in self.hessian.items():
                if i > 0 and j > 0:
                    sums[f"second[k, {i - 1}, {j - 1}]"] = node
                else:
                    nodes.append(node)
                    words.append(f"bend[{i}, i] = w * {{}} if w > 0.0 else 0.0")
                    crossed += [i - 1] if i > 0 else []
        words += [f"s{m} += w * {{}} if w > 0.0 else 0.0" for m in range(len(sums))]

        def after(names):
            return [f"w = {responsibility}", *(word.format(n) for word, n in zip(words, names, strict=True))]

        lines = [f"s{m} = 0.0" for m in range(len(sums))]
        lines += self._loop([*nodes, *sums.values()], after)
        lines += [f"{target} += s{m}" for m, target in enumerate(sums)]
        curved = order == 2 and (0, 0) in self.hessian
        lines += ["for j in range(p):", *_dot(f"first[k, {self.m} + j]", "slope[i] * columns[j, i]", 1)]
        for q in crossed:
            lines += _dot(f"second[k, {self.m} + j, {q}]", f"bend[{q + 1}, i] * columns[j, i]", 1)
        if curved:
            lines += [
                "    for i in range(rows):",
                "        product[i] = bend[0, i] * columns[j, i]",
                "    for l in range(j + 1):",
                *_dot(f"second[k, {self.m} + j, {self.m} + l]", "product[i] * columns[l, i]", 2),
            ]
        return lines

    def scores(self):
        """The gradient at each row."""
        words = ["slope[i] = {}", *(f"scores[k, {q}, i] = {{}}" for q in range(self.m))]
        lines = self._loop(list(self.gradient), lambda names: [w.format(n) for w, n in zip(words, names, strict=True)])
        return [
            *lines,
            "for j in range(p):",
            "    for i in range(rows):",
            f"        scores[k, {self.m} + j, i] = slope[i] * columns[j, i]",
        ]

    def predictor(self) -> list[str]:
        """The predictor of each row, of component k."""
        return [
            "for i in range(rows):",
            f"    eta[k, i] = x[start + i, {len(self.of_response)}]",
            "for j in range(p):",
            f"    c = a[k, {self.m} + j]",
            "    for i in range(rows):",
            "        eta[k, i] += c * columns[j, i]",
        ]


def _dot(target, term, depth):
    indent = "    " * depth
    return [f"{indent}s = 0.0", f"{indent}for i in range(rows):", f"{indent}    s += {term}", f"{indent}{target} += s"]


_ROOM = """
    p = a.shape[1] - {m}
    columns, eta = np.empty((p, {size})), np.empty((n_components, {size}))
    slope, product, bend = np.empty({size}), np.empty({size}), np.empty(({m} + 1, {size}))
    constants = np.empty((n_components, {n_constants}))
    for k in range(n_components):
{prepare:2}"""

_COLUMNS = """for i in range(rows):
            for j in range(p):
                columns[j, i] = x[start + i, {first_column} + j]"""

_PASS = """

@_compiled
def {name}(x, row_weights, log_weights, a, b):
    n_obs, n_components = x.shape[0], log_weights.shape[0]{room}
    joint = np.empty((n_components, BLOCK))
    largest, total = np.empty(BLOCK), np.empty(BLOCK)
    n, first, second = np.zeros(n_components), np.zeros((n_components, a.shape[1])), np.zeros({shape})
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        {columns}
        for k in range(n_components):
            weight = log_weights[k]
{predictor:3}
{density:3}
        log_likelihood += softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s = 0.0
            for i in range(rows):
                s += joint[k, i]
            n[k] += s
{sums:3}
{symmetric}
    return log_likelihood, n, first, second
"""

_COMPLETE = """

@_compiled
def complete(x, responsibilities, a):
    n_components, start, rows = a.shape[0], 0, x.shape[0]{room}
    if rows > 0:
        {columns}
    joint = np.empty(rows)
    value = np.zeros(n_components)
    first, second = np.zeros((n_components, a.shape[1])), np.zeros((n_components, a.shape[1], a.shape[1]))
    for k in range(n_components):
{predictor:2}
{density:2}
        s = 0.0
        for i in range(rows):
            s += responsibilities[i, k] * joint[i] if responsibilities[i, k] > 0.0 else 0.0
        value[k] = s
{sums:2}
{symmetric}
    return value, first, second
"""

_POINTWISE = """

@_compiled
def pointwise(x, a):
    n_components, start, rows = a.shape[0], 0, x.shape[0]{room}
    if rows > 0:
        {columns}
    log_density, scores = np.empty((n_components, rows)), np.zeros((n_components, a.shape[1], rows))
    for k in range(n_components):
{predictor:2}
{density:2}
{scores:2}
    return log_density, scores
"""


def _module(kind: _Response) -> str:
    prepare = _Block([kind], lambda kind: kind.prepare() or ["pass"])
    numbers: dict[str, Any] = {"m": kind.m, "n_constants": max(1, len(kind.constants)), "prepare": prepare}
    in_blocks, at_once = _ROOM.format(size="BLOCK", **numbers), _ROOM.format(size="rows", **numbers)
    every: dict[str, Any] = {
        "columns": _COLUMNS.format(first_column=len(kind.of_response) + 1),
        "predictor": _Block([kind], lambda _: kind.predictor()),
    }
    symmetric = _SYMMETRIC.format(p="a.shape[1]")
    in_block = {"density": _Block([kind], lambda kind: kind.densities("joint[k, i]", "weight")), "room": in_blocks}
    sums = [_Block([kind], lambda kind, order=order: kind.sums(order, "joint[k, i]")) for order in (1, 2)]
    square = "(n_components, a.shape[1], a.shape[1])"
    parts = [
        _HEAD.format(version=f"{kernel.VERSION}.{special.VERSION}", kinds=(0,)),
        _PASS.format(name="first", shape="(n_components, 0, 0)", sums=sums[0], symmetric="", **every, **in_block),
        _PASS.format(name="second", shape=square, sums=sums[1], symmetric=symmetric, **every, **in_block),
        _COMPLETE.format(
            density=_Block([kind], lambda kind: kind.densities("joint[i]", "0.0")),
            sums=_Block([kind], lambda kind: kind.sums(2, "responsibilities[i, k]")),
            symmetric=symmetric,
            room=at_once,
            **every,
        ),
        _POINTWISE.format(
            density=_Block([kind], lambda kind: kind.densities("log_density[k, i]", "0.0")),
            scores=_Block([kind], lambda kind: kind.scores()),
            room=at_once,
            **every,
        ),
        _CLIMB.format(
            p="a.shape[1]",
            guard=_Block([kind], lambda kind: kind.guard()),
            width=_Block([kind], lambda kind: kind.width()),
        ),
    ]
    return "".join(parts)
