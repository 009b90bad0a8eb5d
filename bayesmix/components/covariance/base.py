"""What a covariance structure promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...priors import HierarchicalInverseWishart


@dataclass(frozen=True)
class Structure(ABC):
    """A set of covariance matrices (cluster, feature, feature): its M-step, its free coordinates, its PyMC variables.

    The coordinates are logarithms on the diagonal of the precision factor P, with Sigma^-1 = P'P, and the entries of P
    below it. Scatter and gradients come in the shape of the structure's kernel: (cluster, feature) for ``diagonal``,
    (cluster, feature, feature) for ``full``.
    """

    letters: ClassVar[str]  # mclust's name: volume, shape and orientation are equal, variable, or those of the identity
    kernel: ClassVar[str]
    prior_on: ClassVar[str]  # "cov" or "sigma": which parameter the default prior is on
    takes: ClassVar[tuple[str, ...]]  # the priors that a user can give
    compiled: ClassVar[str | None] = None  # its name in bayesmix.engines.loop

    @abstractmethod
    def n_free(self, n_components: int, n_features: int) -> int:
        """Number of free parameters."""

    @abstractmethod
    def m_step(self, scatter: np.ndarray, n: np.ndarray, guard, before: np.ndarray | None = None) -> np.ndarray:
        """Covariances (cluster, feature, feature) of greatest expected likelihood, given scatter and rows.

        `before` are the covariances so far, from which iterations start.
        """

    @abstractmethod
    def belongs(self, cov: np.ndarray) -> bool:
        """Do these covariances have the structure (to a relative 1e-8)?"""

    @abstractmethod
    def expand(self, value: np.ndarray, n_components: int, n_features: int) -> np.ndarray | None:
        """Covariances from the structure's own compact form, or None if the shape is not that form."""

    @abstractmethod
    def factor(self, cov: np.ndarray) -> np.ndarray:
        """The kernel's b: P (cluster, feature, feature), or 1 / sigma (cluster, feature)."""

    @abstractmethod
    def to_vector(self, cov: np.ndarray) -> np.ndarray:
        """Free coordinates of the covariances."""

    @abstractmethod
    def from_vector(self, vector: np.ndarray, n_components: int, n_features: int) -> np.ndarray:
        """Covariances (..., cluster, feature, feature) at coordinates (..., n_free)."""

    @abstractmethod
    def vector_gradient(self, cov: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """Gradient in free coordinates, from the gradient in the kernel's b."""

    def gradient_at(self, vector: np.ndarray, cov: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """Gradient at coordinates whose covariances are `cov`: these need not be the ones that `to_vector` chooses."""
        return self.vector_gradient(cov, d_b)

    def vector_curvature(self, cov: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """Second derivative of b in each coordinate, times the gradient in b: (n_free,).

        1 / sigma = exp(-t), and entries of P are exp(t) on the diagonal, t below it.
        """
        gradient = self.vector_gradient(cov, d_b)
        if self.kernel == "diagonal":
            return -gradient
        rows, columns = np.tril_indices(cov.shape[-1])
        return np.where(np.resize(rows == columns, gradient.shape), gradient, 0.0)

    def curvature_at(self, vector: np.ndarray, cov: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """`vector_curvature` at coordinates whose covariances are `cov`; see `gradient_at`."""
        return self.vector_curvature(cov, d_b)

    @abstractmethod
    def jacobian(self, cov: np.ndarray) -> np.ndarray:
        """Derivatives of the covariances in free coordinates: (cluster, feature, feature, n_free)."""

    def coordinate_scale(self, cov: np.ndarray) -> np.ndarray:
        """Length over which the density changes in each coordinate: 1 for logarithms, entries of P by their column."""
        return np.ones(self.n_free(len(cov), cov.shape[-1]))

    @abstractmethod
    def default_prior(self, variance_matrix: np.ndarray, n_components: int):
        """Prior made from the covariance matrix of the data: on `prior_on`."""

    def further_priors(self, variance_matrix: np.ndarray) -> dict:
        """Priors, by name, of what the one on `prior_on` leaves open."""
        return {}

    @abstractmethod
    def shared_prior(self, width: np.ndarray):
        """Prior whose scale is shared by all components and random, for data of these ranges (feature,)."""

    @abstractmethod
    def pymc_variable(self, priors: Mapping, n_components: int, n_features: int, name: str = "cov"):
        """Make the free variable of the matrices in the open model; returns it and the kernel's b."""


def volume_scale(n_components: int, n_features: int) -> float:
    """K^(-2/D): how much smaller a variance is when K components share the volume (Fraley & Raftery 2007)."""
    return float(n_components ** (-2.0 / n_features))


def shared_matrix(width: np.ndarray) -> HierarchicalInverseWishart:
    """Inverse Wishart with a random scale matrix (Frühwirth-Schnatter, Malsiner-Walli & Grün 2021, sec. 5.2).

    D + 4 degrees of freedom, and a Wishart matrix of D with mean (D + 4) / 100 diag(range^2).
    """
    d = len(width)
    return HierarchicalInverseWishart(d + 4.0, np.diag((d + 4.0) / 100.0 * width**2), float(d))


def diagonal_of(cov: np.ndarray) -> np.ndarray:
    """Variances (..., feature) of covariance matrices (..., feature, feature)."""
    return np.diagonal(cov, axis1=-2, axis2=-1)


def diagonal_matrices(variance: np.ndarray) -> np.ndarray:
    """Diagonal matrices (..., feature, feature) of variances (..., feature)."""
    return variance[..., None] * np.eye(variance.shape[-1])


def precision_factor(cov: np.ndarray) -> np.ndarray:
    """Lower triangular P with Sigma^-1 = P'P, that is the inverse of the lower Cholesky factor, batched."""
    return np.tril(np.linalg.inv(np.linalg.cholesky(cov)))


def factor_to_coordinates(factor: np.ndarray) -> np.ndarray:
    """Lower triangle of P row by row, logarithms on the diagonal: (..., D, D) -> (..., D (D + 1) / 2)."""
    rows, columns = np.tril_indices(factor.shape[-1])
    flat = factor[..., rows, columns].copy()
    flat[..., rows == columns] = np.log(flat[..., rows == columns])
    return flat


def coordinates_to_cov(flat: np.ndarray, n_features: int) -> np.ndarray:
    """Inverse of `factor_to_coordinates`, on to the covariance: (..., D (D + 1) / 2) -> (..., D, D)."""
    rows, columns = np.tril_indices(n_features)
    factor = np.zeros((*flat.shape[:-1], n_features, n_features))
    factor[..., rows, columns] = np.where(rows == columns, np.exp(np.where(rows == columns, flat, 0.0)), flat)
    cholesky = np.tril(np.linalg.inv(factor))
    return cholesky @ np.swapaxes(cholesky, -1, -2)


def factor_gradient(factor: np.ndarray, d_factor: np.ndarray) -> np.ndarray:
    """Gradient in the coordinates of `factor_to_coordinates`: on the diagonal times P itself."""
    rows, columns = np.tril_indices(factor.shape[-1])
    gradient = d_factor[..., rows, columns].copy()
    gradient[..., rows == columns] *= diagonal_of(factor)
    return gradient


def factor_jacobian(cov: np.ndarray) -> np.ndarray:
    r"""Derivatives of Sigma (..., D, D) in the coordinates of `factor_to_coordinates`: (..., D, D, D (D + 1) / 2).

    :math:`d\Sigma = -(L\, dP\, \Sigma + \Sigma\, dP' L')` with :math:`L = P^{-1}`; on the diagonal of P its entry is a factor.
    """
    rows, columns = np.tril_indices(cov.shape[-1])
    cholesky = np.linalg.cholesky(cov)
    half = -cholesky[..., :, None, rows] * cov[..., None, :, columns]
    half = np.where(rows == columns, half / diagonal_of(cholesky)[..., None, None, rows], half)
    return half + np.swapaxes(half, -2, -3)


def factor_scale(cov: np.ndarray) -> np.ndarray:
    """Scale of the coordinates of `factor_to_coordinates`: 1 on the diagonal, 1 / sigma of the column elsewhere."""
    rows, columns = np.tril_indices(cov.shape[-1])
    inverse_sd = 1.0 / np.sqrt(diagonal_of(cov))
    return np.where(rows == columns, 1.0, inverse_sd[..., columns])
