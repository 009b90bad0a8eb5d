"""Fits whose co-clustering is known."""

import numpy as np
import pytest
from fits import posterior

import bayesmix as bm


@pytest.fixture(scope="module")
def fit():
    """240 draws of a mixture of two normals on 60 rows, some of which lie in between."""
    rng = np.random.default_rng(3)
    data = np.r_[rng.normal(0, 1, 35), rng.normal(3.2, 1, 25)]
    mixture = bm.Mixture(bm.Normal(), 2)
    em = bm.em(mixture, data, n_init=3, random_seed=1, progressbar=False)
    return posterior(mixture, data, em, "nuts", seed=1)
