r"""Mixtures of normal or Student-t densities in free coordinates that look the same under every labelling.

.. math:: q(\theta) = \frac{1}{M} \sum_{\sigma} \sum_g \omega_g\, q_g(\sigma \theta)

with :math:`\sigma` over all M permutations of the components (K! where all may change places): as a proposal for the
posterior of a mixture it covers every labelling, where they are far apart as well as where they overlap
(Fruehwirth-Schnatter 2004).
"""

import math
from dataclasses import dataclass, field

import numba
import numpy as np

from ..cores import available_cores, in_order
from ..likelihood.likelihood import interruptible
from .symmetry import Symmetry

NEGLIGIBLE = 40.0  # nats below the best labelling: K! of them add less than rounding up to K = 10
MOST_NODES = 20_000  # of the search for one draw and one g; seven components take 13 699, whatever overlaps
LEAST_PIECE = 250  # draws that are worth a thread of their own
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(inline="always", error_model="numpy")


@_inlined
def _log_shape(distance, n, dof):
    """Log density at a squared distance, up to the constant: Student-t, or normal for dof 0."""
    return -0.5 * distance if dof == 0.0 else -0.5 * (dof + n) * math.log1p(distance / dof)


@_inlined
def _add_block(distance, z, whitener, centre, values, first, begin):
    """Squared distance with the coordinates `values[first:]` placed at `begin`; whitener is lower triangular."""
    stop = begin + values.shape[0] - first
    for i in range(begin, stop):
        z[i] = values[first + i - begin] - centre[i]
        total = 0.0
        for j in range(i + 1):
            total += whitener[i, j] * z[j]
        distance += total * total
    return distance


@_compiled
def _log_symmetrised(rows, shared, groups, starts, widths, centres, whiteners, constants, dof, most_nodes):
    """Log of the sum over g and all labellings of constants_g + log shape, for each draw; NaN where the search is too long.

    Labels are given one at a time. What the first of them contribute to the squared distance bounds the density of all
    labellings that begin so: where that is negligible the search turns back.
    """
    n_draws, n_components = rows.shape[:2]
    n_all, n = centres.shape
    begins = np.zeros(n_components + 1, np.int64)
    begins[1:] = np.cumsum(widths - starts)
    out = np.empty(n_draws)
    chosen, used = np.empty(n_components, np.int64), np.zeros(n_components, np.bool_)
    partial, z = np.zeros(n_components + 1), np.empty(n)
    for i in range(n_draws):
        best = -np.inf
        for g in range(n_all):  # as labelled: something to compare with
            distance = 0.0
            for k in range(n_components):
                row = rows[i, k, : widths[k]]
                distance = _add_block(distance, z, whiteners[g], centres[g], row, starts[k], begins[k])
            distance = _add_block(distance, z, whiteners[g], centres[g], shared[i], 0, begins[n_components])
            best = max(best, constants[g] + _log_shape(distance, n, dof))
        total, complete = 0.0, True
        for g in range(n_all):
            nodes, depth = 0, 0
            chosen[0] = -1
            used[:] = False
            while depth >= 0:
                if chosen[depth] >= 0:
                    used[chosen[depth]] = False
                component = chosen[depth] + 1
                while component < n_components and (used[component] or groups[component] != groups[depth]):
                    component += 1
                if component == n_components:
                    depth -= 1
                    continue
                chosen[depth] = component
                used[component] = True
                nodes += 1
                row = rows[i, component, : widths[component]]
                distance = _add_block(partial[depth], z, whiteners[g], centres[g], row, starts[depth], begins[depth])
                if depth == n_components - 1:
                    distance = _add_block(distance, z, whiteners[g], centres[g], shared[i], 0, begins[n_components])
                value = constants[g] + _log_shape(distance, n, dof)
                if not value > best - NEGLIGIBLE:
                    continue
                if depth < n_components - 1:
                    if nodes > most_nodes:
                        complete = False
                        break
                    partial[depth + 1] = distance
                    depth += 1
                    chosen[depth] = -1
                elif value > best:
                    total = total * math.exp(best - value) + 1.0
                    best = value
                else:
                    total += math.exp(value - best)
        out[i] = best + math.log(total) if complete else np.nan
    return out


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mixture of normal or Student-t distributions of free coordinates, made symmetric in the labels.

    Parameters
    ----------
    symmetry : Symmetry
        What a permutation of the components does to the coordinates.
    centres : ndarray (g, n)
    scales : ndarray (g, n, n)
        Any A_g with the scale matrix A_g A_g'.
    log_weights : ndarray (g,)
        Logarithms of the weights; they are normalised.
    dof : float
        Degrees of freedom of the Student-t; 0 for the normal.
    """

    symmetry: Symmetry
    centres: np.ndarray
    scales: np.ndarray
    log_weights: np.ndarray
    dof: float
    _compiled: tuple = field(init=False)

    def __post_init__(self):
        from scipy.special import gammaln, logsumexp

        n, dof = self.centres.shape[1], self.dof
        matrix = self.symmetry.matrix
        spreads = matrix @ self.scales  # rows have no order of their own: make them triangular
        factors = np.array([np.linalg.qr(spread.T, mode="r").T for spread in spreads])
        log_det = np.log(np.abs(np.diagonal(factors, axis1=1, axis2=2))).sum(axis=1)
        if dof == 0:
            constant = -0.5 * n * np.log(2 * np.pi)
        else:
            constant = gammaln(0.5 * (dof + n)) - gammaln(0.5 * dof) - 0.5 * n * np.log(dof * np.pi)
        log_weights = self.log_weights - logsumexp(self.log_weights)
        constants = log_weights + constant - log_det + np.linalg.slogdet(matrix)[1]
        whiteners = np.ascontiguousarray(np.linalg.inv(factors))
        object.__setattr__(self, "log_weights", log_weights)
        object.__setattr__(self, "_compiled", (self.centres @ matrix.T, whiteners, constants))

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Free coordinates (size, n) from the mixture, under the labels that its centres have; and which of these, (size,).

        The symmetrised density is theirs too as long as only what is symmetric in the labels is made of them.
        """
        n = self.centres.shape[1]
        which = np.sort(rng.choice(len(self.log_weights), size, p=np.exp(self.log_weights)))
        z = rng.standard_normal((size, n))
        if self.dof > 0:
            z *= np.sqrt(self.dof / rng.chisquare(self.dof, size))[:, None]
        vectors = self.centres[which]
        for g in range(len(self.centres)):
            vectors[which == g] += z[which == g] @ self.scales[g].T
        order = rng.permutation(size)
        return vectors[order], which[order]

    def log_density(self, vectors: np.ndarray) -> np.ndarray:
        """Log of the symmetrised density at free coordinates (draws, n): (draws,), in nats.

        NaN where so many labellings overlap (more than seven components) that they cannot all be added up.
        """
        rows, shared = (np.ascontiguousarray(part) for part in self.symmetry.rows(vectors))
        step = max(LEAST_PIECE, len(rows) // 16)
        pieces = [(rows[i : i + step], shared[i : i + step]) for i in range(0, len(rows), step)]

        def run(piece):
            some_rows, some_shared = piece
            centres, whiteners, constants = self._compiled
            own = some_rows, some_shared, self.symmetry.groups, self.symmetry.starts, self.symmetry.widths
            return _log_symmetrised(*own, centres, whiteners, constants, float(self.dof), MOST_NODES)

        with interruptible():
            found = np.concatenate(list(in_order(run, pieces, min(available_cores(), len(pieces)))))
        return found - self.symmetry.log_n_labellings
