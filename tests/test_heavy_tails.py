"""Vectors with heavy tails as parts of products and in lists of families, against SciPy's multivariate t."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood

QUIET = {"progressbar": False}
MU = np.array([[0.0, 1.0], [5.0, -2.0]])
SCALES = {
    "full": np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.5, -0.25], [-0.25, 1.0]]]),
    "diag": np.array([np.diag([1.0, 2.0]), np.diag([0.5, 1.0])]),
}
NU = np.array([5.0, 9.0])


def product(structure):
    return bm.Product(size=(bm.MvStudentT(covariance=structure), ["length", "width"]), visits=bm.Poisson())


def parameters(structure):
    own = {"size_mu": MU, "size_scale": SCALES[structure], "size_nu": NU, "visits_mu": np.array([1.0, 4.0])}
    return {"weights": np.array([0.375, 0.625]), **own}


def densities(x, structure):
    """SciPy's log densities of the rows (length, width, visits), of the cells that are there: (obs, cluster)."""
    p, found = parameters(structure), np.zeros((len(x), 2))
    for i, row in enumerate(x):
        for k in range(2):
            at = np.flatnonzero(np.isfinite(row[:2]))
            if len(at):
                scale = p["size_scale"][k][np.ix_(at, at)]
                found[i, k] += stats.multivariate_t(p["size_mu"][k][at], scale, NU[k]).logpdf(row[at])
            if np.isfinite(row[2]):
                found[i, k] += stats.poisson(p["visits_mu"][k]).logpmf(row[2])
    return found + np.log(p["weights"])


def rows(n, structure, seed=0, missing=False):
    rng, p = np.random.default_rng(seed), parameters(structure)
    labels = rng.choice(2, size=n, p=p["weights"])
    laws = [stats.multivariate_t(MU[k], p["size_scale"][k], NU[k]) for k in range(2)]
    x = np.array([[*laws[k].rvs(random_state=rng), rng.poisson(p["visits_mu"][k])] for k in labels])
    if missing:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x


def frame(x):
    return pd.DataFrame(x, columns=["length", "width", "visits"])


def likelihood_of(structure, missing):
    x = rows(300, structure, missing=missing)
    x = x[np.isfinite(x).any(axis=1)]
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(x))
    mixture = bm.Mixture(product(structure), 2)
    return Likelihood(mixture.component, mixture.check(frame(x), weights), 2), x, weights


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("structure", list(SCALES))
def test_the_pass_is_scipys_and_derivatives_are_derivatives(structure, missing):
    likelihood, x, weights = likelihood_of(structure, missing)
    params = parameters(structure)
    found = likelihood.statistics(params)
    joint = densities(x, structure)
    expected = np.logaddexp.reduce(joint, axis=1)
    assert found.log_likelihood == pytest.approx(weights @ expected, rel=1e-12)
    np.testing.assert_allclose(found.n, weights @ np.exp(joint - expected[:, None]), rtol=1e-11)

    for guard in (None, likelihood.component.guard(likelihood.data, 1.0)):
        vector = likelihood.to_vector(params)
        gradient, information = likelihood.value_and_gradient(vector, guard)[1], likelihood.information(vector, guard)
        for i, step in enumerate(1e-5 * np.eye(len(vector))):
            above, below = (likelihood.value_and_gradient(vector + sign * step, guard) for sign in (1, -1))
            # central differences: truncation of order 1e-10 of the third derivatives, rounding of 1e-13 over 1e-5
            assert gradient[i] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-6, abs=1e-5)
            np.testing.assert_allclose(information[i], (below[1] - above[1]) / 2e-5, rtol=1e-5, atol=1e-4)


def test_a_product_of_the_vector_alone_is_the_family():
    """The same optimum, by another pass and another way up; with missing cells too."""
    for missing in (False, True):
        x = rows(250, "full", seed=2, missing=missing)[:, :2]
        x = x[np.isfinite(x).any(axis=1)]
        settings = {"guard": None, "n_init": 3, "random_seed": 1, **QUIET}
        alone = bm.em(bm.Mixture(bm.MvStudentT(), 2), x, **settings)
        one_part = bm.Product(size=(bm.MvStudentT(), [0, 1]))
        joined = bm.em(bm.Mixture(one_part, 2), x, **settings)
        assert joined.converged, joined.message
        assert joined.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-6)
        order = np.argsort(joined.estimates["size_mu"][:, 0]), np.argsort(alone.estimates["mu"][:, 0])
        for name in ("mu", "scale", "nu"):
            np.testing.assert_allclose(
                joined.estimates[f"size_{name}"][order[0]], alone.estimates[name][order[1]], rtol=1e-3, atol=1e-4
            )


def test_em_recovers_the_parameters_within_their_standard_errors(tmp_path):
    x = frame(rows(1500, "full", seed=3))
    fit = bm.em(bm.Mixture(product("full"), 2), x, uncertainty="laplace", random_seed=1, **QUIET)
    assert fit.converged, fit.message
    order = np.argsort(fit.estimates["size_mu"][:, 0])
    for name, truth in parameters("full").items():
        z = (fit.estimates[name][order] - truth) / fit.tree["standard_error"][name].values[order]
        z = z / 10 if name == "size_nu" else z  # its likelihood is skewed
        assert np.all(np.abs(z) < 4), f"{name}: {z}"
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert again.mixture == fit.mixture
    np.testing.assert_array_equal(again.logpdf(x), fit.logpdf(x))
    assert fit.sample(5, random_seed=1).shape == (5, 3)


def test_clusters_with_a_heavy_tailed_component_beside_them():
    """One component of each kind: the optimum beats that of two normal components, and the pass is SciPy's."""
    x = rows(400, "full", seed=4)[:, :2]
    mixture = bm.Mixture([bm.MvStudentT(), bm.MvNormal()])
    fit = bm.em(mixture, x, random_seed=1, **QUIET)
    assert fit.converged, fit.message
    at = fit.estimates
    t = stats.multivariate_t(at["mv_student_t_mu"][0], at["mv_student_t_scale"][0], at["mv_student_t_nu"][0])
    normal = stats.multivariate_normal(at["mv_normal_mu"][1], at["mv_normal_cov"][1])
    expected = np.log(at["weights"][0] * t.pdf(x) + at["weights"][1] * normal.pdf(x))
    np.testing.assert_allclose(fit.logpdf(x), expected, rtol=1e-9)
    assert fit.log_likelihood == pytest.approx(expected.sum(), rel=1e-10)
    likelihood = Likelihood(fit.mixture.component, fit.data, 2)
    vector = likelihood.to_vector(at)
    information = likelihood.information(vector)
    for i, step in enumerate(1e-5 * np.eye(len(vector))):
        above, below = (likelihood.value_and_gradient(vector + sign * step) for sign in (1, -1))
        np.testing.assert_allclose(information[i], (below[1] - above[1]) / 2e-5, rtol=1e-5, atol=1e-4)
    plain = bm.em(bm.Mixture(bm.MvNormal(), 2), x, random_seed=1, **QUIET)
    assert fit.log_likelihood > plain.log_likelihood


@pytest.mark.parametrize("component", [product("full"), [bm.MvStudentT(covariance="diag"), bm.MvNormal()]], ids=str)
def test_both_faces_of_the_model_agree(component):
    """Log density and gradient of PyMC's model by the formula, and by the pass."""
    from bayesmix.model import sampling_model, start_values, start_vector, to_pymc

    x, alone = frame(rows(60, "full", seed=5)), isinstance(component, list)
    mixture = bm.Mixture(component) if alone else bm.Mixture(component, 2)
    data = mixture.check(x[["length", "width"]] if alone else x)
    mixture = mixture.resolved(data)
    at = bm.em(mixture, data, n_init=2, random_seed=1, **QUIET).estimates
    by_formula, by_pass = to_pymc(mixture, data), sampling_model(mixture, data)
    point = start_vector(by_pass, start_values(mixture, data, at))
    found = [
        model.compile_fn([model.logp(), model.dlogp()], mode="FAST_COMPILE")(point) for model in (by_formula, by_pass)
    ]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-8, atol=1e-9 * np.abs(found[0][1]).max())
