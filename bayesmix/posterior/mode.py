"""The mode of a posterior and its curvature: where chains start, and the coordinates in which they move."""

from dataclasses import dataclass

import numpy as np

STEEP = 10.0  # nats that the density may rise by along one length of a coordinate
FLAT = 0.1  # nats along ten lengths of the curvature: beyond, the optimiser has stopped on its way
CLIMBS = 5


@dataclass(frozen=True)
class Mode:
    """A local mode, and a basis A in which the posterior is close to a standard normal: theta = vector + A u."""

    vector: np.ndarray
    log_density: float
    basis: np.ndarray
    regular: bool  # is the negative Hessian positive definite?

    @property
    def log_evidence(self) -> float:
        """Laplace's approximation of the mass around this mode, in nats (for one labelling of the components)."""
        return self.log_density + 0.5 * len(self.vector) * np.log(2 * np.pi) + float(np.linalg.slogdet(self.basis)[1])


def find_mode(posterior, start: np.ndarray, max_iter: int = 500) -> Mode:
    """Climb from a start to the nearest mode (L-BFGS) and take the Hessian there, by differences of the exact gradient.

    Where the Hessian is not negative definite its eigenvalues are bounded away from zero: the basis then still scales
    the coordinates, but is no approximation of the posterior.
    """
    from scipy.optimize import minimize

    options = {"maxiter": max_iter, "maxcor": 30, "ftol": 1e-14, "gtol": 1e-7}
    vector, (scale, _), value = start, _comparable(posterior, start), -np.inf
    for _ in range(CLIMBS):

        def objective(u, begin=vector, scale=scale):
            value, gradient = posterior.value_and_gradient(begin + scale * u)
            if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
                return 1e300, np.zeros_like(u)
            return -value, -scale * gradient

        found = minimize(objective, np.zeros_like(start), jac=True, method="L-BFGS-B", options=options)
        vector, value = vector + scale * found.x, -float(found.fun)
        lengths, slope = _comparable(posterior, vector)
        if slope < FLAT:
            break
        scale = lengths
    curvature = negative_hessian(posterior, vector) * np.outer(scale, scale)
    eigenvalues, axes = np.linalg.eigh(curvature)
    regular = bool(np.all(np.isfinite(eigenvalues)) and eigenvalues.min() > 1e-10 * eigenvalues.max())
    bounded = np.clip(eigenvalues, max(1e-3, 1e-10 * eigenvalues.max()), None)
    return Mode(vector, value, scale[:, None] * axes / np.sqrt(bounded), regular)


def _comparable(posterior, vector: np.ndarray) -> tuple[np.ndarray, float]:
    """Lengths that make coordinates comparable for the optimiser, and the steepest slope along them, in nats.

    Where the density has next to no curvature, as in the tail of a logarithm, what it falls by limits them.
    """
    lengths = posterior.step_lengths(vector) * 1e4
    gradient = np.abs(posterior.value_and_gradient(vector)[1])
    slope = float(np.max(lengths * gradient))
    return np.minimum(lengths, STEEP / np.maximum(gradient, 1e-300)), slope


def negative_hessian(posterior, vector: np.ndarray) -> np.ndarray:
    """Minus the Hessian of the log density, by central differences of its gradient."""
    steps = posterior.step_lengths(vector)
    rows = []
    for i, step in enumerate(steps):
        shift = np.zeros_like(vector)
        shift[i] = step
        above = posterior.value_and_gradient(vector + shift)[1]
        below = posterior.value_and_gradient(vector - shift)[1]
        rows.append((below - above) / (2.0 * step))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)
