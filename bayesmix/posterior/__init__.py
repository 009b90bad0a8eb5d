"""Posterior densities in free coordinates: compiled ahead for common priors, through PyTensor for all others."""

from ..arrays import Data
from ..mixture import Mixture
from ..priors import HierarchicalGamma, HierarchicalInverseGamma, HierarchicalInverseWishart


def posterior_of(mixture: Mixture, data: Data):
    """Make the posterior of a mixture for data: `DirectPosterior` where it applies, otherwise `GraphPosterior`.

    Raises
    ------
    ValueError
        If a prior is hierarchical: only `bayesmix.gibbs` samples a hyperparameter beside the parameters. If every
        parameter is known, so that there is nothing to draw.
    """
    k = mixture.n_components
    if not mixture.weights.n_free(k) and not mixture.component.n_free(k, data.n_features):
        raise ValueError(
            f"every parameter of this {mixture} is known: there is no posterior to find. bm.em(mixture, data) gives its "
            "log-likelihood, bm.Fit.from_parameters its predictions."
        )
    for name, prior in mixture.component.priors(data, mixture.n_components).items():
        if isinstance(prior, HierarchicalGamma | HierarchicalInverseGamma | HierarchicalInverseWishart):
            raise ValueError(
                f"the prior of {name} is {prior}, whose scale is random, which bm.gibbs alone samples; use it, or a prior "
                "whose scale is a number."
            )
    from .direct import DirectPosterior

    if DirectPosterior.applies(mixture, data):
        return DirectPosterior(mixture, data)
    from .graph import GraphPosterior

    return GraphPosterior(mixture, data)
