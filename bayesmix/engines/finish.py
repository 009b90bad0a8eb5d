"""The last part of a slow run: quasi-Newton steps on the exact gradient, where EM would need thousands of passes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..likelihood.likelihood import Likelihood

PAIRS = 20  # pairs of steps and gradients that L-BFGS remembers
GRADIENT = 1e-7  # nats per standard error of a coordinate: below this it stops


class Finish(NamedTuple):
    """Where the quasi-Newton steps ended."""

    params: dict
    trace: np.ndarray  # objective at each step
    n_passes: int
    distance: float  # length of the Newton step that is left, in standard deviations of components and log units


def finish(likelihood: Likelihood, params: dict, value_and_gradient: Callable, max_passes: int) -> Finish | None:
    """Maximise the objective from `params` by L-BFGS (Liu & Nocedal 1989), by SciPy; None where that is no way.

    Each step takes one pass, whose statistics are also the gradient (Fisher's identity). Coordinates are measured in
    rough standard errors. What is left to go is the step that the approximate inverse Hessian would take next.
    """
    from scipy.optimize import minimize

    start = likelihood.to_vector(params)
    if not np.all(np.isfinite(start)) or max_passes < 2:
        return None
    rows = np.maximum(params["weights"], 1e-3).min() * likelihood.data.total_weight
    unit = likelihood.coordinate_scale(start) / np.sqrt(rows)
    passes, trace = [0], []

    def objective(z):
        passes[0] += 1
        try:
            value, gradient = value_and_gradient(start + unit * z)
        except (np.linalg.LinAlgError, FloatingPointError, ZeroDivisionError):
            return np.inf, np.zeros_like(z)
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            return np.inf, np.zeros_like(z)
        return -value, -unit * gradient

    def follow(intermediate_result):
        trace.append(-float(intermediate_result.fun))

    options = {"maxcor": PAIRS, "maxiter": max_passes, "maxfun": max_passes, "ftol": 1e-16, "gtol": GRADIENT}
    with np.errstate(all="ignore"):
        found = minimize(objective, np.zeros(len(start)), jac=True, method="L-BFGS-B", callback=follow, options=options)
        if not np.isfinite(found.fun) or not trace:
            return None
        left = unit * found.hess_inv.matvec(found.jac)
    distance = float(np.abs(left / likelihood.coordinate_scale(start + unit * found.x)).max())
    return Finish(likelihood.from_vector(start + unit * found.x), np.array(trace), passes[0], distance)
