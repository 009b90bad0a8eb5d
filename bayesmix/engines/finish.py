"""The last part of a slow run: Newton or quasi-Newton steps, where EM would need thousands of passes."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..components.base import Guard
from ..likelihood.likelihood import Likelihood

PAIRS = 20  # pairs of steps and gradients that L-BFGS remembers
NEWTON_STEPS = 12
GAIN = 0.2  # of the rounding of the objective, about 1e-11 nats: a step that gains less moves nothing by 5e-6 standard errors
GRADIENT = 1e-7  # nats per standard error of a coordinate: below this it stops


class Finish(NamedTuple):
    """Where the quasi-Newton steps ended."""

    params: dict
    trace: np.ndarray  # objective at each step
    n_passes: int
    distance: float  # length of the Newton step that is left, in standard deviations of components and log units
    settled: bool = False  # would that step gain less than rounding hides?


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


def polish(likelihood: Likelihood, params: dict, guard: Guard | None, tol: float, rounding: float) -> Finish | None:
    """Newton steps with the exact observed information, until the next is shorter than `tol` or gains nothing.

    None where they do not lead anywhere, and where a component of weight zero is not like the others.

    Where the likelihood is nearly flat its rounding hides the optimum from whoever looks at values; the step that is left
    is found from gradient and information all the same. Components of weight zero stay as they are.
    """
    alive = params["weights"] > 0
    if not alive.all() and np.ptp(likelihood.component.exchangeable(likelihood.n_components)):
        return None  # components that are not alike cannot be left out
    k = int(alive.sum())
    part = likelihood if alive.all() else replace(likelihood, n_components=k)
    vector = part.to_vector({name: value[alive] for name, value in params.items()})
    scale, trace, best, previous, passes, settled = part.coordinate_scale(vector), [], -np.inf, np.inf, 0, False
    reached = vector
    for _ in range(NEWTON_STEPS):
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is noticed below
                value, gradient = part.value_and_gradient(vector, guard)
                information = part.information(vector, guard)
        except (np.linalg.LinAlgError, FloatingPointError, ZeroDivisionError):
            break
        passes += 3
        free = (gradient != 0.0) & np.isfinite(vector)  # a coordinate that is as far as EM goes has none
        inside = information[np.ix_(free, free)] * np.outer(scale[free], scale[free])
        if not (np.isfinite(value) and np.all(np.isfinite(inside))) or value < best - rounding:
            break
        curvature, axes = np.linalg.eigh(inside)
        if inside.size and curvature[0] <= 1e-12 * curvature[-1]:
            break  # no maximum here
        step = np.zeros_like(vector)
        along = axes.T @ (gradient[free] * scale[free])
        step[free] = axes @ (along / curvature)
        distance = float(np.abs(step).max(initial=0.0))
        if distance >= previous:
            break
        reached, best, previous = vector, max(best, value), distance
        trace.append(best)
        settled = 0.5 * float(np.sum(along**2 / curvature)) < GAIN * rounding
        if distance <= tol or settled:
            break
        vector = part.to_vector(part.from_vector(vector + step * min(1.0, 1.0 / distance) * scale))
    if not trace:
        return None
    found = {name: value.copy() for name, value in params.items()}
    for name, value in part.from_vector(reached).items():
        found[name][alive] = value
    return Finish(found, np.array(trace), passes, previous, settled or previous <= tol)
