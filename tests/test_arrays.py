"""Data mean the same whatever library holds them; bad data are told apart; NumPy and PyTensor agree."""

import datetime
import re
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from scipy import special

from bayesmix import arrays
from bayesmix.arrays import as_data

X = np.array([[1.5, 10.0], [2.0, 20.0], [4.0, 50.0]])
FRAME = pd.DataFrame(X, columns=["a", "b"], index=["r", "s", "t"])


class OnlyArray:
    """What a Dask array, or any other library's, has in common with NumPy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


def memmap(tmp_path, values):
    path = tmp_path / "values.npy"
    np.save(path, values)
    return np.load(path, mmap_mode="r")


# --- every kind of input ------------------------------------------------------------------------

NAMED = {
    "pandas": FRAME,
    "pandas nullable": FRAME.convert_dtypes(),
    "pandas objects": FRAME.astype(object),
    "pandas arrow": FRAME.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame(X, schema=["a", "b"]),
    "polars decimal": pl.DataFrame({"a": [Decimal("1.5"), Decimal(2), Decimal(4)], "b": [10, 20, 50]}),
    "xarray Dataset": xr.Dataset({"a": ("obs", X[:, 0]), "b": ("obs", X[:, 1])}),
    "xarray last dim": xr.DataArray(X, dims=("time", "what"), coords={"what": ["a", "b"]}),
    "xarray feature dim": xr.DataArray(X.T, dims=("feature", "obs"), coords={"feature": ["a", "b"]}),
    "structured": np.array([tuple(row) for row in X], dtype=[("a", float), ("b", float)]),
    "Data": as_data(FRAME),
}
UNNAMED = {
    "numpy": X,
    "numpy Fortran": np.asfortranarray(X),
    "numpy objects": X.astype(object),
    "numpy masked, nothing masked": np.ma.masked_array(X, mask=False),
    "list": X.tolist(),
    "list of arrays": list(X),
    "pandas": pd.DataFrame(X),
    "xarray": xr.DataArray(X),
    "__array__": OnlyArray(X),
    "float128": X.astype(np.longdouble),
}


@pytest.mark.parametrize("given", NAMED.values(), ids=NAMED.keys())
def test_every_named_input_gives_the_same_values_and_names(given):
    data = as_data(given)
    np.testing.assert_array_equal(data.values, X)
    assert data.feature == ("a", "b")
    assert data.named


@pytest.mark.parametrize("given", UNNAMED.values(), ids=UNNAMED.keys())
def test_every_unnamed_input_gives_the_same_values_and_counts_its_columns(given):
    data = as_data(given)
    np.testing.assert_array_equal(data.values, X)
    assert data.feature == (0, 1)
    assert not data.named
    assert data.obs.tolist() == [0, 1, 2]
    assert data.values.dtype == np.float64
    assert data.values.flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "feature"),
    [
        (X[:, 0], (0,)),
        (X[:, 0].tolist(), (0,)),
        (tuple(X[:, 0]), (0,)),
        (X[:, :1], (0,)),
        (FRAME["a"], ("a",)),
        (pd.Series(X[:, 0]), (0,)),
        (pl.Series("a", X[:, 0]), ("a",)),
        (pl.Series(X[:, 0]), (0,)),
        (xr.DataArray(X[:, 0], dims="obs", name="a"), ("a",)),
        (xr.DataArray(X[:, 0]), (0,)),
        (xr.Dataset({"a": ("obs", X[:, 0])}), ("a",)),
    ],
)
def test_one_dimension_is_one_column(given, feature):
    data = as_data(given)
    np.testing.assert_array_equal(data.values, X[:, :1])
    assert data.feature == feature


@pytest.mark.parametrize(
    "given",
    [
        [True, False, True],
        np.array([1, 0, 1], dtype=np.uint8),
        range(1, 4),
        pd.Series([True, False, True], dtype="boolean"),
        pl.Series([1, 0, 1]),
        [np.int64(1), Decimal(0), np.True_],
    ],
)
def test_booleans_and_integers_become_floats(given):
    values = as_data(given).values
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values[:, 0], np.asarray(list(given), dtype=float))


def test_a_float64_memory_map_is_not_copied(tmp_path):
    mapped = memmap(tmp_path, X)
    assert np.shares_memory(as_data(mapped).values, mapped)


def test_rows_keep_their_labels():
    assert as_data(FRAME).obs.tolist() == ["r", "s", "t"]
    assert as_data(FRAME["a"]).obs.tolist() == ["r", "s", "t"]
    dated = xr.DataArray([1.0, 2.0], dims="day", coords={"day": np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]")})
    assert as_data(dated).obs.dtype.kind == "M"
    many = FRAME.set_axis(pd.MultiIndex.from_product([["u"], [1, 2, 3]]))
    assert as_data(many).obs.tolist() == [0, 1, 2]


def test_total_weight_counts_rows_or_sums_weights():
    assert as_data(X).total_weight == 3
    assert as_data(X, weights=pd.Series([1, 0, 4], dtype="Int64")).total_weight == 5
    assert as_data(as_data(X, weights=[1, 0, 4])).total_weight == 5


# --- columns expected ---------------------------------------------------------------------------


@pytest.mark.parametrize("given", NAMED.values(), ids=NAMED.keys())
def test_columns_are_matched_by_name(given):
    data = as_data(given, feature=("b", "a"))
    np.testing.assert_array_equal(data.values, X[:, ::-1])
    assert data.feature == ("b", "a")


def test_columns_that_are_not_expected_are_ignored_whatever_they_hold():
    wide = FRAME.assign(species="setosa", gap=np.nan)
    np.testing.assert_array_equal(as_data(wide, feature=("b",)).values, X[:, 1:])
    grid = xr.Dataset({"a": ("obs", X[:, 0]), "other": (("x", "y"), X)})
    np.testing.assert_array_equal(as_data(grid, feature=("a",)).values, X[:, :1])


def test_columns_without_names_are_matched_by_position():
    data = as_data(X, feature=("a", "b"))
    np.testing.assert_array_equal(data.values, X)
    assert data.feature == ("a", "b")
    np.testing.assert_array_equal(as_data(FRAME, feature=(0, 1)).values, X)


def test_counted_columns_of_a_reordered_frame_still_find_their_place():
    np.testing.assert_array_equal(as_data(pd.DataFrame(X)[[1, 0]], feature=(0, 1)).values, X)


@pytest.mark.parametrize("given", [3.0, 3, np.float64(3), np.array(3.0), [3.0]])
def test_with_one_column_a_number_is_an_observation(given):
    assert as_data(given, feature=("a",)).values.tolist() == [[3.0]]


def test_a_row_along_the_feature_dimension_is_one_row():
    row = NAMED["xarray feature dim"].isel(obs=0)
    assert as_data(row, feature=("b", "a")).values.tolist() == [[10.0, 1.5]]


@pytest.mark.parametrize(
    ("given", "feature", "message"),
    [
        (FRAME, ("a", "waiting", "c"), r"lack 2 columns of the 3 expected: 'waiting', 'c'; they have 'a', 'b'"),
        (FRAME.rename(columns={"b": "wating"}), ("a", "waiting"), r"'waiting' may be 'wating'"),
        (X, ("a", "b", "c"), r"expected 3 columns, 'a', 'b', 'c'; got 2-D data with 2 columns and 3 rows"),
        (FRAME, (0, 1, 2), r"expected 3 columns, column 0, column 1, column 2; got 2-D data with 2 columns"),
        ([1.0, 2.0], ("a", "b"), r"1-D array of 2 values is ambiguous.*x\[None, :\]"),
        (FRAME.iloc[2], ("a", "b"), r"1-D array of 2 values is ambiguous"),
        ([1.0, 2.0, 3.0], ("a", "b"), r"expected 2 columns, 'a', 'b'; got 1-D data with 1 column and 3 rows"),
        (FRAME.set_axis(["a", "a"], axis=1), ("a",), r"repeated: 'a' \(2 times\)"),
    ],
)
def test_unexpected_columns_are_told(given, feature, message):
    with pytest.raises(ValueError, match=message):
        as_data(given, feature=feature)


# --- bad data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("faithful.csv", r"data is of type str.*read a file first"),
        ({"a": [1, 2]}, r"type dict.*pandas DataFrame or an xarray Dataset"),
        (None, r"type NoneType"),
        ((x for x in range(3)), r"type generator.*list\(\.\.\.\)"),
        ({1.0, 2.0}, r"type set.*list\(\.\.\.\)"),
        (object(), r"type object.*pass an array"),
        (FRAME.pipe(pl.from_pandas).lazy(), r"LazyFrame.*collect\(\)"),
    ],
)
def test_what_is_no_array_is_a_type_error(given, message):
    with pytest.raises(TypeError, match=message):
        as_data(given)


BAD = {
    "empty list": ([], r"empty: 0 rows and 1 column\."),
    "no rows": (FRAME.iloc[:0], r"empty: 0 rows and 2 columns"),
    "no columns": (FRAME[[]], r"empty: 3 rows and 0 columns"),
    "no columns, numpy": (np.empty((3, 0)), r"empty: 3 rows and 0 columns"),
    "no columns, polars": (pl.DataFrame(), r"empty: 0 rows and 0 columns"),
    "no variables": (xr.Dataset(), r"empty: 0 rows and 0 columns"),
    "number": (3.0, r"single number"),
    "3-D": (np.zeros((2, 3, 4)), r"3-D array of shape \(2, 3, 4\).*reshape\(2, -1\)"),
    "3-D xarray": (xr.DataArray(np.zeros((2, 3, 4))), r"3-D array of shape \(2, 3, 4\)"),
    "ragged": ([[1, 2], [3]], r"ragged list.*lengths from 1 to 2"),
    "ragged depth": ([[1, 2], 3], r"ragged list"),
    "text": (FRAME.assign(name="u"), r"'name' holds text, e\.g\. 'u'.*pass data\[\['a', 'b'\]\]"),
    "text array": (np.array([["1.5", "u"]]), r"column 0 holds text, e\.g\. '1\.5', column 1 holds text, e\.g\. 'u'"),
    "text in a list": ([[1, "u"], [2, "v"]], r"column 1 holds text, e\.g\. 'u'.*pass data\[:, \[0\]\]"),
    "object column": (FRAME.assign(c=[1, "x", 3]), r"'c' holds text, e\.g\. 'x'"),
    "objects": ([[1, object()]], r"column 1 holds objects \(object\)"),
    "category": (FRAME.assign(c=pd.Categorical([1, 2, 1])), r"'c' holds text, e\.g\. '1'"),
    "pandas dates": (pd.DataFrame({"d": pd.date_range("2020-01-01", periods=2)}), r"'d' holds dates or times"),
    "polars dates": (pl.DataFrame({"d": [datetime.date(2020, 1, 1)]}), r"'d' holds dates or times \(date\)"),
    "durations": (np.array([1, 2], dtype="m8[s]"), r"column 0 holds dates or times \(timedelta64\)"),
    "durations as objects": ([np.timedelta64(1, "s"), 2], r"column 0 holds dates or times \(timedelta64\)"),
    "polars text": (pl.DataFrame({"a": [1], "s": ["u"]}), r"'s' holds text, e\.g\. 'u'"),
    "Dataset text": (xr.Dataset({"a": ("o", [1.0]), "s": ("o", ["u"])}), r"'s' holds text, e\.g\. 'u'.*\[\['a'\]\]"),
    "complex": (np.array([1 + 2j]), r"column 0 holds complex numbers, e\.g\. \(1\+2j\)"),
    "duplicate names": (FRAME.set_axis(["a", "a"], axis=1), r"repeated: 'a' \(2 times\)"),
    "duplicate names, xarray": (xr.DataArray(X, coords={"f": ["a", "a"]}, dims=("o", "f")), r"'a' \(2 times\)"),
    "mixed Dataset": (xr.Dataset({"a": ("x", [1.0]), "b": ("y", [1.0])}), r"'a' has \('x',\), 'b' has \('y',\)"),
    "2-D Dataset": (xr.Dataset({"a": (("x", "y"), X)}), r"must be 1-D along one dimension"),
    "big integers": (np.array([0, 2**53 + 1]), r"integer 9007199254740993, which float64 cannot hold"),
    "big unsigned": (np.array([2**64 - 1], dtype=np.uint64), r"integer 18446744073709551615"),
    "big nullable": (pd.DataFrame({"id": pd.array([2**53 + 1], dtype="Int64")}), r"'id' holds the integer"),
    "huge Python integer": ([10**400], r"holds the integer 1000"),
    "inf": (
        [[1.0, np.inf], [-np.inf, 2.0]],
        r"2 values are infinite: in column 0 \(1\), column 1 \(1\); 2 rows.*: 0, 1",
    ),
    "overflow": (np.array([1e300], dtype=np.longdouble) ** 10, r"1 value is infinite"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD.keys())
def test_bad_data_are_told_apart(given, message):
    with pytest.raises(ValueError, match=message):
        as_data(given)


GAPS = {
    "numpy": (
        np.array([[1, np.nan], [2, 3], [np.nan, 4]]),
        r"2 values.*column 0 \(1\), column 1 \(1\); 2 rows.*: 0, 2",
    ),
    "None": ([1.0, None, 2.0], r"1 value is missing.*column 0 \(1\); 1 row, counted from 0: 1"),
    "masked": (np.ma.masked_array([[1, 2], [3, 4]], [[0, 1], [0, 0]]), r"1 value is missing.*column 1 \(1\)"),
    "pandas NaN": (FRAME.replace(50.0, np.nan), r"1 value.*'b' \(1\).*data\.dropna\(\)"),
    "pandas NA": (pd.DataFrame({"k": pd.array([1, None], dtype="Int64")}), r"1 value.*'k' \(1\)"),
    "pandas boolean NA": (pd.DataFrame({"k": pd.array([True, None], dtype="boolean")}), r"1 value.*'k' \(1\)"),
    "pandas objects": (pd.Series([1, pd.NA, None], dtype=object, name="k"), r"2 values.*'k' \(2\)"),
    "polars null": (pl.DataFrame({"k": [1, None, 3]}), r"1 value.*'k' \(1\).*drop_nulls\(\)"),
    "polars nothing else": (pl.DataFrame({"k": [None, None]}), r"2 values.*'k' \(2\)"),
    "xarray": (xr.DataArray([1.0, np.nan], dims="day"), r"1 value.*data\.dropna\('day'\)"),
    "Dataset": (xr.Dataset({"k": ("day", [np.nan, 1.0])}), r"1 value.*'k' \(1\).*data\.dropna\('day'\)"),
    "many": (np.full(10, np.nan), r"10 values are missing.*10 rows, counted from 0: 0, 1, 2, 3, 4, \.\.\."),
}


@pytest.mark.parametrize(("given", "message"), GAPS.values(), ids=GAPS.keys())
def test_missing_values_are_counted_and_located(given, message):
    with pytest.raises(ValueError, match=message) as error:
        as_data(given)
    assert "drop those rows" in str(error.value)


def test_large_integers_that_float64_holds_are_taken():
    assert as_data(np.array([2**60, -(2**63)])).values[:, 0].tolist() == [2.0**60, -(2.0**63)]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"weights has 2 entries but the data have 3 rows"),
        ([[1], [2], [3]], r"weights must be 1-D, one number per row \(3\); got 2-D of shape \(3, 1\)"),
        (2.0, r"got 0-D of shape \(\)"),
        ([1, -2, -3], r"2 of 3 weights are negative, first -2 in row 1"),
        ([1, np.nan, 1], r"1 of 3 weights are missing or infinite, first nan in row 1"),
        ([1, None, 1], r"1 of 3 weights are missing or infinite"),
        ([1, 1, np.inf], r"first inf in row 2"),
        ([0, 0, 0], r"all 3 weights are zero"),
        (["u", "v", "w"], r"weights must be real numbers, but holds text, e\.g\. 'u'"),
    ],
)
def test_bad_weights_are_told_apart(weights, message):
    with pytest.raises(ValueError, match=message):
        as_data(X, weights=weights)


def test_weights_by_name_are_refused_with_the_way_to_pass_them():
    with pytest.raises(TypeError, match=r"weights=data\['freq'\]"):
        as_data(FRAME, weights="freq")


# --- what families ask --------------------------------------------------------------------------


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def frame(**columns):
    return as_data(pd.DataFrame(columns))


OFFSETS_AND_SCALES = [(0, 1), (1e8, 1), (0, 1e-8), (-1e8, 1e-3), (1e-8, 1e-16), (0, 1e150), (1e300, 1e290)]


@pytest.mark.parametrize(("offset", "scale"), OFFSETS_AND_SCALES)
def test_offsets_and_scales_are_neither_constant_nor_dependent(rng, offset, scale):
    data = as_data(offset + scale * rng.normal(size=(50, 3)))
    arrays.check_not_constant(data, "Normal")
    arrays.check_full_rank(data, "MvNormal")


@pytest.mark.parametrize("value", [0.0, 3.0, 1e8 / 3, 1e-300])
def test_a_constant_column_is_named(rng, value):
    data = frame(a=rng.normal(size=9), b=np.full(9, value))
    for check in (arrays.check_not_constant, arrays.check_full_rank):
        with pytest.raises(ValueError, match=re.escape(f"over 9 rows 1 column does not: 'b' (always {value:g})")):
            check(data, "MvNormal")


def test_rows_of_weight_zero_do_not_count():
    data = as_data([3.0, 3.0, 4.0], weights=[1, 1, 0])
    with pytest.raises(ValueError, match=r"over 2 rows 1 column does not"):
        arrays.check_not_constant(data, "Normal")
    with pytest.raises(ValueError, match=r"n_components=2 but the data have 1 distinct value among 2 rows"):
        arrays.check_distinct_rows(data, 2)


@pytest.mark.parametrize(("offset", "scale"), [(0, -1), (32, 1.8), (1e8, 1), (0, 1e-8), (1e6, 1e6)])
def test_a_copied_column_is_named_whatever_its_unit(rng, offset, scale):
    a, b = rng.normal(size=(2, 40))
    with pytest.raises(ValueError, match=r"same up to an offset and a scale: 'a' and 'c'\. Drop 'c'.*diag"):
        arrays.check_full_rank(frame(a=a, b=b, c=offset + scale * a), "MvNormal")


@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e8, 1), (0, 1e-8), (1e6, 1e6)])
def test_a_total_is_named_with_its_parts(rng, offset, scale):
    a, b, c = offset + scale * rng.normal(size=(3, 40))
    with pytest.raises(ValueError, match=r"4 columns have rank 3: 'total' follows from 'a', 'b'\. Drop 'total'"):
        arrays.check_full_rank(frame(a=a, b=b, c=c, total=a + b), "MvNormal")


def test_close_columns_are_not_dependent(rng):
    a, b = rng.normal(size=(2, 200))
    arrays.check_full_rank(frame(a=a, b=b, c=a + 1e-4 * rng.normal(size=200)), "MvNormal")
    arrays.check_full_rank(frame(a=a, b=b, c=a + b + 1e-6 * rng.normal(size=200)), "MvNormal")


def test_a_full_covariance_needs_more_rows_than_columns(rng):
    with pytest.raises(ValueError, match=r"3 rows and 3 columns.*fewer columns, more rows.*diag"):
        arrays.check_full_rank(as_data(rng.normal(size=(3, 3))), "MvNormal")
    arrays.check_full_rank(as_data(rng.normal(size=(4, 3))), "MvNormal")


@pytest.mark.parametrize("n_obs", [5, arrays._BLOCK + 1])
def test_moments_are_those_of_numpy_across_blocks(rng, n_obs):
    values = 100 + rng.normal(size=(n_obs, 2)) * [1, 50]
    mean, scale, correlation = arrays._moments(values)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scale, values.std(axis=0), rtol=1e-11)
    np.testing.assert_allclose(correlation, np.corrcoef(values.T), atol=1e-12)


def test_counts_are_whole_and_not_negative():
    arrays.check_counts(as_data([[0, 3], [1e9, 2]]), "Poisson")
    data = frame(a=[1, 2, 3], b=[0, -1, 2.5])
    with pytest.raises(ValueError, match=r"of 6 values 1 are negative and 1 are fractional, first -1 in row 1 of 'b'"):
        arrays.check_counts(data, "Poisson")


def test_a_univariate_family_says_which_columns_there_are():
    class Gamma:
        pass

    arrays.check_one_column(as_data([1.0, 2.0]), Gamma())
    for family in (Gamma, Gamma()):
        with pytest.raises(ValueError, match=r"Gamma describes one column.*have 2: 'a', 'b'.*data\['a'\].*MvNormal"):
            arrays.check_one_column(as_data(FRAME), family)


def test_there_are_as_many_distinct_rows_as_components():
    data = as_data([1.0, 2.0, 1.0, 4.0, 2.0, -0.0, 0.0])
    arrays.check_distinct_rows(data, 4)
    with pytest.raises(ValueError, match=r"n_components=5 but the data have 4 distinct values among 7 rows; use at m"):
        arrays.check_distinct_rows(data, 5)
    with pytest.raises(ValueError, match=r"n_components=4 but the data have 3 rows; use at most 3"):
        arrays.check_enough_rows(as_data(X), 4)
    late = np.zeros((arrays._BLOCK + 5, 1))
    late[-1] = 1.0
    arrays.check_distinct_rows(as_data(late), 2)


# --- NumPy and PyTensor -------------------------------------------------------------------------


def both(formula, *values):
    """A formula of (xp, *arrays) by NumPy and by PyTensor, and the gradients of its sum by PyTensor."""
    import pytensor
    import pytensor.tensor as pt

    values = [np.asarray(value, dtype=float) for value in values]
    variables = [pt.tensor(dtype="float64", shape=(None,) * value.ndim) for value in values]
    xp = arrays.namespace(*variables)
    assert xp is not arrays.NUMPY
    result = xp.asarray(formula(xp, *variables))
    gradients = pytensor.grad(result.sum(), variables, disconnected_inputs="ignore")
    compiled = pytensor.function(variables, [result, *gradients], mode="FAST_COMPILE")
    value, *gradients = compiled(*values)
    return formula(arrays.namespace(*values), *values), value, gradients


SOME = np.array([[0.5, -2.0, 1.0], [3.0, 0.25, -0.75]])
MATRICES = np.array([[[2.0, 0.5], [0.5, 1.0]], [[3e8, 0.1], [0.1, 1e-8]]])
EMPTY = np.array([[-np.inf, -np.inf, -np.inf], [-np.inf, 1.0, 2.0], [-1000.0, -1001.0, -1002.0]])
SHARED = {
    "exp": (lambda xp, x: xp.exp(x), [SOME]),
    "log": (lambda xp, x: xp.log(x), [[0.0, 1.0, 2.0]]),
    "log1p": (lambda xp, x: xp.log1p(x), [[-1.0, 1e-20, 2.0]]),
    "sqrt": (lambda xp, x: xp.sqrt(x), [[0.0, 4.0]]),
    "where": (lambda xp, x: xp.where(x > 0, x, -np.inf), [SOME]),
    "sum": (lambda xp, x: xp.sum(x, -1), [SOME]),
    "sum keepdims": (lambda xp, x: xp.sum(x, 0, keepdims=True), [SOME]),
    "abs": (lambda xp, x: xp.abs(x), [SOME]),
    "floor": (lambda xp, x: xp.floor(x), [SOME]),
    "gammaln": (lambda xp, x: xp.gammaln(x), [[0.5, 1e-9, 30.0, 1e9]]),
    "logsumexp": (lambda xp, x: xp.logsumexp(x, axis=-1), [SOME]),
    "logsumexp empty": (lambda xp, x: xp.logsumexp(x, axis=-1), [EMPTY]),
    "logsumexp keepdims": (lambda xp, x: xp.logsumexp(x, 0, keepdims=True), [EMPTY]),
    "softmax": (lambda xp, x: xp.softmax(x, axis=-1), [EMPTY]),
    "xlogy": (lambda xp, x, y: xp.xlogy(x, y), [[0.0, 0.0, 0.0, 2.0, 2.0], [0.0, np.inf, 3.0, 3.0, 0.0]]),
    "cholesky": (lambda xp, a: xp.cholesky(a), [MATRICES]),
    "inverse_lower": (lambda xp, a: xp.inverse_lower(xp.cholesky(a)), [MATRICES]),
    "inverse of one": (lambda xp, a: xp.inverse_lower(xp.cholesky(a)), [MATRICES[0]]),
    "diagonal": (lambda xp, a: xp.diagonal(a), [MATRICES]),
    "matvec": (lambda xp, a, x: xp.matvec(a, x[:, None, :]), [MATRICES, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]),
    "asarray": (lambda xp, x: xp.log(xp.asarray(3)) + x, [SOME]),
}


@pytest.mark.parametrize(("formula", "values"), SHARED.values(), ids=SHARED.keys())
def test_numpy_and_pytensor_agree(formula, values):
    by_numpy, by_pytensor, _ = both(formula, *values)
    assert by_pytensor.shape == by_numpy.shape
    np.testing.assert_allclose(by_pytensor, by_numpy, rtol=1e-13)


def test_logsumexp_and_its_gradient_know_minus_infinity():
    value, _, (gradient,) = both(lambda xp, x: xp.logsumexp(x, axis=-1), EMPTY)
    np.testing.assert_allclose(value, special.logsumexp(EMPTY, axis=-1), rtol=1e-15)
    np.testing.assert_allclose(gradient[1:], special.softmax(EMPTY[1:], axis=-1), rtol=1e-13)
    np.testing.assert_array_equal(gradient[0], 0)


def test_logsumexp_does_not_hide_nan_and_knows_infinity():
    value, by_pytensor, _ = both(lambda xp, x: xp.logsumexp(x, axis=-1), [[np.nan, 0.0], [np.inf, 0.0]])
    np.testing.assert_array_equal(value, [np.nan, np.inf])
    np.testing.assert_array_equal(by_pytensor, [np.nan, np.inf])


def test_softmax_has_the_softmax_gradient_and_none_where_all_is_minus_infinity():
    weights = np.array([1.0, 2.0, 4.0])
    value, _, (gradient,) = both(lambda xp, x: xp.softmax(x, axis=-1) * weights, EMPTY)
    np.testing.assert_array_equal(value[0], 0)
    p = special.softmax(EMPTY[1:], axis=-1)
    np.testing.assert_allclose(gradient[1:], p * (weights - (p * weights).sum(-1, keepdims=True)), atol=1e-14)
    np.testing.assert_array_equal(gradient[0], 0)


def test_xlogy_is_scipys_with_finite_gradients_at_zero():
    x, y = np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, np.inf, 3.0, 3.0])
    value, _, gradients = both(lambda xp, x, y: xp.xlogy(x, y), x, y)
    np.testing.assert_allclose(value, special.xlogy(x, y))
    np.testing.assert_allclose(gradients[0], [0, 0, np.log(3), np.log(3)])
    np.testing.assert_allclose(gradients[1], [0, 0, 0, 2 / 3])


def test_inverse_lower_keeps_precision_across_scales(rng):
    lower = np.tril(rng.normal(size=(2, 3, 4, 4))) + 3 * np.eye(4)
    lower *= np.array([1e8, 1.0, 1e-8, 1e4])[:, None]
    inverse = arrays.NUMPY.inverse_lower(lower)
    np.testing.assert_allclose(inverse @ lower, np.broadcast_to(np.eye(4), lower.shape), atol=1e-13)
    np.testing.assert_array_equal(inverse, np.tril(inverse))


def test_the_gradient_through_a_covariance_is_the_textbook_one():
    def log_determinant(xp, a):
        return 2 * xp.sum(xp.log(xp.diagonal(xp.cholesky(a))), -1)

    _, _, (gradient,) = both(log_determinant, MATRICES[:1])
    symmetric = (gradient + gradient.swapaxes(-1, -2)) / 2
    np.testing.assert_allclose(symmetric, np.linalg.inv(MATRICES[:1]), rtol=1e-12)


def test_numpy_is_the_namespace_of_everything_else():
    assert arrays.namespace(X, 1.0, None) is arrays.NUMPY


def test_off_the_support_numpy_is_silent_like_pytensor():
    assert arrays.NUMPY.log(0.0) == -np.inf
    assert np.isnan(arrays.NUMPY.log(-1.0))


def test_import_needs_numpy_only():
    heavy = ["xarray", "pandas", "polars", "pytensor", "scipy", "numba", "pymc", "arviz"]
    code = (
        "import sys, numpy as np, bayesmix.arrays as arrays; arrays.as_data(np.ones((2, 1))); "
        f"arrays.namespace(np.ones(2)); print([name for name in {heavy} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
