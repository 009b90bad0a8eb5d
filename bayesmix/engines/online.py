r"""Online EM: one M-step after every few rows, for streams and for data that are read once.

Cappé & Moulines (2009) replace the E-step over all rows by a running average of the expected statistics,

.. math:: s_t = s_{t-1} + \gamma_t \{\bar s(x_t; \theta_{t-1}) - s_{t-1}\}, \qquad \theta_t = \bar\theta(s_t),
          \qquad \gamma_t = (t + t_0)^{-\alpha}, \quad 1/2 < \alpha \le 1,

where :math:`\bar s(x_t; \theta)` is the mean over a batch of rows. The statistics are those of `bayesmix.em`, with
moments about a pivot for each component, its mean: when the mean moves, the averages are moved to it exactly, so that
an offset of the data costs no digits.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..arrays import Data, as_data, check_counts
from ..chunks import InMemory, Source, source_of
from ..components.base import Component, Guard, Statistics
from ..fit import Fit
from ..likelihood.likelihood import Likelihood
from ..likelihood.streamed import add_statistics
from ..mixture import Mixture, check_mixture
from ..randomness import generator
from ..whole_numbers import check_whole
from .em import em, params_of_fit
from .guard import settled_guard
from .search import SUBSAMPLE

DECAY = 3  # of the averaging: weight (DECAY + 1) / (t + DECAY) of the latest statistics (Shamir & Zhang 2013)


@dataclass(frozen=True)
class Running:
    """Where a stream stands: statistics per row about the components' means, and how much has been seen."""

    params: dict
    latest: Statistics  # s_t
    averaged: Statistics  # weighted average of the s_t, which varies less
    steps: int
    rows: float
    guard: Guard | None  # of one row per component


def online_em(
    mixture: Mixture,
    data,
    *,
    init: str | Fit = "auto",
    batch: int = 1000,
    alpha: float = 0.6,
    t0: float = 10.0,
    n_passes: int = 1,
    average: bool = True,
    random_seed=None,
) -> Fit:
    r"""Fit a mixture by online EM (Cappé & Moulines 2009): an update after every batch of rows.

    For streams, and where not even one iteration of `em` over all rows is affordable. The estimates are those of `em`
    up to noise of the size of a standard error; rows must come in random order. To go on with more rows, pass the fit
    as `init`.

    Parameters
    ----------
    mixture : Mixture
        The specification. Its priors are not used.
    data : array_like, data not in memory, or iterable of blocks
        What `em` takes, or an iterable (a generator, say) of arrays or frames. Only a batch is held.
    init : {"auto", "kmeans", "random"} or Fit
        How the first rows (2000, or one batch if that is larger) are fitted by `em`; or a fit to start from. A fit by
        `online_em` goes on where it stopped.
    batch : int
        Rows per update.
    alpha, t0 : float
        Step size :math:`\gamma_t = (t + t_0)^{-\alpha}` of update t. Small `alpha` (above 0.5) forgets the start soon;
        1 weighs all rows alike.
    n_passes : int
        How often the data are gone over. An iterator can be gone over once.
    average : bool
        Estimate from an average of the running statistics, in which recent ones count more (Polyak & Juditsky 1992;
        Shamir & Zhang 2013): about as precise as `em`. False takes the last, for what changes in time.
    random_seed : int, numpy.random.Generator or None
        For the start. The same seed gives the same result.

    Returns
    -------
    Fit
        With the estimates in group ``point``, and in ``online`` the running statistics and the mean log density of
        each batch before it was learnt from, in nats. There is no log-likelihood: no parameters saw all rows.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, or an argument is out of range.
    """
    check_mixture(mixture, data)
    if mixture.component.numeric or not mixture.component.sufficient or mixture.component.given:
        raise TypeError(
            f"online EM keeps running sums of sufficient statistics, which {mixture.component} has not; use bm.em, which "
            "reads data of any size in passes."
        )
    _check_options(batch, alpha, t0, n_passes, data)
    rng = generator(random_seed)
    started = time.perf_counter()
    state, labels = (None, None) if not isinstance(init, Fit) else (restore(mixture, init), init.data)
    densities = []
    for _ in range(n_passes):
        batches, labels = _batches(data, batch, labels)
        if state is None:
            assert labels is not None and isinstance(init, str)
            values, batches = _first_rows(batches, max(SUBSAMPLE, batch))
            first = mixture.check(Data(values, labels.feature, labels.named, np.arange(len(values))))
            mixture = mixture.resolved(first)
            fit = em(mixture, first, init=init, tol=1e-4, random_seed=rng, progressbar=False)
            state = _running(mixture, first, fit.estimates, rng)
        for values in batches:
            _check_batch(mixture.component, values, labels)
            state, density = step(mixture, state, values, batch, alpha, t0)
            densities.append(density)
    assert state is not None and labels is not None
    params = m_step(mixture, state, state.averaged if average else state.latest)
    gamma = (max(state.steps, 1) + t0) ** -alpha
    attrs = {
        "engine": "online_em",
        "converged": 0,
        "message": (
            f"Online EM: {state.rows:.0f} rows in {state.steps} updates, the last of step size {gamma:.2g}. It has no stopping "
            "rule: compare with the estimates after more rows, or finish by bm.em(..., init=fit)."
        ),
        "n_rows": int(round(state.rows)),
        "total_weight": float(state.rows),
        "n_passes": n_passes,
        "seconds": time.perf_counter() - started,
        "draws_from": "none",
        "uncertainty": "none",
    }
    kept = Data(np.empty((0, labels.n_features)), labels.feature, labels.named, np.arange(0))
    return Fit.assemble(mixture, kept, point=params, groups={"online": stored(state, densities)}, attrs=attrs, rng=rng)


# -- one update --------------------------------------------------------------------------------------------------------------
def step(mixture: Mixture, state: Running, values: np.ndarray, batch: int, alpha: float, t0: float):
    """The state after a batch of rows, and their mean log density under the parameters before."""
    component, n = mixture.component, len(values)
    found = _statistics(component, values, state.params)
    new = _scaled(found, 1.0 / n)
    t = state.steps + 1
    gamma = min(1.0, n / batch) * (t + t0) ** -alpha  # a batch that is not full counts for less
    latest = _towards(state.latest, new, gamma)
    averaged = _towards(state.averaged, latest, min(1.0, (DECAY + 1) / (t + DECAY)))
    moved = Running(state.params, latest, averaged, t, state.rows + n, state.guard)
    params = m_step(mixture, moved, latest)
    latest, averaged = (recentred(component, part, state.params, params) for part in (latest, averaged))
    return Running(params, latest, averaged, t, moved.rows, state.guard), new.log_likelihood


def m_step(mixture: Mixture, state: Running, per_row: Statistics) -> dict:
    """Parameters at statistics per row, the guard being as strong as in `em` with as many rows."""
    rows = _scaled(per_row, state.rows)
    strength = 2.0 / np.sqrt(state.rows)
    guard = None if state.guard is None else Guard(strength, strength * state.guard.second)
    known = mixture.weights.known
    weights = per_row.n / per_row.n.sum() if known is None else known
    return {"weights": weights} | mixture.component.m_step(state.params, rows, guard)


def recentred(component: Component, statistics: Statistics, old: dict, new: dict) -> Statistics:
    """Statistics about the components' new means, exactly; those of the ``linear`` kernel are about zero as they are."""
    if component.kernel == "linear":
        return statistics
    shift = component.kernel_arguments(new)[0] - component.kernel_arguments(old)[0]
    _, n, first, second = statistics[:4]
    if second.ndim == 2:
        moved = second - 2.0 * shift * first + n[:, None] * shift**2
    else:
        cross = shift[:, :, None] * first[:, None, :]
        outer = shift[:, :, None] * shift[:, None, :]
        moved = second - cross - np.swapaxes(cross, 1, 2) + n[:, None, None] * outer
    return Statistics(statistics.log_likelihood, n, first - n[:, None] * shift, moved)


def _towards(one: Statistics, other: Statistics, gamma: float) -> Statistics:
    return add_statistics(_scaled(one, 1.0 - gamma), _scaled(other, gamma))


def _scaled(statistics, factor):
    log_likelihood, n, first, second = statistics[:4]
    return Statistics(factor * log_likelihood, factor * n, factor * first, factor * second)


def _statistics(component, values, params):
    data = Data(values, tuple(range(values.shape[1])), False, np.empty(0))
    return Likelihood(component, data, len(params["weights"]), look_for_repetitions=False).statistics(params)


# -- the start, and going on -------------------------------------------------------------------------------------------------
def _running(mixture, rows: Data, params: dict, rng) -> Running:
    likelihood = Likelihood.of(mixture, rows)
    guard = settled_guard(likelihood, 2.0 / np.sqrt(rows.n_obs), rng, params)
    guard = None if guard is None else Guard(1.0, guard.second / guard.n)
    found = likelihood.statistics(params)
    per_row = _scaled(found, 1.0 / rows.n_obs)
    return Running(params, per_row, per_row, 0, float(rows.n_obs), guard)


def stored(state: Running, densities: list[float]) -> xr.Dataset:
    """The state as a Dataset, which is saved with the fit."""
    variables: dict[str, Any] = {"log_density": (("step",), np.array(densities))}
    for name, part in (("latest", state.latest), ("averaged", state.averaged)):
        variables[f"{name}_n"] = (("cluster",), part.n)
        variables[f"{name}_first"] = (("cluster", "statistic"), part.first)
        if part.second.size:
            dims = ("statistic", "statistic_2")[: part.second.ndim - 1]
            variables[f"{name}_second"] = (("cluster", *dims), part.second)
    for name, value in state.params.items():
        axes = ("cluster", *(f"{name}_{i}" for i in range(value.ndim - 1)))
        variables[f"at_{name}"] = (axes, value)
    if state.guard is not None:
        variables["guard"] = (tuple(f"guard_{i}" for i in range(np.ndim(state.guard.second))), state.guard.second)
    return xr.Dataset(variables, attrs={"steps": state.steps, "rows": state.rows})


def restore(mixture: Mixture, fit: Fit) -> Running:
    """The state of an earlier fit; of a fit by another engine, statistics of rows drawn from it."""
    if "online" not in fit.tree.children:
        rows = as_data(np.asarray(fit.sample(SUBSAMPLE, random_seed=0)), feature=fit.data.feature)
        likelihood = Likelihood.of(mixture, rows)
        return _running(mixture, rows, params_of_fit(likelihood, fit), np.random.default_rng(0))
    if fit.mixture.to_dict() != mixture.to_dict():
        raise ValueError(f"init is a fit of a {fit.mixture}, which cannot go on as a {mixture}.")
    group = fit.tree["online"].dataset

    def part(name):
        n = group[f"{name}_n"].values
        second = group[f"{name}_second"].values if f"{name}_second" in group else np.empty((len(n), 0))
        return Statistics(np.nan, n, group[f"{name}_first"].values, second)

    guard = Guard(1.0, group["guard"].values) if "guard" in group else None
    params = {name: group[f"at_{name}"].values for name in fit.estimates}
    return Running(
        params, part("latest"), part("averaged"), int(group.attrs["steps"]), float(group.attrs["rows"]), guard
    )


# -- batches -----------------------------------------------------------------------------------------------------------------
def _batches(data, batch: int, labels: Data | None) -> tuple[Iterator[np.ndarray], Data | None]:
    """Float64 arrays (rows, feature) of `batch` rows, the last of fewer; and the labels of the columns, once known."""
    feature = None if labels is None else labels.feature if labels.named else tuple(range(labels.n_features))
    source: Source | None = source_of(data)
    if source is None and (not isinstance(data, Iterable) or hasattr(data, "shape") or isinstance(data, list | tuple)):
        source = InMemory(as_data(data, feature=feature))
    if source is not None:
        if feature is not None and len(feature) != source.n_features:
            raise ValueError(
                f"the data have {source.n_features} columns, but the fit to go on with has {len(feature)}."
            )
        known = labels or Data(np.empty((0, source.n_features)), source.feature, source.names is not None, np.arange(0))
        return _cut(source.blocks(), batch), known
    blocks = iter(data)
    first = next(blocks, None)
    if first is None:
        raise ValueError("there are no blocks: the iterable is empty, or has been gone over already.")
    head = as_data(first, feature=feature)
    wanted = head.feature if head.named else tuple(range(head.n_features))

    def values():
        yield head.values
        for block in blocks:
            yield as_data(block, feature=wanted).values

    return _cut(values(), batch), labels or head


def _cut(blocks: Iterable[np.ndarray], batch: int) -> Iterator[np.ndarray]:
    """The same rows in batches of equal size."""
    buffer, filled = None, 0
    for block in blocks:
        if buffer is None:
            buffer = np.empty((batch, block.shape[1]))
        done = 0
        while done < len(block):
            taken = min(batch - filled, len(block) - done)
            buffer[filled : filled + taken] = block[done : done + taken]
            filled, done = filled + taken, done + taken
            if filled == batch:
                yield buffer
                filled = 0
    if filled and buffer is not None:
        yield buffer[:filled]


def _first_rows(batches: Iterator[np.ndarray], n: int) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Copies of the first batches, at least n rows if there are as many, and the batches after them."""
    first = []
    for values in batches:
        first.append(values.copy())
        if sum(map(len, first)) >= n:
            break
    return np.concatenate(first), batches


def _check_batch(component, values, labels):
    if not np.isfinite(values).all():
        as_data(values)  # which says where
    if component.discrete and labels.n_features == 1:
        check_counts(Data(values, labels.feature, labels.named, np.arange(len(values))), component)


def _check_options(batch, alpha, t0, n_passes, data):
    check_whole(batch=batch, n_passes=n_passes)
    if not 0.5 < alpha <= 1.0:
        raise ValueError(f"alpha={alpha!r} but steps (t + t0)^-alpha need 0.5 < alpha <= 1; 0.6 is a good choice.")
    if not t0 >= 0:
        raise ValueError(f"t0={t0!r} but it must be 0 or more.")
    if n_passes > 1 and isinstance(data, Iterator):
        raise ValueError(f"n_passes={n_passes} but an iterator of type {type(data).__name__} can be gone over once.")
