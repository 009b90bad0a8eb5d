"""The co-clustering matrix: how probable it is that two rows belong together."""

import numpy as np
import xarray as xr

from .allocations import choose_rows, evenly_spaced, responsibilities_in_pieces

LARGEST = 2e9  # bytes of a co-clustering matrix


def coclustering(fit, rows=None, draws: int | None = None) -> xr.DataArray:
    r"""Probability that two rows come from the same component: the posterior similarity matrix.

    .. math:: P(z_i = z_j \mid x) = \frac{1}{S} \sum_s \sum_k r_{ik}^{(s)} r_{jk}^{(s)}, \qquad i \ne j

    since allocations are independent given the parameters; 1 on the diagonal. It takes the average over allocations
    exactly, where counting sampled allocations would add noise, and it needs no labels: renaming the components of a
    draw changes nothing. Of an EM fit it is taken at the estimate.

    Parameters
    ----------
    fit : Fit
    rows : int or array_like, optional
        So many rows, evenly spaced over the data, or positions of rows; all if not given.
    draws : int, optional
        Use so many draws only, evenly spaced: the time is proportional to them, and to the square of the rows.

    Returns
    -------
    xarray.DataArray (obs, obs_2)
        Both coordinates hold the labels of the rows.

    Raises
    ------
    ValueError
        If the matrix would take more than 2 GB, or there are no such rows.
    """
    chosen = choose_rows(fit, rows)
    check_size(len(chosen))
    values = similarity(responsibilities_in_pieces(fit, evenly_spaced(fit, draws), chosen), len(chosen))
    if fit.data.units is not None and fit.data.units.grouped:
        group = fit.data.units.group[chosen]
        values[group[:, None] == group] = 1.0  # they share their component
    labels = fit.data.obs[chosen]
    coords = {"obs": labels, "obs_2": labels}
    return xr.DataArray(values, dims=("obs", "obs_2"), coords=coords, name="coclustering")


def check_size(n_rows: int) -> None:
    """Raise `ValueError` if the matrix of so many rows would not fit into memory."""
    if 8.0 * n_rows**2 > LARGEST:
        most = int(np.sqrt(LARGEST / 8.0))
        raise ValueError(
            f"the co-clustering matrix of {n_rows} rows would take {8e-9 * n_rows**2:.1f} GB, 8 bytes for each pair; "
            f"the most is {LARGEST / 1e9:g} GB, {most} rows. Pass rows=2000 for so many rows evenly spaced, or the "
            "positions of those that matter."
        )


def similarity(pieces, n_rows: int) -> np.ndarray:
    """Average of r r' over pieces of responsibilities (draws, obs, cluster): (obs, obs), with 1 on the diagonal.

    Only one triangle is summed, in place: nothing of size obs x obs x draws, nor a second matrix, is ever made.
    """
    from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]

    total = np.zeros((n_rows, n_rows), order="F")
    n_draws = 0
    for r in pieces:
        flat = np.asfortranarray(np.moveaxis(r, 1, 0).reshape(n_rows, -1))
        total = dsyrk(1.0, flat, beta=1.0, c=total, lower=1, overwrite_c=1)
        n_draws += len(r)
    total /= n_draws
    for begin in range(0, n_rows, 512):
        part = slice(begin, begin + 512)
        total[part, begin + 512 :] = total[begin + 512 :, part].T
        block = total[part, part]
        total[part, part] = np.tril(block) + np.tril(block, -1).T
    np.fill_diagonal(total, 1.0)
    return np.clip(total.T, 0.0, 1.0, out=total.T)  # C order
