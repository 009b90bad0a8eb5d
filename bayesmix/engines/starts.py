"""Where EM starts: partitions of the rows made in various ways, turned into parameters by one M-step."""

import warnings

import numpy as np

from ..components.base import Guard
from ..likelihood.likelihood import Likelihood
from ..likelihood.units import named

STRATEGIES = ("kmeans", "random", "hierarchical")
AGGLOMERATED = 500  # most rows that a hierarchy is made of


def kmeans(x: np.ndarray, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Responsibilities (obs, cluster) of k-means from k-means++ seeds (Arthur & Vassilvitskii 2007)."""
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster is no harm in a start
        return one_hot(kmeans2(x, n_components, iter=10, minit="++", rng=rng)[1], n_components)


def random_rows(x: np.ndarray, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Responsibilities (obs, cluster) around random rows: normal kernels about K rows, their common width random."""
    centres = x[rng.choice(len(x), size=n_components, replace=False)]
    squared = ((x[:, None, :] - centres) ** 2).sum(axis=2)
    width = rng.uniform(0.2, 1.0) * x.shape[1] * n_components ** (-2.0 / x.shape[1])
    exponent = -0.5 * (squared - squared.min(axis=1, keepdims=True)) / max(width, 1e-12)
    kernel = np.exp(exponent)
    return kernel / kernel.sum(axis=1, keepdims=True)


def hierarchical(x: np.ndarray, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Responsibilities (obs, cluster) from agglomeration of a random four fifths of the rows, at most 500; others are 0.

    Ward's criterion is the classification likelihood of spherical components of one size (Fraley 1998); half of the
    time the columns are made uncorrelated first, as mclust does (Scrucca & Raftery 2015).
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    n_rows = max(min(n_components + 1, len(x)), min(AGGLOMERATED, round(0.8 * len(x))))
    rows = rng.choice(len(x), n_rows, replace=False)
    part = x[rows]
    if rng.random() < 0.5 and x.shape[1] > 1:
        left, size, _ = np.linalg.svd(part - part.mean(axis=0), full_matrices=False)
        part = left[:, size > 1e-8 * size[0]]
    labels = fcluster(linkage(part, "ward"), n_components, "maxclust") - 1
    responsibilities = np.zeros((len(x), n_components))
    responsibilities[rows] = one_hot(labels, n_components)
    return responsibilities


def one_hot(labels: np.ndarray, n_components: int) -> np.ndarray:
    """Responsibilities (obs, cluster) of labels (obs,)."""
    return (np.asarray(labels)[:, None] == np.arange(n_components)).astype(float)


def start(likelihood: Likelihood, strategy: str, rng: np.random.Generator) -> dict:
    """Parameters of one start; "auto" takes any strategy with equal chance.

    The M-step is held by a guard of D + 1 rows that share out the data's covariance over the components, so that a
    cluster of one row is a start like any other.
    """
    x, k = likelihood.standardised, likelihood.n_components
    if strategy in ("auto", "random"):
        own = likelihood.component.partition(likelihood.data, k, rng)
        if own is not None:
            return from_responsibilities(likelihood, own)
    if strategy == "auto":
        strategy = STRATEGIES[rng.integers(len(STRATEGIES))]
    ways = {"kmeans": kmeans, "random": random_rows, "hierarchical": hierarchical}
    return from_responsibilities(likelihood, likelihood.assigned(ways[strategy](x, k, rng), rng))


def from_responsibilities(likelihood: Likelihood, responsibilities: np.ndarray) -> dict:
    """Parameters of one M-step on responsibilities (obs, cluster), held by a guard of D + 1 rows."""
    d = likelihood.data.n_features
    guard = likelihood.guard_of_starts
    if guard is not None:
        guard = Guard(guard.n, guard.second * likelihood.n_components ** (-2.0 / d))
    units = likelihood.data.units if likelihood.in_memory else None
    params = likelihood.maximise_given(named(responsibilities, units), guard)
    floor = 0.1 / likelihood.n_components  # no component starts without any weight
    weights = np.maximum(params["weights"], floor)
    return likelihood.with_known_weights(params | {"weights": weights / weights.sum()})
