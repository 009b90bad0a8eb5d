"""One covariance matrix for all components (EEE in mclust's names)."""

import numpy as np

from ...priors import InverseWishart
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
from .full import same


class Tied(Structure):
    """One free matrix shared by all components: D (D + 1) / 2 parameters."""

    letters = "EEE"
    compiled = "tied"
    kernel = "full"
    takes = ("cov", "sigma", "corr")
    prior_on = "cov"

    def n_free(self, n_components, n_features):
        """D (D + 1) / 2."""
        return n_features * (n_features + 1) // 2

    def m_step(self, scatter, n, guard, before=None):
        """Scatter of all components, over all rows."""
        total, rows = scatter.sum(axis=0), n.sum()
        if guard is not None:
            total, rows = total + len(n) * guard.second, rows + len(n) * guard.n
        return np.repeat((total / rows)[None], len(n), axis=0)

    def belongs(self, cov):
        """All matrices are equal."""
        return same(cov, cov[:1])

    def expand(self, value, n_components, n_features):
        """(feature, feature) for all components."""
        return np.repeat(value[None], n_components, axis=0) if value.shape == (n_features, n_features) else None

    def factor(self, cov):
        """P, the same for all components."""
        return precision_factor(cov)

    def to_vector(self, cov):
        """Log-Cholesky coordinates of the shared precision."""
        return factor_to_coordinates(precision_factor(cov[0]))

    def from_vector(self, vector, n_components, n_features):
        """The shared covariance, repeated."""
        shared = coordinates_to_cov(vector, n_features)
        return np.repeat(shared[..., None, :, :], n_components, axis=-3)

    def vector_gradient(self, cov, d_b):
        """Summed over the components."""
        return factor_gradient(precision_factor(cov[0]), d_b.sum(axis=0))

    def jacobian(self, cov):
        """The shared matrix's, repeated."""
        return np.repeat(factor_jacobian(cov[:1]), len(cov), axis=0)

    def coordinate_scale(self, cov):
        """Scale of the coordinates of P."""
        return factor_scale(cov[0])

    def default_prior(self, variance_matrix, n_components):
        """Inverse Wishart with D + 2 degrees of freedom and scale S / K^(2/D) (Fraley & Raftery 2007)."""
        d = len(variance_matrix)
        return InverseWishart(d + 2.0, variance_matrix * volume_scale(n_components, d))

    def shared_prior(self, width):
        """Inverse Wishart with a random scale matrix."""
        return shared_matrix(width)

    def pymc_variable(self, priors, n_components, n_features, name="cov"):
        """One matrix, repeated."""
        from .variable import matrices

        return matrices(priors, n_components, n_features, shared=True, name=name)
