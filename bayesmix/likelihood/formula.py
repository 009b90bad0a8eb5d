r"""The mixture likelihood as a formula, on NumPy arrays and PyTensor variables alike.

.. math:: \log p(x_n) = \log \sum_k \exp(\log \pi_k + \log p(x_n \mid \theta_k))

A cell of NaN, in NumPy arrays, is missing: the density is that of the row's other cells.

Parameters are shared, (cluster, ...), or have axes in front: per row (obs, cluster, ...), per draw
(chain, draw, 1, cluster, ...). Weights stay in log space; a weight of zero is a log weight of -inf.
"""

import numpy as np

from ..arrays import namespace


def log_joint(component, x, log_weights, params):
    """Log pi_k + log p(x_n | theta_k), in nats: x (..., obs, feature) -> (..., obs, cluster)."""
    return log_of_rows(component, x, log_weights, params) + log_density(component, x, params)


def log_density(component, x, params, missing: np.ndarray | None = None):
    """Log density of each component at the cells that are there: x (..., obs, feature) -> (..., obs, cluster).

    missing (obs, feature) says which are not; where x is an array, they are its NaN.
    """
    if missing is None and isinstance(x, np.ndarray) and x.ndim == 2 and component.takes_missing:
        gone = np.isnan(x[:, : x.shape[1] - len(component.given)])
        missing = gone if gone.any() else None
    if missing is None:
        return component.log_density(x, params)
    with np.errstate(invalid="ignore"):
        return component.observed_log_density(x, missing, params)


def log_of_rows(component, x, log_weights, params):
    """Log weights of the components at each row, which broadcast against (..., obs, cluster)."""
    return component.log_rows(x, params) if component.gated else log_weights


def log_likelihood(component, x, log_weights, params, missing=None):
    """Log p(x_n), in nats: x (..., obs, feature) -> (..., obs)."""
    joint = log_of_rows(component, x, log_weights, params) + log_density(component, x, params, missing)
    return namespace(joint).logsumexp(joint, axis=-1)


def responsibilities(component, x, log_weights, params):
    """p(z_n = k | x_n): x (..., obs, feature) -> (..., obs, cluster), summing to 1 over clusters."""
    joint = log_joint(component, x, log_weights, params)
    return namespace(joint).softmax(joint, axis=-1)


def log_of_weights(weights):
    """Logarithm of weights in which zeros are allowed."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(weights, dtype=float))
