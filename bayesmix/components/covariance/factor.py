r"""The lower triangular P with :math:`\Sigma^{-1} = P'P` and the covariance Sigma, as PyTensor operations.

A graph that goes from P to Sigma and back is cut short, so that what a sampler evaluates in coordinates of P holds no
decomposition and no gradient of one. Matrices are (M, D, D).
"""

from typing import Any

import numba
import numpy as np
import pytensor.tensor
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor.rewriting.basic import register_canonicalize

pt: Any = pytensor.tensor  # its annotations name every kind of result at once
LOOPS_VERSION = 1  # raise with every change of the loops: PyTensor's cache on disk does not look inside them
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _invert_lower(lower, out):
    """Inverse of a lower triangular matrix by forward substitution, into `out`, which holds zeros."""
    for j in range(lower.shape[0]):
        out[j, j] = 1.0 / lower[j, j]
        for i in range(j + 1, lower.shape[0]):
            total = 0.0
            for l in range(j, i):  # noqa: E741
                total -= lower[i, l] * out[l, j]
            out[i, j] = total / lower[i, i]


@_compiled
def _factors(cov):
    """P, the inverse of the lower Cholesky factor: (M, D, D), NaN where a matrix is not positive definite."""
    matrices, d, _ = cov.shape
    out, lower = np.zeros((matrices, d, d)), np.zeros((d, d))
    for m in range(matrices):
        for i in range(d):
            for j in range(i + 1):
                total = cov[m, i, j]
                for l in range(j):  # noqa: E741
                    total -= lower[i, l] * lower[j, l]
                lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
        _invert_lower(lower, out[m])
    return out


@_compiled
def _covariances(factor):
    """Sigma = L L', with L the inverse of P: (M, D, D)."""
    matrices, d, _ = factor.shape
    out, lower = np.empty((matrices, d, d)), np.zeros((d, d))
    for m in range(matrices):
        _invert_lower(factor[m], lower)
        for i in range(d):
            for j in range(i + 1):
                total = 0.0
                for l in range(j + 1):  # noqa: E741
                    total += lower[i, l] * lower[j, l]
                out[m, i, j] = out[m, j, i] = total
    return out


class _OfMatrices(Op):
    """Matrices (M, D, D) from matrices (M, D, D)."""

    __props__ = ()
    gufunc_signature = "(m,d,d)->(m,d,d)"

    def make_node(self, matrices):
        """The output is shaped like the input."""
        matrices = pt.as_tensor(matrices, dtype="float64")
        return Apply(self, [matrices], [pt.tensor(dtype="float64", shape=matrices.type.shape)])

    def infer_shape(self, node, shapes):
        """As the input."""
        return shapes


class PrecisionFactor(_OfMatrices):
    r"""Lower triangular P with :math:`\Sigma^{-1} = P'P`, from symmetric Sigma."""

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        output_storage[0][0] = _factors(inputs[0])

    def pullback(self, inputs, outputs, cotangents):
        r""":math:`dP = -\Phi(P\, d\Sigma\, P') P`, where :math:`\Phi` keeps the lower triangle, and half the diagonal."""
        factor: Any = outputs[0]
        d = factor.shape[-1]
        half = (pt.tri(d) - 0.5 * pt.eye(d)) * (cotangents[0] @ factor.mT)
        return [-0.5 * factor.mT @ (half + half.mT) @ factor]


class Covariance(_OfMatrices):
    r"""Sigma from lower triangular P, positive on the diagonal, with :math:`\Sigma^{-1} = P'P`."""

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        output_storage[0][0] = _covariances(inputs[0])

    def pullback(self, inputs, outputs, cotangents):
        r""":math:`d\Sigma = -(L\, dP\, \Sigma + \Sigma\, dP' L')`, with :math:`L = P^{-1} = \Sigma P'`."""
        factor: Any = inputs[0]
        cov: Any = outputs[0]
        cotangent: Any = cotangents[0]
        return [-pt.tri(cov.shape[-1]) * (factor @ cov @ (cotangent + cotangent.mT) @ cov)]


@register_funcify_default_op_cache_key(PrecisionFactor)
def _numba_precision_factor(op, node=None, **kwargs):
    return _factors, LOOPS_VERSION


@register_funcify_default_op_cache_key(Covariance)
def _numba_covariance(op, node=None, **kwargs):
    return _covariances, LOOPS_VERSION


@register_canonicalize
@node_rewriter([PrecisionFactor])
def _there_and_back(fgraph, node):
    """The factor of the covariance of P is P."""
    made = node.inputs[0].owner
    return [made.inputs[0]] if made is not None and isinstance(made.op, Covariance) else None


precision_factor: Any = PrecisionFactor()
covariance: Any = Covariance()
