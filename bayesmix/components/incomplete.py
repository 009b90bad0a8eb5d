r"""Normal rows with missing cells: the density of the cells that are there, and what is expected in the others.

With o the observed and m the missing features of a row, both are normal again (Anderson 2003, sec. 2.5): the observed
cells with mean mu_o and covariance Sigma_oo, the missing ones, given these, with mean
:math:`\mu_m + \Sigma_{mo} \Sigma_{oo}^{-1} (x_o - \mu_o)` and covariance
:math:`\Sigma_{mm} - \Sigma_{mo} \Sigma_{oo}^{-1} \Sigma_{om}`. Rows in which the same cells are missing share the matrices.
"""

from typing import Any

import numpy as np

from ..arrays import NUMPY, namespace


def observed_log_density(x, missing: np.ndarray, params: dict):
    """Log density of the cells that are there, in nats, by NumPy or PyTensor: x (obs, feature) -> (..., obs, cluster).

    missing (obs, feature) are booleans; mu (..., cluster, feature) and cov (..., cluster, feature, feature). An axis of rows
    in front of the component's may have length 1 or obs.
    """
    log_det, squared = observed_distance(x, missing, params)
    return log_det - 0.5 * squared - 0.5 * np.log(2 * np.pi) * (~missing).sum(axis=1)[:, None]


def observed_distance(x, missing: np.ndarray, params: dict):
    """Log determinant of P and squared distance |P (x - mu)|^2 of the cells that are there; shapes as above, 0 without."""
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    mu, cov, which = params["mu"], params["cov"], which.ravel()
    xp = namespace(x, mu, cov)
    if xp is not NUMPY:
        return _in_one_piece(xp, x, missing, patterns, which, mu, cov)
    out: Any = None
    for pattern, gone in enumerate(patterns):
        rows = np.flatnonzero(which == pattern)
        found = _of_pattern(x[rows], np.flatnonzero(~gone), _at_rows(mu, rows, 1), _at_rows(cov, rows, 2))
        shape = np.broadcast_shapes(*(part.shape for part in found))
        out = np.empty((2, *shape[:-2], len(x), shape[-1])) if out is None else out
        out[0][..., rows, :], out[1][..., rows, :] = found
    return out[0], out[1]


def _of_pattern(x, seen, mu, cov):
    """Log determinant and squared distance of rows of which the features `seen` are there."""
    if not len(seen):
        return (np.zeros(np.broadcast_shapes((len(x), 1), mu.shape[:-1])),) * 2
    factor = NUMPY.inverse_lower(np.linalg.cholesky(cov[..., seen[:, None], seen]))
    z = NUMPY.matvec(factor, x[:, None, seen] - mu[..., seen])
    return np.log(NUMPY.diagonal(factor)).sum(axis=-1), (z**2).sum(axis=-1)


def _at_rows(value, rows, own_axes):
    """A parameter's values for some rows, if it has an axis of rows that is longer than 1."""
    axis = value.ndim - own_axes - 2
    return np.take(value, rows, axis=axis) if axis >= 0 and value.shape[axis] > 1 else value


def _in_one_piece(xp, x, missing, patterns, which, mu, cov):
    """The same on variables of PyTensor: missing features get variance 1 and no covariances, their rows no distance."""
    seen = (~patterns).astype(float)
    both = seen[:, None, :, None] * seen[:, None, None, :]
    padded = cov * both + patterns[:, None, :, None] * np.eye(patterns.shape[1])
    factor = xp.inverse_lower(xp.cholesky(padded))[which]
    z = xp.matvec(factor, xp.where(missing[:, None, :], 0.0, x[:, None, :] - mu))
    return xp.sum(xp.log(xp.diagonal(factor)), axis=-1), xp.sum(z**2, axis=-1)


def conditional_moments(x, gone: np.ndarray, params: dict):
    """Mean and covariance of the missing cells of rows of one pattern, given the others.

    x (obs, feature), gone (feature,), mu and cov with an axis of rows of length 1 -> (..., obs, cluster, missing) and
    (..., 1, cluster, missing, missing).
    """
    seen, unseen = np.flatnonzero(~gone), np.flatnonzero(gone)
    mean, cov = params["mu"][..., unseen], params["cov"]
    within = cov[..., unseen[:, None], unseen]
    if not len(seen):
        return np.broadcast_to(mean, (*mean.shape[:-3], len(x), *mean.shape[-2:])), within
    factor = NUMPY.inverse_lower(np.linalg.cholesky(cov[..., seen[:, None], seen]))
    root = cov[..., unseen[:, None], seen] @ np.swapaxes(factor, -1, -2)  # Sigma_mo Sigma_oo^-1 Sigma_om is its square
    mean = mean + NUMPY.matvec(root, NUMPY.matvec(factor, x[:, None, seen] - params["mu"][..., seen]))
    return mean, within - root @ np.swapaxes(root, -1, -2)


def sample(x, gone: np.ndarray, params: dict, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the missing cells given the others and the component: labels (draw, obs) -> (draw, obs, missing)."""
    mean, cov = conditional_moments(x, gone, params)
    root = np.linalg.cholesky(cov)[:, 0]
    draw = np.arange(len(labels))[:, None]
    z = rng.standard_normal((*labels.shape, int(gone.sum())))
    return mean[draw, np.arange(len(x)), labels] + NUMPY.matvec(root[draw, labels], z)
