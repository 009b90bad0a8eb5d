"""How many components are occupied: K_plus, from allocations drawn at each draw of the parameters."""

import numpy as np

from .arrays import Data
from .likelihood.units import n_needed, responsibilities
from .prediction import CELLS, choose, with_row_axis

OCCUPIED_CELLS = 1e8  # draws x rows x components x features, some ten seconds; beyond, only evenly spaced draws
FIRST_ROWS = 256  # rows looked at first: where they occupy every component, the rest need not be seen


def count_occupied(mixture, data: Data, draws: dict, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    r"""Draw :math:`K_+`, the number of components that at least one row is allocated to, at each draw of the parameters.

    Given the parameters the allocations are independent, :math:`z_n \sim \text{Categorical}(r_n)` with r the
    responsibilities, so that :math:`K_+` is a draw from its posterior. Rows are taken in random order and left alone
    once every component is occupied, which changes nothing. A row of weight w counts as w rows; of a fraction of a row
    it is drawn whether it is there.

    Parameters
    ----------
    mixture : Mixture
    data : Data
    draws : dict
        Weights and parameters, (chain, draw, cluster, ...).
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (chain, draw)
        Whole numbers; floats with NaN at the draws that were left out, if there would have been more to do than
        `OCCUPIED_CELLS`.
    str
        Which draws were left out, in words; "" if none.
    """
    lead, k = draws["weights"].shape[:2], mixture.n_components
    flat = {name: value.reshape(lead[0] * lead[1], *value.shape[2:]) for name, value in draws.items()}
    log_weights, params = with_row_axis(flat)
    rows = np.arange(data.n_obs) if data.weights is None else np.flatnonzero(data.weights > 0)
    if data.units is not None and data.units.grouped:  # one row stands for its group
        rows = np.intersect1d(rows, data.units.first_rows)
    rows = rng.permutation(rows)
    seen = flat["weights"] <= 0  # what cannot be occupied need not be looked for
    empty_for_ever = seen.sum(axis=1)
    kept = np.ones(lead[1], dtype=bool)
    begin, n_rows = 0, FIRST_ROWS
    while begin < len(rows):
        active = np.flatnonzero(~seen.all(axis=1) & np.tile(kept, lead[0]))
        if begin == FIRST_ROWS:  # what is left is known well enough now
            left = len(active) * (len(rows) - begin) * k * data.n_features
            if left > OCCUPIED_CELLS:
                kept[:] = False
                kept[:: int(np.ceil(left / OCCUPIED_CELLS))] = True
                active = active[np.tile(kept, lead[0])[active]]
        if len(active) == 0:
            break
        block = rows[begin : begin + n_rows]
        step = max(1, CELLS // (n_needed(data, block) * k * data.n_features))
        for first in range(0, len(active), step):
            part = active[first : first + step]
            inside = {name: value[part] for name, value in params.items()}
            r = responsibilities(mixture.component, data, log_weights[part], inside, block)
            seen[part] |= _drawn(r, None if data.weights is None else data.weights[block], rng)
        begin += len(block)
        n_rows = min(2 * n_rows, max(FIRST_ROWS, CELLS // (k * data.n_features)))
    counts = (seen.sum(axis=1) - empty_for_ever).reshape(lead)
    if kept.all():
        return counts, ""
    said = f"K_plus is drawn at {int(kept.sum())} of the {lead[1]} draws of each chain, evenly spaced."
    return np.where(kept, counts, np.nan), said


def _drawn(r, weights, rng) -> np.ndarray:
    """Which components (draws, cluster) get a row when each row of r (draws, obs, cluster) is allocated."""
    k = r.shape[-1]
    if weights is None:
        labels = choose(r, rng)
        return np.stack([(labels == c).any(axis=1) for c in range(k)], axis=1)
    whole = np.floor(weights)
    times = (whole + (rng.uniform(size=r.shape[:2]) < weights - whole)).astype(np.int64)
    return (rng.multinomial(times, r / r.sum(axis=-1, keepdims=True)) > 0).any(axis=1)
