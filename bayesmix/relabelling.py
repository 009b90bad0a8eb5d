"""Relabel a posterior: give every draw's components the same names, and judge convergence without being misled."""

import numpy as np
import xarray as xr

from .fit import Fit
from .labels import (
    Relabelling,
    agreement,
    apply_permutation,
    compose,
    data_based,
    ecr,
    invariants,
    invert,
    judge,
    ordering,
    pivot,
    relabel_allocations,
    stephens,
)
from .likelihood import formula
from .likelihood.likelihood import Likelihood
from .likelihood.pointwise import has_summaries, summaries
from .likelihood.units import n_needed, responsibilities
from .prediction import CELLS, with_row_axis
from .priors import POSITIVE

MARGIN_UNITS = {
    "ecr": "share of rows",
    "stephens": "nats per row",
    "pivot": "share of the squared distance",
    "data": "squared standard deviations per row and feature",
    "ordering": "standard deviations of the ordered values",
}
LABEL_ROWS = 2000  # rows that draws are matched by
POINTS = 8  # data points at which the density is followed
SECOND_OPINION = (500, 1000)  # draws and rows on which the algorithms are compared
OPINIONS = ("ecr", "stephens", "pivot", "data")  # the algorithms that are


def relabel(fit: Fit, algorithm: str = "ecr", *, by=None) -> Fit:
    """Relabel the posterior draws of a fit, and judge its convergence.

    `bayesmix.nuts` and `bayesmix.advi` do this by themselves; call it for draws that were changed or combined, or for
    another algorithm. The likelihood of a mixture does not change when its components are renamed, so that draws carry
    labels without meaning until they are matched to each other.

    Parameters
    ----------
    fit : Fit
        With draws in group ``posterior``.
    algorithm : {"ecr", "stephens", "pivot", "data", "ordering"}
        "ecr": every draw is permuted so that most rows keep the component that they have most often
        (Papastamoulis & Iliopoulos 2010, iterative version 1), started from the most likely draw.
        "stephens": least Kullback-Leibler divergence between the responsibilities of a draw and their mean
        (Stephens 2000).
        "pivot": least distance of the parameters from those of the most likely draw, logarithms of what is positive, in
        standard deviations (Marin, Mengersen & Robert 2005).
        "data": the rows of a component lie around the same centre in every draw (Rodriguez & Walker 2014).
        "ordering": by the size of one number, see `by`; right only if it separates the components.
    by : str or (str, feature), optional
        What "ordering" orders by: "weights" or a parameter, of which feature if there are several. Default: the
        family's first parameter, first feature. Components without that parameter stay where they are.

    Returns
    -------
    Fit
        With relabelled ``posterior``, and group ``labels``: ``permutation`` (chain, draw, cluster), by which component
        c of a draw is component ``permutation[c]`` of the raw draw; ``margin`` (chain, draw), how much worse the
        second-best permutation is, in the attribute ``margin_unit``; ``agreement`` (algorithm, algorithm_2), the share of
        draws on which two algorithms agree. ``verdict``, ``message`` and attributes such as ``rhat_raw`` and
        ``rhat_relabelled`` are those of `bayesmix.labels.judge`.

    Raises
    ------
    ValueError
        If the fit has no draws, or the algorithm is unknown.
    """
    if not fit.has_draws:
        raise ValueError(f"this fit by {fit.engine} has no draws to relabel; only group posterior can be relabelled.")
    if algorithm not in MARGIN_UNITS:
        raise ValueError(f"algorithm={algorithm!r} is not known; use one of {', '.join(MARGIN_UNITS)}.")
    if by is not None and algorithm != "ordering":
        raise ValueError(f'by={by!r} is for algorithm="ordering"; "{algorithm}" does not order by one number.')
    raw, lead = _raw_draws(fit)
    k, n_draws = fit.mixture.n_components, lead[0] * lead[1]
    flat = {name: value.reshape(n_draws, *value.shape[2:]) for name, value in raw.items()}
    rows, log_likelihood = _rows_for_labels(fit.data), _total_log_likelihood(fit, flat)
    allocations, entropy, whole = _allocations(fit, flat, rows, algorithm == "stephens")
    found, clarity = _match(fit, flat, rows, allocations, whole, log_likelihood, algorithm, by)
    opinions = _opinions(fit, flat, rows, found, log_likelihood)
    permutation = found.permutation.reshape(*lead, k)
    relabelled = {name: apply_permutation(value, permutation, axis=2) for name, value in raw.items()}

    tree = fit.tree.copy()
    posterior, component = tree["posterior"].to_dataset(), fit.mixture.component
    kept = component.once(component.reported(relabelled, 2), 2)
    tree["posterior"] = xr.DataTree(posterior.assign({name: (posterior[name].dims, kept[name]) for name in kept}))
    coords = {name: posterior[name].values for name in ("chain", "draw", "cluster")}
    tree["labels"] = xr.DataTree(
        xr.Dataset(
            {
                "permutation": (("chain", "draw", "cluster"), permutation),
                "margin": (("chain", "draw"), np.minimum(found.margin, 1e300).reshape(lead)),
                "agreement": (("algorithm", "algorithm_2"), opinions),
            },
            coords=coords | {"algorithm": list(OPINIONS), "algorithm_2": list(OPINIONS)},
            attrs={
                "algorithm": found.name,
                "margin_unit": MARGIN_UNITS[algorithm],
                "agreement": float(opinions[0, 1]),  # of ECR and Stephens
            },
        )
    )
    verdict = judge(
        fit.mixture.component.once(raw, 2),
        kept,
        _invariants(fit, flat, lead, log_likelihood, entropy),
        log_likelihood=log_likelihood.reshape(lead),
        permutation=permutation,
        margin=clarity.reshape(lead),
        weights=relabelled["weights"],
        divergences=int(tree["sample_stats"].dataset["diverging"].sum())
        if _has(tree, "sample_stats", "diverging")
        else 0,
    )
    attrs = {
        name: float(getattr(verdict, name))
        for name in verdict.__dataclass_fields__
        if name not in ("outcome", "message")
    }
    if fit.engine in ("nuts", "gibbs"):
        good = verdict.outcome in ("converged", "labels switched only")
        attrs |= {"verdict": verdict.outcome, "converged": int(good), "message": _capital(verdict)}
        if fit.tree.attrs.get("notes"):
            attrs["message"] += " " + fit.tree.attrs["notes"]
    tree.attrs = {**tree.attrs, **attrs}
    return Fit(fit.mixture, tree)


def _capital(verdict):
    return f"{verdict.outcome[0].upper()}{verdict.outcome[1:]}. {verdict.message}"


def _has(tree, group, variable):
    return group in tree.children and variable in tree[group].data_vars


def _raw_draws(fit):
    """Draws as they were sampled: the permutation recorded with them undone. And (chains, draws)."""
    draws = fit._values("posterior")
    lead = draws["weights"].shape[:2]
    if _has(fit.tree, "labels", "permutation"):
        back = invert(fit.tree["labels"].dataset["permutation"].values)
        draws = {name: apply_permutation(value, back, axis=2) for name, value in draws.items()}
    return draws, lead


def _responsibilities(fit, flat, rows: slice | np.ndarray = slice(None)):
    """Yield (slice of draws, responsibilities (draws, obs, cluster)) in pieces that fit into memory."""
    data, k = fit.data, fit.mixture.n_components
    log_weights, params = with_row_axis(flat)
    step = max(1, CELLS // max(1, n_needed(data, rows) * k * data.values.shape[1]))
    for begin in range(0, len(log_weights), step):
        part = slice(begin, begin + step)
        inside = {name: value[part] for name, value in params.items()}
        yield part, responsibilities(fit.mixture.component, data, log_weights[part], inside, rows)


def _rows_for_labels(data) -> np.ndarray:
    """Rows by which draws are matched: all of them, or 2000 spread over the data; a row of weight 2 counts twice."""
    if data.weights is None and data.n_obs <= LABEL_ROWS:
        return np.arange(data.n_obs)
    weights = np.ones(data.n_obs) if data.weights is None else data.weights
    n = min(LABEL_ROWS, max(round(data.total_weight), data.n_obs))
    heights = (np.arange(n) + 0.5) * weights.sum() / n
    return np.searchsorted(np.cumsum(weights), heights).clip(max=data.n_obs - 1)


def _total_log_likelihood(fit, flat) -> np.ndarray:
    """Log-likelihood of all rows at each draw, (draws,), by the fused pass."""
    likelihood = Likelihood.of(fit.mixture, fit.data)
    draws = ({name: value[i] for name, value in flat.items()} for i in range(len(flat["weights"])))
    return np.array([likelihood.log_likelihood(params) for params in draws])


def _allocations(fit, flat, rows, keep):
    """Most probable component of some rows in each draw, the entropy of these rows, and all responsibilities if kept."""
    n_draws, k = flat["weights"].shape
    allocations, entropy = np.empty((n_draws, len(rows)), dtype=np.int16), np.empty(n_draws)
    whole = np.empty((n_draws, len(rows), k), dtype=np.float32) if keep else None
    plain = not fit.data.missing and fit.data.units is None
    if whole is None and has_summaries(fit.mixture.component) and plain:
        for i, (_, found, nats) in enumerate(summaries(fit.mixture.component, fit.data.values[rows], flat)):
            allocations[i], entropy[i] = found, nats
        return allocations, entropy, None
    for part, r in _responsibilities(fit, flat, rows):
        allocations[part] = r.argmax(axis=2)
        entropy[part] = -np.sum(np.where(r > 0, r * np.log(np.maximum(r, 1e-300)), 0.0), axis=(1, 2))
        if whole is not None:
            whole[part] = r
    return allocations, entropy, whole


def _match(fit, flat, rows, allocations, whole, total, algorithm, by):
    """Permutations of all draws, and how clear the allocations make the labels: a margin as share of rows or nats."""
    k, best = fit.mixture.n_components, int(np.argmax(total))
    groups = fit.mixture.exchangeable(fit.data)
    aligned = ecr(allocations, k, pivot=allocations[best], groups=groups)
    if algorithm == "stephens":
        found = _after(aligned, stephens(apply_permutation(whole, aligned.permutation, axis=2), groups=groups))
        return _named_by_majority(found), found.margin
    clear = _after(aligned, ecr(relabel_allocations(allocations, aligned.permutation), k, groups=groups))
    if algorithm == "ecr":
        found = clear
    elif algorithm == "pivot":
        numbers = _numbers(fit.mixture.component, flat)
        found = pivot(numbers, numbers[best], groups=groups)
    elif algorithm == "data":
        found = data_based(allocations, fit.data.filled()[rows], k, groups=groups)
    else:
        found = ordering(_scalar(fit, flat, by), groups)
    return _named_by_majority(found), clear.margin


def _after(first: Relabelling, then: Relabelling) -> Relabelling:
    """Two relabellings, one after the other, as one."""
    return Relabelling(
        compose(first.permutation, then.permutation), then.margin, then.n_iter, then.name, then.converged
    )


def _numbers(component, flat) -> np.ndarray:
    """All parameters of each component side by side, (draw, component, number), where they are roughly symmetric.

    Logarithms of what is positive; of covariance matrices the standard deviations so, and the correlations.
    """
    columns = [np.log(np.maximum(flat["weights"], 1e-300))[..., None]]
    for parameter in component.parameters:
        value = flat[parameter.name]
        if len(parameter.event_dims) == 2:
            sd = np.sqrt(np.diagonal(value, axis1=2, axis2=3))
            rows, cols = np.tril_indices(sd.shape[-1], -1)
            columns += [np.log(sd), value[..., rows, cols] / (sd[..., rows] * sd[..., cols])]
        else:
            value = value.reshape(*value.shape[:2], -1)
            columns.append(np.log(np.maximum(value, 1e-300)) if parameter.support == POSITIVE else value)
    numbers = np.concatenate(columns, axis=2)
    if np.isnan(numbers).any():  # of a parameter that only some components have: the others stand in the middle
        numbers = np.where(np.isnan(numbers), np.nanmean(numbers, axis=(0, 1)), numbers)
    return numbers


def _scalar(fit, flat, by) -> np.ndarray:
    """The number of each component that an ordering looks at: (draw, component)."""
    if by is None:
        return fit.mixture.component.leading({name: value for name, value in flat.items() if name != "weights"})
    name, *feature = (by,) if isinstance(by, str) else tuple(by)
    if name not in flat:
        raise ValueError(f"by={by!r} but the parameters are {', '.join(flat)}.")
    value, features = flat[name], list(fit.data.feature)
    if value.ndim == 2 and not feature:
        return value
    if value.ndim == 4:
        value = np.diagonal(value, axis1=2, axis2=3)  # variances
    if value.ndim == 2 or len(feature) > 1 or (feature and feature[0] not in features):
        raise ValueError(
            f"by={by!r} is not one number per component; give a parameter, or a parameter and one of the "
            f"features {features} if it has several."
        )
    return value[..., features.index(feature[0]) if feature else 0]


def _named_by_majority(found: Relabelling) -> Relabelling:
    """Rename all draws at once so that the commonest permutation is the identity; of several, that of the first draw."""
    rows, first, counts = np.unique(found.permutation, axis=0, return_index=True, return_counts=True)
    commonest = rows[np.lexsort((first, -counts))[0]]
    back = np.broadcast_to(invert(commonest), found.permutation.shape)
    return Relabelling(compose(found.permutation, back), found.margin, found.n_iter, found.name, found.converged)


def _opinions(fit, flat, rows, found, total) -> np.ndarray:
    """Share of draws on which two algorithms agree, for every two of `OPINIONS`, on some draws and rows."""
    n_draws, k = flat["weights"].shape
    if k == 1:
        return np.ones((len(OPINIONS), len(OPINIONS)))
    draws = np.unique(np.linspace(0, n_draws - 1, min(n_draws, SECOND_OPINION[0])).round().astype(int))
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), SECOND_OPINION[1])).round().astype(int)]
    some = {name: apply_permutation(value[draws], found.permutation[draws], axis=1) for name, value in flat.items()}
    allocations, _, r = _allocations(fit, some, rows, keep=True)
    numbers = _numbers(fit.mixture.component, some)
    groups = fit.mixture.exchangeable(fit.data)
    said = {
        "ecr": ecr(allocations, k, groups=groups),
        "stephens": stephens(r, groups=groups),
        "pivot": pivot(numbers, numbers[int(np.argmax(total[draws]))], groups=groups),
        "data": data_based(allocations, fit.data.filled()[rows], k, groups=groups),
    }
    return np.array([[agreement(said[a].permutation, said[b].permutation) for b in OPINIONS] for a in OPINIONS])


def _invariants(fit, flat, lead, log_likelihood, entropy):
    """What does not depend on labels, followed over chains and draws."""
    data = fit.data
    order = np.argsort(data.values[:, 0], kind="stable")
    if data.weights is not None:
        order = order[data.weights[order] > 0]
    points = order[np.linspace(0, len(order) - 1, min(POINTS, len(order))).round().astype(int)]
    log_weights, params = with_row_axis(flat)
    density = formula.log_likelihood(fit.mixture.component, data.values[points], log_weights, params)
    return invariants(
        density.reshape(*lead, -1),
        flat["weights"].reshape(*lead, -1),
        log_likelihood.reshape(lead),
        entropy.reshape(lead),
    )
