"""EM finds what scikit-learn, mclust, SciPy and 50-digit arithmetic found; data/em_answers.json says who found what."""

import contextlib
import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.engines import search as search_module

DATA = Path(__file__).parent / "data"
ANSWERS = json.loads((DATA / "em_answers.json").read_text())["cases"]
QUIET = {"progressbar": False}


def table(case: str) -> np.ndarray:
    """The columns of a case, (obs, feature)."""
    columns, name = ANSWERS[case]["columns"], ANSWERS[case]["data"]
    if (DATA / name).exists():
        with open(DATA / name) as file:
            rows = list(csv.DictReader(file))
        return np.array([[float(row[column]) for column in columns] for row in rows])
    data = bm.datasets.load(name.removesuffix(".csv"))
    return np.stack([data[column].values.astype(float) for column in columns], axis=1)


def degenerate(fit, x) -> bool:
    """The rule of the answers: an eigenvalue below 1e-4 in standardised units, or p + 1 rows or fewer."""
    sd = x.std(axis=0)
    cov = fit.estimates["cov"] / np.outer(sd, sd)
    return bool(np.linalg.eigvalsh(cov).min() < 1e-4 or fit.estimates["weights"].min() * len(x) <= x.shape[1] + 1)


# -- a case worked through with 50 digits ------------------------------------------------------------------------------
WORKED = ANSWERS["worked_example_k2"]


def worked(max_iter, mixture=None, **start):
    mixture = mixture or bm.Mixture(bm.Normal(), n_components=2)
    start = start or {
        "weights": [0.5, 0.5],
        "mu": WORKED["start"]["means"],
        "sigma": np.sqrt(WORKED["start"]["variances"]),
    }
    x = np.array(WORKED["data"], dtype=float)
    x = x[:, None] if mixture.component.multivariate else x
    first = bm.Fit.from_parameters(mixture, data=x, **start)
    return first, bm.em(mixture, x, init=first, guard=None, accelerate=False, max_iter=max_iter, **QUIET)


def numbers(texts):
    return np.array(texts, dtype=float)


def test_likelihood_and_responsibilities_at_the_start_are_those_of_50_digits():
    first, _ = worked(1)
    assert np.isclose(first.log_likelihood, float(WORKED["loglik_start"]), rtol=1e-14)
    np.testing.assert_allclose(
        first.responsibilities(WORKED["data"]), numbers(WORKED["iterations"][0]["responsibilities"]), rtol=1e-12
    )


@pytest.mark.parametrize("iteration", [1, 2, 3, 4, 5])
def test_each_iteration_is_that_of_50_digits(iteration):
    expected = WORKED["iterations"][iteration - 1]
    _, fit = worked(iteration)
    for name, key in (("weights", "weights"), ("mu", "means"), ("sigma", "sds")):
        np.testing.assert_allclose(fit.estimates[name], numbers(expected[key]), rtol=1e-12, err_msg=name)  # rounding
    assert np.isclose(fit.log_likelihood, float(expected["loglik_after"]), rtol=1e-13)
    assert len(fit.trace) == iteration + 1


def test_fixed_point_is_that_of_50_digits():
    _, fit = worked(1000)
    expected = WORKED["fixed_point"]
    assert fit.converged, fit.message
    assert np.isclose(fit.log_likelihood, float(expected["loglik"]), rtol=1e-14)
    # tol = 1e-8 in standard deviations and logarithms
    np.testing.assert_allclose(fit.estimates["weights"], numbers(expected["weights"]), atol=1e-8)
    np.testing.assert_allclose(fit.estimates["mu"], numbers(expected["means"]), atol=2e-8)
    np.testing.assert_allclose(fit.estimates["sigma"], numbers(expected["sds"]), rtol=1e-8)
    np.testing.assert_allclose(fit.responsibilities(WORKED["data"]), numbers(expected["responsibilities"]), atol=1e-8)


def test_tied_fixed_point_is_that_of_50_digits():
    mixture = bm.Mixture(bm.MvNormal(covariance="tied"), n_components=2)
    _, fit = worked(1000, mixture, weights=[0.5, 0.5], mu=[[3.0], [6.0]], cov=[[1.0]])
    expected = WORKED["fixed_point_tied_variance"]
    assert np.isclose(fit.log_likelihood, float(expected["loglik"]), rtol=1e-13)
    np.testing.assert_allclose(fit.estimates["mu"][:, 0], numbers(expected["means"]), rtol=1e-8)
    np.testing.assert_allclose(fit.estimates["cov"].ravel(), 2 * [float(expected["variance"])], rtol=1e-8)


# -- published data, other tools ---------------------------------------------------------------------------------------
GAUSSIAN = [
    pytest.param(case, key, id=f"{case}-{key}")
    for case, answer in ANSWERS.items()
    for key in answer.get("sklearn_multistart", {})
    if key != "tool"
]


@pytest.mark.parametrize("case, key", GAUSSIAN)
def test_optimum_is_scikit_learns_best_of_many_starts(case, key):
    x, expected = table(case), ANSWERS[case]["sklearn_multistart"][key]
    mixture = bm.Mixture(bm.MvNormal(covariance=expected["covariance_type"]), n_components=expected["K"])
    fit = bm.em(mixture, x, guard=None, random_seed=1, **QUIET)
    assert fit.converged, fit.message
    assert fit.n_parameters == expected["df"]
    assert not degenerate(fit, x), f"{fit.log_likelihood} against {expected['loglik']}"
    assert fit.log_likelihood >= expected["loglik"] - 1e-6 * abs(expected["loglik"])
    if fit.log_likelihood <= expected["loglik"] + 1e-6 * abs(expected["loglik"]):  # the same optimum
        cov = np.array(expected["covariances"])
        for name, value in {"weights": expected["weights"], "mu": expected["means"]}.items():
            scale = 1.0 if name == "weights" else x.std(axis=0)
            np.testing.assert_allclose(fit.estimates[name] / scale, np.array(value) / scale, atol=1e-3, err_msg=name)
        reference = bm.Fit.from_parameters(
            mixture, weights=expected["weights"], mu=expected["means"], cov=cov
        ).estimates["cov"]
        sd = x.std(axis=0)
        np.testing.assert_allclose(fit.estimates["cov"] / np.outer(sd, sd), reference / np.outer(sd, sd), atol=1e-3)
        assert fit.bic == pytest.approx(expected["bic"], abs=2e-6 * abs(expected["loglik"]))
        assert fit.aic == pytest.approx(expected["aic"], abs=2e-6 * abs(expected["loglik"]))
    else:
        assert fit.bic < expected["bic"]


def test_icl_is_mclusts():
    expected = ANSWERS["faithful"]["mclust"]
    mixture = bm.Mixture(bm.MvNormal(covariance="tied"), n_components=3)
    p = expected["parameters"]
    fit = bm.Fit.from_parameters(mixture, data=table("faithful"), weights=p["pro"], mu=p["mean"], cov=p["covariance"])
    assert fit.n_parameters == expected["df"]
    # mclust's sign is the other one. Its likelihood and responsibilities are those before its last M-step, which gained
    # 0.004; the other ICL in use, by the entropy of all responsibilities, would differ by 41.
    assert -fit.bic == pytest.approx(expected["bic_mclust"], abs=0.02)
    assert -fit.icl == pytest.approx(expected["icl_mclust"], abs=0.1)


@pytest.mark.parametrize("repeated", [False, True], ids=["weights", "repeated rows"])
def test_death_notices_are_hasselblads(repeated):
    data, expected = bm.datasets.load("death_notices"), ANSWERS["death_notices"]["poisson_k2"]
    deaths, days = data["deaths"].values, data["freq"].values
    mixture = bm.Mixture(bm.Poisson(), n_components=2)
    if repeated:
        fit = bm.em(mixture, np.repeat(deaths, days), random_seed=1, **QUIET)
    else:
        fit = bm.em(mixture, deaths, weights=days, random_seed=1, **QUIET)
    assert fit.converged, fit.message
    assert fit.n_parameters == expected["df"]
    assert np.isclose(fit.log_likelihood, expected["loglik"], rtol=1e-9)
    # The likelihood is flat: SciPy's gradient of 1e-8 leaves its estimates 1e-5 uncertain.
    np.testing.assert_allclose(fit.estimates["weights"], expected["weights"], atol=1e-4)
    np.testing.assert_allclose(fit.estimates["mu"], expected["means"], atol=1e-4)
    np.testing.assert_allclose(fit.estimates["mu"], [1.256, 2.663], atol=6e-4)  # the three decimals of the paper
    assert fit.bic == pytest.approx(expected["bic"], abs=1e-5)
    assert fit.aic == pytest.approx(expected["aic"], abs=1e-5)


@pytest.mark.parametrize("family", ["Normal", "MvNormal", "Poisson"])
def test_one_component_is_the_closed_form(family):
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 3, size=60)
    x = rng.normal(3, 2, size=(60, 2)) if family == "MvNormal" else rng.poisson(4, size=60)
    repeated = np.repeat(x, weights, axis=0)
    fit = bm.em(bm.Mixture(getattr(bm, family)(), 1), x, weights=weights, guard=None, **QUIET)
    assert fit.converged, fit.message
    if family == "Normal":
        mean, sd = stats.norm.fit(repeated)
        assert np.isclose(fit.estimates["mu"][0], mean, rtol=1e-12) and np.isclose(
            fit.estimates["sigma"][0], sd, rtol=1e-12
        )
    elif family == "Poisson":
        assert np.isclose(fit.estimates["mu"][0], repeated.mean(), rtol=1e-12)
    else:
        mean, cov = stats.multivariate_normal.fit(repeated)
        np.testing.assert_allclose(fit.estimates["mu"][0], mean, rtol=1e-12)
        np.testing.assert_allclose(fit.estimates["cov"][0], cov, rtol=1e-11)


# -- the guard and collapse --------------------------------------------------------------------------------------------
def test_default_guard_changes_little():
    x, mixture = table("faithful"), bm.Mixture(bm.MvNormal(), n_components=2)
    plain = bm.em(mixture, x, guard=None, random_seed=1, **QUIET)
    guarded = bm.em(mixture, x, random_seed=1, **QUIET)
    sd = x.std(axis=0)
    assert not np.array_equal(plain.estimates["cov"], guarded.estimates["cov"])
    for name, scale in (("weights", 1.0), ("mu", sd), ("cov", np.outer(sd, sd))):
        change = np.abs(guarded.estimates[name] - plain.estimates[name]) / scale
        assert change.max() < 0.005, f"{name}: {change}"
    assert plain.log_likelihood - 0.05 < guarded.log_likelihood < plain.log_likelihood


@pytest.fixture(scope="module")
def spiked():
    """Two equal rows, 40 others; labels that give the two a component to themselves."""
    x = np.random.default_rng(3).normal(size=(42, 2))
    x[7] = x[30]
    labels = np.zeros(42, dtype=int)
    labels[[7, 30]] = 1
    return x, labels


@pytest.mark.parametrize("accelerate", [True, False])
def test_collapse_is_reported_with_component_and_rows(spiked, accelerate):
    x, labels = spiked
    responsibilities = 0.999 * (labels[:, None] == [0, 1]) + 0.0005
    mixture = bm.Mixture(bm.MvNormal(), n_components=2)
    start = bm.Fit.from_parameters(
        mixture, weights=responsibilities.mean(axis=0), mu=[x.mean(axis=0), x[7]], cov=[np.eye(2), 1e-4 * np.eye(2)]
    )
    fit = bm.em(mixture, x, init=start, guard=None, accelerate=accelerate, **QUIET)
    assert not fit.converged
    assert "Component 1 collapsed onto 2 rows (obs 7, 30)" in fit.message
    assert "guard" in fit.message
    assert np.all(np.isfinite(fit.estimates["cov"]))


def test_the_guard_prevents_that_collapse(spiked):
    x, labels = spiked
    fit = bm.em(bm.Mixture(bm.MvNormal(), n_components=2), x, init=labels, **QUIET)
    assert fit.converged, fit.message
    assert not degenerate(fit, x)


def test_a_collapse_onto_a_line_names_the_column_and_the_weakest_guard():
    """In geyser the durations noted at night are 2 and 4 minutes: a component of the 4s has no spread in duration."""
    x = table("geyser")
    four, two = np.isclose(x[:, 1], 4.0), np.isclose(x[:, 1], 2.0)
    labels = np.where(four, 0, np.where(two, 1, np.where(x[:, 1] > 3, 2, 3)))
    frame = pd.DataFrame(x, columns=["waiting", "duration"])
    mixture = bm.Mixture(bm.MvNormal(), 4)
    fit = bm.em(mixture, frame, init=labels, guard=None, **QUIET)
    assert not fit.converged
    assert f"Component 0 collapsed onto {four.sum()} rows (obs {np.flatnonzero(four)[0]}, " in fit.message
    assert "along duration its variance went to zero" in fit.message
    strength = float(re.search(r"guard=(\S+) prevents it, a tenth of that does not", fit.message)[1])
    held = bm.em(mixture, frame, init=fit, guard=strength, **QUIET)
    too_weak = bm.em(mixture, frame, init=fit, guard=strength / 10, **QUIET)
    thinnest = [mixture.component.collapsed(end.estimates, end.data).min() for end in (held, too_weak)]
    assert held.converged and thinnest[0] >= 1e-4 > thinnest[1], (held.message, thinnest)


def test_a_collapse_onto_tied_values_names_the_rows():
    """Lengths of fish, in eighths of an inch: the commonest one has a spike of its own."""
    x = table("fish_length")
    values, counts = np.unique(x, return_counts=True)
    tied = values[counts.argmax()]
    mixture = bm.Mixture(bm.Normal(), 2)
    start = bm.Fit.from_parameters(mixture, weights=[0.9, 0.1], mu=[x.mean(), tied], sigma=[x.std(), 1e-3])
    fit = bm.em(mixture, x, init=start, guard=None, **QUIET)
    assert f"Component 1 collapsed onto {counts.max()} rows (obs {np.flatnonzero(x[:, 0] == tied)[0]}, " in fit.message
    assert bm.em(mixture, x, init=start, **QUIET).converged  # the default guard holds it


def test_neighbours_of_the_best_optima_lead_higher_where_starts_alone_do_not_suffice():
    """wine with three full matrices, 314 parameters for 178 rows: one start in thousands ends near the best optimum."""
    mixture, x = bm.Mixture(bm.MvNormal(), 3), table("wine")
    starts_alone = bm.em(mixture, x, guard=None, n_init=240, random_seed=1, **QUIET).log_likelihood
    for seed in (1, 2, 3):
        found = bm.em(mixture, x, guard=None, random_seed=seed, **QUIET).log_likelihood
        assert found > starts_alone + 0.5
        assert found > ANSWERS["wine"]["sklearn_multistart"]["full_k3"]["loglik"] + 30.0


def test_the_search_says_how_many_starts_found_the_optimum():
    """wreath has 14 groups, and starts end in many places: hits are counted and add up to no more than the starts."""
    fit = bm.em(bm.Mixture(bm.MvNormal(covariance="tied"), 14), table("wreath"), random_seed=1, **QUIET)
    found = fit.tree["starts"].to_dataset()
    first, starts = map(int, re.search(r"(\d+) of (\d+) starts led there; the next best", fit.message).groups())
    assert found["hits"].values[0] == first
    assert found["hits"].values.sum() <= starts
    sound = found["log_likelihood"].values[~found["degenerate"].values]
    assert np.all(np.diff(sound) < 0)


def test_equal_rows_do_not_win_a_search(spiked):
    """Without a guard the spike on two equal rows has an unbounded likelihood; other starts are preferred."""
    x, _ = spiked
    fit = bm.em(bm.Mixture(bm.MvNormal(), n_components=2), x, guard=None, random_seed=2, **QUIET)
    assert fit.converged, fit.message
    assert not degenerate(fit, x)


# -- how a run ends ----------------------------------------------------------------------------------------------------
def test_too_few_iterations_say_so():
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), table("faithful"), max_iter=2, random_seed=1, **QUIET)
    assert not fit.converged
    assert "did not converge" in fit.message and "max_iter" in fit.message


def test_message_of_a_converged_run_says_how_close():
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), table("faithful"), random_seed=1, **QUIET)
    assert fit.converged
    assert "converged after" in fit.message and "inf" not in fit.message


@pytest.mark.parametrize("guard", ["default", None])
@pytest.mark.parametrize("accelerate", [True, False])
def test_trace_never_decreases(guard, accelerate):
    fit = bm.em(
        bm.Mixture(bm.MvNormal(), 3),
        table("iris"),
        guard=guard,
        accelerate=accelerate,
        n_init=5,
        random_seed=1,
        **QUIET,
    )
    trace = fit.trace.values
    assert len(trace) > 5
    assert np.all(np.diff(trace) >= -1e-12 * np.abs(trace[1:]))  # rounding of the sum


def test_acceleration_changes_the_way_not_the_end():
    mixture, x = bm.Mixture(bm.MvNormal(covariance="tied"), 3), table("acidity")
    start = bm.em(mixture, x, n_init=3, max_iter=3, random_seed=1, **QUIET)
    plain = bm.em(mixture, x, init=start, accelerate=False, **QUIET)
    quick = bm.em(mixture, x, init=start, accelerate=True, **QUIET)
    assert quick.tree.attrs["n_passes"] < plain.tree.attrs["n_passes"] / 2
    np.testing.assert_allclose(quick.estimates["mu"], plain.estimates["mu"], atol=1e-5)  # slow: 1e-8 per step


# -- invariance --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("offset, scale", [(1e8, 1.0), (0.0, 1e-8), (0.0, 1e8), (-1e6, 1e-2)])
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_offset_and_unit_change_nothing_else(offset, scale, covariance):
    x = table("faithful")
    x = np.round((x - x.mean(axis=0)) * 2**10) / 2**10  # sums with 1e8 are then exact
    mixture = bm.Mixture(bm.MvNormal(covariance=covariance), n_components=2)
    settings = {"n_init": 4, "random_seed": 1, **QUIET}
    plain, moved = bm.em(mixture, x, **settings), bm.em(mixture, x * scale + offset, **settings)
    assert plain.converged and moved.converged, f"{plain.message} {moved.message}"
    # The log density changes by the logarithm of the unit, and by nothing else.
    assert np.isclose(moved.log_likelihood, plain.log_likelihood - x.size * np.log(scale), rtol=1e-9)
    np.testing.assert_allclose(moved.estimates["weights"], plain.estimates["weights"], atol=1e-6)
    resolution = 1e-6 + np.spacing(abs(offset)) / scale  # of means stored at the offset
    np.testing.assert_allclose((moved.estimates["mu"] - offset) / scale, plain.estimates["mu"], atol=15 * resolution)
    np.testing.assert_allclose(moved.estimates["cov"] / scale**2, plain.estimates["cov"], rtol=1e-5, atol=1e-5)


def test_same_seed_same_result():
    mixture, x = bm.Mixture(bm.MvNormal(), 3), table("iris")
    settings = {"n_init": 5, "max_iter": 30, **QUIET}
    first, second = (bm.em(mixture, x, random_seed=7, **settings) for _ in range(2))
    by_generator = bm.em(mixture, x, random_seed=np.random.default_rng(7), **settings)
    for other in (second, by_generator):
        for name, value in first.estimates.items():
            np.testing.assert_array_equal(value, other.estimates[name], err_msg=name)
        np.testing.assert_array_equal(first.trace, other.trace)


def test_global_random_state_is_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    bm.em(bm.Mixture(bm.Normal(), 2), table("faithful_waiting"), n_init=2, random_seed=1, **QUIET)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int16, bool, object])
def test_any_numeric_dtype_is_taken_as_float64(dtype):
    x = table("faithful_waiting") > 70 if dtype is bool else table("faithful_waiting")
    family = bm.Poisson() if dtype is bool else bm.Normal()
    settings = {"n_init": 2, "random_seed": 1, **QUIET}
    fit = bm.em(bm.Mixture(family, 2), x.astype(dtype), **settings)
    expected = bm.em(bm.Mixture(family, 2), x.astype(float), **settings)
    assert fit.estimates["mu"].dtype == np.float64
    np.testing.assert_array_equal(fit.estimates["mu"], expected.estimates["mu"])


# -- starts ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def two_groups():
    """Long waits first: the reverse of the order in which a search puts its components."""
    x = table("faithful")
    return x, (x[:, 1] < 67).astype(int)


@pytest.mark.parametrize("kind", ["labels", "responsibilities", "fit"])
def test_a_given_start_keeps_the_order_of_its_components(two_groups, kind):
    x, labels = two_groups
    mixture = bm.Mixture(bm.MvNormal(), n_components=2)
    searched = bm.em(mixture, x, n_init=3, random_seed=1, **QUIET)
    assert searched.estimates["mu"][0, 0] < searched.estimates["mu"][1, 0]  # a search sorts
    start = {
        "labels": labels,
        "responsibilities": 0.8 * (labels[:, None] == [0, 1]) + 0.1,
        "fit": bm.Fit.from_parameters(mixture, **{name: value[::-1] for name, value in searched.estimates.items()}),
    }[kind]
    fit = bm.em(mixture, x, init=start, **QUIET)
    np.testing.assert_allclose(fit.estimates["mu"], searched.estimates["mu"][::-1], rtol=1e-5)


@pytest.mark.parametrize("strategy", ["kmeans", "random", "auto"])
def test_every_strategy_finds_faithfuls_optimum(strategy):
    fit = bm.em(
        bm.Mixture(bm.MvNormal(), 2), table("faithful"), init=strategy, n_init=8, guard=None, random_seed=3, **QUIET
    )
    assert np.isclose(fit.log_likelihood, ANSWERS["faithful"]["sklearn_multistart"]["full_k2"]["loglik"], rtol=1e-8)


def test_rows_without_weight_change_nothing():
    """Not even through starts, guard or the spread of the data."""
    x, mixture = table("faithful_waiting"), bm.Mixture(bm.Normal(), 2)
    outlier = np.concatenate([x, [[1e6]]])
    weights = np.append(np.ones(len(x)), 0.0)
    fit = bm.em(mixture, outlier, weights=weights, random_seed=1, **QUIET)
    expected = bm.em(mixture, x, random_seed=1, **QUIET)
    np.testing.assert_allclose(fit.estimates["mu"], expected.estimates["mu"], rtol=1e-5)
    assert np.isclose(fit.log_likelihood, expected.log_likelihood, rtol=1e-10)
    assert np.isclose(fit.bic, expected.bic, rtol=1e-10)


@pytest.mark.parametrize("factor", [1e-3, 0.5, 10.0, 1e4])
def test_weights_times_a_factor_change_no_maximum_likelihood_estimate(factor):
    x, mixture = table("faithful"), bm.Mixture(bm.MvNormal(), 2)
    settings = {"guard": None, "n_init": 3, "random_seed": 1, **QUIET}
    plain = bm.em(mixture, x, **settings)
    few = (
        pytest.warns(UserWarning, match=r"sum to 0\.272.*normalised.*272")
        if factor == 1e-3
        else contextlib.nullcontext()
    )
    with few:
        scaled = bm.em(mixture, x, weights=np.full(len(x), factor), **settings)
    for name, value in plain.estimates.items():
        np.testing.assert_allclose(scaled.estimates[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert np.isclose(scaled.log_likelihood, factor * plain.log_likelihood, rtol=1e-9)


@pytest.mark.parametrize(
    "argument, words",
    [
        ({"n_init": 0}, "n_init=0"),
        ({"n_init": 2.5}, "n_init=2.5"),
        ({"n_init": True}, "n_init=True"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"tol": 0.0}, "tol=0.0"),
        ({"tol": float("nan")}, "tol=nan"),
        ({"guard": -1.0}, "guard=-1.0"),
        ({"guard": "strong"}, "guard='strong'"),
        ({"init": "kmean"}, "init='kmean'"),
        ({"init": np.zeros(5)}, r"init has shape \(5,\)"),
        ({"init": np.full(272, 2)}, "labels in init must be whole numbers from 0 to 1"),
        ({"init": np.full((272, 2), 0.6)}, "sum to 1"),
        ({"uncertainty": "jackknife"}, "uncertainty='jackknife'"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_options_out_of_range_are_named(argument, words):
    with pytest.raises(ValueError, match=words):
        bm.em(bm.Mixture(bm.MvNormal(), 2), table("faithful"), **argument, **QUIET)


def test_a_fit_of_another_mixture_cannot_start():
    other = bm.Fit.from_parameters(bm.Mixture(bm.Normal(), 2), weights=[0.5, 0.5], mu=[0, 1], sigma=[1, 1])
    with pytest.raises(ValueError, match="cannot start"):
        bm.em(bm.Mixture(bm.MvNormal(), 2), table("faithful"), init=other, **QUIET)


def test_a_fit_of_another_structure_starts_by_the_rows_it_claims(two_groups):
    """Full covariances are no parameters of a diagonal mixture: the optimum is the one that a search finds."""
    x, _ = two_groups
    mixture = bm.Mixture(bm.MvNormal(covariance="diag"), 2)
    full = bm.em(bm.Mixture(bm.MvNormal(), 2), x, random_seed=1, **QUIET)
    fit, searched = bm.em(mixture, x, init=full, **QUIET), bm.em(mixture, x, random_seed=1, **QUIET)
    np.testing.assert_allclose(fit.estimates["cov"], searched.estimates["cov"], rtol=1e-5, atol=1e-10)


def test_a_fit_of_other_columns_cannot_start():
    x = table("iris")
    first = bm.em(bm.Mixture(bm.MvNormal(), 2), x[:, :3], n_init=2, random_seed=1, **QUIET)
    with pytest.raises(ValueError, match="3 columns, but the data have 4"):
        bm.em(bm.Mixture(bm.MvNormal(), 2), x, init=first, **QUIET)


# -- far clusters ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("apart", [10.0, 1e4, 1e8])
def test_far_clusters_keep_their_spread_under_the_default_guard(apart):
    """Groups that do not overlap are two samples: their moments, and a guard of 2 / sqrt(400) rows of either's spread."""
    rng = np.random.default_rng(5)
    groups = [np.round(rng.normal(size=(200, 2)) * 2**10) / 2**10 for _ in range(2)]  # exact when moved
    x = np.concatenate([groups[0] - [apart, 0.0], groups[1] + [apart, 0.0]])
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), x, random_seed=1, **QUIET)
    assert fit.converged, fit.message
    for k, group in enumerate(groups):
        np.testing.assert_allclose(fit.estimates["cov"][k], np.cov(group.T, bias=True), atol=1e-3)


# -- interrupts --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stage, after", [("short_run", 3), ("climb", 1)])
def test_an_interrupted_search_gives_the_best_so_far_on_all_rows(monkeypatch, stage, after):
    """Whether stopped in the short runs on 2000 rows, or in those to convergence: the likelihood is of all rows."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 1, 3_000), rng.normal(2, 1, 3_000)])
    calls, run = [], getattr(search_module, stage)

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(search_module, stage, interrupted)
    fit = bm.em(bm.Mixture(bm.Normal(), 2), x, random_seed=1, **QUIET)
    assert "interrupted" in fit.message
    at = fit.estimates
    density = sum(at["weights"][k] * stats.norm(at["mu"][k], at["sigma"][k]).pdf(x) for k in range(2))
    assert fit.log_likelihood == pytest.approx(np.log(density).sum(), rel=1e-10)
    assert not fit.converged


def test_data_that_may_not_be_written_to_compile_nothing_anew():
    """For Numba they are of another type; frames and memory maps hand out such arrays."""
    from bayesmix.engines import loop

    x, mixture = np.random.default_rng(0).normal(size=40), bm.Mixture(bm.Normal(), 2)
    fit = bm.em(mixture, x, n_init=1, random_seed=1, **QUIET)
    compiled = len(loop.advance.signatures)
    x.setflags(write=False)
    again = bm.em(mixture, x, n_init=1, random_seed=1, **QUIET)
    assert len(loop.advance.signatures) == compiled > 0
    assert again.log_likelihood == fit.log_likelihood
