r"""The covariance matrices of `bayesmix.components.covariance.letters` as one free variable ``cov`` of a PyMC model.

Its transform has the coordinates of the structure: volumes, shapes, orientations. The density is that of the geometric mean
standard deviations :math:`|\Sigma_k|^{1/2D}`, of the coordinates of shapes and of those of orientations, each once if shared:

- volume: any prior of standard deviations;
- shape: log standard deviations along the axes are independent normal before their mean is taken off;
- orientation: uniform, the invariant (Haar) measure on sets of axes. In coordinates w = 2 S of the Cayley transform its
  density is :math:`2^{D-1} \det(I - S)^{-(D-1)} / \operatorname{vol} SO(D)`, as a step dW turns the axes by T' dW T;
- where shape and orientation are one matrix C with determinant 1, that of :math:`\Sigma / |\Sigma|^{1/D}` for an inverse
  Wishart :math:`\Sigma`, whose density is proportional to :math:`\operatorname{tr}(\Psi C^{-1})^{-\nu D/2}` in the
  invariant measure: the integral of the inverse Wishart's over the volume.
"""

import warnings
from typing import Any

import numba
import numpy as np
import pymc as pm
import pytensor.tensor
from pymc.logprob.transforms import Transform
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.link.numba.dispatch.basic import (
    generate_fallback_impl,
    numba_funcify,
    register_funcify_default_op_cache_key,
)
from pytensor.tensor.rewriting.basic import register_canonicalize, register_specialize
from scipy.special import gammaln, multigammaln  # pyright: ignore[reportAttributeAccessIssue]

from ...priors import dim
from .factor import covariance, precision_factor
from .letters import contrasts

pt: Any = pytensor.tensor  # its annotations name every kind of result at once
LOOPS_VERSION = 1  # raise with every change of the loops: PyTensor's cache on disk does not look inside them


def lettered(structure, priors, n_components: int, n_features: int, name: str = "cov"):
    """Make the variable; returns it, and P (cluster, feature, feature) or 1 / sigma (cluster, feature)."""
    k, d = n_components, n_features
    chart = _Chart(structure, k, d)
    coordinates = _CoordinatesOf(structure, k, d)

    def random(size):
        return chart.covariances(*_draws(structure, priors, k, d))

    def logp(cov):
        return _log_density(structure, priors, chart, coordinates(cov))

    cov = pm.CustomDist(
        name, dist=random, logp=logp, signature="->(k,d,d)", class_name=f"{structure.letters}Covariance",
        transform=_Transform(chart, coordinates), shape=(k, d, d), dims=("cluster", dim("feature"), dim("feature_2")),
    )  # fmt: skip
    if structure.kernel == "diagonal":
        return cov, 1.0 / pt.sqrt(pt.sum(cov * np.eye(d), axis=-1))
    return cov, precision_factor(cov)


# -- coordinates -----------------------------------------------------------------------------------------------------------
class _Chart:
    """Covariances from volumes, shapes and orientations, as PyTensor variables."""

    def __init__(self, structure, n_components, n_features):
        self.structure, self.k, self.d = structure, n_components, n_features
        self.parts = structure.parts(n_components, n_features)
        self.rows, self.columns = np.tril_indices(n_features, -1)

    def split(self, value):
        """Volumes (1 or K, 1), shapes (0, 1 or K, D - 1), orientations (0, 1 or K, D (D - 1) / 2)."""
        stops = np.cumsum([0, *(count * size for count, size in self.parts)])
        return [
            value[start:stop].reshape((count, size))
            for start, stop, (count, size) in zip(stops, stops[1:], self.parts, strict=False)
        ]

    def logs(self, volume, shape):
        """Logarithms a (K, D) along the axes."""
        total = volume + (shape @ contrasts(self.d).T if self.structure.letters[1] != "I" else 0.0)
        return pt.specify_shape(pt.broadcast_to(total, (self.k, self.d)), (self.k, self.d))

    def covariances(self, volume, shape, orientation):
        """Sigma (K, D, D)."""
        logs = self.logs(volume, shape)
        if self.structure.kernel == "diagonal":
            return pt.exp(2.0 * logs)[:, :, None] * np.eye(self.d)
        if self.structure.has_axes:
            root = self.each(rotations(orientation, self.d)[0]) * pt.exp(logs)[:, None, :]
            return root @ root.mT
        return covariance(self.each(self.unit(orientation)) * pt.exp(-logs)[:, :, None])

    def each(self, matrices):
        """One matrix for each component."""
        return matrices if self.structure.letters[2] == "V" else pt.repeat(matrices, self.k, axis=0)

    def unit(self, u):
        """Unit lower triangular matrices, (M, D, D)."""
        place = np.zeros((len(self.rows), self.d, self.d))
        place[np.arange(len(self.rows)), self.rows, self.columns] = 1.0
        return pt.tensordot(u, place, axes=[[1], [0]]) + np.eye(self.d)


class _Transform(Transform):
    """Coordinates of the structure, (n_free,)."""

    name = "letters"

    def __init__(self, chart, coordinates):
        self.chart, self.coordinates = chart, coordinates

    def backward(self, value, *inputs):
        """Covariances at these coordinates."""
        return _made(self.chart.covariances(*self.chart.split(value)), value)

    def forward(self, value, *inputs):
        """Coordinates of these covariances."""
        return self.coordinates(value)

    def log_jac_det(self, value, *inputs):
        """Of standard deviations in their logarithms; the other coordinates are what the density is of."""
        return pt.sum(self.chart.split(value)[0])


# -- densities and draws -----------------------------------------------------------------------------------------------------
def _log_density(structure, priors, chart, value):
    volume, shape, orientation = chart.split(value)
    scale = pt.exp(volume[:, 0])
    total = pt.sum(pm.logp(priors["sigma"].dist(shape=(chart.parts[0][0],)), scale))
    if chart.d == 1:
        return total
    if "cov" in priors:
        return total + pt.sum(_matrix_log_density(priors["cov"], chart, shape, orientation))
    if "shape" in priors:
        centre, root = _of_contrasts(priors["shape"], chart.d)
        z = (shape - centre) @ np.linalg.inv(root).T
        constant = -np.log(np.diag(root)).sum() - 0.5 * len(centre) * np.log(2.0 * np.pi)
        total = total + pt.sum(constant - 0.5 * pt.sum(z**2, axis=1))
    if structure.has_axes:
        log_det = rotations(orientation, chart.d)[2]
        total = total + pt.sum(_log_haar(chart.d) - (chart.d - 1.0) * log_det)
    return total


def _log_haar(d):
    """Log density of axes, signs not counted, per unit of angle."""
    i = np.arange(2, d + 1)
    return (d - 1) * np.log(2.0) - np.sum(np.log(2.0) + 0.5 * i * np.log(np.pi) - gammaln(0.5 * i))


def _of_contrasts(prior, d):
    """Mean, and Cholesky factor of the covariance, of the contrasts of independent normal logarithms."""
    values = prior.kwargs
    basis = contrasts(d)
    variance = np.broadcast_to(np.asarray(values["sigma"], dtype=float), d) ** 2
    return basis.T @ np.broadcast_to(values["mu"], d), np.linalg.cholesky(basis.T @ (variance[:, None] * basis))


def _matrix_log_density(prior, chart, shape, u):
    """Of each matrix of determinant 1, in shapes and u; see the module."""
    nu, psi, d = prior.nu, np.asarray(prior.psi), chart.d
    logs = shape @ contrasts(d).T
    factor = chart.unit(u) * pt.exp(-logs)[:, :, None]
    trace = pt.sum(factor[:, :, :, None] * psi * factor[:, :, None, :], axis=(-1, -2, -3))
    constant = 0.5 * nu * np.linalg.slogdet(psi)[1] - 0.5 * nu * d * np.log(2.0) - multigammaln(0.5 * nu, d)
    constant += (d - 1.0) * np.log(2.0) + 0.5 * np.log(d) + gammaln(0.5 * d * nu)
    powers = nu - d + 2.0 * np.arange(d) + 1.0
    return constant - pt.sum(powers * logs, axis=1) - 0.5 * d * nu * (pt.log(trace) - np.log(2.0))


def _draws(structure, priors, k, d):
    """Volumes, shapes and orientations from their priors."""
    (n_volumes, _), (n_shapes, _), (n_orientations, size) = structure.parts(k, d)
    volume = pt.log(pt.specify_shape(priors["sigma"].dist(shape=(n_volumes, 1)), (n_volumes, 1)))
    if "cov" in priors:
        return volume, *_matrix_draws(priors["cov"], n_shapes, d)
    shape = pt.zeros((n_shapes, d - 1))
    if "shape" in priors and d > 1:
        centre, root = _of_contrasts(priors["shape"], d)
        shape = centre + pm.Normal.dist(shape=(n_shapes, d - 1)) @ root.T
    if not structure.has_axes or d == 1:
        return volume, shape, pt.zeros((n_orientations, size))
    return volume, shape, _AxesCoordinates()(pm.Normal.dist(shape=(n_orientations, d, d)))


def _matrix_draws(prior, count, d):
    """Shapes and u of inverse Wishart matrices, by Bartlett's decomposition as in `variable`."""
    whitening = np.linalg.inv(np.linalg.cholesky(np.asarray(prior.psi)))
    chi2 = pm.ChiSquared.dist(prior.nu - d + 1.0 + np.arange(d), shape=(count, d))
    bartlett = pt.sqrt(chi2)[:, :, None] * np.eye(d) + pm.Normal.dist(shape=(count, d, d)) * np.tri(d, k=-1)
    factor = pt.dot(bartlett, whitening)
    diagonal = pt.sum(factor * np.eye(d), axis=-1)
    rows, columns = np.tril_indices(d, -1)
    return -pt.log(diagonal) @ contrasts(d), (factor / diagonal[:, :, None])[:, rows, columns]


# -- operations ----------------------------------------------------------------------------------------------------------------
class _Made(Op):
    """Covariances as they are; remembers the coordinates that they were made of, for `_made_of_coordinates`."""

    __props__ = ()
    view_map = {0: [0]}  # noqa: RUF012

    def make_node(self, cov, vector):
        """The output is shaped like the first input."""
        return Apply(self, [pt.as_tensor(cov), pt.as_tensor(vector)], [cov.type()])

    def infer_shape(self, node, shapes):
        """As the first input."""
        return [shapes[0]]

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        output_storage[0][0] = inputs[0]

    def pullback(self, inputs, outputs, cotangents):
        """The gradient goes the way on which the covariances were made."""
        return [cotangents[0], pt.zeros_like(inputs[1])]


_made: Any = _Made()


@register_specialize
@node_rewriter([_Made])
def _as_they_are(fgraph, node):
    return [node.inputs[0]]


class _CoordinatesOf(Op):
    """Coordinates (n_free,) of covariances (K, D, D); what was made of coordinates has these, without a computation."""

    __props__ = ("structure", "k", "d")

    def __init__(self, structure, k, d):
        self.structure, self.k, self.d = structure, k, d

    def make_node(self, cov):
        """A vector of known length."""
        size = self.structure.n_free(self.k, self.d)
        return Apply(self, [pt.as_tensor(cov, dtype="float64")], [pt.tensor(dtype="float64", shape=(size,))])

    def infer_shape(self, node, shapes):
        """The number of free coordinates."""
        return [(self.structure.n_free(self.k, self.d),)]

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        output_storage[0][0] = self.structure.to_vector(np.asarray(inputs[0]))

    def pullback(self, inputs, outputs, cotangents):
        """None: densities are differentiated in coordinates."""
        raise NotImplementedError("densities of structured covariances have gradients in free coordinates only.")


@register_canonicalize
@node_rewriter([_CoordinatesOf])
def _made_of_coordinates(fgraph, node):
    """Covariances made of coordinates have these."""
    made = node.inputs[0].owner
    return [made.inputs[1]] if made is not None and isinstance(made.op, _Made) else None


class _AxesCoordinates(Op):
    """Coordinates (M, D (D - 1) / 2) of the axes that normal matrices (M, D, D) become by QR: uniform (Stewart 1980)."""

    __props__ = ()

    def make_node(self, normal):
        """As many rows."""
        m, d, _ = normal.type.shape
        return Apply(self, [normal], [pt.tensor(dtype="float64", shape=(m, d * (d - 1) // 2))])

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        from .rotations import coordinates_of

        output_storage[0][0] = coordinates_of(np.linalg.qr(inputs[0])[0])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _rotations(w, d):
    """Q, T (M, D, D) and log det(I - S) (M,) at coordinates w: see `bayesmix.components.covariance.rotations`.

    T by elimination, in which no pivot is less than 1.
    """
    matrices = w.shape[0]
    q, t, log_det = np.zeros((matrices, d, d)), np.zeros((matrices, d, d)), np.zeros(matrices)
    left = np.empty((d, d))
    for m in range(matrices):
        at = 0
        for i in range(d):
            left[i, i] = 1.0
            t[m, i, i] = 1.0
            for j in range(i):
                left[i, j], left[j, i] = -0.5 * w[m, at], 0.5 * w[m, at]
                at += 1
        for i in range(d):
            log_det[m] += np.log(left[i, i])
            for p in range(d):
                if p != i:
                    ratio = left[p, i] / left[i, i]
                    for j in range(d):
                        left[p, j] -= ratio * left[i, j]
                        t[m, p, j] -= ratio * t[m, i, j]
        for i in range(d):
            for j in range(d):
                t[m, i, j] /= left[i, i]
                q[m, i, j] = 2.0 * t[m, i, j] - (1.0 if i == j else 0.0)
    return q, t, log_det


class _Rotations(Op):
    """Q, T and log det(I - S) at coordinates (M, D (D - 1) / 2)."""

    __props__ = ("d",)

    def __init__(self, d):
        self.d = d

    def make_node(self, w):
        """Two stacks of matrices, and numbers."""
        w = pt.as_tensor(w, dtype="float64")
        stack = pt.tensor(dtype="float64", shape=(w.type.shape[0], self.d, self.d))
        return Apply(self, [w], [stack, stack.type(), pt.tensor(dtype="float64", shape=(w.type.shape[0],))])

    def infer_shape(self, node, shapes):
        """As many as there are rows."""
        count = shapes[0][0]
        return [(count, self.d, self.d), (count, self.d, self.d), (count,)]

    def perform(self, node, inputs, output_storage):
        """Evaluate outside compiled graphs."""
        for storage, value in zip(output_storage, _rotations(inputs[0], self.d), strict=True):
            storage[0] = value

    def connection_pattern(self, node):
        """All outputs depend on w."""
        return [[True, True, True]]

    def pullback(self, inputs, outputs, cotangents):
        """With dQ = Q T' dW T, and d log det(I - S) = -tr(T dW) / 2; T itself is not differentiated."""
        from pytensor.gradient import DisconnectedType

        q: Any = outputs[0]
        t: Any = outputs[1]
        rows, columns = np.tril_indices(self.d, -1)
        total = pt.zeros_like(q)  # of the entries of dW
        if not isinstance(cotangents[0].type, DisconnectedType):
            total = total + t @ (q.mT @ cotangents[0]) @ t.mT
        if not isinstance(cotangents[2].type, DisconnectedType):
            of_log_det: Any = cotangents[2]
            total = total - 0.5 * of_log_det[:, None, None] * t.mT
        return [(total - total.mT)[:, rows, columns]]


def rotations(w, d) -> Any:
    """Q, T and log det(I - S) at coordinates w."""
    return _Rotations(d)(w)


@register_funcify_default_op_cache_key(_Rotations)
def _numba_rotations(op, node=None, **kwargs):
    from pytensor.link.numba.dispatch.basic import numba_njit

    d = op.d

    @numba_njit
    def run(w):
        return _rotations(w, d)

    return run, LOOPS_VERSION


@register_funcify_default_op_cache_key(_Made)
def _numba_made(op, node=None, **kwargs):
    from pytensor.link.numba.dispatch.basic import numba_njit

    @numba_njit
    def run(cov, vector):
        return cov

    return run, LOOPS_VERSION


@numba_funcify.register(_CoordinatesOf)
@numba_funcify.register(_AxesCoordinates)
def _in_python(op, node=None, storage_map=None, **kwargs):
    """By NumPy: what samplers evaluate holds neither."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numba will use object mode")
        return generate_fallback_impl(op, node, storage_map, **kwargs)
