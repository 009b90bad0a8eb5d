"""The point partition: one clustering of the rows that stands for all that the posterior holds."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..randomness import generator
from ..whole_numbers import check_whole
from . import search
from .allocations import choose_rows, evenly_spaced, responsibilities_in_pieces, sample_allocations
from .ball import CredibleBall, credible_ball
from .coclustering import check_size, similarity

LOSSES = {"vi": "variation of information, in nats", "binder": "Binder's loss, as share of pairs"}
DRAWS_TRIED = 20  # sampled partitions among the candidates


@dataclass(frozen=True, eq=False)
class Partition:
    """The partition of the rows with least posterior expected loss; made by `Fit.partition`.

    Attributes
    ----------
    labels : xarray.DataArray (obs,)
        Cluster of each row, 0, 1, ...: in the order of the components that most of their rows come from, larger ones
        first. A cluster need not be a component.
    loss : str
        "vi" or "binder".
    expected_loss : float
        Its expected loss: in nats (variation of information), or as share of pairs (Binder).
    allocations : ndarray of int (draw, obs)
        The sampled partitions.
    """

    labels: xr.DataArray
    loss: str
    expected_loss: float
    allocations: np.ndarray

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.labels.max()) + 1

    @property
    def sizes(self) -> np.ndarray:
        """Number of rows in each cluster."""
        return np.bincount(self.labels.values)

    def credible_ball(self, prob: float = 0.95) -> CredibleBall:
        """Find the smallest ball around this partition that holds a posterior probability, and its bounds.

        Parameters
        ----------
        prob : float
            Probability of the ball.

        Returns
        -------
        CredibleBall
            Distances are by the loss of this partition. See Wade & Ghahramani (2018), section 4.
        """
        return credible_ball(self.labels, self.allocations, prob, self.loss)

    def plot(self, **kwargs):
        """Draw the co-clustering matrix with the rows in the order of this partition.

        See `bayesmix.plots.partitions.plot_coclustering`; returns a matplotlib Figure.
        """
        from ..plots.partitions import plot_coclustering

        return plot_coclustering(self, **kwargs)

    def __repr__(self):
        sizes = ", ".join(map(str, self.sizes[:12])) + (", ..." if self.n_clusters > 12 else "")
        return (
            f"<Partition of {self.labels.size} rows into {self.n_clusters} cluster{'s' * (self.n_clusters != 1)} "
            f"of {sizes}; expected loss {self.expected_loss:.4g} ({LOSSES[self.loss]})>"
        )


def point_partition(
    fit, loss: str = "vi", *, rows=None, draws: int = 1000, max_clusters: int | None = None, random_seed=None
) -> Partition:
    r"""Find the partition with the least posterior expected loss, :math:`\arg\min_c E[L(c, z) \mid x]`.

    Parameters
    ----------
    fit : Fit
    loss : {"vi", "binder"}
        Variation of information (Meila 2007), averaged over sampled allocations, or Binder's loss (1978), from the
        co-clustering matrix. Binder's tends to small extra clusters for rows that lie in between (Wade & Ghahramani
        2018, section 3).
    rows : int or array_like, optional
        So many rows, evenly spaced, or positions of rows; all if not given. Each counts once, whatever its weight.
    draws : int
        Number of sampled partitions.
    max_clusters : int, optional
        Most clusters that are tried. By default as many as there are rows; 64 for the variation of information.
    random_seed : int, numpy.random.Generator or None
        For the allocations and the search.

    Returns
    -------
    Partition

    Raises
    ------
    TypeError, ValueError
        If the loss is unknown, a number is out of range, there are no such rows, or Binder's matrix is too large.

    References
    ----------
    Wade, S. & Ghahramani, Z. (2018). Bayesian Analysis 13, 559-626.
    Dahl, D. B., Johnson, D. J. & Müller, P. (2022). J. Computational and Graphical Statistics 31, 1189-1201.
    """
    if loss not in LOSSES:
        raise ValueError(f'loss={loss!r} is not known; use "vi" or "binder".')
    check_whole(draws=draws)
    chosen, rng = choose_rows(fit, rows), generator(random_seed)
    n = len(chosen)
    most = min(n, search.MOST_CLUSTERS) if max_clusters is None and loss == "vi" else n
    if max_clusters is not None:
        check_whole(max_clusters=max_clusters)
        most = min(n, int(max_clusters))
    if loss == "binder":
        check_size(n)
    allocations = sample_allocations(fit, chosen, int(draws), rng)
    candidates = [np.zeros(n, dtype=np.intp), _numbered(fit.classify(fit.data.take(chosen)).values)]
    candidates += [_numbered(allocations[s]) for s in np.linspace(0, len(allocations) - 1, DRAWS_TRIED).astype(int)]
    matrix = None
    if loss == "binder" or n <= search.LINKAGE_ROWS:
        matrix = similarity(responsibilities_in_pieces(fit, evenly_spaced(fit, int(draws)), chosen), n)
    if matrix is not None and n <= search.LINKAGE_ROWS:
        candidates += search.linked(matrix, min(most, search.MOST_CLUSTERS))
    if loss == "binder":
        assert matrix is not None
        expected = search.ExpectedBinder(matrix, most)
    else:
        expected = search.ExpectedInformation.of(allocations, most)
    labels, value = search.least_expected_loss(expected, candidates, rng)
    labels = _by_component(labels, allocations)
    array = xr.DataArray(labels, dims=("obs",), coords={"obs": fit.data.obs[chosen]}, name="cluster")
    return Partition(array, loss, value, allocations)


def _numbered(labels: np.ndarray) -> np.ndarray:
    """The same partition with labels 0, 1, ... without gaps."""
    return np.unique(labels, return_inverse=True)[1]


def _by_component(labels: np.ndarray, allocations: np.ndarray) -> np.ndarray:
    """The same partition numbered by the component that most rows of a cluster come from, then by size."""
    labels = _numbered(labels)
    main = [np.bincount(allocations[:, labels == c].ravel()).argmax() for c in range(labels.max() + 1)]
    order = np.lexsort((-np.bincount(labels), main))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[labels]
