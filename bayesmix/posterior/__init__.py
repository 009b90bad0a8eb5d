"""Posterior densities in free coordinates: compiled ahead for common priors, through PyTensor for all others."""

from ..arrays import Data
from ..mixture import Mixture


def posterior_of(mixture: Mixture, data: Data):
    """Make the posterior of a mixture for data: `DirectPosterior` where it applies, otherwise `GraphPosterior`."""
    from .direct import DirectPosterior

    if DirectPosterior.applies(mixture, data):
        return DirectPosterior(mixture, data)
    from .graph import GraphPosterior

    return GraphPosterior(mixture, data)
