"""The log prior at draws of a posterior, for ArviZ's power-scaling sensitivity (`arviz.psense_summary`)."""

import numpy as np
import xarray as xr
from scipy.special import multigammaln  # pyright: ignore[reportAttributeAccessIssue]

from .arrays import Data
from .constraints import Fixed, Shared
from .mixture import Mixture
from .priors import InverseWishart, Prior, ProportionalLogNormal, ScaledInverseChiSquared
from .weight_priors import CONCENTRATION

WITH_FORMULA = ("VVV", "EEE", "VVI", "VII")  # covariance structures whose priors are of matrices or standard deviations


def log_prior(mixture: Mixture, data: Data, draws: dict) -> xr.Dataset | None:
    """Log density of the priors in force at every draw, by parameter, in nats.

    Parameters
    ----------
    mixture : Mixture
    data : Data
        Defaults adapt to them.
    draws : dict
        Parameters by name, (chain, draw, cluster, ...).

    Returns
    -------
    xarray.Dataset or None
        One variable (chain, draw) per parameter, summed over its entries; what is shared counts once. A prior of standard
        deviations is taken at them, whatever the parameter is called. None where a prior has no formula here: an LKJ or
        hierarchical prior, one of a family without a compiled density, those of volume,
        shape and orientation, or a random number of components.
    """
    k = mixture.n_components
    if mixture.component.gated:
        return None
    if not mixture.weights.fixed_n_components or getattr(mixture.component, "letters", "VVV") not in WITH_FORMULA:
        return None
    found = {}
    if k > 1 and mixture.weights.known is None:
        alpha, weights = draws.get(CONCENTRATION), draws["weights"]
        unordered = getattr(mixture.weights, "log_density_unordered", None)  # as engines on densities have it
        value = mixture.weights.log_density(weights, alpha) if unordered is None else unordered(np.log(weights), alpha)
        found["weights"] = np.asarray(value, dtype=float)
        if alpha is not None:
            found[CONCENTRATION] = mixture.weights.log_hyperprior(alpha)
    for name, prior in mixture.component.priors(data, k).items():
        if isinstance(prior, Fixed):
            continue
        if isinstance(prior, Shared):
            prior, draws = prior.prior, draws | {name: draws[name][:, :, :1]}
        if name == "cov" and isinstance(prior, InverseWishart):
            value = _inverse_wishart(prior, _distinct(mixture, data, draws["cov"]))
        elif name in draws and name not in ("cov", "loadings"):
            value = _entries(prior, draws[name], draws)
        elif name == "sigma" and "cov" in draws:
            value = _entries(prior, _standard_deviations(mixture, data, draws["cov"]), draws)
        else:
            value = None
        if value is None:
            return None
        found[name] = value
    if not found:
        return None
    chains, length = next(iter(found.values())).shape
    coords = {"chain": np.arange(chains), "draw": np.arange(length)}
    return xr.Dataset({name: (("chain", "draw"), value) for name, value in found.items()}, coords=coords)


def _entries(prior, values, draws) -> np.ndarray | None:
    """Sum the log density of a prior of single numbers over all but the first two axes of values."""
    from .posterior.kernel import PRIOR_CODES
    from .posterior.kernel import log_prior as compiled

    if values is None:
        return None
    if isinstance(prior, ScaledInverseChiSquared):
        family, kwargs = "ScaledInverseChiSquared", {"nu": prior.nu, "scale": prior.scale}
    elif isinstance(prior, ProportionalLogNormal):
        family, kwargs = "LogNormal", {"mu": np.log(draws[prior.of]) + prior.mu, "sigma": prior.sigma}
    elif isinstance(prior, Prior):
        family, kwargs = prior.family, prior.kwargs
    else:
        return None
    if family not in PRIOR_CODES or set(kwargs) != set(PRIOR_CODES[family][1]):
        return None
    code, names = PRIOR_CODES[family]
    hyper = [np.broadcast_to(np.asarray(kwargs[name], dtype=float), values.shape).ravel() for name in names]
    hyper += [np.zeros(values.size)] * (3 - len(hyper))
    terms = [compiled(code, *one)[0] for one in zip(values.ravel(), *hyper, strict=True)]
    return np.reshape(terms, values.shape).sum(axis=tuple(range(2, values.ndim)))


def _inverse_wishart(prior: InverseWishart, cov) -> np.ndarray | None:
    """Log density of the inverse Wishart distribution, (chain, draw, matrix, D, D) -> (chain, draw)."""
    if cov is None:
        return None
    psi, nu = np.asarray(prior.psi, dtype=float), prior.nu
    d = len(psi)
    constant = 0.5 * nu * (np.linalg.slogdet(psi)[1] - d * np.log(2.0)) - multigammaln(0.5 * nu, d)
    trace = np.trace(np.linalg.solve(cov, np.broadcast_to(psi, cov.shape)), axis1=-2, axis2=-1)
    return (constant - 0.5 * (nu + d + 1) * np.linalg.slogdet(cov)[1] - 0.5 * trace).sum(axis=-1)


def _free(mixture, data) -> int:
    """Number of free parameters of the covariances."""
    k, d = mixture.n_components, data.n_features
    return getattr(mixture.component, "free", mixture.component).n_free(k, d) - k * d


def _distinct(mixture, data, cov):
    """Matrices that are not copies of another: those of all components, or the first where one is shared."""
    k, d = mixture.n_components, data.n_features
    count = {k * d * (d + 1) // 2: k, d * (d + 1) // 2: 1}.get(_free(mixture, data))
    return None if count is None else cov[:, :, :count]


def _standard_deviations(mixture, data, cov):
    """Standard deviations that are not copies of another: (chain, draw, cluster, feature or 1)."""
    k, d = mixture.n_components, data.n_features
    count = {k * d: d, k: 1}.get(_free(mixture, data))
    return None if count is None else np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))[..., :count]
