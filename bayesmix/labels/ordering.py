"""Ordering: labels by the size of one number per component."""

import numpy as np

from bayesmix.labels.base import Relabelling


def ordering(values, groups=None):
    """Relabel so that one scalar per component increases with the label.

    perm_s = argsort_c values[s, c]; ties keep their order.

    Easy to explain, and right when the scalar separates the components. Where it does not, an ordering cuts through
    the posterior and biases every summary (Celeux, Hurn & Robert 2000): look at the margin.

    Parameters
    ----------
    values : array_like (draw, component)
        A mean, a rate, a weight, ...; NaN where the components of a group have none, which then keep their labels.
    groups : array_like of int (component,), optional
        Only components of the same group change places.

    Returns
    -------
    Relabelling
        ``margin`` is the smallest gap between neighbours, in standard deviations of ``values`` over all draws and
        components.

    References
    ----------
    Celeux, G., Hurn, M. & Robert, C. P. (2000). J. American Statistical Association 95, 957-970.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"`values` has shape {values.shape}; it needs (draw, component).")
    groups = np.zeros(values.shape[1], dtype=int) if groups is None else np.asarray(groups)
    perm, gap = np.empty(values.shape, dtype=np.intp), np.full(len(values), np.inf)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        order = own[np.argsort(values[:, own], axis=1, kind="stable")]
        perm[:, own] = order
        gap = np.fmin(gap, np.diff(np.take_along_axis(values, order, axis=1), axis=1).min(axis=1, initial=np.inf))
    spread = values[np.isfinite(values)].std()
    return Relabelling(perm, gap / spread if spread > 0 else gap, 1, "ordering", True)
