"""Leave-one-out cross-validation by Pareto-smoothed importance sampling, by ArviZ."""

import warnings
from typing import Any

import numpy as np
import xarray as xr

from ..tables import POSTERIOR


def why_not(fit) -> str | None:
    """Say why a fit has no leave-one-out cross-validation; None if it has."""
    if not fit.has_draws:
        hint = (
            'pass uncertainty="laplace" or "bootstrap" to bm.em, or use bm.nuts'
            if fit.engine == "em"
            else "use bm.nuts"
        )
        return f"it needs draws of the parameters, which this fit by {fit.engine} does not have: {hint}"
    if fit.data.n_obs == 0:
        return f"it needs the rows, but {fit.why_no_data}"
    if len(counted_rows(fit)) < 2:
        return "there is one row only" + " of positive weight" * (fit.data.n_obs > 1)
    if not np.all(np.isfinite(fit.tree["log_likelihood/x"].values)):
        return "under some of the draws a row is impossible (log density -inf)"
    return None


def counted_rows(fit) -> np.ndarray:
    """Positions of the rows, or groups of rows, that have weight: nothing changes when one of the others is left out."""
    data = fit.data
    if data.units is not None and data.units.grouped:
        data = data.take(data.units.first_rows)
    return np.arange(data.n_obs) if data.weights is None else np.flatnonzero(data.weights > 0)


def leave_one_out(fit):
    """Leave-one-out cross-validation by Pareto-smoothed importance sampling, and in words on what it rests.

    Draws of an approximate posterior are corrected by their importance weights, exp(log_p - log_q), where the fit
    has these (Magnusson et al. 2019); see `arviz.loo` and `arviz.loo_approximate_posterior`. Rows without weight take no
    part.

    Returns
    -------
    loo : arviz.ELPDData
        Of the rows of `counted_rows`.
    basis : str
    """
    import arviz as az

    stats = fit.tree["sample_stats"] if "sample_stats" in fit.tree.children else {}
    corrected = fit.engine not in POSTERIOR and "log_p" in stats and "log_q" in stats
    tree, kept = fit.tree, counted_rows(fit)
    dim = fit.tree["log_likelihood/x"].dims[-1]  # obs, or group
    if len(kept) < fit.tree["log_likelihood/x"].sizes[dim]:
        groups = {name: fit.tree[name].to_dataset() for name in ("posterior", "log_likelihood")}
        tree = xr.DataTree.from_dict(groups | {"log_likelihood": groups["log_likelihood"].isel({dim: kept})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they speak of Pareto k, which the result explains
        if corrected:
            draws = fit.tree["log_likelihood"]["draw"].values
            weights = {name: stats[name].sel(draw=draws) for name in ("log_p", "log_q")}
            found: Any = az.loo_approximate_posterior(tree, **weights, var_name="x", pointwise=True)
        else:
            found = az.loo(tree, var_name="x", pointwise=True)
    if fit.engine == "laplace":
        words = f"draws resampled by their importance (Laplace, k-hat {fit.tree.attrs.get('khat', np.nan):.2f})"
    elif fit.engine in POSTERIOR:
        words = f"posterior draws ({ {'nuts': 'NUTS', 'gibbs': 'Gibbs'}[fit.engine] })"
    elif fit.engine == "em":
        method = fit.tree.attrs.get("uncertainty", "em")
        words = f"draws from the estimate's sampling distribution ({method}), not a posterior"
        words += ", importance-corrected" if corrected else ""
    elif fit.engine == "advi":
        khat = fit.tree.attrs.get("khat", np.nan)
        words = f"importance-corrected (k-hat {khat:.2f})" if corrected else "not corrected"
        words = f"variational draws, {words}"
    else:
        words = f"draws by {fit.engine}"
    return found, words
