"""The mode of a posterior of many rows by Newton's method: two passes or so for the curvature, few for the rest."""

import numpy as np

from ..posterior.mode import Mode, find_mode, negative_hessian

CLOSE = 1e-10  # nats that the next step would gain: here it stops
MOST_STEPS = 20
BEND = 1e-6  # nats gained since the curvature was found, beyond which it is found again
MOST_HALVINGS = 12


def newton_mode(posterior, prior, start: np.ndarray) -> Mode:
    """Climb from a start close to a mode, EM's optimum say, and take the curvature there, exact (Louis 1982).

    Where the curvature is not positive definite on the way `find_mode` goes on: it needs two passes for every coordinate.

    Parameters
    ----------
    posterior : DirectPosterior or StreamedPosterior
        Whose ``likelihood`` has the observed information in the same coordinates.
    prior : object
        With ``value_and_gradient`` and ``step_lengths`` of the prior alone.
    start : ndarray (n,)
    """
    vector, basis, gained = start, None, 0.0
    value, gradient = posterior.value_and_gradient(vector)
    for _ in range(MOST_STEPS):
        if basis is None:
            basis = _basis(posterior, prior, vector)
            if basis is None:
                return find_mode(posterior, vector)
        step = basis @ (basis.T @ gradient)
        decrement = 0.5 * float(gradient @ step)
        if decrement < CLOSE:
            break
        for _ in range(MOST_HALVINGS):
            trial = posterior.value_and_gradient(vector + step)
            if np.isfinite(trial[0]) and np.all(np.isfinite(trial[1])) and trial[0] >= value:
                break
            step = 0.5 * step
        else:  # rounding: the value no longer rises
            break
        gained += trial[0] - value
        vector, (value, gradient) = vector + step, trial
        if gained > BEND:
            basis, gained = None, 0.0
    basis = _basis(posterior, prior, vector) if basis is None else basis
    return find_mode(posterior, vector) if basis is None else Mode(vector, float(value), basis, True)


def _basis(posterior, prior, vector):
    """A with A A' the inverse of minus the Hessian of the log density; None where that is not positive definite."""
    curvature = posterior.likelihood.information(vector) + negative_hessian(prior, vector)
    with np.errstate(invalid="ignore"):
        scale = 1.0 / np.sqrt(np.diag(curvature))
    if not np.all(np.isfinite(scale)):
        return None
    eigenvalues, axes = np.linalg.eigh(curvature * np.outer(scale, scale))
    if not eigenvalues.min() > 1e-10 * eigenvalues.max():
        return None
    return scale[:, None] * axes / np.sqrt(eigenvalues)
