"""Fused passes written from formulas: a density that was traced becomes compiled code, with its derivatives.

A `Formula` holds what a row's log density is, as an expression in columns of the row and parameters of the component
(`bayesmix.expressions`). From it a module is written with the functions that every engine needs, for one component
after the other in blocks of rows, nothing of size obs x component being kept:

==============  ====================================================================================================
``first``       the pass: log-likelihood, n, and the expected gradient in the parameters, sum_n w r d log p, (K, P)
``second``      the same, and the expected Hessian, (K, P, P)
``complete``    for given responsibilities: expected log density of each component, its gradient and its Hessian
``pointwise``   log density (K, obs) and its gradient (K, P, obs) at each row, for the observed information
``guard``       the guard on components of these parameters, its gradient and its Hessian; ``widths``: their spreads
==============  ====================================================================================================

What depends on parameters alone is computed once a pass; what depends on data alone becomes a column of the prepared
rows, once for all passes. So an exponential family costs a sum of products per row, as its statistics would.

The module is kept, under a name made of its contents, beside Numba's cache of the machine code: the next process
compiles nothing.
"""

import functools
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..expressions import (
    INCOMPLETE_BETA,
    INCOMPLETE_GAMMA,
    Expression,
    Row,
    column,
    constant,
    derivative,
    evaluate,
    in_order,
    make,
    negative,
    parameter,
)
from . import deconvolution, kernel, special, student

PREFIX = "formula_"
_SOURCES: dict[str, str] = {}  # of modules whose name was asked for, which may be before their functions are
_KERNELS = kernel.KERNELS | student.KERNELS | deconvolution.KERNELS
_SCORES = kernel.SCORES | student.SCORES | deconvolution.SCORES
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "lt": "<", "le": "<=", "eq": "=="}
_CALLS = {
    "exp": "math.exp", "expm1": "math.expm1", "log": "math.log", "log1p": "math.log1p", "sqrt": "math.sqrt",
    "sin": "math.sin", "cos": "math.cos", "abs": "abs", "floor": "math.floor", "isnan": "math.isnan",
    "gammaln": "math.lgamma", "digamma": "digamma", "trigamma": "trigamma", "log_ndtr": "log_ndtr",
    "log_i0e": "log_i0e", "bessel_ratio": "bessel_ratio",
} | {name: name for name in (*INCOMPLETE_GAMMA, *INCOMPLETE_BETA)}  # fmt: skip


# -- what is known of a density ------------------------------------------------------------------------------------------
class Written(ABC):
    """A module of compiled functions that is written from what an object holds, and kept under a name made of its text."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The module."""

    @functools.cached_property
    def name(self) -> str:
        """Name of the module: the same for the same text in every process. `functions_of` finds it by its name from now on."""
        name = PREFIX + hashlib.sha256(self.source.encode()).hexdigest()[:24]
        _SOURCES[name] = self.source
        return name

    @functools.cached_property
    def functions(self) -> Any:
        """The module, loaded: its functions compile when they are first called, or come from Numba's cache."""
        return _load(self.name, self.source)


@dataclass(frozen=True, eq=False)
class Formula(Written):
    """Log densities of a row under each kind of component, traced, with their derivatives.

    Attributes
    ----------
    densities : tuple of Expression
        One for each kind of component.
    kinds : tuple of int, or None
        The kind of each component; None if all are of the only kind, whatever their number.
    n_parameters : int
        Parameters P of a component; kinds with fewer do not use the last ones.
    spreads : tuple of Expression or None
        Width of a component of each kind, in parameters alone; None where it cannot collapse.
    """

    densities: tuple[Expression, ...]
    n_parameters: int
    kinds: tuple[int, ...] | None = None
    spreads: tuple[Expression | None, ...] = (None,)

    @functools.cached_property
    def gradients(self) -> tuple[tuple[Expression, ...], ...]:
        """First derivatives in the parameters, (P,) for each kind."""
        wanted = [parameter(i) for i in range(self.n_parameters)]
        return tuple(tuple(derivative(density, p) for p in wanted) for density in self.densities)

    @functools.cached_property
    def hessians(self) -> tuple[dict[tuple[int, int], Expression], ...]:
        """Second derivatives that are not zero everywhere, by (i, j) with i >= j, for each kind."""
        every = []
        for gradient in self.gradients:
            found = {}
            for i, slope in enumerate(gradient):
                for j in range(i + 1):
                    bend = derivative(slope, parameter(j))
                    if bend is not constant(0.0):
                        found[i, j] = bend
            every.append(found)
        return tuple(every)

    @functools.cached_property
    def columns(self) -> tuple[Expression, ...]:
        """What the pass reads of a row: columns, and everything that depends on data alone and is not a number."""
        nodes = list(self.densities)
        for gradient, hessian in zip(self.gradients, self.hessians, strict=True):
            nodes += [*gradient, *hessian.values()]
        return tuple(_frontier(nodes, _is_data))

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Rows as the pass reads them: x (obs, column) -> (obs, column of the pass)."""
        values = evaluate(list(self.columns), [x[:, j] for j in range(x.shape[1])], [])
        if not values:
            return np.zeros((len(x), 1))
        return np.ascontiguousarray(np.stack([np.broadcast_to(v, len(x)) for v in values], axis=1), dtype=float)

    @functools.cached_property
    def source(self) -> str:
        """The module."""
        return _module(self)


def trace(density: Callable, names: list[str], n_columns: int = 1) -> Expression:
    """The log density of one row as an expression: ``density(x, params)`` is called with symbols."""
    x: Any = column(0) if n_columns == 1 else Row(column(j) for j in range(n_columns))
    return constant(density(x, {name: parameter(i) for i, name in enumerate(names)}))


# -- writing -----------------------------------------------------------------------------------------------------------
class _Writer:
    """Statements for expressions, each node once; `known` maps ids of nodes to names of what is there already."""

    def __init__(self, known: dict[int, str]):
        self.known, self.lines, self.alive = dict(known), [], []

    def __call__(self, node: Expression) -> str:
        self.alive.append(node)  # so that no other node is given its id
        for part in in_order([node], self.known):
            self.known[id(part)] = self._word(part)
        return self.known[id(node)]

    def _word(self, node):
        if node.operation == "constant":
            value = node.arguments[0]
            return repr(value) if np.isfinite(value) else {"inf": "np.inf", "-inf": "-np.inf"}.get(str(value), "np.nan")
        names = [self.known[id(a)] for a in node.arguments if isinstance(a, Expression)]
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {_statement(node, names)}")
        return name


def _truth(node, name):
    """A condition; where it is a column of the rows it was stored as 0 or 1."""
    return f"({name} != 0.0)" if _is_data(node) else name


def _statement(node, names):
    operation, arguments = node.operation, node.arguments
    if operation in _INFIX:
        return f"{names[0]} {_INFIX[operation]} {names[1]}"
    if operation == "where":
        return f"{names[1]} if {_truth(arguments[0], names[0])} else {names[2]}"
    if operation in ("and", "or"):
        return f" {operation} ".join(_truth(a, n) for a, n in zip(arguments, names, strict=True))
    if operation == "neg":
        return f"-{names[0]}"
    if operation == "not":
        return f"not {_truth(arguments[0], names[0])}"
    return f"{_CALLS[operation]}({', '.join(names)})"


_SYMBOLS = [parameter(i) for i in range(64)]  # kept alive: symbols are told by what they are
_PARAMETERS = {id(symbol): f"a[k, {i}]" for i, symbol in enumerate(_SYMBOLS)}


class _Kind:
    """Source for one kind of component: loops over rows ``start`` to ``start + rows``, of component k."""

    def __init__(self, formula: Formula, which: int):
        self.density = formula.densities[which]
        self.gradient, self.hessian = formula.gradients[which], formula.hessians[which]
        self.columns, self.spread = formula.columns, formula.spreads[which]
        self.constants = _frontier([self.density, *self.gradient, *self.hessian.values()], _is_parameters)

    def prepare(self) -> list[str]:
        """What depends on the component alone."""
        writer = _Writer(_PARAMETERS)
        words = [writer(node) for node in self.constants]
        return [*writer.lines, *(f"constants[k, {h}] = {word}" for h, word in enumerate(words))]

    def densities(self, target: str, constant: str) -> list[str]:
        """The log density of each row."""
        return self._loop([self.density], lambda words: [f"{target} = {constant} + {words[0]}"])

    def sums(self, order: int, responsibility: str) -> list[str]:
        """Sums of r times the gradient, and with order 2 times the Hessian, added to `first` and `second`."""
        targets = {f"first[k, {i}]": slope for i, slope in enumerate(self.gradient)}
        if order == 2:
            targets |= {f"second[k, {i}, {j}]": bend for (i, j), bend in self.hessian.items()}
        targets = {target: node for target, node in targets.items() if node is not constant(0.0)}

        def after(words):
            return [f"w = {responsibility}", *(f"s{m} += w * {t} if w > 0.0 else 0.0" for m, t in enumerate(words))]

        before = [f"s{m} = 0.0" for m in range(len(targets))]
        loop = self._loop(list(targets.values()), after)
        return [*before, *loop, *(f"{target} += s{m}" for m, target in enumerate(targets))] if targets else ["pass"]

    def width(self) -> list[str]:
        """The spread of component k; 1 where it cannot collapse."""
        if self.spread is None:
            return ["width[k] = 1.0"]
        writer = _Writer(_PARAMETERS)
        word = writer(self.spread)
        return [*writer.lines, f"width[k] = {word}"]

    def guard(self) -> list[str]:
        """The guard on component k, rows of normal noise as wide as it: n (-log s) - square / (2 s^2)."""
        if self.spread is None:
            return ["pass"]
        s = self.spread
        p = len(self.gradient)
        writer, lines = _Writer(_PARAMETERS), []
        for weight, part in (("n", negative(make("log", s))), ("square", -0.5 / (s * s))):
            slopes = [derivative(part, parameter(i)) for i in range(p)]
            bends = {(i, j): derivative(slopes[i], parameter(j)) for i in range(p) for j in range(p)}
            lines.append(f"value[k] += {weight} * {writer(part)}")
            lines += [
                f"first[k, {i}] += {weight} * {writer(v)}" for i, v in enumerate(slopes) if v is not constant(0.0)
            ]
            lines += [
                f"second[k, {i}, {j}] += {weight} * {writer(v)}"
                for (i, j), v in bends.items()
                if v is not constant(0.0)
            ]
        return [*writer.lines, *lines]

    def scores(self) -> list[str]:
        """The gradient at each row."""
        return self._loop(list(self.gradient), lambda words: [f"scores[k, {i}, i] = {t}" for i, t in enumerate(words)])

    def _loop(self, nodes, after):
        stop = {id(node): f"c{h}" for h, node in enumerate(self.constants)}
        stop |= {id(node): f"x{j}" for j, node in enumerate(self.columns)}
        used = {id(node) for node in nodes}
        used |= {id(a) for part in in_order(nodes, stop) for a in part.arguments if isinstance(a, Expression)}
        writer = _Writer(stop)
        words = [writer(node) for node in nodes]
        hoisted = [f"c{h} = constants[k, {h}]" for h, node in enumerate(self.constants) if id(node) in used]
        loaded = [f"x{j} = x[start + i, {j}]" for j, node in enumerate(self.columns) if id(node) in used]
        inside = [*loaded, *writer.lines, *after(words)]
        return [*hoisted, "for i in range(rows):", *(f"    {line}" for line in inside)]


def _frontier(nodes, wanted) -> list[Expression]:
    """The largest parts that are `wanted`, numbers and what others of them contain left out."""
    found: dict[int, Expression] = {id(node): node for node in nodes if wanted(node)}
    for node in in_order(nodes):
        if not wanted(node):
            found |= {id(a): a for a in node.arguments if isinstance(a, Expression) and wanted(a)}
    return list(found.values())


def _is_data(node: Expression) -> bool:
    return node.of_data and not node.of_parameters


def _is_parameters(node: Expression) -> bool:
    return node.of_parameters and not node.of_data


_HEAD = '''"""Written by bayesmix.likelihood.generate; passes of kernel version {version}."""

import math

import numba
import numpy as np

from bayesmix.likelihood.kernel import BLOCK, load_block, softmax_block
from bayesmix.likelihood.special import bessel_ratio, digamma, log_i0e, log_ndtr, trigamma
from bayesmix.likelihood.special import gammainc_bend, gammainc_slope, log_gammainc
from bayesmix.likelihood.special import gammaincc_bend, gammaincc_slope, log_gammaincc
from bayesmix.likelihood.special import betainc_bend_aa, betainc_bend_ab, betainc_bend_bb
from bayesmix.likelihood.special import betainc_slope_a, betainc_slope_b, log_betainc

_FAST = {{"contract", "arcp", "nsz", "reassoc", "afn"}}
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)
KINDS = {kinds!r}


@_compiled
def score(a, b, n, first, second):
    return first.copy(), np.zeros_like(b)
'''

_PASS = """

@_compiled
def {name}(x, row_weights, log_weights, a, b):
    n_obs, n_components = x.shape[0], log_weights.shape[0]
    constants = np.empty((n_components, {n_constants}))
    joint = np.empty((n_components, BLOCK))
    largest, total = np.empty(BLOCK), np.empty(BLOCK)
    n, first, second = np.zeros(n_components), np.zeros((n_components, {p})), np.zeros({shape})
    for k in range(n_components):
{prepare:2}
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        for k in range(n_components):
            weight = log_weights[k]
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
    n_components, start, rows = a.shape[0], 0, x.shape[0]
    constants = np.empty((n_components, {n_constants}))
    joint = np.empty(rows)
    value = np.zeros(n_components)
    first, second = np.zeros((n_components, {p})), np.zeros((n_components, {p}, {p}))
    for k in range(n_components):
{prepare:2}
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
    n_components, start, rows = a.shape[0], 0, x.shape[0]
    constants = np.empty((n_components, {n_constants}))
    log_density, scores = np.empty((n_components, rows)), np.zeros((n_components, {p}, rows))
    for k in range(n_components):
{prepare:2}
{density:2}
{scores:2}
    return log_density, scores
"""

_CLIMB = """

@_compiled
def guard(a, n, square):
    n_components = a.shape[0]
    value = np.zeros(n_components)
    first, second = np.zeros((n_components, {p})), np.zeros((n_components, {p}, {p}))
    if n > 0.0:
        for k in range(n_components):
{guard:3}
    return value, first, second


@_compiled
def widths(a):
    width = np.empty(a.shape[0])
    for k in range(a.shape[0]):
{width:2}
    return width
"""

_SYMMETRIC = """    for k in range(n_components):
        for i in range({p}):
            for j in range(i):
                second[k, j, i] = second[k, i, j]"""


class _Block:
    """Lines of each kind, written where a template says ``{name:depth}``."""

    def __init__(self, kinds: list[_Kind], lines: Callable[[_Kind], list[str]]):
        self.every = [lines(kind) for kind in kinds]

    def __format__(self, depth: str) -> str:
        indent = "    " * int(depth)
        if len(self.every) == 1:
            return "\n".join(indent + line for line in self.every[0])
        words = []
        for which, lines in enumerate(self.every):
            words.append(f"{indent}{'if' if which == 0 else 'elif'} KINDS[k] == {which}:")
            words += [f"{indent}    {line}" for line in lines]
        return "\n".join(words)


_AT_ROW = re.compile(r"\bx\[start \+ i, ([^\[\]]+)\]")
_ROWS = re.compile(r"^( +)rows = min\(BLOCK, n_obs - start\)\n", re.M)


def in_lines(source: str) -> str:
    """The source of a pass, made to read the columns of a block from lines that lie one behind the other."""
    source = source.replace(
        "    log_likelihood = 0.0\n", "    block = np.empty((x.shape[1], BLOCK))\n    log_likelihood = 0.0\n", 1
    )
    source = _ROWS.sub(r"\g<0>\1load_block(x, start, rows, block)\n", source)
    return _AT_ROW.sub(r"block[\1, i]", source)


def _module(formula: Formula) -> str:
    kinds = [_Kind(formula, which) for which in range(len(formula.densities))]
    p = formula.n_parameters
    shared: dict[str, Any] = {
        "p": p,
        "n_constants": max(1, *(len(kind.constants) for kind in kinds)),
        "prepare": _Block(kinds, lambda kind: kind.prepare() or ["pass"]),
    }
    in_block = {"density": _Block(kinds, lambda kind: kind.densities("joint[k, i]", "weight"))}
    symmetric = _SYMMETRIC.format(p=p)
    sums = [_Block(kinds, lambda kind, order=order: kind.sums(order, "joint[k, i]")) for order in (1, 2)]
    every = zip(
        ("first", "second"), ("(n_components, 0, 0)", f"(n_components, {p}, {p})"), sums, ("", symmetric), strict=True
    )
    passes = (
        _PASS.format(name=name, shape=shape, sums=own, symmetric=closing, **shared, **in_block)
        for name, shape, own, closing in every
    )
    parts = [
        _HEAD.format(version=f"{kernel.VERSION}.{special.VERSION}", kinds=formula.kinds or (0,)),
        *map(in_lines, passes),
        _COMPLETE.format(
            density=_Block(kinds, lambda kind: kind.densities("joint[i]", "0.0")),
            sums=_Block(kinds, lambda kind: kind.sums(2, "responsibilities[i, k]")),
            symmetric=symmetric,
            **shared,
        ),
        _POINTWISE.format(
            density=_Block(kinds, lambda kind: kind.densities("log_density[k, i]", "0.0")),
            scores=_Block(kinds, lambda kind: kind.scores()),
            **shared,
        ),
        _CLIMB.format(
            p=p, guard=_Block(kinds, lambda kind: kind.guard()), width=_Block(kinds, lambda kind: kind.width())
        ),
    ]
    return "".join(parts)


# -- keeping -----------------------------------------------------------------------------------------------------------
def _folders():
    """Where written modules may be kept: beside Numba's cache, in the user's cache, or for this process alone."""
    if "NUMBA_CACHE_DIR" in os.environ:
        yield Path(os.environ["NUMBA_CACHE_DIR"]) / "bayesmix"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    yield Path(cache) / "bayesmix"
    yield Path(tempfile.mkdtemp(prefix="bayesmix-"))


def _load(name: str, source: str):
    """The module of this name and source, written to disk if it is not there."""
    if name in sys.modules:
        return sys.modules[name]
    for folder in _folders():
        path = folder / f"{name}.py"
        try:
            if not path.exists() or path.read_text() != source:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
                    file.write(source)
                os.replace(file.name, path)  # whole at any moment, whoever else writes it
        except OSError:
            continue
        return _imported(name, path)
    raise OSError("no folder to write compiled code to; set NUMBA_CACHE_DIR to one.")


def _imported(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def functions_of(name: str):
    """The functions of a written pass by its name, in this process or, kept by another one, on disk."""
    if name in sys.modules:
        return sys.modules[name]
    if name in _SOURCES:
        return _load(name, _SOURCES[name])
    for folder in _folders():
        if (folder / f"{name}.py").exists():
            return _imported(name, folder / f"{name}.py")
    raise LookupError(f"no pass called {name} is known here; make the mixture again in this process.")


def kernel_of(name: str) -> Callable:
    """The pass of a name: one of `kernel` or `student`, or the first-order one of a formula."""
    return functions_of(name).first if name.startswith(PREFIX) else _KERNELS[name]


def score_of(name: str) -> Callable:
    """What turns the statistics of a pass into its gradient in a and b."""
    return functions_of(name).score if name.startswith(PREFIX) else _SCORES[name]
