"""One variance for all features of a component (VII in mclust's names)."""

import numpy as np

from ...priors import ScaledInverseChiSquared
from ..normal import is_empty, shared_scale
from .base import Structure, diagonal_matrices, diagonal_of, volume_scale
from .full import same


class Spherical(Structure):
    """K multiples of the identity: K parameters. Only for features in the same units."""

    letters = "VII"
    compiled = "spherical"
    kernel = "diagonal"
    takes = ("sigma",)
    prior_on = "sigma"

    def n_free(self, n_components, n_features):
        """K."""
        return n_components

    def m_step(self, scatter, n, guard, before=None):
        """Scatter of all features in each component, over its rows times the features."""
        n_features = scatter.shape[1]
        total, rows = scatter.sum(axis=1), np.where(is_empty(n, guard), 1.0, n)
        if guard is not None:
            total, rows = total + guard.second.sum(), rows + guard.n
        return self._matrices(total / (rows * n_features), n_features)

    @staticmethod
    def _matrices(variance, n_features):
        return diagonal_matrices(np.repeat(variance[..., None], n_features, axis=-1))

    def belongs(self, cov):
        """A multiple of the identity."""
        return same(cov, self._matrices(diagonal_of(cov).mean(axis=-1), cov.shape[-1]))

    def expand(self, value, n_components, n_features):
        """Variances (cluster,)."""
        return self._matrices(value, n_features) if value.shape == (n_components,) else None

    def factor(self, cov):
        """1 / sigma, (cluster, feature), the same for all features."""
        return 1.0 / np.sqrt(diagonal_of(cov))

    def to_vector(self, cov):
        """Logarithm of the standard deviations."""
        return 0.5 * np.log(cov[:, 0, 0])

    def from_vector(self, vector, n_components, n_features):
        """Multiples of the identity at these coordinates."""
        return self._matrices(np.exp(2.0 * vector), n_features)

    def vector_gradient(self, cov, d_b):
        """Summed over the features."""
        return (-d_b * self.factor(cov)).sum(axis=1)

    def jacobian(self, cov):
        """D sigma^2 / d log sigma = 2 sigma^2."""
        return 2.0 * cov[..., None] * np.eye(len(cov))[:, None, None]

    def default_prior(self, variance_matrix, n_components):
        """Scaled inverse chi-squared with 3 degrees of freedom, from the mean variance (Fraley & Raftery 2007)."""
        d = len(variance_matrix)
        scale = np.sqrt(diagonal_of(variance_matrix).mean() * volume_scale(n_components, d) / 3.0)
        return ScaledInverseChiSquared(3.0, scale)

    def shared_prior(self, width):
        """Richardson & Green's (1997), for the quadratic mean of the ranges."""
        return shared_scale(float(np.sqrt(np.mean(width**2))))

    def pymc_variable(self, priors, n_components, n_features, name="cov"):
        """Multiples of the identity from the prior of the standard deviations."""
        from .variable import variances

        return variances(priors["sigma"], n_components, n_features, spherical=True, name=name)
