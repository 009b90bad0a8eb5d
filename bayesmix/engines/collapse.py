"""What to say of a component that collapsed: its rows, the direction, why, and the weakest guard that prevents it."""

import numpy as np

from ..components.base import Guard
from ..likelihood.formula import log_of_weights, responsibilities
from ..likelihood.likelihood import Likelihood
from .climb import Climb, climb
from .guard import settled_guard

STRENGTHS = 10.0 ** np.arange(-8, 2)  # guards tried


def describe_collapse(likelihood: Likelihood, run: Climb, guard: Guard | None, is_spurious) -> str:
    """Say which component collapsed onto which rows, in which direction, and what keeps it from doing so."""
    component, data, params = likelihood.component, likelihood.data, run.params
    k = int(np.argmin(component.collapsed(params, data)))
    onto = "a few rows"
    if likelihood.in_memory:
        rows = claimed_rows(component, data, params, k)
        shown = ", ".join(str(data.obs[row]) for row in rows[:8]) + (", ..." if len(rows) > 8 else "")
        onto = f"{len(rows)} row{'' if len(rows) == 1 else 's'} (obs {shown})"
    along = _in_words(component.thin_direction(params, k), data.feature)
    if along and len(data.feature) > 1:
        where = (
            f"along {along} its variance went to zero: it lies on a line or plane on which these rows lie, and the thinner "
            "it is, the higher the likelihood, without bound"
        )
    else:
        where = "its variance went to zero there: the narrower it is, the higher the likelihood, without bound"
    return f"Component {k} collapsed onto {onto}; {where}. The run was stopped. {_remedy(likelihood, run, guard, is_spurious)}"


def _in_words(direction, names) -> str:
    """A direction in standard deviations of the columns, by the columns that matter: "0.9 width - 0.4 height"."""
    if direction is None:
        return ""
    order = np.argsort(-np.abs(direction))
    order = [j for j in order if abs(direction[j]) >= 0.1]
    sign = np.sign(direction[order[0]])
    named = [name if isinstance(name, str) else f"column {name}" for name in names]
    if abs(direction[order[0]]) > 0.995:
        return named[order[0]]
    text = ""
    for j in order[:4]:
        value = sign * direction[j]
        joiner = ("" if value > 0 else "-") if not text else (" + " if value > 0 else " - ")
        text += f"{joiner}{abs(value):.2f} {named[j]}"
    return text + (" + ..." if len(order) > 4 else "") + " (in standard deviations within components)"


def _remedy(likelihood, run, guard, is_spurious) -> str:
    other = "Fewer components, or a covariance structure with fewer parameters, may do as well."
    default = 1.0 / np.sqrt(likelihood.data.total_weight)
    weakest = smallest_guard(likelihood, run, is_spurious) if likelihood.in_memory else None
    now = 0.0 if guard is None else guard.n / 2.0
    if weakest is None or weakest <= now:
        return f"Use a stronger guard (guard={max(2.0 * default, 2.0 * now):.2g}). {other}"
    kept = f'guard="default" is {default:.2g}' + (", which is stronger" if default >= weakest else "")
    return f"From there guard={weakest:.0e} prevents it, a tenth of that does not; {kept}. {other}"


def smallest_guard(likelihood: Likelihood, run: Climb, is_spurious) -> float | None:
    """The weakest guard, of powers of ten, with which EM leaves the collapse; None if none does."""
    rng = np.random.default_rng(0)
    for strength in STRENGTHS:
        held = settled_guard(likelihood, 2.0 * strength, rng, run.params)
        end = climb(likelihood, run.params, guard=held, max_iter=500, tol=1e-4)
        if not is_spurious(likelihood, end):
            return float(strength)
    return None


def claimed_rows(component, data, params, k):
    """Rows that component k claims, or, where it has no density any more, those at its mean."""
    own = {name: value for name, value in params.items() if name != "weights"}
    with np.errstate(all="ignore"):
        try:
            posterior = responsibilities(component, data.values, log_of_weights(params["weights"]), own)
        except np.linalg.LinAlgError:
            posterior = np.full((data.n_obs, len(params["weights"])), np.nan)
    if np.all(np.isfinite(posterior)):
        return np.flatnonzero(posterior[:, k] > 0.5)
    if "mu" not in params:  # of several families
        return np.flatnonzero(~np.isfinite(posterior).all(axis=1))
    mean = params["mu"].reshape(len(params["weights"]), -1)[k]
    x = data.modelled
    return np.flatnonzero(np.nanmax(np.abs((x - mean) / np.nanstd(x, axis=0)), axis=1) < 1e-6)
