"""The compiled EM runs are the readable ones: same objective, same estimates, same way there, family by family."""

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.engines import climb as readable
from bayesmix.engines import formula_loop, loop
from bayesmix.engines.starts import start
from bayesmix.likelihood import ascent, formula, kernel, op
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.posterior import kernel as posterior_kernel

FAMILIES = {
    "Normal": (bm.Normal(), 1, 3),
    "full": (bm.MvNormal(), 2, 4),
    "tied": (bm.MvNormal(covariance="tied"), 3, 3),
    "diag": (bm.MvNormal(covariance="diag"), 3, 3),
    "spherical": (bm.MvNormal(covariance="spherical"), 2, 3),
    "Poisson": (bm.Poisson(), 1, 2),
    "Binomial": (bm.Binomial(n=12), 1, 2),
    "Multinomial": (bm.Multinomial(), 3, 2),
    "product": (bm.Product(a=bm.Poisson(), b=bm.Categorical(n_categories=4), c=bm.Bernoulli()), 3, 2),
}


def groups(component, d, k, weighted):
    rng = np.random.default_rng(3)
    mean = rng.normal(size=(k, d)) * 3.0
    x = mean[rng.integers(0, k, 400)] + rng.normal(size=(400, d))
    if isinstance(component, bm.Poisson):
        x = rng.poisson(np.where(rng.random((400, 1)) < 0.3, 2.0, 9.0)).astype(float)
    elif component.kernel_for(False) == "linear" or component.multivariate and component.discrete:
        x = rng.poisson(np.where(rng.random((400, 1)) < 0.4, 2.0, 5.0), (400, d)).astype(float)
        x = np.minimum(x, {1: [12], 3: [30, 3, 1]}[d])
    weights = rng.integers(0, 4, 400).astype(float) if weighted else None
    mixture = bm.Mixture(component, k)
    return Likelihood(component, mixture.check(x, weights), k)


def both(monkeypatch, likelihood, params, **options):
    monkeypatch.setattr(readable, "MANY_ROWS", 0)
    slow = readable.climb(likelihood, params, **options)
    monkeypatch.setattr(readable, "MANY_ROWS", np.inf)
    return slow, readable.climb(likelihood, params, **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_run(monkeypatch, family, accelerate, guarded, weighted):
    """After 25 updates both stand at the same place, having gone the same way; rounding is all that differs."""
    component, d, k = FAMILIES[family]
    likelihood = groups(component, d, k, weighted)
    guard = component.guard(likelihood.data, 0.3) if guarded else None
    params = start(likelihood, "kmeans", np.random.default_rng(1))
    slow, quick = both(monkeypatch, likelihood, params, guard=guard, accelerate=accelerate, max_iter=25)
    assert (quick.n_passes, quick.converged, quick.collapsed) == (slow.n_passes, slow.converged, slow.collapsed)
    np.testing.assert_allclose(quick.trace, slow.trace, rtol=1e-10)
    assert quick.log_likelihood == pytest.approx(slow.log_likelihood, rel=1e-10)
    for name, value in slow.params.items():
        np.testing.assert_allclose(quick.params[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


# -- families by their formula: compiled between the passes --------------------------------------------------------------
BY_FORMULA = {
    "StudentT": bm.StudentT(),
    "Gamma": bm.Gamma(),
    "NegativeBinomial": bm.NegativeBinomial(),
    "Beta": bm.Beta(),
    "normal regression": bm.Regression(bm.Normal(), "y ~ x"),
    "log-normal regression": bm.Regression(bm.LogNormal(), "y ~ x"),
    "Poisson regression": bm.Regression(bm.Poisson(), "y ~ x"),
    "gamma regression": bm.Regression(bm.Gamma(), "y ~ x + offset(t)"),
}


def by_formula(family, weighted, k=2):
    rng = np.random.default_rng(5)
    x, t, label = rng.normal(size=300), rng.uniform(0.0, 0.3, 300), rng.random(300) < 0.4
    mean = np.exp(np.where(label, 1.0 + 0.5 * x, 2.0 - 0.3 * x) + t)
    y = rng.gamma(4.0, mean / 4.0)
    if "Poisson" in family or "Binomial" in family:
        y = rng.poisson(y).astype(float)
    data = {"y": y / (1.0 + y), "x": x, "t": t} if family == "Beta" else {"y": y, "x": x, "t": t}
    data = pd.DataFrame(data) if "regression" in family else data["y"]
    mixture = bm.Mixture(BY_FORMULA[family], k)
    checked = mixture.check(data, rng.integers(0, 4, 300).astype(float) if weighted else None)
    return Likelihood(mixture.resolved(checked).component, checked, k)


@pytest.mark.parametrize("family", BY_FORMULA)
@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_run_by_formula(family, accelerate, weighted):
    """The same, with a guard where there are row weights; steps that are halved on the way included."""
    likelihood = by_formula(family, weighted)
    guard = likelihood.component.guard(likelihood.data, 0.3) if weighted else None
    for seed in range(3):
        params = start(likelihood, "auto", np.random.default_rng(seed))
        ways = readable._updates_in_python, readable._updates_by_formula
        slow, quick = (way(likelihood, params, guard, 25, 1e-8, accelerate) for way in ways)
        assert (quick.n_passes, quick.converged, quick.collapsed) == (slow.n_passes, slow.converged, slow.collapsed)
        np.testing.assert_allclose(quick.trace, slow.trace, rtol=1e-9)
        assert quick.log_likelihood == pytest.approx(slow.log_likelihood, rel=1e-9)
        for name, value in slow.params.items():
            np.testing.assert_allclose(quick.params[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_steps_that_lower_the_likelihood_are_halved_alike():
    """From two standard deviations off Newton's steps are often too long: both ways halve them, pass by pass."""
    likelihood, halved = by_formula("StudentT", False), 0
    vector = likelihood.to_vector(start(likelihood, "auto", np.random.default_rng(0)))
    for seed in range(10):
        away = 2.0 * likelihood.coordinate_scale(vector) * np.random.default_rng(seed).normal(size=len(vector))
        params = likelihood.from_vector(vector + away)
        ways = readable._updates_in_python, readable._updates_by_formula
        slow, quick = (way(likelihood, params, None, 12, 1e-8, True) for way in ways)
        assert (quick.n_passes, len(quick.trace)) == (slow.n_passes, len(slow.trace))
        np.testing.assert_allclose(quick.trace, slow.trace, rtol=1e-9)
        halved += quick.n_passes > len(quick.trace) - 1  # more passes than updates
    assert halved >= 3


@pytest.mark.parametrize("weighted", [False, True])
def test_same_collapse_by_formula(weighted):
    """Two rows on a line of their own, far off, and a regression that claims them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=50), "y": rng.normal(size=50)})
    frame.loc[:1, "y"] = 30.0
    mixture = bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 2)
    data = mixture.check(frame, np.full(50, 2.0) if weighted else None)
    likelihood = Likelihood(mixture.resolved(data).component, data, 2)
    labels = (frame["y"] < 20).to_numpy().astype(int)
    params = likelihood.maximise_given(np.eye(2)[labels], likelihood.component.guard(likelihood.data, 0.1))
    ways = readable._updates_in_python, readable._updates_by_formula
    slow, quick = (way(likelihood, params, None, 200, 1e-8, True) for way in ways)
    assert slow.collapsed and quick.collapsed
    assert np.all(np.isfinite(quick.params["coef"]))


@pytest.mark.parametrize("family", ["Normal", "full", "diag", "spherical"])
def test_same_collapse(monkeypatch, family):
    """Two equal rows far off, and a component that claims them: both runs stop and say so."""
    component, d, k = FAMILIES[family]
    x = np.random.default_rng(0).normal(size=(50, d))
    x[:2] = 20.0
    likelihood = Likelihood(component, bm.Mixture(component, 2).check(x), 2)
    params = likelihood.maximise_given(np.eye(2)[(x[:, 0] < 10).astype(int)], component.guard(likelihood.data, 0.1))
    slow, quick = both(monkeypatch, likelihood, params, guard=None)
    assert slow.collapsed and quick.collapsed
    assert np.all(np.isfinite(quick.params["mu"]))


def test_a_weight_of_zero_stays(monkeypatch):
    likelihood = groups(bm.Normal(), 1, 3, False)
    params = start(likelihood, "kmeans", np.random.default_rng(1)) | {"weights": np.array([0.4, 0.0, 0.6])}
    slow, quick = both(monkeypatch, likelihood, params, max_iter=20)
    assert quick.params["weights"][1] == slow.params["weights"][1] == 0.0
    np.testing.assert_allclose(quick.params["mu"], slow.params["mu"], rtol=1e-9)


def test_every_file_that_compiles_the_kernels_in_knows_their_version():
    """Numba and PyTensor look for changes in the outermost file only; a stale number would keep old code in caches."""
    assert {loop.KERNEL_VERSION, op.KERNEL_VERSION, posterior_kernel.KERNEL_VERSION} == {kernel.VERSION}
    assert formula_loop.ASCENT_VERSION == ascent.VERSION


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_same_gradient(family, weighted):
    component, d, k = FAMILIES[family]
    likelihood = groups(component, d, k, weighted)
    vector = likelihood.to_vector(start(likelihood, "kmeans", np.random.default_rng(1)))
    for guard in (None, component.guard(likelihood.data, 0.3)):
        value, gradient = likelihood.value_and_gradient(vector, guard)
        quick_value, quick_gradient = readable._gradient(likelihood, guard)(vector)
        assert quick_value == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(quick_gradient, gradient, rtol=1e-10, atol=1e-9)


# -- the quasi-Newton finish -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["Normal", "full"])
@pytest.mark.parametrize("guarded", [False, True])
def test_slow_runs_arrive(family, guarded):
    """Groups one standard deviation apart, where EM needs thousands of updates: the gradient vanishes all the same.

    Its size is measured in nats per standard error; there is nothing to gain beyond half the squared Newton step.
    """
    d, k = (1, 3) if family == "Normal" else (2, 3)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(k, d))[rng.integers(0, k, 5000)] + rng.normal(size=(5000, d)) * rng.uniform(
        0.5, 1.5, (5000, 1)
    )
    component = FAMILIES[family][0]
    likelihood = Likelihood(component, bm.Mixture(component, k).check(x), k)
    guard = component.guard(likelihood.data, 0.05) if guarded else None
    params = start(likelihood, "kmeans", np.random.default_rng(1))
    run = readable.climb(likelihood, params, guard=guard)
    assert run.converged and run.n_passes < 1000, (run.n_passes, run.distance)
    vector = likelihood.to_vector(run.params)
    _, gradient = likelihood.value_and_gradient(vector, guard)
    information = likelihood.information(vector, guard)
    assert np.linalg.eigvalsh(information).min() > 0  # a maximum
    assert 0.5 * gradient @ np.linalg.solve(information, gradient) < 1e-8 * abs(run.objective) * 1e-2
    assert np.all(np.diff(run.trace) >= 0)
    plain = readable.climb(likelihood, params, guard=guard, accelerate=False, max_iter=300)
    assert run.objective >= plain.objective - 1e-9 * abs(plain.objective)


def test_threads_change_nothing():
    """A pass over many rows is added up in the same parts by any number of threads; and is the formula's sum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, 2)) + 3.0 * rng.integers(0, 2, (60_000, 1))
    mixture = bm.Mixture(bm.MvNormal(), 2)
    one, two = (Likelihood(mixture.component, mixture.check(x), 2, cores=cores) for cores in (1, 2))
    params = start(one, "kmeans", np.random.default_rng(1))
    for left, right in zip(one.statistics(params), two.statistics(params), strict=True):
        np.testing.assert_array_equal(left, right)
    own = {name: value for name, value in params.items() if name != "weights"}
    total = formula.log_likelihood(mixture.component, x, np.log(params["weights"]), own).sum()
    assert one.log_likelihood(params) == pytest.approx(total, rel=1e-12)
