"""Fits for the tests of what comes after a fit: EM itself, and posteriors made by hand around its estimate."""

import numpy as np
import xarray as xr

import bayesmix as bm
from bayesmix.fit import Fit
from bayesmix.likelihood.likelihood import Likelihood


def posterior(
    mixture, data, em, engine, *, seed=0, scale=1.0, shift=0.0, chains=4, draws=60, order=None, **attrs
) -> Fit:
    """Normal draws about EM's estimate in free coordinates, as an engine would return them.

    scale stretches the standard errors, shift moves the centre by so many of them, order renames the components.
    """
    checked = mixture.check(data)
    likelihood = Likelihood(mixture.component, checked, mixture.n_components)
    centre = likelihood.to_vector(em.estimates)
    root = np.linalg.cholesky(np.linalg.inv(likelihood.information(centre, None)))
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((chains * draws, len(centre)))
    flat = likelihood.from_vector(centre + (shift + scale * z) @ root.T)
    values = {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in flat.items()}
    if order is not None:
        values = {name: value[:, :, order] for name, value in values.items()}
    known = {"engine": engine, "converged": 1, "message": "Made by hand.", "seconds": 1.5}
    groups = {}
    if engine == "nuts":
        known |= {"verdict": "converged", "rhat_raw": 1.6, "rhat_relabelled": 1.003, "rhat_invariant": 1.002}
        known |= {"ess_raw": 12.0, "ess_relabelled": 900.0, "ess_invariant": 800.0, "divergences": 0}
    if engine == "advi":
        log_q = -0.5 * (z**2).sum(axis=1)
        rows = bm.Fit.assemble(mixture, checked, draws=values, attrs=known).tree["log_likelihood/x"].sum("obs")
        log_q = xr.DataArray(log_q.reshape(chains, draws), dims=("chain", "draw"))
        groups["sample_stats"] = xr.Dataset({"log_p": rows, "log_q": log_q})
        known |= {"method": "fullrank", "khat": 0.31}
    return Fit.assemble(mixture, checked, draws=values, groups=groups, attrs=known | attrs, rng=rng)


def three(mixture, data) -> dict:
    """EM with standard errors, "NUTS" with its components in another order, "ADVI" with too narrow intervals."""
    em = bm.em(mixture, data, uncertainty="laplace", draws=240, n_init=3, random_seed=1, progressbar=False)
    order = list(range(mixture.n_components))[::-1]
    return {
        "EM": em,
        "NUTS": posterior(mixture, data, em, "nuts", seed=1, order=order),
        "ADVI": posterior(mixture, data, em, "advi", seed=2, scale=0.7, chains=1, draws=240),
    }
