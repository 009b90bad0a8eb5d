"""The fused pass as a PyTensor operation, whose gradient is its own other outputs.

One evaluation yields the log-likelihood and its gradient (Fisher's identity), so that NUTS and ADVI pay one pass over
the data for both. The operation runs as compiled Numba code, without the interpreter's lock, under `pm.sample`,
nutpie and every PyTensor mode.
"""

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from .generate import kernel_of, score_of
from .units import is_of_units

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel: PyTensor's cache on disk does not look inside it


class MixtureLogLikelihood(Op):
    """Log-likelihood of a mixture by a kernel: one of `bayesmix.likelihood.kernel`, or written from a formula; in nats.

    Inputs: x (obs, statistic), row weights (obs,) or empty, log weights (cluster,), and the kernel's a and b.
    Outputs: the log-likelihood, and its gradients with respect to log weights (each weight taken as free), a and b.
    Only the first output is meant for users; it has no gradient with respect to the data.
    """

    __props__ = ("kernel",)

    def __init__(self, kernel: str):
        self.kernel = kernel

    def make_node(self, x, row_weights, log_weights, a, b):
        """Check the inputs and name the outputs' types."""
        inputs = [pt.as_tensor(value, dtype="float64") for value in (x, row_weights, log_weights, a, b)]
        gradients = [pt.tensor(dtype="float64", shape=value.type.shape) for value in inputs[2:]]
        return Apply(self, inputs, [pt.dscalar(), *gradients])

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        values = evaluate(self.kernel)(*(np.ascontiguousarray(value) for value in inputs))
        for storage, value in zip(output_storage, values, strict=True):
            storage[0] = np.asarray(value)

    def infer_shape(self, node, shapes):
        """A scalar, and gradients shaped like their inputs."""
        return [(), *shapes[2:]]

    def connection_pattern(self, node):
        """Only log weights, a and b are connected, and only to the log-likelihood."""
        return [[False] * 4] * 2 + [[True] + [False] * 3] * 3

    def pullback(self, inputs, outputs, cotangents):
        """The gradient: the other outputs, scaled."""
        if not all(isinstance(c.type, DisconnectedType) for c in cotangents[1:]):
            raise NotImplementedError(
                "second derivatives of the fused pass are not defined; use Likelihood.information."
            )
        scaled = [cotangents[0] * gradient for gradient in outputs[1:]]  # pyright: ignore[reportOperatorIssue]
        return [disconnected_type(), disconnected_type(), *scaled]


_EVALUATE = {}


def evaluate(name: str):
    """The compiled function (x, row weights, log weights, a, b) -> log-likelihood and its three gradients."""
    if name not in _EVALUATE:
        run, score = kernel_of(name), score_of(name)

        @numba.njit(nogil=True, error_model="numpy")
        def of_rows(x, row_weights, log_weights, a, b):
            log_likelihood, n, first, second = run(x, row_weights, log_weights, a, b)
            d_a, d_b = score(a, b, n, first, second)
            return log_likelihood, n, d_a, d_b

        @numba.njit(nogil=True, error_model="numpy")
        def of_units(x, row_weights, log_weights, a, b):
            log_likelihood, n, first, second, members = run(x, row_weights, log_weights, a, b)
            d_a, d_b = score(a, b, n, first, second)
            return log_likelihood, members, d_a, d_b

        _EVALUATE[name] = of_units if is_of_units(name) else of_rows
    return _EVALUATE[name]


@register_funcify_default_op_cache_key(MixtureLogLikelihood)
def _numba_mixture_log_likelihood(op, node=None, **kwargs):
    if is_of_units(op.kernel):
        return _of_units(evaluate(op.kernel)), KERNEL_VERSION
    run, score = kernel_of(op.kernel), score_of(op.kernel)

    @numba.njit(nogil=True, error_model="numpy")
    def mixture_log_likelihood(x, row_weights, log_weights, a, b):
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        log_likelihood, n, first, second = run(
            np.ascontiguousarray(x), np.ascontiguousarray(row_weights), np.ascontiguousarray(log_weights), a, b
        )
        d_a, d_b = score(a, b, n, first, second)
        return np.asarray(log_likelihood), n, d_a, d_b

    return mixture_log_likelihood, KERNEL_VERSION


def _of_units(evaluated):
    """The same for passes over units, whose gradient in the log weights is the number of these."""

    @numba.njit(nogil=True, error_model="numpy")
    def mixture_log_likelihood_of_units(x, row_weights, log_weights, a, b):
        log_likelihood, members, d_a, d_b = evaluated(
            np.ascontiguousarray(x),
            np.ascontiguousarray(row_weights),
            np.ascontiguousarray(log_weights),
            np.ascontiguousarray(a),
            np.ascontiguousarray(b),
        )
        return np.asarray(log_likelihood), members, d_a, d_b

    return mixture_log_likelihood_of_units
