r"""The guard of EM against collapse: imaginary rows with the spread that components have among themselves.

The likelihood of a normal mixture is unbounded where a component shrinks onto a row. Chen & Tan (2009) add
:math:`-a_n \sum_k [\operatorname{tr}(S \Sigma_k^{-1}) + \log|\Sigma_k|]`, the log density of :math:`2 a_n` rows per
component with covariance S, with :math:`a_n` of order :math:`1/\sqrt{n}`, and keep the estimate consistent. Their S is
the covariance of all data, which is far too wide for clusters far apart. Here S is the covariance pooled within the
components of a first fit, found by repeating fit and S until S settles: no distance between clusters changes it.
"""

import numpy as np

from ..components.base import Guard
from ..likelihood.likelihood import Likelihood
from .climb import short_run
from .starts import start

FIRST_STARTS = 8
FIRST_PASSES = 25
ROUNDS = 60


def settled_guard(likelihood: Likelihood, strength: float, rng: np.random.Generator, given=None) -> Guard | None:
    """Make the guard of `strength` rows per component about a first fit, or about given parameters.

    None for families that cannot collapse.
    """
    first = likelihood.component.guard(likelihood.data, strength)
    if first is None:
        return None
    guard = first
    run = {"max_iter": FIRST_PASSES, "tol": 1e-6}
    starts = [given] if given else [start(likelihood, "auto", stream) for stream in rng.spawn(FIRST_STARTS)]
    fits = [short_run(likelihood, params, guard=guard, **run) for params in starts]
    best = max(fits, key=lambda fit: fit.objective)
    for _ in range(ROUNDS):
        if best.collapsed or not np.isfinite(best.objective):
            break
        narrower = likelihood.component.guard_settling(best.params, strength, first)
        settled = np.allclose(narrower.second, guard.second, rtol=1e-3, atol=1e-3 * np.abs(narrower.second).max())
        guard = narrower
        if settled:
            break
        best = short_run(likelihood, best.params, guard=guard, **run)
    return guard
