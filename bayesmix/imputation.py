"""What is expected in missing cells, and how surely: their distribution given the cells that are there."""

import numpy as np
import xarray as xr

from .arrays import Data
from .likelihood import formula
from .prediction import CELLS, _tails, choose, with_row_axis
from .whole_numbers import is_whole

DRAWS_FOR_INTERVAL = 4000  # imputations that intervals are quantiles of


def impute(fit, rows: Data, interval: float | None, draws: int | None, rng: np.random.Generator) -> xr.Dataset:
    r"""Estimates, standard deviations, intervals and draws of missing cells; see `bayesmix.Fit.impute`.

    With responsibilities r given the cells that are there, and each component's mean m and variance v of the missing cell
    given these, the mean is :math:`E\, r m` over components and draws of the parameters, and the variance
    :math:`E\, r v + E\, r (m - E\, r m)^2`.
    """
    if draws is not None and not is_whole(draws):
        raise ValueError(f"draws={draws!r} but it must be a whole number of completed data sets, at least 1.")
    if not fit.mixture.component.takes_missing:
        raise ValueError(f"{fit.mixture.component} takes no missing cells, so that there is nothing to impute.")
    tails, params = _tails(interval), fit.posterior_draws if fit.has_draws else fit.draws
    x = rows.modelled
    estimate, sd = x.copy(), np.zeros(x.shape)
    found = {"estimate": estimate, "sd": sd}
    if tails:
        found |= {"lower": x.copy(), "upper": x.copy()}
    completed = np.repeat(x[None], draws, axis=0) if draws is not None else None
    n_params = len(params["weights"])
    for part, gone in _groups(x, max(1, CELLS // (params["weights"].size * rows.n_features**2))):
        cells = np.ix_(part, np.flatnonzero(gone))
        estimate[cells], sd[cells] = _moments(fit, rows.values[part], gone, params)
    chosen = rng.integers(n_params, size=draws or 0)  # one draw of the parameters for each completed data set
    for part, gone in _groups(x, 1000):
        cells = np.flatnonzero(gone)
        if tails:
            drawn = _draws(fit, rows.values[part], gone, params, rng.integers(n_params, size=DRAWS_FOR_INTERVAL), rng)
            for name, values in zip(("lower", "upper"), np.quantile(drawn, tails, axis=0), strict=True):
                found[name][np.ix_(part, cells)] = values
        if completed is not None:
            drawn = _draws(fit, rows.values[part], gone, params, chosen, rng)
            completed[np.ix_(np.arange(len(completed)), part, cells)] = drawn
    return _labelled(fit, rows, found, completed, interval)


def _groups(values, size):
    """Rows with missing cells by their pattern, so many at a time: pairs of rows and what is missing in them (feature,)."""
    patterns, which = np.unique(np.isnan(values), axis=0, return_inverse=True)
    for i, gone in enumerate(patterns):
        if gone.any():
            yield from ((part, gone) for part in _pieces(np.flatnonzero(which.ravel() == i), size))


def _pieces(rows, size):
    """Rows, so many at a time."""
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]


def _moments(fit, x, gone, params):
    """Mean and standard deviation of the missing cells of rows of one pattern, (obs, missing) each."""
    component = fit.mixture.component
    log_weights, own = with_row_axis(params)
    r = formula.responsibilities(component, x, log_weights, own)[..., None] / len(log_weights)
    mean, variance = component.missing_moments(x, gone, own)
    centre = (r * mean).sum(axis=(0, 2))
    spread = variance + (mean - centre[:, None]) ** 2
    return centre, np.sqrt((r * spread).sum(axis=(0, 2)))


def _draws(fit, x, gone, params, chosen, rng):
    """Draws of the missing cells at the chosen draws of the parameters: (draw, obs, missing)."""
    component = fit.mixture.component
    step = max(1, CELLS // (params["weights"].shape[1] * len(x) * x.shape[1] ** 2))
    found = []
    for part in _pieces(chosen, step):
        log_weights, own = with_row_axis({name: value[part] for name, value in params.items()})
        labels = choose(formula.responsibilities(component, x, log_weights, own), rng)
        found.append(component.sample_missing(x, gone, own, labels, rng))
    return np.concatenate(found)


def _labelled(fit, rows, found, completed, interval):
    """Arrays with the names of rows and columns."""
    multivariate = fit.mixture.component.multivariate
    dims: tuple = ("obs",)
    coords = {"obs": rows.obs}
    if multivariate:
        dims, coords = ("obs", "feature"), coords | {"feature": np.array(fit.data.feature)}
    variables: dict = {name: (dims, value if multivariate else value[:, 0]) for name, value in found.items()}
    if completed is not None:
        variables["draws"] = (("imputation", *dims), completed if multivariate else completed[..., 0])
        coords["imputation"] = np.arange(len(completed))
    return xr.Dataset(variables, coords=coords, attrs={} if interval is None else {"interval": interval})
