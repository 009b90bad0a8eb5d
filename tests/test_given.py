"""Components that condition on columns of the data: what stands behind the columns that are modelled."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.arrays import as_data


@dataclass(frozen=True)
class Noisy(bm.Univariate):
    """Normal components whose rows have an error of known standard deviation."""

    mu: object = None
    sigma: object = None
    noise: object = "noise"

    @property
    def given(self):
        """The error of each row."""
        return (self.noise,)

    @property
    def parameters(self):
        """Mu and sigma."""
        return bm.Parameter("mu", moves=True), bm.Parameter("sigma", support=(0, np.inf))

    def log_density(self, x, params):
        """Normal, of both variances."""
        xp = bm.namespace(x, *params.values())
        variance = params["sigma"] ** 2 + x[..., 1:] ** 2
        return -0.5 * ((x[..., :1] - params["mu"]) ** 2 / variance + xp.log(variance) + np.log(2 * np.pi))

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def scipy(self, params):
        """Of a row without error."""
        return stats.norm(params["mu"], params["sigma"])

    def sample(self, params, rng, given=None):
        """One value per row, with its error."""
        return rng.normal(params["mu"], np.hypot(params["sigma"], given[:, 0]))[:, None]


MIXTURE = bm.Mixture(Noisy(), n_components=2)
TRUTH = {"weights": np.array([0.4, 0.6]), "mu": np.array([-3.0, 2.0]), "sigma": np.array([1.0, 0.5])}


def rows(n=400, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label, noise = rng.choice(2, n, p=TRUTH["weights"]), rng.uniform(0.1, 2.0, n)
    x = rng.normal(TRUTH["mu"][label], np.hypot(TRUTH["sigma"][label], noise))
    return pd.DataFrame({"noise": noise, "x": x})


def expected(frame, params=TRUTH):
    """Log density of each row, by SciPy."""
    x, noise = frame["x"].to_numpy()[:, None], frame["noise"].to_numpy()[:, None]
    joint = np.log(params["weights"]) + stats.norm(params["mu"], np.hypot(params["sigma"], noise)).logpdf(x)
    return np.logaddexp.reduce(joint, axis=1)


@pytest.fixture(scope="module")
def fit():
    return bm.em(MIXTURE, rows(), random_seed=1)


def test_likelihood_is_that_of_each_rows_own_density():
    frame = rows()
    point = bm.Fit.from_parameters(MIXTURE, frame, **TRUTH)
    assert point.log_likelihood == pytest.approx(expected(frame).sum(), rel=1e-12)
    np.testing.assert_allclose(point.logpdf(frame), expected(frame), rtol=1e-12)
    np.testing.assert_allclose(point.tree["log_likelihood"]["x"].values[0, 0], expected(frame), rtol=1e-12)


def test_em_finds_the_parameters_and_what_it_says_is_kept(fit, tmp_path):
    assert fit.converged
    np.testing.assert_allclose(fit.estimates["mu"], TRUTH["mu"], atol=0.3)
    np.testing.assert_allclose(fit.estimates["sigma"], TRUTH["sigma"], atol=0.35)
    assert fit.data.feature == ("x",) and fit.data.given == ("noise",)
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.data.values, fit.data.values)
    np.testing.assert_array_equal(again.responsibilities(rows(9, 2)), fit.responsibilities(rows(9, 2)))


def test_columns_go_by_name_whatever_their_order(fit):
    frame = rows(20, seed=2)
    np.testing.assert_array_equal(fit.logpdf(frame), fit.logpdf(frame[["x", "noise"]]))
    np.testing.assert_array_equal(fit.logpdf(frame), fit.logpdf(frame[["x", "noise"]].to_numpy()))
    numbered = bm.Mixture(Noisy(noise=0), n_components=2)
    point = bm.Fit.from_parameters(numbered, frame.to_numpy(), **TRUTH)
    np.testing.assert_allclose(point.logpdf(frame.to_numpy()), expected(frame), rtol=1e-12)
    bare = bm.Fit.from_parameters(MIXTURE, **TRUTH)
    np.testing.assert_allclose(bare.logpdf(frame), expected(frame), rtol=1e-12)


def test_missing_values_are_of_the_column_that_is_modelled():
    frame = rows(50)
    frame.loc[3, "x"] = np.nan
    point = bm.Fit.from_parameters(MIXTURE, frame, **TRUTH)
    seen = frame.drop(index=3)
    assert point.log_likelihood == pytest.approx(expected(seen).sum(), rel=1e-12)
    assert float(point.logpdf(frame)[3]) == 0.0
    filled = point.impute(random_seed=1, draws=400)
    assert filled["draws"].sel(obs=3).std() > 1.0
    frame.loc[[4, 7], "noise"] = np.nan
    with pytest.raises(ValueError, match=r"'noise' is given.*2 rows, counted from 0: 4, 7"):
        bm.em(MIXTURE, frame)
    with pytest.raises(ValueError, match="'noise' is given"):
        point.logpdf(frame)


def test_columns_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="conditions on 'noise', but the data have the columns 'x', 'error'"):
        bm.em(MIXTURE, rows().rename(columns={"noise": "error"})[["x", "error"]])
    with pytest.raises(ValueError, match="columns without names, which are numbered: 0, 1"):
        bm.em(MIXTURE, rows().to_numpy())


def test_draws_are_made_for_rows(fit):
    with pytest.raises(ValueError, match="fit.sample\\(data=rows\\)"):
        fit.sample(10)
    with pytest.raises(TypeError, match="leave n out"):
        fit.sample(10, data=rows())
    many = pd.DataFrame({"x": 0.0, "noise": np.repeat([0.0, 20.0], 20_000)})
    drawn = fit.sample(data=many, random_seed=1)
    own = fit.estimates
    for part, noise in ((drawn[:20_000], 0.0), (drawn[20_000:], 20.0)):
        mean = own["weights"] @ own["mu"]
        variance = own["weights"] @ (own["sigma"] ** 2 + noise**2 + (own["mu"] - mean) ** 2)
        assert float(part.std()) == pytest.approx(np.sqrt(variance), rel=0.03)  # 6 standard errors of 20000 draws


def test_starts_and_checks_look_at_what_is_modelled():
    frame = rows()
    assert as_data(frame).n_features == 2
    data = MIXTURE.check(frame)
    assert (data.n_features, data.modelled.shape, data.values.shape) == (1, (400, 1), (400, 2))
    constant = frame.assign(x=1.0)
    with pytest.raises(ValueError, match="does not"):
        bm.em(MIXTURE, constant)
    bm.Fit.from_parameters(MIXTURE, frame.assign(noise=1.0), **TRUTH)  # what is given may be constant, or infinite
    bm.Fit.from_parameters(MIXTURE, frame.assign(noise=np.inf), **TRUTH)


def test_a_part_of_a_product_may_condition_on_what_another_describes():
    frame = rows().assign(size=np.random.default_rng(0).normal(size=400))
    mixture = bm.Mixture(bm.Product(x=Noisy(), size=bm.Normal(), noise=bm.Gamma()), n_components=2)
    params = {f"x_{name}": value for name, value in TRUTH.items() if name != "weights"}
    params |= {"size_mu": [0.0, 1.0], "size_sigma": [1.0, 2.0], "noise_alpha": [2.0, 3.0], "noise_beta": [1.0, 2.0]}
    point = bm.Fit.from_parameters(mixture, frame, weights=TRUTH["weights"], **params)
    x, noise, size = (frame[name].to_numpy()[:, None] for name in ("x", "noise", "size"))
    joint = np.log(TRUTH["weights"]) + stats.norm(TRUTH["mu"], np.hypot(TRUTH["sigma"], noise)).logpdf(x)
    joint = joint + stats.norm([0.0, 1.0], [1.0, 2.0]).logpdf(size)
    joint = joint + stats.gamma([2.0, 3.0], scale=[1.0, 0.5]).logpdf(noise)
    assert point.log_likelihood == pytest.approx(np.logaddexp.reduce(joint, axis=1).sum(), rel=1e-12)
    np.testing.assert_allclose(point.logpdf(frame[["size", "x", "noise"]]), np.logaddexp.reduce(joint, axis=1))
    assert point.sample(data=frame, random_seed=1).shape == (400, 3)
    point.impute()


def test_data_in_pieces_are_the_same_data(fit, tmp_path):
    frame = rows()
    values = np.ascontiguousarray(frame.to_numpy())
    numbered = bm.Mixture(Noisy(noise=0), n_components=2)
    mapped = np.memmap(tmp_path / "rows.bin", dtype=float, mode="w+", shape=values.shape)
    mapped[:] = values
    found = bm.em(numbered, mapped, random_seed=1)
    assert found.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(found.estimates["mu"], fit.estimates["mu"], atol=1e-4)
    np.testing.assert_allclose(found.logpdf(values), fit.logpdf(frame), atol=1e-4)
    mapped[5, 0] = np.nan
    with pytest.raises(ValueError, match="missing"):
        bm.em(numbered, mapped)


def test_the_density_that_is_drawn_is_the_average_over_rows(fit):
    from bayesmix.plots.density import mixture_density, points_on

    x = points_on(fit)
    found = mixture_density(fit.draws, fit, x)[0].sum(axis=1)
    own, noise = fit.estimates, rows()["noise"].to_numpy()
    every = stats.norm(own["mu"], np.hypot(own["sigma"], noise[:, None, None])).pdf(x[:, None]) @ own["weights"]
    np.testing.assert_allclose(found, every.mean(axis=0), atol=0.02 * every.max())  # 100 of 400 rows
    fit.plot()
