"""Runs that were interrupted or killed and go on: they end where they would have ended, to the last bit."""

import warnings

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.mdn import resuming, training

MDN = bm.MDN(bm.Normal(), n_components=2, hidden=(6,))


def two_lines(n=200, seed=0):
    """y = 1 + 2 x or -1 - 2 x by the toss of a coin, with noise of sd 0.2."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=n)
    return x, rng.choice([-1.0, 1.0], size=n) * (1 + 2 * x) + 0.2 * rng.normal(size=n)


def breaking_off(monkeypatch, epoch, error, inside=False):
    """Raise an error after so many epochs in all, or in the middle of the next one."""
    made, pass_over = [0], training.Steps.__call__

    def passed(self, *given):
        if made[0] == epoch:
            if inside:
                pass_over(self, *given)
            raise error
        made[0] += 1
        return pass_over(self, *given)

    monkeypatch.setattr(training.Steps, "__call__", passed)


class KilledError(Exception):
    """Stands for the end of the process: nothing deals with it."""


RUNS = {
    "map": (bm.map_estimate, {"members": 2, "epochs": 12}, 5),
    "early stopping": (bm.map_estimate, {"members": 1, "restarts": 2}, 40),
    "all rows, laplace": (
        bm.map_estimate,
        {"members": 1, "epochs": 8, "early_stopping": False, "method": "lastlayer-laplace", "draws": 3},
        5,
    ),
    "advi": (bm.advi, {"temperature": 0.3, "epochs": 8, "draws": 3}, 5),
    "choosing the temperature": (bm.advi, {"epochs": 6, "draws": 3}, 3),
    "temperature chosen": (bm.advi, {"epochs": 6, "draws": 3, "method": "lastlayer"}, 8),
}


def fitted(engine, options, **more):
    """A fit without pictures."""
    return engine(MDN, *two_lines(), progressbar=False, **options, **more)


@pytest.fixture(scope="module", params=list(RUNS))
def whole(request):
    """A run that was not interrupted."""
    engine, options, epoch = RUNS[request.param]
    return engine, options, epoch, fitted(engine, options, random_seed=3)


@pytest.mark.parametrize("way", ["fit", "file", "store"])
def test_an_interrupted_run_goes_on_to_the_same_network(whole, way, monkeypatch, tmp_path):
    engine, options, epoch, expected = whole
    store = tmp_path / "run" if way == "store" else None
    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted after .* epochs"):
        breaking_off(patch, epoch, KeyboardInterrupt, inside=True)
        part = fitted(engine, options, random_seed=3, store=store)
    assert not part.converged and part.message.startswith("Interrupted after")
    assert np.all(np.isfinite(part.logpdf(*two_lines(20, seed=1))))
    if way == "file":
        part.save(tmp_path / "part.nc")
        part = bm.load(tmp_path / "part.nc")
    found = fitted(engine, options, resume=part if store is None else store)
    assert found.converged and found.message == expected.message
    assert np.array_equal(found.weights, expected.weights)
    assert np.array_equal(found.tree["training"]["log_density"], expected.tree["training"]["log_density"])


def test_a_killed_run_loses_little(whole, monkeypatch, tmp_path):
    """What was written last is gone on with, more than once, and a run that had ended gives its fit."""
    engine, options, epoch, expected = whole
    monkeypatch.setattr(resuming, "SECONDS", 0.0)
    more = {"store": tmp_path / "run", "random_seed": 3}
    for killed_at in (epoch, 1):
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            breaking_off(patch, killed_at, KilledError)
            fitted(engine, options, **more)
        more = {"resume": tmp_path / "run"}
    for _ in range(2):
        assert np.array_equal(fitted(engine, options, **more).weights, expected.weights)


def test_the_networks_of_an_interrupted_choice_of_temperature_are_kept(monkeypatch):
    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted"):
        breaking_off(patch, 4, KeyboardInterrupt)
        part = fitted(bm.advi, {"epochs": 6, "draws": 3}, random_seed=3)
    assert part.n_members == 3 and "temperature was being chosen" in part.message


def test_an_interrupt_before_the_first_epoch_leaves_nothing(monkeypatch):
    breaking_off(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        fitted(bm.map_estimate, {"epochs": 3})


@pytest.fixture(scope="module")
def part():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        breaking_off(patch, 2, KeyboardInterrupt)
        return bm.map_estimate(MDN, *two_lines(), epochs=4, random_seed=3, progressbar=False)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"X": two_lines()[0] * 2.0}, "the data differ"),
        ({"y": two_lines()[1][::-1]}, "the data differ"),
        ({"mdn": bm.MDN(bm.Normal(), n_components=2, hidden=(7,))}, r"another specification: hidden=\[6\], now \[7\]"),
        ({"epochs": 5}, "other arguments: epochs=4, now 5"),
        ({"random_seed": 4}, "leave random_seed out"),
    ],
    ids=["X", "y", "mdn", "epochs", "seed"],
)
def test_another_run_is_not_gone_on_with(part, change, words):
    x, y = two_lines()
    given = {"mdn": MDN, "X": x, "y": y, "epochs": 4, "progressbar": False, "resume": part} | change
    with pytest.raises(ValueError, match=words):
        bm.map_estimate(**given)


def test_wrong_use_of_runs_is_told_at_once(part, tmp_path):
    x, y = two_lines()
    given = {"epochs": 4, "progressbar": False}
    with pytest.raises(ValueError, match=r"one of bm.map_estimate, not bm.advi"):
        bm.advi(MDN, x, y, resume=part, **given)
    with pytest.raises(TypeError, match="folder that was given as store="):
        bm.map_estimate(MDN, x, y, resume=3, **given)
    with pytest.raises(FileNotFoundError, match=r"no run.json"):
        bm.map_estimate(MDN, x, y, resume=tmp_path, **given)
    with pytest.raises(TypeError, match="resume given, but only a network"):
        bm.advi(bm.Mixture(bm.Normal(), 2), y, resume=part)
    done = bm.map_estimate(MDN, x, y, random_seed=3, store=tmp_path / "run", **given)
    with pytest.raises(ValueError, match="nothing to go on with"):
        bm.map_estimate(MDN, x, y, resume=done, **given)
    with pytest.raises(FileExistsError, match=r"bm.map_estimate\(..., resume="):
        bm.map_estimate(MDN, x, y, store=tmp_path / "run", **given)
    with pytest.raises(ValueError, match="goes on there"):
        bm.map_estimate(MDN, x, y, resume=tmp_path / "run", store=tmp_path / "other", **given)
    with pytest.raises(ValueError, match="run of a network"):
        bm.recover(tmp_path / "run", y)


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_every_generator_goes_on(kind, monkeypatch):
    def seeded():
        return np.random.Generator(getattr(np.random, kind)(7))

    options = {"epochs": 4, "temperature": 1.0, "draws": 2}
    expected = fitted(bm.advi, options, random_seed=seeded())
    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted"):
        breaking_off(patch, 2, KeyboardInterrupt)
        part = fitted(bm.advi, options, random_seed=seeded())
    assert np.array_equal(fitted(bm.advi, options, resume=part).weights, expected.weights)
