"""Dask distributed: rows stay with the workers, and a worker that is lost takes nothing with it."""

import os
import signal
import threading

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

import bayesmix as bm
from bayesmix.chunks import NO_WEIGHTS, source_of
from bayesmix.likelihood.streamed import PieceStatistics, add_statistics

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
N = 60_000
MIXTURE = bm.Mixture(bm.MvNormal(), 3)
OPTIONS = {"random_seed": 1, "progressbar": False, "n_init": 8, "accelerate": False, "max_iter": 40, "tol": 1e-13}


def values():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [6.0, 1.0], [1.0, 8.0]])
    return rng.normal(size=(N, 2)) + centres[rng.integers(3, size=N)]


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def same(fit, other):
    for name, value in other.estimates.items():
        np.testing.assert_allclose(fit.estimates[name], value, rtol=1e-10, atol=1e-10, err_msg=name)
    assert fit.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-10)


class Killing(PieceStatistics):
    """A pass that ends its worker when it comes to a row, the first time."""

    def __call__(self, values, start, weights):
        if start == self.params["at"] and not os.path.exists(self.params["done"]):
            with open(self.params["done"], "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        own = {name: value for name, value in self.params.items() if name not in ("at", "done")}
        return PieceStatistics(self.component, own)(values, start, weights)


def test_workers_give_the_fit_of_the_array_and_keep_the_rows(client):
    x = values()
    weights = np.random.default_rng(1).integers(1, 3, N)
    given = da.from_array(x, chunks=(7000, 2))
    same(bm.em(MIXTURE, given, **OPTIONS), bm.em(MIXTURE, x, **OPTIONS))  # the current client is found
    same(
        bm.em(MIXTURE, given, weights=weights, client=client, **OPTIONS), bm.em(MIXTURE, x, weights=weights, **OPTIONS)
    )

    source = source_of(given, client=client)
    held = client.who_has(source._chunks)
    assert len({owner for owners in held.values() for owner in owners}) == 2
    params = {"weights": np.full(3, 1 / 3), "mu": x[:3], "cov": np.repeat(np.eye(2)[None], 3, axis=0)}
    visit = PieceStatistics(bm.MvNormal(), params)
    expected = visit(x, 0, NO_WEIGHTS)
    for part, of_all in zip(source.fold(visit, add_statistics), expected, strict=True):
        np.testing.assert_allclose(part, of_all, rtol=1e-11, atol=1e-9)
    assert client.who_has(source._chunks) == held  # no chunk has moved


@pytest.mark.filterwarnings("ignore")
def test_a_worker_killed_in_a_pass_loses_nothing(client, tmp_path):
    x = values()
    source = source_of(da.from_array(x, chunks=(5000, 2)), client=client)
    params = {"weights": np.full(3, 1 / 3), "mu": x[:3], "cov": np.repeat(np.eye(2)[None], 3, axis=0)}
    expected = PieceStatistics(bm.MvNormal(), params)(x, 0, NO_WEIGHTS)
    before = set(client.run(os.getpid).values())
    done = tmp_path / "killed"
    found = source.fold(Killing(bm.MvNormal(), params | {"at": 35_000, "done": str(done)}), add_statistics)
    assert done.exists()
    for part, of_all in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, of_all, rtol=1e-10, atol=1e-9)
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_killed_during_a_fit_loses_nothing(client):
    x = values()
    expected = bm.em(MIXTURE, x, **OPTIONS)
    client.wait_for_workers(2)
    victim = next(iter(client.run(os.getpid).values()))
    killer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
    killer.start()
    fit = bm.em(MIXTURE, da.from_array(x, chunks=(5000, 2)), client=client, **OPTIONS)
    killer.join()
    same(fit, expected)
