"""All partitions of a few rows, for brute force."""

import numpy as np


def set_partitions(n: int):
    """Yield every partition of n rows as labels, each new cluster numbered next (restricted growth strings)."""

    def grow(labels, clusters):
        if len(labels) == n:
            yield np.array(labels)
            return
        for label in range(clusters + 1):
            yield from grow([*labels, label], max(clusters, label + 1))

    yield from grow([], 0)
