"""Variational inference: against the exact posterior where there is one, against NUTS elsewhere."""

import tracemalloc

import dask.array as da
import numpy as np
import preliz as pz
import pytest

import bayesmix as bm
from bayesmix.engines import advi as advi_module
from bayesmix.engines.advi import _elbo_and_gradient, _Normal, pareto_khat, standardised_draws
from bayesmix.engines.minibatches import Objective, batches_in_memory
from bayesmix.engines.newton import newton_mode
from bayesmix.engines.streamed_posterior import prior_of
from bayesmix.posterior import posterior_of
from bayesmix.posterior.mode import find_mode

FAITHFUL = bm.datasets.load("faithful")
QUIET = {"progressbar": False}


class Gaussian:
    """A posterior that is normal: ADVI is exact there."""

    def __init__(self, mean, cov):
        self.mean, self.precision, self.n_dim = mean, np.linalg.inv(cov), len(mean)

    def value_and_gradient(self, vector):
        slope = -self.precision @ (vector - self.mean)
        return 0.5 * (vector - self.mean) @ slope, slope

    def step_lengths(self, vector):
        return np.full(len(vector), 1e-4)


@pytest.mark.parametrize("method", ["fullrank", "meanfield"])
def test_gradient_of_the_elbo_is_its_derivative(method):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    posterior = Gaussian(rng.normal(size=3), root @ root.T + np.eye(3))
    family = _Normal.around(find_mode(posterior, np.zeros(3)), posterior, method)
    parameters = family.parameters + 0.3 * rng.normal(size=len(family.parameters))
    z = rng.normal(size=(16, 3))
    gradient = _elbo_and_gradient(posterior, family.at(parameters), z)[1]
    for i in range(len(parameters)):
        step = np.zeros_like(parameters)
        step[i] = 1e-6
        up = _elbo_and_gradient(posterior, family.at(parameters + step), z)[0]
        down = _elbo_and_gradient(posterior, family.at(parameters - step), z)[0]
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-6), i


def test_exact_for_a_normal_posterior():
    """Full rank finds mean, covariance and evidence; mean field the known variances 1 / precision (Bishop 2006, 10.1.2)."""
    from bayesmix.engines.advi import maximise_on_fixed_draws

    rng = np.random.default_rng(2)
    cov = np.array([[2.0, 0.9], [0.9, 1.0]])
    posterior = Gaussian(np.array([3.0, -1.0]), cov)
    mode = find_mode(posterior, np.zeros(2))
    found = maximise_on_fixed_draws(posterior, _Normal.around(mode, posterior, "fullrank"), rng)
    assert found.converged
    assert found.trace[-1] == pytest.approx(0.5 * np.log(np.linalg.det(2 * np.pi * cov)), abs=1e-6)
    spread = found.family.basis @ found.family.factor()
    np.testing.assert_allclose(found.family.draw(np.zeros((1, 2)))[0][0], posterior.mean, atol=1e-4)
    np.testing.assert_allclose(spread @ spread.T, cov, atol=1e-3)  # the optimiser's tolerance; the draws add nothing
    found = maximise_on_fixed_draws(posterior, _Normal.around(mode, posterior, "meanfield"), rng)
    spread = found.family.basis @ found.family.factor()
    np.testing.assert_allclose(np.diag(spread @ spread.T), 1 / np.diag(posterior.precision), rtol=1e-3)


@pytest.fixture(scope="module")
def nuts():
    return bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, **QUIET)


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({}, (0.85, 1.15)),
        ({"batch_size": 136}, (0.7, 1.3)),
        ({"method": "meanfield"}, (0.5, 1.15)),  # too narrow where coordinates are correlated: known, and not hidden
    ],
    ids=str,
)
def test_close_to_nuts_on_faithful(nuts, options, widths):
    fit = bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, **options, **QUIET)
    assert fit.converged, fit.message
    assert f"k-hat is {fit.tree.attrs['khat']:.2f}" in fit.message
    for name in ("weights", "mu", "cov"):
        ours, theirs = (
            f.tree["posterior"][name].values.reshape(-1, *f.tree["posterior"][name].shape[2:]) for f in (fit, nuts)
        )
        shift = np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / theirs.std(axis=0)
        assert shift.max() < 0.35, (name, shift)  # in posterior sd; KL projection plus 1000 draws' error of 0.03
        width = ours.std(axis=0) / theirs.std(axis=0)
        assert widths[0] < width.min() and width.max() < widths[1], (name, width)


def test_schema_is_that_of_nuts(nuts):
    fit = bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, draws=200, **QUIET)
    for name in ("weights", "mu", "cov"):
        assert fit.tree["posterior"][name].dims == nuts.tree["posterior"][name].dims
    assert fit.tree["posterior"].sizes["chain"] == 1
    assert fit.tree["posterior"].sizes["draw"] == 200
    assert fit.tree["sample_stats/log_p"].shape == fit.tree["sample_stats/log_q"].shape == (1, 200)
    assert fit.tree["log_likelihood/x"].shape == (1, 200, 272)
    assert "labels" in fit.tree.children and "posterior_predictive" in fit.tree.children


def test_an_elbo_that_is_not_finite_has_not_converged():
    """Where the posterior has no density about its mode the optimiser cannot begin, which it takes for an optimum."""
    from bayesmix.engines.advi import maximise_on_fixed_draws

    class Bounded(Gaussian):
        def value_and_gradient(self, vector):
            value, slope = super().value_and_gradient(vector)
            return (value if np.all(np.abs(vector) < 1.0) else -np.inf), slope

    posterior = Bounded(np.zeros(2), np.eye(2))
    found = maximise_on_fixed_draws(
        posterior, _Normal.around(find_mode(posterior, np.zeros(2)), posterior, "fullrank"), np.random.default_rng(1)
    )
    assert not found.converged and "not finite" in found.reason


def test_elbo_is_below_the_evidence():
    """One normal component with one row's worth of prior: Laplace's evidence is exact to 0.1 nats at N = 272."""
    mixture = bm.Mixture(bm.Normal(), 1)
    data = mixture.check(FAITHFUL["waiting"])
    fit = bm.advi(mixture, data, random_seed=1, **QUIET)
    posterior = posterior_of(mixture, data)
    mode = find_mode(posterior, posterior.to_vector(fit.estimates))
    assert fit.tree.attrs["elbo"] < mode.log_evidence + 0.1
    assert fit.tree.attrs["elbo"] > mode.log_evidence - 0.5


def test_khat_tells_good_from_bad():
    """A proposal half as wide as its normal target has ratios with tail index 1 - (1/2)^2 = 0.75, one wider has bounded ones.

    With x = z / 2 the ratio is exp(1.5 x^2), so P(ratio > t) falls like t^-(1 / 0.75): k = 0.75 in the limit; the
    logarithmic factor of the normal tail makes it smaller at 10 000 draws.
    """
    x = 0.5 * np.random.default_rng(1).standard_normal(10_000)
    assert 0.5 < pareto_khat(-0.5 * x**2 + 0.5 * (x / 0.5) ** 2) < 0.85
    wide = 1.5 * np.random.default_rng(2).standard_normal(10_000)
    assert pareto_khat(-0.5 * wide**2 + 0.5 * (wide / 1.5) ** 2) < 0.3


def test_same_seed_same_result():
    fits = [bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=4, draws=100, **QUIET) for _ in range(2)]
    np.testing.assert_array_equal(*(fit.tree["posterior/mu"].values for fit in fits))


# -- minibatches -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=["fullrank", "meanfield"])
def away_from_the_mode(request):
    """A posterior of Old Faithful, its mode, and a member of the family that is not the optimum."""
    mixture = bm.Mixture(bm.MvNormal(), 2)
    posterior = posterior_of(mixture, mixture.check(FAITHFUL))
    start = posterior.to_vector(bm.em(mixture, FAITHFUL, n_init=4, random_seed=1, **QUIET).estimates)
    mode = find_mode(posterior, start)
    family = _Normal.around(mode, posterior, request.param)
    rng = np.random.default_rng(3)
    moved = family.at(family.parameters + 0.1 * rng.normal(size=len(family.parameters)))
    return posterior, mode, Objective(family, mode, *posterior.value_and_gradient(mode.vector)), moved


def test_control_variates_leave_the_expectation_as_it_is(away_from_the_mode):
    """Over draws with the exact moments of a normal nothing changes; batches that make up all rows average to them."""
    posterior, _, objective, family = away_from_the_mode
    z = standardised_draws(64, family.n_dim, np.random.default_rng(1))
    elbo, gradient, _ = _elbo_and_gradient(posterior, family, z)
    whole = objective.estimate(posterior, family, z)
    assert whole[0] == pytest.approx(elbo, abs=1e-7)
    np.testing.assert_allclose(family.in_parameters(*whole[1:]), gradient, atol=1e-6)
    batches = batches_in_memory(posterior, 68, np.random.default_rng(2))
    parts = [objective.estimate(next(batches), family, z) for _ in range(272 // 68)]
    for found, exact in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_allclose(np.mean(found, axis=0), exact, atol=1e-6)


def test_control_variates_take_the_noise_away(away_from_the_mode):
    """The gradient of a quarter of the rows alone has variance 4 in every direction; with them it has little."""
    posterior, _, objective, family = away_from_the_mode
    batches = batches_in_memory(posterior, 68, np.random.default_rng(2))
    rng = np.random.default_rng(3)
    found = [objective.estimate(next(batches), family, rng.normal(size=(8, family.n_dim)))[1] for _ in range(200)]
    assert np.mean(np.var(found, axis=0)) < 0.5


def test_newton_finds_the_same_mode():
    mixture = bm.Mixture(bm.MvNormal(), 2)
    posterior = posterior_of(mixture, mixture.check(FAITHFUL))
    start = posterior.to_vector(bm.em(mixture, FAITHFUL, n_init=4, random_seed=1, **QUIET).estimates)
    ours, theirs = newton_mode(posterior, prior_of(posterior), start), find_mode(posterior, start)
    assert ours.log_density == pytest.approx(theirs.log_density, abs=1e-9)
    assert ours.log_evidence == pytest.approx(theirs.log_evidence, abs=1e-5)
    np.testing.assert_allclose(ours.basis @ ours.basis.T, theirs.basis @ theirs.basis.T, rtol=1e-3, atol=1e-9)


# -- data that are not in memory ---------------------------------------------------------------------------------------------
def three_groups(n, seed=1):
    """Sorted, so that no chunk is like another."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.normal([-4.0, 0.0, 5.0], [1.0, 1.5, 0.8], size=(n // 3, 3)).ravel())


def in_units(fit, reference):
    """Shift of means in standard deviations of the reference, and ratio of standard deviations."""
    for name in fit.estimates:
        one, other = (f.tree["posterior"][name].values[0] for f in (fit, reference))
        yield (
            name,
            np.abs(one.mean(axis=0) - other.mean(axis=0)) / other.std(axis=0),
            one.std(axis=0) / other.std(axis=0),
        )


@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_give_what_memory_gives(weighted):
    x, mixture = three_groups(6000), bm.Mixture(bm.Normal(), 3)
    weights = np.random.default_rng(5).integers(1, 4, size=len(x)).astype(float) if weighted else None
    inside = bm.advi(mixture, x, weights=weights, random_seed=1, **QUIET)
    outside = bm.advi(mixture, da.from_array(x, chunks=1100), weights=weights, batch_size=500, random_seed=2, **QUIET)
    assert outside.converged, outside.message
    assert outside.tree.attrs["khat"] < 0.7
    # the run may lose 0.002 nats per coordinate, of 8, in the ELBO; the rest is Monte Carlo
    assert abs(outside.tree.attrs["elbo"] - inside.tree.attrs["elbo"]) < 0.02 + 4 * outside.tree.attrs["elbo_error"]
    for name, shift, width in in_units(outside, inside):
        assert shift.max() < 4 * np.sqrt(2 / 1000) + 0.06, (name, shift)  # 0.06^2 / 2 = 0.002 nats
        assert np.abs(np.log(width)).max() < 4 * np.sqrt(1 / 1000) + 0.05, (name, width)


def test_a_fit_of_chunks_keeps_no_rows(tmp_path):
    x, mixture = three_groups(6000), bm.Mixture(bm.Normal(), 3)
    x.astype("f4").tofile(tmp_path / "x.f4")
    mapped = np.memmap(tmp_path / "x.f4", dtype="f4", mode="r", shape=x.shape)
    start = bm.em(mixture, mapped, n_init=5, random_seed=1, **QUIET)
    fit, again = (bm.advi(mixture, mapped, init=start, draws=200, random_seed=1, **QUIET) for _ in range(2))
    np.testing.assert_array_equal(fit.tree["posterior/mu"].values, again.tree["posterior/mu"].values)
    assert fit.n_obs == 6000 and fit.tree["observed_data/x"].sizes["obs"] == 0
    assert "There are no values of single rows" in fit.message
    assert {"log_likelihood", "posterior_predictive"}.isdisjoint(fit.tree.children)
    assert {"posterior", "labels", "sample_stats", "log_prior"} <= set(fit.tree.children)
    assert start.log_likelihood - 20 < fit.log_likelihood < start.log_likelihood  # half of its 8 parameters below
    fit.save(tmp_path / "fit.nc")
    assert bm.load(tmp_path / "fit.nc").logpdf([0.0]).shape == (1,)
    # what log_p leaves out of the prior is the Jacobian of the coordinates: weights, and sigma on the log scale
    draw = {name: fit.tree["posterior"][name].values[0] for name in ("weights", "sigma")}
    inside = posterior_of(mixture, mixture.check(np.asarray(mapped, dtype=float)))
    vector = inside.to_vector({name: fit.tree["posterior"][name].values[0, 3] for name in fit.estimates})
    value = inside.value_and_gradient(vector)[0]
    assert fit.tree["sample_stats/log_p"].values[0, 3] == pytest.approx(value, rel=1e-10)
    prior = sum(group.values[0] for group in fit.tree["log_prior"].dataset.data_vars.values())
    jacobian = np.log(draw["weights"]).sum(axis=1) + np.log(draw["sigma"]).sum(axis=1)
    log_likelihood = inside.likelihood.log_likelihood(inside.from_vector(vector))
    assert prior[3] + jacobian[3] + log_likelihood == pytest.approx(value, rel=1e-10)


def test_memory_does_not_grow_with_the_rows(monkeypatch):
    n, d, mixture = 800_000, 8, bm.Mixture(bm.MvNormal(covariance="spherical"), 2)

    class Blocks:
        shape = (n, d)

        def blocks(self):
            for i in range(40):
                rng = np.random.default_rng(i)
                yield rng.normal(size=(n // 40, d)) + 4.0 * rng.integers(2, size=(n // 40, 1))

    monkeypatch.setattr(advi_module, "POOL_CELLS", 2**18)
    start = bm.em(mixture, next(Blocks().blocks()), n_init=3, random_seed=1, **QUIET)
    tracemalloc.start()
    fit = bm.advi(mixture, Blocks(), init=start, batch_size=1000, draws=100, random_seed=1, **QUIET)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fit.converged, fit.message
    assert peak < 0.6 * 8 * n * d  # the rows take 51 MB, and are never there together


def test_repeated_rows_are_counted_and_kept():
    x, mixture = np.random.default_rng(1).poisson(np.repeat([2.0, 15.0], 2000)), bm.Mixture(bm.Poisson(), 2)
    fit = bm.advi(mixture, da.from_array(x, chunks=1000), random_seed=1, **QUIET)
    inside = bm.advi(mixture, x, random_seed=1, **QUIET)
    assert "distinct" in fit.message
    assert fit.tree.attrs["elbo"] == pytest.approx(inside.tree.attrs["elbo"], abs=1e-3)  # EM stops elsewhere


@pytest.mark.slow
def test_priors_outside_the_list_in_chunks():
    """A prior that PyTensor compiles, truncated where it makes no difference, against the compiled kernel's."""
    x = three_groups(3000)
    plain = bm.Mixture(bm.Normal(mu=pz.Normal(0, 5), sigma=pz.HalfNormal(2)), 3)
    graph = bm.Mixture(bm.Normal(mu=pz.Normal(0, 5), sigma=pz.Truncated(pz.HalfNormal(2), lower=0, upper=100)), 3)
    chunks = da.from_array(x, chunks=1000)
    ours, theirs = (bm.advi(m, chunks, batch_size=500, random_seed=1, **QUIET) for m in (plain, graph))
    error = np.hypot(ours.tree.attrs["elbo_error"], theirs.tree.attrs["elbo_error"])
    assert abs(ours.tree.attrs["elbo"] - theirs.tree.attrs["elbo"]) < 0.04 + 4 * error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "svgd"}, "fullrank"),
        ({"draws": 10}, "at least 100"),
        ({"batch_size": 1000}, "272"),
        ({"init": "x"}, "init="),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, **{**QUIET, **options})
