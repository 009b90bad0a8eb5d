"""Calibration: exact posteriors pass, wrong ones are caught and named, and the engines stay in their bands."""

import numpy as np
import preliz as pz
import pytest

import bayesmix as bm
from bayesmix.calibration import band, p_value, pits, quantities

QUIET = {"progressbar": False}
SHAPE, RATE = 3.0, 0.5
ONE_RATE = bm.Mixture(bm.Poisson(mu=pz.Gamma(SHAPE, RATE)), 1)
NORMAL = bm.Mixture(bm.Normal(mu=pz.Normal(0, 3), sigma=bm.ScaledInverseChiSquared(5, 1.0)), 2)


def conjugate(mixture, data, *, random_seed, progressbar, spread=1.0, shift=0.0):
    """The exact posterior of one Poisson rate under a Gamma prior, as an engine; or one too narrow, or off."""
    rng = np.random.default_rng(random_seed)
    x = data.values[:, 0]
    exact = rng.gamma(SHAPE + x.sum(), 1.0 / (RATE + len(x)), size=400)
    drawn = exact.mean() + spread * (exact - exact.mean()) + shift * exact.std()
    draws = {"weights": np.ones((1, 400, 1)), "mu": np.maximum(drawn, 1e-9).reshape(1, 400, 1)}
    return bm.Fit.assemble(mixture, data, draws=draws, attrs={"engine": "nuts", "converged": 1, "message": ""}, rng=rng)


def test_an_exact_posterior_is_calibrated():
    result = bm.calibrate(ONE_RATE, 200, n_obs=10, engine=conjugate, random_seed=1, **QUIET)
    assert result.calibrated, str(result)
    assert result.n == 200
    assert "stay in their simultaneous 95% bands over 200 data sets" in result.message
    pit = result.tree["prior_sbc"]["mu[0]"].values
    assert abs(pit.mean() - 0.5) < 4 / np.sqrt(12 * 200)  # four standard errors of the mean of uniforms


@pytest.mark.parametrize(
    ("fault", "told"),
    [({"spread": 0.5}, "too narrow: mu"), ({"spread": 2.0}, "middle too often: mu"), ({"shift": 1.0}, "mu")],
)
def test_a_wrong_posterior_is_caught(fault, told):
    result = bm.calibrate(ONE_RATE, 200, n_obs=10, engine=conjugate, random_seed=1, **fault, **QUIET)
    assert not result.calibrated
    assert told in result.message
    assert not result.table.loc["mu[0]", "inside"]


def test_an_engine_stays_in_its_bands():
    result = bm.calibrate(NORMAL, 30, n_obs=30, engine=bm.laplace, random_seed=2, **QUIET)
    assert result.calibrated, str(result)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [bm.nuts, bm.laplace, bm.gibbs], ids=["nuts", "laplace", "gibbs"])
def test_engines_stay_in_their_bands_on_many_data_sets(engine):
    result = bm.calibrate(NORMAL, 100, n_obs=40, engine=engine, random_seed=3, **QUIET)
    assert result.calibrated, str(result)


def test_what_is_ranked_does_not_know_labels():
    rng = np.random.default_rng(0)
    mixture = bm.Mixture(bm.MvNormal(), 3)
    data = mixture.check(rng.normal(size=(20, 2)))
    root = rng.normal(size=(5, 3, 2, 2))
    params = {
        "weights": rng.dirichlet(np.ones(3), 5),
        "mu": rng.normal(size=(5, 3, 2)),
        "cov": root @ root.swapaxes(2, 3),
    }
    order = rng.permuted(np.tile(np.arange(3), (5, 1)), axis=1)
    shuffled = {
        name: np.take_along_axis(value, order.reshape(order.shape + (1,) * (value.ndim - 2)), axis=1)
        for name, value in params.items()
    }
    plain, other = quantities(mixture, data, params), quantities(mixture, data, shuffled)
    assert len(plain) == 2 + 6 + 9 + 1  # weights, means, lower triangles, log-likelihood
    for name, value in plain.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-12)


def test_shares_below_count_draws_and_break_ties_at_random():
    mixture = bm.Mixture(bm.Poisson(), 1)
    data = mixture.check(np.array([1.0, 2.0, 5.0]))
    posterior = {"weights": np.ones((99, 1)), "mu": np.arange(1.0, 100.0)[:, None]}
    found = [
        pits(mixture, data, {"weights": np.ones(1), "mu": np.array([40.5])}, posterior, 99, np.random.default_rng(i))[
            "mu[0]"
        ]
        for i in range(200)
    ]
    assert 0.40 <= min(found) and max(found) <= 0.41  # 40 of 99 below: (40 + u) / 100
    assert np.std(found) > 0.002


def test_the_band_is_simultaneous():
    """Uniform samples leave a 90 % band in 10 % of cases: over 200 samples within four standard errors."""
    rng = np.random.default_rng(5)
    left = 0
    for _ in range(200):
        _, ecdf, lower, upper = band(rng.uniform(size=50), 0.9)
        left += bool(np.any((ecdf < lower - 1e-12) | (ecdf > upper + 1e-12)))
    assert abs(left / 200 - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 200)


def test_p_values_are_uniform_and_those_of_counting():
    """Of uniform samples a tenth are below 0.1, within four standard errors; of eight numbers by all their orders."""
    rng = np.random.default_rng(6)
    values = np.array([p_value(rng.uniform(size=60)) for _ in range(400)])
    for level in (0.1, 0.5):
        assert abs((values <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 400)
    assert p_value(rng.beta(0.5, 0.5, size=200)) < 0.01
    # two numbers, one point: both below 1/2 in a quarter of samples, both above in another
    assert abs(p_value(np.array([0.1, 0.2])) - 0.5) < 4 * 0.5 / np.sqrt(2000)
    assert p_value(np.array([0.1, 0.7])) == 1.0


def test_parts_are_combined():
    parts = [bm.calibrate(ONE_RATE, 20, n_obs=10, engine=conjugate, random_seed=seed, **QUIET) for seed in (1, 2)]
    whole = bm.Calibration.combine(parts)
    assert whole.n == 40 and whole.tree.attrs == parts[0].tree.attrs
    own = [part.tree["prior_sbc"]["mu[0]"].values for part in parts]
    np.testing.assert_array_equal(whole.tree["prior_sbc"]["mu[0]"].values, np.concatenate(own, axis=1))
    other = bm.calibrate(ONE_RATE, 20, n_obs=11, engine=conjugate, random_seed=3, **QUIET)
    with pytest.raises(ValueError, match="10 rows.*11 rows.*not of one kind"):
        bm.Calibration.combine([*parts, other])
    with pytest.raises(ValueError, match="at least 1"):
        bm.Calibration.combine([])


def test_the_same_seed_gives_the_same_ranks_and_failures_are_told():
    def moody(mixture, data, **options):
        if options["random_seed"] % 3 == 0:
            raise ValueError("not today")
        return conjugate(mixture, data, **options)

    first, second = (bm.calibrate(ONE_RATE, 40, n_obs=5, engine=moody, random_seed=7, **QUIET) for _ in range(2))
    np.testing.assert_array_equal(first.tree["prior_sbc"]["mu[0]"].values, second.tree["prior_sbc"]["mu[0]"].values)
    assert 0 < len(first.failures) < 40
    assert first.n + len(first.failures) == 40
    assert f"{len(first.failures)} fits failed and have no ranks; the first: ValueError: not today" in first.message


@pytest.mark.parametrize(
    ("mixture", "options", "told"),
    [
        (bm.Mixture(bm.Normal(), 2), {}, "default priors of mu, sigma are made from data"),
        (
            bm.Mixture(bm.MvNormal(mu=pz.Normal(0, 1), covariance="diag", sigma=pz.HalfNormal(1)), 2),
            {},
            "how many features",
        ),
        (ONE_RATE, {"n": 3}, "n=3"),
        (ONE_RATE, {"draws": 5}, "draws=5"),
    ],
)
def test_what_is_missing_is_said(mixture, options, told):
    with pytest.raises(ValueError, match=told):
        bm.calibrate(mixture, engine=conjugate, **{"n": 20, **options, **QUIET})


def test_default_priors_come_from_data_and_stay():
    counts = np.array([0, 1, 1, 2, 3, 3, 4, 6, 7, 9] * 3)
    result = bm.calibrate(bm.Mixture(bm.Poisson(), 1), 20, data=counts, engine=conjugate, random_seed=1, **QUIET)
    assert result.mixture.component.mu == bm.Mixture(bm.Poisson(), 1).priors(counts)["mu"]
    assert result.tree.attrs["n_obs"] == 30


def test_it_prints_and_draws():
    result = bm.calibrate(ONE_RATE, 30, n_obs=10, engine=conjugate, random_seed=1, **QUIET)
    assert "Calibration of conjugate" in str(result)
    assert max(map(len, str(result).splitlines())) <= 80
    panels = [panel for panel in result.plot().axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == ["mu[0]", "log_likelihood"]
