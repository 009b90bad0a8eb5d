"""One run of EM from one start, accelerated by SQUAREM, with a monotone safeguard."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..components.base import Guard, Statistics
from ..likelihood.formula import log_of_weights
from ..likelihood.likelihood import MANY_ROWS, Likelihood, interruptible
from .finish import finish, polish
from .kinks import to_a_better_kink

COLLAPSED = 1e-10  # variance of a component, in some direction, against the data's: below this the run stops
NOISE = 1e-9  # steps shorter than this are partly rounding: no rate of convergence is read off them
TO_AND_FRO = 20  # updates without a rise that end nearly where they began: what is left of their steps is rounding
BEFORE_FINISH = 50  # updates, and one more for every two parameters, before quasi-Newton steps take over
MOST_FINISH = 500  # passes of these at a time
MOST_NEWTON = 200  # parameters of which Newton steps are worth their cost where quasi-Newton steps may do
AFTER_FINISH = 20  # updates that make sure of the end
NUMERIC_COST = 60.0  # of a row and component of a family by its formula, in nanoseconds
NUMERIC_OVERHEAD = 2e5  # of a pass and a Newton step, in nanoseconds
BETWEEN_PASSES = 1.2e4  # of these where all but the pass is compiled for all families together
IN_PYTHON = 2e5  # of a pass and an M-step outside the compiled loop, in nanoseconds
WATCHED = 10  # updates between two looks at a short run
MOST_HALVINGS = 30  # of a Newton step that lowers the objective
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
    theta: np.ndarray  # log weights, and the family's free coordinates
    statistics: Statistics
    objective: float


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
    lowers the objective; a run that is still on its way after 50 updates, and one for every two parameters, goes on
    by quasi-Newton steps on the exact gradient (`bayesmix.engines.finish`), and what these leave is for EM again.
    Every EM update and every evaluation of the gradient counts as one iteration. Densities with a kink have neither
    gradient nor curvature at the optimum: there EM goes on to the end, and then from kink to kink
    (`bayesmix.engines.kinks`).
    """
    params = likelihood.with_known_weights(params)
    accelerated = accelerate and likelihood.component.smooth
    first = min(max_iter, BEFORE_FINISH + likelihood.n_parameters // 2) if accelerated else max_iter
    run = _updates(likelihood, params, guard, first, tol, accelerate)
    if not likelihood.component.smooth:
        return _kinked(likelihood, run, guard, max_iter, tol, accelerate)
    if _by_newton(likelihood.component):
        run = _numeric(likelihood, run, guard, max_iter, tol, accelerate)
        run = _past_saddles(likelihood, run, guard, max_iter, tol, accelerate)
        return replace(run, params=likelihood.component.canonical(run.params))
    while not (run.converged or run.collapsed or run.stalled or run.n_passes >= max_iter):
        gradient = _gradient(likelihood, guard)
        found = finish(likelihood, run.params, gradient, min(MOST_FINISH, max_iter - run.n_passes))
        better = found is not None and found.trace[-1] > run.objective and not _is_thinner(likelihood, found, run)
        if found is not None and better:
            left = max_iter - run.n_passes - found.n_passes
            after = _updates(likelihood, found.params, guard, max(0, min(AFTER_FINISH, left)), tol, accelerate)
        else:
            after = _updates(likelihood, run.params, guard, min(first, max_iter - run.n_passes), tol, accelerate)
        if after.collapsed and not np.isfinite(after.objective):
            return replace(run, collapsed=True)
        run = _joined(run, found, after, better, tol)
        if not (run.converged or run.collapsed) and _has_flat_places(likelihood):
            run = _polished(likelihood, run, guard, tol)
            if not run.converged:
                run = _past_saddles(likelihood, run, guard, max_iter, tol, accelerate)
    return run


def short_run(likelihood, params, *, guard=None, max_iter, tol, accelerate=True, watch=None) -> Climb:
    """EM updates alone: `climb` without its finish, but where the density has kinks.

    Every now and then ``watch(objective, params)`` is asked, ``params()`` being where the run stands, whether it may end
    there; runs in plain Python have no such ends.
    """
    if not likelihood.component.smooth:
        return climb(likelihood, params, guard=guard, max_iter=max_iter, tol=tol, accelerate=accelerate)
    return _updates(likelihood, likelihood.with_known_weights(params), guard, max_iter, tol, accelerate, watch)


def _has_flat_places(likelihood):
    """May parameters hardly show in the density, so that Newton steps are worth their cost?"""
    return not likelihood.component.sufficient and likelihood.n_parameters <= MOST_NEWTON


def _numeric(likelihood, run, guard, max_iter, tol, accelerate):
    """Updates and Newton steps in turn, for families by their formula, until the latter say that this is the optimum."""
    while not run.collapsed and (run.converged or run.stalled or run.n_passes < max_iter):
        known = run.converged or run.stalled
        polished = _polished(likelihood, run, guard, tol)
        left = max_iter - polished.n_passes
        if polished.converged or left <= 0 or (known and polished.objective <= run.objective):
            return polished
        after = _updates(likelihood, polished.params, guard, min(left, BEFORE_FINISH), tol, accelerate)
        if after.collapsed and not np.isfinite(after.objective):
            return replace(polished, collapsed=True)
        run = _joined(polished, None, after, False, tol)
    return run


def _past_saddles(likelihood, run, guard, max_iter, tol, accelerate):
    """A run that ended where the gradient vanishes but other parameters that the family knows are better goes on there."""
    while not run.collapsed and run.n_passes < max_iter:
        near = map(likelihood.with_known_weights, likelihood.component.beside_saddle(run.params))
        places = [_visit(likelihood, params, guard) for params in near]
        best = max((place for place in places if place is not None), key=lambda place: place.objective, default=None)
        if best is None or best.objective <= run.objective + _rounding(likelihood, run.objective):
            return run
        left = max_iter - run.n_passes - len(places)
        after = _updates(likelihood, best.params, guard, max(0, min(left, BEFORE_FINISH)), tol, accelerate)
        after = _numeric(likelihood, after, guard, max(0, left), tol, accelerate)
        if after.collapsed or after.objective <= run.objective:
            return run
        run = _joined(run, None, after, False, tol)
    return run


def _kinked(likelihood, run, guard, max_iter, tol, accelerate):
    """Updates, and where they end moves to better kinks nearby: each kink is an end of EM, most of them are no optimum."""
    while not run.collapsed and run.n_passes < max_iter:
        found = to_a_better_kink(likelihood, run.params)
        if found is None or found.gain <= _rounding(likelihood, run.objective):
            return run
        left = max_iter - run.n_passes - found.n_passes
        after = _updates(likelihood, found.params, guard, max(0, left), tol, accelerate)
        if after.collapsed and not np.isfinite(after.objective):
            return replace(run, collapsed=True)
        if after.objective <= run.objective:
            return run
        run = _joined(run, found, after, False, tol)
    return run


def _polished(likelihood, run, guard, tol):
    """A run, and the Newton steps behind it; how far the optimum is, by the first that was not taken."""
    rounding = _rounding(likelihood, run.objective)
    found = polish(likelihood, run.params, guard, tol, rounding)
    place = None if found is None else _visit(likelihood, found.params, guard)
    if found is None or place is None or place.objective < run.objective - rounding:
        return run
    if _is_thinner(likelihood, found, run):
        return run
    trace = np.maximum.accumulate(np.concatenate([run.trace, found.trace]))
    return replace(
        run,
        params=found.params,
        log_likelihood=place.statistics.log_likelihood,
        objective=max(place.objective, run.objective),
        trace=trace,
        n_passes=run.n_passes + found.n_passes,
        distance=found.distance,
        converged=found.settled,
        stalled=run.stalled and not found.settled,
    )


def _rounding(likelihood, objective):
    """What rounding may take off an objective of this size."""
    return 1e-13 * max(1.0, abs(objective) + 2.0 * abs(likelihood.rows.log_base_measure))


def _joined(run, found, after, better, tol):
    """A run, the quasi-Newton steps behind it, and the updates behind these, as one run."""
    steps, left = (found.trace, found.distance) if better else (np.empty(0), np.inf)
    n_passes = run.n_passes + after.n_passes + (0 if found is None else found.n_passes)
    trace = np.maximum.accumulate(np.concatenate([run.trace, steps, after.trace[1:]]))
    distance = min(after.distance, left)
    converged = after.converged or (better and not after.collapsed and distance <= tol)
    return replace(after, trace=trace, n_passes=n_passes, distance=distance, converged=converged)


def _is_thinner(likelihood, found, run):
    """Has a component lost so much of its spread that quasi-Newton steps may be on the way to a collapse?"""
    thin = likelihood.component.collapsed
    return bool(thin(found.params, likelihood.data).min() < 1e-2 * thin(run.params, likelihood.data).min())


def _updates(likelihood, params, guard, max_iter, tol, accelerate, watch=None) -> Climb:
    """EM updates: compiled where rows are few and the family has a compiled M-step."""
    if _is_quick(likelihood):
        return _updates_compiled(likelihood, params, guard, max_iter, tol, accelerate, watch)
    if _is_nearly_quick(likelihood):
        return _updates_by_formula(likelihood, params, guard, max_iter, tol, accelerate, watch)
    return _updates_in_python(likelihood, params, guard, max_iter, tol, accelerate)


def _gradient(likelihood, guard):
    """The objective and its gradient as a function of free coordinates: compiled where the updates are."""
    if not _is_quick(likelihood):
        return lambda vector: likelihood.value_and_gradient(vector, guard)
    from . import loop

    kind = loop.STEPS[likelihood.component.compiled_step]
    parts = likelihood.component.linear_parts(likelihood.data.n_features)
    x, row_weights, base = likelihood.rows
    imagined: Any = (*_guard_arrays(likelihood, guard), *_empty_statistics(likelihood))

    def gradient(vector):
        with interruptible():
            value, slope = loop.value_and_gradient(kind, parts, vector, x, row_weights, *imagined)
        return value + base, slope

    return gradient


def _guard_arrays(likelihood, guard):
    width = likelihood.rows.x.shape[1]
    return (0.0, np.zeros(width**2)) if guard is None else (float(guard.n), np.ravel(guard.second).astype(float))


def _empty_statistics(likelihood):
    """Room for n, first and second, as `bayesmix.engines.loop` wants them."""
    k, width = likelihood.n_components, likelihood.rows.x.shape[1]
    second = {"full": (k, width, width), "diagonal": (k, width)}.get(likelihood.component.kernel, (0,))
    return np.empty(k), np.empty(k * width), np.empty(second)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a collapse is noticed by what is not finite
def _updates_in_python(likelihood, params, guard, max_iter, tol, accelerate) -> Climb:
    place = _visit(likelihood, params, guard)
    if place is None:
        return _failed(params)
    trace, rates, longest = [place.objective], [0.5], 1.0
    distance, previous_step, used = np.inf, None, 0
    scale = _coordinate_scale(likelihood, place.params)
    rounding = _rounding(likelihood, place.objective)
    begun, steps = place, []

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
        first, tried = _step(likelihood, start, guard, trace[-1] - rounding)
        used += tried
        if first is None or _has_collapsed(likelihood, first):
            return result(collapsed=True)
        theta0, theta1 = start.theta, first.theta
        step = _length(theta1 - theta0, scale)
        if previous_step and previous_step > NOISE:
            rates = [*rates[-19:], min(step / previous_step, 0.9999)]
        distance = step / (1.0 - max(rates))
        if first.objective < (trace[-1] if _by_newton(likelihood.component) else start.objective) - rounding:
            return result(converged=distance <= max(tol, 1e-6), stalled=True)
        place = first
        trace.append(max(place.objective, trace[-1]))
        if step == 0.0 or (previous_step and distance <= tol):
            return result(converged=True)
        steps.append(step)
        if len(steps) == TO_AND_FRO:
            way = _length(place.theta - begun.theta, scale)
            if place.objective <= begun.objective + rounding and way < 0.25 * sum(steps):
                distance = max(steps)
                return result(converged=distance <= max(tol, 1e-6), stalled=True)
            begun, steps = place, []
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
            extrapolated = _visit(likelihood, _params(likelihood, theta), guard)
            longest = 4.0 * longest if bounded == longest else longest
        if (
            extrapolated is not None
            and extrapolated.objective >= first.objective
            and not _has_collapsed(likelihood, extrapolated)
        ):
            place = extrapolated
        else:
            longest = max(1.0, longest / 4.0)
            second, _ = _step(likelihood, first, guard, trace[-1] - rounding)
            if second is None or _has_collapsed(likelihood, second):
                return result(collapsed=True)
            if second.objective < first.objective - rounding:
                distance = step / (1.0 - max(rates))
                return result(converged=distance <= max(tol, 1e-6), stalled=True)
            place = second
        trace.append(max(place.objective, trace[-1]))
        distance = step / (1.0 - max(rates))
        if distance <= tol:
            return result(converged=True)
    return result()


# -- compiled ------------------------------------------------------------------------------------------------------------
def _is_quick(likelihood):
    """Is the whole run compiled, see `bayesmix.engines.loop`?"""
    return likelihood.component.compiled_step is not None and _is_small(likelihood)


def _is_nearly_quick(likelihood):
    """Is all but the pass compiled for all families together, see `bayesmix.engines.formula_loop`?"""
    return likelihood.component.newton_step is not None and _is_small(likelihood)


def _is_small(likelihood):
    """Are there too few rows for threads, so that Python would be felt, and nothing unusual?"""
    plain = not (likelihood.incomplete or likelihood.by_units) and likelihood.known_weights is None
    return likelihood.has_rows and plain and len(likelihood.rows.x) < MANY_ROWS


def _by_newton(component):
    """Is the M-step one step of Newton's method? That of a product of families with a compiled M-step is not."""
    return component.numeric and component.compiled_step is None


def pass_cost(likelihood):
    """Rough cost of a pass, in nanoseconds on one core."""
    rows, width = likelihood.rows.x.shape
    if likelihood.component.numeric and not _is_quick(likelihood):
        overhead = BETWEEN_PASSES if _is_nearly_quick(likelihood) else NUMERIC_OVERHEAD
        return rows * likelihood.n_components * NUMERIC_COST + overhead
    per_row = width**2 if likelihood.component.kernel == "full" else 2 * width
    patterns = len(np.unique(np.isnan(likelihood.rows.x), axis=0)) if likelihood.incomplete else 0
    outside = likelihood.component.compiled_step is None or likelihood.known_weights is not None
    in_python = IN_PYTHON * (patterns > 0 or outside)
    with_missing = patterns * likelihood.n_components * 5.0 * width**3
    return rows * likelihood.n_components * (4.0 + 0.2 * per_row) + in_python + with_missing


def _updates_compiled(likelihood, params, guard, max_iter, tol, accelerate, watch=None) -> Climb:
    """The same in compiled code, which is left every tenth of a second so that an interrupt is heard."""
    from . import loop

    component = likelihood.component
    theta = _coordinates(likelihood, params)
    failed = _failed(params)
    if theta is None:
        return failed
    kind = loop.STEPS[component.compiled_step]
    x, row_weights, base = likelihood.rows
    memory, imagined = np.zeros(loop.MEMORY), _guard_arrays(likelihood, guard)
    parts = component.linear_parts(likelihood.data.n_features)
    state: Any = (kind, parts, theta, x, row_weights, base, *imagined, *_empty_statistics(likelihood), memory)
    with interruptible():
        if not loop.begin(*state):
            return failed
    scale = _coordinate_scale(likelihood, params)
    rounding = _rounding(likelihood, memory[loop.OBJECTIVE])
    traces, used, outcome = [memory[[loop.OBJECTIVE]]], 0, loop.RUNNING
    advance: Any = loop.advance
    at_once = 2 * max(1, int(0.5e8 / pass_cost(likelihood)))  # whole cycles of two updates
    at_once = at_once if watch is None else min(at_once, 2 * WATCHED)
    while outcome == loop.RUNNING and used < max_iter:
        budget = min(at_once, max_iter - used)
        trace = np.empty(budget + 1)
        with interruptible():
            outcome, made, written = advance(*state, scale, budget, tol, accelerate, rounding, NOISE, COLLAPSED, trace)
        used += made
        traces.append(trace[:written])
        if watch is not None and watch(memory[loop.OBJECTIVE], lambda: _params(likelihood, theta)):
            break
    distance = float(memory[loop.DISTANCE])
    return Climb(
        _params(likelihood, theta),
        float(memory[loop.LOG_LIKELIHOOD]),
        float(memory[loop.OBJECTIVE]),
        np.concatenate(traces),
        used,
        distance,
        outcome == loop.CONVERGED or (outcome == loop.STALLED and distance <= max(tol, 1e-6)),
        outcome == loop.COLLAPSED,
        outcome == loop.STALLED,
    )


def _updates_by_formula(likelihood, params, guard, max_iter, tol, accelerate, watch=None) -> Climb:
    """The same, compiled between the passes; the passes are the family's own."""
    from . import formula_loop as loop

    step, k = likelihood.component.newton_step, likelihood.n_components
    x, row_weights, base = likelihood.rows
    with np.errstate(divide="ignore"):
        asked, nothing = map(np.ascontiguousarray, likelihood.component.kernel_arguments(params))
        log_weights = log_of_weights(params["weights"])
    size, width = asked.shape[1], np.ones(k)
    places, memory, settings = np.empty((loop.N_PLACES, k + asked.size)), np.zeros(loop.N_MEMORY), np.empty(6)
    places[:] = np.concatenate([log_weights, loop.coordinates_of(asked, *step.bounds[:2]).ravel()])
    memory[loop.BASE], memory[loop.ROUNDING] = base, 1e-13
    settings[loop.MAX_ITER], settings[loop.TOL], settings[loop.ACCELERATE] = max_iter, tol, accelerate
    settings[loop.NOISE], settings[loop.THINNEST], settings[loop.LEAST_SQUARES] = NOISE, COLLAPSED, step.least_squares
    n_guard, square = (0.0, 0.0) if guard is None else (float(guard.n), float(np.ravel(guard.second)[0]))
    guarded = (np.zeros(k), np.zeros((k, size)), np.zeros((k, size, size)))
    run, of_guard, of_width = (getattr(step.functions, name) for name in ("second", "guard", "widths"))
    width = of_width(asked) if step.has_spread else width
    unit = np.where(step.moves, width[:, None], 1.0)
    scale = np.concatenate([np.ones(k), unit.ravel()])
    held = (asked.copy(), np.empty(k), np.empty((k, size)), np.empty((k, size, size)), width.copy())
    trace = np.empty(max_iter + loop.MOST_HALVINGS + 2)
    outcome, look = loop.VISIT, WATCHED

    def where():
        weights = np.exp(places[0, :k] - places[0, :k].max())
        return {"weights": weights / weights.sum()} | step.named(held[0])

    with interruptible():
        while outcome == loop.VISIT:
            found = run(x, row_weights, log_weights, asked, nothing)
            if guard is not None:
                guarded = of_guard(asked, n_guard, square)
            if step.has_spread:
                width = of_width(asked)
            outcome = loop.proceed(
                step.bounds, step.moves, scale, settings, n_guard, square, found, guarded, width,
                memory, places, *held, asked, log_weights, trace,
            )  # fmt: skip
            if watch is not None and memory[loop.WRITTEN] >= look:
                look += WATCHED
                if watch(memory[loop.OBJECTIVE], where):
                    break
    if memory[loop.WRITTEN] == 0:
        return _failed(params)
    distance = float(memory[loop.DISTANCE])
    return Climb(
        where(),
        float(memory[loop.LOG_LIKELIHOOD]),
        float(memory[loop.OBJECTIVE]),
        trace[: int(memory[loop.WRITTEN])].copy(),
        int(memory[loop.USED]),
        distance,
        outcome == loop.CONVERGED or (outcome == loop.STALLED and distance <= max(tol, 1e-6)),
        outcome == loop.COLLAPSED,
        outcome == loop.STALLED,
    )


def _failed(params):
    """A run that found no likelihood where it began."""
    return Climb(params, -np.inf, -np.inf, np.array([-np.inf]), 0, np.inf, False, True)


# -- in Python -----------------------------------------------------------------------------------------------------------
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
    """Log weights and the family's free coordinates; None where a component has collapsed, so that it has none."""
    try:
        return np.concatenate([log_of_weights(params["weights"]), likelihood.component.to_vector(params)])
    except _FAILURES:
        return None


def _params(likelihood, theta):
    """Parameters at such coordinates; weights are made to sum to one."""
    k = likelihood.n_components
    weights = np.exp(theta[:k] - theta[:k].max())
    own = likelihood.component.from_vector(theta[k:], k, likelihood.data.n_features)
    return likelihood.with_known_weights({"weights": weights / weights.sum()} | own)


def _update(likelihood, place, guard):
    """One EM update: the M-step on the statistics found at a place."""
    return likelihood.m_step(place.params, place.statistics, guard)


def _step(likelihood, place, guard, least):
    """The place that one EM update leads to, and how many passes it took; None where there is no likelihood.

    Where the M-step is one Newton step it may lead too far: it is halved until the objective is not below `least`.
    """
    params = _update(likelihood, place, guard)
    new = _visit(likelihood, params, guard)
    if not _by_newton(likelihood.component):
        return new, 1
    theta = _coordinates(likelihood, params)
    for halvings in range(MOST_HALVINGS):
        if new is not None and new.objective >= least:
            return new, 1 + halvings
        if theta is None:
            break
        theta = 0.5 * (theta + place.theta)
        new = _visit(likelihood, _params(likelihood, theta), guard)
    return new, 1 + MOST_HALVINGS


def _coordinate_scale(likelihood, params):
    return np.concatenate([np.ones(likelihood.n_components), likelihood.component.coordinate_scale(params)])


def _length(difference, scale):
    """Largest scaled entry; entries that are not finite (weights of zero) do not count."""
    scaled = np.abs(difference) / scale
    return float(np.max(scaled[np.isfinite(scaled)], initial=0.0))


def _has_collapsed(likelihood, place):
    """Has a component shrunk to nothing?"""
    return bool(np.any(likelihood.component.collapsed(place.params, likelihood.data) < COLLAPSED))
