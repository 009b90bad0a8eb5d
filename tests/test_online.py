"""Online EM: the estimates of EM up to noise, from streams, and as if it had never been interrupted."""

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.components.base import Statistics
from bayesmix.engines.online import recentred

N = 50_000


def clusters(offset=0.0):
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [3.0, 3.0], [-3.0, 4.0]])
    return rng.normal(size=(N, 2)) + centres[rng.integers(3, size=N)] + offset


X = clusters()
MIXTURE = bm.Mixture(bm.MvNormal(), 3)


@pytest.fixture(scope="module")
def batch_fit():
    return bm.em(MIXTURE, X, max_iter=500, uncertainty="laplace", draws=200, n_init=4, random_seed=1, progressbar=False)


def distance(fit, other):
    """Largest difference in standard errors of `other`."""
    se = {name: draws.std(axis=0) for name, draws in other.posterior_draws.items()}
    return max(np.abs((fit.estimates[n] - value) / se[n]).max() for n, value in other.estimates.items())


def test_several_passes_come_close_to_em(batch_fit):
    """The start is known to 2000 rows only, 7 standard errors of all rows or so; the noise of steps averages out."""
    one, many = (bm.online_em(MIXTURE, X, n_passes=n, random_seed=1) for n in (1, 10))
    assert distance(one, batch_fit) < 5.0
    assert distance(many, batch_fit) < 0.5


def test_the_average_varies_less_than_the_last(batch_fit):
    last = bm.online_em(MIXTURE, X, average=False, n_passes=3, random_seed=1)
    averaged = bm.online_em(MIXTURE, X, n_passes=3, random_seed=1)
    assert distance(averaged, batch_fit) < distance(last, batch_fit) < 10.0


@pytest.mark.parametrize("component", [bm.Normal(), bm.Poisson(), bm.MvNormal(covariance="tied")], ids=str)
def test_other_families(component):
    x = X
    if not component.multivariate:
        rng = np.random.default_rng(2)
        x = rng.poisson(np.array([2.0, 30.0])[rng.integers(2, size=N)]) + (0.0 if component.discrete else rng.random(N))
    mixture = bm.Mixture(component, 3 if component.multivariate else 2)
    expected = bm.em(
        mixture, x, max_iter=500, uncertainty="laplace", draws=200, n_init=4, random_seed=1, progressbar=False
    )
    assert distance(bm.online_em(mixture, x, n_passes=5, random_seed=1), expected) < 1.0


def test_an_offset_costs_no_digits():
    near, far = (bm.online_em(MIXTURE, clusters(offset), random_seed=1).estimates for offset in (0.0, 1e7))
    np.testing.assert_allclose(far["cov"], near["cov"], rtol=1e-6)
    np.testing.assert_allclose(far["mu"] - 1e7, near["mu"], rtol=1e-5, atol=1e-6)


def test_going_on_is_as_if_never_stopped(tmp_path):
    whole = bm.online_em(MIXTURE, X, random_seed=1)
    half = bm.online_em(MIXTURE, X[: N // 2], random_seed=1)
    half.save(tmp_path / "half.nc")
    both = bm.online_em(MIXTURE, X[N // 2 :], init=bm.load(tmp_path / "half.nc"))
    for name, value in whole.estimates.items():
        np.testing.assert_array_equal(both.estimates[name], value)
    assert both.n_obs == N


def test_every_kind_of_stream_gives_the_same(tmp_path):
    expected = bm.online_em(MIXTURE, X, random_seed=1).estimates
    X.tofile(tmp_path / "x")
    frame = pd.DataFrame(X, columns=["a", "b"])
    streams = {
        "generator": (X[i : i + 777] for i in range(0, N, 777)),
        "frames": (frame[i : i + 12_345] for i in range(0, N, 12_345)),
        "memmap": np.memmap(tmp_path / "x", mode="r", dtype=float, shape=X.shape),
        "frame": frame,
    }
    for name, stream in streams.items():
        found = bm.online_em(MIXTURE, stream, random_seed=1)
        np.testing.assert_allclose(found.estimates["mu"], expected["mu"], rtol=1e-12, err_msg=name)
    assert found.tree["online"].dataset["log_density"].size == 48


def test_any_fit_can_be_a_start_and_em_can_finish(batch_fit):
    online = bm.online_em(MIXTURE, X, init=batch_fit)
    assert distance(online, batch_fit) < 5.0
    finished = bm.em(MIXTURE, X, init=online, progressbar=False)
    assert finished.log_likelihood == pytest.approx(batch_fit.log_likelihood, rel=1e-9)


def test_statistics_are_moved_to_another_pivot_exactly():
    rng = np.random.default_rng(1)
    for component in (bm.MvNormal(), bm.MvNormal(covariance="diag")):
        rows = bm.Mixture(component, 2).check(rng.normal(size=(500, 2)))
        r = rng.dirichlet([1.0, 1.0], size=500)
        params = [component.initial_params(rows, 2) | {"mu": rng.normal(size=(2, 2))} for _ in range(2)]
        one, other = (component.statistics_given(rows.values, r, p) for p in params)
        moved = recentred(component, Statistics(0.0, *one[1:]), *params)
        for found, expected in zip(moved[1:], other[1:], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_wrong_arguments_are_explained():
    for kwargs, words in (
        ({"alpha": 0.5}, "0.5 < alpha <= 1"),
        ({"batch": 0}, "batch=0"),
        ({"n_passes": 0}, "n_passes=0"),
        ({"t0": -1}, "t0=-1"),
    ):
        with pytest.raises(ValueError, match=words):
            bm.online_em(MIXTURE, X, **kwargs)
    with pytest.raises(ValueError, match="gone over once"):
        bm.online_em(MIXTURE, iter([X]), n_passes=2)
    with pytest.raises(ValueError, match="there are no blocks"):
        bm.online_em(MIXTURE, iter([]))
    with pytest.raises(ValueError, match="missing"):
        bm.online_em(MIXTURE, np.concatenate([X, [[np.nan, 0.0]]]))
    with pytest.raises(ValueError, match="cannot go on"):
        bm.online_em(bm.Mixture(bm.MvNormal(), 2), X, init=bm.online_em(MIXTURE, X[:3000], random_seed=1))
