"""Laplace: posterior and evidence against exact answers, other people's draws and brute force; when it must refuse."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import preliz as pz
import pytest
from quadrature import log_evidence_of_two_poisson_components
from reference import answers, columns
from scipy import special, stats

import bayesmix as bm
from bayesmix.engines import laplace as laplace_module
from bayesmix.engines.laplace import enough_proposals, smoothed_weights, systematic
from bayesmix.posterior import posterior_of
from bayesmix.posterior.batch import log_densities
from bayesmix.posterior.proposal import Proposal
from bayesmix.posterior.symmetry import Symmetry

QUIET = {"progressbar": False, "random_seed": 1}
FAITHFUL = bm.datasets.load("faithful")
THREE = np.random.default_rng(3).normal([0, 6, 13], 1.0, size=(60, 3)).ravel()


def attributes(fit):
    return SimpleNamespace(**fit.tree.attrs)


@pytest.fixture(scope="module")
def faithful_fit():
    return bm.laplace(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, **QUIET)


# -- the answers -------------------------------------------------------------------------------------------------------------
def test_posteriordb_low_dim_gauss_mix():
    """Means and sds of Stan's reference draws (posteriordb), and the evidence by someone else's importance sampling."""
    component = bm.Normal(mu=pz.Normal(0, 2), sigma=pz.HalfNormal(2))
    mixture = bm.Mixture(component, 2, weights=bm.Dirichlet([5.0, 5.0]))
    fit = bm.laplace(mixture, columns("low_dim_gauss_mix.csv")["y"], draws=3000, **QUIET)
    assert fit.converged and fit.verdict == "converged", fit.message
    reference, found = answers("low_dim_gauss_mix"), attributes(fit)
    posterior = fit.tree["posterior"]
    ours = {
        "theta": posterior["weights"].values[0, :, 0],
        **{f"mu[{k + 1}]": posterior["mu"].values[0, :, k] for k in range(2)},
        **{f"sigma[{k + 1}]": posterior["sigma"].values[0, :, k] for k in range(2)},
    }
    for name, draws in ours.items():
        theirs, sd = reference["posterior"][name], draws.std()
        z = (draws.mean() - theirs["mean"]) / np.hypot(sd / np.sqrt(found.ess), theirs["mcse_mean"])
        assert abs(z) < 3, (name, z)
        z_sd = (sd - theirs["sd"]) / np.hypot(sd / np.sqrt(2 * found.ess), theirs["mcse_sd"])  # of a normal posterior
        assert abs(z_sd) < 3, (name, "sd", z_sd)
    theirs = reference["independent_importance_sampling"]
    error = np.hypot(found.log_evidence_error, theirs["log_evidence_se"])
    assert abs(found.log_evidence - theirs["log_evidence"]) < 4 * error


@pytest.mark.parametrize("proposal", ["student", "normal"])
def test_evidence_of_one_poisson_component(proposal):
    """Gamma-Poisson is conjugate: log p(x) = log of gamma functions."""
    x, (a, b) = bm.datasets.load("death_notices")["deaths"].values, (2.0, 1.0)
    freq = bm.datasets.load("death_notices")["freq"].values
    n, total = freq.sum(), freq @ x
    exact = a * np.log(b) - special.gammaln(a) + special.gammaln(a + total) - (a + total) * np.log(b + n)
    exact -= freq @ special.gammaln(x + 1.0)
    assert exact == pytest.approx(answers("death_notices")["bayes_exact"]["log_evidence_k1_exact"], abs=1e-6)
    fit = bm.laplace(bm.Mixture(bm.Poisson(mu=pz.Gamma(a, b)), 1), x, weights=freq, proposal=proposal, **QUIET)
    assert fit.converged
    assert abs(attributes(fit).log_evidence - exact) < 4 * attributes(fit).log_evidence_error
    assert attributes(fit).log_evidence_error < 0.01
    mean, sd = (a + total) / (b + n), np.sqrt(a + total) / (b + n)
    assert abs(fit.tree["posterior/mu"].values.mean() - mean) < 4 * sd / np.sqrt(attributes(fit).ess)


@pytest.mark.parametrize("high", [[14, 17, 20, 22], [30, 33, 35, 41]])
def test_evidence_counts_both_labellings(high):
    """Two groups of counts apart from each other: the integral over all rates and weights by quadrature."""
    x = np.array([0, 1, 2, 2, 3, *high])
    fit = bm.laplace(bm.Mixture(bm.Poisson(mu=pz.Gamma(1, 0.1)), 2), x, **QUIET)
    assert fit.converged, fit.message
    exact = log_evidence_of_two_poisson_components(x, 1.0, 0.1)
    assert abs(attributes(fit).log_evidence - exact) < 4 * attributes(fit).log_evidence_error
    assert attributes(fit).log_evidence_error < 0.02


def test_weights_count_rows():
    """Rows given twice and rows of weight 2 have the same evidence, to the accuracy of the mode."""
    mixture = bm.Mixture(bm.Normal(mu=pz.Normal(6, 10), sigma=pz.HalfNormal(5)), 3)
    twice = bm.laplace(mixture, np.concatenate([THREE, THREE]), **QUIET)
    weighted = bm.laplace(mixture, THREE, weights=np.full(len(THREE), 2.0), **QUIET)
    assert attributes(twice).log_evidence == pytest.approx(attributes(weighted).log_evidence, abs=1e-3)


def test_draws_are_resampled_by_importance():
    """A Poisson rate with 9 counts has a skewed posterior, far from the proposal's: draws follow it all the same."""
    x, (a, b) = np.array([0, 1, 0, 0, 2, 0, 0, 1, 0]), (0.5, 0.5)
    fit = bm.laplace(bm.Mixture(bm.Poisson(mu=pz.Gamma(a, b)), 1), x, draws=2000, **QUIET)
    draws = fit.tree["posterior/mu"].values.ravel()
    exact = stats.gamma(a + x.sum(), scale=1 / (b + len(x)))
    # the bound of Kolmogorov and Smirnov at one in a thousand, for as many independent draws
    assert stats.kstest(draws, exact.cdf).statistic < 1.95 / np.sqrt(attributes(fit).ess)


# -- the parts ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("component", "k"),
    [
        (bm.MvNormal(), 3),
        (bm.MvNormal(covariance="tied"), 3),
        (bm.MvNormal(covariance="spherical"), 2),
        (bm.MvNormal(covariance="diag"), 1),
    ],
    ids=str,
)
def test_symmetrised_density_is_the_average_over_labellings(component, k):
    """Against SciPy's multivariate t at the permuted parameters, with the Jacobian 1 of a permutation."""
    data = bm.Mixture(component, k).check(FAITHFUL)
    posterior = posterior_of(bm.Mixture(component, k), data)
    rng = np.random.default_rng(0)
    fit = bm.em(posterior.mixture, FAITHFUL, n_init=4, **QUIET)
    centre = posterior.to_vector(fit.estimates)
    symmetry, n = Symmetry.of(posterior, centre), len(centre)
    scales = 0.3 * np.tril(rng.normal(size=(2, n, n)), -1) + np.eye(n)
    proposal = Proposal(symmetry, np.stack([centre, centre + 0.3]), scales, np.log([0.4, 0.6]), 7.0)
    vectors, _ = proposal.draw(20, rng)

    def unsymmetrised(at):
        parts = [
            stats.multivariate_t(c, s @ s.T, df=7).logpdf(at) for c, s in zip(proposal.centres, scales, strict=True)
        ]
        return np.logaddexp(np.log(0.4) + parts[0], np.log(0.6) + parts[1])

    params = posterior.from_vector(vectors)
    orders = list(permutations(range(k)))
    total = []
    for order in orders:
        renamed = {name: value[:, list(order)] for name, value in params.items()}
        total.append(
            unsymmetrised([posterior.to_vector({name: v[i] for name, v in renamed.items()}) for i in range(20)])
        )
    expected = np.logaddexp.reduce(np.array(total)) - np.log(len(orders))
    np.testing.assert_allclose(proposal.log_density(vectors), expected, rtol=1e-7)


def test_symmetrised_density_is_the_same_under_every_labelling():
    """Five components, 120 labellings, some of them left out of the search as negligible."""
    mixture = bm.Mixture(bm.Normal(), 5)
    posterior = posterior_of(mixture, mixture.check(THREE))
    centre = posterior.to_vector(bm.em(mixture, THREE, n_init=4, **QUIET).estimates)
    symmetry = Symmetry.of(posterior, centre)
    proposal = Proposal(symmetry, centre[None], 0.5 * np.eye(len(centre))[None], np.zeros(1), 0.0)
    vectors, _ = proposal.draw(50, np.random.default_rng(0))
    here = proposal.log_density(vectors)
    for order in ([4, 3, 2, 1, 0], [2, 0, 1, 4, 3]):
        np.testing.assert_allclose(proposal.log_density(symmetry.permuted(vectors, np.array(order))), here, rtol=1e-10)


def test_too_many_overlapping_labellings_are_refused_in_words():
    """Nine components at the same place: 362 880 labellings, all as likely."""
    x = np.random.default_rng(0).poisson(9.0, 40)
    mixture = bm.Mixture(bm.Poisson(mu=pz.Gamma(9, 1)), 9)
    start = bm.Fit.from_parameters(mixture, weights=np.full(9, 1 / 9), mu=np.linspace(8.9, 9.1, 9))
    fit = bm.laplace(mixture, x, init=start, draws=100, **QUIET)
    assert not fit.converged
    assert np.isnan(attributes(fit).log_evidence)
    assert "labellings" in fit.message and "bm.nuts" in fit.message


def test_many_densities_are_those_of_one_at_a_time():
    for component in (bm.MvNormal(), bm.MvNormal(covariance="diag")):
        mixture = bm.Mixture(component, 2)
        posterior = posterior_of(mixture, mixture.check(FAITHFUL))
        centre = posterior.to_vector(bm.em(mixture, FAITHFUL, n_init=4, **QUIET).estimates)
        vectors = centre + 0.1 * np.random.default_rng(0).normal(size=(30, len(centre)))
        one_by_one = [posterior.value_and_gradient(vector)[0] for vector in vectors]
        np.testing.assert_allclose(log_densities(posterior, vectors), one_by_one, rtol=1e-12)


def test_systematic_resampling_rounds_up_or_down():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(50, 0.3))
    counts = np.array([systematic(probabilities, 40, rng) for _ in range(4000)])
    assert np.all(counts.sum(axis=1) == 40)
    assert np.all((counts >= np.floor(40 * probabilities)) & (counts <= np.ceil(40 * probabilities)))
    # a count varies by at most 1/2, so its mean over 4000 by 0.008: five of these
    np.testing.assert_allclose(counts.mean(axis=0), 40 * probabilities, atol=0.04)


def test_smoothed_weights_keep_the_mean_ratio():
    """Ratios of a normal density to a Student-t one average to 1; impossible proposals have weight 0."""
    z = stats.t(7).rvs(20_000, random_state=1)
    log_ratios = stats.norm.logpdf(z) - stats.t(7).logpdf(z)
    log_weights, khat, log_mean = smoothed_weights(log_ratios)
    assert khat < 0.5
    assert abs(log_mean) < 4 * np.std(np.exp(log_ratios)) / np.sqrt(20_000)
    assert np.mean(np.exp(log_weights)) == pytest.approx(1.0)
    half = np.where(np.arange(20_000) % 2 == 0, log_ratios, -np.inf)
    log_weights, _, log_half = smoothed_weights(half)
    assert log_half == pytest.approx(np.log(0.5 * np.exp(log_ratios[::2]).mean()), abs=0.01)
    assert np.all(np.isneginf(log_weights[1::2]))


# -- when it must refuse -----------------------------------------------------------------------------------------------------
def test_too_many_components_are_refused_in_words():
    """Five components where there are three: the posterior is far from normal, and k-hat says so."""
    fit = bm.laplace(bm.Mixture(bm.Normal(), 5), THREE, **QUIET)
    assert attributes(fit).khat >= 0.7
    assert not fit.converged
    assert fit.verdict == "not converged: k-hat is too large"
    assert "bm.nuts" in fit.message and f"{attributes(fit).khat:.2f}" in fit.message
    with pytest.warns(UserWarning, match="k-hat"):
        fit.summary()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proposal": "cauchy"}, "proposal='cauchy'"),
        ({"proposal": None}, "student"),
        ({"draws": 10}, "at least 100"),
        ({"draws": True}, "at least 100"),
        ({"draws": 500.0}, "at least 100"),
        ({"init": "random"}, "init="),
        ({"random_seed": -1}, "0 or more"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        bm.laplace(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, **{**QUIET, **options})


def test_priors_that_tell_components_apart_are_refused():
    mixture = bm.Mixture(bm.Normal(), 2, weights=bm.Dirichlet([1.0, 3.0]))
    with pytest.raises(ValueError, match=r"Dirichlet\(\[1, 3\]\).*does not treat the components alike"):
        bm.laplace(mixture, FAITHFUL["waiting"], **QUIET)


def test_swapped_arguments():
    with pytest.raises(TypeError, match="swapped"):
        bm.laplace(FAITHFUL, bm.Mixture(bm.MvNormal(), 2))


# -- the fit -----------------------------------------------------------------------------------------------------------------
def test_groups_and_attributes(faithful_fit):
    tree, found = faithful_fit.tree, attributes(faithful_fit)
    assert tree["posterior/mu"].shape == (1, 1000, 2, 2)
    assert {"log_p", "log_q", "log_weight"} <= set(tree["sample_stats"].data_vars)
    assert {"labels", "log_likelihood", "posterior_predictive", "observed_data"} <= set(tree.children)
    assert found.khat < 0.5
    assert 950 <= found.ess <= 1000
    assert found.n_proposals >= 4000
    assert found.seconds > 0
    # log p - log q = log evidence + log weight, but for the smoothing of the tail
    stats_of_draws = tree["sample_stats"].dataset
    shift = stats_of_draws["log_p"] - stats_of_draws["log_q"] - stats_of_draws["log_weight"]
    assert abs(float(shift.median()) - found.log_evidence) < 1e-8


def test_log_p_is_the_joint_density(faithful_fit):
    """Against SciPy: likelihood, priors, and the Jacobian of the free coordinates."""
    fit, prior = faithful_fit, faithful_fit.mixture.priors(FAITHFUL)
    draw = {name: fit.tree["posterior"][name].values[0, 7] for name in ("weights", "mu", "cov")}
    x, k, d = fit.data.values, 2, 2
    rows = sum(draw["weights"][j] * stats.multivariate_normal(draw["mu"][j], draw["cov"][j]).pdf(x) for j in range(k))
    value = np.log(rows).sum() + np.log(draw["weights"]).sum()  # weights uniform; log ratios have Jacobian w1 w2
    location = prior["mu"].kwargs
    value += stats.norm(location["mu"], location["sigma"]).logpdf(draw["mu"]).sum()
    for j in range(k):
        value += stats.invwishart(prior["cov"].nu, np.array(prior["cov"].psi)).logpdf(draw["cov"][j])
        factor = np.linalg.inv(np.linalg.cholesky(draw["cov"][j]))
        # d Sigma / d P is 2^D prod P_ii^-(2 D + 2 - i), and P_ii is a logarithm
        value += d * np.log(2) + np.sum((np.arange(1, d + 1) - 2 * d - 1) * np.log(np.diag(factor)))
    assert fit.tree["sample_stats/log_p"].values[0, 7] == pytest.approx(value, abs=1e-8)


def test_what_comes_after_a_fit(tmp_path):
    mixture, waiting = bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"]
    fit = bm.laplace(mixture, waiting, draws=200, **QUIET)
    assert set(fit.summary().columns) >= {"mean", "sd"}
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert again.engine == "laplace" and again.message == fit.message and again.converged
    assert again.tree.attrs["log_evidence"] == fit.tree.attrs["log_evidence"]
    em = bm.em(mixture, waiting, n_init=4, uncertainty="laplace", draws=200, **QUIET)
    result = bm.compare({"EM": em, "Laplace": again})
    assert "Laplace" in repr(result)
    assert "resampled by their importance" in result.elpd.loc["Laplace", "basis"]
    assert fit.plot() is not None and result.plot() is not None
    assert bm.relabel(again).verdict == "converged"


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.9])
def test_no_more_proposals_than_the_draws_need(spread):
    """Other weights of the same distribution: so many are enough for 90 %, and three fifths of them are not."""
    rng = np.random.default_rng(1)
    pilot = spread * rng.standard_normal(4000) - 0.5 * spread**2  # logarithms of log-normal weights of mean 1
    draws = 20_000
    worth = []
    for n in (enough_proposals(pilot, draws), int(0.6 * enough_proposals(pilot, draws))):
        weights = np.exp(spread * rng.standard_normal(n))
        counts = systematic(weights / weights.sum(), draws, rng)
        worth.append(draws / np.sum(counts.astype(float) ** 2))
    assert worth[1] < 0.9 < worth[0] + 0.015  # weights of 4000 and of 20 000 have second moments that differ by so much


def test_a_proposal_that_learns_needs_fewer(monkeypatch):
    """Small data whose posterior is skewed: k-hat, number and evidence with and without learning from the first proposals."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(-4, 1, 90), rng.normal(0, 1.5, 150), rng.normal(5, 0.8, 60)])
    mixture, found = bm.Mixture(bm.Normal(), 3), []
    for known in (laplace_module.KNOWN, np.inf):
        monkeypatch.setattr(laplace_module, "KNOWN", known)
        found.append(attributes(bm.laplace(mixture, x, draws=4000, **QUIET)))
    learnt, plain = found
    assert (learnt.adapted, plain.adapted) == (1, 0)
    assert learnt.n_proposals < 0.75 * plain.n_proposals
    assert learnt.ess_proposals / learnt.n_proposals > plain.ess_proposals / plain.n_proposals
    assert abs(learnt.log_evidence - plain.log_evidence) < 4 * np.hypot(
        learnt.log_evidence_error, plain.log_evidence_error
    )


def test_leave_one_out_does_not_weigh_twice(faithful_fit):
    import arviz as az

    from bayesmix.comparison import leave_one_out

    assert leave_one_out(faithful_fit)[0].elpd == az.loo(faithful_fit.tree, var_name="x").elpd


def test_same_seed_same_result():
    mixture, waiting = bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"]
    fit, again, other = (
        bm.laplace(mixture, waiting, draws=200, random_seed=seed, progressbar=False) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(again.tree["posterior/mu"].values, fit.tree["posterior/mu"].values)
    assert again.tree.attrs["log_evidence"] == fit.tree.attrs["log_evidence"]
    assert other.tree.attrs["log_evidence"] != fit.tree.attrs["log_evidence"]


def test_cores_do_not_change_the_numbers(monkeypatch):
    from bayesmix.posterior import batch, proposal

    mixture = bm.Mixture(bm.MvNormal(), 2)
    posterior = posterior_of(mixture, mixture.check(FAITHFUL))
    centre = posterior.to_vector(bm.em(mixture, FAITHFUL, n_init=4, **QUIET).estimates)
    around = Proposal(Symmetry.of(posterior, centre), centre[None], 0.1 * np.eye(len(centre))[None], np.zeros(1), 7.0)
    (vectors, _), found = around.draw(5000, np.random.default_rng(0)), []
    for cores in (1, 3):
        monkeypatch.setattr(batch, "available_cores", lambda cores=cores: cores)
        monkeypatch.setattr(proposal, "available_cores", lambda cores=cores: cores)
        found.append(np.stack([log_densities(posterior, vectors), around.log_density(vectors)]))
    np.testing.assert_array_equal(*found)


def test_an_interrupt_keeps_what_there_is(monkeypatch):
    """The third piece of proposals is cut off; none of the first two was replaced by a better proposal."""
    calls, real = [], laplace_module.log_densities

    def interrupted(posterior, vectors):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(posterior, vectors)

    monkeypatch.setattr(laplace_module, "log_densities", interrupted)
    fit = bm.laplace(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], draws=200, **QUIET)
    assert "Interrupted after 2000 proposals" in fit.message
    assert fit.tree["posterior/mu"].shape == (1, 200, 2)


@pytest.mark.slow
def test_priors_outside_the_list_give_the_same(faithful_fit):
    """A half-normal that PyTensor compiles, truncated where it makes no difference, against the compiled kernel's."""
    waiting = FAITHFUL["waiting"]
    plain = bm.Mixture(bm.Normal(mu=pz.Normal(70, 30), sigma=pz.HalfNormal(20)), 2)
    graph = bm.Mixture(bm.Normal(mu=pz.Normal(70, 30), sigma=pz.Truncated(pz.HalfNormal(20), lower=0, upper=1000)), 2)
    ours, theirs = (attributes(bm.laplace(mixture, waiting, **QUIET)) for mixture in (plain, graph))
    error = np.hypot(ours.log_evidence_error, theirs.log_evidence_error)
    assert abs(ours.log_evidence - theirs.log_evidence) < 4 * error
