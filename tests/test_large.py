"""Data that are not in memory: the same results as in memory, from every source, and the same errors."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmix as bm
from bayesmix.arrays import as_data
from bayesmix.chunks import CELLS, MappedFile, look, source_of
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.likelihood.repeated import collapse
from bayesmix.likelihood.streamed import PieceStatistics, StreamedLikelihood, add_statistics

N = 30_000
QUIET = {"progressbar": False, "random_seed": 1}
# Plain steps: extrapolation enlarges differences of rounding on the way, within `tol`. Few: poor optima take thousands.
PLAIN = QUIET | {"accelerate": False, "n_init": 8, "max_iter": 60}


def clusters(n=N, offset=0.0, seed=0):
    """Rows (n, 2) of three groups, apart enough that EM needs few iterations."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [6.0, 1.0], [1.0, 8.0]])
    return rng.normal(size=(n, 2)) * [1.0, 2.0] + centres[rng.integers(3, size=n)] + offset


X = clusters()
MIXTURE = bm.Mixture(bm.MvNormal(), 3)


class InBlocks:
    """The documented protocol: a shape, and blocks from the first row on each time."""

    def __init__(self, values, rows=7001):
        self.values, self.rows, self.shape = values, rows, values.shape

    def blocks(self):
        for start in range(0, len(self.values), self.rows):
            yield self.values[start : start + self.rows]


def on_file(values, folder, mode="r"):
    path = folder / "values"
    values.tofile(path)
    return np.memmap(path, values.dtype, mode=mode, shape=values.shape)


def sources(values, folder):
    frame = pd.DataFrame(values, columns=["a", "b"])
    mapped = on_file(values, folder)
    order = folder / "columns"
    values.T.tofile(order)
    return {
        "memmap": mapped,
        "memmap, a slice of it": np.memmap(folder / "values", values.dtype, "r", shape=values.shape)[: len(values)],
        "memmap, copy on write": np.memmap(folder / "values", values.dtype, "c", shape=values.shape),
        "memmap, column by column": np.memmap(order, values.dtype, "r", shape=values.shape, order="F"),
        "blocks": InBlocks(values),
        "blocks of frames": InBlocks(frame),
        "Dask array": da.from_array(values, chunks=(9000, 1)),
        "Dask array of unknown chunks": dd.from_pandas(frame, npartitions=3).to_dask_array(),
        "Dask frame": dd.from_pandas(frame, npartitions=3),
        "xarray DataArray": xr.DataArray(values, dims=("time", "feature")).chunk(time=8000),
        "xarray DataArray, transposed": xr.DataArray(values.T, dims=("feature", "time")).chunk(time=8000),
        "xarray Dataset": xr.Dataset({"a": ("t", values[:, 0]), "b": ("t", values[:, 1])}).chunk(t=8000),
        "Zarr": from_zarr(values, folder / "store.zarr"),
        "Parquet": from_parquet(frame, folder / "parts"),
    }


def from_zarr(values, path):
    columns = xr.Dataset({"a": ("t", values[:, 0]), "b": ("t", values[:, 1])})
    columns.chunk(t=8000).to_zarr(path, consolidated=False)
    return xr.open_zarr(path, consolidated=False)[["a", "b"]]  # a store does not keep the order of its variables


def from_parquet(frame, folder):
    folder.mkdir()
    third = -(-len(frame) // 3)
    for i in range(3):
        frame.iloc[i * third : (i + 1) * third].to_parquet(folder / f"{i}.parquet", index=False)
    return dd.read_parquet(folder)[["a", "b"]]


NAMES = [
    "memmap",
    "memmap, a slice of it",
    "memmap, copy on write",
    "memmap, column by column",
    "blocks",
    "blocks of frames",
    "Dask array",
    "Dask array of unknown chunks",
    "Dask frame",
    "xarray DataArray",
    "xarray DataArray, transposed",
    "xarray Dataset",
    "Zarr",
    "Parquet",
]


def assert_same_estimates(fit, other, rtol=1e-10):
    """Equal in units of each parameter: a mean near zero is compared by its component's standard deviation."""
    for name, value in other.estimates.items():
        scale = np.maximum(np.abs(value), 1.0 if name != "weights" else 0.0)
        np.testing.assert_array_less(np.abs(fit.estimates[name] - value) / scale, rtol, err_msg=name)


@pytest.fixture(scope="module")
def reference():
    return bm.em(MIXTURE, X, **PLAIN)


# --- the same as in memory ------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # Dask's reader of Parquet with pandas 3.1
@pytest.mark.parametrize("name", NAMES)
def test_every_source_gives_the_fit_of_the_array(name, tmp_path, reference):
    fit = bm.em(MIXTURE, sources(X, tmp_path)[name], **PLAIN)
    assert_same_estimates(fit, reference)
    assert fit.converged
    for what in ("log_likelihood", "bic", "aic"):
        assert getattr(fit, what) == pytest.approx(getattr(reference, what), rel=1e-10)
    assert fit.n_obs == N


def test_acceleration_leads_to_the_same_optimum(tmp_path):
    expected = bm.em(MIXTURE, X, **QUIET)
    fit = bm.em(MIXTURE, on_file(X, tmp_path), **QUIET)
    assert_same_estimates(fit, expected, rtol=1e-7)
    assert fit.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-13)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i4", "u1", "f2"])
def test_other_number_types_are_those_numbers(dtype, tmp_path):
    values = np.clip(10 * X + 60, 0, 250).astype(dtype)
    options = {**PLAIN, "max_iter": 15}
    expected = bm.em(MIXTURE, values.astype(float), **options)
    assert_same_estimates(bm.em(MIXTURE, on_file(values, tmp_path), **options), expected)


@pytest.mark.parametrize("component", [bm.Normal(), bm.Poisson(), bm.MvNormal(covariance="diag")], ids=str)
def test_one_column_and_other_families(component, tmp_path):
    rng = np.random.default_rng(3)
    x = rng.poisson(np.array([2.0, 30.0])[rng.integers(2, size=N)]) + (0.0 if component.discrete else rng.random(N))
    mixture = bm.Mixture(component, 2)
    expected = bm.em(mixture, x, **PLAIN)
    for given in (on_file(x, tmp_path), da.from_array(x, chunks=7000), InBlocks(x)):
        fit = bm.em(mixture, given, **PLAIN)
        assert_same_estimates(fit, expected)
        assert fit.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-10)


def test_weights_of_rows(tmp_path):
    weights = np.random.default_rng(5).integers(0, 4, N)
    expected = bm.em(MIXTURE, X, weights=weights, **PLAIN)
    fit = bm.em(MIXTURE, on_file(X, tmp_path), weights=weights, **PLAIN)
    assert_same_estimates(fit, expected)
    assert fit.bic == pytest.approx(expected.bic, rel=1e-10)


def test_an_offset_and_clusters_far_apart_cost_no_digits(tmp_path):
    """Moments about a common centre would lose them: the spread is 1e-6 of the distance, its square 1e-12."""
    x = np.concatenate([clusters(20_000), clusters(20_000, offset=1e6)])
    start = bm.em(bm.Mixture(bm.MvNormal(), 2), x, **QUIET)
    options = {"init": start, "guard": None, "max_iter": 3, "accelerate": False, "progressbar": False}
    fit = bm.em(start.mixture, on_file(x, tmp_path), **options)
    for k, part in enumerate((x[:20_000], x[20_000:])):
        np.testing.assert_allclose(fit.estimates["cov"][k], np.cov(part.T, bias=True), rtol=1e-9)


def test_the_pass_over_pieces_is_the_pass_over_all():
    x = clusters(2 * CELLS // 2 + 17)
    params = {
        "weights": np.full(3, 1 / 3),
        "mu": np.array([[0.0, 0], [5, 1], [1, 7]]),
        "cov": np.repeat(np.eye(2)[None], 3, 0),
    }
    source = source_of(InBlocks(x, rows=100_001))
    assert source is not None
    found = source.fold(PieceStatistics(bm.MvNormal(), params), add_statistics)
    expected = Likelihood(bm.MvNormal(), as_data(x), 3).statistics(params)
    for part, of_all in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, of_all, rtol=1e-11, atol=1e-11 * np.abs(of_all).max(initial=0.0))


def test_the_first_pass_finds_moments_ranges_and_the_sample(tmp_path):
    source = source_of(on_file(X, tmp_path))
    assert source is not None
    found = look(MIXTURE, source, np.random.default_rng(1), 2000)
    np.testing.assert_allclose(found.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(X.T, bias=True), rtol=1e-12)
    np.testing.assert_array_equal([found.low, found.high], [X.min(axis=0), X.max(axis=0)])
    np.testing.assert_array_equal(found.sample.values, X[found.sample.obs])
    streamed = StreamedLikelihood(bm.MvNormal(), found, 3, source=source)
    in_memory = Likelihood(bm.MvNormal(), as_data(X), 3)
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(2):  # the guard's rows, then those of the starts
        mine, theirs = streamed.subsample(2000, one), in_memory.subsample(2000, other)
        np.testing.assert_array_equal(mine.data.values, theirs.data.values)


def test_laplace_draws_are_those_of_the_array(tmp_path, reference):
    options = {"init": reference, "uncertainty": "laplace", "draws": 50, **PLAIN}
    expected = bm.em(MIXTURE, X, **options).posterior_draws
    found = bm.em(MIXTURE, on_file(X, tmp_path), **options).posterior_draws
    for name, draws in expected.items():
        # a given start takes its guard from the sample, where rows in memory are all looked at
        np.testing.assert_allclose(found[name], draws, rtol=1e-3, atol=1e-5)


# --- memory-mapped files ----------------------------------------------------------------------------------------------------
def test_slices_of_a_map_are_read_from_their_place_in_the_file(tmp_path):
    mapped = on_file(X, tmp_path)
    for part in (mapped[100:2000], mapped[5000:], mapped[:, 1], mapped[::3], mapped[::-1], mapped[100:2000][50:]):
        source = MappedFile(part)
        values = np.concatenate([block.copy() for block in source.blocks()])
        np.testing.assert_array_equal(values, np.asarray(part).reshape(len(part), -1))
    assert MappedFile(mapped[100:2000][50:])._offset == 150 * 16


def test_a_file_replaced_after_mapping_is_not_mistaken_for_the_map(tmp_path):
    mapped = on_file(X, tmp_path)
    (tmp_path / "values").unlink()
    (-X).tofile(tmp_path / "values")
    source = MappedFile(mapped)
    np.testing.assert_array_equal(next(source.blocks())[:5], X[:5])


def test_a_map_that_has_become_an_array_stays_in_memory(tmp_path):
    mapped = on_file(X, tmp_path)
    assert source_of(mapped.copy()) is None
    assert source_of(np.asarray(mapped)) is None


def test_what_was_written_through_a_map_is_read(tmp_path):
    mapped = on_file(X, tmp_path, mode="r+")
    mapped[3] = [100.0, 200.0]
    assert next(MappedFile(mapped).blocks())[3].tolist() == [100.0, 200.0]


# --- rows that repeat -------------------------------------------------------------------------------------------------------
def test_repeated_rows_are_collapsed_into_weights():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 12, size=(20_000, 2)).astype(float)
    component = bm.MvNormal()
    collapsed = Likelihood(component, as_data(x), 2)
    assert len(collapsed.rows.x) == 144
    assert collapsed.rows.weights.sum() == 20_000
    params = {
        "weights": np.array([0.3, 0.7]),
        "mu": np.array([[2.0, 3], [8, 9]]),
        "cov": np.repeat(4 * np.eye(2)[None], 2, 0),
    }
    plain = Likelihood(component, as_data(x), 2, look_for_repetitions=False)
    assert len(plain.rows.x) == 20_000
    for part, expected in zip(collapsed.statistics(params), plain.statistics(params), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-11, atol=1e-9)


def test_rows_that_do_not_repeat_stay_as_they_are():
    for x in (X, np.round(X[:1000]), np.round(X, 2)):
        rows = bm.MvNormal().rows(as_data(x))
        assert collapse(rows) is rows


def test_a_stream_of_repeated_rows_becomes_a_table(tmp_path):
    x = np.round(X)
    source = source_of(on_file(x, tmp_path))
    assert source is not None
    found = look(MIXTURE, source, np.random.default_rng(1), 2000)
    assert found.table is not None and len(found.table.values) < 1000
    assert found.table.total_weight == N
    expected = bm.em(MIXTURE, x, **PLAIN)
    assert_same_estimates(bm.em(MIXTURE, on_file(x, tmp_path), **PLAIN), expected)


# --- what goes wrong --------------------------------------------------------------------------------------------------------
def message_of(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("component", "spoil"),
    [
        (bm.MvNormal(), lambda x: x.__setitem__((slice(5, 9), 1), np.inf)),
        (bm.MvNormal(), lambda x: x.__setitem__((slice(None), 1), 2.5)),
        (bm.MvNormal(), lambda x: x.__setitem__((slice(None), 1), 3 * x[:, 0] + 1)),
    ],
    ids=["infinite", "constant", "dependent"],
)
def test_data_are_refused_as_in_memory(component, spoil, tmp_path):
    x = X.copy()
    spoil(x)
    mixture = bm.Mixture(component, 3)
    expected = message_of(lambda: bm.em(mixture, x, **QUIET))
    found = message_of(lambda: bm.em(mixture, on_file(x, tmp_path), **QUIET))
    assert found.split(" over ")[0] == expected.split(" over ")[0]


def test_missing_cells_are_refused(tmp_path):
    x = X.copy()
    x[[7, 20_000], [0, 1]] = np.nan
    with pytest.raises(ValueError, match=r"2 values are missing .* rows, counted from 0: 7, 20000"):
        bm.em(bm.Mixture(bm.MvNormal(), 3), on_file(x, tmp_path), **QUIET)


def test_counts_are_checked_in_all_rows():
    x = np.full(N, 3.0)
    x[: N // 2] = 5.0
    x[[12_345, 20_000]] = 2.5, -1.0
    expected = message_of(lambda: bm.em(bm.Mixture(bm.Poisson(), 2), x, **QUIET))
    assert message_of(lambda: bm.em(bm.Mixture(bm.Poisson(), 2), InBlocks(x), **QUIET)) == expected


def test_one_odd_row_keeps_columns_from_being_dependent():
    """A sample would not see it: the moments of all rows do."""
    x = np.repeat(X[:, :1], 2, axis=1)
    x[17_171, 1] += 3.0
    source = source_of(InBlocks(x))
    assert source is not None
    look(bm.Mixture(bm.MvNormal(), 1), source, np.random.default_rng(1), 2000)


def test_there_are_as_many_distinct_rows_as_components():
    x = np.repeat([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0], [4.0, 0.0]], N // 4, axis=0)
    bm.em(bm.Mixture(bm.MvNormal(), 2), InBlocks(x), max_iter=3, **QUIET)
    message = message_of(lambda: bm.em(bm.Mixture(bm.MvNormal(), 5), InBlocks(x), **QUIET))
    assert f"n_components=5 but the data have 4 distinct rows among {N} rows" in message


def test_blocks_that_do_not_keep_their_promise():
    class Once(InBlocks):
        def __init__(self, values):
            super().__init__(values)
            self.once = super().blocks()

        def blocks(self):
            return self.once

    assert "each time it is called" in message_of(lambda: bm.em(MIXTURE, Once(X), **QUIET))

    class Short(InBlocks):
        def blocks(self):
            yield self.values[:100]

    assert "held 100 rows in this pass, where shape says 30000" in message_of(lambda: bm.em(MIXTURE, Short(X), **QUIET))

    class Wide(InBlocks):
        def blocks(self):
            yield np.zeros((10, 3))

    assert "shape (10, 3), but blocks need 2 columns" in message_of(lambda: bm.em(MIXTURE, Wide(X), **QUIET))


def test_what_needs_all_rows_says_what_to_do(tmp_path):
    mapped = on_file(X, tmp_path)
    lazy = xr.DataArray(X, dims=("t", "feature")).chunk(t=8000)
    for engine in (bm.nuts, bm.laplace):
        assert "np.asarray(data)" in message_of(lambda engine=engine: engine(MIXTURE, mapped))
        assert "data.load()" in message_of(lambda engine=engine: engine(MIXTURE, lazy))
        assert "np.concatenate" in message_of(lambda engine=engine: engine(MIXTURE, InBlocks(X)))
    assert "laplace" in message_of(lambda: bm.em(MIXTURE, mapped, uncertainty="bootstrap", **QUIET))
    assert "one entry per row" in message_of(lambda: bm.em(MIXTURE, mapped, init=np.zeros(N, int), **QUIET))
    assert "client= is for Dask" in message_of(lambda: bm.em(MIXTURE, X, client=object(), **QUIET))


# --- the fit ----------------------------------------------------------------------------------------------------------------
def test_the_fit_predicts_and_is_saved_without_rows(tmp_path, reference):
    frame = dd.from_pandas(pd.DataFrame(X, columns=["a", "b"]), npartitions=2)
    fit = bm.em(MIXTURE, frame, **PLAIN)
    new = pd.DataFrame({"b": X[:50, 1], "a": X[:50, 0]})
    np.testing.assert_array_equal(fit.classify(new), reference.classify(X[:50]))
    np.testing.assert_allclose(fit.logpdf(new), reference.logpdf(X[:50]), rtol=1e-9)
    assert fit.tree["observed_data"].dataset["x"].sizes["obs"] == 0
    assert set(fit.tree.children) >= {"point", "trace", "starts"}
    assert f"{N} rows" in repr(fit)
    fit.save(tmp_path / "fit.nc")
    loaded = bm.load(tmp_path / "fit.nc")
    assert (loaded.bic, loaded.n_obs) == (fit.bic, N)
    for call in (lambda: fit.icl, fit.plot, lambda: bm.compare({"EM": fit})):
        assert "bm.Fit.from_parameters(fit.mixture, rows, **fit.estimates)" in message_of(call)
    assert bm.Fit.from_parameters(fit.mixture, new, **fit.estimates).icl > 0


def test_the_same_seed_gives_the_same_fit(tmp_path):
    mapped = on_file(X, tmp_path)
    one, other = (bm.em(MIXTURE, mapped, random_seed=7, n_init=5, progressbar=False) for _ in range(2))
    for name, value in one.estimates.items():
        np.testing.assert_array_equal(other.estimates[name], value)
