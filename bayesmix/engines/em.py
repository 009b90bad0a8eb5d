"""Maximum likelihood by the EM algorithm."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from ..components.base import Guard
from ..fit import Fit
from ..likelihood.formula import log_of_weights
from ..likelihood.formula import responsibilities as posterior_of_labels
from ..likelihood.likelihood import Likelihood
from ..mixture import Mixture, check_mixture
from ..randomness import generator
from .climb import Climb, climb
from .guard import settled_guard
from .starts import STRATEGIES, from_responsibilities, one_hot, start

SPURIOUS = 1e-4  # smallest variance of a component, against that within all components, of an optimum taken seriously
SHORT_RUN = 40  # passes of a short run
SUBSAMPLE = 2000  # rows of a short run
N_STARTS = 60  # with n_init="auto"
INTERRUPTED = "The search over starts was interrupted: this is the best optimum of the starts tried until then."
DRAWS_FROM = {
    "laplace": "the normal (Laplace) approximation of the estimate's sampling distribution",
    "bootstrap": "refits to resampled rows (nonparametric bootstrap)",
}
SURVIVORS = 8  # short runs that go on to convergence


def em(
    mixture: Mixture,
    data,
    *,
    weights=None,
    init="auto",
    n_init="auto",
    max_iter: int = 5000,
    tol: float = 1e-8,
    accelerate: bool = True,
    guard="default",
    uncertainty: str | None = None,
    draws: int = 1000,
    random_seed=None,
    progressbar: bool = True,
) -> Fit:
    r"""Fit a mixture by maximum likelihood, with the EM algorithm (Dempster, Laird & Rubin 1977).

    Many short runs from different starts, of which the best go on to convergence (Biernacki, Celeux & Govaert 2003),
    each accelerated by SQUAREM (Varadhan & Roland 2008).

    Parameters
    ----------
    mixture : Mixture
        The specification. Its priors are not used.
    data : array_like, data frame or xarray object
        Rows of observations: 1-D or 2-D NumPy arrays and lists, pandas and polars frames, xarray objects. Names of
        columns are kept, and columns of later data are matched by name.
    weights : array_like, shape (obs,), optional
        Weight of each row; a weight of 2 counts as the row twice.
    init : {"auto", "kmeans", "random"}, array or Fit
        How runs start: "kmeans" by k-means from k-means++ seeds, "random" around random rows, "auto" by both.
        Or the start itself: labels (obs,), responsibilities (obs, cluster), or a `Fit` whose parameters are taken;
        then the components keep their order.
    n_init : int or "auto"
        Number of starts. "auto" takes 60, of which the best 8 go on to convergence.
    max_iter : int
        Largest number of EM updates of a run.
    tol : float
        A run has converged when its projected distance to the optimum is below this, in standard deviations of
        the components (locations) and in logarithms (scales, weights).
    accelerate : bool
        Extrapolate with SQUAREM; False gives the plain EM algorithm.
    guard : {"default", None} or float
        A weak penalty that keeps components from collapsing onto a few rows, where the likelihood is unbounded:
        the log density of :math:`2/\sqrt{n}` imaginary rows per component with the covariance pooled within
        components (after Chen & Tan 2009, with :math:`a_n = 1/\sqrt{n}`; see `bayesmix.engines.guard`). A number
        replaces :math:`a_n`. None is plain maximum likelihood.
    uncertainty : {None, "laplace", "bootstrap"}
        Fill ``posterior`` with draws from the estimate's sampling distribution: normal with the inverse observed
        information, or refits to resampled rows.
    draws : int
        Number of such draws.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.
    progressbar : bool
        Show progress of the restarts and of the bootstrap.

    Returns
    -------
    Fit
        With the estimates in group ``point``. ``fit.converged`` and ``fit.message`` say how the run ended: a run that
        did not converge, or collapsed, is returned and says so.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, or an argument is out of range.
    """
    check_mixture(mixture, data)
    checked = mixture.check(data, weights)
    rng = generator(random_seed)
    started = time.perf_counter()
    _check_options(mixture, init, n_init, max_iter, tol, uncertainty, draws)
    likelihood = Likelihood(mixture.component, checked, mixture.n_components)
    given = _given_start(likelihood, init)
    penalty = _guard(likelihood, guard, rng, given)
    run: dict[str, Any] = {"guard": penalty, "max_iter": max_iter, "tol": tol, "accelerate": accelerate}

    with _progress(progressbar) as progress:
        if given is not None:
            best, spread, interrupted = climb(likelihood, given, **run), None, False
        else:
            n_starts = N_STARTS if n_init == "auto" else int(n_init)
            finished, interrupted = search(likelihood, init, n_starts, rng, run, progress)
            best, spread = sort_components(likelihood, finished[0]), _spread(likelihood, finished)
        draws_of_estimate, note = None, INTERRUPTED if interrupted else ""
        if uncertainty is not None and not (best.collapsed or interrupted):
            from .uncertainty import sampling_distribution

            draws_of_estimate, note = sampling_distribution(likelihood, best, uncertainty, draws, rng, run, progress)
    attrs = {
        "engine": "em",
        "converged": int(best.converged and not best.collapsed),
        "message": " ".join(part for part in (describe(likelihood, best, penalty), note) if part),
        "n_passes": best.n_passes,
        "guard": "none" if penalty is None else f"Chen & Tan (2009), {penalty.n:.3g} rows per component",
        "log_likelihood": float(best.log_likelihood),
        "objective": float(best.objective),
        "uncertainty": uncertainty or "none",
        "seconds": time.perf_counter() - started,
        "draws_from": DRAWS_FROM.get(uncertainty or "", "none") if draws_of_estimate else "none",
    }
    return Fit.assemble(
        mixture,
        checked,
        point=best.params,
        draws=draws_of_estimate,
        trace=best.trace,
        starts=spread,
        attrs=attrs,
        rng=rng,
    )


# -- the search over starts ----------------------------------------------------------------------------------------------
def search(
    likelihood: Likelihood, strategy: str, n_starts: int, rng, run: dict[str, Any], progress=None
) -> tuple[list[Climb], bool]:
    """Short runs from many starts, the best of them to convergence: best first, degenerate optima last.

    The second value tells whether an interrupt (Ctrl-C) ended the search early; what was found until then is returned.
    """
    short_likelihood = likelihood if n_starts == 1 else subsample(likelihood, rng)
    short: dict[str, Any] = run | {"max_iter": min(SHORT_RUN, run["max_iter"])}
    if n_starts == 1 or likelihood.n_components == 1:
        short["max_iter"], n_starts = 0, 1
    runs, finished, interrupted = [], [], False
    try:
        for stream in _track(progress, rng.spawn(n_starts), "EM: short runs"):
            runs.append(climb(short_likelihood, start(short_likelihood, strategy, stream), **short))
    except KeyboardInterrupt:
        if not runs:
            raise
        interrupted = True
    runs = distinct_optima(short_likelihood, _ranked(short_likelihood, runs))
    try:
        for candidate in _track(progress, [] if interrupted else runs[:SURVIVORS], "EM: to convergence"):
            finished.append(_continue(likelihood, candidate, run, same_rows=short_likelihood is likelihood))
    except KeyboardInterrupt:
        interrupted = True
    if not finished:  # interrupted: the best short run as it stands, on all rows
        stopped = _continue(likelihood, runs[0], run | {"max_iter": 0}, same_rows=False)
        finished = [replace(stopped, converged=False)]
    return _ranked(likelihood, finished), interrupted


def subsample(likelihood: Likelihood, rng: np.random.Generator) -> Likelihood:
    """The likelihood of at most 2000 random rows, on which starts are tried."""
    data = likelihood.data
    if data.n_obs <= SUBSAMPLE:
        return likelihood
    rows = np.sort(rng.choice(data.n_obs, SUBSAMPLE, replace=False))
    return Likelihood(likelihood.component, data.take(rows), likelihood.n_components)


def _ranked(likelihood: Likelihood, runs: list[Climb]) -> list[Climb]:
    """Runs by objective, best first, degenerate optima last; runs equal to 1e-10 keep their order."""
    grain = 1e-10 * max([1.0, *(abs(run.objective) for run in runs if np.isfinite(run.objective))])

    def rank(run):
        level = np.round(run.objective / grain) if np.isfinite(run.objective) else -np.inf
        return not is_spurious(likelihood, run), level

    return sorted(runs, key=rank, reverse=True)


def search_optima(likelihood: Likelihood, rng: np.random.Generator, progressbar: bool) -> list[Climb]:
    """What `em` finds with its defaults: converged runs, best first, components in order."""
    guard = _guard(likelihood, "default", rng, None)
    run: dict[str, Any] = {"guard": guard, "max_iter": 5000, "tol": 1e-6, "accelerate": True}
    with _progress(progressbar) as progress:
        finished, interrupted = search(likelihood, "auto", N_STARTS, rng, run, progress)
    if interrupted:
        raise KeyboardInterrupt
    return [sort_components(likelihood, optimum) for optimum in finished]


def distinct_optima(likelihood: Likelihood, runs: list[Climb]) -> list[Climb]:
    """Runs that ended in different places, in the same order; collapsed ones left out if there are others.

    Two are the same if their objectives agree to 1e-7 and their densities at the rows to 1e-3 nats.
    """
    kept, seen = [], []
    for run in [run for run in runs if not run.collapsed] or runs[:1]:
        density = likelihood.fingerprint(run.params)
        if not any(
            abs(run.objective - other.objective) <= 1e-7 * abs(other.objective) and np.abs(density - at).max() < 1e-3
            for other, at in zip(kept, seen, strict=True)
        ):
            kept.append(run)
            seen.append(density)
    return kept


def _spread(likelihood, finished):
    """How the converged runs spread, as arrays over starts."""
    return {
        "log_likelihood": np.array([r.log_likelihood for r in finished]),
        "degenerate": np.array([is_spurious(likelihood, r) for r in finished]),
        "converged": np.array([r.converged for r in finished]),
    }


def _continue(likelihood: Likelihood, short: Climb, run: dict, *, same_rows: bool) -> Climb:
    """Run on from where a short run ended; the trace goes on too if that run saw the same rows."""
    left = run["max_iter"] - short.n_passes if same_rows else run["max_iter"]
    options: dict[str, Any] = run | {"max_iter": max(left, 0)}
    long = climb(likelihood, short.params, **options)
    trace = np.concatenate([short.trace, long.trace[1:]]) if same_rows else long.trace
    return replace(long, trace=trace, n_passes=short.n_passes + long.n_passes)


def is_spurious(likelihood: Likelihood, run: Climb) -> bool:
    """Is this optimum degenerate: a component with 1e-4 of the variance within components, or lighter than D + 2 rows?

    The rule only decides between optima of several starts; where all break it, the best of them is taken. Families
    whose likelihood is bounded have no degenerate optima.
    """
    if run.collapsed or not np.isfinite(run.objective):
        return True
    data = likelihood.data
    if likelihood.component.guard(data, 1.0) is None:
        return False
    rows = run.params["weights"] * data.total_weight
    thin = likelihood.component.collapsed(run.params, data) < SPURIOUS
    return bool(np.any(thin) or np.any(rows <= data.n_features + 1))


def sort_components(likelihood: Likelihood, run: Climb) -> Climb:
    """Order the components by the first entry of their first parameter, the mean of the first column."""
    name = likelihood.component.parameters[0].name
    order = np.argsort(run.params[name].reshape(likelihood.n_components, -1)[:, 0], kind="stable")
    return replace(run, params={key: value[order] for key, value in run.params.items()})


# -- arguments -----------------------------------------------------------------------------------------------------------
def _check_options(mixture, init, n_init, max_iter, tol, uncertainty, draws):
    if n_init != "auto" and (isinstance(n_init, bool) or not isinstance(n_init, int | np.integer) or n_init < 1):
        raise ValueError(f'n_init={n_init!r} but it must be "auto" or a number of starts, at least 1.')
    if isinstance(max_iter, bool) or not isinstance(max_iter, int | np.integer) or max_iter < 1:
        raise ValueError(f"max_iter={max_iter!r} but it must be a whole number of iterations, at least 1.")
    if isinstance(tol, bool) or not isinstance(tol, int | float | np.integer | np.floating):
        raise TypeError(f"tol={tol!r} but it must be a positive number, for example 1e-8.")
    if not 0 < tol < np.inf:
        raise ValueError(f"tol={tol!r} but it must be a positive finite number, for example 1e-8.")
    if uncertainty not in (None, "laplace", "bootstrap"):
        raise ValueError(f'uncertainty={uncertainty!r} is not known; use None, "laplace" or "bootstrap".')
    if uncertainty is not None and (isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 2):
        raise ValueError(f"draws={draws!r} but it must be a whole number of draws, at least 2.")
    if isinstance(init, str) and init not in ("auto", *STRATEGIES):
        raise ValueError(
            f'init={init!r} is not known; use "auto", {", ".join(repr(s) for s in STRATEGIES)}, labels, responsibilities or a Fit.'
        )


def _guard(likelihood: Likelihood, guard, rng: np.random.Generator, given: dict | None) -> Guard | None:
    """The guard's imaginary rows: 2 a_n per component, a_n = 1 / sqrt(n) by default."""
    if guard is None:
        return None
    if isinstance(guard, str):
        if guard != "default":
            raise ValueError(f'guard={guard!r} is not known; use "default", a positive number or None.')
        strength = 1.0 / np.sqrt(likelihood.data.total_weight)
    else:
        if isinstance(guard, bool) or not isinstance(guard, int | float | np.number):
            raise TypeError(f'guard={guard!r} is not known; use "default", a positive number or None.')
        strength = float(guard)
        if not (np.isfinite(strength) and strength > 0):
            raise ValueError(f"guard={guard!r} but its strength must be a positive number; None switches it off.")
    rows = likelihood if given else subsample(likelihood, rng)
    return settled_guard(rows, 2.0 * strength, rng, given)


def params_of_fit(likelihood: Likelihood, fit: Fit) -> dict:
    """Parameters of a given fit as a start: as they are for the same family, structure and columns.

    A fit of another structure, or with its columns in another order, starts by the rows that its components claim.
    """
    component, data = likelihood.component, likelihood.data
    own = fit.mixture.component
    if type(own) is not type(component) or fit.mixture.n_components != likelihood.n_components:
        raise ValueError(
            f"init is a fit of a {fit.mixture}, which cannot start {likelihood.n_components} {component} components."
        )
    if len(fit.data.feature) != data.n_features:
        raise ValueError(
            f"init is a fit of {len(fit.data.feature)} columns, but the data have {data.n_features}; fit the same columns."
        )
    same_columns = fit.data.feature == data.feature or not (fit.data.named and data.named)
    if same_columns and getattr(own, "covariance", None) == getattr(component, "covariance", None):
        return fit.estimates
    return from_responsibilities(likelihood, np.asarray(fit.responsibilities(data)))


def _given_start(likelihood: Likelihood, init) -> dict | None:
    """Parameters of a start that the user gave, or None."""
    if isinstance(init, str):
        return None
    n, k = likelihood.data.n_obs, likelihood.n_components
    if isinstance(init, Fit):
        return params_of_fit(likelihood, init)
    values = np.asarray(init)
    if values.shape == (n,):
        if not np.all(np.isin(values, np.arange(k))):
            raise ValueError(
                f"labels in init must be whole numbers from 0 to {k - 1}, one per row; found {np.unique(values)[:8]}."
            )
        return from_responsibilities(likelihood, one_hot(values, k))
    if values.shape == (n, k):
        values = values.astype(float)
        if not np.all(values >= 0) or not np.allclose(values.sum(axis=1), 1.0, atol=1e-6):
            raise ValueError("responsibilities in init must be nonnegative and sum to 1 in every row.")
        return likelihood.maximise_given(values, likelihood.component.guard(likelihood.data, 1e-6))
    raise ValueError(f"init has shape {values.shape}; labels need ({n},), responsibilities ({n}, {k}).")


# -- words ---------------------------------------------------------------------------------------------------------------
def describe(likelihood: Likelihood, run: Climb, guard: Guard | None) -> str:
    """Say how a run ended, in a sentence or two."""
    data = likelihood.data
    if run.collapsed:
        return _describe_collapse(likelihood, run, guard)
    light = [k for k, w in enumerate(run.params["weights"]) if w * data.total_weight < 1e-3]
    empty = f" Component {light[0]} is empty: fewer components describe the data as well." if light else ""
    if run.stalled and not run.converged:
        return (
            f"EM went as far as floating point goes: after {_times(run.n_passes)} the objective no longer rises, with the "
            f"optimum within about {run.distance:.1e} (in standard deviations and log units).{empty}"
        )
    if run.converged:
        return f"EM converged after {_times(run.n_passes)} (within {run.distance:.1e} of the optimum).{empty}"
    return (
        f"EM did not converge in {_times(run.n_passes)}: the optimum is still about {run.distance:.1e} away (in standard "
        f"deviations and log units); raise max_iter.{empty}"
    )


def _times(n):
    return "1 iteration" if n == 1 else f"{n} iterations"


def _describe_collapse(likelihood, run, guard):
    component, data = likelihood.component, likelihood.data
    thinnest = int(np.argmin(component.collapsed(run.params, data)))
    rows = _claimed_rows(component, data, run.params, thinnest)
    shown = ", ".join(str(data.obs[row]) for row in rows[:8]) + (", ..." if len(rows) > 8 else "")
    held = 'Keep guard="default"' if guard is None else f"Strengthen the guard (guard={2 * guard.n:.2g})"
    return (
        f"Component {thinnest} collapsed onto {len(rows)} row{'' if len(rows) == 1 else 's'} (obs {shown}): its variance went "
        f"to zero there, where the likelihood is unbounded, and the run was stopped. {held}, use fewer components, or a "
        "covariance structure with fewer parameters."
    )


def _claimed_rows(component, data, params, k):
    """Rows that component k claims, or, where it has no density any more, those at its mean."""
    own = {name: value for name, value in params.items() if name != "weights"}
    with np.errstate(all="ignore"):
        try:
            posterior = posterior_of_labels(component, data.values, log_of_weights(params["weights"]), own)
        except np.linalg.LinAlgError:
            posterior = np.full((data.n_obs, len(params["weights"])), np.nan)
    if np.all(np.isfinite(posterior)):
        return np.flatnonzero(posterior[:, k] > 0.5)
    distance = np.abs((data.values - params["mu"].reshape(len(posterior[0]), -1)[k]) / data.values.std(axis=0)).max(
        axis=1
    )
    return np.flatnonzero(distance < 1e-6)


# -- progress ------------------------------------------------------------------------------------------------------------
def _progress(show: bool):
    """A Rich progress display, or nothing."""
    from contextlib import nullcontext

    if not show:
        return nullcontext(None)
    from rich.progress import Progress

    return Progress(transient=True)


def _track(progress, items, label: str):
    """Iterate over items, shown in the progress display if there is one."""
    items = list(items)
    return items if progress is None else progress.track(items, description=label)
