"""One run of EM from one start, accelerated by SQUAREM, with a monotone safeguard."""

from dataclasses import dataclass

import numpy as np

from ..components.base import Guard, Statistics
from ..likelihood.likelihood import Likelihood

COLLAPSED = 1e-10  # variance of a component, in some direction, against the data's: below this the run stops
NOISE = 1e-9  # steps shorter than this are partly rounding: no rate of convergence is read off them
_FAILURES = (np.linalg.LinAlgError, FloatingPointError, ZeroDivisionError)


@dataclass(frozen=True)
class Climb:
    """Where a run ended, and how."""

    params: dict
    log_likelihood: float
    objective: float  # log-likelihood plus the guard, in nats: what never decreases
    trace: np.ndarray  # largest objective so far, at the start and after every pass kept
    n_passes: int
    distance: float  # estimated distance to the optimum, in standard deviations and log units
    converged: bool
    collapsed: bool
    stalled: bool = False  # ended by rounding: the objective no longer rises


@dataclass(frozen=True)
class _Place:
    """Parameters with what one pass found there."""

    params: dict
    theta: np.ndarray  # the parameters in free coordinates
    statistics: Statistics
    objective: float


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a collapse is noticed by what is not finite
def climb(
    likelihood: Likelihood,
    params: dict,
    *,
    guard: Guard | None = None,
    max_iter: int = 5000,
    tol: float = 1e-8,
    accelerate: bool = True,
) -> Climb:
    """Run EM from `params` until the estimated distance to the optimum is below `tol`.

    The distance is projected from the length of the last EM step and the slowest rate of convergence seen lately,
    step / (1 - rate), in units of the components' standard deviations and of logarithms. With `accelerate` every
    second step extrapolates two EM steps (SQUAREM, Varadhan & Roland 2008, scheme S3), and is taken back where it
    lowers the objective. Every EM update counts as one iteration.
    """
    place = _visit(likelihood, params, guard)
    if place is None:
        return Climb(params, -np.inf, -np.inf, np.array([-np.inf]), 0, np.inf, False, True)
    trace, rates, longest = [place.objective], [0.5], 1.0
    distance, previous_step, used = np.inf, None, 0
    scale = _coordinate_scale(likelihood, place.params)
    rounding = 1e-13 * max(1.0, abs(place.objective) + 2.0 * abs(likelihood.rows.log_base_measure))

    def result(converged=False, collapsed=False, stalled=False):
        assert place is not None
        return Climb(
            place.params,
            place.statistics.log_likelihood,
            place.objective,
            np.array(trace),
            used,
            distance,
            converged,
            collapsed,
            stalled,
        )

    while used < max_iter:
        start = place
        first = _visit(likelihood, _update(likelihood, start, guard), guard)
        used += 1
        if first is None or _has_collapsed(likelihood, first, used):
            return result(collapsed=True)
        theta0, theta1 = start.theta, first.theta
        step = _length(theta1 - theta0, scale)
        if previous_step and previous_step > NOISE:
            rates = [*rates[-19:], min(step / previous_step, 0.9999)]
        distance = step / (1.0 - max(rates))
        if _fell(first, start, rounding):
            return result(converged=distance <= max(tol, 1e-6), stalled=True)
        place = first
        trace.append(max(place.objective, trace[-1]))
        if step == 0.0 or (previous_step and distance <= tol):
            return result(converged=True)
        previous_step = step
        if not accelerate or used >= max_iter or not np.all(np.isfinite(theta1)):
            continue

        second_params = _update(likelihood, first, guard)
        theta2 = _coordinates(likelihood, second_params)
        used += 1
        if theta2 is None:
            return result(collapsed=True)
        step = _length(theta2 - theta1, scale)
        if previous_step > NOISE:
            rates = [*rates[-19:], min(step / previous_step, 0.9999)]
        previous_step = None  # the next step starts from an extrapolated point: no ratio across it
        change, bend = (theta1 - theta0) / scale, (theta2 - 2.0 * theta1 + theta0) / scale
        length = np.linalg.norm(change) / max(np.linalg.norm(bend), 1e-300)
        extrapolated = None
        if np.isfinite(length) and length > 1.0:
            bounded = min(length, longest)
            theta = theta0 + 2.0 * bounded * (theta1 - theta0) + bounded**2 * (theta2 - 2.0 * theta1 + theta0)
            extrapolated = _visit(likelihood, likelihood.from_vector(theta), guard)
            longest = 4.0 * longest if bounded == longest else longest
        if extrapolated is not None and extrapolated.objective >= first.objective:
            place = extrapolated
        else:
            longest = max(1.0, longest / 4.0)
            second = _visit(likelihood, second_params, guard)
            if second is None or _has_collapsed(likelihood, second, used):
                return result(collapsed=True)
            if _fell(second, first, rounding):
                distance = step / (1.0 - max(rates))
                return result(converged=distance <= max(tol, 1e-6), stalled=True)
            place = second
        trace.append(max(place.objective, trace[-1]))
        distance = step / (1.0 - max(rates))
        if distance <= tol:
            return result(converged=True)
    return result()


def _visit(likelihood, params, guard):
    """One pass at these parameters; None where they have no likelihood."""
    theta = _coordinates(likelihood, params)
    if theta is None:
        return None
    try:
        statistics = likelihood.statistics(params)
        objective = statistics.log_likelihood + likelihood.guard_value(params, guard)
    except _FAILURES:
        return None
    finite = np.isfinite(objective) and all(np.all(np.isfinite(part)) for part in statistics[1:])
    return _Place(params, theta, statistics, objective) if finite else None


def _coordinates(likelihood, params):
    """Free coordinates; None where a component has collapsed, so that it has none."""
    try:
        return likelihood.to_vector(params)
    except _FAILURES:
        return None


def _fell(new, old, rounding):
    """Did the objective fall by more than rounding in a sum of terms? EM cannot lower it otherwise."""
    return new.objective < old.objective - rounding


def _update(likelihood, place, guard):
    """One EM update: the M-step on the statistics found at a place."""
    n = place.statistics.n
    return {"weights": n / n.sum()} | likelihood.component.m_step(place.params, place.statistics, guard)


def _coordinate_scale(likelihood, params):
    return np.concatenate([np.ones(likelihood.n_components - 1), likelihood.component.coordinate_scale(params)])


def _length(difference, scale):
    """Largest scaled entry; entries that are not finite (weights of zero) do not count."""
    scaled = np.abs(difference) / scale
    return float(np.max(scaled[np.isfinite(scaled)], initial=0.0))


def _has_collapsed(likelihood, place, used):
    """Has a component shrunk to nothing? Looked at in every fifth pass."""
    return used % 5 < 2 and bool(np.any(likelihood.component.collapsed(place.params, likelihood.data) < COLLAPSED))
