"""The mode of a posterior and its curvature: where chains start, and the coordinates in which they move."""

from dataclasses import dataclass

import numpy as np


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

    scale = posterior.step_lengths(start) * 1e4  # coordinates of comparable size for the optimiser

    def objective(u):
        value, gradient = posterior.value_and_gradient(start + scale * u)
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            return 1e300, np.zeros_like(u)
        return -value, -scale * gradient

    options = {"maxiter": max_iter, "maxcor": 30, "ftol": 1e-14, "gtol": 1e-7}
    found = minimize(objective, np.zeros_like(start), jac=True, method="L-BFGS-B", options=options)
    vector = start + scale * found.x
    curvature = negative_hessian(posterior, vector) * np.outer(scale, scale)
    eigenvalues, axes = np.linalg.eigh(curvature)
    regular = bool(np.all(np.isfinite(eigenvalues)) and eigenvalues.min() > 1e-10 * eigenvalues.max())
    bounded = np.clip(eigenvalues, max(1e-3, 1e-10 * eigenvalues.max()), None)
    return Mode(vector, -float(found.fun), scale[:, None] * axes / np.sqrt(bounded), regular)


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
