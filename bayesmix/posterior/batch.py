"""The log posterior at many places: one compiled loop for the layouts of the kernel, a plain one for all others."""

import numba
import numpy as np

from ..cores import available_cores, in_order
from ..likelihood.likelihood import interruptible
from .direct import DirectPosterior
from .kernel import factor, rate, scale

KERNEL_VERSION = 6  # of bayesmix.posterior.kernel and likelihood.kernel: Numba's cache on disk looks at this file only
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
PIECE = 2e6  # rows times components times features of one call: a tenth of a second at most


@_compiled
def _scale(vectors, block):
    values, gradient = np.empty(len(vectors)), np.empty(vectors.shape[1])
    for i in range(len(vectors)):
        values[i] = scale(vectors[i], gradient, block)
    return values


@_compiled
def _factor(vectors, block):
    values, gradient = np.empty(len(vectors)), np.empty(vectors.shape[1])
    for i in range(len(vectors)):
        values[i] = factor(vectors[i], gradient, block)
    return values


@_compiled
def _rate(vectors, block):
    values, gradient = np.empty(len(vectors)), np.empty(vectors.shape[1])
    for i in range(len(vectors)):
        values[i] = rate(vectors[i], gradient, block)
    return values


MANY = {"scale": _scale, "factor": _factor, "rate": _rate}


def log_densities(posterior, vectors: np.ndarray) -> np.ndarray:
    """Log posterior, up to the evidence, at free coordinates (draws, n): (draws,), in nats; -inf where it is not a number.

    Runs in as many threads as there are cores, which does not change the values.
    """
    vectors = np.ascontiguousarray(vectors, dtype=float)
    run = MANY.get(posterior.layout) if isinstance(posterior, DirectPosterior) else None
    if run is None:
        values = np.array([posterior.value_and_gradient(vector)[0] for vector in vectors])
    else:
        x = posterior.likelihood.rows.x
        step = max(1, int(PIECE / max(1, x.size * posterior.mixture.n_components)))
        pieces = [vectors[start : start + step] for start in range(0, len(vectors), step)]
        with interruptible():
            cores = min(available_cores(), len(pieces))
            values = np.concatenate(list(in_order(lambda piece: run(piece, posterior.block), pieces, cores)))
    return np.where(np.isnan(values), -np.inf, values)
