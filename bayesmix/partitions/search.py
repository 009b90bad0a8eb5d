"""The partition of least expected loss: candidates, then rows move one by one while that helps.

After SALSO (Dahl, Johnson & Müller 2022): rows are allocated one after another in random order, then visited again and
again, each moving to the cluster where the expected loss is least; now and then a whole cluster is dissolved and its
rows are allocated anew. Both losses change, when a row enters a cluster, by an amount that does not depend on the
other clusters, which the two compiled sweeps compute:

=========  =====================================================================  =================================
loss       expected loss of labels c                                               a row entering cluster c adds
=========  =====================================================================  =================================
Binder     sum over i != j of 1[same] (1 - p_ij) + 1[not same] p_ij, over N^2      2 sum over j in c of (1 - 2 p_ij)
variation  (sum_c f(n_c) + E sum_k f(m_k) - 2 E sum_ck f(n_ck)) / N, with          g(n_c) - 2 E g(n_c,z), with
of inform. f(n) = n log n; n_ck rows shared with cluster k of a sampled partition   g(n) = f(n + 1) - f(n)
=========  =====================================================================  =================================

p_ij is the co-clustering matrix; E is the average over sampled partitions.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True)
GAIN = 1e-10  # a move must lower the loss by this much, times N: rounding must not keep rows moving
MOST_CLUSTERS = 64  # that the variation of information is searched over, unless asked for more
LINKAGE_ROWS = 3000  # average linkage, whose time grows with the square of the rows, gives candidates up to here
POLISHED = 6  # of the candidates, the best so many are improved
STARTS = 8  # sequential allocations in random order
DISSOLVED = 5  # clusters dissolved in a row without gain, before the search ends


@_compiled
def _binder_sweep(similarity, labels, sizes, order):
    """Visit rows in this order, each moves to the best cluster; how many did. Label -1 stands for not yet allocated."""
    n, most = len(labels), len(sizes)
    moved = 0
    for i in order:
        change = np.zeros(most)
        for j in range(n):
            if labels[j] >= 0 and j != i:
                change[labels[j]] += 1.0 - 2.0 * similarity[i, j]
        moved += _move(i, change, labels, sizes)
    return moved


@_compiled
def _move(i, change, labels, sizes):
    """Put row i where the change is least: one of the clusters, or the first empty one."""
    own = labels[i]
    if own >= 0:
        sizes[own] -= 1
    best, least, seen_empty = own, (change[own] if own >= 0 and sizes[own] > 0 else 0.0), False
    if own < 0:
        least = math.inf
    for c in range(len(sizes)):
        if sizes[c] == 0:
            if seen_empty or (own >= 0 and c != own and sizes[own] == 0):
                continue  # one empty cluster is as good as another
            seen_empty = True
            change[c] = 0.0
        if change[c] < least - (GAIN if own >= 0 else 0.0):
            best, least = c, change[c]
    labels[i] = best
    sizes[best] += 1
    return 1 if best != own else 0


@_compiled
def _binder_loss(similarity, labels):
    n = len(labels)
    total = 0.0
    for i in range(n):
        for j in range(i):
            total += 1.0 - similarity[i, j] if labels[i] == labels[j] else similarity[i, j]
    return 2.0 * total / n**2


@_compiled
def _count(allocations, labels, most, n_components):
    """Rows that each cluster shares with each cluster of each sampled partition, (cluster, draw, component)."""
    n, n_draws = allocations.shape
    shared = np.zeros((most, n_draws, n_components), dtype=np.int32)
    for i in range(n):
        if labels[i] >= 0:
            for s in range(n_draws):
                shared[labels[i], s, allocations[i, s]] += 1
    return shared


@_compiled
def _information_sweep(allocations, shared, steps, labels, sizes, order):
    """As `_binder_sweep`, for the variation of information: allocations (obs, draw), steps g(0), g(1), ..."""
    n_draws = allocations.shape[1]
    moved = 0
    for i in order:
        own, z = labels[i], allocations[i]
        if own >= 0:
            for s in range(n_draws):
                shared[own, s, z[s]] -= 1
        change = np.zeros(len(sizes))
        for c in range(len(sizes)):
            rest = sizes[c] - (1 if c == own else 0)
            if rest > 0:
                total = 0.0
                for s in range(n_draws):
                    total += steps[shared[c, s, z[s]]]
                change[c] = steps[rest] - 2.0 * total / n_draws
        moved += _move(i, change, labels, sizes)
        for s in range(n_draws):
            shared[labels[i], s, z[s]] += 1
    return moved


@_compiled
def _information_loss(shared, sizes, entropy, n):
    """Expected variation of information; entropy is the average of sum_k f(m_k) over the sampled partitions."""
    most, n_draws, k = shared.shape
    total = entropy
    for c in range(most):
        if sizes[c] > 0:
            total += sizes[c] * math.log(sizes[c])
            joint = 0.0
            for s in range(n_draws):
                for j in range(k):
                    if shared[c, s, j] > 1:
                        joint += shared[c, s, j] * math.log(shared[c, s, j])
            total -= 2.0 * joint / n_draws
    return total / n


@dataclass(frozen=True, eq=False)
class ExpectedBinder:
    """Expected Binder loss of a partition, from a co-clustering matrix (obs, obs)."""

    similarity: np.ndarray
    most: int  # clusters

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.similarity)

    def loss(self, labels: np.ndarray) -> float:
        """Expected share of pairs on which a sampled partition disagrees."""
        return float(_binder_loss(self.similarity, labels))

    def sweep(self, labels: np.ndarray, order: np.ndarray, repeat) -> None:
        """Let rows move, in place: first in this order, then in those that `repeat()` gives, until none moves."""
        sizes = np.bincount(labels[labels >= 0], minlength=self.most)
        moved = _binder_sweep(self.similarity, labels, sizes, order)
        while moved:
            moved = _binder_sweep(self.similarity, labels, sizes, repeat())


@dataclass(frozen=True, eq=False)
class ExpectedInformation:
    """Expected variation of information of a partition, in nats, from sampled allocations (obs, draw)."""

    allocations: np.ndarray
    n_components: int
    most: int  # clusters
    steps: np.ndarray
    entropy: float

    @classmethod
    def of(cls, allocations: np.ndarray, most: int) -> "ExpectedInformation":
        """Prepare allocations (draw, obs)."""
        n, k = allocations.shape[1], int(allocations.max()) + 1
        counts = np.arange(n + 2, dtype=float)
        f = counts * np.log(np.maximum(counts, 1.0))
        sizes = np.array([np.bincount(z, minlength=k) for z in allocations])
        return cls(np.ascontiguousarray(allocations.T), k, most, np.diff(f), float(f[sizes].sum(axis=1).mean()))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.allocations)

    def loss(self, labels: np.ndarray) -> float:
        """Average variation of information to the sampled partitions."""
        most = int(labels.max()) + 1
        sizes = np.bincount(labels, minlength=most)
        shared = _count(self.allocations, labels, most, self.n_components)
        return max(0.0, float(_information_loss(shared, sizes, self.entropy, self.n_rows)))

    def sweep(self, labels: np.ndarray, order: np.ndarray, repeat) -> None:
        """Let rows move, in place: first in this order, then in those that `repeat()` gives, until none moves."""
        sizes = np.bincount(labels[labels >= 0], minlength=self.most)
        shared = _count(self.allocations, labels, self.most, self.n_components)
        moved = _information_sweep(self.allocations, shared, self.steps, labels, sizes, order)
        while moved:
            moved = _information_sweep(self.allocations, shared, self.steps, labels, sizes, repeat())


def least_expected_loss(expected, candidates, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Search for the partition of least expected loss.

    Parameters
    ----------
    expected : ExpectedBinder or ExpectedInformation
    candidates : iterable of ndarray (obs,)
        Partitions to begin with, labels 0, 1, ...; those with too many clusters are passed over.
    rng : numpy.random.Generator
        For the order in which rows are visited.

    Returns
    -------
    labels : ndarray (obs,)
    loss : float
        A local optimum: no row, moved by itself, lowers it.
    """
    n = expected.n_rows

    def polished(labels, order=None):
        labels = labels.astype(np.intp)
        expected.sweep(labels, rng.permutation(n) if order is None else order, lambda: rng.permutation(n))
        return labels, expected.loss(labels)

    fitting = [c for c in candidates if c.max() < expected.most]
    ranked = sorted(fitting, key=expected.loss)[:POLISHED]
    found = [polished(labels) for labels in ranked]
    found += [polished(np.full(n, -1)) for _ in range(STARTS)]
    best, least = min(found, key=lambda pair: pair[1])
    failures = 0
    while failures < DISSOLVED:
        labels = best.copy()
        rows = np.flatnonzero(labels == rng.choice(np.unique(labels)))
        labels[rows] = -1
        labels, loss = polished(labels, rng.permutation(rows))
        best, least, failures = (labels, loss, 0) if loss < least - GAIN else (best, least, failures + 1)
    return best, least


def linked(similarity: np.ndarray, most: int) -> list[np.ndarray]:
    """Partitions by average linkage on 1 - similarity, cut at 1 to `most` clusters."""
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    if len(similarity) < 3:
        return [np.zeros(len(similarity), dtype=np.intp)]
    tree = linkage(squareform(1.0 - similarity, checks=False), method="average")
    return list(cut_tree(tree, n_clusters=np.arange(1, min(most, len(similarity)) + 1)).T.astype(np.intp))
