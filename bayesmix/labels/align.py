"""Match the components of two fits by the rows they claim."""

import numpy as np

from .assignment import best_assignment


def align_to(reference: np.ndarray, other: np.ndarray, groups=None) -> tuple[np.ndarray, float]:
    """Order the components of `other` so that they claim the same rows as those of `reference`.

    Parameters
    ----------
    reference, other : array (obs, cluster)
        Responsibilities of the same rows.
    groups : array_like of int (cluster,), optional
        Only components of `other` of the same group change places.

    Returns
    -------
    order : array (cluster,)
        ``other[:, order]`` matches `reference`: the assignment that maximises sum_n sum_k reference_nk other_n,order(k).
    margin : float
        Share of the rows by which that assignment beats the second best.
    """
    shared = reference.T @ other
    order, margin = best_assignment(-shared[None], groups)
    return order[0], float(margin[0] / max(len(reference), 1))
