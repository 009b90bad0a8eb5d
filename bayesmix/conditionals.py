"""Marginal and conditional distributions of a fitted mixture: mixtures again, whose parameters follow from the fit's."""

import json
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from .arrays import Data
from .fit import Fit, _coords, _dataset
from .likelihood.formula import log_of_weights
from .weight_priors import Dirichlet

GROUPS = ("posterior", "point")  # those that hold parameters


def marginal(fit: Fit, columns) -> Fit:
    """Fit of some columns alone; see `Fit.marginal`."""
    kept = _positions(fit, [columns] if isinstance(columns, str | numbers.Integral) else columns)
    names = ", ".join(map(str, (fit.data.feature[j] for j in kept)))
    found = {group: _marginal_of(fit, group, kept) for group in _groups(fit)}
    data = fit.data
    values = np.ascontiguousarray(data.values[:, kept])
    return _made(fit, kept, replace(data, values=values, units=None), found, f"Marginal distribution of {names}.")


def condition(fit: Fit, given: Mapping) -> Fit:
    """Fit of the other columns where some have these values; see `Fit.condition`."""
    if not given:
        raise TypeError(
            f"condition needs values of columns, for example {_example(fit)}; the columns are {_listed(fit.data.feature)}."
        )
    positions = _positions(fit, list(given), every=False)
    at = {j: _number(name, given[name]) for j, name in zip(positions, given, strict=True)}
    at = {j: at[j] for j in sorted(at)}
    kept = tuple(j for j in range(fit.data.n_features) if j not in at)
    found = {group: _conditional_of(fit, group, at) for group in _groups(fit)}
    where = ", ".join(f"{fit.data.feature[j]} = {value:g}" for j, value in at.items())
    empty = replace(fit.data, values=np.empty((0, len(kept))), obs=np.arange(0), weights=None, units=None)
    return _made(fit, kept, empty, found, f"Conditional distribution given {where}.")


# -- arguments -----------------------------------------------------------------------------------------------------------
def _positions(fit: Fit, columns, every: bool = True) -> tuple[int, ...]:
    """Where the columns are that are asked for; in the order of the fit's if `every`."""
    feature = fit.data.feature
    if getattr(fit.data, "given", ()):
        raise ValueError(
            f"{fit.mixture.component} conditions on {_listed(fit.data.given)} as it is: its columns have no distribution that "
            "does without; fit.logpdf and fit.sample take rows with these columns."
        )
    if not isinstance(columns, Iterable):
        raise TypeError(f"columns={columns!r} but it must be a list of names, for example {list(feature[:1])}.")
    wanted = list(columns)
    unknown = [name for name in wanted if name not in feature]
    if unknown:
        raise ValueError(f"there is no column {_listed(unknown)}; the columns of this fit are {_listed(feature)}.")
    twice = [name for name in dict.fromkeys(wanted) if wanted.count(name) > 1]
    if twice:
        raise ValueError(f"the column {_listed(twice)} is named more than once.")
    if not wanted:
        raise ValueError(f"no columns are named; give some of {_listed(feature)}.")
    if len(wanted) == len(feature):
        raise ValueError(
            f"all columns of the fit are named, {_listed(feature)}: "
            + ("that is the fit itself." if every else "nothing is left to describe; fit.logpdf gives their density.")
        )
    found = tuple(feature.index(name) for name in wanted)
    return tuple(sorted(found)) if every else found


def _number(name, value) -> float:
    if isinstance(value, bool) or np.ndim(value) != 0:
        raise TypeError(f"{name}={value!r} but a given value is one number; call condition once for each row.")
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r} but a given value must be a number.") from None
    if not np.isfinite(value):
        raise ValueError(
            f"{name}={value!r} but a given value must be finite; leave the column out, or take fit.marginal, if it is unknown."
        )
    return value


def _example(fit):
    name = fit.data.feature[0]
    return f"fit.condition({name}=3.0)" if str(name).isidentifier() else f"fit.condition({{{name!r}: 3.0}})"


def _listed(names) -> str:
    return ", ".join(map(repr, names))


# -- parameters ----------------------------------------------------------------------------------------------------------
def _groups(fit: Fit) -> list[str]:
    return [group for group in GROUPS if group in fit.tree.children]


def _values(fit: Fit, group: str) -> tuple[np.ndarray, dict, tuple]:
    """Log weights (draw, cluster) and parameters (draw, cluster, ...) of a group, and the axes in front: (chain, draw) or ()."""
    dataset = fit.tree[group].dataset
    lead = dataset["weights"].shape[:-1]
    flat = {name: dataset[name].values.reshape(-1, *dataset[name].shape[len(lead) :]) for name in fit._names}
    return log_of_weights(flat.pop("weights")), flat, lead


def _marginal_of(fit, group, kept):
    log_weights, params, lead = _values(fit, group)
    component, own = fit.mixture.component.marginal(kept, params)
    return component, _unflattened({"weights": np.exp(log_weights)} | own, lead)


def _conditional_of(fit, group, at):
    """Weights in proportion to pi_k p_k(given), and the components given these values."""
    log_weights, params, lead = _values(fit, group)
    family = fit.mixture.component
    there, theirs = family.marginal(tuple(at), params)
    x = np.array([list(at.values())])
    log_joint = log_weights + there.log_density(x, {name: value[:, None] for name, value in theirs.items()})[:, 0]
    largest = log_joint.max(axis=1, keepdims=True)
    if not np.all(np.isfinite(largest)):
        raise ValueError(
            f"the mixture has density zero where {', '.join(f'{fit.data.feature[j]} = {v:g}' for j, v in at.items())}: nothing is "
            "known of the other columns there."
        )
    weights = np.exp(log_joint - largest)
    component, own = family.conditional(at, params)
    return component, _unflattened({"weights": weights / weights.sum(axis=1, keepdims=True)} | own, lead)


def _unflattened(values: dict, lead: tuple) -> dict:
    return {name: value.reshape(*lead, *value.shape[1:]) for name, value in values.items()}


# -- the fit -------------------------------------------------------------------------------------------------------------
def _weights_of(fit: Fit, found: dict):
    """The fit's prior of the weights; any weights where they were known, but differ given other columns."""
    known = fit.mixture.weights.known
    if known is None or all(np.allclose(values["weights"], known) for _, values in found.values()):
        return fit.mixture.weights
    return Dirichlet(1.0)


def _made(fit: Fit, kept: tuple, data: Data, found: dict, words: str) -> Fit:
    """A fit of the columns at `kept` with these parameters, and no group that is about other rows or columns."""
    from . import __version__

    component: Any = next(iter(found.values()))[0]
    mixture = replace(fit.mixture, component=component, weights=_weights_of(fit, found))
    data = replace(data, feature=tuple(fit.data.feature[j] for j in kept))
    coords, tree = _coords(mixture, data), xr.DataTree()
    for group, (_, values) in found.items():
        lead = ("chain", "draw") if group == "posterior" else ()
        tree[group] = _dataset(mixture, values, lead, coords)
        if lead:
            tree[group] = (
                tree[group].to_dataset().assign_coords({name: fit.tree[group].dataset[name].values for name in lead})
            )
    dims, x = (("obs", "feature"), data.values) if component.multivariate else (("obs",), data.values[:, 0])
    tree["observed_data"] = xr.Dataset({"x": (dims, x.copy())}, coords={name: coords[name] for name in dims})
    if data.weights is not None:
        tree["constant_data"] = xr.Dataset({"row_weights": (("obs",), data.weights)}, coords={"obs": coords["obs"]})
    kept_attrs = {name: fit.tree.attrs[name] for name in ("engine", "converged", "verdict") if name in fit.tree.attrs}
    tree.attrs = kept_attrs | {
        "message": f"{words} {fit.message}".strip(),
        "derived": words,
        "n_parameters": mixture.weights.n_free(mixture.n_components)
        + component.n_free(mixture.n_components, data.n_features),
        "feature_names": json.dumps([name if isinstance(name, str) else int(name) for name in data.feature]),
        "named_features": int(data.named),
        "mixture": json.dumps(mixture.to_dict()),
        "created_by": f"bayesmix {__version__}",
    }
    return Fit(mixture, tree)
