"""Maximum likelihood by the EM algorithm."""

import time
from typing import Any

import numpy as np

from ..arrays import Data
from ..chunks import look, source_of
from ..components.base import Guard
from ..cores import available_cores
from ..fit import Fit
from ..likelihood.likelihood import Likelihood
from ..likelihood.streamed import StreamedLikelihood
from ..mixture import Mixture, check_mixture
from ..randomness import generator
from ..units import refuse_units
from ..whole_numbers import is_whole
from .climb import Climb, climb
from .collapse import describe_collapse
from .guard import settled_guard
from .progress import display
from .search import N_STARTS, SUBSAMPLE, describe_search, is_spurious, search, sort_components, spread_of
from .starts import STRATEGIES, from_responsibilities, one_hot

INTERRUPTED = "The search over starts was interrupted: this is the best optimum of the starts tried until then."
DRAWS_FROM = {
    "laplace": "the normal (Laplace) approximation of the estimate's sampling distribution",
    "bootstrap": "refits to resampled rows (nonparametric bootstrap)",
    "parametric bootstrap": "refits to data sets drawn from the fit (parametric bootstrap)",
    "bayesian bootstrap": "refits to the rows under random weights (Bayesian bootstrap)",
}


def em(
    mixture: Mixture,
    data,
    *,
    weights=None,
    labels=None,
    group=None,
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
        columns are kept, and columns of later data are matched by name. Missing cells (NaN, None, NA, masked) count for
        nothing: the likelihood is that of the cells that are there. Memory-mapped arrays (`numpy.memmap`), Dask
        arrays and frames, xarray objects made of Dask arrays, and objects with ``shape`` and ``blocks()``, are read
        piece by piece in every iteration and never held; the fit then keeps no rows either.
    weights : array_like, shape (obs,), optional
        Weight of each row; a weight of 2 counts as the row twice.
    labels : array_like, shape (obs,), or str, optional
        Components that rows are known to come from: numbers 0 to K - 1, or names, and -1, NaN or None where it is not
        known (semi-supervised); or the name of a column of the data that holds them. Such a row has likelihood
        :math:`\pi_k p(x \mid \theta_k)`. Names are sorted, and ``fit.label_names`` says which is component 0, 1, ...
        Components with a known row keep their number.
    group : array_like, shape (obs,), or str, optional
        Group of each row, or the name of a column that holds it: all rows of a group come from one component,
        :math:`\prod_g \sum_k \pi_k \prod_{n \in g} p(x_n \mid \theta_k)`. Row weights must be the same within a group.
    init : {"auto", "kmeans", "random", "hierarchical"}, array or Fit
        How runs start: "kmeans" by k-means from k-means++ seeds, "random" around random rows, "hierarchical" by
        model-based agglomeration of a part of the rows, "auto" by all three.
        Or the start itself: labels (obs,), responsibilities (obs, cluster), or a `Fit` whose parameters are taken;
        then the components keep their order.
    n_init : int or "auto"
        Number of starts; the best 8 that are not degenerate go on to convergence. "auto" ends after 33 that all led to one
        optimum (Boender & Rinnooy Kan 1987); otherwise it takes 60 to 240, the more the quicker they are, and then looks
        around the two best optima: rows change their component, and EM starts again from there, as long as that finds
        better ones (iterated local search, Lourenço, Martin & Stützle 2003).
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
    if source is not None:
        refuse_units(labels, group)
    checked = mixture.check(data, weights, labels, group) if source is None else None
    rng = generator(random_seed)
    _check_options(mixture, init, n_init, max_iter, tol, uncertainty, draws, cores)
    if checked is not None:
        threads = cores or available_cores()
        mixture = mixture.resolved(checked)
        likelihood = Likelihood.of(mixture, checked, cores=threads)
    else:
        _check_streamed_options(init, uncertainty)
        assert source is not None
        found = look(mixture, source, rng, SUBSAMPLE)
        mixture = mixture.resolved(found)  # pyright: ignore[reportArgumentType]
        likelihood = StreamedLikelihood.of(mixture, found, source=source)
    given = _given_start(likelihood, init, checked)
    penalty = _guard(likelihood, guard, rng, given)
    run: dict[str, Any] = {"guard": penalty, "max_iter": max_iter, "tol": tol, "accelerate": accelerate}

    with display(progressbar) as progress:
        if given is not None:
            best, spread, interrupted, starts = climb(likelihood, given, **run), None, False, ""
        else:
            found = search(likelihood, init, None if n_init == "auto" else int(n_init), rng, run, progress)
            best, interrupted = sort_components(likelihood, found.optima[0]), found.interrupted
            spread, starts = spread_of(likelihood, found), describe_search(likelihood, found)
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


# -- what other engines start from ---------------------------------------------------------------------------------------
def search_optima(likelihood: Likelihood, rng: np.random.Generator, progressbar: bool) -> list[Climb]:
    """What `em` finds with its defaults: converged runs, best first, components in order."""
    guard = _guard(likelihood, "default", rng, None)
    run: dict[str, Any] = {"guard": guard, "max_iter": 5000, "tol": 1e-6, "accelerate": True}
    with display(progressbar) as progress:
        found = search(likelihood, "auto", N_STARTS, rng, run, progress)
    if found.interrupted:
        raise KeyboardInterrupt
    return [sort_components(likelihood, optimum) for optimum in found.optima]


# -- arguments -----------------------------------------------------------------------------------------------------------
def _check_options(mixture, init, n_init, max_iter, tol, uncertainty, draws, cores):
    if n_init != "auto" and not is_whole(n_init):
        raise ValueError(f'n_init={n_init!r} but it must be "auto" or a number of starts, at least 1.')
    if not is_whole(max_iter):
        raise ValueError(f"max_iter={max_iter!r} but it must be a whole number of iterations, at least 1.")
    if isinstance(tol, bool) or not isinstance(tol, int | float | np.integer | np.floating):
        raise TypeError(f"tol={tol!r} but it must be a positive number, for example 1e-8.")
    if not 0 < tol < np.inf:
        raise ValueError(f"tol={tol!r} but it must be a positive finite number, for example 1e-8.")
    if uncertainty is not None and (not isinstance(uncertainty, str) or uncertainty not in DRAWS_FROM):
        known = ", ".join(f'"{name}"' for name in DRAWS_FROM)
        raise ValueError(f"uncertainty={uncertainty!r} is not known; use None or one of {known}.")
    if cores is not None and not is_whole(cores):
        raise ValueError(
            f"cores={cores!r} but it must be a whole number of threads, at least 1, or None for all cores."
        )
    if uncertainty is not None and not is_whole(draws, 2):
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
    alike = getattr(own, "letters", None) == getattr(component, "letters", None)
    if same_columns and alike and [p.name for p in own.parameters] == [p.name for p in component.parameters]:
        return fit.estimates
    if not likelihood.in_memory:
        likelihood = likelihood.subsample(SUBSAMPLE, np.random.default_rng(0))
    return from_responsibilities(likelihood, np.asarray(fit.responsibilities(likelihood.data)))


def _given_start(likelihood: Likelihood, init, data: Data | None) -> dict | None:
    """Parameters of a start that the user gave, or None."""
    if isinstance(init, str):
        return None
    if isinstance(init, Fit):
        return params_of_fit(likelihood, init)
    assert data is not None  # `_check_streamed_options` has seen to it
    n, k = data.n_obs, likelihood.n_components
    values = np.asarray(init)
    if values.shape == (n,):
        if not np.all(np.isin(values, np.arange(k))):
            raise ValueError(
                f"labels in init must be whole numbers from 0 to {k - 1}, one per row; found {np.unique(values)[:8]}."
            )
        return from_responsibilities(likelihood, one_hot(values, k)[data.informative])
    if values.shape == (n, k):
        values = values.astype(float)
        if not np.all(values >= 0) or not np.allclose(values.sum(axis=1), 1.0, atol=1e-6):
            raise ValueError("responsibilities in init must be nonnegative and sum to 1 in every row.")
        return likelihood.maximise_given(values[data.informative], likelihood.component.guard(likelihood.data, 1e-6))
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
