"""Products: columns with families of their own, against SciPy, NumPy and poLCA."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.likelihood.generate import kernel_of
from bayesmix.likelihood.likelihood import Likelihood

DATA = Path(__file__).parent / "data"
PRODUCT = bm.Product(
    height=bm.Normal(),
    smoker=bm.Bernoulli(),
    visits=bm.Poisson(),
    delay=bm.StudentT(),
    size=(bm.MvNormal(), ["length", "width"]),
)
PARAMS = {
    "weights": np.array([0.375, 0.625]),
    "height_mu": np.array([0.0, 3.0]),
    "height_sigma": np.array([1.0, 0.5]),
    "smoker_p": np.array([0.25, 0.75]),
    "visits_mu": np.array([1.0, 6.0]),
    "delay_mu": np.array([0.0, 4.0]),
    "delay_sigma": np.array([1.0, 2.0]),
    "delay_nu": np.array([5.0, 6.0]),
    "size_mu": np.array([[0.0, 1.0], [2.0, -1.0]]),
    "size_cov": np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.5, -0.25], [-0.25, 1.0]]]),
}
COLUMNS = ["height", "smoker", "visits", "delay", "length", "width"]


def rows(n, seed=0):
    """Rows of the mixture, drawn by SciPy, and the component of each."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(2, size=n, p=PARAMS["weights"])
    p = {name: value[labels] for name, value in PARAMS.items() if name != "weights"}
    size = [
        stats.multivariate_normal(m, c).rvs(random_state=rng) for m, c in zip(p["size_mu"], p["size_cov"], strict=True)
    ]
    x = np.column_stack(
        [
            stats.norm(p["height_mu"], p["height_sigma"]).rvs(random_state=rng),
            stats.bernoulli(p["smoker_p"]).rvs(random_state=rng),
            stats.poisson(p["visits_mu"]).rvs(random_state=rng),
            stats.t(p["delay_nu"], p["delay_mu"], p["delay_sigma"]).rvs(random_state=rng),
            np.reshape(size, (n, 2)),
        ]
    )
    return x, labels


def frame(x, columns=COLUMNS):
    import pandas as pd

    return pd.DataFrame(x, columns=COLUMNS)[list(columns)]


def log_joint(x):
    """SciPy's log density of each component, weights included: (obs, cluster)."""
    columns = []
    for k in range(2):
        p = {name: value[k] for name, value in PARAMS.items()}
        columns.append(
            np.log(p["weights"])
            + stats.norm(p["height_mu"], p["height_sigma"]).logpdf(x[:, 0])
            + stats.bernoulli(p["smoker_p"]).logpmf(x[:, 1])
            + stats.poisson(p["visits_mu"]).logpmf(x[:, 2])
            + stats.t(p["delay_nu"], p["delay_mu"], p["delay_sigma"]).logpdf(x[:, 3])
            + stats.multivariate_normal(p["size_mu"], p["size_cov"]).logpdf(x[:, 4:])
        )
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def likelihood():
    x, _ = rows(400)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(x))
    return Likelihood(PRODUCT, bm.Mixture(PRODUCT, 2).check(frame(x), weights), 2)


def test_the_pass_is_scipys_sum_of_log_densities(likelihood):
    expected = np.logaddexp.reduce(log_joint(likelihood.data.values), axis=1)
    found = likelihood.statistics(PARAMS)
    assert np.isclose(found.log_likelihood, likelihood.data.weights @ expected, rtol=1e-12)
    responsibilities = np.exp(log_joint(likelihood.data.values) - expected[:, None])
    np.testing.assert_allclose(found.n, likelihood.data.weights @ responsibilities, rtol=1e-11)


@pytest.mark.parametrize("guarded", [False, True])
def test_gradient_and_information_are_the_derivatives(likelihood, guarded):
    guard = PRODUCT.guard(likelihood.data, 1.0) if guarded else None
    vector = likelihood.to_vector(PARAMS)
    gradient, information = likelihood.value_and_gradient(vector, guard)[1], likelihood.information(vector, guard)
    for i, step in enumerate(1e-5 * np.eye(len(vector))):
        above, below = (likelihood.value_and_gradient(vector + sign * step, guard) for sign in (1, -1))
        # central differences: truncation of order 1e-10 of the third derivatives, rounding of 1e-13 over 1e-5
        assert np.isclose(gradient[i], (above[0] - below[0]) / 2e-5, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(information[i], (below[1] - above[1]) / 2e-5, rtol=1e-5, atol=1e-4)


def test_em_recovers_the_parameters_within_their_standard_errors():
    x, labels = rows(1500, seed=3)
    fit = bm.em(bm.Mixture(PRODUCT, 2), frame(x), uncertainty="laplace", random_seed=1, progressbar=False)
    assert fit.converged, fit.message
    for name, truth in PARAMS.items():
        error = fit.tree["standard_error"][name].values
        z = (fit.estimates[name] - truth) / error
        assert np.all(np.abs(z) < 4), f"{name}: {z}"  # some 30 numbers, each normal: beyond 4 once in 500
    assert np.mean(fit.classify(frame(x)) == labels) > 0.97


def test_columns_are_found_by_their_names_in_any_order():
    x, _ = rows(60)
    mixture = bm.Mixture(PRODUCT, 2)
    fit = bm.Fit.from_parameters(mixture, frame(x, COLUMNS[::-1]), **PARAMS)
    np.testing.assert_allclose(fit.logpdf(frame(x)), np.logaddexp.reduce(log_joint(x), axis=1), rtol=1e-12)
    np.testing.assert_allclose(fit.logpdf(frame(x, COLUMNS[::-1])), fit.logpdf(frame(x)), rtol=0)
    assert fit.tree["point"]["size_mu"].dims == ("cluster", "size_feature")
    assert list(fit.tree["point"]["size_mu"]["size_feature"].values) == ["length", "width"]


def test_marginals_are_those_of_each_part():
    fit = bm.Fit.from_parameters(bm.Mixture(PRODUCT, 2), frame(rows(60)[0]), **PARAMS)
    found = fit.quantile(0.9)
    weights = PARAMS["weights"]
    heights = [stats.norm(m, s) for m, s in zip(PARAMS["height_mu"], PARAMS["height_sigma"], strict=True)]
    at = float(found.sel(feature="height"))
    assert np.isclose(sum(w * d.cdf(at) for w, d in zip(weights, heights, strict=True)), 0.9, atol=1e-10)
    visits = [stats.poisson(m) for m in PARAMS["visits_mu"]]
    at = float(found.sel(feature="visits"))
    below, above = (sum(w * d.cdf(v) for w, d in zip(weights, visits, strict=True)) for v in (at - 1, at))
    assert below < 0.9 <= above


def test_a_saved_product_comes_back(tmp_path):
    fit = bm.Fit.from_parameters(bm.Mixture(PRODUCT, 2), frame(rows(60)[0]), **PARAMS)
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert again.mixture == fit.mixture and str(again.mixture) == str(fit.mixture)
    np.testing.assert_array_equal(again.logpdf(frame(rows(5)[0])), fit.logpdf(frame(rows(5)[0])))


def test_the_name_of_a_pass_is_enough_to_find_it():
    """Also where nobody has made it yet: EM of counts and categories goes without it."""
    product = bm.Product(a=bm.Poisson(), b=bm.Categorical(n_categories=7), c=bm.Bernoulli(), d=bm.Poisson())
    for missing in (False, True):
        assert callable(kernel_of(product.kernel_for(missing)))


@pytest.mark.parametrize("name", ["carcinoma", "values"])
def test_latent_classes_are_those_of_polca(name):
    """Log-likelihood, degrees of freedom and BIC of poLCA (Linzer & Lewis 2011), for one to three classes."""
    import pandas as pd

    answers = json.loads((DATA / "latent_class_answers.json").read_text())[name]
    ratings = pd.read_csv(DATA / f"{answers['data']}") - 1
    product = bm.Product({column: bm.Bernoulli() for column in ratings.columns})
    for k in (1, 2, 3):
        fit = bm.em(bm.Mixture(product, k), ratings, n_init=30, random_seed=1, progressbar=False)
        expected = answers[f"k{k}"]
        assert np.isclose(fit.log_likelihood, expected["loglik"], atol=1e-6), f"K={k}: {fit.message}"
        assert fit.n_parameters == expected["df"]
        assert np.isclose(fit.bic, expected["BIC"], atol=1e-5)


@pytest.mark.slow
def test_nuts_agrees_with_em_where_the_data_say_much():
    x, _ = rows(600, seed=5)
    mixture = bm.Mixture(PRODUCT, 2)
    mle = bm.em(mixture, frame(x), uncertainty="laplace", random_seed=1, progressbar=False)
    post = bm.nuts(mixture, frame(x), draws=500, chains=2, random_seed=1, progressbar=False)
    for name in ("weights", "height_mu", "smoker_p", "visits_mu", "size_mu"):
        mean = post.tree["posterior"][name].mean(("chain", "draw")).values
        assert np.all(np.abs(mean - mle.estimates[name]) < mle.tree["standard_error"][name].values), name


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: bm.Product(), TypeError, "needs parts"),
        (lambda: bm.Product(a=bm.Normal), TypeError, r"call it: a=bm.Normal\(\)"),
        (lambda: bm.Product(a=3), TypeError, "must be a family"),
        (lambda: bm.Product(a=bm.MvNormal()), TypeError, "name them"),
        (lambda: bm.Product(a=(bm.Normal(), ["b", "c"])), ValueError, "one column, but 2"),
        (lambda: bm.Product(a=bm.Product(b=bm.Normal())), TypeError, "product itself"),
        (lambda: bm.Product(a=bm.MvNormal(covariance=["full", "diag"])), ValueError, "several families"),
    ],
)
def test_parts_that_make_no_product_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "product, words",
    [
        (bm.Product(height=bm.Normal()), "no part describes the columns 'smoker'"),
        (bm.Product(heigth=bm.Normal()), "no column 'heigth'; they have 'height'"),
        (bm.Product(height=bm.Normal(), other=(bm.Normal(), ["height"])), "more than one part"),
    ],
)
def test_data_that_do_not_go_with_the_parts_are_named(product, words):
    with pytest.raises(ValueError, match=words):
        bm.em(bm.Mixture(product, 2), frame(rows(50)[0]), progressbar=False)


def test_a_part_says_what_is_wrong_with_its_column():
    x = frame(rows(50)[0])
    x.loc[3, "visits"] = -1.0
    with pytest.raises(ValueError, match="part visits: .*Poisson"):
        bm.em(bm.Mixture(PRODUCT, 2), x, progressbar=False)
