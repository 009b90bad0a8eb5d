"""The network: layers of units as pure functions of one vector of weights, forwards and backwards, compiled.

Members (of an ensemble, restarts, candidates) are the leading axis of everything; units come before rows, so that what
happens to every unit runs along contiguous rows. With variances given, the outputs of a layer are drawn from the normal
distribution that independent normal weights imply, one draw per row and unit (the local reparametrisation trick: Kingma,
Salimans & Welling 2015), and the backward pass returns the gradient in means and in variances of the weights.
"""

import contextlib
import functools
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from threadpoolctl import ThreadpoolController

TINY = 1e-10  # added to variances of a layer's outputs, so that their root has a derivative
EPS = 1e-5  # added to variances over units, in normalised layers
RELU, TANH, SILU = 0, 1, 2
LARGE = 2**24  # multiplications in a matrix product that may gain by more than one thread
ACTIVATIONS = {"relu": RELU, "tanh": TANH, "silu": SILU}

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})


@dataclass(frozen=True)
class Layout:
    """Sizes of the layers, inputs first and outputs last, and what they are made of."""

    sizes: tuple[int, ...]
    activation: str = "relu"
    residual: bool = False
    normalise: bool = False

    @property
    def n_weights(self) -> int:
        """Length of the vector of weights: matrix (out, in) and offsets (out,) of each layer, one after the other."""
        return sum(m * (n + 1) for n, m in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def n_units(self) -> int:
        """Units of all layers but the inputs."""
        return sum(self.sizes[1:])

    @property
    def arguments(self) -> tuple:
        """What the compiled functions need to know."""
        return np.array(self.sizes), ACTIVATIONS[self.activation], self.residual, self.normalise

    def views(self, weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Matrices (..., out, in) and offsets (..., out) of the layers: views of weights (..., n_weights)."""
        found, at = [], 0
        for n, m in zip(self.sizes, self.sizes[1:], strict=False):
            matrix = weights[..., at : at + n * m].reshape(*weights.shape[:-1], m, n)
            found.append((matrix, weights[..., at + n * m : at + n * m + m]))
            at += n * m + m
        return found

    def workspace(self, n_members: int, n_rows: int) -> "Workspace":
        """Arrays that the passes write to."""
        units, every = (n_members, self.n_units, n_rows), (n_members, self.sizes[0] + self.n_units, n_rows)
        return Workspace(np.empty(every), np.empty(units), np.empty(units), np.empty((n_members, self.n_units, n_rows)))

    def start(self, n_members: int, rng: np.random.Generator) -> np.ndarray:
        """Weights (member, n_weights) to start from: He et al. (2015) in hidden layers, smaller ones in the last."""
        weights = np.zeros((n_members, self.n_weights))
        views = self.views(weights)
        for layer, (matrix, _) in enumerate(views):
            scale = np.sqrt(2.0 / matrix.shape[-1]) if layer < len(views) - 1 else 0.5 / np.sqrt(matrix.shape[-1])
            matrix[:] = rng.normal(size=matrix.shape) * scale
        return weights


class Workspace(NamedTuple):
    """What the forward pass leaves for the backward pass, (member, unit, row) each."""

    activations: np.ndarray  # inputs, and what each layer hands on
    before: np.ndarray  # before the activation
    spread: np.ndarray  # standard deviations of the outputs of layers, under random weights
    slopes: np.ndarray  # scale by which a normalised layer was divided


def threads(layout: Layout, n_rows: int):
    """A context in which passes of so many rows keep to one thread, unless their matrix products are large.

    Threads of a small product wait for each other, and cost ten times as much on a machine that has other work.
    """
    largest = max(n * m for n, m in zip(layout.sizes, layout.sizes[1:], strict=False))
    return contextlib.nullcontext() if largest * n_rows > LARGE else _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries():
    """The libraries whose threads can be counted, among them the BLAS that compiled matrix products call."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


@_compiled
def _act(x, activation):
    if activation == RELU:
        return max(x, 0.0)
    if activation == TANH:
        return np.tanh(x)
    return x / (1.0 + np.exp(-x))


@_compiled
def _act_slope(x, activation):
    if activation == RELU:
        return 1.0 if x > 0.0 else 0.0
    if activation == TANH:
        t = np.tanh(x)
        return 1.0 - t * t
    s = 1.0 / (1.0 + np.exp(-x))
    return s * (1.0 + x * (1.0 - s))


@_compiled
def forward(mean, variance, noise, layout, activations, before, spread, slopes):
    """Fill the workspace, whose activations hold the inputs; no noise: the weights are `mean`."""
    sizes, activation, residual, normalise = layout
    n_layers, n_rows, random = len(sizes) - 1, activations.shape[2], variance.size > 0
    for e in range(mean.shape[0]):
        at, a0, p0 = 0, 0, 0
        for layer in range(n_layers):
            n, m = sizes[layer], sizes[layer + 1]
            last = layer == n_layers - 1
            inputs = activations[e, a0 : a0 + n]
            outputs = before[e, p0 : p0 + m]
            np.dot(mean[e, at : at + n * m].reshape(m, n), inputs, outputs)
            for j in range(m):
                offset = mean[e, at + n * m + j]
                for i in range(n_rows):
                    outputs[j, i] += offset
            if random:
                deviations = spread[e, p0 : p0 + m]
                np.dot(variance[e, at : at + n * m].reshape(m, n), inputs * inputs, deviations)
                for j in range(m):
                    offset = variance[e, at + n * m + j] + TINY
                    for i in range(n_rows):
                        deviations[j, i] = np.sqrt(deviations[j, i] + offset)
                        outputs[j, i] += deviations[j, i] * noise[e, p0 + j, i]
            if not last:
                a1 = a0 + n
                if normalise:
                    for i in range(n_rows):
                        s, q = 0.0, 0.0
                        for j in range(m):
                            s += outputs[j, i]
                        s /= m
                        for j in range(m):
                            t = outputs[j, i] - s
                            q += t * t
                        scale = 1.0 / np.sqrt(q / m + EPS)
                        slopes[e, p0, i] = scale
                        for j in range(m):
                            outputs[j, i] = (outputs[j, i] - s) * scale
                through = residual and n == m and layer > 0
                for j in range(m):
                    for i in range(n_rows):
                        value = _act(outputs[j, i], activation)
                        activations[e, a1 + j, i] = value + activations[e, a0 + j, i] if through else value
            at += n * m + m
            a0 += n
            p0 += m


@_compiled
def backward(mean, variance, noise, layout, activations, before, spread, slopes, d_outputs, d_mean, d_variance):
    """Gradients in means and variances of the weights, (member, weight) each, from that in the outputs, which is lost."""
    sizes, activation, residual, normalise = layout
    n_layers, n_rows, random = len(sizes) - 1, activations.shape[2], variance.size > 0
    for e in range(mean.shape[0]):
        at, a0, p0 = mean.shape[1], activations.shape[1] - sizes[n_layers], before.shape[1]
        d_out = d_outputs[e]
        past = np.empty((0, 0))  # gradient that goes past a residual layer
        for layer in range(n_layers - 1, -1, -1):
            n, m = sizes[layer], sizes[layer + 1]
            at -= n * m + m
            a0 -= n
            p0 -= m
            inputs = activations[e, a0 : a0 + n]
            np.dot(d_out, inputs.T, d_mean[e, at : at + n * m].reshape(m, n))
            for j in range(m):
                s = 0.0
                for i in range(n_rows):
                    s += d_out[j, i]
                d_mean[e, at + n * m + j] = s
            d_in = np.dot(mean[e, at : at + n * m].reshape(m, n).T, d_out) if layer > 0 else d_out
            if random:
                d_square = np.empty((m, n_rows))
                for j in range(m):
                    s = 0.0
                    for i in range(n_rows):
                        t = 0.5 * d_out[j, i] * noise[e, p0 + j, i] / spread[e, p0 + j, i]
                        d_square[j, i] = t
                        s += t
                    d_variance[e, at + n * m + j] = s
                np.dot(d_square, (inputs * inputs).T, d_variance[e, at : at + n * m].reshape(m, n))
                if layer > 0:
                    more = np.dot(variance[e, at : at + n * m].reshape(m, n).T, d_square)
                    for j in range(n):
                        for i in range(n_rows):
                            d_in[j, i] += 2.0 * inputs[j, i] * more[j, i]
            if layer == 0:
                break
            if past.size > 0:
                d_in += past
            # d_in is the gradient in what the layer below hands on; now in its outputs before the activation
            q0 = p0 - n
            below = before[e, q0 : q0 + n]
            past = d_in if residual and layer > 1 and sizes[layer - 1] == n else np.empty((0, 0))
            d_below = np.empty((n, n_rows))
            for j in range(n):
                for i in range(n_rows):
                    d_below[j, i] = d_in[j, i] * _act_slope(below[j, i], activation)
            if normalise:
                for i in range(n_rows):
                    s, q = 0.0, 0.0
                    for j in range(n):
                        s += d_below[j, i]
                        q += d_below[j, i] * below[j, i]
                    s /= n
                    q /= n
                    for j in range(n):
                        d_below[j, i] = slopes[e, q0, i] * (d_below[j, i] - s - below[j, i] * q)
            d_out = d_below


@_compiled
def adam(weights, gradient, first, second, step, rate, largest):
    """One step of Adam (Kingma & Ba 2015) down the gradient of each member, whose norm is cut to `largest`."""
    n_members, n = weights.shape
    past_first, past_second = 1.0 - 0.9**step, 1.0 - 0.999**step
    for e in range(n_members):
        norm = 0.0
        for j in range(n):
            norm += gradient[e, j] * gradient[e, j]
        norm = np.sqrt(norm)
        if not norm < np.inf:
            continue  # a step of no direction is not taken
        cut = min(1.0, largest / norm) if norm > 0.0 else 1.0
        for j in range(n):
            g = gradient[e, j] * cut
            first[e, j] = 0.9 * first[e, j] + 0.1 * g
            second[e, j] = 0.999 * second[e, j] + 0.001 * g * g
            weights[e, j] -= rate * (first[e, j] / past_first) / (np.sqrt(second[e, j] / past_second) + 1e-8)


@_compiled
def penalty(mean, rho, scale, strength, d_mean, d_variance, variance):
    """Add the Kullback-Leibler divergence to the gradients: normal weights against Normal(0, scale), times `strength`.

    ``d_variance`` becomes the gradient in rho, where a weight's standard deviation is softplus(rho); `variance` its square.
    """
    for e in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            precision = 1.0 / (scale[j] * scale[j])
            d_mean[e, j] += strength[e] * mean[e, j] * precision
            if variance.size > 0:
                sd = np.sqrt(variance[e, j])
                slope = 1.0 / (1.0 + np.exp(-rho[e, j]))
                d_variance[e, j] = slope * (
                    2.0 * sd * d_variance[e, j] + strength[e] * (sd * precision - 1.0 / sd) if sd > 0.0 else 0.0
                )


@_compiled
def squared_softplus(rho, free, variance):
    """Variances softplus(rho)^2 of the weights; 0 where a weight is not free to vary."""
    for e in range(rho.shape[0]):
        for j in range(rho.shape[1]):
            r = rho[e, j]
            sd = max(r, 0.0) + np.log1p(np.exp(-abs(r)))
            variance[e, j] = sd * sd if free[j] else 0.0
