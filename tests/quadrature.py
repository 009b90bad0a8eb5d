"""Evidence of small mixtures by brute force: Gauss' rules over all parameters."""

import numpy as np
from scipy import stats


def log_evidence_of_two_poisson_components(counts, shape: float, rate: float, points: int = 120) -> float:
    """Log evidence of counts under two Poisson components, rates Gamma(shape, rate), weights uniform.

    Rates are integrated as quantiles of their prior, and so is the weight: Gauss-Legendre in the unit cube.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    nodes, weights = 0.5 * (nodes + 1), 0.5 * weights
    mu = stats.gamma(shape, scale=1 / rate).ppf(nodes)
    density = stats.poisson(mu[:, None]).pmf(np.asarray(counts))  # (point, count)
    total = 0.0
    for w, share in zip(nodes, weights, strict=True):
        product = np.prod(w * density[:, None] + (1 - w) * density[None], axis=-1)  # (point, point)
        total += share * weights @ product @ weights
    return float(np.log(total))
