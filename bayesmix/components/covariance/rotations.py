r"""Rotations as points of a vector space, by the Cayley transform: a chart of the axes of ellipsoids.

A skew-symmetric S gives the rotation :math:`Q = (I - S)^{-1} (I + S)`; its coordinates are the entries of 2 S below the
diagonal, which near zero are angles in radians. Axes have no sign: with E a diagonal matrix of signs, Q and QE are the
same axes. Of all signs some make every entry of S at most 1 in size (O'Dorney 2014, "Minimizing the Cayley transform of an
orthogonal matrix by multiplying by signature matrices"), so that no axes lie at infinity; these are the coordinates given
to axes. Matrices are (..., D, D), coordinates (..., D (D - 1) / 2).
"""

import numpy as np


def skew(coordinates: np.ndarray, d: int) -> np.ndarray:
    """S of these coordinates."""
    rows, columns = np.tril_indices(d, -1)
    out = np.zeros((*coordinates.shape[:-1], d, d))
    out[..., rows, columns] = 0.5 * coordinates
    return out - np.swapaxes(out, -1, -2)


def rotation(coordinates: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Q at these coordinates, and T = (I - S)^-1: moving the coordinates by dW / 2 turns Q to Q (I + T' dW T)."""
    s = skew(coordinates, d)
    t = np.linalg.inv(np.eye(d) - s)
    return t @ (np.eye(d) + s), t


def coordinates_of(axes: np.ndarray) -> np.ndarray:
    """Coordinates of axes, the columns of orthogonal (M, D, D) of any signs: (M, D (D - 1) / 2)."""
    d = axes.shape[-1]
    rows, columns = np.tril_indices(d, -1)
    return 2.0 * np.stack([_small_skew(one) for one in axes])[:, rows, columns]


def _small_skew(axes):
    """S of one set of axes, entries at most 1: from one choice of signs without infinite entries, by pairs of others.

    To change the signs of axes i and j multiplies det(I + QE) by S_ij^2, so that this comes to an end.
    """
    d = len(axes)
    q = axes * _signs(axes)
    for _ in range(100 * d):
        s = np.linalg.solve((q + np.eye(d)).T, (q - np.eye(d)).T).T
        largest = np.argmax(np.abs(s)) if d > 1 else 0
        if abs(s.flat[largest]) <= 1.0 + 1e-9:
            break
        i, j = np.unravel_index(largest, s.shape)
        q[:, [i, j]] *= -1.0
    return s


def _signs(axes):
    """Signs E for which Q + E = (QE + I) E has pivots of 1 or more, one column after another (Ballard et al. 2014)."""
    left = axes.copy()
    signs = np.ones(len(axes))
    for i in range(len(axes)):
        signs[i] = 1.0 if left[i, i] >= 0 else -1.0
        left[i, i] += signs[i]
        left[i + 1 :, i + 1 :] -= np.outer(left[i + 1 :, i] / left[i, i], left[i, i + 1 :])
    return signs
