"""Every row by itself, at many draws of the parameters: log density, most probable component, entropy of its labels.

Compiled for the Gaussian families, whose formula costs a dozen passes through memory for every draw and row.
`bayesmix.likelihood.formula` says the same in a readable form, for all families.
"""

import math

import numba
import numpy as np

from .formula import log_of_weights
from .kernel import (
    _FAST,
    BLOCK,
    HALF_LOG_2PI,
    _centre,
    _diagonal_exponent,
    _exp_nonpositive,
    _full_exponent,
    _load_block,
)
from .likelihood import interruptible

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel: Numba's cache on disk looks at this file only
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
_inlined = numba.njit(inline="always", error_model="numpy", fastmath=_FAST)


@_inlined
def _summarise_block(joint, rows, start, largest, total, weighted, log_density, allocation):
    """Write what is asked of a block of log joints (K, BLOCK) at its rows; return the sum of the entropies."""
    for i in range(rows):
        largest[i] = joint[0, i]
        allocation[start + i] = 0
        total[i] = 0.0
        weighted[i] = 0.0
    for k in range(1, joint.shape[0]):
        for i in range(rows):
            if joint[k, i] > largest[i]:
                largest[i] = joint[k, i]
                allocation[start + i] = k
    for i in range(rows):
        if not abs(largest[i]) < np.inf:
            largest[i] = 0.0
    for k in range(joint.shape[0]):
        for i in range(rows):
            below = max(joint[k, i] - largest[i], -750.0)
            e = _exp_nonpositive(below)
            total[i] += e
            weighted[i] += e * below
    entropy = 0.0
    for i in range(rows):
        if total[i] > 0.0:
            log_total = math.log(total[i])
            log_density[start + i] = largest[i] + log_total
            entropy += log_total - weighted[i] / total[i]
        else:  # no component can have produced this row
            log_density[start + i] = -np.inf
    return entropy


@_compiled
def _diagonal(x, log_weights, mu, inv_sigma, log_density, allocation):
    n_components, n_features = mu.shape
    block, joint = np.empty((n_features, BLOCK)), np.empty((n_components, BLOCK))
    largest, total, weighted = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    entropy = 0.0
    for start in range(0, x.shape[0], BLOCK):
        rows = min(BLOCK, x.shape[0] - start)
        _load_block(x, start, rows, block)
        for k in range(n_components):
            constant = log_weights[k] - n_features * HALF_LOG_2PI
            for d in range(n_features):
                constant += math.log(inv_sigma[k, d])
            _diagonal_exponent(block, mu[k], inv_sigma[k], constant, joint[k], rows)
        entropy += _summarise_block(joint, rows, start, largest, total, weighted, log_density, allocation)
    return entropy


@_compiled
def _full(x, log_weights, mu, factor, log_density, allocation):
    n_components, n_features = mu.shape
    block, joint = np.empty((n_features, BLOCK)), np.empty((n_components, BLOCK))
    centred, lines = np.empty((n_features, BLOCK)), np.empty((2, BLOCK))
    largest, total, weighted = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    entropy = 0.0
    for start in range(0, x.shape[0], BLOCK):
        rows = min(BLOCK, x.shape[0] - start)
        _load_block(x, start, rows, block)
        for k in range(n_components):
            constant = log_weights[k] - n_features * HALF_LOG_2PI
            for d in range(n_features):
                constant += math.log(factor[k, d, d])
            _centre(block, mu[k], centred, rows)
            _full_exponent(centred, factor[k], constant, lines, joint[k], rows)
        entropy += _summarise_block(joint, rows, start, largest, total, weighted, log_density, allocation)
    return entropy


_SUMMARIES = {"diagonal": _diagonal, "full": _full}


def has_summaries(component) -> bool:
    """Is there compiled code for this family?"""
    return component.kernel in _SUMMARIES


def summaries(component, x: np.ndarray, draws: dict):
    """Yield (log density (obs,), most probable component (obs,), sum of entropies) of rows x at each of the draws.

    x (obs, feature); draws: weights and parameters, (draw, cluster, ...). In nats. Arrays are written over by the next draw.
    """
    run = _SUMMARIES[component.kernel]
    x = np.ascontiguousarray(x, dtype=float)
    log_density, allocation = np.empty(len(x)), np.empty(len(x), dtype=np.int16)
    log_weights = log_of_weights(draws["weights"])
    for i in range(len(log_weights)):
        a, b = component.kernel_arguments({name: value[i] for name, value in draws.items() if name != "weights"})
        with interruptible():
            entropy = run(x, log_weights[i], np.ascontiguousarray(a), np.ascontiguousarray(b), log_density, allocation)
        yield log_density, allocation, entropy
