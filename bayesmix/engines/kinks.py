"""Moves of locations to rows nearby, for densities with a kink at their location.

The log-likelihood of such a mixture has its maxima at kinks, where a location is the value of a row: between two rows it
is convex in the location. EM ends at a row whenever the weighted median stays there, with or without a better row
beside it.
"""

from typing import NamedTuple

import numpy as np

from ..likelihood.formula import log_joint, log_of_weights
from ..likelihood.likelihood import Likelihood

NEAR = 12  # distinct values on each side of a location that are tried
CELLS = 2**21  # densities kept at a time


class Move(NamedTuple):
    """Parameters with one location moved, the gain in log-likelihood, and how many passes this was worth."""

    params: dict
    gain: float
    n_passes: int
    trace: np.ndarray = np.empty(0)


def to_a_better_kink(likelihood: Likelihood, params: dict) -> Move | None:
    """The best move of one component's location to one of the nearest values of the data, all else as it is."""
    component, x = likelihood.component, likelihood.data.values
    weights = np.ones(len(x)) if likelihood.data.weights is None else likelihood.data.weights
    own, log_weights = {name: v for name, v in params.items() if name != "weights"}, log_of_weights(params["weights"])
    values = np.unique(x[weights > 0, 0])
    joint = log_joint(component, x, log_weights, own)
    now, best = weights @ np.logaddexp.reduce(joint, axis=1), None
    for k in np.flatnonzero(params["weights"] > 0):
        family, names = component.family_of(int(k))
        for p in (p for p in family.parameters if p.moves):
            name = names[p.name]
            near = _nearest(values, own[name][k])
            moved = {other: np.repeat(own[here][k], len(near)) for other, here in names.items()} | {p.name: near}
            rest = np.logaddexp.reduce(np.delete(joint, k, axis=1), axis=1, initial=-np.inf)[:, None]
            total = np.zeros(len(near))
            step = max(1, CELLS // len(near))
            for start in range(0, len(x), step):
                part = slice(start, start + step)
                density = family.log_density(x[part], moved) + log_weights[k]
                total += weights[part] @ np.logaddexp(rest[part], density)
            if best is None or total.max() - now > best.gain:
                place = own[name].copy()
                place[k] = near[np.argmax(total)]
                best = Move(params | {name: place}, float(total.max() - now), 0)
    return None if best is None else best._replace(n_passes=NEAR)


def _nearest(values, location):
    """The values next to a location, on either side."""
    middle = np.searchsorted(values, location)
    return values[max(0, middle - NEAR) : middle + NEAR + 1]
