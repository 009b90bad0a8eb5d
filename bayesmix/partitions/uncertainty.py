"""How sure the allocation of each row is."""

import numpy as np
import xarray as xr


def allocation_uncertainty(responsibilities: xr.DataArray) -> xr.Dataset:
    r"""Entropy and classification uncertainty of each row, from its responsibilities (obs, cluster).

    Returns
    -------
    xarray.Dataset
        ``entropy`` (obs,), :math:`-\sum_k r_k \log r_k` in nats, between 0 and log K; ``uncertainty`` (obs,),
        :math:`1 - \max_k r_k`, the probability that the row's most probable component is not its own (Bensmail et al.
        1997); ``normalised`` (obs,), the same divided by its largest value 1 - 1/K, between 0 and 1.
    """
    r, k = responsibilities, responsibilities.sizes["cluster"]
    entropy = -xr.where(r > 0, r * np.log(r.clip(min=1e-300)), 0.0).sum("cluster")
    uncertainty = 1.0 - r.max("cluster")
    normalised = uncertainty / (1.0 - 1.0 / k) if k > 1 else xr.zeros_like(uncertainty)
    return xr.Dataset(
        {
            "entropy": entropy.clip(min=0.0),
            "uncertainty": uncertainty.clip(min=0.0),
            "normalised": normalised.clip(0, 1),
        }
    )
