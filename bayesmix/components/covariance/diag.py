"""Independent features within each component (VVI in mclust's names)."""

import numpy as np

from ...priors import ScaledInverseChiSquared
from ..normal import pooled_with_guard, shared_scale
from .base import Structure, diagonal_matrices, diagonal_of, volume_scale
from .full import same


class Diagonal(Structure):
    """K free diagonal matrices: K D parameters."""

    letters = "VVI"
    compiled = "diag"
    kernel = "diagonal"
    takes = ("sigma",)
    prior_on = "sigma"

    def n_free(self, n_components, n_features):
        """K D."""
        return n_components * n_features

    def m_step(self, scatter, n, guard, before=None):
        """Scatter of each feature in each component, over its rows."""
        return diagonal_matrices(pooled_with_guard(scatter, n, guard))

    def belongs(self, cov):
        """Nothing off the diagonal."""
        return same(cov, diagonal_matrices(diagonal_of(cov)))

    def expand(self, value, n_components, n_features):
        """Variances (cluster, feature)."""
        return diagonal_matrices(value) if value.shape == (n_components, n_features) else None

    def factor(self, cov):
        """1 / sigma, (cluster, feature)."""
        return 1.0 / np.sqrt(diagonal_of(cov))

    def to_vector(self, cov):
        """Logarithm of the standard deviations."""
        return 0.5 * np.log(diagonal_of(cov)).ravel()

    def from_vector(self, vector, n_components, n_features):
        """Diagonal matrices at these coordinates."""
        return diagonal_matrices(np.exp(2.0 * vector.reshape(*vector.shape[:-1], n_components, n_features)))

    def vector_gradient(self, cov, d_b):
        """D / d log sigma = -(1 / sigma) d / d (1 / sigma)."""
        return (-d_b * self.factor(cov)).ravel()

    def jacobian(self, cov):
        """D sigma^2 / d log sigma = 2 sigma^2."""
        k, d, _ = cov.shape
        jacobian = np.zeros((k, d, d, k, d))
        every = np.arange(d)
        for one in range(k):
            jacobian[one, every, every, one, every] = 2.0 * diagonal_of(cov[one])
        return jacobian.reshape(k, d, d, k * d)

    def default_prior(self, variance_matrix, n_components):
        """Scaled inverse chi-squared with 3 degrees of freedom per variance, after Fraley & Raftery (2007)."""
        d = len(variance_matrix)
        return ScaledInverseChiSquared(3.0, np.sqrt(diagonal_of(variance_matrix) * volume_scale(n_components, d) / 3.0))

    def shared_prior(self, width):
        """Richardson & Green's (1997), feature by feature."""
        return shared_scale(width)

    def pymc_variable(self, priors, n_components, n_features, name="cov"):
        """Diagonal matrices from the prior of the standard deviations."""
        from .variable import variances

        return variances(priors["sigma"], n_components, n_features, spherical=False, name=name)
