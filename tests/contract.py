"""What every family of components promises: one function for each promise, called with a row of `oracles.py`.

`test_contract.py` runs all of them for all rows. Nothing here knows a particular family.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import integrate

import bayesmix as bm
from bayesmix import expressions
from bayesmix.arrays import as_data
from bayesmix.components.univariate import SETTLED
from bayesmix.likelihood import formula
from bayesmix.likelihood.formula import log_of_weights
from bayesmix.likelihood.likelihood import Likelihood

SPREAD = 4.5  # standard errors; a true claim fails once in 150 000 draws, and the seeds are fixed

PROMISES = []
MODEL_PROMISES = []
# Two runs of EM that end at one optimum: steps are hidden by rounding of the objective once they are worth less than
# 1e-16 of it, that is below 1e-7 standard deviations of a step, or some 1e-6 from the optimum where EM is slow.
SAME = 1e-5
SIZES = [1, 2, 127, 128, 129, 1000]  # rows: around the block of 128 that the pass reads at a time


def promise(function):
    """Run this for every row of the table."""
    PROMISES.append((function, lambda row: True))
    return function


def promise_if(applies):
    """Run this for the rows for which it makes sense."""

    def register(function):
        PROMISES.append((function, applies))
        return function

    return register


def model_promise(function):
    """Run this for every row, and for the same families under other priors."""
    MODEL_PROMISES.append(function)
    return function


# -- helpers -----------------------------------------------------------------------------------------------------------
def family(params: dict) -> dict:
    return {name: value for name, value in params.items() if name != "weights"}


def likelihood(row, x, weights=None) -> Likelihood:
    return Likelihood(row.component, as_data(x, weights=weights), row.n_components)


def pass_by_formula(row, x, params, row_weights=None):
    """Log-likelihood, responsibilities times row weights, and the scale of the sum: what the pass must return."""
    joint = formula.log_joint(row.component, x, log_of_weights(params["weights"]), family(params))
    per_row = formula.log_likelihood(row.component, x, log_of_weights(params["weights"]), family(params))
    posterior = np.exp(joint - per_row[:, None])
    w = np.ones(len(x)) if row_weights is None else row_weights
    return float(w @ per_row), posterior * w[:, None], float(w @ np.abs(per_row))


def moments_by_formula(row, x, params, weighted):
    """First and second statistics as `bayesmix.likelihood.kernel` defines them, and sums of their absolute terms."""
    if row.component.numeric:
        return derivatives_by_formula(row, x, params, weighted)
    if row.statistics:
        terms = [weighted.reshape(weighted.shape + (1,) * (t.ndim - 2)) * t for t in row.statistics(x, params)]
        return [t.sum(axis=0) for t in terms], [np.abs(t).sum(axis=0) for t in terms]
    if row.component.kernel == "linear":
        terms = weighted[:, :, None] * row.component.statistics(x)[:, None, :]
        return (terms.sum(axis=0), np.empty((row.n_components, 0))), (np.abs(terms).sum(axis=0), 1.0)
    centred = x[:, None, :] - params["mu"].reshape(row.n_components, -1)
    first = weighted[:, :, None] * centred
    outer = centred[..., :, None] * centred[..., None, :] if row.component.kernel == "full" else centred**2
    second = weighted.reshape(weighted.shape + (1,) * (outer.ndim - 2)) * outer
    return (first.sum(axis=0), second.sum(axis=0)), (np.abs(first).sum(axis=0), np.abs(second).sum(axis=0))


def derivatives_by_formula(row, x, params, weighted):
    """Expected gradient and Hessian of a family by its formula, by NumPy from the derivatives of the expression."""
    formula_, p = row.component.formula, len(row.component.parameters)
    gradient, hessian = formula_.gradients[0], formula_.hessians[0]
    columns, values = [x], [params[parameter.name] for parameter in row.component.parameters]
    nodes = [*gradient, *hessian.values()]
    terms = [np.where(weighted > 0, weighted * v, 0.0) for v in expressions.evaluate(nodes, columns, values)]
    found = []
    for part in (terms, [np.abs(term) for term in terms]):
        sums = [term.sum(axis=0) for term in part]
        second = np.zeros((row.n_components, p, p))
        for (i, j), value in zip(hessian, sums[p:], strict=True):
            second[:, i, j] = second[:, j, i] = value
        found.append((np.stack(sums[:p], axis=1), second))
    return found


def random_responsibilities(row, n, seed=5):
    return np.random.default_rng(seed).dirichlet(np.ones(row.n_components), size=n)


def doubtful_responsibilities(row, x):
    """Those of the true parameters, a tenth of them spread at random."""
    function = likelihood(row, x)
    return 0.9 * function.responsibilities(row.params) + 0.1 * random_responsibilities(row, len(x))


def direction(value, rng):
    """A random direction in which a parameter can move: matrices stay symmetric."""
    step = rng.standard_normal(value.shape)
    return step + np.swapaxes(step, -1, -2) if value.ndim == 3 and value.shape[1] == value.shape[2] else step


def same_estimates(row, one, other, x, label):
    """Two runs of EM that end at one optimum have the same parameters; where the likelihood is flat, the same density."""
    if row.flat:
        one, other = (
            {"log density": formula.log_likelihood(row.component, x, log_of_weights(p["weights"]), family(p))}
            for p in (one, other)
        )
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=SAME, atol=SAME, err_msg=f"{name}, {label}")


# -- the density -------------------------------------------------------------------------------------------------------
@promise
def log_density_is_scipys(row):
    x = row.data(200)
    # rounding of a few operations on numbers up to the log density
    np.testing.assert_allclose(
        row.component.log_density(x, family(row.params)), row.log_density(x), rtol=1e-12, atol=1e-12
    )


@promise
def log_density_is_pymcs(row):
    import pymc as pm
    from oracles import split

    x = row.data(40)
    ours = row.component.log_density(x, family(row.params))
    if not row.component.multivariate:  # all components at once: one graph to compile
        theirs = pm.logp(row.pymc(family(row.params)), x).eval(mode="FAST_COMPILE")
        least, tolerance = row.pymc_digits
        compared = ~(ours <= least)
        assert compared.any(axis=0).all()
        np.testing.assert_allclose(ours[compared], theirs[compared], rtol=tolerance, atol=tolerance)
        return
    for k, one in enumerate(split(row.params)):
        theirs = pm.logp(row.pymc(one), x).eval(mode="FAST_COMPILE")
        np.testing.assert_allclose(ours[:, k], theirs, rtol=1e-11, atol=1e-11, err_msg=f"component {k}")


@promise
def numpy_and_pytensor_agree(row):
    """Density, mixture likelihood and responsibilities; weights of zero included."""
    import pytensor
    import pytensor.tensor as pt

    x, log_weights = row.data(30), log_of_weights(row.with_zero_weight["weights"])
    params = family(row.params)
    symbols = {name: pt.tensor(name, dtype="float64", shape=value.shape) for name, value in params.items()}
    value, weights = pt.tensor("x", dtype="float64", shape=(None, row.n_features)), pt.dvector("log_weights")
    faces = [formula.log_joint, formula.log_likelihood, formula.responsibilities]
    graph = [face(row.component, value, weights, symbols) for face in faces]
    compiled = pytensor.function([value, weights, *symbols.values()], graph, mode="FAST_COMPILE")
    for face, theirs in zip(faces, compiled(x, log_weights, *params.values()), strict=True):
        ours = face(row.component, x, log_weights, params)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13, err_msg=face.__name__)  # both round


@promise
def parameters_broadcast(row):
    """Parameters per row, and per draw, give what each row and each draw gives by itself."""
    rng = np.random.default_rng(2)
    x, vector = row.data(7), row.component.to_vector(family(row.params))
    draws = vector + 0.1 * rng.standard_normal((2, 3, len(vector)))
    params = row.component.from_vector(draws, row.n_components, row.n_features)  # (2, 3, cluster, ...)
    together = row.component.log_density(x, {name: value[:, :, None] for name, value in params.items()})
    assert together.shape == (2, 3, 7, row.n_components)
    per_row = {name: value.reshape(6, *value.shape[2:]) for name, value in params.items()}
    rows = row.component.log_density(x[:6], per_row)
    for i, j in np.ndindex(2, 3):
        one = row.component.log_density(x, {name: value[i, j] for name, value in params.items()})
        np.testing.assert_allclose(together[i, j], one, rtol=1e-12)
        np.testing.assert_allclose(rows[3 * i + j], one[3 * i + j], rtol=1e-12)


@promise
def total_probability_is_one(row):
    for k, component in enumerate(row.components()):
        one = {name: value[k : k + 1] for name, value in family(row.params).items()}

        def density(x, one=one):
            return np.exp(row.component.log_density(np.reshape(x, (-1, row.n_features)), one)[:, 0])

        if row.atoms is not None:
            total = density(row.atoms).sum()
        elif row.component.discrete:
            total = density(np.arange(component.ppf(1 - 1e-15) + 50)).sum()
        elif row.nodes:
            nodes, masses = row.nodes(component)
            total = density(nodes) @ masses
        elif row.component.multivariate:  # the trapezoidal rule is exact to rounding for smooth tails this far out
            sd = np.sqrt(np.diag(component.cov))
            step = 0.5 * np.sqrt(np.linalg.eigvalsh(component.cov)[0])
            axes = [np.arange(m - 8.5 * s, m + 8.5 * s, step) for m, s in zip(component.mean, sd, strict=True)]
            grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, row.n_features)
            total = sum(density(part).sum() for part in np.array_split(grid, 20)) * step**row.n_features
        else:
            low, high = component.ppf(1e-15), component.isf(1e-15)
            total = integrate.quad(
                lambda v: density(v)[0], low, high, points=component.ppf([0.1, 0.5, 0.9]), limit=200
            )[0]
        assert abs(total - 1) < 1e-10, f"component {k}: {total!r}"  # the quadratures' own accuracy


@promise
def cdf_is_scipys(row):
    x = row.data(6, seed=3)
    for k, component in enumerate(row.components()):
        ours = row.component.cdf(x, family(row.params))[:, k]
        if row.component.multivariate:
            drawn = component.rvs(size=100_000, random_state=np.random.default_rng(k))
            share = np.array([np.all(drawn <= point, axis=1).mean() for point in x])
            error = np.sqrt(np.maximum(share * (1 - share), 1e-5) / len(drawn))
            assert np.all(np.abs(ours - share) < SPREAD * error), f"component {k}: {ours} against {share}"
            for j in range(row.n_features):
                marginal = row.component.marginal_cdf(x[:, j], family(row.params), j)[:, k]
                share = np.array([(drawn[:, j] <= value).mean() for value in x[:, j]])
                error = np.sqrt(np.maximum(share * (1 - share), 1e-5) / len(drawn))
                assert np.all(np.abs(marginal - share) < SPREAD * error), f"component {k}, feature {j}"
        else:
            np.testing.assert_allclose(ours, component.cdf(x[:, 0]), rtol=1e-12, err_msg=f"component {k}")
            marginal = row.component.marginal_cdf(x[:, 0], family(row.params), 0)[:, k]
            np.testing.assert_array_equal(marginal, ours)


@promise
def marginal_quantile_inverts_marginal_cdf(row):
    params = family(row.params)
    for p in (0.001, 0.3, 0.5, 0.9):
        quantile = row.component.marginal_quantile(p, params)
        assert quantile.shape == (row.n_components, row.n_features)
        for k, j in np.ndindex(*quantile.shape):
            at = quantile[k : k + 1, j]
            reached = row.component.marginal_cdf(at, params, j)[0, k]
            if row.component.discrete:
                below = row.component.marginal_cdf(at - 1, params, j)[0, k]
                assert below < p <= reached, f"p={p}, component {k}: cdf {below} below, {reached} at {at}"
            else:
                assert abs(reached - p) < 1e-12, f"p={p}, component {k}, feature {j}: {reached}"


@promise_if(lambda row: row.off_support)
def density_is_zero_off_the_support(row):
    import pytensor
    import pytensor.tensor as pt

    off = np.reshape(row.off_support, (-1, row.n_features))
    assert np.all(row.component.log_density(off, family(row.params)) == -np.inf)
    assert np.all(np.isneginf(row.log_density(off)))  # SciPy says so too
    mixed = np.concatenate([off, row.data(5)])
    symbols = {name: pt.tensor(name, dtype="float64", shape=value.shape) for name, value in family(row.params).items()}
    rows = formula.log_likelihood(row.component, pt.as_tensor(mixed), log_of_weights(row.params["weights"]), symbols)
    gradients = pytensor.grad(rows[len(off) :].sum(), list(symbols.values()))
    for gradient in pytensor.function(list(symbols.values()), gradients, mode="FAST_COMPILE")(
        *family(row.params).values()
    ):
        assert np.all(np.isfinite(gradient)), gradient
    assert np.all(row.component.cdf(np.array([[min(row.off_support)]]), family(row.params)) == 0)


# -- gradients ---------------------------------------------------------------------------------------------------------
@promise
def gradient_of_the_formula_is_the_derivative(row):
    """Autodiff against central differences along random directions, also where a weight is zero."""
    import pytensor
    import pytensor.tensor as pt

    x, rng = row.data(50), np.random.default_rng(4)
    symbols = {name: pt.tensor(name, dtype="float64", shape=value.shape) for name, value in family(row.params).items()}
    log_weights = pt.dvector("log_weights")
    total = formula.log_likelihood(row.component, pt.as_tensor(x), log_weights, symbols).sum()
    inputs = [log_weights, *symbols.values()]
    gradient = pytensor.function(inputs, pytensor.grad(total, inputs), mode="FAST_COMPILE")
    for params in (row.params, row.with_zero_weight):
        weights, values = log_of_weights(params["weights"]), family(params)
        d_weights, *d_values = gradient(weights, *values.values())
        assert np.all(np.isfinite(d_weights)) and d_weights[weights == -np.inf].sum() == 0
        alive = np.isfinite(weights)
        steps = {name: direction(value, rng) for name, value in values.items()}
        step_weights = np.where(alive, rng.standard_normal(len(weights)), 0.0)

        def along(t, weights=weights, values=values, steps=steps, step_weights=step_weights):
            moved = {name: value + t * steps[name] for name, value in values.items()}
            return formula.log_likelihood(row.component, x, weights + t * step_weights, moved).sum()

        h = 1e-5
        slope = (along(h) - along(-h)) / (2 * h)
        exact = d_weights @ step_weights + sum(np.sum(d * s) for d, s in zip(d_values, steps.values(), strict=True))
        assert abs(slope - exact) < 1e-5 * max(1.0, abs(exact)), f"{slope} against {exact}"  # h^2 and rounding / h


@promise
def gradient_of_the_pass_is_the_derivative(row):
    """`Likelihood.value_and_gradient` against central differences in every free coordinate, with and without guard."""
    x = row.data(300)
    weights = np.random.default_rng(6).integers(0, 4, size=len(x)).astype(float)
    function = likelihood(row, x, weights)
    vector = function.to_vector(row.params)
    for guard in (None, row.component.guard(function.data, 3.0)):
        value, gradient = function.value_and_gradient(vector, guard)
        assert gradient.shape == (function.n_parameters,)
        assert np.isclose(
            value, function.log_likelihood(row.params) + function.guard_value(row.params, guard), rtol=1e-13
        )
        for i in range(len(vector)):
            h = 1e-5
            step = h * (np.arange(len(vector)) == i)
            slope = (
                function.value_and_gradient(vector + step, guard)[0]
                - function.value_and_gradient(vector - step, guard)[0]
            ) / (2 * h)
            assert abs(slope - gradient[i]) < 1e-4 * max(1.0, abs(gradient[i])), f"coordinate {i}, guard {guard}"


@promise
def gradient_of_the_pass_is_finite_at_weight_zero(row):
    function = likelihood(row, row.data(100))
    vector = function.to_vector(row.with_zero_weight)
    value, gradient = function.value_and_gradient(vector)
    reference = pass_by_formula(row, function.data.values, row.with_zero_weight)[0]
    assert np.isclose(value, reference, rtol=1e-12)
    assert np.all(np.isfinite(gradient)) and gradient[0] == 0


@promise_if(lambda row: not row.component.smooth)
def information_is_that_of_the_scores(row):
    """Outer products of each row's own gradient, with its weight; and minus the second derivative of the guard."""
    x, weights = row.data(60), np.random.default_rng(7).uniform(0.5, 2.0, size=60)
    function = likelihood(row, x, weights)
    vector = function.to_vector(row.params)
    scores = np.stack([likelihood(row, x[i : i + 1]).value_and_gradient(vector)[1] for i in range(len(x))])
    np.testing.assert_allclose(function.information(vector), (scores.T * weights) @ scores, rtol=1e-9, atol=1e-9)
    guard = row.component.guard(function.data, 3.0)
    if guard is not None:
        found = function.information(vector, guard) - function.information(vector)
        step = 1e-3 * np.random.default_rng(7).standard_normal(len(vector))
        values = [function.guard_value(function.from_vector(vector + t * step), guard) for t in (-1, 0, 1)]
        assert np.isclose(step @ found @ step, -(values[0] - 2 * values[1] + values[2]), rtol=1e-3)  # h^2


@promise_if(lambda row: row.component.smooth)
def information_is_minus_the_second_derivative(row):
    function = likelihood(row, row.data(200))
    vector = function.to_vector(row.params)
    information = function.information(vector)
    rng, h = np.random.default_rng(7), 1e-3
    for _ in range(3):
        step = h * rng.standard_normal(len(vector))
        values = [function.value_and_gradient(vector + t * step)[0] for t in (-1, 0, 1)]
        curvature = -(values[0] - 2 * values[1] + values[2])
        assert np.isclose(step @ information @ step, curvature, rtol=1e-3)  # h^2, and rounding of 1e-13 L / h^2
    np.testing.assert_array_equal(information, information.T)


@promise
def vector_and_parameters_invert_each_other(row):
    component, k, d = row.component, row.n_components, row.n_features
    vector = component.to_vector(family(row.params))
    assert vector.shape == (component.n_free(k, d),)
    back = component.from_vector(vector, k, d)
    for name, value in family(row.params).items():
        np.testing.assert_allclose(back[name], value, rtol=1e-12, atol=1e-14, err_msg=name)
    other = vector + 0.3 * np.random.default_rng(8).standard_normal((4, len(vector)))
    for i, params in enumerate(other):  # any point of the plane is a set of parameters
        again = component.to_vector(component.check_parameters(component.from_vector(params, k, d), k))
        np.testing.assert_allclose(again, params, rtol=1e-10, atol=1e-12, err_msg=f"point {i}")
    batched = component.from_vector(other, k, d)
    for name, value in component.from_vector(other[2], k, d).items():
        np.testing.assert_allclose(batched[name][2], value, rtol=1e-13, err_msg=name)
    function = likelihood(row, row.data(5))
    np.testing.assert_allclose(
        function.from_vector(function.to_vector(row.params))["weights"], row.params["weights"], rtol=1e-13
    )


# -- the pass ----------------------------------------------------------------------------------------------------------
def _same_pass(row, function, params, x, reference_params, row_weights, label):
    statistics = function.statistics(params)
    value, weighted, scale = pass_by_formula(row, x, reference_params, row_weights)
    (first, second), (first_scale, second_scale) = moments_by_formula(row, x, reference_params, weighted)
    total = weighted.sum()
    assert abs(statistics.log_likelihood - value) <= 1e-10 * scale, (
        f"{label}: {statistics.log_likelihood} against {value}"
    )
    assert np.all(np.abs(statistics.n - weighted.sum(axis=0)) <= 1e-10 * total), f"{label}: n"
    assert abs(statistics.n.sum() - total) <= 1e-12 * total, f"{label}: n sums to {statistics.n.sum()}, not {total}"
    # A component far from every row has moments below 1e-10 of one row's: they are compared with the others' size.
    assert np.all(np.abs(statistics.first - first) <= 1e-10 * (first_scale + 1e-4 * np.max(first_scale))), (
        f"{label}: first"
    )
    assert np.all(np.abs(statistics.second - second) <= 1e-10 * (second_scale + 1e-4 * np.max(second_scale))), (
        f"{label}: second"
    )


@promise
def pass_is_the_formula(row):
    """To 1e-10, for any number of rows, with and without row weights, and at weight zero."""
    for n in SIZES:
        x = row.data(n, seed=n)
        weights = np.random.default_rng(n).uniform(0.1, 3.0, size=n)
        if n > 2:
            weights[::3] = 0.0
        for row_weights in (None, weights):
            function = likelihood(row, x, row_weights)
            for params in (row.params, row.with_zero_weight):
                label = f"n={n}, row weights {row_weights is not None}, weights {params['weights']}"
                _same_pass(row, function, params, x, params, row_weights, label)


@promise_if(lambda row: row.moved)
def pass_is_the_formula_after_offsets_and_scales(row):
    """Data at 1e6 in units of 1e-6 lose nothing: the reference is computed before they are moved."""
    for offset in row.offsets:
        for scale in (1e-6, 1.0, 1e6):
            moved = row.moved(row.params, offset, scale)
            data = row.data(300) * scale + offset
            # What rounding left of the numbers, with the offset taken away again: both subtractions are exact.
            x = data - offset
            reference = row.moved(row.params, 0.0, scale) | ({"mu": moved["mu"] - offset} if offset else {})
            for row_weights in (None, np.random.default_rng(1).uniform(0, 2, size=len(x))):
                function = likelihood(row, data, row_weights)
                _same_pass(row, function, moved, x, reference, row_weights, f"offset {offset:g}, scale {scale:g}")


@promise_if(lambda row: row.moved and row.component.sufficient and not row.component.numeric)
def clusters_far_apart_keep_their_moments(row):
    """Clusters at -1e8 and +1e8: one EM step gives NumPy's mean and covariance of each."""
    near = row.data(400, params=row.params | {"weights": np.array([0.0, 1.0, 0.0])})
    centres = np.repeat([-1e8, 1e8], 200)[:, None]
    x = near + centres
    start = {name: value[[1, 1]] for name, value in row.params.items()}
    start |= {
        "weights": np.array([0.5, 0.5]),
        "mu": start["mu"] + np.array([-1e8, 1e8]).reshape(2, *[1] * (start["mu"].ndim - 1)),
    }
    function = Likelihood(row.component, as_data(x), 2)
    params = row.component.m_step(start, function.statistics(start))
    local = x - centres  # exact
    for k, part in enumerate((local[:200], local[200:])):
        # The mean is rounded at 1e8, by 1.5e-8; the moments about it are not.
        np.testing.assert_allclose(params["mu"][k].ravel() - (-1e8, 1e8)[k], part.mean(axis=0), atol=3e-8)
    expected = Likelihood(row.component, as_data(local), 2).maximise_given((centres > 0) == np.array([False, True]))
    for name in family(params).keys() - {"mu"}:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-9, atol=1e-10, err_msg=name)


@promise
def a_row_that_no_component_explains_is_impossible(row):
    """A value at infinity, or a count where all rates are zero: log-likelihood -inf, never NaN."""
    if row.impossible:
        params, x = row.params | row.impossible[0], np.reshape(row.impossible[1], (-1, row.n_features))
    else:
        params, x = row.params, np.vstack([row.data(3), np.full((1, row.n_features), 1e200)])
    value = likelihood(row, x).log_likelihood(params)
    assert value == -np.inf


# -- sampling ----------------------------------------------------------------------------------------------------------
@promise
def samples_have_scipys_moments(row):
    n = 20_000
    for k, component in enumerate(row.components()):
        repeated = {name: np.repeat(value[k : k + 1], n, axis=0) for name, value in family(row.params).items()}
        drawn = row.component.sample(repeated, np.random.default_rng(10 + k))
        assert drawn.shape == (n, row.n_features)
        if row.component.multivariate:
            mean, cov = np.asarray(component.mean), np.asarray(component.cov)
        else:
            mean, cov = np.array([component.mean()]), np.array([[component.var()]])
        centred = drawn - mean
        for i in range(row.n_features):
            _z_test(centred[:, i], 0.0, f"mean, component {k}, feature {i}")
            for j in range(i + 1):
                _z_test(centred[:, i] * centred[:, j], cov[i, j], f"covariance, component {k}, features {i} and {j}")


def _z_test(values, expected, label):
    z = (values.mean() - expected) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < SPREAD, f"{label}: {values.mean():.4f}, expected {expected:.4f}, z = {z:.1f}"


@promise_if(lambda row: not row.component.multivariate)
def pymc_draws_have_scipys_cdf(row):
    import pymc as pm

    n = 5_000
    labels = np.repeat(np.arange(row.n_components), n)
    drawn = pm.draw(
        row.component.pymc_dist({name: value[labels] for name, value in family(row.params).items()}),
        random_seed=4,
        mode="FAST_COMPILE",
    )
    for k, component in enumerate(row.components()):
        for x in np.ravel(component.ppf([0.1, 0.3, 0.7])):
            at_most, expected = np.mean(drawn[labels == k] <= x), component.cdf(x)
            error = np.sqrt(max(expected * (1.0 - expected), 1e-9) / n)
            assert abs(at_most - expected) < SPREAD * error, f"component {k}, {x}: {at_most}, expected {expected}"


# -- EM ----------------------------------------------------------------------------------------------------------------
def _is_one_step(row):
    """Is the M-step one step uphill, of Newton's method or of ECM, and not the maximum?"""
    return row.component.smooth and (row.component.numeric or not row.component.sufficient)


@promise_if(lambda row: _is_one_step(row) and row.component.n_free(1, row.n_features))
def m_step_climbs(row):
    """The step, halved until it leads up, raises the expected complete-data log-likelihood, plus guard."""
    x = row.data(500)
    function = likelihood(row, x, np.random.default_rng(12).uniform(0, 2, size=len(x)))
    at = {name: value[[1, 0, 2]] for name, value in row.params.items()}
    off = row.component.to_vector(family(at)) + 0.4 * row.component.coordinate_scale(at)  # not at the optimum
    at = at | row.component.from_vector(off, row.n_components, row.n_features)
    statistics = function.statistics(at)
    weighted = pass_by_formula(row, x, at, function.data.weights)[1]
    for guard in (None, row.component.guard(function.data, 5.0)):

        def expected(params, guard=guard):
            joint = formula.log_joint(row.component, x, log_of_weights(at["weights"]), family(params))
            return np.sum(weighted * joint) + function.guard_value(params, guard)

        begin = row.component.to_vector(family(at))
        step = row.component.to_vector(row.component.m_step(at, statistics, guard)) - begin
        tried = [row.component.from_vector(begin + step / 2**i, row.n_components, row.n_features) for i in range(8)]
        assert max(expected(params) for params in tried) > expected(at) + 1, f"guard {guard}"


@promise_if(lambda row: not _is_one_step(row))
def m_step_beats_its_neighbours(row):
    """No step in any free coordinate has a higher expected complete-data log-likelihood, plus guard."""
    x = row.data(500)
    row_weights = np.random.default_rng(12).uniform(0, 2, size=len(x))
    function = likelihood(row, x, row_weights)
    at = {name: value[[1, 0, 2]] for name, value in row.params.items()}  # not at the optimum
    statistics = function.statistics(at)
    weighted = pass_by_formula(row, x, at, row_weights)[1]
    for guard in (None, row.component.guard(function.data, 5.0)):
        best = function.m_step(at, statistics, guard)

        def expected(params, guard=guard):
            joint = formula.log_joint(row.component, x, log_of_weights(params["weights"]), family(params))
            return np.sum(weighted * joint) + function.guard_value(params, guard)

        top, vector = expected(best), function.to_vector(best)
        scale = np.concatenate([np.ones(row.n_components - 1), row.component.coordinate_scale(best)])
        for i in range(len(vector)):
            for sign in (-1, 1):
                # A fall of about n step^2 / 2 = 1e-3, where the sum is rounded at 1e-12 of about 1000.
                params = function.from_vector(vector + sign * 3e-3 * scale[i] * (np.arange(len(vector)) == i))
                assert expected(params) < top, f"coordinate {i}, sign {sign}, guard {guard}"


@promise
def m_step_on_given_responsibilities_beats_its_neighbours(row):
    """`maximise_given`, where there are no earlier parameters."""
    x = row.data(500)
    weighted = doubtful_responsibilities(row, x)
    function = likelihood(row, x)
    best = function.maximise_given(weighted)

    def expected(params):
        return np.sum(weighted * formula.log_joint(row.component, x, log_of_weights(params["weights"]), family(params)))

    top, vector = expected(best), function.to_vector(best)
    scale = np.concatenate([np.ones(row.n_components - 1), row.component.coordinate_scale(best)])
    for i in range(len(vector)):
        for sign in (-1, 1):
            params = function.from_vector(vector + sign * 3e-3 * scale[i] * (np.arange(len(vector)) == i))
            stays = all(np.array_equal(params[name], best[name]) for name in family(best))  # as far as EM goes
            known = top + (SETTLED * len(x) if row.component.numeric else 0.0)  # nats; the fall is 1e-3
            assert expected(params) < known or (stays and i >= row.n_components - 1), f"coordinate {i}, sign {sign}"


def _is_slow(row, accelerate):
    """EM without Newton steps, of parameters that hardly show in the density, say, may take 100 000 iterations."""
    one_step = row.component.numeric or not row.component.sufficient
    return one_step and not (accelerate and row.component.smooth)


@promise
def em_never_lowers_the_objective(row):
    x, fits = row.data(300), {}
    for guard in ("default", None):
        for accelerate in (True, False):
            fit = bm.em(
                row.mixture,
                x,
                init=random_responsibilities(row, len(x)),
                guard=guard,
                accelerate=accelerate,
                max_iter=3000,
                progressbar=False,
            )
            trace, label = fit.trace.values, f"guard={guard!r}, accelerate={accelerate}"
            assert np.all(np.diff(trace) >= -1e-12 * np.abs(trace[1:])), f"{label}: {np.diff(trace).min()}"  # rounding
            if not row.component.mixes_to_itself:  # where EM is at an optimum after one step from anywhere
                assert trace[-1] > trace[0] + 1, label
            assert fit.converged or not accelerate or _is_slow(row, accelerate), (
                f"{label}: {fit.message}"
            )  # plain EM is slow
            if guard is None:
                assert np.isclose(trace[-1], fit.log_likelihood, rtol=1e-12), label
            fits[label] = fit
    plain, quick = fits["guard=None, accelerate=False"], fits["guard=None, accelerate=True"]
    assert (
        quick.log_likelihood >= plain.log_likelihood - 1e-6
    )  # tol stops both 1e-8 standard deviations from an optimum


@promise_if(lambda row: not row.component.smooth)
def em_ends_where_nothing_nearby_is_higher(row):
    """Along each coordinate, near and far; a maximum at a kink has no gradient that vanishes."""
    x = row.data(300)
    start = bm.Fit.from_parameters(row.mixture, **row.params)
    for accelerate in (True, False):
        fit = bm.em(row.mixture, x, init=start, guard=None, accelerate=accelerate, max_iter=100_000, progressbar=False)
        assert fit.converged, fit.message
        function = likelihood(row, x)
        vector = function.to_vector(fit.estimates)
        for i, scale in enumerate(function.coordinate_scale(vector)):
            for step in (1e-5, 1e-3, 1e-2, 0.03, 0.1, 0.3):
                for sign in (-1, 1):
                    moved = vector + sign * step * scale * (np.arange(len(vector)) == i)
                    value = function.log_likelihood(function.from_vector(moved))
                    # a step off the optimum by 1e-8 raises it by no more than 1e-8 times a slope of a few times 300
                    assert value < fit.log_likelihood + 1e-9, f"coordinate {i}, step {sign * step}, {accelerate=}"


@promise_if(lambda row: row.component.smooth)
def em_ends_where_the_gradient_vanishes(row):
    x = row.data(300)
    start = bm.Fit.from_parameters(row.mixture, **row.params)
    for accelerate in (True, False):
        if _is_slow(row, accelerate):
            continue
        fit = bm.em(row.mixture, x, init=start, guard=None, accelerate=accelerate, max_iter=100_000, progressbar=False)
        assert fit.converged, fit.message
        function = likelihood(row, x)
        gradient = function.value_and_gradient(function.to_vector(fit.estimates))[1]
        scale = np.concatenate([np.ones(row.n_components - 1), row.component.coordinate_scale(fit.estimates)])
        # tol = 1e-8 in each coordinate, times an information of at most a few times the number of rows
        assert np.all(np.abs(gradient * scale) < 1e-8 * 10 * len(x)), f"accelerate={accelerate}: {gradient * scale}"


@promise
def row_weights_are_repeated_rows(row):
    x = row.data(150)
    counts = np.random.default_rng(13).integers(0, 4, size=len(x))
    start = bm.Fit.from_parameters(row.mixture, **row.params)
    for guard in ("default", None):
        settings = {"init": start, "guard": guard, "max_iter": 500 if row.flat else 20_000, "progressbar": False}
        weighted = bm.em(row.mixture, x, weights=counts, **settings)
        repeated = bm.em(row.mixture, np.repeat(x, counts, axis=0), **settings)
        both = weighted.converged and repeated.converged
        assert both or row.flat, f"guard={guard!r}: {weighted.message} {repeated.message}"  # flat: no point to end at
        same_estimates(row, weighted.estimates, repeated.estimates, x, f"guard={guard!r}")
        for name in ("log_likelihood", "bic", "icl"):
            assert np.isclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-6), f"{name}, guard={guard!r}"


@promise
def a_component_of_weight_zero_is_not_there(row):
    """EM leaves its weight at exactly zero, and finds what it finds with one component less."""
    x, settings = row.data(200), {"max_iter": 20_000, "progressbar": False}
    for guard in ("default", None):
        for zero in range(row.n_components):
            others = [k for k in range(row.n_components) if k != zero]
            weights = np.where(np.arange(row.n_components) == zero, 0.0, 0.5)
            params = row.params | {"weights": weights}
            fewer = {name: value[others] for name, value in params.items()}
            mixture = bm.Mixture(row.component, len(others))
            start, start_fewer = bm.Fit.from_parameters(row.mixture, **params), bm.Fit.from_parameters(mixture, **fewer)
            fit = bm.em(row.mixture, x, init=start, guard=guard, **settings)
            expected = bm.em(mixture, x, init=start_fewer, guard=guard, **settings)
            label = f"component {zero}, guard={guard!r}"
            assert fit.estimates["weights"][zero] == 0, label
            assert fit.converged and f"Component {zero} is empty" in fit.message, f"{label}: {fit.message}"
            if guard == "default" and row.component.guard(fit.data, 1.0) is not None:
                continue  # under a tied covariance the imaginary rows of the empty component count too
            kept = {name: value[others] for name, value in fit.estimates.items()}
            same_estimates(row, kept, expected.estimates, x, label)


@promise
def permutations_change_nothing(row):
    """Of the components, and of the rows."""
    x, order = row.data(200), np.array([2, 0, 1])
    permuted = {name: value[order] for name, value in row.params.items()}
    one, other = likelihood(row, x).statistics(row.params), likelihood(row, x).statistics(permuted)
    assert np.isclose(one.log_likelihood, other.log_likelihood, rtol=1e-13)
    np.testing.assert_allclose(one.n[order], other.n, rtol=1e-12)
    fit = bm.Fit.from_parameters(row.mixture, **row.params)
    fit_permuted = bm.Fit.from_parameters(row.mixture, **permuted)
    np.testing.assert_allclose(fit.logpdf(x), fit_permuted.logpdf(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(order[fit_permuted.classify(x)], fit.classify(x))

    rows = np.random.default_rng(14).permutation(len(x))
    settings = {"max_iter": 20_000, "progressbar": False}
    first = bm.em(row.mixture, x, init=fit, **settings)
    second = bm.em(row.mixture, x[rows], init=fit, **settings)
    third = bm.em(row.mixture, x, init=fit_permuted, **settings)
    same_estimates(row, first.estimates, second.estimates, x, "rows permuted")
    reordered = {name: value[order] for name, value in first.estimates.items()}
    same_estimates(row, reordered, third.estimates, x, "components permuted")


# -- models ------------------------------------------------------------------------------------------------------------
def _points(model, start, rng, count=3):
    """The start on the unconstrained scale, and points around it."""
    yield start
    for _ in range(count - 1):
        yield {name: value + 0.2 * rng.standard_normal(value.shape) for name, value in start.items()}


@model_promise
def both_faces_of_the_model_agree(row):
    """Log density and gradient by the formula (for users) and by the pass (for engines); row weights included."""
    from bayesmix.model import sampling_model, start_values, start_vector, to_pymc

    weights = np.random.default_rng(15).uniform(0.5, 2.0, size=60)
    data = row.mixture.check(row.data(60), weights)
    by_formula, by_pass = to_pymc(row.mixture, data), sampling_model(row.mixture, data)
    start = start_vector(by_pass, start_values(row.mixture, data, row.params))
    functions = [
        (model, model.compile_fn([model.logp(), model.dlogp()], mode="FAST_COMPILE")) for model in (by_formula, by_pass)
    ]
    assert [v.name for v in by_formula.value_vars] == [v.name for v in by_pass.value_vars]
    for i, point in enumerate(_points(by_pass, start, np.random.default_rng(16))):
        (value, gradient), (value_pass, gradient_pass) = (function(point) for _, function in functions)
        assert np.isfinite(value)
        np.testing.assert_allclose(value_pass, value, rtol=1e-10, err_msg=f"value at point {i}")
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(
            gradient_pass, gradient, rtol=1e-8, atol=1e-10 * scale, err_msg=f"gradient at point {i}"
        )


@model_promise
def start_values_give_the_parameters_back(row):
    from bayesmix.model import sampling_model, start_values, start_vector

    data = row.mixture.check(row.data(50))
    model = sampling_model(row.mixture, data)
    point = start_vector(model, start_values(row.mixture, data, row.params))
    outputs = model.replace_rvs_by_values([model[name] for name in row.params])
    constrained = model.compile_fn(outputs, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore")(
        point
    )
    wanted = row.component.once(row.params, 0)
    for name, value in zip(row.params, constrained, strict=True):
        np.testing.assert_allclose(value, wanted[name], rtol=1e-9, atol=1e-12, err_msg=name)


@model_promise
def pointwise_log_likelihood_is_the_mixtures(row):
    """The model's log-likelihood has one number per row: SciPy's, at the starting point."""
    from bayesmix.model import start_values, start_vector, to_pymc

    data = row.mixture.check(row.data(50))
    model = to_pymc(row.mixture, data)
    point = start_vector(model, start_values(row.mixture, data, row.params))
    graph = model.logp(vars=model["x"], sum=False)[0]
    rows = model.compile_fn(graph, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore")(point)
    expected = np.log(np.exp(row.log_density(data.values)) @ row.params["weights"])
    np.testing.assert_allclose(rows, expected, rtol=1e-9)


@promise
def default_priors_generate_plausible_data(row):
    """Prior predictive data lie where the data lie, and are about as wide, whatever the unit and the offset."""
    import pymc as pm

    for offset, scale in ((0.0, 1.0), (max(row.offsets), 1e-3)) if row.moved else ((0.0, 1.0),):
        x = row.data(100) * scale + offset
        model = row.mixture.to_pymc(x)
        prior = pm.sample_prior_predictive(
            draws=300, model=model, random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"}
        )
        drawn = prior["prior_predictive"]["x"].values.reshape(300, 100, row.n_features)
        width = x.max(axis=0) - x.min(axis=0)
        middle = np.median(drawn, axis=(0, 1))
        if not row.component.mixes_to_itself:  # of 0 and 1, or of categories, the median says nothing
            assert np.all(np.abs(middle - np.median(x, axis=0)) < width), f"offset {offset:g}: centred at {middle}"
        # Within one data set, half to four times as wide as the data; all data sets together at most ten times.
        for j in range(row.n_features):
            spread = np.subtract(*np.quantile(x[:, j], [0.95, 0.05]))
            own = np.median(np.subtract(*np.quantile(drawn[:, :, j], [0.95, 0.05], axis=1))) / spread
            everything = np.subtract(*np.quantile(drawn[:, :, j], [0.95, 0.05])) / spread
            label = f"offset {offset:g}, scale {scale:g}, feature {j}"
            assert 0.5 < own < 4, f"{label}: {own:.2f} times as wide as the data"
            assert 0.8 < everything < 10, f"{label}: {everything:.2f} times as wide as the data"
        # A component is a tenth to one and a half times as wide as the data: it takes several to make them up.
        params = {name: prior["prior"][name].values[0] for name in row.params if name != "weights"}
        params = row.component.for_each(params, 1, row.n_components)
        upper, lower = (row.component.marginal_quantile(p, params) for p in (0.95, 0.05))
        share = np.median(upper - lower, axis=(0, 1)) / np.subtract(*np.quantile(x, [0.95, 0.05], axis=0))
        assert np.all((share > 0.1) & (share < 1.5)), f"offset {offset:g}, scale {scale:g}: {share}"
        if row.component.discrete:
            assert np.all(drawn == np.floor(drawn)) and np.all(drawn >= 0)


@promise_if(lambda row: not row.component.numeric or row.name == "StudentT")
def the_operation_is_the_same_from_two_threads(row):
    """The Numba code that engines call, from two threads at once, gives what one thread gives."""
    from bayesmix.likelihood.op import evaluate

    x = row.data(2000)
    rows = row.component.rows(as_data(x))
    run = evaluate(row.component.kernel)
    calls = []
    for params in (row.params, {name: value[[2, 1, 0]] for name, value in row.params.items()}):
        a, b = (np.ascontiguousarray(part) for part in row.component.kernel_arguments(params))
        calls.append((rows.x, rows.weights, log_of_weights(params["weights"]), a, b))
    alone = [run(*call) for call in calls]
    for (value, n, d_a, d_b), params in zip(alone, (row.params, None), strict=True):
        assert np.isfinite(value) and all(np.all(np.isfinite(part)) for part in (n, d_a, d_b))
        if params is not None:
            assert np.isclose(value + rows.log_base_measure, pass_by_formula(row, x, params)[0], rtol=1e-10)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda i: run(*calls[i % 2]), range(40)))
    for i, result in enumerate(together):
        for one, other in zip(alone[i % 2], result, strict=True):
            np.testing.assert_array_equal(one, other)
