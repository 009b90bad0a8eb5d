r"""The covariance matrices as one free variable ``cov`` of a PyMC model, whatever their structure.

The variable is (cluster, feature, feature); its density is over the entries that are free: lower triangles, or
variances. Its transform has the coordinates of `bayesmix.posterior.kernel`: with :math:`\Sigma^{-1} = P'P` the lower
triangle of P row by row, logarithms on the diagonal; or log standard deviations.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor
from pymc.logprob.transforms import Transform
from scipy import special
from scipy.special import multigammaln  # pyright: ignore[reportAttributeAccessIssue]

from ...priors import Prior, dim
from .factor import covariance, precision_factor

pt: Any = pytensor.tensor  # its annotations name every kind of result at once


def _dims():
    """Dims of covariance matrices."""
    return "cluster", dim("feature"), dim("feature_2")


def _diagonal(matrices):
    """Diagonals of the last two axes: with static sizes a sum compiles in less time than `pt.diagonal`."""
    return pt.sum(matrices * np.eye(matrices.type.shape[-1]), axis=-1)


# -- full matrices -------------------------------------------------------------------------------------------------------
def matrices(priors, n_components: int, n_features: int, shared: bool, name: str = "cov"):
    """Make the variable of full matrices, or of copies of one; returns it, and P: both (cluster, feature, feature)."""
    if "cov" in priors:
        law, draw, log_density = "InverseWishartCovariance", *_inverse_wishart(priors["cov"])
    else:
        law, draw, log_density = "LKJCovariance", *_lkj(priors["sigma"], priors["corr"].eta, n_features)

    def random(size):
        return pt.repeat(draw(1), n_components, axis=0) if shared else draw(n_components)

    def logp(cov):
        return log_density(cov[:1], precision_factor(cov)[:1])[0] if shared else log_density(cov, precision_factor(cov))

    cov = pm.CustomDist(
        name, dist=random, logp=logp, signature="->(k,d,d)" if shared else "->(d,d)", class_name=law,
        transform=FactorTransform(n_components, n_features, shared),
        shape=(n_components, n_features, n_features), dims=_dims(),
    )  # fmt: skip
    return cov, precision_factor(cov)


def _inverse_wishart(prior):
    r"""Draws and log density of the lower triangle, normalised.

    Bartlett's decomposition (Bartlett 1933): with :math:`\Psi = C C'` and a lower triangular A of independent
    :math:`A_{ij} \sim N(0, 1)` below the diagonal and :math:`A_{ii}^2 \sim \chi^2` with :math:`\nu - D + i` degrees
    of freedom (i = 1 ... D) on it, :math:`P = A C^{-1}` satisfies :math:`\Sigma^{-1} = P'P`.
    """
    nu, psi, d = prior.nu, np.asarray(prior.psi), prior.n_features
    constant = 0.5 * nu * np.linalg.slogdet(psi)[1] - 0.5 * nu * d * np.log(2.0) - multigammaln(0.5 * nu, d)
    whitening = np.linalg.inv(np.linalg.cholesky(psi))

    def draw(n):
        chi2 = pm.ChiSquared.dist(nu - d + 1.0 + np.arange(d), shape=(n, d))
        bartlett = pt.sqrt(chi2)[:, :, None] * np.eye(d) + pm.Normal.dist(shape=(n, d, d)) * np.tri(d, k=-1)
        return covariance(pt.dot(bartlett, whitening))

    def log_density(cov, factor):
        trace = pt.sum(factor[:, :, :, None] * psi * factor[:, :, None, :], axis=(-1, -2, -3))  # of Psi Sigma^-1
        return constant + (nu + d + 1.0) * pt.sum(pt.log(_diagonal(factor)), axis=-1) - 0.5 * trace

    return draw, log_density


def _lkj(sigma, eta, d):
    r"""Draws and log density of :math:`\Sigma_{ij} = \sigma_i \sigma_j R_{ij}`.

    Lewandowski, Kurowicka & Joe (2009): the partial correlations of a vine are independent and Beta, section 2; the
    constant of the density of R is their eq. (16), in gamma functions.
    """
    if not isinstance(sigma, Prior):
        raise ValueError(
            f"with corr=LKJ the prior of sigma must be a PreliZ distribution of positive numbers, for example "
            f"pz.HalfNormal(2), but it is {sigma}."
        )
    k = np.arange(1, d)
    half = 0.5 * (d - 1)
    constant = np.sum(special.gammaln(eta + half) - special.gammaln(eta + half - 0.5 * k) - 0.5 * k * np.log(np.pi))

    def draw(n):
        sd = sigma.dist(shape=(n, d))
        if d == 1:
            return sd[:, :, None] ** 2
        b = eta + 0.5 * (d - 2.0 - np.arange(d)).clip(0.0)
        partial = (2.0 * pm.Beta.dist(b, b, shape=(n, d, d)) - 1.0) * np.tri(d, k=-1)
        left = pt.cumprod(pt.sqrt(1.0 - partial**2), axis=-1)  # of the length of a row, after each column
        lower = (partial + np.eye(d)) * pt.concatenate([pt.ones((n, d, 1)), left[:, :, :-1]], axis=-1)
        scaled = sd[:, :, None] * lower
        return scaled @ scaled.mT

    def log_density(cov, factor):
        sd = pt.sqrt(_diagonal(cov))
        sum_log_sd = pt.sum(pt.log(sd), axis=-1)
        log_det = -2.0 * pt.sum(pt.log(_diagonal(factor)), axis=-1) - 2.0 * sum_log_sd  # of the correlations
        jacobian = d * np.log(2.0) + d * sum_log_sd  # of (sigma, R) -> Sigma
        log_prior: Any = pm.logp(sigma.dist(shape=sd.type.shape), sd)
        return pt.sum(log_prior, axis=-1) + constant + (eta - 1.0) * log_det - jacobian

    return draw, log_density


class FactorTransform(Transform):
    """Lower triangles of P row by row, logarithms on the diagonal: (cluster, D (D + 1) / 2).

    With `shared` the matrices are copies of one, which has all the coordinates: (D (D + 1) / 2,).
    """

    name = "log-factor"  # no underscore: PyMC takes the last one for the end of the variable's own name

    def __init__(self, n_components: int, n_features: int, shared: bool):
        self.shape, self.shared = (n_components, n_features, n_features), shared
        rows, columns = np.tril_indices(n_features)
        self.on_diagonal = rows == columns
        self.lower = np.tri(n_features, dtype=bool)
        self.coordinate = np.cumsum(self.lower) - 1  # of each entry of the lower triangle
        self.entry = np.flatnonzero(self.lower)  # of each coordinate

    def backward(self, value, *inputs):
        """Covariances at these coordinates."""
        k, d, _ = self.shape
        count = 1 if self.shared else k
        value = value.reshape((count, len(self.entry)))
        flat = pt.where(self.on_diagonal, pt.exp(pt.where(self.on_diagonal, value, 0.0)), value)
        # picked along the first axis: indices on another compile much longer
        factor = pt.where(self.lower, flat.T[self.coordinate].T.reshape((count, d, d)), 0.0)
        return covariance(pt.repeat(factor, k, axis=0) if self.shared else factor)

    def forward(self, value, *inputs):
        """Coordinates of these covariances."""
        k, d, _ = self.shape
        flat = precision_factor(value).reshape((k, d * d)).T[self.entry].T
        flat = pt.where(self.on_diagonal, pt.log(pt.where(self.on_diagonal, flat, 1.0)), flat)
        return flat[0] if self.shared else flat

    def log_jac_det(self, value, *inputs):
        r""":math:`D \log 2 + \sum_i (i - 2 D - 1) \log P_{ii}`, i = 1 ... D, for each matrix."""
        d = self.shape[-1]
        exponents = np.zeros(len(self.entry))
        exponents[self.on_diagonal] = np.arange(d) - 2.0 * d
        return d * np.log(2.0) + pt.sum(value * exponents, axis=-1)


# -- diagonal matrices ---------------------------------------------------------------------------------------------------
def variances(sigma, n_components: int, n_features: int, spherical: bool, name: str = "cov"):
    """Make the variable of diagonal matrices from a prior of standard deviations, one per cluster if `spherical`.

    Returns it, (cluster, feature, feature), and 1 / sigma, (cluster, feature).
    """
    shape = (n_components, 1 if spherical else n_features)

    def random(size):
        sd = pt.specify_shape(sigma.dist(shape=shape), shape)
        return sd[:, :, None] ** 2 * np.eye(n_features)

    def logp(cov):
        sd = pt.sqrt(_diagonal(cov)[:, : shape[1]])
        log_prior: Any = pm.logp(sigma.dist(shape=shape), sd)
        return pt.sum(log_prior - pt.log(2.0 * sd), axis=-1)

    cov = pm.CustomDist(
        name, dist=random, logp=logp, signature="->(d,d)", class_name="DiagonalCovariance",
        transform=SdTransform(shape, n_features), shape=(n_components, n_features, n_features), dims=_dims(),
    )  # fmt: skip
    return cov, 1.0 / pt.sqrt(_diagonal(cov))


class SdTransform(Transform):
    """Log standard deviations: (cluster, feature), or (cluster, 1) where they are the same for all features."""

    name = "log-sd"

    def __init__(self, shape: tuple, n_features: int):
        self.shape, self.n_features = shape, n_features

    def backward(self, value, *inputs):
        """Diagonal matrices at these coordinates."""
        return pt.exp(2.0 * value)[:, :, None] * np.eye(self.n_features)

    def forward(self, value, *inputs):
        """Coordinates of these matrices."""
        return 0.5 * pt.log(_diagonal(value)[:, : self.shape[1]])

    def log_jac_det(self, value, *inputs):
        """Log 2 sigma^2, summed over the features."""
        return pt.sum(np.log(2.0) + 2.0 * value, axis=-1)
