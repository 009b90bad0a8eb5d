r"""The likelihood where every row has parameters of its own: the last layer of a mixture density network.

From traced log densities (`bayesmix.expressions`) a compiled function is written that takes the outputs of a network and
returns the log-likelihood of each row and its gradient in the outputs, by Fisher's identity:

.. math:: \frac{\partial \log p(y)}{\partial a_k} = r_k - \pi_k, \qquad
          \frac{\partial \log p(y)}{\partial u_k} = r_k \frac{\partial \log p_k(y \mid u_k)}{\partial u_k},

with logits :math:`a`, weights :math:`\pi` = softmax(a), outputs :math:`u_k` of component k and responsibilities
:math:`r` (Bishop 1994). A logit of -inf is a weight of zero, and its gradient is zero.
"""

import functools
from dataclasses import dataclass

import numpy as np

from ..expressions import Expression, constant, derivative, evaluate, parameter
from . import kernel, special
from .generate import _HEAD, Written, _frontier, _is_data, _Writer


@dataclass(frozen=True, eq=False)
class Rowwise(Written):
    """Log densities of a row under each kind of component, as expressions in columns, outputs and settings.

    Attributes
    ----------
    densities : tuple of Expression
        One for each kind of component, in parameters 0 to P - 1, the outputs of the network for a component, and
        parameters P to P + S - 1, settings that are the same for all rows.
    n_outputs : int
        Outputs P of a component; kinds with fewer do not use the last ones.
    n_settings : int
        Settings S.
    """

    densities: tuple[Expression, ...]
    n_outputs: int
    n_settings: int

    @functools.cached_property
    def gradients(self) -> tuple[tuple[Expression, ...], ...]:
        """Derivatives in the outputs, (P,) for each kind."""
        wanted = [parameter(i) for i in range(self.n_outputs)]
        return tuple(tuple(derivative(density, u) for u in wanted) for density in self.densities)

    @functools.cached_property
    def columns(self) -> tuple[Expression, ...]:
        """What is read of a row: columns, and everything that depends on data alone."""
        nodes = [*self.densities, *(slope for gradient in self.gradients for slope in gradient)]
        return tuple(_frontier(nodes, _is_data))

    def prepare(self, y: np.ndarray) -> np.ndarray:
        """Rows as the compiled function reads them: y (obs, column) -> (column of its own, obs)."""
        values = evaluate(list(self.columns), [y[:, j] for j in range(y.shape[1])], [])
        if not values:
            return np.zeros((1, len(y)))
        return np.ascontiguousarray(np.stack([np.broadcast_to(v, len(y)) for v in values]), dtype=float)

    @functools.cached_property
    def source(self) -> str:
        """The module."""
        return _module(self)


_BACKWARD = '''

@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def log_likelihood(y, outputs, kinds, settings, value, gradient):
    """Rows (member, column, obs) and outputs (member, K + K P, obs), logits first; fills value (member, obs) and gradient."""
    n_members, n_components, rows = outputs.shape[0], kinds.shape[0], outputs.shape[2]
    joint, pi = np.empty((n_components, rows)), np.empty((n_components, rows))
    largest, total = np.empty(rows), np.empty(rows)
{settings}
    for e in range(n_members):
        for k in range(n_components):
            at = n_components + k * {p}
{kinds}
        softmax_rows(outputs[e], pi, largest, total, n_components, rows)
        for k in range(n_components):
            for i in range(rows):
                joint[k, i] += outputs[e, k, i]
        for i in range(rows):
            value[e, i] = -largest[i] - math.log(total[i])
        softmax_rows(joint, joint, largest, total, n_components, rows)
        for i in range(rows):
            value[e, i] += largest[i] + math.log(total[i]) if largest[i] > -np.inf else -np.inf
        for k in range(n_components):
            at = n_components + k * {p}
            for i in range(rows):
                gradient[e, k, i] = joint[k, i] - pi[k, i] if total[i] > 0.0 else 0.0
            for j in range({p}):
                for i in range(rows):
                    r = joint[k, i]
                    gradient[e, at + j, i] = r * gradient[e, at + j, i] if r > 0.0 else 0.0
'''

_SOFTMAX = '''

@_compiled
def softmax_rows(logits, weights, largest, total, n_components, rows):
    """Softmax over the first axis, where all are -inf zeros; `total` is the sum of exp(logits - largest)."""
    for i in range(rows):
        largest[i] = -np.inf
        total[i] = 0.0
    for k in range(n_components):
        for i in range(rows):
            largest[i] = max(largest[i], logits[k, i])
    for k in range(n_components):
        for i in range(rows):
            w = math.exp(logits[k, i] - largest[i]) if logits[k, i] > -np.inf else 0.0
            weights[k, i] = w
            total[i] += w
    for k in range(n_components):
        for i in range(rows):
            weights[k, i] = weights[k, i] / total[i] if total[i] > 0.0 else 0.0
'''


def _module(rowwise: Rowwise) -> str:
    version = f"{kernel.VERSION}.{special.VERSION}"
    head = _HEAD.format(version=version, kinds=tuple(range(len(rowwise.densities))))
    head = head[: head.index("@_compiled")].rstrip() + "\n"
    p = rowwise.n_outputs
    settings = [f"    g{j} = settings[{j}]" for j in range(rowwise.n_settings)]
    lines = []
    for which, (density, gradient) in enumerate(zip(rowwise.densities, rowwise.gradients, strict=True)):
        lines.append(f"{'if' if which == 0 else 'elif'} kinds[k] == {which}:")
        lines += [f"    {line}" for line in _loop(rowwise, density, gradient)]
    body = "\n".join("            " + line for line in lines)
    return head + _SOFTMAX + _BACKWARD.format(p=p, settings="\n".join(settings), kinds=body)


def _loop(rowwise, density, gradient):
    """Log density and gradient of one kind of component at each row."""
    symbols = [parameter(i) for i in range(rowwise.n_outputs + rowwise.n_settings)]
    known = {id(s): f"u{i}" if i < rowwise.n_outputs else f"g{i - rowwise.n_outputs}" for i, s in enumerate(symbols)}
    known |= {id(node): f"x{j}" for j, node in enumerate(rowwise.columns)}
    writer = _Writer(known)
    word = writer(density)
    slopes = [writer(constant(slope)) for slope in gradient]
    loaded = [f"x{j} = y[e, {j}, i]" for j in range(len(rowwise.columns))]
    loaded += [f"u{i} = outputs[e, at + {i}, i]" for i in range(rowwise.n_outputs)]
    stored = [f"joint[k, i] = {word}", *(f"gradient[e, at + {j}, i] = {slope}" for j, slope in enumerate(slopes))]
    return ["for i in range(rows):", *(f"    {line}" for line in [*loaded, *writer.lines, *stored])]
