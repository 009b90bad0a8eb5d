"""The network's passes: derivatives against finite differences, and what an ordinary layer does."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from bayesmix.mdn.network import Layout, adam, backward, forward, penalty, squared_softplus, threads

STEP = 1e-6


def passes(layout, random, seed=0, n_members=2, n_rows=5):
    rng = np.random.default_rng(seed)
    mean = layout.start(n_members, rng) + 0.1 * rng.normal(size=(n_members, layout.n_weights))
    variance = rng.uniform(0.01, 0.1, size=mean.shape) if random else np.empty((n_members, 0))
    noise = rng.normal(size=(n_members, layout.n_units, n_rows if random else 0))
    space = layout.workspace(n_members, n_rows)
    space.activations[:, : layout.sizes[0]] = rng.normal(size=(n_members, layout.sizes[0], n_rows))
    slope = rng.normal(size=(n_members, layout.sizes[-1], n_rows))

    def value(mean, variance):
        forward(mean, variance, noise, layout.arguments, *space)
        return float(np.sum(space.before[:, -layout.sizes[-1] :] * slope))

    return mean, variance, noise, space, slope, value


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(
    "activation, residual, normalise", [("relu", 0, 0), ("tanh", 1, 0), ("silu", 1, 1), ("silu", 0, 1)]
)
def test_gradient_is_that_of_finite_differences(activation, residual, normalise, random):
    layout = Layout((3, 6, 6, 6, 4), activation, bool(residual), bool(normalise))
    mean, variance, noise, space, slope, value = passes(layout, random)
    value(mean, variance)
    d_mean, d_variance = np.empty(mean.shape), np.empty(variance.shape)
    backward(mean, variance, noise, layout.arguments, *space, slope.copy(), d_mean, d_variance)
    places = [(e, j) for e in range(2) for j in range(0, layout.n_weights, 7)]
    for at in places:
        step = np.zeros(mean.shape)
        step[at] = STEP
        assert d_mean[at] == pytest.approx(
            (value(mean + step, variance) - value(mean - step, variance)) / (2 * STEP), abs=1e-7
        )
        if random:
            up, down = value(mean, variance + step), value(mean, variance - step)
            assert d_variance[at] == pytest.approx((up - down) / (2 * STEP), abs=1e-7)


def test_a_layer_is_a_matrix_product_with_random_weights_of_these_moments():
    """Local reparametrisation: outputs have the mean and the variance that independent normal weights imply."""
    layout = Layout((3, 2))
    rng = np.random.default_rng(3)
    mean, variance = rng.normal(size=(1, 8)), rng.uniform(0.1, 0.5, size=(1, 8))
    x = np.array([0.5, -1.0, 2.0])
    n = 200_000
    space = layout.workspace(1, n)
    space.activations[0, :3] = x[:, None]
    forward(mean, variance, rng.normal(size=(1, 2, n)), layout.arguments, *space)
    (matrix, offset), (squares, of_offset) = layout.views(mean[0])[0], layout.views(variance[0])[0]
    expected, var = matrix @ x + offset, squares @ x**2 + of_offset
    error = np.sqrt(var / n)
    assert np.all(np.abs(space.before[0].mean(axis=1) - expected) < 5 * error)
    np.testing.assert_allclose(space.before[0].var(axis=1), var, rtol=5 * np.sqrt(2 / n))


def test_divergence_has_the_gradient_of_its_formula():
    """KL(N(m, s^2) || N(0, p^2)) = log(p / s) + (s^2 + m^2) / (2 p^2) - 1/2, s = softplus(rho)."""
    rng = np.random.default_rng(1)
    mean, rho, scale, strength = (
        rng.normal(size=(1, 4)),
        rng.normal(size=(1, 4)),
        np.array([0.5, 1.0, 2.0, 3.0]),
        np.array([0.7]),
    )

    def divergence(mean, rho):
        s = np.logaddexp(0.0, rho)
        return 0.7 * float(np.sum(np.log(scale / s) + (s**2 + mean**2) / (2 * scale**2) - 0.5))

    d_mean, d_rho, variance = np.zeros((1, 4)), np.zeros((1, 4)), np.empty((1, 4))
    squared_softplus(rho, np.ones(4, dtype=bool), variance)
    penalty(mean, rho, scale, strength, d_mean, d_rho, variance)
    for j in range(4):
        step = np.zeros((1, 4))
        step[0, j] = STEP
        assert d_mean[0, j] == pytest.approx(
            (divergence(mean + step, rho) - divergence(mean - step, rho)) / (2 * STEP), rel=1e-6
        )
        assert d_rho[0, j] == pytest.approx(
            (divergence(mean, rho + step) - divergence(mean, rho - step)) / (2 * STEP), rel=1e-6
        )


def test_adams_first_step_has_the_length_of_the_rate():
    """Kingma & Ba (2015): with the bias corrected the first step is rate times the sign of the gradient."""
    weights, gradient = np.zeros((1, 3)), np.array([[0.5, -2.0, 1e-3]])
    adam(weights, gradient, np.zeros((1, 3)), np.zeros((1, 3)), 1, 0.01, 10.0)
    np.testing.assert_allclose(weights, [[-0.01, 0.01, -0.01]], rtol=1e-4)


def test_small_products_keep_to_one_thread_and_give_the_others_back():
    def counts():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        with threads(Layout((8, 50, 9)), 32):
            assert counts() == {1}
        assert counts() == {2}
        with threads(Layout((8, 4096, 4096, 9)), 32):
            assert counts() == {2}
