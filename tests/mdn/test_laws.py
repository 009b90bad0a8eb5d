"""Laws of probability for networks of every kind of family, whatever their weights; units; hard data, several seeds."""

import numpy as np
import pytest
from scipy import stats
from test_rowwise import FAMILIES

import bayesmix as bm
from bayesmix.mdn import network
from bayesmix.mdn.fit import MDNFit
from bayesmix.mdn.problem import Model

X_NEW = np.array([-0.7, 0.4])
CONTINUOUS = [name for name, (component, *_) in FAMILIES.items() if not component.discrete]
DISCRETE = [name for name in FAMILIES if name not in CONTINUOUS]


def untrained(name, seed=0):
    """Two members of three draws of weights nobody fitted, components far from each other among them."""
    component, _, law = FAMILIES[name]
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, size=60), law.rvs(size=60, random_state=rng).astype(float)
    model, inputs, data = Model.learn(bm.MDN(component, n_components=3, hidden=(6,)), x, y)
    weights = model.layout.start(6, rng).reshape(2, 3, -1)
    weights += 0.3 * rng.normal(size=weights.shape)
    attrs = {"engine": "map_estimate", "method": "point", "message": ""}
    return MDNFit.assemble(model, inputs, x, data, weights, {}, attrs), x, y


@pytest.mark.parametrize("name", FAMILIES)
def test_the_density_of_training_is_that_of_prediction(name):
    fit, x, y = untrained(name)
    draws = fit.tree["log_likelihood"].to_dataset()["y"].values.reshape(6, 60)
    np.testing.assert_allclose(np.logaddexp.reduce(draws) - np.log(6), fit.logpdf(x, y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_integrate_to_one_and_are_the_slope_of_the_cdf(name):
    fit, *_ = untrained(name)
    # outside the knots are 2e-5; a fifth of the tolerance
    knots = fit.quantile(
        X_NEW, [1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1 - 1e-4, 1 - 1e-5]
    ).values
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for i, x in enumerate(X_NEW):

        def density(y, x=x):
            return np.exp(fit.logpdf(np.full(np.size(y), x), np.atleast_1d(y)).values)

        half, middle = 0.5 * np.diff(knots[:, i]), 0.5 * (knots[1:, i] + knots[:-1, i])
        at = (middle[:, None] + half[:, None] * nodes).ravel()
        total = (half[:, None] * weights * density(at).reshape(-1, 40)).sum()
        assert total == pytest.approx(1.0, abs=1e-4)
        for y in knots[4:9, i]:
            h = 1e-5 * (knots[9, i] - knots[3, i])
            slope = (fit.cdf([x], [y + h]).item() - fit.cdf([x], [y - h]).item()) / (2 * h)
            assert slope == pytest.approx(density(y).item(), rel=1e-4)


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_sum_to_one_and_are_the_steps_of_the_cdf(name):
    fit, *_ = untrained(name)
    x = X_NEW[:1]
    counts = np.arange(0.0, 2.0 if name == "Bernoulli" else fit.quantile(x, 1 - 1e-7).item() + 1.0)
    p = np.exp(fit.logpdf(np.full(len(counts), x[0]), counts).values)
    assert p.sum() == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(np.cumsum(p), fit.cdf(np.full(len(counts), x[0]), counts).values, atol=1e-9)


@pytest.mark.parametrize("name", ["Normal", "Gamma", "Beta", "Poisson", "TruncatedNormal"])
def test_crps_is_that_of_draws(name):
    """E|Y - y| - E|Y - Y'| / 2 over draws (Gneiting & Raftery 2007, eq. 21)."""
    fit, _, y = untrained(name)
    x, y = X_NEW[:1], y[:1]
    draws = fit.sample(x, 40_000, random_seed=3).values[:, 0]
    each = np.abs(draws - y) - 0.5 * np.abs(draws - np.random.default_rng(0).permutation(draws))
    assert abs(fit.crps(x, y).item() - each.mean()) < 5 * each.std() / np.sqrt(len(each))


@pytest.mark.parametrize("component", [bm.Normal(), bm.StudentT(), bm.MvNormal()], ids=str)
@pytest.mark.parametrize("scale, shift", [(1e6, -3e6), (1e-6, 2e-6)])
def test_units_of_the_response_change_nothing_but_the_density(component, scale, shift):
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, size=120)
    y = np.sin(3 * x) + 0.2 * rng.normal(size=120)
    if isinstance(component, bm.MvNormal):
        y = np.column_stack([y, x**2 + 0.2 * rng.normal(size=120)])
    mdn = bm.MDN(component, n_components=2, hidden=(10,))
    options = {"members": 1, "epochs": 15, "random_seed": 0, "progressbar": False}
    one, other = (bm.map_estimate(mdn, x, values, **options) for values in (y, scale * y + shift))
    n_columns = 1 if y.ndim == 1 else y.shape[1]
    found = other.logpdf(x, scale * y + shift) + n_columns * np.log(scale)
    np.testing.assert_allclose(found, one.logpdf(x, y), atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x, y),
        lambda x, y: (x, 1e6 * y),
        lambda x, y: (x, 1e-6 * y),
        lambda x, y: (np.column_stack([x, np.full(len(x), 7.0)]), y),
        lambda x, y: (x, np.where(np.arange(len(y)) % 2, np.median(y), y)),
    ],
    ids=["as it is", "1e6", "1e-6", "constant column", "half one number"],
)
def test_ten_components_end_in_numbers_whatever_the_seed(change):
    """Collapse of a component, overflow or a division by a variance of zero would leave nan or inf."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(90, 4))
        x, y = change(x, np.exp(x[:, 0]) + 0.1 * rng.standard_t(2, size=90))
        mdn = bm.MDN(bm.Normal(), n_components=10)
        options = {"members": 1, "epochs": 30, "random_seed": seed, "progressbar": False}
        for fit in (bm.map_estimate(mdn, x, y, **options), bm.advi(mdn, x, y, temperature=0.1, draws=5, **options)):
            assert np.all(np.isfinite(fit.weights)) and np.all(np.isfinite(fit.logpdf(x, y)))
            assert np.all(np.isfinite(fit.mean(x)))


def test_nothing_but_the_family_and_the_posterior_is_compiled_for():
    """Components, temperature, prior, batch, units, members and seed are arguments of functions compiled once."""
    x = np.linspace(-1, 1, 90)
    y = x + 0.1 * stats.norm.ppf((np.arange(90) + 0.5) / 90)[::-1]
    options = {"epochs": 2, "progressbar": False}
    compiled = [getattr(network, name) for name in ("forward", "backward", "adam", "penalty", "squared_softplus")]
    bm.map_estimate(bm.MDN(bm.Normal()), x, y, random_seed=0, **options)
    bm.advi(bm.MDN(bm.Normal()), x, y, temperature=1.0, random_seed=0, **options)
    before = [len(function.signatures) for function in compiled]
    for k, prior, batch, hidden in ((1, 0.5, 7, (3,)), (10, 2.0, 64, (20, 20)), (4, 1.0, 500, ())):
        mdn = bm.MDN(bm.Normal(), n_components=k, prior_scale=prior, hidden=hidden)
        bm.map_estimate(mdn, np.column_stack([x, x]), y, batch_size=batch, members=2, random_seed=k, **options)
        bm.advi(mdn, x, y, batch_size=batch, temperature=0.1 * k, random_seed=k, **options)
    assert [len(function.signatures) for function in compiled] == before
