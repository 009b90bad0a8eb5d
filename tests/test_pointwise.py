"""Summaries of rows by compiled code are the formula's: log density, most probable component, entropy."""

import numpy as np
import pytest
from scipy import special, stats

import bayesmix as bm
from bayesmix.likelihood.pointwise import has_summaries, summaries


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("covariance", [None, "full", "tied", "diag", "spherical"])
def test_against_scipy(covariance, offset):
    rng = np.random.default_rng(0)
    k, n, d = 3, 300, 1 if covariance is None else 3
    x = offset + rng.normal(size=(n, d)) * 3.0
    x[0] += 1e4  # far from every component
    weights = np.array([[0.2, 0.5, 0.3], [0.0, 0.4, 0.6]])
    mu = offset + rng.normal(size=(2, k, d))
    spread = np.einsum("skij,sklj->skil", root := rng.normal(size=(2, k, d, d)), root) + np.eye(d)
    if covariance == "tied":
        spread[:] = spread[:, :1]
    elif covariance == "diag":
        spread *= np.eye(d)
    elif covariance == "spherical":
        spread = spread[..., :1, :1] * np.eye(d)
    component = bm.Normal() if covariance is None else bm.MvNormal(covariance=covariance)
    draws = {"weights": weights, "mu": mu, "cov": spread}
    if covariance is None:
        draws = {"weights": weights, "mu": mu[..., 0], "sigma": np.sqrt(spread[..., 0, 0])}
    assert has_summaries(component)
    for i, (log_density, allocation, entropy) in enumerate(summaries(component, x, draws)):
        with np.errstate(divide="ignore"):
            columns = [stats.multivariate_normal(mu[i, j], spread[i, j]).logpdf(x) for j in range(k)]
            joint = np.log(weights[i]) + np.array(columns).T
        np.testing.assert_allclose(log_density, special.logsumexp(joint, axis=1), rtol=1e-9, atol=1e-8)
        responsibilities = special.softmax(joint, axis=1)
        np.testing.assert_array_equal(allocation, joint.argmax(axis=1))
        assert entropy == pytest.approx(special.entr(responsibilities).sum(), rel=1e-8)
