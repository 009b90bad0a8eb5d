"""Weights of a mixture that are known, and not estimated: what `bayesmix.Fixed` says of them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .constraints import Fixed
from .priors import _floats, _text, storable
from .weight_priors import WeightsPrior

NOT_ONE = 1e-8  # most that known weights may miss a sum of 1 by: they were written with that many digits


@storable
@dataclass(frozen=True)
class KnownWeights(WeightsPrior):
    """Weights that are known, one for each component: what ``bm.Mixture(..., weights=bm.Fixed([0.7, 0.3]))`` holds.

    They count as no parameters, have no prior, and are constants of every model. Components of different weights cannot
    change places.

    Parameters
    ----------
    value : tuple of float
        The weights, positive, with sum 1.
    """

    value: tuple
    alpha: ClassVar[Any] = None  # there is no concentration

    @classmethod
    def of(cls, fixed: Fixed, n_components: int) -> "KnownWeights":
        """Weights of so many components, or `ValueError`; one number stands for all of them."""
        value = np.asarray(fixed.value, dtype=float)
        if value.ndim == 0:
            value = np.full(n_components, value)
        if value.shape != (n_components,):
            raise ValueError(
                f"weights are fixed at values of shape {value.shape}, but {n_components} components need shape "
                f"({n_components},), one for each. Known weights belong to one number of components: to compare several, "
                "leave the weights free, or give each its own mixture."
            )
        low = np.flatnonzero(value <= 0)
        if np.any(value < 0):
            raise ValueError(f"weights must be positive, but that of component {low[0]} is fixed at {value[low[0]]:g}.")
        if len(low):
            raise ValueError(
                f"the weight of component {low[0]} is fixed at 0: no row comes from it, so that nothing is known of its "
                "parameters. Leave that component out."
            )
        if abs(value.sum() - 1.0) > NOT_ONE:
            raise ValueError(
                f"weights must sum to 1, but those that are fixed, {_text(tuple(value.tolist()))}, sum to {value.sum():.10g}; "
                "divide them by their sum if they are shares of it."
            )
        return cls(tuple((value / value.sum()).tolist()))

    def __post_init__(self):
        value = _floats(self.value, "Fixed", "weights that are known need numbers, such as bm.Fixed([0.7, 0.3])")
        object.__setattr__(self, "value", tuple(value.tolist()))

    @property
    def known(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weights, (cluster,)."""
        return np.array(self.value)

    def check(self, n_components):
        """Raise `ValueError` unless there is one weight for each component."""
        KnownWeights.of(Fixed(self.value), n_components)

    @property
    def exchangeable(self) -> bool:
        """Components of equal weight are alike; the others do not change places (`Mixture.exchangeable`)."""
        return True

    def n_free(self, n_components):
        """None."""
        return 0

    def log_density(self, weights, alpha=None):
        """Zero: what is known has no density."""
        return np.zeros(np.shape(weights)[:-1])

    def draw_given_counts(self, counts, rng, alpha=None):
        """The weights, whatever the counts."""
        return self.known

    def log_allocations(self, counts, alpha=None):
        """Log probability of one sequence of labels, sum of N_k log pi_k."""
        return np.asarray(counts, dtype=float) @ np.log(self.known)

    def pymc_variables(self, n_components):
        """``weights``, a constant."""
        import pymc as pm
        import pytensor.tensor as pt

        return pm.Deterministic("weights", pt.as_tensor(self.known), dims="cluster")

    def start_values(self, weights: np.ndarray) -> dict:
        """None: the weights are no variable."""
        return {}

    def __str__(self):
        return f"Fixed({_text(self.value)})"
