"""Predictions of a fit, averaged over its draws in pieces that fit into memory."""

import numpy as np
import xarray as xr

from .arrays import Data
from .likelihood import formula

CELLS = 1_000_000  # draws x rows x components x features worked on at once
PREDICTIVE_CELLS = 20_000_000  # of a data set drawn for each draw, all together
SAMPLE_ROWS = 10_000  # rows drawn at once


def log_mean_exp(values: np.ndarray, axis: int) -> np.ndarray:
    """Logarithm of the mean of exponentials, without overflow."""
    largest = values.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.mean(np.exp(values - largest), axis=axis)) + np.squeeze(largest, axis=axis)


def with_row_axis(draws: dict) -> tuple[np.ndarray, dict]:
    """Log weights and parameters of draws, (draws, 1, cluster, ...), ready to meet rows."""
    expanded = {name: value[:, None] for name, value in draws.items()}
    return formula.log_of_weights(expanded.pop("weights")), expanded


def over_rows(fit, rows: Data, function, dims, interval, average=np.mean, most_draws=None, by_units=False):
    """Apply function(component, x, log_weights, params) to all rows at all draws, and average over the draws.

    With `most_draws` only so many draws are used, evenly spaced. With `by_units` x is not an array but the `Data` of whole
    units.
    """
    component, draws = fit.mixture.component, fit.draws
    tails = _tails(interval)
    spread = _draws_for_interval(fit, draws, interval)
    if most_draws is not None:
        same = spread is draws
        draws = _thinned(draws, most_draws)
        spread = draws if same else _thinned(spread, most_draws)
    log_weights, params = with_row_axis(draws)
    per_row = max(1, spread["weights"].size * (rows.n_features**2 if component.multivariate else 1))
    step = max(1, CELLS // per_row)
    estimate, lower, upper = [], [], []
    order = np.arange(rows.n_obs)
    pieces = [order[begin : begin + step] for begin in range(0, rows.n_obs, step)]
    if by_units:
        order = np.argsort(rows.units.group, kind="stable")
        pieces = whole_units(rows.units.group[order], order, step)
    for piece in pieces:
        x = rows.take(piece) if by_units else rows.values[piece[0] : piece[-1] + 1]
        values = function(component, x, log_weights, params)
        estimate.append(average(values, axis=0))
        if tails:
            if spread is not draws:
                values = function(component, x, *with_row_axis(spread))
            low, high = np.quantile(values, tails, axis=0)
            lower.append(low)
            upper.append(high)
    coords = {"obs": rows.obs}
    if "cluster" in dims:
        coords["cluster"] = np.arange(fit.mixture.n_components)
    parts = [np.concatenate(part) if part else np.empty((0,) * len(dims)) for part in (estimate, lower, upper)]
    if by_units:
        parts = [part[np.argsort(order)] if len(part) else part for part in parts]
    return _labelled(parts, dims, coords, interval)


def whole_units(group: np.ndarray, order: np.ndarray, step: int) -> list[np.ndarray]:
    """Positions of rows in pieces of whole units, of about `step` rows; group (obs,) in order, `order` their positions."""
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    edges = np.unique([begins[np.searchsorted(begins, at, side="right") - 1] for at in range(0, len(group), step)])
    return np.split(order, edges[1:])


def _draws_for_interval(fit, draws, interval):
    """Draws whose spread gives intervals: the posterior's, or those of an estimate's sampling distribution."""
    if interval is None:
        return draws
    if not fit.has_draws:
        raise ValueError(
            "this fit has no draws, so no intervals; "
            'pass uncertainty="laplace" or "bootstrap" to bm.em, or use bm.nuts.'
        )
    return fit.posterior_draws if "point" in fit.tree.children else draws


def _thinned(draws, most):
    n = len(draws["weights"])
    kept = np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
    return {name: value[kept] for name, value in draws.items()}


def _tails(interval):
    if interval is None:
        return None
    if not 0 < interval < 1:
        raise ValueError(f"interval={interval} but it is a probability between 0 and 1, for example 0.89.")
    return [(1 - interval) / 2, (1 + interval) / 2]


def _labelled(parts, dims, coords, interval):
    if interval is None:
        return xr.DataArray(parts[0], dims=dims, coords=coords)
    named = zip(("estimate", "lower", "upper"), parts, strict=True)
    return xr.Dataset({name: (dims, part) for name, part in named}, coords=coords, attrs={"interval": interval})


def quantiles(fit, q, interval):
    """Invert the averaged marginal cdf of each feature by bisection; see `Fit.quantile`."""
    probabilities = _probabilities(q)
    tails = _tails(interval)
    component, draws, features = fit.mixture.component, fit.draws, fit.data.feature
    if component.given:
        raise ValueError(
            f"quantiles of {component} differ from row to row, with {_names(component)}; pass rows, fit.quantile(q, data=rows), or "
            "use fit.cdf(rows)."
        )
    spread = _draws_for_interval(fit, draws, interval)
    log_weights, params = with_row_axis(draws)
    parts = [np.empty((len(probabilities), len(features))) for _ in range(3)]
    for j in range(len(features)):

        def each(x, j=j):  # cdf of every draw at points x: (draws, points)
            return (np.exp(log_weights) * component.marginal_cdf(x, params, j)).sum(axis=-1)

        for i, p in enumerate(probabilities):
            bounds = component.marginal_quantile(p, {n: v for n, v in draws.items() if n != "weights"})[..., j]
            ends = bounds.min(), bounds.max()
            parts[0][i, j] = _invert(lambda x, each=each: each(x).mean(axis=0), p, *ends, component.is_discrete(j))
            if tails:
                inside = {n: v for n, v in spread.items() if n != "weights"}
                own = _invert_each(fit, spread, p, j, component.marginal_quantile(p, inside)[..., j])
                parts[1][i, j], parts[2][i, j] = np.quantile(own, tails)
    dims, coords = ("quantile", "feature"), {"quantile": probabilities, "feature": np.array(features)}
    result = _labelled(parts, dims, coords, interval)
    if not component.multivariate:
        result = result.isel(feature=0, drop=True)
    return result.isel(quantile=0) if np.ndim(q) == 0 else result


def predict(fit, rows: Data, interval: float | None) -> xr.Dataset:
    """Mean of the mixture and of its components at rows; see `Fit.predict`."""
    parts = {
        "mean": over_rows(fit, rows, _mean, ("obs",), interval),
        "component_mean": over_rows(fit, rows, _component_mean, ("obs", "cluster"), interval),
    }
    found = {}
    for name, part in parts.items():
        if interval is None:
            found[name] = part
        else:
            found |= {name: part["estimate"], f"{name}_lower": part["lower"], f"{name}_upper": part["upper"]}
    return xr.Dataset(found, attrs={} if interval is None else {"interval": interval})


def _mean(component, x, log_weights, params):
    return (np.exp(formula.log_of_rows(component, x, log_weights, params)) * component.mean(x, params)).sum(axis=-1)


def _component_mean(component, x, log_weights, params):
    return component.mean(x, params)


def row_quantiles(fit, q, rows: Data) -> xr.DataArray:
    """Quantiles of the averaged distribution at each row, by bisection of its cdf; see `Fit.quantile`."""
    probabilities = _probabilities(q)
    component, (log_weights, params) = fit.mixture.component, with_row_axis(fit.draws)
    found = np.empty((len(probabilities), rows.n_obs))
    step = max(1, CELLS // log_weights.size)
    for begin in range(0, rows.n_obs, step):
        x = rows.values[begin : begin + step].copy()
        weights = np.exp(formula.log_of_rows(component, x, log_weights, params))

        def cdf(y, x=x, weights=weights):
            at = np.concatenate([y[:, None], x[:, 1:]], axis=1)
            return (weights * component.cdf(at, params)).sum(axis=-1).mean(axis=0)

        for i, p in enumerate(probabilities):
            ends = component.quantile(p, x, params)
            ends = np.min(ends, axis=(0, 2)), np.max(ends, axis=(0, 2))
            found[i, begin : begin + step] = _invert_rows(cdf, p, *ends, component.discrete)
    result = xr.DataArray(found, dims=("quantile", "obs"), coords={"quantile": probabilities, "obs": rows.obs})
    return result.isel(quantile=0) if np.ndim(q) == 0 else result


def _invert_rows(cdf, p, low, high, discrete):
    """`_invert` for many rows at once."""
    low = low - 1.0 if discrete else low
    for _ in range(80):
        middle = np.floor(0.5 * (low + high)) if discrete else low + 0.5 * (high - low)
        reached = cdf(middle) >= p
        open_ = high - low > 1.0 if discrete else (middle > low) & (middle < high)
        if not np.any(open_):
            break
        low, high = np.where(open_ & ~reached, middle, low), np.where(open_ & reached, middle, high)
    return high


def _probabilities(q) -> np.ndarray:
    probabilities = np.atleast_1d(np.asarray(q, dtype=float))
    if probabilities.ndim != 1 or not np.all((probabilities > 0) & (probabilities < 1)):
        raise ValueError(f"q={q!r} but quantiles need probabilities strictly between 0 and 1.")
    return probabilities


def _invert(cdf, p, low, high, discrete):
    """Smallest point of [low, high] at which a cdf reaches p; the ends are quantiles of the components."""
    if discrete:
        low = low - 1
        while high - low > 1:
            middle = np.floor(0.5 * (low + high))
            low, high = (low, middle) if cdf(np.array([middle]))[0] >= p else (middle, high)
        return high
    for _ in range(200):
        middle = low + 0.5 * (high - low)
        if middle in (low, high):
            break
        low, high = (low, middle) if cdf(np.array([middle]))[0] >= p else (middle, high)
    return high


def _invert_each(fit, draws, p, feature, bounds):
    """The same for the mixture of each draw by itself, all draws at once: bounds (draws, cluster) -> (draws,)."""
    component = fit.mixture.component
    params = {name: value for name, value in draws.items() if name != "weights"}
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    if component.is_discrete(feature):
        low = low - 1

    def own(x):  # each draw at its own point
        inside = {name: value[:, None] for name, value in params.items()}
        columns = [
            component.marginal_cdf(x[s : s + 1], {name: value[s] for name, value in inside.items()}, feature)[..., 0, :]
            for s in range(len(x))
        ]
        return (draws["weights"] * np.array(columns).reshape(len(x), -1)).sum(axis=-1)

    for _ in range(60):
        middle = low + 0.5 * (high - low)
        middle = np.floor(middle) if component.is_discrete(feature) else middle
        reached = own(middle) >= p
        stuck = middle <= low
        high = np.where(reached & ~stuck, middle, high)
        low = np.where(~reached & ~stuck, middle, low)
        if np.all(high - low <= (1 if component.is_discrete(feature) else 1e-12 * np.maximum(np.abs(high), 1e-300))):
            break
    return high


def _names(component):
    return "given columns " + ", ".join(map(repr, component.given))


def sample(fit, n: int | None, data: Data | None, rng: np.random.Generator) -> xr.DataArray:
    """Rows from the mixture, each from a draw of the parameters chosen at random; see `Fit.sample`."""
    component = fit.mixture.component
    if n is not None and data is not None:
        raise TypeError(f"n={n!r} and data= are given, but data= draws one for each of its rows; leave n out.")
    if component.given and data is None:
        raise ValueError(
            f"{component} conditions on {_names(component)}, which are not drawn: hand in rows that hold them, "
            "fit.sample(data=rows), for one draw for each."
        )
    n = n if data is None else data.n_obs
    if isinstance(n, bool) or not isinstance(n, int | float | np.integer | np.floating) or n % 1 != 0 or n < 1:
        raise ValueError(f"n={n!r} but the number of rows to draw must be a whole number, at least 1.")
    draws, n = fit.draws, int(n)
    which = rng.integers(len(draws["weights"]), size=n)
    labels = choose(_weights_at(component, draws, which, data), rng)
    own = {name: v[which, labels] for name, v in draws.items() if name != "weights"}
    values = component.sample_rows(own, rng, None if data is None else data.values[:, data.n_features :])
    coords = {"obs": np.arange(n) if data is None else data.obs, "cluster": ("obs", labels)}
    if not component.multivariate:
        return xr.DataArray(values[:, 0], dims=("obs",), coords=coords)
    return xr.DataArray(values, dims=("obs", "feature"), coords=coords | {"feature": np.array(fit.data.feature)})


def _weights_at(component, draws, which, data) -> np.ndarray:
    """Weights (rows, cluster) of one draw for each row."""
    if not component.gated:
        return draws["weights"][which]
    return np.exp(component.log_rows(data.values[:, None, :], {"gating": draws["gating"][which]})[:, 0])


def choose(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One label per row of weights (rows, cluster)."""
    cumulative = np.cumsum(weights, axis=-1)
    points = rng.uniform(size=(*weights.shape[:-1], 1)) * cumulative[..., -1:]
    return (points >= cumulative).sum(axis=-1).clip(max=weights.shape[-1] - 1)


def log_likelihood_of_draws(mixture, data: Data, draws: dict) -> np.ndarray:
    """Pointwise log-likelihood times row weight, (chain, draw, obs), from draws (chain, draw, cluster, ...).

    Of groups of rows that of the groups, in order: (chain, draw, group).
    """
    from .likelihood.pointwise import has_summaries, summaries

    chains, length = draws["weights"].shape[:2]
    flat = {name: value.reshape(chains * length, *value.shape[2:]) for name, value in draws.items()}
    log_weights, params = with_row_axis(flat)
    if data.units is not None:
        return _of_units(mixture, data, log_weights, params).reshape(chains, length, -1)
    rows = np.empty((chains * length, data.n_obs))
    if has_summaries(mixture.component) and not data.missing:
        for row, (found, _, _) in zip(rows, summaries(mixture.component, data.values, flat), strict=True):
            row[:] = found
        return _weighted(rows, data).reshape(chains, length, data.n_obs)
    per_row = mixture.n_components * data.n_features
    block = max(1, min(data.n_obs, CELLS // per_row))
    step = max(1, CELLS // (block * per_row))
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        at = {name: value[part] for name, value in params.items()}
        for first in range(0, data.n_obs, block):
            x = data.values[first : first + block]
            rows[part, first : first + block] = formula.log_likelihood(mixture.component, x, log_weights[part], at)
    return _weighted(rows, data).reshape(chains, length, data.n_obs)


def _of_units(mixture, data: Data, log_weights, params) -> np.ndarray:
    """Log-likelihood times weight of every unit, (draw, unit), in pieces of whole units."""
    from .likelihood.units import log_likelihood

    per_row, n_draws = mixture.n_components * data.n_features, len(log_weights)
    order = np.argsort(data.units.group, kind="stable")
    found = []
    for piece in whole_units(data.units.group[order], order, max(1, CELLS // per_row)):
        part = data.take(piece)
        step = max(1, CELLS // (part.n_obs * per_row))
        values = [
            log_likelihood(
                mixture.component, part, log_weights[i : i + step], {n: v[i : i + step] for n, v in params.items()}
            )
            for i in range(0, n_draws, step)
        ]
        weighted = part.take(part.units.first_rows)
        found.append(_weighted(np.concatenate(values), weighted))
    return np.concatenate(found, axis=1)


def _weighted(rows, data):
    """Log-likelihoods (draw, obs) times the row weights."""
    return rows if data.weights is None else np.where(data.weights > 0, rows, 0.0) * data.weights


def _data_sets(component, data: Data, at: dict, n: int, rng: np.random.Generator) -> np.ndarray:
    """So many data sets of the size of the data, of components with these parameters: (n, obs, feature)."""
    if component.gated:
        weights = np.exp(component.log_rows(data.values, at))
        labels = np.stack([choose(weights, rng) for _ in range(n)])
    else:
        labels = rng.choice(len(at["weights"]), size=(n, data.n_obs), p=at["weights"] / at["weights"].sum())
    if data.units is not None and data.units.grouped:
        labels = labels[:, data.units.group]  # one for each group
    own = {name: value for name, value in at.items() if name != "weights"}
    rows, labels = np.tile(np.arange(data.n_obs), n), labels.ravel()
    values = np.empty((len(rows), data.n_features))
    for begin in range(0, len(rows), SAMPLE_ROWS):  # each row takes parameters of its own: only so many at a time
        part = slice(begin, begin + SAMPLE_ROWS)
        given = data.values[rows[part], data.n_features :]
        values[part] = component.sample_rows({n: v[labels[part]] for n, v in own.items()}, rng, given)
    return values.reshape(n, data.n_obs, data.n_features)


def posterior_predictive(fit, data: Data, draws: dict, n_draws: int, rng: np.random.Generator) -> xr.Dataset:
    """Data sets of the size of the data: one for each of `n_draws` draws, evenly spaced over the chains.

    A point estimate gives `n_draws` data sets from that one point.
    """
    component, chains, length = fit.mixture.component, *draws["weights"].shape[:2]
    n_draws = max(1, min(n_draws, int(PREDICTIVE_CELLS // max(1, data.n_obs * data.n_features))))
    if chains * length == 1:
        kept = np.zeros(n_draws, dtype=int)
        chains_kept = 1
    else:
        chains_kept = chains
        per_chain = max(1, min(length, n_draws // chains))
        kept = np.unique(np.linspace(0, length - 1, per_chain).round().astype(int))
    values = np.empty((chains_kept, len(kept), data.n_obs, data.n_features))
    at_once = n_draws if chains * length == 1 else 1
    for chain, i in np.ndindex(chains_kept, len(kept) // at_once):
        at = {name: value[chain, kept[i]] for name, value in draws.items()}
        values[chain, i : i + at_once] = _data_sets(component, data, at, at_once, rng)
    coords = {
        "chain": np.arange(chains_kept),
        "draw": kept if chains * length > 1 else np.arange(n_draws),
        "obs": data.obs,
    }
    if component.multivariate:
        dims, coords = ("chain", "draw", "obs", "feature"), coords | {"feature": np.array(data.feature)}
        return xr.Dataset({"x": (dims, values)}, coords=coords)
    return xr.Dataset({"x": (("chain", "draw", "obs"), values[..., 0])}, coords=coords)
