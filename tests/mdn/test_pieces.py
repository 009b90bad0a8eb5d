"""Networks of rows that are not in memory: the same as of rows that are, in bounded memory."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from test_resume import breaking_off

import bayesmix as bm
from bayesmix.mdn import pieces, rows

dask = pytest.importorskip("dask.array")
MDN = bm.MDN(bm.Normal(), n_components=2, hidden=(6,))
SHORT = {"epochs": 6, "random_seed": 3, "progressbar": False}


def two_lines(n=600, seed=0):
    """y = 1 + 2 x or -1 - 2 x by the toss of a coin, with noise of sd 0.2; a second covariate says nothing."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 2))
    return x, rng.choice([-1.0, 1.0], size=n) * (1 + 2 * x[:, 0]) + 0.2 * rng.normal(size=n)


def mapped(array, path):
    """The array in a file."""
    found = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    found[:] = array
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


class Blocks:
    """Rows that are handed out from the first on."""

    def __init__(self, array, sizes):
        self.array, self.shape, self.sizes = array, array.shape, sizes

    def blocks(self):
        yield from np.split(self.array, np.cumsum(self.sizes))


KINDS = {
    "memmap": lambda x, y, path: (mapped(x, path / "x"), mapped(y, path / "y")),
    "one memmap": lambda x, y, path: (mapped(x, path / "x"), y),
    "Dask": lambda x, y, path: (dask.from_array(x, chunks=(170, 1)), dask.from_array(y, chunks=250)),
    "Dask and memmap": lambda x, y, path: (dask.from_array(x, chunks=(170, 2)), mapped(y, path / "y")),
    "blocks": lambda x, y, path: (Blocks(x, [100, 450]), Blocks(y[:, None], [599])),
}


@pytest.fixture(params=list(KINDS))
def kind(request, tmp_path):
    return lambda x, y: KINDS[request.param](x, y, tmp_path)


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 128 rows."""
    monkeypatch.setattr(pieces, "CELLS", 256)


@pytest.mark.parametrize(
    "engine, options",
    [(bm.map_estimate, {"early_stopping": False, "members": 2}), (bm.advi, {"temperature": 0.3, "draws": 2})],
    ids=["map", "advi"],
)
def test_one_pool_gives_the_network_of_rows_in_memory(engine, options, kind, small_pieces):
    """The rows of a pool are shuffled as those in memory are: the same batches, the same weights."""
    x, y = two_lines()
    expected = engine(MDN, x, y, **options, **SHORT)
    found = engine(MDN, *kind(x, y), **options, **SHORT)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9, atol=1e-12)
    assert found.tree.attrs["n_rows"] == 600 and "observed_data" not in found.tree.children


@pytest.mark.parametrize("early_stopping", [True, False])
def test_many_pools_predict_as_well(kind, small_pieces, monkeypatch, early_stopping):
    """Other batches of the same rows: held-out density within 0.05 nats a row, as two seeds differ in memory."""
    monkeypatch.setattr(rows, "POOL_CELLS", 900)  # 150 rows
    x, y = two_lines(2000, seed=4)
    options = {"members": 3, "early_stopping": early_stopping} | SHORT | {"epochs": 30}
    found = bm.map_estimate(MDN, *kind(x[:600], y[:600]), **options)
    expected = bm.map_estimate(MDN, x[:600], y[:600], **options)
    off = found.logpdf(x[600:], y[600:]).mean() - expected.logpdf(x[600:], y[600:]).mean()
    assert abs(off) < 0.05


def test_every_row_is_trained_on_once_in_an_epoch(kind, small_pieces, monkeypatch):
    x, y = two_lines()
    material = rows.rows_of(MDN, *kind(x, y))
    monkeypatch.setattr(rows, "POOL_CELLS", 600)
    feed = material.split(2, 0.15, np.random.default_rng(0))
    held, own = feed.held_out[0].x, []
    for problem, order in feed.parts(32, np.random.default_rng(1)):
        for member in order:
            np.testing.assert_array_equal(np.sort(member), np.arange(order.shape[1]))
        own.append(problem.x[: order.shape[1]])
    assert [len(one) % 32 for one in own[:-1]] == [0] * (len(own) - 1) and len(own) > 2
    assert len(held) == 90 and sum(map(len, own)) == feed.n_rows == 510
    every = np.concatenate([held, *own])
    inputs = material.model.covariates.encode(x)
    np.testing.assert_array_equal(np.unique(every, axis=0), np.unique(np.round(inputs, 6), axis=0))


def test_units_are_found_in_one_pass(small_pieces, monkeypatch, tmp_path):
    """Means and standard deviations are those of all rows, where links begin those of a sample."""
    monkeypatch.setattr(rows, "SAMPLE", 50)
    x, y = two_lines()
    x, y = 1e3 + 1e-3 * x, 50.0 - 7.0 * y
    material = rows.rows_of(MDN, mapped(x, tmp_path / "x"), mapped(y, tmp_path / "y"))
    found = [(one.mean, one.sd) for one in material.model.covariates.columns]
    np.testing.assert_allclose(found, np.column_stack([x.mean(axis=0), x.std(axis=0)]), rtol=1e-9)
    np.testing.assert_allclose(material.model.heads[0].settings[:2], [y.mean(), y.std()], rtol=1e-12)


def test_frames_of_dask_keep_names_categories_and_gaps():
    dd = pytest.importorskip("dask.dataframe")
    x, y = two_lines()
    frame = pd.DataFrame({"size": x[:, 0], "colour": np.where(x[:, 1] > 0, "red", "blue"), "height": y})
    frame.loc[frame.index[400:], "colour"] = "green"  # which the first partitions do not have
    frame.loc[3, "size"] = np.nan
    chunked = dd.from_pandas(frame, npartitions=4)
    options = {"members": 1, "early_stopping": False} | SHORT
    expected = bm.map_estimate(MDN, frame[["size", "colour"]], frame["height"], **options)
    found = bm.map_estimate(MDN, chunked[["size", "colour"]], chunked["height"], **options)
    assert found.model.covariates.names == ["size", "colour"] and found.model.feature == ("height",)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        found.logpdf(chunked[["colour", "size"]], chunked["height"]), found.logpdf(frame, frame["height"]), rtol=1e-12
    )


def test_predictions_of_pieces_are_those_of_rows(kind, small_pieces, tmp_path):
    x, y = two_lines()
    fit = bm.map_estimate(MDN, *kind(x, y), **SHORT)
    fit.save(tmp_path / "fit.nc")
    fit = bm.load(tmp_path / "fit.nc")
    far_x, far_y = kind(x, y)
    for name in ("logpdf", "cdf", "crps"):
        expected = getattr(fit, name)(x, y)
        found = getattr(fit, name)(far_x, far_y)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert list(found.obs.values) == list(range(600))
    np.testing.assert_allclose(fit.mean(far_x), fit.mean(x), rtol=1e-12)
    np.testing.assert_allclose(fit.quantile(far_x, [0.1, 0.9]), fit.quantile(x, [0.1, 0.9]), rtol=1e-9)


def test_last_layers_and_runs_of_pieces(small_pieces, monkeypatch, tmp_path):
    """Draws of the last layer, and a run that is interrupted and goes on, are those of rows in memory."""
    monkeypatch.setattr(rows, "POOL_CELLS", 2400)
    x, y = two_lines()
    far = mapped(x, tmp_path / "x"), mapped(y, tmp_path / "y")
    options = {"members": 1, "method": "lastlayer-laplace", "draws": 3, "epochs": 6, "progressbar": False}
    expected = bm.map_estimate(MDN, *far, random_seed=3, **options)
    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted"):
        breaking_off(patch, 2, KeyboardInterrupt)
        part = bm.map_estimate(MDN, *far, random_seed=3, **options)
    found = bm.map_estimate(MDN, dask.from_array(x, chunks=(128, 2)), far[1], resume=part, **options)
    assert np.array_equal(found.weights, expected.weights)
    with pytest.raises(ValueError, match="the data differ"):
        bm.map_estimate(MDN, x + 1.0, far[1], resume=part, **options)


@pytest.mark.parametrize(
    "component, change, words",
    [
        (bm.Normal(), lambda y: np.where(np.arange(600) == 500, np.nan, y), "rows 384 to 511"),
        (bm.Gamma(), lambda y: np.where(np.arange(600) == 500, -1.0, np.abs(y) + 0.1), "Gamma"),
        (bm.Poisson(), lambda y: np.where(np.arange(600) == 500, 1.5, np.floor(np.abs(y))), "Poisson"),
    ],
    ids=["missing", "negative", "fraction"],
)
def test_bad_responses_are_found_wherever_they_are(component, change, words, small_pieces, monkeypatch, tmp_path):
    monkeypatch.setattr(rows, "SAMPLE", 50)
    x, y = two_lines()
    with pytest.raises(ValueError, match=words):
        bm.map_estimate(
            bm.MDN(component), mapped(x, tmp_path / "x"), mapped(change(y), tmp_path / "y"), progressbar=False
        )


def test_rows_must_be_as_many(tmp_path):
    x, y = two_lines()
    with pytest.raises(ValueError, match="600 rows of covariates, but 599 of responses"):
        bm.map_estimate(MDN, mapped(x, tmp_path / "x"), y[:-1])


def test_memory_is_bounded(tmp_path):
    """Of 400 000 rows of 20 covariates, 64 MB, a part is in memory at a time."""
    n, d = 400_000, 20
    x = np.memmap(tmp_path / "x", dtype="f8", mode="w+", shape=(n, d))
    y = np.memmap(tmp_path / "y", dtype="f8", mode="w+", shape=n)
    rng = np.random.default_rng(0)
    for i in range(0, n, 20_000):
        x[i : i + 20_000] = rng.normal(size=(20_000, d))
        y[i : i + 20_000] = x[i : i + 20_000, 0]
    peak = _peak(x, y, hidden=(4,), batch_size=5000)
    assert peak < 48e6  # six times the million numbers of a pool


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Of 2 million rows of 20 covariates, 320 MB."""
    n, d = 2_000_000, 20
    x = np.memmap(tmp_path / "x", dtype="f8", mode="w+", shape=(n, d))
    y = np.memmap(tmp_path / "y", dtype="f8", mode="w+", shape=n)
    rng = np.random.default_rng(0)
    for i in range(0, n, 100_000):
        x[i : i + 100_000] = rng.normal(size=(100_000, d))
        y[i : i + 100_000] = x[i : i + 100_000, 0]
    peak = _peak(x, y, hidden=(4,), batch_size=5000)
    assert peak < 48e6 + 8 * n  # numbers of rows, from which the held-out ones are drawn


def _peak(x, y, hidden, batch_size):
    """Most bytes that a run has allocated at once."""
    tracemalloc.start()
    try:
        fit = bm.map_estimate(
            bm.MDN(bm.Normal(), n_components=1, hidden=hidden),
            x, y, members=1, epochs=1, batch_size=batch_size, random_seed=0, progressbar=False,
        )  # fmt: skip
        assert np.isfinite(fit.tree["training"]["log_density"]).all()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
