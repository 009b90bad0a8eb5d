"""The pass of components that describe different columns side by side: the log densities of their parts add up.

Each part keeps a kernel of its own, ``diagonal``, ``full`` or ``linear`` (`bayesmix.likelihood.kernel`),
``student_diagonal`` or ``student_full`` (`bayesmix.likelihood.student`), or written from a formula
(`bayesmix.likelihood.generate`); here they are written into one pass that shares the responsibilities. The columns of the
rows, a, b, and the statistics first and second of the parts stand behind one another, flat behind the component axis.

Segments for rows with missing cells (NaN) add no log density there; `diagonal` and `full` then have what is expected of
them in `first` and `second`, as in ``diagonal_missing`` and ``full_missing``, `linear` the number of rows that are there.
"""

import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ascent, heavy_tails, kernel, patterns, special
from .generate import _HEAD, Formula, Written, _Kind, in_lines


@dataclass(frozen=True, eq=False)
class Segment:
    """The pass of one part: its kernel or formula, and how many numbers of each array are its own."""

    kernel: str
    n_columns: int
    formula: Formula | None = None
    missing: bool = False  # may cells be missing?

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of this part's columns, a, b, first and second, behind the component axis."""
        d = self.n_columns
        if self.formula is not None:
            p = self.formula.n_parameters
            return {"x": (len(self.formula.columns) or 1,), "a": (p,), "b": (0,), "first": (p,), "second": (p, p)}
        if self.kernel == "linear":
            return {"x": (d,), "a": (d,), "b": (), "first": (d,), "second": (int(self.missing),)}
        square = (d, d) if self.kernel.endswith("full") else (d,)
        if self.kernel.startswith("student"):
            return {"x": (d,), "a": (d + 1,), "b": square, "first": (d + 2,), "second": square}
        return {"x": (d,), "a": (d,), "b": square, "first": (d,), "second": square}

    @property
    def n_constants(self) -> int:
        """How many numbers are worked out for each component before all rows, by a kernel."""
        with_covariance = self.kernel == "student_full" or (self.kernel == "full" and self.missing)
        return self.n_columns**2 if with_covariance else 1


@dataclass(frozen=True, eq=False)
class Joined(Written):
    """Parts side by side, as one pass."""

    segments: tuple[Segment, ...]

    @functools.cached_property
    def slices(self) -> tuple[dict[str, slice], ...]:
        """Where each part's numbers are in the flat arrays."""
        at: dict[str, int] = dict.fromkeys(("x", "a", "b", "first", "second"), 0)
        every = []
        for segment in self.segments:
            own = {}
            for name, shape in segment.shapes.items():
                size = int(np.prod(shape, dtype=int))
                own[name] = slice(at[name], at[name] + size)
                at[name] += size
            every.append(own)
        return tuple(every)

    def sizes(self, name: str) -> int:
        """Length of one of the flat arrays."""
        return self.slices[-1][name].stop

    def flat(self, name: str, parts: list[np.ndarray]) -> np.ndarray:
        """Arrays of the parts, (cluster, ...) each, behind one another: (cluster, number)."""
        return np.concatenate([np.reshape(part, (len(part), -1)) for part in parts], axis=1)

    def split(self, name: str, values: np.ndarray) -> list[np.ndarray]:
        """Inverse of `flat`, contiguous."""
        return [
            np.ascontiguousarray(values[:, own[name]]).reshape(len(values), *segment.shapes[name])
            for segment, own in zip(self.segments, self.slices, strict=True)
        ]

    @functools.cached_property
    def source(self) -> str:
        """The module."""
        return _module(self)


# -- writing -----------------------------------------------------------------------------------------------------------
_PASS = """

@_compiled
def {name}(x, row_weights, log_weights, a, b):
    n_obs, n_components = x.shape[0], log_weights.shape[0]
    constants = np.empty((n_components, {n_constants}))
    joint, z = np.empty((n_components, BLOCK)), np.empty(BLOCK)
    largest, total = np.empty(BLOCK), np.empty(BLOCK)
    n, first, second = np.zeros(n_components), np.zeros((n_components, {first})), np.zeros((n_components, {second}))
    for k in range(n_components):
        constants[k, 0] = log_weights[k]
{prepare}
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        for k in range(n_components):
            weight = constants[k, 0]
            for i in range(rows):
                joint[k, i] = weight
{density}
        log_likelihood += softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s = 0.0
            for i in range(rows):
                s += joint[k, i]
            n[k] += s
{sums}
    return log_likelihood, n, first, second
"""

_SCORE = """

@_compiled
def score(a, b, n, first, second):
    n_components = n.shape[0]
    d_a, d_b = np.zeros_like(a), np.zeros_like(b)
    for k in range(n_components):
{score}
    return d_a, d_b
"""


@dataclass
class Lines:
    """Statements for component k: before all rows, for rows of a block, for its statistics, and for its gradient."""

    prepare: list[str]
    density: list[str]
    sums: tuple[list[str], list[str]]  # of the first order, and with Hessians
    score: list[str]
    closing: list[str]
    n_constants: int


def lines_of(joined: Joined, first_column: int = 0, first_name: int = 0) -> Lines:
    """What the pass does for one component, with its columns of the rows from `first_column` on.

    Names of variables are numbered from `first_name`, one number for each segment.
    """
    constants = 1
    prepare, density, sums1, sums2, score, closing = [], [], [], [], [], []
    for which, (segment, own) in enumerate(zip(joined.segments, joined.slices, strict=True), first_name):
        at = {name: part.start for name, part in own.items()}
        at["x"] += first_column
        closing += _symmetric(segment, own)
        if segment.formula is not None:
            kind, p = _Kind(segment.formula, 0), segment.formula.n_parameters
            moved = functools.partial(_moved, which=which, at=at | {"constants": constants}, p=p)
            prepare += moved(kind.prepare())
            density += moved(kind.densities("joint[k, i]", "joint[k, i]"))
            sums1 += moved(kind.sums(1, "joint[k, i]"))
            sums2 += [*moved(kind.sums(2, "joint[k, i]"))]
            score += [f"d_a[k, {at['a'] + i}] = first[k, {at['first'] + i}]" for i in range(p)]
            constants += len(kind.constants)
            continue
        parts = _LINES[segment.kernel, segment.missing](segment.n_columns, at, constants)
        prepare += parts[0]
        density += parts[1]
        sums1 += parts[2]
        sums2 += parts[2]
        score += parts[3]
        constants += segment.n_constants
    return Lines(prepare, density, (sums1, sums2), score, closing, constants)


def module_of(lines: Lines, sizes: dict[str, int], kinds: tuple[int, ...] = (0,)) -> str:
    """The module of a pass that does these lines for every component."""
    words: dict[str, Any] = {
        "n_constants": lines.n_constants,
        "first": sizes["first"],
        "second": sizes["second"],
        "prepare": _indented(lines.prepare, 2),
        "density": _indented(lines.density, 3),
    }
    version = f"{kernel.VERSION}.{special.VERSION}.{ascent.VERSION}"
    head = _HEAD.format(version=version, kinds=kinds)
    head = head[: head.index("@_compiled")].rstrip() + "\n"  # with a score of its own
    closing = (
        "\n".join(["    for k in range(n_components):", *(f"        {line}" for line in lines.closing)])
        if lines.closing
        else ""
    )
    first, second = (
        in_lines(_PASS.format(name=name, sums=_indented(sums, 3), **words))
        for name, sums in zip(("first", "second"), lines.sums, strict=True)
    )
    second = second.replace("    return log_likelihood, n", f"{closing}\n    return log_likelihood, n")
    body = "".join([first, second, _SCORE.format(score=_indented(lines.score, 2))])
    for module in (heavy_tails, patterns):
        if used := [name for name in module.FUNCTIONS if re.search(rf"\b{name}\(", body)]:
            place = f"{module.__name__} import {', '.join(used)}  # version {module.VERSION}.{patterns.VERSION}"
            head = head.replace("from bayesmix.likelihood.special", f"from {place}\nfrom bayesmix.likelihood.special")
    return head + body


def _module(joined: Joined) -> str:
    return module_of(lines_of(joined), {name: joined.sizes(name) for name in ("first", "second")})


def _indented(lines, depth):
    return "\n".join("    " * depth + line for line in lines)


def _moved(lines, which, at, p):
    """Lines of a formula's pass, with its own names and with its places in the flat arrays."""

    def move(name, match):
        return f"{name}[k, {int(match.group(1)) + at[name]}]"

    def move_second(match):
        return f"second[k, {at['second'] + int(match.group(1)) * p + int(match.group(2))}]"

    out = []
    for line in lines:
        line = re.sub(r"\b([tcsx])(\d+)\b", rf"\1\2_{which}", line)
        for name in ("a", "first", "constants"):
            line = re.sub(rf"\b{name}\[k, (\d+)\]", functools.partial(move, name), line)
        line = re.sub(r"\bsecond\[k, (\d+), (\d+)\]", move_second, line)
        out.append(re.sub(r"\bx\[start \+ i, (\d+)\]", lambda m: f"x[start + i, {int(m.group(1)) + at['x']}]", line))
    return out


def _symmetric(segment, own):
    """Lines that fill the upper triangles of a formula's Hessian, and of a full part's second moments."""
    if segment.formula is None and not segment.kernel.endswith("full"):
        return []
    p, begin = segment.shapes["second"][0], own["second"].start
    return [f"second[k, {begin + j * p + i}] = second[k, {begin + i * p + j}]" for i in range(p) for j in range(i)]


def _linear(d, at, constant):
    """An exponential family, eta'T - A, with 0 times -inf as 0."""
    x, a, first = at["x"], at["a"], at["first"]
    density = [
        f"base = b[k, {at['b']}]",
        "for i in range(rows):",
        "    joint[k, i] -= base",
        f"for j in range({d}):",
        f"    slope = a[k, {a} + j]",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j]",
        "        joint[k, i] += slope * t if t != 0.0 else 0.0",
    ]
    sums = [
        f"for j in range({d}):",
        "    s = 0.0",
        "    for i in range(rows):",
        f"        s += joint[k, i] * x[start + i, {x} + j]",
        f"    first[k, {first} + j] += s",
    ]
    score = [f"for j in range({d}):", f"    d_a[k, {a} + j] = first[k, {first} + j]", f"d_b[k, {at['b']}] = -n[k]"]
    return [], density, sums, score


def _linear_missing(d, at, constant):
    """The same where cells are missing; the first column says which rows are there."""
    x, a, first, second = at["x"], at["a"], at["first"], at["second"]
    density = [
        f"base = b[k, {at['b']}]",
        "for i in range(rows):",
        f"    joint[k, i] -= 0.0 if math.isnan(x[start + i, {x}]) else base",
        f"for j in range({d}):",
        f"    slope = a[k, {a} + j]",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j]",
        "        joint[k, i] += 0.0 if math.isnan(t) or t == 0.0 else slope * t",
    ]
    sums = [
        "s = 0.0",
        "for i in range(rows):",
        f"    s += 0.0 if math.isnan(x[start + i, {x}]) else joint[k, i]",
        f"second[k, {second}] += s",
        f"for j in range({d}):",
        "    s = 0.0",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j]",
        "        s += 0.0 if math.isnan(t) else joint[k, i] * t",
        f"    first[k, {first} + j] += s",
    ]
    score = [
        f"for j in range({d}):",
        f"    d_a[k, {a} + j] = first[k, {first} + j]",
        f"d_b[k, {at['b']}] = -second[k, {second}]",
    ]
    return [], density, sums, score


def _diagonal(d, at, constant):
    """Independent normal columns, mu and 1 / sigma."""
    x, a, b, first, second = at["x"], at["a"], at["b"], at["first"], at["second"]
    prepare = [
        f"s = -{d} * {kernel.HALF_LOG_2PI!r}",
        f"for j in range({d}):",
        f"    s += math.log(b[k, {b} + j])",
        f"constants[k, {constant}] = s",
    ]
    density = [
        f"base = constants[k, {constant}]",
        "for i in range(rows):",
        "    joint[k, i] += base",
        f"for j in range({d}):",
        f"    m, h = a[k, {a} + j], 0.5 * b[k, {b} + j] * b[k, {b} + j]",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j] - m",
        "        joint[k, i] -= h * t * t",
    ]
    sums = [
        f"for j in range({d}):",
        f"    m = a[k, {a} + j]",
        "    s, q = 0.0, 0.0",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j] - m",
        "        w = joint[k, i] * t",
        "        s += w",
        "        q += w * t",
        f"    first[k, {first} + j] += s",
        f"    second[k, {second} + j] += q",
    ]
    score = [
        f"for j in range({d}):",
        f"    h = b[k, {b} + j]",
        f"    d_a[k, {a} + j] = h * h * first[k, {first} + j]",
        f"    d_b[k, {b} + j] = n[k] / h - h * second[k, {second} + j]",
    ]
    return prepare, density, sums, score


def _diagonal_missing(d, at, constant):
    """The same where cells are missing."""
    x, a, b, first, second = at["x"], at["a"], at["b"], at["first"], at["second"]
    density = [
        f"for j in range({d}):",
        f"    m, h = a[k, {a} + j], 0.5 * b[k, {b} + j] * b[k, {b} + j]",
        f"    base = math.log(b[k, {b} + j]) - {kernel.HALF_LOG_2PI!r}",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j] - m",
        "        joint[k, i] += 0.0 if math.isnan(t) else base - h * t * t",
    ]
    sums = [
        f"for j in range({d}):",
        f"    m, h = a[k, {a} + j], b[k, {b} + j]",
        "    s, q, unseen = 0.0, 0.0, 0.0",
        "    for i in range(rows):",
        f"        t = x[start + i, {x} + j] - m",
        "        w = joint[k, i] * t",
        "        s += 0.0 if math.isnan(t) else w",
        "        q += 0.0 if math.isnan(t) else w * t",
        "        unseen += joint[k, i] if math.isnan(t) else 0.0",
        f"    first[k, {first} + j] += s",
        f"    second[k, {second} + j] += q + unseen / (h * h)",
    ]
    return [], density, sums, _diagonal(d, at, constant)[3]


def _full(d, at, constant):
    """Normal columns with a precision factor P, lower triangular."""
    x, a, b, first, second = at["x"], at["a"], at["b"], at["first"], at["second"]
    prepare = [
        f"s = -{d} * {kernel.HALF_LOG_2PI!r}",
        f"for j in range({d}):",
        f"    s += math.log(b[k, {b} + j * {d + 1}])",
        f"constants[k, {constant}] = s",
    ]
    density = [
        f"base = constants[k, {constant}]",
        "for i in range(rows):",
        "    joint[k, i] += base",
        f"for j in range({d}):",
        "    for i in range(rows):",
        "        z[i] = 0.0",
        "    for l in range(j + 1):",
        f"        m, h = a[k, {a} + l], b[k, {b} + j * {d} + l]",
        "        for i in range(rows):",
        f"            z[i] += h * (x[start + i, {x} + l] - m)",
        "    for i in range(rows):",
        "        joint[k, i] -= 0.5 * z[i] * z[i]",
    ]
    sums = [
        f"for j in range({d}):",
        f"    m = a[k, {a} + j]",
        "    s = 0.0",
        "    for i in range(rows):",
        f"        z[i] = joint[k, i] * (x[start + i, {x} + j] - m)",
        "        s += z[i]",
        f"    first[k, {first} + j] += s",
        "    for l in range(j + 1):",
        f"        m = a[k, {a} + l]",
        "        s = 0.0",
        "        for i in range(rows):",
        f"            s += z[i] * (x[start + i, {x} + l] - m)",
        f"        second[k, {second} + j * {d} + l] += s",
    ]
    score = [
        f"for j in range({d}):",
        "    s = 0.0",
        "    for l in range(j + 1):",
        f"        s += b[k, {b} + j * {d} + l] * first[k, {first} + l]",
        "    for l in range(j + 1):",
        f"        d_a[k, {a} + l] += b[k, {b} + j * {d} + l] * s",
        "        q = 0.0",
        "        for m in range(j + 1):",
        f"            q += b[k, {b} + j * {d} + m] * second[k, {second} + max(l, m) * {d} + min(l, m)]",
        f"        d_b[k, {b} + j * {d} + l] = -q",
        f"    d_b[k, {b} + j * {d + 1}] += n[k] / b[k, {b} + j * {d + 1}]",
    ]
    return prepare, density, sums, score


def _full_missing(d, at, constant):
    """The same where cells are missing."""
    x, a, b, first, second = at["x"], at["a"], at["b"], at["first"], at["second"]
    factor, cov = f"b[k, {b} : {b + d * d}]", f"constants[k, {constant} : {constant + d * d}]"
    shared = f"x, start, rows, {x}, {d}, a[k, {a} : {a + d}], {factor}, {cov}, joint[k]"
    prepare = [f"covariance_of_factor({factor}, {d}, {cov})"]
    density = [f"add_observed_density({shared})"]
    sums = [f"add_expected_moments({shared}, first[k, {first} : {first + d}], second[k, {second} : {second + d * d}])"]
    return prepare, density, sums, _full(d, at, constant)[3]


def _student_full(d, at, constant):
    """Columns of a t distribution, mu with nu behind it and a precision factor; cells may be missing."""
    x, a, b, first, second = at["x"], at["a"], at["b"], at["first"], at["second"]
    factor, cov = f"b[k, {b} : {b + d * d}]", f"constants[k, {constant} : {constant + d * d}]"
    shared = f"x, start, rows, {x}, {d}, a[k, {a} : {a + d + 1}], {factor}, {cov}, joint[k]"
    prepare = [f"covariance_of_factor({factor}, {d}, {cov})"]
    sums = [
        f"add_student_moments({shared}, first[k, {first} : {first + d + 2}], second[k, {second} : {second + d * d}])"
    ]
    return prepare, [f"add_student_density({shared})"], sums, [*_full(d, at, constant)[3], _slope_of_nu(d, at)]


def _student_diagonal(d, at, constant):
    """The same with 1 / sigma."""
    x, a, b, first, second = at["x"], at["a"], at["b"], at["first"], at["second"]
    shared = f"x, start, rows, {x}, {d}, a[k, {a} : {a + d + 1}], b[k, {b} : {b + d}], joint[k]"
    of_part = f"first[k, {first} : {first + d + 2}], second[k, {second} : {second + d}]"
    sums = [f"add_diagonal_student_moments({shared}, {of_part})"]
    return [], [f"add_diagonal_student_density({shared})"], sums, [*_diagonal(d, at, constant)[3], _slope_of_nu(d, at)]


def _slope_of_nu(d, at):
    return f"d_a[k, {at['a'] + d}] = first[k, {at['first'] + d}]"


_LINES = {
    ("linear", False): _linear,
    ("linear", True): _linear_missing,
    ("diagonal", False): _diagonal,
    ("diagonal", True): _diagonal_missing,
    ("full", False): _full,
    ("full", True): _full_missing,
    ("student_diagonal", False): _student_diagonal,
    ("student_diagonal", True): _student_diagonal,
    ("student_full", False): _student_full,
    ("student_full", True): _student_full,
}
