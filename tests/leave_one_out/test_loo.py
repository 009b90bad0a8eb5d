"""`Fit.loo`: exact where there is an exact answer, explained by numbers that can be counted, repaired or refused."""

import arviz as az
import matplotlib
import matplotlib.pyplot
import numpy as np
import preliz as pz
import pytensor
import pytest
from fits import posterior
from scipy import special, stats

import bayesmix as bm
from bayesmix.leave_one_out import influential_rows, refit, result
from bayesmix.leave_one_out.coordinates import FreePosterior
from bayesmix.leave_one_out.result import LeaveOneOut

matplotlib.use("Agg")
QUIET = {"random_seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def counts():
    """Poisson rows with a Gamma(2, 1) prior, one of them far out: every leave-one-out density is known."""
    rows = np.r_[np.random.default_rng(0).poisson(1, 40), 35]
    fit = bm.nuts(bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 1)), 1), rows, **QUIET)
    alpha, beta = 2 + rows.sum() - rows, 1 + len(rows) - 1
    return fit, stats.nbinom.logpmf(rows, alpha, beta / (beta + 1))


@pytest.fixture(scope="module")
def small():
    """A component of one row, and rows with names."""
    import pandas as pd

    rows = np.r_[np.random.default_rng(0).normal(0, 1, 40), 7.0]
    frame = pd.DataFrame({"length": rows}, index=[f"fish {i}" for i in range(41)])
    return bm.nuts(bm.Mixture(bm.Normal(), 2), frame, **QUIET)


def test_a_conjugate_case_is_exact_after_a_repair(counts):
    fit, exact = counts
    plain, matched = fit.loo(), fit.loo("moment matching", progressbar=False)
    bad = plain.pareto_k.values > plain.good_k
    assert list(np.flatnonzero(bad)) == [40]
    assert abs(plain.elpd_i.values[40] - exact[40]) > 0.2  # what there is to repair
    # 4000 draws, autocorrelated twofold at most: three standard errors of 0.028
    assert matched.elpd_i.values[40] == pytest.approx(exact[40], abs=0.09)
    assert matched.pareto_k.values[40] < 0.7
    np.testing.assert_allclose(matched.elpd_i.values[~bad], exact[~bad], atol=0.01)
    # The sum changes by sum(x / mu - 1) = -18 with the mean of mu, whose standard error is 0.21 / sqrt(1400): three of them.
    assert matched.elpd == pytest.approx(exact.sum(), abs=0.3)
    assert matched.se == pytest.approx(np.sqrt(41) * exact.std(), rel=0.01)
    assert not matched.warning and np.isnan(matched.log_weights.isel(obs=40)).all()


def test_a_refit_is_exact_within_its_monte_carlo_error(counts):
    fit, exact = counts
    found = fit.loo("refit", **QUIET)
    (row,) = found.influential.itertuples()
    assert abs(row.elpd - exact[40]) < 4 * row.mcse
    assert row.mcse < 0.2 and row.pareto_k_after == 0 and row.repaired
    assert found.elpd_i.values[40] == row.elpd


def test_a_normal_with_two_parameters_agrees_with_quadrature():
    rows = np.r_[np.random.default_rng(0).normal(0, 1, 40), 7.0]
    priors = bm.Normal(mu=pz.Normal(0, 100), sigma=pz.HalfNormal(10))
    fit = bm.nuts(bm.Mixture(priors, 1), rows, **QUIET)
    mu, log_sigma = np.linspace(-3, 4, 500)[:, None], np.linspace(-1.5, 2.5, 500)
    sigma, n, mean = np.exp(log_sigma), 40, rows[:40].mean()
    others = -n * log_sigma - 0.5 * (rows[:40].var() + (mean - mu) ** 2) * n / sigma**2
    others = others + stats.norm.logpdf(mu, 0, 100) + stats.halfnorm.logpdf(sigma, 0, 10) + log_sigma
    exact = special.logsumexp(others + stats.norm.logpdf(7.0, mu, sigma)) - special.logsumexp(others)
    found = fit.loo("moment matching", progressbar=False)
    assert found.influential.index.to_list() == [40]
    assert found.elpd_i.values[40] == pytest.approx(exact, abs=0.1)  # three standard errors of 0.031
    assert abs(found.influential["elpd_before"].iloc[0] - exact) > 0.5


def test_moment_matching_agrees_with_refits_of_a_mixture():
    rng = np.random.default_rng(4)
    rows = np.r_[rng.normal(0, 1, 30), rng.normal(7, 1, 14), 12.5]
    fit = bm.nuts(bm.Mixture(bm.Normal(mu=pz.Normal(3, 5), sigma=pz.HalfNormal(2)), 2), rows, **QUIET)
    matched, refitted = (fit.loo(repair, **QUIET).influential for repair in ("moment matching", "refit"))
    assert matched["repaired"].any()
    for label in matched.index[matched["repaired"]]:
        error = np.hypot(matched["mcse"][label], refitted["mcse"][label])
        assert abs(matched["elpd"][label] - refitted["elpd"][label]) < 4 * error, label


def test_the_explanation_counts_what_is_left_of_a_component(small):
    found = small.loo()
    (row,) = found.influential.itertuples()
    params = small.estimates
    joint = params["weights"] * stats.norm.pdf(small.data.values, params["mu"], params["sigma"])
    r = joint / joint.sum(axis=1, keepdims=True)
    k = int(np.argmax(params["mu"]))
    assert row.Index == "fish 40" and row.component == k
    assert row.share == pytest.approx(r[40, k] / r[:, k].sum())
    assert row.effective_rows == pytest.approx(r[:, k].sum())
    assert row.weight_without == pytest.approx(r[:40, k].sum() / 40, abs=1e-12)
    assert row.rank == (joint.sum(axis=1) < joint[40].sum()).sum()
    (said,) = (line for line in found.explanation if line.startswith("Row "))  # there may be a word on labels before it
    assert said.startswith("Row fish 40 (length 7) has k-hat ")
    assert f"keeps component {k} alive, as {row.share:.0%} of its" in said
    assert said in str(found)


def test_a_row_that_lies_far_out_is_not_said_to_keep_a_component_alive(counts):
    (said,) = (line for line in counts[0].loo().explanation if line.startswith("Row "))
    assert "Row 40 (x 35)" in said and "lies far out" in said and "no row has a lower density" in said


def test_a_reliable_fit_says_so():
    rows = stats.norm.ppf((np.arange(50) + 0.5) / 50)
    mixture = bm.Mixture(bm.Normal(), 1)
    fit = posterior(mixture, rows, bm.em(mixture, rows, progressbar=False), "nuts", draws=500)
    found = fit.loo("moment matching", progressbar=False)
    assert len(found.influential) == 0
    assert found.explanation == (f"All 50 rows have a Pareto k-hat below {found.good_k:.2f}: the elpd is reliable.",)
    assert found.elpd == az.loo(fit.tree).elpd


def test_arviz_takes_the_result_as_it_is(small, counts):
    found = small.loo()
    assert isinstance(found, LeaveOneOut)
    with pytest.warns(UserWarning, match="shape parameter of Pareto"):
        again = az.loo(small.tree)
    table = az.compare({"one": found, "two": again}, round_to="none")
    assert set(table.index) == {"one", "two"} and table["elpd_diff"].abs().max() < 1e-12
    assert az.plot_khat(found, backend="matplotlib") is not None
    matplotlib.pyplot.close("all")


def test_rows_without_weight_take_no_part():
    rows, weights = np.random.default_rng(0).normal(size=50), np.ones(50)
    weights[[3, 7]] = 0
    mixture = bm.Mixture(bm.Normal(), 1)
    weighted = bm.nuts(mixture, rows, weights=weights, draws=200, **QUIET)
    found = weighted.loo()
    assert list(found.elpd_i["obs"].values) == [i for i in range(50) if i not in (3, 7)]
    assert bm.compare([weighted]).elpd["n_rows"].iloc[0] == 48


FAMILIES = [
    bm.Normal(),
    bm.Poisson(),
    *(bm.MvNormal(covariance=c) for c in ("full", "tied", "diag", "spherical")),
    bm.MvNormal(sigma=pz.HalfNormal(2.0), corr=bm.LKJ(2.0)),
]


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_priors_stay_when_a_row_is_left_out(family):
    rng = np.random.default_rng(0)
    d = 3 if family.multivariate else 1
    data = rng.poisson(3, (30, d)).astype(float) if family.discrete else rng.normal(size=(30, d))
    mixture = bm.Mixture(family, 2)
    checked = mixture.check(data)
    fixed = refit.with_priors_in_force(mixture, checked)
    less = checked.take(np.arange(1, 20))
    in_force = dict(family.priors(checked, 2))
    assert dict(fixed.component.priors(less, 2)) == in_force
    if not family._settings().get("corr"):
        assert dict(family.priors(less, 2)) != in_force  # there is something to hold on to


COORDINATES = {
    "direct": bm.MvNormal(),
    "graph": bm.Normal(mu=pz.Uniform(0, 100)),
    "graph of matrices": bm.MvNormal(sigma=pz.HalfNormal(2.0), corr=bm.LKJ(2.0)),
}


@pytest.mark.parametrize("case", ["direct", "graph", pytest.param("graph of matrices", marks=pytest.mark.slow)])
def test_free_coordinates_lead_back_to_the_draws(case):
    family = COORDINATES[case]
    data = bm.datasets.load("faithful").isel(obs=slice(0, 60))
    data = data if family.multivariate else data["waiting"]
    mixture = bm.Mixture(family, 2)
    em = bm.em(mixture, data, n_init=2, **QUIET)
    fit = posterior(mixture, data, em, "nuts", draws=4)
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):  # compiles in a tenth of the time
        free = FreePosterior.of(fit)
    back = free.posterior.from_vector(free.vectors)
    for name, value in fit.posterior_draws.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-9)
    expected = fit.tree["log_likelihood/x"].values.reshape(16, -1)[:, 5]
    np.testing.assert_allclose(free.log_likelihood(free.vectors, 5), expected, rtol=1e-9)
    assert np.isfinite(free.log_density(free.vectors)).all()


def test_an_interrupt_keeps_the_rows_repaired_so_far(small, monkeypatch):
    calls = []

    def interrupted(*_):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return -4.0, 0.1, True

    monkeypatch.setattr(result, "predictive_without", interrupted)
    monkeypatch.setattr(result, "influential_rows", lambda fit, k, limit: influential_rows(fit, k, 0.3))
    found = small.loo("refit", **QUIET)
    assert found.influential["repaired"].sum() == 1 and len(found.influential) > 1
    (repaired,) = found.influential.query("repaired").itertuples()
    assert found.elpd_i.values[repaired.position] == repaired.elpd == -4.0
    assert found.explanation[-1].startswith("The repair was interrupted: 1 of ")


def test_what_cannot_be_done_is_refused(small):
    rows = small.data.values[:, 0]
    em = bm.em(small.mixture, rows, n_init=2, **QUIET)
    with pytest.raises(ValueError, match='pass uncertainty="laplace"'):
        em.loo()
    with pytest.raises(ValueError, match="repair='reweight' is not known"):
        small.loo("reweight")
    laplace = bm.em(small.mixture, rows, n_init=2, uncertainty="laplace", draws=200, **QUIET)
    with pytest.raises(ValueError, match="for posteriors, but this fit is by EM"):
        laplace.loo("refit")


def test_an_approximation_can_be_refitted_but_not_moved(counts, monkeypatch):
    exact_fit, exact = counts
    fit = bm.advi(exact_fit.mixture, exact_fit.data.values[:, 0], **QUIET)
    found = fit.loo()
    assert found.basis.startswith("variational draws, importance-corrected")
    assert 40 in found.influential.index
    assert found.explanation[-1].startswith('repair="refit"')
    with pytest.raises(ValueError, match="this fit is by ADVI"):
        fit.loo("moment matching")
    last = np.arange(41) == 40
    only = lambda fit, k, limit: influential_rows(fit, np.where(last, k, 0), limit)  # noqa: E731
    monkeypatch.setattr(result, "influential_rows", only)
    refitted = fit.loo("refit", **QUIET)
    assert abs(refitted.elpd_i.values[40] - exact[40]) < 4 * refitted.influential["mcse"].iloc[0]


def test_the_bridge_between_two_posteriors_is_exact():
    """Gamma posteriors of a Poisson rate without and with a row of 20, whose plain average is dominated by few draws."""
    rng, alpha, beta, row = np.random.default_rng(0), 30.0, 20.0, 20
    exact = stats.nbinom.logpmf(row, alpha, beta / (beta + 1))
    without = stats.poisson.logpmf(row, rng.gamma(alpha, 1 / beta, (4, 1000)))
    whole = stats.poisson.logpmf(row, rng.gamma(alpha + row, 1 / (beta + 1), (4, 1000)))
    value, error = refit.bridge(without, whole)
    assert abs(value - exact) < 4 * error and error < 0.1
    assert abs(special.logsumexp(without) - np.log(4000) - exact) > 3 * error
