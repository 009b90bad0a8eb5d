"""A free covariance matrix for each component (VVV in mclust's names)."""

import numpy as np

from ...priors import InverseWishart
from ..normal import pooled_with_guard
from .base import (
    Structure,
    coordinates_to_cov,
    factor_gradient,
    factor_jacobian,
    factor_scale,
    factor_to_coordinates,
    precision_factor,
    shared_matrix,
    volume_scale,
)


class Full(Structure):
    """K free matrices: K D (D + 1) / 2 parameters."""

    letters = "VVV"
    compiled = "full"
    kernel = "full"
    takes = ("cov", "sigma", "corr")
    prior_on = "cov"

    def n_free(self, n_components, n_features):
        """K D (D + 1) / 2."""
        return n_components * n_features * (n_features + 1) // 2

    def m_step(self, scatter, n, guard, before=None):
        """Scatter of each component over its rows."""
        return pooled_with_guard(scatter, n, guard)

    def belongs(self, cov):
        """Any covariances do."""
        return True

    def expand(self, value, n_components, n_features):
        """There is no shorter form than (cluster, feature, feature)."""
        return None

    def factor(self, cov):
        """P, the inverse of the lower Cholesky factor."""
        return precision_factor(cov)

    def to_vector(self, cov):
        """Log-Cholesky coordinates of the precision, component by component."""
        return factor_to_coordinates(precision_factor(cov)).ravel()

    def from_vector(self, vector, n_components, n_features):
        """Covariances at these coordinates."""
        return coordinates_to_cov(vector.reshape(*vector.shape[:-1], n_components, -1), n_features)

    def vector_gradient(self, cov, d_b):
        """Component by component."""
        return factor_gradient(precision_factor(cov), d_b).ravel()

    def jacobian(self, cov):
        """Component by component."""
        own = factor_jacobian(cov)[..., None, :] * np.eye(len(cov))[:, None, None, :, None]
        return own.reshape(*cov.shape, -1)

    def coordinate_scale(self, cov):
        """Scale of the coordinates of P."""
        return factor_scale(cov).ravel()

    def default_prior(self, variance_matrix, n_components):
        """Inverse Wishart with D + 2 degrees of freedom and scale S / K^(2/D) (Fraley & Raftery 2007)."""
        d = len(variance_matrix)
        return InverseWishart(d + 2.0, variance_matrix * volume_scale(n_components, d))

    def shared_prior(self, width):
        """Inverse Wishart with a random scale matrix."""
        return shared_matrix(width)

    def pymc_variable(self, priors, n_components, n_features, name="cov"):
        """Covariances from the inverse Wishart prior, or from standard deviations and correlations."""
        from .variable import matrices

        return matrices(priors, n_components, n_features, shared=False, name=name)


def same(left, right) -> bool:
    """Are two sets of covariances equal to a relative 1e-8, in units of the largest variance of each matrix?"""
    size = np.abs(np.asarray(right)).max(axis=(-1, -2), keepdims=True)
    return bool(np.all(np.abs(left - right) <= 1e-8 * size))
