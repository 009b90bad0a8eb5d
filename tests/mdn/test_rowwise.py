"""The likelihood with parameters for each row: SciPy's densities, finite differences, weights of zero."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax

import bayesmix as bm
from bayesmix.arrays import as_data
from bayesmix.mdn.heads import encoded, head_of, rowwise_of

K, ROWS = 3, 40
FAMILIES = {
    "Normal": (bm.Normal(), lambda p: stats.norm(p["mu"], p["sigma"]), stats.norm(3.0, 2.0)),
    "StudentT": (bm.StudentT(), lambda p: stats.t(p["nu"], p["mu"], p["sigma"]), stats.norm(3.0, 2.0)),
    "LogNormal": (
        bm.LogNormal(),
        lambda p: stats.lognorm(p["sigma"], scale=np.exp(p["mu"])),
        stats.lognorm(0.6, scale=9.0),
    ),
    "Gamma": (bm.Gamma(), lambda p: stats.gamma(p["alpha"], scale=1 / p["beta"]), stats.gamma(3.0, scale=2.0)),
    "Beta": (bm.Beta(), lambda p: stats.beta(p["alpha"], p["beta"]), stats.beta(2.0, 3.0)),
    "ChiSquared": (bm.ChiSquared(), lambda p: stats.chi2(p["nu"]), stats.chi2(4.0)),
    "Bernoulli": (bm.Bernoulli(), lambda p: stats.bernoulli(p["p"]), stats.bernoulli(0.3)),
    "Poisson": (bm.Poisson(), lambda p: stats.poisson(p["mu"]), stats.poisson(4.0)),
    "NegativeBinomial": (
        bm.NegativeBinomial(),
        lambda p: stats.nbinom(p["alpha"], p["alpha"] / (p["alpha"] + p["mu"])),
        stats.nbinom(3, 0.4),
    ),
    "TruncatedNormal": (
        bm.TruncatedNormal(lower=0.0, upper=10.0),
        lambda p: stats.truncnorm((0 - p["mu"]) / p["sigma"], (10 - p["mu"]) / p["sigma"], p["mu"], p["sigma"]),
        stats.uniform(0.5, 9.0),
    ),
}


def outputs_for(n_outputs, n_members=2, rows=ROWS, seed=1):
    return np.random.default_rng(seed).normal(size=(n_members, K + K * n_outputs, rows))


def evaluate(heads, y, outputs, kinds):
    rowwise, settings = rowwise_of(heads, y.shape[1])
    y = encoded(heads, y)
    value, gradient = np.empty((len(outputs), len(y))), np.empty(outputs.shape)
    rows = np.ascontiguousarray(np.broadcast_to(rowwise.prepare(y), (len(outputs), *rowwise.prepare(y).shape)))
    rowwise.functions.log_likelihood(rows, outputs, np.asarray(kinds), settings, value, gradient)
    return value, gradient


def log_density_of(name, y, u, head):
    params = head.family_parameters(np.moveaxis(u, -1, -3))  # (member, row, cluster, output)
    frozen = FAMILIES[name][1](params)
    return getattr(frozen, "logpmf", None)(y) if hasattr(frozen.dist, "pmf") else frozen.logpdf(y)


@pytest.mark.parametrize("name", FAMILIES)
def test_log_likelihood_is_scipys(name):
    component, _, law = FAMILIES[name]
    y = law.rvs(size=(ROWS, 1), random_state=np.random.default_rng(2)).astype(float)
    head = head_of(component, as_data(y), np.array([1e-3]))
    outputs = outputs_for(head.n_outputs)
    value, _ = evaluate((head,), y, outputs, [0] * K)
    u = outputs[:, K:].reshape(2, K, head.n_outputs, ROWS)
    density = log_density_of(name, y[:, 0][:, None], u, head)
    log_weights = np.moveaxis(outputs[:, :K] - logsumexp(outputs[:, :K], axis=1, keepdims=True), 1, 2)
    np.testing.assert_allclose(value, logsumexp(log_weights + density, axis=-1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_is_that_of_finite_differences(name):
    component, _, law = FAMILIES[name]
    y = law.rvs(size=(ROWS, 1), random_state=np.random.default_rng(2)).astype(float)
    head = head_of(component, as_data(y), np.array([1e-3]))
    outputs = outputs_for(head.n_outputs)
    gradient = evaluate((head,), y, outputs, [0] * K)[1]
    for j in range(outputs.shape[1]):
        step = np.zeros(outputs.shape)
        step[:, j] = 1e-5
        up, down = (evaluate((head,), y, outputs + s * step, [0] * K)[0] for s in (1, -1))
        np.testing.assert_allclose(gradient[:, j], (up - down) / 2e-5, rtol=1e-5, atol=1e-6)


def test_a_logit_of_minus_infinity_is_no_component():
    y = np.random.default_rng(0).normal(size=(ROWS, 1))
    head = head_of(bm.Normal(), as_data(y), np.array([1e-3]))
    outputs = outputs_for(2)
    outputs[:, 1] = -np.inf
    value, gradient = evaluate((head,), y, outputs, [0] * K)
    left = np.delete(outputs, [1, K + 2, K + 3], axis=1)
    expected, of_left = evaluate((head,), y, left, [0] * (K - 1))
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    assert np.all(gradient[:, [1, K + 2, K + 3]] == 0.0)
    np.testing.assert_allclose(np.delete(gradient, [1, K + 2, K + 3], axis=1), of_left, rtol=1e-12, atol=1e-15)


def test_several_responses_have_scipys_density():
    rng = np.random.default_rng(5)
    y = rng.multivariate_normal([1.0, -2.0, 30.0], [[1.0, 0.5, 0.0], [0.5, 2.0, 3.0], [0.0, 3.0, 40.0]], size=ROWS)
    head = head_of(bm.MvNormal(), as_data(y), np.full(3, 1e-3))
    outputs = outputs_for(head.n_outputs, n_members=1)
    value, gradient = evaluate((head,), y, outputs, [0] * K)
    u = np.moveaxis(outputs[0, K:].reshape(K, head.n_outputs, ROWS), -1, 0)
    params = head.family_parameters(u)
    weights = softmax(outputs[0, :K], axis=0).T
    for i in range(ROWS):
        density = [
            weights[i, k] * stats.multivariate_normal(params["mu"][i, k], params["cov"][i, k]).pdf(y[i])
            for k in range(K)
        ]
        assert value[0, i] == pytest.approx(np.log(sum(density)), rel=1e-8)
    step = np.zeros(outputs.shape)
    step[:, K + 7] = 1e-5
    up, down = (evaluate((head,), y, outputs + s * step, [0] * K)[0] for s in (1, -1))
    np.testing.assert_allclose(gradient[:, K + 7], (up - down) / 2e-5, rtol=1e-5, atol=1e-6)


def test_families_of_a_list_each_have_their_own_density():
    y = np.random.default_rng(0).normal(3.0, 2.0, size=(ROWS, 1))
    data, floor = as_data(y), np.array([1e-3])
    heads = head_of(bm.Normal(), data, floor), head_of(bm.StudentT(), data, floor)
    outputs = outputs_for(3, n_members=1)
    value, _ = evaluate(heads, y, outputs, [0, 1, 1])
    u = np.moveaxis(outputs[0, K:].reshape(K, 3, ROWS), -1, 0)
    normal, t = heads[0].family_parameters(u[:, :1]), heads[1].family_parameters(u[:, 1:])
    density = np.concatenate(
        [
            stats.norm(normal["mu"], normal["sigma"]).logpdf(y),
            stats.t(t["nu"], t["mu"], t["sigma"]).logpdf(y),
        ],
        axis=1,
    )
    log_weights = (outputs[0, :K] - logsumexp(outputs[0, :K], axis=0)).T
    np.testing.assert_allclose(value[0], logsumexp(log_weights + density, axis=1), rtol=1e-10)


def test_categories_sum_to_one():
    y = np.random.default_rng(0).integers(4, size=(ROWS, 1)).astype(float)
    head = head_of(bm.Categorical(), as_data(y), np.array([1e-3]))
    outputs = outputs_for(head.n_outputs)
    total = sum(np.exp(evaluate((head,), np.full((ROWS, 1), float(c)), outputs, [0] * K)[0]) for c in range(4))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
