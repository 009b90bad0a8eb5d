"""The rows that are asked for, their responsibilities draw by draw, and allocations drawn from them."""

from collections.abc import Iterator

import numpy as np

from ..likelihood.units import n_needed, responsibilities
from ..prediction import CELLS, choose, with_row_axis
from ..whole_numbers import check_whole


def choose_rows(fit, rows) -> np.ndarray:
    """Positions of the rows of a fit's data that are asked for.

    Parameters
    ----------
    fit : Fit
    rows : None, int, or array_like of int or bool
        All rows; so many, evenly spaced over the data; or their positions, from 0, or True for each that is wanted.

    Raises
    ------
    TypeError, ValueError
        If the fit keeps no rows, or there are no such rows.
    """
    n = fit.data.n_obs
    if n == 0:
        raise ValueError(f"rows are allocated to components, but this fit has none: {fit.why_no_data}.")
    if rows is None:
        return np.arange(n)
    if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
        if not 1 <= rows <= n:
            raise ValueError(f"rows={rows} but there are {n}; give a number from 1 to {n}, or positions of rows.")
        return np.unique(np.linspace(0, n - 1, int(rows)).round().astype(np.intp))
    chosen = np.asarray(rows)
    if chosen.ndim != 1 or chosen.size == 0 or not (chosen.dtype == bool or np.issubdtype(chosen.dtype, np.integer)):
        raise TypeError(
            f"rows has shape {chosen.shape} and type {chosen.dtype}, but it must be a number of rows, "
            "a list of their positions, or one True or False for each row."
        )
    if chosen.dtype == bool:
        if len(chosen) != n or not chosen.any():
            raise ValueError(
                f"rows holds {len(chosen)} truth values, {int(chosen.sum())} of them True, for {n} rows; "
                "it needs one for each, and at least one True."
            )
        return np.flatnonzero(chosen)
    if chosen.min() < 0 or chosen.max() >= n:
        raise ValueError(f"rows runs from {chosen.min()} to {chosen.max()}, but positions go from 0 to {n - 1}.")
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError(f"rows names {len(chosen) - len(np.unique(chosen))} positions more than once.")
    return chosen.astype(np.intp)


def evenly_spaced(fit, n_draws: int | None) -> dict:
    """Parameters at so many draws of a fit, evenly spaced, the same more than once if there are fewer; None: at all."""
    draws = fit.draws
    if n_draws is None:
        return draws
    check_whole(draws=n_draws)
    which = np.linspace(0, len(draws["weights"]) - 1, int(n_draws)).round().astype(int)
    return {name: value[which] for name, value in draws.items()}


def responsibilities_in_pieces(fit, draws: dict, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Responsibilities (draws, obs, cluster) of some rows, a few draws at a time."""
    data, component = fit.data, fit.mixture.component
    log_weights, params = with_row_axis(draws)
    step = max(1, CELLS // max(1, n_needed(data, rows) * fit.mixture.n_components * data.values.shape[1]))
    for begin in range(0, len(log_weights), step):
        part = slice(begin, begin + step)
        inside = {name: value[part] for name, value in params.items()}
        yield responsibilities(component, data, log_weights[part], inside, rows)


def sample_allocations(fit, rows: np.ndarray, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    r"""Draw each row's component from its posterior: :math:`z_n \sim \text{Categorical}(r_n)`, once at each draw.

    Parameters
    ----------
    fit : Fit
    rows : ndarray of int (obs,)
        Positions of rows.
    n_draws : int
        Number of allocations; the fit's draws are taken evenly spaced, more than once each if there are fewer. At the
        estimate of EM only the allocations vary.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int16 (draw, obs)
    """
    pieces = responsibilities_in_pieces(fit, evenly_spaced(fit, n_draws), rows)
    units = fit.data.units
    if units is None or not units.grouped:
        return np.concatenate([choose(r, rng).astype(np.int16) for r in pieces])
    first, place = np.unique(units.group[rows], return_index=True, return_inverse=True)[1:]
    return np.concatenate([choose(r[:, first], rng).astype(np.int16)[:, place.ravel()] for r in pieces])
