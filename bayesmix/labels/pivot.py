"""Pivotal reordering: labels by distance of the parameters from a pivot point."""

import numpy as np

from bayesmix.labels.assignment import best_assignment
from bayesmix.labels.base import Relabelling


def pivot(parameters, pivot, scale=None, groups=None):
    """Relabel so that each draw's parameters are as close as possible to those of a pivot, e.g. the best draw.

    perm_s = argmin_p Σ_c Σ_j ((θ_{s,p(c),j} − pivot_cj) / scale_j)².

    Marin, Mengersen & Robert (2005) maximise the scalar product Σ θ · pivot, which picks the same
    permutation as the least squared distance (the norms do not depend on it). Their parameters keep their units, so
    that one in grams outvotes one in kilograms; here each is divided by its standard deviation over draws and
    components unless ``scale`` says otherwise (``scale=1`` is the original).

    One pass and no iteration: quick, but a pivot that is odd gives odd labels.

    Parameters
    ----------
    parameters : array_like (draw, component, parameter)
        All parameters of a component side by side, best on a scale where they are roughly symmetric (log of a
        variance, logit of a probability).
    pivot : array_like (component, parameter)
    scale : float or array_like (parameter,), optional
        Unit of each parameter.
    groups : array_like of int (component,), optional
        Only components of the same group change places.

    Returns
    -------
    Relabelling
        ``margin`` is 1 − (distance² of the best) / (distance² of the second best permutation), in [0, 1].

    References
    ----------
    Marin, J.-M., Mengersen, K. & Robert, C. P. (2005). Bayesian modelling and inference on mixtures of distributions.
    Handbook of Statistics 25, 459-507.
    """
    parameters, pivot = np.asarray(parameters, dtype=float), np.asarray(pivot, dtype=float)
    if parameters.ndim != 3 or 0 in parameters.shape or pivot.shape != parameters.shape[1:]:
        raise ValueError(
            f"`parameters` has shape {parameters.shape} and `pivot` {pivot.shape}; they need "
            "(draw, component, parameter) and (component, parameter)."
        )
    if scale is None:
        scale = parameters.std(axis=(0, 1))
        scale = np.where(scale > 0, scale, 1.0)  # a parameter that never varies has no say
    parameters, pivot = parameters / scale, pivot / scale
    cost = np.zeros((len(parameters), len(pivot), len(pivot)))
    for j in range(pivot.shape[1]):  # one parameter at a time: no (draw, component, component, parameter) array
        cost += (parameters[:, None, :, j] - pivot[:, None, j]) ** 2
    perm, margin = best_assignment(cost, groups)
    best = np.take_along_axis(cost, perm[:, :, None], axis=2).sum(axis=(1, 2))
    second = best + margin
    relative = np.divide(margin, second, out=np.zeros_like(margin), where=(second > 0) & np.isfinite(margin))
    return Relabelling(perm, np.where(np.isfinite(margin), relative, np.inf), 1, "pivotal reordering", True)
