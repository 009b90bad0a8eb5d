"""mclust's fourteen covariance structures: their names, numbers of parameters, optima, priors and posteriors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from oracles import ellipsoids
from reference import columns
from scipy import stats

import bayesmix as bm
from bayesmix.components.covariance import ALIASES, LETTERS, STRUCTURES
from bayesmix.components.covariance.letters import contrasts
from bayesmix.components.covariance.rotations import coordinates_of, rotation
from bayesmix.priors import Prior

QUIET = {"progressbar": False}
FAITHFUL = bm.datasets.load("faithful")
TABLES = json.loads((Path(__file__).parent / "data" / "mclust_structures.json").read_text())["cases"]


# -- names -------------------------------------------------------------------------------------------------------------
def test_letters_are_taken_in_any_case_and_old_names_stay():
    for alias, letters in ALIASES.items():
        assert bm.MvNormal(covariance=alias).letters == letters == bm.MvNormal(covariance=letters.lower()).letters
    assert bm.MvNormal(covariance="vev").covariance == "VEV"
    assert bm.MvNormal(covariance="all").covariance == LETTERS == tuple(STRUCTURES)
    assert len(bm.MvNormal(covariance="ALL").alternatives()) == 14


def test_an_alias_is_the_same_fit():
    """Under either name the same compiled code runs."""
    fits = [
        bm.em(bm.Mixture(bm.MvNormal(covariance=name), 2), FAITHFUL, n_init=3, random_seed=1, **QUIET)
        for name in ("tied", "EEE")
    ]
    np.testing.assert_array_equal(fits[0].estimates["cov"], fits[1].estimates["cov"])
    again = bm.em(bm.Mixture(bm.MvNormal(covariance="EEE"), 2), FAITHFUL, init=fits[0], **QUIET)
    assert again.log_likelihood == pytest.approx(fits[0].log_likelihood, rel=1e-12)


def test_one_column_has_equal_and_variable_variances():
    """E and V are mclust's for one column; on several they are refused in words. V is bm.Normal."""
    x = columns("acidity.csv")["log_anc"]
    settings = {"n_init": 20, "random_seed": 1, **QUIET}
    for letter, bic in (("V", 399.6945267), ("E", 392.0723108)):
        fit = bm.em(bm.Mixture(bm.MvNormal(covariance=letter), 2), x, guard=None, **settings)
        assert fit.bic <= bic + 2e-3, letter  # of V ours is another optimum, 5.2 lower
        if letter == "V":
            normal = bm.em(bm.Mixture(bm.Normal(), 2), x, guard=None, **settings)
            assert fit.log_likelihood == pytest.approx(normal.log_likelihood, rel=1e-9)
    assert fit.bic == pytest.approx(392.0723108, abs=2e-3)
    with pytest.raises(ValueError, match='covariance="E" is for one column, but the data have 2'):
        bm.em(bm.Mixture(bm.MvNormal(covariance="E"), 2), FAITHFUL, **settings)


def test_parameters_without_the_structure_are_refused():
    cov = ellipsoids("VEV")
    mixture = bm.Mixture(bm.MvNormal(covariance="EEV"), 3)
    with pytest.raises(ValueError, match='do not have the structure "EEV"'):
        bm.Fit.from_parameters(mixture, weights=np.full(3, 1 / 3), mu=np.zeros((3, 3)), cov=cov)


@pytest.mark.parametrize(
    ("letters", "compact", "variances"),
    [
        ("EII", 2.0, [[2.0, 2.0], [2.0, 2.0]]),
        ("EEI", [1.0, 3.0], [[1.0, 3.0], [1.0, 3.0]]),
        ("VEI", [[1.0, 3.0], [2.0, 6.0]], [[1.0, 3.0], [2.0, 6.0]]),
    ],
)
def test_compact_forms(letters, compact, variances):
    fit = bm.Fit.from_parameters(
        bm.Mixture(bm.MvNormal(covariance=letters), 2), weights=[0.5, 0.5], mu=np.zeros((2, 2)), cov=compact
    )
    np.testing.assert_array_equal(fit.estimates["cov"], [np.diag(v) for v in variances])


# -- against mclust ----------------------------------------------------------------------------------------------------
def test_numbers_of_parameters_are_mclusts():
    """nMclustParams of mclust 6.0.0, less means and weights: volume + shape + orientation."""
    table = {
        "EII": 1, "VII": 3, "EEI": 4, "VEI": 6, "EVI": 10, "VVI": 12, "EEE": 10, "VEE": 12, "EVE": 16, "VVE": 18,
        "EEV": 22, "VEV": 24, "EVV": 28, "VVV": 30,
    }  # fmt: skip
    for letters, expected in table.items():
        assert STRUCTURES[letters].n_free(3, 4) == expected, letters


def rows_of(case):
    if case == "iris":
        from sklearn.datasets import load_iris

        return load_iris().data
    if case == "faithful":
        return np.column_stack([FAITHFUL["eruptions"], FAITHFUL["waiting"]])
    table = pd.read_csv(Path(__file__).parent / "data" / f"{case}.csv")
    return table.drop(columns={"banknote": "status", "wine": "cultivar"}[case]).to_numpy(dtype=float)


def check(case, letters, k, n_init):
    """No worse than mclust's BIC; equal where the optimum is the only one, at one component."""
    fit = bm.em(
        bm.Mixture(bm.MvNormal(covariance=letters), k), rows_of(case), guard=None, n_init=n_init, random_seed=1, **QUIET
    )
    theirs = -TABLES[case][letters][str(k)]
    assert fit.converged, (letters, k, fit.message)
    # mclust stops at a relative change of 1e-5 of the log-likelihood
    assert fit.bic <= theirs + 2e-3, (case, letters, k, fit.bic, theirs)
    if k == 1:
        assert fit.bic == pytest.approx(theirs, abs=2e-3), (case, letters)


@pytest.mark.parametrize("letters", LETTERS)
def test_bic_of_the_eruptions_is_mclusts(letters):
    for k in (1, 2):
        check("faithful", letters, k, 8)
    theirs = -TABLES["faithful"][letters]["2"]
    fit = bm.em(bm.Mixture(bm.MvNormal(covariance=letters), 2), FAITHFUL, guard=None, n_init=8, random_seed=1, **QUIET)
    assert fit.bic == pytest.approx(theirs, abs=0.2), letters  # VVE: mclust stops 0.15 early


@pytest.mark.slow
@pytest.mark.parametrize("letters", LETTERS)
def test_bic_of_the_irises_is_not_worse_than_mclusts(letters):
    for k in (1, 2, 3):
        check("iris", letters, k, 60)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["banknote", "wine"])
@pytest.mark.parametrize("letters", LETTERS)
def test_bic_of_many_columns_is_not_worse_than_mclusts(letters, case):
    """Six and thirteen columns, in units up to ten thousand times apart."""
    for k in (1, 2, 3):
        check(case, letters, k, "auto")


def test_a_sweep_over_all_finds_mclusts_best():
    """Of fourteen structures with 2 and 3 components: EEE with 3, as mclust says, then VVE with 2."""
    result = bm.sweep(bm.MvNormal(covariance="all"), FAITHFUL, [2, 3], n_init=3, guard=None, random_seed=1, **QUIET)
    assert len(result.fits) == 28
    bic = result.table["bic"].astype(float).sort_values()
    assert [key[1:] for key in bic.index[:2]] == [("EEE", 3), ("VVE", 2)]


def test_a_matrix_that_is_not_finite_is_a_collapse_and_no_error():
    """The arithmetic of a component on its way to a point may give out before its variance is noticed."""
    cov = np.stack([np.diag([1.0, 4.0]), np.full((2, 2), np.nan)])
    params = {"weights": np.array([0.5, 0.5]), "mu": np.zeros((2, 2)), "cov": cov}
    thinness = bm.MvNormal().collapsed(params, None)
    assert thinness[1] == 0 and thinness[0] > 0.1
    assert bm.MvNormal().thin_direction(params, 1) is None


# -- coordinates -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("d", [2, 3, 6])
def test_axes_have_small_coordinates_whatever_their_signs(d):
    for axes in stats.ortho_group(d).rvs(50, random_state=1):
        w = coordinates_of(axes[None])
        assert np.abs(w).max() <= 2 + 1e-8
        back = rotation(w, d)[0][0]
        np.testing.assert_allclose(np.abs(np.sum(back * axes, axis=0)), 1.0, rtol=1e-10)
        signs = np.where(np.arange(d) % 2, -1.0, 1.0)
        np.testing.assert_allclose(coordinates_of((axes * signs)[None]), w, atol=1e-10)


def test_the_gradient_holds_outside_the_coordinates_that_are_chosen():
    """Quasi-Newton steps may turn axes by more than 90 degrees, where `to_vector` would change their signs."""
    x = np.random.default_rng(0).multivariate_normal([0, 0], [[2.0, 1.2], [1.2, 1.0]], 100)
    from bayesmix.likelihood.likelihood import Likelihood

    mixture = bm.Mixture(bm.MvNormal(covariance="VEV"), 2)
    function = Likelihood(mixture.component, mixture.check(x), 2)
    vector = np.array([0.1, 0.0, 0.0, 0.5, 0.3, 0.1, -0.2, 0.4, 3.5, -5.0])  # the last two are of axes
    assert np.abs(function.to_vector(function.from_vector(vector)) - vector).max() > 1
    gradient = function.value_and_gradient(vector)[1]
    for i, h in enumerate(1e-5 * np.eye(len(vector))):
        slope = (function.value_and_gradient(vector + h)[0] - function.value_and_gradient(vector - h)[0]) / 2e-5
        assert slope == pytest.approx(gradient[i], rel=1e-5, abs=1e-5), i


def test_standard_errors_of_axes_are_their_spread_over_samples():
    """One component, EVE = VVV: standard errors of the matrix are those of the normal distribution."""
    x = np.random.default_rng(1).multivariate_normal([0, 0], [[2.0, 0.8], [0.8, 1.0]], 400)
    fits = [
        bm.em(bm.Mixture(bm.MvNormal(covariance=c), 1), x, guard=None, uncertainty="laplace", random_seed=1, **QUIET)
        for c in ("VVV", "EVE", "VEV", "VEE", "EVV")
    ]
    for fit in fits[1:]:
        for name in ("mu", "cov"):
            np.testing.assert_allclose(
                fit.standard_errors[name], fits[0].standard_errors[name], rtol=1e-6, err_msg=str(fit)
            )


# -- priors ------------------------------------------------------------------------------------------------------------
def model_of(letters, priors, k, d):
    import pymc as pm

    with pm.Model(coords={"cluster": range(k), "feature": range(d), "feature_2": range(d)}) as model:
        STRUCTURES[letters].pymc_variable(priors, k, d)
    return model


def log_density(model, cov):
    """Log density of the variable, and in the coordinates that are sampled."""
    import pytensor.tensor as pt

    rv = model["cov"]
    point = model.rvs_to_transforms[rv].forward(pt.as_tensor(cov)).eval(mode="FAST_COMPILE")
    graphs = [model.logp(jacobian=jacobian) for jacobian in (False, True)]
    own, sampled = model.compile_fn(graphs, inputs=model.value_vars, point_fn=False, mode="FAST_COMPILE")(point)
    return float(own), float(sampled)


SIGMA = bm.ScaledInverseChiSquared(4.0, 1.5)
SHAPE = Prior.of("Normal", mu=[1.0, 0.0, -0.5], sigma=0.8)


def of_volumes(scale):
    return np.sum(stats.invgamma(2.0, scale=0.5 * 4.0 * 1.5**2).logpdf(scale**2) + np.log(2 * scale))


@pytest.mark.parametrize("letters", ["EEI", "VEI", "EVI", "EVE", "VVE", "EEV", "VEV"])
def test_density_of_volume_shape_and_axes_is_scipys(letters):
    """Centred logs have a singular normal density; axes have one that integrates to 1 over those coordinates."""
    cov = ellipsoids(letters)
    own, sampled = log_density(model_of(letters, {"sigma": SIGMA, "shape": SHAPE}, 3, 3), cov)
    scale = np.exp(np.linalg.slogdet(cov)[1] / 6)[: 1 if letters[0] == "E" else 3]
    logs = 0.5 * np.log([np.diag(c) if letters[2] == "I" else np.linalg.eigvalsh(c)[::-1] for c in cov])
    logs = (logs - logs.mean(axis=1, keepdims=True))[: 1 if letters[1] == "E" else 3]
    if letters[2] == "E":  # axes in order of the mean along them, whatever the order of one component
        axes = STRUCTURES[letters].root(STRUCTURES[letters].to_vector(cov), 3, 3)
        logs = np.log(np.linalg.norm(axes, axis=1))
        logs -= logs.mean(axis=1, keepdims=True)
    centring = np.eye(3) - 1 / 3
    centre = np.array([1.0, 0.0, -0.5]) - 1 / 6
    normal = stats.multivariate_normal(centre, 0.64 * centring, allow_singular=True)
    expected = of_volumes(scale) + np.sum(normal.logpdf(logs))
    if letters[2] != "I":
        w = STRUCTURES[letters].to_vector(cov)[-3 * (1 if letters[2] == "E" else 3) :].reshape(-1, 3)
        expected += sum(np.log(haar(one)) for one in w)
    assert own == pytest.approx(expected, rel=1e-10)
    assert sampled - own == pytest.approx(np.log(scale).sum(), rel=1e-10)


def haar(w):
    """Density of three axes at coordinates w: by rotation vectors, whose Haar density is known (Miles 1965)."""
    s = 0.5 * np.asarray(w)
    # Cayley's S is tan(angle / 2) times the axis; the volume element of unit quaternions is (1 + |s|^2)^-2 ds / pi^2
    return 4 * (1 + s @ s) ** -2 / (np.pi**2 * 2**3)


def test_haar_density_integrates_to_one():
    nodes, weights = np.polynomial.legendre.leggauss(24)
    grid = 2.0 * np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    mass = np.prod(np.stack(np.meshgrid(*[2.0 * weights] * 3, indexing="ij"), axis=-1).reshape(-1, 3), axis=1)
    assert mass @ [haar(w) for w in grid] == pytest.approx(1.0, rel=1e-8)


@pytest.mark.parametrize("letters", ["VEE", "EVV"])
def test_density_of_matrices_is_the_inverse_wisharts_over_that_of_their_volume(letters):
    """One component: given C, the volume of an inverse Wishart matrix is inverse gamma; both together are SciPy's."""
    structure, psi, nu = STRUCTURES[letters], ellipsoids("VVV")[0], 6.5
    cov = stats.invwishart(7, np.eye(3)).rvs(random_state=2)[None]
    size = np.linalg.det(cov[0]) ** (1 / 3)
    trace = np.trace(psi @ np.linalg.inv(cov[0] / size))
    sigma = bm.ScaledInverseChiSquared(3 * nu, np.sqrt(trace / (3 * nu)))
    sampled = log_density(model_of(letters, {"sigma": sigma, "cov": bm.InverseWishart(nu, psi)}, 1, 3), cov)[1]
    rows, cols = np.tril_indices(3)
    volume = np.linalg.slogdet(structure.jacobian(cov)[0][rows, cols])[1]
    assert sampled == pytest.approx(stats.invwishart(nu, psi).logpdf(cov[0]) + volume, rel=1e-10)


def test_coordinates_of_draws_are_found_in_compiled_functions():
    """As the evidence and leave-one-out cross-validation want them: without a warning, and those of the structure."""
    import pytensor
    import pytensor.tensor as pt

    cov = ellipsoids("VEV")
    model = model_of("VEV", {"sigma": SIGMA, "shape": SHAPE}, 3, 3)
    symbol = pt.tensor("cov", dtype="float64", shape=(3, 3, 3))
    found = pytensor.function([symbol], model.rvs_to_transforms[model["cov"]].forward(symbol), mode="NUMBA")(cov)
    np.testing.assert_array_equal(found, STRUCTURES["VEV"].to_vector(cov))


def test_draws_have_the_density():
    """Means of what the prior says of volumes, shapes and axes, by 4000 draws."""
    import pymc as pm

    k, d, n = 2, 3, 2000
    model = model_of("VVE", {"sigma": SIGMA, "shape": SHAPE}, k, d)
    cov = pm.draw(model["cov"], n, random_seed=1, mode="FAST_COMPILE")
    coordinates = np.array([STRUCTURES["VVE"].to_vector(one) for one in cov])
    axes = rotation(coordinates[:, -3:], d)[0]
    np.testing.assert_allclose((axes**2).mean(axis=0), 1 / d, atol=4.5 * np.sqrt(4 / 45 / n))  # variance of q^2 is 4/45
    volume = np.exp(2 * coordinates[:, :k])
    precision = 1 / volume
    assert abs(precision.mean() - 1 / 1.5**2) < 4.5 * precision.std() / np.sqrt(precision.size)
    shape = coordinates[:, k : k + 4].reshape(-1, 2) @ contrasts(d).T
    spread = np.sum(shape**2, axis=1)  # whatever the order of the axes
    expected = np.sum((np.array([1.0, 0.0, -0.5]) - 1 / 6) ** 2) + 2 * 0.64
    assert abs(spread.mean() - expected) < 4.5 * spread.std() / np.sqrt(n)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"covariance": "VEV", "cov": bm.InverseWishart(4, np.eye(2))},
            "no correlations: give a prior for sigma and shape",
        ),
        ({"covariance": "VEE", "shape": SHAPE}, "no shape by itself: it takes priors of sigma and cov"),
        ({"covariance": "VEV", "shape": Prior.of("Cauchy", alpha=0.0, beta=1.0)}, "logarithms that are centred"),
        ({"covariance": "VEV", "sigma": bm.ScaledInverseChiSquared(3, [1.0, 2.0])}, "one standard deviation"),
    ],
)
def test_priors_that_a_structure_does_not_have(settings, words):
    with pytest.raises(ValueError, match=words):
        bm.MvNormal(**settings)


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["VEV", "EVE"])
def test_nuts_recovers_the_structure(letters):
    """Every draw has the structure, the chains agree, and 99.9% intervals hold the truth."""
    truth = ellipsoids(letters)[:2]
    mu = np.array([[-4.0, 0.0, 0.0], [4.0, 1.0, 2.0]])
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.multivariate_normal(m, c, 300) for m, c in zip(mu, truth, strict=True)])
    fit = bm.nuts(bm.Mixture(bm.MvNormal(covariance=letters), 2), x, draws=500, chains=2, random_seed=1, **QUIET)
    assert fit.converged, fit.message
    cov = fit.tree["posterior"]["cov"].values
    for one in cov.reshape(-1, 2, 3, 3)[::100]:
        assert STRUCTURES[letters].belongs(one)
    low, high = np.quantile(cov.reshape(-1, 2, 3, 3), [0.0005, 0.9995], axis=0)
    assert np.all((low <= truth) & (truth <= high)), (low, truth, high)
