"""The exact repair: the posterior without a row, sampled anew."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from arviz_stats.base.array import array_stats

from ..mixture import Mixture
from ..prediction import log_likelihood_of_draws, log_mean_exp
from ..tables import POSTERIOR


def with_priors_in_force(mixture: Mixture, data) -> Mixture:
    """Make the same mixture with the default priors written out, so that other data have the same priors."""
    component: Any = mixture.component
    settings = {field.name for field in fields(component)}
    priors = {name: prior for name, prior in component.priors(data, mixture.n_components).items() if name in settings}
    return replace(mixture, component=component.with_priors(priors))


def sampled(fit, seed: int):
    """The fit itself if it holds draws of the posterior, otherwise the same posterior by `bayesmix.nuts`."""
    from ..engines.nuts import nuts

    return (
        fit if fit.engine in POSTERIOR else nuts(fit.mixture, fit.data, init=fit, random_seed=seed, progressbar=False)
    )


def predictive_without(fit, position: int, seed: int) -> tuple[float, float, bool]:
    """Log predictive density of one row given all others, in nats, its Monte Carlo error, and whether the refit converged.

    The posterior without the row, under the priors of the fit, is sampled as the fit was, started at its estimates: by
    `bayesmix.gibbs` for a fit by it, otherwise by `bayesmix.nuts`. Its draws and those of the fit, which must be of
    the posterior, are joined by `bridge`: the plain average of the row's density over the new draws rests on the few in its
    tail.
    """
    from ..engines.gibbs import gibbs
    from ..engines.nuts import nuts

    data, row = fit.data, np.array([position])
    mixture = with_priors_in_force(fit.mixture, data)
    chains, draws = (fit.tree["posterior"].sizes[dim] for dim in ("chain", "draw"))
    if chains < 2:
        chains, draws = 4, 1000
    engine = gibbs if fit.engine == "gibbs" else nuts
    refitted = engine(
        mixture, data.take(np.delete(np.arange(data.n_obs), position)), draws=draws, chains=chains, init=fit,
        random_seed=seed, progressbar=False,
    )  # fmt: skip
    lead = {name: value.reshape(chains, -1, *value.shape[1:]) for name, value in refitted.draws.items()}
    without = log_likelihood_of_draws(mixture, data.take(row), lead)[..., 0]
    whole = fit.tree["log_likelihood"].dataset["x"].isel(obs=position).transpose("chain", "draw").values
    return *bridge(without, whole), refitted.converged


def bridge(without: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    r"""Log predictive density of a row by bridge sampling between the posteriors without it and with it.

    The densities of the two differ by the row's likelihood l, and the ratio of their normalising constants is what is
    wanted. Of Meng & Wong (1996, Statistica Sinica 6, 831), the optimal bridge (Bennett 1976):

    .. math:: r = \frac{E_{-i}[\, l / (s_1 l + s_0 r)]}{E[\, 1 / (s_1 l + s_0 r)]}

    with :math:`s_0, s_1` the shares of the draws without and with the row.

    Parameters
    ----------
    without, whole : ndarray (chain, draw)
        Log l at draws of the posterior without the row, and of the whole posterior.

    Returns
    -------
    log r and its Monte Carlo standard error
        By the delta method, autocorrelation included.
    """
    log_s0, log_s1 = np.log(np.array([without.size, whole.size]) / (without.size + whole.size))
    log_r = float(log_mean_exp(without.ravel(), axis=0))
    above, below = without, -whole
    for _ in range(1000):
        above = without - np.logaddexp(log_s1 + without, log_s0 + log_r)
        below = -np.logaddexp(log_s1 + whole, log_s0 + log_r)
        step = float(log_mean_exp(above.ravel(), axis=0) - log_mean_exp(below.ravel(), axis=0)) - log_r
        log_r += step
        if abs(step) < 1e-10:
            break
    errors = []
    for terms in (above, below):
        values = np.exp(terms - terms.max())
        errors.append(float(array_stats.mcse(values, method="mean") / values.mean()))
    return log_r, float(np.hypot(*errors))
