r"""Loadings of factor analysers as one free variable of a PyMC model.

Normal loadings of mean 0, rotated so that those above the diagonal are zero and the diagonal is positive: below it they are
normal as before, and :math:`\Lambda_{jj} / s_j` is the root of a chi-squared variable with q - j degrees of freedom, j = 0
... q - 1, whatever the order of the columns (Leung & Drton 2016).
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor
from pymc.logprob.transforms import Transform
from scipy.special import gammaln

from ..priors import dim

pt: Any = pytensor.tensor  # its annotations name every kind of result at once


def loadings(scale: np.ndarray, n_components: int, n_factors: int):
    """Make the variable, (cluster, feature, factor), in the open model; scale (feature,) is that of the normal prior."""
    k, d, q = n_components, len(scale), n_factors
    lower = np.tri(d, q)
    diagonal = np.eye(d, q)
    freedom = np.maximum(q - np.arange(d), 1.0)[:, None] * diagonal
    unit = scale[:, None]
    # log densities of chi and of normal variables, constants included
    chi = np.sum(((1.0 - 0.5 * freedom) * np.log(2.0) - gammaln(np.maximum(0.5 * freedom, 0.5))) * diagonal)
    normal = -0.5 * np.log(2.0 * np.pi) * np.sum(lower - diagonal)
    constant = chi + normal - np.sum(lower * np.log(unit))

    def random(size):
        below = pm.Normal.dist(shape=(k, d, q)) * (lower - diagonal)
        own = pt.sqrt(pm.ChiSquared.dist(np.maximum(freedom, 1.0), shape=(k, d, q))) * diagonal
        return (below + own) * unit

    def logp(value):
        z = value / unit
        on_diagonal = pt.where(diagonal > 0, z, 1.0)
        terms = (freedom - 1.0) * diagonal * pt.log(on_diagonal) - 0.5 * lower * z**2
        return pt.sum(terms, axis=(-1, -2)) + constant

    return pm.CustomDist(
        "loadings", dist=random, logp=logp, signature="->(d,q)", class_name="RotatedLoadings",
        transform=LoadingsTransform(k, d, q), shape=(k, d, q), dims=("cluster", dim("feature"), dim("factor")),
    )  # fmt: skip


class LoadingsTransform(Transform):
    """Loadings on and below the diagonal row by row, logarithms on it: (cluster, D q - q (q - 1) / 2)."""

    name = "log-diagonal"

    def __init__(self, n_components: int, n_features: int, n_factors: int):
        self.shape = (n_components, n_features, n_factors)
        self.lower = np.tri(n_features, n_factors, dtype=bool)
        rows, columns = np.nonzero(self.lower)
        self.on_diagonal = rows == columns
        self.entry = np.flatnonzero(self.lower)
        self.coordinate = np.maximum(np.cumsum(self.lower) - 1, 0)

    def backward(self, value, *inputs):
        """Loadings at these coordinates."""
        flat = pt.where(self.on_diagonal, pt.exp(pt.where(self.on_diagonal, value, 0.0)), value)
        return pt.where(self.lower, flat.T[self.coordinate].T.reshape(self.shape), 0.0)

    def forward(self, value, *inputs):
        """Coordinates of these loadings."""
        k, d, q = self.shape
        flat = value.reshape((k, d * q)).T[self.entry].T
        return pt.where(self.on_diagonal, pt.log(pt.where(self.on_diagonal, flat, 1.0)), flat)

    def log_jac_det(self, value, *inputs):
        """Sum of the logarithms of the diagonal, for each component."""
        return pt.sum(value * self.on_diagonal, axis=-1)
