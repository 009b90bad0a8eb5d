"""Traced densities: derivatives against PyTensor's, special functions against SciPy's, what cannot be traced."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import special as scipy_special

import bayesmix as bm
from bayesmix.arrays import namespace
from bayesmix.expressions import column, constant, derivative, evaluate, negative, parameter
from bayesmix.likelihood import special
from bayesmix.likelihood.generate import Formula, kernel_of, trace

X, A, B = column(0), parameter(0), parameter(1)

# Every function of the namespace and every operator at least once, as densities use them; x, a, b > 0.
FORMULAS = {
    "normal": lambda xp, x, a, b: -0.5 * ((x - a) / b) ** 2 - xp.log(b),
    "gamma": lambda xp, x, a, b: a * xp.log(b) - xp.gammaln(a) + (a - 1) * xp.log(x) - b * x,
    "negative binomial": lambda xp, x, a, b: (
        xp.gammaln(x + b) - xp.gammaln(b) + xp.xlogy(x, a) - (x + b) * xp.log(a + b)
    ),
    "weibull": lambda xp, x, a, b: xp.log(a / b) + (a - 1) * xp.log(x / b) - (x / b) ** a,
    "skew normal": lambda xp, x, a, b: xp.log_ndtr(-a * (x - b)) + xp.log_ndtr(a * (x + b)),
    "von mises": lambda xp, x, a, b: b * (xp.cos(x - a) - 1) - xp.log_i0e(b) + xp.sin(a * x),
    "powers": lambda xp, x, a, b: (x + a) ** b + a**3 + b**-2 + xp.asarray(2.0) ** a + a**0.5 + xp.sqrt(b) / a,
    "exponentials": lambda xp, x, a, b: xp.exp(-a) * xp.expm1(b * x) + xp.log1p(a * b) - (-a) ** 2,
    "kink": lambda xp, x, a, b: -xp.abs(x - a) / b - xp.log(2 * b),
    "choice": lambda xp, x, a, b: xp.where(x > a, a * b, xp.where((x <= 0.5) | ~(a < b), b**2, -a)),
    "bits": lambda xp, x, a, b: xp.where(xp.equal(xp.floor(x), x) & (a >= 0), a, b) + xp.where(xp.isnan(x), a, 0.0),
    "two logarithms": lambda xp, x, a, b: xp.logaddexp(xp.log(a) - x, xp.log1p(b)),
    "numbers first": lambda xp, x, a, b: 1 - a + (2 / b) - (3 - x) * 2,
}


def points(n=40):
    """x, a and b, (n,) each; some x are whole numbers."""
    x, a, b = np.random.default_rng(0).uniform(0.2, 4.0, size=(3, n))
    x[::5] = np.ceil(x[::5])
    return x, a, b


@pytest.fixture(scope="module")
def pytensors():
    """Values, gradients and Hessians of all formulas in (a, b) at the points, by PyTensor's automatic differentiation."""
    import pytensor
    import pytensor.tensor as pt

    x, a, b = symbols = [pt.dvector(name) for name in "xab"]
    wanted = []
    for density in FORMULAS.values():
        value = density(namespace(x), x, a, b)
        slopes = pytensor.grad(value.sum(), [a, b], disconnected_inputs="ignore")
        bends = [pytensor.grad(slope.sum(), [a, b], disconnected_inputs="ignore") for slope in slopes]
        wanted += [value, *slopes, bends[0][0], bends[0][1], bends[1][1]]
    compiled = pytensor.function(symbols, [w + 0 * x for w in wanted], mode="FAST_COMPILE", on_unused_input="ignore")
    values = iter(compiled(*points()))
    return {name: [next(values) for _ in range(6)] for name in FORMULAS}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_derivatives_are_pytensors(name, pytensors):
    density = FORMULAS[name](namespace(X), X, A, B)
    d_a, d_b = derivative(density, A), derivative(density, B)
    nodes = [density, d_a, d_b, derivative(d_a, A), derivative(d_a, B), derivative(d_b, B)]
    x, a, b = points()
    for what, ours, theirs in zip(
        "f fa fb faa fab fbb".split(), evaluate(nodes, [x], [a, b]), pytensors[name], strict=True
    ):
        np.testing.assert_allclose(np.broadcast_to(ours, len(x)), theirs, rtol=1e-9, atol=1e-10, err_msg=what)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_in_the_data_are_differences(name):
    """`derivative` in a column, against central differences of the same formula in NumPy."""
    x, a, b = points()
    if name == "bits":
        x = x + 0.01  # its jumps have no derivative
    slope = evaluate([derivative(FORMULAS[name](namespace(X), X, A, B), X)], [x], [a, b])[0]
    h = 1e-6

    def at(moved):
        return FORMULAS[name](namespace(moved), moved, a, b)

    difference = (at(x + h) - at(x - h)) / (2 * h)  # wrong by some h^2, and by rounding of values up to 1e5 over h
    np.testing.assert_allclose(np.broadcast_to(slope, len(x)), difference, rtol=1e-6, atol=1e-6)


def test_written_code_is_the_formula():
    """Compiled sums of r, r f, r df and r d2f over rows, with columns and constants taken out, against NumPy."""
    for name in ("negative binomial", "skew normal", "choice", "bits", "von mises"):
        density = FORMULAS[name](namespace(X), X, A, B)
        formula = Formula((density,), 2)
        x = points()[0]
        a = np.array([[0.75, 2.5], [3.0, 1.25]])
        r = np.random.default_rng(1).uniform(size=(len(x), 2))
        value, first, second = formula.functions.complete(formula.prepare(x[:, None]), r, a)
        slopes = [derivative(density, p) for p in (A, B)]
        bends = [derivative(slope, p) for slope in slopes for p in (A, B)]
        for k in range(2):
            expected = evaluate([density, *slopes, *bends], [x], list(a[k]))
            sums = [r[:, k] @ np.broadcast_to(part, len(x)) for part in expected]
            found = [value[k], *first[k], *second[k].ravel()]
            np.testing.assert_allclose(found, sums, rtol=1e-10, atol=1e-10, err_msg=f"{name}, component {k}")


# -- rules -------------------------------------------------------------------------------------------------------------
def test_what_is_not_selected_may_be_infinite():
    """Log density off the support: -inf with slope 0, and no NaN from the branch that is not taken."""
    xp = namespace(X)
    density = xp.where(X > 0, A * xp.log(X) - xp.sqrt(A - 2.0), -np.inf)
    x, a = np.array([-1.0, 0.0, 2.0]), np.array([3.0, 3.0, 3.0])
    value, slope = evaluate([density, derivative(density, A)], [x], [a])
    np.testing.assert_array_equal(value[:2], -np.inf)
    np.testing.assert_allclose(slope, [0.0, 0.0, np.log(2.0) - 0.5], rtol=1e-15)


def test_equal_formulas_are_one_object():
    assert A * X + 1.0 is X * A + 1.0 and negative(-A) is A and A - (-B) is A + B
    assert (A + 0.0) is A and (1.0 * A) is A and A / 1.0 is A and (A - A) is constant(0.0) and A * 0 is constant(0.0)
    assert np.log(2.0) * constant(2.0) is constant(2.0 * np.log(2.0))
    assert repr((X - A) / B) == "((column0 - parameter0) / parameter1)"


def test_a_formula_has_the_same_name_in_every_process():
    """Else each process would compile anew what another one kept."""
    code = "from bayesmix.components.student_t import StudentT; print(StudentT().formula.name)"  # no PyTensor: a second
    from bayesmix.components.student_t import StudentT

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == StudentT().formula.name


# -- special functions -------------------------------------------------------------------------------------------------
def _log_i0e(x):
    return np.log(scipy_special.i0e(x))


SPECIAL = {
    "digamma": (scipy_special.psi, np.geomspace(1e-8, 1e12, 400)),
    "trigamma": (lambda x: scipy_special.polygamma(1, x), np.geomspace(1e-8, 1e12, 400)),
    "log_ndtr": (scipy_special.log_ndtr, np.concatenate([-np.geomspace(1e-3, 1e8, 300), np.linspace(-40, 9, 400)])),
    "log_i0e": (_log_i0e, np.concatenate([[0.0], np.geomspace(1e-8, 1e8, 400), np.linspace(20, 30, 101)])),
    "bessel_ratio": (
        lambda x: scipy_special.i1e(x) / scipy_special.i0e(x),
        np.concatenate([[0.0], np.geomspace(1e-8, 1e8, 400), np.linspace(20, 30, 101)]),
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_compiled_special_functions_are_scipys(name):
    reference, x = SPECIAL[name]
    ours = np.array([getattr(special, name)(value) for value in x])
    # a few roundings; next to the zero of digamma at 1.46 and of log_i0e at 0 those of the terms that cancel
    np.testing.assert_allclose(ours, reference(x), rtol=2e-14, atol=1e-15)


def test_compiled_gamma_functions_have_no_value_off_their_domain():
    assert np.isnan(special.digamma(-0.5)) and np.isnan(special.trigamma(0.0)) and np.isnan(special.digamma(np.nan))


@pytest.mark.parametrize("name", ["log_ndtr", "log_i0e", "digamma", "gammaln"])
def test_namespaces_agree_on_special_functions(name):
    """NumPy's, PyTensor's and traced ones are SciPy's, into the tails."""
    import pytensor.tensor as pt

    x = np.concatenate([[0.0] if name[0] == "l" else [], np.geomspace(1e-6, 1e6, 50)])
    x = np.concatenate([x, -x]) if name == "log_ndtr" else x
    reference = {"log_ndtr": scipy_special.log_ndtr, "log_i0e": _log_i0e, "digamma": scipy_special.psi}.get(
        name, scipy_special.gammaln
    )(x)
    symbol = pt.dvector("x")
    in_pytensor = getattr(namespace(symbol), name)(symbol).eval({symbol: x}, mode="FAST_COMPILE")
    for ours in (getattr(namespace(x), name)(x), in_pytensor, evaluate([getattr(namespace(X), name)(X)], [x], [])[0]):
        np.testing.assert_allclose(ours, reference, rtol=1e-13, atol=1e-15)


# -- what cannot be traced ---------------------------------------------------------------------------------------------
def _by_if(x, params):
    return -x if x > params["a"] else x


def _by_numpy(x, params):
    return np.log(params["a"]) - x


def _by_math(x, params):
    import math

    return math.exp(params["a"]) - x


def _by_chain(x, params):
    return namespace(x).where(0 < x < params["a"], x, 0.0)


def _by_array(x, params):
    return x * np.arange(3.0)


@pytest.mark.parametrize(
    "density, advice",
    [
        (_by_if, r"xp\.where\(condition, a, b\) in place of if"),
        (_by_chain, "& and | in place of and, or"),
        (_by_numpy, r"xp\.log, in place of NumPy's"),
        (_by_math, "in place of NumPy's or of math's"),
        (_by_array, r"array of shape \(3,\)"),
    ],
)
def test_what_cannot_be_traced_says_what_to_write_instead(density, advice):
    with pytest.raises(TypeError, match=advice.replace("|", r"\|")):
        trace(density, ["a"])


def test_what_has_no_second_derivative_here_is_refused():
    digamma = namespace(A).digamma(A)
    assert evaluate([derivative(digamma, A)], [], [1.5])[0] == scipy_special.polygamma(1, 1.5)
    with pytest.raises(NotImplementedError, match="trigamma has no derivative"):
        derivative(derivative(digamma, A), A)


def test_numbers_of_numpy_leave_operators_to_symbols():
    two = np.float64(2.0)
    pairs = [(two + A, 2.0 + A), (two - A, 2.0 - A), (two * A, 2.0 * A), (two / A, 2.0 / A), (two**A, 2.0**A)]
    assert all(one is other for one, other in [*pairs, (two < A, A > 2.0), (two >= A, A <= 2.0)])


def test_the_name_of_a_pass_is_enough_to_find_it(tmp_path, monkeypatch):
    """Also where nobody has asked for its functions: a PyTensor operation is made of the name alone."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):  # where no process before this one has kept it
        monkeypatch.setenv(name, str(tmp_path))
    for component in (
        bm.Truncated(bm.Gumbel(), lower=-1.8125),
        bm.Mixture([bm.Gumbel(), bm.Uniform(-1.8125, 9)]).component,
    ):
        assert callable(kernel_of(component.kernel)), component
