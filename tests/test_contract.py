"""Every promise of `contract.py`, for every family of `oracles.py`."""

import numpy as np
import pytest
from contract import MODEL_PROMISES, PROMISES, pass_by_formula
from oracles import LETTERED, PRIOR_ROWS, ROWS

import bayesmix as bm

# Promises of the normal density, which does not depend on how covariances came about, and all of models but one structure
# of each kind, are checked for mclust's less common structures when slow tests are.
SAME_DENSITY = {
    "log_density_is_pymcs", "numpy_and_pytensor_agree", "total_probability_is_one", "cdf_is_scipys",
    "gradient_of_the_formula_is_the_derivative", "the_operation_is_the_same_from_two_threads",
}  # fmt: skip
ONE_OF_EACH_KIND = ("VEI", "VEE", "EVE", "VEV")

# Of families whose pass is written from their density, which is compared with SciPy's, these stand for all in what has to be
# compiled by PyTensor, asks most of the M-step, or takes many runs of EM from the same code.
REPRESENTATIVE = (
    "StudentT", "Gamma", "Exponential", "NegativeBinomial", "ZeroInflatedPoisson", "Beta", "VonMises", "Laplace", "Truncated",
)  # fmt: skip
OF_REPRESENTATIVES = {
    "both_faces_of_the_model_agree", "log_density_is_pymcs", "pymc_draws_have_scipys_cdf", "numpy_and_pytensor_agree",
    "m_step_on_given_responsibilities_beats_its_neighbours", "em_ends_where_nothing_nearby_is_higher",
    "default_priors_generate_plausible_data", "start_values_give_the_parameters_back",
    "a_component_of_weight_zero_is_not_there", "permutations_change_nothing", "row_weights_are_repeated_rows",
}  # fmt: skip


def case(check, row):
    letters = getattr(row.component, "letters", "")
    of_model = check in MODEL_PROMISES or check.__name__ == "default_priors_generate_plausible_data"
    late = of_model and letters not in ONE_OF_EACH_KIND or check.__name__ in SAME_DENSITY
    written = row.component.numeric and not row.component.multivariate and row.name not in REPRESENTATIVE
    slow = (letters in LETTERED and late) or (written and check.__name__ in OF_REPRESENTATIVES)
    marks = pytest.mark.slow if slow else ()
    return pytest.param(check, row, id=f"{row}-{check.__name__}", marks=marks)


CASES = [case(check, row) for check, applies in PROMISES for row in ROWS if applies(row)]
MODEL_CASES = [case(check, row) for check in MODEL_PROMISES for row in PRIOR_ROWS]


@pytest.mark.parametrize("check, row", CASES)
def test_family_keeps(check, row):
    check(row)


@pytest.mark.parametrize("check, row", MODEL_CASES)
def test_model_keeps(check, row):
    check(row)


def test_every_family_has_a_row():
    from bayesmix.components import FAMILIES
    from bayesmix.components.covariance import STRUCTURES

    assert {type(row.component).__name__ for row in ROWS} == set(FAMILIES) - {
        "Product",
        "Regression",
    }  # have tests of their own
    assert {row.component.letters for row in ROWS if isinstance(row.component, bm.MvNormal)} == set(STRUCTURES)


def test_the_operation_compiled_by_numba_is_the_formula():
    """Kernels in one PyTensor function of mode NUMBA: value, and gradient by autodiff through the operation."""
    import pytensor
    import pytensor.tensor as pt

    from bayesmix.arrays import as_data
    from bayesmix.likelihood.formula import log_of_weights
    from bayesmix.likelihood.likelihood import Likelihood
    from bayesmix.likelihood.op import MixtureLogLikelihood

    written = [row for row in ROWS if row.component.numeric and row.name != "StudentT"]  # one stands for them all
    rows = {row.component.kernel: row for row in ROWS if row not in written}
    inputs, outputs, values = [], [], []
    for kernel, row in rows.items():
        prepared = row.component.rows(as_data(row.data(200)))
        arguments = [log_of_weights(row.params["weights"]), *row.component.kernel_arguments(row.params)]
        symbols = [pt.tensor(f"{kernel}_{i}", dtype="float64", shape=value.shape) for i, value in enumerate(arguments)]
        value = 2.0 * MixtureLogLikelihood(kernel)(prepared.x, prepared.weights, *symbols)[0]
        inputs += symbols
        values += arguments
        outputs += [value, *pytensor.grad(value, symbols)]
    results = iter(pytensor.function(inputs, outputs, mode="NUMBA")(*values))
    for kernel, row in rows.items():
        value, d_weights, d_a, d_b = (np.asarray(next(results)) / 2.0 for _ in range(4))
        data = as_data(row.data(200))
        expected, weighted, _ = pass_by_formula(row, data.values, row.params)
        assert np.isclose(value + row.component.rows(data).log_base_measure, expected, rtol=1e-10), kernel
        np.testing.assert_allclose(d_weights, weighted.sum(axis=0), rtol=1e-10, err_msg=kernel)
        # The chain rule on to the free coordinates, whose gradient the contract compares with differences.
        function = Likelihood(row.component, data, row.n_components)
        gradient = function.value_and_gradient(function.to_vector(row.params))[1][row.n_components - 1 :]
        np.testing.assert_allclose(
            row.component.vector_gradient(row.params, d_a, d_b), gradient, rtol=1e-9, atol=1e-9, err_msg=kernel
        )


def test_many_equal_components_are_one():
    """With 2000 components of equal shape the pass adds numbers up to 2000 in every row, and nothing overflows."""
    from scipy import stats

    from bayesmix.arrays import as_data
    from bayesmix.likelihood.likelihood import Likelihood

    x = ROWS[0].data(300)
    for shape, params in (
        (bm.Normal(), {"mu": np.zeros(2000), "sigma": np.full(2000, 3.0)}),
        (bm.MvNormal(), {"mu": np.zeros((2000, 1)), "cov": np.full((2000, 1, 1), 9.0)}),
    ):
        value = Likelihood(shape, as_data(x), 2000).log_likelihood({"weights": np.full(2000, 1 / 2000)} | params)
        assert np.isclose(value, stats.norm(0, 3).logpdf(x).sum(), rtol=1e-12), str(shape)
