"""Maximum likelihood by the EM algorithm."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..chunks import look, source_of
from ..components.base import Guard
from ..cores import available_cores
from ..fit import Fit
from ..likelihood.likelihood import Likelihood
from ..likelihood.streamed import StreamedLikelihood
from ..mixture import Mixture, check_mixture
from ..randomness import generator
from .climb import Climb, climb, pass_cost
from .collapse import describe_collapse
from .guard import settled_guard
from .starts import STRATEGIES, from_responsibilities, one_hot, start

SPURIOUS = 1e-4  # smallest variance of a component, against that within all components, of an optimum taken seriously
SHORT_RUN = 40  # passes of a short run
SUBSAMPLE = 2000  # rows of a short run
N_STARTS = 60  # with n_init="auto", at least
MOST_STARTS = 240  # where passes are short
MOST_BATCHES = 8  # of so many starts, while the best optimum was found by one start only
INTERRUPTED = "The search over starts was interrupted: this is the best optimum of the starts tried until then."
DRAWS_FROM = {
    "laplace": "the normal (Laplace) approximation of the estimate's sampling distribution",
    "bootstrap": "refits to resampled rows (nonparametric bootstrap)",
    "parametric bootstrap": "refits to data sets drawn from the fit (parametric bootstrap)",
    "bayesian bootstrap": "refits to the rows under random weights (Bayesian bootstrap)",
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
    cores: int | None = None,
    random_seed=None,
    progressbar: bool = True,
    client=None,
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
        columns are kept, and columns of later data are matched by name. Memory-mapped arrays (`numpy.memmap`), Dask
        arrays and frames, xarray objects made of Dask arrays, and objects with ``shape`` and ``blocks()``, are read
        piece by piece in every iteration and never held; the fit then keeps no rows either.
    weights : array_like, shape (obs,), optional
        Weight of each row; a weight of 2 counts as the row twice.
    init : {"auto", "kmeans", "random", "hierarchical"}, array or Fit
        How runs start: "kmeans" by k-means from k-means++ seeds, "random" around random rows, "hierarchical" by
        model-based agglomeration of a part of the rows, "auto" by all three.
        Or the start itself: labels (obs,), responsibilities (obs, cluster), or a `Fit` whose parameters are taken;
        then the components keep their order.
    n_init : int or "auto"
        Number of starts. "auto" takes 60 to 240, the more the quicker they are. The best 8 that are not degenerate go on
        to convergence; while the best optimum was found by one start only, as many starts again are made, up to 8 times.
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
    uncertainty : {None, "laplace", "bootstrap", "parametric bootstrap", "bayesian bootstrap"}
        Fill ``posterior`` with draws from the estimate's sampling distribution. "laplace": normal, with the inverse of
        the observed information (Louis 1982) as covariance in free coordinates; ``standard_errors`` of the fit are then
        those of the delta method. The others refit, each time from the estimate: to rows drawn with replacement
        (Efron 1979), to data sets drawn from the fitted mixture, or to the rows under weights
        n Dirichlet(1, ..., 1) (Rubin 1981).
    draws : int
        Number of such draws.
    cores : int, optional
        Threads of a pass over many rows, and of the bootstrap; by default as many as there are cores. They change nothing.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.
    progressbar : bool
        Show progress of the restarts and of the bootstrap.
    client : distributed.Client, optional
        Cluster whose workers hold the chunks of Dask data and visit them where they are; by default the current
        client, if there is one.

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
    started = time.perf_counter()
    source: Any = source_of(data, weights, client)
    checked = mixture.check(data, weights) if source is None else None
    rng = generator(random_seed)
    _check_options(mixture, init, n_init, max_iter, tol, uncertainty, draws, cores)
    if checked is not None:
        threads = cores or available_cores()
        likelihood = Likelihood(mixture.component, checked, mixture.n_components, cores=threads)
    else:
        _check_streamed_options(init, uncertainty)
        assert source is not None
        found = look(mixture, source, rng, SUBSAMPLE)
        likelihood = StreamedLikelihood(mixture.component, found, mixture.n_components, source=source)
    given = _given_start(likelihood, init)
    penalty = _guard(likelihood, guard, rng, given)
    run: dict[str, Any] = {"guard": penalty, "max_iter": max_iter, "tol": tol, "accelerate": accelerate}

    with _progress(progressbar) as progress:
        if given is not None:
            best, spread, interrupted, starts = climb(likelihood, given, **run), None, False, ""
        else:
            n_starts, batches = (None, MOST_BATCHES) if n_init == "auto" else (int(n_init), 1)
            found = search(likelihood, init, n_starts, rng, run, progress, batches)
            best, interrupted = sort_components(likelihood, found.optima[0]), found.interrupted
            spread, starts = _spread(likelihood, found), _describe_search(likelihood, found)
        sampling = None
        if uncertainty is not None and not (best.collapsed or interrupted):
            from .uncertainty import sampling_distribution

            sampling = sampling_distribution(likelihood, best, uncertainty, draws, rng, run, cores, progress)
    draws_of_estimate = None if sampling is None else sampling.draws
    note = sampling.note if sampling else INTERRUPTED if interrupted else ""
    attrs = {
        "engine": "em",
        "converged": int(best.converged and not best.collapsed),
        "message": " ".join(part for part in (describe(likelihood, best, penalty), starts, note) if part),
        "n_passes": best.n_passes,
        "guard": "none" if penalty is None else f"Chen & Tan (2009), {penalty.n:.3g} rows per component",
        "log_likelihood": float(best.log_likelihood),
        "objective": float(best.objective),
        "uncertainty": uncertainty or "none",
        "seconds": time.perf_counter() - started,
        "draws_from": DRAWS_FROM.get(uncertainty or "", "none") if draws_of_estimate else "none",
        **(sampling.attrs if sampling else {}),
    }
    if checked is None:
        seen: Any = likelihood.data
        attrs |= {"n_rows": seen.n_obs, "total_weight": float(seen.total_weight)}
        checked = seen.without_rows()
    return Fit.assemble(
        mixture,
        checked,
        point=best.params,
        draws=draws_of_estimate,
        standard_error=sampling.standard_error if sampling else None,
        trace=best.trace,
        starts=spread,
        attrs=attrs,
        rng=rng,
    )


# -- the search over starts ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Search:
    """Where the starts led: distinct optima, best first and degenerate ones last, and how many starts led to each."""

    optima: list[Climb]
    hits: list[int]
    n_starts: int
    interrupted: bool = False  # by Ctrl-C: what had been found until then


def search(
    likelihood: Likelihood,
    strategy: str,
    n_starts: int | None,
    rng: np.random.Generator,
    run: dict[str, Any],
    progress=None,
    batches: int = 1,
) -> Search:
    """Short runs from many starts, the best of them to convergence.

    Without a number there are 60, and up to 240 where they take less than about half a second in all. Of `batches`
    batches of starts the next is made only if the best optimum so far was found by a single start.
    """
    all_rows = n_starts == 1 and likelihood.in_memory
    short_likelihood = likelihood if all_rows else likelihood.subsample(SUBSAMPLE, rng)
    short: dict[str, Any] = run | {"max_iter": min(SHORT_RUN, run["max_iter"])}
    if n_starts is None:
        n_starts = int(np.clip(5e8 / (SHORT_RUN * pass_cost(short_likelihood)), N_STARTS, MOST_STARTS))
    if n_starts == 1 or likelihood.n_components == 1:
        short["max_iter"], n_starts, batches = 0, 1, 1
    candidates: list[Climb] = []  # short runs that ended in different places,
    counts: list[int] = []  # how many starts led there,
    ends: list[Climb | None] = []  # and where they ended
    made, interrupted = 0, False
    try:
        for _ in range(batches):
            runs = []
            try:
                for stream in _track(progress, rng.spawn(n_starts), "EM: short runs"):
                    runs.append(climb(short_likelihood, start(short_likelihood, strategy, stream), **short))
            finally:
                made += len(runs)
                candidates, counts, ends = _with_new(short_likelihood, candidates, counts, ends, runs)
            sound = 0
            for i in _track(progress, _order(short_likelihood, candidates), "EM: to convergence"):
                end = ends[i]
                if end is None:
                    end = _continue(likelihood, candidates[i], run, same_rows=short_likelihood is likelihood)
                    ends[i] = end
                sound += not is_spurious(likelihood, end)
                if sound == SURVIVORS:
                    break
            found = _grouped(likelihood, ends, counts, made)
            if n_starts == 1 or found.hits[0] > 1 or is_spurious(likelihood, found.optima[0]):
                return found
    except KeyboardInterrupt:
        if not candidates:
            raise
        interrupted = True
    if not any(ends):  # the best short run as it stands, on all rows
        best = _order(short_likelihood, candidates)[0]
        ends[best] = replace(
            _continue(likelihood, candidates[best], run | {"max_iter": 0}, same_rows=False), converged=False
        )
    return replace(_grouped(likelihood, ends, counts, made), interrupted=interrupted)


def _with_new(likelihood, candidates, counts, ends, runs):
    """Add runs to the candidates: those that ended at one of them are counted there."""
    merged, which = distinct(likelihood, [*candidates, *runs])
    old = len(candidates)
    total = [0] * len(merged)
    for i, place in enumerate(which):
        total[place] += counts[i] if i < old else 1
    return merged, total, [*ends, *[None] * (len(merged) - old)]


def _order(likelihood, runs):
    """Indices of runs, best first, degenerate ones last."""
    ranked = _ranked(likelihood, runs)
    places = {id(run): i for i, run in enumerate(runs)}
    return [places[id(run)] for run in ranked]


def _grouped(likelihood, ends, counts, n_starts) -> Search:
    """Equal ends put together, their hits added up."""
    found = [(end, count) for end, count in zip(ends, counts, strict=True) if end is not None]
    merged, which = distinct(likelihood, [end for end, _ in found])
    hits = [
        sum(count for (_, count), place in zip(found, which, strict=True) if place == i) for i in range(len(merged))
    ]
    order = _order(likelihood, merged)
    return Search([merged[i] for i in order], [hits[i] for i in order], n_starts)


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
        found = search(likelihood, "auto", N_STARTS, rng, run, progress)
    if found.interrupted:
        raise KeyboardInterrupt
    return [sort_components(likelihood, optimum) for optimum in found.optima]


def distinct(likelihood: Likelihood, runs: list[Climb]) -> tuple[list[Climb], list[int]]:
    """Runs that ended in different places, in the order given, and for each run the one of these that it ended at.

    Two are the same if their objectives agree to 1e-7 and their densities at the rows to 1e-3 nats.
    """
    kept, seen, which = [], [], []
    for run in runs:
        density = likelihood.fingerprint(run.params)
        same = [
            i
            for i, (other, at) in enumerate(zip(kept, seen, strict=True))
            if run.objective == other.objective
            or (
                abs(run.objective - other.objective) <= 1e-7 * abs(other.objective)
                and np.abs(density - at).max() < 1e-3
            )
        ]
        if not same:
            kept.append(run)
            seen.append(density)
        which.append(same[0] if same else len(kept) - 1)
    return kept, which


def distinct_optima(likelihood: Likelihood, runs: list[Climb]) -> list[Climb]:
    """Runs that ended in different places, in the same order; collapsed ones left out if there are others."""
    return distinct(likelihood, [run for run in runs if not run.collapsed] or runs[:1])[0]


def _spread(likelihood, found: Search):
    """What the starts found, as arrays over optima, best first."""
    return {
        "log_likelihood": np.array([run.log_likelihood for run in found.optima]),
        "hits": np.array(found.hits),
        "degenerate": np.array([is_spurious(likelihood, run) for run in found.optima]),
        "converged": np.array([run.converged for run in found.optima]),
    }


def _describe_search(likelihood, found: Search) -> str:
    """How many starts found the best optimum, and how far the next is."""
    if found.n_starts == 1 or found.interrupted:
        return ""
    sound = [run for run in found.optima if not is_spurious(likelihood, run)]
    said = f"{found.hits[0]} of {found.n_starts} starts led there"
    if len(sound) > 1:
        lower = sound[0].objective - sound[1].objective
        said += f"; the next best optimum is {lower:.3g} nats lower"
    return said + "."


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
    if not likelihood.can_collapse:
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
def _check_options(mixture, init, n_init, max_iter, tol, uncertainty, draws, cores):
    if n_init != "auto" and (isinstance(n_init, bool) or not isinstance(n_init, int | np.integer) or n_init < 1):
        raise ValueError(f'n_init={n_init!r} but it must be "auto" or a number of starts, at least 1.')
    if isinstance(max_iter, bool) or not isinstance(max_iter, int | np.integer) or max_iter < 1:
        raise ValueError(f"max_iter={max_iter!r} but it must be a whole number of iterations, at least 1.")
    if isinstance(tol, bool) or not isinstance(tol, int | float | np.integer | np.floating):
        raise TypeError(f"tol={tol!r} but it must be a positive number, for example 1e-8.")
    if not 0 < tol < np.inf:
        raise ValueError(f"tol={tol!r} but it must be a positive finite number, for example 1e-8.")
    if uncertainty is not None and (not isinstance(uncertainty, str) or uncertainty not in DRAWS_FROM):
        known = ", ".join(f'"{name}"' for name in DRAWS_FROM)
        raise ValueError(f"uncertainty={uncertainty!r} is not known; use None or one of {known}.")
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int | np.integer) or cores < 1):
        raise ValueError(
            f"cores={cores!r} but it must be a whole number of threads, at least 1, or None for all cores."
        )
    if uncertainty is not None and (isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 2):
        raise ValueError(f"draws={draws!r} but it must be a whole number of draws, at least 2.")
    if isinstance(init, str) and init not in ("auto", *STRATEGIES):
        raise ValueError(
            f'init={init!r} is not known; use "auto", {", ".join(repr(s) for s in STRATEGIES)}, labels, responsibilities or a Fit.'
        )


def _check_streamed_options(init, uncertainty):
    """What needs all rows cannot be had of data that are not in memory."""
    if not isinstance(init, str | Fit):
        raise TypeError(
            f"init is of type {type(init).__name__}, one entry per row, but the data are not in memory; use "
            '"auto", "kmeans", "random", or a Fit, for example of a part of the rows.'
        )
    if uncertainty not in (None, "laplace"):
        raise ValueError(
            f'uncertainty="{uncertainty}" refits to all rows in memory, where these are not; use "laplace", or a random '
            "part of the rows."
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
    if given and not likelihood.in_memory:
        rows = likelihood.subsample(SUBSAMPLE, np.random.default_rng(0))
    else:
        rows = likelihood if given else likelihood.subsample(SUBSAMPLE, rng)
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
    if not likelihood.in_memory:
        likelihood = likelihood.subsample(SUBSAMPLE, np.random.default_rng(0))
    return from_responsibilities(likelihood, np.asarray(fit.responsibilities(likelihood.data)))


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
        return describe_collapse(likelihood, run, guard, is_spurious)
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
