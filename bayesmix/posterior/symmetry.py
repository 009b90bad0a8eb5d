r"""How a permutation of the components moves the free coordinates of a posterior.

The likelihood of a mixture is the same for all K! labellings of its components, and so is the posterior if the prior
treats them alike. In free coordinates a permutation is then a linear map. Here it is made a permutation of rows: every
component gets a row of centred log weight and its own coordinates, next to the coordinates that all of them share.

Components that are of different families, or have known parameters of different values, do not change places: then a
permutation here is one among those that do.

.. math:: c_k = (\log \pi_k - \tfrac1K \sum_j \log \pi_j,\ \text{own coordinates of } k)
"""

import math
from dataclasses import dataclass

import numpy as np

from ..labels.assignment import apply_permutation

SAME = 1e-9  # relative difference up to which two numbers are taken for the same
SAME_NATS = 1e-6  # ... and two log densities, per nat of their size


@dataclass(frozen=True, eq=False)
class Symmetry:
    """The coordinates of a posterior, sorted by the component that they belong to.

    Attributes
    ----------
    groups : ndarray of int (cluster,)
        Components of the same number may change places.
    centring : ndarray (cluster, coordinate)
        The matrix that makes centred log weights of free coordinates; it is 0 but for those of the weights.
    own : tuple of ndarray of int (coordinate of a component,)
        Which coordinates belong to each component, in the same order for all that may change places.
    shared : ndarray of int (coordinate,)
        Coordinates that no permutation moves, such as those of a tied covariance.
    """

    groups: np.ndarray
    centring: np.ndarray
    own: tuple[np.ndarray, ...]
    shared: np.ndarray

    @classmethod
    def of(cls, posterior, vector: np.ndarray) -> "Symmetry":
        """Find out which coordinate belongs to which component, and check that the posterior is symmetric.

        Every coordinate is moved a little from `vector`, and the parameters tell whose it is. What was found is checked
        at other places: the parameters must be permuted as they should be, and the density must stay as it was.

        Raises
        ------
        ValueError
            If the prior does not treat all components alike, or the coordinates of a permutation are not found.
        """
        mixture, k, n = posterior.mixture, posterior.mixture.n_components, len(vector)
        if not mixture.weights.exchangeable:
            raise ValueError(
                f"the prior of the weights is {mixture.weights}, which does not treat the components alike: their labels "
                "mean something, and every labelling has other posterior mass. The evidence is found here only where all "
                "components have the same prior, for example under bm.Dirichlet(1.0)."
            )
        steps = 1e3 * posterior.step_lengths(vector)
        moved = posterior.from_vector(np.vstack([vector, vector + np.diag(steps)]))
        changed = np.zeros((n, k), dtype=bool)
        for parameter in mixture.component.parameters:
            value = moved[parameter.name].reshape(n + 1, k, -1)
            changed |= np.any(np.abs(value[1:] - value[0]) > SAME * (np.abs(value[0]) + 1e-300), axis=2)
        count = changed.sum(axis=1)
        log_weights = np.log(moved["weights"])
        centred = log_weights - log_weights.mean(axis=1, keepdims=True)
        of_weights = (count == 0) & np.any(np.abs(centred[1:] - centred[0]) > SAME * steps[:, None], axis=1)
        groups = mixture.exchangeable(posterior.data)
        found = cls(
            groups,
            np.where(of_weights, ((centred[1:] - centred[0]) / steps[:, None]).T, 0.0),
            _own(changed, count == 1 if k > 1 else ~of_weights, groups),
            np.flatnonzero(~of_weights & (count != 1)) if k > 1 else np.empty(0, dtype=int),
        )
        found._check(posterior, vector, steps)
        return found

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.groups)

    @property
    def log_n_labellings(self) -> float:
        """Logarithm of the number of permutations."""
        return float(sum(math.lgamma(size + 1.0) for size in np.bincount(self.groups)))

    @property
    def n_dim(self) -> int:
        """Number of free coordinates."""
        return self.centring.shape[1]

    def rows(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (draw, cluster, 1 + own) of centred log weights and own coordinates, and what is shared (draw, shared).

        Zeros stand behind the coordinates of components that have fewer than others.
        """
        rows = np.zeros((len(vectors), self.n_components, self.widths.max()))
        rows[:, :, 0] = vectors @ self.centring.T
        for k, own in enumerate(self.own):
            rows[:, k, 1 : 1 + len(own)] = vectors[:, own]
        return rows, vectors[:, self.shared]

    @property
    def widths(self) -> np.ndarray:
        """Number of entries of each row, (cluster,)."""
        return np.array([1 + len(own) for own in self.own])

    @property
    def starts(self) -> np.ndarray:
        """First entry of each row that is a coordinate: the last centred log weight is not, none where weights have no own."""
        of_weights = bool(self.centring.any())
        return np.array([0 if of_weights and k < self.n_components - 1 else 1 for k in range(self.n_components)])

    @property
    def matrix(self) -> np.ndarray:
        """The matrix (n, n) from free coordinates to rows, one after another, without the last centred log weight."""
        unit = np.eye(self.n_dim)
        parts = []
        for k in range(self.n_components):
            if self.starts[k] == 0:
                parts.append(self.centring[k][None])
            parts.append(unit[self.own[k]])
        return np.concatenate([*parts, unit[self.shared]])

    def permuted(self, vectors: np.ndarray, permutation: np.ndarray) -> np.ndarray:
        """Free coordinates (draw, n) with the components in another order: component c is what `permutation[c]` was."""
        rows, shared = self.rows(vectors)
        rows = rows[:, permutation]
        flat = [rows[:, k, start:width] for k, (start, width) in enumerate(zip(self.starts, self.widths, strict=True))]
        return np.linalg.solve(self.matrix, np.concatenate([*flat, shared], axis=1).T).T

    def _check(self, posterior, vector, steps):
        """Try a transposition and a cycle in each group, which generate all permutations, at two places."""
        n = self.n_dim
        if self.matrix.shape != (n, n):
            raise ValueError(self._unknown(posterior, "some coordinates move several components and not all"))
        places = vector + 0.3 * steps * np.cos(np.arange(2 * n)).reshape(2, n)
        for permutation in self._generators():
            there = self.permuted(places, permutation)
            params, expected = posterior.from_vector(there), posterior.from_vector(places)
            for name in ("weights", *(parameter.name for parameter in posterior.mixture.component.parameters)):
                value = params[name]
                wanted = apply_permutation(expected[name], np.tile(permutation, (2, 1)), axis=1)
                if not np.allclose(value, wanted, rtol=1e-6, atol=1e-8 * np.nanmax(np.abs(wanted)), equal_nan=True):
                    raise ValueError(self._unknown(posterior, f"{name} is not permuted with them"))
            for before, after in zip(places, there, strict=True):
                values = [posterior.value_and_gradient(place)[0] for place in (before, after)]
                if all(np.isfinite(values)) and abs(values[0] - values[1]) > SAME_NATS * (1.0 + abs(values[0])):
                    raise ValueError(
                        f"the posterior does not treat the components alike: its log density changes by "
                        f"{abs(values[0] - values[1]):.3g} nats when they are permuted. Give all of them the same prior."
                    )

    def _generators(self):
        """Permutations that generate all of them."""
        found = []
        for group in np.unique(self.groups):
            own = np.flatnonzero(self.groups == group)
            for order in {(1, 0, *range(2, len(own))), (*range(1, len(own)), 0)} if len(own) > 1 else ():
                permutation = np.arange(self.n_components)
                permutation[own] = own[list(order)]
                found.append(permutation)
        return found

    def _unknown(self, posterior, reason):
        return (
            f"the free coordinates of {posterior.mixture} cannot be permuted: {reason}. "
            "The evidence needs coordinates that belong to one component each, or to all."
        )


def _own(changed, owned, groups):
    """Coordinates of each component; as many as the smallest number in its group, `_check` sees the rest."""
    lists = [np.flatnonzero(owned & changed[:, k]) for k in range(changed.shape[1])]
    least = [min(len(other) for other, of in zip(lists, groups, strict=True) if of == group) for group in groups]
    return tuple(one[:size] for one, size in zip(lists, least, strict=True))
